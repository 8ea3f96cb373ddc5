//! The index in memory: for tests, and what the other engines are held against.
//!
//! Clones share one map, as gateways share one index. Every future is ready at once: no runtime and no wake-up is
//! needed, so that a model test can drive it with a scheduler of its own. Nothing survives the process.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::overlay::{Base, Overlay};
use super::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Read, fold};

type Map = BTreeMap<Bytes, Bytes>;

/// A map in memory; clones are the same map.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// All rows. Held for one call at a time, never across an await.
    map: Arc<Mutex<Map>>,
}

impl Memory {
    /// An empty index.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of every row, for tests that compare states.
    pub fn snapshot(&self) -> Vec<(Bytes, Bytes)> {
        self.rows().iter().map(|(key, value)| (key.clone(), value.clone())).collect()
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
        let map = self.rows();
        let (mut page, mut size) = (Page::new(), 0);
        for (key, value) in between(&map, &range.start, &range.end).take(rows) {
            size += key.len() + value.len();
            page.push((key.clone(), value.clone()));
            if size >= bytes {
                break;
            }
        }
        Ok(page)
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

    async fn commit(&self, reads: Vec<Read>, mut decide: Decide) -> Result<bool, EngineError> {
        let mut map = self.rows();
        let mut overlay = Overlay::default();
        let Ok(decided) = overlay.run(&*map, &reads, &mut decide);
        for (key, row) in overlay.into_rows() {
            match row {
                Some(value) => map.insert(key.into(), value),
                None => map.remove(key.as_slice()),
            };
        }
        decided
    }
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

    #[tokio::test]
    async fn it_keeps_the_contract() {
        super::super::contract::contract(Arc::new(Memory::new())).await;
    }

    #[tokio::test]
    async fn clones_are_one_index() {
        let one = Memory::new();
        let other = one.clone();
        let put: Decide = Box::new(|_| Some(vec![super::super::Write::Put(b"k".to_vec(), b"v".to_vec())]));
        assert_eq!(one.commit(Vec::new(), put).await, Ok(true));
        assert_eq!(other.get(&[b"k".to_vec()]).await, Ok(vec![Some(Bytes::from_static(b"v"))]));
    }
}
