//! The handle that every operation is a method of.

use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::Engine;
use crate::fault::Fault;

/// How a namespace is opened.
pub struct Options {
    /// Folder that relative silo paths are below.
    pub base: PathBuf,
    /// Seals secrets at rest; 32 bytes, kept outside the index.
    pub seal_key: [u8; 32],
    /// How long retired replicas stay beside the rule about readers.
    pub grace: std::time::Duration,
}

/// Why a namespace did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The index was written by a later version.
    #[error("the index has format {found}, this version reads up to {known}")]
    Format {
        /// As found.
        found: u32,
        /// As known.
        known: u32,
    },
    /// A silo that the index knows does not open.
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

/// One gateway's view of all buckets and objects.
pub struct Namespace {
    /// Rows.
    pub(crate) engine: Arc<dyn Engine>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Namespace {
    /// Opens the namespace: begins a session, connects and claims the silos the index knows. `alone` says that no other
    /// process has the index open, so that all earlier sessions are dead.
    pub async fn open(
        _engine: Arc<dyn Engine>,
        _clock: Arc<dyn Clock>,
        _options: Options,
        _alone: bool,
    ) -> Result<Arc<Self>, OpenError> {
        unimplemented!()
    }

    /// Starts what runs beside requests (beats, jobs, sweeps, health) on the current tokio runtime.
    pub fn start_background(self: &Arc<Self>) {
        unimplemented!()
    }

    /// Ends the session in good order: background work stops between steps, the last beat says so.
    pub async fn close(&self) {
        unimplemented!()
    }

    /// Whether the index answers and the session is alive.
    pub async fn ready(&self) -> Result<(), Fault> {
        unimplemented!()
    }

    /// Counters of this process.
    pub fn stats(&self) -> crate::stats::Snapshot {
        unimplemented!()
    }

    /// The namespace's own id, drawn when the index was made.
    pub fn id(&self) -> &str {
        unimplemented!()
    }
}
