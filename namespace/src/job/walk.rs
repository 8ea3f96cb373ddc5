//! Which extents an order is about, and what it wishes of each: those of the objects in a part of the namespace, or all that
//! lie in a silo.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::engine::{Key, Page};
use crate::extent::{JobId, Number, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::job::{BY_ITSELF, OBJECTIVES, Order, OrderError, PlanSummary, ReplicaInfo};
use crate::limits::MAX_FORBIDDEN;
use crate::namespace::Core;
use crate::objective::{Filled, Judge, Ledger, Lessons, Outlook, Prices, Rules as Wishes, Scope, Told, Undo, Way};
use crate::plan::{Wish, plan};
use crate::price::Money;
use crate::scrub::Done;
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::objects::{Data, ObjectRow, prefix as object_prefix};
use crate::table::{after_prefix, decode, decode_row, key, successor};

/// Rows looked at in one step.
const PAGE: usize = 256;

/// What an order leaves alone.
#[derive(Default)]
struct Left {
    /// Replicas that are known to be damaged.
    damaged: BTreeSet<(SiloId, Number)>,
    /// Extents of objects that may not be where it would bring them.
    forbidden: BTreeSet<Number>,
}

/// An extent that an order is about.
pub(crate) struct Found {
    pub id: Number,
    pub row: ExtentRow,
    /// None where it is to stay.
    pub wish: Option<Wish>,
    /// What a step counts for that is part of no job.
    pub by: Option<JobId>,
    /// What was set aside for it.
    pub aside: Money,
}

impl Found {
    /// One that is wished the same as all others. What went with a lost silo alone stays as it is, and so does what is damaged
    /// wherever else it is: the silo may be found again.
    fn of(core: &Core, id: Number, row: ExtentRow, wish: Wish, left: &Left) -> Self {
        let inventory = core.inventory();
        let lost = inventory.left_verified(&row).iter().all(|replica| left.damaged.contains(&(replica.silo, id)));
        Self { id, row, wish: (!lost && !left.forbidden.contains(&id)).then_some(wish), by: None, aside: Money::ZERO }
    }
}

/// A walk over what an order is about, a page at a time, in constant memory.
pub(crate) struct Walk {
    rows: Rows,
    over: Over,
    /// Extents that stay since they are forbidden to be where they would go.
    refused: u64,
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
    Objects(Wish, Left),
    /// Objects, each judged by objectives.
    Judged(Box<Judging>),
    Extents(Wish, Left),
    /// Objects whose extents are to leave a silo where nobody wants them there.
    Undone(Box<Judge>, Undo),
}

/// Steps that are taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    All,
    /// Those alone that cannot wait.
    Urgent,
}

struct Judging {
    judge: Judge,
    told: Told,
    /// It ends where something is declared meanwhile,
    fickle: bool,
    /// and leaves alone what running jobs are about.
    beside: bool,
    /// and measures what silos are filled with,
    measures: Option<Filled>,
    /// and is learnt from,
    lessons: Option<Lessons>,
    /// and takes these steps,
    steps: Which,
    /// for so long,
    long: Option<Duration>,
    /// until then, by the monotonic clock, once there was one,
    until: Option<Duration>,
    /// and from there on none.
    cut_at: Option<Key>,
    outdated: bool,
}

impl Judging {
    fn by(judge: Judge, fickle: bool, beside: bool) -> Self {
        let judge = if beside { judge.keeping_hours() } else { judge };
        Self {
            judge,
            told: Told::default(),
            fickle,
            beside,
            measures: None,
            lessons: None,
            steps: Which::All,
            long: None,
            until: None,
            cut_at: None,
            outdated: false,
        }
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
                (object_prefix(row.incarnation, prefix), Over::Objects(wish, core.forbidden(wish).await?))
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
            (_, Some(wish)) => (vec![key::EXTENTS], Over::Extents(wish, core.forbidden(wish).await?)),
            (_, None) => return Err(OrderError::Invalid(format!("nothing is wished by {order}"))),
        };
        let end = after_prefix(&at);
        Ok(Self::over(Rows::Ranges([(at, end)].into()), over))
    }

    fn over(rows: Rows, over: Over) -> Self {
        Self { rows, over, refused: 0 }
    }

    /// Over all objects that the judge's rules may be about, beside running jobs, until something is declared that the judge does
    /// not know.
    pub(crate) fn all(judge: Judge) -> Self {
        let (ranges, measures) = (judge.ranges(), Some(Filled::default()));
        let lessons = Some(Lessons::due(&judge)).filter(|lessons| !lessons.is_empty());
        let judging = Judging { measures, lessons, ..Judging::by(judge, true, true) };
        Self::over(Rows::Ranges(ranges), judging.over())
    }

    /// The same over objects with these rows.
    pub(crate) fn some(judge: Judge, objects: Vec<Key>) -> Self {
        Self::over(Rows::Some(objects.into()), Judging::by(judge, true, true).over())
    }

    /// The same, from this key around; so long after the first step no page's steps begin any more, and the rest is but judged.
    #[must_use]
    pub(crate) fn for_a_while(mut self, long: Duration, from: Option<Key>) -> Self {
        if let (Over::Judged(judging), Rows::Ranges(ranges)) = (&mut self.over, &mut self.rows) {
            judging.long = Some(long);
            if let Some(from) = from {
                rotate(ranges, &from);
            }
        }
        self
    }

    /// Where steps were left since it took long.
    pub(crate) fn cut_at(&self) -> Option<&Key> {
        self.judging()?.cut_at.as_ref()
    }

    /// Of these steps those alone that are urgent.
    #[must_use]
    pub(crate) fn urgent(mut self) -> Self {
        if let Over::Judged(judging) = &mut self.over {
            judging.steps = Which::Urgent;
            (judging.measures, judging.lessons) = (None, None);
        }
        self
    }

    /// Over one object.
    pub(crate) fn one(judge: Judge, object: Key) -> Self {
        Self::over(Rows::Some([object].into()), Judging::by(judge, false, false).over())
    }

    fn judging(&self) -> Option<&Judging> {
        if let Over::Judged(judging) = &self.over { Some(judging) } else { None }
    }

    /// The revision that it ends with, where it does.
    pub(crate) fn revision(&self) -> Option<i64> {
        self.judging().filter(|judging| judging.fickle).map(|judging| judging.judge.revision())
    }

    /// When what it goes by ends by time alone, where that is kept to: by the monotonic clock.
    pub(crate) fn ends_at(&self, core: &Core) -> Option<Duration> {
        self.judging().filter(|judging| judging.beside)?;
        Some(core.clock.monotonic() + core.inventory().wishes_end_in(core.clock.now())?)
    }

    /// Extents so far that stay since objectives forbid them to be where they would go.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// Whether it ended since something was declared.
    pub(crate) fn is_outdated(&self) -> bool {
        self.judging().is_some_and(|judging| judging.outdated)
    }

    /// What silos were found to be filled with, by these rules, where that was measured.
    pub(crate) fn filled(&self) -> Option<(&Wishes, &Filled)> {
        let judging = self.judging().filter(|judging| !judging.outdated)?;
        Some((&judging.judge.rules, judging.measures.as_ref()?))
    }

    /// What is to be learnt of objects, and by whom they were judged; none where they were not all looked at.
    pub(crate) fn take_lessons(&mut self) -> Option<(&Judge, Lessons)> {
        let Over::Judged(judging) = &mut self.over else { return None };
        let lessons = judging.lessons.take().filter(|_| !judging.outdated)?;
        Some((&judging.judge, lessons))
    }

    /// What was said of the objects; none where nobody judged them all.
    pub(crate) fn told(self) -> Option<Outlook> {
        match self.over {
            Over::Judged(judged) if !judged.outdated => Some(judged.told.outlook(&judged.judge, Default::default())),
            Over::Judged(_) | Over::Objects(..) | Over::Extents(..) | Over::Undone(..) => None,
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
            if judging.fickle {
                judging.judge.renew(core.clock.now());
            }
            if judging.beside {
                judging.judge.busy = core.busy().await?;
            }
        }
        let Some(page) = self.page(core).await? else { return Ok(None) };
        let refused = &mut self.refused;
        let mut all = |rows: Vec<(Number, ExtentRow)>, wish, left: &Left| {
            *refused += rows.iter().filter(|(id, _)| left.forbidden.contains(id)).count() as u64;
            rows.into_iter().map(|(id, row)| Found::of(core, id, row, wish, left)).collect()
        };
        match &mut self.over {
            Over::Objects(wish, left) => Ok(Some(all(core.extents_of_objects(&page).await?, *wish, left))),
            Over::Undone(judge, undo) => {
                let mut found = Vec::new();
                for mut object in core.judged(judge, &page).await? {
                    let extents = std::mem::take(&mut object.extents);
                    found.extend(extents.into_iter().filter_map(|extent| {
                        let wish = Some(judge.undone(&object, &extent, undo)?);
                        Some(Found { id: extent.id, row: extent.row, wish, by: None, aside: Money::ZERO })
                    }));
                }
                Ok(Some(found))
            }
            Over::Extents(wish, left) => {
                let rows = page.iter().filter_map(|(key, bytes)| read_extent(key).map(|id| Ok((id, decode(bytes)?))));
                Ok(Some(all(rows.collect::<Result<_, Fault>>()?, *wish, left)))
            }
            Over::Judged(judging) => judging.find(core, &page).await.map(Some),
        }
    }
}

impl Judging {
    /// The extents of a page's objects; where it is cut off, no step is to be taken.
    async fn find(&mut self, core: &Core, page: &Page) -> Result<Vec<Found>, Fault> {
        let (mut found, must, clock) = (Vec::new(), self.steps == Which::Urgent, core.clock.monotonic());
        let mut objects = core.judged(&self.judge, page).await?;
        self.judge.close(&mut objects, self.beside.then_some(clock));
        if self.cut_at.is_none() && self.until.is_some_and(|until| clock >= until) {
            self.cut_at = page.first().map(|(key, _)| key.to_vec());
        }
        let is_cut = self.cut_at.is_some();
        if must {
            self.judge.leave_what_can_wait(&mut objects);
        }
        if self.beside && !is_cut {
            core.keep_share(&self.judge, &mut objects).await?;
            core.set_aside(&self.judge, &mut objects, must).await?;
            core.note_share(&self.judge, &mut objects).await?;
        }
        let rules = self.judge.rules.all();
        let by = |way: Way| super::for_objective(&rules[way.by].name);
        for object in objects {
            self.told.add(&object);
            if let Some(filled) = &mut self.measures {
                filled.add(&self.judge, &object);
            }
            if let Some(lessons) = &mut self.lessons {
                lessons.add(&object);
            }
            // All of an object's is begun, or none, but for bad luck: with its first step.
            let mut aside = object.aside;
            found.extend(object.extents.into_iter().map(|judged| {
                let wish = judged.standing.wish().filter(|_| !is_cut);
                let aside = if wish.is_some() { std::mem::replace(&mut aside, Money::ZERO) } else { Money::ZERO };
                Found { id: judged.id, row: judged.row, by: judged.standing.way().map(by), wish, aside }
            }));
        }
        if self.until.is_none() && found.iter().any(|found| found.wish.is_some()) {
            self.until = self.long.map(|long| clock + long);
        }
        Ok(found)
    }
}

/// Has ranges begin at a key, and end before it.
fn rotate(ranges: &mut VecDeque<(Key, Key)>, from: &Key) {
    let before = ranges.iter().take_while(|(_, end)| end <= from).count();
    ranges.rotate_left(before);
    if let Some((begin, end)) = ranges.front().cloned().filter(|(begin, end)| begin < from && from < end) {
        ranges[0] = (from.clone(), end);
        ranges.push_back((begin, from.clone()));
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
    async fn known_damaged(&self) -> Result<Left, Fault> {
        let rows = self.damaged_rows().await?;
        let damaged = rows.into_iter().filter(|(_, row)| row.done == Done::Left).map(|(of, _)| of).collect();
        Ok(Left { damaged, ..Left::default() })
    }

    /// What may not be where this would bring it, whatever else shares its bytes. Objectives are asked of each object that they
    /// may forbid that silo to.
    async fn forbidden(&self, wish: Wish) -> Result<Left, OrderError> {
        let (silo, leaves) = match wish {
            Wish::On(silo) => (silo, None),
            Wish::OffOnto { from, to } => (to, Some(from)),
            Wish::Also { .. } | Wish::Off { .. } => return Ok(Left::default()),
        };
        let goes = |row: &ExtentRow| {
            row.verified_in(silo).is_none() && leaves.is_none_or(|from| row.verified_in(from).is_some())
        };
        let inventory = self.inventory();
        let rules = inventory.rules()?.that_forbid(silo);
        let judge = self.judge_by(inventory, rules, &Scope::default()).await?;
        let mut forbidden = BTreeSet::new();
        for (mut at, end) in judge.ranges() {
            while let Some(page) = next_page(self, &mut at, &end).await? {
                let objects = self.judged(&judge, &page).await?;
                let objects = objects.into_iter().filter(|object| object.wanted.never.contains_key(&silo));
                let extents = objects.flat_map(|object| object.extents);
                forbidden.extend(extents.filter(|extent| goes(&extent.row)).map(|extent| extent.id));
                if forbidden.len() > MAX_FORBIDDEN {
                    let reason = format!(
                        "objectives forbid silo `{}` to more than {MAX_FORBIDDEN} extents",
                        self.inventory().name_of(silo)
                    );
                    return Err(OrderError::Invalid(reason));
                }
            }
        }
        Ok(Left { forbidden, ..Left::default() })
    }

    /// What an order would move now, and what that costs.
    pub(crate) async fn would(&self, order: &Order) -> Result<PlanSummary, OrderError> {
        let prices = Prices::of(&self.inventory(), self.options.pack_up_to, self.clock.now());
        let mut ledger = Ledger::new(&prices);
        let summary = self.summarize(order, Some(&mut ledger)).await?;
        let costs = (!matches!(order, Order::Scrub { .. })).then(|| ledger.finish().1);
        Ok(PlanSummary { costs, ..summary })
    }

    /// Counts what an order would move.
    pub(crate) async fn summarize(
        &self,
        order: &Order,
        mut ledger: Option<&mut Ledger<'_>>,
    ) -> Result<PlanSummary, OrderError> {
        if let Order::Scrub { silo } = order {
            let (objects, bytes) = self.scrubbed(silo).await?;
            return Ok(PlanSummary { objects, bytes, ..PlanSummary::default() });
        }
        let (mut walk, mut summary) = (Walk::begin(self, order).await?, PlanSummary::default());
        let by_object = matches!(order, Order::Place { .. } | Order::Align { .. });
        while let Some(extents) = walk.next(self).await? {
            for Found { id, row, wish, .. } in extents {
                let planned = wish.and_then(|wish| plan(wish, id, &row));
                if planned.is_some() || (by_object && row.first.is_some()) {
                    summary.count(row.size, planned.as_ref());
                }
                if let Some((ledger, planned)) = ledger.as_mut().zip(planned) {
                    ledger.add_move(&planned, row);
                }
            }
            if let Some(ledger) = &mut ledger {
                ledger.page();
            }
        }
        summary.refused = walk.refused;
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
                    job: replica.job.map(|job| if job < OBJECTIVES { job } else { BY_ITSELF }),
                    objective: replica.job.and_then(|job| inventory.objective_of(job)),
                });
            }
        }
        Ok(infos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps that failed slowly at the front used all the time there was, again and again, and nothing behind them began.
    #[test]
    fn a_walk_that_was_cut_goes_on_there_and_ends_where_it_began() {
        let all = || -> VecDeque<(Key, Key)> { [("a", "c"), ("d", "g")].map(|(a, b)| (a.into(), b.into())).into() };
        for (from, expected) in [
            ("b", vec![("b", "c"), ("d", "g"), ("a", "b")]),
            ("e", vec![("e", "g"), ("a", "c"), ("d", "e")]),
            ("d", vec![("d", "g"), ("a", "c")]),
            ("c", vec![("d", "g"), ("a", "c")]),
            ("z", vec![("a", "c"), ("d", "g")]),
        ] {
            let mut ranges = all();
            rotate(&mut ranges, &from.into());
            let expected: VecDeque<(Key, Key)> = expected.into_iter().map(|(a, b)| (a.into(), b.into())).collect();
            assert_eq!(ranges, expected, "{from}");
        }
    }
}
