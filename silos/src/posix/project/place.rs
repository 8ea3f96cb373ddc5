//! Where attempts are, and what is staged in them.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::calls::{exists, flush, folder, gone, is_closed, slot};
use crate::error::SiloError;
use crate::posix::errno;
use crate::posix::tree::{BENEATH, FOLDER, Root, is_ours, is_plain, validator_of};
use crate::projections::Attempt;
use crate::silo::Validator;

/// Where attempts are.
pub(super) const ATTEMPTS: &str = ".holdall";
/// What is staged, and after an exchange what came out.
pub(super) const NEW: &str = "new";
/// What was renamed aside.
pub(super) const OLD: &str = "old";
/// Ours alone.
pub(super) const PRIVATE: Mode = Mode::RWXU;
/// As anybody makes them: the process's umask is heeded.
pub(super) const USUAL_FOLDER: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
pub(super) const USUAL_FILE: Mode = Mode::from_raw_mode(0o666);
pub(super) const PLAIN: ResolveFlags = BENEATH.union(ResolveFlags::NO_SYMLINKS);
/// One letter, and the same spelled as two: a file system that changes spellings loses keys.
pub(super) const ACCENT: &str = "\u{e9}";
pub(super) const SPELLED: &str = "e\u{301}";
/// Others may come and go between a look and a call; not for ever.
pub(super) const TRIES: usize = 16;

/// An open root. All calls may block.
pub(super) struct Place {
    pub(super) root: Arc<Root>,
    pub(super) namespace: Arc<str>,
    pub(super) exchanges: bool,
}

impl Place {
    /// The folder of all attempts of the namespace. Where it is not there, another folder stands in the tree's place.
    pub(super) fn ours(&self) -> Result<OwnedFd, SiloError> {
        let all = self.private(&self.root.dir, ATTEMPTS)?;
        self.private(&all, &self.namespace)
    }

    /// A folder that nobody else can change.
    pub(super) fn private(&self, within: &OwnedFd, name: &str) -> Result<OwnedFd, SiloError> {
        let opened = fs::openat2(within, name, FOLDER, Mode::empty(), PLAIN).map_err(|e| match e {
            Errno::NOENT => SiloError::mismatch(format!(
                "`{name}` is not there, where what goes into the folder is made ready: is it mounted? Else let the silo be \
                 read-only and then read-write again"
            )),
            e => SiloError::mismatch(format!("`{name}` does not open: {e}")),
        })?;
        let stat = fs::fstat(&opened).map_err(|e| SiloError::not_done(format!("looking at `{name}`: {e}")))?;
        // Servers make root somebody else.
        let owned = !self.root.kind.local || stat.st_uid == rustix::process::geteuid().as_raw();
        if !owned || stat.st_dev != self.root.device {
            return Err(SiloError::mismatch(format!("`{name}` is not a folder of ours alone")));
        }
        // Somebody may have changed the modes of the whole tree.
        if stat.st_mode & 0o077 != 0 {
            fs::fchmod(&opened, PRIVATE)
                .map_err(|e| SiloError::mismatch(format!("`{name}` stays open to others: {e}")))?;
        }
        Ok(opened)
    }

    /// Makes it where it is missing.
    pub(super) fn make_ours(&self) -> Result<OwnedFd, SiloError> {
        let made = |within: &OwnedFd, name: &str| match fs::mkdirat(within, name, PRIVATE) {
            Ok(()) => flush(within),
            Err(Errno::EXIST) => Ok(()),
            Err(e) => Err(errno::creating("making the folder of attempts", e)),
        };
        made(&self.root.dir, ATTEMPTS)?;
        made(&self.private(&self.root.dir, ATTEMPTS)?, &self.namespace)?;
        self.ours()
    }

    /// The folder that a name is in, made where it is missing, and the name in it.
    pub(super) fn parent<'n>(&self, name: &'n [u8], make: bool) -> Result<(OwnedFd, &'n OsStr), SiloError> {
        if is_ours(name) || !is_plain(name) {
            return Err(SiloError::mismatch("no file can have this name"));
        }
        let (path, leaf) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&name[..at], &name[at + 1..]),
            None => (&b"."[..], name),
        };
        let open = |path: &[u8]| fs::openat2(&self.root.dir, OsStr::from_bytes(path), FOLDER, Mode::empty(), PLAIN);
        let opened = match open(path) {
            Err(Errno::NOENT) if make => self.make_folders(path).and_then(|()| open(path)),
            opened => opened,
        };
        let folder = opened.map_err(|e| match e {
            Errno::NOENT => gone(),
            Errno::NOTDIR => SiloError::mismatch("a file has the name of its folder"),
            Errno::LOOP => SiloError::mismatch("a link has the name of its folder"),
            Errno::NAMETOOLONG => SiloError::mismatch("a name is too long for the file system"),
            e if is_closed(e) => SiloError::mismatch(format!("its folder is closed to us: {e}")),
            e => errno::reading("opening a folder", e),
        })?;
        Ok((folder, OsStr::from_bytes(leaf)))
    }

    pub(super) fn make_folders(&self, path: &[u8]) -> Result<(), Errno> {
        let mut above = self.root.dir.try_clone().map_err(|_| Errno::MFILE)?;
        for segment in path.split(|byte| *byte == b'/') {
            let name = OsStr::from_bytes(segment);
            match fs::mkdirat(&above, name, USUAL_FOLDER) {
                // Whoever made it may not have come to flush it.
                Ok(()) | Err(Errno::EXIST) => flush(&above).map_err(|_| Errno::IO)?,
                Err(e) => return Err(e),
            }
            above = fs::openat2(&above, name, FOLDER, Mode::empty(), PLAIN)?;
        }
        Ok(())
    }

    pub(super) fn make(&self, at: Attempt) -> Result<(), SiloError> {
        let ours = self.ours()?;
        fs::mkdirat(&ours, at.to_string(), PRIVATE).map_err(|e| errno::creating("making an attempt's folder", e))?;
        flush(&ours)
    }

    /// Makes the file to be staged, with mode and owner of what has the name.
    pub(super) fn create(&self, at: Attempt, name: &[u8]) -> Result<File, SiloError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = fs::openat(self.ours()?, slot(at, NEW), flags, USUAL_FILE);
        let file = file.map_err(|e| errno::creating("making a file", e))?;
        let there = self.parent(name, false).ok();
        let there = there.and_then(|(folder, leaf)| fs::statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW).ok());
        if let Some(stat) = there.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
            let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            // Who may not give files away makes them his own. What runs as its owner never runs what S3 wrote.
            if fs::fchown(&file, Some(owner), Some(group)).is_err() {
                let _ = fs::fchown(&file, None, Some(group));
            }
            let mode = stat.st_mode & 0o777;
            fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(|e| errno::writing("setting a file's mode", e))?;
        }
        Ok(File::from(file))
    }

    pub(super) fn finish(&self, at: Attempt, file: &File, modified: i64) -> Result<Validator, SiloError> {
        let time = Timespec { tv_sec: modified.div_euclid(1000), tv_nsec: modified.rem_euclid(1000) * 1_000_000 };
        let times = Timestamps { last_access: time, last_modification: time };
        fs::futimens(file, &times).map_err(|e| errno::writing("setting a file's time", e))?;
        fs::fsync(file).map_err(|e| errno::writing("flushing a file", e))?;
        flush(folder(&self.ours()?, at)?)?;
        let stat = fs::fstat(file).map_err(|e| errno::writing("looking at a file", e))?;
        Ok(validator_of(&stat, self.root.kind))
    }

    /// From whichever earlier owner's name it has: one may have been written down and died before it renamed anything.
    pub(super) fn take_over(&self, to: Attempt) -> Result<bool, SiloError> {
        let ours = self.ours()?;
        for _ in 0..TRIES {
            if exists(&ours, &to.to_string())?.is_some() {
                return Ok(true);
            }
            let earlier = |at: &Attempt| at.number == to.number && at.owner < to.owner;
            let Some(from) = self.attempts()?.into_iter().find(earlier) else { return Ok(false) };
            match fs::renameat(&ours, from.to_string(), &ours, to.to_string()) {
                Ok(()) => {
                    flush(&ours)?;
                    return Ok(true);
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(errno::writing("taking an attempt over", e)),
            }
        }
        Err(SiloError::unknown("an attempt is taken over as often as it is looked at"))
    }

    pub(super) fn discard(&self, at: Attempt) -> Result<(), SiloError> {
        let ours = self.ours()?;
        for name in [NEW, OLD] {
            match fs::unlinkat(&ours, slot(at, name), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) if is_closed(e) => return Err(SiloError::mismatch(format!("removing an attempt: {e}"))),
                Err(e) => return Err(errno::writing("removing an attempt", e)),
            }
        }
        match fs::unlinkat(&ours, at.to_string(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(errno::writing("removing an attempt", e)),
        }
    }

    pub(super) fn attempts(&self) -> Result<Vec<Attempt>, SiloError> {
        let failed = |e| errno::reading("listing attempts", e);
        let mut all = Vec::new();
        for entry in Dir::read_from(self.ours()?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let attempt: Option<Attempt> = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            all.extend(attempt);
        }
        Ok(all)
    }
}
