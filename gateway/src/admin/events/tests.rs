//! Who may tell of changes, over real HTTP.

use bytes::Bytes;
use holdall_namespace::inventory::{Access, DeclaredSilo};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::*;
use crate::cli::client::Endpoint;
use crate::gateway::tests::Rig;

const EVENT: &str = r#"{"Records":[{"s3":{"bucket":{"name":"other"},"object":{"key":"a"}}}]}"#;
const NAMES: &str = r#"{"names":["a","b"],"below":["c/"]}"#;

struct House {
    rig: Rig,
    admin: Endpoint,
    /// What is taken over lies here.
    nas: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let (rig, nas) = (Rig::start().await, tempfile::tempdir().unwrap());
        let admin = rig.admin();
        let own = DeclaredSilo::own(format!("file://{}", nas.path().display()));
        let silo = DeclaredSilo { access: Access::ReadOnly, ..own };
        admin.post::<serde_json::Value>("/v1/silo/nas", &silo).await.unwrap();
        Self { rig, admin, nas }
    }

    async fn token(&self) -> String {
        self.admin.act::<TokenView>("/v1/silo/nas/token").await.unwrap().token
    }

    async fn send(&self, method: Method, to: &str, headers: &[(&str, &str)], body: &str) -> Response<Incoming> {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let url = format!("http://{}/v1/events/{to}", self.rig.gateway().admin);
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        client.request(request.body(Full::from(body.to_owned())).unwrap()).await.unwrap()
    }

    async fn post(&self, to: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let response = self.send(Method::POST, to, headers, body).await;
        let status = response.status().as_u16();
        (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    }
}

/// Whoever reached the port could have made a gateway look at every name of a bucket again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_silos_own_token_opens_its_events() {
    let house = House::new().await;
    for (to, headers) in
        [("nas", vec![]), ("nas?token=", vec![]), ("none?token=x", vec![("authorization", "Bearer x")])]
    {
        assert_eq!(house.post(to, &headers, NAMES).await.0, 403, "{to} before there is a token");
    }
    let token = house.token().await;
    let (bearer, bare) = (format!("Bearer {token}"), token.clone());
    let basic = format!("Basic {}", STANDARD.encode(format!("anybody:{token}")));
    for header in [&bearer, &bare, &basic] {
        let (status, body) = house.post("nas", &[("authorization", header)], NAMES).await;
        assert_eq!((status, body.as_str()), (200, r#"{"touched":0}"#), "nothing is taken over yet: {header}");
    }
    assert_eq!(house.post(&format!("nas?x=1&token={token}"), &[], NAMES).await.0, 200);
    for (to, header) in
        [("nas", "Bearer x"), ("nas", "Basic eDp5"), ("nas", "Basic ?"), ("hot", &*bearer), ("none", &*bearer)]
    {
        let (status, body) = house.post(to, &[("authorization", header)], NAMES).await;
        assert!(status == 403 && body.contains("access_denied"), "{to} {header}: {status} {body}");
    }
    let listed: serde_json::Value = house.admin.get("/v1/silo").await.unwrap();
    assert!(!listed.to_string().contains(&token));
    let second = house.token().await;
    assert_eq!(house.post("nas", &[("authorization", &bearer)], NAMES).await.0, 403, "another one replaces it");
    house.admin.delete("/v1/silo/nas/token").await.unwrap();
    assert_eq!(house.post(&format!("nas?token={second}"), &[], NAMES).await.0, 403);
    house.rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_looked_at_and_what_is_asked_is_answered() {
    let house = House::new().await;
    let token = house.token().await;
    let to = format!("nas?token={token}");
    let s3 = house.rig.s3();
    assert!(s3.send(Method::PUT, "/photos", &[], Bytes::new()).await.unwrap().status().is_success());
    let order = json!({ "silo": "nas", "bucket": "photos", "watch": false, "every_seconds": 3600 });
    house.admin.post::<serde_json::Value>("/v1/assimilate", &order).await.unwrap();
    let complete = || async {
        let root: serde_json::Value = house.admin.get("/v1/assimilate/1").await.unwrap();
        root["complete"] == true
    };
    until(complete).await;
    std::fs::write(house.nas.path().join("a"), "x").unwrap();
    assert_eq!(house.post(&to, &[], EVENT).await, (200, r#"{"touched":0}"#.to_owned()), "of another bucket");
    assert_eq!(house.post(&to, &[], NAMES).await, (200, r#"{"touched":3}"#.to_owned()));
    let there = || async { s3.send(Method::HEAD, "/photos/a", &[], Bytes::new()).await.unwrap().status().is_success() };
    until(there).await;
    let root: serde_json::Value = house.admin.get("/v1/assimilate/1").await.unwrap();
    assert!(root["told"].is_string(), "{root}");

    let validation =
        r#"[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"7"}}]"#;
    assert_eq!(house.post(&to, &[], validation).await, (200, r#"{"validationResponse":"7"}"#.to_owned()));
    let asked = house.send(Method::OPTIONS, &to, &[("webhook-request-origin", "eventgrid.azure.net")], "").await;
    assert_eq!((asked.status(), asked.headers()[ALLOWED].to_str().ok()), (StatusCode::OK, Some("eventgrid.azure.net")));
    assert_eq!(house.send(Method::OPTIONS, "nas", &[("webhook-request-origin", "x")], "").await.status(), 403);
    assert_eq!(house.send(Method::GET, &to, &[], "").await.status(), 405);
    let (status, body) = house.post(&to, &[], "{}").await;
    assert!(status == 400 && body.contains("neither S3's"), "{status} {body}");
    let large = format!(r#"{{"names":["{}"]}}"#, "x".repeat(ADMIN_BODY));
    assert_eq!(house.post(&to, &[], &large).await.0, 413);
    house.rig.stop().await;
}

async fn until<F: Future<Output = bool>>(what: impl Fn() -> F) {
    for _ in 0..600 {
        if what().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("it did not come to that");
}
