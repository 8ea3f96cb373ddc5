//! A silo is named by a URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::silo::Silo;

/// Where a silo is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `file:///absolute` or `file:relative` (below the data folder).
    Posix(PathBuf),
    /// `s3://bucket[/prefix]?endpoint=URL&region=NAME&path_style=true|false`.
    S3 {
        /// Bucket name.
        bucket: String,
        /// Prefix of all our names, without slashes at its ends; may be empty.
        prefix: String,
        /// `http://host:port`; AWS's own when absent.
        endpoint: Option<String>,
        /// Signing region.
        region: String,
        /// Path-style addressing; the default wherever an endpoint is given.
        path_style: bool,
    },
    /// `memory:NAME`: lost with the process; for tests. The same name is the same silo within a process.
    Memory(String),
}

/// What a silo's requests are signed with; never shown.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The environment's own ways (variables, profiles, instance metadata).
    #[default]
    Ambient,
    /// A key pair.
    Keys {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
    },
}

/// The URL names no silo.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{url}`: {reason}")]
pub struct BadAddress {
    /// The URL as given.
    pub url: String,
    /// What is wrong, naming the part.
    pub reason: String,
}

impl Address {
    /// Parses a silo's URL; `base` is the folder that relative paths are below.
    pub fn parse(_url: &str, _base: &Path) -> Result<Self, BadAddress> {
        unimplemented!()
    }
}

/// Opens a silo's client. Touches nothing: `claim` and `probe` do.
pub fn connect(_address: &Address, _credentials: &Credentials) -> Result<Arc<dyn Silo>, BadAddress> {
    unimplemented!()
}
