//! Versions, parts and manifests: whatever they name is there, live, and knows that it is named.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::ledger::{ties_of_object, ties_of_part};
use super::{Finding, Pages, Run, read};
use crate::bucket::Incarnation;
use crate::engine::{Engine, Key};
use crate::extent::{Number, ReplicaState};
use crate::fault::Fault;
use crate::limits::CHECK_PAGE;
use crate::reference::targets;
use crate::table::extents::ExtentRow;
use crate::table::objects::{Data, NAME_AT, ObjectRow, attributes};
use crate::table::refs::{Target, reference};
use crate::table::uploads::{ManifestRow, PartRow, manifest, parts, read_part, read_upload};
use crate::table::{KeyBuilder, decode, key, read_number, unescape};

/// Uploads with parts and without a manifest that are held until the uploads are read.
const UPLOADS_HELD: usize = 50_000;

/// A version or part, and what it names.
struct Referrer {
    /// As it is shown.
    name: String,
    version: Number,
    data: Data,
    size: u64,
    /// It has a row of attributes.
    apart: bool,
}

/// What a target's guard says.
struct Guard {
    first: Option<Number>,
    size: u64,
    /// At least one verified replica, or a manifest.
    has_bytes: bool,
}

impl Run<'_> {
    /// Every object of a bucket.
    pub(super) async fn objects(&mut self, bucket: &str, incarnation: Incarnation) -> Result<(), Fault> {
        let mut pages = Pages::under(KeyBuilder::new(key::OBJECTS).number(incarnation).build(), CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut rows = Vec::with_capacity(page.len());
            for (key, bytes) in page {
                let name = object_name(bucket, &key);
                let Ok(row) = decode::<ObjectRow>(&bytes) else {
                    self.dangling(format!("the row of object `{name}` does not read"));
                    continue;
                };
                self.seen.objects += 1;
                self.counts.add(crate::table::usage::Counted::Bucket(incarnation), row.size);
                ties_of_object(&row).for_each(|tie| self.ledger.pays(&tie));
                self.name_findings(&row, &name);
                rows.push((key.to_vec(), bytes, Referrer::of_object(name, row)));
            }
            for (_, finding) in self.look_at(rows).await? {
                self.report(finding);
            }
        }
    }

    fn name_findings(&mut self, row: &ObjectRow, name: &str) {
        for target in targets(&row.data) {
            match target {
                Target::Extent(id) => self.name_extent(id, name),
                Target::Manifest(id) => self.name_manifest(id, name),
            }
        }
    }

    /// Every part, of manifests and of uploads.
    pub(super) async fn parts(&mut self) -> Result<(), Fault> {
        let (mut pages, mut loose) = (Pages::of(key::PARTS, CHECK_PAGE), BTreeSet::new());
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            let mut rows = Vec::with_capacity(page.len());
            for (key, bytes) in page {
                let (Some(upload), Some(number), Ok(row)) =
                    (upload_of(&key), read_part(&key), decode::<PartRow>(&bytes))
                else {
                    self.dangling(format!("a part's row does not read: {}", const_hex::encode(&key)));
                    continue;
                };
                ties_of_part(&row).for_each(|tie| self.ledger.pays(&tie));
                row.slices.iter().for_each(|slice| self.pass_on(slice.extent, upload));
                if loose.len() < UPLOADS_HELD {
                    loose.insert(upload);
                }
                let name = format!("part {number} of upload {upload}");
                rows.push((key.to_vec(), bytes, Referrer::of_part(name, row)));
            }
            for (key, finding) in self.look_at(rows).await? {
                match upload_of(&key) {
                    Some(upload) => self.about_manifest(upload, finding),
                    None => self.report(finding),
                }
            }
            self.forget_completed(&mut loose).await?;
        }
        self.parts_without_upload(loose).await
    }

    /// Drops those that became manifests.
    async fn forget_completed(&self, uploads: &mut BTreeSet<Number>) -> Result<(), Fault> {
        let ids: Vec<Number> = uploads.iter().copied().collect();
        let heads = self.engine().get(&ids.iter().map(|id| manifest(*id)).collect::<Vec<_>>()).await?;
        ids.iter().zip(heads).filter(|(_, head)| head.is_some()).for_each(|(id, _)| {
            uploads.remove(id);
        });
        Ok(())
    }

    /// An upload's row goes after its parts: parts that are there still had one when the uploads were read.
    async fn parts_without_upload(&mut self, mut loose: BTreeSet<Number>) -> Result<(), Fault> {
        let mut pages = Pages::of(key::UPLOADS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            page.iter().filter_map(|(key, _)| read_upload(key)).for_each(|(_, _, id)| {
                loose.remove(&id);
            });
        }
        for id in loose {
            let parts = self.engine().range(parts(id, 0), 1, usize::MAX).await?;
            let head = self.engine().get(&[manifest(id)]).await?;
            if !parts.is_empty() && head[0].is_none() {
                self.dangling(format!("parts of upload {id}, which is none"));
            }
        }
        Ok(())
    }

    /// Every manifest: its parts are there, as long as its head says.
    pub(super) async fn manifests(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::MANIFESTS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, bytes) in page {
                let (Some(id), Ok(head)) = (upload_of(&key), decode::<ManifestRow>(&bytes)) else {
                    self.dangling(format!("a manifest's row does not read: {}", const_hex::encode(&key)));
                    continue;
                };
                let Some(first) = head.first else { continue };
                self.ledger.owes(&super::ledger::Tie::Reference(Target::Manifest(id), first));
                let Some(number) = self.missing_part(id, &head).await? else { continue };
                let now: Option<ManifestRow> = read(self.engine().get(&[key.to_vec()]).await?[0].as_ref());
                if now.is_some_and(|head| head.first.is_some()) {
                    let (object, extent) = (format!("manifest {id}"), format!("part {number}"));
                    self.about_manifest(id, Finding::NoBytes { object, extent });
                }
            }
        }
    }

    /// The first part that the head names and that is not there as it says.
    async fn missing_part(&self, id: Number, head: &ManifestRow) -> Result<Option<u32>, Fault> {
        let mut named = head.parts.iter().peekable();
        let mut range = Pages { range: parts(id, 0), rows: CHECK_PAGE };
        loop {
            let page = range.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(named.next().map(|(number, _)| *number));
            }
            for (key, bytes) in page {
                let Some(&&(number, size)) = named.peek() else { return Ok(None) };
                match read_part(&key) {
                    Some(found) if found < number => {}
                    Some(found) if found == number && decode::<PartRow>(&bytes).is_ok_and(|row| row.size == size) => {
                        named.next();
                    }
                    _ => return Ok(Some(number)),
                }
            }
        }
    }

    /// Looks at what each row names, and once more where something is wrong: a row that stands as it stood must have
    /// had all it names in between.
    async fn look_at(&self, rows: Vec<(Key, Bytes, Referrer)>) -> Result<Vec<(Key, Finding)>, Fault> {
        let referrers: Vec<&Referrer> = rows.iter().map(|(_, _, referrer)| referrer).collect();
        let wrong = problems(self.engine(), &referrers).await?;
        let mut found = Vec::new();
        for ((key, before, _), problem) in rows.into_iter().zip(wrong) {
            let Some(problem) = problem else { continue };
            if self.engine().get(std::slice::from_ref(&key)).await?[0].as_ref() == Some(&before) {
                found.push((key, problem));
            }
        }
        Ok(found)
    }
}

impl Referrer {
    fn of_object(name: String, row: ObjectRow) -> Self {
        Self { name, version: row.version, size: row.size, apart: row.attributes.is_none(), data: row.data }
    }

    fn of_part(name: String, row: PartRow) -> Self {
        Self { name, version: row.version, size: row.size, apart: false, data: Data::Slices(row.slices) }
    }

    fn problem(&self, guards: &BTreeMap<Target, Guard>, named: &BTreeSet<Key>) -> Option<Finding> {
        let no_bytes = |extent: String| Some(Finding::NoBytes { object: self.name.clone(), extent });
        for target in targets(&self.data) {
            let Some(guard) = guards.get(&target).filter(|guard| guard.has_bytes && guard.first.is_some()) else {
                return no_bytes(say(target));
            };
            if guard.first != Some(self.version) && !named.contains(&reference(target, self.version)) {
                return Some(Finding::Dangling {
                    row: format!("{} does not know that `{}` is in it", say(target), self.name),
                });
            }
        }
        let length = match &self.data {
            Data::Manifest(id) => guards[&Target::Manifest(*id)].size,
            Data::Slices(slices) => {
                let over = slices.iter().find(|slice| {
                    slice.offset.saturating_add(slice.length) > guards[&Target::Extent(slice.extent)].size
                });
                if let Some(over) = over {
                    return no_bytes(format!("{} (too short)", say(Target::Extent(over.extent))));
                }
                slices.iter().map(|slice| slice.length).sum()
            }
        };
        if length != self.size {
            return no_bytes(format!("{length} of {} bytes", self.size));
        }
        if self.apart && !named.contains(&attributes(self.version)) {
            return Some(Finding::Dangling { row: format!("object `{}` lacks its attributes", self.name) });
        }
        None
    }
}

/// What is wrong with each, in three reads for all of them.
async fn problems(engine: &dyn Engine, referrers: &[&Referrer]) -> Result<Vec<Option<Finding>>, Fault> {
    let all: BTreeSet<Target> = referrers.iter().flat_map(|referrer| targets(&referrer.data)).collect();
    let keys: Vec<Key> = all.iter().map(|target| target.guard()).collect();
    let mut guards = BTreeMap::new();
    for (target, row) in all.into_iter().zip(engine.get(&keys).await?) {
        if let Some(guard) = row.and_then(|row| read_guard(target, &row)) {
            guards.insert(target, guard);
        }
    }
    let mut asked: Vec<Key> = Vec::new();
    for referrer in referrers {
        let others = targets(&referrer.data)
            .into_iter()
            .filter(|target| guards.get(target).is_some_and(|guard| guard.first != Some(referrer.version)));
        asked.extend(others.map(|target| reference(target, referrer.version)));
        asked.extend(referrer.apart.then(|| attributes(referrer.version)));
    }
    let rows = engine.get(&asked).await?;
    let named = asked.into_iter().zip(rows).filter(|(_, row)| row.is_some()).map(|(key, _)| key).collect();
    Ok(referrers.iter().map(|referrer| referrer.problem(&guards, &named)).collect())
}

fn read_guard(target: Target, row: &[u8]) -> Option<Guard> {
    match target {
        Target::Extent(_) => {
            let row: ExtentRow = decode(row).ok()?;
            let has_bytes = row.replicas.iter().any(|replica| replica.state == ReplicaState::Verified);
            Some(Guard { first: row.first, size: row.size, has_bytes })
        }
        Target::Manifest(_) => {
            let row: ManifestRow = decode(row).ok()?;
            let size = row.parts.iter().map(|(_, size)| size).sum();
            Some(Guard { first: row.first, size, has_bytes: true })
        }
    }
}

fn say(target: Target) -> String {
    match target {
        Target::Extent(id) => format!("extent {id}"),
        Target::Manifest(id) => format!("manifest {id}"),
    }
}

pub(super) fn object_name(bucket: &str, key: &[u8]) -> String {
    let name = key.get(NAME_AT..).and_then(unescape).map(|(name, _)| name).unwrap_or_default();
    format!("{bucket}/{}", String::from_utf8_lossy(&name))
}

/// The upload or manifest that a key of `parts` or `manifests` begins with.
fn upload_of(key: &[u8]) -> Option<Number> {
    Some(Number { session: read_number(key, 1)?, number: read_number(key, 9)? })
}
