//! The dialect of Google Cloud Storage. What is common to all kinds is tried out in S3's tests.

use std::path::Path;
use std::sync::Arc;

use object_store::client::StaticCredentialProvider;
use object_store::gcp::GcpCredential;

use super::*;
use crate::holdings::{Found, Holdings};
use crate::silo::{Silo, Validator};
use crate::web::scripted::{Reply, Server, announced, answer, claimed, is_refused, name, put, sample};
use crate::web::{Bucket, Shelf};

/// A silo on this server, claimed, that has a token.
async fn silo_on(server: &Server) -> Bucket {
    let url = format!("gs://cold?endpoint={}", server.endpoint);
    let place = connect::place(&Address::parse(&url, Path::new("/")).unwrap()).unwrap();
    let token = StaticCredentialProvider::new(GcpCredential { bearer: "TOKEN".to_owned() });
    claimed(Bucket::new(Box::new(Gcs { place, credentials: Some(Arc::new(token)) })).unwrap()).await
}

fn refused(status: &str, code: &str) -> Vec<u8> {
    answer(
        status,
        &[],
        format!("<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>").as_bytes(),
    )
}

#[tokio::test]
async fn a_put_is_one_request_with_a_token_and_its_length() {
    let server = Server::start(|_| Reply::Say(answer("200 OK", &["etag: \"e\""], b""))).await;
    let silo = silo_on(&server).await;
    silo.with_known(|known| (known.promises.exclusive, known.promises.checksum) = (true, true));
    for size in [0, 10, 1 << 20] {
        let stored = put(&silo, size).await.unwrap();
        assert_eq!((stored.size, stored.validator.0.as_str()), (size as u64, "\"e\""));
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.received, size as u64);
        assert!(seen.header("transfer-encoding").is_none());
        assert_eq!(seen.header("authorization"), Some("bearer token"), "lower-cased by the server");
        assert_eq!(seen.header("x-goog-if-generation-match"), Some("0"));
        assert_eq!(seen.header("x-goog-meta-holdall"), Some("c2fpza=="));
        let hash = (size <= 10).then(|| format!("crc32c={}", crc32c(&sample(size))).to_ascii_lowercase());
        assert_eq!(seen.header("x-goog-hash"), hash.as_deref(), "known only of what was gathered first");
        assert_eq!(stored.checksum_enforced, size <= 10, "of a long one the answer has to tell");
    }
}

#[tokio::test]
async fn refusals_say_what_is_certain() {
    let not_done = |text: &str| SiloError::not_done(format!("answered {text} no"));
    for (status, code, writing, reading) in [
        (
            "412 Precondition Failed",
            "PreconditionFailed",
            SiloError::Exists,
            SiloError::mismatch("answered 412 PreconditionFailed no"),
        ),
        ("429 Too Many Requests", "SlowDown", SiloError::Throttled, SiloError::Throttled),
        (
            "503 Service Unavailable",
            "ServiceUnavailable",
            SiloError::unknown("answered 503 ServiceUnavailable no"),
            not_done("503 ServiceUnavailable"),
        ),
        ("404 Not Found", "NoSuchBucket", not_done("404 NoSuchBucket"), not_done("404 NoSuchBucket")),
        ("404 Not Found", "NoSuchKey", not_done("404 NoSuchKey"), SiloError::Missing),
        ("400 Bad Request", "BadDigest", not_done("400 BadDigest"), not_done("400 BadDigest")),
        (
            "401 Unauthorized",
            "AuthenticationRequired",
            not_done("401 AuthenticationRequired"),
            not_done("401 AuthenticationRequired"),
        ),
    ] {
        let server = Server::start(move |_| Reply::Say(refused(status, code))).await;
        is_refused(&silo_on(&server).await, writing, reading, code).await;
    }
}

/// The service says what it received: other bytes than were sent. The blob is no good, whatever the status.
#[tokio::test]
async fn a_checksum_of_other_bytes_is_a_mismatch() {
    let right = format!("x-goog-hash: md5=x, crc32c={}", crc32c(&sample(1 << 20)));
    let server = Server::start(move |_| Reply::Say(answer("200 OK", &[&right], b""))).await;
    assert!(put(&silo_on(&server).await, 1 << 20).await.is_ok());
    let wrong = ["x-goog-hash: md5=x", "x-goog-hash: crc32c=AAAAAA=="];
    let server = Server::start(move |_| Reply::Say(answer("200 OK", &wrong, b""))).await;
    assert!(matches!(put(&silo_on(&server).await, 1 << 20).await, Err(SiloError::Mismatch { .. })));
}

#[tokio::test]
async fn errors_show_no_token() {
    let server = Server::start(|_| Reply::Hang).await;
    let silo = silo_on(&server).await;
    let error = format!("{:?} {:?}", put(&silo, 10).await, silo.stat(&name()).await);
    assert!(!error.contains("TOKEN"), "{error}");
}

/// An object's ETag may be that of the same bytes written again, a generation is drawn for each write; what is stored
/// compressed is read as it is stored.
#[tokio::test]
async fn objects_of_others_are_known_by_their_generation() {
    let listing = "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>f</Key><Generation>7</Generation>\
        <LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>\"e\"</ETag><Size>10</Size></Contents>\
        </ListBucketResult>";
    let server = Server::start(move |seen| {
        let date = "last-modified: Fri, 02 Jan 2026 03:04:05 GMT";
        let generation = if seen.header("x-goog-if-generation-match") == Some("8") { "9" } else { "7" };
        let generation = format!("x-goog-generation: {generation}");
        let headers = ["etag: \"e\"", &generation, "x-goog-storage-class: COLDLINE", "x-goog-meta-a: b", date];
        Reply::Say(if seen.line.contains("LIST-TYPE") {
            answer("200 OK", &[], listing.as_bytes())
        } else if seen.line.starts_with("HEAD") {
            announced("200 OK", &headers, 10, b"")
        } else {
            answer("200 OK", &headers, b"0123456789")
        })
    });
    let server = server.await;
    let url = format!("gs://cold?endpoint={}", server.endpoint);
    let place = connect::place(&Address::parse(&url, Path::new("/")).unwrap()).unwrap();
    let shelf = Shelf::new(Box::new(Gcs { place, credentials: None })).unwrap();
    let found = shelf.walk(b"", None).next(1).await.unwrap().remove(0);
    let looked = shelf.look(b"f").await.unwrap();
    let Found::Held(held) = found else { panic!("{found:?}") };
    assert_eq!((&*held.validator.0, held.etag.as_deref(), held.modified), ("7", Some("e"), looked.modified));
    assert_eq!((&looked.validator, &looked.etag, looked.complete), (&held.validator, &held.etag, true));
    assert_eq!(looked.system, [("x-goog-storage-class".to_owned(), "COLDLINE".to_owned())]);
    assert_eq!(looked.user, [("a".to_owned(), "b".to_owned())]);
    let read = async |generation: &str| shelf.read(b"f", 10, &Validator(generation.to_owned()), 0..10).await.map(drop);
    assert_eq!(read("7").await, Ok(()));
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (seen.header("x-goog-if-generation-match"), seen.header("accept-encoding"), seen.header("if-match")),
        (Some("7"), Some("gzip"), None)
    );
    assert!(matches!(read("8").await, Err(SiloError::Mismatch { .. })));
}
