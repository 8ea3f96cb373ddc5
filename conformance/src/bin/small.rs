//! Many small objects: how fast they come, what they cost in the index and on the disk, how a gateway starts over them
//! after kill -9, how few requests a bucket sees when they move there and back, and whether deletes give room back.
//!
//! It fails on one wrong byte, more than one request to the bucket for a hundred objects, more than twice the live bytes
//! on the disk when the dust has settled, or anything that `check` finds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Client, Endpoint, Listing};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup, cold_on};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::{Random, mix};
use holdall_conformance::wire::{Body, Connection, collect};
use holdall_conformance::{Outcome, process, rig, say, settle};

const BUCKET: &str = "small";
const MIB: f64 = (1 << 20) as f64;
/// Requests to the bucket for so many objects: at most one.
const OBJECTS_A_REQUEST: u64 = 100;
/// Requests of a job that moves nothing: looks at the marker, listings, the last beats.
const REQUESTS_BESIDE: u64 = 100;
/// How long deletes may take to give their room back.
const SETTLED: Duration = Duration::from_mins(10);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 20_000)]
    objects: u64,
    /// Sizes from 100 bytes to 16 KiB, as many of each power of two, in place of 4 KiB.
    #[arg(long)]
    mixed: bool,
    /// Neither moves nor deletes.
    #[arg(long)]
    load_only: bool,
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
        let payload = self.payload(number);
        if found.len() as u64 != payload.len || payload.check(0, &found).is_err() {
            return Err(format!("{} reads other bytes", Self::key(number)).into());
        }
        Ok(())
    }

    fn bytes(&self, numbers: impl Iterator<Item = u64>) -> u64 {
        numbers.map(|number| self.size(number)).sum()
    }
}

/// Lets clients act on numbers side by side.
async fn each<F, Done>(clients: u64, objects: &Objects, numbers: Arc<Vec<u64>>, act: F) -> Outcome<()>
where
    F: Fn(Objects, Client, u64) -> Done + Clone + Send + 'static,
    Done: Future<Output = Outcome<Client>> + Send,
{
    let mut all = Vec::new();
    for first in 0..clients as usize {
        let (objects, numbers, act) = (objects.clone(), Arc::clone(&numbers), act.clone());
        all.push(tokio::spawn(async move {
            let mut client = Client::new(&objects.endpoint);
            for number in numbers.iter().skip(first).step_by(clients as usize) {
                client = act(objects.clone(), client, *number).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        }));
    }
    for one in all {
        one.await??;
    }
    Ok(())
}

async fn run(options: Arc<Options>, seed: u64) -> Outcome<String> {
    let temp = tempfile::Builder::new().prefix("holdall-small-").tempdir()?;
    let folder = options.folder.clone().unwrap_or(temp.path().to_owned());
    let behind = Setup::new(&folder.join("behind"))?.start().await?;
    Client::new(&behind.setup.endpoint()).create_bucket("cold").await?;
    let mut setup = Setup::new(&folder.join("data"))?;
    setup.config = Some(format!("{NO_GRACE}{}", cold_on(&behind.setup.listen)));
    setup.env.push(("COLD_KEY".to_owned(), behind.setup.access_key_id.clone()));
    setup.env.push(("COLD_SECRET".to_owned(), behind.setup.secret_access_key.clone()));
    let mut gateway = setup.start().await?;
    let objects = Objects { endpoint: setup.endpoint(), mixed: options.mixed };
    Client::new(&objects.endpoint).create_bucket(BUCKET).await?;

    let mut said = vec![load(&options, &objects, &gateway).await?];
    gateway.kill().await?;
    let watch = Stopwatch::start();
    gateway = setup.start().await?;
    said.push(format!("ready {:.2} s after kill -9", watch.elapsed().as_secs_f64()));
    if !options.load_only {
        said.push(move_there_and_back(&options, &objects, &gateway, &behind).await?);
        said.push(delete(&options, &objects, &gateway, seed).await?);
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
        let (watch, numbers) = (Stopwatch::start(), Arc::new((done..mark).collect::<Vec<u64>>()));
        let put = |objects: Objects, mut client: Client, number| async move {
            objects.put(&mut client, number).await.map(|()| client)
        };
        each(options.clients, objects, numbers, put).await?;
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
        let (time, asked) = (watch.elapsed().as_secs_f64(), requests(behind).await? - before);
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
    let numbers: Arc<Vec<u64>> =
        Arc::new((0..options.objects).step_by(1 + options.objects as usize / 20_000).collect());
    each(8, objects, numbers, |objects: Objects, mut client: Client, number| async move {
        objects.read(&mut client, number).await.map(|()| client)
    })
    .await?;
    Ok(said.join(", "))
}

/// Deletes half at random and then the rest of a prefix, while what stays is read and more is written.
async fn delete(options: &Options, objects: &Objects, gateway: &Gateway, seed: u64) -> Outcome<String> {
    let (holdall, hot) = (gateway.setup.command(), gateway.setup.data.join("hot"));
    let mut random = Random::new(seed, 1);
    let (mut going, mut staying) = (Vec::new(), Vec::new());
    for number in 0..options.objects {
        if random.percent(50) { going.push(number) } else { staying.push(number) }
    }
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let beside = {
        let (objects, staying, stop, reads) = (objects.clone(), staying.clone(), Arc::clone(&stop), Arc::clone(&reads));
        tokio::spawn(async move {
            let (mut client, mut random) = (Client::new(&objects.endpoint), Random::new(seed, 2));
            while !stop.load(Ordering::Relaxed) {
                let number = *random.pick(&staying).ok_or("nothing stays")?;
                objects.put(&mut client, number).await.map_err(|error| error.to_string())?;
                objects.read(&mut client, number).await.map_err(|error| error.to_string())?;
                reads.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(())
        })
    };
    let gone = |_: Objects, mut client: Client, number| async move {
        client.delete(BUCKET, &Objects::key(number)).await?;
        Ok(client)
    };
    each(options.clients, objects, Arc::new(going), gone).await?;
    let live = objects.bytes(staying.iter().copied());
    let half = until_small(&holdall, &hot, 2 * live).await?;
    stop.store(true, Ordering::Relaxed);
    beside.await??;
    let reads = reads.load(Ordering::Relaxed);
    let (prefix, rest): (Vec<u64>, Vec<u64>) = staying.into_iter().partition(|number| mix(*number) % 256 < 128);
    each(options.clients, objects, Arc::new(prefix), gone).await?;
    let prefix = until_small(&holdall, &hot, 2 * objects.bytes(rest.iter().copied())).await?;
    let numbers = Arc::new(rest.clone());
    each(8, objects, numbers, |objects: Objects, mut client: Client, number| async move {
        objects.read(&mut client, number).await.map(|()| client)
    })
    .await?;
    let line = format!(
        "half deleted under {reads} writes and reads: disk {half:.2} of twice the live bytes; a prefix deleted: {prefix:.2}"
    );
    say::progress(line.clone());
    Ok(line)
}

/// Sweeps until a silo's folder has at most so many bytes; answers how much of them it has.
async fn until_small(holdall: &holdall_conformance::command::Holdall, folder: &Path, most: u64) -> Outcome<f64> {
    let watch = Stopwatch::start();
    loop {
        holdall.json(&["sweep", "--now"]).await?;
        let share = stored(folder) as f64 / most as f64;
        if share <= 1.0 {
            return Ok(share);
        }
        if watch.over(SETTLED) {
            return Err(format!("{share:.2} times twice the live bytes are on the disk after {SETTLED:?}").into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
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
