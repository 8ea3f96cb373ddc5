//! Answers that go on for a while: one JSON object a line, each as it is made.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::header::CONTENT_TYPE;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Lines that wait for a slow reader before whoever makes them waits for it.
pub(super) const WAITING: usize = 256;
/// How long they wait when the reader is behind.
const PAUSE: Duration = Duration::from_millis(5);

/// Sends a line from a plain call, which waits for a slow reader: on a thread of its own.
pub(super) fn wait<T>(lines: &mpsc::Sender<T>, mut line: T) {
    while let Err(TrySendError::Full(back)) = lines.try_send(line) {
        std::thread::sleep(PAUSE);
        line = back;
    }
}

/// Everything that is sent, until the last sender is gone.
pub(super) fn answer<T: Serialize + Send + 'static>(receiver: mpsc::Receiver<T>) -> Response {
    flow(stream::unfold(receiver, |mut receiver| async move { Some((vec![receiver.recv().await?], receiver)) }))
}

/// Everything that a stream makes, some lines at a time. It is asked for more only as fast as the answer is read, and dropped
/// where nobody reads it any more.
pub(super) fn flow<T: Serialize>(lines: impl Stream<Item = Vec<T>> + Send + 'static) -> Response {
    let text = lines.map(|lines| {
        let mut text = Vec::new();
        for line in lines {
            text.extend(serde_json::to_vec(&line).unwrap_or_default());
            text.push(b'\n');
        }
        Ok::<_, Infallible>(Bytes::from(text))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(text)).into_response()
}
