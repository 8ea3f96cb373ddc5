//! Snapshots: all rows of one moment, while commits go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use holdall_silos::{BlobName, Silo};
use serde::{Deserialize, Serialize};

use super::piece::{Manifest, What};
use super::prune::prunable;
use super::shelf::Shelf;
use super::{BackupOptions, is_of_sessions};
use crate::clock::UnixMs;
use crate::engine::log::push;
use crate::extent::Number;
use crate::fault::Fault;
use crate::limits::{BACKUP_COPIES, PIECE, SNAPSHOT_SPACING, SNAPSHOT_SPACINGS, SWEEPS_AT_ONCE};
use crate::namespace::Core;
use crate::table::backups::log_base;
use crate::table::{INDEX_FORMAT, decode_row, successor};

/// How far a snapshot came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Rows written.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
}

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The last entry of the log that it holds.
    pub sequence: u64,
    /// When that was made.
    pub at: UnixMs,
    /// Its rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The silos that have all of it.
    pub silos: Vec<String>,
}

impl Core {
    pub(crate) fn snapshot_is_due(&self, options: &BackupOptions) -> bool {
        let known = self.backups.known();
        // Where there is none, or the log does not go on from it, whoever writes the log takes one.
        let Some(at) = known.status.snapshot else { return false };
        // The wall clock tells how old that is which an earlier life took; one from the future is too old.
        let since = u64::try_from(self.clock.now().saturating_sub(at)).map_or(options.every, Duration::from_millis);
        let age = known.taken.map_or(since, |taken| self.clock.monotonic().saturating_sub(taken));
        if age >= options.every {
            return true;
        }
        let targets = self.backup_silos(0);
        let moved = targets.iter().take(BACKUP_COPIES).any(|open| !known.homes.contains(&open.row.name));
        let spacing = SNAPSHOT_SPACING.max(known.took * SNAPSHOT_SPACINGS);
        (known.thin && targets.len() >= BACKUP_COPIES || moved) && age >= spacing
    }

    /// Takes a snapshot now.
    pub(crate) async fn take_snapshot(&self, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<Taken, Fault> {
        let base = decode_row(self.engine.get(&[log_base()]).await?[0].as_ref())?.unwrap_or(0);
        self.take_snapshot_at(base, progress).await
    }

    /// Takes a snapshot now, of which the log's entries are numbered from `base`.
    pub(crate) fn take_snapshot_at<'a>(
        &'a self,
        base: u64,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Taken, Fault>> {
        self.write_snapshot(base, progress).boxed()
    }

    async fn write_snapshot(&self, base: u64, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<Taken, Fault> {
        let _one = self.backups.taking.lock().await;
        self.backups.known().thin = false;
        let begun = self.clock.monotonic();
        let snapshot = self.engine.snapshot().await?;
        let (last, at) = snapshot.last();
        let sequence = base + last;
        let (mut done, mut pieces, mut homes) = (Progress::default(), Vec::new(), None::<Vec<String>>);
        let mut range = vec![0]..vec![0xff; 2];
        loop {
            let page = snapshot.range(range.clone(), usize::MAX, PIECE)?;
            let Some((last, _)) = page.last() else { break };
            range.start = successor(last);
            let mut body = Vec::with_capacity(PIECE + PIECE / 4);
            for (key, value) in page.iter().filter(|(key, _)| !is_of_sessions(key)) {
                push(&mut body, key, Some(value));
                done.rows += 1;
                done.bytes += (key.len() + value.len()) as u64;
            }
            self.backups.pacer.pass(body.len() as u64).await;
            let (name, in_silos) = self.put_piece(What::Rows, sequence, &body).await?;
            pieces.push(Number { session: name.extent.0, number: name.extent.1 });
            keep_common(&mut homes, in_silos);
            progress(done);
            crate::failpoint!("snapshot-begun");
        }
        let Progress { rows, bytes } = done;
        let manifest = Manifest { sequence, at, format: INDEX_FORMAT, rows, bytes, pieces };
        let (_, in_silos) = self.put_piece(What::Snapshot(manifest), sequence, &[]).await?;
        keep_common(&mut homes, in_silos);
        let taken = Taken { sequence, at, rows, bytes, silos: homes.unwrap_or_default() };
        {
            let mut known = self.backups.known();
            known.status.silos.clone_from(&taken.silos);
            known.took = self.clock.monotonic().saturating_sub(begun);
            known.taken = Some(begun);
        }
        tracing::info!(rows, bytes, silos = taken.silos.join(", "), "took a snapshot of the index");
        self.prune().await;
        Ok(taken)
    }

    /// Looks which snapshots there are; answers sequence and time of the newest that is whole.
    pub(crate) async fn note_newest(&self, shelf: &Shelf) -> Option<(u64, UnixMs)> {
        let mut newest: Option<(u64, UnixMs, Vec<String>)> = None;
        let mut complete = std::mem::take(&mut self.backups.known().complete);
        let mut seen = BTreeSet::new();
        for (sequence, names) in shelf.snapshots() {
            let of = (sequence, names[0].extent.0);
            let at = match complete.get(&of) {
                Some(at) => Some(*at),
                None => match shelf.manifest(&self.backups.key, &names).await {
                    Ok(whole) => whole.map(|whole| whole.manifest.at),
                    Err(error) => {
                        tracing::warn!(%error, "a backup of the index does not read");
                        None
                    }
                },
            };
            let Some(at) = at else { continue };
            seen.insert(of);
            complete.insert(of, at);
            newest.get_or_insert_with(|| (sequence, at, shelf.homes(&names).into_iter().map(str::to_owned).collect()));
        }
        complete.retain(|of, _| seen.contains(of));
        let mut known = self.backups.known();
        known.complete = complete;
        let (sequence, at, homes) = newest?;
        known.homes = homes;
        known.status.snapshot = Some(at);
        known.status.covered = known.status.covered.max(Some(at));
        Some((sequence, at))
    }

    /// Deletes what no restore within the time kept needs. What cannot be deleted now is found again the next time.
    async fn prune(&self) {
        let Some(options) = self.options.backup else { return };
        let shelf = self.shelf().await;
        self.note_newest(&shelf).await;
        let before = self.clock.now() - options.keep.as_millis() as UnixMs;
        let complete = self.backups.known().complete.clone();
        let oldest = complete.iter().filter(|(_, at)| **at <= before).map(|((sequence, _), _)| *sequence).max();
        let names: Vec<BlobName> = shelf.names().map(|(name, _)| *name).collect();
        let gone: BTreeSet<BlobName> = prunable(&names, &complete.into_keys().collect(), oldest).into_iter().collect();
        let homes = shelf.names().filter(|(name, _)| gone.contains(name));
        let deletes = homes.flat_map(|(name, homes)| homes.map(|home| delete(*name, Arc::clone(&home.silo))));
        let mut deletes: Vec<_> = deletes.collect();
        while !deletes.is_empty() {
            join_all(deletes.drain(..deletes.len().min(SWEEPS_AT_ONCE))).await;
        }
        crate::failpoint!("backup-pruned");
    }
}

async fn delete(name: BlobName, silo: Arc<dyn Silo>) {
    if let Err(error) = silo.delete(&name).await {
        tracing::warn!(%error, %name, "a piece of an old backup was not deleted");
    }
}

fn keep_common(homes: &mut Option<Vec<String>>, more: Vec<String>) {
    match homes {
        Some(homes) => homes.retain(|home| more.contains(home)),
        None => *homes = Some(more),
    }
}
