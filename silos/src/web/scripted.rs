//! A server that loses answers, lies, redirects and breaks off, for tests of every kind.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::error::{BodyError, SiloError};
use crate::marker::{Claim, MARKER, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Silo, Stored};
use crate::web::Bucket;

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) line: String,
    /// Lower-case lines of `name: value`.
    pub(crate) headers: Vec<String>,
    /// Body bytes that came.
    pub(crate) received: u64,
    /// The body came whole.
    pub(crate) complete: bool,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// What a server does with a request.
pub(crate) enum Reply {
    /// Answers with these bytes, head and all.
    Say(Vec<u8>),
    /// Answers so and closes the connection.
    SayAndClose(Vec<u8>),
    /// Closes the connection.
    Hang,
}

type Script = Arc<dyn Fn(&Seen) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Serves the marker by itself and everything else by the script.
    pub(crate) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, script): (_, Script) = (Arc::clone(&seen), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { endpoint, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

pub(crate) fn marker() -> Marker {
    Marker { silo: "cold".to_owned(), namespace: "n".to_owned(), id: "1".to_owned() }
}

async fn serve(connection: TcpStream, script: Script, log: Arc<Mutex<Vec<Seen>>>) {
    let (from, mut to) = connection.into_split();
    let mut from = BufReader::new(from);
    while let Some(seen) = next(&mut from).await {
        let asks_for_it = seen.line.split('?').next().is_some_and(|path| path.contains(MARKER));
        let (bytes, close) = if asks_for_it && seen.line.starts_with("GET") {
            (answer("200 OK", &[], &serde_json::to_vec(&marker()).unwrap()), false)
        } else {
            let reply = script(&seen);
            log.lock().unwrap().push(seen);
            match reply {
                Reply::Say(bytes) => (bytes, false),
                Reply::SayAndClose(bytes) => (bytes, true),
                Reply::Hang => return,
            }
        };
        if to.write_all(&bytes).await.is_err() || close {
            return;
        }
    }
}

async fn next(from: &mut BufReader<tokio::net::tcp::OwnedReadHalf>) -> Option<Seen> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match from.read_line(&mut line).await {
            Ok(length) if length > 2 => lines.push(line.trim_end().to_ascii_lowercase()),
            Ok(2) => break,
            _ => return None,
        }
    }
    let mut seen = Seen { line: lines.remove(0).to_ascii_uppercase(), headers: lines, received: 0, complete: true };
    seen.line = seen.line.replace(&MARKER.to_ascii_uppercase(), MARKER);
    let length: u64 = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.received = tokio::io::copy(&mut from.take(length), &mut tokio::io::sink()).await.unwrap_or(0);
    seen.complete = seen.received == length;
    Some(seen)
}

pub(crate) fn answer(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    announced(status, headers, body.len(), body)
}

/// An answer whose declared length is another than its body's.
pub(crate) fn announced(status: &str, headers: &[&str], length: usize, body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n");
    for line in headers {
        head.extend([line, "\r\n"]);
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

pub(crate) fn name() -> BlobName {
    BlobName { session: 1, number: 2, extent: (1, 2) }
}

pub(crate) fn sample(size: usize) -> Bytes {
    (0..size).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// A silo that has looked at the server's marker.
pub(crate) async fn claimed(silo: Bucket) -> Bucket {
    silo.claim(&Claim { marker: marker(), fresh: false }).await.unwrap();
    silo
}

/// Puts a blob of so many bytes that says something of itself.
pub(crate) async fn put(silo: &Bucket, size: usize) -> Result<Stored, SiloError> {
    let body: Body = Box::pin(stream::iter([Ok::<_, BodyError>(sample(size))]));
    silo.put(&name(), size as u64, body, Arc::new(|_| b"said".to_vec())).await
}

/// What a server that refuses everything makes of a put and of a read.
pub(crate) async fn is_refused(silo: &Bucket, writing: SiloError, reading: SiloError, code: &str) {
    assert_eq!(put(silo, 10).await, Err(writing), "{code}");
    assert_eq!(silo.read(&name(), 10, 0..10).await.map(drop), Err(reading), "{code}");
}
