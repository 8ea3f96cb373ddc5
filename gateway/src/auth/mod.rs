//! From a raw request to one whose signature, time and headers were checked. Nothing else in the gateway takes an
//! unverified request.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use holdall_namespace::account::Account;
use holdall_namespace::fault::Fault;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use http_body::Body;

use crate::error::{Code, S3Error};
use crate::state::State;

mod envelope;
mod query;
mod question;
mod refusal;

mod claim;
mod header;
mod presigned;
mod time;

mod canonical;
mod keys;

mod body;
mod chunked;
mod payload;

use query::Query;
use question::{Proved, Question};

/// Who a valid signature speaks for.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Whose key it was.
    pub account: Account,
    /// Which key.
    pub access_key_id: String,
}

/// Which signature a service expects in the credential scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `s3`
    S3,
    /// `holdall`: the admin API.
    Admin,
}

/// A request whose signature was checked.
pub struct Verified {
    /// Method, URI, headers.
    pub parts: http::request::Parts,
    /// Who speaks.
    pub principal: Principal,
    /// The body, decoded and checked while it is read.
    pub body: VerifiedBody,
}

/// A body: chunk framing removed, chunk signatures, payload hash, length and progress checked as its bytes pass.
/// Bytes of a chunk come out only after its signature matched. It ends without an error only if everything was right.
pub struct VerifiedBody {
    /// The bytes. On an error `failure` says what the client is told.
    pub stream: BoxStream<'static, Result<Bytes, holdall_silos::BodyError>>,
    /// Decoded length, from Content-Length or `x-amz-decoded-content-length`; `None` when the client sent neither.
    pub size: Option<u64>,
    /// Why the stream broke off.
    pub failure: Arc<OnceLock<S3Error>>,
    /// Trailing headers (lower-case names), filled when the stream has ended; empty without a trailer.
    pub trailer: Arc<OnceLock<Vec<(String, String)>>>,
    /// Lower-case names that `x-amz-trailer` announced.
    pub announced: Vec<String>,
}

impl Service {
    /// As a scope names it.
    fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Admin => "holdall",
        }
    }
}

/// Checks a request's shape, signature, time and headers. Its body is checked while it is read.
pub async fn verify<B>(state: &State, service: Service, request: http::Request<B>) -> Result<Verified, S3Error>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query())?;
    let question = Question::of(&parts, &query, service, &state.region, state.clock.now())?;
    let credential = state.namespace.credential(question.claim.access_key_id).await;
    let credential = credential.map_err(|fault| unanswered(&fault))?;
    let proved = question.check(credential)?;
    drop(query);
    let Proved { principal, form, size, announced, chunked } = proved;
    if chunked {
        strip_chunked(&mut parts.headers);
    }
    Ok(Verified { parts, principal, body: body::checked(body, form, size, announced)? })
}

/// The framing is gone, so its name must not be stored with the object.
fn strip_chunked(headers: &mut HeaderMap) {
    let Some(value) = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else { return };
    let codings: Vec<&str> = value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    match HeaderValue::from_str(&codings.join(",")) {
        Ok(rest) if !rest.is_empty() => headers.insert(CONTENT_ENCODING, rest),
        _ => headers.remove(CONTENT_ENCODING),
    };
}

/// The index could not say whose key it is.
fn unanswered(fault: &Fault) -> S3Error {
    tracing::error!(error = %fault, "cannot read an access key");
    match fault {
        Fault::Unavailable(_) | Fault::NoRoom => Code::ServiceUnavailable.into(),
        Fault::Damaged(_) | Fault::Lost(_) => Code::InternalError.into(),
    }
}

#[cfg(test)]
mod tests;
