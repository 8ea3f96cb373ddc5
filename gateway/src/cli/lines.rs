//! An answer that goes on for a while, line by line as it arrives.

use std::marker::PhantomData;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::exit::Failure;

/// A body with one JSON object a line.
pub(super) struct Lines<T> {
    body: Incoming,
    rest: Vec<u8>,
    of: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn of(body: Incoming) -> Self {
        Self { body, rest: Vec::new(), of: PhantomData }
    }

    /// The next one; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let read = serde_json::from_slice(&line);
                return read
                    .map(Some)
                    .map_err(|error| Failure::failed(format!("the gateway answered strangely: {error}")));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| Failure::failed(format!("the answer broke off: {error}")))?;
            if let Ok(data) = frame.into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }
}
