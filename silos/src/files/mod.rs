//! A silo of files on somebody's server, whatever is spoken to it.
//!
//! ```text
//! ROOT/holdall-silo.json                        who the silo is, and whose
//! ROOT/blobs/<session>/<high bits>/<blob>       payload, description, trailer; of a pack the payload alone
//! ROOT/probe-<digits>                           only while probing
//! ```
//!
//! A blob lies under its final name from its first byte on: names are never used twice, and one that was not finished
//! lacks its trailer and reads as `Mismatch`.

mod probe;
mod put;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::folders::{Folders, Step, Walk};
use crate::limits::{BLOCK, BUFFERED_ON_THE_WAY, MAX_DESCRIPTION, MAX_EXTENT, MAX_MARKER, OPEN_FOLDERS};
use crate::marker::{Claim, MARKER, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored, Validator};
use crate::span::{self, Length};
use crate::trailer::{TAIL, Tail};

const BLOBS: &str = "blobs/";

/// A server's files, by their paths below a root.
#[async_trait]
pub(crate) trait Server: Folders<File = u64> {
    /// Opens a file. `Missing` where there is none.
    async fn open(&self, path: &str) -> Result<Box<dyn Opened>, SiloError>;

    /// Makes a file of exactly so many bytes, as durably as the server knows how to. With `exclusive` nothing is replaced:
    /// `Exists`.
    async fn put(&self, path: &str, size: u64, body: Exact, exclusive: bool) -> Result<(), SiloError>;

    /// See [`Silo::buffered`].
    fn buffered(&self) -> u64 {
        BUFFERED_ON_THE_WAY
    }

    /// Deletes a file. `Missing` where there is none.
    async fn delete(&self, path: &str) -> Result<(), SiloError>;

    /// Makes a folder in one that is there; one that is there already will do. The root's path is empty, and the folders
    /// above it are made as well.
    async fn make_folder(&self, path: &str) -> Result<(), SiloError>;

    /// Room, where the server can tell.
    async fn space(&self) -> Result<Option<Space>, SiloError>;

    /// What the server says of itself, and what is known of its kind: `exclusive_create` is tried out.
    async fn facts(&self) -> Result<Facts, SiloError>;
}

/// A file that was found.
#[async_trait]
pub(crate) trait Opened: Send + Sync {
    /// Its bytes.
    fn length(&self) -> u64;

    /// What tells it from one that was written in its place.
    fn validator(&self) -> Validator;

    /// Reads a part of it.
    async fn read(self: Box<Self>, range: Range<u64>) -> Result<Pieces, SiloError>;

    /// Reads a short part of it.
    async fn peek(&self, range: Range<u64>) -> Result<Bytes, SiloError>;
}

/// It answers nothing until it was claimed.
pub(crate) struct Files<S> {
    server: Arc<S>,
    known: Mutex<Known>,
    /// Held while folders are made: some servers refuse to make the same one twice at once.
    making: tokio::sync::Mutex<()>,
}

/// What was learned of the server since the process began.
#[derive(Default, Clone)]
struct Known {
    marker: Option<Marker>,
    exclusive: bool,
    /// Folders that were seen or made, not too many of them.
    folders: HashSet<String>,
}

impl<S: Server> Files<S> {
    /// A silo on a server; touches nothing.
    pub(crate) fn new(server: S) -> Self {
        Self { server: Arc::new(server), known: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    fn with_known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claimed(&self) -> Result<Marker, SiloError> {
        let marker = self.with_known(|known| known.marker.clone());
        marker.ok_or_else(|| SiloError::not_done("the silo was not claimed"))
    }

    async fn open(&self, name: &BlobName) -> Result<Box<dyn Opened>, SiloError> {
        self.claimed()?;
        match self.server.open(&path(name)).await {
            Ok(opened) => Ok(opened),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Bytes of ours are missing only where our marker is not.
    async fn explain(&self, error: SiloError) -> SiloError {
        if error != SiloError::Missing {
            return error;
        }
        match (self.read_marker().await, self.claimed()) {
            (Ok(Some(found)), Ok(ours)) if found == ours => error,
            (Err(unread), _) => unread,
            _ => SiloError::not_done("the silo's marker is gone from its root"),
        }
    }

    async fn read_marker(&self) -> Result<Option<Marker>, SiloError> {
        let opened = match self.server.open(MARKER).await {
            Ok(opened) => opened,
            Err(SiloError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = |why: &dyn std::fmt::Display| SiloError::not_done(format!("`{MARKER}` is damaged: {why}"));
        let length = opened.length();
        if length > MAX_MARKER as u64 {
            return Err(damaged(&format!("{length} bytes")));
        }
        let text = opened.peek(0..length).await?;
        serde_json::from_slice(&text).map(Some).map_err(|error| damaged(&error))
    }

    /// Writes a marker where there is none. Whoever wrote last where the server replaces is found by reading again.
    async fn write_marker(&self, marker: &Marker) -> Result<(), SiloError> {
        let text = serde_json::to_vec_pretty(marker).map_err(SiloError::not_done)?;
        match self.server.put(MARKER, text.len() as u64, put::of(text.into()), true).await {
            Ok(()) | Err(SiloError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn is_empty(&self) -> Result<bool, SiloError> {
        match self.server.entries("").await {
            Ok(found) => Ok(found.is_empty()),
            Err(SiloError::Missing) => self.server.make_folder("").await.map(|()| true),
            Err(error) => Err(error),
        }
    }

    /// Makes a blob's folder, and those above it.
    async fn make_folders(&self, name: &BlobName) -> Result<(), SiloError> {
        let path = path(name);
        let folder = path.rfind('/').map_or("", |slash| &path[..=slash]);
        if self.with_known(|known| known.folders.contains(folder)) {
            return Ok(());
        }
        let _one_at_a_time = self.making.lock().await;
        for (slash, _) in path.match_indices('/') {
            let folder = &path[..=slash];
            if self.with_known(|known| known.folders.contains(folder)) {
                continue;
            }
            self.server.make_folder(folder).await?;
            self.with_known(|known| {
                if known.folders.len() >= OPEN_FOLDERS {
                    known.folders.clear();
                }
                known.folders.insert(folder.to_owned());
            });
        }
        Ok(())
    }

    /// A blob's payload as a part of its file: what is read of a short rest comes with the trailer, in one request.
    async fn payload(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        let blocks = span::blocks(size, range.clone())?;
        let opened = self.open(name).await?;
        let length = opened.length();
        if name.is_pack() {
            Length::AtLeast(size).check(length)?;
            return opened.read(range).await;
        }
        let rest =
            length.checked_sub(size).filter(|rest| (TAIL as u64..=(TAIL + MAX_DESCRIPTION) as u64).contains(rest));
        let Some(rest) = rest else {
            return Err(SiloError::mismatch(format!("a file of {length} bytes, {size} of payload expected")));
        };
        let short = size - range.start <= BLOCK as u64;
        let from = if short { range.start } else { length - rest };
        let bytes = opened.peek(from..length).await?;
        span::same_size(Tail::parse(&bytes)?.payload(length)?, size)?;
        if short {
            return Ok(put::cut(&bytes, range.start, blocks));
        }
        opened.read(range).await
    }
}

/// Where a blob lies.
fn path(name: &BlobName) -> String {
    format!("{BLOBS}{name}")
}

/// The last bytes of a file, taken apart.
async fn tail(opened: &dyn Opened) -> Result<Tail, SiloError> {
    let length = opened.length();
    let from = length.checked_sub(TAIL as u64).ok_or_else(|| SiloError::mismatch("the file was cut"))?;
    Tail::parse(&opened.peek(from..length).await?)
}

#[async_trait]
impl<S: Server> Silo for Files<S> {
    fn buffered(&self) -> u64 {
        self.server.buffered()
    }

    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        span::fits_extent(size, MAX_EXTENT)?;
        self.claimed()?;
        let (stored, body) = put::with_trailer(name, size, body, &describe)?;
        self.make_folders(name).await?;
        let exclusive = self.with_known(|known| known.exclusive);
        let done = self.server.put(&path(name), stored, body, exclusive).await;
        if matches!(done, Err(SiloError::NotDone { .. } | SiloError::Missing)) {
            // Perhaps somebody took the folder away.
            self.with_known(|known| known.folders.clear());
        }
        done.map_err(
            |error| if error == SiloError::Missing { SiloError::not_done("the folder is gone") } else { error },
        )?;
        let opened =
            self.server.open(&path(name)).await.map_err(|error| SiloError::unknown(format!("after it: {error}")))?;
        if opened.length() != stored {
            return Err(SiloError::mismatch(format!("{} bytes stored of {stored}", opened.length())));
        }
        Ok(Stored { size, validator: opened.validator(), checksum_enforced: false })
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.payload(name, size, range).await
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        let opened = self.open(name).await?;
        let length = opened.length();
        let size = if name.is_pack() { length } else { tail(&*opened).await?.payload(length)? };
        Ok(Stat { size, validator: opened.validator() })
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        let opened = self.open(name).await?;
        if name.is_pack() {
            return Ok(Vec::new());
        }
        let tail = tail(&*opened).await?;
        let from = tail.payload(opened.length())?;
        let description = opened.peek(from..from + u64::from(tail.description)).await?;
        tail.check(&description)?;
        Ok(description.into())
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        self.claimed()?;
        match self.server.delete(&path(name)).await {
            Err(SiloError::Missing) => match self.explain(SiloError::Missing).await {
                SiloError::Missing => Ok(()),
                error => Err(error),
            },
            outcome => outcome,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        self.claimed()?;
        let (limit, after) = (span::page(limit), after.map(|after| format!("{BLOBS}{after}")));
        let mut walk = Walk::new(Arc::clone(&self.server), &format!("{BLOBS}{prefix}"), after.as_deref());
        let mut found = Vec::new();
        while found.len() < limit {
            let steps = walk.next(limit - found.len()).await?;
            if steps.is_empty() {
                break;
            }
            for step in steps {
                let (path, stored) = match step {
                    Step::File(path, length) => (path, length),
                    Step::Refused(path, _) => (path, 0),
                    Step::Unread(_, error) => return Err(error),
                };
                found.push(Listed { name: path[BLOBS.len()..].to_owned(), stored });
            }
        }
        // An empty page says that nothing is left, which only a silo that is still there may say.
        match if found.is_empty() { self.explain(SiloError::Missing).await } else { SiloError::Missing } {
            SiloError::Missing => Ok(found),
            error => Err(error),
        }
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        let found = match self.read_marker().await? {
            Some(found) => found,
            None if !claim.fresh => return Err(Claim::refuse_unmarked()),
            None if !self.is_empty().await? => return Err(Claim::refuse_strangers()),
            None => {
                self.write_marker(&claim.marker).await?;
                self.read_marker().await?.ok_or_else(Claim::refuse_unmarked)?
            }
        };
        claim.check(&found)?;
        self.with_known(|known| known.marker = Some(found));
        Ok(())
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        self.read_marker().await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.claimed()?;
        let facts = probe::probe(&*self.server).await?;
        self.recall(&facts);
        Ok(facts)
    }

    fn recall(&self, facts: &Facts) {
        self.with_known(|known| known.exclusive = facts.exclusive_create);
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.claimed()?;
        self.server.space().await
    }
}
