//! Silos and declared settings.

use bytes::Bytes;
use holdall_silos::Facts;
use serde::{Deserialize, Serialize};

use super::{KeyBuilder, after_prefix, decode, encode_json, json_of, key};
use crate::clock::UnixMs;
use crate::credentials::CredentialsFrom;
use crate::engine::{Key, Rows};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::DeclaredSilo;

/// A silo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiloRow {
    /// Its name.
    pub name: String,
    /// As declared.
    pub declared: DeclaredSilo,
    /// The id in its marker; of a silo of others, what tells it from another one.
    pub marker: String,
    /// Takes no new bytes by order.
    pub cordoned: bool,
    /// Nothing moves from or to it, by order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// As probed last.
    pub facts: Facts,
    /// When it was registered.
    pub created: UnixMs,
    /// The hash of what whoever tells of its changes must have, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_token: Option<String>,
    /// Moves when it is to be connected anew though nothing else changed: its secrets did.
    #[serde(default, skip_serializing_if = "is_first")]
    pub connection: u32,
    /// Since when it is known that it never comes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<UnixMs>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands references")]
fn is_first(connection: &u32) -> bool {
    *connection == 0
}

/// A row of before, when it was one as all are.
#[derive(Serialize, Deserialize)]
struct Old {
    name: String,
    url: String,
    access_key_id_env: Option<String>,
    secret_access_key_env: Option<String>,
    access_key_id_file: Option<String>,
    secret_access_key_file: Option<String>,
    reserve_percent: u8,
    marker: String,
    cordoned: bool,
    facts: Facts,
    created: UnixMs,
}

impl SiloRow {
    /// Whether whoever is connected by the other row is so by this one.
    pub fn is_reached_as(&self, other: &Self) -> bool {
        let of = |row: &Self| (row.declared.access, row.connection, row.lost.is_some());
        let (one, other_one) = (&self.declared, &other.declared);
        of(self) == of(other) && one.url == other_one.url && one.credentials == other_one.credentials
    }

    /// The row's bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode_json(self)
    }

    /// Reads a row.
    pub fn decode(bytes: &Bytes) -> Result<Self, Fault> {
        if let Some(row) = json_of(bytes) {
            return serde_json::from_slice(row)
                .map_err(|error| Fault::Damaged(format!("a silo's row does not read: {error}")));
        }
        let old: Old = decode(bytes)?;
        let credentials = CredentialsFrom {
            access_key_id_env: old.access_key_id_env,
            secret_access_key_env: old.secret_access_key_env,
            access_key_id_file: old.access_key_id_file,
            secret_access_key_file: old.secret_access_key_file,
            ..CredentialsFrom::default()
        };
        let declared = DeclaredSilo { credentials, reserve_percent: old.reserve_percent, ..DeclaredSilo::own(old.url) };
        let Old { name, marker, cordoned, facts, created, .. } = old;
        let (paused, events_token, connection, lost) = (false, None, 0, None);
        Ok(Self { name, declared, marker, cordoned, paused, facts, created, events_token, connection, lost })
    }
}

/// A silo by number.
pub fn silo(id: SiloId) -> Key {
    KeyBuilder::new(key::SILOS).short(id).build()
}

/// The number in a key.
pub fn read_silo(key: &[u8]) -> Option<SiloId> {
    key.get(1..5).map(|bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

/// The counter that silo numbers come from.
pub fn next_silo() -> Key {
    KeyBuilder::new(key::META).raw(b"silo").build()
}

/// The default write policy.
pub fn write_policy() -> Key {
    KeyBuilder::new(key::SETTINGS).raw(b"write").build()
}

/// A bucket's write policy.
pub fn bucket_write_policy(bucket: &str) -> Key {
    KeyBuilder::new(key::SETTINGS).raw(b"write/").raw(bucket.as_bytes()).build()
}

/// Counts every change of silos and settings, so that gateways know to read them again. An `Add` counter.
pub fn revision() -> Key {
    KeyBuilder::new(key::META).raw(b"revision").build()
}

/// What moves by themselves cost in the month that it is: JSON.
pub fn spent() -> Key {
    KeyBuilder::new(key::META).raw(b"spent").build()
}

/// What scrubs by themselves cost in the month that it is: JSON.
pub fn spent_by_scrubs() -> Key {
    KeyBuilder::new(key::META).raw(b"scrubbed").build()
}

/// What is too cold for silos that have to make room: JSON.
pub fn cuts() -> Key {
    KeyBuilder::new(key::META).raw(b"cuts").build()
}

/// How often objects changed that no gateway remembers: they are found once all are compared.
pub fn unremembered() -> Key {
    KeyBuilder::new(key::META).raw(b"unremembered").build()
}

/// What was chosen to move on the day that it is: JSON.
pub fn moved_today() -> Key {
    KeyBuilder::new(key::META).raw(b"moved-today").build()
}

/// What was learnt for objectives, and so much of each in a row as [`LEARNT_PART`] says: the first row is JSON.
pub fn learnt(objective: &str) -> Key {
    KeyBuilder::new(key::META).raw(LEARNT).raw(objective.as_bytes()).build()
}

/// All of them.
pub fn all_learnt() -> std::ops::Range<Key> {
    let first = KeyBuilder::new(key::META).raw(LEARNT).build();
    let end = after_prefix(&first);
    first..end
}

/// The objective of such a row.
pub fn read_learnt(key: &[u8]) -> Option<&str> {
    key.get(1 + LEARNT.len()..).and_then(|name| std::str::from_utf8(name).ok())
}

const LEARNT: &[u8] = b"learnt/";

/// A part of it: two sets of parts take turns, so that one of them is whole at any time.
pub fn learnt_part(objective: &str, set: u8, part: u32) -> Key {
    let of = KeyBuilder::new(key::META).raw(b"learnt-part/").raw(objective.as_bytes()).raw(&[0, set]);
    of.raw(&part.to_be_bytes()).build()
}

/// Bytes of a part.
pub const LEARNT_PART: usize = 1 << 20;

/// The namespace's id.
pub fn namespace_id() -> Key {
    KeyBuilder::new(key::META).raw(b"namespace").build()
}

/// Whether a silo is lost, by its row in a commit.
pub(crate) fn is_lost(rows: &Rows, silo: SiloId) -> Result<bool, Fault> {
    let row = rows.get(&self::silo(silo)).map(SiloRow::decode).transpose()?;
    Ok(row.is_some_and(|row| row.lost.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::encode;

    #[test]
    fn rows_of_before_read_as_silos_of_our_own() {
        let old = Old {
            name: "hot".to_owned(),
            url: "s3://hot".to_owned(),
            access_key_id_env: Some("ID".to_owned()),
            secret_access_key_env: None,
            access_key_id_file: None,
            secret_access_key_file: Some("/secret".to_owned()),
            reserve_percent: 7,
            marker: "m".to_owned(),
            cordoned: true,
            facts: Facts { family: "s3".to_owned(), ..Facts::default() },
            created: 9,
        };
        let row = SiloRow::decode(&encode(&old).into()).unwrap();
        let credentials = CredentialsFrom {
            access_key_id_env: Some("ID".to_owned()),
            secret_access_key_file: Some("/secret".to_owned()),
            ..CredentialsFrom::default()
        };
        let declared = DeclaredSilo { credentials, reserve_percent: 7, ..DeclaredSilo::own("s3://hot") };
        assert_eq!(row.declared, declared);
        assert_eq!((&*row.name, &*row.marker, row.cordoned, row.created), ("hot", "m", true, 9));
        assert_eq!(SiloRow::decode(&row.encode().into()).unwrap(), row);
        let text = String::from_utf8(row.encode()[1..].to_vec()).unwrap();
        assert!(
            !text.contains("notifications") && !text.contains("price") && !text.contains("lost"),
            "what is not declared is as it was before it could be"
        );
        let mut later = row.encode();
        later[0] += 1;
        assert!(matches!(SiloRow::decode(&later.into()), Err(Fault::Damaged(_))));
    }
}
