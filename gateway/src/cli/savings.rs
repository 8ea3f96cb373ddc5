//! `holdall savings`

use holdall_namespace::learn::Month;
use holdall_namespace::objective::Savings;

use super::exit::Failure;
use super::{Context, print};

/// What was paid for what objectives choose for, and what fixed rules would have cost.
pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    let all: Vec<Savings> = context.admin()?.get("/v1/savings").await?;
    if context.global.json {
        return print::json(&all);
    }
    if all.is_empty() {
        return print::line("no objective leaves the choice to Holdall: `holdall objective set NAME --auto`");
    }
    all.into_iter().try_for_each(show)
}

fn show(savings: Savings) -> Result<(), Failure> {
    let Savings { objective, currency, months } = savings;
    print::line(format!("objective {objective}, {currency}"))?;
    let Some(last) = months.last() else { return print::line("nothing was learnt yet: it takes a day") };
    let fixed = |month: &Month| -> Vec<(String, f64)> {
        month.rules.iter().filter(|(name, _)| is_fixed(name)).cloned().collect()
    };
    let names: Vec<String> = fixed(last).into_iter().map(|(name, _)| format!(">{}", name.to_uppercase())).collect();
    let head: Vec<&str> = ["MONTH", ">PAID"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let row = |month: &Month| {
        let costs = [month.paid].into_iter().chain(fixed(month).into_iter().map(|(_, cost)| cost));
        std::iter::once(month.month.clone()).chain(costs.map(|cost| format!("{cost:.4}"))).collect()
    };
    print::table(&head, months.iter().map(row).collect())?;
    months.iter().filter_map(verdict).try_for_each(print::line)
}

/// Rules that people write down without learning.
fn is_fixed(name: &str) -> bool {
    name.starts_with("always ") || name == "30/90 days"
}

/// How what was paid stands to the best fixed rule, which nobody knew before.
fn verdict(month: &Month) -> Option<String> {
    let fixed = month.rules.iter().filter(|(name, _)| is_fixed(name));
    let (name, least) = fixed.min_by(|one, other| one.1.total_cmp(&other.1))?;
    if *least <= 0.0 {
        return None;
    }
    let more = (month.paid / least - 1.0) * 100.0;
    let said = if more > 0.0 { format!("lost: {more:.1} % more than") } else { format!("saved {:.1} % of", -more) };
    Some(format!("{}: it {said} the best fixed rule of that month, `{name}`", month.month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_so_when_it_lost() {
        let rules = [("chances of its own", 1.0), ("always hot", 12.0), ("30/90 days", 10.0)];
        let rules: Vec<_> = rules.iter().map(|(name, cost)| ((*name).to_owned(), *cost)).collect();
        let month = |paid| Month { month: "2026-11".to_owned(), paid, rules: rules.clone() };
        insta::assert_snapshot!(verdict(&month(9.0)).unwrap(), @"2026-11: it saved 10.0 % of the best fixed rule of that month, `30/90 days`");
        insta::assert_snapshot!(verdict(&month(11.0)).unwrap(), @"2026-11: it lost: 10.0 % more than the best fixed rule of that month, `30/90 days`");
    }
}
