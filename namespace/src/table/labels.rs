//! What people say of objects: a row for each that has labels, beside the object's own.

use bytes::Bytes;

use super::{beside, decode_row, encode, key};
use crate::engine::{Key, Write};
use crate::fault::Fault;
use crate::object::Pairs;

/// The labels of the object whose row this is the key of.
pub fn labels_of(object: &[u8]) -> Key {
    beside(object, key::LABELS)
}

/// The row of the object that has the labels of this row.
pub fn labelled_by(labels: &[u8]) -> Key {
    beside(labels, key::OBJECTS)
}

/// The write that makes these the labels, in the order of their names; of none there is no row.
pub fn store(key: Key, labels: &Pairs) -> Write {
    if labels.is_empty() { Write::Delete(key) } else { Write::Put(key, encode(labels)) }
}

/// Reads a row that may be absent.
pub fn read(row: Option<&Bytes>) -> Result<Pairs, Fault> {
    Ok(decode_row(row)?.unwrap_or_default())
}
