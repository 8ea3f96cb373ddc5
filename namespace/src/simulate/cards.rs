//! Price cards that rules are compared on: public list prices, rounded. One's own are in a file.

use crate::learn::{Asked, Auto, Idle, Place};
use crate::price::{PriceCard, Rate, Unit};

/// Places by the card's name: one cloud's classes; a NAS, a bucket without egress and one with; two places; and one cloud with a
/// class that moves objects by itself.
pub fn cards() -> Vec<(&'static str, Vec<Place>)> {
    let least = 128 << 10;
    let standard = place("standard", [23_000_000, 0, 0, 400, 5_000], 0, 0);
    let infrequent = place("infrequent", [12_500_000, 10_000_000, 0, 1_000, 10_000], 30, least);
    let glacier = place("glacier", [4_000_000, 30_000_000, 0, 10_000, 20_000], 90, least);
    let one = vec![standard.clone(), infrequent, glacier];
    let two = vec![
        place("nas", [50_000_000, 0, 0, 0, 0], 0, 0),
        Place { latency: Rate::nano(10_000_000), ..place("r2", [15_000_000, 0, 0, 360, 4_500], 0, 0) },
        place("glacier", [4_000_000, 30_000_000, 100_000_000, 10_000, 20_000], 90, least),
    ];
    let three = vec![place("local", [23_000_000, 0, 0, 0, 0], 0, 0), place("remote", [0, 0, 90_000_000, 0, 0], 0, 0)];
    let steps = [(30, 12_500_000), (90, 4_000_000)];
    let steps = steps.map(|(days, storage)| Idle { days, storage: Rate::nano(storage) }).to_vec();
    let auto = Auto { steps, watch: Rate::nano(2_500_000), from: least };
    let own = Place { name: "tiering".into(), auto: Some(auto), ..standard };
    let four = one.iter().cloned().chain([own]).collect();
    vec![("A", one), ("B", two), ("C", three), ("A+", four)]
}

/// Prices in 10^-9 of a dollar: storage, retrieval and egress by the GB, reads and writes by the request.
fn place(name: &str, [storage, retrieval, egress, reads, writes]: [u64; 5], days: u16, size: u64) -> Place {
    let rate = Rate::nano;
    let card = PriceCard {
        unit: Unit::GB,
        storage: rate(storage),
        retrieval: rate(retrieval),
        egress: rate(egress),
        reads: rate(reads * 1000),
        writes: rate(writes * 1000),
        minimum_days: days,
        minimum_size: size,
    };
    Place { name: name.to_owned(), card, latency: Rate::FREE, auto: None, asked: Asked::default() }
}
