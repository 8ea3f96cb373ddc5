//! What is there no more, what never was an object, and how that is told.

use super::*;

/// A key was written over a file that no pass had come to yet, and deleted: the pass made an object of the file, so that the
/// key was back.
#[tokio::test]
async fn a_key_that_was_written_and_deleted_before_the_pass_stays_away() {
    let house = House::new("unseen", &[("a", "theirs"), ("b", "theirs")]).await;
    let root = house.namespace.assimilate(order(60)).await.unwrap();
    house.put("in/a", "mine", Condition::default()).await.unwrap();
    house.delete("in/a").await;
    assert!(matches!(house.get("in/a").await, Err(GetError::NoSuchKey)));
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/b"]);
    assert_eq!(house.tree().len(), 2, "the files are as they were");
}

/// A file was replaced by a link that leads out of the folder: its key was listed for ever, and each read of it was a 503.
#[tokio::test]
async fn what_becomes_no_object_takes_its_key_with_it() {
    let files = [("a", "x"), ("b", "y"), ("c", "z"), ("d", "w")];
    let house = House::taken_over("turned", &files).await;
    for name in ["a", "b"] {
        std::fs::remove_file(house.path(name)).unwrap();
    }
    std::os::unix::fs::symlink("/etc/passwd", house.path("a")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(house.path("b")).unwrap());
    house.passed().await;
    assert_eq!(house.keys("").await.unwrap(), ["in/c", "in/d"]);
    let refused = house.namespace.refused_names(1, "", 10).await.unwrap();
    assert_eq!(refused.iter().map(|one| &*one.name).collect::<Vec<_>>(), ["a", "b"]);
    // Never all of them.
    for name in ["c", "d"] {
        std::fs::remove_file(house.path(name)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", house.path(name)).unwrap();
    }
    house.until(1, |root| root.gone == 2).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/c", "in/d"]);
}

/// Names that are not UTF-8 were shown with what is readable of them, and the next page began after that: pages left names
/// out, or began again.
#[tokio::test]
async fn refused_names_are_told_page_by_page() {
    let house = House::new("pages", &[("a", "x")]).await;
    for last in [0x80, 0xbf, 0xe9, 0xf0, 0xff] {
        std::fs::write(house.path("").join(std::ffi::OsStr::from_bytes(&[b'n', last])), "y").unwrap();
    }
    let root = house.start(order(60)).await;
    house.until(root.id, |root| root.complete).await;
    let (mut all, mut at) = (Vec::new(), String::new());
    // One page that is told twice is enough.
    while all.len() < 6
        && let Some(one) = house.namespace.refused_names(root.id, &at, 1).await.unwrap().pop()
    {
        at.clone_from(&one.at);
        assert_eq!(one.name, "n\u{fffd}");
        all.push(one.at);
    }
    assert_eq!(all, ["6e80", "6ebf", "6ee9", "6ef0", "6eff"]);
    assert!(matches!(house.namespace.refused_names(root.id, "n", 1).await, Err(AssimilateError::Invalid(_))));
}

/// A pass asked a server that others need for all of its names as fast as it answers. Pages are smaller, and between them
/// it is waited: of the names of a first pass only some are there at first.
#[tokio::test]
async fn a_pass_goes_on_as_fast_as_it_is_told() {
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let house = House::new("rate", &files).await;
    let root = house.start(Assimilate { rate: Some(10), partial_lists: true, ..order(60) }).await;
    let mut seen = Vec::new();
    let left = |seen: &[usize]| seen.last().is_none_or(|last| *last < 40);
    while left(&seen) {
        let keys = house.keys("").await.unwrap().len();
        if seen.last() != Some(&keys) {
            seen.push(keys);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(seen.iter().filter(|keys| **keys > 0).count() >= 3, "{seen:?}");
    house.until(root.id, |root| root.complete).await;
    let faster = Reorder { rate: Some(0), ..Reorder::default() };
    assert_eq!(house.namespace.reorder(root.id, faster).await.unwrap().order.rate, None);
}

/// Another disk of the same kind was mounted in the folder's place. Its root has the same inode: all that lay there became objects, too.
#[tokio::test]
async fn another_disk_in_its_place_is_not_taken_in() {
    let named = |what: &str| (0..20).map(|at| format!("{what}/{at:02}")).collect::<Vec<_>>();
    let (ours, others) = (named("ours"), named("others"));
    let files: Vec<(&str, &str)> = ours.iter().map(|name| (name.as_str(), "text")).collect();
    let house = House::taken_over("other-disk", &files).await;
    house.passed().await;
    std::fs::rename(house.path("ours"), house.folder.path().join("away")).unwrap();
    for name in &others {
        house.write(name, "theirs");
    }
    let told = house.until(1, |root| root.problem.is_some()).await;
    let problem = told.problem.unwrap();
    assert!(problem.starts_with("silo `nas` has none of 16 names that were there"), "{problem}");
    let in_bucket = |names: &[String]| names.iter().map(|name| format!("in/{name}")).collect::<Vec<_>>();
    assert_eq!(house.keys("").await.unwrap(), in_bucket(&ours));
    // It was a mistake.
    std::fs::rename(house.path("others"), house.folder.path().join("others")).unwrap();
    std::fs::rename(house.folder.path().join("away"), house.path("ours")).unwrap();
    house.until(1, |root| root.problem.is_none()).await;
    // This time it is the same, and all of it was replaced.
    std::fs::rename(house.path("ours"), house.folder.path().join("away")).unwrap();
    std::fs::rename(house.folder.path().join("others"), house.path("others")).unwrap();
    house.until(1, |root| root.problem.is_some()).await;
    house.namespace.confirm_root(1).await.unwrap();
    house.until(1, |root| root.gone == 20).await;
    house.namespace.confirm_root(1).await.unwrap();
    house.until(1, |root| root.gone == 0 && root.problem.is_none()).await;
    assert_eq!(house.keys("").await.unwrap(), in_bucket(&others));
}
