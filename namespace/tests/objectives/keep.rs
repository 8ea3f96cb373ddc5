//! Objects are kept where objectives want them, without an order.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::multipart::{Complete, CreateUpload, NamedPart};
use holdall_namespace::objective::Alignment;
use holdall_namespace::put::{PutObject, Upload};
use holdall_silos::{Body, BodyError};

use super::copies::blobs;

use super::*;

impl House {
    /// What moves, moves by itself.
    pub(super) async fn kept(test: &str) -> Self {
        let align = AlignOptions { every: Duration::from_hours(1), pace: Pace::default(), budget: None };
        Self::with(test, Arc::new(SystemClock::new()), Some(align)).await
    }

    pub(super) async fn comes_to(&self, bucket: &Bucket, key: &str, silo: &str) {
        for _ in 0..1000 {
            if self.silos(bucket, key).await == [silo] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} is on {:?}: {:?}", self.silos(bucket, key).await, self.namespace.alignment());
    }

    /// Waits until all objects were compared and it was as it should be.
    pub(super) async fn told(&self, what: impl Fn(&Alignment) -> bool) -> Alignment {
        for _ in 0..1000 {
            if let Some(told) = self.namespace.alignment().filter(&what) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not come to that: {:?}", self.namespace.alignment());
    }
}

#[tokio::test]
async fn what_is_declared_moves_by_itself_and_a_paused_objective_moves_nothing() {
    let house = House::kept("by-itself").await;
    for number in 0..10 {
        house.put(&house.logs, &format!("{number}"), 1000).await;
    }
    house.put(&house.photos, "a", 1000).await;
    let paused = Objective { paused: Some(true), ..wish("s3://photos/", None, &["far"], &[]) };
    house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &[])), ("photos", paused)]).await.unwrap();
    for number in 0..10 {
        house.comes_to(&house.logs, &format!("{number}"), "cold").await;
    }
    let told = house.told(|told| told.moved == 10).await;
    assert_eq!((told.failed, told.error), (0, None));
    let planned = house.outlook().await;
    assert_eq!(planned.moves.len(), 1);
    assert_eq!((planned.moves[0].objective.as_str(), planned.moves[0].paused), ("photos", true), "a plan shows it");
    assert_eq!(house.silos(&house.photos, "a").await, ["hot"]);
    assert_eq!(house.namespace.jobs().await.unwrap(), []);
    house.namespace.pause_objective("photos", false).await.unwrap();
    house.comes_to(&house.photos, "a", "far").await;
    let nobody = house.namespace.pause_objective("nobody", true).await;
    assert_eq!(nobody, Err(ObjectiveError::NoSuchObjective("nobody".to_owned())));
}

/// The next comparison of everything is an hour away: what changed is compared alone.
#[tokio::test]
async fn what_changes_is_compared_at_once() {
    let house = House::kept("changes").await;
    house.put(&house.logs, "tagged", 1000).await;
    house.put(&house.logs, "source", 1000).await;
    house
        .declare(&[
            ("raw", wish("s3://logs/", Some("tags.class == 'raw'"), &["cold"], &[])),
            ("copies", wish("s3://logs/copies/", None, &["far"], &["hot"])),
        ])
        .await
        .unwrap();
    house.told(|told| told.outlook.objects == 2).await;
    let tags = vec![("class".to_owned(), "raw".to_owned())];
    house.namespace.set_tags(&house.logs, &"tagged".parse().unwrap(), tags).await.unwrap();
    house.comes_to(&house.logs, "tagged", "cold").await;
    assert_eq!(house.silos(&house.logs, "source").await, ["hot"]);
}

/// A silo that comes back, or takes bytes again, gets what waited for it.
#[tokio::test]
async fn what_waits_says_for_what_and_moves_once_it_can() {
    let house = House::kept("waits").await;
    house.namespace.set_cordon("cold", true).await.unwrap();
    house.put(&house.logs, "a", 1000).await;
    house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    let told = house.told(|told| !told.outlook.waits.is_empty()).await;
    assert_eq!(told.outlook.waits[0].reason, "silo `cold` takes no new bytes");
    house.namespace.set_cordon("cold", false).await.unwrap();
    house.comes_to(&house.logs, "a", "cold").await;
    // Written while its silo took nothing: elsewhere for a while rather than not at all.
    house.namespace.set_cordon("cold", true).await.unwrap();
    house.put(&house.logs, "b", 1000).await;
    assert_eq!(house.silos(&house.logs, "b").await, ["hot"]);
    house.namespace.set_cordon("cold", false).await.unwrap();
    house.comes_to(&house.logs, "b", "cold").await;
}

/// What is new is written where it is wanted, and nowhere where it is forbidden, copies and parts too.
#[tokio::test]
async fn what_is_new_is_written_where_it_is_wanted() {
    let house = House::new("new").await;
    house.put(&house.logs, "source", 1000).await;
    house
        .declare(&[
            ("logs", wish("s3://logs/", Some("size > 500"), &["cold"], &[])),
            ("photos", wish("s3://photos/", None, &[], &["hot", "cold"])),
        ])
        .await
        .unwrap();
    house.put(&house.logs, "big", 1000).await;
    house.put(&house.logs, "small", 100).await;
    assert_eq!(house.silos(&house.logs, "big").await, ["cold"]);
    assert_eq!(house.silos(&house.logs, "small").await, ["hot"]);
    let put = async |key: &str| {
        let text = "x".repeat(1000);
        support::put(&house.namespace, &house.photos, key, &text, Headers::default(), Condition::default()).await
    };
    // The write policy knows only what is forbidden.
    let told = put("a").await.unwrap_err().to_string();
    assert_eq!(told, "unavailable for now: objective `photos` leaves no silo that takes new bytes");
    house.declare(&[("photos", wish("s3://photos/", None, &["far"], &["hot", "cold"]))]).await.unwrap();
    put("a").await.unwrap();
    assert_eq!(house.silos(&house.photos, "a").await, ["far"]);
    house.namespace.set_cordon("far", true).await.unwrap();
    put("b").await.unwrap_err();
    house.namespace.set_cordon("far", false).await.unwrap();
}

/// A copy shared its source's bytes, which lay, and later moved, where the copy may not be. Where the source must not be there
/// either, for good, they may share.
#[tokio::test]
async fn a_copy_shares_no_bytes_where_something_is_forbidden_to_it_alone() {
    let house = House::kept("copies").await;
    house.put(&house.logs, "source", 1000).await;
    house.put(&house.logs, "home/source", 1000).await;
    house
        .declare(&[
            ("home", wish("s3://logs/home/", None, &["cold"], &["hot"])),
            ("logs", wish("s3://logs/s", None, &["hot"], &[])),
        ])
        .await
        .unwrap();
    house.comes_to(&house.logs, "home/source", "cold").await;
    support::copy(&house.namespace, &house.logs, "source", "home/copy").await;
    assert_eq!(house.silos(&house.logs, "home/copy").await, ["cold"]);
    support::copy(&house.namespace, &house.logs, "home/source", "home/shared").await;
    support::copy(&house.namespace, &house.logs, "source", "shared").await;
    let extent = async |key: &str| {
        let replicas = house.namespace.where_is(&house.logs.name, &key.parse().unwrap()).await.unwrap();
        replicas[0].extent.clone()
    };
    assert_eq!(extent("home/shared").await, extent("home/source").await);
    assert_eq!(extent("shared").await, extent("source").await);
    assert_ne!(extent("home/copy").await, extent("source").await);
}

/// The least a part may have that is not the last one.
const PART: usize = 5 << 20;

/// Parts are written where the object may be, copied ones too; and what of its size nobody knew then moves once it is complete.
#[tokio::test]
async fn parts_are_written_where_the_object_is_wanted() {
    let house = House::kept("parts").await;
    house.put(&house.logs, "source", PART).await;
    house
        .declare(&[
            ("home", wish("s3://photos/", None, &["cold", "far"], &["hot"])),
            ("big", wish("s3://photos/big", Some("size > MiB(5)"), &["far"], &[])),
        ])
        .await
        .unwrap();
    let (bucket, name) = (&house.photos, "big".parse().unwrap());
    let id = house.namespace.create_upload(bucket, &name, CreateUpload::default()).await.unwrap();
    let source = house.namespace.open_object(&house.logs, &"source".parse().unwrap()).await.unwrap();
    let mut parts =
        vec![house.namespace.upload_part_copy(bucket, &name, id, 1, &source, 0..PART as u64).await.unwrap()];
    let upload = Upload {
        body: stream::iter([Ok(Bytes::from_static(&[7; 500]))]).boxed(),
        size: 500,
        algorithm: None,
        verify: Box::new(|_| Ok(())),
    };
    parts.push(house.namespace.upload_part(bucket, &name, id, 2, upload).await.unwrap());
    assert_eq!(blobs("parts", "hot").count(), 1, "the source alone");
    assert_eq!(blobs("parts", "far").count(), 0, "nobody knows yet how large it is");
    let parts = (1..).zip(parts).map(|(number, part)| NamedPart { number, etag: part.etag, checksum: None }).collect();
    let (checksum, size, condition) = (None, None, Condition::default());
    let complete = Complete { bucket, key: &name, id, parts, checksum, size, condition };
    house.namespace.complete_upload(complete).await.unwrap();
    house.comes_to(bucket, "big", "far").await;
}

/// Bytes that were on their way when something was declared.
#[tokio::test]
async fn what_is_declared_while_a_body_comes_counts_for_it() {
    let house = House::kept("meanwhile").await;
    house.declare(&[("other", wish("s3://photos/", None, &["cold"], &[]))]).await.unwrap();
    house.told(|told| told.compared.is_some()).await;
    let (sender, body) = channel();
    let upload = Upload { body, size: 600_000, algorithm: None, verify: Box::new(|_| Ok(())) };
    let key = "slow".parse().unwrap();
    let put = PutObject {
        bucket: &house.logs,
        key: &key,
        upload,
        headers: Headers::default(),
        tags: Vec::new(),
        storage_class: None,
        condition: Condition::default(),
    };
    let sending = async {
        sender.send(Ok(Bytes::from(vec![7; 300_000]))).await.unwrap();
        house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &["hot"]))]).await.unwrap();
        house.told(|told| told.compared.is_some() && told.outlook.objects == 0).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        sender.send(Ok(Bytes::from(vec![7; 300_000]))).await.unwrap();
        drop(sender);
    };
    let (put, ()) = tokio::join!(house.namespace.put(put), sending);
    put.unwrap();
    house.comes_to(&house.logs, "slow", "cold").await;
}

fn channel() -> (tokio::sync::mpsc::Sender<Result<Bytes, BodyError>>, Body) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let body = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    (sender, body.boxed())
}
