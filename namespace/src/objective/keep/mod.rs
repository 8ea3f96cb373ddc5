//! Objects are kept where objectives want them: what changed is compared at once, everything now and then, and what is
//! elsewhere moves by itself. Of several gateways one compares everything, and each what changed through it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Outlook, Scope};
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::JobId;
use crate::fault::Fault;
use crate::job::{JobState, Order, OrderError, Pace, StandingJob, Steps, Walk};
use crate::limits::{ACK_PATIENCE, ALIGN_BEAT, ALIGN_KEPT, MAX_COPIES};
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::sweep::live_sessions;
use crate::table::objects::object;

mod due;

use due::{Again, Came, Due};

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
    /// What was found then: what was elsewhere began to move.
    pub outlook: Outlook,
    /// Steps that were taken without an order since the gateway began.
    pub moved: u64,
    /// Such steps that failed; they are tried again.
    pub failed: u64,
    /// The last failure, until all objects were compared without one.
    pub error: Option<String>,
}

/// What may not be where objectives want it. Locks are held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Rows of objects that changed.
    changed: Mutex<BTreeSet<Key>>,
    /// More changed than are remembered.
    too_many: AtomicBool,
    /// None where nothing is wished, or another gateway compares.
    told: Mutex<Option<Alignment>>,
}

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

    fn take(&self) -> BTreeSet<Key> {
        std::mem::take(&mut *self.changed.lock().expect("no holder panics"))
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
        if self.options.align.is_some() && !self.inventory().objectives.is_empty() {
            self.keeping.changed(object(bucket.incarnation, key));
        }
    }

    /// Brings an object where objectives want it before its write is answered: in as many copies as they say. Where that cannot be,
    /// or takes too long, the object is there, in fewer, and whoever wrote it is told to try again. Goes on where nobody waits any more.
    pub(crate) async fn align_now(self: &Arc<Self>, bucket: &Bucket, key: &ObjectKey) -> Result<(), Fault> {
        let (core, row) = (Arc::clone(self), object(bucket.incarnation, key));
        let aligned = tokio::spawn(async move {
            let aligned = core.align_one(row.clone()).await;
            if aligned.is_err() {
                core.keeping.changed(row);
            }
            aligned
        });
        tokio::select! {
            aligned = aligned => aligned.unwrap_or_else(|_| Err(not_in_all("it broke off"))),
            () = self.clock.sleep(ACK_PATIENCE) => Err(not_in_all("it takes too long")),
        }
    }

    async fn align_one(self: &Arc<Self>, object: Key) -> Result<(), Fault> {
        let standing = self.stand_alone();
        for _ in 0..=2 * MAX_COPIES {
            let judge = self.objectives(&Scope::default()).await?;
            let mut walk = Walk::one(judge, object.clone());
            let failed = standing.carry_out(self, &mut walk).await.map_err(fault_of)?.failed;
            let Some(outlook) = walk.told() else { break };
            if failed > 0 {
                return Err(not_in_all(&standing.info().error.unwrap_or_default()));
            }
            if outlook.moves.is_empty() {
                let waits = outlook.waits.into_iter().next();
                return waits.map_or(Ok(()), |waits| Err(not_in_all(&waits.reason)));
            }
        }
        Err(not_in_all("it is written too often"))
    }

    /// Keeps objects where objectives want them, for ever.
    pub(crate) async fn keep_aligned_forever(self: Arc<Self>) {
        let Some(options) = &self.options.align else { return };
        let standing = self.stand(options.pace.clone());
        tokio::join!(self.compare_changed_forever(&standing), self.compare_all_forever(&standing, options));
    }

    async fn compare_changed_forever(self: &Arc<Self>, standing: &StandingJob) {
        let mut again = Again::default();
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            let (mut objects, now) = (self.keeping.take(), self.clock.monotonic());
            let mut tried_again = again.take(now);
            let some_again = !tried_again.is_empty();
            objects.append(&mut tried_again);
            if objects.is_empty() || self.inventory().objectives.is_empty() {
                continue;
            }
            let objects: Vec<Key> = objects.into_iter().collect();
            let came = match self.compare(standing, Some(objects.clone())).await {
                Ok((Some(outlook), steps)) => Came::of(&outlook, steps),
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
                Came::Closer => objects.into_iter().for_each(|object| self.keeping.changed(object)),
                Came::ToNothing => again.later(objects, some_again, self.clock.monotonic()),
            }
        }
    }

    async fn compare_all_forever(self: &Arc<Self>, standing: &StandingJob, options: &AlignOptions) {
        let mut due = Due::default();
        loop {
            self.clock.sleep(ALIGN_BEAT).await;
            if self.inventory().objectives.is_empty() || !self.leads().await.unwrap_or(false) {
                self.keeping.tell(|told| *told = None);
                due.forget();
                continue;
            }
            self.keeping.tell(|told| *told = Some(told.take().unwrap_or_default()));
            let (began, revision) = (self.clock.monotonic(), self.inventory().revision);
            let too_many = self.keeping.too_many.swap(false, Ordering::Relaxed);
            if !due.is(began, revision, too_many) {
                continue;
            }
            let came = match self.compare_all(standing).await {
                Ok(Some(came)) => came,
                // What was declared meanwhile is compared with at once.
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, "objects were not compared with objectives");
                    Came::ToNothing
                }
            };
            due.after((began, self.clock.monotonic()), options.every, revision, came);
        }
    }

    /// None where something was declared meanwhile.
    async fn compare_all(self: &Arc<Self>, standing: &StandingJob) -> Result<Option<Came>, OrderError> {
        self.forget_moves(None).await?;
        let (outlook, steps) = self.compare(standing, None).await?;
        let Some(outlook) = outlook else { return Ok(None) };
        if steps.failed == 0 {
            standing.forget_error();
        }
        let (came, compared) = (Came::of(&outlook, steps), Some(self.clock.now()));
        self.keeping.tell(|told| *told = Some(Alignment { compared, outlook, ..Alignment::default() }));
        Ok(Some(came))
    }

    /// Compares objects, all or those with these rows, with the objectives in force, and moves what is elsewhere. Answers what
    /// was found, unless something was declared meanwhile, and what came of it.
    async fn compare(
        self: &Arc<Self>,
        standing: &StandingJob,
        objects: Option<Vec<Key>>,
    ) -> Result<(Option<Outlook>, Steps), OrderError> {
        let judge = self.objectives(&Scope::default()).await?;
        let mut walk = match objects {
            Some(objects) => Walk::some(judge, objects),
            None => Walk::all(judge),
        };
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
    async fn leads(&self) -> Result<bool, Fault> {
        let first = live_sessions(&*self.engine).await?.into_iter().map(|(id, _)| id).min();
        Ok(first == Some(self.session().id))
    }
}

fn fault_of(error: OrderError) -> Fault {
    match error {
        OrderError::Fault(fault) => fault,
        other => Fault::Unavailable(other.to_string()),
    }
}

fn not_in_all(reason: &str) -> Fault {
    Fault::Unavailable(format!("not all copies that are wanted are durable: {reason}"))
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
