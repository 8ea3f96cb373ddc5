//! The orphan collector: it lists a silo, *then* reads the sessions, *then* the extents' rows. A name that no row has,
//! and whose session is dead or past that number, is nobody's and never will be.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdall_silos::{BlobName, silo::Listed};

use crate::engine::{self, Key, Read, Rows, Write};
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::limits::{LANDED, LEASE, SWEEP};
use crate::names::Names;
use crate::namespace::Core;
use crate::sweep::{Swept, live_sessions};
use crate::table::backups::kept;
use crate::table::extents::{ExtentRow, extent};
use crate::table::packs::{self, PackId};
use crate::table::sessions::{BeatRow, EndedRow, ended, read_session};
use crate::table::{after_prefix, decode, decode_row, key, usage};

/// No extent's name comes after it.
const LAST_EXTENT: (u64, u64) = ((1 << 40) - 1, u64::MAX);

/// Where what was given up may have landed.
#[derive(Default)]
pub(super) struct Doubts {
    session: u64,
    /// The session's floor at the last look.
    floor: u64,
    /// From which number on, and since when nothing more was given up.
    silos: BTreeMap<SiloId, (u64, Duration)>,
}

impl Core {
    /// Collects the orphans of sessions that ended since, in the tails where they can lie. A silo that does not answer is
    /// looked through once it does, and keeps nothing else waiting.
    pub(crate) async fn collect_ended(&self) -> Result<(), Fault> {
        let range = vec![key::ENDED]..after_prefix(&[key::ENDED]);
        let rows = self.engine.range(range, usize::MAX, usize::MAX).await?;
        let rows = rows.iter().filter_map(|(key, row)| Some((read_session(key)?, row)));
        let ended: Vec<(u64, EndedRow)> =
            rows.map(|(session, row)| Ok((session, decode(row)?))).collect::<Result<_, Fault>>()?;
        if self.note_tails(&ended) {
            self.find_packs().await?;
        }
        for (session, EndedRow { floor }) in ended {
            self.collect_session(session, floor).await?;
        }
        Ok(())
    }

    /// Whether one of these sessions is new here.
    fn note_tails(&self, sessions: &[(u64, EndedRow)]) -> bool {
        let mut tails = self.tails.lock().expect("no holder panics");
        tails.retain(|session, _| sessions.iter().any(|(ended, _)| ended == session));
        let known = tails.len();
        for (session, _) in sessions {
            tails.entry(*session).or_default();
        }
        tails.len() > known
    }

    async fn collect_session(&self, session: u64, floor: u64) -> Result<(), Fault> {
        let (mut swept, mut waits) = (Swept::default(), false);
        let done = self.tails.lock().expect("no holder panics").get(&session).cloned().unwrap_or_default();
        for open in self.inventory().silos.values().filter(|open| !done.contains(&open.id)) {
            let collected = match open.health() {
                // Where nothing is left, there is no tail either.
                Health::Up | Health::Lost => self.collect_tail(open, session, floor, &mut swept).await,
                Health::Down => Err(Fault::Unavailable("it is down".to_owned())),
            };
            if let Err(fault) = collected {
                tracing::debug!(session, silo = %open.row.name, %fault, "an ended session's orphans stay");
                waits = true;
            } else if let Some(done) = self.tails.lock().expect("no holder panics").get_mut(&session) {
                done.insert(open.id);
            }
        }
        if swept.orphans > 0 || !waits {
            let Swept { orphans, bytes, .. } = swept;
            tracing::info!(session, orphans, bytes, "collected an ended session's orphans");
        }
        if waits {
            return Ok(());
        }
        let key = ended(session);
        let decide = move |_: &Rows| Ok::<_, Fault>((vec![Write::Delete(key.clone())], ()));
        Ok(engine::commit(&*self.engine, vec![Read::Row(ended(session))], decide).await?)
    }

    /// What a session wrote at and above its last floor: among that may be a pack, whose name is the first of its number.
    async fn collect_tail(&self, open: &OpenSilo, session: u64, floor: u64, swept: &mut Swept) -> Result<(), Fault> {
        let before = BlobName { session, number: floor.saturating_sub(1), extent: LAST_EXTENT };
        self.collect_from(open, &BlobName::session_prefix(session), Some(before.to_string()), swept).await
    }

    /// Collects what landed though it was given up, where that may be.
    pub(super) async fn collect_doubtful(&self, doubts: &mut Doubts) {
        let (session, inventory, now) = (self.session(), self.inventory(), self.clock.monotonic());
        if doubts.session != session.id {
            *doubts = Doubts { session: session.id, floor: session.floor(), ..Doubts::default() };
        }
        // What was given up since the last look was not finished then.
        for open in inventory.silos.values().filter(|open| open.was_doubtful()) {
            let doubt = doubts.silos.entry(open.id).or_insert((doubts.floor, now));
            doubt.1 = now;
        }
        doubts.floor = session.floor();
        for open in inventory.silos.values().filter(|open| open.health() == Health::Up) {
            let Some((floor, _)) = doubts.silos.get(&open.id).filter(|(_, since)| now.saturating_sub(*since) >= LANDED)
            else {
                continue;
            };
            let collected = self.collect_tail(open, session.id, *floor, &mut Swept::default()).await;
            match collected {
                Ok(()) => drop(doubts.silos.remove(&open.id)),
                Err(fault) => tracing::debug!(silo = %open.row.name, %fault, "what was given up is not looked for"),
            }
        }
        doubts.silos.retain(|silo, _| inventory.silos.contains_key(silo));
    }

    /// A pass over every silo. One that fails keeps no other from being looked through.
    pub(crate) async fn collect_all(&self, swept: &mut Swept) -> Result<(), Fault> {
        let mut failed = None;
        for open in self.inventory().silos.values() {
            if let Err(fault) = self.collect_orphans(open, "", swept).await {
                failed = failed.or(Some(fault));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// One pass over all names with a prefix.
    pub(crate) async fn collect_orphans(&self, open: &OpenSilo, prefix: &str, swept: &mut Swept) -> Result<(), Fault> {
        self.collect_from(open, prefix, None, swept).await
    }

    async fn collect_from(
        &self,
        open: &OpenSilo,
        prefix: &str,
        after: Option<String>,
        swept: &mut Swept,
    ) -> Result<(), Fault> {
        let (mut listing, mut stays) = (Names::after(open, prefix, after), None);
        loop {
            let early = if crate::seeded_bug!("collector-sessions-first") {
                Some(live_sessions(&*self.engine).await?)
            } else {
                None
            };
            let Some(page) = listing.next().await? else { return stays.map_or(Ok(()), Err) };
            let names: Vec<(BlobName, Listed)> =
                page.into_iter().filter_map(|listed| Some((listed.name.parse().ok()?, listed))).collect();
            let orphans = match early {
                Some(sessions) => self.unnamed(open.id, past(names, &sessions)).await?,
                None => self.orphans_of(open.id, names).await?,
            };
            for (blob, listed) in orphans {
                if let Err(error) = open.note(open.silo.delete(&blob).await) {
                    stays = Some(crate::store::silo_failed(open, &error));
                    continue;
                }
                crate::failpoint!("orphan-deleted");
                if blob.is_pack() {
                    // Its rows go, too.
                    self.packer.watch(PackId::of(open.id, &blob));
                }
                swept.orphans += 1;
                swept.bytes += listed.stored;
                self.stats.add(|stats| stats.orphans += 1);
                tracing::info!(silo = %open.row.name, %blob, "orphan deleted");
            }
        }
    }

    /// Which of the listed names are orphans: first whose sessions are past them, then which of those no row has.
    pub(crate) async fn orphans_of(
        &self,
        silo: SiloId,
        names: Vec<(BlobName, Listed)>,
    ) -> Result<Vec<(BlobName, Listed)>, Fault> {
        if crate::seeded_bug!("collector-rows-first") {
            let unnamed = self.unnamed(silo, names).await?;
            return Ok(past(unnamed, &live_sessions(&*self.engine).await?));
        }
        let past = past(names, &live_sessions(&*self.engine).await?);
        self.unnamed(silo, past).await
    }

    async fn unnamed(
        &self,
        silo: SiloId,
        mut names: Vec<(BlobName, Listed)>,
    ) -> Result<Vec<(BlobName, Listed)>, Fault> {
        let kept = self.kept_before().await?;
        names.retain(|(blob, _)| !blob.is_backup() && blob.session >= kept);
        let rows = self.engine.get(&names.iter().map(|(blob, _)| namer(silo, blob)).collect::<Vec<_>>()).await?;
        let mut unnamed = Vec::new();
        for ((blob, listed), row) in names.into_iter().zip(rows) {
            let named = if blob.is_pack() {
                usage::read(row.as_ref()) != 0
            } else {
                let row: Option<ExtentRow> = decode_row(row.as_ref())?;
                row.is_some_and(|row| {
                    row.replicas.iter().any(|replica| replica.silo == silo && replica.location == Location::Blob(blob))
                })
            };
            if !named {
                unnamed.push((blob, listed));
            }
        }
        Ok(unnamed)
    }

    /// Blobs of sessions before this one are kept though no row names them: this index was restored, and cannot know what
    /// they are.
    pub(crate) async fn kept_before(&self) -> Result<u64, Fault> {
        Ok(decode_row(self.engine.get(&[kept()]).await?[0].as_ref())?.unwrap_or(0))
    }

    /// Looks after sessions, whatever silos do.
    pub(crate) async fn bury_forever(self: Arc<Self>) {
        loop {
            self.clock.sleep(SWEEP).await;
            if let Err(fault) = self.bury_silent().await {
                tracing::warn!(%fault, "sessions could not be looked at");
            }
        }
    }

    /// Declares sessions dead whose beat stood still for the lease, on this gateway's own clock.
    pub(crate) async fn bury_silent(&self) -> Result<(), Fault> {
        let now = self.clock.monotonic();
        let live = live_sessions(&*self.engine).await?;
        let silent: Vec<(u64, u64)> = {
            let mut watched = self.watched.lock().expect("no holder panics");
            watched.retain(|session, _| live.iter().any(|(id, _)| id == session));
            let mut silent = Vec::new();
            for (session, row) in &live {
                let entry = watched.entry(*session).or_insert((row.beat, now));
                if entry.0 != row.beat {
                    *entry = (row.beat, now);
                } else if now.saturating_sub(entry.1) > LEASE && *session != self.session().id {
                    silent.push((*session, row.beat));
                }
            }
            silent
        };
        let mut buried = false;
        for (session, beat) in silent {
            if crate::session::end(&*self.engine, session, Some(beat)).await? {
                tracing::warn!(session, "a session stopped beating and was declared dead");
                buried = true;
            }
        }
        if buried {
            self.job_wanted.notify_one();
        }
        // Also what an earlier pass left because the index did not answer.
        self.forget_moves(None).await
    }
}

/// The row that says whether a name of ours is named: its extent's, or a pack's counter.
fn namer(silo: SiloId, blob: &BlobName) -> Key {
    if blob.is_pack() {
        return packs::named(PackId::of(silo, blob));
    }
    extent(Number { session: blob.extent.0, number: blob.extent.1 })
}

/// The names whose session is dead or past them: nothing can refer to them that does not now.
fn past(names: Vec<(BlobName, Listed)>, sessions: &[(u64, BeatRow)]) -> Vec<(BlobName, Listed)> {
    let sessions: BTreeMap<u64, BeatRow> = sessions.iter().copied().collect();
    let past = |blob: &BlobName| {
        sessions.get(&blob.session).is_none_or(|row| row.floor > blob.number)
            || crate::seeded_bug!("collector-ignores-floor")
    };
    names.into_iter().filter(|(blob, _)| past(blob)).collect()
}
