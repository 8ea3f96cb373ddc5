//! A file that is closed where waiting is allowed.
//!
//! Closing a file of a mount asks its server (FUSE's flush, NFS's close) and hangs when that does. A read ends on
//! whatever thread its client is served by, and a stuck one would stop every silo's clients.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::posix::kind::Kind;
use crate::posix::pool::Pool;

/// An open file of a silo. Dropping it waits for no server.
pub(crate) struct Handle {
    file: Option<OwnedFd>,
    /// Where it is closed; none where closing is quick.
    pool: Option<Pool>,
}

impl Handle {
    /// Takes over a file on a file system of that kind.
    pub(crate) fn new(file: OwnedFd, kind: Kind, pool: &Pool) -> Self {
        Self { file: Some(file), pool: (!kind.local).then(|| pool.clone()) }
    }
}

impl Deref for Handle {
    type Target = OwnedFd;

    fn deref(&self) -> &OwnedFd {
        self.file.as_ref().expect("it is taken out only when it is dropped")
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let (Some(file), Some(pool)) = (self.file.take(), &self.pool) {
            pool.clean_up(move || drop(file));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Read};
    use std::os::unix::net::UnixStream;
    use std::sync::{Arc, Barrier};

    use crate::limits::POSIX_THREADS;
    use crate::posix::kind;

    /// A mount hung while a client read from it and went away: closing the file waited for the server, on the thread
    /// that served the clients of all silos.
    #[test]
    fn a_file_of_a_mount_is_closed_on_threads_of_its_own() {
        let (local, remote) = (kind::by_magic(0xEF53), kind::by_magic(0x6969));
        let pool = Pool::new();
        let hangs = Arc::new(Barrier::new(POSIX_THREADS + 1));
        let stuck = |_| {
            pool.start({
                let hangs = Arc::clone(&hangs);
                move || {
                    hangs.wait();
                }
            })
        };
        let stuck: Vec<_> = (0..POSIX_THREADS).map(stuck).collect();
        for kind in [remote, local] {
            let (file, mut other) = UnixStream::pair().unwrap();
            other.set_nonblocking(true).unwrap();
            drop(Handle::new(file.into(), kind, &pool));
            let closed = other.read(&mut [0]);
            if kind.local {
                assert_eq!(closed.unwrap(), 0, "a local file is closed at once");
                continue;
            }
            assert_eq!(closed.unwrap_err().kind(), ErrorKind::WouldBlock, "the mount hangs");
            hangs.wait();
            other.set_nonblocking(false).unwrap();
            assert_eq!(other.read(&mut [0]).unwrap(), 0, "and is closed when it comes back");
        }
        drop(stuck);
    }
}
