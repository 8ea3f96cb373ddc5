//! What is declared of silos, write policies and objectives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::credentials::CredentialsFrom;
use crate::fault::Fault;
use crate::limits::DEFAULT_RESERVE_PERCENT;
use crate::mover::{Gate, SiloPace};
use crate::name::BucketName;
use crate::objective::Objective;
use crate::price::Price;

/// A silo as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredSilo {
    /// `file:hot`, `file:///path`, `s3://bucket?endpoint=…`, `azure://container?account=…`, `gs://bucket`,
    /// `sftp://user@host/path`, `davs://host/path`, `https://host/path`.
    pub url: String,
    /// Where its credentials are.
    pub credentials: CredentialsFrom,
    /// Room kept free, in percent of the silo.
    pub reserve_percent: u8,
    /// Whose it is.
    #[serde(default)]
    pub access: Access,
    /// What objectives know it by beside its name: `site = frankfurt`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The URL of the queue of SQS's that a bucket of others sends its notifications to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notifications: Option<String>,
    /// What it asks; not known where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// All that it holds is read and checked so often, in seconds; 0 is by order alone. Where nothing is said, as others are, if
    /// reading it costs nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<u64>,
    /// How fast what runs in the background may use it.
    #[serde(default, skip_serializing_if = "Rates::are_unlimited")]
    pub rates: Rates,
}

/// How fast moves, copies, scrubs and their verification may use a silo, all of them together in each gateway. What clients ask
/// for waits for none of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    /// Bytes a second that are read; none is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Bytes a second that are written; none is unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<u64>,
}

impl Rates {
    /// Bytes a second; none, and 0, are unlimited.
    pub fn of(read: Option<u64>, write: Option<u64>) -> Self {
        let limit = |rate: Option<u64>| rate.filter(|rate| *rate > 0);
        Self { read: limit(read), write: limit(write) }
    }

    fn are_unlimited(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn pace(self) -> SiloPace {
        SiloPace { reading: Gate::new(self.read), writing: Gate::new(self.write) }
    }
}

impl DeclaredSilo {
    /// A silo of ours, with credentials found the cloud's own ways and the usual reserve.
    pub fn own(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            credentials: CredentialsFrom::default(),
            reserve_percent: DEFAULT_RESERVE_PERCENT,
            access: Access::Own,
            labels: BTreeMap::new(),
            notifications: None,
            price: None,
            scrub: None,
            rates: Rates::default(),
        }
    }
}

/// Whose a silo is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Ours: it takes blobs under names of our own.
    #[default]
    Own,
    /// Others': what it holds can be taken over in place, and is never touched.
    ReadOnly,
    /// Others', who let us write as they do: what is taken over from it for writing follows its keys.
    ReadWrite,
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
    /// Objectives by name.
    #[serde(default)]
    pub objectives: BTreeMap<String, Objective>,
}

/// One difference that applying would make, or made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `silo.hot`, `write`, `bucket.logs.write`, `objective.archive`.
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
