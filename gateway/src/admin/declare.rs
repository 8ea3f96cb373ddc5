//! Declared state.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdall_namespace::inventory::Declared;
use serde::Deserialize;

use super::Admin;
use super::extract::{Asked, Sent};
use super::problem::Problem;
use super::view::Applied;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct How {
    #[serde(default)]
    pub(super) dry_run: bool,
}

pub(super) async fn apply(
    State(admin): State<Arc<Admin>>,
    Asked(how): Asked<How>,
    Sent(declared): Sent<Declared>,
) -> Result<Json<Applied>, Problem> {
    declare(&admin, &declared, &how).await
}

/// All of it or nothing.
pub(super) async fn declare(admin: &Admin, declared: &Declared, how: &How) -> Result<Json<Applied>, Problem> {
    crate::gateway::refuse_volatile(declared)?;
    let changes = admin.state.namespace.apply(declared, how.dry_run).await?;
    Ok(Json(Applied { dry_run: how.dry_run, changes }))
}
