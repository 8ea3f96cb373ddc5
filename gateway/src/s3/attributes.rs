//! GetObjectAttributes.

use holdall_namespace::bucket::Bucket;
use holdall_namespace::get::Opened;
use holdall_namespace::limits::MAX_PARTS;
use holdall_namespace::name::ObjectKey;
use http::header as http_header;

use super::{Answer, Call, checksum, header};
use crate::error::{Code, S3Error};
use crate::limits::MAX_PAGE;
use crate::xml::write::Document;

const NAME: &str = "x-amz-object-attributes";

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    ETag,
    Checksum,
    ObjectParts,
    StorageClass,
    ObjectSize,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectAttributes.html>
pub(super) async fn get(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    let values = call.headers().get_all(NAME).iter();
    let wanted = wanted(values.map(|value| value.to_str().unwrap_or("\u{fffd}")))?;
    let opened = call.state.namespace.open_object(bucket, key).await?;
    let object = &opened.object;
    let mut document = Document::new("GetObjectAttributesResponse");
    if wanted.contains(&Attribute::ETag) {
        document.text("ETag", &object.etag);
    }
    if let Some(sum) = object.checksum.as_ref().filter(|_| wanted.contains(&Attribute::Checksum)) {
        document.nested("Checksum", |document| {
            document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, object.parts));
            document.text("ChecksumType", checksum::kind_name(sum.kind));
        });
    }
    if let Some(total) = object.parts.filter(|_| wanted.contains(&Attribute::ObjectParts)) {
        parts(call, &opened, total, &mut document).await?;
    }
    if wanted.contains(&Attribute::StorageClass) {
        document.text("StorageClass", object.storage_class.as_deref().unwrap_or("STANDARD"));
    }
    if wanted.contains(&Attribute::ObjectSize) {
        document.plain("ObjectSize", object.size);
    }
    let mut response = header::document(document.finish());
    response.headers_mut().insert(http_header::LAST_MODIFIED, header::date(object.modified));
    Ok(response)
}

fn wanted<'a>(values: impl Iterator<Item = &'a str>) -> Result<Vec<Attribute>, S3Error> {
    let names = values.flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let known = |name| match name {
        "ETag" => Ok(Attribute::ETag),
        "Checksum" => Ok(Attribute::Checksum),
        "ObjectParts" => Ok(Attribute::ObjectParts),
        "StorageClass" => Ok(Attribute::StorageClass),
        "ObjectSize" => Ok(Attribute::ObjectSize),
        other => Err(S3Error::argument(NAME, other, "Invalid attribute name specified.")),
    };
    let wanted: Vec<_> = names.map(known).collect::<Result<_, _>>()?;
    if wanted.is_empty() {
        return Err(S3Error::with(Code::InvalidRequest, format!("Missing required header for this request: {NAME}")));
    }
    Ok(wanted)
}

async fn parts(call: &Call, opened: &Opened, total: u32, document: &mut Document) -> Result<(), S3Error> {
    let limit = number(call, "x-amz-max-parts", MAX_PAGE)?.min(MAX_PAGE);
    let after = number(call, "x-amz-part-number-marker", 0)?.min(MAX_PARTS as usize) as u32;
    let mut page = opened.parts(after, limit + 1).await?;
    let truncated = page.len() > limit;
    page.truncate(limit);
    document.nested("ObjectParts", |document| {
        document.plain("PartsCount", total);
        document.plain("PartNumberMarker", after);
        document.plain("NextPartNumberMarker", page.last().map_or(0, |part| part.number));
        document.plain("MaxParts", limit);
        document.plain("IsTruncated", truncated);
        for part in &page {
            document.nested("Part", |document| {
                document.plain("PartNumber", part.number);
                document.plain("Size", part.size);
                if let Some(sum) = &part.checksum {
                    document.plain(checksum::element_name(sum.algorithm), checksum::encode(sum, None));
                }
            });
        }
    });
    Ok(())
}

fn number(call: &Call, name: &str, default: usize) -> Result<usize, S3Error> {
    let Some(text) = header::text(call.headers(), name)? else { return Ok(default) };
    let number =
        header::whole::<u32>(text.trim()).ok_or_else(|| S3Error::argument(name, text, format!("Invalid {name}")))?;
    Ok(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_a_list_over_any_number_of_headers() {
        use Attribute::{ETag, ObjectSize};
        for (values, expected) in [
            (&["ETag,ObjectSize"][..], Ok(vec![ETag, ObjectSize])),
            (&["ETag", " ObjectSize "], Ok(vec![ETag, ObjectSize])),
            (&["etag"], Err(Code::InvalidArgument)),
            (&["ETag,Checksums"], Err(Code::InvalidArgument)),
            (&[""], Err(Code::InvalidRequest)),
            (&[], Err(Code::InvalidRequest)),
        ] {
            assert_eq!(wanted(values.iter().copied()).map_err(|error| error.code), expected, "{values:?}");
        }
    }
}
