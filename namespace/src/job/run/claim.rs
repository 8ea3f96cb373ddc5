//! Of what moves by itself no two steps of an extent at once: what is missing is looked for beside everything else, and both would copy
//! the same bytes.

use super::Running;
use crate::extent::Number;
use crate::plan::Move;

/// Extents that are somebody's, until this is dropped.
pub(crate) struct Claim<'a> {
    running: &'a Running,
    extents: Vec<Number>,
}

impl Running {
    /// Takes the extents of steps for whoever carries them out: answers those steps, and those of extents that somebody else has.
    pub(crate) fn claim(&self, planned: Vec<Move>) -> (Claim<'_>, Vec<Move>, Vec<Move>) {
        let mut claimed = self.claimed.lock().expect("no holder panics");
        let (mine, others): (Vec<Move>, _) = planned.into_iter().partition(|planned| claimed.insert(planned.extent));
        let extents = mine.iter().map(|planned| planned.extent).collect();
        (Claim { running: self, extents }, mine, others)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut claimed = self.running.claimed.lock().expect("no holder panics");
        for extent in &self.extents {
            claimed.remove(extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;

    #[test]
    fn an_extent_is_one_steps_at_a_time() {
        let running = Running::default();
        let step = |number| {
            let extent = Number { session: 1, number };
            Move { step: Step::Copy, extent, bytes: 1, from: 1, to: 2, by: None }
        };
        let of = |steps: &[Move]| steps.iter().map(|step| step.extent.number).collect::<Vec<_>>();
        let (claim, mine, others) = running.claim(vec![step(1), step(2)]);
        assert_eq!((of(&mine), of(&others)), (vec![1, 2], vec![]));
        let (other, mine, others) = running.claim(vec![step(2), step(3)]);
        assert_eq!((of(&mine), of(&others)), (vec![3], vec![2]));
        drop(claim);
        let (_again, mine, _) = running.claim(vec![step(1), step(2), step(3)]);
        assert_eq!(of(&mine), [1, 2], "the third is the other's still");
        drop(other);
    }
}
