//! Accounts, their names and their access keys.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, key};
use crate::account::AccountId;
use crate::clock::UnixMs;
use crate::engine::Key;

/// An account. Its keys and buckets are made in commits that read this row: it guards both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountRow {
    /// Unique, see [`name`].
    pub name: String,
    /// 64 hexadecimal digits.
    pub canonical_id: String,
    /// May administer.
    pub admin: bool,
    /// Its keys are refused.
    pub disabled: bool,
    /// When created.
    pub created: UnixMs,
    /// Ids of its access keys, oldest first.
    pub keys: Vec<String>,
}

/// An access key id. It is never given out again, so its row stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessKeyRow {
    /// It signs.
    Live {
        /// Whose.
        account: AccountId,
        /// When created.
        created: UnixMs,
        /// The secret, sealed for the key's id.
        sealed: Vec<u8>,
    },
    /// It was deleted.
    Gone {
        /// Whose it was.
        account: AccountId,
        /// When.
        deleted: UnixMs,
    },
}

/// An account by number.
pub fn account(id: AccountId) -> Key {
    KeyBuilder::new(key::ACCOUNTS).number(id).build()
}

/// An account's number by name: a `u64`.
pub fn name(name: &str) -> Key {
    KeyBuilder::new(key::ACCOUNT_NAMES).raw(name.as_bytes()).build()
}

/// An access key by id.
pub fn access_key(id: &str) -> Key {
    KeyBuilder::new(key::ACCESS_KEYS).raw(id.as_bytes()).build()
}

/// The counter that account numbers come from.
pub fn next_account() -> Key {
    KeyBuilder::new(key::META).raw(b"account").build()
}

/// The id of the first account's first key.
pub fn first_key() -> Key {
    KeyBuilder::new(key::META).raw(b"first_key").build()
}
