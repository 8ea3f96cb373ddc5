//! A record of a pack: a head, what the extent says of itself, the extent's bytes.
//!
//! `magic | description's length, u32 | payload's length, u32 | xxh3-64 of both lengths and the description |
//! description | payload`, numbers little-endian. The payload's own checksum is the extent's, in the description.

use bytes::Bytes;
use std::hash::Hasher;
use twox_hash::XxHash3_64;

use crate::describe::Description;

/// The first bytes of every record.
const MAGIC: [u8; 4] = *b"hld\x01";
/// What comes before the description.
pub(crate) const HEAD: usize = 4 + 4 + 4 + 8;

/// An extent on its way into a pack.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    head: Bytes,
    payload: Bytes,
}

/// Where a record's parts are, from its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    description: usize,
    payload: usize,
}

impl Record {
    pub(crate) fn new(description: &Description, payload: Bytes) -> Self {
        let said = description.encode();
        let (described, length) = (said.len() as u32, payload.len() as u32);
        let mut head = Vec::with_capacity(HEAD + said.len());
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&described.to_le_bytes());
        head.extend_from_slice(&length.to_le_bytes());
        head.extend_from_slice(&checksum(described, length, &said).to_le_bytes());
        head.extend_from_slice(&said);
        Self { head: head.into(), payload }
    }

    /// Bytes of the whole record.
    pub(crate) fn length(&self) -> u64 {
        (self.head.len() + self.payload.len()) as u64
    }

    /// Its bytes, in order.
    pub(crate) fn pieces(self) -> [Bytes; 2] {
        [self.head, self.payload]
    }
}

impl Head {
    /// Reads the head at the beginning of `bytes`; `None` when there is none, or not all of its description.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (described, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        let (described, length) = (u32::from_le_bytes(*described), u32::from_le_bytes(*length));
        let said = rest.get(..described as usize)?;
        let whole = *magic == MAGIC && checksum(described, length, said) == u64::from_le_bytes(*sum);
        whole.then_some(Self { description: described as usize, payload: length as usize })
    }

    /// Bytes of the whole record.
    pub(crate) fn length(self) -> usize {
        HEAD + self.description + self.payload
    }

    /// What the record that begins `bytes` says of itself.
    pub(crate) fn description(self, bytes: &[u8]) -> Option<Description> {
        Description::decode(bytes.get(HEAD..HEAD + self.description)?).ok()
    }
}

/// Takes a record apart: what the extent says of itself, and its bytes. None where it is not exactly one whole record.
pub(crate) fn unpack(record: &Bytes) -> Option<(Description, Bytes)> {
    let head = Head::parse(record).filter(|head| head.length() == record.len())?;
    let description = head.description(record)?;
    Some((description, record.slice(record.len() - head.payload..)))
}

fn checksum(described: u32, length: u32, said: &[u8]) -> u64 {
    let mut hasher = XxHash3_64::new();
    hasher.write(&described.to_le_bytes());
    hasher.write(&length.to_le_bytes());
    hasher.write(said);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Number;
    use proptest::prelude::*;

    fn description(key: String) -> Description {
        let number = Number { session: 1, number: 2 };
        Description {
            namespace: "n".to_owned(),
            extent: number,
            size: 9,
            bucket: "b".to_owned(),
            key,
            version: number,
            part: 0,
            offset: 0,
            headers: Vec::new(),
            digest: Some([7; 32]),
        }
    }

    proptest! {
        #[test]
        fn a_record_reads_back(key: String, payload: Vec<u8>, behind: Vec<u8>) {
            let said = description(key);
            let record = Record::new(&said, payload.clone().into());
            let length = record.length() as usize;
            let mut bytes = record.pieces().concat();
            bytes.extend(behind);
            let head = Head::parse(&bytes).unwrap();
            prop_assert_eq!(head.length(), length);
            prop_assert_eq!(head.description(&bytes), Some(said));
            prop_assert_eq!(&bytes[length - payload.len()..length], &payload[..]);
        }

        #[test]
        fn a_damaged_head_is_none(at in 0usize..60, bit in 0u8..8) {
            let mut bytes = Record::new(&description("key".to_owned()), Bytes::new()).pieces().concat();
            prop_assume!(at < bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Head::parse(&bytes), None);
            prop_assert_eq!(Head::parse(&bytes[..at]), None);
        }
    }
}
