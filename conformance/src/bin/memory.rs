//! Memory stays small and flat whatever clients do: uploads that stop half-way, readers that hardly read, and the
//! listing of a very large bucket.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use holdall_conformance::client::{Client, Endpoint, Listing};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, Setup, cold_on};
use holdall_conformance::wire::Body;
use holdall_conformance::{Outcome, process, rig};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

const MIB: u64 = 1 << 20;
/// What an upload declares and never sends whole.
const DECLARED: u64 = 5 << 30;
/// Resident bytes must stay below.
const LIMIT: u64 = 512 * MIB;
/// What the last third of a phase may have over the one before: allocators round up.
const SLACK: u64 = 32 * MIB;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Uploads that stop.
    #[arg(long, default_value_t = 64)]
    uploads: usize,
    /// After so many MiB.
    #[arg(long, default_value_t = 16)]
    stop_after: u64,
    /// Readers.
    #[arg(long, default_value_t = 64)]
    readers: usize,
    /// Of an object of so many MiB.
    #[arg(long, default_value_t = 256)]
    object: u64,
    /// For so many seconds, at 1 MB/s.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Keys in the listed bucket.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// Where the bytes are; both in turn unless named.
    #[arg(long, value_enum)]
    silo: Option<Kind>,
    /// 64 uploads stopped after 256 MiB, 64 readers of 5 GiB for a minute, 10^6 keys.
    #[arg(long)]
    full: bool,
    /// Where the data folders go.
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Kind {
    Disk,
    S3,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut options = Options::parse();
    if options.full {
        (options.stop_after, options.object, options.seconds, options.keys) = (256, 5 << 10, 60, 1_000_000);
    }
    rig::end("memory failed", run(&options).await)
}

async fn run(options: &Options) -> Outcome<String> {
    let mut said = Vec::new();
    for kind in [Kind::Disk, Kind::S3].into_iter().filter(|kind| options.silo.is_none_or(|only| only == *kind)) {
        let temp = tempfile::Builder::new().prefix("holdall-memory-").tempdir()?;
        let folder = options.folder.as_ref().map_or(temp.path().to_owned(), |folder| folder.join(format!("{kind:?}")));
        let mut setup = Setup::new(&folder.join("data"))?;
        let mut behind = None;
        if kind == Kind::S3 {
            let other = Setup::new(&folder.join("behind"))?;
            behind = Some(other.start().await?);
            Client::new(&other.endpoint()).create_bucket("cold").await?;
            setup.config = Some(cold_on(&other.listen).replace("[\"hot\", \"cold\"]", "[\"cold\"]"));
            setup.env.push(("COLD_KEY".to_owned(), other.access_key_id.clone()));
            setup.env.push(("COLD_SECRET".to_owned(), other.secret_access_key.clone()));
        }
        let gateway = setup.start().await?;
        let peaks = phases(options, &gateway, kind).await?;
        said.push(format!("{kind:?}: {}", peaks.join(", ")));
        gateway.stop().await?;
        if let Some(behind) = behind {
            behind.stop().await?;
        }
    }
    Ok(format!("peak resident, limit {} MiB: {}", LIMIT / MIB, said.join("; ")))
}

async fn phases(options: &Options, gateway: &Gateway, kind: Kind) -> Outcome<Vec<String>> {
    let endpoint = gateway.setup.endpoint();
    Client::new(&endpoint).create_bucket("memory").await?;
    let mut peaks = vec![measured("uploads", gateway, stopped_uploads(&endpoint, options)).await?];
    write_object(&endpoint, options.object * MIB).await?;
    peaks.push(measured("readers", gateway, slow_readers(&endpoint, options)).await?);
    // Where the bytes are makes no difference to a listing.
    if kind == Kind::Disk {
        fill(&endpoint, options.keys).await?;
        peaks.push(measured("list", gateway, list_all(&endpoint, options.keys)).await?);
    }
    Ok(peaks)
}

/// Runs a phase while its memory is watched.
async fn measured(name: &str, gateway: &Gateway, phase: impl Future<Output = Outcome<()>>) -> Outcome<String> {
    let pid = gateway.pid();
    process::reset_peak(pid);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let watcher = tokio::spawn({
        let seen = Arc::clone(&seen);
        async move {
            loop {
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(process::resident(pid));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let done = phase.await;
    watcher.abort();
    done?;
    let peak = process::peak_resident(pid);
    if peak > LIMIT {
        return Err(format!("{name}: {} MiB resident", peak / MIB).into());
    }
    // Flat: the last third has no more than the third before it.
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let third = seen.len() / 3;
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or_default();
    let (before, last) = (most(&seen[third..2 * third]), most(&seen[2 * third..]));
    if third > 5 && last > before + SLACK {
        return Err(format!("{name}: memory grows, {} MiB after {} MiB", last / MIB, before / MIB).into());
    }
    Ok(format!("{name} {} MiB", peak / MIB))
}

async fn stopped_uploads(endpoint: &Endpoint, options: &Options) -> Outcome<()> {
    let reached = Arc::new(Semaphore::new(0));
    let chunk = Bytes::from(vec![7u8; 256 << 10]);
    let left = options.stop_after * MIB;
    let uploads: Vec<JoinHandle<()>> = (0..options.uploads)
        .map(|number| {
            let (endpoint, chunk, reached) = (endpoint.clone(), chunk.clone(), Arc::clone(&reached));
            tokio::spawn(async move {
                let body = Body::Stalled { chunk, left, withheld: DECLARED - left, reached: Some(reached) };
                // No answer is expected: the upload stands still until it is dropped.
                let _ = Client::new(&endpoint).put("memory", &format!("stopped/{number}"), &[], body).await;
            })
        })
        .collect();
    let all = reached.acquire_many(options.uploads as u32);
    let waited = tokio::time::timeout(Duration::from_mins(20), all).await;
    // They stand still together for a while, as clients behind a broken network do.
    tokio::time::sleep(Duration::from_secs(2)).await;
    uploads.iter().for_each(JoinHandle::abort);
    waited.map_err(|_| "uploads were not taken up to where they stop")??.forget();
    let page = Client::new(endpoint).list("memory", Listing { prefix: "stopped/", ..Listing::default() }).await?;
    if page.contents.is_empty() { Ok(()) } else { Err("a stopped upload became an object".into()) }
}

async fn write_object(endpoint: &Endpoint, size: u64) -> Outcome<()> {
    let mut client = Client::new(endpoint);
    let chunk = Bytes::from(vec![42u8; 1 << 20]);
    let upload = client.initiate("memory", "large", &[]).await?;
    let mut parts = Vec::new();
    let mut left = size;
    while left > 0 {
        let take = left.min(1 << 30);
        let body = Body::Repeated { chunk: chunk.clone(), left: take };
        parts.push(client.part("memory", "large", &upload, parts.len() as u32 + 1, body).await?);
        left -= take;
    }
    client.complete("memory", "large", &upload, &parts).await?;
    Ok(())
}

async fn slow_readers(endpoint: &Endpoint, options: &Options) -> Outcome<()> {
    let seconds = Duration::from_secs(options.seconds);
    let readers: Vec<JoinHandle<Outcome<u64>>> = (0..options.readers)
        .map(|_| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                let watch = Stopwatch::start();
                let mut body = Client::new(&endpoint).get("memory", "large", None).await?.into_body();
                let mut read = 0u64;
                while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
                    let data = frame?.into_data().unwrap_or_default();
                    if data.iter().any(|byte| *byte != 42) {
                        return Err("a wrong byte".into());
                    }
                    read += data.len() as u64;
                    if watch.over(seconds) {
                        break;
                    }
                    tokio::time::sleep(Duration::from_micros(read).saturating_sub(watch.elapsed())).await;
                }
                Ok(read)
            })
        })
        .collect();
    for reader in readers {
        let read = reader.await??;
        if read < options.seconds * 200_000 {
            return Err(format!("a reader got only {read} bytes in {seconds:?}").into());
        }
    }
    Ok(())
}

/// Many keys, by copies of one empty object: rows without files.
async fn fill(endpoint: &Endpoint, keys: usize) -> Outcome<()> {
    Client::new(endpoint).create_bucket("many").await?;
    Client::new(endpoint).put("many", "k", &[], Body::Empty).await?;
    let writers: Vec<JoinHandle<Outcome<()>>> = (0..32)
        .map(|writer| {
            let endpoint = endpoint.clone();
            tokio::spawn(async move {
                let mut client = Client::new(&endpoint);
                for number in (writer..keys.saturating_sub(1)).step_by(32) {
                    client.copy("many", "k", &format!("k/{number:09}/with-a-name-of-usual-length"), &[]).await?;
                }
                Ok(())
            })
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    Ok(())
}

async fn list_all(endpoint: &Endpoint, keys: usize) -> Outcome<()> {
    let mut client = Client::new(endpoint);
    let mut token: Option<String> = None;
    let mut seen = 0;
    let mut last = String::new();
    loop {
        let page = client.list("many", Listing { token: token.as_deref(), ..Listing::default() }).await?;
        for listed in page.contents {
            if listed.key <= last && seen > 0 {
                return Err(format!("{} is listed after {last}", listed.key).into());
            }
            last = listed.key;
            seen += 1;
        }
        token = page.next_continuation_token;
        if token.is_none() {
            break;
        }
    }
    if seen == keys { Ok(()) } else { Err(format!("{seen} keys listed of {keys}").into()) }
}
