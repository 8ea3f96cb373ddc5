//! Counters against counting.
//!
//! A counter is read before and after what it counts was counted. When it moved, or came out wrong, it is counted
//! again: wrong twice by the same while the counter stood still is a finding, anything else is said to be uncompared.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Pages, Run};
use crate::account::AccountId;
use crate::bucket::Incarnation;
use crate::extent::ReplicaState;
use crate::fault::Fault;
use crate::limits::CHECK_PAGE;
use crate::table::accounts;
use crate::table::buckets::{BucketRow, owned};
use crate::table::extents::ExtentRow;
use crate::table::objects::ObjectRow;
use crate::table::usage::Counted;
use crate::table::{KeyBuilder, decode, key, read_number};
use crate::usage::Usage;

/// How often something is counted again.
const TRIES: usize = 4;

/// Counts as they are made, and counters as they were before.
#[derive(Debug, Default)]
pub(super) struct Counts {
    counted: BTreeMap<Counted, Usage>,
    before: BTreeMap<Counted, Usage>,
}

impl Counts {
    /// One more.
    pub(super) fn add(&mut self, of: Counted, bytes: u64) {
        add(&mut self.counted, of, 1, bytes as i64);
    }
}

fn add(counts: &mut BTreeMap<Counted, Usage>, of: Counted, objects: i64, bytes: i64) {
    let usage = counts.entry(of).or_default();
    usage.objects += objects;
    usage.bytes += bytes;
}

/// A counter, its value before counting, what was counted, its value after.
struct Measured {
    before: Usage,
    counted: Usage,
    after: Usage,
}

impl Measured {
    fn is_right(&self) -> bool {
        self.before == self.counted && self.after == self.counted
    }

    fn stood_still(&self) -> bool {
        self.before == self.after
    }

    fn off_by(&self) -> (i64, i64) {
        (self.after.objects - self.counted.objects, self.after.bytes - self.counted.bytes)
    }
}

impl Run<'_> {
    /// Buckets with their objects, and what their owners' accounts sum up to.
    pub(super) async fn buckets(&mut self) -> Result<(), Fault> {
        self.begin_account_counts().await?;
        let mut pages = Pages::of(key::BUCKETS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            for (key, bytes) in page {
                let name = String::from_utf8_lossy(&key[1..]).into_owned();
                let Ok(row) = decode::<BucketRow>(&bytes) else {
                    self.dangling(format!("the row of bucket `{name}` does not read"));
                    continue;
                };
                if self.engine().get(&[owned(row.owner, &name)]).await?[0].is_none()
                    && self.stands(&key, &bytes).await?
                {
                    self.dangling(format!("bucket `{name}` is not among those of account {}", row.owner));
                }
                let of = Counted::Bucket(row.incarnation);
                self.note_before(of).await?;
                self.objects(&name, row.incarnation).await?;
                let counted = self.counts.counted.remove(&of).unwrap_or_default();
                add(&mut self.counts.counted, Counted::Account(row.owner), counted.objects, counted.bytes);
                self.compare(of, &format!("bucket {name}"), counted).await?;
            }
        }
        self.compare_account_counts().await
    }

    async fn begin_account_counts(&mut self) -> Result<(), Fault> {
        for id in self.account_ids().await? {
            self.note_before(Counted::Account(id)).await?;
        }
        Ok(())
    }

    async fn compare_account_counts(&mut self) -> Result<(), Fault> {
        let counted: Vec<AccountId> = self.counts.counted.keys().filter_map(account_of).collect();
        let known: Vec<AccountId> = self.counts.before.keys().filter_map(account_of).collect();
        let all: BTreeSet<AccountId> = counted.into_iter().chain(known).collect();
        for id in all {
            let of = Counted::Account(id);
            let counted = self.counts.counted.remove(&of).unwrap_or_default();
            self.compare(of, &format!("account {id}"), counted).await?;
        }
        Ok(())
    }

    /// Before the extents are read.
    pub(super) async fn begin_silo_counts(&mut self) -> Result<(), Fault> {
        let silos: Vec<_> = self.core.inventory().silos.keys().copied().collect();
        for id in silos {
            self.note_before(Counted::Silo(id)).await?;
            self.note_before(Counted::Retired(id)).await?;
        }
        Ok(())
    }

    /// After the extents were read.
    pub(super) async fn compare_silo_counts(&mut self) -> Result<(), Fault> {
        let silos: Vec<_> = self.core.inventory().silos.iter().map(|(id, open)| (*id, open.row.name.clone())).collect();
        for (id, name) in silos {
            for (of, what) in
                [(Counted::Silo(id), format!("silo {name}")), (Counted::Retired(id), format!("silo {name}, retired"))]
            {
                let counted = self.counts.counted.remove(&of).unwrap_or_default();
                self.compare(of, &what, counted).await?;
            }
        }
        Ok(())
    }

    async fn note_before(&mut self, of: Counted) -> Result<(), Fault> {
        let before = self.core.counted(of).await?;
        self.counts.before.insert(of, before);
        Ok(())
    }

    async fn compare(&mut self, of: Counted, what: &str, counted: Usage) -> Result<(), Fault> {
        let before = self.counts.before.remove(&of).unwrap_or_default();
        let mut last = Measured { before, counted, after: self.core.counted(of).await? };
        for _ in 0..TRIES {
            if last.is_right() || !self.exists(of).await? {
                return Ok(());
            }
            let again = self.measure(of).await?;
            if again.stood_still() && last.stood_still() && again.off_by() == last.off_by() && !again.is_right() {
                let (counted, stored) = (say(again.counted), say(again.after));
                self.report(Finding::WrongCount { what: what.to_owned(), counted, stored });
                return Ok(());
            }
            last = again;
        }
        self.seen.counts_compared &= last.is_right();
        Ok(())
    }

    async fn measure(&self, of: Counted) -> Result<Measured, Fault> {
        let before = self.core.counted(of).await?;
        let counted = match of {
            Counted::Bucket(incarnation) => self.count_bucket(incarnation).await?,
            Counted::Account(id) => self.count_account(id).await?,
            Counted::Silo(_) | Counted::Retired(_) => self.count_silo(of).await?,
        };
        Ok(Measured { before, counted, after: self.core.counted(of).await? })
    }

    async fn count_bucket(&self, incarnation: Incarnation) -> Result<Usage, Fault> {
        let mut pages = Pages::under(KeyBuilder::new(key::OBJECTS).number(incarnation).build(), CHECK_PAGE);
        let mut usage = Usage::default();
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(usage);
            }
            for row in page.iter().filter_map(|(_, bytes)| decode::<ObjectRow>(bytes).ok()) {
                usage.objects += 1;
                usage.bytes += row.size as i64;
            }
        }
    }

    async fn count_account(&self, id: AccountId) -> Result<Usage, Fault> {
        let mut pages = Pages::of(key::BUCKETS, CHECK_PAGE);
        let mut usage = Usage::default();
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(usage);
            }
            for row in page.iter().filter_map(|(_, bytes)| decode::<BucketRow>(bytes).ok()) {
                if row.owner == id {
                    let bucket = self.count_bucket(row.incarnation).await?;
                    usage.objects += bucket.objects;
                    usage.bytes += bucket.bytes;
                }
            }
        }
    }

    async fn count_silo(&self, of: Counted) -> Result<Usage, Fault> {
        let mut pages = Pages::of(key::EXTENTS, CHECK_PAGE);
        let mut usage = Usage::default();
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(usage);
            }
            for row in page.iter().filter_map(|(_, bytes)| decode::<ExtentRow>(bytes).ok()) {
                let counts = |replica: &&crate::extent::Replica| match replica.state {
                    ReplicaState::Verified => of == Counted::Silo(replica.silo),
                    ReplicaState::Retired => of == Counted::Retired(replica.silo),
                };
                let count = row.replicas.iter().filter(counts).count() as i64;
                usage.objects += count;
                usage.bytes += count * row.size as i64;
            }
        }
    }

    /// Counters that are about nobody are at nothing.
    pub(super) async fn stray_counters(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::USAGE, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut stray = BTreeMap::new();
            for (key, bytes) in page {
                match counter_of(&key) {
                    None => self.dangling(format!("a counter does not read: {}", const_hex::encode(&key))),
                    Some(_) if crate::table::usage::read(Some(&bytes)) == 0 => {}
                    Some(of) => drop(stray.insert(of, (key, bytes))),
                }
            }
            self.forget_buckets(|of| drop(stray.remove(&of))).await?;
            for (of, (key, bytes)) in stray {
                if !matches!(of, Counted::Bucket(_)) && self.exists(of).await? {
                    continue;
                }
                if self.stands(&key, &bytes).await? {
                    let stored = say(self.core.counted(of).await?);
                    let what = format!("{of:?}, which is none");
                    self.report(Finding::WrongCount { what, counted: say(Usage::default()), stored });
                }
            }
        }
    }

    /// Drops the counters of buckets that are there.
    async fn forget_buckets(&self, mut forget: impl FnMut(Counted)) -> Result<(), Fault> {
        let mut pages = Pages::of(key::BUCKETS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page.iter().filter_map(|(_, bytes)| decode::<BucketRow>(bytes).ok()) {
                forget(Counted::Bucket(row.incarnation));
            }
        }
    }

    async fn exists(&self, of: Counted) -> Result<bool, Fault> {
        match of {
            Counted::Silo(id) | Counted::Retired(id) => Ok(self.core.inventory().silos.contains_key(&id)),
            Counted::Account(id) => {
                Ok(id == crate::account::FIRST || self.engine().get(&[accounts::account(id)]).await?[0].is_some())
            }
            Counted::Bucket(_) => {
                let mut left = BTreeSet::from([of]);
                self.forget_buckets(|of| {
                    left.remove(&of);
                })
                .await?;
                Ok(left.is_empty())
            }
        }
    }

    async fn account_ids(&self) -> Result<Vec<AccountId>, Fault> {
        let (mut pages, mut ids) = (Pages::of(key::ACCOUNTS, CHECK_PAGE), Vec::new());
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(ids);
            }
            ids.extend(page.iter().filter_map(|(key, _)| read_number(key, 1)));
        }
    }
}

fn account_of(of: &Counted) -> Option<AccountId> {
    match of {
        Counted::Account(id) => Some(*id),
        _ => None,
    }
}

fn counter_of(key: &[u8]) -> Option<Counted> {
    let id = read_number(key, 2)?;
    match *key.get(1)? {
        b'b' => Some(Counted::Bucket(id)),
        b'a' => Some(Counted::Account(id)),
        b's' => Some(Counted::Silo(u32::try_from(id).ok()?)),
        b'r' => Some(Counted::Retired(u32::try_from(id).ok()?)),
        _ => None,
    }
}

fn say(usage: Usage) -> String {
    format!("{} objects, {} bytes", usage.objects, usage.bytes)
}
