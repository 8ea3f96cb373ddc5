//! Heads, bodies and connections that do not end where they say.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;

use crate::support::{Ask, ID, RIG, SECRET, UNSIGNED, connect, holds, largest, log, send};

/// Ceph CVE-2019-10222, CVE-2019-19337: a head and then nothing, and a crafted length, took the server down.
#[test]
fn s54_a_head_without_its_body_costs_nothing() {
    let bucket = crate::support::bucket("s54");
    let target = format!("/{bucket}/k");
    for length in ["1", "1000000", "5368709120"] {
        let ask = Ask::new("PUT", &target).header("content-length", length).signed_as(UNSIGNED);
        ask.send().expect(400, "IncompleteBody");
        drop(connect(RIG.s3).write_all(&ask.bytes()));
    }
    for length in ["5368709121", "9223372036854775807", "18446744073709551615"] {
        let reply = Ask::new("PUT", &target).header("content-length", length).signed_as(UNSIGNED).send();
        assert!(matches!(reply.status, 400 | 431), "{reply:#?}");
    }
    holds(&bucket, &[]);
}

/// MinIO CVE-2023-28432: an open route answered with the environment, root secret included.
#[test]
fn s63_s64_unsigned_routes_tell_nothing() {
    for target in ["/livez", "/readyz", "/metrics"] {
        let reply = Ask::admin("GET", target).send();
        assert_eq!(reply.status, 200, "{reply:#?}");
        for secret in [SECRET, ID, "HOLDALL_", "PATH=", "/tmp", "hostile-"] {
            assert!(!reply.body.contains(secret), "{secret} in {target}");
        }
    }
    for target in [
        "/",
        "/minio/health/live",
        "/minio/bootstrap/v1/verify",
        "/debug/pprof/heap",
        "/metrics",
        "/livez",
        "/v1/status",
        "/.well-known/x",
        "/health",
        "/admin",
    ] {
        let reply = Ask::new("GET", target).send();
        reply.expect(403, "AccessDenied");
        let admin = Ask::admin("POST", target).send();
        assert!(matches!(admin.status, 400..=405) && !admin.body.contains(ID), "{admin:#?}");
    }
}

/// RUSTSEC-2023-0125, lakeFS GHSA-4rgc: secrets in logs.
#[test]
fn s66_no_secret_and_no_presigned_signature_is_logged() {
    let bucket = crate::support::bucket("s66");
    let target = format!("/{bucket}/k");
    Ask::new("PUT", &target).body("x").presigned("60").send().expect(200, "");
    Ask::new("GET", &target).presigned("60").send().expect(200, "");
    Ask::new("GET", &target).presigned_with("60", "wrong").send().expect(403, "SignatureDoesNotMatch");
    Ask::new("GET", &target).signed_with(UNSIGNED, "wrong", "s3").send().expect(403, "SignatureDoesNotMatch");
    assert_eq!(log::leaked(), Vec::<String>::new());
}

/// Requests that two servers in a row would cut at different places; the second half of each is a whole PUT.
#[test]
fn s68_a_request_that_could_be_two_is_refused_or_ends_the_connection() {
    let bucket = crate::support::bucket("s68");
    let hidden = String::from_utf8(Ask::new("PUT", &format!("/{bucket}/smuggled")).body("x").signed().bytes()).unwrap();
    let host = RIG.s3;
    let framings = [
        format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", hidden.len() + 5),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", hidden.len() + 5),
        "Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(),
        "Content-Length: 0, 5\r\n".to_owned(),
        "Content-Length: +0\r\n".to_owned(),
        "Content-Length: -1\r\n".to_owned(),
        "Content-Length: 0x0\r\n".to_owned(),
        "Content-Length: \r\n".to_owned(),
        "Content-Length: 0 0\r\n".to_owned(),
        "Content-Length: 99999999999999999999999\r\n".to_owned(),
        "Content-Length : 0\r\n".to_owned(),
        " Content-Length: 0\r\n".to_owned(),
        "Transfer-Encoding : chunked\r\n".to_owned(),
        "Transfer-Encoding: xchunked\r\n".to_owned(),
        "Transfer-Encoding: chunked, identity\r\n".to_owned(),
        "Transfer-Encoding: identity, chunked\r\n".to_owned(),
        "Transfer-Encoding: gzip, chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".to_owned(),
        "Transfer-Encoding: \x0bchunked\r\n".to_owned(),
        "X: a\rContent-Length: 0\r\n".to_owned(),
        "X: a\0b\r\n".to_owned(),
        "X: a\r\n b\r\n".to_owned(),
    ];
    for framing in &framings {
        let text = format!("GET /{bucket} HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n0\r\n\r\n{hidden}");
        let reply = send(host, text.as_bytes(), "GET");
        assert!(matches!(reply.status, 0 | 400..=599), "{framing}: {reply:#?}");
        holds(&bucket, &[]);
    }
    for head in [
        format!("GET /{bucket} HTTP/1.1\r\n\r\n"),
        format!("GET /{bucket} HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n"),
        format!("GET /{bucket} HTTP/1.1\r\nHost: {host}\r\nHost: other\r\n\r\n"),
        format!("GET http://other/{bucket} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /{bucket} HTTP/1.1\r\nHost: \r\n\r\n"),
        format!("GET /{bucket} HTTP/1.1\r\nHost: a b\r\n\r\n"),
        format!("GET /{bucket} HTTP/2.0\r\nHost: {host}\r\n\r\n"),
        format!("GET  /{bucket} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("GET /{bucket}\r\n\r\n"),
        format!("G\0T /{bucket} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        format!("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned(),
    ] {
        let reply = send(host, head.as_bytes(), "GET");
        assert!(matches!(reply.status, 0 | 400..=599), "{head}: {reply:#?}");
    }
    holds(&bucket, &[]);
}

/// The header is a part of the request that the signature covers, so what comes twice is either signed as both or
/// refused.
#[test]
fn a_header_that_comes_twice_is_refused() {
    let bucket = crate::support::bucket("twice");
    let put = || Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed();
    let value = |ask: &Ask, name: &str| ask.headers.iter().find(|(other, _)| other == name).unwrap().1.clone();
    for name in ["host", "authorization", "x-amz-date", "x-amz-content-sha256"] {
        let ask = put();
        let again = value(&ask, name);
        ask.header(name, &again).send().expect(400, "InvalidRequest");
    }
    let ask = Ask::new("PUT", &format!("/{bucket}/k")).body("x").header("x-amz-meta-a", "1");
    ask.signed().header("x-amz-meta-a", "2").send().expect(403, "SignatureDoesNotMatch");
    holds(&bucket, &[]);
}

#[test]
fn n3_a_head_beyond_the_limit_is_refused() {
    let bucket = crate::support::bucket("n3");
    let get = || Ask::new("GET", &format!("/{bucket}"));
    get().header("x-long", &"a".repeat(17 << 10)).signed().send().expect(400, "RequestHeaderSectionTooLarge");
    assert_eq!(get().header("x-long", &"a".repeat(100 << 10)).signed().send().status, 431);
    let many = (0..1000).fold(get(), |ask, n| ask.header(&format!("x-{n}"), "1"));
    assert_eq!(many.signed().send().status, 431);
    let long = Ask::new("GET", &format!("/{bucket}/{}", "a".repeat(70_000))).signed().send();
    assert!(matches!(long.status, 414 | 431), "{long:#?}");
    holds(&bucket, &[]);
}

#[test]
fn a_body_shorter_or_other_than_signed_is_not_stored() {
    let bucket = crate::support::bucket("body");
    let put = || Ask::new("PUT", &format!("/{bucket}/k"));
    let mut other = put().body("right").signed();
    other.body = b"wrong".to_vec();
    other.send().expect(400, "XAmzContentSHA256Mismatch");
    for cut in [0, 1, 99_999] {
        let mut short = put().body(vec![b'a'; 100_000]).signed();
        short.body.truncate(cut);
        short.send().expect(400, "IncompleteBody");
        let mut short = put().body(vec![b'a'; 100_000]).signed_as(UNSIGNED);
        short.body.truncate(cut);
        short.send().expect(400, "IncompleteBody");
    }
    let md5 = |value: &str| put().header("content-md5", value).body("x").signed().send().code().to_owned();
    assert_eq!(md5("1B2M2Y8AsgTpgAmY7PhCfg=="), "BadDigest");
    assert_eq!(md5("nonsense"), "InvalidDigest");
    let sum = |name: &str, value: &str| put().header(name, value).body("x").signed().send().status;
    assert_eq!(sum("x-amz-checksum-crc32", "AAAAAA=="), 400);
    assert_eq!(sum("x-amz-checksum-crc32", "nonsense"), 400);
    assert_eq!(sum("x-amz-checksum-sha256", "AAAA"), 400);
    assert_eq!(put().signed_as("nonsense").send().code(), "InvalidArgument");
    holds(&bucket, &[]);
}

#[test]
fn a_target_that_does_not_decode_is_refused() {
    let bucket = crate::support::bucket("target");
    for bad in ["%", "%2", "%zz", "a%ff", "%c3%28", "%ed%a0%80"] {
        Ask::new("PUT", &format!("/{bucket}/{bad}")).body("x").signed().send().expect(400, "InvalidURI");
        let list = Ask::new("GET", &format!("/{bucket}?prefix={bad}")).signed().send();
        list.expect(400, "InvalidURI");
    }
    for bytes in [&b"\xff"[..], b"\xc3\x28", b"\x00", b"\x7f"] {
        let raw = [b"GET /", bucket.as_bytes(), b"/", bytes, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        let reply = send(RIG.s3, &raw, "GET");
        assert!(matches!(reply.status, 0 | 400..=499), "{reply:#?}");
    }
    let long = "k".repeat(1025);
    Ask::new("PUT", &format!("/{bucket}/{long}")).body("x").signed().send().expect(400, "KeyTooLongError");
    let long = "%C3%BC".repeat(513);
    Ask::new("PUT", &format!("/{bucket}/{long}")).body("x").signed().send().expect(400, "KeyTooLongError");
    holds(&bucket, &[]);
}

#[test]
fn a_client_that_asks_before_it_sends_is_answered_before() {
    let bucket = crate::support::bucket("expect");
    let good = Ask::new("PUT", &format!("/{bucket}/k")).body("x").signed().header("expect", "100-continue");
    let mut stream = connect(RIG.s3);
    stream.write_all(&good.head()).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"x").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200"), "{rest}");

    let bad = Ask::new("PUT", &format!("/{bucket}/other")).body("x").signed_with(UNSIGNED, "wrong", "s3");
    let mut stream = connect(RIG.s3);
    stream.write_all(&bad.header("expect", "100-continue").head()).unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, b"HTTP/1.1 403");
    holds(&bucket, &["k"]);
}

/// Half-sent requests wait their time without holding up anybody else.
#[test]
fn n1_n4_slow_and_vanishing_clients_hold_up_nobody() {
    let bucket = crate::support::bucket("slow");
    let ask = Ask::new("PUT", &format!("/{bucket}/k")).body(vec![b'a'; 50_000]).signed_as(UNSIGNED).bytes();
    let waiting: Vec<_> = (0..100)
        .map(|n| {
            let mut stream = connect(RIG.s3);
            stream.write_all(&ask[..n * 500]).unwrap();
            stream
        })
        .collect();
    holds(&bucket, &[]);
    drop(waiting);
    holds(&bucket, &[]);
}

/// A byte was flipped in a blob behind its first block: the connection closed before it had said anything, and clients
/// took it for a network fault.
#[test]
fn a_damaged_object_has_a_head_and_no_damaged_byte() {
    let bucket = crate::support::bucket("damaged");
    let target = format!("/{bucket}/k");
    let body: Vec<u8> = (0..1_000_003u32).map(|n| b'a' + (n % 17) as u8).collect();
    Ask::new("PUT", &target).body(body.clone()).signed().send().expect(200, "");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    let blob = largest(&folder.join("hot"));
    let mut stored = fs::read(&blob).unwrap();
    stored[300_000] ^= 1;
    fs::write(&blob, stored).unwrap();
    let reply = Ask::new("GET", &target).signed().send();
    assert_eq!(reply.status, 200, "{reply:#?}");
    assert!(reply.body.len() < body.len() && body.starts_with(reply.body.as_bytes()), "{} bytes", reply.body.len());
    Ask::new("DELETE", &target).signed().send().expect(204, "");
    holds(&bucket, &[]);
}
