//! Taking a silo out: its row goes once nothing of ours is in it and nothing can get into it any more.

use crate::engine::{self, NotCommitted, Read, Rows, Write};
use crate::extent::{JobId, SiloId};
use crate::fault::Fault;
use crate::inventory::{Inventory, OpenSilo, SiloCommandError, WritePolicy};
use crate::limits::{BEAT, COMMIT_TRIES, PATIENT_PASSES};
use crate::namespace::{Core, Namespace};
use crate::table::silos::{SiloRow, revision, silo as silo_key};
use crate::table::usage::{self, Counted};
use crate::usage::Usage;

/// Why a silo was not taken out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoveSiloError {
    /// New bytes may be on their way to it.
    #[error("silo `{silo}` takes new bytes: `holdall silo cordon {silo}` first")]
    NotCordoned {
        /// Which.
        silo: String,
    },
    /// It holds bytes that objects are made of.
    #[error("silo `{silo}` holds {extents} extents, {bytes} bytes: `holdall drain {silo} --to SILO` moves them")]
    Holds {
        /// Which.
        silo: String,
        /// Verified replicas.
        extents: i64,
        /// Their stored bytes.
        bytes: i64,
    },
    /// What went with it is not forgotten by those who need it.
    #[error(
        "{extents} extents, {bytes} bytes, went with silo `{silo}`, and are nowhere else: `holdall silo lost {silo} --dry-run --list` names the objects; delete them or put them anew"
    )]
    Lost {
        /// Which.
        silo: String,
        /// Extents.
        extents: i64,
        /// Their bytes.
        bytes: i64,
    },
    /// It is lost, and what others have is not forgotten yet.
    #[error(
        "{extents} extents, {bytes} bytes, of silo `{silo}`, which is lost, are not forgotten yet: `holdall silo lost {silo}` again"
    )]
    NotForgotten {
        /// Which.
        silo: String,
        /// Extents.
        extents: i64,
        /// Their bytes.
        bytes: i64,
    },
    /// It holds bytes that may still be read.
    #[error("silo `{silo}` holds {replicas} retired replicas that wait for the sweep (`holdall sweep --now`)")]
    Retired {
        /// Which.
        silo: String,
        /// How many.
        replicas: i64,
    },
    /// Packs lie in it that nothing needs and that were not deleted yet.
    #[error(
        "silo `{silo}` holds packs that wait for the sweep (`holdall sweep --now`; of a restored index for `holdall index accept`)"
    )]
    Packs {
        /// Which.
        silo: String,
    },
    /// A write policy would name nothing.
    #[error("`{policy}` sends new objects to silo `{silo}`: declare it without that silo first")]
    InPolicy {
        /// Which.
        silo: String,
        /// `write` or `bucket.logs.write`.
        policy: String,
    },
    /// An objective would mean nothing.
    #[error("objective `{objective}` names silo `{silo}`: declare it without that silo first")]
    InObjective {
        /// Which.
        silo: String,
        /// The objective.
        objective: String,
    },
    /// What it holds is taken over in place.
    #[error("silo `{silo}` is taken over by root {root}: `holdall assimilate forget {root}` first")]
    InRoot {
        /// Which.
        silo: String,
        /// The root.
        root: u32,
    },
    /// It is switched, or switched to.
    #[error("{switch} is under way: `holdall switch commit` or `holdall switch rollback` ends it")]
    InSwitch {
        /// In words.
        switch: String,
    },
    /// A job is at work on it.
    #[error("job {job} is about silo `{silo}`: it must end or be cancelled first")]
    InJob {
        /// Which.
        silo: String,
        /// The job.
        job: JobId,
    },
    /// Files of others that came out of it are kept for a while.
    #[error(
        "{count} files that S3 replaced or deleted in silo `{silo}` are still kept there, or on their way: they go after the sweep's grace period"
    )]
    Kept {
        /// Which.
        silo: String,
        /// How many.
        count: usize,
    },
    /// A namespace without silos holds nothing.
    #[error("silo `{silo}` is the only one")]
    Last {
        /// Which.
        silo: String,
    },
    /// See [`SiloCommandError`].
    #[error(transparent)]
    Silo(#[from] SiloCommandError),
}

impl From<Fault> for RemoveSiloError {
    fn from(fault: Fault) -> Self {
        Self::Silo(fault.into())
    }
}

/// What is known of what a silo holds.
#[derive(Clone, Copy)]
enum Held {
    There,
    /// It is lost,
    Gone,
    /// and what others have of it was forgotten.
    Forgotten,
}

enum Refusal {
    /// Silos or settings changed since everybody was waited for.
    Changed,
    Not(RemoveSiloError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Not(fault.into())
    }
}

impl Namespace {
    /// Takes a silo out of the namespace. It must be cordoned and empty, and is looked at only after every write that
    /// may have chosen it has ended; refusals say what is in the way, with the count. Nothing in the silo is touched:
    /// its marker stays, so that the same namespace may register it again.
    pub async fn remove_silo(&self, name: &str) -> Result<(), RemoveSiloError> {
        let _one_at_a_time = self.core.ordering.lock().await;
        for _ in 0..COMMIT_TRIES {
            self.core.refresh_inventory(true).await?;
            let inventory = self.core.inventory();
            let open = inventory.known(name)?;
            self.core.refuse_in_use(&inventory, name).await?;
            let lost = self.core.standing(open).await?;
            refuse_held(name, lost, self.core.counted(Counted::Silo(open.id)).await?, Usage::default())?;
            self.core.settle().await?;
            self.wait_for_packs(open.id, name).await?;
            // Only what has a name of its own by now.
            self.core.forget_outs(open.id).await?;
            // It is empty by now: nothing that was found in it says anything.
            self.core.forget_damage_of(open.id).await?;
            crate::failpoint!("silo-leaves");
            match self.core.commit_removal(open.id, name, inventory.revision, lost).await {
                Ok(()) => {
                    crate::failpoint!("silo-left");
                    self.core.refresh_inventory(true).await?;
                    tracing::info!(silo = name, "silo taken out");
                    return Ok(());
                }
                Err(Refusal::Changed) => {}
                Err(Refusal::Not(error)) => return Err(error),
            }
        }
        Err(Fault::Unavailable("silos and settings are changed too often".to_owned()).into())
    }
}

impl Namespace {
    /// Packs go after their last record: those that are to be deleted are, for a while.
    async fn wait_for_packs(&self, id: SiloId, name: &str) -> Result<(), RemoveSiloError> {
        self.core.packer.hurry();
        for _ in 0..PATIENT_PASSES {
            self.core.look_after_packs().await?;
            if self.core.counted(Counted::Retired(id)).await? != Usage::default() || !self.core.has_packs(id).await? {
                return Ok(());
            }
            self.clock.sleep(BEAT).await;
        }
        Err(RemoveSiloError::Packs { silo: name.to_owned() })
    }
}

impl Core {
    async fn standing(&self, open: &OpenSilo) -> Result<Held, Fault> {
        let Some(lost) = open.row.lost else { return Ok(Held::There) };
        Ok(if self.was_forgotten(&open.row.name, lost).await? { Held::Forgotten } else { Held::Gone })
    }

    /// What names the silo, and would name nothing.
    async fn refuse_in_use(&self, inventory: &Inventory, name: &str) -> Result<(), RemoveSiloError> {
        let silo = || name.to_owned();
        if inventory.named(name).is_some_and(|open| !open.row.cordoned) {
            return Err(RemoveSiloError::NotCordoned { silo: silo() });
        }
        if inventory.silos.len() == 1 {
            return Err(RemoveSiloError::Last { silo: silo() });
        }
        if let Some(root) = inventory.roots.iter().find(|root| root.info.order.silo == name) {
            return Err(RemoveSiloError::InRoot { silo: silo(), root: root.info.id });
        }
        if let Some(open) = inventory.named(name) {
            if let Some(switch) = inventory.switches.iter().find(|switch| switch.is_about(open.id)) {
                return Err(RemoveSiloError::InSwitch { switch: switch.in_words(inventory) });
            }
            let count = self.kept_in_tree(open.id).await?;
            if count > 0 {
                return Err(RemoveSiloError::Kept { silo: silo(), count });
            }
        }
        let sends = |policy: &WritePolicy| policy.to.iter().any(|to| to.silo == name);
        let of_bucket = inventory.bucket_write.iter().find(|(_, policy)| sends(policy));
        let of_bucket = of_bucket.map(|(bucket, _)| format!("bucket.{bucket}.write"));
        let default = inventory.write.as_ref().filter(|policy| sends(policy)).map(|_| "write".to_owned());
        let mut wishes = inventory.objectives.iter();
        if let Some((objective, _)) = wishes.find(|(_, (wish, _))| wish.named().any(|named| named == name)) {
            return Err(RemoveSiloError::InObjective { silo: silo(), objective: objective.clone() });
        }
        if let Some(policy) = default.or(of_bucket) {
            return Err(RemoveSiloError::InPolicy { silo: silo(), policy });
        }
        let rows = self.job_rows().await?;
        match rows.into_iter().find(|row| row.info.is_active() && row.info.order.names(name)) {
            Some(row) => Err(RemoveSiloError::InJob { silo: silo(), job: row.info.id }),
            None => Ok(()),
        }
    }

    /// The counts are read in the commit: what was on its way has arrived by now, and nothing sets out any more as long
    /// as the settings are those that everybody was waited for.
    async fn commit_removal(&self, id: SiloId, name: &str, settled_at: i64, held: Held) -> Result<(), Refusal> {
        let (live, retired) = (usage::keys(Counted::Silo(id)), usage::keys(Counted::Retired(id)));
        let counters: Vec<_> = live.iter().chain(&retired).cloned().collect();
        let mut reads = vec![Read::Row(silo_key(id)), Read::Row(revision())];
        reads.extend(counters.iter().cloned().map(Read::Row));
        let name = name.to_owned();
        let decide = move |rows: &Rows| -> Result<_, Refusal> {
            let Some(row) = rows.get(&silo_key(id)) else { return Err(Refusal::Changed) };
            let row = SiloRow::decode(row)?;
            if !row.cordoned || usage::read(rows.get(&revision())) != settled_at {
                return Err(Refusal::Changed);
            }
            let count = |keys: &[Vec<u8>; 2]| Usage {
                objects: usage::read(rows.get(&keys[0])),
                bytes: usage::read(rows.get(&keys[1])),
            };
            refuse_held(&name, held, count(&live), count(&retired)).map_err(Refusal::Not)?;
            let mut writes = vec![Write::Delete(silo_key(id)), Write::Add(revision(), 1)];
            writes.extend(counters.iter().cloned().map(Write::Delete));
            Ok((writes, ()))
        };
        match engine::commit(&*self.engine, reads, decide).await {
            Ok(()) => Ok(()),
            Err(NotCommitted::Refused(refusal)) => Err(refusal),
            Err(NotCommitted::Engine(error)) => {
                // A lost answer: the row says what became of it.
                let rows = self.engine.get(&[silo_key(id)]).await.map_err(Fault::from)?;
                rows[0].as_ref().map_or(Ok(()), |_| Err(Fault::from(error).into()))
            }
        }
    }
}

/// Bytes of ours are in the way.
fn refuse_held(silo: &str, held: Held, live: Usage, retired: Usage) -> Result<(), RemoveSiloError> {
    let silo = || silo.to_owned();
    let (extents, bytes) = (live.objects, live.bytes);
    if extents != 0 {
        return Err(match held {
            Held::There => RemoveSiloError::Holds { silo: silo(), extents, bytes },
            Held::Gone => RemoveSiloError::NotForgotten { silo: silo(), extents, bytes },
            Held::Forgotten => RemoveSiloError::Lost { silo: silo(), extents, bytes },
        });
    }
    if retired.objects != 0 {
        return Err(RemoveSiloError::Retired { silo: silo(), replicas: retired.objects });
    }
    Ok(())
}
