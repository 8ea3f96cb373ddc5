//! What objects cost a month where they are, and what moves cost, added up while it is planned. Pure: rows come in, sums go out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdall_silos::{BlobName, Facts};
use serde::{Deserialize, Serialize};

use super::judge::{JudgedExtent, JudgedObject, UNWRITTEN};
use super::upkeep::{Chore, Chores, Load, Passes, Upkeep};
use super::{Standing, Way, What};
use crate::assimilate::hash_reads;
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
    /// Of a month, what is done in silos by itself, where that is not nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upkeep: Vec<Upkeep>,
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
    /// What scrubs and checksums by themselves cost at most a month.
    scrub_budget: Option<Money>,
    /// What passes ask.
    passes: Vec<Passes>,
}

struct Priced {
    name: String,
    /// How often it is scrubbed by itself, where that costs something.
    scrubbed: Option<Duration>,
    /// Whether it costs something to make checksums there, and is done.
    hashed: bool,
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
    /// First steps, second ones, and so on: what one round wrote is there for the next one to read.
    rounds: Vec<Round>,
    /// Packs that rounds wrote.
    packs: u64,
    /// What scrubs read, before and after.
    scrubs: BTreeMap<SiloId, [Load; 2]>,
    /// What is read to have checksums.
    hashes: BTreeMap<SiloId, [Reads; 2]>,
}

/// Steps that are taken together with others: as a job does it, once there are many.
#[derive(Default)]
struct Round {
    /// What is read and written together.
    small: Vec<Small>,
    lots: BTreeMap<Number, Lot>,
    /// What leaves packs, and goes nowhere.
    dropped: Vec<Lot>,
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

/// An extent where it would be after some steps.
struct Lying {
    row: ExtentRow,
    /// What was moved and stays with others all the same: in which silo, and the bytes it is held for.
    theirs: Vec<(SiloId, u64)>,
}

impl Prices {
    pub(crate) fn of(inventory: &Inventory, pack_up_to: u64, now: UnixMs) -> Self {
        let silos: BTreeMap<SiloId, Priced> =
            inventory.silos.iter().map(|(id, open)| (*id, Priced::of(open))).collect();
        let declared = inventory.silos.values().filter_map(|open| open.row.declared.price.as_ref());
        let mut counts = declared.filter(|price| price.card().is_ok_and(|card| !card.is_free()));
        let currency = counts.next().map_or(USD, Price::currency).to_owned();
        Self { silos, currency, pack_up_to, now, scrub_budget: None, passes: Vec::new() }
    }

    /// The same, with what is done by itself for a part of the namespace.
    pub(crate) fn with_upkeep(
        mut self,
        inventory: &Inventory,
        Chores { scrub, hashes, roots, on }: Chores<'_>,
    ) -> Self {
        self.scrub_budget = scrub.and_then(|scrub| scrub.budget);
        for (id, open) in &inventory.silos {
            let Some(silo) = self.silos.get_mut(id) else { continue };
            let costs = silo.card.is_some_and(|card| !card.is_read_for_nothing());
            silo.scrubbed = scrub.and_then(|scrub| open.scrubbed_every(scrub)).filter(|_| costs);
            silo.hashed = hashes && costs && self.scrub_budget.is_some();
            let passes = roots.iter().filter(|root| root.silo == *id);
            self.passes.extend(passes.filter_map(|root| Passes::of(root, &open.row.facts.family, on)));
        }
        self
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

    /// Where a copy of a replica lies in another silo, as far as that is known before it is written.
    fn written(&self, id: Number, replica: &Replica, size: u64) -> Location {
        let blob = BlobName { extent: (id.session, id.number), ..UNWRITTEN };
        let pack = Location::Pack { pack: UNWRITTEN, offset: 0, length: record_length(replica, size) };
        if self.is_small(size) { pack } else { Location::Blob(blob) }
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
                ledger.step(0, way, *id, &mut Lying::of(row), Reads::default());
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
        Self {
            name: open.row.name.clone(),
            card: open.card,
            access: declared.access,
            facts: open.row.facts.clone(),
            scrubbed: None,
            hashed: false,
        }
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
            rounds: Vec::new(),
            packs: 0,
            scrubs: BTreeMap::new(),
            hashes: BTreeMap::new(),
        }
    }

    /// Counts an object, with the reads of the last 30 days as those of a month to come.
    pub(crate) fn add(&mut self, object: &JudgedObject, now: UnixMs) {
        for extent in &object.extents {
            self.add_extent(extent, reads_to_come(object, extent.row.size, now));
        }
    }

    /// Counts a step that an order takes, whatever is read of it.
    pub(crate) fn add_move(&mut self, planned: &Move, row: ExtentRow) {
        let Move { step, extent: id, from, to, .. } = *planned;
        let standing = match step {
            Step::Move => Standing::Moves { from, to, by: 0 },
            Step::Copy => Standing::Copies { from, to, by: 0 },
            Step::Drop { least } => Standing::Drops { from, least, by: 0 },
        };
        self.add_extent(
            &JudgedExtent { id, row, own: true, damaged: Vec::new(), standing, then: Vec::new() },
            Reads::default(),
        );
    }

    /// Counts an extent of an object: `reads` is what is read of it in a month.
    fn add_extent(&mut self, extent: &JudgedExtent, reads: Reads) {
        if !extent.own {
            return;
        }
        let before = self.month(&extent.row, &[], reads);
        let mut after = before;
        let mut lying = None;
        for (round, way) in extent.ways().enumerate() {
            let lying = lying.get_or_insert_with(|| Lying::of(&extent.row));
            self.step(round, way, extent.id, lying, reads);
            after = self.month(&lying.row, &lying.theirs, reads);
        }
        self.all.month_before += before;
        self.all.month_after += after;
        self.tend(0, &extent.row);
        self.tend(1, lying.as_ref().map_or(&extent.row, |lying| &lying.row));
    }

    /// Counts what is read of an extent without anybody asking for it, before or after.
    fn tend(&mut self, when: usize, row: &ExtentRow) {
        for replica in row.verified() {
            let Some(silo) = self.prices.silos.get(&replica.silo) else { continue };
            if silo.scrubbed.is_some() {
                let is_written = Wanted::at(&replica.location).is_none_or(|place| place.pack != UNWRITTEN);
                self.scrubs.entry(replica.silo).or_default()[when].add(replica, row.size, is_written);
            }
            if silo.hashed && row.is_in_place(replica.silo) && !row.is_hashed() {
                let hashes = &mut self.hashes.entry(replica.silo).or_default()[when];
                *hashes = hashes.and(hash_reads(row.size));
            }
        }
    }

    /// What is read in silos by itself, within its budget.
    fn tended(&mut self) -> Vec<(SiloId, Chore, [Money; 2])> {
        let prices = self.prices;
        let scrubs = std::mem::take(&mut self.scrubs).into_iter().filter_map(|(id, loads)| {
            let (card, every) = prices.card(id).zip(prices.silos.get(&id)?.scrubbed)?;
            Some((id, Chore::Scrub, loads.map(|load| load.month(card, every))))
        });
        let hashes = std::mem::take(&mut self.hashes).into_iter().filter_map(|(id, reads)| {
            let card = prices.card(id)?;
            Some((id, Chore::Hash, reads.map(|reads| card.read(reads))))
        });
        let (mut all, mut left): (Vec<_>, _) = (scrubs.chain(hashes).collect(), [prices.scrub_budget; 2]);
        for (.., months) in &mut all {
            for (month, left) in months.iter_mut().zip(&mut left) {
                let Some(left) = left else { continue };
                *month = (*month).min(*left);
                *left = left.less(*month);
            }
        }
        all
    }

    /// What is done in silos by itself.
    fn upkeep(&mut self) -> Vec<Upkeep> {
        let (prices, mut upkeep) = (self.prices, self.tended());
        for passes in &prices.passes {
            let month = prices.card(passes.silo).map_or(Money::ZERO, |card| passes.month(card));
            match upkeep.iter_mut().find(|(id, what, _)| (*id, *what) == (passes.silo, Chore::Rescan)) {
                Some((.., months)) => *months = months.map(|sum| sum + month),
                None => upkeep.push((passes.silo, Chore::Rescan, [month; 2])),
            }
        }
        upkeep.retain(|(.., months)| months.iter().any(|month| *month != Money::ZERO));
        self.silos.extend(upkeep.iter().map(|(id, ..)| *id));
        let told = upkeep.into_iter().map(|(id, what, [month_before, month_after])| {
            self.all.month_before += month_before;
            self.all.month_after += month_after;
            Upkeep { silo: prices.name(id), what, month_before, month_after }
        });
        told.collect()
    }

    /// Called between pages, as a job looks whether there is enough to be moved together.
    pub(crate) fn page(&mut self) {
        let many = |round: &Round| round.small.len().max(round.dropped.len()) >= SORTED_TOGETHER;
        if self.rounds.iter().any(many) {
            self.settle();
        }
    }

    /// What all of it makes, and each way.
    pub(crate) fn finish(mut self) -> (BTreeMap<Way, Cost>, Costs) {
        self.settle();
        let (upkeep, prices) = (self.upkeep(), self.prices);
        let (priced, unpriced): (Vec<_>, Vec<_>) = self.silos.into_iter().partition(|id| prices.card(*id).is_some());
        let names = |ids: Vec<SiloId>| ids.into_iter().map(|id| prices.name(id)).collect();
        let (priced, unpriced) = (names(priced), names(unpriced));
        (self.ways, Costs { currency: prices.currency.clone(), cost: self.all, upkeep, priced, unpriced })
    }

    /// What its replicas, and what others keep of it, cost a month.
    fn month(&mut self, row: &ExtentRow, theirs: &[(SiloId, u64)], reads: Reads) -> Money {
        let prices = self.prices;
        let held: Vec<_> = row.verified().map(|replica| (replica.silo, prices.billed(replica, row.size))).collect();
        self.silos.extend(held.iter().map(|(id, _)| *id));
        prices.month(&held, reads) + prices.month(theirs, Reads::default())
    }

    /// Counts a step, and takes it.
    fn step(&mut self, round: usize, way: Way, id: Number, lying: &mut Lying, reads: Reads) {
        let (Way { what, from, to, .. }, size, prices) = (way, lying.row.size, self.prices);
        let Some(replica) = lying.row.verified_in(from).cloned() else { return };
        let month_before = self.month(&lying.row, &lying.theirs, reads);
        // What is beside goes on being read where it is; what was moved is read there, whatever others leave us.
        let stays = what == What::Copy || prices.stays(&replica);
        if what != What::Copy && stays {
            lying.theirs.push((from, prices.billed(&replica, size)));
        }
        lying.row.take(way, prices.written(id, &replica, size), prices.now);
        let month_after = self.month(&lying.row, &lying.theirs, reads);
        let leaves = prices.leaves(&replica, size).filter(|_| !stays);
        let effort = match to {
            Some(to) if !prices.is_small(size) => prices.alone(&replica, size, to),
            Some(_) => prices.beside_others(&replica, size),
            None => Effort::default(),
        };
        if to.is_none() || prices.is_small(size) {
            let (place, left) = (Wanted::at(&replica.location), leaves.map(|leaves| leaves.since));
            self.round(round).add(id, size, Lot { way, place, length: record_length(&replica, size), left });
        }
        let (source, target) = (prices.card(from), to.and_then(|to| prices.card(to)));
        let once = Effort { leaves, ..effort }.cost(source, target, prices.now);
        self.count(way, &Cost { once, month_before, month_after });
    }

    fn round(&mut self, number: usize) -> &mut Round {
        while self.rounds.len() <= number {
            self.rounds.push(Round::default());
        }
        &mut self.rounds[number]
    }

    /// What waits is read and written together: the first of what is costs for all.
    fn settle(&mut self) {
        let (prices, mut written) = (self.prices, BTreeMap::new());
        for mut round in std::mem::take(&mut self.rounds) {
            round.find(&written);
            for batch in batches(round.small) {
                let lots: Vec<Lot> = batch.iter().filter_map(|planned| round.lots.remove(&planned.extent)).collect();
                let Some(way) = lots.first().map(|lot| lot.way) else { continue };
                let Some(to) = way.to else { continue };
                let together = prices.together(&lots, to).cost(prices.card(way.from), prices.card(to), prices.now);
                let once = together.and(prices.beyond_records(&lots, way.from));
                self.count(way, &Cost { once, ..Cost::default() });
                self.packs += 1;
                let (pack, mut offset) = (BlobName::pack(0, self.packs), 0);
                for (planned, Lot { length, .. }) in batch.iter().zip(&lots) {
                    written.insert((planned.extent, to), Wanted { pack, offset, length: *length });
                    offset += length;
                }
            }
            let mut dropped: BTreeMap<Way, Vec<Lot>> = BTreeMap::new();
            for lot in round.dropped {
                dropped.entry(lot.way).or_default().push(lot);
            }
            for (way, lots) in dropped {
                self.count(way, &Cost { once: prices.beyond_records(&lots, way.from), ..Cost::default() });
            }
        }
    }

    /// Months of a way are those of its steps; of all of it, before the first ones and after the last.
    fn count(&mut self, way: Way, cost: &Cost) {
        self.all.once = self.all.once.and(cost.once);
        let sum = self.ways.entry(way).or_default();
        sum.once = sum.once.and(cost.once);
        sum.month_before += cost.month_before;
        sum.month_after += cost.month_after;
    }
}

impl Round {
    fn add(&mut self, id: Number, size: u64, lot: Lot) {
        let Way { what, from, to, .. } = lot.way;
        let Some(to) = to else { return self.dropped.extend(Some(lot).filter(|lot| lot.place.is_some())) };
        let step = if what == What::Copy { Step::Copy } else { Step::Move };
        self.small.push(((from, to), lot.place, Move { step, extent: id, bytes: size, from, to, by: None }));
        self.lots.insert(id, lot);
    }

    /// What was written in an earlier round is read from where it is then.
    fn find(&mut self, written: &BTreeMap<(Number, SiloId), Wanted>) {
        for (_, place, planned) in &mut self.small {
            let Some(there) = written.get(&(planned.extent, planned.from)) else { continue };
            *place = Some(*there);
            if let Some(lot) = self.lots.get_mut(&planned.extent) {
                lot.place = *place;
            }
        }
    }
}

impl Lying {
    fn of(row: &ExtentRow) -> Self {
        Self { row: row.clone(), theirs: Vec::new() }
    }
}

#[cfg(test)]
mod tests;
