//! Object tagging.

use crate::bucket::Bucket;
use crate::engine::{Read, Rows, Write};
use crate::fault::Fault;
use crate::get::GetError;
use crate::limits::COMMIT_TRIES;
use crate::name::ObjectKey;
use crate::namespace::Namespace;
use crate::object::Pairs;
use crate::reference::Stale;
use crate::session::Uncommitted;
use crate::table::decode_row;
use crate::table::objects::{Attributes, ObjectRow, attributes, object, store};

impl Namespace {
    /// Replaces the current version's tags; an empty list removes them. Nothing else of the object changes.
    ///
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObjectTagging.html>
    pub async fn set_tags(&self, bucket: &Bucket, key: &ObjectKey, tags: Pairs) -> Result<(), GetError> {
        let (session, name) = (self.session(), object(bucket.incarnation, key));
        for _ in 0..COMMIT_TRIES {
            let (row, shown) = self.core.current(bucket, key).await?.ok_or(GetError::NoSuchKey)?;
            let checksum = shown.checksum.map(|checksum| checksum.value);
            let attributes_now = Attributes { headers: shown.headers, tags: tags.clone(), checksum };
            let (read, version) = (name.clone(), row.version);
            let decide = move |rows: &Rows| {
                let current: Option<ObjectRow> = decode_row(rows.get(&read)).map_err(Stale::Fault)?;
                let current = current.filter(|current| current.version == version).ok_or(Stale::Again)?;
                let mut writes = store(read.clone(), current.clone(), attributes_now.clone());
                if current.attributes.is_none() && writes.len() == 1 {
                    writes.push(Write::Delete(attributes(version)));
                }
                Ok((writes, ()))
            };
            match session.commit(vec![Read::Row(name.clone())], decide).await {
                Ok(()) => {
                    self.core.align_soon(bucket, key);
                    return Ok(());
                }
                Err(Uncommitted::Refused(Stale::Fault(fault)) | Uncommitted::Fault(fault)) => return Err(fault.into()),
                // Tags may be set twice: after a lost answer they are simply set again.
                Err(Uncommitted::Refused(_) | Uncommitted::Unknown) => {}
            }
        }
        Err(Fault::Unavailable("the key is written too often".to_owned()).into())
    }
}
