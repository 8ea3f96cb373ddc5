//! What silos hold beyond a restored index: copies of extents whose place it does not know, and bytes it knows nothing of.
//!
//! A row may name a place that was given up after the moment restored: the extent was moved, and its copy lies elsewhere.
//! Such a copy is read and named instead, once its bytes have the row's digest, or, where the row has none yet, the one
//! that the copy was written with. Anything else is told and kept.

use std::sync::Arc;

use holdall_silos::{BlobName, SiloError};
use serde::{Deserialize, Serialize};

use super::publish::{Found, Published, Publisher};
use crate::describe::Description;
use crate::digest::{BlockSums, extent_digest};
use crate::engine::{self, Read, Rows, Write};
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::names::Names;
use crate::namespace::{Core, Namespace};
use crate::pack::Records;
use crate::read::ExtentReader;
use crate::store::silo_failed;
use crate::table::extents::{ExtentRow, extent, store};
use crate::table::packs::{self, PackId};
use crate::table::usage::{self, Counted};
use crate::table::{decode_row, encode};

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StockLine {
    /// The index named a place that is gone; the same bytes lie here and are named now.
    Adopted {
        /// The silo.
        silo: String,
        /// Where in it.
        place: String,
    },
    /// The index named a place that is gone. Here lies a copy that is not known to be the same bytes: it is kept, and not
    /// named.
    Unproven {
        /// The silo.
        silo: String,
        /// Where in it.
        place: String,
        /// One sentence fragment.
        reason: String,
    },
    /// Bytes that the index knows nothing of: of something written, or deleted, after the moment restored.
    Unknown {
        /// The silo.
        silo: String,
        /// Where in it.
        place: String,
        /// Bytes of the extent.
        bytes: u64,
        /// `s3://bucket/key` as the bytes say; none where they do not say.
        object: Option<String>,
    },
    /// Bytes that the index knew nothing of are an object now.
    Published {
        /// `s3://bucket/key`
        object: String,
        /// Bytes of the extent.
        bytes: u64,
    },
}

/// What was found in all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stock {
    /// Names looked at.
    pub blobs: u64,
    /// Extents whose place was put right.
    pub adopted: u64,
    /// Copies of extents whose place is gone that are not known to be right.
    #[serde(default)]
    pub unproven: u64,
    /// Extents that are part of an object now.
    #[serde(default)]
    pub published: u64,
    /// Extents that the index knows nothing of.
    pub unknown: u64,
    /// Their bytes.
    pub unknown_bytes: u64,
    /// Silos that did not answer.
    pub silent: Vec<String>,
}

/// A copy of an extent that was found in a silo.
struct Copy {
    extent: Number,
    location: Location,
    /// What it says of itself, where that was read on the way.
    says: Option<Description>,
    stored: u64,
}

impl Namespace {
    /// Looks through every silo, puts right where extents lie that were moved since, and tells what else there is. For an
    /// index that was just restored and serves nobody yet.
    pub async fn take_stock(&self, tell: &mut (dyn FnMut(StockLine) + Send)) -> Result<Stock, Fault> {
        self.core.take_stock(None, tell).await
    }

    /// The same, and makes objects of what it can: of each key that the index does not have, the newest version that lies
    /// there whole, as far as its bytes tell. Among them are objects that were deleted and not swept yet. New buckets are
    /// the first account's.
    pub async fn publish_stock(&self, tell: &mut (dyn FnMut(StockLine) + Send)) -> Result<Stock, Fault> {
        self.core.take_stock(Some(Publisher::new(self)), tell).await
    }
}

/// Taking stock.
struct Run<'a> {
    core: &'a Arc<Core>,
    stock: Stock,
    publisher: Option<Publisher<'a>>,
    tell: &'a mut (dyn FnMut(StockLine) + Send),
}

impl Core {
    async fn take_stock(
        self: &Arc<Self>,
        publisher: Option<Publisher<'_>>,
        tell: &mut (dyn FnMut(StockLine) + Send),
    ) -> Result<Stock, Fault> {
        let mut run = Run { core: self, stock: Stock::default(), publisher, tell };
        for open in self.inventory().silos.values() {
            if let Err(fault) = run.silo(open).await {
                tracing::warn!(silo = %open.row.name, %fault, "a silo could not be looked through");
                run.stock.silent.push(open.row.name.clone());
            }
        }
        if let Some(publisher) = run.publisher.take() {
            for (published, found) in publisher.publish_the_rest().await? {
                run.told(published, found);
            }
        }
        Ok(run.stock)
    }
}

impl Run<'_> {
    async fn silo(&mut self, open: &Arc<OpenSilo>) -> Result<(), Fault> {
        let mut names = Names::of(open);
        while let Some(page) = names.next().await? {
            let mut copies = Vec::with_capacity(page.len());
            for listed in page {
                let Ok(blob) = listed.name.parse::<BlobName>() else { continue };
                if blob.is_backup() {
                    continue;
                }
                self.stock.blobs += 1;
                if blob.is_pack() {
                    self.pack(open, PackId::of(open.id, &blob)).await?;
                    continue;
                }
                let extent = Number { session: blob.extent.0, number: blob.extent.1 };
                copies.push(Copy { extent, location: Location::Blob(blob), says: None, stored: listed.stored });
            }
            self.look_at(open, copies).await?;
        }
        Ok(())
    }

    /// Packs that nothing is appended to any more and that rows name hold nothing new.
    async fn pack(&mut self, open: &Arc<OpenSilo>, id: PackId) -> Result<(), Fault> {
        let rows = self.core.engine.get(&[packs::named(id), packs::length(id)]).await?;
        if usage::read(rows[0].as_ref()) > 0 && rows[1].is_some() {
            return Ok(());
        }
        let stat = open.note(open.silo.stat(&id.name()).await).map_err(|error| silo_failed(open, &error))?;
        let mut records = Records::of(open, id, stat.size);
        while let Some(found) = records.next().await? {
            let copies = found.into_iter().map(|(says, location)| {
                let (extent, stored) = (says.extent, says.size);
                Copy { extent, location, says: Some(says), stored }
            });
            self.look_at(open, copies.collect()).await?;
        }
        Ok(())
    }

    async fn look_at(&mut self, open: &Arc<OpenSilo>, copies: Vec<Copy>) -> Result<(), Fault> {
        let keys: Vec<_> = copies.iter().map(|copy| extent(copy.extent)).collect();
        for (copy, row) in copies.into_iter().zip(self.core.engine.get(&keys).await?) {
            match decode_row::<ExtentRow>(row.as_ref())? {
                Some(row) if self.core.wants(open, &row, &copy).await => self.adopt(open, row, copy).await?,
                Some(_) => {}
                None => self.unknown(open, copy).await?,
            }
        }
        Ok(())
    }

    async fn adopt(&mut self, open: &Arc<OpenSilo>, row: ExtentRow, copy: Copy) -> Result<(), Fault> {
        let (silo, place) = (open.row.name.clone(), copy.location.to_string());
        let sums = match self.core.prove(open, &row, &copy).await {
            Ok(sums) => sums,
            Err(reason) => {
                self.stock.unproven += 1;
                (self.tell)(StockLine::Unproven { silo, place, reason });
                return Ok(());
            }
        };
        if self.core.adopt(open.id, row, copy, sums).await? {
            self.stock.adopted += 1;
            (self.tell)(StockLine::Adopted { silo, place });
        }
        Ok(())
    }

    async fn unknown(&mut self, open: &Arc<OpenSilo>, copy: Copy) -> Result<(), Fault> {
        let says = match copy.says {
            Some(says) => Some(says),
            None => self.core.described(open, &copy.location).await,
        };
        let found = Found { silo: Arc::clone(open), location: copy.location, stored: copy.stored, says };
        let Some(publisher) = &mut self.publisher else {
            self.told(Published::No, found);
            return Ok(());
        };
        // Those of several extents wait till all were seen.
        if let Some((published, found)) = publisher.publish(found).await? {
            self.told(published, found);
        }
        Ok(())
    }

    fn told(&mut self, published: Published, found: Found) {
        let Found { silo, location, stored, says } = found;
        let (silo, place) = (silo.row.name.clone(), location.to_string());
        let bytes = says.as_ref().map_or(stored, |says| says.size);
        let object = says.map(|says| format!("s3://{}/{}", says.bucket, says.key));
        if let (Published::Yes, Some(object)) = (published, &object) {
            self.stock.published += 1;
            return (self.tell)(StockLine::Published { object: object.clone(), bytes });
        }
        self.stock.unknown += 1;
        self.stock.unknown_bytes += bytes;
        (self.tell)(StockLine::Unknown { silo, place, bytes, object });
    }
}

impl Core {
    /// Whether an extent has no verified copy where its row says that there is one.
    async fn wants(&self, open: &OpenSilo, row: &ExtentRow, copy: &Copy) -> bool {
        let named = row.replicas.iter().any(|replica| replica.silo == open.id && replica.location == copy.location);
        let mut verified = row.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified).peekable();
        if named || verified.peek().is_none() {
            return false;
        }
        for replica in verified {
            if !self.is_gone(row, replica).await {
                return false;
            }
        }
        true
    }

    /// Whether a silo that answers does not have a replica where it is said to be.
    async fn is_gone(&self, row: &ExtentRow, replica: &Replica) -> bool {
        let inventory = self.inventory();
        let Ok(open) = inventory.silo(replica.silo) else { return true };
        match (&replica.location, replica.location.ours(row.size)) {
            (Location::InPlace { name, validator, whole, .. }, _) => {
                self.is_changed(open, name, validator, *whole).await
            }
            (_, Some((blob, _))) => matches!(open.note(open.silo.stat(&blob).await), Err(SiloError::Missing)),
            (_, None) => true,
        }
    }

    /// Whether what others put somewhere is not there any more, or not as it was seen.
    async fn is_changed(&self, open: &OpenSilo, name: &[u8], validator: &str, whole: u64) -> bool {
        let Some(holdings) = &open.holdings else { return true };
        let changed = match open.note(holdings.look(name).await) {
            Ok(held) => held.validator.0 != validator || held.size != whole,
            Err(SiloError::Missing | SiloError::Mismatch { .. }) => true,
            Err(_) => false,
        };
        // In a folder that is not the one that was registered nothing is as it was.
        changed && open.note(open.claim(&self.id).await).is_ok()
    }

    /// Reads a copy and compares it with the row's digest. Where the row has none, the copy's own is taken, and its block
    /// checksums are answered.
    async fn prove(
        self: &Arc<Self>,
        open: &Arc<OpenSilo>,
        row: &ExtentRow,
        copy: &Copy,
    ) -> Result<Option<Vec<u64>>, String> {
        let said = if row.is_hashed() { None } else { Some(self.said_digest(open, row, copy).await?) };
        let (id, location) = (copy.extent, copy.location.clone());
        let mut reader = ExtentReader::verify(Arc::clone(self), id, row.clone(), open.id, location);
        let mut sums = BlockSums::default();
        while let Some(block) = reader.next().await.map_err(|fault| fault.to_string())? {
            if said.is_some() {
                sums.update(&block);
            }
        }
        let Some(said) = said else { return Ok(None) };
        let sums = sums.finish();
        if extent_digest(&sums) == said { Ok(Some(sums)) } else { Err("its bytes are not those written".to_owned()) }
    }

    /// The digest that a copy says it was written with.
    async fn said_digest(&self, open: &OpenSilo, row: &ExtentRow, copy: &Copy) -> Result<[u8; 32], String> {
        let says = match &copy.says {
            Some(says) => Some(says.clone()),
            None => self.described(open, &copy.location).await,
        };
        let says = says.filter(|says| says.extent == copy.extent && says.size == row.size);
        let says = says.ok_or_else(|| "it does not say what it is".to_owned())?;
        says.digest.ok_or_else(|| "neither the index nor the copy has a digest of its bytes".to_owned())
    }

    /// Names a copy instead of those that are gone, with its block checksums where the row has none; false where the row is
    /// not as it was read.
    async fn adopt(&self, silo: SiloId, row: ExtentRow, copy: Copy, sums: Option<Vec<u64>>) -> Result<bool, Fault> {
        let (id, location, now) = (copy.extent, copy.location, self.clock.now());
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            if decode_row::<ExtentRow>(rows.get(&extent(id)))?.as_ref() != Some(&row) {
                return Ok((Vec::new(), false));
            }
            let (mut row, size) = (row.clone(), row.size as i64);
            let mut writes = usage::add(Counted::Silo(silo), 1, size);
            writes.extend(packs::count(silo, &location, 1));
            row.replicas.retain(|replica| {
                let goes = replica.state == ReplicaState::Verified;
                if goes {
                    writes.extend(usage::add(Counted::Silo(replica.silo), -1, -size));
                    writes.extend(packs::count(replica.silo, &replica.location, -1));
                }
                !goes
            });
            let state = ReplicaState::Verified;
            row.replicas.push(Replica { silo, location: location.clone(), state, since: now, job: None });
            match &sums {
                Some(sums) => {
                    row.digest = extent_digest(sums);
                    writes.extend(store(id, row, sums.clone()));
                }
                None => writes.push(Write::Put(extent(id), encode(&row))),
            }
            Ok((writes, true))
        };
        Ok(engine::commit(&*self.engine, vec![Read::Row(extent(id))], decide).await?)
    }
}
