//! Whether a file system can be written to as others do.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::calls::{exists, rename};
use super::place::{ACCENT, PLAIN, PRIVATE, Place, SPELLED, USUAL_FILE};
use crate::error::SiloError;
use crate::posix::errno;
use crate::posix::root::random;
use crate::posix::tree::FOLDER;

impl Place {
    /// Tries out what is needed, in a folder beside the attempts.
    pub(super) fn fit(&self) -> Result<Vec<String>, SiloError> {
        let kind = self.root.kind;
        if !kind.keeps_inodes() {
            let reason = format!("files on `{}` have no lasting numbers: it can only be read-only", kind.name);
            return Err(SiloError::not_done(reason));
        }
        let (ours, folder) = (self.make_ours()?, format!("probe-{:016x}", random()?));
        fs::mkdirat(&ours, &folder, PRIVATE).map_err(|e| errno::creating("making a folder to try out", e))?;
        let at = fs::openat2(&ours, &folder, FOLDER, Mode::empty(), PLAIN);
        let tried = at.map_err(|e| errno::reading("opening a folder", e)).and_then(|at| self.try_out(&at));
        for name in ["a", "b", "c", ACCENT] {
            let _ = fs::unlinkat(&ours, format!("{folder}/{name}"), AtFlags::empty());
        }
        let _ = fs::unlinkat(&ours, &folder, AtFlags::REMOVEDIR);
        tried
    }

    pub(super) fn try_out(&self, at: &OwnedFd) -> Result<Vec<String>, SiloError> {
        let failed = |e: Errno| SiloError::not_done(format!("it cannot be written to as others do: {e}"));
        for name in ["a", "b", ACCENT] {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            fs::openat(at, name, flags, USUAL_FILE).map_err(failed)?;
        }
        for other in ["A", SPELLED] {
            if exists(at, other)?.is_some() {
                return Err(SiloError::not_done("it takes different names for one: it can only be read-only"));
            }
        }
        let mut notes = Vec::new();
        if !self.exchanges || fs::renameat_with(at, "a", at, "b", RenameFlags::EXCHANGE).is_err() {
            notes.push("no exchange: others briefly see a name missing while its file is replaced".to_owned());
        }
        match rename(at, "a", at, "b") {
            Err(Errno::EXIST) => {}
            Ok(()) => {
                return Err(SiloError::not_done(
                    "its renames replace what they were told not to: it can only be read-only",
                ));
            }
            Err(e) => return Err(failed(e)),
        }
        rename(at, "a", at, "c").map_err(failed)?;
        notes.push(
            "open writers: what is written through a file opened before it was replaced is kept for the grace period"
                .to_owned(),
        );
        Ok(notes)
    }
}
