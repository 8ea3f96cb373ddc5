//! Bytes first: an upload's body becomes extents in a silo, hashed on the way. No row is written here.

use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use holdall_silos::{BlobName, Body, BodyError, Describe, SiloError};

use crate::clock::UnixMs;
use crate::describe::Description;
use crate::digest::{Hashed, StreamHasher, Tap, extent_digest, hash_at_once};
use crate::engine::Write;
use crate::extent::{Location, Number, Replica, ReplicaState, SiloId, Slice};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo, Then};
use crate::limits::{BUFFERED_BODY, INDEX_RESERVE, MAX_EXTENT};
use crate::name::BucketName;
use crate::namespace::Core;
use crate::object::{Headers, Pairs};
use crate::objective::expression::Subject;
use crate::pack::Record;
use crate::put::{Computed, PutError, Upload};
use crate::session::{Session, Unfinished};
use crate::table::extents::{self, ExtentRow};
use crate::table::objects::Attributes;
use crate::table::packs;
use crate::table::usage::{self, Counted};

/// For whom bytes are stored: what they will say of themselves.
pub(crate) struct For<'a> {
    pub bucket: &'a BucketName,
    pub key: &'a str,
    pub headers: &'a Headers,
    /// Part number, or 0.
    pub part: u32,
    /// The object's own, which objectives look at.
    pub attributes: &'a Attributes,
    /// When not STANDARD.
    pub storage_class: Option<&'a str>,
    /// The key's, where objectives ask for them.
    pub labels: &'a Pairs,
}

impl For<'_> {
    /// A new object, or part of one, as objectives see it.
    fn subject(&self, size: u64, now: UnixMs) -> Subject<'_> {
        let subject = Subject { labels: self.labels, ..Subject::written(size, now) };
        subject.of(self.bucket.as_str(), self.key, self.storage_class, Some(self.attributes))
    }
}

/// Bytes that are durable in a silo, and that no row names yet.
pub(crate) struct StoredBytes {
    /// Of the whole body.
    pub computed: Computed,
    /// In order.
    pub extents: Vec<StoredExtent>,
    /// The version's or part's own number first, then the extents' and their packs'. Held until the commit's outcome is
    /// known.
    pub guards: Vec<Arc<Unfinished>>,
    /// What is still to be done for objectives, as they were declared
    pub then: Then,
    /// at this revision.
    pub revision: i64,
}

/// One extent of them.
pub(crate) struct StoredExtent {
    pub id: Number,
    pub size: u64,
    pub sums: Vec<u64>,
    pub silo: SiloId,
    pub location: Location,
}

impl StoredBytes {
    /// The number of the version or part.
    pub(crate) fn version(&self) -> Number {
        self.guards[0].number
    }

    /// The whole body as slices.
    pub(crate) fn slices(&self) -> Vec<Slice> {
        self.extents.iter().map(|extent| Slice { extent: extent.id, offset: 0, length: extent.size }).collect()
    }

    /// The writes that make the extents exist, referred to by `version`.
    pub(crate) fn writes_for(&self, version: Number, now: UnixMs) -> Vec<Write> {
        self.extents.iter().flat_map(|extent| extent.writes(version, now)).collect()
    }
}

impl StoredExtent {
    fn writes(&self, version: Number, now: UnixMs) -> Vec<Write> {
        let replica = Replica {
            silo: self.silo,
            location: self.location.clone(),
            state: ReplicaState::Verified,
            since: now,
            job: None,
        };
        let row = ExtentRow {
            size: self.size,
            digest: extent_digest(&self.sums),
            blocks: None,
            first: Some(version),
            replicas: vec![replica],
        };
        let mut writes = extents::store(self.id, row, self.sums.clone());
        writes.extend(usage::add(Counted::Silo(self.silo), 1, self.size as i64));
        writes.extend(packs::count(self.silo, &self.location, 1));
        writes
    }
}

impl Core {
    /// Stores an upload's bytes, checked against what the client said.
    pub(crate) async fn store(
        self: &Arc<Self>,
        session: &Arc<Session>,
        whose: For<'_>,
        upload: Upload,
    ) -> Result<StoredBytes, PutError> {
        self.room_in_index()?;
        if upload.size <= BUFFERED_BODY {
            self.store_short(session, whose, upload).await
        } else {
            self.store_long(session, whose, upload).await
        }
    }

    /// Refuses what makes the index grow, so that deletes still have room.
    pub(crate) fn room_in_index(&self) -> Result<(), Fault> {
        if self.engine.room().is_some_and(|room| room < INDEX_RESERVE) { Err(Fault::NoRoom) } else { Ok(()) }
    }

    /// A short body is read whole and checked before a silo is asked; when one fails, the next takes it.
    async fn store_short(
        self: &Arc<Self>,
        session: &Arc<Session>,
        whose: For<'_>,
        upload: Upload,
    ) -> Result<StoredBytes, PutError> {
        let bytes = read_whole(upload.body, upload.size).await?;
        let hashed = hash_at_once(&bytes, upload.algorithm);
        (upload.verify)(&hashed.computed)?;
        let guards = vec![Arc::new(session.take())];
        let mut stored =
            StoredBytes { computed: hashed.computed, extents: Vec::new(), guards, then: Then::Rest, revision: 0 };
        let Some(sums) = hashed.extents.into_iter().next() else { return Ok(stored) };
        let inventory = self.inventory();
        let mut failure = Fault::NoRoom;
        stored.revision = inventory.revision;
        let chosen = inventory.candidates(&whose.subject(upload.size, self.clock.now()))?;
        for (attempt, open) in chosen.silos.iter().enumerate() {
            // The first attempt shares the version's number; another attempt needs a name of its own.
            let id = if attempt == 0 { stored.version() } else { take_another(session, &mut stored) };
            let description = self.description(&whose, id, stored.version(), upload.size, 0);
            let description = Description { digest: Some(extent_digest(&sums)), ..description };
            match self.store_at(session, open, description, bytes.clone(), &mut stored.guards).await {
                Ok(location) => {
                    stored.then = chosen.then(open.id);
                    stored.extents.push(StoredExtent { id, size: upload.size, sums, silo: open.id, location });
                    return Ok(stored);
                }
                Err(error) => failure = silo_failed(open, &error),
            }
        }
        Err(failure.into())
    }

    /// Stores a short extent in a silo: in a pack, or as a blob of its own.
    async fn store_at(
        self: &Arc<Self>,
        session: &Arc<Session>,
        open: &Arc<OpenSilo>,
        description: Description,
        bytes: Bytes,
        guards: &mut Vec<Arc<Unfinished>>,
    ) -> Result<Location, SiloError> {
        let (id, size) = (description.extent, description.size);
        if self.is_packed(size) {
            let packed = self.pack(session, open, Record::new(&description, bytes)).await?;
            if !crate::seeded_bug!("pack-unheld") {
                guards.push(packed.guard);
            }
            return Ok(packed.location);
        }
        let blob = BlobName { session: id.session, number: id.number, extent: (id.session, id.number) };
        let describe: Describe = Arc::new(move |_| description.encode());
        let body: Body = Box::pin(stream::iter([Ok(bytes)]));
        match open.note(open.silo.put(&blob, size, body, describe).await) {
            Err(SiloError::Unknown { .. }) if crate::seeded_bug!("unknown-is-stored") => {}
            stored => {
                stored?;
                open.note_written(size);
            }
        }
        Ok(Location::Blob(blob))
    }

    /// A long body streams through, an extent at a time.
    async fn store_long(
        &self,
        session: &Arc<Session>,
        whose: For<'_>,
        upload: Upload,
    ) -> Result<StoredBytes, PutError> {
        // Before the silos are looked up: whoever takes one out waits for what chose it before.
        let mut guards = vec![Arc::new(session.take())];
        let inventory = self.inventory();
        let chosen = inventory.candidates(&whose.subject(upload.size, self.clock.now()))?;
        let mut candidates = chosen.silos.iter();
        let mut open = candidates.next().ok_or(Fault::NoRoom)?;
        let hasher = StreamHasher::start(upload.algorithm);
        let source = Arc::new(tokio::sync::Mutex::new(Source { body: upload.body, rest: Bytes::new(), begun: false }));
        let (mut extents, mut offset) = (Vec::new(), 0);
        let version = guards[0].number;
        while offset < upload.size {
            let size = (upload.size - offset).min(MAX_EXTENT);
            // The version's number is also its first extent's; a name is never used twice.
            let id = guards[guards.len() - 1].number;
            let last = offset + size == upload.size;
            let (digest, sums) = (Arc::new(OnceLock::new()), Arc::new(OnceLock::new()));
            let piece = Piece { source: Arc::clone(&source), tap: hasher.tap(), left: size, last };
            let body = extent_body(piece, Arc::clone(&digest), Arc::clone(&sums));
            let blob = BlobName { session: id.session, number: id.number, extent: (id.session, id.number) };
            let describe = self.description(&whose, id, version, size, offset).describe(digest);
            match open.note(open.silo.put(&blob, size, body, describe).await) {
                Ok(_) => {
                    open.note_written(size);
                    let sums: Vec<u64> = sums.get().cloned().ok_or_else(hashing_died)?;
                    extents.push(StoredExtent { id, size, sums, silo: open.id, location: Location::Blob(blob) });
                    offset += size;
                }
                Err(SiloError::Body(error)) => return Err(error.into()),
                Err(error) => {
                    let failure = silo_failed(open, &error);
                    // Nothing of the body is lost as long as nothing was taken from it.
                    let begun = source.lock().await.begun;
                    open = candidates.next().filter(|_| !begun).ok_or(failure)?;
                }
            }
            if offset < upload.size {
                guards.push(Arc::new(session.take()));
            }
        }
        drop(source);
        let Hashed { computed, .. } = hasher.finish().await.ok_or_else(hashing_died)?;
        (upload.verify)(&computed)?;
        Ok(StoredBytes { computed, extents, guards, then: chosen.then(open.id), revision: inventory.revision })
    }

    fn description(&self, whose: &For<'_>, extent: Number, version: Number, size: u64, offset: u64) -> Description {
        let description = Description {
            namespace: self.id.clone(),
            extent,
            size,
            bucket: whose.bucket.as_str().to_owned(),
            key: whose.key.to_owned(),
            version,
            part: whose.part,
            offset,
            headers: Vec::new(),
            digest: None,
        };
        description.with_headers(whose.headers)
    }
}

fn take_another(session: &Arc<Session>, stored: &mut StoredBytes) -> Number {
    let guard = Arc::new(session.take());
    let number = guard.number;
    stored.guards.push(guard);
    number
}

fn hashing_died() -> Fault {
    Fault::Unavailable("the hashing thread died".to_owned())
}

/// What a client is told of a silo's failure; the log gets the rest, loudly until the silo is known to be down.
pub(crate) fn silo_failed(open: &OpenSilo, error: &SiloError) -> Fault {
    match open.health() {
        Health::Up => tracing::warn!(silo = %open.row.name, %error, "silo failed"),
        Health::Down | Health::Lost => tracing::debug!(silo = %open.row.name, %error, "silo failed"),
    }
    match error {
        SiloError::Full => Fault::NoRoom,
        _ => Fault::Unavailable(format!("silo `{}` failed", open.row.name)),
    }
}

/// Reads a body to its end; exactly `size` bytes.
async fn read_whole(mut body: Body, size: u64) -> Result<Bytes, BodyError> {
    let mut first = Bytes::new();
    let mut rest: Option<BytesMut> = None;
    let mut length = 0;
    while let Some(piece) = body.next().await {
        let piece = piece?;
        length += piece.len() as u64;
        if length > size {
            return Err(BodyError { reason: format!("more than the announced {size} bytes") });
        }
        match &mut rest {
            Some(rest) => rest.extend_from_slice(&piece),
            None if first.is_empty() => first = piece,
            None => {
                let mut both = BytesMut::with_capacity(size as usize);
                both.extend_from_slice(&first);
                both.extend_from_slice(&piece);
                rest = Some(both);
            }
        }
    }
    if length < size {
        return Err(BodyError { reason: format!("{length} of {size} bytes came") });
    }
    Ok(rest.map_or(first, BytesMut::freeze))
}

/// A body that is cut into extents.
struct Source {
    body: Body,
    rest: Bytes,
    /// Something was taken from it.
    begun: bool,
}

struct Piece {
    source: Arc<tokio::sync::Mutex<Source>>,
    tap: Tap,
    left: u64,
    last: bool,
}

/// The bytes of one extent. Its digest and checksums are set before the stream ends, so that a description asked for
/// after the last byte has them. The last extent reads the body to its end: only there is it known to be right.
fn extent_body(piece: Piece, digest: Arc<OnceLock<[u8; 32]>>, sums: Arc<OnceLock<Vec<u64>>>) -> Body {
    Box::pin(stream::try_unfold((piece, digest, sums), |(mut piece, digest, sums)| async move {
        if piece.left == 0 {
            if piece.last && piece.source.lock().await.next(u64::MAX).await?.is_some() {
                return Err(BodyError { reason: "more bytes than announced".to_owned() });
            }
            if let Some(all) = piece.tap.end_extent().await {
                let _ = digest.set(extent_digest(&all));
                let _ = sums.set(all);
            }
            return Ok(None);
        }
        let next = piece.source.lock().await.next(piece.left).await?;
        let bytes = next.ok_or_else(|| BodyError { reason: format!("{} bytes are missing", piece.left) })?;
        piece.left -= bytes.len() as u64;
        piece.tap.bytes(bytes.clone()).await;
        Ok(Some((bytes, (piece, digest, sums))))
    }))
}

impl Source {
    /// The next bytes, at most `most` of them.
    async fn next(&mut self, most: u64) -> Result<Option<Bytes>, BodyError> {
        while self.rest.is_empty() {
            match self.body.next().await {
                None => return Ok(None),
                Some(piece) => {
                    self.begun = true;
                    self.rest = piece?;
                }
            }
        }
        let take = (self.rest.len() as u64).min(most) as usize;
        Ok(Some(self.rest.split_to(take)))
    }
}
