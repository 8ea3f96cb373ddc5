//! A folder that others own, seen as what it holds. Nothing is written, no link is followed out of it, and neither pipes nor
//! devices are opened.
//!
//! A file is known by inode (which FUSE makes up, so that it counts nothing there), size, and the times of its last
//! modification and change: whatever writes to it, replaces it, or sets its times back changes one of them, within the
//! grain of the file system's clock. A file that was changed short of that grain ago could be changed again unseen: it
//! is not read before the clock has ticked. Each block is read, and then the file is looked at again before the block
//! is handed on.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::buffer::Buffer;
use crate::error::SiloError;
use crate::facts::Facts;
use crate::holdings::{Found, Held, Holdings, Walk as Steps, Watch};
use crate::limits::{FOREIGN_DEPTH, FOREIGN_ENTRIES, MAX_SETTLING};
use crate::marker::MARKER;
use crate::posix::errno;
use crate::posix::handle::Handle;
use crate::posix::kind::{self, Kind};
use crate::posix::pool::Pool;
use crate::posix::read::read_exact;
use crate::posix::walk::{Item, Walk, Way};
use crate::posix::watch::TreeWatch;
use crate::silo::{Pieces, Validator};
use crate::span;

/// The last second of the year 9999: no date header can say more.
const LATEST: i64 = 253_402_300_799;
const LOST_AND_FOUND: &[u8] = b"lost+found/";
/// Names of ours in a tree that is ours to write to as well.
const OURS: &[u8] = b".holdall/";
/// A step of a walk gives what it has after this: a slow folder is walked all the same.
const STEPS: Duration = Duration::from_secs(5);
pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);
pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// A folder of others.
pub struct Tree {
    path: PathBuf,
    pool: Pool,
    root: Mutex<Option<Arc<Root>>>,
}

/// Its root, open.
pub(super) struct Root {
    pub(super) dir: OwnedFd,
    pub(super) device: u64,
    inode: u64,
    pub(super) kind: Kind,
}

impl Tree {
    /// What lies below `path`; touches nothing.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), pool: Pool::new(), root: Mutex::new(None) }
    }

    /// The same folder, its root to be opened again. The threads are the same.
    fn again(&self) -> Self {
        Self { path: self.path.clone(), pool: self.pool.clone(), root: Mutex::new(None) }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The root that stands under the path now. What is mounted there later is another one.
    pub(super) async fn root(&self) -> Result<Arc<Root>, SiloError> {
        let (path, before) = (self.path.clone(), self.root.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let root = self.pool.read(move || Root::open(&path, before)).await?;
        *self.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&root));
        Ok(root)
    }

    async fn open(&self, root: &Arc<Root>, name: &[u8]) -> Result<(Handle, Stat), SiloError> {
        let (root, name, pool) = (Arc::clone(root), name.to_owned(), self.pool.clone());
        self.pool.read(move || root.file(&name).map(|(file, stat)| (Handle::new(file, root.kind, &pool), stat))).await
    }
}

impl Root {
    /// Opens the root, or keeps the one from before where it is still the same. May block.
    pub(super) fn open(path: &Path, before: Option<Arc<Self>>) -> Result<Arc<Self>, SiloError> {
        let failed = |e: Errno| SiloError::not_done(format!("`{}`: {e}", path.display()));
        let found = fs::stat(path).map_err(failed)?;
        if let Some(before) = before.filter(|before| (before.device, before.inode) == (found.st_dev, found.st_ino)) {
            return Ok(before);
        }
        let dir = fs::openat(CWD, path, FOLDER, Mode::empty()).map_err(failed)?;
        let (found, kind) = (fs::fstat(&dir).map_err(failed)?, kind::of(&dir)?);
        Ok(Arc::new(Self { dir, device: found.st_dev, inode: found.st_ino, kind }))
    }

    /// Whether it is the same folder of the same mount.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Opens a file and looks at it. A link is followed as long as it leads nowhere else than beneath the root.
    fn file(&self, name: &[u8]) -> Result<(OwnedFd, Stat), SiloError> {
        let failed = |e| match e {
            Errno::XDEV => SiloError::mismatch("a link that leads out of the folder"),
            Errno::LOOP => SiloError::mismatch("a link that leads in a circle"),
            Errno::NOTDIR | Errno::NAMETOOLONG => SiloError::Missing,
            e => errno::reading("opening a file", e),
        };
        let file = fs::openat2(&self.dir, OsStr::from_bytes(name), FILE, Mode::empty(), BENEATH).map_err(failed)?;
        let stat = fs::fstat(&file).map_err(failed)?;
        match refusal(&stat) {
            Some(reason) => Err(SiloError::mismatch(reason)),
            None => Ok((file, stat)),
        }
    }

    fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        if is_ours(name) || !is_plain(name) {
            return Err(SiloError::Missing);
        }
        self.walkable(name)?;
        self.file(name).map(|(_, stat)| held(name.to_owned(), &stat, self.kind))
    }

    /// A walk comes to this name: it follows no link to a folder.
    fn walkable(&self, name: &[u8]) -> Result<(), SiloError> {
        let Some(at) = name.iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        let (folder, flags) = (OsStr::from_bytes(&name[..at]), OFlags::PATH.union(FOLDER));
        match fs::openat2(&self.dir, folder, flags, Mode::empty(), BENEATH.union(ResolveFlags::NO_SYMLINKS)) {
            Ok(_) => Ok(()),
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NAMETOOLONG) => Err(SiloError::Missing),
            Err(e) => Err(errno::reading("opening a folder", e)),
        }
    }

    fn found(&self, item: Item) -> Option<Found> {
        let (name, stat) = match item {
            Item::Name(name, stat) => (name, stat),
            // Of the file system itself, at the root of each of a common kind, and closed to all but root.
            Item::Unread(name, _) if name == LOST_AND_FOUND => {
                return Some(Found::Refused { name, reason: "a folder of the file system's own".to_owned() });
            }
            Item::Unread(name, e) => return Some(Found::Unread { name, reason: e.to_string() }),
            Item::TooDeep(name) => {
                return Some(Found::Refused { name, reason: format!("more than {FOREIGN_DEPTH} folders deep") });
            }
        };
        if is_ours(&name) {
            return None;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            return Some(match refusal(&stat) {
                Some(reason) => Found::Refused { name, reason: reason.to_owned() },
                None => Found::Held(held(name, &stat, self.kind)),
            });
        }
        match self.file(&name) {
            Ok((_, stat)) => Some(Found::Held(held(name, &stat, self.kind))),
            Err(SiloError::Missing) => Some(Found::Refused { name, reason: "a link that leads nowhere".to_owned() }),
            Err(SiloError::Mismatch { reason }) => Some(Found::Refused { name, reason }),
            Err(error) => Some(Found::Unread { name, reason: error.to_string() }),
        }
    }
}

#[async_trait]
impl Holdings for Tree {
    async fn identity(&self) -> Result<String, SiloError> {
        let root = self.root().await?;
        Ok(format!("{} inode {}", root.kind.name, root.inode))
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        let root = self.root().await?;
        Ok(Facts {
            family: "posix".to_owned(),
            conditional_read: true,
            kind: root.kind.name.to_owned(),
            time_grain_ns: root.kind.tick().as_nanos() as u64,
            ..Facts::default()
        })
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Steps> {
        let way = Way {
            prefix: prefix.to_owned(),
            after: after.map(<[u8]>::to_owned),
            deepest: FOREIGN_DEPTH,
            at_once: FOREIGN_ENTRIES,
        };
        Box::new(TreeWalk { tree: self.again(), way, walk: None })
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        let (root, name) = (self.root().await?, name.to_owned());
        self.pool.read(move || root.look(&name)).await
    }

    async fn read(
        &self,
        name: &[u8],
        size: u64,
        validator: &Validator,
        range: Range<u64>,
    ) -> Result<Pieces, SiloError> {
        let blocks = span::blocks(size, range)?;
        let root = self.root().await?;
        let (mut file, mut stat) = self.open(&root, name).await?;
        let settles = settling(&stat, root.kind);
        if !settles.is_zero() {
            tokio::time::sleep(settles).await;
            (file, stat) = self.open(&root, name).await?;
        }
        if validator_of(&stat, root.kind) != *validator || stat.st_size as u64 != size {
            return Err(SiloError::mismatch("the file was changed"));
        }
        let (pool, file) = (self.pool.clone(), Arc::new(file));
        Ok(Reader { pool, file, kind: root.kind, validator: validator.clone() }.pieces(blocks))
    }

    fn same_file(&self, one: &Validator, other: &Validator) -> bool {
        same_file(one, other)
    }

    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        Ok(self.root().await?.kind.tells_changes())
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, String> {
        Ok(Box::new(TreeWatch::begin(self.again(), prefix).await?))
    }
}

/// A walk of a tree, begun when it is first asked.
struct TreeWalk {
    tree: Tree,
    way: Way,
    walk: Option<(Arc<Root>, Walk)>,
}

#[async_trait]
impl Steps for TreeWalk {
    async fn next(&mut self, limit: usize) -> Result<Vec<Found>, SiloError> {
        loop {
            let (root, walk) = match self.walk.take() {
                Some((root, walk)) => (root, Some(walk)),
                None => (self.tree.root().await?, None),
            };
            let way = self.way.clone();
            let (root, walk, found, ended) = self.tree.pool.read(move || steps(root, walk, way, limit)).await?;
            self.walk = Some((root, walk));
            if ended || !found.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// Some steps of a walk, as many as take no long time; whether it ended. May block.
fn steps(
    root: Arc<Root>,
    walk: Option<Walk>,
    way: Way,
    limit: usize,
) -> Result<(Arc<Root>, Walk, Vec<Found>, bool), SiloError> {
    let mut walk = match walk {
        Some(walk) => walk,
        None => Walk::new(&root.dir, way).map_err(|e| errno::reading("listing a folder", e))?,
    };
    let (until, mut found) = (now() + STEPS, Vec::new());
    while found.len() < limit && now() < until {
        match walk.next() {
            Some(item) => found.extend(root.found(item)),
            None => return Ok((root, walk, found, true)),
        }
    }
    Ok((root, walk, found, false))
}

/// A file being read.
pub(super) struct Reader {
    pub(super) pool: Pool,
    pub(super) file: Arc<Handle>,
    pub(super) kind: Kind,
    /// As it was when it was opened.
    pub(super) validator: Validator,
}

impl Reader {
    /// These blocks, one after the other.
    pub(super) fn pieces(self, blocks: impl Iterator<Item = Range<u64>> + Send + 'static) -> Pieces {
        stream::try_unfold((self, blocks), |(reader, mut blocks)| async move {
            let Some(block) = blocks.next() else { return Ok(None) };
            let piece = reader.fetch(block).await?;
            Ok(Some((piece, (reader, blocks))))
        })
        .boxed()
    }

    /// A block, handed on only if the file was still the same after it was read.
    async fn fetch(&self, block: Range<u64>) -> Result<Bytes, SiloError> {
        let (file, kind, validator) = (Arc::clone(&self.file), self.kind, self.validator.clone());
        let work = move || {
            let mut buffer = Buffer::new((block.end - block.start) as usize);
            read_exact(&*file, buffer.as_mut(), block.start, "reading a file")?;
            let stat = fs::fstat(&*file).map_err(|e| errno::reading("looking at a file", e))?;
            if validator_of(&stat, kind) == validator {
                Ok(buffer.freeze())
            } else {
                Err(SiloError::mismatch("the file was changed while it was read"))
            }
        };
        self.pool.read(work).await
    }
}

/// Why this can never be read; none of a plain file.
fn refusal(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a link to a folder"),
        FileType::Fifo => Some("a pipe"),
        FileType::Socket => Some("a socket"),
        FileType::BlockDevice | FileType::CharacterDevice => Some("a device"),
        _ => Some("no plain file"),
    }
}

/// Spelled as a walk spells it.
pub(super) fn is_plain(name: &[u8]) -> bool {
    !name.contains(&0) && name.split(|byte| *byte == b'/').all(|segment| !matches!(segment, b"" | b"." | b".."))
}

pub(super) fn is_ours(name: &[u8]) -> bool {
    name.starts_with(OURS) || name == MARKER.as_bytes()
}

pub(super) fn validator_of(stat: &Stat, kind: Kind) -> Validator {
    Validator(format!(
        "{:x}-{:x}-{:x}.{:x}-{:x}.{:x}",
        kind.inode(stat),
        stat.st_size,
        stat.st_mtime,
        stat.st_mtime_nsec,
        stat.st_ctime,
        stat.st_ctime_nsec
    ))
}

/// The same inode, size and time of modification: the time of the last change, which renaming moves on as well, is left out.
pub(super) fn same_file(one: &Validator, other: &Validator) -> bool {
    let [one, other] = [one, other].map(|validator| validator.0.rsplit_once('-').map(|(before, _)| before));
    one.is_some() && one == other
}

fn held(name: Vec<u8>, stat: &Stat, kind: Kind) -> Held {
    let pair = |name: &str, value: String| (name.to_owned(), value);
    Held {
        name,
        size: stat.st_size as u64,
        validator: validator_of(stat, kind),
        modified: stat.st_mtime.clamp(0, LATEST) * 1000 + stat.st_mtime_nsec as i64 / 1_000_000,
        unsettled: !settling(stat, kind).is_zero(),
        etag: None,
        complete: true,
        system: Vec::new(),
        tags: Vec::new(),
        user: vec![
            pair("file-owner", stat.st_uid.to_string()),
            pair("file-group", stat.st_gid.to_string()),
            pair("file-permissions", format!("{:04o}", stat.st_mode & 0o7777)),
        ],
    }
}

/// How long until a change of the file could not hide behind its last one any more: twice the grain of the clock that its
/// times come from. A server's clock may differ from ours: a time ahead of ours waits no longer than one that is now.
fn settling(stat: &Stat, kind: Kind) -> Duration {
    let changed = Duration::new(stat.st_ctime.max(stat.st_mtime).max(0) as u64, stat.st_ctime_nsec as u32);
    let now = now();
    let old = now.saturating_sub(changed);
    (kind.tick() * 2).saturating_sub(old).min(MAX_SETTLING)
}

#[expect(clippy::disallowed_methods, reason = "files carry the machine's time, and are compared with nothing else")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
