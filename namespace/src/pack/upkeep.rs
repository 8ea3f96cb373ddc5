//! Packs nobody appends to any more: an empty one is deleted, one that is less than half in use is rewritten.
//!
//! How much of a pack is named is counted in the commits that name and forget its records, so that nothing is read to
//! learn it. Only packs that something happened to are looked at, and all once when a gateway begins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use crate::describe::Description;
use crate::engine::{self, Read, Rows, Write};
use crate::extent::{Location, Replica, ReplicaState};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::job::BY_ITSELF;
use crate::limits::{MOVED_TOGETHER, REWRITES, SPAN, SWEEP, SWEEPS_AT_ONCE};
use crate::mover::Mover;
use crate::namespace::Core;
use crate::pack::fetch::read_span;
use crate::pack::record::Head;
use crate::pack::{Watched, lock};
use crate::plan::{Move, Step};
use crate::store::silo_failed;
use crate::sweep::live_sessions;
use crate::table::extents::{ExtentRow, extent};
use crate::table::packs::{self, PackId, read_pack};
use crate::table::sessions::BeatRow;
use crate::table::{after_prefix, decode, decode_row, encode, key, successor, usage};

/// Rows read in one step.
const PAGE: usize = 1000;

/// How much of a pack is in use.
struct Use {
    /// Bytes that rows name.
    named: u64,
    length: Option<u64>,
}

/// What was found out about a pack, or done.
enum Looked {
    Done,
    /// Something else has to change first.
    Waits,
    Failed,
    /// It failed before, and its pause is not over.
    Rests,
    /// It is to be rewritten.
    Thin(Thin),
}

/// A pack that is less than half in use.
struct Thin {
    open: Arc<OpenSilo>,
    length: u64,
    named: u64,
}

impl Use {
    fn is_thin(&self) -> bool {
        self.length.is_none_or(|length| self.named * 2 < length)
    }
}

impl Core {
    /// Finds the packs of earlier lives that something is to be done about.
    pub(crate) async fn find_packs(&self) -> Result<(), Fault> {
        let (mut at, end) = (vec![key::PACKS], after_prefix(&[key::PACKS]));
        let mut last: Option<(PackId, Use)> = None;
        loop {
            let page = self.engine.range(at.clone()..end.clone(), PAGE, usize::MAX).await?;
            for (key, bytes) in &page {
                let Some(id) = read_pack(key) else { continue };
                if let Some((before, used)) = last.take_if(|(before, _)| *before != id) {
                    self.watch_thin(before, &used);
                }
                let used = &mut last.get_or_insert((id, Use { named: 0, length: None })).1;
                if *key == packs::named(id) {
                    used.named = usage::read(Some(bytes)).max(0) as u64;
                } else {
                    used.length = Some(decode(bytes)?);
                }
            }
            let Some((key, _)) = page.last() else { break };
            at = successor(key);
        }
        if let Some((id, used)) = last {
            self.watch_thin(id, &used);
        }
        Ok(())
    }

    fn watch_thin(&self, id: PackId, used: &Use) {
        if used.is_thin() {
            self.packer.watch(id);
        }
    }

    pub(crate) async fn look_after_packs_forever(self: Arc<Self>) {
        loop {
            self.clock.sleep(SWEEP).await;
            if let Err(fault) = self.look_after_packs().await {
                tracing::warn!(%fault, "packs could not be looked at");
            }
        }
    }

    /// Looks at the packs that something happened to since: deletes come first, then some are rewritten. Does nothing
    /// where that is under way already.
    pub(crate) async fn look_after_packs(self: &Arc<Self>) -> Result<(), Fault> {
        let Ok(_alone) = self.packer.tending.try_lock() else { return Ok(()) };
        let now = self.clock.monotonic();
        let due = self.packer.due(now);
        if due.is_empty() {
            return Ok(());
        }
        let kept = self.kept_before().await?;
        let sessions: BTreeMap<u64, BeatRow> = live_sessions(&*self.engine).await?.into_iter().collect();
        let begun = |id: &PackId| sessions.get(&id.number.session).is_some_and(|row| row.floor <= id.number.number);
        // What a restored index does not know of a pack goes with it.
        let due = due.into_iter().filter(|(id, _)| id.number.session >= kept && !self.is_out_of_reach(*id));
        let past = due.filter(|(id, _)| !begun(id) || crate::seeded_bug!("pack-unpast"));
        let looks =
            stream::iter(past).map(|(id, seen)| async move { (id, seen, self.look_after(id, seen, now).await) });
        let looked: Vec<_> = looks.buffer_unordered(SWEEPS_AT_ONCE).collect().await;
        let mut thin = Vec::new();
        for (id, seen, looked) in looked {
            match looked {
                Ok(Looked::Thin(found)) => thin.push((id, seen, found)),
                looked => self.note_look(id, seen, looked),
            }
        }
        for (id, seen, found) in thin.into_iter().take(REWRITES) {
            let looked = self.rewrite(id, found).await;
            self.note_look(id, seen, looked);
        }
        Ok(())
    }

    /// Whether a pack's silo is known to be down: once it answers, its packs are looked at.
    fn is_out_of_reach(&self, id: PackId) -> bool {
        self.inventory().silos.get(&id.silo).is_some_and(|open| open.health() == Health::Down)
    }

    fn note_look(&self, id: PackId, seen: Watched, looked: Result<Looked, Fault>) {
        let now = self.clock.monotonic();
        match looked {
            Ok(Looked::Done) => self.packer.done(id, seen),
            Ok(Looked::Rests) => self.packer.rests_on(id, seen),
            Ok(Looked::Waits | Looked::Thin(_)) => self.packer.later(id, seen, now, false),
            Ok(Looked::Failed) | Err(_) if self.is_out_of_reach(id) => self.packer.later(id, seen, now, false),
            Ok(Looked::Failed) => self.packer.later(id, seen, now, true),
            Err(fault) => {
                tracing::warn!(%fault, pack = %id.name(), "a pack could not be looked after");
                self.packer.later(id, seen, now, true);
            }
        }
    }

    /// Finds out what a pack needs, and deletes it where nothing names it.
    async fn look_after(&self, id: PackId, seen: Watched, now: Duration) -> Result<Looked, Fault> {
        let inventory = self.inventory();
        // A silo that was taken out held no packs.
        let Ok(open) = inventory.silo(id.silo) else { return Ok(Looked::Done) };
        let rows = self.engine.get(&[packs::named(id), packs::length(id)]).await?;
        let (named, length): (i64, Option<u64>) = (usage::read(rows[0].as_ref()), decode_row(rows[1].as_ref())?);
        if named == 0 {
            return self.delete_pack(open, id).await.map(|()| Looked::Done);
        }
        if seen.rests(now) {
            return Ok(Looked::Rests);
        }
        // Nobody can rewrite it. It goes with its last record.
        if open.is_lost() {
            return Ok(Looked::Done);
        }
        let Ok(named) = u64::try_from(named) else {
            return Err(Fault::Damaged(format!("the counter of pack {} is {named}", id.name())));
        };
        let noted = match length.or(seen.length) {
            Some(length) => length,
            None => open.note(open.silo.stat(&id.name()).await).map_err(|error| silo_failed(open, &error))?.size,
        };
        if length.is_none() {
            self.note_length(id, noted).await?;
        }
        let used = Use { named, length: Some(noted) };
        if !used.is_thin() || lock(&self.packer.rewritten).contains(&id) {
            return Ok(Looked::Done);
        }
        let room = open.room_to_rewrite().is_none_or(|room| room >= named) && self.room_in_index().is_ok();
        if open.row.cordoned || !room {
            return Ok(Looked::Waits);
        }
        Ok(Looked::Thin(Thin { open: Arc::clone(open), length: noted, named }))
    }

    /// The silo deletes, then the rows go. Nobody appends any more, and no row can come to name the pack.
    async fn delete_pack(&self, open: &OpenSilo, id: PackId) -> Result<(), Fault> {
        open.note(open.silo.delete(&id.name()).await).map_err(|error| silo_failed(open, &error))?;
        crate::failpoint!("pack-deleted");
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            if usage::read(rows.get(&packs::named(id))) != 0 {
                return Err(Fault::Damaged(format!("pack {} is named and was deleted", id.name())));
            }
            Ok((vec![Write::Delete(packs::named(id)), Write::Delete(packs::length(id))], ()))
        };
        engine::commit(&*self.engine, vec![Read::Row(packs::named(id))], decide).await?;
        lock(&self.packer.rewritten).remove(&id);
        Ok(())
    }

    async fn note_length(&self, id: PackId, length: u64) -> Result<(), Fault> {
        let decide = move |rows: &Rows| {
            let named = usage::read(rows.get(&packs::named(id))) > 0;
            Ok::<_, Fault>((named.then(|| Write::Put(packs::length(id), encode(&length))).into_iter().collect(), ()))
        };
        Ok(engine::commit(&*self.engine, vec![Read::Row(packs::named(id))], decide).await?)
    }

    /// Moves what is in use into other packs of the same silo. It is done once all that rows name was found and moved.
    async fn rewrite(self: &Arc<Self>, id: PackId, found: Thin) -> Result<Looked, Fault> {
        crate::failpoint!("pack-rewriting");
        let Thin { open, length, named } = found;
        let mut records = Records::of(&open, id, length);
        let (mut seen, mut moved) = (0, true);
        while let Some(found) = records.next().await? {
            for some in found.chunks(MOVED_TOGETHER) {
                let (named, all) = self.rewrite_some(id, some).await?;
                seen += named;
                moved &= all;
            }
        }
        if !moved || seen < named {
            return Ok(Looked::Failed);
        }
        lock(&self.packer.rewritten).insert(id);
        Ok(Looked::Done)
    }

    /// Answers how many of these bytes rows name, and whether what is in use of them was moved.
    async fn rewrite_some(
        self: &Arc<Self>,
        id: PackId,
        found: &[(Description, Location)],
    ) -> Result<(u64, bool), Fault> {
        let keys: Vec<_> = found.iter().map(|(says, _)| extent(says.extent)).collect();
        let (mut planned, mut named) = (Vec::new(), 0);
        for ((says, place), row) in found.iter().zip(self.engine.get(&keys).await?) {
            let Some(row) = decode_row::<ExtentRow>(row.as_ref())? else { continue };
            let here = |replica: &&Replica| replica.silo == id.silo && replica.location == *place;
            let Some(replica) = row.replicas.iter().find(here) else { continue };
            named += place.length();
            if replica.state == ReplicaState::Verified {
                let (from, to) = (id.silo, id.silo);
                planned.push(Move { step: Step::Move, extent: says.extent, bytes: row.size, from, to, by: None });
            }
        }
        let mover =
            Mover { core: self, job: BY_ITSELF, pacer: &self.packer.pacer, for_a_write: false, watch: &|_, _| {} };
        let moved = mover.carry_out_together(&planned).await;
        Ok((named, moved.iter().all(|moved| moved.failure().is_none())))
    }
}

/// The records of a pack, by what they say of themselves, a span at a time. Ends where none reads any more.
pub(crate) struct Records<'a> {
    open: &'a OpenSilo,
    id: PackId,
    length: u64,
    at: u64,
}

impl<'a> Records<'a> {
    pub(crate) fn of(open: &'a OpenSilo, id: PackId, length: u64) -> Self {
        Self { open, id, length, at: 0 }
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(Description, Location)>>, Fault> {
        let (pack, begin) = (self.id.name(), self.at);
        let end = self.length.min(begin + SPAN);
        let bytes = read_span(self.open, &pack, begin..end, false).await;
        let bytes = bytes.map_err(|error| silo_failed(self.open, &error))?;
        let (mut found, mut at) = (Vec::new(), 0);
        while let Some(head) = Head::parse(&bytes[at..]).filter(|head| at + head.length() <= bytes.len()) {
            if let Some(says) = head.description(&bytes[at..]) {
                let place = Location::Pack { pack, offset: begin + at as u64, length: head.length() as u64 };
                found.push((says, place));
            }
            at += head.length();
        }
        self.at += at as u64;
        Ok((at > 0).then_some(found))
    }
}
