//! The journal of moves under way: a to-do list that protects nothing.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{JobId, Number, SiloId};

/// A move under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveRow {
    /// For which job.
    pub job: JobId,
    /// By which session.
    pub owner: u64,
    /// From.
    pub from: SiloId,
    /// To.
    pub to: SiloId,
    /// The object it was first written for, if the bytes say so.
    pub object: Option<(String, String)>,
    /// Stored bytes.
    pub bytes: u64,
    /// When it began.
    pub started: UnixMs,
}

/// A move, by extent: one at a time each.
pub fn journal(extent: Number) -> Key {
    KeyBuilder::new(key::MOVES).number(extent.session).number(extent.number).build()
}
