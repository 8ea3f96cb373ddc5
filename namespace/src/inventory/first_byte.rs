//! How fast silos answer reads, so that of several copies the nearer one is read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long reads of a silo waited for their first byte, of late.
#[derive(Debug, Default)]
pub(crate) struct FirstByte {
    micros: AtomicU64,
}

impl FirstByte {
    /// A read's first byte came after this. An eighth of each counts.
    pub(crate) fn note(&self, waited: Duration) {
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        let before = self.micros.load(Ordering::Relaxed);
        let after = if before == 0 { waited } else { before - before / 8 + waited / 8 };
        self.micros.store(after.max(1), Ordering::Relaxed);
    }

    /// The smaller the better; each class waits up to four times as long as the one before. What nobody read yet is the best.
    pub(crate) fn class(&self) -> u32 {
        let micros = self.micros.load(Ordering::Relaxed);
        (u64::BITS - micros.leading_zeros()).div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_answers_faster_is_better() {
        let (near, far, new) = (FirstByte::default(), FirstByte::default(), FirstByte::default());
        (0..20).for_each(|_| near.note(Duration::from_micros(200)));
        (0..20).for_each(|_| far.note(Duration::from_millis(80)));
        assert!(near.class() < far.class());
        assert_eq!(new.class(), 0);
        far.note(Duration::MAX);
        (0..200).for_each(|_| far.note(Duration::ZERO));
        assert!(far.class() <= near.class(), "it became faster");
    }
}
