//! CopyObject: one more reference to the same bytes.

use std::sync::Arc;

use futures_util::StreamExt;

use crate::bucket::Bucket;
use crate::digest::ChecksumHasher;
use crate::get::Opened;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Condition, Headers, Pairs};
use crate::objective::expression::Subject;
use crate::put::{PutDone, PutError, PutObject};
use crate::reference::targets;
use crate::replace::{Beside, Replace};
use crate::table::objects::{Attributes, ObjectRow, show};

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
    /// Copies without touching bytes, at the cost of one commit, unless another checksum is asked for. The copy
    /// keeps the source's ETag, `-N` and parts included, since its bytes are the same.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>
    pub async fn copy(&self, request: CopyObject<'_>) -> Result<PutDone, PutError> {
        self.core.room_in_index()?;
        let CopyObject { source, bucket, key, headers, tags, storage_class, algorithm, condition } = request;
        let headers = headers.unwrap_or_else(|| source.object.headers.clone());
        let tags = tags.unwrap_or_else(|| source.object.tags.clone());
        let mut attributes = Attributes { headers, tags, checksum: None };
        let labels = self.core.labels_asked(bucket, key).await?;
        let subject = Subject { labels: &labels, ..Subject::written(source.row.size, self.clock.now()) };
        let subject = subject.of(bucket.name.as_str(), key.as_str(), storage_class.as_deref(), Some(&attributes));
        if !source.may_be_shared(&subject).await? {
            // Bytes that others may change or take away, or move to where the copy may not be, are written anew.
            let own = source.object.checksum.as_ref().map(|own| own.algorithm);
            let upload = source.upload(0..source.row.size, algorithm.or(own)).await?;
            let Attributes { headers, tags, .. } = attributes;
            return self.put(PutObject { bucket, key, upload, headers, tags, storage_class, condition }).await;
        }
        source.refuse_lost().await?;
        let waits = self.core.inventory().waits_for_copies(&subject);
        let session = self.session();
        let checksum = self.checksum_of_copy(source, algorithm).await?;
        let guard = session.take();
        let row = ObjectRow {
            size: source.row.size,
            modified: 0,
            etag: source.row.etag.clone(),
            checksum: checksum.as_ref().map(|checksum| (checksum.algorithm, checksum.kind)),
            storage_class,
            version: guard.number,
            data: source.row.data.clone(),
            attributes: None,
        };
        attributes.checksum = checksum.map(|checksum| checksum.value);
        let (adding, kept) = (targets(&row.data), attributes.clone());
        let beside = Beside::<()> { reads: Vec::new(), decide: Arc::new(|_, _| Ok(Vec::new())) };
        let guards = vec![Arc::new(guard)];
        let replace =
            Replace { session, bucket, key, row, attributes: kept, modified: None, condition, adding, beside, guards };
        let row = self.core.replace(replace).await?;
        self.core.align_written(bucket, key, waits).await?;
        Ok(PutDone { object: show(&row, attributes) })
    }

    /// The source's checksum, or the one asked for: then the bytes are read once.
    async fn checksum_of_copy(
        &self,
        source: &Opened,
        wanted: Option<ChecksumAlgorithm>,
    ) -> Result<Option<Checksum>, PutError> {
        let own = source.object.checksum.clone();
        let Some(algorithm) = wanted else { return Ok(own) };
        if own.as_ref().is_some_and(|own| own.algorithm == algorithm && own.kind == ChecksumKind::FullObject) {
            return Ok(own);
        }
        let mut hasher = ChecksumHasher::new(algorithm);
        let mut bytes = source.bytes(0..source.row.size).await?;
        while let Some(piece) = bytes.next().await {
            hasher.update(&piece?);
        }
        Ok(Some(Checksum { algorithm, kind: ChecksumKind::FullObject, value: hasher.finish() }))
    }
}
