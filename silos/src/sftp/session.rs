//! One connection: requests under way at once, each with a time-out, and what its answers say.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh_sftp::client::error::Error;
use russh_sftp::client::rawsession::Limits;
use russh_sftp::client::{Config, RawSftpSession};
use russh_sftp::extensions::{FSYNC, LIMITS, STATVFS};
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{FOLDER_MODE, mode};
use crate::error::SiloError;
use crate::limits::{CONNECT_TIMEOUT, MAX_FOLDER, MAX_REASON, RESPONSE_TIMEOUT, SFTP_HANDLES};
use crate::silo::Space;

/// The library's own time-out; ours are shorter.
const LONGEST: u64 = 3600;

/// A connection and the program that holds it.
pub(super) struct Session {
    pub(super) raw: RawSftpSession,
    /// Ends with the session.
    program: Mutex<Child>,
    said: Arc<Mutex<String>>,
    broken: AtomicBool,
    /// Whether the server can flush a file.
    pub(super) flushes: bool,
    tells_space: bool,
    handles: Arc<Semaphore>,
}

/// An open file or folder of a session. Dropped, it is closed.
pub(super) struct Handle {
    pub(super) session: Arc<Session>,
    pub(super) id: String,
    permit: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// Begins to speak with the server that a program connects to.
    pub(super) async fn begin(mut program: Child, peer: &str) -> Result<Self, SiloError> {
        let (Some(to), Some(from), Some(errors)) = (program.stdin.take(), program.stdout.take(), program.stderr.take())
        else {
            return Err(SiloError::not_done("the program `ssh` has no pipes"));
        };
        let said = Arc::new(Mutex::new(String::new()));
        let listening = tokio::spawn(listen(errors, Arc::clone(&said)));
        let config = Config { request_timeout_secs: LONGEST, ..Config::default() };
        let mut raw = RawSftpSession::new_with_config(tokio::io::join(from, to), config);
        let version = match tokio::time::timeout(2 * CONNECT_TIMEOUT, raw.init()).await {
            Ok(Ok(version)) => version,
            outcome => {
                // It says why as it ends.
                let _ = tokio::time::timeout(Duration::from_secs(1), listening).await;
                let why = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let why = if why.is_empty() {
                    outcome.map_or("no answer in time".to_owned(), |error| reason(error.err()))
                } else {
                    why
                };
                return Err(SiloError::not_done(format!("no SFTP with {peer}: {why}")));
            }
        };
        let has = |name: &str| version.extensions.contains_key(name);
        let (flushes, tells_space, limited) = (has(FSYNC), has(STATVFS), has(LIMITS));
        if limited && let Ok(Ok(limits)) = tokio::time::timeout(RESPONSE_TIMEOUT, raw.limits()).await {
            raw.set_limits(Limits::from(limits));
        }
        let (program, broken) = (Mutex::new(program), AtomicBool::new(false));
        let handles = Arc::new(Semaphore::new(SFTP_HANDLES));
        Ok(Self { raw, program, said, broken, flushes, tells_space, handles })
    }

    /// Whether it is worth asking.
    pub(super) fn is_alive(&self) -> bool {
        let ended = self.program.lock().unwrap_or_else(PoisonError::into_inner).try_wait();
        !self.broken.load(Ordering::Relaxed) && matches!(ended, Ok(None))
    }

    /// Notes an error that is the connection's; whether it is.
    pub(super) fn lost(&self, error: &Error) -> bool {
        let lost = !matches!(error, Error::Status(_) | Error::Limited(_));
        if lost {
            self.broken.store(true, Ordering::Relaxed);
        }
        lost
    }

    /// An answer, or a time-out.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let answer = tokio::time::timeout(limit, answer).await.unwrap_or(Err(Error::Timeout));
        answer.inspect_err(|error| {
            self.lost(error);
        })
    }

    /// What is known of a request that changes nothing.
    pub(super) fn reading(&self, error: Error) -> SiloError {
        match error {
            Error::Status(status) if status.status_code == StatusCode::NoSuchFile => SiloError::Missing,
            Error::Status(status) if status.status_code == StatusCode::Eof => {
                SiloError::mismatch("the file ends early")
            }
            error => SiloError::not_done(self.why(error)),
        }
    }

    /// What is known of a request that changes something.
    pub(super) fn writing(&self, error: Error) -> SiloError {
        match error {
            Error::Status(_) | Error::Limited(_) => SiloError::not_done(self.why(error)),
            error => SiloError::unknown(self.why(error)),
        }
    }

    /// An error, with what the program said of it.
    fn why(&self, error: Error) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if said.is_empty() || !self.lost(&error) {
            reason(Some(error))
        } else {
            format!("{}: {said}", reason(Some(error)))
        }
    }

    /// Opens a file. The handle is closed also where nobody waits for it any more.
    pub(super) async fn open(
        self: Arc<Self>,
        path: String,
        flags: OpenFlags,
        attributes: FileAttributes,
    ) -> Result<Handle, Error> {
        let session = Arc::clone(&self);
        self.own(async move { session.raw.open(path, flags, attributes).await.map(|opened| opened.handle) }).await
    }

    async fn own(
        self: Arc<Self>,
        open: impl Future<Output = Result<String, Error>> + Send + 'static,
    ) -> Result<Handle, Error> {
        let waited = tokio::time::timeout(RESPONSE_TIMEOUT, Arc::clone(&self.handles).acquire_owned()).await;
        let Ok(Ok(permit)) = waited else { return Err(Error::Limited("too many files are open".to_owned())) };
        let opening = tokio::spawn(async move {
            let id = self.within(RESPONSE_TIMEOUT, open).await?;
            Ok(Handle { session: self, id, permit: Some(permit) })
        });
        opening.await.unwrap_or_else(|error| Err(Error::UnexpectedBehavior(error.to_string())))
    }

    /// What is at the end of a path.
    pub(super) async fn stat(&self, path: String) -> Result<FileAttributes, Error> {
        self.within(RESPONSE_TIMEOUT, self.raw.stat(path)).await.map(|answer| answer.attrs)
    }

    /// Everything in a folder but itself and the one above.
    pub(super) async fn list(self: Arc<Self>, path: String) -> Result<Vec<(String, FileAttributes)>, Error> {
        let session = Arc::clone(&self);
        let open = async move { session.raw.opendir(path).await.map(|opened| opened.handle) };
        let handle = Arc::clone(&self).own(open).await?;
        let mut all = Vec::new();
        loop {
            match self.within(RESPONSE_TIMEOUT, self.raw.readdir(handle.id.clone())).await {
                Ok(some) => all.extend(some.files.into_iter().map(|file| (file.filename, file.attrs))),
                Err(error) if is(&error, StatusCode::Eof) => break,
                Err(error) => return Err(error),
            }
            if all.len() > MAX_FOLDER {
                return Err(Error::Limited(format!("a folder of more than {MAX_FOLDER} entries")));
            }
        }
        all.retain(|(name, _)| !matches!(name.as_str(), "." | ".."));
        Ok(all)
    }

    /// Makes a folder; one that is there already will do.
    pub(super) async fn make_folder(&self, path: String) -> Result<(), SiloError> {
        match self.within(RESPONSE_TIMEOUT, self.raw.mkdir(path.clone(), mode(FOLDER_MODE))).await {
            Ok(_) => Ok(()),
            Err(error @ Error::Status(_)) => match self.stat(path).await {
                Ok(found) if found.is_dir() => Ok(()),
                _ => Err(self.writing(error)),
            },
            Err(error) => Err(self.writing(error)),
        }
    }

    /// Room, where the server can tell.
    pub(super) async fn space(self: Arc<Self>, path: String) -> Result<Option<Space>, Error> {
        if !self.tells_space {
            return Ok(None);
        }
        let found = self.within(RESPONSE_TIMEOUT, self.raw.statvfs(path)).await?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size);
        Ok(Some(Space { total: bytes(found.blocks), free: bytes(found.blocks_avail) }))
    }

    /// Whether there is no room for so many bytes more.
    pub(super) async fn is_full(self: &Arc<Self>, size: u64, path: &str) -> bool {
        let space = Arc::clone(self).space(path.to_owned()).await;
        matches!(space, Ok(Some(space)) if space.free < size)
    }
}

impl Handle {
    /// Closes it, and hears what the server says of that.
    pub(super) async fn close(&mut self) -> Result<(), Error> {
        let id = std::mem::take(&mut self.id);
        self.session.within(RESPONSE_TIMEOUT, self.session.raw.close(id)).await.map(drop)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.id.is_empty() {
            return;
        }
        let (session, id, permit) = (Arc::clone(&self.session), std::mem::take(&mut self.id), self.permit.take());
        // Its place is free once the server has closed it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let closed = session.within(RESPONSE_TIMEOUT, session.raw.close(id)).await;
                drop((closed.is_ok(), permit));
            });
        }
    }
}

/// Whether a server answered so.
pub(super) fn is(error: &Error, code: StatusCode) -> bool {
    matches!(error, Error::Status(status) if status.status_code == code)
}

fn reason(error: Option<Error>) -> String {
    short(&error.map_or("no answer".to_owned(), |error| error.to_string()))
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect()
}

/// Keeps the end of what a program says of itself.
async fn listen(mut from: ChildStderr, said: Arc<Mutex<String>>) {
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let text = short(String::from_utf8_lossy(&buffer[..read]).replace(['\r', '\n'], " ").trim());
        *said.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
