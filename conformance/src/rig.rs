//! How a rig begins and ends.

use std::future::Future;
use std::path::PathBuf;
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

/// What a run may be told of another one.
#[derive(Debug, Clone, clap::Args)]
pub struct Rerun {
    /// Repeats the choices of another run.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the data folders go; kept.
    #[arg(long)]
    folder: Option<PathBuf>,
}

/// The same in a folder, which is gone afterwards unless one is given.
pub async fn run_in<F>(name: &str, rerun: &Rerun, rig: impl FnOnce(u64, PathBuf) -> F) -> ExitCode
where
    F: Future<Output = Outcome<String>>,
{
    let in_folder = |seed| async move {
        let temp = tempfile::Builder::new().prefix(&format!("holdall-{name}-")).tempdir()?;
        rig(seed, rerun.folder.clone().unwrap_or_else(|| temp.path().to_owned())).await
    };
    run(name, rerun.seed, in_folder).await
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
