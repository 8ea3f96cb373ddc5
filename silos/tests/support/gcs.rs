//! A double of Google Cloud Storage's XML API, for want of an emulator of it. Strict: what it does not know it refuses, so
//! that nothing is sent that only a double would take.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use url::form_urlencoded;

pub(crate) const BUCKET: &str = "double";

/// How the double behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    /// Preconditions are taken and forgotten.
    pub(crate) forgets_conditions: bool,
    /// Deleted and replaced generations stay.
    pub(crate) keeps_versions: bool,
    /// Names in a page, whatever was asked for.
    pub(crate) page: usize,
}

impl Default for Habits {
    fn default() -> Self {
        Self { forgets_conditions: false, keeps_versions: false, page: 1000 }
    }
}

/// A running double.
pub(crate) struct Double {
    pub(crate) endpoint: String,
    shelves: Arc<Mutex<Shelves>>,
}

struct Shelves {
    habits: Habits,
    /// Every generation of a key, oldest first.
    objects: BTreeMap<String, Vec<Object>>,
    generation: u64,
}

#[derive(Clone)]
struct Object {
    generation: u64,
    live: bool,
    bytes: Bytes,
    metadata: Vec<(String, String)>,
}

struct Request {
    method: String,
    bucket: String,
    key: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Bytes,
}

struct Answer {
    status: &'static str,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Double {
    pub(crate) async fn start(habits: Habits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shelves =
            Arc::new(Mutex::new(Shelves { habits, objects: BTreeMap::new(), generation: 1_700_000_000_000_000 }));
        let shared = Arc::clone(&shelves);
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&shared)));
            }
        });
        Self { endpoint, shelves }
    }

    /// Every key that has a generation, live or not.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.shelves.lock().unwrap().objects.keys().cloned().collect()
    }
}

async fn serve(connection: TcpStream, shelves: Arc<Mutex<Shelves>>) {
    let (from, mut to) = connection.into_split();
    let mut from = BufReader::new(from);
    while let Some(request) = next(&mut from).await {
        let answer = match request {
            Ok(request) => shelves.lock().unwrap().answer(&request),
            Err(answer) => answer,
        };
        if to.write_all(&answer.bytes()).await.is_err() {
            return;
        }
    }
}

/// The next whole request; none where the client hangs up, in a body too.
async fn next(from: &mut BufReader<OwnedReadHalf>) -> Option<Result<Request, Answer>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        match from.read_line(&mut line).await {
            Ok(2) if line == "\r\n" => break,
            Ok(length) if length > 0 => lines.push(line.trim_end().to_owned()),
            _ => return None,
        }
    }
    let headers: BTreeMap<String, String> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut words = lines[0].split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?);
    let length = headers.get("content-length").map(|length| length.parse::<usize>().unwrap());
    let mut body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut body).await.ok()?;
    if method == "PUT" && length.is_none() {
        return Some(Err(Answer::refusal("411 Length Required", "MissingContentLength")));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    Some(Ok(Request {
        method,
        bucket: bucket.to_owned(),
        key: percent_decode_str(key).decode_utf8().unwrap().into_owned(),
        query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        headers,
        body: body.into(),
    }))
}

impl Answer {
    fn new(status: &'static str) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn refusal(status: &'static str, code: &str) -> Self {
        let text =
            format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>no</Message></Error>");
        Self { body: text.into(), ..Self::new(status) }
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn bytes(self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {}\r\nServer: Double\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name == "Content-Length") {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

impl Object {
    fn etag(&self) -> String {
        format!("\"{}\"", Md5::digest(&self.bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}")))
    }

    fn described(&self, answer: Answer) -> Answer {
        let answer = answer.header("ETag", self.etag()).header("x-goog-generation", self.generation.to_string());
        // In one header, as the service does in an answer to a PUT; the order is not told.
        let md5 = BASE64_STANDARD.encode(Md5::digest(&self.bytes));
        let answer = answer.header("x-goog-hash", format!("crc32c={},md5={md5}", crc32c(&self.bytes)));
        answer.header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT").header("x-goog-storage-class", "STANDARD")
    }
}

fn crc32c(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode((checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes())
}

impl Request {
    /// What nobody has to know is refused, headers and parameters alike.
    fn is_known(&self) -> bool {
        let parameters: &[&str] = match (self.method.as_str(), self.key.is_empty()) {
            ("GET", true) => &["list-type", "encoding-type", "max-keys", "prefix", "start-after", "continuation-token"],
            ("GET" | "HEAD" | "DELETE", false) => &["generation"],
            _ => &[],
        };
        let headers = [
            "x-goog-if-generation-match",
            "x-goog-hash",
            "x-goog-meta-holdall",
            "x-goog-meta-colour",
            "if-match",
            "range",
            "content-type",
            "content-length",
            "host",
            "user-agent",
            "accept",
            "accept-encoding",
            "authorization",
        ];
        self.query.keys().all(|name| parameters.contains(&name.as_str()))
            && self.headers.keys().all(|name| headers.contains(&name.as_str()))
    }
}

impl Shelves {
    fn answer(&mut self, request: &Request) -> Answer {
        if request.bucket != BUCKET {
            return Answer::refusal("404 Not Found", "NoSuchBucket");
        }
        if !request.is_known() {
            return Answer::refusal("400 Bad Request", "InvalidArgument");
        }
        let answer = match (request.method.as_str(), request.key.is_empty()) {
            ("GET", true) => self.list(request),
            ("PUT", false) => self.put(request),
            ("GET" | "HEAD", false) => self.get(request),
            ("DELETE", false) => self.delete(request),
            _ => Answer::refusal("405 Method Not Allowed", "MethodNotAllowed"),
        };
        if request.method == "HEAD" {
            let length = answer.body.len().to_string();
            // The length of what a GET would send, and nothing of it.
            return Answer { body: Bytes::new(), ..answer.header("Content-Length", length) };
        }
        answer
    }

    fn live(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)?.iter().find(|object| object.live)
    }

    fn put(&mut self, request: &Request) -> Answer {
        let condition = request.headers.get("x-goog-if-generation-match").filter(|_| !self.habits.forgets_conditions);
        let now = self.live(&request.key).map_or(0, |object| object.generation);
        if condition.is_some_and(|wanted| *wanted != now.to_string()) {
            return Answer::refusal("412 Precondition Failed", "PreconditionFailed");
        }
        let told = request.headers.get("x-goog-hash").map(|hash| hash.strip_prefix("crc32c=").unwrap());
        if told.is_some_and(|told| told != crc32c(&request.body)) {
            return Answer::refusal("400 Bad Request", "BadDigest");
        }
        self.retire(&request.key);
        self.generation += 1;
        let said = |name: &str| name == "content-type" || name.starts_with("x-goog-meta-");
        let said = request.headers.iter().filter(|(name, _)| said(name));
        let object = Object {
            generation: self.generation,
            live: true,
            bytes: request.body.clone(),
            metadata: said.map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        let answer = object.described(Answer::new("200 OK"));
        self.objects.entry(request.key.clone()).or_default().push(object);
        answer
    }

    /// The live generation is so no more.
    fn retire(&mut self, key: &str) {
        let Some(generations) = self.objects.get_mut(key) else { return };
        if self.habits.keeps_versions {
            for object in generations {
                object.live = false;
            }
        } else {
            self.objects.remove(key);
        }
    }

    fn find(&self, request: &Request) -> Option<&Object> {
        match request.query.get("generation") {
            Some(wanted) => {
                self.objects.get(&request.key)?.iter().find(|object| object.generation.to_string() == *wanted)
            }
            None => self.live(&request.key),
        }
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.find(request) else { return Answer::refusal("404 Not Found", "NoSuchKey") };
        let condition = request.headers.get("if-match").filter(|_| !self.habits.forgets_conditions);
        let generation = request.headers.get("x-goog-if-generation-match").filter(|_| !self.habits.forgets_conditions);
        if condition.is_some_and(|etag| *etag != object.etag())
            || generation.is_some_and(|generation| *generation != object.generation.to_string())
        {
            return Answer::refusal("412 Precondition Failed", "PreconditionFailed");
        }
        let length = object.bytes.len();
        let (status, bytes, range) = match request.headers.get("range").map(|text| range(text, length)) {
            None => ("200 OK", object.bytes.clone(), None),
            Some(None) => return Answer::refusal("416 Range Not Satisfiable", "InvalidRange"),
            Some(Some(range)) => ("206 Partial Content", object.bytes.slice(range.clone()), Some(range)),
        };
        let mut answer = object.described(Answer::new(status));
        answer.headers.extend(object.metadata.clone());
        if let Some(range) = range {
            answer = answer.header("Content-Range", format!("bytes {}-{}/{length}", range.start, range.end - 1));
        }
        answer.body = bytes;
        answer
    }

    fn delete(&mut self, request: &Request) -> Answer {
        let Some(found) = self.find(request).map(|object| object.generation) else {
            return Answer::refusal("404 Not Found", "NoSuchKey");
        };
        if !request.query.contains_key("generation") {
            self.retire(&request.key);
        } else if let Some(generations) = self.objects.get_mut(&request.key) {
            generations.retain(|object| object.generation != found);
            if generations.is_empty() {
                self.objects.remove(&request.key);
            }
        }
        Answer::new("204 No Content")
    }

    /// A first page is empty and says that more follows, as any page may.
    fn list(&self, request: &Request) -> Answer {
        let asked = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        if asked("list-type") != "2" || asked("encoding-type") != "url" {
            return Answer::refusal("400 Bad Request", "InvalidArgument");
        }
        let token = request.query.get("continuation-token").map(|token| {
            let key = percent_decode_str(token.strip_prefix("behind ").unwrap());
            key.decode_utf8().unwrap().into_owned()
        });
        let first = token.is_none();
        let behind = token.unwrap_or_default().max(asked("start-after"));
        let most = if first { 0 } else { asked("max-keys").parse::<usize>().unwrap().min(self.habits.page) };
        let prefix = asked("prefix");
        let live = self.objects.keys().filter(|key| key.starts_with(&prefix) && **key > behind);
        let live: Vec<(&String, &Object)> = live.filter_map(|key| Some((key, self.live(key)?))).collect();
        let mut text =
            "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>\
                        <Name>double</Name><EncodingType>url</EncodingType>"
                .to_owned();
        for (key, object) in live.iter().take(most) {
            let (key, size, generation) =
                (utf8_percent_encode(key, NON_ALPHANUMERIC), object.bytes.len(), object.generation);
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><Generation>{generation}</Generation><MetaGeneration>1</MetaGeneration>\
                 <LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>{}</ETag><Size>{size}</Size></Contents>",
                object.etag()
            );
        }
        let more = live.len() > most;
        if more {
            let last = most.checked_sub(1).map_or(behind.as_str(), |last| live[last].0.as_str());
            let last = utf8_percent_encode(last, NON_ALPHANUMERIC);
            let _ = write!(text, "<NextContinuationToken>behind {last}</NextContinuationToken>");
        }
        let _ = write!(text, "<IsTruncated>{more}</IsTruncated></ListBucketResult>");
        Answer { body: text.into(), ..Answer::new("200 OK") }
    }
}

/// `bytes=0-9`, cut at the end; none where nothing of it is there.
fn range(text: &str, length: usize) -> Option<Range<usize>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    (first < length && first <= last).then(|| first..length.min(last + 1))
}
