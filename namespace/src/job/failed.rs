//! What did not move, and why: as this gateway saw it, until it moves or is not to move any more.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::extent::{JobId, Number};
use crate::fault::Fault;
use crate::job::MoveInfo;
use crate::limits::FAILURES_KEPT;
use crate::namespace::Namespace;
use crate::plan::Move;
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};

/// A step that failed, and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedMove {
    /// What was to move; its object is named where that was read.
    #[serde(flatten)]
    pub moving: MoveInfo,
    /// The job; 0 is none: it moves by itself.
    pub job: JobId,
    /// How often it was tried without success.
    pub tries: u64,
    /// The last reason, in one sentence fragment.
    pub reason: String,
    /// When it failed first.
    pub first: UnixMs,
    /// And last.
    pub last: UnixMs,
}

/// Steps that failed. The lock is held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Failed(Mutex<BTreeMap<Number, FailedMove>>);

impl Failed {
    /// A step failed. Beyond a limit the one that failed longest ago is forgotten: it comes back with its next try.
    pub(crate) fn note(&self, planned: &Move, moving: MoveInfo, job: JobId, reason: &str, now: UnixMs) {
        let mut all = self.0.lock().expect("no holder panics");
        let (tries, first) = all.get(&planned.extent).map_or((0, now), |before| (before.tries, before.first));
        let (tries, reason) = (tries + 1, reason.to_owned());
        let failed = FailedMove { moving, job, tries, reason, first, last: now };
        all.insert(planned.extent, failed);
        if all.len() > FAILURES_KEPT {
            let oldest = all.iter().min_by_key(|(_, failed)| failed.last).map(|(id, _)| *id);
            oldest.and_then(|id| all.remove(&id));
        }
    }

    /// Nobody tries what a job did not bring about.
    pub(crate) fn forget_job(&self, job: JobId) {
        self.0.lock().expect("no holder panics").retain(|_, failed| failed.job != job);
    }

    /// It moved, or is not to move any more.
    pub(crate) fn forget(&self, extent: Number) {
        self.0.lock().expect("no holder panics").remove(&extent);
    }
}

impl Namespace {
    /// What failed to move here and did not move since, the longest first; at most [`FAILURES_KEPT`].
    pub async fn failed_moves(&self) -> Result<Vec<FailedMove>, Fault> {
        let failed = &self.core.running.failed;
        let ids: Vec<Number> = failed.0.lock().expect("no holder panics").keys().copied().collect();
        let rows = self.engine.get(&ids.iter().map(|id| extent(*id)).collect::<Vec<_>>()).await?;
        // What was deleted meanwhile is tried by nobody any more.
        for (id, row) in ids.into_iter().zip(rows) {
            if decode_row::<ExtentRow>(row.as_ref())?.is_none_or(|row| row.first.is_none()) {
                failed.forget(id);
            }
        }
        let mut all: Vec<FailedMove> = failed.0.lock().expect("no holder panics").values().cloned().collect();
        all.sort_by_key(|failed| failed.first);
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;

    #[test]
    fn what_failed_is_told_until_it_moves_and_never_more_than_a_limit() {
        let failed = Failed::default();
        let info = |number: u64| MoveInfo {
            extent: number.to_string(),
            bucket: None,
            key: None,
            from: "hot".to_owned(),
            to: "cold".to_owned(),
            bytes: 1,
        };
        let planned = |number: u64| {
            let extent = Number { session: 1, number };
            Move { step: Step::Move, extent, bytes: 1, from: 1, to: 2, by: None }
        };
        let told = || failed.0.lock().unwrap().values().map(|one| (one.tries, one.first, one.last)).collect::<Vec<_>>();
        failed.note(&planned(1), info(1), 0, "full", 5);
        failed.note(&planned(1), info(1), 0, "down", 9);
        assert_eq!(told(), [(2, 5, 9)]);
        failed.forget(planned(1).extent);
        assert_eq!(told(), []);
        for number in 0..=FAILURES_KEPT as u64 {
            failed.note(&planned(number), info(number), 0, "full", 10 + number as i64);
        }
        assert_eq!((told().len(), told()[0].1), (FAILURES_KEPT, 11));
    }
}
