//! A silo that never comes back, where it is looked for: nothing is left in it, and it takes nothing.

use std::ops::Range;

use async_trait::async_trait;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored};

/// Asks nobody. What it held is missing, and what is to be deleted there is deleted.
pub struct Lost;

fn refused() -> SiloError {
    SiloError::not_done("the silo is lost")
}

#[async_trait]
impl Silo for Lost {
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
        Ok(())
    }

    async fn list(&self, _: &str, _: Option<&str>, _: usize) -> Result<Vec<Listed>, SiloError> {
        Ok(Vec::new())
    }

    async fn claim(&self, _: &Claim) -> Result<(), SiloError> {
        Err(refused())
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        Err(refused())
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        Err(refused())
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        Ok(None)
    }
}
