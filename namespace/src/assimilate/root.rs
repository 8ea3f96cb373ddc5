//! Roots: ordered, shown, confirmed, forgotten.

use std::ops::Range;
use std::sync::Arc;

use holdall_silos::holdings::{Found, Holdings};

use super::find::held;
use super::{Assimilate, AssimilateError, Counts, Noted, Refused, Reorder, RootInfo, Survey, often};
use crate::bucket::Bucket;
use crate::census::home_row;
use crate::engine::{self, Key, Read, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::{Inventory, load_roots};
use crate::limits::{ASSIMILATED_AT_ONCE, BACKGROUND_ROWS, COMMIT_TRIES, LIST_PAGE, MAX_ROOTS, SURVEYED};
use crate::namespace::{Core, Namespace};
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::projections::intents;
use crate::table::roots::{RootId, RootRow, next_root, root as root_key};
use crate::table::silos::revision;
use crate::table::usage;
use crate::table::{after_prefix, decode_row, encode, names, objects, successor};

/// Refused names that a survey tells.
const TOLD: usize = 20;

impl Namespace {
    /// Orders a root; its first pass begins at once. Nothing is written to the silo, now or later, unless the order says so.
    pub async fn assimilate(&self, order: Assimilate) -> Result<RootInfo, AssimilateError> {
        let (silo, holdings) = self.core.foreign(&order)?;
        self.core.refuse_overlap(&order)?;
        let bucket = self.bucket(&order.bucket).await;
        let bucket = bucket.map_err(|_| AssimilateError::NoSuchBucket(order.bucket.to_string()))?;
        if self.is_inventory(&bucket).await? {
            return Err(for_inventory(&order));
        }
        let unreachable = |error| Fault::Unavailable(format!("silo `{}`: {error}", order.silo));
        holdings.identity().await.map_err(unreachable)?;
        // What an earlier root of these names knew is not this one's.
        self.core.forget_names(silo, &order.prefix).await?;
        // Passes of other roots note how far they came, each time as a change.
        for _ in 0..COMMIT_TRIES {
            if let Some(info) = self.core.add_root(&order, silo, &bucket).await? {
                self.core.refresh_inventory(true).await?;
                self.core.looking.wanted.notify_one();
                tracing::info!(root = info.id, order = %info.order, "assimilation ordered");
                return Ok(info);
            }
            self.core.refresh_inventory(true).await?;
        }
        Err(Fault::Unavailable("silos and roots are changed too often".to_owned()).into())
    }
}

impl Core {
    /// Adds a root, unless silos or roots were changed meanwhile: what is refused for its overlap and what is committed are
    /// of the same roots.
    async fn add_root(
        &self,
        order: &Assimilate,
        silo: SiloId,
        bucket: &Bucket,
    ) -> Result<Option<RootInfo>, AssimilateError> {
        let settled = self.refuse_overlap(order)?;
        // Keys that an earlier root made may lack headers still.
        let keys = objects::prefix(bucket.incarnation, &order.into);
        let none =
            self.engine.range(keys.clone()..after_prefix(&keys), 1, usize::MAX).await.map_err(Fault::from)?.is_empty();
        let in_part = if none { 0 } else { often() };
        let (now, incarnation, order) = (self.clock.now(), bucket.incarnation, order.clone());
        let decide = move |rows: &Rows| -> Result<_, AssimilateError> {
            if usage::read(rows.get(&revision())) != settled {
                return Ok((Vec::new(), None));
            }
            let lives: Option<BucketRow> = decode_row(rows.get(&bucket_key(&order.bucket)))?;
            if lives.is_none_or(|row| row.incarnation != incarnation) {
                return Err(AssimilateError::NoSuchBucket(order.bucket.to_string()));
            }
            if decode_row(rows.get(&home_row()))? == Some(incarnation) {
                return Err(for_inventory(&order));
            }
            let id: RootId = decode_row(rows.get(&next_root()))?.unwrap_or(1);
            let info = RootInfo { in_part, ..RootInfo::new(id, order.clone(), now) };
            let row = RootRow { info: info.clone(), silo, bucket: incarnation, owner: 0 };
            let writes = vec![
                Write::Put(next_root(), encode(&(id + 1))),
                Write::Put(root_key(id), row.encode()),
                Write::Add(revision(), 1),
            ];
            Ok((writes, Some(info)))
        };
        let reads = [next_root(), revision(), bucket_key(&bucket.name), home_row()].map(Read::Row).to_vec();
        engine::commit(&*self.engine, reads, decide).await.map_err(refused)
    }
}

impl Namespace {
    /// What an order would take over: looks at some of the names and changes nothing.
    pub async fn survey(&self, order: &Assimilate) -> Result<Survey, AssimilateError> {
        let (_, holdings) = self.core.foreign(order)?;
        self.core.refuse_overlap(order)?;
        let unreachable = |error| Fault::Unavailable(format!("silo `{}`: {error}", order.silo));
        let (mut survey, mut walk) = (Survey::default(), holdings.walk(order.prefix.as_bytes(), None));
        while survey.names < SURVEYED {
            let page = walk.next(ASSIMILATED_AT_ONCE).await.map_err(unreachable)?;
            survey.complete = page.is_empty();
            if survey.complete {
                break;
            }
            for found in page {
                survey.count(order, found);
            }
        }
        Ok(survey)
    }

    /// All roots, by number.
    pub async fn roots(&self) -> Result<Vec<RootInfo>, Fault> {
        Ok(load_roots(&*self.engine).await?.into_iter().map(|row| row.info).collect())
    }

    /// One root.
    pub async fn root(&self, id: RootId) -> Result<RootInfo, AssimilateError> {
        Ok(self.core.root_row(id).await?.ok_or(AssimilateError::NoSuchRoot(id))?.info)
    }

    /// Names of a root that are no objects, and why: at most `limit`, after the one that is `at` there.
    pub async fn refused_names(&self, id: RootId, at: &str, limit: usize) -> Result<Vec<Refused>, AssimilateError> {
        let row = self.core.root_row(id).await?.ok_or(AssimilateError::NoSuchRoot(id))?;
        let after = const_hex::decode(at).map_err(|_| AssimilateError::Invalid(format!("`{at}` ends no page")))?;
        Ok(self.core.refused_names(&row, after, limit).await?)
    }

    /// Changes how a root is followed, and looks at all of it again soon.
    pub async fn reorder(&self, id: RootId, reorder: Reorder) -> Result<RootInfo, AssimilateError> {
        let row = self.core.root_row(id).await?.ok_or(AssimilateError::NoSuchRoot(id))?;
        reorder.applied(&row.info.order).check()?;
        let changed = self.core.change_root(id, move |row| {
            let (before, info) = (row.info.order.clone(), &mut row.info);
            info.order = reorder.applied(&before);
            // What is left out no more was never looked at.
            let back = before.without.iter().filter(|name| !info.order.without.contains(name));
            let back = back.map(|name| Noted { name: name.clone(), reason: "it was left out before".to_owned() });
            let back: Vec<Noted> = back.collect();
            if !back.is_empty() {
                info.unread.extend(back);
                info.at.clear();
            }
        });
        let info = changed.await?.ok_or(AssimilateError::NoSuchRoot(id))?.info;
        self.core.refresh_inventory(true).await?;
        self.core.touch_all(id);
        tracing::info!(root = id, order = %info.order, "a root is followed otherwise");
        Ok(info)
    }

    /// Lets the next pass take away what is gone, however much it is, and whatever else is there, and begins it.
    pub async fn confirm_root(&self, id: RootId) -> Result<RootInfo, AssimilateError> {
        let changed = self.core.change_root(id, |row| {
            row.info.confirmed = row.info.gone;
            row.info.passed = None;
            row.info.sample.clear();
        });
        let info = changed.await?.ok_or(AssimilateError::NoSuchRoot(id))?.info;
        held(&self.core.looking.resting).remove(&id);
        self.core.looking.wanted.notify_one();
        Ok(info)
    }

    /// Follows a root no more. Objects made of it stay, and so do their bytes, where they are.
    pub async fn forget_root(&self, id: RootId) -> Result<(), AssimilateError> {
        let row = self.core.root_row(id).await?.ok_or(AssimilateError::NoSuchRoot(id))?;
        let under_way = intents(row.silo, row.info.order.prefix.as_bytes());
        let under_way = under_way.clone()..after_prefix(&under_way);
        let reads = vec![Read::Empty(under_way.clone())];
        let decide = move |rows: &Rows| {
            let writes = vec![Write::Delete(root_key(id)), Write::Add(revision(), 1)];
            Ok::<_, Fault>(if rows.empty[0] { (writes, true) } else { (Vec::new(), false) })
        };
        if !engine::commit(&*self.engine, reads, decide).await.map_err(Fault::from)? {
            let count = self.core.engine.range(under_way, LIST_PAGE, usize::MAX).await.map_err(Fault::from)?.len();
            return Err(AssimilateError::UnderWay { id, count });
        }
        self.core.projecting.forget(id);
        self.core.refresh_inventory(true).await?;
        self.core.forget_names(row.silo, &row.info.order.prefix).await?;
        Ok(())
    }
}

fn for_inventory(order: &Assimilate) -> AssimilateError {
    AssimilateError::Invalid(format!("`{}` is for the inventory alone", order.bucket))
}

fn refused(error: engine::NotCommitted<AssimilateError>) -> AssimilateError {
    match error {
        engine::NotCommitted::Refused(refused) => refused,
        engine::NotCommitted::Engine(error) => Fault::from(error).into(),
    }
}

impl RootInfo {
    /// Nothing was seen yet.
    pub(crate) fn new(id: RootId, order: Assimilate, created: i64) -> Self {
        Self {
            id,
            order,
            created,
            complete: false,
            filled: false,
            at: String::new(),
            seen: Vec::new(),
            unread: Vec::new(),
            unlooked: Vec::new(),
            passes: 0,
            passed: None,
            counts: Counts::default(),
            problem: None,
            gone: 0,
            confirmed: 0,
            unfilled: None,
            in_part: 0,
            sample: Vec::new(),
        }
    }
}

impl Reorder {
    fn applied(&self, order: &Assimilate) -> Assimilate {
        let Self { every_seconds, partial_lists, watch, without, rate } = self.clone();
        Assimilate {
            every_seconds: every_seconds.unwrap_or(order.every_seconds),
            partial_lists: partial_lists.unwrap_or(order.partial_lists),
            watch: watch.unwrap_or(order.watch),
            without: without.unwrap_or_else(|| order.without.clone()),
            rate: rate.or(order.rate).filter(|rate| *rate > 0),
            ..order.clone()
        }
    }
}

impl Survey {
    fn count(&mut self, order: &Assimilate, found: Found) {
        if order.leaves_out(found.name()) {
            return;
        }
        let refused = match found {
            Found::Held(held) => match order.key_for(&held) {
                Ok(_) => {
                    self.names += 1;
                    self.bytes += held.size;
                    return;
                }
                Err(reason) => (held.name, reason),
            },
            Found::Refused { name, reason } | Found::Archived { name, reason } | Found::Unread { name, reason } => {
                (name, reason)
            }
        };
        if self.refused.len() < TOLD {
            self.refused.push(Noted::of(&refused.0, refused.1));
        }
    }
}

impl Refused {
    fn of(name: &[u8], reason: String) -> Self {
        let Noted { name: shown, reason } = Noted::of(name, reason);
        Self { name: shown, reason, at: const_hex::encode(name) }
    }
}

impl Noted {
    pub(crate) fn of(name: &[u8], reason: String) -> Self {
        Self { name: String::from_utf8_lossy(name).into_owned(), reason }
    }
}

impl Core {
    /// A silo of others.
    fn foreign(&self, order: &Assimilate) -> Result<(SiloId, Arc<dyn Holdings>), AssimilateError> {
        let (inventory, name) = (self.inventory(), &*order.silo);
        let open = inventory.named(name).ok_or_else(|| AssimilateError::NoSuchSilo(name.to_owned()))?;
        let holdings = open.holdings.clone().ok_or_else(|| AssimilateError::Own(name.to_owned()))?;
        if order.write && open.projections.is_none() {
            return Err(AssimilateError::ReadOnly(name.to_owned()));
        }
        Ok((open.id, holdings))
    }

    /// Answers at which revision nothing is in an order's way.
    fn refuse_overlap(&self, order: &Assimilate) -> Result<i64, AssimilateError> {
        let inventory = self.inventory();
        if inventory.roots.len() >= MAX_ROOTS {
            return Err(AssimilateError::Invalid(format!("a namespace has at most {MAX_ROOTS} roots")));
        }
        order.check()?;
        overlap(order, &inventory).map(|()| inventory.revision)
    }

    pub(crate) async fn root_row(&self, id: RootId) -> Result<Option<RootRow>, Fault> {
        self.engine.get(&[root_key(id)]).await?[0].as_ref().map(RootRow::decode).transpose()
    }

    /// Changes a root's row; none where there is no such root.
    pub(super) async fn change_root(
        &self,
        id: RootId,
        change: impl Fn(&mut RootRow) + Send + Sync + 'static,
    ) -> Result<Option<RootRow>, Fault> {
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let Some(row) = rows.get(&root_key(id)) else { return Ok((Vec::new(), None)) };
            let mut row = RootRow::decode(row)?;
            let before = (row.info.complete, row.info.filled, row.info.order.clone());
            change(&mut row);
            let mut writes = vec![Write::Put(root_key(id), row.encode())];
            if (row.info.complete, row.info.filled, &row.info.order) != (before.0, before.1, &before.2) {
                writes.push(Write::Add(revision(), 1));
            }
            Ok((writes, Some(row)))
        };
        Ok(engine::commit(&*self.engine, vec![Read::Row(root_key(id))], decide).await?)
    }

    async fn refused_names(&self, row: &RootRow, mut after: Vec<u8>, limit: usize) -> Result<Vec<Refused>, Fault> {
        let mut refused = Vec::new();
        while refused.len() < limit {
            let known = self.known_names(row, &row.info.order.prefix, &after, None, LIST_PAGE).await?;
            let Some((last, _)) = known.last() else { break };
            after.clone_from(last);
            refused.extend(known.iter().filter_map(|(name, row)| match &row.state {
                names::NameState::Refused(reason) => Some(Refused::of(name, reason.clone())),
                _ => None,
            }));
        }
        refused.truncate(limit);
        Ok(refused)
    }

    /// Takes the rows of names out that no root has any more, some at a time. Each commit is as of the roots that there are
    /// then: what a newer one knows of its names stays.
    async fn forget_names(&self, silo: SiloId, prefix: &str) -> Result<(), Fault> {
        let prefix = names::prefix(silo, prefix.as_bytes());
        let (mut at, end) = (prefix.clone(), after_prefix(&prefix));
        while let Some(next) = self.forget_some_names(silo, at..end.clone()).await? {
            at = next;
        }
        Ok(())
    }

    /// Some of the rows in a range of names; answers where the next begin.
    async fn forget_some_names(&self, silo: SiloId, range: Range<Key>) -> Result<Option<Key>, Fault> {
        let begin = range.start.clone();
        let page = self.engine.range(range, BACKGROUND_ROWS, usize::MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        let next = successor(last);
        let settled = usage::read(self.engine.get(&[revision()]).await?[0].as_ref());
        let roots = load_roots(&*self.engine).await?;
        let roots = roots.into_iter().filter(|row| row.silo == silo);
        let kept: Vec<Key> = roots.map(|row| names::prefix(silo, row.info.order.prefix.as_bytes())).collect();
        let gone = page.into_iter().filter(|(key, _)| !kept.iter().any(|prefix| key.starts_with(prefix)));
        let writes: Vec<Write> = gone.map(|(key, _)| Write::Delete(key.to_vec())).collect();
        if writes.is_empty() {
            return Ok(Some(next));
        }
        let decide = move |rows: &Rows| {
            let stands = usage::read(rows.get(&revision())) == settled;
            Ok::<_, Fault>((if stands { writes.clone() } else { Vec::new() }, stands))
        };
        let reads = vec![Read::Row(revision())];
        let stood = engine::commit_as(&*self.engine, engine::Priority::Background, reads, decide).await?;
        Ok(Some(if stood { next } else { begin }))
    }
}

/// No two roots have names or keys in common.
fn overlap(order: &Assimilate, inventory: &Inventory) -> Result<(), AssimilateError> {
    let nested = |one: &str, other: &str| one.starts_with(other) || other.starts_with(one);
    for row in &inventory.roots {
        let other = &row.info.order;
        let overlaps = |what| AssimilateError::Overlaps { what, other: row.info.id, order: Box::new(other.clone()) };
        if other.silo == order.silo && nested(&other.prefix, &order.prefix) {
            return Err(overlaps(format!("{}:{}", order.silo, order.prefix)));
        }
        if other.bucket == order.bucket && nested(&other.into, &order.into) {
            return Err(overlaps(format!("s3://{}/{}", order.bucket, order.into)));
        }
    }
    Ok(())
}
