//! Why an operation could not be carried out though the client did nothing wrong.

use crate::engine::{EngineError, NotCommitted};

/// The house's own failures; every operation's error has one variant for them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Try again: a silo or the index does not answer, an outcome is unknown, a race was lost too often. 503.
    #[error("unavailable for now: {0}")]
    Unavailable(String),
    /// No silo takes new bytes, or the index's disk is nearly full. 507.
    #[error("no room: every silo that may take new bytes is full, or the index's disk is")]
    NoRoom,
    /// Stored bytes do not match their checksums, or a row does not read. 500.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// The bytes went with this silo, which never comes back; no other has them. Final: 405, as S3 answers for what it lost.
    #[error("the bytes went with silo `{0}`, which is lost")]
    Lost(String),
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Full => Self::NoRoom,
            EngineError::Unknown(reason) | EngineError::Failed(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<NotCommitted<Fault>> for Fault {
    fn from(error: NotCommitted<Fault>) -> Self {
        match error {
            NotCommitted::Refused(fault) => fault,
            NotCommitted::Engine(error) => error.into(),
        }
    }
}
