//! `holdall inventory`: a table of all objects.

use clap::Subcommand;
use holdall_namespace::census::{BUCKET, Taken};
use http::Method;

use super::exit::Failure;
use super::lines::Lines;
use super::{Context, print};
use crate::admin::view::CensusLine;

/// `holdall inventory`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a table of all objects, as Parquet files in the bucket `holdall-inventory`.
    Refresh,
}

pub(super) async fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Refresh => refresh(context).await,
    }
}

async fn refresh(context: &Context) -> Result<(), Failure> {
    let mut lines = Lines::of(context.admin()?.stream(Method::POST, "/v1/inventory/refresh").await?);
    while let Some(line) = lines.next().await? {
        match line {
            CensusLine::Taking(_) => {}
            CensusLine::Error(reason) => return Err(Failure::failed(format!("the inventory broke off: {reason}"))),
            CensusLine::Taken(taken) => return conclude(context, &taken),
        }
    }
    Err(Failure::failed("the inventory broke off: the gateway ended its answer early"))
}

/// A bucket whose inventory stays as it was is exit code 1, and so is an object that is missing in it.
fn conclude(context: &Context, taken: &Taken) -> Result<(), Failure> {
    if context.global.json {
        print::ndjson(&CensusLine::Taken(taken.clone()))?;
    } else {
        let Taken { buckets, objects, files, bytes, .. } = taken;
        let bytes = print::bytes(*bytes);
        print::line(format!("{objects} objects of {buckets} buckets, in {files} files of s3://{BUCKET}/, {bytes}"))?;
    }
    let mut told: Vec<String> =
        taken.skipped.iter().map(|(bucket, reason)| format!("{bucket}: left as it was: {reason}")).collect();
    if let Some(example) = &taken.example {
        told.push(format!("objects that are missing in it: {}; the first: {}", taken.unclear, print::plain(example)));
    }
    if told.is_empty() { Ok(()) } else { Err(Failure::failed(told.join("; "))) }
}
