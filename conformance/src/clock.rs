//! The only place of this crate that looks at a clock: rigs measure real time, signatures carry it.
#![expect(clippy::disallowed_methods, reason = "a client has no clock but the machine's")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A moment to measure from.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Whether so much time has passed.
    pub fn over(&self, limit: Duration) -> bool {
        self.0.elapsed() >= limit
    }
}

/// By how many days signatures are ahead, with the gateways that are.
static AHEAD: AtomicU64 = AtomicU64::new(0);
const DAY: u64 = 86_400;

/// From now on signatures are of so many days later.
pub fn turn(days: u64) {
    AHEAD.store(days, Ordering::Relaxed);
}

/// The wall clock, for signatures.
pub fn wall() -> SystemTime {
    SystemTime::now() + Duration::from_secs(AHEAD.load(Ordering::Relaxed) * DAY)
}

/// Seconds of the Unix epoch, for seeds and names.
pub fn epoch_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `YYYYMMDDTHHMMSSZ`, as signatures want it.
pub fn stamp(epoch_seconds: u64) -> String {
    let (year, month, day) = civil(epoch_seconds / 86_400);
    let rest = epoch_seconds % 86_400;
    format!("{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, as the command line takes moments.
pub fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (year, month, day) = civil(since.as_secs() / 86_400);
    let (rest, ms) = (since.as_secs() % 86_400, since.subsec_millis());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Days since 1970-01-01 to the calendar (Howard Hinnant's `civil_from_days`, for days that are not negative).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_calendar_dates() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_199, "20240229T235959Z"),
            (1_704_067_199, "20231231T235959Z"),
        ] {
            assert_eq!(stamp(seconds), expected);
        }
        let time = UNIX_EPOCH + Duration::from_millis(951_782_400_007);
        assert_eq!(moment(time), "2000-02-29T00:00:00.007Z");
    }
}
