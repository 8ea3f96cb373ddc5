//! The bucket that the inventory is written to: the first account's, and nobody else's from the commit on that says so.

use super::{BUCKET, CensusError};
use crate::account::FIRST;
use crate::bucket::{Bucket, BucketError, CreateBucketError};
use crate::engine::{self, Key, NotCommitted, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::COMMIT_TRIES;
use crate::name::BucketName;
use crate::namespace::{Core, Namespace};
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::objects::prefix;
use crate::table::silos::revision;
use crate::table::{KeyBuilder, after_prefix, decode_row, encode, key, usage};

/// Which bucket is ours, by its incarnation.
pub(crate) fn row() -> Key {
    KeyBuilder::new(key::META).raw(b"inventory").build()
}

impl Namespace {
    /// Whether a bucket is the inventory's, which clients do not write to.
    pub async fn is_inventory(&self, bucket: &Bucket) -> Result<bool, Fault> {
        let may_be = bucket.name.as_str() == BUCKET && bucket.owner == FIRST;
        Ok(may_be && self.core.census_home().await? == Some(bucket.incarnation))
    }

    /// The inventory's bucket; made where there is none of that name.
    pub(super) async fn inventory_bucket(&self) -> Result<Bucket, CensusError> {
        let name: BucketName = BUCKET.parse().map_err(|_| Fault::Damaged(format!("`{BUCKET}` is no name")))?;
        let bucket = match self.bucket(&name).await {
            Err(BucketError::NoSuchBucket) => self.create_bucket(&name, FIRST).await.map_err(not_created)?,
            known => known.map_err(|error| Fault::Unavailable(error.to_string()))?,
        };
        if self.is_inventory(&bucket).await? {
            return Ok(bucket);
        }
        for _ in 0..COMMIT_TRIES {
            self.core.refresh_inventory(false).await?;
            if self.core.take_home(&bucket).await? {
                return Ok(bucket);
            }
        }
        Err(Fault::Unavailable("silos and roots are changed too often".to_owned()).into())
    }
}

impl Core {
    async fn census_home(&self) -> Result<Option<u64>, Fault> {
        decode_row(self.engine.get(&[row()]).await?[0].as_ref())
    }

    /// Makes a bucket the inventory's: ours from before a crash, or one that the first account made before the name was reserved. False
    /// where roots were changed meanwhile.
    async fn take_home(&self, bucket: &Bucket) -> Result<bool, CensusError> {
        let (inventory, incarnation) = (self.inventory(), bucket.incarnation);
        // What is taken over into it has names that nobody saw yet.
        if inventory.roots.iter().any(|root| root.bucket == incarnation) {
            return Err(CensusError::Foreign);
        }
        let (bucket_row, settled) = (bucket_key(&bucket.name), inventory.revision);
        let start = prefix(incarnation, "");
        let objects = start.clone()..after_prefix(&start);
        let rows = [&bucket_row, &row(), &revision()].map(|key| Read::Row(key.clone()));
        let reads = rows.into_iter().chain([Read::Empty(objects)]).collect();
        let decide = move |rows: &Rows| {
            if usage::read(rows.get(&revision())) != settled {
                return Ok((Vec::new(), false));
            }
            let bucket: Option<BucketRow> = decode_row(rows.get(&bucket_row)).map_err(CensusError::Fault)?;
            let bucket = bucket.filter(|bucket| bucket.incarnation == incarnation && bucket.owner == FIRST);
            let bucket = bucket.filter(|_| rows.empty[0]).ok_or(CensusError::Foreign)?;
            // The bucket's row guards its objects: whoever puts one meanwhile is before or after.
            let writes = vec![Write::Put(bucket_row.clone(), encode(&bucket)), Write::Put(row(), encode(&incarnation))];
            Ok((writes, true))
        };
        engine::commit(&*self.engine, reads, decide).await.map_err(|error| match error {
            NotCommitted::Refused(refused) => refused,
            NotCommitted::Engine(error) => Fault::from(error).into(),
        })
    }
}

fn not_created(error: CreateBucketError) -> CensusError {
    match error {
        CreateBucketError::Fault(fault) => fault.into(),
        CreateBucketError::Taken => CensusError::Foreign,
        other => Fault::Unavailable(format!("bucket `{BUCKET}`: {other}")).into(),
    }
}
