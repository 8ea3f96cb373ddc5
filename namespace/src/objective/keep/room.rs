//! Silos that have to make room: what they are filled with is measured while all objects are compared, and what is too cold for
//! them is written down.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::{self, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::namespace::Core;
use crate::objective::judge::JudgedObject;
use crate::objective::{Cut, Cuts, Fullness, Judge, Layers, Rules};
use crate::table::silos::cuts as cuts_key;
use crate::table::usage::Counted;

/// By silo, and by objective, by its place among the rules: what leaves the silo when there is no room.
#[derive(Default)]
pub(crate) struct Filled(BTreeMap<SiloId, BTreeMap<usize, Layers>>);

impl Filled {
    /// One more object.
    pub(crate) fn add(&mut self, judge: &Judge, object: &JudgedObject) {
        for extent in object.extents.iter().filter(|extent| extent.own) {
            for (by, silo, used) in judge.takes(object, extent) {
                let layers = self.0.entry(silo).or_default().entry(by).or_insert_with(|| Layers::at(judge.now));
                layers.add(used, object.used.lot, extent.row.size);
            }
        }
    }

    /// What is too cold now; `before` is what was. Several objectives that fill a silo, or copy what is read there, make room
    /// together.
    fn cuts(&self, rules: &Rules, before: &Cuts, full: &BTreeMap<SiloId, Fullness>) -> Cuts {
        let mut cuts = Cuts::new();
        for (silo, by_rule) in &self.0 {
            let Some(full) = full.get(silo) else { continue };
            let rule = |by: &usize| &rules.all()[*by];
            let under_way = |by: &usize| has_cut(before, &rule(by).said, *silo);
            let (fill, spare): (Vec<_>, Vec<_>) = by_rule.iter().partition(|(by, _)| rule(by).fills(*silo));
            let excess = fill.iter().filter_map(|(by, _)| Some(full.excess(rule(by).objective.fill?, under_way(by))));
            let of_fill = Layers::together(fill.iter().map(|(_, layers)| *layers)).cut(excess.max().unwrap_or(0));
            let of_spare = Layers::together(spare.iter().map(|(_, layers)| *layers));
            let of_spare = of_spare.cut(full.lacks().min(of_spare.sum()));
            let fill = fill.iter().map(|(by, _)| (*by, of_fill));
            let spare = spare.iter().map(|(by, layers)| {
                let beyond = Fullness::beyond(layers.sum(), rule(by).objective.max);
                (*by, Cut::higher(layers.cut(beyond), of_spare))
            });
            for (by, cut) in fill.chain(spare).filter_map(|(by, cut)| Some((by, cut?))) {
                cuts.entry(rule(by).said.clone()).or_default().insert(*silo, cut);
            }
        }
        cuts
    }
}

/// Whether objects are too cold that were not when they were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colder {
    No,
    /// Where some were, others may be.
    More,
    /// Where none was.
    New,
}

/// Whether something is too cold somewhere where nothing was before.
fn is_new(after: &Cuts, before: &Cuts) -> bool {
    after.iter().any(|(said, cuts)| cuts.keys().any(|silo| !has_cut(before, said, *silo)))
}

fn has_cut(cuts: &Cuts, said: &str, silo: SiloId) -> bool {
    cuts.get(said).is_some_and(|cuts| cuts.contains_key(&silo))
}

impl Core {
    /// What is too cold for silos that have to make room, as it was found last.
    pub(crate) async fn cuts(&self) -> Result<Cuts, Fault> {
        let row = self.engine.get(&[cuts_key()]).await?.remove(0);
        // What does not read is found anew.
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default())
    }

    /// Writes down what is too cold, from what silos are filled with.
    pub(crate) async fn make_room(&self, rules: &Rules, filled: &Filled) -> Result<Colder, Fault> {
        let (before, full) = (self.cuts().await?, self.fullness().await?);
        let after = filled.cuts(rules, &before, &full);
        if after == before {
            return Ok(Colder::No);
        }
        let colder = if is_new(&after, &before) { Colder::New } else { Colder::More };
        let none = after.is_empty();
        let row = serde_json::to_vec(&after).map_err(|error| Fault::Damaged(error.to_string()))?;
        let decide = move |_: &Rows| Ok::<_, Fault>((vec![Write::Put(cuts_key(), row.clone())], ()));
        engine::commit(&*self.engine, Vec::new(), decide).await?;
        Ok(if none { Colder::No } else { colder })
    }

    /// How full silos are.
    pub(crate) async fn fullness(&self) -> Result<BTreeMap<SiloId, Fullness>, Fault> {
        let inventory = self.inventory();
        let mut full = BTreeMap::new();
        for open in inventory.silos.values() {
            full.insert(open.id, self.fullness_of(open).await?);
        }
        Ok(full)
    }

    async fn fullness_of(&self, open: &Arc<OpenSilo>) -> Result<Fullness, Fault> {
        let bytes = async |of: Counted| Ok::<_, Fault>(self.counted(of).await?.bytes.max(0).unsigned_abs());
        let (live, retired) = (bytes(Counted::Silo(open.id)).await?, bytes(Counted::Retired(open.id)).await?);
        let space = open.space().map(|(space, _)| {
            // What was retired goes by itself.
            let others = space.total.saturating_sub(space.free).saturating_sub(live + retired);
            (space.total, others)
        });
        Ok(Fullness { live, space, room: open.room().map(|room| room + retired) })
    }
}
