//! Counters, moved by `Add` in the commits that change what they count.

use super::{KeyBuilder, key};
use crate::account::AccountId;
use crate::bucket::Incarnation;
use crate::engine::{Key, Write};
use crate::extent::SiloId;

/// Whose counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Current versions and their logical bytes.
    Bucket(Incarnation),
    /// The same, of all the account's buckets.
    Account(AccountId),
    /// Verified replicas and their stored bytes.
    Silo(SiloId),
    /// Retired replicas, not yet gone.
    Retired(SiloId),
}

/// A counter's two rows: how many, and how many bytes.
pub fn keys(of: Counted) -> [Key; 2] {
    let (kind, id) = match of {
        Counted::Bucket(id) => (b'b', id),
        Counted::Account(id) => (b'a', id),
        Counted::Silo(id) => (b's', u64::from(id)),
        Counted::Retired(id) => (b'r', u64::from(id)),
    };
    let key = |column: u8| KeyBuilder::new(key::USAGE).raw(&[kind]).number(id).raw(&[column]).build();
    [key(0), key(1)]
}

/// The writes that move a counter.
pub fn add(of: Counted, objects: i64, bytes: i64) -> Vec<Write> {
    let [count, size] = keys(of);
    let mut writes = Vec::with_capacity(2);
    if objects != 0 {
        writes.push(Write::Add(count, objects));
    }
    if bytes != 0 {
        writes.push(Write::Add(size, bytes));
    }
    writes
}

/// A counter's value.
pub fn read(row: Option<&bytes::Bytes>) -> i64 {
    row.and_then(|bytes| Some(i64::from_le_bytes(bytes.as_ref().try_into().ok()?))).unwrap_or(0)
}
