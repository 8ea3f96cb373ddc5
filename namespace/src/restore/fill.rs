//! Rows into a new index: those of a snapshot, then those of the log.

use holdall_silos::BlobName;

use super::{RestoreError, Restored, Run, shown};
use crate::backup::piece::{Manifest, Piece, Run as Entries, What};
use crate::backup::shelf::{Shelf, Unread};
use crate::clock::UnixMs;
use crate::engine::log::Changed;
use crate::engine::{self, Engine, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::{INDEX_BATCH_BYTES, LOG_LEAP, RUN_ENTRIES, SESSION_LEAP};
use crate::table::backups::{kept, log_base};
use crate::table::sessions::next_session;
use crate::table::silos::namespace_id;
use crate::table::{decode_row, encode};

/// Why filling ended early.
pub(super) enum Stopped {
    /// A piece lies nowhere whole.
    Unread(Unread),
    Fault(Fault),
}

impl From<Fault> for Stopped {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a piece of the log turned out to be.
enum Next {
    /// It was carried out, to its end.
    Done,
    /// What follows is after the moment asked for.
    Enough,
}

/// A run of a line that does not go on from the snapshot. The one that has the newest of what is asked for is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Beyond {
    /// When the last entry was made that is from before the moment asked for.
    asked: Option<UnixMs>,
    /// When its last entry was made.
    until: UnixMs,
    first: u64,
    last: u64,
}

impl Run<'_> {
    pub(super) async fn snapshot(
        &self,
        engine: &dyn Engine,
        manifest: &Manifest,
        restored: &mut Restored,
    ) -> Result<(), Stopped> {
        for name in manifest.names() {
            let piece = self.open(&name, restored).await.map_err(Stopped::Unread)?;
            let rows = piece.rows().filter(|_| piece.what == What::Rows);
            let rows = rows.ok_or_else(|| Stopped::Unread(no_piece(name, "it holds no rows")))?;
            restored.rows += rows.len() as u64;
            write(engine, rows).await?;
            (self.report)(restored.rows);
        }
        if restored.rows != manifest.rows {
            let reason = format!("it has {} rows instead of {}", restored.rows, manifest.rows);
            let last = BlobName::of_snapshot(manifest.sequence, (0, 0));
            return Err(Stopped::Unread(no_piece(last, &reason)));
        }
        (restored.until, restored.last_entry) = (manifest.at, manifest.sequence);
        Ok(())
    }

    /// Carries out the log from where the snapshot ends.
    pub(super) async fn log(
        &self,
        engine: &dyn Engine,
        manifest: &Manifest,
        restored: &mut Restored,
    ) -> Result<(), RestoreError> {
        let mut done = manifest.sequence;
        let (mut doubt, mut beyond, mut newest) = (None::<Unread>, None::<Beyond>, 0);
        // Nobody knows where a piece ends but within so many entries; those of several writers overlap.
        let begin = (done + 1).saturating_sub(RUN_ENTRIES);
        for (first, name) in self.shelf.logs().skip_while(|(first, _)| *first < begin) {
            let piece = match self.open(&name, restored).await {
                Ok(piece) => piece,
                // What began and ended before the snapshot is not missed.
                Err(unread) if first <= manifest.sequence && done == manifest.sequence => {
                    doubt = Some(unread);
                    continue;
                }
                Err(unread) => return self.broken(unread.to_string(), restored),
            };
            let What::Log(run) = piece.what else { continue };
            if run.line != manifest.line {
                if piece.namespace == restored.namespace {
                    beyond = beyond.max(Some(self.beyond(&piece, run)));
                    newest = newest.max(run.last);
                }
                continue;
            }
            doubt = doubt.filter(|unread| !ends_before(&unread.name, &name));
            if run.last <= done {
                continue;
            }
            if first > done + 1 {
                let reason = format!("entries {} to {} are nowhere", done + 1, first - 1);
                return self.broken(reason, restored);
            }
            match self.carry_out(engine, &piece, &mut done, restored).await {
                Ok(Next::Done) => {}
                Ok(Next::Enough) => return Ok(()),
                Err(Stopped::Fault(fault)) => return Err(fault.into()),
                Err(Stopped::Unread(unread)) => return self.broken(unread.to_string(), restored),
            }
        }
        if let Some(unread) = doubt {
            return self.broken(unread.to_string(), restored);
        }
        self.ended(beyond, newest, restored)
    }

    /// The line has no more pieces; those of another line that are newer cannot be reached from its snapshot.
    fn ended(&self, beyond: Option<Beyond>, newest: u64, restored: &mut Restored) -> Result<(), RestoreError> {
        let Some(Beyond { asked, until, first, last }) = beyond else { return Ok(()) };
        let newest = newest.max(last);
        // Numbers go on from index to index; a clock may have gone back between.
        let missed =
            asked.is_some_and(|asked| asked > restored.until) || self.at.is_none() && newest > restored.last_entry;
        if !missed && (until <= restored.until || self.at != Some(restored.until)) {
            return Ok(());
        }
        let of = format!("entries {first} to {last}, up to {}", shown(until));
        self.broken(format!("{of}, are of another line, of which no newer snapshot is whole"), restored)
    }

    /// What a run of another line has of what is asked for.
    fn beyond(&self, piece: &Piece, Entries { first, last, until, .. }: Entries) -> Beyond {
        let asked = match self.at.filter(|at| until > *at) {
            None => Some(until),
            Some(at) => piece
                .entries()
                .map_or(Some(at), |entries| entries.iter().map(|entry| entry.at).filter(|made| *made <= at).max()),
        };
        Beyond { asked, until, first, last }
    }

    /// The log does not go on, which ends a restore unless nothing more was asked for.
    fn broken(&self, reason: String, restored: &mut Restored) -> Result<(), RestoreError> {
        let until = restored.until;
        if self.at.is_none_or(|at| at > until) {
            return Err(RestoreError::Broken { until, reason });
        }
        restored.flaws.push(format!("the log breaks off at {}: {reason}", shown(until)));
        Ok(())
    }

    async fn carry_out(
        &self,
        engine: &dyn Engine,
        piece: &Piece,
        done: &mut u64,
        restored: &mut Restored,
    ) -> Result<Next, Stopped> {
        let What::Log(run) = piece.what else { return Ok(Next::Done) };
        if run.last <= *done {
            return Ok(Next::Done);
        }
        let entries = piece
            .entries()
            .ok_or_else(|| Stopped::Unread(no_piece(BlobName::of_log(run.first, (0, 0)), "its entries do not read")))?;
        let (mut rows, mut enough) = (Vec::new(), false);
        for entry in entries.into_iter().filter(|entry| entry.sequence > *done) {
            if self.at.is_some_and(|at| entry.at > at) {
                enough = true;
                break;
            }
            restored.until = entry.at;
            restored.last_entry = entry.sequence;
            restored.entries += 1;
            rows.extend(entry.rows);
        }
        write(engine, rows).await?;
        (self.report)(restored.rows + restored.entries);
        restored.until = self.at.map_or(run.until, |at| run.until.min(at)).max(restored.until);
        // What its last entries say nothing of was made after that moment as well.
        if enough || self.at.is_some_and(|at| run.until > at) {
            return Ok(Next::Enough);
        }
        *done = run.last;
        restored.last_entry = run.last;
        Ok(Next::Done)
    }

    async fn open(&self, name: &BlobName, restored: &mut Restored) -> Result<Piece, Unread> {
        let opened = self.shelf.open(self.key, name).await?;
        restored.flaws.extend(opened.flaws);
        Ok(opened.piece)
    }
}

/// What a new life needs to know: sessions and entries are numbered past all that were ever used, and what no row names is
/// kept. A `namespace` is told where no row does.
pub(super) async fn begin(
    engine: &dyn Engine,
    shelf: &Shelf,
    namespace: Option<String>,
    last_session: u64,
) -> Result<(), Fault> {
    // Silos that do not answer now may have names of sessions, and pieces, that nobody knows here.
    let drawn = getrandom::u64().map_err(|error| Fault::Unavailable(error.to_string()))?;
    let leap = SESSION_LEAP + drawn % SESSION_LEAP;
    let top = shelf.names().map(|(name, _)| name.backed_up().1).max().unwrap_or(0);
    let decide = move |rows: &Rows| -> Result<_, Fault> {
        let known: u64 = decode_row(rows.get(&next_session()))?.unwrap_or(0);
        let last = known.max(last_session) + leap;
        let mut writes = vec![
            Write::Put(next_session(), encode(&last)),
            Write::Put(kept(), encode(&(last + 1))),
            Write::Put(log_base(), encode(&(top + LOG_LEAP))),
        ];
        writes.extend(namespace.iter().map(|id| Write::Put(namespace_id(), encode(id))));
        Ok((writes, ()))
    };
    Ok(engine::commit(engine, vec![Read::Row(next_session())], decide).await?)
}

/// Whether a piece of the log that was read shows that another one ended before it: a writer begins where the last piece
/// ended, and one that could not be written is written again with more in it.
fn ends_before(unread: &BlobName, read: &BlobName) -> bool {
    let (before, after) = (unread.backed_up().1, read.backed_up().1);
    before < after || (before == after && unread.extent.0 == read.extent.0)
}

fn no_piece(name: BlobName, reason: &str) -> Unread {
    Unread { name, flaws: vec![reason.to_owned()], other_key: false }
}

/// Writes rows, a transaction's worth at a time. What is written last of a row stands.
async fn write(engine: &dyn Engine, rows: Vec<Changed>) -> Result<(), Fault> {
    let mut rest = rows.into_iter().peekable();
    while rest.peek().is_some() {
        let (mut writes, mut bytes) = (Vec::new(), 0);
        while bytes < INDEX_BATCH_BYTES
            && let Some((key, value)) = rest.next()
        {
            bytes += key.len() + value.as_ref().map_or(0, bytes::Bytes::len);
            writes.push(match value {
                Some(value) => Write::Put(key.into(), value.into()),
                None => Write::Delete(key.into()),
            });
        }
        engine::commit(engine, Vec::new(), move |_| Ok::<_, Fault>((writes.clone(), ()))).await?;
    }
    // Nobody restores from what a restore wrote.
    engine.forget_log(UnixMs::MAX as u64);
    Ok(())
}
