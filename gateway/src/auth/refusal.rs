//! Refusals in AWS's words, with the details that its documents show.

use super::claim::Claim;
use super::query::Query;
use crate::error::{Code, S3Error};

pub(super) fn mismatch(claim: &Claim<'_>, text: &str, request: &[u8]) -> S3Error {
    let bytes = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    S3Error::new(Code::SignatureDoesNotMatch)
        .detail("AWSAccessKeyId", claim.access_key_id)
        .detail("StringToSign", text)
        .detail("SignatureProvided", claim.signature)
        .detail("StringToSignBytes", bytes(text.as_bytes()))
        .detail("CanonicalRequest", String::from_utf8_lossy(request))
        .detail("CanonicalRequestBytes", bytes(request))
}

pub(super) fn anonymous(query: &Query<'_>) -> S3Error {
    if query.0.iter().any(|(name, _)| name.starts_with("response-")) {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        return S3Error::with(Code::InvalidRequest, message);
    }
    Code::AccessDenied.into()
}

pub(super) fn two_mechanisms() -> S3Error {
    S3Error::with(
        Code::InvalidArgument,
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter \
         or the Authorization header should be specified",
    )
    .detail("ArgumentName", "Authorization")
}

pub(super) fn version2() -> S3Error {
    S3Error::with(
        Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

pub(super) fn other_scheme(value: &str) -> S3Error {
    S3Error::with(Code::InvalidArgument, "Unsupported Authorization Type")
        .detail("ArgumentName", "Authorization")
        .detail("ArgumentValue", value)
}
