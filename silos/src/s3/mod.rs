//! Buckets behind S3's API, anybody's.
//!
//! [PutObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html),
//! [GetObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html),
//! [HeadObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html),
//! [DeleteObject](https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObject.html),
//! [GetObjectTagging](https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObjectTagging.html),
//! [ListObjectsV2](https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).

mod connect;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use crc_fast::CrcAlgorithm;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderName, Method};
use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::HttpRequest;
use serde::Deserialize;

use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::facts::KEEPS_VERSIONS;
use crate::web::{
    Ask, Checksum, Client, Codes, Echo, Entry, KnownBy, Learned, Others, Place, Service, Version, Wanted, Words,
    crc32c, header, keys, no_credentials, whole, xml,
};

pub(crate) use connect::credentials;

pub(crate) static WORDS: Words = Words {
    family: "s3",
    codes: Codes {
        header: None,
        throttled: &[
            "SlowDown",
            "SlowDownRead",
            "SlowDownWrite",
            "TooManyRequests",
            "RequestLimitExceeded",
            "Throttling",
        ],
        full: &["InsufficientStorage", "XMinioStorageFull", "QuotaExceeded", "StorageFull", "InsufficientCapacity"],
        missing: &["NoSuchKey", "NotFound"],
        archived: &["InvalidObjectState"],
        taken: &[(412, None)],
    },
    put: &[],
    delete: &[],
    description: HeaderName::from_static("x-amz-meta-holdall"),
    exclusive: (IF_NONE_MATCH, "*"),
    exclusive_shown: "If-None-Match",
    checksum: Checksum { header: HeaderName::from_static("x-amz-checksum-crc32c"), of: crc32c },
    echo: Echo {
        algorithm: CrcAlgorithm::Crc64Nvme,
        spell: |checksum| BASE64_STANDARD.encode(checksum.to_be_bytes()),
        read: |answer| header(answer, "x-amz-checksum-crc64nvme").map(str::to_owned),
    },
    version: Some(Version { header: "x-amz-version-id", query: "versionId" }),
    no_etag: "\"00000000000000000000000000000000\"",
    others: Others {
        known_by: KnownBy::ETag,
        files: false,
        read: &[],
        user: "x-amz-meta-",
        class: "x-amz-storage-class",
        usual: "STANDARD",
        tags: Some(("x-amz-tagging-count", ("tagging", ""))),
        archived: &["GLACIER", "DEEP_ARCHIVE"],
        restored,
    },
};

/// What was restored is a copy that stays for a while; intelligent tiering archives whatever the class says.
fn restored(answer: &HeaderMap) -> Option<bool> {
    if let Some(status) = header(answer, "x-amz-restore") {
        return Some(status.contains("ongoing-request=\"false\""));
    }
    header(answer, "x-amz-archive-status").map(|_| false)
}

/// The bucket an S3 address names; touches nothing.
pub(crate) fn service(address: &Address, credentials: &Credentials) -> Result<Box<dyn Service>, String> {
    let (place, region) = connect::place(address)?;
    let credentials = connect::credentials(credentials, &region)?;
    let is_aws = matches!(address, Address::S3 { endpoint: None, .. });
    Ok(Box::new(S3 { place, region, is_aws, credentials }))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreStatus.html>
const RESTORED: &[(&str, &str)] = &[("x-amz-optional-object-attributes", "RestoreStatus")];

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetBucketAcl.html>
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Acl {
    owner: Owner,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(rename = "ID", default)]
    id: String,
}

struct S3 {
    place: Place,
    region: String,
    /// Nobody else is known to take every header of AWS's.
    is_aws: bool,
    credentials: AwsCredentialProvider,
}

#[async_trait]
impl Service for S3 {
    fn words(&self) -> &'static Words {
        &WORDS
    }

    fn place(&self) -> &Place {
        &self.place
    }

    async fn authorize(&self, request: &mut HttpRequest) -> Result<(), String> {
        let credential = self.credentials.get_credential().await.map_err(|error| no_credentials("AWS's", &error))?;
        let authorizer = AwsAuthorizer::new(&credential, "s3", &self.region).with_sign_payload(false);
        authorizer.try_authorize(request, None).map_err(|error| error.to_string())
    }

    async fn list(&self, client: &Client, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
        let headers = if wanted.restored && self.is_aws { RESTORED } else { &[] };
        keys::list(client, wanted, headers).await
    }

    fn begins_anywhere(&self) -> bool {
        true
    }

    /// By GetBucketAcl, which not everybody may ask and not every server answers.
    async fn owner(&self, client: &Client) -> Result<Option<String>, SiloError> {
        match client.look(&Ask::new(Method::GET, "").query("acl", "")).await {
            Ok(answer) => {
                let text = xml(&whole(answer).await.map_err(SiloError::not_done)?);
                Ok(quick_xml::de::from_str::<Acl>(&text).ok().map(|acl| acl.owner.id).filter(|id| !id.is_empty()))
            }
            Err(failure) if failure.is_refusal() => Ok(None),
            Err(failure) => Err(failure.reading()),
        }
    }

    async fn learn(&self, _client: &Client, _key: &str, answer: &HeaderMap) -> Result<Learned, SiloError> {
        let versioned = WORDS.version(answer).is_some();
        let note = versioned.then(|| format!("{KEEPS_VERSIONS}blobs are deleted by version"));
        Ok(Learned { versioned, notes: note.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests;
