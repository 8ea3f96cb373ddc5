//! Jobs that are stopped, for good or for a while.

use super::{JobInfo, JobState, Order, OrderError, until_written};
use crate::extent::JobId;
use crate::fault::Fault;
use crate::namespace::{Core, Namespace};

impl Namespace {
    /// Stops a job; moves under way are given up.
    pub async fn cancel_job(&self, id: JobId) -> Result<JobInfo, OrderError> {
        let now = self.clock.now();
        self.core
            .halt_job(id, move |info| {
                if !info.is_over() {
                    info.state = JobState::Cancelled;
                    info.finished = Some(now);
                }
            })
            .await
    }

    /// Stops a job until it is resumed; moves under way are given up, and what was moved stays moved. A drain that only waits
    /// for the sweep is not paused.
    pub async fn pause_job(&self, id: JobId) -> Result<JobInfo, OrderError> {
        let pause = |info: &mut JobInfo| {
            if info.state == JobState::Running {
                info.state = JobState::Paused;
            }
        };
        let info = self.core.halt_job(id, pause).await?;
        if info.state == JobState::Paused {
            return Ok(info);
        }
        Err(OrderError::Invalid(format!("job {id} does not run: there is nothing to pause")))
    }

    /// Lets a job go on that is paused or failed, unless what was ordered since contradicts it.
    pub async fn resume_job(&self, id: JobId) -> Result<JobInfo, OrderError> {
        let info = self.job(id).await?;
        if !info.can_go_on() {
            return Err(OrderError::Invalid(format!("job {id} is neither paused nor failed")));
        }
        self.core.refresh_inventory(false).await?;
        self.core.refuse_undone(&info.order).await?;
        let _one_at_a_time = self.core.ordering.lock().await;
        let info = &info;
        let written = until_written(move || async move {
            let checked = self.core.before_checks().await?;
            self.core.refuse_at_odds(&info.order).await?;
            self.core.refuse_overtaken(info).await?;
            self.core.running.gone(id).await;
            self.core.write_resumed(checked, id).await
        });
        let info = written.await?;
        self.core.job_wanted.notify_one();
        Ok(info)
    }
}

impl JobInfo {
    pub(super) fn can_go_on(&self) -> bool {
        matches!(self.state, JobState::Paused | JobState::Failed)
    }

    /// It runs again.
    pub(super) fn go_on(&mut self) {
        self.state = JobState::Running;
        (self.finished, self.error) = (None, None);
    }
}

impl Core {
    /// Refuses to roll back once more what was switched again since: that rollback is not this one's.
    async fn refuse_overtaken(&self, info: &JobInfo) -> Result<(), OrderError> {
        let Order::Undo { from, to, .. } = &info.order else { return Ok(()) };
        match self.last_switched(from, to).await? {
            Some(last) if last.id != info.id => {
                Err(OrderError::Invalid(format!("job {} came after job {}: {}", last.id, info.id, last.order)))
            }
            _ => Ok(()),
        }
    }

    /// The last job that ended a switch to a silo `new` from an `old` one, either way.
    pub(crate) async fn last_switched(&self, new: &str, old: &str) -> Result<Option<JobInfo>, Fault> {
        let ends = |order: &Order| match order {
            Order::Undo { from, to, .. } => from == new && to == old,
            Order::Drain { from, to } => from == old && to == new,
            Order::Place { .. } | Order::Align { .. } | Order::Lost { .. } | Order::Scrub { .. } => false,
        };
        Ok(self.job_rows().await?.into_iter().map(|row| row.info).rfind(|info| ends(&info.order)))
    }

    /// Changes a job's row so that it does not go on, and ends what is under way here.
    async fn halt_job(
        &self,
        id: JobId,
        change: impl Fn(&mut JobInfo) + Send + Sync + 'static,
    ) -> Result<JobInfo, OrderError> {
        let changed = self.change_job(id, move |row| change(&mut row.info)).await?;
        let info = changed.ok_or(OrderError::NoSuchJob(id))?;
        if !info.is_active() {
            self.running.cancel(id);
        }
        Ok(info)
    }
}
