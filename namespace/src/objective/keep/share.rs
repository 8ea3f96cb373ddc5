//! Of what is chosen by itself only so much moves in a day: what was learnt may be wrong, and prices, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::namespace::Core;
use crate::objective::judge::{JudgedExtent, JudgedObject};
use crate::objective::{Judge, Rules, Share, Wanted, What, day_of};
use crate::table::silos::moved_today;

/// Bytes that were chosen to move, by objective.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Moved {
    /// The day since 1970 (UTC).
    day: i32,
    bytes: BTreeMap<String, u64>,
}

impl Moved {
    fn on(self, day: i32) -> Self {
        // A clock may have been wrong.
        if (day..=day + 1).contains(&self.day) { self } else { Self { day, bytes: BTreeMap::new() } }
    }
}

/// Whether an extent goes where it was chosen to be, and not because copies are missing or it is forbidden to be where it is.
fn is_chosen(rules: &Rules, wanted: &Wanted, by: usize, extent: &JudgedExtent) -> bool {
    extent.standing.way().is_some_and(|way| way.by == by && way.what == What::Move && !rules.is_urgent(wanted, way))
}

/// Bytes that would move for the sake of what was chosen.
fn chosen_to_move(rules: &Rules, object: &JudgedObject) -> Option<(usize, u64)> {
    let by = object.choice.as_ref()?.by;
    let ways = object.extents.iter().filter(|extent| is_chosen(rules, &object.wanted, by, extent));
    let bytes: u64 = ways.map(|extent| extent.row.size).sum();
    (bytes > 0).then_some((by, bytes))
}

/// Those of these objects, by rule.
fn chosen<'a>(rules: &Rules, objects: &'a mut [JudgedObject]) -> BTreeMap<usize, Vec<(&'a mut JudgedObject, u64)>> {
    let mut chosen: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    for object in objects {
        if let Some((by, bytes)) = chosen_to_move(rules, object) {
            chosen.entry(by).or_default().push((object, bytes));
        }
    }
    chosen
}

impl Core {
    /// What is chosen to move beyond its part of a day waits for the next one. Something always moves.
    pub(crate) async fn keep_share(&self, judge: &Judge, objects: &mut [JudgedObject]) -> Result<(), Fault> {
        let chosen = chosen(&judge.rules, objects);
        if chosen.is_empty() {
            return Ok(());
        }
        let row = self.engine.get(&[moved_today()]).await?.remove(0);
        let moved = read(row.as_ref()).on(day_of(judge.now));
        for (by, objects) in chosen {
            let rule = &judge.rules.all()[by];
            let share = rule.objective.daily.unwrap_or(Share::DAILY);
            let learner = judge.choosers.get(&by).and_then(|chooser| chooser.learner.as_ref());
            let limit = share.of(learner.map_or(0, |learner| learner.about().1));
            let mut sum = moved.bytes.get(&rule.name).copied().unwrap_or_default();
            for (object, bytes) in objects {
                let after = sum.saturating_add(bytes);
                if sum == 0 || after <= limit {
                    sum = after;
                    continue;
                }
                let JudgedObject { wanted, extents, .. } = object;
                for extent in extents.iter_mut().filter(|extent| is_chosen(&judge.rules, wanted, by, extent)) {
                    extent.put_off(|_| Some(format!("at most {share} of it moves in a day")));
                }
            }
        }
        Ok(())
    }

    /// Writes down what was chosen and begins to move.
    pub(crate) async fn note_share(&self, judge: &Judge, objects: &mut [JudgedObject]) -> Result<(), Fault> {
        let sum = |objects: Vec<(&mut JudgedObject, u64)>| objects.into_iter().map(|(_, bytes)| bytes).sum::<u64>();
        let name = |by: usize| judge.rules.all()[by].name.clone();
        let begun: Vec<(String, u64)> =
            chosen(&judge.rules, objects).into_iter().map(|(by, all)| (name(by), sum(all))).collect();
        if begun.is_empty() {
            return Ok(());
        }
        let day = day_of(judge.now);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let mut moved = read(rows.get(&moved_today())).on(day);
            for (name, bytes) in &begun {
                let sum = moved.bytes.entry(name.clone()).or_default();
                *sum = sum.saturating_add(*bytes);
            }
            let row = serde_json::to_vec(&moved).map_err(|error| Fault::Damaged(error.to_string()))?;
            Ok((vec![Write::Put(moved_today(), row)], ()))
        };
        Ok(engine::commit(&*self.engine, vec![Read::Row(moved_today())], decide).await?)
    }
}

fn read(row: Option<&bytes::Bytes>) -> Moved {
    row.and_then(|row| serde_json::from_slice(row).ok()).unwrap_or_default()
}
