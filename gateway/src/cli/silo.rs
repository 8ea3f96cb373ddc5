//! `holdall silo …`

use clap::{Args, Subcommand, ValueEnum};
use holdall_namespace::inventory::{Access, CredentialsFrom, DeclaredSilo, Health};

use super::exit::Failure;
use super::target::encode;
use super::{Context, apply, print};
use crate::admin::view::{SiloView, TokenView};
use crate::config::Percent;

/// `holdall silo`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List silos: how full, how healthy, and what each was found to promise.
    List {
        /// Show the facts found while probing too.
        #[arg(long)]
        facts: bool,
    },
    /// Register a silo: a folder or a bucket, seen and probed before it counts. `holdall apply` sends objects there.
    Create(Box<Create>),
    /// Take an empty, cordoned silo out. What lies in its folder or bucket is left as it is.
    Delete {
        /// The silo.
        name: String,
    },
    /// Give a silo no new bytes. What it holds stays readable.
    Cordon {
        /// The silo.
        name: String,
    },
    /// Make what lets a cloud or a script tell of changes of a silo of others, in place of what was made before:
    /// `POST ADMIN/v1/events/SILO?token=…`. It is shown this once.
    Token {
        /// The silo.
        name: String,
        /// Take it back: nobody may tell any more.
        #[arg(long)]
        revoke: bool,
    },
    /// Let a silo take new bytes again.
    Uncordon {
        /// The silo.
        name: String,
    },
}

/// `holdall silo create`
#[derive(Debug, Args)]
pub struct Create {
    /// What it is called.
    name: String,
    /// `file:///path`, `s3://bucket/prefix?endpoint=URL&region=NAME`, `azure://container/prefix?account=NAME`,
    /// `gs://bucket/prefix`, `sftp://user@host/path`, `davs://host/path`, or, to be taken over, `https://host/path`.
    url: String,
    /// Whose it is: `own` takes objects under names of our own and begins empty; `read-only` is others', never written to,
    /// and what it holds is taken over by `holdall assimilate`; `read-write` is a folder of others in which
    /// `holdall assimilate --read-write` writes as they do.
    #[arg(long, default_value = "own")]
    access: Whose,
    /// Room kept free.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    reserve: Percent,
    /// The gateway's environment variable with the access key id. Without any of these, credentials are found the
    /// cloud's own ways.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "access_key_id_file")]
    access_key_id_env: Option<String>,
    /// The gateway's environment variable with the secret.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "secret_access_key_file")]
    secret_access_key_env: Option<String>,
    /// A file the gateway reads, with the access key id.
    #[arg(long, value_name = "FILE")]
    access_key_id_file: Option<String>,
    /// A file the gateway reads, with the secret.
    #[arg(long, value_name = "FILE")]
    secret_access_key_file: Option<String>,
    /// Azure: the gateway's environment variable with the storage account's key.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "account_key_file")]
    account_key_env: Option<String>,
    /// Azure: a file the gateway reads, with the storage account's key.
    #[arg(long, value_name = "FILE")]
    account_key_file: Option<String>,
    /// Azure: the gateway's environment variable with a shared access signature.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "sas_token_file")]
    sas_token_env: Option<String>,
    /// Azure: a file the gateway reads, with a shared access signature.
    #[arg(long, value_name = "FILE")]
    sas_token_file: Option<String>,
    /// Google: a file the gateway reads, with the key of a service account.
    #[arg(long, value_name = "FILE")]
    service_account_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with the user's name.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "user_file")]
    user_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with the user's name.
    #[arg(long, value_name = "FILE")]
    user_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with the user's password.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with the user's password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// SFTP: a file that the gateway's `ssh` reads, with a private key; without it `ssh` finds its user's.
    #[arg(long, value_name = "FILE")]
    ssh_key_file: Option<String>,
    /// Web servers, WebDAV: the gateway's environment variable with a token, instead of a user.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "token_file")]
    token_env: Option<String>,
    /// Web servers, WebDAV: a file the gateway reads, with a token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// Show what would be registered and touch nothing.
    #[arg(long)]
    dry_run: bool,
}

/// [`Access`] as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    Own,
    ReadOnly,
    ReadWrite,
}

impl From<Whose> for Access {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Own => Self::Own,
            Whose::ReadOnly => Self::ReadOnly,
            Whose::ReadWrite => Self::ReadWrite,
        }
    }
}

impl Create {
    fn declared(self) -> DeclaredSilo {
        let credentials = CredentialsFrom {
            access_key_id_env: self.access_key_id_env,
            secret_access_key_env: self.secret_access_key_env,
            access_key_id_file: self.access_key_id_file,
            secret_access_key_file: self.secret_access_key_file,
            account_key_env: self.account_key_env,
            account_key_file: self.account_key_file,
            sas_token_env: self.sas_token_env,
            sas_token_file: self.sas_token_file,
            service_account_file: self.service_account_file,
            user_env: self.user_env,
            user_file: self.user_file,
            password_env: self.password_env,
            password_file: self.password_file,
            ssh_key_file: self.ssh_key_file,
            token_env: self.token_env,
            token_file: self.token_file,
        };
        DeclaredSilo { url: self.url, credentials, reserve_percent: self.reserve.0, access: self.access.into() }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command {
        Command::List { facts } => {
            let silos: Vec<SiloView> = admin.get("/v1/silo").await?;
            if context.global.json {
                return print::json(&silos);
            }
            table(&silos)?;
            if facts { silos.iter().try_for_each(show_facts) } else { Ok(()) }
        }
        Command::Create(create) => {
            let path = format!("/v1/silo/{}?dry_run={}", encode(&create.name), create.dry_run);
            apply::show(context, admin.post(&path, &create.declared()).await?)
        }
        Command::Delete { name } => admin.delete(&format!("/v1/silo/{}", encode(&name))).await,
        Command::Token { name, revoke: true } => admin.delete(&format!("/v1/silo/{}/token", encode(&name))).await,
        Command::Token { name, revoke: false } => {
            let made: TokenView = admin.act(&format!("/v1/silo/{}/token", encode(&name))).await?;
            if context.global.json { print::json(&made) } else { print::line(made.token) }
        }
        Command::Cordon { name } => show(context, &admin.act(&format!("/v1/silo/{}/cordon", encode(&name))).await?),
        Command::Uncordon { name } => show(context, &admin.act(&format!("/v1/silo/{}/uncordon", encode(&name))).await?),
    }
}

fn show(context: &Context, silo: &SiloView) -> Result<(), Failure> {
    if context.global.json { print::json(silo) } else { table(std::slice::from_ref(silo)) }
}

fn table(silos: &[SiloView]) -> Result<(), Failure> {
    let rows = silos.iter().map(|silo| {
        let state = match (silo.health, silo.cordoned) {
            (Health::Down, _) => "down",
            (Health::Up, _) if silo.access == Access::ReadOnly => "read-only",
            (Health::Up, _) if silo.access == Access::ReadWrite => "read-write",
            (Health::Up, true) => "cordoned",
            (Health::Up, false) => "up",
        };
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), print::bytes);
        vec![
            silo.name.clone(),
            state.to_owned(),
            silo.extents.to_string(),
            print::counted(silo.used),
            print::counted(silo.retired),
            known(silo.free),
            known(silo.reserve),
            silo.url.clone(),
        ]
    });
    print::table(&["SILO", "STATE", ">EXTENTS", ">USED", ">RETIRED", ">FREE", ">RESERVE", "URL"], rows.collect())
}

fn show_facts(silo: &SiloView) -> Result<(), Failure> {
    let facts = &silo.facts;
    let yes = |fact: bool| if fact { "yes" } else { "no" };
    print::line(format!("\n{} ({}, {})", silo.name, facts.family, facts.kind))?;
    let lines = [
        ("exclusive create", yes(facts.exclusive_create).to_owned()),
        ("enforces upload checksums", yes(facts.enforces_upload_checksum).to_owned()),
        ("conditional reads", yes(facts.conditional_read).to_owned()),
        ("durable when it answers", yes(facts.durable_put).to_owned()),
        ("largest blob", print::bytes(facts.max_blob)),
        ("time grain", format!("{} ns", facts.time_grain_ns)),
    ];
    lines.iter().try_for_each(|(name, value)| print::line(format!("  {name:<26}{value}")))?;
    facts.notes.iter().try_for_each(|note| print::line(format!("  note: {note}")))
}
