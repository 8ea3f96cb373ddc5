use std::fmt::Write;
use std::path::Path;

use super::*;
use crate::limits::{
    MAX_DESCRIPTION, MAX_DESCRIPTION_BEFORE_BODY, MAX_EXTENT, MAX_LIST_PAGE, POSIX_QUEUE, POSIX_THREADS, READ_TIMEOUT,
    READ_TRIES, RESPONSE_TIMEOUT, SLOWEST_FLUSH, STALL_TIMEOUT,
};

const BEGIN: &str = "<!-- made by silos/src/kinds/tests.rs; change it there -->\n";
const END: &str = "<!-- until here -->\n";

fn word(promise: Promise) -> &'static str {
    match promise {
        Promise::Always => "yes",
        Promise::Never => "no",
        Promise::Probed => "probed",
    }
}

/// What is promised of writes, where there are any.
fn written(known: &Known, promise: Promise) -> String {
    if known.read_only { "–".to_owned() } else { word(promise).to_owned() }
}

/// Nanoseconds as people say them.
fn time(ns: u64) -> String {
    if ns.is_multiple_of(1_000_000_000) { format!("{} s", ns / 1_000_000_000) } else { format!("{ns} ns") }
}

fn facts_table(text: &mut String) {
    let heads = [
        "kind",
        "declared as",
        "replaces nothing",
        "refuses other bytes",
        "reads one version",
        "durable",
        "time grain, at least",
    ];
    row(text, &heads.map(str::to_owned));
    row(text, &heads.map(|_| "---".to_owned()));
    for known in Known::all() {
        row(
            text,
            &[
                known.name.to_owned(),
                format!("`{}`", known.url),
                written(&known, known.exclusive_create),
                written(&known, known.enforces_upload_checksum),
                word(known.conditional_read).to_owned(),
                written(&known, known.durable_put),
                time(known.time_grain_ns),
            ],
        );
    }
}

fn limits_table(text: &mut String) {
    let seconds = |time: std::time::Duration| format!("{} s", time.as_secs());
    let (folder_waits, bucket_waits) = (seconds(RESPONSE_TIMEOUT), seconds(READ_TIMEOUT));
    let rows = [
        ("limit".to_owned(), "folders".to_owned(), "buckets".to_owned()),
        ("---".to_owned(), "---".to_owned(), "---".to_owned()),
        ("largest blob".to_owned(), format!("{} GiB", MAX_EXTENT >> 30), format!("{} GiB", MAX_EXTENT >> 30)),
        (
            "what a blob says of itself".to_owned(),
            format!("{} KiB", MAX_DESCRIPTION >> 10),
            format!("{MAX_DESCRIPTION_BEFORE_BODY} bytes"),
        ),
        ("packs".to_owned(), "grow by appends".to_owned(), "are put whole".to_owned()),
        ("names a page".to_owned(), MAX_LIST_PAGE.to_string(), MAX_LIST_PAGE.to_string()),
        (
            "a read's answer is waited for".to_owned(),
            folder_waits.clone(),
            format!("{bucket_waits}, {READ_TRIES} times"),
        ),
        (
            "a write's answer is waited for".to_owned(),
            format!("{folder_waits}, a flush a second longer for each {} MiB", SLOWEST_FLUSH >> 20),
            format!("{}; {} without a byte moved", seconds(RESPONSE_TIMEOUT), seconds(STALL_TIMEOUT)),
        ),
        (
            "calls at once".to_owned(),
            format!("{POSIX_THREADS} a silo, {POSIX_QUEUE} waiting; more are refused"),
            "not limited here".to_owned(),
        ),
    ];
    for (what, folders, buckets) in rows {
        row(text, &[what, folders, buckets]);
    }
}

fn row(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).unwrap();
}

/// What stands between the two marks.
fn tables() -> String {
    let mut text = String::from("\n");
    facts_table(&mut text);
    text.push('\n');
    for known in Known::all() {
        writeln!(text, "- **{}.** {}{}", known.name, kinds(&known), known.limits.join(" ")).unwrap();
    }
    text.push('\n');
    limits_table(&mut text);
    text.push('\n');
    text
}

fn kinds(known: &Known) -> String {
    if known.kinds.is_empty() { String::new() } else { format!("`{}`. ", known.kinds.join("`, `")) }
}

/// The page said of mounts what was true two versions ago. `HOLDALL_WRITE_DOCS=1 cargo test -p holdall-silos kinds`
/// writes it.
#[test]
fn the_page_says_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/silos.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (made, after) = rest.split_once(END).unwrap();
    if std::env::var_os("HOLDALL_WRITE_DOCS").is_some() {
        std::fs::write(&path, [before, BEGIN, &tables(), END, after].concat()).unwrap();
        return;
    }
    assert_eq!(made, tables(), "docs/silos.md is old: write it with HOLDALL_WRITE_DOCS=1");
}

#[test]
fn every_folder_is_of_one_kind() {
    let all = Known::all();
    let mut names: Vec<_> = all.iter().flat_map(|known| known.kinds.clone()).collect();
    let every = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), every, "{names:?}");
    for name in ["ext4", "fuse.sshfs", "fuse.rclone", "fuse", "nfs", "cifs", "unknown"] {
        assert!(names.contains(&name), "{name}");
    }
}

#[test]
fn a_found_fact_is_held_to_its_kind() {
    let facts =
        Facts { family: "posix".to_owned(), kind: "fuse.rclone".to_owned(), max_blob: MAX_EXTENT, ..Facts::default() };
    let known = Known::of(&facts).unwrap();
    assert_eq!(known.differs(&facts), ["conditional reads"]);
    let facts = Facts { durable_put: true, conditional_read: true, time_grain_ns: 1, ..facts };
    assert_eq!(known.differs(&facts), ["durability", "time grain"]);
    assert_eq!(Known::of(&Facts { family: "memory".to_owned(), ..facts }), None);
}
