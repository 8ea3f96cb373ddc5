//! From a raw request to one whose signature, time and headers were checked. Nothing else in the gateway takes an
//! unverified request.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use holdall_namespace::account::{Account, Credential};
use holdall_namespace::clock::UnixMs;
use holdall_namespace::fault::Fault;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header as names};
use http_body::Body;
use secrecy::SecretString;
use sha2::{Digest, Sha256};

use crate::error::{Code, S3Error};
use crate::limits::MAX_SKEW;
use crate::state::State;

mod body;
mod canonical;
mod chunked;
mod claim;
mod envelope;
mod header;
mod keys;
mod payload;
mod presigned;
mod query;
mod time;

use body::Form;
use chunked::{Decoder, Signer};
use claim::Claim;
use keys::SigningKey;
use payload::Payload;
use query::Query;

/// Who a valid signature speaks for.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Whose key it was.
    pub account: Account,
    /// Which key.
    pub access_key_id: String,
}

/// Which signature a service expects in the credential scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `s3`
    S3,
    /// `holdall`: the admin API.
    Admin,
}

/// A request whose signature was checked.
pub struct Verified {
    /// Method, URI, headers.
    pub parts: http::request::Parts,
    /// Who speaks.
    pub principal: Principal,
    /// The body, decoded and checked while it is read.
    pub body: VerifiedBody,
}

/// A body: chunk framing removed, chunk signatures, payload hash, length and progress checked as its bytes pass.
/// Bytes of a chunk come out only after its signature matched. It ends without an error only if everything was right.
pub struct VerifiedBody {
    /// The bytes. On an error `failure` says what the client is told.
    pub stream: BoxStream<'static, Result<Bytes, holdall_silos::BodyError>>,
    /// Decoded length, from Content-Length or `x-amz-decoded-content-length`; `None` when the client sent neither.
    pub size: Option<u64>,
    /// Why the stream broke off.
    pub failure: Arc<OnceLock<S3Error>>,
    /// Trailing headers (lower-case names), filled when the stream has ended; empty without a trailer.
    pub trailer: Arc<OnceLock<Vec<(String, String)>>>,
    /// Lower-case names that `x-amz-trailer` announced.
    pub announced: Vec<String>,
}

impl Service {
    /// As a scope names it.
    fn name(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Admin => "holdall",
        }
    }
}

/// Checks a request's shape, signature, time and headers. Its body is checked while it is read.
pub async fn verify<B>(state: &State, service: Service, request: http::Request<B>) -> Result<Verified, S3Error>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query())?;
    let question = Question::of(&parts, &query, service, &state.region, state.clock.now())?;
    let credential = state.namespace.credential(&question.claim.access_key_id).await.map_err(unanswered)?;
    let proved = question.check(credential)?;
    drop(query);
    let Proved { principal, form, size, announced, chunked } = proved;
    if chunked {
        strip_chunked(&mut parts.headers);
    }
    Ok(Verified { parts, principal, body: body::checked(body, form, size, announced)? })
}

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
struct Question<'a> {
    parts: &'a Parts,
    query: &'a Query<'a>,
    claim: Claim<'a>,
    payload_text: Cow<'a, str>,
    payload: Payload,
    size: Option<u64>,
    announced: Vec<String>,
}

/// What a good signature leads to.
struct Proved {
    principal: Principal,
    form: Form,
    size: Option<u64>,
    announced: Vec<String>,
    chunked: bool,
}

impl<'a> Question<'a> {
    fn of(
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
            Kind::Anonymous => return Err(anonymous(query)),
            Kind::Both => return Err(two_mechanisms()),
            Kind::Version2 => return Err(version2()),
            Kind::Other(value) => return Err(other_scheme(&value)),
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
    fn check(self, credential: Option<Credential>) -> Result<Proved, S3Error> {
        static NOBODY: LazyLock<SecretString> = LazyLock::new(|| SecretString::from("nobody"));
        let Self { parts, query, claim, payload_text, payload, size, announced } = self;
        let secret = credential.as_ref().map_or(&*NOBODY, |credential| &credential.secret);
        let key = SigningKey::of(&claim.access_key_id, secret, &claim.scope, &claim.time);
        let scope = claim.scope.text();
        let canonical = |path: &str| {
            let request = canonical::request(parts, path, query, &claim.signed_headers, &payload_text);
            let text = canonical::string_to_sign(claim.time.text(), &scope, &request);
            (request, text)
        };
        let raw = parts.uri.path();
        let (request, text) = canonical(raw);
        let confirmed = key.confirms(&text, &claim.signature)
            || canonical::reencoded_path(raw)?.is_some_and(|path| key.confirms(&canonical(&path).1, &claim.signature));
        let Some(credential) = credential else {
            return Err(S3Error::new(Code::InvalidAccessKeyId).detail("AWSAccessKeyId", claim.access_key_id));
        };
        if !confirmed {
            return Err(mismatch(&claim, &text, &request));
        }
        let principal = Principal { account: credential.account, access_key_id: claim.access_key_id.into_owned() };
        let trailer = payload.has_trailer().then(|| announced.clone());
        let length = size.unwrap_or_default();
        let form = match payload {
            Payload::Unsigned => Form::Plain,
            Payload::Hashed(hash) => Form::Hashed(hash),
            Payload::UnsignedChunks => Form::Chunked(Box::new(Decoder::new(length, trailer, None))),
            Payload::SignedChunks { .. } => {
                let previous = claim.signature.into_owned();
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
    let mut named: Vec<&str> = claim.signed_headers.split(';').collect();
    let absent =
        named.iter().any(|name| name.bytes().any(|byte| byte.is_ascii_uppercase()) || !headers.contains_key(*name));
    named.sort_unstable();
    if absent || named.windows(2).any(|pair| pair[0] == pair[1]) {
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

/// The framing is gone, so its name must not be stored with the object.
fn strip_chunked(headers: &mut HeaderMap) {
    let Some(value) = headers.get(names::CONTENT_ENCODING).and_then(|value| value.to_str().ok()) else { return };
    let codings: Vec<&str> = value.split(',').map(str::trim).filter(|coding| *coding != "aws-chunked").collect();
    match HeaderValue::from_str(&codings.join(",")) {
        Ok(rest) if !rest.is_empty() => headers.insert(names::CONTENT_ENCODING, rest),
        _ => headers.remove(names::CONTENT_ENCODING),
    };
}

fn mismatch(claim: &Claim<'_>, text: &str, request: &[u8]) -> S3Error {
    let bytes = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    S3Error::new(Code::SignatureDoesNotMatch)
        .detail("AWSAccessKeyId", &*claim.access_key_id)
        .detail("StringToSign", text)
        .detail("SignatureProvided", &*claim.signature)
        .detail("StringToSignBytes", bytes(text.as_bytes()))
        .detail("CanonicalRequest", String::from_utf8_lossy(request))
        .detail("CanonicalRequestBytes", bytes(request))
}

fn anonymous(query: &Query<'_>) -> S3Error {
    if query.0.iter().any(|(name, _)| name.starts_with("response-")) {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        return S3Error::with(Code::InvalidRequest, message);
    }
    Code::AccessDenied.into()
}

fn two_mechanisms() -> S3Error {
    S3Error::with(
        Code::InvalidArgument,
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
         or the Authorization header should be specified",
    )
    .detail("ArgumentName", "Authorization")
}

fn version2() -> S3Error {
    S3Error::with(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn other_scheme(value: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, "Unsupported Authorization Type")
        .detail("ArgumentName", "Authorization")
        .detail("ArgumentValue", value)
}

/// The index could not say whose key it is.
fn unanswered(fault: Fault) -> S3Error {
    tracing::error!(error = %fault, "cannot read an access key");
    match fault {
        Fault::Unavailable(_) | Fault::NoRoom => Code::ServiceUnavailable.into(),
        Fault::Damaged(_) => Code::InternalError.into(),
    }
}

#[cfg(test)]
mod tests;
