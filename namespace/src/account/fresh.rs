//! Keys that are made: drawn, or given by whoever starts the gateway.

use std::ops::RangeInclusive;

use secrecy::{ExposeSecret, SecretString};

use super::{AccessKey, AccountError, AccountId, NewKey};
use crate::clock::UnixMs;
use crate::engine::{Read, Rows, Write};
use crate::fault::Fault;
use crate::table::accounts::{self, AccessKeyRow, AccountRow};
use crate::table::{decode_row, encode};

/// The first account's number.
pub(crate) const FIRST: AccountId = 1;
/// The first account's name.
const FIRST_NAME: &str = "admin";
/// A drawn key id: these two letters, then upper-case letters and digits.
const ID_START: &str = "HK";
/// How long drawn ids and secrets are, as AWS's are.
const ID_LENGTH: usize = 20;
const SECRET_LENGTH: usize = 40;
/// How long given ids and secrets may be.
pub(super) const MAX_GIVEN_ID: usize = 128;
const GIVEN_ID: RangeInclusive<usize> = 3..=MAX_GIVEN_ID;
const GIVEN_SECRET: RangeInclusive<usize> = 8..=128;

/// A key that is not in the index yet.
pub(super) struct Fresh {
    pub(super) id: String,
    pub(super) secret: SecretString,
    pub(super) created: UnixMs,
}

impl Fresh {
    pub(super) fn generate(now: UnixMs) -> Self {
        let id =
            ID_START.to_owned() + &random_text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", ID_LENGTH - ID_START.len());
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        Self { id, secret: random_text(letters, SECRET_LENGTH).into(), created: now }
    }

    pub(super) fn given(id: String, secret: SecretString, now: UnixMs) -> Result<Self, AccountError> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let right = GIVEN_ID.contains(&id.len())
            && id.bytes().all(good)
            && GIVEN_SECRET.contains(&secret.expose_secret().len());
        if right { Ok(Self { id, secret, created: now }) } else { Err(AccountError::InvalidKey(id)) }
    }

    pub(super) fn shown(self, account: AccountId) -> NewKey {
        NewKey { key: AccessKey { id: self.id, account, created: self.created }, secret: self.secret }
    }
}

/// The commit that makes a key the first account's first one, in place of the old.
pub(super) struct FirstKey {
    /// The first key as it was read.
    pub(super) old: Option<String>,
    pub(super) id: String,
    pub(super) sealed: Vec<u8>,
    pub(super) canonical_id: String,
    pub(super) now: UnixMs,
}

impl FirstKey {
    pub(super) fn reads(&self) -> Vec<Read> {
        let keys = [accounts::account(FIRST), accounts::next_account(), accounts::access_key(&self.id)];
        let mut reads = keys.map(Read::Row).to_vec();
        reads.push(Read::Row(accounts::first_key()));
        reads
    }

    pub(super) fn decide(&self, rows: &Rows) -> Result<(Vec<Write>, ()), AccountError> {
        let stored: Option<String> = decode_row(rows.get(&accounts::first_key()))?;
        let mut row = decode_row(rows.get(&accounts::account(FIRST)))?.unwrap_or_else(|| AccountRow {
            name: FIRST_NAME.to_owned(),
            canonical_id: self.canonical_id.clone(),
            admin: true,
            disabled: false,
            created: self.now,
            keys: Vec::new(),
        });
        if self.old.is_some() && stored != self.old {
            return Err(Fault::Unavailable("another process replaced the first key".to_owned()).into());
        }
        // What its operator declares may come back; what was another account's may not.
        let taken = decode_row(rows.get(&accounts::access_key(&self.id)))?;
        if let Some(AccessKeyRow::Live { account, .. } | AccessKeyRow::Gone { account, .. }) = taken
            && account != FIRST
        {
            return Err(AccountError::KeyTaken(self.id.clone()));
        }
        let mut writes = vec![Write::Put(accounts::name(FIRST_NAME), encode(&FIRST))];
        if rows.get(&accounts::next_account()).is_none() {
            writes.push(Write::Put(accounts::next_account(), encode(&(FIRST + 1))));
        }
        if let Some(old) = self.old.as_ref().filter(|old| **old != self.id) {
            let gone = AccessKeyRow::Gone { account: FIRST, deleted: self.now };
            writes.push(Write::Put(accounts::access_key(old), encode(&gone)));
        }
        row.keys.retain(|key| *key != self.id && Some(key) != self.old.as_ref());
        row.keys.insert(0, self.id.clone());
        let live = AccessKeyRow::Live { account: FIRST, created: self.now, sealed: self.sealed.clone() };
        writes.push(Write::Put(accounts::access_key(&self.id), encode(&live)));
        writes.push(Write::Put(accounts::account(FIRST), encode(&row)));
        writes.push(Write::Put(accounts::first_key(), encode(&self.id)));
        Ok((writes, ()))
    }
}

/// What S3 calls an owner by.
pub(super) fn canonical_id() -> String {
    random_text(b"0123456789abcdef", 64)
}

/// Letters drawn evenly: bytes beyond the last whole multiple of the alphabet are drawn again.
fn random_text(letters: &[u8], length: usize) -> String {
    let even = 256 / letters.len() * letters.len();
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        getrandom::fill(&mut bytes).expect("the system has randomness");
        let drawn = bytes.iter().filter(|byte| usize::from(**byte) < even);
        text.extend(
            drawn.map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).take(length - text.len()),
        );
    }
    text
}
