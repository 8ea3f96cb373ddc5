//! How much room silos have, and how full they are.

use std::sync::atomic::Ordering;

use holdall_silos::silo::Space;

use super::OpenSilo;
use crate::namespace::Core;
use crate::table::usage::Counted;

impl OpenSilo {
    /// Total, free and reserve, where the silo can tell.
    pub fn space(&self) -> Option<(Space, u64)> {
        let space = (*self.space.lock().expect("no holder panics"))?;
        Some((space, space.total / 100 * u64::from(self.row.declared.reserve_percent)))
    }

    /// How full it said it is.
    pub(crate) fn note_space(&self, space: Option<Space>) {
        *self.space.lock().expect("no holder panics") = space;
        self.written.store(0, Ordering::Relaxed);
        self.full.store(false, Ordering::Relaxed);
    }

    /// Bytes it takes before its reserve begins, where it can tell.
    pub fn room(&self) -> Option<u64> {
        if self.full.load(Ordering::Relaxed) {
            return Some(0);
        }
        let written = self.written.load(Ordering::Relaxed);
        self.space().map(|(space, reserve)| space.free.saturating_sub(reserve).saturating_sub(written))
    }

    /// How full it is, from 0 to 1, whoever fills it: what was retired goes by itself. None where it cannot tell.
    pub(crate) fn fullness(&self) -> Option<f64> {
        let (space, _) = self.space().filter(|(space, _)| space.total > 0)?;
        let (written, retired) = (self.written.load(Ordering::Relaxed), self.retired.load(Ordering::Relaxed));
        let used = (space.total.saturating_sub(space.free) + written).saturating_sub(retired).min(space.total);
        Some(used as f64 / space.total as f64)
    }

    /// Bytes that packs may be rewritten into, where it can tell: that gives room back, and may take half of the reserve.
    pub fn room_to_rewrite(&self) -> Option<u64> {
        if self.full.load(Ordering::Relaxed) {
            return Some(0);
        }
        let written = self.written.load(Ordering::Relaxed);
        self.space().map(|(space, reserve)| space.free.saturating_sub(reserve / 2).saturating_sub(written))
    }
}

impl Core {
    /// What goes by itself from a silo. As long as the index does not answer it stays as it was.
    pub(crate) async fn count_retired(&self, open: &OpenSilo) {
        if let Ok(retired) = self.counted(Counted::Retired(open.id)).await {
            open.retired.store(retired.bytes.max(0).unsigned_abs(), Ordering::Relaxed);
        }
    }
}
