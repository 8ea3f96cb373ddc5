//! From a raw request to one whose signature, time and headers were checked. Nothing else in the gateway takes an
//! unverified request.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use holdall_namespace::account::Account;

use crate::error::S3Error;

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
