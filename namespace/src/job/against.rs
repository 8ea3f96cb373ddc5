//! What objectives would undo of what an order places, where they are about some of it alone: asked before the order is taken, of
//! each object that they may want elsewhere.

use std::collections::BTreeMap;

use super::{Order, OrderError, next_page};
use crate::extent::SiloId;
use crate::namespace::Core;
use crate::objective::{Held, Judge, JudgedObject, Rules, What};
use crate::plan::{Wish, plan};
use crate::table::after_prefix;

impl Core {
    /// Refuses to place what objectives would bring elsewhere again: it would move, and be paid for, twice. What would not move for
    /// the order is no reason.
    pub(super) async fn refuse_undone(&self, order: &Order) -> Result<(), OrderError> {
        self.refuse_undone_by(order, self.inventory().rules()?).await
    }

    /// The same by other rules.
    pub(super) async fn refuse_undone_by(&self, order: &Order, rules: Rules) -> Result<(), OrderError> {
        let Order::Place { bucket, on, .. } = order else { return Ok(()) };
        let (inventory, silo, scope) = (self.inventory(), self.silo_named(on)?, order.on());
        let parts = rules.may_undo(&scope, silo);
        let (judge, mut undone) = (self.judge_by(inventory, rules, &scope).await?, BTreeMap::<usize, u64>::new());
        for part in &parts {
            let mut at = judge.objects(part)?;
            let end = after_prefix(&at);
            while let Some(page) = next_page(self, &mut at, &end).await? {
                for object in self.judged(&judge, &page).await? {
                    undone_of(&judge, &object, bucket.as_str(), silo)
                        .for_each(|by| *undone.entry(by).or_default() += 1);
                }
            }
        }
        match undone.into_iter().max_by_key(|(_, extents)| *extents) {
            Some((by, extents)) => Err(OrderError::Undone { objective: judge.rules.all()[by].name.clone(), extents }),
            None => Ok(()),
        }
    }
}

/// For whose sake what would be placed on a silo then leaves it, an extent each.
fn undone_of(judge: &Judge, object: &JudgedObject, bucket: &str, silo: SiloId) -> impl Iterator<Item = usize> {
    // What may not be there is not brought there.
    let comes = !object.wanted.never.contains_key(&silo);
    let extents = object
        .extents
        .iter()
        .filter(move |extent| comes && extent.own && plan(Wish::On(silo), extent.id, &extent.row).is_some());
    extents.filter_map(move |extent| {
        let (held, bytes) = (Held { on: vec![silo], damaged: Vec::new(), bytes: extent.row.size }, extent.row.size);
        let then = judge.rules.standing(&object.wanted, &held, || judge.inventory.meant_for(bucket, bytes));
        then.way().filter(|way| way.from == silo && way.what != What::Copy).map(|way| way.by)
    })
}
