//! Follows what takes a while: a progress bar on a terminal, silence elsewhere. Ctrl-C detaches; the gateway goes on.

use std::time::Duration;

use holdall_namespace::job::JobState;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::client::Endpoint;
use super::exit::{Failure, Kind};
use super::print;
use crate::admin::view::JobView;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often in a row a gateway may be away before the command gives up: it may be restarting.
const AWAY: u32 = 120;

/// Ctrl-C from now on. Watched before a job is ordered, so that it cannot come between the order and the watching.
pub(super) struct CtrlC(Signal);

impl CtrlC {
    pub(super) fn watch() -> Result<Self, Failure> {
        let watched = signal(SignalKind::interrupt());
        watched.map(Self).map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}")))
    }

    pub(super) async fn pressed(&mut self) {
        self.0.recv().await;
    }
}

/// Waits until the job is `until` (or better); a job that failed or was cancelled is a failure.
pub(super) async fn follow(admin: &Endpoint, id: u64, until: JobState, ctrl_c: &mut CtrlC) -> Result<JobView, Failure> {
    let bar = bar();
    let followed = tokio::select! {
        job = watch(admin, id, until, &bar) => job,
        () = ctrl_c.pressed() => {
            let again = format!("detached: job {id} goes on in the gateway; `holdall job watch {id}` shows it again");
            Err(Failure::detached(again))
        }
    };
    bar.finish_and_clear();
    followed
}

async fn watch(admin: &Endpoint, id: u64, until: JobState, bar: &ProgressBar) -> Result<JobView, Failure> {
    let mut away = 0;
    loop {
        match admin.get::<JobView>(&format!("/v1/job/{id}")).await {
            Ok(job) => {
                away = 0;
                draw(bar, &job);
                if let Some(end) = ended(job, until) {
                    return end;
                }
            }
            Err(failure) if failure.kind == Kind::Unreachable && away < AWAY => {
                away += 1;
                bar.set_message("the gateway is away; the job goes on when it is back");
            }
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the job has ended as far as we wait for it.
pub(super) fn ended(job: JobView, until: JobState) -> Option<Result<JobView, Failure>> {
    match job.state {
        JobState::Running | JobState::Paused => None,
        JobState::Done if until == JobState::Empty => None,
        JobState::Done | JobState::Empty => Some(Ok(job)),
        JobState::Reopened if until == JobState::Done => Some(Ok(job)),
        JobState::Reopened => {
            let why = format!("job {} is done, but the silo was taken into use again: it will not be empty", job.id);
            Some(Err(Failure::failed(why)))
        }
        JobState::Cancelled => Some(Err(Failure::failed(format!("job {} was cancelled", job.id)))),
        JobState::Failed => {
            let why = job.error.unwrap_or_else(|| "for no reason given".to_owned());
            Some(Err(Failure::failed(format!("job {0} failed: {why} (`holdall job resume {0}`)", job.id))))
        }
    }
}

pub(super) fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  ETA {eta}  {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(LOOK);
    bar
}

/// For what nobody knows the end of: names that were seen.
pub(super) fn names() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = "{spinner} {human_pos} names  {per_sec}  {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(LOOK);
    bar
}

/// For what nobody knows the end of: events of a trace.
pub(super) fn events() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = "{spinner} {human_pos} events  {per_sec}  {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(LOOK);
    bar
}

/// For what nobody knows the end of: bytes that were done.
pub(super) fn counter() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {msg}";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(LOOK);
    bar
}

pub(super) fn draw(bar: &ProgressBar, job: &JobView) {
    bar.set_length(job.planned_bytes);
    bar.set_position(job.moved_bytes.min(job.planned_bytes));
    let objects = format!("{}/{} objects", job.moved_objects, job.planned_objects);
    bar.set_message(match (job.state, &job.error) {
        (JobState::Paused, _) => format!("{objects}; paused: `holdall job resume {}`", job.id),
        (JobState::Done, _) => format!("{objects}; waiting until nobody reads the old copies and the grace is over"),
        (_, Some(error)) => format!("{objects}; {} failed and are tried again: {error}", job.failed),
        (_, None) => objects,
    });
}

/// What a job did, for the line after it.
pub(super) fn outcome(job: &JobView) -> String {
    format!("{} of {} objects, {}", job.moved_objects, job.planned_objects, print::bytes(job.moved_bytes))
}
