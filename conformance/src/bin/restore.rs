//! The index is lost, and made again from its silos and the sealing key: after drains under load and kill -9, with one of
//! two silos gone, with damaged backups, as of a moment, and right after the last write.
//!
//! It fails on one object that is not as it was (bytes, headers, tags, Last-Modified, `ETag`), on damage that is not found,
//! and on an acknowledged write that is neither restored nor told.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Call, Client, Endpoint};
use holdall_conformance::clock::{Stopwatch, moment, wall};
use holdall_conformance::gateway::Setup;
use holdall_conformance::load::{self, Load};
use holdall_conformance::random::Random;
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::workload::{Actor, PART, Sizes, World};
use holdall_conformance::{Outcome, rig, say, settle};
use http::Method;
use serde_json::Value;

const BUCKET: &str = "kept";
const TAGGED: usize = 20;
/// The log is in silos within this.
const BEHIND: Duration = Duration::from_secs(6);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 200)]
    objects: usize,
    /// The largest, bytes.
    #[arg(long, default_value_t = 8 << 20)]
    max_size: u64,
    /// Clients.
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// Seconds under load, with drains there and back.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Bytes of the backup that are damaged, one at a time.
    #[arg(long, default_value_t = 60)]
    flips: usize,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("restore", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// What a client sees of each object.
type Shown = BTreeMap<String, Object>;

#[derive(Debug, PartialEq, Eq)]
struct Object {
    /// Without those that are of the answer, not of the object.
    headers: BTreeMap<String, String>,
    bytes: u64,
    tags: String,
}

/// Where everything lies.
struct House {
    folder: PathBuf,
    setup: Setup,
}

impl House {
    fn new(folder: &Path) -> Outcome<Self> {
        let mut setup = Setup::new(&folder.join("data"))?;
        std::fs::create_dir_all(folder.join("keys"))?;
        let (hot, cold) = (folder.join("hot"), folder.join("cold"));
        setup.config = Some(format!(
            "sweep_grace = \"1h\"\n[silo.hot]\nurl = \"file://{}\"\n[silo.cold]\nurl = \"file://{}\"\n[write]\nto = [\"hot\", \
             \"cold\"]\n",
            hot.display(),
            cold.display()
        ));
        let key = folder.join("keys/seal.key");
        setup.env.push(("HOLDALL_SEAL_KEY".to_owned(), key.display().to_string()));
        Ok(Self { folder: folder.to_owned(), setup })
    }

    fn silo(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder with the index goes; silos and key stay.
    fn lose_index(&self) -> Outcome<()> {
        Ok(std::fs::remove_dir_all(&self.setup.data)?)
    }

    async fn restore(&self, from: &[&str], more: &[&str]) -> Outcome<Restored> {
        let from: Vec<String> = from
            .iter()
            .flat_map(|silo| ["--from".to_owned(), format!("file://{}", self.silo(silo).display())])
            .collect();
        let (data, key) = (self.setup.data.display().to_string(), self.folder.join("keys/seal.key"));
        let key = key.display().to_string();
        let mut args = vec!["index", "restore", "--json", "--data", &data, "--seal-key", &key];
        args.extend(from.iter().map(String::as_str));
        args.extend(more);
        let said = self.setup.command().run(&args).await?;
        let lines = serde_json::Deserializer::from_str(&said.out).into_iter().collect::<Result<Vec<Value>, _>>()?;
        Ok(Restored { code: said.code, lines, err: said.err })
    }

    /// Loses the index, restores it, serves it, and compares what it shows.
    async fn again(&self, from: &[&str], more: &[&str], expected: &Shown, what: &str) -> Outcome<Restored> {
        // Gone already where something else was tried since.
        let _ = self.lose_index();
        let watch = Stopwatch::start();
        let restored = self.restore(from, more).await?.done(what)?;
        let took = watch.elapsed();
        let gateway = self.setup.start().await?;
        let shown = shown(&self.setup.endpoint()).await?;
        compare(expected, &shown, what)?;
        gateway.stop().await?;
        say::progress(format!("{what}: {} objects are as they were, restored in {took:.1?}", shown.len()));
        Ok(restored)
    }

    /// Files of the newest snapshot of a silo and of the log after it.
    fn pieces(&self, silo: &str) -> Vec<PathBuf> {
        let mut all = files(&self.silo(silo).join("blobs").join(settle::BACKUPS));
        all.sort();
        let number = |path: &PathBuf| {
            let name =
                path.file_name().and_then(|name| name.to_str()?.split_once('.')).map_or("0", |(number, _)| number);
            u64::from_str_radix(name, 16).unwrap_or_default()
        };
        let newest = all.iter().map(number).max().unwrap_or_default();
        let sequence = newest & !(1 << 63);
        all.into_iter()
            .filter(|path| number(path) == newest || (sequence + 1..1 << 63).contains(&number(path)))
            .collect()
    }
}

/// What the command answered.
struct Restored {
    code: i32,
    lines: Vec<Value>,
    err: String,
}

impl Restored {
    fn done(self, what: &str) -> Outcome<Self> {
        if self.code == 0 {
            Ok(self)
        } else {
            Err(format!("{what}: `index restore` exits with {}: {}", self.code, self.err).into())
        }
    }

    fn field(&self, name: &str) -> Value {
        self.lines.iter().find_map(|line| line.get("restored")?.get(name).cloned()).unwrap_or_default()
    }

    /// Rows and entries: what one restore has, each has.
    fn sum(&self) -> (Value, Value, Value) {
        (self.field("rows"), self.field("entries"), self.field("until"))
    }

    fn flaws(&self) -> usize {
        self.field("flaws").as_array().map_or(0, Vec::len)
    }

    /// Objects that were found and are not known.
    fn unknown(&self) -> Vec<String> {
        let object = |line: &Value| line.get("found")?.get("unknown")?.get("object")?.as_str().map(str::to_owned);
        self.lines.iter().filter_map(object).collect()
    }
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let house = House::new(&folder)?;
    let gateway = house.setup.start().await?;
    let endpoint = house.setup.endpoint();
    Client::new(&endpoint).create_bucket(BUCKET).await?;
    let world = Arc::new(World::new(BUCKET, options.objects, Sizes { max: options.max_size }));
    fill(&world, &endpoint, seed).await?;
    let load = Load::start(&world, std::slice::from_ref(&endpoint), house.setup.command(), options.clients, seed);
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    load.stop().await?;
    load::cancel_jobs(&house.setup.command()).await?;
    house.setup.command().json(&["drain", "hot", "--to", "cold", "--wait", "done"]).await?;
    settle::sweep(&house.setup.command()).await?;
    load::verdict(&world, "under load")?;
    // What comes now stays in cold, so that hot can go; both have the backup.
    let policy = house.folder.join("cold.toml");
    std::fs::write(&policy, "[write]\nto = [\"cold\"]\n")?;
    house.setup.command().json(&["apply", "-f", &policy.display().to_string()]).await?;
    house.setup.command().json(&["silo", "uncordon", "hot"]).await?;
    house.setup.command().json(&["index", "backup"]).await?;
    let then = shown(&endpoint).await?;
    let at = now_between().await;
    churn(&world, &endpoint, options, seed).await?;
    load::verdict(&world, "after the moment")?;
    let last = shown(&endpoint).await?;
    tokio::time::sleep(BEHIND).await;
    gateway.kill().await?;

    house.again(&["hot", "cold"], &[], &last, "from both silos").await?;
    let (found, harmless) = flip(&house, options.flips, seed).await?;
    std::fs::rename(house.silo("hot"), house.silo("away"))?;
    house.again(&["cold"], &[], &last, "with one silo gone").await?;
    std::fs::rename(house.silo("away"), house.silo("hot"))?;
    house.again(&["hot", "cold"], &["--at", &at], &then, "as of a moment").await?;
    let (behind, lost) = right_after(&house).await?;
    let acts: u64 = world.counts().values().sum();
    Ok(format!(
        "{acts} requests, then {} objects from both silos, from one, and {} as of a moment, 0 different; of {} flipped bytes {found} \
         found, {harmless} outside what is read, 0 wrong; kill -9 under writes: {lost} of the last {:.1} s told, none lost",
        last.len(),
        then.len(),
        options.flips,
        behind.as_secs_f64()
    ))
}

async fn fill(world: &Arc<World>, endpoint: &Endpoint, seed: u64) -> Outcome<()> {
    let (mut actor, mut random) = (Actor::new(world, endpoint, Random::new(seed, 10)), Random::new(seed, 1));
    for (number, key) in world.keys.iter().enumerate() {
        let size = world.sizes.draw(&mut random);
        if number < 4 { actor.multipart(key, PART * 2 + size, PART).await } else { actor.put(key, size).await }
    }
    let mut client = Client::new(endpoint);
    for number in 0..TAGGED {
        let tags = format!("number={number}&kind=tagged");
        let headers = [
            ("x-amz-tagging", tags.as_str()),
            ("content-type", "text/x-tagged"),
            ("cache-control", "max-age=7"),
            ("x-amz-meta-origin", "a rig"),
            ("x-amz-checksum-algorithm", "SHA256"),
        ];
        client.put(BUCKET, &format!("tagged/{number:03}"), &headers, Body::Whole(tags.clone().into())).await?;
        let to = format!("copies/{number:03}");
        client.copy(BUCKET, &format!("tagged/{number:03}"), &to, &[]).await?;
    }
    load::verdict(world, "filling")
}

/// Writes, copies and deletes, without drains or sweeps: what is replaced keeps its bytes for the grace period.
async fn churn(world: &Arc<World>, endpoint: &Endpoint, options: &Options, seed: u64) -> Outcome<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let actors: Vec<_> = (0..options.clients)
        .map(|number| {
            let (mut actor, stop) = (Actor::new(world, endpoint, Random::new(seed, 500 + number)), Arc::clone(&stop));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let key = actor.any_key();
                    actor.act(&key).await;
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(options.seconds / 2)).await;
    stop.store(true, Ordering::Relaxed);
    for actor in actors {
        actor.await?;
    }
    Ok(())
}

/// A moment after all that was answered and before all that will be asked, as `--at` takes it.
async fn now_between() -> String {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = moment(wall());
    tokio::time::sleep(Duration::from_millis(20)).await;
    now
}

/// Everything a client can see.
async fn shown(endpoint: &Endpoint) -> Outcome<Shown> {
    let (mut client, mut shown) = (Client::new(endpoint), BTreeMap::new());
    for listed in client.list_all(BUCKET, "").await? {
        let object = look(&mut client, &listed.key).await?;
        shown.insert(listed.key, object);
    }
    Ok(shown)
}

async fn look(client: &mut Client, key: &str) -> Outcome<Object> {
    let path = format!("/{BUCKET}/{key}");
    let headers = [("x-amz-checksum-mode", "ENABLED")];
    let call = Call { method: Method::GET, path: path.clone(), query: &[], headers: &headers, body: Body::Empty };
    let (head, body) = client.ask(call).await?.into_parts();
    let bytes = collect(body).await?;
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let of_answer = ["date", "x-amz-request-id", "x-amz-id-2", "connection", "server"];
    let headers = head.headers.iter().filter(|(name, _)| !of_answer.contains(&name.as_str()));
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("not text").to_owned()));
    let call = Call { method: Method::GET, path, query: &[("tagging", "")], headers: &[], body: Body::Empty };
    let tags = String::from_utf8_lossy(&client.fetch(call).await?.1).into_owned();
    Ok(Object { headers: headers.collect(), bytes: hasher.finish(), tags })
}

fn compare(expected: &Shown, shown: &Shown, what: &str) -> Outcome<()> {
    let keys: std::collections::BTreeSet<&String> = expected.keys().chain(shown.keys()).collect();
    let other: Vec<&String> = keys.into_iter().filter(|key| expected.get(*key) != shown.get(*key)).collect();
    let Some(first) = other.first() else { return Ok(()) };
    let (was, is) = (expected.get(*first), shown.get(*first));
    Err(format!("{what}: {} objects differ; {first} was {was:?} and is {is:?}", other.len()).into())
}

/// Damages one byte at a time, in one silo and, seen from it alone, in all; answers how many flips were found, and how many
/// were in bytes that nobody reads.
async fn flip(house: &House, flips: usize, seed: u64) -> Outcome<(usize, usize)> {
    house.lose_index()?;
    let whole = house.restore(&["hot", "cold"], &["--dry-run"]).await?.done("whole")?;
    if whole.flaws() > 0 {
        return Err(format!("flaws where nothing is damaged: {}", whole.field("flaws")).into());
    }
    let (pieces, mut random) = (house.pieces("hot"), Random::new(seed, 7));
    let (mut found, mut harmless) = (0, 0);
    for _ in 0..flips {
        let piece = random.pick(&pieces).ok_or("no backup lies in hot")?;
        let bytes = std::fs::read(piece)?;
        let (at, bit) = (random.below(bytes.len() as u64) as usize, random.below(8));
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        std::fs::write(piece, flipped)?;
        let both = house.restore(&["hot", "cold"], &["--dry-run"]).await?.done("with a flipped bit")?;
        let alone = house.restore(&["hot"], &["--dry-run"]).await?;
        std::fs::write(piece, &bytes)?;
        let place = format!("bit {bit} of byte {at} of {} of {}", bytes.len(), piece.display());
        if both.sum() != whole.sum() {
            return Err(format!("{place}: {:?} in place of {:?}", both.sum(), whole.sum()).into());
        }
        match (both.flaws() > 0, alone.code) {
            (true, 1) => found += 1,
            (false, 0) if alone.sum() == whole.sum() => harmless += 1,
            (told, code) => return Err(format!("{place}: told {told}, alone {code} {}", alone.err).into()),
        }
    }
    Ok((found, harmless))
}

/// Kills a gateway under writes: what is not restored is told. Answers how far back the oldest of those was written, and
/// how many there are.
async fn right_after(house: &House) -> Outcome<(Duration, usize)> {
    let gateway = house.setup.start().await?;
    let (mut client, watch, mut written) = (Client::new(&house.setup.endpoint()), Stopwatch::start(), Vec::new());
    while !watch.over(BEHIND) {
        let key = format!("late/{:06}", written.len());
        client.put(BUCKET, &key, &[], Body::Whole(key.clone().into())).await?;
        written.push((key, watch.elapsed()));
    }
    let end = watch.elapsed();
    gateway.kill().await?;
    house.lose_index()?;
    let restored = house.restore(&["hot", "cold"], &[]).await?.done("right after")?;
    let unknown: std::collections::BTreeSet<String> = restored.unknown().into_iter().collect();
    let gateway = house.setup.start().await?;
    let (mut client, mut behind, mut lost) = (Client::new(&house.setup.endpoint()), Duration::ZERO, 0);
    for (key, at) in &written {
        match client.get(BUCKET, key, None).await {
            Ok(answer) => {
                let bytes = collect(answer.into_body()).await?;
                if bytes != key.as_bytes() {
                    return Err(format!("{key} reads other bytes").into());
                }
            }
            Err(_) if unknown.contains(&format!("s3://{BUCKET}/{key}")) => {
                lost += 1;
                behind = behind.max(end.saturating_sub(*at));
            }
            Err(error) => return Err(format!("{key} is neither restored nor told: {error}").into()),
        }
    }
    gateway.stop().await?;
    if behind > BEHIND {
        return Err(format!("the backup was {behind:?} behind").into());
    }
    say::progress(format!("{} written, {lost} of them within the last {behind:.1?} told, not restored", written.len()));
    Ok((behind, lost))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let each = |entry: std::fs::DirEntry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] };
    entries.flat_map(each).collect()
}
