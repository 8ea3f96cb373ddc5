//! A silo that may fall silent: once that is noted nobody waits for it, until it is heard again.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::sync::watch;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::holdings::{Held, Holdings, Walk, Watch};
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Listed, Pieces, Silo, Space, Stat, Stored, Validator};

/// Whether a silo is silent: whoever listens to it says so, and all who ask it go by that.
pub struct Silence {
    fallen: watch::Sender<bool>,
    heard: AtomicU64,
}

impl Default for Silence {
    fn default() -> Self {
        Self { fallen: watch::Sender::new(false), heard: AtomicU64::new(0) }
    }
}

impl Silence {
    /// How often the silo was heard: answers, pieces of what is read, and pieces that it took of a long body.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// What waits for the silo waits no more, and what asks it from now on is refused.
    pub fn fall(&self) {
        self.fallen.send_replace(true);
    }

    /// It is asked again.
    pub fn lift(&self) {
        self.fallen.send_if_modified(std::mem::take);
    }

    /// Whether it is silent.
    pub fn is_fallen(&self) -> bool {
        *self.fallen.borrow()
    }

    async fn unless<T>(
        &self,
        abandoned: fn(&'static str) -> SiloError,
        work: impl Future<Output = Result<T, SiloError>> + Send,
    ) -> Result<T, SiloError> {
        const SILENT: &str = "the silo does not answer";
        let mut fallen = self.fallen.subscribe();
        if *fallen.borrow_and_update() {
            return Err(SiloError::not_done(SILENT));
        }
        tokio::select! {
            biased;
            answer = work => {
                if is_heard(&answer) {
                    self.note();
                }
                answer
            }
            _ = fallen.wait_for(|fallen| *fallen) => Err(abandoned(SILENT)),
        }
    }

    fn note(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// The same stream; each piece is heard.
    fn listen<E: Send + 'static>(
        self: &Arc<Self>,
        pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    ) -> Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send>> {
        let silence = Arc::clone(self);
        pieces.inspect_ok(move |_| silence.note()).boxed()
    }

    /// The same body. What buffers on the way may have taken by themselves is not heard.
    fn listen_to_body(self: &Arc<Self>, body: Body, buffered: u64) -> Body {
        let (silence, mut taken) = (Arc::clone(self), 0);
        let note = move |piece: &Bytes| {
            if taken > buffered {
                silence.note();
            }
            taken += piece.len() as u64;
        };
        body.inspect_ok(note).boxed()
    }

    async fn read<T>(&self, work: impl Future<Output = Result<T, SiloError>> + Send) -> Result<T, SiloError> {
        self.unless(SiloError::not_done, work).await
    }

    /// What was sent may still take effect.
    async fn write<T>(&self, work: impl Future<Output = Result<T, SiloError>> + Send) -> Result<T, SiloError> {
        self.unless(SiloError::unknown, work).await
    }
}

/// Whether only the silo can have said so: that it is too busy, or did not answer in time, is said here.
fn is_heard<T>(answer: &Result<T, SiloError>) -> bool {
    match answer {
        Ok(_) => true,
        Err(error) => !matches!(error, SiloError::NotDone { .. } | SiloError::Unknown { .. } | SiloError::Body(_)),
    }
}

/// A silo, or what one holds, that is listened to. Claims alone wait for their answer in any case.
pub struct Heard<S: ?Sized> {
    inner: Arc<S>,
    silence: Arc<Silence>,
}

impl<S: ?Sized> Heard<S> {
    /// Goes by `silence`.
    pub fn new(inner: Arc<S>, silence: &Arc<Silence>) -> Self {
        Self { inner, silence: Arc::clone(silence) }
    }
}

#[async_trait]
impl Silo for Heard<dyn Silo> {
    fn buffered(&self) -> u64 {
        self.inner.buffered()
    }

    async fn put(&self, name: &BlobName, size: u64, body: Body, describe: Describe) -> Result<Stored, SiloError> {
        let body = self.silence.listen_to_body(body, self.inner.buffered());
        self.silence.write(self.inner.put(name, size, body, describe)).await
    }

    fn appends(&self) -> bool {
        self.inner.appends()
    }

    async fn append(&self, pack: &BlobName, at: u64, bytes: Vec<Bytes>) -> Result<(), SiloError> {
        self.silence.write(self.inner.append(pack, at, bytes)).await
    }

    async fn read(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        let pieces = self.silence.read(self.inner.read(name, size, range)).await?;
        Ok(self.silence.listen(pieces))
    }

    async fn read_back(&self, name: &BlobName, size: u64, range: Range<u64>) -> Result<Pieces, SiloError> {
        let pieces = self.silence.read(self.inner.read_back(name, size, range)).await?;
        Ok(self.silence.listen(pieces))
    }

    async fn stat(&self, name: &BlobName) -> Result<Stat, SiloError> {
        self.silence.read(self.inner.stat(name)).await
    }

    async fn describe(&self, name: &BlobName) -> Result<Vec<u8>, SiloError> {
        self.silence.read(self.inner.describe(name)).await
    }

    async fn delete(&self, name: &BlobName) -> Result<(), SiloError> {
        self.silence.write(self.inner.delete(name)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, SiloError> {
        self.silence.read(self.inner.list(prefix, after, limit)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<(), SiloError> {
        self.inner.claim(claim).await
    }

    async fn marker(&self) -> Result<Option<Marker>, SiloError> {
        self.silence.read(self.inner.marker()).await
    }

    async fn probe(&self) -> Result<Facts, SiloError> {
        self.silence.read(self.inner.probe()).await
    }

    fn recall(&self, facts: &Facts) {
        self.inner.recall(facts);
    }

    async fn space(&self) -> Result<Option<Space>, SiloError> {
        self.silence.read(self.inner.space()).await
    }
}

#[async_trait]
impl Holdings for Heard<dyn Holdings> {
    async fn identity(&self) -> Result<String, SiloError> {
        self.silence.read(self.inner.identity()).await
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        self.silence.read(self.inner.facts()).await
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk> {
        Box::new(HeardWalk { walk: self.inner.walk(prefix, after), silence: Arc::clone(&self.silence) })
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        self.silence.read(self.inner.look(name)).await
    }

    async fn read(
        &self,
        name: &[u8],
        size: u64,
        validator: &Validator,
        range: Range<u64>,
    ) -> Result<Pieces, SiloError> {
        let pieces = self.silence.read(self.inner.read(name, size, validator, range)).await?;
        Ok(self.silence.listen(pieces))
    }

    fn same_file(&self, one: &Validator, other: &Validator) -> bool {
        self.inner.same_file(one, other)
    }

    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        self.silence.read(self.inner.shows_every_write()).await
    }

    /// It waits for others, who may do nothing for days.
    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, String> {
        self.inner.watch(prefix).await
    }
}

struct HeardWalk {
    walk: Box<dyn Walk>,
    silence: Arc<Silence>,
}

#[async_trait]
impl Walk for HeardWalk {
    async fn next(&mut self, limit: usize) -> Result<Vec<crate::holdings::Found>, SiloError> {
        self.silence.read(self.walk.next(limit)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BUFFERED_ON_THE_WAY;
    use crate::memory::Memory;
    use futures_util::{FutureExt, stream};

    fn put(silo: &Heard<dyn Silo>, number: u64) -> impl Future<Output = Result<Stored, SiloError>> + '_ {
        let body: Body = Box::pin(stream::iter([Ok(Bytes::from_static(b"x"))]));
        let name = BlobName { session: 1, number, extent: (1, number) };
        async move { silo.put(&name, 1, body, Arc::new(|_| Vec::new())).await }
    }

    #[test]
    fn it_keeps_the_contract_of_what_it_is_around() {
        let silo: Arc<dyn Silo> = Arc::new(Heard::<dyn Silo>::new(Arc::new(Memory::new()), &Arc::default()));
        crate::contract::contract(silo, crate::contract::Options::default()).now_or_never().unwrap();
    }

    /// A server stood still: each request for what lies there waited for half a minute.
    #[tokio::test]
    async fn nobody_waits_for_a_silo_that_fell_silent() {
        let (memory, silence) = (Arc::new(Memory::new()), Arc::<Silence>::default());
        let silo: Heard<dyn Silo> = Heard::new(Arc::<Memory>::clone(&memory), &silence);
        put(&silo, 1).await.unwrap();
        let heard = silence.heard();
        assert_eq!(heard, 1, "the answer");
        memory.hang(true);
        let mut under_way = Box::pin(put(&silo, 2));
        assert!(under_way.as_mut().now_or_never().is_none());
        silence.fall();
        assert!(matches!(under_way.await, Err(SiloError::Unknown { .. })), "it may be there");
        assert!(matches!(put(&silo, 3).await, Err(SiloError::NotDone { .. })), "it is not asked");
        assert!(silence.is_fallen());
        memory.hang(false);
        silence.lift();
        put(&silo, 4).await.unwrap();
        assert_eq!((memory.count(), silence.heard()), (2, heard + 1));
    }

    /// What never reached the silo, a queue that was full or a time that was up, was taken for an answer of it.
    #[tokio::test]
    async fn what_is_said_here_is_not_heard() {
        let (memory, silence) = (Arc::new(Memory::new()), Arc::<Silence>::default());
        let silo: Heard<dyn Silo> = Heard::new(Arc::<Memory>::clone(&memory), &silence);
        let name = BlobName { session: 1, number: 1, extent: (1, 1) };
        assert_eq!(silo.stat(&name).await, Err(SiloError::Missing));
        assert_eq!(silence.heard(), 1);
        memory.fail(true);
        assert!(matches!(silo.stat(&name).await, Err(SiloError::NotDone { .. })));
        assert_eq!(silence.heard(), 1);
    }

    /// A server stood still, and the index's backup began a piece every few seconds: the kernel took each, and the silo was
    /// never silent.
    #[tokio::test]
    async fn what_only_buffers_took_is_not_heard() {
        let silence = Arc::<Silence>::default();
        let piece = Bytes::from(vec![0; 1 << 20]);
        let pieces = BUFFERED_ON_THE_WAY as usize / piece.len() + 3;
        let body: Body = Box::pin(stream::iter(vec![Ok(piece); pieces]));
        let mut body = silence.listen_to_body(body, BUFFERED_ON_THE_WAY);
        for _ in 0..pieces - 2 {
            body.next().await.unwrap().unwrap();
        }
        assert_eq!(silence.heard(), 0);
        while body.next().await.is_some() {}
        assert_eq!(silence.heard(), 2);
    }
}
