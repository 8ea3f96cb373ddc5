//! From a verified request to an answer.
//!
//! Handlers translate; they do not decide. One function chooses the operation, one authorizes, and each operation has
//! one arm below.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::name::{BucketName, ObjectKey};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::access_log::Subject;
use crate::address::{Address, Query};
use crate::auth::{Principal, Verified, VerifiedBody};
use crate::error::{Asked, Code, HOST_ID, S3Error};
use crate::operation::{Operation, Row, State as Built, route};
use crate::state::State;

pub mod attributes;
pub mod bucket;
pub mod checksum;
pub mod condition;
pub mod configuration;
pub mod copy;
pub mod delete;
pub mod get;
pub mod header;
pub mod list;
pub mod multipart;
pub mod put;
pub mod range;
pub mod tagging;

type Answer = Result<Response<Body>, S3Error>;

/// `x-amz-request-id`: 16 upper-case hexadecimal digits, unique in this process and unlikely to repeat beyond it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// A new one, made by the outermost layer.
    pub fn next() -> Self {
        static START: OnceLock<u64> = OnceLock::new();
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let start = *START.get_or_init(|| getrandom::u64().unwrap_or(0));
        // An odd factor makes neighbors look unlike and repeats nothing before 2^64.
        let count = COUNT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self::numbered(start.wrapping_add(count))
    }

    /// A given one, for tests.
    pub fn numbered(number: u64) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        Self(std::array::from_fn(|at| DIGITS[(number >> (60 - 4 * at)) as usize & 15]))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }

    /// Marks an answer with it.
    pub fn mark(self, headers: &mut HeaderMap) {
        let id = HeaderValue::from_bytes(&self.0).expect("digits are a header");
        headers.insert("x-amz-request-id", id);
        headers.insert("x-amz-id-2", HeaderValue::from_static(HOST_ID));
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What every handler may look at.
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) parts: http::request::Parts,
    pub(crate) principal: Principal,
    pub(crate) query: Query,
    pub(crate) id: RequestId,
}

/// Answers an S3 request. What was found out about it rides in the answer's extensions as a [`Subject`].
pub async fn handle(state: &Arc<State>, verified: Verified, id: RequestId) -> Response<Body> {
    let Verified { parts, principal, body } = verified;
    let mut call = Call { state: Arc::clone(state), parts, principal, query: Query::default(), id };
    let mut subject = Subject { requester: Some(call.principal.account.canonical_id.clone()), ..Subject::default() };
    let mut address = Address { bucket: None, key: None };
    let answer = answer(&mut call, body, &mut address, &mut subject).await;
    let mut response = match answer {
        Ok(mut response) => {
            id.mark(response.headers_mut());
            response
        }
        Err(error) => refuse(error, &call, &address, &mut subject),
    };
    subject.bucket = address.bucket.map(String::from);
    subject.key = address.key.map(String::from);
    response.extensions_mut().insert(subject);
    response
}

fn refuse(error: S3Error, call: &Call, address: &Address, subject: &mut Subject) -> Response<Body> {
    subject.error = Some(error.code.as_str());
    if error.code.status().is_server_error() && error.code != Code::NotImplemented {
        tracing::error!(request = %call.id, code = error.code.as_str(), cause = error.cause.as_deref(), "request failed");
    } else if error.code.status() == StatusCode::BAD_REQUEST {
        let (code, method) = (error.code.as_str(), &call.parts.method);
        tracing::info!(request = %call.id, code, %method, cause = error.cause.as_deref(), "request refused");
    }
    error.into_response(&Asked {
        bucket: address.bucket.as_ref().map(BucketName::as_str),
        key: address.key.as_ref().map(ObjectKey::as_str),
        ..Asked::of(call.id, &call.parts)
    })
}

async fn answer(call: &mut Call, body: VerifiedBody, address: &mut Address, subject: &mut Subject) -> Answer {
    call.query = Query::parse(call.parts.uri.query())?;
    *address = Address::parse(call.host(), call.parts.uri.path(), &call.state.domains)?;
    let row = route(&call.parts.method, address, &call.query, &call.parts.headers)?;
    subject.operation = Some(row.operation.name());
    let Some(name) = &address.bucket else { return service(call, row).await };
    if row.operation == Operation::CreateBucket {
        return bucket::create(call, name, body).await;
    }
    let bucket = call.bucket(name, "x-amz-expected-bucket-owner").await?;
    subject.owner.clone_from(&subject.requester);
    // It is there to be read.
    if !call.parts.method.is_safe() && call.state.namespace.is_inventory(&bucket).await? {
        return Err(Code::AccessDenied.into());
    }
    match &address.key {
        None => on_bucket(call, row, &bucket, body).await,
        Some(key) => on_object(call, row, &bucket, key, body).await,
    }
}

async fn service(call: &Call, row: &Row) -> Answer {
    match row.operation {
        Operation::ListBuckets => bucket::list(call).await,
        _ => Err(refused(row)),
    }
}

async fn on_bucket(call: &Call, row: &Row, bucket: &Bucket, body: VerifiedBody) -> Answer {
    match row.operation {
        Operation::HeadBucket => Ok(bucket::head(call)),
        Operation::DeleteBucket => bucket::delete(call, bucket).await,
        Operation::GetBucketLocation => Ok(bucket::location(call)),
        Operation::ListObjects => list::objects(call, bucket).await,
        Operation::ListObjectsV2 => list::objects_v2(call, bucket).await,
        Operation::ListObjectVersions => list::versions(call, bucket).await,
        Operation::ListMultipartUploads => multipart::list_uploads(call, bucket).await,
        Operation::DeleteObjects => delete::objects(call, bucket, body).await,
        Operation::GetBucketTagging => tagging::get_bucket(bucket),
        Operation::PutBucketTagging => tagging::put_bucket(call, bucket, body).await,
        Operation::DeleteBucketTagging => tagging::delete_bucket(call, bucket).await,
        Operation::GetBucketAcl => Ok(configuration::get_acl(call)),
        Operation::PutBucketAcl => configuration::put_acl(call, body).await,
        operation if row.state == Built::Unset => configuration::unset(operation),
        _ => Err(refused(row)),
    }
}

async fn on_object(call: &Call, row: &Row, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    header::refuse_unbuilt(&call.parts.headers)?;
    match row.operation {
        Operation::GetObject => get::get(call, bucket, key).await,
        Operation::HeadObject => get::head(call, bucket, key).await,
        Operation::PutObject => put::put(call, bucket, key, body).await,
        Operation::CopyObject => copy::copy(call, bucket, key).await,
        Operation::DeleteObject => delete::object(call, bucket, key).await,
        Operation::GetObjectAttributes => attributes::get(call, bucket, key).await,
        Operation::GetObjectTagging => tagging::get_object(call, bucket, key).await,
        Operation::PutObjectTagging => tagging::put_object(call, bucket, key, body).await,
        Operation::DeleteObjectTagging => tagging::delete_object(call, bucket, key).await,
        Operation::CreateMultipartUpload => multipart::create(call, bucket, key).await,
        Operation::UploadPart => multipart::upload_part(call, bucket, key, body).await,
        Operation::UploadPartCopy => multipart::upload_part_copy(call, bucket, key).await,
        Operation::CompleteMultipartUpload => multipart::complete(call, bucket, key, body).await,
        Operation::AbortMultipartUpload => multipart::abort(call, bucket, key).await,
        Operation::ListParts => multipart::list_parts(call, bucket, key).await,
        Operation::GetObjectAcl => configuration::get_object_acl(call, bucket, key).await,
        Operation::PutObjectAcl => configuration::put_object_acl(call, bucket, key, body).await,
        operation if row.state == Built::Unset => configuration::unset_of_object(call, bucket, key, operation).await,
        _ => Err(refused(row)),
    }
}

fn refused(row: &Row) -> S3Error {
    let name = row.operation.name();
    S3Error::with(Code::NotImplemented, format!("{name} is not implemented")).detail("Operation", name)
}

impl Call {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    fn host(&self) -> Option<&str> {
        let header = self.parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        header.or_else(|| self.parts.uri.authority().map(http::uri::Authority::as_str))
    }

    /// The one place where a request is allowed to touch a bucket: it exists, it is the caller's, and it is whose the
    /// caller believes it is.
    pub(crate) async fn bucket(&self, name: &BucketName, expected_owner: &str) -> Result<Bucket, S3Error> {
        let bucket = self.state.namespace.bucket(name).await?;
        let account = &self.principal.account;
        if bucket.owner != account.id {
            return Err(Code::AccessDenied.into());
        }
        match header::text(&self.parts.headers, expected_owner)? {
            Some(expected) if !is_account(expected, account) => Err(Code::AccessDenied.into()),
            _ => Ok(bucket),
        }
    }

    /// Refuses a version other than the only one there is.
    pub(crate) fn only_version(&self) -> Result<(), S3Error> {
        self.query.get("versionId").map_or(Ok(()), current_version)
    }

    /// A whole number in the query, at most `limit`; `default` when it is not there.
    pub(crate) fn number(&self, name: &str, default: usize, limit: usize) -> Result<usize, S3Error> {
        let Some(text) = self.query.filled(name) else { return Ok(default) };
        let number = header::whole::<i32>(text).and_then(|number| usize::try_from(number).ok());
        let message = || format!("Argument {name} must be an integer between 0 and {}", i32::MAX);
        let number = number.ok_or_else(|| S3Error::argument(name, text, message()))?;
        Ok(limit.min(number))
    }
}

/// Whether an owner that a client expects is this account: by canonical id, or by number as AWS writes account ids.
fn is_account(expected: &str, account: &holdall_namespace::account::Account) -> bool {
    expected == account.canonical_id || expected.parse() == Ok(account.id)
}

/// Without versioning the current version is called `null`, and there is no other.
pub(crate) fn current_version(version: &str) -> Result<(), S3Error> {
    match version {
        "null" => Ok(()),
        "" => Err(S3Error::argument("versionId", "", "Version id cannot be the empty string")),
        other => Err(no_such_version(other)),
    }
}

pub(crate) fn no_such_version(version: &str) -> S3Error {
    S3Error::new(Code::NoSuchVersion).detail("VersionId", version)
}

/// Reads a document of at most `limit` bytes and checks it against what the headers say of it.
pub(crate) async fn read_document(call: &Call, body: VerifiedBody, limit: usize) -> Result<Bytes, S3Error> {
    let announced = checksum::Announced::of(call.headers(), &body.announced)?;
    read_checked(body, limit, &announced).await
}

pub(crate) async fn read_checked(
    mut body: VerifiedBody,
    limit: usize,
    announced: &checksum::Announced,
) -> Result<Bytes, S3Error> {
    let whole = gather(&mut body, limit).await?.ok_or(Code::MaxMessageLengthExceeded)?;
    announced.check_whole(&whole, body.trailer.get().map_or(&[], Vec::as_slice))?;
    Ok(whole)
}

/// A body whole in memory; `None` when it is larger than `limit`.
pub(crate) async fn gather(body: &mut VerifiedBody, limit: usize) -> Result<Option<Bytes>, S3Error> {
    if body.size.is_some_and(|size| size > limit as u64) {
        return Ok(None);
    }
    let mut whole = BytesMut::new();
    loop {
        match body.stream.try_next().await {
            Ok(Some(piece)) if whole.len() + piece.len() > limit => return Ok(None),
            Ok(Some(piece)) => whole.extend_from_slice(&piece),
            Ok(None) => return Ok(Some(whole.freeze())),
            Err(error) => return Err(broken_off(&body.failure, &error)),
        }
    }
}

/// Why a body broke off, as the one who read it found out.
pub(crate) fn broken_off(failure: &OnceLock<S3Error>, error: &holdall_silos::BodyError) -> S3Error {
    failure.get().cloned().unwrap_or_else(|| S3Error::new(Code::IncompleteBody).because(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::TABLE;

    #[test]
    fn request_ids_differ_and_look_like_s3s() {
        let (one, two) = (RequestId::next(), RequestId::next());
        assert_ne!(one, two);
        assert_eq!(RequestId::numbered(0xFEDC_BA98_7654_3210).as_str(), "FEDCBA9876543210");
        assert_eq!(one.as_str().len(), 16);
    }

    #[test]
    fn every_unset_configuration_has_an_answer() {
        for row in TABLE.iter().filter(|row| row.state == Built::Unset) {
            if let Err(error) = configuration::unset(row.operation) {
                assert_ne!(error.code, Code::NotImplemented, "{}", row.operation.name());
            }
        }
    }
}
