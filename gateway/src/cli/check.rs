//! `holdall check` and `holdall sweep`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdall_namespace::Namespace;
use holdall_namespace::check::{Checked, Finding};
use holdall_namespace::engine::redb::OpenIndexError;
use holdall_namespace::sweep::Swept;
use http::Method;

use super::exit::Failure;
use super::lines::Lines;
use super::serve::chain;
use super::{Context, print};
use crate::admin::view::CheckLine;
use crate::config::{self, ServeArgs};
use crate::gateway::{Start, StartError, open_namespace};

/// `holdall check`: of a stopped data folder when `--data` names one, else of a running gateway.
#[derive(Debug, Args)]
pub struct Check {
    /// Read every byte: compare digests, and what each blob says of itself.
    #[arg(long)]
    deep: bool,
    /// The configuration that the stopped gateway was started with, if it names another index or sealing key.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `holdall sweep`
#[derive(Debug, Args)]
pub struct Sweep {
    /// Skip the grace period; the rule that nobody may be reading always holds.
    #[arg(long)]
    now: bool,
}

pub(super) async fn sweep(context: &Context, command: &Sweep) -> Result<(), Failure> {
    let swept: Swept = context.admin()?.act(&format!("/v1/sweep?skip_grace={}", command.now)).await?;
    if context.global.json {
        return print::json(&swept);
    }
    let Swept { replicas, orphans, bytes, waiting } = swept;
    print::line(format!("deleted {replicas} replicas and {orphans} orphans, {}; {waiting} wait", print::bytes(bytes)))
}

pub(super) async fn check(context: &Context, command: &Check) -> Result<(), Failure> {
    match stopped(context, command).await? {
        Some(namespace) => {
            let checked = check_stopped(context, command, &namespace).await;
            namespace.close().await;
            checked
        }
        None => check_running(context, command).await,
    }
}

/// Opens the data folder that `--data` names, as `serve` does; none when a gateway has it open, or it has no index.
async fn stopped(context: &Context, command: &Check) -> Result<Option<Arc<Namespace>>, Failure> {
    let Some(data) = context.global.data.clone() else { return Ok(None) };
    let args = ServeArgs { config: command.config.clone(), ..ServeArgs::default() };
    let (mut settings, _) =
        config::load(&args, Some(data), None).map_err(|error| Failure::misuse(error.to_string()))?;
    if !settings.index.exists() {
        return Ok(None);
    }
    // A check writes nothing into silos.
    settings.backup_every = Duration::ZERO;
    match open_namespace(&settings, &Start::default()).await {
        Ok(namespace) => Ok(Some(namespace)),
        Err(StartError::Index(OpenIndexError::InUse(_))) => Ok(None),
        Err(error) => Err(Failure::failed(chain(&error))),
    }
}

async fn check_stopped(context: &Context, command: &Check, namespace: &Namespace) -> Result<(), Failure> {
    let mut shown = Ok(());
    let mut found = |finding: Finding| {
        if shown.is_ok() {
            shown = show(context, &finding);
        }
    };
    let checked = namespace.check(command.deep, &mut found).await;
    shown?;
    conclude(context, &checked.map_err(|fault| Failure::failed(format!("the check broke off: {fault}")))?)
}

async fn check_running(context: &Context, command: &Check) -> Result<(), Failure> {
    let body = context.admin()?.stream(Method::GET, &format!("/v1/check?deep={}", command.deep)).await?;
    let mut lines = Lines::of(body);
    while let Some(line) = lines.next().await? {
        match line {
            CheckLine::Error(reason) => return Err(Failure::failed(format!("the check broke off: {reason}"))),
            CheckLine::Finding(finding) => show(context, &finding)?,
            CheckLine::Checked(checked) => return conclude(context, &checked),
        }
    }
    Err(Failure::failed("the check broke off: the gateway ended its answer early"))
}

/// One finding, as it is made.
pub(super) fn show(context: &Context, finding: &Finding) -> Result<(), Failure> {
    if context.global.json {
        return print::ndjson(&CheckLine::Finding(finding.clone()));
    }
    print::line(sentence(finding))
}

/// The last line; findings are exit code 1.
pub(super) fn conclude(context: &Context, checked: &Checked) -> Result<(), Failure> {
    if context.global.json {
        print::ndjson(&CheckLine::Checked(checked.clone()))?;
    }
    let counts = if checked.counts_compared { "" } else { "; counts not compared, since writes went on" };
    let Checked { objects, extents, blobs, bytes, findings, .. } = checked;
    eprintln!("checked {objects} objects, {extents} extents, {blobs} blobs, read {}{counts}", print::bytes(*bytes));
    match findings {
        0 => Ok(()),
        1 => Err(Failure::failed("1 finding")),
        many => Err(Failure::failed(format!("{many} findings"))),
    }
}

fn sentence(finding: &Finding) -> String {
    match finding {
        Finding::Missing { silo, blob, object } => {
            let needs = object.as_ref().map_or_else(String::new, |object| format!(", needed by {object}"));
            format!("missing: {silo} does not have {blob}{needs}")
        }
        Finding::WrongSize { silo, blob, expected, actual } => {
            format!("wrong size: {silo} {blob} has {actual} bytes instead of {expected}")
        }
        Finding::Orphan { silo, blob, bytes } => format!("orphan: {silo} {blob}, {}", print::bytes(*bytes)),
        Finding::Damaged { silo, blob, reason, object } => {
            let needs = object.as_ref().map_or_else(String::new, |object| format!(", needed by {object}"));
            format!("damaged: {silo} {blob}: {reason}{needs}")
        }
        Finding::WrongBlob { silo, blob, says } => format!("wrong blob: {silo} {blob} says it is {says}"),
        Finding::NoBytes { object, extent } => format!("no bytes: {object} needs {extent}, which is nowhere"),
        Finding::Dangling { row } => format!("dangling: {row}"),
        Finding::WrongCount { what, counted, stored } => {
            format!("wrong count: {what} has {counted}, the index says {stored}")
        }
        Finding::Foreign { silo, name } => format!("foreign: {silo} has `{name}`, which is no name of ours"),
    }
}
