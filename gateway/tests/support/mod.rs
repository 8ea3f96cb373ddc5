//! What raw-socket tests share: a running gateway, requests as bytes, a signer of their own, and answers taken apart.

#![allow(clippy::unwrap_used, reason = "a test's helper fails like a test")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use holdall::config::Settings;
use holdall::gateway::{Gateway, Start};
use holdall_namespace::clock::{Clock, SystemClock};
use secrecy::SecretString;
use sha2::{Digest, Sha256};

pub(crate) const ID: &str = "AKIAHOSTILETESTS0001";
/// Looked for in everything that is logged.
pub(crate) const SECRET: &str = "canary/secret+of-the-hostile-tests";
pub(crate) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A started gateway; it lives as long as the test process.
pub(crate) struct Rig {
    pub(crate) s3: SocketAddr,
    pub(crate) admin: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) static RIG: LazyLock<Rig> = LazyLock::new(Rig::start);

impl Rig {
    fn start() -> Self {
        log::watch();
        // Statics are never dropped, so the folder is cleared by the next run.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile");
        let _ = std::fs::remove_dir_all(&folder);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let settings = Settings { listen: free, admin_listen: free, ..Settings::in_folder(&folder) };
        let first_key = Some((ID.to_owned(), SecretString::from(SECRET)));
        let gateway = runtime.block_on(Gateway::start(settings, Start { first_key, ..Start::default() })).unwrap();
        Self { s3: gateway.s3, admin: gateway.admin, _runtime: runtime }
    }
}

/// An empty bucket of its own for a test.
pub(crate) fn bucket(name: &str) -> String {
    let bucket = format!("hostile-{name}");
    Ask::new("PUT", &format!("/{bucket}")).signed().send().expect(200, "");
    bucket
}

/// The bucket holds exactly these keys and no upload; that it can be asked proves that the gateway is alive.
#[track_caller]
pub(crate) fn holds(bucket: &str, keys: &[&str]) {
    let reply = Ask::new("GET", &format!("/{bucket}?list-type=2")).signed().send();
    let listed = between_all(&reply.expect(200, "").body, "<Key>", "</Key>");
    assert_eq!(listed, keys, "{}", reply.body);
    let uploads = Ask::new("GET", &format!("/{bucket}?uploads=")).signed().send();
    assert!(!uploads.expect(200, "").body.contains("<Upload>"));
}

/// Now, in seconds.
pub(crate) fn now() -> i64 {
    static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);
    CLOCK.now() / 1000
}

/// `20130524T000000Z`
pub(crate) fn stamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// A request in the making. Whatever is added after signing is not signed.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) to: SocketAddr,
    /// The signature, once there is one.
    pub(crate) signature: String,
    pub(crate) time: i64,
}

impl Ask {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let to = RIG.s3;
        let headers = vec![("host".to_owned(), to.to_string())];
        let (method, target) = (method.to_owned(), target.to_owned());
        Self { method, target, headers, body: Vec::new(), to, signature: String::new(), time: now() }
    }

    /// To the admin listener instead.
    pub(crate) fn admin(method: &str, target: &str) -> Self {
        let mut ask = Self::new(method, target);
        ask.to = RIG.admin;
        ask.headers[0].1 = ask.to.to_string();
        ask
    }

    /// Seconds from now at which it claims to be signed.
    pub(crate) fn at(mut self, offset: i64) -> Self {
        self.time += offset;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces a header that is there.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        let header = self.headers.iter_mut().find(|(other, _)| other == name).expect("the header is there");
        value.clone_into(&mut header.1);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| other != name);
        self
    }

    /// A body with its Content-Length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.without("content-length").header("content-length", &length)
    }

    /// Replaces text in the Authorization header or the target, wherever it is.
    pub(crate) fn edit(mut self, from: &str, to: &str) -> Self {
        let place = self.headers.iter_mut().find(|(name, _)| name == "authorization");
        let text = place.map_or(&mut self.target, |(_, value)| value);
        assert!(text.contains(from), "`{from}` in `{text}`");
        *text = text.replacen(from, to, 1);
        self
    }

    /// Signed in the header over every header there is, with the body's hash.
    pub(crate) fn signed(self) -> Self {
        let hash = const_hex::encode(Sha256::digest(&self.body));
        self.signed_as(&hash)
    }

    /// Signed in the header with this `x-amz-content-sha256`.
    pub(crate) fn signed_as(self, payload: &str) -> Self {
        self.signed_with(payload, SECRET, "s3")
    }

    pub(crate) fn signed_with(mut self, payload: &str, secret: &str, service: &str) -> Self {
        let time = stamp(self.time);
        self = self.header("x-amz-date", &time).header("x-amz-content-sha256", payload);
        let names = self.names();
        self.signature = self.sign(&names, payload, secret, service);
        let scope = self.scope(service);
        let value =
            format!("AWS4-HMAC-SHA256 Credential={ID}/{scope}, SignedHeaders={names}, Signature={}", self.signature);
        self.header("authorization", &value)
    }

    /// Presigned for so many seconds over every header there is.
    pub(crate) fn presigned(self, expires: &str) -> Self {
        self.presigned_with(expires, SECRET)
    }

    pub(crate) fn presigned_with(mut self, expires: &str, secret: &str) -> Self {
        let names = self.names();
        let joint = if self.target.contains('?') { '&' } else { '?' };
        let (scope, time) = (self.scope("s3").replace('/', "%2F"), stamp(self.time));
        self.target = format!(
            "{}{joint}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={ID}%2F{scope}&X-Amz-Date={time}\
             &X-Amz-Expires={expires}&X-Amz-SignedHeaders={}",
            self.target,
            names.replace(';', "%3B")
        );
        self.signature = self.sign(&names, UNSIGNED, secret, "s3");
        self.target = format!("{}&X-Amz-Signature={}", self.target, self.signature);
        self
    }

    fn names(&self) -> String {
        let mut names: Vec<String> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names.join(";")
    }

    fn scope(&self, service: &str) -> String {
        format!("{}/us-east-1/{service}/aws4_request", &stamp(self.time)[..8])
    }

    /// The target's query must be encoded already.
    fn sign(&self, names: &str, payload: &str, secret: &str, service: &str) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        let mut pairs: Vec<String> = query.split('&').filter(|pair| !pair.is_empty()).map(whole_pair).collect();
        pairs.sort();
        let values = |name: &str| {
            let same = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
            same.map(|(_, value)| value.trim()).collect::<Vec<_>>().join(",")
        };
        let headers: Vec<String> = names.split(';').map(|name| format!("{name}:{}\n", values(name))).collect();
        let (query, headers) = (pairs.join("&"), headers.concat());
        let request = format!("{}\n{path}\n{query}\n{headers}\n{names}\n{payload}", self.method);
        let hash = const_hex::encode(Sha256::digest(request));
        let text = format!("AWS4-HMAC-SHA256\n{}\n{}\n{hash}", stamp(self.time), self.scope(service));
        self.key_signs(secret, service, &text)
    }

    fn key_signs(&self, secret: &str, service: &str, text: &str) -> String {
        let time = std::time::UNIX_EPOCH + Duration::from_secs(self.time.unsigned_abs());
        calculate_signature(generate_signing_key(secret, time, "us-east-1", service), text.as_bytes())
    }

    /// These chunks as aws-chunked text, each signed after the one before it, the final one included.
    pub(crate) fn chunks(&self, chunks: &[&[u8]]) -> Vec<u8> {
        let mut previous = self.signature.clone();
        let mut text = Vec::new();
        for data in chunks.iter().copied().chain([&[][..]]) {
            let hash = |data: &[u8]| const_hex::encode(Sha256::digest(data));
            let signed = format!(
                "AWS4-HMAC-SHA256-PAYLOAD\n{}\n{}\n{previous}\n{}\n{}",
                stamp(self.time),
                self.scope("s3"),
                hash(b""),
                hash(data)
            );
            previous = self.key_signs(SECRET, "s3", &signed);
            text.extend_from_slice(format!("{:x};chunk-signature={previous}\r\n", data.len()).as_bytes());
            text.extend_from_slice(data);
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    pub(crate) fn head(&self) -> Vec<u8> {
        let lines: Vec<String> = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{} {} HTTP/1.1\r\n{}\r\n", self.method, self.target, lines.concat()).into_bytes()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    pub(crate) fn send(&self) -> Reply {
        send(self.to, &self.bytes(), &self.method)
    }
}

fn whole_pair(pair: &str) -> String {
    if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }
}

/// An answer, taken apart.
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are shown when an assertion fails")]
pub(crate) struct Reply {
    /// 0 when the connection ended without an answer.
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
    sent: String,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        between_all(&self.body, "<Code>", "</Code>").first().copied().unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn expect(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status, self.code()), (status, code), "{self:#?}");
        self
    }
}

pub(crate) fn between_all<'a>(text: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    text.split(from).skip(1).filter_map(|rest| rest.split_once(to)).map(|(found, _)| found).collect()
}

/// Sends raw bytes, closes the sending side, reads one answer.
pub(crate) fn send(to: SocketAddr, bytes: &[u8], method: &str) -> Reply {
    let mut stream = connect(to);
    // A server that refuses early may close before it took everything.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read);
    let sent = String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned();
    parse(&read, method, sent)
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn parse(read: &[u8], method: &str, sent: String) -> Reply {
    let text = String::from_utf8_lossy(read).into_owned();
    let Some((head, rest)) = text.split_once("\r\n\r\n") else {
        assert!(text.is_empty(), "half an answer: {text}");
        return Reply { status: 0, head: text, body: String::new(), sent };
    };
    if head.starts_with("HTTP/1.1 100") {
        return parse(rest.as_bytes(), method, sent);
    }
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let length = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    let length = head.lines().find_map(length);
    let body = match length {
        Some(length) if method != "HEAD" => rest.get(..length).unwrap_or(rest),
        _ => rest,
    };
    Reply { status, head: head.to_owned(), body: body.to_owned(), sent }
}

/// The largest file in a folder.
pub(crate) fn largest(folder: &Path) -> PathBuf {
    let files = walk(folder).into_iter().map(|path| (std::fs::metadata(&path).map_or(0, |file| file.len()), path));
    files.max().unwrap().1
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Everything that the gateway logs, down to the finest level, searched for what must not be there.
pub(crate) mod log {
    use super::*;

    static LEAKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static LOGGED: AtomicBool = AtomicBool::new(false);

    struct Searcher;

    impl Write for Searcher {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes);
            LOGGED.store(true, Ordering::Relaxed);
            if text.contains(SECRET) || text.contains("X-Amz-Signature=") {
                LEAKED.lock().unwrap_or_else(PoisonError::into_inner).push(text.into_owned());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    pub(super) fn watch() {
        let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(|| Searcher);
        tracing::subscriber::set_global_default(subscriber.finish()).unwrap();
    }

    pub(crate) fn leaked() -> Vec<String> {
        assert!(LOGGED.load(Ordering::Relaxed), "nothing was logged at all");
        LEAKED.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
