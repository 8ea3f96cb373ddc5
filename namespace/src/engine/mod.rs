//! The engine seam: an ordered map from bytes to bytes with one kind of commit.
//!
//! Nothing above this line may assume one process, and nothing below it knows what a row means.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use self::log::{Entry, Snapshot};

mod fold;
mod overlay;

pub mod log;
pub mod memory;
pub mod redb;

pub mod contract;
#[cfg(any(test, feature = "faults"))]
pub mod faults;

/// A row's name: the table's byte, then the table's own key.
pub type Key = Vec<u8>;

/// One write of a commit; plain data that a log can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The row is now this.
    Put(Key, Vec<u8>),
    /// The row is gone.
    Delete(Key),
    /// A counter (little-endian i64, absent is 0) moves by this much. Adds never conflict and need no read.
    Add(Key, i64),
}

/// What a commit depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// This row, present or absent.
    Row(Key),
    /// No row in this range; legal only beside a write to the guard row that every inserter into the range reads.
    Empty(Range<Key>),
}

/// The rows a decision may look at: exactly those its reads named.
#[derive(Debug, Default)]
pub struct Rows {
    /// Every `Read::Row`, by key; `None` is absent.
    pub rows: BTreeMap<Key, Option<Bytes>>,
    /// For each `Read::Empty` in order: whether the range is empty.
    pub empty: Vec<bool>,
}

impl Rows {
    /// A row that the reads named. Asking for another one is a fault of ours, not of the data.
    pub fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.rows.get(key).expect("a decision looks only at rows it read").as_ref()
    }
}

/// Why a commit did not answer with success.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The commit may or may not be durable, now or later. Raise the session's epoch, then read.
    #[error("the outcome of a commit is unknown: {0}")]
    Unknown(String),
    /// Nothing happened.
    #[error("the index does not answer: {0}")]
    Failed(String),
    /// Nothing happened: the index's disk has no room.
    #[error("the index's disk is full")]
    Full,
}

/// A decision, run by the engine while it holds the rows: may run more than once, sees only its reads, does nothing.
/// `None` refuses: nothing is written, and the commit answers `Ok(false)`.
pub type Decide = Box<dyn FnMut(&Rows) -> Option<Vec<Write>> + Send>;

/// A page of a range: rows in key order.
pub type Page = Vec<(Bytes, Bytes)>;

/// One line of a fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folded {
    /// A row whose key has no delimiter after the fold's start.
    Row(Bytes, Bytes),
    /// All rows whose keys start with this (delimiter included), skipped in one seek.
    Prefix(Bytes),
}

/// Folds a range by a delimiter, as S3's common prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fold {
    /// Rows from here, inclusive, to there, exclusive.
    pub range: Range<Key>,
    /// How many leading key bytes the delimiter is not looked for in (the listing's own prefix).
    pub skip: usize,
    /// The delimiter, as it is written in keys; empty folds nothing.
    pub delimiter: Vec<u8>,
    /// At most this many lines.
    pub limit: usize,
}

/// Who waits for a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// A client.
    Foreground,
    /// Nobody, and it is of many rows: a sweep, small extents that move together. While clients wait an engine may take
    /// little of it at a time, and never nothing.
    Background,
}

impl Priority {
    /// Of so many rows that nobody waits for: a few hold nobody up.
    pub fn of(rows: usize) -> Self {
        if rows > 1 { Self::Background } else { Self::Foreground }
    }
}

/// An ordered map. Object-safe; [`commit`] is the typed door.
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Rows by key, in the order asked, as one snapshot.
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError>;

    /// At most `rows` rows and about `bytes` bytes of a range (at least one row if there is one), in key order.
    /// A page, not a snapshot: go on after the last key.
    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError>;

    /// At most `limit` lines of a fold, in key order. Costs a seek for each line, not a step for each row.
    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError>;

    /// Decides and writes as one: all the writes or none, durable before the answer, in one order with every other
    /// commit. `Ok(true)` is durable, `Ok(false)` refused. Commits that have nothing to do with each other never
    /// share a fate.
    async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError>;

    /// The log after an entry, oldest first: about `bytes` bytes of entries, at least one if there is one. What every
    /// commit wrote is in one entry, durable with the commit itself.
    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError>;

    /// Lets the log go up to an entry and with it, with the commits to come: whoever needs no log names the last number
    /// there is. The newest entry stays, so that no number is taken twice.
    fn forget_log(&self, through: u64);

    /// All rows as they are now.
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError>;

    /// Bytes the index may still grow by, where the engine can tell.
    fn room(&self) -> Option<u64> {
        None
    }

    /// Bytes the index takes where it is stored, where the engine can tell.
    fn size(&self) -> Option<u64> {
        None
    }
}

/// A commit that was not acknowledged.
#[derive(Debug)]
pub enum NotCommitted<R> {
    /// The decision said no, for this reason; nothing was written.
    Refused(R),
    /// The engine could not.
    Engine(EngineError),
}

/// Commits for a client, with a typed answer: `decide` returns the writes and what to answer, or the reason to refuse.
pub async fn commit<T, R>(
    engine: &dyn Engine,
    reads: Vec<Read>,
    decide: impl Fn(&Rows) -> Result<(Vec<Write>, T), R> + Send + 'static,
) -> Result<T, NotCommitted<R>>
where
    T: Send + 'static,
    R: Send + 'static,
{
    commit_as(engine, Priority::Foreground, reads, decide).await
}

/// The same, for somebody or nobody who waits.
pub async fn commit_as<T, R>(
    engine: &dyn Engine,
    priority: Priority,
    reads: Vec<Read>,
    decide: impl Fn(&Rows) -> Result<(Vec<Write>, T), R> + Send + 'static,
) -> Result<T, NotCommitted<R>>
where
    T: Send + 'static,
    R: Send + 'static,
{
    let slot: Arc<Mutex<Option<Result<T, R>>>> = Arc::default();
    let answer = Arc::clone(&slot);
    let boxed: Decide = Box::new(move |rows| {
        let (writes, answer) = match decide(rows) {
            Ok((writes, value)) => (Some(writes), Ok(value)),
            Err(refusal) => (None, Err(refusal)),
        };
        *slot.lock().expect("no decision panics") = Some(answer);
        writes
    });
    engine.commit(priority, reads, boxed).await.map_err(NotCommitted::Engine)?;
    let decided = answer.lock().expect("no decision panics").take();
    decided.expect("an answered commit was decided").map_err(NotCommitted::Refused)
}
