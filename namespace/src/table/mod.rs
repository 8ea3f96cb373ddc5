//! Rows: how each is named and what it holds. One file a noun; `docs/format.md` draws the bytes.
//!
//! A key is the table's byte, then big-endian numbers and escaped names, so that byte order is the order we list in.
//! A value is a format version byte, then postcard.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Key;
use crate::fault::Fault;

pub mod accounts;
pub mod backups;
pub mod buckets;
pub mod damaged;
pub mod extents;
pub mod heat;
pub mod jobs;
pub mod labels;
pub mod moves;
pub mod names;
pub mod objectives;
pub mod objects;
pub mod packs;
pub mod projections;
pub mod refs;
pub mod retired;
pub mod roots;
pub mod sessions;
pub mod silos;
pub mod tag;
pub mod uploads;
pub mod usage;

/// Table bytes. Never reused for something else.
pub mod key {
    /// Format, namespace id, counters of ids.
    pub const META: u8 = 0x00;
    /// Buckets by name.
    pub const BUCKETS: u8 = 0x01;
    /// Live current versions.
    pub const OBJECTS: u8 = 0x02;
    /// Metadata and tags too long to stand in the object's row.
    pub const ATTRIBUTES: u8 = 0x03;
    /// All other versions and delete markers.
    pub const VERSIONS: u8 = 0x04;
    /// Extents.
    pub const EXTENTS: u8 = 0x05;
    /// Block checksums too many to stand in the extent's row.
    pub const BLOCKS: u8 = 0x06;
    /// References beyond the first.
    pub const REFS: u8 = 0x07;
    /// Uploads, by bucket and key.
    pub const UPLOADS: u8 = 0x08;
    /// Counters.
    pub const USAGE: u8 = 0x09;
    /// Heads of manifests.
    pub const MANIFESTS: u8 = 0x0a;
    /// Accounts.
    pub const ACCOUNTS: u8 = 0x0b;
    /// Access keys.
    pub const ACCESS_KEYS: u8 = 0x0c;
    /// Account numbers by name.
    pub const ACCOUNT_NAMES: u8 = 0x0d;
    /// Parts, by upload.
    pub const PARTS: u8 = 0x0e;
    /// The journal of moves under way.
    pub const MOVES: u8 = 0x0f;
    /// What waits for the sweep, by time.
    pub const RETIRED: u8 = 0x10;
    /// Sessions: alive.
    pub const ALIVE: u8 = 0x11;
    /// Sessions: beat.
    pub const BEATS: u8 = 0x12;
    /// Sessions that ended, until their orphans were collected.
    pub const ENDED: u8 = 0x13;
    /// Silos.
    pub const SILOS: u8 = 0x14;
    /// Jobs.
    pub const JOBS: u8 = 0x15;
    /// Declared settings.
    pub const SETTINGS: u8 = 0x16;
    /// Buckets by owner.
    pub const OWNED: u8 = 0x17;
    /// Buckets that were deleted with uploads in progress.
    pub const LEFT: u8 = 0x18;
    /// Background work, in hashed shards.
    pub const QUEUES: u8 = 0x19;
    /// Names taken over in place.
    pub const ASSIMILATED: u8 = 0x1a;
    /// How often and how lately objects are read.
    pub const HEAT: u8 = 0x1b;
    /// Packs: how many of their bytes rows name, and how long they are.
    pub const PACKS: u8 = 0x1c;
    /// What is taken over in place.
    pub const ROOTS: u8 = 0x1d;
    /// What is being brought into trees of others, or taken out, by name.
    pub const INTENTS: u8 = 0x1e;
    /// What came out of trees of others.
    pub const TAKEN_OUT: u8 = 0x1f;
    /// What people say of objects.
    pub const LABELS: u8 = 0x22;
    /// What was found damaged or missing in silos.
    pub const DAMAGED: u8 = 0x20;
}

/// The format of single rows that this version writes.
pub const FORMAT: u8 = 1;

/// The format of an index and its silos that this version writes; it reads this one and all before it. 2: packs. 3:
/// backups of the index in its silos, which an earlier version would sweep. 4: what lies where others put it. 5: trees of others
/// that are written to, whose changes an earlier version would take for theirs.
pub const INDEX_FORMAT: u32 = 5;

/// Encodes a row.
pub fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    let start = vec![FORMAT];
    postcard::to_extend(row, start).expect("rows hold nothing that postcard cannot write")
}

/// Decodes a row; a later format or broken bytes are a fault, never a guess.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Fault> {
    match bytes.split_first() {
        Some((&FORMAT, row)) => {
            postcard::from_bytes(row).map_err(|error| Fault::Damaged(format!("a row does not read: {error}")))
        }
        Some((format, _)) => Err(Fault::Damaged(format!("a row has format {format}, this version reads {FORMAT}"))),
        None => Err(Fault::Damaged("a row is empty".to_owned())),
    }
}

/// The format of rows that are JSON, so that more may be said in them later.
const JSON: u8 = FORMAT + 1;

/// Encodes a row that is JSON.
pub fn encode_json<T: Serialize>(row: &T) -> Vec<u8> {
    let mut bytes = vec![JSON];
    serde_json::to_writer(&mut bytes, row).expect("such rows are plain data");
    bytes
}

/// The JSON of such a row; none of a row of another format.
pub fn json_of(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[JSON])
}

/// Decodes a row that may be absent.
pub fn decode_row<T: DeserializeOwned>(row: Option<&Bytes>) -> Result<Option<T>, Fault> {
    row.map(|bytes| decode(bytes)).transpose()
}

/// The key of another table for what a row is about.
fn beside(row: &[u8], table: u8) -> Key {
    let mut beside = row.to_vec();
    if let Some(first) = beside.first_mut() {
        *first = table;
    }
    beside
}

/// Builds a key.
#[derive(Debug, Clone)]
pub struct KeyBuilder(Key);

impl KeyBuilder {
    /// Of this table.
    pub fn new(table: u8) -> Self {
        let mut key = Vec::with_capacity(48);
        key.push(table);
        Self(key)
    }

    /// A number in order.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// A small number in order.
    #[must_use]
    pub fn short(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Raw bytes: only as the last part, or of fixed length.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// A name, escaped and not ended: a prefix of names.
    #[must_use]
    pub fn prefix(mut self, name: &[u8]) -> Self {
        escape_into(name, &mut self.0);
        self
    }

    /// A name, escaped and ended.
    #[must_use]
    pub fn name(self, name: &[u8]) -> Self {
        self.prefix(name).raw(&[0, 0])
    }

    /// The key.
    pub fn build(self) -> Key {
        self.0
    }
}

/// 0x00 becomes 0x00FF, so that the end (0x0000) sorts before every longer name.
fn escape_into(name: &[u8], out: &mut Vec<u8>) {
    for &byte in name {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
}

/// The bytes of a name as they stand in keys, without an end.
pub fn escape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    escape_into(name, &mut out);
    out
}

/// Reads a name back: the name and what follows its end. `None` when there is no end or a wrong escape.
pub fn unescape(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::with_capacity(bytes.len());
    let mut at = 0;
    loop {
        match (*bytes.get(at)?, bytes.get(at + 1)) {
            (0, Some(0)) => return Some((name, &bytes[at + 2..])),
            (0, Some(0xff)) => {
                name.push(0);
                at += 2;
            }
            (0, _) => return None,
            (byte, _) => {
                name.push(byte);
                at += 1;
            }
        }
    }
}

/// The first key after all keys that start with `prefix`.
pub fn after_prefix(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < 0xff {
            *last += 1;
            return end;
        }
        end.pop();
    }
    vec![0xff; 64]
}

/// The next key after `key`.
pub fn successor(key: &[u8]) -> Key {
    let mut next = key.to_vec();
    next.push(0);
    next
}

/// A big-endian number out of a key.
pub fn read_number(key: &[u8], at: usize) -> Option<u64> {
    key.get(at..at + 8).map(|bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_read_back(name: Vec<u8>, rest: Vec<u8>) {
            let mut key = escape(&name);
            key.extend([0, 0]);
            key.extend(&rest);
            prop_assert_eq!(unescape(&key), Some((name, &rest[..])));
        }

        #[test]
        fn table_order_is_list_order(a: Vec<u8>, b: Vec<u8>) {
            let key = |name: &[u8]| KeyBuilder::new(key::OBJECTS).number(7).name(name).build();
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }

        #[test]
        fn after_prefix_is_after_all_of_it_and_before_the_rest(prefix in proptest::collection::vec(0u8..255, 1..6), tail: Vec<u8>) {
            let inside: Vec<u8> = prefix.iter().copied().chain(tail).collect();
            prop_assert!(inside < after_prefix(&prefix));
            prop_assert!(after_prefix(&prefix) > prefix);
        }
    }

    #[test]
    fn a_later_format_is_refused() {
        assert_eq!(decode::<u32>(&encode(&7u32)), Ok(7));
        assert!(matches!(decode::<u32>(&[FORMAT + 1, 7]), Err(Fault::Damaged(_))));
        assert!(matches!(decode::<u32>(&[]), Err(Fault::Damaged(_))));
    }
}
