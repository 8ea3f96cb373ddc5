//! What clouds and scripts tell of a silo of others. Whoever has the silo's token may; what is told is looked at, never
//! believed.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderName, StatusCode};
use serde_json::json;
use url::form_urlencoded;

use super::Admin;
use super::extract::Named;
use super::problem::Problem;
use super::view::TokenView;
use crate::limits::{ADMIN_BODY, BODY_PATIENCE};

mod message;
mod queue;

use message::Message;
pub(crate) use queue::Queues;

/// Where somebody asks whether events may be sent, before any is.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/http-webhook.md>
const ORIGIN: &str = "webhook-request-origin";
const ALLOWED: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// Gives a silo a new token; that before is of no use from then on.
pub(super) async fn create_token(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<TokenView>, Problem> {
    let token = admin.state.namespace.new_events_token(&name).await?;
    Ok(Json(TokenView { silo: name, token }))
}

pub(super) async fn delete_token(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    admin.state.namespace.forget_events_token(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn receive(
    State(admin): State<Arc<Admin>>,
    Named(silo): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    admitted(&admin, &silo, &parts)?;
    let (told, odd) = match message::read(&whole(body).await?).map_err(Problem::invalid)? {
        Message::Touched(told) => (told, None),
        Message::Partly(told, odd) => (told, Some(odd)),
        Message::Validate(code) => return Ok(Json(json!({ "validationResponse": code })).into_response()),
        Message::Confirm(url) => {
            // Opened from here, it could be any address that only this machine reaches.
            tracing::warn!(silo, url, "Amazon SNS asks for a confirmation: open this to have it");
            return Ok(Json(json!({ "confirm": url })).into_response());
        }
    };
    let touched = admin.state.namespace.tell(&silo, &told)?;
    tracing::debug!(silo, told = told.len(), touched, "changes were told");
    if let Some(reason) = odd {
        return Err(Problem::invalid(format!("{reason}; what else was told is looked at")));
    }
    Ok(Json(json!({ "touched": touched })).into_response())
}

/// Says that events may be sent.
pub(super) async fn allow(
    State(admin): State<Arc<Admin>>,
    Named(silo): Named<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    admitted(&admin, &silo, &parts)?;
    let origin = parts.headers.get(ORIGIN).cloned();
    let origin = origin.ok_or_else(|| Problem::invalid(format!("a request of this kind has `{ORIGIN}`")))?;
    Ok((StatusCode::OK, [(ALLOWED, origin), (RATE, http::HeaderValue::from_static("*"))]).into_response())
}

/// One answer for all who have no token of a silo that is there.
fn admitted(admin: &Admin, silo: &str, parts: &Parts) -> Result<(), Problem> {
    if token(parts).is_some_and(|token| admin.state.namespace.may_tell(silo, &token)) {
        return Ok(());
    }
    tracing::warn!(silo, "events refused");
    Err(Problem::new(StatusCode::FORBIDDEN, "access_denied", "this takes the silo's token: `holdall silo token`"))
}

/// As a header, as a password, or in the URL: senders differ in what they can.
fn token(parts: &Parts) -> Option<String> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Some(header) = header {
        let Some(basic) = header.strip_prefix("Basic ") else {
            return Some(header.strip_prefix("Bearer ").unwrap_or(header).to_owned());
        };
        let pair = String::from_utf8(STANDARD.decode(basic).ok()?).ok()?;
        return pair.split_once(':').map(|(_, password)| password.to_owned());
    }
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token").map(|(_, token)| token.into_owned())
}

async fn whole(body: Body) -> Result<Bytes, Problem> {
    let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time");
    let read = tokio::time::timeout(BODY_PATIENCE, to_bytes(body, ADMIN_BODY)).await.map_err(late)?;
    let why = format!("a request has at most {ADMIN_BODY} bytes, all of which are sent");
    read.map_err(|_| Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why))
}

#[cfg(test)]
mod tests;
