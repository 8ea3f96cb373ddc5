//! Folders kept open for writing, and one fsync for many names.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::error::SiloError;
use crate::limits::OPEN_FOLDERS;
use crate::name::BlobName;
use crate::posix::root::{Root, make_folder, open_folder};

/// A folder of blobs, open.
pub(crate) struct Folder {
    pub(crate) dir: OwnedFd,
    state: Mutex<Flushes>,
    flushed: Condvar,
}

#[derive(Default)]
struct Flushes {
    /// Flushes begun; they are numbered by it.
    begun: u64,
    /// The last flush that succeeded.
    done: u64,
    running: bool,
    /// The kernel reports a failed flush once and then forgets it, so that nothing written through this handle before
    /// or after is taken for durable.
    broken: Option<Errno>,
}

/// The first flush that covers a name made before it was drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl Folder {
    fn new(dir: OwnedFd) -> Self {
        Self { dir, state: Mutex::default(), flushed: Condvar::new() }
    }

    /// To be drawn after a name was made. Any flush begun from now on covers it.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.lock().begun + 1)
    }

    /// Returns once a flush that covers the ticket is done, and does it if nobody else does.
    pub(crate) fn flush(&self, ticket: Ticket, sync: impl FnOnce(&OwnedFd) -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.lock();
        loop {
            if let Some(errno) = state.broken {
                return Err(errno);
            }
            if state.done >= ticket.0 {
                return Ok(());
            }
            if !state.running {
                break;
            }
            state = self.flushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.running = true;
        state.begun += 1;
        let mine = state.begun;
        drop(state);
        let synced = sync(&self.dir);
        let mut state = self.lock();
        state.running = false;
        match synced {
            Ok(()) => state.done = mine,
            Err(errno) => state.broken = Some(errno),
        }
        drop(state);
        self.flushed.notify_all();
        synced
    }

    fn lock(&self) -> MutexGuard<'_, Flushes> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The folders a root has open for writing.
pub(crate) struct Folders {
    open: Mutex<HashMap<String, Arc<Folder>>>,
    /// Held while one is made, with I/O: only the silo's own threads wait for it.
    making: Mutex<()>,
}

impl Folders {
    pub(crate) fn new() -> Self {
        Self { open: Mutex::default(), making: Mutex::default() }
    }

    /// The folder of a blob, made durably where it is new.
    pub(crate) fn of(&self, root: &Root, name: &BlobName) -> Result<Arc<Folder>, SiloError> {
        let path = name.folder();
        if let Some(folder) = self.lock().get(&path) {
            return Ok(Arc::clone(folder));
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(folder) = self.lock().get(&path) {
            return Ok(Arc::clone(folder));
        }
        let folder = Arc::new(Folder::new(make(root, &path)?));
        let mut open = self.lock();
        if open.len() >= OPEN_FOLDERS {
            // The least name is the oldest session's lowest number: nobody writes there again.
            let oldest = open.keys().min().cloned();
            oldest.map(|oldest| open.remove(&oldest));
        }
        open.insert(path, Arc::clone(&folder));
        Ok(folder)
    }

    /// Forgets a folder that turned out to be unusable.
    pub(crate) fn forget(&self, name: &BlobName) {
        self.lock().remove(&name.folder());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Folder>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes every folder of a path. Each parent is flushed even where the folder was there: whoever made it may have
/// crashed before that.
fn make(root: &Root, path: &str) -> Result<OwnedFd, SiloError> {
    let failed = |what: &str, errno| not_begun(root, what, errno);
    let mut dir: Option<OwnedFd> = None;
    for segment in path.split('/') {
        let parent = dir.as_ref().unwrap_or(&root.blobs);
        make_folder(parent, segment).map_err(|e| failed("making a folder", e))?;
        root.sync_folder(parent).map_err(|e| failed("flushing a folder", e))?;
        dir = Some(open_folder(parent, segment).map_err(|e| failed("opening a folder", e))?);
    }
    dir.ok_or_else(|| SiloError::not_done("an empty path"))
}

/// A folder could not be prepared; the blob in it was not begun.
fn not_begun(root: &Root, what: &str, errno: Errno) -> SiloError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => SiloError::Full,
        Errno::NOENT => root.still_ours().err().unwrap_or_else(|| SiloError::not_done(format!("{what}: {errno}"))),
        _ => SiloError::not_done(format!("{what}: {errno}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    fn folder() -> (tempfile::TempDir, Folder) {
        let at = tempfile::tempdir().unwrap();
        let dir = std::fs::File::open(at.path()).unwrap().into();
        (at, Folder::new(dir))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it stands for an fsync")]
    fn count(synced: &AtomicUsize) -> Result<(), Errno> {
        synced.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[test]
    fn a_flush_begun_after_the_name_covers_it() {
        let (_at, folder) = folder();
        let ticket = folder.ticket();
        let later = folder.ticket();
        folder.flush(ticket, |_| Ok(())).unwrap();
        folder.flush(later, |_| panic!("the first one covered it")).unwrap();
        let after = folder.ticket();
        let synced = AtomicUsize::new(0);
        folder.flush(after, |_| count(&synced)).unwrap();
        assert_eq!(synced.load(Ordering::Relaxed), 1, "a name made after a flush needs another");
    }

    /// A name made while a flush is under way may have been missed by it: it waits for the next, and all who made
    /// theirs meanwhile share that one.
    #[test]
    fn names_made_during_a_flush_share_the_next() {
        let (_at, folder) = folder();
        let (begun, has_begun) = mpsc::channel();
        let (go, may_end) = mpsc::channel::<()>();
        let synced = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let first = folder.ticket();
            let (folder, synced) = (&folder, &synced);
            scope.spawn(move || {
                let flush = |_: &OwnedFd| {
                    begun.send(()).unwrap();
                    may_end.recv().unwrap();
                    Ok(())
                };
                folder.flush(first, flush).unwrap();
            });
            has_begun.recv().unwrap();
            let tickets: Vec<_> = (0..8).map(|_| folder.ticket()).collect();
            for ticket in tickets {
                scope.spawn(move || folder.flush(ticket, |_| count(synced)).unwrap());
            }
            go.send(()).unwrap();
        });
        assert_eq!(synced.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_failed_flush_is_never_followed_by_a_good_one() {
        let (_at, folder) = folder();
        let ticket = folder.ticket();
        assert_eq!(folder.flush(ticket, |_| Err(Errno::IO)), Err(Errno::IO));
        assert_eq!(folder.flush(ticket, |_| Ok(())), Err(Errno::IO));
    }
}
