//! Jobs that nobody runs are taken, and handed on in the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::fault::Fault;
use crate::job::JobInfo;
use crate::namespace::Core;
use crate::sweep::live_sessions;

impl Core {
    /// Takes jobs that nobody runs, for ever.
    pub(crate) async fn run_jobs_forever(self: Arc<Self>) {
        if let Err(fault) = self.forget_moves(None).await {
            tracing::warn!(%fault, "the journal of earlier lives was not cleared");
        }
        loop {
            if let Err(fault) = self.take_jobs().await {
                tracing::warn!(%fault, "jobs could not be taken");
            }
            tokio::select! {
                () = self.job_wanted.notified() => {}
                () = self.clock.sleep(crate::limits::SWEEP) => {}
            }
        }
    }

    /// Stops all jobs that run here; another life takes them up.
    pub(crate) async fn stop_jobs(&self) {
        let all = std::mem::take(&mut *self.running.jobs.lock().expect("no holder panics"));
        for live in all.values() {
            live.handed_on.store(true, Ordering::Release);
            live.stop.cancel();
        }
        for live in all.into_values() {
            let task = live.task.lock().expect("no holder panics").take();
            if let Some(task) = task {
                let _ = task.await;
            }
        }
    }

    async fn take_jobs(self: &Arc<Self>) -> Result<(), Fault> {
        for info in self.jobs_taken().await? {
            self.spawn_job(info);
        }
        Ok(())
    }

    /// Jobs that nobody ran, and that are this gateway's from now on.
    async fn jobs_taken(&self) -> Result<Vec<JobInfo>, Fault> {
        let rows = self.job_rows().await?;
        let wanted = rows.into_iter().filter(|row| row.info.is_active());
        let wanted: Vec<_> = wanted.filter(|row| self.running.get(row.info.id).is_none()).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut mine = Vec::new();
        let alive: Vec<u64> = live_sessions(&*self.engine).await?.into_iter().map(|(id, _)| id).collect();
        for row in wanted {
            if alive.contains(&row.owner) && row.owner != self.session().id {
                continue;
            }
            let (me, seen) = (self.session().id, row.owner);
            // Another gateway may be faster: what the commit decides last counts.
            let is_mine = Arc::new(AtomicBool::new(false));
            let decided = Arc::clone(&is_mine);
            let taken = self.change_job(row.info.id, move |row| {
                if row.owner == seen {
                    row.owner = me;
                }
                decided.store(row.owner == me, Ordering::Release);
            });
            let active = taken.await?.is_some_and(|info| info.is_active());
            if active && is_mine.load(Ordering::Acquire) {
                mine.push(row.info);
            }
        }
        Ok(mine)
    }

    /// Takes jobs that nobody runs and carries them out, one after the other, before this answers: for tests that own every step.
    #[cfg(test)]
    pub(crate) async fn run_jobs_here(self: &Arc<Self>) -> Result<(), Fault> {
        for info in self.jobs_taken().await? {
            let live = self.running.add(info);
            Arc::clone(self).run_job(Arc::clone(&live)).await;
            if live.handed_on.load(Ordering::Acquire) {
                break;
            }
        }
        Ok(())
    }

    fn spawn_job(self: &Arc<Self>, info: JobInfo) {
        let id = info.id;
        tracing::info!(job = id, "job taken");
        let live = self.running.add(info);
        let (core, own) = (Arc::clone(self), Arc::clone(&live));
        let task = tokio::spawn(async move { core.run_job(own).await });
        *live.task.lock().expect("no holder panics") = Some(task);
    }
}
