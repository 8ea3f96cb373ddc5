//! Doors that lead to one server, and one of which goes bad in the middle of a download.
//!
//! As long as nothing is armed, requests and answers pass as they are. The first door over which as many bytes of downloads
//! went as the armed fault says takes the fault, and the others stay clean; but for one that is to be met everywhere.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::settle::BACKUPS;
use crate::{Failure, Outcome};

/// How long it is waited until a port that was given up is ours again.
const PORT: Duration = Duration::from_millis(20);

/// How a silo goes bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// All its connections end, and new ones are refused.
    Killed,
    /// Nothing more comes over any connection, and nobody takes up new ones.
    Stalled,
    /// Nothing more comes in this answer; everything else goes on.
    Hung,
    /// The connection ends; new ones are taken up.
    Truncated,
    /// One bit is another one.
    Corrupted,
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// How.
    pub way: Way,
    /// Behind so many bytes of downloads.
    pub at: u64,
    /// Once it was met: behind so many bytes of each further download.
    pub again: u64,
    /// Once it was met, every door is bad.
    pub everywhere: bool,
}

/// What became of a fault.
#[derive(Debug, Default)]
pub struct Met {
    /// The door that took it.
    pub by: Option<usize>,
    /// Bytes of downloads over each door.
    pub bytes: Vec<u64>,
}

impl Met {
    /// Whether any other door was needed.
    pub fn elsewhere(&self) -> bool {
        self.bytes.iter().enumerate().any(|(door, bytes)| Some(door) != self.by && *bytes > 0)
    }
}

#[derive(Debug, Default)]
struct State {
    armed: Option<Fault>,
    met: Met,
}

impl State {
    fn new(doors: usize) -> Self {
        Self { armed: None, met: Met { by: None, bytes: vec![0; doors] } }
    }

    /// What befalls the next `length` bytes of a download of which `before` passed, and behind how many of them.
    fn befalls(&mut self, door: usize, before: u64, length: u64) -> Option<(Way, u64)> {
        let passed = self.met.bytes[door];
        self.met.bytes[door] += length;
        let fault = self.armed?;
        let within = |at: u64, start: u64| (start..start + length).contains(&at).then(|| (fault.way, at - start));
        match self.met.by {
            None => {
                let taken = within(fault.at, passed)?;
                self.met.by = Some(door);
                Some(taken)
            }
            Some(by) if by == door || fault.everywhere => within(fault.again, before),
            Some(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Well,
    Still,
    Dead,
}

struct Shared {
    server: String,
    /// Never held while anything is waited for.
    state: Mutex<State>,
    modes: Vec<watch::Sender<Mode>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_well(&self, door: usize) -> bool {
        *self.modes[door].borrow() == Mode::Well
    }

    /// As [`State::befalls`], and the doors that it is about are as it says.
    fn befalls(&self, door: usize, before: u64, length: u64) -> Option<(Way, u64)> {
        let mut state = self.state();
        let (way, behind) = state.befalls(door, before, length)?;
        let everywhere = state.armed.is_some_and(|fault| fault.everywhere);
        let mode = match way {
            Way::Killed => Mode::Dead,
            Way::Stalled => Mode::Still,
            Way::Hung | Way::Truncated | Way::Corrupted => return Some((way, behind)),
        };
        for (number, sender) in self.modes.iter().enumerate() {
            if number == door || everywhere {
                sender.send_replace(mode);
            }
        }
        Some((way, behind))
    }
}

/// Doors that lead to one server; closed when they are dropped.
pub struct Doors {
    /// `host:port` of each.
    pub addresses: Vec<String>,
    shared: Arc<Shared>,
    _open: JoinSet<()>,
}

impl Doors {
    /// Opens so many doors to a server, on this machine only.
    pub async fn open(server: &str, count: usize) -> Outcome<Self> {
        let modes = (0..count).map(|_| watch::Sender::new(Mode::Well)).collect();
        let shared = Arc::new(Shared { server: server.to_owned(), state: Mutex::new(State::new(count)), modes });
        let (mut addresses, mut open) = (Vec::new(), JoinSet::new());
        for door in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?.to_string();
            addresses.push(address.clone());
            open.spawn(keep_open(Arc::clone(&shared), door, address, listener));
        }
        Ok(Self { addresses, shared, _open: open })
    }

    /// From now on downloads are counted, and this waits for one of them.
    pub fn arm(&self, fault: Fault) {
        *self.shared.state() = State { armed: Some(fault), ..State::new(self.addresses.len()) };
    }

    /// All doors are well again; what stood still goes on.
    pub fn heal(&self) -> Met {
        let before = std::mem::replace(&mut *self.shared.state(), State::new(self.addresses.len()));
        for mode in &self.shared.modes {
            mode.send_replace(Mode::Well);
        }
        before.met
    }
}

/// Takes connections up, as the door is.
async fn keep_open(shared: Arc<Shared>, door: usize, address: String, listener: TcpListener) {
    let (mut mode, mut listener) = (shared.modes[door].subscribe(), Some(listener));
    let mut connections = JoinSet::new();
    loop {
        let now = *mode.borrow_and_update();
        match (&listener, now) {
            (Some(open), Mode::Well) => tokio::select! {
                taken = open.accept() => if let Ok((stream, _)) = taken {
                    connections.spawn(pass_on(Arc::clone(&shared), door, stream));
                },
                Some(_) = connections.join_next() => {}
                changed = mode.changed() => if changed.is_err() { return },
            },
            (None, Mode::Well) => match TcpListener::bind(&address).await {
                Ok(again) => listener = Some(again),
                Err(_) => tokio::time::sleep(PORT).await,
            },
            (_, Mode::Still) => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
            (_, Mode::Dead) => {
                listener = None;
                connections.shutdown().await;
                if mode.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// One connection; while the door stands still, so does it.
async fn pass_on(shared: Arc<Shared>, door: usize, stream: TcpStream) {
    let mut mode = shared.modes[door].subscribe();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = hyper::service::service_fn(|request| ask(Arc::clone(&shared), door, request));
    let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Dead => return,
            Mode::Still => {
                if mode.changed().await.is_err() {
                    return;
                }
            }
            // How it ends is the business of the two that it connects.
            Mode::Well => tokio::select! {
                _ = serving.as_mut() => return,
                changed = mode.changed() => if changed.is_err() { return },
            },
        }
    }
}

/// Sends a request on, and its answer back.
async fn ask(shared: Arc<Shared>, door: usize, request: Request<Incoming>) -> Result<Response<Answer>, Failure> {
    let download = is_download(request.method(), request.uri().path());
    let stream = TcpStream::connect(&shared.server).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its only answer; its error is the answer's too.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    Ok(answer.map(|inner| Answer { inner, shared, door, download, passed: 0, held: None, end: None }))
}

/// Whether it asks for bytes of a blob, and not of a backup.
fn is_download(method: &Method, path: &str) -> bool {
    let blob = path.split_once("/blobs/").map(|(_, blob)| blob);
    *method == Method::GET && blob.is_some_and(|blob| !blob.is_empty() && !blob.starts_with(BACKUPS))
}

enum End {
    Cut,
    Hangs,
}

/// The body of an answer on its way.
struct Answer {
    inner: Incoming,
    shared: Arc<Shared>,
    door: usize,
    download: bool,
    passed: u64,
    /// What comes next.
    held: Option<Bytes>,
    /// What comes instead of what follows.
    end: Option<End>,
}

impl Answer {
    /// What passes now of a piece of a download. What is behind a fault is held, or never comes.
    fn tampered(&mut self, mut piece: Bytes) -> Bytes {
        let length = piece.len() as u64;
        let befalls = self.shared.befalls(self.door, self.passed, length);
        self.passed += length;
        let Some((way, behind)) = befalls else { return piece };
        let behind = behind as usize;
        match way {
            Way::Corrupted => {
                let mut bytes = BytesMut::from(piece.as_ref());
                bytes[behind] ^= 1 << (behind % 8);
                return bytes.freeze();
            }
            Way::Truncated => self.end = Some(End::Cut),
            Way::Hung => self.end = Some(End::Hangs),
            Way::Killed | Way::Stalled => self.held = Some(piece.slice(behind..)),
        }
        piece.truncate(behind);
        piece
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = self.get_mut();
        loop {
            // Whoever drives the connection asks again once the door is well.
            if !this.shared.is_well(this.door) {
                return Poll::Pending;
            }
            match this.end {
                Some(End::Cut) => return Poll::Ready(Some(Err("cut off".into()))),
                Some(End::Hangs) => return Poll::Pending,
                None => {}
            }
            if let Some(held) = this.held.take() {
                return Poll::Ready(Some(Ok(Frame::data(held))));
            }
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other.map(|frame| frame.map_err(Failure::from))),
            };
            match frame.into_data() {
                Ok(piece) if this.download => {
                    let piece = this.tampered(piece);
                    if !piece.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                }
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.is_none() && self.end.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.held.is_none() && self.end.is_none() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULT: Fault = Fault { way: Way::Corrupted, at: 150, again: 20, everywhere: false };

    fn armed(fault: Fault) -> State {
        State { armed: Some(fault), ..State::new(2) }
    }

    #[test]
    fn the_first_door_to_get_there_takes_the_fault_and_the_other_stays_clean() {
        let mut state = armed(FAULT);
        assert_eq!(state.befalls(1, 0, 100), None);
        assert_eq!(state.befalls(0, 0, 100), None);
        assert_eq!(state.befalls(1, 100, 100), Some((Way::Corrupted, 50)));
        assert_eq!(state.befalls(0, 100, 100), None);
        assert_eq!(state.befalls(1, 200, 100), None, "this download is past that");
        assert_eq!(state.befalls(1, 0, 10), None);
        assert_eq!(state.befalls(1, 10, 100), Some((Way::Corrupted, 10)), "another one over the same door");
        assert_eq!((state.met.by, state.met.elsewhere()), (Some(1), true));
    }

    #[test]
    fn the_byte_that_is_named_is_the_first_that_is_hit() {
        for (at, expected) in [(0, Some((Way::Corrupted, 0))), (9, Some((Way::Corrupted, 9))), (10, None)] {
            assert_eq!(armed(Fault { at, ..FAULT }).befalls(0, 0, 10), expected, "{at}");
        }
    }

    #[test]
    fn what_is_everywhere_is_behind_every_door_once_it_was_met() {
        let mut state = armed(Fault { everywhere: true, again: 0, ..FAULT });
        assert_eq!(state.befalls(1, 0, 100), None);
        assert_eq!(state.befalls(0, 0, 200), Some((Way::Corrupted, 150)));
        assert_eq!(state.befalls(1, 0, 100), Some((Way::Corrupted, 0)));
    }

    #[test]
    fn nothing_armed_harms_nothing() {
        let mut state = State::new(1);
        assert_eq!(state.befalls(0, 0, 1 << 30), None);
        assert!(!state.met.elsewhere() || state.met.by.is_none());
    }

    #[test]
    fn downloads_are_reads_of_blobs() {
        for (method, path, expected) in [
            (Method::GET, "/a/blobs/0000000001/00/7", true),
            (Method::PUT, "/a/blobs/0000000001/00/7", false),
            (Method::GET, "/a/blobs/0000000000/00/7", false),
            (Method::GET, "/a/holdall.json", false),
            (Method::GET, "/a", false),
        ] {
            assert_eq!(is_download(&method, path), expected, "{method} {path}");
        }
    }
}
