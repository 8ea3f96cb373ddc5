//! What is wanted of an object, and whether what is held of it is that. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::expression::{Condition, Needs, Subject};
use super::{Ack, Cuts, Fullness, Objective, Objectives, Scope};
use crate::clock::UnixMs;
use crate::extent::SiloId;
use crate::limits::READ_LATELY;
use crate::placement::Candidate;
use crate::plan::Wish;

/// What objectives look at of a silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiloFact {
    /// Whether and how much it takes.
    pub takes: Candidate,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Bytes that copies of what is read may take; none is unknown, and then enough.
    pub slack: Option<u64>,
}

/// An objective, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What it says, in words: what was found for one that said something else counts for nothing.
    pub said: String,
    /// As it is declared.
    pub objective: Objective,
    /// What `when` says.
    condition: Option<Condition>,
    /// Silos that `place` means, in its order and then in theirs.
    place: Vec<SiloId>,
    /// And `keep`, likewise.
    keep: Vec<SiloId>,
    /// And `copy_on_read`.
    copy_on_read: Vec<SiloId>,
    /// Silos that `never` means.
    never: BTreeSet<SiloId>,
    /// No objective but a switch: what is on the first silo is wanted on the second one, too.
    switch: Option<(SiloId, SiloId)>,
}

/// All objectives, the closest first.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    all: Vec<Rule>,
    pub(super) silos: BTreeMap<SiloId, SiloFact>,
}

/// What is wanted of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The objective that says where, by its place among the rules; none says anything.
    pub by: Option<usize>,
    /// Silos that will do, the best first.
    pub on: Vec<SiloId>,
    /// On how many at once; one where nobody says more.
    pub copies: Option<Copies>,
    /// One copy on any of each of these, and the objective that says so.
    pub keep: Vec<(usize, Vec<SiloId>)>,
    /// Silos that will not, and the objective that says so.
    pub never: BTreeMap<SiloId, usize>,
    /// Silos that it is too cold for, as they have to make room.
    pub leaves: BTreeSet<SiloId>,
    /// One more copy on any of these, and the objective that says so.
    pub spare: Vec<(usize, Vec<Spare>)>,
    /// What is on the first silo is wanted on the second one, too, and the switch that says so.
    pub along: Vec<(usize, SiloId, SiloId)>,
}

/// A silo that may have one more copy of what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// Which.
    pub silo: SiloId,
    /// It was read lately: it gets one.
    pub gets: bool,
    /// One that is there may stay.
    pub stays: bool,
}

/// When an object was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Read, or written.
    pub last: UnixMs,
    /// Read; none where nobody did.
    pub read: Option<UnixMs>,
    /// Any number, which stays the same: of what is as cold as other objects, some leave.
    pub lot: u16,
    /// Its bytes.
    pub size: u64,
}

/// On how many silos something is wanted at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copies {
    /// How many.
    pub number: usize,
    /// They differ in this label.
    pub apart: Option<String>,
    /// When a write is answered.
    pub ack: Ack,
    /// The objective that says so.
    pub by: usize,
}

/// Where verified replicas of an extent are, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Silos.
    pub on: Vec<SiloId>,
    /// Silos whose replicas were found damaged, where others are whole.
    pub damaged: Vec<SiloId>,
    /// Stored bytes.
    pub bytes: u64,
}

/// How what is held stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody wishes anything, or it is as wished.
    Aligned,
    /// It is to go from one silo to another.
    Moves {
        /// Off this one.
        from: SiloId,
        /// Onto that one.
        to: SiloId,
        /// For the objective's sake.
        by: usize,
    },
    /// It is to be on one more.
    Copies {
        /// It is read from here.
        from: SiloId,
        /// Onto that one.
        to: SiloId,
        /// For the objective's sake.
        by: usize,
    },
    /// It is on more than it is to be.
    Drops {
        /// Off this one.
        from: SiloId,
        /// As long as so many others have it.
        least: usize,
        /// For the objective's sake.
        by: usize,
    },
    /// It is not as wished, and cannot be now.
    Waits {
        /// For the objective's sake.
        by: usize,
        /// One sentence fragment.
        reason: String,
    },
}

/// What becomes of bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// They leave a silo for another.
    #[default]
    Move,
    /// Another silo gets them, too.
    Copy,
    /// They leave a silo, and others have them.
    Drop,
}

/// For which objective, by its place among the rules, what becomes of extents, and between which silos.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// For the objective's sake.
    pub by: usize,
    /// What becomes of them.
    pub what: What,
    /// From this silo.
    pub from: SiloId,
    /// Onto that one; none where they only leave.
    pub to: Option<SiloId>,
}

impl Standing {
    /// What is to be done, and between which silos.
    pub fn way(&self) -> Option<Way> {
        match *self {
            Self::Moves { from, to, by } => Some(Way { by, what: What::Move, from, to: Some(to) }),
            Self::Copies { from, to, by } => Some(Way { by, what: What::Copy, from, to: Some(to) }),
            Self::Drops { from, by, .. } => Some(Way { by, what: What::Drop, from, to: None }),
            Self::Aligned | Self::Waits { .. } => None,
        }
    }

    /// What is to be done for it.
    pub fn wish(&self) -> Option<Wish> {
        match *self {
            Self::Moves { from, to, .. } => Some(Wish::OffOnto { from, to }),
            Self::Copies { from, to, .. } => Some(Wish::Also { from, to }),
            Self::Drops { from, least, .. } => Some(Wish::Off { from, least }),
            Self::Aligned | Self::Waits { .. } => None,
        }
    }
}

impl Wanted {
    /// Nobody says anything of it.
    pub fn is_nothing(&self) -> bool {
        self.by.is_none()
            && self.copies.is_none()
            && self.keep.is_empty()
            && self.never.is_empty()
            && self.along.is_empty()
            && self.spare.is_empty()
    }

    /// The objective that says where, or on how many silos; none where nobody does.
    pub(super) fn said_by(&self) -> Option<usize> {
        let copies = || self.copies.as_ref().map(|copies| copies.by);
        self.by.or_else(copies).or_else(|| self.keep.first().map(|(by, _)| *by))
    }

    /// On how many silos at once.
    pub(crate) fn number(&self) -> usize {
        self.copies.as_ref().map_or(1, |copies| copies.number)
    }

    /// Whether all copies are to be durable before a write is answered.
    pub fn all_before_answer(&self) -> bool {
        self.copies.as_ref().is_some_and(|copies| copies.ack == Ack::All && copies.number > 1)
    }

    /// Whether one copy on this silo, just written, is all that is wanted.
    pub fn is_met_by(&self, silo: SiloId) -> bool {
        self.number() == 1
            && (self.by.is_none() || self.on.contains(&silo))
            && self.keep.iter().all(|(_, keep)| keep.contains(&silo))
            && self.along.iter().all(|(_, from, _)| *from != silo)
    }
}

/// All silos will do: those that have prices are chosen from.
fn says_all(objective: &Objective) -> bool {
    objective.auto.is_some() && objective.place.is_empty()
}

impl Rule {
    /// Silos that `place` means, the best first.
    pub(crate) fn place(&self) -> &[SiloId] {
        &self.place
    }

    /// Whether it says where something is wanted.
    fn says_where(&self) -> bool {
        !self.objective.place.is_empty() || self.objective.auto.is_some()
    }

    /// Whether it makes what is cold leave a silo: there are others after it.
    pub fn fills(&self, silo: SiloId) -> bool {
        self.objective.fill.is_some() && self.place.contains(&silo) && self.place.last() != Some(&silo)
    }

    /// Whether somebody declared it as an objective.
    pub fn is_declared(&self) -> bool {
        self.switch.is_none()
    }
}

/// What the conditions of rules look at, beside what a list shows.
fn needs_of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Needs {
    rules.filter_map(|rule| rule.condition.as_ref()).map(Condition::needs).fold(Needs::default(), Needs::and)
}

impl Rules {
    /// Of what is declared, with what each `when` says.
    pub fn new(objectives: &Objectives, silos: BTreeMap<SiloId, SiloFact>) -> Self {
        let means = |selectors: &[super::Selector]| {
            let mut found: Vec<SiloId> = Vec::new();
            for selector in selectors {
                let meant = silos.iter().filter(|(_, fact)| selector.means(&fact.takes.name, &fact.labels));
                found.extend(meant.map(|(id, _)| *id));
            }
            let mut seen = BTreeSet::new();
            found.retain(|id| seen.insert(*id));
            found
        };
        let rule = |(name, (objective, condition)): (&String, &(Objective, Option<Condition>))| Rule {
            name: name.clone(),
            said: format!("{name}: {objective}"),
            objective: objective.clone(),
            condition: condition.clone(),
            place: if says_all(objective) { silos.keys().copied().collect() } else { means(&objective.place) },
            keep: means(&objective.keep),
            copy_on_read: means(&objective.copy_on_read),
            never: means(&objective.never).into_iter().collect(),
            switch: None,
        };
        let mut all: Vec<Rule> = objectives.iter().map(rule).collect();
        all.sort_by(|one, other| {
            let closeness = |rule: &Rule| (rule.objective.first, rule.objective.on.closeness());
            closeness(other).cmp(&closeness(one)).then_with(|| one.name.cmp(&other.name))
        });
        Self { all, silos }
    }

    /// The same, and what is on the first of two silos is wanted on the second one, too.
    #[must_use]
    pub fn with_switch(mut self, from: SiloId, to: SiloId) -> Self {
        let name = format!("switch {} {}", self.name_of(from), self.name_of(to));
        let (objective, switch) = (Objective::default(), Some((from, to)));
        let (place, keep, copy_on_read, never) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        let said = name.clone();
        self.all.push(Rule { name, said, objective, condition: None, place, keep, copy_on_read, never, switch });
        self
    }

    /// The place of a switch among them.
    pub fn switch(&self, from: SiloId, to: SiloId) -> Option<usize> {
        self.all.iter().position(|rule| rule.switch == Some((from, to)))
    }

    /// All of them, the closest first.
    pub fn all(&self) -> &[Rule] {
        &self.all
    }

    /// Those that may be about objects in a part of the namespace, the closest first.
    pub fn about<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Rule> {
        self.all.iter().filter(|rule| rule.objective.on.meets(scope))
    }

    /// What objectives about this scope look at, beside what a list shows.
    pub fn need(&self, scope: &Scope) -> Needs {
        needs_of(self.about(scope))
    }

    /// Whether any condition asks for silos.
    pub fn ask_silos(&self) -> bool {
        self.all.iter().filter_map(|rule| rule.condition.as_ref()).any(Condition::asks_silos)
    }

    /// What conditions about an object of this name look at, beside what a list shows.
    pub fn need_of(&self, bucket: &str, key: &str) -> Needs {
        needs_of(self.all.iter().filter(|rule| rule.objective.on.covers(bucket, key)))
    }

    /// Whether a step keeps bytes from being lost, or from being where they may not be: it goes before all others.
    pub(crate) fn is_urgent(&self, wanted: &Wanted, way: Way) -> bool {
        let wish = &self.all[way.by].objective;
        let protects = way.what == What::Copy && (wish.copies.is_some() || !wish.keep.is_empty());
        protects || wanted.never.contains_key(&way.from)
    }

    /// Those alone that forbid a silo to some objects.
    #[must_use]
    pub(crate) fn that_forbid(mut self, silo: SiloId) -> Self {
        self.all.retain(|rule| rule.never.contains(&silo));
        self
    }

    /// What a rule wishes, in words.
    pub fn wish_of(&self, rule: &Rule) -> String {
        let switch = |(from, to)| format!("what is on {} is on {}, too", self.name_of(from), self.name_of(to));
        rule.switch.map_or_else(|| rule.objective.to_string(), switch)
    }

    /// The names of the silos that a rule's `place`, `keep` and `never` mean.
    pub fn meant_by(&self, rule: &Rule) -> [Vec<String>; 3] {
        let names = |ids: &mut dyn Iterator<Item = &SiloId>| ids.map(|id| self.name_of(*id)).collect();
        [names(&mut rule.place.iter()), names(&mut rule.keep.iter()), names(&mut rule.never.iter())]
    }

    /// A silo's name.
    pub fn name_of(&self, id: SiloId) -> String {
        self.silos.get(&id).map_or_else(|| format!("#{id}"), |fact| fact.takes.name.clone())
    }

    /// The rule, without a condition, that forbids a silo to some of a part of the namespace, or wants all of it elsewhere.
    pub fn against<'a>(&'a self, on: &'a Scope, silo: SiloId) -> Option<&'a Rule> {
        let always = |rule: &Rule| rule.condition.is_none() && rule.objective.counts_always();
        let mut plain = self.about(on).filter(|rule| always(rule));
        let mut wanted = self.about(on).filter(|rule| rule.says_where() && rule.objective.on.contains(on));
        // One with a condition may be about all of it, and want what is ordered.
        let elsewhere = wanted.next().filter(|rule| always(rule) && !rule.place.contains(&silo));
        plain.find(|rule| rule.never.contains(&silo)).or(elsewhere)
    }

    /// Parts of a part of the namespace in which a rule may want something elsewhere than on a silo, whatever [`Self::against`] says.
    pub fn may_undo(&self, on: &Scope, silo: SiloId) -> Vec<Scope> {
        let mut parts: Vec<Scope> = Vec::new();
        for rule in self.about(on).filter(|rule| rule.says_where()) {
            let (wish, all) = (&rule.objective, rule.objective.on.contains(on));
            if wish.fill.is_some() || !rule.place.contains(&silo) {
                parts.push(if all { on.clone() } else { wish.on.clone() });
            }
            // What is less close has no say.
            if all && rule.condition.is_none() && wish.counts_always() {
                break;
            }
        }
        let whole = parts.clone();
        parts.retain(|part| !whole.iter().any(|other| other != part && other.contains(part)));
        parts.sort();
        parts.dedup();
        parts
    }

    /// What each rule's condition says of an object; none where the rule is not about it.
    pub fn conditions(&self, subject: &Subject<'_>) -> Vec<Option<Result<bool, String>>> {
        let holds = |rule: &Rule| match &rule.condition {
            _ if !rule.objective.counts_at(subject.now) => Ok(false),
            Some(condition) => condition.holds(subject),
            None => Ok(true),
        };
        let about = |rule: &&Rule| rule.objective.on.covers(subject.bucket, subject.key);
        self.all.iter().map(|rule| Some(rule).filter(about).map(holds)).collect()
    }

    /// What is wanted of an object that the conditions say this of.
    pub fn wanted(&self, conditions: &[Option<Result<bool, String>>]) -> Wanted {
        let mut wanted = Wanted::default();
        for (at, (rule, holds)) in self.all.iter().zip(conditions).enumerate() {
            // What may not be somewhere is not there, either, while nobody can say whether it may.
            if matches!(holds, Some(Ok(true) | Err(_))) {
                for id in &rule.never {
                    wanted.never.entry(*id).or_insert(at);
                }
            }
            if !matches!(holds, Some(Ok(true))) {
                continue;
            }
            wanted.along.extend(rule.switch.map(|(from, to)| (at, from, to)));
            if !rule.objective.keep.is_empty() {
                wanted.keep.push((at, rule.keep.clone()));
            }
            if wanted.by.is_none() && rule.says_where() {
                wanted.by = Some(at);
                wanted.on.clone_from(&rule.place);
            }
            if let (None, Some(number)) = (&wanted.copies, rule.objective.copies) {
                let (apart, ack) = (rule.objective.apart.clone(), rule.objective.ack);
                wanted.copies = Some(Copies { number: number as usize, apart, ack, by: at });
            }
        }
        wanted.on.retain(|id| !wanted.never.contains_key(id));
        for (_, keep) in &mut wanted.keep {
            keep.retain(|id| !wanted.never.contains_key(id));
        }
        wanted
    }

    /// Adds what is wanted for the sake of how it is used.
    pub fn used(
        &self,
        wanted: &mut Wanted,
        conditions: &[Option<Result<bool, String>>],
        used: Used,
        now: UnixMs,
        cuts: &Cuts,
    ) {
        let is_cut = |rule: &Rule, silo: &SiloId, at: UnixMs| {
            let cut = cuts.get(&rule.said).and_then(|cuts| cuts.get(silo));
            cut.is_some_and(|cut| cut.is_above(at, used.lot))
        };
        if let Some(rule) = wanted.by.map(|by| &self.all[by]).filter(|rule| rule.objective.fill.is_some()) {
            let leaves = |silo: &SiloId| rule.fills(*silo) && is_cut(rule, silo, used.last);
            wanted.leaves = rule.place.iter().copied().filter(leaves).collect();
        }
        for (by, (rule, holds)) in self.all.iter().zip(conditions).enumerate() {
            if rule.copy_on_read.is_empty() || !matches!(holds, Some(Ok(true))) {
                continue;
            }
            // Where objectives want it anyway there is no such copy.
            let wanted_on =
                |silo: &SiloId| wanted.on.contains(silo) || wanted.keep.iter().any(|(_, keep)| keep.contains(silo));
            let may = |silo: &&SiloId| !wanted.never.contains_key(*silo) && !wanted_on(silo);
            let spare = rule.copy_on_read.iter().filter(may).map(|silo| {
                let stays = !is_cut(rule, silo, used.read.unwrap_or(UnixMs::MIN));
                // What is longer than all such copies together goes again at once.
                let fits = rule.objective.max.is_none_or(|max| used.size <= max);
                let gets = stays
                    && fits
                    && used.read.is_some_and(|read| now.saturating_sub(read) < READ_LATELY.as_millis() as i64);
                Spare { silo: *silo, gets, stays }
            });
            let spare = (by, spare.collect());
            wanted.spare.push(spare);
        }
    }

    /// Whether anything is wanted for the sake of how it is used, of objects in a part of the namespace.
    pub fn ask_use(&self, on: &Scope) -> bool {
        let asks = |wish: &Objective| wish.fill.is_some() || wish.auto.is_some() || !wish.copy_on_read.is_empty();
        self.about(on).any(|rule| asks(&rule.objective))
    }

    /// Bytes that a silo may have before objectives make room there: the least that any of them says.
    pub fn bound(&self, silo: SiloId, full: &Fullness) -> Option<u64> {
        let bound = |rule: &Rule| rule.objective.fill.filter(|_| rule.fills(silo))?.high.bytes(full.space);
        self.all.iter().filter_map(bound).min()
    }

    /// How what is held stands to what is wanted: one step at a time, the one that makes it safer first. `otherwise` are silos
    /// that take it where no objective says where, the best first.
    pub fn standing(&self, wanted: &Wanted, held: &Held, otherwise: impl FnOnce() -> Vec<SiloId>) -> Standing {
        let banned = held.on.iter().chain(&held.damaged).find_map(|id| wanted.never.get(id).map(|by| (*id, *by)));
        let has = |id: &SiloId| held.on.contains(id) || held.damaged.contains(id);
        let along = wanted.along.iter().find(|(_, from, _)| has(from)).map(|(by, ..)| *by);
        let spare = wanted.spare.first().map(|(by, _)| *by);
        let by = wanted.said_by().or(banned.map(|(_, by)| by)).or(along).or(spare);
        let Some(by) = by else { return Standing::Aligned };
        // Asked of each object: only where it matters.
        let otherwise = if wanted.by.is_none() || spare.is_some() { otherwise() } else { Vec::new() };
        let chosen = self.choose(wanted, held, by, otherwise);
        let is_chosen = |id: &SiloId| chosen.on.iter().any(|(on, _)| on == id);
        let reader = held.on.iter().copied().find(|id| self.is_up(*id));
        let surplus = held.on.iter().copied().filter(|id| !is_chosen(id));
        let first = surplus.clone().find(|id| self.is_up(*id)).or(surplus.clone().next());
        let surplus = banned.map(|(id, _)| id).or(first);
        let by_surplus = banned.map_or(by, |(_, by)| by);
        let missing = chosen.on.iter().find(|(id, _)| !held.on.contains(id));
        // What is left must be enough, and answer: what is given up is gone for good.
        let safe = |id: &&SiloId| Some(**id) != surplus && self.is_up(**id) && !wanted.never.contains_key(*id);
        let staying = held.on.iter().filter(safe).filter(|id| is_chosen(id)).count();
        let others = held.on.iter().filter(safe).count();
        let wanted_left = chosen.on.len().min(wanted.number());
        match (missing, surplus, chosen.lacks) {
            (Some(_), ..) | (None, Some(_), Some(_)) if reader.is_none() => {
                let first = held.on.first().map(|id| format!("silo `{}`, which has it, is down", self.name_of(*id)));
                Standing::Waits { by, reason: first.unwrap_or_else(|| "no silo has it now".to_owned()) }
            }
            // Nothing is given up as long as there are too few, unless it must not be there.
            (Some((to, for_whom)), Some(from), lacks) if self.is_up(from) && (lacks.is_none() || banned.is_some()) => {
                let by = if banned.is_some() { by_surplus } else { *for_whom };
                Standing::Moves { from, to: *to, by }
            }
            (Some((to, by)), ..) => match reader {
                Some(from) => Standing::Copies { from, to: *to, by: *by },
                None => Standing::Aligned,
            },
            (None, Some(from), _) if banned.is_some() && others > 0 => {
                Standing::Drops { from, least: staying.max(1), by: by_surplus }
            }
            (None, Some(from), None) if staying >= wanted_left.max(1) => {
                Standing::Drops { from, least: staying, by: by_surplus }
            }
            (None, Some(_), None) => {
                let down = chosen.on.iter().find(|(id, _)| !self.is_up(*id)).map(|(id, _)| self.name_of(*id));
                let reason = format!("silo `{}`, which is to have it, is down", down.unwrap_or_default());
                Standing::Waits { by, reason }
            }
            (None, _, Some((by, reason))) => Standing::Waits { by, reason },
            // What is damaged goes once enough others are whole.
            (None, None, None) => match held.damaged.first() {
                Some(from) if staying >= wanted_left.max(1) => Standing::Drops { from: *from, least: staying, by },
                _ => Standing::Aligned,
            },
        }
    }

    pub(super) fn is_up(&self, id: SiloId) -> bool {
        self.silos.get(&id).is_some_and(|fact| fact.takes.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(id: SiloId, name: &str, site: &str) -> (SiloId, SiloFact) {
        let takes = Candidate { id, name: name.to_owned(), cordoned: false, up: true, room: None };
        (id, SiloFact { takes, labels: [("site".to_owned(), site.to_owned())].into(), slack: None })
    }

    fn silos() -> BTreeMap<SiloId, SiloFact> {
        [fact(1, "hot", "eu"), fact(2, "cold", "eu"), fact(3, "far", "us")].into()
    }

    /// Name, `on`, `when`, `place`, `never`.
    type Said<'a> = (&'a str, &'a str, Option<&'a str>, &'a [&'a str], &'a [&'a str]);

    fn rules(objectives: &[Said<'_>]) -> Rules {
        let all = objectives.iter().map(|(name, on, when, place, never)| {
            let silos = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
            let when = when.map(str::to_owned);
            let (on, place, never) = (on.parse().unwrap(), silos(place), silos(never));
            let objective = Objective { on, when, place, never, ..Objective::default() };
            let condition = objective.check().unwrap();
            ((*name).to_owned(), (objective, condition))
        });
        Rules::new(&all.collect(), silos())
    }

    fn subject(bucket: &'static str, key: &'static str) -> Subject<'static> {
        Subject { bucket, key, size: 10, storage_class: "STANDARD", ..Subject::default() }
    }

    fn held(on: &[SiloId]) -> Held {
        Held { on: on.to_vec(), damaged: Vec::new(), bytes: 10 }
    }

    #[test]
    fn the_closest_objective_says_where_and_all_say_where_not() {
        let rules = rules(&[
            ("all", "s3://", None, &["hot"], &["site=us"]),
            ("big", "s3://logs/", Some("size > 5"), &["far", "cold"], &[]),
            ("huge", "s3://logs/", Some("size > 50"), &["hot"], &[]),
            ("old", "s3://logs/2020/", None, &["cold"], &[]),
        ]);
        let wanted = |bucket, key| {
            let wanted = rules.wanted(&rules.conditions(&subject(bucket, key)));
            (wanted.by.map(|by| rules.all()[by].name.clone()), wanted.on)
        };
        assert_eq!(wanted("photos", "k"), (Some("all".to_owned()), vec![1]));
        assert_eq!(wanted("logs", "k"), (Some("big".to_owned()), vec![2]), "far is in the US");
        assert_eq!(wanted("logs", "2020/k"), (Some("old".to_owned()), vec![2]));
    }

    #[test]
    fn what_is_held_is_moved_only_where_it_is_not_as_wished() {
        let rules = rules(&[("cold", "s3://logs/", None, &["cold", "far"], &[]), ("eu", "s3://", None, &[], &["far"])]);
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let by = 0;
        assert_eq!(rules.standing(&wanted, &held(&[2]), Vec::new), Standing::Aligned);
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), Standing::Moves { from: 1, to: 2, by });
        assert_eq!(rules.standing(&wanted, &held(&[3]), Vec::new), Standing::Moves { from: 3, to: 2, by: 1 });
        let only_never = rules.wanted(&rules.conditions(&subject("photos", "k")));
        assert_eq!(rules.standing(&only_never, &held(&[1]), || vec![3, 1]), Standing::Aligned);
        assert_eq!(rules.standing(&only_never, &held(&[3]), || vec![3, 1]), Standing::Moves { from: 3, to: 1, by: 1 });
        assert_eq!(rules.standing(&Wanted::default(), &held(&[3]), || vec![1]), Standing::Aligned);
    }

    #[test]
    fn what_cannot_be_now_waits_and_says_for_what() {
        let mut rules = rules(&[("cold", "s3://", None, &["cold", "far"], &[])]);
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        rules.silos.get_mut(&2).unwrap().takes.up = false;
        rules.silos.get_mut(&3).unwrap().takes.room = Some(9);
        let waits = |reason: &str| Standing::Waits { by: 0, reason: reason.to_owned() };
        let expected = waits("silo `cold` is down; silo `far` has no room above its reserve");
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), expected);
        rules.silos.get_mut(&1).unwrap().takes.up = false;
        let source = waits("silo `hot`, which has it, is down");
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), source);
        rules.silos.get_mut(&1).unwrap().takes.up = true;
        let nowhere = Wanted { on: Vec::new(), ..wanted };
        assert_eq!(rules.standing(&nowhere, &held(&[1]), Vec::new), waits("no silo is allowed"));
    }

    /// Rules of one objective about everything.
    fn rules_of(objective: Objective) -> Rules {
        let condition = objective.check().unwrap();
        Rules::new(&[("it".to_owned(), (objective, condition))].into(), silos())
    }

    fn copies(number: u32) -> Objective {
        Objective { copies: Some(number), ..Objective::default() }
    }

    fn silos_of(names: &[&str]) -> Vec<crate::objective::Selector> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn copies_are_made_one_by_one_and_what_is_too_much_goes() {
        let rules = rules_of(Objective { place: silos_of(&["cold", "far", "hot"]), ..copies(2) });
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let standing = |on: &[SiloId]| rules.standing(&wanted, &held(on), Vec::new);
        assert_eq!(standing(&[1]), Standing::Copies { from: 1, to: 2, by: 0 });
        assert_eq!(standing(&[1, 2]), Standing::Aligned);
        assert_eq!(standing(&[1, 3]), Standing::Aligned, "any of them will do");
        assert_eq!(standing(&[1, 2, 3]), Standing::Drops { from: 1, least: 2, by: 0 });
    }

    /// A copy that could not be made good counted as one.
    #[test]
    fn what_is_damaged_is_no_copy_and_goes_once_others_are_enough() {
        let rules = rules_of(copies(2));
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let standing = |wanted: &Wanted, on: &[SiloId]| {
            rules.standing(wanted, &Held { damaged: vec![1], ..held(on) }, || vec![1, 2])
        };
        assert_eq!(standing(&wanted, &[2]), Standing::Copies { from: 2, to: 3, by: 0 });
        assert_eq!(standing(&wanted, &[2, 3]), Standing::Drops { from: 1, least: 2, by: 0 });
        let followed = Wanted { along: vec![(0, 1, 3)], ..Wanted::default() };
        assert_eq!(
            standing(&followed, &[2]),
            Standing::Copies { from: 2, to: 3, by: 0 },
            "the new silo gets a good one"
        );
        let forbidden = Wanted { never: [(1, 0)].into(), ..Wanted::default() };
        assert_eq!(
            standing(&forbidden, &[2]),
            Standing::Drops { from: 1, least: 1, by: 0 },
            "it is there all the same"
        );
    }

    /// Nobody could say whether an object may be somewhere, and it was written there.
    #[test]
    fn what_may_be_forbidden_is() {
        let rules = rules(&[("eu", "s3://logs/", Some("int(metadata.level) >= 3"), &["hot"], &["far"])]);
        let metadata = [("level".to_owned(), "high".to_owned())];
        let conditions = rules.conditions(&Subject { metadata: &metadata, ..subject("logs", "k") });
        assert!(matches!(conditions[0], Some(Err(_))), "{conditions:?}");
        let wanted = rules.wanted(&conditions);
        assert_eq!((wanted.by, wanted.never.into_keys().collect()), (None, vec![3]));
        assert!(rules.wanted(&rules.conditions(&subject("logs", "k"))).is_nothing());
    }

    /// Copies of what was read took all room down to the reserve, and clients' writes were refused.
    #[test]
    fn copies_of_what_is_read_leave_room() {
        let mut rules = rules_of(Objective { copy_on_read: silos_of(&["far"]), ..copies(1) });
        let read = Spare { silo: 3, gets: true, stays: true };
        let wanted = Wanted { spare: vec![(0, vec![read])], ..Wanted::default() };
        let standing = |rules: &Rules| rules.standing(&wanted, &held(&[1]), || vec![1]);
        for (slack, is_copied) in [(None, true), (Some(10), true), (Some(9), false)] {
            rules.silos.get_mut(&3).unwrap().slack = slack;
            let copies = Standing::Copies { from: 1, to: 3, by: 0 };
            assert_eq!(standing(&rules), if is_copied { copies } else { Standing::Aligned }, "{slack:?}");
        }
    }

    #[test]
    fn copies_are_apart_or_wait() {
        let mut rules = rules_of(Objective { apart: Some("site".to_owned()), ..copies(2) });
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let standing = |rules: &Rules, on: &[SiloId]| rules.standing(&wanted, &held(on), || vec![1, 2]);
        assert_eq!(standing(&rules, &[1]), Standing::Copies { from: 1, to: 3, by: 0 }, "cold is of the same site");
        assert_eq!(standing(&rules, &[1, 3]), Standing::Aligned);
        // Two of one site are one too many there, and one too few elsewhere.
        assert_eq!(standing(&rules, &[1, 2]), Standing::Moves { from: 2, to: 3, by: 0 });
        rules.silos.get_mut(&3).unwrap().labels.clear();
        let reason = "silo `cold` is of the same site, eu, as another; silo `far` has no label `site`".to_owned();
        assert_eq!(standing(&rules, &[1]), Standing::Waits { by: 0, reason });
    }

    #[test]
    fn a_copy_is_read_from_a_silo_that_answers() {
        let mut rules = rules_of(Objective { place: silos_of(&["cold", "far"]), ..copies(2) });
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        rules.silos.get_mut(&1).unwrap().takes.up = false;
        let standing = |on: &[SiloId]| rules.standing(&wanted, &held(on), Vec::new);
        assert_eq!(standing(&[1, 2]), Standing::Copies { from: 2, to: 3, by: 0 });
        assert_eq!(standing(&[1, 2, 3]), Standing::Drops { from: 1, least: 2, by: 0 });
    }

    /// What was up was given up for what was down, and the last copy that could be read was gone.
    #[test]
    fn nothing_is_given_up_for_what_does_not_answer() {
        let down = |mut rules: Rules, id: SiloId| {
            rules.silos.get_mut(&id).unwrap().takes.up = false;
            rules
        };
        let standing = |rules: &Rules, on: &[SiloId]| {
            let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
            rules.standing(&wanted, &held(on), Vec::new)
        };
        let cold = down(rules_of(Objective { place: silos_of(&["cold"]), ..copies(1) }), 2);
        let reason = "silo `cold`, which is to have it, is down".to_owned();
        assert_eq!(standing(&cold, &[1, 2]), Standing::Waits { by: 0, reason });
        let either = down(rules_of(Objective { place: silos_of(&["hot", "cold"]), ..copies(1) }), 1);
        assert_eq!(standing(&either, &[1, 2]), Standing::Drops { from: 1, least: 1, by: 0 });
        let three = Objective { place: silos_of(&["cold", "far", "hot"]), ..copies(3) };
        let some = down(rules_of(Objective { place: silos_of(&["cold", "far"]), ..three }), 3);
        // Too few can be had: what is elsewhere stays till then.
        assert_eq!(standing(&some, &[1]), Standing::Copies { from: 1, to: 2, by: 0 });
        assert!(matches!(standing(&some, &[1, 2]), Standing::Waits { .. }));
        let banned = Objective { place: silos_of(&["cold"]), never: silos_of(&["far"]), ..Objective::default() };
        let banned = down(rules_of(banned), 2);
        assert_eq!(standing(&banned, &[1, 3]), Standing::Drops { from: 3, least: 1, by: 0 });
        assert!(matches!(standing(&banned, &[3]), Standing::Waits { .. }), "better there than nowhere");
    }

    /// One that could not be kept stopped all else, and what was placed rightly left.
    #[test]
    fn one_that_cannot_be_kept_stops_nothing_else() {
        let both = Objective { place: silos_of(&["hot", "cold"]), keep: silos_of(&["far"]), ..copies(2) };
        let mut rules = rules_of(both);
        rules.silos.get_mut(&3).unwrap().takes.up = false;
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let standing = |on: &[SiloId]| rules.standing(&wanted, &held(on), Vec::new);
        assert_eq!(standing(&[1]), Standing::Copies { from: 1, to: 2, by: 0 });
        let reason = "silo `far` is down".to_owned();
        assert_eq!(standing(&[1, 2]), Standing::Waits { by: 0, reason });
    }

    #[test]
    fn one_is_kept_beside_where_else_it_is_wanted() {
        let keep = |place: &[&str], number| {
            rules_of(Objective { place: silos_of(place), keep: silos_of(&["site=us"]), ..copies(number) })
        };
        let standing = |rules: &Rules, on: &[SiloId]| {
            let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
            rules.standing(&wanted, &held(on), || vec![1, 2])
        };
        let beside = keep(&["hot"], 1);
        assert_eq!(standing(&beside, &[1]), Standing::Copies { from: 1, to: 3, by: 0 });
        assert_eq!(standing(&beside, &[1, 3]), Standing::Aligned);
        assert_eq!(standing(&beside, &[3]), Standing::Copies { from: 3, to: 1, by: 0 });
        let among = keep(&["hot", "cold", "far"], 2);
        assert_eq!(standing(&among, &[1, 2]), Standing::Moves { from: 2, to: 3, by: 0 });
        assert_eq!(standing(&among, &[1, 3]), Standing::Aligned);
    }

    proptest! {
        /// Whatever is wanted and held: carried out step by step it comes to rest within a few steps, nothing goes onto a silo that is
        /// forbidden, there is always one that has it, and at rest it is on as many as wanted, apart, and on one of those kept.
        #[test]
        fn copies_come_to_rest(
            place in prop::sample::subsequence(vec!["hot", "cold", "far"], 0..=3),
            keep in prop::sample::subsequence(vec!["hot", "cold", "far"], 0..=2),
            never in prop::sample::subsequence(vec!["hot", "cold", "far"], 0..=1),
            number in 1_u32..4,
            apart: bool,
            on in prop::sample::subsequence(vec![1_u32, 2, 3], 1..=3),
            down in prop::option::of(1_u32..4),
        ) {
            let apart = apart.then(|| "site".to_owned());
            let [place, keep, never] = [&place, &keep, &never].map(|names| silos_of(names));
            let mut rules = rules_of(Objective { place, keep, never, apart: apart.clone(), ..copies(number) });
            if let Some(down) = down {
                rules.silos.get_mut(&down).unwrap().takes.up = false;
            }
            let wanted = rules.wanted(&rules.conditions(&subject("b", "k")));
            let (mut on, mut steps) = (on, 0);
            let rest = loop {
                let standing = rules.standing(&wanted, &held(&on), || vec![1, 2, 3]);
                match standing {
                    Standing::Moves { from, to, .. } => {
                        prop_assert!(on.contains(&from) && !on.contains(&to) && !wanted.never.contains_key(&to));
                        prop_assert!(Some(from) != down && Some(to) != down);
                        on.retain(|id| *id != from);
                        on.push(to);
                    }
                    Standing::Copies { from, to, .. } => {
                        prop_assert!(on.contains(&from) && !on.contains(&to) && !wanted.never.contains_key(&to));
                        prop_assert!(Some(from) != down);
                        on.push(to);
                    }
                    Standing::Drops { from, least, .. } => {
                        on.retain(|id| *id != from);
                        prop_assert!(on.len() >= least && least >= 1);
                        prop_assert!(on.iter().any(|id| Some(*id) != down), "what is left answers");
                    }
                    rest => break rest,
                }
                steps += 1;
                prop_assert!(steps < 8, "it goes on and on: {on:?}");
            };
            prop_assert!(!on.is_empty());
            if on.iter().any(|id| Some(*id) != down && !wanted.never.contains_key(id)) {
                prop_assert!(!on.iter().any(|id| wanted.never.contains_key(id)), "forbidden, and not needed: {on:?}");
            }
            if rest == Standing::Aligned {
                let placed = on.iter().filter(|id| wanted.by.is_none() || wanted.on.contains(id)).count();
                prop_assert!(placed >= number as usize, "{on:?}");
                prop_assert!(!on.iter().any(|id| wanted.never.contains_key(id)));
                prop_assert!(wanted.keep.iter().all(|(_, keep)| on.iter().any(|id| keep.contains(id))));
                let counts = |id: &&u32| wanted.by.is_none() || wanted.on.contains(*id);
                let of_one_site = on.iter().filter(counts).filter(|id| **id != 3).count();
                // More than are wanted are apart as far as they must be.
                prop_assert!(apart.is_none() || of_one_site <= 1, "{on:?}");
            }
        }

        /// A switch and copies of what is read take nothing away that nobody wished away: what is held stays, the new silo gets what the
        /// old one has, and a copy that was read counts for nothing else.
        #[test]
        fn what_comes_beside_takes_nothing_away(
            number in prop::option::of(1_u32..3),
            place in prop::sample::subsequence(vec!["hot", "cold"], 0..=2),
            fill in prop::sample::subsequence(vec![1_u32, 2], 0..=2),
            on in prop::sample::subsequence(vec![1_u32, 2, 3], 1..=3),
            down in prop::option::of(1_u32..4),
            closed in prop::option::of(1_u32..4),
            switch in prop::option::of((1_u32..4, 1_u32..4)),
            (gets, stays) in (any::<bool>(), any::<bool>()),
            spare in prop::option::of(1_u32..4),
        ) {
            prop_assume!(switch.is_none_or(|(from, to)| from != to));
            let says = number.is_some() || !place.is_empty();
            let mut rules = match (says, number) {
                (true, Some(number)) => rules_of(Objective { place: silos_of(&place), ..copies(number) }),
                (true, None) => rules_of(Objective { place: silos_of(&place), ..Objective::default() }),
                (false, _) => Rules::new(&Objectives::new(), silos()),
            };
            if let Some((from, to)) = switch {
                rules = rules.with_switch(from, to);
            }
            for (id, fact) in &mut rules.silos {
                fact.takes.up = Some(*id) != down;
                fact.takes.cordoned = Some(*id) == closed;
            }
            let mut wanted = rules.wanted(&rules.conditions(&subject("b", "k")));
            wanted.leaves.extend(fill.iter().filter(|_| wanted.by.is_some()));
            let spare = spare.filter(|silo| !wanted.on.contains(silo));
            wanted.spare.extend(spare.map(|silo| (0, vec![Spare { silo, gets: gets && stays, stays }])));
            if wanted.spare.is_empty() && rules.all().is_empty() {
                return Ok(());
            }
            let (before, mut on, mut steps) = (on.clone(), on, 0);
            loop {
                // New objects go to another silo than the spare one.
                let otherwise = || (1..4).filter(|id| Some(*id) != spare).collect();
                match rules.standing(&wanted, &held(&on), otherwise) {
                    Standing::Moves { from, to, .. } => {
                        prop_assert!(says || Some(from) == spare, "nobody wished it away");
                        prop_assert!(Some(to) != closed && Some(to) != down);
                        on.retain(|id| *id != from);
                        on.push(to);
                    }
                    Standing::Copies { to, .. } => {
                        prop_assert!(Some(to) != closed && Some(to) != down);
                        on.push(to);
                    }
                    Standing::Drops { from, least, .. } => {
                        prop_assert!(says || Some(from) == spare, "nobody wished it away");
                        on.retain(|id| *id != from);
                        prop_assert!(on.len() >= least && least >= 1);
                    }
                    Standing::Aligned | Standing::Waits { .. } => break,
                }
                steps += 1;
                prop_assert!(steps < 9, "it goes on and on: {on:?}");
            }
            let real = on.iter().filter(|id| Some(**id) != spare).count();
            prop_assert!(real >= 1 || before.iter().all(|id| Some(*id) == spare), "what was read is all that is left");
            if !says {
                prop_assert!(before.iter().filter(|id| Some(**id) != spare).all(|id| on.contains(id)));
            }
            if let Some((from, to)) = switch.filter(|(from, to)| !says && Some(*from) != spare && Some(*to) != spare) {
                let can = Some(to) != closed && Some(to) != down && before.iter().any(|id| Some(*id) != down);
                prop_assert!(!can || !on.contains(&from) || on.contains(&to), "it did not come along: {on:?}");
            }
        }

        /// Carried out, a move is never followed by another, and never onto a silo that is forbidden.
        #[test]
        fn a_wish_comes_to_rest(
            place in prop::collection::vec(1_u32..4, 0..3),
            never in prop::collection::vec(1_u32..4, 0..3),
            on in 1_u32..4,
        ) {
            let name = |id: &SiloId| ["hot", "cold", "far"][*id as usize - 1];
            let (place, never): (Vec<_>, Vec<_>) = (place.iter().map(name).collect(), never.iter().map(name).collect());
            prop_assume!(!place.is_empty() || !never.is_empty());
            let all: [Said<'_>; 2] =
                [("one", "s3://", None, &place, &[]), ("other", "s3://", None, &[], &never)];
            let said: Vec<_> = all.into_iter().filter(|rule| !rule.3.is_empty() || !rule.4.is_empty()).collect();
            let rules = rules(&said);
            let wanted = rules.wanted(&rules.conditions(&subject("b", "k")));
            if let Standing::Moves { from, to, .. } = rules.standing(&wanted, &held(&[on]), || vec![1, 2, 3]) {
                prop_assert_eq!(from, on);
                prop_assert!(!wanted.never.contains_key(&to));
                prop_assert_eq!(rules.standing(&wanted, &held(&[to]), || vec![1, 2, 3]), Standing::Aligned);
            }
        }
    }
}
