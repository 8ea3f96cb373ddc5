//! The silos: which there are, how full, how healthy.

mod breaker;
mod choose;
mod declared;
mod first_byte;
mod load;
mod room;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use holdall_silos::holdings::Holdings;
use holdall_silos::projections::Projections;
use holdall_silos::silo::Space;
use holdall_silos::wrap::silence::Silence;
use holdall_silos::{Address, Facts, Silo, SiloError};
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, UnixMs};
pub use crate::credentials::CredentialsFrom;
use crate::engine::Engine;
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::limits::{FAILURES_UNTIL_DOWN, SILENCE, SILO_CHECK};
use crate::meet::{Connected, claim, connect_declared};
use crate::mover::SiloPace;
use crate::namespace::{Core, Namespace, OpenError, Options};
use crate::objective::{Learnt, Objectives, Rules, Scope};
use crate::placement::Candidate;
use crate::price::{Money, Price, PriceCard, Reads};
use crate::stats::Stats;
use crate::switch::Switch;
use crate::table::roots::RootRow;
use crate::table::silos::{SiloRow, read_silo, revision};
use crate::table::usage::{self, Counted};
use crate::table::{after_prefix, key};
use breaker::Breaker;
pub(crate) use choose::Then;
pub use declared::{Access, ApplyError, Change, Declared, DeclaredSilo, Rates, WritePolicy, WriteTarget};
use first_byte::FirstByte;
use load::{load_objectives, load_policies};

/// Whether a silo answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does.
    Up,
    /// It did not lately; reads of what it holds answer 503.
    Down,
    /// It never will: nobody asks.
    Lost,
}

/// A silo as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiloInfo {
    /// Its number.
    pub id: SiloId,
    /// Its name.
    pub name: String,
    /// Its URL, without secrets.
    pub url: String,
    /// Whose it is.
    pub access: Access,
    /// Takes no new bytes by order.
    pub cordoned: bool,
    /// Nothing moves from or to it, by order.
    pub paused: bool,
    /// Whether it answers.
    pub health: Health,
    /// Since when it is known that it never will.
    pub lost: Option<UnixMs>,
    /// What it was found to promise.
    pub facts: Facts,
    /// Extents with a verified replica here.
    pub extents: i64,
    /// Their stored bytes.
    pub used: i64,
    /// Replicas retired and not yet swept.
    pub retired_extents: i64,
    /// Their stored bytes.
    pub retired: i64,
    /// Bytes the silo could still take; unknown for buckets.
    pub free: Option<u64>,
    /// Bytes of them kept free.
    pub reserve: Option<u64>,
    /// What it asks, as declared.
    pub price: Option<Price>,
    /// When it was registered.
    pub created: UnixMs,
}

/// There is no silo of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiloCommandError {
    /// Which.
    #[error("no silo `{0}`")]
    NoSuchSilo(String),
    /// It never comes back.
    #[error("silo `{0}` is lost; `holdall silo found {0}` takes it back, where it is there after all")]
    Lost(String),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A silo this gateway has open.
pub struct OpenSilo {
    /// Its number.
    pub id: SiloId,
    /// As it stands in the index.
    pub row: SiloRow,
    /// Its client.
    pub silo: Arc<dyn Silo>,
    /// What others put there, of a silo of others.
    pub holdings: Option<Arc<dyn Holdings>>,
    /// What writes to what others put there, where we may.
    pub projections: Option<Arc<dyn Projections>>,
    /// Whether anybody waits for it.
    silence: Arc<Silence>,
    /// What was given up may have landed here all the same. Whoever gives up later may know it by an earlier row.
    doubtful: Arc<AtomicBool>,
    failures: AtomicU32,
    full: AtomicBool,
    /// As asked last; replaced whole.
    space: Mutex<Option<Space>>,
    /// Bytes sent since `space` was asked.
    written: AtomicU64,
    /// Bytes that go by themselves, as they were counted last.
    retired: Arc<AtomicU64>,
    stats: Arc<Stats>,
    /// How fast it answers reads.
    pub(crate) first_byte: Arc<FirstByte>,
    /// Whether what runs in the background tries to write to it.
    pub(crate) breaker: Arc<Breaker>,
    /// How fast what runs in the background may use it.
    pub(crate) pace: Arc<SiloPace>,
    /// What it asks; none where that is not known, as where a later version declared it.
    pub(crate) card: Option<PriceCard>,
}

impl OpenSilo {
    /// Counts an operation's outcome; several failures in a row are a silo that is down.
    pub fn note<T>(&self, outcome: Result<T, SiloError>) -> Result<T, SiloError> {
        match &outcome {
            Ok(_) => self.failures.store(0, Ordering::Relaxed),
            Err(SiloError::Body(_)) => {}
            Err(error) => {
                if error.blames_silo() {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                }
                if matches!(error, SiloError::Unknown { .. }) {
                    self.doubt();
                }
                if *error == SiloError::Full {
                    self.full.store(true, Ordering::Relaxed);
                }
                self.stats.silo(&self.row.name, |silo| silo.errors += 1);
            }
        }
        outcome
    }

    /// Counts bytes that were sent.
    pub fn note_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        self.stats.silo(&self.row.name, |silo| silo.bytes_written += bytes);
    }

    /// Counts bytes that were read.
    pub fn note_read(&self, bytes: u64) {
        self.stats.silo(&self.row.name, |silo| silo.bytes_read += bytes);
    }

    /// Counts a block that did not match.
    pub fn note_damage(&self) {
        self.stats.silo(&self.row.name, |silo| silo.damaged_blocks += 1);
    }

    /// Whether it is known that reading it costs nothing: what it asks says so, or it is no bucket and nothing is said.
    pub(crate) fn is_read_for_nothing(&self) -> bool {
        match (&self.row.declared.price, &self.card) {
            (None, _) => !self.row.facts.is_bucket(),
            (Some(_), card) => card.is_some_and(|card| card.is_read_for_nothing()),
        }
    }

    /// What reading so many bytes in one request costs; nothing where no price is known.
    pub(crate) fn read_costs(&self, bytes: u64) -> Money {
        self.card.map_or(Money::ZERO, |card| card.read(Reads { thousandths: 1000, bytes }))
    }

    /// Why nothing is moved there now, whatever clients do; one sentence fragment.
    pub(crate) fn rests(&self, now: Duration) -> Option<String> {
        Some(format!("silo `{}` is left alone for a while: {}", self.row.name, self.breaker.rests(now)?))
    }

    /// Whether new bytes may go there, as far as orders and owners go.
    pub fn takes_bytes(&self) -> bool {
        !self.row.cordoned && !self.is_lost() && self.row.declared.access == Access::Own
    }

    /// Something was given up that may have landed, or was left.
    pub(crate) fn doubt(&self) {
        self.doubtful.store(true, Ordering::Relaxed);
    }

    /// Whether something was given up since this was asked last.
    pub(crate) fn was_doubtful(&self) -> bool {
        self.doubtful.swap(false, Ordering::Relaxed)
    }

    /// Whether it answered lately.
    pub fn health(&self) -> Health {
        match self.failures.load(Ordering::Relaxed) {
            _ if self.is_lost() => Health::Lost,
            FAILURES_UNTIL_DOWN.. => Health::Down,
            _ => Health::Up,
        }
    }

    /// Looks whether it is the silo that was registered.
    pub(crate) async fn claim(&self, namespace: &str) -> Result<(), SiloError> {
        self.silo.claim(&claim(&self.row.name, namespace, &self.row.marker, false)).await
    }

    /// Asks the silo how full it is, and whether it is still ours.
    pub async fn ask(&self, namespace: &str) {
        match self.claim(namespace).await {
            Ok(()) => {
                self.silence.lift();
                self.failures.store(0, Ordering::Relaxed);
            }
            // Which may be no answer of the silo's, but that there was none.
            Err(error) => return self.note_down(&error),
        }
        if let Ok(space) = self.silo.space().await {
            self.note_space(space);
        }
    }

    fn note_down(&self, error: &SiloError) {
        if self.failures.fetch_max(FAILURES_UNTIL_DOWN, Ordering::Relaxed) < FAILURES_UNTIL_DOWN {
            tracing::warn!(silo = %self.row.name, %error, "silo is down");
        }
    }

    /// The same, and where neither this nor anything else is answered for a while, nobody waits for the silo any more
    /// until this is.
    async fn listen(&self, namespace: &str, clock: &dyn Clock) {
        let mut asking = std::pin::pin!(self.ask(namespace));
        loop {
            let heard = self.silence.heard();
            tokio::select! {
                biased;
                () = &mut asking => return,
                () = clock.sleep(SILENCE) => {}
            }
            if self.silence.heard() == heard && !self.silence.is_fallen() {
                self.silence.fall();
                self.note_down(&SiloError::not_done("it does not answer"));
            }
        }
    }

    /// Whether its bytes lie in a folder below this one.
    pub(crate) fn lies_below(&self, folder: &Path) -> bool {
        matches!(Address::parse(&self.row.declared.url, folder), Ok(Address::Posix(path)) if path.starts_with(folder))
    }

    /// As placement looks at it, at this moment.
    pub(crate) fn candidate(&self) -> Candidate {
        Candidate {
            id: self.id,
            name: self.row.name.clone(),
            cordoned: !self.takes_bytes(),
            up: self.health() == Health::Up,
            room: self.room(),
        }
    }
}

/// An objective that this version cannot read.
#[derive(Debug, Clone)]
pub struct Unread {
    /// What it is about, where that can be read.
    on: Option<Scope>,
    /// Why.
    reason: String,
}

impl Unread {
    fn fault(&self, name: &str) -> Fault {
        Fault::Unavailable(format!("objective `{name}` cannot be read by this version: {}", self.reason))
    }
}

/// Silos, write policies and objectives as they stood at one revision.
#[derive(Default)]
pub struct Inventory {
    /// Which revision.
    pub revision: i64,
    /// By number.
    pub silos: BTreeMap<SiloId, Arc<OpenSilo>>,
    /// The default write policy.
    pub write: Option<WritePolicy>,
    /// By bucket.
    pub bucket_write: BTreeMap<String, WritePolicy>,
    /// Objectives by name, with what each `when` says.
    pub objectives: Objectives,
    /// Those that cannot be read here: a later version declared them.
    pub unread: BTreeMap<String, Unread>,
    /// What is taken over in place. How far that came may be more by now.
    pub roots: Vec<RootRow>,
    /// Silos that others follow.
    pub switches: Vec<Switch>,
    /// The objectives in force, for what is written; made when they are first asked.
    placing: OnceLock<Rules>,
    /// What was learnt of how objects are used; the same in all inventories of a gateway.
    pub(crate) learnt: Arc<Learnt>,
}

impl Inventory {
    /// Reads silos and settings; keeps open what `before` had open and did not change.
    pub(crate) async fn load(
        engine: &dyn Engine,
        options: &Options,
        namespace: &str,
        before: &Self,
        stats: &Arc<Stats>,
    ) -> Result<Self, OpenError> {
        let revision = usage::read(engine.get(&[revision()]).await.map_err(Fault::from)?[0].as_ref());
        let table = vec![key::SILOS]..after_prefix(&[key::SILOS]);
        let rows = engine.range(table, crate::limits::MAX_SILOS, usize::MAX).await.map_err(Fault::from)?;
        let (mut silos, mut refused) = (BTreeMap::new(), None);
        for (key, bytes) in rows {
            let Some(id) = read_silo(&key) else { continue };
            let row = SiloRow::decode(&bytes)?;
            let (open, down) = open_silo(id, row, before.silos.get(&id), options, namespace, stats).await?;
            refused = refused.or(down.map(|reason| OpenError::Silo { silo: open.row.name.clone(), reason }));
            silos.insert(id, open);
        }
        // Where nothing answers, it is the folders' names that are wrong more often than all of the disks.
        if let Some(refused) = refused.filter(|_| silos.values().all(|open| open.health() != Health::Up)) {
            return Err(refused);
        }
        let (write, bucket_write) = load_policies(engine).await?;
        let (objectives, unread) = load_objectives(engine).await?;
        let (roots, switches) = (load_roots(engine).await?, crate::switch::load(engine).await?);
        let (placing, learnt) = (OnceLock::new(), Arc::clone(&before.learnt));
        Ok(Self { revision, silos, write, bucket_write, objectives, unread, roots, switches, placing, learnt })
    }

    /// By name.
    pub fn named(&self, name: &str) -> Option<&Arc<OpenSilo>> {
        self.silos.values().find(|open| open.row.name == name)
    }

    /// A silo's name, for people; its number where it is not here.
    pub(crate) fn name_of(&self, id: SiloId) -> String {
        self.silos.get(&id).map_or_else(|| format!("#{id}"), |open| open.row.name.clone())
    }

    /// By name, or why there is none.
    pub(crate) fn known(&self, name: &str) -> Result<&Arc<OpenSilo>, SiloCommandError> {
        self.named(name).ok_or_else(|| SiloCommandError::NoSuchSilo(name.to_owned()))
    }

    /// By number; a replica in a silo that is not here cannot be read.
    pub fn silo(&self, id: SiloId) -> Result<&Arc<OpenSilo>, Fault> {
        self.silos.get(&id).ok_or_else(|| Fault::Unavailable(format!("silo {id} is not open here")))
    }
}

/// All roots, by number.
pub(crate) async fn load_roots(engine: &dyn Engine) -> Result<Vec<RootRow>, Fault> {
    let table = vec![key::ROOTS]..after_prefix(&[key::ROOTS]);
    let rows = engine.range(table, crate::limits::MAX_ROOTS, usize::MAX).await?;
    rows.iter().map(|(_, row)| RootRow::decode(row)).collect()
}

/// Opens a silo; beside one that is down and is no bucket stands why.
async fn open_silo(
    id: SiloId,
    row: SiloRow,
    before: Option<&Arc<OpenSilo>>,
    options: &Options,
    namespace: &str,
    stats: &Arc<Stats>,
) -> Result<(Arc<OpenSilo>, Option<String>), OpenError> {
    let failed = |reason: String| OpenError::Silo { silo: row.name.clone(), reason };
    let kept = before.filter(|open| open.row.is_reached_as(&row));
    let (connected, silence, space) = if row.lost.is_some() {
        (Connected::lost(), Arc::default(), None)
    } else if let Some(open) = kept {
        let (holdings, projections) = (open.holdings.clone(), open.projections.clone());
        let connected = Connected { silo: Arc::clone(&open.silo), holdings, projections };
        (connected, Arc::clone(&open.silence), *open.space.lock().expect("no holder panics"))
    } else {
        let (connected, silence) =
            (connect_declared(&row.declared, &options.base, namespace).map_err(failed)?, Arc::default());
        (connected.heard(&silence), silence, None)
    };
    let Connected { silo, holdings, projections } = connected;
    let open = OpenSilo {
        id,
        silo,
        holdings,
        projections,
        silence,
        doubtful: before.map(|open| Arc::clone(&open.doubtful)).unwrap_or_default(),
        failures: AtomicU32::new(kept.map_or(0, |open| open.failures.load(Ordering::Relaxed))),
        full: AtomicBool::new(false),
        space: Mutex::new(space),
        written: AtomicU64::new(0),
        retired: before.map(|open| Arc::clone(&open.retired)).unwrap_or_default(),
        stats: Arc::clone(stats),
        breaker: kept.map(|open| Arc::clone(&open.breaker)).unwrap_or_default(),
        pace: match before.filter(|open| open.row.declared.rates == row.declared.rates) {
            Some(open) => Arc::clone(&open.pace),
            None => Arc::new(row.declared.rates.pace()),
        },
        card: row.declared.price.as_ref().and_then(|price| price.card().ok()),
        first_byte: kept.map(|open| Arc::clone(&open.first_byte)).unwrap_or_default(),
        row,
    };
    // It was probed through another client, or in another life.
    open.silo.recall(&open.row.facts);
    if kept.is_none() && !open.is_lost() {
        match open.claim(namespace).await {
            Ok(()) => open.ask(namespace).await,
            // It may come back; till then the others' objects are served.
            Err(error) => {
                tracing::warn!(silo = %open.row.name, %error, "silo is down");
                open.failures.store(FAILURES_UNTIL_DOWN, Ordering::Relaxed);
                // A bucket that does not answer does so soon; a folder that is not there is perhaps somebody's mistake.
                let down = (!open.row.facts.is_bucket() || !error.blames_silo()).then(|| error.to_string());
                return Ok((Arc::new(open), down));
            }
        }
    }
    Ok((Arc::new(open), None))
}

impl Core {
    /// Reads silos and settings again when their revision changed, or `always`.
    pub(crate) async fn refresh_inventory(&self, always: bool) -> Result<(), Fault> {
        let now = usage::read(self.engine.get(&[revision()]).await?[0].as_ref());
        let before = self.inventory();
        if now != before.revision || always {
            let loaded = Inventory::load(&*self.engine, &self.options, &self.id, &before, &self.stats).await;
            let loaded = loaded.map_err(|error| Fault::Unavailable(error.to_string()))?;
            *self.inventory.write().expect("no holder panics") = Arc::new(loaded);
            self.packer.wake();
        }
        self.session().revision.store(self.inventory().revision, Ordering::Release);
        Ok(())
    }

    pub(crate) async fn watch_silos_forever(self: Arc<Self>) {
        // Each by itself: one that does not answer keeps no other from being asked.
        let (mut asked, mut asking) = (BTreeSet::new(), FuturesUnordered::new());
        loop {
            for open in self.inventory().silos.values().filter(|open| !open.is_lost() && asked.insert(open.id)) {
                asking.push(self.listen_to(Arc::clone(open)));
            }
            let mut next = std::pin::pin!(self.clock.sleep(SILO_CHECK));
            loop {
                tokio::select! {
                    () = &mut next => break,
                    Some(id) = asking.next() => drop(asked.remove(&id)),
                }
            }
        }
    }

    async fn listen_to(&self, open: Arc<OpenSilo>) -> SiloId {
        let before = open.health();
        open.listen(&self.id, &*self.clock).await;
        self.count_retired(&open).await;
        if before == Health::Down && open.health() == Health::Up {
            self.packer.wake();
        }
        open.id
    }

    pub(crate) async fn silo_info(&self, open: &OpenSilo) -> Result<SiloInfo, Fault> {
        let live = usage::keys(Counted::Silo(open.id));
        let retired = usage::keys(Counted::Retired(open.id));
        let rows = self.engine.get(&[live, retired].concat()).await?;
        let count = |index: usize| usage::read(rows[index].as_ref());
        let space = open.space();
        Ok(SiloInfo {
            id: open.id,
            name: open.row.name.clone(),
            url: open.row.declared.url.clone(),
            access: open.row.declared.access,
            cordoned: open.row.cordoned,
            paused: open.row.paused,
            health: open.health(),
            lost: open.row.lost,
            facts: open.row.facts.clone(),
            extents: count(0),
            used: count(1),
            retired_extents: count(2),
            retired: count(3),
            free: space.map(|(space, _)| space.free),
            reserve: space.map(|(_, reserve)| reserve),
            price: open.row.declared.price.clone(),
            created: open.row.created,
        })
    }
}

impl Namespace {
    /// Whether the index knows any silo: a new index declares the default ones.
    pub fn has_silos(&self) -> bool {
        !self.inventory().silos.is_empty()
    }

    /// All silos, by number.
    pub async fn silos(&self) -> Result<Vec<SiloInfo>, Fault> {
        let inventory = self.inventory();
        let mut all = Vec::with_capacity(inventory.silos.len());
        for open in inventory.silos.values() {
            all.push(self.silo_info(open).await?);
        }
        Ok(all)
    }

    /// Cordons (takes no new bytes) or uncordons a silo. When this answers, every write that begins here obeys it.
    pub async fn set_cordon(&self, silo: &str, cordoned: bool) -> Result<SiloInfo, SiloCommandError> {
        self.core.cordon(silo, cordoned).await?;
        self.core.info_of(silo).await
    }

    /// Pauses a silo, or resumes it: nothing moves from or to it, by orders or by itself. Reads and writes go on.
    pub async fn pause_silo(&self, silo: &str, paused: bool) -> Result<SiloInfo, SiloCommandError> {
        self.core.change_silo(silo, move |row| row.paused = paused).await?;
        tracing::info!(silo, paused, "silo pause changed");
        self.core.info_of(silo).await
    }
}

impl Core {
    pub(crate) async fn cordon(&self, silo: &str, cordoned: bool) -> Result<(), SiloCommandError> {
        self.change_silo(silo, move |row| row.cordoned = cordoned).await?;
        tracing::info!(silo, cordoned, "silo cordon changed");
        Ok(())
    }

    async fn change_silo(
        &self,
        silo: &str,
        change: impl Fn(&mut SiloRow) + Send + 'static,
    ) -> Result<(), SiloCommandError> {
        let id = self.inventory().asked(silo)?.id;
        crate::declare::change_silo(&*self.engine, id, change).await?;
        Ok(self.refresh_inventory(true).await?)
    }

    /// A silo as it is shown.
    pub(crate) async fn info_of(&self, silo: &str) -> Result<SiloInfo, SiloCommandError> {
        Ok(self.silo_info(self.inventory().known(silo)?).await?)
    }
}
