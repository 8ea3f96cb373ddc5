//! A door that leads to one server and writes down what a provider would put on its bill; some calls may fail at it.
//!
//! Whose a request is its path tells: a blob that a client writes is named after its extent, a copy is not, and packs name no
//! extent. Whatever is not about blobs, and what is about backups of the index, is counted for itself.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::random::Random;
use crate::settle::BACKUPS;
use crate::{Failure, Outcome};

/// What was asked of a silo since [`Meter::begin`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests that read what was there before, or what a client wrote,
    pub reads: u64,
    /// and the bytes that went out for them.
    pub read_bytes: u64,
    /// Requests that read back what was copied here,
    pub read_backs: u64,
    /// and their bytes.
    pub read_back_bytes: u64,
    /// Requests that write, those of clients left out.
    pub writes: u64,
    /// Writes of clients.
    pub of_clients: u64,
    /// Requests that delete.
    pub deletes: u64,
    /// Bytes of each blob that went.
    pub gone: Vec<u64>,
    /// Of all these, calls that were made to fail.
    pub failed: u64,
    /// Requests about anything else: looks at the marker, lists, probes, backups.
    pub beside: u64,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// A blob, by its path.
    Blob {
        path: String,
        of_client: bool,
    },
    /// The probe that wants to be refused.
    Wrong,
    Beside,
}

impl Subject {
    fn of(path: &str) -> Self {
        if path.contains("/probe/") && path.rsplit_once('.').is_some_and(|(_, what)| what == "wrong") {
            return Self::Wrong;
        }
        let Some((_, blob)) = path.split_once("/blobs/") else { return Self::Beside };
        match blob.split(['/', '.', '-']).collect::<Vec<_>>()[..] {
            [BACKUPS, ..] => Self::Beside,
            [session, _, number, of_session, of_number] => {
                Self::Blob { path: path.to_owned(), of_client: (session, number) == (of_session, of_number) }
            }
            _ => Self::Beside,
        }
    }
}

/// A blob that is there.
#[derive(Debug, Clone, Copy)]
struct Stored {
    bytes: u64,
    /// Copied here since the tally began.
    copied: bool,
    /// Since before.
    old: bool,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is answered `503`, and does not reach the server.
    Refused,
    /// It reaches the server, and its answer is lost, or breaks off in the middle.
    Lost,
}

#[derive(Debug)]
struct State {
    tally: Tally,
    stored: BTreeMap<String, Stored>,
    random: Random,
    /// So many calls of ten thousand fail.
    failing: u64,
}

impl State {
    fn fault(&mut self) -> Option<Fault> {
        let fails = self.random.below(10_000) < self.failing;
        let fault = if self.random.percent(50) { Fault::Refused } else { Fault::Lost };
        fails.then_some(fault)
    }

    fn ask(&mut self, method: &Method, subject: &Subject, fault: Option<Fault>) {
        let Subject::Blob { path, of_client } = subject else {
            self.tally.beside += 1;
            return;
        };
        let copied = self.copied(path);
        let count = match *method {
            Method::DELETE => &mut self.tally.deletes,
            Method::GET | Method::HEAD if copied => &mut self.tally.read_backs,
            Method::GET | Method::HEAD => &mut self.tally.reads,
            _ if *of_client => &mut self.tally.of_clients,
            _ => &mut self.tally.writes,
        };
        *count += 1;
        self.tally.failed += u64::from(fault.is_some());
    }

    /// The server did what it was asked for.
    fn done(&mut self, method: &Method, subject: &Subject, bytes: u64) {
        let Subject::Blob { path, of_client } = subject else { return };
        match *method {
            Method::PUT => {
                self.stored.insert(path.clone(), Stored { bytes, copied: !of_client, old: false });
            }
            Method::DELETE => self.tally.gone.extend(self.stored.remove(path).map(|stored| stored.bytes)),
            _ => {}
        }
    }

    fn went_out(&mut self, subject: &Subject, bytes: u64) {
        let Subject::Blob { path, .. } = subject else { return };
        if self.copied(path) {
            self.tally.read_back_bytes += bytes;
        } else {
            self.tally.read_bytes += bytes;
        }
    }

    fn copied(&self, path: &str) -> bool {
        self.stored.get(path).is_some_and(|stored| stored.copied)
    }
}

struct Shared {
    server: String,
    /// It takes what it should refuse, as some servers do.
    gullible: bool,
    /// Never held while anything is waited for.
    state: Mutex<State>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A door; closed when it is dropped.
pub struct Meter {
    /// Its `host:port`.
    pub address: String,
    shared: Arc<Shared>,
    _open: JoinSet<()>,
}

impl Meter {
    /// Opens a door to a server, on this machine only. Behind a `gullible` one a wrong checksum seems to be taken.
    pub async fn open(server: &str, gullible: bool, seed: u64) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let random = Random::new(seed, 1);
        let state = State { tally: Tally::default(), stored: BTreeMap::new(), random, failing: 0 };
        let shared = Arc::new(Shared { server: server.to_owned(), gullible, state: Mutex::new(state) });
        let mut open = JoinSet::new();
        open.spawn(keep_open(Arc::clone(&shared), listener));
        Ok(Self { address, shared, _open: open })
    }

    /// Counts anew, and what is there counts as old. From now on so many of ten thousand calls about blobs fail.
    pub fn begin(&self, failing: u64) {
        let mut state = self.shared.state();
        state.failing = failing;
        state.tally = Tally::default();
        for stored in state.stored.values_mut() {
            (stored.copied, stored.old) = (false, true);
        }
    }

    /// No more calls fail.
    pub fn calm(&self) {
        self.shared.state().failing = 0;
    }

    /// What was counted.
    pub fn tally(&self) -> Tally {
        self.shared.state().tally.clone()
    }

    /// What is there, by path, and its bytes.
    pub fn stored(&self) -> BTreeMap<String, u64> {
        self.shared.state().stored.iter().map(|(path, stored)| (path.clone(), stored.bytes)).collect()
    }

    /// How many blobs from before are still there.
    pub fn old_ones(&self) -> usize {
        self.shared.state().stored.values().filter(|stored| stored.old).count()
    }
}

async fn keep_open(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            taken = listener.accept() => if let Ok((stream, _)) = taken {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = hyper::service::service_fn(|request| pass_on(Arc::clone(&shared), request));
                    // How it ends is the business of the two that it connects.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

type AnswerBody = UnsyncBoxBody<Bytes, Failure>;

fn empty(status: StatusCode) -> Response<AnswerBody> {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// Sends a request on, and its answer back.
async fn pass_on(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<AnswerBody>, Failure> {
    let (method, subject) = (request.method().clone(), Subject::of(request.uri().path()));
    let sent = request.size_hint().exact().unwrap_or_default();
    let fault = {
        let mut state = shared.state();
        let fault = if matches!(subject, Subject::Blob { .. }) { state.fault() } else { None };
        state.ask(&method, &subject, fault);
        fault
    };
    if fault == Some(Fault::Refused) {
        return Ok(empty(StatusCode::SERVICE_UNAVAILABLE));
    }
    let stream = TcpStream::connect(&shared.server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its only answer; its error is the answer's too.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    if answer.status().is_success() {
        shared.state().done(&method, &subject, sent);
    } else if shared.gullible && subject == Subject::Wrong && answer.status() == StatusCode::BAD_REQUEST {
        return Ok(empty(StatusCode::OK));
    }
    let mut left = u64::MAX;
    if fault == Some(Fault::Lost) {
        if method != Method::GET {
            return Err("the answer is lost".into());
        }
        left = answer.size_hint().exact().unwrap_or_default() / 2;
    }
    Ok(answer.map(|inner| Counted { inner, shared, subject, left }.boxed_unsync()))
}

/// The body of an answer on its way.
struct Counted {
    inner: Incoming,
    shared: Arc<Shared>,
    subject: Subject,
    /// Bytes until it breaks off.
    left: u64,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(Some(Err("cut off".into())));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|frame| frame.map_err(Failure::from))) };
        let frame = frame.map_data(|mut piece| {
            piece.truncate(this.left.min(piece.len() as u64) as usize);
            this.left -= piece.len() as u64;
            this.shared.state().went_out(&this.subject, piece.len() as u64);
            piece
        });
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.left > 0 && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "/b/blobs/0000000001/0000000000000/0000000000000007.0000000001-0000000000000007";
    const COPY: &str = "/b/blobs/0000000002/0000000000000/0000000000000009.0000000001-0000000000000007";
    const PACK: &str = "/b/blobs/0000000002/0000000000000/0000000000000011.0000000000-0000000000000000";
    const BACKUP: &str = "/b/blobs/0000000000/0000000000000/0000000000000011.0000000001-0000000000000001";

    fn state() -> State {
        State { tally: Tally::default(), stored: BTreeMap::new(), random: Random::new(1, 1), failing: 0 }
    }

    #[test]
    fn a_path_tells_whose_a_blob_is() {
        for (path, expected) in
            [(OWN, Some(true)), (COPY, Some(false)), (PACK, Some(false)), (BACKUP, None), ("/b", None)]
        {
            let of_client = match Subject::of(path) {
                Subject::Blob { of_client, .. } => Some(of_client),
                Subject::Wrong | Subject::Beside => None,
            };
            assert_eq!(of_client, expected, "{path}");
        }
        assert_eq!(Subject::of("/b/probe/0123456789abcdef.wrong"), Subject::Wrong);
    }

    #[test]
    fn reads_of_what_was_copied_are_verification_and_deletes_tell_what_went() {
        let (mut state, [own, copy]) = (state(), [OWN, COPY].map(Subject::of));
        for subject in [&own, &copy] {
            state.ask(&Method::PUT, subject, None);
            state.done(&Method::PUT, subject, 5);
            state.ask(&Method::GET, subject, None);
            state.went_out(subject, 5);
        }
        state.ask(&Method::HEAD, &own, Some(Fault::Lost));
        state.ask(&Method::GET, &Subject::of(BACKUP), None);
        state.ask(&Method::DELETE, &copy, None);
        state.done(&Method::DELETE, &copy, 0);
        state.done(&Method::DELETE, &copy, 0);
        let expected = Tally {
            reads: 2,
            read_bytes: 5,
            read_backs: 1,
            read_back_bytes: 5,
            writes: 1,
            of_clients: 1,
            deletes: 1,
            gone: vec![5],
            failed: 1,
            beside: 1,
        };
        assert_eq!(state.tally, expected);
    }

    #[test]
    fn as_many_calls_fail_as_were_asked_for() {
        let mut state = State { failing: 50, ..state() };
        let faults: Vec<Fault> = (0..100_000).filter_map(|_| state.fault()).collect();
        assert!((400..600).contains(&faults.len()), "{}", faults.len());
        assert!(faults.contains(&Fault::Refused) && faults.contains(&Fault::Lost));
    }
}
