//! What is there no more, what never was an object, and how that is told.

use super::*;

/// A key was written over a file that no pass had come to yet, and deleted: the pass made an object of the file, so that the
/// key was back.
#[tokio::test]
async fn a_key_that_was_written_and_deleted_before_the_pass_stays_away() {
    let house = House::new("back", &[("a", "theirs"), ("b", "theirs")]).await;
    let root = house.namespace.assimilate(order(60)).await.unwrap();
    house.put("in/a", "mine", Condition::default()).await.unwrap();
    house.delete("in/a").await;
    assert!(matches!(house.get("in/a").await, Err(GetError::NoSuchKey)));
    house.namespace.start_background();
    house.until(root.id, |root| root.complete).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/b"]);
    assert_eq!(house.tree().len(), 2, "the files are as they were");
}
