//! References: who points at an extent or manifest. Adding one reads the guard; dropping one either finds another
//! reference as a witness or writes the guard retired. "The last one" is never decided outside the commit.

use crate::clock::UnixMs;
use crate::engine::{Engine, Read, Rows, Write};
use crate::extent::{Number, ReplicaState};
use crate::fault::Fault;
use crate::table::extents::{ExtentRow, extent};
use crate::table::objects::{Data, ObjectRow};
use crate::table::refs::{Target, range, read_referrer, reference};
use crate::table::retired::{RetiredRow, retired};
use crate::table::uploads::ManifestRow;
use crate::table::usage::{self, Counted};
use crate::table::{decode, encode};

/// A commit was decided on rows that are not what was read before: read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stale {
    /// Somebody was faster.
    Again,
    /// What was to be referred to is no longer live.
    Gone,
    /// A row does not read.
    Fault(Fault),
}

impl From<Fault> for Stale {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What a version's data refers to, each once.
pub(crate) fn targets(data: &Data) -> Vec<Target> {
    match data {
        Data::Manifest(id) => vec![Target::Manifest(*id)],
        Data::Slices(slices) => {
            let mut extents: Vec<Target> = slices.iter().map(|slice| Target::Extent(slice.extent)).collect();
            extents.sort_unstable();
            extents.dedup();
            extents
        }
    }
}

/// References to be dropped in a commit: what to read for it, and then what to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dropping {
    referrer: Option<Number>,
    each: Vec<(Target, Option<Number>)>,
}

impl Dropping {
    /// Looks for a witness of each target: another reference than `referrer`'s.
    pub(crate) async fn prepare(engine: &dyn Engine, targets: Vec<Target>, referrer: Number) -> Result<Self, Fault> {
        let mut each = Vec::with_capacity(targets.len());
        for target in targets {
            let page = engine.range(range(target), 2, usize::MAX).await?;
            let witness = page.iter().filter_map(|(key, _)| read_referrer(key)).find(|number| *number != referrer);
            each.push((target, witness));
        }
        Ok(Self { referrer: Some(referrer), each })
    }

    /// The references of a version about to be replaced or deleted.
    pub(crate) async fn of_version(engine: &dyn Engine, row: &ObjectRow) -> Result<Self, Fault> {
        Self::prepare(engine, targets(&row.data), row.version).await
    }

    /// What the commit must read.
    pub(crate) fn reads(&self) -> Vec<Read> {
        let mut reads = Vec::with_capacity(self.each.len() * 2);
        for (target, witness) in &self.each {
            reads.push(Read::Row(target.guard()));
            reads.push(match witness {
                Some(witness) => Read::Row(reference(*target, *witness)),
                None => Read::Empty(range(*target)),
            });
        }
        reads
    }

    /// What the commit writes, given the references that it adds at the same time for `adding.referrer`. `by` names the
    /// retired rows; the dropping's `Empty` reads are the commit's first ones.
    pub(crate) fn writes(&self, rows: &Rows, adding: &Adding, now: UnixMs, by: Number) -> Result<Vec<Write>, Stale> {
        let (mut writes, mut empty, mut settled) = (Vec::new(), 0, Vec::new());
        for (index, (target, witness)) in self.each.iter().enumerate() {
            let found = if let Some(witness) = witness {
                Found::Witness(*witness, rows.get(&reference(*target, *witness)).is_some())
            } else {
                empty += 1;
                Found::Empty(rows.empty[empty - 1])
            };
            let Some(referrer) = self.referrer else { continue };
            if adding.targets.contains(target) && is_first(*target, referrer, rows)? {
                // The new referrer takes the old one's place: the target never was without one.
                let guard = rows.get(&target.guard()).expect("it has a first referrer");
                writes.push(promote(*target, guard, adding.referrer)?);
                settled.push(*target);
                continue;
            }
            writes.extend(drop_one(*target, referrer, &found, rows, retired(now, by, index as u32))?);
        }
        writes.extend(adding.writes(rows, &settled)?);
        Ok(writes)
    }
}

/// References to be added in a commit.
#[derive(Debug, Clone)]
pub(crate) struct Adding {
    pub targets: Vec<Target>,
    pub referrer: Number,
}

impl Adding {
    /// None, for this referrer.
    pub(crate) fn none(referrer: Number) -> Self {
        Self { targets: Vec::new(), referrer }
    }

    /// What the commit must read.
    pub(crate) fn reads(&self) -> Vec<Read> {
        self.targets.iter().map(|target| Read::Row(target.guard())).collect()
    }

    fn writes(&self, rows: &Rows, settled: &[Target]) -> Result<Vec<Write>, Stale> {
        let mut writes = Vec::new();
        for target in self.targets.iter().filter(|target| !settled.contains(target)) {
            if first_of(*target, rows)?.is_none() && !crate::seeded_bug!("copy-blind") {
                return Err(Stale::Gone);
            }
            writes.push(Write::Put(reference(*target, self.referrer), Vec::new()));
        }
        Ok(writes)
    }
}

fn first_of(target: Target, rows: &Rows) -> Result<Option<Number>, Fault> {
    let Some(guard) = rows.get(&target.guard()) else { return Ok(None) };
    Ok(match target {
        Target::Extent(_) => decode::<ExtentRow>(guard)?.first,
        Target::Manifest(_) => decode::<ManifestRow>(guard)?.first,
    })
}

fn is_first(target: Target, referrer: Number, rows: &Rows) -> Result<bool, Fault> {
    Ok(first_of(target, rows)? == Some(referrer))
}

enum Found {
    Witness(Number, bool),
    Empty(bool),
}

fn drop_one(target: Target, referrer: Number, found: &Found, rows: &Rows, key: Vec<u8>) -> Result<Vec<Write>, Stale> {
    let Some(guard) = rows.get(&target.guard()) else { return Ok(Vec::new()) };
    if !is_first(target, referrer, rows)? {
        return Ok(vec![Write::Delete(reference(target, referrer))]);
    }
    match *found {
        _ if crate::seeded_bug!("ignores-references") => retire(target, guard, key).map_err(Stale::Fault),
        Found::Empty(_) if crate::seeded_bug!("last-outside-commit") => {
            retire(target, guard, key).map_err(Stale::Fault)
        }
        Found::Witness(witness, true) => {
            let promoted = promote(target, guard, witness)?;
            Ok(vec![promoted, Write::Delete(reference(target, witness))])
        }
        Found::Empty(true) => retire(target, guard, key).map_err(Stale::Fault),
        Found::Witness(_, false) | Found::Empty(false) => Err(Stale::Again),
    }
}

/// Another reference becomes the first.
fn promote(target: Target, guard: &[u8], witness: Number) -> Result<Write, Fault> {
    let row = match target {
        Target::Extent(_) => encode(&ExtentRow { first: Some(witness), ..decode(guard)? }),
        Target::Manifest(_) => encode(&ManifestRow { first: Some(witness), ..decode(guard)? }),
    };
    Ok(Write::Put(target.guard(), row))
}

/// Nobody refers to it any more: final.
fn retire(target: Target, guard: &[u8], key: Vec<u8>) -> Result<Vec<Write>, Fault> {
    match target {
        Target::Manifest(id) => {
            let row = ManifestRow { first: None, ..decode(guard)? };
            Ok(vec![Write::Put(target.guard(), encode(&row)), Write::Put(key, encode(&RetiredRow::Manifest(id)))])
        }
        Target::Extent(id) => {
            let mut row: ExtentRow = decode(guard)?;
            row.first = None;
            let (replicas, mut writes) = retire_replicas(&mut row, |_| true);
            writes.push(Write::Put(extent(id), encode(&row)));
            // A row each: what a silo that is down has waits for it, and nothing else does.
            for (at, replica) in replicas.into_iter().enumerate() {
                let key = if at == 0 { key.clone() } else { [&key[..], &[at as u8]].concat() };
                writes.push(Write::Put(key, encode(&RetiredRow::Replicas { extent: id, replicas: vec![replica] })));
            }
            Ok(writes)
        }
    }
}

/// Retires the verified replicas that `which` names: what to sweep, and the counters.
pub(crate) fn retire_replicas(
    row: &mut ExtentRow,
    which: impl Fn(&crate::extent::Replica) -> bool,
) -> (Vec<(crate::extent::SiloId, crate::extent::Location)>, Vec<Write>) {
    let (mut gone, mut writes, size) = (Vec::new(), Vec::new(), row.size as i64);
    for replica in row.replicas.iter_mut().filter(|replica| replica.state == ReplicaState::Verified) {
        if which(replica) {
            replica.state = ReplicaState::Retired;
            gone.push((replica.silo, replica.location.clone()));
            writes.extend(usage::add(Counted::Silo(replica.silo), -1, -size));
            writes.extend(usage::add(Counted::Retired(replica.silo), 1, size));
        }
    }
    (gone, writes)
}
