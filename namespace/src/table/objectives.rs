//! Objectives, among the declared settings.

use bytes::Bytes;

use super::{FORMAT, KeyBuilder, after_prefix, key};
use crate::engine::Key;
use crate::objective::{Objective, Scope};

/// The format of an objective's row: JSON, so that more can be wished later.
const JSON: u8 = FORMAT + 1;

const PREFIX: &[u8] = b"objective/";

/// An objective.
pub fn objective(name: &str) -> Key {
    KeyBuilder::new(key::SETTINGS).raw(PREFIX).raw(name.as_bytes()).build()
}

/// All of them.
pub fn all() -> std::ops::Range<Key> {
    let first = KeyBuilder::new(key::SETTINGS).raw(PREFIX).build();
    let end = after_prefix(&first);
    first..end
}

/// The name in a key.
pub fn read_name(key: &[u8]) -> Option<String> {
    key.get(1 + PREFIX.len()..).and_then(|name| std::str::from_utf8(name).ok()).map(str::to_owned)
}

/// The row's bytes.
pub fn encode(objective: &Objective) -> Vec<u8> {
    let mut bytes = vec![JSON];
    serde_json::to_writer(&mut bytes, objective).expect("an objective is plain data");
    bytes
}

/// Reads a row, or says why it does not read.
pub fn decode(bytes: &Bytes) -> Result<Objective, String> {
    match bytes.split_first() {
        Some((&JSON, row)) => serde_json::from_slice(row).map_err(|error| error.to_string()),
        _ => Err("another format".to_owned()),
    }
}

/// What an objective is about whose row does not read as a whole: a later version knows more to wish.
pub fn decode_scope(bytes: &Bytes) -> Option<Scope> {
    let (&JSON, row) = bytes.split_first()? else { return None };
    let row: serde_json::Value = serde_json::from_slice(row).ok()?;
    row.get("on")?.as_str()?.parse().ok()
}
