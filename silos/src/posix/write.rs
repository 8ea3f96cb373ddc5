//! Writing a blob: at its final name, which must be free; bytes durable, then the name durable, then the answer.
//!
//! Names are never used twice and a row in the index is what makes a blob exist, so that a temporary name would buy
//! nothing. A blob that was not finished lacks its trailer and reads as `Mismatch`. A pack has no trailer, whole or not.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::{self, Advice, AtFlags, Stat as FileStat};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::limits::{FLUSH_STEP, GATHERED_BODY, MAX_DESCRIPTION, RESPONSE_TIMEOUT, SLOWEST_FLUSH, WRITE_STEP};
use crate::name::BlobName;
use crate::posix::errno;
use crate::posix::folder::{Folder, Ticket};
use crate::posix::kind::Kind;
use crate::posix::pool::{Pending, Pool};
use crate::posix::root::{Root, create_file};
use crate::silo::{Describe, Stored, Validator, When};
use crate::span;
use crate::trailer;

/// More slices than this in one call are copied together first.
const MOST_SLICES: usize = 64;

/// Stores a body.
pub(crate) async fn put(
    pool: &Pool,
    root: Arc<Root>,
    name: BlobName,
    size: u64,
    body: Exact,
    describe: Describe,
) -> Result<Stored, SiloError> {
    if size <= GATHERED_BODY {
        return put_gathered(pool, root, name, size, body, describe).await;
    }
    put_in_steps(pool, root, name, size, body, describe).await
}

/// What says that a file is the one we wrote: its inode, its time and its length, as far as a file of that kind keeps
/// them.
pub(crate) fn validator(stat: &FileStat, kind: Kind) -> Validator {
    let (inode, keeps_times) = (kind.inode(stat), kind.keeps_times());
    let (seconds, nanoseconds) = if keeps_times { (stat.st_mtime, stat.st_mtime_nsec) } else { (0, 0) };
    Validator(format!("{inode:x}-{seconds:x}.{nanoseconds:x}-{:x}", stat.st_size))
}

async fn put_gathered(
    pool: &Pool,
    root: Arc<Root>,
    name: BlobName,
    size: u64,
    mut body: Exact,
    describe: Describe,
) -> Result<Stored, SiloError> {
    let mut pieces = body.collect().await?;
    pieces.push(described(&name, &describe)?);
    pool.write(move || {
        let mut upload = Upload::create(root, name)?;
        upload.write(&pieces)?;
        upload.finish(size)
    })
    .await
}

/// One step is written while the next is gathered, so that a slow client keeps no thread.
async fn put_in_steps(
    pool: &Pool,
    root: Arc<Root>,
    name: BlobName,
    size: u64,
    body: Exact,
    describe: Describe,
) -> Result<Stored, SiloError> {
    let upload = pool.write(move || refuse_at_once(&root, size).and_then(|()| Upload::create(root, name))).await?;
    let mut steps = Steps { pool, unfinished: Some(upload), flying: None };
    match steps.write_all(&name, body, &describe).await {
        Ok(()) => steps.finish(size).await,
        Err(error) => {
            steps.give_up().await;
            Err(error)
        }
    }
}

/// The trailer's bytes, of which a pack has none.
fn described(name: &BlobName, describe: &Describe) -> Result<Bytes, SiloError> {
    if name.is_pack() {
        return Ok(Bytes::new());
    }
    let description = describe(When::AfterBody);
    span::fits_description(&description, MAX_DESCRIPTION)?;
    Ok(trailer::encode(description).into())
}

/// A long body need not be sent to a disk that has no room for it.
fn refuse_at_once(root: &Root, size: u64) -> Result<(), SiloError> {
    match fs::fstatvfs(&root.blobs) {
        Ok(space) if space.f_bavail.saturating_mul(space.f_frsize) < size => Err(SiloError::Full),
        _ => Ok(()),
    }
}

/// How long a flush of `size` bytes is waited for.
pub(crate) fn flush_limit(size: u64) -> Duration {
    RESPONSE_TIMEOUT + Duration::from_secs(size / SLOWEST_FLUSH)
}

/// A body on its way through the pool.
struct Steps<'a> {
    pool: &'a Pool,
    /// Here while no step is being written.
    unfinished: Option<Upload>,
    flying: Option<Pending<Result<Upload, SiloError>>>,
}

impl Steps<'_> {
    async fn write_all(&mut self, name: &BlobName, mut body: Exact, describe: &Describe) -> Result<(), SiloError> {
        let mut step = Vec::new();
        let mut gathered = 0;
        while let Some(piece) = body.next().await? {
            gathered += piece.len();
            step.push(piece);
            if gathered >= WRITE_STEP {
                self.write(std::mem::take(&mut step)).await?;
                gathered = 0;
            }
        }
        step.push(described(name, describe)?);
        self.write(step).await
    }

    /// Waits for the step before, then begins this one.
    async fn write(&mut self, pieces: Vec<Bytes>) -> Result<(), SiloError> {
        let mut upload = self.land().await?;
        self.flying = Some(self.pool.start(move || upload.write(&pieces).map(|()| upload)));
        Ok(())
    }

    async fn land(&mut self) -> Result<Upload, SiloError> {
        match self.flying.take() {
            Some(flying) => flying.within(RESPONSE_TIMEOUT).await?,
            None => self.unfinished.take().ok_or_else(|| SiloError::unknown("an earlier step failed")),
        }
    }

    /// Removes the file before its failure is answered, where the silo answers in time: some mounts fail whoever asks for a
    /// file that is being removed.
    async fn give_up(mut self) {
        if let Ok(upload) = self.land().await {
            let _ = self.pool.start(move || drop(upload)).within(RESPONSE_TIMEOUT).await;
        }
    }

    async fn finish(mut self, size: u64) -> Result<Stored, SiloError> {
        let upload = self.land().await?;
        self.pool.start(move || upload.finish(size)).within(flush_limit(size)).await?
    }
}

/// A file that is being written. Dropped before it is finished, it is removed, where that may wait: nobody else can
/// have its name.
pub(crate) struct Upload {
    file: Option<File>,
    folder: Arc<Folder>,
    ticket: Ticket,
    root: Arc<Root>,
    name: BlobName,
    written: u64,
    /// So much of it is on its way to the disk.
    sent: u64,
}

impl Upload {
    pub(crate) fn create(root: Arc<Root>, name: BlobName) -> Result<Self, SiloError> {
        for again in [true, false] {
            let folder = root.folders.of(&root, &name)?;
            match create_file(&folder.dir, &name.file()) {
                Ok(file) => {
                    let ticket = folder.ticket();
                    return Ok(Self { file: Some(File::from(file)), folder, ticket, root, name, written: 0, sent: 0 });
                }
                // The folder was removed behind our back, or the whole root was.
                Err(Errno::NOENT) if again => {
                    root.folders.forget(&name);
                    root.still_ours()?;
                }
                Err(e) => return Err(errno::creating("making a file", e)),
            }
        }
        Err(SiloError::not_done("the blob's folder vanishes as often as it is made"))
    }

    pub(crate) fn write(&mut self, pieces: &[Bytes]) -> Result<(), SiloError> {
        let Some(file) = &mut self.file else { return Err(SiloError::unknown("written after its end")) };
        write_pieces(file, pieces)?;
        self.written += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.begin_flush();
        Ok(())
    }

    /// Sends what was written on its way to the disk without waiting for it. The advice would also drop clean pages, of
    /// which these are none yet.
    fn begin_flush(&mut self) {
        let fresh = self.written - self.sent;
        if let (Some(file), FLUSH_STEP..) = (&self.file, fresh) {
            // Only a hint: the flush at the end is what counts.
            let _ = fs::fadvise(file, self.sent, NonZeroU64::new(fresh), Advice::DontNeed);
            self.sent = self.written;
        }
    }

    /// Makes the bytes durable, then the name.
    pub(crate) fn finish(mut self, size: u64) -> Result<Stored, SiloError> {
        let Some(file) = &self.file else { return Err(SiloError::unknown("finished twice")) };
        fs::fsync(file).map_err(|e| errno::writing("flushing a file", e))?;
        let stat = fs::fstat(file).map_err(|e| errno::writing("looking at a file", e))?;
        self.folder.flush(self.ticket, |dir| self.root.sync_folder(dir)).map_err(|e| {
            self.root.folders.forget(&self.name);
            errno::writing("flushing a folder", e)
        })?;
        self.file = None;
        Ok(Stored { size, validator: validator(&stat, self.root.kind), checksum_enforced: false })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            let (folder, name) = (Arc::clone(&self.folder), self.name.file());
            self.root.pool.clean_up(move || {
                drop(file);
                // An orphan is found by the next listing as well.
                let _ = fs::unlinkat(&folder.dir, name, AtFlags::empty());
            });
        }
    }
}

/// Writes all of the pieces where the file stands.
pub(crate) fn write_pieces(file: &mut File, pieces: &[Bytes]) -> Result<(), SiloError> {
    let written = if pieces.len() > MOST_SLICES {
        file.write_all(&pieces.concat())
    } else {
        let mut slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        write_all(file, &mut slices)
    };
    written.map_err(|error| failed("writing", &error))
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> std::io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn failed(what: &str, error: &std::io::Error) -> SiloError {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(e) => errno::writing(what, e),
        None => SiloError::unknown(format!("{what}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posix::kind;

    /// rclone over SMB: a blob's time changed when rclone's cache sent it on, and the kernel forgets inodes that a program
    /// behind FUSE has made up. The same bytes had another validator each time.
    #[test]
    fn a_validator_is_made_of_what_stays() {
        let file = tempfile::tempfile().unwrap();
        let put = fs::fstat(&file).unwrap();
        let (mut forgotten, mut sent, mut grown) = (put, put, put);
        forgotten.st_ino += 1;
        sent.st_mtime += 1;
        grown.st_size += 1;
        let [sshfs, rclone] = kind::BY_FUSE;
        for (kind, inodes, times) in
            [(kind::by_magic(0xEF53), true, true), (sshfs, false, true), (rclone, false, false)]
        {
            let tells = |other: &FileStat| validator(other, kind) != validator(&put, kind);
            assert_eq!((tells(&forgotten), tells(&sent), tells(&grown)), (inodes, times, true), "{}", kind.name);
        }
    }
}
