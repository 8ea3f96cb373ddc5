//! Files behind SFTP: as a silo of our own, and as what others keep there.
//!
//! [Version 3](https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02) with OpenSSH's
//! [extensions](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL), over a connection that an `ssh` program makes:
//! keys, agents, known hosts and jumps are as its user has them. Where the server can flush a file, a put is durable.

mod file;
mod held;
mod line;
mod session;

use std::sync::Arc;

use async_trait::async_trait;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::files::{Opened, Server};
use crate::folders::{Entry, Folders, What};
use crate::limits::{MAX_EXTENT, RESPONSE_TIMEOUT};
use crate::silo::Space;

pub(crate) use held::Lent;

use file::Remote;
use line::Line;
use session::is;

pub(crate) const FAMILY: &str = "sftp";
/// Times have whole seconds.
pub(crate) const TIME_GRAIN: u64 = 1_000_000_000;
/// Files and folders are ours alone.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// A server's files, below a path.
pub(crate) struct Sftp {
    line: Line,
}

impl Sftp {
    /// What the server has below an address's path; touches nothing.
    pub(crate) fn new(address: &Address, credentials: &Credentials) -> Result<Self, String> {
        Ok(Self { line: Line::new(address, credentials)? })
    }

    fn path(&self, path: &str) -> String {
        self.line.path(path)
    }
}

#[async_trait]
impl Folders for Sftp {
    type File = u64;

    async fn entries(&self, folder: &str) -> Result<Vec<Entry<u64>>, SiloError> {
        let found = self.line.look(|session| session.list(self.path(folder))).await?;
        let sized = |(name, attributes): (String, FileAttributes)| {
            let what = if attributes.is_dir() { What::Folder } else { What::File(attributes.len()) };
            Entry { name, what }
        };
        Ok(found.into_iter().map(sized).collect())
    }
}

#[async_trait]
impl Server for Sftp {
    /// A file is opened before a piece is taken, and later pieces wait for the acknowledgements of earlier ones.
    fn buffered(&self) -> u64 {
        0
    }

    async fn open(&self, path: &str) -> Result<Box<dyn Opened>, SiloError> {
        let file = self.line.look(|session| Remote::open(session, self.path(path))).await?;
        Ok(Box::new(file))
    }

    async fn put(&self, path: &str, size: u64, body: Exact, exclusive: bool) -> Result<(), SiloError> {
        let (session, path) = (self.line.session().await?, self.path(path));
        let how = if exclusive { OpenFlags::EXCLUDE } else { OpenFlags::TRUNCATE };
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | how;
        let handle = match Arc::clone(&session).open(path.clone(), flags, mode(FILE_MODE)).await {
            Ok(handle) => handle,
            // Version 3 has no word for a name that is taken.
            Err(error) if exclusive && is(&error, StatusCode::Failure) && session.stat(path).await.is_ok() => {
                return Err(SiloError::Exists);
            }
            Err(error) => return Err(session.writing(error)),
        };
        match handle.write(size, body).await {
            Err(file::Broken::Body(error)) => Err(error.into()),
            // Neither has it a word for a full disk.
            Err(file::Broken::Silo(error))
                if is(&error, StatusCode::Failure) && session.is_full(size, &self.path("")).await =>
            {
                Err(SiloError::Full)
            }
            Err(file::Broken::Silo(error)) => Err(session.writing(error)),
            Ok(()) => Ok(()),
        }
    }

    async fn delete(&self, path: &str) -> Result<(), SiloError> {
        let session = self.line.session().await?;
        let gone = session.within(RESPONSE_TIMEOUT, session.raw.remove(self.path(path))).await;
        gone.map(drop).map_err(|error| {
            if is(&error, StatusCode::NoSuchFile) { SiloError::Missing } else { session.writing(error) }
        })
    }

    async fn make_folder(&self, path: &str) -> Result<(), SiloError> {
        let session = self.line.session().await?;
        if !path.is_empty() {
            return session.make_folder(self.path(path)).await;
        }
        let root = self.path("");
        for (slash, _) in root.match_indices('/').filter(|(slash, _)| *slash > 0) {
            session.make_folder(root[..slash].to_owned()).await?;
        }
        session.make_folder(root).await
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.line.look(|session| session.space(self.path(""))).await
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        let session = self.line.session().await?;
        let note = if session.flushes {
            "folders cannot be flushed: whether a new name survives a power loss is the server's word"
        } else {
            "the server cannot flush a file: what it took may be lost with its power"
        };
        Ok(Facts {
            family: FAMILY.to_owned(),
            conditional_read: true,
            durable_put: session.flushes,
            max_blob: MAX_EXTENT,
            time_grain_ns: TIME_GRAIN,
            kind: FAMILY.to_owned(),
            notes: vec![note.to_owned()],
            ..Facts::default()
        })
    }
}

fn mode(permissions: u32) -> FileAttributes {
    FileAttributes { permissions: Some(permissions), ..FileAttributes::empty() }
}
