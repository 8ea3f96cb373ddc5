//! `holdall demo`: the whole story in under a minute. A bucket is filled, one silo is drained into the other while
//! clients read and overwrite, and nobody notices.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use holdall_namespace::extent::JobId;
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::sweep::Swept;
use indicatif::ProgressBar;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

mod crowd;

use super::client::{Endpoint, Keys, Speak};
use super::exit::Failure;
use super::target::encode;
use super::{Context, print, progress};
use crate::admin::view::{JobRequest, JobView, SiloView, Status};
use crate::config::Settings;
use crate::gateway::{Gateway, Start};
use crowd::Crowd;

/// How long sweeping may take at the end.
const SWEEPS: u32 = 60;

/// `holdall demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// How many objects the bucket gets.
    #[arg(long, default_value = "600", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    /// Slow the drain down to take about this many seconds: time to look at it.
    #[arg(long, default_value = "12", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The silo to drain.
    #[arg(long, default_value = "hot")]
    from: String,
    /// The silo that takes it.
    #[arg(long, default_value = "cold")]
    to: String,
}

/// What came out.
#[derive(Debug, Serialize)]
struct Outcome {
    objects_moved: u64,
    bytes_moved: u64,
    moves_overtaken: u64,
    reads: u64,
    overwrites: u64,
    failed_reads: u64,
    failed_writes: u64,
    changed_etags: u64,
    seconds: f64,
    left_in_source: i64,
}

/// The gateway that the demo is about.
struct Stage {
    admin: Endpoint,
    s3: Endpoint,
    /// Started for the demo: stopped and its folder removed at the end.
    own: Option<(Gateway, PathBuf)>,
}

pub(super) async fn run(context: &Context, demo: &Demo) -> Result<(), Failure> {
    // From here on: what is set up is also taken down.
    let mut interrupt = signal(SignalKind::interrupt())
        .map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}")))?;
    let stage = Stage::set(context).await?;
    let bucket = format!("holdall-demo-{}", uuid::Uuid::new_v4().simple());
    let crowd = Crowd::new(stage.s3.clone(), bucket, demo.objects as usize);
    let ordered = Arc::new(OnceLock::new());
    let outcome = tokio::select! {
        // First, or following the drain would take the signal for its own and say that the job goes on.
        biased;
        _ = interrupt.recv() => Err(Failure::detached("interrupted")),
        outcome = play(context, demo, &stage, &crowd, &ordered) => outcome,
    };
    // Whatever was sent is answered first: an order or a write whose outcome nobody waits for cannot be undone.
    crowd.stop().await;
    if outcome.is_err() && stage.own.is_none() {
        tidy(demo, &stage, &crowd, ordered.get().copied()).await;
    }
    stage.strike().await;
    let outcome = outcome?;
    let shown = if context.global.json { print::json(&outcome) } else { print::text(&table(demo, &outcome)) };
    shown?;
    let bad = outcome.failed_reads + outcome.failed_writes + outcome.changed_etags;
    if bad > 0 || outcome.left_in_source != 0 {
        return Err(Failure::failed("the demo did not show what it should: please report this"));
    }
    Ok(())
}

/// Leaves nothing on somebody's own gateway that a demo made which did not come to its end.
async fn tidy(demo: &Demo, stage: &Stage, crowd: &Crowd, job: Option<JobId>) {
    say("Taking the demo's bucket away …");
    if let Some(id) = job {
        let cancelled = stage.admin.act::<JobView>(&format!("/v1/job/{id}/cancel")).await.map(drop);
        let uncordoned = stage.admin.act::<SiloView>(&format!("/v1/silo/{}/uncordon", encode(&demo.from))).await;
        if let Err(failure) = cancelled.and(uncordoned.map(drop)) {
            say(&format!("cannot undo the drain of {}: {failure}", demo.from));
        }
    }
    if let Err(failure) = crowd.clean().await {
        say(&format!("cannot remove s3://{}: {failure}", crowd.bucket()));
    }
}

async fn play(
    context: &Context,
    demo: &Demo,
    stage: &Stage,
    crowd: &Arc<Crowd>,
    ordered: &Arc<OnceLock<JobId>>,
) -> Result<Outcome, Failure> {
    let started = context.clock.monotonic();
    let bucket = crowd.bucket();
    say(&format!("S3 at {}: two silos, {} and {}.", stage.s3.url(), demo.from, demo.to));
    say(&format!("Filling s3://{bucket} with {} objects, {} …", demo.objects, print::bytes(crowd.bytes())));
    fill(crowd).await?;

    say(&format!("Draining {} into {} while {} clients read and overwrite …", demo.from, demo.to, crowd::CLIENTS));
    crowd.work();
    let job = drain(demo, stage, crowd, ordered).await?;
    crowd.stop().await;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let reads = count(&crowd.seen.reads);

    say("Reading everything once more …");
    crowd.verify().await;
    sweep(stage, &job).await?;
    let job: JobView = stage.admin.get(&format!("/v1/job/{}", job.id)).await?;
    let silos: Vec<SiloView> = stage.admin.get("/v1/silo").await?;
    let source = silos.iter().find(|silo| silo.name == demo.from);
    let seconds = context.clock.monotonic().saturating_sub(started).as_secs_f64();
    crowd.clean().await?;
    if stage.own.is_none() {
        // Somebody's own gateway gets its silo back as it was: taking new bytes.
        stage.admin.act::<SiloView>(&format!("/v1/silo/{}/uncordon", encode(&demo.from))).await?;
    }
    Ok(Outcome {
        objects_moved: job.moved_objects,
        bytes_moved: job.moved_bytes,
        moves_overtaken: job.superseded,
        reads,
        overwrites: count(&crowd.seen.overwrites),
        failed_reads: count(&crowd.seen.failed_reads),
        failed_writes: count(&crowd.seen.failed_writes),
        changed_etags: count(&crowd.seen.changed),
        seconds,
        left_in_source: source.map_or(0, |silo| silo.extents + silo.retired_extents),
    })
}

async fn fill(crowd: &Arc<Crowd>) -> Result<(), Failure> {
    let bar = progress::bar();
    bar.set_length(crowd.bytes());
    let drawn = bar.clone();
    let filled = crowd.fill(Arc::new(move |bytes| drawn.inc(bytes))).await;
    bar.finish_and_clear();
    filled
}

async fn drain(demo: &Demo, stage: &Stage, crowd: &Crowd, ordered: &Arc<OnceLock<JobId>>) -> Result<JobView, Failure> {
    let order = Order::Drain { from: demo.from.clone(), to: demo.to.clone() };
    let pace = Pace { bytes_per_second: Some((crowd.bytes() / demo.seconds).max(1 << 20)), concurrency: None };
    let (admin, ordered) = (stage.admin.clone(), Arc::clone(ordered));
    let order = crowd.tasks.spawn(async move {
        let job: JobView = admin.post("/v1/job", &JobRequest { order, pace, hold: None }).await?;
        Ok::<_, Failure>(*ordered.get_or_init(|| job.id))
    });
    let id = order.await.map_err(|error| Failure::failed(error.to_string()))??;
    progress::follow(&stage.admin, id, JobState::Done, &mut progress::CtrlC::watch()?).await
}

/// Sweeps without the grace period until the drained silo is empty.
async fn sweep(stage: &Stage, job: &JobView) -> Result<(), Failure> {
    for _ in 0..SWEEPS {
        stage.admin.act::<Swept>("/v1/sweep?skip_grace=true").await?;
        let job: JobView = stage.admin.get(&format!("/v1/job/{}", job.id)).await?;
        if job.state != JobState::Done {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}

/// One step of the story, to stderr.
fn say(line: &str) {
    ProgressBar::hidden().suspend(|| eprintln!("{line}"));
}

fn table(demo: &Demo, outcome: &Outcome) -> String {
    let row = |what: &str, value: String| vec![what.to_owned(), value];
    let rows = vec![
        row("objects moved", outcome.objects_moved.to_string()),
        row("bytes moved", print::bytes(outcome.bytes_moved)),
        row("moves that an overwrite overtook", outcome.moves_overtaken.to_string()),
        row("reads meanwhile", outcome.reads.to_string()),
        row("overwrites meanwhile", outcome.overwrites.to_string()),
        row("failed reads", outcome.failed_reads.to_string()),
        row("failed writes", outcome.failed_writes.to_string()),
        row("changed ETags or dates", outcome.changed_etags.to_string()),
        row(&format!("left in {}", demo.from), outcome.left_in_source.to_string()),
        row("seconds", format!("{:.1}", outcome.seconds)),
    ];
    format!("\n{}\n", print::lay_out(&["WHAT", ">COUNT"], rows))
}

impl Stage {
    /// The gateway named by `--admin`, or one of the demo's own.
    async fn set(context: &Context) -> Result<Self, Failure> {
        if context.global.admin_typed {
            let (keys, region) = context.keys()?;
            let admin = context.admin()?;
            let status: Status = admin.get("/v1/status").await?;
            let s3 = Endpoint::new(&status.endpoint, Speak::S3, &region, keys, Arc::clone(&context.clock))?;
            return Ok(Self { admin, s3, own: None });
        }
        let folder = std::env::temp_dir().join(format!("holdall-demo-{}", uuid::Uuid::new_v4().simple()));
        let mut settings = Settings::in_folder(&folder);
        settings.listen.set_port(0);
        settings.admin_listen.set_port(0);
        settings.sweep_grace = Duration::ZERO;
        // Nobody restores what is removed at the end.
        settings.backup_every = Duration::ZERO;
        let gateway = Gateway::start(settings.clone(), Start::default()).await;
        let gateway = gateway.map_err(|error| Failure::failed(super::serve::chain(&error)))?;
        let new = gateway.new_key.as_ref().ok_or_else(|| Failure::failed("the new gateway has no first key"))?;
        let keys = Keys { id: new.key.id.clone(), secret: new.secret.clone() };
        let clock = || Arc::clone(&context.clock);
        let admin = format!("http://{}", gateway.admin);
        let admin = Endpoint::new(&admin, Speak::Admin, &settings.region, keys.clone(), clock())?;
        let s3 = Endpoint::new(&gateway.endpoint, Speak::S3, &settings.region, keys, clock())?;
        Ok(Self { admin, s3, own: Some((gateway, folder)) })
    }

    async fn strike(self) {
        let Some((gateway, folder)) = self.own else { return };
        gateway.shutdown().await;
        if let Err(error) = std::fs::remove_dir_all(&folder) {
            eprintln!("cannot remove `{}`: {error}", folder.display());
        }
    }
}
