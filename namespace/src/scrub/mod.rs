//! Scrubbing: what silos hold is read before anybody needs it, past caches, and held against its checksums. What rotted or is missing
//! is made good from another copy, in its own silo; what is nowhere whole is told, and stays in rows.
//!
//! A replica is judged by its bytes alone. A silo that does not answer proves nothing: what it has is looked at the next time.
//! What lies where others put it is not looked at: it is theirs to change, and passes see that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::clock::UnixMs;
use crate::engine::{self, Key, Priority, Rows, Write};
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::{Access, Health, OpenSilo};
use crate::job::{BY_ITSELF, JobInfo, JobState, Order, OrderError, Pace, next_page};
use crate::limits::{
    BACKGROUND_ROWS, DAMAGED_KEPT, DAMAGED_SHOWN, MENDED_SHOWN, MET_AGAIN, SCRUB_AGAIN, SCRUB_LOOK, SCRUB_MET,
};
use crate::mover::{Mover, Pacer};
use crate::namespace::{Core, Namespace};
use crate::price::Money;
use crate::table::damaged::{DamagedRow, damaged, left_at, of_silo, read_damaged};
use crate::table::extents::{ExtentRow, extent};
use crate::table::{after_prefix, decode, decode_row, encode, key};

mod look;
mod mend;
mod paid;

pub(crate) use look::{Item, sort};
pub use paid::ScrubBudget;
pub(crate) use paid::{cost_of, is_spent};

/// How silos are scrubbed by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubOptions {
    /// All that one holds is read this often.
    pub every: Duration,
    /// How fast.
    pub pace: Pace,
    /// What scrubs by themselves may cost in a month, by the prices of silos; without it, none that costs something is scrubbed that
    /// does not say how often.
    pub budget: Option<Money>,
}

/// What is wrong with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flaw {
    /// Its bytes are not those that were written, or too few.
    Rotten,
    /// It is not there, in a silo that is.
    Missing,
    /// It is there, and its disk does not give its bytes.
    Unreadable,
}

/// What became of a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Nothing: no other silo has it whole, or its own took no other; the next scrub tries again.
    Left,
    /// It was replaced from another copy.
    Repaired,
}

/// A flaw as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The silo's name.
    pub silo: String,
    /// The bucket of the object that its bytes were first written for, where they say so.
    pub bucket: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The extent, `session-number`.
    pub extent: String,
    /// Its place in the silo.
    pub place: String,
    /// What is wrong.
    pub flaw: Flaw,
    /// One sentence fragment.
    pub reason: String,
    /// When it was found last.
    pub found: UnixMs,
    /// What became of it.
    pub done: Done,
}

/// What scrubbing found since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Bytes that were read.
    pub bytes: u64,
    /// Flaws that were found.
    pub damaged: u64,
    /// Those of them that were made good.
    pub mended: u64,
}

/// Extents that a reader met damaged: they are looked at at once. Held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Met(Mutex<BTreeSet<(SiloId, Number)>>);

impl Met {
    /// A reader met it. Beyond some, the next scrub finds them.
    pub(crate) fn note(&self, silo: SiloId, id: Number) {
        let mut met = self.0.lock().expect("no holder panics");
        if met.len() < SCRUB_MET {
            met.insert((silo, id));
        }
    }

    fn take(&self) -> BTreeSet<(SiloId, Number)> {
        std::mem::take(&mut *self.0.lock().expect("no holder panics"))
    }
}

/// What a scrub gives each look.
pub(crate) struct Scrubber<'a> {
    pub core: &'a Arc<Core>,
    pub mover: Mover<'a>,
    /// The silo that is looked through.
    pub silo: SiloId,
}

/// What came of looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Came {
    pub replicas: u64,
    pub bytes: u64,
    pub damaged: u64,
    pub mended: u64,
    /// Replicas of which nothing is known, and the last reason.
    pub unknown: u64,
    pub error: Option<String>,
}

impl Namespace {
    /// What was found damaged or missing, by silo, as far as it is kept: of what was made good the latest, and all that is left up to
    /// [`DAMAGED_KEPT`].
    pub async fn damage(&self) -> Result<Vec<Damage>, Fault> {
        let inventory = self.inventory();
        let rows = self.core.damaged_rows().await?;
        let shown = rows.into_iter().map(|((silo, id), row)| {
            let (bucket, key) = row.object.unzip();
            let (silo, extent, place) = (inventory.name_of(silo), id.to_string(), row.location.to_string());
            let DamagedRow { flaw, reason, found, done, .. } = row;
            Damage { silo, bucket, key, extent, place, flaw, reason, found, done }
        });
        Ok(shown.collect())
    }

    /// How many flaws are left, which nothing made good.
    pub async fn damage_left(&self) -> Result<u64, Fault> {
        let rows = self.core.damaged_rows().await?;
        Ok(rows.iter().filter(|(_, row)| row.done == Done::Left).count() as u64)
    }
}

impl Core {
    /// Silos of those of these extents that are in several, whose replicas were found damaged where they are, and not made good.
    pub(crate) async fn damage_of(&self, rows: &[(Number, ExtentRow)]) -> Result<BTreeMap<Number, Vec<SiloId>>, Fault> {
        let several = rows.iter().filter(|(_, row)| row.verified().count() > 1);
        let replicas: Vec<_> = several.flat_map(|(id, row)| row.verified().map(|replica| (*id, replica))).collect();
        let mut found: BTreeMap<Number, Vec<SiloId>> = BTreeMap::new();
        if replicas.is_empty() {
            return Ok(found);
        }
        let keys: Vec<Key> = replicas.iter().map(|(id, replica)| damaged(replica.silo, *id)).collect();
        for ((id, replica), row) in replicas.into_iter().zip(self.engine.get(&keys).await?) {
            if left_at(row.as_ref())?.is_some_and(|location| location == replica.location) {
                found.entry(id).or_default().push(replica.silo);
            }
        }
        Ok(found)
    }

    /// All rows that still say something: what is left counts as long as its extent is there, and was not made good since.
    pub(crate) async fn damaged_rows(&self) -> Result<Vec<((SiloId, Number), DamagedRow)>, Fault> {
        let rows = self.damage_from(vec![key::DAMAGED]).await?;
        let says = |(of, row, there): (_, DamagedRow, bool)| (row.done != Done::Left || there).then_some((of, row));
        Ok(rows.into_iter().filter_map(says).collect())
    }

    /// The rows whose keys begin so, and whether the extent of one that is left still counts on what was found damaged.
    async fn damage_from(&self, mut at: Key) -> Result<Vec<((SiloId, Number), DamagedRow, bool)>, Fault> {
        let (end, mut all) = (after_prefix(&at), Vec::new());
        while let Some(page) = next_page(self, &mut at, &end).await? {
            let rows = page.iter().filter_map(|(key, row)| Some((read_damaged(key)?, row)));
            let rows: Vec<((SiloId, Number), DamagedRow)> =
                rows.map(|(of, row)| Ok((of, decode(row)?))).collect::<Result<_, Fault>>()?;
            let left = rows.iter().filter(|(_, row)| row.done == Done::Left);
            let held = self.extents(left.map(|((_, id), _)| *id).collect()).await?;
            let held: BTreeMap<Number, ExtentRow> = held.into_iter().collect();
            all.extend(rows.into_iter().map(|(of, row)| {
                let there = is_there(held.get(&of.1), of.0, &row.location);
                (of, row, there)
            }));
        }
        Ok(all)
    }

    /// Writes flaws down; those that are known, always. Of those that were made good some are kept.
    pub(crate) async fn note_damage(&self, found: Vec<(SiloId, Number, DamagedRow)>) -> Result<(), Fault> {
        if found.is_empty() {
            return Ok(());
        }
        let (damaged_now, mended) =
            (found.len() as u64, found.iter().filter(|(_, _, row)| row.done == Done::Repaired).count() as u64);
        self.stats.add(|stats| {
            stats.scrub.damaged += damaged_now;
            stats.scrub.mended += mended;
        });
        let keys: Vec<Key> = found.iter().map(|(silo, id, _)| damaged(*silo, *id)).collect();
        let before = self.engine.get(&keys).await?;
        // How many there are matters only to new ones.
        let mut known = 0;
        if before.iter().any(Option::is_none) {
            let range = vec![key::DAMAGED]..after_prefix(&[key::DAMAGED]);
            known = self.engine.range(range, DAMAGED_KEPT, usize::MAX).await?.len();
        }
        let mut writes = Vec::with_capacity(found.len());
        for ((key, before), (_, _, row)) in keys.into_iter().zip(before).zip(found) {
            let limit = if row.done == Done::Left { DAMAGED_KEPT } else { DAMAGED_SHOWN };
            if before.is_some() || known < limit {
                known += usize::from(before.is_none());
                writes.push(Write::Put(key, encode(&row)));
            }
        }
        self.write_damage(writes).await
    }

    /// What was found damaged and is seen to be well is not damaged.
    pub(crate) async fn forget_well(&self, silo: SiloId, well: &[Number]) -> Result<(), Fault> {
        let keys: Vec<Key> = well.iter().map(|id| damaged(silo, *id)).collect();
        let mut gone = Vec::new();
        for (key, row) in keys.iter().zip(self.engine.get(&keys).await?) {
            if decode_row::<DamagedRow>(row.as_ref())?.is_some_and(|row| row.done == Done::Left) {
                gone.push(Write::Delete(key.clone()));
            }
        }
        self.write_damage(gone).await
    }

    /// All that was found in a silo which is taken out.
    pub(crate) async fn forget_damage_of(&self, silo: SiloId) -> Result<(), Fault> {
        let first = of_silo(silo);
        let end = after_prefix(&first);
        let rows = self.engine.range(first..end, usize::MAX, usize::MAX).await?;
        self.write_damage(rows.iter().map(|(key, _)| Write::Delete(key.to_vec())).collect()).await
    }

    /// Forgets what is of no interest any more of a silo that was looked through: what is gone, and what was made good long ago.
    pub(crate) async fn forget_damage(&self, silo: SiloId) -> Result<(), Fault> {
        let shown = self.clock.now() - MENDED_SHOWN.as_millis() as UnixMs;
        let stays = |row: &DamagedRow, there: bool| match row.done {
            Done::Left => there,
            Done::Repaired => row.found >= shown,
        };
        let rows = self.damage_from(of_silo(silo)).await?;
        let gone = rows.into_iter().filter(|(_, row, there)| !stays(row, *there));
        self.write_damage(gone.map(|((silo, id), ..)| Write::Delete(damaged(silo, id))).collect()).await
    }

    async fn write_damage(&self, writes: Vec<Write>) -> Result<(), Fault> {
        for some in writes.chunks(BACKGROUND_ROWS) {
            let some = some.to_vec();
            let decide = move |_: &Rows| Ok::<_, Fault>((some.clone(), ()));
            engine::commit_as(&*self.engine, Priority::Background, Vec::new(), decide).await?;
        }
        Ok(())
    }

    /// Scrubs each silo when it is due, one at a time, for ever.
    pub(crate) async fn scrub_forever(self: Arc<Self>) {
        let Some(options) = self.options.scrub.clone() else { return };
        loop {
            self.clock.sleep(SCRUB_LOOK).await;
            match self.due_for_scrub(&options).await {
                Ok(Some(silo)) => match self.order_scrub(&silo, options.pace.clone()).await {
                    // Another gateway was faster.
                    Ok(()) | Err(OrderError::Conflict { .. }) => {}
                    Err(error) => tracing::warn!(silo, %error, "silo is not scrubbed"),
                },
                Ok(None) => {}
                Err(fault) => tracing::warn!(%fault, "whether a scrub is due is not known"),
            }
        }
    }

    /// A silo that was not scrubbed for as long as it may be, where none is scrubbed now that answers; one that costs something to
    /// be read may wait for money, and keeps none from it that does not. One whose scrub did not see all is tried again.
    async fn due_for_scrub(&self, options: &ScrubOptions) -> Result<Option<String>, Fault> {
        let rows = self.job_rows().await?;
        let scrubs: Vec<&JobInfo> =
            rows.iter().map(|row| &row.info).filter(|info| matches!(info.order, Order::Scrub { .. })).collect();
        let inventory = self.inventory();
        let goes_on = |open: &Arc<OpenSilo>| open.health() == Health::Up && !open.row.paused;
        let about = |info: &JobInfo, open: &Arc<OpenSilo>| info.order.names(&open.row.name);
        let is_scrubbed = |open: &&Arc<OpenSilo>| scrubs.iter().any(|info| info.is_active() && about(info, open));
        let busy = inventory.silos.values().filter(|open| goes_on(open)).filter(is_scrubbed);
        let busy: BTreeSet<bool> = busy.map(|open| open.is_read_for_nothing()).collect();
        let now = self.clock.now();
        let free = inventory.silos.values().filter(|open| goes_on(open) && !busy.contains(&open.is_read_for_nothing()));
        let due = free.filter_map(|open| {
            let every = open.scrubbed_every(options)?;
            let own: Vec<&JobInfo> = scrubs.iter().copied().filter(|info| about(info, open)).collect();
            due_since(&own, open.row.created, every).filter(|due| *due <= now).map(|due| (due, open))
        });
        Ok(due.min_by_key(|(due, _)| *due).map(|(_, open)| open.row.name.clone()))
    }

    /// Looks at what readers met, for ever.
    pub(crate) async fn scrub_met_forever(self: Arc<Self>) {
        let pacer = Arc::new(Pacer::new(Arc::clone(&self.clock), None, CancellationToken::new()));
        loop {
            self.clock.sleep(crate::limits::BEAT).await;
            self.scrub_met(&pacer).await;
        }
    }

    /// Looks at what readers met since.
    pub(crate) async fn scrub_met(self: &Arc<Self>, pacer: &Arc<Pacer>) {
        let options = self.scrub_options();
        for (silo, id) in self.met.take() {
            // The next one who meets it there says so.
            let inventory = self.inventory();
            let goes_on = |open: &Arc<OpenSilo>| open.health() == Health::Up && !open.row.paused;
            let may = |open: &Arc<OpenSilo>| goes_on(open) && open.scrubbed_every(&options).is_some();
            if !inventory.silos.get(&silo).is_some_and(may) {
                continue;
            }
            if let Err(fault) = self.scrub_one(silo, id, pacer).await {
                tracing::warn!(extent = %id, %fault, "what a reader met damaged was not looked at");
            }
        }
    }

    async fn scrub_one(self: &Arc<Self>, silo: SiloId, id: Number, pacer: &Arc<Pacer>) -> Result<(), Fault> {
        let rows = self.engine.get(&[extent(id), damaged(silo, id)]).await?;
        let (row, known): (Option<ExtentRow>, Option<DamagedRow>) =
            (decode_row(rows[0].as_ref())?, decode_row(rows[1].as_ref())?);
        let Some(item) = row.and_then(|row| Item::of(id, row, silo)) else { return Ok(()) };
        let lately = self.clock.now() - MET_AGAIN.as_millis() as UnixMs;
        if known.is_some_and(|known| known.location == item.location && known.found > lately) {
            return Ok(());
        }
        let cost =
            self.inventory().silos.get(&silo).map_or(Money::ZERO, |open| cost_of(open, std::slice::from_ref(&item)));
        if !self.pay_for_scrub(cost).await? {
            return Ok(());
        }
        let mover = Mover { core: self, job: BY_ITSELF, pacer, for_a_write: false, watch: &|_, _| {} };
        Scrubber { core: self, mover, silo }.look(vec![item]).await.map(drop)
    }
}

impl OpenSilo {
    /// How often it is scrubbed by itself: as it says, or like all where reading it costs nothing, or is in the budget.
    pub(crate) fn scrubbed_every(&self, options: &ScrubOptions) -> Option<Duration> {
        let declared = &self.row.declared;
        if declared.access != Access::Own || self.is_lost() {
            return None;
        }
        if let Some(seconds) = declared.scrub {
            return Some(Duration::from_secs(seconds)).filter(|every| !every.is_zero());
        }
        let is_paid = self.card.is_some() && options.budget.is_some();
        (is_paid || self.is_read_for_nothing()).then_some(options.every)
    }
}

/// When a silo is to be scrubbed that is so often, by what became of its scrubs; none while one is not over.
fn due_since(scrubs: &[&JobInfo], registered: UnixMs, every: Duration) -> Option<UnixMs> {
    if scrubs.iter().any(|info| !info.is_over()) {
        return None;
    }
    let saw_all = |info: &&&JobInfo| info.state == JobState::Done && info.failed == 0;
    let whole = scrubs.iter().filter(saw_all).map(|info| info.created).max().unwrap_or(registered);
    let tried = scrubs.iter().filter(|info| !saw_all(info)).map(|info| info.finished.unwrap_or(info.created)).max();
    let (every, again) = (every.as_millis() as UnixMs, every.min(SCRUB_AGAIN).as_millis() as UnixMs);
    Some((whole + every).max(tried.map_or(0, |tried| tried + again)))
}

/// Whether the extent still counts on what was found damaged.
fn is_there(held: Option<&ExtentRow>, silo: SiloId, location: &Location) -> bool {
    let held = held.filter(|row| row.first.is_some());
    held.and_then(|row| row.verified_in(silo)).is_some_and(|replica| replica.location == *location)
}
