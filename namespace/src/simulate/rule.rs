//! Rules that know no past but an object's last use: what people set by hand.

use crate::learn::{Cost, Stay, Tariff};

/// A fixed rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    pub(super) name: String,
    /// Where objects are written.
    pub(super) first: usize,
    /// After so many idle days, there; the earliest first.
    steps: Vec<(i32, usize)>,
    /// A read brings an object back.
    promote: bool,
}

/// The name of what most recommend.
pub const LIFECYCLE: &str = "30/90 days";

impl Rule {
    /// All that are compared.
    pub(super) fn all(names: &[String], tariffs: &[Tariff]) -> Vec<Self> {
        let mut order: Vec<usize> = (0..tariffs.len()).collect();
        // What a provider moves by itself is left to it.
        order.retain(|place| !tariffs[*place].is_auto());
        order.sort_by(|one, other| tariffs[*other].day(1 << 30, 0).total_cmp(&tariffs[*one].day(1 << 30, 0)));
        let always = names.iter().enumerate();
        let always = always.map(|(first, name)| Self::new(format!("always {name}"), first, Vec::new(), false));
        let mut all: Vec<Self> = always.collect();
        let Some((hot, colder)) = order.split_first() else { return all };
        let steps: Vec<_> = [30, 90].into_iter().zip(colder.iter().copied()).collect();
        all.push(Self::new(LIFECYCLE.into(), *hot, steps, true));
        for cold in colder {
            let even = break_even(&tariffs[*hot], &tariffs[*cold]);
            for days in [7, 30, 90].into_iter().chain(even) {
                for promote in [false, true] {
                    let back = if promote { ", and back" } else { "" };
                    let name = format!("{days} days, then {}{back}", names[*cold]);
                    all.push(Self::new(name, *hot, vec![(days, *cold)], promote));
                }
            }
        }
        all
    }

    fn new(name: String, first: usize, steps: Vec<(i32, usize)>, promote: bool) -> Self {
        Self { name, first, steps, promote }
    }

    /// Whatever is due until the end of `day`, for an object last used on the day `used`. How often it moved.
    pub(super) fn idle(&self, tariffs: &[Tariff], stay: &mut Stay, size: u64, used: i32, day: i32) -> (Cost, u64) {
        let (mut cost, mut moves) = (Cost::default(), 0);
        for (idle, place) in &self.steps {
            let due = used + idle;
            if due > day || due < stay.since || *place == stay.place || !self.is_later(stay.place, *place) {
                continue;
            }
            cost += stay.hold(tariffs, size, used, due);
            cost += stay.go(tariffs, size, *place, due, size);
            moves += 1;
        }
        cost += stay.hold(tariffs, size, used, day);
        (cost, moves)
    }

    fn is_later(&self, from: usize, to: usize) -> bool {
        let at = |place: usize| self.steps.iter().position(|step| step.1 == place).map_or(0, |at| at + 1);
        at(to) > at(from)
    }

    /// After a day with a read.
    pub(super) fn read(&self, tariffs: &[Tariff], stay: &mut Stay, size: u64, day: i32, unread: u64) -> (Cost, u64) {
        if !self.promote || stay.place == self.first {
            return (Cost::default(), 0);
        }
        (stay.go(tariffs, size, self.first, day, unread), 1)
    }
}

/// Days after which holding costs as much more as a read would have saved, of a large object.
fn break_even(hot: &Tariff, cold: &Tariff) -> Option<i32> {
    let (size, saved) = (1 << 30, hot.day(1 << 30, 0) - cold.day(1 << 30, 0));
    let read = cold.reads(1.0, size as f64) - hot.reads(1.0, size as f64) + hot.move_to(cold, size, size);
    let days = (read / saved).round();
    (saved > 0.0 && (1.0..3650.0).contains(&days)).then_some(days as i32)
}
