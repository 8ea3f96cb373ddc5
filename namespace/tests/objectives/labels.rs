//! Labels: what becomes of them, and what objectives make of them.

use holdall_namespace::check::Finding;
use holdall_namespace::engine::{Priority, Write};
use holdall_namespace::label::{LabelError, Labelled, Relabel};
use holdall_namespace::object::Pairs;
use holdall_namespace::table::{encode, labels::labels_of, objects::object};

use super::*;

impl House {
    async fn label(&self, bucket: &Bucket, key: &str, name: &str, value: &str) -> Result<Pairs, LabelError> {
        let relabel = Relabel { set: [(name.to_owned(), value.to_owned())].into(), remove: Vec::new() };
        self.namespace.label(bucket, &key.parse().unwrap(), relabel).await
    }

    async fn labels(&self, bucket: &Bucket, key: &str) -> Pairs {
        self.namespace.labels(bucket, &key.parse().unwrap()).await.unwrap()
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn labels_are_of_a_key_and_go_with_it() {
    let house = House::new("labels").await;
    house.put(&house.logs, "a", 10).await;
    house.label(&house.logs, "a", "team", "x").await.unwrap();
    house.label(&house.logs, "a", "stage", "raw").await.unwrap();
    let both = [pair("stage", "raw"), pair("team", "x")];
    assert_eq!(house.labels(&house.logs, "a").await, both);
    house.put(&house.logs, "a", 20).await;
    assert_eq!(house.labels(&house.logs, "a").await, both, "what is written anew is labelled as before");
    support::copy(&house.namespace, &house.logs, "a", "b").await;
    assert_eq!(house.labels(&house.logs, "b").await, [], "a copy is another object");
    assert_eq!(house.keys_where("s3://", "labels.team == 'x'").await, ["a"]);
    house.delete(&house.logs, "a").await;
    house.put(&house.logs, "a", 10).await;
    assert_eq!(house.labels(&house.logs, "a").await, []);
    let nothing = house.label(&house.logs, "none", "team", "x").await;
    assert_eq!(nothing, Err(LabelError::NoSuchKey("s3://logs/none".to_owned())));
    for key in ["a", "b"] {
        house.label(&house.logs, key, "team", "x").await.unwrap();
        house.delete(&house.logs, key).await;
    }
    house.namespace.delete_bucket(&house.logs).await.unwrap();
    let mut found = Vec::new();
    house.namespace.check(true, &mut |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, []);
    // What an earlier version leaves behind when it deletes an object.
    let stray = labels_of(&object(house.photos.incarnation, &"gone".parse().unwrap()));
    let write = vec![Write::Put(stray, encode(&vec![pair("team", "x")]))];
    let decide = Box::new(move |_: &_| Some(write.clone()));
    house.engine.commit(Priority::Foreground, Vec::new(), decide).await.unwrap();
    house.namespace.check(false, &mut |finding| found.push(finding)).await.unwrap();
    assert_eq!(found, [Finding::Dangling { row: "labels of `photos/gone`, which is none".to_owned() }]);
}

/// All at once, and by page.
#[tokio::test]
async fn what_begins_alike_is_labelled_together() {
    let house = House::new("together").await;
    for number in 0..300 {
        house.put(&house.logs, &format!("{number:03}"), 1).await;
    }
    let full = (0..10).map(|number| pair(&number.to_string(), "")).collect();
    let full = Relabel { set: full, remove: Vec::new() };
    house.namespace.label(&house.logs, &"150".parse().unwrap(), full).await.unwrap();
    let relabel = Relabel { set: [pair("team", "x")].into(), remove: Vec::new() };
    let run = async |prefix: &str, dry_run| {
        let mut labelling = house.namespace.label_all(&house.logs, prefix, relabel.clone(), dry_run).unwrap();
        let mut done = Labelled::default();
        while let Some(more) = labelling.next().await.unwrap() {
            done = more;
        }
        done
    };
    assert_eq!((run("2", true).await.changed, house.labels(&house.logs, "200").await.len()), (100, 0));
    assert_eq!((run("2", false).await.changed, run("2", false).await.changed), (100, 0));
    let all = run("", false).await;
    assert_eq!((all.objects, all.changed, all.refused, all.example.as_deref()), (299, 199, 1, Some("s3://logs/150")));
    assert_eq!(house.keys_where("s3://logs/", "!('team' in labels)").await, ["150"]);
}

#[tokio::test]
async fn objectives_ask_for_labels_and_what_is_labelled_moves() {
    let align = Some(AlignOptions { every: Duration::from_hours(1), pace: Pace::default(), budget: None });
    let house = House::with("labelled", Arc::new(SystemClock::new()), align).await;
    for key in ["a", "b"] {
        house.put(&house.logs, key, 1000).await;
    }
    let archived = wish("s3://logs/", Some("labels['team'] == 'x'"), &["cold"], &[]);
    let kept_here = wish("s3://logs/", Some("'home' in labels"), &[], &["far"]);
    house.declare(&[("archive", archived), ("home", kept_here)]).await.unwrap();
    let until = async |key: &str, silo: &str| {
        for _ in 0..500 {
            if house.silos(&house.logs, key).await == [silo] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{key} is on {:?}", house.silos(&house.logs, key).await);
    };
    house.label(&house.logs, "a", "team", "x").await.unwrap();
    until("a", "cold").await;
    assert_eq!(house.silos(&house.logs, "b").await, ["hot"]);
    // What is written anew goes at once where its key's labels want it, and never where they forbid it.
    house.put(&house.logs, "a", 2000).await;
    assert_eq!(house.silos(&house.logs, "a").await, ["cold"]);
    let write = WritePolicy { to: vec![WriteTarget { silo: "far".to_owned(), min_size: 0, max_size: None }] };
    house.namespace.apply(&Declared { write: Some(write), ..Declared::default() }, false).await.unwrap();
    house.label(&house.logs, "b", "home", "").await.unwrap();
    let text = "x".repeat(100);
    let refused =
        support::put(&house.namespace, &house.logs, "b", &text, Headers::default(), Condition::default()).await;
    assert!(refused.unwrap_err().to_string().contains("objective `home` leaves no silo"));
    // Nor does a copy share bytes that lie there.
    house.put(&house.photos, "far", 500).await;
    let source = house.namespace.open_object(&house.photos, &"far".parse().unwrap()).await.unwrap();
    let copy = holdall_namespace::copy::CopyObject {
        source: &source,
        bucket: &house.logs,
        key: &"b".parse().unwrap(),
        headers: None,
        tags: None,
        storage_class: None,
        algorithm: None,
        condition: Condition::default(),
    };
    assert!(house.namespace.copy(copy).await.unwrap_err().to_string().contains("objective `home` leaves no silo"));
}
