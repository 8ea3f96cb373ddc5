//! How full a silo may become.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `70%..85%`: above the second level the coldest leave, until the first one is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fill {
    /// Where it ends.
    pub low: Level,
    /// Where it begins.
    pub high: Level,
}

/// How full a silo is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Of the silo, whoever fills it.
    Percent(u8),
    /// Of ours.
    Bytes(u64),
}

const UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];

impl Level {
    /// Bytes of ours that this is, in a silo that is so large and has so much of others'; none where it cannot tell how large it
    /// is.
    pub fn bytes(self, space: Option<(u64, u64)>) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => {
                let (total, others) = space?;
                Some((u128::from(total) * u128::from(percent) / 100) as u64).map(|all| all.saturating_sub(others))
            }
        }
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent).ok_or(());
        }
        let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit))).ok_or(())?;
        let number: u64 = number.trim_end().parse().map_err(drop)?;
        number.checked_mul(*unit).map(Self::Bytes).ok_or(())
    }
}

impl FromStr for Fill {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is not two levels such as `70%..85%` or `700GiB..850GiB`, the lower one first");
        let (low, high) = text.split_once("..").ok_or_else(wrong)?;
        let level = |text: &str| text.trim().parse::<Level>().map_err(|()| wrong());
        let (low, high) = (level(low)?, level(high)?);
        let rises = match (low, high) {
            (Level::Percent(low), Level::Percent(high)) => low < high,
            (Level::Bytes(low), Level::Bytes(high)) => low < high,
            _ => false,
        };
        if rises { Ok(Self { low, high }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => {
                let whole = UNITS.iter().find(|(_, unit)| *bytes > 0 && bytes % unit == 0);
                let (name, unit) = whole.unwrap_or(&UNITS[4]);
                write!(f, "{}{name}", bytes / unit)
            }
        }
    }
}

impl fmt::Display for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_text() {
        for text in ["70%..85%", "700GiB..850GiB", "0%..1%", "0..1", "1KiB..1025"] {
            assert_eq!(text.parse::<Fill>().unwrap().to_string(), text);
        }
        for text in
            ["", "70%", "85%..70%", "70%..70%", "70%..850GiB", "-1%..5%", "70%..101%", "1GB..2GB", "1TiB..99999999TiB"]
        {
            assert!(text.parse::<Fill>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_level_of_a_silo_is_bytes_of_ours() {
        assert_eq!(Level::Percent(80).bytes(Some((1000, 300))), Some(500));
        assert_eq!((Level::Percent(20).bytes(Some((1000, 300))), Level::Percent(20).bytes(None)), (Some(0), None));
        assert_eq!(Level::Bytes(7).bytes(None), Some(7));
    }
}
