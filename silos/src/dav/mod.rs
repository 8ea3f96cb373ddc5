//! Files behind WebDAV: as a silo of our own, and as what others keep there.
//!
//! [RFC 4918](https://www.rfc-editor.org/rfc/rfc4918): PROPFIND with `Depth: 1` lists a folder, MKCOL makes one; the rest is
//! HTTP. DELETE is asked of files alone, since of a folder it takes all that is below.

mod held;
mod propfind;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::IF_MATCH;
use http::{HeaderName, Method};
use reqwest::Response;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::files::{Opened, Server};
use crate::folders::{Entry, Folders, What};
use crate::holdings::Held;
use crate::http::{Plain, head, words};
use crate::limits::{MAX_EXTENT, MAX_LIST, READ_PAUSE, READ_TRIES};
use crate::marker::MARKER;
use crate::silo::{Pieces, Space, Validator, collect};
use crate::web::{Ask, Client, Failure, Promises, TIME_GRAIN, Words, put, read_of_file, server, whole_up_to};

pub(crate) use held::Lent;

pub(crate) static WORDS: Words = words("webdav");

/// A server's files, below a path.
#[derive(Clone)]
pub(crate) struct Dav {
    client: Arc<Client>,
}

impl Dav {
    /// What the server has below an address's path; touches nothing.
    pub(crate) fn new(address: &Address, credentials: &Credentials) -> Result<Self, String> {
        let Address::Dav { origin, path } = address else { return Err("not an address of WebDAV".to_owned()) };
        Ok(Self { client: Arc::new(Client::new(Plain::new(&WORDS, origin, path, credentials)?)?) })
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.client.prefix())
    }

    /// What is said of a path, and, with `deep`, of all that lies in it, by their names in it. `Missing` where there is
    /// nothing.
    async fn find(&self, path: &str, deep: bool) -> Result<propfind::Found, SiloError> {
        let ask = self.propfind(path, deep)?;
        match self.client.look(&ask).await {
            Ok(answer) => self.found(&ask, answer, path).await,
            Err(failure) if failure.status() == Some(400) && self.leads_through_a_file(path).await? => {
                Err(SiloError::Missing)
            }
            Err(failure) => Err(failure.reading()),
        }
    }

    async fn found(&self, ask: &Ask, answer: Response, path: &str) -> Result<propfind::Found, SiloError> {
        let headers = answer.headers().clone();
        let text = whole_up_to(answer, MAX_LIST).await.map_err(SiloError::not_done)?;
        propfind::parse(&text, &headers, &self.client.service.place().url(ask), path)
    }

    /// Whether what a path takes for a folder is a file: of what would lie in that Apache says that the request is bad.
    async fn leads_through_a_file(&self, path: &str) -> Result<bool, SiloError> {
        for (slash, _) in path.match_indices('/') {
            let ask = self.propfind(&path[..slash], false)?;
            let Ok(answer) = self.client.look(&ask).await else { return Ok(false) };
            if !self.found(&ask, answer, &path[..slash]).await?.is_folder {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn propfind(&self, path: &str, deep: bool) -> Result<Ask, SiloError> {
        let depth = HeaderName::from_static("depth");
        Ok(self.ask("PROPFIND", path)?.header(depth, if deep { "1" } else { "0" }))
    }

    fn ask(&self, method: &str, path: &str) -> Result<Ask, SiloError> {
        let method = Method::from_bytes(method.as_bytes()).map_err(SiloError::not_done)?;
        Ok(Ask::new(method, &self.key(path)))
    }

    /// Everything in a folder.
    async fn list(&self, folder: &str) -> Result<Vec<Entry<Held>>, SiloError> {
        let found = self.find(folder, true).await?;
        // A file's path with a slash behind it is the file to some servers.
        if !found.is_folder {
            return Err(SiloError::Missing);
        }
        Ok(found.entries)
    }

    async fn make(&self, key: &str) -> Result<(), SiloError> {
        let ask = Ask { key: key.to_owned(), ..self.ask("MKCOL", "")? };
        match self.change(&ask).await {
            // There is one already.
            Err(failure) if failure.status() == Some(405) => Ok(()),
            answer => answer.map(drop).map_err(Failure::writing),
        }
    }

    /// Asks for a change, and again where it was refused for a moment, which is certain to have done nothing: servers lock a
    /// name as long as somebody else makes it, or has broken off writing to it.
    async fn change(&self, ask: &Ask) -> Result<Response, Failure> {
        let mut pause = READ_PAUSE;
        for _ in 1..READ_TRIES {
            match self.client.send(ask, Bytes::new()).await {
                Err(failure) if failure.status() == Some(423) => {}
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.client.send(ask, Bytes::new()).await
    }
}

#[async_trait]
impl Folders for Dav {
    type File = u64;

    async fn entries(&self, folder: &str) -> Result<Vec<Entry<u64>>, SiloError> {
        let sized = |Entry { name, what }| match what {
            What::File(Held { size, .. }) => Entry { name, what: What::File(size) },
            What::Folder => Entry { name, what: What::Folder },
            What::Refused(reason) => Entry { name, what: What::Refused(reason) },
        };
        Ok(self.list(folder).await?.into_iter().map(sized).collect())
    }
}

#[async_trait]
impl Server for Dav {
    async fn open(&self, path: &str) -> Result<Box<dyn Opened>, SiloError> {
        let (answer, length) = head(&self.client, &self.key(path)).await.map_err(Failure::reading)?;
        let length = length.ok_or_else(|| SiloError::not_done("a file without a length"))?;
        let known = WORDS.others.known_by.of_answer(&answer);
        let known = known.ok_or_else(|| SiloError::not_done("a file without a time"))?.into_owned();
        Ok(Box::new(File { client: Arc::clone(&self.client), key: self.key(path), length, known }))
    }

    async fn put(&self, path: &str, size: u64, body: Exact, exclusive: bool) -> Result<(), SiloError> {
        let promises = Promises { exclusive, ..Promises::default() };
        put(&self.client, &self.key(path), size, body, &[], promises).await.map(drop)
    }

    async fn delete(&self, path: &str) -> Result<(), SiloError> {
        match self.change(&Ask::new(Method::DELETE, &self.key(path))).await {
            Err(failure) if failure.status() == Some(404) => Err(failure.reading()),
            answer => answer.map(drop).map_err(Failure::writing),
        }
    }

    async fn make_folder(&self, path: &str) -> Result<(), SiloError> {
        if !path.is_empty() {
            return self.make(&self.key(path)).await;
        }
        let root = self.client.prefix();
        for (slash, _) in root.match_indices('/') {
            self.make(&root[..=slash]).await?;
        }
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        Ok(None)
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        let (answer, _) = head(&self.client, &self.key(MARKER)).await.map_err(Failure::reading)?;
        let other = Ask::new(Method::GET, &self.key(MARKER)).header(IF_MATCH, WORDS.no_etag);
        let conditional_read = match self.client.look(&other).await {
            Ok(_) => false,
            Err(failure) if failure.is_refusal() => failure.status() == Some(412),
            Err(failure) => return Err(failure.reading()),
        };
        Ok(Facts {
            family: WORDS.family.to_owned(),
            conditional_read,
            max_blob: MAX_EXTENT,
            time_grain_ns: TIME_GRAIN,
            kind: server(&answer).unwrap_or_else(|| WORDS.family.to_owned()),
            notes: vec!["no server says whether what it took survives a power loss".to_owned()],
            ..Facts::default()
        })
    }
}

/// A file that was found.
struct File {
    client: Arc<Client>,
    key: String,
    length: u64,
    known: String,
}

#[async_trait]
impl Opened for File {
    fn length(&self) -> u64 {
        self.length
    }

    fn validator(&self) -> Validator {
        Validator(self.known.clone())
    }

    async fn read(self: Box<Self>, range: Range<u64>) -> Result<Pieces, SiloError> {
        read_of_file(self.client, self.key, self.length, self.known, range).await
    }

    async fn peek(&self, range: Range<u64>) -> Result<Bytes, SiloError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let client = Arc::clone(&self.client);
        collect(read_of_file(client, self.key.clone(), self.length, self.known.clone(), range).await?).await
    }
}
