//! `holdall simulate`: yesterday's log under tomorrow's rules. Asks no gateway and changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use holdall_namespace::learn::{Asked, Auto, Place};
use holdall_namespace::price::Rate;
use holdall_namespace::simulate::synthetic;
use holdall_namespace::simulate::trace::{Known, day_of, read};
use holdall_namespace::simulate::{Event, LIFECYCLE, Options, Outcome, Report, Simulation, cards, svg};
use serde::{Deserialize, Serialize};

use super::exit::Failure;
use super::{Context, print, progress};
use crate::config::PriceFile;

/// Events between two looks of the progress bar.
const STEP: u64 = 1 << 14;

/// `holdall simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// A trace: an access log of ours or of S3, a log of Amazon's CDN, or one of the tables that `docs/simulate.md` has; `-` is stdin. A
    /// made-up company's where none is given.
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// Silos and their prices, as in a configuration file (`[silo.NAME]`).
    #[arg(long, value_name = "FILE", required_unless_present = "table")]
    silos: Option<PathBuf>,
    /// Compare on built-in price cards instead, each trace on each.
    #[arg(long, conflicts_with_all = ["silos", "chart"])]
    table: bool,
    /// Count costs from this day on; what is before it is learnt from.
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    from: Option<i32>,
    /// Count costs of the last so many days, where what is before them is at least a third as long; all else.
    #[arg(long, value_name = "DAYS", conflicts_with = "from")]
    last: Option<u16>,
    /// Sizes of objects: lines of `object,bytes`.
    #[arg(long, value_name = "FILE")]
    sizes: Option<PathBuf>,
    /// Names of objects that the trace has numbers for: lines of `number,name`.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Take each object of daily sums apart into so many.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    shards: u32,
    /// Seconds that count as a day, where times are in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400, value_parser = clap::value_parser!(u32).range(1..))]
    day: u32,
    /// As a gateway: every object is decided on every day, and moves ask what its moves do: two requests, all bytes whatever was read on
    /// that day, and copies are read back.
    #[arg(long, conflicts_with = "table")]
    as_gateway: bool,
    /// Another made-up company.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw costs over time.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

/// A silo of `--silos`; whatever else a configuration says of it does not matter here.
#[derive(Debug, Deserialize)]
struct SiloFile {
    price: Option<PriceFile>,
    #[serde(default)]
    latency: Rate,
    auto: Option<Auto>,
}

#[derive(Debug, Deserialize)]
struct SilosFile {
    silo: BTreeMap<String, SiloFile>,
}

/// A trace on a card.
#[derive(Debug, Serialize)]
struct Cell {
    trace: String,
    card: String,
    #[serde(flatten)]
    report: Report,
}

pub(super) fn run(context: &Context, command: &Simulate) -> Result<(), Failure> {
    if command.table {
        return table(context, command);
    }
    let Some(path) = &command.silos else { return Err(Failure::misuse("`--silos` is missing")) };
    let mut places = silos(path)?;
    if command.as_gateway {
        let asked = Asked { requests: 1, again: true, read_back: true };
        for place in &mut places {
            place.asked = asked;
        }
    }
    let report = simulate(command, command.trace.first().map(PathBuf::as_path), places)?;
    if let Some(path) = &command.chart {
        std::fs::write(path, svg(&report)).map_err(|error| cannot("write", path, &error))?;
    }
    if context.global.json { print::json(&report) } else { show(&report) }
}

fn day(text: &str) -> Result<i32, String> {
    day_of(text).ok_or_else(|| format!("`{text}` is no day such as 2024-02-29"))
}

fn cannot(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("cannot {what} `{}`: {error}", path.display()))
}

fn silos(path: &Path) -> Result<Vec<Place>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| cannot("read", path, &error))?;
    let file: SilosFile = toml::from_str(&text).map_err(|error| cannot("read", path, &error))?;
    let place = |(name, silo): (String, SiloFile)| {
        let SiloFile { price, latency, auto } = silo;
        let price = price.and_then(PriceFile::declared);
        let price = price.ok_or_else(|| Failure::misuse(format!("silo `{name}` has no `price`")))?;
        let card = price.card().map_err(|error| Failure::misuse(format!("silo `{name}`: {error}")))?;
        Ok(Place { name, card, latency, auto, asked: Asked::default() })
    };
    let places: Vec<Place> = file.silo.into_iter().map(place).collect::<Result<_, Failure>>()?;
    if places.is_empty() {
        return Err(Failure::misuse(format!("`{}` declares no silo", path.display())));
    }
    Ok(places)
}

fn open(path: &Path) -> Result<Box<dyn BufRead>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|error| cannot("read", path, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}

/// Lines of two fields; the second ends with the next comma.
fn pairs<T>(path: Option<&PathBuf>, value: impl Fn(&str) -> Option<T>) -> Result<HashMap<String, T>, Failure> {
    let Some(path) = path else { return Ok(HashMap::new()) };
    let mut all = HashMap::new();
    for line in open(path)?.lines() {
        let line = line.map_err(|error| cannot("read", path, &error))?;
        // A line whose second field is no value is a head.
        if let Some((name, value)) = line.split_once(',').and_then(|(name, rest)| Some((name, value(rest)?))) {
            all.insert(name.to_owned(), value);
        }
    }
    Ok(all)
}

/// All events of a trace, or made-up ones.
fn events(command: &Simulate, trace: Option<&Path>, sink: &mut dyn FnMut(&Event<'_>)) -> Result<(), Failure> {
    let Some(path) = trace else {
        synthetic::generate(command.seed, sink);
        return Ok(());
    };
    let number = |text: &str| text.split(',').next()?.parse::<u64>().ok();
    let known = Known {
        sizes: pairs(command.sizes.as_ref(), number)?,
        names: pairs(command.names.as_ref(), |text| Some(text.to_owned()))?,
        shards: command.shards,
        day: command.day,
    };
    read(open(path)?, &known, sink).map_err(|error| cannot("read", path, &error))
}

/// The first day that counts.
fn from(command: &Simulate, trace: Option<&Path>) -> Result<i32, Failure> {
    let Some(last) = command.last.map(i32::from) else { return Ok(command.from.unwrap_or(i32::MIN)) };
    if trace == Some(Path::new("-")) {
        return Err(Failure::misuse("`--last` needs a file: it is read twice"));
    }
    let (mut first, mut end) = (i32::MAX, i32::MIN);
    events(command, trace, &mut |event| (first, end) = (first.min(event.day), end.max(event.day)))?;
    let from = end.saturating_sub(last).saturating_add(1);
    Ok(if from.saturating_sub(first) >= last / 3 { from } else { i32::MIN })
}

fn simulate(command: &Simulate, trace: Option<&Path>, places: Vec<Place>) -> Result<Report, Failure> {
    let from = from(command, trace)?;
    let mut simulation = Simulation::new(Options { places, from, daily: command.as_gateway });
    let (bar, mut count) = (progress::events(), 0_u64);
    let done = events(command, trace, &mut |event| {
        simulation.push(event);
        count += 1;
        if count.is_multiple_of(STEP) {
            bar.set_position(count);
        }
    });
    bar.finish_and_clear();
    done?;
    if count == 0 {
        return Err(Failure::misuse("the trace has no events"));
    }
    Ok(simulation.finish())
}

fn show(report: &Report) -> Result<(), Failure> {
    let head =
        ["RULE", ">TOTAL", ">STORAGE", ">READS", ">REQUESTS", ">MOVES", ">FEES", ">MOVED", ">AN OBJECT", ">BY OPTIMUM"];
    let mut fixed: Vec<&Outcome> = report.fixed.iter().collect();
    fixed.sort_by(|one, other| one.total.total_cmp(&other.total));
    let row = |outcome: &Outcome| {
        let cost = &outcome.cost;
        let parts = [outcome.total, cost.storage, cost.reads, cost.requests, cost.moves, cost.fees];
        let mut cells = vec![outcome.name.clone()];
        cells.extend(parts.map(|part| format!("{part:.4}")));
        let each = outcome.moves as f64 / report.objects.max(1) as f64;
        cells.extend([outcome.moves.to_string(), format!("{each:.2}"), format!("{:.3}", outcome.ratio)]);
        cells
    };
    let rows = [&report.auto].into_iter().chain(fixed).map(row).collect();
    print::table(&head, rows)?;
    let Report { events, objects, days, optimum, .. } = report;
    print::line(format!(
        "\n{events} events, {objects} objects; {days} days count. With everything known before, {optimum:.4} was possible."
    ))
}

fn table(context: &Context, command: &Simulate) -> Result<(), Failure> {
    let traces: Vec<Option<&Path>> = match &command.trace[..] {
        [] => vec![None],
        traces => traces.iter().map(|trace| Some(trace.as_path())).collect(),
    };
    let mut cells = Vec::new();
    for trace in traces {
        for (card, places) in cards() {
            let report = simulate(command, trace, places)?;
            let name = trace.and_then(Path::file_stem).map_or("made up".into(), |name| name.to_string_lossy());
            cells.push(Cell { trace: name.into_owned(), card: card.to_owned(), report });
        }
    }
    if context.global.json { print::json(&cells) } else { show_table(&cells) }
}

fn show_table(cells: &[Cell]) -> Result<(), Failure> {
    let head =
        ["TRACE", "CARD", ">OPTIMUM", ">AUTO", ">BEST FIXED", ">AUTO/BEST", ">30/90", ">PROVIDER'S", "BEST FIXED IS"];
    let ratio = |outcome: Option<&Outcome>| outcome.map_or("-".to_owned(), |outcome| format!("{:.3}", outcome.ratio));
    let row = |cell: &Cell| {
        let report = &cell.report;
        let best = report.best();
        let provider = report.fixed.iter().find(|outcome| outcome.provider);
        let cells = [
            cell.trace.clone(),
            cell.card.clone(),
            format!("{:.2}", report.optimum),
            ratio(Some(&report.auto)),
            ratio(best),
            best.map_or("-".to_owned(), |best| format!("{:.3}", report.auto.total / best.total)),
            ratio(report.fixed(LIFECYCLE)),
            ratio(provider),
            best.map_or("-".to_owned(), |best| best.name.clone()),
        ];
        cells.to_vec()
    };
    print::table(&head, cells.iter().map(row).collect())?;
    print::line(summary(cells))
}

/// Cards with a class that moves objects by itself have another optimum, and are left out.
fn summary(cells: &[Cell]) -> String {
    let plain: Vec<&Report> =
        cells.iter().map(|cell| &cell.report).filter(|report| report.fixed.iter().all(|one| !one.provider)).collect();
    let mean = |of: &dyn Fn(&Report) -> f64| {
        (plain.iter().map(|report| of(report).ln()).sum::<f64>() / plain.len().max(1) as f64).exp()
    };
    let to = |report: &Report, other: Option<&Outcome>| other.map_or(1.0, |other| report.auto.total / other.total);
    let worst = plain.iter().map(|report| to(report, report.best())).fold(0.0, f64::max);
    format!(
        "\ngeometric means: auto is {:.3} × the optimum and {:.3} × the 30/90 rules; at worst {worst:.3} × the best fixed rule",
        mean(&|report| report.auto.ratio),
        mean(&|report| to(report, report.fixed(LIFECYCLE))),
    )
}
