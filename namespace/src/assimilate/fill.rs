//! Headers and metadata of what listings made: asked for once, before anything of it moves.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::find::held;
use super::{Noted, Unfilled};
use crate::bucket::Bucket;
use crate::fault::Fault;
use crate::limits::{LIST_PAGE, LOOKS_AT_ONCE, UNFILLED_TOLD};
use crate::list::read_name;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::table::objects::{NAME_AT, ObjectRow, object, prefix};
use crate::table::roots::{RootId, RootRow};
use crate::table::{after_prefix, decode, decode_row, successor};

/// A pass makes objects of which no headers were asked for: as long as it does, a fill may miss some of them.
pub(super) struct InPart {
    core: Arc<Core>,
    id: RootId,
}

impl Drop for InPart {
    fn drop(&mut self) {
        let mut all = held(&self.core.looking.in_part);
        let left = all.remove(&self.id).unwrap_or_default().saturating_sub(1);
        if left > 0 {
            all.insert(self.id, left);
        }
    }
}

impl Unfilled {
    fn note(&mut self, root: RootId, key: &ObjectKey, reason: String) {
        if self.keys < UNFILLED_TOLD {
            tracing::warn!(root, %key, reason, "an object's headers are still missing");
        }
        self.keys += 1;
        self.first.get_or_insert_with(|| Noted { name: key.to_string(), reason });
    }
}

impl Core {
    /// Objects of a root are about to be made whose headers are asked for later: until they are there, nothing of it moves.
    pub(super) async fn begin_in_part(self: &Arc<Self>, id: RootId) -> Result<InPart, Fault> {
        *held(&self.looking.in_part).entry(id).or_default() += 1;
        let begun = InPart { core: Arc::clone(self), id };
        let noted = self.change_root(id, |row| {
            row.info.filled = false;
            row.info.in_part += 1;
        });
        noted.await.map(|_| begun)
    }

    /// Asks for what is missing of all objects of a root that was passed, and notes whether it is all there now.
    pub(super) async fn fill_root(&self, root: &RootRow, bucket: &Bucket) -> Result<(), Fault> {
        let id = root.info.id;
        let Some(row) = self.root_row(id).await? else { return Ok(()) };
        let info = row.info;
        if !info.complete || (info.filled && info.unfilled.is_some()) {
            return Ok(());
        }
        // Whoever makes such objects now asks for their headers later; whoever begins to counts on.
        let (alone, begun) = (!held(&self.looking.in_part).contains_key(&id), info.in_part);
        let left = self.fill_all(root, bucket).await?;
        let noted = self.change_root(id, move |row| {
            if row.info.in_part == begun {
                row.info.filled = alone && left.keys == 0;
            }
            row.info.unfilled = Some(left.clone());
        });
        noted.await.map(drop)
    }

    async fn fill_all(&self, root: &RootRow, bucket: &Bucket) -> Result<Unfilled, Fault> {
        let mut at = prefix(bucket.incarnation, &root.info.order.into);
        let (end, mut left) = (after_prefix(&at), Unfilled::default());
        loop {
            let page = self.engine.range(at.clone()..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(left) };
            at = successor(last);
            let mut wanted = Vec::new();
            for (key, row) in &page {
                let row: ObjectRow = decode(row)?;
                if row.etag.is_in_part() {
                    wanted.push((read_key(key)?, row));
                }
            }
            let fills =
                wanted.into_iter().map(|(key, row)| async move { (self.fill_one(bucket, &key, &row).await, key) });
            let mut fills = stream::iter(fills).buffer_unordered(LOOKS_AT_ONCE);
            while let Some((missing, key)) = fills.next().await {
                if let Some(reason) = missing? {
                    left.note(root.info.id, &key, reason);
                }
            }
        }
    }

    /// Asks for what is missing of one object; answers why it is missing still.
    async fn fill_one(&self, bucket: &Bucket, key: &ObjectKey, row: &ObjectRow) -> Result<Option<String>, Fault> {
        let reason = match self.try_fill(bucket, key, row).await {
            Ok(true) => return Ok(None),
            Ok(false) => "it cannot be read any more".to_owned(),
            Err(fault) => fault.to_string(),
        };
        // What was replaced or taken away meanwhile lacks nothing.
        let name = object(bucket.incarnation, key);
        let now: Option<ObjectRow> = decode_row(self.engine.get(&[name]).await?[0].as_ref())?;
        let still = now.is_some_and(|now| now.version == row.version && now.etag.is_in_part());
        Ok(still.then_some(reason))
    }
}

fn read_key(key: &[u8]) -> Result<ObjectKey, Fault> {
    let key = read_name(key.get(NAME_AT..).unwrap_or_default())?.parse();
    key.map_err(|error| Fault::Damaged(format!("a key of the objects table: {error}")))
}
