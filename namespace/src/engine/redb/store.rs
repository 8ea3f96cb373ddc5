//! The redb file: reads, one transaction at a time, and what to do when the disk fails.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Builder, CommitError, ConcurrencyMode, Database, DatabaseError, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, StorageError, Table, TableDefinition, TableError, TableHandle, TransactionError, WriteTransaction,
};

use super::OpenIndexError;
use super::log::{self, Log};
use crate::clock::Clock;
use crate::engine::overlay::{Base, Decided, Overlay};
use crate::engine::{Decide, EngineError, Fold, Folded, Key, Page, Read, fold};
use crate::limits::{INDEX_BATCH_BYTES, INDEX_CACHE};
use crate::staged::flush_name;

/// The one table: our keys begin with a byte of their own table.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// Opens the file, the first time or again after a failed commit.
pub(super) type Opener = Box<dyn Fn(Opening) -> Result<Database, DatabaseError> + Send + Sync>;

/// Which time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// An absent file is made.
    First,
    /// An absent file is a failure: somebody took it away.
    Again,
}

/// A commit's work.
pub(super) struct Work {
    /// What the decision may look at.
    pub(super) reads: Vec<Read>,
    /// The decision.
    pub(super) decide: Decide,
}

/// An open index file.
pub(super) struct Store {
    /// The open file. The writer thread alone replaces it, and holds the lock only to do so; readers hold it for one
    /// call, never across an await.
    open: RwLock<Result<Open, EngineError>>,
    opener: Opener,
    path: PathBuf,
    shared: bool,
    pub(super) log: Log,
}

/// A file and its newest snapshot.
pub(super) struct Open {
    /// The rows as the last commit left them; only whoever commits stores here, before it answers, so that what was
    /// acknowledged is read. Beginning a read and finding the table anew cost as much as the read. `None`: begin one.
    latest: ArcSwapOption<Reading>,
    pub(super) database: Database,
}

/// A failure inside redb, whichever of its error types it came as.
#[derive(Debug)]
pub(super) struct Broken {
    reason: String,
    full: bool,
}

/// Opens `path` for this process alone.
pub(super) fn exclusive(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |opening| open_with(file(&path, opening)?, ConcurrencyMode::ExclusiveWriter))
}

/// Opens `path` beside other processes that do the same.
#[cfg(any(test, feature = "faults"))]
pub(super) fn shared(path: &Path) -> Opener {
    let path = path.to_owned();
    Box::new(move |opening| open_with(file(&path, opening)?, ConcurrencyMode::MultiWriter))
}

pub(super) fn file(path: &Path, opening: Opening) -> Result<FileBackend, DatabaseError> {
    let make = opening == Opening::First;
    let file = OpenOptions::new().read(true).write(true).create(make).truncate(false).mode(0o600).open(path)?;
    FileBackend::new(file)
}

pub(super) fn open_with(backend: impl StorageBackend, mode: ConcurrencyMode) -> Result<Database, DatabaseError> {
    Builder::new().set_cache_size(INDEX_CACHE).set_concurrency_mode(mode).create_with_backend(backend)
}

impl Store {
    pub(super) fn open(
        path: &Path,
        opener: Opener,
        clock: Arc<dyn Clock>,
        shared: bool,
    ) -> Result<Self, OpenIndexError> {
        let opened = unless_damaged(|| {
            let database = opener(Opening::First).map_err(|error| refusal(path, error))?;
            let open = Open { latest: ArcSwapOption::empty(), database };
            let (open, log) = (RwLock::new(Ok(open)), Log::new(clock));
            let store = Self { open, opener, path: path.to_owned(), shared, log };
            store.make_tables(path)?;
            store.publish();
            Ok(store)
        });
        let store = opened.unwrap_or_else(|broken| Err(broken.damaged(path)))?;
        // A new file's name must be as durable as the first commit in it.
        flush_name(path).map_err(|source| OpenIndexError::Io { path: path.to_owned(), source })?;
        Ok(store)
    }

    /// Makes our tables in an empty file, and the log's in one of before there was one; refuses a redb file of somebody
    /// else.
    fn make_tables(&self, path: &Path) -> Result<(), OpenIndexError> {
        let damaged = |error: Broken| error.damaged(path);
        let guard = self.opened();
        let Ok(open) = &*guard else { unreachable!("it was opened above") };
        let transaction = open.database.begin_write().map_err(|error| damaged(error.into()))?;
        let mut tables: Vec<_> = transaction.list_tables().map_err(|error| damaged(error.into()))?.collect();
        tables.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        match tables.as_slice() {
            [log, rows] if log.name() == log::LOG.name() && rows.name() == ROWS.name() => return Ok(()),
            [] => {}
            [rows] if rows.name() == ROWS.name() => {}
            _ => return Err(OpenIndexError::Foreign(path.to_owned())),
        }
        for made in [transaction.open_table(ROWS).map(drop), transaction.open_table(log::LOG).map(drop)] {
            match made {
                Ok(()) => {}
                Err(TableError::Storage(error)) => return Err(damaged(error.into())),
                Err(_) => return Err(OpenIndexError::Foreign(path.to_owned())),
            }
        }
        transaction.commit().map_err(|error| damaged(error.into()))
    }

    /// Rows of one snapshot.
    pub(super) fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.read(|table| keys.iter().map(|key| row(table, key)).collect())
    }

    /// A page of one snapshot.
    pub(super) fn range(&self, range: &Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.read(|table| page(table, range, rows, bytes))
    }

    /// A fold of one snapshot.
    pub(super) fn fold(&self, fold: &Fold) -> Result<Vec<Folded>, EngineError> {
        self.read(|table| fold::fold(fold, |from, to| between(table, from, to)))
    }

    /// Bytes the file may still grow by.
    pub(super) fn room(&self) -> Option<u64> {
        rustix::fs::statvfs(&self.path).ok().map(|space| space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Bytes the file takes on its disk.
    pub(super) fn size(&self) -> Option<u64> {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(&self.path).ok().map(|found| found.blocks() * 512)
    }

    /// Runs decisions in one transaction, as many as fit and at least one, and commits what they wrote. Answers for
    /// each it took, in order.
    pub(super) fn transact<'a>(&self, works: impl Iterator<Item = &'a mut Work>) -> Vec<Decided> {
        if let Err(error) = self.revived() {
            return vec![Err(error)];
        }
        let (mut decided, mut written) = (Vec::new(), Overlay::default());
        let outcome = match self.fill(works, &mut decided, &mut written) {
            Ok(None) => Ok(()),
            Ok(Some(transaction)) => {
                transaction.commit().map(|()| self.publish()).or_else(|error| self.settle(&error.into(), written))
            }
            Err(broken) => Err(self.not_done(&broken)),
        };
        match outcome {
            Ok(()) => decided,
            // What one decided may rest on what another wrote: without the transaction none of them holds.
            Err(error) => vec![Err(error); decided.len().max(1)],
        }
    }

    /// Decides and fills a transaction; `None` when there is nothing to commit.
    fn fill<'a>(
        &self,
        works: impl Iterator<Item = &'a mut Work>,
        decided: &mut Vec<Decided>,
        written: &mut Overlay,
    ) -> Result<Option<WriteTransaction>, Broken> {
        let mut transaction = self.opened().as_ref().map_err(Broken::from)?.database.begin_write()?;
        // Quick-repair implies two phases. Measured (release, 2 cores, 600,000 rows, 2 rows and 6 counters a commit, best
        // of three on a shared disk), commits a second with 1 / 8 / 64 / 256 waiting:
        //   one phase 2,490 / 8,370 / 17,600 / 20,900, two phases 1,920 / 6,330 / 15,100 / 19,300,
        //   quick-repair 1,450 / 5,060 / 13,800 / 18,900. Open after kill -9: 227 ms, 230 ms, 0.8 ms; it grows with the
        // rows (10^7: 7-10 s and 1 GB of memory) where quick-repair's does not.
        // Two phases are also what lets a failed sync be settled truthfully.
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(ROWS)?;
            for work in works {
                decided.push(written.run(&Writing(&table), &work.reads, &mut work.decide)?);
                if written.bytes() >= INDEX_BATCH_BYTES {
                    break;
                }
            }
            for (key, row) in written.rows() {
                match row {
                    Some(value) => drop(table.insert(&key[..], &value[..])?),
                    None => drop(table.remove(&key[..])?),
                }
            }
        }
        if written.is_clean() {
            transaction.abort()?;
            return Ok(None);
        }
        self.log.note(&transaction, written)?;
        Ok(Some(transaction))
    }

    /// The transaction never got to its commit: nothing happened. redb wants the file opened again all the same.
    fn not_done(&self, broken: &Broken) -> EngineError {
        tracing::error!(reason = broken.reason, "a transaction of the index failed");
        self.suspect();
        broken.error()
    }

    /// Finds out whether a failed commit happened. Opening the file again writes its header anew and syncs it, so that
    /// what is read afterwards is durable; two-phase commits keep half of one from being there.
    fn settle(&self, broken: &Broken, written: Overlay) -> Result<(), EngineError> {
        tracing::error!(reason = broken.reason, "a commit to the index failed");
        self.suspect();
        let unknown = |reason: &dyn fmt::Display| EngineError::Unknown(format!("{}; then {reason}", broken.reason));
        if self.shared {
            return Err(unknown(&"others may have written since"));
        }
        self.revived().map_err(|error| unknown(&error))?;
        let (keys, rows): (Vec<Key>, Vec<Option<Bytes>>) = written.into_rows().into_iter().unzip();
        let found = self.get(&keys).map_err(|error| unknown(&error))?;
        if found == rows { Ok(()) } else { Err(broken.error()) }
    }

    /// Closes a file that failed; the next commit opens it again.
    pub(super) fn suspect(&self) {
        self.log.end_snapshots();
        self.replace(Err(EngineError::Failed("the index's file failed and is being opened again".to_owned())));
    }

    /// Closes the file for good.
    pub(super) fn close(&self) {
        self.log.end_snapshots();
        self.replace(Err(EngineError::Failed("the index is closed".to_owned())));
    }

    /// Opens the file again if it failed.
    fn revived(&self) -> Result<(), EngineError> {
        if self.opened().is_ok() {
            return Ok(());
        }
        let opened = (self.opener)(Opening::Again).map_err(Broken::from).and_then(|database| {
            let open = Open { latest: ArcSwapOption::empty(), database };
            // An emptied file opens as a new database; ours has its table.
            open.begin()?;
            Ok(open)
        });
        match opened {
            Ok(open) => {
                tracing::warn!("the index's file was opened again");
                self.replace(Ok(open));
                self.publish();
                Ok(())
            }
            Err(broken) => {
                let error = EngineError::Failed(format!("the index's file failed: {}", broken.reason));
                self.replace(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn replace(&self, open: Result<Open, EngineError>) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
    }

    /// Lets readers see the last commit. Where other processes commit as well, nobody knows which is the last.
    fn publish(&self) {
        if let Ok(open) = &*self.opened()
            && !self.shared
        {
            let begun = unless_damaged(|| open.begin()).and_then(|begun| begun);
            open.latest.store(begun.ok().map(Arc::new));
        }
    }

    /// Readers leave nothing half done, so a panic of one is no concern of the next.
    fn opened(&self) -> RwLockReadGuard<'_, Result<Open, EngineError>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, with: impl FnOnce(&Reading) -> Result<T, Broken>) -> Result<T, EngineError> {
        self.look(|open| match &*open.latest.load() {
            Some(latest) => with(latest),
            None => with(&open.begin()?),
        })
    }

    /// Reads a file that is open.
    pub(super) fn look<T>(&self, with: impl FnOnce(&Open) -> Result<T, Broken>) -> Result<T, EngineError> {
        let guard = self.opened();
        let open = guard.as_ref().map_err(Clone::clone)?;
        unless_damaged(|| with(open)).and_then(|read| read).map_err(|broken| broken.error())
    }
}

impl Open {
    fn begin(&self) -> Result<Reading, Broken> {
        Ok(self.database.begin_read()?.open_table(ROWS)?)
    }
}

pub(super) type Reading = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// redb panics at pages that make no sense: a reader of a damaged file gets an error instead.
pub(super) fn unless_damaged<T>(work: impl FnOnce() -> T) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Broken { reason: format!("its pages make no sense: {}", said.unwrap_or("no reason given")), full: false }
    })
}

/// What decisions read: the table inside the open transaction.
struct Writing<'a, 'txn>(&'a Table<'txn, &'static [u8], &'static [u8]>);

impl Base for Writing<'_, '_> {
    type Error = Broken;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Broken> {
        row(self.0, key)
    }

    fn any(&self, range: &Range<Key>, counts: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Broken> {
        for row in cursor(self.0, &range.start, &range.end)? {
            if counts(row?.0.value()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn row(table: &impl ReadableTable<&'static [u8], &'static [u8]>, key: &[u8]) -> Result<Option<Bytes>, Broken> {
    Ok(table.get(key)?.map(|value| Bytes::copy_from_slice(value.value())))
}

type Rows<'a> = redb::Range<'a, &'static [u8], &'static [u8]>;

/// The rows of a range, none when it runs backwards.
fn cursor<'a, T: ReadableTable<&'static [u8], &'static [u8]>>(
    table: &'a T,
    from: &[u8],
    to: &[u8],
) -> Result<Rows<'a>, Broken> {
    Ok(table.range::<&[u8]>(from..to.max(from))?)
}

/// The first rows of a range. They share one buffer: a page of 1,000 costs two allocations, not 2,000.
pub(super) fn page(table: &Reading, range: &Range<Key>, rows: usize, bytes: usize) -> Result<Page, Broken> {
    let (mut buffer, mut lengths) = (Vec::new(), Vec::new());
    for row in cursor(table, &range.start, &range.end)?.take(rows) {
        let (key, value) = row?;
        buffer.extend_from_slice(key.value());
        buffer.extend_from_slice(value.value());
        lengths.push((key.value().len(), value.value().len()));
        if buffer.len() >= bytes {
            break;
        }
    }
    let mut rest = Bytes::from(buffer);
    Ok(lengths.into_iter().map(|(key, value)| (rest.split_to(key), rest.split_to(value))).collect())
}

/// The rows of a range, copied out.
fn between<'a, T: ReadableTable<&'static [u8], &'static [u8]>>(
    table: &'a T,
    from: &[u8],
    to: &[u8],
) -> Result<impl Iterator<Item = Result<(Bytes, Bytes), Broken>> + use<'a, T>, Broken> {
    Ok(cursor(table, from, to)?.map(|row| {
        let (key, value) = row?;
        Ok((Bytes::copy_from_slice(key.value()), Bytes::copy_from_slice(value.value())))
    }))
}

impl Broken {
    /// For this reason.
    pub(super) fn of(reason: &str) -> Self {
        Self { reason: reason.to_owned(), full: false }
    }

    /// What a commit that certainly did not happen answers.
    pub(super) fn error(&self) -> EngineError {
        if self.full { EngineError::Full } else { EngineError::Failed(self.reason.clone()) }
    }

    /// What an opening answers.
    fn damaged(self, path: &Path) -> OpenIndexError {
        OpenIndexError::Damaged { path: path.to_owned(), reason: self.reason }
    }
}

impl From<StorageError> for Broken {
    fn from(error: StorageError) -> Self {
        let full = matches!(&error, StorageError::Io(error)
            if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
        Self { reason: error.to_string(), full }
    }
}

impl From<&EngineError> for Broken {
    fn from(error: &EngineError) -> Self {
        Self { reason: error.to_string(), full: false }
    }
}

macro_rules! broken {
    ($($error:ident),*) => {$(
        impl From<$error> for Broken {
            fn from(error: $error) -> Self {
                match error {
                    $error::Storage(error) => error.into(),
                    other => Self { reason: other.to_string(), full: false },
                }
            }
        }
    )*};
}
broken!(CommitError, DatabaseError, TableError, TransactionError);

/// Why the file did not open the first time.
fn refusal(path: &Path, error: DatabaseError) -> OpenIndexError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => OpenIndexError::InUse(path),
        DatabaseError::UpgradeRequired(_) => OpenIndexError::Foreign(path),
        DatabaseError::Storage(StorageError::Io(error)) if error.kind() == io::ErrorKind::InvalidData => {
            OpenIndexError::Foreign(path)
        }
        DatabaseError::Storage(StorageError::Io(source)) => OpenIndexError::Io { path, source },
        other => OpenIndexError::Damaged { path, reason: other.to_string() },
    }
}
