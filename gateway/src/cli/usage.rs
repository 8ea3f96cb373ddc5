//! `holdall du`, `holdall where`, `holdall status`.

use clap::Args;

use holdall_namespace::job::BY_ITSELF;
use holdall_namespace::objective::{Alignment, Spent};
use holdall_namespace::price::Money;
use jiff::Timestamp;

use super::exit::Failure;
use super::index::of_backup;
use super::price::amount;
use super::target::Target;
use super::{Context, print};
use crate::admin::view::{ReplicaView, Status, UsageLine, UsageView};

/// `holdall where`
#[derive(Debug, Args)]
pub struct Where {
    /// `s3://bucket/key`
    #[arg(value_name = "S3://BUCKET/KEY", help = "s3://bucket/key")]
    object: Target,
}

pub(super) async fn whereabouts(context: &Context, command: &Where) -> Result<(), Failure> {
    let path = format!("/v1/where?{}", command.object.object()?);
    let replicas: Vec<ReplicaView> = context.admin()?.get(&path).await?;
    if context.global.json {
        return print::json(&replicas);
    }
    let rows = replicas.into_iter().map(|replica| {
        let job = match replica.job {
            None => "-".to_owned(),
            Some(BY_ITSELF) => replica.objective.map_or_else(|| "itself".to_owned(), |name| format!("itself: {name}")),
            Some(job) => job.to_string(),
        };
        let since = print::time(replica.since);
        vec![replica.silo, replica.state, print::bytes(replica.bytes), since, job, replica.extent, replica.blob]
    });
    print::table(&["SILO", "STATE", ">BYTES", "SINCE", ">JOB", "EXTENT", "BLOB"], rows.collect())
}

pub(super) async fn du(context: &Context) -> Result<(), Failure> {
    let usage: UsageView = context.admin()?.get("/v1/usage").await?;
    if context.global.json {
        return print::json(&usage);
    }
    let lines = |kind: &str, lines: Vec<UsageLine>| -> Vec<Vec<String>> {
        let row = |line: UsageLine| {
            let owner = line.account.unwrap_or_default();
            vec![kind.to_owned(), line.name, owner, line.objects.to_string(), print::counted(line.bytes)]
        };
        lines.into_iter().map(row).collect()
    };
    let rows = [lines("bucket", usage.buckets), lines("account", usage.accounts), lines("silo", usage.silos)].concat();
    print::table(&["WHAT", "NAME", "ACCOUNT", ">OBJECTS", ">BYTES"], rows)
}

pub(super) async fn status(context: &Context) -> Result<(), Failure> {
    let status: Status = context.admin()?.get("/v1/status").await?;
    if context.global.json {
        return print::json(&status);
    }
    let lines = [
        ("version", status.version),
        ("namespace", status.namespace),
        ("endpoint", status.endpoint),
        ("region", status.region),
        ("domains", status.domains.join(", ")),
        ("backup", of_backup(&status.backup)),
    ];
    let scrubs = status.scrub.as_ref().map(|scrub| ("scrubs", of_budget(&scrub.spent, scrub.budget)));
    let left = format!("{} left: `holdall scrub --list` says more", status.damaged);
    let damaged = (status.damaged > 0).then_some(("damaged", left));
    let lines = lines
        .into_iter()
        .chain(damaged)
        .chain(scrubs)
        .chain(status.alignment.as_ref().map(|alignment| ("alignment", of_alignment(alignment))));
    lines.into_iter().try_for_each(|(name, value)| print::line(format!("{name:<10} {value}")))
}

fn of_budget(spent: &Spent, budget: Money) -> String {
    format!("{} of {budget} spent in {}", amount(spent.money), spent.month)
}

/// How much of what is wished somewhere was there, and what the rest waits for.
fn of_alignment(alignment: &Alignment) -> String {
    let Some(compared) = alignment.compared else {
        return format!("being compared with objectives, {} steps taken", alignment.moved);
    };
    let outlook = &alignment.outlook;
    let elsewhere: u64 = outlook.moves.iter().map(|moving| moving.amount.bytes).sum();
    let waiting: u64 = outlook.waits.iter().map(|waiting| waiting.amount.bytes).sum();
    let there = outlook.aligned.bytes.saturating_sub(outlook.unwished.bytes);
    let all = there + elsewhere + waiting;
    let share = if all == 0 { 100.0 } else { there as f64 / all as f64 * 100.0 };
    let when = Timestamp::from_millisecond(compared).map(print::time).unwrap_or_default();
    let most = outlook.waits.iter().max_by_key(|waiting| waiting.amount.bytes);
    let waits = most.map(|most| format!("{} wait, most of them: {}", print::bytes(waiting), most.reason));
    let failed = alignment.error.as_ref();
    let failed = failed.map(|error| format!("{} steps failed, the last one: {error}", alignment.failed));
    let wanted = format!("{share:.1} % of {} where wanted at {when}", print::bytes(all));
    let moved = Some(format!("{} steps taken", alignment.moved));
    let takes = outlook.seconds.filter(|seconds| *seconds > 0);
    let takes = takes.map(|seconds| format!("the rest takes {} at the rates that are set", print::seconds(seconds)));
    let spent = alignment.spent.as_ref().zip(alignment.budget);
    let spent = spent.map(|(spent, budget)| of_budget(spent, budget));
    std::iter::once(wanted)
        .chain(moved)
        .chain(takes)
        .chain(spent)
        .chain(waits)
        .chain(failed)
        .collect::<Vec<_>>()
        .join("; ")
}
