//! Jobs that are stopped, for good or for a while.

use super::{JobInfo, JobState, OrderError};
use crate::extent::JobId;
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

    /// Lets a paused job go on, unless what was ordered since contradicts it.
    pub async fn resume_job(&self, id: JobId) -> Result<JobInfo, OrderError> {
        let _one_at_a_time = self.core.ordering.lock().await;
        let info = self.job(id).await?;
        if info.state != JobState::Paused {
            return Err(OrderError::Invalid(format!("job {id} is not paused")));
        }
        self.core.refuse_at_odds(&info.order).await?;
        self.core.running.gone(id).await;
        let changed = self.core.change_job(id, |row| {
            if row.info.state == JobState::Paused {
                row.info.state = JobState::Running;
            }
        });
        let info = changed.await?.ok_or(OrderError::NoSuchJob(id))?;
        self.core.job_wanted.notify_one();
        Ok(info)
    }
}

impl Core {
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
