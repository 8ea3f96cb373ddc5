//! Writing a blob: one PUT, streamed, its length declared.
//!
//! `object_store` would keep a body in memory or send it in parts, which leave paid remains when they break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum};
use futures_util::stream;
use http::Method;
use http::header::{CONTENT_TYPE, ETAG};
use reqwest::{Body, Response};

use crate::error::{BodyError, SiloError};
use crate::exact::Exact;
use crate::facts::{Facts, KEEPS_VERSIONS, STRANGE_ECHO};
use crate::limits::{GATHERED_BODY, MAX_DESCRIPTION_BEFORE_BODY, SEND_PIECE, STALL_TIMEOUT};
use crate::silo::{Stored, Validator};
use crate::web::answer::{Broken, Failure, accept, header};
use crate::web::ask::Ask;
use crate::web::client::Client;

/// What the probe found that a PUT depends on.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, none implies another")]
pub(crate) struct Promises {
    /// A PUT that must not replace is refused where it would.
    pub(crate) exclusive: bool,
    /// A wrong checksum is refused.
    pub(crate) checksum: bool,
    /// What the silo says of the bytes it received is no checksum as we know it, and tells nothing.
    pub(crate) strange_echo: bool,
    /// The bucket keeps versions, so that a plain DELETE would free nothing.
    pub(crate) versioned: bool,
}

impl Promises {
    /// As a probe found them.
    pub(crate) fn of(facts: &Facts) -> Self {
        let noted = |note: &str| facts.notes.iter().any(|own| own.starts_with(note));
        Self {
            exclusive: facts.exclusive_create,
            checksum: facts.enforces_upload_checksum,
            strange_echo: noted(STRANGE_ECHO),
            versioned: noted(KEEPS_VERSIONS),
        }
    }
}

/// Stores a body.
pub(crate) async fn put(
    client: &Client,
    key: &str,
    size: u64,
    mut body: Exact,
    description: &[u8],
    promises: Promises,
) -> Result<Stored, SiloError> {
    let words = client.words();
    let mut ask = Ask::new(Method::PUT, key).header(CONTENT_TYPE, "application/octet-stream").headers(words.put);
    if !description.is_empty() && description.len() <= MAX_DESCRIPTION_BEFORE_BODY {
        ask = ask.header(words.description.clone(), &BASE64_STANDARD.encode(description));
    }
    if promises.exclusive {
        ask = words.exclusive(ask);
    }
    if size > GATHERED_BODY {
        return put_streamed(client, &ask, size, body, promises).await;
    }
    let whole = body.collect().await?.concat();
    if promises.checksum {
        ask = words.with_checksum(ask, &whole);
    }
    let answer = client.send(&ask, Bytes::from(whole)).await.map_err(Failure::writing)?;
    Ok(stored(&answer, size, promises.checksum))
}

/// CRC-32C in base64, the most significant byte first.
pub(crate) fn crc32c(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode((checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes())
}

async fn put_streamed(
    client: &Client,
    ask: &Ask,
    size: u64,
    body: Exact,
    promises: Promises,
) -> Result<Stored, SiloError> {
    let echo = &client.words().echo;
    let progress = Arc::new(Progress::new(echo.algorithm));
    let request = client.sign(ask, streamed(body, Arc::clone(&progress)), size).await.map_err(Failure::Broken);
    let request = request.map_err(Failure::writing)?;
    let answer = match wait(client.http.execute(request), &progress).await {
        Ok(answer) => accept(answer, &client.words().codes).await,
        Err(stalled) => Err(Failure::Broken(stalled)),
    };
    // Whatever the silo made of a body that broke off, it was the body that did.
    if let Some(error) = progress.failed() {
        return Err(SiloError::Body(error));
    }
    let answer = answer.map_err(Failure::writing)?;
    let theirs = (echo.read)(answer.headers()).filter(|_| !promises.strange_echo);
    if theirs.as_ref().is_some_and(|theirs| *theirs != (echo.spell)(progress.checksum())) {
        return Err(SiloError::mismatch("the silo's checksum of what it received is not ours"));
    }
    Ok(stored(&answer, size, promises.checksum && theirs.is_some()))
}

fn stored(answer: &Response, size: u64, checksum_enforced: bool) -> Stored {
    let validator = Validator(header(answer.headers(), ETAG.as_str()).unwrap_or_default().to_owned());
    Stored { size, validator, checksum_enforced }
}

/// How far a body came, seen from beside the connection that sends it.
struct Progress {
    pieces: AtomicU64,
    /// The next piece is awaited from the client, whose stalls are not the silo's.
    awaits_body: AtomicBool,
    state: Mutex<State>,
}

struct State {
    failed: Option<BodyError>,
    digest: Digest,
}

impl Progress {
    fn new(algorithm: CrcAlgorithm) -> Self {
        let state = State { failed: None, digest: Digest::new(algorithm) };
        Self { pieces: AtomicU64::new(0), awaits_body: AtomicBool::new(false), state: Mutex::new(state) }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self) -> Option<BodyError> {
        self.with(|state| state.failed.clone())
    }

    fn checksum(&self) -> u64 {
        self.with(|state| state.digest.finalize())
    }
}

/// Hands the body on in small pieces and keeps count.
fn streamed(body: Exact, progress: Arc<Progress>) -> Body {
    let pieces = stream::try_unfold((body, Bytes::new(), progress), |(mut body, mut rest, progress)| async move {
        if rest.is_empty() {
            progress.awaits_body.store(true, Ordering::Release);
            let next = body.next().await;
            progress.awaits_body.store(false, Ordering::Release);
            match next {
                Ok(Some(piece)) => rest = piece,
                Ok(None) => return Ok(None),
                Err(error) => {
                    progress.with(|state| state.failed = Some(error.clone()));
                    return Err(error);
                }
            }
        }
        let piece = rest.split_to(rest.len().min(SEND_PIECE));
        progress.with(|state| state.digest.update(&piece));
        progress.pieces.fetch_add(1, Ordering::AcqRel);
        Ok(Some((piece, (body, rest, progress))))
    });
    Body::wrap_stream(pieces)
}

/// Waits for the answer as long as the body moves, or it is the client that holds it up.
async fn wait<T>(answer: impl Future<Output = T>, progress: &Progress) -> Result<T, Broken> {
    let mut answer = std::pin::pin!(answer);
    loop {
        let before = progress.pieces.load(Ordering::Acquire);
        if let Ok(answer) = tokio::time::timeout(STALL_TIMEOUT, &mut answer).await {
            return Ok(answer);
        }
        let moved = progress.pieces.load(Ordering::Acquire) != before;
        if !moved && !progress.awaits_body.load(Ordering::Acquire) {
            return Err(Broken::Lost("the silo takes no more bytes, or does not answer".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        assert_eq!(crc32c(b"123456789"), "4waSgw==");
        let mut digest = Digest::new(CrcAlgorithm::Crc64Nvme);
        digest.update(b"123456789");
        assert_eq!(digest.finalize(), 0xAE8B_1486_0A79_9888);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silo_that_takes_nothing_is_given_up_and_a_slow_client_is_not() {
        let progress = Progress::new(CrcAlgorithm::Crc32Iscsi);
        let stalled = wait(std::future::pending::<()>(), &progress).await;
        assert!(matches!(stalled, Err(Broken::Lost(_))));
        progress.awaits_body.store(true, Ordering::Release);
        let patient = tokio::time::timeout(10 * STALL_TIMEOUT, wait(std::future::pending::<()>(), &progress)).await;
        assert!(patient.is_err(), "the client's own limits end this");
    }
}
