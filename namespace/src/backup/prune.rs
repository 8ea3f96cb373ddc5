//! Which pieces nobody will want any more.

use std::collections::BTreeSet;

use holdall_silos::BlobName;

use super::piece::Line;
use crate::clock::UnixMs;
use crate::limits::RUN_ENTRIES;

/// A snapshot: the last entry it holds, and the session that took it.
pub(super) type Taker = (u64, u64);

/// Where a complete snapshot ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) line: Line,
    pub(super) at: UnixMs,
    /// See [`super::piece::Manifest`].
    pub(super) anchor: Option<[u8; 8]>,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// All of it is there.
    Complete(End),
    /// Its last piece was read, and does not say that it is complete.
    Unfinished,
    /// It did not read, or is not all there: perhaps another time, or with another key.
    Unread,
}

/// What is to stay.
pub(super) struct Kept {
    /// Snapshots that can be restored.
    pub(super) complete: BTreeSet<Taker>,
    /// Snapshots that will never be.
    pub(super) unfinished: BTreeSet<Taker>,
    /// Snapshots that did not read.
    pub(super) unread: BTreeSet<Taker>,
    /// The one that the oldest moment kept is restored from; 0 for none.
    pub(super) oldest: u64,
}

impl Kept {
    /// What no restore to a moment that is kept needs. What did not read stays.
    pub(super) fn prunable(&self, names: &[BlobName]) -> Vec<BlobName> {
        let newest = self.complete.last().map_or(0, |(sequence, _)| *sequence);
        // What comes between one that did not read and the next that is complete may be wanted with it.
        let wanted = |first: u64| {
            self.unread.iter().any(|unread| {
                let next = self.complete.range(unread..).next().map_or(u64::MAX, |(sequence, _)| *sequence);
                first + RUN_ENTRIES > unread.0 && first <= next
            })
        };
        let goes = |name: &&BlobName| match name.backed_up() {
            (true, sequence) => {
                let of = (sequence, name.extent.0);
                self.complete.contains(&of) && sequence < self.oldest
                    || self.unfinished.contains(&of) && sequence < newest
            }
            // Nobody knows where a piece ends but within so many entries.
            (false, first) => first + RUN_ENTRIES <= self.oldest && !wanted(first),
        };
        names.iter().filter(goes).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(first: u64) -> BlobName {
        BlobName::of_log(first, (1, first + 100))
    }

    fn snapshot(sequence: u64, number: u64) -> BlobName {
        BlobName::of_snapshot(sequence, (1, number))
    }

    #[test]
    fn what_a_restore_may_need_stays_and_so_does_what_does_not_read() {
        let far = RUN_ENTRIES + 9;
        let names =
            [log(1), log(5), log(9), log(far), snapshot(2, 1), snapshot(4, 2), snapshot(9, 3), snapshot(far, 4)];
        let mut kept = Kept {
            complete: [(4, 1), (far, 1)].into(),
            unfinished: [(9, 1)].into(),
            unread: [(2, 1)].into(),
            oldest: 0,
        };
        assert_eq!(kept.prunable(&names), [snapshot(9, 3)]);
        // The piece at 5 may go on for so many entries, but no further.
        kept.oldest = far;
        assert_eq!(kept.prunable(&names), [log(5), log(9), snapshot(4, 2), snapshot(9, 3)]);
        // Unfinished, and newer than all that are complete: perhaps under way.
        let early = Kept { complete: BTreeSet::new(), unfinished: [(9, 1)].into(), unread: BTreeSet::new(), oldest: 0 };
        assert_eq!(early.prunable(&names), []);
    }

    /// Pieces that began shortly before a snapshot stayed when that was pruned, and all prunes to come took them for
    /// older than anything known.
    #[test]
    fn what_a_prune_leaves_goes_with_the_next() {
        let (second, third) = (RUN_ENTRIES + 9, 3 * RUN_ENTRIES);
        let names = [log(5), log(RUN_ENTRIES), log(third), snapshot(second, 1), snapshot(third, 2)];
        // The first snapshot, at 4, went with the prune before.
        let kept = Kept {
            complete: [(second, 1), (third, 1)].into(),
            unfinished: BTreeSet::new(),
            unread: BTreeSet::new(),
            oldest: third,
        };
        assert_eq!(kept.prunable(&names), [log(5), log(RUN_ENTRIES), snapshot(second, 1)]);
    }
}
