//! What an index knows of its backups; the pieces themselves are in the silos.

use super::{KeyBuilder, key};
use crate::engine::Key;

/// A number: what is added to the engine's numbers of entries to make those in pieces of the log.
pub fn log_base() -> Key {
    KeyBuilder::new(key::META).raw(b"log_base").build()
}

/// A session's number, in an index that was restored: blobs of all sessions before it that no row names are kept, since
/// the index cannot know what they are.
pub fn kept() -> Key {
    KeyBuilder::new(key::META).raw(b"kept").build()
}
