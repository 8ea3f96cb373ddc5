//! Where listings may go on. Azure begins one at the start or at a marker of its own, never behind a name.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::limits::{FLOOR_AGE, FLOORS};

/// With this marker a listing goes on behind this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) key: String,
    pub(crate) marker: String,
}

/// The last floors met, by prefix.
///
/// A marker stands for the key that came next when it was given: what was put between the two since is not shown by who
/// goes on there. Therefore floors are forgotten after a while, and with each listing that begins anew.
#[derive(Default)]
pub(crate) struct Floors(Mutex<VecDeque<(String, Floor, Instant)>>);

impl Floors {
    fn with<T>(&self, use_them: impl FnOnce(&mut VecDeque<(String, Floor, Instant)>) -> T) -> T {
        use_them(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A listing of the prefix begins anew.
    pub(crate) fn forget(&self, prefix: &str) {
        self.with(|floors| floors.retain(|(known, _, _)| known != prefix));
    }

    pub(crate) fn remember(&self, prefix: &str, floor: Floor) {
        self.with(|floors| {
            floors.retain(|(known, old, _)| known != prefix || old.key != floor.key);
            floors.push_back((prefix.to_owned(), floor, Instant::now()));
            if floors.len() > FLOORS {
                floors.pop_front();
            }
        });
    }

    /// The last one that a listing behind `after` may begin at.
    pub(crate) fn below(&self, prefix: &str, after: &str) -> Option<Floor> {
        self.with(|floors| {
            floors.retain(|(_, _, made)| made.elapsed() < FLOOR_AGE);
            let fitting = floors.iter().filter(|(known, floor, _)| known == prefix && floor.key.as_str() <= after);
            fitting.map(|(_, floor, _)| floor).max_by_key(|floor| &floor.key).cloned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(key: &str) -> Floor {
        Floor { key: key.to_owned(), marker: format!("at {key}") }
    }

    #[tokio::test(start_paused = true)]
    async fn the_nearest_floor_below_is_found_until_it_is_old() {
        let floors = Floors::default();
        for key in ["p/b", "p/d", "p/f"] {
            floors.remember("p/", floor(key));
        }
        assert_eq!(floors.below("p/", "p/a"), None);
        assert_eq!(floors.below("p/", "p/b"), Some(floor("p/b")));
        assert_eq!(floors.below("p/", "p/e"), Some(floor("p/d")));
        assert_eq!(floors.below("q/", "q/e"), None);
        tokio::time::advance(FLOOR_AGE).await;
        assert_eq!(floors.below("p/", "p/e"), None);
    }

    #[tokio::test]
    async fn a_new_listing_forgets_and_few_are_kept() {
        let floors = Floors::default();
        floors.remember("p/", floor("p/a"));
        for number in 0..2 * FLOORS {
            floors.remember("q/", floor(&format!("q/{number:06}")));
        }
        assert_eq!(floors.below("p/", "p/z"), None, "the oldest go first");
        assert_eq!(floors.below("q/", "q/000000"), None);
        assert_eq!(floors.below("q/", "q/z"), Some(floor(&format!("q/{:06}", 2 * FLOORS - 1))));
        floors.forget("q/");
        assert_eq!(floors.below("q/", "q/z"), None);
    }
}
