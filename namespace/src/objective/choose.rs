//! Which silos something should be on, as far as they take it. Pure.

use super::Rules;
use super::decide::{Held, SiloFact, Spare, Wanted};
use crate::extent::SiloId;

/// Silos that something should be on, each for an objective's sake; and why there are not enough, for whose sake.
pub(super) struct Chosen {
    pub on: Vec<(SiloId, usize)>,
    pub lacks: Option<(usize, String)>,
}

struct Choosing<'a> {
    rules: &'a Rules,
    wanted: &'a Wanted,
    held: &'a Held,
    /// Silos that take it where no objective says where, the best first.
    otherwise: Vec<SiloId>,
    on: Vec<(SiloId, usize)>,
    lacks: Option<(usize, String)>,
    /// Why silos were passed over.
    reasons: Vec<String>,
}

impl Rules {
    /// The silos that it should be on, as far as they take it: what is held where it may be stays, and all of it where nobody
    /// says where or how many.
    pub(super) fn choose(&self, wanted: &Wanted, held: &Held, by: usize, otherwise: Vec<SiloId>) -> Chosen {
        let (on, lacks, reasons) = (Vec::new(), None, Vec::new());
        let mut choosing = Choosing { rules: self, wanted, held, otherwise, on, lacks, reasons };
        choosing.leave(by);
        if choosing.on.is_empty() {
            let candidates = choosing.candidates();
            choosing.keep(&candidates);
            choosing.place(by, &candidates);
        }
        choosing.along();
        choosing.spare();
        Chosen { on: choosing.on, lacks: choosing.lacks }
    }

    /// Whether a silo's copy is one that somebody wants; all are wanted where nobody says where or how many.
    pub(crate) fn wants(&self, wanted: &Wanted, held: &Held, silo: SiloId, otherwise: Vec<SiloId>) -> bool {
        let others = held.on.iter().filter(|id| **id != silo && !wanted.never.contains_key(*id)).count();
        let chosen = || self.choose(wanted, held, wanted.by.unwrap_or_default(), otherwise);
        wanted.said_by().is_some() && (others < wanted.number() || chosen().on.iter().any(|(on, _)| *on == silo))
    }

    /// Whether it would go elsewhere if it were too cold for a silo.
    pub(super) fn may_leave(&self, wanted: &Wanted, held: &Held, silo: SiloId, otherwise: Vec<SiloId>) -> bool {
        let mut leaving = wanted.clone();
        leaving.leaves.insert(silo);
        let chosen = self.choose(&leaving, held, wanted.by.unwrap_or_default(), otherwise);
        chosen.on.iter().all(|(on, _)| *on != silo)
    }
}

impl Wanted {
    /// Whether a silo has a copy only for the sake of how it is used.
    pub(super) fn is_spare(&self, held: &Held, silo: SiloId, otherwise: &[SiloId]) -> bool {
        let spare = |id: SiloId| self.may_be_spare(id, otherwise);
        spare(silo) && held.on.iter().any(|id| *id != silo && !spare(*id))
    }

    /// Whether a copy in a silo is but one more: new objects do not go there anyway.
    fn may_be_spare(&self, id: SiloId, otherwise: &[SiloId]) -> bool {
        let may = |spare: &Spare| spare.silo == id;
        let spare = self.spare.iter().flat_map(|(_, silos)| silos).any(may) && !otherwise.contains(&id);
        spare && !crate::seeded_bug!("spare-counts")
    }
}

impl Choosing<'_> {
    fn may(&self, id: SiloId) -> bool {
        !self.wanted.never.contains_key(&id)
    }

    /// A copy there is but one more.
    fn is_spare(&self, id: SiloId) -> bool {
        self.wanted.may_be_spare(id, &self.otherwise)
    }

    fn is_on(&self, id: SiloId) -> bool {
        self.on.iter().any(|(on, _)| *on == id)
    }

    /// What is held, where it may be. What is there but because it was read counts only where nothing else does.
    fn held(&self) -> Vec<SiloId> {
        let mut held: Vec<SiloId> = self.held.on.iter().copied().filter(|id| self.may(*id)).collect();
        if held.iter().any(|id| !self.is_spare(*id)) {
            held.retain(|id| !self.is_spare(*id));
        }
        held
    }

    /// Nobody says where, or how many: all stays.
    fn leave(&mut self, by: usize) {
        if self.wanted.said_by().is_none() {
            self.on = self.held().into_iter().map(|id| (id, by)).collect();
        }
    }

    /// Silos that it may be placed on, the best first.
    fn candidates(&self) -> Vec<SiloId> {
        let wanted = self.wanted;
        let mut candidates = if crate::seeded_bug!("fill-comes-back") { Vec::new() } else { self.held() };
        let closed = |id: &SiloId| self.rules.silos.get(id).is_none_or(|fact| fact.takes.cordoned);
        candidates.sort_by_key(|id| {
            let place = wanted.on.iter().position(|on| on == id);
            (!self.rules.is_up(*id), closed(id), place)
        });
        if wanted.by.is_some() {
            candidates.retain(|id| wanted.on.contains(id));
            // Off a silo that is filled, onto the next ones: never back.
            if let Some(last) = wanted.on.iter().rposition(|id| wanted.leaves.contains(id) && self.held.on.contains(id))
            {
                let (leaving, staying): (Vec<_>, _) = candidates.into_iter().partition(|id| wanted.leaves.contains(id));
                candidates = staying;
                candidates.extend(wanted.on.iter().skip(last + 1).filter(|id| !wanted.leaves.contains(id)));
                candidates.extend(leaving);
            }
            candidates.extend(&wanted.on);
            return self.without_followers(&candidates);
        }
        candidates.extend(self.otherwise.iter().filter(|id| self.may(**id)));
        if wanted.number() > 1 {
            candidates.extend(self.rules.silos.keys().filter(|id| self.may(**id) && !self.is_spare(**id)));
        }
        self.without_followers(&candidates)
    }

    /// A silo that another one follows and that one count once: what comes along is no copy of its own.
    fn without_followers(&self, candidates: &[SiloId]) -> Vec<SiloId> {
        let follows = |id: &SiloId| {
            let leads = |from: &SiloId| self.held.on.contains(from) && candidates.contains(from);
            self.wanted.along.iter().any(|(_, from, to)| to == id && leads(from))
        };
        candidates.iter().copied().filter(|id| !follows(id)).collect()
    }

    fn keep(&mut self, candidates: &[SiloId]) {
        for (by, keep) in &self.wanted.keep {
            if keep.iter().any(|id| self.is_on(*id)) {
                continue;
            }
            let mut order = keep.clone();
            order.sort_by_key(|id| (!candidates.contains(id), !self.held.on.contains(id), !self.rules.is_up(*id)));
            if !order.into_iter().any(|id| self.take(id, *by, None)) {
                self.lacks = Some((*by, self.lacking()));
            }
        }
    }

    fn place(&mut self, by: usize, candidates: &[SiloId]) {
        let wanted = self.wanted;
        let by = wanted.copies.as_ref().filter(|copies| copies.number > 1).map_or(by, |copies| copies.by);
        let place = wanted.by.unwrap_or(by);
        // Where nobody says where, the one that is kept is as good as any.
        let counts = |on: &SiloId| wanted.by.is_none() || candidates.contains(on);
        let placed =
            |choosing: &Self| -> Vec<SiloId> { choosing.on.iter().map(|(on, _)| *on).filter(counts).collect() };
        for id in candidates {
            let so_far = placed(self);
            if so_far.len() >= wanted.number() {
                break;
            }
            self.take(*id, if so_far.is_empty() { place } else { by }, Some(&so_far));
        }
        if placed(self).len() < wanted.number() {
            self.lacks = Some((by, self.lacking()));
        }
    }

    /// What is on an old silo is wanted on the new one, too.
    fn along(&mut self) {
        for (by, from, to) in &self.wanted.along {
            // What waits for another place is still there.
            let waits = self.lacks.is_some() && self.held.on.contains(from);
            let stays = self.is_on(*from) || waits || self.held.damaged.contains(from);
            if stays && !self.is_on(*to) && !(self.may(*to) && self.take(*to, *by, None)) && self.lacks.is_none() {
                self.lacks = Some((*by, self.lacking()));
            }
        }
    }

    /// One more copy of what is read.
    fn spare(&mut self) {
        for (by, silos) in &self.wanted.spare {
            let silos: Vec<&Spare> = silos.iter().filter(|spare| self.is_spare(spare.silo)).collect();
            if silos.iter().any(|spare| self.is_on(spare.silo)) {
                continue;
            }
            if let Some(spare) = silos.iter().find(|spare| spare.stays && self.held.on.contains(&spare.silo)) {
                self.on.push((spare.silo, *by));
                continue;
            }
            // Where none takes one, there is none.
            let get = |spare: &&&Spare| spare.gets && self.has_slack(spare.silo);
            let get: Vec<SiloId> = silos.iter().filter(get).map(|spare| spare.silo).collect();
            get.into_iter().any(|silo| self.take(silo, *by, None));
        }
    }

    /// Whether one more copy of what is read leaves a silo enough for others.
    fn has_slack(&self, id: SiloId) -> bool {
        let slack = self.rules.silos.get(&id).and_then(|fact| fact.slack);
        slack.is_none_or(|slack| slack >= self.held.bytes)
    }

    /// Takes a silo, unless it takes nothing, or is no other place than one of those it is to be apart from.
    fn take(&mut self, id: SiloId, by: usize, apart_from: Option<&[SiloId]>) -> bool {
        if self.is_on(id) {
            return false;
        }
        let Some(fact) = self.rules.silos.get(&id) else { return false };
        let refused = match () {
            () if self.held.damaged.contains(&id) => Some(format!("what silo `{}` has is damaged", fact.takes.name)),
            () if self.held.on.contains(&id) => None,
            () => fact.takes.refusal(self.held.bytes),
        };
        match refused.or_else(|| apart_from.and_then(|from| self.not_apart(fact, from))) {
            None => self.on.push((id, by)),
            Some(reason) => {
                if !self.reasons.contains(&reason) {
                    self.reasons.push(reason);
                }
                return false;
            }
        }
        true
    }

    fn not_apart(&self, fact: &SiloFact, from: &[SiloId]) -> Option<String> {
        let label = self.wanted.copies.as_ref()?.apart.as_ref()?;
        let name = &fact.takes.name;
        let Some(own) = fact.labels.get(label) else { return Some(format!("silo `{name}` has no label `{label}`")) };
        let same = |id: &&SiloId| self.rules.silos.get(id).and_then(|on| on.labels.get(label)) == Some(own);
        from.iter().find(same).map(|_| format!("silo `{name}` is of the same {label}, {own}, as another"))
    }

    /// Why there are not enough.
    fn lacking(&self) -> String {
        match (self.reasons.is_empty(), self.on.len()) {
            (false, _) => self.reasons.join("; "),
            (true, 0) => "no silo is allowed".to_owned(),
            (true, some) => format!("{} silos are wanted, and {some} allowed", self.wanted.number()),
        }
    }
}
