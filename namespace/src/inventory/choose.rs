//! Where new bytes go: where objectives want them, else where the write policy sends them, and never where one forbids it.

use std::sync::Arc;

use super::{Access, Inventory, OpenSilo, WritePolicy};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::objective::Wanted;
use crate::objective::expression::Subject;
use crate::placement::{Candidate, choose, down};

/// Silos that take a new body.
pub(crate) struct Chosen<'a> {
    /// The best first; at least one.
    pub silos: Vec<&'a Arc<OpenSilo>>,
    wanted: Wanted,
}

impl Chosen<'_> {
    /// Whether an objective wants the body elsewhere than on this silo.
    pub(crate) fn is_elsewhere(&self, silo: SiloId) -> bool {
        self.wanted.by.is_some() && !self.wanted.on.contains(&silo)
    }
}

impl Inventory {
    /// What objectives in force want of an object that is about to be written.
    pub(crate) fn wanted(&self, subject: &Subject<'_>) -> Result<Wanted, Fault> {
        if self.objectives.is_empty() && self.unread.is_empty() {
            return Ok(Wanted::default());
        }
        let rules = self.placing.get_or_init(|| self.rules()).as_ref().map_err(Clone::clone)?;
        Ok(rules.wanted(&rules.conditions(subject)))
    }

    /// The silos a body of this size may go to by the write policy of its bucket, whether they take any now or not.
    pub(crate) fn meant_for(&self, bucket: &str, size: u64) -> Vec<SiloId> {
        let own = self.silos.values().filter(|open| open.row.declared.access == Access::Own);
        let any = own.map(|open| Candidate { cordoned: false, up: true, room: None, ..open.candidate() });
        choose(self.policy(bucket), &any.collect::<Vec<_>>(), size)
    }

    fn policy(&self, bucket: &str) -> Option<&WritePolicy> {
        self.bucket_write.get(bucket).or(self.write.as_ref())
    }

    /// The silos that a new body may go to.
    pub(crate) fn candidates(&self, subject: &Subject<'_>) -> Result<Chosen<'_>, Fault> {
        let (policy, size, wanted) = (self.policy(subject.bucket), subject.size, self.wanted(subject)?);
        let allowed = self.silos.values().filter(|open| !wanted.never.contains_key(&open.id));
        let allowed: Vec<Candidate> = allowed.map(|open| open.candidate()).collect();
        let named = |id: &SiloId| allowed.iter().find(|silo| silo.id == *id && silo.takes(size)).map(|silo| silo.id);
        let mut chosen: Vec<SiloId> = wanted.on.iter().filter_map(named).collect();
        // Better elsewhere for a while than not at all.
        let otherwise = choose(policy, &allowed, size);
        chosen.extend(otherwise.into_iter().filter(|id| !wanted.on.contains(id)));
        let silos: Vec<_> = chosen.iter().filter_map(|id| self.silos.get(id)).collect();
        if !silos.is_empty() {
            return Ok(Chosen { silos, wanted });
        }
        if let Some(open) = down(policy, &allowed, size).and_then(|id| self.silos.get(&id)) {
            return Err(Fault::Unavailable(format!("silo `{}` is down", open.row.name)));
        }
        let forbidding = wanted.never.values().next().and_then(|by| self.placing.get()?.as_ref().ok()?.all().get(*by));
        Err(forbidding.map_or(Fault::NoRoom, |rule| {
            Fault::Unavailable(format!("objective `{}` leaves no silo that takes new bytes", rule.name))
        }))
    }
}
