//! `holdall index restore`: an index made again from what its silos keep.
//!
//! The new index gets its name once it is whole and was compared with the silos; what breaks off before that leaves nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use holdall_namespace::Namespace;
use holdall_namespace::backup::shelf::Source;
use holdall_namespace::clock::SystemClock;
use holdall_namespace::engine::Engine;
use holdall_namespace::engine::redb::Redb;
use holdall_namespace::fault::Fault;
use holdall_namespace::inventory::{CredentialsFrom, Declared, DeclaredSilo};
use holdall_namespace::restore::{Restored, Stock, StockLine, open_source, restore, shown};
use holdall_namespace::staged::Staged;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::Failure;
use super::serve::chain;
use super::{Context, check, print, progress};
use crate::config::{self, DEFAULT_RESERVE_PERCENT, ServeArgs, Settings};
use crate::folder;
use crate::gateway::{Start, default_silos, open_namespace};

/// `holdall index restore`
#[derive(Debug, Args)]
pub struct Restore {
    /// Restore the index as it was at this moment (`2026-11-28T12:00:00Z`), not as new as can be.
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// A silo to look for backups in (`file:///mnt/nas`, `s3://bucket?endpoint=…`); repeat it. Without it, those that the
    /// configuration declares, or the data folder's own.
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
    /// Read the backups and say what would come of them; leave no index.
    #[arg(long)]
    dry_run: bool,
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Line<'a> {
    Restored {
        namespace: &'a str,
        snapshot: String,
        until: String,
        rows: u64,
        entries: u64,
        flaws: &'a [String],
    },
    Found(&'a StockLine),
    Stock(&'a Stock),
}

pub(super) async fn run(context: &Context, command: Restore) -> Result<(), Failure> {
    let Restore { at, from, config, index, seal_key, dry_run } = command;
    let args = ServeArgs { config, index, seal_key, ..ServeArgs::default() };
    let loaded = config::load(&args, context.global.data.clone(), None);
    let (settings, declared) = loaded.map_err(|error| Failure::misuse(error.to_string()))?;
    if settings.index.exists() {
        let index = settings.index.display();
        return Err(Failure::misuse(format!("there is an index already, `{index}`: move it away first")));
    }
    let key = folder::known_seal_key(&settings.seal_key).map_err(|error| Failure::misuse(chain(&error)))?;
    folder::prepare(&settings.data).map_err(|error| Failure::failed(chain(&error)))?;
    let sources = sources(&settings, &from, declared.as_ref()).await?;
    let staged = Staged::beside(&settings.index).map_err(|error| failed_at(&settings.index, &error))?;
    let bar = progress::counter();
    let (path, report) = (staged.path().to_owned(), |rows| bar.set_message(format!("{rows} rows")));
    let made = restore(sources, &key, at.map(Timestamp::as_millisecond), &|| begin(&path), &report).await;
    bar.finish_and_clear();
    let (engine, restored) = made.map_err(|error| Failure::failed(error.to_string()))?;
    drop(engine);
    show(context, &restored)?;
    if dry_run {
        return print_note(context, "nothing was written: this was a dry run");
    }
    compare(context, &settings, staged.path(), declared.as_ref()).await?;
    staged.place().and_then(|()| flush(&settings.index)).map_err(|error| failed_at(&settings.index, &error))?;
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::File::open(folder)?.sync_all()
}

/// The silos to look in; those that are not there are told, and one must be.
async fn sources(settings: &Settings, from: &[String], declared: Option<&Declared>) -> Result<Vec<Source>, Failure> {
    let named = |url: &String| DeclaredSilo {
        url: url.clone(),
        credentials: CredentialsFrom::default(),
        reserve_percent: DEFAULT_RESERVE_PERCENT,
    };
    let silos: Vec<DeclaredSilo> = match declared.filter(|declared| !declared.silos.is_empty()) {
        _ if !from.is_empty() => from.iter().map(named).collect(),
        Some(declared) => declared.silos.values().cloned().collect(),
        None => default_silos().silos.into_values().collect(),
    };
    let base = std::path::absolute(&settings.data).map_err(|error| failed_at(&settings.data, &error))?;
    let (mut sources, mut refused) = (Vec::new(), Vec::new());
    for silo in &silos {
        match open_source(silo, &base).await {
            Ok(source) => sources.push(source),
            Err(error) => refused.push(error.to_string()),
        }
    }
    if sources.is_empty() {
        return Err(Failure::failed(format!("no silo to restore from: {}", refused.join("; "))));
    }
    for reason in refused {
        eprintln!("not looked in: {reason}");
    }
    Ok(sources)
}

/// Opens the new index, puts right what was moved since, and says what does not agree.
async fn compare(
    context: &Context,
    settings: &Settings,
    index: &Path,
    declared: Option<&Declared>,
) -> Result<(), Failure> {
    // No backup is made of an index that has no name yet.
    let settings =
        Settings { index: index.to_owned(), backup_every: std::time::Duration::ZERO, ..settings.clone() };
    let opened = open_namespace(&settings, &Start::default()).await;
    let namespace = opened.map_err(|error| Failure::failed(chain(&error)))?;
    let compared = compare_with(context, &namespace, declared).await;
    namespace.close().await;
    compared
}

async fn compare_with(context: &Context, namespace: &Namespace, declared: Option<&Declared>) -> Result<(), Failure> {
    let failed = |fault: Fault| Failure::failed(fault.to_string());
    if let Some(declared) = declared
        && let Err(error) = namespace.apply(declared, false).await
    {
        eprintln!("the configuration was not applied: {error}");
    }
    let mut told = Ok(());
    let stock = namespace
        .take_stock(&mut |line| {
            if told.is_ok() {
                told = show_line(context, &line);
            }
        })
        .await
        .map_err(failed)?;
    told?;
    show_stock(context, &stock)?;
    if !stock.silent.is_empty() {
        return print_note(context, "the index was not checked against its silos, since not all of them answer");
    }
    let mut told = Ok(());
    let checked = namespace.check(false, &mut |finding| {
        if told.is_ok() {
            told = check::show(context, &finding);
        }
    });
    let checked = checked.await.map_err(failed)?;
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
    let Stock { blobs, adopted, unknown, unknown_bytes, silent } = stock;
    print::line(format!("looked at {blobs} blobs; {adopted} extents were moved since and are found"))?;
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
