//! What a batch of decisions has written so far, on top of a map that has not seen it.
//!
//! Each decision sees the writes of those before it. One that refuses, panics or names a row that is no counter
//! leaves nothing behind.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use super::{Decide, EngineError, Key, Read, Rows, Write};

/// The map below an overlay.
pub(super) trait Base {
    /// Why it could not be read.
    type Error;
    /// One row.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Self::Error>;
    /// Whether a row in the range has a key for which `counts` answers true.
    fn any(&self, range: &Range<Key>, counts: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, Self::Error>;
}

/// What became of one decision; `Failed` is a fault of that decision alone.
pub(super) type Decided = Result<bool, EngineError>;

/// Rows that changed, `None` deleted.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    rows: BTreeMap<Key, Option<Bytes>>,
    bytes: usize,
}

impl Overlay {
    /// Reads, decides and takes over what was decided. An error is the base's, and then nothing is known of this one.
    pub(super) fn run<B: Base>(&mut self, base: &B, reads: &[Read], decide: &mut Decide) -> Result<Decided, B::Error> {
        let mut rows = Rows::default();
        for read in reads {
            match read {
                Read::Row(key) => {
                    rows.rows.insert(key.clone(), self.get(base, key)?);
                }
                Read::Empty(range) => rows.empty.push(self.is_empty(base, range)?),
            }
        }
        match catch_unwind(AssertUnwindSafe(|| decide(&rows))) {
            Ok(Some(writes)) => self.stage(base, writes),
            Ok(None) => Ok(Ok(false)),
            Err(_) => Ok(Err(EngineError::Failed("a decision panicked".to_owned()))),
        }
    }

    /// Whether nothing was written.
    pub(super) fn is_clean(&self) -> bool {
        self.rows.is_empty()
    }

    /// About how many bytes of rows were written.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What was written, in key order.
    pub(super) fn rows(&self) -> &BTreeMap<Key, Option<Bytes>> {
        &self.rows
    }

    /// What was written, in key order.
    pub(super) fn into_rows(self) -> BTreeMap<Key, Option<Bytes>> {
        self.rows
    }

    fn stage<B: Base>(&mut self, base: &B, writes: Vec<Write>) -> Result<Decided, B::Error> {
        let mut staged: BTreeMap<Key, Option<Bytes>> = BTreeMap::new();
        for write in writes {
            match write {
                Write::Put(key, value) => staged.insert(key, Some(value.into())),
                Write::Delete(key) => staged.insert(key, None),
                Write::Add(key, by) => {
                    let stored = match staged.get(&key) {
                        Some(row) => row.clone(),
                        None => self.get(base, &key)?,
                    };
                    let Some(sum) = counter(stored.as_deref()).and_then(|count| count.checked_add(by)) else {
                        return Ok(Err(EngineError::Failed("an add to a row that is no counter".to_owned())));
                    };
                    staged.insert(key, Some(Bytes::copy_from_slice(&sum.to_le_bytes())))
                }
            };
        }
        self.bytes += staged.iter().map(|(key, row)| key.len() + row.as_ref().map_or(0, Bytes::len)).sum::<usize>();
        self.rows.extend(staged);
        Ok(Ok(true))
    }

    fn get<B: Base>(&self, base: &B, key: &[u8]) -> Result<Option<Bytes>, B::Error> {
        match self.rows.get(key) {
            Some(row) => Ok(row.clone()),
            None => base.get(key),
        }
    }

    fn is_empty<B: Base>(&self, base: &B, range: &Range<Key>) -> Result<bool, B::Error> {
        if range.start >= range.end {
            return Ok(true);
        }
        if self.rows.range(range.clone()).any(|(_, row)| row.is_some()) {
            return Ok(false);
        }
        base.any(range, &mut |key| !self.rows.contains_key(key)).map(|any| !any)
    }
}

/// A counter row's value; `None` when the row is something else.
fn counter(row: Option<&[u8]>) -> Option<i64> {
    row.map_or(Some(0), |bytes| bytes.try_into().ok().map(i64::from_le_bytes))
}
