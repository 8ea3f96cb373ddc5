//! Clients that read, write, delete, copy and list at random, and check whatever they are answered.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;

use crate::client::{CallError, Client, Endpoint, Listing};
use crate::oracle::{Oracle, Ticket, Value};
use crate::random::Random;
use crate::wire::{Body, visit};

/// The header that names a value's generation; contents are computed from it.
const GENERATION: &str = "x-amz-meta-generation";
/// Problems that are kept in words; all are counted.
const TOLD: usize = 20;
/// S3's smallest part that is not the last.
pub const PART: u64 = 5 << 20;

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// A whole object.
    Get,
    /// A range of one.
    Range,
    /// Its headers.
    Head,
    /// A write of one body.
    Put,
    /// A write in parts.
    Multipart,
    /// A copy from another key.
    Copy,
    /// A delete.
    Delete,
    /// A page of a listing.
    List,
}

/// What a reading showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// This generation.
    Shows(u64),
    /// No such key.
    Absent,
    /// Nothing that could be judged.
    Unanswered,
}

/// How large objects are: some empty, most small, few large.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// The largest.
    pub max: u64,
}

impl Sizes {
    /// Draws one.
    pub fn draw(&self, random: &mut Random) -> u64 {
        let size = match random.below(100) {
            0..=7 => 0,
            8..=69 => log_uniform(random, 1, 64 << 10),
            70..=94 => (64 << 10) + random.below(2 << 20),
            _ => log_uniform(random, 2 << 20, self.max),
        };
        size.min(self.max)
    }
}

fn log_uniform(random: &mut Random, low: u64, high: u64) -> u64 {
    let share = random.below(1 << 20) as f64 / f64::from(1 << 20);
    let low_log = (low.max(1) as f64).ln();
    let high_log = (high.max(low + 1) as f64).ln();
    (low_log + (high_log - low_log) * share).exp() as u64
}

/// One act as it was logged: for whoever counts what it met.
#[derive(Debug, Clone)]
pub struct Acted {
    /// What.
    pub act: Act,
    /// On which key.
    pub key: String,
    /// From this moment of the oracle.
    pub from: u64,
    /// To that.
    pub to: u64,
}

/// What all clients of a run share.
pub struct World {
    /// The bucket.
    pub bucket: String,
    /// What must be there.
    pub oracle: Oracle,
    /// The keys in use, sorted.
    pub keys: Vec<String>,
    /// Sizes of overwrites.
    pub sizes: Sizes,
    /// A quarter of the keys is written once and then only read.
    pub keep_still: bool,
    /// Acts by kind, acknowledged or answered.
    counts: Mutex<BTreeMap<Act, u64>>,
    /// Acts kept for counting, when wanted.
    acted: Mutex<Option<Vec<Acted>>>,
    /// Requests without the answer they should have had.
    pub failed: AtomicU64,
    /// Answers that cannot be true.
    pub wrong: AtomicU64,
    /// Of these, answers that an acknowledged write contradicts.
    pub lost: AtomicU64,
    /// Writes acknowledged.
    pub acknowledged: AtomicU64,
    /// Wrong answers first: failed requests must not crowd them out.
    told: Mutex<(Vec<String>, Vec<String>)>,
}

impl World {
    /// Keys with slashes, so that listings group them.
    pub fn new(bucket: &str, keys: usize, sizes: Sizes) -> Self {
        let mut keys: Vec<String> = (0..keys).map(|n| format!("d{:02}/s{:02}/k{n:06}", n % 13, n / 13 % 7)).collect();
        keys.sort();
        Self {
            bucket: bucket.to_owned(),
            oracle: Oracle::default(),
            keys,
            sizes,
            keep_still: false,
            counts: Mutex::default(),
            acted: Mutex::default(),
            failed: AtomicU64::default(),
            wrong: AtomicU64::default(),
            lost: AtomicU64::default(),
            acknowledged: AtomicU64::default(),
            told: Mutex::default(),
        }
    }

    /// From now on every act is kept, or none.
    pub fn keep_acts(&self, keep: bool) -> Vec<Acted> {
        let mut acted = lock(&self.acted);
        std::mem::replace(&mut *acted, keep.then(Vec::new)).unwrap_or_default()
    }

    /// How often each act was done.
    pub fn counts(&self) -> BTreeMap<Act, u64> {
        lock(&self.counts).clone()
    }

    /// The first problems, in words.
    pub fn problems(&self) -> Vec<String> {
        let told = lock(&self.told);
        told.0.iter().chain(&told.1).cloned().collect()
    }

    /// The gateway was killed: that it did not answer is no failure.
    pub fn forgive_failed(&self) {
        self.failed.store(0, Ordering::Relaxed);
        lock(&self.told).1.clear();
    }

    /// An answer that cannot be true.
    pub fn wrong(&self, what: String) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
        tell(&mut lock(&self.told).0, what);
    }

    /// An answer that an acknowledged write contradicts.
    fn lost(&self, what: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        self.wrong(what);
    }

    fn failed(&self, what: String) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        tell(&mut lock(&self.told).1, what);
    }

    fn acted(&self, act: Act, key: &str, from: u64) {
        *lock(&self.counts).entry(act).or_default() += 1;
        let to = self.oracle.now();
        if let Some(acted) = lock(&self.acted).as_mut() {
            acted.push(Acted { act, key: key.to_owned(), from, to });
        }
    }

    /// Written once and then only read.
    fn is_still(&self, key: &str) -> bool {
        self.keep_still && key.bytes().last().is_some_and(|byte| byte % 4 == 3)
    }

    fn path(&self, key: &str) -> String {
        format!("{}/{key}", self.bucket)
    }

    /// A new value for a key.
    pub fn value(&self, key: &str, len: u64, part_size: Option<u64>) -> Value {
        self.oracle.value(&self.path(key), len, part_size)
    }
}

/// A client of a world.
pub struct Actor {
    world: Arc<World>,
    client: Client,
    /// Its own randomness.
    pub random: Random,
}

impl Actor {
    /// A client with a connection of its own.
    pub fn new(world: &Arc<World>, endpoint: &Endpoint, random: Random) -> Self {
        Self { world: Arc::clone(world), client: Client::new(endpoint), random }
    }

    /// Any key.
    pub fn any_key(&mut self) -> String {
        let keys = &self.world.keys;
        self.random.pick(keys).cloned().unwrap_or_default()
    }

    /// One random act on a key; a quarter of the keys are only read, so that what nobody writes to can be compared.
    pub async fn act(&mut self, key: &str) {
        let acts = if self.world.is_still(key) { 62 } else { 100 };
        match self.random.below(acts) {
            0..=39 => self.get(key).await,
            40..=54 => self.range(key).await,
            55..=61 => self.head(key).await,
            62..=79 => {
                let len = self.world.sizes.draw(&mut self.random);
                self.put(key, len).await;
            }
            80..=80 => {
                let len = PART + self.random.below(PART);
                self.multipart(key, len, PART).await;
            }
            81..=83 => self.copy(key).await,
            84..=93 => self.delete(key).await,
            _ => self.list(key).await,
        }
    }

    /// Writes a new value.
    pub async fn put(&mut self, key: &str, len: u64) {
        let world = Arc::clone(&self.world);
        let value = world.value(key, len, None);
        let generation = value.generation.to_string();
        let ticket = world.oracle.begin(key, Some(value.clone()));
        let from = world.oracle.now();
        let headers = [(GENERATION, generation.as_str())];
        let done = self.client.put(&world.bucket, key, &headers, Body::made(value.payload)).await;
        self.written(Act::Put, key, from, &ticket, &value, done);
    }

    /// Writes a new value in parts.
    pub async fn multipart(&mut self, key: &str, len: u64, part_size: u64) {
        let world = Arc::clone(&self.world);
        let value = world.value(key, len, Some(part_size));
        let generation = value.generation.to_string();
        let ticket = world.oracle.begin(key, Some(value.clone()));
        let from = world.oracle.now();
        let done = self.upload(key, &value, part_size, &generation).await;
        self.written(Act::Multipart, key, from, &ticket, &value, done);
    }

    async fn upload(
        &mut self,
        key: &str,
        value: &Value,
        part_size: u64,
        generation: &str,
    ) -> Result<String, CallError> {
        let world = Arc::clone(&self.world);
        let upload = self.client.initiate(&world.bucket, key, &[(GENERATION, generation)]).await?;
        let mut parts = Vec::new();
        let mut at = 0;
        while at < value.payload.len || parts.is_empty() {
            let number = parts.len() as u32 + 1;
            let body = Body::part(value.payload, at, part_size);
            parts.push(self.client.part(&world.bucket, key, &upload, number, body).await?);
            at += part_size;
        }
        self.client.complete(&world.bucket, key, &upload, &parts).await
    }

    /// Copies another key's value, named by its `ETag`, onto this one.
    pub async fn copy(&mut self, key: &str) {
        let world = Arc::clone(&self.world);
        let source = self.any_key();
        let Ok(headers) = self.client.head(&world.bucket, &source).await else { return };
        let Some(held) = seen(&headers).and_then(|generation| world.oracle.find(&source, generation)) else { return };
        if held.part_size.is_some() || source == key {
            return;
        }
        let mut value = held.clone();
        value.generation = world.value(key, 0, None).generation;
        let generation = value.generation.to_string();
        let ticket = world.oracle.begin(key, Some(value.clone()));
        let from = world.oracle.now();
        let headers = [
            (GENERATION, generation.as_str()),
            ("x-amz-metadata-directive", "REPLACE"),
            ("x-amz-copy-source-if-match", held.etag.as_str()),
        ];
        match self.client.copy(&world.bucket, &source, key, &headers).await {
            // The source was overwritten or deleted in between: nothing happened, and that is right.
            Err(CallError::Refused { status, .. })
                if status == StatusCode::PRECONDITION_FAILED || status == StatusCode::NOT_FOUND =>
            {
                world.oracle.refused(&ticket);
            }
            done => self.written(Act::Copy, key, from, &ticket, &value, done),
        }
    }

    fn written(&self, act: Act, key: &str, from: u64, ticket: &Ticket, value: &Value, done: Result<String, CallError>) {
        let world = &self.world;
        match done {
            Ok(etag) => {
                world.oracle.done(ticket);
                world.acknowledged.fetch_add(1, Ordering::Relaxed);
                world.acted(act, key, from);
                if etag != value.etag {
                    world.wrong(format!("{act:?} {key}: answered ETag {etag}, expected {}", value.etag));
                }
            }
            Err(error) => {
                if error.surely_not_done() {
                    world.oracle.refused(ticket);
                }
                world.failed(format!("{act:?} {key}: {error}"));
            }
        }
    }

    /// Deletes.
    pub async fn delete(&mut self, key: &str) {
        let world = Arc::clone(&self.world);
        let ticket = world.oracle.begin(key, None);
        let from = world.oracle.now();
        match self.client.delete(&world.bucket, key).await {
            Ok(()) => {
                world.oracle.done(&ticket);
                world.acknowledged.fetch_add(1, Ordering::Relaxed);
                world.acted(Act::Delete, key, from);
            }
            Err(error) => {
                if error.surely_not_done() {
                    world.oracle.refused(&ticket);
                }
                world.failed(format!("Delete {key}: {error}"));
            }
        }
    }

    /// Reads whole and checks every byte.
    pub async fn get(&mut self, key: &str) {
        self.read(Act::Get, key, None).await;
    }

    /// Reads a range.
    pub async fn range(&mut self, key: &str) {
        let from = self.random.below(300_000);
        let len = 1 + self.random.below(300_000);
        self.read(Act::Range, key, Some((from, from + len - 1))).await;
    }

    /// Reads and checks.
    pub async fn read(&mut self, act: Act, key: &str, range: Option<(u64, u64)>) -> Reading {
        let world = Arc::clone(&self.world);
        let from = world.oracle.now();
        let header = range.map(|(first, last)| format!("bytes={first}-{last}"));
        let answer = match self.client.get(&world.bucket, key, header.as_deref()).await {
            Ok(answer) => answer,
            // A range behind the end of what is there now.
            Err(error) if error.status() == Some(StatusCode::RANGE_NOT_SATISFIABLE) => return Reading::Unanswered,
            Err(error) => return self.absent(act, key, from, &error),
        };
        let (head, body) = answer.into_parts();
        let Some((generation, value)) = self.identify(act, key, &head.headers) else { return Reading::Unanswered };
        let start = range.map_or(0, |(first, _)| first);
        let expected = range.map_or(value.payload.len, |(first, last)| (last + 1).min(value.payload.len) - first);
        let mut at = start;
        let mut differs = None;
        let read = visit(body, |data| {
            if differs.is_none() {
                differs = value.payload.check(at, data).err();
            }
            at += data.len() as u64;
        })
        .await;
        match read {
            Err(error) => {
                world.failed(format!("{act:?} {key}: {error} after {} of {expected} bytes", at - start));
                return Reading::Unanswered;
            }
            Ok(length) if length != expected => {
                world.wrong(format!("{act:?} {key}: {length} bytes of {expected}, generation {generation}"));
            }
            Ok(_) => {}
        }
        if let Some(differs) = differs {
            world.wrong(format!("{act:?} {key}: generation {generation} differs at byte {}", differs.at));
        }
        self.judge(act, key, from, Some(generation));
        Reading::Shows(generation)
    }

    /// Reads the headers.
    pub async fn head(&mut self, key: &str) {
        let world = Arc::clone(&self.world);
        let from = world.oracle.now();
        match self.client.head(&world.bucket, key).await {
            Ok(headers) => {
                if let Some((generation, _)) = self.identify(Act::Head, key, &headers) {
                    self.judge(Act::Head, key, from, Some(generation));
                }
            }
            Err(error) => {
                self.absent(Act::Head, key, from, &error);
            }
        }
    }

    fn absent(&self, act: Act, key: &str, from: u64, error: &CallError) -> Reading {
        if error.status() == Some(StatusCode::NOT_FOUND) {
            self.judge(act, key, from, None);
            return Reading::Absent;
        }
        self.world.failed(format!("{act:?} {key}: {error}"));
        Reading::Unanswered
    }

    fn judge(&self, act: Act, key: &str, from: u64, seen: Option<u64>) {
        self.world.acted(act, key, from);
        let to = self.world.oracle.now();
        if let Err(why) = self.world.oracle.judge(key, from, to, seen) {
            self.world.lost(format!("{act:?} {key}: {why}"));
        }
    }

    /// Which value an answer says it is; its `ETag` and Last-Modified must be that value's.
    fn identify(&self, act: Act, key: &str, headers: &http::HeaderMap) -> Option<(u64, Value)> {
        let world = &self.world;
        let generation = seen(headers);
        let Some(value) = generation.and_then(|generation| world.oracle.find(key, generation)) else {
            world.wrong(format!("{act:?} {key}: generation {generation:?} was never written"));
            return None;
        };
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if text("etag") != value.etag {
            world.wrong(format!("{act:?} {key}: ETag {} is not {}", text("etag"), value.etag));
        }
        if let Err(why) = world.oracle.judge_modified(key, value.generation, text("last-modified")) {
            world.wrong(format!("{act:?} {key}: {why}"));
        }
        Some((value.generation, value))
    }

    /// Lists a page from a key on: every key of ours between its ends must be judged as it shows or does not.
    pub async fn list(&mut self, key: &str) {
        let world = Arc::clone(&self.world);
        let from = world.oracle.now();
        let after = world.keys.partition_point(|other| other.as_str() < key);
        let start_after = after.checked_sub(1).map(|index| world.keys[index].as_str());
        let listing = Listing { start_after, max_keys: 50, ..Listing::default() };
        let page = match self.client.list(&world.bucket, listing).await {
            Ok(page) => page,
            Err(error) => return world.failed(format!("List from {key}: {error}")),
        };
        let to = world.oracle.now();
        let end = page.contents.last().map(|listed| listed.key.clone()).filter(|_| page.is_truncated);
        let shown: BTreeMap<&str, _> = page.contents.iter().map(|listed| (listed.key.as_str(), listed)).collect();
        for key in world.keys[after..].iter().take_while(|key| end.as_ref().is_none_or(|end| *key <= end)) {
            let verdict = match shown.get(key.as_str()) {
                Some(listed) => world.oracle.judge_listed(key, from, to, &listed.etag, listed.size),
                None => world.oracle.judge(key, from, to, None),
            };
            if let Err(why) = verdict {
                world.lost(format!("List, {key}: {why}"));
            }
        }
        world.acted(Act::List, key, from);
    }
}

fn seen(headers: &http::HeaderMap) -> Option<u64> {
    headers.get(GENERATION)?.to_str().ok()?.parse().ok()
}

fn tell(told: &mut Vec<String>, what: String) {
    if told.len() < TOLD {
        told.push(what);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
