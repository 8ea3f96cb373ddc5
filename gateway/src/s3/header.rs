//! Headers in and out.

use std::str::FromStr;

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use holdall_namespace::clock::UnixMs;
use holdall_namespace::limits::MAX_METADATA;
use holdall_namespace::object::{Headers, Pairs};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use jiff::fmt::rfc2822::DateTimeParser;

use crate::error::{Code, S3Error};

/// What an object without a Content-Type is (S3).
pub const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("binary/octet-stream");
/// What every document is.
pub const XML: HeaderValue = HeaderValue::from_static("application/xml");

const META: &str = "x-amz-meta-";
const AWS_CHUNKED: &str = "aws-chunked";

/// Headers that come with an object and go out with it.
const SYSTEM: [HeaderName; 7] = [
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_TYPE,
    header::EXPIRES,
    HeaderName::from_static("x-amz-website-redirect-location"),
];

/// Storage classes of AWS that a bucket of any kind takes. Here they are a label; objectives decide where bytes are.
pub(crate) const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];

/// Headers, by their start, that ask for what is not built: taking them silently would promise it.
const REFUSED: [&str; 4] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-object-lock-",
    "x-amz-write-offset-bytes",
];

/// A header's text; what is not ASCII or UTF-8 is refused.
pub fn text<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, S3Error> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes());
    text.map(Some).map_err(|_| S3Error::argument(name, "", format!("The value of {name} is not text")))
}

/// A number that is written in digits and nothing else: no sign, no space.
pub fn whole<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Refuses headers that imply what is not built.
pub fn refuse_unbuilt(headers: &HeaderMap) -> Result<(), S3Error> {
    let starts = |name: &&HeaderName| REFUSED.iter().any(|prefix| name.as_str().starts_with(prefix));
    match headers.keys().find(starts) {
        Some(name) => Err(S3Error::header_not_implemented(name.as_str())),
        None => Ok(()),
    }
}

/// Takes the canned ACLs that say what is so anyway, and refuses all others.
pub fn refuse_acl(headers: &HeaderMap) -> Result<(), S3Error> {
    let grants = headers.keys().any(|name| name.as_str().starts_with("x-amz-grant-"));
    match text(headers, "x-amz-acl")? {
        None | Some("private" | "bucket-owner-full-control") if !grants => Ok(()),
        _ => Err(Code::AccessControlListNotSupported.into()),
    }
}

/// `x-amz-storage-class` when not STANDARD.
pub fn storage_class(headers: &HeaderMap) -> Result<Option<String>, S3Error> {
    match text(headers, "x-amz-storage-class")? {
        None | Some("" | "STANDARD") => Ok(None),
        Some(class) if STORAGE_CLASSES.contains(&class) => Ok(Some(class.to_owned())),
        Some(class) => Err(S3Error::new(Code::InvalidStorageClass).detail("StorageClassRequested", class)),
    }
}

/// What a request wants kept with an object.
pub fn kept(headers: &HeaderMap) -> Result<Headers, S3Error> {
    let mut kept = Headers::default();
    for name in SYSTEM {
        let value = joined(headers, &name);
        let value = if name == header::CONTENT_ENCODING { value.map(without_chunked) } else { value };
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            kept.system.push((name.as_str().to_owned(), value));
        }
    }
    let mut size = 0;
    for name in headers.keys() {
        if let Some(short) = name.as_str().strip_prefix(META) {
            size += short.len() + headers.get_all(name).iter().map(HeaderValue::len).sum::<usize>();
            kept.user.push((short.to_owned(), joined(headers, name).unwrap_or_default()));
        }
    }
    if size > MAX_METADATA {
        return Err(S3Error::new(Code::MetadataTooLarge)
            .detail("Size", size.to_string())
            .detail("MaxSizeAllowed", MAX_METADATA.to_string()));
    }
    Ok(kept)
}

/// All values of a header in one.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let first = to_text(values.next()?);
    Some(values.fold(first, |all, value| all + "," + &to_text(value)))
}

/// `aws-chunked` says how the request came, not what the object is.
fn without_chunked(value: String) -> String {
    if !value.contains(AWS_CHUNKED) {
        return value;
    }
    let encodings = value.split(',').map(str::trim).filter(|encoding| *encoding != AWS_CHUNKED);
    encodings.collect::<Vec<_>>().join(", ")
}

/// A value as text that gives its bytes back. Text of one byte a character, marked by a NUL that no header can have,
/// where the bytes are no UTF-8.
fn to_text(value: &HeaderValue) -> String {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => std::iter::once('\0').chain(value.as_bytes().iter().copied().map(char::from)).collect(),
    }
}

fn to_value(text: &str) -> Option<HeaderValue> {
    let value = match text.strip_prefix('\0') {
        Some(bytes) => HeaderValue::from_bytes(&bytes.chars().map(|c| c as u8).collect::<Vec<_>>()),
        None => HeaderValue::from_bytes(text.as_bytes()),
    };
    value.ok()
}

/// Puts what was kept onto an answer.
pub fn send(kept: &Headers, out: &mut HeaderMap) {
    let known = |name: &str| SYSTEM.into_iter().find(|known| known == name);
    for (name, value) in &kept.system {
        if let (Some(name), Some(value)) = (known(name), to_value(value)) {
            out.insert(name, value);
        }
    }
    for (name, value) in &kept.user {
        let name = HeaderName::try_from(format!("{META}{name}"));
        if let (Ok(name), Some(value)) = (name, to_value(value)) {
            out.insert(name, value);
        }
    }
}

/// Puts text that we made, or checked, onto an answer.
pub fn set(out: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        out.insert(HeaderName::from_static(name), value);
    }
}

/// An ETag in its quotes.
pub fn etag(etag: &str) -> HeaderValue {
    let mut quoted = String::with_capacity(etag.len() + 2);
    quoted.push('"');
    quoted.push_str(etag);
    quoted.push('"');
    HeaderValue::try_from(quoted).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Last-Modified and the like.
pub fn date(time: UnixMs) -> HeaderValue {
    let time = UNIX_EPOCH + Duration::from_millis(u64::try_from(time).unwrap_or(0));
    HeaderValue::try_from(httpdate::fmt_http_date(time)).unwrap_or(HeaderValue::from_static(""))
}

/// Seconds since 1970 of an HTTP date; what is none is no condition.
pub fn parse_date(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(time) = httpdate::parse_http_date(text) {
        return time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs());
    }
    // The day of the week is not worth refusing a date for.
    let lenient = DateTimeParser::new().relaxed_weekday(true);
    lenient.parse_timestamp(text).ok().and_then(|time| u64::try_from(time.as_second()).ok())
}

/// A 200 with a document.
pub fn document(document: String) -> Response<Body> {
    let mut response = Response::new(Body::from(document));
    response.headers_mut().insert(header::CONTENT_TYPE, XML);
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Decodes `a=b&c=d` of `x-amz-tagging`.
pub fn tag_pairs(text: &str) -> Option<Pairs> {
    let query = crate::address::Query::parse(Some(text)).ok()?;
    Some(query.pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value).expect("a header"));
        }
        map
    }

    #[test]
    fn metadata_comes_back_byte_for_byte() {
        let given = map(&[
            ("x-amz-meta-plain", b"a  b"),
            ("x-amz-meta-empty", b""),
            ("x-amz-meta-utf8", "ключ".as_bytes()),
            ("x-amz-meta-latin", b"caf\xe9"),
            ("content-type", b"text/x"),
            ("expires", b"whenever"),
            ("cache-control", b"no-cache"),
        ]);
        let mut out = HeaderMap::new();
        send(&kept(&given).expect("kept"), &mut out);
        assert_eq!(out, given);
    }

    #[test]
    fn repeated_metadata_is_one_value() {
        let given = map(&[("x-amz-meta-a", b"1"), ("x-amz-meta-a", b"2")]);
        assert_eq!(kept(&given).expect("kept").user, [("a".to_owned(), "1,2".to_owned())]);
    }

    #[test]
    fn chunking_is_no_encoding_of_the_object() {
        for (given, expected) in [
            ("gzip", Some("gzip")),
            ("deflate, gzip", Some("deflate, gzip")),
            ("gzip, aws-chunked", Some("gzip")),
            ("aws-chunked,gzip", Some("gzip")),
            ("aws-chunked", None),
            ("aws-chunked, aws-chunked", None),
        ] {
            let kept = kept(&map(&[("content-encoding", given.as_bytes())])).expect("kept");
            assert_eq!(kept.system.first().map(|(_, value)| value.as_str()), expected, "{given}");
        }
    }

    #[test]
    fn metadata_has_a_limit() {
        let name = "x-amz-meta-a";
        assert!(kept(&map(&[(name, &[b'x'; 2047])])).is_ok());
        assert_eq!(kept(&map(&[(name, &[b'x'; 2048])])).map_err(|error| error.code), Err(Code::MetadataTooLarge));
    }

    #[test]
    fn headers_that_promise_more_are_refused() {
        let acl = |value: &[u8]| refuse_acl(&map(&[("x-amz-acl", value)])).map_err(|error| error.code);
        assert_eq!((acl(b"private"), acl(b"bucket-owner-full-control")), (Ok(()), Ok(())));
        assert_eq!(acl(b"public-read"), Err(Code::AccessControlListNotSupported));
        let grant = map(&[("x-amz-grant-read", b"id=1"), ("x-amz-acl", b"private")]);
        assert!(refuse_acl(&grant).is_err());
        for name in
            ["x-amz-server-side-encryption", "x-amz-server-side-encryption-customer-key", "x-amz-object-lock-mode"]
        {
            let code = refuse_unbuilt(&map(&[(name, b"x")])).map_err(|error| error.code);
            assert_eq!(code, Err(Code::NotImplemented), "{name}");
        }
        let class = |value: &[u8]| storage_class(&map(&[("x-amz-storage-class", value)])).map_err(|error| error.code);
        assert_eq!(class(b"STANDARD"), Ok(None));
        assert_eq!(class(b"GLACIER_IR"), Ok(Some("GLACIER_IR".into())));
        assert_eq!(class(b"standard"), Err(Code::InvalidStorageClass));
    }

    #[test]
    fn dates_are_http_dates() {
        assert_eq!(date(784_887_011_999), "Tue, 15 Nov 1994 08:10:11 GMT");
        assert_eq!(parse_date("Tue, 15 Nov 1994 08:10:11 GMT"), Some(784_887_011));
        assert_eq!(parse_date("Sun, 15 Nov 1994 08:10:11 GMT"), Some(784_887_011));
        assert_eq!(parse_date("Tuesday, 15-Nov-94 08:10:11 GMT"), Some(784_887_011));
        assert_eq!(parse_date("yesterday"), None);
    }
}
