//! How a rig begins and ends.

use std::future::Future;
use std::process::ExitCode;

use crate::{Outcome, clock, say};

/// Runs a rig by a seed, a new one unless one is given. The seed is told at the start, and again if it fails.
pub async fn run<F>(name: &str, seed: Option<u64>, rig: impl FnOnce(u64) -> F) -> ExitCode
where
    F: Future<Output = Outcome<String>>,
{
    let seed = seed.unwrap_or_else(|| clock::epoch_seconds(clock::wall()));
    say::progress(format!("seed {seed}"));
    end(&format!("{name} failed with seed {seed}"), rig(seed).await)
}

/// Tells the result, or what failed and why.
pub fn end(failed: &str, outcome: Outcome<String>) -> ExitCode {
    match outcome {
        Ok(line) => {
            say::result(line);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            say::progress(format!("{failed}: {failure}"));
            ExitCode::FAILURE
        }
    }
}
