//! What objectives that move and copy all the time cost the requests beside them: p99 at half of what the gateway can do, in pairs
//! of windows, with movers at their default share and with them paused.
//!
//! It fails on one failed request or wrong byte, where nothing moved, and where the median ratio is above its bound.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{Call, Client, Endpoint, Listing, each};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::flight;
use holdall_conformance::gateway::{NO_GRACE, Setup};
use holdall_conformance::pace::{Clients, Requests, median, percentile};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::{Random, mix};
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, rig, say, settle};
use http::Method;
use tokio::task::JoinHandle;

/// What clients ask for, what moves there and back, and what gets a second copy and loses it.
const NEAR: &str = "near";
const TIDE: &str = "tide";
const TWICE: &str = "twice";
const SILOS: &str = "[silo.hot]\nurl = \"file:hot\"\n[silo.cold]\nurl = \"file:cold\"\n[write]\nto = [\"hot\"]\n";
/// Nothing moved for so long: everything is where it is wanted.
const STILL: Duration = Duration::from_millis(1500);
/// Writers of what moves.
const WRITERS: u64 = 8;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects that clients ask for.
    #[arg(long, default_value_t = 2000)]
    objects: u64,
    /// Objects that move, and as many that are copied.
    #[arg(long, default_value_t = 2000)]
    moving: u64,
    /// Pairs of windows.
    #[arg(long, default_value_t = 5)]
    pairs: u64,
    /// Seconds of a window.
    #[arg(long, default_value_t = 15)]
    window: u64,
    /// Clients.
    #[arg(long, default_value_t = 16)]
    clients: u64,
    /// The median ratio is at most this.
    #[arg(long, default_value_t = 1.5)]
    bound: f64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("movers", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

#[derive(Clone)]
struct Objects {
    endpoint: Endpoint,
    count: u64,
}

impl Objects {
    /// Half of them share packs; of the others one in eight has up to 4 MiB.
    fn payload(bucket: &str, number: u64) -> Payload {
        let drawn = mix(number);
        let bytes = match drawn % 16 {
            0..8 => 1 << 10,
            8..15 => 100 << 10,
            _ => 2 << 20,
        };
        Payload::new(bucket, number, bytes + (drawn >> 8) % bytes)
    }

    async fn put(&self, client: &mut Client, bucket: &str, number: u64) -> Outcome<()> {
        let body = Body::made(Self::payload(bucket, number));
        Ok(client.put(bucket, &format!("k{number}"), &[], body).await.map(drop)?)
    }

    async fn put_all(&self, bucket: &'static str) -> Outcome<()> {
        Client::new(&self.endpoint).create_bucket(bucket).await?;
        let numbers = (0..self.count).collect();
        each(WRITERS, &self.endpoint, self, numbers, move |this: Self, mut client: Client, number| async move {
            this.put(&mut client, bucket, number).await.map(|()| client)
        })
        .await
    }
}

/// Reads, overwrites, heads and lists.
impl Requests for Objects {
    async fn once(&self, client: &mut Client, random: &mut Random) -> Outcome<()> {
        let number = random.below(self.count);
        let key = format!("k{number}");
        match random.below(10) {
            0..3 => self.put(client, NEAR, number).await?,
            3 => client.head(NEAR, &key).await.map(drop)?,
            4 => client.list(NEAR, Listing { max_keys: 100, ..Listing::default() }).await.map(drop)?,
            _ => {
                let found = collect(client.get(NEAR, &key, None).await?.into_body()).await?;
                let right = Self::payload(NEAR, number).is(&found);
                right.map_err(|why| format!("{NEAR}/{key} reads other bytes: {why}"))?;
            }
        }
        Ok(())
    }
}

/// Objectives that are turned round whenever all they want is done.
struct Tide {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Outcome<()>>,
}

impl Tide {
    fn start(holdall: Holdall, admin: Endpoint) -> Self {
        let stop: Arc<AtomicBool> = Arc::default();
        let until = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut client, mut out) = (Client::new(&admin), true);
            while !until.load(Ordering::Relaxed) {
                wish(&holdall, out).await?;
                until_still(&mut client, &until).await?;
                out = !out;
            }
            Ok(())
        });
        Self { stop, task }
    }

    /// No more moves begin, and those under way have ended.
    async fn stop(self, holdall: &Holdall, admin: &Endpoint) -> Outcome<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await??;
        for objective in [TIDE, TWICE] {
            let said = holdall.run(&["objective", "pause", objective]).await?;
            if said.code != 0 {
                return Err(format!("`objective pause {objective}` exits with {}: {}", said.code, said.err).into());
            }
        }
        until_still(&mut Client::new(admin), &AtomicBool::new(false)).await
    }
}

async fn wish(holdall: &Holdall, out: bool) -> Outcome<()> {
    let (place, copies) = if out { ("cold", "2") } else { ("hot", "1") };
    holdall.json(&["objective", "set", TIDE, "--on", "s3://tide/", "--place", place]).await?;
    holdall
        .json(&[
            "objective",
            "set",
            TWICE,
            "--on",
            "s3://twice/",
            "--place",
            "hot",
            "--place",
            "cold",
            "--copies",
            copies,
        ])
        .await
        .map(drop)
}

/// Waits until nothing moves any more, or is told to stop.
async fn until_still(admin: &mut Client, stop: &AtomicBool) -> Outcome<()> {
    let (mut last, mut still) = (moved(admin).await?, Stopwatch::start());
    while !stop.load(Ordering::Relaxed) && !still.over(STILL) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = moved(admin).await?;
        if now != last {
            (last, still) = (now, Stopwatch::start());
        }
    }
    Ok(())
}

/// Steps that were taken since the gateway began.
async fn moved(admin: &mut Client) -> Outcome<u64> {
    let call = Call { method: Method::GET, path: "/v1/status".into(), query: &[], headers: &[], body: Body::Empty };
    let status: serde_json::Value = serde_json::from_slice(&admin.fetch(call).await?.1)?;
    Ok(status.pointer("/alignment/moved").and_then(serde_json::Value::as_u64).unwrap_or_default())
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let mut setup = Setup::new(&folder.join("data"))?;
    setup.config = Some(format!("{NO_GRACE}{SILOS}"));
    let gateway = setup.start().await?;
    let (holdall, admin) = (setup.command(), flight::admin(&setup));
    let objects = Objects { endpoint: setup.endpoint(), count: options.objects };
    objects.put_all(NEAR).await?;
    let ground = Objects { count: options.moving, ..objects.clone() };
    ground.put_all(TIDE).await?;
    ground.put_all(TWICE).await?;
    let clients = Clients { endpoint: objects.endpoint.clone(), count: options.clients, seed };
    let window = Duration::from_secs(options.window);
    let rate = clients.capacity(&objects, window / 2).await? / 2.0;
    let (mut ratios, mut steps, mut client) = (Vec::new(), 0, Client::new(&admin));
    for pair in 0..options.pairs {
        // Which comes first is by turns.
        let mut seen = [Duration::ZERO; 2];
        for turn in 0..2 {
            let moving = (pair + turn) % 2 == 0;
            let (tide, before) = if moving {
                let tide = Tide::start(holdall.clone(), admin.clone());
                tokio::time::sleep(STILL).await;
                (Some(tide), moved(&mut client).await?)
            } else {
                (None, 0)
            };
            seen[usize::from(moving)] = percentile(&clients.latencies(&objects, rate, window).await?, 99);
            if let Some(tide) = tide {
                let now = moved(&mut client).await?.saturating_sub(before);
                if now == 0 {
                    return Err("nothing moved: the movers were not at work".into());
                }
                steps += now;
                tide.stop(&holdall, &admin).await?;
            }
        }
        let [quiet, moving] = seen;
        let ratio = moving.as_secs_f64() / quiet.as_secs_f64();
        say::progress(format!("p99 {quiet:.1?} with movers paused, {moving:.1?} with them at work: {ratio:.2}"));
        ratios.push(ratio);
    }
    settle::sweep(&holdall).await?;
    settle::check_deep(&holdall).await?;
    gateway.stop().await?;
    let ratio = median(ratios);
    let said = format!(
        "{} pairs at {rate:.0} requests/s, 0 failed: p99 {ratio:.2} times that with movers paused, {:.0} steps a second",
        options.pairs,
        steps as f64 / (options.pairs * options.window) as f64
    );
    if ratio > options.bound { Err(format!("above {}: {said}", options.bound).into()) } else { Ok(said) }
}
