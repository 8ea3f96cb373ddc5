//! What scrubs by themselves cost: it is set aside before anything is read.

use serde::{Deserialize, Serialize};

use super::{Item, ScrubOptions};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::job::Pace;
use crate::limits::SCRUB_EVERY;
use crate::namespace::{Core, Namespace};
use crate::objective::Spent;
use crate::pack::{Wanted, reads_of};
use crate::price::{Money, Reads};
use crate::table::silos::spent_by_scrubs;

/// What scrubs by themselves may cost a month, and what they did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubBudget {
    /// At most.
    pub budget: Money,
    /// This month.
    pub spent: Spent,
}

/// What it costs to look at replicas that are read together; nothing where no price is known.
pub(crate) fn cost_of(open: &OpenSilo, items: &[Item]) -> Money {
    let packed: Vec<Wanted> = items.iter().filter_map(|item| Wanted::at(&item.location)).collect();
    let (reads, bytes) = reads_of(&packed);
    let alone = items.iter().filter(|item| Wanted::at(&item.location).is_none()).map(|item| item.row.size);
    let alone: Vec<u64> = alone.filter(|size| *size > 0).collect();
    let reads = Reads { thousandths: (reads + alone.len() as u64) * 1000, bytes: bytes + alone.iter().sum::<u64>() };
    open.card.map_or(Money::ZERO, |card| card.read(reads))
}

/// Why what would be read by itself waits.
pub(crate) fn is_spent(budget: Money) -> String {
    format!("the budget of scrubs by themselves, {budget} a month, is spent")
}

impl Namespace {
    /// What scrubs by themselves spent this month; none where they have no budget.
    pub async fn scrub_budget(&self) -> Result<Option<ScrubBudget>, Fault> {
        let Some(budget) = self.core.scrub_budget() else { return Ok(None) };
        Ok(Some(ScrubBudget { budget, spent: self.core.spent_in(spent_by_scrubs()).await? }))
    }
}

impl Core {
    /// How silos are scrubbed by themselves; what readers meet is looked at in any case.
    pub(super) fn scrub_options(&self) -> ScrubOptions {
        let usual = ScrubOptions { every: SCRUB_EVERY, pace: Pace::default(), budget: None };
        self.options.scrub.clone().unwrap_or(usual)
    }

    pub(crate) fn scrub_budget(&self) -> Option<Money> {
        self.options.scrub.as_ref().and_then(|scrub| scrub.budget)
    }

    /// Sets aside what reading by itself costs, unless that is more than is left of the month's budget.
    pub(crate) async fn pay_for_scrub(&self, cost: Money) -> Result<bool, Fault> {
        match self.scrub_budget().filter(|_| cost != Money::ZERO) {
            Some(budget) => self.spend(spent_by_scrubs(), cost, Some(budget)).await,
            None => Ok(true),
        }
    }
}
