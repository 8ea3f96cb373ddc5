//! The contracts on a real server of files, over SFTP or WebDAV.
//!
//! `HOLDALL_TEST_FILES_URL` names the server and `HOLDALL_TEST_FILES_FOLDER` the folder that it has there;
//! `HOLDALL_TEST_FILES_QUERY` ends each URL (`?known_hosts=FILE`), `HOLDALL_TEST_FILES_KEY` is the file of an SSH key, and
//! `HOLDALL_TEST_FILES_LOGIN` a `user:password`. `HOLDALL_TEST_FILES_DURABLE` says `true` where the server can flush, and
//! `HOLDALL_TEST_FILES_REPLACES` anything where it replaces what it was asked not to. Without them the tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/folder.rs"]
mod folder;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use folder::Hand;
use futures_util::{StreamExt, stream};
use holdall_silos::connect::holdings;
use holdall_silos::contract::{self, Options, contract};
use holdall_silos::{Address, BlobName, Claim, Credentials, Marker, Silo, SiloError, collect, connect};

fn setting(name: &str) -> Option<String> {
    std::env::var(format!("HOLDALL_TEST_FILES_{name}")).ok()
}

fn credentials() -> Credentials {
    let login = setting("LOGIN").map(|text| {
        let (user, password) = text.split_once(':').unwrap();
        Credentials::Login { user: user.to_owned(), password: password.to_owned() }
    });
    setting("KEY").map(Credentials::KeyFile).or(login).unwrap_or_default()
}

/// A folder that nobody else has, and its address.
fn place(test: &str) -> Option<(PathBuf, Address)> {
    let (Some(url), Some(folder)) = (setting("URL"), setting("FOLDER")) else {
        eprintln!("skipped {test}: HOLDALL_TEST_FILES_URL or HOLDALL_TEST_FILES_FOLDER is not set");
        return None;
    };
    let own = format!("a b ü {:016x}", getrandom::u64().unwrap());
    let query = setting("QUERY").unwrap_or_default();
    let url = format!("{url}/{}{query}", own.replace(' ', "%20"));
    Some((Path::new(&folder).join(own), Address::parse(&url, Path::new("/")).unwrap()))
}

fn silo(address: &Address) -> Arc<dyn Silo> {
    connect(address, &credentials()).unwrap()
}

async fn claimed(address: &Address) -> Arc<dyn Silo> {
    let silo = silo(address);
    let marker = Marker { silo: "nas".to_owned(), namespace: "n".to_owned(), id: "1".to_owned() };
    silo.claim(&Claim { marker, fresh: true }).await.unwrap();
    silo.probe().await.unwrap();
    silo
}

fn blob(number: u64) -> BlobName {
    BlobName { session: 1, number, extent: (1, number) }
}

#[tokio::test]
async fn a_server_of_files_keeps_the_contract() {
    let Some((folder, address)) = place("a_server_of_files_keeps_the_contract") else { return };
    let silo = silo(&address);
    contract(Arc::clone(&silo), Options { large: (3 << 20) + 5, many: 16 }).await;
    let facts = silo.probe().await.unwrap();
    eprintln!("found: {facts:?}, {:?}", silo.space().await.unwrap());
    assert_eq!(facts.durable_put, setting("DURABLE").is_some_and(|word| word == "true"), "{facts:?}");
    assert_eq!(facts.exclusive_create, setting("REPLACES").is_none(), "{facts:?}");
    let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["blobs", "holdall-silo.json"]);
}

#[tokio::test]
async fn what_others_keep_is_read_as_it_is() {
    let Some((folder, address)) = place("what_others_keep_is_read_as_it_is") else { return };
    let held = holdings(&address, &credentials()).unwrap();
    let gone = held.identity().await.unwrap_err();
    assert!(matches!(gone, SiloError::NotDone { .. }), "{gone}");
    assert!(!folder.exists(), "nothing is made where others should have something");
    std::fs::create_dir(&folder).unwrap();
    let hand = Hand { folder, list: None, names: Mutex::default() };
    contract::holdings::holdings(&*held, &hand, &["a:b", "c\\d"]).await;
    eprintln!("found: {}, {:?}", held.identity().await.unwrap(), held.facts().await.unwrap());
}

/// More blobs at once than a connection may have files open, and readers that go away in the middle.
#[tokio::test]
async fn many_at_once_and_some_that_go_away() {
    let Some((_, address)) = place("many_at_once_and_some_that_go_away") else { return };
    let silo = claimed(&address).await;
    let size = 600 << 10;
    let bytes: bytes::Bytes = (0..size).map(|at: usize| (at * 7 + at / 251) as u8).collect();
    let put = |number: u64| {
        let (silo, body) = (Arc::clone(&silo), bytes.clone());
        async move {
            let body = Box::pin(stream::iter([Ok(body)]));
            silo.put(&blob(number), size as u64, body, Arc::new(|_| Vec::new())).await.unwrap();
        }
    };
    stream::iter(0_u64..40).for_each_concurrent(8, put).await;
    let read = |number: u64| {
        let (silo, bytes) = (Arc::clone(&silo), bytes.clone());
        async move {
            let mut pieces = silo.read(&blob(number % 40), size as u64, 0..size as u64).await.unwrap();
            if number.is_multiple_of(3) {
                pieces.next().await.unwrap().unwrap();
            } else {
                assert!(collect(pieces).await.unwrap() == bytes, "blob {number} reads other bytes");
            }
        }
    };
    stream::iter(0_u64..400).for_each_concurrent(200, read).await;
    // A put that nobody waits for any more.
    let body = Box::pin(stream::iter([Ok(bytes.slice(..1000))]).chain(stream::pending()));
    let left = blob(99);
    let unfinished = silo.put(&left, size as u64, body, Arc::new(|_| Vec::new()));
    assert!(tokio::time::timeout(std::time::Duration::from_millis(300), unfinished).await.is_err());
    let got = silo.read(&left, size as u64, 0..size as u64).await.map(drop);
    assert!(matches!(got, Err(SiloError::Missing | SiloError::Mismatch { .. })), "{got:?}");
}

/// A folder that somebody else filled is not written to.
#[tokio::test]
async fn a_folder_of_others_is_not_claimed() {
    let Some((folder, address)) = place("a_folder_of_others_is_not_claimed") else { return };
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("theirs"), b"x").unwrap();
    let marker = Marker { silo: "nas".to_owned(), namespace: "n".to_owned(), id: "1".to_owned() };
    let refused = silo(&address).claim(&Claim { marker, fresh: true }).await.unwrap_err();
    assert!(matches!(refused, SiloError::NotDone { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
}

/// Whoever is not let in learns so, and no secret is told.
#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let Some((_, address)) = place("who_is_not_let_in_is_told_so") else { return };
    let other = match credentials() {
        Credentials::KeyFile(_) => Credentials::KeyFile("/nowhere/key".to_owned()),
        Credentials::Login { user, .. } => Credentials::Login { user, password: "SECRET".to_owned() },
        _ => return,
    };
    let refused = connect(&address, &other).unwrap().marker().await.unwrap_err();
    eprintln!("refused: {refused}");
    assert!(matches!(refused, SiloError::NotDone { .. }) && !refused.to_string().contains("SECRET"), "{refused}");
}
