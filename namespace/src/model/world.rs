//! A case: two gateways over one index and two silos, clients, background work, and what goes wrong.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use super::client::{Client, KEYS, PARTS};
use super::history::Needs;
use super::index::{Door, Index, IndexChances};
use super::log::Log;
use super::sim::{Executor, Rng, Sim, VirtualClock};
use super::store::{SiloChances, Silos};
use crate::bucket::Bucket;
use crate::engine::Engine;
use crate::engine::memory::Memory;
use crate::extent::ReplicaState;
use crate::inventory::{CredentialsFrom, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use crate::limits::LEASE;
use crate::mover::{Mover, Pacer};
use crate::namespace::{Namespace, Options};
use crate::plan::Move;
use crate::table::extents::{ExtentRow, read_extent};
use crate::table::{after_prefix, decode, key};

/// Gateways of a case.
pub(super) const GATEWAYS: usize = 2;

/// What a client may ask for; each case draws how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Put,
    PutIf,
    Delete,
    DeleteIf,
    Get,
    Head,
    List,
    Copy,
    NewUpload,
    Part,
    PartCopy,
    Complete,
    Abort,
    ListParts,
}

const ASKS: [Ask; 14] = [
    Ask::Put,
    Ask::PutIf,
    Ask::Delete,
    Ask::DeleteIf,
    Ask::Get,
    Ask::Head,
    Ask::List,
    Ask::Copy,
    Ask::NewUpload,
    Ask::Part,
    Ask::PartCopy,
    Ask::Complete,
    Ask::Abort,
    Ask::ListParts,
];

/// What beside requests happens in a case, in thousandths of all turns.
#[derive(Debug, Clone, Copy)]
struct Rates {
    ask: u32,
    beat: u32,
    sweep: u32,
    bury: u32,
    moves: u32,
    look: u32,
    land: u32,
    crash: u32,
    freeze: u32,
    abandon: u32,
    open: u32,
}

/// How a case is drawn: each seed mixes its own, so that no mixture is rare.
struct Plan {
    asks: Vec<(Ask, u64)>,
    rates: Rates,
    requests: u32,
    turns: u64,
    index: IndexChances,
    silos: SiloChances,
    stall: u32,
}

impl Plan {
    fn draw(rng: &mut Rng) -> Self {
        let multipart = rng.chance(450);
        let mut asks = Vec::new();
        for ask in ASKS {
            let of_uploads =
                matches!(ask, Ask::NewUpload | Ask::Part | Ask::PartCopy | Ask::Complete | Ask::Abort | Ask::ListParts);
            let weight = match ask {
                Ask::Put => 3 + rng.below(4),
                Ask::Get => 2 + rng.below(4),
                Ask::NewUpload if multipart => 3,
                Ask::Part | Ask::Complete if multipart => 6 + rng.below(6),
                _ if of_uploads && !multipart => 0,
                _ if rng.chance(500) => 1 + rng.below(4),
                _ => 0,
            };
            asks.push((ask, weight));
        }
        let mut some = |chance: u32, rate: u64| if rng.chance(chance) { 1 + rng.below(rate) as u32 } else { 0 };
        let rates = Rates {
            ask: 40 + some(500, 80),
            beat: 30 + some(500, 80),
            sweep: 10 + some(700, 50),
            bury: some(400, 20),
            moves: some(500, 60),
            look: 15,
            land: 20 + some(500, 60),
            crash: some(300, 8),
            freeze: some(300, 10),
            abandon: some(250, 15),
            open: 60,
        };
        let index = IndexChances {
            lose: some(300, 40),
            vanish: some(200, 20),
            delay: some(400, 60),
            fail: some(200, 20),
            fail_read: some(200, 15),
        };
        let silos = SiloChances {
            fail_put: some(200, 60),
            lose_put: some(300, 120),
            full: some(150, 80),
            lose_delete: some(250, 150),
            fail_read: some(150, 30),
        };
        let stall = some(700, 120);
        let requests = 5 + rng.below(14) as u32;
        Self { asks, rates, requests, turns: 900, index, silos, stall }
    }
}

/// One gateway: it may be down.
pub(super) struct Gateway {
    pub(super) namespace: Arc<Mutex<Option<Arc<Namespace>>>>,
    frozen_until: u64,
    off: i64,
}

impl Gateway {
    pub(super) fn up(&self) -> Option<Arc<Namespace>> {
        self.namespace.lock().expect("no holder panics").clone()
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
    plan: Plan,
    written: u64,
}

impl World {
    /// Draws a case and sets it up: nothing breaks while that goes on.
    pub(super) fn new(seed: u64, traced: bool) -> Self {
        let sim = Sim::new(seed, traced);
        let mut rng = Rng::new(seed ^ 0x5eed);
        let plan = Plan::draw(&mut rng);
        let truth = Memory::new();
        let silos = Silos::new(Arc::clone(&sim), truth.clone());
        let index = Index::new(Arc::clone(&sim), truth, Arc::clone(&silos));
        super::enter(&silos);
        let mut off = || if rng.chance(300) { rng.below(7_200_000) as i64 - 3_600_000 } else { 0 };
        let gateways = (0..GATEWAYS).map(|_| Gateway { namespace: Arc::default(), frozen_until: 0, off: off() });
        let gateways: Vec<Gateway> = gateways.collect();
        for gateway in &gateways {
            let opened = open(&sim, &index, gateway.off).now_or_never().expect("it is quiet").expect("nothing breaks");
            *gateway.namespace.lock().expect("no holder panics") = Some(opened);
        }
        let first = gateways[0].up().expect("it was opened");
        let bucket = async {
            first.apply(&declared(), false).await.expect("the silos are there");
            first.create_bucket(&"bucket".parse().expect("a good name"), 1).await.expect("the name is free")
        };
        let bucket = bucket.now_or_never().expect("it is quiet");
        for gateway in &gateways {
            gateway.up().expect("it was opened").core.beat_once().now_or_never().expect("it is quiet");
        }
        let (log, executor) = (Log::new(&sim), Executor::new(&sim));
        Self { sim, index, silos, log, bucket, gateways, executor, plan, written: 0 }
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
            self.misfortune(&rates);
            let turn = self.sim.turn();
            let frozen: Vec<bool> = self.gateways.iter().map(|gateway| gateway.frozen_until > turn).collect();
            self.executor.run_one(|owner| frozen[owner]);
            if asked >= self.plan.requests && self.executor.is_idle() && self.sim.chance(50) {
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
        Client { namespace, bucket, index, log }
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
        let Some((owner, namespace)) = self.gateway() else { return false };
        let all: u64 = self.plan.asks.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.sim.below(all);
        let ask = self.plan.asks.iter().find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        let ask = ask.map_or(Ask::Put, |(ask, _)| *ask);
        let client = self.client(namespace);
        let at = self.sim.below(KEYS as u64) as usize;
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
            if known.is_empty() || self.sim.chance(150) {
                continue;
            }
            let older = if self.sim.chance(150) { self.sim.below(known.len() as u64) as usize } else { 0 };
            list.push((number, known[known.len() - 1 - older]));
        }
        (!list.is_empty()).then_some(list)
    }

    fn background(&mut self, rates: &Rates) {
        let once = |rate: u32| self.sim.chance(rate);
        let (beat, sweep, bury, moves, look) =
            (once(rates.beat), once(rates.sweep), once(rates.bury), once(rates.moves), once(rates.look));
        if beat {
            self.once("beat", |core, _| async move { core.beat_once().await });
        }
        if sweep {
            self.once("sweep", |namespace, sim| async move {
                let swept = namespace.sweep(true).await;
                sim.note(|| format!("swept: {swept:?}"));
            });
        }
        if bury {
            // On this gateway's clock the lease passes between two looks: whoever does not beat meanwhile is dead.
            self.once("bury", |namespace, sim| async move {
                let _ = namespace.core.bury_silent().await;
                sim.step().await;
                sim.pass(LEASE + Duration::from_secs(1));
                let _ = namespace.core.bury_silent().await;
            });
        }
        if look {
            self.once("look", |namespace, _| async move {
                for open in namespace.inventory().silos.values() {
                    open.ask(namespace.id()).await;
                }
                let _ = namespace.core.forget_moves(None).await;
            });
        }
        if moves {
            self.begin_move();
        }
    }

    /// Background work that a gateway does one at a time.
    fn once<F>(&mut self, name: &'static str, work: impl FnOnce(Arc<Namespace>, Arc<Sim>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some((owner, namespace)) = self.gateway() else { return };
        if !self.executor.has(owner, name) {
            self.executor.spawn(owner, name, false, work(namespace, Arc::clone(&self.sim)));
        }
    }

    fn begin_move(&mut self) {
        let Some((owner, namespace)) = self.gateway() else { return };
        let rows = self.index.truth.range(vec![key::EXTENTS]..after_prefix(&[key::EXTENTS]), 99, usize::MAX);
        let rows = rows.now_or_never().expect("it is ready at once").expect("the memory engine does not fail");
        if rows.is_empty() {
            return;
        }
        let (row_key, bytes) = &rows[self.sim.below(rows.len() as u64) as usize];
        let row: ExtentRow = decode(bytes).expect("the row reads");
        let verified = row.replicas.iter().find(|replica| replica.state == ReplicaState::Verified);
        let from = verified.map_or(1, |replica| replica.silo);
        let extent = read_extent(row_key).expect("a key of the table");
        let planned = Move { extent, bytes: row.size, from, to: 3 - from };
        let sim = Arc::clone(&self.sim);
        self.executor.spawn(owner, "move", false, async move {
            let pacer = Arc::new(Pacer::new(Arc::clone(&namespace.core.clock), None));
            let mover = Mover { core: &namespace.core, job: 1, pacer: &pacer, watch: &|_, _| {} };
            let moved = mover.carry_out(&planned).await;
            sim.note(|| format!("moved {extent}: {moved:?}"));
        });
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
            self.executor.spawn(at, "open", false, async move {
                if let Ok(opened) = open(&sim, &index, off).await {
                    *slot.lock().expect("no holder panics") = Some(opened);
                }
            });
        }
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
        let opened = open(&self.sim, &self.index, self.gateways[at].off).now_or_never().expect("it is quiet");
        *self.gateways[at].namespace.lock().expect("no holder panics") = Some(opened.expect("nothing breaks"));
    }

    /// Lets everything that runs come to its end, nothing breaking any more.
    pub(super) fn finish(&mut self) {
        self.sim.set_stall(0);
        self.index.set(IndexChances::default());
        self.silos.set(SiloChances::default());
        for _ in 0..20_000 {
            if self.executor.is_idle() || self.sim.found().is_some() {
                return;
            }
            self.executor.run_one(|_| false);
        }
        let names = self.executor.names();
        self.sim.wrong(|| format!("these never end: {names:?}"));
    }
}

async fn open(sim: &Arc<Sim>, index: &Arc<Index>, off: i64) -> Result<Arc<Namespace>, String> {
    let engine: Arc<dyn Engine> = Arc::new(Door(Arc::clone(index)));
    let clock = Arc::new(VirtualClock { sim: Arc::clone(sim), off });
    let options = Options { base: "/".into(), seal_key: [7; 32], grace: Duration::ZERO };
    Namespace::open(engine, clock, options, false).await.map_err(|error| error.to_string())
}

fn declared() -> Declared {
    let silo = |id: u32| DeclaredSilo {
        url: format!("memory:{id}"),
        credentials: CredentialsFrom::default(),
        reserve_percent: 5,
    };
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    Declared {
        silos: [("one".to_owned(), silo(1)), ("two".to_owned(), silo(2))].into(),
        write: Some(WritePolicy { to: vec![to("one"), to("two")] }),
        ..Declared::default()
    }
}
