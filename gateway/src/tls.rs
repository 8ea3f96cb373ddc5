//! TLS from a certificate file and a key file, both PEM. A renewed pair is taken up while serving; one that does not
//! fit together is reported and the old pair stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::limits::CERTIFICATE_POLL;

/// Why a certificate and its key are not taken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No such file, or no right to read it.
    #[error("cannot read `{path}`: {reason}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: std::io::ErrorKind,
    },
    /// The file is not what it should be.
    #[error("`{path}` holds no {what} in PEM form")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// The pair does not work.
    #[error("the certificate in `{cert}` and the key in `{key}` do not fit together")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The library cannot do what we ask.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
    /// SIGHUP cannot be watched.
    #[error("SIGHUP cannot be watched")]
    Signal(#[from] std::io::Error),
}

/// The pair in use and where it comes from.
#[derive(Debug)]
pub struct Certificates {
    cert: PathBuf,
    key: PathBuf,
    current: ArcSwap<CertifiedKey>,
}

impl Certificates {
    /// Reads the pair.
    pub fn load(cert: &Path, key: &Path) -> Result<Arc<Self>, TlsError> {
        let current = ArcSwap::from_pointee(read(cert, key)?);
        Ok(Arc::new(Self { cert: cert.to_owned(), key: key.to_owned(), current }))
    }

    /// Reads the pair again; whether it is another one.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let fresh = read(&self.cert, &self.key)?;
        let renewed = fresh.cert != self.current.load().cert;
        if renewed {
            self.current.store(Arc::new(fresh));
        }
        Ok(renewed)
    }

    /// What a listener needs: TLS 1.2 and 1.3, HTTP/1.1.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, TlsError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes up a renewed pair on SIGHUP and once a minute, until `shutdown`.
    pub async fn keep_fresh(self: Arc<Self>, shutdown: CancellationToken) -> Result<(), TlsError> {
        let mut hangup = signal(SignalKind::hangup())?;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                _ = hangup.recv() => {}
                () = tokio::time::sleep(CERTIFICATE_POLL) => {}
            }
            match self.reload() {
                Ok(true) => tracing::info!(cert = %self.cert.display(), "certificate renewed"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the old certificate stays in use"),
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn read(cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let what = "certificate";
    let chain = CertificateDer::pem_file_iter(cert).map_err(|error| unreadable(cert, what, error))?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(cert, what, error))?;
    if chain.is_empty() {
        return Err(TlsError::NotPem { path: cert.to_owned(), what });
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, "private key", error))?;
    CertifiedKey::from_der(chain, secret, &ring::default_provider()).map_err(|source| TlsError::Pair {
        cert: cert.to_owned(),
        key: key.to_owned(),
        source,
    })
}

fn unreadable(path: &Path, what: &'static str, error: pem::Error) -> TlsError {
    match error {
        pem::Error::Io(error) => TlsError::Unreadable { path: path.to_owned(), reason: error.kind() },
        _ => TlsError::NotPem { path: path.to_owned(), what },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_renewed_pair_is_taken_up_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let write = |pair: (String, String)| {
            std::fs::write(&cert, pair.0).unwrap();
            std::fs::write(&key, pair.1).unwrap();
        };
        write(pair());
        let certificates = Certificates::load(&cert, &key).unwrap();
        certificates.acceptor().unwrap();
        assert!(!certificates.reload().unwrap());
        let first = certificates.current.load_full();

        std::fs::write(&cert, pair().0).unwrap();
        let error = certificates.reload().unwrap_err();
        assert!(matches!(error, TlsError::Pair { .. }), "{error}");
        assert_eq!(certificates.current.load().cert, first.cert);

        write(pair());
        assert!(certificates.reload().unwrap());
        assert_ne!(certificates.current.load().cert, first.cert);
    }

    #[test]
    fn errors_name_the_file_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let told =
            || Certificates::load(&cert, &key).unwrap_err().to_string().replace(folder.path().to_str().unwrap(), "");
        assert_eq!(told(), "cannot read `/cert.pem`: entity not found");
        std::fs::write(&cert, "nothing").unwrap();
        assert_eq!(told(), "`/cert.pem` holds no certificate in PEM form");
        std::fs::write(&cert, pair().0).unwrap();
        std::fs::write(&key, "nothing").unwrap();
        assert_eq!(told(), "`/key.pem` holds no private key in PEM form");
    }
}
