//! An index made again from what its silos keep: the newest snapshot from before a moment, the log after it, and then what
//! blobs and packs say of themselves.
//!
//! Nothing is guessed. A damaged piece is taken from another silo, and where there is none the restore ends and says up to
//! when it could have gone. What silos hold that the restored index does not know is listed and kept, never published.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::backup::piece::{Line, PieceKey};
use crate::backup::shelf::{Shelf, Source, Whole};
use crate::clock::UnixMs;
use crate::engine::Engine;
use crate::fault::Fault;
use crate::table::INDEX_FORMAT;

mod fill;
mod publish;
mod source;
mod stock;

pub use source::{NotASource, open_source};
pub use stock::{Stock, StockLine};

/// Why an index was not restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is nothing to restore from.
    #[error("no backup of an index lies in {0}")]
    NoBackup(String),
    /// There is, and this key does not open it.
    #[error("the backups were sealed with another key than this one")]
    OtherKey,
    /// There is no whole snapshot from before the moment.
    #[error("no whole snapshot of the index lies there from before that moment{0}")]
    NoSnapshot(String),
    /// The silos hold backups of several namespaces.
    #[error("there are backups of several namespaces there: {}", .0.join(", "))]
    Namespaces(Vec<String>),
    /// A snapshot was written by a later version.
    #[error("the snapshot has format {found}, this version reads up to {INDEX_FORMAT}")]
    Format {
        /// As found.
        found: u32,
    },
    /// A piece of the log is lost or damaged everywhere.
    #[error("the log breaks off at {}: {reason}; `--at` that moment restores up to there", shown(*.until))]
    Broken {
        /// The last entry before that was made then.
        until: UnixMs,
        /// What was found.
        reason: String,
    },
    /// The new index could not be written.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The namespace.
    pub namespace: String,
    /// When the snapshot was taken.
    pub snapshot: UnixMs,
    /// Every commit up to then is in.
    pub until: UnixMs,
    /// Rows of the snapshot.
    pub rows: u64,
    /// Entries of the log carried out on top of it.
    pub entries: u64,
    /// The last of them, by the number it has in pieces.
    pub last_entry: u64,
    /// Sessions up to this one wrote into the silos.
    pub last_session: u64,
    /// Pieces that were damaged or missing and were not needed, or were taken from another silo.
    pub flaws: Vec<String>,
}

/// Called with the rows written so far.
pub type Report<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// Makes a new, empty engine; what an earlier one was filled with is given up.
pub type Make<'a> = &'a (dyn Fn() -> Result<Arc<dyn Engine>, Fault> + Send + Sync);

/// A restore under way.
struct Run<'a> {
    shelf: &'a Shelf,
    key: &'a PieceKey,
    at: Option<UnixMs>,
    report: Report<'a>,
}

/// A snapshot that cannot be restored from.
struct Lost {
    /// The last entry that it holds.
    sequence: u64,
    /// When that was made, where it says so.
    made: Option<UnixMs>,
    reason: String,
}

impl Lost {
    /// Whether it has more than was restored of what was asked for.
    fn is_missed(&self, at: Option<UnixMs>, restored: &Restored) -> bool {
        match at {
            None => self.sequence > restored.last_entry,
            Some(at) => self.made.is_some_and(|made| made <= at && made > restored.until),
        }
    }
}

/// Fills a new index from backups in these silos, as of `at` or as new as can be. The index answered is whole.
pub async fn restore(
    sources: Vec<Source>,
    seal_key: &[u8; 32],
    at: Option<UnixMs>,
    make: Make<'_>,
    report: Report<'_>,
) -> Result<(Arc<dyn Engine>, Restored), RestoreError> {
    let names: Vec<String> = sources.iter().map(|source| format!("`{}`", source.name)).collect();
    let of_blobs = source::last_session(&sources).await;
    let (shelf, key) = (Shelf::list(sources).await, PieceKey::new(seal_key));
    let last_session = shelf.names().map(|(name, _)| name.extent.0).fold(of_blobs, u64::max);
    if shelf.names().next().is_none() {
        return Err(RestoreError::NoBackup(names.join(", ")));
    }
    let run = Run { shelf: &shelf, key: &key, at, report };
    let mut flaws: Vec<String> =
        shelf.silent.iter().map(|(silo, error)| format!("silo `{silo}` does not answer: {error}")).collect();
    let mut lost = Vec::new();
    let candidates = run.candidates(&mut flaws, &mut lost).await?;
    let namespaces: BTreeSet<String> = candidates.iter().map(|whole| whole.namespace.clone()).collect();
    if namespaces.len() > 1 {
        return Err(RestoreError::Namespaces(namespaces.into_iter().collect()));
    }
    let snapshots: Vec<(Line, u64)> =
        candidates.iter().map(|whole| (whole.manifest.line, whole.manifest.sequence)).collect();
    for Whole { manifest, namespace, flaws: of_manifest } in candidates {
        flaws.extend(of_manifest);
        if manifest.format > INDEX_FORMAT {
            return Err(RestoreError::Format { found: manifest.format });
        }
        let engine = make()?;
        let mut restored = Restored { namespace, snapshot: manifest.at, last_session, ..Restored::default() };
        match run.snapshot(&*engine, &manifest, &mut restored).await {
            Ok(()) => {}
            Err(fill::Stopped::Unread(unread)) => {
                flaws.push(format!("the snapshot of {} is not whole: {unread}", shown(manifest.at)));
                let (sequence, made) = (manifest.sequence, Some(manifest.at));
                lost.push(Lost { sequence, made, reason: unread.to_string() });
                continue;
            }
            Err(fill::Stopped::Fault(fault)) => return Err(fault.into()),
        }
        restored.flaws.splice(0..0, flaws);
        run.log(&*engine, &manifest, &mut restored).await?;
        if let Some(Lost { sequence, reason, .. }) = lost.into_iter().find(|lost| lost.is_missed(at, &restored)) {
            let reason = format!("the snapshot at entry {sequence}, which is newer, does not read: {reason}");
            return Err(RestoreError::Broken { until: restored.until, reason });
        }
        let newer = |(line, sequence): &&(Line, u64)| *line != manifest.line && *sequence > restored.last_entry;
        if let Some((_, sequence)) = snapshots.iter().find(newer).filter(|_| at.is_none()) {
            let reason = format!("the snapshot at entry {sequence}, of another line, is newer though its time is not");
            return Err(RestoreError::Broken { until: restored.until, reason });
        }
        fill::begin(&*engine, &shelf, None, restored.last_session).await?;
        return Ok((engine, restored));
    }
    Err(RestoreError::NoSnapshot(flaws.iter().fold(String::new(), |all, flaw| format!("{all}; {flaw}"))))
}

impl Run<'_> {
    /// Whole snapshots from before the moment, newest first; and those that do not read.
    async fn candidates(&self, flaws: &mut Vec<String>, lost: &mut Vec<Lost>) -> Result<Vec<Whole>, RestoreError> {
        let (mut found, mut other_key) = (Vec::new(), false);
        for (sequence, names) in self.shelf.snapshots() {
            match self.shelf.manifest(self.key, &names).await {
                Ok(Some(whole)) if self.at.is_none_or(|at| whole.manifest.at <= at) => found.push(whole),
                Ok(_) => {}
                Err(unread) => {
                    other_key |= unread.other_key;
                    flaws.push(format!("a snapshot at entry {sequence} does not read: {unread}"));
                    lost.push(Lost { sequence, made: None, reason: unread.to_string() });
                }
            }
        }
        // Numbers of one line are no later or earlier than those of another.
        found.sort_by_key(|whole| std::cmp::Reverse((whole.manifest.at, whole.manifest.sequence)));
        if found.is_empty() && other_key { Err(RestoreError::OtherKey) } else { Ok(found) }
    }
}

/// Makes an empty index that goes on with a namespace of which nothing but its silos is left: whose it is, and where its
/// numbers go on.
pub async fn begin_anew(engine: &dyn Engine, sources: Vec<Source>) -> Result<(), RestoreError> {
    let mut namespaces = BTreeSet::new();
    for source in &sources {
        if let Ok(Some(marker)) = source.silo.marker().await {
            namespaces.insert(marker.namespace);
        }
    }
    if namespaces.len() > 1 {
        return Err(RestoreError::Namespaces(namespaces.into_iter().collect()));
    }
    let Some(namespace) = namespaces.pop_first() else { return Err(RestoreError::NoBackup("any silo".to_owned())) };
    let of_blobs = source::last_session(&sources).await;
    let shelf = Shelf::list(sources).await;
    let last_session = shelf.names().map(|(name, _)| name.extent.0).fold(of_blobs, u64::max);
    Ok(fill::begin(engine, &shelf, Some(namespace), last_session).await?)
}

/// A moment as `--at` takes it.
pub fn shown(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.3}"))
}
