//! Running jobs: taken by a gateway, walked pass by pass until nothing is left to move, noted down as they go.

use std::collections::{BTreeMap, HashSet};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::{Key, Rows, Write};
use crate::extent::{JobId, Number, SiloId};
use crate::fault::Fault;
use crate::job::failed::Failed;
use crate::job::walk::{Found, Walk};
use crate::job::{BY_ITSELF, JobInfo, JobState, MoveInfo, Order, OrderError};
use crate::limits::{JOB_NOTE, MAX_COPIES, MOVED_BYTES, MOVED_TOGETHER, MOVES_AT_ONCE, SORTED_TOGETHER};
use crate::mover::{Moved, Mover, Pacer};
use crate::namespace::Core;
use crate::pack::Wanted;
use crate::plan::{Move, Step, plan};
use crate::price::Money;
use crate::sweep::live_sessions;
use crate::table::moves::{MoveRow, journal};
use crate::table::packs;
use crate::table::usage::{self, Counted};
use crate::table::{after_prefix, decode, key};

mod claim;
mod pass;
mod patience;
mod scrub;
mod standing;
mod take;

use pass::Pass;
pub(crate) use standing::{Standing, Steps};

/// How long a stopped job waits for its moves to end.
const REST: Duration = Duration::from_secs(10);
const REST_LOOK: Duration = Duration::from_millis(10);

/// Steps that objectives may ask of an extent, one after the other.
const STEPS: u32 = 2 * MAX_COPIES + 1;

/// The jobs that run in this gateway. Locks are held for a few instructions.
#[derive(Default)]
pub struct Running {
    jobs: Mutex<BTreeMap<JobId, Arc<Live>>>,
    /// Steps of theirs that failed.
    pub(super) failed: Failed,
    /// Extents that a step is under way of.
    claimed: Mutex<HashSet<Number>>,
}

/// A job under way.
struct Live {
    info: Mutex<JobInfo>,
    moves: Mutex<BTreeMap<Number, MoveInfo>>,
    /// Moves that ended, and of which nobody said yet how.
    ended: Mutex<BTreeMap<Number, MoveInfo>>,
    /// Cancelled, or this gateway ends.
    stop: CancellationToken,
    /// A write waits for it.
    for_a_write: bool,
    /// Another life takes it up.
    handed_on: AtomicBool,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Live {
    fn new(info: JobInfo) -> Self {
        Self {
            info: Mutex::new(info),
            moves: Mutex::default(),
            ended: Mutex::default(),
            stop: CancellationToken::new(),
            for_a_write: false,
            handed_on: AtomicBool::new(false),
            task: Mutex::default(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut JobInfo)) {
        change(&mut self.info.lock().expect("no holder panics"));
    }

    fn info(&self) -> JobInfo {
        self.info.lock().expect("no holder panics").clone()
    }

    /// A move begins, or ended: then what was said of it when it began.
    fn watch(&self, extent: Number, info: Option<MoveInfo>) -> Option<MoveInfo> {
        let mut moves = self.moves.lock().expect("no holder panics");
        match info {
            Some(info) => {
                moves.insert(extent, info);
                None
            }
            None => moves.remove(&extent),
        }
    }

    /// Waits, for a while, until no move is under way: a stopped one ends at its next piece and cleans up behind itself.
    async fn rest(&self, clock: &dyn Clock) {
        let rested = async {
            while !self.moves.lock().expect("no holder panics").is_empty() {
                clock.sleep(REST_LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = rested => {}
            () = clock.sleep(REST) => {}
        }
    }
}

impl Running {
    /// How far came what moves without an order; none where nothing does.
    pub(crate) fn standing(&self) -> Option<JobInfo> {
        self.get(BY_ITSELF).map(|live| live.info())
    }

    /// Ends what moves without an order, and waits for it a while.
    pub(crate) async fn rest(&self, clock: &dyn Clock) {
        if let Some(live) = self.get(BY_ITSELF) {
            live.stop.cancel();
            live.rest(clock).await;
        }
    }

    fn add(&self, info: JobInfo) -> Arc<Live> {
        let live = Arc::new(Live::new(info));
        let mut all = self.jobs.lock().expect("no holder panics");
        all.insert(live.info().id, Arc::clone(&live));
        live
    }

    fn get(&self, id: JobId) -> Option<Arc<Live>> {
        self.jobs.lock().expect("no holder panics").get(&id).cloned()
    }

    /// The newest numbers of a job, if it runs here.
    pub(crate) fn latest(&self, stored: JobInfo) -> JobInfo {
        match self.get(stored.id) {
            Some(live) if stored.is_active() => live.info(),
            _ => stored,
        }
    }

    /// Moves under way.
    pub(crate) fn moves(&self, id: JobId) -> Vec<MoveInfo> {
        let live = self.get(id);
        live.map(|live| live.moves.lock().expect("no holder panics").values().cloned().collect()).unwrap_or_default()
    }

    /// Nothing is to move by itself: what failed is tried by nobody any more.
    pub(crate) fn nothing_fails(&self) {
        self.failed.forget_job(BY_ITSELF);
    }

    /// How many moves are under way, of all jobs.
    pub(crate) fn moves_running(&self) -> u64 {
        let jobs = self.jobs.lock().expect("no holder panics");
        jobs.values().map(|live| live.moves.lock().expect("no holder panics").len() as u64).sum()
    }

    /// The journal's rows of the moves under way here.
    fn journal(&self) -> HashSet<Key> {
        let jobs: Vec<Arc<Live>> = self.jobs.lock().expect("no holder panics").values().cloned().collect();
        let moves = |live: &Arc<Live>| live.moves.lock().expect("no holder panics").keys().copied().collect::<Vec<_>>();
        jobs.iter().flat_map(moves).map(journal).collect()
    }

    /// Waits until a job does not run here any more.
    pub(crate) async fn gone(&self, id: JobId) {
        while self.get(id).is_some() {
            tokio::time::sleep(REST_LOOK).await;
        }
    }

    /// Tells a job to stop.
    pub(crate) fn cancel(&self, id: JobId) {
        if let Some(live) = self.get(id) {
            live.stop.cancel();
        }
    }
}

impl Core {
    async fn run_job(self: Arc<Self>, live: Arc<Live>) {
        let outcome = {
            let (mut work, note) = (pin!(self.work_patiently(&live)), self.note_forever(&live));
            tokio::select! {
                biased;
                outcome = &mut work => outcome,
                () = note => Ok(JobState::Failed),
                () = live.stop.cancelled() => {
                    tokio::select! {
                        biased;
                        _ = work => {}
                        () = live.rest(&*self.clock) => {}
                    }
                    Ok(JobState::Cancelled)
                }
            }
        };
        if live.handed_on.load(Ordering::Acquire) {
            return;
        }
        let mut ended = live.info();
        let now = self.clock.now();
        // Whoever stopped it said what became of it.
        let stopped = matches!(outcome, Ok(JobState::Cancelled));
        match outcome {
            Ok(state) => {
                ended.state = state;
                ended.finished = ended.finished.or(Some(now));
            }
            Err(error) => {
                ended.state = JobState::Failed;
                ended.error = Some(error.to_string());
                ended.finished = Some(now);
            }
        }
        let (id, state) = (ended.id, ended.state);
        if let Err(fault) = self.forget_moves(Some(id)).await {
            tracing::warn!(job = id, %fault, "a job's journal was not cleared");
        }
        if let Err(fault) = self.note(ended, stopped).await {
            tracing::warn!(job = id, %fault, "a job's end was not noted");
        }
        self.running.jobs.lock().expect("no holder panics").remove(&id);
        if state != JobState::Failed {
            self.running.failed.forget_job(id);
        }
        tracing::info!(job = id, ?state, "job ended");
    }

    async fn note_forever(&self, live: &Live) {
        loop {
            self.clock.sleep(JOB_NOTE).await;
            match self.note(live.info(), false).await {
                Ok(true) => {}
                // Cancelled or paused through another gateway.
                Ok(false) => live.stop.cancel(),
                Err(fault) => tracing::debug!(%fault, "a job's progress was not noted"),
            }
        }
    }

    /// Writes down how far a job came; one that was cancelled or paused stays so, and of one that was stopped
    /// stands in its row what for. Answers whether it goes on.
    async fn note(&self, info: JobInfo, stopped: bool) -> Result<bool, Fault> {
        let noted = self.change_job(info.id, move |row| {
            let halted = stopped || matches!(row.info.state, JobState::Cancelled | JobState::Paused);
            let (state, finished) = (row.info.state, row.info.finished);
            row.info = info.clone();
            if halted {
                row.info.state = state;
                row.info.finished = finished;
            }
        });
        Ok(noted.await?.is_some_and(|info| !matches!(info.state, JobState::Cancelled | JobState::Paused)))
    }

    async fn work(self: &Arc<Self>, live: &Arc<Live>) -> Result<JobState, OrderError> {
        let info = live.info();
        self.wish(&info.order)?;
        self.forget_moves(Some(info.id)).await?;
        if info.state == JobState::Running {
            // Ordered through another gateway, perhaps, which cordoned the source a moment ago.
            self.refresh_inventory(false).await?;
            if self.is_reopened(&info.order) {
                return Ok(JobState::Reopened);
            }
            if let Order::Scrub { silo } = &info.order {
                return self.scrub(live, silo).await;
            }
            let summary = self.summarize(&info.order, None).await?;
            live.change(|info| {
                info.planned_objects = info.moved_objects + summary.objects;
                info.planned_bytes = info.moved_bytes + summary.bytes;
            });
            self.move_all(live, &info.order).await?;
            if live.stop.is_cancelled() {
                return Ok(JobState::Cancelled);
            }
            if matches!(info.order, Order::Lost { .. }) && self.is_reopened(&info.order) {
                return Ok(JobState::Reopened);
            }
            crate::failpoint!("job-moved");
            // Written down before anybody is told: orders are taken that contradict this one.
            let done = JobInfo { state: JobState::Done, finished: Some(self.clock.now()), ..live.info() };
            self.note(done.clone(), false).await?;
            crate::failpoint!("job-done");
            live.change(|info| *info = done);
        }
        match &info.order {
            Order::Place { .. }
            | Order::Align { .. }
            | Order::Undo { .. }
            | Order::Lost { .. }
            | Order::Scrub { .. } => Ok(JobState::Done),
            Order::Drain { from, .. } => self.wait_empty(from).await,
        }
    }

    /// Passes until one finds nothing to move. The last pass over a silo that takes no more, or that a switch copied to, begins
    /// after every write that chose it before has ended.
    async fn move_all(self: &Arc<Self>, live: &Arc<Live>, order: &Order) -> Result<(), OrderError> {
        let pacer = Arc::new(Pacer::new(Arc::clone(&self.clock), live.info().pace.bytes_per_second, live.stop.clone()));
        let once = !matches!(order, Order::Drain { .. } | Order::Undo { .. } | Order::Lost { .. });
        let (mut fruitless, mut settled, mut passes, mut stayed) = (0, once, 0, 0);
        loop {
            self.wait_while_down(live, order).await;
            // What objectives bring back to a silo that was found stays there.
            if matches!(order, Order::Lost { .. }) && self.is_reopened(order) {
                return Ok(());
            }
            let mut walk = Walk::begin(self, order).await?;
            let pass = self.one_pass(live, &mut walk, &pacer).await?;
            live.change(|info| info.refused = walk.refused());
            if live.stop.is_cancelled() {
                return Ok(());
            }
            if pass.outdated {
                continue;
            }
            passes += 1;
            if pass.planned == 0 {
                let stay = if matches!(order, Order::Drain { .. }) { walk.refused() } else { 0 };
                if stay == 0 && (settled || crate::seeded_bug!("drain-unsettled")) {
                    return Ok(());
                }
                self.settle().await?;
                settled = true;
                if stay == 0 {
                    continue;
                }
                // Objectives that forbid it there may want it elsewhere than where it is.
                live.change(|info| info.error = Some(format!("objectives forbid {stay} extents to go there")));
                fruitless = if stay == stayed { fruitless + 1 } else { 0 };
                stayed = stay;
                self.give_up_after(fruitless, live).await?;
                continue;
            }
            // What objectives want may take several steps, and others may want it elsewhere again.
            let more = matches!(order, Order::Align { .. }) && passes < STEPS;
            let more = more || (pass.overtaken > 0 && passes < STEPS);
            if once && !more && pass.failed == 0 {
                return Ok(());
            }
            fruitless = if pass.moved == 0 && pass.failed > 0 { fruitless + 1 } else { 0 };
            if pass.failed > 0 {
                // What is away comes back, however long that takes.
                self.give_up_after(if pass.down { fruitless.min(patience::FRUITLESS - 1) } else { fruitless }, live)
                    .await?;
            }
        }
    }

    /// Carries out what a walk finds.
    async fn one_pass(
        self: &Arc<Self>,
        live: &Arc<Live>,
        walk: &mut Walk,
        pacer: &Arc<Pacer>,
    ) -> Result<Pass, OrderError> {
        // How it ended is asked for.
        let watch = |extent, info: Option<MoveInfo>| {
            let ended = live.watch(extent, info).map(|info| (extent, info));
            live.ended.lock().expect("no holder panics").extend(ended);
        };
        let (info, began) = (live.info(), self.clock.now());
        let mover = Mover { core: self, job: info.id, pacer, for_a_write: live.for_a_write, watch: &watch };
        let (mut pass, mut small) = (Pass::default(), Vec::new());
        let at_once = info.pace.concurrency.unwrap_or(MOVES_AT_ONCE).max(1);
        loop {
            let page = walk.next(self).await?;
            let ended = page.is_none();
            let mut work = self.sort_out(page.unwrap_or_default(), &mut small, &mut pass);
            if ended || small.len() >= SORTED_TOGETHER {
                work.extend(batches(std::mem::take(&mut small)));
            }
            let revision = walk.revision();
            let declared = || revision.is_some_and(|revision| revision != self.inventory().revision);
            // Of a page of large extents, hours have an end.
            let ends_at = walk.ends_at(self);
            let ended_by_time = || ends_at.is_some_and(|at| self.clock.monotonic() >= at);
            let goes_on = || !declared() && !ended_by_time() && !live.stop.is_cancelled();
            let mover = &mover;
            let wanted = stream::iter(work).take_while(|_| std::future::ready(goes_on()));
            let moves = wanted.map(|work| async move { mover.carry_out_all(work).await });
            let mut moves = moves.buffer_unordered(at_once);
            while let Some(moved) = moves.next().await {
                for (planned, outcome) in moved {
                    pass.note(&planned, &outcome);
                    // What was given up since the job was stopped did not fail.
                    if outcome.failure().is_some() && live.stop.is_cancelled() {
                        continue;
                    }
                    self.count_move(live, &outcome, &planned, &mut pass);
                }
            }
            if ended || live.stop.is_cancelled() {
                pass.outdated = walk.is_outdated();
                self.give_back(pass.aside.values().copied().sum(), began).await?;
                return Ok(pass);
            }
        }
    }

    /// What is to be moved of a page: large extents each for itself, small ones are kept until there are many.
    fn sort_out(&self, page: Vec<Found>, small: &mut Vec<Small>, pass: &mut Pass) -> Vec<Vec<Move>> {
        let (mut alone, mut dropped) = (Vec::new(), Vec::new());
        for Found { id, row, wish, by, aside } in page {
            if aside != Money::ZERO {
                pass.aside.insert(id, aside);
            }
            let Some(planned) = wish.and_then(|wish| plan(wish, id, &row)) else { continue };
            let planned = Move { by, ..planned };
            pass.planned += 1;
            if matches!(planned.step, Step::Drop { .. }) {
                dropped.push(planned);
            } else if self.is_packed(planned.bytes) {
                let place = row.verified_in(planned.from).and_then(|own| Wanted::at(&own.location));
                small.push(((planned.from, planned.to), place, planned));
            } else {
                alone.push(vec![planned]);
            }
        }
        if !dropped.is_empty() {
            alone.push(dropped);
        }
        alone
    }

    fn count_move(&self, live: &Live, outcome: &Moved, planned: &Move, pass: &mut Pass) {
        let bytes = if matches!(planned.step, Step::Drop { .. }) { 0 } else { planned.bytes };
        live.change(|info| match outcome {
            Moved::Done => {
                info.moved_objects += 1;
                info.moved_bytes += bytes;
                info.planned_objects = info.planned_objects.max(info.moved_objects);
                info.planned_bytes = info.planned_bytes.max(info.moved_bytes);
            }
            Moved::Superseded => info.superseded += 1,
            Moved::UnderWay => {}
            Moved::Failed(reason) | Moved::NotBegun(reason) => {
                info.failed += 1;
                info.error = Some(reason.clone());
            }
        });
        let ended = live.ended.lock().expect("no holder panics").remove(&planned.extent);
        match outcome {
            Moved::Done | Moved::Superseded => self.running.failed.forget(planned.extent),
            Moved::UnderWay => {}
            Moved::Failed(reason) | Moved::NotBegun(reason) => {
                let info = ended.unwrap_or_else(|| self.inventory().move_info(planned));
                self.running.failed.note(planned, info, live.info().id, reason, self.clock.now());
            }
        }
        self.stats.add(|stats| match outcome {
            Moved::Done => {
                stats.moves_done += 1;
                stats.moved_bytes += bytes;
            }
            Moved::Superseded => stats.moves_superseded += 1,
            Moved::UnderWay => {}
            Moved::Failed(_) | Moved::NotBegun(_) => stats.moves_failed += 1,
        });
        match outcome {
            Moved::Done => pass.moved += 1,
            Moved::Superseded | Moved::UnderWay => pass.overtaken += 1,
            Moved::Failed(reason) | Moved::NotBegun(reason) => {
                pass.failed += 1;
                // What is given up is asked for at those who keep it.
                let is_drop = matches!(planned.step, Step::Drop { .. });
                pass.down |= self.is_away(planned.from) || self.is_away(planned.to) || (is_drop && self.is_any_down());
                // One line a pass: a target that is down fails every move.
                if pass.failed == 1 {
                    tracing::warn!(extent = %planned.extent, reason, "move failed");
                }
            }
        }
    }

    /// Waits until every gateway works by the settings of now, and every number taken before is finished.
    pub(crate) async fn settle(&self) -> Result<(), Fault> {
        let revision = self.inventory().revision;
        let mut waited_for: Option<Vec<(u64, u64)>> = None;
        loop {
            let live = live_sessions(&*self.engine).await?;
            match &waited_for {
                None if live.iter().all(|(_, row)| row.revision >= revision) => {
                    waited_for = Some(live.iter().map(|(id, row)| (*id, row.next)).collect());
                }
                None => {}
                Some(noted) => {
                    let ended = |(id, next): &(u64, u64)| {
                        live.iter().find(|(other, _)| other == id).is_none_or(|(_, row)| row.floor >= *next)
                    };
                    if noted.iter().all(ended) {
                        return Ok(());
                    }
                }
            }
            self.clock.sleep(crate::limits::BEAT).await;
        }
    }

    /// Waits until nothing of ours is left in a silo, or it takes writes again: the sweeps do the work.
    async fn wait_empty(&self, silo: &str) -> Result<JobState, OrderError> {
        loop {
            let found = self.inventory().named(silo).map(|open| (open.id, open.row.cordoned));
            let (id, cordoned) = found.ok_or_else(|| OrderError::NoSuchSilo(silo.to_owned()))?;
            let keys = [usage::keys(Counted::Silo(id))[0].clone(), usage::keys(Counted::Retired(id))[0].clone()];
            let rows = self.engine.get(&keys).await.map_err(Fault::from)?;
            if rows.iter().all(|row| usage::read(row.as_ref()) == 0) && !self.has_packs(id).await? {
                return Ok(JobState::Empty);
            }
            if !cordoned {
                return Ok(JobState::Reopened);
            }
            self.clock.sleep(crate::limits::BEAT).await;
        }
    }

    /// Whether packs lie in a silo, even such as nobody needs.
    pub(crate) async fn has_packs(&self, silo: SiloId) -> Result<bool, Fault> {
        let prefix = packs::of_silo(silo);
        let end = after_prefix(&prefix);
        Ok(!self.engine.range(prefix..end, 1, usize::MAX).await?.is_empty())
    }

    /// Journal rows that no move stands for: of dead sessions, of our own whose moves ended, and those a job left behind.
    /// Such moves are made again or not wanted.
    pub(crate) async fn forget_moves(&self, job: Option<JobId>) -> Result<(), Fault> {
        let alive: Vec<u64> = live_sessions(&*self.engine).await?.into_iter().map(|(id, _)| id).collect();
        let table = vec![key::MOVES]..after_prefix(&[key::MOVES]);
        let mut writes = Vec::new();
        let rows = self.engine.range(table, usize::MAX, usize::MAX).await?;
        let moving = self.running.journal();
        for (key, row) in rows {
            let row: MoveRow = decode(&row)?;
            let ended = row.owner == self.session().id && !moving.contains(&key[..]);
            if ended || Some(row.job) == job || !alive.contains(&row.owner) {
                writes.push(Write::Delete(key.to_vec()));
            }
        }
        if writes.is_empty() {
            return Ok(());
        }
        let decide = move |_: &Rows| Ok::<_, Fault>((writes.clone(), ()));
        Ok(crate::engine::commit(&*self.engine, Vec::new(), decide).await?)
    }
}

/// A small extent to be moved: between which silos, and where it lies if with others.
pub(crate) type Small = ((SiloId, SiloId), Option<Wanted>, Move);

/// Small extents by what can be read and written together.
pub(crate) fn batches(mut small: Vec<Small>) -> Vec<Vec<Move>> {
    small.sort_by_key(|(way, place, planned)| (*way, *place, planned.extent));
    // A copy on another page names the same extent.
    small.dedup_by_key(|(_, _, planned)| planned.extent);
    let (mut batches, mut last, mut bytes) = (Vec::<Vec<Move>>::new(), None, 0);
    for (way, _, planned) in small {
        let fits = last == Some(way) && bytes + planned.bytes <= MOVED_BYTES;
        if let Some(batch) = batches.last_mut().filter(|batch| fits && batch.len() < MOVED_TOGETHER) {
            bytes += planned.bytes;
            batch.push(planned);
        } else {
            (last, bytes) = (Some(way), planned.bytes);
            batches.push(vec![planned]);
        }
    }
    batches
}
