//! Projections: under a read-write root, what S3 writes and deletes reaches the tree of others, after the client was answered.
//!
//! A name's row says which version it follows or shows; where that is not the key's current one, the tree lacks something,
//! and whoever finds that, by the commit that did it or by an audit of all rows, makes an *attempt*. What is brought in
//! changes places with what has the name, and what came out is looked at before it goes.
//!
//! **Who wins.** The last writer to reach the tree. A PUT reaches it when its file takes its name: what others wrote there
//! and nobody saw gets a name beside it, and becomes an object under that. A DELETE takes only what was seen: any other file
//! gets its name back, and is a new object. The version that S3 shows keeps bytes of our own, whatever happens to its file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdall_silos::projections::Attempt;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use self::attempt::Hindered;
use self::queue::Queue;
use crate::assimilate::{AssimilateError, Noted, held};
use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::engine::{self, Key, Priority, Rows, Write};
use crate::extent::SiloId;
use crate::fault::Fault;
use crate::inventory::Health;
use crate::limits::{
    LIST_PAGE, PROJECTION_BEAT, PROJECTION_REST, PROJECTION_REST_AT_MOST, PROJECTIONS_AT_ONCE, PROJECTIONS_KEPT,
    SETTLE_OUT, SETTLE_THOROUGHLY, STUCK_KEPT,
};
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::table::objects::object;
use crate::table::projections::{IntentRow, OutRow, OutState, intents, out, outs, read_intent};
use crate::table::roots::{RootId, RootRow};
use crate::table::{after_prefix, decode, successor};

mod attempt;
mod audit;
mod decide;
mod queue;
mod settle;

/// A name of a root.
type Name = (RootId, Vec<u8>);

/// What a gateway keeps in memory of projections. Locks are held for a short while.
#[derive(Default)]
pub(crate) struct Projecting {
    wanted: Notify,
    queue: Mutex<Queue>,
    /// How long what could not be done is left alone.
    rests: Mutex<HashMap<Name, Duration>>,
    /// Something came out that needs no patience.
    settle: Mutex<bool>,
    /// What a tree cannot hold as it is.
    stuck: Mutex<HashMap<RootId, BTreeMap<Vec<u8>, String>>>,
    /// Roots whose rows were compared since they were passed, and files brought or taken since then.
    done: Mutex<HashMap<RootId, u64>>,
}

/// How far the tree of a root follows its keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Projected {
    /// All keys were looked at since the root was passed first: what does not wait and is not stuck is there.
    pub audited: bool,
    /// Files that this gateway brought there or took away.
    pub done: u64,
    /// Keys that this gateway is about to bring there, or to take away.
    pub waiting: u64,
    /// Keys that the tree cannot hold.
    pub stuck: u64,
    /// Some of them, and why.
    pub reasons: Vec<Noted>,
}

/// What others wrote at the same time as S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The number of the attempt that found it: `session-number`.
    pub id: String,
    /// The name that it had.
    pub name: String,
    /// The name that it has now; none where it has none yet.
    pub beside: Option<String>,
    /// When it was found.
    pub since: UnixMs,
}

impl Projecting {
    /// A name may not be in step with its key. False where no more is kept: the root is compared again later, from `key` on.
    pub(crate) fn want(&self, name: Name, key: &Key) -> bool {
        let (root, mut queue) = (name.0, held(&self.queue));
        let kept = queue.want(name, Duration::ZERO);
        if !kept {
            queue.audit(root, key.clone());
        }
        drop(queue);
        self.wanted.notify_one();
        kept
    }

    /// A root's rows are compared soon.
    pub(crate) fn audit(&self, root: RootId) {
        held(&self.queue).audit(root, Key::new());
        self.wanted.notify_one();
    }

    /// What could not be done is left alone, each time for twice as long.
    fn rest(&self, name: &Name) -> Duration {
        let mut rests = held(&self.rests);
        let rest = rests.get(name).map_or(PROJECTION_REST, |rest| (*rest * 2).min(PROJECTION_REST_AT_MOST));
        if rests.len() < PROJECTIONS_KEPT || rests.contains_key(name) {
            rests.insert(name.clone(), rest);
        }
        rest
    }

    fn settle_soon(&self) {
        *held(&self.settle) = true;
        self.wanted.notify_one();
    }

    fn note_stuck(&self, (root, name): &Name, reason: String) {
        let mut all = held(&self.stuck);
        let stuck = all.entry(*root).or_default();
        if stuck.len() < STUCK_KEPT || stuck.contains_key(name) {
            stuck.insert(name.clone(), reason);
        }
    }

    fn is_stuck(&self, (root, name): &Name) -> bool {
        held(&self.stuck).get(root).is_some_and(|stuck| stuck.contains_key(name))
    }

    fn free(&self, (root, name): &Name) {
        if let Some(stuck) = held(&self.stuck).get_mut(root) {
            stuck.remove(name);
        }
    }

    /// A root that is forgotten.
    pub(crate) fn forget(&self, root: RootId) {
        held(&self.queue).forget(root);
        held(&self.rests).retain(|(of, _), _| *of != root);
        held(&self.stuck).remove(&root);
        held(&self.done).remove(&root);
    }
}

impl Namespace {
    /// How far the tree of a root follows its keys, as far as this gateway knows.
    pub fn projected(&self, root: RootId) -> Projected {
        let projecting = &self.core.projecting;
        let done = held(&projecting.done).get(&root).copied();
        let queue = held(&projecting.queue);
        let (waiting, audited) = (queue.len(root) as u64, queue.is_audited(root));
        drop(queue);
        let all = held(&self.core.projecting.stuck);
        let stuck = all.get(&root);
        let reasons = stuck.into_iter().flatten().take(20);
        Projected {
            audited: done.is_some() && audited,
            done: done.unwrap_or_default(),
            waiting,
            stuck: stuck.map_or(0, BTreeMap::len) as u64,
            reasons: reasons.map(|(name, reason)| Noted::of(name, reason.clone())).collect(),
        }
    }

    /// What others wrote at the same time as S3 under the names of a root, and that is still there: at most `limit` after
    /// the one of this id.
    pub async fn conflicts(&self, id: RootId, after: &str, limit: usize) -> Result<Vec<Conflict>, AssimilateError> {
        let row = self.core.root_row(id).await?.ok_or(AssimilateError::NoSuchRoot(id))?;
        let (mut conflicts, mut all) = (Vec::new(), Outs::of(row.silo));
        if !after.is_empty() {
            let number = Attempt::number_of(after);
            let number = number.ok_or_else(|| AssimilateError::Invalid(format!("`{after}` ends no page")))?;
            all.at = Some(successor(&out(row.silo, number)));
        }
        while conflicts.len() < limit
            && let Some(page) = all.next(&self.core).await?
        {
            for out in page {
                let beside = match out.state {
                    OutState::Trash => continue,
                    OutState::Conflict => None,
                    OutState::Beside(name) => Some(String::from_utf8_lossy(&name).into_owned()),
                };
                let id = out.at.name();
                let name = String::from_utf8_lossy(&out.name).into_owned();
                if name.starts_with(&row.info.order.prefix) {
                    conflicts.push(Conflict { id, name, beside, since: out.since });
                }
            }
        }
        conflicts.truncate(limit);
        Ok(conflicts)
    }
}

/// What came out of a silo, a page at a time.
struct Outs {
    silo: SiloId,
    at: Option<Vec<u8>>,
}

impl Outs {
    fn of(silo: SiloId) -> Self {
        Self { silo, at: Some(outs(silo)) }
    }

    async fn next(&mut self, core: &Core) -> Result<Option<Vec<OutRow>>, Fault> {
        let Some(at) = self.at.take() else { return Ok(None) };
        let page = core.engine.range(at..after_prefix(&outs(self.silo)), LIST_PAGE, usize::MAX).await?;
        self.at = page.last().map(|(key, _)| successor(key));
        let rows: Vec<OutRow> = page.iter().map(|(_, row)| decode(row)).collect::<Result<_, Fault>>()?;
        Ok((!rows.is_empty()).then_some(rows))
    }
}

impl Core {
    /// Files that came out of a tree and wait there, and attempts under way.
    pub(crate) async fn kept_in_tree(&self, silo: SiloId) -> Result<usize, Fault> {
        let (mut count, mut all) = (self.intents(silo, "").await?.len(), Outs::of(silo));
        while let Some(page) = all.next(self).await? {
            count += page.iter().filter(|row| !matches!(row.state, OutState::Beside(_))).count();
        }
        Ok(count)
    }

    /// What is under way in a silo with names that start with `prefix`: no more than gateways do at once, and left undone.
    async fn intents(&self, silo: SiloId, prefix: &str) -> Result<Vec<(Vec<u8>, IntentRow)>, Fault> {
        let all = intents(silo, prefix.as_bytes());
        let page = self.engine.range(all.clone()..after_prefix(&all), usize::MAX, usize::MAX).await?;
        let name = |key: &[u8]| read_intent(key).ok_or_else(|| Fault::Damaged("an intent's key".to_owned()));
        page.iter().map(|(key, row)| Ok((name(key)?, decode(row)?))).collect()
    }

    /// Forgets what came out of a tree that is no silo any more: it has names there.
    pub(crate) async fn forget_outs(&self, silo: SiloId) -> Result<(), Fault> {
        let mut all = Outs::of(silo);
        while let Some(page) = all.next(self).await? {
            let writes: Vec<Write> = page.iter().map(|row| Write::Delete(out(silo, row.at.number))).collect();
            let decide = move |_: &Rows| Ok::<_, Fault>((writes.clone(), ()));
            engine::commit_as(&*self.engine, Priority::Background, Vec::new(), decide).await?;
        }
        Ok(())
    }

    /// A key was written or deleted: where it has a name in a tree of others, that follows.
    pub(crate) fn project_soon(&self, bucket: &Bucket, key: &ObjectKey) {
        let inventory = self.inventory();
        let mut roots = inventory.roots.iter().filter(|row| row.bucket == bucket.incarnation && row.info.order.write);
        if let Some((id, name)) = roots.find_map(|row| Some((row.info.id, row.info.order.name_of(key.as_str())?))) {
            let which = (id, name.into_bytes());
            self.projecting.free(&which);
            self.projecting.want(which, &Key::new());
        }
    }

    /// The root that is written to and has this name, and the row of its key.
    pub(crate) fn written_root_of(&self, silo: SiloId, name: &[u8]) -> Option<(RootId, Key)> {
        let inventory = self.inventory();
        let mut roots = inventory.roots.iter().filter(|row| row.silo == silo && row.info.order.write);
        roots.find_map(|row| Some((row.info.id, object(row.bucket, &row.info.order.key_of(name).ok()?))))
    }

    /// Brings trees of others in step with their keys, for ever.
    pub(crate) async fn project_forever(self: Arc<Self>) {
        let (mut attempts, mut audits, mut settling) = (JoinSet::new(), JoinSet::new(), JoinSet::new());
        let (mut audited, mut settled, mut rounds) = (HashSet::new(), Duration::ZERO, 0_u64);
        loop {
            tokio::select! {
                () = self.projecting.wanted.notified() => {}
                () = self.clock.sleep(PROJECTION_BEAT) => {}
                Some(ended) = attempts.join_next() => self.note_attempt(ended),
            }
            while let Some(ended) = attempts.try_join_next() {
                self.note_attempt(ended);
            }
            let roots = self.written_roots();
            audited.retain(|id| roots.contains_key(id));
            for id in roots.keys().filter(|id| audited.insert(**id)) {
                held(&self.projecting.queue).audit(*id, Key::new());
            }
            self.begin_audits(&roots, &mut audits);
            let now = self.clock.monotonic();
            let soon = std::mem::take(&mut *held(&self.projecting.settle));
            while settling.try_join_next().is_some() {}
            if settling.is_empty() && (soon || now.saturating_sub(settled) >= SETTLE_OUT) {
                (settled, rounds) = (now, rounds + 1);
                let (core, thorough) = (Arc::clone(&self), rounds.is_multiple_of(SETTLE_THOROUGHLY));
                settling.spawn(async move { core.settle_trees(thorough).await });
            } else if soon {
                *held(&self.projecting.settle) = true;
            }
            self.begin_attempts(&roots, now, &mut attempts);
        }
    }

    /// Roots that are written to.
    fn written_roots(&self) -> BTreeMap<RootId, RootRow> {
        let inventory = self.inventory();
        inventory.roots.iter().filter(|row| row.info.order.write).map(|row| (row.info.id, row.clone())).collect()
    }

    fn begin_audits(self: &Arc<Self>, roots: &BTreeMap<RootId, RootRow>, audits: &mut JoinSet<()>) {
        while audits.try_join_next().is_some() {}
        if !audits.is_empty() {
            return;
        }
        // One that died is over as well.
        held(&self.projecting.queue).end_audit();
        let begun = held(&self.projecting.queue).begin_audit();
        let Some((row, from)) = begun.and_then(|(id, from)| Some((roots.get(&id)?.clone(), from))) else { return };
        let core = Arc::clone(self);
        audits.spawn(async move {
            core.audit(&row, from).await;
            held(&core.projecting.queue).end_audit();
            core.projecting.wanted.notify_one();
        });
    }

    fn begin_attempts(
        self: &Arc<Self>,
        roots: &BTreeMap<RootId, RootRow>,
        now: Duration,
        attempts: &mut JoinSet<(Name, Result<bool, Hindered>)>,
    ) {
        let inventory = self.inventory();
        let is_up = |id: RootId| {
            let open = roots.get(&id).and_then(|row| inventory.silo(row.silo).ok());
            open.is_some_and(|open| open.health() == Health::Up)
        };
        let room = PROJECTIONS_AT_ONCE.saturating_sub(attempts.len());
        let names = held(&self.projecting.queue).take(now, is_up, room);
        for name in names {
            let (core, root) = (Arc::clone(self), roots[&name.0].clone());
            attempts.spawn(async move {
                let outcome = core.project(&root, &name.1).await;
                (name, outcome)
            });
        }
    }

    fn note_attempt(&self, ended: Result<(Name, Result<bool, Hindered>), tokio::task::JoinError>) {
        let now = self.clock.monotonic();
        let Ok((name, outcome)) = ended else { return held(&self.projecting.queue).died(now + PROJECTION_REST) };
        let again = match outcome {
            Ok(true) => {
                held(&self.projecting.rests).remove(&name);
                if let Some(done) = held(&self.projecting.done).get_mut(&name.0) {
                    *done += 1;
                }
                Some(Duration::ZERO)
            }
            Ok(false) => {
                held(&self.projecting.rests).remove(&name);
                self.projecting.free(&name);
                None
            }
            Err(Hindered::Later(reason)) => {
                tracing::debug!(name = %String::from_utf8_lossy(&name.1), reason, "a name is brought in step later");
                Some(now + self.projecting.rest(&name))
            }
            Err(Hindered::Never(reason)) => {
                if !self.projecting.is_stuck(&name) {
                    let (root, text) = (name.0, String::from_utf8_lossy(&name.1));
                    tracing::warn!(root, name = %text, reason, "a tree cannot hold a key");
                }
                self.projecting.note_stuck(&name, reason);
                None
            }
        };
        held(&self.projecting.queue).ended(name, again);
    }
}
