//! Backups of the index, in the silos themselves: a snapshot each day, and the log as it grows.
//!
//! Every commit's rows are in the engine's log with the commit. Every few seconds what is new of it becomes a piece in two
//! silos, and then is let go. Pieces are sealed, checksummed by that, and listed by name: no index is needed to find
//! them. A restore takes the newest snapshot before a moment and every piece of the log after it; where numbers of
//! entries leave a gap, nothing is guessed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, UnixMs};
use crate::engine::log::Changed;
use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::{BACKUP_BEAT, LAST_SHIPMENT, SNAPSHOT_CHECK, SNAPSHOT_RATE};
use crate::mover::Pacer;
use crate::namespace::{Core, Namespace};
use crate::table::backups::kept;
use crate::table::key;

pub mod piece;
pub mod shelf;

mod prune;
mod ship;
mod snapshot;

pub use snapshot::{Progress, Taken};

/// How backups are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupOptions {
    /// A snapshot is due this often.
    pub every: Duration,
    /// How far back it must be possible to restore.
    pub keep: Duration,
}

/// How backups stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupStatus {
    /// Whether they are made at all.
    pub enabled: bool,
    /// When the newest snapshot was taken.
    pub snapshot: Option<UnixMs>,
    /// The commits up to then can be restored.
    pub covered: Option<UnixMs>,
    /// The silos that took the last piece.
    pub silos: Vec<String>,
    /// Why the last piece could not be written.
    pub problem: Option<String>,
}

/// What a gateway keeps in memory of its backups.
pub(crate) struct Backups {
    key: piece::PieceKey,
    /// Where the log's pieces end. Held while one is written.
    position: tokio::sync::Mutex<Option<ship::Position>>,
    /// One snapshot at a time.
    taking: tokio::sync::Mutex<()>,
    pacer: Arc<Pacer>,
    known: Mutex<Known>,
}

/// What was seen of pieces lately. Held for a few instructions.
#[derive(Default)]
struct Known {
    status: BackupStatus,
    /// The silos that have the newest snapshot and all of the log since.
    homes: Vec<String>,
    /// Pieces of the log that were written, and of each silo the last one that it does not have.
    shipped: u64,
    missed: BTreeMap<String, u64>,
    /// When this gateway began its last snapshot, on its own clock, and how long that took.
    taken: Option<Duration>,
    took: Duration,
    /// Bytes of its rows.
    size: u64,
    /// Snapshots in a row that were taken before their time.
    early: u32,
    /// Since when no piece could be written, on this gateway's clock.
    failing: Option<Duration>,
}

impl Backups {
    pub(crate) fn new(seal_key: &[u8; 32], clock: Arc<dyn Clock>) -> Self {
        Self {
            key: piece::PieceKey::new(seal_key),
            position: tokio::sync::Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            pacer: Arc::new(Pacer::new(clock, Some(SNAPSHOT_RATE), CancellationToken::new())),
            known: Mutex::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }
}

/// Rows that a restored index does not need: whose sessions are all dead.
pub(crate) fn is_of_sessions(row: &[u8]) -> bool {
    matches!(row.first(), Some(&(key::ALIVE | key::BEATS | key::ENDED)))
}

/// Whether a change only says how objects were read: snapshots have that, and the log would be most of it.
fn is_estimate((key, row): &Changed) -> bool {
    key.first() == Some(&key::HEAT) && row.is_some()
}

impl Core {
    /// Writes the log to silos as it grows.
    pub(crate) async fn ship_log_forever(self: Arc<Self>) {
        if self.options.backup.is_none() {
            self.engine.forget_log(u64::MAX);
            return;
        }
        loop {
            self.clock.sleep(BACKUP_BEAT).await;
            let shipped = self.ship_log(false).await;
            self.note_shipped(shipped).await;
        }
    }

    /// Writes the end of the log, if silos take it in time; else it is written by the next life.
    pub(crate) async fn ship_the_rest(&self) {
        if self.options.backup.is_none() {
            return;
        }
        let shipped = tokio::select! {
            shipped = self.ship_log(true) => shipped,
            () = self.clock.sleep(LAST_SHIPMENT) => return,
        };
        if let Err(fault) = shipped {
            tracing::warn!(%fault, "the end of the index's log was not written to silos");
        }
    }

    /// Takes a snapshot whenever one is due.
    pub(crate) async fn take_snapshots_forever(self: Arc<Self>) {
        let Some(options) = self.options.backup else { return };
        loop {
            self.clock.sleep(SNAPSHOT_CHECK).await;
            if !self.snapshot_is_due(&options) {
                continue;
            }
            if let Err(fault) = self.take_snapshot(&|_| {}).await {
                tracing::warn!(%fault, "no snapshot of the index could be taken");
                self.clock.sleep(BACKUP_BEAT * 10).await;
            }
        }
    }
}

impl Namespace {
    /// Takes a snapshot now, and writes what there is of the log; `progress` hears how far it came.
    pub async fn back_up(&self, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<Taken, Fault> {
        // Also finds out where the pieces end.
        self.core.ship_log(true).await?;
        self.core.take_snapshot(progress).await
    }

    /// Whether what this index does not know of its silos is kept, since it was restored.
    pub async fn keeps_unknown(&self) -> Result<bool, Fault> {
        Ok(self.core.kept_before().await? > 0)
    }

    /// Takes this index for all there is to know, though it was restored: what silos hold beyond it is swept from now on.
    /// Answers false where that was so already.
    pub async fn accept_restored(&self) -> Result<bool, Fault> {
        let decide = |rows: &Rows| Ok::<_, Fault>((vec![Write::Delete(kept())], rows.get(&kept()).is_some()));
        let kept = engine::commit(&*self.core.engine, vec![Read::Row(kept())], decide).await?;
        if kept {
            tracing::info!("the restored index is accepted: what it does not know is swept");
            self.core.find_packs().await?;
        }
        Ok(kept)
    }

    /// How backups stand.
    pub fn backup_status(&self) -> BackupStatus {
        let enabled = self.core.options.backup.is_some();
        BackupStatus { enabled, ..self.core.backups.known().status.clone() }
    }
}
