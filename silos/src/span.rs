//! Sizes and ranges: the arithmetic every kind of silo shares.

use std::ops::Range;

use bytes::Bytes;

use crate::error::SiloError;
use crate::limits::{BLOCK, MAX_EXTENT, MAX_LIST_PAGE};
use crate::name::BlobName;

/// The parts of a range, cut at multiples of [`BLOCK`].
#[derive(Debug, Clone)]
pub(crate) struct Blocks(Range<u64>);

impl Iterator for Blocks {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        let start = self.0.start;
        if start >= self.0.end {
            return None;
        }
        let end = ((start / BLOCK as u64 + 1) * BLOCK as u64).min(self.0.end);
        self.0.start = end;
        Some(start..end)
    }
}

/// The blocks of `range` in a payload of `size` bytes; a range outside it is a fault of the caller's.
pub(crate) fn blocks(size: u64, range: Range<u64>) -> Result<Blocks, SiloError> {
    if range.start > range.end || range.end > size {
        return Err(SiloError::not_done(format!("range {}..{} of {size} bytes", range.start, range.end)));
    }
    Ok(Blocks(range))
}

/// Whether a payload of `found` bytes is the one the index knows.
pub(crate) fn same_size(found: u64, size: u64) -> Result<(), SiloError> {
    if found == size {
        return Ok(());
    }
    Err(SiloError::mismatch(format!("{found} bytes stored, {size} expected")))
}

/// How long a blob has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Exactly(u64),
    AtLeast(u64),
}

impl Length {
    /// What the index knows when it says `size`.
    pub(crate) fn of(name: &BlobName, size: u64) -> Self {
        if name.is_pack() { Self::AtLeast(size) } else { Self::Exactly(size) }
    }

    /// Whether a payload of `found` bytes is the one the index knows.
    pub(crate) fn check(self, found: u64) -> Result<(), SiloError> {
        match self {
            Self::Exactly(size) => same_size(found, size),
            Self::AtLeast(size) if found >= size => Ok(()),
            Self::AtLeast(size) => Err(SiloError::mismatch(format!("{found} bytes stored, at least {size} expected"))),
        }
    }
}

/// Refuses an append to what is no pack, or beyond what a silo takes.
pub(crate) fn fits_pack(pack: &BlobName, at: u64, bytes: &[Bytes]) -> Result<(), SiloError> {
    if !pack.is_pack() {
        return Err(SiloError::not_done(format!("{pack} is no pack")));
    }
    let more: u64 = bytes.iter().map(|piece| piece.len() as u64).sum();
    fits_extent(at.saturating_add(more), MAX_EXTENT)
}

/// Refuses a payload too long for a silo.
pub(crate) fn fits_extent(size: u64, most: u64) -> Result<(), SiloError> {
    if size <= most {
        return Ok(());
    }
    Err(SiloError::not_done(format!("{size} bytes, at most {most} in one blob")))
}

/// Refuses a description too long for a silo.
pub(crate) fn fits_description(description: &[u8], most: usize) -> Result<(), SiloError> {
    if description.len() <= most {
        return Ok(());
    }
    Err(SiloError::not_done(format!("a description of {} bytes, at most {most}", description.len())))
}

/// How many names a page may have.
pub(crate) fn page(limit: usize) -> usize {
    limit.min(MAX_LIST_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(size: u64, range: Range<u64>, expected: &[Range<u64>]) {
        let got: Vec<_> = blocks(size, range).unwrap().collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn pieces_end_at_block_borders() {
        let b = BLOCK as u64;
        check(0, 0..0, &[]);
        check(10, 10..10, &[]);
        check(b, 1..b, std::slice::from_ref(&(1..b)));
        check(b + 1, 0..b + 1, &[0..b, b..b + 1]);
        check(3 * b, b - 1..2 * b + 1, &[b - 1..b, b..2 * b, 2 * b..2 * b + 1]);
    }

    #[test]
    fn a_range_outside_the_payload_is_refused() {
        assert!(blocks(10, 0..11).is_err());
        #[expect(clippy::reversed_empty_ranges, reason = "the case under test")]
        let reversed = 3..2;
        assert!(blocks(10, reversed).is_err());
    }
}
