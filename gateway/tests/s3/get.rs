use crate::house::{House, complete};

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + (at >> 9)) as u8).collect()
}

/// A GET returns the object whole, with its ETag, length and time; HEAD says the same without the bytes.
#[tokio::test]
async fn objects_are_read_whole() {
    let house = House::with_bucket().await;
    for length in [0, 1, 4096, 262_144, 262_145, 1_000_000] {
        let body = bytes(length);
        house.put("/abc/k").body(body.clone()).await.expect(200);
        let answer = house.get("/abc/k").await.expect(200);
        assert!(answer.body == body, "{length}");
        let head = house.head("/abc/k").await.expect(200);
        assert_eq!(head.body.len(), 0);
        for name in ["content-length", "etag", "last-modified", "content-type", "accept-ranges"] {
            assert_eq!(head.headers[name], answer.headers[name]);
        }
        assert_eq!(head.header("content-length"), length.to_string());
        assert_eq!(answer.subject.operation, Some("GetObject"));
    }
}

/// One range is answered with 206 and exactly its bytes, cut at the object's end; one beyond the end is InvalidRange;
/// several, or one that makes no sense, are ignored. If-Range with another ETag gives the whole object.
#[tokio::test]
async fn ranges_are_exact() {
    let house = House::with_bucket().await;
    let body = bytes(700_000);
    let etag = house.put("/abc/k").body(body.clone()).await.expect(200).header("etag").to_owned();
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=262143-262144", 262_143, 262_144),
        ("bytes=5-", 5, 699_999),
        ("bytes=-7", 699_993, 699_999),
        ("bytes=600000-9000000", 600_000, 699_999),
    ] {
        let answer = house.get("/abc/k").header("range", range).header("if-range", &etag).await.expect(206);
        assert!(answer.body == body[first..=last], "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {first}-{last}/700000"));
        let head = house.head("/abc/k").header("range", range).await.expect(206);
        assert_eq!(head.header("content-length"), (last - first + 1).to_string());
    }
    let beyond = house.get("/abc/k").header("range", "bytes=700000-").await.refused(416, "InvalidRange");
    assert_eq!(beyond.element("ActualObjectSize"), "700000");
    for range in ["bytes=0-1,5-6", "bytes=9-5", "bytes=x-y", "lines=0-1"] {
        assert_eq!(house.get("/abc/k").header("range", range).await.expect(200).body.len(), 700_000, "{range}");
    }
    let changed = house.get("/abc/k").header("range", "bytes=0-0").header("if-range", "\"other\"").await;
    assert_eq!(changed.expect(200).body.len(), 700_000);
    house.put("/abc/empty").await.expect(200);
    house.get("/abc/empty").header("range", "bytes=0-").await.refused(416, "InvalidRange");
}

/// `?partNumber=` reads one part as it was uploaded, with 206, the number of parts, and the part's own checksum. A part
/// that is not there is InvalidPart (400), where AWS says InvalidPartNumber (416). An object that was not uploaded in parts has part 1.
#[tokio::test]
async fn parts_are_read_by_number() {
    let house = House::with_bucket().await;
    let (large, small) = (bytes(5 << 20), bytes(1000));
    let (id, etags) = house.parts("/abc/k", &[(1, large.clone()), (2, small.clone())]).await;
    let list = complete(&[(1, &etags[0]), (2, &etags[1])]);
    house.post(&format!("/abc/k?uploadId={id}")).body(list).await.expect(200);
    let part = house.get("/abc/k?partNumber=2").await.expect(206);
    assert!(part.body == small);
    assert_eq!(part.header("content-range"), format!("bytes 5242880-5243879/{}", (5 << 20) + 1000));
    assert_eq!(part.header("x-amz-mp-parts-count"), "2");
    let head = house.head("/abc/k?partNumber=1").await.expect(206);
    assert_eq!((head.header("content-length"), head.header("x-amz-mp-parts-count")), ("5242880", "2"));
    assert!(!house.head("/abc/k").await.expect(200).has("x-amz-mp-parts-count"));
    house.get("/abc/k?partNumber=3").await.refused(400, "InvalidPart");
    house.get("/abc/k?partNumber=0").await.refused(400, "InvalidArgument");
    house.get("/abc/k?partNumber=1").header("range", "bytes=0-1").await.refused(400, "InvalidRequest");
    house.put("/abc/plain").body("body").await.expect(200);
    assert_eq!(house.get("/abc/plain?partNumber=1").await.expect(206).text(), "body");
    house.get("/abc/plain?partNumber=2").await.refused(400, "InvalidPart");
}

/// `response-*` parameters replace headers of a GET's answer. What cannot be a header is InvalidArgument.
#[tokio::test]
async fn answers_can_be_dressed() {
    let house = House::with_bucket().await;
    house.put("/abc/k").header("content-type", "text/x").body("x").await.expect(200);
    let query = "response-content-type=foo%2Fbar&response-content-disposition=bla&response-content-encoding=aaa\
        &response-content-language=esperanto&response-cache-control=no-cache&response-expires=123";
    let answer = house.get(&format!("/abc/k?{query}")).await.expect(200);
    for (name, value) in [
        ("content-type", "foo/bar"),
        ("content-disposition", "bla"),
        ("content-encoding", "aaa"),
        ("content-language", "esperanto"),
        ("cache-control", "no-cache"),
        ("expires", "123"),
    ] {
        assert_eq!(answer.header(name), value);
    }
    house.get("/abc/k?response-expires=a%0D%0Ab:c").await.refused(400, "InvalidArgument");
}

/// A bucket without versioning has one version of an object, `null`; another version id is NoSuchVersion, and deleting
/// one never deletes the object.
#[tokio::test]
async fn the_only_version_is_null() {
    let house = House::with_bucket().await;
    house.put("/abc/k").body("x").await.expect(200);
    house.get("/abc/k?versionId=null").await.expect(200);
    for (method, target) in
        [("GET", "/abc/k?versionId=1"), ("DELETE", "/abc/k?versionId=1"), ("GET", "/abc/k?tagging&versionId=1")]
    {
        house.ask(method, target).await.refused(404, "NoSuchVersion");
    }
    house.get("/abc/k").await.expect(200);
    house.delete("/abc/k?versionId=null").await.expect(204);
    house.get("/abc/k").await.refused(404, "NoSuchKey");
}
