//! Listing: one range scan or fold of the index; no silo is asked.

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::namespace::Namespace;
use crate::object::{ChecksumAlgorithm, ChecksumKind, ETag};

/// What to list. Empty strings mean absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Keys start with this.
    pub prefix: String,
    /// Keys are folded at its first occurrence after the prefix.
    pub delimiter: String,
    /// Keys and common prefixes strictly after this (a marker that is a common prefix skips all of it).
    pub after: String,
    /// At most this many lines; 0 gives an empty, complete page.
    pub limit: usize,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An object.
    Object(Summary),
    /// A common prefix, delimiter included.
    Prefix(String),
}

/// The list columns of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// See [`ETag`].
    pub etag: ETag,
    /// Last-Modified.
    pub modified: UnixMs,
    /// Algorithm and kind of its checksum.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
    /// When not STANDARD.
    pub storage_class: Option<String>,
}

/// A page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In key order (UTF-8 bytes).
    pub lines: Vec<Line>,
    /// More lines follow: the `after` of the next page.
    pub next: Option<String>,
}

impl Namespace {
    /// Lists current versions.
    pub async fn list(&self, _bucket: &Bucket, _list: List) -> Result<ListPage, Fault> {
        unimplemented!()
    }
}
