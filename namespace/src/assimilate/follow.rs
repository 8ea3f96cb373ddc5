//! What a read finds out: bytes in place are not those that were seen.

use super::take::Followed;
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::namespace::Core;

impl Core {
    /// Looks at a name again that was changed under a read, so that the next read serves what is there. A name that is gone
    /// stays until a pass has seen everything.
    pub(crate) async fn look_again(&self, silo: SiloId, name: &[u8]) {
        match self.try_again(silo, name).await {
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

    async fn try_again(&self, silo: SiloId, name: &[u8]) -> Result<bool, Fault> {
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
        if held.validator.0 == before.validator {
            return Ok(false);
        }
        let followed = self.follow(root, &bucket, &key, &held, &before).await?;
        Ok(matches!(followed, Followed::Changed))
    }
}
