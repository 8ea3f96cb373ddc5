//! When objects are compared next: those that changed, and all. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::engine::Key;
use crate::job::Steps;
use crate::limits::{ALIGN_EVERY, ALIGN_KEPT, ALIGN_SOON};
use crate::objective::{Outlook, SHARED};

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// All is where it is wanted, or rests for good.
    ToRest,
    /// Something was moved, and there may be a next step.
    Closer,
    /// The same, and the rest of it was left since it took long.
    Cut,
    /// Something waits, or failed.
    ToNothing,
}

/// When all objects are compared next.
#[derive(Debug, Default)]
pub(super) struct Due {
    at: Duration,
    /// How long the next comparison was put off, after the last ones that left something waiting.
    rest: Duration,
    /// What was declared at the last one; none where there was none, or it broke off.
    revision: Option<i64>,
    /// Sooner than this it is not worth its while, since it takes long.
    not_before: Duration,
}

/// Objects that changed and could not be brought where they are wanted.
#[derive(Debug, Default)]
pub(super) struct Again {
    objects: BTreeSet<Key>,
    at: Duration,
    rest: Duration,
}

impl Came {
    /// From what was found, and what came of the steps.
    pub(super) fn of(outlook: &Outlook, steps: Steps) -> Self {
        match () {
            () if steps.taken > 0 => Self::Closer,
            () if steps.failed > 0 || !outlook.moves.is_empty() => Self::ToNothing,
            () if outlook.waits.iter().any(|waiting| waiting.reason != SHARED) => Self::ToNothing,
            () => Self::ToRest,
        }
    }
}

/// Twice as long as before, from `ALIGN_SOON` to `ALIGN_EVERY`.
fn longer(rest: Duration) -> Duration {
    (rest * 2).clamp(ALIGN_SOON, ALIGN_EVERY)
}

impl Due {
    /// Whether it is time, with what is declared now; or since more objects changed than are remembered.
    pub(super) fn is(&mut self, now: Duration, revision: i64, too_many: bool) -> bool {
        if too_many {
            self.at = self.at.min(self.not_before);
        }
        if self.revision != Some(revision) {
            self.rest = Duration::ZERO;
        }
        self.revision != Some(revision) || now >= self.at
    }

    /// What is wished changes then.
    pub(super) fn at_latest(&mut self, at: Duration) {
        self.at = self.at.min(at.max(self.not_before));
    }

    /// Nothing is wished, or another gateway compares.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// All were compared with what was declared as `revision`, from `began` to `ended`.
    pub(super) fn after(&mut self, (began, ended): (Duration, Duration), every: Duration, revision: i64, came: Came) {
        let took = ended.saturating_sub(began);
        self.revision = Some(revision);
        self.not_before = ended + took.min(every);
        self.rest = if came == Came::ToNothing { longer(self.rest).max(took).min(every) } else { Duration::ZERO };
        self.at = match came {
            Came::ToRest => ended + every,
            Came::Closer => self.not_before,
            Came::Cut => ended,
            Came::ToNothing => ended + self.rest,
        };
    }
}

impl Again {
    /// They are tried again later; those beyond what is remembered when all are. Of those that were tried again it is known by
    /// now that they take longer.
    pub(super) fn later(&mut self, objects: Vec<Key>, tried_again: bool, now: Duration) {
        if tried_again {
            self.rest = longer(self.rest);
        }
        if self.objects.is_empty() {
            self.at = now + self.rest.max(ALIGN_SOON);
        }
        let room = ALIGN_KEPT.saturating_sub(self.objects.len());
        self.objects.extend(objects.into_iter().take(room));
    }

    /// Those that are to be tried again now.
    pub(super) fn take(&mut self, now: Duration) -> BTreeSet<Key> {
        if now < self.at { BTreeSet::new() } else { std::mem::take(&mut self.objects) }
    }

    /// All that were tried again came to rest.
    pub(super) fn rest(&mut self) {
        self.rest = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_mins(1);

    #[test]
    fn what_waits_is_compared_again_soon_and_then_less_often() {
        let mut due = Due::default();
        let mut after = |came| {
            due.after((Duration::ZERO, Duration::from_secs(1)), EVERY, 1, came);
            due.at.as_secs()
        };
        assert_eq!([Came::ToNothing; 5].map(&mut after), [11, 21, 41, 61, 61]);
        assert_eq!([Came::ToRest, Came::ToNothing, Came::Closer, Came::Cut].map(&mut after), [61, 11, 2, 1]);
    }

    /// One thing that waited for good made all that came later wait as long.
    #[test]
    fn what_is_declared_is_compared_at_once_and_begins_anew() {
        let mut due = Due::default();
        let second = Duration::from_secs(1);
        assert!(due.is(Duration::ZERO, 1, false), "nothing was compared yet");
        for _ in 0..5 {
            due.after((Duration::ZERO, second), EVERY, 1, Came::ToNothing);
        }
        assert!(!due.is(second * 2, 1, false) && due.is(second * 2, 2, false));
        due.after((Duration::ZERO, second), EVERY, 2, Came::ToNothing);
        assert!(!due.is(second * 10, 2, false) && due.is(second * 11, 2, false));
        due.after((Duration::ZERO, second * 4), EVERY, 2, Came::ToRest);
        assert!(!due.is(second * 7, 2, true) && due.is(second * 8, 2, true), "too many changed");
    }

    /// Each batch that came to nothing doubled the time, whether anything was tried again or not, and after a minute of writes the
    /// next try was days away.
    #[test]
    fn what_changed_and_waits_is_tried_again() {
        let mut again = Again::default();
        let second = Duration::from_secs(1);
        for at in 1..9 {
            again.later(vec![vec![at]], false, second * u32::from(at));
        }
        assert_eq!((again.take(second * 10).len(), again.take(second * 11).len()), (0, 8));
        again.later(vec![vec![1], vec![2]], true, second * 11);
        assert_eq!((again.take(second * 20).len(), again.take(second * 21).len()), (0, 2));
        again.later(vec![vec![1]], true, second * 21);
        assert_eq!((again.take(second * 40).len(), again.take(second * 41).len()), (0, 1));
        for _ in 0..100 {
            again.later(vec![vec![1]], true, second);
            again.take(second + ALIGN_EVERY);
        }
        again.rest();
        again.later((0..ALIGN_KEPT as u32 + 5).map(|number| number.to_be_bytes().to_vec()).collect(), false, second);
        assert_eq!(again.take(second * 11).len(), ALIGN_KEPT);
    }
}
