//! What moves by itself, and what scrubs read by themselves, costs at most so much a month each: it is set aside before anything is
//! done.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{self, Key, Read, Rows, Write};
use crate::fault::Fault;
use crate::heat::DAY;
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
    /// The same in the month that it is; nothing of an earlier one. A clock that is behind begins none, and one that was months
    /// ahead ends none.
    fn in_month(self, now: UnixMs) -> Self {
        let (month, next) = (month_of(now), month_of(now + 31 * DAY));
        if (month.as_str()..=next.as_str()).contains(&self.month.as_str()) {
            return self;
        }
        Self { month, money: Money::ZERO }
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

fn month_of(moment: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(moment).unwrap_or_default().strftime("%Y-%m").to_string()
}

/// What was set aside for each is its part of what was set aside for all: together they may cost less.
fn share(objects: &mut [JudgedObject], all: Money) {
    let alone: Money = objects.iter().map(|object| object.aside).sum();
    for object in objects {
        object.aside = object.aside.share(all, alone);
    }
}

/// Nothing of it is begun.
fn wait(object: &mut JudgedObject, budget: Money) {
    object.aside = Money::ZERO;
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

    /// Sets aside what the steps of objects cost, and notes it there. Those that cost something wait where the budget is spent, unless
    /// they must not.
    pub(crate) async fn set_aside(&self, judge: &Judge, objects: &mut [JudgedObject], must: bool) -> Result<(), Fault> {
        let Some(budget) = self.options.align.as_ref().and_then(|align| align.budget) else { return Ok(()) };
        let prices = self.prices(judge);
        let cost = |objects: &[JudgedObject]| cost_of(&prices, objects, judge.now);
        let all = cost(objects);
        let bound = if must { None } else { Some(budget) };
        if all == Money::ZERO {
            return Ok(());
        }
        for object in &mut *objects {
            object.aside = cost(std::slice::from_ref(object));
        }
        if self.spend(spent_key(), all, bound).await? {
            share(objects, all);
            return Ok(());
        }
        let (spent, mut begun, mut paid) = (self.spent().await?.money, Money::ZERO, Vec::new());
        for object in objects {
            let own = object.aside;
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
        if begun != Money::ZERO && !self.spend(spent_key(), begun, Some(budget)).await? {
            for object in paid {
                wait(object, budget);
            }
        }
        Ok(())
    }

    /// Gives back what was set aside for what was never begun, in the month that it was set aside in.
    pub(crate) async fn give_back(&self, money: Money, since: UnixMs) -> Result<(), Fault> {
        if money == Money::ZERO || month_of(since) != month_of(self.clock.now()) {
            return Ok(());
        }
        self.change_spent(spent_key(), move |spent| Some(spent.less(money))).await.map(drop)
    }

    /// Sets money aside in a row, unless that is more than there is; without a budget it is but counted.
    pub(crate) async fn spend(&self, from: Key, cost: Money, budget: Option<Money>) -> Result<bool, Fault> {
        let within = move |spent: &Money| budget.is_none_or(|budget| *spent <= budget);
        self.change_spent(from, move |spent| Some(spent + cost).filter(within)).await
    }

    /// Changes what was spent this month by what stands in this row, unless there is nothing to be written.
    async fn change_spent(
        &self,
        from: Key,
        change: impl Fn(Money) -> Option<Money> + Send + Sync + 'static,
    ) -> Result<bool, Fault> {
        let (now, asked) = (self.clock.now(), vec![Read::Row(from.clone())]);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let spent = read(rows.get(&from)).in_month(now);
            let Some(money) = change(spent.money) else { return Ok((Vec::new(), false)) };
            let row = serde_json::to_vec(&Spent { money, ..spent });
            let row = row.map_err(|error| Fault::Damaged(error.to_string()))?;
            Ok((vec![Write::Put(from.clone(), row)], true))
        };
        Ok(engine::commit(&*self.engine, asked, decide).await?)
    }
}

fn read(row: Option<&bytes::Bytes>) -> Spent {
    row.and_then(|row| serde_json::from_slice(row).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that was years ahead once left a month behind that never ended.
    #[test]
    fn a_month_ends_and_one_that_is_far_ahead_counts_for_nothing() {
        let now = jiff::Timestamp::from_second(1_775_000_000).unwrap().as_millisecond();
        for (month, left) in
            [("2026-03", true), ("2026-04", true), ("2026-02", false), ("2026-06", false), ("2035-01", false)]
        {
            let spent = Spent { month: month.to_owned(), money: "5".parse().unwrap() };
            assert_eq!(spent.in_month(now).money != Money::ZERO, left, "{month}");
        }
    }
}
