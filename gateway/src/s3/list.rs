//! ListObjects, ListObjectsV2, ListObjectVersions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::list::{Line, List, ListPage, Summary};

use super::bucket::owner;
use super::{Answer, Call, checksum, header};
use crate::error::S3Error;
use crate::limits::MAX_PAGE;
use crate::xml::write::{Document, KeyEncoding, timestamp};

/// What the three have in common.
struct Asked<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    limit: usize,
    encoding: KeyEncoding,
}

impl<'a> Asked<'a> {
    fn of(call: &'a Call) -> Result<Self, S3Error> {
        Ok(Self {
            prefix: call.query.get("prefix").unwrap_or(""),
            delimiter: call.query.get("delimiter").unwrap_or(""),
            limit: call.number("max-keys", MAX_PAGE, MAX_PAGE)?,
            encoding: encoding(call)?,
        })
    }

    async fn page(&self, call: &Call, bucket: &Bucket, after: String) -> Result<ListPage, S3Error> {
        let list =
            List { prefix: self.prefix.to_owned(), delimiter: self.delimiter.to_owned(), after, limit: self.limit };
        Ok(call.state.namespace.list(bucket, list).await?)
    }

    fn begin(&self, root: &'static str, bucket: &Bucket, prefix: KeyEncoding) -> Document {
        let mut document = Document::new(root);
        document.text("Name", bucket.name.as_str());
        document.key("Prefix", self.prefix, prefix);
        document
    }

    /// What follows the markers.
    fn common(&self, document: &mut Document, page: &ListPage) {
        document.plain("MaxKeys", self.limit);
        if !self.delimiter.is_empty() {
            document.key("Delimiter", self.delimiter, self.encoding);
        }
        if self.encoding == KeyEncoding::Url {
            document.text("EncodingType", "url");
        }
        document.plain("IsTruncated", page.next.is_some());
    }

    fn prefixes(&self, document: &mut Document, page: &ListPage) {
        for line in &page.lines {
            if let Line::Prefix(prefix) = line {
                document.nested("CommonPrefixes", |document| document.key("Prefix", prefix, self.encoding));
            }
        }
    }
}

pub(super) fn encoding(call: &Call) -> Result<KeyEncoding, S3Error> {
    match call.query.filled("encoding-type") {
        None => Ok(KeyEncoding::Plain),
        Some("url") => Ok(KeyEncoding::Url),
        Some(other) => Err(S3Error::argument("encoding-type", other, "Invalid Encoding Method specified in Request")),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjects.html>
pub(super) async fn objects(call: &Call, bucket: &Bucket) -> Answer {
    let asked = Asked::of(call)?;
    let marker = call.query.get("marker").unwrap_or("");
    let page = asked.page(call, bucket, marker.to_owned()).await?;
    // boto3 and the aws CLI always ask for URL encoding and decode everything of this answer but the prefix.
    let mut document = asked.begin("ListBucketResult", bucket, KeyEncoding::Plain);
    document.key("Marker", marker, asked.encoding);
    if let Some(next) = page.next.as_ref().filter(|_| !asked.delimiter.is_empty()) {
        document.key("NextMarker", next, asked.encoding);
    }
    asked.common(&mut document, &page);
    contents(&mut document, &page, &asked, Some(call));
    asked.prefixes(&mut document, &page);
    Ok(header::document(document.finish()))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
pub(super) async fn objects_v2(call: &Call, bucket: &Bucket) -> Answer {
    let asked = Asked::of(call)?;
    let start = call.query.get("start-after");
    let token = call.query.get("continuation-token");
    let after = match token.filter(|token| !token.is_empty()) {
        Some(token) => from_token(token)?,
        None => start.unwrap_or("").to_owned(),
    };
    let page = asked.page(call, bucket, after).await?;
    let mut document = asked.begin("ListBucketResult", bucket, asked.encoding);
    document.plain("KeyCount", page.lines.len());
    document.some("ContinuationToken", token);
    if let Some(next) = &page.next {
        document.plain("NextContinuationToken", URL_SAFE_NO_PAD.encode(next));
    }
    if let Some(start) = start {
        document.key("StartAfter", start, asked.encoding);
    }
    asked.common(&mut document, &page);
    let with_owner = call.query.get("fetch-owner") == Some("true");
    contents(&mut document, &page, &asked, with_owner.then_some(call));
    asked.prefixes(&mut document, &page);
    Ok(header::document(document.finish()))
}

fn from_token(token: &str) -> Result<String, S3Error> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| S3Error::argument("continuation-token", token, "The continuation token provided is incorrect"))
}

fn contents(document: &mut Document, page: &ListPage, asked: &Asked<'_>, with_owner: Option<&Call>) {
    for line in &page.lines {
        if let Line::Object(summary) = line {
            document.nested("Contents", |document| object(document, summary, asked.encoding, with_owner));
        }
    }
}

fn object(document: &mut Document, summary: &Summary, encoding: KeyEncoding, with_owner: Option<&Call>) {
    document.key("Key", &summary.key, encoding);
    columns(document, summary);
    if let Some(call) = with_owner {
        owner(document, "Owner", call);
    }
}

fn columns(document: &mut Document, summary: &Summary) {
    document.plain("LastModified", timestamp(summary.modified));
    document.etag(&summary.etag);
    if let Some((algorithm, kind)) = summary.checksum {
        document.text("ChecksumAlgorithm", checksum::name(algorithm));
        document.text("ChecksumType", checksum::kind_name(kind));
    }
    document.plain("Size", summary.size);
    document.text("StorageClass", summary.storage_class.as_deref().unwrap_or("STANDARD"));
}

/// A bucket without versioning has one version of each key, `null`.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectVersions.html>
pub(super) async fn versions(call: &Call, bucket: &Bucket) -> Answer {
    let asked = Asked::of(call)?;
    let marker = call.query.get("key-marker").unwrap_or("");
    let version = call.query.get("version-id-marker").unwrap_or("");
    if marker.is_empty() && !version.is_empty() {
        let message = "A version-id marker cannot be specified without a key marker.";
        return Err(S3Error::argument("version-id-marker", version, message));
    }
    let page = asked.page(call, bucket, marker.to_owned()).await?;
    let mut document = asked.begin("ListVersionsResult", bucket, asked.encoding);
    document.key("KeyMarker", marker, asked.encoding);
    document.text("VersionIdMarker", version);
    if let Some(next) = &page.next {
        document.key("NextKeyMarker", next, asked.encoding);
        if matches!(page.lines.last(), Some(Line::Object(_))) {
            document.text("NextVersionIdMarker", "null");
        }
    }
    asked.common(&mut document, &page);
    for line in &page.lines {
        if let Line::Object(summary) = line {
            document.nested("Version", |document| {
                document.key("Key", &summary.key, asked.encoding);
                document.text("VersionId", "null");
                document.plain("IsLatest", true);
                columns(document, summary);
                owner(document, "Owner", call);
            });
        }
    }
    asked.prefixes(&mut document, &page);
    Ok(header::document(document.finish()))
}
