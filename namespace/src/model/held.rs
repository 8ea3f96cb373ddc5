//! What must hold of replicas whenever a row of theirs is written: what begins to count is right, and nobody gives the last good
//! one up.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use holdall_silos::BlobName;

use super::sim::Sim;
use super::store::Silos;
use crate::digest::block_sum;
use crate::engine::memory::Memory;
use crate::engine::{Engine, Key, Write};
use crate::extent::{Location, Number, Replica, SiloId};
use crate::scrub::Done;
use crate::table::damaged::{DamagedRow, read_damaged};
use crate::table::extents::{ExtentRow, read_extent};
use crate::table::objects::ObjectRow;
use crate::table::silos::{SiloRow, read_silo};
use crate::table::{decode, key};

/// Rows as the last commit left them, and what became of replicas.
#[derive(Default)]
pub(super) struct Held {
    rows: BTreeMap<Number, ExtentRow>,
    /// Silos that are declared lost.
    lost: BTreeSet<SiloId>,
    /// Replicas that are known to be damaged.
    known: BTreeMap<(SiloId, Number), Location>,
    broken: Vec<Broken>,
    /// Extents of which nothing good was left, as it may happen.
    gone: BTreeSet<Number>,
    /// Replicas in this silo of what is written for an object here are wanted there, always.
    pinned: Option<(SiloId, Key)>,
    /// To this silo nothing comes that was stored elsewhere.
    left: Option<SiloId>,
}

/// A replica that was broken on purpose.
struct Broken {
    silo: SiloId,
    location: Location,
    at: u64,
    /// It is as long as it was: asking does not tell.
    whole: bool,
}

/// Whether a replica is what was written.
pub(super) fn is_good(silos: &Silos, row: &ExtentRow, replica: &Replica) -> bool {
    let Some(bytes) = silos.bytes(replica.silo, &replica.location, row.size) else { return false };
    row.size == 0 || row.blocks.as_deref() == Some(&[block_sum(&bytes)])
}

impl Held {
    /// Something was written.
    pub(super) fn watch(&mut self, sim: &Sim, silos: &Silos, truth: &Memory, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(row_key, row) if row_key[0] == key::EXTENTS => {
                    let id = read_extent(row_key).expect("a key of the table");
                    let after = decode(row).expect("the commit encoded it");
                    self.stays_where_pinned(sim, truth, id, &after);
                    self.extent(sim, silos, id, &after);
                }
                Write::Delete(row_key) if row_key[0] == key::EXTENTS => {
                    self.rows.remove(&read_extent(row_key).expect("a key of the table"));
                }
                Write::Put(row_key, row) if row_key[0] == key::DAMAGED => {
                    let of = read_damaged(row_key).expect("a key of the table");
                    let row: DamagedRow = decode(row).expect("the commit encoded it");
                    self.known.remove(&of);
                    self.known.extend((row.done == Done::Left).then_some((of, row.location)));
                }
                Write::Delete(row_key) if row_key[0] == key::DAMAGED => {
                    self.known.remove(&read_damaged(row_key).expect("a key of the table"));
                }
                Write::Put(row_key, row) if row_key[0] == key::SILOS && row_key.len() == 5 => {
                    let row = SiloRow::decode(&row.clone().into()).expect("the commit encoded it");
                    self.silo(silos, read_silo(row_key).expect("a key of the table"), row.lost.is_some());
                }
                _ => {}
            }
        }
    }

    /// A silo is declared lost, or it is not any more. What was good there alone is gone, and so may be what was replaced, and is
    /// still read.
    fn silo(&mut self, silos: &Silos, id: SiloId, lost: bool) {
        if !lost {
            self.lost.remove(&id);
        } else if self.lost.insert(id) {
            let gone = self.rows.iter().filter(|(_, row)| row.first.is_none() || !self.has_good(silos, row));
            let gone: Vec<Number> = gone.map(|(id, _)| *id).collect();
            self.gone.extend(gone);
        }
    }

    fn extent(&mut self, sim: &Sim, silos: &Silos, id: Number, after: &ExtentRow) {
        let before = self.rows.insert(id, after.clone());
        let new = |replica: &&Replica| {
            let same = |other: &Replica| other.silo == replica.silo && other.location == replica.location;
            !before.as_ref().is_some_and(|before| before.verified().any(same))
        };
        for replica in after.verified().filter(new) {
            if !is_good(silos, after, replica) {
                sim.wrong(|| format!("a commit counts bytes that are not right: {id} in silo {}", replica.silo));
            }
        }
        let comes = |silo: &SiloId| before.as_ref().is_some_and(|before| before.verified_in(*silo).is_none());
        if let Some(silo) = self.left.filter(|silo| after.verified_in(*silo).is_some()).filter(comes) {
            sim.wrong(|| format!("extent {id} comes to silo {silo}, which is to have less"));
        }
        if after.first.is_none() {
            return;
        }
        let on: BTreeSet<SiloId> = after.verified().map(|replica| replica.silo).collect();
        if on.len() < after.verified().count() {
            sim.wrong(|| format!("two replicas of extent {id} count in one silo"));
        }
        self.given_up(sim, silos, id, before.as_ref(), after);
    }

    /// From this silo what is written for the object here goes only with the object.
    pub(super) fn pin(&mut self, silo: SiloId, object: Key) {
        self.pinned = Some((silo, object));
    }

    /// What leaves this silo does not come back, and nothing else comes but what is written there first.
    pub(super) fn leave(&mut self, silo: SiloId) {
        self.left = Some(silo);
    }

    fn stays_where_pinned(&self, sim: &Sim, truth: &Memory, id: Number, after: &ExtentRow) {
        let Some((silo, object)) = &self.pinned else { return };
        let leaves = |before: &ExtentRow| before.verified_in(*silo).is_some() && after.verified_in(*silo).is_none();
        // What other objects had before may be judged as theirs.
        if after.first != Some(id) || !self.rows.get(&id).is_some_and(leaves) {
            return;
        }
        let row = truth.get(std::slice::from_ref(object)).now_or_never().expect("it is ready at once");
        let row = row.expect("the memory engine does not fail").remove(0);
        if row.is_some_and(|row| decode::<ObjectRow>(&row).expect("the row reads").version == id) {
            sim.wrong(|| format!("extent {id} is taken from silo {silo}, where it is wanted"));
        }
    }

    /// Of a live extent one replica is given up at a time, and never the last good one.
    fn given_up(&mut self, sim: &Sim, silos: &Silos, id: Number, before: Option<&ExtentRow>, after: &ExtentRow) {
        if self.has_good(silos, after) {
            let stays = |replica: &&Replica| after.verified_in(replica.silo).is_some();
            let fewer = before.map_or(0, |before| before.verified().filter(|replica| !stays(replica)).count());
            if fewer > 1 {
                sim.wrong(|| format!("{fewer} replicas of extent {id} are given up at once"));
            }
            return;
        }
        let had = before.is_none_or(|before| self.has_good(silos, before));
        if had && !self.may_be_gone(sim, before, after, id) {
            sim.wrong(|| format!("the last good replica of extent {id} is given up"));
        }
        self.gone.insert(id);
    }

    /// It was written where a silo was lost meanwhile; or what is left broke since the task asked for it, or in a way that asking
    /// does not tell, and nobody knew.
    fn may_be_gone(&self, sim: &Sim, before: Option<&ExtentRow>, after: &ExtentRow, id: Number) -> bool {
        let Some(_) = before else { return after.verified().all(|replica| self.lost.contains(&replica.silo)) };
        let began = sim.began();
        after.verified().filter(|replica| !self.lost.contains(&replica.silo)).any(|replica| {
            let known = self.known.get(&(replica.silo, id)) == Some(&replica.location);
            let broken = self.broken.iter().rfind(|of| of.silo == replica.silo && of.location == replica.location);
            !known && broken.is_some_and(|broken| broken.whole || broken.at >= began)
        })
    }

    fn good<'a>(&'a self, silos: &'a Silos, row: &'a ExtentRow) -> impl Iterator<Item = &'a Replica> {
        row.verified().filter(|replica| !self.lost.contains(&replica.silo) && is_good(silos, row, replica))
    }

    pub(super) fn has_good(&self, silos: &Silos, row: &ExtentRow) -> bool {
        self.good(silos, row).next().is_some()
    }

    /// A good replica breaks whose extent has another one. Answers where.
    pub(super) fn break_one(&mut self, sim: &Sim, silos: &Silos) -> Option<(SiloId, Number)> {
        let of = |(id, row): (&Number, &ExtentRow)| {
            let good: Vec<Replica> = self.good(silos, row).cloned().collect();
            (row.first.is_some() && good.len() > 1).then_some((*id, row.size, good))
        };
        let all: Vec<_> = self.rows.iter().filter_map(of).collect();
        if all.is_empty() {
            return None;
        }
        let (id, size, good) = &all[sim.below(all.len() as u64) as usize];
        let Replica { silo, location, .. } = good[sim.below(good.len() as u64) as usize].clone();
        let whole = silos.break_one(silo, &location, *size)?;
        self.broken.push(Broken { silo, location, at: sim.turn(), whole });
        Some((silo, *id))
    }

    /// Whether a replica was broken on purpose, or its silo is lost.
    pub(super) fn may_lack(&self, replica: &Replica) -> bool {
        let same = |broken: &Broken| broken.silo == replica.silo && broken.location == replica.location;
        self.lost.contains(&replica.silo) || self.broken.iter().any(same)
    }

    /// Whether nothing good was left of it at some time.
    pub(super) fn is_gone(&self, id: Number) -> bool {
        self.gone.contains(&id)
    }

    /// Whether that is so of what a blob has.
    pub(super) fn is_gone_of(&self, blob: &BlobName) -> bool {
        let gone = |row: &ExtentRow| {
            row.replicas.iter().any(|own| own.location.ours(row.size).is_some_and(|own| own.0 == *blob))
        };
        self.gone.iter().filter_map(|id| self.rows.get(id)).any(gone)
    }

    /// Whether that is so of anything.
    pub(super) fn is_any_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    /// Whether anything was broken on purpose.
    pub(super) fn is_any_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Whether all that is left of it went with lost silos.
    pub(super) fn is_lost(&self, id: Number) -> bool {
        let lost = |row: &ExtentRow| row.replicas.iter().all(|replica| self.lost.contains(&replica.silo));
        self.rows.get(&id).is_some_and(lost)
    }

    /// Silos that are declared lost.
    pub(super) fn lost(&self) -> &BTreeSet<SiloId> {
        &self.lost
    }
}
