//! Which extents an order is about: those of the objects under a prefix, or all that lie in a silo.

use std::collections::BTreeSet;

use crate::engine::{Key, Page};
use crate::extent::{Number, ReplicaState, Slice};
use crate::fault::Fault;
use crate::job::{Order, OrderError, PlanSummary, ReplicaInfo};
use crate::namespace::Core;
use crate::plan::{Wish, plan};
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::objects::{Data, ObjectRow, prefix as object_prefix};
use crate::table::{after_prefix, decode, decode_row, key, successor};

/// Rows looked at in one step.
const PAGE: usize = 256;

/// A walk over what an order is about, a page at a time, in constant memory.
pub(crate) struct Walk {
    at: Key,
    end: Key,
    by_object: bool,
}

impl Walk {
    /// From the beginning.
    pub(crate) async fn begin(core: &Core, order: &Order) -> Result<Self, OrderError> {
        match order {
            Order::Place { bucket, prefix, .. } => {
                let rows = core.engine.get(&[crate::table::buckets::bucket(bucket)]).await.map_err(Fault::from)?;
                let row: Option<crate::table::buckets::BucketRow> = decode_row(rows[0].as_ref())?;
                let row = row.ok_or_else(|| OrderError::NoSuchBucket(bucket.to_string()))?;
                let at = object_prefix(row.incarnation, prefix);
                let end = after_prefix(&at);
                Ok(Self { at, end, by_object: true })
            }
            Order::Drain { .. } => {
                Ok(Self { at: vec![key::EXTENTS], end: after_prefix(&[key::EXTENTS]), by_object: false })
            }
        }
    }

    /// The next extents, with their rows; `None` at the end.
    pub(crate) async fn next(&mut self, core: &Core) -> Result<Option<Vec<(Number, ExtentRow)>>, Fault> {
        if self.at >= self.end {
            return Ok(None);
        }
        let page = core.engine.range(self.at.clone()..self.end.clone(), PAGE, usize::MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        self.at = successor(last);
        if self.by_object {
            return core.extents_of_objects(&page).await.map(Some);
        }
        let rows = page.iter().filter_map(|(key, bytes)| read_extent(key).map(|id| Ok((id, decode(bytes)?))));
        rows.collect::<Result<Vec<_>, Fault>>().map(Some)
    }
}

impl Core {
    /// Counts what an order would move.
    pub(crate) async fn summarize(&self, order: &Order, wish: Wish) -> Result<PlanSummary, OrderError> {
        let (mut walk, mut summary) = (Walk::begin(self, order).await?, PlanSummary::default());
        while let Some(extents) = walk.next(self).await? {
            for (id, row) in extents {
                let planned = plan(wish, id, &row);
                let concerns = matches!(wish, Wish::On(_)) && row.first.is_some();
                if planned.is_some() || concerns {
                    summary.count(row.size, planned.as_ref());
                }
            }
        }
        Ok(summary)
    }

    async fn extents_of_objects(&self, page: &Page) -> Result<Vec<(Number, ExtentRow)>, Fault> {
        let mut ids = BTreeSet::new();
        for (_, bytes) in page {
            let row: ObjectRow = decode(bytes)?;
            let slices = match row.data {
                Data::Slices(slices) => slices,
                // A manifest retired meanwhile is about nothing any more.
                Data::Manifest(id) => self.manifest_slices(id, 0..u64::MAX).await.unwrap_or_default(),
            };
            ids.extend(slices.iter().map(|slice| slice.extent));
        }
        let ids: Vec<Number> = ids.into_iter().collect();
        let rows = self.engine.get(&ids.iter().map(|id| extent(*id)).collect::<Vec<_>>()).await?;
        let mut extents = Vec::with_capacity(ids.len());
        for (id, row) in ids.into_iter().zip(rows) {
            extents.extend(decode_row::<ExtentRow>(row.as_ref())?.map(|row| (id, row)));
        }
        Ok(extents)
    }

    /// Every replica of what these slices name.
    pub(crate) async fn replicas_of(&self, slices: &[Slice]) -> Result<Vec<ReplicaInfo>, Fault> {
        let ids: BTreeSet<Number> = slices.iter().map(|slice| slice.extent).collect();
        let inventory = self.inventory();
        let mut infos = Vec::new();
        for id in ids {
            let row = self.engine.get(&[extent(id)]).await?;
            let Some(row) = decode_row::<ExtentRow>(row[0].as_ref())? else { continue };
            for replica in &row.replicas {
                let silo = inventory.silos.get(&replica.silo).map(|open| open.row.name.clone());
                let state = if replica.state == ReplicaState::Verified { "verified" } else { "retired" };
                infos.push(ReplicaInfo {
                    extent: id.to_string(),
                    silo: silo.unwrap_or_else(|| format!("#{}", replica.silo)),
                    state: state.to_owned(),
                    blob: replica.location.to_string(),
                    bytes: row.size,
                    since: replica.since,
                    job: replica.job,
                });
            }
        }
        Ok(infos)
    }
}
