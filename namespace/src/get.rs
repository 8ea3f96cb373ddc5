//! GetObject and HeadObject: one version's bytes, whole or an error, every block checked before it leaves.

use std::ops::Range;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;

use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::{Object, Part};

/// Checked bytes on their way out. An error ends the stream: the client sees a broken connection, never a short 200.
pub type Bytestream = Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>;

/// Why an object was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// There is none.
    #[error("no such key")]
    NoSuchKey,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A version opened for reading: registered, so that nothing it names is swept while this lives.
pub struct Opened {
    /// What S3 shows of it.
    pub object: Object,
}

impl Opened {
    /// Its bytes in `range` (within the object's size). Fails before the first byte where that is possible.
    pub async fn read(&self, _range: Range<u64>) -> Result<Bytestream, Fault> {
        unimplemented!()
    }

    /// Byte range of part `number` (counting named parts as uploaded): for `?partNumber=`. An object that was not
    /// uploaded in parts has part 1. `None` when there is no such part.
    pub async fn part_range(&self, _number: u32) -> Result<Option<Range<u64>>, Fault> {
        unimplemented!()
    }

    /// Parts after number `after`, at most `limit`; empty for an object that was not uploaded in parts.
    pub async fn parts(&self, _after: u32, _limit: usize) -> Result<Vec<Part>, Fault> {
        unimplemented!()
    }
}

impl Namespace {
    /// Opens the current version.
    pub async fn open_object(&self, _bucket: &Bucket, _key: &ObjectKey) -> Result<Opened, GetError> {
        unimplemented!()
    }

    /// Reads the current version's row and nothing else.
    pub async fn head(&self, _bucket: &Bucket, _key: &ObjectKey) -> Result<Object, GetError> {
        unimplemented!()
    }
}
