//! The times that signatures name, to the second.

use holdall_namespace::clock::UnixMs;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

/// A moment as it stands in a string to sign: `20130524T000000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timestamp {
    text: [u8; 16],
    /// Seconds since 1970.
    pub(super) seconds: i64,
}

impl Timestamp {
    /// From ISO 8601's basic form, in UTC, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text: [u8; 16] = text.as_bytes().try_into().ok()?;
        let shape = text.iter().enumerate().all(|(at, byte)| match at {
            8 => *byte == b'T',
            15 => *byte == b'Z',
            _ => byte.is_ascii_digit(),
        });
        if !shape {
            return None;
        }
        let number =
            |from: usize, to: usize| text[from..to].iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'));
        let small = |from: usize| i8::try_from(number(from, from + 2)).ok();
        let date = Date::new(number(0, 4), small(4)?, small(6)?).ok()?;
        let time = Time::new(small(9)?, small(11)?, small(13)?, 0).ok()?;
        let seconds = Offset::UTC.to_timestamp(DateTime::from_parts(date, time)).ok()?.as_second();
        Some(Self { text, seconds })
    }

    /// From the form of HTTP's `Date`.
    pub(super) fn parse_http(text: &str) -> Option<Self> {
        let time = httpdate::parse_http_date(text).ok()?;
        let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        Self::parse(&basic(i64::try_from(seconds).ok()?))
    }

    /// As it is signed.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.text).expect("it was parsed from ASCII")
    }

    /// The day: `20130524`.
    pub(super) fn date(&self) -> &str {
        &self.text()[..8]
    }
}

/// `20130524T000000Z`
fn basic(seconds: i64) -> String {
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    timestamp.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// `2013-05-24T00:00:00Z`, as error documents show times.
pub(super) fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// Whole seconds.
pub(super) fn seconds(time: UnixMs) -> i64 {
    time.div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_basic_form_is_taken() {
        let good = Timestamp::parse("20130524T000000Z").unwrap();
        assert_eq!((good.seconds, good.date(), good.text()), (1_369_353_600, "20130524", "20130524T000000Z"));
        assert_eq!(basic(good.seconds), good.text());
        assert_eq!(Timestamp::parse_http("Fri, 24 May 2013 00:00:00 GMT"), Some(good));
        for bad in [
            "",
            "20130524T000000",
            "20130524T000000z",
            "2013-05-24T00:00:00Z",
            "20131324T000000Z",
            "20130230T000000Z",
            "20130524T240000Z",
            "20130524T000060Z",
            "+0130524T000000Z",
            "20130524 000000Z",
            "２013052400000Z",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }
}
