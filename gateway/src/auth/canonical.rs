//! The canonical request: what a client signed, put together from what arrived.
//!
//! S3's rules: the path is not normalized and encoded once; a query is decoded, encoded and sorted; header values are
//! trimmed, inner runs of spaces become one.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use http::HeaderMap;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::query::{Query, decode};
use crate::error::S3Error;

/// What is not `A-Z a-z 0-9 - _ . ~`.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const RESERVED_IN_PATH: AsciiSet = RESERVED.remove(b'/');

/// The bytes that are hashed into the string to sign; `None` when a signed header is not there.
pub(super) fn request(
    parts: &Parts,
    path: &str,
    query: &Query<'_>,
    signed_headers: &str,
    payload: &str,
) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(1024);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(path.as_bytes());
    text.push(b'\n');
    add_query(&mut text, query);
    text.push(b'\n');
    for name in signed_headers.split(';') {
        add_header(&mut text, &parts.headers, name)?;
    }
    text.push(b'\n');
    text.extend_from_slice(signed_headers.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(payload.as_bytes());
    Some(text)
}

/// The string that is signed.
pub(super) fn string_to_sign(timestamp: &str, scope: &str, request: &[u8]) -> String {
    let hash = const_hex::encode(Sha256::digest(request));
    format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hash}")
}

/// The path as S3 encodes it, when it was sent otherwise: clients whose HTTP library writes `+` or `%2f` in its own
/// way sign this form. Both forms name the same key, so either may be signed.
pub(super) fn reencoded_path(raw: &str) -> Result<Option<String>, S3Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/');
    if raw.bytes().all(plain) {
        return Ok(None);
    }
    let encoded = utf8_percent_encode(&decode(raw, false)?, &RESERVED_IN_PATH).to_string();
    Ok((encoded != raw).then_some(encoded))
}

fn add_query(text: &mut Vec<u8>, query: &Query<'_>) {
    let encode = |text: &str| utf8_percent_encode(text, &RESERVED).to_string();
    let signed = query.0.iter().filter(|(name, _)| name != "X-Amz-Signature");
    let mut pairs: Vec<_> = signed.map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort_unstable();
    for (at, (name, value)) in pairs.iter().enumerate() {
        if at > 0 {
            text.push(b'&');
        }
        text.extend_from_slice(name.as_bytes());
        text.push(b'=');
        text.extend_from_slice(value.as_bytes());
    }
}

/// `name:value`, all values of the header joined by commas. Heads are short: looking through them is faster than
/// hashing each name.
fn add_header(text: &mut Vec<u8>, headers: &HeaderMap, name: &str) -> Option<()> {
    let mut values = headers.iter().filter(|(other, _)| other.as_str() == name).map(|(_, value)| value.as_bytes());
    let first = values.next()?;
    text.extend_from_slice(name.as_bytes());
    text.push(b':');
    add_collapsed(text, first);
    for value in values {
        text.push(b',');
        add_collapsed(text, value);
    }
    text.push(b'\n');
    Some(())
}

/// Without spaces at both ends and with single ones inside.
fn add_collapsed(text: &mut Vec<u8>, value: &[u8]) {
    let trimmed = value.trim_ascii();
    let from = text.len();
    text.extend_from_slice(trimmed);
    if trimmed.windows(2).any(|pair| pair == b"  ") {
        let mut single = text.split_off(from);
        single.dedup_by(|next, byte| *next == b' ' && *byte == b' ');
        text.append(&mut single);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(request: http::Request<()>, signed: &str) -> String {
        let (parts, ()) = request.into_parts();
        let query = Query::parse(parts.uri.query()).unwrap();
        String::from_utf8(super::request(&parts, parts.uri.path(), &query, signed, "P").unwrap()).unwrap()
    }

    #[test]
    fn paths_are_never_normalized_and_queries_are_sorted() {
        let request = http::Request::get("/a//b/../c%20d/./?b=2&a=%2f+z&a=1&b&X-Amz-Signature=x&B=%7e");
        let request = request.header("host", "h:1").header("x-amz-meta-a", "  v   w ").header("x-amz-meta-a", "z");
        assert_eq!(
            canonical(request.body(()).unwrap(), "host;x-amz-meta-a"),
            "GET\n/a//b/../c%20d/./\nB=~&a=%2F%20z&a=1&b=&b=2\nhost:h:1\nx-amz-meta-a:v w,z\n\nhost;x-amz-meta-a\nP"
        );
    }

    #[test]
    fn a_path_sent_in_its_own_way_has_a_second_form() {
        let check =
            |raw: &str, wanted: Option<&str>| assert_eq!(reencoded_path(raw).unwrap().as_deref(), wanted, "{raw}");
        check("/b/k-1_.~", None);
        check("/b/a%20b%2B%C3%BC", None);
        check("/b/a+b", Some("/b/a%2Bb"));
        check("/b/%2f%7E%c3%bc", Some("/b//~%C3%BC"));
        check("/b/(x)'", Some("/b/%28x%29%27"));
        assert!(reencoded_path("/b/%f").is_err());
        assert!(reencoded_path("/b/%ff").is_err());
    }
}
