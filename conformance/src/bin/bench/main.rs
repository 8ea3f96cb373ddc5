//! What a load costs, here and beside others: the same requests against this gateway, any other S3 endpoint, nginx and
//! bare programs, in pairs by turns, so that a noisy machine disturbs both alike.
//!
//! `bench` runs the ratios the project promises; `bench --matrix` runs every load at every concurrency.

mod loads;
mod rate;
mod reference;
mod report;
mod servers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use holdall_conformance::say;

/// Measures one S3 endpoint, or several by turns.
#[derive(Parser)]
pub(crate) struct Options {
    /// An endpoint beside or instead of our own, `NAME=http://host:port[,PID]`; keys from `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`. May be repeated.
    #[arg(long = "endpoint", value_name = "NAME=URL[,PID]")]
    pub(crate) endpoints: Vec<String>,
    /// Start no gateway of our own.
    #[arg(long)]
    pub(crate) without_own: bool,
    /// Every load at every concurrency, without references.
    #[arg(long)]
    pub(crate) matrix: bool,
    /// Concurrency of the matrix.
    #[arg(long, value_delimiter = ',', default_value = "1,8,32,64")]
    pub(crate) concurrency: Vec<usize>,
    /// Only loads or ratios whose name contains one of these.
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Seconds a sample runs.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Pairs of samples of which the median ratio is told.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Objects put into the index beforehand, in random order.
    #[arg(long, default_value_t = 0)]
    pub(crate) preload: u64,
    /// Where data folders go; a temporary folder otherwise.
    #[arg(long)]
    pub(crate) folder: Option<PathBuf>,
    /// Write the figures here, as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    /// Sign the payload's hash instead of UNSIGNED-PAYLOAD.
    #[arg(long)]
    pub(crate) sign_payload: bool,
    #[command(flatten)]
    pub(crate) inner: Inner,
}

/// How this program starts itself as a reference server.
#[derive(clap::Args)]
pub(crate) struct Inner {
    /// Serve nothing but an empty answer at this address.
    #[arg(long, hide = true)]
    pub(crate) hello: Option<String>,
}

impl Options {
    /// How long a sample runs.
    pub(crate) fn sample(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Whether a name was asked for.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match &options.inner.hello {
                Some(address) => reference::hello(address).await,
                None => servers::run(&options).await,
            }
        })
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say::progress(format!("bench failed: {failure}"));
            ExitCode::FAILURE
        }
    }
}
