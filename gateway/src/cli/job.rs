//! `holdall job …`

use std::time::Duration;

use clap::Subcommand;
use holdall_namespace::job::{BY_ITSELF, JobState, MoveInfo, Order};

use super::client::Endpoint;
use super::exit::{Failure, Kind};
use super::place::Wait;
use super::{Context, print, progress};
use crate::admin::view::{FailedView, JobMoves, JobView};
use crate::config::Span;

/// `holdall job`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List jobs, the newest first.
    List,
    /// Follow a job until it ends. With --json: one line per look, with the moves under way.
    Watch {
        /// The job's number.
        id: u64,
        /// When a drain has ended: done, or empty (the default).
        #[arg(long, default_value = "empty")]
        wait: Wait,
        /// With --json: how often to look.
        #[arg(long, value_name = "TIME", default_value = "100ms")]
        interval: Span,
    },
    /// List what failed to move, in a job or by itself, and why: as the gateway that is asked saw it since it began.
    Failed,
    /// Stop a job until it is resumed. What was moved stays moved.
    Pause {
        /// The job's number.
        id: u64,
    },
    /// Let a job go on that is paused or failed.
    Resume {
        /// The job's number.
        id: u64,
    },
    /// Stop a job. What was moved stays moved.
    Cancel {
        /// The job's number.
        id: u64,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command {
        Command::List => {
            let jobs: Vec<JobView> = admin.get("/v1/job").await?;
            if context.global.json { print::json(&jobs) } else { table(&jobs) }
        }
        Command::Watch { id, wait, interval } => {
            let job: JobView = admin.get(&format!("/v1/job/{id}")).await?;
            let until = match (&job.order, wait) {
                (Order::Drain { .. }, Wait::Empty) => JobState::Empty,
                _ => JobState::Done,
            };
            if context.global.json {
                return watch_lines(&admin, id, until, interval.0).await;
            }
            let mut ctrl_c = progress::CtrlC::watch()?;
            print::line(sentence(&progress::follow(&admin, id, until, &mut ctrl_c).await?))
        }
        Command::Failed => {
            let failed: Vec<FailedView> = admin.get("/v1/failed").await?;
            if context.global.json { print::json(&failed) } else { failures(failed) }
        }
        Command::Pause { id } => act(context, &admin, id, "pause").await,
        Command::Resume { id } => act(context, &admin, id, "resume").await,
        Command::Cancel { id } => act(context, &admin, id, "cancel").await,
    }
}

async fn act(context: &Context, admin: &Endpoint, id: u64, what: &str) -> Result<(), Failure> {
    let job: JobView = admin.act(&format!("/v1/job/{id}/{what}")).await?;
    if context.global.json { print::json(&job) } else { print::line(sentence(&job)) }
}

async fn watch_lines(admin: &Endpoint, id: u64, until: JobState, interval: Duration) -> Result<(), Failure> {
    loop {
        match admin.get::<JobMoves>(&format!("/v1/job/{id}/moves")).await {
            Ok(seen) => {
                print::ndjson(&seen)?;
                if let Some(end) = progress::ended(seen.job, until) {
                    return end.map(drop);
                }
            }
            // The gateway may be restarting; whoever reads these lines decides how long to wait.
            Err(failure) if failure.kind == Kind::Unreachable => {}
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(interval).await;
    }
}

/// A job in one line.
pub(super) fn sentence(job: &JobView) -> String {
    let state = match job.state {
        JobState::Running => "is running",
        JobState::Paused => "is paused",
        JobState::Done => "is done",
        JobState::Empty => "is done and the silo is empty",
        JobState::Cancelled => "was cancelled",
        JobState::Failed => "failed",
        JobState::Reopened => "is done, and the silo was taken into use again",
    };
    let came = match &job.order {
        Order::Scrub { .. } => {
            format!("{} looked at; {} damaged, {} of them made good", progress::outcome(job), job.damaged, job.mended)
        }
        Order::Lost { .. } => format!("{} of {} extents forgotten", job.moved_objects, job.planned_objects),
        Order::Undo { .. } => format!("{} of {} extents taken back", job.moved_objects, job.planned_objects),
        Order::Place { .. } | Order::Drain { .. } | Order::Align { .. } => format!("{} moved", progress::outcome(job)),
    };
    format!("job {} ({}) {state}: {came}{}", job.id, job.order, refused(job.refused))
}

/// What is told of extents that stay where they are.
pub(super) fn refused(count: u64) -> String {
    if count > 0 { format!("; objectives forbid {count} to be there") } else { String::new() }
}

fn table(jobs: &[JobView]) -> Result<(), Failure> {
    let rows = jobs.iter().map(|job| {
        vec![
            job.id.to_string(),
            job.order.to_string(),
            format!("{:?}", job.state).to_lowercase(),
            format!("{}/{}", job.moved_objects, job.planned_objects),
            format!("{}/{}", print::bytes(job.moved_bytes), print::bytes(job.planned_bytes)),
            print::time(job.created),
            job.error.clone().unwrap_or_default(),
        ]
    });
    print::table(&[">JOB", "ORDER", "STATE", ">OBJECTS", ">BYTES", "CREATED", "LAST FAILURE"], rows.collect())
}

fn failures(failed: Vec<FailedView>) -> Result<(), Failure> {
    let rows = failed.into_iter().map(|one| {
        let MoveInfo { extent, bucket, key, from, to, bytes } = one.moving;
        let what = match (bucket, key) {
            (Some(bucket), Some(key)) => format!("s3://{bucket}/{key}"),
            _ => format!("extent {extent}"),
        };
        let job = if one.job == BY_ITSELF { "itself".to_owned() } else { one.job.to_string() };
        let (tries, last) = (one.tries.to_string(), print::time(one.last));
        vec![what, from, to, print::bytes(bytes), job, tries, last, one.reason]
    });
    print::table(&["WHAT", "FROM", "TO", ">BYTES", ">JOB", ">TRIES", "LAST", "WHY"], rows.collect())
}
