//! `holdall account …` and `holdall key …`.

use clap::Subcommand;

use super::exit::Failure;
use super::target::encode;
use super::{Context, print};
use crate::admin::view::{AccountView, KeyView, NewKeyView};

/// `holdall account`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create an account with one key; its secret is shown now and never again.
    Create {
        /// 1 to 64 of a-z A-Z 0-9 - _ . @
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,
    },
    /// List all accounts.
    List,
    /// Refuse an account's keys from now on.
    Disable {
        /// The account.
        name: String,
    },
    /// Take an account's keys again.
    Enable {
        /// The account.
        name: String,
    },
    /// Delete an account that owns no bucket, with its keys.
    Delete {
        /// The account.
        name: String,
    },
}

/// `holdall key`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Add a key; its secret is shown now and never again.
    Create {
        /// The account.
        account: String,
    },
    /// List an account's keys.
    List {
        /// The account.
        account: String,
    },
    /// Delete a key.
    Delete {
        /// The account.
        account: String,
        /// The key's id.
        access_key_id: String,
    },
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let admin = context.admin()?;
    let path = |name: &str, verb: &str| format!("/v1/account/{}{verb}", encode(name));
    match command {
        Command::Create { name } => show_new(context, &admin.act(&path(&name, "")).await?),
        Command::List => {
            let accounts: Vec<AccountView> = admin.get("/v1/account").await?;
            if context.global.json { print::json(&accounts) } else { table(accounts) }
        }
        Command::Disable { name } => show(context, admin.act(&path(&name, "/disable")).await?),
        Command::Enable { name } => show(context, admin.act(&path(&name, "/enable")).await?),
        Command::Delete { name } => admin.delete(&path(&name, "")).await,
    }
}

pub(super) async fn run_key(context: &Context, command: KeyCommand) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command {
        KeyCommand::Create { account } => {
            show_new(context, &admin.act(&format!("/v1/account/{}/key", encode(&account))).await?)
        }
        KeyCommand::List { account } => {
            let keys: Vec<KeyView> = admin.get(&format!("/v1/account/{}/key", encode(&account))).await?;
            if context.global.json {
                return print::json(&keys);
            }
            let rows = keys.into_iter().map(|key| vec![key.access_key_id, print::time(key.created)]).collect();
            print::table(&["ACCESS KEY ID", "CREATED"], rows)
        }
        KeyCommand::Delete { account, access_key_id } => {
            admin.delete(&format!("/v1/account/{}/key/{}", encode(&account), encode(&access_key_id))).await
        }
    }
}

fn show_new(context: &Context, key: &NewKeyView) -> Result<(), Failure> {
    if context.global.json {
        return print::json(key);
    }
    let lines = [
        ("account", &key.account),
        ("canonical_id", &key.canonical_id),
        ("access_key_id", &key.access_key_id),
        ("secret_access_key", &key.secret_access_key),
    ];
    lines.iter().try_for_each(|(name, value)| print::line(format!("{name:<17}  {value}")))
}

fn show(context: &Context, account: AccountView) -> Result<(), Failure> {
    if context.global.json { print::json(&account) } else { table(vec![account]) }
}

fn table(accounts: Vec<AccountView>) -> Result<(), Failure> {
    let rows = accounts.into_iter().map(|account| {
        let state = match (account.admin, account.disabled) {
            (true, _) => "admin",
            (false, true) => "disabled",
            (false, false) => "",
        };
        vec![account.name, account.canonical_id, print::time(account.created), state.to_owned()]
    });
    print::table(&["ACCOUNT", "CANONICAL ID", "CREATED", "STATE"], rows.collect())
}
