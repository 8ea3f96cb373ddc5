//! What being at a place is worth: the cost to come of an object in each state, where whoever decides goes on to decide well.
//!
//! A Markov decision process, solved by value iteration. An object that is not read for long moves on through the bins of
//! [`super::state`]; one that is used begins anew. What a place asks to be paid for at least is a chain of stages.

use super::chain::{Chances, Expected, at};
use super::group::Times;
use super::state::{BINS, CLASSES, GAPS, gap, middle, width};
use super::tariff::Tariff;

/// What costs in a year counts about a third: prices, uses and plans do not stay as they are for ever.
const HORIZON_DAYS: f64 = 365.0;
/// Stages of the days that are paid for at least, and one for what lay as long.
const STAGES: usize = 4;
const FREE: usize = STAGES - 1;

/// Costs to come, by place, stage and state.
#[derive(Debug, Clone)]
pub(super) struct Values {
    places: usize,
    all: Vec<f64>,
}

/// What it is solved for.
pub(super) struct Problem<'a> {
    pub(super) tariffs: &'a [Tariff],
    pub(super) open: &'a [bool],
    pub(super) size: u64,
    pub(super) chances: &'a Chances,
    /// How often and how much objects of this group are read.
    pub(super) times: Times,
}

impl Values {
    pub(super) fn new(places: usize) -> Self {
        Self { places, all: vec![0.0; places * STAGES * BINS * CLASSES] }
    }

    fn index(place: usize, stage: usize, bin: usize, class: usize) -> usize {
        (place * STAGES + stage) * BINS * CLASSES + at(bin, class)
    }

    fn get(&self, place: usize, stage: usize, bin: usize, class: usize) -> f64 {
        self.all[Self::index(place, stage, bin, class)]
    }

    /// At a place after `lain` days there.
    pub(super) fn of(&self, place: usize, tariff: &Tariff, lain: i32, bin: usize, class: usize) -> f64 {
        let free = self.get(place, FREE, bin, class);
        if lain >= tariff.minimum_days {
            return free;
        }
        let left = f64::from(tariff.minimum_days - lain.max(0)) / f64::from(tariff.minimum_days);
        // Stages are points on the way; between them it is a straight line.
        let stage = (1.0 - left) * FREE as f64;
        let (below, part) = (stage.floor() as usize, stage.fract());
        self.get(place, below, bin, class) * (1.0 - part) + self.get(place, below + 1, bin, class) * part
    }

    /// One that comes to a place.
    fn entered(&self, tariffs: &[Tariff], place: usize, bin: usize, class: usize) -> f64 {
        self.get(place, entry(&tariffs[place]), bin, class)
    }

    /// Goes on solving.
    pub(super) fn solve(&mut self, problem: &Problem<'_>, sweeps: usize) {
        for _ in 0..sweeps {
            let after = After::of(self, problem);
            for bin in (0..BINS).rev() {
                for class in 0..CLASSES {
                    self.relax(problem, &after, bin, class);
                }
            }
        }
    }

    fn relax(&mut self, problem: &Problem<'_>, after: &After, bin: usize, class: usize) {
        let (tariffs, chances) = (problem.tariffs, problem.chances);
        let later = (bin + 1 < BINS).then_some(bin + 1);
        let leave = later.map_or(0.0, |_| 1.0 / width(bin));
        let (gap, known) = (gap(bin), 1.0 - 1.0 / HORIZON_DAYS);
        let expected = chances.used[gap * CLASSES + class];
        let used = (chances.use_[at(bin, class)] * problem.times.often).min(0.98) * (1.0 - chances.death);
        let idle = 1.0 - used - chances.death;
        for (place, tariff) in tariffs.iter().enumerate() {
            let day = tariff.day(problem.size, middle(bin) as i32);
            let read = tariff.reads(expected.count, expected.volume * problem.times.much * problem.size as f64);
            for stage in (entry(tariff)..STAGES).rev() {
                let ripe = if stage == FREE { 0.0 } else { FREE as f64 / f64::from(tariff.minimum_days) };
                let owed = fee(tariff, problem.size, stage);
                let mut cost = day + known * chances.death * owed;
                cost += known * used * (read + after.get(place, stage, gap, class));
                let next = if ripe > 0.0 { ripe * self.best(problem, place, stage + 1, bin, class) } else { 0.0 };
                let mut on = (1.0 - leave) * next;
                if let Some(later) = later {
                    let next = if ripe > 0.0 { ripe * self.best(problem, place, stage + 1, later, class) } else { 0.0 };
                    on += leave * ((1.0 - ripe) * self.best(problem, place, stage, later, class) + next);
                }
                cost += known * idle * on;
                let same = known * idle * (1.0 - leave) * (1.0 - ripe);
                self.all[Self::index(place, stage, bin, class)] = cost / (1.0 - same);
            }
        }
    }

    /// The least of staying and moving, on a day without a read.
    fn best(&self, problem: &Problem<'_>, from: usize, stage: usize, bin: usize, class: usize) -> f64 {
        let owed = fee(&problem.tariffs[from], problem.size, stage);
        let moved = |to: usize| {
            let once = problem.tariffs[from].move_to(&problem.tariffs[to], problem.size, problem.size) + owed;
            once + self.entered(problem.tariffs, to, bin, class)
        };
        let others = (0..self.places).filter(|to| *to != from && problem.open[*to]).map(moved);
        others.fold(self.get(from, stage, bin, class), f64::min)
    }
}

/// What is to be expected after a use, by place, stage, gap and class.
struct After(Vec<f64>);

impl After {
    fn get(&self, place: usize, stage: usize, gap: usize, class: usize) -> f64 {
        self.0[((place * STAGES + stage) * GAPS + gap) * CLASSES + class]
    }

    fn of(values: &Values, problem: &Problem<'_>) -> Self {
        let tariffs = problem.tariffs;
        let mut all = vec![0.0; values.places * STAGES * GAPS * CLASSES];
        let arrive = |to: usize, class: usize| values.entered(tariffs, to, 0, class);
        let choose = |cost: &dyn Fn(usize) -> f64| {
            (0..values.places).filter(|to| problem.open[*to]).map(cost).fold(f64::INFINITY, f64::min)
        };
        for (place, tariff) in tariffs.iter().enumerate() {
            for stage in entry(tariff)..STAGES {
                let owed = fee(tariff, problem.size, stage);
                // All was read, nothing was read, all was written anew.
                let outcomes: Vec<[f64; 3]> = (0..CLASSES)
                    .map(|class| {
                        let stay = values.get(place, stage, 0, class);
                        let go = |unread| {
                            let once = |to: usize| tariff.move_to(&tariffs[to], problem.size, unread) + owed;
                            let moved = |to: usize| once(to) + arrive(to, class);
                            choose(&moved).min(stay)
                        };
                        let anew = |to: usize| owed + tariffs[to].write + arrive(to, class);
                        // Where no place takes anything, it is written anew where it is.
                        let anew =
                            choose(&anew).min(if problem.open.contains(&true) { f64::INFINITY } else { anew(place) });
                        [go(0), go(problem.size), anew]
                    })
                    .collect();
                for row in 0..GAPS * CLASSES {
                    let Expected { volume, written, .. } = problem.chances.used[row];
                    let read = (volume * problem.times.much).min(1.0);
                    let weights = [(1.0 - written) * read, (1.0 - written) * (1.0 - read), written];
                    let chances = &problem.chances.next[row * CLASSES..(row + 1) * CLASSES];
                    let mix = |[all, none, anew]: &[f64; 3]| all * weights[0] + none * weights[1] + anew * weights[2];
                    let sum = chances.iter().zip(&outcomes).map(|(chance, outcome)| chance * mix(outcome)).sum();
                    all[(place * STAGES + stage) * GAPS * CLASSES + row] = sum;
                }
            }
        }
        Self(all)
    }
}

/// The stage of what comes to a place.
fn entry(tariff: &Tariff) -> usize {
    if tariff.minimum_days > 0 { 0 } else { FREE }
}

/// What is owed in the middle of a stage.
fn fee(tariff: &Tariff, size: u64, stage: usize) -> f64 {
    let lain = f64::from(tariff.minimum_days) * (stage as f64 + 0.5) / FREE as f64;
    if stage == FREE { 0.0 } else { tariff.fee(size, lain as i32) }
}
