//! Rounds of kill -9, at random moments and at failpoints, under mixed load with a move running.
//!
//! Every acknowledged write must be there and whole, no unacknowledged one half-visible, and after recovery and sweep
//! no byte is left that no row names. Unknown outcomes stay open until the gateway is dead; then what is read is the
//! truth. At the end the index goes, too, and a restored one must show the same.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::Client;
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{BACKED_UP_OFTEN, Gateway, NO_GRACE, Setup};
use holdall_conformance::load::Load;
use holdall_conformance::random::Random;
use holdall_conformance::workload::{Sizes, World};
use holdall_conformance::{Outcome, load, rig, say, settle};

/// Points where the gateway kills itself when told to; `holdall_namespace::failpoint::FAILPOINTS` is the list.
const FAILPOINTS: &[&str] = &[
    "put-stored",
    "put-committed",
    "delete-committed",
    "part-stored",
    "complete-sealed",
    "complete-committed",
    "move-journalled",
    "move-put",
    "move-copied",
    "move-committed",
    "sweep-deleted",
    "pack-written",
    "pack-rewriting",
    "pack-deleted",
    "log-shipped",
    "snapshot-begun",
    "backup-pruned",
];
/// A round that no failpoint ends is ended by hand after this long.
const ROUND: Duration = Duration::from_secs(20);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Kills.
    #[arg(long, default_value_t = 26)]
    rounds: u64,
    /// Keys.
    #[arg(long, default_value_t = 400)]
    keys: usize,
    /// Clients.
    #[arg(long, default_value_t = 12)]
    clients: u64,
    /// Random kills come after at most so many milliseconds of load.
    #[arg(long, default_value_t = 1500)]
    within: u64,
    /// Acknowledged writes the whole run must have.
    #[arg(long, default_value_t = 1000)]
    writes: u64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("crash", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let mut setup = Setup::new(&folder.join("data"))?;
    setup.config = Some(format!("{NO_GRACE}{BACKED_UP_OFTEN}"));
    let world = Arc::new(World::new("crash", options.keys, Sizes { max: 512 << 10 }));
    let mut hit: BTreeMap<&str, u64> = BTreeMap::new();
    let mut random = Random::new(seed, 0);
    let mut gateway = setup.start().await?;
    Client::new(&setup.endpoint()).create_bucket("crash").await?;
    let mut settled = 0;

    for round in 0..options.rounds {
        // Two rounds of three die at a failpoint, each in its turn.
        let point = (round % 3 != 2).then(|| FAILPOINTS[(round - round / 3) as usize % FAILPOINTS.len()]);
        if let Some(point) = point {
            gateway.stop().await?;
            let at = 1 + random.below(passes(point));
            setup.env = vec![("HOLDALL_FAILPOINT".to_owned(), format!("{point}:{at}"))];
            gateway = setup.launch()?;
            if let Err(failure) = gateway.ready().await {
                // Jobs go on as soon as it starts: the point may be passed before the door opens.
                if !gateway.was_killed() {
                    return Err(failure);
                }
            }
        }
        let ended_by_point = under_load(options, &world, gateway, seed + round, &mut random, point).await?;
        if let Some(point) = point.filter(|_| ended_by_point) {
            *hit.entry(point).or_default() += 1;
        }
        setup.env.clear();
        let watch = Stopwatch::start();
        gateway = setup.start().await?;
        let recovery = watch.elapsed();
        settled += settle::settle_unknown(&world, &setup.endpoint()).await?;
        settle::read_all(&world, &setup.endpoint(), load::sample(&world, &mut random)).await?;
        load::verdict(&world, &format!("round {round}"))?;
        say::progress(format!(
            "round {round}: {}, ready again after {recovery:.2?}, {} writes acknowledged so far",
            point.map_or("killed at random".to_owned(), |point| format!(
                "{point} {}",
                if ended_by_point { "hit" } else { "not reached" }
            )),
            world.acknowledged.load(Ordering::Relaxed),
        ));
    }
    conclude(options, &world, gateway, &hit, settled).await
}

/// How often a point is passed in some seconds of load: the kill comes at any of them.
fn passes(point: &str) -> u64 {
    match point {
        "put-stored" | "put-committed" | "pack-written" => 300,
        "delete-committed" | "move-journalled" | "move-put" | "move-copied" | "move-committed" => 60,
        "sweep-deleted" => 10,
        _ => 3,
    }
}

/// Load and a drain, until the gateway dies; whether a failpoint did it.
async fn under_load(
    options: &Options,
    world: &Arc<World>,
    mut gateway: Gateway,
    seed: u64,
    random: &mut Random,
    point: Option<&str>,
) -> Outcome<bool> {
    let setup = gateway.setup.clone();
    let load = Load::start(world, &[setup.endpoint()], setup.command(), options.clients, seed);
    let limit = if point.is_some() { ROUND } else { Duration::from_millis(random.below(options.within) + 50) };
    let by_itself = gateway.ended(limit).await.is_some();
    if !by_itself {
        gateway.kill().await?;
    }
    load.stop().await?;
    if by_itself && point.is_none() {
        return Err(format!("the gateway ended by itself: see {}", setup.log().display()).into());
    }
    // A dead gateway answers nobody: those are no failures here.
    world.forgive_failed();
    Ok(by_itself)
}

async fn conclude(
    options: &Options,
    world: &Arc<World>,
    gateway: Gateway,
    hit: &BTreeMap<&str, u64>,
    settled: usize,
) -> Outcome<String> {
    let setup = gateway.setup.clone();
    load::cancel_jobs(&setup.command()).await?;
    let (replicas, orphans) = settle::sweep(&setup.command()).await?;
    settle::read_all(world, &setup.endpoint(), world.keys.clone()).await?;
    load::verdict(world, "at the end")?;
    let checked = settle::check_deep(&setup.command()).await?;
    gateway.stop().await?;
    settle::from_restored(world, &setup).await?;
    let writes = world.acknowledged.load(Ordering::Relaxed);
    if writes < options.writes {
        return Err(format!("only {writes} writes were acknowledged: the run shows too little").into());
    }
    // With enough rounds each point has had three turns; those that were never passed are told, not hidden.
    let turns = options.rounds * 2 / 3 / FAILPOINTS.len() as u64;
    let short: Vec<_> =
        FAILPOINTS.iter().filter(|point| hit.get(*point).copied().unwrap_or_default() < turns.min(3)).collect();
    if !short.is_empty() {
        return Err(format!("failpoints hit too rarely: {short:?} of {hit:?}").into());
    }
    say::progress(format!("at the end swept {replicas} replicas and {orphans} orphans; check: {checked}; hit {hit:?}"));
    let least = FAILPOINTS.iter().map(|point| hit.get(point).copied().unwrap_or_default()).min().unwrap_or_default();
    Ok(format!(
        "{} kills, {writes} acknowledged writes, 0 lost, {settled} unknown outcomes settled, 0 orphans; each of {} \
         failpoints hit {least} times or more",
        options.rounds,
        FAILPOINTS.len()
    ))
}
