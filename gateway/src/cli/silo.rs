//! `holdall silo …`

use clap::{Args, Subcommand, ValueEnum};
use holdall_namespace::inventory::{Access, CredentialsFrom, DeclaredSilo, Health, Rates};
use holdall_namespace::objective::Selector;
use holdall_namespace::price::Price;
use holdall_namespace::set_silo::SetSilo;
use holdall_silos::Facts;

use super::exit::Failure;
use super::target::encode;
use super::{Context, apply, print};
use crate::admin::view::{ProbeView, SiloView, TokenView};
use crate::config::{Percent, Size, Span};

mod credentials;
mod lost;
mod probe;

use credentials::CredentialArgs;

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
    /// Look at a silo afresh: what it promises, how full it is, and, of one of ours, how fast.
    Probe {
        /// The silo.
        name: String,
        /// Bytes of the blob that is written and read to see how fast it is, and then deleted; up to 256MiB.
        #[arg(long, value_name = "BYTES", default_value = "8MiB")]
        size: Size,
    },
    /// Change how a silo is reached, and how much of it is kept free, while it is in use; never which silo it is.
    Set(Box<Set>),
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
    /// Pause a silo: nothing moves from or to it. Reads and writes go on.
    Pause {
        /// The silo.
        name: String,
    },
    /// Let things move from and to a silo again.
    Resume {
        /// The silo.
        name: String,
    },
    /// Let a silo take new bytes again.
    Uncordon {
        /// The silo.
        name: String,
    },
    /// Say that a silo never comes back: nobody asks it or waits for it any more, and objectives make copies anew that it held.
    Lost(lost::Lost),
    /// Take a lost silo back that is there after all. What was forgotten of it meanwhile stays forgotten.
    Found {
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
    /// The queue of SQS's that a bucket of others sends its notifications to: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`.
    /// It is asked with the silo's own credentials.
    #[arg(long, value_name = "URL")]
    notifications: Option<String>,
    /// Room kept free.
    #[arg(long, value_name = "PERCENT", default_value = "5%")]
    reserve: Percent,
    /// What objectives know it by beside its name; may be given several times.
    #[arg(long = "label", value_name = "LABEL=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// What it asks, as `holdall price list` has it. What differs from that is said in a file: `holdall apply`.
    #[arg(long, value_name = "PRESET")]
    price: Option<String>,
    /// All that it holds is read and checked so often; 0s for by order alone. Without this once in 30 days, where reading costs
    /// nothing.
    #[arg(long, value_name = "TIME")]
    scrub: Option<Span>,
    /// Bytes a second that moves, copies and scrubs may read there: 50MiB.
    #[arg(long, value_name = "SIZE")]
    read_rate: Option<Size>,
    /// Bytes a second that they may write there: 20MiB.
    #[arg(long, value_name = "SIZE")]
    write_rate: Option<Size>,
    /// Without any of these, credentials are found the cloud's own ways.
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Show what would be registered and touch nothing.
    #[arg(long)]
    dry_run: bool,
}

/// `site=frankfurt`
fn label(text: &str) -> Result<(String, String), String> {
    match text.parse()? {
        Selector::Label(label, value) => Ok((label, value)),
        Selector::Name(_) => Err("a label is written as `site=frankfurt`".to_owned()),
    }
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
        DeclaredSilo {
            url: self.url,
            credentials: self.credentials.into(),
            reserve_percent: self.reserve.0,
            access: self.access.into(),
            labels: self.labels.into_iter().collect(),
            notifications: self.notifications,
            price: self.price.map(Price::of),
            scrub: self.scrub.map(|every| every.0.as_secs()),
            rates: Rates::of(self.read_rate.map(|size| size.0), self.write_rate.map(|size| size.0)),
        }
    }
}

/// `holdall silo set`
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag that is typed")]
pub struct Set {
    /// The silo.
    name: String,
    /// Where it is found from now on: the same silo, by another path, host or endpoint. A copy is not the same.
    #[arg(long)]
    url: Option<String>,
    /// Whose it is. What is ours stays ours; a folder of others may become `read-only` or `read-write`.
    #[arg(long)]
    access: Option<Whose>,
    /// The queue that tells of changes in a bucket of others; "" for none any more.
    #[arg(long, value_name = "URL")]
    notifications: Option<String>,
    /// Room kept free.
    #[arg(long, value_name = "PERCENT")]
    reserve: Option<Percent>,
    /// All of its labels from now on.
    #[arg(long = "label", value_name = "LABEL=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// It has no labels from now on.
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    /// What it asks from now on, as `holdall price list` has it.
    #[arg(long, value_name = "PRESET")]
    price: Option<String>,
    /// It is not known any more what it asks.
    #[arg(long, conflicts_with = "price")]
    no_price: bool,
    /// All that it holds is read and checked so often from now on; 0s for by order alone.
    #[arg(long, value_name = "TIME")]
    scrub: Option<Span>,
    /// Bytes a second that moves, copies and scrubs may read there from now on; 0 for no limit.
    #[arg(long, value_name = "SIZE")]
    read_rate: Option<Size>,
    /// Bytes a second that they may write there; 0 for no limit.
    #[arg(long, value_name = "SIZE")]
    write_rate: Option<Size>,
    /// Where all of its credentials are from now on.
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Find its credentials the cloud's own ways from now on.
    #[arg(long)]
    ambient: bool,
    /// Read its secrets anew from where they are: they were changed in their file.
    #[arg(long)]
    renew: bool,
    /// Show what would be changed, once the silo was found there, and write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Set {
    fn change(self) -> Result<SetSilo, Failure> {
        let named = CredentialsFrom::from(self.credentials);
        let (some, none) = (named != CredentialsFrom::default(), CredentialsFrom::default());
        if some && self.ambient {
            return Err(Failure::misuse("--ambient says that no credentials are named"));
        }
        let credentials = if some { Some(named) } else { self.ambient.then_some(none) };
        let (url, access, notifications) = (self.url, self.access.map(Access::from), self.notifications);
        let reserve_percent = self.reserve.map(|percent| percent.0);
        let labels = (self.no_labels || !self.labels.is_empty()).then(|| self.labels.into_iter().collect());
        let price = self.price.map(Price::of).or(self.no_price.then(Price::default));
        let scrub = self.scrub.map(|every| every.0.as_secs());
        let (read_rate, write_rate) = (self.read_rate.map(|size| size.0), self.write_rate.map(|size| size.0));
        let renew = self.renew;
        let set = SetSilo {
            url,
            credentials,
            reserve_percent,
            access,
            labels,
            notifications,
            price,
            scrub,
            read_rate,
            write_rate,
            renew,
        };
        if set == SetSilo::default() {
            return Err(Failure::misuse(
                "say what to set: --url, --reserve, --label, --price, --notifications, --scrub, --read-rate, --write-rate, --renew or where the credentials are",
            ));
        }
        Ok(set)
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
        Command::Probe { name, size } => {
            let path = format!("/v1/silo/{}/probe?size={}", encode(&name), size.0);
            let probed: ProbeView = admin.act(&path).await?;
            if context.global.json { print::json(&probed) } else { probe::show(&probed) }
        }
        Command::Set(set) => {
            let path = format!("/v1/silo/{}?dry_run={}", encode(&set.name), set.dry_run);
            apply::show(context, admin.patch(&path, &set.change()?).await?)
        }
        Command::Delete { name } => admin.delete(&format!("/v1/silo/{}", encode(&name))).await,
        Command::Token { name, revoke: true } => admin.delete(&format!("/v1/silo/{}/token", encode(&name))).await,
        Command::Token { name, revoke: false } => {
            let made: TokenView = admin.act(&format!("/v1/silo/{}/token", encode(&name))).await?;
            if context.global.json { print::json(&made) } else { print::line(made.token) }
        }
        Command::Cordon { name } => show(context, &admin.act(&format!("/v1/silo/{}/cordon", encode(&name))).await?),
        Command::Pause { name } => show(context, &admin.act(&format!("/v1/silo/{}/pause", encode(&name))).await?),
        Command::Resume { name } => show(context, &admin.act(&format!("/v1/silo/{}/resume", encode(&name))).await?),
        Command::Lost(lost) => lost::run(context, &admin, &lost).await,
        Command::Found { name } => show(context, &admin.act(&format!("/v1/silo/{}/found", encode(&name))).await?),
        Command::Uncordon { name } => show(context, &admin.act(&format!("/v1/silo/{}/uncordon", encode(&name))).await?),
    }
}

fn show(context: &Context, silo: &SiloView) -> Result<(), Failure> {
    if context.global.json { print::json(silo) } else { table(std::slice::from_ref(silo)) }
}

fn table(silos: &[SiloView]) -> Result<(), Failure> {
    let rows = silos.iter().map(|silo| {
        let state = match (silo.health, silo.cordoned) {
            (Health::Lost, _) => "lost",
            (Health::Down, _) => "down",
            (Health::Up, _) if silo.access == Access::ReadOnly => "read-only",
            (Health::Up, _) if silo.access == Access::ReadWrite => "read-write",
            _ if silo.paused => "paused",
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
    print::line(format!("\n{} ({}, {})", silo.name, facts.family, facts.kind))?;
    facts_of(facts)
}

fn facts_of(facts: &Facts) -> Result<(), Failure> {
    let yes = |fact: bool| if fact { "yes" } else { "no" };
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
