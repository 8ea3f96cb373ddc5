//! The commit that makes a version current, or takes it away: one for PUT, copy, complete and delete.
//!
//! The current row is read before, so that the old version's references can be dropped in the same commit; when the
//! commit finds another row, it reads again. Conditions are decided inside.

use std::sync::Arc;

use bytes::Bytes;

use crate::assimilate::Sought;
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{Key, Read, Rows, Write};
use crate::extent::Number;
use crate::fault::Fault;
use crate::limits::COMMIT_TRIES;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::object::{Condition, ConditionFailed};
use crate::reference::{Adding, Dropping, Stale};
use crate::session::{Session, Uncommitted, Unfinished};
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::heat::heat_of;
use crate::table::labels::labels_of;
use crate::table::objects::{Attributes, ObjectRow, attributes, object, store};
use crate::table::refs::Target;
use crate::table::usage::{self, Counted};
use crate::table::{decode, decode_row};

/// What a commit does beside replacing the row: reads of its own, and writes decided on them.
pub(crate) struct Beside<R> {
    /// Rows to read; no `Empty` ones.
    pub reads: Vec<Read>,
    /// Decides what else is written, given when the version is current.
    pub decide: Decide<R>,
}

/// See [`Beside`].
pub(crate) type Decide<R> = Arc<dyn Fn(&Rows, &ObjectRow) -> Result<Vec<Write>, R> + Send + Sync>;

/// A replacement of the current version.
pub(crate) struct Replace<'a, R> {
    pub session: Arc<Session>,
    pub bucket: &'a Bucket,
    pub key: &'a ObjectKey,
    /// The new version and its attributes; its time is set in the commit.
    pub row: ObjectRow,
    pub attributes: Attributes,
    /// When it was modified; none is now.
    pub modified: Option<UnixMs>,
    pub condition: Condition,
    /// What the new version refers to that exists already.
    pub adding: Vec<Target>,
    pub beside: Beside<R>,
    /// Numbers that must stay unfinished until the outcome is known.
    pub guards: Vec<Arc<Unfinished>>,
}

/// Which versions may be taken away, decided in the commit.
pub(crate) type Only = Arc<dyn Fn(&Rows, &ObjectRow) -> Result<bool, Fault> + Send + Sync>;

/// A current version on its way out.
pub(crate) struct Removal {
    pub condition: Condition,
    /// Of others the removal is refused.
    pub only: Option<Only>,
    /// What that is decided by.
    pub reads: Vec<Read>,
    /// What goes with it.
    pub also: Vec<Write>,
}

impl Removal {
    /// Of whatever version is current.
    pub(crate) fn of(condition: Condition) -> Self {
        Self { condition, only: None, reads: Vec::new(), also: Vec::new() }
    }
}

/// Why the version is not current.
#[derive(Debug)]
pub(crate) enum NotReplaced<R> {
    NoSuchBucket,
    Condition(ConditionFailed),
    /// What it was to refer to is gone.
    Gone,
    /// The decision beside said no.
    Beside(R),
    /// The answer was lost, and the version was not found.
    Lost,
    Fault(Fault),
}

enum Refusal<R> {
    Stale,
    Not(NotReplaced<R>),
}

impl<R> From<Stale> for Refusal<R> {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Again => Self::Stale,
            Stale::Gone => Self::Not(NotReplaced::Gone),
            Stale::Fault(fault) => Self::Not(NotReplaced::Fault(fault)),
        }
    }
}

impl<R> From<Fault> for Refusal<R> {
    fn from(fault: Fault) -> Self {
        Self::Not(NotReplaced::Fault(fault))
    }
}

impl Core {
    /// Makes `replace.row` current. Answers the row as committed.
    pub(crate) async fn replace<R: Send + 'static>(
        &self,
        replace: Replace<'_, R>,
    ) -> Result<ObjectRow, NotReplaced<R>> {
        let (bucket, key) = (replace.bucket, replace.key);
        let replaced = self.try_replace(replace).await;
        self.project_soon(bucket, key);
        replaced
    }

    async fn try_replace<R: Send + 'static>(&self, replace: Replace<'_, R>) -> Result<ObjectRow, NotReplaced<R>> {
        let Replace { session, bucket, key, row, attributes, modified, condition, adding, beside, mut guards } =
            replace;
        if condition != Condition::default() {
            self.seek(bucket, key, Sought::Now).await.map_err(NotReplaced::Fault)?;
        }
        let adding = Adding { targets: adding, referrer: row.version };
        let version = row_version(&guards);
        if crate::seeded_bug!("finish-early") {
            guards.clear();
        }
        let guards = Arc::new(guards);
        let key = object(bucket.incarnation, key);
        let _alone = if crate::seeded_bug!("mutex-for-commit") { Some(self.sweeping.lock().await) } else { None };
        for tried in 0..COMMIT_TRIES {
            let plan = self.plan_replace(bucket, &key).await.map_err(NotReplaced::Fault)?;
            let mut reads = plan.reads();
            reads.extend(adding.reads());
            reads.extend(beside.reads.iter().cloned());
            let adding = adding.clone();
            let (row, attributes) = (row.clone(), attributes.clone());
            let forgotten = tried > 0 && crate::seeded_bug!("condition-once");
            let condition = if forgotten { Condition::default() } else { condition.clone() };
            let (decide_beside, held, now) = (Arc::clone(&beside.decide), Arc::clone(&guards), self.clock.now());
            let decide = move |rows: &Rows| {
                let _held = &held;
                let old = plan.check(rows, &condition)?;
                let mut row = row.clone();
                let at = modified.unwrap_or(now);
                row.modified = old.as_ref().map_or(at, |old| old.modified.max(at));
                let mut writes = plan.take_away(rows, old.as_ref(), &adding, now)?;
                writes.extend(decide_beside(rows, &row).map_err(|refusal| Refusal::Not(NotReplaced::Beside(refusal)))?);
                writes.extend(plan.count(old.as_ref(), Some(&row)));
                writes.extend(store(plan.key.clone(), row.clone(), attributes.clone()));
                Ok((writes, row))
            };
            match session.commit(reads, decide).await {
                Ok(row) => return Ok(row),
                Err(Uncommitted::Refused(Refusal::Stale)) => {}
                Err(Uncommitted::Refused(Refusal::Not(refusal))) => return Err(refusal),
                Err(Uncommitted::Fault(fault)) => return Err(NotReplaced::Fault(fault)),
                Err(Uncommitted::Unknown) if crate::seeded_bug!("resend-unknown") => {}
                Err(Uncommitted::Unknown) => return self.probe(&key, version).await,
            }
        }
        Err(NotReplaced::Fault(Fault::Unavailable("the key is written too often".to_owned())))
    }

    /// Takes the current version away. Answers whether there was one.
    pub(crate) async fn remove(
        &self,
        session: &Arc<Session>,
        bucket: &Bucket,
        key: &ObjectKey,
        removal: Removal,
    ) -> Result<bool, NotReplaced<()>> {
        let removed = self.try_remove(session, bucket, key, removal).await;
        self.project_soon(bucket, key);
        removed
    }

    async fn try_remove(
        &self,
        session: &Arc<Session>,
        bucket: &Bucket,
        key: &ObjectKey,
        removal: Removal,
    ) -> Result<bool, NotReplaced<()>> {
        let Removal { condition, only, reads: also_read, also } = removal;
        let name = key;
        let key = object(bucket.incarnation, key);
        let number = Arc::new(session.take());
        for _ in 0..COMMIT_TRIES {
            let mut plan = self.plan_replace(bucket, &key).await.map_err(NotReplaced::Fault)?;
            // What no pass saw yet would be made an object by the next one: it is known from here on, and hidden.
            if only.is_none() {
                match self.seek(bucket, name, Sought::Now).await {
                    Ok(found) if found && plan.old.is_none() => {
                        plan = self.plan_replace(bucket, &key).await.map_err(NotReplaced::Fault)?;
                    }
                    Ok(_) => {}
                    // What S3 wrote goes, whether or not a silo of others answers.
                    Err(fault) if plan.old.is_some() => {
                        tracing::warn!(key = %name, %fault, "whether others have a name that was never looked at is not known");
                    }
                    Err(fault) => return Err(NotReplaced::Fault(fault)),
                }
            }
            let (condition, held, now) = (condition.clone(), Arc::clone(&number), self.clock.now());
            let (only, also) = (only.clone(), also.clone());
            let (mut reads, existed) = (plan.reads(), plan.old.is_some());
            reads.extend(also_read.iter().cloned());
            if !existed && condition == Condition::default() {
                return Ok(false);
            }
            let decide = move |rows: &Rows| {
                let old = plan.check(rows, &condition)?;
                if let (Some(only), Some(old)) = (&only, &old)
                    && !only(rows, old)?
                {
                    return Err(Refusal::Not(NotReplaced::Beside(())));
                }
                let mut writes = plan.take_away(rows, old.as_ref(), &Adding::none(held.number), now)?;
                writes.extend(plan.count(old.as_ref(), None));
                if old.is_some() {
                    writes.push(Write::Delete(plan.key.clone()));
                    writes.push(Write::Delete(heat_of(&plan.key)));
                    writes.push(Write::Delete(labels_of(&plan.key)));
                    writes.extend(also.iter().cloned());
                }
                Ok((writes, ()))
            };
            match session.commit(reads, decide).await {
                Ok(()) => return Ok(existed),
                Err(Uncommitted::Refused(Refusal::Stale)) => {}
                Err(Uncommitted::Refused(Refusal::Not(refusal))) => return Err(refusal),
                Err(Uncommitted::Fault(fault)) => return Err(NotReplaced::Fault(fault)),
                Err(Uncommitted::Unknown) => return Err(NotReplaced::Lost),
            }
        }
        Err(NotReplaced::Fault(Fault::Unavailable("the key is written too often".to_owned())))
    }

    /// After a lost answer and a raised epoch: is the version there? Whatever hides that leaves the outcome open.
    async fn probe<R>(&self, key: &Key, version: Option<Number>) -> Result<ObjectRow, NotReplaced<R>> {
        let rows = self.engine.get(std::slice::from_ref(key)).await.map_err(|_| NotReplaced::Lost)?;
        let row: Option<ObjectRow> = decode_row(rows[0].as_ref()).map_err(|_| NotReplaced::Lost)?;
        row.filter(|row| Some(row.version) == version).ok_or(NotReplaced::Lost)
    }

    async fn plan_replace(&self, bucket: &Bucket, key: &Key) -> Result<Plan, Fault> {
        let rows = self.engine.get(std::slice::from_ref(key)).await?;
        let old = rows.into_iter().next().flatten();
        let dropping = match &old {
            Some(bytes) => Dropping::of_version(&*self.engine, &decode(bytes)?).await?,
            None => Dropping::default(),
        };
        Ok(Plan { bucket: bucket.clone(), key: key.clone(), old, dropping })
    }
}

/// Guards begin with the version's own number.
fn row_version(guards: &[Arc<Unfinished>]) -> Option<Number> {
    guards.first().map(|guard| guard.number)
}

/// What was read before the commit.
struct Plan {
    bucket: Bucket,
    key: Key,
    old: Option<Bytes>,
    dropping: Dropping,
}

impl Plan {
    fn reads(&self) -> Vec<Read> {
        let mut reads = vec![Read::Row(bucket_key(&self.bucket.name)), Read::Row(self.key.clone())];
        reads.extend(self.dropping.reads());
        reads
    }

    /// The bucket lives, the current row is the one planned on, the condition holds.
    fn check<R>(&self, rows: &Rows, condition: &Condition) -> Result<Option<ObjectRow>, Refusal<R>> {
        let bucket: Option<BucketRow> = decode_row(rows.get(&bucket_key(&self.bucket.name)))?;
        if bucket.is_none_or(|row| row.incarnation != self.bucket.incarnation) {
            return Err(Refusal::Not(NotReplaced::NoSuchBucket));
        }
        let current = rows.get(&self.key);
        if current != self.old.as_ref() && !crate::seeded_bug!("mutex-for-commit") {
            return Err(Refusal::Stale);
        }
        let old: Option<ObjectRow> = decode_row(current)?;
        let etag = old.as_ref().map(|row| row.etag.text());
        if !crate::seeded_bug!("condition-ignored") {
            condition.check(etag.as_deref()).map_err(|failed| Refusal::Not(NotReplaced::Condition(failed)))?;
        }
        Ok(old)
    }

    /// The old version's references and attributes go.
    fn take_away<R>(
        &self,
        rows: &Rows,
        old: Option<&ObjectRow>,
        adding: &Adding,
        now: UnixMs,
    ) -> Result<Vec<Write>, Refusal<R>> {
        let mut writes = self.dropping.writes(rows, adding, now, adding.referrer)?;
        if let Some(old) = old.filter(|old| old.attributes.is_none()) {
            writes.push(Write::Delete(attributes(old.version)));
        }
        Ok(writes)
    }

    fn count(&self, old: Option<&ObjectRow>, new: Option<&ObjectRow>) -> Vec<Write> {
        let objects = i64::from(new.is_some()) - i64::from(old.is_some());
        let bytes = new.map_or(0, |row| row.size as i64) - old.map_or(0, |row| row.size as i64);
        let mut writes = usage::add(Counted::Bucket(self.bucket.incarnation), objects, bytes);
        writes.extend(usage::add(Counted::Account(self.bucket.owner), objects, bytes));
        writes
    }
}
