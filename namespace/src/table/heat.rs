//! How often and how lately objects are read: a row for each that was read, beside the object's own.

use super::{FORMAT, beside, key};
use crate::engine::Key;
use crate::heat::{BYTES, Heat};

/// The heat of the object whose row this is the key of.
pub fn heat_of(object: &[u8]) -> Key {
    beside(object, key::HEAT)
}

/// The row's bytes: 32 with the format.
pub fn encode(heat: &Heat) -> Vec<u8> {
    let mut row = vec![FORMAT];
    row.extend(heat.to_bytes());
    row
}

/// Reads a row; none where it is of another format: it is an estimate, and begins again.
pub fn decode(row: &[u8]) -> Option<Heat> {
    let (&FORMAT, heat) = row.split_first()? else { return None };
    let heat: &[u8; BYTES] = heat.try_into().ok()?;
    Some(Heat::from_bytes(heat))
}
