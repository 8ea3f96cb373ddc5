//! What was committed, in order: for whoever keeps a copy of the rows elsewhere.
//!
//! A row is its key's length (`u16`), its value's length (`u32`, all ones for a deleted one), the key, the value; numbers
//! little-endian. An entry is its time (`i64`, milliseconds since 1970), then rows.

use bytes::{Buf, Bytes};

use super::{EngineError, Key, Page};
use crate::clock::UnixMs;

/// The length of a value that is none.
const DELETED: u32 = u32::MAX;
/// Bytes before a row's key.
const HEAD: usize = 2 + 4;

/// A row as it is now; `None` is deleted.
pub type Changed = (Bytes, Option<Bytes>);

/// What one transaction changed: rows as it left them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Counts up by one; a gap is an entry that was forgotten.
    pub sequence: u64,
    /// When: not before the entry before it, before any of its commits was answered, after all of them were asked for.
    pub at: UnixMs,
    /// In key order.
    pub rows: Vec<Changed>,
}

/// All rows of one moment. Commits go on beside it and are not seen.
pub trait Snapshot: Send + Sync {
    /// Sequence and time of the last entry of the log that it holds.
    fn last(&self) -> (u64, UnixMs);

    /// As [`super::Engine::range`].
    fn range(&self, range: std::ops::Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError>;
}

/// Appends a row.
pub fn push(out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
    let key_length = u16::try_from(key.len()).expect("keys are shorter than 64 KiB");
    out.extend_from_slice(&key_length.to_le_bytes());
    out.extend_from_slice(&value.map_or(DELETED, |value| value.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value.unwrap_or_default());
}

/// Reads rows up to the end; `None` when that is not what the bytes are.
pub fn rows(mut bytes: Bytes) -> Option<Vec<Changed>> {
    let mut rows = Vec::new();
    while bytes.has_remaining() {
        if bytes.len() < HEAD {
            return None;
        }
        let (key, value) = (bytes.get_u16_le() as usize, bytes.get_u32_le());
        let length = if value == DELETED { 0 } else { value as usize };
        if bytes.len() < key + length {
            return None;
        }
        let key = bytes.split_to(key);
        rows.push((key, (value != DELETED).then(|| bytes.split_to(length))));
    }
    Some(rows)
}

impl Entry {
    /// An entry's bytes.
    pub fn encode<'a>(at: UnixMs, rows: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Vec<u8> {
        let mut out = at.to_le_bytes().to_vec();
        rows.for_each(|(key, value)| push(&mut out, key, value));
        out
    }

    /// Its own bytes.
    pub fn encoded(&self) -> Vec<u8> {
        Self::encode(self.at, self.rows.iter().map(|(key, value)| (&key[..], value.as_deref())))
    }

    /// Reads an entry; `None` when that is not what the bytes are.
    pub fn decode(sequence: u64, mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 8 {
            return None;
        }
        let at = bytes.get_i64_le();
        Some(Self { sequence, at, rows: rows(bytes)? })
    }

    /// About how many bytes it has.
    pub fn bytes(&self) -> usize {
        self.rows.iter().map(|(key, value)| HEAD + key.len() + value.as_ref().map_or(0, Bytes::len)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_reads_back(at: i64, rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
            let rows = rows.into_iter().map(|(key, value)| (key.into(), value.map(Bytes::from))).collect();
            let entry = Entry { sequence: 7, at, rows };
            prop_assert_eq!(Entry::decode(7, entry.encoded().into()), Some(entry));
        }

        #[test]
        fn what_is_no_entry_is_none_and_never_a_panic(bytes: Vec<u8>) {
            if let Some(entry) = Entry::decode(1, bytes.clone().into()) {
                prop_assert_eq!(entry.encoded(), bytes);
            }
        }
    }
}
