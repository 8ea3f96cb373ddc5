//! What S3 writes under a read-write root reaches the tree of others, and what they write meanwhile is never lost.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdall_namespace::assimilate::{Assimilate, AssimilateError, RootInfo};
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::get::GetError;
use holdall_namespace::inventory::{Access, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::PutError;
use holdall_namespace::{Namespace, Options};

mod support;

#[path = "project/storm.rs"]
mod storm;
#[path = "project/story.rs"]
mod story;

/// No two have the same silo in memory.
static HOUSES: AtomicU64 = AtomicU64::new(0);

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// A gateway's core with a silo of its own, and a tree that others write to as well.
struct House {
    namespace: Arc<Namespace>,
    engine: Arc<dyn Engine>,
    bucket: Bucket,
    folder: Arc<tempfile::TempDir>,
}

fn order() -> Assimilate {
    Assimilate {
        silo: "nas".to_owned(),
        prefix: String::new(),
        bucket: "photos".parse().unwrap(),
        into: "in/".to_owned(),
        partial_lists: false,
        without: Vec::new(),
        rate: None,
        every_seconds: 1,
        watch: false,
        write: true,
    }
}

async fn open(engine: Arc<dyn Engine>) -> Arc<Namespace> {
    let grace = Duration::from_millis(50);
    let options = Options { grace, pack_up_to: 64 << 10, ..support::options() };
    Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap()
}

impl House {
    async fn new(test: &str, files: &[(&str, &str)]) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        std::fs::create_dir(folder.path().join("nas")).unwrap();
        let engine: Arc<dyn Engine> = Arc::new(Memory::new());
        let namespace = open(Arc::clone(&engine)).await;
        let nas = DeclaredSilo {
            access: Access::ReadWrite,
            ..DeclaredSilo::own(format!("file://{}", folder.path().join("nas").display()))
        };
        let house = HOUSES.fetch_add(1, Ordering::Relaxed);
        let own = DeclaredSilo::own(format!("memory:project-{test}-{house}"));
        let silos = [("hot", own), ("nas", nas)].map(|(name, silo)| (name.to_owned(), silo)).into();
        let write = WritePolicy { to: vec![WriteTarget { silo: "hot".to_owned(), min_size: 0, max_size: None }] };
        namespace.apply(&Declared { silos, write: Some(write), ..Declared::default() }, false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
        let house = Self { namespace, engine, bucket, folder };
        for (name, text) in files {
            house.write(name, text);
        }
        house
    }

    /// Another life of the gateway, of which nothing runs beside requests yet.
    async fn reopen(&mut self) {
        self.namespace.close().await;
        self.namespace = open(Arc::clone(&self.engine)).await;
    }

    async fn taken_over(test: &str, files: &[(&str, &str)]) -> Self {
        let house = Self::new(test, files).await;
        let root = house.namespace.assimilate(order()).await.unwrap();
        house.namespace.start_background();
        house.until(root.id, |root| root.complete).await;
        house
    }

    async fn until(&self, id: u32, what: impl Fn(&RootInfo) -> bool) -> RootInfo {
        support::root_until(&self.namespace, id, what).await
    }

    /// Until two passes more ended: the first may have begun before.
    async fn passed(&self) {
        support::root_passed(&self.namespace, 1).await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("nas").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    async fn tree_has(&self, name: &str, text: Option<&str>) {
        for _ in 0..500 {
            if self.text(name).as_deref() == text {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.text(name).as_deref(), text, "{name}: {:?}", self.namespace.projected(1));
    }

    async fn put(&self, name: &str, text: &str) -> String {
        self.try_put(name, text, Condition::default()).await.unwrap()
    }

    async fn try_put(&self, name: &str, text: &str, condition: Condition) -> Result<String, PutError> {
        let headers = Headers { system: Vec::new(), user: vec![("note".to_owned(), "ours".to_owned())] };
        support::put(&self.namespace, &self.bucket, name, text, headers, condition).await
    }

    async fn delete(&self, name: &str) {
        self.namespace.delete(&self.bucket, &key(name), Condition::default()).await.unwrap();
    }

    async fn get(&self, name: &str) -> Result<String, GetError> {
        support::text(&self.namespace.open_object(&self.bucket, &key(name)).await?).await
    }

    async fn etag(&self, name: &str) -> String {
        self.namespace.head(&self.bucket, &key(name)).await.unwrap().etag
    }

    async fn keys(&self) -> Vec<String> {
        support::keys(&self.namespace, &self.bucket, "").await.unwrap()
    }

    /// Nothing is left of attempts.
    async fn is_clean(&self) {
        for _ in 0..600 {
            if self.attempts().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("left: {:?}", self.attempts());
    }

    fn to_hot(&self) -> Order {
        Order::Place { bucket: self.bucket.name.clone(), prefix: String::new(), on: "hot".into() }
    }

    /// All that lies in place is moved away, and nobody reads it there any more.
    async fn moved_to_hot(&self) {
        let job = self.namespace.start_job(self.to_hot(), Pace::default()).await.unwrap();
        while self.namespace.job(job.id).await.unwrap().state != JobState::Done {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..500 {
            let used = self.namespace.usage().await.unwrap();
            if used.silos.iter().all(|(name, used)| name != "nas" || used.objects == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("retired replicas stay");
    }

    /// Folders of attempts.
    fn attempts(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.path(".holdall").join(self.namespace.id())).into_iter().flatten().flatten();
        all.map(|entry| entry.path()).collect()
    }
}

#[tokio::test]
async fn what_s3_writes_and_deletes_reaches_the_tree() {
    let house = House::taken_over("reaches", &[("a/one", "first"), ("two", "kept"), ("three", "goes")]).await;
    let tag = house.put("in/a/one", "second").await;
    house.put("in/new/deep/file", "made by S3").await;
    house.put("elsewhere", "not of the root").await;
    house.delete("in/three").await;
    house.tree_has("a/one", Some("second")).await;
    house.tree_has("new/deep/file", Some("made by S3")).await;
    house.tree_has("three", None).await;
    house.passed().await;
    assert_eq!(house.keys().await, ["elsewhere", "in/a/one", "in/new/deep/file", "in/two"]);
    let object = house.namespace.head(&house.bucket, &key("in/a/one")).await.unwrap();
    assert_eq!((object.etag, object.headers.user.len()), (tag, 1), "it stays the version that S3 wrote");
    let modified = std::fs::metadata(house.path("a/one")).unwrap().modified().unwrap();
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    assert_eq!(modified, object.modified as u128);
    house.is_clean().await;
    assert_eq!(house.namespace.conflicts(1, "", 10).await.unwrap(), []);
    house.put("in/a/one", "third").await;
    house.delete("in/new/deep/file").await;
    house.tree_has("a/one", Some("third")).await;
    house.tree_has("new/deep/file", None).await;
}

#[tokio::test]
async fn what_others_change_after_s3_is_followed() {
    let house = House::taken_over("after", &[]).await;
    for name in ["in/changed", "in/gone", "in/same"] {
        house.put(name, "by S3").await;
    }
    house.tree_has("gone", Some("by S3")).await;
    house.tree_has("changed", Some("by S3")).await;
    house.tree_has("same", Some("by S3")).await;
    house.passed().await;
    house.write("changed", "by others");
    std::fs::remove_file(house.path("gone")).unwrap();
    house.passed().await;
    assert_eq!(house.get("in/changed").await.unwrap(), "by others");
    assert_eq!(house.get("in/gone").await.unwrap_err(), GetError::NoSuchKey);
    assert_eq!(house.get("in/same").await.unwrap(), "by S3");
    house.put("in/changed", "by S3 again").await;
    house.tree_has("changed", Some("by S3 again")).await;
    assert_eq!(house.namespace.conflicts(1, "", 10).await.unwrap(), []);
}

/// Both write at once: S3's version has the key and the name, and the other's file is found beside it.
#[tokio::test]
async fn what_nobody_saw_is_kept_beside() {
    let mut house = House::taken_over("beside", &[("k", "seen"), ("d", "seen")]).await;
    house.reopen().await;
    house.write("k", "unseen");
    house.write("d", "unseen");
    house.write("n", "unseen");
    house.put("in/k", "by S3").await;
    house.put("in/n", "by S3").await;
    house.delete("in/d").await;
    assert_eq!(house.keys().await, ["in/k", "in/n"]);
    house.namespace.start_background();
    house.tree_has("k", Some("by S3")).await;
    house.tree_has("n", Some("by S3")).await;
    house.is_clean().await;
    house.passed().await;
    let conflicts = house.namespace.conflicts(1, "", 10).await.unwrap();
    let mut names: Vec<_> = conflicts.iter().map(|conflict| &*conflict.name).collect();
    names.sort_unstable();
    assert_eq!(names, ["k", "n"]);
    for conflict in &conflicts {
        let beside = conflict.beside.clone().unwrap();
        assert_eq!(house.text(&beside).unwrap(), "unseen");
        assert_eq!(house.get(&format!("in/{beside}")).await.unwrap(), "unseen", "it is an object as well");
    }
    assert_eq!(house.get("in/d").await.unwrap(), "unseen", "a deletion takes only what was seen");
    let page = house.namespace.conflicts(1, &conflicts[0].id, 10).await.unwrap();
    assert_eq!(page, conflicts[1..]);
    house.delete(&format!("in/{}", conflicts[1].beside.as_ref().unwrap())).await;
    for _ in 0..2500 {
        if house.namespace.conflicts(1, "", 10).await.unwrap().len() == 1 {
            // The last one of a page was settled meanwhile, and the next page began with the first again.
            assert_eq!(house.namespace.conflicts(1, &conflicts[1].id, 10).await.unwrap(), []);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("whoever deletes what was kept has settled it");
}

#[tokio::test]
async fn what_a_tree_cannot_hold_is_told_and_served() {
    let house = House::taken_over("cannot", &[("file", "x")]).await;
    for name in ["in/a//b", "in/folder/", "in/file/below", "in/.holdall/x"] {
        house.put(name, "by S3").await;
    }
    for _ in 0..500 {
        if house.namespace.projected(1).stuck == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let projected = house.namespace.projected(1);
    let told: Vec<_> = projected.reasons.iter().map(|noted| format!("{}: {}", noted.name, noted.reason)).collect();
    assert_eq!(
        told,
        [
            ".holdall/x: no file can have this name",
            "a//b: no file can have this name",
            "file/below: a file has the name of its folder",
            "folder/: no file can have this name"
        ]
    );
    assert_eq!(house.get("in/file/below").await.unwrap(), "by S3");
    house.delete("in/file").await;
    house.tree_has("file", None).await;
    house.put("in/file/below", "by S3 again").await;
    house.tree_has("file/below", Some("by S3 again")).await;
    house.delete("in/a//b").await;
    for _ in 0..500 {
        if house.namespace.projected(1).stuck == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", house.namespace.projected(1));
}

/// A gateway died with a queue in its memory, and another one has to find out what the tree lacks.
#[tokio::test]
async fn what_was_not_brought_there_is_found_by_the_next_life() {
    let mut house = House::taken_over("life", &[("k", "seen"), ("d", "seen")]).await;
    house.reopen().await;
    house.put("in/k", "by S3").await;
    house.put("in/n", "by S3").await;
    house.delete("in/d").await;
    house.reopen().await;
    house.namespace.start_background();
    house.tree_has("k", Some("by S3")).await;
    house.tree_has("n", Some("by S3")).await;
    house.tree_has("d", None).await;
}

/// The same tree is taken over again: what is there already is not written once more, and is no conflict.
#[tokio::test]
async fn a_tree_that_is_taken_over_again_is_left_as_it_is() {
    let house = House::taken_over("again", &[("theirs", "x")]).await;
    house.put("in/ours", "by S3").await;
    house.tree_has("ours", Some("by S3")).await;
    house.is_clean().await;
    let tag = house.etag("in/ours").await;
    let before = std::fs::metadata(house.path("ours")).unwrap();
    house.namespace.forget_root(1).await.unwrap();
    house.namespace.assimilate(order()).await.unwrap();
    house.until(2, |root| root.passes >= 3).await;
    let after = std::fs::metadata(house.path("ours")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ctime_nsec(&before), std::os::unix::fs::MetadataExt::ctime_nsec(&after));
    assert_eq!(house.etag("in/ours").await, tag);
    assert_eq!(house.keys().await, ["in/ours", "in/theirs"]);
    assert_eq!(house.namespace.conflicts(2, "", 10).await.unwrap(), []);
    std::fs::remove_file(house.path("ours")).unwrap();
    house.until(2, |root| root.counts.removed > 0).await;
    assert_eq!(house.keys().await, ["in/theirs"]);
}

#[tokio::test]
async fn only_what_may_be_written_to_is() {
    let house = House::new("may", &[("k", "theirs")]).await;
    let refused = house.namespace.assimilate(Assimilate { silo: "hot".to_owned(), ..order() }).await.unwrap_err();
    assert_eq!(refused, AssimilateError::Own("hot".to_owned()));
    let root = house.namespace.assimilate(Assimilate { write: false, ..order() }).await.unwrap();
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    house.put("in/k", "by S3").await;
    house.passed().await;
    assert_eq!(house.text("k").unwrap(), "theirs", "a root is written to only where that was ordered");
    let bucket = DeclaredSilo { access: Access::ReadWrite, ..DeclaredSilo::own("s3://theirs") };
    let silos = [("bucket".to_owned(), bucket)].into();
    let refused = house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap_err();
    assert!(refused.to_string().contains("only folders are read-write"), "{refused}");
}

/// Somebody else's `chmod` is no other content: what S3 knows the version by stays, and what it tells of the file follows.
#[tokio::test]
async fn what_is_only_touched_stays_the_same_version() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::taken_over("touched", &[("theirs", "x")]).await;
    let tag = house.put("in/ours", "by S3").await;
    house.tree_has("ours", Some("by S3")).await;
    house.passed().await;
    std::fs::set_permissions(house.path("ours"), std::fs::Permissions::from_mode(0o400)).unwrap();
    house.passed().await;
    assert_eq!(house.etag("in/ours").await, tag);
    let modified = std::fs::metadata(house.path("ours")).unwrap().modified().unwrap();
    std::fs::set_permissions(house.path("ours"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(house.path("ours"), "other").unwrap();
    std::fs::File::options().write(true).open(house.path("ours")).unwrap().set_modified(modified).unwrap();
    house.passed().await;
    assert_eq!(house.get("in/ours").await.unwrap(), "other", "the same length and time, and other bytes");
    assert_ne!(house.etag("in/ours").await, tag);
}

/// An empty folder under keys that are there already is filled with them: how a bucket is exported.
#[tokio::test]
async fn an_empty_tree_is_filled() {
    let house = House::new("fill", &[]).await;
    for number in 0..40 {
        house.put(&format!("in/d{}/k{number}", number % 3), &format!("by S3, {number}")).await;
    }
    house.put("in/a//b", "no file").await;
    house.put("out", "not of the root").await;
    let root = house.namespace.assimilate(order()).await.unwrap();
    house.namespace.start_background();
    for _ in 0..500 {
        let projected = house.namespace.projected(root.id);
        if projected.audited && projected.waiting == 0 {
            assert_eq!((projected.done, projected.stuck), (40, 1));
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let files = story::files(&house.path(""));
    assert_eq!(files.len(), 40);
    assert!(files.iter().all(|(name, text)| name.ends_with(&format!("k{}", text.rsplit(' ').next().unwrap()))));
    house.namespace.forget_root(root.id).await.unwrap();
    assert_eq!(house.keys().await.len(), 42);
    house.is_clean().await;
}

/// What is moved away leaves the tree, and comes back neither as a new object nor as a file; a copy of what S3 wrote stays.
#[tokio::test]
async fn an_original_goes_after_its_bytes() {
    let mut house = House::taken_over("moved", &[("d/a", "first"), ("d/b", "second"), ("empty", "")]).await;
    house.put("in/ours", "by S3").await;
    house.tree_has("ours", Some("by S3")).await;
    let tag = house.etag("in/d/a").await;
    house.moved_to_hot().await;
    house.tree_has("d/a", None).await;
    house.tree_has("d/b", None).await;
    house.passed().await;
    assert_eq!(house.keys().await, ["in/d/a", "in/d/b", "in/empty", "in/ours"]);
    assert_eq!((house.get("in/d/a").await.unwrap(), house.etag("in/d/a").await), ("first".to_owned(), tag));
    assert_eq!((house.text("ours").as_deref(), house.text("empty").as_deref()), (Some("by S3"), Some("")));
    // Whoever writes there again means the key.
    house.write("d/a", "third");
    house.passed().await;
    assert_eq!(house.get("in/d/a").await.unwrap(), "third");
    house.put("in/d/b", "by S3").await;
    house.tree_has("d/b", Some("by S3")).await;
    house.reopen().await;
    house.namespace.start_background();
    house.passed().await;
    assert_eq!(house.keys().await, ["in/d/a", "in/d/b", "in/empty", "in/ours"]);
    assert_eq!(house.namespace.conflicts(1, "", 10).await.unwrap(), []);
    house.is_clean().await;
}

/// What was moved away before others let us write to their tree is theirs, and stays.
#[tokio::test]
async fn an_original_that_was_not_to_be_touched_stays() {
    let house = House::new("kept", &[("k", "theirs")]).await;
    let root = house.namespace.assimilate(Assimilate { write: false, ..order() }).await.unwrap();
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    house.moved_to_hot().await;
    house.namespace.forget_root(root.id).await.unwrap();
    house.namespace.assimilate(order()).await.unwrap();
    house.until(2, |root| root.passes >= 2).await;
    house.put("in/other", "by S3").await;
    house.tree_has("other", Some("by S3")).await;
    assert_eq!(house.text("k").as_deref(), Some("theirs"));
    assert_eq!(house.get("in/k").await.unwrap(), "theirs");
}
