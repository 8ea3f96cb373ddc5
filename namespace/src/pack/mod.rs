//! Small extents share files: many requests, one write, one fsync.
//!
//! A record joins the group that forms for its silo; whoever's turn it is writes all of it. Where packs grow, a group is
//! appended to the session's open pack (one for clients, one for what is moved); elsewhere each is a pack of its own. A
//! pack's number stays unfinished as long as something may still be appended to it, or a row of a record of it may still
//! land: until then nobody else touches it. After that it is looked after (`upkeep`): deleted when no row names it,
//! rewritten when less than half of it is named.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared, join_all};
use futures_util::stream;
use holdall_silos::{Body, SiloError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::engine::Priority;
use crate::extent::{Location, SiloId};
use crate::inventory::OpenSilo;
use crate::limits::{
    COMPACTION_RATE, GROUP_BYTES, GROUP_RECORDS, GROUPS_AT_ONCE, PACK_BYTES, PACK_OPEN, PACK_PAUSE, PACK_PAUSES,
};
use crate::mover::Pacer;
use crate::namespace::Core;
use crate::session::{Session, Unfinished};
use crate::table::packs::PackId;

mod fetch;
mod record;
mod upkeep;

pub(crate) use fetch::{Wanted, fetch, reads_of};
#[cfg(test)]
pub(crate) use record::Head;
pub(crate) use record::{Record, unpack};
pub(crate) use upkeep::Records;

/// Whether an extent of this size goes into a pack where those up to `up_to` do.
pub(crate) fn shares_packs(size: u64, up_to: u64) -> bool {
    size > 0 && size <= up_to
}

/// A record that is durable, and that no row names yet.
#[derive(Clone)]
pub(crate) struct Packed {
    pub location: Location,
    /// Held until the outcome of the commit that names the record is known.
    pub guard: Arc<Unfinished>,
    /// See [`holdall_silos::Stored::checksum_enforced`].
    pub checksum_enforced: bool,
}

/// What this gateway writes into packs.
pub(crate) struct Packer {
    /// For packs that are rewritten.
    pacer: Arc<Pacer>,
    lanes: Mutex<BTreeMap<(SiloId, Priority), Arc<Lane>>>,
    /// Packs to be looked at.
    watched: Mutex<BTreeMap<PackId, Watched>>,
    /// Packs of which everything in use was moved away, and waits for the sweep.
    rewritten: Mutex<BTreeSet<PackId>>,
    /// Held while packs are looked after.
    tending: tokio::sync::Mutex<()>,
}

/// A pack to be looked at.
#[derive(Debug, Default, Clone, Copy)]
struct Watched {
    /// Where it is known for good.
    length: Option<u64>,
    /// Not before this, on the gateway's monotonic clock.
    from: Duration,
    /// How often something happened to it.
    touched: u64,
    /// How often that was when it was looked at last.
    looked: u64,
    /// How often in a row it could not be looked after.
    failed: u32,
}

impl Watched {
    fn rests(&self, now: Duration) -> bool {
        self.from > now
    }
}

/// See [`Packer::touch`].
pub(crate) struct Touched {
    packer: Arc<Packer>,
    packs: Vec<PackId>,
}

impl Drop for Touched {
    fn drop(&mut self) {
        self.packs.iter().for_each(|pack| self.packer.watch(*pack));
    }
}

/// The way into one silo's packs. Locks are held for a few instructions.
struct Lane {
    turns: Semaphore,
    /// Taken out while a group is appended; a group that fails, or that nobody waits for any more, does not put it back.
    open: Mutex<Option<Pack>>,
    forming: Mutex<Option<Forming>>,
}

/// A pack that may grow.
struct Pack {
    id: PackId,
    guard: Arc<Unfinished>,
    length: u64,
    /// On the gateway's monotonic clock.
    opened: Duration,
    /// The settings it was opened under: whoever waits for those that come after waits for no pack.
    revision: i64,
}

/// Records that wait for their turn.
#[derive(Default)]
struct Waiting {
    records: Mutex<Vec<Record>>,
}

struct Forming {
    waiting: Arc<Waiting>,
    session: u64,
    bytes: u64,
    records: usize,
    /// Lives as long as somebody waits for it.
    group: WeakShared<BoxFuture<'static, Written>>,
}

/// A group that was written: a place for each of its records, in order.
type Written = Result<Arc<Vec<Packed>>, SiloError>;
type Group = Shared<BoxFuture<'static, Written>>;

impl Core {
    /// Whether an extent of this size goes into a pack.
    pub(crate) fn is_packed(&self, size: u64) -> bool {
        shares_packs(size, self.options.pack_up_to)
    }

    /// Stores a record; durable when this answers.
    pub(crate) async fn pack(
        self: &Arc<Self>,
        session: &Arc<Session>,
        open: &Arc<OpenSilo>,
        record: Record,
    ) -> Result<Packed, SiloError> {
        let (group, at) = self.join_group(session, open, Priority::Foreground, record);
        group.await.map(|places| places[at].clone())
    }

    /// Stores records that are moved, in as few groups as hold them. Their packs are of their own: no client waits behind
    /// them, and what has been kept for a while lies together.
    pub(crate) async fn pack_all(
        self: &Arc<Self>,
        session: &Arc<Session>,
        open: &Arc<OpenSilo>,
        records: Vec<Record>,
    ) -> Vec<Result<Packed, SiloError>> {
        let join = |record| self.join_group(session, open, Priority::Background, record);
        let joined: Vec<_> = records.into_iter().map(join).collect();
        join_all(joined.into_iter().map(|(group, at)| async move { group.await.map(|places| places[at].clone()) }))
            .await
    }

    /// Joins the group that forms, or begins one; answers the record's place in it.
    fn join_group(
        self: &Arc<Self>,
        session: &Arc<Session>,
        open: &Arc<OpenSilo>,
        priority: Priority,
        record: Record,
    ) -> (Group, usize) {
        let lane = self.packer.lane(open, priority);
        let length = record.length();
        let mut forming = lock(&lane.forming);
        if let Some(forming) = &mut *forming
            && let Some(group) = forming.join(session, length)
        {
            lock(&forming.waiting.records).push(record);
            return (group, forming.records - 1);
        }
        let waiting = Arc::new(Waiting { records: Mutex::new(vec![record]) });
        let turn = Turn {
            core: Arc::clone(self),
            session: Arc::clone(session),
            open: Arc::clone(open),
            lane: Arc::clone(&lane),
        };
        let group = turn.write(Arc::clone(&waiting)).boxed().shared();
        let weak = group.downgrade().expect("it was not polled");
        *forming = Some(Forming { waiting, session: session.id, bytes: length, records: 1, group: weak });
        (group, 0)
    }

    /// Ends the open packs that are old, or were opened under other settings than those of now.
    pub(crate) fn seal_packs(&self) {
        let (now, revision) = (self.clock.monotonic(), self.inventory().revision);
        let lanes: Vec<Arc<Lane>> = lock(&self.packer.lanes).values().cloned().collect();
        for lane in lanes {
            let over = lock(&lane.open).take_if(|pack| pack.is_over(now, revision));
            if let Some(pack) = over {
                self.packer.seal(&pack);
            }
        }
    }
}

impl Packer {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let pacer = Arc::new(Pacer::new(clock, Some(COMPACTION_RATE), CancellationToken::new()));
        Self {
            pacer,
            lanes: Mutex::default(),
            watched: Mutex::default(),
            rewritten: Mutex::default(),
            tending: tokio::sync::Mutex::default(),
        }
    }

    fn lane(&self, open: &OpenSilo, priority: Priority) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        let turns = if open.silo.appends() { 1 } else { GROUPS_AT_ONCE };
        Arc::clone(lanes.entry((open.id, priority)).or_insert_with(|| {
            Arc::new(Lane { turns: Semaphore::new(turns), open: Mutex::default(), forming: Mutex::default() })
        }))
    }

    /// Has a pack looked at: it was begun, or something of it is not named any more.
    pub(crate) fn watch(&self, pack: PackId) {
        let mut watched = lock(&self.watched);
        let watched = watched.entry(pack).or_default();
        watched.touched += 1;
        if watched.failed == 0 {
            watched.from = Duration::ZERO;
        }
    }

    /// Has packs looked at once this is dropped, whatever became of the work till then.
    pub(crate) fn touch(self: &Arc<Self>, packs: Vec<PackId>) -> Touched {
        Touched { packer: Arc::clone(self), packs }
    }

    /// What is to be looked at now: what something happened to may be empty by now, even if it could not be rewritten.
    fn due(&self, now: Duration) -> Vec<(PackId, Watched)> {
        let watched = lock(&self.watched);
        let due = watched.iter().filter(|(_, watched)| !watched.rests(now) || watched.touched != watched.looked);
        due.map(|(id, watched)| (*id, *watched)).collect()
    }

    /// A pack was looked at, as it stood in `seen`: it is done with, unless something happened to it since.
    fn done(&self, pack: PackId, seen: Watched) {
        if let Entry::Occupied(entry) = lock(&self.watched).entry(pack)
            && entry.get().touched == seen.touched
        {
            entry.remove();
        }
    }

    /// Silos or settings changed: what waited for that waits no more.
    pub(crate) fn wake(&self) {
        for watched in lock(&self.watched).values_mut().filter(|watched| watched.failed == 0) {
            watched.from = Duration::ZERO;
        }
    }

    /// Somebody asks for it: no pause holds.
    pub(crate) fn hurry(&self) {
        lock(&self.watched).values_mut().for_each(|watched| watched.from = Duration::ZERO);
    }

    /// It is not empty, and its pause is not over.
    fn rests_on(&self, pack: PackId, seen: Watched) {
        if let Some(watched) = lock(&self.watched).get_mut(&pack) {
            watched.looked = seen.touched;
        }
    }

    /// Nothing can be done now; the pause doubles where it `failed`.
    fn later(&self, pack: PackId, seen: Watched, now: Duration, failed: bool) {
        if let Some(watched) = lock(&self.watched).get_mut(&pack) {
            watched.looked = seen.touched;
            watched.failed = if failed { (watched.failed + 1).min(PACK_PAUSES) } else { 0 };
            watched.from = now + PACK_PAUSE * (1 << watched.failed.saturating_sub(1));
        }
    }

    /// Nothing is appended any more.
    fn seal(&self, pack: &Pack) {
        let mut watched = lock(&self.watched);
        let watched = watched.entry(pack.id).or_default();
        watched.length = Some(pack.length);
        watched.touched += 1;
    }
}

impl Pack {
    fn is_over(&self, now: Duration, revision: i64) -> bool {
        self.length >= PACK_BYTES || self.revision != revision || now.saturating_sub(self.opened) >= PACK_OPEN
    }
}

impl Forming {
    /// The group, if it takes a record of this length.
    fn join(&mut self, session: &Session, length: u64) -> Option<Group> {
        let fits = self.bytes + length <= GROUP_BYTES && self.records < GROUP_RECORDS;
        let group = self.group.upgrade().filter(|_| fits && self.session == session.id)?;
        self.bytes += length;
        self.records += 1;
        Some(group)
    }
}

/// What a group needs to be written.
struct Turn {
    core: Arc<Core>,
    session: Arc<Session>,
    open: Arc<OpenSilo>,
    lane: Arc<Lane>,
}

impl Turn {
    /// Waits for the turn, takes all who joined by then, and writes them.
    async fn write(self, waiting: Arc<Waiting>) -> Written {
        let turn = self.lane.turns.acquire().await;
        let _turn = turn.map_err(|_| SiloError::not_done("no turn to write"))?;
        let records = self.close(&waiting);
        let mut pack = self.take_pack();
        let begin = pack.length;
        let lengths: Vec<u64> = records.iter().map(Record::length).collect();
        let pieces: Vec<Bytes> = records.into_iter().flat_map(Record::pieces).collect();
        let size = lengths.iter().sum::<u64>();
        let sent = self.open.note(self.send(&pack, pieces, size).await);
        if sent.is_err() && crate::seeded_bug!("pack-kept-open") {
            pack.length += size;
            self.put_back(pack);
            return sent.map(|_| Arc::default());
        }
        let checksum_enforced = sent?;
        crate::failpoint!("pack-written");
        self.open.note_written(size);
        pack.length += size;
        let (name, guard) = (pack.id.name(), Arc::clone(&pack.guard));
        self.put_back(pack);
        let mut offset = begin;
        let places = lengths.into_iter().map(|length| {
            let location = Location::Pack { pack: name, offset, length };
            offset += length;
            Packed { location, guard: Arc::clone(&guard), checksum_enforced }
        });
        Ok(Arc::new(places.collect()))
    }

    /// Nobody joins from now on.
    fn close(&self, waiting: &Arc<Waiting>) -> Vec<Record> {
        lock(&self.lane.forming).take_if(|forming| Arc::ptr_eq(&forming.waiting, waiting));
        std::mem::take(&mut *lock(&waiting.records))
    }

    /// The open pack, or a new one.
    fn take_pack(&self) -> Pack {
        let (now, revision) = (self.core.clock.monotonic(), self.core.inventory().revision);
        if let Some(pack) = lock(&self.lane.open).take() {
            if pack.id.number.session == self.session.id && !pack.is_over(now, revision) {
                return pack;
            }
            self.core.packer.seal(&pack);
        }
        let guard = Arc::new(self.session.take());
        let id = PackId { silo: self.open.id, number: guard.number };
        self.core.packer.watch(id);
        Pack { id, guard, length: 0, opened: now, revision }
    }

    /// Whether the silo enforced a checksum.
    async fn send(&self, pack: &Pack, pieces: Vec<Bytes>, size: u64) -> Result<bool, SiloError> {
        let name = pack.id.name();
        if self.open.silo.appends() {
            return self.open.silo.append(&name, pack.length, pieces).await.map(|()| false);
        }
        let body: Body = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
        let stored = self.open.silo.put(&name, size, body, Arc::new(|_| Vec::new())).await;
        stored.map(|stored| stored.checksum_enforced)
    }

    fn put_back(&self, pack: Pack) {
        if self.open.silo.appends() && pack.length < PACK_BYTES {
            *lock(&self.lane.open) = Some(pack);
        } else {
            self.core.packer.seal(&pack);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
