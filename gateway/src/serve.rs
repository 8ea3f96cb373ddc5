//! The way from a listening socket to a request and back: one task a connection, bounded in every direction.
//!
//! A half-sent head, a stalled reader or too many idle sockets cost a bounded time and are let go; a panic costs one
//! request; running out of file descriptors stops nothing; a shutdown finishes what is in flight, within a limit.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits;

mod heard;
pub(crate) mod pace;
mod seats;
mod wire;

use heard::Heard;
use seats::{Guest, Order, Seat, Seats};
use wire::Wire;

/// What one listener bears.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Time for a request's head, and between two requests.
    pub head_timeout: Duration,
    /// Time for requests in flight when the shutdown comes.
    pub drain_timeout: Duration,
    /// Counts the connections that are open.
    pub open: Gauge,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: limits::CONNECTIONS,
            head_timeout: limits::HEAD_TIMEOUT,
            drain_timeout: limits::DRAIN_TIMEOUT,
            open: Gauge::default(),
        }
    }
}

/// Serves until `shutdown`, then finishes the requests in flight. Answers how many connections had to be cut off
/// because they did not finish within the limit.
pub async fn serve<S, F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    service: S,
    limits: Limits,
    shutdown: CancellationToken,
) -> usize
where
    S: Fn(Request<Heard>, SocketAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let seats = Seats::new();
    let tasks = TaskTracker::new();
    let builder = builder(&limits);
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                let room = make_room(&seats, limits.connections);
                if shutdown.run_until_cancelled(room).await.is_none() {
                    break;
                }
                let open = Open::count(limits.open.clone());
                let connection = Connection { peer, guest: seats.sit(), builder: builder.clone(), _open: open };
                tasks.spawn(connection.run(stream, tls.clone(), service.clone()));
            }
            Err(error) => rest(&seats, &error, &shutdown).await,
        }
    }
    drop(listener);
    drain(&seats, &tasks, limits.drain_timeout).await
}

fn builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_header_size(limits::MAX_PARSED_HEAD)
        // A client may close its sending side and still wait for the answer, also to a body that it cut short.
        .half_close(true);
    builder
}

/// Waits until one more connection may sit down.
async fn make_room(seats: &Seats, limit: usize) {
    if seats.count() >= limit && !seats.shed() {
        seats.fewer_than(limit).await;
    }
}

/// After a failed accept: a connection that vanished costs nothing, a lack of descriptors is waited out.
async fn rest(seats: &Seats, error: &io::Error, shutdown: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    tracing::warn!(%error, connections = seats.count(), "cannot accept connections");
    seats.shed();
    shutdown.run_until_cancelled(tokio::time::sleep(limits::ACCEPT_PAUSE)).await;
}

async fn drain(seats: &Seats, tasks: &TaskTracker, limit: Duration) -> usize {
    tasks.close();
    seats.tell_all(Order::Finish);
    let finished = tokio::time::timeout(limit, tasks.wait()).await.is_ok();
    if finished {
        return 0;
    }
    let cut = seats.count();
    tracing::warn!(connections = cut, "cut off requests that did not finish in time");
    seats.tell_all(Order::Leave);
    tasks.wait().await;
    cut
}

struct Connection {
    peer: SocketAddr,
    guest: Guest,
    builder: http1::Builder,
    _open: Open,
}

/// Counts a connection while it lives.
struct Open(Gauge);

impl Open {
    fn count(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Connection {
    async fn run<S, F>(self, stream: TcpStream, tls: Option<TlsAcceptor>, service: S)
    where
        S: Fn(Request<Heard>, SocketAddr) -> F,
        F: Future<Output = Response<Body>>,
    {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, peer = %self.peer, "connection lost");
            return;
        }
        let Some(tls) = tls else { return self.converse(stream, service).await };
        let handshake = tokio::time::timeout(limits::HANDSHAKE_TIMEOUT, tls.accept(stream));
        match self.unless_sent_away(handshake).await {
            Some(Ok(Ok(stream))) => self.converse(stream, service).await,
            Some(Ok(Err(error))) => tracing::debug!(%error, peer = %self.peer, "TLS handshake failed"),
            Some(Err(_)) => tracing::debug!(peer = %self.peer, "TLS handshake took too long"),
            None => {}
        }
    }

    /// `None` when the connection shall close first.
    async fn unless_sent_away<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|cx| match self.guest.seat.order(cx) {
            Order::Serve => work.as_mut().poll(cx).map(Some),
            Order::Finish | Order::Leave => Poll::Ready(None),
        })
        .await
    }

    async fn converse<S, F, I>(&self, stream: I, service: S)
    where
        S: Fn(Request<Heard>, SocketAddr) -> F,
        F: Future<Output = Response<Body>>,
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let seat = &self.guest.seat;
        let answer = service_fn(|request| {
            seat.begin();
            let ambiguous = is_ambiguous(&request);
            let (head, body) = request.into_parts();
            let (body, unread) = Heard::new(body);
            let request = Request::from_parts(head, body);
            let answered = AssertUnwindSafe(async { service(request, self.peer).await }).catch_unwind();
            async move {
                let mut response = answered.await.unwrap_or_else(|_| broken());
                if ambiguous || unread.get() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Answer { body, seat: seat.clone() }))
            }
        });
        let io = TokioIo::new(Wire::new(stream, seat.clone()));
        let mut connection = pin!(self.builder.serve_connection(io, answer));
        let mut finishing = false;
        poll_fn(|cx| {
            match seat.order(cx) {
                Order::Serve => {}
                Order::Finish if finishing => {}
                Order::Finish => {
                    finishing = true;
                    connection.as_mut().graceful_shutdown();
                }
                Order::Leave => return Poll::Ready(()),
            }
            connection.as_mut().poll(cx).map(|ended| self.note(ended))
        })
        .await;
    }

    fn note(&self, ended: hyper::Result<()>) {
        match ended {
            Ok(()) => {}
            Err(error) if error.is_parse() || error.is_parse_too_large() => {
                tracing::info!(%error, peer = %self.peer, "not a request");
            }
            Err(error) => tracing::debug!(%error, peer = %self.peer, "connection lost"),
        }
    }
}

/// Whether somebody before us may see this request's end elsewhere than we do: what follows it on the connection must
/// not be taken for a request.
fn is_ambiguous(request: &Request<Incoming>) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    let plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|coding| !plain(coding)) || codings.next().is_some()
}

/// The answer to a request whose handler panicked.
fn broken() -> Response<Body> {
    tracing::error!("a request's handler panicked");
    let document = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                    <Message>We encountered an internal error. Please try again.</Message></Error>";
    let mut response = Response::new(Body::from(document));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A response body; its end makes the connection idle.
struct Answer {
    body: Body,
    seat: Arc<Seat>,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.seat.end();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::JoinHandle;

    use super::*;

    struct Running {
        address: SocketAddr,
        shutdown: CancellationToken,
        server: JoinHandle<usize>,
        /// Each `/wait` request sends the way to release it.
        waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    }

    async fn start(limits: Limits) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (started, waiting) = mpsc::unbounded_channel();
        let service = move |request: Request<Heard>, _peer: SocketAddr| {
            let started = started.clone();
            async move {
                match request.uri().path() {
                    "/panic" => panic!("on purpose"),
                    "/wait" => {
                        let (release, released) = oneshot::channel();
                        started.send(release).unwrap();
                        let _ = released.await;
                    }
                    _ => {}
                }
                Response::new(Body::from("done"))
            }
        };
        let server = tokio::spawn(serve(listener, None, service, limits, shutdown.clone()));
        Running { address, shutdown, server, waiting }
    }

    async fn send(stream: &mut TcpStream, path: &str) {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await.unwrap();
    }

    /// Reads until a body of `done` or the end of the connection.
    async fn answer(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\ndone") && stream.read_buf(&mut read).await.is_ok_and(|count| count > 0) {}
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn a_shutdown_finishes_the_request_in_flight_closes_idle_connections_and_takes_no_more() {
        let mut run = start(Limits::default()).await;
        let mut idle = TcpStream::connect(run.address).await.unwrap();
        send(&mut idle, "/").await;
        assert!(answer(&mut idle).await.starts_with("HTTP/1.1 200"));
        let mut busy = TcpStream::connect(run.address).await.unwrap();
        send(&mut busy, "/wait").await;
        let release = run.waiting.recv().await.unwrap();
        run.shutdown.cancel();
        assert_eq!(answer(&mut idle).await, "");
        while TcpStream::connect(run.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!run.server.is_finished());
        release.send(()).unwrap();
        let last = answer(&mut busy).await;
        assert!(last.starts_with("HTTP/1.1 200") && last.contains("connection: close"), "{last}");
        drop(busy);
        assert_eq!(run.server.await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_request_that_does_not_finish_is_cut_off_at_the_limit() {
        let mut run = start(Limits { drain_timeout: Duration::from_millis(1), ..Limits::default() }).await;
        let mut busy = TcpStream::connect(run.address).await.unwrap();
        send(&mut busy, "/wait").await;
        let _hold = run.waiting.recv().await.unwrap();
        run.shutdown.cancel();
        assert_eq!(run.server.await.unwrap(), 1);
        assert_eq!(answer(&mut busy).await, "");
    }

    /// Ceph CVE-2019-10222: a request that brought its handler down took the server with it.
    #[tokio::test]
    async fn s54_a_panic_costs_one_request() {
        let run = start(Limits::default()).await;
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        send(&mut stream, "/panic").await;
        let refused = answer(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 500") && refused.contains("<Code>InternalError</Code>"), "{refused}");
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        send(&mut stream, "/").await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }

    /// A client that waited for `100 Continue` got a refusal instead, kept the connection, and lost its next request to
    /// the close that came after it.
    #[tokio::test]
    async fn an_answer_before_the_bodys_end_says_that_the_connection_closes() {
        let run = start(Limits::default()).await;
        for expect in ["expect: 100-continue\r\n", ""] {
            let mut stream = TcpStream::connect(run.address).await.unwrap();
            let head = format!("PUT / HTTP/1.1\r\nhost: x\r\n{expect}content-length: 9\r\n\r\n");
            stream.write_all(head.as_bytes()).await.unwrap();
            let refused = answer(&mut stream).await;
            assert!(refused.contains("connection: close"), "{refused}");
        }
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        send(&mut stream, "/").await;
        assert!(!answer(&mut stream).await.contains("connection: close"));
    }

    #[tokio::test]
    async fn n2_idle_connections_make_room_for_a_new_one() {
        let mut run = start(Limits { connections: 3, ..Limits::default() }).await;
        let mut busy = TcpStream::connect(run.address).await.unwrap();
        send(&mut busy, "/wait").await;
        let release = run.waiting.recv().await.unwrap();
        let mut idle = Vec::new();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(run.address).await.unwrap();
            stream.write_all(b"GET / HT").await.unwrap();
            idle.push(stream);
        }
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        send(&mut stream, "/").await;
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        release.send(()).unwrap();
        assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn n1_a_head_that_never_ends_is_let_go() {
        let run = start(Limits { head_timeout: Duration::from_millis(50), ..Limits::default() }).await;
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }

    #[tokio::test]
    async fn a_head_beyond_the_limit_is_refused() {
        let run = start(Limits::default()).await;
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(100 << 10));
        stream.write_all(head.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 431"));
    }

    /// A refusal that leaves megabytes unread used to be lost to a connection reset.
    #[tokio::test]
    async fn an_answer_arrives_although_the_body_was_not_read() {
        let run = start(Limits::default()).await;
        let mut stream = TcpStream::connect(run.address).await.unwrap();
        let body = vec![0u8; 4 << 20];
        let head = format!("PUT / HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    }
}
