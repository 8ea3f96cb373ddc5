//! Tags of objects and buckets.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/tagging.html>

use std::collections::HashSet;

use holdall_namespace::bucket::Bucket;
use holdall_namespace::limits::{MAX_BUCKET_TAGS, MAX_OBJECT_TAGS};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::Pairs;
use http::{HeaderMap, StatusCode};

use super::{Answer, Call, header, read_document};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::{MAX_TAG_KEY, MAX_TAG_VALUE, MAX_XML};
use crate::xml::read;
use crate::xml::write::Document;

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html>
pub(super) async fn get_object(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    Ok(answer(&call.state.namespace.head(bucket, key).await?.tags))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>
pub(super) async fn put_object(call: &Call, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    call.only_version()?;
    let tags = checked(read::tagging(&read_document(call, body, MAX_XML).await?)?, MAX_OBJECT_TAGS)?;
    call.state.namespace.set_tags(bucket, key, tags).await?;
    Ok(header::empty(StatusCode::OK))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjectTagging.html>
pub(super) async fn delete_object(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    call.state.namespace.set_tags(bucket, key, Pairs::new()).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketTagging.html>
pub(super) fn get_bucket(bucket: &Bucket) -> Answer {
    if bucket.tags.is_empty() { Err(Code::NoSuchTagSet.into()) } else { Ok(answer(&bucket.tags)) }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketTagging.html>
pub(super) async fn put_bucket(call: &Call, bucket: &Bucket, body: VerifiedBody) -> Answer {
    let tags = of_bucket(read::tagging(&read_document(call, body, MAX_XML).await?)?)?;
    call.state.namespace.set_bucket_tags(bucket, tags).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucketTagging.html>
pub(super) async fn delete_bucket(call: &Call, bucket: &Bucket) -> Answer {
    call.state.namespace.set_bucket_tags(bucket, Pairs::new()).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

fn answer(tags: &Pairs) -> http::Response<axum::body::Body> {
    let mut document = Document::new("Tagging");
    document.nested("TagSet", |document| {
        for (key, value) in tags {
            document.nested("Tag", |document| {
                document.text("Key", key);
                document.text("Value", value);
            });
        }
    });
    header::document(document.finish())
}

/// Tags of a bucket, checked.
pub(super) fn of_bucket(tags: Pairs) -> Result<Pairs, S3Error> {
    checked(tags, MAX_BUCKET_TAGS)
}

/// `x-amz-tagging`, checked.
pub(super) fn of_header(headers: &HeaderMap) -> Result<Pairs, S3Error> {
    const NAME: &str = "x-amz-tagging";
    let Some(text) = header::text(headers, NAME)? else { return Ok(Pairs::new()) };
    let message = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.";
    let pairs = header::tag_pairs(text).ok_or_else(|| S3Error::argument(NAME, text, message))?;
    checked(pairs, MAX_OBJECT_TAGS)
}

/// Tags in the order of their keys, when there are not too many and each is allowed.
fn checked(mut tags: Pairs, limit: usize) -> Result<Pairs, S3Error> {
    if tags.len() > limit {
        return Err(S3Error::with(Code::InvalidTag, format!("There cannot be more than {limit} tags")));
    }
    let mut seen = HashSet::new();
    for (key, value) in &tags {
        let refused = |message: &str| Err(S3Error::with(Code::InvalidTag, message).detail("TagKey", key));
        if key.is_empty() || key.chars().count() > MAX_TAG_KEY || !key.chars().all(allowed) {
            return refused("The TagKey you have provided is invalid");
        }
        if value.chars().count() > MAX_TAG_VALUE || !value.chars().all(allowed) {
            return refused("The TagValue you have provided is invalid");
        }
        if key.len() >= 4 && key.as_bytes()[..4].eq_ignore_ascii_case(b"aws:") {
            return refused("System tags cannot be added/updated by requester");
        }
        if !seen.insert(key) {
            return refused("Cannot provide multiple Tags with the same key");
        }
    }
    tags.sort();
    Ok(tags)
}

/// Letters, digits and spaces of any script, and `+ - = . _ : / @`.
fn allowed(c: char) -> bool {
    c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c) || (!c.is_ascii() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(text: &str) -> Result<Vec<String>, Code> {
        let headers =
            [(http::HeaderName::from_static("x-amz-tagging"), HeaderValue::from_str(text).expect("a header"))];
        let tags = of_header(&headers.into_iter().collect()).map_err(|error| error.code)?;
        Ok(tags.into_iter().map(|(key, value)| format!("{key}={value}")).collect())
    }

    #[test]
    fn header_tags_are_a_query() {
        let long = |n: usize| "k".repeat(n);
        let pairs = |count: usize| (0..count).map(|i| format!("{i}={i}")).collect::<Vec<_>>().join("&");
        for (text, expected) in [
            (String::new(), Ok(vec![])),
            ("foo=bar&bar".into(), Ok(vec!["bar=", "foo=bar"])),
            ("a=b%20c+d%2B%3D".into(), Ok(vec!["a=b c d+="])),
            ("%D0%BA=%C3%A9".into(), Ok(vec!["к=é"])),
            (format!("{}=1", long(129)), Err(Code::InvalidTag)),
            (format!("a={}", long(257)), Err(Code::InvalidTag)),
            ("a=1&a=2".into(), Err(Code::InvalidTag)),
            ("aws:x=1".into(), Err(Code::InvalidTag)),
            ("=1".into(), Err(Code::InvalidTag)),
            ("a=%3C".into(), Err(Code::InvalidTag)),
            ("a=%0A".into(), Err(Code::InvalidTag)),
            ("a=%".into(), Err(Code::InvalidArgument)),
            (pairs(11), Err(Code::InvalidTag)),
        ] {
            let expected = expected.map(|tags: Vec<&str>| tags.into_iter().map(str::to_owned).collect());
            assert_eq!(check(&text), expected, "{text}");
        }
        assert_eq!(check(&pairs(10)).map(|tags| tags.len()), Ok(10));
        assert!(check(&format!("{}={}", long(128), long(256))).is_ok());
    }
}
