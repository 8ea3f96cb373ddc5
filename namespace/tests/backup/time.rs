//! Backups as time passes.

use super::*;
use support::clock::TestClock;
use support::engine::Between;

const HOUR: Duration = Duration::from_hours(1);

/// A namespace on a clock of its own, some of whose silos are full.
async fn house(test: &'static str, keep: Duration, full: &[&str]) -> (House, Arc<TestClock>) {
    let clock = Arc::new(TestClock::default());
    let engine = Memory::with_log(Arc::<TestClock>::clone(&clock));
    let options = Options {
        seal_key: SEAL_KEY,
        pack_up_to: PACK_UP_TO,
        backup: Some(BackupOptions { every: SNAPSHOT_EVERY, keep }),
        ..super::support::options()
    };
    for silo in full {
        silo_of(test, silo).limit(0);
    }
    let opened = Namespace::open(Arc::new(engine.clone()), Arc::<TestClock>::clone(&clock), options, true);
    let namespace = opened.await.unwrap();
    House::declare(&namespace, test).await;
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    (House { test, engine, namespace, bucket }, clock)
}

impl House {
    /// Pieces of snapshots in a silo, the newest last.
    async fn snapshots(&self, silo: &str) -> Vec<BlobName> {
        let names = self.pieces(silo).await.into_iter().map(|name| name.parse::<BlobName>().unwrap());
        names.filter(|name| name.backed_up().0).collect()
    }
}

/// Snapshots, of each of which there are two pieces.
fn count(pieces: &[BlobName]) -> usize {
    pieces.iter().map(|piece| (piece.backed_up().1, piece.extent.0)).collect::<std::collections::BTreeSet<_>>().len()
}

/// The log was written until nothing of it was left, which never comes as long as clients write: no snapshot was taken, and
/// nothing was pruned.
#[tokio::test]
async fn the_log_is_written_to_an_end_however_much_comes_meanwhile() {
    let engine = Arc::new(Between { inner: new_engine(), busy: true, ..Between::default() });
    let options =
        Options { seal_key: SEAL_KEY, pack_up_to: PACK_UP_TO, backup: Some(DAILY), ..super::support::options() };
    let opened = Namespace::open(Arc::<Between>::clone(&engine), Arc::new(SystemClock::new()), options, true);
    let namespace = opened.await.unwrap();
    House::declare(&namespace, "busy").await;
    namespace.back_up(&|_| {}).await.unwrap();
    namespace.back_up(&|_| {}).await.unwrap();
    namespace.close().await;
}

/// A full silo was counted among those that want a copy: one snapshot followed the other, and filled the silo that had
/// room.
#[tokio::test]
async fn a_full_silo_asks_for_no_snapshots() {
    let (house, clock) = house("full", BACKUPS_KEPT, &["cold", "spare"]).await;
    house.namespace.start_background();
    clock.pass(HOUR).await;
    assert_eq!(count(&house.snapshots("hot").await), 1);
    house.namespace.close().await;
}

/// A silo that answers, and takes no piece, had a snapshot taken for it as often as one could be: hundreds a day.
#[tokio::test]
async fn a_silo_that_takes_no_piece_asks_for_snapshots_ever_less() {
    let (house, clock) = house("takes none", BACKUPS_KEPT, &["spare"]).await;
    silo_of("takes none", "cold").hang(true);
    house.namespace.start_background();
    clock.pass(HOUR * 4).await;
    let taken = count(&house.snapshots("hot").await);
    assert!((2..=10).contains(&taken), "{taken}");
    silo_of("takes none", "cold").hang(false);
    clock.pass(HOUR * 4).await;
    house.namespace.close().await;
    let (engine, _) = house.restored_from(&["cold"], None).await.unwrap();
    assert!(rows(&engine) == rows(&house.engine));
}

/// A silo was away for good: no backup was deleted any more, in any of the others.
#[tokio::test]
async fn a_silo_that_is_away_keeps_no_old_backup() {
    let (house, clock) = house("away", Duration::ZERO, &[]).await;
    silo_of("away", "spare").fail(true);
    for name in ["a", "b", "c", "d"] {
        house.put(name, 1).await;
        clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
        clock.pass(HOUR).await;
    }
    assert!(count(&house.snapshots("hot").await) <= 2);
    house.namespace.close().await;
}

/// A prune broke off between the pieces of a snapshot. What was left of it was taken for one that may read some day, and
/// stayed for ever, with pieces of the log.
#[tokio::test]
async fn a_prune_that_broke_off_is_finished_by_the_next() {
    let (house, clock) = house("broke off", Duration::ZERO, &[]).await;
    let hot_and_cold = ["hot", "cold"].map(|silo| silo_of("broke off", silo));
    for name in ["a", "b", "c"] {
        house.put(name, 1).await;
        if name == "c" {
            for silo in &hot_and_cold {
                silo.keep(Some(1));
            }
        }
        clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
        clock.pass(HOUR).await;
    }
    for silo in &hot_and_cold {
        silo.keep(None);
    }
    house.put("d", 1).await;
    clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
    for silo in ["hot", "cold"] {
        assert!(count(&house.snapshots(silo).await) <= 2, "{:?}", house.snapshots(silo).await);
    }
    house.namespace.close().await;
}

/// A snapshot that had been complete was lost, and the one before it was pruned in its favour: nothing led to the moments
/// after it any more.
#[tokio::test]
async fn a_snapshot_that_was_lost_since_takes_none_with_it() {
    let (house, clock) = house("relied", HOUR, &[]).await;
    house.put("first", 1).await;
    clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
    let first = house.snapshots("hot").await;
    clock.pass(HOUR / 2).await;
    house.put("second", 2).await;
    clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
    let second: Vec<_> = house.snapshots("hot").await.into_iter().filter(|name| !first.contains(name)).collect();
    for silo in ["hot", "cold"] {
        silo_of("relied", silo).delete(&second[0]).await.unwrap();
    }
    clock.pass(HOUR * 2).await;
    house.put("third", 3).await;
    clock.pass(Duration::from_secs(1)).await;
    let (at, then) = (clock.now(), rows(&house.engine));
    clock.pass(Duration::from_secs(1)).await;
    house.put("fourth", 4).await;
    clock.run(house.namespace.back_up(&|_| {})).await.unwrap();
    house.namespace.close().await;
    let (engine, restored) = house.restored(Some(at)).await;
    assert!(rows(&engine) == then, "{restored:?}");
}
