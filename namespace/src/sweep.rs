//! Sweeping: deleting what was retired once nobody can be reading it, and orphans by the rule.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::namespace::Namespace;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Replicas deleted.
    pub replicas: u64,
    /// Orphans deleted.
    pub orphans: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Retired replicas that still wait: for readers, for the grace period, or for a silo.
    pub waiting: u64,
}

impl Namespace {
    /// One pass over what is retired, and one of the orphan collector. `skip_grace` skips the grace period only:
    /// the rule about readers always holds. A pass may have to be repeated until `waiting` is 0.
    pub async fn sweep(&self, _skip_grace: bool) -> Result<Swept, Fault> {
        unimplemented!()
    }
}
