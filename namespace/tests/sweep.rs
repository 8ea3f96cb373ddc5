//! Sweeping beside silos that do not answer, and requests that go away.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::Clock;
use holdall_namespace::engine::{Engine, Read, Write, commit};
use holdall_namespace::extent::{Location, Number, SiloId};
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::limits::{PACK_UP_TO, SWEEP_LOOKED, SWEEP_ROWS};
use holdall_namespace::multipart::CreateUpload;
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutError, PutObject, Upload};
use holdall_namespace::table::retired::{RetiredRow, retired};
use holdall_namespace::table::sessions::{EndedRow, ended};
use holdall_namespace::table::{decode, encode, key as tables};
use holdall_namespace::{Namespace, Options};
use holdall_silos::{BlobName, memory::Memory as Blobs};
use support::clock::TestClock;
use support::engine::Between;

mod support;

const MINUTE: Duration = Duration::from_mins(1);

struct House {
    engine: Arc<Between>,
    clock: Arc<TestClock>,
    namespace: Arc<Namespace>,
    bucket: Bucket,
    hot: Arc<Blobs>,
    cold: Arc<Blobs>,
}

async fn open(engine: &Arc<Between>, clock: &Arc<TestClock>, options: Options) -> Arc<Namespace> {
    let (engine, clock): (Arc<dyn Engine>, Arc<dyn Clock>) =
        (Arc::<Between>::clone(engine), Arc::<TestClock>::clone(clock));
    Namespace::open(engine, clock, options, true).await.unwrap()
}

fn options(pack_up_to: u64, grace: Duration) -> Options {
    Options { grace, pack_up_to, ..support::options() }
}

/// New objects go to `hot`; what is that small goes into packs.
async fn house(test: &str, pack_up_to: u64, grace: Duration) -> House {
    let (engine, clock) = (Arc::<Between>::default(), Arc::<TestClock>::default());
    let namespace = open(&engine, &clock, options(pack_up_to, grace)).await;
    let names = ["hot", "cold"].map(|silo| format!("sweep-{test}-{silo}"));
    let silo = |name: &String| DeclaredSilo::own(format!("memory:{name}"));
    let silos = [("hot".to_owned(), silo(&names[0])), ("cold".to_owned(), silo(&names[1]))].into();
    let write = Some(WritePolicy { to: vec![WriteTarget { silo: "hot".into(), min_size: 0, max_size: None }] });
    namespace.apply(&Declared { silos, write, ..Declared::default() }, false).await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    let [hot, cold] = names.map(|name| Blobs::named(&name));
    House { engine, clock, namespace, bucket, hot, cold }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

impl House {
    async fn put(&self, name: &str) {
        self.try_put(name).await.unwrap();
    }

    async fn try_put(&self, name: &str) -> Result<(), PutError> {
        let request = PutObject {
            bucket: &self.bucket,
            key: &key(name),
            upload: Upload {
                body: stream::iter([Ok(Bytes::from_static(b"some bytes"))]).boxed(),
                size: 10,
                algorithm: None,
                verify: Box::new(|_| Ok(())),
            },
            headers: Headers::default(),
            tags: Vec::new(),
            storage_class: None,
            condition: Condition::default(),
        };
        self.namespace.put(request).await.map(drop)
    }

    async fn delete(&self, name: &str) {
        self.namespace.delete(&self.bucket, &key(name), Condition::default()).await.unwrap();
    }

    async fn silo_id(&self, name: &str) -> SiloId {
        self.namespace.silos().await.unwrap().into_iter().find(|silo| silo.name == name).unwrap().id
    }

    async fn write(&self, writes: Vec<Write>) {
        let decide = move |_: &_| Ok::<_, ()>((writes.clone(), ()));
        commit(&self.engine.inner, Vec::<Read>::new(), decide).await.unwrap();
    }

    /// Retires blobs of a silo, long ago.
    async fn retire(&self, silo: SiloId, count: usize) {
        let row = |number: u64| {
            let extent = Number { session: 9999, number };
            let blob = BlobName { session: 9999, number, extent: (9999, number) };
            let row = RetiredRow::Replicas { extent, replicas: vec![(silo, Location::Blob(blob))] };
            Write::Put(retired(1, extent, 0), encode(&row))
        };
        self.write((0..count as u64).map(row).collect()).await;
    }

    fn has(&self, name: &[u8]) -> bool {
        self.engine.inner.every_row().iter().any(|(key, _)| key == name)
    }

    fn count(&self, table: u8) -> usize {
        self.engine.inner.every_row().iter().filter(|(key, _)| key[0] == table).count()
    }
}

/// A silo was away for good, a sweep looked at the oldest rows only, and all of those were of that silo: nothing that was
/// deleted since went from any other.
#[tokio::test]
async fn what_waits_for_a_silo_that_is_down_hides_nothing_younger() {
    let house = house("down", 0, Duration::ZERO).await;
    house.namespace.start_background();
    house.retire(house.silo_id("cold").await, SWEEP_ROWS + 1).await;
    house.cold.fail(true);
    house.put("a").await;
    house.delete("a").await;
    house.clock.pass(MINUTE).await;
    assert_eq!(house.hot.count(), 0);
    assert_eq!(house.count(tables::RETIRED), SWEEP_ROWS + 1);
    house.cold.fail(false);
    house.clock.pass(MINUTE).await;
    assert_eq!(house.count(tables::RETIRED), 0);
    house.namespace.close().await;
}

/// The same where nobody knows why a row stays.
#[tokio::test]
async fn what_cannot_be_swept_hides_nothing_younger() {
    let house = house("stuck", 0, Duration::ZERO).await;
    house.namespace.start_background();
    house.retire(77, SWEEP_LOOKED + 1).await;
    house.put("a").await;
    house.delete("a").await;
    house.clock.pass(MINUTE).await;
    assert_eq!(house.hot.count(), 0);
    assert_eq!(house.count(tables::RETIRED), SWEEP_LOOKED + 1, "nothing is given up");
    house.namespace.close().await;
}

/// The uploads of a deleted bucket were to be given up; that failed, and was noted as done. It also ended each sweep.
#[tokio::test]
async fn an_upload_that_could_not_be_given_up_is_given_up_later() {
    let house = house("left", 0, Duration::ZERO).await;
    house.namespace.start_background();
    let left = house.namespace.create_bucket(&"left".parse().unwrap(), 1).await.unwrap();
    let upload = CreateUpload { headers: Headers::default(), tags: Vec::new(), storage_class: None, checksum: None };
    house.namespace.create_upload(&left, &key("k"), upload).await.unwrap();
    house.namespace.delete_bucket(&left).await.unwrap();
    let rows = house.engine.inner.every_row();
    let (name, row) = rows.into_iter().find(|(key, _)| key[0] == tables::UPLOADS).unwrap();
    house.write(vec![Write::Put(name.to_vec(), vec![0xff; 3])]).await;
    house.put("a").await;
    house.delete("a").await;
    house.clock.pass(MINUTE).await;
    assert_eq!((house.hot.count(), house.count(tables::LEFT)), (0, 1));
    house.write(vec![Write::Put(name.to_vec(), row.to_vec())]).await;
    house.clock.pass(MINUTE).await;
    assert_eq!((house.count(tables::UPLOADS), house.count(tables::LEFT)), (0, 0));
    house.namespace.close().await;
}

/// A silo was away for hours, its packs could not be looked after, and each try doubled the pause: once it was back they
/// waited up to two hours more.
#[tokio::test]
async fn packs_of_a_silo_that_is_back_do_not_wait() {
    let house = house("packs", PACK_UP_TO, Duration::ZERO).await;
    house.namespace.start_background();
    house.put("a").await;
    house.hot.fail(true);
    house.clock.pass(Duration::from_secs(5)).await;
    house.delete("a").await;
    house.clock.pass(Duration::from_hours(5)).await;
    assert_eq!(house.hot.count(), 1);
    house.hot.fail(false);
    house.clock.pass(MINUTE).await;
    assert_eq!(house.hot.count(), 0);
    house.namespace.close().await;
}

/// A gateway died with a write under way while a silo was down: what it left in all others stayed as well, and the first
/// pack of what it had not finished stayed for ever.
#[tokio::test]
async fn what_an_ended_session_left_goes_from_every_silo_that_answers() {
    let house = house("ended", PACK_UP_TO, Duration::ZERO).await;
    house.put("a").await;
    house.namespace.close().await;
    let (_, row) = house.engine.inner.every_row().into_iter().find(|(key, _)| key[0] == tables::ENDED).unwrap();
    let EndedRow { floor } = decode(&row).unwrap();
    let session = (1..100).find(|session| house.has(&ended(*session))).unwrap();
    let orphans = [BlobName::pack(session, floor), BlobName { session, number: floor + 1, extent: (session, 9) }];
    for silo in [&house.hot, &house.cold] {
        for orphan in orphans {
            silo.plant(&orphan.to_string(), "orphan", b"");
        }
    }
    house.hot.fail(true);
    let house =
        House { namespace: open(&house.engine, &house.clock, options(PACK_UP_TO, Duration::ZERO)).await, ..house };
    house.namespace.start_background();
    house.clock.pass(MINUTE).await;
    assert_eq!((house.cold.count(), house.count(tables::ENDED)), (0, 1));
    house.hot.fail(false);
    house.clock.pass(MINUTE).await;
    assert_eq!((house.hot.count(), house.count(tables::ENDED)), (1, 0), "the pack of what is there stays");
    house.namespace.close().await;
}

/// A silo stored an object and its answer was lost: what was answered 503 lay there until somebody ordered a sweep, or for
/// ever.
#[tokio::test]
async fn what_landed_though_it_was_given_up_goes() {
    let house = house("landed", 0, Duration::ZERO).await;
    house.namespace.start_background();
    house.clock.pass(MINUTE).await;
    house.hot.lose(true);
    assert!(house.try_put("a").await.is_err());
    house.hot.lose(false);
    house.put("b").await;
    assert_eq!(house.hot.count(), 2);
    house.clock.pass(MINUTE * 2).await;
    assert_eq!(house.hot.count(), 1);
    house.namespace.close().await;
}

/// A disk that is full of errors is mounted to be read alone: it lists, and deletes nothing. What an ended session had left
/// there was noted as gone.
#[tokio::test]
async fn what_could_not_be_deleted_stays_noted() {
    let house = house("kept", 0, Duration::ZERO).await;
    house.namespace.close().await;
    let (_, row) = house.engine.inner.every_row().into_iter().find(|(key, _)| key[0] == tables::ENDED).unwrap();
    let EndedRow { floor } = decode(&row).unwrap();
    let session = (1..100).find(|session| house.has(&ended(*session))).unwrap();
    house.cold.plant(&BlobName { session, number: floor, extent: (session, 9) }.to_string(), "orphan", b"");
    house.cold.keep(Some(0));
    let house = House { namespace: open(&house.engine, &house.clock, options(0, Duration::ZERO)).await, ..house };
    house.namespace.start_background();
    house.clock.pass(MINUTE).await;
    assert_eq!((house.cold.count(), house.count(tables::ENDED)), (1, 1));
    house.cold.keep(None);
    house.clock.pass(MINUTE).await;
    assert_eq!((house.cold.count(), house.count(tables::ENDED)), (0, 0));
    house.namespace.close().await;
}

/// Whoever had ordered a sweep went away while its commit was on the way: the packs were looked at before it landed, and
/// not again.
#[tokio::test]
async fn a_sweep_that_lands_late_has_its_packs_looked_at() {
    let house = house("late", PACK_UP_TO, Duration::from_hours(9)).await;
    house.namespace.start_background();
    for name in ["a", "b"] {
        house.put(name).await;
        house.delete(name).await;
    }
    house.clock.pass(MINUTE).await;
    let held = house.engine.held.lock().await;
    let gone = async {
        tokio::select! {
            swept = house.namespace.sweep_now() => panic!("{swept:?}"),
            () = house.clock.sleep(MINUTE) => {}
        }
    };
    house.clock.run(gone).await;
    house.clock.pass(MINUTE).await;
    assert!(house.hot.count() > 0);
    drop(held);
    house.clock.pass(MINUTE).await;
    assert_eq!((house.hot.count(), house.count(tables::PACKS)), (0, 0));
    house.namespace.close().await;
}
