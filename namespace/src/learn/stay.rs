//! What an object costs while it is somewhere. The simulator and the shadow ledger reckon alike, since they ask the same.
//!
//! A stay begins and ends at the end of a day: what is read on a day is read where the object was, before it moves.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::tariff::Tariff;

/// By what for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Holding.
    pub storage: f64,
    /// Reading bytes, and waiting for them.
    pub reads: f64,
    /// Requests of clients.
    pub requests: f64,
    /// Requests and reads of moves.
    pub moves: f64,
    /// What left before its time.
    pub fees: f64,
}

/// An object at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stay {
    /// Where.
    pub place: usize,
    /// The day at whose end it came.
    pub since: i32,
    /// The day until whose end it was paid for.
    paid: i32,
}

impl Cost {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.storage + self.reads + self.requests + self.moves + self.fees
    }

    /// A part of it.
    #[must_use]
    pub fn times(self, part: f64) -> Self {
        Self {
            storage: self.storage * part,
            reads: self.reads * part,
            requests: self.requests * part,
            moves: self.moves * part,
            fees: self.fees * part,
        }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.storage += other.storage;
        self.reads += other.reads;
        self.requests += other.requests;
        self.moves += other.moves;
        self.fees += other.fees;
    }
}

impl Stay {
    /// Written on a day.
    pub fn begin(tariffs: &[Tariff], place: usize, day: i32) -> (Self, Cost) {
        let cost = Cost { requests: tariffs[place].write, ..Cost::default() };
        (Self { place, since: day - 1, paid: day - 1 }, cost)
    }

    /// One that is held already, since before it matters.
    pub fn held(place: usize, day: i32) -> Self {
        Self { place, since: day - 100_000, paid: day - 1 }
    }

    /// One that came at the end of a day.
    pub fn since(place: usize, since: i32) -> Self {
        Self { place, since, paid: since }
    }

    /// Days at the end of `day`.
    pub fn lain(&self, day: i32) -> i32 {
        day.saturating_sub(self.since)
    }

    /// Holding it until the end of `day`; it was used last on the day `used`.
    pub fn hold(&mut self, tariffs: &[Tariff], size: u64, used: i32, day: i32) -> Cost {
        if day <= self.paid {
            return Cost::default();
        }
        let idle = used.max(self.since);
        let storage = tariffs[self.place].days(size, self.paid - idle, day - idle);
        self.paid = day;
        Cost { storage, ..Cost::default() }
    }

    /// Reading.
    pub fn read(&self, tariffs: &[Tariff], count: f64, bytes: f64) -> Cost {
        let tariff = &tariffs[self.place];
        Cost { reads: tariff.byte * bytes, requests: tariff.read * count, ..Cost::default() }
    }

    /// Goes to another place at the end of `day`, until which it was paid for; `unread` bytes were not read anyway.
    pub fn go(&mut self, tariffs: &[Tariff], size: u64, to: usize, day: i32, unread: u64) -> Cost {
        let from = &tariffs[self.place];
        let fees = from.fee(size, self.lain(day));
        let moves = from.move_to(&tariffs[to], size, unread);
        *self = Self { place: to, since: day, paid: day };
        Cost { moves, fees, ..Cost::default() }
    }

    /// Ends during `day`; it was paid for until the end of the day before.
    pub fn end(&self, tariffs: &[Tariff], size: u64, day: i32) -> Cost {
        Cost { fees: tariffs[self.place].fee(size, self.lain(day - 1)), ..Cost::default() }
    }
}
