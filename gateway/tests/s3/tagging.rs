use crate::house::House;

fn tags(pairs: &[(&str, &str)]) -> String {
    let tag = |(key, value): &(&str, &str)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", pairs.iter().map(tag).collect::<String>())
}

/// An object's tags are replaced as a whole, come back in the order of their keys, and change neither its ETag nor its
/// Last-Modified.
#[tokio::test]
async fn objects_have_tags() {
    let house = House::with_bucket().await;
    house.put("/abc/k").header("x-amz-tagging", "b=2&a=1%202&c").await.expect(200);
    let before = house.head("/abc/k").await.expect(200);
    assert_eq!(before.header("x-amz-tagging-count"), "3");
    let set = house.get("/abc/k?tagging").await.expect(200);
    assert_eq!(
        (set.elements("Key"), set.elements("Value")),
        (vec!["a".into(), "b".into(), "c".into()], vec!["1 2".to_owned(), "2".into(), String::new()])
    );
    house.put("/abc/k?tagging").body(tags(&[("x", "&lt;y"), ("d", "e")])).await.refused(400, "InvalidTag");
    house.put("/abc/k?tagging").body(tags(&[("x", "y"), ("d", "e")])).await.expect(200);
    assert_eq!(house.get("/abc/k?tagging").await.expect(200).elements("Key"), ["d", "x"]);
    house.delete("/abc/k?tagging").await.expect(204);
    assert!(house.get("/abc/k?tagging").await.expect(200).elements("Key").is_empty());
    let after = house.head("/abc/k").await.expect(200);
    assert_eq!(after.headers["etag"], before.headers["etag"]);
    assert_eq!(after.headers["last-modified"], before.headers["last-modified"]);
    assert!(!after.has("x-amz-tagging-count"));
    house.get("/abc/none?tagging").await.refused(404, "NoSuchKey");
    house.put("/abc/none?tagging").body(tags(&[])).await.refused(404, "NoSuchKey");
}

/// A bucket has at most 50 tags, an object 10, each a key of up to 128 and a value of up to 256 characters; beyond
/// that, for a repeated key and for `aws:` it is InvalidTag, and nothing is changed. A bucket without tags is
/// NoSuchTagSet.
#[tokio::test]
async fn tags_have_limits() {
    let house = House::with_bucket().await;
    house.put("/abc/k").await.expect(200);
    let names: Vec<String> = (0..51).map(|number| format!("k{number}")).collect();
    let many = |count: usize| tags(&names[..count].iter().map(|name| (name.as_str(), "v")).collect::<Vec<_>>());
    house.put("/abc/k?tagging").body(many(10)).await.expect(200);
    house.put("/abc/k?tagging").body(many(11)).await.refused(400, "InvalidTag");
    house.get("/abc?tagging").await.refused(404, "NoSuchTagSet");
    house.put("/abc?tagging").body(many(50)).await.expect(204);
    house.put("/abc?tagging").body(many(51)).await.refused(400, "InvalidTag");
    let (key, value) = ("k".repeat(129), "v".repeat(257));
    for bad in [
        vec![(key.as_str(), "v")],
        vec![("k", value.as_str())],
        vec![("k", "1"), ("k", "2")],
        vec![("aws:k", "v")],
        vec![("", "v")],
    ] {
        house.put("/abc/k?tagging").body(tags(&bad)).await.refused(400, "InvalidTag");
        house.put("/abc?tagging").body(tags(&bad)).await.refused(400, "InvalidTag");
    }
    assert_eq!(house.get("/abc/k?tagging").await.expect(200).elements("Key").len(), 10);
    assert_eq!(house.get("/abc?tagging").await.expect(200).elements("Key").len(), 50);
    house.delete("/abc?tagging").await.expect(204);
    house.get("/abc?tagging").await.refused(404, "NoSuchTagSet");
    house.put("/abc/k?tagging").body("<Tagging>").await.refused(400, "MalformedXML");
}
