//! `holdall apply` and `holdall config`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Failure;
use super::{Context, print};
use crate::admin::view::Applied;
use crate::config;

/// `holdall apply`
#[derive(Debug, Args)]
pub struct Apply {
    /// The TOML file that declares; process settings in it are left alone.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Show what would change and change nothing. Whether a silo can be reached and is ours is seen only when it is
    /// applied.
    #[arg(long)]
    dry_run: bool,
}

/// `holdall config`
#[derive(Debug, Args)]
pub struct Config {
    /// Print every field with its documentation and default.
    #[arg(long, required = true)]
    sample: bool,
}

pub(super) async fn run(context: &Context, command: &Apply) -> Result<(), Failure> {
    let declared = config::read_declared(&command.file).map_err(|error| Failure::misuse(error.to_string()))?;
    let admin = context.admin()?;
    show(context, admin.post(&format!("/v1/apply?dry_run={}", command.dry_run), &declared).await?)
}

pub(super) fn show(context: &Context, applied: Applied) -> Result<(), Failure> {
    if context.global.json {
        return print::json(&applied);
    }
    if applied.changes.is_empty() {
        eprintln!("nothing to change");
        return Ok(());
    }
    let rows =
        applied.changes.into_iter().map(|change| vec![change.what, change.before.unwrap_or_default(), change.after]);
    print::table(&["WHAT", "BEFORE", if applied.dry_run { "WOULD BE" } else { "NOW" }], rows.collect())
}

pub(super) fn config(command: &Config) -> Result<(), Failure> {
    if command.sample { print::text(config::SAMPLE) } else { Err(Failure::misuse("only --sample is known")) }
}
