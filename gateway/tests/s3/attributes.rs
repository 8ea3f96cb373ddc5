use crate::house::{House, complete};

/// GetObjectAttributes answers exactly what `x-amz-object-attributes` names; parts of an object that was uploaded in
/// parts come in pages, with their sizes whether or not they have checksums.
#[tokio::test]
async fn attributes_are_asked_for_by_name() {
    let house = House::with_bucket().await;
    house.put("/abc/k").header("x-amz-checksum-crc32", "NhCmhg==").body("hello").await.expect(200);
    let ask =
        |target: &str, names: &str| house.get(&format!("{target}?attributes")).header("x-amz-object-attributes", names);
    let all = ask("/abc/k", "ETag,Checksum,ObjectParts,StorageClass,ObjectSize").await.expect(200);
    assert_eq!(all.element("ETag"), "5d41402abc4b2a76b9719d911017c592");
    assert_eq!((all.element("ObjectSize"), all.element("StorageClass")), ("5".into(), "STANDARD".into()));
    assert_eq!((all.element("ChecksumCRC32"), all.element("ChecksumType")), ("NhCmhg==".into(), "FULL_OBJECT".into()));
    assert!(all.elements("ObjectParts").is_empty() && all.has("last-modified"));
    let one = ask("/abc/k", "ObjectSize").await.expect(200);
    assert_eq!((one.elements("ETag").len(), one.element("ObjectSize")), (0, "5".into()));
    ask("/abc/k", "Color").await.refused(400, "InvalidArgument");
    ask("/abc/none", "ETag").await.refused(404, "NoSuchKey");
    house.get("/abc/k?attributes").await.refused(400, "InvalidRequest");

    let large = vec![b'a'; 5 << 20];
    let (id, etags) = house.parts("/abc/m", &[(1, large.clone()), (2, large), (4, b"end".to_vec())]).await;
    let list = complete(&[(1, &etags[0]), (2, &etags[1]), (4, &etags[2])]);
    house.post(&format!("/abc/m?uploadId={id}")).body(list).await.expect(200);
    let page = ask("/abc/m", "ObjectParts").header("x-amz-max-parts", "1").header("x-amz-part-number-marker", "1");
    let page = page.await.expect(200);
    assert_eq!(
        (page.element("PartsCount"), page.element("PartNumber"), page.element("IsTruncated")),
        ("3".into(), "2".into(), "true".into())
    );
    assert_eq!((page.element("NextPartNumberMarker"), page.element("Size")), ("2".into(), "5242880".into()));
    let rest = ask("/abc/m", "ObjectParts").header("x-amz-part-number-marker", "2").await.expect(200);
    assert_eq!((rest.element("PartNumber"), rest.element("IsTruncated")), ("4".into(), "false".into()));
}
