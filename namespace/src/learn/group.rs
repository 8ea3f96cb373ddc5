//! How often objects of a group are used, by what is expected of objects in their states anywhere. A group is drawn towards the
//! one that it lies in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Groups that are told apart; what comes later counts with the one that it lies in.
const MAX_GROUPS: usize = 4096;
/// A group is like the one that it lies in until about so many uses were seen.
const TRUST: f64 = 8.0;
/// Groups of an object.
pub(super) const DEPTH: usize = 3;

/// The groups of a key, by hash, the coarser first: its first prefix, its second one, and what its name ends with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Groups(pub [u64; DEPTH]);

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Uses {
    seen: f64,
    expected: f64,
    /// Expected in gaps that have not ended.
    open: f64,
}

/// All groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace(BTreeMap<u64, Uses>);

impl Groups {
    /// A number for a key.
    pub fn key(bucket: &str, key: &str) -> u64 {
        hash(hash(BASIS, bucket), key)
    }

    /// Of a key in a bucket.
    pub fn of(bucket: &str, key: &str) -> Self {
        let mut parts = key.splitn(3, '/');
        let first = parts.next().filter(|first| first.len() < key.len()).unwrap_or_default();
        let second = parts.next().filter(|_| parts.next().is_some()).unwrap_or_default();
        let name = key.rsplit('/').next().unwrap_or_default();
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let first = hash(hash(BASIS, bucket), first);
        let second = hash(first, second);
        Self([first, second, hash(second, ending)])
    }
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, which stays as it is: it is in what is stored.
fn hash(basis: u64, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    step(text.bytes().fold(basis, step), b'/')
}

impl Pace {
    fn each(&mut self, groups: Groups, change: impl Fn(&mut Uses)) {
        for group in groups.0 {
            if self.0.len() >= MAX_GROUPS && !self.0.contains_key(&group) {
                return;
            }
            change(self.0.entry(group).or_default());
        }
    }

    /// A gap ended, by a use or not, in which so many uses were expected.
    pub(super) fn ended(&mut self, groups: Groups, used: bool, expected: f64) {
        self.each(groups, |uses| {
            uses.seen += f64::from(u8::from(used));
            uses.expected += expected;
        });
    }

    pub(super) fn begin_census(&mut self) {
        self.0.values_mut().for_each(|uses| uses.open = 0.0);
    }

    /// A gap goes on.
    pub(super) fn count(&mut self, groups: Groups, expected: f64) {
        self.each(groups, |uses| uses.open += expected);
    }

    pub(super) fn forget(&mut self, kept: f64) {
        for uses in self.0.values_mut() {
            *uses = Uses { seen: uses.seen * kept, expected: uses.expected * kept, open: uses.open };
        }
        self.0.retain(|_, uses| uses.seen + uses.expected + uses.open > 0.01);
    }

    /// How many times as often.
    pub(super) fn times(&self, groups: Groups) -> f64 {
        let known = groups.0.iter().map_while(|group| self.0.get(group));
        known.fold(1.0, |times, uses| (uses.seen + TRUST * times) / (uses.expected + uses.open + TRUST))
    }
}
