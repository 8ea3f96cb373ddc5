//! Which pieces nobody will want any more.

use std::collections::BTreeSet;

use holdall_silos::BlobName;

/// A complete snapshot: the last entry it holds, and who took it.
pub(super) type Complete = (u64, u64);

/// Of all names, in order: what no restore to a moment since `oldest` needs (`oldest` is the newest snapshot from before
/// the age that is kept), and snapshots that were never finished.
pub(super) fn prunable(names: &[BlobName], complete: &BTreeSet<Complete>, oldest: Option<u64>) -> Vec<BlobName> {
    let newest = complete.last().map_or(0, |(sequence, _)| *sequence);
    let oldest = oldest.unwrap_or(0);
    let mut gone = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let next = names.get(at + 1).map(BlobName::backed_up);
        let goes = match name.backed_up() {
            (true, sequence) => {
                let whole = complete.contains(&(sequence, name.extent.0));
                sequence < oldest || (!whole && sequence < newest)
            }
            // A piece ends where the next one begins.
            (false, _) => next.is_some_and(|(snapshot, first)| !snapshot && first <= oldest + 1),
        };
        if goes {
            gone.push(*name);
        }
    }
    gone
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
    fn what_a_restore_may_need_stays() {
        let names = [
            log(1),
            log(5),
            log(9),
            log(14),
            snapshot(4, 1),
            snapshot(4, 2),
            snapshot(9, 3),
            snapshot(10, 4),
            snapshot(11, 5),
            snapshot(20, 6),
        ];
        let complete = [(4, 1), (10, 1), (11, 1)].into();
        // The snapshot at 9 was never finished; one that is newer than all complete ones may be under way.
        assert_eq!(prunable(&names, &complete, None), [snapshot(9, 3)]);
        // From the snapshot at 10 on: the piece that begins with 9 goes on to 13.
        let gone = [log(1), log(5), snapshot(4, 1), snapshot(4, 2), snapshot(9, 3)];
        assert_eq!(prunable(&names, &complete, Some(10)), gone);
        assert_eq!(prunable(&names, &BTreeSet::new(), None), []);
    }
}
