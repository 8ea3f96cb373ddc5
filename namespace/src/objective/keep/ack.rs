//! A write is answered once all copies that are wanted are durable. What is repeated meanwhile waits for the same copies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::bucket::Bucket;
use crate::engine::Key;
use crate::extent::Number;
use crate::fault::Fault;
use crate::job::{OrderError, Walk};
use crate::limits::{ACK_PATIENCE, ACKS_AT_ONCE, MAX_COPIES};
use crate::name::ObjectKey;
use crate::namespace::Core;
use crate::objective::Scope;
use crate::table::decode_row;
use crate::table::objects::{ObjectRow, object};

/// An object's row, and its version: what is written over is another one.
type Which = (Key, Number);

/// By which declaration all copies are durable, or why they are not.
type Brought = Result<i64, Fault>;

/// What becomes of an object that is under way; nothing yet where there is none.
type Telling = watch::Receiver<Option<Brought>>;

/// Versions that are under way to where they are wanted, each once. The lock is held for a few instructions.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<BTreeMap<Which, Telling>>);

/// A version on its way. Dropped, it is not any more, whatever became of it.
struct Bringing {
    core: Arc<Core>,
    which: Which,
    told: watch::Sender<Option<Brought>>,
}

impl Bringing {
    async fn go(self) {
        let object = &self.which.0;
        let brought = self.core.align_one(object).await;
        if brought.is_err() {
            self.core.keeping.changed(object.clone());
        }
        self.told.send_replace(Some(brought));
    }
}

impl Drop for Bringing {
    fn drop(&mut self) {
        self.core.keeping.under_way.0.lock().expect("no holder panics").remove(&self.which);
    }
}

impl Core {
    /// What was written without its bytes, a copy or an upload in parts, is brought where objectives want it: before it is answered, or
    /// soon.
    pub(crate) async fn align_written(
        self: &Arc<Self>,
        bucket: &Bucket,
        key: &ObjectKey,
        waits: bool,
    ) -> Result<(), Fault> {
        if waits && !crate::seeded_bug!("ack-of-puts-alone") {
            return self.align_now(bucket, key).await;
        }
        self.align_soon(bucket, key);
        Ok(())
    }

    /// Brings an object where objectives want it before its write is answered: in as many copies as they say. Where that cannot be,
    /// or takes too long, the object is there, in fewer, and whoever wrote it is told to try again. Goes on where nobody waits any more,
    /// and once for all who wait.
    pub(crate) async fn align_now(self: &Arc<Self>, bucket: &Bucket, key: &ObjectKey) -> Result<(), Fault> {
        let (row, asked) = (object(bucket.incarnation, key), self.inventory().revision);
        let aligned = async {
            // What was under way before may have been judged by what was declared before.
            while self.align_version(&row).await? < asked {}
            Ok(())
        };
        tokio::select! {
            biased;
            aligned = aligned => aligned,
            () = self.clock.sleep(ACK_PATIENCE) => Err(not_in_all("it takes too long")),
        }
    }

    /// Waits for the version that is there now, and begins where it is not under way.
    async fn align_version(self: &Arc<Self>, object: &Key) -> Brought {
        let row = self.engine.get(std::slice::from_ref(object)).await;
        let row = row.inspect_err(|_| self.keeping.changed(object.clone()))?.remove(0);
        // What is deleted is wanted nowhere.
        let Some(row) = decode_row::<ObjectRow>(row.as_ref())? else { return Ok(i64::MAX) };
        let (mut brought, begins) = self.under_way((object.clone(), row.version))?;
        if let Some(bringing) = begins {
            beside(bringing.go()).await;
        }
        let told = brought.wait_for(Option::is_some).await.ok().and_then(|told| told.clone());
        told.unwrap_or_else(|| Err(not_in_all("it broke off")))
    }

    /// What becomes of a version; with what is to be done for it, where it was not under way.
    fn under_way(self: &Arc<Self>, which: Which) -> Result<(Telling, Option<Bringing>), Fault> {
        let mut all = self.keeping.under_way.0.lock().expect("no holder panics");
        if let Some(telling) = all.get(&which) {
            return Ok((telling.clone(), None));
        }
        if all.len() >= ACKS_AT_ONCE {
            drop(all);
            self.keeping.changed(which.0);
            return Err(not_in_all("too many other writes wait for theirs"));
        }
        let (told, telling) = watch::channel(None);
        all.insert(which.clone(), telling.clone());
        Ok((telling, Some(Bringing { core: Arc::clone(self), which, told })))
    }

    async fn align_one(self: &Arc<Self>, object: &Key) -> Brought {
        let standing = self.stand_alone();
        for _ in 0..=2 * MAX_COPIES {
            // As few as objectives say, wherever silos are switched to.
            let inventory = self.inventory();
            inventory.refuse_unread()?;
            let (rules, revision) = (inventory.rules_without_switches(), inventory.revision);
            let judge = self.judge_by(inventory, rules, &Scope::default()).await?.for_a_write();
            let mut walk = Walk::one(judge, object.clone());
            let failed = standing.carry_out(self, &mut walk).await.map_err(fault_of)?.failed;
            let Some(outlook) = walk.told() else { break };
            if failed > 0 {
                return Err(not_in_all(&standing.info().error.unwrap_or_default()));
            }
            if outlook.moves.is_empty() || crate::seeded_bug!("ack-after-one") {
                let waits = outlook.waits.into_iter().next().filter(|_| !crate::seeded_bug!("ack-without-waiting"));
                return waits.map_or(Ok(revision), |waits| Err(not_in_all(&waits.reason)));
            }
        }
        Err(not_in_all("it is written too often"))
    }
}

fn fault_of(error: OrderError) -> Fault {
    match error {
        OrderError::Fault(fault) => fault,
        other => Fault::Unavailable(other.to_string()),
    }
}

/// Goes on where nobody waits any more; but in a test that owns every step, which has no runtime.
#[cfg_attr(not(test), expect(clippy::unused_async, reason = "such a test waits"))]
async fn beside(work: impl Future<Output = ()> + Send + 'static) {
    #[cfg(test)]
    if tokio::runtime::Handle::try_current().is_err() {
        return work.await;
    }
    drop(tokio::spawn(work));
}

fn not_in_all(reason: &str) -> Fault {
    Fault::Unavailable(format!("not all copies that are wanted are durable: {reason}"))
}
