//! `holdall place`, `holdall drain` and `holdall align`: orders that become jobs.

use clap::{Args, ValueEnum};
use holdall_namespace::job::{JobState, Order, Pace, PlanSummary};
use holdall_namespace::objective::Scope;
use jiff::Timestamp;

use super::client::Endpoint;
use super::exit::Failure;
use super::target::Target;
use super::{Context, price, print, progress};
use crate::admin::view::{JobRequest, JobView};
use crate::config::{Size, Span};

/// `holdall place`
#[derive(Debug, Args)]
pub struct Place {
    /// `s3://bucket/prefix`; the prefix is literal, as in `ListObjectsV2`.
    #[arg(value_name = "S3://BUCKET/PREFIX", help = "s3://bucket/prefix; the prefix is literal, as in ListObjectsV2")]
    what: Target,
    /// The silo.
    #[arg(long, value_name = "SILO")]
    on: String,
    /// Keep it there for so long, whatever objectives say: 7d. What one of them forbids stays forbidden.
    #[arg(long, value_name = "TIME")]
    hold: Option<Span>,
    #[command(flatten)]
    how: How,
}

/// `holdall drain`
#[derive(Debug, Args)]
pub struct Drain {
    /// The silo to empty.
    silo: String,
    /// The silo that takes it.
    #[arg(long, value_name = "SILO")]
    to: String,
    /// Return when nothing live is left in the silo (done), or when it holds nothing of ours any more (empty).
    #[arg(long, default_value = "empty")]
    wait: Wait,
    #[command(flatten)]
    how: How,
}

/// `holdall align`
#[derive(Debug, Args)]
pub struct Align {
    /// Which part of the namespace.
    #[arg(value_name = "S3://BUCKET/PREFIX", default_value = "s3://")]
    on: Scope,
    #[command(flatten)]
    how: How,
}

/// When a drain has ended for the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// Nothing live is left in the silo.
    Done,
    /// Swept too.
    Empty,
}

#[derive(Debug, Args)]
struct How {
    /// Show objects and bytes, move nothing.
    #[arg(long)]
    dry_run: bool,
    /// Move at most this much a second: 50MiB.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
    /// At most this many moves at once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: Option<u16>,
    /// Order it and return.
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

pub(super) async fn place(context: &Context, command: Place) -> Result<(), Failure> {
    let until = |time: Span| Timestamp::now().checked_add(time.0);
    let hold = command.hold.map(until).transpose().map_err(|error| Failure::misuse(format!("--hold: {error}")))?;
    let order = Order::Place { bucket: command.what.bucket, prefix: command.what.rest, on: command.on };
    carry_out(context, order, hold, &command.how, JobState::Done).await
}

pub(super) async fn drain(context: &Context, command: Drain) -> Result<(), Failure> {
    let order = Order::Drain { from: command.silo, to: command.to };
    let until = match command.wait {
        Wait::Done => JobState::Done,
        Wait::Empty => JobState::Empty,
    };
    carry_out(context, order, None, &command.how, until).await
}

pub(super) async fn align(context: &Context, command: Align) -> Result<(), Failure> {
    carry_out(context, Order::Align { on: command.on }, None, &command.how, JobState::Done).await
}

async fn carry_out(
    context: &Context,
    order: Order,
    hold: Option<Timestamp>,
    how: &How,
    until: JobState,
) -> Result<(), Failure> {
    let admin = context.admin()?;
    let pace = Pace { bytes_per_second: how.rate.map(|rate| rate.0), concurrency: how.concurrency.map(usize::from) };
    let request = JobRequest { order, pace, hold };
    if how.dry_run {
        return dry_run(context, &admin, &request).await;
    }
    let mut ctrl_c = progress::CtrlC::watch()?;
    let job: JobView = admin.post("/v1/job", &request).await?;
    if how.detach {
        return show(context, &job);
    }
    let job = progress::follow(&admin, job.id, until, &mut ctrl_c).await?;
    show(context, &job)
}

async fn dry_run(context: &Context, admin: &Endpoint, request: &JobRequest) -> Result<(), Failure> {
    let plan: PlanSummary = admin.post("/v1/plan", request).await?;
    if context.global.json {
        return print::json(&plan);
    }
    let (objects, bytes) = (plan.objects, print::bytes(plan.bytes));
    let refused = super::job::refused(plan.refused);
    print::line(format!("would move {objects} objects, {bytes}; {} are there already{refused}", plan.in_place))?;
    plan.costs.iter().flat_map(price::of_order).try_for_each(print::line)
}

pub(super) fn show(context: &Context, job: &JobView) -> Result<(), Failure> {
    if context.global.json { print::json(job) } else { print::line(super::job::sentence(job)) }
}
