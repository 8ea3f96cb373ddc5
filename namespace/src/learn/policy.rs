//! What deciding goes by between two censuses: prices, chances, and the values that follow from both. Pure.

use std::sync::OnceLock;

use super::chain::{Chances, at, kind};
use super::group::{Pace, Times};
use super::stay::Stay;
use super::tariff::{Place, Tariff};
use super::value::{Problem, Values};
use super::{Thing, state};

/// Sizes that are told apart: requests matter for small objects alone. Fourfold from 1 KiB on; what is larger costs in proportion.
const SIZES: usize = 7;
/// Objects are used a quarter as often as others in the same state, half, as often, twice, four times;
const OFTEN: i32 = 5;
/// and read a 64th as much a time, an eighth, as much, 8 times, 64 times.
const MUCH: i32 = 5;
const TIMES: usize = (OFTEN * MUCH) as usize;
/// Sweeps from nothing, and from values of the census before.
const SWEEPS: [usize; 2] = [60, 8];

/// What deciding goes by.
#[derive(Debug)]
pub struct Policy {
    pub(super) places: Vec<Place>,
    pub(super) tariffs: Vec<Tariff>,
    /// Places that take objects.
    pub(super) open: Vec<bool>,
    /// Those, the cheapest to hold first.
    by_storage: Vec<usize>,
    pub(super) chances: Chances,
    pace: Pace,
    /// Each is solved when it is asked for.
    values: Vec<OnceLock<Values>>,
    /// Where solving begins.
    before: Vec<Option<Values>>,
}

impl Policy {
    pub(super) fn new(places: Vec<Place>, open: Vec<bool>, chances: Chances, pace: Pace, before: Option<Self>) -> Self {
        let count = SIZES * TIMES;
        let before = before.filter(|before| before.places.len() == places.len());
        let before = before.map_or_else(
            || vec![None; count],
            |before| before.values.into_iter().zip(before.before).map(|(new, old)| new.into_inner().or(old)).collect(),
        );
        let tariffs: Vec<Tariff> = places.iter().map(Tariff::of).collect();
        let mut by_storage: Vec<usize> = (0..places.len()).filter(|place| open[*place]).collect();
        let day = |place: &usize| tariffs[*place].day(1 << 30, 0);
        by_storage.sort_by(|one, other| day(one).total_cmp(&day(other)));
        let values = (0..count).map(|_| OnceLock::new()).collect();
        Self { places, tariffs, open, by_storage, chances, pace, values, before }
    }

    /// What is stored of it: the rest follows from that, prices, and which places are open.
    pub(super) fn gone_by(&self) -> (Chances, Pace) {
        (self.chances.clone(), self.pace.clone())
    }

    /// As before, but for how often objects of groups are used.
    pub(super) fn keep_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }

    /// Uses that were expected of an object of a class in so many days.
    pub(super) fn expected(&self, thing: &Thing<'_>) -> f64 {
        let chance = |bin| self.chances.use_[at(bin, thing.class.0)];
        state::passed(thing.idle()).map(|(bin, days)| days * chance(bin)).sum()
    }

    /// How often and how much it is read, by what others in its state are.
    pub(super) fn times(&self, thing: &Thing<'_>) -> Times {
        self.pace.times(thing, self.expected(thing))
    }

    /// Uses that were seen of objects like this one.
    pub(super) fn uses_known(&self, thing: &Thing<'_>) -> f64 {
        self.pace.known(thing)
    }

    fn values(&self, thing: &Thing<'_>, own: bool) -> (&Values, u64) {
        self.values_of(thing, self.times_of(thing, own))
    }

    /// Whether an object of these is decided on in microseconds.
    pub(super) fn is_solved(&self, thing: &Thing<'_>, own: bool) -> bool {
        self.values[slot(thing, self.times_of(thing, own)).0].get().is_some()
    }

    /// Its own, or those of all others in its state.
    fn times_of(&self, thing: &Thing<'_>, own: bool) -> Times {
        if own { self.times(thing) } else { Times { often: 1.0, much: 1.0 } }
    }

    fn values_of(&self, thing: &Thing<'_>, times: Times) -> (&Values, u64) {
        let (slot, size, times) = slot(thing, times);
        let values = self.values[slot].get_or_init(|| {
            let chances = &self.chances;
            let problem = Problem { tariffs: &self.tariffs, open: &self.open, size, chances, times };
            let begun = self.before[slot].clone();
            let sweeps = SWEEPS[usize::from(begun.is_some())];
            let mut values = begun.unwrap_or_else(|| Values::new(self.tariffs.len()));
            values.solve(&problem, sweeps);
            values
        });
        (values, size)
    }

    /// What is to be paid from now on, by place, if an object is there from tonight; moves and fees are in it, so many times.
    pub(super) fn costs(&self, thing: &Thing<'_>, stay: &Stay, unread: u64, moves: f64, own: bool) -> Vec<f64> {
        self.costs_by(thing, stay, unread, moves, self.values(thing, own))
    }

    /// The cheapest place if it were used so many times as often.
    pub(super) fn cheapest_if(&self, thing: &Thing<'_>, stay: &Stay, times: f64) -> usize {
        let own = self.times(thing);
        let values = self.values_of(thing, Times { often: own.often * times, ..own });
        let costs = self.costs_by(thing, stay, thing.size, 1.0, values);
        self.least(stay.place, |place| costs[place])
    }

    fn costs_by(
        &self,
        thing: &Thing<'_>,
        stay: &Stay,
        unread: u64,
        moves: f64,
        (values, size): (&Values, u64),
    ) -> Vec<f64> {
        let (bin, class) = (state::bin(thing.idle()), thing.class.0);
        let scale = thing.size.max(1) as f64 / size as f64;
        let unread = (unread as f64 / scale) as u64;
        let from = &self.tariffs[stay.place];
        let lain = stay.lain(thing.day);
        let cost = |(to, tariff): (usize, &Tariff)| {
            if to == stay.place {
                return scale * values.of(to, tariff, lain, bin, class);
            }
            let once = from.move_to(tariff, size, unread) + from.fee(size, lain);
            scale * (once * moves + values.of(to, tariff, 0, bin, class))
        };
        self.tariffs.iter().enumerate().map(cost).collect()
    }

    pub(super) fn cheapest(&self, thing: &Thing<'_>, stay: &Stay, unread: u64, moves: f64, own: bool) -> usize {
        let costs = self.costs(thing, stay, unread, moves, own);
        self.least(stay.place, |place| costs[place])
    }

    pub(super) fn first(&self, thing: &Thing<'_>, own: bool) -> usize {
        let costs = self.costs_of_new(thing, own);
        self.least(self.by_storage().next_back().unwrap_or(0), |place| costs[place])
    }

    /// What is to be paid, by place, if an object is written there.
    pub(super) fn costs_of_new(&self, thing: &Thing<'_>, own: bool) -> Vec<f64> {
        let (values, size) = self.values(thing, own);
        let (bin, class) = (state::bin(thing.idle()), thing.class.0);
        let (born, times) = (self.chances.born, self.times(thing).much.min(1.0));
        let scale = thing.size.max(1) as f64 / size as f64;
        let cost = |(place, tariff): (usize, &Tariff)| {
            let read =
                if thing.heat.is_some() { 0.0 } else { tariff.reads(born.count, born.volume * times * size as f64) };
            scale * (tariff.write + read + values.of(place, tariff, 0, bin, class))
        };
        self.tariffs.iter().enumerate().map(cost).collect()
    }

    /// What a day is expected to cost at a place, holding and reading.
    pub(super) fn expected_day(&self, thing: &Thing<'_>, place: usize) -> f64 {
        let (tariff, times) = (&self.tariffs[place], self.times(thing));
        let (idle, class) = (thing.idle(), thing.class.0);
        let used = (self.chances.use_[at(state::bin(idle), class)] * times.often).min(1.0);
        let expected = self.chances.used[kind(idle + 1, class)];
        let bytes = expected.volume * times.much * thing.size as f64;
        tariff.day(thing.size, idle) + used * tariff.reads(expected.count, bytes)
    }

    /// The cheapest of the open places; among equals, the one that is named.
    fn least(&self, named: usize, cost: impl Fn(usize) -> f64) -> usize {
        let open = (0..self.places.len()).filter(|place| self.open[*place]);
        open.fold(named, |best, place| if cost(place) < cost(best) { place } else { best })
    }

    /// Where reading after so many days costs least, all told.
    pub(super) fn break_even(&self, thing: &Thing<'_>, days: i32) -> usize {
        let named = self.by_storage().next_back().unwrap_or(0);
        self.least(named, |place| {
            let tariff = &self.tariffs[place];
            // What comes back pays for the rest of its days.
            tariff.day(thing.size, 0) * f64::from(days.max(1)) + tariff.reads(1.0, thing.size as f64)
        })
    }

    /// The one of two that costs less to hold.
    pub(super) fn colder(&self, one: usize, other: usize) -> usize {
        if self.tariffs[one].day(1 << 30, 0) <= self.tariffs[other].day(1 << 30, 0) { one } else { other }
    }

    /// Open places, the cheapest to hold first.
    pub(super) fn by_storage(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        self.by_storage.iter().copied()
    }
}

/// Which values an object's are: of about its size and as often and as much used.
fn slot(thing: &Thing<'_>, times: Times) -> (usize, u64, Times) {
    let size = (thing.size.max(1).ilog2().saturating_sub(9) as usize / 2).min(SIZES - 1);
    let near = |ratio: f64, step: f64, count: i32| {
        let half = count / 2;
        (ratio.log2() / step).round().clamp(f64::from(-half), f64::from(half)) as i32
    };
    let (often, much) = (near(times.often, 1.0, OFTEN), near(times.much, 3.0, MUCH));
    let slot = size * TIMES + ((often + OFTEN / 2) * MUCH + much + MUCH / 2) as usize;
    let times = Times { often: f64::from(often).exp2(), much: f64::from(3 * much).exp2() };
    (slot, 1 << (10 + 2 * size), times)
}
