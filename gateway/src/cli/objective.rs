//! `holdall objective`, `holdall plan` and `holdall why`.

use clap::{Args, Subcommand};
use holdall_namespace::objective::{
    Ack, Auto, Cost, Effective, Objective, Outlook, Scope, What, Why, WhyAuto, WhyCame, WhyLater,
};
use jiff::Timestamp;

use super::apply::show;
use super::exit::Failure;
use super::target::{Target, encode};
use super::{Context, price, print};
use crate::admin::view::Applied;
use crate::config::{ObjectiveFile, Size};

/// `holdall objective`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List objectives, the closest first: those with the longest `--on` say where an object is wanted.
    List {
        /// Only those that may be about objects here.
        #[arg(long, value_name = "S3://BUCKET/PREFIX", default_value = "s3://")]
        effective: Scope,
    },
    /// Declare an objective, or declare it anew. What is elsewhere then moves: `--dry-run` says what.
    Set(Box<Set>),
    /// Let objectives choose by what they learnt, or leave everything where it is.
    Auto {
        /// `on` or `off`.
        #[arg(value_name = "on|off")]
        auto: Auto,
        /// Their names; all that choose (`--auto`) where nothing is said.
        names: Vec<String>,
    },
    /// Pause an objective: it counts for nothing but plans.
    Pause {
        /// Its name.
        name: String,
    },
    /// Resume an objective.
    Resume {
        /// Its name.
        name: String,
    },
    /// Take an objective away. Nothing moves for that.
    Delete {
        /// Its name.
        name: String,
    },
}

/// `holdall objective set`
#[derive(Debug, Args)]
pub struct Set {
    /// What it is called.
    name: String,
    #[command(flatten)]
    wish: ObjectiveFile,
    /// Answer a write once all copies are durable, and not once the first one is.
    #[arg(long, requires = "copies")]
    ack_all: bool,
    /// Declare it paused: it counts for nothing but plans until it is resumed.
    #[arg(long)]
    paused: bool,
    /// Show what would change and what would move, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// `holdall plan`
#[derive(Debug, Args)]
pub struct Plan {
    /// Which part of the namespace.
    #[arg(value_name = "S3://BUCKET/PREFIX", default_value = "s3://")]
    on: Scope,
    /// Say how long it takes at so much a second, 50MiB, in place of the rate of `[align]`; silos' own rates count in any case.
    #[arg(long, value_name = "SIZE")]
    rate: Option<Size>,
}

/// `holdall why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// `s3://bucket/key`
    #[arg(value_name = "S3://BUCKET/KEY", help = "s3://bucket/key")]
    object: Target,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command {
        Command::List { effective } => {
            let path = format!("/v1/objective?on={}", encode(&effective.to_string()));
            let all: Vec<Effective> = admin.get(&path).await?;
            if context.global.json { print::json(&all) } else { table(all) }
        }
        Command::Set(set) => {
            let (dry_run, (name, wish)) = (set.dry_run, set.objective());
            let name = encode(&name);
            let applied: Applied = admin.put(&format!("/v1/objective/{name}?dry_run={dry_run}"), &wish).await?;
            if !dry_run {
                return show(context, applied);
            }
            let outlook: Outlook = admin.post(&format!("/v1/outlook/{name}?on=s3://"), &wish).await?;
            if context.global.json {
                return print::json(&serde_json::json!({ "applied": applied, "outlook": outlook }));
            }
            show(context, applied)?;
            tell(outlook, None)
        }
        Command::Auto { auto, names } => {
            let all: Vec<Effective> = admin.get("/v1/objective?on=s3://").await?;
            let chooses = |name: &String| all.iter().any(|one| one.name == *name && one.objective.auto.is_some());
            if let Some(name) = names.iter().find(|name| !chooses(name)) {
                return Err(Failure::failed(format!(
                    "no objective `{name}` that chooses by what it learnt (`--auto`)"
                )));
            }
            let meant = |one: &Effective| {
                if names.is_empty() { one.objective.auto.is_some() } else { names.contains(&one.name) }
            };
            for Effective { name, objective, .. } in all.into_iter().filter(meant) {
                let wish = Objective { auto: Some(auto), ..objective };
                let _: Applied = admin.put(&format!("/v1/objective/{}?dry_run=false", encode(&name)), &wish).await?;
                let then =
                    if auto == Auto::On { "chooses where its objects are" } else { "leaves everything where it is" };
                print::line(format!("objective `{name}` {then}"))?;
            }
            Ok(())
        }
        Command::Pause { name } => {
            let _: Objective = admin.act(&format!("/v1/objective/{}/pause", encode(&name))).await?;
            print::line(format!("objective `{name}` is paused"))
        }
        Command::Resume { name } => {
            let _: Objective = admin.act(&format!("/v1/objective/{}/resume", encode(&name))).await?;
            print::line(format!("objective `{name}` counts again"))
        }
        Command::Delete { name } => {
            admin.delete(&format!("/v1/objective/{}", encode(&name))).await?;
            print::line(format!("objective `{name}` is gone"))
        }
    }
}

impl Set {
    fn objective(self) -> (String, Objective) {
        let Self { name, wish, ack_all, paused, dry_run: _ } = self;
        let ack = if ack_all { Ack::All } else { Ack::One };
        (name, ObjectiveFile { ack, paused: paused.then_some(true), ..wish }.into())
    }
}

fn table(all: Vec<Effective>) -> Result<(), Failure> {
    let rows = all.into_iter().map(|one| {
        let Effective { name, objective, place_now, keep_now, never_now } = one;
        let when = objective.when.clone().unwrap_or_default();
        let copies = objective.copies.map(|copies| copies.to_string()).unwrap_or_default();
        let state = if objective.is_paused() { "paused" } else { "" };
        let silos = [place_now, keep_now, never_now].map(|silos| silos.join(", "));
        let [place, keep, never] = silos;
        vec![name, objective.on.to_string(), when, place, copies, keep, never, state.to_owned()]
    });
    print::table(&["NAME", "ON", "WHEN", "PLACE", ">COPIES", "KEEP", "NEVER", "STATE"], rows.collect())
}

/// What objectives would move now, and what stands against it.
pub(super) async fn plan(context: &Context, command: &Plan) -> Result<(), Failure> {
    let rate = command.rate.as_ref().map(|rate| rate.0);
    if rate == Some(0) {
        return Err(Failure::misuse("a rate of 0 moves nothing"));
    }
    let on = encode(&command.on.to_string());
    let at = rate.map_or_else(String::new, |rate| format!("&rate={rate}"));
    let outlook: Outlook = context.admin()?.get(&format!("/v1/outlook?on={on}{at}")).await?;
    if context.global.json { print::json(&outlook) } else { tell(outlook, rate) }
}

/// How long it takes at the rates that are set, or at this one.
fn takes(outlook: &Outlook, rate: Option<u64>) -> Option<String> {
    let going = outlook.moves.iter().filter(|moving| !moving.paused && moving.what != What::Drop);
    let bytes: u64 = going.map(|moving| moving.amount.bytes).sum();
    let time = print::seconds(outlook.seconds.filter(|_| bytes > 0)?);
    let at = rate.map(|rate| format!("at {} a second, and silos' own rates", print::bytes(rate)));
    Some(format!("{}, {} take {time}", at.as_deref().unwrap_or("at the rates that are set"), print::bytes(bytes)))
}

/// What would move, what waits, what it costs and how long it takes.
fn tell(outlook: Outlook, rate: Option<u64>) -> Result<(), Failure> {
    let takes = takes(&outlook, rate);
    let (aligned, objects) = (outlook.aligned, outlook.objects);
    let said = price::of_plan(&outlook.costs);
    show_plan(outlook)?;
    print::line(format!(
        "of {objects} objects, {} extents ({}) are where they are wanted",
        aligned.extents,
        print::bytes(aligned.bytes)
    ))?;
    said.iter().chain(&takes).try_for_each(print::line)
}

/// A row for each way, with what it costs where prices are known.
fn show_plan(outlook: Outlook) -> Result<(), Failure> {
    let priced = !outlook.costs.priced.is_empty();
    let costs = |cost: Option<Cost>| {
        let shown = cost.map(|cost| [cost.once.total(), cost.month_before, cost.month_after].map(price::amount));
        if priced { Vec::from(shown.unwrap_or_default()) } else { Vec::new() }
    };
    let mut rows = Vec::new();
    let mut row = |objective: String, what: String, extents: u64, bytes: String, cost: Option<Cost>| {
        let mut cells = vec![objective, what, extents.to_string(), bytes];
        cells.extend(costs(cost));
        rows.push(cells);
    };
    for moving in outlook.moves {
        let paused = if moving.paused { " (paused)" } else { "" };
        let (from, to, amount) = (moving.from, moving.to.unwrap_or_default(), moving.amount);
        let what = match moving.what {
            What::Move => format!("{from} to {to}{paused}"),
            What::Copy => format!("{from} also to {to}{paused}"),
            What::Drop => format!("off {from}{paused}"),
        };
        row(moving.objective, what, amount.extents, print::bytes(amount.bytes), Some(moving.cost));
    }
    for waiting in outlook.waits {
        let (what, amount) = (format!("waits: {}", waiting.reason), waiting.amount);
        row(waiting.objective, what, amount.extents, print::bytes(amount.bytes), None);
    }
    for broken in outlook.broken {
        row(broken.objective, format!("does not apply: {}", broken.reason), broken.objects, String::new(), None);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let money = format!(">{} ONCE", outlook.costs.currency);
    let mut head = vec!["OBJECTIVE", "WHAT", ">EXTENTS", ">BYTES"];
    if priced {
        head.extend([money.as_str(), ">A MONTH NOW", ">THEN"]);
    }
    print::table(&head, rows)
}

/// Why an object is where it is.
pub(super) async fn why(context: &Context, command: &WhyArgs) -> Result<(), Failure> {
    let path = format!("/v1/why?{}", command.object.object()?);
    let why: Why = context.admin()?.get(&path).await?;
    if context.global.json {
        return print::json(&why);
    }
    for line in sentences(&why) {
        print::line(line)?;
    }
    Ok(())
}

fn sentences(why: &Why) -> Vec<String> {
    let mut lines = Vec::new();
    for objective in &why.objectives {
        let verdict = match (objective.holds, &objective.reason) {
            (Some(true), _) => "applies".to_owned(),
            (Some(false), _) => "does not apply".to_owned(),
            (None, reason) => format!("cannot be asked: {}", reason.as_deref().unwrap_or_default()),
        };
        lines.push(format!("objective {} {verdict}: {}", objective.name, objective.wish));
    }
    lines.push(match &why.wanted_by {
        Some(by) => format!("wanted on {} (by {by})", list(&why.wanted_on)),
        None => "no objective says where it is wanted".to_owned(),
    });
    if let Some(heat) = &why.heat {
        let last = Timestamp::from_millisecond(heat.last_read).map_or_else(|_| "at no time".to_owned(), print::time);
        let (week, month, share) = (heat.reads_7_days, heat.reads_30_days, heat.share * 100.0);
        lines.push(format!("last read {last}; {week} times in 7 days, {month} in 30, {share:.0} % of it each time"));
    }
    lines.extend(why.auto.iter().flat_map(learnt));
    for extent in &why.extents {
        let then = [
            extent.moves_to.as_ref().map(|to| format!("would move to {to}")),
            extent.copies_to.as_ref().map(|to| format!("would be copied to {to}")),
            extent.drops_from.as_ref().map(|from| format!("would leave {from}")),
            extent.waits_for.as_ref().map(|reason| format!("waits: {reason}")),
        ];
        let then = then.into_iter().flatten().next().unwrap_or_else(|| "stays".to_owned());
        let bytes = print::bytes(extent.bytes);
        lines.push(format!("extent {} ({bytes}) is on {}, and {then}", extent.extent, list(&extent.on)));
        lines.extend(extent.came.as_ref().map(came));
    }
    lines.extend(why.later.as_ref().map(|later| {
        let to = later.to.as_ref().map_or_else(|| "be given up there".to_owned(), |to| format!("go to {to}"));
        let WhyLater { days, objective, from, .. } = later;
        format!("if nobody reads or writes it, it would {to} (from {from}) within {days} days, for {objective}")
    }));
    lines.extend(price::of_object(&why.alternatives));
    lines
}

/// The numbers that decided.
fn learnt(auto: &WhyAuto) -> Vec<String> {
    let costs: Vec<String> = auto.costs.iter().map(|(silo, cost)| format!("{cost:.3e} on {silo}")).collect();
    let (chance, often, uses) = (auto.chance * 100.0, auto.often, auto.uses);
    let mut lines = vec![
        format!(
            "expected to cost least on {}, by the rule `{}`: from now on, in {}, {}",
            auto.best,
            auto.rule,
            auto.currency,
            costs.join(", ")
        ),
        format!(
            "used tomorrow with a chance of {chance:.1} %, {often:.2} times that of others idle for as long; {uses:.0} uses of its like were seen"
        ),
    ];
    let turn = |(times, silo): &(f64, String)| format!("used {times} times as often, it should be on {silo}");
    lines.extend(auto.turns.iter().map(turn));
    lines.extend(auto.stays.as_ref().map(|reason| format!("it stays where it is: {reason}")));
    lines
}

fn came(came: &WhyCame) -> String {
    let at = Timestamp::from_millisecond(came.at).map_or_else(|_| "once".to_owned(), print::time);
    let by = match (came.job, &came.objective) {
        (Some(job), _) => format!("by job {job}"),
        (None, Some(objective)) => format!("by itself, for {objective}"),
        (None, None) => "by itself".to_owned(),
    };
    format!("  it came to {} at {at}, {by}", came.to)
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no silo".to_owned() } else { names.join(", ") }
}
