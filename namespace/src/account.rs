//! Who owns buckets, and the keys that speak for them.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::namespace::Namespace;

/// An account's number; the first account is 1.
pub type AccountId = u64;

/// An account as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Its name, unique.
    pub name: String,
    /// 64 hexadecimal digits that S3 calls the owner's canonical id.
    pub canonical_id: String,
    /// The first account administers; others do not.
    pub admin: bool,
    /// Its keys are refused while it is disabled.
    pub disabled: bool,
    /// When it was created.
    pub created: UnixMs,
}

/// An access key as it is shown: never with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// `access_key_id`
    pub id: String,
    /// Whose.
    pub account: AccountId,
    /// When it was created.
    pub created: UnixMs,
}

/// A new key with its secret, shown once.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The key.
    pub key: AccessKey,
    /// Its secret.
    pub secret: SecretString,
}

/// What a signature is checked against.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Who speaks.
    pub account: Account,
    /// With what secret.
    pub secret: SecretString,
}

/// Why an account or key operation was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// There is none of that name.
    #[error("no account `{0}`")]
    NoSuchAccount(String),
    /// There is no such key.
    #[error("no access key `{0}`")]
    NoSuchKey(String),
    /// The name is taken.
    #[error("an account `{0}` exists")]
    Exists(String),
    /// Not a name: 1 to 64 of `a-z A-Z 0-9 - _ . @`.
    #[error("`{0}` is not an account name")]
    InvalidName(String),
    /// The account still owns this many buckets.
    #[error("the account owns {0} buckets")]
    OwnsBuckets(u64),
    /// The first account and its last key stay.
    #[error("the first account cannot be disabled or deleted, nor can its last key")]
    First,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Namespace {
    /// Makes sure the first account (`admin`) exists and that this is its first key; `None` generates one if there is
    /// none yet. Answers the key when it is new or was replaced.
    pub async fn ensure_first_key(&self, _key: Option<(String, SecretString)>) -> Result<Option<NewKey>, AccountError> {
        unimplemented!()
    }

    /// Creates an account with one key.
    pub async fn create_account(&self, _name: &str) -> Result<(Account, NewKey), AccountError> {
        unimplemented!()
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>, Fault> {
        unimplemented!()
    }

    /// One account by its number.
    pub async fn account(&self, _id: AccountId) -> Result<Option<Account>, Fault> {
        unimplemented!()
    }

    /// Disables or enables an account's keys.
    pub async fn set_account_disabled(&self, _name: &str, _disabled: bool) -> Result<Account, AccountError> {
        unimplemented!()
    }

    /// Deletes an account that owns no bucket, and its keys. Key ids are never given out again.
    pub async fn delete_account(&self, _name: &str) -> Result<(), AccountError> {
        unimplemented!()
    }

    /// Adds a key to an account.
    pub async fn create_key(&self, _account: &str) -> Result<NewKey, AccountError> {
        unimplemented!()
    }

    /// An account's keys.
    pub async fn keys(&self, _account: &str) -> Result<Vec<AccessKey>, AccountError> {
        unimplemented!()
    }

    /// Deletes a key; requests signed with it are refused from then on.
    pub async fn delete_key(&self, _account: &str, _id: &str) -> Result<(), AccountError> {
        unimplemented!()
    }

    /// What a signature with this key id is checked against; `None` for an unknown, deleted or disabled one.
    /// One read of the index; callers need no cache for correctness and must not keep the answer across requests.
    pub async fn credential(&self, _access_key_id: &str) -> Result<Option<Credential>, Fault> {
        unimplemented!()
    }
}
