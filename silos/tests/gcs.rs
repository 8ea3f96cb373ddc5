//! The contract on Google Cloud Storage's XML API: on a double of it that is started here, and on a real bucket where
//! `HOLDALL_TEST_GCS_BUCKET` names one (`holdall-test/some/prefix`; credentials are found Google's own ways). The prefix has to
//! be empty, and the suite leaves its marker there.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/gcs.rs"]
mod double;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use double::{BUCKET, Double, Habits};
use holdall_silos::connect::holdings;
use holdall_silos::contract::holdings::{KEYS, Others, SYSTEM, USER};
use holdall_silos::contract::{self, Options, contract};
use holdall_silos::{Address, Credentials, Silo, connect};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

const SMALL: Options = Options { large: 600 << 10, many: 4 };

fn silo(url: &str) -> Arc<dyn Silo> {
    connect(&Address::parse(url, Path::new("/")).unwrap(), &Credentials::Ambient).unwrap()
}

fn silo_at(double: &Double, prefix: &str) -> Arc<dyn Silo> {
    silo(&format!("gs://{BUCKET}/{prefix}?endpoint={}", double.endpoint))
}

#[tokio::test]
async fn a_bucket_keeps_the_contract() {
    // A name less than the suite lists at once, so that its listings take more than a page.
    let double = Double::start(Habits { page: 11, ..Habits::default() }).await;
    let silo = silo_at(&double, "");
    contract(Arc::clone(&silo), Options { large: (3 << 20) + 5, many: 12 }).await;
    let facts = silo.probe().await.unwrap();
    assert!(facts.exclusive_create && facts.conditional_read && facts.enforces_upload_checksum, "{facts:?}");
    assert_eq!((facts.family.as_str(), facts.kind.as_str(), facts.notes.as_slice()), ("gs", "Double", [].as_slice()));
    assert_eq!(double.keys(), ["holdall-silo.json"]);
}

#[tokio::test]
async fn two_silos_share_a_bucket_by_prefix() {
    let double = Double::start(Habits::default()).await;
    contract(silo_at(&double, "a b/ü+%"), SMALL).await;
    contract(silo_at(&double, "other"), SMALL).await;
    assert_eq!(double.keys(), ["a b/ü+%/holdall-silo.json", "other/holdall-silo.json"]);
}

/// What the probe and the suite put is gone with every generation of it.
#[tokio::test]
async fn a_versioned_bucket_keeps_nothing_of_what_was_deleted() {
    let double = Double::start(Habits { keeps_versions: true, ..Habits::default() }).await;
    let silo = silo_at(&double, "");
    contract(Arc::clone(&silo), SMALL).await;
    assert_eq!(silo.probe().await.unwrap().notes, ["the bucket keeps versions: blobs are deleted by generation"]);
    assert_eq!(double.keys(), ["holdall-silo.json"]);
}

/// A server that answers 200 to a PUT that must not replace, and replaces.
#[tokio::test]
async fn a_server_that_forgets_conditions_is_found_out() {
    let double = Double::start(Habits { forgets_conditions: true, ..Habits::default() }).await;
    let silo = silo_at(&double, "");
    contract(Arc::clone(&silo), SMALL).await;
    let facts = silo.probe().await.unwrap();
    assert!(!facts.exclusive_create && !facts.conditional_read, "{facts:?}");
    assert_eq!(facts.notes, ["x-goog-if-generation-match on a PUT is not honored"]);
}

/// Who else writes to the bucket.
struct Hand {
    http: reqwest::Client,
    /// What all URLs begin with.
    below: String,
}

impl Hand {
    async fn send(&self, request: reqwest::RequestBuilder) {
        let answer = request.send().await.unwrap();
        assert!(answer.status().is_success(), "{}: {}", answer.url(), answer.status());
    }

    fn url(&self, name: &str) -> String {
        format!("{}{}", self.below, percent_encode(name.as_bytes(), NON_ALPHANUMERIC)).replace("%2F", "/")
    }
}

#[async_trait]
impl Others for Hand {
    async fn put(&self, name: &str, bytes: &[u8]) {
        let request = self.http.put(self.url(name)).header(SYSTEM.0, SYSTEM.1);
        let request = request.header("content-length", bytes.len());
        self.send(request.header(format!("x-goog-meta-{}", USER.0), USER.1).body(bytes.to_vec())).await;
    }

    async fn delete(&self, name: &str) {
        self.send(self.http.delete(self.url(name))).await;
    }
}

/// Names of others at a bucket's root and below a prefix, read as they are; also where the server forgets conditions,
/// and where it keeps what was replaced.
#[tokio::test]
async fn what_others_put_is_read_as_it_is() {
    for (prefix, below, habits) in [
        ("", "", Habits { page: 3, ..Habits::default() }),
        ("a b/ü", "a%20b/%C3%BC/", Habits { forgets_conditions: true, ..Habits::default() }),
        ("p", "p/", Habits { keeps_versions: true, ..Habits::default() }),
    ] {
        let double = Double::start(habits).await;
        let url = format!("gs://{BUCKET}/{prefix}?endpoint={}", double.endpoint);
        let held = holdings(&Address::parse(&url, Path::new("/")).unwrap(), &Credentials::Ambient).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
        let hand = Hand { http, below: format!("{}/{BUCKET}/{below}", double.endpoint) };
        contract::holdings::holdings(&*held, &hand, &[KEYS.as_slice(), &["a\\b", "\u{ffee}"]].concat()).await;
    }
}

#[tokio::test]
async fn a_bucket_of_the_cloud_keeps_the_contract() {
    let Ok(bucket) = std::env::var("HOLDALL_TEST_GCS_BUCKET") else {
        eprintln!("skipped a_bucket_of_the_cloud_keeps_the_contract: HOLDALL_TEST_GCS_BUCKET is not set");
        return;
    };
    let silo = silo(&format!("gs://{bucket}"));
    contract(Arc::clone(&silo), Options { large: (3 << 20) + 5, many: 12 }).await;
    eprintln!("found: {:?}", silo.probe().await.unwrap());
}
