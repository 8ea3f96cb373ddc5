//! The admin API's JSON: what routes answer and the command line reads. Times are RFC 3339, bytes are integers.

use std::time::Duration;

use holdall_namespace::account::{AccessKey, Account, NewKey};
use holdall_namespace::backup::{BackupStatus, Progress, Taken};
use holdall_namespace::check::{Checked, Finding};
use holdall_namespace::clock::UnixMs;
use holdall_namespace::inventory::{Access, Change, Health, SiloInfo};
use holdall_namespace::job::{JobInfo, JobState, MoveInfo, Order, Pace, ReplicaInfo};
use holdall_namespace::lost::{Going, Loss};
use holdall_namespace::objective::Alignment;
use holdall_namespace::price::Price;
use holdall_namespace::probe::{Measured, Probed, Speed};
use holdall_namespace::scrub::{Damage, Done, Flaw, ScrubBudget};
use holdall_silos::Facts;
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

mod failed;
mod found;
mod roots;
mod switches;
mod usage;

pub use failed::FailedView;
pub use found::{CensusLine, FindLine, FoundSum, FoundView, LabelLine};
pub use roots::{ConflictView, RootView};
pub use switches::{SwitchRequest, SwitchView};
pub use usage::{UsageLine, UsageView};

/// A gateway about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Holdall's version.
    pub version: String,
    /// The namespace's own id.
    pub namespace: String,
    /// Where S3 is spoken.
    pub endpoint: String,
    /// The region that signatures must name.
    pub region: String,
    /// Domains below which a host names a bucket.
    pub domains: Vec<String>,
    /// How backups of the index stand.
    #[serde(default)]
    pub backup: BackupView,
    /// How much is where objectives want it; none where nothing is wished, or nothing was compared yet.
    #[serde(default)]
    pub alignment: Option<Alignment>,
    /// What scrubs by themselves may cost this month, and did; none where they have no budget.
    #[serde(default)]
    pub scrub: Option<ScrubBudget>,
    /// Damaged or missing replicas that nothing made good.
    #[serde(default)]
    pub damaged: u64,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountView {
    /// Its name.
    pub name: String,
    /// S3's owner id.
    pub canonical_id: String,
    /// The first account administers.
    pub admin: bool,
    /// Its keys are refused.
    pub disabled: bool,
    /// When it was created.
    pub created: Timestamp,
}

/// A key that was just made: the only time its secret is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKeyView {
    /// The account's name.
    pub account: String,
    /// S3's owner id.
    pub canonical_id: String,
    /// The key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// When it was created.
    pub created: Timestamp,
}

/// A key, never with its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// The key.
    pub access_key_id: String,
    /// When it was created.
    pub created: Timestamp,
}

/// A silo; bytes are stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiloView {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Its URL, without secrets.
    pub url: String,
    /// Whose it is.
    #[serde(default)]
    pub access: Access,
    /// Takes no new bytes by order.
    pub cordoned: bool,
    /// Nothing moves from or to it, by order.
    #[serde(default)]
    pub paused: bool,
    /// Whether it answers.
    pub health: Health,
    /// Since when it is known that it never will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Timestamp>,
    /// Extents with a verified replica here.
    pub extents: i64,
    /// Their bytes.
    pub used: i64,
    /// Replicas retired and not yet swept.
    pub retired_extents: i64,
    /// Their bytes.
    pub retired: i64,
    /// Bytes it could still take; unknown for buckets.
    pub free: Option<u64>,
    /// Bytes of them kept free.
    pub reserve: Option<u64>,
    /// What it asks, as declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// When it was registered.
    pub created: Timestamp,
    /// What it was found to promise.
    pub facts: Facts,
}

/// What a look at a silo found. Times are microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeView {
    /// The silo, its facts as they were found now.
    pub silo: SiloView,
    /// They are not what was known before.
    pub facts_changed: bool,
    /// What it was recognized by.
    pub identity: String,
    /// Size of the whole store, where it can tell.
    pub total: Option<u64>,
    /// How long it takes to recognize it.
    pub look_us: u64,
    /// How fast it is.
    pub speed: Option<SpeedView>,
    /// Why nothing was written to measure that.
    pub unmeasured: Option<String>,
}

/// How fast a silo is. Times are microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeedView {
    /// Bytes of a small blob.
    pub small: u64,
    /// Writing one.
    pub put_us: u64,
    /// Reading it.
    pub get_us: u64,
    /// Deleting it.
    pub delete_us: u64,
    /// Bytes of a large blob.
    pub size: u64,
    /// Writing it.
    pub write_us: u64,
    /// Reading it.
    pub read_us: u64,
    /// Bytes a second of the large blob written.
    pub write_rate: u64,
    /// Bytes a second of it read.
    pub read_rate: u64,
}

/// A silo that was declared lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostView {
    /// The silo.
    pub silo: SiloView,
    /// The job that forgets what it held of what others have, too.
    pub job: JobView,
}

/// One line about what goes with a silo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossLine {
    /// What cannot be read without it.
    Going(Going),
    /// The last line: all of it.
    Loss(Loss),
    /// The last line of a look that broke off.
    Error(String),
}

/// What lets somebody tell of a silo's changes; shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenView {
    /// The silo.
    pub silo: String,
    /// The secret.
    pub token: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Its number.
    pub id: u64,
    /// What it does.
    pub order: Order,
    /// How fast it may go.
    pub pace: Pace,
    /// Where it stands.
    pub state: JobState,
    /// When it was ordered.
    pub created: Timestamp,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Extents it was planned to move.
    pub planned_objects: u64,
    /// Their bytes.
    pub planned_bytes: u64,
    /// Extents moved.
    pub moved_objects: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Given up because an overwrite or delete won.
    pub superseded: u64,
    /// Failed and tried again.
    pub failed: u64,
    /// The last failure.
    pub error: Option<String>,
    /// Extents that stay: an objective forbids them to be there.
    #[serde(default)]
    pub refused: u64,
    /// `scrub` only: damaged or missing replicas that were found.
    #[serde(default)]
    pub damaged: u64,
    /// Those of them that were made good.
    #[serde(default)]
    pub mended: u64,
}

/// What was found damaged or missing in a silo.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageView {
    /// The silo.
    pub silo: String,
    /// The bucket of the object that the bytes were first written for, where they say so.
    pub bucket: Option<String>,
    /// Its key.
    pub key: Option<String>,
    /// The extent.
    pub extent: String,
    /// Its place in the silo.
    pub place: String,
    /// What is wrong.
    pub flaw: Flaw,
    /// One sentence fragment.
    pub reason: String,
    /// When it was found last.
    pub found: Timestamp,
    /// What became of it.
    pub done: Done,
}

/// A job with the moves it has between journal row and commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobMoves {
    /// The job.
    pub job: JobView,
    /// Its moves under way.
    pub moves: Vec<MoveInfo>,
}

/// A job to start, or to plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRequest {
    /// What to do.
    pub order: Order,
    /// How fast.
    #[serde(default)]
    pub pace: Pace,
    /// `place` only: what is placed is held until then, whatever objectives want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Timestamp>,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// The extent.
    pub extent: String,
    /// The silo's name.
    pub silo: String,
    /// `verified` or `retired`.
    pub state: String,
    /// Our own name for the blob inside the silo.
    pub blob: String,
    /// Bytes.
    pub bytes: u64,
    /// Since when.
    pub since: Timestamp,
    /// The job that brought it here; 0 where it came by itself.
    pub job: Option<u64>,
    /// The objective for whose sake it came by itself, where that is still declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
}

/// What applying changed, or would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Nothing was touched.
    pub dry_run: bool,
    /// In the order made; empty when the index already agrees.
    pub changes: Vec<Change>,
}

/// The index, and how its backups stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexView {
    /// Bytes it takes on its disk; 0 where that is not known.
    pub bytes: u64,
    /// It was restored: what silos hold beyond it is kept.
    pub keeps_unknown: bool,
    /// Its backups.
    pub backup: BackupView,
}

/// How backups of the index stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupView {
    /// Whether they are made at all.
    pub enabled: bool,
    /// When the newest snapshot was taken.
    pub snapshot: Option<Timestamp>,
    /// The commits up to then can be restored.
    pub covered: Option<Timestamp>,
    /// The silos that took the last piece.
    pub silos: Vec<String>,
    /// Why the last piece could not be written.
    pub problem: Option<String>,
}

/// A snapshot of the index that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenView {
    /// The last entry of the index's log that it holds.
    pub sequence: u64,
    /// When that was made.
    pub at: Timestamp,
    /// Its rows.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// The silos that have all of it.
    pub silos: Vec<String>,
}

/// One line of the answer while a snapshot of the index is taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupLine {
    /// How far it came.
    Progress(Progress),
    /// The last line: what was taken.
    Taken(TakenView),
    /// The last line where none was.
    Error(String),
}

/// Whether a restored index is taken for all there is to know from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// False where that was so already.
    pub accepted: bool,
}

/// One line of a check's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckLine {
    /// One thing found wrong.
    Finding(Finding),
    /// The last line: what was looked at.
    Checked(Checked),
    /// The last line of a check that broke off.
    Error(String),
}

/// Milliseconds as a time; what no calendar holds is 1970.
pub fn time(ms: UnixMs) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH)
}

impl From<Account> for AccountView {
    fn from(account: Account) -> Self {
        Self {
            name: account.name,
            canonical_id: account.canonical_id,
            admin: account.admin,
            disabled: account.disabled,
            created: time(account.created),
        }
    }
}

impl From<AccessKey> for KeyView {
    fn from(key: AccessKey) -> Self {
        Self { access_key_id: key.id, created: time(key.created) }
    }
}

impl NewKeyView {
    /// A new key as it is shown once.
    pub fn new(account: &Account, key: &NewKey) -> Self {
        Self {
            account: account.name.clone(),
            canonical_id: account.canonical_id.clone(),
            access_key_id: key.key.id.clone(),
            secret_access_key: key.secret.expose_secret().to_owned(),
            created: time(key.key.created),
        }
    }
}

impl From<SiloInfo> for SiloView {
    fn from(silo: SiloInfo) -> Self {
        Self {
            id: silo.id,
            name: silo.name,
            url: silo.url,
            access: silo.access,
            cordoned: silo.cordoned,
            paused: silo.paused,
            health: silo.health,
            lost: silo.lost.map(time),
            extents: silo.extents,
            used: silo.used,
            retired_extents: silo.retired_extents,
            retired: silo.retired,
            free: silo.free,
            reserve: silo.reserve,
            price: silo.price,
            created: time(silo.created),
            facts: silo.facts,
        }
    }
}

impl From<Probed> for ProbeView {
    fn from(probed: Probed) -> Self {
        let (speed, unmeasured) = match probed.speed {
            Measured::Speed(speed) => (Some(speed.into()), None),
            Measured::Not(reason) => (None, Some(reason)),
        };
        Self {
            silo: probed.silo.into(),
            facts_changed: probed.facts_changed,
            identity: probed.identity,
            total: probed.space.map(|space| space.total),
            look_us: micros(probed.look),
            speed,
            unmeasured,
        }
    }
}

impl From<Speed> for SpeedView {
    fn from(speed: Speed) -> Self {
        Self {
            small: speed.small,
            put_us: micros(speed.put),
            get_us: micros(speed.get),
            delete_us: micros(speed.delete),
            size: speed.size,
            write_us: micros(speed.write),
            read_us: micros(speed.read),
            write_rate: rate(speed.size, speed.write),
            read_rate: rate(speed.size, speed.read),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Bytes a second; what took no time took a microsecond.
fn rate(bytes: u64, time: Duration) -> u64 {
    bytes.saturating_mul(1_000_000) / micros(time).max(1)
}

impl From<JobInfo> for JobView {
    fn from(job: JobInfo) -> Self {
        Self {
            id: job.id,
            order: job.order,
            pace: job.pace,
            state: job.state,
            created: time(job.created),
            finished: job.finished.map(time),
            planned_objects: job.planned_objects,
            planned_bytes: job.planned_bytes,
            moved_objects: job.moved_objects,
            moved_bytes: job.moved_bytes,
            superseded: job.superseded,
            failed: job.failed,
            error: job.error,
            refused: job.refused,
            damaged: job.damaged,
            mended: job.mended,
        }
    }
}

impl From<Damage> for DamageView {
    fn from(damage: Damage) -> Self {
        Self {
            silo: damage.silo,
            bucket: damage.bucket,
            key: damage.key,
            extent: damage.extent,
            place: damage.place,
            flaw: damage.flaw,
            reason: damage.reason,
            found: time(damage.found),
            done: damage.done,
        }
    }
}

impl From<BackupStatus> for BackupView {
    fn from(status: BackupStatus) -> Self {
        Self {
            enabled: status.enabled,
            snapshot: status.snapshot.map(time),
            covered: status.covered.map(time),
            silos: status.silos,
            problem: status.problem,
        }
    }
}

impl From<Taken> for TakenView {
    fn from(taken: Taken) -> Self {
        Self { sequence: taken.sequence, at: time(taken.at), rows: taken.rows, bytes: taken.bytes, silos: taken.silos }
    }
}

impl From<ReplicaInfo> for ReplicaView {
    fn from(replica: ReplicaInfo) -> Self {
        Self {
            extent: replica.extent,
            silo: replica.silo,
            state: replica.state,
            blob: replica.blob,
            bytes: replica.bytes,
            since: time(replica.since),
            job: replica.job,
            objective: replica.objective,
        }
    }
}
