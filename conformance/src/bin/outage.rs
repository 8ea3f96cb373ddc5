//! A silo goes away under load, killed or standing still, and comes back, again and again.
//!
//! It fails on one failed request for what lies elsewhere; on any answer for what lies there that is neither right nor
//! `503 ServiceUnavailable` with `Retry-After`, or that takes for ever; and when the silo is back and what lies there is
//! not. It tells what the outage did to the latency of requests that have nothing to do with it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Call, Client, Endpoint, Listing};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, Setup};
use holdall_conformance::pace::{Clients, Requests, median, percentile};
use holdall_conformance::payload::Payload;
use holdall_conformance::process::{self, Stopped};
use holdall_conformance::random::Random;
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, rig, say, settle};
use http::{Method, StatusCode};
use tokio::task::JoinHandle;

/// What lies in the silo that stays, in the one that goes, and in whichever takes it.
const NEAR: &str = "near";
const FAR: &str = "far";
const EITHER: &str = "either";
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_secs(40);
/// A silo that answers again is used again within this.
const BACK: Duration = Duration::from_secs(30);
/// Once it is known that a silo is away, nobody waits for it.
const KNOWN: Duration = Duration::from_secs(12);
const AT_ONCE: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects in each silo.
    #[arg(long, default_value_t = 100)]
    objects: u64,
    /// Times that the silo goes away, each in each way there is.
    #[arg(long, default_value_t = 1)]
    pairs: u64,
    /// Seconds with the silo,
    #[arg(long, default_value_t = 16)]
    before: u64,
    /// and without.
    #[arg(long, default_value_t = 16)]
    window: u64,
    /// Clients.
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// The silo that goes away, in place of a bucket of another Holdall: declared in TOML, as `far`. What its credentials
    /// name is in the environment.
    #[arg(long, value_name = "FILE", requires = "pid")]
    declare: Option<PathBuf>,
    /// The process that is its server: with all below it, it is stopped, and goes on.
    #[arg(long)]
    pid: Option<u32>,
    /// Repeats the choices of another run.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run("outage", options.seed, |seed| run(&options, seed)).await
}

/// The server of the silo that goes away.
enum Server {
    Gateway(Box<Gateway>),
    Others(u32),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Hangs,
    Dies,
}

impl Server {
    fn ways(&self) -> &'static [Way] {
        match self {
            Self::Gateway(_) => &[Way::Hangs, Way::Dies],
            Self::Others(_) => &[Way::Hangs],
        }
    }

    fn pid(&self) -> u32 {
        match self {
            Self::Gateway(gateway) => gateway.pid(),
            Self::Others(pid) => *pid,
        }
    }

    /// Goes away, the way asked for; answers how to come back.
    async fn go(self, way: Way) -> Outcome<Away> {
        match (self, way) {
            (Self::Gateway(gateway), Way::Dies) => {
                let setup = gateway.setup.clone();
                gateway.kill().await?;
                Ok(Away::Dead(Box::new(setup)))
            }
            (server, _) => {
                let stopped = process::stop(server.pid())?;
                Ok(Away::Still(server, stopped))
            }
        }
    }
}

enum Away {
    Still(Server, Stopped),
    Dead(Box<Setup>),
}

impl Away {
    async fn come_back(self) -> Outcome<Server> {
        match self {
            Self::Still(server, stopped) => {
                drop(stopped);
                Ok(server)
            }
            Self::Dead(setup) => Ok(Server::Gateway(Box::new(setup.start().await?))),
        }
    }
}

/// Objects of known bytes; every other one is small enough for a pack.
#[derive(Clone)]
struct Objects {
    endpoint: Endpoint,
    count: u64,
}

impl Objects {
    fn payload(bucket: &str, number: u64) -> Payload {
        Payload::new(bucket, number, if number.is_multiple_of(2) { 4 << 10 } else { 300 << 10 })
    }

    async fn put_all(&self, bucket: &str) -> Outcome<()> {
        let mut client = Client::new(&self.endpoint);
        client.create_bucket(bucket).await?;
        for number in 0..self.count {
            let body = Body::made(Self::payload(bucket, number));
            client.put(bucket, &format!("k{number}"), &[], body).await?;
        }
        Ok(())
    }

    async fn read(&self, client: &mut Client, bucket: &str, number: u64) -> Outcome<()> {
        let answer = client.get(bucket, &format!("k{number}"), None).await?;
        right(bucket, number, &collect(answer.into_body()).await?)
    }
}

fn right(bucket: &str, number: u64, found: &[u8]) -> Outcome<()> {
    let right = Objects::payload(bucket, number).is(found);
    right.map_err(|why| format!("{bucket}/k{number} reads other bytes: {why}").into())
}

/// Reads, overwrites, heads and lists what lies in the silo that stays.
impl Requests for Objects {
    async fn once(&self, client: &mut Client, random: &mut Random) -> Outcome<()> {
        let number = random.below(self.count);
        let key = format!("k{number}");
        match random.below(10) {
            0 | 1 => client.put(NEAR, &key, &[], Body::made(Self::payload(NEAR, number))).await.map(drop)?,
            2 => client.head(NEAR, &key).await.map(drop)?,
            3 => client.list(NEAR, Listing { max_keys: 100, ..Listing::default() }).await.map(drop)?,
            _ => self.read(client, NEAR, number).await?,
        }
        Ok(())
    }
}

/// Clients that ask for what lies in the silo that goes away.
struct Watch {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<Outcome<Seen>>>,
}

/// What they were answered.
#[derive(Default)]
struct Seen {
    right: u64,
    refused: u64,
    broken: u64,
    /// The slowest answer, and the slowest once it was known.
    slowest: Duration,
    slowest_known: Duration,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.right += other.right;
        self.refused += other.refused;
        self.broken += other.broken;
        self.slowest = self.slowest.max(other.slowest);
        self.slowest_known = self.slowest_known.max(other.slowest_known);
    }
}

impl Watch {
    fn start(objects: &Objects, seed: u64) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let tasks = (0..4).map(|number| {
            let (objects, stop) = (objects.clone(), Arc::clone(&stop));
            tokio::spawn(async move { watch(&objects, Random::new(seed, 1000 + number), &stop).await })
        });
        Self { tasks: tasks.collect(), stop }
    }

    async fn stop(self) -> Outcome<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        let mut seen = Seen::default();
        for task in self.tasks {
            seen.add(&task.await??);
        }
        Ok(seen)
    }
}

async fn watch(objects: &Objects, mut random: Random, stop: &AtomicBool) -> Outcome<Seen> {
    let (mut client, mut seen, begun) = (Client::new(&objects.endpoint), Seen::default(), Stopwatch::start());
    while !stop.load(Ordering::Relaxed) {
        let (number, asked, known) = (random.below(objects.count), Stopwatch::start(), begun.over(KNOWN));
        let (what, answered) = match random.below(6) {
            // What the index knows needs no silo.
            0 => ("HEAD", tokio::time::timeout(PATIENCE, head(&mut client, number)).await),
            1 => ("PUT there", tokio::time::timeout(PATIENCE, put(&mut client, FAR, number)).await),
            2 => ("PUT anywhere", tokio::time::timeout(PATIENCE, put(&mut client, EITHER, number)).await),
            _ => ("GET", tokio::time::timeout(PATIENCE, get(&mut client, number)).await),
        };
        let answered = answered.map_err(|_| format!("{what} is not answered within {PATIENCE:?}"))?;
        match answered.map_err(|error| format!("{what}: {error}"))? {
            Answer::Right => seen.right += 1,
            Answer::Refused => seen.refused += 1,
            Answer::Broken => {
                seen.broken += 1;
                client = Client::new(&objects.endpoint);
            }
        }
        seen.slowest = seen.slowest.max(asked.elapsed());
        if known {
            seen.slowest_known = seen.slowest_known.max(asked.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(seen)
}

enum Answer {
    Right,
    /// For now.
    Refused,
    /// The body ended early.
    Broken,
}

async fn head(client: &mut Client, number: u64) -> Outcome<Answer> {
    client.head(FAR, &format!("k{number}")).await?;
    Ok(Answer::Right)
}

async fn put(client: &mut Client, bucket: &str, number: u64) -> Outcome<Answer> {
    let (path, body) = (format!("/{bucket}/w{number}"), Body::made(Objects::payload(bucket, number)));
    let answer = client.call(Call { method: Method::PUT, path, query: &[], headers: &[], body }).await?;
    if answer.status().is_success() {
        return Ok(Answer::Right);
    }
    refusal(answer).await
}

async fn get(client: &mut Client, number: u64) -> Outcome<Answer> {
    let call =
        Call { method: Method::GET, path: format!("/{FAR}/k{number}"), query: &[], headers: &[], body: Body::Empty };
    let answer = client.call(call).await?;
    if !answer.status().is_success() {
        return refusal(answer).await;
    }
    match collect(answer.into_body()).await {
        Ok(found) => right(FAR, number, &found).map(|()| Answer::Right),
        Err(_) => Ok(Answer::Broken),
    }
}

/// Says that it is for now, and when to ask again.
async fn refusal(answer: http::Response<hyper::body::Incoming>) -> Outcome<Answer> {
    let (status, later) = (answer.status(), answer.headers().contains_key(http::header::RETRY_AFTER));
    let text = String::from_utf8_lossy(&collect(answer.into_body()).await?).into_owned();
    if status == StatusCode::SERVICE_UNAVAILABLE && text.contains("<Code>ServiceUnavailable</Code>") && later {
        return Ok(Answer::Refused);
    }
    Err(format!("{status}, Retry-After {later}: {text:.300}").into())
}

async fn run(options: &Options, seed: u64) -> Outcome<String> {
    let folder = tempfile::Builder::new().prefix("holdall-outage-").tempdir()?;
    let mut setup = Setup::new(&folder.path().join("data"))?;
    let (mut server, far) = if let (Some(declared), Some(pid)) = (&options.declare, options.pid) {
        (Server::Others(pid), std::fs::read_to_string(declared)?)
    } else {
        let behind = Setup::new(&folder.path().join("behind"))?.start().await?;
        Client::new(&behind.setup.endpoint()).create_bucket("cold").await?;
        setup.env.push(("COLD_KEY".to_owned(), behind.setup.access_key_id.clone()));
        setup.env.push(("COLD_SECRET".to_owned(), behind.setup.secret_access_key.clone()));
        let url = format!("s3://cold?endpoint=http://{}&region=us-east-1", behind.setup.listen);
        let keys = "{ access_key_id_env = \"COLD_KEY\", secret_access_key_env = \"COLD_SECRET\" }";
        (Server::Gateway(Box::new(behind)), format!("[silo.far]\nurl = \"{url}\"\ncredentials = {keys}\n"))
    };
    setup.config = Some(format!(
        "[silo.near]\nurl = \"file:near\"\n{far}[write]\nto = [\"near\"]\n\
         [bucket.far.write]\nto = [\"far\"]\n[bucket.either.write]\nto = [\"far\", \"near\"]\n"
    ));
    let gateway = setup.start().await?;
    let objects = Objects { endpoint: setup.endpoint(), count: options.objects };
    for bucket in [NEAR, FAR, EITHER] {
        objects.put_all(bucket).await?;
    }
    let clients = Clients { endpoint: objects.endpoint.clone(), count: options.clients, seed };
    let (before, window) = (Duration::from_secs(options.before), Duration::from_secs(options.window));
    let rate = clients.capacity(&objects, before / 2).await? / 2.0;
    let (mut ratios, mut seen, mut back) = (Vec::new(), Seen::default(), Duration::ZERO);
    for pair in 0..options.pairs {
        for way in server.ways() {
            let quiet = percentile(&clients.latencies(&objects, rate, before).await?, 99);
            let (away, watch) = (server.go(*way).await?, Watch::start(&objects, seed + pair));
            let without = clients.latencies(&objects, rate, window).await;
            server = away.come_back().await?;
            let (without, answers) = (percentile(&without?, 99), watch.stop().await?);
            back = back.max(until_back(&objects).await?);
            let way = if *way == Way::Hangs { "stands still" } else { "is dead" };
            say::progress(format!(
                "p99 {quiet:.1?} and {without:.1?} while the silo {way}; of its own {} right, {} refused, {} broke off, the \
                 slowest after {:.1?}, and {:.1?} once that was known",
                answers.right, answers.refused, answers.broken, answers.slowest, answers.slowest_known
            ));
            ratios.push(without.as_secs_f64() / quiet.as_secs_f64());
            seen.add(&answers);
        }
    }
    if seen.refused == 0 {
        return Err("nothing was refused: the silo was not away".into());
    }
    if seen.slowest_known > AT_ONCE {
        return Err(format!("an answer took {:.1?} though the silo was known to be away", seen.slowest_known).into());
    }
    // Of writes that were given up some landed.
    settle::sweep(&setup.command()).await?;
    settle::check_deep(&setup.command()).await?;
    gateway.stop().await?;
    if let Server::Gateway(behind) = server {
        behind.stop().await?;
    }
    Ok(format!(
        "{} outages at {rate:.0} requests/s elsewhere, 0 failed: p99 {:.2} times that of before; of what lies there {} answers \
         were right, {} `ServiceUnavailable`, {} broke off, the slowest after {:.1?}; back after {back:.1?}",
        ratios.len(),
        median(ratios.clone()),
        seen.right,
        seen.refused,
        seen.broken,
        seen.slowest
    ))
}

/// Waits until everything reads again.
async fn until_back(objects: &Objects) -> Outcome<Duration> {
    let (watch, mut client) = (Stopwatch::start(), Client::new(&objects.endpoint));
    for number in 0..objects.count {
        while let Err(error) = objects.read(&mut client, FAR, number).await {
            if watch.over(BACK) {
                return Err(format!("far/k{number} does not read {BACK:?} after the silo is back: {error}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            client = Client::new(&objects.endpoint);
        }
    }
    Ok(watch.elapsed())
}
