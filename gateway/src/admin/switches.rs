//! Switches of silos: replacing one, with a way back.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::Admin;
use super::declare::How;
use super::extract::{Asked, Named, Sent};
use super::problem::Problem;
use super::view::{JobView, SwitchRequest, SwitchView};

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<SwitchView>>, Problem> {
    let switches = admin.state.namespace.switches().await?;
    Ok(Json(switches.into_iter().map(SwitchView::from).collect()))
}

pub(super) async fn start(
    State(admin): State<Arc<Admin>>,
    Asked(how): Asked<How>,
    Sent(request): Sent<SwitchRequest>,
) -> Result<Json<SwitchView>, Problem> {
    let begun = admin.state.namespace.start_switch(&request.from, &request.to, how.dry_run).await?;
    Ok(Json(begun.into()))
}

pub(super) async fn commit(
    State(admin): State<Arc<Admin>>,
    Named(from): Named<String>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(admin.state.namespace.commit_switch(&from).await?.into())))
}

pub(super) async fn roll_back(
    State(admin): State<Arc<Admin>>,
    Named(from): Named<String>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    Ok((StatusCode::ACCEPTED, Json(admin.state.namespace.roll_back_switch(&from).await?.into())))
}
