//! What the silo makes of a server that loses answers, lies, redirects and breaks off. All of this but the spelling is
//! common to every kind of bucket, and tried out here.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use tokio::net::TcpListener;

use super::service;
use crate::address::Address;
use crate::connect::Credentials;
use crate::error::{BodyError, SiloError};
use crate::facts::Facts;
use crate::limits::{BLOCK, READ_TRIES};
use crate::marker::Marker;
use crate::name::BlobName;
use crate::silo::{Body, Silo, collect};
use crate::web::Bucket;
use crate::web::scripted::{Reply, Seen, Server, announced, answer, claimed, marker, name, put, sample};

/// A silo on this server, claimed.
async fn silo_on(server: &Server) -> Bucket {
    claimed(silo_at(&server.endpoint)).await
}

fn silo_at(endpoint: &str) -> Bucket {
    let address = Address::parse(&format!("s3://bucket?endpoint={endpoint}"), Path::new("/")).unwrap();
    let keys = Credentials::Keys { access_key_id: "KEY".to_owned(), secret_access_key: "SECRET".to_owned() };
    Bucket::new(service(&address, &keys).unwrap()).unwrap()
}

fn refused(status: &str, code: &str) -> Vec<u8> {
    answer(status, &[], format!("<Error><Code>{code}</Code><Message>no</Message></Error>").as_bytes())
}

async fn read(silo: &Bucket, size: usize, range: Range<u64>) -> Result<Bytes, SiloError> {
    collect(silo.read(&name(), size as u64, range).await?).await
}

/// Short bodies go gathered, long ones streamed.
const SIZES: [usize; 2] = [10, 1 << 20];

/// Bytes `range` of a blob of `size`, as `Range` asks for them, cut after `cut` bytes.
fn part(seen: &Seen, whole: &Bytes, cut: usize) -> Reply {
    let Some(range) = seen.header("range").and_then(|text| text.strip_prefix("bytes=")) else {
        return Reply::SayAndClose(announced("200 OK", &["etag: \"e\""], whole.len(), &whole[..cut.min(whole.len())]));
    };
    let (first, last) = range.split_once('-').unwrap();
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(whole.len() - 1);
    let bytes = &whole[first..=last];
    let content_range = format!("content-range: bytes {first}-{last}/{}", whole.len());
    let headers = [content_range.as_str(), "etag: \"e\""];
    Reply::SayAndClose(announced("206 Partial Content", &headers, bytes.len(), &bytes[..cut.min(bytes.len())]))
}

#[tokio::test]
async fn a_refused_connection_did_nothing() {
    let server = Server::start(|_| Reply::Hang).await;
    let silo = silo_on(&server).await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = silo_at(&format!("http://{}", gone.local_addr().unwrap()));
    dead.with_known(|known| known.marker = silo.claimed().ok().map(|(marker, _)| marker));
    drop(gone);
    for size in SIZES {
        assert!(matches!(put(&dead, size).await, Err(SiloError::NotDone { .. })));
    }
    assert!(matches!(dead.delete(&name()).await, Err(SiloError::NotDone { .. })));
    assert!(matches!(dead.stat(&name()).await, Err(SiloError::NotDone { .. })));
}

/// The bytes were stored and the answer was lost. A second try would be answered `Exists` or write the name twice: the
/// outcome is unknown, and the server saw one request.
#[tokio::test]
async fn a_lost_answer_is_unknown_and_never_tried_again() {
    for size in SIZES {
        let server = Server::start(|_| Reply::Hang).await;
        let silo = silo_on(&server).await;
        assert!(matches!(put(&silo, size).await, Err(SiloError::Unknown { .. })));
        assert_eq!(server.seen().len(), 1);
    }
    let server = Server::start(|_| Reply::Hang).await;
    let silo = silo_on(&server).await;
    assert!(matches!(silo.delete(&name()).await, Err(SiloError::Unknown { .. })));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn refusals_of_a_put_say_what_is_certain() {
    for (status, code, expected) in [
        ("503 Slow Down", "SlowDown", SiloError::Throttled),
        ("429 Too Many Requests", "", SiloError::Throttled),
        ("507 Insufficient Storage", "", SiloError::Full),
        ("412 Precondition Failed", "PreconditionFailed", SiloError::Exists),
        ("500 Internal Error", "InternalError", SiloError::unknown("answered 500 InternalError no")),
        ("403 Forbidden", "AccessDenied", SiloError::not_done("answered 403 AccessDenied no")),
    ] {
        let server = Server::start(move |_| Reply::Say(refused(status, code))).await;
        let silo = silo_on(&server).await;
        for size in SIZES {
            assert_eq!(put(&silo, size).await, Err(expected.clone()), "{status}");
        }
    }
}

/// A server, or who took its name, answers 307 to another host: the credentials stay here (S62).
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let thief = Server::start(|_| Reply::Say(answer("200 OK", &[], b""))).await;
    let location = format!("location: {}/bucket/x", thief.endpoint);
    let redirect = move |_: &Seen| Reply::Say(answer("307 Temporary Redirect", &[&location], b""));
    let server = Server::start(redirect).await;
    let silo = silo_on(&server).await;
    for size in SIZES {
        assert!(matches!(put(&silo, size).await, Err(SiloError::NotDone { .. })));
    }
    assert!(matches!(silo.stat(&name()).await, Err(SiloError::NotDone { .. })));
    assert!(matches!(read(&silo, 10, 0..10).await, Err(SiloError::NotDone { .. })));
    assert!(matches!(silo.delete(&name()).await, Err(SiloError::NotDone { .. })));
    assert!(thief.seen().is_empty(), "{:?}", thief.seen());
}

#[tokio::test]
async fn a_put_is_one_signed_request_with_its_length() {
    let server = Server::start(|_| Reply::Say(answer("200 OK", &["etag: \"e\""], b""))).await;
    let silo = silo_on(&server).await;
    for size in SIZES {
        let stored = put(&silo, size).await.unwrap();
        assert_eq!((stored.size, stored.validator.0.as_str()), (size as u64, "\"e\""));
        assert!(!stored.checksum_enforced, "nobody probed");
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.received, size as u64);
        assert_eq!(seen.header("x-amz-meta-holdall"), Some("c2fpza=="), "lower-cased by the server above");
        assert!(seen.header("authorization").unwrap().contains("credential=key/"));
        assert!(seen.header("transfer-encoding").is_none());
    }
}

/// What a probe had found was forgotten with the client that probed: copies were read back though the bucket refuses other
/// bytes, and where it keeps versions, a delete took none of them away.
#[tokio::test]
async fn what_was_found_once_is_gone_by() {
    let server = Server::start(|_| Reply::Say(answer("200 OK", &["etag: \"e\"", "x-amz-version-id: 7"], b""))).await;
    let silo = silo_on(&server).await;
    let versions = "the bucket keeps versions: blobs are deleted by version".to_owned();
    let facts = Facts { exclusive_create: true, enforces_upload_checksum: true, ..Facts::default() };
    silo.recall(&Facts { notes: vec![versions], ..facts });
    assert!(put(&silo, SIZES[0]).await.unwrap().checksum_enforced);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.header("if-none-match"), Some("*"));
    assert!(seen.header("x-amz-checksum-crc32c").is_some());
    silo.delete(&name()).await.unwrap();
    assert!(server.seen().pop().unwrap().line.to_ascii_lowercase().contains("versionid=7"));
}

/// The client breaks off in the middle: the server never sees a whole body, whatever it would make of one.
#[tokio::test]
async fn a_body_that_breaks_off_is_never_sent_whole() {
    let server = Server::start(|_| Reply::Say(answer("200 OK", &["etag: \"e\""], b""))).await;
    let silo = silo_on(&server).await;
    let error = BodyError { reason: "hung up".to_owned() };
    let body: Body = Box::pin(stream::iter([Ok(sample(700_000)), Err(error.clone())]));
    let put = silo.put(&name(), 1 << 20, body, Arc::new(|_| Vec::new())).await;
    assert_eq!(put, Err(SiloError::Body(error)));
    while server.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(server.seen().iter().all(|seen| !seen.complete));
}

/// The server says what it received: other bytes than were sent. The blob is no good, whatever the status.
#[tokio::test]
async fn a_checksum_of_other_bytes_is_a_mismatch() {
    let other = "x-amz-checksum-crc64nvme: AAAAAAAAAAA=";
    let server = Server::start(move |_| Reply::Say(answer("200 OK", &[other], b""))).await;
    let silo = silo_on(&server).await;
    assert!(matches!(put(&silo, 1 << 20).await, Err(SiloError::Mismatch { .. })));
}

/// The connection breaks in the middle of a long read: it goes on at the same byte, of the same version.
#[tokio::test]
async fn a_read_goes_on_where_it_broke_off() {
    let whole = sample(3 * BLOCK + 11);
    let (bytes, size) = (whole.clone(), whole.len());
    let server = Server::start(move |seen| part(seen, &bytes, 2 * BLOCK - 5)).await;
    let silo = silo_on(&server).await;
    assert_eq!(read(&silo, size, 0..size as u64).await.unwrap(), whole);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].header("if-match"), Some("\"e\""));
    assert_eq!(seen[1].header("range"), Some(format!("bytes={}-{}", 2 * BLOCK - 5, size - 1).as_str()));
    let range = 100..size as u64 - 1;
    assert_eq!(read(&silo, size, range).await.unwrap(), whole.slice(100..size - 1));
}

#[tokio::test]
async fn a_read_that_breaks_off_every_time_ends_in_an_error() {
    let whole = sample(3 * BLOCK);
    let server = Server::start(move |seen| part(seen, &whole, 1000)).await;
    let silo = silo_on(&server).await;
    assert!(matches!(read(&silo, 3 * BLOCK, 0..3 * BLOCK as u64).await, Err(SiloError::NotDone { .. })));
    assert_eq!(server.seen().len(), READ_TRIES as usize);
}

#[tokio::test]
async fn a_read_is_tried_again_where_that_may_help() {
    let tries = Arc::new(Mutex::new(0));
    let flaky = move |_: &Seen| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1 => Reply::Hang,
            2 => Reply::Say(refused("503 Slow Down", "SlowDown")),
            _ => Reply::Say(answer("200 OK", &[], b"0123456789")),
        }
    };
    let server = Server::start(flaky).await;
    let silo = silo_on(&server).await;
    assert_eq!(read(&silo, 10, 0..10).await.unwrap(), "0123456789");
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn an_answer_to_another_question_is_never_served() {
    let cases: [(&str, Vec<u8>); 5] = [
        ("another length", answer("200 OK", &[], b"012345678")),
        ("another total", answer("206 Partial Content", &["content-range: bytes 2-4/11"], b"234")),
        ("another range", answer("206 Partial Content", &["content-range: bytes 3-5/10"], b"345")),
        ("a range of no object", answer("206 Partial Content", &[], b"345")),
        ("the whole of a ranged one", answer("200 OK", &[], b"0123456789")),
    ];
    for (what, bytes) in cases {
        let server = Server::start(move |_| Reply::Say(bytes.clone())).await;
        let silo = silo_on(&server).await;
        let range = if what == "another length" { 0..10 } else { 2..5 };
        let got = read(&silo, 10, range).await;
        assert!(matches!(got, Err(SiloError::Mismatch { .. } | SiloError::NotDone { .. })), "{what}: {got:?}");
    }
}

/// Of a pack, more may be stored than the index knows: whatever is asked for is asked for as a range, and what is stored
/// has to reach that far.
#[tokio::test]
async fn a_pack_is_read_where_it_is_long_enough() {
    let whole = sample(2 * BLOCK + 11);
    let (bytes, size) = (whole.clone(), whole.len());
    let server = Server::start(move |seen| part(seen, &bytes, BLOCK + 5)).await;
    let silo = silo_on(&server).await;
    let pack = BlobName::pack(1, 2);
    for least in [size, size - 1, BLOCK, 1] {
        let got = collect(silo.read(&pack, least as u64, 0..least as u64).await.unwrap()).await;
        assert_eq!(got.unwrap(), whole.slice(..least));
        assert!(server.seen().iter().all(|seen| seen.header("range").is_some()));
    }
    for range in [0..size as u64 + 1, 0..1] {
        let got = silo.read(&pack, size as u64 + 1, range).await.map(drop);
        assert!(matches!(got, Err(SiloError::Mismatch { .. })), "{got:?}");
    }
}

/// Some servers answer a range that is the whole object with the whole object; of a longer one that is no answer.
#[tokio::test]
async fn a_pack_sent_whole_is_taken_where_it_is_all_that_was_asked_for() {
    let server = Server::start(|_| Reply::Say(answer("200 OK", &["etag: \"e\""], b"0123456789"))).await;
    let silo = silo_on(&server).await;
    let pack = BlobName::pack(1, 2);
    let got = collect(silo.read(&pack, 10, 0..10).await.unwrap()).await;
    assert_eq!(got.unwrap(), "0123456789");
    assert!(matches!(silo.read(&pack, 9, 0..9).await.map(drop), Err(SiloError::NotDone { .. })));
    assert!(matches!(silo.read(&pack, 11, 0..11).await.map(drop), Err(SiloError::Mismatch { .. })));
    assert!(matches!(silo.append(&pack, 0, vec![sample(1)]).await, Err(SiloError::NotDone { .. })));
    assert!(!silo.appends());
}

/// Somebody emptied the bucket, or the endpoint is another server's now: what is missing is the silo.
#[tokio::test]
async fn a_bucket_without_its_marker_misses_no_blobs() {
    let server = Server::start(|_| Reply::Say(refused("404 Not Found", "NoSuchKey"))).await;
    let silo = silo_on(&server).await;
    assert_eq!(silo.stat(&name()).await, Err(SiloError::Missing));
    assert_eq!(silo.delete(&name()).await, Ok(()));
    silo.with_known(|known| known.marker = Some(Marker { id: "2".to_owned(), ..marker() }));
    assert!(matches!(silo.stat(&name()).await, Err(SiloError::NotDone { .. })));
    assert!(matches!(read(&silo, 1, 0..1).await, Err(SiloError::NotDone { .. })));
    assert!(matches!(silo.delete(&name()).await, Err(SiloError::NotDone { .. })));
}

#[tokio::test]
async fn errors_and_debug_show_no_secret() {
    let server = Server::start(|_| Reply::Hang).await;
    let silo = silo_on(&server).await;
    let error = format!("{:?} {:?}", put(&silo, 10).await, silo.stat(&name()).await);
    assert!(!error.contains("SECRET") && !error.contains("AWS4"), "{error}");
}
