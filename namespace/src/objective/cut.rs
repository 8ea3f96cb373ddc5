//! Which objects are too cold for a silo that has to make room. Pure, and in constant memory.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::extent::SiloId;

const MINUTE: i64 = 60_000;
/// Steps to each doubling of how long something was not used.
const STEPS: u32 = 8;
/// Lots of a layer are counted by their upper bits: in 256 groups.
const GROUP_BITS: u32 = 8;

/// What was used before is too cold; of what was used in the stretch of time after that, a share is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// All that was last used before this,
    before: UnixMs,
    /// and of what was last used from then until this,
    until: UnixMs,
    /// those whose lot is less, of 65,536.
    share: u32,
}

/// By objective and silo.
pub type Cuts = BTreeMap<String, BTreeMap<SiloId, Cut>>;

impl Cut {
    /// Whether something is too cold that was last used then. Its lot is its own, and any number.
    pub fn is_above(self, used: UnixMs, lot: u16) -> bool {
        used < self.before || (used < self.until && u32::from(lot) < self.share)
    }

    /// The one that more is above.
    pub fn higher(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        [one, other].into_iter().flatten().max_by_key(|cut| (cut.until, cut.share))
    }
}

/// Bytes by when they were last used, and within a layer by their lots.
#[derive(Debug, Clone)]
pub struct Layers {
    now: UnixMs,
    bytes: BTreeMap<(Reverse<u32>, u16), u64>,
}

impl Layers {
    /// None yet.
    pub fn at(now: UnixMs) -> Self {
        Self { now, bytes: BTreeMap::new() }
    }

    /// Some that were last used then, with this lot.
    pub fn add(&mut self, used: UnixMs, lot: u16, bytes: u64) {
        let minutes = u64::try_from((self.now.saturating_sub(used)) / MINUTE).unwrap_or(0);
        *self.bytes.entry((Reverse(layer_of(minutes)), lot >> GROUP_BITS)).or_default() += bytes;
    }

    /// All of several, of one moment.
    pub fn together<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut sum = Self::at(0);
        for layers in all {
            sum.now = layers.now;
            for (layer, bytes) in &layers.bytes {
                *sum.bytes.entry(*layer).or_default() += bytes;
            }
        }
        sum
    }

    /// All of them.
    pub fn sum(&self) -> u64 {
        self.bytes.values().sum()
    }

    /// What the coldest are, so that they are at least so many bytes, and no more than that takes: in the last layer those of the
    /// lowest lots. None where there are to be none.
    pub fn cut(&self, excess: u64) -> Option<Cut> {
        let mut left = excess;
        if excess == 0 {
            return None;
        }
        // Used at a time of this age or more.
        let since =
            |minutes: u64| self.now.saturating_sub(i64::try_from(minutes).unwrap_or(i64::MAX / MINUTE) * MINUTE);
        for (&(Reverse(layer), group), &bytes) in &self.bytes {
            if left <= bytes {
                let groups = u32::from(group) + u32::from(!crate::seeded_bug!("fill-stops-short"));
                let (until, before) = (since(youngest(layer)) + 1, since(youngest(layer + 1)) + 1);
                return Some(Cut { before, until, share: groups << GROUP_BITS });
            }
            left -= bytes;
        }
        Some(Cut { before: UnixMs::MAX, until: UnixMs::MAX, share: 0 })
    }
}

/// Which layer something is in that was not used for so many minutes.
fn layer_of(minutes: u64) -> u32 {
    if minutes < u64::from(STEPS) {
        return minutes as u32;
    }
    let octave = minutes.ilog2() - STEPS.ilog2();
    octave * STEPS + (minutes >> octave) as u32
}

/// The fewest minutes of a layer.
fn youngest(layer: u32) -> u64 {
    if layer < STEPS {
        return u64::from(layer);
    }
    let octave = (layer / STEPS) - 1;
    u64::from(layer - octave * STEPS).checked_shl(octave).unwrap_or(u64::MAX)
}

/// How full a silo is, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fullness {
    /// Of ours that count.
    pub live: u64,
    /// All there is room for, and what of that is not ours, where it can tell.
    pub space: Option<(u64, u64)>,
    /// What it takes before its reserve begins, once what was retired is gone, where it can tell.
    pub room: Option<u64>,
}

/// Free room that copies of what is read leave to others: a share of the silo.
pub(crate) const LEFT_FREE: u64 = 20;

impl Fullness {
    /// Bytes above the lower level, once the upper one was passed, and until the lower one is reached.
    pub fn excess(&self, fill: super::Fill, under_way: bool) -> u64 {
        let (Some(low), Some(high)) = (fill.low.bytes(self.space), fill.high.bytes(self.space)) else { return 0 };
        if self.live > high || under_way { self.live.saturating_sub(low) } else { 0 }
    }

    /// Bytes that copies of what is read have to leave to others.
    pub fn lacks(&self) -> u64 {
        let total = self.space.map_or(0, |(total, _)| total);
        self.room.map_or(0, |room| (total / LEFT_FREE).saturating_sub(room))
    }

    /// Bytes of such copies beyond what they may take. A tenth more goes, so that it lasts.
    pub fn beyond(copies: u64, max: Option<u64>) -> u64 {
        max.filter(|max| copies > *max).map_or(0, |max| (copies - max + max / 10).min(copies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn layers_follow_each_other() {
        for layer in 0..400 {
            assert_eq!(layer_of(youngest(layer)), layer);
            assert!(youngest(layer) < youngest(layer + 1));
            assert_eq!(layer_of(youngest(layer + 1) - 1), layer);
        }
    }

    #[test]
    fn a_silo_is_emptied_from_the_upper_level_to_the_lower_one() {
        let fill = "70%..85%".parse().unwrap();
        let full = |live| Fullness { live, space: Some((1000, 100)), room: None };
        assert_eq!((full(750).excess(fill, false), full(751).excess(fill, false)), (0, 151));
        assert_eq!((full(700).excess(fill, true), full(600).excess(fill, true)), (100, 0));
        assert_eq!(Fullness { live: 9, ..Fullness::default() }.excess(fill, false), 0, "it cannot tell");
        let near = Fullness { live: 0, space: Some((1000, 0)), room: Some(20) };
        assert_eq!((near.lacks(), Fullness::default().lacks()), (30, 0));
        assert_eq!([500, 400, 10].map(|copies| Fullness::beyond(copies, Some(400))), [140, 0, 0]);
        assert_eq!(Fullness::beyond(300, None), 0);
    }

    proptest! {
        /// The coldest are cut off: as much as was asked for, and no object more than that takes, but for those whose lots are as low.
        ///
        /// Lots were drawn, and not counted: of ten large objects of one age a share of a fifth was none at all, now and then, and the
        /// silo stayed as full as it was.
        #[test]
        fn a_cut_takes_the_coldest(
            used in prop::collection::vec((0..1_000_000_i64, any::<u16>(), 1..100_u64), 1..300),
            part in 0.0..1.2_f64,
        ) {
            let now = 2_000_000 * MINUTE;
            let mut layers = Layers::at(now);
            for (at, lot, bytes) in &used {
                layers.add(now - at * MINUTE, *lot, *bytes);
            }
            let excess = (layers.sum() as f64 * part) as u64;
            let Some(cut) = layers.cut(excess) else {
                prop_assert_eq!(excess, 0);
                return Ok(());
            };
            let goes = |(at, lot, _): &&(i64, u16, u64)| cut.is_above(now - at * MINUTE, *lot);
            let order = |(at, lot, _): &(i64, u16, u64)| (Reverse(layer_of(*at as u64)), lot >> GROUP_BITS);
            let gone: u64 = used.iter().filter(goes).map(|(.., bytes)| bytes).sum();
            prop_assert!(gone >= excess.min(layers.sum()), "{} are too few for {}", gone, excess);
            let last = used.iter().filter(goes).map(order).max();
            let of_last = |one: &&(i64, u16, u64)| Some(order(one)) == last;
            let of_last: u64 = used.iter().filter(of_last).map(|(.., bytes)| bytes).sum();
            prop_assert!(gone - of_last < excess, "{} are more than {} takes", gone, excess);
            for stays in used.iter().filter(|one| !goes(one)) {
                prop_assert!(Some(order(stays)) > last, "the warmer one goes");
            }
        }
    }
}
