//! Watches: which roots are watched here, and what is told of them on to what looks at names.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::find::held;
use super::{Assimilate, Changes};
use crate::limits::WATCH_REST;
use crate::namespace::{Core, Namespace};
use crate::table::roots::{RootId, RootRow};

/// What is watched here, by root. Dropped, nothing is.
#[derive(Default)]
pub(super) struct Watches(HashMap<RootId, Watching>);

/// A root's watch, which ends with this.
struct Watching {
    core: Arc<Core>,
    id: RootId,
    /// What it was begun by.
    order: Assimilate,
    task: JoinHandle<()>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.task.abort();
        held(&self.core.looking.changes).remove(&self.id);
        held(&self.core.looking.dirty).forget(self.id);
    }
}

impl Watches {
    /// Watches these roots and no others.
    pub(super) fn keep(&mut self, core: &Arc<Core>, roots: &[RootRow]) {
        let mine: HashMap<RootId, &RootRow> = roots.iter().map(|row| (row.info.id, row)).collect();
        self.0.retain(|id, watching| mine.get(id).is_some_and(|row| row.info.order == watching.order));
        for (id, row) in mine {
            self.0.entry(id).or_insert_with(|| {
                let task = tokio::spawn(Arc::clone(core).watch_forever(row.clone()));
                // What was told before, and not looked at yet, is for a pass.
                core.touch_all(id);
                Watching { core: Arc::clone(core), id, order: row.info.order.clone(), task }
            });
        }
    }
}

impl Namespace {
    /// How soon changes of a root are seen by this gateway.
    pub fn changes(&self, id: RootId) -> Changes {
        let known = held(&self.looking.changes).get(&id).cloned();
        known.unwrap_or_else(|| Changes::ByPass("no watch was begun yet".to_owned()))
    }
}

impl Core {
    async fn watch_forever(self: Arc<Self>, row: RootRow) {
        let id = row.info.id;
        loop {
            let ended = if row.info.order.watch { self.watch(&row).await } else { "it is not watched".to_owned() };
            tracing::info!(root = id, reason = ended, "changes are seen by passes");
            held(&self.looking.changes).insert(id, Changes::ByPass(ended));
            if !row.info.order.watch {
                return;
            }
            self.clock.sleep(WATCH_REST).await;
        }
    }

    /// Watches until that ends; answers why.
    async fn watch(&self, row: &RootRow) -> String {
        let (id, order) = (row.info.id, &row.info.order);
        let holdings = match self.silo_of(row) {
            Ok((_, holdings)) => holdings,
            Err(fault) => return fault.to_string(),
        };
        let mut watch = match holdings.watch(order.prefix.as_bytes()).await {
            Ok(watch) => watch,
            Err(reason) => return reason,
        };
        // What was changed before it was watched is for a pass to see.
        self.touch_all(id);
        loop {
            let changes = Changes::AtOnce(watch.unseen().map(str::to_owned));
            if held(&self.looking.changes).insert(id, changes.clone()).as_ref() != Some(&changes) {
                tracing::info!(root = id, %changes, "changes are seen");
            }
            match watch.next().await {
                Ok(touched) => self.touch(id, order, &touched),
                Err(reason) => return reason,
            };
        }
    }
}
