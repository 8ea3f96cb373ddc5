//! What is wished, over the silos as they are now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Inventory;
use crate::clock::UnixMs;
use crate::extent::{JobId, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::objective::expression::{Condition, Wrong};
use crate::objective::{LEFT_FREE, Objective, Objectives, Rules, Seen, SiloFact, SiloSeen};

impl Inventory {
    /// Whether nobody wishes anything.
    pub fn wishes_nothing(&self) -> bool {
        self.objectives.is_empty() && self.switches.is_empty()
    }

    /// Objectives in force by which what is read gets one more copy.
    pub(crate) fn copying(&self) -> impl Iterator<Item = &Objective> {
        self.in_force().map(|(_, (wish, _))| wish).filter(|wish| !wish.copy_on_read.is_empty())
    }

    /// Whether an objective in force makes what is cold leave a silo that fills.
    pub(crate) fn fills_silos(&self) -> bool {
        self.in_force().any(|(_, (wish, _))| wish.fill.is_some())
    }

    /// Whether an objective in force wants several copies, keeps one somewhere, or forbids a silo: what that asks for cannot wait.
    pub(crate) fn protects(&self) -> bool {
        let protects = |wish: &Objective| {
            wish.copies.is_some_and(|copies| copies > 1) || !wish.keep.is_empty() || !wish.never.is_empty()
        };
        self.in_force().any(|(_, (wish, _))| protects(wish))
    }

    fn in_force(&self) -> impl Iterator<Item = (&String, &(Objective, Option<Condition>))> {
        self.objectives.iter().filter(|(_, (wish, _))| !wish.is_paused())
    }

    /// How long what is wished stays as it is, as far as that is a matter of time alone; none where it always does.
    pub fn wishes_change_in(&self, now: UnixMs) -> Option<Duration> {
        let of = |(wish, _): &(Objective, _)| {
            let hours = wish.hours.map(|hours| hours.begin_in(now)).filter(|wait| !wait.is_zero());
            [hours, left_until(wish.not_before, now), left_until(wish.not_after, now)]
        };
        self.objectives.values().flat_map(of).flatten().min()
    }

    /// How long all that is wished now may be gone on with, as far as that is a matter of time alone; none where it always may.
    pub(crate) fn wishes_end_in(&self, now: UnixMs) -> Option<Duration> {
        let of = |(wish, _): &(Objective, _)| {
            let hours = wish.hours.filter(|hours| hours.contain(now)).map(|hours| hours.end_in(now));
            [hours, left_until(wish.not_after, now)]
        };
        self.objectives.values().flat_map(of).flatten().min()
    }

    /// The objectives in force, over the silos as they are now; none as long as one of them cannot be read here, since it may
    /// forbid what the others want.
    pub fn rules(&self) -> Result<Rules, Fault> {
        self.refuse_unread()?;
        Ok(self.rules_in_force())
    }

    pub(super) fn rules_in_force(&self) -> Rules {
        self.with_switches(self.rules_without_switches())
    }

    /// The same with all that are paused, as if they were not.
    pub fn rules_unpaused(&self) -> Result<Rules, Fault> {
        self.refuse_unread()?;
        Ok(self.with_switches(self.declared(&self.objectives)))
    }

    /// Those in force and this one, instead of one of the same name.
    pub fn rules_with(&self, name: &str, wish: &Objective) -> Result<Rules, Wrong> {
        let condition = wish.check()?;
        self.refuse_unknown(condition.as_ref())?;
        let mut all: Objectives = self.in_force().map(|(name, wish)| (name.clone(), wish.clone())).collect();
        all.insert(name.to_owned(), (wish.clone(), condition));
        Ok(self.with_switches(self.declared(&all)))
    }

    pub(crate) fn refuse_unread(&self) -> Result<(), Fault> {
        self.unread.first_key_value().map_or(Ok(()), |(name, unread)| Err(unread.fault(name)))
    }

    /// Those in force, but for switches.
    pub fn rules_without_switches(&self) -> Rules {
        self.declared(&self.in_force().map(|(name, wish)| (name.clone(), wish.clone())).collect())
    }

    fn with_switches(&self, rules: Rules) -> Rules {
        self.switches.iter().fold(rules, |rules, switch| rules.with_switch(switch.from, switch.to))
    }

    /// The objective for whose sake something moved by itself: what it counted for was made of its name.
    pub(crate) fn objective_of(&self, job: JobId) -> Option<String> {
        self.objectives.keys().find(|name| crate::job::for_objective(name) == job).cloned()
    }

    /// What these say of the silos as they are now.
    pub(crate) fn declared(&self, objectives: &Objectives) -> Rules {
        Rules::new(objectives, self.silo_facts())
    }

    /// Silos as conditions see them now.
    pub(crate) fn seen(&self) -> Seen {
        let seen = |open: &Arc<OpenSilo>| {
            let takes = open.candidate();
            let labels = open.row.declared.labels.clone();
            (takes.name, SiloSeen { full: open.fullness(), up: takes.up, cordoned: open.row.cordoned, labels })
        };
        self.silos.values().map(seen).collect()
    }

    /// What conditions of objectives in force say of silos now: all objects are compared anew where that changes.
    pub(crate) fn told_of_silos(&self) -> Vec<String> {
        let conditions = self.in_force().filter_map(|(_, (_, condition))| condition.as_ref());
        let mut asking = conditions.filter(|condition| condition.asks_silos()).peekable();
        let seen = if asking.peek().is_some() { self.seen() } else { Seen::new() };
        asking.flat_map(|condition| condition.told(&seen)).collect()
    }

    /// Refuses a condition that asks for a silo that there is not.
    pub(crate) fn refuse_unknown(&self, condition: Option<&Condition>) -> Result<(), Wrong> {
        condition.map_or(Ok(()), |condition| condition.refuse_unknown(|silo| self.named(silo).is_some()))
    }

    /// What is asked of silos, as they are now.
    pub(crate) fn silo_facts(&self) -> BTreeMap<SiloId, SiloFact> {
        let fact = |open: &Arc<OpenSilo>| {
            let free = open.space().map_or(0, |(space, _)| space.total / LEFT_FREE);
            let slack = open.room().map(|room| room.saturating_sub(free));
            SiloFact { takes: open.candidate(), labels: open.row.declared.labels.clone(), slack }
        };
        self.silos.iter().map(|(id, open)| (*id, fact(open))).collect()
    }
}

/// How long it is until a moment that is to come.
fn left_until(moment: Option<jiff::Timestamp>, now: UnixMs) -> Option<Duration> {
    let left = moment?.as_millisecond().checked_sub(now).filter(|left| *left > 0)?;
    Some(Duration::from_millis(left.unsigned_abs()))
}
