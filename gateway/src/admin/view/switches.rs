//! Switches of silos.

use holdall_namespace::objective::{Amount, Costs};
use holdall_namespace::switch::SwitchInfo;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;

/// A switch to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchRequest {
    /// The old silo.
    pub from: String,
    /// The new one.
    pub to: String,
}

/// How far a switch came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchView {
    /// The old silo.
    pub from: String,
    /// The new one.
    pub to: String,
    /// Since when.
    pub started: Timestamp,
    /// What of the old silo's objects the new one has.
    pub done: Amount,
    /// What it has not.
    pub rest: Amount,
    /// How long the oldest of that has been waiting, milliseconds.
    pub lag_ms: u64,
    /// What it waits for, where it does.
    pub waits: Option<String>,
    /// What the rest costs.
    pub costs: Costs,
    /// What will not be as it was, once it is committed.
    pub notes: Vec<String>,
}

impl From<SwitchInfo> for SwitchView {
    fn from(info: SwitchInfo) -> Self {
        Self {
            from: info.from,
            to: info.to,
            started: time(info.started),
            done: info.done,
            rest: info.rest,
            lag_ms: info.lag,
            waits: info.waits,
            costs: info.costs,
            notes: info.notes,
        }
    }
}
