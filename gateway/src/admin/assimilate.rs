//! What is taken over in place.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdall_namespace::assimilate::{Assimilate, Refused, Reorder, RootInfo, Survey};
use http::HeaderName;
use http::StatusCode;
use http::header::LOCATION;
use serde::Deserialize;

use super::Admin;
use super::extract::{Asked, Named, Sent};
use super::problem::Problem;
use super::view::{ConflictView, RootView};

/// Names of one page.
const PAGE: usize = 1000;

pub(super) async fn start(
    State(admin): State<Arc<Admin>>,
    Sent(order): Sent<Assimilate>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<RootView>), Problem> {
    let root = admin.state.namespace.assimilate(order).await?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/v1/assimilate/{}", root.id))], Json(view(&admin, root))))
}

fn view(admin: &Admin, root: RootInfo) -> RootView {
    let namespace = &admin.state.namespace;
    let silo = &root.order.silo;
    let (changes, told) = (namespace.changes(root.id), (namespace.told(silo), namespace.silent_queue(silo)));
    let (hashed, projected) = (namespace.hashed(root.id), namespace.projected(root.id));
    RootView::new(root, &changes, told, hashed, projected)
}

pub(super) async fn survey(
    State(admin): State<Arc<Admin>>,
    Sent(order): Sent<Assimilate>,
) -> Result<Json<Survey>, Problem> {
    Ok(Json(admin.state.namespace.survey(&order).await?))
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<RootView>>, Problem> {
    let roots = admin.state.namespace.roots().await?;
    Ok(Json(roots.into_iter().map(|root| view(&admin, root)).collect()))
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Named(id): Named<u32>) -> Result<Json<RootView>, Problem> {
    Ok(Json(view(&admin, admin.state.namespace.root(id).await?)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    after: String,
}

pub(super) async fn refused(
    State(admin): State<Arc<Admin>>,
    Named(id): Named<u32>,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<Refused>>, Problem> {
    Ok(Json(admin.state.namespace.refused_names(id, &page.after, PAGE).await?))
}

pub(super) async fn conflicts(
    State(admin): State<Arc<Admin>>,
    Named(id): Named<u32>,
    Asked(page): Asked<Page>,
) -> Result<Json<Vec<ConflictView>>, Problem> {
    let conflicts = admin.state.namespace.conflicts(id, &page.after, PAGE).await?;
    Ok(Json(conflicts.into_iter().map(ConflictView::from).collect()))
}

pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Named(id): Named<u32>,
    Sent(reorder): Sent<Reorder>,
) -> Result<Json<RootView>, Problem> {
    Ok(Json(view(&admin, admin.state.namespace.reorder(id, reorder).await?)))
}

pub(super) async fn confirm(State(admin): State<Arc<Admin>>, Named(id): Named<u32>) -> Result<Json<RootView>, Problem> {
    Ok(Json(view(&admin, admin.state.namespace.confirm_root(id).await?)))
}

pub(super) async fn forget(State(admin): State<Arc<Admin>>, Named(id): Named<u32>) -> Result<StatusCode, Problem> {
    admin.state.namespace.forget_root(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
