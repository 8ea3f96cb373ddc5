//! What is declared beside silos, read from the index.

use std::collections::BTreeMap;

use super::{Unread, WritePolicy};
use crate::engine::Engine;
use crate::fault::Fault;
use crate::limits::MAX_OBJECTIVES;
use crate::objective::Objectives;
use crate::table::{after_prefix, decode, key, objectives};

pub(super) async fn load_objectives(engine: &dyn Engine) -> Result<(Objectives, BTreeMap<String, Unread>), Fault> {
    let (mut read, mut unread) = (BTreeMap::new(), BTreeMap::new());
    for (key, row) in engine.range(objectives::all(), MAX_OBJECTIVES, usize::MAX).await? {
        let name = objectives::read_name(&key).ok_or_else(|| Fault::Damaged("an objective's key".to_owned()))?;
        let known = objectives::decode(&row).and_then(|wish| {
            let condition = wish.check().map_err(|wrong| wrong.to_string())?;
            Ok((wish, condition))
        });
        match known {
            Ok(known) => drop(read.insert(name, known)),
            Err(reason) => {
                tracing::warn!(objective = %name, reason, "an objective cannot be read by this version");
                unread.insert(name, Unread { on: objectives::decode_scope(&row), reason });
            }
        }
    }
    Ok((read, unread))
}

pub(super) async fn load_policies(
    engine: &dyn Engine,
) -> Result<(Option<WritePolicy>, BTreeMap<String, WritePolicy>), Fault> {
    let table = vec![key::SETTINGS]..after_prefix(&[key::SETTINGS]);
    let (mut write, mut by_bucket) = (None, BTreeMap::new());
    for (key, bytes) in engine.range(table, usize::MAX, usize::MAX).await? {
        match std::str::from_utf8(&key[1..]).unwrap_or_default().strip_prefix("write") {
            Some("") => write = Some(decode(&bytes)?),
            Some(rest) => {
                by_bucket.insert(rest.trim_start_matches('/').to_owned(), decode(&bytes)?);
            }
            None => {}
        }
    }
    Ok((write, by_bucket))
}
