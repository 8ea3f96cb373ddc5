//! Live current versions, in S3's list order.

use serde::{Deserialize, Serialize};

use super::tag::Tag;
use super::{KeyBuilder, encode, key};
use crate::bucket::Incarnation;
use crate::clock::UnixMs;
use crate::engine::{Key, Write};
use crate::extent::{Number, Slice};
use crate::name::ObjectKey;
use crate::object::{Checksum, ChecksumAlgorithm, ChecksumKind, Headers, Object, Pairs};

/// Where a version's bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Data {
    /// These slices, in order; none for an empty object.
    Slices(Vec<Slice>),
    /// The parts of this manifest.
    Manifest(Number),
}

/// What is not needed to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Headers to send back.
    pub headers: Headers,
    /// Tags.
    pub tags: Pairs,
    /// The checksum's value.
    pub checksum: Option<Vec<u8>>,
}

/// A current version. List columns first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRow {
    /// Logical bytes.
    pub size: u64,
    /// Last-Modified; never goes back within a key.
    pub modified: UnixMs,
    /// ETag.
    pub etag: Tag,
    /// Algorithm and kind of the checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// When not STANDARD.
    pub storage_class: Option<String>,
    /// The fresh number of this version: its version id, and its name as a referrer.
    pub version: Number,
    /// Where the bytes are.
    pub data: Data,
    /// Attributes up to [`INLINE`] bytes; larger ones have a row of their own.
    pub attributes: Option<Attributes>,
}

/// Attributes up to this many bytes stand in the object's row.
pub const INLINE: usize = 1024;

/// A version's own row.
pub fn object(bucket: Incarnation, name: &ObjectKey) -> Key {
    KeyBuilder::new(key::OBJECTS).number(bucket).name(name.as_str().as_bytes()).build()
}

/// Large attributes of a version.
pub fn attributes(version: Number) -> Key {
    KeyBuilder::new(key::ATTRIBUTES).number(version.session).number(version.number).build()
}

/// All objects of a bucket whose names start with `prefix`.
pub fn prefix(bucket: Incarnation, prefix: &str) -> Key {
    KeyBuilder::new(key::OBJECTS).number(bucket).prefix(prefix.as_bytes()).build()
}

/// How many key bytes stand before the escaped name.
pub const NAME_AT: usize = 9;

/// The writes that store a row and, where they are long, its attributes.
pub fn store(key: Key, mut row: ObjectRow, attributes_of_row: Attributes) -> Vec<Write> {
    let long = encode(&attributes_of_row);
    let mut writes = Vec::with_capacity(2);
    if long.len() > INLINE {
        row.attributes = None;
        writes.push(Write::Put(attributes(row.version), long));
    } else {
        row.attributes = Some(attributes_of_row);
    }
    writes.push(Write::Put(key, encode(&row)));
    writes
}

/// What S3 shows.
pub fn show(row: &ObjectRow, attributes: Attributes) -> Object {
    let checksum = match (row.checksum, attributes.checksum) {
        (Some((algorithm, kind)), Some(value)) => Some(Checksum { algorithm, kind, value }),
        _ => None,
    };
    Object {
        size: row.size,
        etag: row.etag.text(),
        modified: row.modified,
        headers: attributes.headers,
        tags: attributes.tags,
        checksum,
        parts: row.etag.parts(),
        storage_class: row.storage_class.clone(),
    }
}
