//! What a request must look like before anything in it is believed: whole, once, and for us.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Uri};

use crate::error::{Code, S3Error};
use crate::limits::{MAX_HEAD, MAX_HEADERS};

/// Headers that mean something by themselves; a second one would mean something else to somebody.
const ONCE: [&str; 9] = [
    "authorization",
    "content-length",
    "content-md5",
    "date",
    "x-amz-content-sha256",
    "x-amz-copy-source",
    "x-amz-date",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
];

/// Refuses what is too large, ambiguous, or addressed to another host than it says.
pub(super) fn check(parts: &Parts) -> Result<(), S3Error> {
    let Parts { headers, uri, .. } = parts;
    let target = uri.path().len() + uri.query().map_or(0, str::len);
    let size = headers.iter().fold(target, |sum, (name, value)| sum + name.as_str().len() + value.len() + 4);
    if size > MAX_HEAD || headers.len() > MAX_HEADERS {
        return Err(S3Error::new(Code::RequestHeaderSectionTooLarge).detail("MaxSizeAllowed", MAX_HEAD.to_string()));
    }
    check_host(headers, uri)?;
    if !uri.path().starts_with('/') {
        return Err(Code::InvalidURI.into());
    }
    if headers.len() > headers.keys_len() {
        check_once(headers)?;
    }
    check_framing(headers)
}

/// One Host, and the target's own host, if it has one, is the same: a signature covers the header, and whoever routes
/// by the target must not see another.
fn check_host(headers: &HeaderMap, uri: &Uri) -> Result<(), S3Error> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(invalid("The request must have exactly one Host header."));
    };
    let same = |authority: &http::uri::Authority| authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes());
    if host.is_empty() || uri.authority().is_some_and(|authority| !same(authority)) {
        return Err(invalid("The Host header does not name the host of the request's target."));
    }
    Ok(())
}

fn check_once(headers: &HeaderMap) -> Result<(), S3Error> {
    let twice = |name: &&&str| headers.get_all(**name).iter().nth(1).is_some();
    match ONCE.iter().find(twice) {
        Some(name) => Err(invalid(format!("The header {name} appears more than once."))),
        None => Ok(()),
    }
}

/// The one transfer coding is `chunked`, and it excludes a length.
fn check_framing(headers: &HeaderMap) -> Result<(), S3Error> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Code::NotImplemented.into());
    }
    if headers.contains_key(CONTENT_LENGTH) {
        return Err(invalid("A request has either a Content-Length or a Transfer-Encoding."));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> S3Error {
    S3Error::with(Code::InvalidRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(target: &str, headers: &[(&str, &str)]) -> Option<Code> {
        let mut request = http::Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        check(&request.body(()).unwrap().into_parts().0).err().map(|error| error.code)
    }

    /// Two Host headers and targets of another host were answered with 200 by the HTTP library alone.
    #[test]
    fn s68_a_request_names_one_host_and_one_length() {
        let bad = Some(Code::InvalidRequest);
        assert_eq!(refused("/", &[("host", "a")]), None);
        assert_eq!(refused("http://a:1/x", &[("host", "A:1")]), None);
        assert_eq!(refused("/", &[]), bad);
        assert_eq!(refused("/", &[("host", "")]), bad);
        assert_eq!(refused("/", &[("host", "a"), ("host", "a")]), bad);
        assert_eq!(refused("http://b/x", &[("host", "a")]), bad);
        assert_eq!(refused("http://a:80/x", &[("host", "a")]), bad);
        assert_eq!(refused("/", &[("host", "a"), ("date", "x"), ("date", "x")]), bad);
        assert_eq!(refused("/", &[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")]), bad);
        assert_eq!(refused("/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")]), Some(Code::NotImplemented));
        assert_eq!(refused("*", &[("host", "a")]), Some(Code::InvalidURI));
    }

    #[test]
    fn n3_a_head_has_a_limit() {
        let long = "x".repeat(MAX_HEAD);
        assert_eq!(refused("/", &[("host", "a"), ("x-long", &long)]), Some(Code::RequestHeaderSectionTooLarge));
        let many = [("host", "a")].into_iter().chain([("x-many", "1")].into_iter().cycle().take(MAX_HEADERS));
        assert_eq!(refused("/", &many.collect::<Vec<_>>()), Some(Code::RequestHeaderSectionTooLarge));
    }
}
