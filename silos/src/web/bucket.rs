//! A silo in a bucket, whoever keeps it: the trait in terms of one signed request at a time.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, ETAG};
use reqwest::Response;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::limits::MAX_EXTENT;
use crate::marker::{Claim, MARKER, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored, Validator, When};
use crate::span;
use crate::web::answer::{Failure, header, whole};
use crate::web::ask::Ask;
use crate::web::client::Client;
use crate::web::put::Promises;
use crate::web::{Entry, Service, Wanted, get, probe, put};

/// It answers nothing until it was claimed.
pub(crate) struct Bucket {
    client: Arc<Client>,
    known: Mutex<Known>,
}

/// What was learned of the bucket since the process began.
#[derive(Default, Clone)]
pub(crate) struct Known {
    pub(crate) marker: Option<Marker>,
    pub(crate) promises: Promises,
}

impl Bucket {
    /// A silo in a service's bucket; touches nothing.
    pub(crate) fn new(service: Box<dyn Service>) -> Result<Self, String> {
        Ok(Self { client: Arc::new(Client::new(service)?), known: Mutex::default() })
    }

    #[cfg(test)]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn with_known<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known, once the silo was claimed.
    pub(crate) fn claimed(&self) -> Result<(Marker, Promises), SiloError> {
        let known = self.with_known(|known| known.clone());
        let marker = known.marker.ok_or_else(|| SiloError::not_done("the silo was not claimed"))?;
        Ok((marker, known.promises))
    }

    fn blobs(&self) -> String {
        format!("{}blobs/", self.client.prefix())
    }

    fn key(&self, name: &BlobName) -> String {
        format!("{}{name}", self.blobs())
    }

    fn marker_key(&self) -> String {
        format!("{}{MARKER}", self.client.prefix())
    }

    async fn head(&self, name: &BlobName) -> Result<Response, SiloError> {
        self.claimed()?;
        let answer = self.client.look(&Ask::new(Method::HEAD, &self.key(name))).await;
        match answer.map_err(Failure::reading) {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// The one version of a blob, where the bucket keeps versions and there is one.
    async fn version(&self, name: &BlobName) -> Result<Option<String>, SiloError> {
        match self.head(name).await {
            Ok(answer) => Ok(self.client.words().version(answer.headers()).map(str::to_owned)),
            Err(SiloError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Bytes of ours are missing only where our marker is not.
    async fn explain(&self, error: SiloError) -> SiloError {
        if error != SiloError::Missing {
            return error;
        }
        match (self.read_marker().await, self.claimed()) {
            (Ok(Some(found)), Ok((ours, _))) if found == ours => error,
            (Err(unread), _) => unread,
            _ => SiloError::not_done("the silo's marker is gone from its bucket"),
        }
    }

    async fn deleted(&self, answer: Result<Response, Failure>) -> Result<(), SiloError> {
        match answer {
            Ok(_) => Ok(()),
            // Some servers say that there was nothing; the bucket itself may be what is gone.
            Err(failure) if failure.status() == Some(404) => match self.explain(failure.reading()).await {
                SiloError::Missing => Ok(()),
                error => Err(error),
            },
            Err(failure) => Err(failure.writing()),
        }
    }

    async fn read_marker(&self) -> Result<Option<Marker>, SiloError> {
        let answer = match self.client.look(&Ask::new(Method::GET, &self.marker_key())).await.map_err(Failure::reading)
        {
            Ok(answer) => answer,
            Err(SiloError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let text = whole(answer).await.map_err(SiloError::not_done)?;
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|error| SiloError::not_done(format!("`{MARKER}` is damaged: {error}")))
    }

    /// Writes a marker where there is none. Whoever wrote last where conditions are ignored is found by reading again.
    async fn write_marker(&self, marker: &Marker) -> Result<(), SiloError> {
        let text = serde_json::to_vec_pretty(marker).map_err(SiloError::not_done)?;
        let words = self.client.words();
        let ask = Ask::new(Method::PUT, &self.marker_key()).header(CONTENT_TYPE, "application/json").headers(words.put);
        let exclusive = words.exclusive(ask.clone());
        match self.client.send(&exclusive, Bytes::from(text.clone())).await {
            Ok(_) => Ok(()),
            Err(failure) if matches!(failure.status(), Some(409 | 412)) => Ok(()),
            Err(failure) if failure.is_refusal() => {
                self.client.send(&ask, Bytes::from(text)).await.map(drop).map_err(Failure::writing)
            }
            Err(failure) => Err(failure.writing()),
        }
    }

    async fn is_empty(&self) -> Result<bool, SiloError> {
        let wanted = Wanted { base: self.client.prefix(), prefix: "", after: None, limit: 1, restored: false };
        Ok(self.client.service.list(&self.client, wanted).await?.is_empty())
    }
}

#[async_trait]
impl Silo for Bucket {
    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        span::fits_extent(size, MAX_EXTENT)?;
        let (_, promises) = self.claimed()?;
        let description = describe(When::BeforeBody);
        put::put(&self.client, &self.key(name), size, Exact::new(body, size), &description, promises).await
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.claimed()?;
        match get::read(Arc::clone(&self.client), self.key(name), name, size, range).await {
            Ok(pieces) => Ok(pieces),
            Err(error) => Err(self.explain(error).await),
        }
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        let answer = self.head(name).await?;
        let validator = Validator(header(answer.headers(), ETAG.as_str()).unwrap_or_default().to_owned());
        Ok(Stat { size: get::length(&answer)?, validator })
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        let answer = self.head(name).await?;
        let text = header(answer.headers(), self.client.words().description.as_str()).unwrap_or_default();
        BASE64_STANDARD.decode(text).map_err(|_| SiloError::mismatch("the object's description is damaged"))
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        let (_, promises) = self.claimed()?;
        let words = self.client.words();
        let plain = Ask::new(Method::DELETE, &self.key(name)).headers(words.delete);
        let version = if promises.versioned { self.version(name).await? } else { None };
        if let Some(version) = version {
            match self.client.send(&words.of_version(plain.clone(), &version), Bytes::new()).await {
                // Who may not delete versions may still hide one.
                Err(failure) if failure.status() == Some(403) => {}
                answer => return self.deleted(answer).await,
            }
        }
        self.deleted(self.client.send(&plain, Bytes::new()).await).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        self.claimed()?;
        let (base, limit) = (self.blobs(), span::page(limit));
        if limit == 0 {
            return Ok(Vec::new());
        }
        let wanted = Wanted { base: &base, prefix, after, limit, restored: false };
        let found = self.client.service.list(&self.client, wanted).await?;
        // An empty page says that nothing is left, which only a silo that is still there may say.
        if found.is_empty() {
            return match self.explain(SiloError::Missing).await {
                SiloError::Missing => Ok(Vec::new()),
                error => Err(error),
            };
        }
        Ok(found.iter().map(listed).collect())
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        let found = match self.read_marker().await? {
            Some(found) => found,
            None if !claim.fresh => return Err(Claim::refuse_unmarked()),
            None if !self.is_empty().await? => return Err(Claim::refuse_strangers()),
            None => {
                self.write_marker(&claim.marker).await?;
                self.read_marker().await?.ok_or_else(Claim::refuse_unmarked)?
            }
        };
        claim.check(&found)?;
        self.with_known(|known| known.marker = Some(found));
        Ok(())
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        self.read_marker().await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.claimed()?;
        let (facts, promises) = probe::probe(&self.client).await?;
        self.with_known(|known| known.promises = promises);
        Ok(facts)
    }

    fn recall(&self, facts: &Facts) {
        self.with_known(|known| known.promises = Promises::of(facts));
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        Ok(None)
    }
}

fn listed(entry: &Entry) -> Listed {
    Listed { name: String::from_utf8_lossy(&entry.name).into_owned(), stored: entry.size }
}
