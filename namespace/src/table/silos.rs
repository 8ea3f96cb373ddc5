//! Silos and declared settings.

use holdall_silos::Facts;
use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::SiloId;
use crate::inventory::DeclaredSilo;

/// A silo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiloRow {
    /// Its name.
    pub name: String,
    /// As declared.
    pub declared: DeclaredSilo,
    /// The id in its marker.
    pub marker: String,
    /// Takes no new bytes by order.
    pub cordoned: bool,
    /// As probed last.
    pub facts: Facts,
    /// When it was registered.
    pub created: UnixMs,
}

/// A silo by number.
pub fn silo(id: SiloId) -> Key {
    KeyBuilder::new(key::SILOS).short(id).build()
}

/// The number in a key.
pub fn read_silo(key: &[u8]) -> Option<SiloId> {
    key.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

/// The counter that silo numbers come from.
pub fn next_silo() -> Key {
    KeyBuilder::new(key::META).raw(b"silo").build()
}

/// The default write policy.
pub fn write_policy() -> Key {
    KeyBuilder::new(key::SETTINGS).raw(b"write").build()
}

/// A bucket's write policy.
pub fn bucket_write_policy(bucket: &str) -> Key {
    KeyBuilder::new(key::SETTINGS).raw(b"write/").raw(bucket.as_bytes()).build()
}

/// Counts every change of silos and settings, so that gateways know to read them again. An `Add` counter.
pub fn revision() -> Key {
    KeyBuilder::new(key::META).raw(b"revision").build()
}

/// The namespace's id.
pub fn namespace_id() -> Key {
    KeyBuilder::new(key::META).raw(b"namespace").build()
}
