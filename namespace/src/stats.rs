//! Counters of this process, for `/metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// What one silo did since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SiloStats {
    /// Payload bytes read from it.
    pub bytes_read: u64,
    /// Payload bytes written to it.
    pub bytes_written: u64,
    /// Operations that failed, the client's own failures left out.
    pub errors: u64,
    /// Blocks whose checksum did not match.
    pub damaged_blocks: u64,
}

/// A moment's view of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// By silo name.
    pub silos: BTreeMap<String, SiloStats>,
    /// Moves committed.
    pub moves_done: u64,
    /// Moves given up since an overwrite or delete won.
    pub moves_superseded: u64,
    /// Moves that failed.
    pub moves_failed: u64,
    /// Bytes moved.
    pub moved_bytes: u64,
    /// Moves under way now.
    pub moves_running: u64,
    /// Replicas swept.
    pub swept: u64,
    /// Orphans collected.
    pub orphans: u64,
    /// Names of others that were told to have changed.
    pub names_touched: u64,
    /// Such names that were looked at.
    pub names_looked_at: u64,
    /// Such names that wait now.
    pub names_waiting: u64,
    /// Queues of notifications that cannot be asked now.
    pub queues_silent: u64,
    /// Bytes in place that were read for their checksums.
    pub hashed_bytes: u64,
    /// Bytes in place that have no checksums yet.
    pub unhashed_bytes: u64,
    /// Files brought into trees of others, or taken out of them.
    pub projections: u64,
    /// Files of others that S3 wrote over before anybody had seen them, and that were kept.
    pub conflicts: u64,
    /// Retired replicas that waited at the end of the last sweep.
    pub retired_waiting: u64,
    /// Reads that no object's heat has: too many objects were read at once, or the index did not take them.
    pub reads_uncounted: u64,
    /// Bytes that are not where objectives want them, and cannot go there now.
    pub misaligned_bytes: u64,
    /// What scrubs found.
    pub scrub: crate::scrub::Found,
    /// Reads open now.
    pub reads_open: u64,
    /// Bytes the index takes on its disk; 0 where that is not known.
    pub index_bytes: u64,
}

/// The counters. The lock is held for a few additions and never across a wait.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Snapshot>);

impl Stats {
    /// Changes counters.
    pub fn add(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.lock().expect("no change panics"));
    }

    /// Changes one silo's counters.
    pub fn silo(&self, name: &str, change: impl FnOnce(&mut SiloStats)) {
        self.add(|all| match all.silos.get_mut(name) {
            Some(silo) => change(silo),
            None => change(all.silos.entry(name.to_owned()).or_default()),
        });
    }

    /// A copy.
    pub fn snapshot(&self) -> Snapshot {
        self.0.lock().expect("no change panics").clone()
    }
}
