//! Extents against silos, both ways: every verified replica is there and right, and every blob has a row.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_silos::silo::Listed;
use holdall_silos::{BlobName, SiloError};

use super::ledger::Tie;
use super::{Finding, Pages, Run, read};
use crate::describe::Description;
use crate::digest::extent_digest;
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::{BLOCK, CHECK_DEEP_AT_ONCE, CHECK_PAGE, CHECKS_AT_ONCE};
use crate::namespace::Core;
use crate::read::ExtentReader;
use crate::table::extents::{ExtentRow, blocks, extent, read_extent};
use crate::table::refs::Target;
use crate::table::usage::Counted;
use crate::table::{decode, key};

/// What was found of one extent: which replica, none for the row itself.
type Found = Vec<(Option<(SiloId, Location)>, Finding)>;

impl Run<'_> {
    /// Every extent's row, and every verified replica of it.
    pub(super) async fn extents(&mut self) -> Result<(), Fault> {
        self.begin_silo_counts().await?;
        let (mut pages, core, deep) = (Pages::of(key::EXTENTS, CHECK_PAGE), Arc::clone(self.core), self.deep);
        let at_once = if deep { CHECK_DEEP_AT_ONCE } else { CHECKS_AT_ONCE };
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            let mut rows = Vec::with_capacity(page.len());
            for (key, bytes) in &page {
                match (read_extent(key), decode::<ExtentRow>(bytes)) {
                    (Some(id), Ok(row)) => rows.push((id, row)),
                    _ => self.dangling(format!("an extent's row does not read: {}", const_hex::encode(key))),
                }
            }
            for (id, row) in &rows {
                self.note_extent(*id, row);
            }
            let looks = rows.into_iter().map(|(id, row)| look(&core, deep, id, row));
            let looks: Vec<(Number, Found, u64)> = stream::iter(looks).buffer_unordered(at_once).try_collect().await?;
            for (id, found, bytes) in looks {
                self.seen.bytes += bytes;
                for (_, finding) in found {
                    self.about_extent(id, finding);
                }
            }
        }
        self.compare_silo_counts().await
    }

    fn note_extent(&mut self, id: Number, row: &ExtentRow) {
        self.seen.extents += 1;
        if let Some(first) = row.first {
            self.ledger.owes(&Tie::Reference(Target::Extent(id), first));
        }
        for replica in &row.replicas {
            let (of, blob) = match (replica.state, &replica.location) {
                (ReplicaState::Verified, _) => (Counted::Silo(replica.silo), None),
                (ReplicaState::Retired, Location::Blob(blob)) => (Counted::Retired(replica.silo), Some(*blob)),
                (ReplicaState::Retired, _) => (Counted::Retired(replica.silo), None),
            };
            self.counts.add(of, row.size);
            if let Some(blob) = blob {
                self.ledger.owes(&Tie::Retired(id, replica.silo, blob));
            }
        }
    }

    /// Every name in every silo.
    pub(super) async fn blobs(&mut self) -> Result<(), Fault> {
        for open in self.core.inventory().silos.values() {
            self.blobs_of(open).await?;
        }
        Ok(())
    }

    async fn blobs_of(&mut self, open: &OpenSilo) -> Result<(), Fault> {
        let mut after: Option<String> = None;
        loop {
            let page = open.note(open.silo.list("", after.as_deref(), holdall_silos::limits::MAX_LIST_PAGE).await);
            let page = page.map_err(|error| crate::store::silo_failed(open, &error))?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.name.clone());
            self.seen.blobs += page.len() as u64;
            let mut ours: Vec<(BlobName, Listed)> = Vec::with_capacity(page.len());
            for listed in page {
                match listed.name.parse() {
                    Ok(blob) => ours.push((blob, listed)),
                    Err(_) => self.report(Finding::Foreign { silo: open.row.name.clone(), name: listed.name }),
                }
            }
            for (blob, listed) in self.core.orphans_of(open.id, ours).await? {
                // Swept since it was listed: the silo deletes before the row goes.
                if matches!(open.silo.stat(&blob).await, Err(SiloError::Missing)) {
                    continue;
                }
                let (silo, blob) = (open.row.name.clone(), blob.to_string());
                self.report(Finding::Orphan { silo, blob, bytes: listed.stored });
            }
        }
    }
}

/// Looks at an extent, and once more at its row if something is wrong: a replica that is verified still must have been
/// there all the time.
async fn look(core: &Arc<Core>, deep: bool, id: Number, row: ExtentRow) -> Result<(Number, Found, u64), Fault> {
    let mut found = Found::new();
    if let Some(finding) = sums_of(core, id, &row).await? {
        found.push((None, finding));
    }
    let mut bytes = 0;
    for replica in row.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified) {
        let finding = look_at_replica(core, deep && found.is_empty(), id, &row, replica, &mut bytes).await?;
        found.extend(finding.map(|finding| (Some((replica.silo, replica.location.clone())), finding)));
    }
    if !found.is_empty() {
        let now: Option<ExtentRow> = read(core.engine.get(&[extent(id)]).await?[0].as_ref());
        found.retain(|(place, _)| match (&now, place) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(now), Some((silo, at))) => now.verified_in(*silo).is_some_and(|replica| replica.location == *at),
        });
    }
    Ok((id, found, bytes))
}

/// The block checksums are all there and make the digest.
async fn sums_of(core: &Core, id: Number, row: &ExtentRow) -> Result<Option<Finding>, Fault> {
    let sums = if let Some(sums) = &row.blocks {
        sums.clone()
    } else {
        let count = row.size.div_ceil(BLOCK).div_ceil(crate::table::extents::BLOCKS_PER_ROW as u64);
        let keys: Vec<_> = (0..count).map(|index| blocks(id, index as u32)).collect();
        let mut sums: Vec<u64> = Vec::new();
        for row in core.engine.get(&keys).await?.iter().flatten() {
            sums.extend(decode::<Vec<u64>>(row).unwrap_or_default());
        }
        sums
    };
    let right = sums.len() as u64 == row.size.div_ceil(BLOCK) && extent_digest(&sums) == row.digest;
    Ok((!right).then(|| Finding::Dangling { row: format!("extent {id}: its block checksums do not make its digest") }))
}

async fn look_at_replica(
    core: &Arc<Core>,
    deep: bool,
    id: Number,
    row: &ExtentRow,
    replica: &Replica,
    bytes: &mut u64,
) -> Result<Option<Finding>, Fault> {
    // Packs and places of others come with later versions.
    let Location::Blob(blob) = &replica.location else { return Ok(None) };
    let inventory = core.inventory();
    let Some(open) = inventory.silos.get(&replica.silo) else {
        return Ok(Some(Finding::Dangling {
            row: format!("extent {id}: a replica in silo {}, which is none", replica.silo),
        }));
    };
    let (silo, name) = (open.row.name.clone(), blob.to_string());
    match open.note(open.silo.stat(blob).await) {
        Ok(stat) if stat.size != row.size => {
            return Ok(Some(Finding::WrongSize { silo, blob: name, expected: row.size, actual: stat.size }));
        }
        Ok(_) => {}
        Err(SiloError::Missing) => return Ok(Some(Finding::Missing { silo, blob: name, object: None })),
        Err(SiloError::Mismatch { reason }) => {
            return Ok(Some(Finding::Damaged { silo, blob: name, reason, object: None }));
        }
        Err(error) => return Err(crate::store::silo_failed(open, &error)),
    }
    if !deep {
        return Ok(None);
    }
    if let Some(finding) = described(core, open, id, row, blob).await? {
        return Ok(Some(finding));
    }
    let mut reader = ExtentReader::verify(Arc::clone(core), id, row.clone(), replica.silo, replica.location.clone());
    loop {
        match reader.next().await {
            Ok(None) => return Ok(None),
            Ok(Some(block)) => *bytes += block.len() as u64,
            Err(Fault::Damaged(reason)) => {
                return Ok(Some(Finding::Damaged { silo, blob: name, reason, object: None }));
            }
            Err(fault) => match open.silo.stat(blob).await {
                Err(SiloError::Missing) => return Ok(Some(Finding::Missing { silo, blob: name, object: None })),
                _ => return Err(fault),
            },
        }
    }
}

/// What the blob says of itself.
async fn described(
    core: &Core,
    open: &OpenSilo,
    id: Number,
    row: &ExtentRow,
    blob: &BlobName,
) -> Result<Option<Finding>, Fault> {
    let (silo, name) = (open.row.name.clone(), blob.to_string());
    let damaged =
        |reason: String| Some(Finding::Damaged { silo: silo.clone(), blob: name.clone(), reason, object: None });
    let described = match open.note(open.silo.describe(blob).await) {
        Ok(described) if described.is_empty() => return Ok(None),
        Ok(described) => described,
        Err(SiloError::Mismatch { reason }) => return Ok(damaged(reason)),
        Err(SiloError::Missing) => return Ok(Some(Finding::Missing { silo, blob: name, object: None })),
        Err(error) => return Err(crate::store::silo_failed(open, &error)),
    };
    let Ok(says) = Description::decode(&described) else {
        return Ok(damaged("what it says of itself does not read".to_owned()));
    };
    let same = says.namespace == core.id
        && says.extent == id
        && says.size == row.size
        && says.digest.is_none_or(|digest| digest == row.digest);
    let says = format!("extent {} of {} bytes, `{}/{}`", says.extent, says.size, says.bucket, says.key);
    Ok((!same).then_some(Finding::WrongBlob { silo, blob: name, says }))
}
