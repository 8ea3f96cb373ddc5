//! Extents against silos, both ways: every verified replica is there and right, and every blob has a row.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_silos::silo::Listed;
use holdall_silos::{BlobName, SiloError};

use super::ledger::{Tie, retired_in};
use super::packs::{Lengths, lengths};
use super::{Finding, Pages, Run, read};
use crate::describe::Description;
use crate::digest::extent_digest;
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::{BLOCK, CHECK_DEEP_AT_ONCE, CHECK_PAGE, CHECKS_AT_ONCE};
use crate::names::Names;
use crate::namespace::Core;
use crate::pack::{Wanted, fetch, unpack};
use crate::read::ExtentReader;
use crate::store::silo_failed;
use crate::table::extents::{ExtentRow, blocks, extent, read_extent};
use crate::table::packs::PackId;
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
            let lengths = lengths(&core, &rows).await?;
            let looks = rows.into_iter().map(|(id, row)| look(&core, deep, id, row, &lengths));
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
            let of = match replica.state {
                ReplicaState::Verified => Counted::Silo(replica.silo),
                ReplicaState::Retired => Counted::Retired(replica.silo),
            };
            self.counts.add(of, row.size);
        }
        retired_in(id, row).for_each(|tie| self.ledger.owes(&tie));
        self.note_records(row);
    }

    /// Every name in every silo.
    pub(super) async fn blobs(&mut self) -> Result<(), Fault> {
        for open in self.core.inventory().silos.values() {
            self.blobs_of(open).await?;
        }
        Ok(())
    }

    async fn blobs_of(&mut self, open: &OpenSilo) -> Result<(), Fault> {
        let mut names = Names::of(open);
        while let Some(page) = names.next().await? {
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
        Ok(())
    }
}

/// Looks at an extent, and once more at its row if something is wrong: a replica that is verified still must have been
/// there all the time.
async fn look(
    core: &Arc<Core>,
    deep: bool,
    id: Number,
    row: ExtentRow,
    lengths: &Lengths,
) -> Result<(Number, Found, u64), Fault> {
    let mut found = Found::new();
    if let Some(finding) = sums_of(core, id, &row).await? {
        found.push((None, finding));
    }
    let mut bytes = 0;
    for replica in row.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified) {
        let looking = Looking { core, deep: deep && found.is_empty(), id, row: &row, replica };
        let finding = looking.look(lengths, &mut bytes).await?;
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

/// The block checksums are all there and make the digest. Bytes of our own have them; those of others may not yet.
async fn sums_of(core: &Core, id: Number, row: &ExtentRow) -> Result<Option<Finding>, Fault> {
    if !row.is_hashed() {
        let ours = |replica: &&Replica| replica.location.ours(row.size).is_some();
        let own = row.replicas.iter().find(ours);
        return Ok(own.map(|_| Finding::Dangling { row: format!("extent {id}: it has no block checksums") }));
    }
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

/// A replica being looked at.
struct Looking<'a> {
    core: &'a Arc<Core>,
    deep: bool,
    id: Number,
    row: &'a ExtentRow,
    replica: &'a Replica,
}

impl Looking<'_> {
    async fn look(&self, lengths: &Lengths, bytes: &mut u64) -> Result<Option<Finding>, Fault> {
        let inventory = self.core.inventory();
        let Some(open) = inventory.silos.get(&self.replica.silo) else {
            let (id, silo) = (self.id, self.replica.silo);
            return Ok(Some(Finding::Dangling {
                row: format!("extent {id}: a replica in silo {silo}, which is none"),
            }));
        };
        let (expected, actual) = match &self.replica.location {
            Location::Blob(blob) => (self.row.size, open.note(open.silo.stat(blob).await).map(|stat| stat.size)),
            Location::Pack { pack, offset, length } => {
                let found = lengths.get(&PackId::of(open.id, pack)).cloned().unwrap_or(Err(SiloError::Missing));
                let end = offset + length;
                (end, found.map(|found| found.min(end)))
            }
            // Places of others come with later versions.
            Location::InPlace { .. } => return Ok(None),
        };
        match actual {
            Ok(actual) if actual != expected => {
                let (silo, blob) = (open.row.name.clone(), self.replica.location.to_string());
                return Ok(Some(Finding::WrongSize { silo, blob, expected, actual }));
            }
            Ok(_) => {}
            Err(error) => return self.failed(open, error).map(Some),
        }
        if !self.deep {
            return Ok(None);
        }
        match self.described(open).await? {
            Some(finding) => Ok(Some(finding)),
            None => self.read(open, bytes).await,
        }
    }

    fn damaged(&self, open: &OpenSilo, reason: String) -> Finding {
        let (silo, blob) = (open.row.name.clone(), self.replica.location.to_string());
        Finding::Damaged { silo, blob, reason, object: None }
    }

    /// What a silo's error is worth: a finding, or the end of the check.
    fn failed(&self, open: &OpenSilo, error: SiloError) -> Result<Finding, Fault> {
        match error {
            SiloError::Missing => {
                let (silo, blob) = (open.row.name.clone(), self.replica.location.to_string());
                Ok(Finding::Missing { silo, blob, object: None })
            }
            SiloError::Mismatch { reason } => Ok(self.damaged(open, reason)),
            error => Err(silo_failed(open, &error)),
        }
    }

    /// Every byte.
    async fn read(&self, open: &OpenSilo, bytes: &mut u64) -> Result<Option<Finding>, Fault> {
        let (silo, location) = (self.replica.silo, self.replica.location.clone());
        let mut reader = ExtentReader::verify(Arc::clone(self.core), self.id, self.row.clone(), silo, location.clone());
        loop {
            match reader.next().await {
                Ok(None) => return Ok(None),
                Ok(Some(block)) => *bytes += block.len() as u64,
                Err(Fault::Damaged(reason)) => return Ok(Some(self.damaged(open, reason))),
                Err(fault) => {
                    let Some((blob, _)) = location.ours(self.row.size) else { return Err(fault) };
                    return match open.silo.stat(&blob).await {
                        Err(error @ SiloError::Missing) => self.failed(open, error).map(Some),
                        _ => Err(fault),
                    };
                }
            }
        }
    }

    /// What the blob or record says of itself.
    async fn described(&self, open: &OpenSilo) -> Result<Option<Finding>, Fault> {
        let says = match (&self.replica.location, Wanted::at(&self.replica.location)) {
            (_, Some(record)) => match fetch(open, &[record], true).await.pop() {
                Some(Ok(record)) => unpack(&record).map(|(says, _)| says),
                Some(Err(error)) => return self.failed(open, error).map(Some),
                None => None,
            },
            (Location::Blob(blob), None) => match open.note(open.silo.describe(blob).await) {
                Ok(described) if described.is_empty() => return Ok(None),
                Ok(described) => Description::decode(&described).ok(),
                Err(error) => return self.failed(open, error).map(Some),
            },
            _ => return Ok(None),
        };
        let Some(says) = says else {
            return Ok(Some(self.damaged(open, "what it says of itself does not read".to_owned())));
        };
        let same = says.namespace == self.core.id
            && says.extent == self.id
            && says.size == self.row.size
            && says.digest.is_none_or(|digest| digest == self.row.digest);
        let says = format!("extent {} of {} bytes, `{}/{}`", says.extent, says.size, says.bucket, says.key);
        let (silo, blob) = (open.row.name.clone(), self.replica.location.to_string());
        Ok((!same).then_some(Finding::WrongBlob { silo, blob, says }))
    }
}
