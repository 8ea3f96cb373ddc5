//! How much was read of objects, to the byte: of a bounded number of them. Heat counts reads and knows how much the last ones took; where
//! one read takes all and the next a thousandth, that is not enough.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Objects in the book; of others heat has to do.
const MAX_OBJECTS: usize = 1 << 16;
/// Days after which what was read counts half.
const HALF_LIFE: f64 = 90.0;

/// What was read, by object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Book(BTreeMap<u64, Entry>);

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// By the object's size.
    volume: f64,
    /// As of this day.
    day: i32,
}

impl Book {
    /// So much was read.
    pub(super) fn read(&mut self, id: u64, day: i32, volume: f64) {
        if volume <= 0.0 || (self.0.len() >= MAX_OBJECTS && !self.0.contains_key(&id)) {
            return;
        }
        let entry = self.0.entry(id).or_insert(Entry { volume: 0.0, day });
        let days = f64::from((day - entry.day).max(0));
        *entry = Entry { volume: entry.volume * (-days / HALF_LIFE).exp2() + volume, day };
    }

    /// As of the last read.
    pub(super) fn volume(&self, id: u64) -> Option<f64> {
        self.0.get(&id).map(|entry| entry.volume)
    }

    /// It is no more.
    pub(super) fn forget(&mut self, id: u64) {
        self.0.remove(&id);
    }
}
