//! A body that keeps its word: exactly as many bytes as were declared, or an error before the last of them.

use bytes::Bytes;
use futures_util::StreamExt;

use crate::error::BodyError;
use crate::silo::Body;

/// Hands on the pieces of a body and holds its last piece back until the body has ended without an error, so that
/// a silo that counts bytes cannot take a body for whole that was not.
pub(crate) struct Exact {
    body: Body,
    size: u64,
    seen: u64,
    ended: bool,
}

impl Exact {
    pub(crate) fn new(body: Body, size: u64) -> Self {
        Self { body, size, seen: 0, ended: false }
    }

    /// The next piece, never empty; `None` once exactly `size` bytes were handed on.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        if self.ended {
            return Ok(None);
        }
        let piece = self.pull().await?;
        let length = piece.as_ref().map_or(0, Bytes::len) as u64;
        self.seen += length;
        if self.seen > self.size {
            return Err(self.fails(format!("more than the {} bytes declared", self.size)));
        }
        if self.seen < self.size && piece.is_none() {
            return Err(self.fails(format!("ended after {} of {} bytes", self.seen, self.size)));
        }
        if self.seen == self.size {
            if piece.is_some() && self.pull().await?.is_some() {
                return Err(self.fails(format!("more than the {} bytes declared", self.size)));
            }
            self.ended = true;
        }
        Ok(piece)
    }

    /// The whole body in order, for what it is worth collecting.
    pub(crate) async fn collect(&mut self) -> Result<Vec<Bytes>, BodyError> {
        let mut pieces = Vec::new();
        while let Some(piece) = self.next().await? {
            pieces.push(piece);
        }
        Ok(pieces)
    }

    async fn pull(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self.body.next().await {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Ok(Some(piece)),
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                None => return Ok(None),
            }
        }
    }

    fn fails(&mut self, reason: String) -> BodyError {
        self.ended = true;
        BodyError { reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn check(pieces: &[Result<&'static str, &str>], size: u64, expected: Result<&str, &str>) {
        let pieces: Vec<_> = pieces
            .iter()
            .map(|piece| match piece {
                Ok(text) => Ok(Bytes::from_static(text.as_bytes())),
                Err(reason) => Err(BodyError { reason: (*reason).to_owned() }),
            })
            .collect();
        let mut exact = Exact::new(Box::pin(stream::iter(pieces)), size);
        let got = futures_util::FutureExt::now_or_never(exact.collect()).unwrap();
        match (got, expected) {
            (Ok(pieces), Ok(text)) => assert_eq!(pieces.concat(), text.as_bytes()),
            (Err(error), Err(reason)) => assert_eq!(error.reason, reason),
            (got, expected) => panic!("{got:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_body_of_the_declared_length_passes() {
        check(&[], 0, Ok(""));
        check(&[Ok(""), Ok("")], 0, Ok(""));
        check(&[Ok("ab"), Ok(""), Ok("c")], 3, Ok("abc"));
    }

    #[test]
    fn a_body_of_another_length_fails() {
        check(&[Ok("ab")], 3, Err("ended after 2 of 3 bytes"));
        check(&[Ok("ab"), Ok("cd")], 3, Err("more than the 3 bytes declared"));
        check(&[Ok("ab"), Ok("c"), Ok("d")], 3, Err("more than the 3 bytes declared"));
        check(&[Ok("a")], 0, Err("more than the 0 bytes declared"));
    }

    #[test]
    fn an_error_behind_the_last_byte_comes_before_the_last_piece() {
        let pieces = vec![Ok(Bytes::from_static(b"abc")), Err(BodyError { reason: "bad checksum".to_owned() })];
        let mut exact = Exact::new(Box::pin(stream::iter(pieces)), 3);
        let first = futures_util::FutureExt::now_or_never(exact.next()).unwrap();
        assert_eq!(first, Err(BodyError { reason: "bad checksum".to_owned() }));
    }
}
