//! Listing: one range scan or fold of the index; no silo is asked. What is being taken over is waited for.

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{Fold, Folded, Key};
use crate::fault::Fault;
use crate::namespace::Namespace;
use crate::object::{ChecksumAlgorithm, ChecksumKind, ETag};
use crate::table::objects::{self, ObjectRow};
use crate::table::{after_prefix, decode, escape, successor, unescape};

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
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html>
    pub async fn list(&self, bucket: &Bucket, list: List) -> Result<ListPage, Fault> {
        if list.limit == 0 {
            return Ok(ListPage::default());
        }
        self.core.all_seen(bucket, &list.prefix).await?;
        let whole = objects::prefix(bucket.incarnation, &list.prefix);
        let start = start_of(bucket.incarnation, &list).max(whole.clone());
        let end = after_prefix(&whole);
        if start >= end {
            return Ok(ListPage::default());
        }
        let delimiter = escape(list.delimiter.as_bytes());
        let fold = Fold { range: start..end, skip: whole.len(), delimiter, limit: list.limit + 1 };
        let folded = self.engine.fold(fold).await?;
        let more = folded.len() > list.limit;
        let lines = folded.iter().take(list.limit).map(read_line).collect::<Result<Vec<_>, Fault>>()?;
        let next = lines.last().filter(|_| more).map(|line| line.text().to_owned());
        Ok(ListPage { lines, next })
    }
}

impl Line {
    /// The key or common prefix.
    pub fn text(&self) -> &str {
        match self {
            Self::Object(summary) => &summary.key,
            Self::Prefix(prefix) => prefix,
        }
    }
}

/// The first key after `list.after`; all of a common prefix that it names is passed.
fn start_of(bucket: crate::bucket::Incarnation, list: &List) -> Key {
    if list.after.is_empty() {
        return Key::new();
    }
    if !list.delimiter.is_empty()
        && let Some(rest) = list.after.strip_prefix(&list.prefix)
        && rest.find(&list.delimiter).is_some_and(|at| at + list.delimiter.len() == rest.len())
    {
        return after_prefix(&objects::prefix(bucket, &list.after));
    }
    let mut key = objects::prefix(bucket, &list.after);
    key.extend([0, 0]);
    successor(&key)
}

fn read_line(folded: &Folded) -> Result<Line, Fault> {
    match folded {
        Folded::Prefix(prefix) => {
            let mut ended = prefix.get(objects::NAME_AT..).unwrap_or_default().to_vec();
            ended.extend([0, 0]);
            Ok(Line::Prefix(read_name(&ended)?))
        }
        Folded::Row(key, value) => {
            let row: ObjectRow = decode(value)?;
            Ok(Line::Object(Summary {
                key: read_name(key.get(objects::NAME_AT..).unwrap_or_default())?,
                size: row.size,
                etag: row.etag.text(),
                modified: row.modified,
                checksum: row.checksum,
                storage_class: row.storage_class,
            }))
        }
    }
}

/// The object key that stands escaped and ended in a key of the table.
pub(crate) fn read_name(escaped: &[u8]) -> Result<String, Fault> {
    let name = unescape(escaped).and_then(|(name, _)| String::from_utf8(name).ok());
    name.ok_or_else(|| Fault::Damaged("a key of the objects table does not read".to_owned()))
}
