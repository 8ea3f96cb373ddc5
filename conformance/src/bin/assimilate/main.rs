//! A folder of others is taken over, followed while they change it, and moved away from: metadata alone, never half a list,
//! never a mixture, and not a byte of it touched. Then a bucket of others, with headers and metadata.
//!
//! It fails where a promise is not kept: a file that is not served as it lies there, a list that lacks one, an answer that is
//! no version of its file, an `ETag` that stood for two, a name that differs in the end, a tree that is not as it was.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::client::{CallError, Client, Endpoint};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::process::peak_resident;
use holdall_conformance::random::Random;
use holdall_conformance::{Outcome, rclone, rig, say};
use http::StatusCode;
use rustix::process::Signal;

mod bucket;
mod churn;
mod told;
mod tree;

use churn::{churn, get};
use tree::{Tree, some, version_of};

const BUCKET: &str = "taken";
const INTO: &str = "from/nas/";
/// What others do is seen after at most so long: a pass each second, and the time of two.
const SEEN: Duration = Duration::from_mins(2);
/// A file that was asked for right after the command is there within this.
const AT_ONCE: Duration = Duration::from_secs(2);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Files, twenty in each folder.
    #[arg(long, default_value_t = 5_000)]
    files: u64,
    /// Objects in a bucket of others.
    #[arg(long, default_value_t = 3_000)]
    objects: u64,
    /// Seconds of churn.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Files read and compared after each step.
    #[arg(long, default_value_t = 300)]
    sample: u64,
    /// Only takes over, and tells how fast.
    #[arg(long)]
    only_first: bool,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("assimilate", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let tree = Tree { root: folder.join("nas") };
    std::fs::create_dir_all(&tree.root)?;
    tree.make(options.files)?;
    let (before, bare) = (tree.seen()?, find(&tree).await?);
    let mut house = House::start(&folder, tree, options, seed).await?;
    let first = house.take_over(&folder.join("copy")).await?;
    house.compare(Some(0)).await?;
    let mut line = format!(
        "{} files taken over at {:.0} a second, {:.1} times as long as find, the first GET after {} ms, peak {} MiB",
        options.files,
        options.files as f64 / first.took.as_secs_f64(),
        first.took.as_secs_f64() / bare.as_secs_f64(),
        first.get.as_millis(),
        peak_resident(house.gateway.pid()) >> 20,
    );
    if house.tree.seen()? != before {
        return Err("the tree is not as it was".into());
    }
    if !options.only_first {
        line += &house.churned().await?;
        line += &house.moved().await?;
    }
    house.gateway.stop().await?;
    if !options.only_first {
        line += &told::run(&folder).await?;
    }
    line += &bucket::run(&folder, options.objects, !options.only_first).await?;
    Ok(line)
}

/// How long `find` takes to look at every file.
async fn find(tree: &Tree) -> Outcome<Duration> {
    let watch = Stopwatch::start();
    let find = tokio::process::Command::new("find").arg(&tree.root).args(["-printf", "%s %T@ %i\n"]).output().await?;
    if !find.status.success() {
        return Err(format!("find failed: {}", String::from_utf8_lossy(&find.stderr)).into());
    }
    Ok(watch.elapsed())
}

/// All keys of the root, without its own prefix, in order. A list that is refused since it would be half is asked for again.
async fn list(client: &mut Client) -> Result<Vec<String>, CallError> {
    loop {
        match client.list_all(BUCKET, INTO).await {
            Ok(all) => {
                return Ok(all.iter().filter_map(|found| found.key.strip_prefix(INTO).map(str::to_owned)).collect());
            }
            Err(error) if error.status() == Some(StatusCode::SERVICE_UNAVAILABLE) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The first pass.
struct First {
    took: Duration,
    get: Duration,
}

struct House<'a> {
    options: &'a Options,
    tree: Tree,
    gateway: Gateway,
    endpoint: Endpoint,
    random: Random,
    seed: u64,
}

impl<'a> House<'a> {
    async fn start(folder: &Path, tree: Tree, options: &'a Options, seed: u64) -> Outcome<Self> {
        let mut setup = Setup::new(&folder.join("data"))?;
        let nas = format!("[silo.nas]\nurl = \"file://{}\"\naccess = \"read-only\"\n", tree.root.display());
        setup.config = Some(format!("{NO_GRACE}[silo.hot]\nurl = \"file:hot\"\n[write]\nto = [\"hot\"]\n{nas}"));
        let gateway = setup.start().await?;
        let endpoint = setup.endpoint();
        Client::new(&endpoint).create_bucket(BUCKET).await?;
        Ok(Self { options, tree, gateway, endpoint, random: Random::new(seed, 0), seed })
    }

    async fn status(&self) -> Outcome<serde_json::Value> {
        let status = self.gateway.setup.command().json(&["assimilate", "status"]).await?;
        Ok(status[0].clone())
    }

    /// Takes over, while a key is asked for, lists are, and a copy is synced; with a kill on the way.
    async fn take_over(&mut self, copy: &Path) -> Outcome<First> {
        if !self.options.only_first {
            self.tree.copy_to(copy)?;
        }
        let (watch, into) = (Stopwatch::start(), format!("s3://{BUCKET}/{INTO}"));
        let args = ["assimilate", "nas", "--into", into.as_str(), "--every", "1s", "--detach"];
        self.gateway.setup.command().json(&args).await?;
        let mut client = Client::new(&self.endpoint);
        let name = Tree::name(self.options.files - 1);
        let early = get(&mut client, &name).await?.ok_or("the first GET was refused")?;
        let first = watch.elapsed();
        if version_of(&name, &early.1) != Some(0) || first > AT_ONCE {
            return Err(format!("the first GET took {first:?}").into());
        }
        if !self.options.only_first {
            tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
            self.gateway.signal(Signal::KILL)?;
            self.gateway.ended(SEEN).await.ok_or("it survived a kill")?;
            let setup = self.gateway.setup.clone();
            self.gateway = setup.start().await?;
            self.synced(copy).await?;
        }
        // Complete, or refused: never half.
        let keys = list(&mut Client::new(&self.endpoint)).await?;
        if keys.len() as u64 != self.options.files {
            return Err(format!("a list has {} keys of {}", keys.len(), self.options.files).into());
        }
        while self.status().await?["complete"] != true {
            if watch.over(SEEN * 10) {
                return Err(format!("the first pass does not end: {}", self.status().await?).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(First { took: watch.elapsed(), get: first })
    }

    /// Whoever syncs a copy by what a list shows is shown all of it or refused, and deletes nothing.
    async fn synced(&self, copy: &Path) -> Outcome<()> {
        let complete = self.status().await?["complete"] == true;
        let (from, to) = (format!("s:{BUCKET}/{INTO}"), copy.display().to_string());
        let status = rclone::run(&self.gateway.setup, &["sync", &from, &to, "--size-only", "--retries", "1"]).await?;
        let left = Tree { root: copy.to_owned() }.names()?.len() as u64;
        if left != self.options.files {
            return Err(format!("rclone sync left {left} files of {}, with {status}", self.options.files).into());
        }
        let when = if complete { "after" } else { "in the middle of" };
        say::progress(format!("rclone sync, begun {when} the first pass, ends with {status} and deleted nothing"));
        Ok(())
    }

    /// What is served is what lies there: all names, and the bytes of some. `version`: of every file.
    async fn compare(&mut self, version: Option<u64>) -> Outcome<()> {
        let mut client = Client::new(&self.endpoint);
        let (keys, names) = (list(&mut client).await?, self.tree.names()?);
        if keys != names {
            let other = keys.iter().find(|key| names.binary_search(key).is_err());
            let lacks = names.iter().find(|name| keys.binary_search(name).is_err());
            return Err(
                format!("{} keys, {} files; {other:?} is no file, {lacks:?} no key", keys.len(), names.len()).into()
            );
        }
        for _ in 0..self.options.sample {
            let name = some(&mut self.random, self.options.files);
            if !self.tree.path(&name).exists() {
                continue;
            }
            let (_, bytes) = get(&mut client, &name).await?.ok_or_else(|| format!("{name} is refused"))?;
            let lies = std::fs::read(self.tree.path(&name))?;
            if bytes[..] != lies[..] || version.is_some_and(|version| version_of(&name, &bytes) != Some(version)) {
                return Err(format!("{name} is not served as it lies there").into());
            }
        }
        Ok(())
    }

    /// Two passes more: the first may have begun before.
    async fn passed(&self) -> Outcome<()> {
        let passes = |status: &serde_json::Value| status["passes"].as_u64().unwrap_or_default();
        let (before, watch) = (passes(&self.status().await?), Stopwatch::start());
        loop {
            let status = self.status().await?;
            if passes(&status) >= before + 2 {
                return Ok(());
            }
            if watch.over(SEEN) {
                return Err(format!("no pass ends: {status}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn churned(&mut self) -> Outcome<String> {
        use std::sync::atomic::Ordering::Relaxed;
        let time = Duration::from_secs(self.options.seconds);
        let seen = churn(&self.tree, &self.endpoint, self.options.files, time, self.seed).await?;
        if let Some(wrong) = seen.wrong().first() {
            return Err(format!("{} wrong answers, the first: {wrong}", seen.wrong().len()).into());
        }
        self.passed().await?;
        self.compare(None).await?;
        let (written, read) = (seen.written.load(Relaxed), seen.read.load(Relaxed));
        if written < 100 || read < 100 {
            return Err(format!("only {written} changes under {read} reads: the run shows too little").into());
        }
        let (ended, lists) = (seen.ended.load(Relaxed), seen.lists.load(Relaxed));
        Ok(format!(
            "; {written} changes under {read} reads and {lists} lists, {ended} ended, 0 mixed, equal at the end"
        ))
    }

    /// Moved away from, the files may go.
    async fn moved(&mut self) -> Outcome<String> {
        let before = self.tree.seen()?;
        let drained = self.gateway.setup.command().json(&["drain", "nas", "--to", "hot"]).await?;
        self.passed().await?;
        self.compare(None).await?;
        if self.tree.seen()? != before {
            return Err("the tree is not as it was".into());
        }
        say::progress(format!("drained: {drained}"));
        Ok(format!("; {} extents moved away, the tree untouched", drained["moved_objects"]))
    }
}
