//! `holdall check`: does the index agree with the silos, and with itself?

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::namespace::Namespace;

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A row names a blob that its silo does not have.
    Missing {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// An object that needs it, if one does.
        object: Option<String>,
    },
    /// A blob is shorter or longer than its row says.
    WrongSize {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// As the row says.
        expected: u64,
        /// As the silo says.
        actual: u64,
    },
    /// No row names these bytes of ours and no live session still can.
    Orphan {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// Stored bytes.
        bytes: u64,
    },
    /// `--deep`: the bytes do not match the digest.
    Damaged {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// What differs.
        reason: String,
    },
    /// `--deep`: the blob says it is something else (a swapped pair).
    WrongBlob {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// What it says.
        says: String,
    },
    /// A version or part names an extent that has no row or no replica.
    NoBytes {
        /// The object.
        object: String,
        /// The extent.
        extent: String,
    },
    /// A reference, journal or retired row that fits nothing.
    Dangling {
        /// What it is.
        row: String,
    },
    /// A counter is not what counting gives.
    WrongCount {
        /// `bucket photos`, `silo hot`.
        what: String,
        /// As counted.
        counted: String,
        /// As stored.
        stored: String,
    },
    /// The blob is in a silo under a name that is none of ours.
    Foreign {
        /// Silo.
        silo: String,
        /// Its name.
        name: String,
    },
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Versions.
    pub objects: u64,
    /// Extents.
    pub extents: u64,
    /// Blobs in silos.
    pub blobs: u64,
    /// Bytes read (`--deep`).
    pub bytes: u64,
    /// How many findings there were.
    pub findings: u64,
    /// False when writes went on meanwhile, so that counters could not be compared.
    pub counts_compared: bool,
}

impl Namespace {
    /// Compares, read-only, in constant memory; calls `found` for each finding as it is made. What changed meanwhile
    /// is looked at again before it is called a finding.
    pub async fn check(&self, _deep: bool, _found: &mut (dyn FnMut(Finding) + Send)) -> Result<Checked, Fault> {
        unimplemented!()
    }
}
