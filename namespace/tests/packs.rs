//! Small objects in packs: how few files they take, what becomes of a pack when they go, and how they move.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::check::Finding;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{self, Engine, Write, memory::Memory};
use holdall_namespace::extent::Number;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::limits::PACK_UP_TO;
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutObject, Upload};
use holdall_namespace::table::key as tables;
use holdall_namespace::table::packs::{PackId, named, read_pack};
use holdall_namespace::{Namespace, Options};
use holdall_silos::{Silo, memory::Memory as Blobs};

mod support;

struct House {
    engine: Memory,
    namespace: Arc<Namespace>,
    bucket: Bucket,
    silos: [Arc<Blobs>; 2],
}

async fn open(engine: &Memory, pack_up_to: u64) -> Arc<Namespace> {
    let options = Options { pack_up_to, ..support::options() };
    let engine: Arc<dyn Engine> = Arc::new(engine.clone());
    Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap()
}

async fn house(test: &str) -> House {
    let names = ["hot", "cold"].map(|name| format!("packs-{test}-{name}"));
    let engine = Memory::new();
    let namespace = open(&engine, PACK_UP_TO).await;
    let silo = |name: &String| DeclaredSilo::own(format!("memory:{name}"));
    let silos = [("hot".to_owned(), silo(&names[0])), ("cold".to_owned(), silo(&names[1]))].into();
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    let write = Some(WritePolicy { to: vec![to("hot"), to("cold")] });
    namespace.apply(&Declared { silos, write, ..Declared::default() }, false).await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    House { engine, namespace, bucket, silos: names.map(|name| Blobs::named(&name)) }
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn bytes_of(number: usize) -> Vec<u8> {
    (0..500 + number * 7 % 3000).map(|at| (at * 31 + number * 7) as u8).collect()
}

fn names(numbers: std::ops::Range<usize>) -> Vec<(String, usize)> {
    numbers.map(|number| (format!("k{number:04}"), number)).collect()
}

impl House {
    async fn put(&self, name: &str, bytes: &[u8]) {
        let request = PutObject {
            bucket: &self.bucket,
            key: &key(name),
            upload: Upload {
                body: stream::iter([Ok(Bytes::copy_from_slice(bytes))]).boxed(),
                size: bytes.len() as u64,
                algorithm: None,
                verify: Box::new(|_| Ok(())),
            },
            headers: Headers::default(),
            tags: Vec::new(),
            storage_class: None,
            condition: Condition::default(),
        };
        self.namespace.put(request).await.unwrap();
    }

    async fn put_all(&self, numbers: std::ops::Range<usize>) {
        join_all(names(numbers).iter().map(async |(name, number)| self.put(name, &bytes_of(*number)).await)).await;
    }

    async fn get(&self, name: &str) -> Vec<u8> {
        let opened = self.namespace.open_object(&self.bucket, &key(name)).await.unwrap();
        let pieces: Vec<_> = opened.read(0..opened.object.size).await.unwrap().collect().await;
        pieces.into_iter().flat_map(|piece| piece.unwrap().to_vec()).collect()
    }

    async fn all_read(&self, numbers: std::ops::Range<usize>) {
        for (name, number) in names(numbers) {
            assert!(self.get(&name).await == bytes_of(number), "{name} reads other bytes");
        }
    }

    async fn delete_all(&self, numbers: std::ops::Range<usize>) {
        for (name, _) in names(numbers) {
            self.namespace.delete(&self.bucket, &key(&name), Condition::default()).await.unwrap();
        }
    }

    /// Names in a silo and the bytes stored under them.
    async fn stored(&self, silo: usize) -> BTreeMap<String, u64> {
        let page = self.silos[silo].list("", None, 1000).await.unwrap();
        page.into_iter().map(|listed| (listed.name, listed.stored)).collect()
    }

    /// Ends the open packs, as a change of the settings does, and sweeps until nothing changes any more.
    async fn settle(&self) {
        self.namespace.set_cordon("hot", true).await.unwrap();
        self.namespace.set_cordon("hot", false).await.unwrap();
        for _ in 0..4 {
            self.namespace.publish_beat_for_tests().await;
            self.namespace.publish_beat_for_tests().await;
            self.namespace.sweep(true).await.unwrap();
        }
    }

    /// What the index has of packs.
    async fn packs(&self) -> Vec<PackId> {
        let rows = self.engine.range(vec![tables::PACKS]..vec![tables::PACKS + 1], 1000, usize::MAX).await.unwrap();
        rows.iter().map(|(key, _)| read_pack(key).unwrap()).collect()
    }

    /// Sweeps while beats go on, without ending the open packs.
    async fn sweep(&self) {
        for _ in 0..4 {
            self.namespace.publish_beat_for_tests().await;
            self.namespace.publish_beat_for_tests().await;
            self.namespace.sweep(true).await.unwrap();
        }
    }

    async fn findings(&self, deep: bool) -> Vec<Finding> {
        let mut all = Vec::new();
        self.namespace.check(deep, &mut |finding| all.push(finding)).await.unwrap();
        all
    }

    async fn run(&self, order: Order) {
        let id = self.namespace.start_job(order, Pace::default()).await.unwrap().id;
        for _ in 0..200 {
            let job = self.namespace.job(id).await.unwrap();
            match job.state {
                JobState::Failed => panic!("{job:?}"),
                JobState::Done if matches!(job.order, Order::Place { .. }) => return,
                JobState::Empty => return,
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the job does not end");
    }
}

#[tokio::test]
async fn many_small_objects_share_few_packs() {
    let house = house("few").await;
    house.put_all(0..300).await;
    house.put("large", &vec![7; PACK_UP_TO as usize + 1]).await;
    let stored = house.stored(0).await;
    assert!(stored.len() <= 4, "300 objects and one of its own are {} names: {stored:?}", stored.len());
    house.all_read(0..300).await;
    let opened = house.namespace.open_object(&house.bucket, &key("k0009")).await.unwrap();
    let pieces: Vec<_> = opened.read(100..200).await.unwrap().collect().await;
    assert_eq!(pieces.into_iter().flat_map(|piece| piece.unwrap()).collect::<Vec<u8>>(), bytes_of(9)[100..200]);
    assert_eq!(house.findings(true).await, []);
    // The next life reads them, packs of its own or not.
    house.namespace.close().await;
    let again = House { namespace: open(&house.engine, 0).await, ..house };
    again.all_read(0..300).await;
    again.put("alone", b"not packed").await;
    assert_eq!(again.stored(0).await.len(), stored.len() + 1);
    assert_eq!(again.findings(true).await, []);
    // What moves now leaves its pack, each for itself.
    again.namespace.start_background();
    again.run(Order::Drain { from: "hot".into(), to: "cold".into() }).await;
    assert_eq!((again.stored(0).await.len(), again.stored(1).await.len()), (0, 302));
    again.all_read(0..300).await;
    assert_eq!(again.findings(true).await, []);
    again.namespace.close().await;
}

#[tokio::test]
async fn a_pack_less_than_half_in_use_is_rewritten_and_an_empty_one_goes() {
    let house = house("thin").await;
    house.put_all(0..200).await;
    house.settle().await;
    let before: u64 = house.stored(0).await.values().sum();
    house.delete_all(0..150).await;
    house.settle().await;
    house.settle().await;
    house.all_read(150..200).await;
    let live: u64 = (150..200).map(|number| bytes_of(number).len() as u64).sum();
    let stored: u64 = house.stored(0).await.values().sum();
    assert!(stored <= 2 * live && stored < before / 2, "{stored} bytes stored of {before}, {live} live");
    assert_eq!(house.findings(true).await, []);
    house.delete_all(150..200).await;
    house.settle().await;
    house.settle().await;
    assert_eq!(house.stored(0).await, BTreeMap::new(), "nothing is left of packs that nothing names");
    assert_eq!(house.findings(false).await, []);
}

/// A crash after the last delete and before the sweeper looked: the next life finds what is left of the pack.
#[tokio::test]
async fn the_next_life_looks_after_packs_of_the_one_before() {
    let house = house("lives").await;
    house.put_all(0..50).await;
    house.delete_all(0..50).await;
    let again = House { namespace: open(&house.engine, PACK_UP_TO).await, ..house };
    again.namespace.start_background();
    for _ in 0..100 {
        if again.stored(0).await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(again.stored(0).await, BTreeMap::new());
    again.namespace.close().await;
}

#[tokio::test]
async fn small_objects_move_pack_to_pack_and_back() {
    let house = house("moves").await;
    house.namespace.start_background();
    house.put_all(0..1000).await;
    house.run(Order::Drain { from: "hot".into(), to: "cold".into() }).await;
    assert_eq!(house.stored(0).await, BTreeMap::new(), "a drained silo holds nothing");
    let moved = house.stored(1).await.len();
    assert!(moved <= 10, "1000 objects became {moved} names");
    house.all_read(0..1000).await;
    house.namespace.set_cordon("hot", false).await.unwrap();
    let place = Order::Place { bucket: house.bucket.name.clone(), prefix: "k00".into(), on: "hot".into() };
    house.run(place).await;
    house.all_read(0..1000).await;
    let replicas = house.namespace.where_is(&house.bucket.name, &key("k0042")).await.unwrap();
    assert!(replicas.iter().any(|replica| replica.silo == "hot" && replica.state == "verified"), "{replicas:?}");
    house.namespace.sweep_now().await.unwrap();
    assert_eq!(house.findings(true).await, []);
    house.namespace.close().await;
}

/// A client's few bytes waited for the megabytes that were moved into the same pack just then.
#[tokio::test]
async fn what_is_moved_lies_in_packs_of_its_own() {
    let house = house("own").await;
    house.namespace.start_background();
    house.put_all(0..20).await;
    house.namespace.set_cordon("hot", true).await.unwrap();
    house.put("before", b"a client's").await;
    let place = Order::Place { bucket: house.bucket.name.clone(), prefix: "k".into(), on: "cold".into() };
    house.run(place).await;
    house.put("after", b"a client's").await;
    let pack = async |name: &str| {
        let replicas = house.namespace.where_is(&house.bucket.name, &key(name)).await.unwrap();
        let there = replicas.iter().find(|replica| replica.silo == "cold").unwrap();
        there.blob.split('@').next().unwrap().to_owned()
    };
    let moved = pack("k0007").await;
    assert!(moved != pack("before").await && moved != pack("after").await);
    house.namespace.close().await;
}

/// What `check` says of a pack that was damaged in a way of each kind.
#[tokio::test]
async fn a_check_finds_every_damage_to_a_pack() {
    let house = house("check").await;
    house.put("one", &bytes_of(1)).await;
    house.put("two", &bytes_of(1)).await;
    house.settle().await;
    let (name, _) = house.stored(0).await.pop_first().unwrap();
    let whole = house.silos[0].peek(&name).unwrap();
    let replant = |bytes: Vec<u8>| house.silos[0].plant(&name, bytes, b"");
    let kinds = async |deep| {
        let findings = house.findings(deep).await;
        let mut kinds: Vec<String> = findings
            .iter()
            .map(|finding| serde_json::to_value(finding).unwrap()["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    };
    replant(whole[..whole.len() - 1].to_vec());
    assert_eq!(kinds(false).await, ["wrong_size"], "a pack that was cut");
    let mut flipped = whole.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    replant(flipped);
    assert_eq!(kinds(false).await, Vec::<String>::new());
    assert_eq!(kinds(true).await, ["damaged"], "a bit of a payload");
    let mut flipped = whole.to_vec();
    flipped[30] ^= 1;
    replant(flipped);
    assert_eq!(kinds(true).await, ["damaged"], "a bit of what a record says of itself");
    let (first, second) = whole.split_at(whole.len() / 2);
    replant([second, first].concat());
    assert_eq!(kinds(true).await, ["wrong_blob", "wrong_blob"], "two records of one length, swapped");
    replant(whole.to_vec());
    assert_eq!(kinds(true).await, Vec::<String>::new());
    let pack = house.packs().await.remove(0);
    let add = |by: i64| {
        let engine = house.engine.clone();
        async move {
            let decide = move |_: &engine::Rows| Ok::<_, ()>((vec![Write::Add(named(pack), by)], ()));
            engine::commit(&engine, Vec::new(), decide).await.unwrap();
        }
    };
    add(5).await;
    assert_eq!(kinds(false).await, ["wrong_count"], "a counter that is off");
    add(-5).await;
    let stray = PackId { number: Number { session: 77, number: 7 }, ..pack };
    let decide = move |_: &engine::Rows| Ok::<_, ()>((vec![Write::Add(named(stray), 9)], ()));
    engine::commit(&house.engine, Vec::new(), decide).await.unwrap();
    assert_eq!(kinds(false).await, ["wrong_count"], "a counter of a pack that is none");
    house.silos[0].delete(&name.parse().unwrap()).await.unwrap();
    assert_eq!(kinds(false).await, ["missing", "missing", "wrong_count"], "a pack that is gone");
}

/// A copy lay on another page of the walk: its extent was planned twice, sorted together, and moved twice in one commit.
/// Counters were off for ever, and the silo was never empty again.
#[tokio::test]
async fn an_extent_that_keys_far_apart_share_moves_once() {
    let house = house("shared").await;
    house.namespace.start_background();
    house.put_all(0..300).await;
    support::copy(&house.namespace, &house.bucket, "k0000", "z").await;
    house.run(Order::Place { bucket: house.bucket.name.clone(), prefix: String::new(), on: "cold".into() }).await;
    house.namespace.sweep_now().await.unwrap();
    assert_eq!(house.findings(true).await, []);
    house.namespace.close().await;
}

/// One bad spot failed the read of all that lay around it, and the drain of a dying disk moved nothing.
#[tokio::test]
async fn a_damaged_record_keeps_no_neighbour_from_moving() {
    let house = house("spot").await;
    for (name, number) in names(0..10) {
        house.put(&name, &bytes_of(number)).await;
    }
    house.settle().await;
    let (name, _) = house.stored(0).await.pop_first().unwrap();
    let whole = house.silos[0].peek(&name).unwrap();
    house.silos[0].plant(&name, whole[..whole.len() - 1].to_vec(), b"");
    house.namespace.start_background();
    let order = Order::Drain { from: "hot".into(), to: "cold".into() };
    let id = house.namespace.start_job(order, Pace::default()).await.unwrap().id;
    let moved = async || house.namespace.job(id).await.unwrap().moved_objects;
    for _ in 0..100 {
        if moved().await == 9 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(moved().await, 9);
    house.all_read(0..9).await;
    house.namespace.cancel_job(id).await.unwrap();
    house.namespace.close().await;
}

/// A thin pack that was looked at while its silo was cordoned was never looked at again.
#[tokio::test]
async fn a_thin_pack_is_rewritten_once_its_silo_takes_bytes_again() {
    let house = house("cordoned").await;
    house.put_all(0..50).await;
    house.delete_all(0..45).await;
    house.namespace.set_cordon("hot", true).await.unwrap();
    house.sweep().await;
    house.namespace.set_cordon("hot", false).await.unwrap();
    house.settle().await;
    house.settle().await;
    let stored: u64 = house.stored(0).await.values().sum();
    let live: u64 = (45..50).map(|number| bytes_of(number).len() as u64).sum();
    assert!(stored <= 2 * live, "{stored} bytes stored, {live} live");
}

/// A pack on a disk that garbled it could not be rewritten, and once it was empty it stayed for the pause after that, up
/// to hours: its silo could not be taken out, whatever was swept.
#[tokio::test]
async fn an_empty_pack_goes_though_it_could_not_be_rewritten() {
    let house = house("garbled").await;
    house.put_all(0..50).await;
    house.settle().await;
    for name in house.stored(0).await.keys() {
        let bytes: Vec<u8> = house.silos[0].peek(name).unwrap().iter().map(|byte| !byte).collect();
        house.silos[0].plant(name, bytes, b"");
    }
    house.delete_all(0..45).await;
    house.settle().await;
    house.settle().await;
    assert_ne!(house.stored(0).await, BTreeMap::new(), "what is named stays, whatever it reads");
    house.delete_all(45..50).await;
    house.settle().await;
    assert_eq!((house.stored(0).await, house.packs().await), (BTreeMap::new(), Vec::new()));
}

/// Counters reach nothing before the pack is deleted: a silo was taken out with packs in it.
#[tokio::test]
async fn a_silo_that_is_taken_out_holds_no_packs() {
    let house = house("removed").await;
    house.put_all(0..50).await;
    house.delete_all(0..50).await;
    house.sweep().await;
    let to = |silo: &str| WriteTarget { silo: silo.into(), min_size: 0, max_size: None };
    let write = Some(WritePolicy { to: vec![to("cold")] });
    house.namespace.apply(&Declared { write, ..Declared::default() }, false).await.unwrap();
    house.namespace.set_cordon("hot", true).await.unwrap();
    house.namespace.start_background();
    house.namespace.remove_silo("hot").await.unwrap();
    assert_eq!((house.stored(0).await, house.packs().await), (BTreeMap::new(), Vec::new()));
    house.namespace.close().await;
}

/// A gateway ended in good order with packs to be looked at: the other one never did, and a drain never ended.
#[tokio::test]
async fn packs_of_a_gateway_that_ended_are_looked_after_by_another() {
    let house = house("ended").await;
    house.namespace.start_background();
    let options = Options { pack_up_to: PACK_UP_TO, ..support::options() };
    let engine: Arc<dyn Engine> = Arc::new(house.engine.clone());
    let other = Namespace::open(engine, Arc::new(SystemClock::new()), options, false).await.unwrap();
    let (bucket, silos) = (house.bucket.clone(), house.silos.clone());
    let other = House { engine: house.engine.clone(), namespace: other, bucket, silos };
    other.put_all(0..50).await;
    other.delete_all(0..50).await;
    other.sweep().await;
    other.namespace.close().await;
    house.run(Order::Drain { from: "hot".into(), to: "cold".into() }).await;
    assert_eq!((house.stored(0).await, house.packs().await), (BTreeMap::new(), Vec::new()));
    house.namespace.close().await;
}
