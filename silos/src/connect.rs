//! From an address and credentials to a silo.

use std::fmt;
use std::sync::Arc;

use crate::address::{Address, BadAddress};
use crate::holdings::Holdings;
#[cfg(any(test, feature = "memory"))]
use crate::memory::Memory;
use crate::posix::Posix;
use crate::posix::Tree;
use crate::silo::Silo;
use crate::web::{Bucket, have_tls};
use crate::{azure, gcs, s3};

/// What a silo's requests are signed with; never shown.
#[derive(Clone, Default)]
pub enum Credentials {
    /// The environment's own ways (variables, profiles, instance metadata).
    #[default]
    Ambient,
    /// A key pair.
    Keys {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
    },
    /// The key of an Azure storage account, in base64.
    AccountKey(String),
    /// A shared access signature of Azure's: `sv=…&sig=…`.
    SasToken(String),
    /// The file with the key of a service account of Google's.
    ServiceAccountFile(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("Ambient"),
            Self::Keys { access_key_id, .. } => write!(f, "Keys({access_key_id}, ...)"),
            Self::AccountKey(_) => f.write_str("AccountKey(...)"),
            Self::SasToken(_) => f.write_str("SasToken(...)"),
            Self::ServiceAccountFile(path) => write!(f, "ServiceAccountFile({path})"),
        }
    }
}

/// Opens a silo's client. Touches nothing: `claim` and `probe` do.
pub fn connect(address: &Address, credentials: &Credentials) -> Result<Arc<dyn Silo>, BadAddress> {
    have_tls();
    let bucket = |url: String, opened: Result<Bucket, String>| match opened {
        Ok(silo) => Ok(Arc::new(silo) as Arc<dyn Silo>),
        Err(reason) => Err(BadAddress { url, reason }),
    };
    match address {
        #[cfg(any(test, feature = "memory"))]
        Address::Memory(name) => Ok(Memory::named(name)),
        Address::Posix(path) => Ok(Arc::new(Posix::new(path))),
        Address::S3 { bucket: name, .. } => bucket(format!("s3://{name}"), s3::open(address, credentials)),
        Address::Azure { container, .. } => bucket(format!("azure://{container}"), azure::open(address, credentials)),
        Address::Gcs { bucket: name, .. } => bucket(format!("gs://{name}"), gcs::open(address, credentials)),
    }
}

/// Opens what others put at an address, to be read.
pub fn holdings(address: &Address, _credentials: &Credentials) -> Result<Arc<dyn Holdings>, BadAddress> {
    match address {
        Address::Posix(path) => Ok(Arc::new(Tree::new(path))),
        _ => Err(BadAddress { url: String::new(), reason: "only folders can be read in place".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || "SECRET".to_owned();
        for (credentials, shown) in [
            (Credentials::Keys { access_key_id: "KEY".to_owned(), secret_access_key: secret() }, "Keys(KEY, ...)"),
            (Credentials::AccountKey(secret()), "AccountKey(...)"),
            (Credentials::SasToken(secret()), "SasToken(...)"),
            (Credentials::ServiceAccountFile("/k.json".to_owned()), "ServiceAccountFile(/k.json)"),
        ] {
            assert_eq!(format!("{credentials:?}"), shown);
        }
    }
}
