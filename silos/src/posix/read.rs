//! Reading a blob: cached pages on the async thread, everything else on the silo's own threads.
//!
//! A small blob costs one open, one fstat and one read, trailer included. `RWF_NOWAIT` and `RESOLVE_CACHED` make a call
//! answer at once where the disk would have to be asked; what they refuse is asked again where waiting is allowed.
//!
//! A pack has no trailer. Its file is only known to be at least as long as the index says, and what is read of it is mostly
//! short: exactly that is read, and nothing ahead.

use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::fs::{self, Advice, FileType, ResolveFlags};
use rustix::io::{Errno, ReadWriteFlags};

use crate::buffer::Buffer;
use crate::error::SiloError;
use crate::limits::{BLOCK, MAX_DESCRIPTION};
use crate::name::BlobName;
use crate::posix::errno;
use crate::posix::handle::Handle;
use crate::posix::pool::Pool;
use crate::posix::root::{Root, open_file};
use crate::posix::write::validator;
use crate::silo::{Pieces, Stat};
use crate::span::{self, Blocks, Length};
use crate::trailer::{TAIL, Tail};

/// Whether page caches may serve a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caches {
    Use,
    Bypass,
}

/// A blob's file, open and seen to be a plain one.
struct Open {
    file: Handle,
    length: u64,
}

/// Opens a range of a blob for reading.
pub(crate) async fn read(
    pool: &Pool,
    root: Arc<Root>,
    name: BlobName,
    size: u64,
    range: Range<u64>,
    caches: Caches,
) -> Result<Pieces, SiloError> {
    let blocks = span::blocks(size, range.clone())?;
    let nowait = root.kind.local && caches == Caches::Use;
    let path = name.to_string();
    let open = match nowait.then(|| open(&root, &path, ResolveFlags::CACHED)) {
        Some(Ok(open)) => open,
        _ => pool.read(move || open(&root, &path, ResolveFlags::empty()).map_err(|e| root.explain(e))).await?,
    };
    let long = range.end - range.start > BLOCK as u64;
    let reader = Reader { pool: pool.clone(), open: Arc::new(open), nowait, ahead: long || !name.is_pack() };
    if caches == Caches::Bypass {
        reader.forget_pages(if name.is_pack() { around(&range) } else { 0..0 }).await?;
    }
    if name.is_pack() {
        Length::AtLeast(size).check(reader.open.length)?;
        if !long {
            return Ok(cut(&reader.fetch(range.clone()).await?, range.start, blocks));
        }
    } else {
        reader.plausible(size)?;
        if reader.open.length - range.start <= BLOCK as u64 {
            return reader.read_to_end(size, range, blocks).await;
        }
        reader.check_tail(size).await?;
    }
    if long {
        // Doubles the kernel's read-ahead; without it reading is only slower.
        let _ =
            fs::fadvise(&reader.open.file, range.start, NonZeroU64::new(range.end - range.start), Advice::Sequential);
    }
    Ok(reader.stream(blocks))
}

/// Size and validator. May block.
pub(crate) fn stat(root: &Root, name: &BlobName) -> Result<Stat, SiloError> {
    let open = open(root, &name.to_string(), ResolveFlags::empty())?;
    let found = fs::fstat(&open.file).map_err(|e| errno::reading("looking at a blob", e))?;
    let size = if name.is_pack() { found.st_size as u64 } else { open.tail()?.payload(open.length)? };
    Ok(Stat { size, validator: validator(&found, root.kind) })
}

/// What the blob says of itself. May block.
pub(crate) fn describe(root: &Root, name: &BlobName) -> Result<Vec<u8>, SiloError> {
    let open = open(root, &name.to_string(), ResolveFlags::empty())?;
    if name.is_pack() {
        return Ok(Vec::new());
    }
    let tail = open.tail()?;
    let start = tail.payload(open.length)?;
    let mut description = vec![0; tail.description as usize];
    open.read_exact(&mut description, start)?;
    tail.check(&description)?;
    Ok(description)
}

fn open(root: &Root, path: &str, resolve: ResolveFlags) -> Result<Open, SiloError> {
    let file = open_file(&root.blobs, path, resolve).map_err(|e| errno::reading("opening a blob", e))?;
    let found = fs::fstat(&file).map_err(|e| errno::reading("looking at a blob", e))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(SiloError::mismatch("not a plain file"));
    }
    Ok(Open { file: root.handle(file), length: found.st_size as u64 })
}

impl Open {
    /// Reads the last bytes. May block.
    fn tail(&self) -> Result<Tail, SiloError> {
        let mut bytes = [0; TAIL];
        let start = self.length.checked_sub(TAIL as u64).ok_or_else(|| SiloError::mismatch("the file was cut"))?;
        self.read_exact(&mut bytes, start)?;
        Tail::parse(&bytes)
    }

    /// Reads all of `buffer`. May block.
    fn read_exact(&self, buffer: &mut [u8], at: u64) -> Result<(), SiloError> {
        read_exact(&self.file, buffer, at, "reading a blob")
    }

    /// Reads what is cached, at once; answers how much that was.
    fn read_cached(&self, buffer: &mut [u8], at: u64) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let mut rest = [IoSliceMut::new(&mut buffer[done..])];
            match rustix::io::preadv2(&self.file, &mut rest, at + done as u64, ReadWriteFlags::NOWAIT) {
                Ok(read) if read > 0 => done += read,
                // Whatever it was is found again, and told, where waiting is allowed.
                _ => break,
            }
        }
        done
    }
}

/// Reads all of `buffer` from `at` on; `what` that is, for the error. May block.
pub(crate) fn read_exact(file: impl AsFd, mut buffer: &mut [u8], mut at: u64, what: &str) -> Result<(), SiloError> {
    while !buffer.is_empty() {
        match rustix::io::pread(&file, &mut *buffer, at) {
            Ok(0) => return Err(SiloError::mismatch("the file ends early")),
            Ok(read) => {
                buffer = &mut buffer[read..];
                at += read as u64;
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(errno::reading(what, e)),
        }
    }
    Ok(())
}

/// The blocks that a range touches: a page that is forgotten in part stays.
fn around(range: &Range<u64>) -> Range<u64> {
    let block = BLOCK as u64;
    range.start / block * block..range.end.next_multiple_of(block)
}

/// The blocks of what was read at once, from `start` on.
fn cut(bytes: &Bytes, start: u64, blocks: Blocks) -> Pieces {
    let pieces: Vec<_> =
        blocks.map(|block| Ok(bytes.slice((block.start - start) as usize..(block.end - start) as usize))).collect();
    stream::iter(pieces).boxed()
}

/// A blob being read.
#[derive(Clone)]
struct Reader {
    pool: Pool,
    open: Arc<Open>,
    nowait: bool,
    /// What follows will be asked for as well.
    ahead: bool,
}

impl Reader {
    /// Whether the file can hold `size` bytes and a trailer; which of them it does is told by the trailer.
    fn plausible(&self, size: u64) -> Result<(), SiloError> {
        let behind = self.open.length.checked_sub(size).and_then(|rest| rest.checked_sub(TAIL as u64));
        match behind {
            Some(description) if description <= MAX_DESCRIPTION as u64 => Ok(()),
            _ => Err(SiloError::mismatch(format!("a file of {} bytes, {size} of payload expected", self.open.length))),
        }
    }

    /// The rest of the file with its trailer in one read: most blobs are small.
    async fn read_to_end(self, size: u64, range: Range<u64>, blocks: Blocks) -> Result<Pieces, SiloError> {
        let rest = self.fetch(range.start..self.open.length).await?;
        span::same_size(Tail::parse(&rest)?.payload(self.open.length)?, size)?;
        Ok(cut(&rest, range.start, blocks))
    }

    async fn check_tail(&self, size: u64) -> Result<(), SiloError> {
        let bytes = self.fetch(self.open.length - TAIL as u64..self.open.length).await?;
        span::same_size(Tail::parse(&bytes)?.payload(self.open.length)?, size)
    }

    fn stream(self, blocks: Blocks) -> Pieces {
        let pieces = stream::try_unfold((self, blocks), |(reader, mut blocks)| async move {
            let Some(block) = blocks.next() else { return Ok(None) };
            let piece = reader.fetch(block).await?;
            Ok(Some((piece, (reader, blocks))))
        });
        pieces.boxed()
    }

    /// At most a block of the file.
    async fn fetch(&self, span: Range<u64>) -> Result<Bytes, SiloError> {
        let mut buffer = Buffer::new((span.end - span.start) as usize);
        let done = if self.nowait { self.open.read_cached(buffer.as_mut(), span.start) } else { 0 };
        if done == buffer.as_ref().len() {
            return Ok(buffer.freeze());
        }
        let (open, ahead) = (Arc::clone(&self.open), self.ahead);
        self.pool
            .read(move || {
                open.read_exact(&mut buffer.as_mut()[done..], span.start + done as u64)?;
                if ahead {
                    // The disk works on while this block is sent.
                    let _ = fs::fadvise(&open.file, span.end, NonZeroU64::new(2 * BLOCK as u64), Advice::WillNeed);
                }
                Ok(buffer.freeze())
            })
            .await
    }

    /// An empty span is the whole file.
    async fn forget_pages(&self, span: Range<u64>) -> Result<(), SiloError> {
        let open = Arc::clone(&self.open);
        self.pool
            .read(move || {
                // Pages that are being written stay; ours were made durable before anybody reads them back.
                let length = NonZeroU64::new(span.end - span.start);
                let _ = fs::fadvise(&open.file, span.start, length, Advice::DontNeed);
                Ok(())
            })
            .await
    }
}
