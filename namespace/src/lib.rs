//! Which objects exist and where their bytes are.
//!
//! A write is two steps: bytes go to a silo under a name that was never used before, then one commit makes the
//! version exist. A move touches the extent alone, so nothing that S3 shows of an object can change with it.
//! Nothing is deleted on a guess: bytes go when a commit retired them and nobody can be reading them, or when no row
//! names them and no live session still can.

pub mod clock;
pub mod extent;
pub mod failpoint;
pub mod limits;
pub mod name;
pub mod object;

pub mod engine;
pub mod table;

pub mod describe;
pub mod digest;
pub mod fault;
pub mod seal;
pub mod session;
pub mod staged;

mod credentials;
pub mod declare;
pub mod inventory;
pub mod lost;
mod meet;
pub mod objective;
pub mod placement;
pub mod price;
pub mod probe;
pub mod remove_silo;
pub mod set_silo;
pub mod switch;

pub mod account;
pub mod assimilate;
pub mod bucket;
mod names;
mod pack;
mod read;
mod reference;
mod replace;
mod store;

pub mod copy;
pub mod delete;
pub mod find;
pub mod get;
pub mod heat;
pub mod label;
pub mod learn;
pub mod list;
pub mod multipart;
pub mod put;
pub mod tag;

pub mod backup;
pub mod census;
pub mod check;
pub mod job;
pub mod mover;
pub mod plan;
pub mod project;
pub mod restore;
pub mod scrub;
pub mod simulate;
pub mod stats;
pub mod sweep;
pub mod usage;

mod namespace;

#[cfg(test)]
mod model;

pub use namespace::{Namespace, OpenError, Options};
