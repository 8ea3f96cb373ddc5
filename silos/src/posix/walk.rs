//! Walking a tree of folders as one sorted run of names, in bounded memory and without ever looking at a name twice.
//!
//! Nothing is followed and nothing is opened but folders: links, pipes and devices are names like others. A folder
//! `a` stands where its names do: as `a/`, behind `a-b` and before `a0`.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

/// Where a walk goes.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    /// Names begin so.
    pub(crate) prefix: Vec<u8>,
    /// And are greater than this one.
    pub(crate) after: Option<Vec<u8>>,
    /// Folders below folders deeper than this are passed over.
    pub(crate) deepest: usize,
    /// Entries of one folder that are in memory at once: a folder that has more is read again for the next ones.
    pub(crate) at_once: usize,
}

/// What was found under a name, below the root of the walk.
#[derive(Debug)]
pub(crate) enum Item {
    /// A file, or whatever else is no folder: see [`Stat::st_mode`].
    Name(Vec<u8>, Stat),
    /// It could not be looked at, a folder (its name ends in `/`) with all that is below it.
    Unread(Vec<u8>, Errno),
    /// A folder deeper than the walk goes.
    TooDeep(Vec<u8>),
}

/// A walk under way.
pub(crate) struct Walk {
    way: Way,
    levels: Vec<Level>,
}

/// A folder that is being walked.
struct Level {
    dir: OwnedFd,
    /// Its path, empty or with `/` at its end.
    base: Vec<u8>,
    entries: VecDeque<Entry>,
    /// The last entry that was taken, and whether there are more behind those in memory.
    last: Option<Entry>,
    more: bool,
}

/// An entry of a folder, by its path. A folder's path ends in `/`, which is where it sorts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path: Vec<u8>,
    raw: CString,
}

impl Entry {
    fn is_folder(&self) -> bool {
        self.path.ends_with(b"/")
    }
}

impl Walk {
    /// Begins at a folder.
    pub(crate) fn new(root: impl AsFd, way: Way) -> Result<Self, Errno> {
        let dir = open_entry(root, c".")?;
        Ok(Self { way, levels: vec![Level::new(dir, Vec::new())] })
    }

    /// The next name; `None` at the end. May block.
    pub(crate) fn next(&mut self) -> Option<Item> {
        loop {
            let level = self.levels.last_mut()?;
            match level.next(&self.way) {
                Ok(Some(entry)) => {
                    if let Some(item) = self.visit(entry) {
                        return Some(item);
                    }
                }
                Ok(None) => drop(self.levels.pop()),
                Err(errno) => {
                    let base = self.levels.pop()?.base;
                    return Some(Item::Unread(base, errno));
                }
            }
        }
    }

    /// What vanished meanwhile is nothing; a folder is gone into.
    fn visit(&mut self, entry: Entry) -> Option<Item> {
        let depth = self.levels.len();
        let dir = &self.levels.last()?.dir;
        if !entry.is_folder() {
            return match fs::statat(dir, &*entry.raw, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Some(Item::Name(entry.path, stat)),
                Err(Errno::NOENT) => None,
                Err(errno) => Some(Item::Unread(entry.path, errno)),
            };
        }
        if depth > self.way.deepest {
            return Some(Item::TooDeep(entry.path));
        }
        match open_entry(dir, &entry.raw) {
            Ok(folder) => self.levels.push(Level::new(folder, entry.path)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Some(Item::Unread(entry.path, errno)),
        }
        None
    }
}

impl Level {
    fn new(dir: OwnedFd, base: Vec<u8>) -> Self {
        Self { dir, base, entries: VecDeque::new(), last: None, more: true }
    }

    fn next(&mut self, way: &Way) -> Result<Option<Entry>, Errno> {
        if self.entries.is_empty() && self.more {
            self.fill(way)?;
        }
        let next = self.entries.pop_front();
        if self.more && self.entries.is_empty() {
            self.last.clone_from(&next);
        }
        Ok(next)
    }

    /// Reads the folder for its least entries behind the last one, in order.
    fn fill(&mut self, way: &Way) -> Result<(), Errno> {
        let (mut least, mut more) = (Vec::new(), false);
        for item in Dir::read_from(&self.dir)? {
            let item = item?;
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let folder = is_folder(&self.dir, name, item.file_type());
            let slash: &[u8] = if folder { b"/" } else { b"" };
            let path = [&self.base[..], name.to_bytes(), slash].concat();
            if !way.matters(&path, folder) {
                continue;
            }
            let entry = Entry { path, raw: name.to_owned() };
            if self.last.as_ref().is_some_and(|last| entry <= *last) {
                continue;
            }
            least.push(entry);
            if least.len() > 2 * way.at_once + 2 {
                least.select_nth_unstable(way.at_once);
                least.truncate(way.at_once);
                more = true;
            }
        }
        least.sort_unstable();
        if least.len() > way.at_once {
            least.truncate(way.at_once);
            more = true;
        }
        (self.entries, self.more) = (least.into(), more);
        Ok(())
    }
}

impl Way {
    /// Whether a name, or anything below a folder, is on the way.
    fn matters(&self, path: &[u8], folder: bool) -> bool {
        let has_prefix = path.starts_with(&self.prefix) || (folder && self.prefix.starts_with(path));
        has_prefix && self.after.as_deref().is_none_or(|after| path > after || (folder && after.starts_with(path)))
    }
}

/// Some file systems do not tell in the listing itself.
pub(super) fn is_folder(dir: &OwnedFd, name: &CStr, told: FileType) -> bool {
    match told {
        FileType::Unknown => fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        told => told == FileType::Directory,
    }
}

fn open_entry(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(dir, name, flags, Mode::empty(), beneath)
}
