//! Silos, and who uses how much of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::Admin;
use super::extract::Named;
use super::problem::Problem;
use super::view::{SiloView, UsageView};

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<SiloView>>, Problem> {
    let silos = admin.state.namespace.silos().await?;
    Ok(Json(silos.into_iter().map(SiloView::from).collect()))
}

pub(super) async fn cordon(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<SiloView>, Problem> {
    Ok(Json(admin.state.namespace.set_cordon(&name, true).await?.into()))
}

pub(super) async fn uncordon(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<SiloView>, Problem> {
    Ok(Json(admin.state.namespace.set_cordon(&name, false).await?.into()))
}

pub(super) async fn usage(State(admin): State<Arc<Admin>>) -> Result<Json<UsageView>, Problem> {
    Ok(Json(admin.state.namespace.usage().await?.into()))
}
