//! Deletes half of the objects at random and then a prefix, under reads and writes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdall_conformance::client::{Client, each};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::gateway::Gateway;
use holdall_conformance::pace::{Clients, Requests, median, percentile};
use holdall_conformance::random::{Random, mix};
use holdall_conformance::{Outcome, say};
use tokio::task::JoinHandle;

use super::{BUCKET, Objects, Options, read_each, stored};

/// How long deletes may take to give their room back.
const SETTLED: Duration = Duration::from_mins(10);
/// A window of which latencies are compared.
const WINDOW: Duration = Duration::from_secs(10);
/// Clients whose latencies are compared.
const CLIENTS: u64 = 16;

/// Deletes; answers how much of twice the live bytes is left on the disk, and what sweeping did to latencies.
pub(super) async fn delete(options: &Options, objects: &Objects, gateway: &Gateway, seed: u64) -> Outcome<String> {
    let (holdall, hot) = (gateway.setup.command(), gateway.setup.data.join("hot"));
    let mut random = Random::new(seed, 1);
    let (going, staying): (Vec<u64>, Vec<u64>) = (0..options.objects).partition(|_| random.percent(50));
    let live = objects.bytes(staying.iter().copied());
    let mix = Mix::new(objects, staying, going);
    let mut said = Vec::new();
    if options.pairs > 0 {
        said.push(pairs(options, &mix, &holdall, seed).await?);
    }
    let beside = Beside::start(|stop| write_and_read(mix.clone(), seed, stop));
    delete_each(options, objects, mix.rest()).await?;
    let half = until_small(&holdall, &hot, 2 * live).await?;
    let reads = beside.stop().await?;
    let (prefix, rest): (Vec<u64>, Vec<u64>) = mix.staying.iter().partition(|number| self::mix(**number) % 256 < 128);
    delete_each(options, objects, prefix).await?;
    let prefix = until_small(&holdall, &hot, 2 * objects.bytes(rest.iter().copied())).await?;
    read_each(objects, rest).await?;
    said.push(format!(
        "half deleted under {reads} writes and reads: disk {half:.2} of twice the live bytes; a prefix deleted: {prefix:.2}"
    ));
    let line = said.join("; ");
    say::progress(line.clone());
    Ok(line)
}

/// As many reads and overwrites of what stays as deletes of what goes.
#[derive(Clone)]
struct Mix {
    objects: Objects,
    staying: Arc<Vec<u64>>,
    going: Arc<Vec<u64>>,
    gone: Arc<AtomicUsize>,
}

impl Mix {
    fn new(objects: &Objects, staying: Vec<u64>, going: Vec<u64>) -> Self {
        Self { objects: objects.clone(), staying: Arc::new(staying), going: Arc::new(going), gone: Arc::default() }
    }

    /// The next ones to delete, at most so many.
    fn take(&self, most: usize) -> Vec<u64> {
        let first = self.gone.fetch_add(most, Ordering::Relaxed).min(self.going.len());
        self.going[first..(first + most).min(self.going.len())].to_vec()
    }

    /// All that are left to delete.
    fn rest(&self) -> Vec<u64> {
        self.take(self.going.len())
    }
}

impl Requests for Mix {
    async fn once(&self, client: &mut Client, random: &mut Random) -> Outcome<()> {
        let staying = *random.pick(&self.staying).ok_or("nothing stays")?;
        match random.below(3) {
            0 => self.objects.put(client, staying).await,
            1 if let Some(going) = self.take(1).first() => Ok(client.delete(BUCKET, &Objects::key(*going)).await?),
            _ => self.objects.read(client, staying).await,
        }
    }
}

/// Latencies at half of what the gateway can do, while nothing is swept and while it sweeps and rewrites packs, by turns.
async fn pairs(options: &Options, mix: &Mix, holdall: &Holdall, seed: u64) -> Outcome<String> {
    let clients = Clients { endpoint: mix.objects.endpoint.clone(), count: CLIENTS, seed };
    let rate = clients.capacity(mix, WINDOW).await? / 2.0;
    // The mix deletes a third of what it asks.
    let in_windows = (rate * WINDOW.as_secs_f64() / 3.0) as usize * 2;
    let slice = (mix.going.len() / options.pairs as usize).saturating_sub(in_windows);
    let (mut ratios, mut said) = (Vec::new(), Vec::new());
    for _ in 0..options.pairs {
        delete_each(options, &mix.objects, mix.take(slice)).await?;
        let quiet = clients.latencies(mix, rate, WINDOW).await?;
        let sweeper = Beside::start(|stop| sweep(holdall.clone(), stop));
        let busy = clients.latencies(mix, rate, WINDOW).await?;
        let swept = sweeper.stop().await?;
        let (quiet, busy) = (percentile(&quiet, 99), percentile(&busy, 99));
        ratios.push(busy.as_secs_f64() / quiet.as_secs_f64());
        let line = format!("{quiet:.1?} and {busy:.1?} while {swept} are swept");
        say::progress(line.clone());
        said.push(line);
    }
    Ok(format!("p99 at {rate:.0} requests/s {:.2} times the quiet one ({})", median(ratios), said.join(", ")))
}

/// Work that goes on until it is told to stop, and then says how much it did.
struct Beside {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Outcome<u64>>,
}

impl Beside {
    fn start<Work>(work: impl FnOnce(Arc<AtomicBool>) -> Work) -> Self
    where
        Work: Future<Output = Outcome<u64>> + Send + 'static,
    {
        let stop: Arc<AtomicBool> = Arc::default();
        Self { task: tokio::spawn(work(Arc::clone(&stop))), stop }
    }

    async fn stop(self) -> Outcome<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

/// Sweeps again and again, and once told to stop until nothing is left to sweep; answers how many replicas.
async fn sweep(holdall: Holdall, stop: Arc<AtomicBool>) -> Outcome<u64> {
    let mut all = 0;
    loop {
        let ended = stop.load(Ordering::Relaxed);
        let swept = holdall.json(&["sweep", "--now"]).await?;
        let replicas = swept.get("replicas").and_then(serde_json::Value::as_u64).unwrap_or_default();
        all += replicas;
        if ended && replicas == 0 {
            return Ok(all);
        }
    }
}

/// One client that overwrites and reads what stays; answers how often.
async fn write_and_read(mix: Mix, seed: u64, stop: Arc<AtomicBool>) -> Outcome<u64> {
    let (mut client, mut random, mut done) = (Client::new(&mix.objects.endpoint), Random::new(seed, 2), 0);
    while !stop.load(Ordering::Relaxed) {
        let number = *random.pick(&mix.staying).ok_or("nothing stays")?;
        mix.objects.put(&mut client, number).await?;
        mix.objects.read(&mut client, number).await?;
        done += 1;
    }
    Ok(done)
}

async fn delete_each(options: &Options, objects: &Objects, numbers: Vec<u64>) -> Outcome<()> {
    each(options.clients, &objects.endpoint, objects, numbers, |_, mut client: Client, number| async move {
        client.delete(BUCKET, &Objects::key(number)).await?;
        Ok(client)
    })
    .await
}

/// Sweeps until a silo's folder has at most so many bytes; answers how much of them it has.
async fn until_small(holdall: &Holdall, folder: &Path, most: u64) -> Outcome<f64> {
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
