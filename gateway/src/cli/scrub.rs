//! `holdall scrub`: what silos hold is read and checked, and made good from other copies.

use std::time::Duration;

use clap::Args;
use holdall_namespace::inventory::{Access, Health};
use holdall_namespace::job::{JobState, Order, Pace, PlanSummary};
use holdall_namespace::scrub::{Done, Flaw};

use super::client::Endpoint;
use super::exit::Failure;
use super::job::sentence;
use super::{Context, print, progress};
use crate::admin::view::{DamageView, JobRequest, JobView, SiloView};
use crate::config::Size;

/// `holdall scrub`
#[derive(Debug, Args)]
pub struct Scrub {
    /// The silos, one after the other; all of ours that answer where none is named.
    #[arg(value_name = "SILO")]
    silos: Vec<String>,
    /// Read at most this much a second: 50MiB.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// Show what would be read, read nothing.
    #[arg(long)]
    dry_run: bool,
    /// List what was found damaged or missing, and what became of it.
    #[arg(long, conflicts_with_all = ["silos", "rate", "dry_run", "detach"])]
    list: bool,
    /// Order it and return.
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

pub(super) async fn run(context: &Context, command: Scrub) -> Result<(), Failure> {
    let admin = context.admin()?;
    if command.list {
        return list(context, &admin).await;
    }
    let mut silos = command.silos;
    if silos.is_empty() {
        let all: Vec<SiloView> = admin.get("/v1/silo").await?;
        let ours = all.into_iter().filter(|silo| silo.access == Access::Own && silo.health == Health::Up);
        silos = ours.map(|silo| silo.name).collect();
    }
    let (mut left, mut unread) = (0, 0);
    for silo in silos {
        let pace = Pace { bytes_per_second: command.rate.map(|rate| rate.0), concurrency: None };
        let request = JobRequest { order: Order::Scrub { silo: silo.clone() }, pace, hold: None };
        if command.dry_run {
            dry_run(context, &admin, &silo, &request, command.rate).await?;
            continue;
        }
        let mut ctrl_c = progress::CtrlC::watch()?;
        let mut job: JobView = admin.post("/v1/job", &request).await?;
        if !command.detach {
            job = progress::follow(&admin, job.id, JobState::Done, &mut ctrl_c).await?;
        }
        left += job.damaged - job.mended;
        unread += job.failed;
        if context.global.json { print::ndjson(&job)? } else { print::line(sentence(&job))? }
    }
    outcome(left, unread)
}

fn outcome(left: u64, unread: u64) -> Result<(), Failure> {
    let replicas = |count: u64| if count == 1 { "replica" } else { "replicas" };
    let is = if left == 1 { "is" } else { "are" };
    let left =
        (left > 0).then(|| format!("{left} damaged {} {is} left: `holdall scrub --list` says more", replicas(left)));
    let unread = (unread > 0).then(|| format!("{unread} {} could not be read", replicas(unread)));
    let wrong: Vec<String> = left.into_iter().chain(unread).collect();
    if wrong.is_empty() { Ok(()) } else { Err(Failure::failed(wrong.join("; "))) }
}

async fn dry_run(
    context: &Context,
    admin: &Endpoint,
    silo: &str,
    request: &JobRequest,
    rate: Option<Size>,
) -> Result<(), Failure> {
    let plan: PlanSummary = admin.post("/v1/plan", request).await?;
    if context.global.json {
        return print::ndjson(&serde_json::json!({ "silo": silo, "objects": plan.objects, "bytes": plan.bytes }));
    }
    let takes = rate.map(|rate| Duration::from_secs(plan.bytes / rate.0.max(1)));
    let takes = takes.map(|takes| format!(", in {takes:?}")).unwrap_or_default();
    print::line(format!("would read {} extents of silo {silo}, {}{takes}", plan.objects, print::bytes(plan.bytes)))
}

async fn list(context: &Context, admin: &Endpoint) -> Result<(), Failure> {
    let all: Vec<DamageView> = admin.get("/v1/damage").await?;
    if context.global.json {
        return all.iter().try_for_each(print::ndjson);
    }
    let rows = all.into_iter().map(|damage| {
        let flaw = match damage.flaw {
            Flaw::Rotten => "rotten",
            Flaw::Missing => "missing",
            Flaw::Unreadable => "unreadable",
        };
        let done = match damage.done {
            Done::Left => "left",
            Done::Repaired => "repaired",
        };
        let object = damage.bucket.zip(damage.key).map(|(bucket, key)| format!("s3://{bucket}/{key}"));
        let object = object.unwrap_or_else(|| format!("extent {}", damage.extent));
        vec![damage.silo, flaw.to_owned(), done.to_owned(), print::time(damage.found), object, damage.reason]
    });
    print::table(&["SILO", "FOUND", "DONE", "WHEN", "OBJECT", "REASON"], rows.collect())
}
