use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::address::Address;
use crate::connect::{Credentials, holdings};
use crate::error::SiloError;
use crate::holdings::{Found, Holdings};
use crate::limits::BLOCK;
use crate::silo::{Validator, collect};
use crate::web::scripted::{Reply, Server, announced, answer, sample};

const OLD: &str = "last-modified: Fri, 02 Jan 2026 03:04:05 GMT";
const NOW: &str = "date: Fri, 02 Jan 2026 03:04:06 GMT";
const LATER: &str = "date: Fri, 02 Jan 2026 03:05:06 GMT";

fn site(server: &Server, query: &str) -> Arc<dyn Holdings> {
    let url = format!("{}/x{query}", server.endpoint);
    holdings(&Address::parse(&url, Path::new("/")).unwrap(), &Credentials::Ambient).unwrap()
}

fn index(links: &[&str]) -> Reply {
    let links: Vec<_> = links.iter().map(|link| format!("<a href=\"{link}\">x</a>")).collect();
    let page = format!("<html><head><title>Index of /x</title></head>{}</html>", links.concat());
    Reply::Say(answer("200 OK", &[LATER], page.as_bytes()))
}

fn is_index(line: &str) -> bool {
    line.starts_with("GET /X/ ")
}

async fn walked(site: &Arc<dyn Holdings>) -> Result<Vec<String>, SiloError> {
    let (mut walk, mut all) = (site.walk(b"", None), Vec::new());
    loop {
        let some = walk.next(2).await?;
        if some.is_empty() {
            return Ok(all);
        }
        all.extend(some.iter().map(|found| {
            let name = String::from_utf8_lossy(found.name()).into_owned();
            match found {
                Found::Held(held) => format!("{name} {}", held.size),
                Found::Refused { reason, .. } | Found::Archived { reason, .. } => format!("{name} refused: {reason}"),
                Found::Unread { reason, .. } => format!("{name} unread: {reason}"),
            }
        }));
    }
}

fn is_mismatch<T>(outcome: &Result<T, SiloError>) -> bool {
    matches!(outcome, Err(SiloError::Mismatch { .. }))
}

/// One file that cannot be read is not all of them, and none of them is taken for deleted.
#[tokio::test]
async fn what_a_look_says_of_each_name() {
    let server = Server::start(|seen| match seen.line.split(' ').nth(1).unwrap() {
        "/X/" => index(&["a", "b", "c", "d", "e", "f", "holdall-silo.json"]),
        "/X/A" => Reply::Say(announced("200 OK", &[OLD, LATER], 7, b"")),
        "/X/B" => Reply::Say(announced("200 OK", &[LATER], 7, b"")),
        "/X/C" => Reply::Say(answer("404 Not Found", &[], b"")),
        "/X/D" => Reply::Say(answer("403 Forbidden", &[], b"")),
        "/X/E" => Reply::Say(answer("302 Found", &["location: /login"], b"")),
        _ => Reply::Say(format!("HTTP/1.1 200 OK\r\n{OLD}\r\nconnection: close\r\n\r\n").into_bytes()),
    })
    .await;
    let site = site(&server, "");
    let seen = walked(&site).await.unwrap();
    assert_eq!(
        seen,
        [
            "a 7",
            "b refused: no `ETag`, so that a change could not be told",
            "d unread: not done: answered 403",
            "e refused: answered 302: what lies elsewhere is not followed",
            "f refused: no `Content-Length`",
        ]
    );
    assert_eq!(site.look(b"c").await, Err(SiloError::Missing));
    assert_eq!(
        site.look(b"a/../b").await,
        Err(SiloError::mismatch("a name with `.` or `..` between slashes, which no URL holds"))
    );
    assert_eq!(site.look(b"x/").await, Err(SiloError::Missing));
    assert_eq!(site.identity().await.unwrap(), format!("http {}/x/", server.endpoint));
}

/// A server that forgot where its files are answers 404 to everything.
#[tokio::test]
async fn what_is_missing_from_a_missing_site_is_not_known() {
    let gone = Server::start(|_| Reply::Say(answer("404 Not Found", &[], b""))).await;
    for query in ["", "?list=l"] {
        let site = site(&gone, query);
        for outcome in [site.look(b"f").await.map(drop), walked(&site).await.map(drop), site.identity().await.map(drop)]
        {
            assert!(matches!(outcome, Err(SiloError::NotDone { .. } | SiloError::Missing)), "{outcome:?}");
        }
    }
    let site = site(&gone, "");
    assert!(walked(&site).await.is_err());
}

/// Somebody writes to a file while it is sent: the answer's header was right, and its bytes are of both.
#[tokio::test]
async fn a_file_that_is_written_to_under_a_reader_is_no_mixture() {
    let whole = sample(BLOCK + 9);
    for (etag, same) in [("etag: \"e\"", true), ("etag: \"f\"", false)] {
        let bytes = whole.clone();
        let server = Server::start(move |seen| {
            Reply::Say(if seen.line.starts_with("HEAD") {
                announced("200 OK", &[OLD, LATER, etag], bytes.len(), b"")
            } else {
                answer("200 OK", &[OLD, LATER, "etag: \"e\""], &bytes)
            })
        })
        .await;
        let known = Validator("e|Fri, 02 Jan 2026 03:04:05 GMT".to_owned());
        let size = whole.len() as u64;
        let mut pieces = site(&server, "").read(b"f", size, &known, 0..size).await.unwrap();
        let first = futures_util::TryStreamExt::try_next(&mut pieces).await.unwrap().unwrap();
        assert_eq!(first, whole[..BLOCK]);
        let rest = collect(pieces).await;
        assert_eq!((rest.is_ok(), is_mismatch(&rest)), (same, !same), "{rest:?}");
        let asked = server.seen();
        assert_eq!(asked[0].header("if-unmodified-since"), Some("fri, 02 jan 2026 03:04:05 gmt"));
    }
}

/// The server's clock has whole seconds: what was changed within the last two is looked at until they are over.
#[tokio::test(start_paused = true)]
async fn a_file_that_is_new_is_looked_at_until_it_has_settled() {
    let looks = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&looks);
    let server = Server::start(move |seen| {
        let date = if count.fetch_add(1, Ordering::Relaxed) < 4 { NOW } else { LATER };
        let body = if seen.line.starts_with("HEAD") { &b""[..] } else { b"x" };
        Reply::Say(announced("200 OK", &[OLD, date], 1, body))
    })
    .await;
    let site = site(&server, "");
    let held = site.look(b"f").await.unwrap();
    assert!(held.unsettled);
    let read = collect(site.read(b"f", 1, &held.validator, 0..1).await.unwrap()).await;
    assert_eq!(read.unwrap(), "x");
    assert_eq!(looks.load(Ordering::Relaxed), 5);
    assert!(!site.look(b"f").await.unwrap().unsettled);
}

/// Names that no list has are nobody's, and a list is read again only where it was changed.
#[tokio::test]
async fn a_list_says_what_there_is() {
    let server = Server::start(|seen| match (seen.line.split(' ').nth(1).unwrap(), seen.line.starts_with("GET")) {
        ("/X/L.TXT", true) => Reply::Say(answer("200 OK", &[OLD, LATER], b"b\na/1\n../up\n")),
        (path, _) if path.contains("OTHER") => Reply::Say(answer("404 Not Found", &[], b"")),
        _ => Reply::Say(announced("200 OK", &[OLD, LATER], 3, b"")),
    })
    .await;
    let site = site(&server, "?list=l.txt");
    assert_eq!(walked(&site).await.unwrap(), ["../up refused: no name of a file", "a/1 3", "b 3"]);
    assert_eq!(site.look(b"a/1").await.unwrap().size, 3);
    assert_eq!(site.look(b"unlisted").await, Err(SiloError::Missing));
    let mut some = site.walk(b"a", Some(b"a/0"));
    assert_eq!(some.next(9).await.unwrap().len(), 1);
    assert!(some.next(9).await.unwrap().is_empty());
    let read = server.seen().iter().filter(|seen| seen.line.starts_with("GET")).count();
    assert_eq!(read, 1);
    assert!(site.facts().await.unwrap().conditional_read);
    assert!(!server.seen().iter().any(|seen| is_index(&seen.line)));
}
