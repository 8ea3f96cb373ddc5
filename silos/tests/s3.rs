//! The contract on a real S3 server, and on the same one behind a proxy that strips conditions.
//!
//! `HOLDALL_TEST_S3_ENDPOINT` names the server (`http://127.0.0.1:5000`), `HOLDALL_TEST_S3_ACCESS_KEY_ID` and
//! `HOLDALL_TEST_S3_SECRET_ACCESS_KEY` who may make buckets there. Without it the tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/strip.rs"]
mod strip;

use std::path::Path;
use std::sync::Arc;

use holdall_silos::contract::{Options, contract};
use holdall_silos::{Address, Credentials, Silo, connect};
use http::header::CONTENT_LENGTH;
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use strip::strip_conditions;

/// Servers of the test suites take tens of milliseconds a request.
const OPTIONS: Options = Options { large: (3 << 20) + 5, many: 12 };

struct Server {
    endpoint: String,
    key_id: String,
    secret: String,
}

fn server(test: &str) -> Option<Server> {
    let Ok(endpoint) = std::env::var("HOLDALL_TEST_S3_ENDPOINT") else {
        eprintln!("skipped {test}: HOLDALL_TEST_S3_ENDPOINT is not set");
        return None;
    };
    let variable = |name: &str| std::env::var(name).unwrap_or("testing".to_owned());
    Some(Server {
        endpoint,
        key_id: variable("HOLDALL_TEST_S3_ACCESS_KEY_ID"),
        secret: variable("HOLDALL_TEST_S3_SECRET_ACCESS_KEY"),
    })
}

impl Server {
    /// Makes a bucket nobody else has.
    async fn bucket(&self) -> String {
        let bucket = format!("silos-{:016x}", getrandom::u64().unwrap());
        let (status, text) = self.request(http::Method::PUT, &bucket, "").await;
        assert!(status.is_success(), "making a bucket: {text}");
        bucket
    }

    /// A signed request of the test's own. The TLS provider comes with the first silo.
    async fn request(&self, method: http::Method, path: &str, body: &'static str) -> (http::StatusCode, String) {
        let _tls = self.silo("any", "", &self.endpoint);
        let mut request = HttpRequest::new(HttpRequestBody::from(body.as_bytes().to_vec()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/{path}", self.endpoint).parse().unwrap();
        let credential = AwsCredential { key_id: self.key_id.clone(), secret_key: self.secret.clone(), token: None };
        AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
        request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        let (parts, _) = request.into_parts();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body)).try_into().unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.execute(request).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn silo(&self, bucket: &str, prefix: &str, endpoint: &str) -> Arc<dyn Silo> {
        let url = format!("s3://{bucket}/{prefix}?endpoint={endpoint}");
        let credentials =
            Credentials::Keys { access_key_id: self.key_id.clone(), secret_access_key: self.secret.clone() };
        connect(&Address::parse(&url, Path::new("/")).unwrap(), &credentials).unwrap()
    }
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    let Some(server) = server("a_bucket_keeps_the_contract") else { return };
    let bucket = server.bucket().await;
    let silo = server.silo(&bucket, "", &server.endpoint);
    contract(Arc::clone(&silo), OPTIONS).await;
    eprintln!("found: {:?}", silo.probe().await.unwrap());
}

#[tokio::test]
async fn two_silos_share_a_bucket_by_prefix() {
    let Some(server) = server("two_silos_share_a_bucket_by_prefix") else { return };
    let bucket = server.bucket().await;
    let small = Options { large: 600 << 10, many: 4 };
    contract(server.silo(&bucket, "a b/ü+%", &server.endpoint), small).await;
    contract(server.silo(&bucket, "other", &server.endpoint), small).await;
}

/// A bucket that keeps versions: what the probe and the suite put is gone with every version of it, and no delete marker
/// is left (minio#18136).
#[tokio::test]
async fn a_versioned_bucket_keeps_nothing_of_what_was_deleted() {
    let Some(server) = server("a_versioned_bucket_keeps_nothing_of_what_was_deleted") else { return };
    let bucket = server.bucket().await;
    let enable = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let (status, _) = server.request(http::Method::PUT, &format!("{bucket}?versioning="), enable).await;
    if !status.is_success() {
        eprintln!("skipped: the server keeps no versions");
        return;
    }
    let silo = server.silo(&bucket, "", &server.endpoint);
    contract(Arc::clone(&silo), Options { large: 600 << 10, many: 4 }).await;
    let (_, text) = server.request(http::Method::GET, &format!("{bucket}?versions="), "").await;
    let keys: Vec<_> = text.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert_eq!(keys, ["holdall-silo.json"], "{text}");
}

/// Somebody's proxy drops what it does not know: the bucket answers 200 to a PUT that must not replace, and replaces.
#[tokio::test]
async fn a_proxy_that_strips_conditions_is_found_out() {
    let Some(server) = server("a_proxy_that_strips_conditions_is_found_out") else { return };
    let bucket = server.bucket().await;
    let proxy = strip_conditions(&server.endpoint).await;
    let silo = server.silo(&bucket, "", &proxy);
    contract(Arc::clone(&silo), OPTIONS).await;
    let facts = silo.probe().await.unwrap();
    assert!(!facts.exclusive_create && !facts.conditional_read, "{facts:?}");
}
