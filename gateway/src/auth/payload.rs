//! What `x-amz-content-sha256` says of the body.

use std::borrow::Cow;

use http::HeaderMap;

use super::claim::Place;
use super::query::Query;
use crate::error::{Code, S3Error};

/// The five forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    /// Plain bytes that the signature does not cover.
    Unsigned,
    /// Plain bytes with this SHA-256.
    Hashed([u8; 32]),
    /// Chunks that are signed each, perhaps with signed trailing headers.
    SignedChunks {
        /// Whether trailing headers follow.
        trailer: bool,
    },
    /// Chunks without signatures, and trailing headers.
    UnsignedChunks,
}

impl Payload {
    /// As the canonical request has it, and what it means.
    pub(super) fn of<'a>(
        place: Place,
        query: &'a Query<'_>,
        headers: &'a HeaderMap,
    ) -> Result<(Cow<'a, str>, Self), S3Error> {
        let header = headers.get("x-amz-content-sha256").map(|value| String::from_utf8_lossy(value.as_bytes()));
        let text = match place {
            Place::Header => header.ok_or_else(|| {
                S3Error::with(Code::InvalidRequest, "Missing required header for this request: x-amz-content-sha256")
            })?,
            // Whatever is said is signed as said, so that nobody can change how the body is read.
            Place::Query => match query.once("X-Amz-Content-Sha256")? {
                Some(signed) => Cow::Borrowed(signed),
                None => header.unwrap_or(Cow::Borrowed("UNSIGNED-PAYLOAD")),
            },
        };
        let payload = Self::parse(&text).ok_or_else(|| unknown(&text))?;
        Ok((text, payload))
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "UNSIGNED-PAYLOAD" => Some(Self::Unsigned),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Some(Self::SignedChunks { trailer: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Some(Self::SignedChunks { trailer: true }),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(Self::UnsignedChunks),
            hash => {
                let mut bytes = [0; 32];
                let hex = hash.len() == 64 && const_hex::decode_to_slice(hash, &mut bytes).is_ok();
                hex.then_some(Self::Hashed(bytes))
            }
        }
    }

    /// Whether the body has aws-chunked framing.
    pub(super) fn is_chunked(self) -> bool {
        matches!(self, Self::SignedChunks { .. } | Self::UnsignedChunks)
    }

    /// Whether trailing headers may follow the body.
    pub(super) fn has_trailer(self) -> bool {
        matches!(self, Self::SignedChunks { trailer: true } | Self::UnsignedChunks)
    }
}

fn unknown(text: &str) -> S3Error {
    S3Error::with(
        Code::InvalidArgument,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, \
         STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
    )
    .detail("ArgumentName", "x-amz-content-sha256")
    .detail("ArgumentValue", text)
}
