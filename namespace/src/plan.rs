//! What a wish and what is held make: moves. Pure; printable; nothing changes by planning.

use crate::extent::{Number, SiloId};
use crate::job::PlanSummary;
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
}

/// One step: copy an extent, then retire where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The extent.
    pub extent: Number,
    /// Its bytes.
    pub bytes: u64,
    /// From.
    pub from: SiloId,
    /// To.
    pub to: SiloId,
}

/// The move that turns what is held into the wish; none when it is fulfilled.
pub fn plan(wish: Wish, extent: Number, held: &ExtentRow) -> Option<Move> {
    held.first?;
    let (from, to) = match wish {
        Wish::On(to) if held.verified_in(to).is_some() => return None,
        Wish::On(to) => (held.verified().next()?.silo, to),
        Wish::OffOnto { from, to } => (held.verified_in(from)?.silo, to),
    };
    Some(Move { extent, bytes: held.size, from, to })
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
        let to = |from, to| Some(Move { extent, bytes: 9, from, to });
        let (hot, retired) =
            (held(&[(1, ReplicaState::Verified)]), held(&[(1, ReplicaState::Retired), (2, ReplicaState::Verified)]));
        assert_eq!(plan(Wish::On(2), extent, &hot), to(1, 2));
        assert_eq!(plan(Wish::On(1), extent, &hot), None);
        assert_eq!(plan(Wish::OffOnto { from: 1, to: 3 }, extent, &hot), to(1, 3));
        assert_eq!(plan(Wish::OffOnto { from: 1, to: 3 }, extent, &retired), None);
        assert_eq!(plan(Wish::On(1), extent, &retired), to(2, 1));
        assert_eq!(plan(Wish::On(2), extent, &ExtentRow { first: None, ..hot }), None);
    }
}
