//! Parts: bytes first, then one commit that replaces the part's row and clears any seal.

use std::ops::Range;
use std::sync::Arc;

use md5::{Digest as _, Md5};

use futures_util::StreamExt;

use crate::bucket::Bucket;
use crate::digest::ChecksumHasher;
use crate::engine::{Key, Read, Rows, Write};
use crate::extent::{Number, Slice};
use crate::fault::Fault;
use crate::get::Opened;
use crate::limits::{COMMIT_TRIES, MAX_SLICES};
use crate::multipart::UploadId;
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Headers};
use crate::objective::expression::Subject;
use crate::put::{Computed, PartDone, PutError, Upload};
use crate::reference::{Adding, Dropping, Stale, targets};
use crate::session::{Session, Uncommitted, Unfinished};
use crate::store::For;
use crate::table::objects::Data;
use crate::table::uploads::{ManifestRow, PartRow, UploadRow, UploadState, manifest, part as part_key, upload};
use crate::table::{decode_row, encode};

/// Makes the writes of the bytes beside a part's row, given when it is committed.
type Bytes = Arc<dyn Fn(i64) -> Vec<Write> + Send + Sync>;

/// What becomes a part.
struct NewPart {
    upload_key: Key,
    id: Number,
    number: u32,
    row: PartRow,
    /// Extents that exist already.
    adding: Adding,
    bytes: Bytes,
    guards: Vec<Arc<Unfinished>>,
}

enum Refusal {
    Stale,
    NoSuchUpload,
    SourceGone,
    Fault(Fault),
}

impl From<Stale> for Refusal {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Again => Self::Stale,
            Stale::Gone => Self::SourceGone,
            Stale::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Namespace {
    /// Stores a part, replacing one of the same number.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html>
    pub async fn upload_part(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
        number: u32,
        upload: Upload,
    ) -> Result<PartDone, PutError> {
        let session = self.session();
        let open = self.core.open_upload(bucket, key, id.0).await?.ok_or(PutError::NoSuchUpload)?;
        let (size, algorithm) = (upload.size, upload.algorithm);
        let labels = self.core.labels_asked(bucket, key).await?;
        let whose = For {
            bucket: &bucket.name,
            key: key.as_str(),
            headers: &Headers::default(),
            part: number,
            attributes: &open.attributes,
            storage_class: open.storage_class.as_deref(),
            labels: &labels,
        };
        let mut stored = self.core.store(&session, whose, upload).await?;
        crate::failpoint!("part-stored");
        let (version, computed) = (stored.version(), stored.computed.clone());
        let row = part_row(version, size, &computed, stored.slices());
        let places: Vec<_> = stored.extents.iter().map(|extent| (extent.silo, extent.location.clone())).collect();
        let guards = std::mem::take(&mut stored.guards);
        let new = NewPart {
            upload_key: crate::table::uploads::upload(bucket.incarnation, key, id.0),
            id: id.0,
            number,
            row,
            adding: Adding::none(version),
            bytes: Arc::new(move |now| stored.writes_for(version, now)),
            guards,
        };
        match self.core.commit_part(&session, new).await {
            Ok(row) => Ok(part_done(&row, algorithm)),
            Err((refusal, landed)) => {
                if !landed {
                    self.core.discard(&places).await;
                }
                Err(refusal)
            }
        }
    }

    /// Makes a part of a range of an existing object, by reference where that takes few slices.
    ///
    /// The bytes are read once for the part's MD5; they are not written again.
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html>
    pub async fn upload_part_copy(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
        number: u32,
        source: &Opened,
        range: Range<u64>,
    ) -> Result<PartDone, PutError> {
        let open = self.core.open_upload(bucket, key, id.0).await?.ok_or(PutError::NoSuchUpload)?;
        let algorithm = open.checksum.map(|(algorithm, _)| algorithm);
        let slices = source.slices(range.clone()).await?;
        let labels = self.core.labels_asked(bucket, key).await?;
        let subject = Subject { labels: &labels, ..Subject::written(range.end - range.start, self.clock.now()) };
        let subject =
            subject.of(bucket.name.as_str(), key.as_str(), open.storage_class.as_deref(), Some(&open.attributes));
        if slices.len() > MAX_SLICES || !source.may_be_shared(&subject).await? {
            return self.copy_bytes(bucket, key, id, number, source, range, algorithm).await;
        }
        let computed = hash_range(source, range.clone(), algorithm).await?;
        let session = self.session();
        let guard = session.take();
        let version = guard.number;
        let adding = Adding { targets: targets(&Data::Slices(slices.clone())), referrer: version };
        let new = NewPart {
            upload_key: upload(bucket.incarnation, key, id.0),
            id: id.0,
            number,
            row: part_row(version, range.end - range.start, &computed, slices),
            adding,
            bytes: Arc::new(|_| Vec::new()),
            guards: vec![Arc::new(guard)],
        };
        let row = self.core.commit_part(&session, new).await.map_err(|(refusal, _)| refusal)?;
        Ok(part_done(&row, algorithm))
    }

    /// Too many slices: the range is written again.
    #[expect(clippy::too_many_arguments, reason = "one request, split here only")]
    async fn copy_bytes(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        id: UploadId,
        number: u32,
        source: &Opened,
        range: Range<u64>,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<PartDone, PutError> {
        let upload = source.upload(range, algorithm).await?;
        self.upload_part(bucket, key, id, number, upload).await
    }
}

async fn hash_range(
    source: &Opened,
    range: Range<u64>,
    algorithm: Option<ChecksumAlgorithm>,
) -> Result<Computed, PutError> {
    let (mut md5, mut checksum) = (Md5::new(), algorithm.map(ChecksumHasher::new));
    let mut bytes = source.bytes(range).await?;
    while let Some(piece) = bytes.next().await {
        let piece = piece?;
        md5.update(&piece);
        if let Some(checksum) = &mut checksum {
            checksum.update(&piece);
        }
    }
    Ok(Computed { md5: md5.finalize().into(), checksum: checksum.map(ChecksumHasher::finish) })
}

fn part_row(version: Number, size: u64, computed: &Computed, slices: Vec<Slice>) -> PartRow {
    PartRow { version, size, md5: computed.md5, checksum: computed.checksum.clone(), modified: 0, slices }
}

fn part_done(row: &PartRow, algorithm: Option<ChecksumAlgorithm>) -> PartDone {
    let kind = ChecksumKind::FullObject;
    let checksum = algorithm.zip(row.checksum.clone()).map(|(algorithm, value)| Checksum { algorithm, kind, value });
    PartDone { etag: const_hex::encode(row.md5), checksum, modified: row.modified }
}

impl Core {
    /// The commit that makes a part. An error says whether its bytes may have become part of the index.
    async fn commit_part(&self, session: &Arc<Session>, new: NewPart) -> Result<PartRow, (PutError, bool)> {
        let NewPart { upload_key, id, number, row, adding, bytes, guards } = new;
        let (guards, key, version, row) = (Arc::new(guards), part_key(id, number), row.version, Arc::new(row));
        let probed = key.clone();
        for _ in 0..COMMIT_TRIES {
            let now = self.clock.now();
            let (old, dropping) = self.old_part(&key).await.map_err(|fault| (fault.into(), false))?;
            let mut reads = dropping.reads();
            reads.extend(adding.reads());
            reads.extend([Read::Row(upload_key.clone()), Read::Row(key.clone())]);
            let (held, upload_key, key, row) = (Arc::clone(&guards), upload_key.clone(), key.clone(), Arc::clone(&row));
            let (adding, bytes) = (adding.clone(), Arc::clone(&bytes));
            let decide = move |rows: &Rows| {
                let _held = &held;
                let open = open_row(rows.get(&upload_key));
                let open = if crate::seeded_bug!("part-ignores-upload") { open.ok() } else { Some(open?) };
                if rows.get(&key) != old.as_ref() {
                    return Err(Refusal::Stale);
                }
                let mut writes = dropping.writes(rows, &adding, now, row.version)?;
                writes.extend(bytes(now));
                let row = PartRow { modified: now, ..(*row).clone() };
                writes.push(Write::Put(key.clone(), encode(&row)));
                let sealed = open.filter(|open| open.state != (UploadState::Open { seal: None }));
                if let Some(open) = sealed.filter(|_| !crate::seeded_bug!("part-keeps-seal")) {
                    let open = UploadRow { state: UploadState::Open { seal: None }, ..open };
                    writes.push(Write::Put(upload_key.clone(), encode(&open)));
                }
                Ok((writes, row))
            };
            match session.commit(reads, decide).await {
                Ok(row) => return Ok(row),
                Err(Uncommitted::Refused(Refusal::Stale)) => {}
                Err(Uncommitted::Refused(refusal)) => return Err((refusal.into(), false)),
                Err(Uncommitted::Fault(fault)) => return Err((fault.into(), false)),
                Err(Uncommitted::Unknown) => return self.probe_part(&probed, version).await,
            }
        }
        Err((Fault::Unavailable("the part is written too often".to_owned()).into(), false))
    }

    /// After a lost answer and a raised epoch: is the part there?
    async fn probe_part(&self, key: &Key, version: Number) -> Result<PartRow, (PutError, bool)> {
        let lost = || (Fault::Unavailable("the outcome of the commit is unknown".to_owned()).into(), true);
        let rows = self.engine.get(std::slice::from_ref(key)).await.map_err(|_| lost())?;
        let row: Option<PartRow> = decode_row(rows[0].as_ref()).map_err(|_| lost())?;
        row.filter(|row| row.version == version).ok_or_else(lost)
    }

    async fn old_part(&self, key: &Key) -> Result<(Option<bytes::Bytes>, Dropping), Fault> {
        let old = self.engine.get(std::slice::from_ref(key)).await?.into_iter().next().flatten();
        let dropping = match decode_row::<PartRow>(old.as_ref())? {
            Some(row) => Dropping::prepare(&*self.engine, targets(&Data::Slices(row.slices)), row.version).await?,
            None => Dropping::default(),
        };
        Ok((old, dropping))
    }

    /// A manifest's head.
    pub(crate) async fn manifest(&self, id: Number) -> Result<ManifestRow, Fault> {
        let row = decode_row(self.engine.get(&[manifest(id)]).await?[0].as_ref())?;
        row.ok_or_else(|| Fault::Damaged(format!("manifest {id} has no head")))
    }

    /// One part of a manifest or upload.
    pub(crate) async fn part(&self, id: Number, number: u32) -> Result<PartRow, Fault> {
        let row = decode_row(self.engine.get(&[part_key(id, number)]).await?[0].as_ref())?;
        row.ok_or_else(|| Fault::Damaged(format!("manifest {id} has no part {number}")))
    }

    /// What a byte range of a manifest is made of.
    pub(crate) async fn manifest_slices(&self, id: Number, range: Range<u64>) -> Result<Vec<Slice>, Fault> {
        let head = self.manifest(id).await?;
        let (mut offset, mut keys, mut first) = (0, Vec::new(), None);
        for (number, size) in &head.parts {
            if range.start < offset + size && offset < range.end {
                first.get_or_insert(offset);
                keys.push(part_key(id, *number));
            }
            offset += size;
        }
        let start = first.unwrap_or(0);
        let mut slices = Vec::new();
        for row in self.engine.get(&keys).await? {
            let row: Option<PartRow> = decode_row(row.as_ref())?;
            slices.extend(row.ok_or_else(|| Fault::Damaged(format!("manifest {id} lacks a part")))?.slices);
        }
        Ok(crate::get::cut(&slices, range.start.saturating_sub(start)..range.end.saturating_sub(start)))
    }
}

fn open_row(row: Option<&bytes::Bytes>) -> Result<UploadRow, Refusal> {
    let row: Option<UploadRow> = decode_row(row)?;
    row.filter(|row| matches!(row.state, UploadState::Open { .. })).ok_or(Refusal::NoSuchUpload)
}

impl From<Refusal> for PutError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchUpload => Self::NoSuchUpload,
            Refusal::SourceGone => Self::SourceGone,
            Refusal::Fault(fault) => fault.into(),
            Refusal::Stale => Fault::Unavailable("the part is written too often".to_owned()).into(),
        }
    }
}
