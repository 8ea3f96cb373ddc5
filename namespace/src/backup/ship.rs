//! The log on its way into silos, run by run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use holdall_silos::BlobName;
use holdall_silos::silo::Body;

use super::piece::{Run, What, name, push_entry};
use super::shelf::{Shelf, Source};
use super::{Progress, is_of_sessions};
use crate::engine::log::Entry;
use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::limits::{BACKUP_COPIES, BACKUP_IDLE, LOG_KEPT, PIECE};
use crate::namespace::Core;
use crate::table::backups::log_base;
use crate::table::{decode_row, encode};

/// More entries than this are never in one piece of the log: each has bytes of its own.
const MOST_ENTRIES: u64 = PIECE as u64;

/// Numbers that are left out where another index wrote the last pieces: what silos that do not answer now have of its
/// pieces is never taken for ours.
pub(crate) const LEAP: u64 = 1 << 32;

/// Where the log's pieces end. Numbers in pieces are the engine's and `base`, so that those of an index that was restored
/// go on past all that were ever used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Position {
    base: u64,
    /// The last entry that silos have.
    shipped: u64,
    /// When that was, on this gateway's clock.
    since: Duration,
}

impl Core {
    /// Writes what is new of the log; what says nothing waits a while, unless `all`.
    pub(crate) async fn ship_log(&self, all: bool) -> Result<(), Fault> {
        let mut held = self.backups.position.lock().await;
        loop {
            let mut position = match *held {
                Some(position) => position,
                None => *held.insert(self.find_position().await?),
            };
            let entries = self.engine.log(position.shipped.saturating_sub(position.base), PIECE).await?;
            let Some(last) = entries.last().map(|entry| entry.sequence) else { return Ok(()) };
            if position.base + entries[0].sequence != position.shipped + 1 {
                tracing::warn!("the log of the index has a gap; a snapshot is taken");
                *held = None;
                continue;
            }
            let idle = entries.iter().all(|entry| entry.rows.iter().all(|(key, _)| is_of_sessions(key)));
            if idle && !all && self.clock.monotonic().saturating_sub(position.since) < BACKUP_IDLE {
                return Ok(());
            }
            self.ship(position, entries).await?;
            position.shipped = position.base + last;
            position.since = self.clock.monotonic();
            *held = Some(position);
            crate::failpoint!("log-shipped");
            self.engine.forget_log(last);
        }
    }

    async fn ship(&self, position: Position, entries: Vec<Entry>) -> Result<(), Fault> {
        let (first, Some(last)) = (position.shipped + 1, entries.last()) else { return Ok(()) };
        let (until, last) = (last.at, position.base + last.sequence);
        let mut body = Vec::with_capacity(PIECE);
        for mut entry in entries {
            entry.sequence += position.base;
            entry.rows.retain(|(key, _)| !is_of_sessions(key));
            if !entry.rows.is_empty() {
                push_entry(&mut body, &entry);
            }
        }
        let run = Run { first, last, until };
        let (_, homes) = self.put_piece(What::Log(run), first, &body).await?;
        let mut known = self.backups.known();
        known.status.covered = Some(until);
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
            for (open, put) in join_all(some.into_iter().map(|open| put(open, name, sealed.clone()))).await {
                match put {
                    Ok(()) => homes.push(open.row.name.clone()),
                    Err(error) => failed = format!("silo `{}`: {error}", open.row.name),
                }
            }
        }
        if homes.is_empty() {
            return Err(Fault::Unavailable(format!("a piece of the index's backup was not written: {failed}")));
        }
        if homes.len() < BACKUP_COPIES && self.inventory().silos.len() >= BACKUP_COPIES {
            self.backups.known().thin = true;
        }
        Ok((name, homes))
    }

    /// The silos that may take a piece, best first: those whose bytes do not lie beside the index come first.
    pub(crate) fn backup_silos(&self, size: u64) -> Vec<Arc<OpenSilo>> {
        let inventory = self.inventory();
        let takes = |open: &&Arc<OpenSilo>| {
            open.health() == Health::Up && !open.row.cordoned && open.room_to_rewrite().is_none_or(|room| room >= size)
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

    /// Where the pieces in the silos end. Where the log does not go on from there, a snapshot is taken first.
    async fn find_position(&self) -> Result<Position, Fault> {
        let shelf = self.shelf().await;
        if let Some((silo, error)) = shelf.silent.first().filter(|_| shelf.is_silent()) {
            return Err(Fault::Unavailable(format!("silo `{silo}` could not be looked through for backups: {error}")));
        }
        let of_log = self.end_of_log(&shelf).await;
        let newest = self.note_newest(&shelf).await;
        let of_snapshot = newest.map_or(0, |(sequence, _)| sequence);
        let oldest = self.engine.log(0, 1).await?.first().map_or(1, |entry| entry.sequence);
        let last = self.engine.snapshot().await?.last().0;
        let mut base: u64 = decode_row(self.engine.get(&[log_base()]).await?[0].as_ref())?.unwrap_or(0);
        let since = self.clock.monotonic();
        let foreign = of_log.max(of_snapshot) > base + last;
        if foreign {
            base = of_log.max(of_snapshot) + LEAP;
            let decide = move |_: &Rows| Ok::<_, Fault>((vec![Write::Put(log_base(), encode(&base))], ()));
            engine::commit(&*self.engine, Vec::<Read>::new(), decide).await?;
        } else if newest.is_some() {
            // From the log's own end, where it can be, so that an older snapshot can be gone on from as well.
            if let Some(shipped) = [of_log, of_snapshot].into_iter().find(|shipped| shipped + 1 >= base + oldest) {
                return Ok(Position { base, shipped, since });
            }
        }
        let taken = self.take_snapshot_at(base, &|_: Progress| {}).await?;
        Ok(Position { base, shipped: taken.sequence, since })
    }

    /// The last entry that a piece of the log has; 0 where there is none.
    async fn end_of_log(&self, shelf: &Shelf) -> u64 {
        let Some((first, name)) = shelf.logs().next_back() else { return 0 };
        match shelf.open(&self.backups.key, &name).await.map(|opened| opened.piece.what) {
            Ok(What::Log(run)) => run.last,
            // Nobody knows where it ends: past this.
            _ => first + MOST_ENTRIES,
        }
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
