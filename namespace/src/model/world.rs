//! A case: two gateways over one index and two silos, clients, background work, and what goes wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::client::{Client, KEYS, PARTS};
use super::history::Needs;
use super::index::{Door, Index, IndexChances};
use super::kept;
use super::log::Log;
use super::plan::{Ask, Focus, Plan, Rates, Wished};
use super::sim::{Executor, Rng, Sim, VirtualClock};
use super::store::{SiloChances, Silos};
use crate::bucket::Bucket;
use crate::engine::Engine;
use crate::engine::memory::Memory;
use crate::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use crate::limits::LEASE;
use crate::namespace::{Namespace, Options};
use crate::sweep::Swept;
use crate::table::objects::object;

/// Gateways of a case.
pub(super) const GATEWAYS: usize = 2;

/// One gateway: it may be down.
pub(super) struct Gateway {
    pub(super) namespace: Arc<Mutex<Option<Arc<Namespace>>>>,
    pub(super) frozen_until: u64,
    off: i64,
}

impl Gateway {
    pub(super) fn up(&self) -> Option<Arc<Namespace>> {
        self.namespace.lock().expect("no holder panics").clone()
    }
}

/// Background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Beat,
    Sweep,
    Collect,
    Bury,
    Look,
    Move,
}

/// What happens while a task waits long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surprise {
    Any,
    Read,
    Change,
    Beats,
    Sweep,
    Collect,
    Move,
    Land,
    Bury,
    Abandon,
    Kept(kept::Act),
    Break,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Beat => "beat",
            Self::Sweep => "sweep",
            Self::Collect => "collect",
            Self::Bury => "bury",
            Self::Look => "look",
            Self::Move => "move",
        }
    }
}

/// See the module.
pub(super) struct World {
    pub(super) sim: Arc<Sim>,
    pub(super) index: Arc<Index>,
    pub(super) silos: Arc<Silos>,
    pub(super) log: Arc<Log>,
    pub(super) bucket: Bucket,
    pub(super) gateways: Vec<Gateway>,
    pub(super) executor: Executor,
    pub(super) plan: Plan,
    written: u64,
    /// Requests that may still come by ambush.
    surprises: u32,
}

impl World {
    /// Draws a case and sets it up: nothing breaks while that goes on.
    pub(super) fn new(seed: u64, focus: Option<Focus>, traced: bool) -> Self {
        let sim = Sim::new(seed, traced);
        let mut rng = Rng::new(seed ^ 0x5eed);
        let plan = Plan::draw(&mut rng, focus);
        let truth = Memory::new();
        let silos = Silos::new(Arc::clone(&sim), truth.clone());
        let index = Index::new(Arc::clone(&sim), truth, Arc::clone(&silos));
        let how = How { packs: plan.packs, three: plan.wish.is_some() };
        super::enter(&silos);
        // What a switch copied is told by the time of its beginning.
        let skewed = if plan.focus == Focus::Switch { 0 } else { 300 };
        let mut off = || if rng.chance(skewed) { rng.below(7_200_000) as i64 - 3_600_000 } else { 0 };
        let gateways = (0..GATEWAYS).map(|_| Gateway { namespace: Arc::default(), frozen_until: 0, off: off() });
        let gateways: Vec<Gateway> = gateways.collect();
        for gateway in &gateways {
            let opened =
                open(&sim, &index, gateway.off, how).now_or_never().expect("it is quiet").expect("nothing breaks");
            *gateway.namespace.lock().expect("no holder panics") = Some(opened);
        }
        let first = gateways[0].up().expect("it was opened");
        let bucket = async {
            first.apply(&declared(&[1, 2]), false).await.expect("the silos are there");
            if let Some(wish) = plan.wish {
                // By itself: silos are numbered as their names are sorted.
                first.apply(&declared(&[3]), false).await.expect("the silo is there");
                first.apply(&wish.declared(), false).await.expect("a good wish");
            }
            first.create_bucket(&"bucket".parse().expect("a good name"), 1).await.expect("the name is free")
        };
        let bucket = bucket.now_or_never().expect("it is quiet");
        if plan.wish == Some(Wished::OneOnThird) {
            index.held().pin(3, object(bucket.incarnation, &super::client::key(1)));
        }
        if plan.wish == Some(Wished::Fill) {
            index.held().leave(1);
        }
        for gateway in &gateways {
            gateway.up().expect("it was opened").core.beat_once().now_or_never().expect("it is quiet");
        }
        let (log, executor) = (Log::new(&sim), Executor::new(&sim, plan.sticky));
        let mut world = Self { sim, index, silos, log, bucket, gateways, executor, plan, written: 0, surprises: 12 };
        if world.plan.begun {
            world.begin();
        }
        world
    }

    fn begin(&mut self) {
        let client = self.client(self.gateways[0].up().expect("it was opened"));
        let [object, first, second] = [(); 3].map(|()| self.bytes());
        let all = async {
            client.clone().put(0, object, Needs::Nothing, false).await;
            client.clone().create_upload(0).await;
            client.clone().part(0, 1, first).await;
            client.part(0, 2, second).await;
        };
        all.now_or_never().expect("it is quiet");
    }

    /// Runs the case to its end.
    pub(super) fn run(&mut self) {
        self.sim.set_quiet(false);
        self.sim.set_stall(self.plan.stall);
        self.index.set(self.plan.index);
        self.silos.set(self.plan.silos);
        let mut asked = 0;
        while self.sim.turn() < self.plan.turns && self.sim.found().is_none() {
            let rates = self.plan.rates;
            if asked < self.plan.requests && self.sim.chance(rates.ask) {
                asked += u32::from(self.ask());
            }
            self.background(&rates);
            self.keep(&rates.kept);
            self.misfortune(&rates);
            let turn = self.sim.turn();
            let frozen: Vec<bool> = self.gateways.iter().map(|gateway| gateway.frozen_until > turn).collect();
            let before = self.sim.stalled();
            self.executor.run_one(|owner| frozen[owner]);
            if self.sim.stalled() > before && self.sim.chance(self.plan.ambush) {
                self.ambush();
            }
            if asked >= self.plan.requests && !self.executor.has_clients() && self.sim.chance(20) {
                break;
            }
        }
    }

    fn gateway(&self) -> Option<(usize, Arc<Namespace>)> {
        let at = self.sim.below(GATEWAYS as u64) as usize;
        (self.gateways[at].frozen_until <= self.sim.turn()).then(|| self.gateways[at].up().map(|up| (at, up)))?
    }

    /// A client of a gateway that is up.
    pub(super) fn client(&self, namespace: Arc<Namespace>) -> Client {
        let (bucket, index, log) = (self.bucket.clone(), Arc::clone(&self.index), Arc::clone(&self.log));
        let copies = self.plan.wish.map_or(1, Wished::at_once);
        Client { namespace, bucket, index, log, copies }
    }

    /// Bytes that nobody wrote before; sometimes none.
    pub(super) fn bytes(&mut self) -> Bytes {
        self.written += 1;
        if self.sim.chance(40) {
            return Bytes::new();
        }
        Bytes::from(format!("value {}{}", self.written, ".".repeat(self.sim.below(9) as usize)))
    }

    fn needs(&self, at: usize) -> Needs {
        let known = self.log.written(at);
        if known.is_empty() || self.sim.chance(600) {
            return Needs::Absent;
        }
        Needs::Is(known[self.sim.below(known.len() as u64) as usize])
    }

    /// One request begins; false when it makes no sense now.
    fn ask(&mut self) -> bool {
        let (ask, key) = (self.draw_ask(), self.key());
        self.begin_ask(ask, key)
    }

    fn draw_ask(&self) -> Ask {
        let all: u64 = self.plan.asks.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.sim.below(all);
        let ask = self.plan.asks.iter().find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        ask.map_or(Ask::Put, |(ask, _)| *ask)
    }

    /// One key is more popular.
    fn key(&self) -> usize {
        self.sim.below(KEYS as u64 + 1) as usize % KEYS
    }

    fn begin_ask(&mut self, ask: Ask, at: usize) -> bool {
        let Some((owner, namespace)) = self.gateway() else { return false };
        let client = self.client(namespace);
        match ask {
            Ask::Put | Ask::PutIf => {
                let needs = if ask == Ask::PutIf { self.needs(at) } else { Needs::Nothing };
                let (bytes, breaks) = (self.bytes(), self.sim.chance(30));
                self.executor.spawn(owner, "put", true, client.put(at, bytes, needs, breaks));
            }
            Ask::Delete => self.executor.spawn(owner, "delete", true, client.delete(at, Needs::Nothing)),
            Ask::DeleteIf => {
                let needs = match self.needs(at) {
                    Needs::Absent => Needs::Nothing,
                    needs => needs,
                };
                self.executor.spawn(owner, "delete", true, client.delete(at, needs));
            }
            Ask::Get => {
                let ranged = self.sim.chance(200);
                self.executor.spawn(owner, "get", true, client.get(at, ranged));
            }
            Ask::Head => self.executor.spawn(owner, "head", true, client.head(at)),
            Ask::List => self.executor.spawn(owner, "list", true, client.list()),
            Ask::Copy => {
                let to = self.sim.below(KEYS as u64) as usize;
                self.executor.spawn(owner, "copy", true, client.copy(at, to));
            }
            Ask::NewUpload => self.executor.spawn(owner, "new upload", true, client.create_upload(at)),
            _ => return self.ask_of_upload(ask, owner, client, at),
        }
        true
    }

    fn ask_of_upload(&mut self, ask: Ask, owner: usize, client: Client, at: usize) -> bool {
        let uploads = self.log.uploads().len() as u64;
        if uploads == 0 {
            return false;
        }
        let upload = self.sim.below(uploads) as usize;
        let number = 1 + self.sim.below(u64::from(PARTS)) as u32;
        match ask {
            Ask::Part => {
                let bytes = self.bytes();
                self.executor.spawn(owner, "part", true, client.part(upload, number, bytes));
            }
            Ask::PartCopy => self.executor.spawn(owner, "part copy", true, client.part_copy(upload, number, at)),
            Ask::Complete => {
                let Some(list) = self.list_to_name(upload) else { return false };
                let needs = if self.sim.chance(150) { Needs::Absent } else { Needs::Nothing };
                self.executor.spawn(owner, "complete", true, client.complete(upload, list, needs));
            }
            Ask::Abort => self.executor.spawn(owner, "abort", true, client.abort(upload)),
            _ => self.executor.spawn(owner, "list parts", true, client.list_parts(upload)),
        }
        true
    }

    /// Parts to name in a Complete: what another Complete named, or of each number one that was acknowledged.
    fn list_to_name(&self, upload: usize) -> Option<Vec<(u32, u32)>> {
        let before = self.log.uploads()[upload].endings.iter().find_map(|end| end.completes.clone());
        if let Some(named) = before.filter(|_| self.sim.chance(600)) {
            return Some(named.list);
        }
        let acked = self.log.parts(upload);
        let mut list = Vec::new();
        for number in 1..=PARTS {
            let known: Vec<u32> = acked.iter().filter(|(of, _)| *of == number).map(|(_, tag)| *tag).collect();
            if known.is_empty() || self.sim.chance(250) {
                continue;
            }
            let older = if self.sim.chance(100) { self.sim.below(known.len() as u64) as usize } else { 0 };
            list.push((number, known[known.len() - 1 - older]));
        }
        (!list.is_empty()).then_some(list)
    }

    fn background(&mut self, rates: &Rates) {
        let each = [
            (rates.beat, Act::Beat),
            (rates.sweep, Act::Sweep),
            (rates.collect, Act::Collect),
            (rates.bury, Act::Bury),
            (rates.look, Act::Look),
            (rates.moves, Act::Move),
        ];
        for (rate, act) in each {
            if self.sim.chance(rate)
                && let Some((at, _)) = self.gateway()
            {
                self.act(at, act, None);
            }
        }
    }

    /// A gateway begins background work, one of a kind at a time; with `hold` it also ends before anything else goes
    /// on, or is held, this often.
    pub(super) fn act(&mut self, at: usize, act: Act, hold: Option<u32>) {
        let Some(namespace) = self.awake(at) else { return };
        if act != Act::Move && self.executor.has(at, act.name()) {
            return;
        }
        let sim = Arc::clone(&self.sim);
        let work = async move {
            match act {
                Act::Beat => namespace.core.beat_once().await,
                Act::Sweep => {
                    let swept = namespace.sweep(true).await;
                    sim.note(|| format!("swept: {swept:?}"));
                }
                Act::Collect => {
                    for open in namespace.inventory().silos.values() {
                        let _ = namespace.core.collect_orphans(open, "", &mut Swept::default()).await;
                    }
                }
                // On this gateway's clock the lease passes between two looks: who does not beat meanwhile is dead.
                Act::Bury => {
                    let _ = namespace.core.bury_silent().await;
                    let _ = namespace.core.collect_ended().await;
                    sim.step().await;
                    sim.pass(LEASE + Duration::from_secs(1));
                    let _ = namespace.core.bury_silent().await;
                    let _ = namespace.core.collect_ended().await;
                }
                Act::Look => {
                    for open in namespace.inventory().silos.values() {
                        open.ask(namespace.id()).await;
                    }
                    let _ = namespace.core.forget_moves(None).await;
                }
                Act::Move => kept::move_some(namespace, &sim).await,
            }
        };
        self.executor.spawn(at, act.name(), false, work);
        if let Some(hold) = hold {
            self.rush_or_hold(hold);
        }
    }

    /// A gateway that is neither down nor frozen.
    pub(super) fn awake(&self, at: usize) -> Option<Arc<Namespace>> {
        let frozen = self.gateways[at].frozen_until > self.sim.turn();
        self.gateways[at].up().filter(|_| !frozen)
    }

    /// The task that began last comes to its end, or is held somewhere on its way.
    pub(super) fn rush_or_hold(&mut self, hold: u32) {
        if self.sim.chance(hold) { self.executor.hold() } else { self.executor.rush() }
    }

    /// While a task waits long, much happens at once: what a protocol is for. The sequences are those in which reads,
    /// retirements, sweeps and floors meet, each with gaps, or any at all.
    fn ambush(&mut self) {
        use Surprise::{Abandon, Any, Beats, Bury, Change, Collect, Land, Move, Read, Sweep};
        self.sim.note(|| "an ambush".to_owned());
        let kept = self.plan.wish.is_some() && self.sim.chance(600);
        let sequence: Vec<Surprise> = match self.sim.below(7) {
            _ if kept => self.ambush_of_kept(),
            0 => vec![Read, Change, Sweep, Beats, Beats, Sweep],
            1 => vec![Change, Sweep, Beats, Beats, Sweep],
            2 => vec![Any, Any, Sweep, Beats, Beats, Sweep],
            3 => vec![Beats, Collect, Land],
            4 => vec![Abandon, Beats, Beats, Collect, Land],
            5 => vec![Bury, Beats, Beats, Any, Any],
            _ => {
                let all = [Any, Any, Beats, Beats, Sweep, Sweep, Collect, Move, Land];
                (0..2 + self.sim.below(9)).map(|_| all[self.sim.below(9) as usize]).collect()
            }
        };
        let (sweeper, key) = (self.sim.below(GATEWAYS as u64) as usize, self.key());
        for surprise in sequence {
            if !self.sim.chance(80) {
                self.surprise(surprise, sweeper, key);
            }
        }
    }

    fn surprise(&mut self, surprise: Surprise, sweeper: usize, key: usize) {
        let ask = match surprise {
            Surprise::Any => Some((self.draw_ask(), 400)),
            Surprise::Read => Some((Ask::Get, 900)),
            Surprise::Change => Some((if self.sim.chance(500) { Ask::Put } else { Ask::Delete }, 50)),
            Surprise::Beats => {
                (0..GATEWAYS).for_each(|at| self.act(at, Act::Beat, Some(150)));
                None
            }
            Surprise::Sweep => {
                self.act(sweeper, Act::Sweep, Some(100));
                None
            }
            Surprise::Collect => {
                self.act(sweeper, Act::Collect, Some(150));
                None
            }
            Surprise::Bury => {
                self.act(sweeper, Act::Bury, Some(100));
                None
            }
            Surprise::Abandon => {
                self.executor.abandon_last();
                None
            }
            Surprise::Kept(act) => {
                let at = self.sim.below(GATEWAYS as u64) as usize;
                let at = if act == kept::Act::Drop && self.executor.has(at, act.name()) { 1 - at } else { at };
                self.keep_act(Some(at), act, Some(500));
                None
            }
            Surprise::Break => {
                self.index.held().break_one(&self.sim, &self.silos);
                None
            }
            Surprise::Move if self.plan.wish.is_some() => {
                if self.plan.rates.kept.step > 0 {
                    self.keep_act(Some(1 - sweeper), kept::Act::Step, Some(400));
                }
                None
            }
            Surprise::Move => {
                self.act(1 - sweeper, Act::Move, Some(400));
                None
            }
            Surprise::Land => {
                self.index.land_one(false);
                self.silos.land_one(false);
                None
            }
        };
        if let Some((ask, hold)) = ask.filter(|_| self.surprises > 0) {
            self.surprises -= 1;
            if self.begin_ask(ask, key) {
                self.rush_or_hold(hold);
            }
        }
    }

    fn misfortune(&mut self, rates: &Rates) {
        if self.sim.chance(rates.land) {
            self.index.land_one(self.sim.chance(200));
        }
        if self.sim.chance(rates.land) {
            self.silos.land_one(self.sim.chance(100));
        }
        if self.sim.chance(rates.abandon) {
            self.executor.abandon();
        }
        let at = self.sim.below(GATEWAYS as u64) as usize;
        if self.sim.chance(rates.crash) && self.gateways[at].up().is_some() {
            self.crash(at);
        }
        if self.sim.chance(rates.freeze) && self.gateways[at].frozen_until <= self.sim.turn() {
            let until = self.sim.turn() + 50 + self.sim.below(400);
            self.sim.note(|| format!("gateway {at} freezes until {until}"));
            self.gateways[at].frozen_until = until;
        }
        if self.sim.chance(rates.open) && self.gateways[at].up().is_none() && !self.executor.has(at, "open") {
            let slot = Arc::clone(&self.gateways[at].namespace);
            let (sim, index, off) = (Arc::clone(&self.sim), Arc::clone(&self.index), self.gateways[at].off);
            let how = self.how();
            self.executor.spawn(at, "open", false, async move {
                if let Ok(opened) = open(&sim, &index, off, how).await {
                    *slot.lock().expect("no holder panics") = Some(opened);
                }
            });
        }
    }

    fn how(&self) -> How {
        How { packs: self.plan.packs, three: self.plan.wish.is_some() }
    }

    /// The process is gone; what it sent may still arrive.
    pub(super) fn crash(&mut self, at: usize) {
        self.sim.note(|| format!("gateway {at} crashes"));
        self.executor.kill(at);
        self.gateways[at].frozen_until = 0;
        *self.gateways[at].namespace.lock().expect("no holder panics") = None;
    }

    /// Opens a gateway again, while it is quiet.
    pub(super) fn reopen(&mut self, at: usize) {
        let opened = open(&self.sim, &self.index, self.gateways[at].off, self.how());
        let opened = opened.now_or_never().expect("it is quiet");
        *self.gateways[at].namespace.lock().expect("no holder panics") = Some(opened.expect("nothing breaks"));
    }

    /// Lets everything that runs come to its end, nothing breaking any more.
    pub(super) fn finish(&mut self) {
        self.sim.set_stall(0);
        self.index.set(IndexChances::default());
        self.silos.set(SiloChances::default());
        for turn in 0..20_000 {
            if self.executor.is_idle() || self.sim.found().is_some() {
                return;
            }
            if turn % 100 == 0 {
                self.hand_jobs_on();
            }
            self.executor.run_one(|_| false);
        }
        let names = self.executor.names();
        self.sim.wrong(|| format!("these never end: {names:?}"));
    }
}

/// What gateways of a case are like.
#[derive(Clone, Copy)]
struct How {
    packs: bool,
    /// There are three silos, and wishes.
    three: bool,
}

async fn open(sim: &Arc<Sim>, index: &Arc<Index>, off: i64, how: How) -> Result<Arc<Namespace>, String> {
    let engine: Arc<dyn Engine> = Arc::new(Door(Arc::clone(index)));
    let clock = Arc::new(VirtualClock { sim: Arc::clone(sim), off });
    let pack_up_to = if how.packs { crate::limits::PACK_UP_TO } else { 0 };
    let options = Options {
        base: "/".into(),
        seal_key: [7; 32],
        grace: Duration::ZERO,
        pack_up_to,
        backup: None,
        align: how.three.then(kept::align_options),
        scrub: None,
    };
    let namespace = Namespace::open(engine, clock, options, false).await.map_err(|error| error.to_string())?;
    // What is not found is found by the next life.
    let _ = namespace.core.find_packs().await;
    Ok(namespace)
}

fn declared(silos: &[u32]) -> Declared {
    let silo = |id: &u32| (kept::name(*id).to_owned(), DeclaredSilo::own(format!("memory:{id}")));
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    Declared {
        silos: silos.iter().map(silo).collect(),
        write: Some(WritePolicy { to: vec![to("one"), to("two")] }),
        ..Declared::default()
    }
}
