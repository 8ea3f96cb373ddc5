//! What moves without an order, for objectives: no row says that it runs, and it has no end.

use std::sync::Arc;

use super::{Live, Pass};
use crate::job::{BY_ITSELF, JobInfo, Order, OrderError, Pace, Walk};
use crate::mover::Pacer;
use crate::namespace::Core;
use crate::objective::Scope;

/// What came of steps that were to be taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    /// Taken.
    pub taken: usize,
    /// To be tried again.
    pub failed: usize,
}

/// What moves without an order.
pub(crate) struct Standing {
    live: Arc<Live>,
    pacer: Arc<Pacer>,
}

impl Core {
    /// Begins what has no row and no end.
    pub(crate) fn stand(&self, pace: Pace) -> Standing {
        let live = self.running.add(self.without_order(pace));
        Standing::of(self, live)
    }

    /// The same for one request.
    pub(crate) fn stand_alone(&self) -> Standing {
        let live = Live::new(self.without_order(Pace::default()));
        Standing::of(self, Arc::new(Live { for_a_write: true, ..live }))
    }

    fn without_order(&self, pace: Pace) -> JobInfo {
        JobInfo::new(BY_ITSELF, Order::Align { on: Scope::default() }, pace, self.clock.now())
    }
}

impl Standing {
    fn of(core: &Core, live: Arc<Live>) -> Self {
        let (clock, rate) = (Arc::clone(&core.clock), live.info().pace.bytes_per_second);
        let pacer = Arc::new(Pacer::new(clock, rate, live.stop.clone()));
        Self { live, pacer }
    }

    /// The same at a pace of its own, so that it waits for none of what is carried out by the other.
    pub(crate) fn beside(&self, core: &Core) -> Self {
        Self::of(core, Arc::clone(&self.live))
    }

    /// Carries out what a walk finds.
    pub(crate) async fn carry_out(&self, core: &Arc<Core>, walk: &mut Walk) -> Result<Steps, OrderError> {
        let Pass { moved, failed, .. } = core.one_pass(&self.live, walk, &self.pacer).await?;
        Ok(Steps { taken: moved, failed })
    }

    /// All is well again.
    pub(crate) fn forget_error(&self) {
        self.live.change(|info| info.error = None);
    }

    /// Moves so far, and the last failure.
    pub(crate) fn info(&self) -> JobInfo {
        self.live.info()
    }
}
