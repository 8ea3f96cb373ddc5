//! Orders are checked, and written down as jobs. What is ordered or declared between the two, through any gateway, has them checked
//! again: two orders that contradict each other never run both.

use super::{JobInfo, Order, OrderError, Pace};
use crate::clock::UnixMs;
use crate::engine::{Read, Rows, Write};
use crate::extent::{JobId, SiloId};
use crate::fault::Fault;
use crate::job::refused_silo;
use crate::namespace::{Core, Namespace};
use crate::session::Uncommitted;
use crate::table::jobs::{JobRow, job as job_key, next_job};
use crate::table::silos::{SiloRow, revision, silo as silo_key};
use crate::table::{decode_row, encode, usage};

/// So often something may be ordered or declared between a check and its commit.
const ORDER_TRIES: usize = 8;

/// What there was when a check began: orders up to this one, and what was declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    next: JobId,
    revision: i64,
}

/// What came of a commit after a check.
pub(crate) enum Came<T> {
    /// It is written.
    Written(T),
    /// Something was ordered or declared since the check, and nothing is written.
    Overtaken,
}

/// Why a commit after a check writes nothing.
enum Refusal {
    Overtaken,
    Not(OrderError),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Not(fault.into())
    }
}

impl Checked {
    /// What a commit reads to ask whether it still holds.
    pub(crate) fn reads() -> Vec<Read> {
        vec![Read::Row(next_job()), Read::Row(revision())]
    }

    /// Whether nothing was ordered and nothing declared since.
    pub(crate) fn holds(self, rows: &Rows) -> Result<bool, Fault> {
        Ok(next(rows.get(&next_job()))? == self.next && usage::read(rows.get(&revision())) == self.revision)
    }
}

fn next(row: Option<&bytes::Bytes>) -> Result<JobId, Fault> {
    Ok(decode_row(row)?.unwrap_or(1))
}

/// A job that begins with something else, and what to write for it; [`next_job`] is read.
pub(crate) fn new_job(rows: &Rows, order: Order, now: UnixMs) -> Result<(JobInfo, Vec<Write>), Fault> {
    numbered(rows, JobInfo::new(0, order, Pace::default(), now))
}

fn numbered(rows: &Rows, new: JobInfo) -> Result<(JobInfo, Vec<Write>), Fault> {
    let id = next(rows.get(&next_job()))?;
    let info = JobInfo { id, ..new };
    let row = JobRow { info: info.clone(), owner: 0 };
    Ok((info, vec![Write::Put(next_job(), encode(&(id + 1))), Write::Put(job_key(id), row.encode())]))
}

/// What cordons these silos, or takes them into use, in the commit of an order; their rows are read.
fn cordons(rows: &Rows, silos: &[(SiloId, bool)]) -> Result<Vec<Write>, Fault> {
    let mut writes = Vec::new();
    for &(id, cordoned) in silos {
        let row = rows.get(&silo_key(id)).ok_or_else(|| Fault::Damaged(format!("silo {id} has no row")))?;
        let row = SiloRow::decode(row)?;
        if row.cordoned != cordoned {
            writes.push(Write::Put(silo_key(id), SiloRow { cordoned, ..row }.encode()));
        }
    }
    if !writes.is_empty() {
        writes.push(Write::Add(revision(), 1));
    }
    Ok(writes)
}

/// Checks and commits until nothing came in between.
pub(crate) async fn until_written<T, F>(attempt: impl Fn() -> F) -> Result<T, OrderError>
where
    F: Future<Output = Result<Came<T>, OrderError>>,
{
    for _ in 0..ORDER_TRIES {
        if let Came::Written(written) = attempt().await? {
            return Ok(written);
        }
    }
    Err(Fault::Unavailable("silos, settings and jobs change too often: try again".to_owned()).into())
}

impl Namespace {
    /// Orders a job; it runs in a gateway and survives restarts. `drain` cordons its source and uncordons its target
    /// in the same commit.
    pub async fn start_job(&self, order: Order, pace: Pace) -> Result<JobInfo, OrderError> {
        self.core.wish(&order)?;
        if pace.bytes_per_second == Some(0) || pace.concurrency == Some(0) {
            return Err(OrderError::Invalid("a rate or a concurrency of 0 moves nothing".to_owned()));
        }
        if let Some(bucket) = order.on().bucket {
            self.bucket_of(&bucket).await?;
        }
        self.core.refresh_inventory(false).await?;
        // It looks at objects, which change meanwhile anyway: others who order something do not wait for it.
        self.core.refuse_undone(&order).await?;
        self.core.begin_job(JobInfo::new(0, order, pace, self.clock.now())).await
    }
}

impl Core {
    /// Orders a scrub by itself, unless one is under way.
    pub(crate) async fn order_scrub(&self, silo: &str, pace: Pace) -> Result<(), OrderError> {
        let order = Order::Scrub { silo: silo.to_owned() };
        let job = JobInfo { by_itself: true, ..JobInfo::new(0, order, pace, self.clock.now()) };
        self.begin_job(job).await.map(drop)
    }

    /// What there is now: whatever is checked after this is checked against that, or newer.
    pub(crate) async fn before_checks(&self) -> Result<Checked, Fault> {
        self.refresh_inventory(false).await?;
        let rows = self.engine.get(&[next_job()]).await?;
        Ok(Checked { next: next(rows[0].as_ref())?, revision: self.inventory().revision })
    }

    async fn begin_job(&self, new: JobInfo) -> Result<JobInfo, OrderError> {
        let _one_at_a_time = self.ordering.lock().await;
        let new = &new;
        let written = until_written(move || async move {
            let checked = self.before_checks().await?;
            self.refuse_at_odds(&new.order).await?;
            self.write_new_job(checked, new.clone()).await
        });
        let info = written.await?;
        self.forget_old_jobs().await?;
        self.job_wanted.notify_one();
        Ok(info)
    }

    /// Silos that an order cordons, or takes into use.
    fn cordoned_by(&self, order: &Order) -> Result<Vec<(SiloId, bool)>, OrderError> {
        let Order::Drain { from, to } = order else { return Ok(Vec::new()) };
        let inventory = self.inventory();
        let asked = |name: &str| inventory.asked(name).map(|open| open.id).map_err(refused_silo);
        Ok(vec![(asked(to)?, false), (asked(from)?, true)])
    }

    async fn write_new_job(&self, checked: Checked, new: JobInfo) -> Result<Came<JobInfo>, OrderError> {
        let silos = self.cordoned_by(&new.order)?;
        let (mut reads, cordoning) = (Checked::reads(), !silos.is_empty());
        reads.extend(silos.iter().map(|(id, _)| Read::Row(silo_key(*id))));
        let decide = move |rows: &Rows| {
            let (info, mut writes) = numbered(rows, new.clone())?;
            writes.extend(cordons(rows, &silos)?);
            Ok((writes, info))
        };
        let came = self.commit_checked(checked, reads, decide).await?;
        if cordoning {
            self.refresh_inventory(true).await?;
        }
        Ok(came)
    }

    /// Lets a job go on. A number is passed over, so that whoever checked an order meanwhile checks it again.
    pub(super) async fn write_resumed(&self, checked: Checked, id: JobId) -> Result<Came<JobInfo>, OrderError> {
        let mut reads = Checked::reads();
        reads.push(Read::Row(job_key(id)));
        let decide = move |rows: &Rows| {
            let row = rows.get(&job_key(id)).ok_or(Refusal::Not(OrderError::NoSuchJob(id)))?;
            let (mut row, next) = (JobRow::decode(row)?, next(rows.get(&next_job()))?);
            if !row.info.can_go_on() {
                return Ok((Vec::new(), row.info));
            }
            row.info.go_on();
            Ok((vec![Write::Put(next_job(), encode(&(next + 1))), Write::Put(job_key(id), row.encode())], row.info))
        };
        self.commit_checked(checked, reads, decide).await
    }

    /// Commits what was checked, unless something was ordered or declared since.
    async fn commit_checked(
        &self,
        checked: Checked,
        reads: Vec<Read>,
        decide: impl Fn(&Rows) -> Result<(Vec<Write>, JobInfo), Refusal> + Send + Sync + 'static,
    ) -> Result<Came<JobInfo>, OrderError> {
        let decide = move |rows: &Rows| if checked.holds(rows)? { decide(rows) } else { Err(Refusal::Overtaken) };
        match self.session().commit(reads, decide).await {
            Ok(info) => Ok(Came::Written(info)),
            Err(Uncommitted::Refused(Refusal::Overtaken)) => Ok(Came::Overtaken),
            Err(Uncommitted::Refused(Refusal::Not(error))) => Err(error),
            Err(Uncommitted::Fault(fault)) => Err(fault.into()),
            Err(Uncommitted::Unknown) => Err(Fault::Unavailable("whether the job began is unknown".to_owned()).into()),
        }
    }
}
