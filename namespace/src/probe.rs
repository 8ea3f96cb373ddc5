//! A look at a silo by order: whether it is the one that was registered, what it promises, and how fast it is.
//!
//! What is written for that lies under names of this session's, and is deleted before the answer. The session's floor stands
//! below them until then, so that what a probe leaves behind that broke off is an orphan, and goes as one. Of silos of others
//! nothing is asked but what they are.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_silos::silo::{Pieces, Space};
use holdall_silos::{BlobName, Body, Facts, SiloError};

use crate::fault::Fault;
use crate::inventory::{Access, OpenSilo, SiloCommandError, SiloInfo};
use crate::limits::{BLOCK, PROBE_AT_MOST, PROBE_LOOK, PROBE_SMALL, PROBE_STEP, PROBE_TRIES};
use crate::meet::facts as facts_of;
use crate::namespace::{Core, Namespace};
use crate::session::Unfinished;

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The silo, its facts as they were found now.
    pub silo: SiloInfo,
    /// They are not what was known before.
    pub facts_changed: bool,
    /// What it was recognized by: its marker's id; of a silo of others, what tells it from another one.
    pub identity: String,
    /// How full it is, where it can tell.
    pub space: Option<Space>,
    /// How long it takes to recognize it, the median of a few times.
    pub look: Duration,
    /// How fast it is.
    pub speed: Measured,
}

/// How fast a silo was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Measured {
    /// As fast as this.
    Speed(Speed),
    /// Nothing was written: why, in one sentence fragment.
    Not(String),
}

/// How fast a silo is, each time as the gateway sees it, durable writes and all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speed {
    /// Bytes of a small blob.
    pub small: u64,
    /// Writing one, the median of a few times.
    pub put: Duration,
    /// Reading it.
    pub get: Duration,
    /// Deleting it.
    pub delete: Duration,
    /// Bytes of a large blob.
    pub size: u64,
    /// Writing it.
    pub write: Duration,
    /// Reading it, past the caches that can be passed.
    pub read: Duration,
}

/// Why a look came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// The blob to measure with is none.
    #[error("a probe writes 1 byte to {most} bytes, not {size}", most = PROBE_AT_MOST)]
    Size {
        /// As asked.
        size: u64,
    },
    /// It failed, or is not the silo that was registered.
    #[error("silo `{silo}`, {doing}: {reason}")]
    Failed {
        /// Its name.
        silo: String,
        /// What was tried.
        doing: &'static str,
        /// One sentence fragment.
        reason: String,
    },
    /// It did not answer in time.
    #[error("silo `{silo}`, {doing}: no answer in {} seconds", limit.as_secs())]
    Silent {
        /// Its name.
        silo: String,
        /// What was tried.
        doing: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// See [`SiloCommandError`].
    #[error(transparent)]
    Silo(#[from] SiloCommandError),
}

impl From<Fault> for ProbeError {
    fn from(fault: Fault) -> Self {
        Self::Silo(fault.into())
    }
}

impl Namespace {
    /// Looks at a silo: recognizes it, finds out what it promises and writes that down where it changed, and measures one of
    /// ours with a few small blobs and one of `size` bytes, which are gone when this answers. It waits for no answer longer
    /// than a minute.
    pub async fn probe_silo(&self, name: &str, size: u64) -> Result<Probed, ProbeError> {
        if !(1..=PROBE_AT_MOST).contains(&size) {
            return Err(ProbeError::Size { size });
        }
        let core = &self.core;
        // Before the silo is looked up: whoever takes one out waits for what chose it before.
        let _chosen = core.session().take();
        let inventory = core.inventory();
        let open = inventory.known(name)?;
        let probe = Probe { core, open };
        let look = probe.look().await?;
        let space = probe.within("asking how full it is", PROBE_LOOK, open.silo.space()).await?;
        open.note_space(space);
        core.count_retired(open).await;
        let facts = probe
            .within(
                "finding out what it promises",
                PROBE_STEP,
                facts_of(&*open.silo, open.projections.as_deref(), true),
            )
            .await?;
        let speed = probe.measure(size).await?;
        let facts_changed = !are_alike(&facts, &open.row.facts);
        if facts_changed {
            let facts = facts.clone();
            crate::declare::change_silo(&*core.engine, open.id, move |row| row.facts = facts.clone()).await?;
            core.refresh_inventory(true).await?;
            tracing::info!(silo = name, "the silo does not promise what it did before");
        }
        let identity = open.row.marker.clone();
        let now = core.inventory();
        let silo = SiloInfo { facts, ..core.silo_info(now.named(name).unwrap_or(open)).await? };
        Ok(Probed { silo, facts_changed, identity, space, look, speed })
    }
}

struct Probe<'a> {
    core: &'a Core,
    open: &'a Arc<OpenSilo>,
}

impl Probe<'_> {
    async fn within<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, SiloError>>,
    ) -> Result<T, ProbeError> {
        let silo = || self.open.row.name.clone();
        tokio::select! {
            biased;
            done = work => done.map_err(|error| ProbeError::Failed { silo: silo(), doing, reason: error.to_string() }),
            () = self.core.clock.sleep(limit) => Err(ProbeError::Silent { silo: silo(), doing, limit }),
        }
    }

    async fn timed<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<T, SiloError>>,
    ) -> Result<(T, Duration), ProbeError> {
        let begun = self.core.clock.monotonic();
        let done = self.within(doing, limit, work).await?;
        Ok((done, self.core.clock.monotonic().saturating_sub(begun)))
    }

    /// Whether it is the silo that was registered, and how long that takes to see.
    async fn look(&self) -> Result<Duration, ProbeError> {
        let mut times = Vec::with_capacity(PROBE_TRIES);
        for _ in 0..PROBE_TRIES {
            times.push(self.timed("recognizing it", PROBE_LOOK, self.open.claim(&self.core.id)).await?.1);
        }
        Ok(median(times))
    }

    async fn measure(&self, size: u64) -> Result<Measured, ProbeError> {
        if self.open.row.declared.access != Access::Own {
            return Ok(Measured::Not("what it holds is others', and nothing is written there".to_owned()));
        }
        if self.open.room().is_some_and(|room| room < size) {
            return Ok(Measured::Not(format!("it has no room for {size} bytes above its reserve")));
        }
        let mut bench = Bench::new(self.core, self.open);
        let measured = self.run(&mut bench, size).await;
        bench.clean().await;
        measured.map(Measured::Speed)
    }

    async fn run(&self, bench: &mut Bench<'_>, size: u64) -> Result<Speed, ProbeError> {
        let (block, mut times) = (Block::drawn(), [const { Vec::new() }; 3]);
        for _ in 0..PROBE_TRIES {
            let (blob, put) = self.timed("writing a small blob", PROBE_STEP, bench.put(&block, PROBE_SMALL)).await?;
            let ((), get) =
                self.timed("reading a small blob", PROBE_STEP, bench.get(&block, &blob, PROBE_SMALL)).await?;
            let ((), delete) = self.timed("deleting a small blob", PROBE_STEP, bench.delete(&blob)).await?;
            for (times, time) in times.iter_mut().zip([put, get, delete]) {
                times.push(time);
            }
        }
        let (blob, write) = self.timed("writing a large blob", PROBE_STEP, bench.put(&block, size)).await?;
        let ((), read) = self.timed("reading a large blob", PROBE_STEP, bench.get(&block, &blob, size)).await?;
        let [put, get, delete] = times.map(median);
        Ok(Speed { small: PROBE_SMALL, put, get, delete, size, write, read })
    }
}

/// Whether the same is promised. How often a clock ticks is seen a little differently each time.
fn are_alike(one: &Facts, other: &Facts) -> bool {
    *one == Facts { time_grain_ns: one.time_grain_ns, ..other.clone() }
}

/// The one in the middle; nothing took no time.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Bytes that do not compress, over and over.
pub(crate) struct Block(Bytes);

impl Block {
    /// Random ones.
    pub(crate) fn drawn() -> Self {
        let mut bytes = vec![0; BLOCK as usize];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        Self(bytes.into())
    }

    fn body(&self, size: u64) -> Body {
        let (block, step) = (self.0.clone(), BLOCK as usize);
        stream::iter((0..size).step_by(step).map(move |at| Ok(block.slice(..(size - at).min(BLOCK) as usize)))).boxed()
    }

    /// Whether these bytes stand at that place.
    fn has(&self, at: u64, mut bytes: &[u8]) -> bool {
        let mut offset = (at % BLOCK) as usize;
        while !bytes.is_empty() {
            let (here, rest) = bytes.split_at(bytes.len().min(self.0.len() - offset));
            if !self.0[offset..].starts_with(here) {
                return false;
            }
            (bytes, offset) = (rest, 0);
        }
        true
    }
}

/// Blobs that are soon gone again. What is left of them when this is dropped is looked for by the sweep.
pub(crate) struct Bench<'a> {
    core: &'a Core,
    open: &'a OpenSilo,
    made: Vec<(BlobName, Unfinished)>,
    /// Something may still land.
    doubtful: bool,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(core: &'a Core, open: &'a OpenSilo) -> Self {
        Self { core, open, made: Vec::new(), doubtful: false }
    }

    /// Writes a blob.
    pub(crate) async fn put(&mut self, block: &Block, size: u64) -> Result<BlobName, SiloError> {
        let guard = self.core.session().take();
        let (session, number) = (guard.number.session, guard.number.number);
        let blob = BlobName { session, number, extent: (session, number) };
        self.made.push((blob, guard));
        self.doubtful = true;
        self.open.note(self.open.silo.put(&blob, size, block.body(size), Arc::new(|_| Vec::new())).await)?;
        self.doubtful = false;
        self.open.note_written(size);
        Ok(blob)
    }

    /// Reads it, and compares.
    async fn get(&self, block: &Block, blob: &BlobName, size: u64) -> Result<(), SiloError> {
        let pieces = self.open.note(self.open.silo.read_back(blob, size, 0..size).await)?;
        self.open.note(compared(block, pieces, size).await)
    }

    async fn delete(&mut self, blob: &BlobName) -> Result<(), SiloError> {
        self.open.note(self.open.silo.delete(blob).await)?;
        self.made.retain(|(made, _)| made != blob);
        Ok(())
    }

    /// Deletes what is still there.
    pub(crate) async fn clean(&mut self) {
        for blob in self.made.iter().map(|(blob, _)| *blob).collect::<Vec<_>>() {
            let core = self.core;
            tokio::select! {
                biased;
                deleted = self.delete(&blob) => {
                    if let Err(error) = deleted {
                        tracing::debug!(silo = %self.open.row.name, %blob, %error, "a probe's blob stays for the sweep");
                    }
                }
                () = core.clock.sleep(PROBE_LOOK) => return,
            }
        }
    }
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        if self.doubtful || !self.made.is_empty() {
            self.open.doubt();
        }
    }
}

async fn compared(block: &Block, mut pieces: Pieces, size: u64) -> Result<(), SiloError> {
    let mut at = 0;
    while let Some(piece) = pieces.next().await {
        let piece = piece?;
        if !block.has(at, &piece) {
            return Err(SiloError::mismatch("what was written reads back differently"));
        }
        at += piece.len() as u64;
    }
    if at == size { Ok(()) } else { Err(SiloError::mismatch(format!("{at} of {size} bytes read back"))) }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_body_is_as_long_as_it_should_be_and_reads_as_itself() {
        let block = Block::drawn();
        for size in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7] {
            let read = |cut: u64| -> Pieces {
                let whole: Vec<_> =
                    block.body(size).map(|piece| piece.unwrap()).collect::<Vec<_>>().now_or_never().unwrap();
                let whole: Bytes = whole.concat().into();
                assert_eq!(whole.len() as u64, size);
                stream::iter([
                    Ok(whole.slice(..(size / 3) as usize)),
                    Ok(whole.slice((size / 3) as usize..(size - cut) as usize)),
                ])
                .boxed()
            };
            assert_eq!(compared(&block, read(0), size).now_or_never().unwrap(), Ok(()));
            assert!(compared(&block, read(1), size).now_or_never().unwrap().is_err(), "{size}");
            let other = compared(&Block::drawn(), read(0), size).now_or_never().unwrap();
            assert!(size == 1 || other.is_err(), "{size}");
        }
    }

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |times: &[u64]| median(times.iter().copied().map(Duration::from_millis).collect()).as_millis();
        assert_eq!((of(&[]), of(&[9]), of(&[90, 1, 5]), of(&[1, 2, 3, 4, 900])), (0, 9, 5, 3));
    }
}
