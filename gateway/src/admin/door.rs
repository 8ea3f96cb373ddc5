//! The way in: signature first, then whose it is, then the whole body, and only then the route.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::StatusCode;

use super::Admin;
use super::problem::Problem;
use crate::auth::{self, Principal, Service, VerifiedBody};
use crate::limits::ADMIN_BODY;

/// Lets a request in, or answers why not.
pub(super) async fn admit(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let (principal, request) = match admitted(&admin, request).await {
        Ok(admitted) => admitted,
        Err(problem) => {
            tracing::warn!(%method, path, code = problem.code, "admin request refused");
            return problem.into_response();
        }
    };
    let response = next.run(request).await;
    let (account, key, status) = (principal.account.name, principal.access_key_id, response.status().as_u16());
    if method == http::Method::GET {
        tracing::debug!(%method, path, account, key, status, "admin request");
    } else {
        tracing::info!(%method, path, account, key, status, "admin request");
    }
    response
}

async fn admitted(admin: &Admin, request: Request) -> Result<(Principal, Request), Problem> {
    let verified = auth::verify(&admin.state, Service::Admin, request).await?;
    if !verified.principal.account.admin {
        let why = "the key is valid, but only the first account's keys administer";
        return Err(Problem::new(StatusCode::FORBIDDEN, "not_admin", why));
    }
    let body = whole(verified.body).await?;
    Ok((verified.principal, Request::from_parts(verified.parts, Body::from(body))))
}

/// The whole body, its payload hash checked: a route never sees a byte before the last one matched.
async fn whole(mut body: VerifiedBody) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    loop {
        match body.stream.try_next().await {
            Ok(Some(piece)) if bytes.len() + piece.len() > ADMIN_BODY => {
                let why = format!("a request has at most {ADMIN_BODY} bytes");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why));
            }
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) => {
                let told = body.failure.get().cloned().map(Problem::from);
                return Err(told.unwrap_or_else(|| Problem::invalid(error.to_string())));
            }
        }
    }
}
