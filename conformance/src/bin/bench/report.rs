//! The figures as a table and as JSON.

use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};
use holdall_conformance::{Outcome, say};
use serde::Serialize;

use super::rate::Rate;

/// Everything a run measured.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// Samples, in the order they ran.
    pub(super) samples: Vec<Sampled>,
    /// Promised ratios.
    pub(super) ratios: Vec<Ratio>,
}

/// One sample.
#[derive(Debug, Serialize)]
pub(super) struct Sampled {
    /// Whose.
    pub(super) server: String,
    /// What.
    pub(super) load: String,
    /// Clients.
    pub(super) clients: usize,
    /// Figures.
    #[serde(flatten)]
    pub(super) rate: Rate,
}

/// One promised ratio.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    /// What.
    pub(super) name: String,
    /// Median over the pairs.
    pub(super) median: f64,
    /// The bound it must keep.
    pub(super) bound: f64,
    /// Whether smaller is better.
    pub(super) at_most: bool,
    /// What both sides measured, in words.
    pub(super) figures: String,
}

impl Ratio {
    /// Whether the bound is kept.
    pub(super) fn holds(&self) -> bool {
        if self.at_most { self.median <= self.bound } else { self.median >= self.bound }
    }
}

impl Report {
    /// Keeps a sample and tells it.
    pub(super) fn add(&mut self, server: &str, load: &str, clients: usize, rate: Rate) {
        say::progress(format!(
            "{server:<10} {load:<20} {clients:>3} clients {:>9.0}/s {:>8.1} MiB/s p50 {:>6} µs p99 {:>7} µs {:>7.1} µs CPU",
            rate.per_second(),
            rate.mib_per_second(),
            rate.p50_us,
            rate.p99_us,
            rate.cpu_us()
        ));
        self.samples.push(Sampled { server: server.to_owned(), load: load.to_owned(), clients, rate });
    }

    /// Prints the tables, writes the file.
    pub(super) fn tell(&self, json: Option<&Path>) -> Outcome<()> {
        if let Some(path) = json {
            std::fs::write(path, serde_json::to_vec_pretty(self)?)?;
        }
        say::result(self.sample_table());
        if !self.ratios.is_empty() {
            say::result(self.ratio_table());
        }
        Ok(())
    }

    fn sample_table(&self) -> Table {
        let heads =
            ["server", "load", "clients", "ops/s", "MiB/s", "p50 µs", "p99 µs", "CPU µs/op", "CPU s/GiB", "peak MiB"];
        let mut rows: Vec<(String, Vec<&Rate>)> = Vec::new();
        for sample in &self.samples {
            let name = format!("{}\t{}\t{}", sample.server, sample.load, sample.clients);
            match rows.iter_mut().find(|row| row.0 == name) {
                Some(row) => row.1.push(&sample.rate),
                None => rows.push((name, vec![&sample.rate])),
            }
        }
        let mut table = begin(&heads);
        for (name, rates) in rows {
            let median = |figure: fn(&Rate) -> f64| {
                holdall_conformance::pace::median(rates.iter().map(|rate| figure(rate)).collect())
            };
            let mut row: Vec<String> = name.split('\t').map(str::to_owned).collect();
            row.push(format!("{:.0}", median(Rate::per_second)));
            row.push(format!("{:.1}", median(Rate::mib_per_second)));
            row.push(format!("{:.0}", median(|rate| rate.p50_us as f64)));
            row.push(format!("{:.0}", median(|rate| rate.p99_us as f64)));
            row.push(format!("{:.1}", median(Rate::cpu_us)));
            let bulk = rates[0].bytes > 64 << 20;
            row.push(if bulk { format!("{:.2}", median(Rate::cpu_per_gib)) } else { String::new() });
            row.push(format!("{:.0}", median(|rate| (rate.peak_resident >> 20) as f64)));
            table.add_row(cells(&row));
        }
        table
    }

    fn ratio_table(&self) -> Table {
        let mut table = begin(&["ratio", "", "median", "bound", "figures"]);
        for ratio in &self.ratios {
            let sign = if ratio.at_most { "≤" } else { "≥" };
            let verdict = if ratio.holds() { "ok" } else { "MISSED" };
            table.add_row(cells(&[
                ratio.name.clone(),
                verdict.to_owned(),
                format!("{:.2}", ratio.median),
                format!("{sign} {:.2}", ratio.bound),
                ratio.figures.clone(),
            ]));
        }
        table
    }
}

fn begin(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
    table
}

/// Figures stand right, words left.
fn cells(row: &[String]) -> Vec<Cell> {
    let number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.');
    row.iter()
        .map(|text| {
            Cell::new(text).set_alignment(if number(text) { CellAlignment::Right } else { CellAlignment::Left })
        })
        .collect()
}
