//! Where bytes live.
//!
//! A silo keeps immutable blobs under names of our own and promises only what its [`Facts`] say it was found to
//! promise. Silos know no bucket and no key; who owns a blob and whether it may go is decided above them.

pub mod error;
pub mod facts;
pub mod holdings;
pub mod kinds;
pub mod limits;
pub mod marker;
pub mod name;
pub mod names;
pub mod projections;
pub mod queue;
pub mod silo;

mod buffer;
mod exact;
mod folders;
mod span;
mod trailer;

pub mod address;
pub mod connect;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
pub mod posix;

mod web;

mod azure;
mod gcs;
mod s3;

mod files;

mod dav;
mod http;
mod sftp;

pub mod contract;
pub mod wrap;

pub use address::Address;
pub use connect::{Credentials, connect};
pub use error::{BodyError, SiloError};
pub use facts::Facts;
pub use marker::{Claim, Marker};
pub use name::BlobName;
pub use names::Names;
pub use silo::{Body, Describe, Listed, Silo, Stat, Stored, Validator, collect};
