//! What came of a pass over what an order, or what moves by itself, is about.

use std::collections::HashMap;

use crate::extent::Number;
use crate::mover::Moved;
use crate::plan::Move;
use crate::price::Money;

/// What a pass found and did.
#[derive(Default)]
pub(super) struct Pass {
    /// It ended early, since something was declared.
    pub outdated: bool,
    pub planned: usize,
    /// What was set aside for steps that were not begun.
    pub aside: HashMap<Number, Money>,
    pub moved: usize,
    /// Somebody else did something with the extent: it may be to be looked at once more.
    pub overtaken: usize,
    pub failed: usize,
    /// Something failed as its silo is down, or rests.
    pub down: bool,
}

impl Pass {
    /// What was begun is paid for, whatever came of it.
    pub(super) fn note(&mut self, planned: &Move, outcome: &Moved) {
        if !matches!(outcome, Moved::NotBegun(_) | Moved::UnderWay) {
            self.aside.remove(&planned.extent);
        }
    }
}
