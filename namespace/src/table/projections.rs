//! What is being brought into trees of others, or taken out of them, and what came out.

use holdall_silos::projections::Attempt;
use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key, unescape};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{Number, SiloId};

/// An attempt under way, by the name it is about. As long as it stands, whatever is seen under that name counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentRow {
    /// The attempt.
    pub at: Attempt,
    /// The session that began it, or took it over.
    pub session: u64,
    /// What it is to do.
    pub task: Task,
    /// What is believed to be there; none where nothing is known.
    pub base: Option<Base>,
}

/// What an attempt is to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Give the name to what is staged.
    Bring {
        /// The version that this is a copy of.
        version: Number,
        /// The file.
        staged: String,
        /// BLAKE3 over its bytes.
        digest: [u8; 32],
    },
    /// Take out what has the name.
    Take,
}

/// A file that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// As it was seen.
    pub validator: String,
    /// BLAKE3 over its bytes, where it is not too long to be read.
    pub digest: Option<[u8; 32]>,
}

/// A file that came out of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutRow {
    /// The attempt that took it out, and has it.
    pub at: Attempt,
    /// The name that it had.
    pub name: Vec<u8>,
    /// What was staged in the attempt.
    pub staged: Option<String>,
    /// As it was seen when it had come out.
    pub validator: String,
    /// When.
    pub since: UnixMs,
    /// What becomes of it.
    pub state: OutState,
}

/// What becomes of a file that came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutState {
    /// It was what was to be replaced, and goes after a while if nobody wrote to it since.
    Trash,
    /// Others wrote it, and S3 never showed it: it gets a name of its own.
    Conflict,
    /// It has this name now.
    Beside(Vec<u8>),
}

/// What is under way with a name of a silo.
pub fn intent(silo: SiloId, name: &[u8]) -> Key {
    KeyBuilder::new(key::INTENTS).short(silo).name(name).build()
}

/// All that is under way in a silo with names that start with `prefix`.
pub fn intents(silo: SiloId, prefix: &[u8]) -> Key {
    KeyBuilder::new(key::INTENTS).short(silo).prefix(prefix).build()
}

/// The name in a key of an intent.
pub fn read_intent(key: &[u8]) -> Option<Vec<u8>> {
    unescape(key.get(5..)?).map(|(name, _)| name)
}

/// What came out of a silo by an attempt.
pub fn out(silo: SiloId, number: (u64, u64)) -> Key {
    KeyBuilder::new(key::TAKEN_OUT).short(silo).number(number.0).number(number.1).build()
}

/// All that came out of a silo.
pub fn outs(silo: SiloId) -> Key {
    KeyBuilder::new(key::TAKEN_OUT).short(silo).build()
}
