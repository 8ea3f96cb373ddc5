//! Azure's dialect, and its listing behind a name. What is common to all kinds is tried out in S3's tests.

use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::connect::holdings;
use crate::holdings::Found;
use crate::silo::Silo;
use crate::web::Bucket;
use crate::web::scripted::{Reply, Seen, Server, answer, claimed, is_refused, name, put};

const KEY: &str = "U0VDUkVUIFNFQ1JFVA==";

fn silo_with(server: &Server, credentials: &Credentials) -> Bucket {
    let url = format!("azure://cold?account=acct&endpoint={}/acct", server.endpoint);
    silo_at(&url, credentials)
}

fn silo_at(url: &str, credentials: &Credentials) -> Bucket {
    Bucket::new(service(&Address::parse(url, Path::new("/")).unwrap(), credentials).unwrap()).unwrap()
}

/// A silo on this server, claimed.
async fn silo_on(server: &Server) -> Bucket {
    claimed(silo_with(server, &Credentials::AccountKey(KEY.to_owned()))).await
}

fn refused(status: &str, code: &str) -> Vec<u8> {
    answer(status, &[&format!("x-ms-error-code: {code}")], b"\xef\xbb\xbf<Error><Message>no</Message></Error>")
}

#[tokio::test]
async fn a_put_is_one_signed_request_with_its_length() {
    let server = Server::start(|_| Reply::Say(answer("201 Created", &["etag: \"e\""], b""))).await;
    let silo = silo_on(&server).await;
    for size in [0, 10, 1 << 20] {
        let stored = put(&silo, size).await.unwrap();
        assert_eq!((stored.size, stored.validator.0.as_str()), (size as u64, "\"e\""));
        let seen = server.seen().pop().unwrap();
        assert_eq!(seen.received, size as u64);
        assert_eq!(seen.header("content-length"), Some(size.to_string().as_str()));
        assert!(seen.header("transfer-encoding").is_none());
        assert!(seen.header("authorization").unwrap().starts_with("sharedkey acct:"));
        assert_eq!(seen.header("x-ms-version"), Some("2023-11-03"));
        assert_eq!(seen.header("x-ms-blob-type"), Some("blockblob"));
        assert_eq!(seen.header("x-ms-meta-holdall"), Some("c2fpza=="), "lower-cased by the server above");
    }
}

#[tokio::test]
async fn refusals_say_what_is_certain() {
    let not_done = |text: &str| SiloError::not_done(format!("answered {text} no"));
    for (status, code, writing, reading) in [
        ("409 Conflict", "BlobAlreadyExists", SiloError::Exists, not_done("409 BlobAlreadyExists")),
        (
            "409 Conflict",
            "ContainerBeingDeleted",
            not_done("409 ContainerBeingDeleted"),
            not_done("409 ContainerBeingDeleted"),
        ),
        (
            "412 Precondition Failed",
            "LeaseIdMissing",
            not_done("412 LeaseIdMissing"),
            SiloError::mismatch("answered 412 LeaseIdMissing no"),
        ),
        ("503 Server Busy", "ServerBusy", SiloError::Throttled, SiloError::Throttled),
        (
            "500 Timed Out",
            "OperationTimedOut",
            SiloError::unknown("answered 500 OperationTimedOut no"),
            not_done("500 OperationTimedOut"),
        ),
        ("404 Not Found", "ContainerNotFound", not_done("404 ContainerNotFound"), not_done("404 ContainerNotFound")),
        ("404 Not Found", "BlobNotFound", not_done("404 BlobNotFound"), SiloError::Missing),
        (
            "403 Forbidden",
            "AuthenticationFailed",
            not_done("403 AuthenticationFailed"),
            not_done("403 AuthenticationFailed"),
        ),
    ] {
        let server = Server::start(move |_| Reply::Say(refused(status, code))).await;
        is_refused(&silo_on(&server).await, writing, reading, code).await;
    }
}

/// The service says what it received: Azure's CRC-64 has the least significant byte first.
#[tokio::test]
async fn a_checksum_of_other_bytes_is_a_mismatch() {
    assert_eq!((WORDS.echo.spell)(0xAE8B_1486_0A79_9888), "iJh5CoYUi64=");
    let other = "x-ms-content-crc64: AAAAAAAAAAA=";
    let server = Server::start(move |_| Reply::Say(answer("201 Created", &[other], b""))).await;
    let silo = silo_on(&server).await;
    assert!(matches!(put(&silo, 1 << 20).await, Err(SiloError::Mismatch { .. })));
    silo.with_known(|known| known.promises.strange_echo = true);
    assert!(put(&silo, 1 << 20).await.is_ok(), "the probe found that it is no checksum we know");
}

fn page(names: &[&str], next: &str) -> Vec<u8> {
    let blob = |name: &&str| {
        format!("<Blob><Name>blobs/{name}</Name><Properties><Content-Length>1</Content-Length></Properties></Blob>")
    };
    let blobs: String = names.iter().map(blob).collect();
    let text =
        format!("<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>");
    answer("200 OK", &[], text.as_bytes())
}

/// Ten names in three pages; markers of an earlier age are refused.
fn ten(seen: &Seen) -> Reply {
    let marker = seen.line.split("MARKER=").nth(1).map(|rest| rest.split(['&', ' ']).next().unwrap());
    Reply::Say(match marker {
        None => page(&["a", "b", "c", "d"], "M1"),
        // A page may be empty though more follow.
        Some("M1") => page(&[], "M2"),
        Some("M2") => page(&["e", "f", "g", "h"], "M3"),
        Some("M3") => page(&["i", "j"], ""),
        Some(_) => refused("400 Bad Request", "OutOfRangeInput"),
    })
}

async fn names(silo: &Bucket, after: Option<&str>, limit: usize) -> String {
    let listed = silo.list("", after, limit).await.unwrap();
    listed.into_iter().map(|listed| listed.name).collect()
}

/// Azure lists from the beginning or from a marker of its own. Whoever goes on behind a page pays for no page before it.
#[tokio::test]
async fn a_listing_goes_on_where_a_page_ended() {
    let server = Server::start(ten).await;
    let silo = silo_on(&server).await;
    let requests = || server.seen().len();
    assert_eq!((names(&silo, None, 4).await.as_str(), requests()), ("abcd", 1));
    assert_eq!((names(&silo, Some("d"), 4).await.as_str(), requests()), ("efgh", 3));
    assert_eq!((names(&silo, Some("h"), 4).await.as_str(), requests()), ("ij", 4));
    assert_eq!((names(&silo, Some("j"), 4).await.as_str(), requests()), ("", 5));
    assert_eq!((names(&silo, Some("f"), 1).await.as_str(), requests()), ("g", 6), "from the middle of a page");
    let again = silo_on(&server).await;
    assert_eq!((names(&again, Some("g"), 4).await.as_str(), requests()), ("h", 9), "from the beginning, once");
    assert_eq!((names(&again, Some("h"), 4).await.as_str(), requests()), ("ij", 10));
}

#[tokio::test]
async fn a_marker_that_is_good_no_more_is_done_without() {
    let old = Arc::new(std::sync::Mutex::new(true));
    let server = Server::start(move |seen| {
        let first = std::mem::take(&mut *old.lock().unwrap());
        if first { Reply::Say(page(&["a"], "GONE")) } else { ten(seen) }
    });
    let server = server.await;
    let silo = silo_on(&server).await;
    assert_eq!(names(&silo, None, 1).await, "a");
    assert_eq!(names(&silo, Some("a"), 9).await, "bcd");
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line.contains("MARKER=GONE")).collect();
    assert_eq!(lines, [false, true, false]);
}

#[tokio::test]
async fn tokens_are_not_sent_unencrypted_and_nothing_shows_them() {
    let token = Credentials::SasToken("?sv=2022-11-02&sp=rwdl&sig=SECRET%2B%3D".to_owned());
    let server = Server::start(|_| Reply::Hang).await;
    let silo = claimed(silo_with(&server, &token)).await;
    let error = format!("{:?} {:?}", put(&silo, 10).await, silo.stat(&name()).await);
    assert!(!error.contains("SECRET"), "{error}");
    assert!(server.seen().pop().unwrap().line.contains("SIG=SECRET%2B%3D"));
    let far = "azure://cold?account=acct&endpoint=http://192.0.2.1/acct";
    let far = silo_at(far, &token);
    let refused = far.marker().await.unwrap_err().to_string();
    assert!(refused.contains("a token is not sent unencrypted"), "{refused}");
}

#[tokio::test]
async fn what_a_deletion_leaves_is_noted() {
    let server = Server::start(|seen| {
        let kept = "x-ms-delete-type-permanent: false";
        Reply::Say(if seen.line.starts_with("DELETE") {
            answer("202 Accepted", &[kept], b"")
        } else {
            refused("404 x", "")
        })
    });
    let server = server.await;
    let silo = silo_with(&server, &Credentials::AccountKey(KEY.to_owned()));
    let mut answered = HeaderMap::new();
    answered.insert("x-ms-version-id", HeaderValue::from_static("2026-01-01"));
    let learned = silo.client().service.learn(silo.client(), "x", &answered).await.unwrap();
    assert_eq!((learned.versioned, learned.notes.len()), (false, 2));
    assert_eq!(server.seen().pop().unwrap().header("x-ms-delete-snapshots"), Some("include"));
}

/// Whoever goes on behind the last name of a page would pass over what comes too late.
#[tokio::test]
async fn a_listing_out_of_order_is_an_error() {
    for second in [["b", "d"], ["e", "d"], ["c", "d"]] {
        let server = Server::start(move |seen| {
            Reply::Say(if seen.line.contains("MARKER=M1") { page(&second, "") } else { page(&["a", "c"], "M1") })
        });
        let silo = silo_on(&server.await).await;
        assert_eq!(names(&silo, None, 2).await, "ac");
        assert!(matches!(silo.list("", Some("c"), 2).await, Err(SiloError::NotDone { .. })), "{second:?}");
    }
}

/// Folders of accounts that have such are no names, and an archived blob cannot be read.
#[tokio::test]
async fn blobs_of_others_are_seen_as_they_are() {
    let blob = |name: &str, more: &str| {
        format!(
            "<Blob><Name>{name}</Name><Properties><Last-Modified>Fri, 02 Jan 2026 03:04:05 GMT</Last-Modified>\
             <Etag>0x1</Etag><Content-Length>1</Content-Length>{more}</Properties></Blob>"
        )
    };
    let blobs = [
        blob("a", "<AccessTier>Hot</AccessTier>"),
        blob("b", "<AccessTier>Archive</AccessTier><ArchiveStatus>rehydrate-pending-to-hot</ArchiveStatus>"),
        blob("c", "<AccessTier>Cool</AccessTier>"),
        blob("d", "<ResourceType>directory</ResourceType>"),
    ];
    let text = format!("<EnumerationResults><Blobs>{}</Blobs><NextMarker/></EnumerationResults>", blobs.concat());
    let server = Server::start(move |seen| {
        Reply::Say(match seen.line.split(' ').next() {
            Some("HEAD") => refused("409 Conflict", "BlobArchived"),
            _ => answer("200 OK", &[], text.as_bytes()),
        })
    });
    let server = server.await;
    let url = format!("azure://cold?account=acct&endpoint={}/acct", server.endpoint);
    let key = Credentials::AccountKey(KEY.to_owned());
    let shelf = holdings(&Address::parse(&url, Path::new("/")).unwrap(), &key).unwrap();
    let found = shelf.walk(b"", None).next(9).await.unwrap();
    let told = |found: &Found| match found {
        Found::Held(held) => format!("{} {:?}", held.validator.0, held.system),
        Found::Refused { reason, .. } | Found::Archived { reason, .. } | Found::Unread { reason, .. } => reason.clone(),
    };
    assert_eq!(
        found.iter().map(told).collect::<Vec<_>>(),
        ["0x1 []", "archived (Archive), and to be restored first", "0x1 [(\"x-ms-access-tier\", \"Cool\")]"]
    );
    assert!(matches!(shelf.look(b"b").await, Err(SiloError::Mismatch { .. })));
}

/// Tags of a blob of others were left behind without a word.
#[tokio::test]
async fn tags_of_others_are_asked_for_where_there_are_any() {
    let server = Server::start(|seen| {
        let tags =
            b"<?xml version=\"1.0\"?><Tags><TagSet><Tag><Key>class</Key><Value>a b</Value></Tag></TagSet></Tags>";
        let count = if seen.line.contains("/BARE ") { "x-ms-meta-n: 0" } else { "x-ms-tag-count: 1" };
        let date = "last-modified: Fri, 02 Jan 2026 03:04:05 GMT";
        Reply::Say(match seen.line.split(' ').next() {
            Some("HEAD") => answer("200 OK", &["etag: \"0x1\"", date, count], b""),
            _ if seen.line.contains("/SHUT?") => refused("403 Forbidden", "AuthorizationPermissionMismatch"),
            _ if seen.line.contains("/TAGGED?COMP=TAGS ") => answer("200 OK", &[], tags),
            _ => refused("404 Not Found", "BlobNotFound"),
        })
    });
    let server = server.await;
    let url = format!("azure://cold?account=acct&endpoint={}/acct", server.endpoint);
    let key = Credentials::AccountKey(KEY.to_owned());
    let shelf = holdings(&Address::parse(&url, Path::new("/")).unwrap(), &key).unwrap();
    assert_eq!(shelf.look(b"tagged").await.unwrap().tags, [("class".to_owned(), "a b".to_owned())]);
    assert_eq!(shelf.look(b"bare").await.unwrap().tags, []);
    let shut = shelf.look(b"shut").await;
    assert!(matches!(&shut, Err(SiloError::NotDone { reason }) if reason.contains("tags")), "{shut:?}");
}
