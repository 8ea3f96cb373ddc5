//! ListBuckets, CreateBucket, HeadBucket, DeleteBucket, GetBucketLocation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdall_namespace::bucket::{Bucket, BucketPage, CreateBucketError};
use holdall_namespace::name::BucketName;
use http::{HeaderValue, Response, StatusCode, header as http_header};

use super::{Answer, Call, header, read_document, tagging};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::{MAX_BUCKET_PAGE, MAX_XML};
use crate::xml::read;
use crate::xml::write::{Document, timestamp};

/// The region whose CreateBucket answers a repetition with 200, for old clients' sake (AWS).
const FORGIVING_REGION: &str = "us-east-1";

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListBuckets.html>
pub(super) async fn list(call: &Call) -> Answer {
    let limit = limit(call)?;
    let prefix = call.query.get("prefix").unwrap_or("");
    let after = call.query.filled("continuation-token").map(after_token).transpose()?;
    let elsewhere = call.query.filled("bucket-region").is_some_and(|region| region != call.state.region);
    let page = if elsewhere {
        BucketPage { buckets: Vec::new(), next: None }
    } else {
        let namespace = &call.state.namespace;
        namespace.buckets(call.principal.account.id, prefix, after.as_deref(), limit).await?
    };
    let mut document = Document::new("ListAllMyBucketsResult");
    owner(&mut document, "Owner", call);
    document.nested("Buckets", |document| {
        for bucket in &page.buckets {
            document.nested("Bucket", |document| {
                document.text("Name", bucket.name.as_str());
                document.plain("CreationDate", timestamp(bucket.created));
                document.text("BucketRegion", &call.state.region);
            });
        }
    });
    if let Some(next) = &page.next {
        document.plain("ContinuationToken", URL_SAFE_NO_PAD.encode(next.as_str()));
    }
    document.some("Prefix", call.query.get("prefix"));
    Ok(header::document(document.finish()))
}

fn limit(call: &Call) -> Result<usize, S3Error> {
    let limit = call.number("max-buckets", MAX_BUCKET_PAGE, usize::MAX)?;
    if (1..=MAX_BUCKET_PAGE).contains(&limit) {
        return Ok(limit);
    }
    let message = format!("Argument max-buckets must be an integer between 1 and {MAX_BUCKET_PAGE}");
    Err(S3Error::argument("max-buckets", &limit.to_string(), message))
}

fn after_token(token: &str) -> Result<String, S3Error> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| S3Error::argument("continuation-token", token, "The continuation token provided is incorrect"))
}

/// The owner of what the caller is allowed to see, which is the caller.
pub(super) fn owner(document: &mut Document, element: &str, call: &Call) {
    document.nested(element, |document| {
        document.text("ID", &call.principal.account.canonical_id);
        document.text("DisplayName", &call.principal.account.name);
    });
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
pub(super) async fn create(call: &Call, name: &BucketName, body: VerifiedBody) -> Answer {
    header::refuse_acl(call.headers())?;
    refuse_features(call)?;
    let request = read::create_bucket(&read_document(call, body, MAX_XML).await?)?;
    if request.directory {
        return Err(S3Error::with(Code::NotImplemented, "Directory buckets are not implemented"));
    }
    if let Some(location) = request.location.filter(|location| *location != call.state.region) {
        return Err(S3Error::new(Code::IllegalLocationConstraintException).detail("LocationConstraint", location));
    }
    if name.as_str() == holdall_namespace::census::BUCKET {
        return Err(Code::BucketAlreadyExists.into());
    }
    let tags = tagging::of_bucket(request.tags)?;
    let namespace = &call.state.namespace;
    match namespace.create_bucket(name, call.principal.account.id).await {
        Ok(bucket) if !tags.is_empty() => namespace.set_bucket_tags(&bucket, tags).await?,
        Err(CreateBucketError::OwnedByYou) if call.state.region == FORGIVING_REGION => {}
        created => drop(created?),
    }
    let mut response = header::empty(StatusCode::OK);
    header::set(response.headers_mut(), "location", &format!("/{name}"));
    Ok(response)
}

fn refuse_features(call: &Call) -> Result<(), S3Error> {
    let refused = [
        ("x-amz-bucket-object-lock-enabled", &["false", "False"][..]),
        ("x-amz-object-ownership", &["BucketOwnerEnforced"]),
        ("x-amz-bucket-namespace", &["global"]),
    ];
    for (name, harmless) in refused {
        if header::text(call.headers(), name)?.is_some_and(|value| !harmless.contains(&value)) {
            return Err(S3Error::header_not_implemented(name));
        }
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html>
pub(super) fn head(call: &Call) -> Response<axum::body::Body> {
    let mut response = header::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(http_header::CONTENT_TYPE, header::XML);
    headers.insert("x-amz-access-point-alias", HeaderValue::from_static("false"));
    header::set(headers, "x-amz-bucket-region", &call.state.region);
    response
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>
pub(super) async fn delete(call: &Call, bucket: &Bucket) -> Answer {
    call.state.namespace.delete_bucket(bucket).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

/// Our one region, by name in `us-east-1` too, where AWS answers with nothing.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketLocation.html>
pub(super) fn location(call: &Call) -> Response<axum::body::Body> {
    let mut document = Document::new("LocationConstraint");
    document.content(&call.state.region);
    header::document(document.finish())
}
