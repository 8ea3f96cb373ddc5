//! PutObject.

use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::limits::MAX_PUT;
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Checksum, ChecksumAlgorithm};
use holdall_namespace::put::{PutError, PutObject, Upload};
use http::{HeaderMap, StatusCode, header as http_header};

use super::checksum::{self, Announced};
use super::{Answer, Call, broken_off, condition, gather, header, tagging};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::MAX_UNSIZED_BODY;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>
pub(super) async fn put(call: &Call, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    header::refuse_acl(call.headers())?;
    let announced = Announced::of(call.headers(), &body.announced)?;
    let algorithm = announced.algorithm();
    let incoming = Incoming::of(call, body, announced, algorithm).await?;
    let request = PutObject {
        bucket,
        key,
        upload: incoming.upload,
        headers: header::kept(call.headers())?,
        tags: tagging::of_header(call.headers())?,
        storage_class: header::storage_class(call.headers())?,
        condition: condition::of_write(call.headers())?,
    };
    let done = call.state.namespace.put(request).await.map_err(|error| failed(error, &incoming.failure))?;
    let mut response = header::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(http_header::ETAG, header::etag(&done.object.etag));
    if let Some(sum) = &done.object.checksum {
        answer_checksum(headers, sum);
        header::set(headers, "x-amz-checksum-type", checksum::kind_name(sum.kind));
    }
    Ok(response)
}

/// A body on its way into the namespace, and where to look when it breaks off.
pub(super) struct Incoming {
    pub(super) upload: Upload,
    pub(super) failure: Arc<OnceLock<S3Error>>,
}

impl Incoming {
    /// Size known and bearable, what it must be put beside it.
    pub(super) async fn of(
        call: &Call,
        body: VerifiedBody,
        announced: Announced,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Self, S3Error> {
        let (body, size) = sized(call, body).await?;
        if size > MAX_PUT {
            return Err(S3Error::new(Code::EntityTooLarge)
                .detail("ProposedSize", size.to_string())
                .detail("MaxSizeAllowed", MAX_PUT.to_string()));
        }
        let verify = announced.verifier(body.trailer);
        Ok(Self { upload: Upload { body: body.stream, size, algorithm, verify }, failure: body.failure })
    }
}

/// A body with its size. One in HTTP's own chunks that does not say it is gathered, while it is small.
async fn sized(call: &Call, mut body: VerifiedBody) -> Result<(VerifiedBody, u64), S3Error> {
    if let Some(size) = body.size {
        return Ok((body, size));
    }
    if !call.headers().contains_key(http_header::TRANSFER_ENCODING) {
        return Err(Code::MissingContentLength.into());
    }
    let gathered = gather(&mut body, MAX_UNSIZED_BODY).await?.ok_or(Code::MissingContentLength)?;
    let size = gathered.len() as u64;
    body.stream = stream::iter([Ok(gathered)]).boxed();
    Ok((body, size))
}

/// A failed upload; of a body that broke off, its reader knows why.
pub(super) fn failed(error: PutError, failure: &OnceLock<S3Error>) -> S3Error {
    match error {
        PutError::Body(body) => broken_off(failure, &body),
        other => other.into(),
    }
}

/// The checksum of what was just uploaded.
pub(super) fn answer_checksum(headers: &mut HeaderMap, sum: &Checksum) {
    header::set(headers, checksum::header_name(sum.algorithm), &checksum::encode(sum, None));
}
