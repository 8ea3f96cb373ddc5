//! Changing a silo that there is: how it is reached, and how much room is kept free; never which one it is.

use std::collections::BTreeMap;

use crate::credentials::CredentialsFrom;
use crate::declare::How;
use crate::inventory::{Access, ApplyError, Change, Declared, DeclaredSilo, Rates, SiloCommandError};
use crate::namespace::Namespace;
use crate::price::Price;

/// What is to become of a silo. What is left out stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SetSilo {
    /// Where it is found from now on.
    pub url: Option<String>,
    /// Where its credentials are, all of them.
    pub credentials: Option<CredentialsFrom>,
    /// Room kept free, in percent of the silo.
    pub reserve_percent: Option<u8>,
    /// Whose it is.
    pub access: Option<Access>,
    /// All of its labels.
    pub labels: Option<BTreeMap<String, String>>,
    /// The queue that tells of its changes; none any more where this is empty.
    pub notifications: Option<String>,
    /// What it asks; not known any more where this says nothing.
    pub price: Option<Price>,
    /// All that it holds is read and checked so often, in seconds; 0 is by order alone.
    pub scrub: Option<u64>,
    /// Bytes a second that what runs in the background may read; 0 is unlimited.
    pub read_rate: Option<u64>,
    /// And write.
    pub write_rate: Option<u64>,
    /// Its secrets are read anew, wherever they are.
    pub renew: bool,
}

/// Why a silo was not changed; nothing was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetSiloError {
    /// See [`SiloCommandError`].
    #[error(transparent)]
    Silo(#[from] SiloCommandError),
    /// See [`ApplyError`].
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl SetSilo {
    fn on(&self, before: &DeclaredSilo) -> DeclaredSilo {
        DeclaredSilo {
            url: self.url.clone().unwrap_or_else(|| before.url.clone()),
            credentials: self.credentials.clone().unwrap_or_else(|| before.credentials.clone()),
            reserve_percent: self.reserve_percent.unwrap_or(before.reserve_percent),
            access: self.access.unwrap_or(before.access),
            labels: self.labels.clone().unwrap_or_else(|| before.labels.clone()),
            notifications: match &self.notifications {
                Some(queue) => Some(queue.clone()).filter(|queue| !queue.is_empty()),
                None => before.notifications.clone(),
            },
            price: match &self.price {
                Some(price) => Some(price.clone()).filter(|price| !price.is_empty()),
                None => before.price.clone(),
            },
            scrub: self.scrub.or(before.scrub),
            rates: Rates::of(self.read_rate.or(before.rates.read), self.write_rate.or(before.rates.write)),
        }
    }
}

impl Namespace {
    /// Changes a silo: what is new of it is durable when this answers, and every write that begins here goes by it; other
    /// gateways over the same index take it up with their next beat.
    ///
    /// A URL or credentials under which another silo is found, a copy of it, or none, are refused. With `dry_run` nothing is
    /// written anywhere, and whether a copy is found is not seen.
    pub async fn set_silo(&self, name: &str, set: &SetSilo, dry_run: bool) -> Result<Vec<Change>, SetSiloError> {
        self.core.refresh_inventory(false).await.map_err(SiloCommandError::from)?;
        let inventory = self.core.inventory();
        let open = inventory.known(name)?;
        let silos = [(name.to_owned(), set.on(&open.row.declared))].into();
        let how = How { dry_run, renew: set.renew.then_some(name), known: true };
        Ok(self.declare(&Declared { silos, ..Declared::default() }, &how).await?)
    }
}
