//! A bucket of others, on a server that throttles: headers, metadata and tags of its objects come along, or nothing moves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

use holdall_namespace::engine::{Write as Change, commit};
use holdall_namespace::inventory::CredentialsFrom;
use holdall_namespace::job::OrderError;
use holdall_namespace::table::extents::ExtentRow;
use holdall_namespace::table::{decode, encode};

use super::*;

/// What the server has, and how it feels.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mood of its own")]
struct Theirs {
    /// Texts by key; all are `text/x-others` and have `kept` as metadata.
    objects: BTreeMap<String, String>,
    /// HEADs are refused.
    throttles: bool,
    /// The tags of every object, or none; nobody may read them where `shut`.
    tags: Vec<(&'static str, &'static str)>,
    /// So may a folder be.
    shut: bool,
    /// HEADs are answered late.
    hangs: bool,
    /// The file `b` is gone.
    lost: bool,
}

impl Theirs {
    fn answer(&self, line: &str, headers: &[String]) -> String {
        let (method, target) = line.split_once(' ').unwrap();
        let target = target.split(' ').next().unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let Some(path) = path.strip_prefix("/files/") {
            return self.page(method, path);
        }
        let key = path.strip_prefix("/theirs/").unwrap_or_default();
        match (method, self.objects.get(key)) {
            ("HEAD", _) if self.throttles && !key.is_empty() => "HTTP/1.1 503 Slow Down\r\n\r\n".to_owned(),
            ("GET", None) if query.contains("list-type=2") => said("200 OK", "", &self.list(query)),
            ("GET", Some(_)) if query.contains("tagging") && !self.shut => {
                let tags =
                    self.tags.iter().map(|(key, value)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>"));
                said("200 OK", "", &format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.collect::<String>()))
            }
            ("GET" | "HEAD", Some(text)) if !query.contains("tagging") => {
                let tags = format!("x-amz-tagging-count: {}\r\n", self.tags.len());
                let tags = if self.tags.is_empty() { String::new() } else { tags };
                let head = format!(
                    "{tags}etag: \"e1\"\r\nlast-modified: Fri, 02 Jan 2026 03:04:05 GMT\r\ncontent-type: text/x-others\r\n\
                            x-amz-meta-kept: kept\r\n"
                );
                let range = headers.iter().find_map(|line| line.strip_prefix("range: bytes=")?.split_once('-'));
                match range {
                    Some((from, to)) => {
                        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap());
                        let place = format!("content-range: bytes {from}-{to}/{}\r\n", text.len());
                        said("206 Partial Content", &format!("{head}{place}"), &text[from..=to])
                    }
                    None if method == "HEAD" => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{head}\r\n", text.len())
                    }
                    None => said("200 OK", &head, text),
                }
            }
            _ => said("403 Forbidden", "", "<Error><Code>AccessDenied</Code></Error>"),
        }
    }

    /// Files behind plain HTTP, one folder of which may be shut.
    fn page(&self, method: &str, path: &str) -> String {
        let page = |links: &str| format!("<html><title>Index of /files</title>{links}</html>");
        let date = "last-modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n";
        match (method, path) {
            ("GET", "") => {
                said("200 OK", date, &page("<a href=\"a\">a</a><a href=\"b\">b</a><a href=\"locked/\">locked/</a>"))
            }
            ("GET", "locked/") if !self.shut => said("200 OK", date, &page("<a href=\"c\">c</a>")),
            ("HEAD", "b") if self.lost => said("404 Not Found", "", ""),
            ("GET", "a") => {
                said("206 Partial Content", &format!("{date}etag: \"e1\"\r\ncontent-range: bytes 0-0/1\r\n"), "x")
            }
            (_, path) if path.starts_with("locked/") && self.shut => said("403 Forbidden", "", ""),
            ("HEAD", "a" | "b" | "locked/c") => {
                format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n{date}etag: \"e1\"\r\n\r\n")
            }
            _ => said("404 Not Found", "", ""),
        }
    }

    fn list(&self, query: &str) -> String {
        let asked = |name: &str| query.split('&').find_map(|one| one.strip_prefix(name)).unwrap_or_default();
        let (after, prefix) = (asked("start-after="), asked("prefix="));
        let shown = self.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let shown: Vec<String> = shown
            .map(|(key, text)| {
                format!(
                    "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
                     <ETag>&quot;e1&quot;</ETag><Size>{}</Size></Contents>",
                    text.len()
                )
            })
            .collect();
        format!("<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>", shown.concat())
    }
}

fn said(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

fn serve(stream: &TcpStream, theirs: &Mutex<Theirs>) -> std::io::Result<()> {
    let (mut from, mut to) = (BufReader::new(stream), stream);
    loop {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                line if lines.is_empty() => lines.push(line.to_owned()),
                line => lines.push(line.to_ascii_lowercase()),
            }
        }
        if lines[0].starts_with("HEAD") && theirs.lock().unwrap().hangs {
            std::thread::sleep(Duration::from_secs(6));
        }
        let answer = theirs.lock().unwrap().answer(&lines[0], &lines[1..]);
        to.write_all(answer.as_bytes())?;
    }
}

/// A server with these objects, as the silo `theirs`.
async fn lent(house: &House, objects: &[(&str, &str)]) -> Arc<Mutex<Theirs>> {
    let objects = objects.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let theirs = Arc::new(Mutex::new(Theirs { objects, ..Theirs::default() }));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap();
    let serving = Arc::clone(&theirs);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let theirs = Arc::clone(&serving);
            std::thread::spawn(move || serve(&stream, &theirs));
        }
    });
    let file = |name: &str| {
        let path = house.folder.path().join(name);
        std::fs::write(&path, name).unwrap();
        Some(path.display().to_string())
    };
    let (access_key_id_file, secret_access_key_file) = (file("key"), file("secret"));
    let credentials = CredentialsFrom { access_key_id_file, secret_access_key_file, ..CredentialsFrom::default() };
    let url = format!("s3://theirs?endpoint=http://{endpoint}&region=us-east-1");
    let silo = DeclaredSilo { access: Access::ReadOnly, credentials, ..DeclaredSilo::own(url) };
    let silos = [("theirs".to_owned(), silo)].into();
    house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
    let silo = DeclaredSilo { access: Access::ReadOnly, ..DeclaredSilo::own(format!("http://{endpoint}/files")) };
    let silos = [("files".to_owned(), silo)].into();
    house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
    theirs
}

fn of_theirs(every_seconds: u64) -> Assimilate {
    Assimilate { silo: "theirs".to_owned(), ..order(every_seconds) }
}

/// Others' server throttled one question for an object's headers. The next pass found nothing new and took that for all of
/// them being there: the object was moved, and its content type and metadata were lost for good.
#[tokio::test]
async fn nothing_moves_before_all_headers_are_there() {
    let house = House::new("throttled", &[]).await;
    let theirs = lent(&house, &[("a", "first"), ("b", "second")]).await;
    theirs.lock().unwrap().throttles = true;
    let root = house.start(of_theirs(1)).await;
    let left = |root: &RootInfo| root.unfilled.as_ref().map_or(0, |left| left.keys);
    let told = house.until(root.id, |root| root.passes >= 3 && left(root) == 2).await;
    assert!(!told.filled, "{told:?}");
    let first = told.unfilled.unwrap().first.unwrap();
    assert!(["in/a", "in/b"].contains(&&*first.name), "{first:?}");
    let away = Order::Drain { from: "theirs".to_owned(), to: "hot".to_owned() };
    let refused = house.namespace.start_job(away.clone(), Pace::default()).await;
    assert!(matches!(&refused, Err(OrderError::Invalid(text)) if text.contains("2 keys lack")), "{refused:?}");
    theirs.lock().unwrap().throttles = false;
    house.until(root.id, |root| root.filled && left(root) == 0).await;
    let object = house.namespace.head(&house.bucket, &key("in/a")).await.unwrap();
    assert_eq!(object.headers.system, [("content-type".to_owned(), "text/x-others".to_owned())]);
    assert_eq!(object.headers.user, [("kept".to_owned(), "kept".to_owned())]);
    house.namespace.start_job(away, Pace::default()).await.unwrap();
}

/// A root was forgotten before headers were asked for: whoever asked for the object then got the usual ones, for good.
#[tokio::test]
async fn headers_are_asked_for_though_the_root_was_forgotten() {
    let house = House::new("early", &[]).await;
    let theirs = lent(&house, &[("a", "first")]).await;
    theirs.lock().unwrap().throttles = true;
    let root = house.start(of_theirs(3600)).await;
    house.until(root.id, |root| root.unfilled.is_some()).await;
    house.namespace.forget_root(root.id).await.unwrap();
    assert!(house.open("in/a").await.is_err(), "it is asked again");
    theirs.lock().unwrap().throttles = false;
    let object = house.open("in/a").await.unwrap().object;
    assert_eq!(object.headers.system, [("content-type".to_owned(), "text/x-others".to_owned())]);
    assert_eq!(house.get("in/a").await.unwrap(), "first");
}

/// Tags of a bucket's objects were left behind without a word, and with them what policies and objectives ask for.
#[tokio::test]
async fn tags_come_along_or_it_is_said_why_not() {
    let house = House::new("tags", &[]).await;
    let theirs = lent(&house, &[("a", "first")]).await;
    theirs.lock().unwrap().tags = vec![("class", "cold"), ("who", "")];
    theirs.lock().unwrap().shut = true;
    let root = house.start(of_theirs(1)).await;
    let told = house.until(root.id, |root| root.unfilled.as_ref().is_some_and(|left| left.keys == 1)).await;
    let reason = told.unfilled.unwrap().first.unwrap().reason;
    assert!(reason.contains("tags") && !told.filled, "{reason}");
    theirs.lock().unwrap().shut = false;
    house.until(root.id, |root| root.filled).await;
    let object = house.namespace.head(&house.bucket, &key("in/a")).await.unwrap();
    assert_eq!(object.tags, [("class".to_owned(), "cold".to_owned()), ("who".to_owned(), String::new())]);
}

/// One folder that nobody may open made every list above it a 503 for ever, which named no folder, and kept all that was gone
/// elsewhere.
#[tokio::test]
async fn a_shut_folder_is_named_and_can_be_left_out() {
    let house = House::new("shut", &[]).await;
    let theirs = lent(&house, &[]).await;
    theirs.lock().unwrap().shut = true;
    let root = house.start(Assimilate { silo: "files".to_owned(), ..order(1) }).await;
    let told = house.until(root.id, |root| root.complete).await;
    let names = |all: &[Noted]| all.iter().map(|noted| noted.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&told.unread), names(&told.unlooked)), (vec!["locked/".to_owned()], vec!["locked/".to_owned()]));
    let refused = house.keys("").await.unwrap_err().to_string();
    assert!(refused.contains("`locked/`") && refused.contains("assimilate set 1 --without 'locked/'"), "{refused}");
    assert!(house.open("in/locked/c").await.is_err());
    // What is gone elsewhere goes all the same.
    theirs.lock().unwrap().lost = true;
    house.until(root.id, |root| root.counts.removed == 1).await;
    let reorder = Reorder { without: Some(vec!["locked/".to_owned()]), ..Reorder::default() };
    house.namespace.reorder(root.id, reorder).await.unwrap();
    assert_eq!(house.keys("").await.unwrap(), ["in/a"]);
    assert!(matches!(house.open("in/locked/c").await, Err(GetError::NoSuchKey)));
    house.until(root.id, |root| root.unread.is_empty() && root.unlooked.is_empty() && root.problem.is_none()).await;
    // Opened, and taken in again.
    theirs.lock().unwrap().shut = false;
    let reorder = Reorder { without: Some(Vec::new()), every_seconds: Some(2), ..Reorder::default() };
    let root = house.namespace.reorder(root.id, reorder).await.unwrap();
    assert_eq!(root.order.every_seconds, 2);
    house.until(root.id, |root| root.counts.names == 2).await;
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/locked/c"]);
    let wrong = Reorder { every_seconds: Some(0), ..Reorder::default() };
    assert!(matches!(house.namespace.reorder(root.id, wrong).await, Err(AssimilateError::Invalid(_))));
    // It is shut again: what was seen before is listed, and kept, and it is told what could not be looked at.
    theirs.lock().unwrap().shut = true;
    let told = house.until(root.id, |root| !root.unlooked.is_empty()).await;
    assert!(told.unread.is_empty() && told.problem.is_some_and(|problem| problem.contains("`locked/`")));
    assert_eq!(house.keys("").await.unwrap(), ["in/a", "in/locked/c"]);
    let gauge = house.namespace.root_gauges().await.unwrap()[0];
    assert!(gauge.passed.is_some());
    assert_eq!((gauge.root, gauge.unread, gauge.gone, gauge.unfilled), (1, 1, 0, 0));
}

/// A silo that hung had all the turns of looking for names: keys of every other silo waited for it.
#[tokio::test]
async fn a_silo_that_hangs_holds_up_no_other_ones_keys() {
    let house = House::new("hangs", &[("a", "here")]).await;
    let names: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let objects: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let theirs = lent(&house, &objects).await;
    house.namespace.assimilate(order(60)).await.unwrap();
    house.namespace.assimilate(Assimilate { into: "theirs/".to_owned(), ..of_theirs(60) }).await.unwrap();
    theirs.lock().unwrap().hangs = true;
    let keys: Vec<String> = names.iter().map(|name| format!("theirs/{name}")).collect();
    let waiting = futures_util::future::join_all(keys.iter().map(|key| house.open(key)));
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        house.get("in/a").await
    };
    tokio::select! {
        _ = waiting => panic!("what hangs does not answer"),
        text = other => assert_eq!(text.unwrap(), "here"),
    }
}

/// A file on a server that tells no time of a change itself was written to, and its time set back: once it had checksums each
/// read of it was a 503, for ever. A folder's file that does so is damaged, and stays an error.
#[tokio::test]
async fn a_write_that_does_not_show_is_followed_once_it_is_read() {
    let engine = Arc::new(Memory::new());
    let house = House::over(Arc::clone(&engine) as Arc<dyn Engine>, "odd", &[("a", "x")]).await;
    lent(&house, &[]).await;
    let files = house.start(Assimilate { silo: "files".to_owned(), into: "files/".to_owned(), ..order(3600) }).await;
    let nas = house.namespace.assimilate(order(3600)).await.unwrap();
    for root in [files.id, nas.id] {
        house.until(root, |root| root.complete).await;
    }
    let tag = house.open("files/a").await.unwrap().object.etag;
    // As if both had been hashed when they had other bytes.
    let (from, to) = (vec![tables::EXTENTS], vec![tables::EXTENTS + 1]);
    for (at, row) in &engine.range(from..to, 100, usize::MAX).await.unwrap() {
        let mut row: ExtentRow = decode(row).unwrap();
        row.blocks = Some(vec![1]);
        let write = Change::Put(at.to_vec(), encode(&row));
        commit(&*engine, Vec::new(), move |_| Ok::<_, ()>((vec![write.clone()], ()))).await.unwrap();
    }
    assert!(house.get("files/a").await.is_err() && house.get("in/a").await.is_err());
    assert_eq!(house.get("files/a").await.unwrap(), "x");
    assert_ne!(house.open("files/a").await.unwrap().object.etag, tag, "it is another version");
    assert!(house.get("in/a").await.is_err());
}
