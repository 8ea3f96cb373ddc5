//! Reading a blob: one GET that goes on where it broke off, in bounded memory.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use crate::buffer::Buffer;
use crate::error::SiloError;
use crate::limits::{MAX_SETTLING, READ_TRIES, STALL_TIMEOUT};
use crate::name::BlobName;
use crate::silo::Pieces;
use crate::span::{self, Blocks, Length};
use crate::web::answer::{Failure, header};
use crate::web::ask::Ask;
use crate::web::client::Client;
use crate::web::holdings::unsettled;
use crate::web::known::{KnownBy, bare};
use crate::web::words::Others;

/// What our own objects are known by, however a kind tells those of others apart.
static OURS: KnownBy = KnownBy::ETag;

/// Opens a range of a blob; `size` is what the index knows.
pub(crate) async fn read(
    client: Arc<Client>,
    key: String,
    name: &BlobName,
    size: u64,
    range: Range<u64>,
) -> Result<Pieces, SiloError> {
    let blocks = span::blocks(size, range.clone())?;
    let whole = range == (0..size) && !name.is_pack();
    Download::new(client, key, Length::of(name, size), whole, range).pieces(blocks).await
}

/// Opens a range of an object of `size` bytes that others put, as long as it is known by `known`.
pub(crate) async fn read_of_others(
    client: Arc<Client>,
    key: String,
    size: u64,
    known: &str,
    range: Range<u64>,
) -> Result<Pieces, SiloError> {
    let blocks = span::blocks(size, range.clone())?;
    let others = &client.words().others;
    let mut download = Download::new(client, key, Length::Exactly(size), range == (0..size), range);
    download.known = Some(others.known_by.spell(known));
    download.others = Some(others);
    download.confirms = others.files;
    download.pieces(blocks).await
}

/// Opens a range of a file of `length` bytes that nobody writes to any more, as long as it is known by `known`.
pub(crate) async fn read_of_file(
    client: Arc<Client>,
    key: String,
    length: u64,
    known: String,
    range: Range<u64>,
) -> Result<Pieces, SiloError> {
    let blocks = span::blocks(length, range.clone())?;
    let others = &client.words().others;
    let mut download = Download::new(client, key, Length::Exactly(length), range == (0..length), range);
    download.known = Some(known);
    download.others = Some(others);
    download.pieces(blocks).await
}

struct Download {
    client: Arc<Client>,
    key: String,
    length: Length,
    /// What was opened first, or has to be; every later part has to be of the same.
    known: Option<String>,
    /// It is an object that others put.
    others: Option<&'static Others>,
    /// It may be written to while it is sent.
    confirms: bool,
    /// Nothing was left out: no range is asked for, which also works for no bytes at all. Of a pack more may be stored.
    whole: bool,
    at: u64,
    end: u64,
    answer: Option<Response>,
    /// Received and not yet handed on.
    rest: Bytes,
    tries: u32,
}

/// How long is between the looks at a file that was changed just now.
const GLANCE: Duration = Duration::from_millis(500);

impl Download {
    fn new(client: Arc<Client>, key: String, length: Length, whole: bool, range: Range<u64>) -> Self {
        Self {
            client,
            key,
            length,
            known: None,
            others: None,
            confirms: false,
            whole,
            at: range.start,
            end: range.end,
            answer: None,
            rest: Bytes::new(),
            tries: READ_TRIES,
        }
    }

    /// What was asked for, as it comes; the first answer is here before this returns.
    async fn pieces(mut self, blocks: Blocks) -> Result<Pieces, SiloError> {
        self.open().await?;
        let pieces = stream::try_unfold((self, blocks), |(mut download, mut blocks)| async move {
            let Some(block) = blocks.next() else { return Ok(None) };
            let piece = download.take((block.end - block.start) as usize).await?;
            if blocks.clone().next().is_none() {
                download.confirm().await?;
            }
            Ok(Some((piece, (download, blocks))))
        });
        Ok(pieces.boxed())
    }

    /// Asks for what is left.
    async fn open(&mut self) -> Result<(), SiloError> {
        let empty = self.at == self.end && !self.whole;
        let method = if empty { Method::HEAD } else { Method::GET };
        let mut ask = Ask::new(method, &self.key);
        if !self.whole && !empty {
            ask = ask.header(RANGE, &format!("bytes={}-{}", self.at, self.end - 1));
        }
        if let Some(known) = &self.known {
            ask = self.known_by().only(ask, known);
        }
        let answer = match self.others {
            Some(others) => self.client.look(&ask.headers(others.read)).await.map_err(Failure::reading_of_others)?,
            None => self.client.look(&ask).await.map_err(Failure::reading)?,
        };
        self.check_known(&answer)?;
        if empty || self.whole {
            self.length.check(length(&answer)?)?;
        } else {
            self.check_range(&answer)?;
        }
        self.known = self.known.take().or_else(|| self.known_by().of_answer(answer.headers()).map(Cow::into_owned));
        self.answer = (!empty).then_some(answer);
        Ok(())
    }

    /// A file may be written to while it is sent, which no header of the answer tells: it has to be the same behind the last
    /// byte, at a time from which on every change shows.
    async fn confirm(&self) -> Result<(), SiloError> {
        let Some(others) = self.others.filter(|_| self.confirms) else { return Ok(()) };
        let mut waited = Duration::ZERO;
        loop {
            let ask = Ask::new(Method::HEAD, &self.key).headers(others.read);
            let answer = self.client.look(&ask).await.map_err(Failure::reading_of_others)?;
            self.check_known(&answer)?;
            // Apache tells the length of an empty file to a GET alone.
            match length(&answer) {
                Err(_) if self.length == Length::Exactly(0) => {}
                found => self.length.check(found?)?,
            }
            if !unsettled(answer.headers()) || waited >= MAX_SETTLING {
                return Ok(());
            }
            tokio::time::sleep(GLANCE).await;
            waited += GLANCE;
        }
    }

    fn known_by(&self) -> &'static KnownBy {
        self.others.map_or(&OURS, |others| &others.known_by)
    }

    /// Some servers take a condition and ignore it.
    fn check_known(&self, answer: &Response) -> Result<(), SiloError> {
        let Some(known) = &self.known else { return Ok(()) };
        match self.known_by().of_answer(answer.headers()) {
            Some(found) if bare(&found) == bare(known) => Ok(()),
            Some(_) => Err(SiloError::mismatch("the object was changed")),
            None => Err(SiloError::not_done("an answer that does not say which object it is of")),
        }
    }

    fn check_range(&self, answer: &Response) -> Result<(), SiloError> {
        if answer.status() != StatusCode::PARTIAL_CONTENT {
            // The range was ignored: it is still the whole blob that tells its size, and may be all that was asked for.
            let found = length(answer)?;
            self.length.check(found)?;
            if (self.at..self.end) == (0..found) {
                return Ok(());
            }
            return Err(SiloError::not_done("the silo sends whole objects for ranges"));
        }
        let odd = || SiloError::not_done("an answer without a usable Content-Range");
        let (range, total) =
            header(answer.headers(), CONTENT_RANGE.as_str()).and_then(content_range).ok_or_else(odd)?;
        // Of too short a blob some send a range that is none.
        self.length.check(total)?;
        let range = range.ok_or_else(odd)?;
        if range != (self.at..self.end) {
            return Err(SiloError::mismatch(format!("{range:?} sent, {:?} asked for", self.at..self.end)));
        }
        Ok(())
    }

    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes, SiloError> {
        if self.rest.is_empty() {
            self.receive().await?;
        }
        if self.rest.len() >= length {
            return Ok(self.rest.split_to(length));
        }
        let mut buffer = Buffer::new(length);
        let mut filled = 0;
        while filled < length {
            if self.rest.is_empty() {
                self.receive().await?;
            }
            let part = self.rest.split_to(self.rest.len().min(length - filled));
            buffer.as_mut()[filled..filled + part.len()].copy_from_slice(&part);
            filled += part.len();
        }
        Ok(buffer.freeze())
    }

    /// Receives at least a byte more, from a new answer where the one before broke off.
    async fn receive(&mut self) -> Result<(), SiloError> {
        loop {
            match self.chunk().await {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => {
                    self.at += chunk.len() as u64;
                    self.rest = chunk;
                    return Ok(());
                }
                Err(reason) if self.tries <= 1 || self.known.is_none() => return Err(SiloError::not_done(reason)),
                Err(_) => {
                    self.tries -= 1;
                    self.whole = self.whole && self.at == 0;
                    self.open().await?;
                }
            }
        }
    }

    async fn chunk(&mut self) -> Result<Bytes, String> {
        let answer = self.answer.as_mut().ok_or("nothing was asked for")?;
        match tokio::time::timeout(STALL_TIMEOUT, answer.chunk()).await {
            Ok(Ok(Some(chunk))) if self.at + chunk.len() as u64 > self.end => {
                Err("more bytes than announced".to_owned())
            }
            Ok(Ok(Some(chunk))) => Ok(chunk),
            Ok(Ok(None)) => Err(format!("the answer ends {} bytes early", self.end - self.at)),
            Ok(Err(error)) => Err(error.without_url().to_string()),
            Err(_) => Err("the answer stalls".to_owned()),
        }
    }
}

/// The announced length, which every answer has.
pub(crate) fn length(answer: &Response) -> Result<u64, SiloError> {
    let found = header(answer.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
    found.ok_or_else(|| SiloError::not_done("an answer without a length"))
}

/// `bytes 0-9/100`: the range where it is one, and the whole length.
fn content_range(text: &str) -> Option<(Option<Range<u64>>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let read = |(first, last): (&str, &str)| Some(first.parse().ok()?..last.parse::<u64>().ok()?.checked_add(1)?);
    Some((range.split_once('-').and_then(read), total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 0-9/100"), Some((Some(0..10), 100)));
        for bad in ["bytes */7", "bytes 0-18446744073709551615/7", "bytes 0--1/7", "bytes a-b/7"] {
            assert_eq!(content_range(bad), Some((None, 7)), "{bad}");
        }
        for bad in ["", "bytes 0-9/*", "0-9/100", "bytes a-b/c"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
