//! Prices and amounts as whole numbers.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::str::FromStr;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::MAX_RATE;

/// A price, in 10^-9 of the currency: of a unit of bytes, or of a thousand requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// An amount, in 10^-18 of the currency. It never overflows: what is more than 10^20 stays there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(u128);

/// 10^-18 in one.
const ONE: u128 = 1_000_000_000_000_000_000;
/// 10^-18 in 10^-9.
const NANO: u128 = 1_000_000_000;

impl Rate {
    /// It costs nothing.
    pub const FREE: Self = Self(0);

    /// So many 10^-9 of the currency.
    pub const fn nano(nano: u64) -> Self {
        Self(nano)
    }

    /// A number as it is written, to the next 10^-9. Refused is what is below 0, or above [`MAX_RATE`].
    pub fn of(number: f64) -> Result<Self, String> {
        if !(0.0..=MAX_RATE as f64).contains(&number) {
            return Err(format!("a price from 0 to {MAX_RATE}"));
        }
        Ok(Self((number * 1e9).round() as u64))
    }

    /// What so many bytes cost by the unit of `unit` bytes, the fraction of 10^-18 dropped.
    pub(crate) fn for_bytes(self, bytes: u64, unit: u64) -> Money {
        let (cost, unit) = (u128::from(self.0) * u128::from(bytes), u128::from(unit));
        Money(cost / unit * NANO + cost % unit * NANO / unit)
    }

    /// What so many thousandths of a request cost, by the thousand requests.
    pub(crate) fn for_requests(self, thousandths: u64) -> Money {
        Money(u128::from(self.0) * u128::from(thousandths) * (NANO / 1_000_000))
    }

    pub(crate) fn as_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl Money {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// So much of it, the fraction dropped.
    #[must_use]
    pub fn part(self, of: u64, whole: u64) -> Self {
        let (of, whole) = (u128::from(of), u128::from(whole.max(1)));
        Self((self.0 / whole).saturating_mul(of).saturating_add(self.0 % whole * of / whole))
    }

    /// So much of it as `of` is of `whole`, to a billionth, and no more than it is.
    #[must_use]
    pub fn share(self, of: Self, whole: Self) -> Self {
        const BILLION: u128 = 1_000_000_000;
        let ratio = of.0.saturating_mul(BILLION).checked_div(whole.0).unwrap_or(BILLION).min(BILLION);
        Self((self.0 / BILLION).saturating_mul(ratio).saturating_add(self.0 % BILLION * ratio / BILLION))
    }

    /// What is left of it.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// To so many digits behind the point, halves up.
    pub fn rounded(self, digits: u32) -> String {
        let step = 10_u128.pow(18_u32.saturating_sub(digits));
        let steps = self.0.saturating_add(step / 2) / step;
        let whole = 10_u128.pow(digits.min(18));
        match digits {
            0 => steps.to_string(),
            _ => format!("{}.{:0width$}", steps / whole, steps % whole, width = digits.min(18) as usize),
        }
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Money {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Add::add)
    }
}

/// As a decimal number: the shortest that is exact.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / ONE, self.0 % ONE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:018}").trim_end_matches('0'))
    }
}

/// A decimal number, with at most 18 digits behind the point.
impl FromStr for Money {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no amount");
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > 18 {
            return Err(wrong());
        }
        let whole: u128 = whole.parse().map_err(|_| wrong())?;
        let rest: u128 = format!("{rest:0<18}").parse().map_err(|_| wrong())?;
        whole.checked_mul(ONE).and_then(|whole| whole.checked_add(rest)).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Money(u128::from(self.0) * NANO).fmt(f)
    }
}

/// Text, since no number of JSON's is as exact.
impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

/// A number, as prices are written.
impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_f64())
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a price from 0 to {MAX_RATE}")
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Rate, E> {
                Rate::of(number).map_err(|_| E::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Rate, E> {
                self.visit_f64(number as f64)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Rate, E> {
                self.visit_f64(number as f64)
            }
        }
        input.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_share_is_never_more_than_there_is() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        assert_eq!(money("3").share(money("1"), money("4")), money("0.75"));
        assert_eq!(money("3").share(money("5"), money("4")), money("3"));
        assert_eq!(money("3").share(money("1"), Money::ZERO), money("3"));
        let third = money("1").share(money("1"), money("3"));
        assert!(third < money("0.333333334") && third > money("0.33333333"), "{third}");
    }

    #[test]
    fn amounts_are_decimal_numbers() {
        for text in ["0", "1", "0.5", "12.000000000000000001", "0.00000000023"] {
            assert_eq!(text.parse::<Money>().unwrap().to_string(), text);
        }
        for text in ["", ".", "1.", ".1", "-1", "+1", "1e3", "0.0000000000000000001", "9999999999999999999999"] {
            assert!(text.parse::<Money>().is_err(), "{text}");
        }
        let rounded = |text: &str, digits| text.parse::<Money>().unwrap().rounded(digits);
        assert_eq!(
            (rounded("0.12345", 4), rounded("9.99995", 4), rounded("1.5", 0)),
            ("0.1235".into(), "10.0000".into(), "2".into())
        );
    }

    proptest! {
        #[test]
        fn prices_and_amounts_read_back(nano in 0..=MAX_RATE * 1_000_000_000, atto: u128) {
            let (rate, money) = (Rate::nano(nano), Money(atto));
            prop_assert_eq!(serde_json::from_str::<Rate>(&serde_json::to_string(&rate).unwrap()).unwrap(), rate);
            prop_assert_eq!(serde_json::from_str::<Money>(&serde_json::to_string(&money).unwrap()).unwrap(), money);
        }
    }
}
