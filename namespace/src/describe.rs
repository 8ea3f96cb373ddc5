//! What bytes say of themselves, so that an index can be rebuilt and a blob in the wrong place is found out.

use std::sync::{Arc, OnceLock};

use holdall_silos::Describe;
use holdall_silos::silo::When;
use serde::{Deserialize, Serialize};

use crate::extent::{Location, Number};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::namespace::Core;
use crate::object::Pairs;
use crate::pack::{Wanted, fetch, unpack};
use crate::table::extents::ExtentRow;
use crate::table::{decode, encode};

/// Headers longer than this together stay out of the description.
const MAX_HEADERS: usize = 4096;

/// A blob's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// The namespace the blob belongs to.
    pub namespace: String,
    /// The extent it is a replica of.
    pub extent: Number,
    /// Bytes of the extent.
    pub size: u64,
    /// Bucket of the version it was first written for.
    pub bucket: String,
    /// Key of that version.
    pub key: String,
    /// That version's id.
    pub version: Number,
    /// Part number of a multipart upload, 0 for a single one.
    pub part: u32,
    /// Where the extent begins in that version or part.
    pub offset: u64,
    /// System headers and user metadata (`x-amz-meta-…`) that fit.
    pub headers: Pairs,
    /// The extent's digest; absent where the description had to be written before the body.
    pub digest: Option<[u8; 32]>,
}

impl Description {
    /// With as many headers as fit.
    #[must_use]
    pub fn with_headers(mut self, headers: &crate::object::Headers) -> Self {
        let user = headers.user.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone()));
        let all: Pairs = headers.system.iter().cloned().chain(user).collect();
        let length: usize = all.iter().map(|(name, value)| name.len() + value.len()).sum();
        if length <= MAX_HEADERS {
            self.headers = all;
        }
        self
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads a description.
    pub fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        decode(bytes)
    }

    /// For `put`: the digest is filled in once `digest` is set, where the silo asks late enough.
    pub fn describe(self, digest: Arc<OnceLock<[u8; 32]>>) -> Describe {
        Arc::new(move |when| {
            let mut own = self.clone();
            own.digest = if when == When::AfterBody { digest.get().copied() } else { self.digest };
            own.encode()
        })
    }
}

impl Core {
    /// What a replica says of itself, where it does and can be asked.
    pub(crate) async fn described(&self, open: &OpenSilo, location: &Location) -> Option<Description> {
        match (location, Wanted::at(location)) {
            (_, Some(record)) => {
                let record = fetch(open, &[record], false).await.pop()?.ok()?;
                unpack(&record).map(|(description, _)| description)
            }
            (Location::Blob(blob), None) => {
                let described = open.note(open.silo.describe(blob).await).ok()?;
                Description::decode(&described).ok()
            }
            _ => None,
        }
    }

    /// The same, of an extent that may lie elsewhere, too: where this place says nothing any more, others do.
    pub(crate) async fn described_anywhere(
        &self,
        open: &OpenSilo,
        location: &Location,
        row: &ExtentRow,
    ) -> Option<Description> {
        let inventory = self.inventory();
        let mut says = self.described(open, location).await;
        for other in inventory.left_verified(row).into_iter().filter(|other| other.location != *location) {
            if says.is_none()
                && let Ok(open) = inventory.silo(other.silo)
            {
                says = self.described(open, &other.location).await;
            }
        }
        says
    }
}
