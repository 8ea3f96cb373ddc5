//! Files whose bytes are what they were though something about them changed: mode, owner, links. They stay the same version.

use futures_util::TryStreamExt;
use holdall_silos::holdings::Held;
use holdall_silos::{SiloError, Validator};

use super::take::{Followed, attributes_of, intent_read, settled, stands, under_way};
use crate::bucket::Bucket;
use crate::digest::{BlockSums, extent_digest};
use crate::engine::{Read, Rows, Write};
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::limits::PROJECTION_READ;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::object::Object;
use crate::table::extents::{ExtentRow, extent};
use crate::table::names::{NameRow, name as name_key};
use crate::table::objects::{Attributes, Data, ObjectRow, object, store};
use crate::table::roots::{RootRow, root as root_key};
use crate::table::tag::Tag;
use crate::table::{decode_row, encode};

impl Core {
    /// Makes a new version of a name that is not what it was, unless its bytes are.
    pub(super) async fn follow(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        held: &Held,
        before: &NameRow,
    ) -> Result<Followed, Fault> {
        if self.follow_touched(root, bucket, key, held, before).await? {
            return Ok(Followed::Left);
        }
        self.follow_changed(root, bucket, key, held, before).await
    }

    /// Notes that a name is not what it was, but its bytes are: its checksums are known and still right. Answers whether that
    /// is so; otherwise nothing was done.
    async fn follow_touched(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        held: &Held,
        before: &NameRow,
    ) -> Result<bool, Fault> {
        let (_, holdings) = self.silo_of(root)?;
        let known_as = Validator(before.validator.clone());
        if held.size > PROJECTION_READ || !holdings.same_file(&known_as, &held.validator) {
            return Ok(false);
        }
        let rows = self.engine.get(&[object(bucket.incarnation, key)]).await?;
        let Some(row) = decode_row::<ObjectRow>(rows[0].as_ref())? else { return Ok(false) };
        if before.version() != Some(row.version) || row.size != held.size || row.etag.is_in_part() {
            return Ok(false);
        }
        let slices = match &row.data {
            Data::Slices(slices) => slices.clone(),
            Data::Manifest(id) => self.manifest_slices(*id, 0..row.size).await?,
        };
        let Some(extents) = self.whole_and_hashed(&slices).await? else { return Ok(false) };
        if !self.has_bytes(root, held, &extents).await? {
            return Ok(false);
        }
        let Some((row, object)) = self.current(bucket, key).await? else { return Ok(false) };
        self.commit_touched(root, bucket, key, held, before, (row, object), extents).await
    }

    /// The extents that slices are, if each is all of one that has checksums.
    async fn whole_and_hashed(&self, slices: &[Slice]) -> Result<Option<Vec<(Number, ExtentRow)>>, Fault> {
        let rows = self.engine.get(&slices.iter().map(|slice| extent(slice.extent)).collect::<Vec<_>>()).await?;
        let mut extents = Vec::with_capacity(slices.len());
        for (slice, row) in slices.iter().zip(rows) {
            let row: Option<ExtentRow> = decode_row(row.as_ref())?;
            let whole = |row: &ExtentRow| slice.offset == 0 && slice.length == row.size && row.is_hashed();
            let Some(row) = row.filter(whole) else { return Ok(None) };
            extents.push((slice.extent, row));
        }
        Ok(Some(extents))
    }

    /// Whether a name has the bytes of these extents.
    async fn has_bytes(&self, root: &RootRow, held: &Held, extents: &[(Number, ExtentRow)]) -> Result<bool, Fault> {
        let (open, holdings) = self.silo_of(root)?;
        let mut from = 0;
        for (_, row) in extents {
            let range = from..from + row.size;
            from = range.end;
            let read = async {
                let mut pieces = holdings.read(&held.name, held.size, &held.validator, range).await?;
                let mut sums = BlockSums::default();
                while let Some(piece) = pieces.try_next().await? {
                    sums.update(&piece);
                }
                Ok::<_, SiloError>(extent_digest(&sums.finish()))
            };
            match open.note(read.await) {
                Ok(digest) if row.size == 0 || digest == row.digest => {}
                Ok(_) | Err(SiloError::Missing | SiloError::Mismatch { .. }) => return Ok(false),
                Err(error) => return Err(crate::store::silo_failed(&open, &error)),
            }
        }
        Ok(true)
    }

    #[expect(clippy::too_many_arguments, reason = "what was read, and what it was read of")]
    async fn commit_touched(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        held: &Held,
        before: &NameRow,
        (current, object_shown): (ObjectRow, Object),
        extents: Vec<(Number, ExtentRow)>,
    ) -> Result<bool, Fault> {
        let (id, silo, write) = (root.info.id, root.silo, root.info.order.write);
        let (named, key) = (name_key(silo, &held.name), object(bucket.incarnation, key));
        let mut reads = vec![Read::Row(root_key(id)), Read::Row(named.clone()), Read::Row(key.clone())];
        reads.extend(intent_read(root, &held.name));
        reads.extend(extents.iter().map(|(id, _)| Read::Row(extent(*id))));
        // What a folder tells of a file beside its bytes is as it is now.
        let attributes = matches!(current.etag, Tag::Foreign { .. }).then(|| Attributes {
            tags: object_shown.tags,
            checksum: object_shown.checksum.map(|checksum| checksum.value),
            ..attributes_of(held)
        });
        let (held, before) = (held.clone(), before.clone());
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            stands(rows, id)?;
            let row: Option<ObjectRow> = decode_row(rows.get(&key))?;
            let Some(row) = row.filter(|row| row.version == current.version) else { return Ok((Vec::new(), false)) };
            if decode_row::<NameRow>(rows.get(&named))?.as_ref() != Some(&before)
                || under_way(rows, write, silo, &held.name)
            {
                return Ok((Vec::new(), false));
            }
            let after = NameRow { validator: held.validator.0.clone(), state: before.state.clone() };
            let mut writes = vec![Write::Put(named.clone(), encode(&after))];
            for (id, _) in &extents {
                let Some(mut row) = decode_row::<ExtentRow>(rows.get(&extent(*id)))? else { continue };
                if touch_replicas(&mut row, silo, &held) {
                    writes.push(Write::Put(extent(*id), encode(&row)));
                }
            }
            if let Some(attributes) = attributes.clone() {
                writes.extend(store(key.clone(), row, attributes));
            }
            Ok((writes, true))
        };
        settled(self.session().commit(reads, decide).await)
    }
}

/// Places of the name are of it as it is now.
fn touch_replicas(row: &mut ExtentRow, silo: SiloId, held: &Held) -> bool {
    let mut touched = false;
    let verified = |replica: &&mut Replica| replica.silo == silo && replica.state == ReplicaState::Verified;
    for replica in row.replicas.iter_mut().filter(verified) {
        if let Location::InPlace { name, validator, .. } = &mut replica.location
            && *name == held.name
        {
            validator.clone_from(&held.validator.0);
            touched = true;
        }
    }
    touched
}
