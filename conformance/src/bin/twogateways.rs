//! Two gateways over one index, under load with moves running: one is killed and started again, one is frozen past its
//! lease and resumed.
//!
//! Whatever either acknowledged must be there and whole on both, and while one is dead the other works on. The one that
//! was buried must acknowledge nothing under its old session; it begins another. Of many conditional creates of one key,
//! sent to both, exactly one wins. At the end `check --deep` is clean.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{CallError, Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::load::Load;
use holdall_conformance::random::Random;
use holdall_conformance::wire::Body;
use holdall_conformance::workload::{Sizes, World};
use holdall_conformance::{Outcome, load, rig, say, settle};
use rustix::process::Signal;

/// The bucket.
const BUCKET: &str = "shared";
/// What a gateway says when it buries another's session.
const BURIED: &str = "declared dead";
/// What a gateway says of each of its sessions.
const BEGINS: &str = "session begins";
/// What a gateway says that was buried.
const BORN_AGAIN: &str = "another session begins";
/// A lease is 15 s; then it takes a pass of the sweeper to see it.
const BURIAL: Duration = Duration::from_mins(1);
/// How long a write may take that nobody holds up.
const UNHINDERED: Duration = Duration::from_secs(2);
/// A process frozen inside a transaction holds the file's lock, which no other engine would let it: another moment.
const MOMENTS: u32 = 200;
/// Conditional creates of one key at once.
const RACERS: u64 = 8;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Kills, of one and the other in turn.
    #[arg(long, default_value_t = 4)]
    kills: u64,
    /// Freezes, of one and the other in turn.
    #[arg(long, default_value_t = 1)]
    freezes: u64,
    /// Races of conditional creates.
    #[arg(long, default_value_t = 40)]
    races: u64,
    /// Keys.
    #[arg(long, default_value_t = 200)]
    keys: usize,
    /// Clients, half of them of each gateway.
    #[arg(long, default_value_t = 12)]
    clients: u64,
    /// Acknowledged writes the whole run must have.
    #[arg(long, default_value_t = 500)]
    writes: u64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

/// The two of them.
struct Pair {
    gateways: [Gateway; 2],
    world: Arc<World>,
    random: Random,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("twogateways", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let mut pair = Pair::start(&folder, options.keys, seed).await?;
    at_work(options, &pair, seed).await?;
    races(options, &pair).await?;
    for kill in 0..options.kills {
        killed(options, &mut pair, seed + 1000 + kill, kill).await?;
    }
    let (mut moments, mut refused) = (0, 0);
    for freeze in 0..options.freezes {
        let (tried, late) = frozen(options, &mut pair, seed + 1 + freeze, freeze).await?;
        (moments, refused) = (moments + tried, refused + late);
    }
    races(options, &pair).await?;
    let checked = conclude(&pair).await?;
    let [one, other] = pair.gateways;
    one.stop().await?;
    other.stop().await?;
    let writes = pair.world.acknowledged.load(Ordering::Relaxed);
    if writes < options.writes {
        return Err(format!("only {writes} writes were acknowledged: the run shows too little").into());
    }
    say::progress(format!("check: {checked}; {moments} moments were tried to freeze outside of a transaction"));
    Ok(format!(
        "{} kills, {} freezes, {writes} acknowledged writes, 0 lost, {refused} late creates refused, {} races with one \
         winner each",
        options.kills,
        options.freezes,
        2 * options.races
    ))
}

impl Pair {
    async fn start(folder: &std::path::Path, keys: usize, seed: u64) -> Outcome<Self> {
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.notes = folder.join("one");
        setup.config = Some(NO_GRACE.to_owned());
        setup.share_index();
        let gateways = [setup.start().await?, setup.beside(&folder.join("other"))?.start().await?];
        let world = Arc::new(World::new(BUCKET, keys, Sizes { max: 512 << 10 }));
        let pair = Self { gateways, world, random: Random::new(seed, 0) };
        Client::new(&pair.endpoints()[0]).create_bucket(BUCKET).await?;
        Ok(pair)
    }

    fn endpoints(&self) -> [Endpoint; 2] {
        self.gateways.each_ref().map(|gateway| gateway.setup.endpoint())
    }

    fn load(&self, options: &Options, seed: u64) -> Load {
        Load::start(&self.world, &self.endpoints(), self.gateways[0].setup.command(), options.clients, seed)
    }

    /// Whether a gateway commits without delay.
    async fn commits(&self, which: usize) -> bool {
        let mut client = Client::new(&self.endpoints()[which]);
        let put = client.put(BUCKET, "commits", &[], Body::Empty);
        matches!(tokio::time::timeout(UNHINDERED, put).await, Ok(Ok(_)))
    }

    /// Freezes one in a moment when it does not hold up the other; answers how many were tried.
    async fn freeze(&mut self, frozen: usize) -> Outcome<u32> {
        for moment in 1..=MOMENTS {
            tokio::time::sleep(Duration::from_millis(self.random.below(50))).await;
            self.gateways[frozen].signal(Signal::STOP)?;
            if self.commits(1 - frozen).await {
                return Ok(moment);
            }
            self.gateways[frozen].signal(Signal::CONT)?;
        }
        Err(format!("frozen at {MOMENTS} moments, each time the other could not commit").into())
    }
}

/// The sessions that a gateway has said something of, in its log's own words.
fn said(gateway: &Gateway, what: &str) -> Vec<String> {
    let log = std::fs::read_to_string(gateway.setup.log()).unwrap_or_default();
    let lines = log.lines().filter(|line| line.contains(what));
    lines.filter_map(|line| line.rsplit_once(' ').map(|(_, session)| session.to_owned())).collect()
}

/// Waits until a gateway has said something that is right.
async fn until_said(gateway: &Gateway, what: &str, right: impl Fn(&[String]) -> bool) -> Outcome<()> {
    let watch = Stopwatch::start();
    while !right(&said(gateway, what)) {
        if watch.over(BURIAL) {
            return Err(format!("`{what}` was not said within {BURIAL:?}: see {}", gateway.log_tail()).into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Both work at once, nobody disturbs them: every request is answered.
async fn at_work(options: &Options, pair: &Pair, seed: u64) -> Outcome<()> {
    let load = pair.load(options, seed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    load.stop().await?;
    load::verdict(&pair.world, "both at work")
}

/// Kills one under load and starts it again, while the other works on.
async fn killed(options: &Options, pair: &mut Pair, seed: u64, number: u64) -> Outcome<()> {
    let (victim, other) = ((number % 2) as usize, 1 - (number % 2) as usize);
    let load = pair.load(options, seed);
    tokio::time::sleep(Duration::from_millis(50 + pair.random.below(1500))).await;
    pair.gateways[victim].signal(Signal::KILL)?;
    pair.gateways[victim].ended(UNHINDERED).await.ok_or("it survived a kill")?;
    if !pair.commits(other).await {
        return Err(format!(
            "kill {number}: the other one does not commit any more: {}",
            pair.gateways[other].log_tail()
        )
        .into());
    }
    tokio::time::sleep(Duration::from_millis(pair.random.below(500))).await;
    let setup = pair.gateways[victim].setup.clone();
    pair.gateways[victim] = setup.start().await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    load.stop().await?;
    // Those of the dead one.
    pair.world.forgive_failed();
    let settled = settled_on_both(pair, other).await?;
    load::verdict(&pair.world, &format!("kill {number}"))?;
    say::progress(format!("kill {number}: {settled} unknown outcomes settled"));
    Ok(())
}

/// What is unknown is settled by one, and a sample is right on both.
async fn settled_on_both(pair: &mut Pair, by: usize) -> Outcome<usize> {
    let endpoints = pair.endpoints();
    let settled = settle::settle_unknown(&pair.world, &endpoints[by]).await?;
    for endpoint in &endpoints {
        settle::read_all(&pair.world, endpoint, load::sample(&pair.world, &mut pair.random)).await?;
    }
    Ok(settled)
}

/// Freezes one past its lease and resumes it; answers how many moments were tried, and how many late creates refused.
async fn frozen(options: &Options, pair: &mut Pair, seed: u64, number: u64) -> Outcome<(u32, u64)> {
    let (frozen, other) = ((number % 2) as usize, 1 - (number % 2) as usize);
    let load = pair.load(options, seed);
    tokio::time::sleep(Duration::from_millis(200 + pair.random.below(800))).await;
    let session = said(&pair.gateways[frozen], BEGINS).pop().ok_or("it did not say which session it has")?;
    let born = said(&pair.gateways[frozen], BORN_AGAIN).len();
    let moments = pair.freeze(frozen).await?;
    let watch = Stopwatch::start();
    // They reach the frozen one while it is frozen; the same keys are then made at the other.
    let late: Vec<String> = (0..RACERS).map(|racer| format!("late/{number}/{racer}")).collect();
    let creates: Vec<_> =
        late.iter().map(|key| tokio::spawn(create(pair.endpoints()[frozen].clone(), key.clone(), 0))).collect();
    // Those that were killed are buried about now, too.
    until_said(&pair.gateways[other], BURIED, |buried| buried.contains(&session)).await?;
    // What the buried one left is an orphan now, and goes while it sleeps.
    pair.gateways[other].setup.command().json(&["sweep", "--now"]).await?;
    for key in &late {
        if !create(pair.endpoints()[other].clone(), key.clone(), 1).await? {
            return Err(format!("{key} was there before anybody could have made it").into());
        }
    }
    let asleep = watch.elapsed();
    pair.gateways[frozen].signal(Signal::CONT)?;
    for (key, create) in late.iter().zip(creates) {
        // No answer or 503 is right as well: its session is over.
        if create.await?.is_ok_and(|won| won) {
            return Err(format!("{key} was made twice: by the other, and by the one that was buried").into());
        }
    }
    until_said(&pair.gateways[frozen], BORN_AGAIN, |again| again.len() > born).await?;
    pair.gateways[frozen].ready().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.stop().await?;
    // Those of the frozen one: refused under a session that is over.
    let unanswered = pair.world.failed.load(Ordering::Relaxed);
    pair.world.forgive_failed();
    let settled = settled_on_both(pair, other).await?;
    for endpoint in &pair.endpoints() {
        shows(endpoint, &late, 1).await?;
    }
    load::verdict(&pair.world, &format!("freeze {number}"))?;
    say::progress(format!(
        "freeze {number}: asleep for {asleep:.1?}, {unanswered} requests refused or unanswered, {settled} unknown \
         outcomes settled, {} writes acknowledged so far",
        pair.world.acknowledged.load(Ordering::Relaxed)
    ));
    Ok((moments, late.len() as u64))
}

/// Creates a key unless it is there; whether it was made. The body says by whom.
async fn create(endpoint: Endpoint, key: String, by: u64) -> Result<bool, CallError> {
    let body = Body::Whole(by.to_string().into());
    match Client::new(&endpoint).put(BUCKET, &key, &[("if-none-match", "*")], body).await {
        Ok(_) => Ok(true),
        Err(CallError::Refused { status, .. }) if status == http::StatusCode::PRECONDITION_FAILED => Ok(false),
        // A create that is under way at this moment: S3's word for it.
        Err(CallError::Refused { status, .. }) if status == http::StatusCode::CONFLICT => Ok(false),
        Err(error) => Err(error),
    }
}

/// Every key shows what that one wrote.
async fn shows(endpoint: &Endpoint, keys: &[String], by: u64) -> Outcome<()> {
    let mut client = Client::new(endpoint);
    for key in keys {
        let body = client.get(BUCKET, key, None).await?.into_body();
        let body = holdall_conformance::wire::collect(body).await?;
        if body[..] != *by.to_string().as_bytes() {
            return Err(format!("{key} shows {body:?}, which is not what {by} wrote").into());
        }
    }
    Ok(())
}

/// Many create the same key at both: exactly one makes it, and both show that one's.
async fn races(options: &Options, pair: &Pair) -> Outcome<()> {
    let endpoints = pair.endpoints();
    for race in 0..options.races {
        let key = format!("race/{race}/{}", pair.world.oracle.now());
        let racers = (0..RACERS).map(|racer| {
            let endpoint = endpoints[(racer % 2) as usize].clone();
            tokio::spawn(create(endpoint, key.clone(), racer))
        });
        let mut winners = Vec::new();
        for (racer, create) in racers.collect::<Vec<_>>().into_iter().enumerate() {
            if create.await?? {
                winners.push(racer as u64);
            }
        }
        let [winner] = winners[..] else {
            return Err(format!("{key}: {winners:?} of {RACERS} made it, not exactly one").into());
        };
        for endpoint in &endpoints {
            shows(endpoint, std::slice::from_ref(&key), winner).await?;
        }
    }
    Ok(())
}

/// Nothing runs any more: all is there on both, and index and silos agree.
async fn conclude(pair: &Pair) -> Outcome<String> {
    let holdall = pair.gateways[0].setup.command();
    load::cancel_jobs(&holdall).await?;
    let (replicas, orphans) = settle::sweep(&holdall).await?;
    say::progress(format!("at the end swept {replicas} replicas and {orphans} orphans"));
    for endpoint in &pair.endpoints() {
        settle::read_all(&pair.world, endpoint, pair.world.keys.clone()).await?;
    }
    load::verdict(&pair.world, "at the end")?;
    settle::check_deep(&holdall).await
}
