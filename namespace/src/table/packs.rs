//! Packs: how many of their bytes rows name, and, once nothing is appended any more, how long they are.

use holdall_silos::BlobName;

use super::{KeyBuilder, key, read_number};
use crate::engine::{Key, Write};
use crate::extent::{Location, Number, SiloId};

/// A pack in a silo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackId {
    /// In which silo.
    pub silo: SiloId,
    /// Session and number of its name.
    pub number: Number,
}

impl PackId {
    /// Of a name.
    pub fn of(silo: SiloId, pack: &BlobName) -> Self {
        Self { silo, number: Number { session: pack.session, number: pack.number } }
    }

    /// Its name in the silo.
    pub fn name(&self) -> BlobName {
        BlobName::pack(self.number.session, self.number.number)
    }
}

/// Bytes of records that rows name, retired ones too: a counter. A pack is nobody's when it is 0.
pub fn named(pack: PackId) -> Key {
    column(pack, 0)
}

/// The pack's length, once nothing is appended to it any more.
pub fn length(pack: PackId) -> Key {
    column(pack, 1)
}

/// The rows of a silo's packs.
pub fn of_silo(silo: SiloId) -> Key {
    KeyBuilder::new(key::PACKS).short(silo).build()
}

fn column(pack: PackId, column: u8) -> Key {
    let PackId { silo, number } = pack;
    KeyBuilder::new(key::PACKS).short(silo).number(number.session).number(number.number).raw(&[column]).build()
}

/// Which pack a key of the table is about.
pub fn read_pack(key: &[u8]) -> Option<PackId> {
    let silo = u32::from_be_bytes(key.get(1..5)?.try_into().ok()?);
    Some(PackId { silo, number: Number { session: read_number(key, 5)?, number: read_number(key, 13)? } })
}

/// The pack that a place is in.
pub fn of(silo: SiloId, location: &Location) -> Option<PackId> {
    match location {
        Location::Pack { pack, .. } => Some(PackId::of(silo, pack)),
        Location::Blob(_) | Location::InPlace { .. } => None,
    }
}

/// The write that counts a replica's record in its pack (`times` 1) or takes it out (-1); none for what is in no pack.
pub fn count(silo: SiloId, location: &Location, times: i64) -> Option<Write> {
    let Location::Pack { length, .. } = location else { return None };
    of(silo, location).map(|pack| Write::Add(named(pack), times * *length as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_say_which_pack() {
        let pack = PackId { silo: 7, number: Number { session: 3, number: 1 << 40 } };
        assert_eq!(read_pack(&named(pack)), Some(pack));
        assert_eq!(read_pack(&length(pack)), Some(pack));
        assert!(named(pack).starts_with(&of_silo(7)) && named(pack) < length(pack));
        assert_eq!(PackId::of(7, &pack.name()), pack);
    }
}
