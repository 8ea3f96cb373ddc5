//! `holdall assimilate …`

use std::time::Duration;

use clap::{Args, Subcommand};
use holdall_namespace::assimilate::{Assimilate as Order, Noted, Refused, Reorder, Survey};

use super::client::Endpoint;
use super::exit::{Failure, Kind};
use super::target::{Target, encode};
use super::{Context, print, progress};
use crate::admin::view::{ConflictView, RootView};
use crate::config::Span;

/// How often a pass is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Names that the gateway tells at once.
const PAGE: usize = 1000;

/// `holdall assimilate`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command")]
pub struct Assimilate {
    #[command(subcommand)]
    command: Option<Command>,
    /// The silo, and what its names start with: `nas`, `nas:photos/2024/`.
    #[arg(value_name = "SILO[:PREFIX]", required = true)]
    what: Option<String>,
    /// Where the names become keys, in place of the prefix; the bucket exists.
    #[arg(long, value_name = "S3://BUCKET/PREFIX", required = true)]
    into: Option<Target>,
    /// Let lists show what was found so far, instead of waiting for the rest. Whoever copies by lists must not see them.
    #[arg(long)]
    partial_lists: bool,
    /// How long after a pass the silo is compared again.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    every: Span,
    /// Let what S3 writes and deletes reach the silo, which was created with `--access read-write`. What others wrote meanwhile is
    /// kept under a name beside it.
    #[arg(long, conflicts_with = "read_only")]
    read_write: bool,
    /// Never touch the silo: what S3 writes lies elsewhere. That is how it is unless told otherwise.
    #[arg(long)]
    read_only: bool,
    /// Leave it to passes to see what others change, where it could be seen when it happens.
    #[arg(long)]
    no_watch: bool,
    /// Leave out the names that start with this, as a folder that may not be opened: nothing is made of them.
    #[arg(long, value_name = "NAME/")]
    without: Vec<String>,
    /// Go on by so many names a second at most in each pass, as for a server that others need.
    #[arg(long, value_name = "NAMES")]
    rate: Option<u64>,
    /// Look at some of the names and take nothing over.
    #[arg(long)]
    dry_run: bool,
    /// Order it and return.
    #[arg(long, conflicts_with = "dry_run")]
    detach: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is taken over, how far that came, and what waits for somebody.
    Status {
        /// A root's number: the names that are no objects, too, and why.
        root: Option<u32>,
    },
    /// Show the files that others wrote at the same time as S3, and under which names they are kept.
    Conflicts {
        /// The root's number.
        root: u32,
    },
    /// Change how a root is followed; what is not named stays as it is.
    Set {
        /// The root's number.
        root: u32,
        /// How long after a pass the silo is compared again.
        #[arg(long, value_name = "TIME")]
        every: Option<Span>,
        /// Whether lists show what was found so far, instead of waiting for the rest.
        #[arg(long, value_name = "BOOL")]
        partial_lists: Option<bool>,
        /// Whether what others change is looked at when it happens, where the silo shows it.
        #[arg(long, value_name = "BOOL")]
        watch: Option<bool>,
        /// Leave out the names that start with this, as a folder that may not be opened: nothing is made of them, and what was
        /// made stays. All that are to be left out are named; "" is none.
        #[arg(long, value_name = "NAME/")]
        without: Vec<String>,
        /// Go on by so many names a second at most in each pass; 0 is as fast as it goes.
        #[arg(long, value_name = "NAMES")]
        rate: Option<u64>,
    },
    /// Take away what is gone from the silo, however much it is.
    Confirm {
        /// The root's number.
        root: u32,
    },
    /// Follow a silo no more. The objects stay, and their bytes where they are.
    Forget {
        /// The root's number.
        root: u32,
    },
}

pub(super) async fn run(context: &Context, command: Assimilate) -> Result<(), Failure> {
    let admin = context.admin()?;
    match command.command {
        None => order(context, &admin, command).await,
        Some(Command::Status { root: None }) => {
            let roots: Vec<RootView> = admin.get("/v1/assimilate").await?;
            if context.global.json { print::json(&roots) } else { table(&roots) }
        }
        Some(Command::Status { root: Some(id) }) => status(context, &admin, id).await,
        Some(Command::Conflicts { root }) => conflicts(context, &admin, root).await,
        Some(Command::Set { root, every, partial_lists, watch, without, rate }) => {
            let every_seconds = every.map(|every| every.0.as_secs());
            let without = (!without.is_empty()).then(|| without.into_iter().filter(|name| !name.is_empty()).collect());
            let reorder = Reorder { every_seconds, partial_lists, watch, without, rate };
            if reorder == Reorder::default() {
                return Err(Failure::misuse("what is to be changed?"));
            }
            let root: RootView = admin.patch(&format!("/v1/assimilate/{root}"), &reorder).await?;
            if context.global.json { print::json(&root) } else { print::line(sentence(&root)) }
        }
        Some(Command::Confirm { root }) => {
            let root: RootView = admin.act(&format!("/v1/assimilate/{root}/confirm")).await?;
            if context.global.json { print::json(&root) } else { print::line(sentence(&root)) }
        }
        Some(Command::Forget { root }) => admin.delete(&format!("/v1/assimilate/{root}")).await,
    }
}

async fn order(context: &Context, admin: &Endpoint, command: Assimilate) -> Result<(), Failure> {
    let (Some(what), Some(into)) = (command.what, command.into) else {
        return Err(Failure::misuse("what is to be taken over, and --into what?"));
    };
    let (silo, prefix) = what.split_once(':').unwrap_or((&what, ""));
    let order = Order {
        silo: silo.to_owned(),
        prefix: prefix.to_owned(),
        bucket: into.bucket,
        into: into.rest,
        partial_lists: command.partial_lists,
        every_seconds: command.every.0.as_secs(),
        watch: !command.no_watch,
        write: command.read_write,
        without: command.without,
        rate: command.rate.filter(|rate| *rate > 0),
    };
    if command.dry_run {
        let survey: Survey = admin.post("/v1/assimilate/survey", &order).await?;
        return if context.global.json { print::json(&survey) } else { tell(&survey) };
    }
    let mut ctrl_c = progress::CtrlC::watch()?;
    let mut root: RootView = admin.post("/v1/assimilate", &order).await?;
    if !command.detach {
        root = follow(admin, root, &mut ctrl_c).await?;
    }
    if context.global.json { print::json(&root) } else { print::line(sentence(&root)) }
}

/// Waits until every name was seen once.
async fn follow(admin: &Endpoint, root: RootView, ctrl_c: &mut progress::CtrlC) -> Result<RootView, Failure> {
    let (bar, id) = (progress::names(), root.id);
    let followed = tokio::select! {
        root = watch(admin, id, &bar, |root| root.complete, |root| (root.counts.names, print::bytes(root.counts.bytes))) => root,
        () = ctrl_c.pressed() => {
            Err(Failure::detached(format!("detached: root {id} goes on in the gateway; `holdall assimilate status {id}`")))
        }
    };
    bar.finish_and_clear();
    followed
}

/// Looks at a root until it is `over`; `far` says how far it is, and what else is to be told.
pub(super) async fn watch(
    admin: &Endpoint,
    id: u32,
    bar: &indicatif::ProgressBar,
    over: impl Fn(&RootView) -> bool,
    far: impl Fn(&RootView) -> (u64, String),
) -> Result<RootView, Failure> {
    loop {
        match admin.get::<RootView>(&format!("/v1/assimilate/{id}")).await {
            Ok(root) if over(&root) => return Ok(root),
            Ok(root) => {
                let (at, told) = far(&root);
                bar.set_position(at);
                bar.set_message(root.problem.unwrap_or(told));
            }
            Err(failure) if failure.kind == Kind::Unreachable => bar.set_message("the gateway is away"),
            Err(failure) => return Err(failure),
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn status(context: &Context, admin: &Endpoint, id: u32) -> Result<(), Failure> {
    let root: RootView = admin.get(&format!("/v1/assimilate/{id}")).await?;
    if context.global.json {
        print::ndjson(&root)?;
    } else {
        print::line(sentence(&root))?;
        root.unread.iter().try_for_each(|unread| print::line(format!("  lists wait for: {}", line(unread))))?;
        root.unlooked.iter().try_for_each(|unread| print::line(format!("  not looked at: {}", line(unread))))?;
        root.unbrought.iter().try_for_each(|one| print::line(format!("  not in the tree: {}", line(one))))?;
    }
    let mut after = String::new();
    loop {
        let page: Vec<Refused> = admin.get(&format!("/v1/assimilate/{id}/refused?after={}", encode(&after))).await?;
        for refused in &page {
            if context.global.json {
                print::ndjson(refused)?;
            } else {
                print::line(format!("  no object: {} ({})", refused.name, refused.reason))?;
            }
        }
        match page.last().filter(|_| page.len() == PAGE) {
            Some(last) => after.clone_from(&last.at),
            None => return Ok(()),
        }
    }
}

async fn conflicts(context: &Context, admin: &Endpoint, id: u32) -> Result<(), Failure> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/assimilate/{id}/conflicts?after={}", encode(&after));
        let page: Vec<ConflictView> = admin.get(&path).await?;
        let ended = page.len() < PAGE;
        all.extend(page);
        match all.last().filter(|_| !ended) {
            Some(last) => after.clone_from(&last.id),
            None => break,
        }
    }
    if context.global.json {
        return print::json(&all);
    }
    let rows =
        all.into_iter().map(|one| vec![one.name, one.beside.unwrap_or_else(|| "-".to_owned()), print::time(one.since)]);
    print::table(&["NAME", "KEPT AS", "SINCE"], rows.collect())
}

fn line(noted: &Noted) -> String {
    format!("{} ({})", noted.name, noted.reason)
}

fn tell(survey: &Survey) -> Result<(), Failure> {
    let more = if survey.complete { "" } else { "at least " };
    print::line(format!("would take over {more}{} names, {}", survey.names, print::bytes(survey.bytes)))?;
    survey.refused.iter().try_for_each(|refused| print::line(format!("  no object: {}", line(refused))))
}

fn sentence(root: &RootView) -> String {
    let RootView { id, order, counts, .. } = root;
    let state = match (&root.problem, root.complete) {
        (Some(problem), _) => problem.clone(),
        (None, true) => format!("passed {} times", root.passes),
        (None, false) => "under way".to_owned(),
    };
    let told = root.told.map_or_else(String::new, |at| format!(", and were told of last at {}", print::time(at)));
    let silent = root.silent_queue.as_ref();
    let silent =
        silent.map_or_else(String::new, |why| format!(", their queue of notifications cannot be asked: {why}"));
    let hashed = match (root.hashed_bytes, root.unhashed_bytes) {
        (Some(bytes), Some(left)) if left > 0 => {
            format!("; {} of {} have checksums", print::bytes(bytes), print::bytes(bytes + left))
        }
        (Some(_), Some(_)) => "; all bytes in place have checksums".to_owned(),
        _ => String::new(),
    };
    let unfilled = root.unfilled_first.as_ref().filter(|_| !root.filled);
    let unfilled = unfilled.map_or_else(String::new, |first| {
        format!("; {} keys lack their headers, and nothing moves before: {}", root.unfilled, line(first))
    });
    let behind = match (root.waiting, root.stuck) {
        (0, 0) => String::new(),
        (waiting, stuck) => format!("; {waiting} keys are to reach it, {stuck} cannot"),
    };
    format!(
        "root {id} ({order}): {} names, {}, {} are no objects; {state}; changes are seen {}{told}{silent}{hashed}{unfilled}{behind}",
        counts.names,
        print::bytes(counts.bytes),
        counts.refused,
        root.changes
    )
}

fn table(roots: &[RootView]) -> Result<(), Failure> {
    let rows = roots.iter().map(|root| {
        vec![
            root.id.to_string(),
            root.order.to_string(),
            if root.complete { "followed" } else { "first pass" }.to_owned(),
            root.counts.names.to_string(),
            print::bytes(root.counts.bytes),
            root.counts.refused.to_string(),
            root.passed.map_or_else(|| "-".to_owned(), print::time),
            root.changes.clone(),
            root.problem.clone().unwrap_or_default(),
        ]
    });
    print::table(
        &[">ROOT", "WHAT", "STATE", ">NAMES", ">BYTES", ">REFUSED", "PASSED", "CHANGES SEEN", "PROBLEM"],
        rows.collect(),
    )
}
