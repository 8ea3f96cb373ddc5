//! Objects are kept where objectives want them: what changed is compared at once, everything now and then, and what is
//! elsewhere moves by itself. Of several gateways one compares everything, and each what changed through it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::incarnation_of;
use super::{Judge, Moving, Outlook, Scope, What};
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{self, Key, Rows, Write};
use crate::extent::{JobId, SiloId};
use crate::fault::Fault;
use crate::job::{JobState, Order, OrderError, Pace, StandingJob, Steps, Walk};
use crate::limits::{ALIGN_BEAT, ALIGN_KEPT, ALIGN_MOVES};
use crate::list::read_name;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::{Core, Namespace};
use crate::price::Money;
use crate::sweep::live_sessions;
use crate::table::objects::{NAME_AT, object};
use crate::table::silos::unremembered;
use crate::table::usage;

mod ack;
mod budget;
mod due;
mod learn;
mod room;
mod share;

use ack::UnderWay;
pub use budget::Spent;
use due::{Again, Came, Due};
pub(crate) use learn::Lessons;
pub use learn::Savings;
use room::Colder;
pub(crate) use room::Filled;

/// How objects are kept where objectives want them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignOptions {
    /// All objects are compared this often, beside when something is declared.
    pub every: Duration,
    /// How fast what is elsewhere may move.
    pub pace: Pace,
    /// What that may cost in a month, by the prices of silos; none is unlimited.
    pub budget: Option<Money>,
}

/// How much of the namespace is where objectives want it, as this gateway last saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alignment {
    /// When all objects had been compared; before that, `outlook` says nothing.
    pub compared: Option<UnixMs>,
    /// What was found then: what was elsewhere began to move.
    pub outlook: Outlook,
    /// Steps that were taken without an order since the gateway began.
    pub moved: u64,
    /// Such steps that failed; they are tried again.
    pub failed: u64,
    /// The last failure, until all objects were compared without one.
    pub error: Option<String>,
    /// What was spent this month, where there is a budget.
    #[serde(default)]
    pub spent: Option<Spent>,
    /// And that.
    #[serde(default)]
    pub budget: Option<Money>,
}

/// What may not be where objectives want it. Locks are held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Rows of objects that changed.
    changed: Mutex<BTreeSet<Key>>,
    /// Those of them of which nothing is urgent any more.
    rest: Mutex<BTreeSet<Key>>,
    /// More changed than are remembered.
    too_many: AtomicBool,
    /// None where nothing is wished, or another gateway compares.
    told: Mutex<Option<Alignment>>,
    /// Copies of what is read that were made since all were compared, in billionths of what there may be.
    copied: AtomicU64,
    /// Objects that are brought where they are wanted before their writes are answered.
    under_way: UnderWay,
}

/// Copies of what is read, in billionths of what there may be, until all are compared: an eighth.
const MANY_COPIES: u64 = BILLION / 8;
const BILLION: u64 = 1_000_000_000;

impl Keeping {
    /// An object may be wanted elsewhere now.
    fn changed(&self, object: Key) {
        let mut changed = self.changed.lock().expect("no holder panics");
        if changed.len() < ALIGN_KEPT {
            changed.insert(object);
        } else {
            self.too_many.store(true, Ordering::Relaxed);
        }
    }

    /// An object was read. Those beyond what is remembered are read again, or need no copy.
    fn read(&self, object: &Key) {
        let mut changed = self.changed.lock().expect("no holder panics");
        if changed.len() < ALIGN_KEPT / 2 {
            changed.insert(object.clone());
        }
    }

    /// Whether there may be more copies of what is read than there may be; asked once all are about to be compared.
    fn has_many_copies(&self) -> bool {
        self.copied.load(Ordering::Relaxed) >= MANY_COPIES && self.copied.swap(0, Ordering::Relaxed) >= MANY_COPIES
    }

    fn take(&self) -> BTreeSet<Key> {
        std::mem::take(&mut *self.changed.lock().expect("no holder panics"))
    }

    fn take_rest(&self) -> BTreeSet<Key> {
        std::mem::take(&mut *self.rest.lock().expect("no holder panics"))
    }

    /// What is urgent of them was done, or failed.
    fn later(&self, mut objects: BTreeSet<Key>) {
        let mut rest = self.rest.lock().expect("no holder panics");
        if rest.len() + objects.len() > 2 * ALIGN_KEPT {
            self.too_many.store(true, Ordering::Relaxed);
        } else {
            rest.append(&mut objects);
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Option<Alignment>)) {
        change(&mut self.told.lock().expect("no holder panics"));
    }
}

impl Namespace {
    /// How much of the namespace is where objectives want it; none where nothing is wished, or another gateway looks.
    pub fn alignment(&self) -> Option<Alignment> {
        let told = self.core.keeping.told.lock().expect("no holder panics").clone()?;
        let Some(moves) = self.core.running.standing() else { return Some(told) };
        Some(Alignment { moved: moves.moved_objects, failed: moves.failed, error: moves.error, ..told })
    }

    /// Bytes that are not where objectives want them, and cannot go there now.
    pub(crate) fn misaligned_bytes(&self) -> u64 {
        let told = self.core.keeping.told.lock().expect("no holder panics");
        told.iter().flat_map(|told| &told.outlook.waits).map(|waiting| waiting.amount.bytes).sum()
    }
}

impl Core {
    /// An object may be wanted elsewhere now, or lies elsewhere than where it is wanted.
    pub(crate) fn align_soon(&self, bucket: &Bucket, key: &ObjectKey) {
        if self.options.align.is_some() && !self.inventory().wishes_nothing() {
            self.keeping.changed(object(bucket.incarnation, key));
        }
    }

    /// Objects were read: what is read may get one more copy.
    pub(crate) async fn align_read<'a>(&self, objects: impl Iterator<Item = &'a Key>) -> Result<(), Fault> {
        let inventory = self.inventory();
        if self.options.align.is_none() || inventory.copying().next().is_none() {
            return Ok(());
        }
        let buckets = self.buckets_by_incarnation().await?;
        for object in objects {
            let (bucket, key) = (buckets.get(&incarnation_of(object)?), read_name(&object[NAME_AT..])?);
            let copied = |bucket: &BucketName| inventory.copying().any(|wish| wish.on.covers(bucket.as_str(), &key));
            if bucket.is_some_and(copied) {
                self.keeping.read(object);
            }
        }
        Ok(())
    }

    /// Notes what was copied because it was read.
    fn note_copied(&self, outlook: &Outlook) {
        let inventory = self.inventory();
        let max = |moving: &Moving| inventory.objectives.get(&moving.objective).and_then(|(wish, _)| wish.max);
        for moving in outlook.moves.iter().filter(|moving| moving.what == What::Copy) {
            if let Some(max) = max(moving) {
                let part = u128::from(moving.amount.bytes) * u128::from(BILLION) / u128::from(max.max(1));
                let part = u64::try_from(part).unwrap_or(BILLION).min(BILLION);
                self.keeping.copied.fetch_add(part, Ordering::Relaxed);
            }
        }
    }

    /// Keeps objects where objectives want them, for ever.
    pub(crate) async fn keep_aligned_forever(self: Arc<Self>) {
        let Some(options) = &self.options.align else { return };
        let standing = self.stand(options.pace.clone());
        let urgent = standing.beside(&self);
        tokio::join!(
            self.protect_changed_forever(&urgent),
            self.compare_changed_forever(&standing),
            self.protect_all_forever(&urgent, options.every),
            self.compare_all_forever(&standing, options)
        );
    }

    /// What changed and is in too few copies, or where it may not be, waits for nothing that moves for other reasons.
    async fn protect_changed_forever(self: &Arc<Self>, urgent: &StandingJob) {
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            self.protect_changed(urgent).await;
        }
    }

    async fn protect_changed(self: &Arc<Self>, urgent: &StandingJob) {
        let objects = self.keeping.take();
        if objects.is_empty() {
            return;
        }
        let some = objects.iter().cloned().collect();
        if let Err(error) = self.protect(urgent, |judge| Walk::some(judge, some)).await {
            tracing::warn!(%error, "objects that changed were not compared with objectives");
        }
        self.keeping.later(objects);
    }

    /// What is in too few copies, or where it may not be, is looked for after each change of what is declared, as a silo may be lost;
    /// and again as long as some of it waits, or fails.
    async fn protect_all_forever(self: &Arc<Self>, urgent: &StandingJob, every: Duration) {
        let (mut due, mut protected) = (Due::default(), None);
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            if self.inventory().wishes_nothing() || !self.leads().await.unwrap_or(false) {
                due.forget();
                protected = None;
                continue;
            }
            let (began, revision) = (self.clock.monotonic(), self.inventory().revision);
            if protected == Some(revision) || !due.is(began, revision, false) {
                continue;
            }
            let came = match self.protect(urgent, Walk::all).await {
                Ok(Some(came)) => came,
                // Something was declared meanwhile.
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "objects were not compared with objectives");
                    Came::ToNothing
                }
            };
            protected = (came == Came::ToRest).then_some(revision);
            due.after((began, self.clock.monotonic()), every, revision, came);
        }
    }

    /// Takes the steps that cannot wait of a walk that a judge makes, and answers what came of them; none where something was declared
    /// meanwhile.
    async fn protect(
        self: &Arc<Self>,
        urgent: &StandingJob,
        walk: impl FnOnce(Judge) -> Walk,
    ) -> Result<Option<Came>, OrderError> {
        if !self.inventory().protects() {
            return Ok(Some(Came::ToRest));
        }
        let mut walk = walk(self.objectives(&Scope::default()).await?).urgent();
        let steps = urgent.carry_out(self, &mut walk).await?;
        Ok(walk.told().map(|outlook| Came::of(&outlook, steps)))
    }

    async fn compare_changed_forever(self: &Arc<Self>, standing: &StandingJob) {
        let mut again = Again::default();
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            self.compare_changed(standing, &mut again).await;
        }
    }

    /// Compares what changed since, and what is to be tried again.
    async fn compare_changed(self: &Arc<Self>, standing: &StandingJob, again: &mut Again) {
        let (mut objects, now) = (self.keeping.take_rest(), self.clock.monotonic());
        let mut tried_again = again.take(now);
        let some_again = !tried_again.is_empty();
        objects.append(&mut tried_again);
        if objects.is_empty() || self.inventory().wishes_nothing() {
            return;
        }
        let objects: Vec<Key> = objects.into_iter().collect();
        let came = match self.compare(standing, objects.clone()).await {
            Ok((Some(outlook), steps)) => {
                self.note_copied(&outlook);
                Came::of(&outlook, steps)
            }
            // What was declared meanwhile is compared with at once.
            Ok((None, _)) => Came::Closer,
            Err(error) => {
                tracing::warn!(%error, "objects that changed were not compared with objectives");
                Came::ToNothing
            }
        };
        match came {
            Came::ToRest if some_again => again.rest(),
            Came::ToRest => {}
            Came::Closer | Came::Cut => objects.into_iter().for_each(|object| self.keeping.changed(object)),
            Came::ToNothing => again.later(objects, some_again, self.clock.monotonic()),
        }
    }

    /// Compares what changed, or everything, once, and moves what is elsewhere. Answers whether all came to rest. For tests that own
    /// every step.
    #[cfg(test)]
    pub(crate) async fn align_once(self: &Arc<Self>, all: bool) -> Result<bool, OrderError> {
        let standing = self.stand(Pace::default());
        if !all {
            self.protect_changed(&standing).await;
            self.compare_changed(&standing, &mut Again::default()).await;
            return Ok(false);
        }
        self.protect(&standing, Walk::all).await?;
        Ok(self.compare_all(&standing, &mut None).await? == Some(Came::ToRest))
    }

    async fn compare_all_forever(self: &Arc<Self>, standing: &StandingJob, options: &AlignOptions) {
        let (mut due, mut fullest, mut told) = (Due::default(), BTreeMap::new(), (Vec::new(), 0));
        let mut cut = None;
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            if self.inventory().wishes_nothing() || !self.leads().await.unwrap_or(false) {
                self.keeping.tell(|told| *told = None);
                due.forget();
                self.tell_unremembered().await;
                if let Err(fault) = self.refresh_learnt().await {
                    tracing::warn!(%fault, "what another gateway learnt was not read");
                }
                continue;
            }
            self.keeping.tell(|told| *told = Some(told.take().unwrap_or_default()));
            if let Err(fault) = self.forget_holds().await {
                tracing::warn!(%fault, "what holds nothing any more was not taken away");
            }
            let (began, revision) = (self.clock.monotonic(), self.inventory().revision);
            let too_many = self.keeping.too_many.swap(false, Ordering::Relaxed);
            let fuller = self.is_fuller(&mut fullest).await.unwrap_or(false) || self.keeping.has_many_copies();
            let told_now = (self.inventory().told_of_silos(), self.unremembered().await.unwrap_or(told.1));
            if !due.is(began, revision, too_many || fuller || told_now != told) {
                continue;
            }
            told = told_now;
            let came = match self.compare_all(standing, &mut cut).await {
                Ok(Some(came)) => came,
                // What was declared meanwhile is compared with at once.
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "objects were not compared with objectives");
                    Came::ToNothing
                }
            };
            due.after((began, self.clock.monotonic()), options.every, revision, came);
            if let Some(change) = self.inventory().wishes_change_in(self.clock.now()) {
                due.at_latest(self.clock.monotonic() + change);
            }
        }
    }

    /// How often objects changed that no gateway remembers.
    async fn unremembered(&self) -> Result<i64, Fault> {
        Ok(usage::read(self.engine.get(&[unremembered()]).await?[0].as_ref()))
    }

    /// Tells the gateway that compares all that more changed here than is remembered, or was copied than there may be for long.
    async fn tell_unremembered(&self) {
        let too_many = self.keeping.too_many.swap(false, Ordering::Relaxed);
        if !too_many && !self.keeping.has_many_copies() {
            return;
        }
        let decide = |_: &Rows| Ok::<_, Fault>((vec![Write::Add(unremembered(), 1)], ()));
        if let Err(fault) = engine::commit(&*self.engine, Vec::new(), decide).await {
            tracing::debug!(?fault, "nobody was told that all objects are to be compared");
            self.keeping.too_many.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a silo whose fill matters became much fuller since it was last asked: by an eighth of what it may have.
    async fn is_fuller(&self, fullest: &mut BTreeMap<SiloId, u64>) -> Result<bool, Fault> {
        let inventory = self.inventory();
        if !inventory.fills_silos() {
            return Ok(false);
        }
        let rules = inventory.rules()?;
        let mut fuller = false;
        for (silo, full) in self.fullness().await? {
            let (known, bound) = (fullest.entry(silo).or_insert(full.live), rules.bound(silo, &full));
            *known = (*known).min(full.live);
            if bound.is_some_and(|bound| full.live > bound && full.live - *known > bound / 8) {
                (*known, fuller) = (full.live, true);
            }
        }
        Ok(fuller)
    }

    /// Begins where the last one was `cut`, since it took long. None where something was declared meanwhile.
    async fn compare_all(
        self: &Arc<Self>,
        standing: &StandingJob,
        cut: &mut Option<Key>,
    ) -> Result<Option<Came>, OrderError> {
        self.forget_moves(None).await?;
        // Much moves for days. Meanwhile silos fill, hours begin and end, and objects are used.
        let mut walk = Walk::all(self.objectives(&Scope::default()).await?).for_a_while(ALIGN_MOVES, cut.take());
        let steps = standing.carry_out(self, &mut walk).await?;
        *cut = walk.cut_at().cloned();
        let colder = match walk.filled() {
            Some((rules, filled)) => self.make_room(rules, filled).await?,
            None => Colder::No,
        };
        let otherwise = match walk.take_lessons() {
            Some((judge, lessons)) => self.learn(judge, lessons).await.unwrap_or_else(|fault| {
                tracing::warn!(%fault, "what was learnt for objectives that are gone was not taken away");
                false
            }),
            None => false,
        };
        let Some(mut outlook) = walk.told() else { return Ok(None) };
        outlook.seconds = self.seconds(&outlook.moves, self.align_rate());
        if steps.failed == 0 {
            standing.forget_error();
        }
        if outlook.moves.is_empty() && outlook.waits.is_empty() {
            self.running.nothing_fails();
        }
        let came = match (colder, Came::of(&outlook, steps)) {
            (Colder::New, _) => Came::Closer,
            (Colder::More, Came::ToRest) if !crate::seeded_bug!("fill-rests-early") => Came::Closer,
            (_, Came::ToRest) if otherwise => Came::Closer,
            (_, Came::Closer) if cut.is_some() => Came::Cut,
            (_, came) => came,
        };
        let (compared, budget) = (Some(self.clock.now()), self.options.align.as_ref().and_then(|align| align.budget));
        let spent = if budget.is_some() { Some(self.spent().await?) } else { None };
        self.keeping.tell(|told| *told = Some(Alignment { compared, outlook, spent, budget, ..Alignment::default() }));
        Ok(Some(came))
    }

    /// Compares objects that have these rows with the objectives in force, and moves what is elsewhere. Answers what was found,
    /// unless something was declared meanwhile, and what came of it.
    async fn compare(
        self: &Arc<Self>,
        standing: &StandingJob,
        objects: Vec<Key>,
    ) -> Result<(Option<Outlook>, Steps), OrderError> {
        let mut walk = Walk::some(self.objectives(&Scope::default()).await?, objects);
        let steps = standing.carry_out(self, &mut walk).await?;
        Ok((walk.told(), steps))
    }

    /// What orders that run now are about: they have their say first.
    pub(crate) async fn busy(&self) -> Result<Vec<(Scope, JobId)>, Fault> {
        let running = self.job_rows().await?.into_iter().filter(|row| row.info.state == JobState::Running);
        let placing = running.filter(|row| matches!(row.info.order, Order::Place { .. } | Order::Align { .. }));
        Ok(placing.map(|row| (row.info.order.on(), row.info.id)).collect())
    }

    /// Of several gateways, whether this one began first.
    pub(crate) async fn leads(&self) -> Result<bool, Fault> {
        let first = live_sessions(&*self.engine).await?.into_iter().map(|(id, _)| id).min();
        Ok(first == Some(self.session().id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_is_remembered_up_to_a_limit() {
        let keeping = Keeping::default();
        (0..ALIGN_KEPT as u32).for_each(|number| keeping.changed(number.to_be_bytes().to_vec()));
        assert!(!keeping.too_many.load(Ordering::Relaxed));
        keeping.changed(b"one more".to_vec());
        assert!(keeping.too_many.load(Ordering::Relaxed));
        assert_eq!((keeping.take().len(), keeping.take().len()), (ALIGN_KEPT, 0));
    }
}
