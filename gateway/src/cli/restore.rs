//! `holdall index restore` and `rebuild`: an index made again from what its silos keep.
//!
//! The new index gets its name once it is whole and was compared with the silos; what breaks off before that leaves nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use holdall_namespace::Namespace;
use holdall_namespace::backup::shelf::Source;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::Engine;
use holdall_namespace::engine::redb::Redb;
use holdall_namespace::fault::Fault;
use holdall_namespace::inventory::{Access, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::restore::{self, RestoreError, Restored, Stock, StockLine, begin_anew, open_source, shown};
use holdall_namespace::staged::{Staged, flush_name};
use jiff::Timestamp;
use serde::Serialize;

use super::exit::Failure;
use super::serve::chain;
use super::{Context, check, print, progress};
use crate::config::{self, ServeArgs, Settings};
use crate::folder;
use crate::gateway::{Start, default_silos, open_namespace};

/// Which index, and from where.
#[derive(Debug, Args)]
struct Place {
    /// A silo to look in (`file:///mnt/nas`, `s3://bucket?endpoint=…`); repeat it. Without it, those that the configuration
    /// declares, or the data folder's own.
    #[arg(long, value_name = "URL")]
    from: Vec<String>,
    /// The configuration that the gateway is started with: its silos are declared anew where they lie elsewhere now.
    #[arg(long, value_name = "FILE", env = "HOLDALL_CONFIG")]
    config: Option<PathBuf>,
    /// The index to make [default: index.redb in the data folder].
    #[arg(long, value_name = "FILE", env = "HOLDALL_INDEX")]
    index: Option<PathBuf>,
    /// The key that seals secrets and backups [default: seal.key in the data folder].
    #[arg(long, value_name = "FILE", env = "HOLDALL_SEAL_KEY")]
    seal_key: Option<PathBuf>,
}

/// `holdall index restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// Restore the index as it was at this moment (`2026-11-28T12:00:00Z`), not as new as can be.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Read the backups and say what would come of them; leave no index.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    place: Place,
}

/// `holdall index rebuild`
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Take nothing from backups: for those that nobody can open any more.
    #[arg(long)]
    ignore_backups: bool,
    #[command(flatten)]
    place: Place,
}

/// What is there before anything is made.
struct Ready {
    settings: Settings,
    declared: Option<Declared>,
    sources: Vec<Source>,
    /// The sources as they would be declared.
    found: BTreeMap<String, DeclaredSilo>,
    staged: Staged,
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Restored { namespace: &'a str, snapshot: String, until: String, rows: u64, entries: u64, flaws: &'a [String] },
    Found(&'a StockLine),
    Stock(&'a Stock),
}

pub(super) async fn restore(context: &Context, command: Restore) -> Result<(), Failure> {
    let Restore { at, dry_run, place } = command;
    let (settings, declared) = settle(context, &place)?;
    let key = folder::known_seal_key(&settings.seal_key).map_err(|error| Failure::misuse(chain(&error)))?;
    let ready = get_ready(settings, declared, &place.from).await?;
    let restored = from_backups(&ready, &key, at).await.map_err(|error| Failure::failed(error.to_string()))?;
    show(context, &restored)?;
    if dry_run {
        return print_note(context, "nothing was written: this was a dry run");
    }
    compare(context, &ready, Unknown::Told).await?;
    finish(context, ready)
}

pub(super) async fn rebuild(context: &Context, command: Rebuild) -> Result<(), Failure> {
    let Rebuild { ignore_backups, place } = command;
    let (settings, declared) = settle(context, &place)?;
    folder::prepare(&settings.data).map_err(|error| Failure::failed(chain(&error)))?;
    // Without its key no backup opens, and a new one would only hide that.
    let key = if ignore_backups {
        folder::seal_key(&settings.seal_key, &settings.index)
    } else {
        folder::known_seal_key(&settings.seal_key)
    };
    let key = key.map_err(|error| Failure::misuse(format!("{}; `--ignore-backups` does without", chain(&error))))?;
    let mut ready = get_ready(settings, declared, &place.from).await?;
    let restored = if ignore_backups { None } else { Some(from_backups(&ready, &key, None).await) };
    match restored {
        Some(Ok(restored)) => show(context, &restored)?,
        None | Some(Err(RestoreError::NoBackup(_))) => {
            let engine = begin(ready.staged.path()).map_err(|fault| Failure::failed(fault.to_string()))?;
            let begun = begin_anew(&*engine, ready.sources.clone()).await;
            begun.map_err(|error| Failure::failed(error.to_string()))?;
            drop(engine);
            let to = ready.found.keys().map(|silo| WriteTarget { silo: silo.clone(), min_size: 0, max_size: None });
            let found = Declared {
                write: Some(WritePolicy { to: to.collect() }),
                silos: ready.found.clone(),
                ..Declared::default()
            };
            ready.declared.get_or_insert(found);
            print_note(context, "no backup is used: a new index goes on with what the silos hold")?;
        }
        Some(Err(error)) => return Err(Failure::failed(format!("{error}; `--ignore-backups` does without them"))),
    }
    compare(context, &ready, Unknown::Published).await?;
    finish(context, ready)
}

/// Settings; there is no index yet.
fn settle(context: &Context, place: &Place) -> Result<(Settings, Option<Declared>), Failure> {
    let Place { config, index, seal_key, .. } = place;
    let (config, index, seal_key) = (config.clone(), index.clone(), seal_key.clone());
    let args = ServeArgs { config, index, seal_key, ..ServeArgs::default() };
    let loaded = config::load(&args, context.global.data.clone(), None);
    let (settings, declared) = loaded.map_err(|error| Failure::misuse(error.to_string()))?;
    if settings.index.exists() {
        let index = settings.index.display();
        return Err(Failure::misuse(format!("there is an index already, `{index}`: move it away first")));
    }
    Ok((settings, declared))
}

async fn get_ready(settings: Settings, declared: Option<Declared>, from: &[String]) -> Result<Ready, Failure> {
    folder::prepare(&settings.data).map_err(|error| Failure::failed(chain(&error)))?;
    let (sources, found) = sources(&settings, from, declared.as_ref()).await?;
    let staged = Staged::beside(&settings.index).map_err(|error| failed_at(&settings.index, &error))?;
    Ok(Ready { settings, declared, sources, found, staged })
}

/// Fills the new index from backups.
async fn from_backups(ready: &Ready, key: &[u8; 32], at: Option<Timestamp>) -> Result<Restored, RestoreError> {
    let bar = progress::counter();
    let (path, report) = (ready.staged.path().to_owned(), |rows| bar.set_message(format!("{rows} rows")));
    let at = at.map(Timestamp::as_millisecond);
    let made = restore::restore(ready.sources.clone(), key, at, &|| begin(&path), &report).await;
    bar.finish_and_clear();
    // The engine goes, and its file is closed.
    made.map(|(_, restored)| restored)
}

/// Gives the new index its name.
fn finish(context: &Context, ready: Ready) -> Result<(), Failure> {
    let Ready { settings, staged, .. } = ready;
    // A gateway that was started meanwhile made an index of its own.
    staged.place_alone().and_then(|()| flush(&settings.index)).map_err(|error| failed_at(&settings.index, &error))?;
    print_note(context, &format!("the index is `{}`", settings.index.display()))?;
    if settings.seal_key.starts_with(&settings.data) {
        return Ok(());
    }
    print_note(context, &format!("start the gateway with `--seal-key {}`", settings.seal_key.display()))
}

fn failed_at(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("`{}`: {error}", path.display()))
}

/// A new index at this path, whatever was tried there before.
fn begin(path: &Path) -> Result<Arc<dyn Engine>, Fault> {
    let failed = |reason: String| Fault::Unavailable(reason);
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error.to_string())),
        _ => {}
    }
    let engine = Redb::open(path, Arc::new(SystemClock::new())).map_err(|error| failed(error.to_string()))?;
    Ok(Arc::new(engine))
}

/// Makes a file and its name durable.
fn flush(path: &Path) -> io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    flush_name(path)
}

/// The silos to look in, and how each would be declared; those that are not there are told, and one must be.
async fn sources(
    settings: &Settings,
    from: &[String],
    declared: Option<&Declared>,
) -> Result<(Vec<Source>, BTreeMap<String, DeclaredSilo>), Failure> {
    let silos: Vec<DeclaredSilo> = match declared.filter(|declared| !declared.silos.is_empty()) {
        _ if !from.is_empty() => from.iter().map(DeclaredSilo::own).collect(),
        // Others' silos have nothing of ours.
        Some(declared) => declared.silos.values().filter(|silo| silo.access == Access::Own).cloned().collect(),
        None => default_silos().silos.into_values().collect(),
    };
    let base = std::path::absolute(&settings.data).map_err(|error| failed_at(&settings.data, &error))?;
    let (mut sources, mut found, mut refused) = (Vec::new(), BTreeMap::new(), Vec::new());
    for silo in silos {
        match open_source(&silo, &base).await {
            Ok(source) => {
                found.insert(source.name.clone(), silo);
                sources.push(source);
            }
            Err(error) => refused.push(error.to_string()),
        }
    }
    if sources.is_empty() {
        return Err(Failure::failed(format!("no silo to look in: {}", refused.join("; "))));
    }
    for reason in refused {
        eprintln!("not looked in: {reason}");
    }
    Ok((sources, found))
}

/// What becomes of bytes that the new index knows nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    Told,
    Published,
}

/// Opens the new index, puts right what was moved since, and says what does not agree.
async fn compare(context: &Context, ready: &Ready, unknown: Unknown) -> Result<(), Failure> {
    // No backup is made of an index that has no name yet.
    let settings =
        Settings { index: ready.staged.path().to_owned(), backup_every: Duration::ZERO, ..ready.settings.clone() };
    let opened = open_namespace(&settings, &Start::default()).await;
    let namespace = opened.map_err(|error| Failure::failed(chain(&error)))?;
    let compared = compare_with(context, &namespace, ready.declared.as_ref(), unknown).await;
    namespace.close().await;
    compared
}

async fn compare_with(
    context: &Context,
    namespace: &Namespace,
    declared: Option<&Declared>,
    unknown: Unknown,
) -> Result<(), Failure> {
    let failed = |fault: Fault| Failure::failed(fault.to_string());
    if let Some(declared) = declared
        && let Err(error) = namespace.apply(declared, false).await
    {
        eprintln!("the configuration was not applied: {error}");
    }
    let mut told = Ok(());
    let mut tell = |line| {
        if told.is_ok() {
            told = show_line(context, &line);
        }
    };
    let stock = match unknown {
        Unknown::Told => namespace.take_stock(&mut tell).await,
        Unknown::Published => {
            let first = namespace.ensure_first_key(super::first_key_from_environment()?).await;
            first.map_err(|error| Failure::failed(error.to_string()))?;
            namespace.publish_stock(&mut tell).await
        }
    };
    let stock = stock.map_err(failed)?;
    told?;
    show_stock(context, &stock)?;
    if !stock.silent.is_empty() {
        return print_note(context, "the index was not checked against its silos, since not all of them answer");
    }
    let mut told = Ok(());
    let mut tell = |finding| {
        if told.is_ok() {
            told = check::show(context, &finding);
        }
    };
    let checked = namespace.check(false, &mut tell).await.map_err(failed)?;
    told?;
    // What is missing was deleted since, or is lost: the index is restored all the same.
    if let Err(findings) = check::conclude(context, &checked) {
        print_note(context, &format!("{findings}: objects deleted since, or lost"))?;
    }
    Ok(())
}

fn show(context: &Context, restored: &Restored) -> Result<(), Failure> {
    let Restored { namespace, rows, entries, flaws, .. } = restored;
    let (snapshot, until) = (shown(restored.snapshot), shown(restored.until));
    if context.global.json {
        return print::ndjson(&Line::Restored { namespace, snapshot, until, rows: *rows, entries: *entries, flaws });
    }
    print::line(format!("namespace {namespace} as of {until}; what happened after that is not known"))?;
    print::line(format!("snapshot of {snapshot}, {rows} rows; {entries} entries of the log after it"))?;
    flaws.iter().try_for_each(|flaw| print::line(format!("flaw: {flaw}")))
}

fn show_line(context: &Context, line: &StockLine) -> Result<(), Failure> {
    if context.global.json {
        return print::ndjson(&Line::Found(line));
    }
    print::line(match line {
        StockLine::Adopted { silo, place } => format!("moved since: {silo} {place}"),
        StockLine::Unproven { silo, place, reason } => format!("not taken: {silo} {place}: {reason}"),
        StockLine::Published { object, bytes } => format!("published: {object}, {}", print::bytes(*bytes)),
        StockLine::Unknown { silo, place, bytes, object } => {
            let object = object.as_deref().unwrap_or("it does not say of what");
            format!("not known: {silo} {place}, {}, {object}", print::bytes(*bytes))
        }
    })
}

fn show_stock(context: &Context, stock: &Stock) -> Result<(), Failure> {
    if context.global.json {
        return print::ndjson(&Line::Stock(stock));
    }
    let Stock { blobs, adopted, unproven, published, unknown, unknown_bytes, silent } = stock;
    print::line(format!("looked at {blobs} blobs; {adopted} extents were moved since and are found"))?;
    if *unproven > 0 {
        let of = "are not known to be right, and are kept until `holdall index accept`";
        print::line(format!("{unproven} copies of extents whose place is gone {of}"))?;
    }
    if *published > 0 {
        print::line(format!("{published} extents are objects now, without tags and with new times"))?;
    }
    if *unknown > 0 {
        let bytes = print::bytes(*unknown_bytes);
        print::line(format!("{unknown} extents, {bytes}, are not known and kept until `holdall index accept`"))?;
    }
    silent.iter().try_for_each(|silo| print::line(format!("silo {silo} does not answer")))
}

/// For people alone.
fn print_note(context: &Context, note: &str) -> Result<(), Failure> {
    if context.global.json { Ok(()) } else { print::line(note) }
}
