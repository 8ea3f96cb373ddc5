//! Extents and their block checksums.

use serde::{Deserialize, Serialize};

use super::{KeyBuilder, encode, key, read_number};
use crate::engine::{Key, Write};
use crate::extent::{Number, Replica, ReplicaState, SiloId};

/// An extent. The row is the guard of its references: whoever adds one reads it, whoever drops the last one writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtentRow {
    /// Bytes.
    pub size: u64,
    /// BLAKE3 over the block checksums; zeros where they are not known.
    pub digest: [u8; 32],
    /// Checksums of the blocks, when few; else rows apart. Not known, and empty, where nobody read the bytes yet: they lie
    /// where others put them.
    pub blocks: Option<Vec<u64>>,
    /// One referrer; the others have rows in `refs`. None: retired, for ever.
    pub first: Option<Number>,
    /// Where it is.
    pub replicas: Vec<Replica>,
}

impl ExtentRow {
    /// One of bytes that lie where others put them, and that nobody read yet.
    pub fn unhashed(size: u64, referrer: Number, replica: Replica) -> Self {
        Self { size, digest: [0; 32], blocks: Some(Vec::new()), first: Some(referrer), replicas: vec![replica] }
    }

    /// Whether its checksums are known.
    pub fn is_hashed(&self) -> bool {
        self.size == 0 || self.blocks.as_ref().is_none_or(|blocks| !blocks.is_empty())
    }

    /// Whether its bytes are where others put them, in this silo and nowhere else.
    pub fn is_in_place(&self, silo: SiloId) -> bool {
        self.verified_in(silo).is_some() && self.verified().all(|replica| replica.lies_in(silo))
    }

    /// Whether anybody may still read its bytes where others put them in this silo.
    pub fn lies_in(&self, silo: SiloId) -> bool {
        self.replicas.iter().any(|replica| replica.lies_in(silo))
    }

    /// Its verified replicas.
    pub fn verified(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified)
    }

    /// The verified replica in a silo.
    pub fn verified_in(&self, silo: SiloId) -> Option<&Replica> {
        self.verified().find(|replica| replica.silo == silo)
    }
}

/// At most this many block checksums (4 MiB of bytes) stand in the extent's row.
pub const INLINE_BLOCKS: usize = 16;
/// Block checksums in one row apart.
pub const BLOCKS_PER_ROW: usize = 1024;

/// An extent's row.
pub fn extent(id: Number) -> Key {
    KeyBuilder::new(key::EXTENTS).number(id.session).number(id.number).build()
}

/// Which extent a key of the table names.
pub fn read_extent(key: &[u8]) -> Option<Number> {
    Some(Number { session: read_number(key, 1)?, number: read_number(key, 9)? })
}

/// The `index`-th row of an extent's block checksums.
pub fn blocks(id: Number, index: u32) -> Key {
    KeyBuilder::new(key::BLOCKS).number(id.session).number(id.number).short(index).build()
}

/// The writes that store a new extent with its block checksums.
pub fn store(id: Number, mut row: ExtentRow, sums: Vec<u64>) -> Vec<Write> {
    if sums.len() <= INLINE_BLOCKS {
        row.blocks = Some(sums);
        return vec![Write::Put(extent(id), encode(&row))];
    }
    row.blocks = None;
    let apart = sums.chunks(BLOCKS_PER_ROW).enumerate();
    let mut writes: Vec<Write> =
        apart.map(|(index, chunk)| Write::Put(blocks(id, index as u32), encode(&chunk.to_vec()))).collect();
    writes.push(Write::Put(extent(id), encode(&row)));
    writes
}

/// The writes that forget an extent.
pub fn forget(id: Number, row: &ExtentRow) -> Vec<Write> {
    let mut writes = vec![Write::Delete(extent(id))];
    if row.blocks.is_none() {
        let count = row.size.div_ceil(crate::limits::BLOCK).div_ceil(BLOCKS_PER_ROW as u64);
        writes.extend((0..count).map(|index| Write::Delete(blocks(id, index as u32))));
    }
    writes
}
