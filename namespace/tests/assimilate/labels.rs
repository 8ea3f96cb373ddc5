//! Labels and searches of what lies where others put it.

use holdall_namespace::find::Question;
use holdall_namespace::label::{LabelError, Relabel};

use super::*;

impl House {
    async fn label(&self, name: &str) -> Result<usize, LabelError> {
        let set = [("team".to_owned(), "x".to_owned())].into();
        let labels = self.namespace.label(&self.bucket, &key(name), Relabel { set, remove: Vec::new() }).await;
        labels.map(|labels| labels.len())
    }

    async fn labelled(&self) -> Vec<String> {
        let condition = Some("labels.team == 'x' && silos == ['nas']".to_owned());
        let question = Question { condition, ..Question::default() };
        let (mut search, mut found) = (self.namespace.search(&question).await.unwrap(), Vec::new());
        while let Some(more) = search.next().await.unwrap() {
            found.extend(more.into_iter().map(|found| found.key));
        }
        found
    }
}

#[tokio::test]
async fn what_others_put_somewhere_is_labelled_and_keeps_that_until_they_take_it_away() {
    let house = House::taken_over("labels", &[("a", "one"), ("b/c", "two"), ("d", "three")]).await;
    assert_eq!((house.label("in/a").await, house.label("in/b/c").await), (Ok(1), Ok(1)));
    house.write("new", "came later");
    house.passed().await;
    assert_eq!(house.label("in/new").await, Ok(1));
    assert_eq!(house.label("in/none").await, Err(LabelError::NoSuchKey("s3://photos/in/none".to_owned())));
    assert_eq!(house.labelled().await, ["in/a", "in/b/c", "in/new"]);
    house.write("a", "changed since");
    std::fs::remove_file(house.path("new")).unwrap();
    house.passed().await;
    assert_eq!(house.labelled().await, ["in/a", "in/b/c"]);
    house.write("new", "another one");
    house.passed().await;
    assert_eq!(house.labelled().await, ["in/a", "in/b/c"]);
    assert_eq!(std::fs::read_to_string(house.path("a")).unwrap(), "changed since");
}
