//! An attempt: what it does to a name, and what became of it.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;

use rustix::fs::{self, Access, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::calls::{
    aside, exists, flush, folder, gone, is_closed, is_empty, is_linked, is_same, is_unknown, rename, slot, what,
};
use super::place::{NEW, OLD, PLAIN, Place, TRIES};
use crate::error::SiloError;
use crate::limits::MAX_SEGMENT;
use crate::posix::errno;
use crate::posix::tree::validator_of;
use crate::projections::{Attempt, Outcome};
use crate::silo::Validator;

impl Place {
    pub(super) fn bring(&self, at: Attempt, staged: &Validator, name: &[u8]) -> Result<(), SiloError> {
        let ours = self.ours()?;
        folder(&ours, at)?;
        let (parent, leaf) = self.parent(name, true)?;
        let (new, old) = (slot(at, NEW), slot(at, OLD));
        for _ in 0..TRIES {
            match exists(&ours, &new)? {
                Some(stat) if is_same(&stat, self.root.kind, staged) => {}
                // It went in before.
                Some(_) => return Ok(()),
                None => return Err(gone()),
            }
            let before = exists(&ours, &old)?.is_some();
            let done = match (what(&parent, leaf)?, before) {
                (None, _) => rename(&ours, &new, &parent, leaf),
                // Others were faster; what came out is enough for one attempt.
                (Some(_), true) => Ok(()),
                (Some(FileType::RegularFile), false) => self.exchange(&ours, &new, &old, &parent, leaf),
                (Some(FileType::Directory), false) => match fs::unlinkat(&parent, leaf, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Err(Errno::AGAIN),
                    Err(_) => return Err(SiloError::mismatch("a folder has its name")),
                },
                (Some(_), false) => return Err(SiloError::mismatch("what has its name is no plain file")),
            };
            match done {
                Ok(()) => {
                    flush(&parent)?;
                    return flush(folder(&ours, at)?);
                }
                Err(Errno::AGAIN | Errno::NOENT | Errno::EXIST | Errno::ISDIR | Errno::NOTDIR) => {}
                Err(Errno::NAMETOOLONG) => return Err(SiloError::mismatch("a name is too long for the file system")),
                Err(e) if is_closed(e) => return Err(SiloError::mismatch(format!("its folder is closed to us: {e}"))),
                Err(e) => return Err(errno::writing("bringing a file in", e)),
            }
        }
        Err(SiloError::unknown("the name changes as often as it is looked at"))
    }

    /// Lets a staged file and what has the name change places, or makes room for it.
    pub(super) fn exchange(
        &self,
        ours: &OwnedFd,
        new: &str,
        old: &str,
        parent: &OwnedFd,
        leaf: &OsStr,
    ) -> Result<(), Errno> {
        if self.exchanges {
            match fs::renameat_with(ours, new, parent, leaf, RenameFlags::EXCHANGE) {
                Err(e) if is_unknown(e) => {}
                exchanged => return exchanged,
            }
        }
        aside(parent, leaf, ours, old).and(Err(Errno::AGAIN))
    }

    pub(super) fn take(&self, at: Attempt, name: &[u8]) -> Result<(), SiloError> {
        let ours = self.ours()?;
        folder(&ours, at)?;
        let old = slot(at, OLD);
        let (parent, leaf) = match self.parent(name, false) {
            Err(SiloError::Missing) => return Ok(()),
            found => found?,
        };
        if exists(&ours, &old)?.is_some() {
            return Ok(());
        }
        match what(&parent, leaf)? {
            None => return Ok(()),
            Some(FileType::RegularFile) => {}
            Some(_) => return Err(SiloError::mismatch("what has its name is no plain file")),
        }
        match aside(&parent, leaf, &ours, &old) {
            Ok(()) => {}
            Err(Errno::NOENT) => return folder(&ours, at).map(drop),
            Err(e) if is_closed(e) => return Err(SiloError::mismatch(format!("its folder is closed to us: {e}"))),
            Err(e) => return Err(errno::writing("taking a file out", e)),
        }
        flush(&parent)?;
        flush(folder(&ours, at)?)
    }

    pub(super) fn look(&self, at: Attempt, name: &[u8], staged: Option<&Validator>) -> Result<Outcome, SiloError> {
        let (ours, kind) = (self.ours()?, self.root.kind);
        folder(&ours, at)?;
        let has_name = match self.parent(name, false) {
            Ok((parent, leaf)) => fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW).ok(),
            Err(SiloError::Missing | SiloError::Mismatch { .. }) => None,
            Err(error) => return Err(error),
        };
        let is_staged = |stat: &Stat| staged.is_some_and(|staged| is_same(stat, kind, staged));
        let now = has_name.filter(is_staged);
        let mut new = exists(&ours, &slot(at, NEW))?;
        if let (Some(_), Some(linked)) = (now, new.filter(is_staged)) {
            // It was linked in, and whoever did that did not come to its end.
            debug_assert_eq!(Some(linked.st_ino), now.map(|now| now.st_ino));
            fs::unlinkat(&ours, slot(at, NEW), AtFlags::empty())
                .map_err(|e| errno::writing("bringing a file in", e))?;
            new = None;
        }
        let came = exists(&ours, &slot(at, OLD))?.or(new.filter(|stat| !is_staged(stat)));
        Ok(Outcome {
            came: came.map(|stat| validator_of(&stat, kind)),
            is_in: staged.is_some() && !new.as_ref().is_some_and(is_staged),
            now: now.map(|stat| validator_of(&stat, kind)),
        })
    }

    /// Where what came out lies.
    pub(super) fn came(&self, ours: &OwnedFd, at: Attempt, staged: Option<&Validator>) -> Result<String, SiloError> {
        if exists(ours, &slot(at, OLD))?.is_some() {
            return Ok(slot(at, OLD));
        }
        let new = exists(ours, &slot(at, NEW))?.ok_or_else(gone)?;
        let is_staged = staged.is_some_and(|staged| is_same(&new, self.root.kind, staged));
        if is_staged { Err(gone()) } else { Ok(slot(at, NEW)) }
    }

    pub(super) fn open(&self, at: Attempt, staged: Option<&Validator>) -> Result<(OwnedFd, Stat), SiloError> {
        let ours = self.ours()?;
        let path = self.came(&ours, at, staged)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = fs::openat2(&ours, path, flags, Mode::empty(), PLAIN);
        let file = file.map_err(|e| errno::reading("opening what came out", e))?;
        let stat = fs::fstat(&file).map_err(|e| errno::reading("looking at what came out", e))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, stat)),
            _ => Err(SiloError::mismatch("what came out is no plain file")),
        }
    }

    pub(super) fn give(&self, at: Attempt, staged: Option<&Validator>, name: &[u8]) -> Result<bool, SiloError> {
        let ours = self.ours()?;
        let came = self.came(&ours, at, staged)?;
        let vanished = || SiloError::not_done("the folder vanishes as it is made");
        let (parent, leaf) = match self.parent(name, true) {
            Err(SiloError::Mismatch { .. }) => return Ok(false),
            Err(SiloError::Missing) => return Err(vanished()),
            found => found?,
        };
        match rename(&ours, &came, &parent, leaf) {
            Ok(()) => {}
            Err(Errno::EXIST) if is_linked(&ours, &came, &parent, leaf) => {
                // Whoever linked it did not come to its end.
                fs::unlinkat(&ours, &came, AtFlags::empty()).map_err(|e| errno::writing("giving a file back", e))?;
            }
            Err(Errno::EXIST | Errno::NAMETOOLONG) => return Ok(false),
            Err(Errno::NOENT) if exists(&ours, &came)?.is_some() => return Err(vanished()),
            Err(Errno::NOENT) => return Err(gone()),
            Err(e) if is_closed(e) => return Err(SiloError::mismatch(format!("giving a file back: {e}"))),
            Err(e) => return Err(errno::writing("giving a file back", e)),
        }
        flush(&parent)?;
        flush(folder(&ours, at)?)?;
        Ok(true)
    }

    /// Whether a name could be a file's as the tree is.
    pub(super) fn may_be(&self, name: &[u8]) -> Result<(), SiloError> {
        if name.split(|byte| *byte == b'/').any(|segment| segment.len() > MAX_SEGMENT) {
            return Err(SiloError::mismatch("a name is too long for the file system"));
        }
        let (parent, leaf) = match self.parent(name, false) {
            Err(SiloError::Missing) => return Ok(()),
            found => found?,
        };
        let stat = fs::fstat(&parent).map_err(|e| errno::reading("looking at a folder", e))?;
        if stat.st_dev != self.root.device {
            return Err(SiloError::mismatch("another file system is mounted there"));
        }
        if let Err(e) = fs::accessat(&parent, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            && is_closed(e)
        {
            return Err(SiloError::mismatch(format!("its folder is closed to us: {e}")));
        }
        match what(&parent, leaf)? {
            None | Some(FileType::RegularFile) => Ok(()),
            Some(FileType::Directory) if is_empty(&parent, leaf) => Ok(()),
            Some(FileType::Directory) => Err(SiloError::mismatch("a folder has its name")),
            Some(_) => Err(SiloError::mismatch("what has its name is no plain file")),
        }
    }

    /// Removes an attempt if what came out is still that.
    pub(super) fn discard_known(
        &self,
        at: Attempt,
        name: &[u8],
        known: &Validator,
        staged: Option<&Validator>,
    ) -> Result<bool, SiloError> {
        match self.look(at, name, staged) {
            Ok(outcome) if outcome.came.as_ref().is_some_and(|came| came != known) => Ok(false),
            Ok(_) | Err(SiloError::Missing) => self.discard(at).map(|()| true),
            Err(error) => Err(error),
        }
    }
}
