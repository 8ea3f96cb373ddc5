//! `holdall switch …`: replacing a silo while it is in use.

use clap::Subcommand;
use holdall_namespace::job::JobState;

use super::exit::Failure;
use super::target::encode;
use super::{Context, place, price, print, progress};
use crate::admin::view::{JobView, SwitchRequest, SwitchView};

/// `holdall switch`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Let one silo follow another: the old one takes all writes as before, the new one gets what it has.
    Start {
        /// The silo to be replaced.
        old: String,
        /// The silo that follows it.
        new: String,
        /// Show what there is to copy and what that costs, and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show how far switches came: what is left, how long it has been waiting, and what it costs.
    Status,
    /// Give the old silo up: what names it names the new one, and it is emptied. Refused until the new one has everything.
    Commit {
        /// The silo to be replaced.
        old: String,
        /// Order it and return.
        #[arg(long)]
        detach: bool,
    },
    /// Leave the old silo as it is, complete and current, and take back what the new one got.
    Rollback {
        /// The silo that was to be replaced.
        old: String,
        /// Order it and return.
        #[arg(long)]
        detach: bool,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command {
        Command::Start { old, new, dry_run } => {
            let request = SwitchRequest { from: old, to: new };
            let begun: SwitchView = admin.post(&format!("/v1/switch?dry_run={dry_run}"), &request).await?;
            if context.global.json { print::json(&begun) } else { show(context, &[begun]) }
        }
        Command::Status => show(context, &admin.get::<Vec<SwitchView>>("/v1/switch").await?),
        Command::Commit { old, detach } => finish(context, &old, "commit", JobState::Empty, detach).await,
        Command::Rollback { old, detach } => finish(context, &old, "rollback", JobState::Done, detach).await,
    }
}

async fn finish(context: &Context, old: &str, how: &str, until: JobState, detach: bool) -> Result<(), Failure> {
    let admin = context.admin()?;
    let mut ctrl_c = progress::CtrlC::watch()?;
    let job: JobView = admin.act(&format!("/v1/switch/{}/{how}", encode(old))).await?;
    if detach {
        return place::show(context, &job);
    }
    place::show(context, &progress::follow(&admin, job.id, until, &mut ctrl_c).await?)
}

fn show(context: &Context, switches: &[SwitchView]) -> Result<(), Failure> {
    if context.global.json {
        return print::json(&switches);
    }
    let rows = switches.iter().map(|switch| {
        vec![
            switch.from.clone(),
            switch.to.clone(),
            print::time(switch.started),
            format!("{} ({})", switch.done.extents, print::bytes(switch.done.bytes)),
            format!("{} ({})", switch.rest.extents, print::bytes(switch.rest.bytes)),
            format!("{}.{:03} s", switch.lag_ms / 1000, switch.lag_ms % 1000),
            switch.waits.clone().unwrap_or_default(),
        ]
    });
    let head = ["OLD", "NEW", "SINCE", ">DONE", ">REST", ">LAG", "WAITS FOR"];
    print::table(&head, rows.collect())?;
    for switch in switches.iter().filter(|switch| switch.rest.extents > 0) {
        price::of_plan(&switch.costs).iter().try_for_each(print::line)?;
    }
    switches.iter().flat_map(|switch| &switch.notes).try_for_each(|note| print::line(format!("note: {note}")))
}
