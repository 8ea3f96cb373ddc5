//! A gateway process: started on free ports, stopped or killed by its own id.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};

use crate::Outcome;
use crate::client::Endpoint;
use crate::clock::Stopwatch;
use crate::command::Holdall;
use crate::sign::Signer;
use crate::wire::{Body, Connection};

/// How long a gateway may take until it is ready: opening an index after a crash reads it whole.
const READY: Duration = Duration::from_mins(1);
/// How long a stopped gateway may finish what it has in flight.
const STOPPED: Duration = Duration::from_mins(1);

/// What is retired goes with the next sweep.
pub const NO_GRACE: &str = "sweep_grace = \"0s\"\n";

/// Snapshots of the index come and go within seconds.
pub const BACKED_UP_OFTEN: &str = "[backup]\nevery = \"2s\"\nkeep = \"4s\"\n";

/// How to start one. The ports stay the same over restarts.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// Its data folder.
    pub data: PathBuf,
    /// Its log and its configuration lie here, with their own extensions; beside the data unless told otherwise.
    pub notes: PathBuf,
    /// S3's `host:port`.
    pub listen: String,
    /// The admin API's `host:port`.
    pub admin: String,
    /// The declared state, TOML.
    pub config: Option<String>,
    /// More environment.
    pub env: Vec<(String, String)>,
    /// First key.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
}

impl Setup {
    /// A gateway of its own below `data`.
    pub fn new(data: &Path) -> Outcome<Self> {
        Ok(Self {
            binary: binary()?,
            data: data.to_owned(),
            notes: data.to_owned(),
            listen: free_address()?,
            admin: free_address()?,
            config: None,
            env: Vec::new(),
            access_key_id: "CONFORMANCE0KEY".to_owned(),
            secret_access_key: "conformance/secret+of/no+worth".to_owned(),
        })
    }

    /// The index may be opened by others that say so as well.
    pub fn share_index(&mut self) {
        self.env.push(("HOLDALL_SHARED_INDEX".to_owned(), "true".to_owned()));
    }

    /// Another gateway over the same data folder, with its notes there.
    pub fn beside(&self, notes: &Path) -> Outcome<Self> {
        Ok(Self { notes: notes.to_owned(), listen: free_address()?, admin: free_address()?, ..self.clone() })
    }

    /// S3's side.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint {
            address: self.listen.clone(),
            signer: Some(Signer::new(&self.access_key_id, &self.secret_access_key, "us-east-1")),
            sign_payload: false,
        }
    }

    /// The command line's side.
    pub fn command(&self) -> Holdall {
        Holdall {
            binary: self.binary.clone(),
            admin: format!("http://{}", self.admin),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
        }
    }

    /// Where its messages go; kept over restarts.
    pub fn log(&self) -> PathBuf {
        self.notes.with_extension("log")
    }

    /// Starts it and waits until it is ready. An end before that is the error, with the log's end.
    pub async fn start(&self) -> Outcome<Gateway> {
        let mut gateway = self.launch()?;
        gateway.ready().await?;
        Ok(gateway)
    }

    /// Starts it and does not wait.
    pub fn launch(&self) -> Outcome<Gateway> {
        if let Some(folder) = self.notes.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.binary);
        command.arg("serve").arg("--data").arg(&self.data);
        command.args(["--listen", &self.listen, "--admin-listen", &self.admin]);
        if let Some(config) = &self.config {
            let file = self.notes.with_extension("toml");
            std::fs::write(&file, config)?;
            command.arg("--config").arg(file);
        }
        command
            .env("HOLDALL_ACCESS_KEY_ID", &self.access_key_id)
            .env("HOLDALL_SECRET_ACCESS_KEY", &self.secret_access_key)
            // Rigs count what lies in silos; the inventory is theirs to order.
            .env("HOLDALL_INVENTORY_EVERY", "0s")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.binary.display()))?;
        Ok(Gateway { child, setup: self.clone() })
    }
}

/// Declares `hot` on disk and `cold` in the bucket `cold` of another S3 server; keys are in `COLD_KEY`, `COLD_SECRET`.
pub fn cold_on(address: &str) -> String {
    format!(
        "[silo.hot]\nurl = \"file:hot\"\n[silo.cold]\nurl = \"s3://cold?endpoint=http://{address}&region=us-east-1\"\n\
         credentials = {{ access_key_id_env = \"COLD_KEY\", secret_access_key_env = \"COLD_SECRET\" }}\n\
         [write]\nto = [\"hot\", \"cold\"]\n"
    )
}

/// A running gateway; dropped, it is killed.
pub struct Gateway {
    child: Child,
    /// How it was started.
    pub setup: Setup,
}

impl Gateway {
    /// Waits until it is ready, unless it ends before.
    pub async fn ready(&mut self) -> Outcome<()> {
        let watch = Stopwatch::start();
        let mut connection = Connection::new(&self.setup.admin);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("gateway ended before it was ready ({status}):\n{}", self.log_tail()).into());
            }
            let mut request = http::Request::new(Body::Empty);
            *request.uri_mut() = "/readyz".parse()?;
            request.headers_mut().insert(http::header::HOST, self.setup.admin.parse()?);
            if let Ok(answer) = connection.send(request).await
                && answer.status().is_success()
            {
                return Ok(());
            }
            if watch.over(READY) {
                return Err(format!("gateway not ready after {READY:?}:\n{}", self.log_tail()).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its process id; 0 once it ended.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// SIGTERM, and its exit status.
    pub async fn stop(mut self) -> Outcome<ExitStatus> {
        self.signal(rustix::process::Signal::TERM)?;
        match tokio::time::timeout(STOPPED, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(format!("gateway still runs {STOPPED:?} after SIGTERM").into()),
        }
    }

    /// SIGKILL; it is gone when this returns.
    pub async fn kill(mut self) -> Outcome<ExitStatus> {
        self.child.start_kill()?;
        Ok(self.child.wait().await?)
    }

    /// Whether it is gone, by SIGKILL.
    pub fn was_killed(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        self.child.try_wait().ok().flatten().is_some_and(|status| status.signal() == Some(9))
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        tokio::time::timeout(limit, self.child.wait()).await.ok()?.ok()
    }

    /// Sends a signal, such as a freeze.
    pub fn signal(&self, signal: rustix::process::Signal) -> Outcome<()> {
        let pid = rustix::process::Pid::from_raw(self.pid() as i32).ok_or("gateway has ended")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// The last lines of its messages.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.setup.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}

/// A port nobody listens on now, on this machine only.
pub fn free_address() -> Outcome<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// `HOLDALL_BIN`, else the `holdall` that was built beside this program.
pub fn binary() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("HOLDALL_BIN") {
        return Ok(path.into());
    }
    let here = std::env::current_exe()?;
    let folder = here.parent().ok_or("this program is in no folder")?;
    let candidates = [folder.join("holdall"), folder.join("../holdall")];
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("no `holdall` beside {}: build it, or name it in HOLDALL_BIN", here.display()).into())
}
