//! DeleteObject, DeleteObjects.

use futures_util::{StreamExt, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::Condition;
use http::StatusCode;

use super::checksum::Announced;
use super::{Answer, Call, condition, header, no_such_version, read_checked};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::{DELETES_AT_ONCE, MAX_LONG_XML};
use crate::xml::read::{self, Doomed};
use crate::xml::write::Document;

/// Conditions that only directory buckets have.
const DIRECTORY_ONLY: [&str; 2] = ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"];

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html>
pub(super) async fn object(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    if let Some(name) = DIRECTORY_ONLY.into_iter().find(|name| call.headers().contains_key(*name)) {
        return Err(S3Error::header_not_implemented(name));
    }
    let condition = condition::of_write(call.headers())?;
    call.state.namespace.delete(bucket, key, condition).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

/// Each key is deleted by a commit of its own; the answer says what became of each, in the request's order.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>
pub(super) async fn objects(call: &Call, bucket: &Bucket, body: VerifiedBody) -> Answer {
    let announced = Announced::of(call.headers(), &body.announced)?;
    if announced.is_empty() {
        return Err(S3Error::with(Code::InvalidRequest, "Missing required header for this request: Content-MD5"));
    }
    let request = read::delete(&read_checked(body, MAX_LONG_XML, &announced).await?)?;
    let each = stream::iter(request.objects).map(|doomed| async {
        let done = one(call, bucket, &doomed).await;
        (doomed, done)
    });
    let all: Vec<_> = each.buffered(DELETES_AT_ONCE).collect().await;
    let mut document = Document::new("DeleteResult");
    for (doomed, done) in &all {
        match done {
            Ok(()) if request.quiet => {}
            Ok(()) => document.nested("Deleted", |document| named(document, doomed)),
            Err(error) => document.nested("Error", |document| {
                named(document, doomed);
                document.text("Code", error.code.as_str());
                document.text("Message", &error.message);
            }),
        }
    }
    Ok(header::document(document.finish()))
}

fn named(document: &mut Document, doomed: &Doomed) {
    document.text("Key", &doomed.key);
    document.some("VersionId", doomed.version.as_deref());
}

async fn one(call: &Call, bucket: &Bucket, doomed: &Doomed) -> Result<(), S3Error> {
    if let Some(version) = doomed.version.as_deref().filter(|version| *version != "null") {
        return Err(no_such_version(version));
    }
    if doomed.other_condition {
        return Err(S3Error::with(Code::NotImplemented, "Conditions on time and size are not implemented"));
    }
    let key: ObjectKey = doomed.key.parse()?;
    let condition = Condition { if_match: doomed.etag.as_deref().map(condition::parse), if_none_match: None };
    Ok(call.state.namespace.delete(bucket, &key, condition).await?)
}
