//! Whose turn it is: roots are passed when they are due, and parts of them when a list waits.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::find::held;
use super::pass::Broken;
use super::watch::Watches;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::inventory::load_roots;
use crate::limits::{PASS_REST, PASS_SPACING, PASSES_AT_ONCE, SWEEP};
use crate::namespace::Core;
use crate::sweep::live_sessions;
use crate::table::roots::{RootId, RootRow};

impl Core {
    /// Passes roots when they are due, and what lists wait for at once, for ever.
    pub(crate) async fn pass_roots_forever(self: Arc<Self>) {
        let (mut passes, mut watches) = (JoinSet::new(), Watches::default());
        loop {
            tokio::select! {
                () = self.looking.wanted.notified() => {}
                () = self.clock.sleep(SWEEP / 2) => {}
            }
            while passes.try_join_next().is_some() {}
            if let Err(fault) = self.begin_due(&mut passes, &mut watches).await {
                tracing::debug!(%fault, "roots could not be looked at");
            }
        }
    }

    async fn begin_due(self: &Arc<Self>, passes: &mut JoinSet<()>, watches: &mut Watches) -> Result<(), Fault> {
        let asked: Vec<_> = held(&self.looking.asked).drain(..).collect();
        if self.inventory().roots.is_empty() {
            watches.keep(self, &[]);
            return Ok(());
        }
        for (id, prefix) in asked {
            if let Some(row) = self.root_row(id).await?.filter(|row| !row.info.has_seen_all(&prefix)) {
                self.begin(passes, row, prefix);
            }
        }
        let (now, mut roots) = (self.clock.now(), self.roots_of_mine().await?);
        watches.keep(self, &roots);
        // Whoever waited longest comes first.
        roots.sort_by_key(|row| row.info.passed);
        for row in roots {
            let due = |passed: i64| now.saturating_sub(passed) >= row.info.order.every_seconds as i64 * 1000;
            if row.info.passed.is_some_and(|passed| !due(passed) && !self.is_early(row.info.id, passed, now)) {
                continue;
            }
            let resting = held(&self.looking.resting).get(&row.info.id).copied();
            if resting.is_some_and(|until| self.clock.monotonic() < until) {
                continue;
            }
            self.begin(passes, row, String::new());
        }
        Ok(())
    }

    /// Roots that no other gateway passes.
    pub(super) async fn roots_of_mine(&self) -> Result<Vec<RootRow>, Fault> {
        let (me, mut roots) = (self.session().id, load_roots(&*self.engine).await?);
        if roots.iter().any(|row| row.owner != me) {
            let alive = live_sessions(&*self.engine).await?;
            roots.retain(|row| row.owner == me || !alive.iter().any(|(session, _)| *session == row.owner));
        }
        Ok(roots)
    }

    /// A root of which more was told than is looked at name by name is passed before its time.
    fn is_early(&self, id: RootId, passed: UnixMs, now: UnixMs) -> bool {
        held(&self.looking.dirty).wants_pass(id) && now.saturating_sub(passed) >= PASS_SPACING.as_millis() as i64
    }

    fn begin(self: &Arc<Self>, passes: &mut JoinSet<()>, row: RootRow, prefix: String) {
        let which = (row.info.id, prefix.clone());
        let mut passing = held(&self.looking.passing);
        // Parts, which lists wait for, do not wait for whole roots.
        let alike = passing.iter().filter(|(_, other)| other.is_empty() == prefix.is_empty()).count();
        if alike >= PASSES_AT_ONCE || !passing.insert(which.clone()) {
            return;
        }
        drop(passing);
        if prefix.is_empty() {
            held(&self.looking.dirty).begun(row.info.id);
        }
        let (core, under_way) = (Arc::clone(self), UnderWay { core: Arc::clone(self), which });
        passes.spawn(async move {
            let _under_way = under_way;
            core.pass(row, prefix).await;
        });
    }

    /// One pass, and what is noted of it.
    async fn pass(self: &Arc<Self>, row: RootRow, prefix: String) {
        let (id, whole, me) = (row.info.id, prefix.is_empty(), self.session().id);
        let Err(Broken::Failed(reason)) = self.try_pass(row, &prefix).await else { return };
        tracing::warn!(root = id, reason, "a pass broke off");
        *held(&self.looking.broken).entry(id).or_default() += 1;
        if whole {
            let until = self.clock.monotonic() + PASS_REST;
            held(&self.looking.resting).insert(id, until);
            held(&self.looking.dirty).all(id);
        }
        let noted = self.change_root(id, move |row| {
            row.info.problem = Some(reason.clone());
            // Another gateway may see more of it.
            if whole && row.owner == me {
                row.owner = 0;
            }
        });
        if let Err(fault) = noted.await {
            tracing::debug!(root = id, %fault, "a pass's end was not noted");
        }
    }
}

/// Takes its name off the list of what is passed, whatever becomes of it.
struct UnderWay {
    core: Arc<Core>,
    which: (RootId, String),
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        held(&self.core.looking.passing).remove(&self.which);
    }
}
