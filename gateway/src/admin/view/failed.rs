//! What did not move.

use holdall_namespace::job::{FailedMove, MoveInfo};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;

/// A move that failed, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedView {
    /// What was to move; its object is named where that was read.
    #[serde(flatten)]
    pub moving: MoveInfo,
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
        let FailedMove { moving, job, tries, reason, first, last } = failed;
        Self { moving, job, tries, reason, first: time(first), last: time(last) }
    }
}
