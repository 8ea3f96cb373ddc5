//! What a tree lacks, by its rows: all keys of a root against what is known of their names, and the other way round. No silo
//! is asked.

use super::decide::wanted;
use crate::bucket::Bucket;
use crate::engine::Key;
use crate::fault::Fault;
use crate::limits::LIST_PAGE;
use crate::list::read_name;
use crate::namespace::Core;
use crate::table::names::{NameRow, name as name_key};
use crate::table::objects::{NAME_AT, ObjectRow, object, prefix};
use crate::table::projections::{intents, read_intent};
use crate::table::roots::RootRow;
use crate::table::{after_prefix, decode, decode_row, successor};

impl Core {
    /// Finds the names of a root that are not in step with their keys.
    pub(super) async fn audit(&self, root: &RootRow) {
        if crate::seeded_bug!("projection-no-audit") {
            return;
        }
        let outcome = async {
            let Some(bucket) = self.bucket_of(root).await? else { return Ok(()) };
            self.audit_intents(root).await?;
            // Before that, whose bytes lie there already is not known of all.
            if !self.root_row(root.info.id).await?.is_some_and(|row| row.info.complete) {
                return Ok(());
            }
            self.audit_keys(root, &bucket).await?;
            self.audit_names(root, &bucket).await?;
            self.projecting.done.lock().expect("no holder panics").entry(root.info.id).or_default();
            Ok(())
        };
        if let Err::<(), Fault>(fault) = outcome.await {
            tracing::debug!(root = root.info.id, %fault, "a root was not audited");
            self.projecting.audits.lock().expect("no holder panics").insert(root.info.id);
        }
    }

    fn want_in_step(&self, root: &RootRow, name: Vec<u8>) {
        self.projecting.want((root.info.id, name), self.clock.monotonic());
    }

    /// What was under way when somebody died.
    async fn audit_intents(&self, root: &RootRow) -> Result<(), Fault> {
        let all = intents(root.silo, root.info.order.prefix.as_bytes());
        for (key, _) in self.engine.range(all.clone()..after_prefix(&all), usize::MAX, usize::MAX).await? {
            if let Some(name) = read_intent(&key) {
                self.want_in_step(root, name);
            }
        }
        Ok(())
    }

    async fn audit_keys(&self, root: &RootRow, bucket: &Bucket) -> Result<(), Fault> {
        let all = prefix(bucket.incarnation, &root.info.order.into);
        let (mut at, end) = (all.clone(), after_prefix(&all));
        loop {
            let page = self.engine.range(at..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            at = successor(last);
            let mut names = Vec::with_capacity(page.len());
            for (key, row) in &page {
                let key = read_name(&key[NAME_AT..])?;
                let row: ObjectRow = decode(row)?;
                names.extend(root.info.order.name_of(&key).map(|name| (name.into_bytes(), row.version)));
            }
            let keys: Vec<Key> = names.iter().map(|(name, _)| name_key(root.silo, name)).collect();
            for ((name, version), row) in names.into_iter().zip(self.engine.get(&keys).await?) {
                let known: Option<NameRow> = decode_row(row.as_ref())?;
                if wanted(Some(version), known.as_ref()).is_some() {
                    self.want_in_step(root, name);
                }
            }
            self.clock.sleep(std::time::Duration::ZERO).await;
        }
    }

    async fn audit_names(&self, root: &RootRow, bucket: &Bucket) -> Result<(), Fault> {
        let mut after = Vec::new();
        loop {
            let page = self.known_names(root, &root.info.order.prefix, &after, None, LIST_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            let shown = page.into_iter().filter(|(_, row)| row.version().is_some());
            let shown: Vec<_> =
                shown.filter_map(|(name, row)| Some((root.info.order.key_of(&name).ok()?, name, row))).collect();
            let keys: Vec<Key> = shown.iter().map(|(key, ..)| object(bucket.incarnation, key)).collect();
            for ((_, name, row), current) in shown.into_iter().zip(self.engine.get(&keys).await?) {
                // A key that is there was looked at.
                if current.is_none() && wanted(None, Some(&row)).is_some() {
                    self.want_in_step(root, name);
                }
            }
            self.clock.sleep(std::time::Duration::ZERO).await;
        }
    }
}
