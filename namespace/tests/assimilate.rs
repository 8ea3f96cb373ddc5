//! What others put into a folder, as a client would see it: taken over in place, followed, moved, and never touched.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use holdall_namespace::assimilate::{Assimilate, AssimilateError, Noted, Reorder, RootInfo};
use holdall_namespace::bucket::{Bucket, BucketError};
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::fault::Fault;
use holdall_namespace::get::{GetError, Opened};
use holdall_namespace::inventory::{Access, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::list::{Line, List};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, ETags, Headers};
use holdall_namespace::price::Price;
use holdall_namespace::put::PutError;
use holdall_namespace::remove_silo::RemoveSiloError;
use holdall_namespace::scrub::ScrubOptions;
use holdall_namespace::table::{key as tables, names};
use holdall_namespace::{Namespace, Options};

#[path = "assimilate/bucket.rs"]
mod bucket;
#[path = "assimilate/gone.rs"]
mod gone;
#[path = "assimilate/hash.rs"]
mod hash;
#[path = "support/held.rs"]
mod held;
#[path = "assimilate/labels.rs"]
mod labels;
#[path = "assimilate/told.rs"]
mod told;

mod support;

/// A gateway's core with a silo of its own, and a folder of others'.
struct House {
    namespace: Arc<Namespace>,
    bucket: Bucket,
    folder: tempfile::TempDir,
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn order(every_seconds: u64) -> Assimilate {
    Assimilate {
        silo: "nas".to_owned(),
        prefix: String::new(),
        bucket: "photos".parse().unwrap(),
        into: "in/".to_owned(),
        partial_lists: false,
        without: Vec::new(),
        rate: None,
        every_seconds,
        watch: false,
        write: false,
    }
}

impl House {
    async fn new(test: &str, files: &[(&str, &str)]) -> Self {
        Self::over(Arc::new(Memory::new()), test, files).await
    }

    async fn over(engine: Arc<dyn Engine>, test: &str, files: &[(&str, &str)]) -> Self {
        Self::with(engine, test, files, None, None).await
    }

    /// What lies there has a price, and reading by itself a budget.
    async fn with(
        engine: Arc<dyn Engine>,
        test: &str,
        files: &[(&str, &str)],
        price: Option<Price>,
        scrub: Option<ScrubOptions>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("nas")).unwrap();
        let options = Options { pack_up_to: 64 << 10, scrub, ..support::options() };
        let namespace = Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap();
        let nas = DeclaredSilo {
            price,
            access: Access::ReadOnly,
            ..DeclaredSilo::own(format!("file://{}", folder.path().join("nas").display()))
        };
        let own = |name: &str| DeclaredSilo::own(format!("memory:assimilate-{test}-{name}"));
        let silos = [("hot", own("hot")), ("cold", own("cold")), ("nas", nas)];
        let silos = silos.map(|(name, silo)| (name.to_owned(), silo)).into();
        let write = WritePolicy { to: vec![WriteTarget { silo: "hot".to_owned(), min_size: 0, max_size: None }] };
        namespace.apply(&Declared { silos, write: Some(write), ..Declared::default() }, false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
        let house = Self { namespace, bucket, folder };
        for (name, text) in files {
            house.write(name, text);
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("nas").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Begins the work that runs beside requests.
    async fn start(&self, order: Assimilate) -> RootInfo {
        let root = self.namespace.assimilate(order).await.unwrap();
        self.namespace.start_background();
        root
    }

    async fn taken_over(test: &str, files: &[(&str, &str)]) -> Self {
        let house = Self::new(test, files).await;
        let root = house.start(order(1)).await;
        house.until(root.id, |root| root.complete).await;
        house
    }

    async fn until(&self, id: u32, what: impl Fn(&RootInfo) -> bool) -> RootInfo {
        support::root_until(&self.namespace, id, what).await
    }

    /// Until two passes more ended: the first may have begun before.
    async fn passed(&self) -> RootInfo {
        support::root_passed(&self.namespace, 1).await
    }

    async fn open(&self, name: &str) -> Result<Opened, GetError> {
        self.namespace.open_object(&self.bucket, &key(name)).await
    }

    async fn get(&self, name: &str) -> Result<String, GetError> {
        support::text(&self.open(name).await?).await
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        support::keys(&self.namespace, &self.bucket, prefix).await
    }

    async fn put(&self, name: &str, text: &str, condition: Condition) -> Result<String, PutError> {
        support::put(&self.namespace, &self.bucket, name, text, Headers::default(), condition).await
    }

    async fn delete(&self, name: &str) {
        self.namespace.delete(&self.bucket, &key(name), Condition::default()).await.unwrap();
    }

    async fn drain(&self, to: &str) {
        let order = Order::Drain { from: "nas".to_owned(), to: to.to_owned() };
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        for _ in 0..600 {
            let now = self.namespace.job(job.id).await.unwrap();
            assert_ne!(now.state, JobState::Failed, "{now:?}");
            if now.state != JobState::Running {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the drain did not end: {:?}", self.namespace.job(job.id).await);
    }

    /// Every file with its bytes, times and inode, as they lie there.
    fn tree(&self) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime, u64)> {
        use std::os::unix::fs::MetadataExt;
        let (mut all, mut left) = (BTreeMap::new(), vec![self.path("")]);
        while let Some(folder) = left.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    let found = std::fs::metadata(&path).unwrap();
                    all.insert(path.clone(), (std::fs::read(&path).unwrap(), found.modified().unwrap(), found.ino()));
                }
            }
        }
        all
    }
}

#[tokio::test]
async fn files_become_objects_where_they_lie() {
    let house = House::new("files", &[("a", "first"), ("b/c", "second"), ("empty", "")]).await;
    let before = house.tree();
    let survey = house.namespace.survey(&order(60)).await.unwrap();
    assert_eq!((survey.names, survey.bytes, survey.complete), (3, 11, true));
    let root = house.start(order(60)).await;
    let root = house.until(root.id, |root| root.complete).await;
    assert_eq!((root.counts.names, root.counts.made, root.counts.bytes), (3, 3, 11));
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/b/c", "in/empty"]);
    for (name, text) in [("in/a", "first"), ("in/b/c", "second"), ("in/empty", "")] {
        assert_eq!(house.get(name).await.unwrap(), text);
    }
    let object = house.open("in/a").await.unwrap().object;
    let modified = std::fs::metadata(house.path("a")).unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    assert_eq!((object.modified, object.parts), (modified, None));
    assert!(object.etag.len() != 32 && !object.headers.user.is_empty(), "{object:?}");
    let pieces: Vec<Bytes> = house.open("in/b/c").await.unwrap().read(2..5).await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), b"con");
    let used = house.namespace.silos().await.unwrap().into_iter().find(|silo| silo.name == "nas").unwrap();
    assert_eq!((used.extents, used.used), (2, 11), "an empty file has no bytes");
    let checked = house.namespace.check(true, &mut |finding| panic!("{finding:?}")).await.unwrap();
    assert_eq!((checked.objects, checked.findings), (3, 0));
    assert_eq!(house.tree(), before);
}

#[tokio::test]
async fn what_is_no_key_is_listed_as_refused_and_disturbs_nothing() {
    let house = House::new("refused", &[("a", "x")]).await;
    let strange = house.path("").join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
    std::fs::write(strange, "y").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", house.path("out")).unwrap();
    let root = house.start(order(60)).await;
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/a"]);
    let refused = house.namespace.refused_names(root.id, "", 10).await.unwrap();
    let told: Vec<(&str, &str)> = refused.iter().map(|noted| (&*noted.name, &*noted.reason)).collect();
    assert_eq!(told, [("caf\u{fffd}", "the name is not UTF-8"), ("out", "a link that leads out of the folder")]);
}

/// A GET of a name that no pass came to yet answered 404 though the file was there.
#[tokio::test]
async fn a_key_is_looked_for_before_any_pass() {
    let house = House::new("seek", &[("a", "first")]).await;
    house.namespace.assimilate(order(60)).await.unwrap();
    assert_eq!(house.get("in/a").await.unwrap(), "first");
    assert!(matches!(house.get("in/none").await, Err(GetError::NoSuchKey)));
    // For a while it is believed that it is not there.
    house.write("none", "late");
    assert!(matches!(house.get("in/none").await, Err(GetError::NoSuchKey)));
    assert!(matches!(house.get("elsewhere").await, Err(GetError::NoSuchKey)));
    let exists = Condition { if_none_match: Some(ETags::Any), ..Condition::default() };
    house.write("b", "there");
    assert!(matches!(house.put("in/b", "mine", exists).await, Err(PutError::Condition(_))));
}

/// `a//b` names the same file as `a/b`: a GET of it made a second object, which no pass ever saw, and after eleven of them
/// nothing was ever taken away again.
#[tokio::test]
async fn a_name_that_no_pass_gives_is_none() {
    let house = House::new("ghost", &[("a/b", "x")]).await;
    std::os::unix::fs::symlink("a", house.path("c")).unwrap();
    house.namespace.assimilate(order(60)).await.unwrap();
    for ghost in ["in/a//b", "in/./a/b", "in/a/../a/b", "in//a/b", "in/c/b"] {
        assert!(matches!(house.get(ghost).await, Err(GetError::NoSuchKey)), "{ghost}");
    }
    assert_eq!(house.get("in/a/b").await.unwrap(), "x");
}

/// The NAS was not mounted for a moment, and a key that was asked for meanwhile was said not to be there.
#[tokio::test]
async fn nothing_is_missing_while_the_silo_is_away() {
    let house = House::new("away", &[("a", "x")]).await;
    house.namespace.assimilate(order(60)).await.unwrap();
    let (at, away) = (house.path(""), house.folder.path().join("away"));
    std::fs::rename(&at, &away).unwrap();
    std::fs::create_dir(&at).unwrap();
    assert!(matches!(house.get("in/a").await, Err(GetError::Fault(Fault::Unavailable(_)))));
    let deleted = house.namespace.delete(&house.bucket, &key("in/a"), Condition::default()).await;
    assert!(deleted.is_err(), "what is not seen cannot be deleted: {deleted:?}");
    std::fs::remove_dir(&at).unwrap();
    std::fs::rename(&away, &at).unwrap();
    assert_eq!(house.get("in/a").await.unwrap(), "x");
}

/// It was believed for a while that a file was not there, by a DELETE too: the pass that came then brought the key back.
#[tokio::test]
async fn a_delete_looks_for_itself() {
    let house = House::new("fresh", &[]).await;
    let root = house.namespace.assimilate(order(60)).await.unwrap();
    assert!(matches!(house.get("in/a").await, Err(GetError::NoSuchKey)));
    house.write("a", "x");
    house.delete("in/a").await;
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.keys("").await.unwrap(), Vec::<String>::new());
}

/// Broken links that are cleaned up are no objects that go: nobody has to confirm them.
#[tokio::test]
async fn what_was_no_object_goes_without_asking() {
    let house = House::new("links", &[("a", "x")]).await;
    for number in 0..30 {
        std::os::unix::fs::symlink("nowhere", house.path(&format!("link-{number}"))).unwrap();
    }
    let root = house.start(order(1)).await;
    house.until(root.id, |root| root.complete).await;
    for number in 0..30 {
        std::fs::remove_file(house.path(&format!("link-{number}"))).unwrap();
    }
    let root = house.passed().await;
    assert_eq!((root.gone, root.problem), (0, None));
    assert!(house.namespace.refused_names(root.id, "", 100).await.unwrap().is_empty());
}

/// A key was deleted while the first pass was still on its way, and came back when it arrived.
#[tokio::test]
async fn what_was_deleted_or_written_before_the_pass_stays_so() {
    let house = House::new("before", &[("deleted", "x"), ("written", "old"), ("left", "y")]).await;
    let root = house.namespace.assimilate(order(60)).await.unwrap();
    house.delete("in/deleted").await;
    house.put("in/written", "new", Condition::default()).await.unwrap();
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/left", "in/written"]);
    assert_eq!(house.get("in/written").await.unwrap(), "new");
    assert_eq!(house.tree().len(), 3, "the files are as they were");
}

/// Half a list is how programs that copy by lists delete what the other half has.
#[tokio::test]
async fn a_list_waits_until_its_names_were_seen() {
    let house = House::new("list", &[("a/1", "x"), ("a/2", "x"), ("b/1", "x")]).await;
    house.namespace.assimilate(order(60)).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), house.keys("in/a/")).await;
    assert!(early.is_err(), "nobody passes yet: {early:?}");
    house.namespace.start_background();
    assert_eq!(house.keys("in/a/").await.unwrap(), ["in/a/1", "in/a/2"]);
    assert_eq!(house.keys("").await.unwrap(), ["in/a/1", "in/a/2", "in/b/1"]);
    assert_eq!(house.keys("other/").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn changes_behind_our_back_are_followed() {
    let house = House::taken_over("follow", &[("a", "one"), ("b", "two"), ("c", "three")]).await;
    let old = house.open("in/a").await.unwrap();
    house.write("a", "ONE");
    std::fs::remove_file(house.path("b")).unwrap();
    house.write("d", "four");
    house.passed().await;
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/c", "in/d"]);
    assert_eq!(house.get("in/a").await.unwrap(), "ONE");
    assert_eq!(house.get("in/d").await.unwrap(), "four");
    assert_ne!(house.open("in/a").await.unwrap().object.etag, old.object.etag);
    // Never a mixture: who began to read the old one gets its bytes or an error.
    assert!(old.read(0..3).await.is_err());
    let report = house.namespace.usage().await.unwrap();
    assert_eq!(report.buckets[0].2.objects, 3);
}

/// A read finds out at once; the next one serves what is there.
#[tokio::test]
async fn a_read_of_what_was_changed_fails_and_the_next_one_serves_it() {
    let house = House::new("again", &[("a", "one")]).await;
    let root = house.start(order(3600)).await;
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.get("in/a").await.unwrap(), "one");
    house.write("a", "two");
    assert!(matches!(house.get("in/a").await, Err(GetError::Fault(Fault::Unavailable(_)))));
    assert_eq!(house.get("in/a").await.unwrap(), "two");
    std::fs::remove_file(house.path("a")).unwrap();
    assert!(matches!(house.get("in/a").await, Err(GetError::Fault(Fault::Unavailable(_)))), "never a false 404");
}

#[tokio::test]
async fn a_key_that_was_written_or_deleted_follows_its_name_no_more() {
    let house = House::taken_over("hidden", &[("a", "one"), ("b", "two"), ("c", "three")]).await;
    house.put("in/a", "mine", Condition::default()).await.unwrap();
    house.delete("in/b").await;
    house.write("a", "theirs");
    house.write("b", "theirs");
    house.passed().await;
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/c"]);
    assert_eq!(house.get("in/a").await.unwrap(), "mine");
    std::fs::remove_file(house.path("a")).unwrap();
    house.passed().await;
    assert_eq!(house.get("in/a").await.unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(house.path("b")).unwrap(), "theirs");
}

/// A folder where nothing is mounted, or one that lost everything, is no reason to lose the objects.
#[tokio::test]
async fn many_or_all_names_do_not_go_without_asking() {
    let names: Vec<String> = (0..30).map(|n| format!("{n:02}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let house = House::taken_over("gone", &files).await;
    for name in &names[..20] {
        std::fs::remove_file(house.path(name)).unwrap();
    }
    let root = house.until(1, |root| root.gone > 0).await;
    assert_eq!(root.gone, 20);
    assert!(root.problem.unwrap().contains("holdall assimilate confirm 1"));
    assert_eq!(house.keys("").await.unwrap().len(), 30);
    house.namespace.confirm_root(1).await.unwrap();
    house.until(1, |root| root.gone == 0 && root.counts.removed == 20).await;
    assert_eq!(house.keys("").await.unwrap().len(), 10);
    // Another folder in its place.
    let (at, away) = (house.path(""), house.folder.path().join("away"));
    std::fs::rename(&at, &away).unwrap();
    std::fs::create_dir(&at).unwrap();
    let told = |root: &RootInfo| root.problem.as_ref().is_some_and(|problem| problem.contains("nas"));
    house.until(1, told).await;
    assert_eq!(house.keys("").await.unwrap().len(), 10);
    std::fs::remove_dir(&at).unwrap();
    std::fs::rename(&away, &at).unwrap();
    house.until(1, |root| root.problem.is_none()).await;
    assert_eq!(house.get("in/25").await.unwrap(), "x");
}

#[tokio::test]
async fn they_move_like_any_other_and_the_original_stays() {
    let large = "0123456789".repeat(60_000);
    let house = House::taken_over("move", &[("small", "tiny"), ("large", &large), ("empty", "")]).await;
    let before = house.tree();
    let tags: Vec<String> = ["in/small", "in/large"].map(str::to_owned).into();
    let mut seen = Vec::new();
    for name in &tags {
        let object = house.open(name).await.unwrap().object;
        seen.push((object.etag, object.modified, object.headers));
    }
    house.drain("hot").await;
    for (name, seen) in tags.iter().zip(seen) {
        let object = house.open(name).await.unwrap().object;
        assert_eq!((object.etag, object.modified, object.headers), seen, "{name}");
    }
    assert_eq!(
        (house.get("in/small").await.unwrap(), house.get("in/large").await.unwrap()),
        ("tiny".to_owned(), large)
    );
    house.passed().await;
    assert_eq!(house.keys("").await.unwrap(), ["in/empty", "in/large", "in/small"], "not taken for new");
    assert_eq!(house.tree(), before);
    // The originals may go now: the bytes are ours.
    std::fs::remove_file(house.path("small")).unwrap();
    let root = house.passed().await;
    assert_eq!((house.get("in/small").await.unwrap().as_str(), root.problem), ("tiny", None));
    let order = Order::Drain { from: "hot".to_owned(), to: "cold".to_owned() };
    house.namespace.start_job(order, Pace::default()).await.unwrap();
    let checked = house.namespace.check(true, &mut |finding| panic!("{finding:?}")).await.unwrap();
    assert_eq!(checked.findings, 0);
}

/// A copy of a file that others may change or delete was as good as lost.
#[tokio::test]
async fn a_copy_is_the_clients_own() {
    let house = House::taken_over("copy", &[("a", "one"), ("b", "two")]).await;
    support::copy(&house.namespace, &house.bucket, "in/a", "copy").await;
    std::fs::remove_file(house.path("a")).unwrap();
    house.passed().await;
    assert_eq!(house.get("copy").await.unwrap(), "one");
    assert_eq!(house.keys("").await.unwrap(), ["copy", "in/b"]);
}

#[tokio::test]
async fn roots_do_not_overlap_and_silos_of_ours_are_none() {
    let house = House::new("overlap", &[("a/b", "x")]).await;
    house.namespace.assimilate(order(60)).await.unwrap();
    let again = Assimilate { prefix: "a/".to_owned(), into: "out/".to_owned(), ..order(60) };
    assert!(matches!(house.namespace.assimilate(again).await, Err(AssimilateError::Overlaps { other: 1, .. })));
    let own = Assimilate { silo: "hot".to_owned(), ..order(60) };
    assert_eq!(house.namespace.assimilate(own).await, Err(AssimilateError::Own("hot".to_owned())));
    let none =
        Assimilate { bucket: "nobody".parse().unwrap(), into: String::new(), prefix: "z".to_owned(), ..order(60) };
    assert!(house.namespace.assimilate(none).await.is_err());
    assert_eq!(house.namespace.delete_bucket(&house.bucket).await, Err(BucketError::NotEmpty));
    house.namespace.set_cordon("nas", true).await.unwrap();
    assert!(matches!(house.namespace.remove_silo("nas").await, Err(RemoveSiloError::InRoot { root: 1, .. })));
}

/// A root that was forgotten and ordered again makes nothing twice, and follows again.
#[tokio::test]
async fn a_root_can_be_forgotten_and_ordered_again() {
    let house = House::taken_over("forget", &[("a", "one"), ("b", "two")]).await;
    house.namespace.forget_root(1).await.unwrap();
    assert_eq!(house.get("in/a").await.unwrap(), "one");
    house.write("b", "changed while nobody looked");
    assert!(house.namespace.roots().await.unwrap().is_empty());
    let root = house.namespace.assimilate(order(1)).await.unwrap();
    let root = house.until(root.id, |root| root.complete).await;
    assert_eq!(root.counts.made, 0);
    house.write("a", "changed");
    let passes = house.namespace.root(root.id).await.unwrap().passes;
    house.until(root.id, |root| root.passes >= passes + 2).await;
    assert_eq!(house.get("in/a").await.unwrap(), "changed");
    assert_eq!(house.get("in/b").await.unwrap(), "changed while nobody looked");
}

/// Names of a root were still being forgotten when another root was ordered for them and took them over: what the new one
/// knew of them was forgotten as well, and a key that was deleted since came back.
#[tokio::test]
async fn what_a_newer_root_knows_is_not_forgotten_with_an_older_one() {
    let engine = Arc::new(held::Held::default());
    let house = House::over(Arc::clone(&engine) as Arc<dyn Engine>, "newer", &[("a", "one"), ("b", "two")]).await;
    let root = house.start(order(3600)).await;
    house.until(root.id, |root| root.complete).await;
    engine.hold_next();
    let forget = house.namespace.forget_root(root.id);
    let newer = async {
        engine.came().await;
        let root = house.namespace.assimilate(order(1)).await.unwrap();
        house.until(root.id, |root| root.complete).await;
        house.delete("in/a").await;
        engine.let_go();
        root
    };
    let (forgotten, root) = tokio::join!(forget, newer);
    forgotten.unwrap();
    let passes = house.namespace.root(root.id).await.unwrap().passes;
    house.until(root.id, |root| root.passes >= passes + 2).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/b"]);
}

/// Names of which a newer root has a part were forgotten with the older root: of the rest nothing is left.
#[tokio::test]
async fn names_that_no_root_has_are_forgotten_beside_those_of_a_newer_one() {
    let engine = Arc::new(held::Held::default());
    let files = [("a", "one"), ("part/b", "two"), ("z", "three")];
    let house = House::over(Arc::clone(&engine) as Arc<dyn Engine>, "part", &files).await;
    let root = house.start(order(3600)).await;
    house.until(root.id, |root| root.complete).await;
    engine.hold_next();
    let forget = house.namespace.forget_root(root.id);
    let newer = async {
        engine.came().await;
        let part = Assimilate { prefix: "part/".to_owned(), into: "in/part/".to_owned(), ..order(3600) };
        let root = house.namespace.assimilate(part).await.unwrap();
        house.until(root.id, |root| root.complete).await;
        engine.let_go();
    };
    let (forgotten, ()) = tokio::join!(forget, newer);
    forgotten.unwrap();
    let rows = engine.range(vec![tables::ASSIMILATED]..vec![tables::ASSIMILATED + 1], 10, usize::MAX).await.unwrap();
    let names: Vec<_> = rows.iter().map(|(key, _)| names::read_name(key).unwrap()).collect();
    assert_eq!(names, [b"part/b"]);
}

#[tokio::test]
async fn a_list_by_delimiter_folds_what_was_taken_over() {
    let house = House::taken_over("lines", &[("a/b", "x"), ("a/c", "y"), ("d", "z")]).await;
    let list = List { prefix: "in/".to_owned(), delimiter: "/".to_owned(), limit: 10, ..List::default() };
    let page = house.namespace.list(&house.bucket, list).await.unwrap();
    let lines: Vec<&str> = page.lines.iter().map(Line::text).collect();
    assert_eq!(lines, ["in/a/", "in/d"]);
}
