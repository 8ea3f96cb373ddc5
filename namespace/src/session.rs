//! One life of one gateway: the numbers it hands out, the beats it publishes, the reads it has open.
//!
//! Every commit reads its session's *alive* row and is refused unless the session is alive under the epoch it knows.
//! A number stays unfinished until everything that may still land under it is known; the published *floor* is the
//! oldest unfinished one. A read registers in memory, before it opens its row, under the last acknowledged beat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::engine::{self, Engine, EngineError, NotCommitted, Read, Rows, Write};
use crate::extent::Number;
use crate::fault::Fault;
use crate::table::sessions::{AliveRow, BeatRow, EndedRow, alive, beat, ended, next_session};
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
    /// to learn. Where not even that could be settled, the session takes no further part, and its numbers stay
    /// unfinished until it is declared dead.
    Unknown,
    /// Nothing was written.
    Fault(Fault),
}

/// A commit's outcome is open. Dropped before it is settled (a client that went away, an index that does not answer),
/// the session takes no further part: its floor is never published again, and another life begins.
struct Unsettled<'a>(Option<&'a Session>);

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0.take() {
            session.dead.store(true, Ordering::Release);
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
            numbers: Mutex::new(Numbers { next: 1, unfinished: BTreeSet::new() }),
            readers: Mutex::new(Readers { acked: 1, sent: 1, open: BTreeMap::new() }),
        }))
    }

    /// Whether this session is over: somebody declared it dead, or it could not settle a commit.
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
        let beat = readers.acked;
        *readers.open.entry(beat).or_default() += 1;
        drop(readers);
        OpenRead { session: Arc::clone(self), beat }
    }

    /// How many reads are open.
    pub fn reads_open(&self) -> u64 {
        self.readers.lock().expect("no holder panics").open.values().sum::<usize>() as u64
    }

    /// Commits under the fence: alive, and in this epoch.
    pub async fn commit<T, R>(
        &self,
        mut reads: Vec<Read>,
        decide: impl Fn(&Rows) -> Result<(Vec<Write>, T), R> + Send + 'static,
    ) -> Result<T, Uncommitted<R>>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        if self.is_dead() {
            return Err(Uncommitted::Fault(Fault::Unavailable("the session is dead".to_owned())));
        }
        let (fence, epoch) = (alive(self.id), self.epoch.load(Ordering::Acquire));
        reads.push(Read::Row(fence.clone()));
        let fenced = move |rows: &Rows| match decode_row::<AliveRow>(rows.get(&fence)) {
            Ok(Some(row)) if row.epoch == epoch => decide(rows).map_err(Fenced::Decided),
            _ => Err(Fenced::Fence),
        };
        match engine::commit(&*self.engine, reads, fenced).await {
            Ok(value) => Ok(value),
            Err(NotCommitted::Refused(Fenced::Decided(refusal))) => Err(Uncommitted::Refused(refusal)),
            Err(NotCommitted::Refused(Fenced::Fence)) => Err(Uncommitted::Fault(self.fenced().await)),
            Err(NotCommitted::Engine(EngineError::Unknown(_))) => {
                let mut unsettled = Unsettled(Some(self));
                if self.raise_epoch().await {
                    unsettled.0 = None;
                }
                Err(Uncommitted::Unknown)
            }
            Err(NotCommitted::Engine(error)) => Err(Uncommitted::Fault(error.into())),
        }
    }

    /// The fence refused: another commit of ours raised the epoch, perhaps one that was given up and landed late, or
    /// we are dead. The epoch that stands is ours in any case.
    async fn fenced(&self) -> Fault {
        if let Ok(rows) = self.engine.get(&[alive(self.id)]).await {
            match decode_row::<AliveRow>(rows[0].as_ref()) {
                Ok(Some(row)) => drop(self.epoch.fetch_max(row.epoch, Ordering::AcqRel)),
                Ok(None) => self.dead.store(true, Ordering::Release),
                Err(fault) => return fault,
            }
        }
        Fault::Unavailable("the session changed under the request".to_owned())
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
        tracing::error!(session = self.id, "the index lost too many answers: another session begins");
        false
    }

    /// Publishes the next beat. An error means that it may not have been published.
    pub async fn publish_beat(&self) -> Result<(), Fault> {
        if self.is_dead() {
            return Err(Fault::Unavailable("the session is over".to_owned()));
        }
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

    fn next_beat(&self) -> BeatRow {
        let (floor, next) = {
            let numbers = self.numbers.lock().expect("no holder panics");
            (numbers.unfinished.first().copied().unwrap_or(numbers.next), numbers.next)
        };
        let mut readers = self.readers.lock().expect("no holder panics");
        readers.sent += 1;
        let oldest = readers.open.keys().next().copied().unwrap_or(readers.acked).min(readers.acked);
        BeatRow { beat: readers.sent, floor, next, oldest, revision: self.revision.load(Ordering::Acquire) }
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
        let writes =
            vec![Write::Delete(alive(id)), Write::Delete(beat(id)), Write::Put(ended(id), encode(&EndedRow { floor }))];
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
