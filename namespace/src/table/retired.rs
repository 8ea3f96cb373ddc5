//! What waits for the sweep, in the order it was retired.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key, read_number};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{Location, Number, SiloId};

/// Something to sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RetiredRow {
    /// These replicas of an extent.
    Replicas {
        /// The extent.
        extent: Number,
        /// Where.
        replicas: Vec<(SiloId, Location)>,
    },
    /// A manifest that nobody refers to: its parts' references drop, then its head goes.
    Manifest(Number),
    /// An upload whose parts go: all of an aborted one, those not named of a completed one.
    Upload {
        /// Its row's key.
        key: Vec<u8>,
        /// Its id.
        id: Number,
    },
}

/// When (wall clock: order and grace only), and the fresh number of whoever retired it; `index` tells several apart.
pub fn retired(since: UnixMs, by: Number, index: u32) -> Key {
    KeyBuilder::new(key::RETIRED).number(since.max(0) as u64).number(by.session).number(by.number).short(index).build()
}

/// The same, retired at another time.
pub fn since(key: &[u8], since: UnixMs) -> Key {
    let mut key = key.to_vec();
    key[1..9].copy_from_slice(&(since.max(0) as u64).to_be_bytes());
    key
}

/// When it was retired, from a key.
pub fn read_since(key: &[u8]) -> UnixMs {
    read_number(key, 1).unwrap_or(0) as UnixMs
}
