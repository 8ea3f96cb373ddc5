//! A whole gateway on free ports, started and stopped.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use holdall_namespace::clock::SystemClock;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use secrecy::{ExposeSecret, SecretString};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

use super::*;
use crate::admin::view::{SiloView, Status};
use crate::cli::client::{Endpoint, Speak};

/// A gateway of a test's own.
pub(crate) struct Rig {
    folder: TempDir,
    gateway: Gateway,
    keys: Keys,
}

pub(crate) fn settings(data: &Path) -> Settings {
    let mut settings = Settings::in_folder(data);
    settings.listen.set_port(0);
    settings.admin_listen.set_port(0);
    settings
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Gateway::start(settings(&folder.path().join("data")), Start::default()).await.unwrap();
        let key = gateway.new_key.as_ref().unwrap();
        let keys = Keys { id: key.key.id.clone(), secret: key.secret.clone() };
        Self { folder, gateway, keys }
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn keys(&self) -> Keys {
        self.keys.clone()
    }

    /// A client of the admin listener.
    pub(crate) fn endpoint(&self, speak: Speak, keys: Keys) -> Endpoint {
        client(&format!("http://{}", self.gateway.admin), speak, keys)
    }

    pub(crate) fn admin(&self) -> Endpoint {
        self.endpoint(Speak::Admin, self.keys())
    }

    pub(crate) fn s3(&self) -> Endpoint {
        client(&self.gateway.endpoint, Speak::S3, self.keys())
    }

    pub(crate) async fn stop(self) -> TempDir {
        assert_eq!(self.gateway.shutdown().await, 0);
        self.folder
    }
}

fn client(url: &str, speak: Speak, keys: Keys) -> Endpoint {
    Endpoint::new(url, speak, "us-east-1", keys, Arc::new(SystemClock::new())).unwrap()
}

async fn text(s3: &Endpoint, path: &str) -> (StatusCode, String) {
    let response = s3.send(Method::GET, path, &[], Bytes::new()).await.unwrap();
    let status = response.status();
    (status, String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_start_makes_a_folder_two_silos_and_a_key_and_the_next_one_finds_them() {
    let rig = Rig::start().await;
    let data = rig.folder.path().join("data");
    let mode = |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("credentials"), mode("seal.key"), mode("index.redb")), (0o700, 0o600, 0o600, 0o600));
    let silos: Vec<SiloView> = rig.admin().get("/v1/silo").await.unwrap();
    assert_eq!(silos.iter().map(|silo| silo.name.as_str()).collect::<BTreeSet<_>>(), ["cold", "hot"].into());

    let s3 = rig.s3();
    assert!(s3.send(Method::PUT, "/photos", &[], Bytes::new()).await.unwrap().status().is_success());
    let stored = s3.send(Method::PUT, "/photos/a%20b/..", &[], Bytes::from_static(b"hello")).await.unwrap();
    assert!(stored.status().is_success());
    let keys = rig.keys();
    let folder = rig.stop().await;

    let gateway = Gateway::start(settings(&folder.path().join("data")), Start::default()).await.unwrap();
    assert!(gateway.new_key.is_none());
    let kept = KeyFile::read(&data).unwrap().unwrap();
    assert_eq!((kept.keys.id.as_str(), kept.endpoint.as_str()), (keys.id.as_str(), gateway.endpoint.as_str()));
    let s3 = client(&gateway.endpoint, Speak::S3, kept.keys);
    assert_eq!(text(&s3, "/photos/a%20b/..").await, (StatusCode::OK, "hello".to_owned()));
    assert_eq!(gateway.shutdown().await, 0);
}

/// A crash between the key's commit and its file must not cost the key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_file_is_written_again() {
    let rig = Rig::start().await;
    let keys = rig.keys();
    let folder = rig.stop().await;
    let data = folder.path().join("data");
    std::fs::remove_file(KeyFile::path(&data)).unwrap();
    let gateway = Gateway::start(settings(&data), Start::default()).await.unwrap();
    let kept = KeyFile::read(&data).unwrap().unwrap();
    assert_eq!(
        (kept.keys.id.as_str(), kept.keys.secret.expose_secret()),
        (keys.id.as_str(), keys.secret.expose_secret())
    );
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_from_the_environment_replaces_the_stored_one_and_is_not_written_down() {
    let rig = Rig::start().await;
    let old = rig.keys();
    let folder = rig.stop().await;
    let data = folder.path().join("data");
    let first_key = Some(("GIVENKEY".to_owned(), SecretString::from("given secret".to_owned())));
    let gateway = Gateway::start(settings(&data), Start { first_key, ..Start::default() }).await.unwrap();
    assert!(KeyFile::read(&data).unwrap().is_none());
    let admin = format!("http://{}", gateway.admin);
    let given = Keys { id: "GIVENKEY".to_owned(), secret: SecretString::from("given secret".to_owned()) };
    let status: Status = client(&admin, Speak::Admin, given).get("/v1/status").await.unwrap();
    assert_eq!(status.endpoint, gateway.endpoint);
    assert!(client(&admin, Speak::Admin, old).get::<Status>("/v1/status").await.is_err());
    gateway.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_at_the_start_is_one_line_and_a_taken_port_touches_no_data() {
    let rig = Rig::start().await;
    let other = rig.folder.path().join("other");
    let refused = async |settings: Settings, start: Start| {
        let error = Gateway::start(settings, start).await.err().expect("must not start");
        let line = crate::cli::serve::chain(&error);
        assert!(!line.contains('\n'), "{line}");
        line
    };

    let mut taken = settings(&other);
    taken.listen = rig.gateway().s3;
    let line = refused(taken, Start::default()).await;
    assert!(line.starts_with(&format!("cannot listen on {} (S3)", rig.gateway().s3)), "{line}");
    assert!(!other.exists());

    let line = refused(settings(&rig.folder.path().join("data")), Start::default()).await;
    assert!(line.starts_with("another process has the index"), "{line}");

    // The same folder cannot be two silos, nor belong to two namespaces.
    let stolen = format!("file://{}", rig.folder.path().join("data/hot").display());
    let silo = DeclaredSilo::own(stolen);
    let declared = Declared { silos: [("mine".to_owned(), silo)].into(), ..Declared::default() };
    let line = refused(settings(&other), Start { declared: Some(declared), ..Start::default() }).await;
    assert!(line.starts_with("silo `mine`: "), "{line}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_leave_a_line_in_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(&folder.path().join("data"));
    let log = folder.path().join("access.log");
    settings.access_log = Some(log.clone());
    let gateway = Gateway::start(settings, Start::default()).await.unwrap();
    let key = gateway.new_key.clone().unwrap();
    let s3 = client(&gateway.endpoint, Speak::S3, Keys { id: key.key.id, secret: key.secret });
    s3.send(Method::PUT, "/photos", &[], Bytes::new()).await.unwrap();
    let (status, _) = text(&s3, "/photos/nothing").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    drop(s3);
    gateway.shutdown().await;
    let text = std::fs::read_to_string(log).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    assert!(lines[0].contains(" REST.PUT.BUCKET - \"PUT /photos HTTP/1.1\" 200 - "), "{text}");
    assert!(lines[1].contains(" REST.GET.OBJECT nothing \"GET /photos/nothing HTTP/1.1\" 404 NoSuchKey "), "{text}");
}
