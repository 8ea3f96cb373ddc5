//! What several tests do to a namespace.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(dead_code, reason = "not every test wants all of it")]

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_namespace::assimilate::RootInfo;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::copy::CopyObject;
use holdall_namespace::fault::Fault;
use holdall_namespace::get::{GetError, Opened};
use holdall_namespace::list::List;
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::put::{PutError, PutObject, Upload};
use holdall_namespace::{Namespace, Options};

pub(crate) mod clock;
pub(crate) mod engine;

/// Everything that a test says nothing about: no grace, no packs, no backups, and what moves, moves by order.
pub(crate) fn options() -> Options {
    let (base, seal_key) = ("/".into(), [7; 32]);
    Options { base, seal_key, grace: Duration::ZERO, pack_up_to: 0, backup: None, align: None, scrub: None }
}

/// Copies an object within a bucket, headers and tags as they are.
pub(crate) async fn copy(namespace: &Namespace, bucket: &Bucket, from: &str, to: &str) {
    let source = namespace.open_object(bucket, &from.parse().unwrap()).await.unwrap();
    let copy = CopyObject {
        source: &source,
        bucket,
        key: &to.parse().unwrap(),
        headers: None,
        tags: None,
        storage_class: None,
        algorithm: None,
        condition: Condition::default(),
    };
    namespace.copy(copy).await.unwrap();
}

/// Puts a text; answers its `ETag`.
pub(crate) async fn put(
    namespace: &Namespace,
    bucket: &Bucket,
    name: &str,
    text: &str,
    headers: Headers,
    condition: Condition,
) -> Result<String, PutError> {
    let upload = Upload {
        body: stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed(),
        size: text.len() as u64,
        algorithm: None,
        verify: Box::new(|_| Ok(())),
    };
    let (key, tags, storage_class) = (&name.parse().unwrap(), Vec::new(), None);
    let put = PutObject { bucket, key, upload, headers, tags, storage_class, condition };
    Ok(namespace.put(put).await?.object.etag)
}

/// All of an object that is text.
pub(crate) async fn text(opened: &Opened) -> Result<String, GetError> {
    let pieces: Vec<Bytes> = opened.read(0..opened.object.size).await?.try_collect().await?;
    Ok(String::from_utf8(pieces.concat()).unwrap())
}

/// The keys of a bucket under a prefix, up to a page of them.
pub(crate) async fn keys(namespace: &Namespace, bucket: &Bucket, prefix: &str) -> Result<Vec<String>, Fault> {
    let list = List { prefix: prefix.to_owned(), limit: 1000, ..List::default() };
    let page = namespace.list(bucket, list).await?;
    Ok(page.lines.iter().map(|line| line.text().to_owned()).collect())
}

/// Waits until a root is as it should be.
pub(crate) async fn root_until(namespace: &Namespace, id: u32, what: impl Fn(&RootInfo) -> bool) -> RootInfo {
    for _ in 0..1000 {
        let root = namespace.root(id).await.unwrap();
        if what(&root) {
            return root;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come to that: {:?}", namespace.root(id).await);
}

/// Waits until two passes more ended: the first may have begun before.
pub(crate) async fn root_passed(namespace: &Namespace, id: u32) -> RootInfo {
    let before = namespace.root(id).await.unwrap().passes;
    root_until(namespace, id, |root| root.passes >= before + 2).await
}
