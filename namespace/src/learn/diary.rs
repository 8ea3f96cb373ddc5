//! Learning from an index: what objects are now, and what was known of them a day ago, tell what became of them meanwhile. Of many
//! objects a sample is looked at: those whose numbers are low, so that it is the same one each day.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::chain::Used;
use super::group::Groups;
use super::rhythm::Rhythm;
use super::{Learner, Thing, next_look};
use crate::heat::Heat;

/// Objects of a sample.
const SAMPLE: usize = 1 << 16;
/// Heat tells days apart for about so long: what is older counts as one day.
const DAYS_APART: i32 = 7;

/// An object, as it is now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// See [`Groups::key`].
    pub id: u64,
    /// Its groups.
    pub groups: Groups,
    /// Bytes.
    pub size: u64,
    /// What is known of its reads.
    pub heat: Option<Heat>,
    /// The day that its bytes were written on.
    pub written: i32,
    /// Where it is; none of the places that are learnt about.
    pub place: Option<usize>,
}

/// All objects as they are now: a sample of them, in constant memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lesson {
    seen: BTreeMap<u64, Seen>,
    of_seen: Part,
    /// Objects that somebody else says of where they are: a sample of them.
    left: BTreeSet<u64>,
    of_left: Part,
    /// How many objects there are,
    pub objects: u64,
    /// and their bytes.
    pub bytes: u64,
}

/// Which objects are in a sample: of all of them a half, so many times over.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Part(i32);

impl Part {
    fn has(self, id: u64) -> bool {
        spread(id) <= u64::MAX >> self.0
    }

    /// How many objects one of the sample stands for.
    fn weight(self) -> f64 {
        f64::from(self.0).exp2()
    }
}

/// What was known of an object at the end of the last day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Known {
    groups: Groups,
    size: u64,
    heat: Option<Heat>,
    written: i32,
    /// The day it is to be looked at.
    due: i32,
}

/// What was known of all of the sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Diary {
    /// The last day.
    pub(super) day: Option<i32>,
    known: BTreeMap<u64, Known>,
    /// Of how many objects, and bytes, the sample is one.
    pub(super) objects: u64,
    pub(super) bytes: u64,
}

impl Lesson {
    /// One more object.
    pub fn see(&mut self, seen: Seen) {
        self.objects += 1;
        self.bytes += seen.size;
        if self.of_seen.has(seen.id) {
            self.seen.insert(seen.id, seen);
        }
        while self.seen.len() > SAMPLE {
            self.of_seen.0 += 1;
            self.seen.retain(|id, _| self.of_seen.has(*id));
        }
    }

    /// One that is there, but is not chosen for any more.
    pub fn leave(&mut self, id: u64) {
        if self.of_left.has(id) {
            self.left.insert(id);
        }
        while self.left.len() > SAMPLE {
            self.of_left.0 += 1;
            self.left.retain(|id| self.of_left.has(*id));
        }
    }

    /// Whether one that was not seen is no more; else it is unknown, or somebody else's.
    fn lacks(&self, id: u64) -> bool {
        self.of_seen.has(id) && self.of_left.has(id) && !self.left.contains(&id)
    }
}

/// Numbers of keys that look alike are alike; these are not.
fn spread(id: u64) -> u64 {
    let id = (id ^ (id >> 31)).wrapping_mul(0x7fb5_d329_728e_a185);
    let id = (id ^ (id >> 27)).wrapping_mul(0x81da_def4_bc2d_d44d);
    id ^ (id >> 33)
}

impl Learner {
    /// The last day that was learnt from.
    pub fn learnt_until(&self) -> Option<i32> {
        self.diary.day
    }

    /// How many objects there are, and how many bytes they have, as of that day.
    pub fn about(&self) -> (u64, u64) {
        (self.diary.objects, self.diary.bytes)
    }

    fn thing<'a>(&self, id: u64, known: &'a Known, day: i32) -> Thing<'a> {
        let (heat, Known { groups, size, written, .. }) = (known.heat.as_ref(), *known);
        Thing { id, groups, size, heat, class: self.class(id, heat), written, day }
    }

    /// Objects of the sample, as of that day.
    pub(super) fn sample(&self) -> impl Iterator<Item = Thing<'_>> {
        let day = self.diary.day.unwrap_or_default();
        self.diary.known.iter().map(move |(id, known)| self.thing(*id, known, day))
    }

    /// Learns from what objects are now what became of them until the end of `day`, which is over. Answers whether deciding goes
    /// by something else now.
    pub fn learn(&mut self, lesson: &Lesson, day: i32) -> bool {
        if self.diary.day.is_some_and(|last| last > day + 1) {
            // A clock was ahead.
            self.diary = Diary::default();
            self.ledger.begin_anew();
            self.rhythm = Rhythm::default();
        }
        let last = self.diary.day;
        if last.is_some_and(|last| day <= last) {
            return false;
        }
        let first = last.map_or(day, |last| (last + 1).max(day - DAYS_APART + 1));
        self.ledger.weight = lesson.of_seen.weight();
        for day in first..=day {
            self.forecast.day();
            for seen in lesson.seen.values() {
                self.day_of(seen, day, last.is_none());
            }
            self.forecast.judge();
            self.end_day(day);
        }
        self.miss(lesson, day);
        self.diary = Diary {
            day: Some(day),
            objects: lesson.objects,
            bytes: lesson.bytes,
            known: std::mem::take(&mut self.diary.known),
        };
        let due = day >= self.next_census();
        if due {
            self.count_all(day);
        }
        due
    }

    /// What was there and is no more was deleted.
    fn miss(&mut self, lesson: &Lesson, day: i32) {
        let known = std::mem::take(&mut self.diary.known);
        let (here, gone): (BTreeMap<_, _>, BTreeMap<_, _>) =
            known.into_iter().partition(|(id, _)| lesson.seen.contains_key(id));
        self.diary.known = here;
        for (id, known) in gone {
            // One that is no more in the sample tells nothing.
            if !lesson.lacks(id) {
                self.ledger.drop(id);
                self.book.forget(id);
                continue;
            }
            let thing = self.thing(id, &known, day);
            if known.written < day { self.died(&thing) } else { self.ended(&thing) }
        }
    }

    fn count_all(&mut self, day: i32) {
        self.begin_census();
        let known = std::mem::take(&mut self.diary.known);
        for (id, known) in &known {
            self.count(&self.thing(*id, known, day));
        }
        self.diary.known = known;
        self.end_census(day);
    }

    /// A day of an object.
    fn day_of(&mut self, seen: &Seen, day: i32, all_new: bool) {
        let Some(known) = self.diary.known.get(&seen.id).copied() else {
            return self.meet(seen, day, all_new);
        };
        if self.ledger.done(seen.id).is_none() {
            self.find(seen, &known, day);
        }
        self.note_move(seen, &known, day - 1);
        let count = seen.heat.map_or(0, |heat| heat.reads_on(i64::from(day)));
        let anew = seen.written == day && known.written != day;
        let before = self.thing(seen.id, &known, day);
        let used = Self::used_by(seen, known.size, count, anew);
        self.compare(&before, used);
        let mut after = known;
        if count > 0 || anew {
            self.read(&before, used);
            after.heat = seen.heat.and_then(|heat| heat.until(i64::from(day))).or(known.heat);
            if count > 0 {
                self.warm(seen.id, day, used);
            }
            self.used(&before, &self.thing(seen.id, &after, day), used);
        }
        if anew {
            self.ended(&self.thing(seen.id, &after, day));
            (after.size, after.written) = (seen.size.max(1), day);
            self.begin(seen, &after, day);
        }
        let unread = (count > 0).then(|| (after.size as f64 * (1.0 - used.volume).max(0.0)) as u64);
        self.look_at(seen.id, after, day, unread);
    }

    fn used_by(seen: &Seen, size: u64, count: u32, written: bool) -> Used {
        let share = seen.heat.map_or(0.0, |heat| heat.share());
        // An object that was written anew meanwhile was read as large as it was.
        let times = if written { seen.size.min(size) as f64 / size.max(1) as f64 } else { 1.0 };
        Used { count: f64::from(count), volume: f64::from(count) * share * times, written }
    }

    /// One that was not known.
    fn meet(&mut self, seen: &Seen, day: i32, all_new: bool) {
        if seen.written > day {
            return;
        }
        let heat = seen
            .heat
            .filter(|heat| heat.day() <= i64::from(day))
            .or_else(|| seen.heat.and_then(|heat| (0..DAYS_APART).find_map(|ago| heat.until(i64::from(day - ago)))));
        let known = Known { groups: seen.groups, size: seen.size.max(1), heat, written: seen.written, due: i32::MIN };
        if all_new || seen.written < day {
            self.find(seen, &known, day);
        } else {
            self.begin(seen, &known, day);
            let count = seen.heat.map_or(0, |heat| heat.reads_on(i64::from(day)));
            let used = Self::used_by(seen, known.size, count, false);
            if count > 0 {
                self.warm(seen.id, day, used);
            }
            self.first_day(used);
        }
        self.look_at(seen.id, known, day, None);
    }

    fn find(&mut self, seen: &Seen, known: &Known, day: i32) {
        if let Some(place) = seen.place {
            self.ledger.found(&self.thing(seen.id, known, day), place);
        }
    }

    fn begin(&mut self, seen: &Seen, known: &Known, day: i32) {
        let thing = self.thing(seen.id, known, day);
        let place = seen.place.or_else(|| self.ledger.done(seen.id).map(|stay| stay.place));
        if let Some(place) = place {
            self.ledger.born(&self.policy, &thing, place);
        }
    }

    /// Where it is now it came at the end of the day before.
    fn note_move(&mut self, seen: &Seen, known: &Known, day: i32) {
        let Some((place, done)) = seen.place.zip(self.ledger.done(seen.id)) else { return };
        if place != done.place && seen.written <= known.written {
            let thing = self.thing(seen.id, known, day);
            self.ledger.moved(&self.policy, &thing, place, None);
        }
    }

    /// What a day was expected to cost, and did.
    fn compare(&mut self, before: &Thing<'_>, used: Used) {
        let Some(done) = self.ledger.done(before.id) else { return };
        let yesterday = Thing { day: before.day - 1, ..*before };
        let tariff = &self.policy.tariffs[done.place];
        let reads = tariff.reads(used.count, used.volume * before.size as f64);
        let came = tariff.day(before.size, yesterday.idle()) + reads;
        self.forecast.add(self.policy.expected_day(&yesterday, done.place), came, used.count > 0.0);
    }

    /// The ledger's rules decide, where it was used or has been idle for so long that it may make a difference.
    fn look_at(&mut self, id: u64, mut known: Known, day: i32, unread: Option<u64>) {
        let thing = self.thing(id, &known, day);
        let used = thing.used();
        if known.due <= day || used == day {
            self.ledger.look(&self.policy, &thing, unread);
            known.due = used + next_look(day - used);
        }
        self.diary.known.insert(id, known);
    }
}
