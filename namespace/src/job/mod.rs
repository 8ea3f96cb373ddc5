//! Long work: a row in the index, a task in a gateway.

use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, BucketError};
use crate::clock::UnixMs;
use crate::engine::{Read, Rows, Write};
use crate::extent::{JobId, SiloId};
use crate::fault::Fault;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::{Core, Namespace};
use crate::objective::{Costs, Scope};
use crate::plan::Wish;
use crate::session::Uncommitted;
use crate::table::jobs::{JobRow, job as job_key};
use crate::table::roots::RootRow;
use crate::table::{after_prefix, key};

mod against;
mod begin;
mod failed;
mod forget;
mod halt;
mod hold;
mod run;
mod walk;

pub(crate) use begin::{Came, Checked, new_job, until_written};
pub use failed::FailedMove;
pub use run::Running;
pub(crate) use run::{Small, Standing as StandingJob, Steps, batches};
pub(crate) use walk::{Walk, next_page};

/// What moves without an order, for objectives or to rewrite a pack, counts as this job: it has no row.
pub const BY_ITSELF: JobId = 0;

/// Jobs have smaller numbers.
pub(crate) const OBJECTIVES: JobId = 1 << 52;

/// What moves by itself for an objective's sake counts as this job: a replica keeps it, whatever becomes of the objective.
pub(crate) fn for_objective(name: &str) -> JobId {
    OBJECTIVES | (twox_hash::XxHash3_64::oneshot(name.as_bytes()) >> 12)
}

/// What a job was asked to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Order {
    /// Put what exists under a prefix when it starts onto a silo.
    Place {
        /// The bucket.
        bucket: BucketName,
        /// Literal, as in ListObjectsV2; empty is the whole bucket.
        prefix: String,
        /// The silo's name.
        on: String,
    },
    /// Empty a silo into another.
    Drain {
        /// The silo to empty.
        from: String,
        /// The silo that takes it.
        to: String,
    },
    /// Take out of a silo what was copied there since a moment and another one still has.
    Undo {
        /// The silo that loses it.
        from: String,
        /// The silo that has it.
        to: String,
        /// Since when.
        since: UnixMs,
    },
    /// Put what exists in a part of the namespace when it starts where objectives want it.
    Align {
        /// Which part.
        on: Scope,
    },
    /// Forget what a lost silo held of what others have, too.
    Lost {
        /// The silo's name.
        silo: String,
    },
    /// Read what a silo holds, and make good from others what is damaged.
    Scrub {
        /// The silo's name.
        silo: String,
    },
}

/// How fast a job may go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// Bytes per second; none is unlimited.
    pub bytes_per_second: Option<u64>,
    /// Moves at once; none is the default.
    pub concurrency: Option<usize>,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Moving.
    Running,
    /// Nothing live is left to move; retired replicas wait for the sweep.
    Done,
    /// `drain` only: done, and the silo holds nothing of ours any more.
    Empty,
    /// Stopped by order, until it is resumed.
    Paused,
    /// Stopped by order. What was moved stays moved.
    Cancelled,
    /// It gave up; `error` says why.
    Failed,
    /// Of a drain or a lost silo: it was taken into use again, so nobody empties it, or waits for it to be empty.
    Reopened,
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its number.
    pub id: JobId,
    /// What it does.
    pub order: Order,
    /// How fast.
    pub pace: Pace,
    /// Where it stands.
    pub state: JobState,
    /// When it was ordered.
    pub created: UnixMs,
    /// When it ended.
    pub finished: Option<UnixMs>,
    /// Extents it was planned to move; grows when more are found.
    pub planned_objects: u64,
    /// Their bytes.
    pub planned_bytes: u64,
    /// Extents moved.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Moves given up because the object was overwritten or deleted meanwhile: it won.
    pub superseded: u64,
    /// Moves that failed and will be tried again.
    pub failed: u64,
    /// The last failure, or why the job failed.
    pub error: Option<String>,
    /// Extents that stay: an objective forbids them to be there.
    #[serde(default)]
    pub refused: u64,
    /// `scrub` only: damaged or missing replicas that were found.
    #[serde(default)]
    pub damaged: u64,
    /// Those of them that were made good.
    #[serde(default)]
    pub mended: u64,
    /// `scrub` only: where it goes on, for another life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// `scrub` only: nobody ordered it.
    #[serde(default)]
    pub by_itself: bool,
}

/// One move under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveInfo {
    /// The extent, `session-number`.
    pub extent: String,
    /// The object it was first written for.
    pub bucket: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// From which silo.
    pub from: String,
    /// To which silo.
    pub to: String,
    /// Stored bytes.
    pub bytes: u64,
}

/// What a dry run says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// Extents that would move.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Extents that are there already.
    pub in_place: u64,
    /// Extents that stay: an objective forbids them to be there.
    #[serde(default)]
    pub refused: u64,
    /// What moving costs, and what storing costs a month before and after; none of a scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub costs: Option<Costs>,
}

/// One replica of an object's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaInfo {
    /// The extent, `session-number`.
    pub extent: String,
    /// The silo's name.
    pub silo: String,
    /// `verified` or `retired`.
    pub state: String,
    /// Our own name for the blob inside the silo.
    pub blob: String,
    /// Bytes.
    pub bytes: u64,
    /// Since when.
    pub since: UnixMs,
    /// The job that brought it here; [`BY_ITSELF`] where it was none.
    pub job: Option<JobId>,
    /// The objective for whose sake it came by itself, where that is still declared.
    #[serde(default)]
    pub objective: Option<String>,
}

/// Why an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// No silo of that name.
    #[error("no silo `{0}`")]
    NoSuchSilo(String),
    /// No bucket of that name.
    #[error("no bucket `{0}`")]
    NoSuchBucket(String),
    /// No such object.
    #[error("no object `{0}`")]
    NoSuchKey(String),
    /// No such job.
    #[error("no job {0}")]
    NoSuchJob(JobId),
    /// The order contradicts itself.
    #[error("{0}")]
    Invalid(String),
    /// The silo takes no new bytes by order, and an order cannot do both.
    #[error("silo `{0}` is cordoned and takes no new bytes; `holdall silo uncordon {0}` changes that")]
    Cordoned(String),
    /// The silo never comes back.
    #[error("silo `{0}` is lost: nothing moves there or from there any more")]
    Lost(String),
    /// An objective would undo it.
    #[error("objective `{0}` would undo that: `holdall objective list` shows it")]
    Against(String),
    /// An objective with a condition, or about a part of it, would undo some of it.
    #[error(
        "objective `{objective}` would bring {extents} extents of that elsewhere again: `holdall objective list` shows it, and `--hold` \
         keeps them there for a while"
    )]
    Undone {
        /// The objective that would most of it.
        objective: String,
        /// How much.
        extents: u64,
    },
    /// A switch of silos stands against it.
    #[error("{0} is under way: `holdall switch commit` or `holdall switch rollback` ends it")]
    Switching(String),
    /// A job that runs would undo it, or it that job.
    #[error("job {id} still runs: {order}; `holdall job cancel {id}`, or wait for it")]
    Conflict {
        /// The job.
        id: JobId,
        /// What it does.
        order: Order,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl JobInfo {
    /// One that begins now.
    fn new(id: JobId, order: Order, pace: Pace, now: UnixMs) -> Self {
        Self {
            id,
            order,
            pace,
            state: JobState::Running,
            created: now,
            finished: None,
            planned_objects: 0,
            planned_bytes: 0,
            moved_objects: 0,
            moved_bytes: 0,
            superseded: 0,
            failed: 0,
            error: None,
            refused: 0,
            damaged: 0,
            mended: 0,
            at: None,
            by_itself: false,
        }
    }

    /// Whether a gateway still works on it.
    pub fn is_active(&self) -> bool {
        match self.state {
            JobState::Running => true,
            JobState::Done => matches!(self.order, Order::Drain { .. }),
            JobState::Paused | JobState::Empty | JobState::Cancelled | JobState::Failed | JobState::Reopened => false,
        }
    }

    /// Whether it has ended, and does not go on.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_active() && self.state != JobState::Paused
    }
}

impl Namespace {
    /// What an order would move now, and what that costs. Changes nothing.
    pub async fn plan(&self, order: &Order) -> Result<PlanSummary, OrderError> {
        self.core.refuse_at_odds(order).await?;
        self.core.refuse_undone(order).await?;
        self.core.would(order).await
    }

    /// The bucket that an order or a question names.
    pub(crate) async fn bucket_of(&self, name: &str) -> Result<Bucket, OrderError> {
        let missing = || OrderError::NoSuchBucket(name.to_owned());
        let parsed: BucketName = name.parse().map_err(|_| missing())?;
        self.bucket(&parsed).await.map_err(|error| match error {
            BucketError::Fault(fault) => fault.into(),
            _ => missing(),
        })
    }

    /// All jobs, the newest first.
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, Fault> {
        let rows = self.core.job_rows().await?;
        Ok(rows.into_iter().rev().map(|row| self.core.running.latest(row.info)).collect())
    }

    /// One job.
    pub async fn job(&self, id: JobId) -> Result<JobInfo, OrderError> {
        let rows = self.engine.get(&[job_key(id)]).await.map_err(Fault::from)?;
        let row = JobRow::decode(rows[0].as_ref().ok_or(OrderError::NoSuchJob(id))?)?;
        Ok(self.core.running.latest(row.info))
    }

    /// The moves a job has between journal row and commit now.
    pub async fn job_moves(&self, id: JobId) -> Result<Vec<MoveInfo>, OrderError> {
        self.job(id).await?;
        Ok(self.core.running.moves(id))
    }

    /// Every replica of an object's bytes.
    pub async fn where_is(&self, bucket: &BucketName, key: &ObjectKey) -> Result<Vec<ReplicaInfo>, OrderError> {
        let found = self.bucket(bucket).await.map_err(|_| OrderError::NoSuchBucket(bucket.to_string()))?;
        let opened = self.open_object(&found, key).await;
        let opened = opened.map_err(|_| OrderError::NoSuchKey(format!("s3://{bucket}/{key}")))?;
        let slices = opened.slices(0..opened.object.size).await?;
        self.core.replicas_of(&slices).await.map_err(OrderError::Fault)
    }
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Place { bucket, prefix, on } => write!(f, "place s3://{bucket}/{prefix} on {on}"),
            Self::Drain { from, to } => write!(f, "drain {from} to {to}"),
            Self::Undo { from, to, .. } => write!(f, "take back from {from} what {to} has"),
            Self::Align { on } => write!(f, "align {on}"),
            Self::Lost { silo } => write!(f, "forget what {silo} held"),
            Self::Scrub { silo } => write!(f, "scrub {silo}"),
        }
    }
}

impl Order {
    /// What it is about: all there is, of a drain.
    pub(crate) fn on(&self) -> Scope {
        match self {
            Self::Place { bucket, prefix, .. } => Scope { bucket: Some(bucket.to_string()), prefix: prefix.clone() },
            Self::Align { on } => on.clone(),
            Self::Drain { .. } | Self::Undo { .. } | Self::Lost { .. } | Self::Scrub { .. } => Scope::default(),
        }
    }

    /// Whether it is about a silo of this name.
    pub(crate) fn names(&self, silo: &str) -> bool {
        match self {
            Self::Place { on, .. } => on == silo,
            Self::Drain { from, to } | Self::Undo { from, to, .. } => from == silo || to == silo,
            Self::Lost { silo: about } | Self::Scrub { silo: about } => about == silo,
            Self::Align { .. } => false,
        }
    }

    /// Whether it may move what a root takes over.
    fn moves(&self, root: &RootRow) -> bool {
        let taken = &root.info.order;
        match self {
            Self::Drain { from, .. } => *from == taken.silo,
            // What is not passed yet waits.
            Self::Align { .. } | Self::Undo { .. } | Self::Lost { .. } | Self::Scrub { .. } => false,
            Self::Place { bucket, prefix, .. } => {
                *bucket == taken.bucket && (prefix.starts_with(&taken.into) || taken.into.starts_with(prefix))
            }
        }
    }

    /// Whether two orders at once would move the same bytes back and forth, or fill what the other empties.
    fn contradicts(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Drain { from, to }, Self::Drain { from: source, to: target }) => {
                from == source || from == target || to == source
            }
            (Self::Drain { from, .. } | Self::Undo { from, .. }, Self::Place { on, .. })
            | (Self::Place { on, .. }, Self::Drain { from, .. } | Self::Undo { from, .. }) => from == on,
            (Self::Undo { from, to, .. }, Self::Drain { from: source, to: target })
            | (Self::Drain { from: source, to: target }, Self::Undo { from, to, .. }) => {
                to == source || from == source || from == target
            }
            (Self::Undo { from, .. }, Self::Undo { from: other, .. }) => from == other,
            (Self::Lost { silo }, Self::Lost { silo: other }) | (Self::Scrub { silo }, Self::Scrub { silo: other }) => {
                silo == other
            }
            // What is lost is moved by nobody; what is read may be; what is drained is cordoned, which objectives respect.
            (Self::Lost { .. } | Self::Scrub { .. }, _)
            | (_, Self::Lost { .. } | Self::Scrub { .. })
            | (Self::Drain { .. } | Self::Undo { .. }, Self::Align { .. })
            | (Self::Align { .. }, Self::Drain { .. } | Self::Undo { .. })
            | (Self::Place { .. }, Self::Place { .. }) => false,
            (Self::Align { .. }, _) | (_, Self::Align { .. }) => self.on().meets(&other.on()),
        }
    }
}

pub(crate) fn refused_silo(error: crate::inventory::SiloCommandError) -> OrderError {
    match error {
        crate::inventory::SiloCommandError::NoSuchSilo(name) => OrderError::NoSuchSilo(name),
        crate::inventory::SiloCommandError::Lost(name) => OrderError::Lost(name),
        crate::inventory::SiloCommandError::Fault(fault) => fault.into(),
    }
}

impl Core {
    /// What an order wishes of all that it is about, where that is the same for all.
    pub(crate) fn wish(&self, order: &Order) -> Result<Option<Wish>, OrderError> {
        let inventory = self.inventory();
        match order {
            Order::Place { on: to, .. } | Order::Drain { to, .. }
                if inventory.named(to).is_some_and(|open| open.holdings.is_some()) =>
            {
                Err(OrderError::Invalid(format!("silo `{to}` is read-only")))
            }
            Order::Align { .. } => Ok(None),
            Order::Scrub { silo } => self.silo_named(silo).map(|_| None),
            Order::Undo { from, to, .. } => self.silo_named(from).and(self.silo_named(to)).map(|_| None),
            Order::Lost { silo } => Ok(Some(Wish::Off { from: self.silo_named(silo)?, least: 1 })),
            Order::Place { on, .. } => Ok(Some(Wish::On(self.silo_named(on)?))),
            Order::Drain { from, to } if from == to => {
                Err(OrderError::Invalid("a silo cannot be drained into itself".to_owned()))
            }
            Order::Drain { from, to } => {
                Ok(Some(Wish::OffOnto { from: self.silo_named(from)?, to: self.silo_named(to)? }))
            }
        }
    }

    /// The number of a silo that an order names.
    fn silo_named(&self, name: &str) -> Result<SiloId, OrderError> {
        let inventory = self.inventory();
        Ok(inventory.named(name).ok_or_else(|| OrderError::NoSuchSilo(name.to_owned()))?.id)
    }

    /// Refuses an order that a running job stands against.
    pub(crate) async fn refuse_running(&self, order: &Order) -> Result<(), OrderError> {
        let rows = self.job_rows().await?;
        let latest = rows.into_iter().map(|row| self.running.latest(row.info));
        let running = latest.filter(|info| info.state == JobState::Running);
        let mut against = running.filter(|info| order.contradicts(&info.order));
        match against.next() {
            Some(info) => Err(OrderError::Conflict { id: info.id, order: info.order }),
            None => Ok(()),
        }
    }

    /// Refuses an order about what is taken over and was not passed yet.
    pub(crate) async fn refuse_unfilled(&self, order: &Order) -> Result<(), OrderError> {
        let roots = crate::inventory::load_roots(&*self.engine).await?;
        let Some(row) = roots.iter().find(|row| !row.info.filled && order.moves(row)) else { return Ok(()) };
        let reason = "nothing of it moves before it was passed once, headers and all";
        let left = row.info.unfilled.as_ref().and_then(|left| Some((left.keys, left.first.as_ref()?)));
        let left = left.map_or_else(String::new, |(keys, first)| {
            format!("; {keys} keys lack theirs: `{}` ({})", first.name, first.reason)
        });
        Err(OrderError::Invalid(format!("root {} ({}): {reason}{left}", row.info.id, row.info.order)))
    }

    /// Refuses an order that a running job, a cordon or an objective stands against. A drain takes its target into use itself;
    /// placing does not.
    pub(super) async fn refuse_at_odds(&self, order: &Order) -> Result<(), OrderError> {
        self.refuse_beside(order).await?;
        let (Order::Drain { to, .. } | Order::Place { on: to, .. }) = order else { return Ok(()) };
        match self.inventory().rules()?.against(&order.on(), self.silo_named(to)?) {
            Some(rule) => Err(OrderError::Against(rule.name.clone())),
            None => Ok(()),
        }
    }

    /// The same, whatever objectives want.
    async fn refuse_beside(&self, order: &Order) -> Result<(), OrderError> {
        self.refuse_running(order).await?;
        self.refuse_unfilled(order).await?;
        let inventory = self.inventory();
        if let Some(switch) = inventory.switches.iter().find(|switch| switch.forbids(order, &inventory)) {
            return Err(OrderError::Switching(switch.in_words(&inventory)));
        }
        if let Order::Drain { from: asked, .. } | Order::Scrub { silo: asked } = order {
            inventory.asked(asked).map_err(refused_silo)?;
        }
        let (Order::Drain { to, .. } | Order::Place { on: to, .. }) = order else { return Ok(()) };
        let silo = inventory.named(to).ok_or_else(|| OrderError::NoSuchSilo(to.clone()))?;
        if matches!(order, Order::Place { .. }) && silo.row.cordoned {
            return Err(OrderError::Cordoned(to.clone()));
        }
        Ok(())
    }

    /// Changes a job's row; `None` when there is no such job.
    pub(crate) async fn change_job(
        &self,
        id: JobId,
        change: impl Fn(&mut JobRow) + Send + Sync + 'static,
    ) -> Result<Option<JobInfo>, Fault> {
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let Some(bytes) = rows.get(&job_key(id)) else { return Ok((Vec::new(), None)) };
            let mut row = JobRow::decode(bytes)?;
            change(&mut row);
            Ok((vec![Write::Put(job_key(id), row.encode())], Some(row.info)))
        };
        match self.session().commit(vec![Read::Row(job_key(id))], decide).await {
            Ok(info) => Ok(info),
            Err(Uncommitted::Refused(fault) | Uncommitted::Fault(fault)) => Err(fault),
            Err(Uncommitted::Unknown) => Err(Fault::Unavailable("whether the job changed is unknown".to_owned())),
        }
    }

    pub(crate) async fn job_rows(&self) -> Result<Vec<JobRow>, Fault> {
        let table = vec![key::JOBS]..after_prefix(&[key::JOBS]);
        let rows = self.engine.range(table, usize::MAX, usize::MAX).await?;
        let known = rows.iter().filter_map(|(_, bytes)| {
            // One that a later version ordered is for that to carry out.
            JobRow::decode(bytes)
                .inspect_err(|fault| tracing::warn!(%fault, "a job cannot be read by this version"))
                .ok()
        });
        Ok(known.collect())
    }
}
