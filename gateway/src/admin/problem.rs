//! What the admin API answers when it refuses: problem+json with a stable code.
//!
//! <https://www.rfc-editor.org/rfc/rfc9457>

use axum::response::{IntoResponse, Response};
use holdall_namespace::account::AccountError;
use holdall_namespace::assimilate::AssimilateError;
use holdall_namespace::census::CensusError;
use holdall_namespace::fault::Fault;
use holdall_namespace::inventory::{ApplyError, SiloCommandError};
use holdall_namespace::job::OrderError;
use holdall_namespace::label::LabelError;
use holdall_namespace::lost::LoseError;
use holdall_namespace::objective::ObjectiveError;
use holdall_namespace::probe::ProbeError;
use holdall_namespace::remove_silo::RemoveSiloError;
use holdall_namespace::set_silo::SetSiloError;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::error::S3Error;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// What scripts may rely on: `no_such_silo`, `account_exists`.
    pub code: String,
    /// The kind in words.
    pub title: String,
    /// This occurrence in words.
    pub detail: String,
}

impl Problem {
    /// A refusal with its code and one sentence fragment.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("refused").to_owned();
        Self { status: status.as_u16(), code: code.to_owned(), title, detail: detail.into() }
    }

    /// The request makes no sense.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let (status, code) = match &fault {
            Fault::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Fault::NoRoom => (StatusCode::INSUFFICIENT_STORAGE, "no_room"),
            Fault::Damaged(_) => (StatusCode::INTERNAL_SERVER_ERROR, "damaged"),
            Fault::Lost(_) => (StatusCode::GONE, "lost"),
        };
        tracing::error!(error = %fault, "admin request failed");
        Self::new(status, code, fault.to_string())
    }
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let (status, code) = match &error {
            AccountError::NoSuchAccount(_) => (StatusCode::NOT_FOUND, "no_such_account"),
            AccountError::NoSuchKey(_) => (StatusCode::NOT_FOUND, "no_such_key"),
            AccountError::Exists(_) => (StatusCode::CONFLICT, "account_exists"),
            AccountError::InvalidName(_) => (StatusCode::BAD_REQUEST, "invalid_name"),
            AccountError::InvalidKey(_) => (StatusCode::BAD_REQUEST, "invalid_key"),
            AccountError::KeyTaken(_) => (StatusCode::CONFLICT, "key_taken"),
            AccountError::TooManyKeys(_) => (StatusCode::CONFLICT, "too_many_keys"),
            AccountError::OwnsBuckets(_) => (StatusCode::CONFLICT, "account_owns_buckets"),
            AccountError::First => (StatusCode::CONFLICT, "first_account"),
            AccountError::Fault(fault) => return fault.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<SiloCommandError> for Problem {
    fn from(error: SiloCommandError) -> Self {
        match &error {
            SiloCommandError::NoSuchSilo(_) => Self::new(StatusCode::NOT_FOUND, "no_such_silo", error.to_string()),
            SiloCommandError::Lost(_) => Self::new(StatusCode::CONFLICT, "silo_lost", error.to_string()),
            SiloCommandError::Fault(fault) => fault.clone().into(),
        }
    }
}

impl From<LoseError> for Problem {
    fn from(error: LoseError) -> Self {
        let code = match &error {
            LoseError::Answers(_) => "silo_answers",
            LoseError::Unsure { .. } => "silo_unsure",
            LoseError::InSwitch(_) => "silo_in_switch",
            LoseError::InRoot { .. } => "silo_in_root",
            LoseError::NotLost(_) => "silo_not_lost",
            LoseError::NotFound { .. } => "silo_refused",
            LoseError::Order(error) => return error.clone().into(),
            LoseError::Silo(error) => return error.clone().into(),
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}

impl From<RemoveSiloError> for Problem {
    fn from(error: RemoveSiloError) -> Self {
        let code = match &error {
            RemoveSiloError::NotCordoned { .. } => "silo_not_cordoned",
            RemoveSiloError::Holds { .. } | RemoveSiloError::Retired { .. } | RemoveSiloError::Packs { .. } => {
                "silo_not_empty"
            }
            RemoveSiloError::Lost { .. } | RemoveSiloError::NotForgotten { .. } => "silo_lost",
            RemoveSiloError::Kept { .. } => "silo_keeps_files",
            RemoveSiloError::InPolicy { .. } => "silo_in_policy",
            RemoveSiloError::InObjective { .. } => "silo_in_objective",
            RemoveSiloError::InJob { .. } => "silo_in_job",
            RemoveSiloError::InRoot { .. } => "silo_in_root",
            RemoveSiloError::InSwitch { .. } => "silo_in_switch",
            RemoveSiloError::Last { .. } => "last_silo",
            RemoveSiloError::Silo(error) => return error.clone().into(),
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}

impl From<ObjectiveError> for Problem {
    fn from(error: ObjectiveError) -> Self {
        match &error {
            ObjectiveError::NoSuchObjective(_) => {
                Self::new(StatusCode::NOT_FOUND, "no_such_objective", error.to_string())
            }
            ObjectiveError::Fault(fault) => fault.clone().into(),
        }
    }
}

impl From<ApplyError> for Problem {
    fn from(error: ApplyError) -> Self {
        match &error {
            ApplyError::Invalid { .. } => Self::new(StatusCode::BAD_REQUEST, "invalid_declaration", error.to_string()),
            ApplyError::Silo { .. } => Self::new(StatusCode::CONFLICT, "silo_refused", error.to_string()),
            ApplyError::Fault(fault) => fault.clone().into(),
        }
    }
}

impl From<SetSiloError> for Problem {
    fn from(error: SetSiloError) -> Self {
        match error {
            SetSiloError::Silo(error) => error.into(),
            SetSiloError::Apply(error) => error.into(),
        }
    }
}

impl From<ProbeError> for Problem {
    fn from(error: ProbeError) -> Self {
        let (status, code) = match &error {
            ProbeError::Size { .. } => (StatusCode::BAD_REQUEST, "invalid_size"),
            ProbeError::Failed { .. } => (StatusCode::BAD_GATEWAY, "silo_failed"),
            ProbeError::Silent { .. } => (StatusCode::GATEWAY_TIMEOUT, "silo_silent"),
            ProbeError::Silo(error) => return error.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<AssimilateError> for Problem {
    fn from(error: AssimilateError) -> Self {
        let (status, code) = match &error {
            AssimilateError::NoSuchSilo(_) => (StatusCode::NOT_FOUND, "no_such_silo"),
            AssimilateError::NoSuchBucket(_) => (StatusCode::NOT_FOUND, "no_such_bucket"),
            AssimilateError::NoSuchRoot(_) => (StatusCode::NOT_FOUND, "no_such_root"),
            AssimilateError::Own(_) => (StatusCode::CONFLICT, "silo_is_own"),
            AssimilateError::ReadOnly(_) => (StatusCode::CONFLICT, "silo_is_read_only"),
            AssimilateError::UnderWay { .. } => (StatusCode::CONFLICT, "root_is_written_to"),
            AssimilateError::Overlaps { .. } => (StatusCode::CONFLICT, "root_overlaps"),
            AssimilateError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_order"),
            AssimilateError::Fault(fault) => return fault.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<CensusError> for Problem {
    fn from(error: CensusError) -> Self {
        let code = match &error {
            CensusError::UnderWay => "inventory_under_way",
            CensusError::Foreign => "bucket_taken",
            CensusError::Fault(fault) => return fault.clone().into(),
        };
        Self::new(StatusCode::CONFLICT, code, error.to_string())
    }
}

impl From<LabelError> for Problem {
    fn from(error: LabelError) -> Self {
        let (status, code) = match &error {
            LabelError::NoSuchKey(_) => (StatusCode::NOT_FOUND, "no_such_object"),
            LabelError::TooMany(_) => (StatusCode::CONFLICT, "too_many_labels"),
            LabelError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_label"),
            LabelError::Fault(fault) => return fault.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let (status, code) = match &error {
            OrderError::NoSuchSilo(_) => (StatusCode::NOT_FOUND, "no_such_silo"),
            OrderError::NoSuchBucket(_) => (StatusCode::NOT_FOUND, "no_such_bucket"),
            OrderError::NoSuchKey(_) => (StatusCode::NOT_FOUND, "no_such_object"),
            OrderError::NoSuchJob(_) => (StatusCode::NOT_FOUND, "no_such_job"),
            OrderError::Lost(_) => (StatusCode::CONFLICT, "silo_lost"),
            OrderError::Cordoned(_) => (StatusCode::CONFLICT, "silo_cordoned"),
            OrderError::Switching(_) => (StatusCode::CONFLICT, "silo_in_switch"),
            OrderError::Against(_) | OrderError::Undone { .. } => (StatusCode::CONFLICT, "against_objective"),
            OrderError::Conflict { .. } => (StatusCode::CONFLICT, "conflicting_job"),
            OrderError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid_order"),
            OrderError::Fault(fault) => return fault.clone().into(),
        };
        Self::new(status, code, error.to_string())
    }
}

/// What verifying the signature refused, in the same words as on the S3 side.
impl From<S3Error> for Problem {
    fn from(error: S3Error) -> Self {
        Self::new(error.code.status(), &snake(error.code.as_str()), error.message)
    }
}

/// `SignatureDoesNotMatch` as `signature_does_not_match`.
fn snake(code: &str) -> String {
    let mut out = String::with_capacity(code.len() + 8);
    let mut previous_lower = false;
    for letter in code.chars() {
        if letter.is_ascii_uppercase() && previous_lower {
            out.push('_');
        }
        previous_lower = letter.is_ascii_lowercase() || letter.is_ascii_digit();
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn codes_of_signatures_are_words_with_underscores() {
        let seen = |code| Problem::from(S3Error::new(code)).code;
        assert_eq!(seen(Code::SignatureDoesNotMatch), "signature_does_not_match");
        assert_eq!(seen(Code::XAmzContentSHA256Mismatch), "xamz_content_sha256_mismatch");
        assert_eq!(seen(Code::AccessDenied), "access_denied");
    }
}
