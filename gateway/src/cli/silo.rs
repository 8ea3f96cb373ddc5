//! `holdall silo …`

use clap::Subcommand;
use holdall_namespace::inventory::Health;

use super::exit::Failure;
use super::target::encode;
use super::{Context, print};
use crate::admin::view::SiloView;

/// `holdall silo`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List silos: how full, how healthy, and what each was found to promise.
    List {
        /// Show the facts found while probing too.
        #[arg(long)]
        facts: bool,
    },
    /// Give a silo no new bytes. What it holds stays readable.
    Cordon {
        /// The silo.
        name: String,
    },
    /// Let a silo take new bytes again.
    Uncordon {
        /// The silo.
        name: String,
    },
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
