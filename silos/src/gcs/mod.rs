//! Buckets of Google Cloud Storage, by its XML API.
//!
//! [PUT Object](https://cloud.google.com/storage/docs/xml-api/put-object),
//! [GET Object](https://cloud.google.com/storage/docs/xml-api/get-object-download),
//! [HEAD Object](https://cloud.google.com/storage/docs/xml-api/head-object),
//! [DELETE Object](https://cloud.google.com/storage/docs/xml-api/delete-object),
//! [List Objects](https://cloud.google.com/storage/docs/xml-api/get-bucket-list),
//! [headers](https://cloud.google.com/storage/docs/xml-api/reference-headers).

mod connect;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use object_store::client::HttpRequest;
use object_store::gcp::GcpCredentialProvider;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::facts::KEEPS_VERSIONS;
use crate::web::{
    Ask, Checksum, Client, Codes, Echo, Entry, Failure, KnownBy, Learned, Others, Place, Service, Version, Wanted,
    Words, crc32c, keys, no_credentials,
};

pub(crate) static WORDS: Words = Words {
    family: "gs",
    codes: Codes {
        header: None,
        throttled: &["SlowDown"],
        full: &[],
        missing: &["NoSuchKey"],
        archived: &[],
        taken: &[(412, None)],
    },
    put: &[],
    delete: &[],
    description: HeaderName::from_static("x-goog-meta-holdall"),
    // Generation 0 is that of an object that is not there.
    exclusive: (HeaderName::from_static("x-goog-if-generation-match"), "0"),
    exclusive_shown: "x-goog-if-generation-match",
    checksum: Checksum { header: HASH, of: |bytes| format!("crc32c={}", crc32c(bytes)) },
    echo: Echo {
        algorithm: CrcAlgorithm::Crc32Iscsi,
        spell: |checksum| BASE64_STANDARD.encode((checksum as u32).to_be_bytes()),
        read: echoed,
    },
    version: Some(Version { header: "x-goog-generation", query: "generation" }),
    no_etag: "\"00000000000000000000000000000000\"",
    others: Others {
        known_by: KnownBy::Generation { answer: "x-goog-generation", condition: "x-goog-if-generation-match" },
        files: false,
        // What is stored compressed would be sent as something else, of another length:
        // https://cloud.google.com/storage/docs/transcoding
        read: &[("accept-encoding", "gzip")],
        user: "x-goog-meta-",
        class: "x-goog-storage-class",
        usual: "STANDARD",
        tags: None,
        // Of the class ARCHIVE everything is read at once.
        archived: &[],
        restored: |_| None,
    },
};

const HASH: HeaderName = HeaderName::from_static("x-goog-hash");

/// `crc32c=n03x6A==,md5=…`, in one header or in two.
fn echoed(answer: &HeaderMap) -> Option<String> {
    let texts = answer.get_all(HASH).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).find_map(|part| part.trim().strip_prefix("crc32c=").map(str::to_owned))
}

/// The bucket a `gs:` address names; touches nothing.
pub(crate) fn service(address: &Address, credentials: &Credentials) -> Result<Box<dyn Service>, String> {
    let place = connect::place(address)?;
    let credentials = connect::credentials(credentials, &place)?;
    Ok(Box::new(Gcs { place, credentials }))
}

struct Gcs {
    place: Place,
    /// None where requests go unsigned.
    credentials: Option<GcpCredentialProvider>,
}

#[async_trait]
impl Service for Gcs {
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn place(&self) -> &Place {
        &self.place
    }

    async fn authorize(&self, request: &mut HttpRequest) -> Result<(), String> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let credential = credentials.get_credential().await.map_err(|error| no_credentials("Google's", &error))?;
        // So says a service account's file that is meant for an emulator.
        if credential.bearer.is_empty() {
            return Ok(());
        }
        let token = HeaderValue::from_str(&format!("Bearer {}", credential.bearer));
        let mut token = token.map_err(|_| "the token that was found is none".to_owned())?;
        token.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, token);
        Ok(())
    }

    async fn list(&self, client: &Client, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
        keys::list(client, wanted, &[]).await
    }

    fn begins_anywhere(&self) -> bool {
        true
    }

    /// Every answer names a generation; whether a deleted one stays is seen by deleting.
    async fn learn(&self, client: &Client, key: &str, answer: &HeaderMap) -> Result<Learned, SiloError> {
        let Some(generation) = WORDS.version(answer) else { return Ok(Learned::default()) };
        client.send(&Ask::new(Method::DELETE, key), Bytes::new()).await.map_err(Failure::writing)?;
        let ask = WORDS.of_version(Ask::new(Method::HEAD, key), generation);
        match client.look(&ask).await.map_err(Failure::reading) {
            Ok(_) => {
                let note = format!("{KEEPS_VERSIONS}blobs are deleted by generation");
                Ok(Learned { versioned: true, notes: vec![note] })
            }
            Err(SiloError::Missing) => Ok(Learned::default()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
