//! Seeded bugs: each takes one line out of the protocol where the product keeps it, and each must be found.

use std::collections::BTreeSet;
use std::path::Path;

use super::plan::Focus::{
    self, Answers, Copies, Everything, Lives, Losses, Moves, Packs, Promises, Reads, Switch, Uploads,
};
use super::search;

/// Cases a bug may live through.
const CASES: u64 = 20_000;

/// Every seeded bug, where it is looked for, and the line that it takes out.
const BUGS: &[Bug] = &[
    ("mutex-for-commit", Everything, "a mutex of one process stands for the commit's look at the current row"),
    ("condition-ignored", Everything, "a commit does not test its condition"),
    ("condition-once", Everything, "a commit that lost a race is decided again without its condition"),
    ("finish-early", Everything, "a write's number is finished before its commit's outcome is known"),
    ("resend-unknown", Answers, "a commit whose answer was lost is sent again"),
    ("discard-unknown", Answers, "bytes are discarded though their commit's outcome is unknown"),
    ("unknown-is-stored", Answers, "a put whose answer was lost counts as stored"),
    ("no-fence", Lives, "a commit does not look at its session's row"),
    ("no-epoch-raise", Answers, "a lost answer is looked up without raising the epoch"),
    ("bury-without-fence", Lives, "a silent session counts as dead, and may still commit"),
    ("reader-registers-late", Reads, "a read registers after it opened its row"),
    ("reader-under-sent", Reads, "a read registers under a beat that was not acknowledged"),
    ("oldest-too-high", Reads, "a session publishes an oldest read above its acknowledged beat"),
    ("sweep-ignores-readers", Reads, "a sweep does not wait for reads"),
    ("sweep-notes-early", Reads, "a sweeper notes the beats before it sees the retirement"),
    ("sweep-stale-row", Everything, "two sweepers forget replicas out of rows they read before"),
    ("manifest-unwaited", Reads, "the parts of a retired manifest go without waiting for reads"),
    ("untrimmed", Uploads, "the record of a completed upload goes before the parts it did not name"),
    ("head-first", Uploads, "a retired manifest's head goes before its parts"),
    ("aborted-first", Uploads, "an aborted upload's row goes before its parts"),
    ("collector-rows-first", Everything, "the collector reads extents before sessions"),
    ("collector-sessions-first", Lives, "the collector reads sessions before it lists"),
    ("collector-ignores-floor", Everything, "whatever no row names is an orphan"),
    ("copy-blind", Everything, "a copy does not look in its commit whether its source is live"),
    ("ignores-references", Everything, "an overwrite retires what another key refers to"),
    ("last-outside-commit", Everything, "that a reference is the last is decided before the commit"),
    ("move-blind", Moves, "a move commits without looking at its source"),
    ("move-reuses-name", Moves, "a move writes under the extent's first name"),
    ("abandon-finishes", Answers, "a number is finished when whoever waited for its commit went away"),
    ("move-unverified", Moves, "a move does not read its copy back"),
    ("part-ignores-upload", Uploads, "UploadPart does not look in its commit whether the upload is open"),
    ("part-keeps-seal", Uploads, "UploadPart does not break the seal"),
    ("complete-without-seal", Uploads, "Complete's last commit takes any seal for its own"),
    ("complete-over-abort", Uploads, "Complete's last commit does not look whether the upload was aborted"),
    ("complete-stays-open", Uploads, "the upload stays open after Complete"),
    ("complete-unrecorded", Uploads, "the upload's row goes with Complete's last commit"),
    ("complete-trusts-list", Uploads, "Complete does not hold the parts against the list"),
    ("invalid-part-unasked", Uploads, "InvalidPart is answered from the part rows alone"),
    ("pack-unheld", Packs, "a record's commit does not hold its pack's number"),
    ("pack-unpast", Packs, "a pack without named records is deleted though its session is not past it"),
    ("pack-uncounted", Packs, "a move does not count its copy in the pack it went to"),
    ("pack-kept-open", Packs, "a pack is appended to again after an append of which nothing is known"),
    ("abort-completed", Uploads, "Abort does not look whether the upload was completed"),
    ("drop-blind", Copies, "a drop does not look in its commit whether others are left"),
    ("drop-unasked", Copies, "a drop does not ask whether the others' bytes are there"),
    ("drop-counts-retired", Copies, "a drop counts what is retired already"),
    ("drop-counts-damaged", Copies, "a drop counts what is known to be damaged"),
    ("drop-counts-lost", Losses, "a drop does not look in its commit whether a silo was lost"),
    ("move-to-lost", Losses, "a move commits though its target was lost meanwhile"),
    ("lost-counts", Losses, "copies in lost silos count"),
    ("copy-twice", Copies, "a copy does not look in its commit whether its silo has one"),
    ("repair-retires-others", Copies, "a repair retires the good copies, too"),
    ("record-unchecked", Copies, "a small copy is made of bytes that nobody checked"),
    ("block-unchecked", Copies, "a block leaves unchecked"),
    ("failover-wrong-byte", Copies, "the next copy goes on where the block began"),
    ("failover-gives-up", Copies, "a read fails with the first copy that does"),
    ("spare-counts", Copies, "a copy of what is read counts as one of those that are wished"),
    ("drain-unsettled", Switch, "a drain does not wait for writes that chose its silo before"),
    ("rollback-empties-old", Switch, "a rollback takes from the old silo what the new one has"),
    ("fill-counts-kept", Promises, "what cannot leave a silo that fills counts as if it could"),
    ("fill-stops-short", Promises, "the last that would make a silo less full stay"),
    ("fill-rests-early", Promises, "a silo that has still too much is looked at again only after an hour"),
    ("fill-comes-back", Promises, "what left a silo that fills comes back"),
    ("ack-at-once", Promises, "a write does not wait for its copies"),
    ("ack-of-puts-alone", Promises, "copies and completed uploads do not wait for theirs"),
    ("ack-after-one", Promises, "a write waits for one more copy, and not for all"),
    ("ack-without-waiting", Promises, "a copy that cannot be made is not waited for"),
];

/// How bugs begin that are hunted with real files.
const STORMS: &str = "projection-";

type Bug = (&'static str, Focus, &'static str);

/// The first seed that finds a bug, and what it finds.
fn hunt(bugs: &[Bug]) -> Vec<(Bug, Option<(u64, String)>)> {
    let only = std::env::var("HOLDALL_MODEL_BUG").ok();
    let wanted = bugs.iter().filter(|(name, ..)| only.as_ref().is_none_or(|only| name.contains(only)));
    let found = wanted.map(|bug| {
        crate::failpoint::set_bug_here(Some(bug.0));
        let found = search(0, CASES, Some(bug.1));
        crate::failpoint::set_bug_here(None);
        (*bug, found)
    });
    found.collect()
}

/// Every one of them; `HOLDALL_MODEL_BUG` says which, by a part of the name. The report is shown with `--nocapture`.
#[test]
fn every_seeded_bug_is_found() {
    let alternate = |odd: usize| BUGS.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
    let other = std::thread::spawn(move || hunt(&alternate(1)));
    let mut all = hunt(&alternate(0));
    all.extend(other.join().expect("cases catch their panics"));
    let line = |((name, focus, _), found): &(Bug, Option<(u64, String)>)| match found {
        Some((seed, wrong)) => {
            let wrong: String = wrong.chars().take(110).collect();
            format!("{name:26} {:10} seed {seed:5}: {wrong}", format!("{focus:?}"))
        }
        None => format!("{name:26} {:10} NOT FOUND", format!("{focus:?}")),
    };
    let found = all.iter().filter(|(_, found)| found.is_some()).count();
    let lines: Vec<String> = all.iter().map(line).collect();
    let report = format!("{found} of {} found\n{}", all.len(), lines.join("\n"));
    assert_eq!(found, all.len(), "{report}");
    eprintln!("{report}");
}

/// Names of bugs that the sources of this crate ask for.
fn asked_for(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it is listed").path();
        if path.is_dir() {
            asked_for(&path, names);
        } else {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let asked = text.split("seeded_bug!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            names.extend(asked.map(|(name, _)| name.to_owned()));
        }
    }
}

/// A bug that is asked for and not listed is never hunted, one that is listed and not asked for is never found; and a
/// reader of the document sees the list that is.
#[test]
fn sources_list_and_document_name_the_same_bugs() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed: BTreeSet<String> = BUGS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut asked = BTreeSet::new();
    asked_for(&here.join("src"), &mut asked);
    // What this very file splits by, and what storms over a tree of others hunt: `tests/project/storm.rs`.
    asked.retain(|name| !name.starts_with(')') && !name.starts_with(STORMS));
    assert_eq!(asked, listed);
    let document = std::fs::read_to_string(here.join("../docs/model.md")).expect("it is there");
    for (name, focus, takes_out) in BUGS {
        let line = format!("| `{name}` | {focus:?} | {takes_out} |");
        assert!(document.lines().any(|found| found == line), "docs/model.md lacks the line\n{line}");
    }
    let documented = document.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(documented, BUGS.len(), "docs/model.md lists a bug that is none");
}
