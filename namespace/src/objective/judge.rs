//! Objects against objectives: rows are read, and nothing changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::expression::{Needs, Subject};
use super::{Held, Rules, Scope, Standing, Wanted, Way};
use crate::clock::UnixMs;
use crate::engine::{Key, Page};
use crate::extent::{JobId, Location, Number};
use crate::fault::Fault;
use crate::heat::Heat;
use crate::inventory::Inventory;
use crate::job::OrderError;
use crate::list::read_name;
use crate::name::BucketName;
use crate::namespace::Core;
use crate::table::extents::ExtentRow;
use crate::table::objects::{Attributes, Data, NAME_AT, ObjectRow, attributes, prefix as object_prefix};
use crate::table::uploads::{ManifestRow, PartRow, manifest, part as part_key};
use crate::table::{after_prefix, decode, decode_row, key};

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
}

/// An object, judged.
pub(crate) struct JudgedObject {
    pub wanted: Wanted,
    /// What each rule's condition says; none where the rule is not about it.
    pub conditions: Vec<Option<Result<bool, String>>>,
    pub extents: Vec<JudgedExtent>,
    /// How it is read, where that is asked.
    pub heat: Option<Heat>,
}

/// One of its extents.
#[derive(Debug)]
pub(crate) struct JudgedExtent {
    pub id: Number,
    pub row: ExtentRow,
    /// Its bytes were written for this object.
    pub own: bool,
    pub standing: Standing,
}

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
        &self,
        (bucket, key): (&'a str, &'a str),
        row: &'a ObjectRow,
        own: Option<&'a Attributes>,
        heat: Option<Heat>,
    ) -> Subject<'a> {
        let subject = Subject { size: row.size, modified: row.modified, now: self.now, heat, ..Subject::default() };
        subject.of(bucket, key, row.storage_class.as_deref(), own)
    }

    fn standing(&self, (bucket, key): (u64, &str), wanted: &Wanted, own: bool, row: &ExtentRow) -> Standing {
        let left = self.inventory.left_verified(row);
        let held = Held { on: left.iter().map(|replica| replica.silo).collect(), bytes: row.size };
        let otherwise = || {
            self.buckets.get(&bucket).map_or_else(Vec::new, |name| self.inventory.meant_for(name.as_str(), row.size))
        };
        let standing = self.rules.standing(wanted, &held, otherwise);
        if let Standing::Waits { by, .. } = standing
            && left.is_empty()
        {
            return Standing::Waits {
                by,
                reason: "they went with a silo that is lost, and no other has them".to_owned(),
            };
        }
        let Some(Way { by, .. }) = standing.way() else { return standing };
        let in_place = || row.verified().any(|replica| matches!(replica.location, Location::InPlace { .. }));
        let unfilled = |(of, into): &(u64, String)| *of == bucket && key.starts_with(into.as_str());
        let covers =
            |(on, _): &&(Scope, JobId)| self.buckets.get(&bucket).is_some_and(|name| on.covers(name.as_str(), key));
        let reason = if !own {
            SHARED.to_owned()
        } else if matches!(standing, Standing::Copies { .. }) && in_place() {
            "what lies where others put it has no copies before it is moved".to_owned()
        } else if self.unfilled.iter().any(unfilled) {
            "nothing that is taken over moves before it was passed once, headers and all".to_owned()
        } else if let Some((_, job)) = self.busy.iter().find(covers) {
            format!("job {job} is about them now")
        } else {
            return standing;
        };
        Standing::Waits { by, reason }
    }
}

impl Core {
    /// Objectives in force as they stand now.
    pub(crate) async fn objectives(&self, on: &Scope) -> Result<Judge, Fault> {
        let inventory = self.inventory();
        let rules = inventory.rules()?;
        self.judge_by(inventory, rules, on).await
    }

    /// One who judges by these rules.
    pub(crate) async fn judge_by(&self, inventory: Arc<Inventory>, rules: Rules, on: &Scope) -> Result<Judge, Fault> {
        let buckets = self.bucket_rows().await?.into_iter().map(|(name, row)| (row.incarnation, name)).collect();
        let roots = crate::inventory::load_roots(&*self.engine).await?;
        let unfilled = roots.into_iter().filter(|root| !root.info.filled);
        let unfilled = unfilled.map(|root| (root.bucket, root.info.order.into)).collect();
        let needs = rules.need(on);
        Ok(Judge { rules, buckets, inventory, unfilled, busy: Vec::new(), needs, now: self.clock.now() })
    }

    /// Judges the objects of a page.
    pub(crate) async fn judged(&self, judge: &Judge, page: &Page) -> Result<Vec<JudgedObject>, Fault> {
        let mut judged = Vec::with_capacity(page.len());
        let keys = page.iter().map(|(key, _)| &key[..]);
        let heats = if judge.needs.heat { self.heats(keys).await? } else { vec![None; page.len()] };
        for ((key, bytes), heat) in page.iter().zip(heats) {
            let row: ObjectRow = decode(bytes)?;
            let incarnation = incarnation_of(key)?;
            // One that is being deleted.
            let Some(bucket) = judge.buckets.get(&incarnation) else { continue };
            let name = read_name(&key[NAME_AT..])?;
            let own = if judge.needs.attributes { self.attributes_of(&row).await? } else { None };
            // Written anew since the page was read, and compared with that.
            if judge.needs.attributes && own.is_none() {
                continue;
            }
            let subject = judge.subject((bucket.as_str(), &name), &row, own.as_ref(), heat);
            let conditions = judge.rules.conditions(&subject);
            let wanted = judge.rules.wanted(&conditions);
            let referrers = self.made_of(&row).await?;
            let rows = self.extents(referrers.keys().copied().collect::<BTreeSet<_>>()).await?;
            let extents = rows.into_iter().map(|(id, row)| {
                let own = row.first.is_some() && row.first == referrers.get(&id).copied().flatten();
                let standing = judge.standing((incarnation, &name), &wanted, own, &row);
                JudgedExtent { id, row, own, standing }
            });
            let extents = extents.collect();
            judged.push(JudgedObject { wanted, conditions, extents, heat });
        }
        Ok(judged)
    }

    async fn attributes_of(&self, row: &ObjectRow) -> Result<Option<Attributes>, Fault> {
        match &row.attributes {
            Some(own) => Ok(Some(own.clone())),
            None => decode_row(self.engine.get(&[attributes(row.version)]).await?[0].as_ref()),
        }
    }

    /// The extents of a version, each with the one that its bytes were written for where that is this version: what it shares
    /// with others moves with theirs.
    async fn made_of(&self, row: &ObjectRow) -> Result<BTreeMap<Number, Option<Number>>, Fault> {
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

fn incarnation_of(key: &[u8]) -> Result<u64, Fault> {
    let bytes = key.get(1..9).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| Fault::Damaged("an object's key".to_owned()))
}
