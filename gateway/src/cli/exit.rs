//! How a command ends, in numbers that scripts rely on.

use std::fmt;
use std::process::ExitCode;

use crate::admin::problem::Problem;

/// Why a command did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// See [`Kind`].
    pub kind: Kind,
    /// One line for a person.
    pub message: String,
}

/// The exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 1: it went wrong.
    Failed = 1,
    /// 2: it was asked wrongly.
    Misuse = 2,
    /// 3: no gateway answers there.
    Unreachable = 3,
    /// 4: a rule forbids it.
    Refused = 4,
    /// 130: interrupted by Ctrl-C; what the gateway was ordered goes on there.
    Detached = 130,
}

impl Failure {
    /// Exit code 1.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: Kind::Failed, message: message.into() }
    }

    /// Exit code 2.
    pub fn misuse(message: impl Into<String>) -> Self {
        Self { kind: Kind::Misuse, message: message.into() }
    }

    /// Exit code 3.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unreachable, message: message.into() }
    }

    /// Exit code 4, naming the rule.
    pub fn refused(problem: &Problem) -> Self {
        Self { kind: Kind::Refused, message: format!("refused ({}): {}", problem.code, problem.detail) }
    }

    /// Exit code 130.
    pub fn detached(message: impl Into<String>) -> Self {
        Self { kind: Kind::Detached, message: message.into() }
    }

    /// As the process ends.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
