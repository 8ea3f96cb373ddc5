//! What is known of names that others gave.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key, unescape};
use crate::engine::Key;
use crate::extent::{Number, SiloId};

/// A name taken over in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameRow {
    /// What was seen of it last.
    pub validator: String,
    /// What became of it.
    pub state: NameState,
}

/// What became of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameState {
    /// This version was made of it. It is shown as long as that is the current one of its key: a key that was written or
    /// deleted through S3 follows the name no more.
    Made(Number),
    /// A key of that name was written through S3 before the name was seen.
    Hidden,
    /// It is no object, for this reason.
    Refused(String),
    /// This version was brought there: a copy, whose bytes are ours.
    Shown {
        /// The version.
        version: Number,
        /// BLAKE3 over its bytes.
        digest: [u8; 32],
    },
    /// The bytes of this version were moved away from a tree that is written to: the key stays, and its file goes. Where the
    /// validator is empty it is gone, and none is brought there.
    Moved(Number),
}

impl NameRow {
    /// Whether the name has no file, and its key has none to lack.
    pub fn is_moved_away(&self) -> bool {
        matches!(self.state, NameState::Moved(_)) && self.validator.is_empty()
    }

    /// The version that the name follows, or shows.
    pub fn version(&self) -> Option<Number> {
        match self.state {
            NameState::Made(version) | NameState::Shown { version, .. } | NameState::Moved(version) => Some(version),
            NameState::Hidden | NameState::Refused(_) => None,
        }
    }
}

/// A name of a silo.
pub fn name(silo: SiloId, name: &[u8]) -> Key {
    KeyBuilder::new(key::ASSIMILATED).short(silo).name(name).build()
}

/// All names of a silo that start with `prefix`.
pub fn prefix(silo: SiloId, prefix: &[u8]) -> Key {
    KeyBuilder::new(key::ASSIMILATED).short(silo).prefix(prefix).build()
}

/// The name in a key.
pub fn read_name(key: &[u8]) -> Option<Vec<u8>> {
    unescape(key.get(5..)?).map(|(name, _)| name)
}
