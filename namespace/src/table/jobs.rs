//! Jobs.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key};
use crate::engine::Key;
use crate::extent::JobId;
use crate::job::JobInfo;

/// A job, who runs it, and how far it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// As it is shown.
    pub info: JobInfo,
    /// The session that runs it; 0 is nobody.
    pub owner: u64,
    /// Everything before this key of the table it walks was looked at in this pass.
    pub cursor: Vec<u8>,
}

/// A job by number.
pub fn job(id: JobId) -> Key {
    KeyBuilder::new(key::JOBS).number(id).build()
}

/// The counter that job numbers come from.
pub fn next_job() -> Key {
    KeyBuilder::new(key::META).raw(b"job").build()
}
