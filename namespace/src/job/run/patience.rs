//! What jobs wait for, how long, and what ends them beside their work.

use std::sync::Arc;
use std::time::Duration;

use super::Live;
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::Health;
use crate::job::{JobState, Order, OrderError};
use crate::namespace::Core;

/// Passes in a row that moved nothing though something was left, before a job gives up.
pub(super) const FRUITLESS: u32 = 8;

/// How long a job waits between passes that had failures.
const BETWEEN_PASSES: Duration = Duration::from_millis(500);

impl Core {
    /// A drain cordons its source before it is written down: one that was taken into use since has been given up. So has a lost
    /// silo's job where that was found.
    pub(super) fn is_reopened(&self, order: &Order) -> bool {
        match order {
            Order::Drain { from, .. } => self.inventory().named(from).is_some_and(|open| !open.row.cordoned),
            Order::Lost { silo } => self.inventory().named(silo).is_some_and(|open| !open.is_lost()),
            Order::Place { .. } | Order::Undo { .. } | Order::Align { .. } | Order::Scrub { .. } => false,
        }
    }

    /// Begins once more where the index does not answer for a while, as another gateway would.
    pub(super) async fn work_patiently(self: &Arc<Self>, live: &Arc<Live>) -> Result<JobState, OrderError> {
        let mut fruitless = 0;
        loop {
            let before = live.info().moved_objects;
            let reason = match self.work(live).await {
                Err(OrderError::Fault(Fault::Unavailable(reason))) => reason,
                ended => return ended,
            };
            fruitless = if live.info().moved_objects > before { 1 } else { fruitless + 1 };
            live.change(|info| info.error = Some(reason));
            self.give_up_after(fruitless, live).await?;
        }
    }

    /// Waits a while before another pass, longer after each that came to nothing; too many of them, and the job has failed.
    pub(super) async fn give_up_after(&self, fruitless: u32, live: &Live) -> Result<(), OrderError> {
        if fruitless >= FRUITLESS {
            let error = live.info().error.unwrap_or_default();
            return Err(OrderError::Invalid(format!("nothing moves any more: {error}")));
        }
        self.clock.sleep(BETWEEN_PASSES * (1 << fruitless.min(6))).await;
        Ok(())
    }

    /// Waits until the silo that an order brings something to, or leaves it with, is there, or it is stopped.
    pub(super) async fn wait_while_down(&self, live: &Live, order: &Order) {
        let (Order::Place { on: silo, .. } | Order::Drain { to: silo, .. } | Order::Undo { to: silo, .. }) = order
        else {
            return;
        };
        let is_down = || self.inventory().named(silo).is_some_and(|open| open.health() == Health::Down);
        while is_down() && !live.stop.is_cancelled() {
            live.change(|info| info.error = Some(format!("silo `{silo}` is down")));
            self.clock.sleep(crate::limits::BEAT).await;
        }
    }

    /// Whether any silo is down that is not lost.
    pub(super) fn is_any_down(&self) -> bool {
        self.inventory().silos.values().any(|open| !open.is_lost() && open.health() == Health::Down)
    }

    /// Whether a silo is down, or left alone for a while.
    pub(super) fn is_away(&self, silo: SiloId) -> bool {
        let inventory = self.inventory();
        let Some(open) = inventory.silos.get(&silo).filter(|open| !open.is_lost()) else { return false };
        open.health() == Health::Down || open.rests(self.clock.monotonic()).is_some()
    }
}
