//! Silos as a gateway sees them: memory silos behind a network that delays and loses answers. Watches that no name is
//! written twice and that nothing is deleted which a live row names as verified.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use holdall_silos::memory::Memory;
use holdall_silos::silo::{Pieces, Space, When};
use holdall_silos::{BlobName, Body, Claim, Describe, Facts, Listed, Marker, Silo, SiloError, Stat, Stored};

use super::sim::Sim;
use crate::engine::Engine;
use crate::engine::memory::Memory as Truth;
use crate::extent::{Location, ReplicaState, SiloId};
use crate::pack::Head;
use crate::table::extents::{ExtentRow, extent};
use crate::table::{decode, key};

/// How often what breaks, in thousandths of all calls.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SiloChances {
    /// A put does nothing.
    pub(super) fail_put: u32,
    /// A put answers `Unknown`: it happened, happens later, or never.
    pub(super) lose_put: u32,
    /// A put finds the silo full.
    pub(super) full: u32,
    /// A delete answers `Unknown`: it happened, happens later, or never.
    pub(super) lose_delete: u32,
    /// A copy is stored damaged, and nothing is said.
    pub(super) damage_copy: u32,
    /// A read or listing fails.
    pub(super) fail_read: u32,
}

/// What may still take effect.
enum Late {
    Put(SiloId, BlobName, Bytes),
    Append(SiloId, BlobName, u64, Bytes),
    Delete(SiloId, BlobName),
}

/// All silos of a case.
#[expect(clippy::struct_field_names, reason = "they are the silos")]
pub(super) struct Silos {
    sim: Arc<Sim>,
    truth: Truth,
    silos: BTreeMap<SiloId, Memory>,
    chances: Mutex<SiloChances>,
    late: Mutex<Vec<Late>>,
    /// Every name that a put was ever sent for.
    used: Mutex<BTreeSet<BlobName>>,
}

impl Silos {
    pub(super) fn new(sim: Arc<Sim>, truth: Truth) -> Arc<Self> {
        let silos = [(1, Memory::new()), (2, Memory::whole()), (3, Memory::new())].into();
        Arc::new(Self { sim, truth, silos, chances: Mutex::default(), late: Mutex::default(), used: Mutex::default() })
    }

    pub(super) fn set(&self, chances: SiloChances) {
        *self.chances.lock().expect("no holder panics") = chances;
    }

    fn chances(&self) -> SiloChances {
        *self.chances.lock().expect("no holder panics")
    }

    /// Payload bytes of a blob.
    pub(super) fn size(&self, silo: SiloId, blob: &BlobName) -> Option<u64> {
        Some(self.silos.get(&silo)?.peek(&blob.to_string())?.len() as u64)
    }

    /// An extent's bytes as a silo has them; none where it has too few.
    pub(super) fn bytes(&self, silo: SiloId, location: &Location, size: u64) -> Option<Bytes> {
        let (blob, first) = location.ours(size)?;
        let all = self.silos.get(&silo)?.peek(&blob.to_string())?;
        let range = first as usize..(first + size) as usize;
        (range.end <= all.len()).then(|| all.slice(range))
    }

    /// Breaks what a silo has of an extent. Answers whether it is still as long as it was; none where nothing was broken.
    pub(super) fn break_one(&self, silo: SiloId, location: &Location, size: u64) -> Option<bool> {
        let ((blob, first), memory) = (location.ours(size)?, &self.silos[&silo]);
        let name = blob.to_string();
        let bytes = memory.peek(&name)?;
        let kind = if blob.is_pack() { 0 } else { self.sim.below(3) };
        self.sim.note(|| format!("breaks silo {silo}, {location}: {kind}"));
        if kind == 1 || (size == 0 && !blob.is_pack()) {
            let _ = memory.delete(&blob).now_or_never();
            return Some(false);
        }
        if size == 0 {
            return None;
        }
        if kind == 0 {
            memory.rot(&name, (first + size - 1) as usize);
            return Some(true);
        }
        let says = memory.describe(&blob).now_or_never().expect("it is ready at once").unwrap_or_default();
        memory.plant(&name, bytes.slice(..bytes.len() - 1), &says);
        Some(false)
    }

    /// All names in a silo.
    pub(super) fn names(&self, silo: SiloId) -> Vec<String> {
        let mut names = Vec::new();
        loop {
            let after = names.last().map(String::as_str);
            let page = self.silos[&silo].list("", after, 1000).now_or_never().expect("it is ready at once");
            let page = page.expect("the memory silo lists");
            if page.is_empty() {
                return names;
            }
            names.extend(page.into_iter().map(|listed| listed.name));
        }
    }

    pub(super) fn late(&self) -> usize {
        self.late.lock().expect("no holder panics").len()
    }

    /// One late request takes effect now, or never does.
    pub(super) fn land_one(&self, never: bool) {
        let taken = {
            let mut late = self.late.lock().expect("no holder panics");
            if late.is_empty() {
                return;
            }
            let at = self.sim.below(late.len() as u64) as usize;
            late.swap_remove(at)
        };
        match taken {
            _ if never => {}
            Late::Put(silo, blob, bytes) => {
                self.sim.note(|| format!("a late put lands: silo {silo}, {blob}"));
                self.silos[&silo].plant(&blob.to_string(), bytes, b"");
            }
            Late::Append(silo, pack, at, bytes) => {
                self.sim.note(|| format!("a late append lands: silo {silo}, {pack}"));
                let _ = self.silos[&silo].append(&pack, at, vec![bytes]).now_or_never();
            }
            Late::Delete(silo, blob) => self.delete_now(silo, &blob, "late"),
        }
    }

    fn delete_now(&self, silo: SiloId, blob: &BlobName, how: &str) {
        let rows = self.truth.every_row().into_iter().filter(|(row_key, _)| row_key[0] == key::EXTENTS);
        let named = rows.map(|(_, bytes)| decode::<ExtentRow>(&bytes).expect("the row reads")).any(|row| {
            let mut verified = row.replicas.iter().filter(|replica| replica.state == ReplicaState::Verified);
            verified.any(|replica| {
                replica.silo == silo && replica.location.ours(row.size).is_some_and(|(own, _)| own == *blob)
            })
        });
        self.sim.note(|| format!("deletes ({how}): silo {silo}, {blob}"));
        if named {
            self.sim.wrong(|| format!("bytes are deleted that a row names as verified: silo {silo}, {blob}"));
        }
        let _ = self.silos[&silo].delete(blob).now_or_never();
    }

    fn put_now(&self, silo: SiloId, blob: &BlobName, bytes: Bytes, describe: &Describe) -> Result<Stored, SiloError> {
        let size = bytes.len() as u64;
        let body: Body = Box::pin(stream::iter([Ok(bytes)]));
        let stored = self.silos[&silo].put(blob, size, body, Arc::clone(describe));
        let stored = stored.now_or_never().expect("it is ready at once");
        self.sim.note(|| format!("puts: silo {silo}, {blob}: {:?}", stored.as_ref().map(|stored| stored.size)));
        stored
    }
}

/// One silo as gateways see it.
pub(super) struct OneSilo {
    pub(super) silos: Arc<Silos>,
    pub(super) id: SiloId,
}

/// A request on its way. Dropped there, it may still take effect.
struct Flight<'a> {
    silos: &'a Silos,
    late: Option<Late>,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(late) = self.late.take()
            && self.silos.sim.chance(600)
        {
            self.silos.late.lock().expect("no holder panics").push(late);
        }
    }
}

fn unknown() -> SiloError {
    SiloError::unknown("an answer lost on purpose")
}

impl OneSilo {
    fn silo(&self) -> &Memory {
        &self.silos.silos[&self.id]
    }

    fn read_fault(&self) -> Result<(), SiloError> {
        if self.silos.sim.breaks(self.silos.chances().fail_read) {
            self.silos.sim.note(|| format!("a read of silo {} fails", self.id));
            return Err(SiloError::not_done("a failure on purpose"));
        }
        Ok(())
    }

    /// Records of extents that have a row already are copies: sometimes one is damaged, in its last byte.
    fn damage_copies(&self, group: &Bytes) -> Bytes {
        let (mut bytes, mut at) = (group.to_vec(), 0);
        while let Some(head) = Head::parse(&group[at..]) {
            let says = head.description(&group[at..]).expect("it was just written");
            at += head.length();
            let row = self.silos.truth.get(&[extent(says.extent)]).now_or_never().expect("it is ready at once");
            let copy = row.expect("the memory engine does not fail")[0].is_some();
            if copy && self.silos.sim.breaks(self.silos.chances().damage_copy) {
                bytes[at - 1] ^= 1;
            }
        }
        bytes.into()
    }

    /// Takes effect now, later or never; the caller cannot know.
    fn lose(&self, late: Late, now: impl FnOnce()) -> SiloError {
        match self.silos.sim.below(3) {
            0 => now(),
            1 => self.silos.late.lock().expect("no holder panics").push(late),
            _ => {}
        }
        self.silos.sim.note(|| format!("silo {} loses an answer", self.id));
        unknown()
    }
}

#[async_trait]
impl Silo for OneSilo {
    fn appends(&self) -> bool {
        self.silo().appends()
    }

    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        let (silos, sim) = (&*self.silos, &self.silos.sim);
        let begun = !silos.used.lock().expect("no holder panics").insert(*pack);
        if begun != (at > 0) {
            sim.wrong(|| format!("the pack {pack} is begun twice, or appended to before"));
        }
        let bytes = Bytes::from(bytes.concat());
        let mut flight = Flight { silos, late: Some(Late::Append(self.id, *pack, at, bytes.clone())) };
        sim.step().await;
        let late = flight.late.take().expect("it was not taken");
        drop(flight);
        let chances = silos.chances();
        if sim.breaks(chances.fail_put) {
            sim.note(|| format!("an append in silo {} fails", self.id));
            return Err(SiloError::not_done("a failure on purpose"));
        }
        if sim.breaks(chances.full) {
            return Err(SiloError::Full);
        }
        let bytes = self.damage_copies(&bytes);
        let now = || self.silo().append(pack, at, vec![bytes.clone()]).now_or_never().expect("it is ready at once");
        if sim.breaks(chances.lose_put) {
            return Err(self.lose(late, || drop(now())));
        }
        let appended = now();
        sim.note(|| format!("appends: silo {}, {pack} at {at}: {appended:?}", self.id));
        if sim.chance(400) {
            sim.step().await;
        }
        appended
    }

    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        let (silos, sim) = (&*self.silos, &self.silos.sim);
        if !silos.used.lock().expect("no holder panics").insert(*name) {
            sim.wrong(|| format!("the name {name} is written twice"));
        }
        let pieces: Vec<Bytes> = body.try_collect().await?;
        let bytes = Bytes::from(pieces.concat());
        if bytes.len() as u64 != size {
            return Err(SiloError::not_done("a body of another length"));
        }
        let _ = describe(When::AfterBody);
        let mut flight = Flight { silos, late: Some(Late::Put(self.id, *name, bytes.clone())) };
        sim.step().await;
        let late = flight.late.take().expect("it was not taken");
        drop(flight);
        let chances = silos.chances();
        if sim.breaks(chances.fail_put) {
            sim.note(|| format!("a put into silo {} fails", self.id));
            return Err(SiloError::not_done("a failure on purpose"));
        }
        if sim.breaks(chances.full) {
            return Err(SiloError::Full);
        }
        if sim.breaks(chances.lose_put) {
            return Err(self.lose(late, || drop(silos.put_now(self.id, name, bytes.clone(), &describe))));
        }
        let copy = (name.session, name.number) != name.extent && !name.is_pack();
        let damaged = copy && !bytes.is_empty() && sim.breaks(chances.damage_copy);
        let bytes = if damaged { bytes.iter().map(|byte| byte ^ 1).collect() } else { bytes };
        let bytes = if name.is_pack() { self.damage_copies(&bytes) } else { bytes };
        let stored = silos.put_now(self.id, name, bytes, &describe);
        if sim.chance(400) {
            sim.step().await;
        }
        stored
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        self.silos.sim.step().await;
        self.read_fault()?;
        let pieces = self.silo().read(name, size, range).await;
        self.silos
            .sim
            .note(|| format!("opens silo {}, {name}: {}", self.id, if pieces.is_ok() { "there" } else { "gone" }));
        let stepped = stream::unfold((pieces?, Arc::clone(&self.silos.sim)), |(mut pieces, sim)| async move {
            sim.step().await;
            let piece = pieces.next().await?;
            Some((piece, (pieces, sim)))
        });
        Ok(Box::pin(stepped))
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        self.silos.sim.step().await;
        self.silo().stat(name).await
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        self.silos.sim.step().await;
        self.silo().describe(name).await
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        let (silos, sim) = (&*self.silos, &self.silos.sim);
        let mut flight = Flight { silos, late: Some(Late::Delete(self.id, *name)) };
        sim.step().await;
        let late = flight.late.take().expect("it was not taken");
        drop(flight);
        if sim.breaks(silos.chances().lose_delete) {
            return Err(self.lose(late, || silos.delete_now(self.id, name, "its answer is lost")));
        }
        silos.delete_now(self.id, name, "at once");
        if sim.chance(300) {
            sim.step().await;
        }
        Ok(())
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        self.silos.sim.step().await;
        self.read_fault()?;
        let page = self.silo().list(prefix, after, limit.min(3)).await;
        self.silos.sim.note(|| format!("lists silo {}: {:?}", self.id, page.as_ref().map(Vec::len)));
        if self.silos.sim.chance(300) {
            self.silos.sim.step().await;
        }
        page
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        self.silo().claim(claim).await
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        self.silo().marker().await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.silo().probe().await
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.silo().space().await
    }
}
