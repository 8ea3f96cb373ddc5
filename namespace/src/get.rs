//! GetObject and HeadObject: one version's bytes, whole or an error, every block checked before it leaves.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use holdall_silos::BodyError;

use crate::assimilate::Sought;
use crate::bucket::Bucket;
use crate::engine::Key;
use crate::extent::{Location, Replica, Slice};
use crate::fault::Fault;
use crate::limits::COMMIT_TRIES;
use crate::list::read_name;
use crate::multipart::show_part;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::{Core, Namespace};
use crate::object::{ChecksumAlgorithm, Object, Part};
use crate::objective::expression::Subject;
use crate::put::Upload;
use crate::read::read_slices;
use crate::session::OpenRead;
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};
use crate::table::objects::{Attributes, Data, NAME_AT, ObjectRow, attributes, object, show};
use crate::table::tag::Tag;

/// Checked bytes on their way out. An error ends the stream: the client sees a broken connection, never a short 200.
pub type Bytestream = Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>;

/// Why an object was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GetError {
    /// There is none.
    #[error("no such key")]
    NoSuchKey,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A version opened for reading: registered, so that nothing it names is swept while this lives.
pub struct Opened {
    /// What S3 shows of it.
    pub object: Object,
    pub(crate) row: ObjectRow,
    bucket: BucketName,
    /// The row's key.
    name: Key,
    core: Arc<Core>,
    guard: Arc<OpenRead>,
}

impl Opened {
    /// Its bytes in `range` (within the object's size), for a client: this counts as a read. Fails before the first byte where
    /// that is possible.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytestream, Fault> {
        let bytes = range.end - range.start;
        let read = self.bytes(range).await?;
        self.core.note_read(&self.name, bytes, self.row.size);
        Ok(read)
    }

    /// The same for ourselves, which makes nothing warmer.
    pub(crate) async fn bytes(&self, range: Range<u64>) -> Result<Bytestream, Fault> {
        let slices = self.slices(range).await?;
        self.core.refuse_lost(&slices).await?;
        read_slices(Arc::clone(&self.core), Arc::clone(&self.guard), slices).await
    }

    /// Refuses where bytes of it went with a lost silo.
    pub(crate) async fn refuse_lost(&self) -> Result<(), Fault> {
        if !self.core.inventory().has_lost() {
            return Ok(());
        }
        self.core.refuse_lost(&self.slices(0..self.row.size).await?).await
    }

    /// The same as what is to be written anew.
    pub(crate) async fn upload(
        &self,
        range: Range<u64>,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> Result<Upload, Fault> {
        let size = range.end - range.start;
        let bytes = self.bytes(range).await?;
        let body = bytes.map(|piece| piece.map_err(|fault| BodyError { reason: fault.to_string() }));
        Ok(Upload { body: body.boxed(), size, algorithm, verify: Box::new(|_| Ok(())) })
    }

    /// Whether any of its bytes are where others put them.
    async fn is_in_place(&self) -> Result<bool, Fault> {
        // Bytes that went through us never are.
        if !matches!(self.row.etag, Tag::Foreign { .. }) {
            return Ok(false);
        }
        let slices = self.slices(0..self.row.size).await?;
        let rows = self.core.engine.get(&slices.iter().map(|slice| extent(slice.extent)).collect::<Vec<_>>()).await?;
        for row in rows {
            let row: Option<ExtentRow> = decode_row(row.as_ref())?;
            let foreign = |replica: &Replica| matches!(replica.location, Location::InPlace { .. });
            if row.is_none_or(|row| row.replicas.iter().any(foreign)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether what is about to be written may refer to its bytes: nobody else may change them, nor want them where that may not be.
    pub(crate) async fn may_be_shared(&self, with: &Subject<'_>) -> Result<bool, Fault> {
        let key = read_name(&self.name[NAME_AT..])?;
        Ok(self.core.inventory().may_share(with, (self.bucket.as_str(), &key))? && !self.is_in_place().await?)
    }

    /// What a range is made of.
    pub(crate) async fn slices(&self, range: Range<u64>) -> Result<Vec<Slice>, Fault> {
        match &self.row.data {
            Data::Slices(slices) => Ok(cut(slices, range)),
            Data::Manifest(id) => self.judged(self.core.manifest_slices(*id, range).await).await,
        }
    }

    /// Byte range of the part uploaded as `number`: for `?partNumber=`. An object that was not uploaded in parts has
    /// part 1. `None` when there is no such part.
    pub async fn part_range(&self, number: u32) -> Result<Option<Range<u64>>, Fault> {
        let Data::Manifest(id) = &self.row.data else { return Ok((number == 1).then_some(0..self.row.size)) };
        let head = self.judged(self.core.manifest(*id).await).await?;
        let mut offset = 0;
        for (own, size) in &head.parts {
            if *own == number {
                return Ok(Some(offset..offset + size));
            }
            offset += size;
        }
        Ok(None)
    }

    /// Parts after number `after`, at most `limit`; empty for an object that was not uploaded in parts.
    pub async fn parts(&self, after: u32, limit: usize) -> Result<Vec<Part>, Fault> {
        let Data::Manifest(id) = &self.row.data else { return Ok(Vec::new()) };
        let head = self.judged(self.core.manifest(*id).await).await?;
        let wanted = head.parts.iter().filter(|(number, _)| *number > after).take(limit);
        let mut parts = Vec::new();
        for (number, _) in wanted {
            let row = self.judged(self.core.part(*id, *number).await).await?;
            parts.push(show_part(*number, &row, head.checksum));
        }
        Ok(parts)
    }

    /// See [`OpenRead::judge`].
    async fn judged<T>(&self, outcome: Result<T, Fault>) -> Result<T, Fault> {
        match outcome {
            Ok(value) => Ok(value),
            Err(fault) => Err(self.guard.judge(fault).await),
        }
    }
}

/// The part of `slices` that `range` covers.
pub(crate) fn cut(slices: &[Slice], range: Range<u64>) -> Vec<Slice> {
    let mut offset = 0;
    let mut cut = Vec::new();
    for slice in slices {
        let (start, end) = (range.start.max(offset), range.end.min(offset + slice.length));
        if start < end {
            cut.push(Slice { extent: slice.extent, offset: slice.offset + start - offset, length: end - start });
        }
        offset += slice.length;
    }
    cut
}

impl Namespace {
    /// Opens the current version.
    pub async fn open_object(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Opened, GetError> {
        self.core.open_current(bucket, key).await?.ok_or(GetError::NoSuchKey)
    }

    /// Reads the current version's row and nothing else.
    pub async fn head(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Object, GetError> {
        Ok(self.core.current(bucket, key).await?.ok_or(GetError::NoSuchKey)?.1)
    }
}

impl Core {
    /// Opens the current version; none where there is none.
    pub(crate) async fn open_current(
        self: &Arc<Self>,
        bucket: &Bucket,
        key: &ObjectKey,
    ) -> Result<Option<Opened>, Fault> {
        let early = (!crate::seeded_bug!("reader-registers-late")).then(|| self.session().open_read());
        let name = object(bucket.incarnation, key);
        let Some((row, object)) = self.current_at(bucket, key, &name).await? else { return Ok(None) };
        let guard = Arc::new(early.unwrap_or_else(|| self.session().open_read()));
        let bucket = bucket.name.clone();
        Ok(Some(Opened { object, row, bucket, name, core: Arc::clone(self), guard }))
    }

    /// The current version's row, and what S3 shows of it.
    pub(crate) async fn current(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Option<(ObjectRow, Object)>, Fault> {
        self.current_at(bucket, key, &object(bucket.incarnation, key)).await
    }

    /// The same, by its row's key.
    async fn current_at(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        name: &Key,
    ) -> Result<Option<(ObjectRow, Object)>, Fault> {
        let mut sought = false;
        for _ in 0..COMMIT_TRIES {
            let rows = self.engine.get(std::slice::from_ref(name)).await?;
            let Some(mut row) = decode_row::<ObjectRow>(rows[0].as_ref())? else {
                // Whoever was faster made it since: it is read once more in any case.
                if !sought && self.seek(bucket, key, Sought::Lately).await? {
                    sought = true;
                    continue;
                }
                return Ok(None);
            };
            if row.etag.is_in_part() {
                self.fill_in(bucket, key, &row).await?;
                continue;
            }
            if let Some(attributes) = row.attributes.take() {
                let object = show(&row, attributes);
                return Ok(Some((row, object)));
            }
            // Long attributes stand apart; if they are gone, the version was replaced between the two reads.
            let apart = self.engine.get(&[attributes(row.version)]).await?;
            if let Some(attributes) = decode_row::<Attributes>(apart[0].as_ref())? {
                let object = show(&row, attributes);
                return Ok(Some((row, object)));
            }
        }
        Err(Fault::Damaged("a version has no attributes".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extent::Number;

    #[test]
    fn a_range_is_cut_across_slices() {
        let slice = |number, offset, length| Slice { extent: Number { session: 1, number }, offset, length };
        let all = [slice(1, 10, 5), slice(2, 0, 0), slice(3, 0, 7)];
        assert_eq!(cut(&all, 0..12), [slice(1, 10, 5), slice(3, 0, 7)]);
        assert_eq!(cut(&all, 3..6), [slice(1, 13, 2), slice(3, 0, 1)]);
        assert_eq!(cut(&all, 5..5), []);
    }
}
