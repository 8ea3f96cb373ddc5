//! A silo that takes nothing is left alone for a while by what runs in the background: longer each time, and told.

use std::sync::Mutex;
use std::time::Duration;

/// Failures in a row before it rests.
const PATIENCE: u32 = 3;
/// How long the first time; twice as long each time after.
const FIRST: Duration = Duration::from_secs(2);
/// And at most.
const LONGEST: Duration = Duration::from_secs(30);

/// Whether moves are tried onto a silo. The lock is held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<Row>);

/// Failures in a row.
#[derive(Debug, Default)]
struct Row {
    failures: u32,
    rests_until: Duration,
    reason: String,
}

impl Breaker {
    /// It took something.
    pub(crate) fn worked(&self) {
        *self.0.lock().expect("no holder panics") = Row::default();
    }

    /// It did not. What began before it rested says nothing new.
    pub(crate) fn failed(&self, reason: &str, now: Duration) {
        let mut row = self.0.lock().expect("no holder panics");
        if now < row.rests_until {
            return;
        }
        row.failures += 1;
        reason.clone_into(&mut row.reason);
        if let Some(times) = row.failures.checked_sub(PATIENCE) {
            row.rests_until = now + FIRST.saturating_mul(1 << times.min(16)).min(LONGEST);
        }
    }

    /// Why nothing is tried now; one sentence fragment.
    pub(crate) fn rests(&self, now: Duration) -> Option<String> {
        let row = self.0.lock().expect("no holder panics");
        (now < row.rests_until)
            .then(|| format!("it failed {} times in a row, the last time: {}", row.failures, row.reason))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket that answered and refused every PUT was tried with each object of a terabyte, again and again.
    #[test]
    fn what_fails_rests_longer_each_time_until_it_works() {
        let (breaker, second) = (Breaker::default(), Duration::from_secs(1));
        let rests = |at: Duration| breaker.rests(at).is_some();
        breaker.failed("403", second);
        breaker.failed("403", second);
        assert!(!rests(second), "that happens");
        breaker.failed("403", second);
        assert!(rests(second * 2) && !rests(second * 3));
        assert_eq!(breaker.rests(second * 2).unwrap(), "it failed 3 times in a row, the last time: 403");
        // Eight moves were under way: theirs is one failure more, not eight.
        for _ in 0..8 {
            breaker.failed("403", second * 3);
        }
        assert!(rests(second * 6) && !rests(second * 7));
        let mut at = second * 7;
        for _ in 0..40 {
            breaker.failed("403", at);
            at += LONGEST;
        }
        breaker.failed("403", at);
        assert!(rests(at + LONGEST / 2) && !rests(at + LONGEST), "never longer than that");
        at += LONGEST;
        breaker.worked();
        breaker.failed("403", at);
        assert!(!rests(at));
    }
}
