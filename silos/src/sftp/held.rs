//! What others keep behind SFTP. Nothing is written, and no link is followed.
//!
//! A file is known by its time, of whole seconds, and its length: one that was changed within the last seconds is not read
//! before they are over. Each block is read, and then the file is looked at again before the block is handed on.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, StatusCode};

use super::file::{Remote, validator};
use super::session::{Session, is};
use super::{FAMILY, Sftp, TIME_GRAIN};
use crate::error::SiloError;
use crate::facts::Facts;
use crate::folders::{Entry, Folders, HeldWalk, What, is_path};
use crate::holdings::{Held, Holdings, Walk};
use crate::limits::RESPONSE_TIMEOUT;
use crate::silo::{Pieces, Validator};
use crate::span;
use crate::web::{is_ours, spell};

/// How much later a change may be without a later time: two ticks of a clock of seconds.
const TICKS: Duration = Duration::from_secs(2);

/// A server's files, which others own.
pub(crate) struct Lent(Arc<Seen>);

struct Seen(Sftp);

impl Lent {
    pub(crate) fn new(sftp: Sftp) -> Self {
        Self(Arc::new(Seen(sftp)))
    }

    fn sftp(&self) -> &Sftp {
        &self.0.0
    }

    /// The root as the server calls it, which is a folder.
    async fn root(&self) -> Result<String, SiloError> {
        let sftp = self.sftp();
        let gone = |error| if error == SiloError::Missing { SiloError::not_done("the folder is gone") } else { error };
        let (root, found) = sftp.line.look(|session| root(session, sftp.path(""))).await.map_err(gone)?;
        if found.is_dir() { Ok(root) } else { Err(SiloError::not_done("what is there is no folder")) }
    }

    /// A file that is missing is so in a folder that is there.
    async fn missing(&self) -> SiloError {
        self.root().await.err().unwrap_or(SiloError::Missing)
    }

    /// What a name is, where no link leads to it.
    async fn attributes(&self, name: &str) -> Result<FileAttributes, SiloError> {
        let sftp = self.sftp();
        let (root, path) = (self.root().await?, sftp.path(name));
        let found = sftp.line.look(|session| seen(session, path.clone())).await?;
        let Some((real, attributes)) = found else { return Err(SiloError::Missing) };
        let straight = if root == "/" { format!("/{name}") } else { format!("{root}/{name}") };
        match refusal(&attributes) {
            // A link on the way: a walk does not come here.
            None if real != straight => Err(SiloError::Missing),
            Some(FOLDER) => Err(SiloError::Missing),
            Some(reason) => Err(SiloError::mismatch(reason)),
            None => Ok(attributes),
        }
    }
}

const FOLDER: &str = "a folder";

/// Why this can never be read; none of a plain file.
fn refusal(attributes: &FileAttributes) -> Option<&'static str> {
    match () {
        () if attributes.is_symlink() => Some("a link, of which none is followed over SFTP"),
        () if attributes.is_dir() => Some(FOLDER),
        () if attributes.is_regular() && attributes.size.is_some() && attributes.mtime.is_some() => None,
        () => Some("no plain file"),
    }
}

/// Where a path leads, and what is there.
async fn root(session: Arc<Session>, path: String) -> Result<(String, FileAttributes), Error> {
    let root = real(Arc::clone(&session), path).await?;
    let found = session.stat(root.clone()).await?;
    Ok((root, found))
}

/// A path without links, as the server resolves it.
async fn real(session: Arc<Session>, path: String) -> Result<String, Error> {
    let found = session.within(RESPONSE_TIMEOUT, session.raw.realpath(path)).await?;
    found.files.into_iter().next().map(|file| file.filename).ok_or(Error::UnexpectedPacket)
}

/// Where a path leads, and what is at its end; none where there is nothing.
async fn seen(session: Arc<Session>, path: String) -> Result<Option<(String, FileAttributes)>, Error> {
    let look = session.within(RESPONSE_TIMEOUT, session.raw.lstat(path.clone()));
    let (real, attributes) = tokio::join!(real(Arc::clone(&session), path), look);
    match attributes {
        Ok(attributes) => real.map(|real| Some((real, attributes.attrs))),
        Err(error) if is(&error, StatusCode::NoSuchFile) => Ok(None),
        Err(error) => Err(error),
    }
}

fn held(name: &str, attributes: &FileAttributes) -> Held {
    let pair = |name: &str, value: Option<String>| value.map(|value| (name.to_owned(), value));
    let user = [
        pair("file-owner", attributes.uid.map(|id| id.to_string())),
        pair("file-group", attributes.gid.map(|id| id.to_string())),
        pair("file-permissions", attributes.permissions.map(|bits| format!("{:04o}", bits & 0o7777))),
    ];
    Held {
        name: name.into(),
        size: attributes.len(),
        validator: validator(attributes),
        modified: i64::from(attributes.mtime.unwrap_or_default()) * 1000,
        unsettled: !settling(attributes).is_zero(),
        etag: None,
        complete: true,
        system: Vec::new(),
        user: user.into_iter().flatten().collect(),
        tags: Vec::new(),
    }
}

/// How long until a change of the file could not hide behind its last one any more. The server's clock may differ from
/// ours: a time ahead of ours waits no longer than one that is now.
fn settling(attributes: &FileAttributes) -> Duration {
    let changed = Duration::from_secs(u64::from(attributes.mtime.unwrap_or_default()));
    TICKS.saturating_sub(now().saturating_sub(changed))
}

#[expect(clippy::disallowed_methods, reason = "files carry the machine's time, and are compared with nothing else")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[async_trait]
impl Folders for Seen {
    type File = Held;

    async fn entries(&self, folder: &str) -> Result<Vec<Entry<Held>>, SiloError> {
        let found = self.0.line.look(|session| session.list(self.0.path(folder))).await?;
        let entry = |(name, attributes): (String, FileAttributes)| {
            let what = match refusal(&attributes) {
                _ if name.contains('\u{fffd}') => What::Refused("a name that is not UTF-8".to_owned()),
                None => What::File(held(&format!("{folder}{name}"), &attributes)),
                Some(FOLDER) => What::Folder,
                Some(reason) => What::Refused(reason.to_owned()),
            };
            Entry { name, what }
        };
        Ok(found.into_iter().map(entry).collect())
    }
}

fn spelled(name: &[u8]) -> Result<&str, SiloError> {
    if is_ours(name) {
        return Err(SiloError::Missing);
    }
    let name = spell(name).map_err(SiloError::mismatch)?;
    if is_path(name) { Ok(name) } else { Err(SiloError::Missing) }
}

#[async_trait]
impl Holdings for Lent {
    /// Whose key `ssh` knows, and the folder as that server calls it.
    async fn identity(&self) -> Result<String, SiloError> {
        let root = self.root().await?;
        Ok(format!("{FAMILY} {}{root}", self.sftp().line.peer))
    }

    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        Ok(false)
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        self.root().await?;
        let family = FAMILY.to_owned();
        Ok(Facts {
            kind: family.clone(),
            family,
            conditional_read: true,
            time_grain_ns: TIME_GRAIN,
            ..Facts::default()
        })
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk> {
        Box::new(HeldWalk::new(Arc::clone(&self.0), prefix, after))
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        let name = spelled(name)?;
        match self.attributes(name).await {
            Ok(attributes) => Ok(held(name, &attributes)),
            Err(SiloError::Missing) => Err(self.missing().await),
            Err(error) => Err(error),
        }
    }

    async fn read(&self, name: &[u8], size: u64, known: &Validator, range: Range<u64>) -> Result<Pieces, SiloError> {
        let (name, blocks) = (spelled(name)?, span::blocks(size, range)?);
        let mut found = self.look(name.as_bytes()).await?;
        if found.unsettled {
            tokio::time::sleep(TICKS).await;
            found = self.look(name.as_bytes()).await?;
        }
        if found.validator != *known || found.size != size {
            return Err(SiloError::mismatch("the file was changed"));
        }
        let sftp = self.sftp();
        let file = sftp.line.look(|session| Remote::open(session, sftp.path(name))).await?;
        let reader = Reader { file: Arc::new(file), known: known.clone() };
        reader.check().await?;
        let pieces = stream::try_unfold((reader, blocks), |(reader, mut blocks)| async move {
            let Some(block) = blocks.next() else { return Ok(None) };
            let piece = reader.file.handle.read(block).await?;
            reader.check().await?;
            Ok(Some((piece, (reader, blocks))))
        });
        Ok(pieces.boxed())
    }
}

/// A file being read.
struct Reader {
    file: Arc<Remote>,
    known: Validator,
}

impl Reader {
    /// The file that is open is still as it was.
    async fn check(&self) -> Result<(), SiloError> {
        let session = &self.file.handle.session;
        let now = self.file.handle.attributes().await.map_err(|error| session.reading(error))?;
        if validator(&now) == self.known {
            return Ok(());
        }
        Err(SiloError::mismatch("the file was changed while it was read"))
    }
}
