//! What anybody may ask, and a gateway about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::Admin;
use super::problem::Problem;
use super::view::Status;

/// The process runs.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Requests can be served: the index answers and the session is alive. The reason stays in the log.
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    match admin.state.namespace.ready().await {
        Ok(()) => (StatusCode::OK, "ok\n"),
        Err(fault) => {
            tracing::warn!(error = %fault, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }
}

/// Counters in the text form of `OpenMetrics`.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let namespace = &admin.state.namespace;
    // Where the index does not answer, everything else is told.
    let roots = namespace.root_gauges().await.unwrap_or_default();
    let text = admin.metrics.encode(&namespace.stats(), &namespace.backup_status(), &roots);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind)], text).into_response()
}

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Result<Json<Status>, Problem> {
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        namespace: admin.state.namespace.id().to_owned(),
        endpoint: admin.endpoint.clone(),
        region: admin.state.region.clone(),
        domains: admin.state.domains.clone(),
        backup: admin.state.namespace.backup_status().into(),
        alignment: admin.state.namespace.alignment(),
        scrub: admin.state.namespace.scrub_budget().await?,
        damaged: admin.state.namespace.damage_left().await?,
    }))
}
