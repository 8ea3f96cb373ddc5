//! Rules of the house that a compiler does not check: which way imports go, what dependencies may cost, how long a file
//! may be.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A source file has at most this many lines before its tests.
const LONGEST: usize = 600;

/// Licences a dependency may have, any one of its alternatives.
const LICENCES: [&str; 10] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "Unicode-3.0",
    "CC0-1.0",
    // Data, not code: the list of root certificates.
    "CDLA-Permissive-2.0",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

fn metadata() -> Value {
    let mut command = Command::new(env!("CARGO"));
    let output = command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(root()).output();
    serde_json::from_slice(&output.expect("cargo runs").stdout).expect("cargo metadata is JSON")
}

/// Direct dependencies of one of our crates, those for tests left out.
fn needs(metadata: &Value, name: &str) -> Vec<String> {
    let package = metadata["packages"].as_array().unwrap().iter().find(|package| package["name"] == name).unwrap();
    let all = package["dependencies"].as_array().unwrap().iter().filter(|dependency| dependency["kind"].is_null());
    all.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn imports_go_one_way_and_each_engine_has_one_home() {
    let metadata = metadata();
    let refused = [
        ("holdall-silos", &["holdall", "holdall-namespace", "redb", "axum", "tower", "hyper", "aws-sigv4"][..]),
        (
            "holdall-namespace",
            &["holdall", "object_store", "reqwest", "axum", "tower", "hyper", "quick-xml", "aws-sigv4"],
        ),
        ("holdall", &["redb", "object_store", "reqwest"]),
        ("holdall-conformance", &["holdall", "holdall-namespace", "holdall-silos"]),
    ];
    for (name, banned) in refused {
        let needs = needs(&metadata, name);
        let wrong: Vec<_> = needs.iter().filter(|need| banned.contains(&need.as_str())).collect();
        assert!(wrong.is_empty(), "{name} must not depend on {wrong:?}");
    }
}

#[test]
fn every_licence_is_permissive() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let licence = package["license"].as_str().unwrap_or("none");
        let alternatives = licence.split(" OR ").flat_map(|one| one.split('/'));
        let fine = |one: &str| one.split(" AND ").all(|part| LICENCES.contains(&part.trim_matches(['(', ')', ' '])));
        if !alternatives.into_iter().any(fine) {
            wrong.push(format!("{} ({licence})", package["name"]));
        }
    }
    assert!(wrong.is_empty(), "licences to look at: {wrong:?}");
}

#[test]
fn no_source_file_grows_past_reading() {
    let tracked = Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()).output().expect("git runs");
    let mut long = Vec::new();
    for name in String::from_utf8(tracked.stdout).unwrap().lines() {
        let Ok(text) = std::fs::read_to_string(root().join(name)) else { continue };
        let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LONGEST && !name.ends_with("tests.rs") {
            long.push(format!("{name}: {lines}"));
        }
    }
    assert!(long.is_empty(), "too long: {long:?}");
}

/// A failpoint that no rig stops at shows nothing.
#[test]
fn every_failpoint_is_one_that_a_rig_dies_at() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let source = read("namespace/src/failpoint.rs");
    let list = source.split_once("FAILPOINTS: &[&str] = &[").unwrap().1.split_once("];").unwrap().0;
    let names: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 30, "{names:?}");
    let rigs =
        ["crash.rs", "kills/main.rs", "readwrite.rs"].map(|rig| read(&format!("conformance/src/bin/{rig}"))).concat();
    let missed: Vec<_> = names.iter().filter(|name| !rigs.contains(&format!("\"{name}\""))).collect();
    assert!(missed.is_empty(), "no rig dies at {missed:?}");
}
