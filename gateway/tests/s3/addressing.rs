use crate::house::{House, complete};

/// A key is taken byte for byte: `a//b`, `a/`, `..`, a leading `/`, control characters and everything else name
/// different objects, and none of them leaves its bucket.
#[tokio::test]
async fn keys_are_taken_as_they_are() {
    let house = House::with_bucket().await;
    let long = "x".repeat(1024);
    let keys = [
        "a",
        "a/",
        "a/b",
        "a//b",
        "/a",
        "//a",
        "..",
        ".",
        "../abc/a",
        "%252e%252e",
        "a%20b",
        "a+b",
        "a%2Bb",
        "a%252Fb",
        "%00",
        "%0A",
        "%F0%9F%94%91",
        "e%CC%81",
        "%C3%A9",
        "A",
        &long,
    ];
    for (number, key) in keys.iter().enumerate() {
        house.put(&format!("/abc/{key}")).body(number.to_string()).await.expect(200);
    }
    // `a+b` and `a%2Bb` are the same key, written twice.
    let distinct = keys.len() - 1;
    for (number, key) in keys.iter().enumerate().filter(|(_, key)| **key != "a+b") {
        assert_eq!(house.get(&format!("/abc/{key}")).await.expect(200).text(), number.to_string(), "{key}");
    }
    assert_eq!(house.get("/abc?list-type=2").await.expect(200).element("KeyCount"), distinct.to_string());
}

/// Paths are decoded exactly once. What does not decode to UTF-8 is InvalidURI, a key over 1,024 bytes is
/// KeyTooLongError, and a bucket name outside S3's grammar is InvalidBucketName before anything is looked up.
#[tokio::test]
async fn what_is_no_address_is_refused() {
    let house = House::with_bucket().await;
    for (target, status, code) in [
        ("/abc/%zz", 400, "InvalidURI"),
        ("/abc/%ff", 400, "InvalidURI"),
        ("/abc?prefix=%ff", 400, "InvalidURI"),
        (&format!("/abc/{}", "x".repeat(1025)), 400, "KeyTooLongError"),
        ("/Abc/k", 400, "InvalidBucketName"),
        ("/../abc/k", 400, "InvalidBucketName"),
        ("/%2e%2e/abc/k", 400, "InvalidBucketName"),
        ("//abc/k", 400, "InvalidBucketName"),
    ] {
        house.get(target).await.refused(status, code);
    }
}

/// Below a domain of the gateway the host's first part is the bucket and the path is the key; any other host is
/// path-style. The Location of a completed upload is the address that the client used.
#[tokio::test]
async fn hosts_name_buckets() {
    let house = House::with_bucket().await;
    let host = "abc.s3.example.org";
    let id = house.post("/c/d?uploads").host(host).await.expect(200).element("UploadId");
    let part = house.put(&format!("/c/d?partNumber=1&uploadId={id}")).host(host).body("1").await.expect(200);
    let list = complete(&[(1, part.header("etag"))]);
    let done = house.post(&format!("/c/d?uploadId={id}")).host(host).body(list).await.expect(200);
    assert_eq!(done.element("Location"), "http://abc.s3.example.org/c/d");
    house.delete("/c/d").host(host).await.expect(204);
    house.put("/a/b").host("abc.s3.example.org").body("1").await.expect(200);
    assert_eq!(house.get("/abc/a/b").host("s3.example.org:9000").await.expect(200).text(), "1");
    assert_eq!(house.get("/?list-type=2").host("ABC.s3.example.org:9000").await.expect(200).element("Key"), "a/b");
    house.get("/a/b").host("other.s3.example.org").await.refused(404, "NoSuchBucket");
}

/// Operations that are not built answer 501 NotImplemented and name themselves. A sub-resource that an operation does
/// not know never reads, writes or deletes the object it stands behind.
#[tokio::test]
async fn what_is_not_built_says_so() {
    let house = House::with_bucket().await;
    house.put("/abc/k").body("kept").await.expect(200);
    for (method, target, operation) in [
        ("PUT", "/abc/k?retention", "PutObjectRetention"),
        ("PUT", "/abc/k?legal-hold", "PutObjectLegalHold"),
        ("GET", "/abc/k?torrent", "GetObjectTorrent"),
        ("POST", "/abc/k?restore", "RestoreObject"),
        ("POST", "/abc/k?select&select-type=2", "SelectObjectContent"),
        ("PUT", "/abc?versioning", "PutBucketVersioning"),
        ("PUT", "/abc?policy", "PutBucketPolicy"),
        ("DELETE", "/abc?lifecycle", "DeleteBucketLifecycle"),
        ("POST", "/abc", "PostObject"),
    ] {
        let answer = house.ask(method, target).body("gone").await.refused(501, "NotImplemented");
        assert_eq!(answer.element("Operation"), operation);
        assert_eq!(answer.subject.operation, Some(operation));
    }
    for (method, target, status) in [
        ("PUT", "/abc/k?torrent", 405),
        ("DELETE", "/abc/k?acl", 405),
        ("PUT", "/abc/k?uploads", 405),
        ("PUT", "/abc/k?partNumber=1", 400),
        ("PUT", "/abc/k?versionId=1", 400),
        // An Abort that lost its upload id deleted the object.
        ("DELETE", "/abc/k?partNumber=1", 400),
        ("DELETE", "/abc/k?versionId=", 400),
        ("GET", "/abc/k?versionId=", 400),
        ("PUT", "/abc/k?acl&tagging", 400),
        ("DELETE", "/abc?policyStatus", 405),
    ] {
        house.ask(method, target).body("gone").await.expect(status);
    }
    assert_eq!(house.get("/abc/k").await.expect(200).text(), "kept");
}

/// Every answer carries `x-amz-request-id`, and an error document repeats it beside the resource, the bucket and the
/// key.
#[tokio::test]
async fn errors_name_what_was_asked() {
    let house = House::with_bucket().await;
    let answer = house.get("/abc/a%3Cb").await.refused(404, "NoSuchKey");
    assert_eq!(answer.element("RequestId"), answer.header("x-amz-request-id"));
    assert_eq!((answer.element("BucketName"), answer.element("Key")), ("abc".into(), "a&lt;b".into()));
    assert_eq!(answer.element("Resource"), "/abc/a%3Cb");
    assert_eq!(answer.header("content-type"), "application/xml");
    let head = house.head("/abc/k").await.expect(404);
    assert_eq!((head.body.len(), head.subject.error), (0, Some("NoSuchKey")));
}
