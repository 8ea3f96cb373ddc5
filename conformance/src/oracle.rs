//! What must be there: the writes each key has seen, when they began and ended, and whether a reading fits.
//!
//! A reading is right when the write it shows began before the reading ended, and no acknowledged write that began
//! after that one had ended was itself over before the reading began. Writes whose outcome is unknown may show at any
//! time until they are settled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use md5::{Digest as _, Md5};

use crate::payload::Payload;

/// One value of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Unique in the run.
    pub generation: u64,
    /// Its contents.
    pub payload: Payload,
    /// The size of its parts when it is a multipart object.
    pub part_size: Option<u64>,
    /// As the server must answer it, with quotes.
    pub etag: String,
}

/// A moment, in the order things happened in this process.
pub type Moment = u64;

/// A write that was begun.
#[derive(Debug, Clone)]
pub struct Ticket {
    key: String,
    start: Moment,
}

#[derive(Debug, Clone)]
struct Write {
    /// Absent after a delete.
    value: Option<Value>,
    start: Moment,
    /// Absent while it runs, and for ever when its outcome is unknown.
    end: Option<Moment>,
}

/// Everything that was written.
#[derive(Debug, Default)]
pub struct Oracle {
    clock: AtomicU64,
    generations: AtomicU64,
    keys: Mutex<HashMap<String, History>>,
}

#[derive(Debug, Default)]
struct History {
    writes: Vec<Write>,
    /// Last-Modified of each generation as first seen: it never changes.
    modified: HashMap<u64, String>,
}

impl Oracle {
    /// Now; every call is later than the one before.
    pub fn now(&self) -> Moment {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A new value for a key, not written yet.
    pub fn value(&self, key: &str, len: u64, part_size: Option<u64>) -> Value {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let payload = Payload::new(key, generation, len);
        Value { generation, payload, part_size, etag: etag(&payload, part_size) }
    }

    /// A write (of nothing: a delete) begins.
    pub fn begin(&self, key: &str, value: Option<Value>) -> Ticket {
        let start = self.now();
        self.with(key, |history| history.writes.push(Write { value, start, end: None }));
        Ticket { key: key.to_owned(), start }
    }

    /// It was acknowledged.
    pub fn done(&self, ticket: &Ticket) {
        let end = self.now();
        self.with(&ticket.key, |history| {
            for write in &mut history.writes {
                if write.start == ticket.start {
                    // A reading may have shown it before its answer came.
                    write.end = Some(write.end.map_or(end, |seen| seen.min(end)));
                }
            }
        });
    }

    /// It surely did not happen.
    pub fn refused(&self, ticket: &Ticket) {
        self.with(&ticket.key, |history| history.writes.retain(|write| write.start != ticket.start));
    }

    /// The value of that generation, if it was ever begun.
    pub fn find(&self, key: &str, generation: u64) -> Option<Value> {
        self.with(key, |history| {
            history.writes.iter().filter_map(|write| write.value.as_ref()).find(|v| v.generation == generation).cloned()
        })
    }

    /// Whether a listing may show a value by its `ETag` and size, which several generations may share.
    pub fn judge_listed(&self, key: &str, from: Moment, to: Moment, etag: &str, len: u64) -> Result<(), String> {
        self.with(key, |history| {
            let values = history.writes.iter().filter_map(|write| write.value.as_ref());
            let alike = values.filter(|value| value.etag == etag && value.payload.len == len);
            let alike: Vec<u64> = alike.map(|value| value.generation).collect();
            let mut verdict = Err(format!("shows {etag} of {len} bytes, which was never written"));
            for generation in alike {
                verdict = history.judge(from, to, Some(generation));
                if verdict.is_ok() {
                    break;
                }
            }
            verdict
        })
    }

    /// Whether a reading from `from` to `to` may show that generation, or nothing.
    pub fn judge(&self, key: &str, from: Moment, to: Moment, seen: Option<u64>) -> Result<(), String> {
        self.with(key, |history| history.judge(from, to, seen))
    }

    /// Last-Modified of a generation must be the same whenever it is seen.
    pub fn judge_modified(&self, key: &str, generation: u64, modified: &str) -> Result<(), String> {
        self.with(key, |history| {
            let first = history.modified.entry(generation).or_insert_with(|| modified.to_owned());
            if first == modified {
                return Ok(());
            }
            Err(format!("Last-Modified of generation {generation} was {first} and is {modified}"))
        })
    }

    /// Keys that have writes of unknown outcome.
    pub fn unsettled(&self) -> Vec<String> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<String> = keys
            .iter()
            .filter(|(_, history)| history.writes.iter().any(|write| write.end.is_none()))
            .map(|(key, _)| key.clone())
            .collect();
        found.sort();
        found
    }

    /// What was read, while nothing else ran and nothing old could land any more, is the truth from now on.
    pub fn settle(&self, key: &str, seen: Option<u64>) {
        let now = self.now();
        self.with(key, |history| {
            let value = seen.and_then(|generation| {
                history.writes.iter().filter_map(|write| write.value.clone()).find(|v| v.generation == generation)
            });
            history.writes = vec![Write { value, start: now, end: Some(now) }];
        });
    }

    /// Every key that was ever written.
    pub fn keys(&self) -> Vec<String> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<String> = keys.keys().cloned().collect();
        found.sort();
        found
    }

    /// How many writes a key has seen.
    pub fn writes(&self, key: &str) -> usize {
        self.with(key, |history| history.writes.len())
    }

    fn with<T>(&self, key: &str, act: impl FnOnce(&mut History) -> T) -> T {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains_key(key) {
            keys.insert(key.to_owned(), History::default());
        }
        act(keys.get_mut(key).expect("just there"))
    }
}

impl History {
    fn judge(&mut self, from: Moment, to: Moment, seen: Option<u64>) -> Result<(), String> {
        let generation = |write: &Write| write.value.as_ref().map(|value| value.generation);
        let fits = |start: Moment, end: Option<Moment>| {
            let newer = |other: &&Write| {
                end.is_some_and(|end| other.start > end) && other.end.is_some_and(|other_end| other_end < from)
            };
            start < to && !self.writes.iter().any(|other| newer(&other))
        };
        // Before its first write a key is absent.
        let at_first = seen.is_none() && fits(0, Some(0));
        if at_first || self.writes.iter().any(|write| generation(write) == seen && fits(write.start, write.end)) {
            self.shown(to, seen);
            return Ok(());
        }
        let known: Vec<String> = self
            .writes
            .iter()
            .rev()
            .take(6)
            .map(|write| format!("{:?} from {} to {:?}", generation(write), write.start, write.end))
            .collect();
        Err(format!("shows {seen:?} between {from} and {to}; writes, newest first: {}", known.join(", ")))
    }
}

impl History {
    /// What a reading has shown is as good as acknowledged: it must not vanish.
    fn shown(&mut self, to: Moment, seen: Option<u64>) {
        for write in &mut self.writes {
            if seen.is_some() && write.value.as_ref().map(|value| value.generation) == seen {
                write.end = Some(write.end.map_or(to, |end| end.min(to)));
            }
        }
    }
}

/// The `ETag` that S3 gives these contents.
fn etag(payload: &Payload, part_size: Option<u64>) -> String {
    let Some(part_size) = part_size else {
        return format!("\"{}\"", const_hex::encode(payload.md5()));
    };
    let count = payload.len.div_ceil(part_size).max(1);
    let mut all = Md5::new();
    for part in 0..count {
        all.update(payload.md5_of(part * part_size, part_size));
    }
    format!("\"{}-{count}\"", const_hex::encode(all.finalize()))
}

#[cfg(test)]
mod tests {
    use super::Oracle;

    #[test]
    fn a_stale_reading_and_a_resurrected_delete_are_seen() {
        let oracle = Oracle::default();
        let write = |len| {
            let value = oracle.value("k", len, None);
            let generation = value.generation;
            oracle.done(&oracle.begin("k", Some(value)));
            generation
        };
        let first = write(1);
        let second = write(2);
        let from = oracle.now();
        let to = oracle.now();
        assert!(oracle.judge("k", from, to, Some(second)).is_ok());
        assert!(oracle.judge("k", from, to, Some(first)).is_err());
        assert!(oracle.judge("k", from, to, None).is_err());
        oracle.done(&oracle.begin("k", None));
        let from = oracle.now();
        assert!(oracle.judge("k", from, oracle.now(), None).is_ok());
        assert!(oracle.judge("k", from, oracle.now(), Some(second)).is_err());
    }

    #[test]
    fn racing_and_unknown_writes_may_show_or_not() {
        let oracle = Oracle::default();
        let old = oracle.value("k", 1, None);
        oracle.done(&oracle.begin("k", Some(old.clone())));
        let new = oracle.value("k", 2, None);
        let _unknown = oracle.begin("k", Some(new.clone()));
        assert!(oracle.judge("k", oracle.now(), oracle.now(), Some(old.generation)).is_ok());
        assert_eq!(oracle.unsettled(), ["k"]);
        assert!(oracle.judge("k", oracle.now(), oracle.now(), Some(new.generation)).is_ok());
        assert!(oracle.unsettled().is_empty());
        oracle.settle("k", Some(old.generation));
        assert!(oracle.judge("k", oracle.now(), oracle.now(), Some(new.generation)).is_err());
    }

    /// A reading showed a write whose answer was lost; then the power went, and the old value was back. Once shown, a
    /// value is committed, or the reading was a dream.
    #[test]
    fn a_value_that_was_shown_must_not_vanish() {
        let oracle = Oracle::default();
        let old = oracle.value("k", 1, None);
        oracle.done(&oracle.begin("k", Some(old.clone())));
        let new = oracle.value("k", 2, None);
        let _unknown = oracle.begin("k", Some(new.clone()));
        assert!(oracle.judge("k", oracle.now(), oracle.now(), Some(new.generation)).is_ok());
        assert!(oracle.judge("k", oracle.now(), oracle.now(), Some(old.generation)).is_err());
    }

    #[test]
    fn part_etags_are_as_s3_makes_them() {
        let oracle = Oracle::default();
        let value = oracle.value("k", 25, Some(10));
        assert!(value.etag.ends_with("-3\""), "{}", value.etag);
    }
}
