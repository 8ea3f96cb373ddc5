//! A gateway as one thing that starts and stops: what `holdall serve` runs and what tests start.
//!
//! Nothing is answered before everything is in order: configuration, certificate, index, silos, the first key. Both
//! ports are taken first and listened on last, so that a taken port touches no data and a client that connects early is
//! refused, never left hanging.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use holdall_namespace::account::{AccountError, NewKey};
use holdall_namespace::clock::Clock;
use holdall_namespace::engine::Engine;
use holdall_namespace::engine::redb::{OpenIndexError, Redb};
use holdall_namespace::fault::Fault;
use holdall_namespace::inventory::{ApplyError, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::{Namespace, OpenError, Options};
use secrecy::SecretString;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::access_log::AccessLog;
use crate::admin::{self, Admin, Queues};
use crate::calendar;
use crate::cli::client::Keys;
use crate::cli::credentials::KeyFile;
use crate::config::Settings;
use crate::folder::{self, FolderError};
use crate::metrics::Metrics;
use crate::observe::Observer;
use crate::serve::{self, Limits};
use crate::state::State;
use crate::tls::{Certificates, TlsError};

mod answer;
#[cfg(test)]
pub(crate) mod tests;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What a gateway is started with beside its settings; tests bring their own engine and clock.
#[derive(Default)]
pub struct Start {
    /// Declared state to apply.
    pub declared: Option<Declared>,
    /// The first key, instead of a generated one.
    pub first_key: Option<(String, SecretString)>,
    /// The index; `None` opens the settings' file.
    pub engine: Option<Arc<dyn Engine>>,
    /// Other processes may have the index open too.
    pub shared: bool,
    /// Time; `None` is the machine's.
    pub clock: Option<Arc<dyn Clock>>,
}

/// Why a gateway did not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// See [`FolderError`].
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An address is taken or is not this machine's.
    #[error("cannot listen on {address} ({what}): {source}")]
    Listen {
        /// `S3` or `admin`.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
    /// See [`TlsError`].
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// See [`OpenIndexError`].
    #[error(transparent)]
    Index(#[from] OpenIndexError),
    /// See [`OpenError`].
    #[error(transparent)]
    Open(#[from] OpenError),
    /// See [`ApplyError`].
    #[error(transparent)]
    Declared(#[from] ApplyError),
    /// See [`AccountError`].
    #[error("the first key: {0}")]
    FirstKey(#[from] AccountError),
    /// The key file could not be written.
    #[error("key file `{}`: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The access log could not be opened.
    #[error("access log `{}`: {source}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
}

/// A running gateway. Dropping it without [`Gateway::shutdown`] leaves its tasks running.
pub struct Gateway {
    /// Where S3 is spoken.
    pub s3: SocketAddr,
    /// Where the admin API is.
    pub admin: SocketAddr,
    /// S3's address as a URL.
    pub endpoint: String,
    /// The first key when this start made or replaced it.
    pub new_key: Option<NewKey>,
    /// The key file, when the first key is in it.
    pub key_file: Option<PathBuf>,
    namespace: Arc<Namespace>,
    access_log: Option<Arc<AccessLog>>,
    stop: CancellationToken,
    serving: Vec<JoinHandle<usize>>,
    beside: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts a gateway: when this answers, both ports are open and everything is served.
    pub async fn start(settings: Settings, start: Start) -> Result<Self, StartError> {
        let s3 = taken("S3", settings.listen)?;
        let admin = taken("admin", settings.admin_listen)?;
        let tls = settings.tls.as_ref().map(|files| Certificates::load(&files.cert, &files.key)).transpose()?;
        let access_log = open_access_log(&settings)?;
        folder::prepare(&settings.data)?;
        let namespace = open_namespace(&settings, &start).await?;
        if settings.backup().is_some() {
            namespace.refuse_stale().await?;
        }
        folder::warn_if_exposed(&settings.data);
        folder::warn_if_exposed(&settings.seal_key);
        if settings.backup().is_some() {
            folder::warn_if_lost_together(&settings.data, &settings.seal_key);
        }
        let opened = Opened { s3, admin, tls, access_log, namespace: Arc::clone(&namespace) };
        match Self::serve(settings, start, opened).await {
            Ok(gateway) => Ok(gateway),
            Err(error) => {
                namespace.close().await;
                Err(error)
            }
        }
    }

    async fn serve(settings: Settings, start: Start, opened: Opened) -> Result<Self, StartError> {
        let Opened { s3, admin, tls, access_log, namespace } = opened;
        declare(&namespace, start.declared).await?;
        let address = |what, socket: &TcpSocket, address| {
            socket.local_addr().map_err(|source| StartError::Listen { what, address, source })
        };
        let (s3_address, admin_address) =
            (address("S3", &s3, settings.listen)?, address("admin", &admin, settings.admin_listen)?);
        let endpoint = url_of(s3_address, tls.is_some());
        let from_environment = start.first_key.is_some();
        let new_key = namespace.ensure_first_key(start.first_key).await?;
        let key_file = keep_key(&settings, &namespace, new_key.as_ref(), from_environment, &endpoint).await?;

        let clock = start.clock.unwrap_or_else(|| calendar::clock());
        let state = Arc::new(State {
            namespace: Arc::clone(&namespace),
            clock: Arc::clone(&clock),
            region: settings.region.clone(),
            scheme: scheme(tls.is_some()),
            domains: settings.domains.clone(),
        });
        let metrics = Arc::new(Metrics::new());
        let queues =
            Queues { namespace: Arc::clone(&namespace), clock: Arc::clone(&clock), metrics: Arc::clone(&metrics) };
        let observer = Arc::new(Observer { metrics: Arc::clone(&metrics), log: access_log.clone(), clock });
        let acceptor = tls.as_ref().map(Certificates::acceptor).transpose()?;
        let stop = CancellationToken::new();
        let limits = Limits { drain_timeout: settings.drain_limit, ..Limits::default() };
        let s3_limits = Limits { open: metrics.connections.clone(), ..limits.clone() };
        let (s3, admin) = (listening("S3", s3, settings.listen)?, listening("admin", admin, settings.admin_listen)?);
        namespace.start_background();
        namespace.keep_inventory(settings.inventory_every);
        let router = admin::router(Arc::new(Admin { state: Arc::clone(&state), metrics, endpoint: endpoint.clone() }));
        let admin_service = move |request, _peer| {
            let router = router.clone();
            async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}) }
        };
        let s3_service = move |request, peer| {
            let state = Arc::clone(&state);
            let handle = move |request| async move { answer::answer(&state, request).await };
            Arc::clone(&observer).watch(request, peer, handle)
        };
        let serving = vec![
            tokio::spawn(serve::serve(s3, acceptor, s3_service, s3_limits, stop.clone())),
            tokio::spawn(serve::serve(admin, None, admin_service, limits, stop.clone())),
        ];
        let asking = tokio::spawn(Arc::new(queues).ask_until(stop.clone()));
        let renewing = tls.map(|certificates| tokio::spawn(renew(certificates, stop.clone())));
        let beside = renewing.into_iter().chain([asking]).collect();
        Ok(Self {
            s3: s3_address,
            admin: admin_address,
            endpoint,
            new_key,
            key_file,
            namespace,
            access_log,
            stop,
            serving,
            beside,
        })
    }

    /// What this gateway serves, for tests beside it.
    pub fn namespace(&self) -> &Arc<Namespace> {
        &self.namespace
    }

    /// Opens the access log anew: it was rotated away.
    pub fn reopen_logs(&self) {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
    }

    /// Takes no more requests, finishes those in flight within the drain limit, ends the session. Answers how many
    /// connections were cut off.
    pub async fn shutdown(mut self) -> usize {
        self.stop.cancel();
        let mut cut = 0;
        for task in self.serving.drain(..) {
            // A task that panicked has said so; what else runs is still ended in good order.
            cut += task.await.unwrap_or_default();
        }
        for task in self.beside.drain(..) {
            drop(task.await);
        }
        self.namespace.close().await;
        cut
    }
}

/// What is open before the first thing is decided.
struct Opened {
    s3: TcpSocket,
    admin: TcpSocket,
    tls: Option<Arc<Certificates>>,
    access_log: Option<Arc<AccessLog>>,
    namespace: Arc<Namespace>,
}

/// Where a client on this machine finds a listener.
fn url_of(address: SocketAddr, tls: bool) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("{}://{}", scheme(tls), SocketAddr::new(host, address.port()))
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

/// Takes an address without listening on it: nobody can connect yet.
fn taken(what: &'static str, address: SocketAddr) -> Result<TcpSocket, StartError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|source| StartError::Listen { what, address, source })
}

fn listening(what: &'static str, socket: TcpSocket, address: SocketAddr) -> Result<TcpListener, StartError> {
    socket.listen(BACKLOG).map_err(|source| StartError::Listen { what, address, source })
}

fn open_access_log(settings: &Settings) -> Result<Option<Arc<AccessLog>>, StartError> {
    let open = |path: &PathBuf| match AccessLog::open(path) {
        Ok(log) => Ok(Arc::new(log)),
        Err(source) => Err(StartError::AccessLog { path: path.clone(), source }),
    };
    settings.access_log.as_ref().map(open).transpose()
}

/// Opens index and silos. Also what `holdall check` does with a stopped data folder.
pub async fn open_namespace(settings: &Settings, start: &Start) -> Result<Arc<Namespace>, StartError> {
    let seal_key = *folder::seal_key(&settings.seal_key, &settings.index)?;
    let clock = start.clock.clone().unwrap_or_else(|| calendar::clock());
    let engine = match &start.engine {
        Some(engine) => Arc::clone(engine),
        #[cfg(feature = "faults")]
        None if start.shared => Arc::new(Redb::open_shared(&settings.index, Arc::clone(&clock))?),
        None => Arc::new(Redb::open(&settings.index, Arc::clone(&clock))?),
    };
    // Relative silo paths are below the data folder, wherever the process stands.
    let base = std::path::absolute(&settings.data)
        .map_err(|source| FolderError::Folder { path: settings.data.clone(), source })?;
    let Settings { sweep_grace: grace, pack_up_to, .. } = *settings;
    let (backup, align, scrub) = (settings.backup(), settings.align(), settings.scrub());
    let options = Options { base, seal_key, grace, pack_up_to, backup, align, scrub };
    let namespace = Namespace::open(engine, clock, options, !start.shared).await?;
    namespace.hash_in_place(settings.hash_rate);
    Ok(namespace)
}

/// Applies what is declared; a new index for which nothing is declared gets two disk silos.
async fn declare(namespace: &Namespace, declared: Option<Declared>) -> Result<(), StartError> {
    let declared = match declared {
        Some(declared) => declared,
        None if namespace.has_silos() => return Ok(()),
        None => default_silos(),
    };
    refuse_volatile(&declared)?;
    namespace.apply(&declared, false).await?;
    Ok(())
}

/// A silo that is lost with the process would make every acknowledgement a lie; a build for tests can open one.
pub(crate) fn refuse_volatile(declared: &Declared) -> Result<(), ApplyError> {
    declared.silos.iter().try_for_each(|(name, silo)| refuse_volatile_url(name, &silo.url))
}

/// The same of one silo.
pub(crate) fn refuse_volatile_url(name: &str, url: &str) -> Result<(), ApplyError> {
    if !url.starts_with("memory:") {
        return Ok(());
    }
    let reason = format!("`{url}`: what it takes would be lost with the process; known are `file:`, `s3:`");
    Err(ApplyError::Invalid { what: format!("silo.{name}.url"), reason })
}

/// `hot` and `cold`, folders below the data folder; new objects go to `hot` first.
pub fn default_silos() -> Declared {
    let silo = |name: &str| (name.to_owned(), DeclaredSilo::own(format!("file:{name}")));
    let target = |silo: &str| WriteTarget { silo: silo.to_owned(), min_size: 0, max_size: None };
    Declared {
        silos: [silo("hot"), silo("cold")].into(),
        write: Some(WritePolicy { to: vec![target("hot"), target("cold")] }),
        ..Declared::default()
    }
}

/// Keeps the first key where commands find it: a key from the environment stays there, any other is in the key file.
async fn keep_key(
    settings: &Settings,
    namespace: &Namespace,
    new_key: Option<&NewKey>,
    from_environment: bool,
    endpoint: &str,
) -> Result<Option<PathBuf>, StartError> {
    let path = KeyFile::path(&settings.data);
    let failed = |source| StartError::KeyFile { path: path.clone(), source };
    let known = KeyFile::read(&settings.data).map_err(failed)?;
    if from_environment {
        if new_key.is_some() && known.is_some() {
            // The key in it was just replaced: a file that no longer works misleads.
            std::fs::remove_file(&path).map_err(failed)?;
            return Ok(None);
        }
        return Ok(known.map(|_| path));
    }
    let keys = match (new_key, known) {
        (Some(new), _) => Some(Keys { id: new.key.id.clone(), secret: new.secret.clone() }),
        (None, Some(file)) => Some(file.keys),
        // A crash came between the key's commit and its file, or the file was lost.
        (None, None) => stored_key(namespace).await?,
    };
    let Some(keys) = keys else { return Ok(None) };
    let file = KeyFile { keys, region: settings.region.clone(), endpoint: endpoint.to_owned() };
    file.write(&settings.data).map_err(failed)?;
    Ok(Some(path))
}

async fn stored_key(namespace: &Namespace) -> Result<Option<Keys>, AccountError> {
    let accounts = namespace.accounts().await.map_err(AccountError::Fault)?;
    let Some(first) = accounts.into_iter().find(|account| account.admin) else { return Ok(None) };
    let Some(key) = namespace.keys(&first.name).await?.into_iter().next() else { return Ok(None) };
    let credential: Result<_, Fault> = namespace.credential(&key.id).await;
    Ok(credential?.map(|credential| Keys { id: key.id, secret: credential.secret }))
}

async fn renew(certificates: Arc<Certificates>, stop: CancellationToken) {
    if let Err(error) = certificates.keep_fresh(stop).await {
        tracing::error!(%error, "renewed certificates are not taken up");
    }
}
