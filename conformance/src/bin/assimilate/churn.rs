//! Others write, replace, delete and add files while clients read and list.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdall_conformance::client::{CallError, Client, Endpoint};
use holdall_conformance::random::Random;
use holdall_conformance::wire::collect;
use holdall_conformance::{Outcome, say};
use http::StatusCode;

use super::tree::{Tree, Version, some, version_of};
use super::{BUCKET, INTO, list};

/// Files that are deleted and made again; the others only change.
const COME_AND_GO: u64 = 40;

/// What was seen of the keys: an `ETag` stands for one version of a file, for ever.
#[derive(Default)]
pub(super) struct Churn {
    stop: AtomicBool,
    pub(super) written: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) ended: AtomicU64,
    pub(super) lists: AtomicU64,
    tags: Mutex<BTreeMap<(String, String), Version>>,
    wrong: Mutex<Vec<String>>,
}

impl Churn {
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_wrong(&self, what: String) {
        say::progress(&what);
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Changes files until it is stopped; one that comes and goes, now and then.
    pub(super) fn write(&self, tree: &Tree, files: u64, seed: u64) -> Outcome<()> {
        let mut random = Random::new(seed, 1);
        let mut version = 0;
        while !self.stop.load(Ordering::Acquire) {
            version += 1;
            let name = Tree::name(COME_AND_GO + random.below(files - COME_AND_GO));
            match random.below(10) {
                0..=3 => tree.write(&name, version)?,
                4..=6 => tree.replace(&name, version)?,
                7 | 8 => tree.write_hidden(&name, version)?,
                _ => {
                    let name = Tree::name(random.below(COME_AND_GO));
                    if tree.path(&name).exists() { tree.remove(&name)? } else { tree.write(&name, version)? }
                }
            }
            self.written.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(random.below(4)));
        }
        Ok(())
    }

    /// Reads until it is stopped: each answer is one version of a file, whole.
    pub(super) async fn read(&self, endpoint: &Endpoint, files: u64, seed: u64) {
        let (mut client, mut random) = (Client::new(endpoint), Random::new(seed, 2));
        while !self.stop.load(Ordering::Acquire) {
            let name = some(&mut random, files);
            match get(&mut client, &name).await {
                Ok(Some((etag, bytes))) => self.judge(&name, &etag, &bytes),
                Ok(None) => drop(self.ended.fetch_add(1, Ordering::Relaxed)),
                Err(error) => self.note_wrong(format!("{name}: {error}")),
            }
        }
    }

    fn judge(&self, name: &str, etag: &str, bytes: &[u8]) {
        self.read.fetch_add(1, Ordering::Relaxed);
        // A file is emptied before it is written in its place: that, too, is what lies there for a moment.
        let version = if bytes.is_empty() { Some(EMPTIED) } else { version_of(name, bytes) };
        let Some(version) = version else {
            return self.note_wrong(format!("{name} with {etag}: {} bytes are no version of it", bytes.len()));
        };
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        let known = *tags.entry((name.to_owned(), etag.to_owned())).or_insert(version);
        drop(tags);
        if known != version {
            self.note_wrong(format!("{name} with {etag} was version {known}, and is {version}"));
        }
    }

    /// Lists until it is stopped: what never goes is always there.
    pub(super) async fn list(&self, endpoint: &Endpoint, files: u64) {
        let mut client = Client::new(endpoint);
        while !self.stop.load(Ordering::Acquire) {
            match list(&mut client).await {
                Ok(keys) => {
                    self.lists.fetch_add(1, Ordering::Relaxed);
                    let missing = (COME_AND_GO..files).find(|number| keys.binary_search(&Tree::name(*number)).is_err());
                    if let Some(number) = missing {
                        self.note_wrong(format!("a list of {} keys lacks {}", keys.len(), Tree::name(number)));
                    }
                }
                Err(error) => self.note_wrong(format!("a list failed: {error}")),
            }
        }
    }
}

/// What is no version of a file, and is known by an `ETag` of its own all the same.
const EMPTIED: u64 = u64::MAX;

/// A file as it is served; none where it was changed or is gone at this moment.
pub(super) async fn get(client: &mut Client, name: &str) -> Result<Option<(String, bytes::Bytes)>, CallError> {
    let answer = match client.get(BUCKET, &format!("{INTO}{name}"), None).await {
        Ok(answer) => answer,
        Err(error) if error.status() == Some(StatusCode::SERVICE_UNAVAILABLE) => return Ok(None),
        // What never goes is never missed.
        Err(error) if error.status() == Some(StatusCode::NOT_FOUND) && *name < *Tree::name(COME_AND_GO) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    Ok(collect(answer.into_body()).await.ok().map(|bytes| (etag, bytes)))
}

/// Runs it for a while; answers what was seen.
pub(super) async fn churn(
    tree: &Tree,
    endpoint: &Endpoint,
    files: u64,
    time: Duration,
    seed: u64,
) -> Outcome<Arc<Churn>> {
    let churn = Arc::new(Churn::default());
    let writer = {
        let (churn, tree) = (Arc::clone(&churn), tree.clone());
        tokio::task::spawn_blocking(move || churn.write(&tree, files, seed).map_err(|error| error.to_string()))
    };
    let mut clients = Vec::new();
    for number in 0..4 {
        let (churn, endpoint) = (Arc::clone(&churn), endpoint.clone());
        clients.push(tokio::spawn(async move { churn.read(&endpoint, files, seed + number).await }));
    }
    let (lister, at) = (Arc::clone(&churn), endpoint.clone());
    clients.push(tokio::spawn(async move { lister.list(&at, files).await }));
    tokio::time::sleep(time).await;
    churn.stop();
    writer.await??;
    for client in clients {
        client.await?;
    }
    Ok(churn)
}
