//! Making good: good bytes under a new name in the same silo, one commit in place of the bad ones, which are retired.

use std::sync::Arc;

use super::look::Bad;
use super::{Done, Scrubber};
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::mover::Moved;
use crate::plan::{Move, Step};
use crate::read::ExtentReader;
use crate::table::damaged::DamagedRow;
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};

impl Scrubber<'_> {
    /// Makes good what another silo has, and writes down what became of all. Answers how many were made good.
    pub(super) async fn mend(
        &self,
        open: &Arc<OpenSilo>,
        bad: Vec<Bad>,
        error: &mut Option<String>,
    ) -> Result<u64, Fault> {
        let mut objects = Vec::with_capacity(bad.len());
        for one in &bad {
            let says = self.core.described_anywhere(open, &one.item.location, &one.item.row).await;
            objects.push(says.map(|says| (says.bucket, says.key)));
        }
        let (small, large): (Vec<&Bad>, Vec<&Bad>) = bad.iter().partition(|one| self.core.is_packed(one.item.row.size));
        let mut outcomes: Vec<(Number, Moved)> = Vec::with_capacity(bad.len());
        outcomes.extend(self.replace(small).await);
        for one in large {
            outcomes.extend(self.replace(vec![one]).await);
        }
        let (mut noted, mut mended) = (Vec::with_capacity(bad.len()), 0);
        for (one, object) in bad.into_iter().zip(objects) {
            let outcome = outcomes.iter().find(|(id, _)| *id == one.item.id).map(|(_, outcome)| outcome.clone());
            let done = match outcome {
                Some(Moved::Done) => Done::Repaired,
                // Somebody was faster: it was overwritten, or moved away.
                Some(Moved::Superseded) => continue,
                Some(Moved::Failed(_)) if self.give_up(&one).await? => Done::GivenUp,
                Some(Moved::Failed(reason)) => {
                    *error = Some(reason);
                    Done::Left
                }
                None => Done::Left,
            };
            mended += u64::from(done != Done::Left);
            let (silo, id) = (&open.row.name, one.item.id);
            tracing::warn!(silo = %silo, extent = %id, flaw = ?one.flaw, ?done, "damage was found");
            let Bad { item, flaw, reason } = one;
            let found = self.core.clock.now();
            noted.push((self.silo, id, DamagedRow { object, location: item.location, flaw, reason, found, done }));
        }
        self.core.note_damage(noted).await?;
        Ok(mended)
    }

    /// Copies good bytes to the silo anew, of those that another silo has.
    async fn replace(&self, bad: Vec<&Bad>) -> Vec<(Number, Moved)> {
        let (from, to) = (self.silo, self.silo);
        let elsewhere = bad.into_iter().filter(|one| !self.others(&one.item.row).is_empty());
        let moves = elsewhere.map(|one| {
            let (extent, bytes) = (one.item.id, one.item.row.size);
            Move { step: Step::Move, extent, bytes, from, to }
        });
        let moves: Vec<Move> = moves.collect();
        if moves.is_empty() {
            return Vec::new();
        }
        let moved = self.mover.carry_out_all(moves).await;
        moved.into_iter().map(|(planned, outcome)| (planned.extent, outcome)).collect()
    }

    fn others(&self, row: &ExtentRow) -> Vec<(SiloId, Location)> {
        let inventory = self.core.inventory();
        let others = inventory.left_verified(row).into_iter().filter(|replica| replica.silo != self.silo);
        others.map(|replica| (replica.silo, replica.location.clone())).collect()
    }

    /// Where the silo takes no other: the bad replica counts no more, if another one was read whole just now.
    async fn give_up(&self, bad: &Bad) -> Result<bool, Fault> {
        let id = bad.item.id;
        let row: Option<ExtentRow> = decode_row(self.core.engine.get(&[extent(id)]).await?[0].as_ref())?;
        let Some(row) = row else { return Ok(false) };
        for (silo, location) in self.others(&row) {
            let reader = ExtentReader::verify(Arc::clone(self.core), id, row.clone(), silo, location);
            if !is_whole(reader).await {
                continue;
            }
            let (from, bytes) = (self.silo, row.size);
            let dropped = Move { step: Step::Drop { least: 1 }, extent: id, bytes, from, to: from };
            let dropped = self.mover.carry_out_all(vec![dropped]).await;
            return Ok(dropped.iter().all(|(_, outcome)| *outcome == Moved::Done));
        }
        Ok(false)
    }
}

async fn is_whole(mut reader: ExtentReader) -> bool {
    loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}
