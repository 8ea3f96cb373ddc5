//! Uploads, their parts, and the manifests that parts become.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, after_prefix, key, read_number};
use crate::account::AccountId;
use crate::bucket::Incarnation;
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{Number, Slice};
use crate::name::ObjectKey;
use crate::object::{ChecksumAlgorithm, ChecksumKind};
use crate::table::objects::Attributes;

/// Where an upload stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UploadState {
    /// Takes parts. The seal is the token of the Complete that reads the parts now; a new part clears it.
    Open {
        /// Token, drawn fresh by each Complete.
        seal: Option<Number>,
    },
    /// Became an object.
    Completed {
        /// The Complete that did it.
        token: Number,
        /// Digest of the list it named.
        list: [u8; 32],
        /// What it answered: the object's row without attributes.
        answer: Box<super::objects::ObjectRow>,
        /// Parts that were not named are gone.
        trimmed: bool,
        /// When.
        at: UnixMs,
    },
    /// Given up; its parts go.
    Aborted,
}

/// An upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadRow {
    /// See [`UploadState`].
    pub state: UploadState,
    /// When it began.
    pub initiated: UnixMs,
    /// Whose bucket it is in.
    pub owner: AccountId,
    /// What the object will have.
    pub attributes: Attributes,
    /// When not STANDARD.
    pub storage_class: Option<String>,
    /// The checksum asked for.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRow {
    /// Its name as a referrer.
    pub version: Number,
    /// Bytes.
    pub size: u64,
    /// MD5.
    pub md5: [u8; 16],
    /// Checksum value.
    pub checksum: Option<Vec<u8>>,
    /// When it was uploaded.
    pub modified: UnixMs,
    /// Where its bytes are.
    pub slices: Vec<Slice>,
}

/// The head of a manifest. It guards the manifest's references as an extent's row guards its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// Number and size of each part, in order.
    pub parts: Vec<(u32, u64)>,
    /// One referrer; none: retired, for ever.
    pub first: Option<Number>,
    /// The parts' checksum algorithm.
    pub checksum: Option<ChecksumAlgorithm>,
}

/// An upload's row.
pub fn upload(bucket: Incarnation, name: &ObjectKey, id: Number) -> Key {
    KeyBuilder::new(key::UPLOADS)
        .number(bucket)
        .name(name.as_str().as_bytes())
        .number(id.session)
        .number(id.number)
        .build()
}

/// All uploads of a bucket.
pub fn uploads(bucket: Incarnation) -> Range<Key> {
    let start = KeyBuilder::new(key::UPLOADS).number(bucket).build();
    let end = after_prefix(&start);
    start..end
}

/// Bucket, key and id, from a key of the table.
pub fn read_upload(key: &[u8]) -> Option<(Incarnation, ObjectKey, Number)> {
    let bucket = read_number(key, 1)?;
    let (name, id) = super::unescape(key.get(9..)?)?;
    let name = String::from_utf8(name).ok()?.parse().ok()?;
    Some((bucket, name, Number { session: read_number(id, 0)?, number: read_number(id, 8)? }))
}

/// A part's row; the upload's id becomes the manifest's.
pub fn part(upload: Number, number: u32) -> Key {
    KeyBuilder::new(key::PARTS).number(upload.session).number(upload.number).short(number).build()
}

/// Parts of an upload from number `from` on.
pub fn parts(upload: Number, from: u32) -> Range<Key> {
    let all = KeyBuilder::new(key::PARTS).number(upload.session).number(upload.number).build();
    part(upload, from)..after_prefix(&all)
}

/// The part's number, from a key of the table.
pub fn read_part(key: &[u8]) -> Option<u32> {
    key.get(17..21).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

/// A manifest's head.
pub fn manifest(id: Number) -> Key {
    KeyBuilder::new(key::MANIFESTS).number(id.session).number(id.number).build()
}
