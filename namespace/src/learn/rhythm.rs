//! When all objects are counted anew: ever more seldom, and soon again once much more is used than before, since that is where old chances
//! are wrong.

use serde::{Deserialize, Serialize};

/// Days between two censuses, once there were some.
const MOST_DAYS: i32 = 28;
/// Days after which what was seen counts half.
const HALF_LIFE: f64 = 365.0;
/// Days after which how much is used on a day counts half.
const USED_HALF_LIFE: f64 = 28.0;
/// Fewer uses than so many surprise nobody,
const FEW: f64 = 20.0;
/// and neither do fewer than so many times as many as usual.
const MANY: f64 = 5.0;

/// When was what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Rhythm {
    /// The first census.
    begun: Option<i32>,
    /// The last one.
    census: i32,
    /// The one to come, and days until the one after that.
    next: i32,
    step: i32,
    /// The last census whose chances were made use of.
    solved: i32,
    /// More was used than was known: what was learnt is made use of.
    surprised: bool,
    /// The last day with uses, how many they were on days before, and how many on this one.
    day: i32,
    usual: f64,
    today: f64,
}

/// What a census is to do.
pub(super) struct Counted {
    /// This part of what was seen before still counts.
    pub kept: f64,
    /// What follows from chances is to be solved anew, which takes a while.
    pub solve: bool,
}

impl Default for Rhythm {
    fn default() -> Self {
        let (census, next, solved, day) = (i32::MIN, i32::MIN, i32::MIN, i32::MIN);
        Self { begun: None, census, next, step: 1, solved, surprised: false, day, usual: 0.0, today: 0.0 }
    }
}

impl Rhythm {
    /// An object is used today.
    pub(super) fn used(&mut self) {
        self.today += 1.0;
    }

    /// A day is over.
    pub(super) fn end_day(&mut self, day: i32) {
        let kept = |days: i32| (-f64::from(days.clamp(0, 3650)) / USED_HALF_LIFE).exp2();
        self.usual *= kept(day.saturating_sub(self.day) - 1);
        if self.today >= FEW && self.today > MANY * self.usual {
            (self.next, self.step, self.surprised) = (self.next.min(day + 1), 1, true);
        }
        self.usual += (self.today - self.usual) * (1.0 - kept(1));
        (self.today, self.day) = (0.0, day);
    }

    /// The day after which all are to be counted.
    pub(super) fn next(&self) -> i32 {
        self.next
    }

    /// All were counted, as of the end of a day.
    pub(super) fn counted(&mut self, day: i32) -> Counted {
        let begun = *self.begun.get_or_insert(day);
        let days = if self.census == i32::MIN { 0 } else { (day - self.census).clamp(0, 3650) };
        (self.census, self.next) = (day, day + self.step);
        self.step = (2 * self.step).min(MOST_DAYS);
        // What was seen for years does not change in a month.
        let solve = self.surprised || day >= self.solved.saturating_add(((day - begun) / 8).min(180));
        if solve {
            (self.solved, self.surprised) = (day, self.step < MOST_DAYS && self.surprised);
        }
        Counted { kept: (-f64::from(days) / HALF_LIFE).exp2(), solve }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Days on which all are counted, of a hundred.
    fn counted(used: impl Fn(i32) -> i32) -> Vec<i32> {
        let mut rhythm = Rhythm::default();
        let mut days = Vec::new();
        for day in 0..100 {
            (0..used(day)).for_each(|_| rhythm.used());
            rhythm.end_day(day);
            if day >= rhythm.next() {
                rhythm.counted(day);
                days.push(day);
            }
        }
        days
    }

    #[test]
    fn ever_more_seldom_until_something_new_happens() {
        assert_eq!(counted(|_| 0), [0, 1, 3, 7, 15, 31, 59, 87]);
        assert_eq!(counted(|day| if day == 70 { 1000 } else { 0 }), [0, 1, 3, 7, 15, 31, 59, 71, 72, 74, 78, 86]);
    }
}
