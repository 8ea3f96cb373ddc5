//! What an independent look found: each begins with what went wrong.

use holdall_namespace::backup::piece::{Run, What, push_entry};
use holdall_namespace::engine::log::Entry;
use holdall_namespace::engine::redb::Redb;

use super::shelf::Shelf;
use super::*;

async fn names(silo: &Blobs) -> Vec<String> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = silo.list("", after.as_deref(), 1000).await.unwrap();
        let Some(last) = page.last() else { return all };
        after = Some(last.name.clone());
        all.extend(page.into_iter().map(|listed| listed.name));
    }
}

/// `--at` past a lost piece.
#[tokio::test]
async fn a_moment_behind_a_lost_piece_is_refused() {
    let mut house = house("attack1").await.again().await;
    for salt in 1..4 {
        house.work(salt).await;
        house = house.again().await;
    }
    let (at, then) = (now().await, rows(&house.engine));
    house.work(5).await;
    house.namespace.close().await;
    let logs: Vec<String> =
        house.pieces("hot").await.into_iter().filter(|n| !n.parse::<BlobName>().unwrap().backed_up().0).collect();
    for name in ["hot", "cold"] {
        silo_of("attack1", name).delete(&logs[logs.len() - 3].parse().unwrap()).await.unwrap();
    }
    match house.restored_from(&SILOS, Some(at)).await {
        Err(error) => eprintln!("fine: {error}"),
        Ok((engine, restored)) => panic!(
            "ok, though not the rows as of then: same {} until {} at {at}: {:?}",
            rows(&engine) == then,
            restored.until,
            restored.flaws
        ),
    }
}

/// `rebuild --ignore-backups` with a new key, then the gateway runs; the old key is found.
#[tokio::test]
async fn another_key_deletes_no_backup() {
    let house = house("attack3").await.again().await;
    house.work(1).await;
    house.namespace.close().await;
    house.restored_from(&SILOS, None).await.unwrap();
    let engine = new_engine();
    begin_anew(&engine, house.sources(&SILOS).await).await.unwrap();
    let options =
        Options { seal_key: [9; 32], pack_up_to: PACK_UP_TO, backup: Some(DAILY), ..super::support::options() };
    let namespace =
        Namespace::open(Arc::new(engine.clone()), Arc::new(SystemClock::new()), options, true).await.unwrap();
    House::declare(&namespace, "attack3").await;
    namespace.close().await;
    // The old key again, the silos as they are.
    if let Err(error) = house.restored_from(&SILOS, Some(now().await)).await {
        panic!("{error}")
    }
}

/// Silos of two namespaces, one sealing key.
#[tokio::test]
async fn two_namespaces_with_one_key_are_not_mixed() {
    let a = house("rv4a").await;
    let b = house("rv4b").await;
    b.put("before", 1).await;
    a.namespace.close().await;
    b.namespace.close().await;
    let a = House { namespace: open(&a.engine, Some(DAILY)).await, ..a };
    let b = House { namespace: open(&b.engine, Some(DAILY)).await, ..b };
    for n in 0..5 {
        a.put(&format!("a{n}"), n).await;
    }
    for n in 0..40 {
        b.put(&format!("b{n}"), n).await;
    }
    a.namespace.close().await;
    b.namespace.close().await;
    let mut sources = a.sources(&["hot"]).await;
    sources.extend(b.sources(&["hot"]).await);
    let made: Mutex<Memory> = Mutex::new(new_engine());
    let make = || {
        let engine = new_engine();
        *made.lock().unwrap() = engine.clone();
        Ok(Arc::new(engine) as Arc<dyn Engine>)
    };
    match restore(sources, &SEAL_KEY, None, &make, &|_| {}).await {
        Err(error) => eprintln!("fine: {error}"),
        Ok((_, restored)) => {
            let made = rows(&made.lock().unwrap());
            panic!("no error; rows are a's {} b's {}: {restored:?}", made == rows(&a.engine), made == rows(&b.engine));
        }
    }
}

async fn take(silo: &Blobs, keep: &[String]) -> Vec<(String, Bytes)> {
    let mut taken = Vec::new();
    for name in names(silo)
        .await
        .into_iter()
        .filter(|n| n.parse::<BlobName>().is_ok_and(|b| b.is_backup()) && !keep.contains(n))
    {
        taken.push((name.clone(), silo.peek(&name).unwrap()));
        silo.delete(&name.parse().unwrap()).await.unwrap();
    }
    taken
}

async fn rows_of(engine: &dyn Engine) -> BTreeMap<Bytes, Bytes> {
    let own = [next_session(), kept(), log_base()];
    let of_sessions = |key: &Bytes| matches!(key[0], tables::ALIVE | tables::BEATS | tables::ENDED);
    let all = engine.range(vec![0]..vec![0xff; 2], usize::MAX, usize::MAX).await.unwrap();
    all.into_iter().filter(|(key, _)| !of_sessions(key) && !own.contains(&key.to_vec())).collect()
}

pub(crate) async fn redb_from(house: &House, silos: &[&str], path: &std::path::Path) -> Result<Restored, RestoreError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let make = || {
        let _ = std::fs::remove_file(path);
        Ok(Arc::new(Redb::open(path, Arc::clone(&clock)).unwrap()) as Arc<dyn Engine>)
    };
    let made = restore(house.sources(silos).await, &SEAL_KEY, None, &make, &|_| {}).await;
    made.map(|(_, restored)| restored)
}

pub(crate) async fn up(path: &std::path::Path) -> (Arc<Redb>, Arc<Namespace>) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut tries = 0;
    let engine = loop {
        match Redb::open(path, Arc::clone(&clock)) {
            Ok(engine) => break Arc::new(engine),
            Err(error) => {
                tries += 1;
                assert!(tries < 50, "{error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let options =
        Options { seal_key: SEAL_KEY, pack_up_to: PACK_UP_TO, backup: Some(DAILY), ..super::support::options() };
    (Arc::clone(&engine), Namespace::open(engine, clock, options, true).await.unwrap())
}

/// Restored twice, each time from a silo that the other one did not see: numbers of both timelines are the same.
#[tokio::test]
async fn two_restores_that_missed_each_others_silo_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let house = house("attack5").await.again().await;
    house.work(1).await;
    house.namespace.close().await;
    let (hot, cold) = (silo_of("attack5", "hot"), silo_of("attack5", "cold"));
    let (old_hot, old_cold) = (house.pieces("hot").await, house.pieces("cold").await);
    // First restore: `cold` is away; R1 writes to hot alone.
    redb_from(&house, &["hot"], &at("r1")).await.unwrap();
    let (_, namespace) = up(&at("r1")).await;
    let r1 = House { namespace, ..house };
    for n in 0..3 {
        r1.put(&format!("r1/{n}"), n).await;
    }
    r1.namespace.back_up(&|_| {}).await.unwrap();
    for n in 3..6 {
        r1.put(&format!("r1/{n}"), n).await;
    }
    r1.namespace.close().await;
    take(&cold, &old_cold).await; // cold was away
    let of_r1 = take(&hot, &old_hot).await; // now hot is away
    // Second restore: from `cold`.
    redb_from(&r1, &["cold"], &at("r2")).await.unwrap();
    let (engine, namespace) = up(&at("r2")).await;
    let r2 = House { namespace, ..r1 };
    r2.namespace.back_up(&|_| {}).await.unwrap();
    for n in 0..3 {
        r2.put(&format!("r2/{n}"), n).await;
    }
    r2.namespace.back_up(&|_| {}).await.unwrap();
    for n in 3..40 {
        r2.put(&format!("r2/{n}"), n).await;
        r2.namespace.back_up(&|_| {}).await.unwrap();
    }
    // Snapshots but the first are lost, or were never taken: a day has passed since.
    r2.namespace.close().await;
    let truth = rows_of(&*engine).await;
    take(&hot, &old_hot).await; // hot was away
    let snapshots: Vec<BlobName> = names(&cold)
        .await
        .iter()
        .map(|n| n.parse::<BlobName>().unwrap())
        .filter(|b| b.is_backup() && b.backed_up().0)
        .collect();
    let first = snapshots.iter().map(|b| b.backed_up().1).filter(|s| *s > 1 << 32).min().unwrap();
    for late in snapshots.iter().filter(|b| b.backed_up().1 > first) {
        cold.delete(late).await.unwrap();
    }
    for (name, bytes) in of_r1 {
        hot.plant(&name, bytes, &[]);
    }
    // Both are back, and R2's index is lost.
    match redb_from(&r2, &["hot", "cold"], &at("r3")).await {
        Err(error) => eprintln!("fine: {error}"),
        Ok(restored) => {
            let (engine, _) = up(&at("r3")).await;
            let made = rows_of(&*engine).await;
            let has = |text: &str| {
                made.keys()
                    .filter(|k| k[0] == tables::OBJECTS && k.windows(text.len()).any(|w| w == text.as_bytes()))
                    .count()
            };
            assert!(made == truth, "wrong rows: r1/ keys {} r2/ keys {} of 40: {restored:?}", has("r1/"), has("r2/"));
        }
    }
}

/// The disk under the index went back a few seconds (a storage failover, a VM's snapshot).
#[tokio::test]
async fn an_index_that_went_back_goes_on_with_a_line_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (path, kept) = (folder.path().join("index"), folder.path().join("copy"));
    let (engine, namespace) = up(&path).await;
    House::declare(&namespace, "attack6").await;
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    let house = House { test: "attack6", engine: new_engine(), namespace, bucket };
    drop(engine);
    for n in 0..5 {
        house.put(&format!("both/{n}"), n).await;
    }
    house.namespace.back_up(&|_| {}).await.unwrap();
    house.namespace.close().await;
    let House { test, bucket, namespace, engine } = house;
    drop(namespace);
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::copy(&path, &kept).unwrap();
    let house = House { namespace: up(&path).await.1, test, bucket, engine };
    house.namespace.refuse_stale().await.unwrap();
    for n in 0..3 {
        house.put(&format!("lost/{n}"), n).await;
    }
    house.namespace.close().await;
    let House { test, bucket, namespace, engine } = house;
    drop(namespace);
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::copy(&kept, &path).unwrap();
    let (redb, namespace) = up(&path).await;
    let stale = namespace.refuse_stale().await.unwrap_err().to_string();
    assert!(stale.contains("the index is an older copy of itself"), "{stale}");
    let house = House { test, engine, namespace, bucket };
    for n in 0..20 {
        house.put(&format!("new/{n}"), n).await;
    }
    house.namespace.close().await;
    let truth = rows_of(&*redb).await;
    let (engine, restored) = house.restored(None).await;
    let made = rows(&engine);
    let has = |text: &str| {
        made.keys().filter(|k| k[0] == tables::OBJECTS && k.windows(text.len()).any(|w| w == text.as_bytes())).count()
    };
    assert!(
        made == truth,
        "both {} of 5, lost {}, new {} of 20: {restored:?}",
        has("both/"),
        has("lost/"),
        has("new/")
    );
}

/// Two gateways over one index: one prunes what the other one is writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_snapshot_that_is_being_written_is_not_pruned() {
    let house = house("attack7").await;
    house.work(1).await;
    house.namespace.back_up(&|_| {}).await.unwrap();
    let options = |keep| Options {
        seal_key: SEAL_KEY,
        pack_up_to: PACK_UP_TO,
        backup: Some(BackupOptions { every: SNAPSHOT_EVERY, keep }),
        ..super::support::options()
    };
    let second =
        Namespace::open(Arc::new(house.engine.clone()), Arc::new(SystemClock::new()), options(BACKUPS_KEPT), false)
            .await
            .unwrap();
    house.work(2).await;
    let handle = tokio::runtime::Handle::current();
    let once = std::sync::atomic::AtomicBool::new(false);
    let (first, other) = (Arc::clone(&house.namespace), Arc::clone(&second));
    let house = Arc::new(house);
    let writer = Arc::clone(&house);
    let taken = first
        .back_up(&move |_| {
            if once.swap(true, std::sync::atomic::Ordering::SeqCst) {
                return;
            }
            let (other, writer) = (Arc::clone(&other), Arc::clone(&writer));
            tokio::task::block_in_place(|| {
                handle.block_on(async move {
                    writer.put("between", 3).await;
                    other.back_up(&|_| {}).await.unwrap();
                });
            });
        })
        .await
        .unwrap();
    // Is the snapshot that `first` says it took whole?
    let hot = silo_of("attack7", "hot");
    let all: Vec<BlobName> = names(&hot)
        .await
        .iter()
        .map(|n| n.parse().unwrap())
        .filter(|b: &BlobName| b.is_backup() && b.backed_up() == (true, taken.sequence))
        .collect();
    let (_, restored) = house.restored(Some(taken.at)).await;
    assert!(all.len() >= 2, "{taken:?} has {} pieces; a restore as of then: {restored:?}", all.len());
}

/// A long run, and shorter ones that begin within it.
#[tokio::test]
async fn runs_within_runs_are_gone_through() {
    let mut shelf = Shelf::new("attack8").await;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    shelf.log(1, 8, 9);
    shelf.log(2, 5, 20);
    shelf.log(2, 21, 25);
    assert_eq!(shelf.restore(None).await.unwrap().last_entry, 25);
    shelf.snapshot(2, 12);
    let restored = shelf.restore(None).await;
    assert_eq!(restored.map(|r| r.last_entry).map_err(|e| e.to_string()), Ok(25));
}

/// A second snapshot of the same entry by the same session that was never finished hides the first.
#[tokio::test]
async fn an_unfinished_snapshot_hides_no_finished_one() {
    let mut shelf = Shelf::new("attack9").await;
    shelf.snapshot(1, 4);
    shelf.log(1, 5, 7);
    assert_eq!(shelf.restore(None).await.unwrap().last_entry, 7);
    shelf.rows(1, 4);
    assert_eq!(shelf.restore(None).await.map(|r| r.last_entry).map_err(|e| e.to_string()), Ok(7));
}

/// One ms at the end of a run and in the next: a clock that went back.
#[tokio::test]
async fn all_runs_of_one_moment_are_carried_out() {
    let mut shelf = Shelf::new("attack10").await;
    shelf.snapshot(1, 4);
    for (first, last) in [(5, 7), (8, 9), (10, 12)] {
        let mut body = Vec::new();
        for sequence in first..=last {
            push_entry(
                &mut body,
                &Entry {
                    sequence,
                    at: 5000,
                    rows: vec![(Bytes::copy_from_slice(&[2, sequence as u8]), Some(Bytes::from_static(b"x")))],
                },
            );
        }
        shelf.put(1, What::Log(Run { line: 1, anchor: [0; 8], first, last, until: 5000 }), first, &body);
    }
    // 13 to 14 are lost.
    shelf.log(1, 15, 16);
    let error = shelf.restore(None).await.err().unwrap();
    let RestoreError::Broken { until, .. } = error else { panic!("{error}") };
    assert_eq!(shelf.restore(Some(until)).await.unwrap().last_entry, 12, "what `--at` was said to restore");
}

/// Silos take turns: no silo has the whole chain, and nobody takes a snapshot for it.
#[tokio::test]
async fn silos_that_take_turns_get_a_snapshot() {
    let house = house("attack11").await.again().await;
    house.namespace.set_cordon("spare", true).await.unwrap();
    let house = house.again().await;
    house.namespace.start_background();
    house.work(1).await;
    tokio::time::sleep(Duration::from_secs(13)).await;
    // `cold` is away for a moment.
    house.namespace.set_cordon("cold", true).await.unwrap();
    house.work(2).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Then `hot` goes for good, and `cold` is back.
    house.namespace.set_cordon("hot", true).await.unwrap();
    house.namespace.set_cordon("cold", false).await.unwrap();
    house.work(3).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    eprintln!("{:?}", house.namespace.backup_status());
    house.namespace.close().await;
    let restored = house.restored_from(&["cold"], None).await.map(|(_, r)| r.last_entry).map_err(|e| e.to_string());
    assert!(restored.is_ok(), "{restored:?}");
}

/// A run was put into both silos and waited for together: one server that hung kept the other's copies half a minute behind.
#[tokio::test]
async fn a_silo_that_hangs_keeps_no_copy_behind() {
    let house = house("hangs").await;
    house.namespace.back_up(&|_| {}).await.unwrap();
    house.namespace.start_background();
    silo_of("hangs", "cold").hang(true);
    house.work(1).await;
    let done = now().await;
    let covered = async {
        while house.namespace.backup_status().covered.is_none_or(|covered| covered < done) {
            house.put("more", 1).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), covered).await.unwrap();
    silo_of("hangs", "cold").hang(false);
    house.namespace.close().await;
}

/// A snapshot whose last piece could not be read when somebody pruned.
#[tokio::test]
async fn what_does_not_read_is_not_pruned() {
    let house = house("attack13").await;
    house.work(1).await;
    house.namespace.back_up(&|_| {}).await.unwrap();
    let at = now().await;
    house.work(2).await;
    let house = house.again().await;
    house.restored(Some(at)).await;
    let manifest = house.pieces("hot").await.into_iter().filter(|n| n.parse::<BlobName>().unwrap().backed_up().0);
    let mut first: Vec<(String, Bytes)> = Vec::new();
    let (hot, cold) = (silo_of("attack13", "hot"), silo_of("attack13", "cold"));
    for name in manifest {
        first.push((name.clone(), hot.peek(&name).unwrap()));
    }
    // As long as this lasts each GET of them fails.
    for (name, _) in &first {
        hot.plant(name, "503", &[]);
        cold.plant(name, "503", &[]);
    }
    house.namespace.back_up(&|_| {}).await.unwrap();
    let left: Vec<String> = house.pieces("hot").await;
    let gone: Vec<_> = first.iter().filter(|(n, _)| !left.contains(n)).collect();
    assert!(gone.is_empty(), "{} of {} pieces of snapshots of the last minute are deleted", gone.len(), first.len());
}
