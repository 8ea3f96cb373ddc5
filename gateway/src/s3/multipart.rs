//! The multipart family.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use holdall_namespace::bucket::Bucket;
use holdall_namespace::limits::{MAX_PARTS, MAX_PUT};
use holdall_namespace::multipart::{Complete, CreateUpload, ListUploads, UploadId, UploadInfo};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{ChecksumAlgorithm, ChecksumKind, Part};
use holdall_namespace::put::PutError;
use http::{StatusCode, header as http_header};

use super::bucket::owner;
use super::checksum::{self, Announced};
use super::put::{Incoming, answer_checksum, failed};
use super::{Answer, Call, condition, copy, header, list, range, read_checked, tagging};
use crate::auth::VerifiedBody;
use crate::error::{Code, S3Error};
use crate::limits::{COPY_TRIES, MAX_LONG_XML, MAX_PAGE};
use crate::xml::read;
use crate::xml::write::{Document, KeyEncoding, timestamp};

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html>
pub(super) async fn create(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    header::refuse_acl(call.headers())?;
    let checksum = checksum::asked(call.headers())?;
    let create = CreateUpload {
        headers: header::kept(call.headers())?,
        tags: tagging::of_header(call.headers())?,
        storage_class: header::storage_class(call.headers())?,
        checksum,
    };
    let id = call.state.namespace.create_upload(bucket, key, create).await?;
    let mut document = Document::new("InitiateMultipartUploadResult");
    document.text("Bucket", bucket.name.as_str());
    document.text("Key", key.as_str());
    document.plain("UploadId", id);
    let mut response = header::document(document.finish());
    if let Some((algorithm, kind)) = checksum {
        header::set(response.headers_mut(), "x-amz-checksum-algorithm", checksum::name(algorithm));
        header::set(response.headers_mut(), "x-amz-checksum-type", checksum::kind_name(kind));
    }
    Ok(response)
}

fn upload_id(call: &Call) -> Result<UploadId, S3Error> {
    Ok(call.query.get("uploadId").unwrap_or("").parse::<UploadId>()?)
}

fn part_number(call: &Call) -> Result<u32, S3Error> {
    let text = call.query.get("partNumber").unwrap_or("");
    let number = header::whole(text).filter(|number| (1..=MAX_PARTS).contains(number));
    let message = || format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive");
    number.ok_or_else(|| S3Error::argument("partNumber", text, message()))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>
pub(super) async fn upload_part(call: &Call, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    let (id, number) = (upload_id(call)?, part_number(call)?);
    let announced = Announced::of(call.headers(), &body.announced)?;
    let namespace = &call.state.namespace;
    let wanted = namespace.upload(bucket, key, id).await?.checksum.map(|(algorithm, _)| algorithm);
    let algorithm = part_algorithm(wanted, announced.algorithm())?;
    let incoming = Incoming::of(call, body, announced, algorithm).await?;
    let done = namespace.upload_part(bucket, key, id, number, incoming.upload).await;
    let done = done.map_err(|error| failed(error, &incoming.failure))?;
    let mut response = header::empty(StatusCode::OK);
    response.headers_mut().insert(http_header::ETAG, header::etag(&done.etag));
    if let Some(sum) = &done.checksum {
        answer_checksum(response.headers_mut(), sum);
    }
    Ok(response)
}

/// A part's checksum is the upload's, computed here when the client sends none.
fn part_algorithm(
    upload: Option<ChecksumAlgorithm>,
    part: Option<ChecksumAlgorithm>,
) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    match (upload, part) {
        (Some(upload), Some(part)) if upload != part => {
            let (upload, part) = (checksum::name(upload).to_lowercase(), checksum::name(part).to_lowercase());
            let message = format!(
                "Checksum Type mismatch occurred, expected checksum Type: {upload}, actual checksum Type: {part}"
            );
            Err(S3Error::with(Code::InvalidRequest, message))
        }
        (upload, part) => Ok(upload.or(part)),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
pub(super) async fn upload_part_copy(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    let (id, number) = (upload_id(call)?, part_number(call)?);
    let mut tries = COPY_TRIES;
    let done = loop {
        let (_, _, source) = copy::open(call).await?;
        let range = range::of_source(header::text(call.headers(), "x-amz-copy-source-range")?, source.object.size)?;
        if range.end - range.start > MAX_PUT {
            let message = format!(
                "The specified copy source is larger than the maximum allowable size for a copy source: {MAX_PUT}"
            );
            return Err(S3Error::with(Code::InvalidRequest, message));
        }
        tries -= 1;
        match call.state.namespace.upload_part_copy(bucket, key, id, number, &source, range).await {
            Err(PutError::SourceGone) if tries > 0 => {}
            done => break done?,
        }
    };
    let mut document = Document::new("CopyPartResult");
    document.plain("LastModified", timestamp(done.modified));
    document.etag(&done.etag);
    if let Some(sum) = &done.checksum {
        document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, None));
    }
    Ok(header::document(document.finish()))
}

/// The checksum headers are of the object, not of the request's body.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
pub(super) async fn complete(call: &Call, bucket: &Bucket, key: &ObjectKey, body: VerifiedBody) -> Answer {
    let id = upload_id(call)?;
    let parts = read::complete(&read_checked(body, MAX_LONG_XML, &Announced::default()).await?)?;
    if let Some(part) = parts.iter().find(|part| !(1..=MAX_PARTS).contains(&part.number)) {
        let message = format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive");
        return Err(S3Error::argument("partNumber", &part.number.to_string(), message));
    }
    let checksum = checksum::of_whole(call.headers(), parts.len())?;
    let kind = checksum::asked_kind(call.headers())?;
    let size = object_size(call)?;
    let condition = condition::of_write(call.headers())?;
    if let Some(kind) = kind {
        same_kind(call, bucket, key, id, kind).await?;
    }
    let request = Complete { bucket, key, id, parts, checksum, size, condition };
    let object = call.state.namespace.complete_upload(request).await?;
    let mut document = Document::new("CompleteMultipartUploadResult");
    let host = call.host().unwrap_or_default();
    document.text("Location", &format!("{}://{host}{}", call.state.scheme, call.parts.uri.path()));
    document.text("Bucket", bucket.name.as_str());
    document.text("Key", key.as_str());
    document.etag(&object.etag);
    if let Some(sum) = &object.checksum {
        document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, object.parts));
        document.text("ChecksumType", checksum::kind_name(sum.kind));
    }
    Ok(header::document(document.finish()))
}

fn object_size(call: &Call) -> Result<Option<u64>, S3Error> {
    const NAME: &str = "x-amz-mp-object-size";
    let Some(text) = header::text(call.headers(), NAME)? else { return Ok(None) };
    let message = "Value for x-amz-mp-object-size header is invalid.";
    header::whole(text.trim()).map(Some).ok_or_else(|| S3Error::with(Code::InvalidRequest, message))
}

/// `x-amz-checksum-type` must repeat what the upload began with. A completed upload has no type to compare; its answer
/// is repeated for the same list.
async fn same_kind(
    call: &Call,
    bucket: &Bucket,
    key: &ObjectKey,
    id: UploadId,
    kind: ChecksumKind,
) -> Result<(), S3Error> {
    let Ok(upload) = call.state.namespace.upload(bucket, key, id).await else { return Ok(()) };
    match upload.checksum {
        Some((_, known)) if known != kind => {
            let (known, kind) = (checksum::kind_name(known), checksum::kind_name(kind));
            let message = format!(
                "The upload was created using the {known} checksum mode. The complete request must use the same checksum mode, not {kind}."
            );
            Err(S3Error::with(Code::InvalidRequest, message))
        }
        _ => Ok(()),
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_AbortMultipartUpload.html>
pub(super) async fn abort(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.state.namespace.abort_upload(bucket, key, upload_id(call)?).await?;
    Ok(header::empty(StatusCode::NO_CONTENT))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListParts.html>
pub(super) async fn list_parts(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    let id = upload_id(call)?;
    let encoding = list::encoding(call)?;
    let limit = call.number("max-parts", MAX_PAGE, MAX_PAGE)?;
    let after = call.number("part-number-marker", 0, MAX_PARTS as usize)? as u32;
    let upload = call.state.namespace.upload(bucket, key, id).await?;
    let (parts, more) = call.state.namespace.list_parts(bucket, key, id, after, limit).await?;
    let mut document = Document::new("ListPartsResult");
    document.text("Bucket", bucket.name.as_str());
    document.key("Key", key.as_str(), encoding);
    document.plain("UploadId", id);
    who_and_how(&mut document, call, &upload);
    document.plain("PartNumberMarker", after);
    document.plain("NextPartNumberMarker", parts.last().map_or(0, |part| part.number));
    document.plain("MaxParts", limit);
    document.plain("IsTruncated", more);
    for part in &parts {
        document.nested("Part", |document| one_part(document, part));
    }
    Ok(header::document(document.finish()))
}

fn one_part(document: &mut Document, part: &Part) {
    document.plain("PartNumber", part.number);
    document.plain("LastModified", timestamp(part.modified));
    document.etag(&part.etag);
    document.plain("Size", part.size);
    if let Some(sum) = &part.checksum {
        document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, None));
    }
}

/// Only the bucket's owner can have begun an upload.
fn who_and_how(document: &mut Document, call: &Call, upload: &UploadInfo) {
    owner(document, "Initiator", call);
    owner(document, "Owner", call);
    document.text("StorageClass", upload.storage_class.as_deref().unwrap_or("STANDARD"));
    if let Some((algorithm, kind)) = upload.checksum {
        document.text("ChecksumAlgorithm", checksum::name(algorithm));
        document.text("ChecksumType", checksum::kind_name(kind));
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListMultipartUploads.html>
pub(super) async fn list_uploads(call: &Call, bucket: &Bucket) -> Answer {
    let text = |name| call.query.get(name).unwrap_or("");
    let encoding = list::encoding(call)?;
    let limit = call.number("max-uploads", MAX_PAGE, MAX_PAGE)?;
    let (prefix, delimiter, key_marker) = (text("prefix"), text("delimiter"), text("key-marker"));
    // Without a key marker, an id marker is ignored (S3).
    let id_marker = call.query.filled("upload-id-marker").filter(|_| !key_marker.is_empty());
    let wrong = |id: &str| S3Error::argument("upload-id-marker", id, "Invalid uploadId marker");
    let list = ListUploads {
        prefix: prefix.to_owned(),
        delimiter: delimiter.to_owned(),
        key_marker: key_marker.to_owned(),
        id_marker: id_marker.map(|id| id.parse().map_err(|_| wrong(id))).transpose()?,
        limit,
    };
    let page = call.state.namespace.list_uploads(bucket, list).await?;
    let mut document = Document::new("ListMultipartUploadsResult");
    document.text("Bucket", bucket.name.as_str());
    document.key("KeyMarker", key_marker, encoding);
    document.text("UploadIdMarker", id_marker.unwrap_or(""));
    if let Some((key, id)) = &page.next {
        document.key("NextKeyMarker", key, encoding);
        if let Some(id) = id {
            document.plain("NextUploadIdMarker", id);
        }
    }
    if !delimiter.is_empty() {
        document.key("Delimiter", delimiter, encoding);
    }
    document.key("Prefix", prefix, encoding);
    if encoding == KeyEncoding::Url {
        document.text("EncodingType", "url");
    }
    document.plain("MaxUploads", limit);
    document.plain("IsTruncated", page.next.is_some());
    for upload in &page.uploads {
        document.nested("Upload", |document| {
            document.key("Key", upload.key.as_str(), encoding);
            document.plain("UploadId", upload.id);
            who_and_how(document, call, upload);
            document.plain("Initiated", timestamp(upload.initiated));
        });
    }
    for prefix in &page.prefixes {
        document.nested("CommonPrefixes", |document| document.key("Prefix", prefix, encoding));
    }
    Ok(header::document(document.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_the_uploads_checksum() {
        use ChecksumAlgorithm::{Crc32, Sha256};
        for (upload, part, expected) in [
            (None, None, Ok(None)),
            (None, Some(Crc32), Ok(Some(Crc32))),
            (Some(Crc32), None, Ok(Some(Crc32))),
            (Some(Sha256), Some(Sha256), Ok(Some(Sha256))),
            (Some(Sha256), Some(Crc32), Err(Code::InvalidRequest)),
        ] {
            assert_eq!(part_algorithm(upload, part).map_err(|error| error.code), expected, "{upload:?} {part:?}");
        }
    }
}
