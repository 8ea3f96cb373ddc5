//! What a tree lacks, by its rows: all keys of a root against what is known of their names, and the other way round. No silo
//! is asked.

use super::decide::wanted;
use crate::assimilate::held;
use crate::bucket::Bucket;
use crate::engine::Key;
use crate::fault::Fault;
use crate::limits::LIST_PAGE;
use crate::list::read_name;
use crate::namespace::Core;
use crate::table::names::{NameRow, name as name_key};
use crate::table::objects::{NAME_AT, ObjectRow, object, prefix};
use crate::table::roots::RootRow;
use crate::table::{after_prefix, decode, decode_row, successor};

impl Core {
    /// Finds the names of a root that are not in step with their keys, from a key on.
    pub(super) async fn audit(&self, root: &RootRow, from: Key) {
        if crate::seeded_bug!("projection-no-audit") {
            return;
        }
        let again = from.clone();
        let outcome = async {
            let Some(bucket) = self.bucket_of(root).await? else { return Ok(()) };
            self.audit_intents(root).await?;
            // Before that, whose bytes lie there already is not known of all.
            if !self.root_row(root.info.id).await?.is_some_and(|row| row.info.complete) {
                return Ok(());
            }
            if !self.audit_keys(root, &bucket, from).await? || !self.audit_names(root, &bucket).await? {
                return Ok(());
            }
            held(&self.projecting.done).entry(root.info.id).or_default();
            Ok(())
        };
        if let Err::<(), Fault>(fault) = outcome.await {
            tracing::debug!(root = root.info.id, %fault, "a root was not audited");
            held(&self.projecting.queue).audit(root.info.id, again);
        }
    }

    /// What was under way when somebody died.
    async fn audit_intents(&self, root: &RootRow) -> Result<(), Fault> {
        for (name, _) in self.intents(root.silo, &root.info.order.prefix).await? {
            self.projecting.want((root.info.id, name), &Key::new());
        }
        Ok(())
    }

    async fn audit_keys(&self, root: &RootRow, bucket: &Bucket, from: Key) -> Result<bool, Fault> {
        let all = prefix(bucket.incarnation, &root.info.order.into);
        let (mut at, end) = (from.max(all.clone()), after_prefix(&all));
        loop {
            if at >= end {
                return Ok(true);
            }
            let page = self.engine.range(at.clone()..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(true) };
            let begin = std::mem::replace(&mut at, successor(last));
            let mut names = Vec::with_capacity(page.len());
            for (key, row) in &page {
                let key = read_name(&key[NAME_AT..])?;
                let row: ObjectRow = decode(row)?;
                names.extend(root.info.order.name_of(&key).map(|name| (name.into_bytes(), row.version)));
            }
            let keys: Vec<Key> = names.iter().map(|(name, _)| name_key(root.silo, name)).collect();
            for ((name, version), row) in names.into_iter().zip(self.engine.get(&keys).await?) {
                let known: Option<NameRow> = decode_row(row.as_ref())?;
                if wanted(Some(version), known.as_ref()).is_some()
                    && !self.projecting.want((root.info.id, name), &begin)
                {
                    return Ok(false);
                }
            }
            self.clock.sleep(std::time::Duration::ZERO).await;
        }
    }

    async fn audit_names(&self, root: &RootRow, bucket: &Bucket) -> Result<bool, Fault> {
        let (mut after, behind) = (Vec::new(), after_prefix(&prefix(bucket.incarnation, &root.info.order.into)));
        loop {
            let page = self.known_names(root, &root.info.order.prefix, &after, None, LIST_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(true) };
            after.clone_from(last);
            let shown = page.into_iter().filter(|(_, row)| row.version().is_some());
            let shown: Vec<_> =
                shown.filter_map(|(name, row)| Some((root.info.order.key_of(&name).ok()?, name, row))).collect();
            let keys: Vec<Key> = shown.iter().map(|(key, ..)| object(bucket.incarnation, key)).collect();
            for ((_, name, row), current) in shown.into_iter().zip(self.engine.get(&keys).await?) {
                // A key that is there was looked at.
                let gone = current.is_none() && wanted(None, Some(&row)).is_some();
                if gone && !self.projecting.want((root.info.id, name), &behind) {
                    return Ok(false);
                }
            }
            self.clock.sleep(std::time::Duration::ZERO).await;
        }
    }
}
