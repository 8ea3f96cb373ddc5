//! GetObject, HeadObject.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::fault::Fault;
use holdall_namespace::get::{Bytestream, Opened};
use holdall_namespace::limits::MAX_PARTS;
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Checksum, ChecksumKind, Object};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header as http_header};
use http_body::{Frame, SizeHint};

use super::condition::{ReadCondition, Verdict};
use super::range::{self, Wanted};
use super::{Answer, Call, RequestId, checksum, header};
use crate::error::{Code, S3Error};

/// Query parameters that replace a header of the answer.
const OVERRIDES: [(&str, HeaderName); 6] = [
    ("response-content-type", http_header::CONTENT_TYPE),
    ("response-content-language", http_header::CONTENT_LANGUAGE),
    ("response-expires", http_header::EXPIRES),
    ("response-cache-control", http_header::CACHE_CONTROL),
    ("response-content-disposition", http_header::CONTENT_DISPOSITION),
    ("response-content-encoding", http_header::CONTENT_ENCODING),
];

/// What of the object is answered.
struct Selection {
    range: Range<u64>,
    /// Not all of it was asked for.
    partial: bool,
    /// A part, asked for by its number.
    part: Option<PartRead>,
}

struct PartRead {
    /// The part's own.
    checksum: Option<Checksum>,
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>
pub(super) async fn get(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    let opened = call.state.namespace.open_object(bucket, key).await?;
    if let Some(response) = unchanged(call, &opened.object)? {
        return Ok(response);
    }
    let selection = match part_number(call)? {
        Some(number) => select_part(call, &opened, number).await?,
        None => select(call, &opened.object)?,
    };
    let mut response = head_of(call, &opened.object, &selection)?;
    *response.body_mut() = body(opened, selection.range, call.id).await?;
    Ok(response)
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html>
pub(super) async fn head(call: &Call, bucket: &Bucket, key: &ObjectKey) -> Answer {
    call.only_version()?;
    let namespace = &call.state.namespace;
    if let Some(number) = part_number(call)? {
        let opened = namespace.open_object(bucket, key).await?;
        if let Some(response) = unchanged(call, &opened.object)? {
            return Ok(response);
        }
        return head_of(call, &opened.object, &select_part(call, &opened, number).await?);
    }
    let object = namespace.head(bucket, key).await?;
    match unchanged(call, &object)? {
        Some(response) => Ok(response),
        None => head_of(call, &object, &select(call, &object)?),
    }
}

/// 304, or 412 as an error.
fn unchanged(call: &Call, object: &Object) -> Result<Option<Response<Body>>, S3Error> {
    match ReadCondition::of_read(call.headers())?.check(object) {
        Verdict::Holds => Ok(None),
        Verdict::Failed(name) => Err(S3Error::new(Code::PreconditionFailed).detail("Condition", name)),
        Verdict::NotModified(_) => {
            let mut response = header::empty(StatusCode::NOT_MODIFIED);
            header::send(&object.headers, response.headers_mut());
            response.headers_mut().remove(http_header::CONTENT_TYPE);
            identify(response.headers_mut(), object);
            Ok(Some(response))
        }
    }
}

fn part_number(call: &Call) -> Result<Option<u32>, S3Error> {
    const NAME: &str = "partNumber";
    let Some(text) = call.query.get(NAME) else { return Ok(None) };
    if call.headers().contains_key(http_header::RANGE) {
        let message = "Cannot specify both Range header and partNumber query parameter.";
        return Err(S3Error::with(Code::InvalidRequest, message));
    }
    let number = header::whole(text).filter(|number| (1..=MAX_PARTS).contains(number));
    let message = || format!("Part number must be an integer between 1 and {MAX_PARTS}, inclusive");
    number.map(Some).ok_or_else(|| S3Error::argument(NAME, text, message()))
}

async fn select_part(call: &Call, opened: &Opened, number: u32) -> Result<Selection, S3Error> {
    let Some(range) = opened.part_range(number).await? else {
        // The outside suite's word; AWS says InvalidPartNumber, 416.
        return Err(S3Error::new(Code::InvalidPart)
            .detail("PartNumberRequested", number.to_string())
            .detail("ActualPartCount", opened.object.parts.unwrap_or(1).to_string()));
    };
    if opened.object.parts.is_none() {
        return Ok(Selection {
            range,
            partial: true,
            part: Some(PartRead { checksum: opened.object.checksum.clone() }),
        });
    }
    let checksum = if wants_checksum(call) {
        let part = opened.parts(number - 1, 1).await?.into_iter().find(|part| part.number == number);
        part.and_then(|part| part.checksum)
    } else {
        None
    };
    Ok(Selection { range, partial: true, part: Some(PartRead { checksum }) })
}

fn select(call: &Call, object: &Object) -> Result<Selection, S3Error> {
    let header = call.headers().get(http_header::RANGE).and_then(|range| range.to_str().ok());
    let header = header.filter(|_| still_the_same(call, object));
    Ok(match range::of_read(header, object.size)? {
        Wanted::Whole => Selection { range: 0..object.size, partial: false, part: None },
        Wanted::Part(range) => Selection { range, partial: true, part: None },
    })
}

/// If-Range: a range is only wanted of the object that the client has begun to read.
fn still_the_same(call: &Call, object: &Object) -> bool {
    let Some(value) = call.headers().get(http_header::IF_RANGE) else { return true };
    *value == header::etag(&object.etag) || *value == header::date(object.modified)
}

fn wants_checksum(call: &Call) -> bool {
    let mode = call.headers().get("x-amz-checksum-mode");
    mode.is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"ENABLED"))
}

/// ETag and Last-Modified.
fn identify(headers: &mut HeaderMap, object: &Object) {
    headers.insert(http_header::ETAG, header::etag(&object.etag));
    headers.insert(http_header::LAST_MODIFIED, header::date(object.modified));
}

/// Status and headers of GET and HEAD.
fn head_of(call: &Call, object: &Object, selection: &Selection) -> Answer {
    let mut response = header::empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(http_header::CONTENT_TYPE, header::DEFAULT_TYPE);
    header::send(&object.headers, headers);
    identify(headers, object);
    headers.insert(http_header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let Range { start, end } = selection.range;
    headers.insert(http_header::CONTENT_LENGTH, HeaderValue::from(end - start));
    if !object.tags.is_empty() {
        headers.insert("x-amz-tagging-count", HeaderValue::from(object.tags.len()));
    }
    if let Some(class) = &object.storage_class {
        header::set(headers, "x-amz-storage-class", class);
    }
    if let (Some(count), Some(_)) = (object.parts, &selection.part) {
        headers.insert("x-amz-mp-parts-count", HeaderValue::from(count));
    }
    if wants_checksum(call) {
        add_checksum(headers, object, selection);
    }
    override_headers(call, headers)?;
    if selection.partial && end > start {
        header::set(headers, "content-range", &format!("bytes {start}-{}/{}", end - 1, object.size));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// The checksum of exactly what is answered: a range has none.
fn add_checksum(headers: &mut HeaderMap, object: &Object, selection: &Selection) {
    let (sum, parts) = match &selection.part {
        Some(part) => (part.checksum.as_ref(), None),
        None if selection.partial => (None, None),
        None => (object.checksum.as_ref(), object.parts),
    };
    if let Some(sum) = sum {
        let kind = object.checksum.as_ref().map_or(ChecksumKind::FullObject, |whole| whole.kind);
        header::set(headers, checksum::header_name(sum.algorithm), &checksum::encode(sum, parts));
        header::set(headers, "x-amz-checksum-type", checksum::kind_name(kind));
    }
}

fn override_headers(call: &Call, headers: &mut HeaderMap) -> Result<(), S3Error> {
    for (parameter, name) in OVERRIDES {
        if let Some(value) = call.query.get(parameter) {
            let refused = || S3Error::argument(parameter, value, "The value cannot be a header");
            headers.insert(name, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?);
        }
    }
    Ok(())
}

/// The bytes. What can fail before the first of them is an error document; what fails later breaks the connection.
async fn body(opened: Opened, range: Range<u64>, id: RequestId) -> Result<Body, S3Error> {
    let size = range.end - range.start;
    if size == 0 {
        return Ok(Body::empty());
    }
    let mut rest = opened.read(range).await?;
    let first = rest.next().await.transpose()?.unwrap_or_default();
    if first.len() as u64 == size {
        return Ok(Body::from(first));
    }
    Ok(Body::new(Sending { first: Some(first), rest, left: size, failed: None, id, _opened: opened }))
}

/// An object on its way out. Ends well only after exactly the bytes announced.
struct Sending {
    first: Option<Bytes>,
    rest: Bytestream,
    left: u64,
    failed: Option<Fault>,
    id: RequestId,
    /// Keeps the version's bytes from being swept.
    _opened: Opened,
}

impl Sending {
    fn broken(&self, cause: &Fault) {
        tracing::error!(request = %self.id, %cause, left = self.left, "answer broke off");
    }
}

impl http_body::Body for Sending {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(fault) = self.failed.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let piece = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(Pin::new(&mut self.rest).poll_next(context)),
        };
        let sent = match piece {
            None if self.left == 0 => return Poll::Ready(None),
            None => Err(Fault::Damaged("the bytes ended early".into())),
            Some(Ok(piece)) if piece.len() as u64 > self.left => Err(Fault::Damaged("too many bytes".into())),
            Some(piece) => piece,
        };
        match sent {
            Ok(piece) => {
                self.left -= piece.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Err(fault) => {
                self.broken(&fault);
                // A pause lets status, headers and the bytes so far go out before the connection breaks.
                self.failed = Some(fault);
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
