//! Objects and bytes, counted as deltas in the commits that change them.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::account::AccountId;
use crate::engine::{Key, Page};
use crate::fault::Fault;
use crate::limits::LIST_PAGE;
use crate::name::BucketName;
use crate::namespace::{Core, Namespace};
use crate::table::buckets::BucketRow;
use crate::table::silos::{SiloRow, read_silo};
use crate::table::usage::{Counted, keys, read};
use crate::table::{after_prefix, decode, key, successor};

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
    /// Reads the counters; costs two rows for each bucket, account and silo. Not one snapshot: what changes meanwhile
    /// may be counted in one table and not yet in the other.
    pub async fn usage(&self) -> Result<UsageReport, Fault> {
        let mut report = UsageReport::default();
        for account in self.accounts().await? {
            let usage = self.counted(Counted::Account(account.id)).await?;
            report.accounts.push((account.id, account.name, usage));
        }
        for (key, row) in self.table(key::SILOS).await? {
            let row = SiloRow::decode(&row)?;
            let id = read_silo(&key).ok_or_else(|| Fault::Damaged("a silo's key".to_owned()))?;
            let (live, retired) = (self.counted(Counted::Silo(id)).await?, self.counted(Counted::Retired(id)).await?);
            let usage = Usage { objects: live.objects + retired.objects, bytes: live.bytes + retired.bytes };
            report.silos.push((row.name, usage));
        }
        for (name, row) in self.bucket_rows().await? {
            report.buckets.push((name, row.owner, self.counted(Counted::Bucket(row.incarnation)).await?));
        }
        Ok(report)
    }
}

impl Core {
    /// A counter.
    pub(crate) async fn counted(&self, of: Counted) -> Result<Usage, Fault> {
        let rows = self.engine.get(&keys(of)).await?;
        Ok(Usage { objects: read(rows[0].as_ref()), bytes: read(rows[1].as_ref()) })
    }

    /// Their names, by incarnation.
    pub(crate) async fn buckets_by_incarnation(&self) -> Result<BTreeMap<u64, BucketName>, Fault> {
        Ok(self.bucket_rows().await?.into_iter().map(|(name, row)| (row.incarnation, name)).collect())
    }

    /// All buckets.
    pub(crate) async fn bucket_rows(&self) -> Result<Vec<(BucketName, BucketRow)>, Fault> {
        let read = |(key, row): &(Bytes, Bytes)| {
            let name = std::str::from_utf8(&key[1..]).ok().and_then(|name| name.parse().ok());
            Ok((name.ok_or_else(|| Fault::Damaged("a bucket's key".to_owned()))?, decode(row)?))
        };
        self.table(key::BUCKETS).await?.iter().map(read).collect()
    }

    /// All rows of a short table.
    async fn table(&self, table: u8) -> Result<Page, Fault> {
        let (mut all, mut from, end): (Page, Key, Key) = (Vec::new(), vec![table], after_prefix(&[table]));
        loop {
            let page = self.engine.range(from.clone()..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            from = successor(last);
            all.extend(page);
        }
    }
}
