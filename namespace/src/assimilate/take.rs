//! The commits: a name becomes an object, another version, or none.

use std::collections::HashSet;
use std::sync::Arc;

use holdall_silos::Validator;
use holdall_silos::holdings::Held;

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{Key, Priority, Read, Rows, Write};
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::limits::MAX_EXTENT;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::object::{Condition, Headers};
use crate::replace::{Beside, NotReplaced, Removal, Replace};
use crate::session::{Session, Uncommitted, Unfinished};
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::extents::{ExtentRow, extent};
use crate::table::names::{NameRow, NameState, name as name_key};
use crate::table::objects::{Attributes, Data, ObjectRow, object, store};
use crate::table::projections::intent;
use crate::table::roots::{RootId, RootRow, root as root_key};
use crate::table::tag::Tag;
use crate::table::usage::{self, Counted};
use crate::table::{decode_row, encode};

/// Names that one commit takes over: each has three rows, and one more for each extent beyond the first.
pub(super) const TAKEN_TOGETHER: usize = crate::limits::BACKGROUND_ROWS / 3;

/// A version made of what is held in a silo: its rows, and the numbers that they need.
struct Made {
    row: ObjectRow,
    attributes: Attributes,
    extents: Vec<(Number, ExtentRow)>,
    guards: Vec<Arc<Unfinished>>,
    silo: SiloId,
}

/// A name to take over.
pub(super) struct New {
    pub key: ObjectKey,
    pub held: Held,
    /// What was known of it: that it is no object.
    pub before: Option<NameRow>,
}

/// Another row for a name, or none.
pub(super) struct Change {
    pub name: Vec<u8>,
    pub before: Option<NameRow>,
    pub after: Option<NameRow>,
}

/// What became of a name that changed.
pub(super) enum Followed {
    /// A new version was made.
    Changed,
    /// Its key was written or deleted through S3, its bytes are what they were, or somebody else was faster.
    Left,
}

/// What a name is whose key is there already. One that a root made that was forgotten goes on, and is followed if the file
/// changed since; any other was written through S3.
fn found(there: &ObjectRow, in_place: bool, made: &ObjectRow, held: &Held) -> NameRow {
    let same = matches!(there.etag, Tag::Foreign { .. }) && there.etag.text() == made.etag.text();
    let state = if same || in_place { NameState::Made(there.version) } else { NameState::Hidden };
    let validator = if in_place && !same { String::new() } else { held.validator.0.clone() };
    NameRow { validator, state }
}

fn made(session: &Arc<Session>, silo: SiloId, held: &Held, now: UnixMs) -> Made {
    let version = Arc::new(session.take());
    let (number, mut guards, mut extents, mut offset) = (version.number, vec![version], Vec::new(), 0);
    while offset < held.size {
        let id = if offset == 0 {
            number
        } else {
            let guard = Arc::new(session.take());
            let id = guard.number;
            guards.push(guard);
            id
        };
        let size = (held.size - offset).min(MAX_EXTENT);
        let (name, validator) = (held.name.clone(), held.validator.0.clone());
        let location = Location::InPlace { name, validator, whole: held.size, offset };
        let state = ReplicaState::Verified;
        let replica = Replica { silo, location, state, since: now, job: None };
        extents.push((id, ExtentRow::unhashed(size, number, replica)));
        offset += size;
    }
    let slices = extents.iter().map(|(id, row)| Slice { extent: *id, offset: 0, length: row.size });
    let class = held.system.iter().find(|(name, _)| name == "x-amz-storage-class").map(|(_, class)| class.clone());
    let row = ObjectRow {
        size: held.size,
        modified: held.modified,
        etag: Tag::Foreign {
            text: held.etag.clone().unwrap_or_else(|| held.validator.0.clone()),
            whole: held.complete,
        },
        checksum: None,
        storage_class: class,
        version: number,
        data: Data::Slices(slices.collect()),
        attributes: None,
    };
    Made { row, attributes: attributes_of(held), extents, guards, silo }
}

/// Headers, metadata and tags as they came along.
pub(super) fn attributes_of(held: &Held) -> Attributes {
    let system = held.system.iter().filter(|(name, _)| !name.starts_with("x-")).cloned().collect();
    let headers = Headers { system, user: held.user.clone() };
    Attributes { headers, tags: held.tags.clone(), checksum: None }
}

impl New {
    /// Extents that it will have.
    pub(super) fn extents(&self) -> usize {
        self.held.size.div_ceil(MAX_EXTENT).max(1) as usize
    }
}

impl Made {
    fn extents(&self) -> Vec<Write> {
        let mut writes: Vec<Write> =
            self.extents.iter().map(|(id, row)| Write::Put(extent(*id), encode(row))).collect();
        let bytes = self.row.size as i64;
        writes.extend(usage::add(Counted::Silo(self.silo), self.extents.len() as i64, bytes));
        writes
    }

    fn name(&self, held: &Held) -> NameRow {
        NameRow { validator: held.validator.0.clone(), state: NameState::Made(self.row.version) }
    }
}

impl Core {
    /// Takes names over in one commit, each unless somebody was faster; a key that was written through S3 before stays, and
    /// follows its name no more. Answers how many objects were made.
    pub(super) async fn take_new(
        &self,
        priority: Priority,
        root: &RootRow,
        bucket: &Bucket,
        all: Vec<New>,
    ) -> Result<u64, Fault> {
        self.room_in_index()?;
        let (session, now, silo) = (self.session(), self.clock.now(), root.silo);
        let all: Vec<(New, Made)> = all
            .into_iter()
            .map(|new| {
                let made = made(&session, silo, &new.held, now);
                (new, made)
            })
            .collect();
        let keys: Vec<Key> = all.iter().map(|(new, _)| object(bucket.incarnation, &new.key)).collect();
        let in_place = self.in_place(silo, &keys).await?;
        let id = root.info.id;
        let mut reads = vec![Read::Row(bucket_key(&bucket.name)), Read::Row(root_key(id))];
        for ((new, _), key) in all.iter().zip(keys) {
            reads.push(Read::Row(key));
            reads.push(Read::Row(name_key(silo, &new.held.name)));
            reads.extend(intent_read(root, &new.held.name));
        }
        let (bucket, write) = (bucket.clone(), root.info.order.write);
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            stands(rows, id)?;
            let (mut writes, mut count, mut bytes) = (Vec::new(), 0, 0);
            let lives: Option<BucketRow> = decode_row(rows.get(&bucket_key(&bucket.name)))?;
            if lives.is_none_or(|row| row.incarnation != bucket.incarnation) {
                return Err(gone(&bucket));
            }
            for (new, made) in &all {
                let (key, name) = (object(bucket.incarnation, &new.key), name_key(silo, &new.held.name));
                if decode_row::<NameRow>(rows.get(&name))? != new.before || under_way(rows, write, silo, &new.held.name)
                {
                    continue;
                }
                if let Some(row) = decode_row::<ObjectRow>(rows.get(&key))? {
                    let in_place = in_place.contains(&row.version);
                    let found = found(&row, in_place, &made.row, &new.held);
                    // What S3 wrote is about to be brought there.
                    if !(write && found.state == NameState::Hidden) {
                        writes.push(Write::Put(name, encode(&found)));
                    }
                    continue;
                }
                count += 1;
                bytes += new.held.size as i64;
                writes.extend(store(key, made.row.clone(), made.attributes.clone()));
                writes.extend(made.extents());
                writes.push(Write::Put(name, encode(&made.name(&new.held))));
            }
            writes.extend(usage::add(Counted::Bucket(bucket.incarnation), count, bytes));
            writes.extend(usage::add(Counted::Account(bucket.owner), count, bytes));
            Ok((writes, count as u64))
        };
        settled(session.commit_as(priority, reads, decide).await)
    }

    /// Changes rows of names in one commit, each if it is as it was known; none is no row.
    pub(super) async fn change_names(&self, root: &RootRow, all: Vec<Change>) -> Result<(), Fault> {
        let (silo, id, write) = (root.silo, root.info.id, root.info.order.write);
        let names = all.iter().map(|change| Read::Row(name_key(silo, &change.name)));
        let intents = all.iter().filter_map(|change| intent_read(root, &change.name));
        let reads = names.chain(intents).chain([Read::Row(root_key(id))]).collect();
        let priority = Priority::of(all.len());
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            stands(rows, id)?;
            let mut writes = Vec::new();
            for Change { name, before, after } in &all {
                let key = name_key(silo, name);
                if decode_row::<NameRow>(rows.get(&key))? != *before || under_way(rows, write, silo, name) {
                    continue;
                }
                writes.push(match after {
                    Some(row) => Write::Put(key, encode(row)),
                    None => Write::Delete(key),
                });
            }
            Ok((writes, ()))
        };
        settled(self.session().commit_as(priority, reads, decide).await)
    }

    /// Makes a new version of a name that changed, if the current version of its key is the one made of it.
    pub(super) async fn follow_changed(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        held: &Held,
        before: &NameRow,
    ) -> Result<Followed, Fault> {
        let session = self.session();
        let made = made(&session, root.silo, held, self.clock.now());
        let (object_key, row_key) = (object(bucket.incarnation, key), name_key(root.silo, &held.name));
        let (old, extents) = (before.clone(), made.extents());
        let (name, read) = (Write::Put(row_key.clone(), encode(&made.name(held))), row_key.clone());
        let (id, silo, write, name_read) = (root.info.id, root.silo, root.info.order.write, held.name.clone());
        let decide = move |rows: &Rows, _: &ObjectRow| -> Result<Vec<Write>, NotFollowed> {
            stands(rows, id)?;
            if decode_row::<NameRow>(rows.get(&read))?.as_ref() != Some(&old)
                || under_way(rows, write, silo, &name_read)
            {
                return Err(NotFollowed::Faster);
            }
            let current: Option<ObjectRow> = decode_row(rows.get(&object_key))?;
            if current.is_none_or(|current| old.version() != Some(current.version)) {
                return Err(NotFollowed::Written);
            }
            Ok(extents.iter().cloned().chain([name.clone()]).collect())
        };
        let mut reads = vec![Read::Row(row_key), Read::Row(root_key(id))];
        reads.extend(intent_read(root, &held.name));
        let beside = Beside { reads, decide: Arc::new(decide) };
        let replaced = self.replace(Replace {
            session,
            bucket,
            key,
            row: made.row,
            attributes: made.attributes,
            modified: Some(held.modified),
            condition: Condition::default(),
            adding: Vec::new(),
            beside,
            guards: made.guards,
        });
        match replaced.await {
            Ok(_) => Ok(Followed::Changed),
            Err(NotReplaced::Beside(NotFollowed::Faster)) => Ok(Followed::Left),
            // While a deletion waits to reach it, the tree is right; while a version does, that is.
            Err(NotReplaced::Beside(NotFollowed::Written)) if root.info.order.write => {
                let seen = Validator(before.validator.clone());
                let shown = matches!(before.state, NameState::Shown { .. });
                // What S3 deleted and others only touched goes as well.
                if shown && self.silo_of(root)?.1.same_file(&seen, &held.validator) {
                    return Ok(Followed::Left);
                }
                let new = New { key: key.clone(), held: held.clone(), before: Some(before.clone()) };
                let made = self.take_new(Priority::Foreground, root, bucket, vec![new]).await?;
                Ok(if made > 0 { Followed::Changed } else { Followed::Left })
            }
            Err(NotReplaced::Beside(NotFollowed::Written)) => {
                let row = NameRow { validator: held.validator.0.clone(), state: NameState::Hidden };
                self.change_name(root, &held.name, before, Some(row)).await?;
                Ok(Followed::Left)
            }
            Err(NotReplaced::Beside(NotFollowed::Fault(fault)) | NotReplaced::Fault(fault)) => Err(fault),
            Err(NotReplaced::NoSuchBucket) => Err(gone(bucket)),
            Err(NotReplaced::Gone | NotReplaced::Condition(_) | NotReplaced::Lost) => Err(unknown()),
        }
    }

    /// Takes the object of a name that is gone away, unless its key was written through S3 or its bytes were moved. Answers
    /// whether it was.
    pub(super) async fn follow_gone(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        name: &[u8],
        before: &NameRow,
    ) -> Result<bool, Fault> {
        let Some(version) = before.version() else {
            return self.change_name(root, name, before, None).await.map(|()| false);
        };
        let (silo, write, gone_name) = (root.silo, root.info.order.write, name.to_vec());
        let shown = matches!(before.state, NameState::Shown { .. });
        let in_place = move |rows: &Rows, row: &ObjectRow| -> Result<bool, Fault> {
            if row.version != version || under_way(rows, write, silo, &gone_name) {
                return Ok(false);
            }
            // What was brought there is the object, though its bytes are ours.
            if shown {
                return Ok(true);
            }
            let Data::Slices(slices) = &row.data else { return Ok(false) };
            // Of what was moved in part nothing can be read any more.
            let mut there = slices.is_empty();
            for slice in slices {
                let row: Option<ExtentRow> = decode_row(rows.get(&extent(slice.extent)))?;
                there |= row.is_some_and(|row| row.is_in_place(silo));
            }
            Ok(there)
        };
        let also = vec![Write::Delete(name_key(silo, name))];
        let reads = intent_read(root, name).into_iter().collect();
        let removal = Removal { condition: Condition::default(), only: Some(Arc::new(in_place)), reads, also };
        match self.remove(&self.session(), bucket, key, removal).await {
            Ok(true) => Ok(true),
            Ok(false) | Err(NotReplaced::Beside(())) => {
                let key = object(bucket.incarnation, key);
                let current: Option<ObjectRow> = decode_row(self.engine.get(&[key]).await?[0].as_ref())?;
                // Its bytes were moved away: whoever takes the file away then does not mean the key.
                let moved = write && current.is_some_and(|current| current.version == version);
                let row = NameRow { validator: String::new(), state: NameState::Moved(version) };
                self.change_name(root, name, before, moved.then_some(row)).await?;
                Ok(false)
            }
            Err(NotReplaced::Fault(fault)) => Err(fault),
            Err(NotReplaced::NoSuchBucket) => Err(gone(bucket)),
            Err(NotReplaced::Gone | NotReplaced::Condition(_) | NotReplaced::Lost) => Err(unknown()),
        }
    }

    /// Changes the row of a name that is as it was.
    async fn change_name(
        &self,
        root: &RootRow,
        name: &[u8],
        before: &NameRow,
        after: Option<NameRow>,
    ) -> Result<(), Fault> {
        let (name, before) = (name.to_vec(), Some(before.clone()));
        self.change_names(root, vec![Change { name, before, after }]).await
    }

    /// Of keys that are there already, those whose bytes lie in place in this silo: a root made them that was forgotten.
    async fn in_place(&self, silo: SiloId, keys: &[Key]) -> Result<HashSet<Number>, Fault> {
        let mut versions = HashSet::new();
        for row in self.engine.get(keys).await? {
            let Some(row) = decode_row::<ObjectRow>(row.as_ref())? else { continue };
            let Data::Slices(slices) = &row.data else { continue };
            let Some(slice) = slices.first().filter(|_| matches!(row.etag, Tag::Foreign { .. })) else { continue };
            let of: Option<ExtentRow> = decode_row(self.engine.get(&[extent(slice.extent)]).await?[0].as_ref())?;
            if of.is_some_and(|of| of.is_in_place(silo)) {
                versions.insert(row.version);
            }
        }
        Ok(versions)
    }
}

/// What says whether something is on its way to or from a name; nothing ever is under a root that is not written to.
pub(super) fn intent_read(root: &RootRow, name: &[u8]) -> Option<Read> {
    root.info.order.write.then(|| Read::Row(intent(root.silo, name)))
}

/// As long as that is so, what is seen there may be our own doing.
pub(super) fn under_way(rows: &Rows, write: bool, silo: SiloId, name: &[u8]) -> bool {
    write && rows.get(&intent(silo, name)).is_some() && !crate::seeded_bug!("projection-echo")
}

enum NotFollowed {
    Faster,
    Written,
    Fault(Fault),
}

impl From<Fault> for NotFollowed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Whoever takes over for a root that was forgotten leaves no row behind.
pub(super) fn stands(rows: &Rows, id: RootId) -> Result<(), Fault> {
    let forgotten = || Fault::Unavailable(format!("root {id} was forgotten"));
    rows.get(&root_key(id)).map(drop).ok_or_else(forgotten)
}

/// What came of a commit.
pub(crate) fn settled<T>(outcome: Result<T, Uncommitted<Fault>>) -> Result<T, Fault> {
    outcome.map_err(|error| match error {
        Uncommitted::Refused(fault) | Uncommitted::Fault(fault) => fault,
        Uncommitted::Unknown => unknown(),
    })
}

/// Whoever looks again sees what became of it.
fn unknown() -> Fault {
    Fault::Unavailable("the outcome of the commit is unknown".to_owned())
}

fn gone(bucket: &Bucket) -> Fault {
    Fault::Unavailable(format!("bucket `{}` is gone", bucket.name))
}
