//! Small extents move together, pack to pack: few reads, one group, and commits of many that each look at every one.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_silos::SiloError;

use crate::describe::Description;
use crate::digest::{block_sum, extent_digest};
use crate::engine::{Priority, Read, Rows, Write};
use crate::extent::Location;
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::job::MoveInfo;
use crate::limits::{BACKGROUND_ROWS, MOVES_AT_ONCE};
use crate::mover::{Copied, Gate, Moved, Mover, relocate};
use crate::pack::{Packed, Record, Wanted, fetch, unpack};
use crate::plan::{Move, Step};
use crate::read::ExtentReader;
use crate::session::{Session, Uncommitted, Unfinished};
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};
use crate::table::moves::journal;
use crate::table::silos::silo as silo_key;

/// Moves of one commit: each writes an extent, a retirement, its journal's end and counters.
const COMMITTED_TOGETHER: usize = BACKGROUND_ROWS / 4;

/// Between which silos, and for whose session.
struct Way {
    session: Arc<Session>,
    /// Unfinished as long as any of it may still land; names what is retired.
    guard: Arc<Unfinished>,
    source: Arc<OpenSilo>,
    target: Arc<OpenSilo>,
}

/// One of the extents.
struct Lot {
    planned: Move,
    row: ExtentRow,
    from: Location,
    /// Its checksum was not known before.
    hashed: bool,
    outcome: Moved,
}

impl Mover<'_> {
    /// Carries out moves of small extents, all from one silo to one, each with its own outcome.
    pub(crate) async fn carry_out_together(&self, planned: &[Move]) -> Vec<Moved> {
        let moved = self.try_together(planned).await;
        moved.unwrap_or_else(|fault| vec![Moved::Failed(fault.to_string()); planned.len()])
    }

    async fn try_together(&self, planned: &[Move]) -> Result<Vec<Moved>, Fault> {
        let Some(first) = planned.first() else { return Ok(Vec::new()) };
        let session = self.core.session();
        // Before the silos are looked up: whoever takes one out waits for what chose it before.
        let guard = Arc::new(session.take());
        let inventory = self.core.inventory();
        let (source, target) = (Arc::clone(inventory.silo(first.from)?), Arc::clone(inventory.silo(first.to)?));
        let way = Way { session, guard, source, target };
        let _reading = way.session.open_read();
        let bytes: u64 = planned.iter().map(|planned| planned.bytes).sum();
        if first.from != first.to && way.target.room().is_some_and(|room| room < bytes) {
            let full = Moved::NotBegun(format!("silo `{}` has no room above its reserve", way.target.row.name));
            return Ok(vec![full; planned.len()]);
        }
        if let Some(reason) = self.closed(first, &way.target) {
            return Ok(vec![Moved::NotBegun(reason); planned.len()]);
        }
        let keys: Vec<_> = planned.iter().map(|planned| extent(planned.extent)).collect();
        let rows = self.core.engine.get(&keys).await?;
        let mut lots = Vec::with_capacity(planned.len());
        for (planned, row) in planned.iter().zip(rows) {
            lots.push(Lot::of(planned, row.as_ref()));
        }
        let mut there: Vec<&mut Lot> = lots.iter_mut().flatten().collect();
        self.carry(&way, &mut there).await?;
        Ok(lots.into_iter().map(|lot| lot.map_or_else(|outcome| outcome, |lot| lot.outcome)).collect())
    }

    /// From the journal to the last commit. Whatever happens, nothing of it stays in the journal.
    async fn carry(&self, way: &Way, lots: &mut [&mut Lot]) -> Result<(), Fault> {
        let noted = lots.iter().map(|lot| self.note(&way.session, &lot.planned, None)).collect();
        self.write_rows(&way.session, noted).await?;
        for lot in lots.iter() {
            (self.watch)(lot.planned.extent, Some(way.info(&lot.planned)));
        }
        let carried = self.copy_and_commit_together(way, lots).await;
        let left = lots.iter().filter(|lot| lot.outcome != Moved::Done);
        let forgotten =
            self.write_rows(&way.session, left.map(|lot| Write::Delete(journal(lot.planned.extent))).collect());
        let forgotten = forgotten.await;
        for lot in lots.iter() {
            (self.watch)(lot.planned.extent, None);
        }
        carried.and(forgotten)
    }

    async fn copy_and_commit_together(&self, way: &Way, lots: &mut [&mut Lot]) -> Result<(), Fault> {
        crate::failpoint!("move-journalled");
        let mut copied = self.copy_together(way, lots).await;
        crate::failpoint!("move-copied");
        while !copied.is_empty() {
            let rest = copied.split_off(copied.len().min(COMMITTED_TOGETHER));
            self.commit_together(way, lots, copied).await?;
            copied = rest;
        }
        crate::failpoint!("move-committed");
        Ok(())
    }

    /// Reads, packs and verifies; answers what was copied, by its place among the lots.
    async fn copy_together(&self, way: &Way, lots: &mut [&mut Lot]) -> Vec<(usize, Packed)> {
        let taken = self.take(way, lots).await;
        let (mut at, mut records) = (Vec::new(), Vec::new());
        for (index, taken) in taken.into_iter().enumerate() {
            match taken {
                Ok((description, bytes)) => {
                    lots[index].hash(&bytes);
                    at.push(index);
                    records.push(Record::new(&description, bytes));
                }
                Err(reason) => lots[index].outcome = Moved::Failed(format!("the source cannot be read: {reason}")),
            }
        }
        let bytes = at.iter().map(|index| lots[*index].planned.bytes).sum();
        let gates = [&way.source.pace.reading, &way.target.pace.writing];
        let gates: &[&Gate] = if self.for_a_write { &[] } else { &gates };
        if !self.pacer.pass_with(gates, bytes).await {
            for lot in lots.iter_mut() {
                lot.outcome = Moved::Failed(super::STOPPED.to_owned());
            }
            return Vec::new();
        }
        let packed = self.core.pack_all(&way.session, &way.target, records).await;
        crate::failpoint!("move-put");
        match packed.iter().find_map(|packed| packed.as_ref().err()) {
            Some(error) => way.target.breaker.failed(&error.to_string(), self.core.clock.monotonic()),
            None => way.target.breaker.worked(),
        }
        let mut copied = Vec::with_capacity(at.len());
        for (index, packed) in at.into_iter().zip(packed) {
            match packed {
                Ok(packed) => copied.push((index, packed)),
                Err(error) => {
                    lots[index].outcome = Moved::Failed(format!("silo `{}`: {error}", way.target.row.name));
                }
            }
        }
        self.verify(way, lots, copied).await
    }

    /// The extents' checked bytes and what they say of themselves.
    async fn take(&self, way: &Way, lots: &[&mut Lot]) -> Vec<Result<(Description, Bytes), String>> {
        let mut taken: Vec<_> = lots.iter().map(|_| Err(String::new())).collect();
        let (mut packed, mut wanted, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for (at, lot) in lots.iter().enumerate() {
            match Wanted::at(&lot.from) {
                Some(record) => {
                    packed.push(at);
                    wanted.push(record);
                }
                None => alone.push(at),
            }
        }
        for (at, record) in packed.into_iter().zip(fetch(&way.source, &wanted, false).await) {
            taken[at] = record.map_err(|error| error.to_string()).and_then(|record| lots[at].check(&record));
            // Another replica may be whole.
            if taken[at].is_err() && lots[at].row.verified().count() > 1 {
                alone.push(at);
            }
        }
        let alone = stream::iter(alone).map(|at| async move { (at, self.take_alone(way, &*lots[at]).await) });
        let alone: Vec<_> = alone.buffer_unordered(MOVES_AT_ONCE).collect().await;
        for (at, bytes) in alone {
            taken[at] = bytes;
        }
        taken
    }

    /// Of an extent that shares nothing.
    async fn take_alone(&self, way: &Way, lot: &Lot) -> Result<(Description, Bytes), String> {
        let (id, row, at) = (lot.planned.extent, lot.row.clone(), lot.planned.from);
        let core = Arc::clone(self.core);
        let mut reader = if row.is_hashed() && row.verified().count() > 1 {
            ExtentReader::whole(core, id, row)
        } else {
            ExtentReader::copy(core, id, row, at, lot.from.clone())
        };
        let bytes = reader.next().await.map_err(|fault| fault.to_string())?.unwrap_or_default();
        let description = self.core.described_anywhere(&way.source, &lot.from, &lot.row).await;
        let description = description.unwrap_or_else(|| self.plain_description(&lot.planned, &lot.row, &lot.from));
        let digest = if lot.row.is_hashed() { lot.row.digest } else { extent_digest(&[block_sum(&bytes)]) };
        Ok((Description { digest: Some(digest), ..description }, bytes))
    }

    /// Reads back past caches what no checksum vouches for.
    async fn verify(&self, way: &Way, lots: &mut [&mut Lot], mut copied: Vec<(usize, Packed)>) -> Vec<(usize, Packed)> {
        if copied.iter().all(|(_, packed)| packed.checksum_enforced) || crate::seeded_bug!("move-unverified") {
            return copied;
        }
        let bytes = copied.iter().map(|(at, _)| lots[*at].planned.bytes).sum();
        if !self.pass_back(&way.target, bytes).await {
            for (at, _) in copied {
                lots[at].outcome = Moved::Failed(super::STOPPED.to_owned());
            }
            return Vec::new();
        }
        let wanted: Vec<Wanted> = copied.iter().filter_map(|(_, packed)| Wanted::at(&packed.location)).collect();
        let back = fetch(&way.target, &wanted, true).await;
        let mut back = back.into_iter();
        copied.retain(|(at, _)| {
            let read = back.next().unwrap_or(Err(SiloError::Missing)).map_err(|error| error.to_string());
            match read.and_then(|record| lots[*at].check(&record)) {
                Ok(_) => true,
                Err(reason) => {
                    lots[*at].outcome = Moved::Failed(format!("the copy does not read back: {reason}"));
                    false
                }
            }
        });
        copied
    }

    /// One commit that looks at each extent as a single move does, and leaves out those that somebody was faster with.
    async fn commit_together(
        &self,
        way: &Way,
        lots: &mut [&mut Lot],
        copied: Vec<(usize, Packed)>,
    ) -> Result<(), Fault> {
        let by = Arc::clone(&way.guard);
        let moves: Vec<(u32, Copied)> =
            copied.iter().map(|(at, packed)| (*at as u32, lots[*at].copied(self, packed))).collect();
        let held: Vec<Arc<Unfinished>> = copied.iter().map(|(_, packed)| Arc::clone(&packed.guard)).collect();
        let rows = moves.iter().map(|(_, copied)| extent(copied.extent));
        let reads = rows.chain([silo_key(way.target.id)]).map(Read::Row).collect();
        let (now, number) = (self.core.clock.now(), by.number);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let (mut writes, mut done) = (Vec::new(), Vec::with_capacity(moves.len()));
            for (index, copied) in &moves {
                done.push(match relocate(copied, rows, now, (number, *index)) {
                    Ok(Some(moved)) => {
                        writes.extend(moved);
                        Moved::Done
                    }
                    Ok(None) => Moved::Superseded,
                    Err(fault) => Moved::Failed(fault.to_string()),
                });
            }
            let _held = (&held, &by);
            Ok::<_, Fault>((writes, done))
        };
        match way.session.commit_as(Priority::Background, reads, decide).await {
            Ok(done) => {
                for ((at, _), done) in copied.iter().zip(done) {
                    lots[*at].outcome = done;
                }
                Ok(())
            }
            Err(Uncommitted::Unknown) => {
                // Done or not, the next pass sees it.
                for (at, _) in &copied {
                    lots[*at].outcome = Moved::Failed("the outcome of the commit is unknown".to_owned());
                }
                Ok(())
            }
            Err(Uncommitted::Refused(fault) | Uncommitted::Fault(fault)) => Err(fault),
        }
    }
}

impl Lot {
    /// None where there is nothing to be moved, or where its row does not read.
    fn of(planned: &Move, row: Option<&Bytes>) -> Result<Self, Moved> {
        let row: Option<ExtentRow> = decode_row(row).map_err(|fault| Moved::Failed(fault.to_string()))?;
        let row = row.ok_or(Moved::Superseded)?;
        let from = row.verified_in(planned.from).ok_or(Moved::Superseded)?.location.clone();
        Ok(Self { planned: planned.clone(), row, from, hashed: false, outcome: Moved::Superseded })
    }

    /// Notes the checksum of bytes that had none.
    fn hash(&mut self, bytes: &Bytes) {
        if !self.row.is_hashed() {
            self.row.blocks = Some(vec![block_sum(bytes)]);
            self.hashed = true;
        }
    }

    /// The record is this extent's, whole and right.
    fn check(&self, record: &Bytes) -> Result<(Description, Bytes), String> {
        let damaged = || "the record is damaged".to_owned();
        let (description, payload) = unpack(record).ok_or_else(damaged)?;
        let sums = self.row.blocks.as_deref().unwrap_or_default();
        let right = description.extent == self.planned.extent
            && payload.len() as u64 == self.row.size
            && (sums == [block_sum(&payload)] || crate::seeded_bug!("record-unchecked"));
        right.then_some((description, payload)).ok_or_else(damaged)
    }

    fn copied(&self, mover: &Mover<'_>, packed: &Packed) -> Copied {
        Copied {
            extent: self.planned.extent,
            from: (self.planned.from, self.from.clone()),
            to: (self.planned.to, packed.location.clone()),
            job: mover.counts_for(&self.planned),
            beside: self.planned.step == Step::Copy,
            sums: self.row.blocks.clone().filter(|_| self.hashed),
        }
    }
}

impl Way {
    fn info(&self, planned: &Move) -> MoveInfo {
        MoveInfo {
            extent: planned.extent.to_string(),
            bucket: None,
            key: None,
            from: self.source.row.name.clone(),
            to: self.target.row.name.clone(),
            bytes: planned.bytes,
        }
    }
}
