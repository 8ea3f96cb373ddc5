//! One pass over a body: our own checksums for an extent's blocks, MD5 and the client's checksum for the object.
//!
//! Long bodies are hashed beside the transfer, on the blocking pool; short ones where they stand.

use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha1::Sha1;
use sha2::Sha256;
use tokio::sync::{mpsc, oneshot};
use twox_hash::XxHash3_64;

use crate::limits::BLOCK;
use crate::object::ChecksumAlgorithm;
use crate::put::Computed;

/// Pieces that may wait for the hashing thread of one stream.
const WAITING: usize = 8;

/// Checksums of an extent's blocks while its bytes pass.
#[derive(Default)]
pub struct BlockSums {
    sums: Vec<u64>,
    hasher: Option<XxHash3_64>,
    filled: u64,
}

impl BlockSums {
    /// The next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let take = bytes.len().min((BLOCK - self.filled) as usize);
            if self.filled == 0 && take as u64 == BLOCK {
                self.sums.push(block_sum(&bytes[..take]));
            } else {
                self.hasher.get_or_insert_with(XxHash3_64::new).write(&bytes[..take]);
                self.filled += take as u64;
                if self.filled == BLOCK {
                    self.close_block();
                }
            }
            bytes = &bytes[take..];
        }
    }

    fn close_block(&mut self) {
        if let Some(hasher) = self.hasher.take() {
            self.sums.push(hasher.finish());
        }
        self.filled = 0;
    }

    /// The checksums of all blocks, the last one may be short.
    pub fn finish(mut self) -> Vec<u64> {
        self.close_block();
        self.sums
    }
}

trait Write64 {
    fn write(&mut self, bytes: &[u8]);
    fn finish(&self) -> u64;
}

impl Write64 for XxHash3_64 {
    fn write(&mut self, bytes: &[u8]) {
        std::hash::Hasher::write(self, bytes);
    }
    fn finish(&self) -> u64 {
        std::hash::Hasher::finish(self)
    }
}

/// The checksum of one block.
pub fn block_sum(block: &[u8]) -> u64 {
    XxHash3_64::oneshot(block)
}

/// The digest of an extent: BLAKE3 over its block checksums.
pub fn extent_digest(sums: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for sum in sums {
        hasher.update(&sum.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// A checksum of S3 while its bytes pass.
pub enum ChecksumHasher {
    /// Any of the CRCs.
    Crc(crc_fast::Digest, usize),
    /// SHA-1.
    Sha1(Sha1),
    /// SHA-256.
    Sha256(Sha256),
}

impl ChecksumHasher {
    /// Over nothing yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
        match algorithm {
            ChecksumAlgorithm::Crc32 => Self::Crc(crc_fast::Digest::new(Crc32IsoHdlc), 4),
            ChecksumAlgorithm::Crc32c => Self::Crc(crc_fast::Digest::new(Crc32Iscsi), 4),
            ChecksumAlgorithm::Crc64Nvme => Self::Crc(crc_fast::Digest::new(Crc64Nvme), 8),
            ChecksumAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    /// The next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(digest, _) => digest.update(bytes),
            Self::Sha1(digest) => digest.update(bytes),
            Self::Sha256(digest) => digest.update(bytes),
        }
    }

    /// Big-endian bytes.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(digest, width) => digest.finalize().to_be_bytes()[8 - width..].to_vec(),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

/// The checksum of concatenated bytes, from the CRCs of the pieces and the second piece's length. Only CRCs combine.
pub fn combine(algorithm: ChecksumAlgorithm, first: &[u8], second: &[u8], second_length: u64) -> Option<Vec<u8>> {
    use crc_fast::CrcAlgorithm::{Crc32Iscsi, Crc32IsoHdlc, Crc64Nvme};
    let (kind, width) = match algorithm {
        ChecksumAlgorithm::Crc32 => (Crc32IsoHdlc, 4),
        ChecksumAlgorithm::Crc32c => (Crc32Iscsi, 4),
        ChecksumAlgorithm::Crc64Nvme => (Crc64Nvme, 8),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
    };
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |all, &byte| all << 8 | u64::from(byte));
    let combined = crc_fast::checksum_combine(kind, number(first), number(second), second_length);
    Some(combined.to_be_bytes()[8 - width..].to_vec())
}

/// Everything that is computed over a body.
struct Hashes {
    md5: Md5,
    checksum: Option<ChecksumHasher>,
    /// Finished extents' block checksums, and the open one.
    extents: Vec<Vec<u64>>,
    open: BlockSums,
}

impl Hashes {
    fn new(algorithm: Option<ChecksumAlgorithm>) -> Self {
        let checksum = algorithm.map(ChecksumHasher::new);
        Self { md5: Md5::new(), checksum, extents: Vec::new(), open: BlockSums::default() }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        if let Some(checksum) = &mut self.checksum {
            checksum.update(bytes);
        }
        self.open.update(bytes);
    }

    fn end_extent(&mut self) {
        self.extents.push(std::mem::take(&mut self.open).finish());
    }

    fn finish(self) -> Hashed {
        let checksum = self.checksum.map(ChecksumHasher::finish);
        Hashed { computed: Computed { md5: self.md5.finalize().into(), checksum }, extents: self.extents }
    }
}

/// What a body's pass gave.
#[derive(Debug, Clone)]
pub struct Hashed {
    /// For the client.
    pub computed: Computed,
    /// Block checksums of each extent.
    pub extents: Vec<Vec<u64>>,
}

enum Step {
    Bytes(Bytes),
    EndExtent(oneshot::Sender<Vec<u64>>),
}

/// Hashes a body that streams by, on a thread of the blocking pool.
pub struct StreamHasher {
    steps: mpsc::Sender<Step>,
    result: oneshot::Receiver<Hashed>,
}

impl StreamHasher {
    /// Begins.
    pub fn start(algorithm: Option<ChecksumAlgorithm>) -> Self {
        let (steps, mut inbox) = mpsc::channel(WAITING);
        let (answer, result) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let mut hashes = Hashes::new(algorithm);
            while let Some(step) = inbox.blocking_recv() {
                match step {
                    Step::Bytes(bytes) => hashes.update(&bytes),
                    Step::EndExtent(reply) => {
                        hashes.end_extent();
                        let _ = reply.send(hashes.extents.last().cloned().unwrap_or_default());
                    }
                }
            }
            let _ = answer.send(hashes.finish());
        });
        Self { steps, result }
    }

    /// A handle for the stream that taps the body.
    pub fn tap(&self) -> Tap {
        Tap(self.steps.clone())
    }

    /// All taps gone: the result. `None` when the thread died.
    pub async fn finish(self) -> Option<Hashed> {
        drop(self.steps);
        self.result.await.ok()
    }
}

/// Hands pieces to the hashing thread, waiting when it is behind.
#[derive(Clone)]
pub struct Tap(mpsc::Sender<Step>);

impl Tap {
    /// The next bytes.
    pub async fn bytes(&self, bytes: Bytes) {
        let _ = self.0.send(Step::Bytes(bytes)).await;
    }

    /// The extent is complete: its block checksums.
    pub async fn end_extent(&self) -> Option<Vec<u64>> {
        let (reply, sums) = oneshot::channel();
        self.0.send(Step::EndExtent(reply)).await.ok()?;
        sums.await.ok()
    }
}

/// Hashes a whole short body at once.
pub fn hash_at_once(bytes: &[u8], algorithm: Option<ChecksumAlgorithm>) -> Hashed {
    let mut hashes = Hashes::new(algorithm);
    hashes.update(bytes);
    if !bytes.is_empty() {
        hashes.end_extent();
    }
    hashes.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn block_sums_do_not_depend_on_the_pieces(cuts in proptest::collection::vec(1usize..400_000, 1..8)) {
            let bytes: Vec<u8> = (0..700_000u32).map(|i| (i * 7 % 251) as u8).collect();
            let (mut pieces, mut rest) = (BlockSums::default(), &bytes[..]);
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                pieces.update(piece);
                rest = tail;
            }
            pieces.update(rest);
            let whole: Vec<u64> = bytes.chunks(BLOCK as usize).map(block_sum).collect();
            prop_assert_eq!(pieces.finish(), whole);
        }

        #[test]
        fn crcs_combine(a: Vec<u8>, b: Vec<u8>) {
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                let of = |bytes: &[u8]| { let mut h = ChecksumHasher::new(algorithm); h.update(bytes); h.finish() };
                let both: Vec<u8> = a.iter().chain(&b).copied().collect();
                prop_assert_eq!(combine(algorithm, &of(&a), &of(&b), b.len() as u64), Some(of(&both)));
            }
        }
    }

    #[test]
    fn checksums_are_the_published_ones() {
        let of = |algorithm| {
            let mut hasher = ChecksumHasher::new(algorithm);
            hasher.update(b"123456789");
            const_hex::encode(hasher.finish())
        };
        assert_eq!(of(ChecksumAlgorithm::Crc32), "cbf43926");
        assert_eq!(of(ChecksumAlgorithm::Crc32c), "e3069283");
        assert_eq!(of(ChecksumAlgorithm::Crc64Nvme), "ae8b14860a799888");
        assert_eq!(of(ChecksumAlgorithm::Sha1), "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
    }
}
