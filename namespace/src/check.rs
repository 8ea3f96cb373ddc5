//! `holdall check`: does the index agree with the silos, and with itself?
//!
//! Read-only and in constant memory: tables are read in pages, each page is held against the rows and blobs that it
//! names, and what has to be matched the other way round goes through a ledger of fixed size. Writes may go on
//! meanwhile. What looks wrong is looked at again: an object, a reference or a replica whose row stands as it stood
//! before must have had all it names in between, so only what is still wrong then is a finding.
//!
//! Costs one `stat` for each replica (one for all records of a pack) and one listing of each silo; `--deep` reads every byte.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::engine::{Engine, Key, Page};
use crate::fault::Fault;
use crate::namespace::{Core, Namespace};
use crate::table::{after_prefix, decode, successor};

use count::Counts;
use ledger::Ledger;
use names::Nameless;

mod blobs;
mod count;
mod ledger;
mod names;
mod objects;
mod packs;
mod rows;

/// One thing found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Finding {
    /// A row names a blob that its silo does not have.
    Missing {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// An object that needs it, if one does.
        object: Option<String>,
    },
    /// A blob is shorter or longer than its row says.
    WrongSize {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// As the row says.
        expected: u64,
        /// As the silo says.
        actual: u64,
    },
    /// No row names these bytes of ours and no live session still can.
    Orphan {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// Stored bytes.
        bytes: u64,
    },
    /// `--deep`: the bytes do not match the digest.
    Damaged {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// What differs.
        reason: String,
        /// An object that needs it, if one does.
        object: Option<String>,
    },
    /// `--deep`: the blob says it is something else (a swapped pair).
    WrongBlob {
        /// Silo.
        silo: String,
        /// Blob.
        blob: String,
        /// What it says.
        says: String,
    },
    /// A version or part names an extent that has no row or no replica.
    NoBytes {
        /// The object.
        object: String,
        /// The extent.
        extent: String,
    },
    /// A reference, journal or retired row that fits nothing.
    Dangling {
        /// What it is.
        row: String,
    },
    /// A counter is not what counting gives.
    WrongCount {
        /// `bucket photos`, `silo hot`.
        what: String,
        /// As counted.
        counted: String,
        /// As stored.
        stored: String,
    },
    /// The blob is in a silo under a name that is none of ours.
    Foreign {
        /// Silo.
        silo: String,
        /// Its name.
        name: String,
    },
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Versions.
    pub objects: u64,
    /// Extents.
    pub extents: u64,
    /// Blobs in silos.
    pub blobs: u64,
    /// Bytes read (`--deep`).
    pub bytes: u64,
    /// How many findings there were.
    pub findings: u64,
    /// False when writes went on meanwhile, so that some counters could not be compared.
    pub counts_compared: bool,
}

impl Namespace {
    /// Compares, read-only, in constant memory; calls `found` for each finding as it is made. What changed meanwhile
    /// is looked at again before it is called a finding. A silo that does not answer ends the check with a fault.
    pub async fn check(&self, deep: bool, found: &mut (dyn FnMut(Finding) + Send)) -> Result<Checked, Fault> {
        self.core.refresh_inventory(false).await?;
        let mut run = Run {
            core: &self.core,
            deep,
            found,
            seen: Checked::default(),
            ledger: Ledger::default(),
            packs: packs::Sums::default(),
            nameless: Nameless::default(),
            counts: Counts::default(),
        };
        run.seen.counts_compared = true;
        run.extents().await?;
        run.packs().await?;
        run.blobs().await?;
        run.parts().await?;
        run.manifests().await?;
        run.buckets().await?;
        run.references().await?;
        run.retired().await?;
        run.journal().await?;
        run.block_sums().await?;
        run.labels().await?;
        run.accounts().await?;
        run.stray_counters().await?;
        run.name_the_rest();
        run.loose_ends().await?;
        Ok(run.seen)
    }
}

/// One check under way.
struct Run<'a> {
    core: &'a Arc<Core>,
    deep: bool,
    found: &'a mut (dyn FnMut(Finding) + Send),
    seen: Checked,
    /// References, retirements and attributes, seen from both ends.
    ledger: Ledger,
    /// How much of packs is named, seen from both ends.
    packs: packs::Sums,
    /// Findings that wait for the name of an object.
    nameless: Nameless,
    counts: Counts,
}

impl Run<'_> {
    fn report(&mut self, finding: Finding) {
        self.seen.findings += 1;
        (self.found)(finding);
    }

    fn dangling(&mut self, row: impl Into<String>) {
        self.report(Finding::Dangling { row: row.into() });
    }

    fn engine(&self) -> &dyn Engine {
        &*self.core.engine
    }
}

/// Rows of a range, a page at a time.
struct Pages {
    range: std::ops::Range<Key>,
    rows: usize,
}

impl Pages {
    /// Of a table.
    fn of(table: u8, rows: usize) -> Self {
        Self::under(vec![table], rows)
    }

    /// Of all keys with a prefix.
    fn under(prefix: Key, rows: usize) -> Self {
        let end = after_prefix(&prefix);
        Self { range: prefix..end, rows }
    }

    /// The next page; empty at the end.
    async fn next(&mut self, engine: &dyn Engine) -> Result<Page, Fault> {
        let page = engine.range(self.range.clone(), self.rows, usize::MAX).await?;
        if let Some((last, _)) = page.last() {
            self.range.start = successor(last);
        }
        Ok(page)
    }
}

/// A row that may be absent; one that does not read was, or will be, reported where its table is read.
fn read<T: serde::de::DeserializeOwned>(row: Option<&Bytes>) -> Option<T> {
    row.and_then(|bytes| decode(bytes).ok())
}
