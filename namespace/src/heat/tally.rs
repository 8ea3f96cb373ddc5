//! Reads are counted in memory, and written down together: no read waits for a commit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::{Heat, Reads};
use crate::clock::UnixMs;
use crate::engine::{self, Key, Priority, Read, Rows, Write};
use crate::fault::Fault;
use crate::limits::{HEAT_BEAT, HEAT_KEPT, HEAT_TOGETHER};
use crate::namespace::{Core, Namespace};
use crate::table::heat::{decode, encode, heat_of};

/// Reads that no row has yet, by the object's row. The lock is held for a few instructions.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<HashMap<Key, Reads>>);

impl Tally {
    /// Counts reads; false where too many objects wait to be written down.
    fn count(&self, object: &Key, reads: Reads) -> bool {
        let mut waiting = self.0.lock().expect("no holder panics");
        if let Some(before) = waiting.get_mut(object) {
            before.add(reads);
            return true;
        }
        let room = waiting.len() < HEAT_KEPT;
        if room {
            waiting.insert(object.clone(), reads);
        }
        room
    }

    fn take(&self) -> HashMap<Key, Reads> {
        std::mem::take(&mut *self.0.lock().expect("no holder panics"))
    }
}

impl Namespace {
    /// Writes down what was read, as the background does now and then: for tests that own time.
    pub async fn write_heat_for_tests(&self) {
        self.core.write_heat().await;
    }
}

impl Core {
    /// Counts a read of `bytes` bytes of an object of `size` bytes.
    pub(crate) fn note_read(&self, object: &Key, bytes: u64, size: u64) {
        let now: UnixMs = self.clock.now();
        if !self.tally.count(object, Reads::one(bytes, size, now)) {
            self.stats.add(|stats| stats.reads_uncounted += 1);
        }
    }

    /// Writes down what was read, for ever.
    pub(crate) async fn write_heat_forever(self: Arc<Self>) {
        loop {
            self.clock.sleep(HEAT_BEAT).await;
            self.write_heat().await;
        }
    }

    /// Writes down what was read. What the index does not take now is lost: heat is an estimate.
    pub(crate) async fn write_heat(&self) {
        let mut waiting: Vec<_> = self.tally.take().into_iter().collect();
        waiting.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        for together in waiting.chunks(HEAT_TOGETHER) {
            // What is in memory is read fast while the writer waits.
            let _ = self.heats(together.iter().map(|(object, _)| &object[..])).await;
            if let Err(fault) = self.commit_heat(together.to_vec()).await {
                let lost: u64 = together.iter().map(|(_, reads)| u64::from(reads.count)).sum();
                self.stats.add(|stats| stats.reads_uncounted += lost);
                tracing::debug!(%fault, lost, "reads were not written down");
            }
            if let Err(fault) = self.align_read(together.iter().map(|(object, _)| object)).await {
                tracing::debug!(%fault, "what was read was not looked at");
            }
        }
    }

    /// What was deleted meanwhile has no heat.
    async fn commit_heat(&self, reads: Vec<(Key, Reads)>) -> Result<(), Fault> {
        self.room_in_index()?;
        let rows = reads.iter().flat_map(|(object, _)| [Read::Row(object.clone()), Read::Row(heat_of(object))]);
        let (rows, priority) = (rows.collect(), Priority::of(reads.len()));
        let decide = move |rows: &Rows| -> Result<_, Fault> {
            let live = reads.iter().filter(|(object, _)| rows.get(object).is_some());
            let writes = live.map(|(object, reads)| {
                let at = heat_of(object);
                let before = rows.get(&at).and_then(|row| decode(row));
                let heat = before.map_or_else(|| Heat::of(*reads), |before| before.after(*reads));
                Write::Put(at, encode(&heat))
            });
            Ok((writes.collect(), ()))
        };
        Ok(engine::commit_as(&*self.engine, priority, rows, decide).await?)
    }

    /// The heat of objects, in their order; none where nobody read one.
    pub(crate) async fn heats(&self, objects: impl Iterator<Item = &[u8]>) -> Result<Vec<Option<Heat>>, Fault> {
        let keys: Vec<Key> = objects.map(heat_of).collect();
        let rows = self.engine.get(&keys).await?;
        Ok(rows.iter().map(|row| row.as_ref().and_then(|row| decode(row))).collect())
    }
}
