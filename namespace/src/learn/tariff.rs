//! Prices as deciding reckons with them: by the byte and day, in floating point. What is billed is reckoned in [`crate::price`].

use serde::{Deserialize, Serialize};

use crate::price::{MONTH_DAYS, PriceCard, Rate};

/// Where an object can be, and what that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The silo's name.
    pub name: String,
    /// What it asks.
    #[serde(flatten)]
    pub card: PriceCard,
    /// What waiting for a unit of bytes is worth to those who read. Nobody bills it.
    #[serde(default)]
    pub latency: Rate,
    /// Classes that the provider moves an object to by itself while nobody reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
    /// What a move asks here.
    #[serde(default, skip_serializing_if = "Asked::is_least")]
    pub asked: Asked,
}

/// What a move asks of a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Asked {
    /// Requests, beside the one that reads, of what leaves.
    pub requests: u16,
    /// All of what leaves is read, and not only what was not read anyway on that day.
    pub again: bool,
    /// What comes is read back.
    pub read_back: bool,
}

impl Asked {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
    fn is_least(&self) -> bool {
        *self == Self::default()
    }
}

/// How a provider moves objects by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auto {
    /// Classes; the earliest first.
    pub steps: Vec<Idle>,
    /// Watching a thousand objects for a month.
    #[serde(default)]
    pub watch: Rate,
    /// What is smaller is neither watched nor moved.
    #[serde(default)]
    pub from: u64,
}

/// What holding costs once an object was idle for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idle {
    /// Whole days without a read.
    pub days: u16,
    /// Holding a unit for a month.
    pub storage: Rate,
}

/// A [`Place`]'s prices: a byte's, a day's, a request's.
#[derive(Debug, Clone, PartialEq)]
pub struct Tariff {
    storage: f64,
    steps: Vec<(i32, f64)>,
    watch: f64,
    auto_from: u64,
    /// Reading a byte.
    pub byte: f64,
    /// Taking a byte out in a move: nobody waits for it.
    pub moved: f64,
    /// See [`Asked`].
    pub asked: Asked,
    /// A request that reads.
    pub read: f64,
    /// A request that writes.
    pub write: f64,
    /// Days that are paid for at least.
    pub minimum_days: i32,
    /// Bytes that are paid for at least.
    pub minimum_size: u64,
}

impl Tariff {
    /// A place's.
    pub fn of(place: &Place) -> Self {
        let (card, unit) = (&place.card, place.card.unit.bytes() as f64);
        let daily = |rate: Rate| rate.as_f64() / unit / MONTH_DAYS as f64;
        let auto = place.auto.iter();
        let moved = (card.retrieval.as_f64() + card.egress.as_f64()) / unit;
        Self {
            storage: daily(card.storage),
            steps: auto.flat_map(|auto| &auto.steps).map(|step| (i32::from(step.days), daily(step.storage))).collect(),
            watch: place.auto.as_ref().map_or(0.0, |auto| auto.watch.as_f64() / 1000.0 / MONTH_DAYS as f64),
            auto_from: place.auto.as_ref().map_or(u64::MAX, |auto| auto.from),
            byte: moved + place.latency.as_f64() / unit,
            moved,
            asked: place.asked,
            read: card.reads.as_f64() / 1000.0,
            write: card.writes.as_f64() / 1000.0,
            minimum_days: i32::from(card.minimum_days),
            minimum_size: card.minimum_size,
        }
    }

    /// The provider moves objects by itself.
    pub fn is_auto(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The bytes that an object of `size` is held for.
    pub fn billed(&self, size: u64) -> f64 {
        size.max(self.minimum_size) as f64
    }

    /// Holding an object of `size` for a day, after `idle` days without a read.
    pub fn day(&self, size: u64, idle: i32) -> f64 {
        if size < self.auto_from {
            return self.storage * self.billed(size);
        }
        let step = self.steps.iter().rev().find(|(days, _)| idle >= *days);
        step.map_or(self.storage, |(_, storage)| *storage) * self.billed(size) + self.watch
    }

    /// Holding it for the days after it was idle for `from`, until it was idle for `to`.
    pub fn days(&self, size: u64, from: i32, to: i32) -> f64 {
        let mut cost = 0.0;
        let mut at = from;
        while at < to {
            let next = self.steps.iter().map(|(days, _)| *days).find(|days| *days > at).unwrap_or(to).min(to);
            cost += self.day(size, at) * f64::from(next - at);
            at = next;
        }
        cost
    }

    /// What is still owed by what leaves after `lain` days.
    pub fn fee(&self, size: u64, lain: i32) -> f64 {
        self.storage * self.billed(size) * f64::from((self.minimum_days - lain.max(0)).max(0))
    }

    /// Reading `bytes` in `count` requests.
    pub fn reads(&self, count: f64, bytes: f64) -> f64 {
        self.read * count + self.byte * bytes
    }

    /// Moving an object of `size` from here: `unread` bytes of it were not read anyway, today. Without fees.
    pub fn move_to(&self, to: &Self, size: u64, unread: u64) -> f64 {
        let bytes = if self.asked.again { size } else { unread };
        let requests = f64::from(u8::from(bytes > 0)) + f64::from(self.asked.requests);
        let back = if to.asked.read_back { to.read + to.moved * size as f64 } else { 0.0 };
        self.read * requests + self.moved * bytes as f64 + to.write + back
    }
}
