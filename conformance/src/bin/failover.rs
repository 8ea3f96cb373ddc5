//! Downloads of objects that have a copy on each of two silos, while the one that is read is killed, stalls, ends early or
//! sends a wrong bit, at random offsets; the client tries nothing twice.
//!
//! It fails on one wrong byte, on one error that a client sees, and when too few downloads met their fault. At last every
//! copy is bad at once: then each download must fail, and none may end well or have a wrong byte.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::gateway::{Gateway, Setup};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::Random;
use holdall_conformance::tamper::{Doors, Fault, Met, Way};
use holdall_conformance::wire::{Body, visit};
use holdall_conformance::workload::PART;
use holdall_conformance::{Outcome, rig, say, settle};
use http::StatusCode;
use serde::Deserialize;

const BUCKET: &str = "safe";
/// The silos, each a bucket of its own behind a door of its own.
const SILOS: [&str; 2] = ["a", "b"];
/// Every so many objects one is longer by a part, and uploaded in parts.
const MULTIPART: u64 = 4;
/// What silos are read in.
const BLOCK: u64 = 256 << 10;
/// Copies are made within this.
const COPIED: Duration = Duration::from_mins(5);
/// No download takes longer: clients wait a minute for a byte.
const PATIENCE: Duration = Duration::from_secs(55);
/// A silo that answers again is used again within this.
const BACK: Duration = Duration::from_secs(30);
/// Failures that are told.
const TOLD: usize = 10;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 4)]
    objects: u64,
    /// MiB of each.
    #[arg(long, default_value_t = 4)]
    mib: u64,
    /// Downloads that meet a fault of the silo that they read.
    #[arg(long, default_value_t = 60)]
    downloads: u64,
    /// One of so many meets a silo that stalls, which is known after seconds; none without it.
    #[arg(long, default_value_t = 30)]
    stall: u64,
    /// And one of so many an answer that stalls while its silo goes on; none without it.
    #[arg(long, default_value_t = 0)]
    hang: u64,
    /// Downloads at the end, while every copy is bad.
    #[arg(long, default_value_t = 9)]
    hopeless: u64,
    /// Copies of each object. With one of them the run must fail.
    #[arg(long, default_value_t = 2)]
    copies: u32,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("failover", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

fn bucket_of(silo: &str) -> String {
    format!("silo-{silo}")
}

/// Declares a silo behind a door; keys are in `BEHIND_KEY`, `BEHIND_SECRET`.
fn silo_at(name: &str, address: &str) -> String {
    format!(
        "[silo.{name}]\nurl = \"s3://{}?endpoint=http://{address}&region=us-east-1\"\n\
         credentials = {{ access_key_id_env = \"BEHIND_KEY\", secret_access_key_env = \"BEHIND_SECRET\" }}\n",
        bucket_of(name)
    )
}

/// The gateway under test, and the silos behind the doors.
struct Servers {
    gateway: Gateway,
    doors: Doors,
    behind: Gateway,
}

impl Servers {
    async fn start(options: &Options, folder: &std::path::Path) -> Outcome<Self> {
        let behind = Setup::new(&folder.join("behind"))?.start().await?;
        let doors = Doors::open(&behind.setup.listen, SILOS.len()).await?;
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.env.push(("BEHIND_KEY".to_owned(), behind.setup.access_key_id.clone()));
        setup.env.push(("BEHIND_SECRET".to_owned(), behind.setup.secret_access_key.clone()));
        let mut client = Client::new(&behind.setup.endpoint());
        for name in SILOS {
            client.create_bucket(&bucket_of(name)).await?;
        }
        let silos: Vec<_> = SILOS.iter().zip(&doors.addresses).map(|(name, address)| silo_at(name, address)).collect();
        let wish = format!("on = \"s3://{BUCKET}/\"\nplace = {SILOS:?}\ncopies = {}\n", options.copies);
        setup.config = Some(format!("{}[write]\nto = {SILOS:?}\n[objective.safe]\n{wish}", silos.concat()));
        Ok(Self { gateway: setup.start().await?, doors, behind })
    }
}

/// An object and what it holds.
struct Object {
    key: String,
    payload: Payload,
}

/// Writes all objects, and waits until each has its copies.
async fn fill(options: &Options, seed: u64, setup: &Setup) -> Outcome<Vec<Object>> {
    let mut client = Client::new(&setup.endpoint());
    client.create_bucket(BUCKET).await?;
    let mut objects = Vec::new();
    for number in 0..options.objects {
        let (key, mut length) = (format!("k{number}"), options.mib << 20);
        let in_parts = number % MULTIPART == MULTIPART - 1;
        if in_parts {
            length += PART;
        }
        let payload = Payload::new(&key, seed, length);
        if in_parts {
            upload(&mut client, &key, payload).await?;
        } else {
            client.put(BUCKET, &key, &[], Body::made(payload)).await?;
        }
        objects.push(Object { key, payload });
    }
    let watch = Stopwatch::start();
    for object in &objects {
        while !has_copies(&setup.command(), &object.key, options.copies as usize).await? {
            if watch.over(COPIED) {
                return Err(format!("{} has no {} copies after {COPIED:?}", object.key, options.copies).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(objects)
}

async fn upload(client: &mut Client, key: &str, payload: Payload) -> Outcome<()> {
    let id = client.initiate(BUCKET, key, &[]).await?;
    let mut parts = Vec::new();
    for (number, from) in (1..).zip((0..payload.len).step_by(PART as usize)) {
        parts.push(client.part(BUCKET, key, &id, number, Body::part(payload, from, PART)).await?);
    }
    client.complete(BUCKET, key, &id, &parts).await?;
    Ok(())
}

#[derive(Deserialize)]
struct Replica {
    extent: String,
    state: String,
}

async fn has_copies(holdall: &Holdall, key: &str, copies: usize) -> Outcome<bool> {
    let replicas: Vec<Replica> =
        serde_json::from_value(holdall.json(&["where", &format!("s3://{BUCKET}/{key}")]).await?)?;
    let mut verified: BTreeMap<&str, usize> = BTreeMap::new();
    for replica in &replicas {
        *verified.entry(&replica.extent).or_default() += usize::from(replica.state == "verified");
    }
    Ok(!verified.is_empty() && verified.values().all(|count| *count == copies))
}

/// What is asked for, and what is to go wrong meanwhile.
struct Download<'a> {
    object: &'a Object,
    range: Range<u64>,
    fault: Fault,
}

impl<'a> Download<'a> {
    /// The fault is within what silos send for it: whole blocks.
    fn draw(random: &mut Random, objects: &'a [Object], way: Way, everywhere: bool) -> Outcome<Self> {
        let object = random.pick(objects).ok_or("no objects")?;
        let size = object.payload.len;
        let range = if random.percent(40) {
            0..size
        } else {
            let from = random.below(size);
            from..from + 1 + random.below(size - from)
        };
        let sent = range.end.next_multiple_of(BLOCK).min(size) - range.start / BLOCK * BLOCK;
        let again = if everywhere { 0 } else { random.below(4 * BLOCK) };
        Ok(Self { object, fault: Fault { way, at: random.below(sent), again, everywhere }, range })
    }

    fn is_whole(&self) -> bool {
        self.range == (0..self.object.payload.len)
    }
}

impl std::fmt::Display for Download<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (key, size, Range { start, end }) = (&self.object.key, self.object.payload.len, &self.range);
        write!(f, "{key}, {start}..{end} of {size}, {:?} behind {} bytes", self.fault.way, self.fault.at)
    }
}

/// How a download ended.
enum End {
    Right,
    Wrong(String),
    /// What the client saw.
    Failed(String),
}

/// Asks once, over a connection of its own.
async fn read(endpoint: &Endpoint, download: &Download<'_>) -> End {
    match tokio::time::timeout(PATIENCE, read_patiently(endpoint, download)).await {
        Ok(end) => end,
        Err(_) => End::Failed(format!("nothing within {PATIENCE:?}")),
    }
}

async fn read_patiently(endpoint: &Endpoint, download: &Download<'_>) -> End {
    let Range { start, end } = download.range;
    let asked = (!download.is_whole()).then(|| format!("bytes={start}-{}", end - 1));
    let mut client = Client::new(endpoint);
    let answer = match client.get(BUCKET, &download.object.key, asked.as_deref()).await {
        Ok(answer) => answer,
        Err(error) => return End::Failed(error.to_string()),
    };
    let expected = if download.is_whole() { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
    if answer.status() != expected {
        return End::Wrong(format!("{} for {expected}", answer.status()));
    }
    let (mut at, mut differs) = (start, None);
    let ended = visit(answer.into_body(), |bytes| {
        differs = differs.or(download.object.payload.check(at, bytes).err());
        at += bytes.len() as u64;
    });
    let ended = ended.await;
    match (differs, ended) {
        (Some(differs), _) => End::Wrong(format!("a wrong byte at {}", differs.at)),
        (None, Err(error)) => End::Failed(format!("{error} after {} bytes", at - start)),
        (None, Ok(length)) if length != end - start => End::Wrong(format!("ends well after {length} bytes")),
        (None, Ok(_)) => End::Right,
    }
}

/// What downloads of one way came to.
#[derive(Default)]
struct Count {
    right: u64,
    wrong: u64,
    failed: u64,
    met: u64,
    elsewhere: u64,
    slowest: Duration,
}

#[derive(Default)]
struct Counts {
    by_way: BTreeMap<Way, Count>,
    told: Vec<String>,
}

impl Counts {
    fn add(&mut self, number: u64, download: &Download<'_>, end: &End, met: &Met, took: Duration) {
        let count = self.by_way.entry(download.fault.way).or_default();
        count.met += u64::from(met.by.is_some());
        count.elsewhere += u64::from(met.by.is_some() && met.elsewhere());
        count.slowest = count.slowest.max(took);
        let (kind, what) = match end {
            End::Right => {
                count.right += 1;
                return;
            }
            End::Wrong(what) => (&mut count.wrong, what),
            End::Failed(what) => (&mut count.failed, what),
        };
        *kind += 1;
        if self.told.len() < TOLD {
            self.told.push(format!("download {number}: {download}, met {met:?}: {what}, after {took:.1?}"));
        }
    }

    fn sum(&self, field: impl Fn(&Count) -> u64) -> u64 {
        self.by_way.values().map(field).sum()
    }

    fn tell(&self, when: &str) {
        for (way, count) in &self.by_way {
            let Count { right, wrong, failed, met, elsewhere, slowest } = count;
            say::progress(format!(
                "{when}, {way:?}: {right} right, {wrong} wrong, {failed} failed; {met} met it, {elsewhere} of them asked the \
                 other silo, the slowest after {slowest:.1?}"
            ));
        }
    }

    fn told(&self) -> String {
        self.told.join("\n")
    }
}

/// The way of download `number`.
fn way(options: &Options, random: &mut Random, number: u64) -> Way {
    let is_one_of = |every: u64| every > 0 && number % every == every / 2;
    if is_one_of(options.stall) {
        return Way::Stalled;
    }
    if is_one_of(options.hang) {
        return Way::Hung;
    }
    [Way::Killed, Way::Truncated, Way::Corrupted][random.below(3) as usize]
}

/// One silo is bad at a time, and well again afterwards.
async fn one_bad(options: &Options, seed: u64, servers: &Servers, objects: &[Object]) -> Outcome<Counts> {
    let (mut random, mut counts) = (Random::new(seed, 1), Counts::default());
    let setup = &servers.gateway.setup;
    for number in 0..options.downloads {
        let way = way(options, &mut random, number);
        let download = Download::draw(&mut random, objects, way, false)?;
        servers.doors.arm(download.fault);
        let watch = Stopwatch::start();
        let end = read(&setup.endpoint(), &download).await;
        let took = watch.elapsed();
        let met = servers.doors.heal();
        counts.add(number, &download, &end, &met, took);
        // A silo that was silent is asked for nothing until it is up; any other counts for less, and is asked.
        if way == Way::Stalled {
            until_up(&setup.command()).await?;
        }
    }
    Ok(counts)
}

/// Once a download met its fault, no silo has a good copy.
async fn all_bad(options: &Options, seed: u64, servers: &Servers, objects: &[Object]) -> Outcome<Counts> {
    let (mut random, mut counts) = (Random::new(seed, 2), Counts::default());
    let setup = &servers.gateway.setup;
    for number in 0..options.hopeless {
        let way = [Way::Killed, Way::Truncated, Way::Corrupted][number as usize % 3];
        let download = Download::draw(&mut random, objects, way, true)?;
        servers.doors.arm(download.fault);
        let watch = Stopwatch::start();
        let end = read(&setup.endpoint(), &download).await;
        let met = servers.doors.heal();
        counts.add(number, &download, &end, &met, watch.elapsed());
        until_up(&setup.command()).await?;
    }
    Ok(counts)
}

#[derive(Deserialize)]
struct Silo {
    health: String,
}

async fn until_up(holdall: &Holdall) -> Outcome<()> {
    let watch = Stopwatch::start();
    loop {
        let silos: Vec<Silo> = serde_json::from_value(holdall.json(&["silo", "list"]).await?)?;
        if silos.iter().all(|silo| silo.health == "up") {
            return Ok(());
        }
        if watch.over(BACK) {
            return Err(format!("a silo is not up {BACK:?} after it was healed").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let servers = Servers::start(options, &folder).await?;
    let setup = servers.gateway.setup.clone();
    let watch = Stopwatch::start();
    let objects = fill(options, seed, &setup).await?;
    say::progress(format!("{} objects have {} copies after {:.1?}", objects.len(), options.copies, watch.elapsed()));

    let bad = one_bad(options, seed, &servers, &objects).await?;
    bad.tell("one silo bad");
    let (right, met) = (bad.sum(|count| count.right), bad.sum(|count| count.met));
    if right != options.downloads {
        let (wrong, failed) = (bad.sum(|count| count.wrong), bad.sum(|count| count.failed));
        return Err(
            format!("of {} downloads {wrong} wrong, {failed} failed:\n{}", options.downloads, bad.told()).into()
        );
    }
    if met * 2 < options.downloads {
        return Err(format!("only {met} of {} downloads met their fault", options.downloads).into());
    }

    let hopeless = all_bad(options, seed, &servers, &objects).await?;
    hopeless.tell("every copy bad");
    let failed = hopeless.sum(|count| count.failed);
    if failed != options.hopeless || hopeless.sum(|count| count.met) != options.hopeless {
        return Err(format!("with every copy bad {failed} of {} failed:\n{}", options.hopeless, hopeless.told()).into());
    }
    let checked = settle::check_deep(&setup.command()).await?;
    say::progress(format!("check: {checked}"));
    servers.gateway.stop().await?;
    servers.behind.stop().await?;
    Ok(format!(
        "{right} downloads of {} MiB or ranges of it, 0 wrong, 0 failed: {met} met a bad silo, {} went on at the other; {failed} \
         clean failures where every copy was bad",
        options.mib,
        bad.sum(|count| count.elsewhere)
    ))
}
