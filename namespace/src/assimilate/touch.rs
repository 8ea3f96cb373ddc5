//! What was told of names that others changed: each is looked at, by the rules of a pass. Telling decides nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use holdall_silos::SiloError;
use holdall_silos::holdings::{Found, Touched};
use tokio::task::JoinSet;

use super::dirty::DueName;
use super::find::held;
use super::merge::merge;
use super::pass::{Broken, Pass, may_go};
use super::{Assimilate, AssimilateError};
use crate::fault::Fault;
use crate::limits::{DIRTY_BEAT, TOUCHED_AT_ONCE, TOUCHED_TOGETHER};
use crate::namespace::{Core, Namespace};
use crate::table::decode_row;
use crate::table::names::{NameRow, name as name_key};
use crate::table::roots::{RootId, RootRow};

/// What was taken away of a root since its interval began: what is told, and passes that are early by it, share what one
/// pass may take away.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Taken {
    began: Duration,
    count: u64,
    /// Names that the last complete pass found, and those that are no objects; none where there was no pass yet.
    names: Option<(u64, u64)>,
}

impl Taken {
    /// Whether `gone` more of the names may go without asking.
    fn may_go(&self, gone: u64, now: Duration, every: Duration) -> bool {
        let count = self.within(now, every) + gone;
        self.names.is_some_and(|(names, refused)| may_go(count, names.saturating_sub(gone), names + refused))
    }

    fn within(&self, now: Duration, every: Duration) -> u64 {
        if now.saturating_sub(self.began) < every { self.count } else { 0 }
    }

    fn add(&mut self, gone: u64, now: Duration, every: Duration) {
        if self.within(now, every) == 0 {
            (self.began, self.count) = (now, 0);
        }
        self.count += gone;
    }
}

fn every(order: &Assimilate) -> Duration {
    Duration::from_secs(order.every_seconds)
}

impl Namespace {
    /// Names of a silo of others may have changed: each is looked at soon. Answers how many of them are taken over.
    pub fn touch(&self, silo: &str, touched: &[Touched]) -> Result<usize, AssimilateError> {
        let inventory = self.inventory();
        let open = inventory.named(silo).ok_or_else(|| AssimilateError::NoSuchSilo(silo.to_owned()))?;
        if open.holdings.is_none() {
            return Err(AssimilateError::Own(silo.to_owned()));
        }
        let roots: Vec<&RootRow> = inventory.roots.iter().filter(|row| row.silo == open.id).collect();
        Ok(roots.into_iter().map(|row| self.core.touch(row.info.id, &row.info.order, touched)).sum())
    }
}

impl Core {
    /// Names of a root may have changed. Answers how many of them are the root's.
    pub(crate) fn touch(&self, id: RootId, order: &Assimilate, touched: &[Touched]) -> usize {
        let (now, prefix) = (self.clock.monotonic(), order.prefix.as_bytes());
        let mut dirty = held(&self.looking.dirty);
        let mut count = 0;
        for touched in touched {
            match touched {
                Touched::Name(name) | Touched::Below(name) if order.leaves_out(name) => continue,
                Touched::Name(name) if name.starts_with(prefix) => dirty.name(id, name.clone(), now),
                Touched::Below(below) if prefix.starts_with(below) => dirty.all(id),
                Touched::Below(below) if below.starts_with(prefix) => dirty.below(id, below.clone()),
                Touched::Name(_) | Touched::Below(_) => continue,
            }
            count += 1;
        }
        let pass = dirty.wants_pass(id);
        drop(dirty);
        self.stats.add(|all| all.names_touched += count as u64);
        if pass {
            self.looking.wanted.notify_one();
        }
        self.looking.touched.notify_one();
        count
    }

    /// Everything of a root may have changed: it is passed as soon as may be.
    pub(super) fn touch_all(&self, id: RootId) {
        held(&self.looking.dirty).all(id);
        self.looking.wanted.notify_one();
    }

    /// Looks at what was touched, for ever: of each root one handful after the other.
    pub(crate) async fn look_at_touched_forever(self: Arc<Self>) {
        let (mut looks, mut busy) = (JoinSet::new(), HashSet::new());
        loop {
            if held(&self.looking.dirty).is_idle() && looks.is_empty() {
                self.looking.touched.notified().await;
            } else {
                self.clock.sleep(DIRTY_BEAT).await;
            }
            while let Some(ended) = looks.try_join_next() {
                // Whose look died is not known: roots that are not busy any more are looked at again.
                match ended {
                    Ok(id) => drop(busy.remove(&id)),
                    Err(_) => busy.clear(),
                }
            }
            let roots = held(&self.looking.dirty).roots();
            for id in roots {
                if busy.insert(id) {
                    let core = Arc::clone(&self);
                    looks.spawn(async move { core.look_at_touched(id).await });
                }
            }
        }
    }

    async fn look_at_touched(self: Arc<Self>, id: RootId) -> RootId {
        let (due, below) = {
            let mut dirty = held(&self.looking.dirty);
            (dirty.take(id, self.clock.monotonic(), TOUCHED_TOGETHER), dirty.take_below(id))
        };
        let outcome = match self.root_row(id).await {
            Ok(Some(row)) => self.look_at(row, due, below).await,
            Ok(None) => {
                held(&self.looking.dirty).forget(id);
                Ok(())
            }
            Err(fault) => Err(fault.into()),
        };
        if let Err(Broken::Failed(reason)) = outcome {
            tracing::debug!(root = id, reason, "what was touched is left to a pass");
            self.touch_all(id);
        }
        id
    }

    async fn look_at(self: &Arc<Self>, row: RootRow, due: Vec<DueName>, below: Option<Vec<u8>>) -> Result<(), Broken> {
        if !due.is_empty() {
            self.look_at_names(row.clone(), due).await?;
        }
        match below.map(String::from_utf8) {
            Some(Ok(below)) => self.look_below(row, below).await,
            // No name below can be a key, and what was there is none either.
            Some(Err(_)) | None => Ok(()),
        }
    }

    /// What is known is read first: whoever changes it meanwhile is right.
    async fn look_at_names(self: &Arc<Self>, row: RootRow, due: Vec<DueName>) -> Result<(), Broken> {
        let due: Vec<DueName> = due.into_iter().filter(|due| !row.info.order.leaves_out(&due.name)).collect();
        let mut known = self.known_of(&row, &due).await?;
        let mut pass = Pass::new(self, row, None).await?;
        let (mut found, mut missed) = (Vec::new(), Vec::new());
        for some in due.chunks(TOUCHED_AT_ONCE) {
            let looks = join_all(some.iter().map(|due| pass.holdings.look(&due.name))).await;
            let failed = looks.iter().any(|look| look.as_ref().is_err_and(SiloError::blames_silo));
            for (due, look) in some.iter().zip(looks) {
                match look {
                    Ok(held) => found.push(Found::Held(held)),
                    // Once may be between two writes of somebody who replaces it.
                    Err(SiloError::Missing) if !due.missed => {
                        missed.extend(known.remove(&due.name).map(|_| due.name.clone()));
                    }
                    Err(SiloError::Missing) => {}
                    // What cannot be read, or is a folder by now, is for a pass to tell.
                    Err(error) => found.push(Found::Unread { name: due.name.clone(), reason: error.to_string() }),
                }
            }
            if failed {
                pass.is_it().await?;
            }
        }
        // What was missed was missed in the silo that was registered.
        pass.is_it().await?;
        self.stats.add(|all| all.names_looked_at += due.len() as u64);
        let (id, now) = (pass.row.info.id, self.clock.monotonic());
        for name in missed {
            held(&self.looking.dirty).missed(id, name, now);
        }
        pass.carry_out(merge(found, known.into_iter().collect())).await?;
        self.take_away_told(&mut pass).await
    }

    async fn known_of(&self, row: &RootRow, due: &[DueName]) -> Result<BTreeMap<Vec<u8>, NameRow>, Fault> {
        let keys: Vec<_> = due.iter().map(|due| name_key(row.silo, &due.name)).collect();
        let (rows, mut known) = (self.engine.get(&keys).await?, BTreeMap::new());
        for (due, row) in due.iter().zip(&rows) {
            known.extend(decode_row::<NameRow>(row.as_ref())?.map(|row| (due.name.clone(), row)));
        }
        Ok(known)
    }

    /// A part of a root, compared as a pass does.
    async fn look_below(self: &Arc<Self>, row: RootRow, below: String) -> Result<(), Broken> {
        let mut pass = Pass::new(self, row, Some(below)).await?;
        pass.walk().await?;
        pass.is_it().await?;
        self.take_away_told(&mut pass).await?;
        pass.fill_what_is_new().await
    }

    /// Takes away what is gone, as much as may go without asking. More is for a pass to tell.
    async fn take_away_told(&self, pass: &mut Pass<'_>) -> Result<(), Broken> {
        let gone = pass.take_gone();
        pass.forget_idle().await?;
        // Where somebody is asked, nothing goes before the answer.
        if gone.is_empty() || pass.row.info.gone > 0 {
            return Ok(());
        }
        if !self.may_take(&pass.row, gone.len() as u64) {
            self.touch_all(pass.row.info.id);
            return Ok(());
        }
        pass.take_away(gone).await?;
        self.note_taken(&pass.row, pass.removed(), None);
        Ok(())
    }

    fn may_take(&self, row: &RootRow, gone: u64) -> bool {
        let taken = held(&self.looking.taken).get(&row.info.id).copied().unwrap_or_default();
        taken.may_go(gone, self.clock.monotonic(), every(&row.info.order))
    }

    /// How much was taken away already of what a pass of this root may take away now.
    pub(super) fn taken(&self, row: &RootRow) -> u64 {
        let taken = held(&self.looking.taken).get(&row.info.id).copied().unwrap_or_default();
        taken.within(self.clock.monotonic(), every(&row.info.order))
    }

    /// So many were taken away; a complete pass found so many names, and so many that are no objects.
    pub(super) fn note_taken(&self, row: &RootRow, removed: u64, names: Option<(u64, u64)>) {
        let mut all = held(&self.looking.taken);
        let taken = all.entry(row.info.id).or_default();
        taken.add(removed, self.clock.monotonic(), every(&row.info.order));
        taken.names = names.or(taken.names);
    }

    /// Names that wait to be looked at.
    pub(crate) fn names_waiting(&self) -> u64 {
        held(&self.looking.dirty).waiting() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An unmounted disk empties no bucket one per cent at a time: what is told shares a limit with passes.
    #[test]
    fn what_is_told_takes_away_no_more_than_a_pass() {
        let (second, every) = (Duration::from_secs(1), Duration::from_mins(10));
        let mut taken = Taken::default();
        assert!(!taken.may_go(1, second, every), "nothing goes before a pass saw how much there is");
        taken.names = Some((5_000, 0));
        assert!(taken.may_go(50, second, every) && !taken.may_go(51, second, every));
        taken.add(30, second, every);
        taken.add(15, second * 300, every);
        assert!(taken.may_go(5, second * 500, every) && !taken.may_go(6, second * 500, every));
        assert!(taken.may_go(50, second * 601, every), "another interval");
        taken.add(1, second * 601, every);
        assert_eq!(taken.within(second * 700, every), 1);
        taken.names = Some((3, 0));
        assert!(taken.may_go(2, second * 9_000, every) && !taken.may_go(3, second * 9_000, every), "never all");
    }
}
