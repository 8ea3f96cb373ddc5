//! Orders, the jobs they become, and where an object's bytes are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdall_namespace::job::PlanSummary;
use holdall_namespace::name::{BucketName, ObjectKey};
use http::header::LOCATION;
use http::{HeaderName, StatusCode};
use serde::Deserialize;

use super::Admin;
use super::extract::{Asked, Named, Sent};
use super::problem::Problem;
use super::view::{DamageView, FailedView, JobMoves, JobRequest, JobView, ReplicaView};

pub(super) async fn plan(
    State(admin): State<Arc<Admin>>,
    Sent(request): Sent<JobRequest>,
) -> Result<Json<PlanSummary>, Problem> {
    let (namespace, JobRequest { order, hold, .. }) = (&admin.state.namespace, request);
    Ok(Json(match hold {
        Some(until) => namespace.plan_held(&order, until).await?,
        None => namespace.plan(&order).await?,
    }))
}

pub(super) async fn start(
    State(admin): State<Arc<Admin>>,
    Sent(request): Sent<JobRequest>,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<JobView>), Problem> {
    let namespace = &admin.state.namespace;
    if let Some(until) = request.hold {
        namespace.hold(&request.order, until).await?;
    }
    let job = namespace.start_job(request.order, request.pace).await?;
    Ok((StatusCode::ACCEPTED, [(LOCATION, format!("/v1/job/{}", job.id))], Json(job.into())))
}

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<JobView>>, Problem> {
    let jobs = admin.state.namespace.jobs().await?;
    Ok(Json(jobs.into_iter().map(JobView::from).collect()))
}

pub(super) async fn show(State(admin): State<Arc<Admin>>, Named(id): Named<u64>) -> Result<Json<JobView>, Problem> {
    Ok(Json(admin.state.namespace.job(id).await?.into()))
}

pub(super) async fn moves(State(admin): State<Arc<Admin>>, Named(id): Named<u64>) -> Result<Json<JobMoves>, Problem> {
    let namespace = &admin.state.namespace;
    let job = namespace.job(id).await?.into();
    Ok(Json(JobMoves { job, moves: namespace.job_moves(id).await? }))
}

pub(super) async fn pause(State(admin): State<Arc<Admin>>, Named(id): Named<u64>) -> Result<Json<JobView>, Problem> {
    Ok(Json(admin.state.namespace.pause_job(id).await?.into()))
}

pub(super) async fn resume(State(admin): State<Arc<Admin>>, Named(id): Named<u64>) -> Result<Json<JobView>, Problem> {
    Ok(Json(admin.state.namespace.resume_job(id).await?.into()))
}

pub(super) async fn cancel(State(admin): State<Arc<Admin>>, Named(id): Named<u64>) -> Result<Json<JobView>, Problem> {
    Ok(Json(admin.state.namespace.cancel_job(id).await?.into()))
}

/// What failed to move here, and is tried again.
pub(super) async fn failed(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<FailedView>>, Problem> {
    let failed = admin.state.namespace.failed_moves().await?;
    Ok(Json(failed.into_iter().map(FailedView::from).collect()))
}

/// What was found damaged or missing.
pub(super) async fn damage(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<DamageView>>, Problem> {
    Ok(Json(admin.state.namespace.damage().await?.into_iter().map(DamageView::from).collect()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    pub(super) bucket: BucketName,
    pub(super) key: ObjectKey,
}

pub(super) async fn where_is(
    State(admin): State<Arc<Admin>>,
    Asked(which): Asked<Which>,
) -> Result<Json<Vec<ReplicaView>>, Problem> {
    let replicas = admin.state.namespace.where_is(&which.bucket, &which.key).await?;
    Ok(Json(replicas.into_iter().map(ReplicaView::from).collect()))
}
