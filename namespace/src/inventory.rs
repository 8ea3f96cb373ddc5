//! The silos: which there are, how full, how healthy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use holdall_silos::Facts;

use crate::clock::UnixMs;
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::name::BucketName;
use crate::namespace::Namespace;

/// How a silo's credentials are found; never the secrets themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsFrom {
    /// Environment variable that holds the access key id.
    pub access_key_id_env: Option<String>,
    /// Environment variable that holds the secret.
    pub secret_access_key_env: Option<String>,
    /// File that holds the access key id, alone on its first line.
    pub access_key_id_file: Option<String>,
    /// File that holds the secret, alone on its first line.
    pub secret_access_key_file: Option<String>,
}

/// A silo as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredSilo {
    /// `file:hot`, `file:///path`, `s3://bucket?endpoint=…`.
    pub url: String,
    /// Where its credentials are.
    pub credentials: CredentialsFrom,
    /// Room kept free, in percent of the silo.
    pub reserve_percent: u8,
}

/// Where new objects go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WritePolicy {
    /// Silos by name, in order; the first that takes the write has it.
    pub to: Vec<WriteTarget>,
}

/// One entry of a write policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteTarget {
    /// The silo's name.
    pub silo: String,
    /// Only bodies of at least this many bytes.
    pub min_size: u64,
    /// Only bodies of at most this many bytes.
    pub max_size: Option<u64>,
}

/// Declared state, as a file or the admin API says it. What it leaves out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// Silos by name.
    pub silos: BTreeMap<String, DeclaredSilo>,
    /// The default write policy.
    pub write: Option<WritePolicy>,
    /// Write policies by bucket (which need not exist yet).
    pub bucket_write: BTreeMap<BucketName, WritePolicy>,
}

/// One difference that applying would make, or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `silo.hot`, `write`, `bucket.logs.write`.
    pub what: String,
    /// As it was; none for something new.
    pub before: Option<String>,
    /// As it is declared.
    pub after: String,
}

/// Why declared state was not applied; nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Something declared makes no sense: which, and why.
    #[error("{what}: {reason}")]
    Invalid {
        /// `silo.hot.url`
        what: String,
        /// One sentence fragment.
        reason: String,
    },
    /// A silo does not answer, is unreadable, or is somebody else's.
    #[error("silo `{silo}`: {reason}")]
    Silo {
        /// Its name.
        silo: String,
        /// One sentence fragment.
        reason: String,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Whether a silo answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It does.
    Up,
    /// It did not lately; reads of what it holds answer 503.
    Down,
}

/// A silo as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiloInfo {
    /// Its number.
    pub id: SiloId,
    /// Its name.
    pub name: String,
    /// Its URL, without secrets.
    pub url: String,
    /// Takes no new bytes by order.
    pub cordoned: bool,
    /// Whether it answers.
    pub health: Health,
    /// What it was found to promise.
    pub facts: Facts,
    /// Extents with a verified replica here.
    pub extents: i64,
    /// Their stored bytes.
    pub used: i64,
    /// Replicas retired and not yet swept.
    pub retired_extents: i64,
    /// Their stored bytes.
    pub retired: i64,
    /// Bytes the silo could still take; unknown for buckets.
    pub free: Option<u64>,
    /// Bytes of them kept free.
    pub reserve: Option<u64>,
    /// When it was registered.
    pub created: UnixMs,
}

/// There is no silo of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiloCommandError {
    /// Which.
    #[error("no silo `{0}`")]
    NoSuchSilo(String),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Namespace {
    /// Declares silos and write policies: connects, claims and probes new silos first, then commits all or nothing.
    /// With `dry_run` nothing is touched and the changes are those it would make.
    pub async fn apply(&self, _declared: &Declared, _dry_run: bool) -> Result<Vec<Change>, ApplyError> {
        unimplemented!()
    }

    /// Whether the index knows any silo: a new index declares the default ones.
    pub fn has_silos(&self) -> bool {
        unimplemented!()
    }

    /// All silos, by number.
    pub async fn silos(&self) -> Result<Vec<SiloInfo>, Fault> {
        unimplemented!()
    }

    /// Cordons (takes no new bytes) or uncordons a silo.
    pub async fn set_cordon(&self, _silo: &str, _cordoned: bool) -> Result<SiloInfo, SiloCommandError> {
        unimplemented!()
    }
}
