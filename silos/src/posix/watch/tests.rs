//! What is told of a folder that others change.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::holdings::Holdings;

/// A change is told within this; most are at once.
const PATIENCE: Duration = Duration::from_secs(20);

struct House {
    at: tempfile::TempDir,
    watch: Box<dyn Watch>,
}

impl House {
    async fn new(files: &[&str], prefix: &str) -> Self {
        let at = tempfile::tempdir().unwrap();
        for file in files {
            write(&at.path().join(file));
        }
        let watch = Tree::new(at.path()).watch(prefix.as_bytes()).await.unwrap();
        Self { at, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.at.path().join(name)
    }

    /// What is told until all of these were, and what else.
    async fn told(&mut self, wanted: &[Touched]) -> Vec<Touched> {
        let mut told = Vec::new();
        while !wanted.iter().all(|wanted| told.contains(wanted)) {
            let next = tokio::time::timeout(PATIENCE, self.watch.next()).await;
            told.extend(next.unwrap_or_else(|_| panic!("only {told:?} of {wanted:?}")).unwrap());
        }
        told
    }
}

fn write(path: &std::path::Path) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "x").unwrap();
}

fn name(name: &str) -> Touched {
    Touched::Name(name.as_bytes().to_vec())
}

fn below(name: &str) -> Touched {
    Touched::Below(name.as_bytes().to_vec())
}

#[tokio::test]
async fn what_others_do_is_told_by_name() {
    let mut house = House::new(&["a", "b/c", "b/d", "gone"], "").await;
    std::fs::write(house.path("a"), "changed").unwrap();
    write(&house.path("b/new"));
    std::fs::rename(house.path("b/c"), house.path("b/moved")).unwrap();
    std::fs::remove_file(house.path("gone")).unwrap();
    std::fs::hard_link(house.path("b/d"), house.path("linked")).unwrap();
    std::os::unix::fs::symlink("a", house.path("link")).unwrap();
    let wanted = ["a", "b/new", "b/c", "b/moved", "gone", "linked", "link"].map(name);
    let told = house.told(&wanted).await;
    assert!(!told.contains(&name("b/d")), "{told:?}");
}

/// A file that takes a while to be written was taken over as it was in the middle.
#[tokio::test]
async fn a_file_that_is_being_written_is_told_once_it_is_closed() {
    use std::io::Write as _;
    let mut house = House::new(&["other"], "").await;
    let mut long = std::fs::File::create(house.path("long")).unwrap();
    long.write_all(b"half").unwrap();
    std::fs::write(house.path("other"), "changed").unwrap();
    let told = house.told(&[name("other")]).await;
    assert!(!told.contains(&name("long")), "{told:?}");
    drop(long);
    house.told(&[name("long")]).await;
}

/// Files made in a folder just made, before it could be watched, were never seen.
#[tokio::test]
async fn what_is_made_in_a_new_folder_is_told() {
    let mut house = House::new(&[], "").await;
    let files: Vec<String> = (0..200).map(|number| format!("{}/{}/{number}", number % 7, number % 3)).collect();
    for file in &files {
        write(&house.path(file));
    }
    let wanted: Vec<_> = files.iter().map(|file| name(file)).collect();
    house.told(&wanted).await;
    std::fs::write(house.path("3/0/3"), "changed").unwrap();
    house.told(&[name("3/0/3")]).await;
}

/// A folder that was moved went on to be told of by its old name.
#[tokio::test]
async fn a_folder_that_is_moved_is_told_by_both_names() {
    let mut house = House::new(&["old/x/1", "old/2"], "").await;
    std::fs::rename(house.path("old"), house.path("new")).unwrap();
    house.told(&[below("old/"), name("new/x/1"), name("new/2")]).await;
    std::fs::write(house.path("new/x/1"), "changed").unwrap();
    let told = house.told(&[name("new/x/1")]).await;
    assert!(!told.contains(&name("old/x/1")), "{told:?}");
}

#[tokio::test]
async fn of_a_large_new_folder_the_folder_is_told() {
    let mut house = House::new(&[], "").await;
    let beside = tempfile::tempdir_in(house.at.path().parent().unwrap()).unwrap();
    for number in 0..TOLD + 2 {
        write(&beside.path().join(format!("many/{number}")));
    }
    std::fs::rename(beside.path().join("many"), house.path("many")).unwrap();
    house.told(&[below("many/")]).await;
}

#[tokio::test]
async fn only_names_with_the_prefix_are_told() {
    let mut house = House::new(&["in/a", "out/b"], "in/").await;
    write(&house.path("out/new"));
    write(&house.path("in/new"));
    let told: BTreeSet<String> = house.told(&[name("in/new")]).await.iter().map(|told| format!("{told:?}")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    let mut house = House::new(&[], "").await;
    write(&house.path(".holdall/ours"));
    write(&house.path("in/.holdall/theirs"));
    let told = house.told(&[name("in/.holdall/theirs")]).await;
    assert!(!told.contains(&name(".holdall/ours")), "{told:?}");
    let mut house = House::new(&[], "late/").await;
    write(&house.path("late/a"));
    house.told(&[name("late/a")]).await;
}

#[tokio::test]
async fn a_folder_that_is_replaced_ends_the_watch() {
    let mut house = House::new(&["in/a"], "").await;
    let away = tempfile::tempdir_in(house.at.path().parent().unwrap()).unwrap();
    std::fs::rename(house.at.path(), away.path().join("away")).unwrap();
    let ended = tokio::time::timeout(PATIENCE, house.watch.next()).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
}

/// More came than the kernel keeps: all is told, and folders that came unseen are watched.
#[tokio::test]
async fn after_lost_events_everything_is_told() {
    let at = tempfile::tempdir().unwrap();
    let mut watch = TreeWatch::begin(Tree::new(at.path()), b"").await.unwrap();
    write(&at.path().join("unseen/a"));
    let lost = Event { watch: -1, flags: ReadFlags::QUEUE_OVERFLOW, name: Vec::new() };
    let asked = watch.folders.asked(vec![lost]);
    assert_eq!(watch.carry_out(asked).await.unwrap(), [below("")]);
    assert!(watch.folders.watches.contains_key(&b"unseen/"[..]));
}

#[tokio::test]
async fn a_mount_over_a_network_is_not_watched() {
    let at = tempfile::tempdir().unwrap();
    let tree = Tree::new(at.path());
    let mut root = Root::open(at.path(), None).unwrap();
    Arc::get_mut(&mut root).unwrap().kind = kind::by_magic(0x6969);
    let told = TreeWatch::of(tree, root, b"").await.err();
    assert_eq!(told.as_deref(), Some("`nfs` does not show what others change"));
}
