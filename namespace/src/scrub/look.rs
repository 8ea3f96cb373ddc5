//! Looking at replicas: is each what was written?

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use holdall_silos::{BlobName, SiloError};

use super::{Came, Flaw, Scrubber};
use crate::digest::block_sum;
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
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
    /// Its bytes cannot be read, though the silo has it.
    Unreadable(String),
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
        let mut came = Came { replicas: items.len() as u64, ..Came::default() };
        came.bytes = items.iter().map(|item| item.row.size).sum();
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (item, seen) in self.seen(&open, items).await {
            match seen {
                Seen::Good => good.push(item.id),
                Seen::Bad(flaw, reason) if self.still_counts(&item).await? => bad.push(Bad { item, flaw, reason }),
                Seen::Bad(..) => {}
                // Nobody asks any more, and the next life looks again.
                Seen::Unreadable(_) | Seen::Unknown(_) if self.mover.pacer.is_stopped() => {}
                Seen::Unreadable(reason) | Seen::Unknown(reason) => {
                    came.unknown += 1;
                    came.error = Some(reason);
                }
            }
        }
        self.core.stats.add(|stats| stats.scrub.bytes += came.bytes);
        self.core.forget_well(self.silo, &good).await?;
        self.mend(&open, bad, &mut came).await?;
        Ok(came)
    }

    /// What is retired meanwhile stays as long as this goes on, and no longer: what is made good may wait.
    async fn seen(&self, open: &Arc<OpenSilo>, items: Vec<Item>) -> Vec<(Item, Seen)> {
        let _reading = self.core.session().open_read();
        let packed = items.iter().all(|item| Wanted::at(&item.location).is_some());
        let mut seen = Vec::with_capacity(items.len());
        if packed {
            seen = self.together(open, &items).await;
        } else {
            for item in &items {
                seen.push(self.alone(open, item).await);
            }
        }
        for (item, seen) in items.iter().zip(&mut seen) {
            if let Seen::Unreadable(reason) = seen {
                *seen = self.asked_again(open, item, std::mem::take(reason)).await;
            }
        }
        items.into_iter().zip(seen).collect()
    }

    /// A replica that rows still name must have been there all the time.
    async fn still_counts(&self, item: &Item) -> Result<bool, Fault> {
        let row: Option<ExtentRow> = decode_row(self.core.engine.get(&[extent(item.id)]).await?[0].as_ref())?;
        Ok(row.and_then(|row| Item::of(item.id, row, self.silo)).is_some_and(|now| now.location == item.location))
    }

    /// Records of packs, with few reads.
    async fn together(&self, open: &Arc<OpenSilo>, items: &[Item]) -> Vec<Seen> {
        let bytes = items.iter().map(|item| item.location.length()).sum();
        if !self.mover.pacer.pass_with(&[&open.pace.reading], bytes).await {
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
                Ok(Some(bytes)) if self.mover.pacer.pass_with(&[&open.pace.reading], bytes.len() as u64).await => {}
                Ok(Some(_)) => return Seen::Unknown("it was stopped".to_owned()),
                Ok(None) => return self.described(open, item).await,
                Err(Fault::Damaged(reason)) => return Seen::Bad(Flaw::Rotten, reason),
                Err(fault) => return Seen::Unreadable(fault.to_string()),
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

    /// What could not be read may be missing, or lie where the disk gives nothing any more: it is there, the silo is up, and it
    /// is read in vain again. Of what is reached over a network that proves nothing.
    async fn asked_again(&self, open: &Arc<OpenSilo>, item: &Item, reason: String) -> Seen {
        let Some((blob, first)) = item.location.ours(item.row.size) else { return Seen::Unknown(reason) };
        match open.note(open.silo.stat(&blob).await) {
            Ok(_) if open.row.facts.is_bucket() || open.health() != Health::Up => return Seen::Unknown(reason),
            Ok(_) => {}
            Err(error) => return settled(told(&error)),
        }
        match (read_again(open, &item.location, &blob, first..first + item.row.size).await, open.health()) {
            (Err(SiloError::NotDone { reason }), Health::Up) => Seen::Bad(Flaw::Unreadable, reason),
            _ => Seen::Unknown(reason),
        }
    }
}

/// Reads bytes past caches to nowhere, and what a file says of itself.
async fn read_again(open: &OpenSilo, location: &Location, blob: &BlobName, range: Range<u64>) -> Result<(), SiloError> {
    let mut pieces = open.note(open.silo.read_back(blob, range.end, range).await)?;
    while let Some(piece) = pieces.next().await {
        open.note(piece)?;
    }
    match location {
        Location::Blob(_) => open.note(open.silo.describe(blob).await).map(drop),
        _ => Ok(()),
    }
}

/// It is not asked a third time.
fn settled(seen: Seen) -> Seen {
    match seen {
        Seen::Unreadable(reason) => Seen::Unknown(reason),
        seen => seen,
    }
}

/// What an error says of a replica.
fn told(error: &SiloError) -> Seen {
    match error {
        SiloError::Missing => Seen::Bad(Flaw::Missing, "the silo does not have it".to_owned()),
        SiloError::Mismatch { reason } => Seen::Bad(Flaw::Rotten, reason.clone()),
        SiloError::NotDone { reason } => Seen::Unreadable(reason.clone()),
        other => Seen::Unknown(other.to_string()),
    }
}
