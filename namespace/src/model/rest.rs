//! The end of a case with three silos: what is wished is carried out, what broke is made good, and each extent is where it should
//! be, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::held::is_good;
use super::kept::{self, Act, LEVELS, name};
use super::plan::{Focus, Wished};
use super::world::{Act as Work, GATEWAYS, World};
use crate::extent::{Number, SiloId};
use crate::job::{JobInfo, JobState, Order};
use crate::namespace::Namespace;
use crate::table::extents::{ExtentRow, read_extent};
use crate::table::jobs::JobRow;
use crate::table::objectives::objective;
use crate::table::objects::{Data, NAME_AT, ObjectRow};
use crate::table::silos::{SiloRow, silo as silo_key};
use crate::table::uploads::{ManifestRow, PartRow, manifest, parts};
use crate::table::{decode, key};

/// Rounds in which all must come to rest, nothing breaking any more.
const ROUNDS: usize = 40;

impl World {
    fn rows(&self) -> BTreeMap<Bytes, Bytes> {
        self.index.truth.every_row().into_iter().collect()
    }

    fn first_up(&self) -> Arc<Namespace> {
        self.gateways.iter().find_map(super::world::Gateway::up).expect("one is up")
    }

    fn jobs(&self) -> Vec<JobInfo> {
        let rows = self.rows();
        let rows = rows.iter().filter(|(row_key, _)| row_key[0] == key::JOBS);
        rows.map(|(_, row)| JobRow::decode(row).expect("the row reads").info).collect()
    }

    /// Lets jobs come to their end, and whoever waits for them.
    pub(super) fn come_to_rest(&mut self) {
        if self.plan.wish.is_none() {
            return;
        }
        self.take_into_use();
        self.clean_up();
        self.order_again();
        self.sim.set_quiet(false);
        for _ in 0..ROUNDS {
            for at in 0..GATEWAYS {
                self.act(at, Work::Beat, None);
                self.act(at, Work::Look, None);
                self.act(at, Work::Sweep, None);
                self.keep_act(Some(at), Act::AlignAll, None);
                self.keep_act(Some(at), Act::Job, None);
            }
            for _ in 0..400 {
                self.executor.run_one(|_| false);
            }
            if !self.first_up().inventory().switches.is_empty() {
                self.keep_act(None, Act::Switch, None);
            } else if !self.jobs().iter().any(JobInfo::is_active) {
                break;
            }
        }
        self.finish();
        self.sim.set_quiet(true);
        let left: Vec<JobInfo> = self.jobs().into_iter().filter(JobInfo::is_active).collect();
        if !left.is_empty() {
            self.sim.wrong(|| format!("a job does not come to its end: {left:?}"));
        }
    }

    /// At most one silo stays lost, and the others take bytes.
    fn take_into_use(&self) {
        let namespace = self.first_up();
        // One that was declared dead hears of it, and begins anew.
        for _ in 0..2 {
            self.now(namespace.core.beat_once());
        }
        if self.plan.focus != Focus::Losses {
            return;
        }
        let lost = self.index.held().lost().clone();
        for silo in lost.iter().skip(1) {
            self.now(namespace.find_silo(name(*silo))).expect("nothing breaks");
        }
        for silo in (1..=3).filter(|silo| Some(silo) != lost.first()) {
            self.now(namespace.set_cordon(name(silo), false)).expect("nothing breaks");
        }
    }

    /// What failed since something broke is ordered again, as people do.
    fn order_again(&mut self) {
        let namespace = self.first_up();
        let mut jobs = self.jobs();
        jobs.retain(|job| !matches!(job.order, Order::Scrub { .. } | Order::Align { .. }));
        // One of a silo that was found since is over: with it and another one lost there would be no place for two copies.
        let is_over = |job: &JobInfo| match &job.order {
            Order::Lost { silo } => !namespace.inventory().named(silo).is_some_and(|open| open.is_lost()),
            _ => false,
        };
        let failed = jobs.pop().filter(|job| job.state == JobState::Failed && !is_over(job));
        let Some(last) = failed else { return };
        self.sim.note(|| format!("ordered again: {last:?}"));
        let ordered = match &last.order {
            Order::Lost { silo } => {
                self.now(namespace.lose_silo(silo, true)).map(drop).map_err(|error| error.to_string())
            }
            _ => self.now(namespace.resume_job(last.id)).map(drop).map_err(|error| error.to_string()),
        };
        self.sim.note(|| format!("{ordered:?}"));
    }

    /// Makes good what broke, and brings everything where it is wanted.
    pub(super) fn put_in_order(&mut self) {
        if self.plan.wish.is_none() {
            return;
        }
        for at in 0..GATEWAYS {
            let Some(namespace) = self.gateways[at].up() else { continue };
            self.now(namespace.core.beat_once());
            for open in namespace.inventory().silos.values() {
                self.now(open.ask(namespace.id()));
            }
        }
        let namespace = self.first_up();
        let silos: Vec<SiloId> =
            namespace.inventory().silos.values().filter(|open| !open.is_lost()).map(|open| open.id).collect();
        for silo in silos {
            self.now(kept::work(Act::Scrub(silo), 0, Arc::clone(&namespace), Arc::clone(&self.sim)));
        }
        for _ in 0..20 {
            if matches!(self.now(namespace.core.align_once(true)), Ok(true)) {
                return;
            }
        }
        // What nothing is left of is tried for ever.
        if !self.index.held().is_any_gone() {
            let told = namespace.alignment();
            self.sim.wrong(|| format!("what is wished does not come to rest: {told:?}"));
        }
    }

    /// What is wished in the end.
    fn wished(&self, rows: &BTreeMap<Bytes, Bytes>) -> Wished {
        let row = rows.get(&objective("wish")[..]).expect("it was declared");
        let same = |wished: &&Wished| {
            let declared = wished.declared().objectives.remove("wish").expect("it is the one");
            crate::table::objectives::encode(&declared) == row[..]
        };
        *Wished::of(self.plan.focus).iter().find(same).expect("one of them was declared")
    }

    /// Whether each extent is where it should be.
    pub(super) fn look_where_all_is(&self) {
        if self.plan.wish.is_none() {
            return;
        }
        let rows = self.rows();
        let (wished, owners, held) = (self.wished(&rows), owners(&rows), self.index.held());
        let switched = rows.get(&silo_key(1)[..]).is_some_and(|row| SiloRow::decode(row).is_ok_and(|row| row.cordoned));
        let switched = (self.plan.focus == Focus::Switch).then_some(switched);
        for (row_key, row) in rows.iter().filter(|(row_key, _)| row_key[0] == key::EXTENTS) {
            let id = read_extent(row_key).expect("a key of the table");
            let row: ExtentRow = decode(row).expect("the row reads");
            if held.is_gone(id) || row.first.is_none() {
                continue;
            }
            let left: Vec<_> = row.verified().filter(|replica| !held.lost().contains(&replica.silo)).collect();
            for replica in left.iter().filter(|replica| !is_good(&self.silos, &row, replica)) {
                self.sim.wrong(|| format!("extent {id} is still damaged in silo `{}`", name(replica.silo)));
            }
            let on: BTreeSet<SiloId> = left.iter().map(|replica| replica.silo).collect();
            let owner = owners.get(&id).map(String::as_str);
            if !is_right(wished, owner, switched, &on) {
                self.sim.wrong(|| format!("extent {id} of {owner:?} is on {on:?}, and {wished:?} is wished"));
            }
        }
        if wished.fills() {
            drop(held);
            self.look_at_levels(&rows, &owners);
        }
    }

    /// A silo has too much only of what goes nowhere: it is no object's, or already on all that come after it.
    fn look_at_levels(&self, rows: &BTreeMap<Bytes, Bytes>, owners: &BTreeMap<Number, String>) {
        let extents = rows.iter().filter(|(row_key, _)| row_key[0] == key::EXTENTS);
        let extents: Vec<(Number, ExtentRow)> = extents
            .map(|(key, row)| (read_extent(key).expect("a key of the table"), decode(row).expect("the row reads")))
            .collect();
        for silo in 1..3 {
            let here = || extents.iter().filter(|(_, row)| row.verified_in(silo).is_some());
            let bytes: u64 = here().map(|(_, row)| row.size).sum();
            let could = |(id, row): &&(Number, ExtentRow)| {
                owners.contains_key(id) && row.size > 0 && (silo + 1..=3).any(|next| row.verified_in(next).is_none())
            };
            if let (true, Some((id, _))) = (bytes > LEVELS.1, here().find(could)) {
                self.sim.wrong(|| format!("silo {silo} has {bytes} bytes, and extent {id} could leave"));
            }
        }
    }
}

/// The keys of the objects that extents go with: those that their bytes were written for.
fn owners(rows: &BTreeMap<Bytes, Bytes>) -> BTreeMap<Number, String> {
    let mut owners = BTreeMap::new();
    for (row_key, row) in rows.iter().filter(|(row_key, _)| row_key[0] == key::OBJECTS) {
        let object: ObjectRow = decode(row).expect("the row reads");
        let name = crate::list::read_name(&row_key[NAME_AT..]).expect("a key of the table");
        let mut own = |extent: Number, referrer: Number| {
            let row = rows.get(&crate::table::extents::extent(extent)[..]);
            let first = row.and_then(|row| decode::<ExtentRow>(row).expect("the row reads").first);
            if first == Some(referrer) {
                owners.insert(extent, name.clone());
            }
        };
        match &object.data {
            Data::Slices(slices) => slices.iter().for_each(|slice| own(slice.extent, object.version)),
            Data::Manifest(id) => {
                let head: ManifestRow =
                    decode(rows.get(&manifest(*id)[..]).expect("it is live")).expect("the row reads");
                if head.first != Some(object.version) {
                    continue;
                }
                for (_, part) in rows.range(Bytes::from(parts(*id, 0).start)..Bytes::from(parts(*id, 0).end)) {
                    let part: PartRow = decode(part).expect("the row reads");
                    part.slices.iter().for_each(|slice| own(slice.extent, part.version));
                }
            }
        }
    }
    owners
}

/// Whether an extent of this object may be on these silos and no others; the first silo was, or was not, switched to the third one.
fn is_right(wished: Wished, owner: Option<&str>, switched: Option<bool>, on: &BTreeSet<SiloId>) -> bool {
    let is = |silos: &[SiloId]| on.iter().eq(silos);
    // What no object has is judged once it does.
    let given_up = switched == Some(true) && on.contains(&1);
    let Some(owner) = owner else { return !on.is_empty() && !given_up };
    match wished {
        Wished::Nothing if switched == Some(false) => on.len() == 1 && !on.contains(&3),
        Wished::Nothing if switched.is_some() => on.len() == 1 && !given_up,
        Wished::Nothing => !on.is_empty(),
        Wished::Two | Wished::TwoOnAny | Wished::FillTwo | Wished::TwoAtOnce => on.len() == 2,
        Wished::Fill => on.len() == 1,
        Wished::Three | Wished::ThreeAtOnce => is(&[1, 2, 3]),
        Wished::TwoElsewhere => is(&[1, 3]),
        Wished::OnThird => is(&[3]),
        Wished::Spare => on.contains(&1) && on.contains(&2),
        Wished::OneOnThird if owner == "b" => is(&[3]),
        Wished::OneOnThird => on.len() == 1 && !given_up,
    }
}
