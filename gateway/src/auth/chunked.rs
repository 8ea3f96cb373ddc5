//! aws-chunked bodies, taken apart as they arrive.
//!
//! Bytes of a signed chunk come out only after its signature matched; nothing comes out beyond the announced length;
//! the end is good only after the final chunk, exactly that length, and every announced trailing header.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html>,
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html>

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};

use super::keys::SigningKey;
use super::time::Timestamp;
use crate::error::{Code, S3Error};
use crate::limits::{MAX_CHUNK_HEADER, MAX_SIGNED_CHUNK, MAX_TRAILER};

/// SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Takes pieces of a framed body in and gives its bytes out.
pub(super) struct Decoder {
    state: State,
    /// A chunk's header or the trailer, as far as it came.
    line: Vec<u8>,
    /// Pieces of the current chunk, held back until its signature matched.
    held: Vec<Bytes>,
    ready: VecDeque<Bytes>,
    signer: Option<Signer>,
    /// Bytes still to come by the announced length.
    left: u64,
    announced: Option<Vec<String>>,
}

enum State {
    /// Reading `size[;chunk-signature=…]\r\n`.
    Header,
    /// So many bytes of the chunk are still to come.
    Data(u64),
    /// The line end after the data, of which so many bytes were seen.
    DataEnd(usize),
    /// After the final chunk.
    Trailer,
}

/// Carries the chain of chunk signatures on.
pub(super) struct Signer {
    pub(super) key: SigningKey,
    pub(super) time: Timestamp,
    pub(super) scope: String,
    /// The signature before the current chunk's; at first the request's own.
    pub(super) previous: String,
    /// Of the current chunk: its hash as far as it came, and the signature that its header names.
    pub(super) hash: Sha256,
    pub(super) claimed: String,
}

impl Decoder {
    /// `announced` are the names of trailing headers, `None` when the form has none; `signer` is there when chunks are
    /// signed.
    pub(super) fn new(length: u64, announced: Option<Vec<String>>, signer: Option<Signer>) -> Self {
        Self {
            state: State::Header,
            line: Vec::new(),
            held: Vec::new(),
            ready: VecDeque::new(),
            signer,
            left: length,
            announced,
        }
    }

    /// The next piece that may be used.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        self.ready.pop_front()
    }

    /// Takes a piece of the framed body.
    pub(super) fn push(&mut self, mut piece: Bytes) -> Result<(), S3Error> {
        while !piece.is_empty() {
            match self.state {
                State::Header => self.header(&mut piece)?,
                State::Data(left) => self.data(left, &mut piece)?,
                State::DataEnd(seen) => {
                    if piece.get_u8() != b"\r\n"[seen] {
                        return Err(malformed("A chunk is longer than its header says."));
                    }
                    self.state = if seen == 0 { State::DataEnd(1) } else { State::Header };
                }
                State::Trailer => {
                    if self.line.len() + piece.len() > MAX_TRAILER {
                        return Err(Code::MalformedTrailerError.into());
                    }
                    self.line.extend_from_slice(&piece);
                    piece.clear();
                }
            }
        }
        Ok(())
    }

    /// The framed body has ended: the trailing headers, in lower case, if everything was right.
    pub(super) fn finish(&mut self) -> Result<Vec<(String, String)>, S3Error> {
        if !matches!(self.state, State::Trailer) {
            return Err(Code::IncompleteBody.into());
        }
        if self.left != 0 {
            return Err(S3Error::with(
                Code::IncompleteBody,
                "You did not provide the number of bytes specified by the x-amz-decoded-content-length HTTP header",
            ));
        }
        let (fields, signature) = trailer(&self.line)?;
        let announced = self.announced.as_deref().unwrap_or_default();
        let expected =
            fields.len() == announced.len() && announced.iter().all(|name| fields.iter().any(|f| f.0 == *name));
        if !expected || (self.announced.is_none() && signature.is_some()) {
            return Err(Code::MalformedTrailerError.into());
        }
        match (&self.signer, signature) {
            (Some(signer), Some(signature)) => signer.check_trailer(&fields, &signature)?,
            (Some(_), None) if self.announced.is_some() => return Err(Code::SignatureDoesNotMatch.into()),
            (None, Some(_)) => return Err(Code::MalformedTrailerError.into()),
            _ => {}
        }
        Ok(fields)
    }

    fn header(&mut self, piece: &mut Bytes) -> Result<(), S3Error> {
        let end = piece.iter().position(|byte| *byte == b'\n');
        let taken = piece.split_to(end.map_or(piece.len(), |end| end + 1));
        if self.line.len() + taken.len() > MAX_CHUNK_HEADER {
            return Err(malformed("A chunk's header is too long."));
        }
        self.line.extend_from_slice(&taken);
        if end.is_none() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
        let line = line.ok_or_else(|| malformed("A chunk's header is not well-formed."))?;
        let (size, extension) = line.split_once(';').map_or((line, None), |(size, rest)| (size, Some(rest)));
        let size = self.size(size)?;
        match (&mut self.signer, extension.map(|text| text.strip_prefix("chunk-signature="))) {
            (Some(signer), Some(Some(signature))) => signer.begin(signature),
            (None, None) => {}
            (Some(_), _) => return Err(malformed("A chunk has no signature.")),
            (None, Some(_)) => return Err(malformed("A chunk's header is not well-formed.")),
        }
        self.state = State::Data(size);
        if size == 0 {
            self.end_chunk()?;
            self.state = State::Trailer;
        }
        Ok(())
    }

    /// A chunk's size, within what may still come.
    fn size(&mut self, text: &str) -> Result<u64, S3Error> {
        let digits = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let size = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        let size = size.ok_or_else(|| malformed("A chunk's size is not a hexadecimal number."))?;
        if self.signer.is_some() && size > MAX_SIGNED_CHUNK {
            return Err(malformed(format!("A signed chunk has at most {MAX_SIGNED_CHUNK} bytes.")));
        }
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| malformed("The chunks are longer together than x-amz-decoded-content-length says."))?;
        Ok(size)
    }

    fn data(&mut self, left: u64, piece: &mut Bytes) -> Result<(), S3Error> {
        let now = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let data = piece.split_to(now);
        let left = left - now as u64;
        match &mut self.signer {
            Some(signer) => {
                signer.hash.update(&data);
                self.held.push(data);
            }
            None => self.ready.push_back(data),
        }
        self.state = State::Data(left);
        if left == 0 {
            self.end_chunk()?;
            self.state = State::DataEnd(0);
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), S3Error> {
        if let Some(signer) = &mut self.signer {
            signer.check_chunk()?;
            self.ready.extend(self.held.drain(..));
        }
        Ok(())
    }
}

impl Signer {
    fn begin(&mut self, signature: &str) {
        self.claimed.clear();
        self.claimed.push_str(signature);
    }

    fn check_chunk(&mut self) -> Result<(), S3Error> {
        let hash = const_hex::encode(self.hash.finalize_reset());
        let Self { key, time, scope, previous, claimed, .. } = self;
        let text = format!("AWS4-HMAC-SHA256-PAYLOAD\n{}\n{scope}\n{previous}\n{EMPTY}\n{hash}", time.text());
        if !key.confirms(&text, claimed) {
            return Err(Code::SignatureDoesNotMatch.into());
        }
        std::mem::swap(previous, claimed);
        Ok(())
    }

    fn check_trailer(&self, fields: &[(String, String)], signature: &str) -> Result<(), S3Error> {
        let mut hash = Sha256::new();
        for (name, value) in fields {
            hash.update(format!("{name}:{value}\n"));
        }
        let hash = const_hex::encode(hash.finalize());
        let Self { key, time, scope, previous, .. } = self;
        let text = format!("AWS4-HMAC-SHA256-TRAILER\n{}\n{scope}\n{previous}\n{hash}", time.text());
        if key.confirms(&text, signature) { Ok(()) } else { Err(Code::SignatureDoesNotMatch.into()) }
    }
}

type Fields = Vec<(String, String)>;

/// Trailing headers and their signature. Clients end lines with `\n`, `\r\n` and `\n\r\n`, by AWS's own examples.
fn trailer(text: &[u8]) -> Result<(Fields, Option<String>), S3Error> {
    let bad = || S3Error::new(Code::MalformedTrailerError);
    let text = std::str::from_utf8(text).map_err(|_| bad())?;
    let mut fields = Fields::new();
    let mut signature = None;
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(bad)?;
        let name = http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?.as_str().to_owned();
        let value = value.trim().to_owned();
        if signature.is_some() || fields.iter().any(|(other, _)| *other == name) {
            return Err(bad());
        }
        if name == "x-amz-trailer-signature" {
            signature = Some(value);
        } else {
            fields.push((name, value));
        }
    }
    Ok((fields, signature))
}

fn malformed(message: impl Into<String>) -> S3Error {
    S3Error::with(Code::InvalidRequest, message)
}
