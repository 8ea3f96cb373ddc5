//! What became of objects in each state, counted, and the chances that follow from it.
//!
//! A gap between two uses is counted when it ends; gaps that have not ended are counted anew at each census, so that silence is
//! evidence, too. What is old counts less.

use serde::{Deserialize, Serialize};

use super::state::{BINS, CLASSES, GAPS, LEVELS, gap, middle, passed, volume_of};

/// A coarser state counts as much as so many uses seen in a finer one.
const TRUST: f64 = 4.0;
/// Before anything was seen: what was idle for some days is used again within about as many, as often as not.
const FIRST_GUESS: f64 = 0.5;

/// A use of an object: on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Used {
    /// Reads.
    pub count: f64,
    /// What they read, by the object's size.
    pub volume: f64,
    /// Bytes were written anew.
    pub written: bool,
}

/// What is read so many times a day is at home where reading is free, at any prices. More would set the mean of all others.
const MOST: f64 = 4.0;

impl Used {
    /// As it is learnt from.
    pub(super) fn bounded(self) -> Self {
        Self { count: self.count.min(1000.0 * MOST), volume: self.volume.min(MOST), ..self }
    }
}

/// The class of what was read once.
const READ_ONCE: usize = 7;

/// Uses, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Sum {
    uses: f64,
    count: f64,
    volume: f64,
    written: f64,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chain {
    /// Days and uses after them, by bin and class.
    days: Vec<f64>,
    uses: Vec<f64>,
    /// Days of gaps that have not ended.
    open: Vec<f64>,
    /// What uses were like, by gap and class.
    sums: Vec<Sum>,
    /// What class came after, by gap and class.
    next: Vec<f64>,
    /// What was read on the day of birth.
    born: Sum,
    deaths: f64,
}

/// Chances of a day, and what a use is like.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Chances {
    /// Of a use, by bin and class.
    pub(super) use_: Vec<f64>,
    /// By gap and class.
    pub(super) used: Vec<Expected>,
    /// Of each class after a use, by gap and class.
    pub(super) next: Vec<f64>,
    /// On the day of birth.
    pub(super) born: Expected,
    /// Of an object's end.
    pub(super) death: f64,
}

/// What a use is expected to be like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Expected {
    pub(super) count: f64,
    pub(super) volume: f64,
    /// Share of uses that write.
    pub(super) written: f64,
}

/// Of a use after so many idle days.
pub(super) fn kind(idle: i32, class: usize) -> usize {
    gap(super::state::bin(idle - 1)) * CLASSES + class
}

pub(super) fn at(bin: usize, class: usize) -> usize {
    bin * CLASSES + class
}

impl Default for Chain {
    fn default() -> Self {
        let states = vec![0.0; BINS * CLASSES];
        Self {
            days: states.clone(),
            uses: states.clone(),
            open: states,
            sums: vec![Sum::default(); GAPS * CLASSES],
            next: vec![0.0; GAPS * CLASSES * CLASSES],
            born: Sum::default(),
            deaths: 0.0,
        }
    }
}

impl Sum {
    fn add(&mut self, used: Used) {
        self.uses += 1.0;
        self.count += used.count;
        self.volume += used.volume;
        self.written += f64::from(u8::from(used.written));
    }

    fn merge(&mut self, other: Self, part: f64) {
        self.uses += other.uses * part;
        self.count += other.count * part;
        self.volume += other.volume * part;
        self.written += other.written * part;
    }

    /// The mean, drawn towards what is expected of coarser states.
    fn mean(self, prior: Expected) -> Expected {
        let of = |sum: f64, prior: f64| (sum + TRUST * prior) / (self.uses + TRUST);
        Expected {
            count: of(self.count, prior.count),
            volume: of(self.volume, prior.volume),
            written: of(self.written, prior.written),
        }
    }
}

impl Chain {
    /// An object of `class` was used after `idle` days, and is of class `next` now.
    pub(super) fn used(&mut self, class: usize, idle: i32, used: Used, next: usize) {
        for (bin, days) in passed(idle) {
            self.days[at(bin, class)] += days;
        }
        let bin = super::state::bin(idle - 1);
        self.uses[at(bin, class)] += 1.0;
        self.sums[kind(idle, class)].add(used);
        self.next[kind(idle, class) * CLASSES + next] += 1.0;
    }

    /// An object came, and was used so on the same day.
    pub(super) fn born(&mut self, used: Used) {
        self.born.add(used);
    }

    /// An object was deleted after `idle` days.
    pub(super) fn died(&mut self, class: usize, idle: i32) {
        for (bin, days) in passed(idle) {
            self.days[at(bin, class)] += days;
        }
        self.deaths += 1.0;
    }

    /// A census begins.
    pub(super) fn begin_census(&mut self) {
        self.open.fill(0.0);
    }

    /// An object is idle since so many days.
    pub(super) fn count(&mut self, class: usize, idle: i32) {
        for (bin, days) in passed(idle) {
            self.open[at(bin, class)] += days;
        }
    }

    /// Keeps a part of what was counted.
    pub(super) fn forget(&mut self, kept: f64) {
        for all in [&mut self.days, &mut self.uses, &mut self.next] {
            for number in all {
                *number *= kept;
            }
        }
        for sum in self.sums.iter_mut().chain([&mut self.born]) {
            let mut less = Sum::default();
            less.merge(*sum, kept);
            *sum = less;
        }
        self.deaths *= kept;
    }

    /// What follows: each state's chances drawn towards those of coarser ones.
    pub(super) fn chances(&self) -> Chances {
        let days: f64 = self.days.iter().chain(&self.open).sum();
        let death = self.deaths / (days + 1000.0);
        let (used, born) = self.expected();
        Chances { use_: self.hazards(), used, next: self.nexts(), born, death }
    }

    fn hazards(&self) -> Vec<f64> {
        let mut chances = vec![0.0; BINS * CLASSES];
        // What is idle for twice as long is used half as often, as far as nothing else is known.
        let later = |chance: f64, bin: usize| {
            if bin == 0 { chance } else { chance * (middle(bin - 1) + 1.0) / (middle(bin) + 1.0) }
        };
        let (mut first_all, mut first_never) = (FIRST_GUESS, FIRST_GUESS);
        for bin in 0..BINS {
            let mut levels = [(0.0, 0.0); LEVELS];
            for class in 0..CLASSES {
                let level = &mut levels[volume_of(class).0];
                level.0 += self.uses[at(bin, class)];
                level.1 += self.days[at(bin, class)] + self.open[at(bin, class)];
            }
            let draw = |(uses, days): (f64, f64), prior: f64| (uses + TRUST) / (days + TRUST / prior);
            // What was never read is of another kind: much of it never will be.
            let all = levels[1..].iter().fold((0.0, 0.0), |sum, level| (sum.0 + level.0, sum.1 + level.1));
            let all = draw(all, later(first_all, bin));
            for class in 0..CLASSES {
                let level = if class == 0 { later(first_never, bin) } else { draw(levels[volume_of(class).0], all) };
                let own = (self.uses[at(bin, class)], self.days[at(bin, class)] + self.open[at(bin, class)]);
                chances[at(bin, class)] = draw(own, level).min(1.0);
            }
            (first_all, first_never) = (all, chances[at(bin, 0)]);
        }
        chances
    }

    fn expected(&self) -> (Vec<Expected>, Expected) {
        let whole = Expected { count: 1.0, volume: 1.0, written: 0.0 };
        let mut all = Sum::default();
        self.sums.iter().for_each(|sum| all.merge(*sum, 1.0));
        let all = all.mean(whole);
        let mut used = vec![Expected::default(); GAPS * CLASSES];
        for class in 0..CLASSES {
            let mut of_class = Sum::default();
            (0..GAPS).for_each(|gap| of_class.merge(self.sums[gap * CLASSES + class], 1.0));
            let of_class = of_class.mean(all);
            for gap in 0..GAPS {
                used[gap * CLASSES + class] = self.sums[gap * CLASSES + class].mean(of_class);
            }
        }
        (used, self.born.mean(Expected::default()))
    }

    /// Drawn towards: it reads as much as before, so that the class stays.
    fn nexts(&self) -> Vec<f64> {
        let mut chances = self.next.clone();
        for (row, counts) in chances.chunks_exact_mut(CLASSES).enumerate() {
            let class = row % CLASSES;
            counts[if class == 0 { READ_ONCE } else { class }] += 1.0;
            let sum: f64 = counts.iter().sum();
            for count in counts {
                *count /= sum;
            }
        }
        chances
    }
}
