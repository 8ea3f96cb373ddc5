//! An engine whose answers get lost, come late or never: a wrapper for tests, driven by a seed or step by step.
//!
//! It is as unkind as a database behind a network can be, and no unkinder: a commit answered `Ok` happened before the
//! answer, one answered `Failed` never happens, and one answered `Unknown` happened, happens later, or never does.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::log::{Entry, Snapshot};
use super::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read};

/// What happens to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// It happens, and its answer is lost.
    Lose,
    /// It never happens, and its caller cannot know.
    Drop,
    /// Its caller is told `Unknown` now; it happens later, see [`Faulty::land`].
    Delay,
    /// It is refused with `Failed`.
    Fail,
}

/// How often each fault comes, in thousandths of all calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chances {
    /// [`CommitFault::Lose`]
    pub lose: u32,
    /// [`CommitFault::Drop`]
    pub drop: u32,
    /// [`CommitFault::Delay`]
    pub delay: u32,
    /// [`CommitFault::Fail`]
    pub fail: u32,
    /// That a delayed commit lands before another commit.
    pub land: u32,
    /// That a read fails.
    pub fail_read: u32,
}

/// How many faults there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Commits that happened without an answer.
    pub lost: u64,
    /// Commits that never happened, unknown to their callers.
    pub dropped: u64,
    /// Commits put off.
    pub delayed: u64,
    /// Put-off commits that happened after all.
    pub landed: u64,
    /// Commits refused.
    pub failed: u64,
    /// Reads that failed.
    pub failed_reads: u64,
}

/// See the module. Delayed commits that are never landed never happen.
pub struct Faulty {
    inner: Arc<dyn Engine>,
    /// The seed's state, what is forced, what is delayed. Held for a draw, never across an await.
    state: Mutex<State>,
}

struct State {
    random: u64,
    chances: Chances,
    forced: VecDeque<Option<CommitFault>>,
    late: VecDeque<(Vec<Read>, Decide)>,
    faults: Faults,
}

impl Faulty {
    /// Wraps an engine; the same seed and the same calls give the same faults.
    pub fn new(inner: Arc<dyn Engine>, seed: u64, chances: Chances) -> Self {
        let (forced, late, faults) = (VecDeque::new(), VecDeque::new(), Faults::default());
        Self { inner, state: Mutex::new(State { random: seed, chances, forced, late, faults }) }
    }

    /// Sets the chances from now on.
    pub fn set(&self, chances: Chances) {
        self.state().chances = chances;
    }

    /// Says what happens to the next commit that nothing was said of yet; `None` lets it through.
    pub fn force(&self, fault: Option<CommitFault>) {
        self.state().forced.push_back(fault);
    }

    /// Lets the oldest delayed commit happen now; answers whether there was one.
    pub async fn land(&self) -> Result<bool, EngineError> {
        let late = self.state().late.pop_front();
        let Some((reads, decide)) = late else { return Ok(false) };
        self.inner.commit(Priority::Foreground, reads, decide).await?;
        self.state().faults.landed += 1;
        Ok(true)
    }

    /// Delayed commits that have not happened.
    pub fn late(&self) -> usize {
        self.state().late.len()
    }

    /// What happened so far.
    pub fn faults(&self) -> Faults {
        self.state().faults
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_fault(&self) -> Result<(), EngineError> {
        let mut state = self.state();
        let chance = state.chances.fail_read;
        if !state.chance(chance) {
            return Ok(());
        }
        state.faults.failed_reads += 1;
        Err(EngineError::Failed("a read that fails on purpose".to_owned()))
    }
}

impl State {
    /// The next random number (`SplitMix64`).
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.next() % 1000 < u64::from(thousandths)
    }

    fn draw(&mut self) -> Option<CommitFault> {
        if let Some(forced) = self.forced.pop_front() {
            return forced;
        }
        let Chances { lose, drop, delay, fail, .. } = self.chances;
        let faults = [CommitFault::Lose, CommitFault::Drop, CommitFault::Delay, CommitFault::Fail];
        faults
            .into_iter()
            .zip([lose, drop, delay, fail])
            .find(|(_, chance)| self.chance(*chance))
            .map(|(fault, _)| fault)
    }
}

fn unknown() -> EngineError {
    EngineError::Unknown("an answer lost on purpose".to_owned())
}

#[async_trait]
impl Engine for Faulty {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.read_fault()?;
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.read_fault()?;
        self.inner.range(range, rows, bytes).await
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        self.read_fault()?;
        self.inner.fold(fold).await
    }

    async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
        let land = {
            let mut state = self.state();
            let chance = state.chances.land;
            state.chance(chance)
        };
        if land {
            self.land().await?;
        }
        let fault = self.state().draw();
        match fault {
            None => self.inner.commit(priority, reads, decide).await,
            Some(CommitFault::Lose) => {
                self.inner.commit(priority, reads, decide).await?;
                self.state().faults.lost += 1;
                Err(unknown())
            }
            Some(CommitFault::Drop) => {
                self.state().faults.dropped += 1;
                Err(unknown())
            }
            Some(CommitFault::Delay) => {
                let mut state = self.state();
                state.faults.delayed += 1;
                state.late.push_back((reads, decide));
                Err(unknown())
            }
            Some(CommitFault::Fail) => {
                self.state().faults.failed += 1;
                Err(EngineError::Failed("a commit that fails on purpose".to_owned()))
            }
        }
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.read_fault()?;
        self.inner.log(after, bytes).await
    }

    fn forget_log(&self, through: u64) {
        self.inner.forget_log(through);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        self.read_fault()?;
        self.inner.snapshot().await
    }

    fn room(&self) -> Option<u64> {
        self.inner.room()
    }

    fn size(&self) -> Option<u64> {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Write;
    use crate::engine::contract::contract;
    use crate::engine::memory::Memory;

    fn put(key: &str) -> Decide {
        let write = Write::Put(key.into(), Vec::new());
        Box::new(move |_| Some(vec![write.clone()]))
    }

    #[tokio::test]
    async fn without_chances_it_keeps_the_contract() {
        let inner = Memory::with_log(Arc::new(crate::clock::SystemClock::new()));
        contract(Arc::new(Faulty::new(Arc::new(inner), 1, Chances::default()))).await;
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let memory = Memory::new();
        let faulty = Faulty::new(Arc::new(memory.clone()), 1, Chances::default());
        let keys =
            || memory.every_row().iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect::<String>();
        for fault in [CommitFault::Lose, CommitFault::Drop, CommitFault::Delay, CommitFault::Fail] {
            faulty.force(Some(fault));
        }
        for key in ["a", "b", "c"] {
            assert!(matches!(
                faulty.commit(Priority::Foreground, Vec::new(), put(key)).await,
                Err(EngineError::Unknown(_))
            ));
        }
        assert!(matches!(faulty.commit(Priority::Foreground, Vec::new(), put("d")).await, Err(EngineError::Failed(_))));
        assert_eq!(faulty.commit(Priority::Foreground, Vec::new(), put("e")).await, Ok(true));
        assert_eq!((keys().as_str(), faulty.late()), ("ae", 1));
        assert_eq!((faulty.land().await, faulty.land().await), (Ok(true), Ok(false)));
        assert_eq!(keys(), "ace");
        let all = Faults { lost: 1, dropped: 1, delayed: 1, landed: 1, failed: 1, failed_reads: 0 };
        assert_eq!(faulty.faults(), all);
    }

    #[tokio::test]
    async fn a_seed_repeats_its_faults() {
        let run = async |seed| {
            let chances = Chances { lose: 100, drop: 100, delay: 100, fail: 100, land: 200, fail_read: 100 };
            let faulty = Faulty::new(Arc::new(Memory::new()), seed, chances);
            let mut answers = Vec::new();
            for n in 0..200 {
                answers
                    .push(format!("{:?}", faulty.commit(Priority::Foreground, Vec::new(), put(&n.to_string())).await));
                answers.push(format!("{:?}", faulty.get(&[Vec::new()]).await));
            }
            (answers, faulty.faults())
        };
        assert_eq!(run(7).await, run(7).await);
        assert_ne!(run(7).await.0, run(8).await.0);
        let faults = run(7).await.1;
        assert!(
            faults.lost > 0 && faults.dropped > 0 && faults.landed > 0 && faults.failed > 0 && faults.failed_reads > 0
        );
    }
}
