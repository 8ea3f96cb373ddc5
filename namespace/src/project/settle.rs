//! What came out of trees goes, after a while and another look, or gets a name of its own; folders of attempts that no row
//! names are removed.

use std::collections::HashSet;
use std::sync::Arc;

use holdall_silos::projections::{Attempt, Projections};
use holdall_silos::{SiloError, Validator};

use super::Outs;
use super::decide::name_beside;
use crate::clock::UnixMs;
use crate::engine::{self, Read, Rows, Write};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::limits::NAMES_BESIDE;
use crate::namespace::Core;
use crate::store::silo_failed;
use crate::sweep::live_sessions;
use crate::table::projections::{OutRow, OutState, out};
use crate::table::{decode_row, encode};

impl Core {
    /// Looks after what came out of trees; if `thorough`, also after what was settled by a name of its own.
    pub(super) async fn settle_trees(&self, thorough: bool) {
        for open in self.inventory().silos.values() {
            let Some(tree) = open.projections.as_ref().filter(|_| open.health() == Health::Up) else { continue };
            if let Err(fault) = self.settle_tree(open, tree, thorough).await {
                tracing::debug!(silo = %open.row.name, %fault, "what came out of a tree stays for now");
            }
        }
    }

    async fn settle_tree(
        &self,
        open: &Arc<OpenSilo>,
        tree: &Arc<dyn Projections>,
        thorough: bool,
    ) -> Result<(), Fault> {
        // Nothing is removed in another folder that stands in the tree's place.
        open.note(open.claim(&self.id).await).map_err(|error| silo_failed(open, &error))?;
        let attempts = open.note(tree.attempts().await).map_err(|error| silo_failed(open, &error))?;
        let mut named = HashSet::new();
        let (now, mut all) = (self.clock.now(), Outs::of(open.id));
        while let Some(page) = all.next(self).await? {
            for row in page {
                named.insert(row.at.number);
                // What one row is about keeps no other from going.
                if let Err(fault) = self.settle_out(open, tree, row, now, thorough).await {
                    tracing::debug!(silo = %open.row.name, %fault, "what came out of a tree stays for now");
                }
            }
        }
        self.remove_orphans(open, tree, attempts, named).await
    }

    async fn settle_out(
        &self,
        open: &OpenSilo,
        tree: &Arc<dyn Projections>,
        row: OutRow,
        now: UnixMs,
        thorough: bool,
    ) -> Result<(), Fault> {
        let grace = self.options.grace.as_millis() as UnixMs;
        let after = match &row.state {
            OutState::Trash if now.saturating_sub(row.since) < grace => return Ok(()),
            OutState::Trash => self.settle_trash(open, tree, &row).await?,
            OutState::Conflict => self.settle_conflict(open, tree, &row).await?,
            OutState::Beside(_) if !thorough => return Ok(()),
            OutState::Beside(name) => {
                let holdings = open.holdings.as_ref();
                let Some(holdings) = holdings else { return Ok(()) };
                match open.note(holdings.look(name).await) {
                    Err(SiloError::Missing) => None,
                    _ => return Ok(()),
                }
            }
        };
        self.change_out(open, row, after).await
    }

    /// Goes, unless somebody wrote to it since: through a file that was open when it came out.
    async fn settle_trash(
        &self,
        open: &OpenSilo,
        tree: &Arc<dyn Projections>,
        row: &OutRow,
    ) -> Result<Option<OutState>, Fault> {
        let (staged, known) = (row.staged.clone().map(Validator), Validator(row.validator.clone()));
        match open.note(tree.discard_known(row.at, &row.name, &known, staged.as_ref()).await) {
            Ok(true) => Ok(None),
            Ok(false) => Ok(Some(OutState::Conflict)),
            Err(error) => Err(silo_failed(open, &error)),
        }
    }

    async fn settle_conflict(
        &self,
        open: &OpenSilo,
        tree: &Arc<dyn Projections>,
        row: &OutRow,
    ) -> Result<Option<OutState>, Fault> {
        let staged = row.staged.clone().map(Validator);
        for count in 0..NAMES_BESIDE {
            let name = name_beside(&row.name, row.at, count);
            let name = match open.note(tree.give(row.at, staged.as_ref(), &name).await) {
                Ok(true) => name,
                Ok(false) => continue,
                // It was given its name before, and nobody came to write that down.
                Err(SiloError::Missing) => name_beside(&row.name, row.at, 0),
                Err(error) => return Err(silo_failed(open, &error)),
            };
            open.note(tree.discard(row.at).await).map_err(|error| silo_failed(open, &error))?;
            return Ok(Some(OutState::Beside(name)));
        }
        Err(Fault::Unavailable("no name beside is free".to_owned()))
    }

    /// Changes a row that is as it was.
    async fn change_out(&self, open: &OpenSilo, row: OutRow, after: Option<OutState>) -> Result<(), Fault> {
        let key = out(open.id, row.at.number);
        let write = match after {
            Some(state) => Write::Put(key.clone(), encode(&OutRow { state, ..row.clone() })),
            None => Write::Delete(key.clone()),
        };
        let reads = vec![Read::Row(key.clone())];
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let same = decode_row::<OutRow>(rows.get(&key))?.as_ref() == Some(&row);
            Ok((if same { vec![write.clone()] } else { Vec::new() }, ()))
        };
        Ok(engine::commit(&*self.engine, reads, decide).await?)
    }

    /// Removes folders of attempts that nobody can mean any more: they were seen first, then who is alive, then the rows.
    async fn remove_orphans(
        &self,
        open: &OpenSilo,
        tree: &Arc<dyn Projections>,
        attempts: Vec<Attempt>,
        mut named: HashSet<(u64, u64)>,
    ) -> Result<(), Fault> {
        // An index that was restored does not know what it knew.
        let kept = self.kept_before().await?;
        let sessions = live_sessions(&*self.engine).await?;
        named.extend(self.intents(open.id, "").await?.into_iter().map(|(_, intent)| intent.at.number));
        for at in attempts.into_iter().filter(|at| !named.contains(&at.number)) {
            let floor = sessions.iter().find(|(session, _)| *session == at.number.0).map(|(_, beat)| beat.floor);
            let over = at.number.0 >= kept && floor.is_none_or(|floor| at.number.1 < floor);
            let row = self.engine.get(&[out(open.id, at.number)]).await?.remove(0);
            if over && row.is_none() {
                open.note(tree.discard(at).await).map_err(|error| silo_failed(open, &error))?;
            }
        }
        Ok(())
    }
}
