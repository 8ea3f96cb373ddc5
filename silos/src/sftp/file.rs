//! A file that is read or written over a connection, many requests at once.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, future, stream};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{FileAttributes, OpenFlags};

use super::session::{Handle, Session};
use crate::error::{BodyError, SiloError};
use crate::exact::Exact;
use crate::files::Opened;
use crate::limits::{BLOCK, RESPONSE_TIMEOUT, SLOWEST_FLUSH};
use crate::silo::{Pieces, Validator};
use crate::span;

/// Bytes of one request: what every server takes.
const STEP: usize = 32 << 10;
/// Writes under way at once.
const WRITES: usize = 64;
/// Blocks read at once; each is several requests.
const AHEAD: usize = 4;

/// Why a file was not written.
pub(super) enum Broken {
    Body(BodyError),
    Silo(Error),
}

impl From<BodyError> for Broken {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Silo(error)
    }
}

impl Handle {
    /// Writes a whole body, flushes it where the server can, and closes the file: some servers take it only then.
    pub(super) async fn write(mut self, size: u64, mut body: Exact) -> Result<(), Broken> {
        let (mut flights, mut at) = (FuturesUnordered::new(), 0);
        while let Some(mut piece) = body.next().await? {
            while !piece.is_empty() {
                if flights.len() >= WRITES {
                    flights.next().await.transpose()?;
                }
                let part = piece.split_to(piece.len().min(STEP));
                let length = part.len() as u64;
                flights.push(self.write_step(at, part));
                at += length;
                // What was just begun is sent by being asked.
                while let Some(Some(done)) = flights.next().now_or_never() {
                    done?;
                }
            }
        }
        while let Some(done) = flights.next().await {
            done?;
        }
        drop(flights);
        if self.session.flushes {
            let limit = RESPONSE_TIMEOUT + Duration::from_secs(size / SLOWEST_FLUSH);
            self.session.within(limit, self.session.raw.fsync(self.id.clone())).await?;
        }
        self.close().await?;
        Ok(())
    }

    async fn write_step(&self, at: u64, part: Bytes) -> Result<(), Error> {
        let write = self.session.raw.write(self.id.clone(), at, part.to_vec());
        self.session.within(RESPONSE_TIMEOUT, write).await.map(drop)
    }

    pub(super) async fn attributes(&self) -> Result<FileAttributes, Error> {
        self.session.within(RESPONSE_TIMEOUT, self.session.raw.fstat(self.id.clone())).await.map(|answer| answer.attrs)
    }

    /// A part of the file, of at most a few blocks.
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes, SiloError> {
        let mut bytes = BytesMut::zeroed((range.end - range.start) as usize);
        let steps = bytes.chunks_mut(STEP).enumerate();
        let reads = steps.map(|(number, part)| self.read_step(range.start + (number * STEP) as u64, part));
        future::try_join_all(reads).await.map_err(|error| self.session.reading(error))?;
        Ok(bytes.freeze())
    }

    /// Fills a part; a server may send less than it was asked for.
    async fn read_step(&self, mut at: u64, mut part: &mut [u8]) -> Result<(), Error> {
        while !part.is_empty() {
            let read = self.session.raw.read(self.id.clone(), at, part.len() as u32);
            let found = self.session.within(RESPONSE_TIMEOUT, read).await?.data;
            if found.is_empty() || found.len() > part.len() {
                return Err(Error::UnexpectedBehavior(format!("{} bytes sent, {} asked for", found.len(), part.len())));
            }
            part[..found.len()].copy_from_slice(&found);
            part = &mut part[found.len()..];
            at += found.len() as u64;
        }
        Ok(())
    }
}

/// A file that was opened to be read.
pub(super) struct Remote {
    pub(super) handle: Arc<Handle>,
    pub(super) attributes: FileAttributes,
}

impl Remote {
    pub(super) async fn open(session: Arc<Session>, path: String) -> Result<Self, Error> {
        let handle = session.open(path, OpenFlags::READ, FileAttributes::empty()).await?;
        let attributes = handle.attributes().await?;
        Ok(Self { handle: Arc::new(handle), attributes })
    }
}

/// What tells a file from one that was written in its place: its time and its length.
pub(super) fn validator(attributes: &FileAttributes) -> Validator {
    Validator(format!("{:x}-{:x}", attributes.mtime.unwrap_or_default(), attributes.len()))
}

#[async_trait]
impl Opened for Remote {
    fn length(&self) -> u64 {
        self.attributes.len()
    }

    fn validator(&self) -> Validator {
        validator(&self.attributes)
    }

    async fn read(self: Box<Self>, range: Range<u64>) -> Result<Pieces, SiloError> {
        let blocks = span::blocks(self.length(), range)?;
        let handle = Arc::clone(&self.handle);
        let pieces = stream::iter(blocks).map(move |block| {
            let handle = Arc::clone(&handle);
            async move { handle.read(block).await }
        });
        Ok(pieces.buffered(AHEAD).boxed())
    }

    async fn peek(&self, range: Range<u64>) -> Result<Bytes, SiloError> {
        if range.end - range.start > 2 * BLOCK as u64 || range.end > self.length() {
            return Err(SiloError::not_done("more than a short part of a file"));
        }
        self.handle.read(range).await
    }
}
