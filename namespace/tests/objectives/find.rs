//! Searches: what they find, and what they say of it.

use holdall_namespace::engine::{self, Key, Rows, Write};
use holdall_namespace::fault::Fault;
use holdall_namespace::find::{Found, Question, Search};

use super::*;

/// The first byte of extents' keys.
const EXTENTS: u8 = 0x05;

impl House {
    async fn search(&self, on: &str, condition: Option<&str>) -> Result<Search, OrderError> {
        let question = Question { on: on.parse().unwrap(), condition: condition.map(str::to_owned), only_size: false };
        self.namespace.search(&question).await
    }

    async fn found(&self, on: &str, condition: Option<&str>) -> Vec<Found> {
        let (mut search, mut all) = (self.search(on, condition).await.unwrap(), Vec::new());
        while let Some(mut found) = search.next().await.unwrap() {
            all.append(&mut found);
        }
        all
    }

    pub(crate) async fn keys_where(&self, on: &str, condition: &str) -> Vec<String> {
        self.found(on, Some(condition)).await.into_iter().map(|found| found.key).collect()
    }

    /// Why a condition is refused.
    pub(crate) async fn keys_refused(&self, condition: &str) -> String {
        self.search("s3://", Some(condition)).await.err().unwrap().to_string()
    }

    /// Damages the index: rows of all extents there are go.
    pub(crate) async fn remove_extents(&self) {
        let page = self.engine.range(vec![EXTENTS]..vec![EXTENTS + 1], 1000, usize::MAX).await.unwrap();
        assert!(!page.is_empty());
        let gone: Vec<Key> = page.into_iter().map(|(key, _)| key.to_vec()).collect();
        let writes = move |_: &Rows| Ok::<_, Fault>((gone.iter().cloned().map(Write::Delete).collect(), ()));
        engine::commit(&*self.engine, Vec::new(), writes).await.unwrap();
    }
}

#[tokio::test]
async fn a_search_knows_where_objects_are_and_how_many_copies_there_are() {
    let house = House::new("find").await;
    for number in 0..600 {
        house.put(&house.logs, &format!("{number:03}"), number).await;
    }
    house.put(&house.photos, "a", 500).await;
    house.declare(&[("archive", wish("s3://logs/", Some("size >= 590"), &["cold"], &[]))]).await.unwrap();
    let two = Objective { copies: Some(2), ..wish("s3://logs/00", None, &["hot", "far"], &[]) };
    house.declare(&[("two", two)]).await.unwrap();
    house.align("s3://logs/").await;
    house.align("s3://logs/00").await;
    let keys = async |condition: &str| house.keys_where("s3://", condition).await;
    let tens = |range: std::ops::Range<u32>| range.map(|number| format!("{number:03}")).collect::<Vec<_>>();
    assert_eq!(keys("'cold' in silos").await, tens(590..600));
    assert_eq!(keys("copies == 2 && silos == ['far', 'hot']").await, tens(1..10), "the empty one is nowhere");
    assert_eq!(keys("copies == 0").await, ["000"]);
    assert_eq!(keys("!('hot' in silos) && size < 595 && size > 0").await, tens(590..595));
    assert_eq!(keys("bucket == 'photos'").await, ["a"]);
    assert_eq!(house.found("s3://", None).await.len(), 601);
    assert_eq!(house.found("s3://logs/59", None).await.len(), 10);
    let found = house.found("s3://logs/599", None).await.remove(0);
    let opened = house.namespace.head(&house.logs, &"599".parse().unwrap()).await.unwrap();
    assert_eq!((found.etag, found.modified, found.size), (opened.etag.clone(), opened.modified, 599));
    assert_eq!((&found.silos[..], found.copies, found.heat), (&["cold".to_owned()][..], 1, None));
    assert_eq!(keys(&format!("etag == '{}'", opened.etag)).await, ["599"]);
}

#[tokio::test]
async fn what_cannot_be_asked_counts_as_no_and_is_told() {
    let house = House::new("unclear").await;
    for (bucket, key) in [(&house.logs, "1"), (&house.logs, "x"), (&house.photos, "y")] {
        house.put(bucket, key, 10).await;
    }
    // On the sample `bucket` is not `logs`, so that the mistake is met only later.
    let mut search = house.search("s3://", Some("bucket != 'logs' || int(key) == 1")).await.unwrap();
    let mut found = Vec::new();
    while let Some(more) = search.next().await.unwrap() {
        found.extend(more.into_iter().map(|found| found.key));
    }
    assert_eq!((found, search.looked_at, search.unclear.objects), (vec!["1".to_owned(), "y".to_owned()], 3, 1));
    assert_eq!(search.unclear.first.map(|(object, _)| object).as_deref(), Some("s3://logs/x"));
    for (on, condition, told) in [
        ("s3://nothing/", "size > 1", "no bucket `nothing`"),
        ("s3://", "sise > 1", "there is no `sise`"),
        ("s3://", "size >", "(line 1, column 7)"),
    ] {
        let refused = house.search(on, Some(condition)).await.err().unwrap();
        assert!(refused.to_string().contains(told), "{refused}");
    }
    let moving = house.declare(&[("loop", wish("s3://", Some("'hot' in silos"), &["cold"], &[]))]).await;
    let refused = moving.unwrap_err().to_string();
    assert!(refused.contains("no objective may look at `silos`") && refused.contains("column 10"), "{refused}");
}

/// What the index lacks a row of was missing in what was found, and nobody said so.
#[tokio::test]
async fn what_could_not_be_looked_at_counts_as_no_and_is_told() {
    let house = House::new("restless").await;
    house.put(&house.logs, "gone", 100).await;
    house.remove_extents().await;
    house.put(&house.logs, "here", 100).await;
    for condition in [None, Some("size == 100"), Some("copies < 2")] {
        let (mut search, mut found) = (house.search("s3://logs/", condition).await.unwrap(), Vec::new());
        while let Some(more) = search.next().await.unwrap() {
            found.extend(more.into_iter().map(|found| found.key));
        }
        assert_eq!((found, search.looked_at, search.unclear.objects), (vec!["here".to_owned()], 2, 1));
        let told = search.unclear.example().unwrap();
        assert!(told.starts_with("s3://logs/gone: ") && told.contains("holdall check"), "{told}");
    }
}

/// What is written over and deleted while it is looked at is shown as it was before or after, and the rest is not missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_misses_nothing_that_stands_while_others_write() {
    let house = Arc::new(House::new("storm").await);
    for number in 0..300 {
        house.put(&house.logs, &format!("{number:03}"), 100).await;
    }
    let writer = tokio::spawn({
        let house = Arc::clone(&house);
        async move {
            for round in 0..300_usize {
                house.put(&house.logs, &format!("{:03}", round % 19), 100 + round).await;
                if round % 100 == 0 {
                    house.namespace.sweep_now().await.unwrap();
                }
            }
        }
    });
    let mut rounds = 0;
    while !writer.is_finished() {
        let found = house.found("s3://logs/", Some("size >= 100 && !('x' in tags)")).await;
        assert_eq!(found.len(), 300);
        assert!(found.iter().all(|found| found.copies == 1 && found.silos == ["hot"]), "{found:?}");
        // It holds of a size that may be another once the rest was looked up.
        let even = house.found("s3://logs/", Some("size % 2 == 0")).await;
        assert!(even.iter().all(|found| found.size % 2 == 0), "{even:?}");
        rounds += 1;
    }
    writer.await.unwrap();
    assert!(rounds > 0);
}
