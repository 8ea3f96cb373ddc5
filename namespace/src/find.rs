//! Finding objects by what is known of them: a walk of the index, a page at a time, in constant memory. No silo is asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::bucket::{Bucket, show};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{Number, SiloId};
use crate::fault::Fault;
use crate::heat::Heat;
use crate::inventory::Inventory;
use crate::job::{OrderError, next_page};
use crate::list::read_name;
use crate::namespace::{Core, Namespace};
use crate::object::Pairs;
use crate::objective::expression::{Condition, Needs, Subject, Wrong};
use crate::objective::{Scope, Seen};
use crate::table::extents::ExtentRow;
use crate::table::objects::{Attributes, Data, NAME_AT, ObjectRow, attributes, prefix};
use crate::table::{after_prefix, decode, decode_row};

/// How often an object is looked at that is written anew meanwhile.
const TRIES: usize = 8;
/// Why one is not known after that.
const RESTLESS: &str = "it is written too often, or the index lacks what it is made of (`holdall check`)";

/// What is known of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// ETag.
    pub etag: String,
    /// Last-Modified.
    pub modified: UnixMs,
    /// `STANDARD` where none was named.
    pub storage_class: String,
    /// Where one was sent.
    pub content_type: Option<String>,
    /// Tags.
    pub tags: Pairs,
    /// `x-amz-meta-…`, without the prefix.
    pub metadata: Pairs,
    /// What people say of it.
    pub labels: Pairs,
    /// Silos, by name, that have a verified copy of all of its bytes.
    pub silos: Vec<String>,
    /// Verified copies of those of its bytes that have the fewest; 0 of an object without bytes.
    pub copies: u32,
    /// How it is read; none where nobody did, as far as is written down.
    pub heat: Option<Heat>,
}

/// What a search asks.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// The part of the namespace that is searched.
    pub on: Scope,
    /// A condition; all objects are meant without one.
    pub condition: Option<String>,
    /// Only how many there are and their bytes is asked: of [`Found`] the size is known, and the rest may be missing.
    pub only_size: bool,
}

/// Objects that a condition could not be asked about, or of which nothing is known. To those it does not apply, and they are not found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unclear {
    /// How many.
    pub objects: u64,
    /// The first one, and why.
    pub first: Option<(String, String)>,
}

/// A search under way. It costs nothing between two pages.
pub struct Search {
    core: Arc<Core>,
    condition: Option<Condition>,
    only_size: bool,
    now: UnixMs,
    /// Silos as they were when it began.
    seen: Seen,
    left: VecDeque<Stretch>,
    /// Objects that were looked at.
    pub looked_at: u64,
    /// Of those, what the condition could not be asked about, and what could not be looked at.
    pub unclear: Unclear,
}

/// Objects of a bucket that were not looked at yet.
struct Stretch {
    bucket: Bucket,
    prefix: String,
    at: Key,
    end: Key,
}

/// A row of the objects table.
pub(crate) type Row = (Bytes, ObjectRow);

impl Namespace {
    /// Looks for objects. Refuses a condition that makes no sense, with its place, and a bucket that there is not.
    pub async fn search(&self, question: &Question) -> Result<Search, OrderError> {
        let condition = question.condition.as_deref().map(Condition::of_search).transpose();
        let (refuse, inventory) = (|wrong: Wrong| OrderError::Invalid(wrong.to_string()), self.core.inventory());
        let condition = condition.map_err(refuse)?;
        inventory.refuse_unknown(condition.as_ref()).map_err(refuse)?;
        let (on, seen) = (&question.on, inventory.seen());
        let buckets = match &on.bucket {
            Some(bucket) => vec![self.bucket_of(bucket).await?],
            None => self.core.bucket_rows().await?.into_iter().map(|(name, row)| show(name, row)).collect(),
        };
        let left = buckets.into_iter().map(|bucket| Stretch::of(bucket, &on.prefix)).collect();
        let (core, now, only_size) = (Arc::clone(&self.core), self.core.clock.now(), question.only_size);
        Ok(Search { core, condition, only_size, now, seen, left, looked_at: 0, unclear: Unclear::default() })
    }
}

impl Stretch {
    fn of(bucket: Bucket, keys: &str) -> Self {
        let at = prefix(bucket.incarnation, keys);
        Self { end: after_prefix(&at), at, bucket, prefix: keys.to_owned() }
    }
}

impl Search {
    /// What was found on the next page, in the order of buckets and keys, which may be nothing; `None` at the end. Where something is
    /// being taken over, it is waited for as a list does, and refused where that takes too long.
    pub async fn next(&mut self) -> Result<Option<Vec<Found>>, Fault> {
        let Some((bucket, rows)) = self.page().await? else { return Ok(None) };
        self.looked_at += rows.len() as u64;
        let enough = if self.only_size { Needs::default() } else { Needs::ALL };
        let needs = self.condition.as_ref().map_or(enough, Condition::needs);
        let mut meant = self.look(&bucket, rows, needs).await?;
        if needs.and(enough) != needs && !meant.is_empty() {
            // What was written anew since may be meant no more.
            let rows = meant.into_iter().map(|(row, _)| row).collect();
            meant = self.look(&bucket, rows, needs.and(enough)).await?;
        }
        Ok(Some(meant.into_iter().map(|(_, found)| found).collect()))
    }

    /// Those of these objects that are meant, with what is needed of them; the rest is noted where it is unclear.
    async fn look(&mut self, bucket: &Bucket, rows: Vec<Row>, needs: Needs) -> Result<Vec<(Row, Found)>, Fault> {
        let (known, restless) = self.core.facts_of(bucket, rows, needs).await?;
        for key in restless {
            self.unclear.add(bucket.name.as_str(), &key, RESTLESS.to_owned());
        }
        let mut meant = Vec::with_capacity(known.len());
        for (row, known) in known {
            match self
                .condition
                .as_ref()
                .map_or(Ok(true), |condition| condition.holds(&known.subject(self.now, &self.seen)))
            {
                Ok(true) => meant.push((row, known)),
                Ok(false) => {}
                Err(reason) => self.unclear.add(&known.bucket, &known.key, reason),
            }
        }
        Ok(meant)
    }

    async fn page(&mut self) -> Result<Option<(Bucket, Vec<Row>)>, Fault> {
        while let Some(stretch) = self.left.front_mut() {
            if stretch.at == prefix(stretch.bucket.incarnation, &stretch.prefix) {
                self.core.all_seen(&stretch.bucket, &stretch.prefix).await?;
            }
            if let Some(page) = next_page(&self.core, &mut stretch.at, &stretch.end).await? {
                let rows = page.into_iter().map(|(key, row)| Ok((key, decode(&row)?)));
                return Ok(Some((stretch.bucket.clone(), rows.collect::<Result<_, Fault>>()?)));
            }
            self.left.pop_front();
        }
        Ok(None)
    }
}

impl Unclear {
    /// The first one, and why, in a line.
    pub fn example(&self) -> Option<String> {
        self.first.as_ref().map(|(object, reason)| format!("{object}: {reason}"))
    }

    fn add(&mut self, bucket: &str, key: &str, reason: String) {
        self.objects += 1;
        self.first.get_or_insert_with(|| (format!("s3://{bucket}/{key}"), reason));
    }
}

impl Found {
    /// As conditions see it.
    fn subject<'a>(&'a self, now: UnixMs, seen: &'a Seen) -> Subject<'a> {
        Subject {
            bucket: &self.bucket,
            key: &self.key,
            size: self.size,
            modified: self.modified,
            now,
            storage_class: &self.storage_class,
            content_type: self.content_type.as_deref().unwrap_or_default(),
            heat: self.heat,
            tags: &self.tags,
            metadata: &self.metadata,
            labels: &self.labels,
            seen: Some(seen),
            etag: &self.etag,
            silos: &self.silos,
            copies: self.copies,
        }
    }
}

/// Where an object's bytes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Held {
    /// Silos that have all of them.
    silos: BTreeSet<SiloId>,
    /// Copies of those that have the fewest.
    copies: usize,
}

impl Held {
    /// By where its extents are; none where one is gone, since the object was written anew.
    fn over(extents: impl Iterator<Item = Option<BTreeSet<SiloId>>>) -> Option<Self> {
        let mut held: Option<Self> = None;
        for silos in extents {
            let silos = silos?;
            held = Some(match held {
                None => Self { copies: silos.len(), silos },
                Some(held) => Self { copies: held.copies.min(silos.len()), silos: &held.silos & &silos },
            });
        }
        Some(held.unwrap_or_default())
    }

    fn names(&self, inventory: &Inventory) -> Vec<String> {
        let mut names: Vec<String> = self.silos.iter().map(|id| inventory.name_of(*id)).collect();
        names.sort();
        names
    }
}

impl Core {
    /// What is known of objects of a bucket, as far as it is needed. What is written anew meanwhile is looked at anew; keys that are
    /// not known after that come second. What is deleted meanwhile is left out.
    async fn facts_of(
        &self,
        bucket: &Bucket,
        rows: Vec<Row>,
        needs: Needs,
    ) -> Result<(Vec<(Row, Found)>, Vec<String>), Fault> {
        let (mut found, mut rows) = (Vec::with_capacity(rows.len()), rows);
        for _ in 0..TRIES {
            let known = self.know(bucket, &rows, needs).await?;
            let mut again = Vec::new();
            for (row, known) in rows.into_iter().zip(known) {
                match known {
                    Some(known) => found.push((row, known)),
                    None => again.push(row.0.to_vec()),
                }
            }
            let read = self.engine.get(&again).await?;
            let read = again.into_iter().zip(read).filter_map(|(key, row)| Some((Bytes::from(key), row?)));
            rows = read.map(|(key, row)| Ok((key, decode(&row)?))).collect::<Result<_, Fault>>()?;
            if rows.is_empty() {
                break;
            }
        }
        found.sort_by(|((one, _), _), ((other, _), _)| one.cmp(other));
        let restless = rows.iter().map(|(key, _)| read_name(&key[NAME_AT..])).collect::<Result<_, Fault>>()?;
        Ok((found, restless))
    }

    /// What is known of each; none where it was written anew since its row was read.
    async fn know(&self, bucket: &Bucket, rows: &[Row], needs: Needs) -> Result<Vec<Option<Found>>, Fault> {
        let keys = || rows.iter().map(|(key, _)| &key[..]);
        let heats = if needs.heat { self.heats(keys()).await? } else { vec![None; rows.len()] };
        let labels = if needs.labels { self.all_labels(keys()).await? } else { vec![Pairs::new(); rows.len()] };
        let own = if needs.attributes {
            self.all_attributes(rows).await?
        } else {
            vec![Some(Attributes::default()); rows.len()]
        };
        let held = if needs.held { self.held(rows).await? } else { vec![Some(Held::default()); rows.len()] };
        let inventory = self.inventory();
        let mut all = Vec::with_capacity(rows.len());
        for (((((key, row), heat), labels), own), held) in rows.iter().zip(heats).zip(labels).zip(own).zip(held) {
            let (Some(own), Some(held)) = (own, held) else {
                all.push(None);
                continue;
            };
            let mut system = own.headers.system.into_iter();
            let content_type = system.find(|(name, _)| name == "content-type").map(|(_, value)| value);
            all.push(Some(Found {
                bucket: bucket.name.to_string(),
                key: read_name(&key[NAME_AT..])?,
                size: row.size,
                etag: row.etag.text(),
                modified: row.modified,
                storage_class: row.storage_class.clone().unwrap_or_else(|| "STANDARD".to_owned()),
                content_type,
                tags: own.tags,
                metadata: own.headers.user,
                labels,
                silos: held.names(&inventory),
                copies: u32::try_from(held.copies).unwrap_or(u32::MAX),
                heat,
            }));
        }
        Ok(all)
    }

    /// What may stand in rows of their own, of objects with these rows; none where one was written anew since.
    pub(crate) async fn all_attributes(&self, rows: &[Row]) -> Result<Vec<Option<Attributes>>, Fault> {
        let apart = rows.iter().filter(|(_, row)| row.attributes.is_none());
        let apart: Vec<Key> = apart.map(|(_, row)| attributes(row.version)).collect();
        let mut apart = self.engine.get(&apart).await?.into_iter();
        let own = |(_, row): &Row| match &row.attributes {
            Some(own) => Ok(Some(own.clone())),
            None => decode_row(apart.next().flatten().as_ref()),
        };
        rows.iter().map(own).collect()
    }

    async fn held(&self, rows: &[Row]) -> Result<Vec<Option<Held>>, Fault> {
        let slices = rows.iter().filter_map(|(_, row)| match &row.data {
            Data::Slices(slices) => Some(slices),
            Data::Manifest(_) => None,
        });
        let ids: BTreeSet<Number> = slices.flatten().map(|slice| slice.extent).collect();
        let plain = self.silos_of(ids).await?;
        let mut all = Vec::with_capacity(rows.len());
        for (_, row) in rows {
            all.push(match &row.data {
                Data::Slices(slices) => Held::over(slices.iter().map(|slice| plain.get(&slice.extent).cloned())),
                // One at a time: a manifest may have thousands.
                Data::Manifest(_) => self.held_in_parts(row).await?,
            });
        }
        Ok(all)
    }

    async fn held_in_parts(&self, row: &ObjectRow) -> Result<Option<Held>, Fault> {
        let ids: BTreeSet<Number> = self.made_of(row).await?.into_keys().collect();
        if ids.is_empty() && row.size > 0 {
            return Ok(None);
        }
        let mut known = self.silos_of(ids.clone()).await?;
        Ok(Held::over(ids.iter().map(|id| known.remove(id))))
    }

    /// Silos with a verified copy, of each of these extents that is of an object. Those that are lost have none.
    async fn silos_of(&self, ids: BTreeSet<Number>) -> Result<BTreeMap<Number, BTreeSet<SiloId>>, Fault> {
        let inventory = self.inventory();
        let silos = |row: &ExtentRow| inventory.left_verified(row).into_iter().map(|replica| replica.silo).collect();
        let rows = self.extents(ids).await?.into_iter().filter(|(_, row)| row.first.is_some());
        Ok(rows.map(|(id, row)| (id, silos(&row))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silo_has_an_object_where_it_has_all_of_its_extents() {
        let held = |extents: &[&[SiloId]]| {
            let held = Held::over(extents.iter().map(|silos| Some(silos.iter().copied().collect())))?;
            Some((held.silos.into_iter().collect::<Vec<_>>(), held.copies))
        };
        assert_eq!(held(&[]), Some((vec![], 0)));
        assert_eq!(held(&[&[1, 2]]), Some((vec![1, 2], 2)));
        assert_eq!(held(&[&[1, 2], &[2, 3]]), Some((vec![2], 2)));
        assert_eq!(held(&[&[1, 2, 3], &[1]]), Some((vec![1], 1)));
        assert_eq!(held(&[&[1], &[2]]), Some((vec![], 1)));
        assert_eq!(Held::over([Some([1].into()), None].into_iter()), None);
    }
}
