//! The log on its way into silos, run by run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use holdall_silos::BlobName;
use holdall_silos::silo::Body;

use super::piece::{Line, Run, What, anchor, name, push_entry};
use super::prune::End;
use super::shelf::{Shelf, Source};
use super::{Progress, is_estimate, is_of_sessions};
use crate::engine::log::Entry;
use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::limits::{
    BACKUP_COPIES, BACKUP_IDLE, BACKUP_PATIENCE, LOG_KEPT, LOG_LEAP, PIECE, RUN_ENTRIES, STALE_PATIENCE,
};
use crate::namespace::{Core, Namespace, OpenError};
use crate::table::backups::log_base;
use crate::table::{decode_row, encode};

/// Pieces that are tried, the newest first, where they do not open.
const RUNS_ASKED: usize = 8;

/// Where the log's pieces end. Numbers in pieces are the engine's and `base`, so that those of an index that was restored
/// go on past all that were ever used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    pub(crate) base: u64,
    pub(crate) line: Line,
    /// The last entry that silos have.
    shipped: u64,
    /// When that was, on this gateway's clock.
    since: Duration,
}

impl Core {
    /// Writes what is new of the log as it stands now, so that this ends however much is committed meanwhile; what says
    /// nothing waits a while, unless `all`.
    pub(crate) async fn ship_log(&self, all: bool) -> Result<(), Fault> {
        let until = self.engine.snapshot().await?.last().0;
        while let Some(last) = self.ship_run(all).await?
            && last < until
        {
            if until - last > RUN_ENTRIES && self.room_in_index().is_err() {
                return Err(Fault::Unavailable(
                    "the index has no room for the log that silos do not have yet".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Writes the next run; answers its last entry, none where nothing is written. Others have their turn between two.
    async fn ship_run(&self, all: bool) -> Result<Option<u64>, Fault> {
        let mut held = self.backups.position.lock().await;
        let mut position = match *held {
            Some(position) => position,
            None => *held.insert(self.find_position().await?),
        };
        let mut entries = self.engine.log(position.shipped.saturating_sub(position.base), PIECE).await?;
        entries.truncate(RUN_ENTRIES as usize);
        let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(None) };
        if position.base + entries[0].sequence != position.shipped + 1 {
            tracing::warn!("the log of the index has a gap; a snapshot is taken");
            *held = None;
            return Ok(Some(0));
        }
        let idle = entries.iter().all(|entry| entry.rows.iter().all(|row| is_of_sessions(&row.0) || is_estimate(row)));
        if idle && !all && self.clock.monotonic().saturating_sub(position.since) < BACKUP_IDLE {
            return Ok(None);
        }
        self.ship(position, entries).await?;
        position.shipped = position.base + last;
        position.since = self.clock.monotonic();
        *held = Some(position);
        crate::failpoint!("log-shipped");
        // The last one stays: whoever goes on shows that it has it.
        self.engine.forget_log(last - 1);
        Ok(Some(last))
    }

    async fn ship(&self, position: Position, entries: Vec<Entry>) -> Result<(), Fault> {
        let (first, Some(last)) = (position.shipped + 1, entries.last()) else { return Ok(()) };
        let (until, anchor, last) = (last.at, anchor(last), position.base + last.sequence);
        let mut body = Vec::with_capacity(PIECE);
        for mut entry in entries {
            entry.sequence += position.base;
            entry.rows.retain(|row| !is_of_sessions(&row.0) && !is_estimate(row));
            if !entry.rows.is_empty() {
                push_entry(&mut body, &entry);
            }
        }
        let run = Run { line: position.line, first, last, until, anchor };
        let (_, homes) = self.put_piece(What::Log(run), first, &body).await?;
        let inventory = self.inventory();
        let mut known = self.backups.known();
        known.shipped += 1;
        let shipped = known.shipped;
        let without = inventory.silos.values().map(|open| &open.row.name).filter(|name| !homes.contains(name));
        known.missed.extend(without.map(|name| (name.clone(), shipped)));
        known.status.covered = Some(until);
        known.homes.retain(|home| homes.contains(home));
        known.status.silos = homes;
        Ok(())
    }

    /// Writes a piece into as many silos as are to have it, one at least; answers its name, and the silos' names.
    pub(crate) async fn put_piece(
        &self,
        what: What,
        sequence: u64,
        body: &[u8],
    ) -> Result<(BlobName, Vec<String>), Fault> {
        // The number alone: no row will name the piece, and nobody waits for it.
        let taken = self.session().take().number;
        let name = name(&what, sequence, taken);
        let sealed = Bytes::from(self.backups.key.seal(&name, &self.id, what, body));
        let candidates = self.backup_silos(sealed.len() as u64);
        let wanted = candidates.len().min(BACKUP_COPIES);
        let mut homes: Vec<String> = Vec::new();
        let mut failed = "no silo takes new bytes".to_owned();
        let mut rest = candidates.into_iter();
        while homes.len() < wanted {
            let some: Vec<_> = rest.by_ref().take(wanted - homes.len()).collect();
            if some.is_empty() {
                break;
            }
            let mut puts = some.into_iter().map(|open| put(open, name, sealed.clone())).collect();
            while let Some((open, put)) = self.next_put(&mut puts, !homes.is_empty()).await {
                match put {
                    Ok(()) => homes.push(open.row.name.clone()),
                    Err(error) => failed = format!("silo `{}`: {error}", open.row.name),
                }
            }
        }
        if homes.is_empty() {
            return Err(Fault::Unavailable(format!("a piece of the index's backup was not written: {failed}")));
        }
        Ok((name, homes))
    }

    /// The next outcome; none where there is no more, or where waiting for a silo that hangs would keep others behind.
    async fn next_put<P>(&self, puts: &mut FuturesUnordered<P>, safe: bool) -> Option<P::Output>
    where
        P: Future,
    {
        if !safe {
            return puts.next().await;
        }
        tokio::select! {
            next = puts.next() => next,
            () = self.clock.sleep(BACKUP_PATIENCE) => None,
        }
    }

    /// The silos that may take a piece, best first: those whose bytes do not lie beside the index come first.
    pub(crate) fn backup_silos(&self, size: u64) -> Vec<Arc<OpenSilo>> {
        let inventory = self.inventory();
        let takes = |open: &&Arc<OpenSilo>| {
            open.health() == Health::Up && open.takes_bytes() && open.room_to_rewrite().is_none_or(|room| room >= size)
        };
        let mut silos: Vec<Arc<OpenSilo>> = inventory.silos.values().filter(takes).cloned().collect();
        silos.sort_by_key(|open| (open.lies_below(&self.options.base), open.id));
        silos
    }

    /// Every silo, as what pieces are looked for in.
    pub(crate) async fn shelf(&self) -> Shelf {
        let inventory = self.inventory();
        let source = |open: &Arc<OpenSilo>| Source { name: open.row.name.clone(), silo: Arc::clone(&open.silo) };
        Shelf::list(inventory.silos.values().map(source).collect()).await
    }

    /// Where the pieces in the silos end, if our log goes on from there. Otherwise a new line begins, with a snapshot.
    async fn find_position(&self) -> Result<Position, Fault> {
        let shipped = self.backups.known().shipped;
        let shelf = self.shelf().await;
        if let Some((silo, error)) = shelf.silent.first().filter(|_| shelf.is_silent()) {
            return Err(Fault::Unavailable(format!("silo `{silo}` could not be looked through for backups: {error}")));
        }
        let newest = self.note_newest(&shelf, shipped).await.0;
        let mut base = self.log_base().await?;
        let since = self.clock.monotonic();
        // Nothing can be restored without a snapshot.
        if let Some((sequence, end)) = newest
            && let Some((line, shipped)) = self.goes_on(base, &shelf, sequence, end).await?
        {
            return Ok(Position { base, line, shipped, since });
        }
        let last = self.engine.snapshot().await?.last().0;
        let top = shelf.names().map(|(name, _)| name.backed_up().1).max().unwrap_or(0);
        if top > 0 && base + last <= top + RUN_ENTRIES {
            base = top + LOG_LEAP;
            let decide = move |_: &Rows| Ok::<_, Fault>((vec![Write::Put(log_base(), encode(&base))], ()));
            engine::commit(&*self.engine, Vec::<Read>::new(), decide).await?;
        }
        let line = getrandom::u64().map_err(|error| Fault::Unavailable(error.to_string()))?;
        let taken = self.take_snapshot_at(base, line, &|_: Progress| {}).await?;
        Ok(Position { base, line, shipped: taken.sequence, since })
    }

    /// Which line our log goes on with, and from where. It has the very entry that the newest piece ends with: that of an
    /// index that went back is another one, or is not there.
    async fn goes_on(
        &self,
        base: u64,
        shelf: &Shelf,
        sequence: u64,
        snapshot: End,
    ) -> Result<Option<(Line, u64)>, Fault> {
        let of_log = match shelf.logs().next_back() {
            Some((_, name)) => match shelf.open(&self.backups.key, &name).await.map(|opened| opened.piece.what) {
                Ok(What::Log(run)) => Some(run),
                _ => return Ok(None),
            },
            None => None,
        };
        match of_log {
            Some(run) if run.last >= sequence => {
                let goes_on = self.has_entry(base, run.last, Some(run.anchor)).await?;
                Ok(goes_on.then_some((run.line, run.last)))
            }
            _ => {
                let goes_on = self.has_entry(base, sequence, snapshot.anchor).await?;
                Ok(goes_on.then_some((snapshot.line, sequence)))
            }
        }
    }

    /// Whether silos have commits of ours that the index does not: it went back, to an older copy of itself. What was written since
    /// would be nobody's for it, and it would give names a second time. Silos that do not answer in time say nothing.
    async fn went_back(&self) -> Result<bool, Fault> {
        let (base, last) = (self.log_base().await?, self.engine.snapshot().await?.last().0);
        let inventory = self.inventory();
        let asked = inventory.silos.values().filter(|open| !open.is_lost()).map(|open| async move {
            let newest = tokio::time::timeout(STALE_PATIENCE, self.newest_run(open, base + last)).await;
            newest.inspect_err(|_| tracing::warn!(silo = open.row.name, "it does not say in time what backups it has"))
        });
        let answers = futures_util::future::join_all(asked).await;
        let newest = answers.into_iter().filter_map(|answer| answer.ok().flatten()).max_by_key(|run| run.first);
        // One that was restored goes on past all numbers that were ever used.
        let Some((own, run)) = newest.and_then(|run| Some((run.last.checked_sub(base)?, run))) else {
            return Ok(false);
        };
        // Others may have written since.
        let last = self.engine.snapshot().await?.last().0;
        Ok(own > last || self.entry(own).await?.is_some_and(|entry| anchor(&entry) != run.anchor))
    }

    /// The newest run that a silo has whole of those that may have an entry, and the first ones beyond it.
    async fn newest_run(&self, open: &OpenSilo, entry: u64) -> Option<Run> {
        let source = Source { name: open.row.name.clone(), silo: Arc::clone(&open.silo) };
        let shelf = Shelf::list_around(source, entry, RUNS_ASKED).await;
        for (_, name) in shelf.logs().rev().take(RUNS_ASKED) {
            let Ok(opened) = shelf.open(&self.backups.key, &name).await else { continue };
            if let What::Log(run) = opened.piece.what
                && opened.piece.namespace == self.id
            {
                return Some(run);
            }
        }
        None
    }

    async fn log_base(&self) -> Result<u64, Fault> {
        Ok(decode_row(self.engine.get(&[log_base()]).await?[0].as_ref())?.unwrap_or(0))
    }

    /// An entry of our log, by the engine's number; none where it was let go, or never was.
    async fn entry(&self, number: u64) -> Result<Option<Entry>, Fault> {
        let entries = self.engine.log(number.saturating_sub(1), 1).await?;
        Ok(entries.into_iter().next().filter(|entry| entry.sequence == number))
    }

    async fn has_entry(&self, base: u64, number: u64, known: Option<[u8; 8]>) -> Result<bool, Fault> {
        let Some(own) = number.checked_sub(base) else { return Ok(false) };
        Ok(self.entry(own).await?.is_some_and(|entry| Some(anchor(&entry)) == known))
    }

    /// What became of a try to write the log.
    pub(crate) async fn note_shipped(&self, shipped: Result<(), Fault>) {
        let now = self.clock.monotonic();
        let failing = {
            let mut known = self.backups.known();
            let Err(fault) = shipped else {
                known.status.problem = None;
                known.failing = None;
                return;
            };
            if known.status.problem.replace(fault.to_string()).is_none() {
                tracing::warn!(%fault, "the log of the index could not be written to silos");
            }
            now.saturating_sub(*known.failing.get_or_insert(now))
        };
        // The gap that this leaves is found, and a snapshot taken.
        if (failing > LOG_KEPT || self.room_in_index().is_err())
            && let Ok(snapshot) = self.engine.snapshot().await
        {
            self.engine.forget_log(snapshot.last().0);
        }
    }
}

impl Namespace {
    /// Refuses an index that is an older copy of itself, by the backups in its silos. Asked before anything runs in the background.
    pub async fn refuse_stale(&self) -> Result<(), OpenError> {
        if self.core.went_back().await? { Err(OpenError::Stale) } else { Ok(()) }
    }
}

async fn put(
    open: Arc<OpenSilo>,
    name: BlobName,
    bytes: Bytes,
) -> (Arc<OpenSilo>, Result<(), holdall_silos::SiloError>) {
    let size = bytes.len() as u64;
    let body: Body = Box::pin(stream::iter([Ok(bytes)]).boxed());
    let put = open.note(open.silo.put(&name, size, body, Arc::new(|_| Vec::new())).await);
    if put.is_ok() {
        open.note_written(size);
    }
    (open, put.map(drop))
}
