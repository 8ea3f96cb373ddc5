//! What of an object's past tells about its future: for how long it was idle, and what it was like when last used. Few values,
//! so that what became of others in the same state can be counted.

use crate::heat::Heat;

/// Days without use, in steps of half a doubling: read again today or tomorrow differs, in 300 or 310 days does not.
const STARTS: [i32; BINS] = [0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
/// How many.
pub(super) const BINS: usize = 19;
/// By how much was read in the last nine months: an eighth of the object, half of it, once, twice, four times.
const VOLUMES: usize = 9;
/// By how many of the seven days before had reads: none, few, many.
const HABITS: usize = 3;
/// One for what was never read.
pub(super) const CLASSES: usize = 1 + VOLUMES * HABITS;
/// Short, middling and long gaps, where there is too little to tell more of them apart.
pub(super) const GAPS: usize = 3;

/// The bin of so many idle days.
pub(super) fn bin(idle: i32) -> usize {
    STARTS.partition_point(|start| *start <= idle.max(0)) - 1
}

/// Days of a bin; of the last one, as many as of the one before.
pub(super) fn width(bin: usize) -> f64 {
    let end = STARTS.get(bin + 1).copied().unwrap_or(2 * STARTS[BINS - 1]);
    f64::from(end - STARTS[bin])
}

/// Idle days in the middle of a bin.
pub(super) fn middle(bin: usize) -> f64 {
    f64::from(STARTS[bin]) + (width(bin) - 1.0) / 2.0
}

/// When what was idle for so long is to be looked at again: idle days.
pub fn next_look(idle: i32) -> i32 {
    STARTS.get(bin(idle) + 1).copied().unwrap_or(idle.max(0) / 256 * 256 + 256)
}

/// Whether a gap is short, middling or long.
pub(super) fn gap(bin: usize) -> usize {
    match bin {
        0..=5 => 0,
        6..=10 => 1,
        _ => 2,
    }
}

/// Days of each bin that `idle` days went through.
pub(super) fn passed(idle: i32) -> impl Iterator<Item = (usize, f64)> {
    let bins = STARTS.iter().enumerate().take_while(move |(_, start)| **start < idle);
    bins.map(move |(bin, start)| {
        let end = STARTS.get(bin + 1).copied().unwrap_or(i32::MAX).min(idle);
        (bin, f64::from(end - start))
    })
}

/// What an object was like when it was last read.
pub(super) fn class(heat: Option<&Heat>, volume: Option<f64>) -> usize {
    let Some(heat) = heat else { return 0 };
    // As of the last read: what is counted does not change while the object is idle.
    let volume = volume.unwrap_or_else(|| heat.lately() as f64 * heat.share());
    let volumes = [0.125, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5, 63.5].partition_point(|limit| *limit <= volume);
    let habit = match heat.days_before() {
        0 => 0,
        1..=2 => 1,
        _ => 2,
    };
    1 + volumes * HABITS + habit
}

/// What a class is like: its part of the volumes, and about how many reads in nine months that is.
pub(super) fn volume_of(class: usize) -> (usize, f64) {
    match class.checked_sub(1) {
        None => (0, 0.0),
        Some(at) => (1 + at / HABITS, [0.06, 0.25, 1.0, 2.5, 5.0, 11.0, 23.0, 47.0, 120.0][at / HABITS]),
    }
}

/// Volumes, and one for what was never read.
pub(super) const LEVELS: usize = 1 + VOLUMES;
