//! Reading slices: every block checked before it leaves; when a replica fails or was moved away, the extent's row is
//! read again and the next replica continues at the same byte.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use holdall_silos::silo::Pieces;
use holdall_silos::{SiloError, Validator};

use crate::assimilate::OddBlock;
use crate::clock::Clock;
use crate::digest::block_sum;
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::get::Bytestream;
use crate::inventory::{Health, OpenSilo};
use crate::limits::{BLOCK, READ_TRIES, SILENCE};
use crate::namespace::Core;
use crate::session::OpenRead;
use crate::table::extents::{BLOCKS_PER_ROW, ExtentRow, blocks, extent};
use crate::table::{decode, decode_row};

/// Streams slices in order. Fails before the first byte where the first bytes cannot be had.
pub(crate) async fn read_slices(
    core: Arc<Core>,
    guard: Arc<OpenRead>,
    slices: Vec<Slice>,
) -> Result<Bytestream, Fault> {
    let mut reader = Reader { core, guard, slices: slices.into(), current: None };
    let first = reader.next().await?;
    let rest =
        stream::try_unfold(reader, |mut reader| async move { Ok(reader.next().await?.map(|bytes| (bytes, reader))) });
    Ok(match first {
        None => Box::pin(stream::empty()),
        Some(bytes) => Box::pin(stream::iter([Ok(bytes)]).chain(rest)),
    })
}

struct Reader {
    core: Arc<Core>,
    guard: Arc<OpenRead>,
    slices: VecDeque<Slice>,
    current: Option<ExtentReader>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        match self.next_unjudged().await {
            Ok(bytes) => Ok(bytes),
            Err(fault) => Err(self.guard.judge(fault).await),
        }
    }

    async fn next_unjudged(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(bytes) = current.next().await? {
                    return Ok(Some(bytes));
                }
                self.current = None;
            }
            let Some(slice) = self.slices.pop_front() else { return Ok(None) };
            if slice.length > 0 {
                self.current = Some(ExtentReader::open(Arc::clone(&self.core), slice).await?);
            }
        }
    }
}

/// Reads one slice of one extent.
pub(crate) struct ExtentReader {
    core: Arc<Core>,
    id: Number,
    row: ExtentRow,
    /// The next byte of the extent to deliver, and the end.
    at: u64,
    end: u64,
    open: Option<OpenReplica>,
    /// Replicas that failed, and how.
    tried: Vec<(SiloId, Location)>,
    tries: usize,
    sums: SumsRow,
    /// Reads only this replica.
    only: Option<(SiloId, Location)>,
    /// Reads past caches.
    back: bool,
}

/// Of so many choices between replicas one is for the silo that was slower of late.
const EXPLORE: u32 = 64;

struct OpenReplica {
    silo: Arc<OpenSilo>,
    location: (SiloId, Location),
    pieces: Pieces,
    /// Bytes that came and were not delivered; begins at a block's start.
    held: BytesMut,
    /// Where in the extent the next block begins.
    block_at: u64,
    /// When it was asked; none once the first block came.
    asked: Option<Duration>,
}

/// The row of block checksums that was read last.
#[derive(Default)]
struct SumsRow {
    index: Option<u64>,
    sums: Vec<u64>,
}

impl ExtentReader {
    /// Opens a slice by its extent's row as it is now.
    pub(crate) async fn open(core: Arc<Core>, slice: Slice) -> Result<Self, Fault> {
        let row = read_row(&core, slice.extent).await?;
        let row = row.ok_or_else(|| Fault::Damaged(format!("extent {} has no row", slice.extent)))?;
        if slice.offset + slice.length > row.size {
            return Err(Fault::Damaged(format!("extent {} is shorter than a slice of it", slice.extent)));
        }
        Ok(Self::new(core, slice, row, None))
    }

    /// Reads a whole replica back, past caches, against the row's checksums.
    pub(crate) fn verify(core: Arc<Core>, id: Number, row: ExtentRow, silo: SiloId, location: Location) -> Self {
        let slice = Slice { extent: id, offset: 0, length: row.size };
        Self::new(core, slice, row, Some((silo, location)))
    }

    /// Reads the whole extent, from whichever replicas give it.
    pub(crate) fn whole(core: Arc<Core>, id: Number, row: ExtentRow) -> Self {
        let slice = Slice { extent: id, offset: 0, length: row.size };
        Self::new(core, slice, row, None)
    }

    /// Reads a whole replica that is being moved away from.
    pub(crate) fn copy(core: Arc<Core>, id: Number, row: ExtentRow, silo: SiloId, location: Location) -> Self {
        Self { back: false, ..Self::verify(core, id, row, silo, location) }
    }

    fn new(core: Arc<Core>, slice: Slice, row: ExtentRow, only: Option<(SiloId, Location)>) -> Self {
        Self {
            core,
            id: slice.extent,
            row,
            at: slice.offset,
            end: slice.offset + slice.length,
            open: None,
            tried: Vec::new(),
            tries: 0,
            sums: SumsRow::default(),
            back: only.is_some(),
            only,
        }
    }

    /// The next checked bytes; `None` when the slice was delivered whole.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if self.at >= self.end {
                return Ok(None);
            }
            if self.open.is_none() {
                self.open_replica().await?;
            }
            match self.next_block().await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(failure) => self.leave(&failure).await?,
            }
        }
    }

    /// Chooses and opens the next replica: verified ones first, those that failed last.
    async fn open_replica(&mut self) -> Result<(), Fault> {
        loop {
            let (silo, location) = match self.choose() {
                // The silo may have been found, or the bytes copied, since anybody looked here.
                Err(Fault::Lost(_)) if self.only.is_none() => {
                    self.core.refresh_inventory(false).await?;
                    self.row = read_row(&self.core, self.id).await?.unwrap_or_else(|| self.row.clone());
                    self.choose()?
                }
                chosen => chosen?,
            };
            let inventory = self.core.inventory();
            let open = match inventory.silo(silo) {
                Ok(open) => Arc::clone(open),
                Err(fault) if self.row.replicas.len() > 1 && self.tries < READ_TRIES => {
                    self.tried.push((silo, location));
                    self.tries += 1;
                    tracing::debug!(%fault, extent = %self.id, "a replica is passed over");
                    continue;
                }
                Err(fault) => return Err(fault),
            };
            let start = self.at - self.at % BLOCK;
            let end = self.end.next_multiple_of(BLOCK).min(self.row.size);
            let asked = Some(self.core.clock.monotonic());
            let pieces = pieces(&open, &location, self.row.size, start..end, self.back);
            match open.note(unless_it_stalls(self.impatience().as_ref(), pieces).await) {
                Ok(pieces) => {
                    let held = BytesMut::new();
                    let location = (silo, location);
                    self.open = Some(OpenReplica { silo: open, location, pieces, held, block_at: start, asked });
                    return Ok(());
                }
                Err(error) => {
                    self.tried.push((silo, location));
                    self.count_failure(&open, &Failure::Silo(error)).await?;
                }
            }
        }
    }

    fn choose(&self) -> Result<(SiloId, Location), Fault> {
        if let Some(only) = &self.only {
            return Ok(only.clone());
        }
        let inventory = self.core.inventory();
        let left = inventory.left(&self.row);
        if let [only] = left.as_slice() {
            return Ok((only.silo, only.location.clone()));
        }
        let explores = self.core.choices.fetch_add(1, Ordering::Relaxed).is_multiple_of(EXPLORE);
        let rank = |replica: &&Replica| {
            let failed =
                self.tried.iter().filter(|(silo, at)| *silo == replica.silo && *at == replica.location).count();
            let silo = inventory.silos.get(&replica.silo);
            let up = silo.is_some_and(|open| open.health() == Health::Up);
            let cost = silo.map(|open| open.read_costs(self.row.size));
            let speed = silo.map_or(u32::MAX, |open| open.first_byte.class());
            // One that was slow may have become faster.
            let speed = if explores { u32::MAX - speed } else { speed };
            (failed, replica.state != ReplicaState::Verified, !up, cost, speed)
        };
        let best = left.iter().copied().min_by_key(rank);
        let best = best.ok_or_else(|| inventory.nothing_left(self.id, &self.row))?;
        Ok((best.silo, best.location.clone()))
    }

    /// The next block, checked, cut to the slice.
    async fn next_block(&mut self) -> Result<Bytes, Failure> {
        let clock = self.impatience();
        let open = self.open.as_mut().expect("a replica is open");
        let length = (self.row.size - open.block_at).min(BLOCK) as usize;
        let block = take_block(open, length, clock.as_ref()).await.map_err(Failure::Silo)?;
        if let Some(asked) = open.asked.take() {
            open.silo.first_byte.note(self.core.clock.monotonic().saturating_sub(asked));
        }
        let index = open.block_at / BLOCK;
        // What nobody read yet is vouched for by its validator alone.
        let sum = if self.row.is_hashed() {
            Some(sum_of(&self.core, self.id, &self.row, &mut self.sums, index).await.map_err(Failure::Index)?)
        } else {
            None
        };
        if sum.is_some_and(|sum| block_sum(&block) != sum) && !crate::seeded_bug!("block-unchecked") {
            open.silo.note_damage();
            tracing::error!(silo = %open.silo.row.name, place = %open.location.1, block = index, "block does not match");
            return Err(Failure::Damaged { block: index, found: block_sum(&block) });
        }
        open.silo.note_read(length as u64);
        let (from, to) = (self.at - open.block_at, (self.end - open.block_at).min(length as u64));
        open.block_at += length as u64;
        self.at = open.block_at.min(self.end);
        // It gets on: what failed before may be asked again.
        (self.tries, self.tried) = (0, Vec::new());
        Ok(block.slice(from as usize..to as usize))
    }

    /// Where another replica is left, one that gives nothing for a while is left for that: by this clock.
    fn impatience(&self) -> Option<Arc<dyn Clock>> {
        let others = self.only.is_none() && self.core.inventory().left_verified(&self.row).len() > 1;
        others.then(|| Arc::clone(&self.core.clock))
    }

    /// Leaves the open replica and reads the extent's row again.
    async fn leave(&mut self, failure: &Failure) -> Result<(), Fault> {
        let open = self.open.take().expect("a replica is open");
        if let Failure::Silo(error) = failure {
            let _ = open.silo.note::<()>(Err(error.clone()));
        }
        self.tried.push(open.location);
        if crate::seeded_bug!("failover-wrong-byte") {
            self.at = open.block_at;
        }
        self.count_failure(&open.silo, failure).await
    }

    /// Whether a replica is left that did not fail, as the row and the silos are now.
    async fn is_another_left(&mut self) -> bool {
        let Some(row) = read_row(&self.core, self.id).await.ok().flatten() else { return false };
        self.row = row;
        let is_left = |this: &Self| {
            let inventory = this.core.inventory();
            let left = inventory.left(&this.row);
            left.iter().any(|replica| !this.tried.contains(&(replica.silo, replica.location.clone())))
        };
        // A silo that is taken for lost may have been found.
        let may_be_found = |this: &Self| this.core.inventory().left(&this.row).len() < this.row.replicas.len();
        is_left(self) || (may_be_found(self) && self.core.refresh_inventory(false).await.is_ok() && is_left(self))
    }

    /// Gives up after some tries, with what the client is told.
    async fn count_failure(&mut self, silo: &OpenSilo, failure: &Failure) -> Result<(), Fault> {
        self.tries += 1;
        let damaged =
            matches!(failure, Failure::Damaged { .. } | Failure::Silo(SiloError::Missing | SiloError::Mismatch { .. }));
        // Whoever reads one replica alone says what is wrong with it.
        if damaged && self.only.is_none() {
            self.core.met.note(silo.id, self.id);
        }
        let place = self.tried.last().map(|(_, place)| place.clone());
        let again = self.only.is_none() && !crate::seeded_bug!("failover-gives-up") && self.is_another_left().await;
        if again && self.tries < READ_TRIES.max(self.row.replicas.len()) {
            return Ok(());
        }
        match failure {
            Failure::Silo(SiloError::Mismatch { .. }) | Failure::Damaged { .. }
                if let Some(name) = foreign(place.as_ref()) =>
            {
                let odd = match failure {
                    Failure::Damaged { block, found } => odd_block(place.as_ref(), self.row.size, *block, *found),
                    _ => None,
                };
                self.core.look_again(silo.id, name, odd).await;
                let name = String::from_utf8_lossy(name);
                Err(Fault::Unavailable(format!("`{name}` in silo `{}` was changed by others", silo.row.name)))
            }
            Failure::Index(fault) => Err(fault.clone()),
            Failure::Damaged { block, .. } => {
                let reason = format!("block {block} of {} KiB does not match its checksum", BLOCK >> 10);
                Err(Fault::Damaged(format!("extent {} in silo `{}`: {reason}", self.id, silo.row.name)))
            }
            Failure::Silo(error @ SiloError::Mismatch { .. }) => {
                Err(Fault::Damaged(format!("extent {} in silo `{}`: {error}", self.id, silo.row.name)))
            }
            Failure::Silo(error) => {
                // Bytes of ours that are missing make the silo suspect, never the key absent.
                tracing::error!(silo = %silo.row.name, extent = %self.id, %error, "extent cannot be read");
                Err(Fault::Unavailable(format!("silo `{}` does not give extent {}", silo.row.name, self.id)))
            }
        }
    }
}

/// What comes of it, unless nothing does for as long as a silo may be silent.
async fn unless_it_stalls<T>(
    clock: Option<&Arc<dyn Clock>>,
    work: impl Future<Output = Result<T, SiloError>>,
) -> Result<T, SiloError> {
    let Some(clock) = clock else { return work.await };
    tokio::select! {
        biased;
        done = work => done,
        () = clock.sleep(SILENCE) => Err(SiloError::not_done("it gives nothing any more")),
    }
}

/// Bytes of an extent of `size` bytes as a replica has them; `back` past caches.
async fn pieces(
    open: &OpenSilo,
    location: &Location,
    size: u64,
    range: Range<u64>,
    back: bool,
) -> Result<Pieces, SiloError> {
    if let Location::InPlace { name, validator, whole, offset } = location {
        let holdings = open.holdings.as_ref().ok_or_else(|| SiloError::not_done("the silo is ours"))?;
        let range = offset + range.start..offset + range.end;
        return holdings.read(name, *whole, &Validator(validator.clone()), range).await;
    }
    let Some((blob, first)) = location.ours(size) else { return Err(SiloError::Missing) };
    let (size, range) = (first + size, first + range.start..first + range.end);
    if back { open.silo.read_back(&blob, size, range).await } else { open.silo.read(&blob, size, range).await }
}

/// The name of others that a place is.
fn foreign(place: Option<&Location>) -> Option<&[u8]> {
    match place {
        Some(Location::InPlace { name, .. }) => Some(name),
        _ => None,
    }
}

/// Where in a file of others a block lies that is not what it was.
fn odd_block(place: Option<&Location>, size: u64, block: u64, found: u64) -> Option<OddBlock> {
    let Some(Location::InPlace { whole, offset, .. }) = place else { return None };
    let from = block * BLOCK;
    let range = offset + from..offset + (from + BLOCK).min(size);
    Some(OddBlock { whole: *whole, range, found })
}

enum Failure {
    Silo(SiloError),
    Index(Fault),
    /// A block is not what was written.
    Damaged {
        block: u64,
        /// Its checksum as it was read.
        found: u64,
    },
}

async fn read_row(core: &Core, id: Number) -> Result<Option<ExtentRow>, Fault> {
    decode_row(core.engine.get(&[extent(id)]).await?[0].as_ref())
}

/// The checksum of a block: in the extent's row, or in a row apart.
async fn sum_of(core: &Core, id: Number, row: &ExtentRow, cache: &mut SumsRow, block: u64) -> Result<u64, Fault> {
    let missing = || Fault::Damaged(format!("extent {id} has no checksum for block {block}"));
    if let Some(sums) = &row.blocks {
        return sums.get(block as usize).copied().ok_or_else(missing);
    }
    let index = block / BLOCKS_PER_ROW as u64;
    if cache.index != Some(index) {
        let rows = core.engine.get(&[blocks(id, index as u32)]).await?;
        cache.sums = decode(rows[0].as_ref().ok_or_else(missing)?)?;
        cache.index = Some(index);
    }
    cache.sums.get((block % BLOCKS_PER_ROW as u64) as usize).copied().ok_or_else(missing)
}

/// Exactly the next `length` bytes; without copying where a silo's piece is the block.
async fn take_block(open: &mut OpenReplica, length: usize, clock: Option<&Arc<dyn Clock>>) -> Result<Bytes, SiloError> {
    let short = || SiloError::mismatch("the silo delivered fewer bytes than asked for");
    if open.held.is_empty() {
        let piece = next_piece(open, clock).await?.ok_or_else(short)?;
        if piece.len() == length {
            return Ok(piece);
        }
        open.held.extend_from_slice(&piece);
    }
    while open.held.len() < length {
        let piece = next_piece(open, clock).await?.ok_or_else(short)?;
        open.held.extend_from_slice(&piece);
    }
    Ok(open.held.split_to(length).freeze())
}

async fn next_piece(open: &mut OpenReplica, clock: Option<&Arc<dyn Clock>>) -> Result<Option<Bytes>, SiloError> {
    unless_it_stalls(clock, async { open.pieces.next().await.transpose() }).await
}
