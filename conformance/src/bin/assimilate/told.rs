//! How soon a change is seen where passes are an hour apart: the kernel tells of it.

use std::path::Path;
use std::time::Duration;

use holdall_conformance::Outcome;
use holdall_conformance::client::{CallError, Client};
use holdall_conformance::clock::Stopwatch;
use holdall_conformance::gateway::{Gateway, NO_GRACE, Setup};
use http::StatusCode;
use rustix::process::Signal;

use super::tree::Tree;
use super::{BUCKET, INTO, SEEN, list};

const FILES: u64 = 400;
/// Files that are changed, added and taken away, one after the other.
const ROUNDS: u64 = 20;
/// More than this at once, and they are many.
const MANY: u64 = 300;
const LOOK: Duration = Duration::from_millis(10);

struct House {
    tree: Tree,
    gateway: Gateway,
    client: Client,
}

/// Changes files and waits until each is seen; answers how long that took.
pub(super) async fn run(folder: &Path) -> Outcome<String> {
    let tree = Tree { root: folder.join("told") };
    std::fs::create_dir_all(&tree.root)?;
    tree.make(FILES)?;
    let mut house = House::start(folder, tree).await?;
    let mut took = Vec::new();
    for number in 0..ROUNDS {
        took.extend(house.round(number).await?);
    }
    took.sort_unstable();
    let (middle, longest) = (took[took.len() / 2], took[took.len() - 1]);
    let many = house.many().await?;
    house.killed().await?;
    house.gateway.stop().await?;
    Ok(format!(
        "; one change seen after {} ms, at most {}, {MANY} in new folders after {} ms",
        middle.as_millis(),
        longest.as_millis(),
        many.as_millis()
    ))
}

impl House {
    async fn start(folder: &Path, tree: Tree) -> Outcome<Self> {
        let mut setup = Setup::new(&folder.join("told-data"))?;
        let nas = format!("[silo.nas]\nurl = \"file://{}\"\naccess = \"read-only\"\n", tree.root.display());
        setup.config = Some(format!("{NO_GRACE}[silo.hot]\nurl = \"file:hot\"\n[write]\nto = [\"hot\"]\n{nas}"));
        let gateway = setup.start().await?;
        let mut client = Client::new(&gateway.setup.endpoint());
        client.create_bucket(BUCKET).await?;
        let into = format!("s3://{BUCKET}/{INTO}");
        gateway.setup.command().json(&["assimilate", "nas", "--into", into.as_str(), "--every", "1h"]).await?;
        let house = Self { tree, gateway, client };
        house.watched(2).await?;
        Ok(house)
    }

    /// Waits until it is watched, and was passed so often.
    async fn watched(&self, passes: u64) -> Outcome<()> {
        let watch = Stopwatch::start();
        // The pass that begins when the watch stands is no part of what is measured.
        loop {
            let status = self.gateway.setup.command().json(&["assimilate", "status"]).await?[0].clone();
            if status["changes"] == "at once" && status["passes"].as_u64() >= Some(passes) {
                return Ok(());
            }
            if watch.over(SEEN) {
                return Err(format!("it is not watched: {status}").into());
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// What was done while no gateway was there is seen by the next one, long before a pass is due.
    async fn killed(&mut self) -> Outcome<()> {
        let name = Tree::name(FILES / 2);
        let before = self.etag(&name).await?;
        self.gateway.signal(Signal::KILL)?;
        self.gateway.ended(SEEN).await.ok_or("it survived a kill")?;
        self.tree.write(&name, 7)?;
        let setup = self.gateway.setup.clone();
        self.gateway = setup.start().await?;
        self.client = Client::new(&self.gateway.setup.endpoint());
        self.seen(&name, before).await?;
        self.watched(3).await?;
        self.round(1).await.map(drop)
    }

    /// Its `ETag`; none where there is no such key.
    async fn etag(&mut self, name: &str) -> Outcome<Option<String>> {
        match self.client.head(BUCKET, &format!("{INTO}{name}")).await {
            Ok(headers) => Ok(headers.get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned)),
            Err(error) if error.status() == Some(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// How long until a name is seen to be otherwise than it was.
    async fn seen(&mut self, name: &str, before: Option<String>) -> Outcome<Duration> {
        let watch = Stopwatch::start();
        while self.etag(name).await? == before {
            if watch.over(SEEN) {
                return Err(format!("{name} was changed, and nobody sees it").into());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(watch.elapsed())
    }

    /// One file is changed, another one added, and that now and then taken away again: not so many that somebody is asked.
    async fn round(&mut self, number: u64) -> Outcome<Vec<Duration>> {
        let (name, new) = (Tree::name(number), format!("folder-new/{number}.txt"));
        let before = self.etag(&name).await?;
        self.tree.write(&name, number + 1)?;
        let changed = self.seen(&name, before).await?;
        std::fs::create_dir_all(self.tree.root.join("folder-new"))?;
        self.tree.write(&new, 1)?;
        let added = self.seen(&new, None).await?;
        if !number.is_multiple_of(7) {
            return Ok(vec![changed, added]);
        }
        let before = self.etag(&new).await?;
        self.tree.remove(&new)?;
        Ok(vec![changed, added, self.seen(&new, before).await?])
    }

    /// Many files in folders that are new.
    async fn many(&mut self) -> Outcome<Duration> {
        let before = self.listed().await?;
        for number in 0..MANY {
            let name = format!("many/{}/{}/{number}.txt", number % 5, number % 20);
            if let Some(folder) = self.tree.path(&name).parent() {
                std::fs::create_dir_all(folder)?;
            }
            self.tree.write(&name, 1)?;
        }
        let watch = Stopwatch::start();
        while self.listed().await? < before + MANY {
            if watch.over(SEEN) {
                return Err("files in new folders are not seen".into());
            }
            tokio::time::sleep(LOOK).await;
        }
        if self.listed().await? != self.tree.names()?.len() as u64 {
            return Err("more keys than files".into());
        }
        Ok(watch.elapsed())
    }

    async fn listed(&mut self) -> Result<u64, CallError> {
        Ok(list(&mut self.client).await?.len() as u64)
    }
}
