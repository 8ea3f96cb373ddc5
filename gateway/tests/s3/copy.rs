use crate::house::House;

/// A copy takes the source's headers, metadata and tags, or with the REPLACE directives the request's own. The storage
/// class is the request's, or STANDARD. A copy shares its source's bytes and reads none, so it keeps the ETag, the parts
/// and the checksum; AWS gives a copy of a multipart object the MD5 of the whole and one part.
#[tokio::test]
async fn copies_keep_or_replace() {
    let house = House::with_bucket().await;
    house.put("/def").await.expect(200);
    let put = house.put("/abc/k").header("content-type", "audio/ogg").header("x-amz-meta-a", "1");
    put.header("x-amz-tagging", "t=1").header("x-amz-storage-class", "STANDARD_IA").body("foo").await.expect(200);
    let etag = house.head("/abc/k").await.expect(200).header("etag").to_owned();

    let copied = house.put("/def/copy").header("x-amz-copy-source", "abc/k").await.expect(200);
    assert_eq!(copied.element("ETag").replace("&quot;", "\""), etag);
    let copy = house.get("/def/copy").await.expect(200);
    assert_eq!(
        (copy.text().as_str(), copy.header("content-type"), copy.header("x-amz-meta-a")),
        ("foo", "audio/ogg", "1")
    );
    assert_eq!(copy.header("x-amz-tagging-count"), "1");
    assert!(!copy.has("x-amz-storage-class"));

    let copy =
        house.put("/def/copy").header("x-amz-copy-source", "/abc/k").header("x-amz-metadata-directive", "REPLACE");
    let copy = copy.header("x-amz-tagging-directive", "REPLACE").header("content-type", "audio/mpeg");
    copy.header("x-amz-meta-b", "2").header("x-amz-tagging", "u=2&v=3").await.expect(200);
    let copy = house.get("/def/copy").await.expect(200);
    assert_eq!((copy.header("content-type"), copy.header("x-amz-meta-b")), ("audio/mpeg", "2"));
    assert!(!copy.has("x-amz-meta-a"));
    assert_eq!(copy.header("x-amz-tagging-count"), "2");
    let bad = house.put("/def/copy").header("x-amz-copy-source", "abc/k").header("x-amz-metadata-directive", "SWAP");
    bad.await.refused(400, "InvalidArgument");
}

/// A copy onto itself must change something: metadata, tags, storage class, redirect or checksum; else it is
/// InvalidRequest.
#[tokio::test]
async fn a_copy_to_itself_changes_something() {
    let house = House::with_bucket().await;
    house.put("/abc/k").header("x-amz-meta-a", "1").body("foo").await.expect(200);
    let copy = || house.put("/abc/k").header("x-amz-copy-source", "abc/k");
    copy().await.refused(400, "InvalidRequest");
    copy().header("x-amz-storage-class", "STANDARD_IA").await.expect(200);
    copy().header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2").await.expect(200);
    let changed = house.get("/abc/k").await.expect(200);
    assert_eq!((changed.text().as_str(), changed.header("x-amz-meta-b")), ("foo", "2"));
    assert!(!changed.has("x-amz-meta-a"));
}

/// `x-amz-copy-source` is a bucket and a key, decoded once, maybe with `?versionId=`; a URL, an ARN and everything else
/// is InvalidArgument. The source must be the caller's own and exist, and its own conditions hold.
#[tokio::test]
async fn sources_are_bucket_and_key() {
    let house = House::with_bucket().await;
    house.put("/others").by(2).await.expect(200);
    house.put("/others/k").by(2).body("theirs").await.expect(200);
    house.put("/abc/a%2525").body("percent").await.expect(200);
    house.put("/abc/%3FversionId").body("question").await.expect(200);
    let copy = |source: &str| house.put("/abc/copy").header("x-amz-copy-source", source);
    for (source, body) in [("abc/a%2525?versionId=null", "percent"), ("%2Fabc/%3FversionId", "question")] {
        copy(source).await.expect(200);
        assert_eq!(house.get("/abc/copy").await.expect(200).text(), body);
    }
    for (source, status, code) in [
        ("abc/a%25", 404, "NoSuchKey"),
        ("abc/%3FversionId?versionId=1", 404, "NoSuchVersion"),
        ("abc/%3FversionId?versionId=", 400, "InvalidArgument"),
        ("others/k", 403, "AccessDenied"),
        ("none/k", 404, "NoSuchBucket"),
        ("abc", 400, "InvalidArgument"),
        ("http://127.0.0.1/abc/k", 400, "InvalidArgument"),
    ] {
        copy(source).await.refused(status, code);
    }
    let source = "abc/%3FversionId";
    copy(source).header("x-amz-copy-source-if-match", "other").await.refused(412, "PreconditionFailed");
    copy(source).header("x-amz-copy-source-if-none-match", "*").await.refused(412, "PreconditionFailed");
}
