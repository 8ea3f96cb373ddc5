//! What must be matched between two tables that are in different orders, in constant memory.
//!
//! One end *owes* a tie, the other *pays* it. Each is added into, or taken out of, one of a fixed number of cells by
//! its hash; a cell that does not come out at nothing holds a tie without its other end. Only then are the tables read
//! again, for the ties of those cells alone.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use holdall_silos::BlobName;
use twox_hash::XxHash3_64;

use super::{Pages, Run, read};
use crate::extent::{Location, Number, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::limits::CHECK_PAGE;
use crate::reference::targets;
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::objects::{Data, ObjectRow, attributes};
use crate::table::refs::{Target, read_referrer, reference};
use crate::table::retired::RetiredRow;
use crate::table::uploads::{ManifestRow, PartRow, manifest};
use crate::table::{decode, key, read_number};

/// Cells of a ledger.
const CELLS: usize = 4096;
/// Unmatched ties that are looked into at a time.
const HELD: usize = 100_000;
/// Passes over the tables for them; what is left then is said to be uncompared.
const PASSES: usize = 8;

/// A tie between two rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tie {
    /// The target's end says who refers to it; the version or part with that number pays.
    Reference(Target, Number),
    /// A retired replica, by the name of its blob or pack and its place in it; a row of what waits for the sweep pays.
    Retired(Number, SiloId, BlobName, u64),
    /// Attributes in a row apart; the version pays.
    Attributes(Number),
}

/// Sorts before every other tie.
const LEAST: Tie = {
    let zero = Number { session: 0, number: 0 };
    Tie::Reference(Target::Extent(zero), zero)
};

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger(Vec<(u64, i64)>);

impl Default for Ledger {
    fn default() -> Self {
        Self(vec![(0, 0); CELLS])
    }
}

impl Tie {
    fn hash(&self) -> u64 {
        let mut hasher = XxHash3_64::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

fn cell(hash: u64) -> usize {
    hash as usize % CELLS
}

impl Ledger {
    /// One end.
    pub(super) fn owes(&mut self, tie: &Tie) {
        let hash = tie.hash();
        let (sum, count) = &mut self.0[cell(hash)];
        (*sum, *count) = (sum.wrapping_add(hash), *count + 1);
    }

    /// The other end.
    pub(super) fn pays(&mut self, tie: &Tie) {
        let hash = tie.hash();
        let (sum, count) = &mut self.0[cell(hash)];
        (*sum, *count) = (sum.wrapping_sub(hash), *count - 1);
    }

    fn is_open(&self, cell: usize) -> bool {
        self.0[cell] != (0, 0)
    }
}

/// Ties that are owed, in cell order, as many as are held at once.
struct Owed {
    ties: BTreeSet<(usize, Tie)>,
    from: usize,
    /// Cells from here on are for the next pass.
    to: usize,
}

impl Owed {
    fn add(&mut self, ledger: &Ledger, tie: Tie) {
        let cell = cell(tie.hash());
        if !(self.from..self.to).contains(&cell) || !ledger.is_open(cell) {
            return;
        }
        self.ties.insert((cell, tie));
        // One cell is always held, whatever its size: 1/4096 of the index.
        while self.ties.len() > HELD
            && let (Some((first, _)), Some((last, _))) = (self.ties.first().copied(), self.ties.last().copied())
            && last > first
        {
            self.to = last;
            drop(self.ties.split_off(&(last, LEAST)));
        }
    }

    fn paid(&mut self, tie: &Tie) {
        self.ties.remove(&(cell(tie.hash()), *tie));
    }
}

/// A version's ties.
pub(super) fn ties_of_object(row: &ObjectRow) -> impl Iterator<Item = Tie> {
    let apart = row.attributes.is_none().then_some(Tie::Attributes(row.version));
    ties_of_data(&row.data, row.version).chain(apart)
}

/// A part's ties.
pub(super) fn ties_of_part(row: &PartRow) -> impl Iterator<Item = Tie> + use<> {
    ties_of_data(&Data::Slices(row.slices.clone()), row.version)
}

fn ties_of_data(data: &Data, version: Number) -> impl Iterator<Item = Tie> + use<> {
    targets(data).into_iter().map(move |target| Tie::Reference(target, version))
}

/// The ties that a row of what waits for the sweep pays.
pub(super) fn ties_of_retired(row: &RetiredRow) -> Vec<Tie> {
    let RetiredRow::Replicas { extent, replicas } = row else { return Vec::new() };
    replicas.iter().filter_map(|(silo, location)| tie_of_retired(*extent, *silo, location)).collect()
}

/// What a retired replica owes.
fn tie_of_retired(extent: Number, silo: SiloId, location: &Location) -> Option<Tie> {
    match *location {
        Location::Blob(blob) => Some(Tie::Retired(extent, silo, blob, 0)),
        Location::Pack { pack, offset, .. } => Some(Tie::Retired(extent, silo, pack, offset)),
        Location::InPlace { .. } => None,
    }
}

/// The ties of an extent's retired replicas.
pub(super) fn retired_in(id: Number, row: &ExtentRow) -> impl Iterator<Item = Tie> {
    let retired = row.replicas.iter().filter(|replica| replica.state == ReplicaState::Retired);
    retired.filter_map(move |replica| tie_of_retired(id, replica.silo, &replica.location))
}

/// What a row of `refs` owes.
pub(super) fn tie_of_reference(key: &[u8]) -> Option<Tie> {
    let id = Number { session: read_number(key, 2)?, number: read_number(key, 10)? };
    let target = if *key.get(1)? == 0 { Target::Extent(id) } else { Target::Manifest(id) };
    Some(Tie::Reference(target, read_referrer(key)?))
}

/// What a row of attributes owes.
pub(super) fn tie_of_attributes(key: &[u8]) -> Option<Tie> {
    Some(Tie::Attributes(Number { session: read_number(key, 1)?, number: read_number(key, 9)? }))
}

impl Run<'_> {
    /// Reads the tables again for the cells that did not come out at nothing.
    pub(super) async fn loose_ends(&mut self) -> Result<(), Fault> {
        let mut from = 0;
        for _ in 0..PASSES {
            let Some(first) = (from..CELLS).find(|cell| self.ledger.is_open(*cell)) else { return Ok(()) };
            let mut owed = Owed { ties: BTreeSet::new(), from: first, to: CELLS };
            self.collect_owed(&mut owed).await?;
            self.collect_paid(&mut owed).await?;
            for (_, tie) in owed.ties {
                if self.is_owed(&tie).await? {
                    self.dangling(say(&tie));
                }
            }
            from = owed.to;
        }
        if (from..CELLS).any(|cell| self.ledger.is_open(cell)) {
            self.seen.counts_compared = false;
        }
        Ok(())
    }

    async fn collect_owed(&self, owed: &mut Owed) -> Result<(), Fault> {
        for table in [key::EXTENTS, key::MANIFESTS, key::REFS, key::ATTRIBUTES] {
            let mut pages = Pages::of(table, CHECK_PAGE);
            loop {
                let page = pages.next(self.engine()).await?;
                if page.is_empty() {
                    break;
                }
                let ties = page.iter().flat_map(|(key, bytes)| owed_by(table, key, bytes));
                ties.for_each(|tie| owed.add(&self.ledger, tie));
            }
        }
        Ok(())
    }

    async fn collect_paid(&self, owed: &mut Owed) -> Result<(), Fault> {
        for table in [key::OBJECTS, key::PARTS, key::RETIRED] {
            let mut pages = Pages::of(table, CHECK_PAGE);
            loop {
                let page = pages.next(self.engine()).await?;
                if page.is_empty() {
                    break;
                }
                page.iter().flat_map(|(_, bytes)| paid_by(table, bytes)).for_each(|tie| owed.paid(&tie));
            }
        }
        Ok(())
    }

    /// The row that owes it stands as it stood: what pays it should have been there all the time.
    async fn is_owed(&self, tie: &Tie) -> Result<bool, Fault> {
        let engine = self.engine();
        Ok(match tie {
            Tie::Attributes(version) => engine.get(&[attributes(*version)]).await?[0].is_some(),
            Tie::Retired(id, ..) => {
                let row: Option<ExtentRow> = read(engine.get(&[extent(*id)]).await?[0].as_ref());
                row.is_some_and(|row| retired_in(*id, &row).any(|own| own == *tie))
            }
            Tie::Reference(target, referrer) => {
                let rows = engine.get(&[target.guard(), reference(*target, *referrer)]).await?;
                let first = match target {
                    Target::Extent(_) => read::<ExtentRow>(rows[0].as_ref()).and_then(|row| row.first),
                    Target::Manifest(_) => read::<ManifestRow>(rows[0].as_ref()).and_then(|row| row.first),
                };
                first == Some(*referrer) || rows[1].is_some()
            }
        })
    }
}

/// What a row owes; rows that do not read were reported by whoever read them first.
fn owed_by(table: u8, key: &[u8], bytes: &Bytes) -> Vec<Tie> {
    let number = || Some(Number { session: read_number(key, 1)?, number: read_number(key, 9)? });
    match table {
        key::EXTENTS => {
            let (Some(id), Ok(row)) = (read_extent(key), decode::<ExtentRow>(bytes)) else { return Vec::new() };
            let first = row.first.map(|first| Tie::Reference(Target::Extent(id), first));
            retired_in(id, &row).chain(first).collect()
        }
        key::MANIFESTS => {
            let (Some(id), Ok(row)) = (number(), decode::<ManifestRow>(bytes)) else { return Vec::new() };
            debug_assert_eq!(manifest(id), key);
            row.first.map(|first| Tie::Reference(Target::Manifest(id), first)).into_iter().collect()
        }
        key::REFS => tie_of_reference(key).into_iter().collect(),
        _ => tie_of_attributes(key).into_iter().collect(),
    }
}

fn paid_by(table: u8, bytes: &Bytes) -> Vec<Tie> {
    match table {
        key::OBJECTS => decode::<ObjectRow>(bytes).map(|row| ties_of_object(&row).collect()).unwrap_or_default(),
        key::PARTS => decode::<PartRow>(bytes).map(|row| ties_of_part(&row).collect()).unwrap_or_default(),
        _ => decode::<RetiredRow>(bytes).map(|row| ties_of_retired(&row)).unwrap_or_default(),
    }
}

fn say(tie: &Tie) -> String {
    match tie {
        Tie::Reference(Target::Extent(id), referrer) => {
            format!("extent {id} is kept for version {referrer}, which no object or part is")
        }
        Tie::Reference(Target::Manifest(id), referrer) => {
            format!("manifest {id} is kept for version {referrer}, which no object is")
        }
        Tie::Retired(id, silo, blob, at) => {
            format!("extent {id}: what is retired at {at} of {blob} in silo {silo} waits for no sweep")
        }
        Tie::Attributes(version) => format!("attributes of version {version}, which no object is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tie(number: u64) -> Tie {
        Tie::Attributes(Number { session: 1, number })
    }

    #[test]
    fn a_ledger_comes_out_at_nothing_only_when_all_is_paid() {
        let mut ledger = Ledger::default();
        (0..10_000).for_each(|number| ledger.owes(&tie(number)));
        (0..10_000).rev().for_each(|number| ledger.pays(&tie(number)));
        assert!((0..CELLS).all(|cell| !ledger.is_open(cell)));
        ledger.owes(&tie(3));
        ledger.pays(&tie(4));
        assert_eq!((0..CELLS).filter(|cell| ledger.is_open(*cell)).count(), 2);
    }

    #[test]
    fn what_is_owed_is_held_in_part_and_never_forgotten() {
        let mut ledger = Ledger::default();
        let all = HELD as u64 * 2;
        (0..all).for_each(|number| ledger.owes(&tie(number)));
        let (mut from, mut found) = (0, 0);
        while from < CELLS {
            let mut owed = Owed { ties: BTreeSet::new(), from, to: CELLS };
            (0..all).for_each(|number| owed.add(&ledger, tie(number)));
            assert!(owed.ties.len() <= HELD);
            found += owed.ties.len() as u64;
            from = owed.to;
        }
        assert_eq!(found, all);
    }
}
