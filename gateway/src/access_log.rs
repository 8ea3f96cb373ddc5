//! The access log: one line a request in S3's server-access-log format, written beside the requests.
//!
//! A request never waits for it: lines go to a bounded queue and one thread writes them. When the disk is slower than
//! the requests, lines are dropped and counted. Signatures and session tokens in a URL are blanked.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/LogFormat.html>

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use holdall_namespace::clock::UnixMs;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// Lines that wait for the disk before lines are dropped: some 3 MiB.
const QUEUE: usize = 8192;

/// What could break a line apart: percent-encoded everywhere.
const UNSAFE: &AsciiSet = &CONTROLS.add(b'"');
/// In a field without quotes, spaces too.
const UNQUOTED: &AsciiSet = &UNSAFE.add(b' ');

/// What handling a request found out about it; rides in the response's extensions to the log and the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// S3's name of the operation, `PutObject`.
    pub operation: Option<&'static str>,
    /// The bucket named.
    pub bucket: Option<String>,
    /// The bucket's owner, canonical id.
    pub owner: Option<String>,
    /// The key named.
    pub key: Option<String>,
    /// Who asked, canonical id.
    pub requester: Option<String>,
    /// S3's error code.
    pub error: Option<&'static str>,
    /// The object's whole size.
    pub object_size: Option<u64>,
    /// `x-amz-request-id`
    pub request_id: Option<String>,
    /// `AuthHeader` or `QueryString`.
    pub authentication: Option<&'static str>,
}

/// One line's facts.
#[derive(Debug, Clone, Default)]
pub struct Entry {
    /// See [`Subject`].
    pub subject: Subject,
    /// When the request came.
    pub time: UnixMs,
    /// From where.
    pub peer: Option<IpAddr>,
    /// HTTP method.
    pub method: String,
    /// Path and query as sent.
    pub uri: String,
    /// `HTTP/1.1`
    pub version: String,
    /// HTTP status.
    pub status: u16,
    /// Body bytes of the answer.
    pub sent: u64,
    /// From the head to the last byte of the answer.
    pub total: Duration,
    /// From the head to the answer's head.
    pub turn_around: Duration,
    /// `Referer`
    pub referer: Option<String>,
    /// `User-Agent`
    pub user_agent: Option<String>,
    /// `Host`
    pub host: Option<String>,
}

/// Writes lines on a thread of its own.
pub struct AccessLog {
    queue: Option<SyncSender<String>>,
    reopen: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl AccessLog {
    /// Opens the file for appending and starts the writer.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        let (queue, lines) = sync_channel(QUEUE);
        let reopen = Arc::new(AtomicBool::new(false));
        let (path, flag) = (path.to_owned(), Arc::clone(&reopen));
        let writer = move || write_all(file, &path, &flag, &lines);
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(writer)?;
        Ok(Self { queue: Some(queue), reopen, thread: Some(thread) })
    }

    /// Queues a line; false when it was dropped.
    pub fn write(&self, entry: &Entry) -> bool {
        self.queue.as_ref().is_some_and(|queue| queue.try_send(line(entry)).is_ok())
    }

    /// Opens the file anew before the next line: it was rotated away.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // What is queued is written before the thread ends; a panic in it has been reported by then.
            drop(thread.join());
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn write_all(file: File, path: &Path, reopen: &AtomicBool, lines: &Receiver<String>) {
    let mut out = BufWriter::new(file);
    while let Ok(first) = lines.recv() {
        if reopen.swap(false, Ordering::AcqRel) {
            match open(path) {
                Ok(file) => out = BufWriter::new(file),
                Err(error) => tracing::error!(%error, path = %path.display(), "access log not reopened"),
            }
        }
        let mut written = out.write_all(first.as_bytes());
        while let (Ok(()), Ok(next)) = (&written, lines.try_recv()) {
            written = out.write_all(next.as_bytes());
        }
        if let Err(error) = written.and_then(|()| out.flush()) {
            tracing::error!(%error, path = %path.display(), "access log not written");
        }
    }
}

/// A whole line, with its newline.
fn line(entry: &Entry) -> String {
    let subject = &entry.subject;
    let mut text = String::with_capacity(400);
    let time = jiff::Timestamp::from_millisecond(entry.time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let bare = |field: &Option<String>| field.as_deref().map_or_else(|| "-".to_owned(), |text| encoded(text, UNQUOTED));
    let quoted = |field: &Option<String>| field.as_deref().map_or_else(|| "-".to_owned(), |text| encoded(text, UNSAFE));
    let request = format!("{} {} {}", entry.method, without_secrets(&entry.uri), entry.version);
    let number = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
    let operation = subject.operation.map_or_else(|| "-".to_owned(), |name| rest_name(name, &entry.method));
    let written = write!(
        text,
        "{} {} [{}] {} {} {} {operation} {} \"{}\" {} {} {} {} {} {} \"{}\" \"{}\" - - {} - {} {} - - -",
        bare(&subject.owner),
        bare(&subject.bucket),
        time.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        entry.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string()),
        bare(&subject.requester),
        bare(&subject.request_id),
        bare(&subject.key),
        encoded(&request, UNSAFE),
        entry.status,
        subject.error.unwrap_or("-"),
        number(Some(entry.sent).filter(|sent| *sent > 0)),
        number(subject.object_size),
        entry.total.as_millis(),
        entry.turn_around.as_millis(),
        quoted(&entry.referer),
        quoted(&entry.user_agent),
        if subject.authentication.is_some() { "SigV4" } else { "-" },
        subject.authentication.unwrap_or("-"),
        bare(&entry.host),
    );
    written.expect("writing to a string cannot fail");
    text.push('\n');
    text
}

fn encoded(text: &str, set: &'static AsciiSet) -> String {
    if text.is_empty() { "-".to_owned() } else { utf8_percent_encode(text, set).to_string() }
}

/// A presigned URL's signature is good until it expires: it does not belong in a log.
fn without_secrets(uri: &str) -> String {
    let Some((path, query)) = uri.split_once('?') else { return uri.to_owned() };
    let blanked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _))
            if ["x-amz-signature", "x-amz-security-token"].contains(&name.to_ascii_lowercase().as_str()) =>
        {
            format!("{name}=-")
        }
        _ => pair.to_owned(),
    });
    format!("{path}?{}", blanked.collect::<Vec<_>>().join("&"))
}

/// AWS's name of an operation in its logs: `REST.GET.OBJECT`.
fn rest_name(operation: &str, method: &str) -> String {
    let resource = match operation {
        "ListBuckets" => "SERVICE",
        "CopyObject" => return "REST.COPY.OBJECT".to_owned(),
        "UploadPartCopy" => return "REST.COPY.PART".to_owned(),
        "UploadPart" => "PART",
        "CreateMultipartUpload" | "ListMultipartUploads" => "UPLOADS",
        "CompleteMultipartUpload" | "AbortMultipartUpload" | "ListParts" => "UPLOAD",
        "DeleteObjects" => "MULTI_OBJECT_DELETE",
        "ListObjectVersions" => "BUCKETVERSIONS",
        "GetBucketLocation" => "LOCATION",
        "GetObjectAttributes" => "OBJECT_ATTRIBUTES",
        "GetObjectTagging" | "PutObjectTagging" | "DeleteObjectTagging" => "OBJECT_TAGGING",
        "GetBucketTagging" | "PutBucketTagging" | "DeleteBucketTagging" => "TAGGING",
        "GetObject" | "HeadObject" | "PutObject" | "DeleteObject" => "OBJECT",
        "CreateBucket" | "HeadBucket" | "DeleteBucket" | "ListObjects" | "ListObjectsV2" => "BUCKET",
        other => other,
    };
    format!("REST.{method}.{resource}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            subject: Subject {
                operation: Some("GetObject"),
                bucket: Some("photos".to_owned()),
                key: Some("a b\"\n/ü".to_owned()),
                requester: Some("c0ffee".to_owned()),
                object_size: Some(10),
                request_id: Some("4F1".to_owned()),
                authentication: Some("QueryString"),
                ..Subject::default()
            },
            time: 1_549_411_238_000,
            peer: Some([192, 0, 2, 3].into()),
            method: "GET".to_owned(),
            uri: "/photos/a?X-Amz-Signature=deadbeef&x=1".to_owned(),
            version: "HTTP/1.1".to_owned(),
            status: 206,
            sent: 5,
            total: Duration::from_millis(41),
            turn_around: Duration::from_millis(28),
            user_agent: Some("me \"x\"\n".to_owned()),
            host: Some("127.0.0.1:9000".to_owned()),
            ..Entry::default()
        }
    }

    #[test]
    fn a_line_has_the_fields_of_s3_in_their_order_and_cannot_be_broken_apart() {
        let want = "- photos [06/Feb/2019:00:00:38 +0000] 192.0.2.3 c0ffee 4F1 REST.GET.OBJECT a%20b%22%0A/%C3%BC \
                    \"GET /photos/a?X-Amz-Signature=-&x=1 HTTP/1.1\" 206 - 5 10 41 28 \"-\" \"me %22x%22%0A\" - - \
                    SigV4 - QueryString 127.0.0.1:9000 - - -\n";
        assert_eq!(line(&entry()), want);
    }

    #[test]
    fn lines_are_appended_and_a_rotated_file_is_opened_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
        let log = AccessLog::open(&path).unwrap();
        assert!(log.write(&entry()));
        drop(log);
        let log = AccessLog::open(&path).unwrap();
        std::fs::rename(&path, &old).unwrap();
        log.reopen();
        assert!(log.write(&entry()));
        drop(log);
        for file in [path, old] {
            assert_eq!(std::fs::read_to_string(file).unwrap(), line(&entry()));
        }
    }
}
