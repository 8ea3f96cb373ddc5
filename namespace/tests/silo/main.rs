//! Looking at silos that there are, and changing how they are reached.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::{Clock, SystemClock};
use holdall_namespace::engine::log::{Entry, Snapshot};
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::engine::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read};
use holdall_namespace::inventory::{Access, Declared, DeclaredSilo, SiloInfo};
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutObject, Upload};
use holdall_namespace::table::silos::next_silo;
use holdall_namespace::{Namespace, Options};

#[path = "../support/mod.rs"]
mod support;

mod probe;
mod set;

/// An index where something may come between a comparison of what is declared and its commit.
#[derive(Default)]
struct Slipping {
    inner: Memory,
    slip: Mutex<Option<BoxFuture<'static, ()>>>,
}

#[async_trait::async_trait]
impl Engine for Slipping {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: std::ops::Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.inner.range(range, rows, bytes).await
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        self.inner.fold(fold).await
    }

    async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
        let declares = reads.iter().any(|read| matches!(read, Read::Row(key) if *key == next_silo()));
        let slip = if declares { self.slip.lock().unwrap().take() } else { None };
        if let Some(slip) = slip {
            slip.await;
        }
        self.inner.commit(priority, reads, decide).await
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        self.inner.log(after, bytes).await
    }

    fn forget_log(&self, through: u64) {
        self.inner.forget_log(through);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        self.inner.snapshot().await
    }
}

struct House {
    engine: Arc<Slipping>,
    namespace: Arc<Namespace>,
    folder: tempfile::TempDir,
}

async fn open(engine: Arc<dyn Engine>, clock: Arc<dyn Clock>, base: &Path, alone: bool) -> Arc<Namespace> {
    let options = Options { base: base.to_owned(), ..support::options() };
    Namespace::open(engine, clock, options, alone).await.unwrap()
}

/// One silo `hot`.
async fn house_with(clock: Arc<dyn Clock>, silo: DeclaredSilo) -> House {
    let (engine, folder) = (Arc::<Slipping>::default(), tempfile::tempdir().unwrap());
    let namespace = open(Arc::<Slipping>::clone(&engine), clock, folder.path(), true).await;
    let house = House { engine, namespace, folder };
    house.declare("hot", silo).await.unwrap();
    house
}

async fn house(url: &str) -> House {
    house_with(Arc::new(SystemClock::new()), DeclaredSilo::own(url)).await
}

impl House {
    async fn declare(&self, name: &str, silo: DeclaredSilo) -> Result<(), String> {
        let declared = Declared { silos: [(name.to_owned(), silo)].into(), ..Declared::default() };
        self.namespace.apply(&declared, false).await.map(drop).map_err(|error| error.to_string())
    }

    /// Another gateway over the same index.
    async fn beside(&self) -> Arc<Namespace> {
        let engine = Arc::new(self.engine.inner.clone());
        open(engine, Arc::new(SystemClock::new()), self.folder.path(), false).await
    }

    async fn bucket(&self) -> Bucket {
        self.namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap()
    }
}

async fn silo(namespace: &Namespace, name: &str) -> SiloInfo {
    namespace.silos().await.unwrap().into_iter().find(|silo| silo.name == name).unwrap()
}

async fn put(namespace: &Namespace, bucket: &Bucket, key: &str) {
    let body = stream::iter([Ok(Bytes::copy_from_slice(key.as_bytes()))]).boxed();
    let request = PutObject {
        bucket,
        key: &key.parse().unwrap(),
        upload: Upload { body, size: key.len() as u64, algorithm: None, verify: Box::new(|_| Ok(())) },
        headers: Headers::default(),
        tags: Vec::new(),
        storage_class: None,
        condition: Condition::default(),
    };
    namespace.put(request).await.unwrap();
}

/// Whether the object's bytes are the name they were put under.
async fn reads(namespace: &Namespace, bucket: &Bucket, key: &str) -> bool {
    let opened = namespace.open_object(bucket, &key.parse().unwrap()).await.unwrap();
    let Ok(mut bytes) = opened.read(0..opened.object.size).await else { return false };
    let mut all = Vec::new();
    while let Some(piece) = bytes.next().await {
        let Ok(piece) = piece else { return false };
        all.extend_from_slice(&piece);
    }
    all == key.as_bytes()
}

fn of_others(url: &str) -> DeclaredSilo {
    DeclaredSilo { access: Access::ReadOnly, ..DeclaredSilo::own(url) }
}
