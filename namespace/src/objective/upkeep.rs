//! What silos ask in a month for what is done there by itself: scrubs read all that they hold, what lies in roots is read once to have
//! its checksums, and passes list it.
//! Pure: rows come in, sums go out.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::extent::{Location, Replica, SiloId};
use crate::limits::{MOVED_BYTES, MOVED_TOGETHER, SORTED_TOGETHER};
use crate::pack::{Wanted, reads_of};
use crate::price::{MONTH_DAYS, Money, PriceCard, Reads};
use crate::scrub::ScrubOptions;
use crate::table::roots::RootRow;

/// Names that a bucket lists in one request.
const LISTED_AT_ONCE: u64 = 1000;
/// What is done by itself for a part of the namespace.
#[derive(Clone, Copy)]
pub(crate) struct Chores<'a> {
    /// How silos are scrubbed.
    pub scrub: Option<&'a ScrubOptions>,
    /// Whether checksums are made of what lies in roots.
    pub hashes: bool,
    /// What is passed.
    pub roots: &'a [RootRow],
    /// Of which part.
    pub on: &'a Scope,
}

/// Silos that are listed by requests.
const LISTED: [&str; 3] = ["s3", "azure", "gs"];
const MONTH: Duration = Duration::from_hours(MONTH_DAYS * 24);

/// What is done in a silo by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Chore {
    /// All that it holds is read.
    Scrub,
    /// What lies in roots without checksums is read once.
    Hash,
    /// What lies in roots is listed.
    Rescan,
}

/// What that costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// The silo.
    pub silo: String,
    /// What is done there.
    pub what: Chore,
    /// What it costs a month now.
    pub month_before: Money,
    /// What it costs a month once all is moved.
    pub month_after: Money,
}

/// What one scrub of a silo reads.
#[derive(Debug, Default)]
pub(super) struct Load {
    reads: u64,
    bytes: u64,
    /// Records that lie in packs and are not counted yet.
    places: Vec<Wanted>,
    /// Those whose packs are not written yet,
    unwritten: u64,
    /// and their bytes.
    unwritten_bytes: u64,
}

impl Load {
    /// One more replica; what lies where others put it is theirs to look after.
    pub(super) fn add(&mut self, replica: &Replica, size: u64, is_written: bool) {
        match (&replica.location, Wanted::at(&replica.location)) {
            (Location::InPlace { .. }, _) => {}
            (Location::Pack { length, .. }, _) if !is_written => {
                self.unwritten += 1;
                self.unwritten_bytes += length;
            }
            (_, Some(place)) => self.places.push(place),
            (_, None) => {
                self.reads += u64::from(size > 0);
                self.bytes += size;
            }
        }
        if self.places.len() >= SORTED_TOGETHER {
            self.settle();
        }
    }

    /// Records that lie close are read together, as a scrub reads them.
    fn settle(&mut self) {
        self.places.sort_unstable();
        let mut rest = &self.places[..];
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |place: &&Wanted| {
                bytes += place.length;
                bytes <= MOVED_BYTES
            };
            let (some, more) = rest.split_at(rest.iter().take(MOVED_TOGETHER).take_while(fits).count().max(1));
            let (reads, read_bytes) = reads_of(some);
            (self.reads, self.bytes, rest) = (self.reads + reads, self.bytes + read_bytes, more);
        }
        self.places.clear();
    }

    fn reads(mut self) -> Reads {
        self.settle();
        let unwritten = self.unwritten.div_ceil(MOVED_TOGETHER as u64).max(self.unwritten_bytes.div_ceil(MOVED_BYTES));
        Reads { thousandths: (self.reads + unwritten) * 1000, bytes: self.bytes + self.unwritten_bytes }
    }

    /// What a month costs where that is read so often.
    pub(super) fn month(self, card: &PriceCard, every: Duration) -> Money {
        a_month(card.read(self.reads()), every)
    }
}

/// What something costs a month that is done so often.
fn a_month(once: Money, every: Duration) -> Money {
    once.part(MONTH.as_secs(), every.as_secs())
}

/// What passes ask of silos: of which, of what kind, and how many requests how often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Passes {
    pub silo: SiloId,
    requests: u64,
    every: Duration,
}

impl Passes {
    /// Of a root that has to do with a part of the namespace, in a silo of this family.
    pub(super) fn of(root: &RootRow, family: &str, on: &Scope) -> Option<Self> {
        let order = &root.info.order;
        let into = Scope { bucket: Some(order.bucket.to_string()), prefix: order.into.clone() };
        let names = root.info.counts.names + root.info.counts.refused;
        let (requests, every) =
            (names.div_ceil(LISTED_AT_ONCE).max(1), Duration::from_secs(order.every_seconds.max(1)));
        (LISTED.contains(&family) && on.meets(&into)).then_some(Self { silo: root.silo, requests, every })
    }

    /// What they cost a month: providers ask for lists what they ask for writes.
    pub(super) fn month(&self, card: &PriceCard) -> Money {
        a_month(card.writes.for_requests(self.requests * 1000), self.every)
    }
}
