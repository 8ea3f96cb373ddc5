//! What is learnt for objectives that leave the choice to it: a lesson a day, from all objects as they are compared, kept in the index
//! so that every gateway chooses alike.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::inventory::Inventory;
use crate::learn::{Learner, Lesson, Month};
use crate::namespace::{Core, Namespace};
use crate::objective::judge::JudgedObject;
use crate::objective::money::Prices;
use crate::objective::{Chooser, Judge, Known, Rule, Rules, Scope, Sites, day_of};
use crate::table::after_prefix;
use crate::table::silos::{LEARNT_PART, all_learnt, learnt, learnt_part, read_learnt};

/// What an objective's lessons are stored as: `learnt(name)`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// Another each time.
    stamp: u64,
    /// Parts of the set that is whole.
    parts: u32,
    /// What it was about: where an objective is about something else now, it begins anew.
    about: String,
}

impl Head {
    /// Which of the two sets of parts.
    fn set(&self) -> u8 {
        (self.stamp % 2) as u8
    }
}

/// What objects were when all were compared: for each rule that learns today, by its place.
pub(crate) struct Lessons {
    /// The day that was over when it began.
    day: i32,
    by_rule: BTreeMap<usize, Lesson>,
}

impl Lessons {
    /// For rules that did not learn yet what became of objects until yesterday.
    pub(crate) fn due(judge: &Judge) -> Self {
        let until = |chooser: &Chooser| chooser.learner.as_ref().and_then(|learner| learner.learnt_until());
        let day = day_of(judge.now) - 1;
        let due = judge
            .choosers
            .iter()
            .filter(|(_, chooser)| until(chooser).is_none_or(|until| !(day..=day + 1).contains(&until)));
        Self { day, by_rule: due.map(|(by, _)| (*by, Lesson::default())).collect() }
    }

    /// One more object.
    pub(crate) fn add(&mut self, object: &JudgedObject) {
        for (by, lesson) in &mut self.by_rule {
            match (&object.choice, object.id) {
                (Some(choice), _) if choice.by == *by => lesson.see(choice.seen),
                (_, Some(id)) if object.conditions[*by].is_some() => lesson.leave(id),
                _ => {}
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_rule.is_empty()
    }
}

/// What a rule is about: all that decides of which objects it learns.
fn about(rule: &Rule) -> String {
    format!("{} {}", rule.objective.on, rule.objective.when.as_deref().unwrap_or_default())
}

impl Core {
    /// For each rule that leaves the choice to what was learnt, what that is.
    pub(crate) async fn choosers(
        &self,
        rules: &Rules,
        inventory: &Inventory,
        on: &Scope,
    ) -> Result<BTreeMap<usize, Chooser>, Fault> {
        let (mut choosers, today) = (BTreeMap::new(), day_of(self.clock.now()));
        for (by, rule) in rules.all().iter().enumerate() {
            if rule.objective.auto.is_some() && rule.objective.on.meets(on) {
                let sites = Sites::of(rule, inventory);
                let learner = self.learner(rule, &sites, inventory).await?;
                choosers.insert(by, Chooser::of(rule, sites, learner, today));
            }
        }
        Ok(choosers)
    }

    /// Reads what another gateway learnt, so that what is written through this one goes where its like are best.
    pub(crate) async fn refresh_learnt(&self) -> Result<(), Fault> {
        let inventory = self.inventory();
        if inventory.objectives.values().any(|(wish, _)| wish.auto.is_some()) {
            self.choosers(&inventory.rules()?, &inventory, &Scope::default()).await?;
        }
        Ok(())
    }

    async fn head(&self, rule: &Rule) -> Result<Option<Head>, Fault> {
        let row = self.engine.get(&[learnt(&rule.name)]).await?.remove(0);
        // What does not read is learnt anew.
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
    }

    /// What was learnt, by prices and silos as they are now; read again where another gateway learnt.
    async fn learner(&self, rule: &Rule, sites: &Sites, inventory: &Inventory) -> Result<Option<Arc<Learner>>, Fault> {
        if sites.silos.is_empty() {
            inventory.learnt.retain(|name| name != rule.name);
            return Ok(None);
        }
        // Nothing was learnt under the first stamp.
        let head = self.head(rule).await?.filter(|head| head.about == about(rule)).unwrap_or_default();
        let known = inventory.learnt.get(&rule.name);
        if let Some(known) =
            known.filter(|known| known.stamp == head.stamp && known.sites == *sites && known.about == about(rule))
        {
            return Ok(Some(known.learner));
        }
        let learner = self.read_learner(rule, &head, sites).await?;
        let learner = learner.unwrap_or_else(|| Learner::new(sites.places.clone()));
        Ok(Some(publish(inventory, rule, head.stamp, sites, learner).await))
    }

    async fn read_learner(&self, rule: &Rule, head: &Head, sites: &Sites) -> Result<Option<Learner>, Fault> {
        if head.parts == 0 {
            return Ok(None);
        }
        let keys: Vec<_> = (0..head.parts).map(|part| learnt_part(&rule.name, head.set(), part)).collect();
        let parts = self.engine.get(&keys).await?;
        let bytes: Vec<u8> = parts.into_iter().flatten().flat_map(|part| part.to_vec()).collect();
        let read = Learner::from_bytes(&bytes, sites.places.clone()).unwrap_or_else(|error| {
            tracing::warn!(objective = %rule.name, %error, "what was learnt does not read, and is learnt anew");
            None
        });
        Ok(read.map(|mut learner| {
            learner.renew(None, Some(sites.open.clone()));
            learner
        }))
    }

    /// Learns what became of objects. Answers whether something is chosen otherwise now.
    pub(crate) async fn learn(&self, judge: &Judge, lessons: Lessons) -> Result<bool, Fault> {
        let (mut otherwise, day) = (false, lessons.day);
        for (by, lesson) in lessons.by_rule {
            let (rule, chooser) = (&judge.rules.all()[by], &judge.choosers[&by]);
            if chooser.sites.silos.is_empty() {
                continue;
            }
            match self.learn_for(judge, rule, chooser, lesson, day).await {
                Ok(changed) => otherwise |= changed,
                Err(fault) => tracing::warn!(objective = %rule.name, %fault, "nothing was learnt"),
            }
        }
        self.forget_learnt(&judge.inventory).await?;
        Ok(otherwise)
    }

    async fn learn_for(
        &self,
        judge: &Judge,
        rule: &Rule,
        chooser: &Chooser,
        lesson: Lesson,
        day: i32,
    ) -> Result<bool, Fault> {
        let before = self.head(rule).await?.unwrap_or_default();
        let sites = chooser.sites.clone();
        let known = if before.about == about(rule) { self.read_learner(rule, &before, &sites).await? } else { None };
        let mut learner = known.unwrap_or_else(|| Learner::new(sites.places.clone()));
        let learnt = tokio::task::spawn_blocking(move || (learner.learn(&lesson, day), learner.to_bytes()));
        let broken = |error: &dyn std::fmt::Display| Fault::Damaged(format!("learning broke off: {error}"));
        let (changed, bytes) = learnt.await.map_err(|error| broken(&error))?;
        // Another gateway learnt the same meanwhile.
        let bytes = bytes.map_err(|error| broken(&error))?;
        let Some(head) = self.write_learnt(rule, &before, bytes).await? else { return Ok(false) };
        // As others will: what is solved from what was solved before differs in the last digits.
        if let Some(learner) = self.read_learner(rule, &head, &sites).await? {
            publish(&judge.inventory, rule, head.stamp, &sites, learner).await;
        }
        Ok(changed)
    }

    /// None where another gateway wrote meanwhile.
    async fn write_learnt(&self, rule: &Rule, before: &Head, bytes: Vec<u8>) -> Result<Option<Head>, Fault> {
        let parts = bytes.len().div_ceil(LEARNT_PART) as u32;
        // An objective of the same name may have been there before.
        let first = self.clock.now().unsigned_abs();
        let stamp = if before.stamp == 0 { first } else { before.stamp + 1 };
        let head = Head { stamp, parts, about: about(rule) };
        for (part, bytes) in bytes.chunks(LEARNT_PART).enumerate() {
            self.write_row(learnt_part(&rule.name, head.set(), part as u32), Some(bytes.to_vec())).await?;
        }
        let row = serde_json::to_vec(&head).map_err(|error| Fault::Damaged(error.to_string()))?;
        let (key, stamp) = (learnt(&rule.name), before.stamp);
        let read = vec![Read::Row(key.clone())];
        let decide = move |rows: &Rows| {
            let now = rows.get(&key).and_then(|row| serde_json::from_slice::<Head>(row).ok()).unwrap_or_default();
            let same = now.stamp == stamp;
            let writes = if same { vec![Write::Put(key.clone(), row.clone())] } else { Vec::new() };
            Ok::<_, Fault>((writes, same))
        };
        let written = engine::commit(&*self.engine, read, decide).await?;
        Ok(written.then_some(head))
    }

    async fn write_row(&self, key: engine::Key, row: Option<Vec<u8>>) -> Result<(), Fault> {
        let write = row.map_or_else(|| Write::Delete(key.clone()), |row| Write::Put(key.clone(), row));
        let decide = move |_: &Rows| Ok::<_, Fault>((vec![write.clone()], ()));
        Ok(engine::commit(&*self.engine, Vec::new(), decide).await?)
    }

    /// What was learnt for objectives that are no more goes.
    async fn forget_learnt(&self, inventory: &Inventory) -> Result<(), Fault> {
        inventory.learnt.retain(|name| inventory.objectives.contains_key(name));
        for (key, _) in self.engine.range(all_learnt(), usize::MAX, usize::MAX).await? {
            let Some(name) = read_learnt(&key).filter(|name| !inventory.objectives.contains_key(*name)) else {
                continue;
            };
            for set in [0, 1] {
                let (first, last) = (learnt_part(name, set, 0), learnt_part(name, set, u32::MAX));
                for (part, _) in self.engine.range(first..after_prefix(&last), usize::MAX, usize::MAX).await? {
                    self.write_row(part.to_vec(), None).await?;
                }
            }
            self.write_row(key.to_vec(), None).await?;
        }
        Ok(())
    }
}

/// From now on objects are chosen for by this. What is solved once it is asked for is solved before that.
async fn publish(inventory: &Inventory, rule: &Rule, stamp: u64, sites: &Sites, learner: Learner) -> Arc<Learner> {
    let learner = Arc::new(learner);
    let solving = Arc::clone(&learner);
    let solved = tokio::task::spawn_blocking(move || solving.solve());
    if let Err(error) = solved.await {
        tracing::warn!(objective = %rule.name, %error, "what was learnt was not solved");
    }
    let known = Known { stamp, about: about(rule), sites: sites.clone(), learner: Arc::clone(&learner) };
    inventory.learnt.set(&rule.name, known);
    learner
}

/// What was saved by an objective that leaves the choice to what was learnt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Savings {
    /// The objective.
    pub objective: String,
    /// In what.
    pub currency: String,
    /// By month, the last one until yesterday.
    pub months: Vec<Month>,
}

impl Namespace {
    /// What was paid for what objectives choose for, as far as silos' prices tell, and what fixed rules would have cost.
    pub async fn savings(&self) -> Result<Vec<Savings>, Fault> {
        let inventory = self.core.inventory();
        let rules = inventory.rules()?;
        let currency = Prices::of(&inventory, 0, self.core.clock.now()).currency().to_owned();
        let choosers = self.core.choosers(&rules, &inventory, &Scope::default()).await?;
        let savings = choosers.into_iter().map(|(by, chooser)| Savings {
            objective: rules.all()[by].name.clone(),
            currency: currency.clone(),
            months: chooser.learner.map(|learner| learner.months()).unwrap_or_default(),
        });
        Ok(savings.collect())
    }
}
