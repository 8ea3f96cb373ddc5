//! Sweeping: deleting what was retired once nobody can be reading it, and orphans by the rule.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{self, Engine, Key, Priority, Read, Rows, Write};
use crate::extent::{Location, Number, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::Health;
use crate::limits::{
    BACKGROUND_ROWS, BEAT, COMPLETED_KEPT, LIST_PAGE, PATIENT_PASSES, SWEEP, SWEEP_LOOKED, SWEEP_ROWS, SWEEPS_AT_ONCE,
};
use crate::namespace::{Core, Namespace};
use crate::table::extents::{ExtentRow, extent, forget};
use crate::table::names::{self, NameRow, NameState};
use crate::table::packs::{self, PackId};
use crate::table::retired::{RetiredRow, read_since, since};
use crate::table::roots::RootId;
use crate::table::sessions::{BeatRow, read_session};
use crate::table::usage::{self, Counted};
use crate::table::{after_prefix, decode, decode_row, encode, key, successor};

mod collect;
mod parts;

use collect::Doubts;

/// Records swept in one commit: each has a retired row, an extent and counters.
const SWEPT_TOGETHER: usize = BACKGROUND_ROWS / 4;

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// Replicas deleted.
    pub replicas: u64,
    /// Orphans deleted.
    pub orphans: u64,
    /// Bytes freed.
    pub bytes: u64,
    /// Retired replicas that still wait: for readers, for the grace period, or for a silo.
    pub waiting: u64,
}

impl Swept {
    /// Counts what another deleted, too.
    fn add(&mut self, other: &Self) {
        self.replicas += other.replicas;
        self.orphans += other.orphans;
        self.bytes += other.bytes;
    }
}

/// What a sweeper remembers between passes: the beats it noted after it saw a retirement. It has no session; its steps
/// may be delayed for ever.
#[derive(Default)]
pub(crate) struct Seen {
    noted: HashMap<Key, Noted>,
    /// The next pass begins here: all rows before wait for silos that are down,
    from: Key,
    /// namely these,
    down: BTreeSet<SiloId>,
    /// and were retired before this.
    until: UnixMs,
}

struct Noted {
    row: Bytes,
    /// Every session alive then, and its beat.
    beats: Arc<[(u64, u64)]>,
}

impl Noted {
    /// Nobody can be reading what was retired: each session is dead, or has no read open from then.
    fn is_over(&self, now: &BTreeMap<u64, BeatRow>) -> bool {
        crate::seeded_bug!("sweep-ignores-readers")
            || self.beats.iter().all(|(session, beat)| now.get(session).is_none_or(|row| row.oldest > *beat))
    }
}

impl Namespace {
    /// One pass over what is retired, and one of the orphan collector. `skip_grace` skips the grace period only:
    /// the rule about readers always holds. A pass may have to be repeated until `waiting` is 0.
    pub async fn sweep(&self, skip_grace: bool) -> Result<Swept, Fault> {
        let mut swept = self.core.sweep_retired(skip_grace).await?;
        self.core.look_after_packs().await?;
        self.core.collect_all(&mut swept).await?;
        Ok(swept)
    }

    /// The same without the grace period, and with patience: whatever nobody reads goes, within a few beats.
    pub async fn sweep_now(&self) -> Result<Swept, Fault> {
        let mut swept = Swept::default();
        self.core.packer.hurry();
        for pass in 0..PATIENT_PASSES {
            if pass > 0 {
                self.clock.sleep(BEAT).await;
            }
            let done = self.core.sweep_retired(true).await?;
            self.core.look_after_packs().await?;
            swept.add(&done);
            swept.waiting = done.waiting;
            if swept.waiting == 0 {
                break;
            }
        }
        self.core.collect_all(&mut swept).await?;
        Ok(swept)
    }
}

impl Core {
    pub(crate) async fn sweep_forever(self: Arc<Self>) {
        if let Err(fault) = self.find_packs().await {
            tracing::warn!(%fault, "packs of earlier sessions were not looked at");
        }
        let mut doubts = Doubts::default();
        loop {
            if let Err(fault) = self.collect_ended().await {
                tracing::warn!(%fault, "orphans of earlier sessions were not collected");
            }
            self.collect_doubtful(&mut doubts).await;
            self.clock.sleep(SWEEP).await;
            match self.sweep_retired(false).await {
                Ok(swept) if swept.replicas > 0 => {
                    tracing::debug!(replicas = swept.replicas, bytes = swept.bytes, "swept");
                }
                Ok(_) => {}
                Err(fault) => tracing::warn!(%fault, "a sweep broke off"),
            }
        }
    }

    /// One pass over what is retired, a page at a time: requests are answered between.
    pub(crate) async fn sweep_retired(&self, skip_grace: bool) -> Result<Swept, Fault> {
        let mut seen = self.sweeping.lock().await;
        if let Err(fault) = self.abort_left().await {
            tracing::warn!(%fault, "uploads of deleted buckets stay");
        }
        let mut swept = Swept::default();
        // A row ahead of its time is the record of a completed upload, which is kept for a day whatever the grace; half
        // of that forgives clocks that were ahead of ours.
        let ahead = COMPLETED_KEPT.as_millis() as UnixMs / 2;
        let now = self.clock.now();
        let until = if skip_grace { now + ahead } else { now - self.options.grace.as_millis() as UnixMs };
        let early =
            if crate::seeded_bug!("sweep-notes-early") { Some(live_sessions(&*self.engine).await?) } else { None };
        let mut noted = HashMap::new();
        let down = self.silos_down();
        // Where a clock went back, or one was ahead, rows came before those that were passed.
        if seen.down != down || until < seen.until {
            (seen.from, seen.down) = (Key::new(), down);
        }
        seen.until = until;
        let (mut pages, mut held) = (Retired::from(self, &seen.from, until, SWEEP_LOOKED), 0);
        let mut stuck = Vec::new();
        while held < SWEEP_ROWS
            && let Some(page) = pages.next().await?
        {
            let page = in_reach(page, &seen.down);
            held += page.len();
            if held == 0 {
                seen.from.clone_from(&pages.at);
            }
            let ready = self.note_page(page, early.as_deref(), &mut seen, &mut noted).await?;
            let all =
                stream::iter(batches(ready)).map(|batch| self.sweep_batch(batch)).buffer_unordered(SWEEPS_AT_ONCE);
            let outcomes: Vec<(Swept, Vec<(Key, Bytes)>)> = all.collect().await;
            for (batch, left) in outcomes {
                swept.add(&batch);
                stuck.extend(left);
            }
        }
        if !pages.is_over() {
            self.put_behind(stuck).await?;
        }
        // What is younger than this pass looks at may have been noted by one that skips the grace period.
        seen.noted.retain(|key, _| read_since(key) > until);
        seen.noted.extend(noted);
        let mut left = Retired::from(self, &[], now + ahead, SWEEP_ROWS);
        while let Some(page) = left.next().await? {
            swept.waiting += page.len() as u64;
        }
        self.stats.add(|stats| {
            stats.swept += swept.replicas;
            stats.retired_waiting = swept.waiting;
        });
        Ok(swept)
    }

    fn silos_down(&self) -> BTreeSet<SiloId> {
        let inventory = self.inventory();
        inventory.silos.values().filter(|open| open.health() == Health::Down).map(|open| open.id).collect()
    }

    /// Retires anew what would not go, so that it does not hide what comes after it.
    async fn put_behind(&self, rows: Vec<(Key, Bytes)>) -> Result<(), Fault> {
        let now = self.clock.now();
        for some in rows.chunks(SWEPT_TOGETHER) {
            let keys: Vec<Key> = some.iter().map(|(key, _)| key.clone()).collect();
            let reads = keys.iter().cloned().map(Read::Row).collect();
            let decide = move |rows: &Rows| -> Result<_, Fault> {
                let there = keys.iter().filter_map(|key| Some((key, rows.get(key)?)));
                let moved =
                    there.map(|(key, row)| [Write::Delete(key.clone()), Write::Put(since(key, now), row.to_vec())]);
                Ok((moved.flatten().collect(), ()))
            };
            engine::commit_as(&*self.engine, Priority::Background, reads, decide).await?;
        }
        Ok(())
    }

    /// Notes the beats of all sessions beside rows that are new; answers those that nobody can be reading.
    async fn note_page(
        &self,
        page: Vec<(Key, Bytes)>,
        early: Option<&[(u64, BeatRow)]>,
        seen: &mut Seen,
        noted: &mut HashMap<Key, Noted>,
    ) -> Result<Vec<(Key, Bytes)>, Fault> {
        let sessions = live_sessions(&*self.engine).await?;
        let of_new: Arc<[(u64, u64)]> =
            early.unwrap_or(&sessions).iter().map(|(session, row)| (*session, row.beat)).collect();
        let beats: BTreeMap<u64, BeatRow> = sessions.into_iter().collect();
        let mut ready = Vec::new();
        for (key, row) in page {
            let known = seen.noted.remove(&key).filter(|noted| noted.row == row);
            let known = known.unwrap_or_else(|| Noted { row, beats: Arc::clone(&of_new) });
            let unwaited =
                crate::seeded_bug!("manifest-unwaited") && matches!(decode(&known.row), Ok(RetiredRow::Manifest(_)));
            if known.is_over(&beats) || unwaited {
                ready.push((key.clone(), known.row.clone()));
            }
            noted.insert(key, known);
        }
        Ok(ready)
    }

    /// Sweeps rows that need no silo in one commit; where that fails, and of all others, each by itself. Answers those
    /// that stay, too.
    async fn sweep_batch(&self, batch: Vec<(Key, Bytes)>) -> (Swept, Vec<(Key, Bytes)>) {
        if batch.len() > 1 {
            let records: Vec<Gone> = batch.iter().filter_map(|(key, row)| Gone::record(key, row)).collect();
            match self.forget_gone(records, None).await {
                Ok(swept) => return (swept, Vec::new()),
                Err(fault) => tracing::debug!(%fault, "retired rows are swept one by one"),
            }
        }
        let (mut swept, mut stuck) = (Swept::default(), Vec::new());
        for (key, row) in batch {
            match self.sweep_one(key.clone(), row.clone()).await {
                Some(one) => swept.add(&one),
                None => stuck.push((key, row)),
            }
        }
        (swept, stuck)
    }

    /// Sweeps one row; `None` when it stays.
    async fn sweep_one(&self, key: Key, row: Bytes) -> Option<Swept> {
        let outcome = match decode::<RetiredRow>(&row) {
            Ok(RetiredRow::Replicas { extent, replicas }) => self.sweep_replicas(&key, extent, &replicas).await,
            Ok(RetiredRow::Manifest(id)) => self.sweep_manifest(&key, id).await,
            Ok(RetiredRow::Upload { key: upload, id }) => self.sweep_upload(&key, upload, id).await,
            Err(fault) => Err(fault),
        };
        outcome.inspect_err(|fault| tracing::debug!(%fault, "a retired row stays")).ok()
    }

    /// The silo deletes, then the row goes.
    async fn sweep_replicas(&self, retired: &Key, id: Number, replicas: &[(SiloId, Location)]) -> Result<Swept, Fault> {
        let inventory = self.inventory();
        let stale =
            if crate::seeded_bug!("sweep-stale-row") { self.engine.get(&[extent(id)]).await?.remove(0) } else { None };
        for (silo, location) in replicas {
            let open = inventory.silo(*silo)?;
            // A record goes with its pack; what others put there stays.
            let Location::Blob(blob) = location else { continue };
            open.note(open.silo.delete(blob).await).map_err(|error| crate::store::silo_failed(open, &error))?;
        }
        crate::failpoint!("sweep-deleted");
        let gone = Gone { retired: retired.clone(), extent: id, replicas: replicas.to_vec() };
        let swept = self.forget_gone(vec![gone], stale).await?;
        crate::failpoint!("sweep-forgotten");
        Ok(swept)
    }

    /// The rows go, in one commit. `stale` is for a seeded bug alone.
    async fn forget_gone(&self, all: Vec<Gone>, stale: Option<Bytes>) -> Result<Swept, Fault> {
        // With the decision: as long as it may land, also after whoever asked went away.
        let touched = self.packer.touch(all.iter().flat_map(Gone::packs).collect());
        let priority = Priority::of(all.len());
        let reads = all.iter().flat_map(|gone| [Read::Row(gone.retired.clone()), Read::Row(extent(gone.extent))]);
        let originals: Arc<[_]> = all.iter().flat_map(|gone| self.originals(gone)).collect();
        let leaving = Arc::clone(&originals);
        let reads = reads.chain(originals.iter().map(Original::read)).collect();
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let (mut writes, mut swept) = (Vec::new(), Swept::default());
            let _held = &touched;
            for original in leaving.iter() {
                writes.extend(original.leave(rows)?);
            }
            for gone in &all {
                swept.add(&gone.forget(rows, stale.as_ref(), &mut writes)?);
            }
            Ok((writes, swept))
        };
        let swept = engine::commit_as(&*self.engine, priority, reads, decide).await?;
        for original in originals.iter() {
            self.projecting.want((original.root, original.name.clone()), &original.key);
        }
        Ok(swept)
    }

    /// Files in trees that are written to, from which an extent was moved away.
    fn originals(&self, gone: &Gone) -> Vec<Original> {
        let in_place = gone.replicas.iter().filter_map(|(silo, location)| match location {
            Location::InPlace { name, .. } => Some((*silo, name.clone())),
            Location::Blob(_) | Location::Pack { .. } => None,
        });
        let original = |(silo, name): (SiloId, Vec<u8>)| {
            let (root, key) = self.written_root_of(silo, &name)?;
            Some(Original { silo, name, extent: gone.extent, root, key })
        };
        in_place.filter_map(original).collect()
    }
}

/// Rows retired before a moment, the oldest first, as many as are looked at.
struct Retired<'a> {
    core: &'a Core,
    until: UnixMs,
    at: Key,
    left: usize,
}

impl<'a> Retired<'a> {
    fn from(core: &'a Core, from: &[u8], until: UnixMs, left: usize) -> Self {
        Self { core, until, at: if from.is_empty() { vec![key::RETIRED] } else { from.to_vec() }, left }
    }

    /// Whether the last row was passed.
    fn is_over(&self) -> bool {
        self.at.is_empty()
    }

    /// The next page; none at the end, and where enough was looked at.
    async fn next(&mut self) -> Result<Option<Vec<(Key, Bytes)>>, Fault> {
        if self.left == 0 || self.is_over() {
            return Ok(None);
        }
        // Reading a page waits for nothing: others have their turn.
        self.core.clock.sleep(Duration::ZERO).await;
        let range = self.at.clone()..after_prefix(&[key::RETIRED]);
        let page = self.core.engine.range(range, self.left.min(LIST_PAGE), usize::MAX).await?;
        let old = page.into_iter().take_while(|(key, _)| read_since(key) <= self.until);
        let page: Vec<(Key, Bytes)> = old.map(|(key, row)| (key.to_vec(), row)).collect();
        let Some((last, _)) = page.last() else {
            self.at.clear();
            return Ok(None);
        };
        self.at = successor(last);
        self.left -= page.len();
        Ok(Some(page))
    }
}

/// A file that others know, and that goes after its bytes.
struct Original {
    silo: SiloId,
    name: Vec<u8>,
    extent: Number,
    /// The root that it is of, and the row of its key.
    root: RootId,
    key: Key,
}

impl Original {
    fn read(&self) -> Read {
        Read::Row(names::name(self.silo, &self.name))
    }

    /// What is to be written where the name still follows a version with these bytes.
    fn leave(&self, rows: &Rows) -> Result<Option<Write>, Fault> {
        let key = names::name(self.silo, &self.name);
        let (name, of): (Option<NameRow>, Option<ExtentRow>) =
            (decode_row(rows.get(&key))?, decode_row(rows.get(&extent(self.extent)))?);
        let (Some(name), Some(of)) = (name, of) else { return Ok(None) };
        let NameState::Made(version) = name.state else { return Ok(None) };
        let moved = NameRow { state: NameState::Moved(version), ..name };
        Ok((of.first == Some(version)).then(|| Write::Put(key, encode(&moved))))
    }
}

/// Replicas whose bytes are gone, or go with their pack.
struct Gone {
    retired: Key,
    extent: Number,
    replicas: Vec<(SiloId, Location)>,
}

impl Gone {
    /// Of a row that retires what goes with its pack, or stays with others, alone.
    fn record(key: &Key, row: &Bytes) -> Option<Self> {
        match decode(row).ok()? {
            RetiredRow::Replicas { extent, replicas }
                if !replicas.iter().any(|(_, location)| matches!(location, Location::Blob(_))) =>
            {
                Some(Self { retired: key.clone(), extent, replicas })
            }
            _ => None,
        }
    }

    fn packs(&self) -> impl Iterator<Item = PackId> {
        self.replicas.iter().filter_map(|(silo, location)| packs::of(*silo, location))
    }

    /// What is to be written, unless another sweeper wrote it.
    fn forget(&self, rows: &Rows, stale: Option<&Bytes>, writes: &mut Vec<Write>) -> Result<Swept, Fault> {
        let id = self.extent;
        if rows.get(&self.retired).is_none() {
            return Ok(Swept::default());
        }
        writes.push(Write::Delete(self.retired.clone()));
        let Some(mut row) = decode_row::<ExtentRow>(stale.or(rows.get(&extent(id))))? else {
            return Ok(Swept::default());
        };
        let swept = forget_replicas(&mut row, &self.replicas, writes);
        if row.first.is_none() && row.replicas.is_empty() {
            writes.extend(forget(id, &row));
        } else {
            writes.push(Write::Put(extent(id), encode(&row)));
        }
        Ok(swept)
    }
}

/// Rows that need none of these silos.
fn in_reach(page: Vec<(Key, Bytes)>, down: &BTreeSet<SiloId>) -> Vec<(Key, Bytes)> {
    if down.is_empty() {
        return page;
    }
    let waits = |row: &Bytes| match decode(row) {
        Ok(RetiredRow::Replicas { replicas, .. }) => {
            replicas.iter().any(|(silo, location)| matches!(location, Location::Blob(_)) && down.contains(silo))
        }
        _ => false,
    };
    page.into_iter().filter(|(_, row)| !waits(row)).collect()
}

/// Rows that retire records of packs go many at a time, of each extent one; each other row by itself.
fn batches(ready: Vec<(Key, Bytes)>) -> Vec<Vec<(Key, Bytes)>> {
    let mut extents = HashSet::new();
    let (records, others): (Vec<_>, Vec<_>) = ready
        .into_iter()
        .partition(|(key, row)| Gone::record(key, row).is_some_and(|gone| extents.insert(gone.extent)));
    let mut batches: Vec<Vec<(Key, Bytes)>> = records.chunks(SWEPT_TOGETHER).map(<[_]>::to_vec).collect();
    batches.extend(others.into_iter().map(|one| vec![one]));
    batches
}

/// Takes replicas out of a row that are gone from their silos.
fn forget_replicas(row: &mut ExtentRow, gone: &[(SiloId, Location)], writes: &mut Vec<Write>) -> Swept {
    let (size, before) = (row.size, row.replicas.len());
    row.replicas.retain(|replica| {
        let goes = replica.state == ReplicaState::Retired
            && gone.iter().any(|(silo, location)| *silo == replica.silo && *location == replica.location);
        if goes {
            writes.extend(usage::add(Counted::Retired(replica.silo), -1, -(size as i64)));
            writes.extend(packs::count(replica.silo, &replica.location, -1));
        }
        !goes
    });
    let replicas = (before - row.replicas.len()) as u64;
    Swept { replicas, bytes: replicas * size, ..Swept::default() }
}

/// Sessions that nobody declared dead, with what they published last.
pub(crate) async fn live_sessions(engine: &dyn Engine) -> Result<Vec<(u64, BeatRow)>, Fault> {
    let range = vec![key::BEATS]..after_prefix(&[key::BEATS]);
    let rows = engine.range(range, usize::MAX, usize::MAX).await?;
    rows.iter().filter_map(|(key, row)| read_session(key).map(|id| decode(row).map(|row| (id, row)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u64, location: Location) -> (Key, Bytes) {
        let extent = Number { session: 1, number };
        let row = RetiredRow::Replicas { extent, replicas: vec![(1, location)] };
        (vec![number as u8], encode(&row).into())
    }

    /// An extent that was moved and then deleted has two rows. In one commit each would write the extent's row as it was
    /// before the other.
    #[test]
    fn a_commit_sweeps_one_row_of_each_extent() {
        let pack = holdall_silos::BlobName::pack(1, 1);
        let record = |offset| Location::Pack { pack, offset, length: 5 };
        let blob = Location::Blob(holdall_silos::BlobName { session: 1, number: 9, extent: (1, 9) });
        let ready = vec![row(1, record(0)), row(2, record(5)), row(1, record(10)), row(3, blob)];
        let batches: Vec<Vec<Key>> =
            batches(ready).into_iter().map(|batch| batch.into_iter().map(|(key, _)| key).collect()).collect();
        assert_eq!(batches, [vec![vec![1], vec![2]], vec![vec![1]], vec![vec![3]]]);
    }
}
