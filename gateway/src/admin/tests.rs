//! Who is let in, over real HTTP: every route of the table against every kind of caller.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use secrecy::SecretString;

use super::problem::Problem;
use super::routes;
use super::view::NewKeyView;
use crate::cli::client::{Keys, Speak};
use crate::gateway::tests::Rig;

/// A route with its parameters filled in.
fn filled(path: &str) -> String {
    path.replace("{name}", "nobody").replace("{id}", "77")
}

async fn told(response: Response<Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let kind =
        response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let code = serde_json::from_slice::<Problem>(&body).map_or_else(|_| "no problem".to_owned(), |p| p.code);
    assert!(status.is_success() || kind == "application/problem+json", "{status} {kind}");
    (status, code)
}

#[test]
fn every_route_declares_an_action_of_its_own() {
    let actions: BTreeSet<&str> = routes().iter().map(|route| route.action).collect();
    let paths: BTreeSet<(&str, &str)> = routes().iter().map(|route| (route.method, route.path)).collect();
    assert_eq!((actions.len(), paths.len()), (routes().len(), routes().len()));
    assert!(routes().iter().all(|route| route.path.starts_with("/v1/")));
}

/// S16, S33, S63: elsewhere an access key alone, any valid key, or nothing at all opened an administrator's route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_refuses_whoever_is_not_the_first_account() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let other: NewKeyView = admin.act("/v1/account/other").await.unwrap();
    let keys = |id: &str, secret: &str| Keys { id: id.to_owned(), secret: SecretString::from(secret.to_owned()) };
    let first = rig.keys();
    let wrong_secret = keys(&first.id, "not the secret");
    let callers = [
        ("unknown key", rig.endpoint(Speak::Admin, keys("HANOBODY", "x")), "invalid_access_key_id"),
        ("wrong secret", rig.endpoint(Speak::Admin, wrong_secret), "signature_does_not_match"),
        ("signed for S3", rig.endpoint(Speak::S3, first.clone()), "authorization_header_malformed"),
        (
            "another account",
            rig.endpoint(Speak::Admin, keys(&other.access_key_id, &other.secret_access_key)),
            "not_admin",
        ),
    ];
    let plain = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut table: Vec<(Method, String)> =
        routes().iter().map(|route| (route.method.parse().unwrap(), filled(route.path))).collect();
    table.push((Method::GET, "/v1/nothing".to_owned()));
    table.push((Method::PUT, "/v1/status".to_owned()));
    for (method, path) in table {
        let url = format!("http://{}{path}", rig.gateway().admin);
        let request = Request::builder().method(method.clone()).uri(&url).body(Full::default()).unwrap();
        let (status, code) = told(plain.request(request).await.unwrap()).await;
        assert_eq!((status, code.as_str()), (StatusCode::FORBIDDEN, "access_denied"), "unsigned {method} {path}");
        for (who, caller, want) in &callers {
            let (status, code) = told(caller.send(method.clone(), &path, &[], Bytes::new()).await.unwrap()).await;
            assert!(status.is_client_error() && code == *want, "{who}: {method} {path} answered {status} {code}");
        }
        // The matrix would also pass if the door let nobody in.
        let (status, code) = told(admin.send(method.clone(), &path, &[], Bytes::new()).await.unwrap()).await;
        assert_ne!(status, StatusCode::FORBIDDEN, "first account: {method} {path} answered {code}");
    }
    rig.stop().await;
}

/// A key that was deleted or whose account was disabled opens nothing from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_by_the_first_account_can_administer_until_it_is_deleted() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let made: NewKeyView = admin.act("/v1/account/admin/key").await.unwrap();
    let keys = Keys { id: made.access_key_id.clone(), secret: SecretString::from(made.secret_access_key.clone()) };
    let second = rig.endpoint(Speak::Admin, keys);
    second.get::<serde_json::Value>("/v1/status").await.unwrap();
    admin.delete(&format!("/v1/account/admin/key/{}", made.access_key_id)).await.unwrap();
    let failure = second.get::<serde_json::Value>("/v1/status").await.unwrap_err();
    assert!(failure.message.contains("invalid_access_key_id"), "{failure}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_wrongly_is_refused_with_a_stable_code() {
    let rig = Rig::start().await;
    let admin = rig.admin();
    let body = |text: &'static str| Bytes::from_static(text.as_bytes());
    let large = Bytes::from(vec![b' '; crate::limits::ADMIN_BODY + 1]);
    let table: Vec<(Method, &str, Bytes, u16, &str)> = vec![
        (Method::POST, "/v1/job", body("{"), 400, "invalid_request"),
        (Method::POST, "/v1/job", body("{}"), 400, "invalid_request"),
        (Method::POST, "/v1/job", large, 413, "too_large"),
        (Method::POST, "/v1/plan", body(r#"{"order":{"kind":"drain","from":"a","to":"b"}}"#), 404, "no_such_silo"),
        (
            Method::POST,
            "/v1/plan",
            body(r#"{"order":{"kind":"place","bucket":"nope","prefix":"","on":"hot"}}"#),
            404,
            "no_such_bucket",
        ),
        (Method::GET, "/v1/job/9999", Bytes::new(), 404, "no_such_job"),
        (Method::GET, "/v1/job/x", Bytes::new(), 400, "invalid_request"),
        (Method::GET, "/v1/where?bucket=nope", Bytes::new(), 400, "invalid_request"),
        (Method::GET, "/v1/where?bucket=NOPE&key=x", Bytes::new(), 400, "invalid_request"),
        (Method::POST, "/v1/sweep?skip=true", Bytes::new(), 400, "invalid_request"),
        (Method::POST, "/v1/silo/nope/cordon", Bytes::new(), 404, "no_such_silo"),
        (Method::POST, "/v1/silo/nope/probe", Bytes::new(), 404, "no_such_silo"),
        (Method::POST, "/v1/silo/hot/probe?size=0", Bytes::new(), 400, "invalid_size"),
        (Method::POST, "/v1/silo/hot/probe?sizes=1", Bytes::new(), 400, "invalid_request"),
        (Method::PATCH, "/v1/silo/nope", body("{}"), 404, "no_such_silo"),
        (Method::PATCH, "/v1/silo/hot", body(r#"{"uri":"file:x"}"#), 400, "invalid_request"),
        (Method::PATCH, "/v1/silo/hot", body(r#"{"reserve_percent":91}"#), 400, "invalid_declaration"),
        (Method::PATCH, "/v1/silo/hot", body(r#"{"access":"read-only"}"#), 400, "invalid_declaration"),
        (Method::PATCH, "/v1/silo/hot", body(r#"{"url":"file:nowhere"}"#), 409, "silo_refused"),
        (Method::POST, "/v1/account/a%2Fb", Bytes::new(), 400, "invalid_name"),
        (Method::POST, "/v1/account/admin", Bytes::new(), 409, "account_exists"),
        (Method::DELETE, "/v1/account/admin", Bytes::new(), 409, "first_account"),
        (Method::POST, "/v1/account/admin/disable", Bytes::new(), 409, "first_account"),
        (Method::DELETE, "/v1/account/nope", Bytes::new(), 404, "no_such_account"),
        (Method::GET, "/v1/nothing", Bytes::new(), 404, "no_such_route"),
        (Method::PUT, "/v1/status", Bytes::new(), 405, "method_not_allowed"),
    ];
    for (method, path, body, status, code) in table {
        let seen = told(admin.send(method.clone(), path, &[], body).await.unwrap()).await;
        assert_eq!((seen.0.as_u16(), seen.1.as_str()), (status, code), "{method} {path}");
    }
    rig.stop().await;
}

/// What everybody may ask says nothing about what is stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_are_open_and_name_no_bucket_and_no_key() {
    let rig = Rig::start().await;
    let s3 = rig.s3();
    for path in ["/secretbucket", "/secretbucket/secretkey"] {
        assert!(s3.send(Method::PUT, path, &[], body("x", path)).await.unwrap().status().is_success());
    }
    let plain = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    for path in ["/livez", "/readyz", "/metrics"] {
        let url = format!("http://{}{path}", rig.gateway().admin);
        let request = Request::builder().uri(&url).body(Full::default()).unwrap();
        let response = plain.request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let text = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains("secret"), "{path}: {text}");
        assert!(
            path != "/metrics" || text.contains("holdall_s3_requests_total{operation=\"PutObject\",status=\"200\"} 1")
        );
    }
    rig.stop().await;
}

/// Only objects have bodies here.
fn body(text: &'static str, path: &str) -> Bytes {
    if path.matches('/').count() == 2 { Bytes::from_static(text.as_bytes()) } else { Bytes::new() }
}
