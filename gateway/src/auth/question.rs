//! May this request in? Everything that needs no index and no body: who claims to speak, for what, since when, over
//! which headers, and whether the secret confirms it.

use std::borrow::Cow;
use std::sync::LazyLock;

use holdall_namespace::account::Credential;
use holdall_namespace::clock::UnixMs;
use http::request::Parts;
use http::{HeaderMap, header as names};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use super::body::Form;
use super::chunked::{Decoder, Signer};
use super::claim::Claim;
use super::keys::SigningKey;
use super::payload::Payload;
use super::query::Query;
use super::{Principal, Service, canonical, envelope, header, presigned, refusal, time};
use crate::error::{Code, S3Error};
use crate::limits::{MAX_HEADERS, MAX_SKEW};

/// How a request says who sent it; decided before anything else looks at it.
enum Kind<'a> {
    /// What follows `AWS4-HMAC-SHA256 ` in the Authorization header.
    Header(&'a str),
    Presigned,
    Anonymous,
    /// Two signatures of which either could be meant.
    Both,
    /// The mechanism of before 2014.
    Version2,
    /// An Authorization header of another scheme.
    Other(Cow<'a, str>),
}

impl<'a> Kind<'a> {
    fn of(headers: &'a HeaderMap, query: &Query<'_>) -> Self {
        let header = headers.get(names::AUTHORIZATION).filter(|value| !value.is_empty());
        let presigned = query.has("X-Amz-Algorithm");
        let version2 = query.has("AWSAccessKeyId") && query.has("Signature");
        match header {
            Some(_) if presigned || version2 => Self::Both,
            Some(value) => Self::of_header(String::from_utf8_lossy(value.as_bytes())),
            None if presigned => Self::Presigned,
            None if version2 => Self::Version2,
            None => Self::Anonymous,
        }
    }

    fn of_header(value: Cow<'a, str>) -> Self {
        match value {
            Cow::Borrowed(text) => match text.split_once(' ') {
                Some(("AWS4-HMAC-SHA256", components)) => Self::Header(components),
                Some(("AWS", _)) => Self::Version2,
                _ => Self::Other(value),
            },
            Cow::Owned(_) => Self::Other(value),
        }
    }
}

/// A request and its claim, everything checked that needs no secret.
pub(super) struct Question<'a> {
    parts: &'a Parts,
    query: &'a Query<'a>,
    pub(super) claim: Claim<'a>,
    payload_text: Cow<'a, str>,
    payload: Payload,
    size: Option<u64>,
    announced: Vec<String>,
}

/// What a good signature leads to.
pub(super) struct Proved {
    pub(super) principal: Principal,
    pub(super) form: Form,
    pub(super) size: Option<u64>,
    pub(super) announced: Vec<String>,
    pub(super) chunked: bool,
}

impl<'a> Question<'a> {
    pub(super) fn of(
        parts: &'a Parts,
        query: &'a Query<'a>,
        service: Service,
        region: &str,
        now: UnixMs,
    ) -> Result<Self, S3Error> {
        envelope::check(parts)?;
        let claim = match Kind::of(&parts.headers, query) {
            Kind::Header(components) => header::claim(components, &parts.headers)?,
            Kind::Presigned => presigned::claim(query)?,
            Kind::Anonymous => return Err(refusal::anonymous(query)),
            Kind::Both => return Err(refusal::two_mechanisms()),
            Kind::Version2 => return Err(refusal::version2()),
            Kind::Other(value) => return Err(refusal::other_scheme(&value)),
        };
        claim.check_scope(region, service.name())?;
        check_time(&claim, time::seconds(now))?;
        check_signed(&claim, &parts.headers)?;
        if parts.headers.contains_key("x-amz-security-token") || query.has("X-Amz-Security-Token") {
            return Err(Code::InvalidToken.into());
        }
        let (payload_text, payload) = Payload::of(claim.place, query, &parts.headers)?;
        let size = size(payload, &parts.headers)?;
        let announced = announced(payload, &parts.headers)?;
        Ok(Self { parts, query, claim, payload_text, payload, size, announced })
    }

    /// Whether the signature is the credential's. An unknown key takes the same way as a wrong signature.
    pub(super) fn check(self, credential: Option<Credential>) -> Result<Proved, S3Error> {
        static NOBODY: LazyLock<SecretString> = LazyLock::new(|| SecretString::from("nobody"));
        let Self { parts, query, claim, payload_text, payload, size, announced } = self;
        let secret = credential.as_ref().map_or(&*NOBODY, |credential| &credential.secret);
        let key = SigningKey::of(claim.access_key_id, secret, &claim.scope, &claim.time);
        let scope = claim.scope.text();
        let canonical = |path: &str| {
            let request = canonical::request(parts, path, query, claim.signed_headers, &payload_text)
                .ok_or(Code::SignatureDoesNotMatch)?;
            let text = canonical::string_to_sign(claim.time.text(), &scope, &request);
            Ok::<_, S3Error>((request, text))
        };
        let raw = parts.uri.path();
        let (request, text) = canonical(raw)?;
        let mut confirmed = key.confirms(&text, claim.signature);
        if !confirmed && let Some(path) = canonical::reencoded_path(raw)? {
            confirmed = key.confirms(&canonical(&path)?.1, claim.signature);
        }
        let Some(credential) = credential else {
            return Err(S3Error::new(Code::InvalidAccessKeyId).detail("AWSAccessKeyId", claim.access_key_id));
        };
        if !confirmed {
            return Err(refusal::mismatch(&claim, &text, &request));
        }
        let principal = Principal { account: credential.account, access_key_id: claim.access_key_id.to_owned() };
        let trailer = payload.has_trailer().then(|| announced.clone());
        let length = size.unwrap_or_default();
        let form = match payload {
            Payload::Unsigned => Form::Plain,
            Payload::Hashed(hash) => Form::Hashed(hash),
            Payload::UnsignedChunks => Form::Chunked(Box::new(Decoder::new(length, trailer, None))),
            Payload::SignedChunks { .. } => {
                let previous = claim.signature.to_owned();
                let signer =
                    Signer { key, time: claim.time, scope, previous, hash: Sha256::new(), claimed: String::new() };
                Form::Chunked(Box::new(Decoder::new(length, trailer, Some(signer))))
            }
        };
        Ok(Proved { principal, form, size, announced, chunked: payload.is_chunked() })
    }
}

/// Refuses what was signed too long ago or too far ahead, and presigned URLs past their life.
fn check_time(claim: &Claim<'_>, now: i64) -> Result<(), S3Error> {
    let signed = claim.time.seconds;
    let skew = MAX_SKEW.as_secs() as i64;
    let Some(expires) = claim.expires else {
        if (now - signed).abs() <= skew {
            return Ok(());
        }
        return Err(S3Error::new(Code::RequestTimeTooSkewed)
            .detail("RequestTime", claim.time.text())
            .detail("ServerTime", time::shown(now))
            .detail("MaxAllowedSkewMilliseconds", MAX_SKEW.as_millis().to_string()));
    };
    if signed - now > skew {
        return Err(S3Error::with(Code::AccessDenied, "Request is not yet valid")
            .detail("X-Amz-Date", claim.time.text())
            .detail("ServerTime", time::shown(now)));
    }
    let end = signed + expires as i64;
    if now > end {
        return Err(S3Error::with(Code::AccessDenied, "Request has expired")
            .detail("X-Amz-Expires", expires.to_string())
            .detail("Expires", time::shown(end))
            .detail("ServerTime", time::shown(now)));
    }
    Ok(())
}

/// Refuses headers that change what a request means and that the signature does not cover.
fn check_signed(claim: &Claim<'_>, headers: &HeaderMap) -> Result<(), S3Error> {
    let signed = |name: &str| claim.signed_headers.split(';').any(|other| other == name);
    let unsigned = headers
        .keys()
        .map(names::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-") && *name != "x-amz-content-sha256" && !signed(name));
    let unsigned: Vec<&str> = (!signed("host")).then_some("host").into_iter().chain(unsigned).collect();
    if !unsigned.is_empty() {
        return Err(S3Error::with(
            Code::AccessDenied,
            "There were headers present in the request which were not signed",
        )
        .detail("HeadersNotSigned", unsigned.join(", ")));
    }
    let names = || claim.signed_headers.split(';');
    let twice = |(at, name): (usize, &str)| names().skip(at + 1).any(|other| other == name);
    if names().count() > MAX_HEADERS || names().enumerate().any(twice) {
        return Err(Code::SignatureDoesNotMatch.into());
    }
    Ok(())
}

/// How many bytes the body has once its framing is off; chunked bodies must say.
fn size(payload: Payload, headers: &HeaderMap) -> Result<Option<u64>, S3Error> {
    let number = |name: &str| {
        headers.get(name).map(|value| {
            let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            text.and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| {
                S3Error::with(Code::InvalidArgument, format!("The header {name} is not a number of bytes."))
            })
        })
    };
    if !payload.is_chunked() {
        return number("content-length").transpose();
    }
    let framed = headers.contains_key(names::CONTENT_LENGTH) || headers.contains_key(names::TRANSFER_ENCODING);
    match number("x-amz-decoded-content-length") {
        Some(size) if framed => size.map(Some),
        _ => Err(Code::MissingContentLength.into()),
    }
}

/// The trailing headers that `x-amz-trailer` announces.
fn announced(payload: Payload, headers: &HeaderMap) -> Result<Vec<String>, S3Error> {
    let Some(value) = headers.get("x-amz-trailer") else { return Ok(Vec::new()) };
    let bad =
        || S3Error::with(Code::InvalidRequest, "The value specified in the x-amz-trailer header is not supported");
    let text = value.to_str().map_err(|_| bad())?;
    let mut found: Vec<String> = text.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
    found.sort_unstable();
    found.dedup();
    let good = payload.has_trailer() && found.iter().all(|name| !name.is_empty() && name != "x-amz-trailer-signature");
    if good { Ok(found) } else { Err(bad()) }
}
