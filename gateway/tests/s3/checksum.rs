use crate::house::House;

const CRC32: &str = "NhCmhg==";
const SHA256: &str = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";

/// A checksum that comes with an object, in a header or a trailer, is checked before the object exists, kept, and
/// returned by reads that ask for it with `x-amz-checksum-mode`.
#[tokio::test]
async fn checksums_are_checked_and_returned() {
    let house = House::with_bucket().await;
    for (name, value) in [
        ("x-amz-checksum-crc32", CRC32),
        ("x-amz-checksum-crc32c", "mnG7TA=="),
        ("x-amz-checksum-crc64nvme", "M3eFcAZSQlc="),
        ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        ("x-amz-checksum-sha256", SHA256),
    ] {
        let stored = house.put("/abc/k").header(name, value).body("hello").await.expect(200);
        assert_eq!((stored.header(name), stored.header("x-amz-checksum-type")), (value, "FULL_OBJECT"));
        assert!(!house.head("/abc/k").await.expect(200).has(name));
        for method in ["GET", "HEAD"] {
            let answer = house.ask(method, "/abc/k").header("x-amz-checksum-mode", "ENABLED").await.expect(200);
            assert_eq!((answer.header(name), answer.header("x-amz-checksum-type")), (value, "FULL_OBJECT"));
        }
        house.put("/abc/t").trailer(name, value).body("hello").await.expect(200);
        let range = house.get("/abc/t").header("x-amz-checksum-mode", "ENABLED").header("range", "bytes=0-1");
        assert!(!range.await.expect(206).has(name), "a range is not what was summed");
        house.put("/abc/wrong").header(name, value).body("other").await.refused(400, "BadDigest");
        house.put("/abc/wrong").trailer(name, value).body("other").await.refused(400, "BadDigest");
    }
    house.get("/abc/wrong").await.refused(404, "NoSuchKey");
}

/// Content-MD5 is compared with the body: InvalidDigest when it is no MD5, BadDigest when it is another's. A checksum
/// value that is none of its algorithm is BadDigest, where AWS says InvalidRequest; two checksums, or one that
/// `x-amz-sdk-checksum-algorithm` contradicts, are InvalidRequest; an algorithm not built is NotImplemented.
#[tokio::test]
async fn wrong_checksums_store_nothing() {
    let house = House::with_bucket().await;
    let put = || house.put("/abc/k").body("hello");
    put().header("content-md5", "YWJyYWNhZGFicmE=").await.refused(400, "InvalidDigest");
    put().header("content-md5", "").await.refused(400, "InvalidDigest");
    put().header("content-md5", "rL0Y20xC+Fzt72VPzMSk2A==").await.refused(400, "BadDigest");
    put().header("x-amz-checksum-sha256", "bad").await.refused(400, "BadDigest");
    put().header("x-amz-checksum-sha512", "AAAA").await.refused(501, "NotImplemented");
    let two = put().header("x-amz-checksum-crc32", CRC32).header("x-amz-checksum-sha256", SHA256);
    two.await.refused(400, "InvalidRequest");
    let other = put().header("x-amz-checksum-crc32", CRC32).header("x-amz-sdk-checksum-algorithm", "SHA256");
    other.await.refused(400, "InvalidRequest");
    house.get("/abc/k").await.refused(404, "NoSuchKey");
    put().header("content-md5", "XUFAKrxLKna5cZ2REBfFkg==").await.expect(200);
}
