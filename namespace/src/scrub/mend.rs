//! Making good: good bytes under a new name in the same silo, one commit in place of the bad ones, which are retired.

use std::sync::Arc;

use super::look::Bad;
use super::{Came, Done, Scrubber};
use crate::extent::Number;
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::mover::Moved;
use crate::plan::{Move, Step};
use crate::table::damaged::DamagedRow;
use crate::table::extents::ExtentRow;

impl Scrubber<'_> {
    /// Makes good what another silo has, in its own silo, and writes down what became of all. What cannot be made good stays: it may
    /// be the only one that is whole in part.
    pub(super) async fn mend(&self, open: &Arc<OpenSilo>, bad: Vec<Bad>, came: &mut Came) -> Result<(), Fault> {
        let mut objects = Vec::with_capacity(bad.len());
        for one in &bad {
            let says = self.core.described_anywhere(open, &one.item.location, &one.item.row).await;
            objects.push(says.map(|says| (says.bucket, says.key)));
        }
        let (small, large): (Vec<&Bad>, Vec<&Bad>) = bad.iter().partition(|one| self.core.is_packed(one.item.row.size));
        crate::failpoint!("damage-found");
        let mut outcomes: Vec<(Number, Moved)> = Vec::with_capacity(bad.len());
        outcomes.extend(self.replace(small).await);
        for one in large {
            outcomes.extend(self.replace(vec![one]).await);
        }
        crate::failpoint!("damage-replaced");
        let mut noted = Vec::with_capacity(bad.len());
        for (one, object) in bad.into_iter().zip(objects) {
            let outcome = outcomes.iter().find(|(id, _)| *id == one.item.id).map(|(_, outcome)| outcome.clone());
            let Bad { item, flaw, mut reason } = one;
            let done = match outcome {
                Some(Moved::Done) => Done::Repaired,
                // Somebody was faster: it was overwritten, or moved away.
                Some(Moved::Superseded | Moved::UnderWay) => continue,
                Some(Moved::Failed(why) | Moved::NotBegun(why)) => {
                    reason = format!("{reason}; not replaced: {why}");
                    came.error = Some(why);
                    Done::Left
                }
                None => Done::Left,
            };
            came.damaged += 1;
            came.mended += u64::from(done == Done::Repaired);
            let (silo, id) = (&open.row.name, item.id);
            tracing::warn!(silo = %silo, extent = %id, ?flaw, ?done, "damage was found");
            let found = self.core.clock.now();
            noted.push((self.silo, id, DamagedRow { object, location: item.location, flaw, reason, found, done }));
        }
        self.core.note_damage(noted).await?;
        crate::failpoint!("damage-noted");
        Ok(())
    }

    /// Copies good bytes to the silo anew, of those that another silo has.
    async fn replace(&self, bad: Vec<&Bad>) -> Vec<(Number, Moved)> {
        let (from, to) = (self.silo, self.silo);
        let elsewhere = bad.into_iter().filter(|one| self.is_elsewhere(&one.item.row));
        let moves = elsewhere.map(|one| {
            let (extent, bytes) = (one.item.id, one.item.row.size);
            Move { step: Step::Move, extent, bytes, from, to, by: None }
        });
        let moves: Vec<Move> = moves.collect();
        if moves.is_empty() {
            return Vec::new();
        }
        let moved = self.mover.carry_out_all(moves).await;
        moved.into_iter().map(|(planned, outcome)| (planned.extent, outcome)).collect()
    }

    fn is_elsewhere(&self, row: &ExtentRow) -> bool {
        self.core.inventory().left_verified(row).iter().any(|replica| replica.silo != self.silo)
    }
}
