//! What a month and a move cost.

use serde::{Deserialize, Serialize};

use super::{Money, PriceCard, Unit};
use crate::clock::UnixMs;

/// A month, where it is about days.
pub const MONTH_DAYS: u64 = 30;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What is read in a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// Thousandths of a request: most is read less than once a month.
    pub thousandths: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Reads {
    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let thousandths = self.thousandths.saturating_add(other.thousandths);
        Self { thousandths, bytes: self.bytes.saturating_add(other.bytes) }
    }
}

/// What moving asks of two silos.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effort {
    /// Requests that read at the source,
    pub reads: u64,
    /// and the bytes they answer.
    pub read_bytes: u64,
    /// Requests that write at the target.
    pub writes: u64,
    /// Requests that read the copy back; none where the target enforces a checksum.
    pub read_backs: u64,
    /// Bytes they answer.
    pub read_back_bytes: u64,
    /// What goes from the source; nothing of what is others'.
    pub leaves: Option<Leaving>,
}

/// Bytes that go from a silo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaving {
    /// So many were paid for,
    pub billed: u64,
    /// since then.
    pub since: UnixMs,
}

/// What moving costs once, by what for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// Requests: reads at the source, writes at the target.
    pub requests: Money,
    /// Reading the bytes at the source.
    pub retrieval: Money,
    /// Taking them out of it.
    pub egress: Money,
    /// The rest of the days that the source asks for at least.
    pub early_deletion: Money,
    /// Reading the copy back, with all that costs at the target.
    pub verification: Money,
}

impl Once {
    /// All of it.
    pub fn total(&self) -> Money {
        [self.requests, self.retrieval, self.egress, self.early_deletion, self.verification].into_iter().sum()
    }

    /// And that as well.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            retrieval: self.retrieval + other.retrieval,
            egress: self.egress + other.egress,
            early_deletion: self.early_deletion + other.early_deletion,
            verification: self.verification + other.verification,
        }
    }
}

impl Effort {
    /// What it costs; a silo without prices counts for nothing.
    pub fn cost(&self, from: Option<&PriceCard>, to: Option<&PriceCard>, now: UnixMs) -> Once {
        let mut once = Once::default();
        if let Some(from) = from {
            once.requests += from.reads.for_requests(self.reads.saturating_mul(1000));
            once.retrieval += from.retrieval.for_bytes(self.read_bytes, from.unit.bytes());
            once.egress += from.egress.for_bytes(self.read_bytes, from.unit.bytes());
            once.early_deletion += self.leaves.map_or(Money::ZERO, |leaves| from.early_deletion(leaves, now));
        }
        if let Some(to) = to {
            once.requests += to.writes.for_requests(self.writes.saturating_mul(1000));
            let back = Reads { thousandths: self.read_backs.saturating_mul(1000), bytes: self.read_back_bytes };
            once.verification += to.read(back);
        }
        once
    }
}

impl PriceCard {
    /// What holding `billed` bytes for a month costs, with what is read of them.
    pub fn month(&self, billed: u64, reads: Reads) -> Money {
        self.storage.for_bytes(billed, self.unit.bytes()) + self.read(reads)
    }

    /// The bytes that one of `size` is held for.
    pub fn billed(&self, size: u64) -> u64 {
        size.max(self.minimum_size)
    }

    /// What reading costs.
    pub fn read(&self, reads: Reads) -> Money {
        let unit = self.unit.bytes();
        let bytes = self.retrieval.for_bytes(reads.bytes, unit) + self.egress.for_bytes(reads.bytes, unit);
        self.reads.for_requests(reads.thousandths) + bytes
    }

    /// Where a clock was set back, it is since now.
    fn early_deletion(&self, leaves: Leaving, now: UnixMs) -> Money {
        let lain = u64::try_from(now.saturating_sub(leaves.since)).unwrap_or(0);
        let rest = (u64::from(self.minimum_days) * DAY_MS).saturating_sub(lain);
        self.storage.for_bytes(leaves.billed, self.unit.bytes()).part(rest, MONTH_DAYS * DAY_MS)
    }
}

impl Unit {
    /// How many that is.
    pub fn bytes(self) -> u64 {
        match self {
            Self::GB => 1_000_000_000,
            Self::GiB => 1 << 30,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::{Price, Rate};
    use proptest::prelude::*;

    const DAY: i64 = DAY_MS as i64;

    fn card(preset: &str) -> PriceCard {
        Price::of(preset).card().unwrap()
    }

    /// A thousand GiB of S3 Standard go to Glacier Instant Retrieval, one GiB each, and come back after 30 days.
    #[test]
    fn a_terabyte_there_and_back() {
        let (standard, glacier) = (card("aws-s3-standard"), card("aws-s3-glacier-ir"));
        let gib = 1 << 30;
        let bytes = 1000 * gib;
        let shown = |money: Money| money.to_string();
        assert_eq!(shown(standard.month(bytes, Reads::default())), "23");
        assert_eq!(shown(glacier.month(bytes, Reads::default())), "4");
        // 2,000 reads (what a blob says of itself, and its bytes) at 0.0004, 1,000 writes at 0.02 a thousand; 0.09 a GiB out.
        let leaves = Some(Leaving { billed: bytes, since: 0 });
        let there = Effort { reads: 2000, read_bytes: bytes, writes: 1000, leaves, ..Effort::default() };
        let once = there.cost(Some(&standard), Some(&glacier), DAY);
        assert_eq!((shown(once.requests), shown(once.egress)), ("0.0208".into(), "90".into()));
        assert_eq!((once.retrieval, once.early_deletion, once.verification), Default::default());
        // 0.03 a GiB is retrieved; 60 of 90 days are left to be paid for, which is two months.
        let back = Effort { read_backs: 1000, read_back_bytes: bytes, ..there };
        let once = back.cost(Some(&glacier), Some(&standard), 30 * DAY);
        assert_eq!((shown(once.requests), shown(once.retrieval)), ("0.025".into(), "30".into()));
        assert_eq!((shown(once.egress), shown(once.early_deletion)), ("90".into(), "8".into()));
        // Read back from S3 Standard: out again, at 0.09, and 1,000 requests.
        assert_eq!(shown(once.verification), "90.0004");
        assert_eq!(shown(once.total()), "218.0254");
        assert_eq!(back.cost(Some(&glacier), None, 91 * DAY).early_deletion, Money::ZERO);
        assert_eq!(back.cost(None, None, DAY).total(), Money::ZERO);
    }

    #[test]
    fn a_month_counts_what_is_read_and_small_ones_as_larger() {
        let glacier = card("aws-s3-glacier-ir");
        assert_eq!((glacier.billed(1), glacier.billed(200 << 10)), (128 << 10, 200 << 10));
        // Half a GiB twice a month: 2 requests at 0.01 a thousand, 1 GiB at 0.03 + 0.09; held at 0.004.
        let reads = Reads { thousandths: 2000, bytes: 1 << 30 };
        assert_eq!(glacier.month(1 << 29, reads).to_string(), "0.12202");
        // A tenth of a read a month of nothing.
        assert_eq!(glacier.month(0, Reads { thousandths: 100, bytes: 0 }).to_string(), "0.000001");
        // By the GB, a byte is exact.
        assert_eq!(card("cloudflare-r2").month(1, Reads::default()).to_string(), "0.000000000015");
    }

    fn any_card() -> impl Strategy<Value = PriceCard> {
        let rate = || (0..1_000_000_000_000_u64).prop_map(Rate::nano);
        let unit = prop_oneof![Just(Unit::GB), Just(Unit::GiB)];
        (unit, rate(), rate(), rate(), rate(), rate(), 0_u16..3650, 0_u64..1 << 30).prop_map(
            |(unit, storage, retrieval, egress, reads, writes, minimum_days, minimum_size)| PriceCard {
                unit,
                storage,
                retrieval,
                egress,
                reads,
                writes,
                minimum_days,
                minimum_size,
            },
        )
    }

    fn any_effort() -> impl Strategy<Value = Effort> {
        let leaves =
            prop::option::of((0_u64..1 << 40, 0..4000 * DAY).prop_map(|(billed, since)| Leaving { billed, since }));
        (0_u64..9, 0_u64..1 << 40, 0_u64..9, 0_u64..9, 0_u64..1 << 40, leaves).prop_map(
            |(reads, read_bytes, writes, read_backs, read_back_bytes, leaves)| Effort {
                reads,
                read_bytes,
                writes,
                read_backs,
                read_back_bytes,
                leaves,
            },
        )
    }

    proptest! {
        /// More bytes never cost less, and nothing costs less than nothing.
        #[test]
        fn costs_grow_with_bytes(card in any_card(), effort in any_effort(), more in 0_u64..1 << 40, now in 0..4000 * DAY) {
            let larger = Effort {
                read_bytes: effort.read_bytes + more,
                read_back_bytes: effort.read_back_bytes + more,
                leaves: effort.leaves.map(|leaves| Leaving { billed: leaves.billed + more, ..leaves }),
                ..effort
            };
            let total = |effort: Effort| effort.cost(Some(&card), Some(&card), now).total();
            prop_assert!(total(larger) >= total(effort));
            let held = effort.read_bytes;
            prop_assert!(card.month(held + more, Reads::default()) >= card.month(held, Reads::default()));
            prop_assert!(card.billed(held + more) >= card.billed(held));
        }

        /// A fee is less from day to day, and none once all days are over.
        #[test]
        fn a_fee_ends(card in any_card(), billed in 0_u64..1 << 40, day in 0_i64..4000) {
            let fee = |day: i64| card.early_deletion(Leaving { billed, since: 0 }, day * DAY);
            prop_assert!(fee(day) >= fee(day + 1));
            prop_assert_eq!(fee(day.max(i64::from(card.minimum_days))), Money::ZERO);
            let most = card.month(billed, Reads::default()).part(u64::from(card.minimum_days), MONTH_DAYS);
            prop_assert_eq!(fee(-1), most, "a clock that was set back makes it no more than all days");
        }

        /// In whatever order moves are added, the sum is the same to the last digit.
        #[test]
        fn sums_know_no_order(card in any_card(), efforts in prop::collection::vec(any_effort(), 0..20)) {
            let cost = |effort: &Effort| effort.cost(Some(&card), Some(&card), DAY);
            let forth = efforts.iter().map(cost).fold(Once::default(), Once::and);
            let back = efforts.iter().rev().map(cost).fold(Once::default(), Once::and);
            prop_assert_eq!(forth, back);
            prop_assert_eq!(forth.total(), efforts.iter().map(|effort| cost(effort).total()).sum());
        }
    }
}
