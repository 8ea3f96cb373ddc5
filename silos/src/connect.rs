//! From an address and credentials to a silo.

use std::fmt;
use std::sync::Arc;

use crate::address::{Address, BadAddress};
use crate::dav::{self, Dav};
use crate::files::Files;
use crate::holdings::Holdings;
use crate::http::Site;
#[cfg(any(test, feature = "memory"))]
use crate::memory::Memory;
use crate::posix::{Posix, Shared, Tree};
use crate::projections::Projections;
use crate::sftp::{self, Sftp};
use crate::silo::Silo;
use crate::web::{Bucket, Service, Shelf, have_tls};
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
    /// The file with a private key, as `ssh` takes it.
    KeyFile(String),
    /// Who is let in, and by which password.
    Login {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// A token that lets whoever has it in.
    Token(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ambient => f.write_str("Ambient"),
            Self::Keys { access_key_id, .. } => write!(f, "Keys({access_key_id}, ...)"),
            Self::AccountKey(_) => f.write_str("AccountKey(...)"),
            Self::SasToken(_) => f.write_str("SasToken(...)"),
            Self::ServiceAccountFile(path) => write!(f, "ServiceAccountFile({path})"),
            Self::KeyFile(path) => write!(f, "KeyFile({path})"),
            Self::Login { user, .. } => write!(f, "Login({user}, ...)"),
            Self::Token(_) => f.write_str("Token(...)"),
        }
    }
}

/// Opens a silo's client. Touches nothing: `claim` and `probe` do.
pub fn connect(address: &Address, credentials: &Credentials) -> Result<Arc<dyn Silo>, BadAddress> {
    match address {
        #[cfg(any(test, feature = "memory"))]
        Address::Memory(name) => Ok(Memory::named(name)),
        Address::Posix(path) => Ok(Arc::new(Posix::new(path))),
        Address::Dav { .. } => Ok(Arc::new(Files::new(made(address, Dav::new(address, credentials))?))),
        Address::Sftp { .. } => Ok(Arc::new(Files::new(made(address, Sftp::new(address, credentials))?))),
        Address::Http { .. } => {
            let reason = "a web server takes no bytes: as a silo it is read-only".to_owned();
            Err(BadAddress { url: shown(address), reason })
        }
        bucket => Ok(Arc::new(in_bucket(bucket, credentials, Bucket::new)?)),
    }
}

/// Opens a client of what lies at an address under names that others gave it. Touches nothing, and never writes.
pub fn holdings(address: &Address, credentials: &Credentials) -> Result<Arc<dyn Holdings>, BadAddress> {
    match address {
        Address::Posix(path) => Ok(Arc::new(Tree::new(path))),
        Address::Http { .. } => Ok(Arc::new(made(address, Site::new(address, credentials))?)),
        Address::Dav { .. } => Ok(Arc::new(dav::Lent::new(made(address, Dav::new(address, credentials))?))),
        Address::Sftp { .. } => Ok(Arc::new(sftp::Lent::new(made(address, Sftp::new(address, credentials))?))),
        bucket => Ok(Arc::new(in_bucket(bucket, credentials, Shelf::new)?)),
    }
}

/// Opens a client of a tree that others write to as well, for one namespace. Touches nothing.
pub fn projections(address: &Address, namespace: &str) -> Result<Arc<dyn Projections>, BadAddress> {
    match address {
        Address::Posix(path) => Ok(Arc::new(Shared::new(path, namespace))),
        other => {
            let reason = "only folders are read-write: elsewhere nothing can be replaced without the risk of losing what others wrote";
            Err(BadAddress { url: shown(other), reason: reason.to_owned() })
        }
    }
}

fn made<T>(address: &Address, made: Result<T, String>) -> Result<T, BadAddress> {
    made.map_err(|reason| BadAddress { url: shown(address), reason })
}

/// Makes something of the service at a bucket's address.
fn in_bucket<T>(
    address: &Address,
    credentials: &Credentials,
    make: fn(Box<dyn Service>) -> Result<T, String>,
) -> Result<T, BadAddress> {
    have_tls();
    let service = match address {
        Address::S3 { .. } => s3::service(address, credentials),
        Address::Azure { .. } => azure::service(address, credentials),
        Address::Gcs { .. } => gcs::service(address, credentials),
        Address::Posix(_) | Address::Http { .. } | Address::Dav { .. } | Address::Sftp { .. } => {
            Err("what holds files is no bucket".to_owned())
        }
        #[cfg(any(test, feature = "memory"))]
        Address::Memory(_) => Err("memory holds nothing of others".to_owned()),
    };
    made(address, service.and_then(make))
}

/// An address as an error names it.
fn shown(address: &Address) -> String {
    match address {
        Address::S3 { bucket, .. } => format!("s3://{bucket}"),
        Address::Azure { container, .. } => format!("azure://{container}"),
        Address::Gcs { bucket, .. } => format!("gs://{bucket}"),
        Address::Posix(path) => path.display().to_string(),
        Address::Http { origin, path, .. } | Address::Dav { origin, path } => format!("{origin}/{path}"),
        Address::Sftp { host, path, .. } => format!("sftp://{host}/{path}"),
        #[cfg(any(test, feature = "memory"))]
        Address::Memory(name) => format!("memory:{name}"),
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
            (Credentials::Login { user: "me".to_owned(), password: secret() }, "Login(me, ...)"),
            (Credentials::Token(secret()), "Token(...)"),
        ] {
            assert_eq!(format!("{credentials:?}"), shown);
        }
    }
}
