//! The protocol, proved by running it: two gateways, one index, two silos, a scheduler that owns every step, and a
//! reference model that says what clients may see.
//!
//! A case is its seed and its focus. `HOLDALL_MODEL_CASES` says how many run (10,000 without it), `HOLDALL_MODEL_SEED`
//! runs one and prints what happened in it, `HOLDALL_MODEL_FOCUS` names a focus in place of the seed's own.
//! `docs/model.md` says what is shown by this, and what is not.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use holdall_silos::Silo;

use self::plan::Focus;

mod bugs;
mod client;
mod held;
mod history;
mod index;
mod kept;
mod log;
mod plan;
mod rest;
mod settle;
mod sim;
mod store;
mod world;

thread_local! {
    /// The silos of the case that runs on this thread.
    static SILOS: RefCell<Option<Arc<store::Silos>>> = const { RefCell::new(None) };
}

/// From now on `memory:1` and `memory:2` are these silos on this thread.
fn enter(silos: &Arc<store::Silos>) {
    SILOS.with_borrow_mut(|current| *current = Some(Arc::clone(silos)));
}

/// The silo of a URL, while a case runs on this thread.
pub(crate) fn silo_for(url: &str) -> Option<Arc<dyn Silo>> {
    let id = url.strip_prefix("memory:")?.parse().ok()?;
    let silos = SILOS.with_borrow(Clone::clone)?;
    Some(Arc::new(store::OneSilo { silos, id }))
}

/// What a case found wrong, and with `traced` what happened in it.
fn run(seed: u64, focus: Option<Focus>, traced: bool) -> Result<(), (String, Vec<String>)> {
    crate::failpoint::small_parts_here(true);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let mut world = world::World::new(seed, focus, traced);
        world.run();
        world.settle();
        (world.sim.found(), world.sim.trace())
    }));
    SILOS.with_borrow_mut(|current| *current = None);
    match ended {
        Ok((None, _)) => Ok(()),
        Ok((Some(wrong), trace)) => Err((wrong, trace)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err((format!("a panic: {}", text.unwrap_or_default()), Vec::new()))
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The focus that was asked for.
fn focus() -> Option<Focus> {
    let name = std::env::var("HOLDALL_MODEL_FOCUS").ok()?;
    Some(Focus::named(&name).unwrap_or_else(|| panic!("`{name}` is none of {:?}", Focus::ALL)))
}

/// Runs seeds `from..` and answers the first that finds something.
fn search(from: u64, cases: u64, focus: Option<Focus>) -> Option<(u64, String)> {
    (from..from + cases).find_map(|seed| run(seed, focus, false).err().map(|(wrong, _)| (seed, wrong)))
}

/// One case, or many; what is found is printed with what happened before.
#[test]
fn the_protocol_holds() {
    let focus = focus();
    if let Some(seed) = number("HOLDALL_MODEL_SEED") {
        let outcome = run(seed, focus, true);
        let Err((wrong, trace)) = outcome else { return };
        panic!("seed {seed}: {wrong}\n{}", trace.join("\n"));
    }
    let cases = number("HOLDALL_MODEL_CASES").unwrap_or(10_000);
    let half = cases / 2;
    let other = std::thread::spawn(move || search(half, cases - half, focus));
    let found = search(0, half, focus).or(other.join().expect("cases catch their panics"));
    if let Some((seed, wrong)) = found {
        let trace = run(seed, focus, true).err().map(|(_, trace)| trace).unwrap_or_default();
        panic!("seed {seed}: {wrong}\n{}\nHOLDALL_MODEL_SEED={seed} runs it again", trace.join("\n"));
    }
}

/// What all cases find, by kind: for looking at a change, not for passing.
#[test]
#[ignore = "a survey: run it by name"]
fn survey() {
    let cases = number("HOLDALL_MODEL_CASES").unwrap_or(2_000);
    let from = number("HOLDALL_MODEL_FROM").unwrap_or(0);
    let mut kinds: std::collections::BTreeMap<String, (u64, u64)> = std::collections::BTreeMap::new();
    let focus = focus();
    for seed in from..from + cases {
        if let Err((wrong, _)) = run(seed, focus, false) {
            let kind = wrong.split([':', '(']).next().unwrap_or_default().chars().take(90).collect();
            kinds.entry(kind).or_insert((0, seed)).0 += 1;
        }
    }
    let lines: Vec<String> =
        kinds.iter().map(|(kind, (count, seed))| format!("{count:5} {kind} (seed {seed})")).collect();
    assert!(lines.is_empty(), "{cases} cases:\n{}", lines.join("\n"));
}
