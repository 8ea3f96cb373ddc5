//! Two rows for each gateway life, so that heartbeats never queue behind commits.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key, read_number};
use crate::clock::UnixMs;
use crate::engine::Key;

/// Read by every commit of the session; absent means dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliveRow {
    /// Raised to make sure that nothing sent before can land.
    pub epoch: u64,
    /// When it began.
    pub started: UnixMs,
}

/// What a session publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeatRow {
    /// Counts up.
    pub beat: u64,
    /// The oldest unfinished number: all below are settled.
    pub floor: u64,
    /// The next number it will take.
    pub next: u64,
    /// The beat under which the oldest open read registered; never above `beat`.
    pub oldest: u64,
    /// The settings revision it works by.
    pub revision: i64,
}

/// A session that ended; its orphans may lie at and above `floor`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedRow {
    /// Its last published floor.
    pub floor: u64,
}

/// Alive.
pub fn alive(session: u64) -> Key {
    KeyBuilder::new(key::ALIVE).number(session).build()
}

/// Beat.
pub fn beat(session: u64) -> Key {
    KeyBuilder::new(key::BEATS).number(session).build()
}

/// Ended.
pub fn ended(session: u64) -> Key {
    KeyBuilder::new(key::ENDED).number(session).build()
}

/// The counter that sessions come from.
pub fn next_session() -> Key {
    KeyBuilder::new(key::META).raw(b"session").build()
}

/// The session a key of any of these tables is about.
pub fn read_session(key: &[u8]) -> Option<u64> {
    read_number(key, 1)
}
