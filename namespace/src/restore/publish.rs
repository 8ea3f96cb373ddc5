//! Objects made of what blobs and records say of themselves, for whoever has decided that they are to be there.
//!
//! The bytes tell bucket, key, version, headers, and by being read the ETag. They do not tell tags, checksums asked for,
//! storage classes, when they were written, which parts an upload was completed with, and objects without bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use md5::{Digest as _, Md5};

use crate::account::FIRST;
use crate::bucket::{Bucket, BucketError, CreateBucketError};
use crate::census::BUCKET;
use crate::clock::UnixMs;
use crate::describe::Description;
use crate::digest::{BlockSums, extent_digest};
use crate::extent::{Location, Number};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::MAX_EXTENT;
use crate::name::{BucketName, ObjectKey};
use crate::namespace::Namespace;
use crate::object::{Condition, Headers};
use crate::put::Computed;
use crate::replace::{Beside, Decide, NotReplaced, Replace};
use crate::store::{StoredBytes, StoredExtent};
use crate::table::decode_row;
use crate::table::objects::{Attributes, Data, ObjectRow, object};
use crate::table::tag::Tag;

/// An extent that the index knows nothing of.
pub(super) struct Found {
    pub(super) silo: Arc<OpenSilo>,
    pub(super) location: Location,
    /// Bytes that the silo stores for it.
    pub(super) stored: u64,
    pub(super) says: Option<Description>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Published {
    Yes,
    No,
}

/// Makes objects of extents as they are found.
pub(super) struct Publisher<'a> {
    namespace: &'a Namespace,
    /// What was published since then may give way to a newer version; what the index had before may not.
    begun: UnixMs,
    /// Extents of versions that have several, until all silos were seen; by place in the version.
    several: BTreeMap<Number, BTreeMap<u64, Found>>,
}

impl<'a> Publisher<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        Self { namespace, begun: namespace.clock.now(), several: BTreeMap::new() }
    }

    /// Publishes an object that is one extent; keeps one of several.
    pub(super) async fn publish(&mut self, found: Found) -> Result<Option<(Published, Found)>, Fault> {
        let Some(says) = &found.says else { return Ok(Some((Published::No, found))) };
        if says.part == 0 && (says.offset > 0 || says.size == MAX_EXTENT) {
            let (version, offset) = (says.version, says.offset);
            self.several.entry(version).or_default().insert(offset, found);
            return Ok(None);
        }
        let found = vec![found];
        let published = self.publish_version(&found).await?;
        Ok(found.into_iter().next().map(|found| (published, found)))
    }

    /// Publishes what has several extents, where all of them were found.
    pub(super) async fn publish_the_rest(mut self) -> Result<Vec<(Published, Found)>, Fault> {
        let mut all = Vec::new();
        for (_, found) in std::mem::take(&mut self.several) {
            let found: Vec<Found> = found.into_values().collect();
            let published = if is_whole(&found) { self.publish_version(&found).await? } else { Published::No };
            all.extend(found.into_iter().map(|found| (published, found)));
        }
        Ok(all)
    }

    async fn publish_version(&self, found: &[Found]) -> Result<Published, Fault> {
        let Some(says) = found.first().and_then(|found| found.says.clone()) else { return Ok(Published::No) };
        // A part tells no upload.
        let (Ok(bucket), Ok(key), 0) = (says.bucket.parse::<BucketName>(), says.key.parse::<ObjectKey>(), says.part)
        else {
            return Ok(Published::No);
        };
        // The inventory is made anew, in a bucket that is empty; what is left of an old one is nobody's.
        if says.namespace != self.namespace.id() || says.bucket == BUCKET {
            return Ok(Published::No);
        }
        let bucket = self.bucket(&bucket).await?;
        let row = self.namespace.engine.get(&[object(bucket.incarnation, &key)]).await?;
        let known: Option<ObjectRow> = decode_row(row[0].as_ref())?;
        if known.is_some_and(|known| known.modified < self.begun || known.version >= says.version) {
            return Ok(Published::No);
        }
        let Some(stored) = read(found).await else { return Ok(Published::No) };
        let row = ObjectRow {
            size: stored.extents.iter().map(|extent| extent.size).sum(),
            modified: 0,
            etag: Tag::Md5 { md5: stored.computed.md5, parts: 0 },
            checksum: None,
            storage_class: None,
            version: says.version,
            data: Data::Slices(stored.slices()),
            attributes: None,
        };
        let attributes = Attributes { headers: headers(&says), ..Attributes::default() };
        let (session, condition) = (self.namespace.session(), Condition::default());
        let guards = vec![Arc::new(session.take())];
        let version = says.version;
        let decide: Decide<()> = Arc::new(move |_, row| Ok(stored.writes_for(version, row.modified)));
        let (beside, adding) = (Beside { reads: Vec::new(), decide }, Vec::new());
        let replace = Replace {
            session,
            bucket: &bucket,
            key: &key,
            row,
            attributes,
            modified: None,
            condition,
            adding,
            beside,
            guards,
        };
        match self.namespace.replace(replace).await {
            Ok(_) => Ok(Published::Yes),
            Err(NotReplaced::Fault(fault)) => Err(fault),
            Err(_) => Err(Fault::Unavailable("an object could not be published".to_owned())),
        }
    }

    /// The bucket of that name; where there is none, one of the first account is made.
    async fn bucket(&self, name: &BucketName) -> Result<Bucket, Fault> {
        match self.namespace.bucket(name).await {
            Ok(bucket) => return Ok(bucket),
            Err(BucketError::Fault(fault)) => return Err(fault),
            Err(_) => {}
        }
        match self.namespace.create_bucket(name, FIRST).await {
            Ok(bucket) => Ok(bucket),
            Err(CreateBucketError::Fault(fault)) => Err(fault),
            Err(error) => Err(Fault::Unavailable(format!("bucket `{name}`: {error}"))),
        }
    }
}

/// Whether these are all extents of a version: none is missing between, and the last one is not full.
fn is_whole(found: &[Found]) -> bool {
    let mut end = 0;
    for says in found.iter().filter_map(|found| found.says.as_ref()) {
        if says.offset != end {
            return false;
        }
        end += says.size;
    }
    // One that ends with a full extent may go on.
    end % MAX_EXTENT != 0
}

/// Reads extents in order, and compares them with what they say they are.
async fn read(found: &[Found]) -> Option<StoredBytes> {
    let (mut md5, mut extents) = (Md5::new(), Vec::with_capacity(found.len()));
    for Found { silo, location, says, .. } in found {
        let says = says.as_ref()?;
        let (blob, begin) = location.ours(says.size)?;
        let end = begin + says.size;
        let mut pieces = silo.note(silo.silo.read(&blob, end, begin..end).await).ok()?;
        let mut sums = BlockSums::default();
        while let Some(piece) = silo.note(pieces.try_next().await).ok()? {
            md5.update(&piece);
            sums.update(&piece);
        }
        let sums = sums.finish();
        if says.digest.is_some_and(|digest| digest != extent_digest(&sums)) {
            tracing::warn!(%location, silo = %silo.row.name, "bytes are not what they say they are");
            return None;
        }
        extents.push(StoredExtent {
            id: says.extent,
            size: says.size,
            sums,
            silo: silo.id,
            location: location.clone(),
        });
    }
    let computed = Computed { md5: md5.finalize().into(), checksum: None };
    Some(StoredBytes { computed, extents, guards: Vec::new(), then: crate::inventory::Then::Rest, revision: 0 })
}

/// What was said of headers.
fn headers(says: &Description) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in &says.headers {
        match name.strip_prefix("x-amz-meta-") {
            Some(name) => headers.user.push((name.to_owned(), value.clone())),
            None => headers.system.push((name.clone(), value.clone())),
        }
    }
    headers
}
