//! Packs: how much of each is named, by its counter and by counting; and how long they are.
//!
//! As with other ties, each side is added into, or taken out of, one of a fixed number of cells; only packs of cells that
//! do not come out at nothing are counted one by one, while their counters are watched.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_silos::SiloError;
use twox_hash::XxHash3_64;

use super::{Finding, Pages, Run};
use crate::extent::{Location, Number};
use crate::fault::Fault;
use crate::limits::{CHECK_PAGE, CHECKS_AT_ONCE};
use crate::namespace::Core;
use crate::store::silo_failed;
use crate::table::extents::ExtentRow;
use crate::table::packs::{self, PackId, read_pack};
use crate::table::{decode, key, usage};

/// Cells of the sums.
const CELLS: usize = 4096;
/// Packs that are counted one by one; what is beyond is said to be uncompared.
const HELD: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Sums(Vec<u64>);

impl Default for Sums {
    fn default() -> Self {
        Self(vec![0; CELLS])
    }
}

fn hash(pack: PackId) -> u64 {
    let mut hasher = XxHash3_64::new();
    pack.hash(&mut hasher);
    hasher.finish()
}

impl Sums {
    /// Bytes of a pack that a row names; or that its counter says are named, taken out.
    fn add(&mut self, pack: PackId, bytes: i64) {
        let hash = hash(pack);
        let cell = &mut self.0[hash as usize % CELLS];
        *cell = cell.wrapping_add(hash.wrapping_mul(bytes as u64));
    }

    fn is_open(&self, pack: PackId) -> bool {
        self.0[hash(pack) as usize % CELLS] != 0
    }
}

/// How long the packs that some extents name are.
pub(super) type Lengths = BTreeMap<PackId, Result<u64, SiloError>>;

/// The records a row names: of which pack, and where each ends.
fn records(row: &ExtentRow) -> impl Iterator<Item = (PackId, u64)> {
    row.replicas.iter().filter_map(|replica| match replica.location {
        Location::Pack { pack, length, .. } => Some((PackId::of(replica.silo, &pack), length)),
        Location::Blob(_) | Location::InPlace { .. } => None,
    })
}

/// Asks each pack that these rows name once.
pub(super) async fn lengths(core: &Core, rows: &[(Number, ExtentRow)]) -> Result<Lengths, Fault> {
    let packs: BTreeSet<PackId> = rows.iter().flat_map(|(_, row)| records(row)).map(|(pack, _)| pack).collect();
    let inventory = core.inventory();
    let open = packs.into_iter().filter_map(|pack| inventory.silos.get(&pack.silo).map(|open| (pack, open)));
    let looks = stream::iter(open).map(|(pack, open)| async move {
        match open.note(open.silo.stat(&pack.name()).await) {
            Ok(stat) => Ok((pack, Ok(stat.size))),
            Err(error @ (SiloError::Missing | SiloError::Mismatch { .. })) => Ok((pack, Err(error))),
            Err(error) => Err(silo_failed(open, &error)),
        }
    });
    looks.buffer_unordered(CHECKS_AT_ONCE).try_collect().await
}

impl Run<'_> {
    /// What an extent's row names.
    pub(super) fn note_records(&mut self, row: &ExtentRow) {
        for (pack, length) in records(row) {
            self.packs.add(pack, length as i64);
        }
    }

    /// Every counter against what was counted.
    pub(super) async fn packs(&mut self) -> Result<(), Fault> {
        let mut pages = Pages::of(key::PACKS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            for (key, bytes) in &page {
                match read_pack(key) {
                    Some(pack) if *key == packs::named(pack) => self.packs.add(pack, -usage::read(Some(bytes))),
                    Some(_) => {}
                    None => self.dangling(format!("a pack's row does not read: {}", const_hex::encode(key))),
                }
            }
        }
        if self.packs.0.iter().any(|cell| *cell != 0) {
            self.count_packs().await?;
        }
        Ok(())
    }

    /// Counts the packs of the cells that did not come out at nothing. One whose counter stood still meanwhile is right
    /// or wrong.
    async fn count_packs(&mut self) -> Result<(), Fault> {
        let before = self.suspects().await?;
        let mut counted: BTreeMap<PackId, i64> = before.keys().map(|pack| (*pack, 0)).collect();
        let mut pages = Pages::of(key::EXTENTS, CHECK_PAGE);
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() {
                break;
            }
            for row in page.iter().filter_map(|(_, bytes)| decode::<ExtentRow>(bytes).ok()) {
                for (pack, length) in records(&row).filter(|(pack, _)| self.packs.is_open(*pack)) {
                    if counted.len() < HELD || counted.contains_key(&pack) {
                        *counted.entry(pack).or_default() += length as i64;
                    }
                }
            }
        }
        self.seen.counts_compared &= counted.len() < HELD;
        for (pack, counted) in counted {
            let after = usage::read(self.engine().get(&[packs::named(pack)]).await?[0].as_ref());
            let before = before.get(&pack).copied().unwrap_or_default();
            if before != after {
                self.seen.counts_compared = false;
            } else if counted != after {
                let silo = self.core.inventory().silos.get(&pack.silo).map(|open| open.row.name.clone());
                let what = format!("pack {} in silo `{}`", pack.name(), silo.unwrap_or_default());
                let say = |bytes: i64| format!("{bytes} bytes");
                self.report(Finding::WrongCount { what, counted: say(counted), stored: say(after) });
            }
        }
        Ok(())
    }

    /// The counters of packs that are to be counted.
    async fn suspects(&self) -> Result<BTreeMap<PackId, i64>, Fault> {
        let (mut pages, mut suspects) = (Pages::of(key::PACKS, CHECK_PAGE), BTreeMap::new());
        loop {
            let page = pages.next(self.engine()).await?;
            if page.is_empty() || suspects.len() >= HELD {
                return Ok(suspects);
            }
            for (key, bytes) in &page {
                if let Some(pack) =
                    read_pack(key).filter(|pack| *key == packs::named(*pack) && self.packs.is_open(*pack))
                {
                    suspects.insert(pack, usage::read(Some(bytes)));
                }
            }
        }
    }
}
