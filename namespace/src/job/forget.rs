//! Jobs that are over are listed for a while.

use super::{JobState, Order};
use crate::engine::{Rows, Write};
use crate::fault::Fault;
use crate::limits::JOBS_KEPT;
use crate::namespace::Core;
use crate::table::jobs::{JobRow, job as job_key};

impl Core {
    /// Keeps the list of jobs short: the oldest finished ones go.
    pub(super) async fn forget_old_jobs(&self) -> Result<(), Fault> {
        let rows = self.job_rows().await?;
        let surplus = rows.len().saturating_sub(JOBS_KEPT);
        // When a silo was scrubbed last, and whether a lost one was forgotten, is asked of these rows.
        let is_newest = |row: &&JobRow| {
            let newer = |other: &JobRow| other.info.id > row.info.id && other.info.order == row.info.order;
            row.info.state == JobState::Done
                && matches!(row.info.order, Order::Scrub { .. } | Order::Lost { .. })
                && !rows.iter().any(|other| other.info.state == JobState::Done && newer(other))
        };
        let old = rows.iter().filter(|row| row.info.is_over() && !is_newest(row)).take(surplus);
        let writes: Vec<Write> = old.map(|row| Write::Delete(job_key(row.info.id))).collect();
        if !writes.is_empty() {
            let decide = move |_: &Rows| Ok::<_, Fault>((writes.clone(), ()));
            crate::engine::commit(&*self.engine, Vec::new(), decide).await?;
        }
        Ok(())
    }
}
