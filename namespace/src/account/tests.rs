use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::Options;
use crate::clock::SystemClock;
use crate::engine::faults::{Chances, CommitFault, Faulty};
use crate::engine::memory::Memory;
use crate::engine::{Engine, Priority};

async fn open_on(engine: Arc<dyn Engine>) -> Arc<Namespace> {
    let options = Options {
        base: "/".into(),
        seal_key: [7; 32],
        grace: Duration::ZERO,
        pack_up_to: crate::limits::PACK_UP_TO,
        backup: None,
        align: None,
        scrub: None,
    };
    Namespace::open(engine, Arc::new(SystemClock::new()), options, true).await.unwrap()
}

async fn open() -> (Memory, Arc<Namespace>) {
    let memory = Memory::new();
    let namespace = open_on(Arc::new(memory.clone())).await;
    namespace.ensure_first_key(None).await.unwrap().expect("a new index has no key");
    (memory, namespace)
}

#[expect(clippy::unnecessary_wraps, reason = "it is handed over as it is")]
fn given(id: &str, secret: &str) -> Option<(String, SecretString)> {
    Some((id.to_owned(), secret.into()))
}

/// `ID=secret` of an account's credential, or `-`.
async fn speaks(namespace: &Namespace, id: &str) -> String {
    let credential = namespace.credential(id).await.unwrap();
    credential.map_or("-".to_owned(), |one| format!("{}={}", one.account.name, one.secret.expose_secret()))
}

#[tokio::test]
async fn the_first_key_is_made_once() {
    let namespace = open_on(Arc::new(Memory::new())).await;
    let new = namespace.ensure_first_key(None).await.unwrap().unwrap();
    assert!(new.key.id.starts_with("HK") && new.key.id.len() == 20, "{}", new.key.id);
    assert!(new.key.id.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()));
    assert!(new.secret.expose_secret().len() == 40);
    assert!(new.secret.expose_secret().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert!(namespace.ensure_first_key(None).await.unwrap().is_none());
    let credential = namespace.credential(&new.key.id).await.unwrap().unwrap();
    assert!(credential.account.admin && credential.account.id == 1 && credential.account.name == "admin");
    assert_eq!(credential.secret.expose_secret(), new.secret.expose_secret());
    assert_eq!(credential.account.canonical_id.len(), 64);
}

#[tokio::test]
async fn a_given_key_replaces_the_first_one_and_may_come_back() {
    let (_, namespace) = open().await;
    let drawn = namespace.keys("admin").await.unwrap().remove(0).id;
    let first = namespace.ensure_first_key(given("OPERATOR", "secret-one")).await.unwrap().unwrap();
    assert_eq!(first.key.id, "OPERATOR");
    assert!(namespace.ensure_first_key(given("OPERATOR", "secret-one")).await.unwrap().is_none());
    assert_eq!(speaks(&namespace, &drawn).await, "-");
    assert_eq!(speaks(&namespace, "OPERATOR").await, "admin=secret-one");
    assert!(namespace.ensure_first_key(given("OPERATOR", "secret-two")).await.unwrap().is_some());
    assert_eq!(speaks(&namespace, "OPERATOR").await, "admin=secret-two");
    assert!(namespace.ensure_first_key(given("OTHER", "secret-three")).await.unwrap().is_some());
    assert_eq!(speaks(&namespace, "OPERATOR").await, "-");
    assert!(namespace.ensure_first_key(given("OPERATOR", "secret-two")).await.unwrap().is_some());
    assert_eq!(speaks(&namespace, "OPERATOR").await, "admin=secret-two");
    assert_eq!(namespace.keys("admin").await.unwrap().len(), 1);
    assert!(namespace.ensure_first_key(None).await.unwrap().is_none());
}

#[tokio::test]
async fn a_given_key_is_checked() {
    let (_, namespace) = open().await;
    for (id, secret) in
        [("", "long enough"), ("a/b", "long enough"), ("good", "short"), (&"x".repeat(129), "long enough")]
    {
        let error = namespace.ensure_first_key(given(id, secret)).await.unwrap_err();
        assert_eq!(error, AccountError::InvalidKey(id.to_owned()));
        assert!(!error.to_string().contains(secret));
    }
    let (_, other) = namespace.create_account("other").await.unwrap();
    let theirs = given(&other.key.id, "long enough");
    let taken = AccountError::KeyTaken(other.key.id.clone());
    assert_eq!(namespace.ensure_first_key(theirs.clone()).await.unwrap_err(), taken);
    namespace.delete_key("other", &other.key.id).await.unwrap();
    assert_eq!(namespace.ensure_first_key(theirs).await.unwrap_err(), taken);
}

#[tokio::test]
async fn accounts_are_made_listed_disabled_and_deleted() {
    let (memory, namespace) = open().await;
    let (zoe, key) = namespace.create_account("zoe").await.unwrap();
    let (ann, _) = namespace.create_account("ann").await.unwrap();
    assert_eq!((zoe.id, ann.id, zoe.admin), (2, 3, false));
    assert_ne!(zoe.canonical_id, ann.canonical_id);
    let names: Vec<String> = namespace.accounts().await.unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names, ["admin", "ann", "zoe"]);
    assert_eq!(namespace.account(2).await.unwrap(), Some(zoe.clone()));
    assert_eq!(namespace.create_account("zoe").await.unwrap_err(), AccountError::Exists("zoe".into()));
    for bad in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
        assert_eq!(namespace.create_account(bad).await.unwrap_err(), AccountError::InvalidName(bad.into()));
    }
    assert_ne!(speaks(&namespace, &key.key.id).await, "-");
    assert!(namespace.set_account_disabled("zoe", true).await.unwrap().disabled);
    assert_eq!(speaks(&namespace, &key.key.id).await, "-");
    assert!(!namespace.set_account_disabled("zoe", false).await.unwrap().disabled);
    assert_ne!(speaks(&namespace, &key.key.id).await, "-");
    namespace.delete_account("zoe").await.unwrap();
    assert_eq!(speaks(&namespace, &key.key.id).await, "-");
    assert_eq!(namespace.delete_account("zoe").await.unwrap_err(), AccountError::NoSuchAccount("zoe".into()));
    let (again, _) = namespace.create_account("zoe").await.unwrap();
    assert_eq!(again.id, 4, "numbers are not given out again");
    assert_ne!(again.canonical_id, zoe.canonical_id);
    let stored =
        |bytes: &[u8]| memory.every_row().iter().any(|(_, row)| row.windows(bytes.len()).any(|part| part == bytes));
    assert!(stored(again.canonical_id.as_bytes()));
    assert!(!stored(key.secret.expose_secret().as_bytes()), "no secret lies in the index");
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted() {
    let (_, namespace) = open().await;
    let (account, first) = namespace.create_account("zoe").await.unwrap();
    let second = namespace.create_key("zoe").await.unwrap();
    let ids: Vec<String> = namespace.keys("zoe").await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(ids, [first.key.id.clone(), second.key.id.clone()]);
    assert_eq!(second.key.account, account.id);
    namespace.delete_key("zoe", &first.key.id).await.unwrap();
    assert_eq!(speaks(&namespace, &first.key.id).await, "-");
    assert_ne!(speaks(&namespace, &second.key.id).await, "-");
    let gone = AccountError::NoSuchKey(first.key.id.clone());
    assert_eq!(namespace.delete_key("zoe", &first.key.id).await.unwrap_err(), gone);
    let not_theirs = AccountError::NoSuchKey(second.key.id.clone());
    assert_eq!(namespace.delete_key("admin", &second.key.id).await.unwrap_err(), not_theirs);
    assert_eq!(namespace.create_key("nobody").await.unwrap_err(), AccountError::NoSuchAccount("nobody".into()));
    for _ in 1..MAX_ACCESS_KEYS {
        namespace.create_key("zoe").await.unwrap();
    }
    assert_eq!(namespace.create_key("zoe").await.unwrap_err(), AccountError::TooManyKeys(MAX_ACCESS_KEYS));
}

#[tokio::test]
async fn the_first_account_and_its_last_key_stay() {
    let (_, namespace) = open().await;
    let key = namespace.keys("admin").await.unwrap().remove(0);
    assert_eq!(namespace.delete_account("admin").await, Err(AccountError::First));
    assert_eq!(namespace.set_account_disabled("admin", true).await, Err(AccountError::First));
    assert_eq!(namespace.delete_key("admin", &key.id).await, Err(AccountError::First));
    let more = namespace.create_key("admin").await.unwrap();
    namespace.delete_key("admin", &key.id).await.unwrap();
    assert_eq!(namespace.delete_key("admin", &more.key.id).await, Err(AccountError::First));
    assert!(namespace.ensure_first_key(None).await.unwrap().is_none(), "a key that was deleted is not made anew");
    assert!(namespace.ensure_first_key(given("OPERATOR", "secret-one")).await.unwrap().is_some());
    assert_ne!(speaks(&namespace, &more.key.id).await, "-", "only the first key is replaced");
}

#[tokio::test]
async fn an_account_with_buckets_stays() {
    let (_, namespace) = open().await;
    let (account, _) = namespace.create_account("zoe").await.unwrap();
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), account.id).await.unwrap();
    assert_eq!(namespace.delete_account("zoe").await, Err(AccountError::OwnsBuckets(1)));
    namespace.delete_bucket(&bucket).await.unwrap();
    namespace.delete_account("zoe").await.unwrap();
    let late = namespace.create_bucket(&"photos".parse().unwrap(), account.id).await;
    assert!(late.is_err(), "a request that was let in before the account went makes no bucket after it");
}

#[tokio::test]
async fn a_secret_copied_to_another_key_does_not_open() {
    let (memory, namespace) = open().await;
    let (_, one) = namespace.create_account("one").await.unwrap();
    let (_, other) = namespace.create_account("other").await.unwrap();
    let stolen = memory.get(&[accounts::access_key(&one.key.id)]).await.unwrap().remove(0).unwrap().to_vec();
    let place = accounts::access_key(&other.key.id);
    memory
        .commit(
            Priority::Foreground,
            Vec::new(),
            Box::new(move |_| Some(vec![Write::Put(place.clone(), stolen.clone())])),
        )
        .await
        .unwrap();
    assert!(matches!(namespace.credential(&other.key.id).await, Err(Fault::Damaged(_))));
}

/// A commit whose answer is lost may have made an account whose secret nobody saw. It is settled by reading: what was
/// made is answered as made, what was not is a failure, and neither is tried twice.
#[tokio::test]
async fn lost_answers_are_settled_by_reading() {
    let memory = Memory::new();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone()), 1, Chances::default()));
    let namespace = open_on(faulty.clone()).await;
    faulty.force(Some(CommitFault::Lose));
    namespace.ensure_first_key(given("OPERATOR", "secret-one")).await.unwrap().unwrap();
    assert_eq!(speaks(&namespace, "OPERATOR").await, "admin=secret-one");
    for fault in [CommitFault::Drop, CommitFault::Delay] {
        faulty.force(Some(fault));
        let lost = namespace.create_account("zoe").await;
        assert!(matches!(lost, Err(AccountError::Fault(Fault::Unavailable(_)))), "{lost:?}");
    }
    assert_eq!(faulty.land().await, Ok(true));
    assert_eq!(namespace.accounts().await.unwrap().len(), 1, "what was given up does not land later");
    faulty.force(Some(CommitFault::Lose));
    let (account, first) = namespace.create_account("zoe").await.unwrap();
    assert_eq!(namespace.account(account.id).await.unwrap(), Some(account));
    faulty.force(Some(CommitFault::Lose));
    let key = namespace.create_key("zoe").await.unwrap();
    assert_ne!(speaks(&namespace, &key.key.id).await, "-");
    faulty.force(Some(CommitFault::Lose));
    namespace.delete_key("zoe", &first.key.id).await.unwrap();
    faulty.force(Some(CommitFault::Lose));
    assert!(namespace.set_account_disabled("zoe", true).await.unwrap().disabled);
    faulty.force(Some(CommitFault::Lose));
    namespace.delete_account("zoe").await.unwrap();
    assert_eq!(namespace.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn usage_names_everybody() {
    let (_, namespace) = open().await;
    let bucket = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
    let add = usage::add(Counted::Bucket(bucket.incarnation), 2, 30);
    let add = [add, usage::add(Counted::Account(1), 2, 30)].concat();
    namespace.engine.commit(Priority::Foreground, Vec::new(), Box::new(move |_| Some(add.clone()))).await.unwrap();
    let report = namespace.usage().await.unwrap();
    let two = crate::usage::Usage { objects: 2, bytes: 30 };
    assert_eq!(report.buckets, [(bucket.name, 1, two)]);
    assert_eq!(report.accounts, [(1, "admin".to_owned(), two)]);
}
