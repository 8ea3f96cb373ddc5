//! The way in: signature first, then whose it is, then the whole body, and only then the route.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::Admin;
use super::problem::Problem;

/// Lets a request in, or answers why not.
pub(super) async fn admit(State(_admin): State<Arc<Admin>>, _request: Request, _next: Next) -> Response {
    Problem::new(StatusCode::FORBIDDEN, "access_denied", "requests cannot be verified yet").into_response()
}
