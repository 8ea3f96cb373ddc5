//! What moves by itself, and what scrubs read by themselves, costs at most so much a month each: it is set aside before anything is
//! done.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{self, Key, Read, Rows, Write};
use crate::fault::Fault;
use crate::namespace::Core;
use crate::objective::Judge;
use crate::objective::judge::JudgedObject;
use crate::objective::money::{Ledger, Prices};
use crate::price::Money;
use crate::table::silos::spent as spent_key;

/// What moves, or scrubs, by themselves cost in a month, by the prices of silos.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// `2026-11`, in UTC.
    pub month: String,
    /// Set aside for what was begun, whatever came of it.
    pub money: Money,
}

impl Spent {
    /// The same in the month that it is; nothing of an earlier one. A clock that is behind begins none.
    fn in_month(self, now: UnixMs) -> Self {
        let month = jiff::Timestamp::from_millisecond(now).unwrap_or_default().strftime("%Y-%m").to_string();
        if self.month >= month { self } else { Self { month, money: Money::ZERO } }
    }
}

/// What the steps of an object cost.
fn cost_of(prices: &Prices, objects: &[JudgedObject], now: UnixMs) -> Money {
    let mut ledger = Ledger::new(prices);
    for object in objects {
        ledger.add(object, now);
    }
    ledger.finish().1.cost.once.total()
}

/// Nothing of it is begun.
fn wait(object: &mut JudgedObject, budget: Money) {
    for extent in &mut object.extents {
        extent.put_off(|_| Some(is_spent(budget)));
    }
}

fn is_spent(budget: Money) -> String {
    format!("the budget of moves by themselves, {budget} a month, is spent")
}

impl Core {
    /// What moves spent this month.
    pub(crate) async fn spent(&self) -> Result<Spent, Fault> {
        self.spent_in(spent_key()).await
    }

    /// What was spent this month by what stands in this row.
    pub(crate) async fn spent_in(&self, row: Key) -> Result<Spent, Fault> {
        let row = self.engine.get(&[row]).await?.remove(0);
        Ok(read(row.as_ref()).in_month(self.clock.now()))
    }

    /// Why not all of what costs this moves by itself this month, where it does not.
    pub(crate) async fn beyond_budget(&self, cost: Money) -> Result<Option<String>, Fault> {
        let Some(budget) = self.options.align.as_ref().and_then(|align| align.budget) else { return Ok(None) };
        let beyond = self.spent().await?.money + cost > budget;
        Ok((cost != Money::ZERO && beyond).then(|| is_spent(budget)))
    }

    /// Sets aside what the steps of objects cost. Those that cost something wait where the budget is spent.
    pub(crate) async fn set_aside(&self, judge: &Judge, objects: &mut [JudgedObject]) -> Result<(), Fault> {
        let Some(budget) = self.options.align.as_ref().and_then(|align| align.budget) else { return Ok(()) };
        let prices = self.prices(judge);
        let cost = |objects: &[JudgedObject]| cost_of(&prices, objects, judge.now);
        let all = cost(objects);
        if all == Money::ZERO || self.spend(spent_key(), all, budget).await? {
            return Ok(());
        }
        let (spent, mut begun, mut paid) = (self.spent().await?.money, Money::ZERO, Vec::new());
        for object in objects {
            let own = cost(std::slice::from_ref(object));
            if own == Money::ZERO {
                continue;
            }
            if spent + begun + own <= budget {
                begun += own;
                paid.push(object);
            } else {
                wait(object, budget);
            }
        }
        // Another gateway may have been faster.
        if begun != Money::ZERO && !self.spend(spent_key(), begun, budget).await? {
            for object in paid {
                wait(object, budget);
            }
        }
        Ok(())
    }

    /// Sets money aside in a row, unless that is more than there is.
    pub(crate) async fn spend(&self, from: Key, cost: Money, budget: Money) -> Result<bool, Fault> {
        let (now, asked) = (self.clock.now(), vec![Read::Row(from.clone())]);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let mut spent = read(rows.get(&from)).in_month(now);
            spent.money += cost;
            if spent.money > budget {
                return Ok((Vec::new(), false));
            }
            let row = serde_json::to_vec(&spent).map_err(|error| Fault::Damaged(error.to_string()))?;
            Ok((vec![Write::Put(from.clone(), row)], true))
        };
        Ok(engine::commit(&*self.engine, asked, decide).await?)
    }
}

fn read(row: Option<&bytes::Bytes>) -> Spent {
    row.and_then(|row| serde_json::from_slice(row).ok()).unwrap_or_default()
}
