//! The demo's clients: they fill a bucket, then read and overwrite at random, and know what every answer must be.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::header::{ETAG, LAST_MODIFIED};
use http::{Method, Response};
use hyper::body::Incoming;
use md5::{Digest, Md5};
use tokio::sync::RwLock;
use tokio_util::task::TaskTracker;

use crate::cli::client::{Endpoint, whole};
use crate::cli::exit::Failure;

/// Sizes of the demo's objects, in turn: many small ones, some large, one in ten empty.
const SIZES: [usize; 10] = [0, 700, 4 << 10, 20 << 10, 64 << 10, 200 << 10, 512 << 10, 1 << 20, 300, 1 << 20];
/// Every so many objects there is a larger one.
const LARGE_EVERY: usize = 50;
const LARGE: usize = 12 << 20;
/// Clients that work at once.
pub(super) const CLIENTS: usize = 8;

/// What an object must answer with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Truth {
    md5: String,
    modified: String,
}

/// One object. The lock keeps a read and an overwrite of the same object apart, so that each read has one right
/// answer; it is held while that request is under way. Moves know nothing of it.
struct Thing {
    key: String,
    size: usize,
    truth: RwLock<Truth>,
}

/// What the clients saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) reads: AtomicU64,
    pub(super) overwrites: AtomicU64,
    pub(super) failed_reads: AtomicU64,
    pub(super) failed_writes: AtomicU64,
    pub(super) changed: AtomicU64,
}

/// The demo's bucket and the clients around it.
pub(super) struct Crowd {
    s3: Endpoint,
    bucket: String,
    things: Vec<Thing>,
    pub(super) seen: Seen,
    /// Whatever has sent something that must be answered before anybody leaves.
    pub(super) tasks: TaskTracker,
    stop: AtomicBool,
}

impl Crowd {
    /// Clients for a bucket that is to hold `objects` objects.
    pub(super) fn new(s3: Endpoint, bucket: String, objects: usize) -> Arc<Self> {
        let thing = |number: usize| {
            let large = number % LARGE_EVERY == LARGE_EVERY / 2;
            let size = if large { LARGE } else { SIZES[number % SIZES.len()] };
            Thing { key: format!("album {}/{number:05}", number % 7), size, truth: RwLock::default() }
        };
        let things = (0..objects).map(thing).collect();
        let tasks = TaskTracker::new();
        Arc::new(Self { s3, bucket, things, seen: Seen::default(), tasks, stop: AtomicBool::new(false) })
    }

    /// The bucket.
    pub(super) fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Bytes that filling the bucket writes.
    pub(super) fn bytes(&self) -> u64 {
        self.things.iter().map(|thing| thing.size as u64).sum()
    }

    /// Creates the bucket and writes every object once; `written` is called with each one's bytes.
    pub(super) async fn fill(self: &Arc<Self>, written: Arc<dyn Fn(u64) + Send + Sync>) -> Result<(), Failure> {
        expect(self.s3.send(Method::PUT, &format!("/{}", self.bucket), &[], Bytes::new()).await?).await?;
        let next = Arc::new(AtomicU64::new(0));
        let client = |_| {
            let (crowd, next, written) = (Arc::clone(self), Arc::clone(&next), Arc::clone(&written));
            self.tasks.spawn(async move {
                while let Some(thing) = crowd.next(&next) {
                    crowd.write(thing, 1).await?;
                    written(thing.size as u64);
                }
                Ok::<(), Failure>(())
            })
        };
        for done in futures_util::future::join_all((0..CLIENTS).map(client)).await {
            done.map_err(|error| Failure::failed(error.to_string()))??;
        }
        Ok(())
    }

    fn next(&self, next: &AtomicU64) -> Option<&Thing> {
        let number = next.fetch_add(1, Ordering::Relaxed) as usize;
        self.things.get(number).filter(|_| !self.stop.load(Ordering::Relaxed))
    }

    /// Reads and overwrites at random until [`Crowd::stop`].
    pub(super) fn work(self: &Arc<Self>) {
        for client in 0..CLIENTS {
            let crowd = Arc::clone(self);
            self.tasks.spawn(async move {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (client as u64 + 1));
                while !crowd.stop.load(Ordering::Relaxed) {
                    let thing = &crowd.things[dice.below(crowd.things.len())];
                    if dice.below(5) == 0 { crowd.overwrite(thing, dice.roll()).await } else { crowd.read(thing).await }
                }
            });
        }
    }

    /// Lets the clients finish what they are at, and waits for it.
    pub(super) async fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Reads everything once more, at rest: bytes, ETag and Last-Modified must be those of the last write.
    pub(super) async fn verify(&self) {
        for thing in &self.things {
            self.read(thing).await;
        }
    }

    /// Deletes the objects and the bucket.
    pub(super) async fn clean(&self) -> Result<(), Failure> {
        let delete = |thing| async move {
            expect(self.s3.send(Method::DELETE, &self.path(thing), &[], Bytes::new()).await?).await
        };
        stream::iter(&self.things).map(delete).buffer_unordered(CLIENTS).try_collect::<()>().await?;
        expect(self.s3.send(Method::DELETE, &format!("/{}", self.bucket), &[], Bytes::new()).await?).await
    }

    async fn overwrite(&self, thing: &Thing, seed: u64) {
        let counter = match self.write(thing, seed).await {
            Ok(()) => &self.seen.overwrites,
            Err(failure) => {
                tracing::warn!(key = thing.key, %failure, "write failed");
                &self.seen.failed_writes
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    async fn write(&self, thing: &Thing, seed: u64) -> Result<(), Failure> {
        let mut truth = thing.truth.write().await;
        let body = content(thing.size, seed ^ thing.size as u64);
        let md5 = const_hex::encode(Md5::digest(&body));
        let path = self.path(thing);
        expect(self.s3.send(Method::PUT, &path, &[("content-type", "image/demo")], body).await?).await?;
        let head = self.s3.send(Method::HEAD, &path, &[], Bytes::new()).await?;
        *truth = Truth { md5, modified: header(&head, &LAST_MODIFIED) };
        expect(head).await
    }

    async fn read(&self, thing: &Thing) {
        let truth = thing.truth.read().await;
        self.seen.reads.fetch_add(1, Ordering::Relaxed);
        match self.fetch(thing).await {
            Ok((seen, bytes)) if bytes == truth.md5 && seen == *truth => {}
            Ok((seen, bytes)) => {
                tracing::warn!(key = thing.key, ?seen, bytes, expected = ?*truth, "not what was written");
                let counter = if bytes == truth.md5 { &self.seen.changed } else { &self.seen.failed_reads };
                counter.fetch_add(1, Ordering::Relaxed);
            }
            Err(failure) => {
                tracing::warn!(key = thing.key, %failure, "read failed");
                self.seen.failed_reads.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What the headers say, and the MD5 of the bytes.
    async fn fetch(&self, thing: &Thing) -> Result<(Truth, String), Failure> {
        let response = self.s3.send(Method::GET, &self.path(thing), &[], Bytes::new()).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let seen = Truth {
            md5: header(&response, &ETAG).trim_matches('"').to_owned(),
            modified: header(&response, &LAST_MODIFIED),
        };
        let body = whole(response.into_body()).await?;
        Ok((seen, const_hex::encode(Md5::digest(&body))))
    }

    fn path(&self, thing: &Thing) -> String {
        format!("/{}/{}", self.bucket, thing.key.replace(' ', "%20"))
    }
}

async fn expect(response: Response<Incoming>) -> Result<(), Failure> {
    if response.status().is_success() {
        return whole(response.into_body()).await.map(drop);
    }
    Err(refusal(response).await)
}

async fn refusal(response: Response<Incoming>) -> Failure {
    let status = response.status();
    match whole(response.into_body()).await {
        Ok(body) => Failure::failed(format!("{status}: {}", String::from_utf8_lossy(&body))),
        Err(failure) => failure,
    }
}

fn header<B>(response: &Response<B>, name: &http::HeaderName) -> String {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Bytes that differ with the seed and compress to nothing.
fn content(size: usize, seed: u64) -> Bytes {
    let mut dice = Dice(seed | 1);
    let mut body = Vec::with_capacity(size + 8);
    while body.len() < size {
        body.extend_from_slice(&dice.roll().to_le_bytes());
    }
    body.truncate(size);
    body.into()
}

/// Marsaglia's xorshift: enough for a demo.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.roll() % limit.max(1) as u64) as usize
    }
}
