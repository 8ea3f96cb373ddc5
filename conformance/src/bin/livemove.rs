//! Objects move between two silos while clients with retries off read, overwrite, delete and list them.
//!
//! It fails on one failed request, one wrong byte, one changed `ETag` or Last-Modified of an object that nobody wrote,
//! anything left in the drained silo, any orphan after the sweep, and when too few acts met a move under way.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use holdall_conformance::client::{Client, Endpoint, Listing};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::flight::{self, Flight, Hits};
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup, cold_on};
use holdall_conformance::random::Random;
use holdall_conformance::workload::{Actor, PART, Sizes, World};
use holdall_conformance::{Outcome, rig, say, settle};
use tokio::task::JoinHandle;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 500)]
    objects: usize,
    /// How many of them are written in parts.
    #[arg(long, default_value_t = 12)]
    multipart: usize,
    /// The largest, bytes.
    #[arg(long, default_value_t = 8 << 20)]
    max_size: u64,
    /// Clients beside the slow reader.
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// Drains, there and back in turn.
    #[arg(long, default_value_t = 2)]
    legs: usize,
    /// More drains, as long as too few acts met a move.
    #[arg(long, default_value_t = 6)]
    more_legs: usize,
    /// Moves at once.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Bytes a second that moves may take; unlimited without it.
    #[arg(long)]
    rate: Option<String>,
    /// Reads that must meet a move.
    #[arg(long, default_value_t = 200)]
    reads: u64,
    /// Overwrites that must.
    #[arg(long, default_value_t = 20)]
    overwrites: u64,
    /// Deletes that must.
    #[arg(long, default_value_t = 20)]
    deletes: u64,
    /// What `cold` is.
    #[arg(long, value_enum, default_value_t = Cold::Disk)]
    cold: Cold,
    /// A second gateway over the same index serves every other client.
    #[arg(long)]
    beside: bool,
    /// 10,000 objects to 64 MiB, 200 in parts, twice back and forth, 1,000 reads and 100 writes and deletes that met.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cold {
    Disk,
    S3,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.full {
        (options.objects, options.multipart, options.max_size) = (10_000, 200, 64 << 20);
        (options.legs, options.reads, options.overwrites, options.deletes) = (4, 1000, 100, 100);
    }
    rig::run_in("livemove", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// The gateway under test, the one beside it, and the one that is its S3 silo.
struct Servers {
    gateway: Gateway,
    beside: Option<Gateway>,
    behind: Option<Gateway>,
}

impl Servers {
    fn endpoints(&self) -> Vec<Endpoint> {
        [Some(&self.gateway), self.beside.as_ref()].into_iter().flatten().map(|one| one.setup.endpoint()).collect()
    }

    async fn stop(self) -> Outcome<()> {
        for gateway in [Some(self.gateway), self.beside, self.behind].into_iter().flatten() {
            gateway.stop().await?;
        }
        Ok(())
    }
}

async fn start(options: &Options, folder: &Path) -> Outcome<Servers> {
    let mut setup = Setup::new(&folder.join("data"))?;
    let mut config = String::from(NO_GRACE);
    let mut behind = None;
    if options.cold == Cold::S3 {
        let mut other = Setup::new(&folder.join("behind"))?;
        // What is deleted there makes room at once, or a long run fills the disk.
        other.config = Some(NO_GRACE.to_owned());
        let gateway = other.start().await?;
        Client::new(&other.endpoint()).create_bucket("cold").await?;
        config.push_str(&cold_on(&other.listen));
        setup.env.push(("COLD_KEY".to_owned(), other.access_key_id.clone()));
        setup.env.push(("COLD_SECRET".to_owned(), other.secret_access_key.clone()));
        behind = Some(gateway);
    }
    setup.config = Some(config);
    if !options.beside {
        return Ok(Servers { gateway: setup.start().await?, beside: None, behind });
    }
    setup.share_index();
    let gateway = setup.start().await?;
    let beside = setup.beside(&folder.join("beside"))?.start().await?;
    Ok(Servers { gateway, beside: Some(beside), behind })
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let servers = start(options, &folder).await?;
    let setup = servers.gateway.setup.clone();
    let endpoint = setup.endpoint();
    Client::new(&endpoint).create_bucket("live").await?;
    let mut world = World::new("live", options.objects, Sizes { max: options.max_size });
    world.keep_still = true;
    let world = Arc::new(world);

    let watch = Stopwatch::start();
    let bytes = fill(&world, &endpoint, options, seed).await?;
    say::progress(format!("{} objects, {} MiB written in {:.1?}", options.objects, bytes >> 20, watch.elapsed()));
    let before = listing(&world, &endpoint).await?;

    let mut hits = Hits::default();
    let mut legs = 0;
    while legs < options.legs || (legs % 2 == 1) || (legs < options.legs + options.more_legs && few(options, &hits)) {
        let (from, to) = if legs % 2 == 0 { ("hot", "cold") } else { ("cold", "hot") };
        let met = leg(&world, &servers, options, seed + 1000 * legs as u64, (from, to)).await?;
        hits.reads += met.reads;
        hits.overwrites += met.overwrites;
        hits.deletes += met.deletes;
        legs += 1;
        verdict(&world)?;
    }

    let (replicas, orphans) = settle::sweep(&setup.command()).await?;
    compare(&world, &before, &listing(&world, &endpoint).await?);
    for endpoint in &servers.endpoints() {
        settle::read_all(&world, endpoint, world.keys.clone()).await?;
    }
    verdict(&world)?;
    let checked = settle::check_deep(&setup.command()).await?;
    say::progress(format!("swept {replicas} replicas and {orphans} orphans at the end; check: {checked}"));
    if few(options, &hits) {
        return Err(format!("too few acts met a move: {hits:?}").into());
    }
    servers.stop().await?;
    let acts: u64 = world.counts().values().sum();
    Ok(format!(
        "{acts} requests, 0 failed, 0 wrong, 0 changed; {legs} drains; met a move: {} reads, {} overwrites, {} deletes",
        hits.reads, hits.overwrites, hits.deletes
    ))
}

fn few(options: &Options, hits: &Hits) -> bool {
    hits.reads < options.reads || hits.overwrites < options.overwrites || hits.deletes < options.deletes
}

fn verdict(world: &World) -> Outcome<()> {
    let (failed, wrong) = (world.failed.load(Ordering::Relaxed), world.wrong.load(Ordering::Relaxed));
    if failed == 0 && wrong == 0 {
        return Ok(());
    }
    let counts = world.counts();
    Err(format!("{failed} failed requests, {wrong} wrong answers of {counts:?}:\n{}", world.problems().join("\n"))
        .into())
}

/// Writes every key once.
async fn fill(world: &Arc<World>, endpoint: &Endpoint, options: &Options, seed: u64) -> Outcome<u64> {
    let mut order = Random::new(seed, 1);
    let sizes: Vec<u64> = world.keys.iter().map(|_| world.sizes.draw(&mut order)).collect();
    let writers: Vec<JoinHandle<u64>> = (0..8)
        .map(|writer| {
            let mut actor = Actor::new(world, endpoint, Random::new(seed, 10 + writer));
            let (world, sizes, multipart) = (Arc::clone(world), sizes.clone(), options.multipart);
            tokio::spawn(async move {
                let mut bytes = 0;
                for (index, key) in world.keys.iter().enumerate().skip(writer as usize).step_by(8) {
                    if index < multipart {
                        let len = PART * 2 + sizes[index];
                        actor.multipart(key, len, PART).await;
                        bytes += len;
                    } else {
                        actor.put(key, sizes[index]).await;
                        bytes += sizes[index];
                    }
                }
                bytes
            })
        })
        .collect();
    let mut bytes = 0;
    for writer in writers {
        bytes += writer.await?;
    }
    verdict(world)?;
    Ok(bytes)
}

/// One drain under load.
async fn leg(
    world: &Arc<World>,
    servers: &Servers,
    options: &Options,
    seed: u64,
    (from, to): (&str, &str),
) -> Outcome<Hits> {
    let setup = &servers.gateway.setup;
    let flight = Arc::new(Flight::default());
    let stop = Arc::new(AtomicBool::new(false));
    world.keep_acts(true);
    let clients = clients(world, &servers.endpoints(), options, seed, &flight, &stop);

    let watch = Stopwatch::start();
    let concurrency = options.concurrency.to_string();
    let mut args = vec!["drain", from, "--to", to, "--concurrency", &concurrency, "--detach"];
    if let Some(rate) = &options.rate {
        args.extend(["--rate", rate]);
    }
    let job = setup.command().json(&args).await?;
    let id = job.get("id").and_then(serde_json::Value::as_u64).ok_or_else(|| format!("a job without id: {job}"))?;
    let ended = flight.watch(&mut Client::new(&flight::admin(setup)), &world.oracle, id).await?;
    say::progress(format!(
        "drain {from} to {to}: {} moved, {} MiB, {} superseded, {} tried again, {:.1?}{}",
        ended.moved_objects,
        ended.moved_bytes >> 20,
        ended.superseded,
        ended.failed,
        watch.elapsed(),
        ended.error.as_ref().map(|error| format!("; last failure: {error}")).unwrap_or_default(),
    ));
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    let hits = flight.count(&world.keep_acts(false));
    say::progress(format!("{hits:?}; acts so far {:?}", world.counts()));
    verdict(world)?;
    emptied(servers, id, from).await?;
    Ok(hits)
}

/// Nothing of ours is left in the drained silo: by its own count and on its disk.
async fn emptied(servers: &Servers, job: u64, silo: &str) -> Outcome<()> {
    let setup = &servers.gateway.setup;
    let holdall = setup.command();
    settle::sweep(&holdall).await?;
    let watched = holdall.run(&["job", "watch", &job.to_string(), "--wait", "empty"]).await?;
    if watched.code != 0 {
        return Err(
            format!("`job watch --wait empty` exits with {}: {}{}", watched.code, watched.out, watched.err).into()
        );
    }
    let folder = setup.data.join(silo);
    let left = settle::files(&folder);
    if left > 0 {
        return Err(format!("{left} files are left in {}", folder.display()).into());
    }
    if silo == "cold" && servers.behind.is_some() {
        return emptied_bucket(servers).await;
    }
    Ok(())
}

async fn emptied_bucket(servers: &Servers) -> Outcome<()> {
    let Some(behind) = &servers.behind else { return Ok(()) };
    let page = Client::new(&behind.setup.endpoint()).list("cold", Listing::default()).await?;
    let ours = |key: &str| !key.contains("holdall") && !key.starts_with(&format!("blobs/{}/", settle::BACKUPS));
    let left: Vec<_> = page.contents.iter().filter(|listed| ours(&listed.key)).collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left in the S3 silo: {} objects, {:?}", left.len(), left.first()).into())
    }
}

fn clients(
    world: &Arc<World>,
    endpoints: &[Endpoint],
    options: &Options,
    seed: u64,
    flight: &Arc<Flight>,
    stop: &Arc<AtomicBool>,
) -> Vec<JoinHandle<()>> {
    let mut clients: Vec<JoinHandle<()>> = (0..options.clients)
        .map(|number| {
            // Of each gateway some draw their keys from those that are moving.
            let endpoint = &endpoints[number as usize / 2 % endpoints.len()];
            let mut actor = Actor::new(world, endpoint, Random::new(seed, 100 + number));
            let (flight, stop) = (Arc::clone(flight), Arc::clone(stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let moving = if number % 2 == 0 { flight.keys() } else { Vec::new() };
                    let key = actor.random.pick(&moving).cloned();
                    let key = key.unwrap_or_else(|| actor.any_key());
                    actor.act(&key).await;
                }
            })
        })
        .collect();
    let last = endpoints[endpoints.len() - 1].clone();
    clients.push(tokio::spawn(slow_reader(Arc::clone(world), last, Arc::clone(stop))));
    clients
}

/// Reads the largest objects at 1 MB/s, through whatever happens to them.
async fn slow_reader(world: Arc<World>, endpoint: Endpoint, stop: Arc<AtomicBool>) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let key = &world.keys[number % world.keys.len().min(12)];
        number += 1;
        if let Err(failure) = read_slowly(&world, &endpoint, key).await {
            world.wrong(format!("slow reader of {key}: {failure}"));
        }
    }
}

async fn read_slowly(world: &World, endpoint: &Endpoint, key: &str) -> Outcome<()> {
    let mut client = Client::new(endpoint);
    let from = world.oracle.now();
    let answer = match client.get(&world.bucket, key, None).await {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(http::StatusCode::NOT_FOUND) => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            return Ok(world.oracle.judge(key, from, world.oracle.now(), None)?);
        }
        Err(error) => return Err(error.into()),
    };
    let (head, mut body) = answer.into_parts();
    let generation = head.headers.get("x-amz-meta-generation").and_then(|value| value.to_str().ok()?.parse().ok());
    let value = generation.and_then(|generation| world.oracle.find(key, generation)).ok_or("unknown generation")?;
    // Judged as of its beginning: the bytes may be overwritten while they still flow.
    world.oracle.judge(key, from, world.oracle.now(), generation)?;
    let mut at = 0;
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        let data = frame?.into_data().unwrap_or_default();
        value.payload.check(at, &data).map_err(|differs| format!("differs at byte {}", differs.at))?;
        at += data.len() as u64;
        tokio::time::sleep(Duration::from_micros(data.len() as u64)).await;
    }
    if at == value.payload.len { Ok(()) } else { Err(format!("{at} bytes of {}", value.payload.len).into()) }
}

type Shown = BTreeMap<String, (String, String, usize)>;

/// Key to `ETag`, Last-Modified as listed, and how often it was written until now.
async fn listing(world: &World, endpoint: &Endpoint) -> Outcome<Shown> {
    let mut client = Client::new(endpoint);
    let mut shown = BTreeMap::new();
    let mut token: Option<String> = None;
    loop {
        let page = client.list(&world.bucket, Listing { token: token.as_deref(), ..Listing::default() }).await?;
        for listed in page.contents {
            let writes = world.oracle.writes(&listed.key);
            shown.insert(listed.key, (listed.etag, listed.last_modified, writes));
        }
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(shown);
        }
    }
}

/// What nobody wrote to is listed as before.
fn compare(world: &World, before: &Shown, after: &Shown) {
    let mut untouched = 0;
    for (key, was) in before.iter().filter(|(key, was)| world.oracle.writes(key) == was.2) {
        untouched += 1;
        if after.get(key).is_none_or(|is| is.0 != was.0 || is.1 != was.1) {
            world.wrong(format!("{key} was {was:?} and is {:?}, though nobody wrote it", after.get(key)));
        }
    }
    say::progress(format!("{untouched} objects that nobody wrote to are as they were"));
}
