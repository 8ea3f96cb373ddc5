//! Heat: how often and how lately an object is read. Of a key, whichever version is current: a report that is written anew
//! each night is as warm as before. An estimate: what was read in the last seconds before a crash is not in it.

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;

mod tally;

pub(crate) use tally::Tally;

const MINUTE: i64 = 60_000;
/// Milliseconds.
pub const DAY: i64 = 86_400_000;
/// Days to a period.
const PERIOD: i64 = 30;
const DAYS: usize = 8;
const PERIODS: usize = 9;

/// Bytes of [`Heat::to_bytes`].
pub const BYTES: usize = 4 + 1 + DAYS + 2 * PERIODS;

/// What is known of an object's reads. Days and periods of 30 days are those of the epoch (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heat {
    /// The minute of the last read.
    last: u32,
    /// How much of the object a read takes, of late: 255 is all of it.
    share: u8,
    /// Reads on the day of the last one and on those before it; no day has more than 255.
    days: [u8; DAYS],
    /// Reads in the period of the last one and in those before it; none has more than 65,535.
    periods: [u16; PERIODS],
}

/// Reads of one object that no row has yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// How many.
    pub count: u32,
    /// Their shares of the object, 255 for a whole one, added up.
    pub shares: u64,
    /// When the last one was.
    pub last: UnixMs,
}

impl Reads {
    /// One read of `bytes` of an object of `size` bytes.
    pub fn one(bytes: u64, size: u64, now: UnixMs) -> Self {
        let share = if size == 0 { 255 } else { (u128::from(bytes) * 255).div_ceil(u128::from(size)).min(255) as u64 };
        Self { count: 1, shares: share, last: now }
    }

    /// These and others.
    pub fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.shares = self.shares.saturating_add(other.shares);
        self.last = self.last.max(other.last);
    }
}

impl Heat {
    /// Of an object that was not read before.
    pub fn of(reads: Reads) -> Self {
        let never = Self { last: 0, share: share_of(reads), days: [0; DAYS], periods: [0; PERIODS] };
        never.after(reads)
    }

    /// After more reads. Those that seem to be from before the last one, by a clock that went back, count as of now; where that
    /// one is more than a day ahead, by a clock that was wrong, all begins anew.
    #[must_use]
    pub fn after(mut self, reads: Reads) -> Self {
        if self.last_read() > reads.last.saturating_add(DAY) {
            return Self::of(reads);
        }
        let at = u32::try_from(reads.last.max(0) / MINUTE).unwrap_or(u32::MAX).max(self.last);
        let (before, after) = (i64::from(self.last) * MINUTE / DAY, i64::from(at) * MINUTE / DAY);
        age(&mut self.days, after - before);
        age(&mut self.periods, after / PERIOD - before / PERIOD);
        self.last = at;
        self.days[0] = self.days[0].saturating_add(u8::try_from(reads.count).unwrap_or(u8::MAX));
        self.periods[0] = self.periods[0].saturating_add(u16::try_from(reads.count).unwrap_or(u16::MAX));
        // A quarter of what was, so that a change is seen after a few reads.
        self.share = ((u16::from(self.share) + 3 * u16::from(share_of(reads))) / 4) as u8;
        self
    }

    /// When it was last read, milliseconds since the epoch, in whole minutes.
    pub fn last_read(&self) -> UnixMs {
        i64::from(self.last) * MINUTE
    }

    /// How much of the object a read takes, of late: from 0 to 1.
    pub fn share(&self) -> f64 {
        f64::from(self.share) / 255.0
    }

    /// Reads in the last `window` milliseconds. Exact to a day up to a week; what is longer is counted by periods of 30 days. The
    /// oldest day or period counts by the share of it that the window has, and the sum is rounded up: what was read is
    /// never told as not read.
    pub fn reads(&self, window: i64, now: UnixMs) -> u64 {
        let now = now.max(self.last_read() + MINUTE);
        let counts = |all: &[u64], length: i64, newest: i64| {
            let share = |(at, count): (usize, &u64)| {
                let (begin, end) = ((newest - at as i64) * length, ((newest - at as i64 + 1) * length).min(now));
                let inside = (end - begin.max(now.saturating_sub(window))).clamp(0, length);
                // The day that it is now has not ended: what is known of it is from before now.
                if inside == 0 || end <= begin { 0.0 } else { *count as f64 * inside as f64 / (end - begin) as f64 }
            };
            all.iter().enumerate().map(share).sum::<f64>().ceil() as u64
        };
        let day = self.last_read() / DAY;
        let days = counts(&self.days.map(u64::from), DAY, day);
        if window <= DAY * (DAYS as i64 - 1) {
            return days;
        }
        days.max(counts(&self.periods.map(u64::from), DAY * PERIOD, day / PERIOD))
    }

    /// Reads in the period of the last one and in those before it, nine months at most.
    pub(crate) fn lately(&self) -> u64 {
        self.periods.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many of the seven days before the last read had one as well.
    pub(crate) fn days_before(&self) -> usize {
        self.days[1..].iter().filter(|count| **count > 0).count()
    }

    /// The day since 1970 that it was last read on.
    pub fn day(&self) -> i64 {
        self.last_read().div_euclid(DAY)
    }

    /// Reads on a day: of the day of the last one and the seven before it.
    pub fn reads_on(&self, day: i64) -> u32 {
        usize::try_from(self.day() - day).ok().and_then(|at| self.days.get(at)).map_or(0, |count| u32::from(*count))
    }

    /// As it was at the end of a day with reads: one of the day of the last one and the seven before it. None of another day.
    pub fn until(mut self, day: i64) -> Option<Self> {
        if self.reads_on(day) == 0 {
            return None;
        }
        let (last, later) = (self.day(), (self.day() - day) as usize);
        for (at, count) in self.days[..later].iter().enumerate() {
            let period = (last / PERIOD - (last - at as i64) / PERIOD) as usize;
            self.periods[period] = self.periods[period].saturating_sub(u16::from(*count));
        }
        young(&mut self.days, later);
        young(&mut self.periods, (last / PERIOD - day / PERIOD) as usize);
        if later > 0 {
            self.last = u32::try_from(((day + 1) * DAY - MINUTE) / MINUTE).unwrap_or(u32::MAX);
        }
        Some(self)
    }

    /// As a row has it.
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.last.to_be_bytes());
        bytes[4] = self.share;
        bytes[5..5 + DAYS].copy_from_slice(&self.days);
        for (at, count) in bytes[5 + DAYS..].chunks_exact_mut(2).zip(self.periods) {
            at.copy_from_slice(&count.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Heat::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        let (last, rest) = bytes.split_at(4);
        let (share, rest) = rest.split_at(1);
        let (days, periods) = rest.split_at(DAYS);
        let mut heat = Self {
            last: last.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)),
            share: share[0],
            days: [0; DAYS],
            periods: [0; PERIODS],
        };
        heat.days.copy_from_slice(days);
        for (count, at) in heat.periods.iter_mut().zip(periods.chunks_exact(2)) {
            *count = u16::from_be_bytes([at[0], at[1]]);
        }
        heat
    }
}

fn share_of(reads: Reads) -> u8 {
    u8::try_from(reads.shares / u64::from(reads.count.max(1))).unwrap_or(u8::MAX)
}

/// So many days or periods went by.
fn age<T: Copy + Default>(counts: &mut [T], by: i64) {
    let by = usize::try_from(by).unwrap_or(0).min(counts.len());
    counts.rotate_right(by);
    counts[..by].fill(T::default());
}

/// As many days or periods ago; what was before is not known.
fn young<T: Copy + Default>(counts: &mut [T], by: usize) {
    let by = by.min(counts.len());
    counts[..by].fill(T::default());
    counts.rotate_left(by);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: i64 = DAY / 24;

    fn at(now: UnixMs) -> Reads {
        Reads::one(10, 10, now)
    }

    #[test]
    fn reads_are_counted_by_day_and_by_period() {
        let noon = 600 * DAY + 12 * HOUR;
        let heat = Heat::of(at(noon)).after(at(noon + 2 * DAY)).after(at(noon + 2 * DAY)).after(at(noon + 6 * DAY));
        let now = noon + 6 * DAY + HOUR;
        assert_eq!(heat.last_read(), noon + 6 * DAY);
        assert_eq!(heat.reads(HOUR * 24, now), 1);
        assert_eq!(heat.reads(DAY * 3, now), 1);
        assert_eq!(heat.reads(DAY * 5, now), 3);
        assert_eq!(heat.reads(DAY * 7, now), 4);
        assert_eq!(heat.reads(DAY * 30, now), 4);
        assert_eq!(heat.reads(DAY * 3, now + 40 * DAY), 0);
        assert_eq!(heat.reads(DAY * 60, now + 40 * DAY), 4);
        assert_eq!(heat.reads(DAY * 30, now + 300 * DAY), 0);
    }

    #[test]
    fn it_is_known_as_it_was_at_the_end_of_a_day() {
        let noon = 599 * DAY + 12 * HOUR;
        let then = Heat::of(at(noon)).after(at(noon + 2 * DAY));
        let now = then.after(at(noon + 3 * DAY)).after(at(noon + 5 * DAY));
        let until = now.until(601).unwrap();
        assert_eq!((until.day(), until.days, until.periods), (601, then.days, then.periods));
        assert_eq!((now.reads_on(601), now.reads_on(603), now.reads_on(604), now.reads_on(605)), (1, 0, 1, 0));
        assert_eq!((now.until(604).unwrap(), now.until(603), now.until(700)), (now, None, None));
    }

    #[test]
    fn a_share_follows_the_last_reads() {
        let whole = Heat::of(Reads::one(1000, 1000, DAY));
        assert!(whole.share() > 0.999);
        let ranges = (0..4).fold(whole, |heat, _| heat.after(Reads::one(10, 1000, DAY)));
        assert!(ranges.share() < 0.03, "{}", ranges.share());
        assert!(Heat::of(Reads::one(0, 0, DAY)).share() > 0.999);
    }

    /// A clock was years ahead for a minute, and what was read then never grew cold again; another one was a few minutes behind at
    /// midnight.
    #[test]
    fn clocks_that_were_wrong_are_forgotten() {
        let ahead = Heat::of(at(100_000 * DAY));
        let heat = ahead.after(at(600 * DAY));
        assert_eq!((heat.last_read(), heat.reads(DAY, 600 * DAY)), (600 * DAY, 1));
        let midnight = Heat::of(at(600 * DAY));
        assert_eq!(midnight.after(at(600 * DAY - 5 * MINUTE)).reads(DAY, 600 * DAY - 5 * MINUTE), 2);
    }

    #[test]
    fn counts_stay_within_their_bounds() {
        let many = Reads { count: u32::MAX, shares: u64::MAX, last: i64::MAX };
        let heat = Heat::of(many).after(many);
        assert_eq!(heat.reads(i64::MAX, heat.last_read()), 65_535);
        assert!(heat.share() <= 1.0);
    }

    proptest! {
        /// Against all reads, kept: what was read is never told as not read, a longer window never has fewer, and within a week the count
        /// is off by no more than what a day has.
        #[test]
        fn windows_hold_what_was_read(
            mut reads in prop::collection::vec(0..400 * DAY, 1..60),
            later in 0..100 * DAY,
            hours in 1..24 * 200_i64,
        ) {
            reads.sort_unstable();
            let heat = reads[1..].iter().fold(Heat::of(at(reads[0])), |heat, read| heat.after(at(*read)));
            let now = reads[reads.len() - 1] + later;
            let within = |window: i64| reads.iter().filter(|read| **read > now - window).count() as u64;
            let window = hours * HOUR;
            let told = heat.reads(window, now);
            prop_assert!(told >= u64::from(within(window.min(240 * DAY)) > 0));
            prop_assert!(told <= reads.len() as u64);
            prop_assert!(heat.reads(window + HOUR, now) >= told);
            if window <= 7 * DAY {
                prop_assert!(told >= within(window - DAY) && told <= within(window + DAY), "{told} of {window}");
            }
            prop_assert_eq!(Heat::from_bytes(&heat.to_bytes()), heat);
        }
    }
}
