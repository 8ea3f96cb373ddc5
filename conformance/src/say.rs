//! What a rig tells: results to stdout, progress to stderr.

use std::fmt::Display;
use std::io::Write as _;

/// One line of result.
pub fn result(line: impl Display) {
    // A reader that went away is no reason to stop a measurement.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// One line of progress.
pub fn progress(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
