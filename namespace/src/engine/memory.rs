//! The index in memory: for tests, and what the other engines are held against.
//!
//! Clones share one map, as gateways share one index. Every future is ready at once: no runtime and no wake-up is
//! needed, so that a model test can drive it with a scheduler of its own. Nothing survives the process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::{Bound, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::log::{Entry, Snapshot};
use super::overlay::{Base, Overlay};
use super::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read, fold};
use crate::clock::{Clock, UnixMs};

type Map = BTreeMap<Bytes, Bytes>;

/// A map in memory; clones are the same map.
#[derive(Clone, Default)]
pub struct Memory {
    /// All rows. Held for one call at a time, never across an await.
    map: Arc<Mutex<Map>>,
    /// Held within `map`, and for one call.
    log: Arc<Mutex<Vec<Entry>>>,
    /// Nobody needs this entry any more, nor those before it.
    forgotten: Arc<AtomicU64>,
    /// Without one there is no log.
    clock: Option<Arc<dyn Clock>>,
}

/// The rows of one moment.
struct Copied(Map, (u64, UnixMs));

impl Memory {
    /// An empty index that keeps no log.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty index that keeps a log.
    pub fn with_log(clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..Self::default() }
    }

    /// A copy of every row, for tests that compare states.
    pub fn every_row(&self) -> Vec<(Bytes, Bytes)> {
        self.rows().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn note(&self, written: &Overlay) {
        let (Some(clock), false) = (&self.clock, written.is_clean()) else { return };
        let mut log = self.entries();
        let (last, before) = log.last().map_or((0, UnixMs::MIN), |entry| (entry.sequence, entry.at));
        let rows = written.rows().iter().map(|(key, row)| (key.clone().into(), row.clone())).collect();
        let through = self.forgotten.load(Ordering::Acquire).min(last);
        log.retain(|entry| entry.sequence > through);
        log.push(Entry { sequence: last + 1, at: clock.now().max(before), rows });
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A decision's panic is caught before it gets here, so the map is whole even under a poisoned lock.
    fn rows(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Engine for Memory {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        let map = self.rows();
        Ok(keys.iter().map(|key| map.get(key.as_slice()).cloned()).collect())
    }

    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        Ok(page(&self.rows(), &range, rows, bytes))
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        let map = self.rows();
        let folded = fold::fold(&fold, |from, to| {
            Ok::<_, Infallible>(between(&map, from, to).map(|(key, value)| Ok((key.clone(), value.clone()))))
        });
        match folded {
            Ok(lines) => Ok(lines),
        }
    }

    async fn commit(&self, _: Priority, reads: Vec<Read>, mut decide: Decide) -> Result<bool, EngineError> {
        let mut map = self.rows();
        let mut overlay = Overlay::default();
        let Ok(decided) = overlay.run(&*map, &reads, &mut decide);
        self.note(&overlay);
        for (key, row) in overlay.into_rows() {
            match row {
                Some(value) => map.insert(key.into(), value),
                None => map.remove(key.as_slice()),
            };
        }
        decided
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        let mut room = bytes;
        let fits = |entry: &&Entry| {
            let fits = room > 0;
            room = room.saturating_sub(entry.bytes());
            fits
        };
        Ok(self.entries().iter().filter(|entry| entry.sequence > after).take_while(fits).cloned().collect())
    }

    fn forget_log(&self, through: u64) {
        self.forgotten.fetch_max(through, Ordering::AcqRel);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        let map = self.rows();
        let last = self.entries().last().map_or((0, 0), |entry| (entry.sequence, entry.at));
        Ok(Arc::new(Copied(map.clone(), last)))
    }
}

impl Snapshot for Copied {
    fn last(&self) -> (u64, UnixMs) {
        self.1
    }

    fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        Ok(page(&self.0, &range, rows, bytes))
    }
}

fn page(map: &Map, range: &Range<Key>, rows: usize, bytes: usize) -> Page {
    let (mut page, mut size) = (Page::new(), 0);
    for (key, value) in between(map, &range.start, &range.end).take(rows) {
        size += key.len() + value.len();
        page.push((key.clone(), value.clone()));
        if size >= bytes {
            break;
        }
    }
    page
}

impl Base for Map {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Infallible> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn any(&self, range: &Range<Key>, counts: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Infallible> {
        Ok(between(self, &range.start, &range.end).any(|(key, _)| counts(key)))
    }
}

/// The rows of a range, none when it runs backwards.
fn between<'a>(map: &'a Map, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&'a Bytes, &'a Bytes)> + use<'a> {
    map.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to.max(from))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn it_keeps_the_contract() {
        super::super::contract::contract(Arc::new(Memory::with_log(Arc::new(SystemClock::new())))).await;
    }

    #[tokio::test]
    async fn clones_are_one_index() {
        let one = Memory::new();
        let other = one.clone();
        let put: Decide = Box::new(|_| Some(vec![super::super::Write::Put(b"k".to_vec(), b"v".to_vec())]));
        assert_eq!(one.commit(Priority::Foreground, Vec::new(), put).await, Ok(true));
        assert_eq!(other.get(&[b"k".to_vec()]).await, Ok(vec![Some(Bytes::from_static(b"v"))]));
    }
}
