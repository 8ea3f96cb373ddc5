//! A tree that S3 and others write to at once, while the gateway is killed at every step of what it does there.
//!
//! At rest the tree and the bucket are the same, the last writer to reach the tree has the name, nothing that others wrote
//! unseen is lost, and nothing is left of attempts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use holdall_conformance::client::{Call, CallError, Client};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use holdall_conformance::wire::{Body, collect};
use holdall_conformance::{Outcome, rig, say, settle};
use http::{Method, StatusCode};

#[path = "../../../namespace/tests/project/story.rs"]
mod story;
use story::{By, Dice, Story, files};

const BUCKET: &str = "shared";
/// Steps of an attempt after which the gateway kills itself; `holdall_namespace::failpoint::FAILPOINTS` is the list.
const FAILPOINTS: [&str; 6] = [
    "projection-staged",
    "projection-intended",
    "projection-done",
    "projection-looked",
    "projection-committed",
    TAKEN_OVER,
];
/// Of these, the one that only somebody passes who goes on with another's attempt.
const TAKEN_OVER: &str = "projection-taken-over";
/// A round that no failpoint ends is over after this long.
const ROUND: Duration = Duration::from_secs(20);
/// How long the tree may take to come to rest.
const REST: Duration = Duration::from_mins(1);

#[derive(Parser)]
#[command(about)]
struct Options {
    /// Kills.
    #[arg(long, default_value_t = 21)]
    kills: u64,
    /// Names that everybody writes to.
    #[arg(long, default_value_t = 24)]
    names: u64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("readwrite", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

/// What was done.
#[derive(Default)]
struct Did {
    s3: u64,
    others: u64,
    unknown: u64,
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let tree = folder.join("nas");
    std::fs::create_dir_all(&tree)?;
    std::fs::write(tree.join("anchor"), "stays")?;
    let mut setup = Setup::new(&folder.join("data"))?;
    let copy = folder.join("copy");
    std::fs::create_dir_all(&copy)?;
    let shared = |name: &str, path: &Path| {
        format!("[silo.{name}]\nurl = \"file://{}\"\naccess = \"read-write\"\n", path.display())
    };
    let nas = format!("{}{}", shared("nas", &tree), shared("copy", &copy));
    setup.config = Some(format!("{NO_GRACE}[silo.hot]\nurl = \"file:hot\"\n[write]\nto = [\"hot\"]\n{nas}"));
    let mut gateway = setup.start().await?;
    Client::new(&setup.endpoint()).create_bucket(BUCKET).await?;
    let into = format!("s3://{BUCKET}/");
    setup.command().json(&["assimilate", "nas", "--into", &into, "--read-write", "--every", "2s"]).await?;

    let (mut dice, mut story, mut did) = (Dice::new(seed), Story::default(), Did::default());
    let mut hit: BTreeMap<&str, u64> = BTreeMap::new();
    for kill in 0..options.kills {
        // Every seventh dies at random.
        let point = FAILPOINTS.get((kill % 7) as usize).copied();
        if let Some(point) = point {
            gateway.stop().await?;
            if point == TAKEN_OVER {
                // Somebody must have left an attempt behind.
                gateway = armed(&mut setup, "projection-done", 1 + dice.roll(6)).await?;
                write(options, &tree, &mut gateway, &mut dice, &mut story, &mut did).await?;
                gateway = armed(&mut setup, point, 1).await?;
            } else {
                gateway = armed(&mut setup, point, 1 + dice.roll(12)).await?;
            }
        }
        if write(options, &tree, &mut gateway, &mut dice, &mut story, &mut did).await? {
            *hit.entry(point.unwrap_or("by itself")).or_default() += 1;
        } else {
            gateway.kill().await?;
        }
        setup.env.clear();
        gateway = setup.start().await?;
    }
    let watch = Stopwatch::start();
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        match at_rest(&setup, &tree, &story).await {
            Ok(()) => break,
            Err(wrong) if watch.over(REST) => return Err(format!("{wrong}\n{}", gateway.log_tail()).into()),
            Err(_) => {}
        }
    }
    if let Some(broken) = story.breaks(&files(&tree)) {
        return Err(broken.into());
    }
    let kept = setup.command().json(&["assimilate", "conflicts", "1"]).await?;
    settle::sweep(&setup.command()).await?;
    settle::check_deep(&setup.command()).await?;
    // What is exported is the same, and no more than that.
    let command = setup.command();
    command.run(&["assimilate", "forget", "1"]).await?;
    command.run(&["export", &into, "copy"]).await?;
    if files(&copy) != files(&tree) {
        return Err(format!("exported {:?}, not {:?}", files(&copy), files(&tree)).into());
    }
    gateway.stop().await?;
    conclude(options, &did, &hit, kept.as_array().map_or(0, Vec::len))
}

/// Starts a gateway that kills itself when it passes a point for the `at`-th time, which may be before it is ready.
async fn armed(setup: &mut Setup, point: &str, at: u64) -> Outcome<Gateway> {
    setup.env = vec![("HOLDALL_FAILPOINT".to_owned(), format!("{point}:{at}"))];
    let mut gateway = setup.launch()?;
    match gateway.ready().await {
        Err(failure) if !gateway.was_killed() => Err(failure),
        _ => Ok(gateway),
    }
}

fn conclude(options: &Options, did: &Did, hit: &BTreeMap<&str, u64>, kept: usize) -> Outcome<String> {
    say::progress(format!("hit {hit:?}"));
    if hit.contains_key("by itself") {
        return Err("the gateway ended by itself".into());
    }
    let missed: Vec<_> = FAILPOINTS.iter().filter(|point| !hit.contains_key(*point)).collect();
    if !missed.is_empty() {
        return Err(format!("failpoints never hit: {missed:?}").into());
    }
    let Did { s3, others, unknown } = did;
    Ok(format!(
        "{} kills, {} at steps of an attempt; {s3} writes of S3 ({unknown} of unknown outcome) and {others} of others: tree and \
         bucket equal at the end, and what is exported, 0 lost, {kept} files of others kept beside",
        options.kills,
        hit.values().sum::<u64>()
    ))
}

/// S3 and others write until the gateway ends, or for a while; whether it ended.
async fn write(
    options: &Options,
    tree: &Path,
    gateway: &mut Gateway,
    dice: &mut Dice,
    story: &mut Story,
    did: &mut Did,
) -> Outcome<bool> {
    let (watch, mut client) = (Stopwatch::start(), Client::new(&gateway.setup.endpoint()));
    let least = 40 + dice.roll(60);
    for act in 0.. {
        if gateway.ended(Duration::ZERO).await.is_some() {
            return Ok(true);
        }
        let armed = !gateway.setup.env.is_empty();
        if watch.over(ROUND) || (!armed && act >= least) {
            return Ok(false);
        }
        let number = dice.roll(options.names);
        let name = if number.is_multiple_of(3) { format!("n{number}") } else { format!("d{}/n{number}", number % 3) };
        if dice.roll(2) == 0 {
            story.others_act(tree, dice, &name)?;
            did.others += 1;
        } else {
            let delete = dice.roll(4) == 0;
            s3_acts(&mut client, story, did, &name, delete).await?;
        }
        tokio::time::sleep(Duration::from_millis([0, 0, 2, 10, 30][dice.roll(5) as usize])).await;
    }
    Ok(false)
}

/// S3 replaces or deletes what it has just read, or makes what was not there.
async fn s3_acts(client: &mut Client, story: &mut Story, did: &mut Did, name: &str, delete: bool) -> Outcome<()> {
    // A file that others change at this moment, or a gateway that is gone.
    let Ok(before) = read(client, name).await else { return Ok(()) };
    let headers = match &before {
        Some((_, tag)) => [("if-match", tag.as_str())],
        None if delete => return Ok(()),
        None => [("if-none-match", "*")],
    };
    let content = if delete { None } else { Some(story.content(By::S3, name)) };
    let (method, body) = match &content {
        Some(content) => (Method::PUT, Body::Whole(content.clone().into())),
        None => (Method::DELETE, Body::Empty),
    };
    let call = Call { method, path: format!("/{BUCKET}/{name}"), query: &[], headers: &headers, body };
    let outcome = client.fetch(call).await;
    let before = before.map(|(text, _)| text);
    did.s3 += 1;
    match (outcome, content) {
        (Ok((headers, _)), Some(content)) => {
            let tag = headers.get("etag").and_then(|tag| tag.to_str().ok()).ok_or("a PUT without an ETag")?.to_owned();
            story.s3_did(name, Some((content, tag)), before);
        }
        (Ok(_), None) => story.s3_did(name, None, before),
        (Err(error), content) if error.surely_not_done() => {
            if let Some(content) = content {
                story.written.remove(&content);
            }
        }
        (Err(_), _) => {
            did.unknown += 1;
            story.s3_may_have(name, before);
        }
    }
    Ok(())
}

/// What a key has, and what it is known by.
async fn read(client: &mut Client, name: &str) -> Result<Option<(String, String)>, CallError> {
    let answer = match client.get(BUCKET, name, None).await {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => return Ok(None),
        Err(error) => return Err(error),
    };
    let tag = answer.headers().get("etag").and_then(|tag| tag.to_str().ok()).unwrap_or_default().to_owned();
    let body: Bytes = collect(answer.into_body()).await?;
    Ok(Some((String::from_utf8_lossy(&body).into_owned(), tag)))
}

/// Whether tree and bucket are the same, and nothing is left to do.
async fn at_rest(setup: &Setup, tree: &Path, story: &Story) -> Result<(), String> {
    let (mut client, there) = (Client::new(&setup.endpoint()), files(tree));
    let listed = client.list_all(BUCKET, "").await.map_err(|error| error.to_string())?;
    let mut objects = BTreeMap::new();
    for object in listed {
        let Some((text, tag)) = read(&mut client, &object.key).await.map_err(|error| error.to_string())? else {
            return Err(format!("`{}` is listed and cannot be read", object.key));
        };
        if let Some(told) = story.tags.get(&text).filter(|told| **told != tag) {
            return Err(format!("`{}` is {text}, whose ETag was {told} and is {tag}", object.key));
        }
        objects.insert(object.key, text);
    }
    if there != objects {
        return Err(format!("the tree has {there:?}\nand the bucket {objects:?}"));
    }
    // Below the namespace's own folder.
    let namespaces = std::fs::read_dir(tree.join(".holdall")).into_iter().flatten().flatten();
    let left = namespaces.flat_map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten()).count();
    if left > 0 { Err(format!("{left} attempts are left")) } else { Ok(()) }
}
