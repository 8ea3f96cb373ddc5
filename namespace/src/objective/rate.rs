//! How long what is planned takes at the rates that are set.

use std::collections::BTreeMap;

use super::{Moving, What};
use crate::inventory::Rates;
use crate::namespace::Core;

impl Core {
    /// Seconds that it takes at so many bytes a second and at the rates of silos; none where none of them limits it.
    pub(super) fn seconds(&self, moves: &[Moving], rate: Option<u64>) -> Option<u64> {
        let inventory = self.inventory();
        let rates = |silo: &str| inventory.named(silo).map(|open| open.row.declared.rates).unwrap_or_default();
        seconds(moves, rate, rates)
    }

    /// Bytes a second at which objects are kept where they are wanted.
    pub(super) fn align_rate(&self) -> Option<u64> {
        self.options.align.as_ref()?.pace.bytes_per_second
    }
}

/// The longest of all bytes at this rate, and of what is read from, and written to, each silo at its own. What only leaves a silo takes
/// no time, and what is paused does not begin.
fn seconds(moves: &[Moving], rate: Option<u64>, rates: impl Fn(&str) -> Rates) -> Option<u64> {
    let (mut all, mut read, mut written) = (0, BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
    for moving in moves.iter().filter(|moving| !moving.paused && moving.what != What::Drop) {
        all += moving.amount.bytes;
        *read.entry(&moving.from).or_default() += moving.amount.bytes;
        if let Some(to) = &moving.to {
            *written.entry(to).or_default() += moving.amount.bytes;
        }
    }
    let at = |bytes: u64, rate: Option<u64>| Some(bytes.div_ceil(rate.filter(|rate| *rate > 0)?));
    let reads = read.into_iter().filter_map(|(silo, bytes)| at(bytes, rates(silo).read));
    let writes = written.into_iter().filter_map(|(silo, bytes)| at(bytes, rates(silo).write));
    reads.chain(writes).chain(at(all, rate)).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objective::{Amount, Cost};

    fn moving(what: What, from: &str, to: Option<&str>, bytes: u64) -> Moving {
        let (objective, to, amount) = ("it".to_owned(), to.map(str::to_owned), Amount { extents: 1, bytes });
        Moving { objective, what, from: from.to_owned(), to, paused: false, amount, cost: Cost::default() }
    }

    /// A plan said how long all its bytes took at a rate that was asked for, those that only left a silo and those of paused objectives,
    /// too, and knew nothing of the rates that were set.
    #[test]
    fn the_slowest_of_all_rates_says_how_long_it_takes() {
        let moves = [
            moving(What::Move, "hot", Some("cold"), 600),
            moving(What::Copy, "hot", Some("far"), 300),
            moving(What::Drop, "hot", None, 10_000),
            Moving { paused: true, ..moving(What::Move, "hot", Some("cold"), 10_000) },
        ];
        let none = |_: &str| Rates::default();
        assert_eq!(seconds(&moves, None, none), None, "nothing is limited");
        assert_eq!(seconds(&moves, Some(0), none), None);
        assert_eq!(seconds(&moves, Some(100), none), Some(9));
        let reads = |silo: &str| Rates { read: (silo == "hot").then_some(50), write: None };
        assert_eq!(seconds(&moves, Some(100), reads), Some(18), "both are read from there");
        assert_eq!(seconds(&moves, Some(10), reads), Some(90));
        let writes = |silo: &str| Rates { read: None, write: (silo == "far").then_some(7) };
        assert_eq!(seconds(&moves, None, writes), Some(43), "300 of them are written there");
        assert_eq!(seconds(&moves[2..], None, writes), None);
    }
}
