//! What objectives wish, for people: which are about what, what aligning would move, and why an object is where it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::decide::Way;
use super::judge::{JudgedExtent, JudgedObject};
use super::money::{Ledger, Prices};
use super::upkeep::Chores;
use super::{Alternatives, Cost, Costs, Judge, Objective, Scope, Standing, What, WhyAuto, day_of};
use crate::clock::UnixMs;
use crate::engine::{self, Page, Read, Rows, Write};
use crate::extent::JobId;
use crate::fault::Fault;
use crate::heat::DAY;
use crate::inventory::{Inventory, load_roots};
use crate::job::{BY_ITSELF, OBJECTIVES, OrderError, next_page};
use crate::limits::REASONS_TOLD;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::{Core, Namespace};
use crate::table::after_prefix;
use crate::table::objectives::{self, objective as objective_key};
use crate::table::objects::object;
use crate::table::silos::revision;

/// An objective that may be about some of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// Its name.
    pub name: String,
    /// As it is declared.
    #[serde(flatten)]
    pub objective: Objective,
    /// Silos that `place` means now, the best first.
    pub place_now: Vec<String>,
    /// And `keep`.
    #[serde(default)]
    pub keep_now: Vec<String>,
    /// Silos that `never` means now.
    pub never_now: Vec<String>,
}

/// Extents and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Extents; an object has one, unless it is of parts or longer than 1 GiB.
    pub extents: u64,
    /// Stored bytes.
    pub bytes: u64,
}

/// What would move for one objective's sake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moving {
    /// The objective.
    pub objective: String,
    /// What becomes of it.
    #[serde(default)]
    pub what: What,
    /// From this silo.
    pub from: String,
    /// Onto this one; none where it only leaves.
    pub to: Option<String>,
    /// Not as long as the objective is paused.
    #[serde(default)]
    pub paused: bool,
    /// How much.
    #[serde(flatten)]
    pub amount: Amount,
    /// For how much.
    #[serde(default)]
    pub cost: Cost,
}

/// What is not as wished, and cannot be now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The objective.
    pub objective: String,
    /// What it waits for.
    pub reason: String,
    /// How much.
    #[serde(flatten)]
    pub amount: Amount,
}

/// An objective whose condition could not be asked about some objects: to those it does not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The objective.
    pub objective: String,
    /// Why.
    pub reason: String,
    /// Of how many objects.
    pub objects: u64,
}

/// What aligning a part of the namespace would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Objects that were looked at.
    pub objects: u64,
    /// What is where it is wished, or of which nothing is wished.
    pub aligned: Amount,
    /// Of that, what nothing is wished of.
    #[serde(default)]
    pub unwished: Amount,
    /// What would move.
    pub moves: Vec<Moving>,
    /// What waits.
    pub waits: Vec<Waiting>,
    /// Conditions that do not fit what they were asked about.
    pub broken: Vec<Broken>,
    /// What all of that costs.
    #[serde(default)]
    pub costs: Costs,
    /// Seconds that it takes at the rates that are set, of `[align]` and of silos: the slowest counts. None where nothing is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

/// Why an object is where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Objectives about it, the closest first.
    pub objectives: Vec<WhyObjective>,
    /// The one that says where it is wanted.
    pub wanted_by: Option<String>,
    /// Silos that will do, the best first.
    pub wanted_on: Vec<String>,
    /// How it is read; none where nobody did, as far as is written down.
    pub heat: Option<WhyHeat>,
    /// What was learnt of it, where an objective leaves the choice to that.
    #[serde(default)]
    pub auto: Option<WhyAuto>,
    /// Its extents.
    pub extents: Vec<WhyExtent>,
    /// What its bytes cost there, and elsewhere.
    #[serde(default)]
    pub alternatives: Alternatives,
    /// What time alone would do next, within a year.
    #[serde(default)]
    pub later: Option<WhyLater>,
}

/// Days from now at which it is asked what time alone does.
const LATER: [i64; 9] = [1, 3, 7, 14, 30, 60, 90, 180, 365];

/// How an object is read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WhyHeat {
    /// When it was last read, in whole minutes.
    pub last_read: UnixMs,
    /// Reads in the last 7 days.
    pub reads_7_days: u64,
    /// And in the last 30.
    pub reads_30_days: u64,
    /// How much of it a read takes, of late: from 0 to 1.
    pub share: f64,
}

/// An objective and an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyObjective {
    /// Its name.
    pub name: String,
    /// In words.
    pub wish: String,
    /// Whether its condition holds; none where it could not be asked.
    pub holds: Option<bool>,
    /// Why it could not.
    pub reason: Option<String>,
}

/// An extent of the object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyExtent {
    /// `session-number`
    pub extent: String,
    /// Silos that have it.
    pub on: Vec<String>,
    /// Bytes.
    pub bytes: u64,
    /// Where it would move; none where it stays.
    pub moves_to: Option<String>,
    /// Where it would be copied to.
    #[serde(default)]
    pub copies_to: Option<String>,
    /// What would have it no more, without a move.
    #[serde(default)]
    pub drops_from: Option<String>,
    /// What a move waits for.
    pub waits_for: Option<String>,
    /// How its newest replica came where it is; none where it was written there.
    #[serde(default)]
    pub came: Option<WhyCame>,
}

/// How a replica came where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyCame {
    /// The silo.
    pub to: String,
    /// When.
    pub at: UnixMs,
    /// By which job; none where it came by itself.
    pub job: Option<JobId>,
    /// For which objective's sake it came by itself, where that is still declared.
    pub objective: Option<String>,
}

/// When something would move, if nothing else changed and nobody read or wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyLater {
    /// So many days from now, at the latest.
    pub days: i64,
    /// The objective.
    pub objective: String,
    /// Where it is.
    pub from: String,
    /// Where it would move, or be copied; none where it would be given up.
    pub to: Option<String>,
}

/// Why an objective was not taken away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectiveError {
    /// There is none.
    #[error("no objective `{0}`")]
    NoSuchObjective(String),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Amount {
    /// One more extent.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.extents += 1;
        self.bytes += bytes;
    }
}

impl Core {
    /// Takes an objective away that is such, or does not read; answers whether there was one.
    pub(crate) async fn forget_objective(
        &self,
        name: &str,
        such: impl Fn(&Objective) -> bool + Send + Sync + 'static,
    ) -> Result<bool, Fault> {
        let key = objective_key(name);
        let decide = {
            let key = key.clone();
            move |rows: &Rows| -> Result<_, Fault> {
                let known = rows.get(&key).is_some_and(|row| objectives::decode(row).map_or(true, |wish| such(&wish)));
                let writes = vec![Write::Delete(key.clone()), Write::Add(revision(), 1)];
                Ok((if known { writes } else { Vec::new() }, known))
            }
        };
        let known = engine::commit(&*self.engine, vec![Read::Row(key)], decide).await?;
        self.refresh_inventory(false).await?;
        Ok(known)
    }
}

impl Namespace {
    /// The objectives that may be about objects in a part of the namespace, paused ones too, the closest first.
    pub fn effective(&self, on: &Scope) -> Result<Vec<Effective>, Fault> {
        let rules = self.core.inventory().rules_unpaused()?;
        let all = rules.about(on).filter(|rule| rule.is_declared()).map(|rule| {
            let [place_now, keep_now, never_now] = rules.meant_by(rule);
            Effective { name: rule.name.clone(), objective: rule.objective.clone(), place_now, keep_now, never_now }
        });
        Ok(all.collect())
    }

    /// Pauses an objective, or resumes it. Moves under way end; no more begin.
    pub async fn pause_objective(&self, name: &str, paused: bool) -> Result<Objective, ObjectiveError> {
        let key = objective_key(name);
        let decide = {
            let key = key.clone();
            move |rows: &Rows| -> Result<_, Fault> {
                let Some(row) = rows.get(&key) else { return Ok((Vec::new(), None)) };
                let wish = objectives::decode(row).map_err(Fault::Unavailable)?;
                let paused = Objective { paused: Some(paused), ..wish.clone() };
                if paused.is_paused() == wish.is_paused() {
                    return Ok((Vec::new(), Some(wish)));
                }
                let writes = vec![Write::Put(key.clone(), objectives::encode(&paused)), Write::Add(revision(), 1)];
                Ok((writes, Some(paused)))
            }
        };
        let known = engine::commit(&*self.core.engine, vec![Read::Row(key)], decide).await.map_err(Fault::from)?;
        self.core.refresh_inventory(false).await?;
        known.ok_or_else(|| ObjectiveError::NoSuchObjective(name.to_owned()))
    }

    /// Takes an objective away. Nothing moves for that.
    pub async fn delete_objective(&self, name: &str) -> Result<(), ObjectiveError> {
        let known = self.core.forget_objective(name, |_| true).await?;
        if known { Ok(()) } else { Err(ObjectiveError::NoSuchObjective(name.to_owned())) }
    }

    /// What objectives in force would do in a part of the namespace now, and those that are paused if they were not; or, with an
    /// objective that is not declared yet, what they and that would. Looks at all objects, in constant memory; changes nothing.
    pub async fn outlook(&self, on: &Scope, with: Option<(&str, &Objective)>) -> Result<Outlook, OrderError> {
        self.outlook_at(on, with, None).await
    }

    /// The same; it says how long that takes at so many bytes a second in place of those of `[align]`.
    pub async fn outlook_at(
        &self,
        on: &Scope,
        with: Option<(&str, &Objective)>,
        rate: Option<u64>,
    ) -> Result<Outlook, OrderError> {
        let (core, inventory) = (&self.core, self.core.inventory());
        let mut rules = inventory.rules()?;
        if let Some((name, wish)) = with {
            rules = inventory.rules_with(name, wish).map_err(|wrong| OrderError::Invalid(wrong.to_string()))?;
        }
        let mut judge = core.judge_and_choose(Arc::clone(&inventory), rules, on).await?.foreseeing();
        let mut unpaused = None;
        if with.is_none() && inventory.objectives.values().any(|(wish, _)| wish.is_paused()) {
            let rules = inventory.rules_unpaused()?;
            unpaused = Some(core.judge_and_choose(inventory, rules, on).await?.foreseeing());
        }
        let mut at = judge.objects(on)?;
        let (end, mut told, mut would) = (after_prefix(&at), Told::default(), Told::default());
        let roots = load_roots(&*core.engine).await?;
        let (scrub, hashes) = (core.options.scrub.as_ref(), core.hashes_in_place());
        let prices = core.prices(&judge).with_upkeep(&judge.inventory, Chores { scrub, hashes, roots: &roots, on });
        for judge in unpaused.iter_mut().chain([&mut judge]) {
            judge.needs.heat |= prices.ask_for_reads();
        }
        let (mut ledger, mut would_cost) = (Ledger::new(&prices), Ledger::new(&prices));
        while let Some(page) = next_page(core, &mut at, &end).await? {
            for object in core.judged(&judge, &page).await? {
                told.add(&object);
                ledger.add(&object, judge.now);
            }
            if let Some(unpaused) = &unpaused {
                for object in core.judged(unpaused, &page).await? {
                    would.add(&object);
                    would_cost.add(&object, judge.now);
                }
            }
            ledger.page();
            would_cost.page();
        }
        let mut outlook = told.outlook(&judge, ledger.finish());
        if let Some(unpaused) = unpaused {
            let would = would.outlook(&unpaused, would_cost.finish());
            outlook.moves.extend(would.moves.into_iter().filter(|moving| moving.paused));
        }
        outlook.seconds = core.seconds(&outlook.moves, rate.or_else(|| core.align_rate()));
        Ok(outlook)
    }

    /// Why an object is where it is.
    pub async fn why(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Why, OrderError> {
        self.core.why(bucket, key).await
    }
}

impl Core {
    pub(crate) fn prices(&self, judge: &Judge) -> Prices {
        Prices::of(&judge.inventory, self.options.pack_up_to, judge.now)
    }

    /// What time alone does next with an object that nobody reads or writes.
    async fn later(&self, judge: &mut Judge, page: &Page, now: &JudgedObject) -> Result<Option<WhyLater>, Fault> {
        let moment = judge.now;
        let ways = |object: &JudgedObject| {
            object.extents.iter().filter_map(|extent| extent.standing.way()).collect::<Vec<_>>()
        };
        let before = ways(now);
        for days in LATER {
            judge.now = moment + days * DAY;
            let Some(then) = self.judged(judge, page).await?.pop() else { break };
            if let Some(way) = ways(&then).into_iter().find(|way| !before.contains(way)) {
                judge.now = moment;
                let name = |silo| judge.rules.name_of(silo);
                let objective = judge.rules.all()[way.by].name.clone();
                return Ok(Some(WhyLater { days, objective, from: name(way.from), to: way.to.map(name) }));
            }
        }
        judge.now = moment;
        Ok(None)
    }

    async fn why(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Why, OrderError> {
        let on = Scope { bucket: Some(bucket.to_string()), prefix: key.as_str().to_owned() };
        let mut judge = self.objectives(&on).await?;
        judge.needs.heat = true;
        let incarnation = judge.incarnation(bucket.as_str())?;
        let row_key = object(incarnation, key);
        let row = self.engine.get(std::slice::from_ref(&row_key)).await.map_err(Fault::from)?.remove(0);
        let row = row.ok_or_else(|| OrderError::NoSuchKey(format!("s3://{bucket}/{key}")))?;
        let page = vec![(bytes::Bytes::from(row_key), row)];
        let mut judged = self.judged(&judge, &page).await?;
        let object = judged.pop().ok_or_else(|| OrderError::NoSuchKey(format!("s3://{bucket}/{key}")))?;
        let later = self.later(&mut judge, &page, &object).await?;
        let heat = object.heat.map(|heat| WhyHeat {
            last_read: heat.last_read(),
            reads_7_days: heat.reads(7 * DAY, judge.now),
            reads_30_days: heat.reads(30 * DAY, judge.now),
            share: heat.share(),
        });
        let rules = &judge.rules;
        let about = rules.all().iter().zip(&object.conditions).filter_map(|(rule, holds)| {
            let holds = holds.as_ref()?;
            Some(WhyObjective {
                name: rule.name.clone(),
                wish: rules.wish_of(rule),
                holds: holds.as_ref().ok().copied(),
                reason: holds.as_ref().err().cloned(),
            })
        });
        let prices = self.prices(&judge);
        let auto = object
            .choice
            .as_ref()
            .and_then(|choice| judge.choosers.get(&choice.by)?.explain(choice, prices.currency(), day_of(judge.now)));
        let inventory = self.inventory();
        let paused = inventory.objectives.iter().filter(|(_, (wish, _))| wish.is_paused() && wish.on.meets(&on));
        let paused = paused.map(|(name, (wish, _))| WhyObjective {
            name: name.clone(),
            wish: wish.to_string(),
            holds: None,
            reason: Some("it is paused".to_owned()),
        });
        let about = about.chain(paused);
        let extents = object.extents.iter().map(|extent| {
            let (mut moves_to, mut copies_to, mut drops_from, mut waits_for) = (None, None, None, None);
            match &extent.standing {
                Standing::Aligned => {}
                Standing::Moves { to, .. } => moves_to = Some(rules.name_of(*to)),
                Standing::Copies { to, .. } => copies_to = Some(rules.name_of(*to)),
                Standing::Drops { from, .. } => drops_from = Some(rules.name_of(*from)),
                Standing::Waits { reason, .. } => waits_for = Some(reason.clone()),
            }
            let on = extent.row.verified().map(|replica| rules.name_of(replica.silo)).collect();
            let (id, bytes) = (extent.id.to_string(), extent.row.size);
            let came = came(&inventory, extent);
            WhyExtent { extent: id, on, bytes, moves_to, copies_to, drops_from, waits_for, came }
        });
        Ok(Why {
            objectives: about.collect(),
            wanted_by: object.wanted.by.map(|by| rules.all()[by].name.clone()),
            wanted_on: object.wanted.on.iter().map(|id| rules.name_of(*id)).collect(),
            heat,
            auto,
            extents: extents.collect(),
            later,
            alternatives: prices.alternatives(&object, judge.now),
        })
    }
}

/// How the newest replica of an extent came where it is.
fn came(inventory: &Inventory, extent: &JudgedExtent) -> Option<WhyCame> {
    let newest = extent.row.verified().max_by_key(|replica| replica.since)?;
    let job = newest.job?;
    let objective = inventory.objective_of(job);
    let by_itself = job == BY_ITSELF || job >= OBJECTIVES;
    let to = inventory.name_of(newest.silo);
    Some(WhyCame { to, at: newest.since, job: (!by_itself).then_some(job), objective })
}

/// An outlook while it is made, by numbers.
#[derive(Default)]
pub(crate) struct Told {
    objects: u64,
    aligned: Amount,
    unwished: Amount,
    moves: BTreeMap<Way, Amount>,
    waits: BTreeMap<(usize, String), Amount>,
    broken: BTreeMap<(usize, String), u64>,
}

/// Reasons may name what they met, and so be many: those beyond a limit are told together.
fn told_apart<T>(known: &BTreeMap<(usize, String), T>, by: usize, reason: String) -> String {
    let which = (by, reason);
    if known.len() < REASONS_TOLD || known.contains_key(&which) { which.1 } else { "other reasons".to_owned() }
}

impl Told {
    /// Counts an object.
    pub(crate) fn add(&mut self, object: &JudgedObject) {
        self.objects += 1;
        for (by, holds) in object.conditions.iter().enumerate() {
            let Some(Err(reason)) = holds else { continue };
            let reason = told_apart(&self.broken, by, reason.clone());
            *self.broken.entry((by, reason)).or_default() += 1;
        }
        for extent in &object.extents {
            self.add_extent(&extent.standing, extent.row.size);
            // What comes after it is as wished then, and is not now.
            let then = extent.then.iter().filter(|standing| **standing != Standing::Aligned);
            then.for_each(|standing| self.add_extent(standing, extent.row.size));
            if object.wanted.is_nothing() {
                self.unwished.add(extent.row.size);
            }
        }
    }

    fn add_extent(&mut self, standing: &Standing, bytes: u64) {
        if let Some(way) = standing.way() {
            self.moves.entry(way).or_default().add(bytes);
        } else if let Standing::Waits { by, reason } = standing {
            let reason = told_apart(&self.waits, *by, reason.clone());
            self.waits.entry((*by, reason)).or_default().add(bytes);
        } else {
            self.aligned.add(bytes);
        }
    }

    pub(crate) fn outlook(self, judge: &Judge, (ways, costs): (BTreeMap<Way, Cost>, Costs)) -> Outlook {
        let name = |by: usize| judge.rules.all()[by].name.clone();
        let silo = |id| judge.rules.name_of(id);
        let moves = self.moves.into_iter().map(|(way, amount)| Moving {
            objective: name(way.by),
            what: way.what,
            from: silo(way.from),
            to: way.to.map(silo),
            paused: judge.rules.all()[way.by].objective.is_paused(),
            amount,
            cost: ways.get(&way).copied().unwrap_or_default(),
        });
        let waits =
            self.waits.into_iter().map(|((by, reason), amount)| Waiting { objective: name(by), reason, amount });
        let broken =
            self.broken.into_iter().map(|((by, reason), objects)| Broken { objective: name(by), reason, objects });
        Outlook {
            objects: self.objects,
            aligned: self.aligned,
            unwished: self.unwished,
            moves: moves.collect(),
            waits: waits.collect(),
            broken: broken.collect(),
            costs,
            seconds: None,
        }
    }
}
