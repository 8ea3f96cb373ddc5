//! Objectives, among the declared settings.

use bytes::Bytes;

use super::{KeyBuilder, after_prefix, encode_json, json_of, key};
use crate::engine::Key;
use crate::objective::{Objective, Scope};

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
    encode_json(objective)
}

/// Reads a row, or says why it does not read.
pub fn decode(bytes: &Bytes) -> Result<Objective, String> {
    let row = json_of(bytes).ok_or_else(|| "another format".to_owned())?;
    serde_json::from_slice(row).map_err(|error| error.to_string())
}

/// What an objective is about whose row does not read as a whole: a later version knows more to wish.
pub fn decode_scope(bytes: &Bytes) -> Option<Scope> {
    let row: serde_json::Value = serde_json::from_slice(json_of(bytes)?).ok()?;
    row.get("on")?.as_str()?.parse().ok()
}
