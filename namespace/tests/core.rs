//! The whole core on the memory engine and memory silos: what a client would see, and what lies in the silos.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::get::GetError;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, OrderError, Pace};
use holdall_namespace::list::{Line, List};
use holdall_namespace::multipart::{Complete, CreateUpload, NamedPart};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, ETags, Headers};
use holdall_namespace::put::{PutError, PutObject, Upload};
use holdall_namespace::{Namespace, Options};

mod support;

struct House {
    engine: Memory,
    namespace: Arc<Namespace>,
    bucket: Bucket,
    names: [String; 2],
}

async fn open(engine: &Memory) -> Arc<Namespace> {
    open_with(engine, Duration::ZERO).await
}

async fn open_with(engine: &Memory, grace: Duration) -> Arc<Namespace> {
    let options = Options { grace, ..support::options() };
    let engine: Arc<dyn Engine> = Arc::new(engine.clone());
    Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap()
}

async fn house(test: &str) -> House {
    let names = ["hot", "cold"].map(|name| format!("{test}-{name}"));
    let urls = names.each_ref().map(|name| format!("memory:{name}"));
    house_over(names, urls).await
}

async fn house_over(names: [String; 2], urls: [String; 2]) -> House {
    let engine = Memory::new();
    let namespace = open(&engine).await;
    let silo = |url: &String| DeclaredSilo::own(url);
    let silos = [("hot".to_owned(), silo(&urls[0])), ("cold".to_owned(), silo(&urls[1]))].into();
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    let write = Some(WritePolicy { to: vec![to("hot"), to("cold")] });
    namespace.apply(&Declared { silos, write, ..Declared::default() }, false).await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    House { engine, namespace, bucket, names }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn upload(bytes: &[u8]) -> Upload {
    let pieces: Vec<_> = bytes.chunks(100_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Upload {
        body: stream::iter(pieces).boxed(),
        size: bytes.len() as u64,
        algorithm: None,
        verify: Box::new(|_| Ok(())),
    }
}

fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| (i as u64 * 31 + u64::from(seed) * 7 + (i as u64 >> 9)) as u8).collect()
}

impl House {
    async fn put(&self, name: &str, bytes: &[u8]) -> String {
        self.put_if(name, bytes, Condition::default()).await.unwrap()
    }

    async fn put_if(&self, name: &str, bytes: &[u8], condition: Condition) -> Result<String, PutError> {
        let request = PutObject {
            bucket: &self.bucket,
            key: &key(name),
            upload: upload(bytes),
            headers: Headers::default(),
            tags: vec![("a".into(), "b".into())],
            storage_class: None,
            condition,
        };
        Ok(self.namespace.put(request).await?.object.etag)
    }

    async fn get(&self, name: &str) -> Option<Vec<u8>> {
        let opened = match self.namespace.open_object(&self.bucket, &key(name)).await {
            Ok(opened) => opened,
            Err(GetError::NoSuchKey) => return None,
            Err(error) => panic!("{error}"),
        };
        let mut all = Vec::new();
        let mut bytes = opened.read(0..opened.object.size).await.unwrap();
        while let Some(piece) = bytes.next().await {
            all.extend_from_slice(&piece.unwrap());
        }
        Some(all)
    }

    fn blobs(&self) -> [usize; 2] {
        [0, 1].map(|index: usize| holdall_silos::memory::Memory::named(&self.names[index]).count())
    }

    async fn beats(&self) {
        // Two beats after the sweeper noted one, no read from before is open.
        self.namespace.publish_beat_for_tests().await;
        self.namespace.publish_beat_for_tests().await;
    }

    async fn sweep(&self) {
        self.namespace.sweep(true).await.unwrap();
        self.beats().await;
        self.namespace.sweep(true).await.unwrap();
    }
}

#[tokio::test]
async fn an_object_is_read_back_whole_and_in_ranges() {
    let house = house("ranges").await;
    for length in [0, 1, 4096, 262_144, 262_145, 1_000_000] {
        let bytes = pattern(length as u8, length);
        house.put("a//b/../c", &bytes).await;
        assert_eq!(house.get("a//b/../c").await.unwrap(), bytes, "{length}");
        let opened = house.namespace.open_object(&house.bucket, &key("a//b/../c")).await.unwrap();
        for range in [0..length.min(10), length / 3..length / 2, length.saturating_sub(5)..length] {
            let pieces: Vec<_> = opened.read(range.start as u64..range.end as u64).await.unwrap().collect().await;
            let got: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect();
            assert_eq!(got, bytes[range.clone()], "{length} {range:?}");
        }
    }
}

#[tokio::test]
async fn overwritten_and_deleted_bytes_are_swept_and_readers_hold_them() {
    let house = house("sweep").await;
    house.put("k", b"one").await;
    let opened = house.namespace.open_object(&house.bucket, &key("k")).await.unwrap();
    house.put("k", b"second").await;
    house.namespace.delete(&house.bucket, &key("k"), Condition::default()).await.unwrap();
    assert_eq!(house.get("k").await, None);
    assert_eq!(house.blobs(), [2, 0]);
    house.sweep().await;
    assert!(house.blobs()[0] >= 1, "the open read holds its bytes");
    let pieces: Vec<_> = opened.read(0..3).await.unwrap().collect().await;
    assert_eq!(pieces, [Ok(Bytes::from_static(b"one"))]);
    drop(opened);
    house.beats().await;
    house.sweep().await;
    assert_eq!(house.blobs(), [0, 0]);
    assert_eq!(house.namespace.usage().await.unwrap().buckets[0].2.objects, 0);
}

#[tokio::test]
async fn conditions_are_decided_in_the_commit() {
    let house = house("conditions").await;
    let none = || Condition { if_none_match: Some(ETags::Any), ..Condition::default() };
    let etag = house.put_if("k", b"1", none()).await.unwrap();
    assert!(matches!(house.put_if("k", b"2", none()).await, Err(PutError::Condition(_))));
    let is = |etag: &str| Condition { if_match: Some(ETags::Of(vec![etag.to_owned()])), ..Condition::default() };
    assert!(house.put_if("k", b"2", is("else")).await.is_err());
    house.put_if("k", b"2", is(&etag)).await.unwrap();
    assert_eq!(house.get("k").await.unwrap(), b"2");
    let racing = futures_util::future::join_all((0..64).map(|i| {
        let (house, none) = (&house, none());
        async move { house.put_if("raced", &[i], none).await.is_ok() }
    }));
    assert_eq!(racing.await.into_iter().filter(|won| *won).count(), 1);
    house.sweep().await;
    assert_eq!(house.blobs(), [2, 0], "the losers' bytes are gone");
}

#[tokio::test]
async fn copies_share_bytes_until_the_last_one_goes() {
    let house = house("copies").await;
    house.put("a", b"shared").await;
    for to in ["b", "b", "a", "c"] {
        support::copy(&house.namespace, &house.bucket, "a", to).await;
    }
    for gone in ["a", "c", "b"] {
        assert_eq!(house.blobs(), [1, 0]);
        assert_eq!(house.get(gone).await.unwrap(), b"shared");
        house.namespace.delete(&house.bucket, &key(gone), Condition::default()).await.unwrap();
        house.sweep().await;
    }
    assert_eq!(house.blobs(), [0, 0]);
    let left = house.engine.every_row();
    assert!(left.iter().all(|(key, _)| ![2, 5, 7, 16].contains(&key[0])), "rows are left: {left:?}");
}

#[tokio::test]
async fn lists_fold_and_page() {
    let house = house("lists").await;
    for name in ["a", "a/", "a/b", "a/c/d", "a//e", "b", "\u{0}z", "ü"] {
        house.put(name, b"x").await;
    }
    let list = |prefix: &str, delimiter: &str, after: &str, limit| {
        let list = List { prefix: prefix.into(), delimiter: delimiter.into(), after: after.into(), limit };
        let house = &house;
        async move {
            let page = house.namespace.list(&house.bucket, list).await.unwrap();
            let texts: Vec<String> = page.lines.iter().map(|line| line.text().to_owned()).collect();
            (texts, page.next)
        }
    };
    assert_eq!(list("", "", "", 99).await.0, ["\u{0}z", "a", "a/", "a//e", "a/b", "a/c/d", "b", "ü"]);
    assert_eq!(list("", "/", "", 99).await.0, ["\u{0}z", "a", "a/", "b", "ü"]);
    assert_eq!(list("a/", "/", "", 99).await.0, ["a/", "a//", "a/b", "a/c/"]);
    assert_eq!(list("", "/", "", 3).await, (vec!["\u{0}z".into(), "a".into(), "a/".into()], Some("a/".into())));
    assert_eq!(list("", "/", "a/", 3).await, (vec!["b".into(), "ü".into()], None));
    assert_eq!(list("", "", "a/b", 1).await, (vec!["a/c/d".into()], Some("a/c/d".into())));
    let page = house.namespace.list(&house.bucket, List { limit: 99, ..List::default() }).await.unwrap();
    assert!(matches!(&page.lines[1], Line::Object(summary) if summary.size == 1));
}

#[tokio::test]
async fn an_upload_becomes_an_object_once() {
    let house = house("multipart").await;
    let (bucket, name) = (&house.bucket, key("big"));
    let id = house.namespace.create_upload(bucket, &name, CreateUpload::default()).await.unwrap();
    let (first, second) = (pattern(1, 5 << 20), pattern(2, 70_000));
    let mut parts = Vec::new();
    for (number, bytes) in [(7, &second), (3, &first), (9, &second), (3, &first)] {
        let done = house.namespace.upload_part(bucket, &name, id, number, upload(bytes)).await.unwrap();
        parts.push(NamedPart { number, etag: done.etag, checksum: None });
    }
    let named = vec![parts[3].clone(), parts[0].clone()];
    let complete =
        Complete { bucket, key: &name, id, parts: named, checksum: None, size: None, condition: Condition::default() };
    let object = house.namespace.complete_upload(complete.clone()).await.unwrap();
    assert!(object.etag.ends_with("-2"));
    assert_eq!(house.namespace.complete_upload(complete).await.unwrap(), object);
    let both = [first.clone(), second.clone()].concat();
    assert_eq!(house.get("big").await.unwrap(), both);
    let opened = house.namespace.open_object(bucket, &name).await.unwrap();
    assert_eq!(opened.part_range(7).await.unwrap(), Some(5 << 20..both.len() as u64));
    assert_eq!(opened.part_range(2).await.unwrap(), None);
    drop(opened);
    house.sweep().await;
    house.sweep().await;
    assert_eq!(house.blobs(), [2, 0], "the part not named and the one replaced are gone");
    // The record that answers a repeated Complete for a day once counted as bytes that wait, and who swept until
    // nothing waited never came to an end.
    assert_eq!(house.namespace.sweep(true).await.unwrap().waiting, 0);
    house.namespace.delete(bucket, &name, Condition::default()).await.unwrap();
    house.sweep().await;
    house.sweep().await;
    house.sweep().await;
    assert_eq!(house.blobs(), [0, 0]);
}

/// A drain was shown as done a second before its row said so: after a kill in that second it ran again, against the
/// opposite drain that had been taken meanwhile, and the two moved bytes back and forth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_written_down_as_done_before_it_is_shown_as_done() {
    let house = house("shown").await;
    house.put("one", &pattern(1, 9000)).await;
    house.namespace.start_background();
    let job = house.namespace.start_job(drain("hot", "cold"), Pace::default()).await.unwrap();
    while house.namespace.job(job.id).await.unwrap().state == JobState::Running {
        tokio::task::yield_now().await;
    }
    let rows = house.engine.every_row();
    let row = rows.iter().find(|(key, _)| key[0] == holdall_namespace::table::key::JOBS).unwrap();
    let text = String::from_utf8_lossy(&row.1).into_owned();
    assert!(!text.contains("\"running\""), "{text}");
    house.namespace.close().await;
}

#[tokio::test]
async fn a_drain_whose_source_was_taken_into_use_again_is_not_resumed() {
    let house = house("resumed").await;
    house.put("one", &pattern(1, 9000)).await;
    let job = house.namespace.start_job(drain("hot", "cold"), Pace::default()).await.unwrap();
    house.namespace.set_cordon("hot", false).await.unwrap();
    house.namespace.start_background();
    let ended = loop {
        let info = house.namespace.job(job.id).await.unwrap();
        if !info.is_active() {
            break info;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((ended.state, ended.moved_objects), (JobState::Reopened, 0), "{ended:?}");
    house.namespace.close().await;
}

#[tokio::test]
async fn a_drain_moves_everything_and_changes_nothing_that_s3_shows() {
    let house = house("drain").await;
    for i in 0..50u8 {
        house.put(&format!("k{i}"), &pattern(i, usize::from(i) * 9000)).await;
    }
    let before = house.namespace.list(&house.bucket, List { limit: 99, ..List::default() }).await.unwrap();
    house.namespace.start_background();
    let order = Order::Drain { from: "hot".into(), to: "cold".into() };
    let job = house.namespace.start_job(order, Pace::default()).await.unwrap();
    let ended = loop {
        let info = house.namespace.job(job.id).await.unwrap();
        if !info.is_active() {
            break info;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((ended.state, ended.moved_objects, ended.failed), (JobState::Empty, 49, 0), "{ended:?}");
    assert_eq!(house.blobs(), [0, 49]);
    let after = house.namespace.list(&house.bucket, List { limit: 99, ..List::default() }).await.unwrap();
    assert_eq!(before, after);
    for i in 0..50u8 {
        assert_eq!(house.get(&format!("k{i}")).await.unwrap(), pattern(i, usize::from(i) * 9000));
    }
    let replicas = house.namespace.where_is(&house.bucket.name, &key("k7")).await.unwrap();
    assert_eq!((replicas.len(), replicas[0].silo.as_str()), (1, "cold"));
    house.put("new", b"goes to cold: hot is cordoned").await;
    // Placing moved bytes into a silo that was cordoned so that it gets none.
    let back = Order::Place { bucket: "photos".parse().unwrap(), prefix: String::new(), on: "hot".into() };
    let refused = house.namespace.start_job(back.clone(), Pace::default()).await.unwrap_err();
    assert_eq!(refused, OrderError::Cordoned("hot".to_owned()));
    assert_eq!(house.namespace.plan(&back).await.unwrap_err(), refused);
    assert_eq!(house.blobs(), [0, 50]);
    house.namespace.close().await;
}

fn drain(from: &str, to: &str) -> Order {
    Order::Drain { from: from.into(), to: to.into() }
}

/// Two drains in opposite directions moved the same objects back and forth until the disk was full of retired copies.
#[tokio::test]
async fn orders_that_undo_each_other_are_not_both_taken() {
    let house = house("conflict").await;
    house.put("k", b"1").await;
    let first = house.namespace.start_job(drain("hot", "cold"), Pace::default()).await.unwrap();
    let place = Order::Place { bucket: "photos".parse().unwrap(), prefix: String::new(), on: "hot".into() };
    for order in [drain("cold", "hot"), drain("hot", "cold"), place] {
        let refused = house.namespace.start_job(order.clone(), Pace::default()).await.unwrap_err();
        assert!(matches!(refused, OrderError::Conflict { id, .. } if id == first.id), "{order}: {refused}");
        assert_eq!(house.namespace.plan(&order).await.unwrap_err(), refused);
    }
    house.namespace.cancel_job(first.id).await.unwrap();
    house.namespace.start_job(drain("cold", "hot"), Pace::default()).await.unwrap();
    house.put("l", b"hot takes writes again").await;
    assert_eq!(house.blobs(), [2, 0]);
}

/// A drain that was done waited for ever for an empty silo after its data had been drained back.
#[tokio::test]
async fn nobody_waits_for_a_silo_that_is_used_again() {
    let house = house("reopened").await;
    house.put("k", &pattern(1, 600_000)).await;
    // A reader keeps the old copy.
    let opened = house.namespace.open_object(&house.bucket, &key("k")).await.unwrap();
    let mut reading = opened.read(0..opened.object.size).await.unwrap();
    reading.next().await.unwrap().unwrap();
    house.namespace.start_background();
    let wait = async |id, wanted| {
        while house.namespace.job(id).await.unwrap().state != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let first = house.namespace.start_job(drain("hot", "cold"), Pace::default()).await.unwrap();
    wait(first.id, JobState::Done).await;
    let second = house.namespace.start_job(drain("cold", "hot"), Pace::default()).await.unwrap();
    wait(first.id, JobState::Reopened).await;
    drop((reading, opened));
    wait(second.id, JobState::Empty).await;
    assert_eq!(house.get("k").await.unwrap(), pattern(1, 600_000));
    house.namespace.close().await;
}

/// Every pass of the background's threw away what `sweep --now` had noted, which therefore deleted nothing.
#[tokio::test]
async fn a_pass_that_heeds_the_grace_period_keeps_the_notes_of_one_that_does_not() {
    let mut house = house("notes").await;
    house.namespace = open_with(&house.engine, Duration::from_mins(10)).await;
    house.put("k", b"1").await;
    house.put("k", b"2").await;
    assert_eq!(house.namespace.sweep(true).await.unwrap().waiting, 1);
    assert_eq!(house.namespace.sweep(false).await.unwrap().waiting, 1);
    house.beats().await;
    let swept = house.namespace.sweep(true).await.unwrap();
    assert_eq!((swept.replicas, swept.waiting, house.blobs()), (1, 0, [1, 0]));
}

/// A cancelled job dropped its copies half made, and they stayed until somebody swept by hand.
#[tokio::test]
async fn a_cancelled_job_leaves_no_copy_behind() {
    let house = house("cancel").await;
    for number in 0..4 {
        house.put(&format!("k{number}"), &pattern(number, 700_000)).await;
    }
    house.namespace.start_background();
    let pace = Pace { bytes_per_second: Some(300_000), concurrency: Some(4) };
    let job = house.namespace.start_job(drain("hot", "cold"), pace).await.unwrap();
    while house.namespace.job_moves(job.id).await.unwrap().len() < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    house.namespace.cancel_job(job.id).await.unwrap();
    while !house.namespace.job_moves(job.id).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.namespace.job(job.id).await.unwrap().state, JobState::Cancelled);
    let blobs = house.blobs();
    house.namespace.close().await;
    let moved = house.namespace.job(job.id).await.unwrap().moved_objects as usize;
    assert_eq!(blobs[1], moved, "{blobs:?}");
}

/// A drain filled its target to the last byte: only uploads had looked at the reserve. (More than a tenth of any disk is in
/// use.)
#[tokio::test]
async fn a_move_leaves_the_targets_reserve_alone() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["hot", "cold"].map(|name| folder.path().join(name).display().to_string());
    let house = house_over(names.clone(), names.each_ref().map(|name| format!("file:{name}"))).await;
    house.put("k", b"1").await;
    let silo = DeclaredSilo { reserve_percent: 90, ..DeclaredSilo::own(format!("file:{}", names[1])) };
    let silos = [("cold".to_owned(), silo)].into();
    house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
    house.namespace.start_background();
    let job = house.namespace.start_job(drain("hot", "cold"), Pace::default()).await.unwrap();
    let info = loop {
        let info = house.namespace.job(job.id).await.unwrap();
        if info.failed > 0 || info.moved_objects > 0 {
            break info;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(info.error.as_ref().is_some_and(|error| error.contains("no room")), "{info:?}");
    assert_eq!(info.moved_objects, 0);
    house.namespace.close().await;
}

/// A silo that went away took nothing of a long upload, and the upload was refused although another silo was up.
#[tokio::test]
async fn the_next_silo_takes_a_long_body_of_which_the_first_took_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["hot", "cold"].map(|name| folder.path().join(name).display().to_string());
    let house = house_over(names.clone(), names.each_ref().map(|name| format!("file:{name}"))).await;
    std::fs::remove_dir_all(&names[0]).unwrap();
    house.put("k", &pattern(3, 1_000_000)).await;
    assert_eq!(house.get("k").await.unwrap(), pattern(3, 1_000_000));
    let replicas = house.namespace.where_is(&house.bucket.name, &key("k")).await.unwrap();
    assert_eq!((replicas.len(), replicas[0].silo.as_str()), (1, "cold"));
}

#[tokio::test]
async fn a_new_life_finds_everything_and_collects_orphans() {
    let house = house("restart").await;
    house.put("k", b"kept").await;
    let silo = holdall_silos::memory::Memory::named(&house.names[0]);
    let orphan = holdall_silos::BlobName { session: 1, number: 0x77, extent: (1, 0x77) };
    silo.plant(&orphan.to_string(), "orphan", b"");
    let again = open(&house.engine).await;
    let opened = again.open_object(&house.bucket, &key("k")).await.unwrap();
    let pieces: Vec<_> = opened.read(0..4).await.unwrap().collect().await;
    assert_eq!(pieces, [Ok(Bytes::from_static(b"kept"))]);
    assert_eq!(again.sweep(true).await.unwrap().orphans, 1);
    assert_eq!(house.blobs(), [1, 0]);
    // The first life was declared dead: its commits are refused.
    assert!(matches!(house.put_if("k", b"late", Condition::default()).await, Err(PutError::Fault(_))));
}

/// An earlier version would take packs for orphans: what it must not open, it refuses, and so do we.
#[tokio::test]
async fn an_index_of_a_later_format_is_refused_and_one_of_an_earlier_becomes_ours() {
    use holdall_namespace::engine::{Rows, Write, commit};
    use holdall_namespace::table::{INDEX_FORMAT, KeyBuilder, encode, key};
    let engine = Memory::new();
    let format = KeyBuilder::new(key::META).raw(b"format").build();
    for (number, opens) in [(1, true), (INDEX_FORMAT, true), (INDEX_FORMAT + 1, false)] {
        let row = Write::Put(format.clone(), encode(&number));
        commit(&engine, Vec::new(), move |_: &Rows| Ok::<_, ()>((vec![row.clone()], ()))).await.unwrap();
        let options = support::options();
        let shared: Arc<dyn Engine> = Arc::new(engine.clone());
        let opened = Namespace::open(shared, Arc::new(SystemClock::new()), options, true).await;
        assert_eq!(opened.is_ok(), opens, "format {number}");
        let found = engine.get(std::slice::from_ref(&format)).await.unwrap().remove(0);
        assert_eq!(found.unwrap(), encode(&number.max(INDEX_FORMAT)), "format {number}");
    }
}
