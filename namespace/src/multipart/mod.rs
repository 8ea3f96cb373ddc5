//! The multipart family.

use std::fmt;
use std::str::FromStr;

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::extent::Number;
use crate::fault::Fault;
use crate::name::ObjectKey;
use crate::object::{
    Checksum, ChecksumAlgorithm, ChecksumKind, Condition, ConditionFailed, ETag, Headers, Pairs, Part,
};
use crate::table::uploads::PartRow;

mod complete;
mod list;
mod part;
mod upload;

/// The creator's session and number; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub Number);

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.0.session, self.0.number)
    }
}

impl FromStr for UploadId {
    type Err = NoSuchUpload;

    fn from_str(text: &str) -> Result<Self, NoSuchUpload> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NoSuchUpload);
        }
        let half = |part: &str| u64::from_str_radix(part, 16).map_err(|_| NoSuchUpload);
        Ok(Self(Number { session: half(&text[..16])?, number: half(&text[16..])? }))
    }
}

/// The text is no upload id, or of no upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such upload")]
pub struct NoSuchUpload;

/// What the finished object will be.
#[derive(Debug, Clone, Default)]
pub struct CreateUpload {
    /// Headers of the object.
    pub headers: Headers,
    /// Tags of the object.
    pub tags: Pairs,
    /// `x-amz-storage-class` when not STANDARD.
    pub storage_class: Option<String>,
    /// The checksum every part will have, and what the object's will cover.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// An upload in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// Its key.
    pub key: ObjectKey,
    /// Its id.
    pub id: UploadId,
    /// When it began.
    pub initiated: UnixMs,
    /// The checksum asked for.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// When not STANDARD.
    pub storage_class: Option<String>,
}

/// One line of a CompleteMultipartUpload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPart {
    /// Its number.
    pub number: u32,
    /// Its ETag, without quotes.
    pub etag: ETag,
    /// Its checksum, when the client repeats it.
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
}

/// A CompleteMultipartUpload request.
#[derive(Debug, Clone)]
pub struct Complete<'a> {
    /// Where.
    pub bucket: &'a Bucket,
    /// The key.
    pub key: &'a ObjectKey,
    /// The upload.
    pub id: UploadId,
    /// The parts named, in the request's order.
    pub parts: Vec<NamedPart>,
    /// The whole object's checksum as the client has it (full-object value, or composite without `-N`).
    pub checksum: Option<(ChecksumAlgorithm, Vec<u8>)>,
    /// `x-amz-mp-object-size`.
    pub size: Option<u64>,
    /// Decided inside the commit.
    pub condition: Condition,
}

/// Why an upload was not completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompleteError {
    /// No such upload, or it was aborted or completed with another list.
    #[error("no such upload")]
    NoSuchUpload,
    /// The bucket was deleted meanwhile.
    #[error("no such bucket")]
    NoSuchBucket,
    /// A named part is not there or has another ETag or checksum.
    #[error("part {0} is not the one named")]
    InvalidPart(u32),
    /// The numbers do not ascend.
    #[error("the parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is under 5 MiB.
    #[error("part {number} has {size} bytes")]
    EntityTooSmall {
        /// The part.
        number: u32,
        /// Its bytes.
        size: u64,
        /// Its ETag.
        etag: ETag,
    },
    /// No part was named.
    #[error("no part was named")]
    NoParts,
    /// The object would be larger than 5 TiB.
    #[error("the object would be too large")]
    TooLarge,
    /// The object's checksum is not the client's.
    #[error("the {0:?} checksum does not match")]
    Checksum(ChecksumAlgorithm),
    /// `x-amz-mp-object-size` is not the size of the parts.
    #[error("the object has {actual} bytes, not {expected}")]
    Size {
        /// What the client said.
        expected: u64,
        /// What the parts have.
        actual: u64,
    },
    /// A condition does not hold.
    #[error(transparent)]
    Condition(#[from] ConditionFailed),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an upload or its parts were not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// No such upload.
    #[error("no such upload")]
    NoSuchUpload,
    /// The bucket was deleted meanwhile.
    #[error("no such bucket")]
    NoSuchBucket,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What to list of the uploads in progress. Empty strings mean absent.
#[derive(Debug, Clone, Default)]
pub struct ListUploads {
    /// Keys start with this.
    pub prefix: String,
    /// Keys are folded at this.
    pub delimiter: String,
    /// Keys after this, or of this key the uploads after `id_marker`.
    pub key_marker: String,
    /// See `key_marker`.
    pub id_marker: Option<UploadId>,
    /// At most this many lines.
    pub limit: usize,
}

/// A page of uploads, by key, then by id.
#[derive(Debug, Clone, Default)]
pub struct UploadPage {
    /// Uploads.
    pub uploads: Vec<UploadInfo>,
    /// Common prefixes.
    pub prefixes: Vec<String>,
    /// More follow: the next markers.
    pub next: Option<(String, Option<UploadId>)>,
}

/// A part as it is shown. Parts' checksums always cover their own bytes.
pub(crate) fn show_part(number: u32, row: &PartRow, algorithm: Option<ChecksumAlgorithm>) -> Part {
    let kind = ChecksumKind::FullObject;
    let checksum = algorithm.zip(row.checksum.clone()).map(|(algorithm, value)| Checksum { algorithm, kind, value });
    Part { number, size: row.size, etag: const_hex::encode(row.md5), modified: row.modified, checksum }
}
