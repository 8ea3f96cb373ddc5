//! Changing how a silo is reached.

use holdall_namespace::inventory::{CredentialsFrom, Health};
use holdall_namespace::set_silo::{SetSilo, SetSiloError};
use holdall_namespace::table::silos::{SiloRow, silo as silo_key};

use super::*;

fn url(url: &str) -> SetSilo {
    SetSilo { url: Some(url.to_owned()), ..SetSilo::default() }
}

impl House {
    async fn set(&self, set: &SetSilo) -> Result<Vec<String>, String> {
        self.set_with(set, false).await
    }

    async fn set_with(&self, set: &SetSilo, dry_run: bool) -> Result<Vec<String>, String> {
        let done =
            self.namespace.set_silo("hot", set, dry_run).await.map_err(|error: SetSiloError| error.to_string())?;
        Ok(done.into_iter().map(|change| format!("{} -> {}", change.before.unwrap(), change.after)).collect())
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
}

/// A copy of a folder and all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let there = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &there);
        } else {
            std::fs::copy(entry.path(), there).unwrap();
        }
    }
}

#[tokio::test]
async fn a_silo_that_was_moved_is_found_again() {
    let house = house("file:hot").await;
    let (bucket, beside) = (house.bucket().await, house.beside().await);
    put(&house.namespace, &bucket, "before").await;
    std::fs::rename(house.at("hot"), house.at("new")).unwrap();
    let changed = ["file:hot reserve 5% -> file:new reserve 5%"];
    assert_eq!(house.set_with(&url("file:new"), true).await.unwrap(), changed);
    assert_eq!(silo(&house.namespace, "hot").await.url, "file:hot", "a dry run changes nothing");
    assert_eq!(house.set(&url("file:new")).await.unwrap(), changed);
    assert_eq!(house.set(&url("file:new")).await.unwrap(), [""; 0]);
    put(&house.namespace, &bucket, "after").await;
    beside.publish_beat_for_tests().await;
    for namespace in [&house.namespace, &beside] {
        assert_eq!(silo(namespace, "hot").await.url, "file:new");
        assert!(reads(namespace, &bucket, "before").await && reads(namespace, &bucket, "after").await);
    }
}

/// A copy has the marker of the silo that it was made of: what was written while somebody still went by the old place
/// would have been missing in the new one.
#[tokio::test]
async fn a_copy_does_not_take_the_place_of_a_silo_that_stands() {
    let house = house("file:hot").await;
    let bucket = house.bucket().await;
    put(&house.namespace, &bucket, "before").await;
    copy(&house.at("hot"), &house.at("copy"));
    let refused = house.set(&url("file:copy")).await.unwrap_err();
    assert!(
        refused.starts_with("silo `hot`: what is written to `file:hot` is not seen there: it is a copy"),
        "{refused}"
    );
    assert_eq!(silo(&house.namespace, "hot").await.url, "file:hot");
    // The same folder by another path is no copy.
    std::os::unix::fs::symlink(house.at("hot"), house.at("link")).unwrap();
    house.set(&url("file:link")).await.unwrap();
    std::fs::rename(house.at("hot"), house.at("away")).unwrap();
    house.set(&url("file:copy")).await.unwrap();
    assert!(reads(&house.namespace, &bucket, "before").await);
}

#[tokio::test]
async fn another_silo_is_not_taken_for_it() {
    let house = house("file:hot").await;
    house.declare("cold", DeclaredSilo::own("file:cold")).await.unwrap();
    std::fs::create_dir(house.at("empty")).unwrap();
    copy(&house.at("cold"), &house.at("another"));
    let overlaps = "silo.hot.url: `file:cold` overlaps silo `cold`, which is `file:cold`";
    for (place, told) in
        [("file:cold", overlaps), ("file:empty", "is it mounted?"), ("file:another", "belongs to `cold`")]
    {
        for dry_run in [true, false] {
            let refused = house.set_with(&url(place), dry_run).await.unwrap_err();
            assert!(refused.contains(told), "{place}: {refused}");
        }
    }
    let others = SetSilo { access: Some(Access::ReadOnly), ..SetSilo::default() };
    let refused = house.set(&others).await.unwrap_err();
    assert!(
        refused.starts_with("silo.hot.access: whose a silo is does not change: what lies in this one are blobs"),
        "{refused}"
    );
    let refused = house.set(&url("davs://nas/hot")).await.unwrap_err();
    assert!(refused.starts_with("silo.hot.url: `davs://nas/hot` is another kind of silo than `file:hot`"), "{refused}");
    let missing = house.namespace.set_silo("attic", &url("file:x"), false).await.unwrap_err();
    assert_eq!(missing.to_string(), "no silo `attic`");
}

/// Also of a silo that is down: nothing of how it is reached changes.
#[tokio::test]
async fn a_reserve_needs_no_silo() {
    let house = house("file:hot").await;
    house.declare("cold", DeclaredSilo::own("file:cold")).await.unwrap();
    std::fs::rename(house.at("hot"), house.at("away")).unwrap();
    let set = SetSilo { reserve_percent: Some(20), ..SetSilo::default() };
    assert_eq!(house.set(&set).await.unwrap(), ["file:hot reserve 5% -> file:hot reserve 20%"]);
    let too_much = SetSilo { reserve_percent: Some(91), ..SetSilo::default() };
    assert_eq!(house.set(&too_much).await.unwrap_err(), "silo.hot.reserve: a reserve is at most 90%");
}

/// A secret that was changed in its file was read at the next start alone.
#[tokio::test]
async fn a_silo_is_connected_anew_by_order() {
    let house = house("file:hot").await;
    house.declare("cold", DeclaredSilo::own("file:cold")).await.unwrap();
    std::fs::rename(house.at("hot"), house.at("away")).unwrap();
    let renew = SetSilo { renew: true, ..SetSilo::default() };
    assert!(house.set(&renew).await.is_err(), "nothing is there");
    std::fs::rename(house.at("away"), house.at("hot")).unwrap();
    assert_eq!(house.set(&renew).await.unwrap(), ["file:hot reserve 5% -> file:hot reserve 5%, connected anew"]);
    let known = silo(&house.namespace, "hot").await;
    assert_eq!(known.health, Health::Up);
    let row = house.engine.get(&[silo_key(known.id)]).await.unwrap().remove(0).unwrap();
    assert_eq!(SiloRow::decode(&row).unwrap().connection, 1);
    let credentials = CredentialsFrom { token_file: Some("/nowhere".to_owned()), ..CredentialsFrom::default() };
    let refused = house.set(&SetSilo { credentials: Some(credentials), ..SetSilo::default() }).await.unwrap_err();
    assert_eq!(refused, "silo `hot`: `/nowhere`: No such file or directory (os error 2)");
}

/// Whoever cordoned a silo while it was being set found it taking new bytes afterwards: the row was written as it was read.
#[tokio::test]
async fn a_cordon_that_comes_between_stays() {
    let house = house("memory:set-between").await;
    let beside = house.beside().await;
    *house.engine.slip.lock().unwrap() = Some(Box::pin(async move {
        beside.set_cordon("hot", true).await.unwrap();
    }));
    house.set(&SetSilo { reserve_percent: Some(9), ..SetSilo::default() }).await.unwrap();
    assert!(silo(&house.namespace, "hot").await.cordoned);
    let row = house.engine.get(&[silo_key(1)]).await.unwrap().remove(0).unwrap();
    let row = SiloRow::decode(&row).unwrap();
    assert_eq!((row.cordoned, row.declared.reserve_percent), (true, 9));
}

/// Two gateways that were told to register the same silo at once did so twice, with one marker.
#[tokio::test]
async fn a_silo_is_registered_once() {
    let house = house("memory:set-once").await;
    let beside = house.beside().await;
    let cold = || Declared {
        silos: [("cold".to_owned(), DeclaredSilo::own("memory:set-once-cold"))].into(),
        ..Declared::default()
    };
    *house.engine.slip.lock().unwrap() = Some(Box::pin(async move {
        beside.apply(&cold(), false).await.unwrap();
    }));
    assert_eq!(house.namespace.apply(&cold(), false).await.unwrap(), []);
    assert_eq!(house.namespace.silos().await.unwrap().len(), 2);
}
