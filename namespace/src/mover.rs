//! One move: journal, copy under a new name, verify, one compare-and-write, retire. After a crash or a lost answer the
//! move is made again; the copy that was left is an orphan. An overwrite or delete during a move wins.

use std::sync::{Arc, OnceLock};

use futures_util::{StreamExt, stream};
use holdall_silos::{BlobName, Body, BodyError, SiloError};

use crate::clock::UnixMs;
use crate::describe::Description;
use crate::digest::{BlockSums, extent_digest};
use crate::engine::{Priority, Read, Rows, Write};
use crate::extent::{JobId, Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::job::{BY_ITSELF, MoveInfo};
use crate::limits::{BACKGROUND_ROWS, BEAT};
use crate::namespace::Core;
use crate::plan::{Move, Step};
use crate::read::ExtentReader;
use crate::reference::retire_replicas;
use crate::session::{Session, Uncommitted, Unfinished};
use crate::table::extents::{ExtentRow, extent, store};
use crate::table::moves::{MoveRow, journal};
use crate::table::packs;
use crate::table::retired::{RetiredRow, retired};
use crate::table::silos::{is_lost, silo as silo_key};
use crate::table::usage::{self, Counted};
use crate::table::{decode_row, encode};

mod drop;
mod pace;
mod packed;

pub use pace::Pacer;
pub(crate) use pace::{Gate, SiloPace};

/// How a move ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// The extent is where it was wished.
    Done,
    /// An overwrite, delete or another move won.
    Superseded,
    /// It can be tried again.
    Failed(String),
    /// The same, and nothing was asked of any silo.
    NotBegun(String),
    /// Another step of the extent is under way here, by itself: what it is to be is seen after that.
    UnderWay,
}

impl Moved {
    /// Why it is to be tried again, where it is.
    pub(crate) fn failure(&self) -> Option<&String> {
        match self {
            Self::Failed(reason) | Self::NotBegun(reason) => Some(reason),
            Self::Done | Self::Superseded | Self::UnderWay => None,
        }
    }
}

const STOPPED: &str = "the job was stopped";

/// What a job gives its moves.
pub(crate) struct Mover<'a> {
    pub core: &'a Arc<Core>,
    pub job: JobId,
    pub pacer: &'a Arc<Pacer>,
    /// A write waits for it: paused silos are of no account.
    pub for_a_write: bool,
    /// Called when the journal row is durable, and with `None` when the move ended.
    pub watch: &'a (dyn Fn(Number, Option<MoveInfo>) + Send + Sync),
}

struct Plan {
    session: Arc<Session>,
    source: Arc<OpenSilo>,
    target: Arc<OpenSilo>,
    from: Location,
    to: BlobName,
    row: ExtentRow,
    description: Option<Description>,
}

/// A verified copy that is to count in place of its source.
pub(crate) struct Copied {
    extent: Number,
    from: (SiloId, Location),
    to: (SiloId, Location),
    job: JobId,
    /// It counts beside its source.
    beside: bool,
    /// Block checksums, where the row has none yet.
    sums: Option<Vec<u64>>,
}

/// Source still verified, extent still live, and the copy's silo not lost since? Then the copy counts and the source does not: what
/// to write for it. `by` names the retirement.
pub(crate) fn relocate(
    copied: &Copied,
    rows: &Rows,
    now: UnixMs,
    by: (Number, u32),
) -> Result<Option<Vec<Write>>, Fault> {
    let Copied { extent: id, from, to, job, beside, sums } = copied;
    let row: Option<ExtentRow> = decode_row(rows.get(&extent(*id)))?;
    let live = |row: &ExtentRow| row.first.is_some() || crate::seeded_bug!("move-blind");
    let Some(mut row) = row.filter(live) else { return Ok(None) };
    let holds = row.verified_in(from.0).is_some_and(|replica| replica.location == from.1);
    let there = to.0 != from.0 && row.verified_in(to.0).is_some() && !crate::seeded_bug!("copy-twice");
    if (!holds && !crate::seeded_bug!("move-blind")) || there {
        return Ok(None);
    }
    if is_lost(rows, to.0)? && !crate::seeded_bug!("move-to-lost") {
        return Ok(None);
    }
    let repairs = from.0 == to.0 && crate::seeded_bug!("repair-retires-others");
    let (replicas, mut writes) = retire_replicas(&mut row, |replica| !beside && (replica.silo == from.0 || repairs));
    writes.extend(usage::add(Counted::Silo(to.0), 1, row.size as i64));
    if !crate::seeded_bug!("pack-uncounted") {
        writes.extend(packs::count(to.0, &to.1, 1));
    }
    let state = ReplicaState::Verified;
    row.replicas.push(Replica { silo: to.0, location: to.1.clone(), state, since: now, job: Some(*job) });
    match sums {
        Some(sums) if !row.is_hashed() => {
            row.digest = extent_digest(sums);
            writes.extend(store(*id, row, sums.clone()));
        }
        _ => writes.push(Write::Put(extent(*id), encode(&row))),
    }
    if !replicas.is_empty() {
        writes.push(Write::Put(retired(now, by.0, by.1), encode(&RetiredRow::Replicas { extent: *id, replicas })));
    }
    writes.push(Write::Delete(journal(*id)));
    Ok(Some(writes))
}

impl Mover<'_> {
    /// Carries out what belongs together: one move, small ones from one silo to another, or what copies nothing. Of what moves by itself
    /// no two steps of an extent at once: orders may be slow, and a write waits for its copies.
    pub(crate) async fn carry_out_all(&self, planned: Vec<Move>) -> Vec<(Move, Moved)> {
        if self.for_a_write || self.job != BY_ITSELF {
            return self.carry_out_mine(planned).await;
        }
        let (claim, mine, others) = self.core.running.claim(planned);
        let mut moved = self.carry_out_mine(mine).await;
        drop(claim);
        moved.extend(others.into_iter().map(|planned| (planned, Moved::UnderWay)));
        moved
    }

    async fn carry_out_mine(&self, mut planned: Vec<Move>) -> Vec<(Move, Moved)> {
        self.wait_while_paused(&planned).await;
        if planned.iter().all(|planned| matches!(planned.step, Step::Drop { .. })) {
            let dropped = self.give_up(&planned).await;
            let dropped = dropped.unwrap_or_else(|fault| vec![Moved::Failed(fault.to_string()); planned.len()]);
            return planned.into_iter().zip(dropped).collect();
        }
        if planned.iter().all(|planned| self.core.is_packed(planned.bytes)) {
            let moved = self.carry_out_together(&planned).await;
            return planned.into_iter().zip(moved).collect();
        }
        let mut moved = Vec::with_capacity(planned.len());
        for planned in planned.drain(..) {
            let outcome = self.carry_out(&planned).await;
            moved.push((planned, outcome));
        }
        moved
    }

    /// The job that a step is part of, or what it is taken for by itself.
    fn counts_for(&self, planned: &Move) -> JobId {
        if self.job == BY_ITSELF { planned.by.unwrap_or(BY_ITSELF) } else { self.job }
    }

    /// Why a move may not begin: its target was cordoned since it was planned, be it to be drained, or takes nothing anyway. What
    /// stays in its silo may.
    fn closed(&self, planned: &Move, target: &OpenSilo) -> Option<String> {
        if target.health() == Health::Down {
            return Some(format!("silo `{}` is down", target.row.name));
        }
        if planned.from != planned.to && !target.takes_bytes() {
            return Some(format!("silo `{}` takes no new bytes", target.row.name));
        }
        target.rests(self.core.clock.monotonic()).filter(|_| !self.for_a_write)
    }

    /// Bytes are read back to be verified; false where none may any more.
    async fn pass_back(&self, target: &OpenSilo, bytes: u64) -> bool {
        let gate = Some(&target.pace.reading).filter(|_| !self.for_a_write);
        self.pacer.pass_back(gate.as_slice(), bytes).await
    }

    /// Waits as long as somebody paused one of the silos, or until the job is stopped.
    async fn wait_while_paused(&self, planned: &[Move]) {
        let is_paused = || {
            let inventory = self.core.inventory();
            let paused = |id: SiloId| inventory.silos.get(&id).is_some_and(|open| open.row.paused && !open.is_lost());
            planned.iter().any(|planned| paused(planned.from) || paused(planned.to))
        };
        while !self.for_a_write && is_paused() && !self.pacer.is_stopped() {
            self.core.clock.sleep(BEAT).await;
        }
    }

    /// Carries one planned move out.
    pub(crate) async fn carry_out(&self, planned: &Move) -> Moved {
        match self.try_move(planned).await {
            Ok(moved) => moved,
            Err(fault) => Moved::Failed(fault.to_string()),
        }
    }

    async fn try_move(&self, planned: &Move) -> Result<Moved, Fault> {
        let session = self.core.session();
        // Before the silos are looked up: whoever takes one out waits for what chose it before.
        let guard = session.take();
        let inventory = self.core.inventory();
        let (source, target) = (Arc::clone(inventory.silo(planned.from)?), Arc::clone(inventory.silo(planned.to)?));
        if let Some(reason) = self.closed(planned, &target) {
            return Ok(Moved::NotBegun(reason));
        }
        let _reading = session.open_read();
        let rows = self.core.engine.get(&[extent(planned.extent)]).await?;
        let Some(row) = decode_row::<ExtentRow>(rows[0].as_ref())? else { return Ok(Moved::Superseded) };
        let Some(replica) = row.verified_in(planned.from) else { return Ok(Moved::Superseded) };
        let from = replica.location.clone();
        if target.room().is_some_and(|room| room < planned.bytes) {
            return Ok(Moved::NotBegun(format!("silo `{}` has no room above its reserve", target.row.name)));
        }
        let number = guard.number;
        let id = planned.extent;
        let written = if crate::seeded_bug!("move-reuses-name") { id } else { number };
        let to = BlobName { session: written.session, number: written.number, extent: (id.session, id.number) };
        let description = self.core.described_anywhere(&source, &from, &row).await;
        let plan = Plan { session, source, target, from, to, row, description };
        self.write_rows(&plan.session, vec![self.note(&plan.session, planned, plan.description.as_ref())]).await?;
        (self.watch)(id, Some(plan.info(planned)));
        let moved = self.copy_and_commit(planned, plan, guard).await;
        (self.watch)(id, None);
        moved
    }

    /// The journal's row of a move.
    fn note(&self, session: &Session, planned: &Move, description: Option<&Description>) -> Write {
        let row = MoveRow {
            job: self.job,
            owner: session.id,
            from: planned.from,
            to: planned.to,
            object: description.map(|own| (own.bucket.clone(), own.key.clone())),
            bytes: planned.bytes,
            started: self.core.clock.now(),
        };
        Write::Put(journal(planned.extent), encode(&row))
    }

    /// Rows of a to-do list: written blindly, a lost answer does no harm.
    async fn write_rows(&self, session: &Session, writes: Vec<Write>) -> Result<(), Fault> {
        for some in writes.chunks(BACKGROUND_ROWS) {
            let (some, priority) = (some.to_vec(), Priority::of(some.len()));
            let decide = move |_: &Rows| Ok::<_, ()>((some.clone(), ()));
            match session.commit_as(priority, Vec::new(), decide).await {
                Ok(()) | Err(Uncommitted::Unknown | Uncommitted::Refused(())) => {}
                Err(Uncommitted::Fault(fault)) => return Err(fault),
            }
        }
        Ok(())
    }

    async fn forget(&self, planned: &Move, plan: &Plan) -> Result<(), Fault> {
        self.write_rows(&plan.session, vec![Write::Delete(journal(planned.extent))]).await
    }

    async fn copy_and_commit(&self, planned: &Move, plan: Plan, guard: Unfinished) -> Result<Moved, Fault> {
        crate::failpoint!("move-journalled");
        let sums = match self.copy(planned, &plan).await {
            Ok(sums) => sums,
            Err(error) => {
                self.forget(planned, &plan).await?;
                return Ok(Moved::Failed(error));
            }
        };
        crate::failpoint!("move-copied");
        let guard = Arc::new(guard);
        let outcome = self.commit(planned, &plan, sums, &guard).await;
        crate::failpoint!("move-committed");
        match outcome {
            Ok(()) => Ok(Moved::Done),
            Err(Uncommitted::Refused(Some(fault)) | Uncommitted::Fault(fault)) => {
                self.forget(planned, &plan).await?;
                Err(fault)
            }
            Err(Uncommitted::Refused(None)) => {
                self.core.discard(&[(planned.to, Location::Blob(plan.to))]).await;
                self.forget(planned, &plan).await?;
                Ok(Moved::Superseded)
            }
            // Done or not, the next pass sees it; a copy that no row names is an orphan.
            Err(Uncommitted::Unknown) => {
                self.forget(planned, &plan).await?;
                Ok(Moved::Failed("the outcome of the commit is unknown".to_owned()))
            }
        }
    }

    /// Copies and verifies: a checksum that the silo enforces, else read back past caches. Answers the checksums of what
    /// had none.
    async fn copy(&self, planned: &Move, plan: &Plan) -> Result<Option<Vec<u64>>, String> {
        let (row, from) = (plan.row.clone(), plan.from.clone());
        let reader = match planned.step {
            // Whichever replica gives it: one may be damaged.
            Step::Move | Step::Copy if row.is_hashed() && row.verified().count() > 1 => {
                ExtentReader::whole(Arc::clone(self.core), planned.extent, row)
            }
            _ => ExtentReader::copy(Arc::clone(self.core), planned.extent, row, planned.from, from),
        };
        let failure = Arc::new(OnceLock::new());
        let silos = [&plan.source, &plan.target].map(Arc::clone);
        let silos = Some(silos).filter(|_| !self.for_a_write);
        let mut body = paced(reader, Arc::clone(self.pacer), silos, Arc::clone(&failure));
        let (mut digest, hashed) = (Arc::new(OnceLock::from(plan.row.digest)), Arc::new(OnceLock::new()));
        if !plan.row.is_hashed() {
            digest = Arc::default();
            body = hashing(body, Arc::clone(&digest), Arc::clone(&hashed));
        }
        let description =
            plan.description.clone().unwrap_or_else(|| self.plain_description(planned, &plan.row, &plan.from));
        let stored = plan.target.silo.put(&plan.to, planned.bytes, body, description.describe(digest)).await;
        let stored = match plan.target.note(stored) {
            Ok(stored) => stored,
            Err(SiloError::Body(error)) => return Err(failure.get().cloned().unwrap_or(error.reason)),
            Err(error) => {
                if matches!(error, SiloError::Unknown { .. }) {
                    self.core.discard(&[(planned.to, Location::Blob(plan.to))]).await;
                }
                plan.target.breaker.failed(&error.to_string(), self.core.clock.monotonic());
                return Err(format!("silo `{}`: {error}", plan.target.row.name));
            }
        };
        plan.target.breaker.worked();
        plan.target.note_written(planned.bytes);
        crate::failpoint!("move-put");
        let sums: Option<Vec<u64>> = hashed.get().cloned();
        if stored.checksum_enforced || crate::seeded_bug!("move-unverified") {
            return Ok(sums);
        }
        let row = match &sums {
            Some(sums) => ExtentRow { blocks: Some(sums.clone()), ..plan.row.clone() },
            None => plan.row.clone(),
        };
        let to = Location::Blob(plan.to);
        let mut back = ExtentReader::verify(Arc::clone(self.core), planned.extent, row, planned.to, to);
        loop {
            let wrong = match back.next().await {
                Ok(Some(bytes)) if self.pass_back(&plan.target, bytes.len() as u64).await => continue,
                Ok(Some(_)) => STOPPED.to_owned(),
                Ok(None) => return Ok(sums),
                Err(fault) => format!("the copy does not read back: {fault}"),
            };
            self.core.discard(&[(planned.to, Location::Blob(plan.to))]).await;
            return Err(wrong);
        }
    }

    /// Of bytes that say nothing of themselves: those of others are said to be the object that they were taken over as.
    fn plain_description(&self, planned: &Move, row: &ExtentRow, from: &Location) -> Description {
        let (object, offset) = match from {
            Location::InPlace { name, offset, .. } => (self.core.taken_over_as(planned.from, name), *offset),
            Location::Blob(_) | Location::Pack { .. } => (None, 0),
        };
        let (bucket, key) = object.unwrap_or_default();
        Description {
            namespace: self.core.id.clone(),
            extent: planned.extent,
            size: planned.bytes,
            bucket,
            key,
            version: row.first.unwrap_or(planned.extent),
            part: 0,
            offset,
            headers: Vec::new(),
            digest: None,
        }
    }

    /// The copy's number stays unfinished while this may still land: the decision holds it, and the caller until the
    /// outcome is settled.
    async fn commit(
        &self,
        planned: &Move,
        plan: &Plan,
        sums: Option<Vec<u64>>,
        guard: &Arc<Unfinished>,
    ) -> Result<(), Uncommitted<Option<Fault>>> {
        let (from, to) = ((planned.from, plan.from.clone()), (planned.to, Location::Blob(plan.to)));
        let beside = planned.step == Step::Copy;
        let copied = Copied { extent: planned.extent, from, to, job: self.counts_for(planned), beside, sums };
        let (now, held) = (self.core.clock.now(), Arc::clone(guard));
        let decide = move |rows: &Rows| match relocate(&copied, rows, now, (held.number, 0)) {
            Ok(Some(writes)) => Ok((writes, ())),
            Ok(None) => Err(None),
            Err(fault) => Err(Some(fault)),
        };
        let reads = vec![Read::Row(extent(planned.extent)), Read::Row(silo_key(planned.to))];
        plan.session.commit(reads, decide).await
    }
}

impl Plan {
    fn info(&self, planned: &Move) -> MoveInfo {
        MoveInfo {
            extent: planned.extent.to_string(),
            bucket: self.description.as_ref().map(|own| own.bucket.clone()),
            key: self.description.as_ref().map(|own| own.key.clone()),
            from: self.source.row.name.clone(),
            to: self.target.row.name.clone(),
            bytes: planned.bytes,
        }
    }
}

/// The source's checked bytes, at the pace of the job, and of both silos where nobody waits.
fn paced(
    reader: ExtentReader,
    pacer: Arc<Pacer>,
    silos: Option<[Arc<OpenSilo>; 2]>,
    failure: Arc<OnceLock<String>>,
) -> Body {
    let state = (reader, pacer, silos, failure);
    let pieces = stream::try_unfold(state, |(mut reader, pacer, silos, failure)| async move {
        match reader.next().await {
            Ok(None) => Ok(None),
            Ok(Some(bytes)) => {
                let gates = silos.iter().flat_map(|[from, to]| [&from.pace.reading, &to.pace.writing]);
                let gates: Vec<&Gate> = gates.collect();
                if pacer.pass_with(&gates, bytes.len() as u64).await {
                    return Ok(Some((bytes, (reader, pacer, silos, failure))));
                }
                Err(BodyError { reason: STOPPED.to_owned() })
            }
            Err(fault) => {
                let reason = format!("the source cannot be read: {fault}");
                let _ = failure.set(reason.clone());
                Err(BodyError { reason })
            }
        }
    });
    pieces.boxed()
}

/// The same bytes; their checksums are set before the end.
fn hashing(body: Body, digest: Arc<OnceLock<[u8; 32]>>, hashed: Arc<OnceLock<Vec<u64>>>) -> Body {
    let state = (body, Some(BlockSums::default()), digest, hashed);
    let pieces = stream::try_unfold(state, |(mut body, mut sums, digest, hashed)| async move {
        if let Some(bytes) = body.next().await.transpose()? {
            if let Some(sums) = &mut sums {
                sums.update(&bytes);
            }
            return Ok(Some((bytes, (body, sums, digest, hashed))));
        }
        if let Some(sums) = sums.map(BlockSums::finish) {
            let _ = digest.set(extent_digest(&sums));
            let _ = hashed.set(sums);
        }
        Ok(None)
    });
    pieces.boxed()
}
