//! A folder of others, watched by inotify: what was touched is told when it happens, as far as the kernel sees it.
//!
//! A hint and no more. What is written by another machine, by a mapping of memory, under another name of the same file,
//! or behind a link is not told; a file that is being written is told when its writer closes it. Each folder takes one
//! of the kernel's watches. One that comes later is watched first and then read, so that nothing in it is missed.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use async_trait::async_trait;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, ResolveFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::holdings::{Touched, Watch};
use crate::limits::{FOREIGN_DEPTH, WATCH_CHECK, WATCH_STORM, WATCHED_FOLDERS, WATCHED_TOGETHER};
use crate::posix::kind;
use crate::posix::tree::{BENEATH, FOLDER, Root, Tree, is_ours};

const WANTED: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::EXCL_UNLINK);
/// Bytes of events read at once.
const BUFFER: usize = 64 << 10;
/// Files of a new folder that are told one by one; of more the folder is.
const TOLD: usize = 1000;
/// Names that are told at once; more of them are everything.
const TOLD_AT_ONCE: usize = 20_000;
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";

/// A watch of the names that begin with a prefix.
pub(super) struct TreeWatch {
    tree: Tree,
    root: Arc<Root>,
    /// None only while it is dropped.
    inotify: Option<Arc<AsyncFd<OwnedFd>>>,
    folders: Folders,
    check: Interval,
    /// A folder on another file system, which shows nothing.
    unseen: Option<String>,
}

/// The folders that are watched, by what the kernel calls them.
#[derive(Default)]
struct Folders {
    prefix: Vec<u8>,
    /// Paths are empty or end in `/`.
    paths: HashMap<i32, Vec<u8>>,
    watches: BTreeMap<Vec<u8>, i32>,
}

/// An event of the kernel's.
struct Event {
    watch: i32,
    flags: ReadFlags,
    name: Vec<u8>,
}

/// What events ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    touched: Vec<Touched>,
    /// Folders to be watched.
    fresh: Vec<Vec<u8>>,
    /// New names, which may be files that are still being written.
    made: Vec<Vec<u8>>,
    /// Watches that are of no use any more.
    stale: Vec<i32>,
    /// Events were lost.
    lost: bool,
    /// Nothing more will be told, for this reason.
    over: Option<&'static str>,
}

/// What became of folders that were to be watched.
#[derive(Default)]
struct Added {
    watched: Vec<(i32, Vec<u8>)>,
    left: Vec<Vec<u8>>,
    touched: Vec<Touched>,
    unseen: Option<String>,
}

impl TreeWatch {
    /// Watches what is there; every change after this answered is told.
    pub(super) async fn begin(tree: Tree, prefix: &[u8]) -> Result<Self, String> {
        let root = tree.root().await.map_err(|error| error.to_string())?;
        Self::of(tree, root, prefix).await
    }

    async fn of(tree: Tree, root: Arc<Root>, prefix: &[u8]) -> Result<Self, String> {
        if !root.kind.local {
            return Err(format!("`{}` does not show what others change", root.kind.name));
        }
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map_err(|errno| match errno {
            Errno::MFILE => "no more watchers: raise `fs.inotify.max_user_instances`".to_owned(),
            errno => format!("inotify: {errno}"),
        })?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe, for types that may close what they lend: an `OwnedFd` does not"
        )]
        let inotify = AsyncFd::new(inotify).map_err(|error| format!("inotify: {error}"))?;
        let mut check = interval(WATCH_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let folders = Folders { prefix: prefix.to_owned(), ..Folders::default() };
        let mut watch = Self { tree, root, inotify: Some(Arc::new(inotify)), folders, check, unseen: None };
        watch.add(vec![Vec::new()], false).await?;
        Ok(watch)
    }

    fn inotify(&self) -> Result<&Arc<AsyncFd<OwnedFd>>, String> {
        self.inotify.as_ref().ok_or_else(|| "the watch is over".to_owned())
    }

    /// Watches folders and all below them, and tells of the files in them where `tell` says so.
    async fn add(&mut self, mut left: Vec<Vec<u8>>, tell: bool) -> Result<Vec<Touched>, String> {
        let mut touched = Vec::new();
        while !left.is_empty() {
            let (root, inotify, prefix) =
                (Arc::clone(&self.root), Arc::clone(self.inotify()?), self.folders.prefix.clone());
            let work = move || Ok(add(&root, inotify.get_ref(), &prefix, left, tell));
            let added = self.tree.pool().read(work).await.map_err(|error| error.to_string())??;
            for (watch, path) in added.watched {
                self.folders.insert(watch, path);
            }
            if self.folders.paths.len() + added.left.len() > WATCHED_FOLDERS {
                return Err(format!("more than {WATCHED_FOLDERS} folders"));
            }
            self.unseen = self.unseen.take().or(added.unseen);
            touched.extend(added.touched);
            if touched.len() > TOLD_AT_ONCE {
                touched = vec![Touched::Below(self.folders.prefix.clone())];
            }
            left = added.left;
        }
        Ok(touched)
    }

    /// The next events; none where it was only looked whether the folder still stands there.
    async fn events(&mut self) -> Result<Vec<Event>, String> {
        let inotify = Arc::clone(self.inotify()?);
        tokio::select! {
            ready = inotify.readable() => {
                let mut ready = ready.map_err(|error| format!("inotify: {error}"))?;
                match ready.try_io(|inotify| read(inotify.get_ref()).map_err(std::io::Error::from)) {
                    Ok(events) => events.map_err(|error| format!("inotify: {error}")),
                    Err(_) => Ok(Vec::new()),
                }
            }
            _ = self.check.tick() => {
                let now = self.tree.root().await.map_err(|error| error.to_string())?;
                if now.is(&self.root) { Ok(Vec::new()) } else { Err("another folder stands there now".to_owned()) }
            }
        }
    }

    /// Does what events ask for; answers what is to be told.
    async fn carry_out(&mut self, mut asked: Asked) -> Result<Vec<Touched>, String> {
        if let Some(reason) = asked.over {
            return Err(reason.to_owned());
        }
        let inotify = Arc::clone(self.inotify()?);
        for watch in asked.stale {
            // Already gone, most often.
            let _ = inotify::remove_watch(inotify.get_ref(), watch);
        }
        if asked.lost {
            // A storm is let pass; then folders that came unseen are looked for.
            tokio::time::sleep(WATCH_STORM).await;
            self.add(vec![Vec::new()], false).await?;
            return Ok(vec![Touched::Below(self.folders.prefix.clone())]);
        }
        let (root, made) = (Arc::clone(&self.root), std::mem::take(&mut asked.made));
        if !made.is_empty() {
            let work = move || Ok(made.into_iter().filter(|name| is_whole(&root, name)).collect::<Vec<_>>());
            let whole = self.tree.pool().read(work).await.map_err(|error| error.to_string())?;
            asked.touched.extend(whole.into_iter().map(Touched::Name));
        }
        asked.touched.extend(self.add(asked.fresh, true).await?);
        Ok(asked.touched)
    }
}

#[async_trait]
impl Watch for TreeWatch {
    async fn next(&mut self) -> Result<Vec<Touched>, String> {
        loop {
            let events = self.events().await?;
            let asked = self.folders.asked(events);
            let touched = self.carry_out(asked).await?;
            if !touched.is_empty() {
                return Ok(touched);
            }
        }
    }

    fn unseen(&self) -> Option<&str> {
        self.unseen.as_deref()
    }
}

impl Drop for TreeWatch {
    /// The kernel takes its time to forget many watches.
    fn drop(&mut self) {
        let inotify = self.inotify.take();
        self.tree.pool().clean_up(move || drop(inotify));
    }
}

impl Folders {
    fn insert(&mut self, watch: i32, path: Vec<u8>) {
        if let Some(before) = self.paths.insert(watch, path.clone()) {
            self.watches.remove(&before);
        }
        self.watches.insert(path, watch);
    }

    /// Forgets a folder and all below it; answers how the kernel calls them.
    fn forget(&mut self, path: &[u8]) -> Vec<i32> {
        let below = self.watches.range(path.to_vec()..).take_while(|(below, _)| below.starts_with(path));
        let below: Vec<(Vec<u8>, i32)> = below.map(|(path, watch)| (path.clone(), *watch)).collect();
        for (path, watch) in &below {
            self.watches.remove(path);
            self.paths.remove(watch);
        }
        below.into_iter().map(|(_, watch)| watch).collect()
    }

    fn asked(&mut self, events: Vec<Event>) -> Asked {
        let mut asked = Asked::default();
        for event in events {
            self.ask(event, &mut asked);
        }
        asked.touched.dedup();
        asked
    }

    fn ask(&mut self, Event { watch, flags, name }: Event, asked: &mut Asked) {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            asked.lost = true;
        }
        let Some(folder) = self.paths.get(&watch) else { return };
        let gone = ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF;
        if flags.contains(ReadFlags::UNMOUNT) || (folder.is_empty() && flags.intersects(gone)) {
            asked.over = Some("the folder was unmounted, moved or deleted");
        } else if flags.contains(ReadFlags::IGNORED) {
            let folder = self.paths.remove(&watch);
            folder.map(|folder| self.watches.remove(&folder));
        } else if !name.is_empty() {
            let path = [folder, &name[..]].concat();
            self.ask_of(path, flags, asked);
        }
    }

    fn ask_of(&mut self, mut path: Vec<u8>, flags: ReadFlags, asked: &mut Asked) {
        if !flags.contains(ReadFlags::ISDIR) {
            return match path.starts_with(&self.prefix) && !is_ours(&path) {
                false => {}
                true if flags == ReadFlags::CREATE => asked.made.push(path),
                true => asked.touched.push(Touched::Name(path)),
            };
        }
        path.push(b'/');
        if !is_on_the_way(&path, &self.prefix) {
            return;
        }
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            asked.stale.extend(self.forget(&path));
            asked.fresh.retain(|fresh| !fresh.starts_with(&path));
        }
        if flags.contains(ReadFlags::MOVED_FROM) {
            asked.touched.push(Touched::Below(path));
        } else if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            asked.fresh.push(path);
        }
    }
}

/// Whether names that begin with `prefix` may lie below a folder.
fn is_on_the_way(folder: &[u8], prefix: &[u8]) -> bool {
    (folder.starts_with(prefix) || prefix.starts_with(folder)) && !is_ours(folder)
}

/// What is no file that somebody writes at this moment, and will be told once it is closed: a link, or one name more of a
/// file that has others.
fn is_whole(root: &Root, name: &[u8]) -> bool {
    let found = fs::statat(&root.dir, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW);
    found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_nlink > 1)
}

/// Every event there is now.
fn read(inotify: &OwnedFd) -> Result<Vec<Event>, Errno> {
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut events = Vec::new();
    loop {
        let event = reader.next()?;
        let name = event.file_name().map(|name| name.to_bytes().to_vec()).unwrap_or_default();
        events.push(Event { watch: event.wd(), flags: event.events(), name });
        if reader.is_buffer_empty() {
            return Ok(events);
        }
    }
}

/// Watches some folders, and answers which are left. May block.
fn add(root: &Root, inotify: &OwnedFd, prefix: &[u8], mut left: Vec<Vec<u8>>, tell: bool) -> Result<Added, String> {
    let mut added = Added::default();
    while let Some(path) = left.pop() {
        add_one(root, inotify, (prefix, tell), &path, &mut left, &mut added)?;
        if added.watched.len() >= WATCHED_TOGETHER {
            break;
        }
    }
    added.left = left;
    Ok(added)
}

fn add_one(
    root: &Root,
    inotify: &OwnedFd,
    (prefix, tell): (&[u8], bool),
    path: &[u8],
    left: &mut Vec<Vec<u8>>,
    added: &mut Added,
) -> Result<(), String> {
    let name = if path.is_empty() { b"." } else { path };
    let plain = BENEATH.union(ResolveFlags::NO_SYMLINKS);
    let opened = fs::openat2(&root.dir, OsStr::from_bytes(name), FOLDER, Mode::empty(), plain);
    // What cannot be opened is for passes to tell.
    let Ok(dir) = opened else { return Ok(()) };
    if let Some(kind) = foreign(root, &dir) {
        added.unseen.get_or_insert_with(|| format!("`{}` is on {kind}", String::from_utf8_lossy(path)));
        return Ok(());
    }
    match inotify::add_watch(inotify, format!("/proc/self/fd/{}", dir.as_raw_fd()), WANTED) {
        Ok(watch) => added.watched.push((watch, path.to_vec())),
        Err(Errno::NOSPC) => return Err(used_up()),
        Err(Errno::NOENT | Errno::ACCESS) if !path.is_empty() => return Ok(()),
        Err(errno) => return Err(format!("inotify: {errno}")),
    }
    if path.split(|byte| *byte == b'/').count() <= FOREIGN_DEPTH {
        let Ok(entries) = Dir::read_from(&dir) else { return Ok(()) };
        read_folder(&dir, entries, (prefix, tell), path, left, added);
    }
    Ok(())
}

/// Notes the folders of a folder, and its files where they are to be told.
fn read_folder(
    dir: &OwnedFd,
    entries: Dir,
    (prefix, tell): (&[u8], bool),
    path: &[u8],
    left: &mut Vec<Vec<u8>>,
    added: &mut Added,
) {
    let mut files = Vec::new();
    for entry in entries.flatten() {
        let name: CString = entry.file_name().to_owned();
        if matches!(name.as_bytes(), b"." | b"..") {
            continue;
        }
        let mut path = [path, name.as_bytes()].concat();
        if super::walk::is_folder(dir, &name, entry.file_type()) {
            path.push(b'/');
            if is_on_the_way(&path, prefix) {
                left.push(path);
            }
        } else if tell && files.len() <= TOLD && path.starts_with(prefix) {
            files.push(path);
        }
    }
    match files.len() {
        0..=TOLD => added.touched.extend(files.into_iter().map(Touched::Name)),
        _ => added.touched.push(Touched::Below(path.to_owned())),
    }
}

/// The file system of a folder where it shows no changes: something else is mounted there.
fn foreign(root: &Root, dir: impl AsFd) -> Option<&'static str> {
    let device = fs::fstat(&dir).ok()?.st_dev;
    if device == root.device {
        return None;
    }
    kind::of(dir).ok().filter(|kind| !kind.local).map(|kind| kind.name)
}

fn used_up() -> String {
    let limit = std::fs::read_to_string(LIMIT).unwrap_or_default();
    format!("its folders need more watches than are left of `fs.inotify.max_user_watches` ({})", limit.trim())
}

#[cfg(test)]
mod tests;
