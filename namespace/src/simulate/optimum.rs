//! What an object would have cost at least, had all been known before: exact, by dynamic programming over its days.
//!
//! For each place, the least cost of being there is kept: settled, and for each day of entering that may still be worth its while
//! where a place asks to be paid for a minimum of days. Those are few, since most are worse than another in every future.

use crate::learn::Tariff;

/// The least costs of one object, as of the end of a day.
#[derive(Debug, Clone)]
pub(super) struct Optimum {
    day: i32,
    places: Vec<Least>,
}

/// At one place.
#[derive(Debug, Clone, Default)]
struct Least {
    /// After the minimum of days; none if it cannot be.
    settled: Option<f64>,
    /// The earliest first.
    young: Vec<Young>,
}

/// Before that.
#[derive(Debug, Clone, Copy)]
struct Young {
    /// The day at whose end the minimum is over.
    ripe: i32,
    /// The cost of leaving, which until then is the same each day: what is not stored is owed.
    leaving: f64,
}

impl Least {
    fn leaving(&self) -> f64 {
        let young = self.young.iter().map(|young| young.leaving).fold(f64::INFINITY, f64::min);
        self.settled.map_or(young, |settled| settled.min(young))
    }

    fn charge(&mut self, cost: f64) {
        self.settled = self.settled.map(|settled| settled + cost);
        self.young.iter_mut().for_each(|young| young.leaving += cost);
    }

    /// Comes at the end of `day`, having cost `cost`.
    fn enter(&mut self, tariff: &Tariff, size: u64, day: i32, cost: f64) {
        if self.settled.is_some_and(|settled| settled <= cost) {
            return;
        }
        if tariff.minimum_days == 0 {
            self.settled = Some(cost);
            return;
        }
        let (ripe, leaving) = (day + tariff.minimum_days, cost + tariff.fee(size, 0));
        let daily = tariff.fee(size, tariff.minimum_days - 1);
        let worse = |young: &Young| {
            let later = f64::from(ripe - young.ripe) * daily;
            young.leaving <= leaving && young.leaving + later <= leaving
        };
        if self.young.iter().any(worse) {
            return;
        }
        self.young.retain(|young| young.leaving < leaving);
        self.young.push(Young { ripe, leaving });
    }

    /// Holds until the end of `to`.
    fn hold(&mut self, tariff: &Tariff, size: u64, from: i32, to: i32) {
        let daily = tariff.day(size, 0);
        let days = |from: i32| daily * f64::from(to - from);
        self.settled = self.settled.map(|settled| settled + days(from));
        let ripe = self.young.iter().filter(|young| young.ripe <= to);
        for young in ripe {
            let cost = young.leaving + days(young.ripe);
            self.settled = Some(self.settled.map_or(cost, |settled| settled.min(cost)));
        }
        self.young.retain(|young| young.ripe > to);
    }
}

impl Optimum {
    /// Written on `day`.
    pub(super) fn begin(tariffs: &[Tariff], size: u64, day: i32) -> Self {
        let mut new = Self { day: day - 1, places: vec![Least::default(); tariffs.len()] };
        for (place, tariff) in new.places.iter_mut().zip(tariffs) {
            place.enter(tariff, size, day - 1, tariff.write);
        }
        new
    }

    /// Held since before `day`, wherever that is best.
    pub(super) fn held(tariffs: &[Tariff], day: i32) -> Self {
        let settled = Least { settled: Some(0.0), young: Vec::new() };
        Self { day: day - 1, places: vec![settled; tariffs.len()] }
    }

    /// Days without a use, until the end of `day`.
    pub(super) fn idle(&mut self, tariffs: &[Tariff], size: u64, day: i32) {
        // Moves are worth their while only after a use, when a minimum is over, or before a use.
        let near = 2 + 2 * tariffs.iter().map(|tariff| tariff.minimum_days).max().unwrap_or(0);
        let begun = self.day;
        while self.day < day {
            let far = self.day - begun > near && day - self.day > near + 1;
            let to = if far { day - near } else { self.day + 1 };
            self.end_of_day(tariffs, size, to, size);
        }
    }

    fn end_of_day(&mut self, tariffs: &[Tariff], size: u64, day: i32, unread: u64) {
        for (place, tariff) in self.places.iter_mut().zip(tariffs) {
            place.hold(tariff, size, self.day, day);
        }
        self.day = day;
        let leaving: Vec<f64> = self.places.iter().map(Least::leaving).collect();
        for (from, leaving) in leaving.iter().enumerate() {
            for (to, tariff) in tariffs.iter().enumerate().filter(|(to, _)| *to != from) {
                let cost = leaving + tariffs[from].move_to(tariff, size, unread);
                self.places[to].enter(tariff, size, day, cost);
            }
        }
    }

    /// Read today, so much; idle until the end of the day before.
    pub(super) fn read(&mut self, tariffs: &[Tariff], count: f64, bytes: f64) {
        for (place, tariff) in self.places.iter_mut().zip(tariffs) {
            place.charge(tariff.reads(count, bytes));
        }
    }

    /// Written anew today.
    pub(super) fn rewrite(&mut self, tariffs: &[Tariff], size: u64) {
        let ended = self.ended();
        *self = Self::begin(tariffs, size, self.day + 1);
        self.places.iter_mut().for_each(|place| place.charge(ended));
    }

    /// Today ends; `unread` bytes were not read.
    pub(super) fn end_day(&mut self, tariffs: &[Tariff], size: u64, unread: u64) {
        self.end_of_day(tariffs, size, self.day + 1, unread);
    }

    /// Deleted today.
    pub(super) fn ended(&self) -> f64 {
        self.places.iter().map(Least::leaving).fold(f64::INFINITY, f64::min)
    }

    /// It is still there when nobody looks any more.
    pub(super) fn kept(&self, tariffs: &[Tariff], size: u64) -> f64 {
        let place = |(least, tariff): (&Least, &Tariff)| {
            let daily = tariff.day(size, 0);
            let young = least.young.iter().map(|young| young.leaving - daily * f64::from(young.ripe - self.day));
            young.fold(least.settled.unwrap_or(f64::INFINITY), f64::min)
        };
        self.places.iter().zip(tariffs).map(place).fold(f64::INFINITY, f64::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Asked, Auto, Place, Stay};
    use crate::price::{PriceCard, Rate};
    use proptest::prelude::*;

    /// Reads by day: none, or bytes; and whether it is written anew.
    type Day = (Option<u64>, bool);

    const SIZE: u64 = 1_000_000_000;

    fn tariffs(cards: &[(u64, u64, u64, u16)]) -> Vec<Tariff> {
        let rate = |number: u64| Rate::nano(number * 1_000_000);
        let tariff = |(storage, retrieval, writes, minimum_days): &(u64, u64, u64, u16)| {
            let (storage, retrieval, writes) = (rate(*storage), rate(*retrieval), rate(*writes));
            let card = PriceCard { storage, retrieval, writes, minimum_days: *minimum_days, ..PriceCard::default() };
            Tariff::of(&Place {
                name: String::new(),
                card,
                latency: Rate::FREE,
                auto: None::<Auto>,
                asked: Asked::default(),
            })
        };
        cards.iter().map(tariff).collect()
    }

    /// All ways there are.
    fn brute(tariffs: &[Tariff], days: &[Day], at: Option<Stay>, day: usize) -> f64 {
        let now = day as i32;
        let all = 0..tariffs.len();
        let Some(stay) = at else {
            let begin = |place| {
                let (stay, cost) = Stay::begin(tariffs, place, 0);
                cost.total() + brute(tariffs, days, Some(stay), 0)
            };
            return all.map(begin).fold(f64::INFINITY, f64::min);
        };
        let Some((read, anew)) = days.get(day) else { return 0.0 };
        let reads = read.map_or(0.0, |bytes| stay.read(tariffs, 1.0, bytes as f64).total());
        let unread = SIZE - read.unwrap_or(0).min(SIZE);
        let tonight = |mut stay: Stay| {
            let held = stay.hold(tariffs, SIZE, now - 1, now).total();
            let go = |to: usize| {
                let mut stay = stay;
                let cost = if to == stay.place { 0.0 } else { stay.go(tariffs, SIZE, to, now, unread).total() };
                cost + brute(tariffs, days, Some(stay), day + 1)
            };
            held + (0..tariffs.len()).map(go).fold(f64::INFINITY, f64::min)
        };
        if !anew || day == 0 {
            return reads + tonight(stay);
        }
        let ended = stay.end(tariffs, SIZE, now).total();
        let begin = |place| {
            let (stay, cost) = Stay::begin(tariffs, place, now);
            cost.total() + tonight(stay)
        };
        reads + ended + all.map(begin).fold(f64::INFINITY, f64::min)
    }

    fn optimum(tariffs: &[Tariff], days: &[Day]) -> f64 {
        let mut optimum = Optimum::begin(tariffs, SIZE, 0);
        for (day, (read, anew)) in days.iter().enumerate() {
            if read.is_none() && !anew && day > 0 {
                continue;
            }
            optimum.idle(tariffs, SIZE, day as i32 - 1);
            if let Some(bytes) = read {
                optimum.read(tariffs, 1.0, *bytes as f64);
            }
            if *anew && day > 0 {
                optimum.rewrite(tariffs, SIZE);
            }
            optimum.end_day(tariffs, SIZE, SIZE - read.unwrap_or(0).min(SIZE));
        }
        optimum.idle(tariffs, SIZE, days.len() as i32 - 1);
        optimum.kept(tariffs, SIZE)
    }

    proptest! {
        #[test]
        fn nothing_is_cheaper_than_the_optimum(
            cards in prop::collection::vec((0_u64..3000, 0_u64..300, 0_u64..9000, 0_u16..5), 1..4),
            days in prop::collection::vec((prop::option::of(0..2 * SIZE), prop::bool::weighted(0.2)), 1..7),
        ) {
            let tariffs = tariffs(&cards);
            let (all, found) = (brute(&tariffs, &days, None, 0), optimum(&tariffs, &days));
            prop_assert!((all - found).abs() <= 1e-9 * all.max(1.0), "{found} is not {all}");
        }

        /// Days far from any use are gone through at once.
        #[test]
        fn long_gaps_are_no_guess(
            cards in prop::collection::vec((0_u64..3000, 0_u64..3000, 0_u64..9000, 0_u16..20), 1..4),
            gap in 1_i32..400,
        ) {
            let tariffs = tariffs(&cards);
            let step = |each_day: bool| {
                let mut optimum = Optimum::begin(&tariffs, SIZE, 0);
                optimum.end_day(&tariffs, SIZE, SIZE);
                let days = if each_day { 1..gap + 1 } else { gap..gap + 1 };
                days.for_each(|day| optimum.idle(&tariffs, SIZE, day));
                optimum.read(&tariffs, 1.0, SIZE as f64);
                optimum.end_day(&tariffs, SIZE, 0);
                optimum.kept(&tariffs, SIZE)
            };
            let (slow, fast) = (step(true), step(false));
            prop_assert!((slow - fast).abs() <= 1e-9 * slow.max(1.0), "{fast} is not {slow}");
        }
    }
}
