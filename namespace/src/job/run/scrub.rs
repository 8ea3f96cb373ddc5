//! A scrub: all replicas of a silo, from where it came to before, in the order of their extents.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::Live;
use crate::engine::Key;
use crate::extent::{Number, SiloId};
use crate::fault::Fault;
use crate::inventory::{Health, OpenSilo};
use crate::job::{JobState, MoveInfo, OrderError, next_page, refused_silo};
use crate::limits::{SCRUB_LOOK, SCRUB_STEP, SCRUBS_AT_ONCE, SILO_CHECK, SORTED_TOGETHER};
use crate::mover::{Mover, Pacer};
use crate::namespace::Core;
use crate::price::Money;
use crate::scrub::{Came, Item, Scrubber, cost_of, is_spent, sort};
use crate::table::extents::read_extent;
use crate::table::usage::Counted;
use crate::table::{after_prefix, decode, key, successor};

impl Core {
    pub(super) async fn scrub(self: &Arc<Self>, live: &Arc<Live>, silo: &str) -> Result<JobState, OrderError> {
        let (info, id) = (live.info(), self.inventory().asked(silo).map_err(refused_silo)?.id);
        if info.by_itself && self.is_by_order_alone(id) {
            return Err(OrderError::Invalid(format!("silo `{silo}` is scrubbed by order alone now")));
        }
        let (objects, bytes) = self.scrubbed(silo).await?;
        live.change(|info| {
            info.planned_objects = info.moved_objects.max(objects);
            info.planned_bytes = info.moved_bytes.max(bytes);
        });
        let pacer = Arc::new(Pacer::new(Arc::clone(&self.clock), info.pace.bytes_per_second, live.stop.clone()));
        let watch = |extent: Number, info: Option<MoveInfo>| drop(live.watch(extent, info));
        let mover = Mover { core: self, job: info.id, pacer: &pacer, for_a_write: false, watch: &watch };
        let scrubber = Scrubber { core: self, mover, silo: id };
        let mut at = info.at.and_then(|at| const_hex::decode(at).ok()).unwrap_or_else(|| vec![key::EXTENTS]);
        let end = after_prefix(&[key::EXTENTS]);
        loop {
            let (items, ended) = self.step(&mut at, &end, id).await?;
            let (scrubber, batches) = (&scrubber, sort(items));
            let is_paid = !info.by_itself || self.pay_for_scrub(self.cost_of_looks(id, &batches)).await?;
            let looks = stream::iter(batches).take_while(|_| std::future::ready(!live.stop.is_cancelled()));
            let looks = looks.map(|some| async move {
                self.until_it_may_be_asked(id, live).await;
                if !is_paid && !self.until_it_is_paid(id, live, &some).await? {
                    return Ok(Came::default());
                }
                scrubber.look(some).await
            });
            let mut looks = looks.buffer_unordered(SCRUBS_AT_ONCE);
            while let Some(came) = looks.next().await {
                live.count(came?);
            }
            if live.stop.is_cancelled() {
                return Ok(JobState::Cancelled);
            }
            live.change(|info| info.at = Some(const_hex::encode(&at)));
            if ended {
                break;
            }
        }
        self.forget_damage(id).await?;
        Ok(JobState::Done)
    }

    /// The next replicas of a silo, as many as are looked at in one step, and whether they are the last ones.
    async fn step(&self, at: &mut Key, end: &Key, silo: SiloId) -> Result<(Vec<Item>, bool), Fault> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < SORTED_TOGETHER {
            let Some(page) = next_page(self, at, end).await? else { return Ok((items, true)) };
            for (key, row) in &page {
                let (Some(extent), row) = (read_extent(key), decode(row)?) else { continue };
                let Some(item) = Item::of(extent, row, silo) else { continue };
                bytes += item.row.size;
                items.push(item);
                if bytes >= SCRUB_STEP {
                    *at = successor(key);
                    return Ok((items, false));
                }
            }
        }
        Ok((items, false))
    }

    /// Nothing is learned from a silo that is down, and nobody wants one that is paused to be at work.
    async fn until_it_may_be_asked(&self, silo: SiloId, live: &Live) {
        let waits = |open: &Arc<OpenSilo>| open.health() == Health::Down || open.row.paused;
        let waits = || self.inventory().silos.get(&silo).is_some_and(waits);
        while waits() && !live.stop.is_cancelled() {
            self.clock.sleep(SILO_CHECK).await;
        }
    }

    /// Whether it is scrubbed by order alone now, whatever was said when a scrub began by itself.
    fn is_by_order_alone(&self, silo: SiloId) -> bool {
        let inventory = self.inventory();
        let (open, options) = (inventory.silos.get(&silo), self.options.scrub.as_ref());
        open.zip(options).is_some_and(|(open, options)| open.scrubbed_every(options).is_none())
    }

    fn cost_of_looks(&self, silo: SiloId, batches: &VecDeque<Vec<Item>>) -> Money {
        let inventory = self.inventory();
        let Some(open) = inventory.silos.get(&silo) else { return Money::ZERO };
        batches.iter().map(|some| cost_of(open, some)).sum()
    }

    /// Waits until a month has money for what is read next; false where it is stopped before.
    async fn until_it_is_paid(&self, silo: SiloId, live: &Live, some: &[Item]) -> Result<bool, Fault> {
        let cost = self.inventory().silos.get(&silo).map_or(Money::ZERO, |open| cost_of(open, some));
        while !live.stop.is_cancelled() {
            if self.pay_for_scrub(cost).await? {
                live.change(|info| info.error = None);
                return Ok(true);
            }
            live.change(|info| info.error = self.scrub_budget().map(is_spent));
            self.clock.sleep(SCRUB_LOOK).await;
        }
        Ok(false)
    }

    /// Bytes and extents that a scrub of a silo looks at.
    pub(crate) async fn scrubbed(&self, silo: &str) -> Result<(u64, u64), OrderError> {
        let id = self.inventory().asked(silo).map_err(refused_silo)?.id;
        let held = self.counted(Counted::Silo(id)).await?;
        Ok((held.objects.max(0) as u64, held.bytes.max(0) as u64))
    }
}

impl Live {
    fn count(&self, came: Came) {
        self.change(|info| {
            info.moved_objects += came.replicas;
            info.moved_bytes += came.bytes;
            info.planned_objects = info.planned_objects.max(info.moved_objects);
            info.planned_bytes = info.planned_bytes.max(info.moved_bytes);
            info.damaged += came.damaged;
            info.mended += came.mended;
            info.failed += came.unknown;
            info.error = came.error.or(info.error.take());
        });
    }
}
