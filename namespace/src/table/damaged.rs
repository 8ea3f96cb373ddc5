//! What was found damaged or missing in silos.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::silos::read_silo;
use super::{KeyBuilder, decode_row, key, read_number};
use crate::clock::UnixMs;
use crate::engine::Key;
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::scrub::{Done, Flaw};

/// A replica that was found not to be what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRow {
    /// The object that its bytes were first written for, where they say so.
    pub object: Option<(String, String)>,
    /// Where it was.
    pub location: Location,
    /// What is wrong with it.
    pub flaw: Flaw,
    /// One sentence fragment.
    pub reason: String,
    /// When it was found last.
    pub found: UnixMs,
    /// What became of it.
    pub done: Done,
}

/// Where a replica is that was found damaged, and not made good.
pub(crate) fn left_at(row: Option<&Bytes>) -> Result<Option<Location>, Fault> {
    let row: Option<DamagedRow> = decode_row(row)?;
    Ok(row.filter(|row| row.done == Done::Left).map(|row| row.location))
}

/// The damage of an extent's replica in a silo.
pub fn damaged(silo: SiloId, extent: Number) -> Key {
    KeyBuilder::new(key::DAMAGED).short(silo).number(extent.session).number(extent.number).build()
}

/// Where all of a silo's begin.
pub fn of_silo(silo: SiloId) -> Key {
    KeyBuilder::new(key::DAMAGED).short(silo).build()
}

/// Silo and extent, from a key of the table.
pub fn read_damaged(key: &[u8]) -> Option<(SiloId, Number)> {
    Some((read_silo(key)?, Number { session: read_number(key, 5)?, number: read_number(key, 13)? }))
}
