//! Snapshots: all rows of one moment, while commits go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use holdall_silos::{BlobName, Silo};
use serde::{Deserialize, Serialize};

use super::piece::{Line, Manifest, What, anchor};
use super::prune::{End, Kept, State, Taker};
use super::shelf::{Shelf, Whole};
use super::{BackupOptions, is_of_sessions};
use crate::clock::UnixMs;
use crate::engine::log::push;
use crate::extent::Number;
use crate::fault::Fault;
use crate::limits::{BACKUP_COPIES, PIECE, SNAPSHOT_SPACING, SNAPSHOT_SPACINGS, SWEEPS_AT_ONCE};
use crate::namespace::Core;
use crate::sweep::live_sessions;
use crate::table::{INDEX_FORMAT, successor};

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
        // One that has no room for it would have a part of it, and no room for anything else.
        let targets = self.backup_silos(known.size.max(PIECE as u64));
        let whole = targets.iter().filter(|open| known.homes.contains(&open.row.name)).count();
        whole < targets.len().min(BACKUP_COPIES) && age >= spacing(known.took, known.early)
    }

    /// Takes a snapshot now.
    pub(crate) async fn take_snapshot(&self, progress: &(dyn Fn(Progress) + Send + Sync)) -> Result<Taken, Fault> {
        let position = *self.backups.position.lock().await;
        let position =
            position.ok_or_else(|| Fault::Unavailable("the log of the index is not written yet".to_owned()))?;
        self.take_snapshot_at(position.base, position.line, progress).await
    }

    /// Takes a snapshot now, from which a line goes on whose entries are numbered from `base`.
    pub(crate) fn take_snapshot_at<'a>(
        &'a self,
        base: u64,
        line: Line,
        progress: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> BoxFuture<'a, Result<Taken, Fault>> {
        self.write_snapshot(base, line, progress).boxed()
    }

    async fn write_snapshot(
        &self,
        base: u64,
        line: Line,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Taken, Fault> {
        let _one = self.backups.taking.lock().await;
        let begun = self.clock.monotonic();
        let snapshot = self.engine.snapshot().await?;
        let (last, at) = snapshot.last();
        let sequence = base + last;
        let entry = self.engine.log(last.saturating_sub(1), 1).await?.into_iter().next();
        let anchor = entry.filter(|entry| entry.sequence == last).map(|entry| anchor(&entry));
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
        let manifest = Manifest { line, sequence, at, anchor, format: INDEX_FORMAT, rows, bytes, pieces };
        let (_, in_silos) = self.put_piece(What::Snapshot(manifest), sequence, &[]).await?;
        keep_common(&mut homes, in_silos);
        let taken = Taken { sequence, at, rows, bytes, silos: homes.unwrap_or_default() };
        {
            let mut known = self.backups.known();
            known.status.silos.clone_from(&taken.silos);
            known.took = self.clock.monotonic().saturating_sub(begun);
            known.size = bytes;
            let since = known.taken.replace(begun).map_or(Duration::MAX, |before| begun.saturating_sub(before));
            let early = self.options.backup.is_some_and(|options| since < options.every);
            known.early = if early { known.early + 1 } else { 0 };
        }
        tracing::info!(rows, bytes, silos = taken.silos.join(", "), "took a snapshot of the index");
        self.prune().await;
        Ok(taken)
    }

    /// Looks which snapshots there are; answers sequence and end of the newest that is whole, and the state of each.
    /// `shipped` pieces of the log had been written when the shelf was listed.
    pub(super) async fn note_newest(
        &self,
        shelf: &Shelf,
        shipped: u64,
    ) -> (Option<(u64, End)>, BTreeMap<Taker, State>) {
        let mut newest: Option<(u64, End, Vec<String>)> = None;
        let mut seen = BTreeMap::new();
        for (sequence, names) in shelf.snapshots() {
            let state = self.state_of(shelf, &names).await;
            seen.insert((sequence, names[0].extent.0), state);
            if let (State::Complete(end), None) = (state, &newest) {
                newest = Some((sequence, end, shelf.homes_of(sequence, names)));
            }
        }
        let Some((sequence, end, homes)) = newest else { return (None, seen) };
        let mut known = self.backups.known();
        let missed = |home: &String| known.missed.get(home).is_some_and(|piece| *piece > shipped);
        known.homes = homes.into_iter().filter(|home| !missed(home)).collect();
        known.status.snapshot = Some(end.at);
        known.status.covered = known.status.covered.max(Some(end.at));
        (Some((sequence, end)), seen)
    }

    async fn state_of(&self, shelf: &Shelf, names: &[BlobName]) -> State {
        match shelf.manifest(&self.backups.key, names).await {
            Ok(Some(Whole { manifest, .. })) if shelf.has(&manifest) => {
                State::Complete(End { line: manifest.line, at: manifest.at, anchor: manifest.anchor })
            }
            Ok(None) => State::Unfinished,
            Ok(Some(_)) => State::Unread,
            Err(error) => {
                tracing::warn!(%error, "a backup of the index does not read");
                State::Unread
            }
        }
    }

    /// Deletes what no restore within the time kept needs: one snapshot at most, so that a clock that is wrong for a moment
    /// costs no more. What cannot be deleted now is found again the next time.
    async fn prune(&self) {
        let Some(options) = self.options.backup else { return };
        let shipped = self.backups.known().shipped;
        let shelf = self.shelf().await;
        let (_, seen) = self.note_newest(&shelf, shipped).await;
        let Ok(live) = live_sessions(&*self.engine).await else { return };
        let before = self.clock.now() - options.keep.as_millis() as UnixMs;
        let complete = seen.iter().filter_map(|(of, state)| match state {
            State::Complete(end) => Some((*of, end.at)),
            State::Unfinished | State::Unread => None,
        });
        let complete: Vec<(Taker, UnixMs)> = complete.collect();
        let others = |session: u64| session != self.session().id && live.iter().any(|(id, _)| *id == session);
        let unfinished = seen.iter().filter(|((_, session), state)| **state == State::Unfinished && !others(*session));
        // The last piece of one may lie in a silo that does not answer.
        let unfinished = unfinished.filter(|_| shelf.silent.is_empty()).map(|(of, _)| *of).collect();
        let unread = seen.iter().filter(|(_, state)| **state == State::Unread).map(|(of, _)| *of).collect();
        let oldest = complete.get(1).filter(|(_, at)| *at <= before).map_or(0, |((sequence, _), _)| *sequence);
        let names: Vec<BlobName> = shelf.names().map(|(name, _)| *name).collect();
        let kept = Kept { complete: complete.into_iter().map(|(of, _)| of).collect(), unfinished, unread, oldest };
        let gone: BTreeSet<BlobName> = kept.prunable(&names).into_iter().collect();
        // The last piece of each snapshot goes first: what is left when this breaks off is seen to be unfinished.
        let taker = |name: &BlobName| (name.backed_up().1, name.extent.0);
        let snapshots = gone.iter().filter(|name| name.backed_up().0);
        let last: BTreeSet<BlobName> =
            snapshots.map(|name| (taker(name), *name)).collect::<BTreeMap<_, _>>().into_values().collect();
        let stay: BTreeSet<Taker> = delete_pieces(&shelf, &last).await.iter().map(taker).collect();
        let waits = |name: &BlobName| last.contains(name) || name.backed_up().0 && stay.contains(&taker(name));
        delete_pieces(&shelf, &gone.iter().filter(|name| !waits(name)).copied().collect()).await;
        crate::failpoint!("backup-pruned");
    }
}

/// How long after the last snapshot one may be taken before its time: twice as long after each that was.
fn spacing(took: Duration, early: u32) -> Duration {
    SNAPSHOT_SPACING.max(took * SNAPSHOT_SPACINGS).saturating_mul(1 << early.min(16))
}

/// Deletes pieces wherever they lie; answers those that stay somewhere.
async fn delete_pieces(shelf: &Shelf, pieces: &BTreeSet<BlobName>) -> Vec<BlobName> {
    let homes = shelf.names().filter(|(name, _)| pieces.contains(name));
    let mut deletes: Vec<_> =
        homes.flat_map(|(name, homes)| homes.map(|home| delete(*name, Arc::clone(&home.silo)))).collect();
    let mut stay = Vec::new();
    while !deletes.is_empty() {
        stay.extend(join_all(deletes.drain(..deletes.len().min(SWEEPS_AT_ONCE))).await.into_iter().flatten());
    }
    stay
}

/// Deletes a piece; answers its name where it stays.
async fn delete(name: BlobName, silo: Arc<dyn Silo>) -> Option<BlobName> {
    let error = silo.delete(&name).await.err()?;
    tracing::warn!(%error, %name, "a piece of an old backup was not deleted");
    Some(name)
}

fn keep_common(homes: &mut Option<Vec<String>>, more: Vec<String>) {
    match homes {
        Some(homes) => homes.retain(|home| more.contains(home)),
        None => *homes = Some(more),
    }
}
