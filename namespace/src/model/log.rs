//! What clients asked and were answered, put into the words of the reference model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use md5::{Digest as _, Md5};

use super::history::{Event, Needs, Outcome, Register, Tag, What};
use super::sim::Sim;
use crate::multipart::UploadId;

/// Shared by the clients of a case.
pub(super) struct Log {
    pub(super) sim: Arc<Sim>,
    /// Held for a few instructions.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tags: HashMap<String, Tag>,
    values: Vec<Value>,
    events: Vec<Event>,
    uploads: Vec<Upload>,
}

/// What an ETag stands for.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) etag: String,
    pub(super) bytes: Bytes,
}

/// An upload whose creation was acknowledged.
#[derive(Clone)]
pub(super) struct Upload {
    pub(super) key: usize,
    pub(super) id: UploadId,
    pub(super) endings: Vec<Ending>,
    /// Requests that were answered NoSuchUpload: call and answer.
    pub(super) gone: Vec<(u64, u64)>,
}

/// A Complete (with what it named) or an Abort.
#[derive(Clone)]
pub(super) struct Ending {
    pub(super) completes: Option<Named>,
    pub(super) call: u64,
    pub(super) answer: u64,
    pub(super) said: Said,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) list: Vec<(u32, Tag)>,
    pub(super) tag: Tag,
    pub(super) needs: Needs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Not answered, or 503.
    Unknown,
    /// 200 with this Last-Modified, or 204.
    Yes(i64),
    NoSuchUpload,
    InvalidPart(u32),
    Refused,
}

impl Ending {
    /// Whether it may have ended the upload.
    fn may_have(&self) -> bool {
        matches!(self.said, Said::Unknown | Said::Yes(_))
    }
}

impl Log {
    pub(super) fn new(sim: &Arc<Sim>) -> Arc<Self> {
        Arc::new(Self { sim: Arc::clone(sim), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tag of bytes that are about to be written.
    pub(super) fn tag(&self, bytes: &Bytes) -> Tag {
        let md5: [u8; 16] = Md5::digest(bytes).into();
        self.intern(const_hex::encode(md5), bytes.clone())
    }

    /// The tag of an object made of parts.
    pub(super) fn tag_of_parts(&self, parts: &[Tag]) -> Tag {
        let (mut md5, mut whole) = (Md5::new(), Vec::new());
        for part in parts {
            let part = self.value(*part);
            md5.update(const_hex::decode(&part.etag).expect("a part's ETag is an MD5"));
            whole.extend_from_slice(&part.bytes);
        }
        let md5: [u8; 16] = md5.finalize().into();
        self.intern(format!("{}-{}", const_hex::encode(md5), parts.len()), whole.into())
    }

    fn intern(&self, etag: String, bytes: Bytes) -> Tag {
        let mut state = self.state();
        if let Some(tag) = state.tags.get(&etag) {
            return *tag;
        }
        let tag = state.values.len() as Tag;
        state.tags.insert(etag.clone(), tag);
        state.values.push(Value { etag, bytes });
        tag
    }

    pub(super) fn value(&self, tag: Tag) -> Value {
        self.state().values[tag as usize].clone()
    }

    /// The tag of what the house shows.
    pub(super) fn known(&self, etag: &str) -> Option<Tag> {
        let tag = self.state().tags.get(etag).copied();
        if tag.is_none() {
            self.sim.wrong(|| format!("an ETag is shown that nobody wrote: {etag}"));
        }
        tag
    }

    /// A write or deletion begins.
    pub(super) fn call(&self, register: Register, what: What) -> usize {
        let call = self.sim.tick();
        self.sim.note(|| format!("calls {register:?} {what:?}"));
        let event = Event { register, what, call, answer: u64::MAX, outcome: Outcome::Maybe, group: None };
        let mut state = self.state();
        state.events.push(event);
        state.events.len() - 1
    }

    /// It is answered.
    pub(super) fn answer(&self, at: usize, outcome: Outcome, what: impl FnOnce(What) -> What) {
        let answer = self.sim.tick();
        let mut state = self.state();
        let event = &mut state.events[at];
        event.answer = answer;
        event.outcome = outcome;
        event.what = what(event.what);
        let (register, what) = (event.register, event.what);
        drop(state);
        self.sim.note(|| format!("answered {register:?} {what:?}: {outcome:?}"));
    }

    /// Something was seen between `call` and now.
    pub(super) fn saw(&self, register: Register, call: u64, tag: Option<Tag>, modified: Option<i64>) {
        let answer = self.sim.tick();
        self.sim.note(|| format!("sees {register:?} {tag:?} {modified:?}"));
        let what = What::Read { tag, modified };
        self.state().events.push(Event { register, what, call, answer, outcome: Outcome::Must, group: None });
    }

    pub(super) fn created(&self, key: usize, id: UploadId) {
        self.state().uploads.push(Upload { key, id, endings: Vec::new(), gone: Vec::new() });
    }

    pub(super) fn uploads(&self) -> Vec<Upload> {
        self.state().uploads.clone()
    }

    pub(super) fn gone(&self, upload: usize, call: u64) {
        let answer = self.sim.tick();
        self.state().uploads[upload].gone.push((call, answer));
    }

    pub(super) fn call_ending(&self, upload: usize, completes: Option<Named>) -> usize {
        let call = self.sim.tick();
        self.sim
            .note(|| format!("calls the end of upload {upload}: {:?}", completes.as_ref().map(|named| &named.list)));
        let mut state = self.state();
        let endings = &mut state.uploads[upload].endings;
        endings.push(Ending { completes, call, answer: u64::MAX, said: Said::Unknown });
        endings.len() - 1
    }

    pub(super) fn answer_ending(&self, upload: usize, at: usize, said: Said) {
        let answer = self.sim.tick();
        self.sim.note(|| format!("answered the end of upload {upload}: {said:?}"));
        let ending = &mut self.state().uploads[upload].endings[at];
        ending.answer = answer;
        ending.said = said;
    }

    /// Parts that were acknowledged, by number.
    pub(super) fn parts(&self, upload: usize) -> Vec<(u32, Tag)> {
        let state = self.state();
        let acked = state.events.iter().filter(|event| event.outcome == Outcome::Must);
        let part = |event: &Event| match (event.register, event.what) {
            (Register::Part(of, number), What::Write { tag, .. }) if of == upload => Some((number, tag)),
            _ => None,
        };
        acked.filter_map(part).collect()
    }

    /// Tags that were written to a key.
    pub(super) fn written(&self, key: usize) -> Vec<Tag> {
        let state = self.state();
        let tag = |event: &Event| match (event.register, event.what) {
            (Register::Key(of), What::Write { tag, .. }) if of == key => Some(tag),
            _ => None,
        };
        state.events.iter().filter_map(tag).collect()
    }

    /// Whether something was written to a key by one request alone, as far as that is not the end of an upload.
    pub(super) fn is_once(&self, key: usize, tag: Tag) -> bool {
        self.written(key).iter().filter(|written| **written == tag).count() < 2
    }

    /// All events, those of the uploads' ends among them.
    pub(super) fn events(&self) -> Vec<Event> {
        let (mut events, uploads) = {
            let state = self.state();
            (state.events.clone(), state.uploads.clone())
        };
        for (at, upload) in uploads.iter().enumerate() {
            self.judge(at, upload, &events);
            let ends = ends(at, upload);
            events.extend(ends);
        }
        events
    }

    /// What the answers about an upload say of each other.
    fn judge(&self, at: usize, upload: &Upload, events: &[Event]) {
        let wrong = |what: &str| self.sim.wrong(|| format!("upload {at}: {what}"));
        let done: Vec<&Ending> = upload.endings.iter().filter(|end| matches!(end.said, Said::Yes(_))).collect();
        if done.windows(2).any(|two| list(two[0]) != list(two[1])) {
            wrong("it ended in two ways");
        }
        if done.windows(2).any(|two| two[0].completes.is_some() && two[0].said != two[1].said) {
            wrong("a repeated Complete is answered otherwise");
        }
        for end in &upload.endings {
            let others = upload.endings.iter().filter(|other| other.may_have() && other.call < end.answer);
            let other_way = others.clone().any(|other| list(other) != list(end));
            match (&end.completes, end.said) {
                (Some(_), Said::NoSuchUpload) if !other_way => wrong("NoSuchUpload to a Complete of an open upload"),
                (Some(_), Said::NoSuchUpload) if done.iter().any(|other| list(other) == list(end)) => {
                    wrong("NoSuchUpload to a Complete that won");
                }
                (Some(_), Said::Refused)
                    if done.iter().any(|other| list(other) == list(end) && other.answer < end.call) =>
                {
                    wrong("412 to a Complete that was applied");
                }
                (Some(named), Said::InvalidPart(number)) if always_matched(at, named, number, end, events) => {
                    wrong("InvalidPart though the list matched all the time");
                }
                (None, Said::NoSuchUpload) if others.count() == 0 => {
                    wrong("NoSuchUpload to an Abort of an open upload");
                }
                _ => {}
            }
        }
        for (_, answer) in &upload.gone {
            if !upload.endings.iter().any(|end| end.may_have() && end.call < *answer) {
                wrong("NoSuchUpload though it is open");
            }
        }
        let ended = done.iter().map(|end| end.answer).min().unwrap_or(u64::MAX);
        let mine = |event: &&Event| matches!(event.register, Register::Part(of, _) if of == at);
        let writes = events.iter().filter(mine).filter(|event| matches!(event.what, What::Write { .. }));
        if writes.filter(|event| event.outcome == Outcome::Must).any(|event| event.call > ended) {
            wrong("a part is acknowledged after its upload ended");
        }
    }
}

fn list(end: &Ending) -> Option<&[(u32, Tag)]> {
    end.completes.as_ref().map(|named| &named.list[..])
}

/// A part was as named, and nothing else was written to its number until the answer.
fn always_matched(upload: usize, named: &Named, number: u32, end: &Ending, events: &[Event]) -> bool {
    let Some((_, tag)) = named.list.iter().find(|(named, _)| *named == number) else { return false };
    let register = Register::Part(upload, number);
    let written = |event: &&Event| {
        event.register == register && matches!(event.what, What::Write { .. }) && event.outcome != Outcome::Not
    };
    let named_part = |event: &&Event| {
        let same = matches!(event.what, What::Write { tag: written, .. } if written == *tag);
        same && event.outcome == Outcome::Must && event.answer < end.call
    };
    let Some(part) = events.iter().filter(written).filter(named_part).max_by_key(|event| event.call) else {
        return false;
    };
    let other = |event: &&Event| event.call != part.call && event.answer > part.call && event.call < end.answer;
    !events.iter().filter(written).any(|event| other(&event))
}

/// The events that an upload's ends make: at most one of them makes the object.
fn ends(at: usize, upload: &Upload) -> Vec<Event> {
    let (register, mut events) = (Register::Key(upload.key), Vec::new());
    let event = |what, call, answer, outcome| Event { register, what, call, answer, outcome, group: Some(at) };
    let completes: Vec<(&Named, &Ending)> =
        upload.endings.iter().filter_map(|end| Some((end.completes.as_ref()?, end))).collect();
    for (named, end) in &completes {
        if end.said == Said::Refused {
            let what = What::Refused { needs: named.needs };
            events.push(Event { group: None, ..event(what, end.call, end.answer, Outcome::Must) });
        }
    }
    let aborted = upload.endings.iter().any(|end| end.completes.is_none() && matches!(end.said, Said::Yes(_)));
    if aborted {
        return events;
    }
    let won = completes.iter().find_map(|(named, end)| match end.said {
        Said::Yes(modified) => Some((*named, modified)),
        _ => None,
    });
    let Some((named, modified)) = won else {
        let maybe = completes.iter().filter(|(_, end)| end.said == Said::Unknown);
        events.extend(maybe.map(|(named, end)| {
            let what = What::Write { tag: named.tag, modified: None, needs: named.needs };
            event(what, end.call, end.answer, Outcome::Maybe)
        }));
        return events;
    };
    let same = || completes.iter().filter(|(other, end)| other.list == named.list && end.may_have());
    let call = same().map(|(_, end)| end.call).min().unwrap_or(0);
    let answers = same().filter(|(_, end)| matches!(end.said, Said::Yes(_))).map(|(_, end)| end.answer);
    let answer = answers.min().unwrap_or(u64::MAX);
    let needs = if same().all(|(other, _)| other.needs == named.needs) { named.needs } else { Needs::Nothing };
    let what = What::Write { tag: named.tag, modified: Some(modified), needs };
    events.push(event(what, call, answer, Outcome::Must));
    for (number, tag) in &named.list {
        let what = What::Read { tag: Some(*tag), modified: None };
        let register = Register::Part(at, *number);
        events.push(Event { register, what, call, answer, outcome: Outcome::Must, group: None });
    }
    events
}
