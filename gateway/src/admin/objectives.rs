//! Objectives: which there are, what they would move, and why an object is where it is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdall_namespace::inventory::Declared;
use holdall_namespace::objective::{Effective, Objective, Outlook, Savings, Scope, Why};
use http::StatusCode;
use serde::Deserialize;

use super::Admin;
use super::declare::{How, declare};
use super::extract::{Asked, Named, Sent};
use super::jobs::Which;
use super::problem::Problem;
use super::view::Applied;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct About {
    #[serde(default)]
    on: Scope,
}

/// What is asked of what is to come.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ahead {
    #[serde(default)]
    on: Scope,
    /// Bytes a second, in place of those of `[align]`.
    rate: Option<u64>,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Asked(about): Asked<About>,
) -> Result<Json<Vec<Effective>>, Problem> {
    Ok(Json(admin.state.namespace.effective(&about.on)?))
}

/// Declares one, whether there is one of that name or not.
pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<How>,
    Sent(objective): Sent<Objective>,
) -> Result<Json<Applied>, Problem> {
    declare(&admin, &Declared { objectives: [(name, objective)].into(), ..Declared::default() }, &how).await
}

pub(super) async fn delete(State(admin): State<Arc<Admin>>, Named(name): Named<String>) -> Result<StatusCode, Problem> {
    admin.state.namespace.delete_objective(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<Objective>, Problem> {
    Ok(Json(admin.state.namespace.pause_objective(&name, true).await?))
}

pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<Objective>, Problem> {
    Ok(Json(admin.state.namespace.pause_objective(&name, false).await?))
}

pub(super) async fn outlook(
    State(admin): State<Arc<Admin>>,
    Asked(Ahead { on, rate }): Asked<Ahead>,
) -> Result<Json<Outlook>, Problem> {
    Ok(Json(admin.state.namespace.outlook_at(&on, None, rate).await?))
}

/// What it would be, were there this one, too.
pub(super) async fn outlook_with(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(Ahead { on, rate }): Asked<Ahead>,
    Sent(objective): Sent<Objective>,
) -> Result<Json<Outlook>, Problem> {
    Ok(Json(admin.state.namespace.outlook_at(&on, Some((&name, &objective)), rate).await?))
}

pub(super) async fn savings(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<Savings>>, Problem> {
    Ok(Json(admin.state.namespace.savings().await?))
}

pub(super) async fn why(State(admin): State<Arc<Admin>>, Asked(which): Asked<Which>) -> Result<Json<Why>, Problem> {
    Ok(Json(admin.state.namespace.why(&which.bucket, &which.key).await?))
}
