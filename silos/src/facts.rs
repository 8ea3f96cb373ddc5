//! What a silo was found to promise.

use serde::{Deserialize, Serialize};

use crate::limits::GATHERED_BODY;

/// How the note begins that a bucket keeps versions which are deleted one by one.
pub(crate) const KEEPS_VERSIONS: &str = "the bucket keeps versions: ";
/// The note on a silo whose word of what it received is none.
pub(crate) const STRANGE_ECHO: &str = "what it says of the bytes it received is no checksum that we know";
/// The note on a silo that gives no word, where long bodies are sent before their checksum is known.
pub(crate) const NO_ECHO: &str = "it says nothing of the bytes it received: copies of more than 256 KiB are read back";

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
    /// Whether a copy of so many bytes has to be read back, since nothing else shows that the silo has them.
    pub fn reads_back(&self, size: u64) -> bool {
        let silent = self.notes.iter().any(|note| note == NO_ECHO || note == STRANGE_ECHO);
        !self.enforces_upload_checksum || (silent && size > GATHERED_BODY)
    }

    /// Whether the silo is reached over a network, where what does not answer may do so soon.
    pub fn is_bucket(&self) -> bool {
        matches!(self.family.as_str(), "s3" | "azure" | "gs" | "http" | "webdav" | "sftp")
    }
}
