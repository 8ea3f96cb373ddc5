//! PutObject: bytes first, row second.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdall_silos::{Body, BodyError};

use crate::assimilate::Sought;
use crate::bucket::Bucket;
use crate::engine::Read;
use crate::extent::{Location, SiloId};
use crate::fault::Fault;
use crate::inventory::Then;
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Condition, ConditionFailed, Headers, Object, Pairs};
use crate::replace::{Beside, Decide, NotReplaced, Replace};
use crate::session::Session;
use crate::store::{For, StoredBytes};
use crate::table::decode_row;
use crate::table::objects::{Attributes, Data, ObjectRow, object, show};
use crate::table::silos::{is_lost, silo as silo_key};
use crate::table::tag::Tag;

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
    pub verify: Verify,
}

/// Compares what was computed with what the client said.
pub type Verify = Box<dyn FnOnce(&Computed) -> Result<(), BodyMismatch> + Send>;

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
    /// Copies only: the source was replaced or deleted meanwhile, and its bytes are on their way out.
    #[error("the source is gone")]
    SourceGone,
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
    pub async fn put(&self, request: PutObject<'_>) -> Result<PutDone, PutError> {
        let PutObject { bucket, key, upload, headers, tags, storage_class, condition } = request;
        let session = self.session();
        let (size, algorithm) = (upload.size, upload.algorithm);
        if condition != Condition::default() {
            self.check_early(bucket, key, &condition).await?;
        }
        let mut attributes = Attributes { headers, tags, checksum: None };
        let labels = self.core.labels_asked(bucket, key).await?;
        let whose = For {
            bucket: &bucket.name,
            key: key.as_str(),
            headers: &attributes.headers,
            part: 0,
            attributes: &attributes,
            storage_class: storage_class.as_deref(),
            labels: &labels,
        };
        let stored = self.core.store(&session, whose, upload).await?;
        crate::failpoint!("put-stored");
        let row = ObjectRow {
            size,
            modified: 0,
            etag: Tag::Md5 { md5: stored.computed.md5, parts: 0 },
            checksum: algorithm.map(|algorithm| (algorithm, ChecksumKind::FullObject)),
            storage_class,
            version: stored.version(),
            data: Data::Slices(stored.slices()),
            attributes: None,
        };
        attributes.checksum.clone_from(&stored.computed.checksum);
        let then = stored.then;
        let done = self.core.publish(session, bucket, key, (row, attributes), condition, stored).await?;
        if then == Then::AlignNow && !crate::seeded_bug!("ack-at-once") {
            self.core.align_now(bucket, key).await?;
        }
        Ok(done)
    }

    /// A condition that cannot hold refuses before the body is read; only the commit says that it holds.
    async fn check_early(&self, bucket: &Bucket, key: &ObjectKey, condition: &Condition) -> Result<(), PutError> {
        self.core.seek(bucket, key, Sought::Now).await?;
        let rows = self.engine.get(&[object(bucket.incarnation, key)]).await.map_err(Fault::from)?;
        let current = decode_row::<ObjectRow>(rows[0].as_ref())?;
        let etag = current.map(|row| row.etag.text());
        Ok(condition.check(etag.as_deref())?)
    }
}

impl Core {
    /// The commit that makes stored bytes a version.
    pub(crate) async fn publish(
        &self,
        session: Arc<Session>,
        bucket: &Bucket,
        key: &ObjectKey,
        (row, attributes): (ObjectRow, Attributes),
        condition: Condition,
        mut stored: StoredBytes,
    ) -> Result<PutDone, PutError> {
        let (guards, then, chosen_at) = (std::mem::take(&mut stored.guards), stored.then, stored.revision);
        let version = row.version;
        let places: Vec<_> = stored.extents.iter().map(|extent| (extent.silo, extent.location.clone())).collect();
        let silos: BTreeSet<SiloId> = places.iter().map(|(silo, _)| *silo).collect();
        let reads = silos.iter().map(|silo| Read::Row(silo_key(*silo))).collect();
        // Bytes that went with a silo while they came are not acknowledged.
        let decide: Decide<()> = Arc::new(move |rows, row| {
            let went = |silo: &SiloId| is_lost(rows, *silo).unwrap_or(true);
            if silos.iter().any(went) { Err(()) } else { Ok(stored.writes_for(version, row.modified)) }
        });
        let beside = Beside { reads, decide };
        let (adding, kept) = (Vec::new(), attributes.clone());
        let replace =
            Replace { session, bucket, key, row, attributes: kept, modified: None, condition, adding, beside, guards };
        match self.replace(replace).await {
            Ok(row) => {
                crate::failpoint!("put-committed");
                // What was declared while the bytes came may want them elsewhere.
                if then == Then::AlignSoon || chosen_at != self.inventory().revision {
                    self.align_soon(bucket, key);
                }
                Ok(PutDone { object: show(&row, attributes) })
            }
            Err(refusal) => {
                if !matches!(refusal, NotReplaced::Lost) || crate::seeded_bug!("discard-unknown") {
                    self.discard(&places).await;
                }
                Err(match refusal {
                    NotReplaced::Beside(()) => Fault::Unavailable("the silo that took it is lost".to_owned()).into(),
                    refusal => refusal.into(),
                })
            }
        }
    }

    /// Deletes blobs that no commit ever named and none will: their commit is known to have been refused. A record
    /// stays, as a part of its pack that is not in use.
    pub(crate) async fn discard(&self, places: &[(SiloId, Location)]) {
        let inventory = self.inventory();
        for (silo, location) in places {
            if let (Ok(open), Location::Blob(blob)) = (inventory.silo(*silo), location) {
                let _ = open.note(open.silo.delete(blob).await);
            }
        }
    }
}

impl From<NotReplaced<()>> for PutError {
    fn from(refusal: NotReplaced<()>) -> Self {
        match refusal {
            NotReplaced::NoSuchBucket => Self::NoSuchBucket,
            NotReplaced::Condition(failed) => Self::Condition(failed),
            NotReplaced::Gone | NotReplaced::Beside(()) => Self::SourceGone,
            NotReplaced::Lost => Self::Fault(Fault::Unavailable("the outcome of the commit is unknown".to_owned())),
            NotReplaced::Fault(fault) => Self::Fault(fault),
        }
    }
}
