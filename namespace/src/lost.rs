//! Silos that never come back: what they held counts no more, what is nowhere else is told, and nobody waits for them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdall_silos::SiloError;
use serde::{Deserialize, Serialize};

use crate::clock::UnixMs;
use crate::declare::change_silo;
use crate::engine::Page;
use crate::extent::{JobId, Number, Replica, SiloId, Slice};
use crate::fault::Fault;
use crate::inventory::{Inventory, OpenSilo, SiloCommandError, SiloInfo};
use crate::job::{JobInfo, JobState, Order, OrderError, Pace, next_page};
use crate::limits::{COMMIT_TRIES, LIST_PAGE, SILENCE};
use crate::list::read_name;
use crate::name::BucketName;
use crate::namespace::{Core, Namespace};
use crate::table::extents::{ExtentRow, extent};
use crate::table::objects::{NAME_AT, ObjectRow, prefix as object_prefix};
use crate::table::uploads::{PartRow, UploadRow, UploadState, parts, read_upload, uploads};
use crate::table::{after_prefix, decode, decode_row, key};

/// What goes with a silo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Extents that it has.
    pub extents: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Those of them that another silo has, too, as far as is known here.
    pub elsewhere_extents: u64,
    /// Their bytes.
    pub elsewhere_bytes: u64,
    /// Objects with bytes that are nowhere else.
    pub objects: u64,
    /// Those bytes of each; of two objects that share them, twice.
    pub object_bytes: u64,
    /// Unfinished uploads with parts that are nowhere else.
    pub uploads: u64,
}

/// What cannot be read any more once a silo is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Going {
    /// An object.
    Object {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// Bytes of it that are nowhere else.
        bytes: u64,
    },
    /// An unfinished upload.
    Upload {
        /// Its bucket.
        bucket: String,
        /// Its key.
        key: String,
        /// Bytes of its parts that are nowhere else.
        bytes: u64,
    },
}

/// Why a silo was not declared lost, or found; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoseError {
    /// It is there.
    #[error("silo `{0}` answers, and is what it was: drain it, or say --force where it is to be given up all the same")]
    Answers(String),
    /// Something is there, and says no.
    #[error("silo `{silo}` is not known to be gone: {reason}; say --force where it is to be given up all the same")]
    Unsure {
        /// Which.
        silo: String,
        /// One sentence fragment.
        reason: String,
    },
    /// It is switched, or switched to.
    #[error("{0} is under way: `holdall switch rollback` first")]
    InSwitch(String),
    /// What it holds is taken over in place.
    #[error("silo `{silo}` is taken over by root {root}: `holdall assimilate forget {root}` first")]
    InRoot {
        /// Which.
        silo: String,
        /// The root.
        root: u32,
    },
    /// It was not lost.
    #[error("silo `{0}` is not lost")]
    NotLost(String),
    /// It is not there.
    #[error("silo `{silo}` is not found again: {reason}")]
    NotFound {
        /// Which.
        silo: String,
        /// One sentence fragment.
        reason: String,
    },
    /// See [`OrderError`].
    #[error(transparent)]
    Order(#[from] OrderError),
    /// See [`SiloCommandError`].
    #[error(transparent)]
    Silo(#[from] SiloCommandError),
}

impl From<Fault> for LoseError {
    fn from(fault: Fault) -> Self {
        Self::Silo(fault.into())
    }
}

impl OpenSilo {
    /// Whether it never comes back.
    pub fn is_lost(&self) -> bool {
        self.row.lost.is_some()
    }
}

impl Inventory {
    /// Whether any silo never comes back.
    pub(crate) fn has_lost(&self) -> bool {
        self.silos.values().any(|open| open.is_lost())
    }

    /// A silo that may come back at least, by name.
    pub(crate) fn asked(&self, name: &str) -> Result<&Arc<OpenSilo>, SiloCommandError> {
        let open = self.known(name)?;
        if open.is_lost() { Err(SiloCommandError::Lost(name.to_owned())) } else { Ok(open) }
    }

    fn is_lost(&self, silo: SiloId) -> bool {
        self.silos.get(&silo).is_some_and(|open| open.is_lost())
    }

    /// The replicas that may be read, retired ones as well.
    pub(crate) fn left<'a>(&self, row: &'a ExtentRow) -> Vec<&'a Replica> {
        row.replicas.iter().filter(|replica| !self.is_lost(replica.silo)).collect()
    }

    /// The verified ones of them.
    pub(crate) fn left_verified<'a>(&self, row: &'a ExtentRow) -> Vec<&'a Replica> {
        let counts = |replica: &&Replica| !self.is_lost(replica.silo) || crate::seeded_bug!("lost-counts");
        row.verified().filter(counts).collect()
    }

    /// Takes out of a row what went with lost silos.
    pub(crate) fn leave_lost_out(&self, row: &mut ExtentRow) {
        row.replicas.retain(|replica| !self.is_lost(replica.silo));
    }

    /// Why an extent without any replica that may be read is none to be read.
    pub(crate) fn nothing_left(&self, id: Number, row: &ExtentRow) -> Fault {
        let replica = row.verified().next().or(row.replicas.first());
        match replica.and_then(|replica| self.silos.get(&replica.silo)) {
            Some(open) => Fault::Lost(open.row.name.clone()),
            None => Fault::Damaged(format!("extent {id} has no replica")),
        }
    }
}

impl Namespace {
    /// Declares that a silo never comes back. When this answers, no gateway that knows asks it any more, and a job forgets what it
    /// held of what others have, too; what is nowhere else stays in rows and is answered by [`Fault::Lost`] until it is deleted or
    /// put anew. Done again, it begins another such job. A silo that answers is refused, unless by `force`.
    pub async fn lose_silo(&self, name: &str, force: bool) -> Result<(SiloInfo, JobInfo), LoseError> {
        self.core.refresh_inventory(false).await?;
        let inventory = self.inventory();
        let open = inventory.known(name)?;
        if let Some(root) = inventory.roots.iter().find(|root| root.silo == open.id) {
            return Err(LoseError::InRoot { silo: name.to_owned(), root: root.info.id });
        }
        if let Some(switch) = inventory.switches.iter().find(|switch| switch.is_about(open.id)) {
            return Err(LoseError::InSwitch(switch.in_words(&inventory)));
        }
        if !open.is_lost() {
            if !force {
                self.core.refuse_there(open).await?;
            }
            self.cancel_jobs_about(name).await?;
            crate::failpoint!("lost-cancelled");
            let now = self.clock.now();
            change_silo(&*self.engine, open.id, move |row| {
                row.lost = row.lost.or(Some(now));
                row.cordoned = true;
                // Nobody would ever resume it, and jobs wait for what is paused.
                row.paused = false;
            })
            .await?;
            self.core.refresh_inventory(true).await?;
            tracing::warn!(silo = name, "silo declared lost");
            crate::failpoint!("lost-declared");
        }
        let job = self.forget_held(name).await?;
        crate::failpoint!("lost-ordered");
        // Packs of it that were given up for a while.
        self.core.find_packs().await?;
        Ok((self.core.info_of(name).await?, job))
    }

    /// Takes a lost silo back, once it was recognized: what rows still name there is read again. What was deleted meanwhile is
    /// an orphan there, until a sweep. It stays cordoned.
    pub async fn find_silo(&self, name: &str) -> Result<SiloInfo, LoseError> {
        self.core.refresh_inventory(false).await?;
        let inventory = self.inventory();
        let open = inventory.known(name)?;
        if !open.is_lost() {
            return Err(LoseError::NotLost(name.to_owned()));
        }
        if let Err(reason) = self.core.recognize(&open.row).await {
            return Err(LoseError::NotFound { silo: name.to_owned(), reason });
        }
        self.cancel_jobs_about(name).await?;
        change_silo(&*self.engine, open.id, |row| row.lost = None).await?;
        crate::failpoint!("lost-found");
        self.core.refresh_inventory(true).await?;
        tracing::info!(silo = name, "lost silo found again");
        Ok(self.core.info_of(name).await?)
    }

    /// What is about a silo that is lost, or not any more, has no end.
    async fn cancel_jobs_about(&self, name: &str) -> Result<(), LoseError> {
        let rows = self.core.job_rows().await?;
        let about = rows.into_iter().filter(|row| row.info.is_active() && row.info.order.names(name));
        let about: Vec<JobId> = about.map(|row| row.info.id).collect();
        for id in about {
            self.cancel_job(id).await?;
        }
        Ok(())
    }

    /// The job that forgets what a lost silo held.
    async fn forget_held(&self, name: &str) -> Result<JobInfo, OrderError> {
        for _ in 0..COMMIT_TRIES {
            match self.start_job(Order::Lost { silo: name.to_owned() }, Pace::default()).await {
                // It runs already.
                Err(OrderError::Conflict { id, order: Order::Lost { .. } }) => match self.job(id).await {
                    Err(OrderError::NoSuchJob(_)) => {}
                    job => return job,
                },
                started => return started,
            }
        }
        Err(Fault::Unavailable("jobs are ordered and ended too often".to_owned()).into())
    }

    /// What goes with a silo, or went. Calls `going` for each object and upload that cannot be read without it, as they are found,
    /// in constant memory. Writes may go on meanwhile.
    pub async fn loss(&self, name: &str, going: &mut (dyn FnMut(Going) + Send)) -> Result<Loss, SiloCommandError> {
        self.core.refresh_inventory(false).await?;
        let inventory = self.inventory();
        let open = inventory.known(name)?;
        let mut run =
            Run { core: &self.core, inventory: Arc::clone(&inventory), silo: open.id, loss: Loss::default(), going };
        run.extents().await?;
        // Where others have all of it, nobody needs it.
        if run.loss.extents > run.loss.elsewhere_extents {
            for (name, row) in self.core.bucket_rows().await? {
                run.objects(&name, row.incarnation).await?;
                run.uploads(&name, row.incarnation).await?;
            }
        }
        Ok(run.loss)
    }
}

impl Core {
    /// Refuses to take a silo for gone that is there, or where somebody answers and says no: that may change.
    async fn refuse_there(&self, open: &OpenSilo) -> Result<(), LoseError> {
        let silo = open.row.name.clone();
        let claimed = tokio::select! {
            biased;
            claimed = open.claim(&self.id) => claimed,
            () = self.clock.sleep(SILENCE) => return Ok(()),
        };
        match claimed {
            Ok(()) => Err(LoseError::Answers(silo)),
            Err(error) if says_no(&error) => Err(LoseError::Unsure { silo, reason: error.to_string() }),
            Err(_) => Ok(()),
        }
    }

    /// Whether all that a lost silo held of what others have was forgotten since it was lost.
    pub(crate) async fn was_forgotten(&self, name: &str, lost: UnixMs) -> Result<bool, Fault> {
        let about = |info: &JobInfo| matches!(&info.order, Order::Lost { silo } if silo == name);
        let rows = self.job_rows().await?;
        let last = rows.into_iter().map(|row| row.info).rfind(|info| about(info));
        Ok(last.is_some_and(|info| info.state == JobState::Done && info.created >= lost))
    }

    /// Refuses slices whose bytes went with lost silos.
    pub(crate) async fn refuse_lost(&self, slices: &[Slice]) -> Result<(), Fault> {
        let refused = self.refuse_what_seems_lost(slices).await;
        if !matches!(refused, Err(Fault::Lost(_))) {
            return refused;
        }
        // The silo may have been found, or the bytes copied, since anybody looked here.
        self.refresh_inventory(false).await?;
        self.refuse_what_seems_lost(slices).await
    }

    async fn refuse_what_seems_lost(&self, slices: &[Slice]) -> Result<(), Fault> {
        let inventory = self.inventory();
        if !inventory.has_lost() {
            return Ok(());
        }
        for some in slices.chunks(LIST_PAGE) {
            let keys: Vec<_> = some.iter().map(|slice| extent(slice.extent)).collect();
            for (slice, row) in some.iter().zip(self.engine.get(&keys).await?) {
                let Some(row) = decode_row::<ExtentRow>(row.as_ref())? else { continue };
                if slice.length > 0 && !row.replicas.is_empty() && inventory.left(&row).is_empty() {
                    return Err(inventory.nothing_left(slice.extent, &row));
                }
            }
        }
        Ok(())
    }
}

/// Whether somebody is there who does not want to be asked, or not now: a 404 says that there is nothing.
fn says_no(error: &SiloError) -> bool {
    match error {
        SiloError::Throttled => true,
        SiloError::NotDone { reason } | SiloError::Unknown { reason } => {
            reason.contains("answered ") && !reason.contains("answered 404")
        }
        _ => false,
    }
}

/// A look at what goes with a silo.
struct Run<'a> {
    core: &'a Arc<Core>,
    inventory: Arc<Inventory>,
    silo: SiloId,
    loss: Loss,
    going: &'a mut (dyn FnMut(Going) + Send),
}

impl Run<'_> {
    /// Whether the silo has it, and whether another one does.
    fn held(&self, row: &ExtentRow) -> (bool, bool) {
        let left = self.inventory.left_verified(row);
        (row.verified_in(self.silo).is_some(), left.iter().any(|replica| replica.silo != self.silo))
    }

    async fn extents(&mut self) -> Result<(), Fault> {
        let (mut at, end) = (vec![key::EXTENTS], after_prefix(&[key::EXTENTS]));
        while let Some(page) = next_page(self.core, &mut at, &end).await? {
            for (_, bytes) in &page {
                let row: ExtentRow = decode(bytes)?;
                let (here, elsewhere) = self.held(&row);
                if !here {
                    continue;
                }
                self.loss.extents += 1;
                self.loss.bytes += row.size;
                if elsewhere {
                    self.loss.elsewhere_extents += 1;
                    self.loss.elsewhere_bytes += row.size;
                }
            }
        }
        Ok(())
    }

    /// Bytes of each of these that are nowhere else.
    async fn alone(&self, all: &[Vec<Slice>]) -> Result<Vec<u64>, Fault> {
        let ids: BTreeSet<Number> = all.iter().flatten().map(|slice| slice.extent).collect();
        let rows: BTreeMap<Number, ExtentRow> = self.core.extents(ids).await?.into_iter().collect();
        let alone = |slice: &&Slice| rows.get(&slice.extent).is_some_and(|row| self.held(row) == (true, false));
        Ok(all.iter().map(|slices| slices.iter().filter(alone).map(|slice| slice.length).sum()).collect())
    }

    async fn objects(&mut self, bucket: &BucketName, incarnation: u64) -> Result<(), Fault> {
        let mut at = object_prefix(incarnation, "");
        let end = after_prefix(&at);
        while let Some(page) = next_page(self.core, &mut at, &end).await? {
            let slices = self.slices_of(&page).await?;
            for ((key, _), bytes) in page.iter().zip(self.alone(&slices).await?) {
                if bytes == 0 {
                    continue;
                }
                self.loss.objects += 1;
                self.loss.object_bytes += bytes;
                (self.going)(Going::Object { bucket: bucket.to_string(), key: read_name(&key[NAME_AT..])?, bytes });
            }
        }
        Ok(())
    }

    async fn slices_of(&self, page: &Page) -> Result<Vec<Vec<Slice>>, Fault> {
        let mut all = Vec::with_capacity(page.len());
        for (_, bytes) in page {
            let row: ObjectRow = decode(bytes)?;
            all.push(self.core.slices_of(row.data).await);
        }
        Ok(all)
    }

    async fn uploads(&mut self, bucket: &BucketName, incarnation: u64) -> Result<(), Fault> {
        let range = uploads(incarnation);
        let (mut at, end) = (range.start, range.end);
        while let Some(page) = next_page(self.core, &mut at, &end).await? {
            for (key, row) in &page {
                let (Some((_, key, id)), row) = (read_upload(key), decode::<UploadRow>(row)?) else { continue };
                if !matches!(row.state, UploadState::Open { .. }) {
                    continue;
                }
                let bytes = self.parts(id).await?;
                if bytes > 0 {
                    self.loss.uploads += 1;
                    (self.going)(Going::Upload { bucket: bucket.to_string(), key: key.to_string(), bytes });
                }
            }
        }
        Ok(())
    }

    async fn parts(&self, upload: Number) -> Result<u64, Fault> {
        let range = parts(upload, 0);
        let (mut at, end, mut bytes) = (range.start, range.end, 0);
        while let Some(page) = next_page(self.core, &mut at, &end).await? {
            let slices: Result<Vec<Vec<Slice>>, Fault> =
                page.iter().map(|(_, row)| Ok(decode::<PartRow>(row)?.slices)).collect();
            bytes += self.alone(&slices?).await?.iter().sum::<u64>();
        }
        Ok(bytes)
    }
}
