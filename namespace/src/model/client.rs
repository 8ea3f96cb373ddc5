//! What clients do, one request each, and what they hold the answers against.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_silos::BodyError;

use super::history::{Needs, Outcome, Register, Tag, What};
use super::index::Index;
use super::log::{Log, Named, Said};
use super::sim::Sim;
use crate::bucket::Bucket;
use crate::copy::CopyObject;
use crate::delete::DeleteError;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::get::{GetError, Opened};
use crate::list::{Line, List};
use crate::multipart::{Complete, CompleteError, CreateUpload, NamedPart, UploadError};
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Condition, ConditionFailed, ETags, Headers};
use crate::put::{PutError, PutObject, Upload};
use crate::table::objects::{ObjectRow, object};
use crate::table::sessions::alive;

/// Keys of a case.
pub(super) const KEYS: usize = 2;
/// Part numbers of an upload.
pub(super) const PARTS: u32 = 3;

/// A client of one gateway.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) namespace: Arc<Namespace>,
    pub(super) bucket: Bucket,
    pub(super) index: Arc<Index>,
    pub(super) log: Arc<Log>,
    /// Copies that are there once a write of an object is answered.
    pub(super) copies: usize,
}

pub(super) fn key(at: usize) -> ObjectKey {
    ["a", "b"][at].parse().expect("a good key")
}

fn upload(bytes: &Bytes, breaks: bool) -> Upload {
    let middle = bytes.len() / 2;
    let mut pieces = vec![Ok(bytes.slice(..middle)), Ok(bytes.slice(middle..))];
    if breaks {
        pieces[1] = Err(BodyError { reason: "the client went away".to_owned() });
    }
    Upload {
        body: stream::iter(pieces).boxed(),
        size: bytes.len() as u64,
        algorithm: None,
        verify: Box::new(|_| Ok(())),
    }
}

/// Whether a write was refused only since it is not in as many copies as were promised: the object is there.
fn is_in_fewer(fault: &Fault) -> bool {
    matches!(fault, Fault::Unavailable(reason) if reason.starts_with("not all copies"))
}

impl Client {
    fn sim(&self) -> &Arc<Sim> {
        &self.log.sim
    }

    fn condition(&self, needs: Needs) -> Condition {
        match needs {
            Needs::Nothing => Condition::default(),
            Needs::Absent => Condition { if_match: None, if_none_match: Some(ETags::Any) },
            Needs::Is(tag) => {
                Condition { if_match: Some(ETags::Of(vec![self.log.value(tag).etag])), if_none_match: None }
            }
        }
    }

    /// Nothing is damaged but what was broken on purpose, and that is met only where nothing else is left, or something broke on the
    /// way to that.
    fn fault(&self, fault: &Fault, what: &str) {
        self.sim().note(|| format!("{what}: {fault}"));
        let held = self.index.held();
        let broken = held.is_any_broken();
        let may_be = held.is_any_gone();
        drop(held);
        let may_be = may_be || (broken && (self.sim().faults() > 0 || self.is_behind()));
        if matches!(fault, Fault::Damaged(_) | Fault::Lost(_)) && !may_be {
            self.sim().wrong(|| format!("{what} finds damage: {fault}"));
        }
    }

    /// Whether its gateway did not hear yet that a silo was lost, or found.
    fn is_behind(&self) -> bool {
        let (held, inventory) = (self.index.held(), self.namespace.inventory());
        inventory.silos.values().any(|open| open.is_lost() != held.lost().contains(&open.id))
    }

    /// A read fails only where something was broken, or its session was declared dead.
    fn read_failed(&self, fault: &Fault, session: u64) {
        self.fault(fault, "a read");
        // That a silo is lost, or found, is on its way through the gateways for a while.
        if matches!(fault, Fault::Lost(_)) {
            return;
        }
        let row = futures_util::FutureExt::now_or_never(self.index.truth.get(&[alive(session)]));
        let dead = row.expect("it is ready at once").expect("the memory engine does not fail")[0].is_none();
        // A copy in a silo that was just found is none to a gateway that did not hear of it, and the other one may be damaged.
        let alone = matches!(fault, Fault::Damaged(_)) && self.is_behind();
        if !dead && self.sim().faults() == 0 && !alone {
            self.sim().wrong(|| format!("a read failed, though nothing was broken and its session lives: {fault}"));
        }
    }

    /// A version's bytes fail where nothing good is left of them, too; what went with a lost silo is told to be lost.
    fn bytes_failed(&self, opened: &Opened, fault: &Fault, session: u64) {
        let extents = self.index.extents_of(&opened.row.data);
        let held = self.index.held();
        let (gone, lost) = (
            extents.iter().any(|id| held.is_gone(*id)),
            !extents.is_empty() && extents.iter().all(|id| held.is_lost(*id)),
        );
        drop(held);
        if !gone {
            return self.read_failed(fault, session);
        }
        self.fault(fault, "a read of what is gone");
        if lost && self.sim().is_quiet() && !matches!(fault, Fault::Lost(_)) {
            self.sim().wrong(|| format!("what went with a lost silo is answered {fault}"));
        }
    }

    pub(super) async fn put(self, at: usize, bytes: Bytes, needs: Needs, breaks: bool) {
        let tag = self.log.tag(&bytes);
        let event = self.log.call(Register::Key(at), What::Write { tag, modified: None, needs });
        let name = key(at);
        let request = PutObject {
            bucket: &self.bucket,
            key: &name,
            upload: upload(&bytes, breaks),
            headers: Headers::default(),
            tags: Vec::new(),
            storage_class: None,
            condition: self.condition(needs),
        };
        let answer = self.namespace.put(request).await.map(|done| (done.object.etag, done.object.modified));
        if answer.is_ok() {
            self.is_in_all(at, tag);
        }
        self.written(event, tag, needs, answer);
    }

    /// What was just acknowledged, and is still there, has as many copies as were promised.
    fn is_in_all(&self, at: usize, tag: Tag) {
        let found = self.index.object_at(&object(self.bucket.incarnation, &key(at)));
        let same = |row: &ObjectRow| self.log.known(&row.etag.text()) == Some(tag) && self.log.is_once(at, tag);
        let Some(row) = found.filter(same) else { return };
        for (id, row) in self.index.extents_of(&row.data).into_iter().filter_map(|id| self.index.extent_at(id)) {
            let counts = row.verified().count();
            if counts < self.copies {
                self.sim().wrong(|| format!("a write is answered, and {counts} copies of extent {id} count"));
            }
        }
    }

    fn written(&self, event: usize, tag: Tag, needs: Needs, answer: Result<(String, i64), PutError>) {
        match answer {
            Ok((etag, modified)) => {
                if etag != self.log.value(tag).etag {
                    self.sim().wrong(|| format!("a write is answered with the ETag {etag}"));
                }
                let modified = Some(modified);
                self.log.answer(event, Outcome::Must, |_| What::Write { tag, modified, needs });
            }
            Err(PutError::Condition(_)) => self.log.answer(event, Outcome::Must, |_| What::Refused { needs }),
            Err(PutError::Body(_) | PutError::SourceGone) => self.log.answer(event, Outcome::Not, |what| what),
            Err(PutError::Fault(fault)) => {
                self.fault(&fault, "a write");
                let outcome = if is_in_fewer(&fault) { Outcome::Must } else { Outcome::Maybe };
                self.log.answer(event, outcome, |what| what);
            }
            Err(error) => self.sim().wrong(|| format!("a write is answered {error}")),
        }
    }

    pub(super) async fn delete(self, at: usize, needs: Needs) {
        let event = self.log.call(Register::Key(at), What::Delete { needs });
        match self.namespace.delete(&self.bucket, &key(at), self.condition(needs)).await {
            Ok(()) => self.log.answer(event, Outcome::Must, |what| what),
            Err(DeleteError::Condition(ConditionFailed::Precondition(_) | ConditionFailed::NoSuchKey)) => {
                self.log.answer(event, Outcome::Must, |_| What::Refused { needs });
            }
            Err(DeleteError::Fault(fault)) => {
                self.fault(&fault, "a delete");
                self.log.answer(event, Outcome::Maybe, |what| what);
            }
        }
    }

    /// Opens a version and notes what was seen.
    async fn open(&self, at: usize) -> Option<(Opened, Tag)> {
        let (call, session) = (self.sim().tick(), self.namespace.session().id);
        match self.namespace.open_object(&self.bucket, &key(at)).await {
            Ok(opened) => {
                let tag = self.log.known(&opened.object.etag)?;
                self.log.saw(Register::Key(at), call, Some(tag), Some(opened.object.modified));
                Some((opened, tag))
            }
            Err(GetError::NoSuchKey) => {
                self.log.saw(Register::Key(at), call, None, None);
                None
            }
            Err(GetError::Fault(fault)) => {
                self.read_failed(&fault, session);
                None
            }
        }
    }

    pub(super) async fn get(self, at: usize, ranged: bool) {
        let session = self.namespace.session().id;
        let Some((opened, tag)) = self.open(at).await else { return };
        let value = self.log.value(tag);
        let size = opened.object.size;
        if size != value.bytes.len() as u64 {
            self.sim().wrong(|| format!("an object of {} bytes has {size}", value.bytes.len()));
        }
        self.sim().step().await;
        let range: Range<u64> = if ranged { size / 3..size - size / 4 } else { 0..size };
        let mut all = Vec::new();
        let outcome = async {
            let mut stream = opened.read(range.clone()).await?;
            while let Some(piece) = stream.next().await {
                all.extend_from_slice(&piece?);
                self.sim().step().await;
            }
            Ok(())
        };
        match outcome.await {
            Ok(()) if all != value.bytes[range.start as usize..range.end as usize] => {
                self.sim().wrong(|| format!("a GET of key {at} gave other bytes than those of its ETag"));
            }
            Ok(()) => self.sim().note(|| format!("read key {at} whole")),
            Err(fault) => self.bytes_failed(&opened, &fault, session),
        }
    }

    pub(super) async fn head(self, at: usize) {
        let (call, session) = (self.sim().tick(), self.namespace.session().id);
        match self.namespace.head(&self.bucket, &key(at)).await {
            Ok(object) => {
                if let Some(tag) = self.log.known(&object.etag) {
                    self.log.saw(Register::Key(at), call, Some(tag), Some(object.modified));
                }
            }
            Err(GetError::NoSuchKey) => self.log.saw(Register::Key(at), call, None, None),
            Err(GetError::Fault(fault)) => self.read_failed(&fault, session),
        }
    }

    pub(super) async fn list(self) {
        let (call, session) = (self.sim().tick(), self.namespace.session().id);
        match self.namespace.list(&self.bucket, List { limit: 9, ..List::default() }).await {
            Ok(page) => {
                for at in 0..KEYS {
                    let line = page.lines.iter().find_map(|line| match line {
                        Line::Object(summary) if summary.key == key(at).as_str() => Some(summary),
                        _ => None,
                    });
                    let tag = line.and_then(|line| self.log.known(&line.etag));
                    self.log.saw(Register::Key(at), call, tag, line.map(|line| line.modified));
                }
            }
            Err(fault) => self.read_failed(&fault, session),
        }
    }

    pub(super) async fn copy(self, from: usize, to: usize) {
        let Some((source, tag)) = self.open(from).await else { return };
        self.sim().step().await;
        let event = self.log.call(Register::Key(to), What::Write { tag, modified: None, needs: Needs::Nothing });
        let name = key(to);
        let request = CopyObject {
            source: &source,
            bucket: &self.bucket,
            key: &name,
            headers: None,
            tags: None,
            storage_class: None,
            algorithm: None,
            condition: Condition::default(),
        };
        let answer = self.namespace.copy(request).await.map(|done| (done.object.etag, done.object.modified));
        if answer.is_ok() {
            self.is_in_all(to, tag);
        }
        self.written(event, tag, Needs::Nothing, answer);
    }

    pub(super) async fn create_upload(self, at: usize) {
        match self.namespace.create_upload(&self.bucket, &key(at), CreateUpload::default()).await {
            Ok(id) => self.log.created(at, id),
            Err(UploadError::Fault(fault)) => self.fault(&fault, "a new upload"),
            Err(error) => self.sim().wrong(|| format!("a new upload is answered {error}")),
        }
    }

    pub(super) async fn part(self, upload_at: usize, number: u32, bytes: Bytes) {
        let (tag, which) = (self.log.tag(&bytes), self.log.uploads()[upload_at].clone());
        let register = Register::Part(upload_at, number);
        let call = self.sim().tick();
        let event = self.log.call(register, What::Write { tag, modified: None, needs: Needs::Nothing });
        let body = upload(&bytes, false);
        let answer = self.namespace.upload_part(&self.bucket, &key(which.key), which.id, number, body).await;
        self.part_written(upload_at, call, event, tag, answer.map(|done| done.etag));
    }

    fn part_written(&self, upload: usize, call: u64, event: usize, tag: Tag, answer: Result<String, PutError>) {
        if answer == Err(PutError::NoSuchUpload) {
            self.log.answer(event, Outcome::Not, |what| what);
            self.log.gone(upload, call);
        } else {
            self.written(event, tag, Needs::Nothing, answer.map(|etag| (etag, 0)));
        }
    }

    /// A part made of another object's bytes.
    pub(super) async fn part_copy(self, upload_at: usize, number: u32, from: usize) {
        let Some((source, tag)) = self.open(from).await else { return };
        let value = self.log.value(tag);
        let part = self.log.tag(&value.bytes);
        let which = self.log.uploads()[upload_at].clone();
        let session = self.namespace.session().id;
        let (call, register) = (self.sim().tick(), Register::Part(upload_at, number));
        let event = self.log.call(register, What::Write { tag: part, modified: None, needs: Needs::Nothing });
        let range = 0..source.object.size;
        let target = key(which.key);
        let answer = self.namespace.upload_part_copy(&self.bucket, &target, which.id, number, &source, range).await;
        if let Err(PutError::Fault(fault)) = &answer {
            self.sim().note(|| format!("a part's copy on session {session}: {fault}"));
        }
        self.part_written(upload_at, call, event, part, answer.map(|done| done.etag));
    }

    pub(super) async fn complete(self, upload: usize, list: Vec<(u32, Tag)>, needs: Needs) {
        let which = self.log.uploads()[upload].clone();
        let tag = self.log.tag_of_parts(&list.iter().map(|(_, tag)| *tag).collect::<Vec<_>>());
        let named =
            |(number, tag): &(u32, Tag)| NamedPart { number: *number, etag: self.log.value(*tag).etag, checksum: None };
        let name = key(which.key);
        let request = Complete {
            bucket: &self.bucket,
            key: &name,
            id: which.id,
            parts: list.iter().map(named).collect(),
            checksum: None,
            size: None,
            condition: self.condition(needs),
        };
        let ending = self.log.call_ending(upload, Some(Named { list, tag, needs }));
        let said = match self.namespace.complete_upload(request).await {
            Ok(object) => {
                if object.etag != self.log.value(tag).etag {
                    self.sim().wrong(|| format!("a Complete is answered with the ETag {}", object.etag));
                }
                self.is_in_all(which.key, tag);
                Said::Yes(object.modified)
            }
            Err(CompleteError::NoSuchUpload) => Said::NoSuchUpload,
            Err(CompleteError::InvalidPart(number)) => Said::InvalidPart(number),
            Err(CompleteError::Condition(_)) => Said::Refused,
            Err(CompleteError::Fault(fault)) => {
                self.fault(&fault, "a Complete");
                Said::Unknown
            }
            Err(error) => return self.sim().wrong(|| format!("a Complete is answered {error}")),
        };
        self.log.answer_ending(upload, ending, said);
    }

    pub(super) async fn abort(self, upload: usize) {
        let which = self.log.uploads()[upload].clone();
        let ending = self.log.call_ending(upload, None);
        let said = match self.namespace.abort_upload(&self.bucket, &key(which.key), which.id).await {
            Ok(()) => Said::Yes(0),
            Err(UploadError::NoSuchUpload) => Said::NoSuchUpload,
            Err(UploadError::Fault(fault)) => {
                self.fault(&fault, "an Abort");
                Said::Unknown
            }
            Err(error) => return self.sim().wrong(|| format!("an Abort is answered {error}")),
        };
        self.log.answer_ending(upload, ending, said);
    }

    pub(super) async fn list_parts(self, upload: usize) {
        let which = self.log.uploads()[upload].clone();
        let (call, session) = (self.sim().tick(), self.namespace.session().id);
        match self.namespace.list_parts(&self.bucket, &key(which.key), which.id, 0, 99).await {
            // Between the two looks of a list an upload may end, and its parts go.
            Ok(_) if !self.log.uploads()[upload].endings.is_empty() => {}
            Ok((parts, _)) => {
                for number in 1..=PARTS {
                    let part = parts.iter().find(|part| part.number == number);
                    let tag = part.and_then(|part| self.log.known(&part.etag));
                    self.log.saw(Register::Part(upload, number), call, tag, None);
                }
            }
            Err(UploadError::NoSuchUpload) => self.log.gone(upload, call),
            Err(UploadError::NoSuchBucket) => self.sim().wrong(|| "the bucket is gone".to_owned()),
            Err(UploadError::Fault(fault)) => self.read_failed(&fault, session),
        }
    }
}
