//! One attempt to bring a tree in step with a key: staged, written down, done, looked at, concluded.
//!
//! What is staged is durable before the intent is, and the intent before anything in the tree changes. Whoever finds an
//! intent without somebody at work on it takes it over, which keeps late calls of the one before out, and concludes it by
//! what it finds.

use std::sync::{Arc, Mutex};

use blake3::Hasher;
use futures_util::{StreamExt, TryStreamExt};
use holdall_silos::holdings::{Held, Holdings, Touched};
use holdall_silos::projections::{Attempt, Outcome, Projections, Staging};
use holdall_silos::silo::Pieces;
use holdall_silos::{BodyError, SiloError, Validator};

use super::decide::{Came, Wanted, judge, wanted};
use crate::assimilate::settled;
use crate::bucket::Bucket;
use crate::engine::{Key, Read, Rows, Write};
use crate::extent::{Location, Number, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::PROJECTION_READ;
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::session::Unfinished;
use crate::sweep::live_sessions;
use crate::table::extents::{ExtentRow, extent};
use crate::table::names::{NameRow, NameState, name as name_key};
use crate::table::objects::{Data, ObjectRow, object};
use crate::table::projections::{Base, IntentRow, OutRow, OutState, Task, intent as intent_key, out};
use crate::table::roots::{RootRow, root as root_key};
use crate::table::{decode_row, encode};

/// Why a tree is not in step with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hindered {
    /// It is tried again.
    Later(String),
    /// The tree cannot hold it as it is.
    Never(String),
}

impl From<Fault> for Hindered {
    fn from(fault: Fault) -> Self {
        Self::Later(fault.to_string())
    }
}

/// What an attempt is about.
struct Place {
    root: RootRow,
    bucket: Bucket,
    key: ObjectKey,
    name: Vec<u8>,
    open: Arc<OpenSilo>,
    holdings: Arc<dyn Holdings>,
    tree: Arc<dyn Projections>,
}

/// The rows that decide, as they were read.
struct Known {
    current: Option<ObjectRow>,
    name: Option<NameRow>,
    intent: Option<IntentRow>,
}

/// What came out, judged.
struct Judged {
    outcome: Outcome,
    came: Option<Came>,
    /// It has its name again.
    given_back: bool,
}

impl Place {
    fn rows(&self) -> [Key; 3] {
        let silo = self.root.silo;
        [object(self.bucket.incarnation, &self.key), name_key(silo, &self.name), intent_key(silo, &self.name)]
    }

    fn failed(&self, error: &SiloError) -> Hindered {
        match error {
            SiloError::Mismatch { reason } => Hindered::Never(reason.clone()),
            error => Hindered::Later(format!("silo `{}`: {error}", self.open.row.name)),
        }
    }

    /// Counts a step's outcome.
    fn note<T>(&self, outcome: Result<T, SiloError>) -> Result<T, Hindered> {
        self.open.note(outcome).map_err(|error| self.failed(&error))
    }
}

impl Known {
    fn read(rows: &[Option<bytes::Bytes>]) -> Result<Self, Fault> {
        Ok(Self {
            current: decode_row(rows[0].as_ref())?,
            name: decode_row(rows[1].as_ref())?,
            intent: decode_row(rows[2].as_ref())?,
        })
    }

    fn wanted(&self) -> Option<Wanted> {
        wanted(self.current.as_ref().map(|row| row.version), self.name.as_ref())
    }
}

impl IntentRow {
    fn staged(&self) -> Option<Validator> {
        match &self.task {
            Task::Bring { staged, .. } => Some(Validator(staged.clone())),
            Task::Take => None,
        }
    }
}

impl Core {
    /// Brings a tree one step on towards the current version of a key. Answers whether anything was done.
    pub(super) async fn project(self: &Arc<Self>, root: &RootRow, name: &[u8]) -> Result<bool, Hindered> {
        let Some(place) = self.place_of(root, name).await? else { return Ok(false) };
        let known = Known::read(&self.engine.get(&place.rows()).await.map_err(Fault::from)?)?;
        let wanted = known.wanted();
        if known.intent.is_none() && wanted.is_none() {
            return Ok(false);
        }
        // Nothing is written into an empty folder where the tree should be mounted.
        let claimed = place.open.note(place.open.claim(&self.id).await);
        claimed.map_err(|error| Hindered::Later(format!("silo `{}`: {error}", place.open.row.name)))?;
        if let Some(intent) = known.intent {
            return self.take_up(&place, intent).await.map(|()| true);
        }
        match wanted {
            None => Ok(false),
            Some(Wanted::Bring(version)) => self.bring(&place, &known, version).await,
            Some(Wanted::Take) => self.take_out(&place, &known).await,
        }
    }

    async fn place_of(&self, root: &RootRow, name: &[u8]) -> Result<Option<Place>, Hindered> {
        let Ok(key) = root.info.order.key_of(name) else { return Ok(None) };
        let Some(bucket) = self.bucket_of(root).await? else { return Ok(None) };
        let (open, holdings) = self.silo_of(root)?;
        let Some(tree) = open.projections.clone() else { return Ok(None) };
        Ok(Some(Place { root: root.clone(), bucket, key, name: name.to_owned(), open, holdings, tree }))
    }

    async fn bring(self: &Arc<Self>, place: &Place, known: &Known, version: Number) -> Result<bool, Hindered> {
        place.note(place.tree.may_be(&place.name).await)?;
        if self.lies_there(place, known).await? {
            return Ok(false);
        }
        let held = self.there(place).await?;
        let base = self.base_of(place, known.name.as_ref(), held.as_ref()).await?;
        let opened = self.open_current(&place.bucket, &place.key).await;
        let Some(opened) = opened.map_err(Hindered::from)?.filter(|opened| opened.row.version == version) else {
            return Ok(true);
        };
        let size = opened.object.size;
        if let Some(held) = held.filter(|held| base.is_none() && held.size == size && size <= PROJECTION_READ) {
            let there = self.digest_there(place, &held).await?;
            let ours = digest_of(Ok(opened.bytes(0..size).await?.map_err(SiloError::not_done).boxed())).await;
            if let (Some(digest), Ok(Some(ours))) = (there, ours)
                && digest == ours
            {
                return self
                    .adopt_there(place, known, &held, NameState::Shown { version, digest })
                    .await
                    .map(|()| true);
            }
        }
        let (hasher, staging) = (Arc::new(Mutex::new(Hasher::new())), opened.bytes(0..size).await?);
        let hashed = Arc::clone(&hasher);
        let body = staging.map(move |piece| match piece {
            Ok(piece) => {
                hashed.lock().expect("no holder panics").update(&piece);
                Ok(piece)
            }
            Err(fault) => Err(BodyError { reason: fault.to_string() }),
        });
        let file = Staging { body: body.boxed(), size, modified: opened.object.modified, name: place.name.clone() };
        let (number, staged) = self.stage(place, Some(file)).await?;
        let staged = staged.map(|validator| validator.0).unwrap_or_default();
        place.open.note_written(size);
        let digest = *hasher.lock().expect("no holder panics").finalize().as_bytes();
        self.intend(place, known, number, Task::Bring { version, staged, digest }, base).await
    }

    /// Makes an attempt's folder, and stages a file in it.
    async fn stage(&self, place: &Place, file: Option<Staging>) -> Result<(Unfinished, Option<Validator>), Hindered> {
        let number = self.session().take();
        let at = first(&number);
        match place.open.note(place.tree.stage(at, file).await) {
            Ok(staged) => Ok((number, staged)),
            Err(error) => {
                // One that was there before is not ours.
                if error != SiloError::Exists {
                    self.abandon(place, at).await;
                }
                Err(place.failed(&error))
            }
        }
    }

    /// Whether a version has no bytes in the tree that anybody may still read: each of its extents was moved for itself.
    async fn has_left(&self, place: &Place, current: &ObjectRow) -> Result<bool, Fault> {
        let Data::Slices(slices) = &current.data else { return Ok(true) };
        let extents: Vec<Key> = slices.iter().map(|slice| extent(slice.extent)).collect();
        for row in self.engine.get(&extents).await? {
            let row: Option<ExtentRow> = decode_row(row.as_ref())?;
            if !row.is_some_and(|row| row.verified().next().is_some() && !row.lies_in(place.root.silo)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the version's bytes are what others put there under this name: a pass makes its row.
    async fn lies_there(&self, place: &Place, known: &Known) -> Result<bool, Fault> {
        let Some(Data::Slices(slices)) = known.current.as_ref().map(|row| &row.data) else { return Ok(false) };
        let Some(first) = slices.first() else { return Ok(false) };
        let row: Option<ExtentRow> = decode_row(self.engine.get(&[extent(first.extent)]).await?[0].as_ref())?;
        let replica = row.as_ref().and_then(|row| row.verified_in(place.root.silo));
        Ok(replica.is_some_and(|replica| match &replica.location {
            Location::InPlace { name, .. } => *name == place.name,
            Location::Blob(_) | Location::Pack { .. } => false,
        }))
    }

    async fn take_out(self: &Arc<Self>, place: &Place, known: &Known) -> Result<bool, Hindered> {
        if let Some(current) = &known.current
            && !self.has_left(place, current).await?
        {
            return Ok(false);
        }
        let held = match place.open.note(place.holdings.look(&place.name).await) {
            Ok(held) => held,
            Err(SiloError::Missing) => return self.forget_taken(place, known).await,
            Err(error) => return Err(place.failed(&error)),
        };
        let Some(base) = self.base_of(place, known.name.as_ref(), Some(&held)).await? else {
            // What is not what was seen is followed: that is no longer what was deleted.
            self.look_soon(place);
            return Ok(false);
        };
        let (number, _) = self.stage(place, None).await?;
        self.intend(place, known, number, Task::Take, Some(base)).await
    }

    /// Others took away what was to go. It was the tree: its folder of attempts is there.
    async fn forget_taken(&self, place: &Place, known: &Known) -> Result<bool, Hindered> {
        place.note(place.tree.attempts().await)?;
        let row = gone(place.root.silo, &place.name, known.current.as_ref(), known.name.as_ref(), false);
        self.commit_as_known(place, known, row.into_iter().collect(), None).await
    }

    /// What has the name.
    async fn there(&self, place: &Place) -> Result<Option<Held>, Hindered> {
        match place.open.note(place.holdings.look(&place.name).await) {
            Ok(held) => Ok(Some(held)),
            // What is no file is found out by whoever puts one in its place.
            Err(SiloError::Missing | SiloError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(place.failed(&error)),
        }
    }

    /// What is known to be there; none where that is not there any more.
    async fn base_of(
        &self,
        place: &Place,
        row: Option<&NameRow>,
        held: Option<&Held>,
    ) -> Result<Option<Base>, Hindered> {
        let (Some(row), Some(held)) = (row, held) else { return Ok(None) };
        let seen = Validator(row.validator.clone());
        match row.state {
            NameState::Shown { digest, .. } if place.holdings.same_file(&seen, &held.validator) => {
                return Ok(Some(Base { validator: seen.0, digest: Some(digest) }));
            }
            NameState::Made(_) | NameState::Moved(_) if held.validator == seen => {}
            _ => return Ok(None),
        }
        if held.size > PROJECTION_READ {
            return Ok(Some(Base { validator: row.validator.clone(), digest: None }));
        }
        let digest = self.digest_there(place, held).await?;
        Ok(digest.map(|digest| Base { validator: row.validator.clone(), digest: Some(digest) }))
    }

    /// The digest of what has the name; none where that was changed meanwhile.
    async fn digest_there(&self, place: &Place, held: &Held) -> Result<Option<[u8; 32]>, Hindered> {
        let opened = place.holdings.read(&place.name, held.size, &held.validator, 0..held.size).await;
        match place.open.note(digest_of(opened).await) {
            Ok(digest) => Ok(digest),
            Err(SiloError::Missing | SiloError::Mismatch { .. }) => Ok(None),
            Err(error) => Err(place.failed(&error)),
        }
    }

    /// The tree has the version's bytes under its name already: nothing is written.
    async fn adopt_there(&self, place: &Place, known: &Known, held: &Held, state: NameState) -> Result<(), Hindered> {
        let row = NameRow { validator: held.validator.0.clone(), state };
        let write = Write::Put(name_key(place.root.silo, &place.name), encode(&row));
        self.commit_as_known(place, known, vec![write], None).await.map(drop)
    }

    /// Commits if the rows are as they were known and the root stands. Answers whether they were.
    async fn commit_as_known(
        &self,
        place: &Place,
        known: &Known,
        writes: Vec<Write>,
        number: Option<Unfinished>,
    ) -> Result<bool, Hindered> {
        let (rows_read, root) = (place.rows(), root_key(place.root.info.id));
        let reads = rows_read.iter().cloned().chain([root.clone()]).map(Read::Row).collect();
        let (version, name) = (known.current.as_ref().map(|row| row.version), known.name.clone());
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let _held = &number;
            let [current, named, intent] = &rows_read;
            let current: Option<ObjectRow> = decode_row(rows.get(current))?;
            let same = current.map(|row| row.version) == version
                && decode_row::<NameRow>(rows.get(named))? == name
                && rows.get(intent).is_none()
                && rows.get(&root).is_some();
            Ok((if same { writes.clone() } else { Vec::new() }, same))
        };
        Ok(settled(self.session().commit(reads, decide).await)?)
    }

    /// Writes down what is staged, and does it.
    async fn intend(
        self: &Arc<Self>,
        place: &Place,
        known: &Known,
        number: Unfinished,
        task: Task,
        base: Option<Base>,
    ) -> Result<bool, Hindered> {
        crate::failpoint!("projection-staged");
        let at = first(&number);
        let intent = IntentRow { at, session: self.session().id, task, base };
        let write = Write::Put(intent_key(place.root.silo, &place.name), encode(&intent));
        // After a lost answer the row says whether it is there; whoever finds it takes it up.
        if !self.commit_as_known(place, known, vec![write], Some(number)).await? {
            self.abandon(place, at).await;
            return Ok(true);
        }
        crate::failpoint!("projection-intended");
        let done = match &intent.task {
            Task::Bring { staged, .. } => place.tree.bring(at, &Validator(staged.clone()), &place.name).await,
            Task::Take => place.tree.take(at, &place.name).await,
        };
        crate::failpoint!("projection-done");
        if crate::seeded_bug!("projection-slow") || crate::seeded_bug!("projection-echo") {
            // Others have their turn before it is concluded.
            self.clock.sleep(std::time::Duration::from_secs(2)).await;
        }
        match place.open.note(done) {
            Ok(()) => self.conclude(place, intent).await.map(|()| true),
            Err(SiloError::Mismatch { reason }) => {
                self.conclude(place, intent).await?;
                Err(Hindered::Never(reason))
            }
            Err(error) => Err(place.failed(&error)),
        }
    }

    /// Goes on with an attempt that nobody is at work on.
    async fn take_up(self: &Arc<Self>, place: &Place, before: IntentRow) -> Result<(), Hindered> {
        let me = self.session().id;
        let at_work = live_sessions(&*self.engine).await?.into_iter().any(|(session, _)| session == before.session);
        if before.session != me && at_work {
            return Err(Hindered::Later("another gateway is at work on it".to_owned()));
        }
        let at = Attempt { owner: before.at.owner + 1, ..before.at };
        let intent = IntentRow { at, session: me, ..before.clone() };
        let mine = Write::Put(intent_key(place.root.silo, &place.name), encode(&intent));
        if !self.commit_as_intended(place, &before, move |_| Ok(vec![mine.clone()])).await? {
            return Ok(());
        }
        crate::failpoint!("projection-taken-over");
        if !place.note(place.tree.take_over(at).await)? {
            // Somebody removed the attempt's folder: what has the name says whether it was done.
            let held = self.there(place).await?;
            let now = held.map(|held| held.validator);
            let now = now.filter(|now| intent.staged().is_some_and(|staged| place.holdings.same_file(now, &staged)));
            let outcome = Outcome { came: None, is_in: now.is_some(), now };
            return self.close_attempt(place, &intent, Judged { outcome, came: None, given_back: false }).await;
        }
        let staged = intent.staged();
        let outcome = place.note(place.tree.look(at, &place.name, staged.as_ref()).await)?;
        // Half of an exchange in two steps.
        if let Some(staged) = staged.filter(|_| outcome.came.is_some() && !outcome.is_in) {
            match place.open.note(place.tree.bring(at, &staged, &place.name).await) {
                Ok(()) | Err(SiloError::Mismatch { .. }) => {}
                Err(error) => return Err(place.failed(&error)),
            }
        }
        self.conclude(place, intent).await
    }

    /// Commits if the intent is as it was written last. Answers whether it was.
    async fn commit_as_intended(
        &self,
        place: &Place,
        intent: &IntentRow,
        writes: impl Fn(&Rows) -> Result<Vec<Write>, Fault> + Send + Sync + 'static,
    ) -> Result<bool, Hindered> {
        let (rows_read, mine) = (place.rows(), intent.clone());
        let reads = rows_read.iter().cloned().map(Read::Row).collect();
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let same = decode_row::<IntentRow>(rows.get(&rows_read[2]))?.as_ref() == Some(&mine);
            Ok((if same { writes(rows)? } else { Vec::new() }, same))
        };
        Ok(settled(self.session().commit(reads, decide).await)?)
    }

    /// Looks at what came out, and says by one commit what became of the attempt.
    async fn conclude(self: &Arc<Self>, place: &Place, intent: IntentRow) -> Result<(), Hindered> {
        let staged = intent.staged();
        let outcome = place.note(place.tree.look(intent.at, &place.name, staged.as_ref()).await)?;
        let came = match &outcome.came {
            Some(came) => Some(self.judge(place, &intent, came).await?),
            None => None,
        };
        let taken_from_others = intent.task == Task::Take && came == Some(Came::Foreign);
        let mut judged = Judged { outcome, came, given_back: false };
        if taken_from_others && place.note(place.tree.give(intent.at, staged.as_ref(), &place.name).await)? {
            judged = Judged { came: None, given_back: true, ..judged };
        }
        crate::failpoint!("projection-looked");
        self.close_attempt(place, &intent, judged).await
    }

    async fn judge(&self, place: &Place, intent: &IntentRow, came: &Validator) -> Result<Came, Hindered> {
        let opened = place.tree.read(intent.at, came, intent.staged().as_ref()).await;
        let digest = match place.open.note(digest_of(opened).await) {
            Ok(digest) => digest,
            // Others write to it at this moment, or it is no file.
            Err(SiloError::Mismatch { .. }) => return Ok(Came::Foreign),
            Err(error) => return Err(place.failed(&error)),
        };
        let same_file = |base: &Base| place.holdings.same_file(&Validator(base.validator.clone()), came);
        Ok(judge(intent, same_file, digest))
    }

    async fn close_attempt(&self, place: &Place, intent: &IntentRow, judged: Judged) -> Result<(), Hindered> {
        let (silo, name) = (place.root.silo, place.name.clone());
        let [current, named, key] = place.rows();
        let mut writes = vec![Write::Delete(key)];
        let Judged { outcome, came, given_back } = judged;
        let mut went = false;
        match (&intent.task, outcome.is_in) {
            (Task::Bring { version, staged, digest }, true) => {
                let validator = outcome.now.map_or_else(|| staged.clone(), |now| now.0);
                let state = NameState::Shown { version: *version, digest: *digest };
                writes.push(Write::Put(named.clone(), encode(&NameRow { validator, state })));
            }
            // What was known is there no more.
            _ => went = came.is_some() || given_back,
        }
        if let (Some(came), Some(validator)) = (came, &outcome.came) {
            let state = if came == Came::Foreign { OutState::Conflict } else { OutState::Trash };
            let staged = intent.staged().map(|staged| staged.0);
            let (at, since) = (intent.at, self.clock.now());
            let row = OutRow { at, name: name.clone(), staged, validator: validator.0.clone(), since, state };
            writes.push(Write::Put(out(silo, at.number), encode(&row)));
        }
        if crate::seeded_bug!("projection-strict") && !self.is_still_wanted(place, intent).await? {
            writes.truncate(1);
        }
        let writes = move |rows: &Rows| {
            let (current, known) = (decode_row(rows.get(&current))?, decode_row(rows.get(&named))?);
            let gone = went.then(|| gone(silo, &name, current.as_ref(), known.as_ref(), given_back));
            Ok(writes.iter().cloned().chain(gone.flatten()).collect())
        };
        if !self.commit_as_intended(place, intent, writes).await? {
            return Err(Hindered::Later("another gateway took it over".to_owned()));
        }
        crate::failpoint!("projection-committed");
        self.stats.add(|all| {
            all.projections += u64::from(outcome.is_in || given_back || came.is_some());
            all.conflicts += u64::from(came == Some(Came::Foreign));
        });
        if came == Some(Came::Foreign) {
            tracing::warn!(silo = %place.open.row.name, name = %String::from_utf8_lossy(&place.name), "what others wrote is kept beside what S3 wrote");
            self.projecting.settle_soon();
        }
        if came.is_none() {
            self.abandon(place, intent.at).await;
        }
        // What others did meanwhile counted for nothing.
        self.look_soon(place);
        Ok(())
    }

    /// Whether what is brought is still the current version. For a seeded bug alone.
    async fn is_still_wanted(&self, place: &Place, intent: &IntentRow) -> Result<bool, Fault> {
        let [current, ..] = place.rows();
        let current: Option<ObjectRow> = decode_row(self.engine.get(&[current]).await?[0].as_ref())?;
        let current = current.map(|row| row.version);
        Ok(matches!(&intent.task, Task::Bring { version, .. } if current == Some(*version)))
    }

    /// Removes an attempt's folder; one that stays is found as an orphan.
    async fn abandon(&self, place: &Place, at: Attempt) {
        if let Err(error) = place.open.note(place.tree.discard(at).await) {
            tracing::debug!(%at, %error, "an attempt's folder stays for now");
        }
    }

    fn look_soon(&self, place: &Place) {
        self.touch(place.root.info.id, &place.root.info.order, &[Touched::Name(place.name.clone())]);
    }
}

/// What is known of a name whose file was taken out: that a key stays without one, or nothing. What was given back to a key
/// that stays is seen to be another than the one that is known.
fn gone(
    silo: SiloId,
    name: &[u8],
    current: Option<&ObjectRow>,
    known: Option<&NameRow>,
    given_back: bool,
) -> Option<Write> {
    let row = name_key(silo, name);
    match (current, known.and_then(NameRow::version)) {
        (Some(current), Some(version)) if current.version == version => {
            let moved = NameRow { validator: String::new(), state: NameState::Moved(version) };
            (!given_back).then(|| Write::Put(row, encode(&moved)))
        }
        _ => Some(Write::Delete(row)),
    }
}

/// The attempt of a number, as whoever took the number begins it.
fn first(number: &Unfinished) -> Attempt {
    Attempt { number: (number.number.session, number.number.number), owner: 1 }
}

/// The digest of all pieces; none where they are too many.
async fn digest_of(opened: Result<Pieces, SiloError>) -> Result<Option<[u8; 32]>, SiloError> {
    let (mut pieces, mut hasher, mut size) = (opened?, Hasher::new(), 0);
    while let Some(piece) = pieces.try_next().await? {
        size += piece.len() as u64;
        if size > PROJECTION_READ {
            return Ok(None);
        }
        hasher.update(&piece);
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}
