//! Patience with a slow peer: so long without a byte, or so long on average below a rate, and it runs out. Only time
//! spent waiting for the peer counts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::limits::MIN_RATE;

/// Watches one direction of a connection.
pub(crate) struct Pace {
    bucket: Bucket,
    waiting: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

/// A leaky bucket of waiting time: waiting drains it, each byte that moves fills it a little.
struct Bucket {
    patience: Duration,
    left: Duration,
}

impl Pace {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { bucket: Bucket { patience, left: patience }, waiting: None, timer: None }
    }

    /// The peer moved this many bytes.
    pub(crate) fn moved(&mut self, bytes: usize) {
        if let Some(since) = self.waiting.take() {
            self.bucket.drain(since.elapsed());
        }
        self.bucket.fill(bytes);
    }

    /// The peer keeps us waiting; ready when it did so for too long.
    pub(crate) fn poll_exhausted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waiting.is_none() {
            let now = Instant::now();
            self.waiting = Some(now);
            let deadline = now + self.bucket.left;
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(deadline),
                None => self.timer = Some(Box::pin(tokio::time::sleep_until(deadline))),
            }
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
}

impl Bucket {
    fn drain(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    fn fill(&mut self, bytes: usize) {
        if self.left < self.patience {
            let earned = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000 / MIN_RATE));
            self.left = self.patience.min(self.left + earned);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// How many seconds a peer that moves so many bytes in each of them is borne, at most 1,000.
    fn borne(bytes: usize) -> usize {
        let mut bucket = Bucket { patience: PATIENCE, left: PATIENCE };
        let second = |_: &usize| {
            bucket.drain(Duration::from_secs(1));
            let bearable = bucket.left > Duration::ZERO;
            bucket.fill(bytes);
            bearable
        };
        (0..1000).take_while(second).count()
    }

    #[test]
    fn silence_and_trickles_exhaust_it_and_the_rate_does_not() {
        assert_eq!(borne(0), 29);
        assert_eq!(borne(100), 33);
        assert_eq!(borne(1000), 1000);
        assert_eq!(borne(1 << 20), 1000);
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken_when_it_runs_out() {
        let mut pace = Pace::new(Duration::from_millis(1));
        poll_fn(|cx| pace.poll_exhausted(cx)).await;
    }
}
