//! How often and how much objects of a group are read, by what is expected of objects in their states anywhere. A group is drawn towards
//! the one that it lies in; the smallest is an object by itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Thing;
use super::chain::Used;

/// Groups that are told apart, and objects; what comes later counts with what it lies in.
const MAX_GROUPS: usize = 4096;
const MAX_OBJECTS: usize = 1 << 16;
/// A group is like the one that it lies in until about so many uses were seen.
const TRUST: f64 = 8.0;
/// Groups of a key.
pub(super) const DEPTH: usize = 3;

/// The groups of a key, by hash, the coarser first: its first prefix, its second one, and what its name ends with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Groups(pub [u64; DEPTH]);

/// What was seen by what was expected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Uses {
    seen: f64,
    expected: f64,
    /// Expected in gaps that have not ended.
    open: f64,
    volume: f64,
    expected_volume: f64,
}

/// How many times as often, and as much a time, as others in the same state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Times {
    pub(super) often: f64,
    pub(super) much: f64,
}

/// All groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Pace {
    groups: BTreeMap<u64, Uses>,
    objects: BTreeMap<u64, Uses>,
}

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

impl Uses {
    fn keep(&mut self, part: f64) {
        self.seen *= part;
        self.expected *= part;
        self.volume *= part;
        self.expected_volume *= part;
    }

    fn add(&mut self, used: Option<(Used, f64)>, expected: f64) {
        self.expected += expected;
        let Some((used, volume)) = used else { return };
        self.seen += 1.0;
        self.volume += used.volume;
        self.expected_volume += volume;
    }

    /// Drawn towards the group that it lies in.
    fn times(&self, open: f64, of: Times) -> Times {
        let often = (self.seen + TRUST * of.often) / (self.expected + open + TRUST);
        // A typical use's; the same unit as the sums, which may be of huge or tiny parts of objects.
        let typical = self.expected_volume / self.seen.max(1e-9);
        let prior = TRUST * typical;
        let much =
            if typical > 0.0 { (self.volume + prior * of.much) / (self.expected_volume + prior) } else { of.much };
        Times { often, much }
    }
}

impl Pace {
    /// The groups of an object: its size's first.
    fn groups(thing: &Thing<'_>) -> [u64; DEPTH + 1] {
        [u64::from(thing.size.max(1).ilog2() / 3), thing.groups.0[0], thing.groups.0[1], thing.groups.0[2]]
    }

    fn each(&mut self, thing: &Thing<'_>, change: impl Fn(&mut Uses)) {
        for group in Self::groups(thing) {
            if self.groups.len() < MAX_GROUPS || self.groups.contains_key(&group) {
                change(self.groups.entry(group).or_default());
            }
        }
    }

    /// A gap ended, by a use or not, in which so many uses were expected, and so much of a use.
    pub(super) fn ended(&mut self, thing: &Thing<'_>, used: Option<(Used, f64)>, expected: f64) {
        self.each(thing, |uses| uses.add(used, expected));
        if used.is_none() {
            self.objects.remove(&thing.id);
        } else if self.objects.len() < MAX_OBJECTS || self.objects.contains_key(&thing.id) {
            self.objects.entry(thing.id).or_default().add(used, expected);
        }
    }

    pub(super) fn begin_census(&mut self) {
        self.groups.values_mut().for_each(|uses| uses.open = 0.0);
    }

    /// A gap goes on.
    pub(super) fn count(&mut self, thing: &Thing<'_>, expected: f64) {
        self.each(thing, |uses| uses.open += expected);
    }

    pub(super) fn forget(&mut self, kept: f64) {
        for uses in self.groups.values_mut().chain(self.objects.values_mut()) {
            uses.keep(kept);
        }
        self.groups.retain(|_, uses| uses.seen + uses.expected + uses.open > 0.01);
        self.objects.retain(|_, uses| uses.seen > 0.01);
    }

    /// Uses that were seen in the smallest group of an object that is known.
    pub(super) fn known(&self, thing: &Thing<'_>) -> f64 {
        let own = self.objects.get(&thing.id);
        let groups = Self::groups(thing).into_iter().rev().find_map(|group| self.groups.get(&group));
        [own, groups].into_iter().flatten().map(|uses| uses.seen).fold(0.0, f64::max)
    }

    /// How an object is read, where so many uses were expected since its last one.
    pub(super) fn times(&self, thing: &Thing<'_>, open: f64) -> Times {
        let alike = Times { often: 1.0, much: 1.0 };
        let known = Self::groups(thing).into_iter().filter_map(|group| self.groups.get(&group));
        let times = known.fold(alike, |times, uses| uses.times(uses.open, times));
        self.objects.get(&thing.id).map_or(times, |uses| uses.times(open, times))
    }
}
