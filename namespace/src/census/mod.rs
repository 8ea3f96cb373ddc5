//! The inventory that people read: a table of all objects, as Parquet files in a bucket of our own, which clients read like any other
//! and do not write to. What is called inventory in this crate are the silos; this is the census.
//!
//! Of each bucket a run makes `BUCKET/YYYY-MM-DDTHH-MMZ/part-00000.parquet` and so on, and then the same under `BUCKET/latest/`.
//! Until they are all there they are under `BUCKET/.writing/`. Then `BUCKET/.writing/run/YYYY-MM-DDTHH-MMZ/FILES`, which is empty, says that
//! they are, until all are shown: where that breaks off, the next run ends it. The newest two runs are kept. Of a bucket whose files would be
//! those of the latest run nothing is written.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::copy::CopyObject;
use crate::delete::DeleteError;
use crate::fault::Fault;
use crate::find::{Question, Search};
use crate::get::GetError;
use crate::job::OrderError;
use crate::limits::{CENSUS_FILE, CENSUS_KEPT, CENSUS_REST, CENSUS_SOON, LIST_PAGE};
use crate::list::{Line, List};
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::object::{Condition, Headers};
use crate::objective::Scope;
use crate::put::{PutError, PutObject, Upload};

mod file;
mod home;

use file::File;
pub(crate) use home::row as home_row;

/// The bucket's name. Clients cannot create it, nor write to it once it is ours.
pub const BUCKET: &str = "holdall-inventory";

const LATEST: &str = "latest";
const WRITING: &str = ".writing";
const RUN: &str = "run";
/// Bytes of a body's piece.
const PIECE: usize = 256 << 10;

/// Why no run began.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CensusError {
    /// One is under way.
    #[error("the inventory is being written")]
    UnderWay,
    /// There was a bucket of that name before it was reserved, which is not ours to write to.
    #[error(
        "bucket `{BUCKET}` is another account's, or not empty, or taken over into: the inventory is written once it is gone"
    )]
    Foreign,
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Buckets that are done.
    pub buckets: u64,
    /// Objects in what was written.
    pub objects: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that could not be looked at and are missing in it.
    pub unclear: u64,
    /// The first of them, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub example: Option<String>,
    /// Buckets whose inventory stays as it was, and why.
    pub skipped: Vec<(String, String)>,
}

/// A run under way. It goes on as it is asked; where it is not asked any more, what is under way stays unfinished.
pub struct Census {
    namespace: Namespace,
    _alone: OwnedMutexGuard<()>,
    home: Bucket,
    /// What this run is called.
    moment: String,
    now: UnixMs,
    left: VecDeque<String>,
    all: BTreeSet<String>,
    under_way: Option<UnderWay>,
    done: Taken,
    /// A file ends at about so many bytes.
    cut: usize,
}

/// A bucket that is being written.
struct UnderWay {
    bucket: String,
    search: Search,
    file: File,
    objects: u64,
    bytes: u64,
    files: usize,
    /// They are those of the latest run so far, and were not written.
    same: bool,
}

impl Namespace {
    /// Begins a run.
    pub async fn census(&self) -> Result<Census, CensusError> {
        self.core.census().await
    }

    /// Writes the inventory again and again, beside requests; by order alone where `every` is zero.
    pub fn keep_inventory(self: &Arc<Self>, every: Duration) {
        if !every.is_zero() {
            self.keep(tokio::spawn(Arc::clone(&self.core).take_census_forever(every)));
        }
    }
}

impl Core {
    async fn census(self: &Arc<Self>) -> Result<Census, CensusError> {
        let alone = Arc::clone(&self.taking_census).try_lock_owned().map_err(|_| CensusError::UnderWay)?;
        let (namespace, now) = (Namespace::of(self), self.clock.now());
        let home = namespace.inventory_bucket().await?;
        let names = self.bucket_rows().await?.into_iter().map(|(name, _)| name.to_string());
        let left: VecDeque<String> = names.filter(|name| name != BUCKET).collect();
        let (all, moment) = (left.iter().cloned().collect(), moment(now));
        let (under_way, done, cut) = (None, Taken::default(), CENSUS_FILE);
        Ok(Census { namespace, _alone: alone, home, moment, now, left, all, under_way, done, cut })
    }

    async fn take_census_forever(self: Arc<Self>, every: Duration) {
        let mut rest = CENSUS_SOON.min(every);
        loop {
            self.clock.sleep(rest).await;
            rest = every;
            if !self.leads().await.unwrap_or(false) || !self.worth_a_census().await.unwrap_or(false) {
                continue;
            }
            let began = self.clock.monotonic();
            match self.take_census().await {
                Ok(Taken { objects, files, bytes, .. }) => tracing::info!(objects, files, bytes, "inventory written"),
                Err(CensusError::UnderWay) => tracing::info!("the inventory is being written already"),
                Err(error) => tracing::warn!(%error, "the inventory was not written"),
            }
            rest = rest_after(self.clock.monotonic().saturating_sub(began), every);
        }
    }

    /// Whether there are buckets, and a silo that takes a file.
    async fn worth_a_census(&self) -> Result<bool, Fault> {
        let takes = self.inventory().silos.values().any(|open| open.candidate().takes(CENSUS_FILE as u64));
        Ok(takes && self.bucket_rows().await?.iter().any(|(name, _)| name.as_str() != BUCKET))
    }

    async fn take_census(self: &Arc<Self>) -> Result<Taken, CensusError> {
        let (mut census, mut taken) = (self.census().await?, Taken::default());
        while let Some(now) = census.next().await? {
            taken = now;
        }
        for (bucket, reason) in &taken.skipped {
            tracing::warn!(bucket, reason, "the inventory of a bucket stays as it was");
        }
        if let Some(example) = &taken.example {
            tracing::warn!(objects = taken.unclear, example, "objects are missing in the inventory");
        }
        Ok(taken)
    }
}

/// How long it is until the next run after one that took so long: a large namespace is not walked all the time.
fn rest_after(took: Duration, every: Duration) -> Duration {
    every.max(took.saturating_mul(CENSUS_REST))
}

/// What a run is called: `2026-11-30T19-00Z`.
fn moment(now: UnixMs) -> String {
    let now = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H-%MZ").to_string()
}

/// Whether a folder's name is a run's.
fn is_moment(name: &str) -> bool {
    name.len() == 17 && name.ends_with('Z') && name.as_bytes()[10] == b'T'
}

/// Keys, or names of folders, that follow `after`: a page of them.
async fn keys(namespace: &Namespace, home: &Bucket, prefix: &str, after: &str) -> Result<Vec<String>, Fault> {
    let list = List { prefix: prefix.to_owned(), after: after.to_owned(), limit: LIST_PAGE, ..List::default() };
    let page = namespace.list(home, list).await?;
    Ok(page.lines.iter().map(|line| line.text().to_owned()).collect())
}

impl Census {
    /// Goes on by a page, at the pace that leaves half of the time to others, and says how far it is; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Taken>, Fault> {
        let clock = Arc::clone(&self.namespace.clock);
        let began = clock.monotonic();
        let ended = match self.under_way.take() {
            None => match self.left.pop_front() {
                Some(bucket) => self.begin(bucket).await.map(|()| false)?,
                None => self.forget_buckets().await.map(|()| true)?,
            },
            Some(under_way) => self.go_on(under_way).await.map(|()| false)?,
        };
        clock.sleep(clock.monotonic().saturating_sub(began)).await;
        Ok((!ended).then(|| self.done.clone()))
    }

    /// Makes short files, for tests.
    pub fn cut_files_for_tests(&mut self, bytes: usize) {
        self.cut = bytes;
    }

    async fn begin(&mut self, bucket: String) -> Result<(), Fault> {
        self.end_broken(&bucket).await?;
        let on = Scope { bucket: Some(bucket.clone()), prefix: String::new() };
        match self.namespace.search(&Question { on, ..Question::default() }).await {
            Ok(search) => {
                let file = File::begin(self.now)?;
                self.under_way = Some(UnderWay { bucket, search, file, objects: 0, bytes: 0, files: 0, same: true });
                Ok(())
            }
            Err(OrderError::Fault(fault)) => Err(fault),
            // It was deleted meanwhile.
            Err(_) => {
                self.all.remove(&bucket);
                Ok(())
            }
        }
    }

    async fn go_on(&mut self, mut under_way: UnderWay) -> Result<(), Fault> {
        match under_way.search.next().await {
            Ok(Some(found)) => {
                under_way.objects += found.len() as u64;
                found.into_iter().try_for_each(|found| under_way.file.add(found))?;
                if under_way.file.bytes() >= self.cut {
                    self.end_file(&mut under_way).await?;
                }
                self.under_way = Some(under_way);
            }
            Ok(None) => {
                self.end_file(&mut under_way).await?;
                if !under_way.same || self.is_there(&part(&under_way.bucket, LATEST, under_way.files)).await? {
                    self.write_what_is_same(&mut under_way).await?;
                    self.publish(&under_way).await?;
                }
                self.done.buckets += 1;
                self.done.objects += under_way.objects;
                self.done.files += under_way.files as u64;
                self.done.bytes += under_way.bytes;
                let unclear = &under_way.search.unclear;
                self.done.unclear += unclear.objects;
                self.done.example = self.done.example.take().or_else(|| unclear.example());
            }
            // What is being taken over and was not seen yet: half an inventory is none.
            Err(fault) => self.done.skipped.push((under_way.bucket, fault.to_string())),
        }
        Ok(())
    }

    /// Puts the file that was made, unless it is that of the latest run and so were all before, and begins another.
    async fn end_file(&self, under_way: &mut UnderWay) -> Result<(), Fault> {
        let file = std::mem::replace(&mut under_way.file, File::begin(self.now)?);
        let bytes = Bytes::from(file.finish()?);
        under_way.bytes += bytes.len() as u64;
        if !(under_way.same && self.is_as_latest(under_way, &bytes).await?) {
            self.write_what_is_same(under_way).await?;
            self.put(&part(&under_way.bucket, WRITING, under_way.files), bytes).await?;
        }
        under_way.files += 1;
        Ok(())
    }

    async fn is_as_latest(&self, under_way: &UnderWay, bytes: &Bytes) -> Result<bool, Fault> {
        let latest = self.etag(&part(&under_way.bucket, LATEST, under_way.files)).await?;
        Ok(latest.is_some_and(|etag| etag == const_hex::encode(Md5::digest(bytes))))
    }

    /// The files that were not written since they were the same, by reference to the same bytes.
    async fn write_what_is_same(&self, under_way: &mut UnderWay) -> Result<(), Fault> {
        if std::mem::take(&mut under_way.same) {
            for number in 0..under_way.files {
                let bucket = &under_way.bucket;
                self.copy(&part(bucket, LATEST, number), &part(bucket, WRITING, number)).await?;
            }
        }
        Ok(())
    }

    async fn is_there(&self, key: &str) -> Result<bool, Fault> {
        Ok(self.etag(key).await?.is_some())
    }

    async fn etag(&self, key: &str) -> Result<Option<String>, Fault> {
        match self.namespace.head(&self.home, &parsed(key)?).await {
            Ok(object) => Ok(Some(object.etag)),
            Err(GetError::NoSuchKey) => Ok(None),
            Err(GetError::Fault(fault)) => Err(fault),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Fault> {
        let size = bytes.len() as u64;
        let pieces = (0..bytes.len()).step_by(PIECE).map(move |at| Ok(bytes.slice(at..bytes.len().min(at + PIECE))));
        let body = stream::iter(pieces.collect::<Vec<_>>()).boxed();
        let upload = Upload { body, size, algorithm: None, verify: Box::new(|_| Ok(())) };
        let system = vec![("content-type".to_owned(), "application/vnd.apache.parquet".to_owned())];
        let (headers, condition) = (Headers { system, user: Vec::new() }, Condition::default());
        let (bucket, key) = (&self.home, &parsed(key)?);
        let put = PutObject { bucket, key, upload, headers, tags: Vec::new(), storage_class: None, condition };
        self.namespace.put(put).await.map(drop).map_err(not_put)
    }

    /// Shows what was written. From the mark on, a run that ends before this does leaves the rest to the next one.
    async fn publish(&self, under_way: &UnderWay) -> Result<(), Fault> {
        let (bucket, files) = (&under_way.bucket, under_way.files);
        self.put(&format!("{bucket}/{WRITING}/{RUN}/{}/{files}", self.moment), Bytes::new()).await?;
        self.show(bucket, &self.moment, files).await?;
        self.clear_written(bucket).await
    }

    /// Shows all of a run that broke off while it was shown, and takes away what is left of one.
    async fn end_broken(&self, bucket: &str) -> Result<(), Fault> {
        if let Some((moment, files)) = self.marked(bucket).await?
            && let Err(fault) = self.show(bucket, &moment, files).await
        {
            tracing::warn!(bucket, %moment, %fault, "a run of the inventory that broke off is taken away");
            self.clear(&format!("{bucket}/{moment}/"), |_| false).await?;
        }
        self.clear_written(bucket).await
    }

    /// The run that was being shown, and how many files it has.
    async fn marked(&self, bucket: &str) -> Result<Option<(String, usize)>, Fault> {
        let prefix = format!("{bucket}/{WRITING}/{RUN}/");
        let marks = keys(&self.namespace, &self.home, &prefix, "").await?;
        Ok(marks.iter().find_map(|mark| {
            let (moment, files) = mark.strip_prefix(&prefix)?.split_once('/')?;
            Some((moment.to_owned(), files.parse().ok()?))
        }))
    }

    /// The mark goes first: it promises that all files are there.
    async fn clear_written(&self, bucket: &str) -> Result<(), Fault> {
        self.clear(&format!("{bucket}/{WRITING}/{RUN}/"), |_| false).await?;
        self.clear(&format!("{bucket}/{WRITING}/"), |_| false).await
    }

    /// Shows files under the run's name, and as the latest, by reference to the same bytes; done again, it does no harm.
    async fn show(&self, bucket: &str, moment: &str, files: usize) -> Result<(), Fault> {
        for folder in [moment, LATEST] {
            for number in 0..files {
                self.copy(&part(bucket, WRITING, number), &part(bucket, folder, number)).await?;
            }
            let within = part(bucket, folder, files);
            self.clear(&format!("{bucket}/{folder}/"), |key| *key < *within).await?;
        }
        let mut moments = self.folders(&format!("{bucket}/")).await?;
        moments.retain(|name| is_moment(name));
        let old = moments.len().saturating_sub(CENSUS_KEPT);
        for name in &moments[..old] {
            self.clear(&format!("{bucket}/{name}/"), |_| false).await?;
        }
        Ok(())
    }

    async fn copy(&self, from: &str, to: &str) -> Result<(), Fault> {
        let source = self.namespace.open_object(&self.home, &parsed(from)?).await.map_err(|error| match error {
            GetError::Fault(fault) => fault,
            GetError::NoSuchKey => Fault::Unavailable(format!("`{from}` is gone")),
        })?;
        let copy = CopyObject {
            source: &source,
            bucket: &self.home,
            key: &parsed(to)?,
            headers: None,
            tags: None,
            storage_class: None,
            algorithm: None,
            condition: Condition::default(),
        };
        self.namespace.copy(copy).await.map(drop).map_err(not_put)
    }

    /// Deletes what is under a prefix and is not kept.
    async fn clear(&self, prefix: &str, kept: impl Fn(&str) -> bool) -> Result<(), Fault> {
        let mut after = String::new();
        loop {
            let page = keys(&self.namespace, &self.home, prefix, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for key in page.iter().filter(|key| !kept(key)) {
                let deleted = self.namespace.delete(&self.home, &parsed(key)?, Condition::default()).await;
                if let Err(DeleteError::Fault(fault)) = deleted {
                    return Err(fault);
                }
            }
        }
    }

    /// The folders under a prefix, in the order of their names.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let (mut folders, mut after) = (Vec::new(), String::new());
        loop {
            let list = List { prefix: prefix.to_owned(), delimiter: "/".to_owned(), after, limit: LIST_PAGE };
            let page = self.namespace.list(&self.home, list).await?;
            folders.extend(page.lines.iter().filter_map(|line| match line {
                Line::Prefix(folder) => folder.strip_prefix(prefix)?.strip_suffix('/').map(str::to_owned),
                Line::Object(_) => None,
            }));
            let Some(next) = page.next else { return Ok(folders) };
            after = next;
        }
    }

    /// What is of buckets that there are no more.
    async fn forget_buckets(&mut self) -> Result<(), Fault> {
        for folder in self.folders("").await? {
            if !self.all.contains(&folder) {
                self.clear(&format!("{folder}/"), |_| false).await?;
            }
        }
        Ok(())
    }
}

fn part(bucket: &str, folder: &str, number: usize) -> String {
    format!("{bucket}/{folder}/part-{number:05}.parquet")
}

fn parsed(key: &str) -> Result<ObjectKey, Fault> {
    key.parse().map_err(|_| Fault::Damaged(format!("`{key}` is no key")))
}

fn not_put(error: PutError) -> Fault {
    match error {
        PutError::Fault(fault) => fault,
        other => Fault::Unavailable(format!("the inventory was not written: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_takes_long_is_made_less_often() {
        let minutes = Duration::from_mins;
        assert_eq!(rest_after(minutes(1), minutes(60)), minutes(60));
        assert_eq!(rest_after(minutes(30), minutes(60)), minutes(300));
    }

    #[test]
    fn runs_are_called_by_the_minute_and_sort_by_time() {
        assert_eq!(moment(1_796_065_260_000), "2026-11-30T19-01Z");
        assert!(is_moment(&moment(0)) && moment(0) < moment(60_000));
        for other in [LATEST, WRITING, "2026-11-30T19-00Z ", "2026-11-30 19-00Z"] {
            assert!(!is_moment(other), "{other}");
        }
    }
}
