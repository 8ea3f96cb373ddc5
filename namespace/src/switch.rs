//! Replacing a silo, with a way back: the old one takes all writes, the new one follows, and only once it has everything is the
//! old one given up. Until then a rollback leaves all as it was.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{self, Engine, Key, NotCommitted, Read, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::{Access, Inventory, OpenSilo, WritePolicy};
use crate::job::{JobInfo, Order, OrderError, Pace, next_page};
use crate::limits::BEAT;
use crate::namespace::{Core, Namespace};
use crate::objective::{Amount, Costs, Judge, Ledger, Objective, Scope, Selector, Standing, What};
use crate::table::objectives::{encode as encode_objective, objective as objective_key};
use crate::table::silos::{bucket_write_policy, revision, write_policy};
use crate::table::{FORMAT, KeyBuilder, after_prefix, encode, key, usage};

/// How long a commit waits for what was written just before it.
const PATIENCE: Duration = Duration::from_secs(30);

const PREFIX: &[u8] = b"switch/";
/// The format of a row: JSON.
const JSON: u8 = FORMAT + 1;

/// A silo that another one follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// The old one.
    pub from: SiloId,
    /// The new one.
    pub to: SiloId,
    /// Since when.
    pub started: UnixMs,
    /// What named the old one names the new one, and the old one is about to be emptied: there is no way back.
    #[serde(default)]
    pub committed: bool,
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
    /// There is no way back any more: `commit` goes on.
    pub committed: bool,
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
        let name = |id| inventory.silos.get(&id).map_or_else(|| format!("#{id}"), |open| open.row.name.clone());
        format!("the switch from silo `{}` to `{}`", name(self.from), name(self.to))
    }

    /// Whether an order would empty one of the two, or fill what is given up.
    pub(crate) fn forbids(&self, order: &Order, inventory: &Inventory) -> bool {
        let about = |name: &String| inventory.named(name).is_some_and(|open| self.is_about(open.id));
        match order {
            Order::Drain { from, .. } => about(from) && !self.committed,
            Order::Place { .. } | Order::Align { .. } | Order::Undo { .. } => false,
        }
    }

    fn key(&self) -> Key {
        KeyBuilder::new(key::SETTINGS).raw(PREFIX).short(self.from).build()
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![JSON];
        serde_json::to_writer(&mut bytes, self).expect("a switch is plain data");
        bytes
    }

    fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        let row = bytes.strip_prefix(&[JSON]).ok_or_else(|| Fault::Damaged("a switch of another format".to_owned()))?;
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
    let selectors = inventory.objectives.iter().flat_map(|(name, (wish, _))| {
        let all = wish.place.iter().chain(&wish.keep).chain(&wish.never);
        all.map(move |selector| (name, selector))
    });
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
    for selectors in [&mut wish.place, &mut wish.keep, &mut wish.never] {
        for selector in selectors.iter_mut().filter(|selector| matches!(selector, Selector::Name(own) if own == from)) {
            *selector = Selector::Name(to.to_owned());
        }
        let mut seen = std::collections::BTreeSet::new();
        selectors.retain(|selector| seen.insert(selector.clone()));
    }
    wish
}

/// What names the old silo, naming the new one.
fn renamed(inventory: &Inventory, from: &str, to: &str) -> Vec<Write> {
    let policies = inventory.write.iter().map(|policy| (write_policy(), policy));
    let of_buckets = inventory.bucket_write.iter().map(|(bucket, policy)| (bucket_write_policy(bucket), policy));
    let policies = policies.chain(of_buckets).filter_map(|(key, policy)| {
        let new = renamed_policy(policy, from, to);
        (new != *policy).then(|| Write::Put(key, encode(&new)))
    });
    let wishes = inventory.objectives.iter().filter_map(|(name, (wish, _))| {
        let new = renamed_objective(wish, from, to);
        (new != *wish).then(|| Write::Put(objective_key(name), encode_objective(&new)))
    });
    policies.chain(wishes).collect()
}

impl Namespace {
    /// The new silo follows the old one from now on, and gets what that has. With `dry_run` nothing changes, and what is answered
    /// is what it would begin with.
    pub async fn start_switch(&self, from: &str, to: &str, dry_run: bool) -> Result<SwitchInfo, OrderError> {
        let _one_at_a_time = self.core.ordering.lock().await;
        self.core.refresh_inventory(false).await?;
        let inventory = self.core.inventory();
        let named = |name: &str| inventory.named(name).ok_or_else(|| OrderError::NoSuchSilo(name.to_owned()));
        let (old, new) = (named(from)?, named(to)?);
        refuse(old, new, &inventory)?;
        for order in [(from, to), (to, from)].map(|(from, to)| Order::Drain { from: from.into(), to: to.into() }) {
            self.core.refuse_running(&order).await?;
        }
        if self.core.options.align.is_none() {
            let reason = "this gateway moves nothing by itself (`[align] every` is 0s), and a switch does";
            return Err(OrderError::Invalid(reason.to_owned()));
        }
        let switch = Switch { from: old.id, to: new.id, started: self.clock.now(), committed: false };
        if !dry_run {
            self.core.write_switch(&switch, inventory.revision, Vec::new()).await?;
            tracing::info!(from, to, "a switch begins");
        }
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

    /// Gives the old silo up: what names it names the new one, which takes its writes, and a job empties it. Refused, and nothing
    /// done, as long as the new one has not everything that was written before. Repeated, it goes on.
    pub async fn commit_switch(&self, from: &str) -> Result<JobInfo, OrderError> {
        let (switch, to) = self.core.switch_of(from)?;
        if !switch.committed {
            self.core.wait_for_rest(&switch).await?;
            let _one_at_a_time = self.core.ordering.lock().await;
            self.core.refresh_inventory(false).await?;
            let inventory = self.core.inventory();
            let committed = Switch { committed: true, ..switch.clone() };
            self.core.write_switch(&committed, inventory.revision, renamed(&inventory, from, &to)).await?;
            tracing::info!(from, to, "a switch is committed");
        }
        let job = self.start_job(Order::Drain { from: from.to_owned(), to }, Pace::default()).await?;
        self.core.forget_switch(&switch).await?;
        Ok(job)
    }

    /// Leaves the old silo as it is, and takes back what the new one got.
    pub async fn roll_back_switch(&self, from: &str) -> Result<JobInfo, OrderError> {
        let (switch, to) = self.core.switch_of(from)?;
        if switch.committed {
            return Err(OrderError::Invalid(format!("the switch from `{from}` is committed: there is no way back")));
        }
        self.core.forget_switch(&switch).await?;
        tracing::info!(from, to, "a switch is rolled back");
        let undo = Order::Undo { from: to, to: from.to_owned(), since: switch.started };
        self.start_job(undo, Pace::default()).await
    }
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
    fn switch_of(&self, from: &str) -> Result<(Switch, String), OrderError> {
        let inventory = self.inventory();
        let open = inventory.named(from).ok_or_else(|| OrderError::NoSuchSilo(from.to_owned()))?;
        let known = inventory.switches.iter().find(|switch| switch.from == open.id);
        let switch = known.ok_or_else(|| OrderError::Invalid(format!("silo `{from}` is not being switched")))?;
        Ok((switch.clone(), inventory.silo(switch.to)?.row.name.clone()))
    }

    async fn write_switch(&self, switch: &Switch, compared_at: i64, renamed: Vec<Write>) -> Result<(), OrderError> {
        let (key, row) = (switch.key(), switch.encode());
        let decide = move |rows: &Rows| -> Result<_, Option<Fault>> {
            if usage::read(rows.get(&revision())) != compared_at {
                return Err(None);
            }
            let own = [Write::Put(key.clone(), row.clone()), Write::Add(revision(), 1)];
            Ok((renamed.iter().cloned().chain(own).collect(), ()))
        };
        match engine::commit(&*self.engine, vec![Read::Row(revision())], decide).await {
            Ok(()) => Ok(self.refresh_inventory(true).await?),
            Err(NotCommitted::Refused(None)) => {
                Err(Fault::Unavailable("silos or settings changed meanwhile: try again".to_owned()).into())
            }
            Err(NotCommitted::Refused(Some(fault))) => Err(fault.into()),
            Err(NotCommitted::Engine(error)) => Err(Fault::from(error).into()),
        }
    }

    async fn forget_switch(&self, switch: &Switch) -> Result<(), Fault> {
        let key = switch.key();
        let decide = move |_: &Rows| Ok::<_, Fault>((vec![Write::Delete(key.clone()), Write::Add(revision(), 1)], ()));
        engine::commit(&*self.engine, Vec::new(), decide).await?;
        self.refresh_inventory(true).await
    }

    /// Waits a while for what was written before now and is still on its way.
    async fn wait_for_rest(&self, switch: &Switch) -> Result<(), OrderError> {
        let (now, deadline) = (self.clock.now(), self.clock.monotonic() + PATIENCE);
        loop {
            let found = self.rest_of(&self.following(switch).await?, switch).await?;
            if found.is_done_by(now) {
                return Ok(());
            }
            if self.clock.monotonic() >= deadline || found.waits.is_some() {
                let why = found.waits.map_or_else(String::new, |waits| format!(": {waits}"));
                let reason = format!("{} extents are still on their way to the new silo{why}", found.missing.extents);
                return Err(OrderError::Invalid(reason));
            }
            self.clock.sleep(BEAT).await;
        }
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
                let Some(old) = extent.row.verified_in(switch.from) else { continue };
                if let Some(new) = extent.row.verified_in(switch.to) {
                    told.done.add(extent.row.size);
                    told.newest = told.newest.max(Some(new.since));
                    continue;
                }
                let by = extent.standing.by();
                // What objectives want elsewhere goes there and needs not come along.
                if by.is_none() || (by != rule && !matches!(extent.standing, Standing::Waits { .. })) {
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
        Ok(told)
    }

    async fn switch_info(&self, switch: &Switch) -> Result<SwitchInfo, OrderError> {
        let inventory = self.inventory();
        let (old, new) = (inventory.silo(switch.from)?, inventory.silo(switch.to)?);
        let named = |id: SiloId| inventory.silos.get(&id).map(|open| open.row.name.clone()).unwrap_or_default();
        let now = self.clock.now();
        let found = self.rest_of(&self.following(switch).await?, switch).await?;
        let Rest { done, missing: rest, oldest, waits, costs, .. } = found;
        let lag = oldest.map_or(0, |oldest| now.saturating_sub(oldest.max(switch.started)).max(0).unsigned_abs());
        let notes = notes(old, new, &inventory);
        let (from, to, started) = (named(switch.from), named(switch.to), switch.started);
        Ok(SwitchInfo { from, to, started, committed: switch.committed, done, rest, lag, waits, costs, notes })
    }
}
