//! Scrubs by command.

use super::*;

/// The first file below a folder that is as long at least.
pub(super) fn file_of(folder: &Path, least: u64) -> std::path::PathBuf {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let data = entry.metadata().unwrap();
            if data.is_dir() {
                folders.push(entry.path());
            } else if data.len() >= least {
                return entry.path();
            }
        }
    }
    panic!("no file of {least} bytes");
}

/// Nobody knew what a disk had lost before the other one was gone.
#[test]
fn what_rotted_is_found_and_made_good_by_command() {
    let served = Served::start(&["--backup-every", "0s"], &[]);
    assert!(served.run("objective set safe --on s3://photos/ --place hot,cold --copies 2 --paused").status.success());
    store(&served, 2);
    assert!(served.run("objective resume safe").status.success());
    let there = |_: u32| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        served.json("plan")["aligned"]["extents"] == 2
    };
    assert!((0..300).any(there), "{}", served.json("plan"));
    let text = |line: &str| {
        let output = served.run(line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(text("scrub hot --dry-run"), "would read 2 extents of silo hot, 200.0 KiB\n");
    assert!(text("scrub hot --dry-run --rate 10KiB").contains("in 20s"));
    let damage = |silo: &str| {
        let path = file_of(&served.folder.path().join("data").join(silo).join("blobs"), 100 << 10);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[50_000] ^= 1;
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
    };
    damage("hot");
    let scrubbed = text("scrub hot");
    assert!(
        scrubbed.contains("(scrub hot) is done: 2 of 2 objects, 200.0 KiB looked at; 1 damaged, 1 of them made good"),
        "{scrubbed}"
    );
    let list = text("scrub --list");
    assert!(list.contains("hot") && list.contains("repaired") && list.contains("s3://photos/"), "{list}");
    assert_eq!(served.json("status")["damaged"], 0);
    assert!(text("scrub").lines().count() == 2, "all silos of ours");

    let set = served.json("silo set cold --scrub 90d --dry-run");
    assert_eq!(set["changes"][0]["after"], "file:cold reserve 5%, scrubbed every 2160 hours");

    // One copy alone, and that is bad.
    assert!(served.run("objective delete safe").status.success());
    put(&served, &[("/single".to_owned(), 0), ("/single/a".to_owned(), 500_000)]);
    let path = file_of(&served.folder.path().join("data/hot/blobs"), 500_000);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[400_000] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    let left = served.run("scrub hot");
    assert_eq!(left.status.code(), Some(1));
    assert_eq!(stderr(&left), "holdall: 1 damaged replica is left: `holdall scrub --list` says more\n");
    assert!(text("scrub --list").lines().any(|line| line.contains("left") && line.contains("s3://single/a")));
    assert!(text("status").contains("damaged    1 left: "), "{}", text("status"));
    let (code, log, _) = served.stop();
    assert_eq!(code, Some(0), "{log}");
}
