//! A plan's money against what its moves cost: some thousand objects move between three buckets while clients overwrite and
//! delete a twentieth of them and some calls fail; a meter before each bucket counts what a provider would put on its bill,
//! verification and what is tried again included.
//!
//! It fails where the bill is not within two percent of the plan's money on one of three price cards. The plan is for what stood when it was
//! made: what clients changed before it was moved is taken out of it, and copies of what they wrote are added; both by the card.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::card::{Bill, CARDS, Card};
use holdall_conformance::client::{Call, Client, Endpoint, each};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::flight;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::meter::{Meter, Tally};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::{Random, mix};
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, rig, say, settle};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

/// By their place in a card.
const SILOS: [&str; 3] = ["hot", "warm", "cold"];
/// Copies there are all read back: it seems to take wrong checksums.
const GULLIBLE: usize = 2;
/// Longer ones are read back everywhere: a bucket of Holdall's says nothing of what it received before its checksum was known.
const READ_BACK: u64 = 256 << 10;
/// How often clients try what fails.
const TRIES: u32 = 4;
/// What shares packs.
const SMALL: u64 = 64 << 10;
const PART: u64 = 5 << 20;
/// Writers at a time.
const WRITERS: u64 = 8;
/// The bill is this close to the plan, percent.
const BOUND: f64 = 2.0;

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects in each of four buckets.
    #[arg(long, default_value_t = 500)]
    objects: u64,
    /// How many of them have 64 to 80 MiB.
    #[arg(long, default_value_t = 0)]
    large: u64,
    /// How many are written in parts.
    #[arg(long, default_value_t = 4)]
    multipart: u64,
    /// Percent of the objects that clients change meanwhile.
    #[arg(long, default_value_t = 5)]
    change: u64,
    /// So many of ten thousand calls fail.
    #[arg(long, default_value_t = 25)]
    failing: u64,
    /// Seconds until everything has moved.
    #[arg(long, default_value_t = 300)]
    within: u64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

/// What a bucket's objects do.
#[derive(Debug, Clone, Copy)]
struct Way {
    bucket: &'static str,
    from: usize,
    /// One after the other.
    to: &'static [usize],
    /// They stay where they were as well.
    copies: bool,
}

const WAYS: [Way; 4] = [
    Way { bucket: "goes-down", from: 0, to: &[2], copies: false },
    Way { bucket: "goes-up", from: 2, to: &[0], copies: false },
    Way { bucket: "gets-two", from: 0, to: &[1], copies: true },
    Way { bucket: "gets-three", from: 0, to: &[1, 2], copies: true },
];

impl Way {
    /// What all moves of an extent cost.
    fn cost(self, card: &Card, bytes: u64) -> Bill {
        self.to.iter().map(|to| self.cost_to(*to, card, bytes)).fold(Bill::default(), |sum, one| sum + one)
    }

    /// What one of them costs. What shares packs is asked for with others.
    fn cost_to(self, to: usize, card: &Card, bytes: u64) -> Bill {
        let requests = u64::from(bytes > SMALL);
        let read = Tally { reads: 2 * requests, read_bytes: bytes, ..Tally::default() };
        let gone = if self.copies { Vec::new() } else { vec![bytes] };
        let back = to == GULLIBLE || bytes > READ_BACK;
        let written = Tally {
            writes: requests,
            read_backs: if back { requests } else { 0 },
            read_back_bytes: if back { bytes } else { 0 },
            ..Tally::default()
        };
        card.silos[self.from].bill(&Tally { gone, ..read }) + card.silos[to].bill(&written)
    }
}

/// What a client changed.
struct Changed {
    way: Way,
    /// What lay where.
    before: Vec<Extent>,
    /// Bytes of what was written in its place.
    after: Option<u64>,
}

#[derive(Deserialize)]
struct Why {
    extents: Vec<Extent>,
}

#[derive(Deserialize)]
struct Extent {
    on: Vec<String>,
    bytes: u64,
}

impl Extent {
    fn is_on(&self, silo: usize) -> bool {
        self.on.iter().any(|on| on == SILOS[silo])
    }
}

impl Changed {
    /// What the plan had in it and is not moved any more, and what is moved besides.
    fn delta(&self, card: &Card) -> Bill {
        let unmoved = self.unmoved().map(|(extent, to)| self.way.cost_to(to, card, extent.bytes));
        let less = unmoved.fold(Bill::default(), |sum, one| sum + one);
        // Anything else is written where it is wanted.
        let more = self.after.filter(|_| self.way.copies).map(|bytes| self.way.cost(card, bytes));
        more.unwrap_or_default() - less
    }

    /// What had not moved yet, and to where.
    fn unmoved(&self) -> impl Iterator<Item = (&Extent, usize)> {
        let all = self.before.iter().flat_map(|extent| self.way.to.iter().map(move |to| (extent, *to)));
        all.filter(|(extent, to)| !extent.is_on(*to))
    }

    /// What the clients owe for what went too early: of packs nothing, but for those that went with all that was in them.
    fn early(&self, card: &Card) -> f64 {
        let owed = |extent: &Extent| -> f64 {
            let silos = (0..SILOS.len()).filter(|silo| extent.is_on(*silo));
            let silos = silos.filter(|silo| extent.bytes > SMALL || (*silo == self.way.from && !self.way.copies));
            silos.map(|silo| card.silos[silo].early(extent.bytes)).sum()
        };
        self.before.iter().map(owed).sum()
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("cost", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// The gateway under test, the one that is its three buckets, and the meters between them.
struct Rig {
    gateway: Gateway,
    behind: Gateway,
    meters: Vec<Meter>,
    toml: PathBuf,
    objects: Objects,
}

#[derive(Clone)]
struct Objects {
    endpoint: Endpoint,
    count: u64,
    large: u64,
    multipart: u64,
    seed: u64,
}

impl Objects {
    /// Three of five share packs, most others have less than a MiB.
    fn size(&self, way: Way, number: u64) -> u64 {
        let drawn = mix(self.seed
            ^ mix(number ^ ((way.from as u64) << 40 | (way.to[0] as u64) << 50 | (way.to.len() as u64) << 60)));
        let below = |limit: u64| (drawn >> 16) % limit;
        match drawn % 100 {
            _ if number < self.large => (64 << 20) + below(16 << 20),
            _ if self.is_of_parts(number) => 2 * PART + below(PART),
            0..60 => 100 + below(SMALL - 100),
            60..96 => SMALL + 1 + below((1 << 20) - SMALL),
            _ => (1 << 20) + below(3 << 20),
        }
    }

    fn is_of_parts(&self, number: u64) -> bool {
        (self.large..self.large + self.multipart).contains(&number)
    }

    fn key(number: u64) -> String {
        format!("{:02x}/{number:06}", mix(number) % 64)
    }

    async fn put(&self, client: &mut Client, way: Way, number: u64) -> Outcome<()> {
        let (bucket, key) = (way.bucket, Self::key(number));
        let payload = Payload::new(&key, 0, self.size(way, number));
        if !self.is_of_parts(number) {
            return Ok(client.put(bucket, &key, &[], Body::made(payload)).await.map(drop)?);
        }
        let upload = client.initiate(bucket, &key, &[]).await?;
        let (mut parts, mut at) = (Vec::new(), 0);
        while at < payload.len {
            let number = parts.len() as u32 + 1;
            parts.push(client.part(bucket, &key, &upload, number, Body::part(payload, at, PART)).await?);
            at += PART;
        }
        Ok(client.complete(bucket, &key, &upload, &parts).await.map(drop)?)
    }

    /// Bucket by bucket, so that no pack has objects of two.
    async fn put_all(&self) -> Outcome<u64> {
        let mut bytes = 0;
        for way in WAYS {
            let numbers = (0..self.count).collect();
            each(WRITERS, &self.endpoint, self, numbers, move |this: Self, mut client: Client, number| async move {
                this.put(&mut client, way, number).await.map(|()| client)
            })
            .await?;
            bytes += (0..self.count).map(|number| self.size(way, number)).sum::<u64>();
        }
        Ok(bytes)
    }

    /// Overwrites an object with one that shares no pack, whose path then tells whose it is, or deletes it.
    async fn change(&self, client: &mut Client, admin: &mut Client, way: Way, number: u64) -> Outcome<Changed> {
        let key = Self::key(number);
        let query = [("bucket", way.bucket), ("key", key.as_str())];
        let call = Call { method: Method::GET, path: "/v1/why".into(), query: &query, headers: &[], body: Body::Empty };
        let why: Why = serde_json::from_slice(&admin.fetch(call).await?.1)?;
        let after = number.is_multiple_of(2).then(|| SMALL + 1 + self.size(way, number) % (1 << 20));
        // A call that fails may be theirs: they try again, as clients do.
        let mut tries = 0;
        loop {
            tries += 1;
            let done = match after {
                Some(bytes) => {
                    client.put(way.bucket, &key, &[], Body::made(Payload::new(&key, 1, bytes))).await.map(drop)
                }
                None => client.delete(way.bucket, &key).await,
            };
            match done {
                Err(_) if tries < TRIES => {}
                done => break done?,
            }
        }
        Ok(Changed { way, before: why.extents, after })
    }

    async fn check(&self, changed: &[(Way, u64, Option<u64>)]) -> Outcome<()> {
        let mut client = Client::new(&self.endpoint);
        for (way, number, after) in changed {
            let (key, Some(bytes)) = (Self::key(*number), *after) else { continue };
            let found = collect(client.get(way.bucket, &key, None).await?.into_body()).await?;
            let right = Payload::new(&key, 1, bytes).is(&found);
            right.map_err(|why| format!("{}/{key} reads other bytes: {why}", way.bucket))?;
        }
        Ok(())
    }
}

impl Rig {
    async fn start(options: &Options, seed: u64, folder: &Path) -> Outcome<Self> {
        let mut other = Setup::new(&folder.join("behind"))?;
        other.config = Some(NO_GRACE.to_owned());
        let behind = other.start().await?;
        let mut meters = Vec::new();
        for (number, silo) in SILOS.iter().enumerate() {
            Client::new(&other.endpoint()).create_bucket(silo).await?;
            meters.push(Meter::open(&other.listen, number == GULLIBLE, seed + number as u64).await?);
        }
        let mut setup = Setup::new(&folder.join("data"))?;
        setup.env.push(("BEHIND_KEY".to_owned(), other.access_key_id.clone()));
        setup.env.push(("BEHIND_SECRET".to_owned(), other.secret_access_key.clone()));
        setup.config = Some(format!("{NO_GRACE}[scrub]\nevery = \"0s\"\n{}", declared(&meters, &CARDS[0])));
        let gateway = setup.start().await?;
        let Options { objects: count, large, multipart, .. } = *options;
        let objects = Objects { endpoint: setup.endpoint(), count, large, multipart, seed };
        for way in WAYS {
            Client::new(&objects.endpoint).create_bucket(way.bucket).await?;
        }
        Ok(Self { gateway, behind, meters, toml: folder.join("declared.toml"), objects })
    }

    fn holdall(&self) -> Holdall {
        self.gateway.setup.command()
    }

    async fn apply(&self, declared: &str) -> Outcome<()> {
        std::fs::write(&self.toml, declared)?;
        self.holdall().json(&["apply", "-f", &self.toml.display().to_string()]).await.map(drop)
    }

    async fn plan(&self) -> Outcome<Value> {
        self.holdall().json(&["plan"]).await
    }

    /// What the plan says by each card, before anything moves.
    async fn planned(&self) -> Outcome<(Vec<Bill>, u64)> {
        let (mut bills, mut bytes) = (Vec::new(), 0);
        for card in &CARDS {
            self.apply(&format!("{}{}", declared(&self.meters, card), objectives(true))).await?;
            let plan = self.plan().await?;
            bills.push(Bill::planned(&plan)?);
            let moves = plan.get("moves").and_then(Value::as_array).into_iter().flatten();
            bytes = moves.filter_map(|moving| moving.get("bytes")?.as_u64()).sum();
        }
        Ok((bills, bytes))
    }

    /// Bytes that were read to be moved, so far.
    fn moved(&self) -> u64 {
        self.meters.iter().map(|meter| meter.tally().read_bytes).sum()
    }

    /// Until nothing is left to be moved, and what was moved is gone from where it was.
    async fn until_moved(&self, limit: Duration) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let plan = self.plan().await?;
            let left = ["moves", "waits"].map(|what| plan.get(what).and_then(Value::as_array).map_or(0, Vec::len));
            if left == [0, 0] {
                break;
            }
            if watch.over(limit) {
                return Err(format!("not everything is where it is wanted after {limit:?}: {plan}").into());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        while self.meters[GULLIBLE].old_ones() > 0 {
            settle::sweep(&self.holdall()).await?;
            if watch.over(limit) {
                let left = self.meters[GULLIBLE].old_ones();
                return Err(format!("{left} blobs are left where everything was moved away from").into());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Changes objects, spread over the time in which they move.
    async fn change_some(&self, some: Vec<(Way, u64)>, bytes: u64) -> Outcome<Vec<Changed>> {
        let mut client = Client::new(&self.objects.endpoint);
        let mut admin = Client::new(&flight::admin(&self.gateway.setup));
        let (mut changed, count, mut last) = (Vec::new(), some.len() as u64, (0, Stopwatch::start()));
        for (turn, (way, number)) in some.into_iter().enumerate() {
            let due = bytes / count * turn as u64;
            while self.moved() < due && !last.1.over(Duration::from_secs(5)) {
                tokio::time::sleep(Duration::from_millis(10)).await;
                if self.moved() > last.0 {
                    last = (self.moved(), Stopwatch::start());
                }
            }
            changed.push(self.objects.change(&mut client, &mut admin, way, number).await?);
        }
        Ok(changed)
    }
}

/// Three buckets with a card's prices, and where clients write to.
fn declared(meters: &[Meter], card: &Card) -> String {
    let silos = SILOS.iter().zip(meters).zip(&card.silos).map(|((name, meter), price)| {
        format!(
            "[silo.{name}]\nurl = \"s3://{name}?endpoint=http://{}&region=us-east-1\"\n\
             credentials = {{ access_key_id_env = \"BEHIND_KEY\", secret_access_key_env = \"BEHIND_SECRET\" }}\n{}",
            meter.address,
            price.toml()
        )
    });
    let writes = WAYS.iter().map(|way| format!("[bucket.{}.write]\nto = [\"{}\"]\n", way.bucket, SILOS[way.from]));
    silos.chain(["[write]\nto = [\"hot\"]\n".to_owned()]).chain(writes).collect()
}

fn objectives(paused: bool) -> String {
    let wishes = WAYS.iter().map(|way| {
        let Way { bucket, from, to, copies } = *way;
        let on = copies.then_some(from).into_iter().chain(to.iter().copied());
        let place: Vec<String> = on.map(|silo| format!("\"{}\"", SILOS[silo])).collect();
        let (copies, place) = (place.len(), place.join(", "));
        format!(
            "[objective.{bucket}]\non = \"s3://{bucket}/\"\nplace = [{place}]\ncopies = {copies}\npaused = {paused}\n"
        )
    });
    wishes.collect()
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let rig = Rig::start(options, seed, &folder).await?;
    let watch = Stopwatch::start();
    let bytes = rig.objects.put_all().await?;
    say::progress(format!(
        "{} x {} objects, {} MiB written in {:.1?}",
        WAYS.len(),
        options.objects,
        bytes >> 20,
        watch.elapsed()
    ));
    let (planned, bytes) = rig.planned().await?;

    let mut random = Random::new(seed, 7);
    let all = random.shuffled(options.objects * WAYS.len() as u64);
    let some = all.iter().take(all.len() * options.change as usize / 100);
    let ways = WAYS.len() as u64;
    let some: Vec<_> = some.map(|at| (WAYS[(at % ways) as usize], at / ways)).collect();
    rig.meters.iter().for_each(|meter| meter.begin(options.failing));
    let watch = Stopwatch::start();
    rig.apply(&objectives(false)).await?;
    let changed = rig.change_some(some.clone(), bytes).await?;
    rig.until_moved(Duration::from_secs(options.within)).await?;
    let tallies: Vec<Tally> = rig.meters.iter().map(Meter::tally).collect();
    rig.meters.iter().for_each(Meter::calm);
    for (silo, tally) in SILOS.iter().zip(&tallies) {
        say::progress(format!("{silo}: {}", told(tally)));
    }
    let unmoved = changed.iter().filter(|one| one.unmoved().next().is_some()).count();
    say::progress(format!(
        "moved in {:.1?}; clients changed {} objects, {unmoved} of them before they were moved",
        watch.elapsed(),
        changed.len()
    ));
    let verdicts = CARDS.iter().zip(planned).map(|(card, planned)| verdict(card, planned, &tallies, &changed));
    let verdicts: Vec<(String, f64)> = verdicts.collect();

    let written = some.iter().zip(&changed).map(|((way, number), changed)| (*way, *number, changed.after));
    rig.objects.check(&written.collect::<Vec<_>>()).await?;
    settle::check_deep(&rig.holdall()).await?;
    let failed: u64 = tallies.iter().map(|tally| tally.failed).sum();
    if options.failing > 0 && failed == 0 {
        return Err("no call failed".into());
    }
    rig.gateway.stop().await?;
    rig.behind.stop().await?;
    let said: Vec<&str> = verdicts.iter().map(|(said, _)| said.as_str()).collect();
    let said = format!("{failed} calls failed, {} objects changed; {}", changed.len(), said.join("; "));
    if verdicts.iter().any(|(_, off)| off.abs() > BOUND) {
        return Err(format!("not within {BOUND} %: {said}").into());
    }
    Ok(said)
}

/// The difference by a card, percent of the plan.
fn verdict(card: &Card, planned: Bill, tallies: &[Tally], changed: &[Changed]) -> (String, f64) {
    let counted = card.silos.iter().zip(tallies).map(|(price, tally)| price.bill(tally));
    let mut counted = counted.fold(Bill::default(), |sum, one| sum + one);
    counted.early_deletion -= changed.iter().map(|changed| changed.early(card)).sum::<f64>();
    let delta = changed.iter().map(|changed| changed.delta(card)).fold(Bill::default(), |sum, one| sum + one);
    let expected = planned + delta;
    let off = |from: Bill| (counted.total() / from.total() - 1.0) * 100.0;
    say::progress(format!("card {}: planned {planned}", card.name));
    say::progress(format!("  changed {delta}"));
    say::progress(format!("  counted {counted}"));
    let said = format!(
        "card {}: planned {:.6}, counted {:.6} ({:+.2} %), {:+.2} % from the plan less what changed",
        card.name,
        planned.total(),
        counted.total(),
        off(planned),
        off(expected)
    );
    (said, off(expected))
}

fn told(tally: &Tally) -> String {
    format!(
        "{} reads of {} bytes, {} writes, {} read back of {} bytes, {} deletes of {} bytes, {} writes of clients, {} failed; {} \
         about other things",
        tally.reads,
        tally.read_bytes,
        tally.writes,
        tally.read_backs,
        tally.read_back_bytes,
        tally.deletes,
        tally.gone.iter().sum::<u64>(),
        tally.of_clients,
        tally.failed,
        tally.beside
    )
}
