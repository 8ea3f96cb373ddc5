//! Who speaks, since when, for what: signatures that are not what they seem, and bodies that are not what was signed.

use holdall::operation::{Level, TABLE};

use crate::support::{Ask, ID, RIG, SECRET, UNSIGNED, holds, now, stamp};
use crate::{SIGNED_CHUNKS, UNSIGNED_TRAILER};

/// Ceph CVE-2026-54330: headers added to a presigned PUT copied objects that its signer alone could read.
#[test]
fn s1_a_header_that_was_not_signed_changes_nothing() {
    let bucket = crate::support::bucket("s1");
    let key = format!("/{bucket}/k");
    for (name, value) in [
        ("x-amz-copy-source", "/other/secret"),
        ("x-amz-tagging", "a=b"),
        ("x-amz-storage-class", "GLACIER"),
        ("x-amz-acl", "public-read"),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-object-lock-mode", "GOVERNANCE"),
        ("x-amz-meta-a", "b"),
        ("x-amz-website-redirect-location", "/x"),
        ("x-amz-decoded-content-length", "1"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
    ] {
        let ask = Ask::new("PUT", &key).body("x");
        for ask in [ask.clone().presigned("60"), ask.signed_as(UNSIGNED)] {
            let reply = ask.header(name, value).send();
            reply.expect(403, "AccessDenied");
            assert!(reply.body.contains(&format!("<HeadersNotSigned>{name}</HeadersNotSigned>")), "{}", reply.body);
        }
    }
    holds(&bucket, &[]);
}

/// MinIO CVE-2026-41145: a credential in the query and an unsigned trailer stored objects without any secret.
#[test]
fn s2_a_credential_is_not_a_signature() {
    let bucket = crate::support::bucket("s2");
    let credential = format!("X-Amz-Credential={ID}%2F{}%2Fus-east-1%2Fs3%2Faws4_request", &stamp(now())[..8]);
    let body = "1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNwWgw==\r\n\r\n";
    for target in [format!("/{bucket}/k?{credential}"), format!("/{bucket}/k?partNumber=1&uploadId=u&{credential}")] {
        let ask = Ask::new("PUT", &target).body(body).header("x-amz-content-sha256", UNSIGNED_TRAILER);
        ask.send().expect(403, "AccessDenied");
        ask.header("x-amz-decoded-content-length", "1").send().expect(403, "AccessDenied");
    }
    let ask = Ask::new("PUT", &format!("/{bucket}/k")).body(body).presigned_with("60", "wrong");
    ask.clone().send().expect(403, "SignatureDoesNotMatch");
    ask.header("x-amz-content-sha256", UNSIGNED_TRAILER).send().expect(411, "MissingContentLength");
    let framed = Ask::new("PUT", &format!("/{bucket}/k")).header("x-amz-decoded-content-length", "1").body(body);
    let ask = framed.presigned("60").header("x-amz-content-sha256", UNSIGNED_TRAILER);
    ask.send().expect(403, "SignatureDoesNotMatch");
    holds(&bucket, &[]);
}

/// MinIO CVE-2026-40344: one handler's switch over the kinds of signature lacked the newest kind.
#[test]
fn s3_every_operation_refuses_every_kind_of_garbage() {
    let bucket = crate::support::bucket("s3");
    for row in TABLE {
        let path = match row.level {
            Level::Service => "/".to_owned(),
            Level::Bucket => format!("/{bucket}"),
            Level::Object => format!("/{bucket}/k"),
        };
        let query: Vec<String> = row
            .query
            .iter()
            .map(|name| if name.contains('=') { (*name).to_owned() } else { format!("{name}=") })
            .collect();
        let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        let mut ask = Ask::new(row.method.as_str(), &target).body("<x/>");
        if !row.header.is_empty() {
            ask = ask.header(row.header, "/other/k");
        }
        let joint = if target.contains('?') { "&" } else { "?" };
        let version2 =
            Ask { target: format!("{target}{joint}AWSAccessKeyId={ID}&Expires=9999999999&Signature=x"), ..ask.clone() };
        let signed = ask.clone().signed();
        let kinds = [
            (ask.clone(), 403, "AccessDenied"),
            (ask.clone().signed_with(UNSIGNED, "wrong", "s3"), 403, "SignatureDoesNotMatch"),
            (ask.clone().signed_with(UNSIGNED_TRAILER, "wrong", "s3"), 411, "MissingContentLength"),
            (ask.clone().presigned_with("60", "wrong"), 403, "SignatureDoesNotMatch"),
            (ask.clone().header("authorization", &format!("AWS {ID}:eA==")), 400, "InvalidRequest"),
            (ask.clone().header("authorization", "Bearer eA=="), 400, "InvalidArgument"),
            (version2, 400, "InvalidRequest"),
            (signed.edit(ID, "AKIANOBODY0000000000"), 403, "InvalidAccessKeyId"),
        ];
        for (ask, status, code) in kinds {
            let reply = ask.send();
            let code = if ask.method == "HEAD" { "" } else { code };
            assert_eq!((reply.status, reply.code()), (status, code), "{} {reply:#?}", row.operation.name());
        }
    }
    holds(&bucket, &[]);
}

/// MinIO CVE-2025-31489: uploads with unsigned trailers were stored whatever their secret.
#[test]
fn s4_a_chunked_upload_with_a_wrong_secret_is_refused() {
    let bucket = crate::support::bucket("s4");
    let ask = Ask::new("PUT", &format!("/{bucket}/k")).header("x-amz-decoded-content-length", "1");
    let body = "1\r\nx\r\n0\r\nx-amz-checksum-crc32:jNwWgw==\r\n\r\n";
    let unsigned = ask.clone().header("x-amz-trailer", "x-amz-checksum-crc32").body(body);
    unsigned.clone().signed_with(UNSIGNED_TRAILER, "wrong", "s3").send().expect(403, "SignatureDoesNotMatch");
    let signed = ask.body("1;chunk-signature=x\r\nx\r\n0;chunk-signature=x\r\n\r\n");
    signed.signed_with(SIGNED_CHUNKS, "wrong", "s3").send().expect(403, "SignatureDoesNotMatch");
    holds(&bucket, &[]);
    unsigned.signed_as(UNSIGNED_TRAILER).send().expect(200, "");
    holds(&bucket, &["k"]);
}

/// MinIO CVE-2021-21390: a chunk that announced more than it brought was stored without its signature being checked.
#[test]
fn s5_chunks_that_lie_are_not_stored() {
    let bucket = crate::support::bucket("s5");
    let data = vec![b'a'; 70_000];
    let lengths = |decoded: usize, framed: usize| {
        let ask = Ask::new("PUT", &format!("/{bucket}/k")).header("x-amz-decoded-content-length", &decoded.to_string());
        ask.header("content-length", &framed.to_string()).signed_as(SIGNED_CHUNKS)
    };
    let framed = lengths(70_000, 0).chunks(&[&data[..65_536], &data[65_536..]]).len();
    let whole = |ask: &Ask| ask.chunks(&[&data[..65_536], &data[65_536..]]);
    let lie = |status: u16, code: &str, decoded: usize, change: &dyn Fn(&mut Vec<u8>)| {
        // The framed length is signed: say the length that is sent.
        let mut changed = whole(&lengths(decoded, framed));
        change(&mut changed);
        let mut ask = lengths(decoded, changed.len());
        ask.body = whole(&ask);
        change(&mut ask.body);
        ask.send().expect(status, code);
    };
    lie(400, "InvalidRequest", 70_000, &|body| drop(body.splice(0..5, *b"FFFFFF")));
    lie(400, "InvalidRequest", 70_000, &|body| drop(body.splice(0..5, *b"FFFFFFFFFFFFFFFF")));
    lie(400, "InvalidRequest", 70_000, &|body| drop(body.splice(0..5, *b"-1")));
    lie(400, "InvalidRequest", 70_000, &|body| drop(body.splice(0..5, vec![b'0'; 9000])));
    lie(403, "SignatureDoesNotMatch", 70_000, &|body| body[200] ^= 1);
    lie(403, "SignatureDoesNotMatch", 70_000, &|body| drop(body.splice(0..5, *b"ffff")));
    lie(400, "IncompleteBody", 70_000, &|body| body.truncate(body.len() - 88));
    lie(400, "IncompleteBody", 70_000, &|body| body.truncate(1000));
    lie(400, "InvalidRequest", 69_999, &|_| {});
    lie(400, "IncompleteBody", 70_001, &|_| {});
    lie(400, "MalformedTrailerError", 70_000, &|body| body.extend_from_slice(b"x-amz-meta-a:b\r\n"));
    let mut cut = lengths(70_000, framed);
    cut.body = whole(&cut);
    cut.body.truncate(40_000);
    cut.send().expect(400, "IncompleteBody");
    holds(&bucket, &[]);
    lie(200, "", 70_000, &|_| {});
    holds(&bucket, &["k"]);
}

/// versitygw GHSA-v2ch-c8v8-fgr7: this very request was a panic.
#[test]
fn s7_a_chunked_body_without_a_length_is_refused() {
    let bucket = crate::support::bucket("s7");
    for payload in [UNSIGNED_TRAILER, SIGNED_CHUNKS, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
        let ask = Ask::new("PUT", &format!("/{bucket}/k")).header("content-encoding", "aws-chunked");
        ask.clone().signed_as(payload).send().expect(411, "MissingContentLength");
        let ask = ask.header("x-amz-decoded-content-length", "3");
        ask.signed_as(payload).send().expect(411, "MissingContentLength");
    }
    Ask::new("PUT", &format!("/{bucket}/k")).signed_as(UNSIGNED).send().expect(411, "MissingContentLength");
    // A small body in HTTP's own chunks may leave its length out; one without an end, or a large one, may not.
    let plain = |payload: &str, body: Vec<u8>| {
        let ask = Ask::new("PUT", &format!("/{bucket}/k")).header("transfer-encoding", "chunked");
        Ask { body, ..ask.signed_as(payload) }.send()
    };
    let mut large = b"600000\r\n".to_vec();
    large.resize(large.len() + 0x60_0000, b'a');
    large.extend_from_slice(b"\r\n0\r\n\r\n");
    plain(UNSIGNED, large).expect(411, "MissingContentLength");
    for cut in ["3\r\nabc\r\n", "3\r\nab", "5\r\nabc\r\n0\r\n\r\n", "zz\r\nabc\r\n0\r\n\r\n"] {
        plain(UNSIGNED, cut.into()).expect(400, "IncompleteBody");
    }
    let other = const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest("abd"));
    plain(&other, b"3\r\nabc\r\n0\r\n\r\n".to_vec()).expect(400, "XAmzContentSHA256Mismatch");
    holds(&bucket, &[]);
}

/// lakeFS CVE-2025-68671: a captured request was good for ever.
#[test]
fn s8_a_request_of_another_time_is_refused() {
    let bucket = crate::support::bucket("s8");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x");
    for minutes in [-16, 16, -60 * 24 * 365, 60 * 24 * 365] {
        put().at(minutes * 60).signed().send().expect(403, "RequestTimeTooSkewed");
    }
    let yesterday = stamp(now() - 86_400)[..8].to_owned();
    let today = stamp(now())[..8].to_owned();
    put().signed().edit(&today, &yesterday).send().expect(403, "SignatureDoesNotMatch");
    for bad in ["", "yesterday", "2013-05-24T00:00:00Z", "99999999T999999Z"] {
        put().signed().set("x-amz-date", bad).send().expect(403, "AccessDenied");
    }
    put().at(-3600).presigned("60").send().expect(403, "AccessDenied");
    put().at(3600).presigned("7200").send().expect(403, "AccessDenied");
    holds(&bucket, &[]);
}

/// s3s#645: a presigned URL could be made to live for ever.
#[test]
fn s9_a_presigned_url_lives_at_most_a_week() {
    let bucket = crate::support::bucket("s9");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x");
    for bad in ["604801", "0", "-1", "1e18", "999999999999999999999", "", "x"] {
        put().presigned(bad).send().expect(400, "AuthorizationQueryParametersError");
    }
    let twice = put().presigned("60").edit("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=60");
    twice.send().expect(400, "AuthorizationQueryParametersError");
    let missing = put().presigned("60").edit("&X-Amz-Expires=60", "");
    missing.send().expect(400, "AuthorizationQueryParametersError");
    put().presigned("60").edit("X-Amz-Expires=60", "X-Amz-Expires=600").send().expect(403, "SignatureDoesNotMatch");
    holds(&bucket, &[]);
}

/// SeaweedFS#9910, #9852: headers were read so loosely that other things were signed than were done.
#[test]
fn s11_a_loose_header_is_refused() {
    let bucket = crate::support::bucket("s11");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed();
    put().edit("SignedHeaders=", "SignedHeaders=;").send().expect(403, "SignatureDoesNotMatch");
    put().edit(";host", "").send().expect(403, "AccessDenied");
    put().edit("SHA256 Credential", "SHA256Credential").send().expect(400, "InvalidArgument");
    put().edit("Signature=", "Signature=0").send().expect(403, "SignatureDoesNotMatch");
    put().edit(", Signature=", ", Signature=x, Signature=").send().expect(400, "AuthorizationHeaderMalformed");
    put().edit("/s3/", "/iam/").send().expect(400, "AuthorizationHeaderMalformed");
    let other = put().edit("us-east-1", "eu-west-1").send();
    assert!(other.expect(400, "AuthorizationHeaderMalformed").body.contains("<Region>us-east-1</Region>"));
    let list = Ask::new("GET", &format!("/{bucket}?prefix=b&prefix=a&list-type=2")).signed();
    list.clone().send().expect(200, "");
    list.edit("Signature=", "Signature=").send().expect(200, "");
    holds(&bucket, &[]);
}

/// RustFS#7796: any word in place of the algorithm was taken for version 4. boto#10663: version 2 lets parameters be
/// appended.
#[test]
fn s12_s13_another_algorithm_and_two_at_once_are_refused() {
    let bucket = crate::support::bucket("s12");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x");
    put().signed().edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1").send().expect(400, "InvalidArgument");
    put().signed().edit("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256").send().expect(400, "InvalidArgument");
    let query = put().presigned("60").edit("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1");
    query.send().expect(400, "AuthorizationQueryParametersError");
    let header = put().signed();
    let (name, value) = header.headers.iter().find(|(name, _)| name == "authorization").unwrap();
    put().presigned("60").header(name, value).send().expect(400, "InvalidArgument");
    put().header("authorization", &format!("AWS {ID}:c2ln")).send().expect(400, "InvalidRequest");
    let old = Ask::new("PUT", &format!("/{bucket}/k?AWSAccessKeyId={ID}&Expires=9999999999&Signature=c2ln"));
    old.body("x").send().expect(400, "InvalidRequest");
    holds(&bucket, &[]);
}

/// SeaweedFS#10284: signatures were tried against every host that a proxy might have meant.
#[test]
fn s14_a_signature_is_for_one_host() {
    let bucket = crate::support::bucket("s14");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed();
    let host = RIG.s3.to_string();
    put().set("host", "other.example.org").send().expect(403, "SignatureDoesNotMatch");
    put()
        .set("host", "other.example.org")
        .header("x-forwarded-host", &host)
        .send()
        .expect(403, "SignatureDoesNotMatch");
    put().set("host", "127.0.0.1").send().expect(403, "SignatureDoesNotMatch");
    holds(&bucket, &[]);
}

/// MinIO#5335: whether a key exists, and how much of a signature is right, could be seen by the clock or the answer.
#[test]
fn s15_unknown_keys_and_wrong_signatures_are_refused_alike() {
    let bucket = crate::support::bucket("s15");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x");
    let wrong = put().signed_with(UNSIGNED, "wrong", "s3").send();
    let unknown = put().signed().edit(ID, "AKIANOBODY0000000000").send();
    wrong.expect(403, "SignatureDoesNotMatch");
    unknown.expect(403, "InvalidAccessKeyId");
    let right = put().signed();
    for reply in [&wrong, &unknown] {
        assert!(!reply.body.contains(&right.signature) && !reply.body.contains(SECRET));
    }
    holds(&bucket, &[]);
}

/// MinIO CVE-2020-11012: on the admin API an access key was enough, without its secret.
#[test]
fn s16_the_admin_api_wants_a_signature_for_itself() {
    for (method, target) in [
        ("GET", "/v1/status"),
        ("GET", "/v1/account"),
        ("POST", "/v1/account/eve"),
        ("GET", "/v1/silo"),
        ("POST", "/v1/sweep"),
        ("GET", "/nothing"),
    ] {
        let ask = || Ask::admin(method, target);
        let refused = [
            ask(),
            ask().signed(),
            ask().signed_with(UNSIGNED, "wrong", "holdall"),
            ask().signed_with(UNSIGNED, SECRET, "holdall").edit(ID, "AKIANOBODY0000000000"),
            ask().presigned("60"),
            ask().header("authorization", &format!("AWS {ID}:c2ln")),
            ask().header("authorization", &format!("AWS4-HMAC-SHA256 Credential={ID}")),
            ask().header("authorization", "Basic YTpi"),
        ];
        for ask in refused {
            let reply = ask.send();
            assert!(matches!(reply.status, 400 | 401 | 403), "{reply:#?}");
        }
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let status = Ask::admin("GET", "/v1/status").signed_with(empty, SECRET, "holdall").send();
    assert_eq!(status.status, 200, "{status:#?}");
    let accounts = Ask::admin("GET", "/v1/account").signed_with(empty, SECRET, "holdall").send();
    assert!(accounts.status == 200 && !accounts.body.contains("eve"), "{accounts:#?}");
}

/// SeaweedFS#8878: a "signature" was a hash without a key.
#[test]
fn s19_a_hash_without_the_key_is_no_signature() {
    let bucket = crate::support::bucket("s19");
    let ask = Ask::new("PUT", &format!("/{bucket}/k")).body("x").presigned("60");
    let (unsigned, _) = ask.target.split_once("&X-Amz-Signature=").unwrap();
    for forged in [
        const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest(unsigned)),
        const_hex::encode(<sha2::Sha256 as sha2::Digest>::digest("")),
        String::new(),
        "0".repeat(64),
        ask.signature.to_uppercase(),
        ask.signature[..63].to_owned(),
    ] {
        let reply = Ask { target: format!("{unsigned}&X-Amz-Signature={forged}"), ..ask.clone() }.send();
        assert!(matches!(reply.status, 400 | 403), "{reply:#?}");
    }
    holds(&bucket, &[]);
    ask.send().expect(200, "");
    holds(&bucket, &["k"]);
}

/// floci#1098: anonymous readers chose the headers that others then saw.
#[test]
fn s21_nobody_without_a_name_overrides_response_headers() {
    let bucket = crate::support::bucket("s21");
    let target = format!("/{bucket}/k?response-content-type=text%2Fhtml");
    Ask::new("GET", &target).send().expect(400, "InvalidRequest");
    holds(&bucket, &[]);
}
