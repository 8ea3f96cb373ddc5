//! Replicas that are not wanted any more are given up once enough others were asked for. Nobody's bytes are touched: the sweep does
//! that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use holdall_silos::BlobName;

use super::{Moved, Mover};
use crate::clock::UnixMs;
use crate::engine::{Priority, Read, Rows, Write};
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::Health;
use crate::limits::{BACKGROUND_ROWS, MOVES_AT_ONCE};
use crate::plan::{Move, Step};
use crate::reference::retire_replicas;
use crate::session::Uncommitted;
use crate::table::damaged::{damaged, left_at};
use crate::table::extents::{ExtentRow, extent};
use crate::table::retired::{RetiredRow, retired};
use crate::table::silos::{is_lost, silo as silo_key};
use crate::table::{decode_row, encode};

/// Where a silo was found to have an extent's bytes.
type Found = Vec<(SiloId, Location)>;

/// How long blobs are in their silos; why it is not known of others.
type Lengths = BTreeMap<(SiloId, BlobName), Result<u64, String>>;

/// An extent that a silo is to have no more.
struct Leaving {
    dropped: Move,
    row: ExtentRow,
    least: usize,
    /// Replicas that are known to be damaged, and were not made good.
    damaged: Found,
}

impl Leaving {
    /// The replicas elsewhere that can be asked for: verified ones, and not known to be damaged.
    fn others(&self) -> impl Iterator<Item = &Replica> {
        let elsewhere = self.row.replicas.iter().filter(|replica| replica.silo != self.dropped.from);
        elsewhere.filter(|replica| counts(replica) && !self.is_damaged(replica))
    }

    fn is_damaged(&self, replica: &Replica) -> bool {
        self.damaged.iter().any(|(silo, at)| *silo == replica.silo && *at == replica.location)
    }

    /// Those of them that are there, as long as they should be; or why there are not enough.
    fn found(&self, lengths: &Lengths) -> Result<Found, String> {
        let (mut found, mut reason) = (Vec::new(), "no other silo has it".to_owned());
        if let Some((silo, _)) = self.damaged.first() {
            reason = format!("what silo #{silo} has of it is damaged");
        }
        for other in self.others() {
            let Some((blob, first)) = other.location.ours(self.row.size) else { continue };
            match lengths.get(&(other.silo, blob)) {
                _ if crate::seeded_bug!("drop-unasked") => found.push((other.silo, other.location.clone())),
                Some(Ok(length)) if *length >= first + self.row.size => {
                    found.push((other.silo, other.location.clone()));
                }
                Some(Ok(_)) => reason = format!("silo #{} has too little of it", other.silo),
                Some(Err(error)) => reason.clone_from(error),
                None => {}
            }
        }
        if found.len() >= self.least {
            return Ok(found);
        }
        Err(format!("what would be left of extent {} is not there: {reason}", self.dropped.extent))
    }

    /// What a commit looks at: the extent's row, whether silos that have it were lost since, and whether what they have was found
    /// damaged.
    fn reads(&self, found: &Found) -> Vec<Read> {
        let id = self.dropped.extent;
        let of = |(silo, _): &(SiloId, Location)| [Read::Row(silo_key(*silo)), Read::Row(damaged(*silo, id))];
        std::iter::once(Read::Row(extent(id))).chain(found.iter().flat_map(of)).collect()
    }

    /// Those of what was found that nothing became of since.
    fn still_there<'a>(&self, found: &'a Found, rows: &Rows) -> Result<Vec<&'a (SiloId, Location)>, Fault> {
        let mut there = Vec::with_capacity(found.len());
        for one in found {
            let bad = left_at(rows.get(&damaged(one.0, self.dropped.extent)))?.is_some_and(|at| at == one.1);
            let bad = bad && !crate::seeded_bug!("drop-counts-damaged");
            let lost = is_lost(rows, one.0)? && !crate::seeded_bug!("drop-counts-lost");
            there.extend((!lost && !bad).then_some(one));
        }
        Ok(there)
    }

    /// Source still verified, enough of what was found still there and verified, extent still live? Then what to write for it.
    fn take_off(
        &self,
        found: &Found,
        rows: &Rows,
        now: UnixMs,
        by: (Number, u32),
    ) -> Result<Option<Vec<Write>>, Fault> {
        let (id, from) = (self.dropped.extent, self.dropped.from);
        let row: Option<ExtentRow> = decode_row(rows.get(&extent(id)))?;
        let Some(mut row) = row.filter(|row| row.first.is_some()) else { return Ok(None) };
        let there = self.still_there(found, rows)?;
        let stays = |replica: &&Replica| {
            replica.silo != from && there.iter().any(|(silo, at)| *silo == replica.silo && *at == replica.location)
        };
        let enough = row.replicas.iter().filter(stays).filter(|replica| counts(replica)).count() >= self.least;
        if row.verified_in(from).is_none() || !(enough || crate::seeded_bug!("drop-blind")) {
            return Ok(None);
        }
        let (replicas, mut writes) = retire_replicas(&mut row, |replica| replica.silo == from);
        writes.push(Write::Put(extent(id), encode(&row)));
        writes.push(Write::Put(retired(now, by.0, by.1), encode(&RetiredRow::Replicas { extent: id, replicas })));
        Ok(Some(writes))
    }
}

fn counts(replica: &Replica) -> bool {
    replica.state == ReplicaState::Verified || crate::seeded_bug!("drop-counts-retired")
}

impl Mover<'_> {
    /// Gives replicas up, in commits of many, each with its own outcome.
    pub(super) async fn give_up(&self, planned: &[Move]) -> Result<Vec<Moved>, Fault> {
        let mut done = Vec::with_capacity(planned.len());
        for some in planned.chunks(BACKGROUND_ROWS) {
            if !self.pacer.pass(0).await {
                done.extend(vec![Moved::Failed("the job was stopped".to_owned()); some.len()]);
                continue;
            }
            done.extend(self.give_up_together(some).await?);
        }
        Ok(done)
    }

    async fn give_up_together(&self, planned: &[Move]) -> Result<Vec<Moved>, Fault> {
        let rows = self.core.engine.get(&planned.iter().map(|one| extent(one.extent)).collect::<Vec<_>>()).await?;
        let mut leaving = Vec::with_capacity(planned.len());
        for (dropped, row) in planned.iter().zip(rows) {
            let row: Option<ExtentRow> = decode_row(row.as_ref())?;
            let Step::Drop { least } = dropped.step else { continue };
            let of = |row| Leaving { dropped: dropped.clone(), row, least: least.max(1), damaged: Found::new() };
            leaving.push(row.map(of));
        }
        self.note_damaged(&mut leaving).await?;
        let lengths = self.lengths(leaving.iter().flatten()).await;
        let mut outcomes = vec![Moved::Superseded; planned.len()];
        let mut good = Vec::new();
        for (at, leaving) in leaving.into_iter().enumerate() {
            let Some(leaving) = leaving else { continue };
            match leaving.found(&lengths) {
                Ok(found) => good.push((at, leaving, found)),
                Err(reason) => outcomes[at] = Moved::Failed(reason),
            }
        }
        crate::failpoint!("drop-asked");
        self.retire_good(good, &mut outcomes).await?;
        crate::failpoint!("drop-committed");
        Ok(outcomes)
    }

    /// What of others is known to be damaged: it may be all there, and is none to be left with.
    async fn note_damaged(&self, leaving: &mut [Option<Leaving>]) -> Result<(), Fault> {
        if crate::seeded_bug!("drop-counts-damaged") {
            return Ok(());
        }
        let others = |(at, leaving): (usize, &Option<Leaving>)| {
            let of = leaving.as_ref()?;
            Some(of.others().map(|replica| (at, replica.silo, of.dropped.extent)).collect::<Vec<_>>())
        };
        let others: Vec<_> = leaving.iter().enumerate().filter_map(others).flatten().collect();
        let keys: Vec<_> = others.iter().map(|(_, silo, id)| damaged(*silo, *id)).collect();
        for ((at, silo, _), row) in others.into_iter().zip(self.core.engine.get(&keys).await?) {
            if let (Some(leaving), Some(place)) = (&mut leaving[at], left_at(row.as_ref())?) {
                leaving.damaged.push((silo, place));
            }
        }
        Ok(())
    }

    async fn retire_good(&self, good: Vec<(usize, Leaving, Found)>, outcomes: &mut [Moved]) -> Result<(), Fault> {
        let session = self.core.session();
        let (guard, now, at) = (Arc::new(session.take()), self.core.clock.now(), good.iter().map(|one| one.0));
        let (at, held): (Vec<usize>, _) = (at.collect(), Arc::clone(&guard));
        let reads = good.iter().flat_map(|(_, leaving, found)| leaving.reads(found)).collect();
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let (mut writes, mut done) = (Vec::new(), Vec::with_capacity(good.len()));
            for (index, (_, leaving, found)) in good.iter().enumerate() {
                let wrote = leaving.take_off(found, rows, now, (held.number, index as u32))?;
                done.push(if wrote.is_some() { Moved::Done } else { Moved::Superseded });
                writes.extend(wrote.into_iter().flatten());
            }
            Ok((writes, done))
        };
        let done = match session.commit_as(Priority::of(at.len()), reads, decide).await {
            Ok(done) => done,
            // Done or not, the next pass sees it.
            Err(Uncommitted::Unknown) => {
                vec![Moved::Failed("the outcome of the commit is unknown".to_owned()); at.len()]
            }
            Err(Uncommitted::Refused(fault) | Uncommitted::Fault(fault)) => return Err(fault),
        };
        at.into_iter().zip(done).for_each(|(at, done)| outcomes[at] = done);
        Ok(())
    }

    /// Asks for as many others of each as are to be left, those that answer first; for the rest where that was not enough.
    async fn lengths(&self, leaving: impl Iterator<Item = &Leaving> + Clone) -> Lengths {
        let inventory = self.core.inventory();
        let up = |id: SiloId| inventory.silos.get(&id).is_some_and(|open| open.health() == Health::Up);
        let blobs = |leaving: &Leaving| {
            let mut others: Vec<_> = leaving.others().collect();
            others.sort_by_key(|replica| !up(replica.silo));
            let blob = |replica: &&Replica| Some((replica.silo, replica.location.ours(leaving.row.size)?.0));
            others.iter().filter_map(blob).collect::<Vec<_>>()
        };
        let mut lengths = Lengths::new();
        let first: BTreeSet<_> = leaving.clone().flat_map(|one| blobs(one).into_iter().take(one.least)).collect();
        self.ask(first, &mut lengths).await;
        let short = leaving.filter(|one| one.found(&lengths).is_err());
        let rest: BTreeSet<_> = short.flat_map(blobs).filter(|blob| !lengths.contains_key(blob)).collect();
        self.ask(rest, &mut lengths).await;
        lengths
    }

    async fn ask(&self, blobs: BTreeSet<(SiloId, BlobName)>, lengths: &mut Lengths) {
        let inventory = self.core.inventory();
        let asked = stream::iter(blobs).map(|(id, blob)| {
            let open = inventory.silo(id).cloned();
            async move {
                let length = match open {
                    Ok(open) => {
                        let stat = open.note(open.silo.stat(&blob).await);
                        stat.map(|stat| stat.size).map_err(|error| format!("silo `{}`: {error}", open.row.name))
                    }
                    Err(fault) => Err(fault.to_string()),
                };
                ((id, blob), length)
            }
        });
        let asked: Vec<_> = asked.buffer_unordered(MOVES_AT_ONCE).collect().await;
        lengths.extend(asked);
    }
}
