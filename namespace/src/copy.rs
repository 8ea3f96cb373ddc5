//! CopyObject: one more reference to the same bytes.

use crate::bucket::Bucket;
use crate::get::Opened;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{ChecksumAlgorithm, Condition, Headers, Pairs};
use crate::put::{PutDone, PutError};

/// A CopyObject request. The source's own conditions were checked on `source.object` by the caller.
pub struct CopyObject<'a> {
    /// What is copied.
    pub source: &'a Opened,
    /// Where to.
    pub bucket: &'a Bucket,
    /// Under which key.
    pub key: &'a ObjectKey,
    /// New headers, or none to take the source's.
    pub headers: Option<Headers>,
    /// New tags, or none to take the source's.
    pub tags: Option<Pairs>,
    /// `x-amz-storage-class` when not STANDARD.
    pub storage_class: Option<String>,
    /// A checksum to compute when the source has another one or none: then the bytes are read.
    pub algorithm: Option<ChecksumAlgorithm>,
    /// Decided inside the commit.
    pub condition: Condition,
}

impl Namespace {
    /// Copies without touching bytes, at the cost of one commit, unless another checksum is asked for. A multipart
    /// source becomes an object of one part with the same ETag kept from the source.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
    pub async fn copy(&self, _request: CopyObject<'_>) -> Result<PutDone, PutError> {
        unimplemented!()
    }
}
