//! How fast background work may go: by job, and by silo and direction.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Lets bytes pass at a rate. The lock is held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Bytes a second; none is unlimited.
    per_second: Option<u64>,
    free_at: Mutex<Duration>,
}

impl Gate {
    /// At most so many bytes a second; none, and 0, are unlimited.
    pub(crate) fn new(per_second: Option<u64>) -> Self {
        Self { per_second: per_second.filter(|rate| *rate > 0), free_at: Mutex::default() }
    }

    /// Lets bytes pass, and answers how long they wait for that.
    fn wait(&self, bytes: u64, now: Duration) -> Duration {
        let Some(rate) = self.per_second else { return Duration::ZERO };
        let mut free_at = self.free_at.lock().expect("no holder panics");
        let start = (*free_at).max(now);
        *free_at = start + Duration::from_secs_f64(bytes as f64 / rate as f64);
        start.saturating_sub(now)
    }
}

/// How fast a silo may be read and written by what runs in the background.
#[derive(Debug, Default)]
pub(crate) struct SiloPace {
    /// Read.
    pub(crate) reading: Gate,
    /// Written.
    pub(crate) writing: Gate,
}

/// Lets bytes pass at a job's rate, until it is stopped.
pub struct Pacer {
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    ahead: Gate,
    /// Of what is read back to be verified: as fast, beside what goes ahead.
    back: Gate,
}

impl Pacer {
    /// At most `per_second` bytes a second, none is unlimited; and none at all after `stop`.
    pub fn new(clock: Arc<dyn Clock>, per_second: Option<u64>, stop: CancellationToken) -> Self {
        Self { clock, stop, ahead: Gate::new(per_second), back: Gate::new(per_second) }
    }

    /// Waits until `bytes` more may pass; false when none may any more.
    pub async fn pass(&self, bytes: u64) -> bool {
        self.pass_with(&[], bytes).await
    }

    /// The same through the gates of silos, too.
    pub(crate) async fn pass_with(&self, silos: &[&Gate], bytes: u64) -> bool {
        self.wait(&self.ahead, silos, bytes).await
    }

    /// The same of bytes that are read back.
    pub(crate) async fn pass_back(&self, silos: &[&Gate], bytes: u64) -> bool {
        self.wait(&self.back, silos, bytes).await
    }

    /// Whether none may pass any more.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    async fn wait(&self, own: &Gate, silos: &[&Gate], bytes: u64) -> bool {
        let now = self.clock.monotonic();
        let longest = std::iter::once(&own).chain(silos).map(|gate| gate.wait(bytes, now)).max().unwrap_or_default();
        if longest.is_zero() {
            return !self.is_stopped();
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = self.clock.sleep(longest) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read back to be verified went as fast as the silo gave it, in a burst after each gibibyte.
    #[test]
    fn bytes_wait_for_those_before_them() {
        let (second, now) = (Duration::from_secs(1), Duration::from_secs(9));
        let gate = Gate::new(Some(100));
        assert_eq!((gate.wait(50, now), gate.wait(50, now), gate.wait(1, now)), (Duration::ZERO, second / 2, second));
        assert_eq!(gate.wait(1, now + second * 5), Duration::ZERO, "what was not used is not saved");
        let open = Gate::new(None);
        assert_eq!((open.wait(u64::MAX, now), open.wait(1, now)), (Duration::ZERO, Duration::ZERO));
        assert_eq!(Gate::new(Some(0)).wait(7, now), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_slowest_gate_counts_and_a_stop_ends_waiting() {
        let (stop, slow) = (CancellationToken::new(), Gate::new(Some(10)));
        let clock = Arc::new(crate::clock::SystemClock::new());
        let pacer = Pacer::new(clock, Some(1_000_000), stop.clone());
        assert!(pacer.pass_with(&[&slow], 1000).await, "the first ones wait for none");
        assert!(pacer.pass_back(&[&Gate::new(None)], 1000).await, "what goes back waits for nothing that goes ahead");
        let gates = [&slow];
        let waiting = pacer.pass_with(&gates, 1);
        let stopped = async {
            tokio::task::yield_now().await;
            stop.cancel();
        };
        assert!(!tokio::join!(waiting, stopped).0, "100 seconds are not waited for");
    }
}
