//! What was expected, and what came: where reading costs much more than was expected, nothing moves until it is understood.

use serde::{Deserialize, Serialize};

/// Days after which what was seen counts half.
const HALF_LIFE: f64 = 14.0;
/// So many times what was expected is too much,
const TOO_MUCH: f64 = 1.5;
/// until it is less than so many times that.
const WELL: f64 = 1.2;
/// Fewer uses than so many tell nothing.
const FEW: f64 = 20.0;

/// Both, of late.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Forecast {
    expected: f64,
    came: f64,
    uses: f64,
    open: bool,
}

impl Forecast {
    /// A day goes by.
    pub(super) fn day(&mut self) {
        let kept = (-1.0 / HALF_LIFE).exp2();
        (self.expected, self.came, self.uses) = (self.expected * kept, self.came * kept, self.uses * kept);
    }

    /// What an object was expected to cost on that day, and what it did.
    pub(super) fn add(&mut self, expected: f64, came: f64, used: bool) {
        self.expected += expected;
        self.came += came;
        self.uses += f64::from(u8::from(used));
    }

    /// Looks whether it is too much.
    pub(super) fn judge(&mut self) {
        let limit = if self.open { WELL } else { TOO_MUCH };
        self.open = self.uses >= FEW && self.came > limit * self.expected;
    }

    /// Whether it is too much, by what it costs more than was expected.
    pub(super) fn too_much(&self) -> Option<f64> {
        self.open.then(|| self.came / self.expected.max(f64::MIN_POSITIVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_where_much_more_comes_and_closes_once_that_is_over() {
        let mut forecast = Forecast::default();
        let mut day = |came: f64| {
            forecast.day();
            (0..10).for_each(|_| forecast.add(1.0, came, true));
            forecast.judge();
            forecast.too_much().is_some()
        };
        assert!((0..30).all(|_| !day(1.1)));
        assert!((0..30).any(|_| day(4.0)));
        assert!(day(1.0), "it stays open for a while");
        assert!((0..60).any(|_| !day(1.0)));
    }

    #[test]
    fn few_uses_tell_nothing() {
        let mut forecast = Forecast::default();
        forecast.add(1.0, 100.0, true);
        forecast.judge();
        assert_eq!(forecast.too_much(), None);
    }
}
