//! What is told of names that others changed, by the kernel or by somebody else: seen long before the next pass, and by the
//! same rules.

use holdall_silos::holdings::Touched;

use super::*;

/// Passes are an hour apart: what is seen was told.
const SELDOM: u64 = 3600;
/// A change is seen within about a second; a machine with much to do gets longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn watched() -> Assimilate {
    Assimilate { watch: true, ..order(SELDOM) }
}

impl House {
    /// Taken over, and passed once more since the watch stands.
    async fn watched(test: &str, files: &[(&str, &str)]) -> Self {
        let house = Self::new(test, files).await;
        let root = house.start(watched()).await;
        house.until(root.id, |root| root.complete).await;
        house.see("it is watched", || async { house.namespace.changes(1).to_string() == "at once" }).await;
        house
    }

    async fn see<F: Future<Output = bool>>(&self, what: &str, seen: impl Fn() -> F) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !seen().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let seen = waited.await.is_ok();
        assert!(seen, "{what}: {:?}, {:?}", self.namespace.root(1).await, self.namespace.stats());
    }

    async fn see_keys(&self, keys: &[&str]) {
        self.see(&format!("{keys:?}"), || async { self.keys("").await.unwrap() == keys }).await;
    }

    async fn see_text(&self, name: &str, text: &str) {
        self.see(&format!("{name} is {text}"), || async { self.get(name).await.is_ok_and(|got| got == text) }).await;
    }

    fn touch(&self, touched: &[Touched]) -> usize {
        self.namespace.touch("nas", touched).unwrap()
    }
}

fn name(name: &str) -> Touched {
    Touched::Name(name.as_bytes().to_vec())
}

/// A file that others saved was served as it had been for ten minutes, and a new one was not there.
#[tokio::test]
async fn what_others_do_is_seen_long_before_the_next_pass() {
    let house = House::watched("watch", &[("a", "one"), ("b", "two"), ("c/d", "three")]).await;
    house.write("a", "ONE");
    house.write("new/folder/e", "four");
    house.see_text("in/new/folder/e", "four").await;
    house
        .see("a is followed", || async {
            let object = house.open("in/a").await.unwrap().object;
            object.size == 3 && house.get("in/a").await.is_ok_and(|text| text == "ONE")
        })
        .await;
    std::fs::remove_file(house.path("b")).unwrap();
    house.see_keys(&["in/a", "in/c/d", "in/new/folder/e"]).await;
    std::fs::rename(house.path("c"), house.path("moved")).unwrap();
    house.see_keys(&["in/a", "in/moved/d", "in/new/folder/e"]).await;
    assert_eq!(house.get("in/moved/d").await.unwrap(), "three");
}

/// A hundred deletes in a second are a `rm -r` in the wrong folder as often as not: what is told obeys the limits of passes.
#[tokio::test]
async fn what_is_told_takes_no_more_away_than_a_pass_would() {
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let house = House::watched("many", &files).await;
    for name in &names[..30] {
        std::fs::remove_file(house.path(name)).unwrap();
    }
    house.see("somebody is asked", || async { house.namespace.root(1).await.unwrap().gone > 0 }).await;
    let (left, root) = (house.keys("").await.unwrap().len(), house.namespace.root(1).await.unwrap());
    assert!(left >= 30 && left as u64 == 10 + root.gone, "{left} keys, {root:?}");
    // While somebody is asked, nothing more goes.
    std::fs::remove_file(house.path("39")).unwrap();
    house.touch(&[name("39")]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(house.keys("").await.unwrap().len(), left);
    house.namespace.confirm_root(1).await.unwrap();
    house.see("what was confirmed goes", || async { house.keys("").await.unwrap().len() == 9 }).await;
}

/// The disk was unmounted, and every name that was told to have changed was looked for in the empty folder beneath.
#[tokio::test]
async fn an_empty_folder_in_its_place_takes_nothing_away() {
    let house = House::watched("unmounted", &[("a", "x"), ("b", "y"), ("c", "z")]).await;
    let (at, away) = (house.path(""), house.folder.path().join("away"));
    std::fs::rename(&at, &away).unwrap();
    std::fs::create_dir(&at).unwrap();
    house.touch(&[name("a"), name("b"), Touched::Below(Vec::new())]);
    let told = |root: &RootInfo| root.problem.as_ref().is_some_and(|problem| problem.contains("nas"));
    house.until(1, told).await;
    assert_eq!(house.keys("").await.unwrap().len(), 3);
    std::fs::remove_dir(&at).unwrap();
    std::fs::rename(&away, &at).unwrap();
    assert_eq!(house.get("in/a").await.unwrap(), "x");
}

/// Whoever knows of changes may say so, also where nothing is watched. What is said is only looked at.
#[tokio::test]
async fn what_somebody_says_is_looked_at_and_never_believed() {
    let house = House::new("said", &[("a", "one"), ("b", "two"), ("c/d", "three")]).await;
    let root = house.start(order(SELDOM)).await;
    house.until(root.id, |root| root.complete).await;
    house
        .see("it is not watched", || async {
            house.namespace.changes(1).to_string() == "by the next pass: it is not watched"
        })
        .await;
    house.write("c/e", "four");
    house.write("f", "five");
    std::fs::remove_file(house.path("b")).unwrap();
    assert_eq!(house.touch(&[name("a"), name("b"), name("none"), Touched::Below(b"c/".to_vec())]), 4);
    house.see_keys(&["in/a", "in/c/d", "in/c/e"]).await;
    assert_eq!(house.get("in/a").await.unwrap(), "one");
    house.touch(&[Touched::Below(Vec::new())]);
    house.see_keys(&["in/a", "in/c/d", "in/c/e", "in/f"]).await;
    // All of it is a pass, whose end is noted after its keys are there.
    house.until(1, |root| root.passes >= 2).await;
    assert_eq!(house.namespace.touch("hot", &[name("a")]), Err(AssimilateError::Own("hot".to_owned())));
    assert_eq!(house.namespace.touch("none", &[]), Err(AssimilateError::NoSuchSilo("none".to_owned())));
}

/// A program that saves by taking the old file away first made its key vanish for a moment.
#[tokio::test]
async fn a_name_that_comes_back_was_never_gone() {
    let house = House::watched("back", &[("a", "one"), ("b", "two")]).await;
    std::fs::remove_file(house.path("a")).unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    house.write("a", "ONE");
    let never_gone = async {
        loop {
            assert!(house.keys("").await.unwrap().contains(&"in/a".to_owned()));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = never_gone => {}
        () = house.see_text("in/a", "ONE") => {}
    }
}

/// A key that was written through S3 follows its file no more, whoever tells of it.
#[tokio::test]
async fn what_was_written_through_s3_stays() {
    let house = House::watched("written", &[("a", "one"), ("b", "two"), ("c", "three")]).await;
    house.put("in/a", "mine", Condition::default()).await.unwrap();
    house.delete("in/b").await;
    house.write("a", "theirs");
    house.write("b", "theirs");
    house.write("c", "seen");
    house.see_text("in/c", "seen").await;
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/c"]);
    assert_eq!(house.get("in/a").await.unwrap(), "mine");
}
