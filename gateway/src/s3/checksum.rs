//! What a client says its bytes are: Content-MD5 and the five `x-amz-checksum-*` algorithms, in headers or a trailer.
//!
//! Parsing only, and the comparison that runs between the last byte and the commit.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html>

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdall_namespace::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Pairs};
use holdall_namespace::put::{BodyMismatch, Computed};
use http::HeaderMap;
use md5::{Digest as _, Md5};

use crate::error::{Code, S3Error};
use crate::s3::header;

/// What S3 calls an algorithm.
struct Names {
    algorithm: ChecksumAlgorithm,
    name: &'static str,
    header: &'static str,
    element: &'static str,
    bytes: usize,
}

const fn names(
    algorithm: ChecksumAlgorithm,
    name: &'static str,
    header: &'static str,
    element: &'static str,
    bytes: usize,
) -> Names {
    Names { algorithm, name, header, element, bytes }
}

static ALL: [Names; 5] = [
    names(ChecksumAlgorithm::Crc32, "CRC32", "x-amz-checksum-crc32", "ChecksumCRC32", 4),
    names(ChecksumAlgorithm::Crc32c, "CRC32C", "x-amz-checksum-crc32c", "ChecksumCRC32C", 4),
    names(ChecksumAlgorithm::Crc64Nvme, "CRC64NVME", "x-amz-checksum-crc64nvme", "ChecksumCRC64NVME", 8),
    names(ChecksumAlgorithm::Sha1, "SHA1", "x-amz-checksum-sha1", "ChecksumSHA1", 20),
    names(ChecksumAlgorithm::Sha256, "SHA256", "x-amz-checksum-sha256", "ChecksumSHA256", 32),
];

/// Headers that start like a checksum's value and are none.
const OTHERS: [&str; 3] = ["x-amz-checksum-algorithm", "x-amz-checksum-mode", "x-amz-checksum-type"];
const PREFIX: &str = "x-amz-checksum-";

fn of(algorithm: ChecksumAlgorithm) -> &'static Names {
    &ALL[match algorithm {
        ChecksumAlgorithm::Crc32 => 0,
        ChecksumAlgorithm::Crc32c => 1,
        ChecksumAlgorithm::Crc64Nvme => 2,
        ChecksumAlgorithm::Sha1 => 3,
        ChecksumAlgorithm::Sha256 => 4,
    }]
}

/// `CRC32`, as in `x-amz-checksum-algorithm`.
pub fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    of(algorithm).name
}

/// `x-amz-checksum-crc32`
pub fn header_name(algorithm: ChecksumAlgorithm) -> &'static str {
    of(algorithm).header
}

/// `ChecksumCRC32`
pub fn element_name(algorithm: ChecksumAlgorithm) -> &'static str {
    of(algorithm).element
}

/// By `CRC32` and so on, whatever the case.
pub fn by_name(name: &str) -> Option<ChecksumAlgorithm> {
    ALL.iter().find(|known| known.name.eq_ignore_ascii_case(name)).map(|known| known.algorithm)
}

/// `FULL_OBJECT` or `COMPOSITE`.
pub fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => "FULL_OBJECT",
        ChecksumKind::Composite => "COMPOSITE",
    }
}

/// A value from its base64; `None` when it is none of this algorithm.
pub fn decode(algorithm: ChecksumAlgorithm, text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok().filter(|value| value.len() == of(algorithm).bytes)
}

/// A checksum as clients see it: base64, for a composite one with `-N`.
pub fn encode(checksum: &Checksum, parts: Option<u32>) -> String {
    let value = STANDARD.encode(&checksum.value);
    match (checksum.kind, parts) {
        (ChecksumKind::Composite, Some(parts)) => format!("{value}-{parts}"),
        _ => value,
    }
}

/// Asked once, after a body's last byte.
pub type Verifier = Box<dyn FnOnce(&Computed) -> Result<(), BodyMismatch> + Send>;

/// What a body must turn out to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announced {
    md5: Option<[u8; 16]>,
    checksum: Option<Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Header(ChecksumAlgorithm, Vec<u8>),
    Trailer(ChecksumAlgorithm),
}

impl Announced {
    /// From the headers and the names that `x-amz-trailer` announced.
    pub fn of(headers: &HeaderMap, announced: &[String]) -> Result<Self, S3Error> {
        let checksum = value(headers, announced)?;
        if let Some(said) = header::text(headers, "x-amz-sdk-checksum-algorithm")? {
            let Some(value) = &checksum else {
                return Err(S3Error::with(
                    Code::InvalidRequest,
                    "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.",
                ));
            };
            if by_name(said) != Some(value.algorithm()) {
                return Err(invalid_value("x-amz-sdk-checksum-algorithm"));
            }
        }
        Ok(Self { md5: content_md5(headers)?, checksum })
    }

    /// The algorithm to compute.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.checksum.as_ref().map(Value::algorithm)
    }

    /// Whether anything was announced at all.
    pub fn is_empty(&self) -> bool {
        self.md5.is_none() && self.checksum.is_none()
    }

    /// The question asked after the last byte; `trailer` is filled by then.
    pub fn verifier(self, trailer: Arc<OnceLock<Pairs>>) -> Verifier {
        Box::new(move |computed| self.check(computed, trailer.get().map_or(&[], Vec::as_slice)))
    }

    /// Checks a small body that is in memory whole.
    pub fn check_whole(&self, body: &[u8], trailer: &[(String, String)]) -> Result<(), BodyMismatch> {
        let checksum = self.algorithm().map(|algorithm| compute(algorithm, body));
        self.check(&Computed { md5: Md5::digest(body).into(), checksum }, trailer)
    }

    fn check(&self, computed: &Computed, trailer: &[(String, String)]) -> Result<(), BodyMismatch> {
        if self.md5.is_some_and(|md5| md5 != computed.md5) {
            return Err(BodyMismatch::Md5);
        }
        let Some(value) = &self.checksum else { return Ok(()) };
        let algorithm = value.algorithm();
        let expected = match value {
            Value::Header(_, value) => value.clone(),
            Value::Trailer(_) => trailing(algorithm, trailer)?,
        };
        match &computed.checksum {
            Some(actual) if *actual == expected => Ok(()),
            _ => Err(BodyMismatch::Checksum(algorithm)),
        }
    }
}

impl Value {
    fn algorithm(&self) -> ChecksumAlgorithm {
        match self {
            Self::Header(algorithm, _) | Self::Trailer(algorithm) => *algorithm,
        }
    }
}

fn trailing(algorithm: ChecksumAlgorithm, trailer: &[(String, String)]) -> Result<Vec<u8>, BodyMismatch> {
    let name = header_name(algorithm);
    let found = trailer.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let (_, text) = found.ok_or_else(|| BodyMismatch::Trailer(format!("no `{name}` in it")))?;
    decode(algorithm, text.trim()).ok_or(BodyMismatch::Checksum(algorithm))
}

/// The one checksum of a request, in a header or announced in the trailer.
fn value(headers: &HeaderMap, announced: &[String]) -> Result<Option<Value>, S3Error> {
    let in_headers = headers.keys().map(http::HeaderName::as_str).filter(|name| is_value(name));
    let in_trailer = announced.iter().map(String::as_str).filter(|name| is_value(name));
    let mut all = in_headers.map(|name| (name, false)).chain(in_trailer.map(|name| (name, true)));
    let Some((name, trailing)) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        let message = "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.";
        return Err(S3Error::with(Code::InvalidRequest, message));
    }
    let known = ALL.iter().find(|known| known.header == name);
    let algorithm = known.ok_or_else(|| S3Error::header_not_implemented(name))?.algorithm;
    if trailing {
        return Ok(Some(Value::Trailer(algorithm)));
    }
    let text = header::text(headers, name)?.unwrap_or_default();
    // A value that cannot be the checksum of anything does not match, which is how the outside suite wants it said.
    let value = decode(algorithm, text).ok_or_else(|| S3Error::from(BodyMismatch::Checksum(algorithm)))?;
    Ok(Some(Value::Header(algorithm, value)))
}

fn is_value(name: &str) -> bool {
    name.starts_with(PREFIX) && !OTHERS.contains(&name)
}

fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, S3Error> {
    let Some(text) = headers.get("content-md5") else { return Ok(None) };
    let value = STANDARD.decode(text.as_bytes()).ok().and_then(|value| value.try_into().ok());
    value.map(Some).ok_or_else(|| Code::InvalidDigest.into())
}

/// What CreateMultipartUpload asks for: algorithm and what the object's checksum covers.
pub fn asked(headers: &HeaderMap) -> Result<Option<(ChecksumAlgorithm, ChecksumKind)>, S3Error> {
    let Some(algorithm) = asked_algorithm(headers)? else {
        return match header::text(headers, "x-amz-checksum-type")? {
            None => Ok(None),
            Some(_) => Err(S3Error::with(
                Code::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let kind = asked_kind(headers)?.unwrap_or(match algorithm {
        ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        _ => ChecksumKind::Composite,
    });
    let possible = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => kind == ChecksumKind::FullObject,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => kind == ChecksumKind::Composite,
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => true,
    };
    if possible {
        return Ok(Some((algorithm, kind)));
    }
    let (kind, algorithm) = (kind_name(kind), name(algorithm).to_ascii_lowercase());
    let message = format!("The {kind} checksum type cannot be used with the {algorithm} checksum algorithm.");
    Err(S3Error::with(Code::InvalidRequest, message))
}

/// `x-amz-checksum-algorithm`, of CreateMultipartUpload and CopyObject.
pub fn asked_algorithm(headers: &HeaderMap) -> Result<Option<ChecksumAlgorithm>, S3Error> {
    let Some(text) = header::text(headers, "x-amz-checksum-algorithm")? else { return Ok(None) };
    let message = "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]";
    by_name(text).map(Some).ok_or_else(|| S3Error::with(Code::InvalidRequest, message))
}

/// `x-amz-checksum-type`
pub fn asked_kind(headers: &HeaderMap) -> Result<Option<ChecksumKind>, S3Error> {
    match header::text(headers, "x-amz-checksum-type")? {
        None => Ok(None),
        Some("FULL_OBJECT") => Ok(Some(ChecksumKind::FullObject)),
        Some("COMPOSITE") => Ok(Some(ChecksumKind::Composite)),
        Some(_) => Err(invalid_value("x-amz-checksum-type")),
    }
}

/// The whole object's checksum in a CompleteMultipartUpload: a full-object value, or a composite one whose `-N` is the
/// number of parts named.
pub fn of_whole(headers: &HeaderMap, parts: usize) -> Result<Option<(ChecksumAlgorithm, Vec<u8>)>, S3Error> {
    let Some(known) = ALL.iter().find(|known| headers.contains_key(known.header)) else { return Ok(None) };
    let text = header::text(headers, known.header)?.unwrap_or_default();
    let value = match text.split_once('-') {
        Some((value, count)) if count.parse() == Ok(parts) => value,
        Some(_) => return Err(S3Error::from(BodyMismatch::Checksum(known.algorithm))),
        None => text,
    };
    let value = decode(known.algorithm, value).ok_or_else(|| S3Error::from(BodyMismatch::Checksum(known.algorithm)))?;
    Ok(Some((known.algorithm, value)))
}

fn invalid_value(header: &str) -> S3Error {
    S3Error::with(Code::InvalidRequest, format!("Value for {header} header is invalid."))
}

/// The checksum of a small body, big-endian bytes.
pub fn compute(algorithm: ChecksumAlgorithm, body: &[u8]) -> Vec<u8> {
    use crc_fast::{CrcAlgorithm, checksum};
    match algorithm {
        ChecksumAlgorithm::Crc32 => (checksum(CrcAlgorithm::Crc32IsoHdlc, body) as u32).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Crc32c => (checksum(CrcAlgorithm::Crc32Iscsi, body) as u32).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Crc64Nvme => checksum(CrcAlgorithm::Crc64Nvme, body).to_be_bytes().to_vec(),
        ChecksumAlgorithm::Sha1 => sha1::Sha1::digest(body).to_vec(),
        ChecksumAlgorithm::Sha256 => sha2::Sha256::digest(body).to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// Checks a body of `hello`.
    fn check(pairs: &[(&'static str, &'static str)], trailer: &[(&str, &str)]) -> Result<(), Code> {
        let names: Vec<_> = trailer.iter().map(|(name, _)| (*name).to_owned()).collect();
        let announced = Announced::of(&headers(pairs), &names).map_err(|error| error.code)?;
        let trailer: Vec<_> = trailer.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        announced.check_whole(b"hello", &trailer).map_err(|mismatch| S3Error::from(mismatch).code)
    }

    #[test]
    fn right_values_pass() {
        for (name, value) in [
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("x-amz-checksum-crc32", "NhCmhg=="),
            ("x-amz-checksum-crc32c", "mnG7TA=="),
            ("x-amz-checksum-crc64nvme", "M3eFcAZSQlc="),
            ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
            ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="),
        ] {
            assert_eq!(check(&[(name, value)], &[]), Ok(()), "{name}");
            if name != "content-md5" {
                assert_eq!(check(&[], &[(name, value)]), Ok(()), "{name} in the trailer");
            }
        }
    }

    #[test]
    fn wrong_values_say_how() {
        for (pairs, trailer, code) in [
            (&[("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==")][..], &[][..], Code::BadDigest),
            (&[("content-md5", "YWJyYWNhZGFicmE=")], &[], Code::InvalidDigest),
            (&[("content-md5", "")], &[], Code::InvalidDigest),
            (&[("content-md5", "XUFAKrxLKna5cZ2REBfFkg")], &[], Code::InvalidDigest),
            (&[("x-amz-checksum-crc32", "AAAAAA==")], &[], Code::BadDigest),
            (&[("x-amz-checksum-sha256", "bad")], &[], Code::BadDigest),
            (&[("x-amz-checksum-sha512", "AAAA")], &[], Code::NotImplemented),
            (&[("x-amz-checksum-crc32", "NhCmhg=="), ("x-amz-checksum-sha1", "x")], &[], Code::InvalidRequest),
            (&[("x-amz-checksum-crc32", "NhCmhg==")], &[("x-amz-checksum-crc32", "NhCmhg==")], Code::InvalidRequest),
            (&[("x-amz-sdk-checksum-algorithm", "CRC32")], &[], Code::InvalidRequest),
            (
                &[("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", "NhCmhg==")],
                &[],
                Code::InvalidRequest,
            ),
            (&[], &[("x-amz-checksum-crc32", "AAAAAA==")], Code::BadDigest),
            (&[], &[("x-amz-checksum-crc32", "x")], Code::BadDigest),
        ] {
            assert_eq!(check(pairs, trailer), Err(code), "{pairs:?} {trailer:?}");
        }
    }

    #[test]
    fn a_trailer_that_does_not_come_is_no_match() {
        let announced = Announced::of(&HeaderMap::new(), &["x-amz-checksum-crc32".into()]).expect("announced");
        let missing = announced.check_whole(b"hello", &[]).map_err(|mismatch| S3Error::from(mismatch).code);
        assert_eq!(missing, Err(Code::MalformedTrailerError));
    }

    #[test]
    fn kinds_follow_their_algorithms() {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        use ChecksumKind::{Composite, FullObject};
        for (algorithm, kind, expected) in [
            ("", "", Ok(None)),
            ("CRC32", "", Ok(Some((Crc32, Composite)))),
            ("crc32c", "FULL_OBJECT", Ok(Some((Crc32c, FullObject)))),
            ("CRC32", "COMPOSITE", Ok(Some((Crc32, Composite)))),
            ("CRC64NVME", "", Ok(Some((Crc64Nvme, FullObject)))),
            ("SHA1", "", Ok(Some((Sha1, Composite)))),
            ("SHA256", "COMPOSITE", Ok(Some((Sha256, Composite)))),
            ("CRC64NVME", "COMPOSITE", Err(Code::InvalidRequest)),
            ("SHA256", "FULL_OBJECT", Err(Code::InvalidRequest)),
            ("SHA1", "FULL_OBJECT", Err(Code::InvalidRequest)),
            ("CRC32", "WHOLE", Err(Code::InvalidRequest)),
            ("MD4", "", Err(Code::InvalidRequest)),
            ("", "COMPOSITE", Err(Code::InvalidRequest)),
        ] {
            let pairs = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
            let given: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            assert_eq!(asked(&headers(&given)).map_err(|error| error.code), expected, "{algorithm} {kind}");
        }
    }

    #[test]
    fn composite_values_carry_their_number_of_parts() {
        let checksum = |kind| Checksum { algorithm: ChecksumAlgorithm::Crc32, kind, value: vec![0, 0, 0, 1] };
        assert_eq!(encode(&checksum(ChecksumKind::Composite), Some(3)), "AAAAAQ==-3");
        assert_eq!(encode(&checksum(ChecksumKind::FullObject), Some(3)), "AAAAAQ==");
        for (text, expected) in [
            ("AAAAAQ==-3", Ok(Some((ChecksumAlgorithm::Crc32, vec![0, 0, 0, 1])))),
            ("AAAAAQ==", Ok(Some((ChecksumAlgorithm::Crc32, vec![0, 0, 0, 1])))),
            ("AAAAAQ==-2", Err(Code::BadDigest)),
            ("AAAAAQ==-", Err(Code::BadDigest)),
            ("bad", Err(Code::BadDigest)),
        ] {
            let seen = of_whole(&headers(&[("x-amz-checksum-crc32", text)]), 3).map_err(|error| error.code);
            assert_eq!(seen, expected, "{text}");
        }
    }
}
