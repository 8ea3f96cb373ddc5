//! Buckets.

use crate::account::AccountId;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::name::BucketName;
use crate::namespace::Namespace;
use crate::object::Pairs;

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
    pub async fn create_bucket(&self, _name: &BucketName, _owner: AccountId) -> Result<Bucket, CreateBucketError> {
        unimplemented!()
    }

    /// Looks a bucket up.
    pub async fn bucket(&self, _name: &BucketName) -> Result<Bucket, BucketError> {
        unimplemented!()
    }

    /// Deletes an empty bucket. <https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteBucket.html>
    pub async fn delete_bucket(&self, _bucket: &Bucket) -> Result<(), BucketError> {
        unimplemented!()
    }

    /// An account's buckets whose names start with `prefix` and come after `after`, at most `limit`.
    pub async fn buckets(
        &self,
        _owner: AccountId,
        _prefix: &str,
        _after: Option<&str>,
        _limit: usize,
    ) -> Result<BucketPage, Fault> {
        unimplemented!()
    }

    /// Replaces a bucket's tags; an empty list removes them.
    pub async fn set_bucket_tags(&self, _bucket: &Bucket, _tags: Pairs) -> Result<(), BucketError> {
        unimplemented!()
    }
}
