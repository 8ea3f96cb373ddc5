//! What is known after a silo failed: the one thing a caller needs to decide what to do next.

/// The client's side of an upload failed; the silo is not to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the body ended in an error: {reason}")]
pub struct BodyError {
    /// A short fact for the log.
    pub reason: String,
}

/// A failed silo operation. Each variant says what is known about the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiloError {
    /// Nothing happened, and it is certain that nothing will.
    #[error("not done: {reason}")]
    NotDone {
        /// A short fact for the log.
        reason: String,
    },
    /// The request may have taken effect, now or later. Probe; never guess.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// A short fact for the log.
        reason: String,
    },
    /// The silo asks for fewer requests. Nothing happened.
    #[error("throttled")]
    Throttled,
    /// No room for more bytes. Whatever was written of this blob is an orphan.
    #[error("the silo is full")]
    Full,
    /// What is stored is not what the caller named: another size, another validator, a broken blob.
    #[error("stored bytes do not match: {reason}")]
    Mismatch {
        /// A short fact for the log.
        reason: String,
    },
    /// There is no such blob, and the silo itself is the one we know (its marker matched).
    #[error("no such blob")]
    Missing,
    /// A blob of that name exists already; names are never reused, so this is a fault of ours.
    #[error("the name is taken")]
    Exists,
    /// The upload's own body failed; bytes written so far are an orphan.
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl SiloError {
    /// `NotDone` with a reason.
    pub fn not_done(reason: impl std::fmt::Display) -> Self {
        Self::NotDone { reason: reason.to_string() }
    }

    /// `Unknown` with a reason.
    pub fn unknown(reason: impl std::fmt::Display) -> Self {
        Self::Unknown { reason: reason.to_string() }
    }

    /// `Mismatch` with a reason.
    pub fn mismatch(reason: impl std::fmt::Display) -> Self {
        Self::Mismatch { reason: reason.to_string() }
    }

    /// Whether the fault is the silo's (it may be down), not the client's or the blob's.
    pub fn blames_silo(&self) -> bool {
        matches!(self, Self::NotDone { .. } | Self::Unknown { .. } | Self::Throttled)
    }
}
