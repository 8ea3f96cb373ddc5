//! Data on stdout: a table for people, JSON for scripts.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use bytesize::ByteSize;
use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::exit::Failure;

/// Writes text to stdout. A reader that left (`| head`) is no failure.
pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// One line to stdout.
pub(crate) fn line(line: impl AsRef<str>) -> Result<(), Failure> {
    text(&format!("{}\n", line.as_ref()))
}

/// One value as JSON: indented on a terminal, else one line.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let written =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
    line(written.map_err(|error| Failure::failed(error.to_string()))?)
}

/// One value as one line of JSON, whatever stdout is.
pub(crate) fn ndjson(value: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(value).map_err(|error| Failure::failed(error.to_string()))?)
}

/// A table with a head; columns whose head starts with `>` are aligned right.
pub(crate) fn table(head: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    line(lay_out(head, rows))
}

pub(crate) fn lay_out(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head.iter().map(|name| name.trim_start_matches('>'))).add_rows(rows);
    for (column, name) in table.column_iter_mut().zip(head) {
        column.set_padding((0, 2));
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(4)));
        if name.starts_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// `1.5 GiB`
pub(crate) fn bytes(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

/// A counter's bytes; one that went below zero is shown as it is, since that is damage.
pub(crate) fn counted(count: i64) -> String {
    u64::try_from(count).map_or_else(|_| count.to_string(), bytes)
}

/// A name of others without what a terminal obeys.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// To the second.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `2h 30m`
pub(crate) fn seconds(seconds: u64) -> String {
    let time = SignedDuration::try_from(Duration::from_secs(seconds)).unwrap_or(SignedDuration::MAX);
    format!("{time:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_carry_no_frame() {
        let rows = vec![vec!["hot".to_owned(), bytes(3 << 20)], vec!["archive".to_owned(), counted(-1)]];
        assert_eq!(lay_out(&["SILO", ">USED"], rows), "SILO        USED\nhot      3.0 MiB\narchive       -1");
    }
}
