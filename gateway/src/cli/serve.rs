//! `holdall serve`: starts a gateway, says where it is, stops it in good order.

use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use holdall_namespace::account::NewKey;
use holdall_namespace::inventory::ApplyError;
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::credentials::PROFILE;
use super::exit::Failure;
use super::{Context, first_key_from_environment, print};
use crate::config::{self, LogFormat, ServeArgs, Settings};
use crate::gateway::{Gateway, Start, StartError};

/// What `serve --json` prints once it serves.
#[derive(Debug, Serialize)]
struct Serving<'a> {
    endpoint: &'a str,
    admin: String,
    region: &'a str,
    data: &'a Path,
    key_file: Option<&'a Path>,
}

pub(super) async fn run(context: &Context, args: &ServeArgs) -> Result<(), Failure> {
    let (data, region) = (context.global.data.clone(), context.global.region.clone());
    let (settings, declared) = config::load(args, data, region).map_err(|error| Failure::misuse(error.to_string()))?;
    start_log(&settings)?;
    let first_key = first_key_from_environment()?;
    let mut signals = Signals::watch().map_err(|error| Failure::failed(format!("cannot watch signals: {error}")))?;
    #[cfg(feature = "faults")]
    let shared = args.shared_index;
    #[cfg(not(feature = "faults"))]
    let shared = false;
    let start = Start { declared, first_key, shared, ..Start::default() };
    let gateway = Gateway::start(settings.clone(), start).await.map_err(|error| refused_start(&error))?;
    announce(context, &settings, &gateway)?;
    signals.until_stop(&gateway).await;
    tracing::info!(limit = ?settings.drain_limit, "stopping: no new requests, those in flight are finished");
    tokio::select! {
        cut = gateway.shutdown() => tracing::info!(cut, "stopped"),
        () = signals.stop() => return Err(Failure::failed("told twice to stop: requests in flight were cut off")),
    }
    Ok(())
}

/// What is declared wrongly ends as it does for `holdall apply`.
fn refused_start(error: &StartError) -> Failure {
    match error {
        StartError::Declared(ApplyError::Invalid { .. }) => Failure::misuse(chain(error)),
        _ => Failure::failed(chain(error)),
    }
}

/// An error and what lies beneath it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        // Some errors repeat their source's text.
        if !line.ends_with(&text) {
            line = format!("{line}: {text}");
        }
        next = source.source();
    }
    line.replace('\n', " ")
}

fn start_log(settings: &Settings) -> Result<(), Failure> {
    let level = &settings.log_level;
    let wrong =
        |error: &dyn std::fmt::Display| Failure::misuse(format!("`{level}` is no log level or filter: {error}"));
    // At its finest level the signing library logs what a signature is made of.
    let quiet = "aws_sigv4=info".parse().map_err(|error| wrong(&error))?;
    let filter = EnvFilter::try_new(level).map_err(|error| wrong(&error))?.add_directive(quiet);
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    let started = match settings.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::failed(format!("cannot start logging: {error}")))
}

/// What the process is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn until_stop(&mut self, gateway: &Gateway) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => gateway.reopen_logs(),
            }
        }
    }
}

fn announce(context: &Context, settings: &Settings, gateway: &Gateway) -> Result<(), Failure> {
    let admin = format!("http://{}", gateway.admin);
    let new_key = gateway.new_key.as_ref().filter(|_| io::stderr().is_terminal());
    // Pasted lines must work from any folder.
    let key_file = gateway.key_file.as_ref().map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    match settings.log_format {
        LogFormat::Text => {
            let key = How::of(new_key, key_file.as_deref());
            let text = welcome(settings, &gateway.endpoint, &admin, &key);
            // Nobody may be reading stderr; the gateway serves all the same.
            drop(io::stderr().lock().write_all(text.as_bytes()));
        }
        // Whoever reads stderr line by line as JSON gets nothing else.
        LogFormat::Json => {
            let key_file = key_file.as_ref().map(|file| tracing::field::display(file.display()));
            tracing::info!(s3 = gateway.endpoint, admin, data = %settings.data.display(), key_file, "serving");
        }
    }
    if context.global.json {
        let (endpoint, region, data) = (&gateway.endpoint, &settings.region, &settings.data);
        return print::ndjson(&Serving { endpoint, admin, region, data, key_file: gateway.key_file.as_deref() });
    }
    Ok(())
}

/// How a pasted line comes by the first key.
struct How {
    id: String,
    secret: String,
    told: String,
}

impl How {
    fn of(new_key: Option<&NewKey>, file: Option<&Path>) -> Self {
        match (new_key, file) {
            (Some(key), file) => {
                let (id, secret) = (key.key.id.clone(), key.secret.expose_secret().to_owned());
                let kept = file.map_or_else(String::new, |file| format!("\n  kept in       {}", file.display()));
                Self { told: format!("  access key    {id}\n  secret key    {secret}{kept}"), id, secret }
            }
            (None, Some(file)) => {
                let file = quoted(&file.display().to_string());
                let from = |name: &str| format!("\"$(sed -n 's/^{name} = //p' {file})\"");
                let told = format!("  first key     in {file}");
                Self { id: from("aws_access_key_id"), secret: from("aws_secret_access_key"), told }
            }
            (None, None) => Self {
                id: "\"$HOLDALL_ACCESS_KEY_ID\"".to_owned(),
                secret: "\"$HOLDALL_SECRET_ACCESS_KEY\"".to_owned(),
                told: "  first key     as the environment says".to_owned(),
            },
        }
    }
}

fn welcome(settings: &Settings, endpoint: &str, admin: &str, key: &How) -> String {
    let (version, data, region) = (env!("CARGO_PKG_VERSION"), settings.data.display(), &settings.region);
    let How { id, secret, told } = key;
    format!(
        "\nHoldall {version}\n  S3            {endpoint}\n  admin API     {admin}\n  data folder   {data}\n{told}\n\n\
         aws:\n  aws configure set aws_access_key_id {id} --profile {PROFILE}\n  \
         aws configure set aws_secret_access_key {secret} --profile {PROFILE}\n  \
         aws configure set region {region} --profile {PROFILE}\n  \
         aws configure set endpoint_url {endpoint} --profile {PROFILE}\n\
         rclone:\n  rclone config create {PROFILE} s3 provider Other access_key_id {id} secret_access_key {secret} \
         endpoint {endpoint} region {region}\n\
         mc:\n  mc alias set {PROFILE} {endpoint} {id} {secret}\n\n"
    )
}

/// A word that any shell takes as it is.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_namespace::account::AccessKey;
    use secrecy::SecretString;

    #[test]
    fn a_new_key_is_in_the_lines_and_a_kept_one_is_read_from_its_file() {
        let settings = Settings::in_folder(Path::new("my data"));
        let key = AccessKey { id: "HAKEY".to_owned(), account: 1, created: 0 };
        let key = NewKey { key, secret: SecretString::from("S3CR3T".to_owned()) };
        let text = welcome(&settings, "http://127.0.0.1:9000", "http://127.0.0.1:9001", &How::of(Some(&key), None));
        assert!(text.contains("mc alias set holdall http://127.0.0.1:9000 HAKEY S3CR3T\n"), "{text}");
        assert!(text.contains("aws configure set endpoint_url http://127.0.0.1:9000 --profile holdall\n"), "{text}");

        let kept = How::of(None, Some(Path::new("my data/credentials")));
        let text = welcome(&settings, "http://127.0.0.1:9000", "http://127.0.0.1:9001", &kept);
        let id =
            "set aws_access_key_id \"$(sed -n 's/^aws_access_key_id = //p' 'my data/credentials')\" --profile holdall";
        assert!(text.contains(id), "{text}");
        assert!(!text.contains("S3CR3T"));
    }

    #[test]
    fn a_chain_is_one_line_and_says_nothing_twice() {
        #[derive(Debug, thiserror::Error)]
        #[error("the index does not open")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("no\nroom"));
        assert_eq!(chain(&error), "the index does not open: no room");
    }
}
