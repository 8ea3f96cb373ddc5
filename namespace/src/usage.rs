//! Objects and bytes, counted as deltas in the commits that change them.

use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::fault::Fault;
use crate::name::BucketName;
use crate::namespace::Namespace;

/// A count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Current versions (buckets, accounts) or replicas (silos).
    pub objects: i64,
    /// Logical bytes (buckets, accounts) or stored bytes, retired ones included (silos).
    pub bytes: i64,
}

/// Who uses how much.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageReport {
    /// By bucket.
    pub buckets: Vec<(BucketName, AccountId, Usage)>,
    /// By account.
    pub accounts: Vec<(AccountId, String, Usage)>,
    /// By silo.
    pub silos: Vec<(String, Usage)>,
}

impl Namespace {
    /// Reads the counters; costs a row for each bucket, account and silo.
    pub async fn usage(&self) -> Result<UsageReport, Fault> {
        unimplemented!()
    }
}
