//! Failpoints and seeded bugs, compiled in by the `faults` feature alone: a shipped binary has none.
//!
//! `HOLDALL_FAILPOINT=name:count` kills the process (SIGKILL) when the named point is passed for the count-th time.
//! `HOLDALL_FAILPOINT_CALL` lets it live on to the next call that writes to a silo or deletes there, and says what becomes of that:
//! `undone` and `done` kill it in the call, before and after the silo does it; `undone-unknown` and `done-unknown` answer that it is
//! unknown, and kill it in the call after that.
//! `HOLDALL_BUG=name` switches a seeded bug on, so that a test can show that it finds it.

#[cfg(feature = "faults")]
use holdall_silos::wrap::fault::{Fault, Faulty, Script};

/// Every failpoint, so that a test can hit each.
pub const FAILPOINTS: &[&str] = &[
    "put-stored",
    "put-committed",
    "delete-committed",
    "part-stored",
    "complete-sealed",
    "complete-committed",
    "move-journalled",
    "move-put",
    "move-copied",
    "move-committed",
    "drop-asked",
    "drop-committed",
    "damage-found",
    "damage-replaced",
    "damage-noted",
    "switch-begun",
    "switch-filled",
    "switch-committed",
    "switch-rolled-back",
    "lost-cancelled",
    "lost-declared",
    "lost-ordered",
    "lost-found",
    "silo-leaves",
    "silo-left",
    "job-moved",
    "job-done",
    "sweep-deleted",
    "sweep-forgotten",
    "orphan-deleted",
    "pack-written",
    "pack-rewriting",
    "pack-deleted",
    "log-shipped",
    "snapshot-begun",
    "backup-pruned",
    "projection-staged",
    "projection-intended",
    "projection-done",
    "projection-looked",
    "projection-committed",
    "projection-taken-over",
];

/// What becomes of calls of silos, of all of them together.
#[cfg(feature = "faults")]
fn calls() -> &'static Script {
    static CALLS: std::sync::OnceLock<Script> = std::sync::OnceLock::new();
    CALLS.get_or_init(Script::default)
}

/// The same silo, whose calls fail when a point was passed that says so.
#[cfg(feature = "faults")]
pub fn watched(silo: std::sync::Arc<dyn holdall_silos::Silo>) -> std::sync::Arc<dyn holdall_silos::Silo> {
    std::sync::Arc::new(Faulty::by(silo, calls()))
}

/// Says what becomes of the next calls; whether the process is to die in one of them.
#[cfg(feature = "faults")]
fn dies_in_a_call() -> bool {
    let told = std::env::var("HOLDALL_FAILPOINT_CALL").unwrap_or_default();
    let faults: &[Fault] = match &told[..] {
        "undone" => &[Fault::Die],
        "done" => &[Fault::DoAndDie],
        "undone-unknown" => &[Fault::LoseRequest, Fault::Die],
        "done-unknown" => &[Fault::LoseAnswer, Fault::Die],
        _ => &[],
    };
    calls().next(faults);
    !faults.is_empty()
}

/// Dies here when told to.
#[cfg(feature = "faults")]
pub fn pass(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    debug_assert!(FAILPOINTS.contains(&name), "`{name}` is no known failpoint");
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("HOLDALL_FAILPOINT").ok()?;
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), count.parse().ok()?))
    });
    if let Some((wanted, count)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        tracing::warn!(failpoint = name, "killed at a failpoint");
        if dies_in_a_call() {
            return;
        }
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::sleep(std::time::Duration::from_mins(1));
    }
}

#[cfg(any(test, feature = "faults"))]
thread_local! {
    static BUG_HERE: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
    static SMALL_PARTS_HERE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Switches a seeded bug on for this thread alone, or off again.
#[cfg(any(test, feature = "faults"))]
pub fn set_bug_here(name: Option<&'static str>) {
    BUG_HERE.set(name);
}

/// Whether a seeded bug is switched on.
#[cfg(any(test, feature = "faults"))]
pub fn bug(name: &'static str) -> bool {
    use std::sync::OnceLock;
    static EVERYWHERE: OnceLock<Option<String>> = OnceLock::new();
    let everywhere = EVERYWHERE.get_or_init(|| std::env::var("HOLDALL_BUG").ok());
    BUG_HERE.get() == Some(name) || everywhere.as_deref() == Some(name)
}

/// Whether a seeded bug is switched on: not in a shipped binary.
#[cfg(not(any(test, feature = "faults")))]
pub const fn bug(_: &'static str) -> bool {
    false
}

/// Lets every part be smaller than S3 allows, on this thread.
#[cfg(any(test, feature = "faults"))]
pub fn small_parts_here(on: bool) {
    SMALL_PARTS_HERE.set(on);
}

/// Whether a part may be smaller than S3 allows.
#[cfg(any(test, feature = "faults"))]
pub fn small_parts() -> bool {
    SMALL_PARTS_HERE.get()
}

/// Whether a part may be smaller than S3 allows: not in a shipped binary.
#[cfg(not(any(test, feature = "faults")))]
pub const fn small_parts() -> bool {
    false
}

/// Marks a point where a crash test may kill the process.
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "faults")]
        $crate::failpoint::pass($name);
    };
}

/// Whether a seeded bug is switched on; `false` in a shipped binary.
#[macro_export]
macro_rules! seeded_bug {
    ($name:literal) => {
        $crate::failpoint::bug($name)
    };
}
