//! `holdall price`, and amounts for people.

use clap::Subcommand;
use holdall_namespace::objective::{Alternatives, Chore, Costs, Upkeep};
use holdall_namespace::price::{Money, Once, PRESETS, Preset, Rate, USD};

use super::exit::Failure;
use super::{Context, print};

/// `holdall price`
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the presets: published list prices that `holdall silo set NAME --price PRESET` takes. Asks no gateway.
    List,
}

pub(super) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List if context.global.json => print::json(&PRESETS),
        Command::List => list(),
    }
}

fn list() -> Result<(), Failure> {
    let head = [
        "PRESET",
        ">STORAGE",
        ">RETRIEVAL",
        ">EGRESS",
        ">READS",
        ">WRITES",
        ">DAYS",
        ">LEAST",
        "UNIT",
        "AS OF",
        "WHAT",
    ];
    print::table(&head, PRESETS.iter().map(row).collect())?;
    print::line(format!(
        "\nList prices in {USD}, the first tier, without allowances and taxes: storage a unit and month, retrieval and egress a\n\
         unit, reads and writes a thousand requests. Check them against your own contract; `--json` has each one's source."
    ))
}

fn row(preset: &Preset) -> Vec<String> {
    let card = &preset.card;
    let rates = [card.storage, card.retrieval, card.egress, card.reads, card.writes];
    let least = if card.minimum_size == 0 { "-".to_owned() } else { print::bytes(card.minimum_size) };
    let mut cells = vec![preset.name.to_owned()];
    cells.extend(rates.iter().map(Rate::to_string));
    cells.extend([or_dash(card.minimum_days), least, format!("{:?}", card.unit)]);
    cells.extend([preset.as_of.to_owned(), preset.about.to_owned()]);
    cells
}

fn or_dash(days: u16) -> String {
    if days == 0 { "-".to_owned() } else { days.to_string() }
}

/// What a plan costs, in sentences; nothing where it is about no silo.
pub(super) fn of_plan(costs: &Costs) -> Vec<String> {
    of_moves(costs, "with what was read in the last one")
}

/// What an order costs, likewise.
pub(super) fn of_order(costs: &Costs) -> Vec<String> {
    of_moves(costs, "for storing what moves")
}

fn of_moves(costs: &Costs, what: &str) -> Vec<String> {
    let Costs { currency, cost, upkeep, priced, unpriced } = costs;
    let mut lines = Vec::new();
    if !priced.is_empty() {
        let (before, after) = (amount(cost.month_before), amount(cost.month_after));
        lines.push(format!("moving costs {} {currency} once: {}", amount(cost.once.total()), parts(&cost.once)));
        lines.push(format!("a month costs {before} {currency} now, and {after} then, {what}"));
        lines.extend(upkeep.iter().map(of_upkeep));
    }
    lines.extend(unknown(unpriced));
    lines
}

fn of_upkeep(upkeep: &Upkeep) -> String {
    let (before, after) = (amount(upkeep.month_before), amount(upkeep.month_after));
    let what = match upkeep.what {
        Chore::Scrub => "scrubs",
        Chore::Hash => "checksums of what lies in roots",
        Chore::Rescan => "lists of what lies in roots",
    };
    format!("  of that {what} in {} {before} now, and {after} then", upkeep.silo)
}

/// What an object costs in each silo, in sentences.
pub(super) fn of_object(alternatives: &Alternatives) -> Vec<String> {
    let Alternatives { currency, silos } = alternatives;
    let unpriced: Vec<String> = silos.iter().filter(|one| one.month.is_none()).map(|one| one.silo.clone()).collect();
    let priced = silos.iter().filter_map(|one| {
        let (silo, month) = (&one.silo, amount(one.month?));
        let there = if one.holds { "costs" } else { "would cost" };
        let (total, parts) = (amount(one.once.total()), parts(&one.once));
        let moved = if one.holds { String::new() } else { format!(", moving it there {total} once: {parts}") };
        Some(format!("on {silo} it {there} {month} {currency} a month{moved}"))
    });
    priced.chain(unknown(&unpriced)).collect()
}

fn unknown(silos: &[String]) -> Option<String> {
    let names: Vec<String> = silos.iter().map(|name| format!("`{name}`")).collect();
    let all = names.join(", ");
    (!names.is_empty())
        .then(|| format!("no price is known of silo {all}, which counts for nothing (`holdall silo set --price`)"))
}

/// What is something.
fn parts(once: &Once) -> String {
    let parts = [
        ("requests", once.requests),
        ("retrieval", once.retrieval),
        ("egress", once.egress),
        ("early deletion", once.early_deletion),
        ("verification", once.verification),
    ];
    let some = parts.iter().filter(|(_, money)| *money != Money::ZERO);
    let some: Vec<String> = some.map(|(name, money)| format!("{name} {}", amount(*money))).collect();
    if some.is_empty() { "nothing of it is paid for".to_owned() } else { some.join(", ") }
}

/// To a ten-thousandth; what is less is not shown as nothing.
pub(super) fn amount(money: Money) -> String {
    let shown = money.rounded(4);
    if money != Money::ZERO && shown == Money::ZERO.rounded(4) { "<0.0001".to_owned() } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_told_from_nothing() {
        let shown = |text: &str| amount(text.parse().unwrap());
        assert_eq!(
            ["0", "0.00004", "0.00005", "12.3", "1234567.00001"].map(shown),
            ["0.0000", "<0.0001", "0.0001", "12.3000", "1234567.0000"]
        );
    }
}
