//! Long work: a row in the index, a task in a gateway.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::extent::JobId;
use crate::fault::Fault;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::Namespace;

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
    /// Stopped by order. What was moved stays moved.
    Cancelled,
    /// It gave up; `error` says why.
    Failed,
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
    /// The job that brought it here.
    pub job: Option<JobId>,
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
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Namespace {
    /// What an order would move now. Changes nothing.
    pub async fn plan(&self, _order: &Order) -> Result<PlanSummary, OrderError> {
        unimplemented!()
    }

    /// Orders a job; it runs in a gateway and survives restarts.
    pub async fn start_job(&self, _order: Order, _pace: Pace) -> Result<JobInfo, OrderError> {
        unimplemented!()
    }

    /// All jobs, the newest first.
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, Fault> {
        unimplemented!()
    }

    /// One job.
    pub async fn job(&self, _id: JobId) -> Result<JobInfo, OrderError> {
        unimplemented!()
    }

    /// The moves a job has between journal row and commit now.
    pub async fn job_moves(&self, _id: JobId) -> Result<Vec<MoveInfo>, OrderError> {
        unimplemented!()
    }

    /// Stops a job; moves under way are given up.
    pub async fn cancel_job(&self, _id: JobId) -> Result<JobInfo, OrderError> {
        unimplemented!()
    }

    /// Every replica of an object's bytes.
    pub async fn where_is(&self, _bucket: &BucketName, _key: &ObjectKey) -> Result<Vec<ReplicaInfo>, OrderError> {
        unimplemented!()
    }
}
