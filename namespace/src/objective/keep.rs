//! Objects are kept where objectives want them: what changed is compared at once, everything now and then, and what is
//! elsewhere moves by itself. Of several gateways one does it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::expression::Subject;
use super::{Outlook, Scope};
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::JobId;
use crate::fault::Fault;
use crate::job::{JobState, Order, OrderError, Pace, StandingJob, Walk};
use crate::limits::{ALIGN_BEAT, ALIGN_KEPT, ALIGN_SOON};
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::sweep::live_sessions;
use crate::table::objects::object;

/// How objects are kept where objectives want them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlignOptions {
    /// All objects are compared this often, beside when something is declared.
    pub every: Duration,
    /// How fast what is elsewhere may move.
    pub pace: Pace,
}

/// How much of the namespace is where objectives want it, as this gateway last saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alignment {
    /// When all objects had been compared; before that, `outlook` says nothing.
    pub compared: Option<UnixMs>,
    /// What was found then: what was elsewhere was moved.
    pub outlook: Outlook,
    /// Extents that were moved without an order since the gateway began.
    pub moved: u64,
    /// Such moves that failed; they are tried again.
    pub failed: u64,
    /// The last failure.
    pub error: Option<String>,
}

/// What may not be where objectives want it. Locks are held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    changed: Mutex<Changed>,
    told: Mutex<Alignment>,
}

#[derive(Debug, Default)]
struct Changed {
    /// Rows of objects.
    objects: BTreeSet<Key>,
    /// There were more than are kept.
    too_many: bool,
}

/// When all objects are compared next.
struct Due {
    at: Duration,
    /// After the last comparison that left something waiting, how long the next one was put off.
    rest: Duration,
    /// What was declared then.
    revision: Option<i64>,
    /// Sooner than this it is not worth its while, since it takes long.
    not_before: Duration,
}

impl Keeping {
    /// An object may be wanted elsewhere now.
    fn changed(&self, object: Key) {
        let mut changed = self.changed.lock().expect("no holder panics");
        if changed.objects.len() < ALIGN_KEPT {
            changed.objects.insert(object);
        } else {
            changed.too_many = true;
        }
    }

    fn take(&self) -> Changed {
        std::mem::take(&mut *self.changed.lock().expect("no holder panics"))
    }

    fn tell(&self, change: impl FnOnce(&mut Alignment)) {
        change(&mut self.told.lock().expect("no holder panics"));
    }
}

impl Due {
    /// All were compared; or it broke off.
    fn after(&mut self, now: Duration, every: Duration, settled: bool) {
        self.rest = if settled { Duration::ZERO } else { (self.rest * 2).clamp(ALIGN_SOON, every.max(ALIGN_SOON)) };
        self.at = now + if settled { every } else { self.rest.min(every) };
    }
}

impl Namespace {
    /// How much of the namespace is where objectives want it; none where nothing is wished, or another gateway looks.
    pub fn alignment(&self) -> Option<Alignment> {
        let told = self.core.keeping.told.lock().expect("no holder panics").clone();
        Some(told).filter(|told| told.compared.is_some())
    }

    /// Bytes that are not where objectives want them, and cannot go there now.
    pub(crate) fn misaligned_bytes(&self) -> u64 {
        let told = self.core.keeping.told.lock().expect("no holder panics");
        told.outlook.waits.iter().map(|waiting| waiting.amount.bytes).sum()
    }
}

impl Core {
    /// An object may be wanted elsewhere now, or lies elsewhere than where it is wanted.
    pub(crate) fn align_soon(&self, bucket: &Bucket, key: &ObjectKey) {
        if self.options.align.is_some() && !self.inventory().objectives.is_empty() {
            self.keeping.changed(object(bucket.incarnation, key));
        }
    }

    /// Whether objectives forbid any silo to an object that is about to be written: it then shares its bytes with no other, which
    /// may be wanted there.
    pub(crate) fn forbids_some(&self, subject: &Subject<'_>) -> Result<bool, Fault> {
        let now = self.clock.now();
        let wanted = self.inventory().wanted(&Subject { modified: now, now, ..subject.clone() })?;
        Ok(!wanted.never.is_empty())
    }

    /// Keeps objects where objectives want them, for ever.
    pub(crate) async fn keep_aligned_forever(self: Arc<Self>) {
        let Some(options) = &self.options.align else { return };
        let standing = self.stand(options.pace.clone());
        let mut due =
            Due { at: self.clock.monotonic(), rest: Duration::ZERO, revision: None, not_before: Duration::ZERO };
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            if let Err(error) = self.keep_aligned(&standing, options, &mut due).await {
                tracing::warn!(%error, "objects were not compared with objectives");
                due.after(self.clock.monotonic(), options.every, false);
            }
            let moves = standing.info();
            self.keeping.tell(|told| {
                (told.moved, told.failed, told.error) = (moves.moved_objects, moves.failed, moves.error);
            });
        }
    }

    async fn keep_aligned(
        self: &Arc<Self>,
        standing: &StandingJob,
        options: &AlignOptions,
        due: &mut Due,
    ) -> Result<(), OrderError> {
        let (changed, revision) = (self.keeping.take(), self.inventory().revision);
        if self.inventory().objectives.is_empty() || !self.leads().await? {
            self.keeping.tell(|told| *told = Alignment::default());
            due.revision = None;
            return Ok(());
        }
        let now = self.clock.monotonic();
        if changed.too_many {
            due.at = due.at.min(due.not_before);
        }
        if due.revision == Some(revision) && now < due.at {
            if !changed.objects.is_empty() {
                let objects = changed.objects.into_iter().collect();
                self.compare(standing, Some(objects)).await?;
            }
            return Ok(());
        }
        due.revision = Some(revision);
        let (outlook, failed) = self.compare(standing, None).await?;
        // What was declared meanwhile is compared with at once.
        let Some(outlook) = outlook else { return Ok(()) };
        let ended = self.clock.monotonic();
        due.not_before = ended + ALIGN_SOON.max(ended.saturating_sub(now) * 10);
        due.after(ended, options.every, failed == 0 && outlook.waits.is_empty());
        let compared = Some(self.clock.now());
        self.keeping.tell(|told| (told.outlook, told.compared) = (outlook, compared));
        Ok(())
    }

    /// Compares objects, all or those with these rows, with the objectives in force, and moves what is elsewhere. Answers what
    /// was found, unless something was declared meanwhile, and how many moves failed.
    async fn compare(
        self: &Arc<Self>,
        standing: &StandingJob,
        objects: Option<Vec<Key>>,
    ) -> Result<(Option<Outlook>, usize), OrderError> {
        let judge = self.objectives(&Scope::default()).await?.beside(self.busy().await?);
        let mut walk = Walk::judged(judge, objects);
        let failed = standing.carry_out(self, &mut walk).await?;
        Ok((walk.told(), failed))
    }

    /// What orders that run now are about: they have their say first.
    async fn busy(&self) -> Result<Vec<(Scope, JobId)>, Fault> {
        let running = self.job_rows().await?.into_iter().filter(|row| row.info.state == JobState::Running);
        let placing = running.filter(|row| !matches!(row.info.order, Order::Drain { .. }));
        Ok(placing.map(|row| (row.info.order.on(), row.info.id)).collect())
    }

    /// Of several gateways, whether this one began first.
    async fn leads(&self) -> Result<bool, Fault> {
        let first = live_sessions(&*self.engine).await?.into_iter().map(|(id, _)| id).min();
        Ok(first == Some(self.session().id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_looked_at_again_soon_and_then_less_often() {
        let every = Duration::from_mins(1);
        let mut due = Due { at: Duration::ZERO, rest: Duration::ZERO, revision: None, not_before: Duration::ZERO };
        let mut after = |settled| {
            due.after(Duration::ZERO, every, settled);
            due.at.as_secs()
        };
        assert_eq!([false, false, false, false, false].map(&mut after), [10, 20, 40, 60, 60]);
        assert_eq!([true, false].map(&mut after), [60, 10]);
    }

    #[test]
    fn what_changed_is_remembered_up_to_a_limit() {
        let keeping = Keeping::default();
        (0..ALIGN_KEPT as u32 + 2).for_each(|number| keeping.changed(number.to_be_bytes().to_vec()));
        let changed = keeping.take();
        assert_eq!((changed.objects.len(), changed.too_many), (ALIGN_KEPT, true));
        let changed = keeping.take();
        assert!(changed.objects.is_empty() && !changed.too_many);
    }
}
