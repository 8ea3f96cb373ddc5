use crate::house::{House, complete};

fn part(byte: u8, length: usize) -> Vec<u8> {
    vec![byte; length]
}

const LEAST: usize = 5 << 20;

/// Parts may come in any order, with gaps between their numbers, and be replaced; the list names which make the object,
/// ascending. The object's ETag is the MD5 of the parts' MD5s and their number. A repeated Complete with the same list
/// answers the same.
#[tokio::test]
async fn parts_make_an_object() {
    let house = House::with_bucket().await;
    let begun = house
        .post("/abc/k?uploads")
        .header("x-amz-meta-a", "1")
        .header("content-type", "text/x")
        .header("x-amz-tagging", "t=1")
        .await;
    let id = begun.expect(200).element("UploadId");
    let mut etags = vec![];
    for (number, byte, length) in [(9000, b'c', 10), (2, b'x', LEAST), (5, b'u', 100), (2, b'a', LEAST)] {
        let target = format!("/abc/k?uploadId={id}&partNumber={number}");
        etags.push(house.put(&target).body(part(byte, length)).await.expect(200).header("etag").to_owned());
    }
    house.get("/abc/k").await.refused(404, "NoSuchKey");
    let list = complete(&[(2, &etags[3]), (9000, &etags[0])]);
    let done = house.post(&format!("/abc/k?uploadId={id}")).body(list.clone()).await.expect(200);
    assert_eq!(done.element("Location"), "http://127.0.0.1:9000/abc/k");
    assert!(done.element("ETag").ends_with("-2&quot;"));
    let object = house.get("/abc/k").await.expect(200);
    assert!(object.body == [part(b'a', LEAST), part(b'c', 10)].concat());
    assert_eq!(object.header("etag"), done.element("ETag").replace("&quot;", "\""));
    assert_eq!(
        (object.header("x-amz-meta-a"), object.header("content-type"), object.header("x-amz-tagging-count")),
        ("1", "text/x", "1")
    );
    let again = house.post(&format!("/abc/k?uploadId={id}")).body(list).await.expect(200);
    assert_eq!(again.element("ETag"), done.element("ETag"));
}

/// Complete refuses a list out of order (InvalidPartOrder), a part that is not there or has another ETag (InvalidPart),
/// a part but the last under 5 MiB (EntityTooSmall), an empty list (MalformedXML) and a size that is not the parts'
/// (InvalidRequest); the upload goes on.
#[tokio::test]
async fn wrong_lists_complete_nothing() {
    let house = House::with_bucket().await;
    let (id, etags) = house.parts("/abc/k", &[(1, part(b'a', 100)), (2, part(b'b', 100))]).await;
    let target = format!("/abc/k?uploadId={id}");
    let send = |list: String| house.post(&target).body(list);
    send(complete(&[(2, &etags[1]), (1, &etags[0])])).await.refused(400, "InvalidPartOrder");
    send(complete(&[(9999, &etags[0])])).await.refused(400, "InvalidPart");
    send(complete(&[(1, &etags[1])])).await.refused(400, "InvalidPart");
    send(complete(&[(10_001, &etags[1])])).await.refused(400, "InvalidArgument");
    let small = send(complete(&[(1, &etags[0]), (2, &etags[1])])).await.refused(400, "EntityTooSmall");
    assert_eq!((small.element("PartNumber"), small.element("ProposedSize")), ("1".into(), "100".into()));
    send(complete(&[])).await.refused(400, "MalformedXML");
    send(String::new()).await.refused(400, "MalformedXML");
    let good = || send(complete(&[(2, etags[1].trim_matches('"'))]));
    good().header("x-amz-mp-object-size", "99").await.refused(400, "InvalidRequest");
    good().header("if-match", "*").await.refused(404, "NoSuchKey");
    good().header("x-amz-mp-object-size", "100").header("if-none-match", "*").await.expect(200);
}

/// An upload that does not exist, or is aborted, is NoSuchUpload to everything; part numbers are 1 to 10,000.
#[tokio::test]
async fn uploads_end() {
    let house = House::with_bucket().await;
    let (id, etags) = house.parts("/abc/k", &[(1, part(b'a', 100))]).await;
    for number in ["0", "10001", "x", ""] {
        let target = format!("/abc/k?uploadId={id}&partNumber={number}");
        house.put(&target).body("x").await.refused(400, "InvalidArgument");
    }
    house.delete(&format!("/abc/k?uploadId={id}")).await.expect(204);
    let list = complete(&[(1, &etags[0])]);
    for id in [id.as_str(), "abc1234def", ""] {
        house.post(&format!("/abc/k?uploadId={id}")).body(list.clone()).await.refused(404, "NoSuchUpload");
        house.put(&format!("/abc/k?uploadId={id}&partNumber=1")).body("x").await.refused(404, "NoSuchUpload");
        house.get(&format!("/abc/k?uploadId={id}")).await.refused(404, "NoSuchUpload");
        house.delete(&format!("/abc/k?uploadId={id}")).await.refused(404, "NoSuchUpload");
    }
}

/// ListParts and ListMultipartUploads come in pages, say who began the upload, and fold and encode like other lists.
#[tokio::test]
async fn uploads_and_parts_are_listed() {
    let house = House::with_bucket().await;
    let (id, etags) = house.parts("/abc/a%20k", &[(1, part(b'a', 7)), (3, part(b'b', 8)), (7, part(b'c', 9))]).await;
    let page = house.get(&format!("/abc/a%20k?uploadId={id}&max-parts=2")).await.expect(200);
    assert_eq!(
        (page.elements("PartNumber"), page.elements("Size")),
        (vec!["1".into(), "3".into()], vec!["7".to_owned(), "8".into()])
    );
    assert_eq!((page.element("IsTruncated"), page.element("NextPartNumberMarker")), ("true".into(), "3".into()));
    let page = house.get(&format!("/abc/a%20k?uploadId={id}&part-number-marker=3")).await.expect(200);
    assert_eq!(
        (page.element("PartNumber"), page.element("ETag").replace("&quot;", "\"")),
        ("7".into(), etags[2].clone())
    );
    assert_eq!(page.elements("DisplayName"), ["admin", "admin"]);
    house.get(&format!("/abc/a%20k?uploadId={id}&max-parts=x")).await.refused(400, "InvalidArgument");

    let second = house.post("/abc/a%20k?uploads").await.expect(200).element("UploadId");
    house.post("/abc/dir/x?uploads").await.expect(200);
    let all = house.get("/abc?uploads&encoding-type=url").await.expect(200);
    assert_eq!(all.elements("Key"), ["a%20k", "a%20k", "dir/x"]);
    assert_eq!(all.elements("UploadId")[..2], [id, second]);
    let folded = house.get("/abc?uploads&delimiter=/").await.expect(200);
    assert_eq!((folded.elements("Key").len(), folded.text().contains("<CommonPrefixes><Prefix>dir/<")), (2, true));
    let page = house.get("/abc?uploads&max-uploads=1&encoding-type=url").await.expect(200);
    let next =
        format!("key-marker={}&upload-id-marker={}", page.element("NextKeyMarker"), page.element("NextUploadIdMarker"));
    let page = house.get(&format!("/abc?uploads&{next}")).await.expect(200);
    assert_eq!(page.elements("Key"), ["a k", "dir/x"]);
    assert!(house.get("/abc?uploads&prefix=none").await.expect(200).elements("Key").is_empty());
}

/// UploadPartCopy takes an exact range inside its source, or all of it; another form is InvalidArgument, one beyond the
/// source's end InvalidRange.
#[tokio::test]
async fn parts_are_copied() {
    let house = House::with_bucket().await;
    house.put("/abc/source").body("0123456789").await.expect(200);
    let id = house.post("/abc/k?uploads").await.expect(200).element("UploadId");
    let copy = |range: &str| {
        let ask = house.put(&format!("/abc/k?uploadId={id}&partNumber=1")).header("x-amz-copy-source", "abc/source");
        if range.is_empty() { ask } else { ask.header("x-amz-copy-source-range", range) }
    };
    for (range, status, code) in [
        ("bytes=0-21", 416, "InvalidRange"),
        ("0-2", 400, "InvalidArgument"),
        ("bytes=0", 400, "InvalidArgument"),
        ("bytes=hello-", 400, "InvalidArgument"),
        ("bytes=0-2,3-5", 400, "InvalidArgument"),
    ] {
        copy(range).await.refused(status, code);
    }
    for (range, body) in [("", "0123456789"), ("bytes=2-4", "234")] {
        let etag = copy(range).await.expect(200).element("ETag");
        let (id, list) = (&id, complete(&[(1, &etag.replace("&quot;", "\""))]));
        if range.is_empty() {
            continue;
        }
        house.post(&format!("/abc/k?uploadId={id}")).body(list).await.expect(200);
        assert_eq!(house.get("/abc/k").await.expect(200).text(), body);
    }
}

/// An upload's checksum is composite by default, full-object for CRC64NVME; SHA is composite only. A part with another
/// algorithm is InvalidRequest; the object's checksum is compared with the client's, `-N` included, before it exists.
#[tokio::test]
async fn uploads_have_checksums() {
    let house = House::with_bucket().await;
    let begin = |algorithm: &str, kind: &str| {
        let ask = house.post("/abc/k?uploads").header("x-amz-checksum-algorithm", algorithm);
        if kind.is_empty() { ask } else { ask.header("x-amz-checksum-type", kind) }
    };
    begin("SHA256", "FULL_OBJECT").await.refused(400, "InvalidRequest");
    begin("CRC64NVME", "COMPOSITE").await.refused(400, "InvalidRequest");
    begin("MD4", "").await.refused(400, "InvalidRequest");
    for (algorithm, kind, sum) in [
        ("CRC32", "COMPOSITE", "FKTmaw==-1"),
        ("CRC32", "FULL_OBJECT", "NhCmhg=="),
        ("CRC64NVME", "FULL_OBJECT", "M3eFcAZSQlc="),
    ] {
        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let upload = begin(algorithm, kind).await.expect(200);
        assert_eq!(
            (upload.header("x-amz-checksum-algorithm"), upload.header("x-amz-checksum-type")),
            (algorithm, kind)
        );
        let id = upload.element("UploadId");
        let target = format!("/abc/k?uploadId={id}&partNumber=1");
        let other =
            house.put(&target).header("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=").body("hello").await;
        other.refused(400, "InvalidRequest");
        let etag = house.put(&target).body("hello").await.expect(200).header("etag").to_owned();
        let list = complete(&[(1, &etag)]);
        let finish =
            |value: &str| house.post(&format!("/abc/k?uploadId={id}")).header(&header, value).body(list.clone());
        finish("bad").await.refused(400, "BadDigest");
        finish("AAAAAAAAAAA=").await.expect(400);
        if kind == "COMPOSITE" {
            finish("FKTmaw==-2").await.refused(400, "BadDigest");
        }
        let done = finish(sum).header("x-amz-checksum-type", kind).await.expect(200);
        assert_eq!(
            (done.element(&format!("Checksum{algorithm}")), done.element("ChecksumType")),
            (sum.into(), kind.into())
        );
        let head = house.head("/abc/k").header("x-amz-checksum-mode", "ENABLED").await.expect(200);
        assert_eq!((head.header(&header), head.header("x-amz-checksum-type")), (sum, kind));
        let part = house.get("/abc/k?partNumber=1").header("x-amz-checksum-mode", "ENABLED").await.expect(206);
        assert_eq!(part.header(&header), if algorithm == "CRC32" { "NhCmhg==" } else { sum });
    }
}
