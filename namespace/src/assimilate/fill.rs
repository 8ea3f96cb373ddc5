//! Headers and metadata of what listings made: asked for once, before anything of it moves.

use futures_util::{StreamExt, stream};

use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::limits::{LIST_PAGE, LOOKS_AT_ONCE};
use crate::list::read_name;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::table::objects::{NAME_AT, ObjectRow, prefix};
use crate::table::roots::RootRow;
use crate::table::{after_prefix, decode, successor};

impl Core {
    /// Asks for what is missing of all objects of a root; answers whether it is all there now.
    pub(super) async fn fill_root(&self, root: &RootRow, bucket: &Bucket) -> Result<bool, Fault> {
        let mut at = prefix(bucket.incarnation, &root.info.order.into);
        let (end, mut whole) = (after_prefix(&at), true);
        loop {
            let page = self.engine.range(at.clone()..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(whole) };
            at = successor(last);
            let mut wanted = Vec::new();
            for (key, row) in &page {
                let row: ObjectRow = decode(row)?;
                if row.etag.is_in_part() {
                    wanted.push((read_key(key)?, row));
                }
            }
            let fills = wanted.into_iter().map(|(key, row)| async move { self.try_fill(bucket, &key, &row).await });
            let mut fills = stream::iter(fills).buffer_unordered(LOOKS_AT_ONCE);
            while let Some(filled) = fills.next().await {
                if let Err(fault) = filled {
                    tracing::debug!(root = root.info.id, %fault, "an object's headers are still missing");
                    whole = false;
                }
            }
        }
    }
}

fn read_key(key: &[u8]) -> Result<ObjectKey, Fault> {
    let key = read_name(key.get(NAME_AT..).unwrap_or_default())?.parse();
    key.map_err(|error| Fault::Damaged(format!("a key of the objects table: {error}")))
}
