//! What a read finds out: bytes in place are not those that were seen.

use std::ops::Range;

use futures_util::TryStreamExt;
use holdall_silos::SiloError;
use holdall_silos::holdings::Held;

use super::take::Followed;
use crate::digest::block_sum;
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::namespace::Core;
use crate::table::roots::RootRow;

/// A block of a name that is not what its checksum says.
pub(crate) struct OddBlock {
    /// Bytes of the name.
    pub(crate) whole: u64,
    /// Where the block lies in it.
    pub(crate) range: Range<u64>,
    /// Its checksum as it was read.
    pub(crate) found: u64,
}

impl Core {
    /// Looks at a name again that was changed under a read, so that the next read serves what is there. A name that is gone
    /// stays until a pass has seen everything.
    pub(crate) async fn look_again(&self, silo: SiloId, name: &[u8], odd: Option<OddBlock>) {
        match self.try_again(silo, name, odd).await {
            Ok(true) => {
                tracing::info!(silo, name = %String::from_utf8_lossy(name), "a file was changed and is followed");
            }
            Ok(false) => {}
            Err(fault) => tracing::debug!(silo, %fault, "a name was not looked at again"),
        }
    }

    /// The bucket and key that a name is taken over as.
    pub(crate) fn taken_over_as(&self, silo: SiloId, name: &[u8]) -> Option<(String, String)> {
        let inventory = self.inventory();
        let mut roots = inventory.roots.iter().filter(|row| row.silo == silo).map(|row| &row.info.order);
        roots.find_map(|order| Some((order.bucket.to_string(), order.key_of(name).ok()?.to_string())))
    }

    async fn try_again(&self, silo: SiloId, name: &[u8], odd: Option<OddBlock>) -> Result<bool, Fault> {
        let inventory = self.inventory();
        let mut roots = inventory.roots.iter().filter(|row| row.silo == silo);
        let Some((root, key)) = roots.find_map(|row| Some((row, row.info.order.key_of(name).ok()?))) else {
            return Ok(false);
        };
        if root.info.order.leaves_out(name) {
            return Ok(false);
        }
        let Some(bucket) = self.bucket_of(root).await? else { return Ok(false) };
        let Some(before) = self.known_name(silo, name).await? else { return Ok(false) };
        let Some(held) = self.look_in(root, name).await? else { return Ok(false) };
        if held.validator.0 != before.validator {
            let followed = self.follow(root, &bucket, &key, &held, &before).await?;
            return Ok(matches!(followed, Followed::Changed));
        }
        let Some(odd) = odd else { return Ok(false) };
        if !self.stays_odd(root, &held, &odd).await? {
            return Ok(false);
        }
        // Whoever knows the `ETag` of the old version does not take this one for it.
        let known = held.etag.as_deref().unwrap_or(&held.validator.0);
        let etag = Some(format!("{known}-{:x}", self.clock.now()));
        let followed = self.follow_changed(root, &bucket, &key, &Held { etag, ..held }, &before).await?;
        Ok(matches!(followed, Followed::Changed))
    }

    /// Whether a name that looks as it did gives the same other bytes once more, in a silo where a write may not show: others
    /// wrote to it, and set the time back. Elsewhere it is damage.
    async fn stays_odd(&self, root: &RootRow, held: &Held, odd: &OddBlock) -> Result<bool, Fault> {
        let (open, holdings) = self.silo_of(root)?;
        let again = async {
            if held.unsettled || holdings.shows_every_write().await? {
                return Ok(false);
            }
            let pieces = holdings.read(&held.name, odd.whole, &held.validator, odd.range.clone()).await?;
            let pieces: Vec<_> = pieces.try_collect().await?;
            let same = block_sum(&pieces.concat()) == odd.found;
            Ok(same && holdings.look(&held.name).await? == *held)
        };
        match open.note(again.await) {
            Ok(stays) => Ok(stays),
            Err(SiloError::Missing | SiloError::Mismatch { .. }) => Ok(false),
            Err(error) => Err(crate::store::silo_failed(&open, &error)),
        }
    }
}
