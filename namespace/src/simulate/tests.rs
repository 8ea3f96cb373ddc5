use super::synthetic::Dice;
use super::*;
use crate::price::{PriceCard, Rate};

const GB: u64 = 1_000_000_000;

fn card(name: &str) -> Vec<Place> {
    cards().into_iter().find(|(card, _)| *card == name).map(|(_, places)| places).unwrap()
}

fn put(day: i32, key: &str, size: u64) -> Event<'_> {
    Event { day, bucket: "b", key, what: What::Put(size) }
}

fn get(day: i32, key: &str, bytes: u64) -> Event<'_> {
    Event { day, bucket: "b", key, what: What::Read { count: 1, bytes: Some(bytes), size: None } }
}

fn simulation(places: Vec<Place>) -> Simulation {
    Simulation::new(Options { places, from: i32::MIN, daily: false })
}

/// Whoever has just begun knows nothing: the first hundred days are for learning.
fn trained(places: Vec<Place>, begun: i32) -> Simulation {
    Simulation::new(Options { places, from: begun + 100, daily: false })
}

fn near(one: f64, other: f64) {
    assert!((one - other).abs() < 1e-9, "{one} is not {other}");
}

/// 30 GB are written on day 0, lie for 30 days in S3 Standard, move to Standard-IA at the end of day 30, are read by a third on day 50, which
/// brings them back, are deleted on day 60; by hand.
#[test]
fn costs_are_as_on_paper() {
    let mut simulation = simulation(card("A"));
    let delete = Event { day: 60, bucket: "b", key: "k", what: What::Delete };
    for event in [put(0, "k", 30 * GB), get(50, "k", 10 * GB), delete] {
        simulation.push(&event);
    }
    let report = simulation.finish();
    let Cost { storage, reads, requests, moves, fees } = report.fixed(LIFECYCLE).unwrap().cost;
    // Days 0 to 30, 31 to 50, 51 to 59, by the month of 30 days.
    near(storage, 0.023 * 31.0 + 0.0125 * 20.0 + 0.023 * 9.0);
    near(reads, 10.0 * 0.01);
    // A write to the one, a read of the other.
    near(requests, 0.005 / 1000.0 + 0.001 / 1000.0);
    // There: a read, a write. Back: 20 GB that were not read anyway.
    near(moves, (0.0004 + 0.01) / 1000.0 + (0.001 + 0.005) / 1000.0 + 20.0 * 0.01);
    near(fees, 0.0125 * 10.0);
    assert_eq!(report.fixed(LIFECYCLE).unwrap().moves, 2);
    let always = report.fixed("always glacier").unwrap().cost;
    near(always.storage, 0.004 * 60.0);
    near(always.fees, 0.004 * 30.0);
}

/// What the provider moves by itself: 31 days at the first price, 60 at the second, 9 at the third, watched all along.
#[test]
fn a_provider_steps_down_by_itself() {
    let mut simulation = simulation(card("A+"));
    for event in [put(0, "k", 30 * GB), put(99, "other", 1)] {
        simulation.push(&event);
    }
    let report = simulation.finish();
    let one = report.fixed("always tiering").unwrap().cost.storage - 0.023 / 30.0 / 1e9;
    // Written on day 0: the first day at whose beginning it was idle for 30 days is day 31.
    near(one, 0.023 * 31.0 + 0.0125 * 60.0 + 0.004 * 9.0 + 0.0025 / 1000.0 * 100.0 / 30.0);
}

fn made_up(places: Vec<Place>) -> Report {
    let mut simulation = trained(places, 19_400);
    synthetic::generate(3, &mut |event| {
        if event.day < 19_400 + 300 {
            simulation.push(event);
        }
    });
    simulation.finish()
}

#[test]
fn the_same_past_gives_the_same_answer() {
    assert_eq!(made_up(card("B")), made_up(card("B")));
}

#[test]
fn learning_is_cheaper_than_what_is_usual() {
    let mut mean = 1.0;
    for (name, places) in cards() {
        let report = made_up(places);
        let (auto, best) = (report.auto.total, report.best().unwrap().total);
        let usual = report.fixed(LIFECYCLE).unwrap().total;
        assert!(auto < usual, "{name}: {auto}, usual {usual}");
        mean *= (auto / usual).powf(0.25);
        assert!(report.optimum <= auto && report.optimum <= best, "{name}: nothing beats the optimum");
    }
    assert!(mean < 0.8, "{mean}");
}

/// Objects of a prefix over 600 days, and who reads which of them when.
fn workload(objects: u64, read: impl Fn(i32, u64, &mut Dice) -> bool) -> Vec<(i32, String, bool)> {
    let mut dice = Dice::new(5);
    let key = |object: u64| format!("p/{object:04}");
    let mut events: Vec<_> = (0..objects).map(|object| (0, key(object), true)).collect();
    for day in 1..600 {
        events.extend(
            (0..objects).filter(|object| read(day, *object, &mut dice)).map(|object| (day, key(object), false)),
        );
    }
    // So that all traces are equally long.
    events.push((599, "end".to_owned(), true));
    events
}

fn replay(simulation: &mut Simulation, events: &[(i32, String, bool)]) {
    for (day, key, new) in events {
        simulation.push(&if *new { put(*day, key, GB) } else { get(*day, key, GB) });
    }
}

fn no_worse(name: &str, most: f64, events: &[(i32, String, bool)]) {
    for card in ["A", "C"] {
        let mut simulation = trained(self::card(card), 0);
        replay(&mut simulation, events);
        let report = simulation.finish();
        let best = report.best().unwrap();
        let ratio = report.auto.total / best.total;
        assert!(ratio <= most, "{name}, {card}: {ratio:.3} × {}", best.name);
    }
}

/// Everything is read once in the order of keys, three times in all, and nothing else ever: whoever has seen none before keeps what was
/// read near for a while.
#[test]
fn a_scan_is_survived() {
    no_worse("scan", 1.55, &workload(60, |day, _, _| matches!(day, 150 | 290 | 480)));
}

/// One object in fifty is read every day for ten days, out of the blue.
#[test]
fn a_flash_crowd_passes() {
    no_worse("crowd", 1.5, &workload(60, |day, object, _| object % 50 == 7 && (300..310).contains(&day)));
}

/// What is read each day in one month is not in the next.
#[test]
fn what_flips_each_month_is_survived() {
    no_worse(
        "flip",
        1.1,
        &workload(60, |day, object, dice| ((day / 30) as u64 + object).is_multiple_of(2) && dice.once_in(3)),
    );
}

/// The clock of who wrote the log was ten years ahead for a day.
#[test]
fn a_clock_that_jumps_is_survived() {
    let mut events = workload(40, |_, object, dice| object % 4 == 0 && dice.once_in(6));
    let middle = events.len() / 2;
    events[middle].0 += 3650;
    no_worse("clock", 1.15, &events);
}

/// Holding in the bucket becomes four times as dear in the middle.
#[test]
fn prices_that_change_are_followed() {
    let mut simulation = trained(card("B"), 0);
    let events = workload(60, |_, object, dice| object % 2 == 0 && dice.once_in(40));
    let (before, after) = events.split_at(events.partition_point(|(day, ..)| *day < 300));
    replay(&mut simulation, before);
    let mut places = card("B");
    places[1].card = PriceCard { storage: Rate::nano(60_000_000), ..places[1].card };
    simulation.reprice(300, places);
    replay(&mut simulation, after);
    let report = simulation.finish();
    let best = report.best().unwrap();
    assert!(report.auto.total <= 1.1 * best.total, "{} × {}", report.auto.total / best.total, best.name);
}

/// A silo was taken out of use; nothing goes there any more, neither new objects nor moves.
#[test]
fn a_silo_that_vanishes_takes_nothing() {
    let mut simulation = simulation(card("A"));
    let events = workload(40, |day, object, _| object % 2 == 0 && day == 20);
    let middle = events.partition_point(|(day, ..)| *day < 10);
    replay(&mut simulation, &events[..middle]);
    simulation.open(vec![true, true, false]);
    let held = simulation.held(2);
    replay(&mut simulation, &events[middle..]);
    assert!(simulation.held(2) <= held, "{} after {held}", simulation.held(2));
    assert!(simulation.held(1) > 0, "what is cold goes to the next one");
}

/// A learner that was written down and read back goes on as if nothing had been.
#[test]
fn what_was_learnt_is_kept() {
    let mut simulation = simulation(card("A"));
    replay(&mut simulation, &workload(50, |_, object, dice| object % 3 == 0 && dice.once_in(9)));
    let bytes = simulation.learner.to_bytes().unwrap();
    let back = Learner::from_bytes(&bytes, card("A")).unwrap().unwrap();
    assert!(back.to_bytes().unwrap() == bytes, "what was read back is written as it was");
    let stay = Stay::held(0, 600);
    for item in &simulation.items {
        let (here, there) =
            (simulation.learner.explain(&item.thing(600), &stay, None), back.explain(&item.thing(600), &stay, None));
        assert_eq!((here.place, here.expert), (there.place, there.expert));
    }
    let other = [&[2], &bytes[1..]].concat();
    assert!(Learner::from_bytes(&other, card("A")).unwrap().is_none(), "of another version");
    let elsewhere = Learner::from_bytes(&bytes, card("C")).unwrap().unwrap();
    assert!(elsewhere.ledger().iter().all(|(_, cost)| *cost == 0.0), "of other places the ledger knows nothing");
}
