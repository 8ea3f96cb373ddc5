//! Growing a pack: a file of records alone, opened for each append. The bytes are durable, then the answer goes out.
//!
//! Whatever an append left behind that failed stands past what was ever answered, where nobody reads.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{self, FileType, SeekFrom};

use crate::error::SiloError;
use crate::name::BlobName;
use crate::posix::errno;
use crate::posix::pool::Pool;
use crate::posix::root::{Root, reopen_file};
use crate::posix::write::{Upload, flush_limit, write_pieces};
use crate::span;

/// Appends to a pack of `at` bytes, or begins it.
pub(crate) async fn append(
    pool: &Pool,
    root: Arc<Root>,
    pack: BlobName,
    at: u64,
    bytes: Vec<Bytes>,
) -> Result<(), SiloError> {
    let more = bytes.iter().map(|piece| piece.len() as u64).sum();
    let work = move || if at == 0 { begin(root, pack, &bytes, more) } else { extend(&root, &pack, at, &bytes) };
    pool.start(work).within(flush_limit(more)).await?
}

/// The name is durable with the bytes. A begin that fails leaves nothing, where it can.
fn begin(root: Arc<Root>, pack: BlobName, bytes: &[Bytes], size: u64) -> Result<(), SiloError> {
    let mut upload = Upload::create(root, pack)?;
    upload.write(bytes)?;
    upload.finish(size).map(drop)
}

fn extend(root: &Root, pack: &BlobName, at: u64, bytes: &[Bytes]) -> Result<(), SiloError> {
    let mut file = open(root, pack, at).map_err(|error| root.explain(error))?;
    write_pieces(&mut file, bytes)?;
    // The length is flushed with the bytes; the name was before the first append was answered.
    fs::fdatasync(&file).map_err(|e| errno::writing("flushing a pack", e))
}

/// The pack's file, standing at its end.
fn open(root: &Root, pack: &BlobName, at: u64) -> Result<File, SiloError> {
    let file = reopen_file(&root.blobs, &pack.to_string()).map_err(|e| errno::reading("opening a pack", e))?;
    let found = fs::fstat(&file).map_err(|e| errno::reading("looking at a pack", e))?;
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
        return Err(SiloError::mismatch("not a plain file"));
    }
    span::same_size(found.st_size as u64, at)?;
    fs::seek(&file, SeekFrom::Start(at)).map_err(|e| errno::reading("going to a pack's end", e))?;
    Ok(File::from(file))
}
