//! What several tests do to a namespace.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![allow(dead_code, reason = "not every test wants all of it")]

use holdall_namespace::Namespace;
use holdall_namespace::bucket::Bucket;
use holdall_namespace::copy::CopyObject;
use holdall_namespace::object::Condition;

pub(crate) mod clock;
pub(crate) mod engine;

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
