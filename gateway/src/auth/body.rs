//! The body of a verified request as it is read: paced, counted, hashed or taken out of its chunks.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt, stream};
use holdall_silos::BodyError;
use http_body::Body;
use sha2::{Digest, Sha256};

use super::VerifiedBody;
use super::chunked::Decoder;
use crate::error::{Code, S3Error};
use crate::limits::BODY_PATIENCE;
use crate::serve::pace::Pace;

/// How the bytes are checked.
pub(super) enum Form {
    /// They are only counted.
    Plain,
    /// Their SHA-256 must be this one.
    Hashed([u8; 32]),
    /// They come in chunks; these trailing headers are announced.
    Chunked(Box<Decoder>),
}

/// Wraps a body so that it ends without an error only if everything was right.
pub(super) fn checked<B>(
    body: B,
    form: Form,
    size: Option<u64>,
    announced: Vec<String>,
) -> Result<VerifiedBody, S3Error>
where
    B: Body<Data: Send> + Send + Unpin + 'static,
{
    let failure = Arc::new(OnceLock::new());
    let trailer = Arc::new(OnceLock::new());
    let check = match form {
        Form::Chunked(decoder) => Check::Chunked(decoder),
        Form::Plain => Check::Plain,
        Form::Hashed(wanted) => Check::Hashed { hash: Sha256::new(), wanted },
    };
    let mut reader = Reader {
        body,
        check,
        size,
        seen: 0,
        pace: Pace::new(BODY_PATIENCE),
        ended: false,
        failure: failure.clone(),
        trailer: trailer.clone(),
    };
    // Most requests have no body: what is wrong with nothing is known at once.
    let empty = reader.body.is_end_stream() && !matches!(reader.check, Check::Chunked(_));
    let stream = if empty {
        reader.finish()?;
        stream::empty().boxed()
    } else {
        reader.boxed()
    };
    Ok(VerifiedBody { stream, size, failure, trailer, announced })
}

enum Check {
    Plain,
    Hashed { hash: Sha256, wanted: [u8; 32] },
    Chunked(Box<Decoder>),
}

struct Reader<B> {
    body: B,
    check: Check,
    size: Option<u64>,
    /// Bytes given out.
    seen: u64,
    pace: Pace,
    ended: bool,
    failure: Arc<OnceLock<S3Error>>,
    trailer: Arc<OnceLock<Vec<(String, String)>>>,
}

impl<B: Body + Unpin> Reader<B> {
    /// The next bytes; `None` at a good end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, S3Error>> {
        loop {
            if let Check::Chunked(decoder) = &mut self.check
                && let Some(piece) = decoder.pop()
            {
                return Poll::Ready(Ok(Some(piece)));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(Code::IncompleteBody.into())),
                Poll::Ready(None) => return Poll::Ready(self.finish().map(|()| None)),
                Poll::Pending => {
                    let exhausted = self.pace.poll_exhausted(cx);
                    return exhausted.map(|()| Err(Code::RequestTimeout.into()));
                }
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let data = data.copy_to_bytes(data.remaining());
            self.pace.moved(data.len());
            match &mut self.check {
                Check::Plain => {}
                Check::Hashed { hash, .. } => hash.update(&data),
                Check::Chunked(decoder) => {
                    decoder.push(data)?;
                    continue;
                }
            }
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }

    /// What must hold at the end.
    fn finish(&mut self) -> Result<(), S3Error> {
        let trailer = match &mut self.check {
            Check::Chunked(decoder) => decoder.finish()?,
            Check::Plain | Check::Hashed { .. } if self.size.is_some_and(|size| size != self.seen) => {
                return Err(Code::IncompleteBody.into());
            }
            Check::Hashed { hash, wanted } => {
                if hash.finalize_reset().as_slice() != wanted {
                    return Err(Code::XAmzContentSHA256Mismatch.into());
                }
                Vec::new()
            }
            Check::Plain => Vec::new(),
        };
        // Nobody else sets it.
        let _ = self.trailer.set(trailer);
        Ok(())
    }
}

impl<B: Body + Unpin> Stream for Reader<B> {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.poll_bytes(cx).map(|next| match next {
            Ok(Some(piece)) => {
                self.seen += piece.len() as u64;
                Some(Ok(piece))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(error) => {
                self.ended = true;
                let reason = error.to_string();
                let _ = self.failure.set(error);
                Some(Err(BodyError { reason }))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;

    #[tokio::test]
    async fn n1_a_client_that_stops_sending_is_told_so() {
        let first = Bytes::from_static(b"ab");
        let frames = stream::iter([Ok::<_, Infallible>(Frame::data(first.clone()))]).chain(stream::pending());
        let failure = Arc::new(OnceLock::new());
        let mut reader = Reader {
            body: StreamBody::new(frames),
            check: Check::Plain,
            size: Some(3),
            seen: 0,
            pace: Pace::new(Duration::from_millis(1)),
            ended: false,
            failure: failure.clone(),
            trailer: Arc::default(),
        };
        assert_eq!(reader.next().await, Some(Ok(first)));
        assert!(reader.next().await.is_some_and(|piece| piece.is_err()));
        assert_eq!(reader.next().await, None);
        assert_eq!(failure.get(), Some(&S3Error::new(Code::RequestTimeout)));
    }
}
