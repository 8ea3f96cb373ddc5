//! The log: what each transaction changed, in a table beside the rows; and snapshots of the rows.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use redb::{ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use super::store::{Broken, ROWS, Reading, Store, page, unless_damaged};
use crate::clock::{Clock, UnixMs};
use crate::engine::log::{Entry, Snapshot};
use crate::engine::overlay::Overlay;
use crate::engine::{EngineError, Key, Page};
use crate::limits::FORGOTTEN_AT_ONCE;

/// Entries by sequence.
pub(super) const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");

/// What the log needs beside its table.
pub(super) struct Log {
    clock: Arc<dyn Clock>,
    /// Nobody needs this entry any more, nor those before it. The next transaction takes them out.
    forgotten: AtomicU64,
    /// Snapshots that somebody may still read. Held to add one, or to end all.
    snapshots: Mutex<Vec<Weak<Frozen>>>,
}

/// A snapshot. It holds its file open, so that it ends where the file failed and is to be opened again.
pub(super) struct Frozen {
    table: Mutex<Option<Arc<Reading>>>,
    last: (u64, UnixMs),
}

impl Log {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, forgotten: AtomicU64::new(0), snapshots: Mutex::default() }
    }

    /// Writes an entry into the transaction that it is about, and takes out those that nobody needs.
    pub(super) fn note(&self, transaction: &WriteTransaction, written: &Overlay) -> Result<(), Broken> {
        let mut table = transaction.open_table(LOG)?;
        let (last, before) = last_of(&table)?;
        let rows = written.rows().iter().map(|(key, row)| (&key[..], row.as_deref()));
        table.insert(last + 1, &Entry::encode(self.clock.now().max(before), rows)[..])?;
        let through = self.forgotten.load(Ordering::Acquire).min(last);
        let oldest = table.first()?.map(|(oldest, _)| oldest.value());
        if let Some(oldest) = oldest.filter(|oldest| *oldest <= through) {
            // Some at a time: whoever commits waits for it.
            table.retain_in(..=through.min(oldest + FORGOTTEN_AT_ONCE), |_, _| false)?;
        }
        Ok(())
    }

    /// Lets the file go that snapshots are of.
    pub(super) fn end_snapshots(&self) {
        let snapshots = std::mem::take(&mut *self.snapshots.lock().unwrap_or_else(PoisonError::into_inner));
        for snapshot in snapshots.iter().filter_map(Weak::upgrade) {
            *snapshot.table.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn keep(&self, snapshot: &Arc<Frozen>) {
        let mut snapshots = self.snapshots.lock().unwrap_or_else(PoisonError::into_inner);
        snapshots.retain(|snapshot| snapshot.strong_count() > 0);
        snapshots.push(Arc::downgrade(snapshot));
    }
}

/// Sequence and time of the last entry.
fn last_of(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<(u64, UnixMs), Broken> {
    let Some((sequence, entry)) = table.last()? else { return Ok((0, UnixMs::MIN)) };
    let at = entry.value().first_chunk().ok_or_else(unreadable)?;
    Ok((sequence.value(), UnixMs::from_le_bytes(*at)))
}

fn unreadable() -> Broken {
    Broken::of("an entry of its log does not read")
}

impl Store {
    pub(super) fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.look(|open| {
            let table = open.database.begin_read()?.open_table(LOG)?;
            let (mut entries, mut size) = (Vec::new(), 0);
            for row in table.range(after.saturating_add(1)..)? {
                let (sequence, entry) = row?;
                let entry = Bytes::copy_from_slice(entry.value());
                size += entry.len();
                entries.push(Entry::decode(sequence.value(), entry).ok_or_else(unreadable)?);
                if size >= bytes {
                    break;
                }
            }
            Ok(entries)
        })
    }

    pub(super) fn forget_log(&self, through: u64) {
        self.log.forgotten.fetch_max(through, Ordering::AcqRel);
    }

    pub(super) fn snapshot(&self) -> Result<Arc<Frozen>, EngineError> {
        self.look(|open| {
            // One transaction, so that rows and log are of the same moment.
            let reading = open.database.begin_read()?;
            let last = last_of(&reading.open_table(LOG)?)?;
            let table = Mutex::new(Some(Arc::new(reading.open_table(ROWS)?)));
            let snapshot = Arc::new(Frozen { table, last });
            self.log.keep(&snapshot);
            Ok(snapshot)
        })
    }
}

impl Snapshot for Frozen {
    fn last(&self) -> (u64, UnixMs) {
        self.last
    }

    fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let table = table.ok_or_else(|| EngineError::Failed("the index's file failed under a snapshot".to_owned()))?;
        unless_damaged(|| page(&table, &range, rows, bytes)).and_then(|read| read).map_err(|broken| broken.error())
    }
}
