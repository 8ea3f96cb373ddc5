//! What a look at a silo found, for people.

use super::facts_of;
use crate::admin::view::ProbeView;
use crate::cli::exit::Failure;
use crate::cli::print;

pub(super) fn show(probed: &ProbeView) -> Result<(), Failure> {
    let (silo, facts) = (&probed.silo, &probed.silo.facts);
    print::line(format!("{} ({}, {})", silo.name, facts.family, facts.kind))?;
    facts_of(facts)?;
    lines(probed).iter().try_for_each(|(name, value)| print::line(format!("  {name:<26}{value}")))?;
    if probed.facts_changed {
        eprintln!("it does not promise what it did before");
    }
    Ok(())
}

fn lines(probed: &ProbeView) -> Vec<(String, String)> {
    let silo = &probed.silo;
    let mut lines = vec![("url", silo.url.clone()), ("recognized by", probed.identity.clone())];
    if let (Some(free), Some(total)) = (silo.free, probed.total) {
        lines.push(("free", format!("{} of {}", print::bytes(free), print::bytes(total))));
    }
    if let Some(reserve) = silo.reserve {
        lines.push(("reserve", print::bytes(reserve)));
    }
    lines.push(("recognized in", time(probed.look_us)));
    if let Some(reason) = &probed.unmeasured {
        lines.push(("not measured", reason.clone()));
    }
    let mut lines: Vec<_> = lines.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Some(speed) = &probed.speed {
        let (small, large) = (print::bytes(speed.small), print::bytes(speed.size));
        let at = |us, rate| format!("{}, {}/s", time(us), print::bytes(rate));
        lines.extend([
            (format!("put {small}"), time(speed.put_us)),
            (format!("get {small}"), time(speed.get_us)),
            (format!("delete {small}"), time(speed.delete_us)),
            (format!("write {large}"), at(speed.write_us, speed.write_rate)),
            (format!("read {large}"), at(speed.read_us, speed.read_rate)),
        ]);
    }
    lines
}

/// `1.20 ms`
fn time(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_milliseconds() {
        assert_eq!([0, 9, 10, 1234, 60_000_000].map(time), ["0.00 ms", "0.00 ms", "0.01 ms", "1.23 ms", "60000.00 ms"]);
    }
}
