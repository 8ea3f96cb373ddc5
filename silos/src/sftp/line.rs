//! A connection that is made when it is needed, by an `ssh` program.

use std::process::Stdio;
use std::sync::Arc;

use russh_sftp::client::error::Error;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::session::Session;
use crate::address::Address;
use crate::connect::Credentials;
use crate::error::SiloError;
use crate::limits::RESPONSE_TIMEOUT;

/// How the program speaks: it asks nobody, trusts no host that is not known, forwards nothing, and notices a dead peer.
const OPTIONS: [&str; 9] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "PermitLocalCommand=no",
    "LogLevel=ERROR",
];

/// Whom to connect to, and the connection there is.
pub(super) struct Line {
    arguments: Vec<String>,
    /// `user@host:port`, as it is shown.
    pub(super) peer: String,
    /// Absolute.
    root: String,
    /// Held while a connection is made.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    /// When a connection could not be made, and why: whoever waited meanwhile does not try once more.
    failed: Option<(Instant, SiloError)>,
}

impl Line {
    pub(super) fn new(address: &Address, credentials: &Credentials) -> Result<Self, String> {
        let Address::Sftp { user, host, port, path, known_hosts } = address else {
            return Err("not an address of SFTP".to_owned());
        };
        let mut arguments: Vec<String> =
            OPTIONS.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]).collect();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        match credentials {
            Credentials::Ambient => {}
            Credentials::KeyFile(file) => {
                add("-o", "IdentitiesOnly=yes".to_owned());
                add("-i", file.clone());
            }
            _ => return Err("SFTP takes the file of a key, or what the user's `ssh` has".to_owned()),
        }
        if let Some(file) = known_hosts {
            add("-o", format!("UserKnownHostsFile={file}"));
        }
        if let Some(user) = user {
            add("-l", user.clone());
        }
        if let Some(port) = port {
            add("-p", port.to_string());
        }
        arguments.extend(["-s".to_owned(), "--".to_owned(), host.clone(), "sftp".to_owned()]);
        let at = user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let peer = format!("{at}{host}{}", port.map(|port| format!(":{port}")).unwrap_or_default());
        Ok(Self { arguments, peer, root: format!("/{path}"), state: Mutex::default() })
    }

    /// A path below the root, as the server names it.
    pub(super) fn path(&self, path: &str) -> String {
        let path = path.trim_end_matches('/');
        match (self.root.as_str(), path) {
            (root, "") => root.to_owned(),
            ("/", path) => format!("/{path}"),
            (root, path) => format!("{root}/{path}"),
        }
    }

    /// The connection there is, or a new one.
    pub(super) async fn session(&self) -> Result<Arc<Session>, SiloError> {
        let asked = Instant::now();
        let state = tokio::time::timeout(RESPONSE_TIMEOUT, self.state.lock()).await;
        let mut state = state.map_err(|_| SiloError::not_done("a connection is still being made"))?;
        if let Some(session) = state.session.as_ref().filter(|session| session.is_alive()) {
            return Ok(Arc::clone(session));
        }
        state.session = None;
        if let Some((_, error)) = state.failed.as_ref().filter(|(at, _)| *at >= asked) {
            return Err(error.clone());
        }
        match self.begin().await {
            Ok(session) => {
                state.session = Some(Arc::clone(&session));
                Ok(session)
            }
            Err(error) => {
                state.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    async fn begin(&self) -> Result<Arc<Session>, SiloError> {
        Ok(Arc::new(Session::begin(self.start()?, &self.peer).await?))
    }

    fn start(&self) -> Result<Child, SiloError> {
        let mut command = Command::new("ssh");
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Whoever interrupts the gateway does not mean its connections, which it needs to stop in order.
        let started = command.kill_on_drop(true).process_group(0).spawn();
        started.map_err(|error| SiloError::not_done(format!("the program `ssh` does not start: {error}")))
    }

    /// Asks what changes nothing, over a new connection where the one there was turns out to be gone.
    pub(super) async fn look<T, F>(&self, ask: impl Fn(Arc<Session>) -> F) -> Result<T, SiloError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let session = self.session().await?;
        match ask(Arc::clone(&session)).await {
            Err(error) if session.lost(&error) => {
                let session = self.session().await?;
                ask(Arc::clone(&session)).await.map_err(|error| session.reading(error))
            }
            outcome => outcome.map_err(|error| session.reading(error)),
        }
    }
}
