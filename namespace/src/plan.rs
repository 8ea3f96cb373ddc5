//! What a wish and what is held make: moves. Pure; printable; nothing changes by planning.

use crate::extent::{JobId, Number, SiloId};
use crate::inventory::Inventory;
use crate::job::{MoveInfo, PlanSummary};
use crate::table::extents::ExtentRow;

/// Where an extent is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// On this silo, wherever it is now.
    On(SiloId),
    /// On `to`, if it is on `from`.
    OffOnto {
        /// The silo to leave.
        from: SiloId,
        /// The silo to go to.
        to: SiloId,
    },
    /// On `to` as well; read from `from`.
    Also {
        /// A silo that has it.
        from: SiloId,
        /// The silo to have it, too.
        to: SiloId,
    },
    /// Not on `from` any more, as long as `least` others have it.
    Off {
        /// The silo to leave.
        from: SiloId,
        /// How many have it then, at least.
        least: usize,
    },
}

/// What becomes of an extent and its replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is copied, and where it was is retired.
    Move,
    /// It is copied, and stays where it was, too.
    Copy,
    /// Nothing is copied; where it was is retired, as long as so many others have it.
    Drop {
        /// At least one.
        least: usize,
    },
}

/// One step of an extent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub step: Step,
    /// The extent.
    pub extent: Number,
    /// Its bytes.
    pub bytes: u64,
    /// From.
    pub from: SiloId,
    /// To; the same where nothing is copied.
    pub to: SiloId,
    /// What it counts for where it is no part of a job: a number that is made of an objective's name.
    pub by: Option<JobId>,
}

/// The step that turns what is held into the wish; none when it is fulfilled.
pub fn plan(wish: Wish, extent: Number, held: &ExtentRow) -> Option<Move> {
    held.first?;
    let (step, from, to) = match wish {
        Wish::On(to) | Wish::Also { to, .. } if held.verified_in(to).is_some() => return None,
        Wish::On(to) => (Step::Move, held.verified().next()?.silo, to),
        Wish::Also { from, to } => (Step::Copy, held.verified_in(from)?.silo, to),
        // What it has already is not copied there again.
        Wish::OffOnto { from, to } if held.verified_in(to).is_some() => {
            (Step::Drop { least: 1 }, held.verified_in(from)?.silo, from)
        }
        Wish::OffOnto { from, to } => (Step::Move, held.verified_in(from)?.silo, to),
        Wish::Off { from, least } => (Step::Drop { least: least.max(1) }, held.verified_in(from)?.silo, from),
    };
    Some(Move { step, extent, bytes: held.size, from, to, by: None })
}

impl Inventory {
    /// What is known of a move before it began.
    pub(crate) fn move_info(&self, planned: &Move) -> MoveInfo {
        let (from, to) = (self.name_of(planned.from), self.name_of(planned.to));
        MoveInfo { extent: planned.extent.to_string(), bucket: None, key: None, from, to, bytes: planned.bytes }
    }
}

impl PlanSummary {
    /// Counts one extent.
    pub(crate) fn count(&mut self, bytes: u64, planned: Option<&Move>) {
        match planned {
            Some(_) => {
                self.objects += 1;
                self.bytes += bytes;
            }
            None => self.in_place += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::{Location, Replica, ReplicaState};

    fn held(replicas: &[(SiloId, ReplicaState)]) -> ExtentRow {
        let blob = holdall_silos::BlobName { session: 1, number: 1, extent: (1, 1) };
        let replica = |&(silo, state)| Replica { silo, location: Location::Blob(blob), state, since: 0, job: None };
        ExtentRow {
            size: 9,
            digest: [0; 32],
            blocks: None,
            first: Some(Number { session: 1, number: 1 }),
            replicas: replicas.iter().map(replica).collect(),
        }
    }

    #[test]
    fn a_wish_moves_only_what_is_elsewhere() {
        let extent = Number { session: 1, number: 1 };
        let step = |step, from, to| Some(Move { step, extent, bytes: 9, from, to, by: None });
        let to = |from, to| step(Step::Move, from, to);
        let (hot, retired) =
            (held(&[(1, ReplicaState::Verified)]), held(&[(1, ReplicaState::Retired), (2, ReplicaState::Verified)]));
        assert_eq!(plan(Wish::On(2), extent, &hot), to(1, 2));
        assert_eq!(plan(Wish::On(1), extent, &hot), None);
        assert_eq!(plan(Wish::OffOnto { from: 1, to: 3 }, extent, &hot), to(1, 3));
        assert_eq!(plan(Wish::OffOnto { from: 1, to: 3 }, extent, &retired), None);
        assert_eq!(plan(Wish::On(1), extent, &retired), to(2, 1));
        assert_eq!(plan(Wish::On(2), extent, &ExtentRow { first: None, ..hot.clone() }), None);
        let both = held(&[(1, ReplicaState::Verified), (2, ReplicaState::Verified)]);
        assert_eq!(plan(Wish::Also { from: 1, to: 2 }, extent, &hot), step(Step::Copy, 1, 2));
        assert_eq!(plan(Wish::Also { from: 1, to: 2 }, extent, &both), None);
        assert_eq!(plan(Wish::OffOnto { from: 1, to: 2 }, extent, &both), step(Step::Drop { least: 1 }, 1, 1));
        assert_eq!(plan(Wish::Off { from: 2, least: 0 }, extent, &both), step(Step::Drop { least: 1 }, 2, 2));
        assert_eq!(plan(Wish::Off { from: 2, least: 1 }, extent, &hot), None);
    }
}
