use std::collections::BTreeMap;

use super::*;
use crate::heat::Reads;
use crate::simulate::{Event, Options, Simulation, What, cards, synthetic};

/// An index of objects, as far as learning sees it, that is looked at once a day.
struct Index {
    learner: Learner,
    tariffs: Vec<Tariff>,
    objects: BTreeMap<String, Object>,
    day: i32,
    cost: Cost,
    moves: u64,
}

struct Object {
    size: u64,
    written: i32,
    heat: Option<Heat>,
    used: i32,
    stay: Stay,
}

impl Index {
    fn new(places: Vec<Place>, day: i32) -> Self {
        let tariffs = places.iter().map(Tariff::of).collect();
        let (learner, objects) = (Learner::new(places), BTreeMap::new());
        Self { learner, tariffs, objects, day, cost: Cost::default(), moves: 0 }
    }

    fn push(&mut self, event: &Event<'_>) {
        while self.day < event.day {
            self.end_day();
        }
        let day = self.day;
        match event.what {
            What::Put(size) => {
                self.end(event.key);
                let class = self.learner.class(0, None);
                let (id, groups) = (Groups::key("b", event.key), Groups::of("b", event.key));
                let thing = Thing { id, groups, size, heat: None, class, written: day, day };
                let place = self.learner.in_order(&self.learner.explain_new(&thing), |_| true)[0];
                let (stay, cost) = Stay::begin(&self.tariffs, place, day);
                self.cost += cost;
                let heat = self.objects.get(event.key).and_then(|before| before.heat);
                self.objects.insert(event.key.to_owned(), Object { size, written: day, heat, used: day, stay });
            }
            What::Read { count, bytes, .. } => {
                let object = self.objects.get_mut(event.key).unwrap();
                let bytes = bytes.unwrap_or(object.size * u64::from(count));
                self.cost += object.stay.hold(&self.tariffs, object.size, object.used, day - 1);
                self.cost += object.stay.read(&self.tariffs, f64::from(count), bytes as f64);
                let shares = u64::from(count) * (bytes * 255 / object.size / u64::from(count)).min(255);
                let reads = Reads { count, shares, last: i64::from(day) * DAY };
                object.heat = Some(object.heat.map_or_else(|| Heat::of(reads), |heat| heat.after(reads)));
                object.used = day;
            }
            What::Delete => {
                self.end(event.key);
                self.objects.remove(event.key);
            }
        }
    }

    fn end(&mut self, key: &str) {
        let Some(object) = self.objects.get_mut(key) else { return };
        self.cost += object.stay.hold(&self.tariffs, object.size, object.used, self.day - 1);
        self.cost += object.stay.end(&self.tariffs, object.size, self.day);
    }

    /// What a gateway does once a day is over.
    fn end_day(&mut self) {
        let (day, mut lesson) = (self.day, Lesson::default());
        for (key, Object { size, heat, written, stay, .. }) in &self.objects {
            let (id, groups) = (Groups::key("b", key), Groups::of("b", key));
            let (size, heat, written, place) = (*size, *heat, *written, Some(stay.place));
            lesson.see(Seen { id, groups, size, heat, written, place });
        }
        self.learner.learn(&lesson, day);
        // As gateways do: what is written down and read back decides alike.
        if day % 16 == 0 {
            let (bytes, places) = (self.learner.to_bytes().unwrap(), self.learner.policy.places.clone());
            self.learner = Learner::from_bytes(&bytes, places).unwrap().unwrap();
        }
        for (key, object) in &mut self.objects {
            let (id, groups) = (Groups::key("b", key), Groups::of("b", key));
            let class = self.learner.class(id, object.heat.as_ref());
            let Object { size, written, .. } = *object;
            let thing = Thing { id, groups, size, heat: object.heat.as_ref(), class, written, day };
            let (order, _) = self.learner.choose(&thing, Some(&object.stay), |_| true);
            if order[0] != object.stay.place {
                self.cost += object.stay.hold(&self.tariffs, size, object.used, day);
                self.cost += object.stay.go(&self.tariffs, size, order[0], day, size);
                self.moves += 1;
            }
        }
        self.day += 1;
    }

    fn finish(mut self) -> f64 {
        let day = self.day;
        for object in self.objects.values_mut() {
            self.cost += object.stay.hold(&self.tariffs, object.size, object.used, day);
        }
        self.cost.total()
    }
}

fn as_gateway(places: Vec<Place>) -> Vec<Place> {
    let asked = Asked { requests: 1, again: true, read_back: true };
    places.into_iter().map(|place| Place { asked, ..place }).collect()
}

/// A simulator sees every read as it comes; an index is looked at once a day, and has heat. Both decide alike, where reads are whole: how much
/// of an object the reads of a day took, heat knows but roughly.
#[test]
fn a_lesson_a_day_costs_what_the_simulator_says() {
    for (name, places) in cards().into_iter().filter(|(name, _)| *name != "A+") {
        let places = as_gateway(places);
        let mut simulation = Simulation::new(Options { places: places.clone(), from: i32::MIN, daily: true });
        let mut index = Index::new(places, 19_400);
        synthetic::generate(3, &mut |event| {
            let mut event = *event;
            if let What::Read { bytes, .. } = &mut event.what {
                *bytes = None;
            }
            if event.day < 19_400 + 240 {
                simulation.push(&event);
                index.push(&event);
            }
        });
        let report = simulation.finish();
        let moves = index.moves;
        let ratio = index.finish() / report.auto.total;
        assert!((0.995..1.005).contains(&ratio), "{name}: {ratio}, {moves} moves, {} simulated", report.auto.moves);
    }
}

/// What the ledger says was paid is what was paid.
#[test]
fn what_was_paid_is_on_the_ledger() {
    let places = as_gateway(cards().remove(0).1);
    let mut index = Index::new(places, 19_400);
    synthetic::generate(5, &mut |event| {
        if event.day < 19_400 + 200 {
            index.push(event);
        }
    });
    index.end_day();
    let months = index.learner.months();
    assert_eq!(months.len(), 7, "{months:?}");
    let on_ledger: f64 = months.iter().map(|month| month.paid).sum();
    index.day -= 1;
    let ratio = on_ledger / index.finish();
    assert!((0.93..1.02).contains(&ratio), "what was not looked at for some days is paid for later: {ratio}");
}

/// Of many objects a sample is learnt from; it stands for all.
#[test]
fn a_sample_stands_for_all() {
    let mut lesson = Lesson::default();
    for number in 0..300_000 {
        let key = format!("k/{number}");
        let (id, groups) = (Groups::key("b", &key), Groups::of("b", &key));
        lesson.see(Seen { id, groups, size: 1 << 20, heat: None, written: 100, place: Some(0) });
    }
    let mut learner = Learner::new(cards().remove(0).1);
    learner.learn(&lesson, 200);
    learner.learn(&lesson, 230);
    assert_eq!(learner.about(), (300_000, 300_000 << 20));
    let standard = 0.023 / 30.0 * 30.0 * 300_000.0 * f64::from(1 << 20) / 1e9;
    let always: f64 = learner
        .months()
        .iter()
        .flat_map(|month| &month.rules)
        .filter(|(name, _)| name == "always standard")
        .map(|(_, cost)| cost)
        .sum();
    let ratio = always / standard;
    assert!((0.8..1.2).contains(&ratio), "{ratio}");
    let bytes = learner.to_bytes().unwrap().len();
    assert!(bytes < 16 << 20, "{bytes} bytes of what was learnt");
}

/// A month in which a gateway was off is not a month in which nothing was read.
#[test]
fn days_that_nobody_looked_at_are_one_week_at_most() {
    let mut learner = Learner::new(cards().remove(0).1);
    let (id, groups) = (Groups::key("b", "k"), Groups::of("b", "k"));
    let seen = |heat| Seen { id, groups, size: 1 << 20, heat, written: 100, place: Some(0) };
    let mut lesson = Lesson::default();
    lesson.see(seen(None));
    assert!(learner.learn(&lesson, 200));
    assert!(!learner.learn(&lesson, 200), "a day is learnt from once");
    let mut lesson = Lesson::default();
    lesson.see(seen(Some(Heat::of(Reads { count: 3, shares: 765, last: 230 * DAY }))));
    assert!(learner.learn(&lesson, 231));
    assert_eq!(learner.learnt_until(), Some(231));
}

/// A clock that was ahead for a day is not learnt from for ever.
#[test]
fn a_clock_that_was_ahead_is_forgotten() {
    let mut learner = Learner::new(cards().remove(0).1);
    let mut lesson = Lesson::default();
    let (id, groups) = (Groups::key("b", "k"), Groups::of("b", "k"));
    lesson.see(Seen { id, groups, size: 1 << 20, heat: None, written: 100, place: Some(0) });
    learner.learn(&lesson, 200);
    learner.learn(&lesson, 40_000);
    learner.learn(&lesson, 201);
    assert_eq!(learner.learnt_until(), Some(201));
    learner.learn(&lesson, 202);
    assert_eq!(learner.learnt_until(), Some(202));
}

/// What is there, and is chosen for by another objective, was not deleted: also where it is much more than what is left.
#[test]
fn what_somebody_else_chooses_for_was_not_deleted() {
    let mut learner = Learner::new(cards().remove(0).1);
    let seen = |number: u64| {
        let key = format!("k/{number}");
        let (id, groups) = (Groups::key("b", &key), Groups::of("b", &key));
        Seen { id, groups, size: 1 << 20, heat: None, written: 100, place: Some(0) }
    };
    let mut lesson = Lesson::default();
    (0..300_000).for_each(|number| lesson.see(seen(number)));
    learner.learn(&lesson, 200);
    let mut lesson = Lesson::default();
    (0..300_000).for_each(|number| if number < 100 { lesson.see(seen(number)) } else { lesson.leave(seen(number).id) });
    let before = learner.chain.clone();
    learner.learn(&lesson, 201);
    assert_eq!(learner.chain.chances().death.to_bits(), before.chances().death.to_bits(), "none died");
}
