//! Hours of the day in which what moves by itself may.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::heat::DAY;

const MINUTE: i64 = 60_000;
const DAY_MINUTES: u16 = 24 * 60;

/// `22:00-06:00`, of each day, in UTC: from the first minute until the second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// Minute of the day.
    from: u16,
    /// Minute of the day; of the next one where it is not later.
    to: u16,
}

impl Hours {
    /// Whether it is one of them.
    pub fn contain(self, now: UnixMs) -> bool {
        let minute = i64::from(self.from);
        let since = (now - minute * MINUTE).rem_euclid(DAY);
        since < i64::from(self.length()) * MINUTE
    }

    /// How long it is until they begin; zero in them.
    pub fn begin_in(self, now: UnixMs) -> Duration {
        if self.contain(now) {
            return Duration::ZERO;
        }
        let until = (i64::from(self.from) * MINUTE - now).rem_euclid(DAY);
        Duration::from_millis(until.unsigned_abs())
    }

    /// How long it is until they end next.
    pub fn end_in(self, now: UnixMs) -> Duration {
        let until = (i64::from(self.to) * MINUTE - now - 1).rem_euclid(DAY) + 1;
        Duration::from_millis(until.unsigned_abs())
    }

    /// Minutes.
    fn length(self) -> u16 {
        (self.to + DAY_MINUTES - self.from - 1) % DAY_MINUTES + 1
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':')?;
            let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() == 2 && !text.starts_with('+'));
            let (hours, minutes) = (number(hours)?, number(minutes)?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let read = || {
            let (from, to) = text.split_once('-')?;
            Some(Self { from: minute(from)?, to: minute(to)? })
        };
        read().ok_or_else(|| format!("`{text}` is not hours of the day in UTC, such as `22:00-06:00`"))
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64, minute: i64) -> UnixMs {
        20_000 * DAY + (hour * 60 + minute) * MINUTE
    }

    #[test]
    fn they_end_when_the_next_ones_do_not_count() {
        let hours: Hours = "22:00-06:00".parse().unwrap();
        let at = |hour: i64| hour * 60 * MINUTE;
        assert_eq!(hours.end_in(at(22)), Duration::from_hours(8));
        assert_eq!(hours.end_in(at(5)), Duration::from_hours(1));
        assert_eq!(hours.end_in(at(6) - 1), Duration::from_millis(1));
        assert_eq!(hours.end_in(at(6)), Duration::from_hours(24));
    }

    #[test]
    fn nights_are_hours_of_two_days() {
        let night: Hours = "22:00-06:00".parse().unwrap();
        assert_eq!(night.to_string(), "22:00-06:00");
        for (hour, minute, inside) in [(21, 59, false), (22, 0, true), (0, 0, true), (5, 59, true), (6, 0, false)] {
            assert_eq!(night.contain(at(hour, minute)), inside, "{hour}:{minute}");
        }
        assert_eq!(night.begin_in(at(6, 0)), Duration::from_hours(16));
        assert_eq!((night.begin_in(at(21, 59)), night.begin_in(at(3, 0))), (Duration::from_mins(1), Duration::ZERO));
        let noon: Hours = "12:00-13:30".parse().unwrap();
        assert!(noon.contain(at(13, 29)) && !noon.contain(at(13, 30)) && !noon.contain(at(11, 59)));
        let always: Hours = "00:00-00:00".parse().unwrap();
        assert!((0..24).all(|hour| always.contain(at(hour, 0))));
        for text in ["", "22-06", "22:00", "24:00-01:00", "22:60-23:00", "1:00-2:00", "22:00-06:00 ", "+1:00-02:00"] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
    }
}
