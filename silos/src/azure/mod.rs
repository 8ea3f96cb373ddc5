//! Containers of Azure Blob Storage.
//!
//! [Put Blob](https://learn.microsoft.com/en-us/rest/api/storageservices/put-blob),
//! [Get Blob](https://learn.microsoft.com/en-us/rest/api/storageservices/get-blob),
//! [Get Blob Properties](https://learn.microsoft.com/en-us/rest/api/storageservices/get-blob-properties),
//! [Delete Blob](https://learn.microsoft.com/en-us/rest/api/storageservices/delete-blob),
//! [List Blobs](https://learn.microsoft.com/en-us/rest/api/storageservices/list-blobs),
//! [error codes](https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes).

mod connect;
mod floors;
mod list;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use md5::{Digest, Md5};
use object_store::azure::{AzureAuthorizer, AzureCredential, AzureCredentialProvider};
use object_store::client::HttpRequest;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::web::{
    Ask, Checksum, Client, Codes, Echo, Entry, Failure, KnownBy, Learned, Others, Place, Service, Wanted, Words,
    header, is_loopback, no_credentials,
};
use floors::Floors;

/// The version of the API that is spoken: <https://learn.microsoft.com/en-us/rest/api/storageservices/versioning-for-the-azure-storage-services>
const VERSION: HeaderValue = HeaderValue::from_static("2023-11-03");

pub(crate) static WORDS: Words = Words {
    family: "azure",
    codes: Codes {
        header: Some("x-ms-error-code"),
        throttled: &["ServerBusy"],
        full: &[],
        missing: &["BlobNotFound"],
        archived: &["BlobArchived", "BlobBeingRehydrated"],
        taken: &[(409, Some("BlobAlreadyExists")), (412, Some("ConditionNotMet"))],
    },
    put: &[("x-ms-blob-type", "BlockBlob")],
    // Whoever took a snapshot of a blob of ours: the blob could not be deleted without.
    delete: &[("x-ms-delete-snapshots", "include")],
    description: HeaderName::from_static("x-ms-meta-holdall"),
    exclusive: (IF_NONE_MATCH, "*"),
    exclusive_shown: "If-None-Match",
    checksum: Checksum {
        header: HeaderName::from_static("content-md5"),
        of: |bytes| BASE64_STANDARD.encode(Md5::digest(bytes)),
    },
    echo: Echo {
        // The same polynomial, but the least significant byte is written first.
        algorithm: CrcAlgorithm::Crc64Nvme,
        spell: |checksum| BASE64_STANDARD.encode(checksum.to_le_bytes()),
        read: |answer| header(answer, "x-ms-content-crc64").map(str::to_owned),
    },
    // The current version is not deleted by its name but by the blob's.
    version: None,
    no_etag: "\"0x8D0000000000000\"",
    others: Others {
        known_by: KnownBy::ETag,
        files: false,
        read: &[],
        user: "x-ms-meta-",
        class: "x-ms-access-tier",
        usual: "Hot",
        // https://learn.microsoft.com/rest/api/storageservices/get-blob-tags
        tags: Some(("x-ms-tag-count", ("comp", "tags"))),
        // A blob that is being restored has this tier until it is.
        archived: &["Archive"],
        restored: |_| None,
    },
};

/// The container an Azure address names; touches nothing.
pub(crate) fn service(address: &Address, credentials: &Credentials) -> Result<Box<dyn Service>, String> {
    let (place, account) = connect::place(address)?;
    let credentials = connect::credentials(credentials, &account)?;
    Ok(Box::new(Azure { place, account, credentials, floors: Floors::default() }))
}

struct Azure {
    place: Place,
    account: String,
    credentials: AzureCredentialProvider,
    floors: Floors,
}

impl Azure {
    /// A key signs and stays here; tokens travel.
    fn may_travel(&self, credential: &AzureCredential) -> bool {
        let encrypted = self.place.base.starts_with("https://") || is_loopback(&self.place.base);
        encrypted || matches!(credential, AzureCredential::AccessKey(_))
    }
}

#[async_trait]
impl Service for Azure {
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn place(&self) -> &Place {
        &self.place
    }

    async fn authorize(&self, request: &mut HttpRequest) -> Result<(), String> {
        let credential = self.credentials.get_credential().await.map_err(|error| no_credentials("Azure's", &error))?;
        if !self.may_travel(&credential) {
            return Err("a token is not sent unencrypted: the endpoint has to be `https://`".to_owned());
        }
        request.headers_mut().insert("x-ms-version", VERSION);
        let authorizer = AzureAuthorizer::new(&credential, &self.account);
        authorizer.try_authorize(request).map_err(|error| error.to_string())
    }

    async fn list(&self, client: &Client, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
        list::list(client, &self.floors, wanted).await
    }

    async fn learn(&self, client: &Client, key: &str, answer: &HeaderMap) -> Result<Learned, SiloError> {
        let ask = Ask::new(Method::DELETE, key).headers(WORDS.delete);
        let deleted = client.send(&ask, Bytes::new()).await.map_err(Failure::writing)?;
        let mut notes = Vec::new();
        if header(answer, "x-ms-version-id").is_some() {
            notes.push("the container keeps versions: what was deleted takes room until its versions go".to_owned());
        }
        if header(deleted.headers(), "x-ms-delete-type-permanent") == Some("false") {
            notes.push("what was deleted is kept for a while (soft delete) and takes room".to_owned());
        }
        Ok(Learned { versioned: false, notes })
    }
}

#[cfg(test)]
mod tests;
