//! An engine that holds one commit back, so that another one can be faster.

#![allow(dead_code, reason = "not every test wants all of it")]

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use holdall_namespace::engine::log::{Entry, Snapshot};
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::engine::{Decide, Engine, EngineError, Fold, Folded, Key, Page, Priority, Read};
use tokio::sync::Notify;

/// See the module.
#[derive(Default)]
pub(crate) struct Held {
    inner: Memory,
    armed: AtomicBool,
    armed_for: Mutex<Option<Key>>,
    came: Notify,
    goes: Notify,
}

impl Held {
    /// The next commit of the background waits, until [`Self::let_go`].
    pub(crate) fn hold_next(&self) {
        self.armed.store(true, Ordering::SeqCst);
    }

    /// The next commit that reads this row waits likewise.
    pub(crate) fn hold_next_that_reads(&self, row: Key) {
        *self.armed_for.lock().expect("no holder panics") = Some(row);
    }

    fn holds(&self, priority: Priority, reads: &[Read]) -> bool {
        let is_read = |row: &mut Key| reads.iter().any(|read| matches!(read, Read::Row(key) if key == row));
        let for_a_row = self.armed_for.lock().expect("no holder panics").take_if(is_read).is_some();
        for_a_row || (priority == Priority::Background && self.armed.swap(false, Ordering::SeqCst))
    }

    /// Until it is there.
    pub(crate) async fn came(&self) {
        self.came.notified().await;
    }

    pub(crate) fn let_go(&self) {
        self.goes.notify_one();
    }
}

#[async_trait]
impl Engine for Held {
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
        if self.holds(priority, &reads) {
            self.came.notify_one();
            self.goes.notified().await;
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
