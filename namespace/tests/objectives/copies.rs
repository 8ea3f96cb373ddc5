//! Objects in several copies: made, kept apart, read from whichever is there, and not more than are wanted.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_namespace::copy::CopyObject;
use holdall_namespace::extent::Number;
use holdall_namespace::fault::Fault;
use holdall_namespace::multipart::{Complete, CompleteError, CreateUpload, NamedPart};
use holdall_namespace::objective::{Ack, Alignment, Selector};
use holdall_namespace::put::{PutError, Upload};
use holdall_namespace::table::extents::extent;
use holdall_silos::Silo;
use holdall_silos::memory::Memory as Blobs;

use super::held::Held;
use super::support::clock::TestClock;
use super::*;

fn copies(on: &str, number: u32, place: &[&str]) -> Objective {
    Objective { copies: Some(number), ..wish(on, None, place, &[]) }
}

fn apart(on: &str) -> Objective {
    Objective { apart: Some("site".to_owned()), ..copies(on, 2, &[]) }
}

pub(super) fn blobs(test: &str, silo: &str) -> Arc<Blobs> {
    Blobs::named(&format!("objectives-{test}-{silo}"))
}

impl House {
    pub(super) async fn on(&self, bucket: &Bucket, key: &str, silos: &[&str]) {
        let mut found = Vec::new();
        for _ in 0..1000 {
            found = self.silos(bucket, key).await;
            found.sort();
            if found == silos {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} is on {found:?} and not {silos:?}: {:?}", self.namespace.alignment());
    }

    pub(super) async fn read_text(&self, bucket: &Bucket, key: &str) -> Result<String, String> {
        let opened =
            self.namespace.open_object(bucket, &key.parse().unwrap()).await.map_err(|error| error.to_string())?;
        support::text(&opened).await.map_err(|error| error.to_string())
    }
}

#[tokio::test]
async fn copies_are_made_apart_and_read_from_whichever_is_there() {
    let house = House::kept("copies-apart").await;
    house.put(&house.logs, "small", 30).await;
    house.put(&house.logs, "big", 5000).await;
    house.declare(&[("safe", apart("s3://logs/"))]).await.unwrap();
    house.put(&house.logs, "new", 5000).await;
    for key in ["small", "big", "new"] {
        house.on(&house.logs, key, &["far", "hot"]).await;
    }
    let told = house.told(|told| told.outlook.objects == 3 && told.outlook.moves.is_empty()).await;
    assert_eq!((told.outlook.aligned.extents, told.failed), (3, 0));
    for gone in ["hot", "far"] {
        let silo = blobs("copies-apart", gone);
        silo.fail(true);
        for (key, bytes) in [("small", 30), ("big", 5000), ("new", 5000)] {
            assert_eq!(house.read_text(&house.logs, key).await, Ok("x".repeat(bytes)), "{key} without {gone}");
        }
        silo.fail(false);
    }
}

/// A copy that is damaged is passed over in the middle of the stream; a clean failure where all are.
#[tokio::test]
async fn a_damaged_copy_is_passed_over() {
    let house = House::kept("copies-damaged").await;
    let text = "never the same block twice; ".repeat(30_000);
    support::put(&house.namespace, &house.logs, "a", &text, Headers::default(), Condition::default()).await.unwrap();
    house.declare(&[("safe", apart("s3://logs/"))]).await.unwrap();
    house.on(&house.logs, "a", &["far", "hot"]).await;
    let replicas = house.namespace.where_is(&house.logs.name, &"a".parse().unwrap()).await.unwrap();
    let damage = |silo: &str| {
        let replica = replicas.iter().find(|replica| replica.silo == silo).unwrap();
        let silo = blobs("copies-damaged", silo);
        let name = silo.names().into_iter().find(|name| name.contains(&replica.blob)).unwrap();
        let mut bytes = silo.peek(&name).unwrap().to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        silo.plant(&name, bytes, b"");
    };
    for _ in 0..3 {
        assert_eq!(house.read_text(&house.logs, "a").await.as_ref(), Ok(&text));
    }
    damage("hot");
    for _ in 0..3 {
        assert_eq!(house.read_text(&house.logs, "a").await.as_ref(), Ok(&text));
    }
    damage("far");
    let failed = house.read_text(&house.logs, "a").await.unwrap_err();
    assert!(failed.contains("does not match its checksum"), "{failed}");
}

/// A silo stood still in the middle of a GET, and the GET with it, for longer than clients wait, though another silo had a
/// copy: that a silo is silent was asked before a read and not while it went on.
#[tokio::test]
async fn a_copy_whose_silo_falls_silent_is_left_in_the_middle() {
    let clock = Arc::new(TestClock::default());
    let house = House::with("copies-silent", Arc::<TestClock>::clone(&clock), None).await;
    let text = "never the same block twice; ".repeat(30_000);
    support::put(&house.namespace, &house.logs, "a", &text, Headers::default(), Condition::default()).await.unwrap();
    house.declare(&[("safe", apart("s3://logs/"))]).await.unwrap();
    clock.run(house.align("s3://logs/")).await;
    clock.run(house.on(&house.logs, "a", &["far", "hot"])).await;
    let mut waited = Duration::ZERO;
    // Either may be the one that is read.
    for silo in ["hot", "far"] {
        let opened = house.namespace.open_object(&house.logs, &"a".parse().unwrap()).await.unwrap();
        let mut read = opened.read(0..opened.object.size).await.unwrap();
        let mut found = read.next().await.unwrap().unwrap().to_vec();
        blobs("copies-silent", silo).silence(true);
        let began = clock.monotonic();
        tokio::select! {
            biased;
            rest = read.try_collect::<Vec<_>>() => found.extend(rest.unwrap().concat()),
            () = clock.pass(Duration::from_secs(20)) => panic!("nothing more comes without {silo}"),
        }
        waited += clock.monotonic().saturating_sub(began);
        assert!(found == text.as_bytes(), "without {silo}");
        blobs("copies-silent", silo).silence(false);
        clock.pass(Duration::from_secs(20)).await;
    }
    assert!(waited >= Duration::from_secs(8), "the one that was read was not silent: {waited:?}");
}

/// As many as are wanted and no more; and what must not be somewhere leaves it however few there are.
#[tokio::test]
async fn what_is_too_much_goes_and_what_is_forbidden_too() {
    let house = House::kept("copies-less").await;
    house.put(&house.logs, "a", 1000).await;
    house.declare(&[("safe", copies("s3://logs/", 3, &["hot", "cold", "far"]))]).await.unwrap();
    house.on(&house.logs, "a", &["cold", "far", "hot"]).await;
    house.declare(&[("safe", copies("s3://logs/", 2, &["cold", "far", "hot"]))]).await.unwrap();
    house.on(&house.logs, "a", &["cold", "far"]).await;
    house.declare(&[("home", wish("s3://logs/", None, &[], &["site=abroad"]))]).await.unwrap();
    house.on(&house.logs, "a", &["cold", "hot"]).await;
    house.declare(&[("home", wish("s3://logs/", None, &[], &["far", "cold"]))]).await.unwrap();
    house.on(&house.logs, "a", &["hot"]).await;
    let waits = house.told(|told| !told.outlook.waits.is_empty()).await.outlook.waits;
    assert_eq!((waits[0].objective.as_str(), waits[0].reason.as_str()), ("safe", "2 silos are wanted, and 1 allowed"));
}

/// Rows said that there was another copy, its silo had lost it, and the last one was given up.
#[tokio::test]
async fn no_copy_is_given_up_for_one_that_is_not_there() {
    let house = House::kept("copies-lost").await;
    house.put(&house.logs, "a", 5000).await;
    house.declare(&[("safe", apart("s3://logs/"))]).await.unwrap();
    house.on(&house.logs, "a", &["far", "hot"]).await;
    let hot = blobs("copies-lost", "hot");
    for name in hot.names().iter().filter_map(|name| name.strip_prefix("blobs/").unwrap_or(name).parse().ok()) {
        hot.delete(&name).await.unwrap();
    }
    house.declare(&[("safe", copies("s3://logs/", 1, &["hot", "far"]))]).await.unwrap();
    let told = house.told(|told| told.failed > 0).await;
    let error = told.error.unwrap_or_default();
    assert!(error.starts_with("what would be left of extent ") && error.contains("silo `hot`"), "{error}");
    assert_eq!(house.read_text(&house.logs, "a").await, Ok("x".repeat(5000)));
}

/// A copy had rotted, a scrub had said so and could not write it anew, and since it was as long as ever the good one was given up
/// for it.
#[tokio::test]
async fn no_copy_is_given_up_for_one_that_is_known_to_be_damaged() {
    let house = House::kept("copies-rotten").await;
    house.put(&house.logs, "a", 300_000).await;
    house.declare(&[("safe", apart("s3://logs/"))]).await.unwrap();
    house.on(&house.logs, "a", &["far", "hot"]).await;
    let hot = blobs("copies-rotten", "hot");
    for name in hot.names() {
        hot.rot(&name, 7);
    }
    hot.limit(0);
    let scrub = Order::Scrub { silo: "hot".to_owned() };
    let scrub = house.namespace.start_job(scrub, Pace::default()).await.unwrap();
    while house.namespace.job(scrub.id).await.unwrap().state == JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.namespace.damage_left().await, Ok(1));
    house.declare(&[("safe", copies("s3://logs/", 1, &["hot"]))]).await.unwrap();
    let waits = |told: &Alignment| {
        told.outlook.waits.first().is_some_and(|waits| waits.reason == "what silo `hot` has is damaged")
    };
    house.told(waits).await;
    assert_eq!(house.silos(&house.logs, "a").await.len(), 2);
    assert_eq!(house.read_text(&house.logs, "a").await, Ok("x".repeat(300_000)));
}

/// `place = ["cold"]` of one and `keep = ["site=abroad"]` of another: one on each.
#[tokio::test]
async fn one_copy_is_kept_where_somebody_says_so() {
    let house = House::kept("copies-keep").await;
    house.put(&house.logs, "a", 1000).await;
    let keep: Vec<Selector> = vec!["site=abroad".parse().unwrap()];
    let abroad = Objective { keep, ..wish("s3://", None, &[], &[]) };
    house.declare(&[("cold", wish("s3://logs/", None, &["cold"], &[])), ("abroad", abroad)]).await.unwrap();
    house.on(&house.logs, "a", &["cold", "far"]).await;
    house.put(&house.photos, "b", 1000).await;
    // Where nobody says where, that one is enough.
    house.on(&house.photos, "b", &["far"]).await;
}

/// A write was answered while one silo had it, and that silo burnt down.
#[tokio::test]
async fn a_write_is_answered_once_all_copies_are_durable() {
    let house = House::kept("copies-ack").await;
    house.declare(&[("safe", Objective { ack: Ack::All, ..apart("s3://logs/") })]).await.unwrap();
    for (key, bytes) in [("small", 30), ("big", 5000)] {
        house.put(&house.logs, key, bytes).await;
        let mut silos = house.silos(&house.logs, key).await;
        silos.sort();
        assert_eq!(silos, ["far", "hot"], "{key}");
    }
    house.namespace.set_cordon("far", true).await.unwrap();
    let text = "x".repeat(1000);
    let put = support::put(&house.namespace, &house.logs, "c", &text, Headers::default(), Condition::default()).await;
    let Err(PutError::Fault(Fault::Unavailable(reason))) = put else { panic!("{put:?}") };
    assert!(
        reason.starts_with("not all copies that are wanted are durable: silo `cold` is of the same site"),
        "{reason}"
    );
    assert_eq!(house.silos(&house.logs, "c").await, ["hot"], "it is there, and the client tries again");
    house.namespace.set_cordon("far", false).await.unwrap();
    house.on(&house.logs, "c", &["far", "hot"]).await;
}

/// A copy shares its source's bytes, and was answered while these were in one silo.
#[tokio::test]
async fn a_copy_is_answered_once_all_copies_are_durable() {
    let house = House::kept("copies-ack-copy").await;
    let (bucket, all) = (&house.logs, ["far", "hot"]);
    let sorted = async |key: &str| {
        let mut silos = house.silos(bucket, key).await;
        silos.sort();
        silos
    };
    house.namespace.set_cordon("far", true).await.unwrap();
    house.put(bucket, "source", 5000).await;
    house.declare(&[("safe", Objective { ack: Ack::All, ..apart("s3://logs/") })]).await.unwrap();
    let source = house.namespace.open_object(bucket, &"source".parse().unwrap()).await.unwrap();
    let copy = async |key: &str| {
        let (key, headers, tags, storage_class, algorithm) = (&key.parse().unwrap(), None, None, None, None);
        let (source, condition) = (&source, Condition::default());
        house
            .namespace
            .copy(CopyObject { source, bucket, key, headers, tags, storage_class, algorithm, condition })
            .await
    };
    let refused = copy("refused").await;
    let Err(PutError::Fault(Fault::Unavailable(reason))) = refused else { panic!("{refused:?}") };
    assert!(reason.starts_with("not all copies that are wanted are durable: silo `cold` is of"), "{reason}");
    assert_eq!(sorted("refused").await, ["hot"], "it is there, and the client tries again");
    house.namespace.set_cordon("far", false).await.unwrap();
    copy("again").await.unwrap();
    assert_eq!(
        (sorted("again").await, sorted("source").await),
        (all.map(String::from).into(), all.map(String::from).into())
    );
    let extents = async |key: &str| house.namespace.where_is(&bucket.name, &key.parse().unwrap()).await.unwrap();
    assert_eq!(extents("again").await[0].extent, extents("source").await[0].extent, "they share their bytes");
}

/// An upload that was completed again after a 503 was answered from its record, whatever became of its copies.
#[tokio::test]
async fn an_upload_is_answered_once_all_copies_are_durable() {
    let house = House::kept("copies-ack-upload").await;
    let (bucket, key) = (&house.logs, "big".parse().unwrap());
    house.declare(&[("safe", Objective { ack: Ack::All, ..apart("s3://logs/") })]).await.unwrap();
    let id = house.namespace.create_upload(bucket, &key, CreateUpload::default()).await.unwrap();
    let body = stream::iter([Ok(Bytes::from_static(&[7; 500]))]).boxed();
    let part = Upload { body, size: 500, algorithm: None, verify: Box::new(|_| Ok(())) };
    house.namespace.set_cordon("far", true).await.unwrap();
    let part = house.namespace.upload_part(bucket, &key, id, 1, part).await.unwrap();
    let complete = async || {
        let parts = vec![NamedPart { number: 1, etag: part.etag.clone(), checksum: None }];
        let (checksum, size, condition) = (None, None, Condition::default());
        house.namespace.complete_upload(Complete { bucket, key: &key, id, parts, checksum, size, condition }).await
    };
    for _ in 0..2 {
        let refused = complete().await;
        let Err(CompleteError::Fault(Fault::Unavailable(reason))) = refused else { panic!("{refused:?}") };
        assert!(reason.starts_with("not all copies that are wanted are durable"), "{reason}");
    }
    assert_eq!(house.silos(bucket, "big").await, ["hot"]);
    house.namespace.set_cordon("far", false).await.unwrap();
    complete().await.unwrap();
    let mut silos = house.silos(bucket, "big").await;
    silos.sort();
    assert_eq!(silos, ["far", "hot"]);
}

/// Clients that gave up waiting completed a large upload again, and each time all of it was copied once more beside the copy that was
/// under way.
#[tokio::test]
async fn what_is_completed_again_waits_for_the_same_copies() {
    let engine = Arc::new(Held::default());
    let over: Arc<dyn Engine> = Arc::<Held>::clone(&engine);
    let house = House::over(over, "copies-ack-again", Arc::new(SystemClock::new()), None).await;
    let (bucket, key) = (&house.logs, "big".parse().unwrap());
    let id = house.namespace.create_upload(bucket, &key, CreateUpload::default()).await.unwrap();
    let body = stream::iter([Ok(Bytes::from_static(&[7; 500]))]).boxed();
    let part = Upload { body, size: 500, algorithm: None, verify: Box::new(|_| Ok(())) };
    let part = house.namespace.upload_part(bucket, &key, id, 1, part).await.unwrap();
    let complete = async || {
        let parts = vec![NamedPart { number: 1, etag: part.etag.clone(), checksum: None }];
        let (checksum, size, condition) = (None, None, Condition::default());
        house.namespace.complete_upload(Complete { bucket, key: &key, id, parts, checksum, size, condition }).await
    };
    complete().await.unwrap();
    let replicas = house.namespace.where_is(&bucket.name, &key).await.unwrap();
    let (session, number) = replicas[0].extent.split_once('-').unwrap();
    let number = Number { session: session.parse().unwrap(), number: number.parse().unwrap() };
    house.declare(&[("safe", Objective { ack: Ack::All, ..apart("s3://logs/") })]).await.unwrap();
    engine.hold_next_that_reads(extent(number));
    let again = async {
        engine.came().await;
        let (answer, ()) = tokio::join!(complete(), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            engine.let_go();
        });
        answer
    };
    let (first, again) = tokio::join!(complete(), again);
    assert!(first.is_ok() && again.is_ok(), "{first:?} {again:?}");
    let mut silos = house.silos(bucket, "big").await;
    silos.sort();
    assert_eq!(silos, ["far", "hot"]);
    assert_eq!(house.namespace.stats().silos["far"].bytes_written, 500, "it was copied once");
}

/// A drain copies nothing to where a copy is already, and does not wait for ever; what is missing then is made again.
#[tokio::test]
async fn a_silo_with_one_of_several_copies_is_drained() {
    let house = House::kept("copies-drain").await;
    for number in 0..5 {
        house.put(&house.logs, &format!("{number}"), 1000).await;
    }
    house.declare(&[("safe", copies("s3://logs/", 2, &[]))]).await.unwrap();
    for number in 0..5 {
        house.on(&house.logs, &format!("{number}"), &["cold", "hot"]).await;
    }
    let drain = Order::Drain { from: "cold".to_owned(), to: "hot".to_owned() };
    let drain = house.namespace.start_job(drain, Pace::default()).await.unwrap();
    for number in 0..5 {
        house.on(&house.logs, &format!("{number}"), &["far", "hot"]).await;
    }
    for _ in 0..1000 {
        if house.namespace.job(drain.id).await.unwrap().state == JobState::Empty {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", house.namespace.job(drain.id).await);
}

#[tokio::test]
async fn copies_that_make_no_sense_are_refused() {
    let house = House::new("copies-refused").await;
    let refused = async |objective: Objective| house.declare(&[("x", objective)]).await.unwrap_err().to_string();
    assert!(refused(copies("s3://", 9, &[])).await.contains("`copies` is a number from 1 to 8"));
    assert!(refused(copies("s3://", 0, &[])).await.contains("`copies` is a number from 1 to 8"));
    let apart = Objective { apart: Some("site".to_owned()), ..wish("s3://", None, &["hot"], &[]) };
    assert!(refused(apart).await.contains("`apart` and `ack` are about `copies`"));
    let keep = Objective { keep: vec!["hto".parse().unwrap()], ..copies("s3://", 2, &[]) };
    assert_eq!(refused(keep).await, "objective.x: there is no silo `hto`");
}
