//! CopyObject, and what it shares with UploadPartCopy: the source, parsed once.

use holdall_namespace::bucket::Bucket;
use holdall_namespace::copy::CopyObject;
use holdall_namespace::get::Opened;
use holdall_namespace::name::{BucketName, ObjectKey};
use holdall_namespace::object::{Headers, Pairs};
use holdall_namespace::put::PutError;

use super::condition::{self, ReadCondition};
use super::{Answer, Call, checksum, current_version, header, tagging};
use crate::address::decode_path;
use crate::error::{Code, S3Error};
use crate::limits::COPY_TRIES;
use crate::xml::write::{Document, timestamp};

const NAME: &str = "x-amz-copy-source";
const REDIRECT: &str = "x-amz-website-redirect-location";

/// What `x-amz-copy-source` names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) bucket: BucketName,
    pub(super) key: ObjectKey,
    pub(super) version: Option<String>,
}

impl Source {
    /// `bucket/key[?versionId=…]`, URL-encoded, with or without a slash before it; never a URL.
    pub(super) fn parse(text: &str) -> Result<Self, S3Error> {
        let message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
        let refused = || S3Error::argument(NAME, text, message);
        let (path, version) = match text.split_once('?') {
            None => (text, None),
            Some((path, query)) => (path, Some(query.strip_prefix("versionId=").ok_or_else(refused)?.to_owned())),
        };
        // A client may encode the slashes around the bucket, too.
        let path = decode_path(path).ok_or_else(refused)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(refused)?;
        if key.is_empty() || bucket.contains(':') {
            return Err(refused());
        }
        Ok(Self { bucket: bucket.parse()?, key: key.parse()?, version })
    }

    fn of(call: &Call) -> Result<Self, S3Error> {
        Self::parse(header::text(call.headers(), NAME)?.unwrap_or_default())
    }
}

/// Opens the source of a copy: authorized like any read, its conditions checked.
pub(super) async fn open(call: &Call) -> Result<(Source, Bucket, Opened), S3Error> {
    let source = Source::of(call)?;
    let bucket = call.bucket(&source.bucket, "x-amz-source-expected-bucket-owner").await?;
    source.version.as_deref().map_or(Ok(()), current_version)?;
    let opened = call.state.namespace.open_object(&bucket, &source.key).await?;
    ReadCondition::of_source(call.headers())?.check_source(&opened.object)?;
    Ok((source, bucket, opened))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
pub(super) async fn copy(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    header::refuse_acl(call.headers())?;
    let change = Change::of(call)?;
    let condition = condition::of_write(call.headers())?;
    let mut tries = COPY_TRIES;
    let object = loop {
        let (source, source_bucket, opened) = open(call).await?;
        if source_bucket.name == bucket.name && source.key == *key && !change.is_any() {
            let message = "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.";
            return Err(S3Error::with(Code::InvalidRequest, message));
        }
        let request = CopyObject {
            source: &opened,
            bucket,
            key,
            headers: change.headers(&opened.object.headers),
            tags: change.tags.clone(),
            storage_class: change.storage_class.clone(),
            algorithm: change.algorithm,
            condition: condition.clone(),
        };
        tries -= 1;
        match call.state.namespace.copy(request).await {
            Err(PutError::SourceGone) if tries > 0 => {}
            done => break done?.object,
        }
    };
    let mut document = Document::new("CopyObjectResult");
    document.plain("LastModified", timestamp(object.modified));
    document.etag(&object.etag);
    if let Some(sum) = &object.checksum {
        document.text("ChecksumType", checksum::kind_name(sum.kind));
        document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, object.parts));
    }
    Ok(header::document(document.finish()))
}

/// What the copy has otherwise than its source.
struct Change {
    replaced: Option<Headers>,
    redirect: Option<String>,
    tags: Option<Pairs>,
    storage_class: Option<String>,
    names_class: bool,
    algorithm: Option<holdall_namespace::object::ChecksumAlgorithm>,
}

impl Change {
    fn of(call: &Call) -> Result<Self, S3Error> {
        let headers = call.headers();
        Ok(Self {
            replaced: directive(call, "x-amz-metadata-directive")?.then(|| header::kept(headers)).transpose()?,
            redirect: header::text(headers, REDIRECT)?.map(str::to_owned),
            tags: directive(call, "x-amz-tagging-directive")?.then(|| tagging::of_header(headers)).transpose()?,
            storage_class: header::storage_class(headers)?,
            names_class: headers.contains_key("x-amz-storage-class"),
            algorithm: checksum::asked_algorithm(headers)?,
        })
    }

    fn is_any(&self) -> bool {
        let Self { replaced, redirect, tags, names_class, algorithm, .. } = self;
        replaced.is_some() || redirect.is_some() || tags.is_some() || *names_class || algorithm.is_some()
    }

    /// The copy's headers, where they are not the source's. A redirect is never copied along (S3).
    fn headers(&self, source: &Headers) -> Option<Headers> {
        if self.replaced.is_some() {
            return self.replaced.clone();
        }
        let has = source.system.iter().any(|(name, _)| name == REDIRECT);
        if !has && self.redirect.is_none() {
            return None;
        }
        let mut headers = source.clone();
        headers.system.retain(|(name, _)| name != REDIRECT);
        headers.system.extend(self.redirect.iter().map(|value| (REDIRECT.to_owned(), value.clone())));
        Some(headers)
    }
}

/// Whether a directive says REPLACE.
fn directive(call: &Call, name: &str) -> Result<bool, S3Error> {
    match header::text(call.headers(), name)? {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(other) => Err(S3Error::argument(name, other, "Unknown directive.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(String, String, Option<String>), Code> {
        let source = Source::parse(text).map_err(|error| error.code)?;
        Ok((source.bucket.into(), source.key.into(), source.version))
    }

    #[test]
    fn sources_are_decoded_once() {
        for (text, key, version) in [
            ("abc/k", "k", None),
            ("/abc/k", "k", None),
            ("abc//k", "/k", None),
            ("abc/a/../b", "a/../b", None),
            ("abc/a%2Fb", "a/b", None),
            ("abc%2Fk", "k", None),
            ("abc/a%252Fb", "a%2Fb", None),
            ("abc/a+b%20c", "a+b c", None),
            ("abc/%3FversionId%3D1", "?versionId=1", None),
            ("abc/k?versionId=null", "k", Some("null")),
            ("abc/%D0%BA?versionId=x%2Fy", "к", Some("x%2Fy")),
        ] {
            assert_eq!(check(text), Ok(("abc".into(), key.into(), version.map(str::to_owned))), "{text}");
        }
    }

    #[test]
    fn what_is_no_bucket_and_key_is_refused() {
        for (text, code) in [
            ("", Code::InvalidArgument),
            ("abc", Code::InvalidArgument),
            ("abc/", Code::InvalidArgument),
            ("abc/k?acl", Code::InvalidArgument),
            ("abc/%", Code::InvalidArgument),
            ("abc/%FF", Code::InvalidArgument),
            ("http://169.254.169.254/latest/meta-data", Code::InvalidArgument),
            ("https%3A%2F%2Fhost/k", Code::InvalidArgument),
            ("arn:aws:s3:us-east-1:1:accesspoint/a/object/k", Code::InvalidArgument),
            ("../k", Code::InvalidBucketName),
            ("%2e%2e/k", Code::InvalidBucketName),
            ("Abc/k", Code::InvalidBucketName),
        ] {
            assert_eq!(check(text), Err(code), "{text}");
        }
        assert_eq!(check(&format!("abc/{}", "x".repeat(1025))), Err(Code::KeyTooLongError));
    }
}
