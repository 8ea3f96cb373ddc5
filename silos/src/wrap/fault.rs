//! A silo that fails as silos do, for tests: by a script, by a seed, or both, and countably.
//!
//! A scripted fault hits the next call of its verb; seeded ones hit at random, the same calls for the same seed and the
//! same order of calls. Nothing here needs a runtime but [`Fault::Slow`].

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored};

/// The calls faults can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// [`Silo::put`]
    Put,
    /// [`Silo::append`]
    Append,
    /// [`Silo::read`]
    Read,
    /// [`Silo::read_back`]
    ReadBack,
    /// [`Silo::stat`]
    Stat,
    /// [`Silo::describe`]
    Describe,
    /// [`Silo::delete`]
    Delete,
    /// [`Silo::list`]
    List,
    /// [`Silo::claim`] and [`Silo::marker`]
    Claim,
}

/// What goes wrong. A fault that makes no sense for a verb acts as [`Fault::Refuse`] there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// `NotDone`, and nothing is done.
    Refuse,
    /// `Throttled`, and nothing is done.
    Throttle,
    /// `Full`; of a put or an append, nothing is stored.
    Full,
    /// The call is done in full and answers `Unknown`.
    LoseAnswer,
    /// The call answers `Unknown` and was never done.
    LoseRequest,
    /// A put, an append or a delete answers `Unknown` and is done later, when [`Faulty::land`] is called.
    Late,
    /// One bit of a read's first piece is wrong.
    FlipBit,
    /// A read ends early and says nothing: the silo breaks its promise.
    Truncate,
    /// A read ends in `NotDone` after its first piece.
    BreakOff,
    /// The blob is `Missing`, though it is there.
    Vanish,
    /// The call is done after this time.
    Slow(Duration),
    /// The process is killed, and nothing is done.
    Die,
    /// The call is done in full, and the process is killed.
    DoAndDie,
}

/// How often a fault hits by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Which calls.
    pub verb: Verb,
    /// What happens to them.
    pub fault: Fault,
    /// To so many of a thousand.
    pub per_mille: u64,
}

/// A silo with faults.
pub struct Faulty {
    inner: Arc<dyn Silo>,
    state: Arc<Mutex<State>>,
}

/// What hits whichever of some silos is called next.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

impl Script {
    /// Lets these faults hit the next calls that write a blob or delete one, of whichever verb; backups are left alone.
    pub fn next(&self, faults: &[Fault]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next.extend(faults);
    }
}

#[derive(Default)]
struct State {
    next: VecDeque<Fault>,
    scripted: BTreeMap<Verb, VecDeque<Fault>>,
    rates: Vec<Rate>,
    seed: u64,
    fired: BTreeMap<(Verb, Fault), u64>,
    late: Vec<Late>,
}

/// What was heard and not yet done.
enum Late {
    Put(BlobName, u64, Vec<Bytes>, Describe),
    Append(BlobName, u64, Vec<Bytes>),
    Delete(BlobName),
}

impl Faulty {
    /// No faults until they are scripted.
    pub fn new(inner: Arc<dyn Silo>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// No faults but those of a script that it shares with others.
    pub fn by(inner: Arc<dyn Silo>, script: &Script) -> Self {
        Self { inner, state: Arc::clone(&script.0) }
    }

    /// Faults at random; the same for the same seed.
    pub fn seeded(inner: Arc<dyn Silo>, seed: u64, rates: Vec<Rate>) -> Self {
        Self { inner, state: Arc::new(Mutex::new(State { rates, seed, ..State::default() })) }
    }

    /// Lets a fault hit the next call of its verb that no earlier scripted one hits.
    pub fn script(&self, verb: Verb, fault: Fault) {
        self.lock().scripted.entry(verb).or_default().push_back(fault);
    }

    /// Ends all faults, scripted ones included. What is late stays late.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.next.clear();
        state.scripted.clear();
        state.rates.clear();
    }

    /// How often each fault hit.
    pub fn fired(&self) -> BTreeMap<(Verb, Fault), u64> {
        self.lock().fired.clone()
    }

    /// How many calls wait to be done late.
    pub fn late(&self) -> usize {
        self.lock().late.len()
    }

    /// Does what was late, in order; answers go nowhere.
    pub async fn land(&self) {
        let late = std::mem::take(&mut self.lock().late);
        for call in late {
            let done = match call {
                Late::Put(name, size, pieces, describe) => {
                    let body: Body = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
                    self.inner.put(&name, size, body, describe).await.map(drop)
                }
                Late::Append(pack, at, bytes) => self.inner.append(&pack, at, bytes).await,
                Late::Delete(name) => self.inner.delete(&name).await,
            };
            tracing::debug!(?done, "a late call landed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fault that hits a call that changes a blob.
    async fn strike_at(&self, verb: Verb, name: &BlobName) -> Option<Fault> {
        let next = if name.is_backup() { None } else { self.lock().next.pop_front() };
        if next.is_some() {
            tracing::warn!(?verb, fault = ?next, %name, "a call is hit");
        }
        match next {
            Some(Fault::Die) => die(),
            None => return self.strike(verb).await,
            Some(_) => {}
        }
        next
    }

    /// The fault that hits a call, slow ones already waited for.
    async fn strike(&self, verb: Verb) -> Option<Fault> {
        let fault = self.lock().draw(verb)?;
        if let Fault::Slow(pause) = fault {
            tokio::time::sleep(pause).await;
            return None;
        }
        Some(fault)
    }

    /// A call that only looks.
    async fn look<T>(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<T, SiloError>> + Send,
    ) -> Result<T, SiloError> {
        match self.strike(verb).await {
            None => call.await,
            Some(fault) => Err(fault.refusal()),
        }
    }

    async fn pieces(
        &self,
        verb: Verb,
        call: impl Future<Output = Result<Pieces, SiloError>> + Send,
    ) -> Result<Pieces, SiloError> {
        let Some(fault) = self.strike(verb).await else { return call.await };
        match fault {
            Fault::FlipBit => {
                let at = self.lock().random();
                Ok(call.await?.enumerate().map(move |(number, piece)| flip(number, piece, at)).boxed())
            }
            Fault::Truncate => Ok(call.await?.take(1).map(|piece| piece.map(|p| p.slice(..p.len() / 2))).boxed()),
            Fault::BreakOff => {
                let broken = stream::iter([Err(SiloError::not_done("broken off on purpose"))]);
                Ok(call.await?.take(1).chain(broken).boxed())
            }
            _ => Err(fault.refusal()),
        }
    }
}

fn flip(number: usize, piece: Result<Bytes, SiloError>, at: u64) -> Result<Bytes, SiloError> {
    let piece = piece?;
    if number > 0 || piece.is_empty() {
        return Ok(piece);
    }
    let mut bytes = piece.to_vec();
    let byte = (at / 8) as usize % bytes.len();
    bytes[byte] ^= 1 << (at % 8);
    Ok(bytes.into())
}

/// As a power cut would have it, but for what the kernel still writes.
fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::thread::sleep(Duration::from_mins(1));
}

impl Fault {
    fn die_if_so(self) {
        if self == Self::DoAndDie {
            die();
        }
    }

    /// The answer where nothing is done.
    fn refusal(self) -> SiloError {
        match self {
            Self::Throttle => SiloError::Throttled,
            Self::Full => SiloError::Full,
            Self::Vanish => SiloError::Missing,
            Self::LoseAnswer | Self::LoseRequest | Self::Late => SiloError::unknown("lost on purpose"),
            _ => SiloError::not_done("refused on purpose"),
        }
    }
}

impl State {
    fn draw(&mut self, verb: Verb) -> Option<Fault> {
        let scripted = self.scripted.get_mut(&verb).and_then(VecDeque::pop_front);
        let fault = scripted.or_else(|| self.by_chance(verb))?;
        *self.fired.entry((verb, fault)).or_default() += 1;
        Some(fault)
    }

    fn by_chance(&mut self, verb: Verb) -> Option<Fault> {
        let mut draw = if self.rates.is_empty() { return None } else { self.random() % 1000 };
        for rate in self.rates.iter().filter(|rate| rate.verb == verb) {
            if draw < rate.per_mille {
                return Some(rate.fault);
            }
            draw -= rate.per_mille;
        }
        None
    }

    /// `SplitMix64`: every seed is a good one.
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[async_trait]
impl Silo for Faulty {
    fn buffered(&self) -> u64 {
        self.inner.buffered()
    }

    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        match self.strike_at(Verb::Put, name).await {
            None => self.inner.put(name, size, body, describe).await,
            Some(fault @ (Fault::LoseAnswer | Fault::DoAndDie)) => {
                self.inner.put(name, size, body, describe).await?;
                fault.die_if_so();
                Err(fault.refusal())
            }
            Some(fault @ Fault::Late) => {
                let pieces = Exact::new(body, size).collect().await?;
                self.lock().late.push(Late::Put(*name, size, pieces, describe));
                Err(fault.refusal())
            }
            Some(fault) => Err(fault.refusal()),
        }
    }

    fn appends(&self) -> bool {
        self.inner.appends()
    }

    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        match self.strike_at(Verb::Append, pack).await {
            None => self.inner.append(pack, at, bytes).await,
            Some(fault @ (Fault::LoseAnswer | Fault::DoAndDie)) => {
                self.inner.append(pack, at, bytes).await?;
                fault.die_if_so();
                Err(fault.refusal())
            }
            Some(fault @ Fault::Late) => {
                self.lock().late.push(Late::Append(*pack, at, bytes));
                Err(fault.refusal())
            }
            Some(fault) => Err(fault.refusal()),
        }
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.pieces(Verb::Read, self.inner.read(name, size, range)).await
    }

    async fn read_back(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.pieces(Verb::ReadBack, self.inner.read_back(name, size, range)).await
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        self.look(Verb::Stat, self.inner.stat(name)).await
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        self.look(Verb::Describe, self.inner.describe(name)).await
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        match self.strike_at(Verb::Delete, name).await {
            None => self.inner.delete(name).await,
            Some(fault @ (Fault::LoseAnswer | Fault::DoAndDie)) => {
                self.inner.delete(name).await?;
                fault.die_if_so();
                Err(fault.refusal())
            }
            Some(fault @ Fault::Late) => {
                self.lock().late.push(Late::Delete(*name));
                Err(fault.refusal())
            }
            Some(fault) => Err(fault.refusal()),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        self.look(Verb::List, self.inner.list(prefix, after, limit)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        self.look(Verb::Claim, self.inner.claim(claim)).await
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        self.look(Verb::Claim, self.inner.marker()).await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.inner.probe().await
    }

    fn recall(&self, facts: &Facts) {
        self.inner.recall(facts);
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.inner.space().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{Options, contract};
    use crate::memory::Memory;
    use crate::silo::collect;
    use futures_util::FutureExt;

    fn name(number: u64) -> BlobName {
        BlobName { session: 1, number, extent: (1, number) }
    }

    fn put(silo: &Faulty, number: u64) -> Result<Stored, SiloError> {
        let body: Body = Box::pin(stream::iter([Ok(Bytes::from_static(b"0123456789"))]));
        silo.put(&name(number), 10, body, Arc::new(|_| Vec::new())).now_or_never().unwrap()
    }

    fn read(silo: &Faulty, number: u64) -> Result<Bytes, SiloError> {
        let pieces = silo.read(&name(number), 10, 0..10).now_or_never().unwrap()?;
        collect(pieces).now_or_never().unwrap()
    }

    fn new() -> Faulty {
        Faulty::new(Arc::new(Memory::new()))
    }

    #[test]
    fn without_faults_it_keeps_the_contract() {
        contract(Arc::new(new()), Options::default()).now_or_never().unwrap();
    }

    #[test]
    fn a_lost_answer_was_done_and_a_lost_request_was_not() {
        let silo = new();
        silo.script(Verb::Put, Fault::LoseAnswer);
        silo.script(Verb::Put, Fault::LoseRequest);
        assert!(matches!(put(&silo, 1), Err(SiloError::Unknown { .. })));
        assert!(matches!(put(&silo, 2), Err(SiloError::Unknown { .. })));
        assert_eq!(read(&silo, 1).unwrap(), "0123456789");
        assert_eq!(read(&silo, 2), Err(SiloError::Missing));
        put(&silo, 2).unwrap();
        assert_eq!(silo.fired()[&(Verb::Put, Fault::LoseAnswer)], 1);
    }

    #[test]
    fn what_is_shared_hits_whoever_is_called_next_and_no_backup() {
        let script = Script::default();
        let silos = [(), ()].map(|()| Faulty::by(Arc::new(Memory::new()), &script));
        script.next(&[Fault::LoseRequest, Fault::LoseAnswer]);
        assert_eq!(read(&silos[0], 1), Err(SiloError::Missing), "who only reads is not hit");
        assert!(matches!(put(&silos[1], 1), Err(SiloError::Unknown { .. })));
        assert!(matches!(put(&silos[0], 1), Err(SiloError::Unknown { .. })));
        assert_eq!((read(&silos[1], 1), read(&silos[0], 1).unwrap().len()), (Err(SiloError::Missing), 10));
        put(&silos[1], 1).unwrap();
    }

    #[test]
    fn late_calls_land_when_told() {
        let silo = new();
        silo.script(Verb::Put, Fault::Late);
        assert!(matches!(put(&silo, 1), Err(SiloError::Unknown { .. })));
        assert_eq!(read(&silo, 1), Err(SiloError::Missing));
        silo.land().now_or_never().unwrap();
        assert_eq!(read(&silo, 1).unwrap(), "0123456789");
        silo.script(Verb::Delete, Fault::Late);
        assert!(silo.delete(&name(1)).now_or_never().unwrap().is_err());
        assert_eq!((read(&silo, 1).is_ok(), silo.late()), (true, 1));
        silo.land().now_or_never().unwrap();
        assert_eq!(read(&silo, 1), Err(SiloError::Missing));
    }

    #[test]
    fn appends_are_lost_and_late_as_told() {
        let silo = new();
        assert!(silo.appends() && !Faulty::new(Arc::new(Memory::whole())).appends());
        let pack = BlobName::pack(1, 1);
        let append = |at| {
            let bytes = vec![Bytes::from_static(b"01234"), Bytes::from_static(b"56789")];
            silo.append(&pack, at, bytes).now_or_never().unwrap()
        };
        let length = || silo.stat(&pack).now_or_never().unwrap().map_or(0, |stat| stat.size);
        for (fault, answer, stored) in [
            (Fault::Refuse, SiloError::not_done("refused on purpose"), 0),
            (Fault::Throttle, SiloError::Throttled, 0),
            (Fault::Full, SiloError::Full, 0),
            (Fault::LoseRequest, SiloError::unknown("lost on purpose"), 0),
            (Fault::LoseAnswer, SiloError::unknown("lost on purpose"), 10),
        ] {
            silo.script(Verb::Append, fault);
            assert_eq!((append(0), length()), (Err(answer), stored), "{fault:?}");
        }
        silo.script(Verb::Append, Fault::Late);
        assert!(matches!(append(10), Err(SiloError::Unknown { .. })));
        assert_eq!((length(), silo.late()), (10, 1));
        silo.land().now_or_never().unwrap();
        assert_eq!((append(20), length()), (Ok(()), 30));
    }

    #[test]
    fn reads_lie_as_told() {
        let silo = new();
        put(&silo, 1).unwrap();
        for fault in [Fault::FlipBit, Fault::Truncate, Fault::BreakOff, Fault::Vanish, Fault::Throttle] {
            silo.script(Verb::Read, fault);
        }
        let flipped = read(&silo, 1).unwrap();
        let differing: u32 = flipped.iter().zip(b"0123456789").map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!(differing, 1);
        assert_eq!(read(&silo, 1).unwrap(), "01234");
        assert!(matches!(read(&silo, 1), Err(SiloError::NotDone { .. })));
        assert_eq!(read(&silo, 1), Err(SiloError::Missing));
        assert_eq!(read(&silo, 1), Err(SiloError::Throttled));
        assert_eq!(read(&silo, 1).unwrap(), "0123456789");
    }

    #[test]
    fn the_same_seed_hits_the_same_calls() {
        let run = |seed| {
            let rates = vec![
                Rate { verb: Verb::Put, fault: Fault::Refuse, per_mille: 200 },
                Rate { verb: Verb::Put, fault: Fault::Full, per_mille: 100 },
            ];
            let silo = Faulty::seeded(Arc::new(Memory::new()), seed, rates);
            (0..1000).map(|number| put(&silo, number).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let good = run(9).into_iter().filter(|good| *good).count();
        assert!((600..800).contains(&good), "{good} of 1000, not about 700");
    }
}
