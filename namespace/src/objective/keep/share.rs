//! Of what is chosen by itself only so much moves in a day: what was learnt may be wrong, and prices, too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::namespace::Core;
use crate::objective::judge::JudgedObject;
use crate::objective::{Judge, Share, day_of};
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
        if self.day >= day { self } else { Self { day, bytes: BTreeMap::new() } }
    }
}

/// Bytes that would move for the sake of what was chosen.
fn chosen_to_move(object: &JudgedObject) -> Option<(usize, u64)> {
    let by = object.choice.as_ref()?.by;
    let ways = object.extents.iter().filter(|extent| extent.standing.way().is_some_and(|way| way.by == by));
    let bytes: u64 = ways.map(|extent| extent.row.size).sum();
    (bytes > 0).then_some((by, bytes))
}

impl Core {
    /// What is chosen to move beyond its part of a day waits for the next one. Something always moves.
    pub(crate) async fn keep_share(&self, judge: &Judge, objects: &mut [JudgedObject]) -> Result<(), Fault> {
        let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (by, bytes) in objects.iter().filter_map(chosen_to_move) {
            wanted.entry(by).or_default().push(bytes);
        }
        for (by, bytes) in wanted {
            let rule = &judge.rules.all()[by];
            let share = rule.objective.daily.unwrap_or(Share::DAILY);
            let all =
                judge.choosers.get(&by).and_then(|chooser| chooser.learner.as_ref()).map_or(0, |all| all.about().1);
            let mut may = self.may_move(&rule.name, day_of(judge.now), share.of(all), bytes).await?;
            for object in objects.iter_mut() {
                if chosen_to_move(object).is_none_or(|(own, _)| own != by) {
                    continue;
                }
                if may > 0 {
                    may -= 1;
                    continue;
                }
                for extent in
                    object.extents.iter_mut().filter(|extent| extent.standing.way().is_some_and(|way| way.by == by))
                {
                    extent.put_off(|_| Some(format!("at most {share} of it moves in a day")));
                }
            }
        }
        Ok(())
    }

    /// How many of these, from the first on, may move today.
    async fn may_move(&self, objective: &str, day: i32, limit: u64, all: Vec<u64>) -> Result<usize, Fault> {
        let objective = objective.to_owned();
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let row = rows.get(&moved_today()).and_then(|row| serde_json::from_slice::<Moved>(row).ok());
            let mut moved = row.unwrap_or_default().on(day);
            let sum = moved.bytes.entry(objective.clone()).or_default();
            let mut may = 0;
            for bytes in &all {
                if *sum > 0 && sum.saturating_add(*bytes) > limit {
                    break;
                }
                (*sum, may) = (sum.saturating_add(*bytes), may + 1);
            }
            let row = serde_json::to_vec(&moved).map_err(|error| Fault::Damaged(error.to_string()))?;
            let writes = if may > 0 { vec![Write::Put(moved_today(), row)] } else { Vec::new() };
            Ok((writes, may))
        };
        Ok(engine::commit(&*self.engine, vec![Read::Row(moved_today())], decide).await?)
    }
}
