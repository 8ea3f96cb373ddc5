//! Power loss: index and silos on a disk that forgets what was not flushed, the power cut at random moments under
//! mixed load with a move running.
//!
//! Every acknowledged write must be there and whole, no unacknowledged one half-visible, and after recovery and sweep
//! `check --deep` is clean. The first start is cut too: whatever is left, the next one comes up. Then the same with
//! flushes that are answered and not done, of files and of folders, each of which must lose something: a rig that
//! finds nothing there would find nothing at all.

mod disk;
mod mount;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use fuser::BackgroundSession;
use holdall_conformance::client::Client;
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{BACKED_UP_OFTEN, Gateway, NO_GRACE, Setup};
use holdall_conformance::load::Load;
use holdall_conformance::random::Random;
use holdall_conformance::workload::{Sizes, World};
use holdall_conformance::{Failure, Outcome, load, rig, say, settle};

use crate::disk::{Disk, End, Lie, Tally};
use crate::mount::Shared;

/// Set in a process that has mounts of its own.
const INSIDE: &str = "HOLDALL_POWERLOSS_INSIDE";
/// The exit code for "cannot run here", by the custom of automake.
const CANNOT_RUN: u8 = 77;
/// A round whose changes run out too slowly is cut after this long.
const ROUND: Duration = Duration::from_secs(20);
/// Rounds are too short for the gateway's own sweeps, and the disk is memory: it is swept after so many.
const SWEPT_EVERY: u64 = 5;
/// A lie must have been found after so many cuts.
const LIES_FOUND_WITHIN: u64 = 6;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Cuts under load.
    #[arg(long, default_value_t = 8)]
    cuts: u64,
    /// Cuts during first starts.
    #[arg(long, default_value_t = 6)]
    births: u64,
    /// Keys.
    #[arg(long, default_value_t = 200)]
    keys: usize,
    /// Clients.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// The power goes within so many changes of the disk.
    #[arg(long, default_value_t = 6000)]
    within: u64,
    /// Acknowledged writes the whole run must have.
    #[arg(long, default_value_t = 200)]
    writes: u64,
    /// Repeats the choices of another run.
    #[arg(long)]
    seed: Option<u64>,
}

/// A gateway's disk and what is in it.
struct Bench {
    shared: Shared,
    setup: Setup,
    random: Random,
    /// Unmounts when it goes.
    mounted: BackgroundSession,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if std::env::var_os(INSIDE).is_none() {
        // A mount of its own namespace vanishes with it, however it ends, and needs no helper program.
        let error = inside().exec();
        say::progress(format!("no mounts of its own ({error}): mounting for all to see"));
    }
    if let Err(why) = can_mount() {
        say::progress(format!("cannot run here: no FUSE file system can be mounted: {why}"));
        return ExitCode::from(CANNOT_RUN);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::progress(format!("no runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(rig::run("powerloss", options.seed, |seed| run(&options, seed)))
}

/// This program again, with mounts of its own.
fn inside() -> Command {
    let mut command = Command::new("unshare");
    if rustix::process::geteuid().is_root() {
        command.arg("--mount");
    } else {
        command.args(["--user", "--map-root-user", "--mount"]);
    }
    command.arg("--").args(std::env::args_os()).env(INSIDE, "1");
    command
}

fn can_mount() -> std::io::Result<()> {
    let folder = tempfile::tempdir()?;
    Shared::new(Disk::new(Random::new(0, 0))).mount(folder.path())?.umount_and_join()
}

async fn run(options: &Options, seed: u64) -> Outcome<String> {
    let temp = tempfile::Builder::new().prefix("holdall-powerloss-").tempdir()?;
    let shown = show(options, temp.path(), seed).await;
    if shown.is_err() {
        say::progress(format!("what the gateways said is kept in {}", temp.keep().display()));
    }
    shown
}

async fn show(options: &Options, folder: &Path, seed: u64) -> Outcome<String> {
    let watch = Stopwatch::start();
    births(options, &folder.join("births"), seed).await?;
    let line = cuts(options, &folder.join("cuts"), seed).await?;
    let mut lies = Vec::new();
    for lie in [Lie::Files, Lie::Folders] {
        lies.push(liar(options, &folder.join(format!("{lie:?}")), seed, lie).await?);
    }
    say::progress(format!("all of it took {:.0?}", watch.elapsed()));
    Ok(format!("{line}; flushes left undone were found out: {}", lies.join(", ")))
}

impl Bench {
    fn new(folder: &Path, random: Random) -> Outcome<Self> {
        let at = folder.join("disk");
        std::fs::create_dir_all(&at)?;
        let shared = Shared::new(Disk::new(random.clone()));
        let mounted = shared.mount(&at)?;
        // The disk's root is there for ever; the data folder's own name must be made durable.
        let mut setup = Setup::new(&at.join("data"))?;
        setup.notes = folder.join("gateway");
        setup.config = Some(format!("{NO_GRACE}{BACKED_UP_OFTEN}"));
        Ok(Self { shared, setup, random, mounted })
    }

    /// Ends the gateway that has lost its disk, and gives the power back.
    async fn after_cut(&self, gateway: Gateway) -> Outcome<()> {
        self.shared.disk().cut();
        gateway.kill().await?;
        self.shared.disk().power_on();
        Ok(())
    }

    /// A start that the power ends, or kill -9 at some moment, which leaves the disk as it is.
    async fn die_young(&mut self, changes: u64) -> Outcome<()> {
        let end = if self.random.percent(40) { End::Kill } else { End::Power };
        let after = self.random.below(changes);
        self.shared.disk().end_after(after, end);
        let mut gateway = self.setup.launch()?;
        // It may stay up without its disk and say that it is not ready.
        let up = tokio::select! {
            up = gateway.ready() => up,
            () = self.until_dark() => Ok(()),
        };
        if !self.shared.disk().is_dark() {
            up?;
        }
        self.after_cut(gateway).await
    }

    /// Waits until the power is off; cuts it when that takes too long.
    async fn until_dark(&self) {
        let watch = Stopwatch::start();
        while !self.shared.disk().is_dark() && !watch.over(ROUND) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.shared.disk().cut();
    }

    fn tally(&self) -> Tally {
        self.shared.disk().tally()
    }

    fn end(self) -> Outcome<()> {
        Ok(self.mounted.umount_and_join()?)
    }
}

/// First starts that the power ends: the next start comes up all the same.
async fn births(options: &Options, folder: &Path, seed: u64) -> Outcome<()> {
    let bench = Bench::new(&folder.join("whole"), Random::new(seed, 999))?;
    bench.setup.start().await?.stop().await?;
    let changes = bench.tally().changes;
    bench.end()?;
    for birth in 0..options.births {
        let mut bench = Bench::new(&folder.join(birth.to_string()), Random::new(seed, 1000 + birth))?;
        // Several in a row: what one left behind is what the next finds.
        for _ in 0..=bench.random.below(3) {
            bench.die_young(changes).await.map_err(|failure| format!("birth {birth}: {failure}"))?;
        }
        let gateway = bench.setup.start().await.map_err(|failure| format!("birth {birth}: {failure}"))?;
        Client::new(&bench.setup.endpoint()).create_bucket("born").await?;
        settle::check_deep(&bench.setup.command()).await?;
        gateway.stop().await?;
        bench.end()?;
    }
    say::progress(format!(
        "{} first starts of {changes} changes ended by power loss or kill -9, each came up again",
        options.births
    ));
    Ok(())
}

/// The rounds: load, cut, start, look.
async fn cuts(options: &Options, folder: &Path, seed: u64) -> Outcome<String> {
    let mut bench = Bench::new(folder, Random::new(seed, 0))?;
    let world = Arc::new(World::new("powerloss", options.keys, Sizes { max: 512 << 10 }));
    let mut gateway = bench.setup.start().await?;
    Client::new(&bench.setup.endpoint()).create_bucket(&world.bucket).await?;
    let mut settled = 0;
    for round in 0..options.cuts {
        let (next, unknown) = cut_once(options, &mut bench, &world, gateway, seed + round, round).await?;
        (gateway, settled) = (next, settled + unknown);
        if round % SWEPT_EVERY == SWEPT_EVERY - 1 {
            load::cancel_jobs(&bench.setup.command()).await?;
            settle::sweep(&bench.setup.command()).await?;
        }
    }
    let holdall = bench.setup.command();
    load::cancel_jobs(&holdall).await?;
    let (replicas, orphans) = settle::sweep(&holdall).await?;
    settle::read_all(&world, &bench.setup.endpoint(), world.keys.clone()).await?;
    load::verdict(&world, "at the end")?;
    let checked = settle::check_deep(&holdall).await?;
    gateway.stop().await?;
    settle::from_restored(&world, &bench.setup).await?;
    let tally = bench.tally();
    bench.end()?;
    let writes = world.acknowledged.load(Ordering::Relaxed);
    if writes < options.writes {
        return Err(format!("only {writes} writes were acknowledged: the run shows too little").into());
    }
    say::progress(format!(
        "at the end swept {replicas} replicas and {orphans} orphans; check: {checked}; {} flushes",
        tally.flushes
    ));
    Ok(format!(
        "{} cuts, {writes} acknowledged writes, 0 lost, {settled} unknown outcomes settled, {} of {} unflushed changes \
         dropped or torn",
        options.cuts, tally.lost, tally.pending
    ))
}

/// One round; the gateway that came up after it, and how many outcomes were unknown.
async fn cut_once(
    options: &Options,
    bench: &mut Bench,
    world: &Arc<World>,
    gateway: Gateway,
    seed: u64,
    round: u64,
) -> Outcome<(Gateway, usize)> {
    let endpoint = bench.setup.endpoint();
    let load = Load::start(world, std::slice::from_ref(&endpoint), bench.setup.command(), options.clients, seed);
    let after = 1 + bench.random.below(options.within);
    bench.shared.disk().end_after(after, End::Power);
    bench.until_dark().await;
    bench.after_cut(gateway).await?;
    load.stop().await?;
    // Without its disk it could not answer: those are no failures here.
    world.forgive_failed();
    let mut gateway = bench.setup.launch()?;
    match look(bench, world, &mut gateway, round).await {
        Ok(settled) => Ok((gateway, settled)),
        Err(failure) => {
            // Gone already, it may be; the disk is unmounted next.
            let _ = gateway.kill().await;
            Err(failure)
        }
    }
}

/// What a gateway that starts on what is left must show; answers how many outcomes were unknown.
async fn look(bench: &mut Bench, world: &Arc<World>, gateway: &mut Gateway, round: u64) -> Outcome<usize> {
    let watch = Stopwatch::start();
    gateway.ready().await?;
    let recovery = watch.elapsed();
    let endpoint = bench.setup.endpoint();
    let settled = settle::settle_unknown(world, &endpoint).await?;
    let sample = load::sample(world, &mut bench.random);
    settle::read_all(world, &endpoint, sample).await?;
    load::verdict(world, &format!("cut {round}"))?;
    let (tally, writes) = (bench.tally(), world.acknowledged.load(Ordering::Relaxed));
    say::progress(format!(
        "cut {round}: {} of {} pending changes lost so far, ready again after {recovery:.2?}, {writes} writes \
         acknowledged so far",
        tally.lost, tally.pending,
    ));
    Ok(settled)
}

/// The same on a disk that lies: the loss that must be found.
async fn liar(options: &Options, folder: &Path, seed: u64, lie: Lie) -> Outcome<String> {
    let mut bench = Bench::new(folder, Random::new(seed, 2))?;
    let world = Arc::new(World::new("liar", options.keys, Sizes { max: 512 << 10 }));
    let mut gateway = bench.setup.start().await?;
    Client::new(&bench.setup.endpoint()).create_bucket(&world.bucket).await?;
    bench.shared.disk().set_lie(lie);
    for round in 0..LIES_FOUND_WITHIN {
        gateway = match cut_once(options, &mut bench, &world, gateway, seed + round, round).await {
            Ok((gateway, _)) => gateway,
            Err(failure) => {
                say::progress(format!("{lie:?} not flushed, as it must be: {}", first_line(&failure)));
                bench.end()?;
                return Ok(format!("{lie:?} after {} cuts", round + 1));
            }
        };
    }
    Err(format!("{lie:?} were not flushed and nothing was lost in {LIES_FOUND_WITHIN} cuts: the rig sees nothing")
        .into())
}

fn first_line(failure: &Failure) -> String {
    failure.to_string().lines().take(2).collect::<Vec<_>>().join(" ")
}
