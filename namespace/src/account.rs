//! Who owns buckets, and the keys that speak for them.
//!
//! Account numbers and key ids are never given out again, and a secret is shown once, when it is made. An account's
//! row guards its keys: every commit that makes or deletes one reads it.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::{Key, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::{LIST_PAGE, MAX_ACCESS_KEYS, MAX_BUCKETS};
use crate::namespace::Namespace;
use crate::seal::Sealer;
use crate::session::Uncommitted;
use crate::table::accounts::{self, AccessKeyRow, AccountRow};
use crate::table::usage::{self, Counted};
use crate::table::{after_prefix, buckets, decode, decode_row, encode, read_number, successor};

pub(crate) use fresh::FIRST;
use fresh::{FirstKey, Fresh, MAX_GIVEN_ID, canonical_id};

mod fresh;
#[cfg(test)]
mod tests;

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
    /// A given key does not have the form of one.
    #[error(
        "`{0}` with its secret is no access key: 3 to 128 letters, digits, `-`, `_` or `.`, and 8 to 128 characters"
    )]
    InvalidKey(String),
    /// A given key's id is, or was, another account's.
    #[error("the access key id `{0}` belongs to another account")]
    KeyTaken(String),
    /// The account has as many keys as it may have.
    #[error("the account has {0} keys, which is the limit")]
    TooManyKeys(usize),
    /// The account still owns this many buckets.
    #[error("the account still owns buckets ({0})")]
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
    pub async fn ensure_first_key(&self, key: Option<(String, SecretString)>) -> Result<Option<NewKey>, AccountError> {
        let given = key.is_some();
        let fresh = match key {
            Some((id, secret)) => Fresh::given(id, secret, self.clock.now())?,
            None => Fresh::generate(self.clock.now()),
        };
        let stored = self.first_key().await?;
        if let Some((id, secret)) = &stored
            && (!given || (*id == fresh.id && secret.expose_secret() == fresh.secret.expose_secret()))
        {
            return Ok(None);
        }
        if !given && self.account_row(FIRST).await?.is_some_and(|row| !row.keys.is_empty()) {
            return Ok(None);
        }
        let replaced = stored.map(|(id, _)| id);
        let first = FirstKey {
            old: replaced.clone(),
            sealed: self.sealer().seal(&fresh.secret, &fresh.id),
            id: fresh.id.clone(),
            canonical_id: canonical_id(),
            now: fresh.created,
        };
        let reads = first.reads();
        let committed = self.session().commit(reads, move |rows| first.decide(rows)).await;
        self.settle(committed, async {
            let landed = self.first_key().await?.is_some_and(|(id, _)| id == fresh.id);
            Ok(landed.then_some(()))
        })
        .await?;
        if let Some(old) = replaced {
            tracing::info!(%old, new = %fresh.id, "the first key was replaced, as the start said");
        }
        Ok(Some(fresh.shown(FIRST)))
    }

    /// Creates an account with one key.
    pub async fn create_account(&self, name: &str) -> Result<(Account, NewKey), AccountError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if !(1..=64).contains(&name.len()) || !name.bytes().all(good) {
            return Err(AccountError::InvalidName(name.to_owned()));
        }
        let fresh = Fresh::generate(self.clock.now());
        let row = AccountRow {
            name: name.to_owned(),
            canonical_id: canonical_id(),
            admin: false,
            disabled: false,
            created: fresh.created,
            keys: vec![fresh.id.clone()],
        };
        let sealed = self.sealer().seal(&fresh.secret, &fresh.id);
        let (name_key, key_key) = (accounts::name(name), accounts::access_key(&fresh.id));
        let reads = [&name_key, &key_key, &accounts::next_account()].map(|key| Read::Row(key.clone())).to_vec();
        let (new, created) = (row.clone(), fresh.created);
        let decide = move |rows: &Rows| {
            if rows.get(&name_key).is_some() {
                return Err(AccountError::Exists(new.name.clone()));
            }
            refuse_taken(rows, &key_key)?;
            let id = decode_row(rows.get(&accounts::next_account()))?.unwrap_or(FIRST + 1);
            let key = AccessKeyRow::Live { account: id, created, sealed: sealed.clone() };
            let writes = vec![
                Write::Put(accounts::next_account(), encode(&(id + 1))),
                Write::Put(name_key.clone(), encode(&id)),
                Write::Put(accounts::account(id), encode(&new)),
                Write::Put(key_key.clone(), encode(&key)),
            ];
            Ok((writes, id))
        };
        let committed = self.session().commit(reads, decide).await;
        let landed = async {
            let found = self.find(name).await?;
            Ok(found.filter(|(_, found)| found.canonical_id == row.canonical_id).map(|(id, _)| id))
        };
        let id = self.settle(committed, landed).await?;
        Ok((show(id, row.clone()), fresh.shown(id)))
    }

    /// All accounts, by name.
    pub async fn accounts(&self) -> Result<Vec<Account>, Fault> {
        let (mut all, mut from) = (Vec::new(), accounts::account(0));
        let end = after_prefix(&from[..1]);
        loop {
            let page = self.engine.range(from.clone()..end.clone(), LIST_PAGE, usize::MAX).await?;
            let Some((last, _)) = page.last() else { break };
            from = successor(last);
            for (key, row) in &page {
                let id = read_number(key, 1).ok_or_else(|| Fault::Damaged("an account's key".to_owned()))?;
                all.push(show(id, decode(row)?));
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// One account by its number.
    pub async fn account(&self, id: AccountId) -> Result<Option<Account>, Fault> {
        Ok(self.account_row(id).await?.map(|row| show(id, row)))
    }

    /// Disables or enables an account's keys.
    pub async fn set_account_disabled(&self, name: &str, disabled: bool) -> Result<Account, AccountError> {
        let (id, _) = self.existing(name).await?;
        if id == FIRST && disabled {
            return Err(AccountError::First);
        }
        let (key, gone) = (accounts::account(id), name.to_owned());
        let decide = move |rows: &Rows| {
            let mut row = guard(rows, &key, &gone)?;
            row.disabled = disabled;
            Ok((vec![Write::Put(key.clone(), encode(&row))], row))
        };
        let committed = self.session().commit(vec![Read::Row(accounts::account(id))], decide).await;
        let landed = async { Ok(self.account_row(id).await?.filter(|row| row.disabled == disabled)) };
        Ok(show(id, self.settle(committed, landed).await?))
    }

    /// Deletes an account that owns no bucket, and its keys. Key ids are never given out again.
    pub async fn delete_account(&self, name: &str) -> Result<(), AccountError> {
        let (id, row) = self.existing(name).await?;
        if id == FIRST {
            return Err(AccountError::First);
        }
        let start = buckets::owned(id, "");
        let owned = start.clone()..after_prefix(&start);
        let count = self.engine.range(owned.clone(), MAX_BUCKETS, usize::MAX).await.map_err(Fault::from)?.len();
        if count > 0 {
            return Err(AccountError::OwnsBuckets(count as u64));
        }
        let (key, name_key, now) = (accounts::account(id), accounts::name(&row.name), self.clock.now());
        let reads = vec![Read::Row(key.clone()), Read::Empty(owned)];
        let decide = move |rows: &Rows| {
            let row = guard(rows, &key, &row.name)?;
            if !rows.empty[0] {
                return Err(AccountError::OwnsBuckets(1));
            }
            let gone = encode(&AccessKeyRow::Gone { account: id, deleted: now });
            let keys = row.keys.iter().map(|key| Write::Put(accounts::access_key(key), gone.clone()));
            let counters = usage::keys(Counted::Account(id)).into_iter().map(Write::Delete);
            let rows = [Write::Delete(key.clone()), Write::Delete(name_key.clone())];
            Ok((rows.into_iter().chain(keys).chain(counters).collect(), ()))
        };
        let committed = self.session().commit(reads, decide).await;
        self.settle(committed, async { Ok(self.account_row(id).await?.is_none().then_some(())) }).await
    }

    /// Adds a key to an account.
    pub async fn create_key(&self, account: &str) -> Result<NewKey, AccountError> {
        let (id, _) = self.existing(account).await?;
        let fresh = Fresh::generate(self.clock.now());
        let key = AccessKeyRow::Live {
            account: id,
            created: fresh.created,
            sealed: self.sealer().seal(&fresh.secret, &fresh.id),
        };
        let (account_key, key_key) = (accounts::account(id), accounts::access_key(&fresh.id));
        let reads = vec![Read::Row(account_key.clone()), Read::Row(key_key.clone())];
        let (new, name) = (fresh.id.clone(), account.to_owned());
        let decide = move |rows: &Rows| {
            let mut row = guard(rows, &account_key, &name)?;
            refuse_taken(rows, &key_key)?;
            if row.keys.len() >= MAX_ACCESS_KEYS {
                return Err(AccountError::TooManyKeys(row.keys.len()));
            }
            row.keys.push(new.clone());
            let writes = vec![Write::Put(account_key.clone(), encode(&row)), Write::Put(key_key.clone(), encode(&key))];
            Ok((writes, ()))
        };
        let committed = self.session().commit(reads, decide).await;
        let landed = async {
            let row = self.key_row(&fresh.id).await?;
            Ok(matches!(row, Some(AccessKeyRow::Live { .. })).then_some(()))
        };
        self.settle(committed, landed).await?;
        Ok(fresh.shown(id))
    }

    /// An account's keys.
    pub async fn keys(&self, account: &str) -> Result<Vec<AccessKey>, AccountError> {
        let (_, row) = self.existing(account).await?;
        let names: Vec<Key> = row.keys.iter().map(|key| accounts::access_key(key)).collect();
        let rows = self.engine.get(&names).await.map_err(Fault::from)?;
        let mut keys = Vec::with_capacity(rows.len());
        for (id, found) in row.keys.into_iter().zip(rows) {
            // A key deleted since the account was read is left out.
            if let Some(AccessKeyRow::Live { account, created, .. }) = decode_row(found.as_ref())? {
                keys.push(AccessKey { id, account, created });
            }
        }
        Ok(keys)
    }

    /// Deletes a key; requests signed with it are refused from then on.
    pub async fn delete_key(&self, account: &str, id: &str) -> Result<(), AccountError> {
        let (number, _) = self.existing(account).await?;
        let (account_key, name, deleted, now) =
            (accounts::account(number), account.to_owned(), id.to_owned(), self.clock.now());
        let decide = move |rows: &Rows| {
            let mut row = guard(rows, &account_key, &name)?;
            let before = row.keys.len();
            row.keys.retain(|key| *key != deleted);
            if row.keys.len() == before {
                return Err(AccountError::NoSuchKey(deleted.clone()));
            }
            if number == FIRST && row.keys.is_empty() {
                return Err(AccountError::First);
            }
            let gone = AccessKeyRow::Gone { account: number, deleted: now };
            let writes = vec![
                Write::Put(account_key.clone(), encode(&row)),
                Write::Put(accounts::access_key(&deleted), encode(&gone)),
            ];
            Ok((writes, ()))
        };
        let committed = self.session().commit(vec![Read::Row(accounts::account(number))], decide).await;
        let landed = async {
            let row = self.key_row(id).await?;
            Ok(matches!(row, Some(AccessKeyRow::Gone { .. })).then_some(()))
        };
        self.settle(committed, landed).await
    }

    /// What a signature with this key id is checked against; `None` for an unknown, deleted or disabled one.
    /// Two row reads; callers need no cache for correctness and must not keep the answer across requests.
    pub async fn credential(&self, access_key_id: &str) -> Result<Option<Credential>, Fault> {
        if access_key_id.len() > MAX_GIVEN_ID {
            return Ok(None);
        }
        let Some(AccessKeyRow::Live { account, sealed, .. }) = self.key_row(access_key_id).await? else {
            return Ok(None);
        };
        let Some(row) = self.account_row(account).await?.filter(|row| !row.disabled) else { return Ok(None) };
        let secret = self.sealer().open(&sealed, access_key_id)?;
        Ok(Some(Credential { account: show(account, row), secret }))
    }

    fn sealer(&self) -> Sealer {
        Sealer::new(&self.options.seal_key)
    }

    async fn account_row(&self, id: AccountId) -> Result<Option<AccountRow>, Fault> {
        let rows = self.engine.get(&[accounts::account(id)]).await?;
        decode_row(rows[0].as_ref())
    }

    async fn key_row(&self, id: &str) -> Result<Option<AccessKeyRow>, Fault> {
        let rows = self.engine.get(&[accounts::access_key(id)]).await?;
        decode_row(rows[0].as_ref())
    }

    async fn find(&self, name: &str) -> Result<Option<(AccountId, AccountRow)>, Fault> {
        let rows = self.engine.get(&[accounts::name(name)]).await?;
        let Some(id) = decode_row(rows[0].as_ref())? else { return Ok(None) };
        Ok(self.account_row(id).await?.map(|row| (id, row)))
    }

    async fn existing(&self, name: &str) -> Result<(AccountId, AccountRow), AccountError> {
        self.find(name).await?.ok_or_else(|| AccountError::NoSuchAccount(name.to_owned()))
    }

    /// The first key as stored, unless it was deleted.
    async fn first_key(&self) -> Result<Option<(String, SecretString)>, Fault> {
        let rows = self.engine.get(&[accounts::first_key()]).await?;
        let Some(id) = decode_row::<String>(rows[0].as_ref())? else { return Ok(None) };
        let Some(AccessKeyRow::Live { sealed, .. }) = self.key_row(&id).await? else { return Ok(None) };
        let secret = self.sealer().open(&sealed, &id)?;
        Ok(Some((id, secret)))
    }

    /// Settles a commit whose answer was lost by reading: nothing sent before can land any more.
    async fn settle<T>(
        &self,
        committed: Result<T, Uncommitted<AccountError>>,
        landed: impl Future<Output = Result<Option<T>, Fault>>,
    ) -> Result<T, AccountError> {
        match committed {
            Ok(value) => Ok(value),
            Err(Uncommitted::Refused(refusal)) => Err(refusal),
            Err(Uncommitted::Fault(fault)) => Err(fault.into()),
            Err(Uncommitted::Unknown) => {
                let lost = || Fault::Unavailable("the commit was lost".to_owned());
                Ok(landed.await?.ok_or_else(lost)?)
            }
        }
    }
}

/// The account's row, which guards what is decided about it.
fn guard(rows: &Rows, key: &[u8], name: &str) -> Result<AccountRow, AccountError> {
    decode_row(rows.get(key))?.ok_or_else(|| AccountError::NoSuchAccount(name.to_owned()))
}

/// A drawn id that was given out before; as likely as guessing one.
fn refuse_taken(rows: &Rows, key: &[u8]) -> Result<(), AccountError> {
    match rows.get(key) {
        None => Ok(()),
        Some(_) => Err(Fault::Unavailable("the drawn key id is taken, try again".to_owned()).into()),
    }
}

fn show(id: AccountId, row: AccountRow) -> Account {
    let AccountRow { name, canonical_id, admin, disabled, created, keys: _ } = row;
    Account { id, name, canonical_id, admin, disabled, created }
}
