//! What `check` finds: every seeded damage, and nothing where nothing is wrong, also while writes go on.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::Namespace;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::check::{Checked, Finding};
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{Engine, Key, Priority, Write, memory::Memory};
use holdall_namespace::extent::Number;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::multipart::{Complete, CreateUpload, NamedPart};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutObject, Upload};
use holdall_namespace::table::usage::{Counted, add};
use holdall_namespace::table::{self, key as tables};
use holdall_silos::{BlobName, Silo, memory::Memory as Blobs};

mod support;

struct House {
    engine: Memory,
    namespace: Arc<Namespace>,
    bucket: Bucket,
    hot: Arc<Blobs>,
}

/// A namespace with something of everything in it, in memory.
async fn house(test: &str) -> House {
    house_in(["hot", "cold"].map(|name| format!("memory:check-{test}-{name}")), test).await
}

async fn house_in(urls: [String; 2], test: &str) -> House {
    let engine = Memory::new();
    let options = support::options();
    let shared: Arc<dyn Engine> = Arc::new(engine.clone());
    let namespace = Namespace::open(shared, Arc::new(SystemClock::new()), options, true).await.unwrap();
    let silo = |url: &String| DeclaredSilo::own(url);
    let silos = [("hot".to_owned(), silo(&urls[0])), ("cold".to_owned(), silo(&urls[1]))].into();
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    let write = Some(WritePolicy { to: vec![to("hot"), to("cold")] });
    namespace.apply(&Declared { silos, write, ..Declared::default() }, false).await.unwrap();
    namespace.ensure_first_key(None).await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    let house = House { engine, namespace, bucket, hot: Blobs::named(&format!("check-{test}-hot")) };
    house.fill().await;
    house
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
    async fn fill(&self) {
        self.put("one", &pattern(1, 1000)).await;
        self.put("two", &pattern(2, 1000)).await;
        self.put("empty", b"").await;
        self.put("long", &pattern(3, 5 << 20)).await;
        self.put("over", b"old bytes").await;
        self.put("over", b"new bytes").await;
        self.copy("two", "copied").await;
        self.complete("parts").await;
        let id = self.namespace.create_upload(&self.bucket, &key("open"), CreateUpload::default()).await.unwrap();
        self.namespace.upload_part(&self.bucket, &key("open"), id, 4, upload(b"a part")).await.unwrap();
        self.namespace.create_account("zoe").await.unwrap();
    }

    async fn put(&self, name: &str, bytes: &[u8]) {
        // Metadata of `long` is too long to stand in the object's row.
        let long = (0..20).map(|n| (format!("name-{n}"), "v".repeat(90))).collect();
        let user = if name == "long" { long } else { Vec::new() };
        let request = PutObject {
            bucket: &self.bucket,
            key: &key(name),
            upload: upload(bytes),
            headers: Headers { user, ..Headers::default() },
            tags: Vec::new(),
            storage_class: None,
            condition: Condition::default(),
        };
        self.namespace.put(request).await.unwrap();
    }

    async fn copy(&self, from: &str, to: &str) {
        support::copy(&self.namespace, &self.bucket, from, to).await;
    }

    async fn complete(&self, name: &str) {
        let (bucket, name) = (&self.bucket, key(name));
        let id = self.namespace.create_upload(bucket, &name, CreateUpload::default()).await.unwrap();
        let mut parts = Vec::new();
        for (number, bytes) in [(2, pattern(4, 5 << 20)), (5, pattern(5, 777))] {
            let done = self.namespace.upload_part(bucket, &name, id, number, upload(&bytes)).await.unwrap();
            parts.push(NamedPart { number, etag: done.etag, checksum: None });
        }
        let (checksum, size, condition) = (None, None, Condition::default());
        self.namespace
            .complete_upload(Complete { bucket, key: &name, id, parts, checksum, size, condition })
            .await
            .unwrap();
    }

    async fn check(&self, deep: bool) -> (Vec<Finding>, Checked) {
        let mut found = Vec::new();
        let checked = self.namespace.check(deep, &mut |finding| found.push(finding)).await.unwrap();
        assert_eq!(checked.findings, found.len() as u64);
        (found, checked)
    }

    /// The findings, each as its kind and what it is about.
    async fn finds(&self, deep: bool) -> Vec<String> {
        let mut found: Vec<String> = self.check(deep).await.0.iter().map(say).collect();
        found.sort();
        found
    }

    async fn write(&self, writes: Vec<Write>) {
        assert!(
            self.engine
                .commit(Priority::Foreground, Vec::new(), Box::new(move |_| Some(writes.clone())))
                .await
                .unwrap()
        );
    }

    /// Keys of a table.
    fn keys(&self, table: u8) -> Vec<Key> {
        self.engine.every_row().iter().filter(|(key, _)| key[0] == table).map(|(key, _)| key.to_vec()).collect()
    }

    async fn delete_rows(&self, table: u8) {
        let keys = self.keys(table);
        assert!(!keys.is_empty());
        self.write(keys.into_iter().map(Write::Delete).collect()).await;
    }

    /// The blob of an object of one extent.
    async fn blob(&self, name: &str) -> BlobName {
        let bytes = self.engine.get(&[table::objects::object(self.bucket.incarnation, &key(name))]).await.unwrap();
        let row: table::objects::ObjectRow = table::decode(bytes[0].as_ref().unwrap()).unwrap();
        let table::objects::Data::Slices(slices) = row.data else { panic!("a manifest") };
        let Number { session, number } = slices[0].extent;
        BlobName { session, number, extent: (session, number) }
    }

    async fn sweep(&self) {
        for _ in 0..3 {
            self.namespace.sweep(true).await.unwrap();
            self.namespace.publish_beat_for_tests().await;
            self.namespace.publish_beat_for_tests().await;
        }
    }
}

fn say(finding: &Finding) -> String {
    match finding {
        Finding::Missing { object, .. } => format!("missing {}", object.as_deref().unwrap_or("-")),
        Finding::WrongSize { expected, actual, .. } => format!("wrong size {expected} {actual}"),
        Finding::Orphan { bytes, .. } => format!("orphan {bytes}"),
        Finding::Damaged { reason, object, .. } => {
            let why = reason.rsplit(": ").next().unwrap_or_default();
            format!("damaged {}: {why}", object.as_deref().unwrap_or("-"))
        }
        Finding::WrongBlob { .. } => "wrong blob".to_owned(),
        Finding::NoBytes { object, .. } => format!("no bytes {object}"),
        Finding::Dangling { row } => format!("dangling {row}"),
        Finding::WrongCount { what, counted, stored } => format!("wrong count {what}: {counted}, {stored}"),
        Finding::Foreign { name, .. } => format!("foreign {name}"),
    }
}

#[tokio::test]
async fn a_sound_house_is_clean() {
    let house = house("sound").await;
    for deep in [false, true] {
        let (found, checked) = house.check(deep).await;
        assert_eq!(found, [], "deep: {deep}");
        assert!(checked.counts_compared);
        assert_eq!((checked.objects, checked.extents, checked.blobs), (7, 8, 8));
        assert_eq!(checked.bytes > 0, deep);
    }
    house.sweep().await;
    assert_eq!(house.finds(true).await, [""; 0]);
}

#[tokio::test]
async fn a_missing_blob_is_found_with_its_object() {
    let house = house("missing").await;
    house.hot.delete(&house.blob("one").await).await.unwrap();
    assert_eq!(house.finds(false).await, ["missing photos/one"]);
    assert_eq!(house.finds(true).await, ["missing photos/one"]);
}

#[tokio::test]
async fn a_missing_blob_of_a_part_is_found_with_its_object() {
    let house = house("missing-part").await;
    let names = house.hot.list("", None, 100).await.unwrap();
    let part = names.iter().find(|listed| house.hot.peek(&listed.name).unwrap().len() == 777).unwrap();
    house.hot.delete(&part.name.parse().unwrap()).await.unwrap();
    assert_eq!(house.finds(false).await, ["missing photos/parts"]);
}

#[tokio::test]
async fn a_short_blob_is_found() {
    let house = house("short").await;
    let blob = house.blob("one").await;
    let (bytes, says) = (house.hot.peek(&blob.to_string()).unwrap(), house.hot.describe(&blob).await.unwrap());
    house.hot.plant(&blob.to_string(), bytes.slice(..999), &says);
    assert_eq!(house.finds(false).await, ["wrong size 1000 999"]);
    assert_eq!(house.finds(true).await, ["wrong size 1000 999"]);
}

#[tokio::test]
async fn a_flipped_bit_is_found_by_reading() {
    let house = house("bit").await;
    for (name, at) in [("one", 999), ("long", (5 << 20) - 1)] {
        let blob = house.blob(name).await;
        let mut bytes = house.hot.peek(&blob.to_string()).unwrap().to_vec();
        bytes[at] ^= 0x10;
        let says = house.hot.describe(&blob).await.unwrap();
        house.hot.plant(&blob.to_string(), bytes, &says);
    }
    assert_eq!(house.finds(false).await, [""; 0]);
    // What was found named neither an object that is concerned nor a reason.
    let why = |object: &str, block: u32| {
        format!("damaged photos/{object}: block {block} of 256 KiB does not match its checksum")
    };
    assert_eq!(house.finds(true).await, [why("long", 19), why("one", 0)]);
}

#[tokio::test]
async fn an_orphan_and_a_foreign_name_are_found() {
    let house = house("orphan").await;
    let orphan = BlobName { session: 1, number: 0, extent: (1, 0) };
    house.hot.plant(&orphan.to_string(), "orphan", b"");
    house.hot.plant("holiday.jpg", "not ours", b"");
    assert_eq!(house.finds(false).await, ["foreign holiday.jpg", "orphan 6"]);
    let young = BlobName { session: 1, number: 1 << 30, extent: (1, 1 << 30) };
    house.hot.plant(&young.to_string(), "being written", b"");
    assert_eq!(house.finds(true).await, ["foreign holiday.jpg", "orphan 6"], "its session may still name it");
}

#[tokio::test]
async fn a_swapped_pair_is_found_by_what_the_blobs_say() {
    let house = house("swapped").await;
    let blobs = [house.blob("one").await, house.blob("two").await];
    let bytes = blobs.map(|blob| house.hot.peek(&blob.to_string()).unwrap());
    let says = [house.hot.describe(&blobs[0]).await.unwrap(), house.hot.describe(&blobs[1]).await.unwrap()];
    for (at, from) in [(0, 1), (1, 0)] {
        house.hot.plant(&blobs[at].to_string(), bytes[from].clone(), &says[from]);
    }
    assert_eq!(house.finds(false).await, [""; 0]);
    assert_eq!(house.finds(true).await, ["wrong blob", "wrong blob"]);
}

#[tokio::test]
async fn rows_without_bytes_are_found() {
    let house = house("no-bytes").await;
    let blob = house.blob("one").await;
    let extent = table::extents::extent(Number { session: blob.session, number: blob.number });
    house.write(vec![Write::Delete(extent)]).await;
    // With the next beat the session says that the number is past.
    house.namespace.publish_beat_for_tests().await;
    let found = house.finds(false).await;
    assert_eq!(found.iter().filter(|line| line.starts_with("no bytes photos/one")).count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|line| line.starts_with("orphan")).count(), 1, "{found:?}");
    assert_eq!(found.iter().filter(|line| line.starts_with("wrong count silo hot: ")).count(), 1, "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[tokio::test]
async fn a_manifest_without_a_part_is_found() {
    let house = house("no-part").await;
    let part = house.keys(tables::PARTS).into_iter().find(|key| table::uploads::read_part(key) == Some(5)).unwrap();
    house.write(vec![Write::Delete(part)]).await;
    let found = house.finds(false).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("dangling extent") && found[0].contains("which no object or part is"), "{found:?}");
    assert_eq!(found[1], "no bytes photos/parts");
}

#[tokio::test]
async fn wrong_counts_are_found() {
    let house = house("counts").await;
    let silos = house.namespace.silos().await.unwrap();
    let silo = silos.iter().find(|silo| silo.name == "hot").unwrap().id;
    let wrong = [
        add(Counted::Bucket(house.bucket.incarnation), 1, 0),
        add(Counted::Account(1), 0, -3),
        add(Counted::Silo(silo), -1, 10),
        add(Counted::Retired(silo), 2, 0),
        add(Counted::Bucket(99), 5, 0),
        add(Counted::Account(99), 0, 5),
    ];
    house.write(wrong.concat()).await;
    let found = house.finds(false).await;
    let about: Vec<&str> =
        found.iter().filter_map(|line| line.strip_prefix("wrong count ")?.split(':').next()).collect();
    let wanted = [
        "Account(99), which is none",
        "Bucket(99), which is none",
        "account 1",
        "bucket photos",
        "silo hot, retired",
        "silo hot",
    ];
    assert_eq!(about, wanted, "{found:?}");
    assert_eq!(found.len(), wanted.len());
    assert!(found[3].contains("7 objects") && found[3].contains("8 objects"), "{found:?}");
}

#[tokio::test]
async fn rows_that_fit_nothing_are_found() {
    for (table, count, says) in [
        (tables::REFS, 1, "does not know that `photos/copied` is in it"),
        (tables::RETIRED, 1, "waits for no sweep"),
        (tables::ATTRIBUTES, 1, "`photos/long` lacks its attributes"),
        (tables::BLOCKS, 2, "its block checksums do not make its digest"),
        (tables::UPLOADS, 1, "parts of upload"),
        (tables::OWNED, 1, "is not among those of account 1"),
        (tables::ACCOUNT_NAMES, 2, "does not fit its name or its keys"),
        (tables::ACCESS_KEYS, 2, "does not fit its name or its keys"),
    ] {
        let house = house(&format!("fits-{table}")).await;
        house.delete_rows(table).await;
        let found = house.finds(false).await;
        assert!(found.iter().filter(|line| line.contains(says)).count() >= count, "{says}: {found:?}");
    }
}

/// An object's row is gone, and everything else of it stays: only counting both ends tells.
#[tokio::test]
async fn bytes_kept_for_nobody_are_found() {
    let house = house("kept").await;
    for name in ["one", "long", "parts", "copied"] {
        house.write(vec![Write::Delete(table::objects::object(house.bucket.incarnation, &key(name)))]).await;
    }
    let found = house.finds(false).await;
    let kept: Vec<&String> = found.iter().filter(|line| line.contains("is kept for version")).collect();
    assert_eq!(kept.len(), 4, "{found:?}");
    assert_eq!(found.iter().filter(|line| line.contains("attributes of version")).count(), 1, "{found:?}");
}

#[tokio::test]
async fn a_move_of_no_job_is_found() {
    let house = house("journal").await;
    let row = table::moves::MoveRow { job: 77, owner: 99, from: 1, to: 2, object: None, bytes: 1, started: 0 };
    let id = Number { session: 1, number: 1 };
    house.write(vec![Write::Put(table::moves::journal(id), table::encode(&row))]).await;
    assert_eq!(house.finds(false).await, ["dangling a move of extent 1-1 for job 77, which does not run"]);
}

#[tokio::test]
async fn rows_that_do_not_read_are_found_and_end_nothing() {
    let house = house("unreadable").await;
    for table in [tables::OBJECTS, tables::PARTS, tables::MANIFESTS, tables::RETIRED, tables::USAGE] {
        let first = house.keys(table).remove(0);
        house.write(vec![Write::Put(first, vec![99, 1, 2, 3])]).await;
    }
    let found = house.finds(true).await;
    for what in ["object", "part", "manifest"] {
        assert!(found.iter().any(|line| line.contains(what) && line.contains("does not read")), "{what}: {found:?}");
    }
}

#[tokio::test]
async fn a_drained_house_is_clean() {
    let house = house("drained").await;
    house.namespace.start_background();
    let order = Order::Drain { from: "hot".into(), to: "cold".into() };
    let job = house.namespace.start_job(order, Pace::default()).await.unwrap();
    while house.namespace.job(job.id).await.unwrap().is_active() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.namespace.job(job.id).await.unwrap().state, JobState::Empty);
    assert_eq!(house.finds(true).await, [""; 0]);
    house.namespace.close().await;
}

/// The same damage done to files of a disk silo.
#[tokio::test]
async fn damaged_files_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let house = house_in(["hot", "cold"].map(|name| format!("file:{}/{name}", folder.path().display())), "disk").await;
    assert_eq!(house.finds(true).await, [""; 0]);
    let path = async |name: &str| {
        let blob = house.blob(name).await;
        find(folder.path(), &blob.file()).unwrap()
    };
    let (one, two, long, over) = (path("one").await, path("two").await, path("long").await, path("over").await);
    std::fs::write(one.with_file_name("notes.txt"), "not ours").unwrap();
    assert_eq!(house.finds(false).await, ["foreign 0000000001/0000000000000/notes.txt"]);
    std::fs::remove_file(one.with_file_name("notes.txt")).unwrap();

    let whole = std::fs::read(&one).unwrap();
    std::fs::write(&one, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(
        house.finds(false).await,
        ["damaged photos/one: the file was never finished, or was cut"],
        "a file that was cut"
    );
    std::fs::write(&one, &whole).unwrap();

    let mut bytes = std::fs::read(&long).unwrap();
    bytes[300_000] ^= 1;
    std::fs::write(&long, &bytes).unwrap();
    assert_eq!(house.finds(false).await, [""; 0]);
    assert_eq!(
        house.finds(true).await,
        ["damaged photos/long: block 1 of 256 KiB does not match its checksum"],
        "a flipped bit"
    );
    bytes[300_000] ^= 1;
    std::fs::write(&long, &bytes).unwrap();

    std::fs::rename(&one, folder.path().join("aside")).unwrap();
    std::fs::rename(&two, &one).unwrap();
    std::fs::rename(folder.path().join("aside"), &two).unwrap();
    assert_eq!(house.finds(true).await, ["wrong blob", "wrong blob"], "a swapped pair");
    std::fs::remove_file(&over).unwrap();
    assert!(house.finds(true).await.contains(&"missing photos/over".to_owned()));
}

/// A file by its name, anywhere under a folder.
fn find(folder: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_dir(folder).unwrap().flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }
    })
}

/// Objects are written, overwritten, copied, completed, deleted, moved and swept while checks run one after another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_meanwhile_is_no_finding() {
    let house = Arc::new(house("busy").await);
    house.namespace.start_background();
    let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let writer = |seed: u8| {
        let (house, stop, rounds) = (Arc::clone(&house), Arc::clone(&stop), Arc::clone(&rounds));
        tokio::spawn(async move {
            let mut round = 0_usize;
            while !stop.load(Ordering::Relaxed) {
                let name = format!("busy-{seed}-{}", round % 7);
                house.put(&name, &pattern(seed, round % 5 * 1000)).await;
                house.copy(&name, &format!("copy-{seed}-{}", round % 5)).await;
                if round.is_multiple_of(3) {
                    house.namespace.delete(&house.bucket, &key(&name), Condition::default()).await.unwrap();
                }
                if round.is_multiple_of(20) {
                    house.complete(&format!("parts-{seed}")).await;
                }
                round += 1;
                rounds.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        })
    };
    let writers = [writer(1), writer(2)];
    let mover = {
        let (house, stop) = (Arc::clone(&house), Arc::clone(&stop));
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [("hot", "cold"), ("cold", "hot")] {
                    let order = Order::Drain { from: from.into(), to: to.into() };
                    let job = house.namespace.start_job(order, Pace::default()).await.unwrap();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    let _ = house.namespace.cancel_job(job.id).await;
                    house.namespace.sweep(true).await.unwrap();
                }
            }
        })
    };
    let mut checks = 0;
    while checks < 8 || rounds.load(Ordering::Relaxed) < 100 {
        let (found, checked) = house.check(checks % 3 == 0).await;
        assert_eq!(found, [], "check {checks}");
        assert!(checked.objects > 0);
        checks += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    mover.await.unwrap();
    house.namespace.close().await;
}
