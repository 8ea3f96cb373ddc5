//! Pieces: what a backup is made of, each a blob of its own that says all that is needed to read it.
//!
//! A piece is `"hlb" 01`, which key sealed it (8 bytes), then sealed: the head's length (`u32`), the head, the body.
//! Its name is authenticated with it. `docs/format.md` draws them.

use bytes::{Buf, Bytes};
use holdall_silos::BlobName;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::engine::log::{self, Changed, Entry};
use crate::extent::Number;
use crate::seal::Sealer;
use crate::table::{decode, encode};

/// The first bytes of every piece.
const MAGIC: [u8; 4] = *b"hlb\x01";
/// What a key that seals backups is derived for.
const PURPOSE: &str = "holdall 2026-11 backups of the index";

/// What seals pieces; derived from the key that seals secrets, so that one file opens both.
pub struct PieceKey {
    sealer: Sealer,
    id: [u8; 8],
}

/// Drawn whenever a log does not go on from the one that silos have: entries of two lines are never taken together,
/// whatever their numbers are.
pub type Line = u64;

/// What a piece is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// A run of the log.
    Log(Run),
    /// Rows of a snapshot.
    Rows,
    /// A snapshot that is complete, and which pieces it is.
    Snapshot(Manifest),
}

/// A run of the log: every entry from `first` to `last`; those that say nothing a restored index needs are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Which line of entries it is part of; see [`Line`].
    pub line: Line,
    /// The first entry.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// When the last entry was made.
    pub until: UnixMs,
    /// A digest of the last entry, which whoever goes on must have in its log.
    pub anchor: [u8; 8],
}

/// A complete snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The line of entries that goes on from it.
    pub line: Line,
    /// The last entry of the log that it holds.
    pub sequence: u64,
    /// When that was made.
    pub at: UnixMs,
    /// A digest of it, as in [`Run`]; none where it was let go already.
    pub anchor: Option<[u8; 8]>,
    /// The format of its index.
    pub format: u32,
    /// How many rows.
    pub rows: u64,
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// The pieces with its rows, in order.
    pub pieces: Vec<Number>,
}

impl Manifest {
    /// The names of its pieces with rows, in order.
    pub fn names(&self) -> impl Iterator<Item = BlobName> + '_ {
        self.pieces.iter().map(|taken| BlobName::of_snapshot(self.sequence, (taken.session, taken.number)))
    }
}

/// A piece that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The namespace it is of.
    pub namespace: String,
    /// What it is.
    pub what: What,
    body: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Head {
    namespace: String,
    what: What,
}

/// Why a piece does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// Another key sealed it (or exactly its first bytes are damaged).
    #[error("it was sealed with another key")]
    OtherKey,
    /// It is not as it was written.
    #[error("it is damaged")]
    Damaged,
}

/// The name of a piece that the writer took a number for.
pub fn name(what: &What, sequence: u64, taken: Number) -> BlobName {
    match what {
        What::Log(run) => BlobName::of_log(run.first, (taken.session, taken.number)),
        What::Rows | What::Snapshot(_) => BlobName::of_snapshot(sequence, (taken.session, taken.number)),
    }
}

impl PieceKey {
    /// Of the key that seals secrets.
    pub fn new(seal_key: &[u8; 32]) -> Self {
        let key = blake3::derive_key(PURPOSE, seal_key);
        Self { sealer: Sealer::new(&key), id: beginning(blake3::keyed_hash(&key, b"id")) }
    }

    /// A piece's bytes.
    pub fn seal(&self, name: &BlobName, namespace: &str, what: What, body: &[u8]) -> Vec<u8> {
        let head = encode(&Head { namespace: namespace.to_owned(), what });
        let mut plain = (head.len() as u32).to_le_bytes().to_vec();
        plain.extend_from_slice(&head);
        plain.extend_from_slice(body);
        let sealed = self.sealer.seal_bytes(&plain, name.to_string().as_bytes());
        [&MAGIC[..], &self.id, &sealed].concat()
    }

    /// Opens a piece that lay under this name.
    pub fn open(&self, name: &BlobName, bytes: &Bytes) -> Result<Piece, Unopened> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(Unopened::Damaged)?;
        let (id, sealed) = rest.split_first_chunk::<8>().ok_or(Unopened::Damaged)?;
        if *id != self.id {
            return Err(Unopened::OtherKey);
        }
        let plain = self.sealer.open_bytes(sealed, name.to_string().as_bytes()).ok_or(Unopened::Damaged)?;
        Piece::read(plain.into()).ok_or(Unopened::Damaged)
    }
}

impl Piece {
    fn read(mut plain: Bytes) -> Option<Self> {
        if plain.len() < 4 {
            return None;
        }
        let head = plain.get_u32_le() as usize;
        if plain.len() < head {
            return None;
        }
        let Head { namespace, what } = decode(&plain.split_to(head)).ok()?;
        Some(Self { namespace, what, body: plain })
    }

    /// The rows of a piece of a snapshot.
    pub fn rows(&self) -> Option<Vec<Changed>> {
        log::rows(self.body.clone())
    }

    /// The entries of a run of the log, those that say nothing left out.
    pub fn entries(&self) -> Option<Vec<Entry>> {
        let (mut rest, mut entries) = (self.body.clone(), Vec::new());
        while rest.has_remaining() {
            if rest.len() < 12 {
                return None;
            }
            let (sequence, length) = (rest.get_u64_le(), rest.get_u32_le() as usize);
            if rest.len() < length {
                return None;
            }
            entries.push(Entry::decode(sequence, rest.split_to(length))?);
        }
        Some(entries)
    }
}

/// What tells an entry from another one under the same number.
pub fn anchor(entry: &Entry) -> [u8; 8] {
    beginning(blake3::hash(&entry.encoded()))
}

fn beginning(hash: blake3::Hash) -> [u8; 8] {
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Appends an entry to the body of a run.
pub fn push_entry(body: &mut Vec<u8>, entry: &Entry) {
    let encoded = entry.encoded();
    body.extend_from_slice(&entry.sequence.to_le_bytes());
    body.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    body.extend_from_slice(&encoded);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAKEN: Number = Number { session: 3, number: 9 };

    fn run() -> What {
        What::Log(Run { line: 1, first: 4, last: 6, until: 17, anchor: [2; 8] })
    }

    proptest! {
        #[test]
        fn a_piece_reads_back(rows: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
            let rows: Vec<Changed> = rows.into_iter().map(|(key, value)| (key.into(), value.map(Bytes::from))).collect();
            let entries = vec![
                Entry { sequence: 4, at: 16, rows: rows.clone() },
                Entry { sequence: 6, at: 17, rows: Vec::new() },
            ];
            let mut body = Vec::new();
            for entry in &entries {
                push_entry(&mut body, entry);
            }
            let (key, name) = (PieceKey::new(&[1; 32]), name(&run(), 0, TAKEN));
            let piece = key.open(&name, &key.seal(&name, "n", run(), &body).into()).unwrap();
            prop_assert_eq!((&piece.namespace[..], &piece.what), ("n", &run()));
            prop_assert_eq!(piece.entries(), Some(entries));
        }
    }

    #[test]
    fn a_changed_cut_or_renamed_piece_does_not_open() {
        let (key, at) = (PieceKey::new(&[1; 32]), name(&run(), 0, TAKEN));
        let sealed = key.seal(&at, "n", run(), b"");
        for changed in 0..sealed.len() {
            let mut bytes = sealed.clone();
            bytes[changed] ^= 1;
            assert!(key.open(&at, &bytes.into()).is_err(), "byte {changed}");
            assert!(key.open(&at, &Bytes::copy_from_slice(&sealed[..changed])).is_err(), "length {changed}");
        }
        let other = name(&run(), 0, Number { session: 3, number: 10 });
        assert_eq!(key.open(&other, &sealed.clone().into()), Err(Unopened::Damaged));
        assert_eq!(PieceKey::new(&[2; 32]).open(&at, &sealed.into()), Err(Unopened::OtherKey));
    }
}
