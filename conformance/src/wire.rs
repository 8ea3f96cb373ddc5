//! One keep-alive HTTP/1.1 connection, no retries: what a request met is what the caller learns.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::payload::Payload;

/// Bytes of a made body that leave in one frame.
const FRAME: usize = 256 << 10;

/// Why there is no answer.
#[derive(Debug)]
pub enum WireError {
    /// No connection: nothing was sent.
    Connect(std::io::Error),
    /// The connection ended before the answer: the outcome is unknown.
    Lost(hyper::Error),
    /// The answer's body ended early or broke.
    Body(hyper::Error),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Lost(error) => write!(f, "no answer: {error}"),
            Self::Body(error) => write!(f, "answer broke off: {error}"),
        }
    }
}

impl std::error::Error for WireError {}

/// A request's body.
#[derive(Debug, Clone)]
pub enum Body {
    /// None.
    Empty,
    /// These bytes.
    Whole(Bytes),
    /// A piece of made contents.
    Made {
        /// Whose.
        payload: Payload,
        /// The next byte.
        from: u64,
        /// The end.
        to: u64,
    },
    /// The same bytes again and again: the cheapest large body.
    Repeated {
        /// What is sent.
        chunk: Bytes,
        /// How many bytes are left.
        left: u64,
    },
    /// Declares more than it ever sends, then stands still.
    Stalled {
        /// What is sent.
        chunk: Bytes,
        /// Bytes until it stands still.
        left: u64,
        /// Bytes declared and never sent.
        withheld: u64,
        /// Told once, when it stands still.
        reached: Option<std::sync::Arc<tokio::sync::Semaphore>>,
    },
}

impl Body {
    /// The whole of made contents.
    pub fn made(payload: Payload) -> Self {
        if payload.len <= FRAME as u64 {
            return Self::Whole(payload.bytes(0, FRAME));
        }
        Self::Made { payload, from: 0, to: payload.len }
    }

    /// A part of made contents.
    pub fn part(payload: Payload, from: u64, len: u64) -> Self {
        Self::Made { payload, from, to: (from + len).min(payload.len) }
    }

    /// Declared length.
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Made { from, to, .. } => to - from,
            Self::Repeated { left, .. } => *left,
            Self::Stalled { left, withheld, .. } => left + withheld,
        }
    }

    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Empty => None,
            Self::Whole(bytes) => (!bytes.is_empty()).then(|| std::mem::take(bytes)),
            Self::Made { payload, from, to } => {
                let bytes = payload.bytes(*from, (*to - *from).min(FRAME as u64) as usize);
                *from += bytes.len() as u64;
                (!bytes.is_empty()).then_some(bytes)
            }
            Self::Repeated { chunk, left } | Self::Stalled { chunk, left, .. } => {
                let take = (*left).min(chunk.len() as u64);
                *left -= take;
                (take > 0).then(|| chunk.slice(..take as usize))
            }
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        match this.next() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => match this {
                Self::Stalled { reached, .. } => {
                    if let Some(reached) = reached.take() {
                        reached.add_permits(1);
                    }
                    Poll::Pending
                }
                _ => Poll::Ready(None),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

/// A connection that is opened when it is needed and kept.
pub struct Connection {
    address: String,
    sender: Option<http1::SendRequest<Body>>,
}

impl Connection {
    /// To `host:port`, on the first request.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), sender: None }
    }

    /// Where it leads.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Sends and waits for the answer's head. An answer whose body is dropped half-read costs the connection.
    pub async fn send(&mut self, request: http::Request<Body>) -> Result<http::Response<Incoming>, WireError> {
        let mut sender = match self.kept().await {
            Some(kept) => kept,
            None => self.open().await?,
        };
        let answer = sender.send_request(request).await.map_err(WireError::Lost)?;
        self.sender = Some(sender);
        Ok(answer)
    }

    /// The connection of the last request, unless the other side has closed it since.
    async fn kept(&mut self) -> Option<http1::SendRequest<Body>> {
        let mut sender = self.sender.take()?;
        sender.ready().await.ok()?;
        Some(sender)
    }

    async fn open(&self) -> Result<http1::SendRequest<Body>, WireError> {
        let stream = TcpStream::connect(&self.address).await.map_err(WireError::Connect)?;
        stream.set_nodelay(true).map_err(WireError::Connect)?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(FRAME * 2)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(WireError::Lost)?;
        // It ends when the sender is dropped and the last answer was read; its error is the request's too.
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The whole body.
pub async fn collect(body: Incoming) -> Result<Bytes, WireError> {
    let declared = body.size_hint().exact();
    let bytes = body.collect().await.map_err(WireError::Body)?.to_bytes();
    debug_assert!(declared.is_none_or(|length| length == bytes.len() as u64));
    Ok(bytes)
}

/// Calls `each` with every piece of the body; returns its length.
pub async fn visit(mut body: Incoming, mut each: impl FnMut(&Bytes)) -> Result<u64, WireError> {
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(WireError::Body)?.into_data() {
            length += data.len() as u64;
            each(&data);
        }
    }
    Ok(length)
}
