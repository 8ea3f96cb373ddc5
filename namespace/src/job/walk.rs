//! Which extents an order is about, and what it wishes of each: those of the objects in a part of the namespace, or all that
//! lie in a silo.

use std::collections::{BTreeSet, VecDeque};

use crate::engine::{Key, Page};
use crate::extent::{Number, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::job::{Order, OrderError, PlanSummary, ReplicaInfo};
use crate::namespace::Core;
use crate::objective::{Filled, Judge, Outlook, Rules as Wishes, Scope, Told, Undo};
use crate::plan::{Wish, plan};
use crate::scrub::Done;
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::objects::{Data, ObjectRow, prefix as object_prefix};
use crate::table::{after_prefix, decode, decode_row, key, successor};

/// Rows looked at in one step.
const PAGE: usize = 256;

/// Replicas that are known to be damaged.
type Damaged = BTreeSet<(SiloId, Number)>;

/// An extent that an order is about.
pub(crate) struct Found {
    pub id: Number,
    pub row: ExtentRow,
    /// None where it is to stay.
    pub wish: Option<Wish>,
}

impl Found {
    /// One that is wished the same as all others. What went with a lost silo alone stays as it is, and so does what is damaged
    /// wherever else it is: the silo may be found again.
    fn of(core: &Core, id: Number, row: ExtentRow, wish: Wish, damaged: &Damaged) -> Self {
        let inventory = core.inventory();
        let lost = inventory.left_verified(&row).iter().all(|replica| damaged.contains(&(replica.silo, id)));
        Self { id, row, wish: (!lost).then_some(wish) }
    }
}

/// A walk over what an order is about, a page at a time, in constant memory.
pub(crate) struct Walk {
    rows: Rows,
    over: Over,
}

/// Which rows.
enum Rows {
    /// Of these ranges, in turn.
    Ranges(VecDeque<(Key, Key)>),
    /// These.
    Some(VecDeque<Key>),
}

enum Over {
    /// Objects whose extents are all wished to be somewhere.
    Objects(Wish),
    /// Objects, each judged by objectives.
    Judged(Box<Judging>),
    Extents(Wish, Damaged),
    /// Objects whose extents are to leave a silo where nobody wants them there.
    Undone(Box<Judge>, Undo),
}

struct Judging {
    judge: Judge,
    told: Told,
    /// It ends where something is declared meanwhile,
    fickle: bool,
    /// and leaves alone what running jobs are about.
    beside: bool,
    /// and measures what silos are filled with.
    measures: Option<Filled>,
    outdated: bool,
}

impl Judging {
    fn by(judge: Judge, fickle: bool, beside: bool) -> Self {
        let judge = if beside { judge.keeping_hours() } else { judge };
        Self { judge, told: Told::default(), fickle, beside, measures: None, outdated: false }
    }

    fn over(self) -> Over {
        Over::Judged(Box::new(self))
    }
}

impl Walk {
    /// From the beginning.
    pub(crate) async fn begin(core: &Core, order: &Order) -> Result<Self, OrderError> {
        let (at, over) = match (order, core.wish(order)?) {
            (Order::Place { bucket, prefix, .. }, Some(wish)) => {
                let rows = core.engine.get(&[crate::table::buckets::bucket(bucket)]).await.map_err(Fault::from)?;
                let row: Option<crate::table::buckets::BucketRow> = decode_row(rows[0].as_ref())?;
                let row = row.ok_or_else(|| OrderError::NoSuchBucket(bucket.to_string()))?;
                (object_prefix(row.incarnation, prefix), Over::Objects(wish))
            }
            (Order::Align { on }, _) => {
                let judge = core.objectives(on).await?;
                (judge.objects(on)?, Judging::by(judge, true, false).over())
            }
            (Order::Undo { from, to, since }, _) => {
                let undo = Undo { from: core.silo_named(from)?, to: core.silo_named(to)?, since: *since };
                let judge = core.objectives(&Scope::default()).await?;
                (vec![key::OBJECTS], Over::Undone(Box::new(judge), undo))
            }
            (Order::Lost { .. }, Some(wish)) => (vec![key::EXTENTS], Over::Extents(wish, core.known_damaged().await?)),
            (_, Some(wish)) => (vec![key::EXTENTS], Over::Extents(wish, Damaged::new())),
            (_, None) => return Err(OrderError::Invalid(format!("nothing is wished by {order}"))),
        };
        let end = after_prefix(&at);
        Ok(Self { rows: Rows::Ranges([(at, end)].into()), over })
    }

    /// Over all objects that the judge's rules may be about, beside running jobs, until something is declared that the judge does
    /// not know.
    pub(crate) fn all(judge: Judge) -> Self {
        let (ranges, measures) = (judge.ranges(), Some(Filled::default()));
        let judging = Judging { measures, ..Judging::by(judge, true, true) };
        Self { rows: Rows::Ranges(ranges), over: judging.over() }
    }

    /// The same over objects with these rows.
    pub(crate) fn some(judge: Judge, objects: Vec<Key>) -> Self {
        Self { rows: Rows::Some(objects.into()), over: Judging::by(judge, true, true).over() }
    }

    /// Over one object.
    pub(crate) fn one(judge: Judge, object: Key) -> Self {
        Self { rows: Rows::Some([object].into()), over: Judging::by(judge, false, false).over() }
    }

    /// The revision that it ends with, where it does.
    pub(crate) fn revision(&self) -> Option<i64> {
        match &self.over {
            Over::Judged(judging) if judging.fickle => Some(judging.judge.revision()),
            Over::Judged(_) | Over::Objects(_) | Over::Extents(..) | Over::Undone(..) => None,
        }
    }

    /// Whether it ended since something was declared.
    pub(crate) fn is_outdated(&self) -> bool {
        matches!(&self.over, Over::Judged(judging) if judging.outdated)
    }

    /// What silos were found to be filled with, by these rules, where that was measured.
    pub(crate) fn filled(&self) -> Option<(&Wishes, &Filled)> {
        match &self.over {
            Over::Judged(judging) if !judging.outdated => Some((&judging.judge.rules, judging.measures.as_ref()?)),
            Over::Judged(_) | Over::Objects(_) | Over::Extents(..) | Over::Undone(..) => None,
        }
    }

    /// What was said of the objects; none where nobody judged them all.
    pub(crate) fn told(self) -> Option<Outlook> {
        match self.over {
            Over::Judged(judged) if !judged.outdated => Some(judged.told.outlook(&judged.judge, Default::default())),
            Over::Judged(_) | Over::Objects(_) | Over::Extents(..) | Over::Undone(..) => None,
        }
    }

    async fn page(&mut self, core: &Core) -> Result<Option<Page>, Fault> {
        match &mut self.rows {
            Rows::Ranges(ranges) => {
                while let Some((at, end)) = ranges.front_mut() {
                    if let Some(page) = next_page(core, at, end).await? {
                        return Ok(Some(page));
                    }
                    ranges.pop_front();
                }
                Ok(None)
            }
            Rows::Some(some) if some.is_empty() => Ok(None),
            Rows::Some(some) => {
                let keys: Vec<Key> = some.drain(..some.len().min(PAGE)).collect();
                let rows = core.engine.get(&keys).await?;
                Ok(Some(keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key.into(), row?))).collect()))
            }
        }
    }

    /// The next extents; `None` at the end.
    pub(crate) async fn next(&mut self, core: &Core) -> Result<Option<Vec<Found>>, Fault> {
        if let Over::Judged(judging) = &mut self.over {
            judging.outdated = judging.fickle && core.inventory().revision != judging.judge.revision();
            if judging.outdated {
                return Ok(None);
            }
            judging.judge.now = core.clock.now();
            if judging.beside {
                judging.judge.busy = core.busy().await?;
            }
        }
        let Some(page) = self.page(core).await? else { return Ok(None) };
        let all = |rows: Vec<(Number, ExtentRow)>, wish, damaged: &Damaged| {
            rows.into_iter().map(|(id, row)| Found::of(core, id, row, wish, damaged)).collect()
        };
        match &mut self.over {
            Over::Objects(wish) => Ok(Some(all(core.extents_of_objects(&page).await?, *wish, &Damaged::new()))),
            Over::Undone(judge, undo) => {
                let mut found = Vec::new();
                for mut object in core.judged(judge, &page).await? {
                    let extents = std::mem::take(&mut object.extents);
                    found.extend(extents.into_iter().filter_map(|extent| {
                        let wish = Some(judge.undone(&object, &extent, undo)?);
                        Some(Found { id: extent.id, row: extent.row, wish })
                    }));
                }
                Ok(Some(found))
            }
            Over::Extents(wish, damaged) => {
                let rows = page.iter().filter_map(|(key, bytes)| read_extent(key).map(|id| Ok((id, decode(bytes)?))));
                Ok(Some(all(rows.collect::<Result<_, Fault>>()?, *wish, damaged)))
            }
            Over::Judged(judged) => {
                let mut found = Vec::new();
                let mut objects = core.judged(&judged.judge, &page).await?;
                judged.judge.close(&mut objects);
                if judged.beside {
                    core.set_aside(&judged.judge, &mut objects).await?;
                }
                for object in objects {
                    judged.told.add(&object);
                    if let Some(filled) = &mut judged.measures {
                        filled.add(&judged.judge, &object);
                    }
                    found.extend(object.extents.into_iter().map(|judged| Found {
                        id: judged.id,
                        row: judged.row,
                        wish: judged.standing.wish(),
                    }));
                }
                Ok(Some(found))
            }
        }
    }
}

/// The next rows of a range, and where it goes on; `None` at the end.
pub(crate) async fn next_page(core: &Core, at: &mut Key, end: &Key) -> Result<Option<Page>, Fault> {
    if *at >= *end {
        return Ok(None);
    }
    let page = core.engine.range(at.clone()..end.clone(), PAGE, usize::MAX).await?;
    let Some((last, _)) = page.last() else { return Ok(None) };
    *at = successor(last);
    Ok(Some(page))
}

impl Core {
    async fn known_damaged(&self) -> Result<Damaged, Fault> {
        let rows = self.damaged_rows().await?;
        Ok(rows.into_iter().filter(|(_, row)| row.done == Done::Left).map(|(of, _)| of).collect())
    }

    /// Counts what an order would move.
    pub(crate) async fn summarize(&self, order: &Order) -> Result<PlanSummary, OrderError> {
        if let Order::Scrub { silo } = order {
            let (objects, bytes) = self.scrubbed(silo).await?;
            return Ok(PlanSummary { objects, bytes, in_place: 0 });
        }
        let (mut walk, mut summary) = (Walk::begin(self, order).await?, PlanSummary::default());
        let by_object = matches!(order, Order::Place { .. } | Order::Align { .. });
        while let Some(extents) = walk.next(self).await? {
            for Found { id, row, wish } in extents {
                let planned = wish.and_then(|wish| plan(wish, id, &row));
                if planned.is_some() || (by_object && row.first.is_some()) {
                    summary.count(row.size, planned.as_ref());
                }
            }
        }
        Ok(summary)
    }

    /// What an object is made of; nothing where its manifest was retired meanwhile.
    pub(crate) async fn slices_of(&self, data: Data) -> Vec<Slice> {
        match data {
            Data::Slices(slices) => slices,
            Data::Manifest(id) => self.manifest_slices(id, 0..u64::MAX).await.unwrap_or_default(),
        }
    }

    async fn extents_of_objects(&self, page: &Page) -> Result<Vec<(Number, ExtentRow)>, Fault> {
        let mut ids = BTreeSet::new();
        for (_, bytes) in page {
            let row: ObjectRow = decode(bytes)?;
            ids.extend(self.slices_of(row.data).await.iter().map(|slice| slice.extent));
        }
        let (inventory, mut extents) = (self.inventory(), self.extents(ids).await?);
        for (_, row) in &mut extents {
            inventory.leave_lost_out(row);
        }
        Ok(extents)
    }

    /// The rows of extents, in order; what is gone is left out.
    pub(crate) async fn extents(&self, ids: BTreeSet<Number>) -> Result<Vec<(Number, ExtentRow)>, Fault> {
        let ids: Vec<Number> = ids.into_iter().collect();
        let rows = self.engine.get(&ids.iter().map(|id| extent(*id)).collect::<Vec<_>>()).await?;
        let mut extents = Vec::with_capacity(ids.len());
        for (id, row) in ids.into_iter().zip(rows) {
            extents.extend(decode_row::<ExtentRow>(row.as_ref())?.map(|row| (id, row)));
        }
        Ok(extents)
    }

    /// Every replica of what these slices name.
    pub(crate) async fn replicas_of(&self, slices: &[Slice]) -> Result<Vec<ReplicaInfo>, Fault> {
        let ids: BTreeSet<Number> = slices.iter().map(|slice| slice.extent).collect();
        let inventory = self.inventory();
        let mut infos = Vec::new();
        for (id, row) in self.extents(ids).await? {
            for replica in &row.replicas {
                let silo = inventory.silos.get(&replica.silo).map(|open| open.row.name.clone());
                let state = if replica.state == ReplicaState::Verified { "verified" } else { "retired" };
                infos.push(ReplicaInfo {
                    extent: id.to_string(),
                    silo: silo.unwrap_or_else(|| format!("#{}", replica.silo)),
                    state: state.to_owned(),
                    blob: replica.location.to_string(),
                    bytes: row.size,
                    since: replica.since,
                    job: replica.job,
                });
            }
        }
        Ok(infos)
    }
}
