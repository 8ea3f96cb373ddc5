//! What is taken over in place, and how far it is.

use holdall_namespace::assimilate::{Assimilate, Changes, Counts, Hashed, Noted, RootInfo};
use holdall_namespace::clock::UnixMs;
use holdall_namespace::project::{Conflict, Projected};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;

/// A root: what is taken over in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootView {
    /// Its number.
    pub id: u32,
    /// What it was asked to be.
    pub order: Assimilate,
    /// When.
    pub created: Timestamp,
    /// Every name was seen at least once.
    pub complete: bool,
    /// Names, or with `/` at the end all names below, that were never looked at: lists wait for them.
    pub unread: Vec<Noted>,
    /// What the last pass could not look at.
    #[serde(default)]
    pub unlooked: Vec<Noted>,
    /// Passes that came to their end.
    pub passes: u64,
    /// When the last one did.
    pub passed: Option<Timestamp>,
    /// Of the pass under way, or the last one.
    pub counts: Counts,
    /// Why the last pass broke off, or what waits for somebody.
    pub problem: Option<String>,
    /// Names that are gone, and wait for somebody to confirm it.
    pub gone: u64,
    /// Headers and metadata of all its objects are there; before that nothing of it moves.
    #[serde(default)]
    pub filled: bool,
    /// Keys whose headers could not be asked for when that was tried last.
    #[serde(default)]
    pub unfilled: u64,
    /// The first of them, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfilled_first: Option<Noted>,
    /// How soon a change is seen: `at once`, or `by the next pass` and why.
    pub changes: String,
    /// When somebody told of changes of its silo last.
    pub told: Option<Timestamp>,
    /// Why the queue that tells of its silo's changes cannot be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_queue: Option<String>,
    /// Bytes in place that have checksums, where that was counted.
    pub hashed_bytes: Option<u64>,
    /// Bytes in place that have none yet.
    pub unhashed_bytes: Option<u64>,
    /// All keys were looked at since the first pass: what does not wait and is not stuck has reached the silo.
    #[serde(default)]
    pub audited: bool,
    /// Files that this gateway brought there or took away.
    #[serde(default)]
    pub brought: u64,
    /// Keys that are about to reach the silo.
    #[serde(default)]
    pub waiting: u64,
    /// Keys that it cannot hold.
    #[serde(default)]
    pub stuck: u64,
    /// The first of them, and why.
    #[serde(default)]
    pub unbrought: Vec<Noted>,
}

/// A file that others wrote at the same time as S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConflictView {
    /// What tells it from others.
    pub id: String,
    /// The name that it had.
    pub name: String,
    /// The name that it has now; none where it has none yet.
    pub beside: Option<String>,
    /// When it was found.
    pub since: Timestamp,
}

impl RootView {
    /// A root, how soon its changes are seen, when somebody told of some last or why nobody can, how much of it has checksums, and how far its
    /// silo follows its keys.
    pub fn new(
        root: RootInfo,
        changes: &Changes,
        (told, silent_queue): (Option<UnixMs>, Option<String>),
        hashed: Option<Hashed>,
        projected: Projected,
    ) -> Self {
        let unfilled = root.unfilled.unwrap_or_default();
        Self {
            filled: root.filled,
            unfilled: unfilled.keys,
            unfilled_first: unfilled.first,
            id: root.id,
            order: root.order,
            created: time(root.created),
            complete: root.complete,
            unread: root.unread,
            unlooked: root.unlooked,
            passes: root.passes,
            passed: root.passed.map(time),
            counts: root.counts,
            problem: root.problem,
            gone: root.gone,
            changes: changes.to_string(),
            told: told.map(time),
            silent_queue,
            hashed_bytes: hashed.map(|hashed| hashed.bytes),
            unhashed_bytes: hashed.map(|hashed| hashed.left),
            audited: projected.audited,
            brought: projected.done,
            waiting: projected.waiting,
            stuck: projected.stuck,
            unbrought: projected.reasons,
        }
    }
}

impl From<Conflict> for ConflictView {
    fn from(conflict: Conflict) -> Self {
        let Conflict { id, name, beside, since } = conflict;
        Self { id, name, beside, since: time(since) }
    }
}
