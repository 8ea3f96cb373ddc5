//! The scheduler: a seed decides which task goes on, when time passes and what breaks. One thread, no runtime.
//!
//! Every call of the engine and of a silo waits for its turn before it takes effect, and often once more before it is
//! answered; between two turns anything else may happen. A task that is dropped between them never hears.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::{Clock, UnixMs};
use crate::limits::SILENCE;

/// Wall time when a case begins.
const BEGIN: UnixMs = 1_700_000_000_000;

/// `SplitMix64`.
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x9e37_79b9_7f4a_7c15)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True this often, in thousandths.
    pub(super) fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.below(1000) < u64::from(thousandths)
    }
}

pub(super) type TaskId = usize;

/// What all futures of a case share.
pub(super) struct Sim {
    /// Held for a few instructions, never across an await.
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    turn: u64,
    now: Duration,
    /// No turns are taken: every call answers at once, and nothing breaks.
    quiet: bool,
    /// How often a turn of a slow task is a long one, in thousandths.
    stall: u32,
    /// The same, of each task.
    stalls: Vec<u32>,
    /// Long turns so far.
    stalled: u64,
    current: TaskId,
    parked: Vec<Parked>,
    /// Faults that were injected into each task.
    faults: Vec<u32>,
    /// The turn at which each task began.
    begun: Vec<u64>,
    trace: Option<Vec<String>>,
    wrong: Option<String>,
}

struct Parked {
    task: TaskId,
    until: u64,
    entry: Arc<Entry>,
}

struct Entry {
    fired: AtomicBool,
    waker: Mutex<Waker>,
}

impl Sim {
    pub(super) fn new(seed: u64, traced: bool) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                rng: Rng::new(seed),
                turn: 0,
                now: Duration::ZERO,
                quiet: true,
                stall: 0,
                stalls: vec![0],
                stalled: 0,
                current: 0,
                parked: Vec::new(),
                faults: vec![0],
                begun: vec![0],
                trace: traced.then(Vec::new),
                wrong: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    pub(super) fn step(self: &Arc<Self>) -> Step {
        Step { sim: Arc::clone(self), long: Long::As(false), entry: None }
    }

    /// Waits for a turn that comes only where what else the task waits for takes very long.
    fn alarm(self: &Arc<Self>) -> Step {
        Step { sim: Arc::clone(self), long: Long::Alarm, entry: None }
    }

    /// Waits for a turn that is long in coming, as an answer that got lost is.
    pub(super) fn long_step(self: &Arc<Self>) -> Step {
        Step { sim: Arc::clone(self), long: Long::As(self.chance(600)), entry: None }
    }

    pub(super) fn below(&self, end: u64) -> u64 {
        self.state().rng.below(end)
    }

    /// True this often, in thousandths; never while it is quiet.
    pub(super) fn chance(&self, thousandths: u32) -> bool {
        let mut state = self.state();
        !state.quiet && state.rng.chance(thousandths)
    }

    /// Whether something breaks now; counted against the task that runs.
    pub(super) fn breaks(&self, thousandths: u32) -> bool {
        let broken = self.chance(thousandths);
        if broken {
            self.fault();
        }
        broken
    }

    /// Faults injected into the task that runs.
    pub(super) fn faults(&self) -> u32 {
        let state = self.state();
        state.faults[state.current]
    }

    /// Something broke for the task that runs.
    fn fault(&self) {
        let mut state = self.state();
        let task = state.current;
        state.faults[task] += 1;
    }

    /// The turn at which the task that runs began; 0 of what lands later than its task.
    pub(super) fn began(&self) -> u64 {
        let state = self.state();
        state.begun[state.current]
    }

    /// No turns are taken, and nothing breaks.
    pub(super) fn is_quiet(&self) -> bool {
        self.state().quiet
    }

    /// Long turns so far.
    pub(super) fn stalled(&self) -> u64 {
        self.state().stalled
    }

    pub(super) fn turn(&self) -> u64 {
        self.state().turn
    }

    /// A moment of its own.
    pub(super) fn tick(&self) -> u64 {
        let mut state = self.state();
        state.turn += 1;
        state.turn
    }

    pub(super) fn pass(&self, time: Duration) {
        self.state().now += time;
    }

    pub(super) fn set_quiet(&self, quiet: bool) {
        self.state().quiet = quiet;
    }

    /// How slow tasks become from now on; 0 hurries those that run, too.
    pub(super) fn set_stall(&self, stall: u32) {
        let mut state = self.state();
        state.stall = stall;
        if stall == 0 {
            state.stalls.fill(0);
        }
    }

    /// A line of the trace, made only when one is kept.
    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.trace.is_some() {
            let text = format!("{:5} t{:<3} {}", state.turn, state.current, line());
            state.trace.as_mut().expect("there is a trace").push(text);
        }
    }

    /// The case found something that must not be. The first one counts.
    pub(super) fn wrong(&self, what: impl FnOnce() -> String) {
        let mut state = self.state();
        if state.wrong.is_none() {
            state.wrong = Some(what());
        }
    }

    pub(super) fn found(&self) -> Option<String> {
        self.state().wrong.clone()
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.state().trace.clone().unwrap_or_default()
    }
}

/// See [`Sim::step`].
pub(super) struct Step {
    sim: Arc<Sim>,
    long: Long,
    entry: Option<Arc<Entry>>,
}

/// How long a turn is in coming.
#[derive(Clone, Copy)]
enum Long {
    /// Long in any case, or as it is drawn.
    As(bool),
    /// See [`Sim::alarm`].
    Alarm,
}

impl Future for Step {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let sim = Arc::clone(&self.sim);
        let mut state = sim.state();
        match &self.entry {
            _ if state.quiet => Poll::Ready(()),
            Some(entry) if entry.fired.load(Ordering::Relaxed) => Poll::Ready(()),
            Some(entry) => {
                context.waker().clone_into(&mut entry.waker.lock().expect("no holder panics"));
                Poll::Pending
            }
            None => {
                let waker = Mutex::new(context.waker().clone());
                let entry = Arc::new(Entry { fired: AtomicBool::new(false), waker });
                let stall = state.stalls[state.current];
                let until = match self.long {
                    Long::Alarm => state.turn + 150 + state.rng.below(250),
                    Long::As(long) if long || state.rng.chance(stall) => {
                        state.stalled += 1;
                        state.turn + 20 + state.rng.below(200)
                    }
                    Long::As(_) => 0,
                };
                let task = state.current;
                state.parked.push(Parked { task, until, entry: Arc::clone(&entry) });
                self.entry = Some(entry);
                Poll::Pending
            }
        }
    }
}

/// Wakes a task for anything but its turn.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

struct Task {
    id: TaskId,
    owner: usize,
    name: &'static str,
    client: bool,
    /// Once it begins, nothing else goes on until it ends.
    hasty: bool,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    woken: Arc<Woken>,
}

/// Runs the tasks.
pub(super) struct Executor {
    sim: Arc<Sim>,
    tasks: Vec<Task>,
    /// How often the task that went on last goes on again, in thousandths.
    sticky: u32,
    last: TaskId,
}

impl Executor {
    pub(super) fn new(sim: &Arc<Sim>, sticky: u32) -> Self {
        Self { sim: Arc::clone(sim), tasks: Vec::new(), sticky, last: 0 }
    }

    /// Adds a task of gateway `owner`.
    pub(super) fn spawn(
        &mut self,
        owner: usize,
        name: &'static str,
        client: bool,
        future: impl Future<Output = ()> + Send + 'static,
    ) {
        let (id, hasty) = {
            let mut state = self.sim.state();
            state.faults.push(0);
            let turn = state.turn;
            state.begun.push(turn);
            let hasty = state.rng.chance(if client { 200 } else { 700 });
            let slow = if client { [0, 1, 4] } else { [0, 0, 1] }[state.rng.below(3) as usize];
            let stall = if hasty { 0 } else { state.stall * slow };
            state.stalls.push(stall);
            (state.faults.len() - 1, hasty)
        };
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        self.tasks.push(Task { id, owner, name, client, hasty, future: Box::pin(future), woken });
    }

    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether a client waits for an answer.
    pub(super) fn has_clients(&self) -> bool {
        self.tasks.iter().any(|task| task.client)
    }

    /// Whether a gateway has a task of that name.
    pub(super) fn has(&self, owner: usize, name: &str) -> bool {
        self.tasks.iter().any(|task| task.owner == owner && task.name == name)
    }

    /// Drops all tasks of a gateway.
    pub(super) fn kill(&mut self, owner: usize) {
        self.drop_where(|task| task.owner == owner);
    }

    /// Drops one request: its client went away.
    pub(super) fn abandon(&mut self) {
        let clients: Vec<TaskId> = self.tasks.iter().filter(|task| task.client).map(|task| task.id).collect();
        if clients.is_empty() {
            return;
        }
        let chosen = clients[self.sim.below(clients.len() as u64) as usize];
        self.sim.note(|| format!("the client of t{chosen} goes away"));
        self.drop_where(|task| task.id == chosen);
    }

    /// Drops the request that went on last, if it is one.
    pub(super) fn abandon_last(&mut self) {
        let last = self.last;
        self.drop_where(|task| task.client && task.id == last);
    }

    fn drop_where(&mut self, which: impl Fn(&Task) -> bool) {
        let (gone, kept) = std::mem::take(&mut self.tasks).into_iter().partition(|task| which(task));
        self.tasks = kept;
        let gone: Vec<Task> = gone;
        let ids: Vec<TaskId> = gone.iter().map(|task| task.id).collect();
        drop(gone);
        self.release(&ids);
    }

    /// What ended or was dropped waits for no turn; what others still wait for together with it has its turn now.
    fn release(&self, gone: &[TaskId]) {
        let mut state = self.sim.state();
        let parked = std::mem::take(&mut state.parked);
        let (left, kept) = parked.into_iter().partition(|parked| gone.contains(&parked.task));
        state.parked = kept;
        drop(state);
        let left: Vec<Parked> = left;
        for parked in left.iter().filter(|parked| Arc::strong_count(&parked.entry) > 1) {
            parked.entry.fired.store(true, Ordering::Relaxed);
            parked.entry.waker.lock().expect("no holder panics").wake_by_ref();
        }
    }

    /// Lets one task go on that is not frozen.
    pub(super) fn run_one(&mut self, frozen: impl Fn(usize) -> bool) {
        let Some(chosen) = self.choose(frozen) else { return };
        let (id, hasty) = (self.tasks[chosen].id, self.tasks[chosen].hasty);
        self.last = id;
        self.poll(chosen);
        if hasty {
            self.hurry(id);
        }
    }

    /// The task that was added last waits for others as soon as it begins.
    pub(super) fn never_hurry(&mut self) {
        if let Some(task) = self.tasks.last_mut() {
            task.hasty = false;
        }
    }

    /// Lets the task that was added last come to its end, as far as it depends on nobody else.
    pub(super) fn rush(&mut self) {
        let Some(id) = self.tasks.last().map(|task| task.id) else { return };
        self.sim.state().stalls[id] = 0;
        self.hurry(id);
    }

    /// Lets the task that was added last take some steps, and then waits long with it.
    pub(super) fn hold(&mut self) {
        let Some(id) = self.tasks.last().map(|task| task.id) else { return };
        for _ in 0..=self.sim.below(7) {
            let Some(at) = self.tasks.iter().position(|task| task.id == id) else { return };
            if !self.is_ready(&self.tasks[at]) {
                break;
            }
            self.poll(at);
        }
        let mut state = self.sim.state();
        let until = state.turn + 30 + state.rng.below(150);
        state.parked.iter_mut().filter(|parked| parked.task == id).for_each(|parked| parked.until = until);
    }

    fn hurry(&mut self, id: TaskId) {
        while let Some(at) = self.tasks.iter().position(|task| task.id == id) {
            if !self.is_ready(&self.tasks[at]) {
                return;
            }
            self.poll(at);
        }
    }

    fn is_ready(&self, task: &Task) -> bool {
        let mut state = self.sim.state();
        state.turn += 1;
        let turn = state.turn;
        let turned = || state.parked.iter().any(|parked| parked.task == task.id && parked.until <= turn);
        task.woken.0.load(Ordering::Acquire) || turned()
    }

    /// A task that can go on now.
    fn choose(&mut self, frozen: impl Fn(usize) -> bool) -> Option<usize> {
        let chosen = {
            let mut state = self.sim.state();
            state.turn += 1;
            let turn = state.turn;
            let ready: Vec<usize> = (0..self.tasks.len())
                .filter(|at| {
                    let task = &self.tasks[*at];
                    let turned = || state.parked.iter().any(|parked| parked.task == task.id && parked.until <= turn);
                    !frozen(task.owner) && (task.woken.0.load(Ordering::Acquire) || turned())
                })
                .collect();
            if ready.is_empty() {
                return None;
            }
            let again = ready.iter().find(|at| self.tasks[**at].id == self.last);
            if let Some(again) = again.filter(|_| state.rng.chance(self.sticky)) {
                return Some(*again);
            }
            ready[state.rng.below(ready.len() as u64) as usize]
        };
        Some(chosen)
    }

    fn poll(&mut self, at: usize) {
        let task = &mut self.tasks[at];
        let fired = {
            let mut state = self.sim.state();
            state.current = task.id;
            let turn = state.turn;
            let mine = |parked: &Parked| parked.task == task.id && parked.until <= turn;
            let turns: Vec<usize> = (0..state.parked.len()).filter(|at| mine(&state.parked[*at])).collect();
            let woken = task.woken.0.swap(false, Ordering::AcqRel);
            let fires = !turns.is_empty() && (!woken || state.rng.chance(500));
            fires.then(|| {
                let chosen = turns[state.rng.below(turns.len() as u64) as usize];
                state.parked.swap_remove(chosen).entry
            })
        };
        if let Some(entry) = fired {
            entry.fired.store(true, Ordering::Relaxed);
            entry.waker.lock().expect("no holder panics").wake_by_ref();
            task.woken.0.store(false, Ordering::Release);
        }
        let waker = Waker::from(Arc::clone(&task.woken));
        let ended = task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if ended {
            let gone = self.tasks.swap_remove(at).id;
            self.release(&[gone]);
        }
        self.sim.state().current = 0;
    }

    /// What still runs, for a trace.
    pub(super) fn names(&self) -> Vec<&'static str> {
        self.tasks.iter().map(|task| task.name).collect()
    }
}

/// The case's time as one gateway sees it: its wall clock is off by some, and nothing may depend on it.
pub(super) struct VirtualClock {
    pub(super) sim: Arc<Sim>,
    pub(super) off: UnixMs,
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> UnixMs {
        BEGIN + self.sim.state().now.as_millis() as UnixMs + self.off
    }

    fn monotonic(&self) -> Duration {
        self.sim.state().now
    }

    async fn sleep(&self, time: Duration) {
        if time < SILENCE {
            self.sim.step().await;
        } else if !self.sim.is_quiet() {
            // Whoever waits so long does so beside something else, and gives that up.
            self.sim.alarm().await;
            self.sim.fault();
        }
        self.sim.pass(time);
    }
}
