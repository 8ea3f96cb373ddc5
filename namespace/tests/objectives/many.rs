//! A pass over very many objects: how long it takes, and in how much memory. Ignored: it takes minutes, and gigabytes of disk.
//!
//! Rows are multiplied where they lie, by the tables' own functions: no pass reads a byte of an object.

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use holdall_namespace::clock::UnixMs;
use holdall_namespace::engine::redb::Redb;
use holdall_namespace::engine::{Key, Priority, Write};
use holdall_namespace::extent::Number;
use holdall_namespace::table::extents::{ExtentRow, extent};
use holdall_namespace::table::objects::{Data, ObjectRow, object, prefix};
use holdall_namespace::table::{after_prefix, decode, encode};

use super::*;

/// Rows of one commit.
const TOGETHER: u64 = 50_000;
/// A pass takes no more than this beyond what was resident before: pages, and what is sorted together.
const GROWTH: u64 = 64 << 20;

/// Objects, each of a size and with an extent of its own, in the order of their keys; extents lie in another order, as they do
/// where keys do not ascend with time.
struct Many {
    bucket: u64,
    count: u64,
    object: ObjectRow,
    extent: ExtentRow,
    /// The sample's version, before all others.
    sample: Number,
}

impl Many {
    async fn of(house: &House, count: u64) -> Self {
        house.put(&house.logs, "sample", 100).await;
        let bucket = house.logs.incarnation;
        let all = prefix(bucket, "");
        let page = house.engine.range(all.clone()..after_prefix(&all), 1, usize::MAX).await.unwrap();
        let object: ObjectRow = decode(&page[0].1).unwrap();
        let Data::Slices(slices) = &object.data else { panic!("{object:?} has no slices") };
        let rows = house.engine.get(&[extent(slices[0].extent)]).await.unwrap();
        let row: ExtentRow = decode(rows[0].as_ref().unwrap()).unwrap();
        let sample = object.version;
        Self { bucket, count, object, extent: row, sample }
    }

    /// A number that no other object has, far from its neighbours'.
    fn number(&self, place: u64) -> Number {
        let mixed = u128::from(place) * 7_368_787 % u128::from(self.count);
        Number { session: self.sample.session, number: self.sample.number + 1_000 + mixed as u64 }
    }

    /// Every tenth is old.
    fn object(&self, place: u64, old: UnixMs) -> (Key, Vec<u8>) {
        let (number, mut row) = (self.number(place), self.object.clone());
        row.version = number;
        if let Data::Slices(slices) = &mut row.data {
            slices[0].extent = number;
        }
        if place.is_multiple_of(10) {
            row.modified = old;
        }
        let key = format!("{:04}/{:04}/an-object-of-usual-name", place / 10_000, place % 10_000);
        (object(self.bucket, &key.parse().unwrap()), encode(&row))
    }

    fn extent(&self, at: u64) -> (Key, Vec<u8>) {
        let number = Number { session: self.sample.session, number: self.sample.number + 1_000 + at };
        (extent(number), encode(&ExtentRow { first: Some(number), ..self.extent.clone() }))
    }

    async fn write(&self, engine: &Arc<dyn Engine>, row: impl Fn(u64) -> (Key, Vec<u8>)) {
        for begin in (0..self.count).step_by(TOGETHER as usize) {
            let rows = (begin..self.count.min(begin + TOGETHER)).map(&row);
            let writes = Mutex::new(Some(rows.map(|(key, row)| Write::Put(key, row)).collect::<Vec<_>>()));
            let decide = Box::new(move |_: &_| writes.lock().unwrap().take());
            assert!(engine.commit(Priority::Background, Vec::new(), decide).await.unwrap());
            engine.forget_log(u64::MAX);
        }
    }
}

/// Bytes: most resident since it was last asked, and resident now.
fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() << 10
    };
    let found = (field("VmHWM:"), field("VmRSS:"));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    found
}

fn tell(what: &str, count: u64, took: Duration, before: u64) {
    let (peak, _) = memory();
    let rate = count as f64 / took.as_secs_f64();
    eprintln!(
        "{what}: {count} objects in {:.1} s, {rate:.0} a second; {} MiB resident before, {} at most",
        took.as_secs_f64(),
        before >> 20,
        peak >> 20
    );
    assert!(peak < before + GROWTH, "{what} takes memory that grows with objects");
}

async fn house(folder: &Path, clock: &Arc<dyn Clock>) -> House {
    let index = Redb::open(&folder.join("index.redb"), Arc::clone(clock)).unwrap();
    let engine: Arc<dyn Engine> = Arc::new(index);
    let align = AlignOptions { every: Duration::from_hours(24), pace: Pace::default(), budget: None };
    House::over(engine, "many", Arc::clone(clock), Some(align)).await
}

#[tokio::test]
#[ignore = "HOLDALL_TEST_OBJECTS objects, 10^5 unless told otherwise, in a folder of HOLDALL_TEST_FOLDER"]
async fn a_pass_over_many_objects_takes_constant_memory() {
    let count = std::env::var("HOLDALL_TEST_OBJECTS").map_or(100_000, |text| text.parse().unwrap());
    let within = std::env::var_os("HOLDALL_TEST_FOLDER").map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(within).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let house = house(folder.path(), &clock).await;
    let many = Many::of(&house, count).await;
    let (began, old) = (clock.monotonic(), clock.now() - 40 * 24 * 3600 * 1000);
    many.write(&house.engine, |place| many.object(place, old)).await;
    many.write(&house.engine, |at| many.extent(at)).await;
    let index = house.engine.size().unwrap_or_default() >> 20;
    eprintln!(
        "{count} objects written in {:.1} s, an index of {index} MiB",
        clock.monotonic().saturating_sub(began).as_secs_f64()
    );

    let archive = wish("s3://logs/", Some("age > days(30) && size > 10"), &["cold"], &[]);
    let mut before = 0;
    // The first fills the index's cache, which is resident from then on.
    for what in ["a first plan", "a plan"] {
        memory();
        before = memory().1.max(before);
        let began = clock.monotonic();
        let outlook = house.namespace.outlook(&Scope::default(), Some(("archive", &archive))).await.unwrap();
        let moved: u64 = outlook.moves.iter().map(|moving| moving.amount.extents).sum();
        assert_eq!((outlook.objects, moved), (count + 1, count.div_ceil(10)), "{outlook:?}");
        if what == "a plan" {
            tell(what, count, clock.monotonic().saturating_sub(began), before);
        }
        before = memory().1;
    }

    let began = clock.monotonic();
    let stay = wish("s3://logs/", Some("age >= days(0) && size > 10"), &["hot"], &[]);
    house.declare(&[("stay", stay)]).await.unwrap();
    let compared = loop {
        let alignment = house.namespace.alignment();
        if let Some(told) = alignment.filter(|told| told.compared.is_some()) {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(compared.outlook.aligned.extents, count + 1, "{compared:?}");
    tell("a pass by itself", count, clock.monotonic().saturating_sub(began), before);
}
