//! A clock that a test owns: its time passes when nothing is left to do at this moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use holdall_namespace::clock::{Clock, UnixMs};
use tokio::sync::oneshot;

/// So often others have their turn before time passes; everything here is in memory, and waits for nothing else.
const TURNS: usize = 20;

/// For a runtime of one thread.
#[derive(Default)]
pub(crate) struct TestClock {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Duration,
    /// By the time they wake, in the order they came.
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    slept: u64,
}

impl TestClock {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        let until = self.monotonic() + time;
        while self.step(until).await {}
        self.lock().now = until;
    }

    /// Lets time pass until something is done.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let passing = async { while self.step(Duration::MAX).await {} };
        tokio::select! {
            biased;
            done = work => done,
            () = passing => panic!("nothing wakes it"),
        }
    }

    /// Wakes who sleeps the shortest; false where nobody wakes until then.
    async fn step(&self, until: Duration) -> bool {
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        let mut state = self.lock();
        let Some(next) = state.sleepers.first_entry().filter(|next| next.key().0 <= until) else { return false };
        let ((wakes, _), sleeper) = next.remove_entry();
        state.now = state.now.max(wakes);
        // Whoever slept may have gone away.
        let _ = sleeper.send(());
        true
    }
}

#[async_trait::async_trait]
impl Clock for TestClock {
    fn now(&self) -> UnixMs {
        1_700_000_000_000 + self.monotonic().as_millis() as UnixMs
    }

    fn monotonic(&self) -> Duration {
        self.lock().now
    }

    async fn sleep(&self, time: Duration) {
        if time.is_zero() {
            return tokio::task::yield_now().await;
        }
        let (wake, woken) = oneshot::channel();
        {
            let mut state = self.lock();
            state.slept += 1;
            let at = (state.now + time, state.slept);
            state.sleepers.insert(at, wake);
        }
        let _ = woken.await;
    }
}
