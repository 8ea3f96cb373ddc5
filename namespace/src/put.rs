//! PutObject: bytes first, row second.

use holdall_silos::{Body, BodyError};

use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Checksum, ChecksumAlgorithm, Condition, ConditionFailed, Headers, Object, Pairs};

/// What was computed over a whole body on its way to a silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    /// MD5 over all bytes.
    pub md5: [u8; 16],
    /// The checksum asked for, big-endian bytes.
    pub checksum: Option<Vec<u8>>,
}

/// A body with what it must turn out to be.
pub struct Upload {
    /// Decoded bytes; exactly `size` of them.
    pub body: Body,
    /// How many, known before the first.
    pub size: u64,
    /// The checksum to compute and keep.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// Asked after the last byte and before the commit: what the client said in headers or a trailer.
    pub verify: Box<dyn FnOnce(&Computed) -> Result<(), BodyMismatch> + Send>,
}

/// The bytes are not what the client said they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyMismatch {
    /// Content-MD5 does not match.
    #[error("the Content-MD5 does not match")]
    Md5,
    /// An `x-amz-checksum-…` does not match.
    #[error("the {0:?} checksum does not match")]
    Checksum(ChecksumAlgorithm),
    /// Anything the gateway found wrong with the trailer.
    #[error("the trailer is malformed: {0}")]
    Trailer(String),
}

/// A PutObject request.
pub struct PutObject<'a> {
    /// Where.
    pub bucket: &'a Bucket,
    /// Under which key.
    pub key: &'a ObjectKey,
    /// The bytes.
    pub upload: Upload,
    /// To keep and send back.
    pub headers: Headers,
    /// Tags.
    pub tags: Pairs,
    /// `x-amz-storage-class` when not STANDARD.
    pub storage_class: Option<String>,
    /// Decided inside the commit.
    pub condition: Condition,
}

/// Why an upload (an object's or a part's) did not become part of the namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The bucket was deleted meanwhile.
    #[error("no such bucket")]
    NoSuchBucket,
    /// Multipart only: the upload was completed, aborted or never existed.
    #[error("no such upload")]
    NoSuchUpload,
    /// A condition does not hold.
    #[error(transparent)]
    Condition(#[from] ConditionFailed),
    /// The body broke off or was refused on its way; the gateway knows why.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The bytes are not what was announced.
    #[error(transparent)]
    Mismatch(#[from] BodyMismatch),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What a PUT answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutDone {
    /// The object as it is now.
    pub object: Object,
}

/// What UploadPart answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDone {
    /// MD5 in hexadecimal.
    pub etag: String,
    /// The checksum asked for.
    pub checksum: Option<Checksum>,
    /// Last-Modified of the part.
    pub modified: crate::clock::UnixMs,
}

impl Namespace {
    /// Stores an object. When this answers, the bytes and the row are durable and every read sees them.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html>
    pub async fn put(&self, _request: PutObject<'_>) -> Result<PutDone, PutError> {
        unimplemented!()
    }
}
