//! Buckets by name, and by owner.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key};
use crate::account::AccountId;
use crate::bucket::Incarnation;
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::name::BucketName;
use crate::object::Pairs;

/// A bucket. Every inserter into the bucket's ranges reads this row: it guards them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketRow {
    /// Which life of the name.
    pub incarnation: Incarnation,
    /// Whose.
    pub owner: AccountId,
    /// When created.
    pub created: UnixMs,
    /// Tags.
    pub tags: Pairs,
}

/// By name.
pub fn bucket(name: &BucketName) -> Key {
    KeyBuilder::new(key::BUCKETS).raw(name.as_str().as_bytes()).build()
}

/// By owner and name.
pub fn owned(owner: AccountId, name: &str) -> Key {
    KeyBuilder::new(key::OWNED).number(owner).raw(name.as_bytes()).build()
}

/// An incarnation that was deleted while uploads were in progress.
pub fn left(incarnation: Incarnation) -> Key {
    KeyBuilder::new(key::LEFT).number(incarnation).build()
}

/// The counter that incarnations come from.
pub fn next_incarnation() -> Key {
    KeyBuilder::new(key::META).raw(b"incarnation").build()
}
