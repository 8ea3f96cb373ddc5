//! Silos, and who uses how much of them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdall_namespace::inventory::{Declared, DeclaredSilo};
use holdall_namespace::limits::PROBE_SIZE;
use holdall_namespace::set_silo::SetSilo;
use http::StatusCode;
use serde::Deserialize;

use super::Admin;
use super::declare::{How, declare};
use super::extract::{Asked, Named, Sent};
use super::problem::Problem;
use super::view::{Applied, ProbeView, SiloView, UsageView};

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<SiloView>>, Problem> {
    let silos = admin.state.namespace.silos().await?;
    Ok(Json(silos.into_iter().map(SiloView::from).collect()))
}

/// Declares one silo that is not there yet.
pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<How>,
    Sent(silo): Sent<DeclaredSilo>,
) -> Result<Json<Applied>, Problem> {
    if admin.state.namespace.silos().await?.iter().any(|silo| silo.name == name) {
        return Err(Problem::new(StatusCode::CONFLICT, "silo_exists", format!("a silo `{name}` exists")));
    }
    declare(&admin, &Declared { silos: [(name, silo)].into(), ..Declared::default() }, &how).await
}

/// Changes one silo that is there.
pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<How>,
    Sent(set): Sent<SetSilo>,
) -> Result<Json<Applied>, Problem> {
    if let Some(url) = &set.url {
        crate::gateway::refuse_volatile_url(&name, url)?;
    }
    let changes = admin.state.namespace.set_silo(&name, &set, how.dry_run).await?;
    Ok(Json(Applied { dry_run: how.dry_run, changes }))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HowLarge {
    size: Option<u64>,
}

/// Looks at a silo afresh.
pub(super) async fn probe(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
    Asked(how): Asked<HowLarge>,
) -> Result<Json<ProbeView>, Problem> {
    Ok(Json(admin.state.namespace.probe_silo(&name, how.size.unwrap_or(PROBE_SIZE)).await?.into()))
}

pub(super) async fn delete(State(admin): State<Arc<Admin>>, Named(name): Named<String>) -> Result<StatusCode, Problem> {
    admin.state.namespace.remove_silo(&name).await?;
    Ok(StatusCode::NO_CONTENT)
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

pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<SiloView>, Problem> {
    Ok(Json(admin.state.namespace.pause_silo(&name, true).await?.into()))
}

pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<SiloView>, Problem> {
    Ok(Json(admin.state.namespace.pause_silo(&name, false).await?.into()))
}

pub(super) async fn usage(State(admin): State<Arc<Admin>>) -> Result<Json<UsageView>, Problem> {
    Ok(Json(admin.state.namespace.usage().await?.into()))
}
