//! Scrubs: bits that flipped, files that are gone or cut, and what is made of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdall_namespace::Options;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::{Clock, SystemClock};
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobInfo, JobState, Order, Pace, PlanSummary};
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::objective::{Chore, Objective, Scope};
use holdall_namespace::price::Price;
use holdall_namespace::scrub::{Damage, Done, Flaw, ScrubOptions};
use holdall_namespace::set_silo::SetSilo;
use holdall_namespace::{Namespace, limits};
use holdall_silos::memory::Memory as Blobs;
use tempfile::TempDir;

use support::clock::TestClock;

mod support;

/// Two silos in folders, and a bucket whose objects are on both.
struct House {
    folder: TempDir,
    engine: Arc<dyn Engine>,
    namespace: Arc<Namespace>,
    bucket: Bucket,
}

/// Numbers that are the same each time.
struct Drawn(u64);

impl Drawn {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(b'a' + self.next(26) as u8)).collect()
    }
}

impl House {
    async fn new() -> Self {
        Self::with(Arc::new(SystemClock::new()), "file:", None).await
    }

    async fn with(clock: Arc<dyn Clock>, kind: &str, scrub: Option<ScrubOptions>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let engine: Arc<dyn Engine> = Arc::new(Memory::new());
        let options =
            Options { base: folder.path().to_owned(), pack_up_to: limits::PACK_UP_TO, scrub, ..support::options() };
        let namespace = Namespace::open(Arc::clone(&engine), clock, options, true).await.unwrap();
        let silos = ["one", "two"].map(|name| (name.to_owned(), DeclaredSilo::own(format!("{kind}{name}")))).into();
        let write = WritePolicy { to: vec![WriteTarget { silo: "one".to_owned(), min_size: 0, max_size: None }] };
        let place = vec!["one".parse().unwrap(), "two".parse().unwrap()];
        let safe = Objective { on: "s3://".parse().unwrap(), place, copies: Some(2), ..Objective::default() };
        let objectives = [("safe".to_owned(), safe)].into();
        namespace
            .apply(&Declared { silos, write: Some(write), objectives, ..Declared::default() }, false)
            .await
            .unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
        namespace.start_background();
        Self { folder, engine, namespace, bucket }
    }

    async fn put(&self, key: &str, text: &str) {
        support::put(&self.namespace, &self.bucket, key, text, Headers::default(), Condition::default()).await.unwrap();
    }

    async fn read(&self, key: &str) -> Result<String, String> {
        let opened = self.namespace.open_object(&self.bucket, &key.parse().unwrap()).await;
        let opened = opened.map_err(|error| error.to_string())?;
        support::text(&opened).await.map_err(|error| error.to_string())
    }

    async fn run(&self, order: Order) -> JobInfo {
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        while self.namespace.job(job.id).await.unwrap().state == JobState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = self.namespace.job(job.id).await.unwrap();
        assert_eq!((ended.state, ended.failed), (JobState::Done, 0), "{ended:?}");
        ended
    }

    async fn copy_all(&self) {
        self.run(Order::Align { on: Scope::default() }).await;
    }

    /// Replicas looked at, damaged, and made good.
    async fn scrub(&self, silo: &str) -> (u64, u64, u64) {
        let job = self.run(Order::Scrub { silo: silo.to_owned() }).await;
        (job.moved_objects, job.damaged, job.mended)
    }

    /// The file with an object's replica in a silo, and where in it that is.
    async fn file(&self, key: &str, silo: &str) -> (PathBuf, std::ops::Range<u64>) {
        let replicas = self.namespace.where_is(&self.bucket.name, &key.parse().unwrap()).await.unwrap();
        let found = replicas.into_iter().find(|replica| replica.silo == silo && replica.state == "verified").unwrap();
        let blobs = self.folder.path().join(silo).join("blobs");
        let Some((name, place)) = found.blob.split_once('@') else {
            let path = blobs.join(&found.blob);
            let length = std::fs::metadata(&path).unwrap().len();
            return (path, 0..length);
        };
        let (offset, length) = place.split_once('+').unwrap();
        let (offset, length): (u64, u64) = (offset.parse().unwrap(), length.parse().unwrap());
        (blobs.join(name), offset..offset + length)
    }

    async fn flip(&self, key: &str, silo: &str, drawn: &mut Drawn) {
        let (path, range) = self.file(key, silo).await;
        flip_at(&path, range.start + drawn.next(range.end - range.start), drawn);
    }

    async fn left(&self) -> Vec<Damage> {
        self.namespace.damage().await.unwrap().into_iter().filter(|damage| damage.done == Done::Left).collect()
    }

    async fn is_well(&self) {
        assert_eq!(self.namespace.sweep_now().await.unwrap().waiting, 0);
        let mut all = Vec::new();
        self.namespace.check(true, &mut |finding| all.push(finding)).await.unwrap();
        assert_eq!(all, []);
    }
}

/// Files of ours are read-only to all.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn flip_at(path: &Path, at: u64, drawn: &mut Drawn) {
    change(path, |bytes| bytes[at as usize] ^= 1 << drawn.next(8));
}

/// A bit flipped in each of a hundred objects of one disk: all are found, made good from the other one, and nobody ever gets a wrong
/// byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_flipped_bit_is_found_and_made_good() {
    let (house, mut drawn) = (House::new().await, Drawn(7));
    let mut objects = Vec::new();
    for number in 0..100 {
        let size = if number % 5 == 0 { 70_000 + drawn.next(600_000) } else { 1 + drawn.next(60_000) };
        let (key, text) = (format!("{number:03}"), drawn.text(size as usize));
        house.put(&key, &text).await;
        objects.push((key, text));
    }
    house.copy_all().await;
    assert_eq!(house.scrub("one").await, (100, 0, 0), "nothing is wrong yet");
    for (key, _) in &objects {
        house.flip(key, "one", &mut drawn).await;
    }
    let would = house.namespace.plan(&Order::Scrub { silo: "one".to_owned() }).await.unwrap();
    let bytes = objects.iter().map(|(_, text)| text.len() as u64).sum();
    assert_eq!(would, PlanSummary { objects: 100, bytes, ..PlanSummary::default() });
    assert_eq!(house.scrub("two").await, (100, 0, 0));
    assert_eq!(house.scrub("one").await, (100, 100, 100));
    let damage = house.namespace.damage().await.unwrap();
    assert_eq!(damage.len(), 100);
    assert!(damage.iter().all(|one| one.done == Done::Repaired && one.flaw == Flaw::Rotten && one.silo == "one"));
    for (key, text) in &objects {
        assert_eq!(house.read(key).await.as_ref(), Ok(text), "{key}");
        assert!(damage.iter().any(|one| one.key.as_ref() == Some(key)), "{key} is named");
    }
    assert_eq!(house.scrub("one").await, (100, 0, 0));
    house.is_well().await;
}

/// A file that is gone and one that was cut are made good; of what is bad on both disks the error is honest, and told until it is
/// deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_made_good_and_what_is_nowhere_whole_is_told() {
    let (house, mut drawn) = (House::new().await, Drawn(11));
    let text = drawn.text(300_000);
    for key in ["gone", "cut", "both", "well"] {
        house.put(key, &text).await;
    }
    for key in ["small-both", "small-well"] {
        house.put(key, &text[..1000]).await;
    }
    house.copy_all().await;
    std::fs::remove_file(house.file("gone", "one").await.0).unwrap();
    change(&house.file("cut", "one").await.0, |bytes| bytes.truncate(100_000));
    for silo in ["one", "two"] {
        for key in ["both", "small-both"] {
            let (path, range) = house.file(key, silo).await;
            flip_at(&path, if key == "both" { 1000 } else { range.end - 10 }, &mut drawn);
        }
    }
    assert_eq!(house.scrub("one").await, (6, 4, 2));
    assert_eq!(house.scrub("two").await, (6, 2, 0));
    let mut left: Vec<_> = house.left().await.into_iter().map(|one| (one.key.unwrap(), one.silo, one.flaw)).collect();
    left.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    let row = |key: &str, silo: &str| (key.to_owned(), silo.to_owned(), Flaw::Rotten);
    assert_eq!(left, [row("both", "one"), row("both", "two"), row("small-both", "one"), row("small-both", "two")]);
    assert_eq!(house.namespace.damage_left().await, Ok(4));
    for key in ["gone", "cut", "well"] {
        assert_eq!(house.read(key).await.as_ref(), Ok(&text), "{key}");
    }
    let missing = house.namespace.damage().await.unwrap().into_iter().find(|one| one.flaw == Flaw::Missing).unwrap();
    assert_eq!((missing.key.as_deref(), missing.done), (Some("gone"), Done::Repaired), "named by the other copy");
    for key in ["both", "small-both"] {
        let error = house.read(key).await.unwrap_err();
        assert!(error.contains("does not match"), "{error}");
        house.namespace.delete(&house.bucket, &key.parse().unwrap(), Condition::default()).await.unwrap();
    }
    assert_eq!(house.namespace.damage_left().await, Ok(0), "what is gone is not damaged");
    house.is_well().await;
}

/// A GET went around a damaged copy for years, until the other one broke as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_reader_meets_is_made_good_at_once() {
    let (house, mut drawn) = (House::new().await, Drawn(13));
    let text = drawn.text(300_000);
    house.put("a", &text).await;
    house.copy_all().await;
    flip_at(&house.file("a", "one").await.0, 1000, &mut drawn);
    for _ in 0..2000 {
        assert_eq!(house.read("a").await.as_ref(), Ok(&text));
        if house.namespace.damage().await.unwrap().iter().any(|one| one.done == Done::Repaired) {
            house.is_well().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing was made good: {:?}", house.namespace.damage().await);
}

/// Where a silo took nothing, a bad copy was given up, and with it the blocks of it that were nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_copy_stays_as_long_as_no_good_one_takes_its_place() {
    let house = House::with(Arc::new(SystemClock::new()), "memory:scrub-full-", None).await;
    let silo = Blobs::named("scrub-full-one");
    let text = Drawn(17).text(300_000);
    house.put("a", &text).await;
    house.copy_all().await;
    let rots = |name: &String| silo.peek(name).is_some_and(|bytes| bytes.len() == text.len());
    let name = silo.names().into_iter().find(rots).unwrap();
    let mut bytes = silo.peek(&name).unwrap().to_vec();
    bytes[1000] ^= 1;
    silo.plant(&name, bytes, b"");
    silo.limit(0);
    assert_eq!(house.scrub("one").await, (1, 1, 0));
    let left = house.left().await;
    assert!(left.len() == 1 && left[0].reason.contains("not replaced: silo `one`: the silo is full"), "{left:?}");
    let replicas = house.namespace.where_is(&house.bucket.name, &"a".parse().unwrap()).await.unwrap();
    let held: Vec<_> = replicas.iter().filter(|replica| replica.state == "verified").collect();
    assert_eq!(held.len(), 2, "nothing is given up");
    assert_eq!(house.read("a").await.as_ref(), Ok(&text));
}

/// A replica that was found damaged and is well again stayed in the list for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_well_again_is_not_damaged() {
    let house = House::new().await;
    house.put("a", &Drawn(19).text(300_000)).await;
    let (path, _) = house.file("a", "one").await;
    let whole = std::fs::read(&path).unwrap();
    change(&path, |bytes| bytes[1000] ^= 1);
    assert_eq!(house.scrub("one").await, (1, 1, 0));
    assert_eq!(house.namespace.damage_left().await, Ok(1));
    change(&path, |bytes| *bytes = whole);
    assert_eq!(house.scrub("one").await, (1, 0, 0));
    assert_eq!(house.namespace.damage().await.unwrap(), []);
}

/// Nobody orders it.
#[tokio::test]
async fn a_silo_is_scrubbed_by_itself_when_it_is_due() {
    let clock = Arc::new(TestClock::default());
    let scrub = ScrubOptions { every: Duration::from_mins(5), pace: Pace::default(), budget: None };
    let house = House::with(Arc::<TestClock>::clone(&clock), "memory:scrub-due-", Some(scrub)).await;
    clock.run(house.put("a", "text")).await;
    clock.pass(Duration::from_mins(4)).await;
    assert_eq!(house.namespace.jobs().await.unwrap(), []);
    clock.pass(Duration::from_mins(4)).await;
    let jobs = house.namespace.jobs().await.unwrap();
    let orders: Vec<String> = jobs.iter().map(|job| job.order.to_string()).collect();
    assert_eq!(orders, ["scrub two", "scrub one"]);
    let never = SetSilo { scrub: Some(0), ..SetSilo::default() };
    clock.run(house.namespace.set_silo("one", &never, false)).await.unwrap();
    let often = SetSilo { scrub: Some(60), ..SetSilo::default() };
    assert!(clock.run(house.namespace.set_silo("two", &often, false)).await.is_err(), "once an hour is enough");
    clock.pass(Duration::from_mins(6)).await;
    let orders: Vec<String> = house.namespace.jobs().await.unwrap().iter().map(|job| job.order.to_string()).collect();
    assert_eq!(orders, ["scrub two", "scrub two", "scrub one"]);
    assert!(jobs.iter().all(|job| job.state == JobState::Done), "{jobs:?}");
}

/// Copies of five objects of a megabyte lie on `two`, where a megabyte costs 1 to be read.
async fn with_a_price(clock: &Arc<TestClock>, test: &str, budget: Option<&str>) -> House {
    let budget = budget.map(|budget| budget.parse().unwrap());
    let scrub = ScrubOptions { every: Duration::from_mins(50), pace: Pace::default(), budget };
    let house = House::with(Arc::<TestClock>::clone(clock), &format!("memory:scrub-{test}-"), Some(scrub)).await;
    for key in ["a", "b", "c", "d", "e"] {
        clock.run(house.put(key, &"x".repeat(1_000_000))).await;
    }
    clock.run(house.copy_all_on(clock)).await;
    let price: Price = serde_json::from_str(r#"{"retrieval": 1000}"#).unwrap();
    let set = SetSilo { price: Some(price), ..SetSilo::default() };
    clock.run(house.namespace.set_silo("two", &set, false)).await.unwrap();
    house
}

impl House {
    async fn copy_all_on(&self, clock: &TestClock) {
        let order = Order::Align { on: Scope::default() };
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        while self.namespace.job(job.id).await.unwrap().state == JobState::Running {
            clock.sleep(Duration::from_millis(100)).await;
        }
    }

    /// Scrubs of a silo, the latest first.
    async fn scrubs(&self, silo: &str) -> Vec<JobInfo> {
        let mut jobs = self.namespace.jobs().await.unwrap();
        jobs.retain(|job| job.order == Order::Scrub { silo: silo.to_owned() });
        jobs
    }
}

/// When the last hour of November begins by a clock of a test.
const LAST_HOUR: Duration = Duration::from_secs(1_388_800 - 3600);

async fn until(clock: &TestClock, moment: Duration) {
    clock.pass(moment.saturating_sub(clock.monotonic())).await;
}

#[tokio::test]
async fn what_costs_something_is_scrubbed_within_a_budget_and_goes_on_next_month() {
    let clock = Arc::new(TestClock::default());
    until(&clock, LAST_HOUR).await;
    let house = with_a_price(&clock, "budget", Some("3")).await;
    until(&clock, LAST_HOUR + Duration::from_mins(58)).await;
    let spent = async || {
        let told = house.namespace.scrub_budget().await.unwrap().unwrap();
        (told.spent.month, told.spent.money.to_string(), told.budget.to_string())
    };
    let two = house.scrubs("two").await;
    assert_eq!((two.len(), two[0].state, two[0].moved_objects), (1, JobState::Running, 3), "{two:?}");
    assert_eq!(two[0].error.as_deref(), Some("the budget of scrubs by themselves, 3 a month, is spent"));
    assert_eq!(spent().await, ("2023-11".to_owned(), "3".to_owned(), "3".to_owned()));
    let one = house.scrubs("one").await;
    assert_eq!((one.len(), one[0].state), (1, JobState::Done), "what costs nothing waits for no money: {one:?}");
    // Somebody who orders it is not asked.
    let order = clock.run(house.namespace.start_job(Order::Scrub { silo: "two".to_owned() }, Pace::default())).await;
    assert!(order.is_err(), "it is under way: {order:?}");
    until(&clock, LAST_HOUR + Duration::from_mins(62)).await;
    let two = house.scrubs("two").await;
    assert_eq!((two.len(), two[0].state, two[0].moved_objects), (1, JobState::Done, 5), "{two:?}");
    assert_eq!((two[0].failed, two[0].error.clone()), (0, None));
    assert_eq!(spent().await, ("2023-12".to_owned(), "2".to_owned(), "3".to_owned()));
    // The next one has one left, and what is ordered asks nobody.
    let order = Order::Scrub { silo: "two".to_owned() };
    clock.run(house.namespace.start_job(order, Pace::default())).await.unwrap();
    until(&clock, LAST_HOUR + Duration::from_mins(64)).await;
    assert_eq!(house.scrubs("two").await[0].state, JobState::Done);
    assert_eq!(spent().await.1, "2");
    until(&clock, LAST_HOUR + Duration::from_mins(118)).await;
    let two = house.scrubs("two").await;
    assert_eq!((two[0].state, two[0].moved_objects, spent().await.1), (JobState::Running, 1, "3".to_owned()));
}

#[tokio::test]
async fn what_costs_something_is_left_out_without_a_budget() {
    let clock = Arc::new(TestClock::default());
    let house = with_a_price(&clock, "unpaid", None).await;
    until(&clock, Duration::from_mins(55)).await;
    assert_eq!((house.scrubs("one").await.len(), house.scrubs("two").await.len()), (1, 0));
    assert_eq!(house.namespace.scrub_budget().await.unwrap(), None);
    assert_eq!(house.namespace.outlook(&Scope::default(), None).await.unwrap().costs.upkeep, []);
    // One that says how often is scrubbed all the same.
    let hourly = SetSilo { scrub: Some(3600), ..SetSilo::default() };
    clock.run(house.namespace.set_silo("two", &hourly, false)).await.unwrap();
    until(&clock, Duration::from_mins(65)).await;
    let two = house.scrubs("two").await;
    assert_eq!((two.len(), two[0].state, two[0].moved_objects), (1, JobState::Done, 5), "{two:?}");
}

/// A budget that is taken away takes its scrubs with it: none goes on as if it cost nothing.
#[tokio::test]
async fn without_its_budget_a_scrub_that_waits_ends() {
    let clock = Arc::new(TestClock::default());
    let house = with_a_price(&clock, "taken", Some("3")).await;
    until(&clock, Duration::from_mins(55)).await;
    let waits = house.scrubs("two").await.remove(0);
    assert_eq!((waits.state, waits.moved_objects), (JobState::Running, 3), "{waits:?}");
    clock.run(house.namespace.close()).await;
    let scrub = ScrubOptions { every: Duration::from_hours(1), pace: Pace::default(), budget: None };
    let options = Options { base: house.folder.path().to_owned(), scrub: Some(scrub), ..support::options() };
    let clock_again = Arc::<TestClock>::clone(&clock);
    let again = Namespace::open(Arc::clone(&house.engine), clock_again, options, true);
    let house = House { namespace: clock.run(again).await.unwrap(), ..house };
    house.namespace.start_background();
    clock.pass(Duration::from_mins(2)).await;
    let ended = house.scrubs("two").await.remove(0);
    assert_eq!(ended.error.as_deref(), Some("silo `two` is scrubbed by order alone now"));
    assert_eq!((ended.id, ended.state, ended.moved_objects), (waits.id, JobState::Failed, 3), "{ended:?}");
}

/// What a plan says that scrubs cost a month is what they then set aside.
#[tokio::test]
async fn a_plan_says_what_scrubs_then_set_aside() {
    let clock = Arc::new(TestClock::default());
    let house = with_a_price(&clock, "planned", Some("100000")).await;
    for number in 0..20 {
        clock.run(house.put(&format!("small/{number}"), &"y".repeat(1000))).await;
    }
    clock.run(house.copy_all_on(&clock)).await;
    let planned = house.namespace.outlook(&Scope::default(), None).await.unwrap().costs;
    until(&clock, Duration::from_mins(55)).await;
    assert_eq!(house.scrubs("two").await.len(), 1);
    let spent = house.namespace.scrub_budget().await.unwrap().unwrap().spent.money;
    let told = planned.upkeep.iter().map(|one| (one.silo.as_str(), one.what, one.month_before, one.month_after));
    // 864 times a month.
    let month = spent.part(864, 1);
    assert_eq!(told.collect::<Vec<_>>(), [("two", Chore::Scrub, month, month)]);
    assert!(spent > "5.02".parse().unwrap(), "small ones are read, too: {spent}");
}
