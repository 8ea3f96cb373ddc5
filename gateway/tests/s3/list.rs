use crate::house::{Answer, House};

async fn filled(keys: &[&str]) -> House {
    let house = House::with_bucket().await;
    for key in keys {
        house.put(&format!("/abc/{key}")).body("x").await.expect(200);
    }
    house
}

/// Keys and common prefixes of a list, told apart.
fn lines(answer: &Answer) -> (Vec<String>, Vec<String>) {
    let text = answer.text();
    let prefixes = text.split("<CommonPrefixes><Prefix>").skip(1);
    let prefixes = prefixes.map(|rest| rest.split('<').next().unwrap().to_owned()).collect();
    (answer.elements("Key"), prefixes)
}

/// Lists are in the order of the keys' bytes, cut at `prefix`, folded at `delimiter`; a delimiter that is empty or in no
/// key folds nothing.
#[tokio::test]
async fn lists_fold_at_a_delimiter() {
    let house = filled(&["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla", "Z"]).await;
    for (query, keys, prefixes) in [
        ("", vec!["Z", "asdf", "boo/bar", "boo/baz/xyzzy", "cquux/bla", "cquux/thud"], vec![]),
        ("delimiter=/", vec!["Z", "asdf"], vec!["boo/", "cquux/"]),
        ("delimiter=/&prefix=boo/", vec!["boo/bar"], vec!["boo/baz/"]),
        ("delimiter=a", vec!["Z", "cquux/thud"], vec!["a", "boo/ba", "cquux/bla"]),
        ("delimiter=&prefix=a", vec!["asdf"], vec![]),
        ("delimiter=%0A", vec!["Z", "asdf", "boo/bar", "boo/baz/xyzzy", "cquux/bla", "cquux/thud"], vec![]),
        ("prefix=%0A", vec![], vec![]),
    ] {
        for kind in ["", "list-type=2&"] {
            let answer = house.get(&format!("/abc?{kind}{query}")).await.expect(200);
            assert_eq!(
                lines(&answer),
                (keys.iter().map(|k| (*k).to_owned()).collect(), prefixes.iter().map(|p| (*p).to_owned()).collect()),
                "{query}"
            );
            assert_eq!(answer.element("IsTruncated"), "false");
        }
    }
}

/// A page has at most `max-keys` lines, 1,000 at most and by default; objects and common prefixes count alike, no line
/// comes twice, none is left out. `max-keys=0` is an empty, complete page; what is no number is InvalidArgument.
#[tokio::test]
async fn pages_follow_each_other() {
    let house = filled(&["a", "b/1", "b/2", "c", "d/1", "e"]).await;
    for size in 1..=6 {
        let (mut v1, mut v2) = (vec![], vec![]);
        let mut marker = String::new();
        loop {
            let page = house.get(&format!("/abc?delimiter=/&max-keys={size}&marker={marker}")).await.expect(200);
            let (keys, prefixes) = lines(&page);
            assert!(keys.len() + prefixes.len() <= size);
            v1.extend(keys.into_iter().chain(prefixes));
            if page.element("IsTruncated") == "false" {
                break;
            }
            marker = page.element("NextMarker");
        }
        let mut token = String::new();
        loop {
            let page = house
                .get(&format!("/abc?list-type=2&delimiter=/&max-keys={size}&continuation-token={token}"))
                .await
                .expect(200);
            let (keys, prefixes) = lines(&page);
            assert_eq!(page.element("KeyCount"), (keys.len() + prefixes.len()).to_string());
            v2.extend(keys.into_iter().chain(prefixes));
            if page.element("IsTruncated") == "false" {
                break;
            }
            token = page.element("NextContinuationToken");
        }
        v1.sort();
        v2.sort();
        assert_eq!(v1, ["a", "b/", "c", "d/", "e"]);
        assert_eq!(v2, v1);
    }
    let none = house.get("/abc?max-keys=0").await.expect(200);
    assert_eq!((none.element("IsTruncated"), none.elements("Key").len()), ("false".into(), 0));
    assert_eq!(house.get("/abc?max-keys=5000").await.expect(200).element("MaxKeys"), "1000");
    for bad in ["blah", "-1", "1.5", "4294967296"] {
        house.get(&format!("/abc?max-keys={bad}")).await.refused(400, "InvalidArgument");
    }
    house.get("/abc?encoding-type=base64").await.refused(400, "InvalidArgument");
    house.get("/abc?list-type=2&continuation-token=%21").await.refused(400, "InvalidArgument");
}

/// Markers, `start-after` and an empty token are repeated in the answer; a marker need not be a key; a token beats
/// `start-after`.
#[tokio::test]
async fn lists_begin_after_a_marker() {
    let house = filled(&["bar", "baz", "foo", "quxx"]).await;
    let v1 = house.get("/abc?marker=blah").await.expect(200);
    assert_eq!((v1.element("Marker"), v1.elements("Key")), ("blah".into(), vec!["foo".into(), "quxx".into()]));
    let v2 = house.get("/abc?list-type=2&start-after=blah").await.expect(200);
    assert_eq!((v2.element("StartAfter"), v2.elements("Key")), ("blah".into(), vec!["foo".into(), "quxx".into()]));
    let first = house.get("/abc?list-type=2&start-after=bar&max-keys=1").await.expect(200);
    let token = first.element("NextContinuationToken");
    let second = house.get(&format!("/abc?list-type=2&start-after=bar&continuation-token={token}")).await.expect(200);
    assert_eq!(second.elements("Key"), ["foo", "quxx"]);
    assert_eq!((second.element("ContinuationToken"), second.element("StartAfter")), (token, "bar".into()));
    let empty = house.get("/abc?list-type=2&continuation-token=").await.expect(200);
    assert_eq!((empty.element("ContinuationToken"), empty.elements("Key").len()), (String::new(), 4));
}

/// `encoding-type=url` encodes keys, prefixes, markers and delimiters and leaves `/` as it is; the prefix that
/// ListObjects repeats stays plain, since boto3 and the aws CLI do not decode it. Without it, characters that XML
/// cannot carry are character references.
#[tokio::test]
async fn keys_can_be_url_encoded() {
    let house = filled(&["foo%2B1/bar", "foo/bar/xyzzy", "quux%20ab/thud", "asdf%2Bb", "a%01%3C"]).await;
    let plain = house.get("/abc").await.expect(200);
    assert_eq!(plain.elements("Key")[0], "a&#x1;&lt;");
    let url = house.get("/abc?delimiter=/&encoding-type=url&marker=A%20B").await.expect(200);
    assert!(house.get("/abc?encoding-type=url&prefix=a%20").await.expect(200).text().contains("<Prefix>a </Prefix>"));
    let v2 = house.get("/abc?list-type=2&encoding-type=url&prefix=a%20").await.expect(200);
    assert_eq!(v2.element("Prefix"), "a%20");
    let (keys, prefixes) = lines(&url);
    assert_eq!(keys, ["a%01%3C", "asdf%2Bb"]);
    assert_eq!(prefixes, ["foo%2B1/", "foo/", "quux%20ab/"]);
    assert_eq!(
        (url.element("Delimiter"), url.element("Marker"), url.element("EncodingType")),
        ("/".into(), "A%20B".into(), "url".into())
    );
}

/// ListObjects names the owner of each object, ListObjectsV2 only with `fetch-owner=true`. ListObjectVersions shows each
/// object as its latest version `null`.
#[tokio::test]
async fn lists_say_what_objects_are() {
    let house = filled(&["k", "l"]).await;
    let head = house.head("/abc/k").await.expect(200);
    let v1 = house.get("/abc?max-keys=1").await.expect(200);
    assert_eq!(v1.element("ETag").replace("&quot;", "\""), head.header("etag"));
    assert_eq!((v1.element("Size"), v1.element("StorageClass")), ("1".into(), "STANDARD".into()));
    assert_eq!(v1.element("DisplayName"), "admin");
    assert!(house.get("/abc?list-type=2").await.expect(200).elements("Owner").is_empty());
    assert_eq!(house.get("/abc?list-type=2&fetch-owner=true").await.expect(200).elements("Owner").len(), 2);
    let versions = house.get("/abc?versions&max-keys=1").await.expect(200);
    assert_eq!((versions.element("VersionId"), versions.element("IsLatest")), ("null".into(), "true".into()));
    let next = format!(
        "key-marker={}&version-id-marker={}",
        versions.element("NextKeyMarker"),
        versions.element("NextVersionIdMarker")
    );
    let rest = house.get(&format!("/abc?versions&{next}")).await.expect(200);
    assert_eq!((rest.element("Key"), rest.element("IsTruncated")), ("l".into(), "false".into()));
    house.get("/abc?versions&version-id-marker=null").await.refused(400, "InvalidArgument");
}
