//! One life of one gateway: the numbers it hands out, the beats it publishes, the reads it has open.
//!
//! Every commit reads its session's *alive* row and is refused unless the session is alive under the epoch it knows.
//! A number stays unfinished until everything that may still land under it is known, also when whoever waited for its
//! commit went away; the published *floor* is the oldest unfinished one. A read registers in memory, before it opens its
//! row, under the last acknowledged beat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::engine::{self, Engine, EngineError, NotCommitted, Priority, Read, Rows, Write};
use crate::extent::Number;
use crate::fault::Fault;
use crate::table::sessions::{AliveRow, BeatRow, EndedRow, alive, beat, ended, next_session};
use crate::table::silos::unremembered;
use crate::table::{decode, decode_row, encode};

/// What a session keeps in memory.
pub struct Session {
    /// Its number.
    pub id: u64,
    engine: Arc<dyn Engine>,
    epoch: AtomicU64,
    dead: AtomicBool,
    /// The settings revision this gateway works by; published with the next beat.
    pub revision: AtomicI64,
    numbers: Mutex<Numbers>,
    readers: Mutex<Readers>,
}

/// Protects the hand-out of numbers; held for a few instructions.
struct Numbers {
    next: u64,
    unfinished: BTreeSet<u64>,
    /// Commits that were given up and may still land: the floor as it stood then, by the order of giving up.
    abandoned: BTreeMap<u64, u64>,
    given_up: u64,
}

impl Numbers {
    /// The oldest number under which something may still land.
    fn floor(&self) -> u64 {
        let oldest = self.unfinished.first().copied().unwrap_or(self.next);
        self.abandoned.values().copied().fold(oldest, u64::min)
    }

    fn give_up(&mut self) {
        let floor = self.floor();
        self.given_up += 1;
        self.abandoned.insert(self.given_up, floor);
    }
}

/// Protects the registry of open reads; held for a few instructions.
struct Readers {
    /// The last beat whose commit was acknowledged.
    acked: u64,
    /// The last beat that was sent.
    sent: u64,
    /// Open reads by the beat they registered under.
    open: BTreeMap<u64, usize>,
}

/// An unfinished number. Dropping it finishes it: whoever may still let something land under it holds it.
pub struct Unfinished {
    session: Arc<Session>,
    /// The number.
    pub number: Number,
}

/// An open read. Nothing that a row named after this was made is swept while it lives.
pub struct OpenRead {
    session: Arc<Session>,
    beat: u64,
}

/// Why a commit of a session was not acknowledged.
#[derive(Debug)]
pub enum Uncommitted<R> {
    /// The decision said no; nothing was written.
    Refused(R),
    /// The answer was lost. Nothing sent before can land any more (the epoch was raised, or the session is dead): read
    /// to learn. Where not even that could be settled, the floor stands still, so that bytes are kept, until it is.
    Unknown,
    /// Nothing was written.
    Fault(Fault),
}

/// A commit under way. Dropped before its outcome is known (a client that went away, an index that does not answer), it
/// may still land: the floor stands still until an epoch was raised.
struct InFlight<'a> {
    session: &'a Session,
    settled: bool,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.settled && !crate::seeded_bug!("abandon-finishes") {
            self.session.numbers.lock().expect("no holder panics").give_up();
        }
    }
}

enum Fenced<R> {
    Decided(R),
    Fence,
}

impl Session {
    /// Begins a session.
    pub async fn begin(engine: Arc<dyn Engine>, now: crate::clock::UnixMs) -> Result<Arc<Self>, Fault> {
        let reads = vec![Read::Row(next_session())];
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let last: u64 = decode_row(rows.get(&next_session()))?.unwrap_or(0);
            let id = last + 1;
            let first = BeatRow { beat: 1, floor: 1, next: 1, oldest: 0, revision: -1 };
            let writes = vec![
                Write::Put(next_session(), encode(&id)),
                Write::Put(alive(id), encode(&AliveRow { epoch: 1, started: now })),
                Write::Put(beat(id), encode(&first)),
            ];
            Ok((writes, id))
        };
        let id = engine::commit(&*engine, reads, decide).await.map_err(Fault::from)?;
        Ok(Arc::new(Self {
            id,
            engine,
            epoch: AtomicU64::new(1),
            dead: AtomicBool::new(false),
            revision: AtomicI64::new(-1),
            numbers: Mutex::new(Numbers {
                next: 1,
                unfinished: BTreeSet::new(),
                abandoned: BTreeMap::new(),
                given_up: 0,
            }),
            readers: Mutex::new(Readers { acked: 1, sent: 1, open: BTreeMap::new() }),
        }))
    }

    /// Whether somebody declared this session dead.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Takes the next number.
    pub fn take(self: &Arc<Self>) -> Unfinished {
        let mut numbers = self.numbers.lock().expect("no holder panics");
        let number = numbers.next;
        numbers.next += 1;
        numbers.unfinished.insert(number);
        drop(numbers);
        Unfinished { session: Arc::clone(self), number: Number { session: self.id, number } }
    }

    /// Registers a read.
    pub fn open_read(self: &Arc<Self>) -> OpenRead {
        let mut readers = self.readers.lock().expect("no holder panics");
        let beat = if crate::seeded_bug!("reader-under-sent") { readers.sent } else { readers.acked };
        *readers.open.entry(beat).or_default() += 1;
        drop(readers);
        OpenRead { session: Arc::clone(self), beat }
    }

    /// How many reads are open.
    pub fn reads_open(&self) -> u64 {
        self.readers.lock().expect("no holder panics").open.values().sum::<usize>() as u64
    }

    /// Commits under the fence: alive, and in this epoch. What the fence alone refused was not written, and is decided
    /// again under the epoch that stands; what has no known outcome is never sent again.
    pub async fn commit<T, R>(
        &self,
        reads: Vec<Read>,
        decide: impl Fn(&Rows) -> Result<(Vec<Write>, T), R> + Send + Sync + 'static,
    ) -> Result<T, Uncommitted<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        self.commit_as(Priority::Foreground, reads, decide).await
    }

    /// The same, for somebody or nobody who waits.
    pub async fn commit_as<T, R>(
        &self,
        priority: Priority,
        mut reads: Vec<Read>,
        decide: impl Fn(&Rows) -> Result<(Vec<Write>, T), R> + Send + Sync + 'static,
    ) -> Result<T, Uncommitted<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (decide, fence) = (Arc::new(decide), alive(self.id));
        reads.push(Read::Row(fence.clone()));
        for _ in 0..crate::limits::COMMIT_TRIES {
            if self.is_dead() {
                break;
            }
            let (decide, fence, epoch) = (Arc::clone(&decide), fence.clone(), self.epoch.load(Ordering::Acquire));
            let fenced = move |rows: &Rows| match decode_row::<AliveRow>(rows.get(&fence)) {
                _ if crate::seeded_bug!("no-fence") => decide(rows).map_err(Fenced::Decided),
                Ok(Some(row)) if row.epoch == epoch => decide(rows).map_err(Fenced::Decided),
                _ => Err(Fenced::Fence),
            };
            let mut flight = InFlight { session: self, settled: false };
            let outcome = engine::commit_as(&*self.engine, priority, reads.clone(), fenced).await;
            if let Err(NotCommitted::Engine(EngineError::Unknown(_))) = outcome {
                flight.settled = crate::seeded_bug!("no-epoch-raise") || self.raise_epoch().await;
                return Err(Uncommitted::Unknown);
            }
            flight.settled = true;
            match outcome {
                Ok(value) => return Ok(value),
                Err(NotCommitted::Refused(Fenced::Decided(refusal))) => return Err(Uncommitted::Refused(refusal)),
                Err(NotCommitted::Refused(Fenced::Fence)) => self.follow_epoch().await.map_err(Uncommitted::Fault)?,
                Err(NotCommitted::Engine(error)) => return Err(Uncommitted::Fault(error.into())),
            }
        }
        Err(Uncommitted::Fault(Fault::Unavailable("the session changed under the request".to_owned())))
    }

    /// The fence refused: another commit of ours raised the epoch, perhaps one that was given up and landed late, or
    /// we are dead. The epoch that stands is ours in any case.
    async fn follow_epoch(&self) -> Result<(), Fault> {
        match decode_row::<AliveRow>(self.engine.get(&[alive(self.id)]).await?[0].as_ref())? {
            Some(row) => drop(self.epoch.fetch_max(row.epoch, Ordering::AcqRel)),
            None => self.dead.store(true, Ordering::Release),
        }
        Ok(())
    }

    /// Makes sure that no commit sent before can land; false when that is not certain.
    async fn raise_epoch(&self) -> bool {
        for _ in 0..crate::limits::COMMIT_TRIES {
            let row = alive(self.id);
            let read = row.clone();
            let raised = engine::commit(&*self.engine, vec![Read::Row(row)], move |rows: &Rows| {
                let mut alive: AliveRow = match rows.get(&read) {
                    Some(bytes) => decode(bytes).map_err(Some)?,
                    None => return Err(None::<Fault>),
                };
                alive.epoch += 1;
                Ok((vec![Write::Put(read.clone(), encode(&alive))], alive.epoch))
            });
            match raised.await {
                Ok(epoch) => {
                    self.epoch.fetch_max(epoch, Ordering::AcqRel);
                    return true;
                }
                Err(NotCommitted::Refused(Some(fault))) => {
                    tracing::error!(%fault, session = self.id, "the session's row does not read");
                    return false;
                }
                // What the dead sent cannot land either.
                Err(NotCommitted::Refused(None)) => {
                    self.dead.store(true, Ordering::Release);
                    return true;
                }
                Err(NotCommitted::Engine(_)) => {}
            }
        }
        tracing::error!(session = self.id, "the index lost too many answers");
        false
    }

    /// Settles the commits that were given up: after a raised epoch nothing sent before can land.
    async fn settle(&self) {
        let last = self.numbers.lock().expect("no holder panics").abandoned.keys().next_back().copied();
        let Some(last) = last else { return };
        if self.raise_epoch().await {
            self.numbers.lock().expect("no holder panics").abandoned.retain(|given_up, _| *given_up > last);
        }
    }

    /// Publishes the next beat. An error means that it may not have been published.
    pub async fn publish_beat(&self) -> Result<(), Fault> {
        self.settle().await;
        let row = self.next_beat();
        let published = self.commit(Vec::new(), {
            let key = beat(self.id);
            move |_| Ok::<_, ()>((vec![Write::Put(key.clone(), encode(&row))], ()))
        });
        match published.await {
            Ok(()) => {
                let mut readers = self.readers.lock().expect("no holder panics");
                readers.acked = readers.acked.max(row.beat);
                Ok(())
            }
            Err(Uncommitted::Fault(fault)) => Err(fault),
            Err(Uncommitted::Refused(()) | Uncommitted::Unknown) => {
                Err(Fault::Unavailable("a beat's answer was lost".to_owned()))
            }
        }
    }

    /// The oldest number under which something may still land.
    pub(crate) fn floor(&self) -> u64 {
        self.numbers.lock().expect("no holder panics").floor()
    }

    fn next_beat(&self) -> BeatRow {
        // Before the numbers: whoever reads both takes all numbers from there on for taken under these settings.
        let revision = self.revision.load(Ordering::Acquire);
        let (floor, next) = {
            let numbers = self.numbers.lock().expect("no holder panics");
            (numbers.floor(), numbers.next)
        };
        let mut readers = self.readers.lock().expect("no holder panics");
        readers.sent += 1;
        let newest = if crate::seeded_bug!("oldest-too-high") { readers.sent } else { readers.acked };
        let oldest = readers.open.keys().next().copied().unwrap_or(newest).min(newest);
        BeatRow { beat: readers.sent, floor, next, oldest, revision }
    }

    /// Ends the session in good order.
    pub async fn end(&self) -> Result<(), Fault> {
        self.publish_beat().await?;
        end(&*self.engine, self.id, None).await?;
        self.dead.store(true, Ordering::Release);
        Ok(())
    }
}

/// Declares a session dead, unless it beat since `seen`. Answers whether it is dead now.
pub async fn end(engine: &dyn Engine, id: u64, seen: Option<u64>) -> Result<bool, Fault> {
    let reads = vec![Read::Row(alive(id)), Read::Row(beat(id))];
    let decide = move |rows: &Rows| -> Result<_, Fault> {
        let last: Option<BeatRow> = decode_row(rows.get(&beat(id)))?;
        if rows.get(&alive(id)).is_none() && last.is_none() {
            return Ok((Vec::new(), true));
        }
        if let (Some(row), Some(seen)) = (last, seen)
            && row.beat != seen
        {
            return Ok((Vec::new(), false));
        }
        let floor = last.map_or(1, |row| row.floor);
        let mut writes = vec![Write::Delete(beat(id)), Write::Put(ended(id), encode(&EndedRow { floor }))];
        // Objects that changed through it may be wanted elsewhere.
        writes.extend(seen.map(|_| Write::Add(unremembered(), 1)));
        if !crate::seeded_bug!("bury-without-fence") {
            writes.push(Write::Delete(alive(id)));
        }
        Ok((writes, true))
    };
    engine::commit(engine, reads, decide).await.map_err(Fault::from)
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.session.numbers.lock().expect("no holder panics").unfinished.remove(&self.number.number);
    }
}

impl OpenRead {
    /// What a fault of this read is worth: rows that are missing are damage only while the session lives, since nobody
    /// waits for the reads of the dead.
    pub(crate) async fn judge(&self, fault: Fault) -> Fault {
        if !matches!(fault, Fault::Damaged(_)) {
            return fault;
        }
        match self.session.engine.get(&[alive(self.session.id)]).await {
            Ok(rows) if rows[0].is_some() => fault,
            _ => Fault::Unavailable("the session ended under a read".to_owned()),
        }
    }
}

impl Drop for OpenRead {
    fn drop(&mut self) {
        let mut readers = self.session.readers.lock().expect("no holder panics");
        if let Some(count) = readers.open.get_mut(&self.beat) {
            *count -= 1;
            if *count == 0 {
                readers.open.remove(&self.beat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::AtomicBool;

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;
    use crate::engine::log::{Entry, Snapshot};
    use crate::engine::memory::Memory;
    use crate::engine::{Decide, Fold, Folded, Key, Page};

    /// The memory engine; while it is stuck, it forgets a commit's decision and never answers.
    #[derive(Default)]
    struct Stuck {
        truth: Memory,
        stuck: AtomicBool,
    }

    #[async_trait]
    impl Engine for Stuck {
        async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
            self.truth.get(keys).await
        }

        async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
            self.truth.range(range, rows, bytes).await
        }

        async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
            self.truth.fold(fold).await
        }

        async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
            if self.stuck.load(Ordering::Acquire) {
                drop(decide);
                return std::future::pending().await;
            }
            self.truth.commit(priority, reads, decide).await
        }

        async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
            self.truth.log(after, bytes).await
        }

        fn forget_log(&self, through: u64) {
            self.truth.forget_log(through);
        }

        async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
            Engine::snapshot(&self.truth).await
        }
    }

    fn begin() -> (Arc<Stuck>, Arc<Session>) {
        let engine = Arc::new(Stuck::default());
        let session = Session::begin(Arc::clone(&engine) as Arc<dyn Engine>, 0).now_or_never();
        (engine, session.expect("it is ready at once").expect("the memory engine does not fail"))
    }

    fn row<T: serde::de::DeserializeOwned>(engine: &Stuck, key: Key) -> Option<T> {
        let rows = engine.truth.get(&[key]).now_or_never().expect("it is ready at once").expect("it reads");
        decode_row(rows[0].as_ref()).expect("the row reads")
    }

    fn write(session: &Session, held: Unfinished) -> impl Future<Output = Result<u64, Uncommitted<()>>> + '_ {
        session.commit(Vec::new(), move |_| {
            let held = &held;
            Ok((Vec::new(), held.number.number))
        })
    }

    /// A client went away while the commit of its PUT was on its way to an engine in another process: the number was
    /// finished with the request, a beat published a floor past it, the collector deleted the bytes, and then the
    /// commit landed and named them. Now the floor stands still until a raised epoch keeps the commit from landing.
    #[test]
    fn a_commit_that_was_given_up_holds_the_floor_until_the_epoch_is_raised() {
        let (engine, session) = begin();
        let number = session.take();
        let given_up = number.number.number;
        engine.stuck.store(true, Ordering::Release);
        assert!(write(&session, number).now_or_never().is_none(), "nobody answers");
        assert_eq!(session.next_beat().floor, given_up);
        assert!(session.publish_beat().now_or_never().is_none(), "nor can the epoch be raised");
        assert_eq!(session.next_beat().floor, given_up);
        engine.stuck.store(false, Ordering::Release);
        session.publish_beat().now_or_never().expect("it is ready at once").expect("it is published");
        let (fence, beat) = (row::<AliveRow>(&engine, alive(session.id)), row::<BeatRow>(&engine, beat(session.id)));
        assert_eq!((fence.map(|row| row.epoch), beat.map(|row| row.floor)), (Some(2), Some(given_up + 1)));
    }

    /// One lost answer made every other request under way a 503, since its commit still knew the epoch from before.
    #[test]
    fn what_the_fence_alone_refused_is_decided_again() {
        let (_engine, session) = begin();
        assert!(session.raise_epoch().now_or_never().expect("it is ready at once"));
        session.epoch.store(1, Ordering::Release);
        let number = session.take();
        let outcome = write(&session, number).now_or_never().expect("it is ready at once");
        assert!(matches!(outcome, Ok(1)), "{outcome:?}");
    }

    /// A session that somebody declared dead commits nothing, however often it asks.
    #[test]
    fn the_dead_do_not_commit() {
        let (engine, session) = begin();
        assert_eq!(end(&*engine, session.id, None).now_or_never(), Some(Ok(true)));
        let number = session.take();
        let outcome = write(&session, number).now_or_never().expect("it is ready at once");
        assert!(matches!(outcome, Err(Uncommitted::Fault(_))), "{outcome:?}");
        assert!(session.is_dead());
    }
}
