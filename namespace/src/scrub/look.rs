//! Looking at replicas: is each what was written?

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use holdall_silos::SiloError;

use super::{Came, Flaw, Scrubber};
use crate::digest::block_sum;
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::{MOVED_BYTES, MOVED_TOGETHER};
use crate::pack::{Wanted, fetch, unpack};
use crate::read::ExtentReader;
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};

/// A replica to be looked at.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub id: Number,
    pub row: ExtentRow,
    pub location: Location,
}

/// What a look found.
enum Seen {
    Good,
    Bad(Flaw, String),
    /// The silo did not answer, or nobody waits any more.
    Unknown(String),
}

/// A replica with what is wrong with it.
pub(super) struct Bad {
    pub item: Item,
    pub flaw: Flaw,
    pub reason: String,
}

impl Item {
    /// The verified replica of an extent in a silo, where it is bytes of ours with checksums.
    pub(crate) fn of(id: Number, row: ExtentRow, silo: SiloId) -> Option<Self> {
        let live = row.first.is_some() && row.is_hashed();
        let location = row.verified_in(silo).filter(|_| live)?.location.clone();
        location.ours(row.size)?;
        Some(Self { id, row, location })
    }

    /// Whether a record is this extent's, whole and right.
    fn is_right(&self, record: &Bytes) -> bool {
        unpack(record).is_some_and(|(description, payload)| {
            let sums = self.row.blocks.as_deref().unwrap_or_default();
            description.extent == self.id && payload.len() as u64 == self.row.size && sums == [block_sum(&payload)]
        })
    }
}

/// Replicas by what is read at once: records of packs in the order in which they lie, all else each by itself.
pub(crate) fn sort(mut items: Vec<Item>) -> VecDeque<Vec<Item>> {
    items.sort_by_key(|item| (Wanted::at(&item.location), item.id));
    let (mut batches, mut bytes) = (VecDeque::<Vec<Item>>::new(), 0);
    for item in items {
        let length = item.location.length();
        match batches.back_mut() {
            Some(batch)
                if length > 0
                    && batch[0].location.length() > 0
                    && batch.len() < MOVED_TOGETHER
                    && bytes + length <= MOVED_BYTES =>
            {
                bytes += length;
                batch.push(item);
            }
            _ => {
                bytes = length;
                batches.push_back(vec![item]);
            }
        }
    }
    batches
}

impl Scrubber<'_> {
    /// Looks at replicas that are read together, makes good what can be, and writes down what was found.
    pub(crate) async fn look(&self, items: Vec<Item>) -> Result<Came, Fault> {
        let inventory = self.core.inventory();
        let open = Arc::clone(inventory.silo(self.silo)?);
        // What is retired meanwhile stays as long as this is open.
        let _reading = self.core.session().open_read();
        let mut came = Came { replicas: items.len() as u64, ..Came::default() };
        came.bytes = items.iter().map(|item| item.row.size).sum();
        let packed = items.iter().all(|item| Wanted::at(&item.location).is_some());
        let mut seen = Vec::with_capacity(items.len());
        if packed {
            seen = self.together(&open, &items).await;
        } else {
            for item in &items {
                seen.push(self.alone(&open, item).await);
            }
        }
        let mut bad = Vec::new();
        for (item, seen) in items.into_iter().zip(seen) {
            match seen {
                Seen::Bad(flaw, reason) if self.still_counts(&item).await? => bad.push(Bad { item, flaw, reason }),
                Seen::Good | Seen::Bad(..) => {}
                Seen::Unknown(reason) => {
                    came.unknown += 1;
                    came.error = Some(reason);
                }
            }
        }
        self.core.stats.add(|stats| stats.scrub.bytes += came.bytes);
        came.damaged = bad.len() as u64;
        let mended = self.mend(&open, bad, &mut came.error).await?;
        came.mended = mended;
        Ok(came)
    }

    /// A replica that rows still name must have been there all the time.
    async fn still_counts(&self, item: &Item) -> Result<bool, Fault> {
        let row: Option<ExtentRow> = decode_row(self.core.engine.get(&[extent(item.id)]).await?[0].as_ref())?;
        Ok(row.and_then(|row| Item::of(item.id, row, self.silo)).is_some_and(|now| now.location == item.location))
    }

    /// Records of packs, with few reads.
    async fn together(&self, open: &Arc<OpenSilo>, items: &[Item]) -> Vec<Seen> {
        let bytes = items.iter().map(|item| item.location.length()).sum();
        if !self.mover.pacer.pass(bytes).await {
            return items.iter().map(|_| Seen::Unknown("it was stopped".to_owned())).collect();
        }
        let wanted: Vec<Wanted> = items.iter().filter_map(|item| Wanted::at(&item.location)).collect();
        let fetched = fetch(open, &wanted, true).await;
        let seen = items.iter().zip(fetched).map(|(item, record)| match record {
            Ok(record) if item.is_right(&record) => Seen::Good,
            Ok(_) => Seen::Bad(Flaw::Rotten, "the record is damaged".to_owned()),
            Err(error) => told(&error),
        });
        seen.collect()
    }

    async fn alone(&self, open: &Arc<OpenSilo>, item: &Item) -> Seen {
        let (id, row, location) = (item.id, item.row.clone(), item.location.clone());
        let mut reader = ExtentReader::verify(Arc::clone(self.core), id, row, self.silo, location);
        loop {
            match reader.next().await {
                Ok(Some(bytes)) if self.mover.pacer.pass(bytes.len() as u64).await => {}
                Ok(Some(_)) => return Seen::Unknown("it was stopped".to_owned()),
                Ok(None) => return self.described(open, item).await,
                Err(Fault::Damaged(reason)) => return Seen::Bad(Flaw::Rotten, reason),
                Err(fault) => return self.asked(open, item, fault.to_string()).await,
            }
        }
    }

    /// What a file says of itself is behind its bytes, and rots as they do.
    async fn described(&self, open: &Arc<OpenSilo>, item: &Item) -> Seen {
        let Location::Blob(blob) = &item.location else { return Seen::Good };
        if open.row.facts.is_bucket() {
            return Seen::Good;
        }
        match open.note(open.silo.describe(blob).await) {
            Ok(_) => Seen::Good,
            Err(error) => told(&error),
        }
    }

    /// What could not be read may be missing.
    async fn asked(&self, open: &Arc<OpenSilo>, item: &Item, reason: String) -> Seen {
        let Some((blob, _)) = item.location.ours(item.row.size) else { return Seen::Unknown(reason) };
        match open.note(open.silo.stat(&blob).await) {
            Ok(_) => Seen::Unknown(reason),
            Err(error) => told(&error),
        }
    }
}

/// What an error says of a replica.
fn told(error: &SiloError) -> Seen {
    match error {
        SiloError::Missing => Seen::Bad(Flaw::Missing, "the silo does not have it".to_owned()),
        SiloError::Mismatch { reason } => Seen::Bad(Flaw::Rotten, reason.clone()),
        other => Seen::Unknown(other.to_string()),
    }
}
