//! What others keep behind WebDAV. Nothing is written.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Dav, WORDS};
use crate::error::SiloError;
use crate::facts::Facts;
use crate::folders::{Entry, Folders, HeldWalk, is_path};
use crate::holdings::{Held, Holdings, Walk};
use crate::silo::{Pieces, Validator};
use crate::web::{TIME_GRAIN, is_ours, read_of_others, spell};

/// A server's files, which others own.
pub(crate) struct Lent(Arc<Seen>);

struct Seen(Dav);

impl Lent {
    pub(crate) fn new(dav: Dav) -> Self {
        Self(Arc::new(Seen(dav)))
    }

    fn dav(&self) -> &Dav {
        &self.0.0
    }

    /// A 404 is believed as long as the root is there.
    async fn missing(&self) -> SiloError {
        match self.dav().find("", false).await {
            Ok(_) => SiloError::Missing,
            Err(SiloError::Missing) => SiloError::not_done("the folder is gone"),
            Err(error) => error,
        }
    }

    /// A silo of others that is gone is not empty.
    async fn glance(&self) -> Result<(), SiloError> {
        match self.missing().await {
            SiloError::Missing => Ok(()),
            error => Err(error),
        }
    }
}

#[async_trait]
impl Folders for Seen {
    type File = Held;

    async fn entries(&self, folder: &str) -> Result<Vec<Entry<Held>>, SiloError> {
        self.0.list(folder).await
    }
}

fn spelled(name: &[u8]) -> Result<&str, SiloError> {
    if is_ours(name) {
        return Err(SiloError::Missing);
    }
    let name = spell(name).map_err(SiloError::mismatch)?;
    if is_path(name) { Ok(name) } else { Err(SiloError::Missing) }
}

#[async_trait]
impl Holdings for Lent {
    /// Its address: another server there is the same.
    async fn identity(&self) -> Result<String, SiloError> {
        self.glance().await?;
        let place = self.dav().client.service.place();
        Ok(format!("{} {}/{}", WORDS.family, place.base, place.prefix))
    }

    async fn shows_every_write(&self) -> Result<bool, SiloError> {
        Ok(false)
    }

    async fn facts(&self) -> Result<Facts, SiloError> {
        self.glance().await?;
        let family = WORDS.family.to_owned();
        Ok(Facts {
            kind: family.clone(),
            family,
            conditional_read: true,
            time_grain_ns: TIME_GRAIN,
            ..Facts::default()
        })
    }

    fn walk(&self, prefix: &[u8], after: Option<&[u8]>) -> Box<dyn Walk> {
        Box::new(HeldWalk::new(Arc::clone(&self.0), prefix, after))
    }

    async fn look(&self, name: &[u8]) -> Result<Held, SiloError> {
        match self.dav().find(spelled(name)?, false).await {
            Ok(found) => match found.itself {
                Some(held) => held.map_err(SiloError::mismatch),
                // A folder.
                None => Err(SiloError::Missing),
            },
            Err(SiloError::Missing) => Err(self.missing().await),
            Err(error) => Err(error),
        }
    }

    async fn read(
        &self,
        name: &[u8],
        size: u64,
        validator: &Validator,
        range: Range<u64>,
    ) -> Result<Pieces, SiloError> {
        let (client, key) = (Arc::clone(&self.dav().client), self.dav().key(spelled(name)?));
        match read_of_others(client, key, size, &validator.0, range).await {
            Err(SiloError::Missing) => Err(self.missing().await),
            outcome => outcome,
        }
    }
}
