//! Where new bytes go: where objectives want them, else where the write policy sends them, and never where one forbids it.

use std::sync::Arc;

use super::{Access, Inventory, OpenSilo, WritePolicy};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::objective::expression::Subject;
use crate::objective::{Rules, Scope, Wanted};
use crate::placement::{Candidate, choose, down};

/// Silos that take a new body.
pub(crate) struct Chosen<'a> {
    /// The best first; at least one.
    pub silos: Vec<&'a Arc<OpenSilo>>,
    wanted: Wanted,
    /// Conditions asked how it is read, which nobody knew then, or for its labels, which may have changed since.
    unsure: bool,
}

/// What is still to be done for objectives once a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Nothing: it is where it is wanted.
    Rest,
    /// It is wanted elsewhere or in more copies, and nobody waits for that.
    AlignSoon,
    /// All copies are to be durable before the write is answered.
    AlignNow,
}

impl Chosen<'_> {
    /// What is still to be done once the body is on this silo.
    pub(crate) fn then(&self, silo: SiloId) -> Then {
        match () {
            () if self.wanted.all_before_answer() => Then::AlignNow,
            () if self.wanted.is_met_by(silo) && !self.unsure => Then::Rest,
            () => Then::AlignSoon,
        }
    }
}

impl Inventory {
    /// The objectives in force that an object of this name is written by; none where nothing is wished.
    fn placing(&self, bucket: &str, key: &str) -> Result<Option<&Rules>, Fault> {
        let of_it = |on: &Option<Scope>| on.as_ref().is_none_or(|on| on.covers(bucket, key));
        if let Some((name, unread)) = self.unread.iter().find(|(_, unread)| of_it(&unread.on)) {
            return Err(unread.fault(name));
        }
        if self.wishes_nothing() {
            return Ok(None);
        }
        Ok(Some(self.placing.get_or_init(|| self.rules_in_force())))
    }

    /// Whether an object that is about to be written may share the bytes of another, of this bucket and key: nothing is forbidden to
    /// it, kept or wanted in copies, but by objectives without a condition that are about the other, too. Shared
    /// bytes may go where the other is wanted.
    pub(crate) fn may_share(&self, subject: &Subject<'_>, (bucket, key): (&str, &str)) -> Result<bool, Fault> {
        let Some(rules) = self.placing(subject.bucket, subject.key)? else { return Ok(true) };
        let wanted = self.wanted(rules, subject);
        let alike = |by: &usize| {
            let objective = &rules.all()[*by].objective;
            objective.when.is_none() && objective.on.covers(bucket, key)
        };
        let copies = wanted.copies.as_ref().filter(|copies| copies.number > 1).map(|copies| &copies.by);
        let kept = wanted.keep.iter().map(|(by, _)| by);
        Ok(wanted.never.values().chain(copies).chain(kept).all(alike))
    }

    /// What is wanted of an object that is about to be written, with silos as they are now.
    fn wanted(&self, rules: &Rules, subject: &Subject<'_>) -> Wanted {
        let seen = rules.ask_silos().then(|| self.seen());
        rules.wanted(&rules.conditions(&Subject { seen: seen.as_ref(), ..subject.clone() }))
    }

    /// Whether a write of this object is answered only once all copies that are wanted are durable.
    pub(crate) fn waits_for_copies(&self, subject: &Subject<'_>) -> bool {
        let rules = self.placing(subject.bucket, subject.key);
        matches!(rules, Ok(Some(rules)) if self.wanted(rules, subject).all_before_answer())
    }

    /// Whether an objective asks for the labels of an object of this name.
    pub(crate) fn asks_labels_of(&self, bucket: &str, key: &str) -> bool {
        // Where one cannot be read, the write is refused in any case.
        matches!(self.placing(bucket, key), Ok(Some(rules)) if rules.need_of(bucket, key).labels)
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
        let (policy, size) = (self.policy(subject.bucket), subject.size);
        let rules = self.placing(subject.bucket, subject.key)?;
        let mut wanted = rules.map(|rules| self.wanted(rules, subject)).unwrap_or_default();
        if let Some(rule) = rules.zip(wanted.by).map(|(rules, by)| &rules.all()[by]) {
            self.learnt.order(rule, subject, &mut wanted.on);
        }
        let needs = rules.map(|rules| rules.need_of(subject.bucket, subject.key)).unwrap_or_default();
        let unsure = needs.heat || needs.labels;
        let allowed = self.silos.values().filter(|open| !wanted.never.contains_key(&open.id));
        let allowed: Vec<Candidate> = allowed.map(|open| open.candidate()).collect();
        let named = |id: &SiloId| allowed.iter().find(|silo| silo.id == *id && silo.takes(size)).map(|silo| silo.id);
        let mut chosen: Vec<SiloId> = wanted.on.iter().filter_map(named).collect();
        // Better elsewhere for a while than not at all.
        let otherwise = choose(policy, &allowed, size);
        chosen.extend(otherwise.into_iter().filter(|id| !wanted.on.contains(id)));
        let silos: Vec<_> = chosen.iter().filter_map(|id| self.silos.get(id)).collect();
        if !silos.is_empty() {
            return Ok(Chosen { silos, wanted, unsure });
        }
        if let Some(open) = down(policy, &allowed, size).and_then(|id| self.silos.get(&id)) {
            return Err(Fault::Unavailable(format!("silo `{}` is down", open.row.name)));
        }
        let all: Vec<Candidate> = self.silos.values().map(|open| open.candidate()).collect();
        let first = choose(policy, &all, size).first().and_then(|id| wanted.never.get(id));
        Err(match (rules, first) {
            (Some(rules), Some(by)) => {
                let name = &rules.all()[*by].name;
                Fault::Unavailable(format!("objective `{name}` leaves no silo that takes new bytes"))
            }
            _ => Fault::NoRoom,
        })
    }
}
