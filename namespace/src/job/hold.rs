//! What is placed and held: an objective like others, which ends by itself.

use jiff::Timestamp;

use super::{Order, OrderError, PlanSummary};
use crate::fault::Fault;
use crate::inventory::{ApplyError, Declared};
use crate::namespace::{Core, Namespace};
use crate::objective::{Objective, Scope, Selector};

/// What their names begin with.
const HOLD: &str = "hold-";

impl Namespace {
    /// Holds what an order places where it places it, until a moment and whatever other objectives want. Answers the name of
    /// the objective that does; refuses what `start_job` would refuse of that order then.
    pub async fn hold(&self, order: &Order, until: Timestamp) -> Result<String, OrderError> {
        let (name, wish) = self.held(order, until).await?;
        let declared = Declared { objectives: [(name.clone(), wish)].into(), ..Declared::default() };
        self.apply(&declared, false).await.map_err(|error| match error {
            ApplyError::Fault(fault) => OrderError::Fault(fault),
            other => OrderError::Invalid(other.to_string()),
        })?;
        Ok(name)
    }

    /// What an order would move that is held until a moment, and what that costs. Changes nothing.
    pub async fn plan_held(&self, order: &Order, until: Timestamp) -> Result<PlanSummary, OrderError> {
        self.held(order, until).await?;
        self.core.would(order).await
    }

    async fn held(&self, order: &Order, until: Timestamp) -> Result<(String, Objective), OrderError> {
        let Order::Place { bucket, prefix, on } = order else {
            return Err(OrderError::Invalid("only what is placed can be held".to_owned()));
        };
        self.core.wish(order)?;
        self.bucket_of(bucket.as_str()).await?;
        self.core.refuse_beside(order).await?;
        let scope = Scope { bucket: Some(bucket.to_string()), prefix: prefix.clone() };
        let (inventory, silo) = (self.inventory(), self.core.silo_named(on)?);
        let rules = inventory.rules()?;
        let many = |copies: Option<u32>| copies.filter(|copies| *copies > 1);
        if let Some((name, copies)) =
            rules.about(&scope).find_map(|rule| Some((&rule.name, many(rule.objective.copies)?)))
        {
            let reason = format!("objective `{name}` wants {copies} copies, and what is held is on one silo");
            return Err(OrderError::Invalid(reason));
        }
        let place = vec![Selector::Name(on.clone())];
        let wish = Objective { on: scope, place, first: true, not_after: Some(until), ..Objective::default() };
        let name =
            format!("{HOLD}{}", const_hex::encode(&blake3::hash(wish.on.to_string().as_bytes()).as_bytes()[..6]));
        let rules = inventory.rules_with(&name, &wish).map_err(|wrong| OrderError::Invalid(wrong.to_string()))?;
        if let Some(rule) = rules.against(&wish.on, silo) {
            return Err(OrderError::Against(rule.name.clone()));
        }
        self.core.refuse_undone_by(order, rules).await?;
        Ok((name, wish))
    }
}

impl Core {
    /// Takes away what holds nothing any more.
    pub(crate) async fn forget_holds(&self) -> Result<(), Fault> {
        let now = self.clock.now();
        let is_over = move |wish: &Objective| wish.not_after.is_some_and(|until| until.as_millisecond() <= now);
        let inventory = self.inventory();
        let held = inventory.objectives.iter().filter(|(name, _)| name.starts_with(HOLD));
        for (name, _) in held.filter(|(_, (wish, _))| is_over(wish)) {
            self.forget_objective(name, is_over).await?;
        }
        Ok(())
    }
}
