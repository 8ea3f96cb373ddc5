//! The engine as a gateway sees it: the memory engine behind a network that delays, loses and repeats nothing but
//! answers. Commits whose answer was lost, or whose caller went away, may land later or never.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;

use super::held::Held;
use super::sim::Sim;
use super::store::Silos;
use crate::engine::log::{Entry, Snapshot};
use crate::engine::memory::Memory;
use crate::engine::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read, Rows, Write};
use crate::extent::{Location, Number, ReplicaState};
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::objects::{Data, ObjectRow};
use crate::table::uploads::{ManifestRow, PartRow, manifest, part};
use crate::table::{decode, key};

/// How often what breaks, in thousandths of all calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IndexChances {
    /// A commit happens, and its answer is lost.
    pub(super) lose: u32,
    /// It never happens, and its caller cannot know.
    pub(super) vanish: u32,
    /// Its caller is told `Unknown`; it may happen later.
    pub(super) delay: u32,
    /// It is refused.
    pub(super) fail: u32,
    /// A read fails.
    pub(super) fail_read: u32,
}

/// A commit that may still land.
enum Late {
    /// The engine decides when it lands; it holds what the decision holds.
    Undecided(Vec<Read>, Decide),
    /// Decided; it lands if what was read is still so. Nothing is held.
    Decided(Vec<(Read, Seen)>, Vec<Write>),
}

#[derive(PartialEq, Eq)]
enum Seen {
    Row(Option<Bytes>),
    Empty(bool),
}

/// The one index of a case.
pub(super) struct Index {
    pub(super) sim: Arc<Sim>,
    pub(super) truth: Memory,
    pub(super) silos: Arc<Silos>,
    /// Held for a push or a take.
    late: Mutex<Vec<Late>>,
    chances: Mutex<IndexChances>,
    /// Held for a look or a change.
    held: Mutex<Held>,
}

impl Index {
    pub(super) fn new(sim: Arc<Sim>, truth: Memory, silos: Arc<Silos>) -> Arc<Self> {
        Arc::new(Self { sim, truth, silos, late: Mutex::default(), chances: Mutex::default(), held: Mutex::default() })
    }

    pub(super) fn set(&self, chances: IndexChances) {
        *self.chances.lock().expect("no holder panics") = chances;
    }

    /// What is held of extents.
    pub(super) fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }

    /// The extents of a version, as far as its manifest is there.
    pub(super) fn extents_of(&self, data: &Data) -> Vec<Number> {
        let slices = match data {
            Data::Slices(slices) => slices.clone(),
            Data::Manifest(id) => {
                let head = now(self.truth.get(&[manifest(*id)])).remove(0);
                let head = head.map(|row| decode::<ManifestRow>(&row).expect("the row reads"));
                let named: Vec<Key> =
                    head.iter().flat_map(|head| &head.parts).map(|(number, _)| part(*id, *number)).collect();
                let rows = now(self.truth.get(&named)).into_iter().flatten();
                rows.flat_map(|row| decode::<PartRow>(&row).expect("the row reads").slices).collect()
            }
        };
        slices.iter().map(|slice| slice.extent).collect()
    }

    /// An object as the last commit left it.
    pub(super) fn object_at(&self, row_key: &Key) -> Option<ObjectRow> {
        now(self.truth.get(std::slice::from_ref(row_key)))[0].as_ref().map(|row| decode(row).expect("the row reads"))
    }

    /// An extent likewise.
    pub(super) fn extent_at(&self, id: Number) -> Option<(Number, ExtentRow)> {
        let row = now(self.truth.get(&[extent(id)])).remove(0)?;
        Some((id, decode(&row).expect("the row reads")))
    }

    fn chances(&self) -> IndexChances {
        *self.chances.lock().expect("no holder panics")
    }

    pub(super) fn late(&self) -> usize {
        self.late.lock().expect("no holder panics").len()
    }

    /// One of the late commits lands now, or never does.
    pub(super) fn land_one(&self, never: bool) {
        let taken = {
            let mut late = self.late.lock().expect("no holder panics");
            if late.is_empty() {
                return;
            }
            let at = self.sim.below(late.len() as u64) as usize;
            late.swap_remove(at)
        };
        if never {
            self.sim.note(|| "a late commit never lands".to_owned());
            return;
        }
        let landed = match taken {
            Late::Undecided(reads, decide) => self.apply(reads, decide),
            Late::Decided(seen, writes) => {
                let reads: Vec<Read> = seen.iter().map(|(read, _)| read.clone()).collect();
                let same = self.look(&reads).iter().zip(&seen).all(|(now, (_, then))| now == then);
                if same { self.apply(reads, Box::new(move |_| Some(writes.clone()))) } else { Ok(false) }
            }
        };
        self.sim.note(|| format!("a late commit lands: {landed:?}"));
    }

    fn look(&self, reads: &[Read]) -> Vec<Seen> {
        let one = |read: &Read| match read {
            Read::Row(key) => Seen::Row(now(self.truth.get(std::slice::from_ref(key))).remove(0)),
            Read::Empty(range) => Seen::Empty(now(self.truth.range(range.clone(), 1, usize::MAX)).is_empty()),
        };
        reads.iter().map(one).collect()
    }

    fn decide(&self, reads: &[Read], decide: &mut Decide) -> Option<Late> {
        let seen = self.look(reads);
        let mut rows = Rows::default();
        for (read, seen) in reads.iter().zip(&seen) {
            match (read, seen) {
                (Read::Row(key), Seen::Row(row)) => drop(rows.rows.insert(key.clone(), row.clone())),
                (_, Seen::Empty(empty)) => rows.empty.push(*empty),
                _ => {}
            }
        }
        let writes = decide(&rows)?;
        Some(Late::Decided(reads.iter().cloned().zip(seen).collect(), writes))
    }

    /// The commit happens.
    fn apply(&self, reads: Vec<Read>, mut decide: Decide) -> Result<bool, EngineError> {
        let written: Arc<Mutex<Vec<Write>>> = Arc::default();
        let kept = Arc::clone(&written);
        let watched: Decide = Box::new(move |rows| {
            let writes = decide(rows);
            *kept.lock().expect("no holder panics") = writes.clone().unwrap_or_default();
            writes
        });
        let outcome =
            self.truth.commit(Priority::Foreground, reads, watched).now_or_never().expect("it is ready at once");
        let written = std::mem::take(&mut *written.lock().expect("no holder panics"));
        if outcome == Ok(true) {
            self.held().watch(&self.sim, &self.silos, &self.truth, &written);
            self.check(&written);
        }
        self.sim.note(|| format!("commit {outcome:?}: {}", show(&written)));
        outcome
    }

    /// Bytes first, row second: a verified replica has its bytes when its row is written.
    fn check(&self, writes: &[Write]) {
        for write in writes {
            let Write::Put(row_key, bytes) = write else { continue };
            if row_key[0] != key::EXTENTS {
                continue;
            }
            let row: ExtentRow = decode(bytes).expect("the commit encoded it");
            for replica in row.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified) {
                let there = match &replica.location {
                    Location::Blob(blob) => self.silos.size(replica.silo, blob) == Some(row.size),
                    Location::Pack { pack, offset, length } => {
                        self.silos.size(replica.silo, pack).is_some_and(|size| size >= offset + length)
                    }
                    Location::InPlace { .. } => false,
                };
                if !there && !self.held().may_lack(replica) {
                    let (extent, place) = (read_extent(row_key).expect("a key of the table"), &replica.location);
                    self.sim.wrong(|| format!("a commit names bytes that are not there: {extent}, {place}"));
                }
            }
        }
    }
}

/// The answer of a future that never waits.
fn now<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    future.now_or_never().expect("it is ready at once").expect("the memory engine does not fail")
}

fn show(writes: &[Write]) -> String {
    let one = |write: &Write| match write {
        Write::Put(key, _) => format!("+{}", short(key)),
        Write::Delete(key) => format!("-{}", short(key)),
        Write::Add(..) => String::new(),
    };
    writes.iter().map(one).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A key, readable: its table, and its numbers without their zeros.
pub(super) fn short(row_key: &[u8]) -> String {
    let table = match row_key[0] {
        key::META => "meta",
        key::OBJECTS => "object",
        key::EXTENTS => "extent",
        key::REFS => "ref",
        key::UPLOADS => "upload",
        key::MANIFESTS => "manifest",
        key::PARTS => "part",
        key::MOVES => "move",
        key::RETIRED => "retired",
        key::ALIVE => "alive",
        key::BEATS => "beat",
        key::ENDED => "ended",
        key::PACKS => "pack",
        _ => "other",
    };
    let rest: Vec<String> = row_key[1..].iter().filter(|byte| **byte != 0).map(|byte| format!("{byte:x}")).collect();
    format!("{table}:{}", rest.join("."))
}

/// A commit on its way. Dropped there, it may still be carried out.
struct Flight<'a> {
    index: &'a Index,
    commit: Option<(Vec<Read>, Decide)>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some((reads, decide)) = self.commit.take()
            && self.index.sim.chance(600)
        {
            self.index.late.lock().expect("no holder panics").push(Late::Undecided(reads, decide));
        }
    }
}

/// A gateway's door to the index.
pub(super) struct Door(pub(super) Arc<Index>);

impl Door {
    fn read_fault(&self) -> Result<(), EngineError> {
        if self.0.sim.breaks(self.0.chances().fail_read) {
            self.0.sim.note(|| "a read of the index fails".to_owned());
            return Err(EngineError::Failed("a read that fails on purpose".to_owned()));
        }
        Ok(())
    }

    fn unknown(&self, how: &str) -> EngineError {
        self.0.sim.note(|| format!("the answer is lost: {how}"));
        EngineError::Unknown("an answer lost on purpose".to_owned())
    }
}

#[async_trait]
impl Engine for Door {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.0.sim.step().await;
        self.read_fault()?;
        let rows = self.0.truth.get(keys).await?;
        self.0.sim.note(|| {
            let one = |(key, row): (&Key, &Option<Bytes>)| {
                format!("{}{}", short(key), if row.is_some() { "" } else { " absent" })
            };
            format!("reads {}", keys.iter().zip(&rows).map(one).collect::<Vec<_>>().join(", "))
        });
        if self.0.sim.chance(300) {
            self.0.sim.step().await;
        }
        Ok(rows)
    }

    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.0.sim.step().await;
        self.read_fault()?;
        let page = self.0.truth.range(range.clone(), rows, bytes).await?;
        self.0.sim.note(|| {
            let keys: Vec<String> = page.iter().map(|(key, _)| short(key)).collect();
            format!("reads range {}..: {}", short(&range.start), keys.join(", "))
        });
        if self.0.sim.chance(300) {
            self.0.sim.step().await;
        }
        Ok(page)
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        self.0.sim.step().await;
        self.read_fault()?;
        self.0.truth.fold(fold).await
    }

    async fn commit(&self, _: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
        let index = &*self.0;
        let mut flight = Flight { index, commit: Some((reads, decide)) };
        index.sim.step().await;
        let (reads, mut decide) = flight.commit.take().expect("it was not taken");
        drop(flight);
        let chances = index.chances();
        if index.sim.breaks(chances.fail) {
            index.sim.note(|| "the commit fails".to_owned());
            return Err(EngineError::Failed("a commit that fails on purpose".to_owned()));
        }
        if index.sim.breaks(chances.vanish) {
            return Err(self.unknown("it never happens"));
        }
        if index.sim.breaks(chances.delay) {
            let late = if index.sim.chance(500) {
                Some(Late::Undecided(reads, decide))
            } else {
                index.decide(&reads, &mut decide)
            };
            index.late.lock().expect("no holder panics").extend(late);
            index.sim.long_step().await;
            return Err(self.unknown("it may happen later"));
        }
        let outcome = index.apply(reads, decide);
        if index.sim.breaks(chances.lose) {
            return Err(self.unknown("it happened"));
        }
        if index.sim.chance(400) {
            index.sim.step().await;
        }
        outcome
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.0.truth.log(after, bytes).await
    }

    fn forget_log(&self, through: u64) {
        self.0.truth.forget_log(through);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        Engine::snapshot(&self.0.truth).await
    }
}
