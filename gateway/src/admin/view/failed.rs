//! What did not move.

use holdall_namespace::job::FailedMove;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;

/// A move that failed, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedView {
    /// The extent.
    pub extent: String,
    /// The bucket of the object that the bytes were first written for, where that was read.
    pub bucket: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// From which silo.
    pub from: String,
    /// To which one; the same where it was only to be given up there.
    pub to: String,
    /// Its bytes.
    pub bytes: u64,
    /// The job; 0 is none: it moves by itself.
    pub job: u64,
    /// How often it was tried.
    pub tries: u64,
    /// The last reason.
    pub reason: String,
    /// When it failed first.
    pub first: Timestamp,
    /// And last.
    pub last: Timestamp,
}

impl From<FailedMove> for FailedView {
    fn from(failed: FailedMove) -> Self {
        let FailedMove { extent, bucket, key, from, to, bytes, job, tries, reason, first, last } = failed;
        Self { extent, bucket, key, from, to, bytes, job, tries, reason, first: time(first), last: time(last) }
    }
}
