//! The seam: one trait, and the words it uses.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::error::{BodyError, SiloError};
use crate::facts::Facts;
use crate::limits::BUFFERED_ON_THE_WAY;
use crate::marker::{Claim, Marker};
use crate::name::BlobName;

/// The bytes of an upload, in pieces of any size.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Pieces of a read; every piece but the first and the last ends on a multiple of [`crate::limits::BLOCK`].
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, SiloError>> + Send>>;

/// Makes the description of a blob: what the bytes say of themselves, opaque here.
///
/// Asked once: after the last body byte where a kind can append it (files), before the first byte elsewhere (object
/// metadata), where it must not depend on the body.
pub type Describe = Arc<dyn Fn(When) -> Vec<u8> + Send + Sync>;

/// When a description is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Nothing was read of the body yet.
    BeforeBody,
    /// The whole body was read.
    AfterBody,
}

/// What was seen of a stored blob, opaque: two equal validators are the same bytes within the silo's facts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Validator(pub String);

/// The answer to a `put`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Payload bytes stored, the description left out.
    pub size: u64,
    /// What the silo calls this version of the blob.
    pub validator: Validator,
    /// The silo enforced a checksum of the upload end to end, so that reading back adds nothing.
    pub checksum_enforced: bool,
}

/// What `stat` and `list` see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Payload bytes, the description left out. Listings may not know it and say what the silo stores.
    pub size: u64,
    /// See [`Validator`].
    pub validator: Validator,
}

/// One name of a listing, raw: it may be no name of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name below the silo's blob root, in the silo's order.
    pub name: String,
    /// Bytes the silo stores under it, description included.
    pub stored: u64,
}

/// How full a silo is; bytes. Buckets do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Size of the whole store.
    pub total: u64,
    /// What we could still write.
    pub free: u64,
}

/// A store that holds blobs.
///
/// Every blob is written once, whole, under a name that is never used twice. Nothing is updated in place.
///
/// A *pack* ([`BlobName::is_pack`]) holds what the layer above puts side by side. It may grow while it is read, so that the
/// index knows only how long it is at least; the bytes it has never change.
/// No method retries a write or a delete by itself: a second try would answer the first.
#[async_trait]
pub trait Silo: Send + Sync + 'static {
    /// Stores exactly `size` bytes of `body` as `name`, durably, and answers when they are.
    ///
    /// A body that ends early or late is `Body`; the blob then is an orphan or absent, never readable as whole. What is
    /// said of a pack may be left out, and `describe` not be asked.
    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError>;

    /// So many bytes of a body that is put may be taken by what is on the way, though the silo itself took none of them.
    fn buffered(&self) -> u64 {
        BUFFERED_ON_THE_WAY
    }

    /// Whether packs grow here by [`Silo::append`]; elsewhere a pack is `put` whole.
    fn appends(&self) -> bool {
        false
    }

    /// Appends to a pack that is `at` bytes long, durably, and answers when it is; `at` 0 begins the pack, so that one begun
    /// with no bytes stays empty.
    ///
    /// A pack has one writer, who makes one call at a time and none after a call that failed or was not waited for: the
    /// pack may then be longer than was answered, but what was answered stays. `Exists` when the name to begin is taken,
    /// `Missing` when there is no such pack to go on with, `Mismatch` when it is not exactly `at` bytes long.
    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        let _ = (pack, at, bytes);
        Err(packs_do_not_grow())
    }

    /// Reads `range` of a blob's payload (`size` is the whole payload's length, as the index knows it).
    ///
    /// `Mismatch` when the blob is not `size` bytes long; a pack may be longer. A stream that ends without an error
    /// delivered exactly the range.
    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError>;

    /// Like `read`, but past every cache that this silo can be made to pass: for verifying a copy.
    async fn read_back(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.read(name, size, range).await
    }

    /// Size and validator of a blob; a pack's are those of now.
    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError>;

    /// What the blob says of itself; empty where it says nothing, as a pack that was appended to does.
    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError>;

    /// Deletes a blob; a blob that is not there is deleted.
    async fn delete(&self, name: &BlobName) -> Result<(), SiloError>;

    /// Names starting with `prefix` and after `after`, ascending by bytes, at most `limit` of them; an empty page ends it.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError>;

    /// Reads the marker and, where it is absent and `claim` allows, writes it durably. Refuses a silo that is somebody
    /// else's, and a new one that holds anything.
    async fn claim(&self, claim: &Claim) -> Result<(), SiloError>;

    /// What the silo says it is, claimed or not; `None` where it has no marker. A fresh claim accepts a marker of another id that an
    /// earlier try left behind: the id found here is the one to remember.
    async fn marker(&self) -> Result<Option<Marker>, SiloError>;

    /// Finds out what this silo promises, leaving nothing behind, and goes by it from then on.
    async fn probe(&self) -> Result<Facts, SiloError>;

    /// Goes by what an earlier probe found, through whichever client. Asks nothing.
    fn recall(&self, facts: &Facts) {
        let _ = facts;
    }

    /// Room, where the kind can tell.
    async fn space(&self) -> Result<Option<Space>, SiloError>;
}

/// The answer to an append where packs are put whole.
pub(crate) fn packs_do_not_grow() -> SiloError {
    SiloError::not_done("packs do not grow here")
}

/// Gathers a short read into one buffer.
pub async fn collect(pieces: Pieces) -> Result<Bytes, SiloError> {
    let mut parts: Vec<Bytes> = pieces.try_collect().await?;
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in &parts {
        whole.extend_from_slice(part);
    }
    Ok(whole.freeze())
}
