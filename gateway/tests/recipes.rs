//! Each recipe of `docs/objectives.md` does what it says: the file is read as it stands there and declared over silos with the
//! names and labels that recipes use, and time is a test's.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall::config::parse;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::{Clock, SystemClock, UnixMs};
use holdall_namespace::engine::memory::Memory;
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::Pace;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::objective::{AlignOptions, Scope};
use holdall_namespace::put::{PutError, PutObject, Upload};
use holdall_namespace::{Namespace, Options};
use holdall_silos::memory::Memory as Blobs;

const DOCS: &str = include_str!("../../docs/objectives.md");

/// Silos that recipes name, each with the labels they mean.
const SILOS: &[(&str, &[(&str, &str)])] = &[
    ("hot", &[("site", "home"), ("region", "eu")]),
    ("nearline", &[("site", "away"), ("region", "eu")]),
    ("nas", &[("site", "nas")]),
    ("cloud-near-the-job", &[("class", "cloud"), ("site", "cloud")]),
    ("new", &[]),
    ("flash", &[]),
    ("disks", &[]),
    ("archive", &[("class", "archive")]),
    ("warm", &[("class", "warm")]),
    ("overseas", &[("region", "us")]),
];

/// The system's clock, and a calendar that a test turns.
struct Calendar(SystemClock, AtomicI64);

#[async_trait]
impl Clock for Calendar {
    fn now(&self) -> UnixMs {
        self.0.now() + self.1.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, time: Duration) {
        self.0.sleep(time).await;
    }
}

/// The file of the recipe whose words begin so.
fn recipe(words: &str) -> String {
    let (_, recipes) = DOCS.split_once("## Recipes").unwrap();
    let (_, from) = recipes.split_once(&format!("\n{words}")).unwrap_or_else(|| panic!("no recipe begins `{words}`"));
    let (_, file) = from.split_once("```toml\n").unwrap();
    file.split_once("```").unwrap().0.to_owned()
}

/// The name of a silo's bytes in memory.
fn stored(words: &str, silo: &str) -> String {
    format!("recipes-{words}-{silo}").replace(' ', "-")
}

struct House {
    test: &'static str,
    namespace: Arc<Namespace>,
    calendar: Arc<Calendar>,
    bucket: Bucket,
}

impl House {
    /// The recipe's objectives are in force; new objects of its bucket go to this silo where none says otherwise.
    async fn of(words: &'static str, bucket: &str, first: &str) -> Self {
        let file = parse(Path::new("recipe"), &recipe(words)).unwrap();
        let calendar = Arc::new(Calendar(SystemClock::new(), AtomicI64::new(0)));
        let align = AlignOptions { every: Duration::from_secs(1), pace: Pace::default(), budget: file.align.budget };
        let (base, seal_key) = ("/".into(), [7; 32]);
        let options = Options {
            base,
            seal_key,
            grace: Duration::ZERO,
            pack_up_to: 0,
            backup: None,
            align: Some(align),
            scrub: None,
        };
        let namespace = Namespace::open(Arc::new(Memory::new()), calendar.clone(), options, true).await.unwrap();
        let silo = |(name, labels): &(&str, &[(&str, &str)])| {
            let labels = labels.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
            (
                (*name).to_owned(),
                DeclaredSilo { labels, ..DeclaredSilo::own(format!("memory:{}", stored(words, name))) },
            )
        };
        let to = vec![WriteTarget { silo: first.to_owned(), min_size: 0, max_size: None }];
        let silos = SILOS.iter().map(silo).collect();
        let declared = Declared { silos, write: Some(WritePolicy { to }), ..Declared::default() };
        namespace.apply(&declared, false).await.unwrap();
        namespace.apply(&file.declared(), false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let bucket = namespace.create_bucket(&bucket.parse().unwrap(), 1).await.unwrap();
        namespace.start_background();
        Self { test: words, namespace, calendar, bucket }
    }

    fn blobs(&self, silo: &str) -> Arc<Blobs> {
        Blobs::named(&stored(self.test, silo))
    }

    fn pass_hours(&self, hours: i64) {
        self.calendar.1.fetch_add(hours * 3_600_000, Ordering::Relaxed);
    }

    fn pass_days(&self, days: i64) {
        self.pass_hours(24 * days);
    }

    async fn put_with(&self, key: &str, bytes: usize, class: Option<&str>, tag: Option<&str>) -> Result<(), PutError> {
        let pieces =
            (0..bytes.div_ceil(1 << 20)).map(move |at| Ok(Bytes::from(vec![7; (bytes - (at << 20)).min(1 << 20)])));
        let upload = Upload {
            body: stream::iter(pieces.collect::<Vec<_>>()).boxed(),
            size: bytes as u64,
            algorithm: None,
            verify: Box::new(|_| Ok(())),
        };
        let put = PutObject {
            bucket: &self.bucket,
            key: &key.parse().unwrap(),
            upload,
            headers: Headers::default(),
            tags: tag.map(|tag| (tag.to_owned(), String::new())).into_iter().collect(),
            storage_class: class.map(str::to_owned),
            condition: Condition::default(),
        };
        self.namespace.put(put).await.map(drop)
    }

    async fn put(&self, key: &str, bytes: usize) {
        self.put_with(key, bytes, None, None).await.unwrap();
    }

    async fn read(&self, key: &str) {
        let opened = self.namespace.open_object(&self.bucket, &key.parse().unwrap()).await.unwrap();
        let _: Vec<Bytes> = opened.read(0..opened.object.size).await.unwrap().try_collect().await.unwrap();
        self.namespace.write_heat_for_tests().await;
    }

    async fn silos(&self, key: &str) -> Vec<String> {
        let replicas = self.namespace.where_is(&self.bucket.name, &key.parse().unwrap()).await.unwrap();
        let verified = replicas.into_iter().filter(|replica| replica.state == "verified");
        let mut silos: Vec<String> = verified.map(|replica| replica.silo).collect();
        silos.sort();
        silos
    }

    /// Waits until an object is on these silos.
    async fn on(&self, key: &str, silos: &[&str]) {
        for _ in 0..1500 {
            if self.silos(key).await == silos {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} is on {:?} and not {silos:?}: {:?}", self.silos(key).await, self.namespace.alignment());
    }

    /// Waits until nothing waits or moves any more, and looks that an object is still on these.
    async fn stays_on(&self, key: &str, silos: &[&str]) {
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert_eq!(self.silos(key).await, silos, "{key}");
    }
}

/// Each recipe there is has a test below.
#[test]
fn every_recipe_is_tried() {
    let (_, recipes) = DOCS.split_once("## Recipes").unwrap();
    let own = include_str!("recipes.rs");
    let told: Vec<&str> = recipes.split("```toml\n").collect();
    let words = told[..told.len() - 1].iter().map(|before| before.trim_end().rsplit("\n\n").next().unwrap());
    let mut count = 0;
    for words in words {
        let known =
            own.lines().filter_map(|line| line.trim().strip_prefix("let house = House::of(\"")?.split('"').next());
        assert!(known.clone().any(|known| words.starts_with(known)), "no test begins a house by `{words}`");
        count += 1;
    }
    assert!(count >= 10, "{count} recipes");
}

#[tokio::test]
async fn nearline_after_thirty_days_and_back() {
    let house = House::of("Nearline after 30 days", "logs", "hot").await;
    house.put("a", 100).await;
    house.put("b", 100).await;
    house.pass_days(29);
    house.read("b").await;
    house.stays_on("a", &["hot"]).await;
    house.pass_days(2);
    house.on("a", &["nearline"]).await;
    house.stays_on("b", &["hot"]).await;
    house.read("a").await;
    house.stays_on("a", &["nearline"]).await;
    house.read("a").await;
    house.read("a").await;
    house.on("a", &["hot"]).await;
}

#[tokio::test]
async fn two_copies_on_two_sites_before_the_answer() {
    let house = House::of("Two copies on two sites", "ledgers", "hot").await;
    house.put("a", 100_000).await;
    let silos = house.silos("a").await;
    assert_eq!(silos.len(), 2, "at once");
    let site = |silo: &String| {
        SILOS.iter().find(|(name, _)| name == silo).unwrap().1.iter().find(|(label, _)| *label == "site")
    };
    assert_ne!(site(&silos[0]).unwrap(), site(&silos[1]).unwrap());
}

#[tokio::test]
async fn nothing_leaves_the_eu() {
    let house = House::of("Never out of the EU", "patients", "overseas").await;
    let silos = house.put_with("a", 100, None, None).await.map(drop);
    assert!(silos.is_err(), "the only silo of the policy is abroad: {silos:?}");
    let to = ["overseas", "hot"].map(|silo| WriteTarget { silo: silo.to_owned(), min_size: 0, max_size: None });
    let write = Some(WritePolicy { to: to.into() });
    house.namespace.apply(&Declared { write, ..Declared::default() }, false).await.unwrap();
    house.put("a", 100).await;
    house.stays_on("a", &["hot"]).await;
    assert_eq!(house.blobs("overseas").count(), 0);
}

#[tokio::test]
async fn a_second_copy_in_a_cloud() {
    let house = House::of("A second copy in a cloud", "house", "hot").await;
    house.put("a", 100).await;
    house.on("a", &["cloud-near-the-job", "hot"]).await;
}

#[tokio::test]
async fn what_a_job_reads_has_a_copy_near_it() {
    let house = House::of("Cloud burst", "datasets", "nas").await;
    house.put("a", 100).await;
    house.put("b", 100).await;
    house.read("a").await;
    house.on("a", &["cloud-near-the-job", "nas"]).await;
    house.stays_on("b", &["nas"]).await;
}

#[tokio::test]
async fn what_a_full_silo_has_no_room_for_overflows_into_a_cloud() {
    let house = House::of("Overflow", "scratch", "nas").await;
    house.put("old", 430_000).await;
    house.put("warm", 430_000).await;
    house.pass_days(8);
    house.read("warm").await;
    house.blobs("nas").limit(1_000_000);
    house.on("old", &["cloud-near-the-job"]).await;
    house.stays_on("warm", &["nas"]).await;
    for _ in 0..1500 {
        if house.blobs("nas").count() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    house.namespace.probe_silo("nas", 1).await.unwrap();
    house.put("more", 410_000).await;
    assert_eq!(house.silos("more").await, ["nas"], "there was room again");
    house.put("a", 1000).await;
    assert_eq!(house.silos("a").await, ["cloud-near-the-job"]);
    house.on("more", &["cloud-near-the-job"]).await;
    house.stays_on("warm", &["nas"]).await;
    house.stays_on("old", &["cloud-near-the-job"]).await;
}

#[tokio::test]
async fn a_part_goes_to_another_provider_and_back() {
    let house = House::of("Another provider", "photos", "hot").await;
    house.put("a", 100).await;
    house.on("a", &["new"]).await;
    let back = recipe("Another provider").replace("\"new\"", "\"hot\"");
    let back = parse(Path::new("back"), &back).unwrap().declared();
    house.namespace.apply(&back, false).await.unwrap();
    house.on("a", &["hot"]).await;
}

#[tokio::test]
async fn flash_is_never_full() {
    let house = House::of("Fill control", "any", "flash").await;
    let flash = house.blobs("flash");
    flash.limit(100_000);
    house.namespace.probe_silo("flash", 1024).await.unwrap();
    let hour = jiff::Timestamp::from_millisecond(house.calendar.now()).unwrap().strftime("%H").to_string();
    let until_noon = (24 + 12 - hour.parse::<i64>().unwrap()) % 24;
    house.pass_hours(until_noon);
    for at in 0..100 {
        // How full it is is asked now and then; what was written since is counted on top.
        if at == 70 {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        house.put(&at.to_string(), 1000).await;
        house.calendar.1.fetch_add(60_000, Ordering::Relaxed);
    }
    house.stays_on("0", &["flash"]).await;
    house.pass_hours(10);
    house.on("0", &["disks"]).await;
    let mut left = 0;
    for at in 0..70 {
        left += usize::from(house.silos(&at.to_string()).await == ["flash"]);
    }
    assert!((40..70).contains(&left), "{left} of the first 70 kB are left on 100");
    house.stays_on("69", &["flash"]).await;
}

#[tokio::test]
async fn moves_cost_no_more_than_the_budget() {
    let house = House::of("Budget cap", "any", "hot").await;
    let price = serde_json::from_str(r#"{"writes": 1000}"#).unwrap();
    let set = holdall_namespace::set_silo::SetSilo { price: Some(price), ..Default::default() };
    house.namespace.set_silo("archive", &set, false).await.unwrap();
    for at in 0..27 {
        house.put(&at.to_string(), 100).await;
    }
    house.pass_days(91);
    let mut waiting = 0;
    for _ in 0..500 {
        let told = house.namespace.alignment().unwrap_or_default();
        waiting = told.outlook.waits.iter().map(|waits| waits.amount.extents).sum();
        if told.moved >= 25 && waiting > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut moved = 0;
    for at in 0..27 {
        moved += usize::from(house.silos(&at.to_string()).await == ["archive"]);
    }
    assert_eq!((moved, waiting), (25, 2), "a dollar each");
}

#[tokio::test]
async fn storage_classes_say_where() {
    let house = House::of("Storage classes", "any", "hot").await;
    for (key, class, silo) in [
        ("a", None, "hot"),
        ("b", Some("STANDARD_IA"), "warm"),
        ("c", Some("ONEZONE_IA"), "warm"),
        ("d", Some("GLACIER_IR"), "archive"),
    ] {
        house.put_with(key, 100, class, None).await.unwrap();
        assert_eq!(house.silos(key).await, [silo], "{key} at once");
    }
}

#[tokio::test]
async fn large_and_old_goes_but_for_what_is_kept() {
    let house = House::of("Large and old to the archive", "projects", "hot").await;
    house.put("small", 100).await;
    house.put("large", (64 << 20) + 1).await;
    house.put_with("marked", (64 << 20) + 1, None, Some("keep")).await.unwrap();
    house.pass_days(7 * 26 + 1);
    house.on("large", &["archive"]).await;
    house.stays_on("marked", &["hot"]).await;
    assert_eq!(house.silos("small").await, ["hot"]);
}

#[tokio::test]
async fn small_from_flash_and_large_from_disks() {
    let house = House::of("What is small is served from flash", "images", "hot").await;
    house.put("small", 1000).await;
    house.put("large", 256 << 10).await;
    assert_eq!(house.silos("small").await, ["flash"]);
    assert_eq!(house.silos("large").await, ["disks"]);
    let planned = house.namespace.outlook(&Scope::default(), None).await.unwrap();
    assert_eq!((planned.moves.len(), planned.waits.len()), (0, 0));
}
