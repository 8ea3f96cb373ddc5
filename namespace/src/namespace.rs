//! The handle that every operation is a method of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::assimilate::Looking;
use crate::backup::{BackupOptions, Backups};
use crate::clock::Clock;
use crate::engine::{self, Engine, Read, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::heat::Tally;
use crate::inventory::Inventory;
use crate::job::Running;
use crate::objective::{AlignOptions, Keeping};
use crate::pack::Packer;
use crate::project::Projecting;
use crate::scrub::{Met, ScrubOptions};
use crate::session::Session;
use crate::stats::{Snapshot, Stats};
use crate::table::silos::namespace_id;
use crate::table::{INDEX_FORMAT, KeyBuilder, decode_row, encode, key};

/// How a namespace is opened.
pub struct Options {
    /// Folder that relative silo paths are below.
    pub base: PathBuf,
    /// Seals secrets at rest; 32 bytes, kept outside the index.
    pub seal_key: [u8; 32],
    /// How long retired replicas stay beside the rule about readers.
    pub grace: Duration,
    /// Extents up to this many bytes share packs; 0 for none, at most [`crate::limits::MAX_PACKED`].
    pub pack_up_to: u64,
    /// How backups of the index are made; none are where this is none.
    pub backup: Option<BackupOptions>,
    /// How objects are kept where objectives want them; by order alone where this is none.
    pub align: Option<AlignOptions>,
    /// How silos are scrubbed; by order alone where this is none.
    pub scrub: Option<ScrubOptions>,
}

/// Why a namespace did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The index was written by a later version.
    #[error("the index has format {found}, this version reads up to {known}")]
    Format {
        /// As found.
        found: u32,
        /// As known.
        known: u32,
    },
    /// It would take for nobody's what was written since.
    #[error(
        "the index is an older copy of itself: its silos have backups of commits that it does not know; \
         `holdall index restore` makes it again from those"
    )]
    Stale,
    /// A silo that the index knows does not open.
    #[error("silo `{silo}`: {reason}")]
    Silo {
        /// Its name.
        silo: String,
        /// One sentence fragment.
        reason: String,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What requests, streams and background work share.
pub struct Core {
    /// Rows.
    pub(crate) engine: Arc<dyn Engine>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// See [`Options`].
    pub(crate) options: Options,
    /// The namespace's id, drawn when the index was made.
    pub(crate) id: String,
    /// The session of this life; replaced when somebody declared it dead. Held only to clone.
    session: RwLock<Arc<Session>>,
    /// Silos and policies as last read. Held only to clone.
    pub(crate) inventory: RwLock<Arc<Inventory>>,
    /// Counters.
    pub(crate) stats: Arc<Stats>,
    /// Jobs that run here, by number.
    pub(crate) running: Running,
    /// Woken when there may be a job to take.
    pub(crate) job_wanted: Notify,
    /// Held while an order is looked at and written down: two that contradict each other are not both taken.
    pub(crate) ordering: tokio::sync::Mutex<()>,
    /// Small extents on their way into silos.
    pub(crate) packer: Arc<Packer>,
    /// Backups of the index.
    pub(crate) backups: Backups,
    /// One sweep at a time.
    pub(crate) sweeping: tokio::sync::Mutex<crate::sweep::Seen>,
    /// Other sessions' beats, and since when they stand, on this gateway's clock.
    pub(crate) watched: Mutex<BTreeMap<u64, (u64, Duration)>>,
    /// Ended sessions whose tails wait for silos, and the silos that were looked through.
    pub(crate) tails: Mutex<BTreeMap<u64, BTreeSet<SiloId>>>,
    /// What is looked for in silos of others.
    pub(crate) looking: Looking,
    /// What trees of others lack.
    pub(crate) projecting: Projecting,
    /// Reads that no row has yet.
    pub(crate) tally: Tally,
    /// What may not be where objectives want it.
    pub(crate) keeping: Keeping,
    /// Held by the one who writes the inventory that people read.
    pub(crate) taking_census: Arc<tokio::sync::Mutex<()>>,
    /// What readers met damaged.
    pub(crate) met: Met,
    /// Choices between replicas so far.
    pub(crate) choices: AtomicU32,
}

/// One gateway's view of all buckets and objects.
pub struct Namespace {
    pub(crate) core: Arc<Core>,
    /// Background tasks, ended by `close`.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Deref for Namespace {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Namespace {
    /// Opens the namespace: begins a session, connects and claims the silos the index knows. `alone` says that no other
    /// process has the index open, so that all earlier sessions are dead.
    pub async fn open(
        engine: Arc<dyn Engine>,
        clock: Arc<dyn Clock>,
        options: Options,
        alone: bool,
    ) -> Result<Arc<Self>, OpenError> {
        let id = ensure_format(&*engine).await?;
        if alone {
            for (session, _) in crate::sweep::live_sessions(&*engine).await? {
                crate::session::end(&*engine, session, None).await?;
            }
        }
        let session = Session::begin(Arc::clone(&engine), clock.now()).await?;
        tracing::info!(session = session.id, "a session begins");
        let stats = Arc::new(Stats::default());
        let inventory = Inventory::load(&*engine, &options, &id, &Inventory::default(), &stats).await?;
        session.revision.store(inventory.revision, std::sync::atomic::Ordering::Release);
        let core = Core {
            engine,
            packer: Arc::new(Packer::new(Arc::clone(&clock))),
            backups: Backups::new(&options.seal_key, Arc::clone(&clock)),
            clock,
            options,
            id,
            session: RwLock::new(session),
            inventory: RwLock::new(Arc::new(inventory)),
            stats,
            running: Running::default(),
            job_wanted: Notify::new(),
            ordering: tokio::sync::Mutex::default(),
            sweeping: tokio::sync::Mutex::default(),
            watched: Mutex::default(),
            tails: Mutex::default(),
            looking: Looking::default(),
            projecting: Projecting::default(),
            tally: Tally::default(),
            keeping: Keeping::default(),
            taking_census: Arc::default(),
            met: Met::default(),
            choices: AtomicU32::new(1),
        };
        Ok(Arc::new(Self { core: Arc::new(core), tasks: Mutex::default() }))
    }

    /// Requests' operations for what runs beside them. It has no tasks of its own.
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), tasks: Mutex::default() }
    }

    /// A task that ends with the namespace.
    pub(crate) fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().expect("no holder panics").push(task);
    }

    /// Starts what runs beside requests (beats, jobs, sweeps, health) on the current tokio runtime.
    pub fn start_background(self: &Arc<Self>) {
        let core = &self.core;
        let tasks = [
            tokio::spawn(Arc::clone(core).beat_forever()),
            tokio::spawn(Arc::clone(core).watch_silos_forever()),
            tokio::spawn(Arc::clone(core).bury_forever()),
            tokio::spawn(Arc::clone(core).sweep_forever()),
            tokio::spawn(Arc::clone(core).look_after_packs_forever()),
            tokio::spawn(Arc::clone(core).run_jobs_forever()),
            tokio::spawn(Arc::clone(core).keep_aligned_forever()),
            tokio::spawn(Arc::clone(core).pass_roots_forever()),
            tokio::spawn(Arc::clone(core).look_at_touched_forever()),
            tokio::spawn(Arc::clone(core).hash_in_place_forever()),
            tokio::spawn(Arc::clone(core).project_forever()),
            tokio::spawn(Arc::clone(core).write_heat_forever()),
            tokio::spawn(Arc::clone(core).scrub_met_forever()),
            tokio::spawn(Arc::clone(core).scrub_forever()),
            tokio::spawn(Arc::clone(core).ship_log_forever()),
            tokio::spawn(Arc::clone(core).take_snapshots_forever()),
        ];
        self.tasks.lock().expect("no holder panics").extend(tasks);
    }

    /// Ends the session in good order: background work stops between steps, the last beat says so.
    pub async fn close(&self) {
        self.core.running.rest(&*self.core.clock).await;
        let tasks = std::mem::take(&mut *self.tasks.lock().expect("no holder panics"));
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
        self.core.stop_jobs().await;
        self.core.write_heat().await;
        self.core.ship_the_rest().await;
        if let Err(fault) = self.core.session().end().await {
            tracing::warn!(%fault, "the session did not end in good order");
        }
    }

    /// Whether the index answers and the session is alive.
    pub async fn ready(&self) -> Result<(), Fault> {
        self.core.engine.get(&[namespace_id()]).await?;
        if self.core.session().is_dead() {
            return Err(Fault::Unavailable("the session is dead".to_owned()));
        }
        Ok(())
    }

    /// Counters of this process.
    pub fn stats(&self) -> Snapshot {
        let mut snapshot = self.core.stats.snapshot();
        snapshot.reads_open = self.core.session().reads_open();
        snapshot.index_bytes = self.core.engine.size().unwrap_or_default();
        snapshot.moves_running = self.core.running.moves_running();
        snapshot.names_waiting = self.core.names_waiting();
        snapshot.queues_silent = self.silent_queues();
        snapshot.unhashed_bytes = self.core.unhashed_bytes();
        snapshot.misaligned_bytes = self.misaligned_bytes();
        snapshot
    }

    /// Publishes a beat, as the background does every half second: for tests that own time.
    pub async fn publish_beat_for_tests(&self) {
        self.core.beat_once().await;
    }

    /// The namespace's own id, drawn when the index was made.
    pub fn id(&self) -> &str {
        &self.core.id
    }
}

impl Core {
    /// The session of this life.
    pub(crate) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session.read().expect("no holder panics"))
    }

    /// Silos and policies.
    pub(crate) fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(&self.inventory.read().expect("no holder panics"))
    }

    /// Publishes one beat, reads the settings again if somebody changed them, and begins a new session if this one was
    /// declared dead.
    pub(crate) async fn beat_once(&self) {
        if self.session().is_dead() {
            match Session::begin(Arc::clone(&self.engine), self.clock.now()).await {
                Ok(session) => {
                    tracing::warn!(session = session.id, "another session begins, the last one is over");
                    *self.session.write().expect("no holder panics") = session;
                }
                Err(fault) => tracing::error!(%fault, "no new session"),
            }
        }
        if let Err(fault) = self.refresh_inventory(false).await {
            tracing::warn!(%fault, "the silos' settings could not be read");
        }
        self.seal_packs();
        if let Err(fault) = self.session().publish_beat().await {
            tracing::warn!(%fault, "a beat was not published");
        }
    }

    async fn beat_forever(self: Arc<Self>) {
        loop {
            self.beat_once().await;
            self.clock.sleep(crate::limits::BEAT).await;
        }
    }
}

/// Checks or writes the format row, and the namespace's id.
async fn ensure_format(engine: &dyn Engine) -> Result<String, OpenError> {
    let format = KeyBuilder::new(key::META).raw(b"format").build();
    let drawn = random_id();
    let reads = vec![Read::Row(format.clone()), Read::Row(namespace_id())];
    let decide = move |rows: &Rows| -> Result<_, OpenError> {
        let found: Option<u32> = decode_row(rows.get(&format))?;
        if let Some(found) = found.filter(|found| *found > INDEX_FORMAT) {
            return Err(OpenError::Format { found, known: INDEX_FORMAT });
        }
        // What an earlier version would take for orphans may be written from now on.
        let mut writes = Vec::new();
        if found != Some(INDEX_FORMAT) {
            writes.push(Write::Put(format.clone(), encode(&INDEX_FORMAT)));
        }
        if let Some(id) = decode_row::<String>(rows.get(&namespace_id()))? {
            return Ok((writes, id));
        }
        writes.push(Write::Put(namespace_id(), encode(&drawn)));
        Ok((writes, drawn.clone()))
    };
    engine::commit(engine, reads, decide).await.map_err(|error| match error {
        engine::NotCommitted::Refused(error) => error,
        engine::NotCommitted::Engine(error) => OpenError::Fault(error.into()),
    })
}

/// Sixteen random bytes in hexadecimal.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness");
    const_hex::encode(bytes)
}
