//! Price cards, and what they make of what was counted: computed here, not by the product that is held against it.

use std::ops::{Add, Sub};

use crate::Outcome;
use crate::meter::Tally;
use serde_json::Value;

/// Bytes of the unit that prices are by.
const GB: f64 = 1e9;
/// Prices by the thousand requests.
const THOUSAND: f64 = 1e3;
const MONTH_DAYS: f64 = 30.0;

/// What a silo asks, in US dollars.
#[derive(Debug, Clone, Copy)]
pub struct Price {
    /// A GB for a month.
    pub storage: f64,
    /// A GB that is read,
    pub retrieval: f64,
    /// and taken out.
    pub egress: f64,
    /// A thousand requests that read,
    pub reads: f64,
    /// or write.
    pub writes: f64,
    /// Days that are paid for at least,
    pub days: f64,
    /// and bytes.
    pub least: u64,
}

/// What three silos ask: hot, warm, cold.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// What it is called.
    pub name: &'static str,
    /// In this order.
    pub silos: [Price; 3],
}

const FREE: Price = Price { storage: 0.0, retrieval: 0.0, egress: 0.0, reads: 0.0, writes: 0.0, days: 0.0, least: 0 };
const COLD_LEAST: u64 = 128 << 10;

/// Rounded public list prices.
pub const CARDS: [Card; 3] = [
    Card {
        name: "A, one cloud",
        silos: [
            Price { storage: 0.023, reads: 0.0004, writes: 0.005, ..FREE },
            Price {
                storage: 0.0125,
                retrieval: 0.01,
                reads: 0.001,
                writes: 0.01,
                days: 30.0,
                least: COLD_LEAST,
                ..FREE
            },
            Price { storage: 0.004, retrieval: 0.03, reads: 0.01, writes: 0.02, days: 90.0, least: COLD_LEAST, ..FREE },
        ],
    },
    Card {
        name: "B, silos",
        silos: [
            Price { storage: 0.05, ..FREE },
            Price { storage: 0.015, retrieval: 0.01, reads: 0.00036, writes: 0.0045, ..FREE },
            Price {
                storage: 0.004,
                retrieval: 0.03,
                egress: 0.1,
                reads: 0.01,
                writes: 0.02,
                days: 90.0,
                least: COLD_LEAST,
            },
        ],
    },
    Card { name: "C, two places", silos: [Price { storage: 0.023, ..FREE }, FREE, Price { egress: 0.09, ..FREE }] },
];

/// Dollars, by what for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bill {
    /// Requests.
    pub requests: f64,
    /// Bytes that were read,
    pub retrieval: f64,
    /// and taken out.
    pub egress: f64,
    /// What went too early.
    pub early_deletion: f64,
    /// What was read back.
    pub verification: f64,
}

impl Price {
    /// As `[silo.NAME]` has it.
    pub fn toml(&self) -> String {
        let Self { storage, retrieval, egress, reads, writes, days, least } = self;
        format!(
            "price = {{ unit = \"GB\", storage = {storage}, retrieval = {retrieval}, egress = {egress}, reads = {reads}, \
             writes = {writes}, minimum_days = {days}, minimum_size = \"{least}\" }}\n"
        )
    }

    /// What a provider would ask for it.
    pub fn bill(&self, tally: &Tally) -> Bill {
        let by_bytes = |bytes: u64, price: f64| bytes as f64 / GB * price;
        let read_backs = tally.read_backs as f64 / THOUSAND * self.reads;
        Bill {
            requests: (tally.reads as f64 * self.reads + tally.writes as f64 * self.writes) / THOUSAND,
            retrieval: by_bytes(tally.read_bytes, self.retrieval),
            egress: by_bytes(tally.read_bytes, self.egress),
            early_deletion: tally.gone.iter().map(|bytes| self.early(*bytes)).sum(),
            verification: read_backs + by_bytes(tally.read_back_bytes, self.retrieval + self.egress),
        }
    }

    /// What is asked for a blob that goes on the day it came.
    pub fn early(&self, bytes: u64) -> f64 {
        self.day(bytes) * self.days
    }

    /// Holding a blob for a day.
    pub fn day(&self, bytes: u64) -> f64 {
        bytes.max(self.least) as f64 / GB * self.storage / MONTH_DAYS
    }

    /// The same, as if all bytes were so many.
    #[must_use]
    pub fn by_bytes(self, times: f64) -> Self {
        let Self { storage, retrieval, egress, .. } = self;
        Self { storage: storage * times, retrieval: retrieval * times, egress: egress * times, ..self }
    }
}

impl Bill {
    /// Once, for all ways of a plan.
    pub fn planned(plan: &Value) -> Outcome<Self> {
        let moves = plan.get("moves").and_then(Value::as_array).ok_or("a plan without moves")?;
        let mut all = Self::default();
        for moving in moves {
            let once = moving.pointer("/cost/once").ok_or("moves without a cost")?;
            let part = |name: &str| -> Outcome<f64> {
                let text = once.get(name).and_then(Value::as_str).ok_or_else(|| format!("no `{name}` in {once}"))?;
                Ok(text.parse()?)
            };
            all = all
                + Self {
                    requests: part("requests")?,
                    retrieval: part("retrieval")?,
                    egress: part("egress")?,
                    early_deletion: part("early_deletion")?,
                    verification: part("verification")?,
                };
        }
        Ok(all)
    }

    fn parts(&self) -> [f64; 5] {
        let Self { requests, retrieval, egress, early_deletion, verification } = *self;
        [requests, retrieval, egress, early_deletion, verification]
    }

    fn of([requests, retrieval, egress, early_deletion, verification]: [f64; 5]) -> Self {
        Self { requests, retrieval, egress, early_deletion, verification }
    }

    fn with(self, other: Self, both: impl Fn(f64, f64) -> f64) -> Self {
        let (own, other) = (self.parts(), other.parts());
        Self::of(std::array::from_fn(|at| both(own[at], other[at])))
    }

    /// All of it.
    pub fn total(&self) -> f64 {
        self.parts().iter().sum()
    }
}

impl Add for Bill {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, |own, other| own + other)
    }
}

impl Sub for Bill {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(other, |own, other| own - other)
    }
}

impl std::fmt::Display for Bill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [requests, retrieval, egress, early, verification] = self.parts();
        write!(
            f,
            "{:.6} (requests {requests:.6}, retrieval {retrieval:.6}, egress {egress:.6}, early deletion {early:.6}, \
             verification {verification:.6})",
            self.total()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 blobs of a MB go from Glacier the day they came; 3 months are paid for them, and all that was asked.
    #[test]
    fn a_bill_is_what_the_card_says() {
        let tally = Tally {
            reads: 2000,
            read_bytes: 1_000_000_000,
            read_backs: 1000,
            read_back_bytes: 500_000_000,
            writes: 3000,
            gone: vec![1_000_000; 1000],
            ..Tally::default()
        };
        let bill = CARDS[1].silos[2].bill(&tally);
        let millionths = |dollars: f64| (dollars * 1e6).round() as i64;
        assert_eq!(bill.parts().map(millionths), [80_000, 30_000, 100_000, 12_000, 75_000]);
        let early = |bytes| millionths(CARDS[0].silos[2].early(bytes) * 1e6);
        assert_eq!(early(1), early(COLD_LEAST), "what is smaller is held as if it were as long");
        assert_eq!(millionths((bill + bill - bill - bill).total()), 0);
    }
}
