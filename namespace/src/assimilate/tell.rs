//! What others tell of a silo's names: who may, and which names that are.

use holdall_silos::Address;
use holdall_silos::holdings::Touched;

use super::AssimilateError;
use super::find::held;
use crate::clock::UnixMs;
use crate::inventory::SiloCommandError;
use crate::namespace::Namespace;

/// A name, or what names begin with, that somebody tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The bucket it is a key of; none where it is a name as the silo has it.
    bucket: Option<String>,
    name: String,
    below: bool,
}

impl Told {
    /// A key of a bucket of others.
    pub fn key(bucket: &str, key: String) -> Self {
        Self { bucket: Some(bucket.to_owned()), name: key, below: false }
    }

    /// A name below what the silo is.
    pub fn name(name: &str) -> Self {
        Self { bucket: None, name: name.to_owned(), below: false }
    }

    /// It, and all names below it.
    #[must_use]
    pub fn and_below(self) -> Self {
        Self { below: true, ..self }
    }

    /// What it touches of a silo; nothing where it is of another one.
    fn touched(&self, address: &Address) -> Option<Touched> {
        let name = match &self.bucket {
            Some(bucket) => address.name_of(bucket, &self.name)?.as_bytes(),
            None => self.name.as_bytes(),
        };
        Some(if self.below { Touched::Below(name.to_vec()) } else { Touched::Name(name.to_vec()) })
    }
}

impl Namespace {
    /// Whoever has what this answers may tell of changes of a silo. It is not kept, and ends what was answered before.
    pub async fn new_events_token(&self, silo: &str) -> Result<String, SiloCommandError> {
        let token = format!("{}{}", crate::namespace::random_id(), crate::namespace::random_id());
        self.set_events_token(silo, Some(hashed(&token))).await?;
        Ok(token)
    }

    /// Nobody may tell of changes of a silo any more.
    pub async fn forget_events_token(&self, silo: &str) -> Result<(), SiloCommandError> {
        self.set_events_token(silo, None).await
    }

    async fn set_events_token(&self, silo: &str, hashed: Option<String>) -> Result<(), SiloCommandError> {
        let id = self.inventory().named(silo).map(|open| open.id);
        let id = id.ok_or_else(|| SiloCommandError::NoSuchSilo(silo.to_owned()))?;
        let told = hashed.is_some();
        crate::declare::change_silo(&*self.engine, id, move |row| row.events_token.clone_from(&hashed)).await?;
        self.core.refresh_inventory(true).await?;
        tracing::info!(silo, told, "who may tell of changes was set");
        Ok(())
    }

    /// Whether whoever has this may tell of changes of a silo.
    pub fn may_tell(&self, silo: &str, token: &str) -> bool {
        let inventory = self.inventory();
        let known = inventory.named(silo).and_then(|open| open.row.events_token.as_deref());
        // What is compared are hashes: how far they agree tells nothing of the token.
        known.is_some_and(|known| known == hashed(token))
    }

    /// Somebody tells that names of a silo may have changed: each is looked at soon. Answers how many are taken over.
    pub fn tell(&self, silo: &str, told: &[Told]) -> Result<usize, AssimilateError> {
        let inventory = self.inventory();
        let open = inventory.named(silo).ok_or_else(|| AssimilateError::NoSuchSilo(silo.to_owned()))?;
        let address = Address::parse(&open.row.declared.url, &self.options.base);
        let address = address.map_err(|error| AssimilateError::Invalid(error.to_string()))?;
        let touched: Vec<Touched> = told.iter().filter_map(|told| told.touched(&address)).collect();
        let count = self.touch(silo, &touched)?;
        held(&self.core.looking.told).insert(open.id, self.clock.now());
        Ok(count)
    }

    /// When somebody told of changes of a silo last, here.
    pub fn told(&self, silo: &str) -> Option<UnixMs> {
        let id = self.inventory().named(silo)?.id;
        held(&self.core.looking.told).get(&id).copied()
    }
}

fn hashed(token: &str) -> String {
    const_hex::encode(blake3::hash(token.as_bytes()).as_bytes())
}
