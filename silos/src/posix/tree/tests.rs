use super::*;
use futures_util::TryStreamExt;
use std::os::unix::fs::symlink;

use crate::contract::holdings::{Others, holdings};
use crate::limits::BLOCK;
use crate::silo::collect;

struct House {
    at: tempfile::TempDir,
    tree: Tree,
}

impl House {
    fn new(files: &[&str]) -> Self {
        let at = tempfile::tempdir().unwrap();
        let tree = Tree::new(at.path());
        let house = Self { at, tree };
        for file in files {
            house.write(file, file.as_bytes());
        }
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    async fn found(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Found> {
        let mut walk = self.tree.walk(prefix.as_bytes(), after.map(str::as_bytes));
        let mut all = Vec::new();
        loop {
            let some = walk.next(limit).await.unwrap();
            if some.is_empty() {
                return all;
            }
            assert!(some.len() <= limit);
            all.extend(some);
        }
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let found = self.found(prefix, after, 3).await;
        found.iter().map(|found| String::from_utf8_lossy(found.name()).into_owned()).collect()
    }

    async fn look(&self, name: &str) -> Result<Held, SiloError> {
        self.tree.look(name.as_bytes()).await
    }

    async fn open(&self, held: &Held) -> Result<Pieces, SiloError> {
        self.tree.read(&held.name, held.size, &held.validator, 0..held.size).await
    }
}

fn is_mismatch<T>(outcome: &Result<T, SiloError>) -> bool {
    matches!(outcome, Err(SiloError::Mismatch { .. }))
}

#[async_trait]
impl Others for House {
    async fn put(&self, name: &str, bytes: &[u8]) {
        self.write(name, bytes);
    }

    async fn delete(&self, name: &str) {
        std::fs::remove_file(self.path(name)).unwrap();
    }

    fn says_more(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let house = House::new(&[]);
    holdings(&house.tree, &house, &["a\\b", "\u{ffee}"]).await;
}

#[tokio::test]
async fn every_name_is_seen_once_in_byte_order() {
    let mut all = ["a-b", "a/1", "a/2/x", "a0", "b/c/d/e", "b/c-", "é/ü", "z"];
    let house = House::new(&all);
    house.write(".holdall/staged/1", b"ours");
    house.write(MARKER, b"ours");
    all.sort_unstable();
    assert_eq!(house.names("", None).await, all);
    assert_eq!(house.names("b/", Some("b/c-")).await, ["b/c/d/e"]);
    let looked = house.look("a/2/x").await.unwrap();
    assert!(house.found("", None, 100).await.contains(&Found::Held(looked.clone())), "{looked:?}");
    assert_eq!((looked.size, &*looked.user[2].0), (5, "file-permissions"));
}

#[tokio::test]
async fn names_are_the_bytes_they_are() {
    let house = House::new(&[]);
    std::fs::write(house.at.path().join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
    let found = house.found("", None, 9).await;
    assert_eq!(found[0].name(), b"caf\xe9");
    assert_eq!(house.tree.look(b"caf\xe9").await.unwrap().size, 1);
}

/// A FIFO that is opened for reading waits for a writer for ever, and a link can lead anywhere.
#[tokio::test]
async fn what_is_no_file_is_refused_and_no_link_leads_out() {
    let house = House::new(&["in/file"]);
    std::fs::write(house.at.path().with_extension("outside"), "secret").unwrap();
    let dir = std::fs::File::open(house.at.path()).unwrap();
    fs::mknodat(&dir, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
    for (name, to) in [
        ("out", "/etc/passwd"),
        ("up", "../../etc/passwd"),
        ("lost", "nowhere"),
        ("folder", "in"),
        ("to", "in/file"),
        ("round", "round"),
    ] {
        symlink(to, house.path(name)).unwrap();
    }
    let found = house.found("", None, 100).await;
    let told = |name: &str| {
        found.iter().find(|found| found.name() == name.as_bytes()).map(|found| match found {
            Found::Held(held) => format!("{} bytes", held.size),
            Found::Refused { reason, .. } | Found::Archived { reason, .. } | Found::Unread { reason, .. } => {
                reason.clone()
            }
        })
    };
    assert_eq!(told("pipe").unwrap(), "a pipe");
    assert_eq!(told("out").unwrap(), "a link that leads out of the folder");
    assert_eq!(told("up").unwrap(), "a link that leads out of the folder");
    assert_eq!(told("lost").unwrap(), "a link that leads nowhere");
    assert_eq!(told("folder").unwrap(), "a link to a folder");
    assert_eq!(told("round").unwrap(), "a link that leads in a circle");
    assert_eq!(told("to").unwrap(), "7 bytes");
    for name in ["pipe", "out", "up", "folder", "round"] {
        assert!(is_mismatch(&house.look(name).await), "{name}");
    }
    symlink("in", house.path("beside")).unwrap();
    // Each spells a file that is there, and no walk gives the name.
    for name in ["in//file", "./in/file", "in/../in/file", "/in/file", "folder/file", "beside/file"] {
        assert_eq!(house.look(name).await, Err(SiloError::Missing), "{name:?}");
    }
    for name in ["lost", "no", "in/file/below", "in/", MARKER, ".holdall/x", "a\0b"] {
        assert_eq!(house.look(name).await, Err(SiloError::Missing), "{name:?}");
    }
}

/// Each ext4 has `lost+found`, closed to all but root: no walk of one was ever complete.
#[tokio::test]
async fn what_is_the_file_systems_own_leaves_a_walk_complete() {
    let root = House::new(&[]).tree.root().await.unwrap();
    let unread = |name: &str| root.found(Item::Unread(name.into(), Errno::ACCESS)).unwrap();
    assert!(matches!(unread("lost+found/"), Found::Refused { .. }));
    assert!(matches!(unread("a/lost+found/"), Found::Unread { .. }));
}

#[tokio::test]
async fn bytes_are_those_that_were_seen() {
    let house = House::new(&[]);
    let bytes: Vec<u8> = (0..BLOCK * 2 + 7).map(|at| at as u8).collect();
    house.write("f", &bytes);
    let held = house.look("f").await.unwrap();
    assert_eq!(collect(house.open(&held).await.unwrap()).await.unwrap(), bytes);
    let range = BLOCK as u64 - 3..BLOCK as u64 + 3;
    let piece = house.tree.read(b"f", held.size, &held.validator, range).await.unwrap();
    assert_eq!(collect(piece).await.unwrap(), bytes[BLOCK - 3..BLOCK + 3]);
    house.write("empty", b"");
    let held = house.look("empty").await.unwrap();
    assert!(collect(house.open(&held).await.unwrap()).await.unwrap().is_empty());
}

/// Same size, and the time of modification set back, as `touch -r` and some copy programs do.
#[tokio::test]
async fn a_change_that_hides_behind_an_old_time_is_seen() {
    let house = House::new(&["f"]);
    let held = house.look("f").await.unwrap();
    let before = std::fs::metadata(house.path("f")).unwrap().modified().unwrap();
    // Whatever the clock's grain.
    tokio::time::sleep(Duration::from_millis(30)).await;
    house.write("f", b"g");
    std::fs::File::options().write(true).open(house.path("f")).unwrap().set_modified(before).unwrap();
    let after = house.look("f").await.unwrap();
    assert_eq!((held.size, held.modified), (after.size, after.modified), "it hides");
    assert_ne!(held.validator, after.validator);
    assert!(is_mismatch(&house.open(&held).await.map(drop)));
}

/// Each way to change a file under a running read ends the read: in place, by replacing it, by cutting it off.
#[tokio::test]
async fn a_file_that_changes_under_a_read_is_never_a_mixture() {
    let (old, new) = (vec![1; BLOCK * 3], vec![2; BLOCK * 3]);
    let changes: [fn(&House, &[u8]); 3] = [
        |house, new| house.write("f", new),
        |house, new| {
            house.write("g", new);
            std::fs::rename(house.path("g"), house.path("f")).unwrap();
        },
        |house, _| std::fs::File::options().write(true).open(house.path("f")).unwrap().set_len(5).unwrap(),
    ];
    for change in changes {
        let house = House::new(&[]);
        house.write("f", &old);
        let held = house.look("f").await.unwrap();
        let mut pieces = house.open(&held).await.unwrap();
        assert_eq!(pieces.try_next().await.unwrap().unwrap(), old[..BLOCK]);
        change(&house, &new);
        assert!(is_mismatch(&pieces.try_collect::<Vec<_>>().await));
    }
}

/// Two writes within one tick of the clock leave the same times. What was read before the second must not be kept for
/// what is there after it: a file is read once its last change is old enough.
#[tokio::test]
async fn a_file_that_was_changed_just_now_is_read_when_the_clock_has_ticked() {
    let house = House::new(&["f"]);
    let held = house.look("f").await.unwrap();
    assert!(held.unsettled);
    drop(house.open(&held).await.unwrap());
    assert!(!house.look("f").await.unwrap().unsettled);
}

/// The folder where a NAS is mounted, when it is not.
#[tokio::test]
async fn another_folder_in_the_same_place_is_not_the_same() {
    let house = House::new(&["f"]);
    let known = house.tree.identity().await.unwrap();
    let held = house.look("f").await.unwrap();
    let (away, at) = (house.at.path().with_extension("away"), house.at.path().to_owned());
    std::fs::rename(&at, &away).unwrap();
    assert!(house.tree.identity().await.is_err());
    std::fs::create_dir(&at).unwrap();
    assert_ne!(house.tree.identity().await.unwrap(), known);
    assert_eq!(house.open(&held).await.map(drop), Err(SiloError::Missing));
    std::fs::remove_dir(&at).unwrap();
    std::fs::rename(&away, &at).unwrap();
    assert_eq!(house.tree.identity().await.unwrap(), known);
    assert!(house.open(&held).await.is_ok());
}
