//! Placement that learns, held against the simulator: a trace is replayed day by day through a gateway whose calendar is turned, over three
//! buckets, and a meter before each counts what a provider would put on its bill. `holdall simulate` says what the same trace costs.
//!
//! It fails where the bill is not within ten percent of that, or where nothing was moved. What a gateway learns in its first days depends on
//! single reads, and so does what follows: on long traces both decide alike, which is a test of the namespace.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::card::{CARDS, Card, Price};
use holdall_conformance::client::{Call, Client, Endpoint};
use holdall_conformance::clock::{self, Stopwatch};
use holdall_conformance::flight;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::meter::{Meter, Tally};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::mix;
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, rig, say};
use http::Method;
use serde_json::Value;

const SILOS: [&str; 3] = ["hot", "warm", "cold"];
const BUCKET: &str = "data";
/// Bytes cost as much as if they were so many times as many: objects are small here, and requests are not.
const TIMES: f64 = 400.0;
/// Waiting goes by so many times as fast.
const FASTER: u32 = 4;
/// The bill is this close to what was simulated, percent.
const BOUND: f64 = 10.0;
/// A day is done within this.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 60)]
    objects: u64,
    /// Days.
    #[arg(long, default_value_t = 40)]
    days: u64,
    /// Of the price cards: 0 or 1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..2))]
    card: u8,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("auto", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// What happens to an object on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Put,
    Read,
    Delete,
}

/// Who is used when, from a seed.
#[derive(Clone, Copy)]
struct Trace {
    seed: u64,
    objects: u64,
    days: u64,
}

impl Trace {
    fn drawn(self, number: u64, day: u64) -> u64 {
        mix(self.seed ^ mix(number << 20 ^ day))
    }

    /// Most are read for some days, some every day, some never, and a few of those come back.
    fn acts(self, day: u64) -> Vec<(u64, Act)> {
        let mut acts = Vec::new();
        for number in 0..self.objects {
            let born = self.drawn(number, u64::MAX) % (self.days / 2).max(1);
            let gone = born + 15 + self.drawn(number, u64::MAX - 1) % (2 * self.days);
            let (age, chance) = (day.saturating_sub(born), self.drawn(number, day) % 100);
            if day == born {
                acts.push((number, Act::Put));
            } else if day == gone {
                acts.push((number, Act::Delete));
            } else if (born..gone).contains(&day) {
                let read = match number % 6 {
                    0 => chance < 70,
                    1..=3 => age < 6 && chance < 60,
                    4 => chance < 4,
                    _ => false,
                };
                acts.extend(read.then_some((number, Act::Read)));
            }
        }
        acts
    }

    /// Too long to share a pack, and to be believed without being read back.
    fn size(self, number: u64) -> u64 {
        (300 << 10) + self.drawn(number, 1 << 40) % (500 << 10)
    }

    fn key(number: u64) -> String {
        let folder = ["daily", "young", "young", "young", "rare", "never"][(number % 6) as usize];
        format!("{folder}/{number:04}")
    }

    fn payload(self, number: u64) -> Payload {
        Payload::new(&Self::key(number), 0, self.size(number))
    }

    /// As `holdall simulate` reads it, and the names of its numbers.
    fn write(self, trace: &Path, names: &Path, first: u64) -> Outcome<()> {
        let mut lines = vec!["t_unix,object_id,op,bytes".to_owned()];
        for day in 0..self.days {
            for (number, act) in self.acts(day) {
                let (op, bytes) = match act {
                    Act::Put => ("put", self.size(number)),
                    Act::Read => ("read", self.size(number)),
                    Act::Delete => ("delete", 0),
                };
                lines.push(format!("{},{number},{op},{bytes}", (first + day) * 86_400 + 43_200));
            }
        }
        std::fs::write(trace, lines.join("\n") + "\n")?;
        let named: Vec<String> = (0..self.objects).map(|number| format!("{number},{}", Self::key(number))).collect();
        Ok(std::fs::write(names, named.join("\n") + "\n")?)
    }
}

/// A blob that is there.
struct Blob {
    silo: usize,
    bytes: u64,
    /// The day it was seen first.
    since: u64,
}

/// What it costs beside what is asked: holding, and going too early.
struct Held {
    prices: [Price; 3],
    blobs: BTreeMap<(usize, String), Blob>,
    storage: f64,
    early: f64,
}

impl Held {
    /// At the end of a day.
    fn day(&mut self, meters: &[Meter], day: u64) {
        let mut before = std::mem::take(&mut self.blobs);
        for (silo, meter) in meters.iter().enumerate() {
            for (path, bytes) in meter.stored() {
                self.storage += self.prices[silo].day(bytes);
                let blob = before.remove(&(silo, path.clone())).unwrap_or(Blob { silo, bytes, since: day });
                self.blobs.insert((silo, path), blob);
            }
        }
        for blob in before.into_values() {
            let price = &self.prices[blob.silo];
            self.early += price.day(blob.bytes) * (price.days - (day - blob.since) as f64).max(0.0);
        }
    }
}

struct Rig {
    gateway: Gateway,
    behind: Gateway,
    meters: Vec<Meter>,
    calendar: PathBuf,
    endpoint: Endpoint,
    prices: [Price; 3],
}

impl Rig {
    async fn start(card: &Card, seed: u64, folder: &Path) -> Outcome<Self> {
        let mut other = Setup::new(&folder.join("behind"))?;
        other.config = Some(NO_GRACE.to_owned());
        let behind = other.start().await?;
        let mut meters = Vec::new();
        for (number, silo) in SILOS.iter().enumerate() {
            Client::new(&other.endpoint()).create_bucket(silo).await?;
            meters.push(Meter::open(&other.listen, false, seed + number as u64).await?);
        }
        let prices = card.silos.map(|price| price.by_bytes(TIMES));
        let calendar = folder.join("calendar");
        turn(&calendar, 0)?;
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.env.push(("BEHIND_KEY".to_owned(), other.access_key_id.clone()));
        setup.env.push(("BEHIND_SECRET".to_owned(), other.secret_access_key.clone()));
        setup.env.push(("HOLDALL_CALENDAR".to_owned(), calendar.display().to_string()));
        setup.config = Some(declared(&meters, &prices));
        let gateway = setup.start().await?;
        let endpoint = setup.endpoint();
        Client::new(&endpoint).create_bucket(BUCKET).await?;
        Ok(Self { gateway, behind, meters, calendar, endpoint, prices })
    }

    async fn admin(&self, path: &str) -> Outcome<Value> {
        let call = Call { method: Method::GET, path: path.to_owned(), query: &[], headers: &[], body: Body::Empty };
        let mut admin = Client::new(&flight::admin(&self.gateway.setup));
        Ok(serde_json::from_slice(&admin.fetch(call).await?.1)?)
    }

    async fn act(&self, trace: Trace, day: u64) -> Outcome<()> {
        let mut client = Client::new(&self.endpoint);
        for (number, act) in trace.acts(day) {
            let key = Trace::key(number);
            match act {
                Act::Put => drop(client.put(BUCKET, &key, &[], Body::made(trace.payload(number))).await?),
                Act::Delete => client.delete(BUCKET, &key).await?,
                Act::Read => {
                    let found = collect(client.get(BUCKET, &key, None).await?.into_body()).await?;
                    trace.payload(number).is(&found).map_err(|why| format!("{key} reads other bytes: {why}"))?;
                }
            }
        }
        Ok(())
    }

    /// A new day has come: until what was learnt of the last one is done, and nothing is left of what moved.
    async fn settle(&self, there: usize) -> Outcome<()> {
        let (watch, mut seen, mut still) = (Stopwatch::start(), None, 0);
        loop {
            let status = self.admin("/v1/status").await?;
            let compared = status.pointer("/alignment/compared").and_then(Value::as_i64);
            let moves = self.admin("/v1/outlook").await?;
            let moves = moves.get("moves").and_then(Value::as_array).map_or(0, Vec::len);
            let blobs: usize = self.meters.iter().map(|meter| meter.stored().len()).sum();
            if compared != seen {
                still = if seen.is_some() && moves == 0 && blobs == there { still + 1 } else { 0 };
                seen = compared;
            }
            if still >= 3 {
                return Ok(());
            }
            if watch.over(PATIENCE) {
                return Err(
                    format!("{moves} ways are left, {blobs} blobs of {there} objects, after {PATIENCE:?}").into()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn turn(calendar: &Path, days: u64) -> Outcome<()> {
    clock::turn(days);
    Ok(std::fs::write(calendar, format!("{days} {FASTER}"))?)
}

/// Three buckets with their prices, and an objective that leaves the choice.
fn declared(meters: &[Meter], prices: &[Price; 3]) -> String {
    let silos = SILOS.iter().zip(meters).zip(prices).map(|((name, meter), price)| {
        format!(
            "[silo.{name}]\nurl = \"s3://{name}?endpoint=http://{}&region=us-east-1\"\n\
             credentials = {{ access_key_id_env = \"BEHIND_KEY\", secret_access_key_env = \"BEHIND_SECRET\" }}\n{}",
            meter.address,
            price.toml()
        )
    });
    let rest = format!(
        "[write]\nto = [\"hot\"]\n[objective.auto]\non = \"s3://{BUCKET}/\"\nauto = \"on\"\nplace = [\"hot\", \"warm\", \"cold\"]\n\
         daily = \"100%\"\n"
    );
    let first = format!("{NO_GRACE}[scrub]\nevery = \"0s\"\n[align]\nevery = \"1s\"\n");
    [first].into_iter().chain(silos).chain([rest]).collect()
}

/// What the same trace costs by the simulator, dollars, and how often it moves.
async fn simulated(rig: &Rig, trace: Trace, folder: &Path) -> Outcome<(f64, u64)> {
    let file = |name: &str| folder.join(name);
    let first = clock::epoch_seconds(clock::wall()) / 86_400 - trace.days + 1;
    trace.write(&file("trace.csv"), &file("names.csv"), first)?;
    let silos = SILOS.iter().zip(&rig.prices).map(|(name, price)| format!("[silo.{name}]\n{}", price.toml()));
    std::fs::write(file("silos.toml"), silos.collect::<String>())?;
    let said = rig
        .gateway
        .setup
        .command()
        .json(&[
            "simulate",
            "--as-gateway",
            "--trace",
            &file("trace.csv").display().to_string(),
            "--names",
            &file("names.csv").display().to_string(),
            "--silos",
            &file("silos.toml").display().to_string(),
        ])
        .await?;
    say::progress(format!("simulated: {}", said.get("auto").and_then(|auto| auto.get("cost")).unwrap_or(&Value::Null)));
    let total = said.pointer("/auto/total").and_then(Value::as_f64).ok_or("the simulator says no total")?;
    Ok((total, said.pointer("/auto/moves").and_then(Value::as_u64).unwrap_or(0)))
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let trace = Trace { seed, objects: options.objects, days: options.days };
    let rig = Rig::start(&CARDS[usize::from(options.card)], seed, &folder).await?;
    rig.meters.iter().for_each(|meter| meter.begin(0));
    let mut held = Held { prices: rig.prices, blobs: BTreeMap::new(), storage: 0.0, early: 0.0 };
    let (mut there, watch) = (0, Stopwatch::start());
    for day in 0..trace.days {
        turn(&rig.calendar, day)?;
        rig.settle(there).await?;
        rig.act(trace, day).await?;
        let acts = trace.acts(day);
        there += acts.iter().filter(|(_, act)| *act == Act::Put).count();
        there -= acts.iter().filter(|(_, act)| *act == Act::Delete).count();
        // Until heat is written down, and what was deleted is gone.
        tokio::time::sleep(Duration::from_secs(11) / FASTER).await;
        held.day(&rig.meters, day);
    }
    let tallies: Vec<Tally> = rig.meters.iter().map(Meter::tally).collect();
    let bills = rig.prices.iter().zip(&tallies).map(|(price, tally)| {
        let bill = price.bill(&Tally { gone: Vec::new(), ..tally.clone() });
        bill.total() + tally.of_clients as f64 / 1000.0 * price.writes
    });
    let asked: f64 = bills.sum();
    let moved: u64 = tallies.iter().map(|tally| tally.writes).sum();
    let counted = asked + held.storage + held.early;
    say::progress(format!(
        "counted in {:.0?}: {counted:.6} (holding {:.6}, early {:.6}, asked {asked:.6}), {moved} moves",
        watch.elapsed(),
        held.storage,
        held.early
    ));
    let savings = rig.admin("/v1/savings").await?;
    let paid = savings.pointer("/0/months").and_then(Value::as_array).into_iter().flatten();
    let paid: f64 = paid.filter_map(|month| month.get("paid")?.as_f64()).sum();
    let (simulated, moves) = simulated(&rig, trace, &folder).await?;
    rig.gateway.stop().await?;
    rig.behind.stop().await?;
    let off = (counted / simulated - 1.0) * 100.0;
    let said = format!(
        "{} days of {} objects: counted {counted:.6}, simulated {simulated:.6} ({off:+.2} %), {moved} moves, simulated {moves}; paid by the ledger {paid:.6}",
        trace.days, trace.objects
    );
    if moved == 0 || off.abs() > BOUND {
        return Err(said.into());
    }
    Ok(said)
}
