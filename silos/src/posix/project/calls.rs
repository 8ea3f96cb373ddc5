//! System calls on attempts, and what their failures say.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicBool;

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, RenameFlags, Stat};
use rustix::io::Errno;

use super::place::PLAIN;
use crate::error::SiloError;
use crate::posix::errno;
use crate::posix::kind::Kind;
use crate::posix::root::sync_folder;
use crate::posix::tree::{FOLDER, same_file, validator_of};
use crate::projections::Attempt;
use crate::silo::Validator;

/// What of an attempt lies where.
pub(super) fn slot(at: Attempt, slot: &str) -> String {
    format!("{at}/{slot}")
}

/// Calls that a file system does not have.
pub(super) fn is_unknown(e: Errno) -> bool {
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// What stays so until somebody changes the tree.
pub(super) fn is_closed(e: Errno) -> bool {
    matches!(e, Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV)
}

pub(super) fn gone() -> SiloError {
    SiloError::Missing
}

pub(super) fn exists(folder: &OwnedFd, path: &str) -> Result<Option<Stat>, SiloError> {
    match fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(SiloError::not_done(format!("looking at an attempt: {e}"))),
    }
}

pub(super) fn flush(folder: impl AsFd) -> Result<(), SiloError> {
    sync_folder(folder, &AtomicBool::new(true)).map_err(|e| errno::writing("flushing a folder", e))
}

/// An attempt's folder.
pub(super) fn folder(ours: &OwnedFd, at: Attempt) -> Result<OwnedFd, SiloError> {
    match fs::openat2(ours, at.to_string(), FOLDER, Mode::empty(), PLAIN) {
        Err(Errno::NOENT) => Err(gone()),
        opened => opened.map_err(|e| errno::reading("opening an attempt's folder", e)),
    }
}

/// Renames where nothing has the new name.
pub(super) fn rename(
    from: &OwnedFd,
    old: impl AsRef<OsStr>,
    to: &OwnedFd,
    new: impl AsRef<OsStr>,
) -> Result<(), Errno> {
    let (old, new) = (old.as_ref(), new.as_ref());
    match fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(e) if is_unknown(e) => {
            fs::linkat(from, old, to, new, AtFlags::empty()).and_then(|()| fs::unlinkat(from, old, AtFlags::empty()))
        }
        renamed => renamed,
    }
}

pub(super) fn is_same(stat: &Stat, kind: Kind, known: &Validator) -> bool {
    same_file(&validator_of(stat, kind), known)
}

/// Whether both names are one file's.
pub(super) fn is_linked(ours: &OwnedFd, came: &str, parent: &OwnedFd, leaf: &OsStr) -> bool {
    let [here, there] = [(ours, OsStr::new(came)), (parent, leaf)]
        .map(|(folder, name)| fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok());
    here.zip(there).is_some_and(|(here, there)| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
}

/// Whether a folder has nothing in it; one that does not open may have.
pub(super) fn is_empty(parent: &OwnedFd, leaf: &OsStr) -> bool {
    let opened = fs::openat2(parent, leaf, FOLDER, Mode::empty(), PLAIN);
    let entries = opened.and_then(Dir::read_from);
    entries.is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
    })
}

/// What has a name.
pub(super) fn what(parent: &OwnedFd, leaf: &OsStr) -> Result<Option<FileType>, SiloError> {
    match fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NAMETOOLONG) => Err(SiloError::mismatch("a name is too long for the file system")),
        Err(e) => Err(errno::reading("looking at a name", e)),
    }
}

/// Renames what has a name into an attempt, which has nothing there.
pub(super) fn aside(parent: &OwnedFd, leaf: &OsStr, ours: &OwnedFd, old: &str) -> Result<(), Errno> {
    match fs::renameat_with(parent, leaf, ours, old, RenameFlags::NOREPLACE) {
        Err(e) if is_unknown(e) => fs::renameat(parent, leaf, ours, old),
        renamed => renamed,
    }
}
