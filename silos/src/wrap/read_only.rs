//! A silo of others, where a silo of ours is looked for: it has no blob of ours, and takes none.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::holdings::Holdings;
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored};

/// Never writes.
pub struct ReadOnly {
    holdings: Arc<dyn Holdings>,
}

impl ReadOnly {
    /// Over what others put there.
    pub fn new(holdings: Arc<dyn Holdings>) -> Self {
        Self { holdings }
    }
}

fn refused() -> SiloError {
    SiloError::not_done("the silo is read-only")
}

#[async_trait]
impl Silo for ReadOnly {
    async fn put(&self, _: &BlobName, _: u64, _: Body, _: Describe) -> Result<Stored, SiloError> {
        Err(refused())
    }

    async fn read(&self, _: &BlobName, _: u64, _: Range<u64>) -> Result<Pieces, SiloError> {
        Err(SiloError::Missing)
    }

    async fn stat(&self, _: &BlobName) -> Result<Stat, SiloError> {
        Err(SiloError::Missing)
    }

    async fn describe(&self, _: &BlobName) -> Result<Vec<u8>, SiloError> {
        Err(SiloError::Missing)
    }

    async fn delete(&self, _: &BlobName) -> Result<(), SiloError> {
        Err(refused())
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<Listed>, SiloError> {
        Ok(Vec::new())
    }

    /// Its id is what tells it from another one.
    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        let found = self.holdings.identity().await?;
        if found == claim.marker.id {
            return Ok(());
        }
        let known = &claim.marker.id;
        Err(SiloError::not_done(format!("another silo stands in its place: {found}, not {known}; is it mounted?")))
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        Ok(None)
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.holdings.facts().await
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        Ok(None)
    }
}
