//! Who is connected: how many, who idles, and the word that each shall finish or leave.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;

use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Finish the request in flight, then close.
    Finish,
    /// Close now.
    Leave,
}

/// One connection's place.
pub(super) struct Seat {
    order: AtomicU8,
    waker: AtomicWaker,
    /// A request is being answered, or its answer sent.
    busy: AtomicBool,
    /// When it last became idle, in milliseconds of the table's time.
    idle_since: AtomicU64,
    epoch: Instant,
}

impl Seat {
    fn new(epoch: Instant) -> Self {
        Self {
            order: AtomicU8::new(Order::Serve as u8),
            waker: AtomicWaker::new(),
            busy: AtomicBool::new(false),
            idle_since: AtomicU64::new(epoch.elapsed().as_millis() as u64),
            epoch,
        }
    }

    pub(super) fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.idle_since.store(self.epoch.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// What to do now; the task is woken when that changes.
    pub(super) fn order(&self, cx: &Context<'_>) -> Order {
        self.waker.register(cx.waker());
        match self.order.load(Ordering::Acquire) {
            0 => Order::Serve,
            1 => Order::Finish,
            _ => Order::Leave,
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.order.load(Ordering::Acquire) != Order::Serve as u8
    }

    fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.waker.wake();
    }
}

/// All connections of one listener.
pub(super) struct Seats {
    /// Held for a look-up or a change only, never across an await.
    taken: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    left: Notify,
    epoch: Instant,
}

/// A connection's hold on its seat; dropping it frees the seat.
pub(super) struct Guest {
    seats: Arc<Seats>,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

impl Seats {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::new(HashMap::new()),
            next: AtomicU64::new(0),
            left: Notify::new(),
            epoch: Instant::now(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.taken().len()
    }

    pub(super) fn sit(self: &Arc<Self>) -> Guest {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let seat = Arc::new(Seat::new(self.epoch));
        self.taken().insert(number, seat.clone());
        Guest { seats: self.clone(), number, seat }
    }

    /// Sends the longest idle connection away; whether there was one.
    pub(super) fn shed(&self) -> bool {
        let mut taken = self.taken();
        let idle = taken.iter().filter(|(_, seat)| !seat.busy.load(Ordering::Relaxed));
        let longest = idle.min_by_key(|(number, seat)| (seat.idle_since.load(Ordering::Relaxed), **number));
        let Some(number) = longest.map(|(number, _)| *number) else { return false };
        if let Some(seat) = taken.remove(&number) {
            seat.give(Order::Leave);
        }
        true
    }

    /// Passes an order to everybody.
    pub(super) fn tell_all(&self, order: Order) {
        for seat in self.taken().values() {
            seat.give(order);
        }
    }

    /// Waits until fewer than so many are seated.
    pub(super) async fn fewer_than(&self, count: usize) {
        loop {
            let left = self.left.notified();
            if self.count() < count {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.seats.taken().remove(&self.number);
        self.seats.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_longest_idle_one_makes_room_and_a_busy_one_never_does() {
        let seats = Seats::new();
        let (busy, old, new) = (seats.sit(), seats.sit(), seats.sit());
        busy.seat.begin();
        new.seat.begin();
        new.seat.end();
        assert!(seats.shed());
        assert!(old.seat.is_draining());
        assert!(!new.seat.is_draining());
        assert!(seats.shed());
        assert!(new.seat.is_draining());
        assert!(!seats.shed());
        assert_eq!(seats.count(), 1);
        drop((busy, old, new));
        seats.fewer_than(1).await;
    }
}
