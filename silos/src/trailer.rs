//! What a file says of itself, behind its payload.
//!
//! `payload | description | xxh3-64 of the description | its length, u32 | magic`, numbers little-endian. The magic
//! comes last, so that a file that was cut short, or never finished, has none.

use twox_hash::XxHash3_64;

use crate::error::SiloError;
use crate::limits::MAX_DESCRIPTION;

/// The last bytes of every finished file.
const MAGIC: [u8; 8] = *b"holdall\x01";
/// What follows the description.
pub(crate) const TAIL: usize = 8 + 4 + MAGIC.len();

/// The last [`TAIL`] bytes of a file, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    checksum: u64,
    /// Bytes of description before it.
    pub(crate) description: u32,
}

/// The bytes to write behind a payload.
pub(crate) fn encode(mut description: Vec<u8>) -> Vec<u8> {
    let checksum = XxHash3_64::oneshot(&description);
    let length = description.len() as u32;
    description.extend_from_slice(&checksum.to_le_bytes());
    description.extend_from_slice(&length.to_le_bytes());
    description.extend_from_slice(&MAGIC);
    description
}

impl Tail {
    /// Reads the last bytes of a file; `bytes` are at least [`TAIL`] of them.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, SiloError> {
        let unfinished = || SiloError::mismatch("the file was never finished, or was cut");
        let (_, tail) = bytes.split_last_chunk::<TAIL>().ok_or_else(unfinished)?;
        let (checksum, rest) = tail.split_first_chunk::<8>().ok_or_else(unfinished)?;
        let (length, magic) = rest.split_first_chunk::<4>().ok_or_else(unfinished)?;
        if *magic != MAGIC {
            return Err(unfinished());
        }
        let tail = Self { checksum: u64::from_le_bytes(*checksum), description: u32::from_le_bytes(*length) };
        if tail.description as usize > MAX_DESCRIPTION {
            return Err(SiloError::mismatch(format!("a description of {} bytes", tail.description)));
        }
        Ok(tail)
    }

    /// Payload bytes of a file of `length` bytes that ends so.
    pub(crate) fn payload(self, length: u64) -> Result<u64, SiloError> {
        let behind = u64::from(self.description) + TAIL as u64;
        length.checked_sub(behind).ok_or_else(|| SiloError::mismatch("the file is shorter than its trailer"))
    }

    /// Whether these bytes are the description.
    pub(crate) fn check(self, description: &[u8]) -> Result<(), SiloError> {
        if XxHash3_64::oneshot(description) == self.checksum {
            return Ok(());
        }
        Err(SiloError::mismatch("the file's description is damaged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_trailer_reads_back(description in prop::collection::vec(any::<u8>(), 0..200), payload in 0u64..1 << 40) {
            let bytes = encode(description.clone());
            let tail = Tail::parse(&bytes).unwrap();
            prop_assert_eq!(tail.payload(payload + bytes.len() as u64), Ok(payload));
            prop_assert_eq!(tail.check(&description), Ok(()));
        }

        #[test]
        fn a_damaged_trailer_is_noticed(at in 0usize..30, bit in 0u8..8) {
            let mut bytes = encode(b"ten bytes.".to_vec());
            bytes[at] ^= 1 << bit;
            let length = 100 + bytes.len() as u64;
            let whole = Tail::parse(&bytes).and_then(|tail| {
                tail.check(&bytes[..10])?;
                tail.payload(length)
            });
            prop_assert_ne!(whole, Ok(100));
        }
    }

    #[test]
    fn what_is_no_trailer_is_refused() {
        for bytes in [&b""[..], b"short", &[0; TAIL], b"payload that ends in the middle of a word"] {
            assert!(Tail::parse(bytes).is_err());
        }
        assert!(Tail::parse(&encode(vec![1; 50])).unwrap().payload(60).is_err());
    }
}
