//! What a search found, what was labelled, and what is in the inventory.

use std::collections::BTreeMap;

use holdall_namespace::census::Taken;
use holdall_namespace::clock::UnixMs;
use holdall_namespace::find::Found;
use holdall_namespace::heat::DAY;
use holdall_namespace::label::Labelled;
use holdall_namespace::object::Pairs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::time;

/// One line of a search's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindLine {
    /// An object that was found.
    Object(Box<FoundView>),
    /// The last line: what was found in all.
    Found(FoundSum),
    /// The last line of a search that broke off.
    Error(String),
}

/// An object that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundView {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// ETag.
    pub etag: String,
    /// Last-Modified.
    pub modified: Timestamp,
    /// `STANDARD` where none was named.
    pub storage_class: String,
    /// Where one was sent.
    pub content_type: Option<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// User metadata.
    pub metadata: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Silos that have a verified copy of all of its bytes.
    pub silos: Vec<String>,
    /// Verified copies of those of its bytes that have the fewest.
    pub copies: u32,
    /// When it was last read, to the minute; none where nobody did.
    pub last_read: Option<Timestamp>,
    /// Reads in the last 30 days.
    pub reads_30_days: u64,
}

/// What was found in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundSum {
    /// Objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were looked at.
    pub looked_at: u64,
    /// There may be more: as many were found as were asked for.
    pub limited: bool,
    /// Objects that the condition could not be asked about, or that could not be looked at: they count as no.
    pub unclear: u64,
    /// The first of them, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub example: Option<String>,
}

/// One line of the answer when many objects are labelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelLine {
    /// How far it is.
    Labelling(Labelled),
    /// The last line: what was labelled in all.
    Labelled(Labelled),
    /// The last line where it broke off.
    Error(String),
}

/// One line of the answer when the inventory is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CensusLine {
    /// How far it is.
    Taking(Taken),
    /// The last line: what was written in all.
    Taken(Taken),
    /// The last line where it broke off.
    Error(String),
}

impl FoundView {
    /// As it was found; reads are counted up to now.
    pub fn of(found: Found, now: UnixMs) -> Self {
        let map = |pairs: Pairs| pairs.into_iter().collect();
        Self {
            bucket: found.bucket,
            key: found.key,
            size: found.size,
            etag: found.etag,
            modified: time(found.modified),
            storage_class: found.storage_class,
            content_type: found.content_type,
            tags: map(found.tags),
            metadata: map(found.metadata),
            labels: map(found.labels),
            silos: found.silos,
            copies: found.copies,
            last_read: found.heat.map(|heat| time(heat.last_read())),
            reads_30_days: found.heat.map_or(0, |heat| heat.reads(30 * DAY, now)),
        }
    }
}
