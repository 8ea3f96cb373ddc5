//! Roots by command.

use std::os::unix::ffi::OsStrExt;

use super::*;

/// A root was what it was ordered to be, for ever: one folder that nobody may open could not be left out.
#[test]
fn how_a_root_is_followed_can_be_changed_by_command() {
    let served = Served::start(&["--backup-every", "0s"], &[]);
    let nas = served.folder.path().join("nas");
    std::fs::create_dir_all(nas.join("shut")).unwrap();
    for name in ["a", "shut/b"] {
        std::fs::write(nas.join(name), "x").unwrap();
    }
    std::fs::write(nas.join(std::ffi::OsStr::from_bytes(b"caf\xe9")), "y").unwrap();
    put(&served, &[("/photos".to_owned(), 0)]);
    let text = |line: &str| {
        let output = served.run(line);
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    text(&format!("silo create nas file://{} --access read-only", nas.display()));
    let ordered = text("assimilate nas --into s3://photos/ --without shut/");
    assert!(ordered.contains("into s3://photos/, without shut/): 2 names"), "{ordered}");
    assert!(text("assimilate status 1").contains("  no object: caf\u{fffd} (the name is not UTF-8)"));
    let set = served.json("assimilate set 1 --every 1h --rate 50 --watch false --partial-lists true");
    let order = &set["order"];
    assert_eq!((&order["every_seconds"], &order["rate"]), (&3600.into(), &50.into()));
    assert_eq!((&order["watch"], &order["partial_lists"]), (&false.into(), &true.into()));
    assert_eq!((&order["without"][0], &set["filled"], &set["unfilled"]), (&"shut/".into(), &true.into(), &0.into()));
    assert_eq!(served.run("assimilate set 1").status.code(), Some(2));
    let refused = served.run("assimilate set 1 --every 0s");
    assert!(!refused.status.success() && stderr(&refused).contains("a second at least"), "{}", stderr(&refused));
    assert!(!served.run("assimilate set 7 --rate 1").status.success());
    let (code, log, _) = served.stop();
    assert_eq!(code, Some(0), "{log}");
}
