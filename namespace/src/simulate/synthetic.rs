//! A made-up company's three years, from a seed: for tests, and for whoever has no trace at hand. The same seed gives the same events.

use super::trace::Sink;
use super::{Event, What};

/// Days.
pub const DAYS: i32 = 1095;
/// The first one: in 2023.
const FIRST: i32 = 19_400;
const MIB: u64 = 1 << 20;

/// Pseudo-random numbers: splitmix64, which stays as it is.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.roll().is_multiple_of(times.max(1))
    }

    /// Below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }
}

/// What a folder's objects are like.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Read for some days, then hardly ever.
    Log,
    /// As often as it is young; some come back for a week.
    Photo,
    /// At the turn of each month.
    Report,
    /// Hardly ever, but for an audit of all of it twice a year.
    Archive,
    /// Most days.
    Hot,
    /// Written anew now and then.
    Draft,
}

/// A folder, how many objects come a day in a hundred days, and their bytes.
const FOLDERS: [(&str, Kind, u64, u64); 6] = [
    ("logs", Kind::Log, 300, 64 * MIB),
    ("photos", Kind::Photo, 500, 8 * MIB),
    ("reports", Kind::Report, 20, 16 * MIB),
    ("archive", Kind::Archive, 100, 256 * MIB),
    ("hot", Kind::Hot, 10, 32 * MIB),
    ("drafts", Kind::Draft, 50, MIB / 8),
];

struct Object {
    key: String,
    kind: Kind,
    size: u64,
    born: i32,
    /// Until this day it is read as if it was new.
    back: i32,
}

/// All events, in their order.
pub fn generate(seed: u64, sink: &mut Sink<'_>) {
    let mut dice = Dice::new(seed);
    let mut objects: Vec<Object> = Vec::new();
    for day in 0..DAYS {
        for (folder, kind, often, size) in FOLDERS {
            let new = often / 100 + u64::from(dice.below(100) < often % 100);
            for _ in 0..new {
                let size = size / 8 + dice.below(size) + dice.below(size) * u64::from(dice.once_in(8)) * 8;
                let key = format!("{folder}/{:03}/{}.dat", day / 30, objects.len());
                tell(&key, day, What::Put(size), sink);
                objects.push(Object { key, kind, size, born: day, back: 0 });
            }
        }
        objects.iter_mut().filter(|object| object.born < day).for_each(|object| a_day(object, day, &mut dice, sink));
        objects
            .retain(|object| !matches!(object.kind, Kind::Log) || day < object.born + 700 || gone(object, day, sink));
    }
}

fn tell(key: &str, day: i32, what: What, sink: &mut Sink<'_>) {
    sink(&Event { day: FIRST + day, bucket: "company", key, what });
}

fn gone(object: &Object, day: i32, sink: &mut Sink<'_>) -> bool {
    tell(&object.key, day, What::Delete, sink);
    false
}

fn a_day(object: &mut Object, day: i32, dice: &mut Dice, sink: &mut Sink<'_>) {
    let age = (day - object.born) as u64;
    let read = match object.kind {
        Kind::Log => dice.once_in(if age < 5 { 2 } else { 300 }),
        Kind::Photo => {
            if dice.once_in(500) {
                object.back = day + 7;
            }
            dice.once_in(if day < object.back { 2 } else { age.max(2) })
        }
        Kind::Report => day % 30 < 2 && !dice.once_in(4),
        Kind::Archive => day % 182 == 100 || dice.once_in(1000),
        Kind::Hot => !dice.once_in(5),
        Kind::Draft => dice.once_in(20 + age / 4),
    };
    if !read {
        return;
    }
    let part = if dice.once_in(4) { object.size / 16 } else { object.size };
    tell(&object.key, day, What::Read { count: 1, bytes: Some(part), size: Some(object.size) }, sink);
    if matches!(object.kind, Kind::Draft) && dice.once_in(2) {
        object.size = object.size / 2 + dice.below(object.size + 1);
        tell(&object.key, day, What::Put(object.size), sink);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_events() {
        let events = |seed| {
            let mut all = Vec::new();
            generate(seed, &mut |event| all.push((event.day, event.key.to_owned(), event.what)));
            all
        };
        let one = events(1);
        assert!(one.len() > 10_000 && one.is_sorted_by_key(|event| event.0));
        assert!(one == events(1) && one != events(2));
    }
}
