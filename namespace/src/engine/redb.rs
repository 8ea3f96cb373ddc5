//! The index in one redb file: one process, one writer thread, one fsync for all commits that wait together.
//!
//! An acknowledged commit survives kill -9 and power loss. Decisions of one priority run in the order their commits arrived,
//! each seeing what those before it wrote; those that arrived while the disk was busy share the next transaction. A
//! commit whose caller went away is still carried out. What nobody waits for ([`Priority::Background`]) is let in a little
//! at a time.
//!
//! **Failing disks.** Transactions are two-phase: everything a commit wrote is on disk before the header names it.
//! When a commit fails, the file is closed, opened again and read, which settles whether the commit happened; it is
//! reported as done, failed or full accordingly, and only when the file cannot be opened again as unknown. Until it
//! can, every read and commit answers `Failed`, and each commit tries to open it first.
//!
//! **The log** is a table of its own in the same file, written in the transaction it is about.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use self::store::{Opener, Store, Work};
use super::log::{Entry, Snapshot};
use super::overlay::Decided;
use super::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read};
use crate::clock::Clock;
use crate::limits::{INDEX_ALONE, INDEX_BATCH, INDEX_BATCH_BEHIND, INDEX_QUEUE};

mod fresh;
mod log;
mod store;
#[cfg(test)]
mod tests;

/// Why an index file did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenIndexError {
    /// One file, one process.
    #[error("another process has the index `{}` open", .0.display())]
    InUse(PathBuf),
    /// Not redb, or not a file of ours.
    #[error("`{}` is not an index of Holdall", .0.display())]
    Foreign(PathBuf),
    /// It is ours, and broken.
    #[error("the index `{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file system said no.
    #[error("the index `{}` cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        source: io::Error,
    },
}

/// An index in a redb file. Dropping it waits until the commits under way are answered and the file is closed.
pub struct Redb {
    store: Arc<Store>,
    /// Where commits queue; `None` only while dropping.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<thread::JoinHandle<()>>,
}

/// A commit that waits for the writer.
struct Job {
    priority: Priority,
    work: Work,
    answer: oneshot::Sender<Decided>,
}

impl Redb {
    /// Opens the index, made with mode 0600 when it is absent. After a crash it is repaired first. `clock` says when
    /// entries of the log were made.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenIndexError> {
        fresh::make(path, &clock)?;
        Self::start(path, store::exclusive(path), clock, false)
    }

    /// Opens the index so that other processes that open it this way share it; for tests with several gateways.
    #[cfg(any(test, feature = "faults"))]
    pub fn open_shared(path: &Path, clock: Arc<dyn Clock>) -> Result<Self, OpenIndexError> {
        fresh::make(path, &clock)?;
        Self::start(path, store::shared(path), clock, true)
    }

    fn start(path: &Path, opener: Opener, clock: Arc<dyn Clock>, shared: bool) -> Result<Self, OpenIndexError> {
        let store = Arc::new(Store::open(path, opener, clock, shared)?);
        let (queue, jobs) = mpsc::channel(INDEX_QUEUE);
        let writing = Arc::clone(&store);
        let writer = thread::Builder::new().name("index-writer".to_owned()).spawn(move || write(&writing, jobs));
        let writer = writer.map_err(|source| OpenIndexError::Io { path: path.to_owned(), source })?;
        Ok(Self { store, queue: Some(queue), writer: Some(writer) })
    }
}

impl fmt::Debug for Redb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redb").finish_non_exhaustive()
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            // It catches what panics in it; there is nothing to pass on.
            let _ = writer.join();
        }
        self.store.close();
    }
}

#[async_trait]
impl Engine for Redb {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.store.get(keys)
    }

    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.store.range(&range, rows, bytes)
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        self.store.fold(&fold)
    }

    async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
        let queue = self.queue.as_ref().expect("the queue is there until drop");
        let (answer, answered) = oneshot::channel();
        if queue.send(Job { priority, work: Work { reads, decide }, answer }).await.is_err() {
            return Err(EngineError::Failed("the index is closed".to_owned()));
        }
        answered.await.unwrap_or_else(|_| Err(EngineError::Unknown("the index's writer broke off".to_owned())))
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.store.log(after, bytes)
    }

    fn forget_log(&self, through: u64) {
        self.store.forget_log(through);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        Ok(self.store.snapshot()?)
    }

    fn room(&self) -> Option<u64> {
        self.store.room()
    }

    fn size(&self) -> Option<u64> {
        self.store.size()
    }
}

/// The writer thread: ends when the queue is closed and empty.
fn write(store: &Store, mut jobs: mpsc::Receiver<Job>) {
    let mut waiting = Waiting::default();
    loop {
        if waiting.is_empty() {
            let Some(job) = jobs.blocking_recv() else { return };
            waiting.push(job);
        }
        while waiting.foreground.len() < INDEX_BATCH
            && let Ok(job) = jobs.try_recv()
        {
            waiting.push(job);
        }
        if catch_unwind(AssertUnwindSafe(|| batch(store, &mut waiting))).is_err() {
            // Dropped answers are unknown ones: a commit that may have happened is never run again.
            waiting = Waiting::default();
            store.suspect();
        }
    }
}

/// What waits, the oldest first.
#[derive(Default)]
struct Waiting {
    foreground: VecDeque<Job>,
    background: VecDeque<Job>,
    /// Transactions in a row that clients had for themselves.
    alone: usize,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.foreground.is_empty() && self.background.is_empty()
    }

    fn of(&mut self, priority: Priority) -> &mut VecDeque<Job> {
        match priority {
            Priority::Foreground => &mut self.foreground,
            Priority::Background => &mut self.background,
        }
    }

    fn push(&mut self, job: Job) {
        self.of(job.priority).push_back(job);
    }

    /// What the next transaction begins with: beside clients, now and then, one commit that nobody waits for, and that one
    /// first, so that it has its turn however many clients there are.
    fn take(&mut self) -> VecDeque<Job> {
        let beside = usize::from(self.alone >= INDEX_ALONE);
        let most = if self.foreground.is_empty() { INDEX_BATCH_BEHIND } else { beside };
        self.alone = if most > 0 { 0 } else { self.alone + 1 };
        let mut taken: VecDeque<Job> = self.background.drain(..self.background.len().min(most)).collect();
        taken.append(&mut self.foreground);
        taken
    }

    /// What the transaction had no room for comes first next time.
    fn put_back(&mut self, rest: VecDeque<Job>) {
        for job in rest.into_iter().rev() {
            self.of(job.priority).push_front(job);
        }
    }
}

/// Takes as many jobs as one transaction carries, and answers them.
fn batch(store: &Store, waiting: &mut Waiting) {
    let mut taken = waiting.take();
    let decided = store.transact(taken.iter_mut().map(|job| &mut job.work));
    for (job, decided) in taken.drain(..decided.len()).zip(decided) {
        // A caller that went away does not want its answer.
        let _ = job.answer.send(decided);
    }
    waiting.put_back(taken);
}
