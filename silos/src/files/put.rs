//! What is written of a blob: its payload, and behind it what it says of itself.

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::error::SiloError;
use crate::exact::Exact;
use crate::limits::MAX_DESCRIPTION;
use crate::name::BlobName;
use crate::silo::{Body, Describe, Pieces, When};
use crate::span::{self, Blocks};
use crate::trailer;

/// The whole file, its length first: it has to be told before the body, so that the description is asked for by then. The
/// trailer follows only a payload that came whole.
pub(super) fn with_trailer(
    name: &BlobName,
    size: u64,
    body: Body,
    describe: &Describe,
) -> Result<(u64, Exact), SiloError> {
    let payload = Exact::new(body, size);
    if name.is_pack() {
        return Ok((size, payload));
    }
    let description = describe(When::BeforeBody);
    span::fits_description(&description, MAX_DESCRIPTION)?;
    let trailer = Bytes::from(trailer::encode(description));
    let stored = size + trailer.len() as u64;
    let pieces = stream::try_unfold((payload, Some(trailer)), |(mut payload, trailer)| async move {
        match (payload.next().await?, trailer) {
            (Some(piece), trailer) => Ok(Some((piece, (payload, trailer)))),
            (None, Some(trailer)) => Ok(Some((trailer, (payload, None)))),
            (None, None) => Ok(None),
        }
    });
    Ok((stored, Exact::new(pieces.boxed(), stored)))
}

/// A body of bytes that are there.
pub(super) fn of(bytes: Bytes) -> Exact {
    let size = bytes.len() as u64;
    Exact::new(Box::pin(stream::iter([Ok(bytes)])), size)
}

/// The blocks of what was read at once, from `start` on.
pub(super) fn cut(bytes: &Bytes, start: u64, blocks: Blocks) -> Pieces {
    let piece = |block: std::ops::Range<u64>| bytes.slice((block.start - start) as usize..(block.end - start) as usize);
    let pieces: Vec<_> = blocks.map(|block| Ok(piece(block))).collect();
    stream::iter(pieces).boxed()
}
