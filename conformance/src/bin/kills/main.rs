//! kill -9 at every state of moves, copies, drops, repairs, switches, losses and sweeps, with whatever the silo's next call may have
//! come to: not begun, not done, done and not answered, or answered that it is unknown.
//!
//! Each case begins with the same objects, dies at its point, and is started again: every object must be there and whole, the work
//! must come to its end, and after a sweep `holdall check --deep` must find neither an orphan, nor anything missing, nor a wrong
//! counter. A point that is not reached fails the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use clap::Parser;
use futures_util::{StreamExt, stream};
use holdall_conformance::client::{Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{NO_GRACE, Setup};
use holdall_conformance::payload::Payload;
use holdall_conformance::random::Random;
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::workload::PART;
use holdall_conformance::{Outcome, harm, rig, say, settle};
use http::StatusCode;

mod table;

use table::Table;

const BUCKET: &str = "kept";
/// What clients put while the gateway dies.
const LATE: &str = "late";
/// A point must be reached within this,
const REACHED: Duration = Duration::from_secs(40);
/// and only when what is under way had this long, clients put something: their call of a silo is one as well.
const ALONE: Duration = Duration::from_secs(4);
/// Whatever was begun comes to its end within this.
const ENDS: Duration = Duration::from_mins(1);

/// `holdall_namespace::failpoint::FAILPOINTS` is the list; those of requests, backups and projections are for `crash` and `readwrite`.
const MOVE: &[&str] = &["move-journalled", "move-put", "move-copied", "move-committed"];
const CASES: &[(Scene, &[&str])] = &[
    (Scene::Move, MOVE),
    (Scene::Move, &["pack-written", "job-moved", "job-done", "sweep-deleted", "sweep-forgotten", "pack-deleted"]),
    (Scene::Copy, MOVE),
    (Scene::Drop, &["drop-asked", "drop-committed", "sweep-deleted", "sweep-forgotten", "pack-deleted"]),
    (Scene::Repair, &["damage-found", "damage-replaced", "damage-noted"]),
    (Scene::Repair, MOVE),
    (Scene::Follow, &["switch-begun"]),
    (Scene::Follow, MOVE),
    (Scene::Commit, &["switch-filled", "switch-committed", "drop-asked", "drop-committed", "job-moved", "job-done"]),
    (Scene::Commit, &["sweep-deleted", "sweep-forgotten"]),
    (Scene::Back, &["switch-rolled-back", "drop-asked", "drop-committed", "job-moved", "job-done"]),
    (Scene::Back, &["sweep-deleted", "sweep-forgotten"]),
    (Scene::Lose, &["lost-cancelled", "lost-declared", "lost-ordered", "drop-asked", "drop-committed", "job-moved"]),
    (Scene::Find, &["lost-found", "orphan-deleted"]),
    (Scene::Remove, &["silo-leaves", "silo-left"]),
];

#[derive(Parser)]
#[command(about)]
struct Options {
    /// How often each case is run.
    #[arg(long, default_value_t = 1)]
    times: usize,
    /// Cases at once.
    #[arg(long, default_value_t = 8)]
    at_once: usize,
    /// Only cases whose scene or point contains this.
    #[arg(long)]
    only: Option<String>,
    /// Beside dying in the silo's next call, be told that its outcome is unknown, go on, and die in the one after that.
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    rerun: rig::Rerun,
}

/// What is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scene {
    /// A drain.
    Move,
    /// A second copy of everything.
    Copy,
    /// One copy less of everything.
    Drop,
    /// A silo whose bytes are other ones is scrubbed.
    Repair,
    /// A silo follows another,
    Follow,
    /// takes its place,
    Commit,
    /// or does not.
    Back,
    /// A silo is lost,
    Lose,
    /// and found.
    Find,
    /// An empty silo is taken out.
    Remove,
}

/// What becomes of the next call of a silo that writes or deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Call {
    NotBegun,
    Undone,
    Done,
    UndoneUnknown,
    DoneUnknown,
}

const CALLS: [Call; 5] = [Call::NotBegun, Call::Undone, Call::Done, Call::UndoneUnknown, Call::DoneUnknown];

impl Call {
    /// As the gateway is told.
    fn env(self) -> &'static str {
        match self {
            Self::NotBegun => "",
            Self::Undone => "undone",
            Self::Done => "done",
            Self::UndoneUnknown => "undone-unknown",
            Self::DoneUnknown => "done-unknown",
        }
    }
}

/// How often a point is passed in a scene, at least: the kill comes at any of these times.
fn passes(point: &str) -> u64 {
    if point.starts_with("move-") || point.starts_with("sweep-") { 3 } else { 1 }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    number: usize,
    scene: Scene,
    point: &'static str,
    call: Call,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("kills", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

fn cases(options: &Options) -> Vec<Case> {
    let calls = if options.full { &CALLS[..] } else { &CALLS[..3] };
    let wanted = |scene: Scene, point: &str| {
        let name = format!("{scene:?} {point}").to_lowercase();
        options.only.as_ref().is_none_or(|only| name.contains(only))
    };
    let points = CASES.iter().flat_map(|(scene, points)| points.iter().map(|point| (*scene, *point)));
    let points: Vec<_> = points.filter(|(scene, point)| wanted(*scene, point)).collect();
    let all = (0..options.times).flat_map(|_| points.iter()).flat_map(|of| calls.iter().map(move |call| (of, *call)));
    all.enumerate().map(|(number, ((scene, point), call))| Case { number, scene: *scene, point, call }).collect()
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let (cases, ports) = (cases(options), Arc::new(Ports::new(seed)));
    let wanted: BTreeSet<Scene> = cases.iter().map(|case| case.scene).collect();
    let mut scenes: BTreeMap<Scene, Arc<Stage>> = BTreeMap::new();
    for scene in wanted {
        let stage = Stage::set(scene, &folder.join(format!("{scene:?}")), &ports).await;
        let stage = stage.map_err(|failure| format!("{scene:?} is not set up: {failure}"))?;
        scenes.insert(scene, Arc::new(stage));
    }
    let watch = Stopwatch::start();
    let outcomes = stream::iter(&cases).map(|case| {
        let (stage, folder) = (Arc::clone(&scenes[&case.scene]), folder.join(format!("case{}", case.number)));
        let (ports, random) = (Arc::clone(&ports), Random::new(seed, case.number as u64));
        async move { (*case, stage.play(*case, &folder, &ports, random).await) }
    });
    let outcomes: Vec<_> = outcomes.buffer_unordered(options.at_once).collect().await;
    say::progress(report(&outcomes));
    let wrong: Vec<String> = outcomes
        .iter()
        .filter_map(|(case, outcome)| Some((case, outcome.as_ref().err()?)))
        .map(|(case, failure)| format!("{:?} {} {:?}: {failure}", case.scene, case.point, case.call))
        .collect();
    if !wrong.is_empty() {
        return Err(format!("{} of {} cases went wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n")).into());
    }
    let points: BTreeSet<_> = cases.iter().map(|case| (case.scene, case.point)).collect();
    Ok(format!(
        "{} kills at {} states in {:.0?}, each reached: 0 objects lost or wrong, 0 orphans, 0 missing, all work came to its end",
        cases.len(),
        points.len(),
        watch.elapsed()
    ))
}

/// State by call: how often it was right, of how often it was tried.
fn report(outcomes: &[(Case, Outcome<()>)]) -> String {
    type Row = BTreeMap<Call, (u32, u32)>;
    let mut rows: BTreeMap<(Scene, &str), Row> = BTreeMap::new();
    for (case, outcome) in outcomes {
        let cell = rows.entry((case.scene, case.point)).or_default().entry(case.call).or_default();
        cell.0 += u32::from(outcome.is_ok());
        cell.1 += 1;
    }
    let mut lines = vec![format!("{:28}{}", "", CALLS.map(|call| format!("{:>15}", format!("{call:?}"))).concat())];
    for ((scene, point), cells) in rows {
        let cell = |call| match cells.get(&call) {
            Some((right, tried)) if right == tried => format!("ok {right}"),
            Some((right, tried)) => format!("{right} of {tried}"),
            None => "-".to_owned(),
        };
        let cells = CALLS.map(|call| format!("{:>15}", cell(call))).concat();
        lines.push(format!("{:8}{point:20}{cells}", format!("{scene:?}")));
    }
    lines.join("\n")
}

/// Ports that no connection takes for its own end of it: below what the kernel hands out.
struct Ports(AtomicU16);

impl Ports {
    fn new(seed: u64) -> Self {
        Self(AtomicU16::new((seed % 8000) as u16))
    }

    fn free(&self) -> Outcome<String> {
        (0..1000)
            .map(|_| format!("127.0.0.1:{}", 20_000 + self.0.fetch_add(1, Ordering::Relaxed) % 10_000))
            .find(|address| std::net::TcpListener::bind(address).is_ok())
            .ok_or_else(|| "no port is free".into())
    }
}

fn setup(data: &Path, ports: &Ports) -> Outcome<Setup> {
    let mut setup = Setup::new(data)?;
    (setup.listen, setup.admin) = (ports.free()?, ports.free()?);
    Ok(setup)
}

/// A silo's folder.
fn silo(setup: &Setup, name: &str) -> PathBuf {
    setup.data.join(name)
}

/// An object as it was acknowledged.
struct Object {
    key: String,
    payload: Payload,
    etag: String,
    modified: String,
}

impl Object {
    async fn put(client: &mut Client, number: u64, len: u64) -> Outcome<Self> {
        let key = format!("k{number:02}");
        let payload = Payload::new(&key, number, len);
        let etag = if len > PART {
            let upload = client.initiate(BUCKET, &key, &[]).await?;
            let mut parts = Vec::new();
            for part in 0..len.div_ceil(PART) {
                let body = Body::part(payload, part * PART, PART);
                parts.push(client.part(BUCKET, &key, &upload, part as u32 + 1, body).await?);
            }
            client.complete(BUCKET, &key, &upload, &parts).await?
        } else {
            client.put(BUCKET, &key, &[], Body::made(payload)).await?
        };
        let headers = client.head(BUCKET, &key).await?;
        let modified =
            headers.get("last-modified").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        Ok(Self { key, payload, etag, modified })
    }

    async fn is_right(&self, client: &mut Client) -> Outcome<()> {
        let answer = client.get(BUCKET, &self.key, None).await.map_err(|error| format!("{}: {error}", self.key))?;
        let text =
            |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let (etag, modified) = (text("etag"), text("last-modified"));
        if (&etag, &modified) != (&self.etag, &self.modified) {
            return Err(format!("{} is {etag} of {modified}, not {} of {}", self.key, self.etag, self.modified).into());
        }
        self.payload.is(&collect(answer.into_body()).await?).map_err(|why| format!("{}: {why}", self.key).into())
    }
}

/// A data folder in which a scene can begin.
struct Stage {
    data: PathBuf,
    objects: Vec<Object>,
}

impl Stage {
    async fn set(scene: Scene, data: &Path, ports: &Ports) -> Outcome<Self> {
        let mut setup = setup(data, ports)?;
        let silos = "[silo.silo0]\nurl = \"file:silo0\"\n[silo.silo1]\nurl = \"file:silo1\"\n";
        // What is drained takes nothing, and clients put something at last.
        let to = if scene == Scene::Move { "\"silo0\", \"silo1\"" } else { "\"silo0\"" };
        setup.config = Some(format!("{NO_GRACE}[scrub]\nevery = \"0s\"\n{silos}[write]\nto = [{to}]\n"));
        let gateway = setup.start().await?;
        let mut client = Client::new(&setup.endpoint());
        client.create_bucket(BUCKET).await?;
        let mut objects = Vec::new();
        // Of packs, of their own, and in parts.
        for (number, len) in [900, 20 << 10, 60 << 10, 90 << 10, 300 << 10, 700 << 10, PART + 5000].iter().enumerate() {
            objects.push(Object::put(&mut client, number as u64, *len).await?);
        }
        let table = Table { holdall: setup.command(), setup: &setup };
        table.prepare(scene).await?;
        gateway.stop().await?;
        if scene == Scene::Repair {
            harm::garble(&silo(&setup, "silo0"))?;
        }
        Ok(Self { data: data.to_owned(), objects })
    }

    /// Dies at the point, begins again, and comes to the end.
    async fn play(&self, case: Case, folder: &Path, ports: &Ports, mut random: Random) -> Outcome<()> {
        let mut setup = setup(&folder.join("data"), ports)?;
        harm::copy(&self.data, &setup.data)?;
        // What was declared stays; what is changed from here on must not come back.
        setup.config = Some(format!("{NO_GRACE}[scrub]\nevery = \"0s\"\n"));
        let at = 1 + random.below(passes(case.point));
        setup.env = vec![
            ("HOLDALL_FAILPOINT".to_owned(), format!("{}:{at}", case.point)),
            ("HOLDALL_FAILPOINT_CALL".to_owned(), case.call.env().to_owned()),
        ];
        let late = die(case, &setup).await?;
        setup.env.clear();
        let gateway = setup.start().await?;
        let table = Table { holdall: setup.command(), setup: &setup };
        let ended = tokio::time::timeout(2 * ENDS, table.finish(case.scene)).await;
        ended.map_err(|_| format!("the work is not over after {:?}", 2 * ENDS))??;
        settle::sweep(&table.holdall).await?;
        settle::check_deep(&table.holdall).await?;
        self.is_right(&setup.endpoint(), &late).await?;
        gateway.stop().await?;
        harm::wipe(folder)
    }

    /// All that was acknowledged, and nothing else but what may have been.
    async fn is_right(&self, endpoint: &Endpoint, late: &Late) -> Outcome<()> {
        let mut client = Client::new(endpoint);
        for object in &self.objects {
            object.is_right(&mut client).await?;
        }
        let listed = client.list_all(BUCKET, "k").await?.len();
        if listed != self.objects.len() {
            return Err(format!("{listed} objects are listed, not {}", self.objects.len()).into());
        }
        for (key, acknowledged) in late {
            match client.get(BUCKET, key, None).await {
                Ok(answer) => late_payload(key).is(&collect(answer.into_body()).await?)?,
                Err(error) if error.status() == Some(StatusCode::NOT_FOUND) && !acknowledged => {}
                Err(error) => return Err(format!("{key}, acknowledged {acknowledged}: {error}").into()),
            }
        }
        Ok(())
    }
}

/// Keys that were put at last, and whether that was acknowledged.
type Late = BTreeMap<String, bool>;

fn late_payload(key: &str) -> Payload {
    Payload::new(key, 0, 100 << 10)
}

/// Orders what the scene is about, and goes on until the gateway dies.
async fn die(case: Case, setup: &Setup) -> Outcome<Late> {
    let mut late = Late::new();
    let (mut gateway, holdall) = (setup.launch()?, setup.command());
    let died_at_once = match gateway.ready().await {
        Err(failure) if !gateway.was_killed() => return Err(failure),
        outcome => outcome.is_err(),
    };
    let watch = Stopwatch::start();
    let mut client = Client::new(&setup.endpoint());
    if !died_at_once {
        let work = async {
            // It may die of any of these: whatever they answer, it goes on.
            let _ = holdall.run(case.scene.order()).await;
            loop {
                let _ = holdall.run(&["sweep", "--now"]).await;
                if watch.over(ALONE) {
                    let key = format!("{LATE}{}", late.len());
                    late.insert(key.clone(), false);
                    let done = client.put(BUCKET, &key, &[], Body::made(late_payload(&key))).await;
                    late.insert(key, done.is_ok());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            _ = gateway.ended(REACHED) => {}
            () = work => {}
        }
    }
    let said = std::fs::read_to_string(setup.log())?;
    let hits = said.matches("a call is hit").count();
    let expected = match case.call {
        Call::NotBegun => 0,
        Call::Undone | Call::Done => 1,
        Call::UndoneUnknown | Call::DoneUnknown => 2,
    };
    if !gateway.was_killed() {
        let at =
            if said.contains("killed at a failpoint") { "no call of a silo came after it" } else { "never reached" };
        gateway.kill().await?;
        return Err(format!("{at}\n{}", tail(&said)).into());
    }
    if !said.contains("killed at a failpoint") || hits != expected {
        return Err(format!("it died of something else, {hits} calls hit:\n{}", tail(&said)).into());
    }
    Ok(late)
}

fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
