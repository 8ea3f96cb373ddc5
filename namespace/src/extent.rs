//! Extents: immutable runs of bytes, and where their replicas are.

use holdall_silos::BlobName;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

/// A number that a session took: names extents, versions, uploads and referrers. Ascending within a session, never
/// reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Number {
    /// The session.
    pub session: u64,
    /// Its number.
    pub number: u64,
}

/// The number of an extent's first write.
pub type ExtentId = Number;

impl Replica {
    /// Whether its bytes are where others put them, in this silo.
    pub fn lies_in(&self, silo: SiloId) -> bool {
        self.silo == silo && matches!(self.location, Location::InPlace { .. })
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}", self.session, self.number)
    }
}

/// A silo's number in the index; its name can change, this never does.
pub type SiloId = u32;

/// A job's number.
pub type JobId = u64;

/// A piece of an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Of this extent
    pub extent: ExtentId,
    /// from here, bytes,
    pub offset: u64,
    /// this many bytes.
    pub length: u64,
}

/// Where a replica is inside its silo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Location {
    /// A blob of its own.
    Blob(BlobName),
    /// A record of a pack; the extent's bytes are its last ones.
    Pack {
        /// The pack.
        pack: BlobName,
        /// The record's first byte.
        offset: u64,
        /// Bytes of the whole record.
        length: u64,
    },
    /// Somebody else's name, raw, with what was seen there.
    InPlace {
        /// The name in the silo's own bytes.
        name: Vec<u8>,
        /// What was seen.
        validator: String,
        /// Bytes of all that was seen.
        whole: u64,
        /// Where the extent's first byte is in it.
        offset: u64,
    },
}

impl Location {
    /// The name of ours under which the silo has it, and where the bytes of an extent of `size` bytes begin there. None
    /// in place.
    pub(crate) fn ours(&self, size: u64) -> Option<(BlobName, u64)> {
        match self {
            Self::Blob(blob) => Some((*blob, 0)),
            Self::Pack { pack, offset, length } => Some((*pack, (offset + length).saturating_sub(size))),
            Self::InPlace { .. } => None,
        }
    }
}

impl Location {
    /// Bytes of a record of a pack; 0 of what shares nothing.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Pack { length, .. } => *length,
            Self::Blob(_) | Self::InPlace { .. } => 0,
        }
    }
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Blob(blob) => blob.fmt(f),
            Self::Pack { pack, offset, length } => write!(f, "{pack}@{offset}+{length}"),
            Self::InPlace { name, .. } => String::from_utf8_lossy(name).fmt(f),
        }
    }
}

/// What a replica counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicaState {
    /// Counts; reads prefer it.
    Verified,
    /// Counts no more, for ever; goes once nobody reads it.
    Retired,
}

/// One copy of an extent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// In which silo.
    pub silo: SiloId,
    /// Where in it.
    pub location: Location,
    /// See [`ReplicaState`].
    pub state: ReplicaState,
    /// Since when.
    pub since: UnixMs,
    /// The job that moved it here; none for the first write.
    pub job: Option<JobId>,
}
