//! What is made of a bucket of others whose server pages, lists in another order, ignores conditions or archives. All of
//! this but the spelling is common to every kind of bucket, and tried out with S3's.

use std::path::Path;
use std::sync::Mutex;

use percent_encoding::percent_decode_str;

use super::*;
use crate::address::Address;
use crate::connect::{Credentials, holdings};
use crate::limits::BLOCK;
use crate::silo::collect;
use crate::web::scripted::{Reply, Seen, Server, announced, answer, name, sample};

const DATE: &str = "last-modified: Fri, 02 Jan 2026 03:04:05 GMT";
const THEN: i64 = 1_767_323_045_000;

fn shelf_at(server: &Server, prefix: &str) -> Arc<dyn Holdings> {
    let url = format!("s3://bucket/{prefix}?endpoint={}", server.endpoint);
    let keys = Credentials::Keys { access_key_id: "KEY".to_owned(), secret_access_key: "SECRET".to_owned() };
    holdings(&Address::parse(&url, Path::new("/")).unwrap(), &keys).unwrap()
}

fn refused(status: &str, code: &str) -> Reply {
    Reply::Say(answer(status, &[], format!("<Error><Code>{code}</Code><Message>no</Message></Error>").as_bytes()))
}

/// A parameter of the request, in small letters as these tests' names are.
fn asked(seen: &Seen, name: &str) -> Option<String> {
    let (_, query) = seen.line.split(' ').nth(1)?.split_once('?')?;
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(percent_decode_str(value).decode_utf8().unwrap().to_ascii_lowercase())
}

fn is_listing(seen: &Seen) -> bool {
    asked(seen, "LIST-TYPE").is_some()
}

fn contents(key: &str, more: &str) -> String {
    format!(
        "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>&quot;e&quot;</ETag>\
         <Size>1</Size>{more}</Contents>"
    )
}

/// A page of keys that are encoded already.
fn page(contents: &[String]) -> Reply {
    let text = format!(
        "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>{}</ListBucketResult>",
        contents.concat()
    );
    Reply::Say(answer("200 OK", &[], text.as_bytes()))
}

/// A server that lists these keys by the letter, as it was asked to.
async fn server_of(keys: &'static [&'static str]) -> Server {
    Server::start(move |seen| {
        let (prefix, after) = (asked(seen, "PREFIX").unwrap(), asked(seen, "START-AFTER").unwrap_or_default());
        let most = asked(seen, "MAX-KEYS").unwrap().parse().unwrap();
        let wanted = keys.iter().filter(|key| key.starts_with(&prefix) && **key > &*after).take(most);
        page(
            &wanted
                .map(|key| contents(&key.replace('%', "%25").replace('+', "%2B").replace(' ', "+"), ""))
                .collect::<Vec<_>>(),
        )
    })
    .await
}

async fn walked(shelf: &Arc<dyn Holdings>, prefix: &str, after: Option<&str>) -> Result<Vec<Found>, SiloError> {
    let mut walk = shelf.walk(prefix.as_bytes(), after.map(str::as_bytes));
    let mut all = Vec::new();
    loop {
        let some = walk.next(2).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some);
    }
}

async fn names(shelf: &Arc<dyn Holdings>, prefix: &str, after: Option<&str>) -> String {
    let found = walked(shelf, prefix, after).await.unwrap();
    let names: Vec<_> = found.iter().map(|found| String::from_utf8_lossy(found.name())).collect();
    names.join(", ")
}

fn is_mismatch<T>(outcome: &Result<T, SiloError>) -> bool {
    matches!(outcome, Err(SiloError::Mismatch { .. }))
}

fn is_not_done<T>(outcome: &Result<T, SiloError>) -> bool {
    matches!(outcome, Err(SiloError::NotDone { .. }))
}

async fn read(shelf: &Arc<dyn Holdings>, size: u64, range: Range<u64>) -> Result<bytes::Bytes, SiloError> {
    collect(shelf.read(b"f", size, &Validator("e".to_owned()), range).await?).await
}

#[tokio::test]
async fn a_walk_sees_every_name_page_by_page_and_begins_where_it_is_told() {
    let server = server_of(&["a", "p/", "p/ a ", "p/a%2fb", "p/a+b", "p/a//b", "p/a/b", "p/b/", "p/é", "q"]).await;
    let below = shelf_at(&server, "p");
    assert_eq!(names(&below, "", None).await, " a , a%2fb, a+b, a//b, a/b, b/, é");
    assert_eq!(names(&below, "a", Some("a+b")).await, "a//b, a/b");
    assert_eq!(names(&below, "a", Some("b")).await, "");
    assert_eq!(
        names(&shelf_at(&server, ""), "", Some("b")).await,
        "p/, p/ a , p/a%2fb, p/a+b, p/a//b, p/a/b, p/b/, p/é, q"
    );
    let Found::Held(held) = walked(&below, "b", None).await.unwrap().remove(0) else { panic!("held") };
    assert_eq!((held.size, held.modified, held.etag.as_deref(), &*held.validator.0), (1, THEN, Some("e"), "e"));
    assert!(!held.complete && !held.unsettled && held.system.is_empty());
}

/// Directory buckets, for one, list in no order at all, and some servers know no `start-after`. What is missing from a
/// wrong order would count as deleted.
#[tokio::test]
async fn a_listing_out_of_order_is_an_error() {
    for keys in [["b", "a"], ["a", "a"], ["a/", "a-"]] {
        let server = Server::start(move |_| page(&keys.map(|key| contents(key, "")))).await;
        assert!(is_not_done(&walked(&shelf_at(&server, ""), "", None).await), "{keys:?}");
    }
    let deaf = Server::start(|_| page(&["a", "b"].map(|key| contents(key, "")))).await;
    let shelf = shelf_at(&deaf, "");
    assert_eq!(shelf.walk(b"", None).next(2).await.unwrap().len(), 2);
    assert!(is_not_done(&walked(&shelf, "", None).await));
}

/// Only some servers let such names in; a request could not spell them.
#[tokio::test]
async fn names_that_no_request_holds_are_refused() {
    let server = Server::start(|seen| {
        let keys = ["a/../b", "b%E9", "b%E9x", "b%EA", "c"].map(|key| contents(key, ""));
        match asked(seen, "START-AFTER").as_deref() {
            None => page(&keys[..2]),
            Some("b") => page(&keys[1..]),
            Some(_) => page(&[]),
        }
    })
    .await;
    let shelf = shelf_at(&server, "");
    let found = walked(&shelf, "", None).await.unwrap();
    let refused = |found: &Found| matches!(found, Found::Refused { .. });
    assert_eq!(found.iter().map(refused).collect::<Vec<_>>(), [true, true, true, true, false]);
    assert_eq!(found[2].name(), b"b\xe9x");
    let mut within = shelf.walk(b"b\xe9", Some(b"b\xe9"));
    assert_eq!(within.next(9).await.unwrap().iter().map(Found::name).collect::<Vec<_>>(), [b"b\xe9x"]);
    let before = server.seen().len();
    for name in [b"a/../b".as_slice(), b".", b"b\xe9"] {
        assert!(is_mismatch(&shelf.look(name).await));
        assert!(is_mismatch(&shelf.read(name, 1, &Validator("e".to_owned()), 0..1).await.map(drop)));
    }
    for name in ["", MARKER, ".holdall/x"] {
        assert_eq!(shelf.look(name.as_bytes()).await, Err(SiloError::Missing));
    }
    assert_eq!(server.seen().len(), before, "nothing was asked");
}

#[tokio::test]
async fn what_is_ours_is_not_seen_and_what_only_looks_like_it_is() {
    let ours = format!("blobs/{}", name());
    let keys = [".holdall/x", &ours, "blobs/x", MARKER, "probe/0123456789abcdef.plain", "probe/x"]
        .map(|key| contents(key, ""));
    let server =
        Server::start(move |seen| if asked(seen, "START-AFTER").is_none() { page(&keys) } else { page(&[]) }).await;
    assert_eq!(names(&shelf_at(&server, ""), "", None).await, "blobs/x, probe/x");
}

#[tokio::test]
async fn what_is_archived_is_refused_until_it_is_restored() {
    let restored = "<StorageClass>GLACIER</StorageClass><RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>\
        <RestoreExpiryDate>2026-12-21T00:00:00.000Z</RestoreExpiryDate></RestoreStatus>";
    let class = |class: &str| format!("<StorageClass>{class}</StorageClass>");
    let keys = [
        contents("a", &class("GLACIER")),
        contents("b", &class("DEEP_ARCHIVE")),
        contents("c", restored),
        contents("d", &class("GLACIER_IR")),
        contents("e", &class("STANDARD")),
    ];
    let server =
        Server::start(move |seen| if asked(seen, "START-AFTER").is_none() { page(&keys) } else { page(&[]) }).await;
    let found = walked(&shelf_at(&server, ""), "", None).await.unwrap();
    let told = |found: &Found| match found {
        Found::Held(held) => held.system.iter().flat_map(|(name, value)| [name, ": ", value]).collect(),
        Found::Refused { reason, .. } | Found::Archived { reason, .. } | Found::Unread { reason, .. } => reason.clone(),
    };
    assert_eq!(
        found.iter().map(told).collect::<Vec<_>>(),
        [
            "archived (GLACIER), and to be restored first",
            "archived (DEEP_ARCHIVE), and to be restored first",
            "x-amz-storage-class: GLACIER",
            "x-amz-storage-class: GLACIER_IR",
            ""
        ]
    );
    for (headers, readable) in [
        (["x-amz-storage-class: GLACIER", "x-y: z"], false),
        (["x-amz-storage-class: DEEP_ARCHIVE", "x-amz-restore: ongoing-request=\"true\""], false),
        (["x-amz-storage-class: GLACIER", "x-amz-restore: ongoing-request=\"false\", expiry-date=\"x\""], true),
        (["x-amz-storage-class: INTELLIGENT_TIERING", "x-amz-archive-status: ARCHIVE_ACCESS"], false),
        (["x-amz-storage-class: INTELLIGENT_TIERING", "x-y: z"], true),
    ] {
        let server = Server::start(move |_| {
            Reply::Say(announced("200 OK", &[DATE, "etag: \"e\"", headers[0], headers[1]], 1, b""))
        });
        let looked = shelf_at(&server.await, "").look(b"f").await;
        assert_eq!((looked.is_ok(), is_mismatch(&looked)), (readable, !readable), "{headers:?}");
    }
    let server = Server::start(|_| refused("403 Forbidden", "InvalidObjectState")).await;
    assert!(is_mismatch(&read(&shelf_at(&server, ""), 9, 0..9).await));
}

#[tokio::test]
async fn a_look_tells_all_that_goes_with_an_object() {
    let server = Server::start(|_| {
        let headers = [
            DATE,
            "etag: W/\"e-2\"",
            "content-type: text/x",
            "content-encoding: gzip",
            "cache-control: no-cache",
            "content-language: en",
            "content-disposition: inline",
            "expires: never",
            "x-amz-meta-Colour: blue",
            "x-amz-storage-class: STANDARD_IA",
            "server: x",
        ];
        Reply::Say(announced("200 OK", &headers, 7, b""))
    })
    .await;
    let held = shelf_at(&server, "p").look(b"a b").await.unwrap();
    assert_eq!(server.seen()[0].line, "HEAD /BUCKET/P/A%20B HTTP/1.1");
    assert_eq!((held.size, held.modified, held.complete), (7, THEN, true));
    assert_eq!((held.etag.as_deref(), &*held.validator.0, &*held.name), (Some("e-2"), "e-2", b"a b".as_slice()));
    let system: Vec<_> = held.system.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        system,
        [
            "content-type: text/x",
            "content-encoding: gzip",
            "content-language: en",
            "content-disposition: inline",
            "cache-control: no-cache",
            "expires: never",
            "x-amz-storage-class: STANDARD_IA"
        ]
    );
    assert_eq!(held.user, [("colour".to_owned(), "blue".to_owned())]);
}

/// Between the look and the read somebody writes: other bytes, the same number of them or not. Some servers answer so,
/// some take the condition and send what is there now.
#[tokio::test]
async fn what_was_changed_is_not_read_as_what_it_was() {
    let now = ["etag: \"f\"", "content-range: bytes 2-4/10"];
    for reply in [
        answer("412 Precondition Failed", &[], b""),
        answer("200 OK", &now[..1], b"0123456789"),
        answer("206 Partial Content", &now, b"234"),
        answer("200 OK", &["etag: \"e\""], b"01234567890"),
        answer("206 Partial Content", &["etag: \"e\"", "content-range: bytes 2-4/11"], b"234"),
        answer("416 Range Not Satisfiable", &[], b""),
    ] {
        let server = Server::start(move |_| Reply::Say(reply.clone())).await;
        for range in [0..10, 2..5, 3..3] {
            let got = read(&shelf_at(&server, ""), 10, range).await;
            assert!(is_mismatch(&got), "{got:?}");
        }
        assert!(server.seen().iter().all(|seen| seen.header("if-match") == Some("\"e\"")));
    }
    let silent = Server::start(|_| Reply::Say(answer("200 OK", &[], b"0123456789"))).await;
    assert!(is_not_done(&read(&shelf_at(&silent, ""), 10, 0..10).await), "nothing says what it is");
}

#[tokio::test]
async fn a_read_that_broke_off_goes_on_with_the_same_object_or_not_at_all() {
    let whole = sample(2 * BLOCK);
    for (second, same) in [("etag: \"e\"", true), ("etag: \"f\"", false)] {
        let (bytes, half) = (whole.clone(), BLOCK + 9);
        let server = Server::start(move |seen| {
            let range = format!("content-range: bytes {half}-{}/{}", bytes.len() - 1, bytes.len());
            Reply::SayAndClose(match seen.header("range") {
                None => announced("200 OK", &["etag: \"e\""], bytes.len(), &bytes[..half]),
                Some(_) => answer("206 Partial Content", &[second, &range], &bytes[half..]),
            })
        })
        .await;
        let got = read(&shelf_at(&server, ""), whole.len() as u64, 0..whole.len() as u64).await;
        assert_eq!((got.is_ok(), is_mismatch(&got)), (same, !same));
        assert!(got.is_err() || got.unwrap() == whole);
    }
}

/// A 404 to a HEAD has no body. Where the bucket is gone, or a proxy answers for it, no object counts as deleted.
#[tokio::test]
async fn what_is_missing_from_a_missing_bucket_is_not_known() {
    let gone = Server::start(|_| refused("404 Not Found", "NoSuchBucket")).await;
    let empty = Server::start(|seen| if is_listing(seen) { page(&[]) } else { refused("404 Not Found", "") }).await;
    let (gone, empty) = (shelf_at(&gone, ""), shelf_at(&empty, ""));
    assert!(is_not_done(&gone.look(b"f").await) && is_not_done(&read(&gone, 1, 0..1).await));
    assert!(is_not_done(&walked(&gone, "", None).await) && is_not_done(&gone.identity().await));
    assert_eq!(empty.look(b"f").await, Err(SiloError::Missing));
    assert_eq!(read(&empty, 1, 0..1).await, Err(SiloError::Missing));
}

#[tokio::test]
async fn a_bucket_is_known_by_its_place_and_its_owner_where_that_is_told() {
    let owner: Arc<Mutex<Option<&str>>> = Arc::new(Mutex::new(Some("one")));
    let told = Arc::clone(&owner);
    let server = Server::start(move |seen| match *told.lock().unwrap() {
        _ if is_listing(seen) => page(&[]),
        Some(owner) => {
            let text = format!("<AccessControlPolicy><Owner><ID>{owner}</ID></Owner></AccessControlPolicy>");
            Reply::Say(answer("200 OK", &[], text.as_bytes()))
        }
        None => refused("403 Forbidden", "AccessDenied"),
    })
    .await;
    let identity = async |prefix: &str| shelf_at(&server, prefix).identity().await.unwrap();
    let known = identity("p").await;
    assert_eq!(known, format!("s3 {}/bucket/p/ of one", server.endpoint));
    assert_eq!(identity("p").await, known);
    assert_ne!(identity("q").await, known);
    *owner.lock().unwrap() = Some("two");
    assert_ne!(identity("p").await, known);
    *owner.lock().unwrap() = None;
    assert_eq!(identity("p").await, format!("s3 {}/bucket/p/", server.endpoint));
}

#[test]
fn times_in_either_spelling_are_whole_seconds() {
    assert_eq!(moment("2026-01-02T03:04:05.678Z"), Ok(THEN));
    assert_eq!(moment("Fri, 02 Jan 2026 03:04:05 GMT"), Ok(THEN));
    assert!(is_not_done(&moment("")) && is_not_done(&moment("yesterday")));
}
