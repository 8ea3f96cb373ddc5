//! Objects against objectives: rows are read, and nothing changes.

use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdall_silos::BlobName;

use super::expression::{Needs, Subject};
use super::{Choice, Chooser, Cuts, Held, Hours, Rules, Scope, Seen, Standing, Used, Wanted, Way, What};
use crate::clock::UnixMs;
use crate::engine::{Key, Page};
use crate::extent::{JobId, Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::find::Row;
use crate::heat::Heat;
use crate::inventory::Inventory;
use crate::job::OrderError;
use crate::learn::Groups;
use crate::limits::MAX_COPIES;
use crate::list::read_name;
use crate::name::BucketName;
use crate::namespace::Core;
use crate::object::Pairs;
use crate::plan::Wish;
use crate::price::Money;
use crate::table::extents::ExtentRow;
use crate::table::objects::{Attributes, Data, NAME_AT, ObjectRow, prefix as object_prefix};
use crate::table::uploads::{ManifestRow, PartRow, manifest, part as part_key};
use crate::table::{after_prefix, decode, decode_row, key};

/// Extents, each with the version that its bytes were written for, where that is known.
type Referrers = BTreeMap<Number, Option<Number>>;

/// Objectives, and what is the same for all objects that are judged by them.
pub(crate) struct Judge {
    pub rules: Rules,
    /// Bucket names by incarnation.
    buckets: BTreeMap<u64, BucketName>,
    pub inventory: Arc<Inventory>,
    /// What is taken over and was not passed yet: in which bucket, and what its keys begin with.
    unfilled: Vec<(u64, String)>,
    /// Jobs that are about these objects now.
    pub busy: Vec<(Scope, JobId)>,
    pub needs: Needs,
    pub now: UnixMs,
    /// Silos as conditions see them: as they were when it began to judge.
    seen: Seen,
    /// What is too cold for silos that have to make room.
    pub cuts: Arc<Cuts>,
    /// Those that choose where objects are, for rules that leave that to what was learnt, by their places.
    pub choosers: BTreeMap<usize, Chooser>,
    /// What objectives have hours for waits for them.
    keeps_hours: bool,
    /// A write waits for what is wanted: how objects are used, and that a silo is paused, is of no account.
    for_a_write: bool,
    /// It says what comes after each step, too.
    foresees: bool,
}

/// An object, judged.
pub(crate) struct JudgedObject {
    pub wanted: Wanted,
    /// What each rule's condition says; none where the rule is not about it.
    pub conditions: Vec<Option<Result<bool, String>>>,
    pub extents: Vec<JudgedExtent>,
    /// How it is read, where that is asked.
    pub heat: Option<Heat>,
    /// When it was used.
    pub used: Used,
    /// In which bucket, by its number.
    pub bucket: u64,
    /// Its number as learning sees it, where anything is learnt.
    pub id: Option<u64>,
    /// What was learnt, where an objective leaves the choice to that.
    pub choice: Option<Choice>,
    /// What was set aside for its steps.
    pub aside: Money,
}

/// What a switch copied to a silo since a moment is taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Undo {
    /// The silo that loses it.
    pub from: SiloId,
    /// The silo that has it.
    pub to: SiloId,
    /// Since when.
    pub since: UnixMs,
}

/// One of its extents.
#[derive(Debug)]
pub(crate) struct JudgedExtent {
    pub id: Number,
    pub row: ExtentRow,
    /// Its bytes were written for this object.
    pub own: bool,
    /// Silos whose replicas were found damaged, and not made good.
    pub damaged: Vec<SiloId>,
    pub standing: Standing,
    /// How it would stand after each step, one after the other, where that is foreseen.
    pub then: Vec<Standing>,
}

/// Steps that are foreseen of an extent, beyond the first: more than it ever takes to come to rest.
const MOST_STEPS: usize = 2 * MAX_COPIES as usize;

/// Where it is said to lie before it is written: a name that nothing has.
pub(super) const UNWRITTEN: BlobName = BlobName { session: 0, number: 0, extent: (0, 0) };

/// Why bytes stay that are not for the object they were written for.
pub(crate) const SHARED: &str = "they are the bytes of another object, too, and move with that";

impl Judge {
    /// The first key of the objects in a part of the namespace.
    pub(crate) fn objects(&self, on: &Scope) -> Result<Key, OrderError> {
        match &on.bucket {
            None => Ok(vec![key::OBJECTS]),
            Some(bucket) => Ok(object_prefix(self.incarnation(bucket)?, &on.prefix)),
        }
    }

    /// A bucket's number.
    pub(crate) fn incarnation(&self, bucket: &str) -> Result<u64, OrderError> {
        let known = self.buckets.iter().find(|(_, name)| name.as_str() == bucket);
        known.map(|(incarnation, _)| *incarnation).ok_or_else(|| OrderError::NoSuchBucket(bucket.to_owned()))
    }

    /// From now on it judges by the time that it is, and by silos as they are.
    pub(crate) fn renew(&mut self, now: UnixMs) {
        self.now = now;
        self.rules.silos = self.inventory.silo_facts();
    }

    /// What was declared when it began to judge.
    pub(crate) fn revision(&self) -> i64 {
        self.inventory.revision
    }

    /// The objects that rules may be about.
    pub(crate) fn ranges(&self) -> VecDeque<(Key, Key)> {
        let mut scopes: Vec<&Scope> = self.rules.all().iter().map(|rule| &rule.objective.on).collect();
        scopes.sort();
        scopes.dedup();
        let within = |scope: &&Scope| !scopes.iter().any(|other| other != scope && other.contains(scope));
        // A bucket that is not there has no objects.
        let starts = scopes.iter().copied().filter(within).filter_map(|scope| self.objects(scope).ok());
        starts.map(|start| (start.clone(), after_prefix(&start))).collect()
    }

    fn subject<'a>(
        &'a self,
        (bucket, key): (&'a str, &'a str),
        row: &'a ObjectRow,
        own: Option<&'a Attributes>,
        (heat, labels): (Option<Heat>, &'a Pairs),
    ) -> Subject<'a> {
        let subject =
            Subject { size: row.size, modified: row.modified, now: self.now, heat, labels, ..Subject::default() };
        let subject = Subject { seen: Some(&self.seen), ..subject };
        subject.of(bucket, key, row.storage_class.as_deref(), own)
    }

    fn standing(
        &self,
        (bucket, key): (u64, &str),
        wanted: &Wanted,
        own: bool,
        (row, damaged): (&ExtentRow, &[SiloId]),
    ) -> Standing {
        let held = self.held(row, damaged);
        let standing = self.rules.standing(wanted, &held, || self.otherwise(bucket, row.size));
        if let (Standing::Waits { by, .. }, true) = (&standing, held.on.is_empty()) {
            let reason = "they went with a silo that is lost, and no other has them".to_owned();
            return Standing::Waits { by: *by, reason };
        }
        // A write waits for what is missing, not for what is too much; nor for the place of what it shares, as long as that is in as many.
        let apart = || wanted.copies.as_ref().is_some_and(|copies| copies.apart.is_some());
        let elsewhere = match standing {
            Standing::Drops { .. } => true,
            Standing::Moves { .. } => !own && held.on.len() >= wanted.number() && !apart(),
            _ => false,
        };
        if self.for_a_write && elsewhere {
            return Standing::Aligned;
        }
        let copies = matches!(standing, Standing::Copies { .. });
        let Some(way) = standing.way() else { return standing };
        let in_place = || row.verified().any(|replica| matches!(replica.location, Location::InPlace { .. }));
        let unfilled = |(of, into): &(u64, String)| *of == bucket && key.starts_with(into.as_str());
        let is_missing = || copies && self.rules.is_urgent(wanted, way);
        let covers =
            |(on, _): &&(Scope, JobId)| self.buckets.get(&bucket).is_some_and(|name| on.covers(name.as_str(), key));
        let may_go = own || (self.for_a_write && copies);
        let reason = if !may_go {
            SHARED.to_owned()
        } else if copies && in_place() {
            "what lies where others put it has no copies before it is moved".to_owned()
        } else if in_place() && self.unfilled.iter().any(unfilled) {
            "nothing that is taken over moves before it was passed once, headers and all".to_owned()
        } else if let Some((_, job)) = self.busy.iter().find(covers).filter(|_| !is_missing()) {
            format!("job {job} is about them now")
        } else if let Some(silo) = self.paused_on(way).filter(|_| !self.for_a_write) {
            format!("silo `{silo}` is paused")
        } else if let Some(hours) = self.rules.all()[way.by].objective.hours.filter(|hours| self.is_too_early(*hours)) {
            format!("it moves at {hours} (UTC)")
        } else {
            return standing;
        };
        Standing::Waits { by: way.by, reason }
    }

    /// How an extent would stand after each step from how it stands now, until it comes to rest; nothing where nobody asks.
    fn then(&self, object: (u64, &str), wanted: &Wanted, now: &JudgedExtent) -> Vec<Standing> {
        let mut way = now.standing.way().filter(|_| self.foresees);
        if way.is_none() {
            return Vec::new();
        }
        let (mut row, mut then) = (now.row.clone(), Vec::new());
        while let Some(taken) = way.filter(|_| then.len() < MOST_STEPS) {
            row.take(taken, Location::Blob(UNWRITTEN), self.now);
            let standing = self.standing(object, wanted, now.own, (&row, &now.damaged));
            way = standing.way();
            then.push(standing);
        }
        then
    }

    /// Where verified replicas of an extent are, but for silos that are lost, and for those that were found damaged where others are
    /// whole.
    fn held(&self, row: &ExtentRow, damaged: &[SiloId]) -> Held {
        let left = self.inventory.left_verified(row).into_iter().map(|replica| replica.silo);
        let (damaged, whole): (Vec<SiloId>, Vec<SiloId>) = left.partition(|silo| damaged.contains(silo));
        let (on, damaged) = if whole.is_empty() { (damaged, whole) } else { (whole, damaged) };
        Held { on, damaged, bytes: row.size }
    }

    /// Silos that take it where no objective says where.
    fn otherwise(&self, bucket: u64, size: u64) -> Vec<SiloId> {
        self.buckets.get(&bucket).map_or_else(Vec::new, |name| self.inventory.meant_for(name.as_str(), size))
    }

    /// What one of an object's own extents takes of silos for which it matters how it is used: for the sake of which
    /// objective, where, and since when it was not used. What nothing would take elsewhere makes no room.
    pub(crate) fn takes(&self, object: &JudgedObject, extent: &JudgedExtent) -> Vec<(usize, SiloId, UnixMs)> {
        let (wanted, held) = (&object.wanted, self.held(&extent.row, &extent.damaged));
        let rule = |by: usize| &self.rules.all()[by];
        let otherwise = LazyCell::new(|| self.otherwise(object.bucket, extent.row.size));
        let leaves = |silo: SiloId| self.rules.may_leave(wanted, &held, silo, otherwise.clone());
        let filled = held.on.iter().filter_map(|silo| {
            let by = wanted
                .by
                .filter(|by| rule(*by).fills(*silo) && (leaves(*silo) || crate::seeded_bug!("fill-counts-kept")))?;
            Some((by, *silo, object.used.last))
        });
        let spare = wanted.spare.iter().flat_map(|(by, silos)| silos.iter().map(move |spare| (*by, spare.silo)));
        let spare = spare.filter(|(_, silo)| held.on.contains(silo) && wanted.is_spare(&held, *silo, &otherwise));
        let read = object.used.read.unwrap_or(UnixMs::MIN);
        filled.chain(spare.map(|(by, silo)| (by, silo, read))).collect()
    }

    /// The silo of a way that nothing moves from or to, by order.
    fn paused_on(&self, way: Way) -> Option<&str> {
        let silos = [Some(way.from), way.to].into_iter().flatten().filter_map(|id| self.inventory.silos.get(&id));
        silos.filter(|open| open.row.paused).map(|open| open.row.name.as_str()).next()
    }

    fn is_too_early(&self, hours: Hours) -> bool {
        self.keeps_hours && !hours.contain(self.now)
    }

    /// The same; what objectives have hours for waits for them.
    pub(crate) fn keeping_hours(self) -> Self {
        Self { keeps_hours: true, ..self }
    }

    /// The same; it says what comes after each step, too.
    pub(crate) fn foreseeing(self) -> Self {
        Self { foresees: true, ..self }
    }

    /// The same; what it says is what a write waits for.
    pub(crate) fn for_a_write(self) -> Self {
        Self { for_a_write: true, ..self }
    }

    /// What becomes of an extent that a switch, which is undone, copied to a silo since: it leaves where nobody wants it there,
    /// as long as as many others have it as are wanted.
    pub(crate) fn undone(&self, object: &JudgedObject, extent: &JudgedExtent, undo: &Undo) -> Option<Wish> {
        let held = self.held(&extent.row, &extent.damaged);
        let came = extent.row.verified_in(undo.from).is_some_and(|there| there.since >= undo.since);
        let otherwise = || self.otherwise(object.bucket, extent.row.size);
        let wanted = || self.rules.wants(&object.wanted, &held, undo.from, otherwise());
        let leaves = extent.own && came && held.on.contains(&undo.to) && !wanted();
        leaves.then(|| Wish::Off { from: undo.from, least: object.wanted.number() })
    }

    /// What is not urgent is as if it were where it is wanted.
    pub(crate) fn leave_what_can_wait(&self, objects: &mut [JudgedObject]) {
        for object in objects {
            let can_wait = |way: Way| !self.rules.is_urgent(&object.wanted, way);
            for extent in object.extents.iter_mut().filter(|extent| extent.standing.way().is_some_and(can_wait)) {
                extent.standing = Standing::Aligned;
            }
        }
    }

    /// What cannot be done at this moment waits: silos go down, and fill, while objects are compared; and, of what moves by itself, some
    /// rest `now`.
    pub(crate) fn close(&self, objects: &mut [JudgedObject], now: Option<Duration>) {
        for extent in objects.iter_mut().flat_map(|object| &mut object.extents) {
            let bytes = extent.row.size;
            extent.put_off(|way| {
                let open = self.inventory.silos.get(&way.to?)?;
                open.candidate().refusal(bytes).or_else(|| open.rests(now?))
            });
        }
    }
}

impl ExtentRow {
    /// As it would be once a step was taken, which brings it to this place.
    pub(super) fn take(&mut self, way: Way, location: Location, now: UnixMs) {
        let stays = |replica: &Replica| replica.state != ReplicaState::Verified || replica.silo != way.from;
        self.replicas.retain(|replica| way.what == What::Copy || stays(replica));
        let there = |silo| Replica { silo, location, state: ReplicaState::Verified, since: now, job: None };
        self.replicas.extend(way.to.map(there));
    }
}

impl JudgedExtent {
    /// Its steps, one after the other.
    pub(crate) fn ways(&self) -> impl Iterator<Item = Way> {
        std::iter::once(&self.standing).chain(&self.then).filter_map(Standing::way)
    }

    /// What is to be done with it waits, where there is a reason.
    pub(crate) fn put_off(&mut self, reason: impl FnOnce(Way) -> Option<String>) {
        let Some(way) = self.standing.way() else { return };
        if let Some(reason) = reason(way) {
            self.standing = Standing::Waits { by: way.by, reason };
        }
    }
}

/// When an object was used.
fn used(key: &[u8], row: &ObjectRow, heat: Option<Heat>) -> Used {
    let read = heat.map(|heat| heat.last_read());
    let lot = (twox_hash::XxHash3_64::oneshot(key) >> 48) as u16;
    Used { last: row.modified.max(read.unwrap_or(UnixMs::MIN)), read, lot, size: row.size }
}

impl Core {
    /// Objectives in force as they stand now.
    pub(crate) async fn objectives(&self, on: &Scope) -> Result<Judge, Fault> {
        let inventory = self.inventory();
        let rules = inventory.rules()?;
        self.judge_and_choose(inventory, rules, on).await
    }

    /// One who judges by these rules, and chooses where they leave that to what was learnt.
    pub(crate) async fn judge_and_choose(
        &self,
        inventory: Arc<Inventory>,
        rules: Rules,
        on: &Scope,
    ) -> Result<Judge, Fault> {
        let choosers = self.choosers(&rules, &inventory, on).await?;
        Ok(Judge { choosers, ..self.judge_by(inventory, rules, on).await? })
    }

    /// One who judges by these rules.
    pub(crate) async fn judge_by(&self, inventory: Arc<Inventory>, rules: Rules, on: &Scope) -> Result<Judge, Fault> {
        let buckets = self.buckets_by_incarnation().await?;
        let roots = crate::inventory::load_roots(&*self.engine).await?;
        let unfilled = roots.into_iter().filter(|root| !root.info.filled);
        let unfilled = unfilled.map(|root| (root.bucket, root.info.order.into)).collect();
        let mut needs = rules.need(on);
        needs.heat |= rules.ask_use(on);
        let cuts = Arc::new(self.cuts().await?);
        let (now, seen) = (self.clock.now(), inventory.seen());
        Ok(Judge {
            rules,
            buckets,
            inventory,
            unfilled,
            busy: Vec::new(),
            needs,
            now,
            seen,
            cuts,
            choosers: BTreeMap::new(),
            keeps_hours: false,
            for_a_write: false,
            foresees: false,
        })
    }

    /// Judges the objects of a page.
    pub(crate) async fn judged(&self, judge: &Judge, page: &Page) -> Result<Vec<JudgedObject>, Fault> {
        // One that does not read is passed over: the others are where they are wanted.
        let rows = page.iter().filter_map(|(key, bytes)| {
            let row = decode(bytes)
                .inspect_err(|fault| tracing::error!(%fault, "an object is compared with nothing"))
                .ok()?;
            Some((key.clone(), row))
        });
        let rows: Vec<Row> = rows.collect();
        let mut judged = Vec::with_capacity(rows.len());
        let keys = rows.iter().map(|(key, _)| &key[..]);
        let heats = if judge.needs.heat { self.heats(keys.clone()).await? } else { vec![None; rows.len()] };
        let labels = if judge.needs.labels { self.all_labels(keys).await? } else { vec![Pairs::new(); rows.len()] };
        let owns = if judge.needs.attributes { self.all_attributes(&rows).await? } else { vec![None; rows.len()] };
        for ((((key, row), heat), labels), own) in rows.iter().zip(heats).zip(labels).zip(owns) {
            let incarnation = incarnation_of(key)?;
            // One that is being deleted.
            let Some(bucket) = judge.buckets.get(&incarnation) else { continue };
            let name = read_name(&key[NAME_AT..])?;
            // Written anew since the page was read, and compared with that.
            if judge.needs.attributes && own.is_none() {
                continue;
            }
            let subject = judge.subject((bucket.as_str(), &name), row, own.as_ref(), (heat, &labels));
            let conditions = judge.rules.conditions(&subject);
            let mut wanted = judge.rules.wanted(&conditions);
            let used = used(key, row, heat);
            if !judge.for_a_write {
                judge.rules.used(&mut wanted, &conditions, used, judge.now, &judge.cuts);
            }
            let Some((referrers, rows)) = self.readable(row).await? else { continue };
            let chooser = wanted.by.and_then(|by| Some((by, judge.choosers.get(&by)?))).filter(|_| !judge.for_a_write);
            let id = (!judge.choosers.is_empty()).then(|| Groups::key(bucket.as_str(), &name));
            let choice = chooser.map(|(by, chooser)| chooser.choose(by, &subject, (row, heat), &rows, &mut wanted));
            let mut damage = self.damage_of(&rows).await?;
            let extents = rows.into_iter().map(|(id, row)| {
                let own = row.first.is_some() && row.first == referrers.get(&id).copied().flatten();
                let damaged = damage.remove(&id).unwrap_or_default();
                let standing = judge.standing((incarnation, &name), &wanted, own, (&row, &damaged));
                let now = JudgedExtent { id, row, own, damaged, standing, then: Vec::new() };
                JudgedExtent { then: judge.then((incarnation, &name), &wanted, &now), ..now }
            });
            let extents = extents.collect();
            let (bucket, aside) = (incarnation, Money::ZERO);
            judged.push(JudgedObject { wanted, conditions, extents, heat, used, bucket, id, choice, aside });
        }
        Ok(judged)
    }

    /// The extents of a version, and their rows; none where some do not read.
    async fn readable(&self, row: &ObjectRow) -> Result<Option<(Referrers, Vec<(Number, ExtentRow)>)>, Fault> {
        let read = async {
            let referrers = self.made_of(row).await?;
            let rows = self.extents(referrers.keys().copied().collect::<BTreeSet<_>>()).await?;
            Ok((referrers, rows))
        };
        match read.await {
            Ok(read) => Ok(Some(read)),
            Err(fault @ Fault::Damaged(_)) => {
                tracing::error!(%fault, "an object is compared with nothing");
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// The extents of a version, each with the one that its bytes were written for where that is this version: what it shares
    /// with others moves with theirs.
    pub(crate) async fn made_of(&self, row: &ObjectRow) -> Result<Referrers, Fault> {
        let id = match &row.data {
            Data::Slices(slices) => {
                return Ok(slices.iter().map(|slice| (slice.extent, Some(row.version))).collect());
            }
            Data::Manifest(id) => *id,
        };
        let head: Option<ManifestRow> = decode_row(self.engine.get(&[manifest(id)]).await?[0].as_ref())?;
        // One that was retired meanwhile is about nothing any more.
        let Some(head) = head else { return Ok(BTreeMap::new()) };
        let parts: Vec<Key> = head.parts.iter().map(|(number, _)| part_key(id, *number)).collect();
        let own = head.first == Some(row.version);
        let mut made = BTreeMap::new();
        for part in self.engine.get(&parts).await? {
            let Some(part): Option<PartRow> = decode_row(part.as_ref())? else { continue };
            let referrer = own.then_some(part.version);
            made.extend(part.slices.iter().map(|slice| (slice.extent, referrer)));
        }
        Ok(made)
    }
}

pub(super) fn incarnation_of(key: &[u8]) -> Result<u64, Fault> {
    let bytes = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| Fault::Damaged("an object's key".to_owned()))
}
