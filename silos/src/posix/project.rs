//! Files brought into a tree that others write to as well, and taken out of it.
//!
//! Attempts lie in `.holdall` at the tree's root. A file and a name change places in one call where the file system can do
//! that; elsewhere the file that has the name is renamed aside first, and others briefly see none. Neither ever replaces
//! what it did not take out. Every call names the attempt's folder by its path, so that a call of an owner who lost it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::fs::{
    self, AtFlags, Dir, FileType, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::error::SiloError;
use crate::exact::Exact;
use crate::limits::WRITE_STEP;
use crate::posix::errno;
use crate::posix::kind::Kind;
use crate::posix::read::read_exact;
use crate::posix::root::random;
use crate::posix::tree::{BENEATH, FOLDER, Root, Tree, is_ours, is_plain, same_file, validator_of};
use crate::posix::write::{flush_limit, write_pieces};
use crate::projections::{Attempt, Outcome, Projections, Staging};
use crate::silo::{Pieces, Validator};
use crate::span;

/// Where attempts are.
const ATTEMPTS: &str = ".holdall";
/// What is staged, and after an exchange what came out.
const NEW: &str = "new";
/// What was renamed aside.
const OLD: &str = "old";
/// Ours alone.
const PRIVATE: Mode = Mode::RWXU;
/// As anybody makes them: the process's umask is heeded.
const USUAL_FOLDER: Mode = Mode::RWXU.union(Mode::RWXG).union(Mode::RWXO);
const USUAL_FILE: Mode = Mode::from_raw_mode(0o666);
const PLAIN: ResolveFlags = BENEATH.union(ResolveFlags::NO_SYMLINKS);
/// One letter, and the same spelled as two: a file system that changes spellings loses keys.
const ACCENT: &str = "\u{e9}";
const SPELLED: &str = "e\u{301}";
/// Others may come and go between a look and a call; not for ever.
const TRIES: usize = 16;

/// A folder that others write to as well.
pub struct Shared {
    tree: Tree,
    /// Whose attempts they are: others' lie beside.
    namespace: Arc<str>,
    exchanges: bool,
}

impl Shared {
    /// What lies below `path`, with attempts of one namespace; touches nothing.
    pub fn new(path: &Path, namespace: &str) -> Self {
        Self { tree: Tree::new(path), namespace: namespace.into(), exchanges: true }
    }

    /// The same as if its file system could not exchange two names.
    #[cfg(any(test, feature = "memory"))]
    #[must_use]
    pub fn without_exchange(self) -> Self {
        Self { exchanges: false, ..self }
    }

    async fn place(&self) -> Result<Place, SiloError> {
        let (namespace, exchanges) = (Arc::clone(&self.namespace), self.exchanges);
        Ok(Place { root: self.tree.root().await?, namespace, exchanges })
    }

    /// Does work whose outcome is not known when its answer is lost.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, SiloError> + Send + 'static,
    ) -> Result<T, SiloError> {
        let place = self.place().await?;
        self.tree.pool().write(move || work(&place)).await
    }
}

#[async_trait]
impl Projections for Shared {
    async fn fit(&self) -> Result<Vec<String>, SiloError> {
        self.change(Place::fit).await
    }

    async fn stage(&self, at: Attempt, file: Option<Staging>) -> Result<Option<Validator>, SiloError> {
        let Some(Staging { body, size, modified, name }) = file else {
            return self.change(move |place| place.make(at).map(|()| None)).await;
        };
        let mut file = self.change(move |place| place.make(at).and_then(|()| place.create(at, &name))).await?;
        let (pool, mut body) = (self.tree.pool(), Exact::new(body, size));
        let (mut step, mut gathered) = (Vec::new(), 0);
        while let Some(piece) = body.next().await? {
            gathered += piece.len();
            step.push(piece);
            if gathered >= WRITE_STEP {
                let pieces = std::mem::take(&mut step);
                gathered = 0;
                file = pool.write(move || write_pieces(&mut file, &pieces).map(|()| file)).await?;
            }
        }
        let place = self.place().await?;
        let finish = move || {
            write_pieces(&mut file, &step)?;
            place.finish(at, &file, modified)
        };
        pool.start(finish).within(flush_limit(size)).await?.map(Some)
    }

    async fn bring(&self, at: Attempt, staged: &Validator, name: &[u8]) -> Result<(), SiloError> {
        let (name, staged) = (name.to_owned(), staged.clone());
        self.change(move |place| place.bring(at, &staged, &name)).await
    }

    async fn take(&self, at: Attempt, name: &[u8]) -> Result<(), SiloError> {
        let name = name.to_owned();
        self.change(move |place| place.take(at, &name)).await
    }

    async fn look(&self, at: Attempt, name: &[u8], staged: Option<&Validator>) -> Result<Outcome, SiloError> {
        let (name, staged) = (name.to_owned(), staged.cloned());
        self.change(move |place| place.look(at, &name, staged.as_ref())).await
    }

    async fn read(&self, at: Attempt, came: &Validator, staged: Option<&Validator>) -> Result<Pieces, SiloError> {
        let (known, staged, place) = (came.clone(), staged.cloned(), self.place().await?);
        let open = move || place.open(at, staged.as_ref()).map(|(file, stat)| (file, stat, place.root.kind));
        let (file, stat, kind) = self.tree.pool().read(open).await?;
        let (pool, file, size) = (self.tree.pool().clone(), Arc::new(file), stat.st_size as u64);
        let pieces = stream::try_unfold(span::blocks(size, 0..size)?, move |mut blocks| {
            let (pool, file, known) = (pool.clone(), Arc::clone(&file), known.clone());
            async move {
                let Some(block) = blocks.next() else { return Ok(None) };
                let piece = pool.read(move || block_of(&file, kind, block, &known)).await?;
                Ok(Some((piece, blocks)))
            }
        });
        Ok(pieces.boxed())
    }

    async fn give(&self, at: Attempt, staged: Option<&Validator>, name: &[u8]) -> Result<bool, SiloError> {
        let (name, staged) = (name.to_owned(), staged.cloned());
        self.change(move |place| place.give(at, staged.as_ref(), &name)).await
    }

    async fn take_over(&self, to: Attempt) -> Result<bool, SiloError> {
        self.change(move |place| place.take_over(to)).await
    }

    async fn may_be(&self, name: &[u8]) -> Result<(), SiloError> {
        let (name, place) = (name.to_owned(), self.place().await?);
        self.tree.pool().read(move || place.may_be(&name)).await
    }

    async fn discard_known(
        &self,
        at: Attempt,
        name: &[u8],
        known: &Validator,
        staged: Option<&Validator>,
    ) -> Result<bool, SiloError> {
        let (name, known, staged) = (name.to_owned(), known.clone(), staged.cloned());
        self.change(move |place| place.discard_known(at, &name, &known, staged.as_ref())).await
    }

    async fn discard(&self, at: Attempt) -> Result<(), SiloError> {
        self.change(move |place| place.discard(at)).await
    }

    async fn attempts(&self) -> Result<Vec<Attempt>, SiloError> {
        let place = self.place().await?;
        self.tree.pool().read(move || place.attempts()).await
    }
}

/// A block of a file that is still what it was.
fn block_of(file: &OwnedFd, kind: Kind, block: std::ops::Range<u64>, known: &Validator) -> Result<Bytes, SiloError> {
    let mut buffer = Buffer::new((block.end - block.start) as usize);
    read_exact(file, buffer.as_mut(), block.start, "reading a file")?;
    let stat = fs::fstat(file).map_err(|e| errno::reading("looking at a file", e))?;
    if validator_of(&stat, kind) == *known {
        Ok(buffer.freeze())
    } else {
        Err(SiloError::mismatch("the file was changed while it was read"))
    }
}

/// An open root. All calls may block.
struct Place {
    root: Arc<Root>,
    namespace: Arc<str>,
    exchanges: bool,
}

/// What of an attempt lies where.
fn slot(at: Attempt, slot: &str) -> String {
    format!("{at}/{slot}")
}

/// Calls that a file system does not have.
fn is_unknown(e: Errno) -> bool {
    matches!(e, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
}

/// What stays so until somebody changes the tree.
fn is_closed(e: Errno) -> bool {
    matches!(e, Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::XDEV)
}

fn gone() -> SiloError {
    SiloError::Missing
}

fn exists(folder: &OwnedFd, path: &str) -> Result<Option<Stat>, SiloError> {
    match fs::statat(folder, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(SiloError::not_done(format!("looking at an attempt: {e}"))),
    }
}

fn flush(folder: impl AsFd) -> Result<(), SiloError> {
    match fs::fsync(folder) {
        // Their server makes names durable by itself, or nothing does.
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::BADF) => Ok(()),
        Err(e) => Err(errno::writing("flushing a folder", e)),
    }
}

/// An attempt's folder.
fn folder(ours: &OwnedFd, at: Attempt) -> Result<OwnedFd, SiloError> {
    match fs::openat2(ours, at.to_string(), FOLDER, Mode::empty(), PLAIN) {
        Err(Errno::NOENT) => Err(gone()),
        opened => opened.map_err(|e| errno::reading("opening an attempt's folder", e)),
    }
}

/// Renames where nothing has the new name.
fn rename(from: &OwnedFd, old: impl AsRef<OsStr>, to: &OwnedFd, new: impl AsRef<OsStr>) -> Result<(), Errno> {
    let (old, new) = (old.as_ref(), new.as_ref());
    match fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        Err(e) if is_unknown(e) => {
            fs::linkat(from, old, to, new, AtFlags::empty()).and_then(|()| fs::unlinkat(from, old, AtFlags::empty()))
        }
        renamed => renamed,
    }
}

impl Place {
    /// The folder of all attempts of the namespace. Where it is not there, another folder stands in the tree's place.
    fn ours(&self) -> Result<OwnedFd, SiloError> {
        let all = self.private(&self.root.dir, ATTEMPTS)?;
        self.private(&all, &self.namespace)
    }

    /// A folder that nobody else can change.
    fn private(&self, within: &OwnedFd, name: &str) -> Result<OwnedFd, SiloError> {
        let opened = fs::openat2(within, name, FOLDER, Mode::empty(), PLAIN).map_err(|e| match e {
            Errno::NOENT => SiloError::not_done(format!(
                "`{name}` is not there, where what goes into the folder is made ready: is it mounted? `holdall silo probe` makes it anew"
            )),
            e => SiloError::not_done(format!("opening `{name}`: {e}")),
        })?;
        let stat = fs::fstat(&opened).map_err(|e| SiloError::not_done(format!("looking at `{name}`: {e}")))?;
        // Servers make root somebody else.
        let owned = !self.root.kind.local || stat.st_uid == rustix::process::geteuid().as_raw();
        if !owned || stat.st_mode & 0o077 != 0 || stat.st_dev != self.root.device {
            return Err(SiloError::not_done(format!("`{name}` is not a folder of ours alone")));
        }
        Ok(opened)
    }

    /// Makes it where it is missing.
    fn make_ours(&self) -> Result<OwnedFd, SiloError> {
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
    fn parent<'n>(&self, name: &'n [u8], make: bool) -> Result<(OwnedFd, &'n OsStr), SiloError> {
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

    fn make_folders(&self, path: &[u8]) -> Result<(), Errno> {
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

    fn make(&self, at: Attempt) -> Result<(), SiloError> {
        let ours = self.ours()?;
        fs::mkdirat(&ours, at.to_string(), PRIVATE).map_err(|e| errno::creating("making an attempt's folder", e))?;
        flush(&ours)
    }

    /// Makes the file to be staged, with mode and owner of what has the name.
    fn create(&self, at: Attempt, name: &[u8]) -> Result<File, SiloError> {
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

    fn finish(&self, at: Attempt, file: &File, modified: i64) -> Result<Validator, SiloError> {
        let time = Timespec { tv_sec: modified.div_euclid(1000), tv_nsec: modified.rem_euclid(1000) * 1_000_000 };
        let times = Timestamps { last_access: time, last_modification: time };
        fs::futimens(file, &times).map_err(|e| errno::writing("setting a file's time", e))?;
        fs::fsync(file).map_err(|e| errno::writing("flushing a file", e))?;
        flush(folder(&self.ours()?, at)?)?;
        let stat = fs::fstat(file).map_err(|e| errno::writing("looking at a file", e))?;
        Ok(validator_of(&stat, self.root.kind))
    }

    fn bring(&self, at: Attempt, staged: &Validator, name: &[u8]) -> Result<(), SiloError> {
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
    fn exchange(&self, ours: &OwnedFd, new: &str, old: &str, parent: &OwnedFd, leaf: &OsStr) -> Result<(), Errno> {
        if self.exchanges {
            match fs::renameat_with(ours, new, parent, leaf, RenameFlags::EXCHANGE) {
                Err(e) if is_unknown(e) => {}
                exchanged => return exchanged,
            }
        }
        aside(parent, leaf, ours, old).and(Err(Errno::AGAIN))
    }

    fn take(&self, at: Attempt, name: &[u8]) -> Result<(), SiloError> {
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

    fn look(&self, at: Attempt, name: &[u8], staged: Option<&Validator>) -> Result<Outcome, SiloError> {
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
    fn came(&self, ours: &OwnedFd, at: Attempt, staged: Option<&Validator>) -> Result<String, SiloError> {
        if exists(ours, &slot(at, OLD))?.is_some() {
            return Ok(slot(at, OLD));
        }
        let new = exists(ours, &slot(at, NEW))?.ok_or_else(gone)?;
        let is_staged = staged.is_some_and(|staged| is_same(&new, self.root.kind, staged));
        if is_staged { Err(gone()) } else { Ok(slot(at, NEW)) }
    }

    fn open(&self, at: Attempt, staged: Option<&Validator>) -> Result<(OwnedFd, Stat), SiloError> {
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

    fn give(&self, at: Attempt, staged: Option<&Validator>, name: &[u8]) -> Result<bool, SiloError> {
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
            Err(e) => return Err(errno::writing("giving a file back", e)),
        }
        flush(&parent)?;
        flush(folder(&ours, at)?)?;
        Ok(true)
    }

    /// Whether a name could be a file's as the tree is.
    fn may_be(&self, name: &[u8]) -> Result<(), SiloError> {
        let (parent, leaf) = match self.parent(name, false) {
            Err(SiloError::Missing) => return Ok(()),
            found => found?,
        };
        match what(&parent, leaf)? {
            None | Some(FileType::RegularFile | FileType::Directory) => Ok(()),
            Some(_) => Err(SiloError::mismatch("what has its name is no plain file")),
        }
    }

    /// Removes an attempt if what came out is still that.
    fn discard_known(
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

    /// From whichever earlier owner's name it has: one may have been written down and died before it renamed anything.
    fn take_over(&self, to: Attempt) -> Result<bool, SiloError> {
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

    fn discard(&self, at: Attempt) -> Result<(), SiloError> {
        let ours = self.ours()?;
        for name in [NEW, OLD] {
            match fs::unlinkat(&ours, slot(at, name), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(errno::writing("removing an attempt", e)),
            }
        }
        match fs::unlinkat(&ours, at.to_string(), AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(errno::writing("removing an attempt", e)),
        }
    }

    fn attempts(&self) -> Result<Vec<Attempt>, SiloError> {
        let failed = |e| errno::reading("listing attempts", e);
        let mut all = Vec::new();
        for entry in Dir::read_from(self.ours()?).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let attempt: Option<Attempt> = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
            all.extend(attempt);
        }
        Ok(all)
    }

    /// Tries out what is needed, in a folder beside the attempts.
    fn fit(&self) -> Result<Vec<String>, SiloError> {
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

    fn try_out(&self, at: &OwnedFd) -> Result<Vec<String>, SiloError> {
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
        if !self.root.kind.local {
            notes.push("open writers: what is written through a file opened before it was replaced is kept for the grace period".to_owned());
        }
        Ok(notes)
    }
}

fn is_same(stat: &Stat, kind: Kind, known: &Validator) -> bool {
    same_file(&validator_of(stat, kind), known)
}

/// Whether both names are one file's.
fn is_linked(ours: &OwnedFd, came: &str, parent: &OwnedFd, leaf: &OsStr) -> bool {
    let [here, there] = [(ours, OsStr::new(came)), (parent, leaf)]
        .map(|(folder, name)| fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok());
    here.zip(there).is_some_and(|(here, there)| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino))
}

/// What has a name.
fn what(parent: &OwnedFd, leaf: &OsStr) -> Result<Option<FileType>, SiloError> {
    match fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::NAMETOOLONG) => Err(SiloError::mismatch("a name is too long for the file system")),
        Err(e) => Err(errno::reading("looking at a name", e)),
    }
}

/// Renames what has a name into an attempt, which has nothing there.
fn aside(parent: &OwnedFd, leaf: &OsStr, ours: &OwnedFd, old: &str) -> Result<(), Errno> {
    match fs::renameat_with(parent, leaf, ours, old, RenameFlags::NOREPLACE) {
        Err(e) if is_unknown(e) => fs::renameat(parent, leaf, ours, old),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::PathBuf;

    use crate::holdings::Holdings;
    use crate::silo::collect;

    const AT: Attempt = Attempt { number: (7, 10), owner: 1 };
    const THEIRS: Attempt = Attempt { owner: 2, ..AT };

    struct House {
        at: tempfile::TempDir,
        shared: Shared,
    }

    impl House {
        /// With and without what only some file systems can do.
        fn both() -> [Self; 2] {
            let new = || {
                let at = tempfile::tempdir().unwrap();
                let shared = Shared::new(at.path(), "ns");
                Self { at, shared }
            };
            let (one, other) = (new(), new());
            for house in [&one, &other] {
                for folder in [".holdall", ".holdall/ns"] {
                    std::fs::create_dir(house.path(folder)).unwrap();
                    std::fs::set_permissions(house.path(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
                }
            }
            [one, Self { shared: other.shared.without_exchange(), ..other }]
        }

        fn path(&self, name: &str) -> PathBuf {
            self.at.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            std::fs::write(self.path(name), text).unwrap();
        }

        fn text(&self, name: &str) -> Option<String> {
            std::fs::read_to_string(self.path(name)).ok()
        }

        async fn stage(&self, name: &str, text: &str) -> Validator {
            let body = stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed();
            let file = Staging { body, size: text.len() as u64, modified: 1_700_000_000_123, name: name.into() };
            self.shared.stage(AT, Some(file)).await.unwrap().unwrap()
        }

        async fn seen(&self, name: &str) -> Validator {
            Tree::new(self.at.path()).look(name.as_bytes()).await.unwrap().validator
        }

        async fn out(&self, staged: Option<&Validator>, came: &Validator) -> String {
            let pieces = self.shared.read(AT, came, staged).await.unwrap();
            String::from_utf8(collect(pieces).await.unwrap().to_vec()).unwrap()
        }
    }

    #[tokio::test]
    async fn a_file_takes_a_name_and_what_had_it_comes_out() {
        for house in House::both() {
            house.write("a/k", "before");
            std::fs::set_permissions(house.path("a/k"), std::fs::Permissions::from_mode(0o640)).unwrap();
            let before = house.seen("a/k").await;
            let staged = house.stage("a/k", "after").await;
            assert_eq!(house.text("a/k").unwrap(), "before", "nothing happens yet");
            house.shared.bring(AT, &staged, b"a/k").await.unwrap();
            let _ = house.shared.bring(AT, &staged, b"a/k").await;
            let outcome = house.shared.look(AT, b"a/k", Some(&staged)).await.unwrap();
            let (came, now) = (outcome.came.unwrap(), outcome.now.unwrap());
            assert!(outcome.is_in && same_file(&came, &before) && same_file(&now, &staged));
            assert_eq!(now, house.seen("a/k").await);
            assert_eq!(
                (house.text("a/k").unwrap(), house.out(Some(&staged), &came).await),
                ("after".into(), "before".into())
            );
            let meta = std::fs::metadata(house.path("a/k")).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o640, 1_700_000_000, 123_000_000));
            house.shared.discard(AT).await.unwrap();
            assert_eq!(house.shared.attempts().await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_new_name_gets_its_folders_and_a_taken_one_keeps_them() {
        for house in House::both() {
            let staged = house.stage("x/y/k", "one").await;
            house.shared.bring(AT, &staged, b"x/y/k").await.unwrap();
            let outcome = house.shared.look(AT, b"x/y/k", Some(&staged)).await.unwrap();
            assert_eq!((outcome.came, outcome.is_in), (None, true));
            house.shared.discard(AT).await.unwrap();
            house.shared.stage(AT, None).await.unwrap();
            house.shared.take(AT, b"x/y/k").await.unwrap();
            house.shared.take(AT, b"x/y/k").await.unwrap();
            let outcome = house.shared.look(AT, b"x/y/k", None).await.unwrap();
            assert_eq!((house.text("x/y/k"), outcome.is_in, outcome.now), (None, false, None));
            assert!(same_file(&outcome.came.unwrap(), &staged));
            assert!(house.path("x/y").is_dir());
            house.write("x/y/k", "another's");
            assert!(!house.shared.give(AT, None, b"x/y/k").await.unwrap(), "never over what others put there");
            assert!(house.shared.give(AT, None, b"x/y/k2").await.unwrap());
            assert_eq!(
                (house.text("x/y/k").unwrap(), house.text("x/y/k2").unwrap()),
                ("another's".into(), "one".into())
            );
        }
    }

    /// An owner that was frozen between two steps goes on after somebody else took its attempt over.
    #[tokio::test]
    async fn who_lost_an_attempt_changes_nothing() {
        for house in House::both() {
            house.write("k", "before");
            let staged = house.stage("k", "after").await;
            assert!(house.shared.take_over(THEIRS).await.unwrap());
            assert!(house.shared.take_over(THEIRS).await.unwrap(), "asked again");
            let late = [house.shared.bring(AT, &staged, b"k").await, house.shared.take(AT, b"k").await];
            assert_eq!(late, [Err(SiloError::Missing), Err(SiloError::Missing)]);
            assert!(house.shared.look(AT, b"k", None).await.is_err());
            assert_eq!(house.text("k").unwrap(), "before");
            assert_eq!(house.shared.attempts().await.unwrap(), [THEIRS]);
            house.shared.discard(THEIRS).await.unwrap();
            assert!(!house.shared.take_over(THEIRS).await.unwrap());
        }
    }

    #[tokio::test]
    async fn what_cannot_be_a_file_stays_what_it_is() {
        for house in House::both() {
            house.write("full/of", "x");
            house.write("file", "x");
            symlink("file", house.path("link")).unwrap();
            symlink("full", house.path("way")).unwrap();
            std::fs::create_dir(house.path("empty")).unwrap();
            let long = "n".repeat(256);
            for name in [
                "full",
                "link",
                "way/k",
                "file/k",
                &long,
                ".holdall/x",
                "a//b",
                "a/../b",
                "/a",
                "a/",
                "holdall-silo.json",
            ] {
                let staged = house.stage(name, "new").await;
                let refused = house.shared.bring(AT, &staged, name.as_bytes()).await;
                assert!(matches!(refused, Err(SiloError::Mismatch { .. })), "{name}: {refused:?}");
                house.shared.discard(AT).await.unwrap();
            }
            let staged = house.stage("empty", "new").await;
            house.shared.bring(AT, &staged, b"empty").await.unwrap();
            assert_eq!(house.text("empty").unwrap(), "new", "an empty folder holds nothing");
            house.shared.discard(AT).await.unwrap();
            house.shared.stage(AT, None).await.unwrap();
            for name in ["full", "link"] {
                assert!(matches!(house.shared.take(AT, name.as_bytes()).await, Err(SiloError::Mismatch { .. })));
            }
            house.shared.take(AT, b"no/such").await.unwrap();
        }
    }

    /// A gateway that took an attempt over by a commit, and died before it renamed the folder, left what had come out to be
    /// removed as an orphan.
    #[tokio::test]
    async fn an_attempt_is_taken_over_from_whoever_had_it() {
        for house in House::both() {
            house.write("k", "unseen");
            let staged = house.stage("k", "by S3").await;
            house.shared.bring(AT, &staged, b"k").await.unwrap();
            let third = Attempt { owner: 3, ..AT };
            assert!(house.shared.take_over(third).await.unwrap());
            let outcome = house.shared.look(third, b"k", Some(&staged)).await.unwrap();
            assert!(outcome.is_in && outcome.came.is_some());
        }
    }

    /// `.holdall` as a link, or of somebody else, would lead attempts out of the tree; where it is missing, nothing is
    /// mounted.
    #[tokio::test]
    async fn attempts_lie_in_a_folder_of_our_own() {
        let [house, _] = House::both();
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::remove_dir_all(house.path(".holdall")).unwrap();
        assert!(matches!(house.shared.stage(AT, None).await, Err(SiloError::NotDone { .. })));
        assert!(!house.path(".holdall").exists());
        symlink(elsewhere.path(), house.path(".holdall")).unwrap();
        assert!(matches!(house.shared.stage(AT, None).await, Err(SiloError::NotDone { .. })));
        assert!(house.shared.fit().await.is_err());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
        std::fs::remove_file(house.path(".holdall")).unwrap();
        std::fs::create_dir(house.path(".holdall")).unwrap();
        std::fs::set_permissions(house.path(".holdall"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(house.shared.fit().await.unwrap_err().to_string().contains("ours alone"));
    }

    /// A file that runs as root must not become one that runs what S3 wrote as root.
    #[tokio::test]
    async fn what_runs_as_its_owner_is_not_carried_over() {
        let [house, _] = House::both();
        house.write("k", "before");
        std::fs::set_permissions(house.path("k"), std::fs::Permissions::from_mode(0o6755)).unwrap();
        let staged = house.stage("k", "after").await;
        house.shared.bring(AT, &staged, b"k").await.unwrap();
        assert_eq!(std::fs::metadata(house.path("k")).unwrap().mode() & 0o7777, 0o755);
    }

    /// Others remove the folder that a file is about to get its name back in.
    #[tokio::test]
    async fn what_came_out_is_given_or_kept() {
        for house in House::both() {
            house.write("d/k", "unseen");
            house.shared.stage(AT, None).await.unwrap();
            house.shared.take(AT, b"d/k").await.unwrap();
            std::fs::remove_dir(house.path("d")).unwrap();
            std::fs::write(house.path("d"), "a file").unwrap();
            assert!(!house.shared.give(AT, None, b"d/k.conflict").await.unwrap());
            let came = house.shared.look(AT, b"d/k", None).await.unwrap().came.unwrap();
            std::fs::write(house.path(".holdall/ns/7-a.1/old"), "written to since").unwrap();
            assert!(!house.shared.discard_known(AT, b"d/k", &came, None).await.unwrap());
            std::fs::remove_file(house.path("d")).unwrap();
            assert!(house.shared.give(AT, None, b"d/k").await.unwrap());
            assert_eq!(house.text("d/k").unwrap(), "written to since");
            assert_eq!(house.shared.give(AT, None, b"d/k2").await, Err(SiloError::Missing));
        }
    }

    #[tokio::test]
    async fn a_local_disk_is_fit_and_says_what_it_lacks() {
        let [whole, plain] = House::both();
        assert_eq!(whole.shared.fit().await.unwrap(), Vec::<String>::new());
        assert!(plain.shared.fit().await.unwrap()[0].starts_with("no exchange"));
        assert_eq!(std::fs::read_dir(whole.path(".holdall/ns")).unwrap().count(), 0);
    }
}
