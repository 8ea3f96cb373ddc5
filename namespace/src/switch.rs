//! Replacing a silo, with a way back: the old one takes all writes, the new one follows, and only once it has everything is the
//! old one given up. Until then a rollback leaves all as it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{self, Engine, Key, Read, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::{Access, Inventory, OpenSilo, WritePolicy};
use crate::job::{Came, Checked, JobInfo, JobState, Order, OrderError, next_page, refused_silo, until_written};
use crate::limits::{BEAT, SILENCE};
use crate::namespace::{Core, Namespace};
use crate::objective::{Amount, Costs, Judge, Ledger, Objective, Objectives, Scope, Selector, Standing, Way, What};
use crate::table::objectives::{encode as encode_objective, objective as objective_key};
use crate::table::silos::{SiloRow, bucket_write_policy, revision, silo as silo_key, write_policy};
use crate::table::{KeyBuilder, after_prefix, encode, encode_json, json_of, key};

/// How long a commit waits for what was written just before it.
const PATIENCE: Duration = Duration::from_secs(30);

const PREFIX: &[u8] = b"switch/";

/// A silo that another one follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The old one.
    pub from: SiloId,
    /// The new one.
    pub to: SiloId,
    /// Since when.
    pub started: UnixMs,
}

/// How far a switch came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchInfo {
    /// The old silo.
    pub from: String,
    /// The new one.
    pub to: String,
    /// Since when.
    pub started: UnixMs,
    /// What of the old silo's objects the new one has.
    pub done: Amount,
    /// What it has not.
    pub rest: Amount,
    /// How long the oldest of that has been on the old silo since the switch began; milliseconds.
    pub lag: u64,
    /// What the rest waits for, where it does.
    pub waits: Option<String>,
    /// What the rest costs.
    pub costs: Costs,
    /// What will not be as it was, once it is committed.
    pub notes: Vec<String>,
}

impl Switch {
    /// Whether a silo is one of the two.
    pub fn is_about(&self, silo: SiloId) -> bool {
        silo == self.from || silo == self.to
    }

    /// For people.
    pub(crate) fn in_words(&self, inventory: &Inventory) -> String {
        format!("the switch from silo `{}` to `{}`", inventory.name_of(self.from), inventory.name_of(self.to))
    }

    /// Whether an order would empty one of the two.
    pub(crate) fn forbids(&self, order: &Order, inventory: &Inventory) -> bool {
        let about = |name: &String| inventory.named(name).is_some_and(|open| self.is_about(open.id));
        match order {
            Order::Drain { from, .. } | Order::Undo { from, .. } => about(from),
            Order::Place { .. } | Order::Align { .. } | Order::Lost { .. } | Order::Scrub { .. } => false,
        }
    }

    fn key(&self) -> Key {
        KeyBuilder::new(key::SETTINGS).raw(PREFIX).short(self.from).build()
    }

    fn encode(&self) -> Vec<u8> {
        encode_json(self)
    }

    fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        let row = json_of(bytes).ok_or_else(|| Fault::Damaged("a switch of another format".to_owned()))?;
        serde_json::from_slice(row).map_err(|error| Fault::Damaged(format!("a switch does not read: {error}")))
    }
}

/// All that are under way.
pub(crate) async fn load(engine: &dyn Engine) -> Result<Vec<Switch>, Fault> {
    let first = KeyBuilder::new(key::SETTINGS).raw(PREFIX).build();
    let end = after_prefix(&first);
    let rows = engine.range(first..end, crate::limits::MAX_SILOS, usize::MAX).await?;
    rows.iter().map(|(_, row)| Switch::decode(row)).collect()
}

/// Whether one of two silos may take the other's place.
fn refuse(from: &OpenSilo, to: &OpenSilo, inventory: &Inventory) -> Result<(), OrderError> {
    let wrong = |reason: String| Err(OrderError::Invalid(reason));
    if from.id == to.id {
        return wrong("a silo cannot be switched to itself".to_owned());
    }
    for open in [from, to] {
        if open.row.declared.access != Access::Own {
            return wrong(format!("silo `{}` is not ours: only silos of our own are switched", open.row.name));
        }
        if let Some(switch) = inventory.switches.iter().find(|switch| switch.is_about(open.id)) {
            return Err(OrderError::Switching(switch.in_words(inventory)));
        }
    }
    if to.row.cordoned {
        return Err(OrderError::Cordoned(to.row.name.clone()));
    }
    Ok(())
}

/// Labels by which objectives mean the old silo and not the new one.
fn notes(from: &OpenSilo, to: &OpenSilo, inventory: &Inventory) -> Vec<String> {
    let selectors = inventory
        .objectives
        .iter()
        .flat_map(|(name, (wish, _))| wish.selectors().map(move |selector| (name, selector)));
    let means = |open: &OpenSilo, selector: &Selector| selector.means(&open.row.name, &open.row.declared.labels);
    let lost = selectors.filter(|(_, selector)| {
        matches!(selector, Selector::Label(..)) && means(from, selector) && !means(to, selector)
    });
    let mut notes: Vec<String> = lost
        .map(|(name, selector)| {
            let (old, new) = (&from.row.name, &to.row.name);
            format!("objective `{name}` means `{old}` by `{selector}`, which `{new}` has not: `holdall silo set {new} --label {selector}`")
        })
        .collect();
    notes.dedup();
    if let Some(name) = stands_against(inventory, &renamed(inventory, &from.row.name, &to.row.name).1, to.id) {
        notes.push(format!("objective `{name}` would undo it: the commit is refused as long as it does"));
    }
    if inventory.write.is_none() {
        notes.push("no write policy names a silo: new objects go to the first one that takes them".to_owned());
    }
    notes
}

/// The same with the new silo's name, once.
fn renamed_policy(policy: &WritePolicy, from: &str, to: &str) -> WritePolicy {
    let mut policy = policy.clone();
    for target in policy.to.iter_mut().filter(|target| target.silo == from) {
        to.clone_into(&mut target.silo);
    }
    let mut seen = Vec::new();
    policy.to.retain(|target| {
        let new = !seen.contains(target);
        seen.push(target.clone());
        new
    });
    policy
}

fn renamed_objective(wish: &Objective, from: &str, to: &str) -> Objective {
    let mut wish = wish.clone();
    // Where the new one is forbidden or wanted already, what is said of the old one is about the old one.
    let names = |silo: &str, selectors: &[Selector]| {
        selectors.iter().any(|own| matches!(own, Selector::Name(own) if own == silo))
    };
    let wants_new = [&wish.place, &wish.keep, &wish.copy_on_read].into_iter().any(|selectors| names(to, selectors));
    let mut all = vec![&mut wish.place, &mut wish.keep, &mut wish.copy_on_read];
    if wants_new {
        wish.never.retain(|own| !matches!(own, Selector::Name(own) if own == from));
    } else {
        all.push(&mut wish.never);
    }
    for selectors in all {
        for selector in selectors.iter_mut().filter(|selector| matches!(selector, Selector::Name(own) if own == from)) {
            *selector = Selector::Name(to.to_owned());
        }
        let mut seen = BTreeSet::new();
        selectors.retain(|selector| seen.insert(selector.clone()));
    }
    wish
}

/// What names the old silo, naming the new one: what there is to write, and all objectives as they are then.
fn renamed(inventory: &Inventory, from: &str, to: &str) -> (Vec<Write>, Objectives) {
    let policies = inventory.write.iter().map(|policy| (write_policy(), policy));
    let of_buckets = inventory.bucket_write.iter().map(|(bucket, policy)| (bucket_write_policy(bucket), policy));
    let policies = policies.chain(of_buckets).filter_map(|(key, policy)| {
        let new = renamed_policy(policy, from, to);
        (new != *policy).then(|| Write::Put(key, encode(&new)))
    });
    let mut writes: Vec<Write> = policies.collect();
    let mut objectives = inventory.objectives.clone();
    for (name, (wish, _)) in &mut objectives {
        let new = renamed_objective(wish, from, to);
        if new != *wish {
            writes.push(Write::Put(objective_key(name), encode_objective(&new)));
            *wish = new;
        }
    }
    (writes, objectives)
}

/// The objective that would undo the drain that a commit is, when its names are the new ones. What is never on the old silo is not
/// drained from there.
fn stands_against(inventory: &Inventory, renamed: &Objectives, to: SiloId) -> Option<String> {
    let mut objectives = renamed.clone();
    objectives.retain(|_, (wish, _)| !wish.is_paused());
    for (name, (wish, _)) in &mut objectives {
        if let Some((before, _)) = inventory.objectives.get(name) {
            wish.never.clone_from(&before.never);
        }
    }
    inventory.declared(&objectives).against(&Scope::default(), to).map(|rule| rule.name.clone())
}

impl Namespace {
    /// The new silo follows the old one from now on, and gets what that has. With `dry_run` nothing changes, and what is answered
    /// is what it would begin with.
    pub async fn start_switch(&self, from: &str, to: &str, dry_run: bool) -> Result<SwitchInfo, OrderError> {
        let one_at_a_time = self.core.ordering.lock().await;
        let switch = until_written(|| self.core.begin_switch((from, to), dry_run)).await?;
        drop(one_at_a_time);
        self.core.switch_info(&switch).await
    }

    /// How far all switches came. Looks at all objects.
    pub async fn switches(&self) -> Result<Vec<SwitchInfo>, OrderError> {
        let mut all = Vec::new();
        for switch in &self.core.inventory().switches {
            all.push(self.core.switch_info(switch).await?);
        }
        Ok(all)
    }

    /// Gives the old silo up, in one commit: what names it names the new one, which takes its writes, and a job empties it. Refused,
    /// and nothing done, as long as the new one has not everything that was written before.
    pub async fn commit_switch(&self, from: &str) -> Result<JobInfo, OrderError> {
        let (switch, to) = self.core.switch_of(from)?;
        self.core.wait_for_rest(&switch).await?;
        self.core.refuse_away(switch.to).await?;
        let _one_at_a_time = self.core.ordering.lock().await;
        let job = until_written(|| self.core.give_up_old(&switch, (from, &to))).await?;
        tracing::info!(from, to, "a switch is committed");
        job.ok_or_else(|| OrderError::NoSuchSilo(from.to_owned()))
    }

    /// Leaves the old silo as it is, and takes back what the new one got and nobody wants there, in one commit.
    pub async fn roll_back_switch(&self, from: &str) -> Result<JobInfo, OrderError> {
        let _one_at_a_time = self.core.ordering.lock().await;
        let job = until_written(|| self.core.take_back(from)).await?;
        job.ok_or_else(|| OrderError::NoSuchSilo(from.to_owned()))
    }
}

/// What becomes of a switch.
struct Change<'a> {
    /// As its row must be.
    before: Option<&'a Switch>,
    writes: Vec<Write>,
    /// A job that begins with it.
    job: Option<Order>,
}

/// What of an old silo's objects a new one has not.
#[derive(Default)]
struct Rest {
    done: Amount,
    missing: Amount,
    /// Since when the oldest of the rest has been on the old one,
    oldest: Option<UnixMs>,
    /// and the newest of what is done on the new one.
    newest: Option<UnixMs>,
    waits: Option<String>,
    costs: Costs,
}

impl Rest {
    /// Whether the new silo has all that was on the old one by then, and still gets what comes.
    fn is_done_by(&self, moment: UnixMs) -> bool {
        let follows = self.newest.is_some_and(|newest| newest >= moment);
        self.oldest.is_none_or(|oldest| oldest >= moment && follows)
    }
}

impl Core {
    async fn begin_switch(&self, (from, to): (&str, &str), dry_run: bool) -> Result<Came<Switch>, OrderError> {
        let checked = self.before_checks().await?;
        let inventory = self.inventory();
        let named = |name: &str| inventory.asked(name).map_err(refused_silo);
        let (old, new) = (named(from)?, named(to)?);
        refuse(old, new, &inventory)?;
        for order in [(from, to), (to, from)].map(|(from, to)| Order::Drain { from: from.into(), to: to.into() }) {
            self.refuse_running(&order).await?;
        }
        if self.options.align.is_none() {
            let reason = "this gateway moves nothing by itself (`[align] every` is 0s), and a switch does";
            return Err(OrderError::Invalid(reason.to_owned()));
        }
        let switch = Switch { from: old.id, to: new.id, started: self.clock.now() };
        if dry_run {
            return Ok(Came::Written(switch));
        }
        let begin = Change { before: None, writes: vec![Write::Put(switch.key(), switch.encode())], job: None };
        let Came::Written(_) = self.change_switch(&switch, checked, begin).await? else { return Ok(Came::Overtaken) };
        crate::failpoint!("switch-begun");
        tracing::info!(from, to, "a switch begins");
        Ok(Came::Written(switch))
    }

    async fn give_up_old(
        &self,
        switch: &Switch,
        (from, to): (&str, &str),
    ) -> Result<Came<Option<JobInfo>>, OrderError> {
        let checked = self.before_checks().await?;
        let inventory = self.inventory();
        let (mut writes, objectives) = renamed(&inventory, from, to);
        let drain = Order::Drain { from: from.to_owned(), to: to.to_owned() };
        for silo in [from, to] {
            inventory.asked(silo).map_err(refused_silo)?;
        }
        self.refuse_running(&drain).await?;
        self.refuse_unfilled(&drain).await?;
        if let Some(name) = stands_against(&inventory, &objectives, switch.to) {
            return Err(OrderError::Against(name));
        }
        for (id, cordoned) in [(switch.from, true), (switch.to, false)] {
            let row = SiloRow { cordoned, ..inventory.silo(id)?.row.clone() };
            writes.push(Write::Put(silo_key(id), row.encode()));
        }
        writes.push(Write::Delete(switch.key()));
        crate::failpoint!("switch-filled");
        let commit = Change { before: Some(switch), writes, job: Some(drain) };
        let Came::Written(job) = self.change_switch(switch, checked, commit).await? else { return Ok(Came::Overtaken) };
        crate::failpoint!("switch-committed");
        Ok(Came::Written(job))
    }

    async fn take_back(&self, from: &str) -> Result<Came<Option<JobInfo>>, OrderError> {
        let checked = self.before_checks().await?;
        let (switch, to) = self.switch_of(from)?;
        let (mut loses, mut has) = (to.clone(), from.to_owned());
        if crate::seeded_bug!("rollback-empties-old") {
            std::mem::swap(&mut loses, &mut has);
        }
        let since = self.taken_back_since(&switch, from, &to).await?;
        let undo = Order::Undo { from: loses, to: has, since };
        self.refuse_running(&undo).await?;
        let writes = vec![Write::Delete(switch.key())];
        let back = Change { before: Some(&switch), writes, job: Some(undo) };
        let Came::Written(job) = self.change_switch(&switch, checked, back).await? else { return Ok(Came::Overtaken) };
        crate::failpoint!("switch-rolled-back");
        tracing::info!(from, to, "a switch is rolled back");
        Ok(Came::Written(job))
    }

    fn switch_of(&self, from: &str) -> Result<(Switch, String), OrderError> {
        let inventory = self.inventory();
        let open = inventory.named(from).ok_or_else(|| OrderError::NoSuchSilo(from.to_owned()))?;
        let known = inventory.switches.iter().find(|switch| switch.from == open.id);
        let switch = known.ok_or_else(|| OrderError::Invalid(format!("silo `{from}` is not being switched")))?;
        Ok((switch.clone(), inventory.silo(switch.to)?.row.name.clone()))
    }

    /// Since when what came to the new silo is taken back: what an earlier rollback of the same two left there, too.
    async fn taken_back_since(&self, switch: &Switch, from: &str, to: &str) -> Result<UnixMs, Fault> {
        let last = self.last_switched(to, from).await?.filter(|job| job.state != JobState::Done);
        Ok(match last.map(|job| job.order) {
            Some(Order::Undo { since, .. }) => since.min(switch.started),
            _ => switch.started,
        })
    }

    /// Changes a switch's row and what belongs to it, in one commit, as long as nothing was ordered or declared since it was checked.
    async fn change_switch(
        &self,
        switch: &Switch,
        checked: Checked,
        change: Change<'_>,
    ) -> Result<Came<Option<JobInfo>>, OrderError> {
        let (key, before, now) = (switch.key(), change.before.map(Switch::encode), self.clock.now());
        let mut reads = Checked::reads();
        reads.push(Read::Row(key.clone()));
        let (writes, order) = (change.writes, change.job);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            if !checked.holds(rows)? {
                return Ok((Vec::new(), Came::Overtaken));
            }
            if rows.get(&key).map(|row| row.to_vec()) != before {
                return Err(Fault::Unavailable("the switch changed meanwhile: try again".to_owned()));
            }
            let mut writes = writes.clone();
            writes.push(Write::Add(revision(), 1));
            let job = order.clone().map(|order| crate::job::new_job(rows, order, now)).transpose()?;
            writes.extend(job.iter().flat_map(|(_, writes)| writes.iter().cloned()));
            Ok((writes, Came::Written(job.map(|(info, _)| info))))
        };
        let came = engine::commit(&*self.engine, reads, decide).await.map_err(Fault::from)?;
        self.refresh_inventory(true).await?;
        self.job_wanted.notify_one();
        Ok(came)
    }

    /// Waits a while for what was written before now and is still on its way.
    async fn wait_for_rest(&self, switch: &Switch) -> Result<(), OrderError> {
        let (now, deadline) = (self.clock.now(), self.clock.monotonic() + PATIENCE);
        for look in 0_u32.. {
            let found = self.rest_of(&self.following(switch).await?, switch).await?;
            if found.is_done_by(now) {
                return Ok(());
            }
            // One look may take longer than that.
            if (look > 0 && self.clock.monotonic() >= deadline) || found.waits.is_some() {
                let why = found.waits.map_or_else(String::new, |waits| format!(": {waits}"));
                let reason = format!("{} extents are still on their way to the new silo{why}", found.missing.extents);
                return Err(OrderError::Invalid(reason));
            }
            self.clock.sleep(BEAT).await;
        }
        Ok(())
    }

    /// Refuses a new silo that is not there at this moment: a folder that was moved away, or lies below a mount that came later, takes
    /// bytes as long as it is held open, and nobody finds them afterwards.
    async fn refuse_away(&self, to: SiloId) -> Result<(), OrderError> {
        let open = Arc::clone(self.inventory().silo(to)?);
        let away = tokio::select! {
            biased;
            claimed = open.claim(&self.id) => claimed.err().map(|error| error.to_string()),
            () = self.clock.sleep(SILENCE) => Some("it does not answer".to_owned()),
        };
        away.map_or(Ok(()), |reason| {
            Err(OrderError::Invalid(format!("silo `{}` is not there: {reason}", open.row.name)))
        })
    }

    async fn following(&self, switch: &Switch) -> Result<Judge, OrderError> {
        let inventory = self.inventory();
        let mut rules = inventory.rules()?;
        if !inventory.switches.contains(switch) {
            rules = rules.with_switch(switch.from, switch.to);
        }
        Ok(self.judge_by(inventory, rules, &Scope::default()).await?)
    }

    /// What is on the old silo and not on the new one. An extent counts for the object that it was written for.
    async fn rest_of(&self, judge: &Judge, switch: &Switch) -> Result<Rest, OrderError> {
        let mut at = judge.objects(&Scope::default())?;
        let (end, mut told) = (after_prefix(&at), Rest::default());
        let prices = self.prices(judge);
        let mut ledger = Ledger::new(&prices);
        let rule = judge.rules.switch(switch.from, switch.to);
        while let Some(page) = next_page(self, &mut at, &end).await? {
            let objects = self.judged(judge, &page).await?;
            for object in &objects {
                ledger.add(object, judge.now);
            }
            ledger.page();
            let extents = objects.into_iter().flat_map(|object| object.extents);
            for extent in extents.filter(|extent| extent.own) {
                let left = judge.inventory.left_verified(&extent.row);
                let on = |silo| left.iter().find(|replica| replica.silo == silo);
                let Some(old) = on(switch.from) else { continue };
                if let Some(new) = on(switch.to) {
                    told.done.add(extent.row.size);
                    told.newest = told.newest.max(Some(new.since));
                    continue;
                }
                // What objectives want elsewhere leaves the old one anyway.
                let leaves = |way: Way| way.from == switch.from && way.what != What::Copy && Some(way.by) != rule;
                if extent.standing.way().is_some_and(leaves) {
                    continue;
                }
                told.missing.add(extent.row.size);
                told.oldest = Some(told.oldest.map_or(old.since, |oldest| oldest.min(old.since)));
                if let Standing::Waits { reason, .. } = extent.standing {
                    told.waits = Some(reason);
                }
            }
        }
        let (ways, costs) = ledger.finish();
        let cost = ways.into_iter().find(|(way, _)| Some(way.by) == rule && way.what == What::Copy);
        told.costs = Costs { cost: cost.map(|(_, cost)| cost).unwrap_or_default(), ..costs };
        if told.waits.is_none() && told.missing.extents > 0 {
            told.waits = self.beyond_budget(told.costs.cost.once.total()).await?;
        }
        Ok(told)
    }

    async fn switch_info(&self, switch: &Switch) -> Result<SwitchInfo, OrderError> {
        let inventory = self.inventory();
        let (old, new) = (inventory.silo(switch.from)?, inventory.silo(switch.to)?);
        let now = self.clock.now();
        let found = self.rest_of(&self.following(switch).await?, switch).await?;
        let Rest { done, missing: rest, oldest, waits, costs, .. } = found;
        let lag = oldest.map_or(0, |oldest| now.saturating_sub(oldest.max(switch.started)).max(0).unsigned_abs());
        let notes = notes(old, new, &inventory);
        let (from, to, started) = (old.row.name.clone(), new.row.name.clone(), switch.started);
        Ok(SwitchInfo { from, to, started, done, rest, lag, waits, costs, notes })
    }
}
