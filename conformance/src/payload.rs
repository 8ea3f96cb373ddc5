//! Contents that can be computed again from what they belong to, at any offset.

use bytes::{Bytes, BytesMut};
use md5::{Digest as _, Md5};

use crate::random::mix;

/// The contents of one generation of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    seed: u64,
    /// Bytes.
    pub len: u64,
}

/// The first byte that is not what it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs {
    /// Its offset in the object.
    pub at: u64,
}

impl Payload {
    /// The contents that generation `generation` of `key` has.
    pub fn new(key: &str, generation: u64, len: u64) -> Self {
        Self { seed: twox_hash::XxHash3_64::oneshot_with_seed(generation, key.as_bytes()), len }
    }

    /// The bytes from `from` up to at most `max` of them; short only at the end.
    pub fn bytes(&self, from: u64, max: usize) -> Bytes {
        let len = (self.len.saturating_sub(from)).min(max as u64) as usize;
        let mut out = BytesMut::with_capacity(len + 16);
        let mut word = from / 8;
        let skip = (from % 8) as usize;
        out.extend_from_slice(&self.word(word)[skip..]);
        while out.len() < len {
            word += 1;
            out.extend_from_slice(&self.word(word));
        }
        out.truncate(len);
        out.freeze()
    }

    /// Whether `found` is what stands at `from`.
    pub fn check(&self, from: u64, found: &[u8]) -> Result<(), Differs> {
        let mut at = from;
        let mut rest = found;
        while !rest.is_empty() {
            let skip = (at % 8) as usize;
            let take = (8 - skip).min(rest.len());
            let word = self.word(at / 8);
            if at + take as u64 > self.len || word[skip..skip + take] != rest[..take] {
                return Err(Differs { at });
            }
            at += take as u64;
            rest = &rest[take..];
        }
        Ok(())
    }

    /// Whether `found` is all of it; otherwise why not.
    pub fn is(&self, found: &[u8]) -> Result<(), String> {
        if found.len() as u64 != self.len {
            return Err(format!("{} bytes of {}", found.len(), self.len));
        }
        self.check(0, found).map_err(|differs| format!("differs at byte {}", differs.at))
    }

    /// The MD5, which is the ETag of a simple PUT.
    pub fn md5(&self) -> [u8; 16] {
        self.md5_of(0, self.len)
    }

    /// The MD5 of a part.
    pub fn md5_of(&self, from: u64, len: u64) -> [u8; 16] {
        let mut md5 = Md5::new();
        let mut at = from;
        let end = (from + len).min(self.len);
        while at < end {
            let bytes = self.bytes(at, (end - at).min(1 << 16) as usize);
            md5.update(&bytes);
            at += bytes.len() as u64;
        }
        md5.finalize().into()
    }

    fn word(&self, index: u64) -> [u8; 8] {
        mix(self.seed ^ index.wrapping_mul(0xd134_2543_de82_ef95)).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Differs, Payload};

    #[test]
    fn any_range_is_the_same_bytes() {
        let payload = Payload::new("a/b", 7, 100_003);
        let whole = payload.bytes(0, usize::MAX >> 1);
        assert_eq!(whole.len(), 100_003);
        for (from, len) in [(0, 1), (1, 7), (3, 64), (8, 8), (99_999, 400), (100_003, 5)] {
            let part = payload.bytes(from, len);
            let end = (from as usize + len).min(100_003);
            assert_eq!(part, whole.slice((from as usize).min(end)..end), "{from}+{len}");
            assert_eq!(payload.check(from, &part), Ok(()));
        }
    }

    #[test]
    fn a_flipped_bit_another_generation_and_a_byte_too_many_are_seen() {
        let payload = Payload::new("k", 1, 50);
        let mut bytes = payload.bytes(0, 50).to_vec();
        bytes[41] ^= 1;
        assert_eq!(payload.check(0, &bytes), Err(Differs { at: 40 }));
        assert!(Payload::new("k", 2, 50).check(0, &payload.bytes(0, 50)).is_err());
        bytes[41] ^= 1;
        bytes.push(0);
        assert!(payload.check(0, &bytes).is_err());
    }
}
