//! Objects against objectives: rows are read, and nothing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expression::Subject;
use super::{Held, Rules, Scope, Standing, Wanted};
use crate::clock::UnixMs;
use crate::engine::{Key, Page};
use crate::extent::Number;
use crate::fault::Fault;
use crate::inventory::Inventory;
use crate::job::OrderError;
use crate::list::read_name;
use crate::name::BucketName;
use crate::namespace::Core;
use crate::table::extents::ExtentRow;
use crate::table::objects::{Attributes, Data, NAME_AT, ObjectRow, attributes, prefix as object_prefix};
use crate::table::uploads::{ManifestRow, PartRow, manifest, part as part_key};
use crate::table::{decode, decode_row, key};

/// Objectives, and what is the same for all objects that are judged by them.
pub(crate) struct Judge {
    pub rules: Rules,
    /// Bucket names by incarnation.
    buckets: BTreeMap<u64, BucketName>,
    inventory: Arc<Inventory>,
    /// What is taken over and was not passed yet: in which bucket, and what its keys begin with.
    unfilled: Vec<(u64, String)>,
    needs_attributes: bool,
    now: UnixMs,
}

/// An object, judged.
pub(crate) struct JudgedObject {
    pub wanted: Wanted,
    /// What each rule's condition says; none where the rule is not about it.
    pub conditions: Vec<Option<Result<bool, String>>>,
    pub extents: Vec<JudgedExtent>,
}

/// One of its extents.
pub(crate) struct JudgedExtent {
    pub id: Number,
    pub row: ExtentRow,
    pub standing: Standing,
}

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

    fn subject<'a>(
        &self,
        bucket: &'a str,
        key: &'a str,
        row: &'a ObjectRow,
        own: Option<&'a Attributes>,
    ) -> Subject<'a> {
        let content_type = own.and_then(|own| {
            let mut system = own.headers.system.iter();
            system.find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
        });
        Subject {
            bucket,
            key,
            size: row.size,
            modified: row.modified,
            now: self.now,
            storage_class: row.storage_class.as_deref().unwrap_or("STANDARD"),
            content_type: content_type.unwrap_or_default(),
            tags: own.map_or(&[], |own| &own.tags),
            metadata: own.map_or(&[], |own| &own.headers.user),
        }
    }

    fn standing(&self, (bucket, key): (u64, &str), wanted: &Wanted, own: bool, row: &ExtentRow) -> Standing {
        let held = Held { on: row.verified().map(|replica| replica.silo).collect(), bytes: row.size };
        let otherwise =
            || self.buckets.get(&bucket).map_or_else(Vec::new, |name| self.inventory.meant_for(name, row.size));
        let standing = self.rules.standing(wanted, &held, otherwise);
        let Standing::Moves { by, .. } = standing else { return standing };
        let unfilled = |(of, into): &(u64, String)| *of == bucket && key.starts_with(into.as_str());
        let reason = if !own {
            "they are the bytes of another object, too, and move with that"
        } else if self.unfilled.iter().any(unfilled) {
            "nothing that is taken over moves before it was passed once, headers and all"
        } else {
            return standing;
        };
        Standing::Waits { by, reason: reason.to_owned() }
    }
}

impl Core {
    /// Objectives as they stand now.
    pub(crate) async fn objectives(&self, on: &Scope) -> Result<Judge, Fault> {
        let inventory = self.inventory();
        let rules = inventory.rules()?;
        let buckets = self.bucket_rows().await?.into_iter().map(|(name, row)| (row.incarnation, name)).collect();
        let roots = crate::inventory::load_roots(&*self.engine).await?;
        let unfilled = roots.into_iter().filter(|root| !root.info.filled);
        let unfilled = unfilled.map(|root| (root.bucket, root.info.order.into)).collect();
        let needs_attributes = rules.need_attributes(on);
        Ok(Judge { rules, buckets, inventory, unfilled, needs_attributes, now: self.clock.now() })
    }

    /// Judges the objects of a page.
    pub(crate) async fn judged(&self, judge: &Judge, page: &Page) -> Result<Vec<JudgedObject>, Fault> {
        let mut judged = Vec::with_capacity(page.len());
        for (key, bytes) in page {
            let row: ObjectRow = decode(bytes)?;
            let incarnation = incarnation_of(key)?;
            // One that is being deleted.
            let Some(bucket) = judge.buckets.get(&incarnation) else { continue };
            let name = read_name(&key[NAME_AT..])?;
            let own = if judge.needs_attributes { self.attributes_of(&row).await? } else { None };
            let subject = judge.subject(bucket.as_str(), &name, &row, own.as_ref());
            let conditions = judge.rules.conditions(&subject);
            let wanted = judge.rules.wanted(&conditions);
            let referrers = self.made_of(&row).await?;
            let rows = self.extents(referrers.keys().copied().collect::<BTreeSet<_>>()).await?;
            let extents = rows.into_iter().map(|(id, row)| {
                let own = row.first.is_some() && row.first == referrers.get(&id).copied().flatten();
                let standing = judge.standing((incarnation, &name), &wanted, own, &row);
                JudgedExtent { id, row, standing }
            });
            let extents = extents.collect();
            judged.push(JudgedObject { wanted, conditions, extents });
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
