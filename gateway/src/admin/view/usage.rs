//! What is stored: by bucket, account and silo.

use holdall_namespace::usage::{Usage, UsageReport};
use serde::{Deserialize, Serialize};

/// Usage by bucket, account and silo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageView {
    /// Logical bytes by bucket.
    pub buckets: Vec<UsageLine>,
    /// Logical bytes by account.
    pub accounts: Vec<UsageLine>,
    /// Stored bytes by silo, retired ones included.
    pub silos: Vec<UsageLine>,
}

/// One count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageLine {
    /// Of what.
    pub name: String,
    /// A bucket's account.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<String>,
    /// Current versions, or replicas.
    pub objects: i64,
    /// Bytes.
    pub bytes: i64,
}

impl From<UsageReport> for UsageView {
    fn from(report: UsageReport) -> Self {
        let name_of = |id| report.accounts.iter().find(|(known, ..)| *known == id).map(|(_, name, _)| name.clone());
        let line = |name: String, account, usage: Usage| UsageLine {
            name,
            account,
            objects: usage.objects,
            bytes: usage.bytes,
        };
        Self {
            buckets: report
                .buckets
                .iter()
                .map(|(name, id, usage)| line(name.to_string(), name_of(*id), *usage))
                .collect(),
            accounts: report.accounts.iter().map(|(_, name, usage)| line(name.clone(), None, *usage)).collect(),
            silos: report.silos.iter().map(|(name, usage)| line(name.clone(), None, *usage)).collect(),
        }
    }
}
