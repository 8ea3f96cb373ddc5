//! Every limit of this crate.

use std::time::Duration;

/// An extent, and so a blob, is at most this long.
pub const MAX_EXTENT: u64 = 1 << 30;
/// A description (what a blob says of itself) is at most this long.
pub const MAX_DESCRIPTION: usize = 16 << 10;
/// A description asked for before the body travels in a header: buckets take 2 KiB of metadata, names and base64 included.
/// A longer one is left out there, and the blob then says nothing of itself.
pub const MAX_DESCRIPTION_BEFORE_BODY: usize = 1400;
/// Reads deliver pieces of this size, aligned to multiples of it: the grain of block checksums.
pub const BLOCK: usize = 256 << 10;
/// A page of a listing has at most this many names.
pub const MAX_LIST_PAGE: usize = 1000;
/// A silo reached over a network must answer the head of a response within this.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
/// A transfer to or from a silo that moves no byte for this long is given up.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Threads one POSIX silo may keep busy; a hung mount stops only its own.
pub const POSIX_THREADS: usize = 64;
