//! Whether a silo is still the one that was taken over: some of the names that were seen there are looked for before anything of it
//! counts. Another disk in its place, of the same kind, has an identity like its own, and other names.

use std::collections::BTreeMap;

use holdall_silos::SiloError;
use holdall_silos::holdings::Held;

use super::pass::{Broken, Pass};
use crate::digest::block_sum;
use crate::fault::Fault;
use crate::table::decode_row;
use crate::table::names::{NameRow, name as name_key};

/// Names that are kept to be looked for,
const SAMPLED: usize = 16;
/// and so many at least tell a silo from another one.
const TELL: usize = 8;

/// Some of the names that a pass saw: always the same ones of the same names, wherever they lie.
#[derive(Default)]
pub(super) struct Sample(BTreeMap<u64, String>);

impl Sample {
    pub(super) fn add(&mut self, held: &Held) {
        let Ok(name) = str::from_utf8(&held.name) else { return };
        let lot = block_sum(&held.name);
        if self.0.len() < SAMPLED || self.0.last_key_value().is_some_and(|(last, _)| lot < *last) {
            self.0.insert(lot, name.to_owned());
            while self.0.len() > SAMPLED {
                self.0.pop_last();
            }
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }
}

impl Pass<'_> {
    /// Refuses a silo that has none of the names that were seen there, where enough are known to tell.
    pub(super) async fn is_known(&self) -> Result<(), Broken> {
        let (known, mut missed) = (self.still_known().await?, 0);
        if known.len() < TELL {
            return Ok(());
        }
        for name in known {
            match self.holdings.look(&name).await {
                Err(SiloError::Missing) => missed += 1,
                // It is there, or nobody can tell.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
        let (silo, id) = (&self.open.row.name, self.row.info.id);
        Err(Broken::Failed(format!(
            "silo `{silo}` has none of {missed} names that were there: is it the same? `holdall assimilate confirm {id}` says yes"
        )))
    }

    /// Names of the sample that objects were made of, and that nobody took out since.
    async fn still_known(&self) -> Result<Vec<Vec<u8>>, Fault> {
        let info = &self.row.info;
        let names = info.sample.iter().filter(|name| !info.order.leaves_out(name.as_bytes()));
        let names: Vec<Vec<u8>> = names.map(|name| name.as_bytes().to_vec()).collect();
        let keys: Vec<_> = names.iter().map(|name| name_key(self.row.silo, name)).collect();
        let mut known = Vec::new();
        for (name, row) in names.into_iter().zip(self.core.engine.get(&keys).await?) {
            let row: Option<NameRow> = decode_row(row.as_ref())?;
            known.extend(row.filter(|row| row.version().is_some() && !row.is_moved_away()).map(|_| name));
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assimilate::merge::tests::held;

    #[test]
    fn the_same_names_are_sampled_in_any_order() {
        let of = |names: &mut dyn Iterator<Item = usize>| {
            let mut sample = Sample::default();
            names.for_each(|name| sample.add(&held(format!("name-{name}").as_bytes(), "")));
            sample.names()
        };
        let all = of(&mut (0..1000));
        assert_eq!(all.len(), SAMPLED);
        assert_eq!(of(&mut (0..1000).rev().chain(0..1000)), all);
        assert_eq!(of(&mut (0..5)).len(), 5);
    }
}
