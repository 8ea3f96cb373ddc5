//! The contract on a real server of Azure's Blob API, with the account's key and with a shared access signature, and on the
//! same one behind a proxy that strips conditions.
//!
//! `HOLDALL_TEST_AZURE_ENDPOINT` names the server with its account (`http://127.0.0.1:10000/devstoreaccount1`),
//! `HOLDALL_TEST_AZURE_ACCOUNT_KEY` the account's key where it is not the emulators' well-known one. Without it the tests say
//! that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/strip.rs"]
mod strip;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use holdall_silos::connect::holdings;
use holdall_silos::contract::holdings::{KEYS, Others, SYSTEM, USER};
use holdall_silos::contract::{self, Options, contract};
use holdall_silos::{Address, Credentials, Silo, SiloError, connect};
use http::header::{CONTENT_LENGTH, HeaderValue};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use sha2::Sha256;
use strip::strip_conditions;
use url::Url;
use url::form_urlencoded::Serializer;

const SMALL: Options = Options { large: 600 << 10, many: 4 };
/// Every emulator's, published with each of them.
const WELL_KNOWN_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

struct Server {
    /// Scheme, host and port.
    origin: String,
    account: String,
    key: String,
}

fn server(test: &str) -> Option<Server> {
    let Ok(endpoint) = std::env::var("HOLDALL_TEST_AZURE_ENDPOINT") else {
        eprintln!("skipped {test}: HOLDALL_TEST_AZURE_ENDPOINT is not set");
        return None;
    };
    let url = Url::parse(&endpoint).unwrap();
    Some(Server {
        origin: url.origin().ascii_serialization(),
        account: url.path().trim_matches('/').to_owned(),
        key: std::env::var("HOLDALL_TEST_AZURE_ACCOUNT_KEY").unwrap_or(WELL_KNOWN_KEY.to_owned()),
    })
}

impl Server {
    /// Makes a container nobody else has.
    async fn container(&self) -> String {
        let container = format!("silos-{:016x}", getrandom::u64().unwrap());
        // The TLS provider comes with the first silo.
        let _tls = self.silo(&container, "", &self.origin, &self.with_key());
        self.send(http::Method::PUT, &format!("{container}?restype=container"), &[], b"").await;
        container
    }

    /// A signed request of the test's own, which succeeds.
    async fn send(&self, method: http::Method, path: &str, headers: &[(&'static str, &'static str)], body: &[u8]) {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = format!("{}/{}/{path}", self.origin, self.account).parse().unwrap();
        request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let key = AzureCredential::AccessKey(AzureAccessKey::try_new(&self.key).unwrap());
        AzureAuthorizer::new(&key, &self.account).try_authorize(&mut request).unwrap();
        let (parts, _) = request.into_parts();
        let request = http::Request::from_parts(parts, reqwest::Body::from(body.to_vec())).try_into().unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let answer = client.execute(request).await.unwrap();
        assert!(answer.status().is_success(), "{path}: {} {}", answer.status(), answer.text().await.unwrap());
    }

    fn with_key(&self) -> Credentials {
        Credentials::AccountKey(self.key.clone())
    }

    /// <https://learn.microsoft.com/en-us/rest/api/storageservices/create-account-sas>
    fn with_sas(&self) -> Credentials {
        let (permissions, expiry, version) = ("rwdlac", "2099-01-01T00:00:00Z", "2022-11-02");
        let told = format!("{}\n{permissions}\nb\nsco\n\n{expiry}\n\n\n{version}\n\n", self.account);
        let mut mac = Hmac::<Sha256>::new_from_slice(&BASE64_STANDARD.decode(&self.key).unwrap()).unwrap();
        mac.update(told.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let parts = [("sv", version), ("ss", "b"), ("srt", "sco"), ("sp", permissions), ("se", expiry)];
        let token = Serializer::new(String::new()).extend_pairs(parts).append_pair("sig", &signature).finish();
        Credentials::SasToken(token)
    }

    fn silo(&self, container: &str, prefix: &str, origin: &str, credentials: &Credentials) -> Arc<dyn Silo> {
        connect(&self.address(container, prefix, origin), credentials).unwrap()
    }

    fn address(&self, container: &str, prefix: &str, origin: &str) -> Address {
        let account = &self.account;
        let url = format!("azure://{container}/{prefix}?account={account}&endpoint={origin}/{account}");
        Address::parse(&url, Path::new("/")).unwrap()
    }
}

/// Who else writes to a container.
struct Hand<'a> {
    server: &'a Server,
    /// The container, and what all names begin with.
    below: String,
}

impl Hand<'_> {
    fn path(&self, name: &str) -> String {
        format!("{}{}", self.below, percent_encode(name.as_bytes(), NON_ALPHANUMERIC)).replace("%2F", "/")
    }
}

#[async_trait]
impl Others for Hand<'_> {
    async fn put(&self, name: &str, bytes: &[u8]) {
        assert_eq!(USER.0, "colour");
        let headers = [SYSTEM, ("x-ms-meta-colour", USER.1), ("x-ms-blob-type", "BlockBlob")];
        self.server.send(http::Method::PUT, &self.path(name), &headers, bytes).await;
    }

    async fn delete(&self, name: &str) {
        self.server.send(http::Method::DELETE, &self.path(name), &[], b"").await;
    }
}

/// Names of others at a container's root and below a prefix, read as they are.
#[tokio::test]
async fn what_others_put_is_read_as_it_is() {
    let Some(server) = server("what_others_put_is_read_as_it_is") else { return };
    for (prefix, below, credentials) in [("", "/", server.with_key()), ("a b/ü", "/a%20b/%C3%BC/", server.with_sas())]
    {
        let container = server.container().await;
        let held = holdings(&server.address(&container, prefix, &server.origin), &credentials).unwrap();
        let hand = Hand { server: &server, below: format!("{container}{below}") };
        contract::holdings::holdings(&*held, &hand, &KEYS).await;
        eprintln!("found: {}", held.identity().await.unwrap());
    }
}

/// Where letters beyond the first 65,536 stand is each service's own: the emulator sorts by UTF-16. Whatever the order,
/// nothing is passed over.
#[tokio::test]
async fn another_order_than_by_bytes_is_an_error() {
    let Some(server) = server("another_order_than_by_bytes_is_an_error") else { return };
    let container = server.container().await;
    let held = holdings(&server.address(&container, "", &server.origin), &server.with_key()).unwrap();
    let hand = Hand { server: &server, below: format!("{container}/") };
    for name in ["\u{ffee}", "🦀"] {
        hand.put(name, b"x").await;
    }
    for limit in [1, 1000] {
        let (mut walk, mut names) = (held.walk(b"", None), Vec::new());
        let outcome = loop {
            match walk.next(limit).await {
                Ok(some) if some.is_empty() => break Ok(names),
                Ok(some) => names.extend(some.iter().map(|found| found.name().to_owned())),
                Err(error) => break Err(error),
            }
        };
        eprintln!("found: {outcome:?}");
        match outcome {
            Ok(names) => assert_eq!(names, ["\u{ffee}".as_bytes(), "🦀".as_bytes()]),
            Err(error) => assert!(matches!(error, SiloError::NotDone { .. }), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_container_keeps_the_contract() {
    let Some(server) = server("a_container_keeps_the_contract") else { return };
    let container = server.container().await;
    let silo = server.silo(&container, "", &server.origin, &server.with_key());
    contract(Arc::clone(&silo), Options { large: (3 << 20) + 5, many: 12 }).await;
    let facts = silo.probe().await.unwrap();
    eprintln!("found: {facts:?}");
    assert!(facts.exclusive_create && facts.conditional_read && facts.enforces_upload_checksum, "{facts:?}");
}

#[tokio::test]
async fn two_silos_share_a_container_by_prefix() {
    let Some(server) = server("two_silos_share_a_container_by_prefix") else { return };
    let container = server.container().await;
    contract(server.silo(&container, "a b/ü+%", &server.origin, &server.with_key()), SMALL).await;
    contract(server.silo(&container, "other", &server.origin, &server.with_key()), SMALL).await;
}

#[tokio::test]
async fn a_shared_access_signature_is_enough() {
    let Some(server) = server("a_shared_access_signature_is_enough") else { return };
    let container = server.container().await;
    contract(server.silo(&container, "", &server.origin, &server.with_sas()), SMALL).await;
}

/// Somebody's proxy drops what it does not know. A key's signature would not survive that, a token does: the container answers
/// 201 to a PUT that must not replace, and replaces.
#[tokio::test]
async fn a_proxy_that_strips_conditions_is_found_out() {
    let Some(server) = server("a_proxy_that_strips_conditions_is_found_out") else { return };
    let container = server.container().await;
    let proxy = strip_conditions(&server.origin).await;
    let silo = server.silo(&container, "", &proxy, &server.with_sas());
    contract(Arc::clone(&silo), SMALL).await;
    let facts = silo.probe().await.unwrap();
    assert!(!facts.exclusive_create && !facts.conditional_read, "{facts:?}");
}
