//! An index that a test gets in between.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use holdall_namespace::engine::log::{Entry, Snapshot};
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::engine::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read, Write, commit};
use tokio::sync::Mutex;

/// Rows in memory.
#[derive(Default)]
pub(crate) struct Between {
    pub(crate) inner: Memory,
    /// Something is committed whenever the log is read, two hundred times at most.
    pub(crate) busy: bool,
    pub(crate) read: AtomicU8,
    /// Commits that nobody waits for land when this is free, also where whoever sent them went away.
    pub(crate) held: Arc<Mutex<()>>,
}

#[async_trait::async_trait]
impl Engine for Between {
    async fn get(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, EngineError> {
        self.inner.get(keys).await
    }

    async fn range(&self, range: Range<Key>, rows: usize, bytes: usize) -> Result<Page, EngineError> {
        self.inner.range(range, rows, bytes).await
    }

    async fn fold(&self, fold: Fold) -> Result<Vec<Folded>, EngineError> {
        self.inner.fold(fold).await
    }

    async fn commit(&self, priority: Priority, reads: Vec<Read>, decide: Decide) -> Result<bool, EngineError> {
        if priority == Priority::Foreground {
            return self.inner.commit(priority, reads, decide).await;
        }
        let (inner, held) = (self.inner.clone(), Arc::clone(&self.held));
        let landing = tokio::spawn(async move {
            let _free = held.lock().await;
            inner.commit(priority, reads, decide).await
        });
        landing.await.unwrap()
    }

    async fn log(&self, after: u64, bytes: usize) -> Result<Vec<Entry>, EngineError> {
        if self.busy {
            let read = self.read.fetch_add(1, Ordering::Relaxed);
            assert!(read < 200, "the log is read for ever");
            let row = Write::Put(vec![0xee, read], vec![1]);
            commit(&self.inner, Vec::new(), move |_| Ok::<_, ()>((vec![row.clone()], ()))).await.unwrap();
        }
        self.inner.log(after, bytes).await
    }

    fn forget_log(&self, through: u64) {
        self.inner.forget_log(through);
    }

    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, EngineError> {
        self.inner.snapshot().await
    }
}
