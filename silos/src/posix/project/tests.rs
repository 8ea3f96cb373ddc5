use super::*;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::holdings::Holdings;
use crate::posix::tree::same_file;
use crate::silo::collect;

const AT: Attempt = Attempt { number: (7, 10), owner: 1 };
const THEIRS: Attempt = Attempt { owner: 2, ..AT };

struct House {
    at: tempfile::TempDir,
    shared: Shared,
}

impl House {
    /// With and without what only some file systems can do.
    fn both() -> [Self; 2] {
        let new = || {
            let at = tempfile::tempdir().unwrap();
            let shared = Shared::new(at.path(), "ns");
            Self { at, shared }
        };
        let (one, other) = (new(), new());
        for house in [&one, &other] {
            for folder in [".holdall", ".holdall/ns"] {
                std::fs::create_dir(house.path(folder)).unwrap();
                std::fs::set_permissions(house.path(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
            }
        }
        [one, Self { shared: other.shared.without_exchange(), ..other }]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), text).unwrap();
    }

    fn text(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    async fn stage(&self, name: &str, text: &str) -> Validator {
        let body = stream::iter([Ok(Bytes::copy_from_slice(text.as_bytes()))]).boxed();
        let file = Staging { body, size: text.len() as u64, modified: 1_700_000_000_123, name: name.into() };
        self.shared.stage(AT, Some(file)).await.unwrap().unwrap()
    }

    async fn seen(&self, name: &str) -> Validator {
        Tree::new(self.at.path()).look(name.as_bytes()).await.unwrap().validator
    }

    async fn out(&self, staged: Option<&Validator>, came: &Validator) -> String {
        let pieces = self.shared.read(AT, came, staged).await.unwrap();
        String::from_utf8(collect(pieces).await.unwrap().to_vec()).unwrap()
    }
}

#[tokio::test]
async fn a_file_takes_a_name_and_what_had_it_comes_out() {
    for house in House::both() {
        house.write("a/k", "before");
        std::fs::set_permissions(house.path("a/k"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = house.seen("a/k").await;
        let staged = house.stage("a/k", "after").await;
        assert_eq!(house.text("a/k").unwrap(), "before", "nothing happens yet");
        house.shared.bring(AT, &staged, b"a/k").await.unwrap();
        let _ = house.shared.bring(AT, &staged, b"a/k").await;
        let outcome = house.shared.look(AT, b"a/k", Some(&staged)).await.unwrap();
        let (came, now) = (outcome.came.unwrap(), outcome.now.unwrap());
        assert!(outcome.is_in && same_file(&came, &before) && same_file(&now, &staged));
        assert_eq!(now, house.seen("a/k").await);
        assert_eq!(
            (house.text("a/k").unwrap(), house.out(Some(&staged), &came).await),
            ("after".into(), "before".into())
        );
        let meta = std::fs::metadata(house.path("a/k")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o640, 1_700_000_000, 123_000_000));
        house.shared.discard(AT).await.unwrap();
        assert_eq!(house.shared.attempts().await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_new_name_gets_its_folders_and_a_taken_one_keeps_them() {
    for house in House::both() {
        let staged = house.stage("x/y/k", "one").await;
        house.shared.bring(AT, &staged, b"x/y/k").await.unwrap();
        let outcome = house.shared.look(AT, b"x/y/k", Some(&staged)).await.unwrap();
        assert_eq!((outcome.came, outcome.is_in), (None, true));
        house.shared.discard(AT).await.unwrap();
        house.shared.stage(AT, None).await.unwrap();
        house.shared.take(AT, b"x/y/k").await.unwrap();
        house.shared.take(AT, b"x/y/k").await.unwrap();
        let outcome = house.shared.look(AT, b"x/y/k", None).await.unwrap();
        assert_eq!((house.text("x/y/k"), outcome.is_in, outcome.now), (None, false, None));
        assert!(same_file(&outcome.came.unwrap(), &staged));
        assert!(house.path("x/y").is_dir());
        house.write("x/y/k", "another's");
        assert!(!house.shared.give(AT, None, b"x/y/k").await.unwrap(), "never over what others put there");
        assert!(house.shared.give(AT, None, b"x/y/k2").await.unwrap());
        assert_eq!((house.text("x/y/k").unwrap(), house.text("x/y/k2").unwrap()), ("another's".into(), "one".into()));
    }
}

/// An owner that was frozen between two steps goes on after somebody else took its attempt over.
#[tokio::test]
async fn who_lost_an_attempt_changes_nothing() {
    for house in House::both() {
        house.write("k", "before");
        let staged = house.stage("k", "after").await;
        assert!(house.shared.take_over(THEIRS).await.unwrap());
        assert!(house.shared.take_over(THEIRS).await.unwrap(), "asked again");
        let late = [house.shared.bring(AT, &staged, b"k").await, house.shared.take(AT, b"k").await];
        assert_eq!(late, [Err(SiloError::Missing), Err(SiloError::Missing)]);
        assert!(house.shared.look(AT, b"k", None).await.is_err());
        assert_eq!(house.text("k").unwrap(), "before");
        assert_eq!(house.shared.attempts().await.unwrap(), [THEIRS]);
        house.shared.discard(THEIRS).await.unwrap();
        assert!(!house.shared.take_over(THEIRS).await.unwrap());
    }
}

#[tokio::test]
async fn what_cannot_be_a_file_stays_what_it_is() {
    for house in House::both() {
        house.write("full/of", "x");
        house.write("file", "x");
        symlink("file", house.path("link")).unwrap();
        symlink("full", house.path("way")).unwrap();
        std::fs::create_dir(house.path("empty")).unwrap();
        let long = "n".repeat(256);
        for name in
            ["full", "link", "way/k", "file/k", &long, ".holdall/x", "a//b", "a/../b", "/a", "a/", "holdall-silo.json"]
        {
            let staged = house.stage(name, "new").await;
            let refused = house.shared.bring(AT, &staged, name.as_bytes()).await;
            assert!(matches!(refused, Err(SiloError::Mismatch { .. })), "{name}: {refused:?}");
            house.shared.discard(AT).await.unwrap();
        }
        let staged = house.stage("empty", "new").await;
        house.shared.bring(AT, &staged, b"empty").await.unwrap();
        assert_eq!(house.text("empty").unwrap(), "new", "an empty folder holds nothing");
        house.shared.discard(AT).await.unwrap();
        house.shared.stage(AT, None).await.unwrap();
        for name in ["full", "link"] {
            assert!(matches!(house.shared.take(AT, name.as_bytes()).await, Err(SiloError::Mismatch { .. })));
        }
        house.shared.take(AT, b"no/such").await.unwrap();
    }
}

/// A gateway that took an attempt over by a commit, and died before it renamed the folder, left what had come out to be
/// removed as an orphan.
#[tokio::test]
async fn an_attempt_is_taken_over_from_whoever_had_it() {
    for house in House::both() {
        house.write("k", "unseen");
        let staged = house.stage("k", "by S3").await;
        house.shared.bring(AT, &staged, b"k").await.unwrap();
        let third = Attempt { owner: 3, ..AT };
        assert!(house.shared.take_over(third).await.unwrap());
        let outcome = house.shared.look(third, b"k", Some(&staged)).await.unwrap();
        assert!(outcome.is_in && outcome.came.is_some());
    }
}

/// `.holdall` as a link, or of somebody else, would lead attempts out of the tree; where it is missing, nothing is
/// mounted.
#[tokio::test]
async fn attempts_lie_in_a_folder_of_our_own() {
    let [house, _] = House::both();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::remove_dir_all(house.path(".holdall")).unwrap();
    assert!(matches!(house.shared.stage(AT, None).await, Err(SiloError::Mismatch { .. })));
    assert!(!house.path(".holdall").exists());
    symlink(elsewhere.path(), house.path(".holdall")).unwrap();
    assert!(matches!(house.shared.stage(AT, None).await, Err(SiloError::Mismatch { .. })));
    assert!(house.shared.fit().await.is_err());
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    std::fs::remove_file(house.path(".holdall")).unwrap();
    std::fs::create_dir(house.path(".holdall")).unwrap();
    std::fs::set_permissions(house.path(".holdall"), std::fs::Permissions::from_mode(0o755)).unwrap();
    house.shared.fit().await.unwrap();
    assert_eq!(std::fs::metadata(house.path(".holdall")).unwrap().mode() & 0o777, 0o700, "nobody else looks in there");
}

/// A file that runs as root must not become one that runs what S3 wrote as root.
#[tokio::test]
async fn what_runs_as_its_owner_is_not_carried_over() {
    let [house, _] = House::both();
    house.write("k", "before");
    std::fs::set_permissions(house.path("k"), std::fs::Permissions::from_mode(0o6755)).unwrap();
    let staged = house.stage("k", "after").await;
    house.shared.bring(AT, &staged, b"k").await.unwrap();
    assert_eq!(std::fs::metadata(house.path("k")).unwrap().mode() & 0o7777, 0o755);
}

/// Others remove the folder that a file is about to get its name back in.
#[tokio::test]
async fn what_came_out_is_given_or_kept() {
    for house in House::both() {
        house.write("d/k", "unseen");
        house.shared.stage(AT, None).await.unwrap();
        house.shared.take(AT, b"d/k").await.unwrap();
        std::fs::remove_dir(house.path("d")).unwrap();
        std::fs::write(house.path("d"), "a file").unwrap();
        assert!(!house.shared.give(AT, None, b"d/k.conflict").await.unwrap());
        let came = house.shared.look(AT, b"d/k", None).await.unwrap().came.unwrap();
        std::fs::write(house.path(".holdall/ns/7-a.1/old"), "written to since").unwrap();
        assert!(!house.shared.discard_known(AT, b"d/k", &came, None).await.unwrap());
        std::fs::remove_file(house.path("d")).unwrap();
        assert!(house.shared.give(AT, None, b"d/k").await.unwrap());
        assert_eq!(house.text("d/k").unwrap(), "written to since");
        assert_eq!(house.shared.give(AT, None, b"d/k2").await, Err(SiloError::Missing));
    }
}

#[tokio::test]
async fn a_local_disk_is_fit_and_says_what_it_lacks() {
    let [whole, plain] = House::both();
    assert!(whole.shared.fit().await.unwrap()[0].starts_with("open writers"));
    assert!(plain.shared.fit().await.unwrap()[0].starts_with("no exchange"));
    assert_eq!(std::fs::read_dir(whole.path(".holdall/ns")).unwrap().count(), 0);
}
