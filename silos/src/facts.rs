//! What a silo was found to promise.

use serde::{Deserialize, Serialize};

/// Probed when a silo is registered and when the gateway starts; stored and shown. A silo's word is not enough:
/// some servers answer 200 to a condition and ignore it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, none implies another")]
pub struct Facts {
    /// `posix`, `s3`, `azure`, `gs`, `http`, `webdav`, `sftp`, `memory`.
    pub family: String,
    /// A create that must not replace is refused by the silo itself.
    pub exclusive_create: bool,
    /// A wrong upload checksum is refused by the silo, so that an accepted upload need not be read back.
    pub enforces_upload_checksum: bool,
    /// A read can name the version it expects (If-Match, or an open handle).
    pub conditional_read: bool,
    /// Bytes are durable when `put` answers.
    pub durable_put: bool,
    /// The largest blob one `put` may carry, bytes.
    pub max_blob: u64,
    /// The finest difference in modification times the silo shows, nanoseconds; 0 when unknown.
    pub time_grain_ns: u64,
    /// The file system's or service's own name, when known.
    pub kind: String,
    /// Quirks found while probing, one sentence each.
    pub notes: Vec<String>,
}

impl Facts {
    /// Whether the silo is reached over a network, where what does not answer may do so soon.
    pub fn is_bucket(&self) -> bool {
        matches!(self.family.as_str(), "s3" | "azure" | "gs" | "http" | "webdav" | "sftp")
    }
}
