//! Rows that must fit others: references, what waits for the sweep, the journal, checksums apart, accounts.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::ledger::{Tie, tie_of_attributes, tie_of_reference, ties_of_retired};
use super::objects::object_name;
use super::{Pages, Run, read};
use crate::engine::Key;
use crate::extent::{Location, Number, ReplicaState, SiloId};
use crate::fault::Fault;
use crate::job::JobState;
use crate::limits::CHECK_PAGE;
use crate::object::Pairs;
use crate::table::accounts::{self, AccessKeyRow, AccountRow};
use crate::table::extents::{ExtentRow, extent, read_extent};
use crate::table::jobs::{JobRow, job};
use crate::table::labels::labelled_by;
use crate::table::moves::MoveRow;
use crate::table::refs::Target;
use crate::table::retired::RetiredRow;
use crate::table::sessions::alive;
use crate::table::uploads::{ManifestRow, manifest};
use crate::table::{decode, key, read_number};

impl Run<'_> {
    /// Rows of `refs` and of attributes: what they point at is live. Whether anybody pays for them, the ledger knows.
    pub(super) async fn references(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::REFS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            let mut all = Vec::with_capacity(page.len());
            for (key, _) in page {
                match tie_of_reference(&key) {
                    Some(tie @ Tie::Reference(target, _)) => {
                        self.ledger.owes(&tie);
                        all.push((key, target));
                    }
                    _ => self.dangling(format!("a reference does not read: {}", const_hex::encode(&key))),
                }
            }
            let guards = self.engine().get(&all.iter().map(|(_, target)| target.guard()).collect::<Vec<_>>()).await?;
            for ((key, target), guard) in all.into_iter().zip(guards) {
                if !is_live(target, guard.as_ref()) && self.stands(&key, &Bytes::new()).await? {
                    self.dangling(format!("a reference to {target:?}, which is gone"));
                }
            }
        }
        let mut pages = Pages::of(key::ATTRIBUTES, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            page.iter().filter_map(|(key, _)| tie_of_attributes(key)).for_each(|tie| self.ledger.owes(&tie));
        }
    }

    /// What waits for the sweep is there to be swept.
    pub(super) async fn retired(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::RETIRED, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, bytes) in page {
                let Ok(row) = decode::<RetiredRow>(&bytes) else {
                    self.dangling("a row of what waits for the sweep does not read");
                    continue;
                };
                for tie in ties_of_retired(&row) {
                    self.ledger.pays(&tie);
                }
                if let Some(wrong) = self.fits_nothing(&row).await?
                    && self.stands(&key, &bytes).await?
                {
                    self.dangling(wrong);
                }
            }
        }
    }

    async fn fits_nothing(&self, row: &RetiredRow) -> Result<Option<String>, Fault> {
        Ok(match row {
            RetiredRow::Replicas { extent: id, replicas } => {
                let stored = read::<ExtentRow>(self.engine().get(&[extent(*id)]).await?[0].as_ref());
                let fits = stored.is_some_and(|stored| replicas.iter().all(|place| is_retired(&stored, place)));
                (!fits).then(|| format!("extent {id} waits for the sweep and is not retired"))
            }
            RetiredRow::Manifest(id) => {
                let stored = read::<ManifestRow>(self.engine().get(&[manifest(*id)]).await?[0].as_ref());
                let fits = stored.is_some_and(|stored| stored.first.is_none());
                (!fits).then(|| format!("manifest {id} waits for the sweep and is not retired"))
            }
            RetiredRow::Upload { key, id } => {
                let stored = self.engine().get(std::slice::from_ref(key)).await?;
                stored[0].is_none().then(|| format!("upload {id} waits for the sweep and is none"))
            }
        })
    }

    /// Moves under way belong to a job that runs, or to a gateway that still lives and will clear them.
    pub(super) async fn journal(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::MOVES, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, bytes) in page {
                let (Some(id), Ok(row)) = (read_extent(&key), decode::<MoveRow>(&bytes)) else {
                    self.dangling(format!("a move's row does not read: {}", const_hex::encode(&key)));
                    continue;
                };
                let stored = self.engine().get(&[job(row.job), alive(row.owner)]).await?;
                let job = stored[0].as_ref().and_then(|bytes| JobRow::decode(bytes).ok());
                let runs = job.is_some_and(|job| job.info.state == JobState::Running);
                if !runs && stored[1].is_none() && self.stands(&key, &bytes).await? {
                    self.dangling(format!("a move of extent {id} for job {}, which does not run", row.job));
                }
            }
        }
    }

    /// Block checksums in rows apart have their extent.
    pub(super) async fn block_sums(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::BLOCKS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            let extents: BTreeSet<Number> = page.iter().filter_map(|(key, _)| read_extent(key)).collect();
            let extents: Vec<Number> = extents.into_iter().collect();
            let rows = self.engine().get(&extents.iter().map(|id| extent(*id)).collect::<Vec<_>>()).await?;
            for (id, _) in extents.into_iter().zip(rows).filter(|(_, row)| row.is_none()) {
                let own = page.iter().find(|(key, _)| read_extent(key) == Some(id));
                if let Some((key, bytes)) = own
                    && self.stands(key, bytes).await?
                {
                    self.dangling(format!("block checksums of extent {id}, which is none"));
                }
            }
        }
    }

    /// What has labels is there.
    pub(super) async fn labels(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::LABELS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            let objects: Vec<Key> = page.iter().map(|(key, _)| labelled_by(key)).collect();
            let rows = self.engine().get(&objects).await?;
            for ((labels, bytes), row) in page.iter().zip(rows) {
                let wrong = match row {
                    Some(_) if decode::<Pairs>(bytes).is_ok() => continue,
                    Some(_) => "do not read",
                    None => "which is none",
                };
                if self.stands(labels, bytes).await? {
                    let name = object_name(self.bucket_of(labels).await?.as_deref().unwrap_or("?"), labels);
                    self.dangling(format!("labels of `{name}`, {wrong}"));
                }
            }
        }
    }

    async fn bucket_of(&self, object: &[u8]) -> Result<Option<String>, Fault> {
        let buckets = self.core.buckets_by_incarnation().await?;
        Ok(read_number(object, 1).and_then(|incarnation| buckets.get(&incarnation)).map(ToString::to_string))
    }

    /// Accounts, their names and their keys.
    pub(super) async fn accounts(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::ACCOUNTS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            for (key, bytes) in page {
                let (Some(id), Ok(row)) = (read_number(&key, 1), decode::<AccountRow>(&bytes)) else {
                    self.dangling(format!("an account's row does not read: {}", const_hex::encode(&key)));
                    continue;
                };
                let mut names = vec![accounts::name(&row.name)];
                names.extend(row.keys.iter().map(|key| accounts::access_key(key)));
                let rows = self.engine().get(&names).await?;
                let mut fits = read::<u64>(rows[0].as_ref()) == Some(id);
                for row in &rows[1..] {
                    let key: Option<AccessKeyRow> = read(row.as_ref());
                    fits &= matches!(key, Some(AccessKeyRow::Live { account, .. }) if account == id);
                }
                if !fits && self.stands(&key, &bytes).await? {
                    self.dangling(format!("account `{}` does not fit its name or its keys", row.name));
                }
            }
        }
        self.live_keys().await
    }

    async fn live_keys(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::ACCESS_KEYS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                return Ok(());
            }
            for (key, bytes) in page {
                let Ok(AccessKeyRow::Live { account, .. }) = decode(&bytes) else { continue };
                let id = String::from_utf8_lossy(&key[1..]).into_owned();
                let row: Option<AccountRow> = read(self.engine().get(&[accounts::account(account)]).await?[0].as_ref());
                if !row.is_some_and(|row| row.keys.contains(&id)) && self.stands(&key, &bytes).await? {
                    self.dangling(format!("access key `{id}` of account {account}, which does not name it"));
                }
            }
        }
    }

    /// Whether a row is as it was: then nothing that must change with it changed in between.
    pub(super) async fn stands(&self, key: &[u8], before: &Bytes) -> Result<bool, Fault> {
        let now = self.engine().get(&[Key::from(key)]).await?;
        Ok(now[0].as_ref() == Some(before))
    }
}

fn is_live(target: Target, guard: Option<&Bytes>) -> bool {
    guard.is_some_and(|row| match target {
        Target::Extent(_) => decode::<ExtentRow>(row).is_ok_and(|row| row.first.is_some()),
        Target::Manifest(_) => decode::<ManifestRow>(row).is_ok_and(|row| row.first.is_some()),
    })
}

fn is_retired(row: &ExtentRow, (silo, location): &(SiloId, Location)) -> bool {
    let same = |replica: &&crate::extent::Replica| replica.silo == *silo && replica.location == *location;
    row.replicas.iter().find(same).is_some_and(|replica| replica.state == ReplicaState::Retired)
}
