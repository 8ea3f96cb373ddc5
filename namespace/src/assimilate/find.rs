//! What requests need before a root was passed: one key is looked for, a list waits.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use holdall_silos::SiloError;
use holdall_silos::holdings::{Held, Holdings};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::Changes;
use super::dirty::Dirty;
use super::hash::Hashed;
use super::queue::Notifications;
use super::take::{New, attributes_of};
use super::touch::Taken;
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{Priority, Read, Rows};
use crate::extent::{Location, Replica, SiloId};
use crate::fault::Fault;
use crate::inventory::OpenSilo;
use crate::limits::{ABSENT, ABSENT_KEPT, LIST_ASK, LIST_LOOK, LIST_PATIENCE, LOOK_PATIENCE, LOOKS_AT_ONCE};
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::session::Uncommitted;
use crate::table::decode_row;
use crate::table::extents::{ExtentRow, extent};
use crate::table::names::{NameRow, name as name_key};
use crate::table::objects::{Data, ObjectRow, object, store};
use crate::table::roots::{RootId, RootRow};
use crate::table::tag::Tag;

/// A name of a root.
type Name = (RootId, String);

/// How new the answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sought {
    /// What was not there lately is not there.
    Lately,
    /// It is looked for now: something is decided by it.
    Now,
}

/// What a gateway keeps in memory of its roots. Locks are held for a few instructions.
pub(crate) struct Looking {
    /// There is something to pass.
    pub(super) wanted: Notify,
    /// Prefixes that lists wait for.
    pub(super) asked: Mutex<VecDeque<Name>>,
    /// What is passed here now: whole roots under an empty prefix.
    pub(super) passing: Mutex<HashSet<Name>>,
    /// Roots whose last pass broke off, and until when they are left alone.
    pub(super) resting: Mutex<HashMap<RootId, Duration>>,
    /// Passes that broke off here, by root.
    pub(super) broken: Mutex<HashMap<RootId, u64>>,
    /// Names that somebody looks for now.
    looks: Mutex<HashMap<Name, Arc<tokio::sync::Mutex<()>>>>,
    /// Names that were not there, and until when that is believed.
    absent: Mutex<HashMap<Name, Duration>>,
    /// How many names more may be looked for, by silo.
    at_once: Mutex<HashMap<SiloId, Arc<Semaphore>>>,
    /// Passes that make objects whose headers are asked for later, by root.
    pub(super) in_part: Mutex<HashMap<RootId, usize>>,
    /// Names that may have changed.
    pub(super) dirty: Mutex<Dirty>,
    /// There are such.
    pub(super) touched: Notify,
    /// How much was taken away lately.
    pub(super) taken: Mutex<HashMap<RootId, Taken>>,
    /// How changes are seen.
    pub(super) changes: Mutex<HashMap<RootId, Changes>>,
    /// When somebody told of changes of a silo last.
    pub(super) told: Mutex<HashMap<SiloId, UnixMs>>,
    /// Queues of notifications that cannot be asked, and why.
    pub(super) silent: Mutex<Vec<(Notifications, String)>>,
    /// Bytes a second at which checksums are made; 0 is not at all.
    pub(super) hash_rate: AtomicU64,
    /// Something may have no checksums.
    pub(super) unhashed: Notify,
    /// How much of each root has checksums.
    pub(super) hashed: Mutex<HashMap<RootId, Hashed>>,
}

impl Default for Looking {
    fn default() -> Self {
        Self {
            wanted: Notify::new(),
            asked: Mutex::default(),
            passing: Mutex::default(),
            resting: Mutex::default(),
            broken: Mutex::default(),
            looks: Mutex::default(),
            absent: Mutex::default(),
            at_once: Mutex::default(),
            in_part: Mutex::default(),
            dirty: Mutex::default(),
            touched: Notify::new(),
            taken: Mutex::default(),
            changes: Mutex::default(),
            told: Mutex::default(),
            silent: Mutex::default(),
            hash_rate: AtomicU64::new(0),
            unhashed: Notify::new(),
            hashed: Mutex::default(),
        }
    }
}

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}

impl Looking {
    fn is_absent(&self, name: &Name, now: Duration) -> bool {
        held(&self.absent).get(name).is_some_and(|until| now < *until)
    }

    fn note_absent(&self, name: Name, now: Duration) {
        let mut absent = held(&self.absent);
        if absent.len() >= ABSENT_KEPT {
            absent.retain(|_, until| now < *until);
        }
        if absent.len() < ABSENT_KEPT {
            absent.insert(name, now + ABSENT);
        }
    }
}

/// What a look at a name found.
enum Look {
    Held(Held),
    Missing,
    /// It is there, and cannot be read as it is.
    Archived,
}

impl Core {
    /// The root that a key of a bucket would come from.
    pub(super) fn root_of(&self, bucket: &Bucket, key: &ObjectKey) -> Option<(RootRow, String)> {
        let inventory = self.inventory();
        let mut roots = inventory.roots.iter().filter(|row| row.bucket == bucket.incarnation);
        roots.find_map(|row| Some((row.clone(), row.info.order.name_of(key.as_str())?)))
    }

    /// The silo of a root, and what others put there.
    pub(crate) fn silo_of(&self, root: &RootRow) -> Result<(Arc<OpenSilo>, Arc<dyn Holdings>), Fault> {
        self.holdings_of(root.silo)
    }

    fn holdings_of(&self, silo: SiloId) -> Result<(Arc<OpenSilo>, Arc<dyn Holdings>), Fault> {
        let open = Arc::clone(self.inventory().silo(silo)?);
        let holdings = open.holdings.clone();
        let holdings = holdings.ok_or_else(|| Fault::Unavailable(format!("silo `{}` is ours", open.row.name)))?;
        Ok((open, holdings))
    }

    /// Looks for a key without a row in the silo it may lie in, once, unless it was passed already. Answers whether there
    /// may be something new to be read.
    pub(crate) async fn seek(&self, bucket: &Bucket, key: &ObjectKey, sought: Sought) -> Result<bool, Fault> {
        let Some((known, name)) = self.root_of(bucket, key) else { return Ok(false) };
        if known.info.has_seen(&name) {
            return Ok(false);
        }
        let Some(root) = self.root_row(known.info.id).await?.filter(|row| !row.info.has_seen(&name)) else {
            return Ok(true);
        };
        if self.known_name(root.silo, name.as_bytes()).await?.is_some() {
            return Ok(true);
        }
        let which = (root.info.id, name.clone());
        let alone = Arc::clone(held(&self.looking.looks).entry(which.clone()).or_default());
        let outcome = {
            let _alone = alone.lock().await;
            self.seek_alone(&root, bucket, key, &which, sought).await
        };
        drop(alone);
        held(&self.looking.looks).retain(|_, alone| Arc::strong_count(alone) > 1);
        outcome
    }

    /// What is known of a name.
    pub(super) async fn known_name(&self, silo: SiloId, name: &[u8]) -> Result<Option<NameRow>, Fault> {
        decode_row(self.engine.get(&[name_key(silo, name)]).await?[0].as_ref())
    }

    async fn seek_alone(
        &self,
        root: &RootRow,
        bucket: &Bucket,
        key: &ObjectKey,
        which: &Name,
        sought: Sought,
    ) -> Result<bool, Fault> {
        if self.known_name(root.silo, which.1.as_bytes()).await?.is_some() {
            return Ok(true);
        }
        if sought == Sought::Lately && self.looking.is_absent(which, self.clock.monotonic()) {
            return Ok(false);
        }
        let Some(found) = self.look_in(root, which.1.as_bytes()).await? else {
            self.looking.note_absent(which.clone(), self.clock.monotonic());
            return Ok(false);
        };
        if root.info.order.key_for(&found).is_err() {
            return Ok(false);
        }
        let new = New { key: key.clone(), held: found, before: None };
        self.take_new(Priority::Foreground, root, bucket, vec![new]).await?;
        Ok(true)
    }

    /// Looks at a name; none where there is nothing that can be read.
    pub(super) async fn look_in(&self, root: &RootRow, name: &[u8]) -> Result<Option<Held>, Fault> {
        self.look_at_name(root.silo, name).await
    }

    /// Each silo is asked for so many names at once, whatever becomes of the others; whoever waits too long is told so.
    async fn turn(&self, open: &OpenSilo) -> Result<OwnedSemaphorePermit, Fault> {
        let at_once = {
            let mut all = held(&self.looking.at_once);
            Arc::clone(all.entry(open.id).or_insert_with(|| Arc::new(Semaphore::new(LOOKS_AT_ONCE))))
        };
        tokio::select! {
            biased;
            turn = at_once.acquire_owned() => Ok(turn.expect("it is never closed")),
            () = self.clock.sleep(LOOK_PATIENCE) => {
                Err(Fault::Unavailable(format!("silo `{}` is busy with other names", open.row.name)))
            }
        }
    }

    async fn look_at_name(&self, silo: SiloId, name: &[u8]) -> Result<Option<Held>, Fault> {
        Ok(match self.look_closely(silo, name).await? {
            Look::Held(held) => Some(held),
            Look::Missing | Look::Archived => None,
        })
    }

    async fn look_closely(&self, silo: SiloId, name: &[u8]) -> Result<Look, Fault> {
        let (open, holdings) = self.holdings_of(silo)?;
        let _turn = self.turn(&open).await?;
        match open.note(holdings.look(name).await) {
            Ok(held) => Ok(Look::Held(held)),
            // Nothing lies in an empty folder in the silo's place.
            Err(SiloError::Missing) => {
                let stands = open.note(open.claim(&self.id).await);
                stands.map(|()| Look::Missing).map_err(|error| crate::store::silo_failed(&open, &error))
            }
            Err(SiloError::Mismatch { .. }) => Ok(Look::Archived),
            Err(error) => Err(match crate::store::silo_failed(&open, &error) {
                Fault::Unavailable(failed) => Fault::Unavailable(format!("{failed}: {error}")),
                fault => fault,
            }),
        }
    }

    /// Waits until all keys that a list may show were seen; an error after a while, since half a list is none.
    pub(crate) async fn all_seen(&self, bucket: &Bucket, prefix: &str) -> Result<(), Fault> {
        let inventory = self.inventory();
        for root in inventory.roots.iter().filter(|row| row.bucket == bucket.incarnation) {
            if let Some(names) = root.info.concerned(bucket, prefix).filter(|names| !root.info.has_seen_all(names)) {
                self.wait_seen(root.info.id, &names).await?;
            }
        }
        Ok(())
    }

    async fn wait_seen(&self, id: RootId, names: &str) -> Result<(), Fault> {
        let (began, mut asked) = (self.clock.monotonic(), None::<Duration>);
        loop {
            let Some(row) = self.root_row(id).await?.filter(|row| !row.info.has_seen_all(names)) else {
                return Ok(());
            };
            let now = self.clock.monotonic();
            let unheard = asked.is_none_or(|asked| now.saturating_sub(asked) > LIST_ASK);
            if names.len() > row.info.order.prefix.len() && unheard {
                held(&self.looking.asked).push_back((id, names.to_owned()));
                self.looking.wanted.notify_one();
                asked = Some(now);
            }
            if now.saturating_sub(began) > LIST_PATIENCE {
                return Err(Fault::Unavailable(row.info.why_unseen(names)));
            }
            self.clock.sleep(LIST_LOOK).await;
        }
    }

    /// Asks for the headers and metadata of a version that a listing made.
    pub(crate) async fn fill_in(&self, bucket: &Bucket, key: &ObjectKey, row: &ObjectRow) -> Result<(), Fault> {
        if self.try_fill(bucket, key, row).await? {
            return Ok(());
        }
        Err(Fault::Unavailable(format!("what `{key}` was made of is gone, and its headers with it")))
    }

    /// The same; false where there is nothing any more that could be asked.
    pub(super) async fn try_fill(&self, bucket: &Bucket, key: &ObjectKey, row: &ObjectRow) -> Result<bool, Fault> {
        let Some((root, name)) = self.root_of(bucket, key) else {
            let original = self.look_at_original(row).await?;
            return self.fill(bucket, key, row, original.as_ref()).await.map(|()| true);
        };
        let known = self.known_name(root.silo, name.as_bytes()).await?;
        let Some(held) = self.look_in(&root, name.as_bytes()).await? else {
            return Ok(false);
        };
        match known {
            Some(before) if before.validator != held.validator.0 => {
                self.follow_changed(&root, bucket, key, &held, &before).await.map(|_| true)
            }
            _ => self.fill(bucket, key, row, Some(&held)).await.map(|()| true),
        }
    }

    /// What a version lies in, where it does and is what it was: its root was forgotten.
    async fn look_at_original(&self, row: &ObjectRow) -> Result<Option<Held>, Fault> {
        let Data::Slices(slices) = &row.data else { return Ok(None) };
        let Some(slice) = slices.first() else { return Ok(None) };
        let of: Option<ExtentRow> = decode_row(self.engine.get(&[extent(slice.extent)]).await?[0].as_ref())?;
        let places = of.into_iter().flat_map(|of| of.replicas);
        for Replica { silo, location, .. } in places {
            let Location::InPlace { name, validator, .. } = location else { continue };
            match self.look_closely(silo, &name).await? {
                Look::Held(held) if held.validator.0 == validator => return Ok(Some(held)),
                Look::Held(_) | Look::Missing => {}
                Look::Archived => {
                    let name = String::from_utf8_lossy(&name);
                    return Err(Fault::Unavailable(format!("`{name}` is archived, and its headers with it")));
                }
            }
        }
        Ok(None)
    }

    async fn fill(&self, bucket: &Bucket, key: &ObjectKey, row: &ObjectRow, held: Option<&Held>) -> Result<(), Fault> {
        let attributes = held.map(attributes_of).unwrap_or_default();
        let filled = ObjectRow { etag: Tag::Foreign { text: row.etag.text(), whole: true }, ..row.clone() };
        let (name, version) = (object(bucket.incarnation, key), row.version);
        let reads = vec![Read::Row(name.clone())];
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let current: Option<ObjectRow> = decode_row(rows.get(&name))?;
            let same = current.is_some_and(|current| current.version == version && current.etag.is_in_part());
            let writes = if same { store(name.clone(), filled.clone(), attributes.clone()) } else { Vec::new() };
            Ok((writes, ()))
        };
        match self.session().commit(reads, decide).await {
            // After a lost answer it is read again.
            Ok(()) | Err(Uncommitted::Unknown) => Ok(()),
            Err(Uncommitted::Refused(fault) | Uncommitted::Fault(fault)) => Err(fault),
        }
    }
}
