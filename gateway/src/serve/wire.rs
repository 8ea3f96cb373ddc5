//! A client's byte stream with manners: a reader that stalls is cut off, and a close lets the last answer arrive.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::seats::Seat;
use crate::limits::{ANSWER_PATIENCE, LINGER, LINGER_BYTES};
use crate::serve::pace::Pace;

/// The stream below a connection.
pub(super) struct Wire<T> {
    inner: T,
    seat: Arc<Seat>,
    pace: Pace,
    closing: Closing,
}

enum Closing {
    Not,
    /// Our side is closed; the rest of what the client sends is read away.
    Lingering {
        until: Pin<Box<Sleep>>,
        bytes: usize,
    },
    Done,
}

impl<T> Wire<T> {
    pub(super) fn new(inner: T, seat: Arc<Seat>) -> Self {
        Self { inner, seat, pace: Pace::new(ANSWER_PATIENCE), closing: Closing::Not }
    }

    fn paced(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(bytes)) => {
                self.pace.moved(bytes);
                Poll::Ready(Ok(bytes))
            }
            Poll::Pending => match self.pace.poll_exhausted(cx) {
                Poll::Ready(()) => {
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
                }
                Poll::Pending => Poll::Pending,
            },
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.paced(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.paced(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Closing::Not = this.closing {
            ready!(Pin::new(&mut this.inner).poll_shutdown(cx))?;
            this.closing = Closing::Lingering { until: Box::pin(tokio::time::sleep(LINGER)), bytes: 0 };
        }
        let Closing::Lingering { until, bytes } = &mut this.closing else { return Poll::Ready(Ok(())) };
        let mut scrap = [0u8; 8 << 10];
        while *bytes < LINGER_BYTES {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => *bytes += buf.filled().len(),
                Poll::Ready(_) => break,
                // Clients that pool connections notice a close only at their next use: do not wait for those.
                Poll::Pending if this.seat.is_draining() && *bytes == 0 => break,
                Poll::Pending => {
                    ready!(until.as_mut().poll(cx));
                    break;
                }
            }
        }
        this.closing = Closing::Done;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::serve::seats::Seats;

    #[tokio::test]
    async fn n1_a_client_that_takes_nothing_is_cut_off() {
        let (near, _far) = tokio::io::duplex(16);
        let mut wire = Wire::new(near, Seats::new().sit().seat.clone());
        wire.pace = Pace::new(Duration::from_millis(1));
        let failed = wire.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_close_reads_away_what_the_client_still_sends() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let mut wire = Wire::new(near, Seats::new().sit().seat.clone());
        let client = async {
            let mut last = Vec::new();
            far.write_all(&vec![0; 1 << 20]).await.unwrap();
            far.read_to_end(&mut last).await.unwrap();
            far.shutdown().await.unwrap();
            last
        };
        let server = async {
            wire.write_all(b"refused").await.unwrap();
            wire.shutdown().await.unwrap();
        };
        let (last, ()) = tokio::join!(client, server);
        assert_eq!(last, b"refused");
    }
}
