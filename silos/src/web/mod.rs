//! Silos behind somebody's HTTP API, as far as it does not matter whose.
//!
//! ```text
//! PREFIX/holdall-silo.json        who the silo is, and whose
//! PREFIX/blobs/<name>             exactly the payload; the description in a header of metadata
//! PREFIX/probe/                   only while probing
//! ```
//!
//! A kind ([`crate::s3`], [`crate::azure`], [`crate::gcs`]) is a [`Service`]: its URLs, its signatures, its words, its
//! listing. Credentials and signatures are `object_store`'s. The requests are our own: it neither streams a single PUT nor
//! tells a 429 from a 503, and its retries would answer a write's first try with its second.

mod answer;
mod ask;
mod bucket;
mod client;
mod connection;
mod get;
mod holdings;
pub(crate) mod keys;
mod known;
mod probe;
mod put;
#[cfg(test)]
pub(crate) mod scripted;
mod words;

use async_trait::async_trait;
use http::HeaderMap;
use object_store::client::HttpRequest;

use crate::error::SiloError;

pub(crate) use answer::{Failure, causes, header, short, whole, whole_up_to, xml};
pub(crate) use ask::{Ask, Place};
pub(crate) use bucket::Bucket;
pub(crate) use client::Client;
pub(crate) use connection::{have_tls, http, is_loopback, patience};
pub(crate) use get::{length, read_of_file, read_of_others};
pub(crate) use holdings::{Shelf, etag, is_ours, looked_at, moment, nearest, settles, spell};
pub(crate) use known::KnownBy;
pub(crate) use probe::{TIME_GRAIN, server};
pub(crate) use put::{Promises, crc32c, put};
pub(crate) use words::{Checksum, Codes, Echo, Others, Version, Words};

/// What is asked of a listing: names below `base` (which no name shows) that start with `prefix` and come after `after`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) base: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    /// At least 1.
    pub(crate) limit: usize,
    /// Whether it matters which archived objects were restored; a listing tells where it can.
    pub(crate) restored: bool,
}

/// One object of a listing, as the listing tells it; what it does not tell is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Below the base, byte for byte.
    pub(crate) name: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) etag: String,
    pub(crate) generation: String,
    pub(crate) modified: String,
    /// Its storage class.
    pub(crate) class: String,
    /// Whatever its class, it can be read now.
    pub(crate) restored: bool,
}

/// What only one kind can find out while probing.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// What is deleted stays as a version, unless it is deleted by version.
    pub(crate) versioned: bool,
    /// One sentence each.
    pub(crate) notes: Vec<String>,
}

/// One kind of service.
#[async_trait]
pub(crate) trait Service: Send + Sync + 'static {
    /// How it spells what all of them have.
    fn words(&self) -> &'static Words;

    /// Where its requests go.
    fn place(&self) -> &Place;

    /// Adds a signature, which covers no body. The reason of a failure shows no secret.
    async fn authorize(&self, request: &mut HttpRequest) -> Result<(), String>;

    /// One page of names in the service's own order, which is by bytes unless it says otherwise; an empty one means the
    /// end.
    async fn list(&self, client: &Client, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError>;

    /// Whether a listing begins behind any name as fast as behind those it has shown, whether or not there is such a name.
    fn begins_anywhere(&self) -> bool {
        false
    }

    /// Who owns the bucket, where that can be told by what may read it.
    async fn owner(&self, _client: &Client) -> Result<Option<String>, SiloError> {
        Ok(None)
    }

    /// Finds out the rest with an object that the probe made under `key` and will delete; `answer` is what its PUT was
    /// answered.
    async fn learn(&self, client: &Client, key: &str, answer: &HeaderMap) -> Result<Learned, SiloError>;
}

/// Why a request cannot be signed; `whose` are the places that were looked in where the silo's declaration names none.
pub(crate) fn no_credentials(whose: &str, error: &dyn std::fmt::Display) -> String {
    format!(
        "no credentials were found (the silo's `credentials` table says where they are; without it {whose} own places are \
         searched): {error}"
    )
}
