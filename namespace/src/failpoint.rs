//! Failpoints and seeded bugs, compiled in by the `faults` feature alone: a shipped binary has none.
//!
//! `HOLDALL_FAILPOINT=name:count` kills the process (SIGKILL) when the named point is passed for the count-th time.
//! `HOLDALL_BUG=name` switches a seeded bug on, so that a test can show that it finds it.

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
    "sweep-deleted",
];

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
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::thread::sleep(std::time::Duration::from_secs(60));
    }
}

/// Whether a seeded bug is switched on.
#[cfg(feature = "faults")]
pub fn bug(name: &'static str) -> bool {
    std::env::var("HOLDALL_BUG").is_ok_and(|on| on == name)
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
    ($name:literal) => {{
        #[cfg(feature = "faults")]
        {
            $crate::failpoint::bug($name)
        }
        #[cfg(not(feature = "faults"))]
        {
            false
        }
    }};
}
