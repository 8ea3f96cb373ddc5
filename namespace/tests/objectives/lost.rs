//! Silos that never come back.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::copy::CopyObject;
use holdall_namespace::fault::Fault;
use holdall_namespace::get::{GetError, Opened};
use holdall_namespace::inventory::{Health, SiloInfo};
use holdall_namespace::job::JobInfo;
use holdall_namespace::lost::{Going, LoseError, Loss};
use holdall_namespace::multipart::{Complete, CompleteError, CreateUpload, NamedPart};
use holdall_namespace::put::{PutDone, PutError, Upload};
use tempfile::TempDir;

use super::*;

impl House {
    /// A silo more, in a folder.
    async fn add_disk(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let disk = DeclaredSilo::own(format!("file://{}", folder.path().join("disk").display()));
        let silos = [("disk".to_owned(), disk)].into();
        self.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
        folder
    }

    async fn loss(&self, silo: &str) -> (Loss, Vec<String>) {
        let mut all = Vec::new();
        let mut going = |going| {
            all.push(match going {
                Going::Object { bucket, key, bytes } => format!("{bucket}/{key} {bytes}"),
                Going::Upload { bucket, key, bytes } => format!("upload {bucket}/{key} {bytes}"),
            });
        };
        let loss = self.namespace.loss(silo, &mut going).await.unwrap();
        (loss, all)
    }

    /// Declares it lost and waits until what others have was forgotten.
    async fn lose(&self, silo: &str) -> SiloInfo {
        let (info, job) = self.namespace.lose_silo(silo, true).await.unwrap();
        self.ended(job).await;
        info
    }

    async fn ended(&self, JobInfo { id, .. }: JobInfo) {
        while self.namespace.job(id).await.unwrap().state == JobState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let job = self.namespace.job(id).await.unwrap();
        assert_eq!((job.state, job.failed), (JobState::Done, 0), "{job:?}");
    }

    async fn copy(&self, source: &Opened) -> Result<PutDone, PutError> {
        let (bucket, key) = (&self.photos, &"copy".parse().unwrap());
        let (headers, tags, storage_class, algorithm) = (None, None, None, None);
        let condition = Condition::default();
        self.namespace
            .copy(CopyObject { source, bucket, key, headers, tags, storage_class, algorithm, condition })
            .await
    }

    async fn findings(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.namespace.check(true, &mut |finding| all.push(format!("{finding:?}"))).await.unwrap();
        all
    }
}

/// Of a disk that died copies were counted for ever, so that nothing made new ones; GETs of what was only there were answered 503,
/// as if it came back; and what was deleted waited for it in the sweep.
#[tokio::test]
async fn what_a_lost_silo_held_is_made_again_and_what_was_only_there_is_told() {
    let house = House::kept("lost").await;
    let folder = house.add_disk().await;
    let safe = Objective { copies: Some(2), ..wish("s3://logs/", None, &["disk", "hot", "cold"], &[]) };
    house.declare(&[("safe", safe), ("disk", wish("s3://photos/", None, &["disk"], &[]))]).await.unwrap();
    for (key, bytes) in [("small", 30), ("big", 300_000)] {
        house.put(&house.logs, key, bytes).await;
        house.on(&house.logs, key, &["disk", "hot"]).await;
        house.put(&house.photos, key, bytes).await;
        assert_eq!(house.silos(&house.photos, key).await, ["disk"]);
    }
    let big = "up".parse().unwrap();
    let id = house.namespace.create_upload(&house.photos, &big, CreateUpload::default()).await.unwrap();
    let upload = Upload {
        body: stream::iter([Ok(Bytes::from_static(&[7; 500]))]).boxed(),
        size: 500,
        algorithm: None,
        verify: Box::new(|_| Ok(())),
    };
    let part = house.namespace.upload_part(&house.photos, &big, id, 1, upload).await.unwrap();

    let (loss, going) = house.loss("disk").await;
    assert_eq!(going, ["photos/big 300000", "photos/small 30", "upload photos/up 500"]);
    let all = 2 * 300_030 + 500;
    assert_eq!((loss.extents, loss.bytes, loss.elsewhere_extents, loss.elsewhere_bytes), (5, all, 2, 300_030));
    assert_eq!((loss.objects, loss.object_bytes, loss.uploads), (2, 300_030, 1));
    assert_eq!(house.namespace.lose_silo("disk", false).await, Err(LoseError::Answers("disk".to_owned())));

    std::fs::remove_dir_all(folder.path().join("disk")).unwrap();
    let (info, job) = house.namespace.lose_silo("disk", false).await.unwrap();
    house.ended(job).await;
    assert_eq!((info.health, info.cordoned, info.lost.is_some()), (Health::Lost, true, true));
    for (key, bytes) in [("small", 30), ("big", 300_000)] {
        house.on(&house.logs, key, &["cold", "hot"]).await;
        assert_eq!(house.read_text(&house.logs, key).await, Ok("x".repeat(bytes)));
        let name = key.parse().unwrap();
        assert_eq!(house.namespace.head(&house.photos, &name).await.unwrap().size, bytes as u64);
        let opened = house.namespace.open_object(&house.photos, &name).await.unwrap();
        let gone = Fault::Lost("disk".to_owned());
        assert_eq!(support::text(&opened).await, Err(GetError::Fault(gone.clone())));
        assert_eq!(house.copy(&opened).await.unwrap_err(), PutError::Fault(gone));
    }
    assert_eq!(house.keys_where("s3://", "copies == 0").await, ["big", "small"], "a lost copy is none");
    assert_eq!(house.keys_where("s3://logs/", "copies == 2 && !('disk' in silos)").await, ["big", "small"]);
    let parts = vec![NamedPart { number: 1, etag: part.etag, checksum: None }];
    let complete = Complete {
        bucket: &house.photos,
        key: &big,
        id,
        parts,
        checksum: None,
        size: None,
        condition: Condition::default(),
    };
    let completed = house.namespace.complete_upload(complete).await;
    assert_eq!(completed, Err(CompleteError::Fault(Fault::Lost("disk".to_owned()))));
    let waits = house.told(|told| told.outlook.waits.len() == 1).await.outlook.waits;
    assert_eq!(waits[0].reason, "they went with a silo that is lost, and no other has them");

    house.namespace.delete_objective("disk").await.unwrap();
    house.namespace.delete_objective("safe").await.unwrap();
    let held = house.namespace.remove_silo("disk").await;
    assert!(matches!(held, Err(RemoveSiloError::Lost { extents: 3, bytes: 300_530, .. })), "{held:?}");
    house.delete(&house.photos, "small").await;
    house.put(&house.photos, "big", 10).await;
    house.namespace.abort_upload(&house.photos, &big, id).await.unwrap();
    assert_eq!(house.namespace.sweep_now().await.unwrap().waiting, 0);
    house.namespace.remove_silo("disk").await.unwrap();
    assert_eq!(house.findings().await, Vec::<String>::new());
    assert_eq!(house.read_text(&house.photos, "big").await, Ok("x".repeat(10)));
}

/// A gateway that begins after a silo was lost asks it as little, and starts without it.
#[tokio::test]
async fn a_lost_silo_stays_lost_in_the_next_life() {
    let house = House::new("lost-life").await;
    let folder = house.add_disk().await;
    let place = |on: &str| Order::Place { bucket: house.logs.name.clone(), prefix: String::new(), on: on.to_owned() };
    house.put(&house.logs, "a", 1000).await;
    let job = house.namespace.start_job(place("disk"), Pace::default()).await.unwrap();
    while house.namespace.job(job.id).await.unwrap().state == JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Where it was before it may be read for a while.
    assert_eq!(house.namespace.sweep_now().await.unwrap().waiting, 0);
    std::fs::remove_dir_all(folder.path().join("disk")).unwrap();
    house.lose("disk").await;
    let refused = house.namespace.start_job(place("disk"), Pace::default()).await;
    assert_eq!(refused, Err(OrderError::Cordoned("disk".to_owned())));
    let drain = Order::Drain { from: "disk".to_owned(), to: "hot".to_owned() };
    assert_eq!(house.namespace.start_job(drain, Pace::default()).await, Err(OrderError::Lost("disk".to_owned())));
    assert!(house.namespace.set_cordon("disk", false).await.is_err());
    house.namespace.close().await;
    let namespace = open(&house.engine, Arc::new(SystemClock::new()), None).await;
    let silos = namespace.silos().await.unwrap();
    let health = silos.iter().map(|silo| (silo.name.as_str(), silo.health)).collect::<Vec<_>>();
    assert!(health.contains(&("disk", Health::Lost)) && health.contains(&("hot", Health::Up)), "{health:?}");
    let opened = namespace.open_object(&house.logs, &"a".parse().unwrap()).await.unwrap();
    assert_eq!(support::text(&opened).await, Err(GetError::Fault(Fault::Lost("disk".to_owned()))));
}

/// A disk that was taken for dead came back.
#[tokio::test]
async fn a_lost_silo_that_is_there_after_all_is_taken_back() {
    let house = House::new("lost-found").await;
    let folder = house.add_disk().await;
    assert_eq!(house.namespace.find_silo("disk").await, Err(LoseError::NotLost("disk".to_owned())));
    house.declare(&[("disk", wish("s3://photos/", None, &["disk"], &[]))]).await.unwrap();
    house.put(&house.photos, "a", 1000).await;
    house.put(&house.photos, "b", 1000).await;
    house.lose("disk").await;
    let (here, away) = (folder.path().join("disk"), folder.path().join("away"));
    std::fs::rename(&here, &away).unwrap();
    assert!(matches!(house.namespace.find_silo("disk").await, Err(LoseError::NotFound { .. })));
    house.delete(&house.photos, "b").await;
    assert_eq!(house.namespace.sweep_now().await.unwrap().waiting, 0);
    assert!(house.read_text(&house.photos, "a").await.unwrap_err().contains("lost"));
    std::fs::rename(&away, &here).unwrap();
    let info = house.namespace.find_silo("disk").await.unwrap();
    assert_eq!((info.health, info.cordoned, info.lost), (Health::Up, true, None));
    assert_eq!(house.read_text(&house.photos, "a").await, Ok("x".repeat(1000)));
    assert_eq!(house.namespace.sweep_now().await.unwrap().orphans, 1, "what was deleted meanwhile");
    assert_eq!(house.findings().await, Vec::<String>::new());
}

/// The only whole copy was on the disk that was taken for dead, and it was forgotten for one that was known to be bad.
#[tokio::test]
async fn what_is_damaged_elsewhere_is_not_forgotten() {
    let house = House::new("lost-damaged").await;
    let _folder = house.add_disk().await;
    let safe = Objective { copies: Some(2), ..wish("s3://logs/", None, &["disk", "hot"], &[]) };
    house.declare(&[("safe", safe)]).await.unwrap();
    house.put(&house.logs, "bad", 300_001).await;
    house.put(&house.logs, "well", 300_000).await;
    let align = house.namespace.start_job(Order::Align { on: Scope::default() }, Pace::default()).await.unwrap();
    house.ended(align).await;
    let hot = holdall_silos::memory::Memory::named("objectives-lost-damaged-hot");
    let rots = |name: &String| hot.peek(name).is_some_and(|bytes| bytes.len() == 300_001);
    let name = hot.names().into_iter().find(rots).unwrap();
    hot.plant(&name, "y".repeat(300_001), b"");
    hot.limit(0);
    let scrub = house.namespace.start_job(Order::Scrub { silo: "hot".to_owned() }, Pace::default()).await.unwrap();
    house.ended(scrub).await;
    assert_eq!(house.namespace.damage_left().await, Ok(1));
    house.namespace.pause_silo("disk", true).await.unwrap();
    house.lose("disk").await;
    let held = |key: &'static str| house.silos(&house.logs, key);
    assert_eq!(
        (held("bad").await, held("well").await),
        (vec!["disk".to_owned(), "hot".to_owned()], vec!["hot".to_owned()])
    );
}
