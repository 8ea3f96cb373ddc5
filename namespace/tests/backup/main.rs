//! The index lost, and made again from its silos.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::backup::BackupOptions;
use holdall_namespace::backup::shelf::Source;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::check::Finding;
use holdall_namespace::clock::{Clock, SystemClock, UnixMs};
use holdall_namespace::engine::Engine;
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::limits::{BACKUPS_KEPT, PACK_UP_TO, SNAPSHOT_EVERY};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutObject, Upload};
use holdall_namespace::restore::{RestoreError, Restored, StockLine, begin_anew, open_source, restore};
use holdall_namespace::table::backups::{kept, log_base};
use holdall_namespace::table::key as tables;
use holdall_namespace::table::sessions::next_session;
use holdall_namespace::{Namespace, Options};
use holdall_silos::{BlobName, Silo, memory::Memory as Blobs};

mod attacks;
mod lines;
mod shelf;
mod stock;
#[path = "../support/mod.rs"]
mod support;
mod time;

const SEAL_KEY: [u8; 32] = [7; 32];
const SILOS: [&str; 3] = ["hot", "cold", "spare"];
const DAILY: BackupOptions = BackupOptions { every: SNAPSHOT_EVERY, keep: BACKUPS_KEPT };

/// A namespace whose gateway comes and goes.
struct House {
    test: &'static str,
    engine: Memory,
    namespace: Arc<Namespace>,
    bucket: Bucket,
}

async fn open(engine: &Memory, backup: Option<BackupOptions>) -> Arc<Namespace> {
    let options = Options { seal_key: SEAL_KEY, pack_up_to: PACK_UP_TO, backup, ..support::options() };
    Namespace::open(Arc::new(engine.clone()), Arc::new(SystemClock::new()), options, true).await.unwrap()
}

fn url(test: &str, silo: &str) -> String {
    format!("memory:backup-{test}-{silo}")
}

fn silo_of(test: &str, name: &str) -> Arc<Blobs> {
    Blobs::named(&url(test, name)["memory:".len()..])
}

fn declared(test: &str, silo: &str) -> DeclaredSilo {
    DeclaredSilo::own(url(test, silo))
}

fn new_engine() -> Memory {
    Memory::with_log(Arc::new(SystemClock::new()))
}

/// Now, between what came before and what comes after.
async fn now() -> UnixMs {
    tokio::time::sleep(Duration::from_millis(5)).await;
    let now = SystemClock::new().now();
    tokio::time::sleep(Duration::from_millis(5)).await;
    now
}

/// Every row that a restored index must have.
fn rows(engine: &Memory) -> BTreeMap<Bytes, Bytes> {
    let own = [next_session(), kept(), log_base()];
    let of_sessions = |key: &Bytes| matches!(key[0], tables::ALIVE | tables::BEATS | tables::ENDED);
    engine.every_row().into_iter().filter(|(key, _)| !of_sessions(key) && !own.contains(&key.to_vec())).collect()
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn bytes_of(number: usize) -> Vec<u8> {
    let length = if number.is_multiple_of(10) { PACK_UP_TO as usize + 1 + number } else { 100 + number * 7 % 900 };
    (0..length).map(|at| (at * 31 + number * 7) as u8).collect()
}

async fn house(test: &'static str) -> House {
    let engine = new_engine();
    let namespace = open(&engine, Some(DAILY)).await;
    House::declare(&namespace, test).await;
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    House { test, engine, namespace, bucket }
}

impl House {
    /// The gateway stops in good order, which writes the log's end, and starts again.
    async fn again(self) -> Self {
        self.namespace.close().await;
        Self { namespace: open(&self.engine, Some(DAILY)).await, ..self }
    }

    async fn put(&self, name: &str, number: usize) {
        let bytes = bytes_of(number);
        let user = vec![("number".to_owned(), number.to_string())];
        let request = PutObject {
            bucket: &self.bucket,
            key: &key(name),
            upload: Upload {
                size: bytes.len() as u64,
                body: stream::iter([Ok(Bytes::from(bytes))]).boxed(),
                algorithm: None,
                verify: Box::new(|_| Ok(())),
            },
            headers: Headers { system: vec![("content-type".to_owned(), "image/x".to_owned())], user },
            tags: vec![("tag".to_owned(), name.to_owned())],
            storage_class: None,
            condition: Condition::default(),
        };
        self.namespace.put(request).await.unwrap();
    }

    async fn copy(&self, from: &str, to: &str) {
        support::copy(&self.namespace, &self.bucket, from, to).await;
    }

    async fn delete(&self, name: &str) {
        self.namespace.delete(&self.bucket, &key(name), Condition::default()).await.unwrap();
    }

    /// A bit of everything; `salt` tells one time from another.
    async fn work(&self, salt: usize) {
        for number in 0..30 {
            self.put(&format!("{salt}/k{number:02}"), number).await;
        }
        self.copy(&format!("{salt}/k03"), &format!("{salt}/copy")).await;
        self.copy(&format!("{salt}/k10"), &format!("{salt}/copy of a large one")).await;
        self.put(&format!("{salt}/k04"), salt + 31).await;
        self.delete(&format!("{salt}/k05")).await;
        self.delete(&format!("{salt}/k20")).await;
    }

    async fn declare(namespace: &Namespace, test: &str) {
        let silos = SILOS.iter().map(|silo| ((*silo).to_owned(), declared(test, silo))).collect();
        let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
        let write = Some(WritePolicy { to: vec![to("hot"), to("cold")] });
        namespace.apply(&Declared { silos, write, ..Declared::default() }, false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
    }

    /// A life in between that makes no backups: what it does is in no log.
    async fn work_without_backups(self, salt: usize) -> Self {
        self.namespace.close().await;
        let house = Self { namespace: open(&self.engine, None).await, ..self };
        house.namespace.start_background();
        house.work(salt).await;
        house.again().await
    }

    async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let opened = self.namespace.open_object(&self.bucket, &key(name)).await.ok()?;
        let pieces: Vec<_> = opened.read(0..opened.object.size).await.unwrap().collect().await;
        Some(pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect())
    }

    async fn sources(&self, silos: &[&str]) -> Vec<Source> {
        let mut sources = Vec::new();
        for silo in silos {
            sources.push(open_source(&declared(self.test, silo), "/".as_ref()).await.unwrap());
        }
        sources
    }

    async fn object(&self, name: &str) -> holdall_namespace::object::Object {
        self.namespace.open_object(&self.bucket, &key(name)).await.unwrap().object
    }

    async fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.namespace.check(true, &mut |finding| findings.push(finding)).await.unwrap();
        findings
    }

    async fn restored_from(&self, silos: &[&str], at: Option<UnixMs>) -> Result<(Memory, Restored), RestoreError> {
        let sources = self.sources(silos).await;
        // The last engine that was begun.
        let made: Mutex<Memory> = Mutex::new(new_engine());
        let make = || {
            let engine = new_engine();
            *made.lock().unwrap() = engine.clone();
            Ok(Arc::new(engine) as Arc<dyn Engine>)
        };
        let (_, restored) = restore(sources, &SEAL_KEY, at, &make, &|_| {}).await?;
        Ok((made.into_inner().unwrap(), restored))
    }

    async fn restored(&self, at: Option<UnixMs>) -> (Memory, Restored) {
        self.restored_from(&SILOS, at).await.unwrap()
    }

    async fn run(&self, order: Order) {
        let id = self.namespace.start_job(order, Pace::default()).await.unwrap().id;
        for _ in 0..200 {
            let job = self.namespace.job(id).await.unwrap();
            if job.state == JobState::Empty {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the job does not end");
    }

    /// Names of pieces of backups in a silo.
    async fn pieces(&self, silo: &str) -> Vec<String> {
        let silo = silo_of(self.test, silo);
        let page = silo.list(&BlobName::backups_prefix(), None, 1000).await.unwrap();
        page.into_iter().map(|listed| listed.name).collect()
    }
}

#[tokio::test]
async fn an_index_is_made_again_as_it_was_from_all_silos_or_either_of_two() {
    let house = house("again").await.again().await;
    house.work(1).await;
    let house = house.again().await;
    house.work(2).await;
    house.namespace.close().await;
    let (cold, hot) = (house.pieces("cold").await, house.pieces("hot").await);
    assert!(hot == cold && hot.len() >= 4, "{hot:?}");
    assert_eq!(house.pieces("spare").await, [""; 0], "two are enough");
    for silos in [&SILOS[..], &["hot"], &["cold"]] {
        let (engine, restored) = house.restored_from(silos, None).await.unwrap();
        assert!(rows(&engine) == rows(&house.engine), "from {silos:?}: {restored:?}");
        assert_eq!(restored.flaws, [""; 0]);
        assert!(restored.entries > 60 && restored.rows > 10, "snapshot and log have their part: {restored:?}");
    }
    assert!(matches!(house.restored_from(&["spare"], None).await, Err(RestoreError::NoBackup(_))));
    // Whoever takes it from there reads every byte.
    let (engine, _) = house.restored(None).await;
    let house = House { namespace: open(&engine, Some(DAILY)).await, engine, ..house };
    for salt in [1, 2] {
        assert_eq!(house.get(&format!("{salt}/k10")).await, Some(bytes_of(10)));
        assert_eq!(house.get(&format!("{salt}/k04")).await, Some(bytes_of(salt + 31)));
        assert_eq!(house.get(&format!("{salt}/copy")).await, Some(bytes_of(3)));
        assert_eq!(house.get(&format!("{salt}/k05")).await, None);
    }
    assert_eq!(house.findings().await, []);
    house.namespace.close().await;
}

#[tokio::test]
async fn an_index_is_made_again_as_of_any_moment() {
    let mut house = house("moment").await;
    let mut moments = Vec::new();
    for salt in 0..4 {
        house.work(salt).await;
        moments.push((now().await, rows(&house.engine)));
        if salt == 1 {
            house = house.again().await;
        }
        if salt == 2 {
            house.namespace.back_up(&|_| {}).await.unwrap();
        }
    }
    house.namespace.close().await;
    for (salt, (at, expected)) in moments.into_iter().enumerate().skip(1) {
        let (engine, restored) = house.restored(Some(at)).await;
        assert!(rows(&engine) == expected, "phase {salt}: {restored:?}");
        assert!(restored.until <= at);
    }
    // Before the first backup there is nothing.
    assert!(matches!(house.restored_from(&SILOS, Some(1)).await, Err(RestoreError::NoSnapshot(_))));
}

#[tokio::test]
async fn what_is_written_after_a_restore_is_backed_up_as_well() {
    let house = house("after").await.again().await;
    house.work(1).await;
    let (at, then) = (now().await, rows(&house.engine));
    house.work(2).await;
    house.namespace.close().await;
    let before = now().await;
    let (engine, restored) = house.restored(Some(at)).await;
    let other = House { namespace: open(&engine, Some(DAILY)).await, engine, ..house };
    assert!(restored.last_session > 0 && other.get("2/k01").await.is_none());
    other.work(3).await;
    other.namespace.close().await;
    let (engine, _) = other.restored(None).await;
    assert!(rows(&engine) == rows(&other.engine), "the newest is of the index that was restored");
    // What was given up can still be gone back to.
    let (engine, _) = other.restored(Some(before)).await;
    assert!(rows(&engine).len() > then.len());
    let gone = House { namespace: open(&engine, None).await, engine, ..other };
    assert_eq!(gone.get("2/k01").await, Some(bytes_of(1)));
    assert_eq!(gone.get("3/k01").await, None);
}

/// A backup whose damage nobody finds is none.
#[tokio::test]
async fn every_flipped_bit_is_found_and_the_other_copy_taken() {
    let house = house("flips").await;
    let house = house.again().await;
    house.work(1).await;
    let house = house.again().await;
    house.work(2).await;
    house.namespace.close().await;
    let expected = rows(&house.engine);
    let hot = silo_of("flips", "hot");
    let pieces = house.pieces("hot").await;
    let seed = std::env::var("HOLDALL_SEED").map_or(1, |seed| seed.parse().unwrap());
    eprintln!("HOLDALL_SEED={seed}");
    let mut random: u64 = seed;
    let mut draw = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % below
    };
    for _ in 0..1000 {
        let piece = &pieces[draw(pieces.len())];
        let whole = hot.peek(piece).unwrap();
        let (at, bit) = (draw(whole.len()), draw(8));
        let mut flipped = whole.to_vec();
        flipped[at] ^= 1 << bit;
        hot.plant(piece, flipped, &[]);
        let (engine, restored) = house.restored_from(&["hot", "cold"], None).await.unwrap();
        assert!(rows(&engine) == expected, "bit {bit} of byte {at} of {piece}");
        let found = restored.flaws.iter().any(|flaw| flaw.contains("`hot`"));
        assert!(found, "bit {bit} of byte {at} of {piece} is not found: {restored:?}");
        let alone = house.restored_from(&["hot"], None).await;
        assert!(alone.is_err(), "bit {bit} of byte {at} of {piece} is not found alone");
        hot.plant(piece, whole, &[]);
    }
}

#[tokio::test]
async fn a_lost_piece_ends_a_restore_that_says_up_to_when_it_can_go() {
    let house = house("lost").await.again().await;
    house.work(1).await;
    let house = house.again().await;
    house.work(2).await;
    let house = house.again().await;
    house.work(3).await;
    house.namespace.close().await;
    let logs: Vec<String> =
        house.pieces("hot").await.into_iter().filter(|name| !name.parse::<BlobName>().unwrap().backed_up().0).collect();
    let lost = &logs[logs.len() - 2];
    for silo in ["hot", "cold"] {
        let silo = silo_of("lost", silo);
        silo.delete(&lost.parse().unwrap()).await.unwrap();
    }
    let error = house.restored_from(&SILOS, None).await.err().unwrap();
    let RestoreError::Broken { until, .. } = error else { panic!("{error}") };
    let (engine, restored) = house.restored(Some(until)).await;
    assert_eq!(restored.until, until);
    let old = House { namespace: open(&engine, None).await, engine, ..house };
    assert_eq!(old.get("1/k01").await, Some(bytes_of(1)));
    assert_eq!(old.get("3/k01").await, None);
    let other_key = restore(
        old.sources(&["hot"]).await,
        &[8; 32],
        None,
        &|| Ok(Arc::new(new_engine()) as Arc<dyn Engine>),
        &|_| {},
    );
    assert!(matches!(other_key.await, Err(RestoreError::OtherKey)));
}

/// A gateway ran without backups for a while: what it wrote is in no log.
#[tokio::test]
async fn a_log_with_a_gap_is_gone_on_from_by_a_snapshot() {
    let house = house("gap").await.again().await;
    house.work(1).await;
    let house = house.work_without_backups(2).await;
    house.work(3).await;
    house.namespace.close().await;
    let (engine, restored) = house.restored(None).await;
    assert!(rows(&engine) == rows(&house.engine), "{restored:?}");
}

#[tokio::test]
async fn old_backups_go_and_what_is_left_restores() {
    let house = house("prune").await;
    house.namespace.close().await;
    let short = BackupOptions { every: SNAPSHOT_EVERY, keep: Duration::ZERO };
    let house = House { namespace: open(&house.engine, Some(short)).await, ..house };
    for salt in 0..3 {
        house.work(salt).await;
        house.namespace.back_up(&|_| {}).await.unwrap();
    }
    let snapshots: Vec<String> =
        house.pieces("hot").await.into_iter().filter(|name| name.parse::<BlobName>().unwrap().backed_up().0).collect();
    assert_eq!(snapshots.len(), 2, "rows and manifest of the last one: {snapshots:?}");
    house.work(4).await;
    house.namespace.close().await;
    let (engine, restored) = house.restored(None).await;
    assert!(rows(&engine) == rows(&house.engine), "{restored:?}");
}

#[tokio::test]
async fn what_was_moved_since_is_found_where_it_lies_now() {
    let house = house("moved").await.again().await;
    house.work(1).await;
    let at = now().await;
    house.namespace.start_background();
    house.run(Order::Drain { from: "hot".into(), to: "cold".into() }).await;
    house.namespace.close().await;
    let (engine, _) = house.restored(Some(at)).await;
    let house = House { namespace: open(&engine, Some(DAILY)).await, engine, ..house };
    let mut lines = Vec::new();
    let stock = house.namespace.take_stock(&mut |line| lines.push(line)).await.unwrap();
    assert!(stock.adopted > 25 && stock.unknown == 0, "{stock:?} {lines:?}");
    for number in [1, 2, 10] {
        assert_eq!(house.get(&format!("1/k{number:02}")).await, Some(bytes_of(number)));
    }
    assert_eq!(house.findings().await, []);
    let again = house.namespace.take_stock(&mut |_| {}).await.unwrap();
    assert_eq!((again.adopted, again.unknown), (0, 0), "it is put right once");
    house.namespace.close().await;
}

#[tokio::test]
async fn what_a_restored_index_does_not_know_is_told_and_kept_until_somebody_decides() {
    let house = house("unknown").await.again().await;
    house.put("before", 1).await;
    let at = now().await;
    house.put("packed since", 2).await;
    house.put("large since", 10).await;
    house.namespace.close().await;
    let (engine, _) = house.restored(Some(at)).await;
    let house = House { namespace: open(&engine, None).await, engine, ..house };
    let mut objects = Vec::new();
    let stock = house
        .namespace
        .take_stock(&mut |line| {
            let StockLine::Unknown { object, .. } = line else { panic!("{line:?}") };
            objects.push(object.unwrap());
        })
        .await
        .unwrap();
    objects.sort_unstable();
    assert_eq!(objects, ["s3://photos/large since", "s3://photos/packed since"]);
    assert_eq!(stock.unknown_bytes, (bytes_of(2).len() + bytes_of(10).len()) as u64);
    house.namespace.start_background();
    // Nothing of it goes, also not with the pack that a known object shares with an unknown one.
    let silo = silo_of("unknown", "hot");
    let before = silo.count();
    house.delete("before").await;
    house.namespace.sweep_now().await.unwrap();
    assert_eq!(silo.count(), before);
    assert!(house.namespace.keeps_unknown().await.unwrap());
    assert!(house.namespace.accept_restored().await.unwrap());
    assert!(!house.namespace.accept_restored().await.unwrap());
    for _ in 0..3 {
        house.namespace.sweep_now().await.unwrap();
    }
    assert_eq!(silo.count(), house.pieces("hot").await.len(), "only backups are left");
    house.namespace.close().await;
}

/// Index and backups are gone: what is left is what bytes say of themselves.
#[tokio::test]
async fn without_any_backup_the_bytes_tell_what_they_can() {
    let house = house("anew").await.again().await;
    house.work(1).await;
    house.put("1/k06", 77).await;
    let names: Vec<String> = [1, 4, 6, 10].iter().map(|number| format!("1/k{number:02}")).collect();
    let mut then = Vec::new();
    for name in &names {
        then.push(house.object(name).await);
    }
    house.namespace.close().await;
    for silo in ["hot", "cold"] {
        let blobs = silo_of("anew", silo);
        for piece in house.pieces(silo).await {
            blobs.delete(&piece.parse().unwrap()).await.unwrap();
        }
    }
    let engine = new_engine();
    begin_anew(&engine, house.sources(&SILOS).await).await.unwrap();
    let namespace = open(&engine, Some(DAILY)).await;
    assert_eq!(namespace.id(), house.namespace.id());
    House::declare(&namespace, "anew").await;
    let mut lines = Vec::new();
    let stock = namespace.publish_stock(&mut |line| lines.push(line)).await.unwrap();
    let bucket = namespace.bucket(&"photos".parse().unwrap()).await.unwrap();
    let house = House { engine, namespace, bucket, ..house };
    // Thirty objects, one of which was overwritten before it was found again; two were deleted and not swept.
    assert!(stock.published >= 30 && stock.adopted == 0, "{stock:?}");
    for (name, then) in names.iter().zip(then) {
        let now = house.object(name).await;
        assert_eq!((&now.etag, now.size, &now.headers), (&then.etag, then.size, &then.headers), "{name}");
        assert!(now.tags.is_empty(), "bytes tell no tags");
    }
    assert_eq!(house.get("1/k04").await, Some(bytes_of(32)));
    assert_eq!(house.get("1/k06").await, Some(bytes_of(77)));
    assert_eq!(house.findings().await, []);
    // Done twice is done once.
    let again = house.namespace.publish_stock(&mut |_| {}).await.unwrap();
    assert_eq!(again.published, 0);
    house.namespace.close().await;
}

#[tokio::test]
async fn what_is_published_beyond_a_backup_replaces_nothing_that_it_confirms() {
    let house = house("beyond").await.again().await;
    house.put("known", 1).await;
    house.put("deleted since", 2).await;
    let at = now().await;
    house.put("known", 3).await;
    house.put("new", 4).await;
    house.delete("deleted since").await;
    house.namespace.close().await;
    let (engine, _) = house.restored(Some(at)).await;
    let house = House { namespace: open(&engine, None).await, engine, ..house };
    let mut published = Vec::new();
    let stock = house
        .namespace
        .publish_stock(&mut |line| {
            if let StockLine::Published { object, .. } = line {
                published.push(object);
            }
        })
        .await
        .unwrap();
    assert_eq!(published, ["s3://photos/new"]);
    assert_eq!(stock.unknown, 1, "the newer version of what is known");
    assert_eq!(house.get("known").await, Some(bytes_of(1)));
    assert_eq!(house.get("new").await, Some(bytes_of(4)));
    assert_eq!(house.get("deleted since").await, Some(bytes_of(2)));
    house.namespace.close().await;
}

/// The newest snapshot was damaged, an older one was taken in its place, and what came between was left out without a word.
#[tokio::test]
async fn an_older_snapshot_is_not_taken_for_the_newest() {
    let house = house("older").await.again().await;
    house.work(1).await;
    // Only a snapshot has what comes next.
    let house = house.work_without_backups(2).await;
    house.namespace.close().await;
    let last = house.pieces("hot").await.pop().unwrap();
    for silo in ["hot", "cold"] {
        let silo = silo_of("older", silo);
        let mut damaged = silo.peek(&last).unwrap().to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        silo.plant(&last, damaged, &[]);
    }
    let error = house.restored_from(&SILOS, None).await.err().unwrap();
    let RestoreError::Broken { until, reason } = error else { panic!("{error}") };
    assert!(reason.contains("is newer"), "{reason}");
    let (engine, restored) = house.restored(Some(until)).await;
    assert!(rows(&engine).len() > 60 && restored.flaws.len() == 1, "{restored:?}");
}
