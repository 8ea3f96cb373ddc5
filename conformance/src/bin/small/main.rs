//! Many small objects: how fast they come, what they cost in the index and on the disk, how a gateway starts over them
//! after kill -9, how long a lost index takes to come back, how few requests a bucket sees when they move there and back,
//! whether deletes give room back, and what that costs the requests beside it.
//!
//! It fails on one wrong byte, more than one request to the bucket for a hundred objects, more than twice the live bytes
//! on the disk when the dust has settled, or anything that `check` finds.

mod delete;
mod rclone;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Client, Endpoint, Listing, each};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, Setup, cold_on};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::mix;
use holdall_conformance::wire::{Body, Connection, collect};
use holdall_conformance::{Outcome, process, rig, say, settle};

const BUCKET: &str = "small";
const MIB: f64 = (1 << 20) as f64;
/// Requests to the bucket for so many objects: at most one.
const OBJECTS_A_REQUEST: u64 = 100;
/// Requests of a job that moves nothing: looks at the marker, listings, the last beats.
const REQUESTS_BESIDE: u64 = 100;
/// Nothing is swept but when the rig says so.
const LONG_GRACE: &str = "sweep_grace = \"1d\"\n";

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 20_000)]
    objects: u64,
    /// Sizes from 100 bytes to 16 KiB, as many of each power of two, in place of 4 KiB.
    #[arg(long)]
    mixed: bool,
    /// Neither moves nor deletes; the index is lost and restored instead.
    #[arg(long)]
    load_only: bool,
    /// Pairs of quiet and sweeping windows of which the ratio of latencies is told.
    #[arg(long, default_value_t = 0)]
    pairs: u64,
    /// Copy so many of the same files with rclone, beside the moves.
    #[arg(long, default_value_t = 0)]
    rclone: u64,
    /// Clients.
    #[arg(long, default_value_t = 64)]
    clients: u64,
    /// Where the data folders go.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Arc::new(Options::parse());
    rig::run("small", None, |seed| run(options, seed)).await
}

/// What the objects are.
#[derive(Clone)]
struct Objects {
    endpoint: Endpoint,
    mixed: bool,
}

impl Objects {
    fn size(&self, number: u64) -> u64 {
        if !self.mixed {
            return 4096;
        }
        let drawn = mix(number);
        let power = 100u64 << (drawn % 8);
        (power + (drawn >> 8) % power).min(16 << 10)
    }

    fn payload(&self, number: u64) -> Payload {
        Payload::new(BUCKET, number, self.size(number))
    }

    /// Keys are spread, so that neighbours in time are none in the index.
    fn key(number: u64) -> String {
        format!("{:02x}/{number:012}/an-object-of-usual-name", mix(number) % 256)
    }

    async fn put(&self, client: &mut Client, number: u64) -> Outcome<()> {
        let body = Body::made(self.payload(number));
        Ok(client.put(BUCKET, &Self::key(number), &[], body).await.map(drop)?)
    }

    async fn read(&self, client: &mut Client, number: u64) -> Outcome<()> {
        let answer = client.get(BUCKET, &Self::key(number), None).await?;
        let found = collect(answer.into_body()).await?;
        let right = self.payload(number).is(&found);
        right.map_err(|why| format!("{} reads other bytes: {why}", Self::key(number)).into())
    }

    fn bytes(&self, numbers: impl Iterator<Item = u64>) -> u64 {
        numbers.map(|number| self.size(number)).sum()
    }
}

async fn run(options: Arc<Options>, seed: u64) -> Outcome<String> {
    let temp = tempfile::Builder::new().prefix("holdall-small-").tempdir()?;
    let folder = options.folder.clone().unwrap_or(temp.path().to_owned());
    let behind = Setup::new(&folder.join("behind"))?.start().await?;
    Client::new(&behind.setup.endpoint()).create_bucket("cold").await?;
    let mut setup = Setup::new(&folder.join("data"))?;
    // A lost index comes back from the silo it names, and from no other.
    let silos = if options.load_only { "[silo.hot]\nurl = \"file:hot\"\n" } else { &cold_on(&behind.setup.listen) };
    setup.config = Some(format!("{LONG_GRACE}{silos}"));
    setup.env.push(("COLD_KEY".to_owned(), behind.setup.access_key_id.clone()));
    setup.env.push(("COLD_SECRET".to_owned(), behind.setup.secret_access_key.clone()));
    let mut gateway = setup.start().await?;
    let objects = Objects { endpoint: setup.endpoint(), mixed: options.mixed };
    Client::new(&objects.endpoint).create_bucket(BUCKET).await?;

    let mut said = vec![load(&options, &objects, &gateway).await?];
    gateway.kill().await?;
    let watch = Stopwatch::start();
    gateway = setup.start().await?;
    let (ready, resident) = (watch.elapsed().as_secs_f64(), process::resident(gateway.pid()) as f64 / MIB);
    said.push(format!("ready {ready:.2} s after kill -9 with {resident:.0} MiB"));
    if options.load_only {
        gateway = restored(&options, &objects, gateway, &mut said).await?;
    } else {
        if options.rclone > 0 {
            said.push(rclone::copy(&objects, options.rclone, &behind, &folder.join("rclone")).await?);
        }
        said.push(move_there_and_back(&options, &objects, &gateway, &behind).await?);
        said.push(delete::delete(&options, &objects, &gateway, seed).await?);
        settle::check_deep(&setup.command()).await?;
    }
    gateway.stop().await?;
    behind.stop().await?;
    Ok(said.join("; "))
}

/// Loads the objects, and says what they cost at each power of ten.
async fn load(options: &Options, objects: &Objects, gateway: &Gateway) -> Outcome<String> {
    let (mut done, mut said, data) = (0, Vec::new(), &gateway.setup.data);
    let marks = (0..).map(|power| 100_000 * 10u64.pow(power)).take_while(|mark| *mark < options.objects);
    for mark in marks.chain([options.objects]).collect::<Vec<u64>>() {
        let (watch, numbers) = (Stopwatch::start(), (done..mark).collect());
        let put = |objects: Objects, mut client: Client, number| async move {
            objects.put(&mut client, number).await.map(|()| client)
        };
        each(options.clients, &objects.endpoint, objects, numbers, put).await?;
        let rate = (mark - done) as f64 / watch.elapsed().as_secs_f64();
        done = mark;
        let (get, list) = costs(objects, gateway.pid(), done).await?;
        let index = allocated(&data.join("index.redb")) as f64 / done as f64;
        let live = objects.bytes(0..done) as f64;
        let disk = allocated(&data.join("hot")) as f64;
        let peak = process::peak_resident(gateway.pid()) as f64 / MIB;
        let line = format!(
            "{done} objects: {rate:.0} loaded/s, index {index:.0} bytes each, disk {:.2} of live bytes, GET {get:.0} µs, LIST \
             page {list:.2} ms CPU, peak {peak:.0} MiB",
            disk / live
        );
        say::progress(line.clone());
        said.push(line);
    }
    Ok(said.join("; "))
}

/// Stops the gateway, loses its index and restores it; answers the gateway over the new one.
async fn restored(options: &Options, objects: &Objects, gateway: Gateway, said: &mut Vec<String>) -> Outcome<Gateway> {
    let (setup, holdall) = (gateway.setup.clone(), gateway.setup.command());
    let watch = Stopwatch::start();
    holdall.json(&["index", "backup"]).await?;
    let backed_up = watch.elapsed().as_secs_f64();
    gateway.stop().await?;
    let backup = disk_of_backups(&setup.data.join("hot")) as f64 / MIB;
    std::fs::remove_file(setup.data.join("index.redb"))?;
    let (data, hot) = (setup.data.display().to_string(), format!("file://{}", setup.data.join("hot").display()));
    let watch = Stopwatch::start();
    let mut child = holdall
        .command(&["index", "restore", "--data", &data, "--from", &hot, "--json"])
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let (pid, mut peak) = (child.id().unwrap_or_default(), 0);
    let status = loop {
        if let Ok(status) = tokio::time::timeout(Duration::from_millis(50), child.wait()).await {
            break status?;
        }
        peak = process::peak_resident(pid).max(peak);
    };
    if !status.success() {
        return Err(format!("`index restore` ends with {status}").into());
    }
    let took = watch.elapsed().as_secs_f64();
    let gateway = setup.start().await?;
    let found = count(objects).await?;
    if found != options.objects {
        return Err(format!("{found} of {} objects are listed by a restored index", options.objects).into());
    }
    read_some(objects, options.objects).await?;
    let line = format!(
        "snapshot in {backed_up:.1} s, {backup:.0} MiB; index restored in {took:.1} s with {:.0} MiB, {found} objects listed",
        peak as f64 / MIB
    );
    say::progress(line.clone());
    said.push(line);
    Ok(gateway)
}

/// How many keys are listed.
async fn count(objects: &Objects) -> Outcome<u64> {
    let (mut client, mut found, mut token) = (Client::new(&objects.endpoint), 0, None::<String>);
    loop {
        let page = client.list(BUCKET, Listing { token: token.as_deref(), ..Listing::default() }).await?;
        found += page.contents.len() as u64;
        token = page.next_continuation_token;
        if token.is_none() {
            return Ok(found);
        }
    }
}

/// Reads 20,000 of the objects, spread over all.
async fn read_some(objects: &Objects, count: u64) -> Outcome<()> {
    read_each(objects, (0..count).step_by(1 + count as usize / 20_000).collect()).await
}

async fn read_each(objects: &Objects, numbers: Vec<u64>) -> Outcome<()> {
    each(8, &objects.endpoint, objects, numbers, |objects: Objects, mut client: Client, number| async move {
        objects.read(&mut client, number).await.map(|()| client)
    })
    .await
}

/// Processor time of a GET, µs, and of a page of 1,000 keys, ms.
async fn costs(objects: &Objects, pid: u32, count: u64) -> Outcome<(f64, f64)> {
    let mut client = Client::new(&objects.endpoint);
    let (gets, lists) = (5_000, 50);
    let before = process::cpu(pid);
    for turn in 0..gets {
        objects.read(&mut client, mix(turn) % count).await?;
    }
    let between = process::cpu(pid);
    for turn in 0..lists {
        let after = Objects::key(mix(turn) % count);
        client.list(BUCKET, Listing { start_after: Some(&after), ..Listing::default() }).await?;
    }
    let after = process::cpu(pid);
    let micros = |time: Duration, by: u64| time.as_secs_f64() * 1e6 / by as f64;
    let (get, list) = (between.saturating_sub(before), after.saturating_sub(between));
    Ok((micros(get, gets), micros(list, lists) / 1e3))
}

/// Places everything in the bucket and back; answers rates and the bucket's requests.
async fn move_there_and_back(
    options: &Options,
    objects: &Objects,
    gateway: &Gateway,
    behind: &Gateway,
) -> Outcome<String> {
    let (mut said, holdall) = (Vec::new(), gateway.setup.command());
    for on in ["cold", "hot"] {
        let (before, watch) = (requests(behind).await?, Stopwatch::start());
        let ended = holdall.json(&["place", &format!("s3://{BUCKET}/"), "--on", on]).await?;
        let time = watch.elapsed().as_secs_f64();
        settle::sweep(&holdall).await?;
        let asked = requests(behind).await? - before;
        let moved = ended.get("moved_objects").and_then(serde_json::Value::as_u64).unwrap_or_default();
        if moved != options.objects {
            return Err(format!("{moved} of {} objects were placed on {on}: {ended}", options.objects).into());
        }
        if asked > options.objects / OBJECTS_A_REQUEST + REQUESTS_BESIDE {
            return Err(format!("{asked} requests to the bucket for {moved} objects placed on {on}").into());
        }
        let line = format!("to {on}: {:.0} objects/s, {asked} requests to the bucket", moved as f64 / time);
        say::progress(line.clone());
        said.push(line);
    }
    read_some(objects, options.objects).await?;
    Ok(said.join(", "))
}

/// Requests an S3 server answered so far.
async fn requests(server: &Gateway) -> Outcome<u64> {
    let mut request = http::Request::new(Body::Empty);
    *request.uri_mut() = "/metrics".parse()?;
    request.headers_mut().insert(http::header::HOST, server.setup.admin.parse()?);
    let answer = Connection::new(&server.setup.admin).send(request).await?;
    let text = String::from_utf8(collect(answer.into_body()).await?.to_vec())?;
    let counts = text.lines().filter(|line| line.starts_with("holdall_s3_requests_total{"));
    Ok(counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
}

/// Bytes of all files below a path, backups of the index left out.
fn stored(path: &Path) -> u64 {
    walk(path, &|file| file.len())
}

/// Bytes the file system has allocated for a file, or for all below a folder, backups of the index left out.
fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    walk(path, &|file| file.blocks() * 512)
}

/// Bytes of the backups below a silo's folder.
fn disk_of_backups(silo: &Path) -> u64 {
    stored(&silo.join("blobs").join(settle::BACKUPS))
}

fn walk(path: &Path, of: &dyn Fn(&std::fs::Metadata) -> u64) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let entries = entries.filter(|entry| entry.file_name() != settle::BACKUPS);
            entries.map(|entry| walk(&entry.path(), of)).sum()
        }
        Ok(found) => of(&found),
        Err(_) => 0,
    }
}
