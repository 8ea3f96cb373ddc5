//! Entries that a restore cannot reach are told, never passed over.

use holdall_namespace::limits::LOG_LEAP;

use super::attacks::{redb_from, up};
use super::shelf::Shelf;
use super::*;

impl House {
    /// Takes the pieces of snapshots out that were taken from an entry on.
    async fn lose_snapshots(&self, from: u64) {
        for silo in ["hot", "cold"] {
            let blobs = silo_of(self.test, silo);
            for piece in self.pieces(silo).await {
                let piece: BlobName = piece.parse().unwrap();
                let (of_snapshot, sequence) = piece.backed_up();
                if of_snapshot && sequence >= from {
                    blobs.delete(&piece).await.unwrap();
                }
            }
        }
    }
}

/// An index was restored, and its gateway wrote for days. Then it was lost as well, with the snapshot that its log goes on
/// from: the older index was restored up to its end, as if that were all.
#[tokio::test]
async fn an_older_line_is_not_taken_for_all_there_is() {
    let house = house("line").await.again().await;
    house.work(1).await;
    house.namespace.close().await;
    let (between, then) = (now().await, rows(&house.engine));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    redb_from(&house, &SILOS, &path).await.unwrap();
    let other = House { namespace: up(&path).await.1, ..house };
    other.namespace.back_up(&|_| {}).await.unwrap();
    other.work(2).await;
    other.namespace.close().await;
    other.lose_snapshots(LOG_LEAP).await;
    for at in [None, Some(now().await)] {
        let error = other.restored_from(&SILOS, at).await.err().unwrap();
        let RestoreError::Broken { until, reason } = error else { panic!("{error}") };
        assert!(reason.contains("another line"), "{reason}");
        let (engine, restored) = other.restored(Some(until)).await;
        assert!(rows(&engine) == then && restored.flaws.len() == 1, "{restored:?}");
    }
    // The older index, as it was before there was another one, is all of what was asked for.
    let (engine, restored) = other.restored(Some(between)).await;
    assert!(rows(&engine) == then && restored.flaws.is_empty(), "{restored:?}");
}

/// The same, entry by entry.
#[tokio::test]
async fn entries_of_another_line_are_missed_as_of_when_they_were_made() {
    let mut shelf = Shelf::new("line2").await;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    shelf.line = 2;
    shelf.log(2, 20, 25);
    for at in [None, Some(20_000), Some(22_000), Some(30_000)] {
        assert_eq!(shelf.breaks_at(at).await, 7000, "{at:?}");
    }
    for (at, flaws) in [(6500, 0), (7000, 1), (19_999, 0)] {
        let restored = shelf.restore(Some(at)).await.unwrap();
        assert_eq!((restored.last_entry, restored.flaws.len()), (at.min(7000) as u64 / 1000, flaws), "{restored:?}");
    }
    // The line went on after that: the other one was given up.
    shelf.line = 1;
    shelf.log(1, 8, 30);
    for (at, last) in [(None, 30), (Some(22_000), 22), (Some(40_000), 30)] {
        let restored = shelf.restore(at).await.unwrap();
        assert_eq!((restored.last_entry, restored.flaws.len()), (last, 0), "{restored:?}");
    }
}

/// Pieces of the index before this one have numbers beyond its snapshot's where a silo was away: they are older.
#[tokio::test]
async fn what_is_older_than_the_snapshot_is_not_missed() {
    let mut shelf = Shelf::new("line3").await;
    shelf.line = 2;
    shelf.log(1, 6, 8);
    shelf.line = 1;
    shelf.snapshot(2, 9);
    shelf.log(2, 10, 12);
    let restored = shelf.restore(None).await.unwrap();
    assert_eq!((restored.last_entry, restored.flaws.len()), (12, 0), "{restored:?}");
}

/// A snapshot had lost its rows. Asked for a moment after it, a restore took the one before it, without what came between.
#[tokio::test]
async fn a_moment_behind_a_snapshot_that_is_not_whole_is_refused() {
    let mut shelf = Shelf::new("line4").await;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    shelf.line = 2;
    let rows = shelf.snapshot(2, 20);
    assert_eq!(shelf.restore(Some(22_000)).await.unwrap().last_entry, 20);
    shelf.damage(&rows);
    for at in [None, Some(22_000)] {
        assert_eq!(shelf.breaks_at(at).await, 7000, "{at:?}");
    }
    assert_eq!(shelf.restore(Some(19_999)).await.unwrap().last_entry, 7);
}

/// A snapshot that lost its rows is not needed where the log goes on through it.
#[tokio::test]
async fn a_snapshot_that_is_not_whole_is_not_missed_within_its_line() {
    let mut shelf = Shelf::new("line5").await;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    let rows = shelf.snapshot(1, 8);
    shelf.damage(&rows);
    shelf.log(1, 8, 12);
    for (at, last) in [(None, 12), (Some(9500), 9), (Some(8000), 8)] {
        let restored = shelf.restore(at).await.unwrap();
        assert_eq!((restored.last_entry, restored.flaws.len()), (last, 1), "{restored:?}");
    }
}

/// The last piece of the log was damaged. It had begun before the snapshot, and was taken for one that had ended before it.
#[tokio::test]
async fn a_damaged_last_piece_is_missed_unless_it_ended_before_the_snapshot() {
    let mut shelf = Shelf::new("straddle").await;
    shelf.snapshot(1, 4);
    let last = shelf.log(1, 3, 6);
    assert_eq!(shelf.restore(None).await.unwrap().last_entry, 6);
    shelf.damage(&last);
    for at in [None, Some(5000)] {
        assert_eq!(shelf.breaks_at(at).await, 4000, "{at:?}");
    }
    let restored = shelf.restore(Some(4000)).await.unwrap();
    assert_eq!((restored.last_entry, restored.flaws.len()), (4, 1), "{restored:?}");
    // One that begins behind it shows where it ended.
    shelf.log(1, 4, 4);
    let restored = shelf.restore(None).await.unwrap();
    assert_eq!((restored.last_entry, restored.flaws.len()), (4, 0), "{restored:?}");
}

/// A clock was ahead when the last snapshot of an index was taken. The index was restored, went on by a clock that was right,
/// and was lost as well: by its time the older snapshot was the newest, and all since was left out without a word.
#[tokio::test]
async fn what_came_after_a_clock_that_was_ahead_is_not_left_out() {
    let mut shelf = Shelf::new("ahead").await;
    shelf.ahead = 100_000;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    (shelf.line, shelf.ahead) = (2, 0);
    shelf.log(2, 20, 25);
    assert_eq!(shelf.breaks_at(None).await, 107_000);
    shelf.snapshot(2, 20);
    assert_eq!(shelf.breaks_at(None).await, 107_000);
    assert_eq!(shelf.restore(Some(90_000)).await.unwrap().last_entry, 25);
}
