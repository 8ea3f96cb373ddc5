//! What is wished, over the silos as they are now.

use std::time::Duration;

use super::Inventory;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::objective::expression::Wrong;
use crate::objective::{Objective, Objectives, Rules, SiloFact};
use std::sync::Arc;

impl Inventory {
    /// Whether nobody wishes anything.
    pub fn wishes_nothing(&self) -> bool {
        self.objectives.is_empty() && self.switches.is_empty()
    }

    /// Whether what is read gets one more copy, somewhere.
    pub fn copies_what_is_read(&self) -> bool {
        self.objectives.values().any(|(wish, _)| !wish.is_paused() && !wish.copy_on_read.is_empty())
    }

    /// The same of objects of this name.
    pub fn copies_reads_of(&self, bucket: &str, key: &str) -> bool {
        let copies =
            |wish: &Objective| !wish.is_paused() && !wish.copy_on_read.is_empty() && wish.on.covers(bucket, key);
        self.objectives.values().any(|(wish, _)| copies(wish))
    }

    /// How long what is wished stays as it is, as far as that is a matter of time alone; none where it always does.
    pub fn wishes_change_in(&self, now: UnixMs) -> Option<Duration> {
        let until = |moment: Option<jiff::Timestamp>| {
            let left = moment?.as_millisecond().checked_sub(now).filter(|left| *left > 0)?;
            Some(Duration::from_millis(left.unsigned_abs()))
        };
        let of = |(wish, _): &(Objective, _)| {
            let hours = wish.hours.map(|hours| hours.begin_in(now)).filter(|wait| !wait.is_zero());
            [hours, until(wish.not_before), until(wish.not_after)]
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
        let in_force = self.objectives.iter().filter(|(_, (wish, _))| !wish.is_paused());
        self.rules_of(&in_force.map(|(name, wish)| (name.clone(), wish.clone())).collect())
    }

    /// The same with all that are paused, as if they were not.
    pub fn rules_unpaused(&self) -> Result<Rules, Fault> {
        self.refuse_unread()?;
        Ok(self.rules_of(&self.objectives))
    }

    /// Those in force and this one, instead of one of the same name.
    pub fn rules_with(&self, name: &str, wish: &Objective) -> Result<Rules, Wrong> {
        let condition = wish.check()?;
        let mut all = self.objectives.clone();
        all.retain(|_, (wish, _)| !wish.is_paused());
        all.insert(name.to_owned(), (wish.clone(), condition));
        Ok(self.rules_of(&all))
    }

    pub(crate) fn refuse_unread(&self) -> Result<(), Fault> {
        self.unread.first_key_value().map_or(Ok(()), |(name, unread)| Err(unread.fault(name)))
    }

    /// Those in force, but for switches.
    pub fn rules_without_switches(&self) -> Rules {
        let in_force = self.objectives.iter().filter(|(_, (wish, _))| !wish.is_paused());
        self.declared(&in_force.map(|(name, wish)| (name.clone(), wish.clone())).collect())
    }

    fn rules_of(&self, objectives: &Objectives) -> Rules {
        let rules = self.declared(objectives);
        self.switches.iter().fold(rules, |rules, switch| rules.with_switch(switch.from, switch.to))
    }

    /// What these say of the silos as they are now.
    pub(crate) fn declared(&self, objectives: &Objectives) -> Rules {
        let fact =
            |open: &Arc<OpenSilo>| SiloFact { takes: open.candidate(), labels: open.row.declared.labels.clone() };
        Rules::new(objectives, self.silos.iter().map(|(id, open)| (*id, fact(open))).collect())
    }
}
