//! Keys, buckets, copy sources and documents that mean something else to somebody else.

use crate::support::{Ask, Reply, UNSIGNED, between_all, holds};

/// `SeaweedFS` CVE-2026-54917, rclone GHSA-8v25, versitygw cd0b4e6d: keys that look like paths reached other files.
#[test]
fn s42_s43_s44_a_key_is_only_itself() {
    let bucket = crate::support::bucket("s42");
    let keys = [
        ("../../etc/passwd", "../../etc/passwd"),
        ("%2e%2e%2fsecret", "../secret"),
        ("%252e%252e%252fsecret", "%2e%2e%2fsecret"),
        ("..%5csecret", "..\\secret"),
        ("a//../b", "a//../b"),
        ("public/../private", "public/../private"),
        ("private", "private"),
        ("./private", "./private"),
        ("a/b", "a/b"),
        ("a", "a"),
        ("a/", "a/"),
        ("%2fetc/passwd", "/etc/passwd"),
    ];
    for (raw, name) in keys {
        Ask::new("PUT", &format!("/{bucket}/{raw}")).body(name).signed_as(UNSIGNED).send().expect(200, "");
    }
    for (raw, name) in keys {
        let reply = Ask::new("GET", &format!("/{bucket}/{raw}")).signed().send();
        assert_eq!(reply.expect(200, "").body, name);
    }
    let mut names: Vec<&str> = keys.iter().map(|(_, name)| *name).collect();
    names.sort_unstable();
    holds(&bucket, &names);
    Ask::new("GET", &format!("/{bucket}/../root-secret")).signed().send().expect(404, "NoSuchKey");
    Ask::new("GET", &format!("/{bucket}/../hostile-s42/a")).signed().send().expect(404, "NoSuchKey");
    for prefix in ["..%2F", "%2F", "a%2F%2F.."] {
        let reply = Ask::new("GET", &format!("/{bucket}?list-type=2&prefix={prefix}")).signed().send();
        let listed = between_all(&reply.expect(200, "").body, "<Key>", "</Key>");
        let prefix = prefix.replace("%2F", "/");
        assert!(listed.iter().all(|key| key.starts_with(&prefix)), "{listed:?}");
    }
}

/// versitygw 67aaa80d: two layers decoded a copy's source differently.
#[test]
fn s45_a_copy_source_is_read_once() {
    let bucket = crate::support::bucket("s45");
    Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed().send().expect(200, "");
    let copy =
        |source: &str| Ask::new("PUT", &format!("/{bucket}/copy")).header("x-amz-copy-source", source).signed().send();
    copy(&format!("/{bucket}/k%3FversionId=null")).expect(404, "NoSuchKey");
    copy(&format!("/{bucket}/k%253FversionId=null")).expect(404, "NoSuchKey");
    copy(&format!("/{bucket}/../hostile-s45/k")).expect(404, "NoSuchKey");
    for bad in ["", "/", "k", "http://127.0.0.1/x", "/../k", "/%2e%2e/k", "//k", "/a/%ff", "/a/%zz"] {
        let reply = copy(bad);
        assert_eq!(reply.status / 100, 4, "{bad}: {reply:#?}");
    }
    holds(&bucket, &["k"]);
}

/// `S3Proxy` CVE-2025-24961: bucket names were joined to paths before anybody looked at them.
#[test]
fn s46_a_bucket_name_is_checked_before_anything_else() {
    for bad in ["..", "%2e%2e", "..%2ffoo", "%2fabs", "a%00b", "AbC", "a_b", ".a", "a..b", "192.168.0.1", "-ab", "ab"] {
        for method in ["PUT", "GET", "DELETE"] {
            let reply = Ask::new(method, &format!("/{bad}")).signed().send();
            reply.expect(400, "InvalidBucketName");
        }
        Ask::new("PUT", &format!("/{bad}/k")).body("x").signed().send().expect(400, "InvalidBucketName");
    }
    holds(&crate::support::bucket("s46"), &[]);
}

/// Sends a document to every operation that reads one.
fn documents(bucket: &str, document: &[u8], check: impl Fn(&str, &Reply)) {
    let upload = Ask::new("POST", &format!("/{bucket}/up?uploads=")).signed().send();
    let id = between_all(&upload.body, "<UploadId>", "</UploadId>")[0].to_owned();
    for (method, target) in [
        ("POST", format!("/{bucket}?delete=")),
        ("PUT", format!("/{bucket}?tagging=")),
        ("PUT", format!("/{bucket}/k?tagging=")),
        ("POST", format!("/{bucket}/up?uploadId={id}")),
        ("PUT", format!("/{bucket}-new")),
    ] {
        let md5 = base64::Engine::encode(
            &base64::engine::general_purpose::STANDARD,
            <md5::Md5 as md5::Digest>::digest(document),
        );
        let reply = Ask::new(method, &target).header("content-md5", &md5).body(document).signed().send();
        check(&target, &reply);
    }
    Ask::new("DELETE", &format!("/{bucket}/up?uploadId={id}")).signed().send().expect(204, "");
    Ask::new("HEAD", &format!("/{bucket}-new")).signed().send().expect(404, "");
}

/// `OpenStack` Swift CVE-2022-47950: entities in S3's documents read files. RUSTSEC-2026-0194: attributes in quadratic
/// time. Ceph CVE-2020-12059: a wrong tagging document was a null pointer.
#[test]
fn s52_s53_s54_documents_expand_nothing_and_cost_little() {
    let bucket = crate::support::bucket("s52");
    Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed().send().expect(200, "");
    let many = |count: u32, make: &dyn Fn(u32) -> String| (0..count).map(make).collect::<Vec<_>>().concat();
    let laughs = many(9, &|n| format!("<!ENTITY l{} \"{}\">", n + 1, format!("&l{n};").repeat(10)));
    let attributes = many(50_000, &|n| format!(" a{n}=\"\""));
    let doubled = " a=\"\"".repeat(50_000);
    let namespaces = many(20_000, &|n| format!(" xmlns:n{n}=\"u\""));
    let deep = |depth: usize| format!("{}{}", "<Tagging>".repeat(depth), "</Tagging>".repeat(depth));
    let wide = format!("<Delete>{}</Delete>", "<Object><Key>a</Key></Object>".repeat(1001));
    for document in [
        "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><Delete><Object><Key>&e;</Key></Object></Delete>"
            .to_owned(),
        format!("<!DOCTYPE x [<!ENTITY l0 \"ha\">{laughs}]><Delete><Object><Key>&l9;</Key></Object></Delete>"),
        "<!DOCTYPE Tagging><Tagging><TagSet/></Tagging>".to_owned(),
        deep(17),
        deep(50_000),
        wide,
        "<Tagging><TagSet><Tag></Tag></TagSet></Tagging>".to_owned(),
        "<Tagging><TagSet><Tag><Key/><Value/></Tag></TagSet></Tagging>".to_owned(),
        "<Tagging><TagSet><Tag><Key>a</Key></TagSet></Tagging>".to_owned(),
        "<Delete><Object><Key>k</Key></Object>".to_owned(),
        "<Delete><Object><Key>k</Key></Object></Delete><Delete/>".to_owned(),
        "<Delete><Object><Key>&unknown;</Key></Object></Delete>".to_owned(),
        "<Delete><Object><Key>&#0;</Key></Object></Delete>".to_owned(),
        "not xml".to_owned(),
        "<".to_owned(),
    ] {
        documents(&bucket, document.as_bytes(), |target, reply| {
            assert!(reply.status == 400 && !reply.code().is_empty(), "{target}: {reply:#?}");
        });
    }
    for document in [
        format!("<Tagging{attributes}><TagSet/></Tagging>"),
        format!("<Tagging{doubled}><TagSet/></Tagging>"),
        format!("<Delete{namespaces}><Object><Key>other</Key></Object></Delete>"),
    ] {
        documents(&bucket, document.as_bytes(), |target, reply| {
            assert!(matches!(reply.status, 200 | 204 | 400), "{target}: {reply:#?}");
        });
    }
    documents(&bucket, b"<Delete><Object><Key>\xff\xfe</Key></Object></Delete>", |target, reply| {
        assert!(reply.status == 400, "{target}: {reply:#?}");
    });
    let huge = format!("<Delete>{}</Delete>", " ".repeat(9 << 20));
    documents(&bucket, huge.as_bytes(), |target, reply| assert!(reply.status == 400, "{target}: {reply:#?}"));
    holds(&bucket, &["k"]);
}
