//! What lies in a silo under names that others gave it, and that others may change at any moment. Nothing here writes.
//!
//! Names are raw: what a file system or a bucket holds, byte for byte. Whoever reads one says what was seen of it, and gets
//! those bytes or an error, never a mixture.

use std::ops::Range;

use async_trait::async_trait;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::silo::{Pieces, Validator};

/// A name as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The name, below what is looked at.
    pub name: Vec<u8>,
    /// Bytes.
    pub size: u64,
    /// What a read of it must find again.
    pub validator: Validator,
    /// When it was last modified, milliseconds since the epoch.
    pub modified: i64,
    /// It was changed so short a time before it was seen that the silo's clock may hide a second change.
    pub unsettled: bool,
    /// The silo's own entity tag without its quotes, where it has one.
    pub etag: Option<String>,
    /// Whether `system`, `user` and `tags` are all there is. A walk of a bucket sees no more than a listing tells, which may be
    /// nothing of either; a look sees it all.
    pub complete: bool,
    /// Headers that came with it, lower-case names, as a GET would send them.
    pub system: Vec<(String, String)>,
    /// User metadata, lower-case names without a prefix. Of a file: `file-owner`, `file-group`, `file-permissions`, as
    /// AWS `DataSync` calls them.
    pub user: Vec<(String, String)>,
    /// Tags, where the silo has any beside metadata.
    pub tags: Vec<(String, String)>,
}

/// One step of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A name that can be read.
    Held(Held),
    /// A name that never can: a device, a link that leads nowhere or out.
    Refused {
        /// Which.
        name: Vec<u8>,
        /// Why, in one sentence fragment.
        reason: String,
    },
    /// A name whose bytes are there, and cannot be read before it is restored.
    Archived {
        /// Which.
        name: Vec<u8>,
        /// Why, in one sentence fragment.
        reason: String,
    },
    /// A name, or with `/` at its end all names below it, that could not be looked at this time: the walk is not complete.
    Unread {
        /// Which.
        name: Vec<u8>,
        /// Why, in one sentence fragment.
        reason: String,
    },
}

impl Found {
    /// The name it is about.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Held(held) => &held.name,
            Self::Refused { name, .. } | Self::Archived { name, .. } | Self::Unread { name, .. } => name,
        }
    }
}

/// What may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// This name was changed, came or went.
    Name(Vec<u8>),
    /// Some of the names that begin with this were.
    Below(Vec<u8>),
}

/// A silo seen as what it holds.
#[async_trait]
pub trait Holdings: Send + Sync + 'static {
    /// What tells this silo from another one, or from an empty folder where it should be mounted. It stays the same over
    /// restarts and mounts.
    async fn identity(&self) -> Result<String, SiloError>;

    /// Finds out what this silo promises to whoever reads, writing nothing.
    async fn facts(&self) -> Result<Facts, SiloError>;

    /// Walks the names that begin with `prefix` and come after `after`, ascending by bytes.
    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk>;

    /// Looks at one name. `Missing` where there is none, `Mismatch` where it is nothing that can be read.
    async fn look(&self, name: &[u8]) -> Result<Held, SiloError>;

    /// Reads `range` of a name of `size` bytes, as it was when `validator` was seen: `Mismatch` before the first or instead
    /// of the last byte where it is not that any more. What is gone is `Missing`, or `Mismatch` where a server says no more.
    async fn read(&self, name: &[u8], size: u64, validator: &Validator, range: Range<u64>)
    -> Result<Pieces, SiloError>;

    /// Whether both are the same file, last written to at the same time: only something beside its bytes was changed, as far
    /// as that can be seen.
    fn same_file(&self, one: &Validator, other: &Validator) -> bool {
        let _ = (one, other);
        false
    }

    /// Whether each write to a name shows in its validator, also where its writer set the time of it back.
    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        Ok(true)
    }

    /// Watches the names that begin with `prefix`: what changes after this answered is told as it happens, as far as the
    /// silo shows it. Otherwise why nothing is, in one sentence fragment.
    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, String> {
        let _ = prefix;
        Err("this kind of silo does not show what others change".to_owned())
    }
}

/// A watch under way. It tells too much rather than too little, and yet not all: only a walk sees everything.
#[async_trait]
pub trait Watch: Send {
    /// Waits until something may have changed. After an error, one sentence fragment, the watch is over.
    async fn next(&mut self) -> Result<Vec<Touched>, String>;

    /// A part of it that is not watched, and why, in one sentence fragment.
    fn unseen(&self) -> Option<&str>;
}

/// A walk under way. Each name is seen at most once; names that come or go meanwhile may be seen or not.
#[async_trait]
pub trait Walk: Send {
    /// About `limit` steps more; empty at the end. After an error the walk is over.
    async fn next(&mut self, limit: usize) -> Result<Vec<Found>, SiloError>;
}
