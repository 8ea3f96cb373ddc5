//! The inventory that people read: what is in it, and what becomes of runs.

use bytes::Bytes;
use futures_util::TryStreamExt;
use holdall_namespace::assimilate::Assimilate;
use holdall_namespace::census::{BUCKET, Census, CensusError, Taken};
use holdall_namespace::inventory::Access;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

use super::*;

async fn finish(mut census: Census) -> Taken {
    let mut taken = Taken::default();
    while let Some(now) = census.next().await.unwrap() {
        taken = now;
    }
    taken
}

impl House {
    async fn inventory(&self) -> Bucket {
        self.namespace.bucket(&BUCKET.parse().unwrap()).await.unwrap()
    }

    /// The inventory's own keys.
    async fn files(&self, prefix: &str) -> Vec<String> {
        support::keys(&self.namespace, &self.inventory().await, prefix).await.unwrap()
    }

    /// Keys in the files under a prefix.
    async fn rows(&self, prefix: &str) -> Vec<String> {
        let (home, mut rows) = (self.inventory().await, Vec::new());
        for file in self.files(prefix).await {
            let opened = self.namespace.open_object(&home, &file.parse().unwrap()).await.unwrap();
            let pieces: Vec<Bytes> = opened.read(0..opened.object.size).await.unwrap().try_collect().await.unwrap();
            let reader = SerializedFileReader::new(Bytes::from(pieces.concat())).unwrap();
            let all = reader.get_row_iter(None).unwrap();
            rows.extend(all.map(|row| row.unwrap().get_string(1).unwrap().clone()));
        }
        rows
    }
}

#[tokio::test]
async fn each_run_replaces_the_latest_and_two_are_kept() {
    let (house, calendar) = heat::house("census").await;
    for number in 0..600 {
        house.put(&house.logs, &format!("{number:03}"), 1).await;
    }
    let mut cut = house.namespace.census().await.unwrap();
    cut.cut_files_for_tests(1000);
    let taken = finish(cut).await;
    assert_eq!((taken.buckets, taken.objects, taken.skipped.len()), (2, 600, 0));
    assert_eq!(house.files("logs/latest/").await.len(), 4, "three pages and the end");
    let all: Vec<String> = (0..600).map(|number| format!("{number:03}")).collect();
    assert_eq!(house.rows("logs/latest/").await, all);
    assert_eq!(house.rows("photos/latest/").await, Vec::<String>::new(), "an empty bucket has a table without rows");
    assert_eq!(house.files("photos/latest/").await, ["photos/latest/part-00000.parquet"]);
    house.put(&house.photos, "a", 1).await;
    for _ in 0..2 {
        calendar.pass(1);
        finish(house.namespace.census().await.unwrap()).await;
    }
    assert_eq!(house.files("logs/latest/").await, ["logs/latest/part-00000.parquet"], "a file that is no more is gone");
    assert_eq!((house.rows("logs/latest/").await, house.rows("photos/latest/").await), (all, vec!["a".to_owned()]));
    assert_eq!(house.files("photos/").await.len(), 3, "two runs, and the latest: {:?}", house.files("photos/").await);
    for key in ["a"] {
        house.namespace.delete(&house.photos, &key.parse().unwrap(), Condition::default()).await.unwrap();
    }
    house.namespace.delete_bucket(&house.photos).await.unwrap();
    finish(house.namespace.census().await.unwrap()).await;
    assert_eq!(house.files("photos/").await, Vec::<String>::new());
    for key in house.rows("logs/latest/").await {
        house.delete(&house.logs, &key).await;
    }
    house.namespace.delete_bucket(&house.logs).await.unwrap();
    finish(house.namespace.census().await.unwrap()).await;
    assert_eq!(house.files("").await, Vec::<String>::new(), "the last bucket is forgotten as any other");
    let mut found = Vec::new();
    house.namespace.check(true, &mut |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
}

/// Written each hour, the same table would have been written anew each hour.
#[tokio::test]
async fn of_what_is_the_same_nothing_is_written() {
    let (house, calendar) = heat::house("census-same").await;
    for number in 0..600 {
        house.put(&house.logs, &format!("{number:03}"), 1).await;
    }
    let run = async || {
        calendar.pass(1);
        let mut census = house.namespace.census().await.unwrap();
        census.cut_files_for_tests(1000);
        finish(census).await
    };
    let extents = async |keys: &[String]| {
        let mut extents = Vec::new();
        for key in keys {
            let found = house.namespace.where_is(&BUCKET.parse().unwrap(), &key.parse().unwrap()).await.unwrap();
            extents.extend(found.into_iter().map(|replica| replica.extent));
        }
        extents
    };
    let first = run().await;
    let (files, latest) = (house.files("").await, house.files("logs/latest/").await);
    assert_eq!((files.len(), latest.len()), (10, 4));
    let before = extents(&latest).await;
    let again = run().await;
    assert_eq!((house.files("").await, extents(&latest).await), (files.clone(), before.clone()), "nothing was written");
    assert_eq!((again.objects, again.files, again.bytes), (first.objects, first.files, first.bytes));
    // A change of the second page: the first file is the same, by reference.
    house.put(&house.logs, "300", 2).await;
    run().await;
    let after = extents(&latest).await;
    assert_eq!(house.files("logs/").await.len(), 12, "two runs, and the latest");
    assert_eq!(house.files("photos/").await.len(), 2);
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    assert_eq!(house.rows("logs/latest/").await.len(), 600);
    // Fewer files, of which all are the same.
    for number in 500..600 {
        house.delete(&house.logs, &format!("{number:03}")).await;
    }
    run().await;
    assert_eq!(house.rows("logs/latest/").await.len(), 500);
    let mut found = Vec::new();
    house.namespace.check(true, &mut |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
}

/// Whoever lists the buckets of a new gateway sees none that nobody made.
#[tokio::test]
async fn by_itself_it_is_written_once_there_is_a_bucket_and_room() {
    let house = House::new("census-kept").await;
    house.namespace.delete_bucket(&house.photos).await.unwrap();
    house.namespace.delete_bucket(&house.logs).await.unwrap();
    let is_there = async || house.namespace.bucket(&BUCKET.parse().unwrap()).await.is_ok();
    house.namespace.keep_inventory(Duration::from_millis(20));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!is_there().await);
    for silo in ["hot", "cold", "far"] {
        house.namespace.set_cordon(silo, true).await.unwrap();
    }
    let logs = house.namespace.create_bucket(&"logs".parse().unwrap(), 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!is_there().await, "no silo takes it");
    house.namespace.set_cordon("hot", false).await.unwrap();
    house.put(&logs, "a", 1).await;
    for _ in 0..500 {
        if is_there().await && house.files("logs/latest/").await.len() == 1 && house.rows("logs/latest/").await == ["a"]
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{:?}", house.files("").await);
}

/// A run that nobody goes on with leaves what was there, and the next one takes away what it left.
#[tokio::test]
async fn what_breaks_off_is_not_shown() {
    let (house, calendar) = heat::house("census-broken").await;
    for number in 0..600 {
        house.put(&house.logs, &format!("{number:03}"), 1).await;
    }
    finish(house.namespace.census().await.unwrap()).await;
    let before = house.files("").await;
    calendar.pass(1);
    house.put(&house.logs, "a", 1).await;
    let mut broken = house.namespace.census().await.unwrap();
    broken.cut_files_for_tests(1000);
    assert_eq!(house.namespace.census().await.err(), Some(CensusError::UnderWay));
    for _ in 0..3 {
        broken.next().await.unwrap();
    }
    drop(broken);
    let left: Vec<String> = house.files("").await.into_iter().filter(|file| !before.contains(file)).collect();
    assert!(!left.is_empty() && left.iter().all(|file| file.starts_with("logs/.writing/")), "{left:?}");
    assert_eq!(house.rows("logs/latest/").await.len(), 600);
    finish(house.namespace.census().await.unwrap()).await;
    assert_eq!(house.rows("logs/latest/").await.len(), 601);
    assert_eq!(house.files("logs/.writing/").await, Vec::<String>::new());
}

/// A run of which some files were shown stayed half a run, beside the others and as the latest, until two more had ended.
#[tokio::test]
async fn what_breaks_off_while_it_is_shown_is_ended_by_the_next_run() {
    let (house, calendar) = heat::house("census-half").await;
    for number in 0..600 {
        house.put(&house.logs, &format!("{number:03}"), 1).await;
    }
    finish(house.namespace.census().await.unwrap()).await;
    calendar.pass(1);
    house.put(&house.logs, "x", 1).await;
    let mut broken = house.namespace.census().await.unwrap();
    broken.cut_files_for_tests(1000);
    for _ in 0..4 {
        broken.next().await.unwrap();
    }
    drop(broken);
    // As it is when a gateway dies between two copies.
    let (home, written) = (house.inventory().await, house.files("logs/.writing/").await);
    let (run, all) = ("2026-11-30T19-00Z", house.rows("logs/.writing/").await);
    assert_eq!((all.len(), written.len()), (601, 3));
    house.put(&home, &format!("logs/.writing/run/{run}/{}", written.len()), 0).await;
    for folder in [run, "latest"] {
        support::copy(&house.namespace, &home, &written[0], &format!("logs/{folder}/part-00000.parquet")).await;
    }
    assert!(house.rows("logs/latest/").await.len() < 600);
    house.namespace.census().await.unwrap().next().await.unwrap();
    assert_eq!(house.rows("logs/latest/").await, all);
    assert_eq!(house.rows(&format!("logs/{run}/")).await, all);
    assert_eq!(house.files("logs/.writing/").await, Vec::<String>::new());
}

/// An empty bucket of another account was taken for the inventory, whose owner then read the names of everybody's objects.
#[tokio::test]
async fn a_bucket_of_another_account_is_left_alone() {
    let house = House::new("census-account").await;
    house.put(&house.logs, "secret", 1).await;
    let (other, _) = house.namespace.create_account("other").await.unwrap();
    let theirs = house.namespace.create_bucket(&BUCKET.parse().unwrap(), other.id).await.unwrap();
    for _ in 0..2 {
        assert_eq!(house.namespace.census().await.err(), Some(CensusError::Foreign));
        assert!(!house.namespace.is_inventory(&theirs).await.unwrap());
        assert_eq!(house.files("").await, Vec::<String>::new());
    }
    house.put(&theirs, "a", 1).await;
    house.delete(&theirs, "a").await;
    house.namespace.delete_bucket(&theirs).await.unwrap();
    finish(house.namespace.census().await.unwrap()).await;
    assert_eq!(house.rows("logs/latest/").await, ["secret"]);
    assert_eq!(house.inventory().await.owner, 1);
}

/// What others put into a folder would have appeared among the files, and runs would have taken it away.
#[tokio::test]
async fn a_bucket_that_is_taken_over_into_is_left_alone() {
    let house = House::new("census-root").await;
    let folder = tempfile::tempdir().unwrap();
    let nas = DeclaredSilo::own(format!("file://{}", folder.path().display()));
    let silos = [("nas".to_owned(), DeclaredSilo { access: Access::ReadOnly, ..nas })].into();
    house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
    let theirs = house.namespace.create_bucket(&BUCKET.parse().unwrap(), 1).await.unwrap();
    let order = Assimilate {
        silo: "nas".to_owned(),
        prefix: String::new(),
        bucket: theirs.name.clone(),
        into: String::new(),
        partial_lists: false,
        without: Vec::new(),
        rate: None,
        every_seconds: 3600,
        watch: false,
        write: false,
    };
    let root = house.namespace.assimilate(order.clone()).await.unwrap();
    assert_eq!(house.namespace.census().await.err(), Some(CensusError::Foreign));
    assert!(!house.namespace.is_inventory(&theirs).await.unwrap());
    house.namespace.forget_root(root.id).await.unwrap();
    finish(house.namespace.census().await.unwrap()).await;
    let refused = house.namespace.assimilate(order).await.unwrap_err().to_string();
    assert!(refused.contains("for the inventory alone"), "{refused}");
}

#[tokio::test]
async fn a_bucket_that_somebody_has_is_left_alone() {
    let house = House::new("census-foreign").await;
    let theirs = house.namespace.create_bucket(&BUCKET.parse().unwrap(), 1).await.unwrap();
    house.put(&theirs, "a", 1).await;
    assert_eq!(house.namespace.census().await.err(), Some(CensusError::Foreign));
    assert!(!house.namespace.is_inventory(&theirs).await.unwrap());
    house.namespace.delete(&theirs, &"a".parse().unwrap(), Condition::default()).await.unwrap();
    finish(house.namespace.census().await.unwrap()).await;
    assert!(house.namespace.is_inventory(&theirs).await.unwrap());
    assert_eq!(house.files("logs/latest/").await.len(), 1);
}

/// It was missing without a word.
#[tokio::test]
async fn what_could_not_be_looked_at_is_told() {
    let house = House::new("census-unclear").await;
    house.put(&house.logs, "gone", 100).await;
    house.remove_extents().await;
    house.put(&house.logs, "here", 100).await;
    let taken = finish(house.namespace.census().await.unwrap()).await;
    assert_eq!((taken.objects, taken.unclear), (1, 1), "{taken:?}");
    assert!(taken.example.unwrap().starts_with("s3://logs/gone: "));
    assert_eq!(house.rows("logs/latest/").await, ["here"]);
}
