//! Buffers for blocks, used again: a fresh one costs the kernel 64 page faults, a tenth of what the copy costs.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::limits::{BLOCK, IDLE_BUFFERS};

static IDLE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// What fits below this is not worth a whole block.
const SMALL: usize = BLOCK / 8;

/// A buffer of at least the asked-for length that returns to the pool when nobody reads it any more.
pub(crate) struct Buffer {
    bytes: Box<[u8]>,
    length: usize,
}

impl Buffer {
    /// A buffer of `length` bytes, at most [`BLOCK`], holding anything.
    pub(crate) fn new(length: usize) -> Self {
        if length <= SMALL {
            return Self { bytes: vec![0; length].into_boxed_slice(), length };
        }
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { bytes: idle.unwrap_or_else(|| vec![0; BLOCK].into_boxed_slice()), length }
    }

    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.length]
    }

    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == BLOCK {
            let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_BUFFERS {
                idle.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_as_long_as_asked() {
        for length in [0, 1, SMALL, SMALL + 1, BLOCK - 1, BLOCK] {
            let mut buffer = Buffer::new(length);
            buffer.as_mut().fill(7);
            let bytes = buffer.freeze();
            assert_eq!(bytes, vec![7; length]);
        }
    }
}
