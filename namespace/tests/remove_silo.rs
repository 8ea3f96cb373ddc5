//! Taking a silo out, while something is on its way into it.

#![expect(clippy::unwrap_used, reason = "what a test cannot go on without fails it")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_namespace::Namespace;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::inventory::{Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, Pace};
use holdall_namespace::limits::BUFFERED_BODY;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutObject, Upload};
use holdall_namespace::remove_silo::RemoveSiloError;
use tokio::sync::oneshot;

mod support;

fn to(silos: &[&str]) -> WritePolicy {
    let target = |silo: &&str| WriteTarget { silo: (*silo).to_owned(), min_size: 0, max_size: None };
    WritePolicy { to: silos.iter().map(target).collect() }
}

/// Two silos in memory, `hot` first, and a bucket.
async fn house(test: &str) -> (Arc<Namespace>, Bucket) {
    let engine: Arc<dyn Engine> = Arc::new(Memory::new());
    let options = support::options();
    let namespace = Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap();
    let silo = |name: &str| (name.to_owned(), DeclaredSilo::own(format!("memory:{test}-{name}")));
    let silos = ["hot", "cold"].map(silo).into();
    namespace
        .apply(&Declared { silos, write: Some(to(&["hot", "cold"])), ..Declared::default() }, false)
        .await
        .unwrap();
    namespace.ensure_first_key(None).await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    namespace.start_background();
    (namespace, bucket)
}

/// A PUT whose body stops after its first piece until it is told to go on.
async fn put_in_two(namespace: Arc<Namespace>, bucket: Bucket, go_on: oneshot::Receiver<()>) {
    let half = BUFFERED_BODY as usize;
    let first = stream::once(async move { Ok(Bytes::from(vec![1; half])) });
    let second = stream::once(async move {
        go_on.await.unwrap();
        Ok(Bytes::from(vec![2; half]))
    });
    let body = first.chain(second).boxed();
    let upload = Upload { body, size: 2 * half as u64, algorithm: None, verify: Box::new(|_| Ok(())) };
    let request = PutObject {
        bucket: &bucket,
        key: &"slow".parse().unwrap(),
        upload,
        headers: Headers::default(),
        tags: Vec::new(),
        storage_class: None,
        condition: Condition::default(),
    };
    namespace.put(request).await.unwrap();
}

/// A PUT that chose the silo before it was cordoned commits after everybody looked: the removal must wait for it, and
/// then sees what it left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_its_way_is_waited_for_and_seen() {
    let (namespace, bucket) = house("remove-late").await;
    let (go_on, waits) = oneshot::channel();
    let put = tokio::spawn(put_in_two(Arc::clone(&namespace), bucket, waits));
    // Its first piece is in the silo by then, or on its way there.
    tokio::time::sleep(Duration::from_millis(300)).await;
    namespace.set_cordon("hot", true).await.unwrap();
    namespace.apply(&Declared { write: Some(to(&["cold"])), ..Declared::default() }, false).await.unwrap();
    let removing = tokio::spawn({
        let namespace = Arc::clone(&namespace);
        async move { namespace.remove_silo("hot").await }
    });
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!removing.is_finished(), "it did not wait: {:?}", removing.await);
    go_on.send(()).unwrap();
    put.await.unwrap();
    let refused = removing.await.unwrap().unwrap_err();
    assert!(matches!(refused, RemoveSiloError::Holds { extents: 1, .. }), "{refused}");

    let order = Order::Drain { from: "hot".to_owned(), to: "cold".to_owned() };
    let job = namespace.start_job(order, Pace::default()).await.unwrap().id;
    while namespace.job(job).await.unwrap().state != JobState::Empty {
        namespace.sweep_now().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    namespace.remove_silo("hot").await.unwrap();
    assert_eq!(namespace.silos().await.unwrap().len(), 1);
    namespace.close().await;
}

/// Whoever is still in the way is named.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_the_way_is_named() {
    let (namespace, _) = house("remove-named").await;
    let remove = async |silo: &str| namespace.remove_silo(silo).await.map_err(|error| error.to_string());
    assert_eq!(remove("lukewarm").await.unwrap_err(), "no silo `lukewarm`");
    let told = remove("hot").await.unwrap_err();
    assert_eq!(told, "silo `hot` takes new bytes: `holdall silo cordon hot` first");
    namespace.set_cordon("hot", true).await.unwrap();
    let told = remove("hot").await.unwrap_err();
    assert_eq!(told, "`write` sends new objects to silo `hot`: declare it without that silo first");
    let bucket_write = [("logs".parse().unwrap(), to(&["hot"]))].into();
    let declared = Declared { write: Some(to(&["cold"])), bucket_write, ..Declared::default() };
    namespace.apply(&declared, false).await.unwrap();
    let told = remove("hot").await.unwrap_err();
    assert_eq!(told, "`bucket.logs.write` sends new objects to silo `hot`: declare it without that silo first");
    let bucket_write = [("logs".parse().unwrap(), to(&["cold"]))].into();
    namespace.apply(&Declared { bucket_write, ..Declared::default() }, false).await.unwrap();
    remove("hot").await.unwrap();
    namespace.set_cordon("cold", true).await.unwrap();
    assert_eq!(remove("cold").await.unwrap_err(), "silo `cold` is the only one");
    namespace.close().await;
}
