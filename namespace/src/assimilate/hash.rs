//! Checksums of what lies in place: all bytes are read once, slowly, so that from then on a block that is not what it was is
//! noticed though nothing says that the file was changed. No ETag changes with it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use holdall_silos::Validator;
use holdall_silos::holdings::Holdings;
use tokio_util::sync::CancellationToken;

use super::find::held;
use crate::bucket::Bucket;
use crate::digest::{BlockSums, extent_digest};
use crate::engine::{Priority, Read, Rows, Write};
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::{BACKGROUND_ROWS, HASH_LOOK, HASH_SOON, LIST_PAGE};
use crate::mover::Pacer;
use crate::namespace::{Core, Namespace};
use crate::price::{Money, Reads};
use crate::session::Uncommitted;
use crate::table::extents::{ExtentRow, extent, store};
use crate::table::objects::{Data, ObjectRow, prefix};
use crate::table::roots::{RootId, RootRow};
use crate::table::tag::Tag;
use crate::table::{after_prefix, decode, decode_row, successor};

/// See [`holdall_silos::Facts::family`].
const FOLDER: &str = "posix";

/// What one extent asks of its silo: a look before, the bytes, and a look afterwards.
pub(crate) fn hash_reads(size: u64) -> Reads {
    Reads { thousandths: 3000, bytes: size }
}

/// How much of a root has checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hashed {
    /// Bytes in place that have checksums.
    pub bytes: u64,
    /// Bytes in place that have none yet.
    pub left: u64,
}

/// An extent in place without checksums.
struct Wanted {
    id: Number,
    size: u64,
    from: Location,
}

/// Its checksums.
struct Summed {
    id: Number,
    from: Location,
    sums: Vec<u64>,
}

impl Namespace {
    /// Reads what lies in place at so many bytes a second, to have its checksums; 0 is not at all. To be said before
    /// background work starts.
    pub fn hash_in_place(&self, bytes_per_second: u64) {
        self.core.looking.hash_rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// How much of a root has checksums; none where this gateway has not looked.
    pub fn hashed(&self, id: RootId) -> Option<Hashed> {
        held(&self.core.looking.hashed).get(&id).copied()
    }
}

impl Core {
    /// Makes checksums of what has none, for ever: after each pass that found something, and now and then.
    pub(crate) async fn hash_in_place_forever(self: Arc<Self>) {
        let rate = self.looking.hash_rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let pacer = Pacer::new(Arc::clone(&self.clock), Some(rate), CancellationToken::new());
        let mut pause = HASH_SOON;
        loop {
            if let Err(fault) = self.hash_roots(&pacer).await {
                tracing::debug!(%fault, "checksums of what lies in place are still missing");
            }
            // What was changed just now is left out: it is soon old enough, or goes on changing.
            pause = if self.unhashed_bytes() > 0 { (pause * 2).min(HASH_LOOK) } else { HASH_LOOK };
            tokio::select! {
                () = self.looking.unhashed.notified() => pause = HASH_SOON,
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    async fn hash_roots(&self, pacer: &Pacer) -> Result<(), Fault> {
        let roots = self.roots_of_mine().await?;
        held(&self.looking.hashed).retain(|id, _| roots.iter().any(|row| row.info.id == *id));
        for root in &roots {
            let Ok((open, _)) = self.silo_of(root) else { continue };
            if !self.hashes(&open) {
                continue;
            }
            let Some(bucket) = self.bucket_of(root).await? else { continue };
            if let Err(fault) = self.hash_root(root, &bucket, pacer).await {
                tracing::debug!(root = root.info.id, %fault, "checksums of a root are still missing");
            }
        }
        Ok(())
    }

    /// To read all of a bucket, or of one that is mounted, may cost, and its service looks after its bytes: they wait until they move,
    /// unless their price is known and there is a budget for it.
    fn hashes(&self, open: &OpenSilo) -> bool {
        if open.is_read_for_nothing() {
            return open.row.facts.family == FOLDER;
        }
        open.card.is_some() && self.scrub_budget().is_some()
    }

    /// Looks how much there is, then does it, as far as it is paid for.
    async fn hash_root(&self, root: &RootRow, bucket: &Bucket, pacer: &Pacer) -> Result<(), Fault> {
        let (id, mut all) = (root.info.id, Hashed::default());
        let mut at = None;
        while let Some((hashed, wanted)) = self.unhashed(root, bucket, &mut at).await? {
            all.bytes += hashed;
            all.left += wanted.iter().map(|wanted| wanted.size).sum::<u64>();
        }
        held(&self.looking.hashed).insert(id, all);
        if all.left == 0 {
            return Ok(());
        }
        tracing::info!(root = id, bytes = all.left, "checksums are made of what lies in place");
        let (_, holdings) = self.silo_of(root)?;
        let mut at = None;
        while let Some((_, wanted)) = self.unhashed(root, bucket, &mut at).await? {
            if !self.hash_some(root, &*holdings, wanted, pacer).await? {
                break;
            }
        }
        Ok(())
    }

    /// Of the next objects of a root: bytes in place that have checksums, and extents that have none. None at the end.
    async fn unhashed(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        at: &mut Option<Vec<u8>>,
    ) -> Result<Option<(u64, Vec<Wanted>)>, Fault> {
        let all = prefix(bucket.incarnation, &root.info.order.into);
        let (from, end) = (at.clone().unwrap_or_else(|| all.clone()), after_prefix(&all));
        let page = self.engine.range(from..end, LIST_PAGE, usize::MAX).await?;
        let Some((last, _)) = page.last() else { return Ok(None) };
        *at = Some(successor(last));
        let mut ids = Vec::new();
        for (_, row) in &page {
            let row: ObjectRow = decode(row)?;
            if let (Tag::Foreign { .. }, Data::Slices(slices)) = (&row.etag, &row.data) {
                ids.extend(slices.iter().map(|slice| slice.extent));
            }
        }
        let keys: Vec<_> = ids.iter().map(|id| extent(*id)).collect();
        let (mut hashed, mut wanted) = (0, Vec::new());
        for (id, row) in ids.into_iter().zip(self.engine.get(&keys).await?) {
            let Some(row) = decode_row::<ExtentRow>(row.as_ref())? else { continue };
            match wanted_of(root.silo, id, &row) {
                Some(more) => wanted.push(more),
                None if row.is_in_place(root.silo) => hashed += row.size,
                None => {}
            }
        }
        Ok(Some((hashed, wanted)))
    }

    /// Answers whether the budget was enough.
    async fn hash_some(
        &self,
        root: &RootRow,
        holdings: &dyn Holdings,
        wanted: Vec<Wanted>,
        pacer: &Pacer,
    ) -> Result<bool, Fault> {
        let (mut summed, mut rows, mut paid) = (Vec::new(), 0, true);
        let card = self.inventory().silo(root.silo)?.card;
        for wanted in wanted {
            let size = wanted.size;
            let cost = card.map_or(Money::ZERO, |card| card.read(hash_reads(size)));
            // What no month pays for keeps nothing else from its checksums; what was changed just now costs nothing but the look.
            let is_too_dear = self.scrub_budget().is_some_and(|budget| cost > budget);
            if is_too_dear || !is_as_wanted(holdings, &wanted).await {
                continue;
            }
            paid = self.pay_for_scrub(cost).await?;
            if !paid {
                break;
            }
            // What was changed meanwhile is left alone: a pass makes something new of it.
            let Some(sums) = sums_of(holdings, &wanted, pacer).await else { continue };
            rows += 1 + sums.len().div_ceil(crate::table::extents::BLOCKS_PER_ROW);
            summed.push(Summed { id: wanted.id, from: wanted.from, sums });
            self.stats.add(|all| all.hashed_bytes += size);
            if rows >= BACKGROUND_ROWS / 2 {
                self.note_sums(root, std::mem::take(&mut summed)).await?;
                rows = 0;
            }
        }
        self.note_sums(root, summed).await?;
        Ok(paid)
    }

    /// Writes checksums down, each where the extent is as it was.
    async fn note_sums(&self, root: &RootRow, summed: Vec<Summed>) -> Result<(), Fault> {
        if summed.is_empty() {
            return Ok(());
        }
        let (silo, reads) = (root.silo, summed.iter().map(|summed| Read::Row(extent(summed.id))).collect());
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let (mut writes, mut bytes) = (Vec::<Write>::new(), 0);
            for Summed { id, from, sums } in &summed {
                let row: Option<ExtentRow> = decode_row(rows.get(&extent(*id)))?;
                let same = |row: &ExtentRow| wanted_of(silo, *id, row).is_some_and(|wanted| wanted.from == *from);
                let Some(row) = row.filter(same) else { continue };
                bytes += row.size;
                writes.extend(store(*id, ExtentRow { digest: extent_digest(sums), ..row }, sums.clone()));
            }
            Ok((writes, bytes))
        };
        let bytes = match self.session().commit_as(Priority::Background, reads, decide).await {
            Ok(bytes) => bytes,
            // Done or not, the next round sees it.
            Err(Uncommitted::Unknown) => 0,
            Err(Uncommitted::Refused(fault) | Uncommitted::Fault(fault)) => return Err(fault),
        };
        if let Some(hashed) = held(&self.looking.hashed).get_mut(&root.info.id) {
            hashed.bytes += bytes;
            hashed.left = hashed.left.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Whether checksums are made at all.
    pub(crate) fn hashes_in_place(&self) -> bool {
        self.looking.hash_rate.load(Ordering::Relaxed) > 0
    }

    /// Bytes in place without checksums, as far as this gateway looked.
    pub(crate) fn unhashed_bytes(&self) -> u64 {
        held(&self.looking.hashed).values().map(|hashed| hashed.left).sum()
    }
}

/// An extent that is in use, lies in place in this silo, and has no checksums.
fn wanted_of(silo: SiloId, id: Number, row: &ExtentRow) -> Option<Wanted> {
    let wanted = row.first.is_some() && row.is_in_place(silo) && !row.is_hashed();
    let from = row.verified_in(silo).filter(|_| wanted)?.location.clone();
    Some(Wanted { id, size: row.size, from })
}

/// Reads an extent that is as it was taken over; none where it is not afterwards, or was changed so lately that its silo's clock may
/// hide another change.
async fn sums_of(holdings: &dyn Holdings, wanted: &Wanted, pacer: &Pacer) -> Option<Vec<u64>> {
    let Location::InPlace { name, validator, whole, offset } = &wanted.from else { return None };
    let (validator, range) = (Validator(validator.clone()), *offset..*offset + wanted.size);
    let mut pieces = holdings.read(name, *whole, &validator, range).await.ok()?;
    let (mut sums, mut bytes) = (BlockSums::default(), 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.ok()?;
        if !pacer.pass(piece.len() as u64).await {
            return None;
        }
        sums.update(&piece);
        bytes += piece.len() as u64;
    }
    let whole = bytes == wanted.size && is_as_wanted(holdings, wanted).await;
    whole.then(|| sums.finish())
}

async fn is_as_wanted(holdings: &dyn Holdings, wanted: &Wanted) -> bool {
    let Location::InPlace { name, validator, .. } = &wanted.from else { return false };
    holdings.look(name).await.is_ok_and(|held| held.validator.0 == *validator && !held.unsettled)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::atomic::AtomicU32;

    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::stream;
    use holdall_silos::holdings::{Held, Walk};
    use holdall_silos::silo::Pieces;
    use holdall_silos::{Facts, SiloError};

    use super::*;
    use crate::assimilate::merge::tests::held;
    use crate::clock::SystemClock;
    use crate::digest::block_sum;

    const TEXT: &[u8] = b"some bytes";

    /// A file that is changed, or was changed just now, after so many looks at it.
    struct Changing {
        looks: AtomicU32,
        changed_after: u32,
        unsettled: bool,
    }

    #[async_trait]
    impl Holdings for Changing {
        async fn identity(&self) -> Result<String, SiloError> {
            Ok(String::new())
        }

        async fn facts(&self) -> Result<Facts, SiloError> {
            Ok(Facts::default())
        }

        fn walk(&self, _: &[u8], _: Option<&[u8]>) -> Box<dyn Walk> {
            unreachable!("nothing is walked")
        }

        async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
            let changed = self.looks.fetch_add(1, Ordering::Relaxed) >= self.changed_after;
            let validator = if changed { "2" } else { "1" };
            Ok(Held { size: TEXT.len() as u64, unsettled: self.unsettled, ..held(name, validator) })
        }

        async fn read(&self, _: &[u8], _: u64, _: &Validator, range: Range<u64>) -> Result<Pieces, SiloError> {
            let piece = Bytes::from_static(&TEXT[range.start as usize..range.end as usize]);
            Ok(stream::iter([Ok(piece)]).boxed())
        }
    }

    async fn sums(changed_after: u32, unsettled: bool) -> Option<Vec<u64>> {
        let file = Changing { looks: AtomicU32::new(0), changed_after, unsettled };
        let (name, validator) = (b"a".to_vec(), "1".to_owned());
        let from = Location::InPlace { name, validator, whole: TEXT.len() as u64, offset: 0 };
        let wanted = Wanted { id: Number { session: 1, number: 1 }, size: TEXT.len() as u64, from };
        let pacer = Pacer::new(Arc::new(SystemClock::new()), None, CancellationToken::new());
        if is_as_wanted(&file, &wanted).await { sums_of(&file, &wanted, &pacer).await } else { None }
    }

    /// Bytes of a file that was changed under the read would have vouched for themselves for ever.
    #[tokio::test]
    async fn only_what_did_not_change_meanwhile_gets_checksums() {
        assert_eq!(sums(2, false).await, Some(vec![block_sum(TEXT)]));
        assert_eq!(sums(1, false).await, None, "changed while it was read");
        assert_eq!(sums(0, false).await, None, "changed before");
        assert_eq!(sums(2, true).await, None, "its clock may hide another change");
    }
}
