//! Complete: seal, read the parts, and one commit that makes the object. A seal obliges nobody, so a crash leaves
//! nothing stuck.

use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};

use crate::digest::{ChecksumHasher, combine};
use crate::engine::{Key, Read, Rows, Write};
use crate::extent::{Number, Slice};
use crate::fault::Fault;
use crate::limits::{MAX_OBJECT, MIN_PART};
use crate::multipart::{Complete, CompleteError, NamedPart};
use crate::namespace::{Core, Namespace};
use crate::object::{ChecksumAlgorithm, ChecksumKind, Object};
use crate::objective::expression::Subject;
use crate::replace::{Beside, NotReplaced, Replace};
use crate::session::{Session, Uncommitted};
use crate::table::objects::{Attributes, Data, ObjectRow, show};
use crate::table::retired::{RetiredRow, retired};
use crate::table::tag::Tag;
use crate::table::uploads::{ManifestRow, PartRow, UploadRow, UploadState, manifest, part as part_key, upload};
use crate::table::{decode_row, encode};

/// How often another Complete or a late part may break the seal before 503.
const SEALS: u32 = 8;

/// The pause before it is sealed again; it doubles.
const SEAL_PAUSE: Duration = Duration::from_millis(5);

/// Part rows read at a time.
const PAGE: usize = 500;

enum Sealed {
    Now(Box<UploadRow>),
    Already(Box<UploadRow>),
}

impl Namespace {
    /// Makes the object of its parts, in one commit. Repeated with the same list, it answers the same, and waits for the same.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>
    pub async fn complete_upload(&self, complete: Complete<'_>) -> Result<Object, CompleteError> {
        let (bucket, key) = (complete.bucket, complete.key);
        let labels = self.core.labels_asked(bucket, key).await?;
        let object = self.completed(complete).await?;
        let Object { headers, tags, .. } = object.clone();
        let attributes = Attributes { headers, tags, checksum: None };
        let subject = Subject { labels: &labels, ..Subject::written(object.size, object.modified) };
        let class = object.storage_class.as_deref();
        let subject = subject.of(bucket.name.as_str(), key.as_str(), class, Some(&attributes));
        // Its parts were written one by one, and nobody knew its size.
        let waits = self.core.inventory().waits_for_copies(&subject);
        self.core.align_written(bucket, key, waits).await?;
        Ok(object)
    }

    async fn completed(&self, complete: Complete<'_>) -> Result<Object, CompleteError> {
        let Some(first) = complete.parts.first() else { return Err(CompleteError::NoParts) };
        if first.number == 0 || complete.parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(CompleteError::InvalidPartOrder);
        }
        let (session, key) = (self.session(), upload(complete.bucket.incarnation, complete.key, complete.id.0));
        let list = list_digest(&complete.parts);
        for attempt in 0..SEALS {
            let guard = session.take();
            let token = guard.number;
            if attempt > 0 {
                // Others who complete it are given time, and not all of them the same.
                let pause = SEAL_PAUSE * (1 << attempt) + Duration::from_millis(token.number % 16);
                self.clock.sleep(pause).await;
            }
            let row = match self.core.seal(&session, &key, token).await? {
                Sealed::Now(row) => row,
                Sealed::Already(row) => return answer_again(&row, &list),
            };
            crate::failpoint!("complete-sealed");
            let parts = match self.core.named_parts(&complete).await {
                Ok(parts) => parts,
                // A mismatch counts only if the upload is still open under this seal.
                Err(error)
                    if crate::seeded_bug!("invalid-part-unasked") || self.core.is_sealed(&key, token).await? =>
                {
                    return Err(error);
                }
                Err(_) => continue,
            };
            let slices: Vec<Slice> = parts.iter().flat_map(|part| part.slices.iter().copied()).collect();
            self.core.refuse_lost(&slices).await?;
            let object = assemble(&complete, &row, &parts)?;
            let finish = Finish { session: &session, key: &key, token, list, row: &row, complete: &complete, object };
            if let Some(object) = self.core.finish(finish, guard).await? {
                return Ok(object);
            }
        }
        Err(Fault::Unavailable("the upload changes while it is completed".to_owned()).into())
    }
}

/// The object that the parts make.
struct Assembled {
    size: u64,
    etag: Tag,
    checksum: Option<(ChecksumAlgorithm, ChecksumKind, Vec<u8>)>,
    sizes: Vec<(u32, u64)>,
}

struct Finish<'a> {
    session: &'a Arc<Session>,
    key: &'a Key,
    token: Number,
    list: [u8; 32],
    row: &'a UploadRow,
    complete: &'a Complete<'a>,
    object: Assembled,
}

fn list_digest(parts: &[NamedPart]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.number.to_be_bytes());
        hasher.update(part.etag.as_bytes());
        hasher.update(b"\n");
    }
    *hasher.finalize().as_bytes()
}

/// A completed upload gives its answer again to the same list.
fn answer_again(row: &UploadRow, asked: &[u8; 32]) -> Result<Object, CompleteError> {
    match &row.state {
        UploadState::Completed { list, answer, .. } if list == asked => Ok(show(answer, row.attributes.clone())),
        _ => Err(CompleteError::NoSuchUpload),
    }
}

fn assemble(complete: &Complete<'_>, row: &UploadRow, parts: &[PartRow]) -> Result<Assembled, CompleteError> {
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if size > MAX_OBJECT {
        return Err(CompleteError::TooLarge);
    }
    if let Some(expected) = complete.size.filter(|expected| *expected != size) {
        return Err(CompleteError::Size { expected, actual: size });
    }
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part.md5);
    }
    let etag = Tag::Md5 { md5: md5.finalize().into(), parts: parts.len() as u32 };
    let checksum = row.checksum.and_then(|(algorithm, kind)| Some((algorithm, kind, whole(algorithm, kind, parts)?)));
    if let Some((algorithm, claimed)) = &complete.checksum {
        match &checksum {
            Some((own, _, value)) if own == algorithm && value == claimed => {}
            _ => return Err(CompleteError::Checksum(*algorithm)),
        }
    }
    let sizes = complete.parts.iter().map(|part| part.number).zip(parts.iter().map(|part| part.size)).collect();
    Ok(Assembled { size, etag, checksum, sizes })
}

/// The object's checksum out of its parts'.
fn whole(algorithm: ChecksumAlgorithm, kind: ChecksumKind, parts: &[PartRow]) -> Option<Vec<u8>> {
    match kind {
        ChecksumKind::Composite => {
            let mut hasher = ChecksumHasher::new(algorithm);
            for part in parts {
                hasher.update(part.checksum.as_ref()?);
            }
            Some(hasher.finish())
        }
        ChecksumKind::FullObject => {
            let mut all = parts.first()?.checksum.clone()?;
            for part in &parts[1..] {
                all = combine(algorithm, &all, part.checksum.as_ref()?, part.size)?;
            }
            Some(all)
        }
    }
}

fn fits(named: &NamedPart, row: Option<&PartRow>, last: bool) -> Result<(), CompleteError> {
    let row = row.ok_or(CompleteError::InvalidPart(named.number))?;
    let checksum = named.checksum.as_ref().is_none_or(|(_, value)| row.checksum.as_ref() == Some(value));
    let etag = const_hex::encode(row.md5);
    if (etag != named.etag && !crate::seeded_bug!("complete-trusts-list")) || !checksum {
        return Err(CompleteError::InvalidPart(named.number));
    }
    if !last && row.size < MIN_PART && !crate::failpoint::small_parts() {
        return Err(CompleteError::EntityTooSmall { number: named.number, size: row.size, etag });
    }
    Ok(())
}

impl Core {
    async fn seal(&self, session: &Arc<Session>, key: &Key, token: Number) -> Result<Sealed, CompleteError> {
        let row_key = key.clone();
        let decide = move |rows: &Rows| {
            let row: Option<UploadRow> = decode_row(rows.get(&row_key))?;
            let row = row.ok_or(CompleteError::NoSuchUpload)?;
            match row.state {
                UploadState::Aborted => Err(CompleteError::NoSuchUpload),
                UploadState::Completed { .. } => Ok((Vec::new(), Sealed::Already(Box::new(row)))),
                UploadState::Open { .. } => {
                    let row = UploadRow { state: UploadState::Open { seal: Some(token) }, ..row };
                    Ok((vec![Write::Put(row_key.clone(), encode(&row))], Sealed::Now(Box::new(row))))
                }
            }
        };
        session.commit(vec![Read::Row(key.clone())], decide).await.map_err(|error| match error {
            Uncommitted::Refused(refusal) => refusal,
            Uncommitted::Fault(fault) => fault.into(),
            Uncommitted::Unknown => lost().into(),
        })
    }

    async fn is_sealed(&self, key: &Key, token: Number) -> Result<bool, Fault> {
        let row: Option<UploadRow> = decode_row(self.engine.get(std::slice::from_ref(key)).await?[0].as_ref())?;
        Ok(row.is_some_and(|row| row.state == UploadState::Open { seal: Some(token) }))
    }

    /// The parts named, each as named.
    async fn named_parts(&self, complete: &Complete<'_>) -> Result<Vec<PartRow>, CompleteError> {
        let mut parts = Vec::with_capacity(complete.parts.len());
        for page in complete.parts.chunks(PAGE) {
            let keys: Vec<Key> = page.iter().map(|part| part_key(complete.id.0, part.number)).collect();
            let rows = self.engine.get(&keys).await.map_err(Fault::from)?;
            for (named, row) in page.iter().zip(&rows) {
                let row: Option<PartRow> = decode_row(row.as_ref())?;
                fits(named, row.as_ref(), parts.len() + 1 == complete.parts.len())?;
                parts.extend(row);
            }
        }
        Ok(parts)
    }

    /// The one commit. `None`: the seal was broken, seal again.
    async fn finish(
        &self,
        finish: Finish<'_>,
        guard: crate::session::Unfinished,
    ) -> Result<Option<Object>, CompleteError> {
        let Finish { session, key, token, list, row: upload_row, complete, object } = finish;
        let version = session.take();
        let id = complete.id.0;
        let attributes = Attributes {
            checksum: object.checksum.as_ref().map(|(_, _, value)| value.clone()),
            ..upload_row.attributes.clone()
        };
        let row = ObjectRow {
            size: object.size,
            modified: 0,
            etag: object.etag,
            checksum: object.checksum.as_ref().map(|(algorithm, kind, _)| (*algorithm, *kind)),
            storage_class: upload_row.storage_class.clone(),
            version: version.number,
            data: Data::Manifest(id),
            attributes: None,
        };
        let algorithm = upload_row.checksum.map(|(algorithm, _)| algorithm);
        let head = ManifestRow { parts: object.sizes, first: Some(version.number), checksum: algorithm };
        let (row_key, kept) = (key.clone(), attributes.clone());
        let decide = Arc::new(move |rows: &Rows, row: &ObjectRow| {
            let open: Option<UploadRow> = decode_row(rows.get(&row_key)).map_err(SealBroken::Fault)?;
            let open = open.filter(|open| may_finish(&open.state, token));
            let open = open.ok_or(SealBroken::Broken)?;
            let answer = Box::new(row.clone());
            let state = UploadState::Completed { token, list, answer, trimmed: false, at: row.modified };
            let done = UploadRow { state, attributes: kept.clone(), ..open };
            let todo = RetiredRow::Upload { key: row_key.clone(), id };
            let mut writes = vec![
                Write::Put(manifest(id), encode(&head)),
                Write::Put(retired(row.modified, token, 0), encode(&todo)),
            ];
            if crate::seeded_bug!("complete-unrecorded") {
                writes.push(Write::Delete(row_key.clone()));
            } else if !crate::seeded_bug!("complete-stays-open") {
                writes.push(Write::Put(row_key.clone(), encode(&done)));
            }
            Ok(writes)
        });
        let replace = Replace {
            session: Arc::clone(session),
            bucket: complete.bucket,
            key: complete.key,
            row,
            attributes: attributes.clone(),
            modified: None,
            condition: complete.condition.clone(),
            adding: Vec::new(),
            beside: Beside { reads: vec![Read::Row(key.clone())], decide },
            guards: [version, guard].map(Arc::new).into(),
        };
        match self.replace(replace).await {
            Ok(row) => {
                crate::failpoint!("complete-committed");
                Ok(Some(show(&row, attributes)))
            }
            Err(NotReplaced::Beside(SealBroken::Broken)) => Ok(None),
            Err(NotReplaced::Lost) => self.probe_complete(key, token).await,
            Err(refusal) => Err(refusal.into()),
        }
    }

    async fn probe_complete(&self, key: &Key, mine: Number) -> Result<Option<Object>, CompleteError> {
        let rows = self.engine.get(std::slice::from_ref(key)).await.map_err(Fault::from)?;
        let row: Option<UploadRow> = decode_row(rows[0].as_ref())?;
        match row {
            Some(UploadRow { state: UploadState::Completed { token, answer, .. }, attributes, .. })
                if token == mine =>
            {
                Ok(Some(show(&answer, attributes)))
            }
            _ => Err(lost().into()),
        }
    }
}

/// Open, and sealed by nobody since.
fn may_finish(state: &UploadState, token: Number) -> bool {
    match state {
        UploadState::Open { seal } => *seal == Some(token) || crate::seeded_bug!("complete-without-seal"),
        UploadState::Aborted => crate::seeded_bug!("complete-over-abort"),
        UploadState::Completed { .. } => false,
    }
}

fn lost() -> Fault {
    Fault::Unavailable("the outcome of the commit is unknown".to_owned())
}

enum SealBroken {
    Broken,
    Fault(Fault),
}

impl From<NotReplaced<SealBroken>> for CompleteError {
    fn from(refusal: NotReplaced<SealBroken>) -> Self {
        match refusal {
            NotReplaced::NoSuchBucket => Self::NoSuchBucket,
            NotReplaced::Condition(failed) => Self::Condition(failed),
            NotReplaced::Beside(SealBroken::Fault(fault)) | NotReplaced::Fault(fault) => Self::Fault(fault),
            NotReplaced::Beside(SealBroken::Broken) | NotReplaced::Gone | NotReplaced::Lost => Self::Fault(lost()),
        }
    }
}
