use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Digest as _;

use crate::house::House;

/// System headers and user metadata come back byte for byte, also where they are no ASCII or no UTF-8. `aws-chunked` is
/// left out of Content-Encoding. An object without Content-Type is `binary/octet-stream`.
#[tokio::test]
async fn headers_come_back() {
    let house = House::with_bucket().await;
    let pairs: [(&str, &[u8]); 9] = [
        ("content-type", b"text/x"),
        ("cache-control", b"max-age=1"),
        ("content-disposition", b"attachment; filename=\"\xd0\xba\""),
        ("content-language", b"de"),
        ("expires", b"tomorrow"),
        ("x-amz-website-redirect-location", b"/elsewhere"),
        ("x-amz-meta-empty", b""),
        ("x-amz-meta-latin", b"caf\xe9"),
        ("x-amz-meta-utf8", "ключ".as_bytes()),
    ];
    let put = pairs.iter().fold(house.put("/abc/k"), |put, (name, value)| put.header(name, value));
    put.header("content-encoding", "aws-chunked,gzip").body("x").await.expect(200);
    for answer in [house.get("/abc/k").await, house.head("/abc/k").await] {
        for (name, value) in pairs {
            assert_eq!(answer.headers.get(name).map(http::HeaderValue::as_bytes), Some(value), "{name}");
        }
        assert_eq!(answer.header("content-encoding"), "gzip");
    }
    house.put("/abc/k").body("y").await.expect(200);
    let replaced = house.get("/abc/k").await.expect(200);
    assert_eq!(replaced.header("content-type"), "binary/octet-stream");
    assert!(!replaced.has("x-amz-meta-utf8") && !replaced.has("cache-control"));
}

/// A PUT must say its length (MissingContentLength), of at most 5 GiB (EntityTooLarge); one in HTTP's own chunks may
/// leave it out up to 1 MiB, where AWS takes none. User metadata over 2 KB is
/// MetadataTooLarge, an unknown storage class InvalidStorageClass. A known one is kept as a label.
#[tokio::test]
async fn puts_have_limits() {
    let house = House::with_bucket().await;
    house.put("/abc/k").unsized_body().body("x").await.refused(411, "MissingContentLength");
    let chunked = |length| {
        let put = house.put("/abc/chunked").unsized_body().header("transfer-encoding", "chunked");
        put.header("content-md5", STANDARD.encode(md5::Md5::digest(vec![b'x'; length]))).body(vec![b'x'; length])
    };
    chunked(1 << 20).await.expect(200);
    chunked((1 << 20) + 1).await.refused(411, "MissingContentLength");
    assert_eq!(house.get("/abc/chunked").await.expect(200).body.len(), 1 << 20);
    let large = house.put("/abc/k").header("x-amz-meta-a", "x".repeat(2048)).await;
    large.refused(400, "MetadataTooLarge");
    house.put("/abc/k").header("x-amz-storage-class", "COLD").await.refused(400, "InvalidStorageClass");
    house.get("/abc/k").await.refused(404, "NoSuchKey");
    house.put("/abc/k").header("x-amz-storage-class", "STANDARD_IA").await.expect(200);
    assert_eq!(house.head("/abc/k").await.expect(200).header("x-amz-storage-class"), "STANDARD_IA");
    assert_eq!(house.get("/abc?prefix=k").await.expect(200).element("StorageClass"), "STANDARD_IA");
    house.put("/abc/k").header("x-amz-storage-class", "STANDARD").await.expect(200);
    assert!(!house.head("/abc/k").await.expect(200).has("x-amz-storage-class"));
}

/// Headers that ask for encryption, object lock or appending are NotImplemented, naming the header: nothing is stored
/// that promises more than it keeps.
#[tokio::test]
async fn headers_that_promise_more_are_refused() {
    let house = House::with_bucket().await;
    for name in [
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-customer-algorithm",
        "x-amz-object-lock-mode",
        "x-amz-write-offset-bytes",
    ] {
        let answer = house.put("/abc/k").header(name, "AES256").body("x").await.refused(501, "NotImplemented");
        assert_eq!(answer.element("Header"), name);
    }
    house.get("/abc/k").await.refused(404, "NoSuchKey");
}
