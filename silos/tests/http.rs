//! What lies on a real web server is read as it is.
//!
//! `HOLDALL_TEST_HTTP_URL` names the server, `HOLDALL_TEST_HTTP_FOLDER` the folder whose files it has. Without them the tests
//! say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "support/folder.rs"]
mod folder;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use folder::Hand;
use holdall_silos::connect::holdings;
use holdall_silos::contract;
use holdall_silos::{Address, Credentials, SiloError, connect};

/// A folder that nobody else has, and its URL.
fn place(test: &str) -> Option<(PathBuf, String)> {
    let (Ok(url), Ok(folder)) = (std::env::var("HOLDALL_TEST_HTTP_URL"), std::env::var("HOLDALL_TEST_HTTP_FOLDER"))
    else {
        eprintln!("skipped {test}: HOLDALL_TEST_HTTP_URL or HOLDALL_TEST_HTTP_FOLDER is not set");
        return None;
    };
    let own = format!("a b {:016x}", getrandom::u64().unwrap());
    let folder = Path::new(&folder).join(&own);
    std::fs::create_dir(&folder).unwrap();
    Some((folder, format!("{url}/{}", own.replace(' ', "%20"))))
}

fn address(url: &str) -> Address {
    Address::parse(url, Path::new("/")).unwrap()
}

#[tokio::test]
async fn folders_that_list_themselves_are_read_as_they_are() {
    let Some((folder, url)) = place("folders_that_list_themselves_are_read_as_they_are") else { return };
    let held = holdings(&address(&url), &Credentials::Ambient).unwrap();
    let hand = Hand { folder, list: None, names: Mutex::default() };
    contract::holdings::holdings(&*held, &hand, &["a:b", "c\\d", "e;f"]).await;
    eprintln!("found: {:?}", held.facts().await.unwrap());
}

#[tokio::test]
async fn what_a_list_names_is_read_as_it_is() {
    let Some((folder, url)) = place("what_a_list_names_is_read_as_it_is") else { return };
    let held = holdings(&address(&format!("{url}?list=.lists/names.txt")), &Credentials::Ambient).unwrap();
    let refused = held.identity().await.unwrap_err();
    assert!(matches!(refused, SiloError::NotDone { .. }), "{refused}");
    std::fs::create_dir(folder.join(".lists")).unwrap();
    let list = Some(folder.join(".lists/names.txt"));
    let hand = Hand { folder, list, names: Mutex::default() };
    hand.note(|_| ());
    contract::holdings::holdings(&*held, &hand, &["a:b"]).await;
}

/// It takes no bytes, whoever asks.
#[tokio::test]
async fn a_web_server_is_no_silo_of_ours() {
    let refused = connect(&address("https://host/x"), &Credentials::Ambient).map(drop).unwrap_err();
    assert_eq!(refused.reason, "a web server takes no bytes: as a silo it is read-only");
}
