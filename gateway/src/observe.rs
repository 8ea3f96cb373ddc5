//! Around every S3 request: counts it, times it, writes its line in the access log. Decides nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{HOST, REFERER, USER_AGENT};
use http::{HeaderName, Request, Response};
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;

use crate::access_log::{AccessLog, Entry, Subject};
use crate::metrics::Metrics;
use holdall_namespace::clock::Clock;

/// What watches requests go by.
pub(crate) struct Observer {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) log: Option<Arc<AccessLog>>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Observer {
    /// Has a request answered by `handle` and watches until the answer's last byte has gone, or nobody wants it.
    pub(crate) async fn watch<B, F>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
        handle: impl FnOnce(Request<Counted<B>>) -> F,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let received = self.metrics.bytes_in.clone();
        let mut record = Record::begin(self, &request, peer);
        let response = handle(request.map(|body| Counted { body, count: received })).await;
        record.turned_around(&response);
        response.map(|body| Body::new(Watched { body, record }))
    }
}

/// One request on its way; dropping it writes it down, also when its handler panicked or its client left.
struct Record {
    observer: Arc<Observer>,
    entry: Entry,
    started: Duration,
}

impl Record {
    fn begin<B>(observer: Arc<Observer>, request: &Request<B>, peer: SocketAddr) -> Self {
        observer.metrics.requests_open.inc();
        let header = |name: HeaderName| {
            request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut entry = Entry { status: 500, ..Entry::default() };
        if observer.log.is_some() {
            entry.time = observer.clock.now();
            entry.peer = Some(peer.ip());
            entry.uri = request.uri().path_and_query().map_or_else(|| "-".to_owned(), ToString::to_string);
            entry.version = format!("{:?}", request.version());
            entry.referer = header(REFERER);
            entry.user_agent = header(USER_AGENT);
            entry.host = header(HOST);
        }
        request.method().as_str().clone_into(&mut entry.method);
        let started = observer.clock.monotonic();
        Self { observer, entry, started }
    }

    fn turned_around(&mut self, response: &Response<Body>) {
        self.entry.status = response.status().as_u16();
        self.entry.turn_around = self.since();
        if let Some(subject) = response.extensions().get::<Subject>() {
            self.entry.subject = subject.clone();
        }
        if let Some(id) = response.headers().get("x-amz-request-id") {
            self.entry.subject.request_id = id.to_str().ok().map(str::to_owned);
        }
    }

    fn since(&self) -> Duration {
        self.observer.clock.monotonic().saturating_sub(self.started)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.entry.total = self.since();
        let metrics = &self.observer.metrics;
        metrics.requests_open.dec();
        metrics.answered(self.entry.subject.operation.unwrap_or("refused"), self.entry.status, self.entry.total);
        if self.observer.log.as_ref().is_some_and(|log| !log.write(&self.entry)) {
            metrics.access_log_dropped.inc();
        }
    }
}

/// A request's body whose bytes are counted.
pub(crate) struct Counted<B> {
    body: B,
    count: Counter,
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.count.inc_by(frame.data_ref().map_or(0, |data| data.len() as u64));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; its end is the request's end.
struct Watched {
    body: Body,
    record: Record,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.record.entry.sent += bytes;
            self.record.observer.metrics.bytes_out.inc_by(bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_namespace::backup::BackupStatus;
    use holdall_namespace::clock::SystemClock;
    use holdall_namespace::stats::Snapshot;
    use http_body_util::{BodyExt, Full};

    fn observer() -> Arc<Observer> {
        let clock = Arc::new(SystemClock::new());
        Arc::new(Observer { metrics: Arc::new(Metrics::new()), log: None, clock })
    }

    fn text(observer: &Observer) -> String {
        observer.metrics.encode(&Snapshot::default(), &BackupStatus::default(), &[])
    }

    #[tokio::test]
    async fn bytes_and_outcomes_are_counted_once_the_answer_is_gone() {
        let observer = observer();
        let request = Request::new(Full::new(Bytes::from_static(b"12345")));
        let response = Arc::clone(&observer).watch(request, ([127, 0, 0, 1], 1).into(), |request| async move {
            request.into_body().collect().await.unwrap();
            let mut response = Response::new(Body::from("1234567"));
            response.extensions_mut().insert(Subject { operation: Some("GetObject"), ..Subject::default() });
            response
        });
        let response = response.await;
        assert!(text(&observer).contains("holdall_s3_requests_open 1\n"));
        response.into_body().collect().await.unwrap();
        let text = text(&observer);
        for line in [
            "holdall_s3_requests_open 0\n",
            "holdall_s3_received_bytes_total 5\n",
            "holdall_s3_sent_bytes_total 7\n",
            "holdall_s3_requests_total{operation=\"GetObject\",status=\"200\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_before_the_answer_is_counted_too() {
        let observer = observer();
        let request = Request::new(Full::new(Bytes::new()));
        let watched = Arc::clone(&observer).watch(request, ([127, 0, 0, 1], 1).into(), |_| std::future::pending());
        assert!(tokio::time::timeout(Duration::from_millis(1), watched).await.is_err());
        let text = text(&observer);
        assert!(text.contains("holdall_s3_requests_open 0\n"));
        assert!(text.contains("holdall_s3_requests_total{operation=\"refused\",status=\"500\"} 1\n"), "{text}");
    }
}
