//! A silo is replaced while clients with retries off use it, again and again: committed, rolled back, and with the new one failing
//! halfway.
//!
//! It fails on one failed request, one lost write, one wrong byte, on whatever `holdall check --deep` finds at the end of a round,
//! on a switch that does not come to its end, and when too little met it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use holdall_conformance::client::{Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::command::Holdall;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::load::{Load, verdict};
use holdall_conformance::process::{self, Stopped};
use holdall_conformance::random::Random;
use holdall_conformance::workload::{Actor, PART, Sizes, World};
use holdall_conformance::{Outcome, harm, rig, say, settle};
use serde_json::Value;

/// The new silo has all that is older than this: the rest is what clients write at this moment.
const LAG: u64 = 3000;
/// How long clients rest after each request: what they write is less than copies may take, on fast machines as well.
const REST: Duration = Duration::from_millis(80);
/// It has it within this, be it that it comes back first.
const FOLLOWS: Duration = Duration::from_mins(2);
/// No order takes longer.
const ENDS: Duration = Duration::from_mins(2);
/// How long clients go on without a silo: one that stands still is found out within eight seconds.
const AWAY: Duration = Duration::from_secs(2);
const HANGS: Duration = Duration::from_secs(10);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Objects.
    #[arg(long, default_value_t = 250)]
    objects: usize,
    /// The largest, bytes.
    #[arg(long, default_value_t = 8 << 20)]
    max_size: u64,
    /// Clients.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// How often all ways are gone through.
    #[arg(long, default_value_t = 1)]
    times: u64,
    /// What takes the old folder's place.
    #[arg(long, value_enum, default_value_t = New::Folder)]
    new: New,
    /// Bytes a second that copies may take: a silo that fails halfway must be met halfway.
    #[arg(long, default_value = "48MiB")]
    rate: String,
    /// Requests that each round must have met at least, and a fifth as many writes.
    #[arg(long, default_value_t = 150)]
    acts: u64,
    /// A second gateway over the same index serves every other client.
    #[arg(long)]
    beside: bool,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum New {
    Folder,
    /// A bucket of another Holdall; the round after, that is replaced by a folder.
    S3,
}

/// How a silo fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Its folder is somewhere else. Who has it open may write on, and nobody else finds it.
    Vanishes,
    /// Its folder is deleted.
    Wiped,
    /// A file is where its folder was.
    Blocked,
    /// It takes nothing more.
    Full,
    /// Its bytes are other ones.
    Garbled,
    /// Its server stands still.
    Hangs,
    /// Its server is killed.
    Dies,
}

/// What becomes of a switch whose new silo failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It is rolled back, and the silo comes back later.
    RolledBack,
    /// It is rolled back, and the silo never comes back.
    Lost,
    /// The silo comes back, and the switch goes on.
    Committed,
}

/// One switch.
#[derive(Debug, Clone, Copy)]
enum Round {
    Commit,
    /// At any time; then the new silo fails, which nobody may notice.
    RollBack(Way),
    Fail(Way, End),
}

const FOLDERS: &[Round] = &[
    Round::RollBack(Way::Vanishes),
    Round::Fail(Way::Wiped, End::Lost),
    Round::Fail(Way::Vanishes, End::RolledBack),
    Round::Commit,
    Round::Fail(Way::Garbled, End::RolledBack),
    Round::Fail(Way::Blocked, End::Committed),
    Round::Fail(Way::Full, End::RolledBack),
];
/// Where the new silo fails, the old one is a folder.
const BUCKETS: &[Round] = &[
    Round::RollBack(Way::Dies),
    Round::Fail(Way::Hangs, End::RolledBack),
    Round::Fail(Way::Dies, End::Lost),
    Round::Fail(Way::Hangs, End::Committed),
    Round::Commit,
];

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("switch", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// A silo of the run.
#[derive(Clone)]
struct Silo {
    name: String,
    /// None of a bucket.
    folder: Option<PathBuf>,
}

/// A silo that failed.
enum Failed {
    Away(PathBuf),
    Full,
    Garbled,
    Wiped,
    Still(Box<Gateway>, Stopped),
    Dead(Box<Setup>),
}

/// Where its folder went.
fn aside(folder: &Path) -> PathBuf {
    folder.with_extension("aside")
}

struct Run<'a> {
    options: &'a Options,
    folder: PathBuf,
    gateway: Gateway,
    beside: Option<Gateway>,
    /// The server of buckets; none while it is away.
    behind: Option<Gateway>,
    world: Arc<World>,
    random: Random,
    old: Silo,
    silos: u32,
}

/// How far a switch came.
struct Status {
    done: u64,
    rest: u64,
    lag: u64,
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let mut run = Run::start(options, seed, folder).await?;
    let rounds = if options.new == New::Folder { FOLDERS } else { BUCKETS };
    let watch = Stopwatch::start();
    for (number, round) in rounds.iter().cycle().take(rounds.len() * options.times as usize).enumerate() {
        let (begun, before) = (Stopwatch::start(), run.acts());
        run.round(*round).await.map_err(|failure| format!("round {number}, {round:?}: {failure}"))?;
        let after = run.acts();
        say::progress(format!(
            "round {number}, {round:?}: {} requests, {} writes of them, in {:.1?}",
            after.0 - before.0,
            after.1 - before.1,
            begun.elapsed()
        ));
    }
    let (requests, writes) = run.acts();
    let count = rounds.len() as u64 * options.times;
    let commits = rounds.iter().filter(|round| matches!(round, Round::Commit | Round::Fail(_, End::Committed))).count();
    let commits = commits as u64 * options.times;
    let fails = rounds.iter().filter(|round| matches!(round, Round::Fail(..))).count() as u64 * options.times;
    run.stop().await?;
    Ok(format!(
        "{count} switches in {:.0?}: {commits} committed, {} rolled back, {fails} with a new silo that failed halfway; {requests} requests, \
         {writes} writes of them, 0 failed, 0 lost writes, 0 wrong bytes; check --deep clean {count} times",
        watch.elapsed(),
        count - commits
    ))
}

impl<'a> Run<'a> {
    async fn start(options: &'a Options, seed: u64, folder: PathBuf) -> Outcome<Self> {
        let mut setup = Setup::new(&folder.join("data"))?;
        let declared = "[silo.silo0]\nurl = \"file:silo0\"\n[write]\nto = [\"silo0\"]\n";
        setup.config = Some(format!("{NO_GRACE}[align]\nrate = \"{}\"\n{declared}", options.rate));
        let mut behind = None;
        if options.new == New::S3 {
            let mut other = Setup::new(&folder.join("behind"))?;
            other.config = Some(NO_GRACE.to_owned());
            setup.env.push(("NEW_KEY".to_owned(), other.access_key_id.clone()));
            setup.env.push(("NEW_SECRET".to_owned(), other.secret_access_key.clone()));
            behind = Some(other.start().await?);
        }
        if options.beside {
            setup.share_index();
        }
        let gateway = setup.start().await?;
        let beside = if options.beside { Some(setup.beside(&folder.join("beside"))?.start().await?) } else { None };
        Client::new(&setup.endpoint()).create_bucket("switched").await?;
        let world = Arc::new(World::new("switched", options.objects, Sizes { max: options.max_size }));
        let old = Silo { name: "silo0".to_owned(), folder: Some(setup.data.join("silo0")) };
        let random = Random::new(seed, 0);
        let mut run = Self { options, folder, gateway, beside, behind, world, random, old, silos: 0 };
        run.fill().await?;
        Ok(run)
    }

    async fn stop(self) -> Outcome<()> {
        for gateway in [Some(self.gateway), self.beside, self.behind].into_iter().flatten() {
            gateway.stop().await?;
        }
        Ok(())
    }

    /// Every key once, some of them in parts.
    async fn fill(&mut self) -> Outcome<()> {
        let mut actor =
            Actor::new(&self.world, &self.gateway.setup.endpoint(), Random::new(self.random.below(1 << 40), 1));
        for (number, key) in self.world.keys.clone().iter().enumerate() {
            let len = self.world.sizes.draw(&mut self.random);
            if number % 50 == 0 {
                actor.multipart(key, PART + len, PART).await;
            } else {
                actor.put(key, len).await;
            }
        }
        verdict(&self.world, "while it was filled")
    }

    fn holdall(&self) -> Holdall {
        self.gateway.setup.command()
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        [Some(&self.gateway), self.beside.as_ref()].into_iter().flatten().map(|one| one.setup.endpoint()).collect()
    }

    /// Requests so far, and writes of them.
    fn acts(&self) -> (u64, u64) {
        (self.world.counts().values().sum(), self.world.acknowledged.load(Ordering::Relaxed))
    }

    /// An order of somebody at a terminal; anything but success is the error.
    async fn order(&self, args: &[&str]) -> Outcome<Value> {
        match tokio::time::timeout(ENDS, self.holdall().json(args)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("`holdall {}` is not done after {ENDS:?}", args.join(" ")).into()),
        }
    }

    /// One that says nothing when it is done.
    async fn tell(&self, args: &[&str]) -> Outcome<()> {
        let said = self.holdall().run(args).await?;
        if said.code == 0 {
            Ok(())
        } else {
            Err(format!("`holdall {}`: {}{}", args.join(" "), said.out, said.err).into())
        }
    }

    async fn round(&mut self, round: Round) -> Outcome<()> {
        let (before, new) = (self.acts(), self.create().await?);
        let seed = self.random.below(1 << 40);
        let load = Load::of_clients(&self.world, &self.endpoints(), self.options.clients, seed, REST);
        self.order(&["switch", "start", &self.old.name, &new.name]).await?;
        match round {
            Round::Commit => self.commit(new, load).await?,
            Round::RollBack(way) => {
                let copying = Duration::from_millis(self.random.below(4000));
                tokio::time::sleep(copying).await;
                self.roll_back().await?;
                let failed = self.fail(&new, way).await?;
                tokio::time::sleep(AWAY).await;
                self.at_rest(load).await?;
                self.come_back(&new, failed).await?;
                self.take_out(&new).await?;
            }
            Round::Fail(way, end) => self.fail_halfway(new, way, end, load).await?,
        }
        let after = self.acts();
        // What is read to compare all is not what met the switch.
        let met = (after.0 - before.0).saturating_sub(self.options.objects as u64);
        if met < self.options.acts || after.1 - before.1 < self.options.acts / 5 {
            return Err(format!("only {met} requests and {} writes met the switch", after.1 - before.1).into());
        }
        settle::sweep(&self.holdall()).await?;
        settle::check_deep(&self.holdall()).await?;
        Ok(())
    }

    async fn fail_halfway(&mut self, new: Silo, way: Way, end: End, load: Load) -> Outcome<()> {
        let halfway = self.halfway().await?;
        let failed = self.fail(&new, way).await?;
        tokio::time::sleep(if way == Way::Hangs { HANGS } else { AWAY }).await;
        if way != Way::Garbled {
            let stuck = self.status().await?;
            say::progress(format!(
                "{way:?} at {} of {} extents; {} left and {} ms behind then",
                halfway.done,
                halfway.done + halfway.rest,
                stuck.rest,
                stuck.lag
            ));
            self.is_refused(&["switch", "commit", &self.old.name, "--detach"]).await?;
        }
        if end == End::Committed {
            self.come_back(&new, failed).await?;
            self.is_seen(&new).await?;
            return self.commit(new, load).await;
        }
        self.roll_back().await?;
        tokio::time::sleep(AWAY).await;
        self.at_rest(load).await?;
        if end == End::Lost {
            self.lose(&new).await?;
            return self.come_back(&new, failed).await;
        }
        self.come_back(&new, failed).await?;
        self.take_out(&new).await
    }

    /// The new silo has all, takes the old one's place, and that is taken away.
    async fn commit(&mut self, new: Silo, load: Load) -> Outcome<()> {
        let watch = Stopwatch::start();
        self.followed().await?;
        let job = self.order(&["switch", "commit", &self.old.name]).await?;
        if job.get("state").and_then(Value::as_str) != Some("empty") {
            return Err(format!("the commit ended in {job}").into());
        }
        self.tell(&["silo", "delete", &self.old.name]).await?;
        say::progress(format!("{} took the place of {} in {:.1?}", new.name, self.old.name, watch.elapsed()));
        if let Some(folder) = &self.old.folder {
            let left = settle::files(folder);
            if left > 0 {
                return Err(format!("{left} files are left in {}", folder.display()).into());
            }
            std::fs::remove_dir_all(folder)?;
        }
        self.old = new;
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.at_rest(load).await
    }

    /// Nothing that an object is made of is left on the new silo.
    async fn roll_back(&self) -> Outcome<()> {
        let job = self.order(&["switch", "rollback", &self.old.name]).await?;
        if job.get("state").and_then(Value::as_str) != Some("done") {
            return Err(format!("the rollback ended in {job}").into());
        }
        Ok(())
    }

    /// Clients end, and every object is what it should be.
    async fn at_rest(&self, load: Load) -> Outcome<()> {
        load.stop().await?;
        for endpoint in &self.endpoints() {
            settle::read_all(&self.world, endpoint, self.world.keys.clone()).await?;
        }
        verdict(&self.world, "at rest")
    }

    /// It never comes back: it goes without anybody asking it.
    async fn lose(&self, silo: &Silo) -> Outcome<()> {
        let told = self.order(&["silo", "lost", &silo.name, "--force"]).await?;
        let job = told.as_array().and_then(|lines| lines.last()?.pointer("/job/id")?.as_u64());
        let job = job.ok_or_else(|| format!("no job in {told}"))?;
        self.order(&["job", "watch", &job.to_string()]).await?;
        settle::sweep(&self.holdall()).await?;
        self.tell(&["silo", "delete", &silo.name]).await
    }

    /// Waits until it is known that a silo is back.
    async fn is_seen(&self, silo: &Silo) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let silos = self.order(&["silo", "list"]).await?;
            let found = silos.as_array().into_iter().flatten().find(|found| found["name"] == silo.name.as_str());
            if found.is_some_and(|found| found["health"] == "up") {
                return Ok(());
            }
            if watch.over(FOLLOWS) {
                return Err(format!("`{}` is back and not used after {FOLLOWS:?}", silo.name).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn take_out(&self, silo: &Silo) -> Outcome<()> {
        self.tell(&["silo", "cordon", &silo.name]).await?;
        settle::sweep(&self.holdall()).await?;
        self.tell(&["silo", "delete", &silo.name]).await
    }

    async fn is_refused(&self, args: &[&str]) -> Outcome<()> {
        let said = self.holdall().run(args).await?;
        if said.code == 0 {
            Err(format!("`holdall {}` is not refused: {}", args.join(" "), said.out).into())
        } else {
            Ok(())
        }
    }

    async fn create(&mut self) -> Outcome<Silo> {
        self.silos += 1;
        let name = format!("silo{}", self.silos);
        match &self.behind {
            Some(behind) if self.old.folder.is_some() => {
                Client::new(&behind.setup.endpoint()).create_bucket(&name).await?;
                let url = format!("s3://{name}?endpoint=http://{}&region=us-east-1", behind.setup.listen);
                let keys = ["--access-key-id-env", "NEW_KEY", "--secret-access-key-env", "NEW_SECRET"];
                self.tell(&[&["silo", "create", &name, &url][..], &keys].concat()).await?;
                Ok(Silo { name, folder: None })
            }
            _ => {
                let folder = self.folder.join(&name);
                std::fs::create_dir(&folder)?;
                self.tell(&["silo", "create", &name, &format!("file://{}", folder.display())]).await?;
                Ok(Silo { name, folder: Some(folder) })
            }
        }
    }

    async fn status(&self) -> Outcome<Status> {
        let all = self.order(&["switch", "status"]).await?;
        let number = |at: &str| all.pointer(at).and_then(Value::as_u64).ok_or_else(|| format!("no {at} in {all}"));
        Ok(Status { done: number("/0/done/extents")?, rest: number("/0/rest/extents")?, lag: number("/0/lag_ms")? })
    }

    /// Waits until the new silo has all but what is written at this moment.
    async fn followed(&self) -> Outcome<()> {
        let watch = Stopwatch::start();
        loop {
            let Status { done, rest, lag } = self.status().await?;
            if done > 0 && (rest == 0 || lag < LAG) {
                return Ok(());
            }
            if watch.over(FOLLOWS) {
                return Err(format!("{rest} extents are not on the new silo after {FOLLOWS:?}, {lag} ms behind").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the new silo has some part of all.
    async fn halfway(&mut self) -> Outcome<Status> {
        let (watch, share) = (Stopwatch::start(), 10 + self.random.below(50));
        loop {
            let status = self.status().await?;
            if status.done > 0 && status.rest == 0 {
                return Err("the new silo had everything before it could fail".into());
            }
            if status.done * 100 >= (status.done + status.rest) * share {
                return Ok(status);
            }
            if watch.over(FOLLOWS) {
                return Err(format!("the new silo has only {} extents after {FOLLOWS:?}", status.done).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn fail(&mut self, silo: &Silo, way: Way) -> Outcome<Failed> {
        match (way, &silo.folder) {
            (Way::Vanishes | Way::Blocked, Some(folder)) => {
                std::fs::rename(folder, aside(folder))?;
                if way == Way::Blocked {
                    std::fs::write(folder, "in the way")?;
                }
                Ok(Failed::Away(folder.clone()))
            }
            (Way::Wiped, Some(folder)) => {
                harm::wipe(folder)?;
                Ok(Failed::Wiped)
            }
            (Way::Full, Some(_)) => {
                self.tell(&["silo", "set", &silo.name, "--reserve", "90%"]).await?;
                Ok(Failed::Full)
            }
            (Way::Garbled, Some(folder)) => harm::garble(folder).map(|()| Failed::Garbled),
            (Way::Hangs | Way::Dies, None) => {
                let behind = self.behind.take().ok_or("there is no server of buckets")?;
                if way == Way::Hangs {
                    let stopped = process::stop(behind.pid())?;
                    return Ok(Failed::Still(Box::new(behind), stopped));
                }
                let setup = behind.setup.clone();
                behind.kill().await?;
                Ok(Failed::Dead(Box::new(setup)))
            }
            _ => Err(format!("{way:?} is not for such a silo").into()),
        }
    }

    async fn come_back(&mut self, silo: &Silo, failed: Failed) -> Outcome<()> {
        match failed {
            Failed::Away(folder) => {
                if folder.is_file() {
                    std::fs::remove_file(&folder)?;
                }
                // Nobody made another folder in its place: that fails here.
                std::fs::rename(aside(&folder), &folder)?;
            }
            Failed::Full => self.tell(&["silo", "set", &silo.name, "--reserve", "0%"]).await?,
            Failed::Garbled | Failed::Wiped => return Ok(()),
            Failed::Still(behind, stopped) => {
                drop(stopped);
                self.behind = Some(*behind);
            }
            Failed::Dead(setup) => self.behind = Some(setup.start().await?),
        }
        say::progress(format!("{} is back", silo.name));
        Ok(())
    }
}
