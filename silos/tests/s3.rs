//! The contract on a real S3 server, and on the same one behind a proxy that strips conditions.
//!
//! `HOLDALL_TEST_S3_ENDPOINT` names the server (`http://127.0.0.1:5000`), `HOLDALL_TEST_S3_ACCESS_KEY_ID` and
//! `HOLDALL_TEST_S3_SECRET_ACCESS_KEY` who may make buckets there. Without it the tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/strip.rs"]
mod strip;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use holdall_silos::connect::holdings;
use holdall_silos::contract::holdings::{KEYS, Others, SYSTEM, USER};
use holdall_silos::contract::{self, Options, contract};
use holdall_silos::{Address, Credentials, Silo, connect};
use http::header::{CONTENT_LENGTH, HeaderValue};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
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
    async fn request(&self, method: http::Method, path: &str, body: &str) -> (http::StatusCode, String) {
        self.send(method, path, &[], body.as_bytes()).await
    }

    async fn send(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&'static str, &'static str)],
        body: &[u8],
    ) -> (http::StatusCode, String) {
        let _tls = self.silo("any", "", &self.endpoint);
        let mut request = HttpRequest::new(HttpRequestBody::from(body.to_vec()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/{path}", self.endpoint).parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let credential = AwsCredential { key_id: self.key_id.clone(), secret_key: self.secret.clone(), token: None };
        AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None).unwrap();
        request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        let (parts, _) = request.into_parts();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body.to_vec())).try_into().unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.execute(request).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    fn silo(&self, bucket: &str, prefix: &str, endpoint: &str) -> Arc<dyn Silo> {
        connect(&address(bucket, prefix, endpoint), &self.credentials()).unwrap()
    }

    fn credentials(&self) -> Credentials {
        Credentials::Keys { access_key_id: self.key_id.clone(), secret_access_key: self.secret.clone() }
    }
}

fn address(bucket: &str, prefix: &str, endpoint: &str) -> Address {
    Address::parse(&format!("s3://{bucket}/{prefix}?endpoint={endpoint}"), Path::new("/")).unwrap()
}

/// Who else writes to a bucket.
struct Hand<'a> {
    server: &'a Server,
    /// The bucket, and what all names begin with.
    below: String,
}

impl Hand<'_> {
    async fn send(&self, method: http::Method, name: &str, headers: &[(&'static str, &'static str)], body: &[u8]) {
        let path = format!("{}{}", self.below, percent_encode(name.as_bytes(), NON_ALPHANUMERIC)).replace("%2F", "/");
        let (status, text) = self.server.send(method, &path, headers, body).await;
        assert!(status.is_success(), "`{name}`: {status} {text}");
    }
}

#[async_trait]
impl Others for Hand<'_> {
    async fn put(&self, name: &str, bytes: &[u8]) {
        assert_eq!(USER.0, "colour");
        self.send(http::Method::PUT, name, &[SYSTEM, ("x-amz-meta-colour", USER.1)], bytes).await;
    }

    async fn delete(&self, name: &str) {
        self.send(http::Method::DELETE, name, &[], b"").await;
    }
}

/// Names of others at a bucket's root and below a prefix, read as they are.
#[tokio::test]
async fn what_others_put_is_read_as_it_is() {
    let Some(server) = server("what_others_put_is_read_as_it_is") else { return };
    for (prefix, below) in [("", "/"), ("a b/ü", "/a%20b/%C3%BC/")] {
        let bucket = server.bucket().await;
        let held = holdings(&address(&bucket, prefix, &server.endpoint), &server.credentials()).unwrap();
        let hand = Hand { server: &server, below: format!("{bucket}{below}") };
        contract::holdings::holdings(&*held, &hand, &[KEYS.as_slice(), &["a\\b", "\u{ffee}"]].concat()).await;
        eprintln!("found: {}", held.identity().await.unwrap());
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
