//! The root of a POSIX silo: a folder handle that was opened while its marker matched.
//!
//! Every path resolves beneath that handle, through no link, so that an unmounted disk is neither an empty silo nor the
//! folder it was mounted on, and what somebody plants in the tree leads nowhere. All calls here may block.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{self, AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::limits::MAX_MARKER;
use crate::marker::{Claim, MARKER, Marker};
use crate::posix::errno;
use crate::posix::folder::Folders;
use crate::posix::handle::Handle;
use crate::posix::kind::{self, Kind};
use crate::posix::pool::Pool;

/// The folder of all blobs, beneath the root.
pub(crate) const BLOBS: &str = "blobs";
/// Folders are ours alone.
pub(crate) const FOLDER_MODE: Mode = Mode::RWXU;
/// Files are ours alone.
pub(crate) const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// A root that was claimed.
pub(crate) struct Root {
    dir: OwnedFd,
    pub(crate) blobs: OwnedFd,
    pub(crate) folders: Folders,
    pub(crate) kind: Kind,
    /// The threads that may wait for it.
    pub(crate) pool: Pool,
    marker: Marker,
    /// Cleared by the first folder that cannot be fsynced, which some mounts refuse.
    folder_sync: AtomicBool,
}

impl Root {
    /// Opens a root, looks at its marker, and writes it where the claim allows.
    pub(crate) fn claim(path: &Path, claim: &Claim, pool: Pool) -> Result<Self, SiloError> {
        let dir = open_root(path, claim.fresh)?;
        let kind = kind::of(&dir)?;
        match read_marker(&dir)? {
            Some(found) => claim.check(&found)?,
            None if !claim.fresh => return Err(Claim::refuse_unmarked()),
            None if !is_empty(&dir)? => return Err(Claim::refuse_strangers()),
            None => {
                write_marker(&dir, &claim.marker, kind)?;
                // Somebody else's marker may have been there first.
                let found = read_marker(&dir)?.ok_or_else(Claim::refuse_unmarked)?;
                claim.check(&found)?;
            }
        }
        let marker = read_marker(&dir)?.ok_or_else(Claim::refuse_unmarked)?;
        let folder_sync = AtomicBool::new(true);
        // The marker lasts before anything stands beside it, which would be a stranger's without it.
        sync_folder(&dir, &folder_sync).map_err(|e| errno::writing("flushing the root", e))?;
        if claim.fresh {
            sync_name(&dir).map_err(|e| errno::writing("flushing the root's name", e))?;
        }
        make_folder(&dir, BLOBS).map_err(|e| errno::creating("making the blobs' folder", e))?;
        let blobs = open_folder(&dir, BLOBS).map_err(|e| errno::reading("opening the blobs' folder", e))?;
        let root = Self { dir, blobs, folders: Folders::new(), kind, pool, marker, folder_sync };
        root.sync_folder(&root.dir).map_err(|e| errno::writing("flushing the root", e))?;
        Ok(root)
    }

    /// Whether claiming again would open the same folder and find the same marker: an open root is then kept, and its
    /// open folders with it.
    pub(crate) fn is_still(&self, path: &Path, claim: &Claim) -> bool {
        let Ok(dir) = open_root(path, false) else { return false };
        let same = match (fs::fstat(&dir), fs::fstat(&self.dir)) {
            (Ok(found), Ok(ours)) => (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino),
            _ => false,
        };
        same && claim.accepts(&self.marker) && read_marker(&dir).is_ok_and(|found| found.as_ref() == Some(&self.marker))
    }

    /// The handle of the root itself.
    pub(crate) fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// Takes over a file of this root.
    pub(crate) fn handle(&self, file: OwnedFd) -> Handle {
        Handle::new(file, self.kind, &self.pool)
    }

    /// The marker as it is now.
    pub(crate) fn marker(&self) -> Result<Option<Marker>, SiloError> {
        read_marker(&self.dir)
    }

    /// What `Missing` turns into where the silo itself has gone: bytes of ours are missing only where our marker is not.
    pub(crate) fn explain(&self, error: SiloError) -> SiloError {
        if error != SiloError::Missing {
            return error;
        }
        self.still_ours().err().unwrap_or(SiloError::Missing)
    }

    /// Whether the marker that was seen when the root was opened is still beneath it.
    pub(crate) fn still_ours(&self) -> Result<(), SiloError> {
        match read_marker(&self.dir) {
            Ok(Some(found)) if found == self.marker => Ok(()),
            Ok(_) => Err(SiloError::not_done("the silo's root is gone")),
            Err(error) => Err(SiloError::not_done(format!("the silo's root is gone: {error}"))),
        }
    }

    /// Makes a folder's entries durable.
    pub(crate) fn sync_folder(&self, folder: impl AsFd) -> Result<(), Errno> {
        sync_folder(folder, &self.folder_sync)
    }

    /// Whether folders could be fsynced so far.
    pub(crate) fn syncs_folders(&self) -> bool {
        self.folder_sync.load(Ordering::Relaxed)
    }
}

/// The marker in a folder that was not claimed.
pub(crate) fn marker_at(path: &Path) -> Result<Option<Marker>, SiloError> {
    read_marker(&open_root(path, false)?)
}

/// Makes a folder's entries durable where folders can be flushed, and notes where they cannot.
pub(crate) fn sync_folder(folder: impl AsFd, possible: &AtomicBool) -> Result<(), Errno> {
    if !possible.load(Ordering::Relaxed) {
        return Ok(());
    }
    match fs::fsync(folder) {
        // Their server makes names durable by itself, or nothing does; the probe says so.
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BADF) => {
            possible.store(false, Ordering::Relaxed);
            Ok(())
        }
        synced => synced,
    }
}

/// Makes the root's own name durable, whoever made it: all bytes below a root that is gone are lost. What we may not
/// read or write holds no name of ours.
fn sync_name(root: &OwnedFd) -> Result<(), Errno> {
    let parent = match fs::openat(root, "..", FOLDER, Mode::empty()) {
        Err(Errno::ACCESS | Errno::PERM) => return Ok(()),
        parent => parent?,
    };
    match sync_folder(parent, &AtomicBool::new(true)) {
        Err(Errno::ROFS) => Ok(()),
        synced => synced,
    }
}

/// Opens a file for reading and never waits for one: neither a pipe nor a device blocks, neither is accepted later.
pub(crate) fn open_file(dir: impl AsFd, path: &str, resolve: ResolveFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    fs::openat2(dir, path, flags, Mode::empty(), BENEATH | resolve)
}

/// Opens a file that is there for writing, and waits for none: what is no plain file is not accepted later.
pub(crate) fn reopen_file(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    fs::openat2(dir, path, flags, Mode::empty(), BENEATH)
}

/// Makes a file that must not be there yet.
pub(crate) fn create_file(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    fs::openat2(dir, path, flags, FILE_MODE, BENEATH)
}

/// Opens a folder beneath another.
pub(crate) fn open_folder(dir: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    fs::openat2(dir, path, FOLDER, Mode::empty(), BENEATH)
}

/// Makes one folder where there is none. `name` is a single segment.
pub(crate) fn make_folder(dir: impl AsFd, name: &str) -> Result<(), Errno> {
    match fs::mkdirat(dir, name, FOLDER_MODE) {
        Err(Errno::EXIST) => Ok(()),
        made => made,
    }
}

/// Follows links: the path to the root is the administrator's.
fn open_root(path: &Path, fresh: bool) -> Result<OwnedFd, SiloError> {
    let open = || fs::openat(CWD, path, FOLDER, Mode::empty());
    match open() {
        Ok(dir) => Ok(dir),
        Err(Errno::NOENT) if fresh => {
            fs::mkdirat(CWD, path, FOLDER_MODE).or_else(|e| if e == Errno::EXIST { Ok(()) } else { Err(e) }).map_err(
                |e| SiloError::not_done(format!("the silo's root `{}` cannot be made: {e}", path.display())),
            )?;
            open().map_err(|e| SiloError::not_done(format!("`{}`: {e}", path.display())))
        }
        Err(Errno::NOENT) => Err(SiloError::not_done(format!("the silo's root `{}` does not exist", path.display()))),
        Err(e) => Err(SiloError::not_done(format!("the silo's root `{}`: {e}", path.display()))),
    }
}

fn read_marker(dir: &OwnedFd) -> Result<Option<Marker>, SiloError> {
    let file = match open_file(dir, MARKER, ResolveFlags::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(SiloError::not_done(format!("reading the silo's marker: {e}"))),
    };
    let mut text = Vec::new();
    let read = file.take(MAX_MARKER as u64).read_to_end(&mut text);
    read.map_err(|e| SiloError::not_done(format!("reading the silo's marker: {e}")))?;
    let parsed = serde_json::from_slice(&text);
    parsed.map(Some).map_err(|e| SiloError::not_done(format!("`{MARKER}` is damaged: {e}")))
}

/// Empty but for what a file system makes by itself and what a claim that crashed left behind.
fn is_empty(dir: &OwnedFd) -> Result<bool, SiloError> {
    let failed = |e| SiloError::not_done(format!("listing the silo's root: {e}"));
    for entry in Dir::read_from(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b".." | b"lost+found") && !name.starts_with(STAGED.as_bytes()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How a marker is called until it is whole.
const STAGED: &str = ".holdall-silo.";

/// Writes the marker whole or not at all, and never over another.
fn write_marker(dir: &OwnedFd, marker: &Marker, kind: Kind) -> Result<(), SiloError> {
    let failed = |e: &dyn std::fmt::Display| SiloError::not_done(format!("writing the silo's marker: {e}"));
    let text = serde_json::to_vec_pretty(marker).map_err(|e| failed(&e))?;
    let staged = format!("{STAGED}{:016x}", random()?);
    let mut file = File::from(create_file(dir, &staged).map_err(|e| match e {
        Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP => kind.unfit("a file cannot be made", e),
        e => failed(&e),
    })?);
    let written = file.write_all(&text).and_then(|()| file.sync_all()).map_err(|e| failed(&e));
    let placed = written.and_then(|()| place(dir, &staged).map_err(|e| failed(&e)));
    let _ = fs::unlinkat(dir, &staged, AtFlags::empty());
    placed
}

/// Gives the staged marker its name; one that is there already stays, and is looked at by the caller.
fn place(dir: &OwnedFd, staged: &str) -> Result<(), Errno> {
    let placed = match fs::renameat_with(dir, staged, dir, MARKER, RenameFlags::NOREPLACE) {
        // Mounts that cannot rename so can usually link; those that can do neither have no race to lose but by
        // two registrations at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            match fs::linkat(dir, staged, dir, MARKER, AtFlags::empty()) {
                Err(Errno::EXIST) => Err(Errno::EXIST),
                Err(_) => fs::renameat(dir, staged, dir, MARKER),
                Ok(()) => Ok(()),
            }
        }
        placed => placed,
    };
    match placed {
        Err(Errno::EXIST) => Ok(()),
        placed => placed,
    }
}

/// For names that no other process may choose.
pub(crate) fn random() -> Result<u64, SiloError> {
    getrandom::u64().map_err(|e| SiloError::not_done(format!("no random numbers: {e}")))
}
