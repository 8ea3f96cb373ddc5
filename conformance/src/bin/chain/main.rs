//! A move chain: objects of every shape go from silo to silo, through one of each kind, and back to the disk they were
//! written to. After each hop all that a client can see of them is read again.
//!
//! It fails where anything of that is not as it was at the beginning (bytes, `ETag`, Last-Modified, headers, metadata, tags,
//! checksums, parts), where a silo that was left holds anything, and where a deep check finds something in the end.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use holdall_conformance::client::Client;
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::{Outcome, rig, say, settle};

mod house;
mod objects;
mod shown;

/// A strict one that the silos' own tests run on: there is no emulator of what Google's service speaks.
#[path = "../../../../silos/tests/support/gcs.rs"]
#[expect(clippy::unwrap_used, reason = "a double fails with whoever runs on it")]
#[allow(dead_code, reason = "not all of it is wanted here")]
mod double;

use house::{HOME, House};
use objects::Written;
use shown::{Shown, changes, shown};

/// All that is written lies in it.
const BUCKET: &str = "chain";

#[derive(Parser)]
#[command(about)]
struct Options {
    /// More silos, declared in TOML; what their credentials name is in the environment.
    #[arg(long, value_name = "FILE")]
    declare: Option<PathBuf>,
    /// The silos to go through, in order; `other` (another Holdall) and `gs` (a double of Google's service) are always there.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "other,gs")]
    through: Vec<String>,
    /// A web server, of which some files are taken over first.
    #[arg(long, value_name = "URL", requires = "web_folder")]
    web: Option<String>,
    /// The folder that it serves.
    #[arg(long, value_name = "DIR")]
    web_folder: Option<PathBuf>,
    /// Small objects.
    #[arg(long, default_value_t = 40)]
    small: u64,
    #[command(flatten)]
    rerun: rig::Rerun,
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    rig::run_in("chain", &options.rerun, |seed, folder| run(&options, seed, folder)).await
}

async fn run(options: &Options, seed: u64, folder: PathBuf) -> Outcome<String> {
    let watch = Stopwatch::start();
    let house = House::start(options, &folder).await?;
    house.probe(&options.through).await?;
    let mut client = Client::new(&house.gateway.setup.endpoint());
    client.create_bucket(BUCKET).await?;
    let mut written = objects::write(&mut client, seed, options.small).await?;
    let taken = house.take_over(options).await?;
    written.extend(taken.clone());
    let before = shown(&mut client).await?;
    begun(&before, &written)?;
    let bytes: u64 = before.values().map(|object| object.size).sum();
    say::progress(format!("{} objects, {} MiB, {} of them on a web server", before.len(), bytes >> 20, taken.len()));

    let mut hops = 0;
    if !taken.is_empty() {
        hop(&house, &mut client, ("web", HOME), &before).await?;
        hops += 1;
    }
    let mut from = HOME;
    for to in options.through.iter().map(String::as_str).chain([HOME]) {
        hop(&house, &mut client, (from, to), &before).await?;
        (from, hops) = (to, hops + 1);
    }
    let checked = settle::check_deep(&house.gateway.setup.command()).await?;
    say::progress(format!("check: {checked}"));
    house.stop().await?;
    Ok(format!(
        "{} objects, {} MiB, through {} and back in {hops} hops, nothing changed; {:.0?}",
        before.len(),
        bytes >> 20,
        options.through.join(", "),
        watch.elapsed()
    ))
}

/// At the beginning each key has the bytes that were written, and there is no other.
fn begun(shown: &Shown, written: &Written) -> Outcome<()> {
    let other = shown.keys().find(|key| !written.contains_key(*key)).map(|key| format!("{key} was never written"));
    let wrong = |(key, digest): (&String, &String)| {
        let is = shown.get(key).is_some_and(|object| object.has(digest));
        (!is).then(|| format!("{key} is not what was written"))
    };
    other.or_else(|| written.iter().find_map(wrong)).map_or(Ok(()), |wrong| Err(wrong.into()))
}

/// Everything goes from one silo to another, and shows itself as it did.
async fn hop(house: &House, client: &mut Client, (from, to): (&str, &str), before: &Shown) -> Outcome<()> {
    let watch = Stopwatch::start();
    let job = house.gateway.setup.command().json(&["drain", from, "--to", to, "--wait", "done"]).await?;
    let moved = watch.elapsed();
    let changed = changes(before, &shown(client).await?);
    if !changed.is_empty() {
        return Err(format!("from {from} to {to}, {} changed: {}", changed.len(), changed.join("\n")).into());
    }
    house.left(from, to).await?;
    say::progress(format!(
        "{from} to {to}: {} moved in {moved:.1?}, {} tried again; all in {:.1?}",
        job["moved_objects"],
        job["failed"],
        watch.elapsed()
    ));
    Ok(())
}
