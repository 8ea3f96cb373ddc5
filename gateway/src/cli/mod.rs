//! The command line: what a person types.
//!
//! Data go to stdout, everything else to stderr, `--json` wherever something is printed. Exit codes are in [`exit`].
//! Every command but `serve` finds its gateway by `--admin` and signs with `HOLDALL_ACCESS_KEY_ID` and
//! `HOLDALL_SECRET_ACCESS_KEY`, or with the data folder's key file.

use std::backtrace::Backtrace;
use std::ffi::OsString;
use std::panic::PanicHookInfo;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use holdall_namespace::clock::Clock;
use secrecy::SecretString;

use crate::config::{DEFAULT_ADMIN, DEFAULT_DATA, DEFAULT_REGION, ServeArgs};

pub mod client;
pub mod credentials;
pub mod exit;
mod export;
pub mod print;
pub mod target;

mod account;
mod apply;
mod assimilate;
mod check;
mod demo;
mod find;
mod index;
mod inventory;
mod job;
mod label;
mod lines;
mod objective;
mod place;
mod price;
mod progress;
mod restore;
mod savings;
mod scrub;
pub(crate) mod serve;
mod silo;
mod simulate;
mod switch;
mod usage;

use client::{Endpoint, Keys, Speak};
use credentials::KeyFile;
use exit::Failure;

/// One S3 endpoint over every silo you own: keys stay, bytes move.
#[derive(Debug, Parser)]
#[command(name = "holdall", version, max_term_width = 110)]
#[command(
    after_help = "Without a command, `serve` is meant. Exit codes: 0 done, 1 failed, 2 misuse, 3 the gateway is \
                        not reachable, 4 refused by a rule, 130 detached by Ctrl-C."
)]
pub struct Cli {
    /// What all commands share.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What all commands share.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Where the gateway's admin API is.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "HOLDALL_ADMIN",
        help = "Where the gateway's admin API is [default: http://127.0.0.1:9001]"
    )]
    pub admin: Option<String>,
    /// Whether `--admin` was typed; `HOLDALL_ADMIN` says where a gateway is, not that it may be played with.
    #[arg(skip)]
    pub admin_typed: bool,
    /// The data folder: of the gateway to start, or whose key file to sign with [default: ./holdall-data].
    #[arg(long, global = true, value_name = "DIR", env = "HOLDALL_DATA")]
    pub data: Option<PathBuf>,
    /// The region that signatures name [default: us-east-1, or what the key file says].
    #[arg(long, global = true, value_name = "NAME", env = "HOLDALL_REGION")]
    pub region: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub json: bool,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Serve(Box<ServeArgs>),
    /// Accounts: who owns buckets.
    #[command(subcommand)]
    Account(account::Command),
    /// Access keys of an account.
    #[command(subcommand)]
    Key(account::KeyCommand),
    /// Silos: the stores that hold bytes.
    #[command(subcommand)]
    Silo(silo::Command),
    /// What silos ask for holding, reading and writing bytes.
    #[command(subcommand)]
    Price(price::Command),
    /// Declare silos and write policies from a TOML file. Leaving something out removes nothing.
    Apply(apply::Apply),
    /// Take over what others put into a silo: keys for its names, by metadata alone.
    Assimilate(Box<assimilate::Assimilate>),
    /// Write the objects under a prefix as plain files into a folder that Holdall is not needed to read.
    Export(export::Export),
    /// Move what exists under a prefix onto a silo.
    Place(place::Place),
    /// Empty a silo into another. Cordons the first, uncordons the second.
    Drain(place::Drain),
    /// Objectives: where objects are wanted.
    #[command(subcommand)]
    Objective(objective::Command),
    /// Show what objectives would move, what that costs, and what stands against it. Changes nothing.
    Plan(objective::Plan),
    /// Move what exists where objectives want it.
    Align(place::Align),
    /// Replace a silo while it is in use, with a way back until the end.
    #[command(subcommand)]
    Switch(switch::Command),
    /// Show which objectives are about an object, what they would do with it, and what it costs here and elsewhere.
    Why(objective::WhyArgs),
    /// Show, by month, what was paid for what Holdall chose (`objective set --auto`), and what fixed rules would have cost.
    Savings,
    /// Replay a trace: what placement that learns would have cost, what fixed rules, and what was possible. Asks no gateway.
    Simulate(simulate::Simulate),
    /// Read what silos hold, past caches, and make good from other copies what is damaged or missing.
    Scrub(scrub::Scrub),
    /// Moves under way and past.
    #[command(subcommand)]
    Job(job::Command),
    /// Show every replica of an object's bytes.
    Where(usage::Where),
    /// Print the objects that a condition holds for.
    Find(find::Find),
    /// Label objects, or show an object's labels.
    Label(label::Label),
    /// A table of all objects, for tools that read Parquet.
    #[command(subcommand)]
    Inventory(inventory::Command),
    /// Show objects and bytes by bucket, account and silo.
    Du,
    /// Compare index and silos, read-only: of a running gateway, or of a stopped data folder (`--data`).
    Check(check::Check),
    /// Delete what was retired and nobody reads any more, and orphans.
    Sweep(check::Sweep),
    /// The index: how large it is, and its backups in the silos.
    #[command(subcommand)]
    Index(index::IndexCommand),
    /// See it work: fill a bucket, drain one silo into the other while clients read and overwrite. On a gateway of its
    /// own, or on the one that `--admin` names (`HOLDALL_ADMIN` is left alone).
    Demo(demo::Demo),
    /// Show the gateway's endpoint, region, version, and up to when its index is backed up.
    Status,
    /// Print a documented sample of the configuration file.
    Config(apply::Config),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// What a command needs to find its gateway.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) clock: Arc<dyn Clock>,
}

/// Parses the process's arguments, does it, answers how it ended.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(panicked));
    let cli = match parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return end(&Failure::failed(format!("cannot start: {error}"))),
    };
    let done = runtime.block_on(run(cli));
    // Blocking work that nobody waits for any more must not hold the exit.
    runtime.shutdown_background();
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure),
    }
}

/// A panic costs one request or command, and a line: in the log where there is one.
fn panicked(panic: &PanicHookInfo<'_>) {
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(%panic, trace = %Backtrace::capture(), "a defect was met");
    } else {
        eprintln!("holdall: a defect was met: {panic}");
    }
}

fn end(failure: &Failure) -> ExitCode {
    if !failure.message.is_empty() {
        eprintln!("holdall: {failure}");
    }
    failure.code()
}

/// Parses arguments; no command means `serve`.
pub fn parse(mut args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let cli = parse_all(&args)?;
    if cli.command.is_some() {
        return Ok(cli);
    }
    args.push("serve".into());
    parse_all(&args)
}

fn parse_all(args: &[OsString]) -> Result<Cli, clap::Error> {
    let matches = Cli::command().try_get_matches_from(args)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut Cli::command()))?;
    cli.global.admin_typed = matches.value_source("admin") == Some(ValueSource::CommandLine);
    Ok(cli)
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let context = Context { global: cli.global, clock: crate::calendar::clock() };
    match cli.command.expect("parsing fills it in") {
        Command::Serve(args) => serve::run(&context, &args).await,
        Command::Account(command) => account::run(&context, command).await,
        Command::Key(command) => account::run_key(&context, command).await,
        Command::Silo(command) => silo::run(&context, command).await,
        Command::Price(command) => price::run(&context, &command),
        Command::Apply(command) => apply::run(&context, &command).await,
        Command::Assimilate(command) => assimilate::run(&context, *command).await,
        Command::Export(command) => export::run(&context, command).await,
        Command::Place(command) => place::place(&context, command).await,
        Command::Drain(command) => place::drain(&context, command).await,
        Command::Objective(command) => objective::run(&context, command).await,
        Command::Plan(command) => objective::plan(&context, &command).await,
        Command::Align(command) => place::align(&context, command).await,
        Command::Switch(command) => switch::run(&context, command).await,
        Command::Why(command) => objective::why(&context, &command).await,
        Command::Savings => savings::run(&context).await,
        Command::Simulate(command) => simulate::run(&context, &command),
        Command::Scrub(command) => scrub::run(&context, command).await,
        Command::Job(command) => job::run(&context, command).await,
        Command::Where(command) => usage::whereabouts(&context, &command).await,
        Command::Find(command) => find::find(&context, &command).await,
        Command::Label(command) => label::run(&context, command).await,
        Command::Inventory(command) => inventory::run(&context, &command).await,
        Command::Du => usage::du(&context).await,
        Command::Check(command) => check::check(&context, &command).await,
        Command::Sweep(command) => check::sweep(&context, &command).await,
        Command::Index(command) => index::run(&context, command).await,
        Command::Demo(command) => demo::run(&context, &command).await,
        Command::Status => usage::status(&context).await,
        Command::Config(command) => apply::config(&command),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "holdall", &mut script);
            print::text(&String::from_utf8_lossy(&script))
        }
    }
}

impl Context {
    /// The data folder named, or the usual one.
    pub(crate) fn data(&self) -> PathBuf {
        self.global.data.clone().unwrap_or_else(|| DEFAULT_DATA.into())
    }

    /// The admin API of the gateway named, or of the usual one.
    pub(crate) fn admin(&self) -> Result<Endpoint, Failure> {
        let (keys, region) = self.keys()?;
        let url = self.global.admin.as_deref().unwrap_or(DEFAULT_ADMIN);
        Endpoint::new(url, Speak::Admin, &region, keys, Arc::clone(&self.clock))
    }

    /// Keys from the environment, else from the data folder's key file; and the region.
    pub(crate) fn keys(&self) -> Result<(Keys, String), Failure> {
        let region =
            |file: Option<String>| self.global.region.clone().or(file).unwrap_or_else(|| DEFAULT_REGION.to_owned());
        if let Some((id, secret)) = first_key_from_environment()? {
            let file = KeyFile::read(&self.data()).ok().flatten();
            return Ok((Keys { id, secret }, region(file.map(|file| file.region))));
        }
        let path = KeyFile::path(&self.data());
        let file = KeyFile::read(&self.data())
            .map_err(|error| Failure::failed(format!("cannot read `{}`: {error}", path.display())))?;
        let file = file.ok_or_else(|| {
            Failure::misuse(format!(
                "no key to sign with: set HOLDALL_ACCESS_KEY_ID and HOLDALL_SECRET_ACCESS_KEY, or name the gateway's \
                 data folder by --data (there is no `{}`)",
                path.display()
            ))
        })?;
        Ok((file.keys, region(Some(file.region))))
    }
}

/// `HOLDALL_ACCESS_KEY_ID` and `HOLDALL_SECRET_ACCESS_KEY`: both or neither.
pub fn first_key_from_environment() -> Result<Option<(String, SecretString)>, Failure> {
    let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (read("HOLDALL_ACCESS_KEY_ID"), read("HOLDALL_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => Ok(Some((id, SecretString::from(secret)))),
        (None, None) => Ok(None),
        _ => {
            Err(Failure::misuse("HOLDALL_ACCESS_KEY_ID and HOLDALL_SECRET_ACCESS_KEY belong together: one is missing"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_scripts_type_parses() {
        for line in [
            "holdall",
            "holdall --data d",
            "holdall serve --data d --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --config f.toml",
            "holdall account create alice --json",
            "holdall account list --admin http://127.0.0.1:1",
            "holdall key delete alice HAKEY",
            "holdall silo cordon hot",
            "holdall apply -f x.toml --dry-run",
            "holdall place s3://photos/p/q --on cold --rate 10MiB --concurrency 4",
            "holdall drain hot --to cold --wait done --detach",
            "holdall objective set archive --on s3://logs/ --when age>days(30) --place cold,class=deep --never site=us",
            "holdall objective list --effective s3://logs/2024/ --json",
            "holdall plan s3://logs/ --rate 50MiB",
            "holdall price list --json",
            "holdall silo set cold --price aws-s3-glacier-ir --dry-run",
            "holdall silo set cold --no-price",
            "holdall simulate --trace access.log --silos holdall.toml --from 2024-01-01 --chart cost.svg --json",
            "holdall simulate --table --trace a.csv --trace b.csv --sizes s.csv --last 1095",
            "holdall align --rate 10MiB --detach",
            "holdall why s3://photos/a//b",
            "holdall place s3://photos/p/q --on cold --hold 7d",
            "holdall objective set night --place cold --hours 22:00-06:00 --fill 70%..85% --not-after 2027-01-01T00:00:00Z",
            "holdall objective set near --copy-on-read near --max 10GiB",
            "holdall silo pause cold",
            "holdall job pause 3",
            "holdall switch start old new --dry-run",
            "holdall switch commit old --detach",
            "holdall job watch 3 --json",
            "holdall where s3://photos/a//b",
            "holdall find s3://photos/2024/ --where copies<2 --limit 10 --json",
            "holdall find --count",
            "holdall label s3://photos/a//b team=x stage= --remove old,older --json",
            "holdall label s3://photos/2024/ team=x --recursive --dry-run",
            "holdall inventory refresh --json",
            "holdall serve --inventory-every 1h",
            "holdall check --deep --json",
            "holdall sweep --now",
            "holdall index show --json",
            "holdall index backup --json",
            "holdall index accept",
            "holdall index restore --at 2026-11-28T12:00:00Z --from file:///mnt/nas --from s3://b --seal-key k --json",
            "holdall index rebuild --config f.toml --ignore-backups",
            "holdall serve --backup-every 6h --backup-keep 30d",
            "holdall config --sample",
            "holdall completions bash",
        ] {
            assert!(parsed(line).is_ok_and(|cli| cli.command.is_some()), "{line}");
        }
    }

    /// `holdall demo` drained a silo of whichever gateway `HOLDALL_ADMIN` named.
    #[test]
    fn an_address_that_is_typed_is_told_from_one_of_the_environment() {
        for (line, typed) in [
            ("holdall demo", false),
            ("holdall demo --admin http://127.0.0.1:1", true),
            ("holdall --admin http://127.0.0.1:1 demo", true),
        ] {
            assert_eq!(parsed(line).unwrap().global.admin_typed, typed, "{line}");
        }
    }

    #[test]
    fn misuse_is_exit_code_2() {
        for line in ["holdall drian", "holdall place b/p --on x", "holdall drain hot", "holdall serve --listen nowhere"]
        {
            assert_eq!(parsed(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
