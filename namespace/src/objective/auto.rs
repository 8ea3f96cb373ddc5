//! Objectives that leave the choice to what was learnt: of the silos that will do, the one that is expected to cost least. Pure: rows
//! come in, an order of silos goes out, with the numbers that decided. Nothing is given up for it, and no objective overruled.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, RwLock};

use serde::{Deserialize, Serialize};

use super::expression::Subject;
use super::{Rule, Wanted};
use crate::extent::{Number, SiloId};
use crate::heat::{DAY, Heat};
use crate::inventory::{Access, Inventory, OpenSilo};
use crate::learn::{Asked, Decision, Groups, Learner, Place, Seen, Stay, Thing};
use crate::price::Rate;
use crate::table::extents::ExtentRow;
use crate::table::objects::ObjectRow;

/// Whether the choice is left to what was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auto {
    /// It is.
    On,
    /// It was: everything stays where it is, and goes on being learnt from.
    Off,
}

/// A number of days: `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Days(pub u16);

/// A part of all: `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(pub u8);

impl Share {
    /// Of what an objective is about, where it does not say how much may move in a day.
    pub const DAILY: Self = Self(10);

    /// So much of a number, at least one.
    pub fn of(self, all: u64) -> u64 {
        ((u128::from(all) * u128::from(self.0)).div_ceil(100) as u64).max(1)
    }
}

/// What was learnt, by the objective's name, with what it was learnt about.
#[derive(Debug, Default)]
pub struct Learnt(RwLock<BTreeMap<String, Known>>);

/// What was learnt for an objective, and what that depends on.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Which row it was read from.
    pub stamp: u64,
    pub about: String,
    pub sites: Sites,
    pub learner: Arc<Learner>,
}

/// Silos that may be chosen, and what they ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Sites {
    pub silos: Vec<SiloId>,
    pub places: Vec<Place>,
    /// Whether they take bytes, but for what time brings.
    pub open: Vec<bool>,
}

/// An objective that leaves the choice, while objects are judged.
#[derive(Debug, Clone)]
pub(crate) struct Chooser {
    pub sites: Sites,
    /// None where no silo has prices.
    pub learner: Option<Arc<Learner>>,
    /// Why everything stays where it is.
    halted: Option<String>,
    /// What came by itself stays so many days at least.
    stay: i32,
}

/// What is chosen for an object.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// The objective, by its place among the rules.
    pub by: usize,
    /// As learning sees it.
    pub seen: Seen,
    /// The numbers that decided; none where no silo has prices.
    pub decision: Option<Decision>,
    /// Why it stays although it may cost less elsewhere.
    pub stays: Option<String>,
}

/// Why an object is where it is, as far as that is left to what was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyAuto {
    /// Where it is expected to cost least.
    pub best: String,
    /// The rule that says so: what cost least of late, among objects like it.
    pub rule: String,
    /// Expected from now on by silo, moves and fees included; what is a year away counts about a third.
    pub costs: Vec<(String, f64)>,
    /// In what.
    pub currency: String,
    /// The chance that it is used tomorrow.
    pub chance: f64,
    /// How many times as often as others that were idle for as long it is used.
    pub often: f64,
    /// Uses of objects like it that were seen: what is known of few is but a guess.
    pub uses: f64,
    /// So many times as often used, it should be there instead.
    pub turns: Vec<(f64, String)>,
    /// Why it stays all the same.
    pub stays: Option<String>,
}

impl Learnt {
    /// Forgets those of which this does not hold.
    pub(crate) fn retain(&self, is_so: impl Fn(&str) -> bool) {
        self.0.write().expect("no holder panics").retain(|name, _| is_so(name));
    }

    pub(crate) fn get(&self, objective: &str) -> Option<Known> {
        self.0.read().expect("no holder panics").get(objective).cloned()
    }

    pub(crate) fn set(&self, objective: &str, known: Known) {
        self.0.write().expect("no holder panics").insert(objective.to_owned(), known);
    }

    /// Puts the silos first that a new object is best written to.
    pub(crate) fn order(&self, rule: &Rule, subject: &Subject<'_>, on: &mut Vec<SiloId>) {
        if rule.objective.auto != Some(Auto::On) {
            return;
        }
        let Some(Known { sites, learner, .. }) = self.get(&rule.name) else { return };
        let day = day_of(subject.now);
        let thing = Thing {
            id: Groups::key(subject.bucket, subject.key),
            groups: Groups::of(subject.bucket, subject.key),
            size: subject.size,
            heat: None,
            class: learner.class(0, None),
            written: day,
            day,
        };
        // Nobody waits for what is not solved yet.
        if let Some(first) = learner.first(&thing, |place| on.contains(&sites.silos[place])) {
            sites.put_first(&first, on);
        }
    }
}

impl Sites {
    /// Of a rule, over the silos as they are.
    pub(crate) fn of(rule: &Rule, inventory: &Inventory) -> Self {
        let mut sites = Self::default();
        for id in rule.place() {
            let Some((open, place)) = inventory.silos.get(id).and_then(|open| Some((open, place_of(open)?))) else {
                continue;
            };
            sites.silos.push(*id);
            sites.places.push(place);
            sites.open.push(open.takes_bytes());
        }
        sites
    }

    fn position(&self, silo: SiloId) -> Option<usize> {
        self.silos.iter().position(|id| *id == silo)
    }

    fn put_first(&self, first: &[usize], on: &mut Vec<SiloId>) {
        let first: Vec<SiloId> = first.iter().map(|place| self.silos[*place]).collect();
        on.retain(|id| !first.contains(id));
        on.splice(0..0, first);
    }
}

/// A silo as a place to be learnt about; none where no price is known of it, or it is others'.
fn place_of(open: &Arc<OpenSilo>) -> Option<Place> {
    let card = open.card.filter(|_| open.row.declared.access == Access::Own && !open.is_lost())?;
    let asked = Asked { requests: 1, again: true, read_back: open.row.facts.reads_back(1 << 20) };
    Some(Place { name: open.row.name.clone(), card, latency: Rate::FREE, auto: None, asked })
}

/// The day since 1970 of a moment.
pub(crate) fn day_of(now: i64) -> i32 {
    i32::try_from(now.div_euclid(DAY)).unwrap_or(i32::MAX)
}

impl Chooser {
    pub(crate) fn of(rule: &Rule, sites: Sites, learner: Option<Arc<Learner>>, today: i32) -> Self {
        let wrong = learner.as_ref().and_then(|learner| learner.is_wrong());
        let wrong = wrong
            .map(|times| format!("reading costs {times:.1} times what was expected: nothing moves until it does not"));
        let until = learner.as_ref().and_then(|learner| learner.learnt_until());
        let behind = until.is_none_or(|until| !(today - 1..=today).contains(&until));
        let behind = behind.then(|| "what became of all objects until yesterday is still being learnt".to_owned());
        let off = (rule.objective.auto == Some(Auto::Off)).then(|| "`auto` is off".to_owned());
        let stay = rule.objective.stay.map_or(1, |days| i32::from(days.0));
        Self { sites, learner, halted: off.or(wrong).or(behind), stay }
    }

    /// Chooses for an object, of which so much is known: what is wanted of it says where it may be.
    pub(crate) fn choose(
        &self,
        by: usize,
        subject: &Subject<'_>,
        (row, heat): (&ObjectRow, Option<Heat>),
        extents: &[(Number, ExtentRow)],
        wanted: &mut Wanted,
    ) -> Choice {
        let today = day_of(subject.now);
        let (at, since) = self.where_it_is(extents);
        let id = Groups::key(subject.bucket, subject.key);
        let (groups, written) = (Groups::of(subject.bucket, subject.key), day_of(row.modified));
        let seen = Seen { id, groups, size: row.size, heat, written, place: at };
        let Some(learner) = &self.learner else { return Choice { by, seen, decision: None, stays: None } };
        // What is known of today is not all of it.
        let class = learner.class(id, heat.as_ref());
        let thing = Thing { id, groups, size: row.size.max(1), heat: heat.as_ref(), class, written, day: today - 1 };
        let used = written.max(heat.map_or(i32::MIN, |heat| heat.day() as i32));
        let stay = at.map(|place| Stay::since(place, since));
        let held: BTreeSet<SiloId> =
            extents.iter().flat_map(|(_, row)| row.verified()).map(|replica| replica.silo).collect();
        let may = |place: usize| {
            let silo = self.sites.silos[place];
            wanted.on.contains(&silo) && (self.sites.open[place] || held.contains(&silo))
        };
        let (order, decision) = learner.choose(&thing, stay.as_ref(), may);
        let stays = self.halted.clone().or_else(|| {
            let early = at.is_some() && today - since <= self.stay;
            (used >= today)
                .then(|| "it was used today, and is looked at tomorrow".to_owned())
                .or_else(|| early.then(|| format!("it stays for {} days where it came", self.stay)))
        });
        if stays.is_some() && at.is_some_and(|place| wanted.on.contains(&self.sites.silos[place])) {
            self.stay(at, wanted);
        } else {
            self.go(&order, at, &held, wanted);
        }
        Choice { by, seen, decision: Some(decision), stays }
    }

    /// The same, for people.
    pub(crate) fn explain(&self, choice: &Choice, currency: &str, today: i32) -> Option<WhyAuto> {
        let (learner, decision) = (self.learner.as_ref()?, choice.decision.as_ref()?);
        let seen = &choice.seen;
        let class = learner.class(seen.id, seen.heat.as_ref());
        let Seen { id, groups, size, written, .. } = *seen;
        let thing = Thing { id, groups, size: size.max(1), heat: seen.heat.as_ref(), class, written, day: today - 1 };
        let name = |place: usize| self.sites.places[place].name.clone();
        let turns = seen.place.map(|place| learner.turns(&thing, &Stay::since(place, i32::MIN)));
        Some(WhyAuto {
            best: name(decision.place),
            rule: learner.rule(decision.expert),
            costs: decision.costs.iter().enumerate().map(|(place, cost)| (name(place), *cost)).collect(),
            currency: currency.to_owned(),
            chance: decision.chance,
            often: decision.often,
            uses: decision.uses,
            turns: turns.unwrap_or_default().into_iter().map(|(times, place)| (times, name(place))).collect(),
            stays: choice.stays.clone(),
        })
    }

    /// It stays where it is; what is missing goes where it says first.
    fn stay(&self, at: Option<usize>, wanted: &mut Wanted) {
        let Some(silo) = at.map(|place| self.sites.silos[place]) else { return };
        if wanted.on.contains(&silo) {
            wanted.on.retain(|id| *id != silo);
            wanted.on.insert(0, silo);
        }
    }

    /// The best are wanted; what is held elsewhere is too dear there.
    fn go(&self, order: &[usize], at: Option<usize>, held: &BTreeSet<SiloId>, wanted: &mut Wanted) {
        let dear = order.iter().skip(wanted.number()).map(|place| self.sites.silos[*place]);
        // What asks an unknown price is not chosen; what lies there stays.
        let unknown = wanted.on.iter().copied().filter(|id| self.sites.position(*id).is_none() && !held.contains(id));
        let dear: BTreeSet<SiloId> = dear.chain(unknown).collect();
        self.sites.put_first(order, &mut wanted.on);
        // What leaves goes to what comes after it.
        if let Some(silo) = at.map(|place| self.sites.silos[place]).filter(|silo| dear.contains(silo)) {
            wanted.on.retain(|id| *id != silo);
            wanted.on.insert(0, silo);
        }
        wanted.leaves = dear;
    }

    /// The place that has most of an object's bytes, and the day that the last of them came there.
    fn where_it_is(&self, extents: &[(Number, ExtentRow)]) -> (Option<usize>, i32) {
        let mut by_place: BTreeMap<usize, (u64, i64)> = BTreeMap::new();
        for (_, row) in extents {
            for replica in row.verified() {
                let Some(place) = self.sites.position(replica.silo) else { continue };
                let (bytes, since) = by_place.entry(place).or_default();
                (*bytes, *since) = (*bytes + row.size, (*since).max(replica.since));
            }
        }
        let most = by_place.into_iter().max_by_key(|(place, (bytes, _))| (*bytes, std::cmp::Reverse(*place)));
        most.map_or((None, i32::MIN), |(place, (_, since))| (Some(place), day_of(since) - 1))
    }
}

impl FromStr for Auto {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err(format!("`{text}` is neither `on` nor `off`")),
        }
    }
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = text.strip_suffix('d').and_then(|days| days.parse().ok());
        days.map(Self).ok_or_else(|| format!("`{text}` is no number of days such as `7d`"))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}d", self.0)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.strip_suffix('%').and_then(|share| share.parse().ok());
        let share = share.filter(|share| (1..=100).contains(share));
        share.map(Self).ok_or_else(|| format!("`{text}` is no part such as `10%`, from 1% to 100%"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}
