//! Jobs.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, decode, encode, key};
use crate::engine::Key;
use crate::extent::JobId;
use crate::fault::Fault;
use crate::job::JobInfo;

/// A job, who runs it, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// As it is shown.
    pub info: JobInfo,
    /// The session that runs it; 0 is nobody.
    pub owner: u64,
}

/// The row as it is stored: what is shown keeps the form of the admin API, so that one definition serves both.
#[derive(Serialize, Deserialize)]
struct Stored {
    owner: u64,
    info: Vec<u8>,
}

impl JobRow {
    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let info = serde_json::to_vec(&self.info).expect("a job is plain data");
        encode(&Stored { owner: self.owner, info })
    }

    /// Reads a row.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let stored: Stored = decode(bytes)?;
        let info = serde_json::from_slice(&stored.info);
        let info = info.map_err(|error| Fault::Damaged(format!("a job does not read: {error}")))?;
        Ok(Self { info, owner: stored.owner })
    }
}

/// A job by number.
pub fn job(id: JobId) -> Key {
    KeyBuilder::new(key::JOBS).number(id).build()
}

/// The counter that job numbers come from.
pub fn next_job() -> Key {
    KeyBuilder::new(key::META).raw(b"job").build()
}
