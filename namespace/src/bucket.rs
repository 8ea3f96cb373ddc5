//! Buckets.

use crate::account::{AccountId, FIRST};
use crate::clock::UnixMs;
use crate::engine::{Key, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::MAX_BUCKETS;
use crate::name::BucketName;
use crate::namespace::Namespace;
use crate::object::Pairs;
use crate::session::Uncommitted;
use crate::table::accounts;
use crate::table::buckets::{BucketRow, bucket, left, next_incarnation, owned};
use crate::table::objects::prefix;
use crate::table::usage::{self, Counted};
use crate::table::{after_prefix, decode_row, encode, successor};

/// One life of a bucket. A bucket deleted and made again is another incarnation with other rows.
pub type Incarnation = u64;

/// A bucket as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its name.
    pub name: BucketName,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// Whose it is.
    pub owner: AccountId,
    /// When it was created.
    pub created: UnixMs,
    /// Its tags; none set is empty.
    pub tags: Pairs,
}

/// Why a bucket was not created.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CreateBucketError {
    /// The caller has it already.
    #[error("the bucket is yours already")]
    OwnedByYou,
    /// Somebody else has it.
    #[error("the name is taken")]
    Taken,
    /// The account has as many buckets as it may have.
    #[error("too many buckets")]
    TooMany,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a bucket was not found or not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// There is none of that name, or it was deleted meanwhile.
    #[error("no such bucket")]
    NoSuchBucket,
    /// It holds objects or uploads in progress.
    #[error("the bucket is not empty")]
    NotEmpty,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A page of an account's buckets, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPage {
    /// In name order.
    pub buckets: Vec<Bucket>,
    /// Where to go on: after this name.
    pub next: Option<BucketName>,
}

impl Namespace {
    /// Creates a bucket of `owner`'s. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html>
    pub async fn create_bucket(&self, name: &BucketName, owner: AccountId) -> Result<Bucket, CreateBucketError> {
        self.core.room_in_index()?;
        let own = self.engine.range(owned_by(owner), MAX_BUCKETS, usize::MAX).await.map_err(Fault::from)?;
        if own.len() >= MAX_BUCKETS {
            return Err(CreateBucketError::TooMany);
        }
        let (row_key, name, now) = (bucket(name), name.clone(), self.clock.now());
        let owner_key = accounts::account(owner);
        let reads = [&row_key, &next_incarnation(), &owner_key].map(|key| Read::Row(key.clone())).to_vec();
        let decide = move |rows: &Rows| {
            // The owner's row guards its buckets against the account's deletion; the first account is never deleted.
            if owner != FIRST && rows.get(&owner_key).is_none() {
                return Err(Fault::Unavailable("the account is being deleted".to_owned()).into());
            }
            if let Some(row) = decode_row::<BucketRow>(rows.get(&row_key))? {
                let mine = row.owner == owner;
                return Err(if mine { CreateBucketError::OwnedByYou } else { CreateBucketError::Taken });
            }
            let incarnation: Incarnation = decode_row(rows.get(&next_incarnation()))?.unwrap_or(1);
            let row = BucketRow { incarnation, owner, created: now, tags: Pairs::new() };
            let writes = vec![
                Write::Put(next_incarnation(), encode(&(incarnation + 1))),
                Write::Put(row_key.clone(), encode(&row)),
                Write::Put(owned(owner, name.as_str()), Vec::new()),
            ];
            Ok((writes, show(name.clone(), row)))
        };
        self.session().commit(reads, decide).await.map_err(|error| match error {
            Uncommitted::Refused(refusal) => refusal,
            Uncommitted::Fault(fault) => fault.into(),
            Uncommitted::Unknown => lost().into(),
        })
    }

    /// Looks a bucket up.
    pub async fn bucket(&self, name: &BucketName) -> Result<Bucket, BucketError> {
        let rows = self.engine.get(&[bucket(name)]).await.map_err(Fault::from)?;
        let row: Option<BucketRow> = decode_row(rows[0].as_ref())?;
        Ok(show(name.clone(), row.ok_or(BucketError::NoSuchBucket)?))
    }

    /// Deletes an empty bucket; uploads in progress in it are given up.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>
    pub async fn delete_bucket(&self, which: &Bucket) -> Result<(), BucketError> {
        // What is taken over into it has names that nobody saw yet.
        if self.inventory().roots.iter().any(|root| root.bucket == which.incarnation) {
            return Err(BucketError::NotEmpty);
        }
        let (row_key, which) = (bucket(&which.name), which.clone());
        let start = prefix(which.incarnation, "");
        let objects = start.clone()..after_prefix(&start);
        let reads = vec![Read::Row(row_key.clone()), Read::Empty(objects)];
        let decide = move |rows: &Rows| {
            let row: Option<BucketRow> = decode_row(rows.get(&row_key))?;
            if row.is_none_or(|row| row.incarnation != which.incarnation) {
                return Err(BucketError::NoSuchBucket);
            }
            if !rows.empty[0] {
                return Err(BucketError::NotEmpty);
            }
            let [count, size] = usage::keys(Counted::Bucket(which.incarnation));
            let writes = vec![
                Write::Delete(row_key.clone()),
                Write::Delete(owned(which.owner, which.name.as_str())),
                Write::Delete(count),
                Write::Delete(size),
                Write::Put(left(which.incarnation), Vec::new()),
            ];
            Ok((writes, ()))
        };
        self.session().commit(reads, decide).await.map_err(refused)
    }

    /// An account's buckets whose names start with `prefix` and come after `after`, at most `limit`.
    pub async fn buckets(
        &self,
        owner: AccountId,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<BucketPage, Fault> {
        let whole = owned(owner, prefix);
        let start = after.map_or_else(|| whole.clone(), |after| successor(&owned(owner, after)).max(whole.clone()));
        let end = after_prefix(&whole);
        if limit == 0 || start >= end {
            return Ok(BucketPage { buckets: Vec::new(), next: None });
        }
        let page = self.engine.range(start..end, limit + 1, usize::MAX).await?;
        let names: Vec<BucketName> = page.iter().take(limit).filter_map(|(key, _)| owned_name(key)).collect();
        let rows = self.engine.get(&names.iter().map(bucket).collect::<Vec<_>>()).await?;
        let mut buckets = Vec::with_capacity(names.len());
        for (name, row) in names.iter().zip(&rows) {
            if let Some(row) = decode_row::<BucketRow>(row.as_ref())? {
                buckets.push(show(name.clone(), row));
            }
        }
        let next = if page.len() > limit { names.last().cloned() } else { None };
        Ok(BucketPage { buckets, next })
    }

    /// Replaces a bucket's tags; an empty list removes them.
    pub async fn set_bucket_tags(&self, which: &Bucket, tags: Pairs) -> Result<(), BucketError> {
        let (row_key, incarnation) = (bucket(&which.name), which.incarnation);
        let reads = vec![Read::Row(row_key.clone())];
        let decide = move |rows: &Rows| {
            let row: Option<BucketRow> = decode_row(rows.get(&row_key))?;
            let row = row.filter(|row| row.incarnation == incarnation).ok_or(BucketError::NoSuchBucket)?;
            let row = BucketRow { tags: tags.clone(), ..row };
            Ok((vec![Write::Put(row_key.clone(), encode(&row))], ()))
        };
        self.session().commit(reads, decide).await.map_err(refused)
    }
}

/// A bucket by its row.
pub(crate) fn show(name: BucketName, row: BucketRow) -> Bucket {
    Bucket { name, incarnation: row.incarnation, owner: row.owner, created: row.created, tags: row.tags }
}

fn owned_by(owner: AccountId) -> std::ops::Range<Key> {
    let start = owned(owner, "");
    let end = after_prefix(&start);
    start..end
}

fn owned_name(key: &[u8]) -> Option<BucketName> {
    std::str::from_utf8(key.get(9..)?).ok()?.parse().ok()
}

fn lost() -> Fault {
    Fault::Unavailable("the outcome of the commit is unknown".to_owned())
}

fn refused(error: Uncommitted<BucketError>) -> BucketError {
    match error {
        Uncommitted::Refused(refusal) => refusal,
        Uncommitted::Fault(fault) => fault.into(),
        Uncommitted::Unknown => lost().into(),
    }
}
