//! What objects cost a month where they are, and what moves cost, added up while it is planned. Pure: rows come in, sums go out.

use std::collections::{BTreeMap, BTreeSet};

use holdall_silos::{BlobName, Facts};
use serde::{Deserialize, Serialize};

use super::judge::{JudgedExtent, JudgedObject};
use super::{Way, What};
use crate::clock::UnixMs;
use crate::extent::{Location, Number, Replica, SiloId};
use crate::heat::DAY;
use crate::inventory::{Access, Inventory, OpenSilo};
use crate::job::{Small, batches};
use crate::limits::{SORTED_TOGETHER, SPAN};
use crate::pack::{Wanted, reads_of, shares_packs};
use crate::plan::{Move, Step};
use crate::price::{Effort, Leaving, Money, Once, Price, PriceCard, Reads, USD};
use crate::table::extents::ExtentRow;

/// What moving costs, and what it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Once, by what for.
    pub once: Once,
    /// What all replicas of the extents cost a month now.
    pub month_before: Money,
    /// What they cost a month once they were moved.
    pub month_after: Money,
}

/// What all that was looked at costs; an extent counts with the object that its bytes were written for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// In what.
    pub currency: String,
    /// How much.
    #[serde(flatten)]
    pub cost: Cost,
    /// Silos of it whose prices are known.
    pub priced: Vec<String>,
    /// Those that no price is known of: they count for nothing.
    pub unpriced: Vec<String>,
}

/// An object's bytes in one silo, which may be another than theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// The silo.
    pub silo: String,
    /// All of them are there.
    pub holds: bool,
    /// What they cost a month there; none where no price is known of it.
    pub month: Option<Money>,
    /// What it would cost to move there now what is elsewhere. A silo without prices counts for nothing.
    pub once: Once,
}

/// An object's bytes in each of the silos that have some of them, or could.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternatives {
    /// In what.
    pub currency: String,
    /// By the silos' numbers.
    pub silos: Vec<Alternative>,
}

/// What is known of silos' prices, and what moves depend on.
pub(crate) struct Prices {
    silos: BTreeMap<SiloId, Priced>,
    currency: String,
    pack_up_to: u64,
    now: UnixMs,
}

struct Priced {
    name: String,
    /// None is not known.
    card: Option<PriceCard>,
    access: Access,
    /// Which say what of a copy is read back.
    facts: Facts,
}

/// Sums while they are made.
pub(crate) struct Ledger<'a> {
    prices: &'a Prices,
    ways: BTreeMap<Way, Cost>,
    all: Cost,
    /// Silos that anything of it is on, or goes to.
    silos: BTreeSet<SiloId>,
    /// What is read and written together with others: as a job does it, once there are many.
    small: Vec<Small>,
    lots: BTreeMap<Number, Lot>,
}

/// A small extent.
struct Lot {
    way: Way,
    place: Option<Wanted>,
    /// Bytes of its record.
    length: u64,
    /// Since when what goes from the source lies there.
    left: Option<UnixMs>,
}

impl Prices {
    pub(crate) fn of(inventory: &Inventory, pack_up_to: u64, now: UnixMs) -> Self {
        let silos: BTreeMap<SiloId, Priced> =
            inventory.silos.iter().map(|(id, open)| (*id, Priced::of(open))).collect();
        let declared = inventory.silos.values().filter_map(|open| open.row.declared.price.as_ref());
        let mut counts = declared.filter(|price| price.card().is_ok_and(|card| !card.is_free()));
        let currency = counts.next().map_or(USD, Price::currency).to_owned();
        Self { silos, currency, pack_up_to, now }
    }

    fn card(&self, id: SiloId) -> Option<&PriceCard> {
        self.silos.get(&id).and_then(|silo| silo.card.as_ref())
    }

    /// The bytes of a copy that are read back.
    fn read_back(&self, id: SiloId, size: u64) -> u64 {
        self.silos.get(&id).filter(|silo| silo.facts.reads_back(size)).map_or(0, |_| size)
    }

    /// In what silos ask.
    pub(crate) fn currency(&self) -> &str {
        &self.currency
    }

    fn name(&self, id: SiloId) -> String {
        self.silos.get(&id).map_or_else(|| format!("#{id}"), |silo| silo.name.clone())
    }

    /// What is others' and may not be written to stays where it is.
    fn stays(&self, replica: &Replica) -> bool {
        let read_only = self.silos.get(&replica.silo).is_some_and(|silo| silo.access == Access::ReadOnly);
        read_only && matches!(replica.location, Location::InPlace { .. })
    }

    fn is_small(&self, size: u64) -> bool {
        shares_packs(size, self.pack_up_to)
    }

    /// The bytes that a replica is held for.
    fn billed(&self, replica: &Replica, size: u64) -> u64 {
        match &replica.location {
            Location::Pack { length, .. } => *length,
            // A piece of something longer.
            Location::InPlace { whole, .. } if *whole > size => size,
            Location::Blob(_) | Location::InPlace { .. } => self.billed_alone(replica.silo, size),
        }
    }

    fn billed_alone(&self, id: SiloId, size: u64) -> u64 {
        self.card(id).map_or(size, |card| card.billed(size))
    }

    /// The bytes that a replica would be held for in another silo.
    fn billed_at(&self, to: SiloId, replica: &Replica, size: u64) -> u64 {
        if self.is_small(size) { record_length(replica, size) } else { self.billed_alone(to, size) }
    }

    /// What replicas cost a month; the first is the one that is read.
    fn month(&self, held: &[(SiloId, u64)], reads: Reads) -> Money {
        let costs = held.iter().enumerate().map(|(at, (id, billed))| {
            let reads = if at == 0 { reads } else { Reads::default() };
            self.card(*id).map_or(Money::ZERO, |card| card.month(*billed, reads))
        });
        costs.sum()
    }

    /// What goes from the source.
    fn leaves(&self, replica: &Replica, size: u64) -> Option<Leaving> {
        let leaving = Leaving { billed: self.billed(replica, size), since: replica.since };
        (!self.stays(replica)).then_some(leaving)
    }

    /// What moving an extent asks that shares nothing: it is asked what it says of itself, read, written, and read back.
    fn alone(&self, replica: &Replica, size: u64, to: SiloId) -> Effort {
        let (asked, said) = match &replica.location {
            Location::Blob(_) => (1, 0),
            Location::Pack { length, .. } => (1, *length),
            Location::InPlace { .. } => (0, 0),
        };
        let back = self.read_back(to, size);
        Effort {
            reads: asked + u64::from(size > 0),
            read_bytes: said + size,
            writes: 1,
            read_backs: u64::from(back > 0),
            read_back_bytes: back,
            leaves: self.leaves(replica, size),
        }
    }

    /// What it asks of a small one for itself: what is in no pack is read for itself.
    fn beside_others(&self, replica: &Replica, size: u64) -> Effort {
        let leaves = self.leaves(replica, size);
        match &replica.location {
            Location::Pack { .. } => Effort { leaves, ..Effort::default() },
            Location::Blob(_) => Effort { reads: 2, read_bytes: size, leaves, ..Effort::default() },
            Location::InPlace { .. } => Effort { reads: 1, read_bytes: size, leaves, ..Effort::default() },
        }
    }

    /// What small ones ask together: packs are read where they lie close, and one is written.
    fn together(&self, lots: &[Lot], to: SiloId) -> Effort {
        let places: Vec<Wanted> = lots.iter().filter_map(|lot| lot.place).collect();
        let (reads, read_bytes) = reads_of(&places);
        let length: u64 = lots.iter().map(|lot| lot.length).sum();
        let back = self.read_back(to, length);
        let read_backs = back.div_ceil(SPAN);
        Effort { reads, read_bytes, writes: 1, read_backs, read_back_bytes: back, leaves: None }
    }

    /// What packs are paid for beyond the records that leave them, where they are shorter than the least size: as packs go once all
    /// of it left.
    fn beyond_records(&self, lots: &[Lot], from: SiloId) -> Once {
        let mut packs: BTreeMap<BlobName, Leaving> = BTreeMap::new();
        for (place, left) in lots.iter().filter_map(|lot| lot.place.zip(lot.left)) {
            let pack = packs.entry(place.pack).or_insert(Leaving { billed: 0, since: left });
            (pack.billed, pack.since) = (pack.billed + place.length, pack.since.max(left));
        }
        let rest = |pack: Leaving| Leaving { billed: self.billed_alone(from, pack.billed) - pack.billed, ..pack };
        let efforts = packs.into_values().map(|pack| Effort { leaves: Some(rest(pack)), ..Effort::default() });
        let costs = efforts.map(|effort| effort.cost(self.card(from), None, self.now));
        costs.fold(Once::default(), Once::and)
    }

    /// Whether any silo asks for what is read.
    pub(crate) fn ask_for_reads(&self) -> bool {
        self.silos.values().filter_map(|silo| silo.card.as_ref()).any(|card| !card.is_free())
    }

    /// An object's bytes in each silo that has some of them, or could.
    pub(crate) fn alternatives(&self, object: &JudgedObject, now: UnixMs) -> Alternatives {
        let extents = &object.extents;
        let reads = extents.iter().map(|extent| reads_to_come(object, extent.row.size, now));
        let reads = reads.fold(Reads::default(), Reads::and);
        let had = |id: SiloId| extents.iter().any(|extent| extent.row.verified_in(id).is_some());
        let meant = self.silos.iter().filter(|(id, silo)| silo.access == Access::Own || had(**id));
        let silos = meant.map(|(id, _)| self.alternative(*id, extents, reads)).collect();
        Alternatives { currency: self.currency.clone(), silos }
    }

    fn alternative(&self, to: SiloId, extents: &[JudgedExtent], reads: Reads) -> Alternative {
        let (mut ledger, mut held, mut holds) = (Ledger::new(self), Vec::new(), true);
        for JudgedExtent { id, row, .. } in extents {
            let here = row.verified_in(to);
            holds &= here.is_some();
            if let Some(replica) = here {
                held.push((to, self.billed(replica, row.size)));
            } else if let Some(replica) = row.verified().next() {
                held.push((to, self.billed_at(to, replica, row.size)));
                let way = Way { by: 0, what: What::Move, from: replica.silo, to: Some(to) };
                ledger.steps(way, *id, row, Reads::default());
            }
        }
        let month = self.card(to).map(|_| self.month(&held, reads));
        let (_, costs) = ledger.finish();
        Alternative { silo: self.name(to), holds, month, once: costs.cost.once }
    }
}

impl Priced {
    fn of(open: &OpenSilo) -> Self {
        let declared = &open.row.declared;
        Self { name: open.row.name.clone(), card: open.card, access: declared.access, facts: open.row.facts.clone() }
    }
}

/// What is read of an extent in a month, if it goes on as in the last one.
fn reads_to_come(object: &JudgedObject, size: u64, now: UnixMs) -> Reads {
    let Some(heat) = object.heat else { return Reads::default() };
    let (count, share) = (heat.reads(30 * DAY, now), heat.share());
    // Whoever reads a part of an object does not ask for all of its extents.
    let asked = if object.extents.len() > 1 { share } else { 1.0 };
    let thousandths = (count as f64 * asked * 1000.0).ceil() as u64;
    Reads { thousandths, bytes: (count as f64 * share * size as f64).ceil() as u64 }
}

/// Bytes of a record; where there is none yet, of what it is to hold.
fn record_length(replica: &Replica, size: u64) -> u64 {
    replica.location.length().max(size)
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(prices: &'a Prices) -> Self {
        Self {
            prices,
            ways: BTreeMap::new(),
            all: Cost::default(),
            silos: BTreeSet::new(),
            small: Vec::new(),
            lots: BTreeMap::new(),
        }
    }

    /// Counts an object, with the reads of the last 30 days as those of a month to come.
    pub(crate) fn add(&mut self, object: &JudgedObject, now: UnixMs) {
        for extent in &object.extents {
            self.add_extent(extent, reads_to_come(object, extent.row.size, now));
        }
    }

    /// Counts an extent of an object: `reads` is what is read of it in a month.
    fn add_extent(&mut self, extent: &JudgedExtent, reads: Reads) {
        if !extent.own {
            return;
        }
        if let Some(way) = extent.standing.way() {
            return self.steps(way, extent.id, &extent.row, reads);
        }
        let month = self.month(&extent.row, reads);
        self.all.month_before += month;
        self.all.month_after += month;
    }

    /// Called between pages, as a job looks whether there is enough to be moved together.
    pub(crate) fn page(&mut self) {
        if self.small.len() >= SORTED_TOGETHER {
            self.settle();
        }
    }

    /// What all of it makes, and each way.
    pub(crate) fn finish(mut self) -> (BTreeMap<Way, Cost>, Costs) {
        self.settle();
        let prices = self.prices;
        let (priced, unpriced): (Vec<_>, Vec<_>) = self.silos.into_iter().partition(|id| prices.card(*id).is_some());
        let names = |ids: Vec<SiloId>| ids.into_iter().map(|id| prices.name(id)).collect();
        let (priced, unpriced) = (names(priced), names(unpriced));
        (self.ways, Costs { currency: prices.currency.clone(), cost: self.all, priced, unpriced })
    }

    /// What its replicas cost a month.
    fn month(&mut self, row: &ExtentRow, reads: Reads) -> Money {
        let held: Vec<_> =
            row.verified().map(|replica| (replica.silo, self.prices.billed(replica, row.size))).collect();
        self.silos.extend(held.iter().map(|(id, _)| *id));
        self.prices.month(&held, reads)
    }

    fn steps(&mut self, way: Way, id: Number, row: &ExtentRow, reads: Reads) {
        let (Way { what, from, to, .. }, size, prices) = (way, row.size, self.prices);
        let Some(replica) = row.verified_in(from) else { return };
        self.silos.extend(to);
        let month_before = self.month(row, reads);
        let stays = what == What::Copy || prices.stays(replica);
        // What is beside goes on being read where it is; what was moved is read there, whatever others leave us.
        let others = row.verified().filter(|other| what == What::Copy || other.silo != from);
        let others = others.map(|other| (other.silo, prices.billed(other, size)));
        let held: Vec<_> = others.chain(to.map(|to| (to, prices.billed_at(to, replica, size)))).collect();
        let mut month_after = prices.month(&held, reads);
        if what != What::Copy && stays {
            month_after += prices.month(&[(from, prices.billed(replica, size))], Reads::default());
        }
        let leaves = prices.leaves(replica, size).filter(|_| !stays);
        let effort = match to {
            None => Effort::default(),
            Some(to) if prices.is_small(size) => {
                let step = if what == What::Copy { Step::Copy } else { Step::Move };
                let place = Wanted::at(&replica.location);
                self.small.push(((from, to), place, Move { step, extent: id, bytes: size, from, to, by: None }));
                let left = leaves.map(|leaves| leaves.since);
                self.lots.insert(id, Lot { way, place, length: record_length(replica, size), left });
                prices.beside_others(replica, size)
            }
            Some(to) => prices.alone(replica, size, to),
        };
        let (source, target) = (prices.card(from), to.and_then(|to| prices.card(to)));
        let once = Effort { leaves, ..effort }.cost(source, target, prices.now);
        self.count(way, &Cost { once, month_before, month_after });
    }

    /// What waits is read and written together: the first of what is costs for all.
    fn settle(&mut self) {
        let prices = self.prices;
        for batch in batches(std::mem::take(&mut self.small)) {
            let lots: Vec<Lot> = batch.iter().filter_map(|planned| self.lots.remove(&planned.extent)).collect();
            let Some(way) = lots.first().map(|lot| lot.way) else { continue };
            let Some(to) = way.to else { continue };
            let together = prices.together(&lots, to).cost(prices.card(way.from), prices.card(to), prices.now);
            let once = together.and(prices.beyond_records(&lots, way.from));
            self.count(way, &Cost { once, ..Cost::default() });
        }
    }

    fn count(&mut self, way: Way, cost: &Cost) {
        for sum in [self.ways.entry(way).or_default(), &mut self.all] {
            sum.once = sum.once.and(cost.once);
            sum.month_before += cost.month_before;
            sum.month_after += cost.month_after;
        }
    }
}

#[cfg(test)]
mod tests;
