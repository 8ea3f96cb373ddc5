//! What S3 shows of an object.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// An entity tag without its quotes: an MD5 in hexadecimal, with `-N` for N parts.
pub type ETag = String;

/// Key and value, in the order given.
pub type Pairs = Vec<(String, String)>;

/// Headers that came with the object and go out with it, byte for byte.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// `content-type`, `content-encoding`, `content-disposition`, `content-language`, `cache-control`, `expires`,
    /// `x-amz-website-redirect-location`; lower-case names.
    pub system: Pairs,
    /// User metadata: names in lower case, without `x-amz-meta-`.
    pub user: Pairs,
}

/// Checksum algorithms of S3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// `x-amz-checksum-crc32`
    Crc32,
    /// `x-amz-checksum-crc32c`
    Crc32c,
    /// `x-amz-checksum-crc64nvme`
    Crc64Nvme,
    /// `x-amz-checksum-sha1`
    Sha1,
    /// `x-amz-checksum-sha256`
    Sha256,
}

/// Whether a checksum covers the object's bytes or its parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Over all bytes.
    FullObject,
    /// Over the parts' checksums, in order.
    Composite,
}

/// A checksum kept with an object or part. The value is raw bytes; `parts` of a composite one is its `-N`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Which algorithm.
    pub algorithm: ChecksumAlgorithm,
    /// Over what.
    pub kind: ChecksumKind,
    /// Big-endian bytes, as S3 encodes them in base64.
    pub value: Vec<u8>,
}

/// A current version as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Logical bytes.
    pub size: u64,
    /// See [`ETag`].
    pub etag: ETag,
    /// Last-Modified.
    pub modified: UnixMs,
    /// Headers to send back.
    pub headers: Headers,
    /// Tags in the order set.
    pub tags: Pairs,
    /// The checksum asked for at upload.
    pub checksum: Option<Checksum>,
    /// Number of parts when it was uploaded in parts.
    pub parts: Option<u32>,
    /// `x-amz-storage-class` when not STANDARD.
    pub storage_class: Option<String>,
}

/// One part of a multipart object, as GetObjectAttributes and ListParts show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// MD5 in hexadecimal.
    pub etag: ETag,
    /// When it was uploaded.
    pub modified: UnixMs,
    /// The checksum asked for.
    pub checksum: Option<Checksum>,
}

/// A condition decided inside the commit. ETags come without quotes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// The current version must have one of these ETags (`*`: must exist). A missing object is `NoSuchKey`.
    pub if_match: Option<ETags>,
    /// The current version must have none of these (`*`: must not exist).
    pub if_none_match: Option<ETags>,
}

/// The value of If-Match or If-None-Match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETags {
    /// `*`
    Any,
    /// A list, without quotes.
    Of(Vec<ETag>),
}

/// A condition did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConditionFailed {
    /// 412, and which header.
    #[error("the condition `{0}` does not hold")]
    Precondition(&'static str),
    /// If-Match on an object that does not exist: 404.
    #[error("If-Match names an object that does not exist")]
    NoSuchKey,
}

impl ETags {
    /// Whether an object with this tag is meant.
    pub fn matches(&self, etag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(list) => list.iter().any(|tag| tag == etag),
        }
    }
}

impl Condition {
    /// Decides; `current` is the current version's ETag. Called inside the commit.
    pub fn check(&self, current: Option<&str>) -> Result<(), ConditionFailed> {
        if let Some(wanted) = &self.if_match {
            match current {
                None => return Err(ConditionFailed::NoSuchKey),
                Some(etag) if !wanted.matches(etag) => return Err(ConditionFailed::Precondition("If-Match")),
                Some(_) => {}
            }
        }
        match (&self.if_none_match, current) {
            (Some(refused), Some(etag)) if refused.matches(etag) => Err(ConditionFailed::Precondition("If-None-Match")),
            _ => Ok(()),
        }
    }
}
