//! What is taken over in place: which part of a silo, into which bucket, and how far that came.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{KeyBuilder, decode, encode, key};
use crate::assimilate::RootInfo;
use crate::bucket::Incarnation;
use crate::engine::Key;
use crate::extent::SiloId;
use crate::fault::Fault;

/// A root's number.
pub type RootId = u32;

/// A root, and who looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootRow {
    /// As it is shown.
    pub info: RootInfo,
    /// Its silo.
    pub silo: SiloId,
    /// Its bucket.
    pub bucket: Incarnation,
    /// The session that scans it; 0 is nobody.
    pub owner: u64,
}

/// The row as it is stored, like a job's.
#[derive(Serialize, Deserialize)]
struct Stored {
    silo: SiloId,
    bucket: Incarnation,
    owner: u64,
    info: Vec<u8>,
}

impl RootRow {
    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let info = serde_json::to_vec(&self.info).expect("a root is plain data");
        encode(&Stored { silo: self.silo, bucket: self.bucket, owner: self.owner, info })
    }

    /// Reads a row.
    pub fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        let Stored { silo, bucket, owner, info } = decode(bytes)?;
        let info = serde_json::from_slice(&info);
        let info = info.map_err(|error| Fault::Damaged(format!("a root does not read: {error}")))?;
        Ok(Self { info, silo, bucket, owner })
    }
}

/// A root by number.
pub fn root(id: RootId) -> Key {
    KeyBuilder::new(key::ROOTS).short(id).build()
}

/// The counter that root numbers come from.
pub fn next_root() -> Key {
    KeyBuilder::new(key::META).raw(b"root").build()
}
