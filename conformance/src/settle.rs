//! What must hold when nothing runs any more: swept, checked deep, every key as the oracle says, the index restored.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::Outcome;
use crate::client::Endpoint;
use crate::clock::Stopwatch;
use crate::command::Holdall;
use crate::gateway::Setup;
use crate::random::Random;
use crate::workload::{Act, Actor, Reading, World};

/// How long bytes may wait for readers that are gone: a session's lease and then some.
const SWEPT: Duration = Duration::from_mins(2);

/// Sweeps, grace skipped, until nothing waits; answers (replicas, orphans) deleted.
pub async fn sweep(holdall: &Holdall) -> Outcome<(u64, u64)> {
    let mut watch = Stopwatch::start();
    let (mut replicas, mut orphans) = (0, 0);
    loop {
        let swept = holdall.json(&["sweep", "--now"]).await?;
        let field = |name: &str| swept.get(name).and_then(serde_json::Value::as_u64).unwrap_or_default();
        replicas += field("replicas");
        orphans += field("orphans");
        if field("waiting") == 0 && field("replicas") == 0 && field("orphans") == 0 {
            return Ok((replicas, orphans));
        }
        if field("replicas") + field("orphans") > 0 {
            watch = Stopwatch::start();
        }
        if watch.over(SWEPT) {
            return Err(format!("{} retired replicas wait since {SWEPT:?}: {swept}", field("waiting")).into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// `holdall check --deep` must find nothing; answers its last line.
pub async fn check_deep(holdall: &Holdall) -> Outcome<String> {
    let said = holdall.run(&["check", "--deep", "--json"]).await?;
    if said.code != 0 {
        let found: Vec<&str> = said.out.lines().take(10).collect();
        return Err(format!("`holdall check --deep` exits with {}: {} {}", said.code, found.join(" "), said.err).into());
    }
    Ok(said.out.lines().last().unwrap_or_default().to_owned())
}

/// Reads keys and checks each; several at once.
pub async fn read_all(world: &Arc<World>, endpoint: &Endpoint, keys: Vec<String>) -> Outcome<()> {
    let keys = Arc::new(keys);
    let readers: Vec<_> = (0..4)
        .map(|reader| {
            let (world, keys, endpoint) = (Arc::clone(world), Arc::clone(&keys), endpoint.clone());
            tokio::spawn(async move {
                let mut actor = Actor::new(&world, &endpoint, Random::new(0, reader));
                for key in keys.iter().skip(reader as usize).step_by(4) {
                    actor.read(Act::Get, key, None).await;
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await?;
    }
    Ok(())
}

/// The index goes, and is made again from what all those lives left in the silos.
pub async fn from_restored(world: &Arc<World>, setup: &Setup) -> Outcome<()> {
    std::fs::rename(setup.data.join("index.redb"), setup.data.join("index.lost"))?;
    let data = setup.data.display().to_string();
    let said = setup.command().run(&["index", "restore", "--data", &data]).await?;
    if said.code != 0 {
        return Err(format!("`index restore` exits with {}: {}{}", said.code, said.out, said.err).into());
    }
    let gateway = setup.start().await?;
    read_all(world, &setup.endpoint(), world.keys.clone()).await?;
    crate::load::verdict(world, "from a restored index")?;
    check_deep(&setup.command()).await?;
    gateway.stop().await?;
    Ok(())
}

/// After a crash: what each key with an unknown outcome shows is the truth from now on.
pub async fn settle_unknown(world: &Arc<World>, endpoint: &Endpoint) -> Outcome<usize> {
    let open = world.oracle.unsettled();
    let mut actor = Actor::new(world, endpoint, Random::new(0, 0));
    for key in &open {
        let seen = match actor.read(Act::Get, key, None).await {
            Reading::Shows(generation) => Some(generation),
            Reading::Absent => None,
            Reading::Unanswered => return Err(format!("{key} cannot be read after the crash").into()),
        };
        world.oracle.settle(key, seen);
    }
    Ok(open.len())
}

/// In a silo, the folder of the index's backups.
pub const BACKUPS: &str = "0000000000";

/// Files below a folder; hidden ones, markers and backups of the index left out.
pub fn files(folder: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .filter(|entry| entry.file_name() != BACKUPS)
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path()),
            Ok(_) => usize::from(!is_marker(&entry.file_name().to_string_lossy())),
            Err(_) => 0,
        })
        .sum()
}

/// Whether a name is of something that is no blob.
pub fn is_marker(name: &str) -> bool {
    name.starts_with('.') || name.contains("holdall")
}
