//! A pass: all names of a root, or of a part of it, against what is known of them.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_silos::SiloError;
use holdall_silos::holdings::{Found, Held, Holdings, Touched};

use super::fill::InPart;
use super::known::Sample;
use super::merge::{Step, merge};
use super::take::{Change, Followed, New, TAKEN_TOGETHER};
use super::{Counts, Noted, RootInfo, Unfilled};
use crate::bucket::{Bucket, show};
use crate::engine::Priority;
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::limits::{
    ASSIMILATED_AT_ONCE, GONE_AT_LEAST, GONE_AT_MOST, LOOKS_AT_ONCE, PASS_NOTE, SEEN_KEPT, TAKES_AT_ONCE, UNREAD_KEPT,
};
use crate::namespace::Core;
use crate::table::buckets::{BucketRow, bucket as bucket_key};
use crate::table::names::{self, NameRow, NameState};
use crate::table::roots::{RootId, RootRow};
use crate::table::{after_prefix, decode, decode_row, successor};

/// Known names read at once.
const KNOWN: usize = 2 * ASSIMILATED_AT_ONCE;

/// Why a pass ended early.
pub(super) enum Broken {
    /// The root was forgotten, or another gateway passes it.
    Over,
    /// Nothing of it counts.
    Failed(String),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault.to_string())
    }
}

impl Core {
    /// One pass of a root, or of what starts with `prefix` in it.
    pub(super) async fn try_pass(self: &Arc<Self>, row: RootRow, prefix: &str) -> Result<(), Broken> {
        let id = row.info.id;
        let mut pass = Pass::new(self, row, (!prefix.is_empty()).then(|| prefix.to_owned())).await?;
        if pass.is_whole() {
            pass.take_it().await?;
            pass.is_known().await?;
        }
        pass.walk().await?;
        pass.is_it().await?;
        if !pass.is_whole() {
            return pass.note_seen(id).await;
        }
        pass.remove_confirmed().await?;
        pass.conclude().await?;
        pass.fill().await
    }

    /// The bucket that a root goes into, if it is still that.
    pub(crate) async fn bucket_of(&self, root: &RootRow) -> Result<Option<Bucket>, Fault> {
        let name = &root.info.order.bucket;
        let row: Option<BucketRow> = decode_row(self.engine.get(&[bucket_key(name)]).await?[0].as_ref())?;
        Ok(row.filter(|row| row.incarnation == root.bucket).map(|row| show(name.clone(), row)))
    }

    /// What is known of a root's names that start with `prefix`, after `after` and up to `until`.
    pub(crate) async fn known_names(
        &self,
        root: &RootRow,
        prefix: &str,
        after: &[u8],
        until: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, NameRow)>, Fault> {
        let all = names::prefix(root.silo, prefix.as_bytes());
        let from =
            if after.is_empty() { all.clone() } else { successor(&names::name(root.silo, after)).max(all.clone()) };
        let end = after_prefix(&all);
        let end = until.map_or_else(|| end.clone(), |name| successor(&names::name(root.silo, name)).min(end.clone()));
        if from >= end {
            return Ok(Vec::new());
        }
        let page = self.engine.range(from..end, limit, usize::MAX).await?;
        let read = |key: &[u8]| names::read_name(key).ok_or_else(|| Fault::Damaged("a name's key".to_owned()));
        page.iter().map(|(key, row)| Ok((read(key)?, decode(row)?))).collect()
    }
}

/// A pass under way.
pub(super) struct Pass<'a> {
    pub(super) core: &'a Arc<Core>,
    pub(super) row: RootRow,
    bucket: Bucket,
    pub(super) open: Arc<OpenSilo>,
    pub(super) holdings: Arc<dyn Holdings>,
    /// What the names start with.
    names: String,
    counts: Counts,
    unread: Vec<Noted>,
    /// Something was made of which no headers were asked for.
    in_part: Option<InPart>,
    /// Names that are gone, as many as may be taken away without asking.
    gone: Vec<(Vec<u8>, NameRow)>,
    /// Names that are gone and were no objects, some of them.
    idle: Vec<Change>,
    gone_in_all: u64,
    /// A pass saw everything, and what it found to be gone was confirmed: this one takes it away.
    removing: bool,
    /// When it was last noted how far this came.
    noted: Duration,
    /// What is found was seen by a walk, which may be a while ago.
    walked: bool,
    sample: Sample,
}

impl<'a> Pass<'a> {
    /// Of a root, or of the names in it that start with `part`; the silo is the one that was registered.
    pub(super) async fn new(core: &'a Arc<Core>, row: RootRow, part: Option<String>) -> Result<Self, Broken> {
        let Some(bucket) = core.bucket_of(&row).await? else {
            return Err(Broken::Failed(format!("bucket `{}` is gone", row.info.order.bucket)));
        };
        let (open, holdings) = core.silo_of(&row)?;
        let pass = Self {
            core,
            bucket,
            open,
            holdings,
            names: part.unwrap_or_else(|| row.info.order.prefix.clone()),
            counts: Counts::default(),
            unread: Vec::new(),
            in_part: None,
            gone: Vec::new(),
            idle: Vec::new(),
            gone_in_all: 0,
            removing: false,
            noted: core.clock.monotonic(),
            walked: false,
            sample: Sample::default(),
            row,
        };
        pass.is_it().await?;
        Ok(pass)
    }

    /// Names that are gone, but for those below what could not be looked at. More than may ever go without asking is told
    /// by the first of them.
    pub(super) fn take_gone(&mut self) -> Vec<(Vec<u8>, NameRow)> {
        std::mem::take(&mut self.gone)
    }

    /// Whether a name lies below what could not be looked at.
    fn is_unread(&self, name: &[u8]) -> bool {
        self.unread.iter().any(|unread| name.starts_with(unread.name.as_bytes()))
    }

    /// Forgets names that are gone and were no objects.
    pub(super) async fn forget_idle(&mut self) -> Result<(), Broken> {
        let idle = std::mem::take(&mut self.idle);
        self.change_all(idle).await
    }

    /// Objects taken away.
    pub(super) fn removed(&self) -> u64 {
        self.counts.removed
    }

    /// Of all names of the root.
    fn is_whole(&self) -> bool {
        self.names == self.row.info.order.prefix
    }

    /// The silo is the one that was registered: an empty folder in its place has no names.
    pub(super) async fn is_it(&self) -> Result<(), Broken> {
        if self.open.health() == Health::Down {
            return Err(Broken::Failed(format!("silo `{}` is down", self.open.row.name)));
        }
        self.open.note(self.open.claim(&self.core.id).await).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &SiloError) -> Broken {
        Broken::Failed(format!("silo `{}`: {error}", self.open.row.name))
    }

    /// One gateway passes a root.
    async fn take_it(&self) -> Result<(), Broken> {
        let (me, seen) = (self.core.session().id, self.row.owner);
        let taken = self.core.change_root(self.row.info.id, move |row| {
            if row.owner == seen {
                row.owner = me;
            }
        });
        let mine = taken.await?.is_some_and(|row| row.owner == me);
        if mine { Ok(()) } else { Err(Broken::Over) }
    }

    pub(super) async fn walk(&mut self) -> Result<(), Broken> {
        self.walked = true;
        // A first pass goes on where it was; a later one must have seen everything.
        let (info, mut after) = (&self.row.info, Vec::new());
        if self.is_whole() && !info.complete && !info.at.is_empty() {
            after.extend_from_slice(info.at.as_bytes());
            self.counts = info.counts;
            self.unread.clone_from(&info.unread);
            self.unread.retain(|unread| !info.order.leaves_out(unread.name.as_bytes()));
        }
        let from = (!after.is_empty()).then_some(&after[..]);
        // Lists wait for parts, which are not slowed down.
        let rate = info.order.rate.filter(|_| self.is_whole());
        let (began, mut walked) = (self.core.clock.monotonic(), 0);
        let at_once = rate.map_or(ASSIMILATED_AT_ONCE, |rate| ASSIMILATED_AT_ONCE.min(rate as usize));
        let mut walk = self.holdings.walk(self.names.as_bytes(), from);
        loop {
            let found = self.open.note(walk.next(at_once).await).map_err(|error| self.failed(&error))?;
            let Some(last) = found.last().map(|found| found.name().to_vec()) else {
                return self.stretch(Vec::new(), after, None).await;
            };
            walked += found.len() as u64;
            self.stretch(found, after, Some(&last)).await?;
            after = last;
            self.note(&after).await?;
            if let Some(rate) = rate {
                let due = began + Duration::from_millis(walked * 1000 / rate);
                self.core.clock.sleep(due.saturating_sub(self.core.clock.monotonic())).await;
            }
        }
    }

    /// Compares a stretch of names, and does what that asks for.
    async fn stretch(&mut self, mut found: Vec<Found>, mut after: Vec<u8>, until: Option<&[u8]>) -> Result<(), Broken> {
        loop {
            let known = self.core.known_names(&self.row, &self.names, &after, until, KNOWN).await?;
            let rest = if known.len() < KNOWN {
                Vec::new()
            } else {
                after.clone_from(&known[KNOWN - 1].0);
                let at = found.partition_point(|found| found.name() <= after.as_slice());
                found.split_off(at)
            };
            let (ended, mut known) = (known.len() < KNOWN, known);
            // What is left out is not there, and what was made of it stays.
            let order = &self.row.info.order;
            found.retain(|found| !order.leaves_out(found.name()));
            known.retain(|(name, _)| !order.leaves_out(name));
            self.count(&found);
            self.carry_out(merge(found, known)).await?;
            if ended {
                return Ok(());
            }
            found = rest;
        }
    }

    fn count(&mut self, found: &[Found]) {
        for found in found {
            match found {
                Found::Held(held) => {
                    self.counts.names += 1;
                    self.counts.bytes += held.size;
                    self.sample.add(held);
                }
                Found::Refused { .. } | Found::Archived { .. } => self.counts.refused += 1,
                Found::Unread { name, reason } => {
                    self.counts.unread += 1;
                    self.note_unread(Noted::of(name, reason.clone()));
                }
            }
        }
    }

    fn note_unread(&mut self, noted: Noted) {
        if self.unread.iter().any(|known| known.name == noted.name) {
            return;
        }
        // Too many: then any name may be one of them.
        match self.unread.len().cmp(&UNREAD_KEPT) {
            Ordering::Less => self.unread.push(noted),
            Ordering::Equal => self.unread.push(Noted { name: String::new(), ..noted }),
            Ordering::Greater => {}
        }
    }

    pub(super) async fn carry_out(&mut self, steps: Vec<Step>) -> Result<(), Broken> {
        let (mut new, mut changed, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::New(held, before) => match self.row.info.order.key_for(&held) {
                    Ok(key) => new.push(New { key, held, before }),
                    Err(reason) => {
                        let after = Some(NameRow { validator: held.validator.0, state: NameState::Refused(reason) });
                        rows.push(Change { name: held.name, before, after });
                    }
                },
                Step::Changed(held, before) => changed.push((held, before)),
                Step::Refused(name, reason, before) => {
                    let after = Some(NameRow { validator: String::new(), state: NameState::Refused(reason) });
                    rows.push(Change { name, before, after });
                }
                Step::Gone(name, row) => self.gone(name, row),
            }
        }
        let held = new.iter().map(|new| &new.held).chain(changed.iter().map(|(held, _)| held));
        if self.in_part.is_none() && { held }.any(|held| !held.complete) {
            self.in_part = Some(self.core.begin_in_part(self.row.info.id).await?);
        }
        // What went in and out of a tree by S3 in between was there when it was seen: it is looked at once more.
        let RootInfo { id, order, complete, .. } = &self.row.info;
        let again = new.iter().filter(|_| order.write && *complete);
        let again: Vec<Touched> = again.map(|new| Touched::Name(new.held.name.clone())).collect();
        self.counts.made += self.take_all(new).await?;
        if !again.is_empty() {
            self.core.touch(*id, order, &again);
        }
        self.counts.changed += self.follow_all(changed).await?;
        if self.removing {
            let gone = self.take_gone();
            self.take_away(gone).await?;
        }
        self.change_all(rows).await
    }

    async fn take_all(&self, new: Vec<New>) -> Result<u64, Fault> {
        let (mut batches, mut extents) = (Vec::<Vec<New>>::new(), 0);
        for new in new {
            extents += new.extents();
            if let Some(batch) = batches.last_mut().filter(|_| extents <= TAKEN_TOGETHER) {
                batch.push(new);
            } else {
                extents = new.extents();
                batches.push(vec![new]);
            }
        }
        let takes = batches.into_iter().map(|batch| {
            let priority = Priority::of(batch.len());
            self.core.take_new(priority, &self.row, &self.bucket, batch)
        });
        stream::iter(takes).buffer_unordered(TAKES_AT_ONCE).try_fold(0, |all, made| async move { Ok(all + made) }).await
    }

    async fn follow_all(&self, changed: Vec<(Held, NameRow)>) -> Result<u64, Fault> {
        let follows = changed.into_iter().map(|(held, before)| async move {
            let Some(held) = self.still(held, &before).await else { return Ok(0) };
            // What became too large stays what it was, and cannot be read.
            let Ok(key) = self.row.info.order.key_for(&held) else { return Ok(0) };
            let followed = self.core.follow(&self.row, &self.bucket, &key, &held, &before).await?;
            Ok(u64::from(matches!(followed, Followed::Changed)))
        });
        stream::iter(follows)
            .buffer_unordered(TAKES_AT_ONCE * 4)
            .try_fold(0, |all, one| async move { Ok(all + one) })
            .await
    }

    /// A name that was followed since a walk saw it is not set back to what it was then.
    async fn still(&self, held: Held, before: &NameRow) -> Option<Held> {
        if !self.walked {
            return Some(held);
        }
        let now = self.holdings.look(&held.name).await.unwrap_or(held);
        (now.validator.0 != before.validator).then_some(now)
    }

    async fn change_all(&self, mut rows: Vec<Change>) -> Result<(), Broken> {
        while !rows.is_empty() {
            let rest = rows.split_off(rows.len().min(TAKEN_TOGETHER));
            self.core.change_names(&self.row, rows).await?;
            rows = rest;
        }
        Ok(())
    }

    fn gone(&mut self, name: Vec<u8>, row: NameRow) {
        // It may be there, or was gone before.
        if self.is_unread(&name) || row.is_moved_away() {
            return;
        }
        if self.removing {
            return self.gone.push((name, row));
        }
        // With what was no object nothing goes.
        if row.version().is_none() {
            if self.idle.len() < GONE_AT_MOST {
                self.idle.push(Change { name, before: Some(row), after: None });
            }
            return;
        }
        self.gone_in_all += 1;
        if self.gone.len() <= GONE_AT_MOST {
            self.gone.push((name, row));
        }
    }

    /// Takes away what is gone, several at once.
    pub(super) async fn take_away(&mut self, gone: Vec<(Vec<u8>, NameRow)>) -> Result<(), Broken> {
        let this = &*self;
        let all = gone.into_iter().map(|(name, row)| async move { this.take_one_away(&name, &row).await });
        let all = stream::iter(all).buffer_unordered(LOOKS_AT_ONCE);
        let removed = all.try_fold(0, |all, one| async move { Ok(all + u64::from(one)) }).await?;
        self.counts.removed += removed;
        Ok(())
    }

    /// A name that is gone is looked at once more before anything goes with it.
    async fn take_one_away(&self, name: &[u8], row: &NameRow) -> Result<bool, Broken> {
        if self.core.look_in(&self.row, name).await?.is_some() {
            return Ok(false);
        }
        let Ok(key) = self.row.info.order.key_of(name) else { return Ok(false) };
        Ok(self.core.follow_gone(&self.row, &self.bucket, &key, name, row).await?)
    }

    /// Notes now and then how far this came; the end of it where somebody else says so.
    async fn note(&mut self, after: &[u8]) -> Result<(), Broken> {
        let now = self.core.clock.monotonic();
        if !self.is_whole() || now.saturating_sub(self.noted) < PASS_NOTE {
            return Ok(());
        }
        let Ok(at) = std::str::from_utf8(after) else { return Ok(()) };
        self.noted = now;
        let (me, at, counts, unread) = (self.core.session().id, at.to_owned(), self.counts, self.unread.clone());
        let noted = self.core.change_root(self.row.info.id, move |row| {
            if row.owner == me {
                row.info.counts = counts;
                if !row.info.complete {
                    row.info.at.clone_from(&at);
                    row.info.unread.clone_from(&unread);
                }
            }
        });
        let mine = noted.await?.is_some_and(|row| row.owner == me);
        if mine { Ok(()) } else { Err(Broken::Over) }
    }

    /// The end of a part: lists of it need not wait any more. Where something could not be looked at, they still do.
    async fn note_seen(&self, id: RootId) -> Result<(), Broken> {
        if let Some(unread) = self.unread.first() {
            return Err(Broken::Failed(format!("`{}` cannot be looked at: {}", unread.name, unread.reason)));
        }
        let names = self.names.clone();
        let noted = self.core.change_root(id, move |row| {
            row.info.seen.retain(|seen| !seen.starts_with(&names));
            // The oldest is the one that least waits for.
            if row.info.seen.len() >= SEEN_KEPT {
                row.info.seen.remove(0);
            }
            row.info.seen.push(names.clone());
        });
        noted.await?;
        Ok(())
    }

    /// Asks for headers and metadata that no listing tells.
    pub(super) async fn fill(&mut self) -> Result<(), Broken> {
        // All of it is made.
        self.in_part = None;
        Ok(self.core.fill_root(&self.row, &self.bucket).await?)
    }

    /// The same, where this made something that lacks any.
    pub(super) async fn fill_what_is_new(&mut self) -> Result<(), Broken> {
        if self.in_part.is_some() { self.fill().await } else { Ok(()) }
    }

    /// Takes away what is gone where somebody confirmed as much: by another walk, since it may be more than is held.
    async fn remove_confirmed(&mut self) -> Result<(), Broken> {
        let (confirmed, gone) = (self.row.info.confirmed, self.gone_in_all);
        if gone == 0 || gone > confirmed + confirmed / 10 {
            return Ok(());
        }
        self.removing = true;
        (self.gone_in_all, self.gone) = (0, Vec::new());
        let counts = self.counts;
        self.walk().await?;
        self.is_it().await?;
        self.removing = false;
        self.counts = Counts { removed: self.counts.removed, ..counts };
        Ok(())
    }

    /// The end of a whole pass.
    async fn conclude(&mut self) -> Result<(), Broken> {
        let all = self.counts.names + self.counts.refused + self.gone_in_all;
        let before = self.core.taken(&self.row);
        let may_go = may_go(self.gone_in_all + before, self.counts.names, all + before);
        let asked_nobody = if may_go { self.gone.len() as u64 } else { 0 };
        if may_go {
            let gone = self.take_gone();
            self.take_away(gone).await?;
        }
        self.forget_idle().await?;
        self.core.note_taken(&self.row, asked_nobody, Some((self.counts.names, self.counts.refused)));
        let waiting = if may_go { 0 } else { self.gone_in_all };
        let id = self.row.info.id;
        let unread = self.unread.first();
        let unread = unread.map(|unread| format!("`{}` cannot be looked at: {}", unread.name, unread.reason));
        let gone = (waiting > 0).then(|| {
            format!("{waiting} of {all} names are gone: nothing is taken away before `holdall assimilate confirm {id}`")
        });
        let problem = [gone, unread].into_iter().flatten().collect::<Vec<_>>().join("; ");
        let problem = Some(problem).filter(|problem| !problem.is_empty());
        let (now, counts, unread) = (self.core.clock.now(), self.counts, self.unread.clone());
        let order = self.row.info.order.clone();
        let (me, confirmed, sample) = (self.core.session().id, self.row.info.confirmed, self.sample.names());
        let noted = self.core.change_root(self.row.info.id, move |row| {
            if row.owner != me {
                return;
            }
            let info = &mut row.info;
            // What was seen once stays seen, though it cannot be looked at now.
            info.unlooked.clone_from(&unread);
            info.passed_but_for(&unread, &order);
            // Nothing was ever made that lacks any.
            if info.in_part == 0 {
                (info.filled, info.unfilled) = (true, Some(Unfilled::default()));
            }
            info.at.clear();
            info.seen.clear();
            info.passes += 1;
            // What was confirmed meanwhile is another pass's business.
            info.passed = (info.confirmed == confirmed).then_some(now);
            if info.confirmed == confirmed {
                info.confirmed = 0;
            }
            info.counts = counts;
            info.problem.clone_from(&problem);
            info.gone = waiting;
            info.sample.clone_from(&sample);
        });
        noted.await?;
        if self.row.info.order.write {
            self.core.projecting.audit(self.row.info.id);
        }
        if counts.made + counts.changed > 0 {
            self.core.looking.unhashed.notify_one();
        }
        tracing::info!(
            root = self.row.info.id,
            names = counts.names,
            made = counts.made,
            changed = counts.changed,
            removed = counts.removed,
            "a root was passed"
        );
        Ok(())
    }
}

/// Whether so many names may be taken away without asking: one in a hundred, a few of a small root, never many, and never
/// all.
pub(super) fn may_go(gone: u64, left: u64, all: u64) -> bool {
    gone == 0 || (left > 0 && gone <= (all / 100).clamp(GONE_AT_LEAST, GONE_AT_MOST as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_names_may_go_and_never_all_or_many() {
        for (gone, left, all, may) in [
            (0, 0, 0, true),
            (1, 0, 1, false),
            (1, 5, 6, true),
            (10, 5, 15, true),
            (11, 5, 16, false),
            (50, 4_950, 5_000, true),
            (51, 4_949, 5_000, false),
            (1_000, 999_000, 1_000_000, true),
            (1_001, 998_999, 1_000_000, false),
            (500, 0, 500, false),
        ] {
            assert_eq!(may_go(gone, left, all), may, "{gone} of {all}");
        }
    }
}
