//! The disk as a file system that a process can use.
//!
//! Nothing is cached by the kernel, so that what the disk holds is what is read. Times are all the same: nothing of
//! ours may depend on them.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::disk::{Disk, No, Seen};

/// The kernel asks again each time.
const UNCACHED: Duration = Duration::ZERO;
/// What is said of the disk's size: 4 TiB in blocks of 4 KiB, all free.
const BLOCKS: u64 = 1 << 30;

/// A disk that several threads use.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<Disk>>);

impl Shared {
    /// Shares it.
    pub(crate) fn new(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The disk; never held while waiting for the one who uses it.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts it; dropped, it is unmounted.
    pub(crate) fn mount(&self, at: &Path) -> std::io::Result<BackgroundSession> {
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("powerloss".to_owned())];
        fuser::spawn_mount(self.clone(), at, &config)
    }
}

impl From<No> for Errno {
    fn from(no: No) -> Self {
        match no {
            No::Absent => Self::ENOENT,
            No::Taken => Self::EEXIST,
            No::WrongKind => Self::ENOTDIR,
            No::NotEmpty => Self::ENOTEMPTY,
            No::Dark => Self::EIO,
        }
    }
}

fn kind(seen: Seen) -> FileType {
    match seen {
        Seen::File(_) => FileType::RegularFile,
        Seen::Folder => FileType::Directory,
    }
}

fn attributes(number: u64, seen: Seen) -> FileAttr {
    let (size, perm) = match seen {
        Seen::File(size) => (size, 0o600),
        Seen::Folder => (0, 0o700),
    };
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(seen),
        perm,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        flags: 0,
        blksize: 4096,
    }
}

fn done(result: Result<(), No>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(no) => reply.error(no.into()),
    }
}

fn entry(result: Result<(u64, Seen), No>, reply: ReplyEntry) {
    match result {
        Ok((number, seen)) => reply.entry(&UNCACHED, &attributes(number, seen), Generation(0)),
        Err(no) => reply.error(no.into()),
    }
}

impl Filesystem for Shared {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        entry(self.disk().find(parent.0, name), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk().look(ino.0) {
            Ok(seen) => reply.attr(&UNCACHED, &attributes(ino.0, seen)),
            Err(no) => reply.error(no.into()),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut disk = self.disk();
        let resized = size.map_or(Ok(()), |size| disk.resize(ino.0, size));
        match resized.and_then(|()| disk.look(ino.0)) {
            Ok(seen) => reply.attr(&UNCACHED, &attributes(ino.0, seen)),
            Err(no) => reply.error(no.into()),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, reply: ReplyEntry) {
        let made = self.disk().make(parent.0, name, Seen::Folder);
        entry(made.map(|number| (number, Seen::Folder)), reply);
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        match self.disk().make(parent.0, name, Seen::File(0)) {
            Ok(number) => reply.created(
                &UNCACHED,
                &attributes(number, Seen::File(0)),
                Generation(0),
                FileHandle(0),
                FopenFlags::FOPEN_DIRECT_IO,
            ),
            Err(no) => reply.error(no.into()),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.disk().look(ino.0) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(no) => reply.error(no.into()),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk().read(ino.0, offset, size as usize) {
            Ok(bytes) => reply.data(bytes),
            Err(no) => reply.error(no.into()),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.disk().write(ino.0, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(no) => reply.error(no.into()),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // What close(2) does: it promises nothing.
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.disk().flush(ino.0), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.disk().flush(ino.0), reply);
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        match self.disk().list(ino.0, offset) {
            Ok(found) => {
                for (name, number, seen) in found {
                    if reply.add(INodeNo(number), number, kind(seen), name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(no) => reply.error(no.into()),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove(parent.0, name, Seen::File(0)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.disk().remove(parent.0, name, Seen::Folder), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if parent != new_parent {
            return reply.error(Errno::EXDEV);
        }
        if !RenameFlags::RENAME_NOREPLACE.contains(flags) {
            return reply.error(Errno::EINVAL);
        }
        let replace = flags.is_empty();
        done(self.disk().rename(parent.0, name, new_name, replace), reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let mut disk = self.disk();
        let linked = disk.link(ino.0, parent.0, name);
        entry(linked.and_then(|()| Ok((ino.0, disk.look(ino.0)?))), reply);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, 4096, 255, 4096);
    }
}
