//! `holdall index …`

use clap::Subcommand;
use http::Method;
use indicatif::ProgressBar;

use super::client::Endpoint;
use super::exit::Failure;
use super::lines::Lines;
use super::{Context, print, progress, restore};
use crate::admin::view::{Accepted, BackupLine, BackupView, IndexView, TakenView};

/// `holdall index`
#[derive(Debug, Subcommand)]
pub enum IndexCommand {
    /// Show how large the index is and how its backups stand.
    Show,
    /// Take a snapshot of the index now, into two silos, and write what there is of its log.
    Backup,
    /// Make a lost index again from its backups in the silos. No gateway runs meanwhile.
    Restore(restore::Restore),
    /// Make a lost index again from its backups and from what blobs and packs say of themselves.
    Rebuild(restore::Rebuild),
    /// Take a restored index for all there is to know: what silos hold beyond it is swept from now on.
    Accept,
}

pub(super) async fn run(context: &Context, command: IndexCommand) -> Result<(), Failure> {
    match command {
        IndexCommand::Show => show(context).await,
        IndexCommand::Backup => back_up(context).await,
        IndexCommand::Accept => accept(context).await,
        IndexCommand::Restore(command) => restore::restore(context, command).await,
        IndexCommand::Rebuild(command) => restore::rebuild(context, command).await,
    }
}

async fn show(context: &Context) -> Result<(), Failure> {
    let index: IndexView = context.admin()?.get("/v1/index").await?;
    if context.global.json {
        return print::json(&index);
    }
    let time = |time: Option<_>| time.map_or_else(|| "none".to_owned(), print::time);
    let backup = index.backup;
    let unknown = if index.keeps_unknown {
        "kept, since the index was restored; `holdall index accept` lets it be swept"
    } else {
        "swept"
    };
    let lines = [
        ("size", print::bytes(index.bytes)),
        ("backups", if backup.enabled { "on" } else { "off" }.to_owned()),
        ("snapshot", time(backup.snapshot)),
        ("covered", time(backup.covered)),
        ("silos", backup.silos.join(", ")),
        ("problem", backup.problem.unwrap_or_else(|| "none".to_owned())),
        ("unknown", unknown.to_owned()),
    ];
    lines.iter().try_for_each(|(name, value)| print::line(format!("{name:<10} {value}")))
}

async fn back_up(context: &Context) -> Result<(), Failure> {
    let admin = context.admin()?;
    let mut ctrl_c = progress::CtrlC::watch()?;
    let bar = progress::counter();
    let taken = tokio::select! {
        taken = follow(&admin, &bar) => taken,
        () = ctrl_c.pressed() => {
            let again = "detached: the snapshot goes on in the gateway; `holdall index show` says when there is one";
            Err(Failure::detached(again))
        }
    };
    bar.finish_and_clear();
    let taken = taken?;
    if context.global.json { print::json(&taken) } else { print::line(of_snapshot(&taken)) }
}

async fn follow(admin: &Endpoint, bar: &ProgressBar) -> Result<TakenView, Failure> {
    let broke_off = |why: &str| Failure::failed(format!("the snapshot broke off: {why}"));
    let mut lines = Lines::of(admin.stream(Method::POST, "/v1/index/backup").await?);
    while let Some(line) = lines.next().await? {
        match line {
            BackupLine::Progress(progress) => {
                bar.set_position(progress.bytes);
                bar.set_message(format!("{} rows", progress.rows));
            }
            BackupLine::Taken(taken) => return Ok(taken),
            BackupLine::Error(reason) => return Err(broke_off(&reason)),
        }
    }
    Err(broke_off("the gateway ended its answer early"))
}

async fn accept(context: &Context) -> Result<(), Failure> {
    let accepted: Accepted = context.admin()?.act("/v1/index/accept").await?;
    if context.global.json {
        return print::json(&accepted);
    }
    print::line(if accepted.accepted {
        "accepted: what silos hold beyond the index is swept from now on"
    } else {
        "nothing to accept: the index was not restored, or was accepted already"
    })
}

fn of_snapshot(taken: &TakenView) -> String {
    let TakenView { rows, bytes, silos, .. } = taken;
    format!("took a snapshot: {rows} rows, {}, in {}", print::bytes(*bytes), silos.join(", "))
}

/// How backups stand, in one line.
pub(super) fn of_backup(backup: &BackupView) -> String {
    let covered = backup.covered.map(|covered| format!("up to {}", print::time(covered)));
    match (backup.enabled, covered, &backup.problem) {
        (false, ..) => "off".to_owned(),
        (true, covered, Some(problem)) => format!("{}; {problem}", covered.as_deref().unwrap_or("none yet")),
        (true, covered, None) => covered.unwrap_or_else(|| "none yet".to_owned()),
    }
}
