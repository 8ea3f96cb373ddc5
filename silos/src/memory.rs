//! A silo in memory, for tests: lost with the process, needs no runtime, and as unforgiving as a silo may be.
//!
//! Every piece of a read looks its blob up again, so a blob that is swept under a reader is noticed. (A file's open
//! handle would hide it; an NFS server's would not.)

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use tokio::sync::Notify;

use crate::error::SiloError;
use crate::exact::Exact;
use crate::facts::Facts;
use crate::limits::{MAX_DESCRIPTION, MAX_EXTENT};
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored, Validator, When, packs_do_not_grow};
use crate::span::{self, Length};

/// A silo in memory.
#[derive(Debug, Default, Clone)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Told when it is silent no more.
    heard: Arc<Notify>,
    /// Packs do not grow.
    whole: bool,
}

#[derive(Debug, Default)]
struct State {
    marker: Option<Marker>,
    blobs: BTreeMap<String, Blob>,
    /// Numbers the writes; a blob's number and length are its validator.
    writes: u64,
    /// Bytes it may hold; without limit when `None`.
    capacity: Option<u64>,
    silent: Silent,
    /// Nothing is done.
    fails: bool,
    /// So many blobs more can be deleted; any number when `None`.
    deletes: Option<u64>,
    /// Puts are done, and their answers are lost.
    loses: bool,
}

/// What gets no answer.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Silent {
    #[default]
    Nothing,
    Puts,
    /// Claims, and the rest of what is read.
    Reads,
}

#[derive(Debug, Clone)]
struct Blob {
    payload: Bytes,
    description: Vec<u8>,
    write: u64,
}

static REGISTRY: Mutex<BTreeMap<String, Arc<Memory>>> = Mutex::new(BTreeMap::new());

impl Memory {
    /// An empty silo that nobody else has.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty silo where packs do not grow, as in a bucket.
    pub fn whole() -> Self {
        Self { whole: true, ..Self::default() }
    }

    /// An empty silo that is full once it stores `capacity` bytes.
    pub fn with_capacity(capacity: u64) -> Self {
        let silo = Self::new();
        silo.limit(capacity);
        silo
    }

    /// The silo that this process knows by `name`.
    pub fn named(name: &str) -> Arc<Self> {
        let mut registry = REGISTRY.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(registry.entry(name.to_owned()).or_default())
    }

    /// Puts anything under any name, past every rule: damage and foreign blobs for tests.
    pub fn plant(&self, name: &str, payload: impl Into<Bytes>, description: &[u8]) {
        self.lock().insert(name.to_owned(), payload.into(), description.to_vec());
    }

    /// Flips a bit of a byte of what is stored under a raw name, as a disk does: nothing tells but the bytes.
    pub fn rot(&self, name: &str, at: usize) {
        if let Some(blob) = self.lock().blobs.get_mut(name) {
            let mut payload = blob.payload.to_vec();
            payload[at] ^= 1;
            blob.payload = payload.into();
        }
    }

    /// The payload stored under a raw name.
    pub fn peek(&self, name: &str) -> Option<Bytes> {
        self.lock().blobs.get(name).map(|blob| blob.payload.clone())
    }

    /// The raw names of what it holds.
    pub fn names(&self) -> Vec<String> {
        self.lock().blobs.keys().cloned().collect()
    }

    /// How many blobs it holds.
    pub fn count(&self) -> usize {
        self.lock().blobs.len()
    }

    /// From now on puts get no answer, or they do again.
    pub fn hang(&self, hangs: bool) {
        self.lock().silent = if hangs { Silent::Puts } else { Silent::Nothing };
    }

    /// From now on nothing more comes of what is read and claims get no answer, or they do again.
    pub fn silence(&self, silent: bool) {
        self.lock().silent = if silent { Silent::Reads } else { Silent::Nothing };
        self.heard.notify_waiters();
    }

    /// From now on everything fails, or it does not any more.
    pub fn fail(&self, fails: bool) {
        self.lock().fails = fails;
    }

    /// From now on so many blobs can be deleted, or any number.
    pub fn keep(&self, after: Option<u64>) {
        self.lock().deletes = after;
    }

    /// From now on puts are done and their answers are lost, or they are not any more.
    pub fn lose(&self, loses: bool) {
        self.lock().loses = loses;
    }

    /// From now on it is full once it stores `capacity` bytes.
    pub fn limit(&self, capacity: u64) {
        self.lock().capacity = Some(capacity);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, SiloError> {
        let state = self.lock();
        if state.fails { Err(SiloError::not_done("it is told to fail")) } else { Ok(state) }
    }

    fn blob(&self, name: &BlobName) -> Result<Blob, SiloError> {
        self.answering()?.blobs.get(&name.to_string()).cloned().ok_or(SiloError::Missing)
    }
}

impl State {
    fn insert(&mut self, name: String, payload: Bytes, description: Vec<u8>) -> Stored {
        self.writes += 1;
        let blob = Blob { payload, description, write: self.writes };
        let stored = Stored { size: blob.payload.len() as u64, validator: blob.validator(), checksum_enforced: false };
        self.blobs.insert(name, blob);
        stored
    }

    fn append(&mut self, name: String, at: u64, bytes: &[Bytes]) -> Result<(), SiloError> {
        let grown = match self.blobs.get(&name) {
            Some(_) if at == 0 => return Err(SiloError::Exists),
            None if at > 0 => return Err(SiloError::Missing),
            Some(blob) => span::same_size(blob.payload.len() as u64, at),
            None => Ok(()),
        };
        grown?;
        if !self.has_room(bytes.iter().map(|piece| piece.len() as u64).sum()) {
            return Err(SiloError::Full);
        }
        let Some(blob) = self.blobs.get_mut(&name) else {
            self.insert(name, bytes.concat().into(), Vec::new());
            return Ok(());
        };
        blob.grow(bytes);
        Ok(())
    }

    fn used(&self) -> u64 {
        self.blobs.values().map(Blob::stored).sum()
    }

    fn has_room(&self, size: u64) -> bool {
        self.capacity.is_none_or(|capacity| self.used().saturating_add(size) <= capacity)
    }
}

impl Blob {
    fn stored(&self) -> u64 {
        (self.payload.len() + self.description.len()) as u64
    }

    fn validator(&self) -> Validator {
        Validator(format!("{}-{}", self.write, self.payload.len()))
    }

    /// Copies what there was only while somebody reads it.
    fn grow(&mut self, bytes: &[Bytes]) {
        let payload = std::mem::take(&mut self.payload);
        let mut grown = payload.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
        for piece in bytes {
            grown.extend_from_slice(piece);
        }
        self.payload = grown.freeze();
    }
}

#[async_trait]
impl Silo for Memory {
    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        span::fits_extent(size, MAX_EXTENT)?;
        let silent = self.answering()?.silent;
        if silent == Silent::Puts {
            std::future::pending::<()>().await;
        }
        {
            let state = self.answering()?;
            if state.blobs.contains_key(&name.to_string()) {
                return Err(SiloError::Exists);
            }
            if !state.has_room(size) {
                return Err(SiloError::Full);
            }
        }
        let payload = Exact::new(body, size).collect().await?.concat();
        let description = describe(When::AfterBody);
        span::fits_description(&description, MAX_DESCRIPTION)?;
        let mut state = self.answering()?;
        if state.blobs.contains_key(&name.to_string()) {
            return Err(SiloError::Exists);
        }
        if !state.has_room(size + description.len() as u64) {
            return Err(SiloError::Full);
        }
        let stored = state.insert(name.to_string(), payload.into(), description);
        if state.loses { Err(SiloError::unknown("the answer is lost")) } else { Ok(stored) }
    }

    fn appends(&self) -> bool {
        !self.whole
    }

    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        if self.whole {
            return Err(packs_do_not_grow());
        }
        span::fits_pack(pack, at, &bytes)?;
        self.answering()?.append(pack.to_string(), at, &bytes)
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        let blob = self.blob(name)?;
        Length::of(name, size).check(blob.payload.len() as u64)?;
        let (silo, name, opened) = (self.clone(), *name, blob.write);
        Ok(Box::pin(stream::try_unfold(span::blocks(size, range)?, move |mut blocks| {
            let (piece, silent) = (blocks.next().map(|block| silo.piece(&name, opened, block)), silo.lock().silent);
            async move {
                if silent == Silent::Reads {
                    std::future::pending::<()>().await;
                }
                Ok(piece.transpose()?.map(|piece| (piece, blocks)))
            }
        })))
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        let blob = self.blob(name)?;
        Ok(Stat { size: blob.payload.len() as u64, validator: blob.validator() })
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        Ok(self.blob(name)?.description)
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        let mut state = self.answering()?;
        if let Some(left) = &mut state.deletes {
            let less = left.checked_sub(1).ok_or_else(|| SiloError::not_done("it is told to keep what it has"))?;
            *left = less;
        }
        state.blobs.remove(&name.to_string());
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        let start = after.filter(|after| *after >= prefix).map_or(Bound::Included(prefix), Bound::Excluded);
        let state = self.answering()?;
        Ok(state
            .blobs
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(name, _)| name.starts_with(prefix))
            .take(span::page(limit))
            .map(|(name, blob)| Listed { name: name.clone(), stored: blob.stored() })
            .collect())
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        loop {
            let heard = self.heard.notified();
            if self.answering()?.silent != Silent::Reads {
                break;
            }
            heard.await;
        }
        let mut state = self.answering()?;
        match &state.marker {
            Some(found) => claim.check(found),
            None if !claim.fresh => Err(Claim::refuse_unmarked()),
            None if !state.blobs.is_empty() => Err(Claim::refuse_strangers()),
            None => {
                state.marker = Some(claim.marker.clone());
                Ok(())
            }
        }
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        Ok(self.answering()?.marker.clone())
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        Ok(Facts {
            family: "memory".to_owned(),
            exclusive_create: true,
            enforces_upload_checksum: false,
            conditional_read: true,
            durable_put: false,
            max_blob: MAX_EXTENT,
            time_grain_ns: 0,
            kind: "memory".to_owned(),
            notes: vec!["lost with the process".to_owned()],
        })
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        let state = self.answering()?;
        Ok(state.capacity.map(|total| Space { total, free: total.saturating_sub(state.used()) }))
    }
}

impl Memory {
    fn piece(&self, name: &BlobName, opened: u64, block: Range<u64>) -> Result<Bytes, SiloError> {
        let blob = self.blob(name)?;
        if blob.write != opened {
            return Err(SiloError::mismatch("the blob was replaced while it was read"));
        }
        Ok(blob.payload.slice(block.start as usize..block.end as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::silo::collect;
    use futures_util::{FutureExt, TryStreamExt};

    fn put(silo: &Memory, number: u64, payload: &'static [u8]) -> Result<Stored, SiloError> {
        let name = BlobName { session: 1, number, extent: (1, number) };
        let body: Body = Box::pin(stream::iter([Ok(Bytes::from_static(payload))]));
        let describe: Describe = Arc::new(|_| b"said".to_vec());
        silo.put(&name, payload.len() as u64, body, describe).now_or_never().unwrap()
    }

    #[test]
    fn it_keeps_the_contract_without_a_runtime() {
        for silo in [Memory::new(), Memory::whole()] {
            let suite = crate::contract::contract(Arc::new(silo), crate::contract::Options::default());
            suite.now_or_never().unwrap();
        }
    }

    #[test]
    fn the_same_name_is_the_same_silo() {
        put(&Memory::named("shared"), 1, b"x").unwrap();
        assert_eq!(Memory::named("shared").count(), 1);
        assert_eq!(Memory::named("other").count(), 0);
        assert_eq!(Memory::new().count(), 0);
    }

    #[test]
    fn a_full_silo_says_so_and_deleting_makes_room() {
        let silo = Memory::with_capacity(10);
        put(&silo, 1, b"abc").unwrap();
        assert_eq!(put(&silo, 2, b"abc"), Err(SiloError::Full));
        silo.delete(&BlobName { session: 1, number: 1, extent: (1, 1) }).now_or_never().unwrap().unwrap();
        assert_eq!(silo.space().now_or_never().unwrap().unwrap(), Some(Space { total: 10, free: 10 }));
        put(&silo, 2, b"abc").unwrap();
    }

    #[test]
    fn a_pack_that_fills_the_silo_grows_no_more() {
        let silo = Memory::with_capacity(10);
        let append = |at, bytes| {
            let bytes = vec![Bytes::from_static(bytes)];
            silo.append(&BlobName::pack(1, 1), at, bytes).now_or_never().unwrap()
        };
        assert_eq!(append(0, b"01234"), Ok(()));
        assert_eq!(append(5, b"567890"), Err(SiloError::Full));
        assert_eq!(append(5, b"56789"), Ok(()));
        assert_eq!(silo.peek(&BlobName::pack(1, 1).to_string()).unwrap(), "0123456789");
    }

    /// A sweeper that does not wait for readers would be hidden by a silo that keeps what was deleted alive for
    /// them: the model test needs to see it.
    #[test]
    fn a_blob_deleted_under_a_reader_is_missing() {
        let silo = Memory::new();
        let name = BlobName { session: 1, number: 1, extent: (1, 1) };
        silo.plant(&name.to_string(), vec![7; 300 << 10], b"");
        let mut pieces = silo.read(&name, 300 << 10, 0..300 << 10).now_or_never().unwrap().unwrap();
        assert_eq!(pieces.try_next().now_or_never().unwrap().unwrap().unwrap().len(), 256 << 10);
        silo.delete(&name).now_or_never().unwrap().unwrap();
        assert_eq!(collect(pieces).now_or_never().unwrap(), Err(SiloError::Missing));
    }
}
