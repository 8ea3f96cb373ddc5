//! Yesterday's trace under other rules: what `auto` would have cost, fixed rules, and the best that was possible. Pure: events come
//! in, in the order of time; sums go out.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::heat::{DAY, Heat, Reads};
use crate::learn::{Class, Cost, Groups, Learner, Place, Stay, Tariff, Thing, Used, next_look};

mod cards;
mod chart;
mod log;
mod optimum;
mod rule;
pub mod synthetic;
pub mod trace;

use optimum::Optimum;
use rule::Rule;

pub use cards::cards;
pub use chart::svg;
pub use rule::LIFECYCLE;

/// Days that a point of a chart is about.
const POINT_DAYS: i32 = 28;

/// Something that happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// The day since 1970.
    pub day: i32,
    /// Where.
    pub bucket: &'a str,
    /// To what.
    pub key: &'a str,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was written, so many bytes.
    Put(u64),
    /// It was read: requests and bytes, and how large it is as far as the trace knows.
    Read {
        /// Requests.
        count: u32,
        /// Bytes of all of them; as many as it has if none are told.
        bytes: Option<u64>,
        /// Bytes of the object.
        size: Option<u64>,
    },
    /// It was deleted.
    Delete,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where objects can be.
    pub places: Vec<Place>,
    /// Costs count from this day on; what is before it is learnt from.
    pub from: i32,
    /// Every object is decided on every day, as by a gateway; else where it was used or has been idle for so long that it may make a
    /// difference.
    pub daily: bool,
}

/// What a rule cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The rule.
    pub name: String,
    /// The provider moves objects by itself.
    pub provider: bool,
    /// By what for.
    pub cost: Cost,
    /// All of it.
    pub total: f64,
    /// By the optimum.
    pub ratio: f64,
    /// Moves.
    pub moves: u64,
    /// Costs of four weeks each.
    pub over_time: Vec<f64>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Events.
    pub events: u64,
    /// Keys.
    pub objects: u64,
    /// Days that count.
    pub days: i32,
    /// The least that was possible, everything known before. Classes that a provider moves objects to by itself are left out.
    pub optimum: f64,
    /// What learning cost.
    pub auto: Outcome,
    /// What fixed rules cost.
    pub fixed: Vec<Outcome>,
    /// What each rule cost of late on the learner's ledger.
    pub ledger: Vec<(String, f64)>,
}

impl Report {
    /// The cheapest fixed rule that leaves nothing to a provider.
    pub fn best(&self) -> Option<&Outcome> {
        let plain = self.fixed.iter().filter(|outcome| !outcome.provider);
        plain.min_by(|one, other| one.total.total_cmp(&other.total))
    }

    /// What a rule cost.
    pub fn fixed(&self, name: &str) -> Option<&Outcome> {
        self.fixed.iter().find(|outcome| outcome.name == name)
    }
}

/// A simulation under way.
#[derive(Debug)]
pub struct Simulation {
    tariffs: Vec<Tariff>,
    /// Those that an optimum is known for.
    plain: Vec<Tariff>,
    from: i32,
    daily: bool,
    learner: Learner,
    rules: Vec<Rule>,
    items: Vec<Item>,
    numbers: HashMap<u64, usize>,
    today: Today,
    due: BTreeMap<i32, Vec<usize>>,
    point: i32,
    auto: Outcome,
    fixed: Vec<Outcome>,
    optimum: f64,
    events: u64,
}

#[derive(Debug)]
struct Today {
    day: i32,
    uses: Vec<Use>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Use {
    item: usize,
    put: Option<u64>,
    count: u32,
    bytes: u64,
    deleted: bool,
}

/// An object.
#[derive(Debug)]
struct Item {
    id: u64,
    groups: Groups,
    size: u64,
    heat: Option<Heat>,
    class: Class,
    written: i32,
    /// The day of the last use.
    last: i32,
    alive: bool,
    /// The day it is to be looked at.
    due: i32,
    /// Its place among today's uses.
    use_: Option<usize>,
    /// The learner's, then the rules'.
    stays: Vec<Stay>,
    optimum: Optimum,
}

impl Item {
    fn thing(&self, day: i32) -> Thing<'_> {
        let Self { id, groups, size, class, written, .. } = *self;
        Thing { id, groups, size, heat: self.heat.as_ref(), class, written, day }
    }
}

impl Simulation {
    /// Nothing has happened yet.
    pub fn new(options: Options) -> Self {
        let Options { places, from, daily } = options;
        let tariffs: Vec<Tariff> = places.iter().map(Tariff::of).collect();
        let names: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        let rules = Rule::all(&names, &tariffs);
        let named = |rule: &Rule| {
            let provider = tariffs[rule.first].is_auto();
            Outcome { name: rule.name.clone(), provider, ..Outcome::default() }
        };
        let fixed = rules.iter().map(named).collect();
        Self {
            learner: Learner::new(places),
            plain: tariffs.iter().filter(|tariff| !tariff.is_auto()).cloned().collect(),
            tariffs,
            from,
            daily,
            rules,
            items: Vec::new(),
            numbers: HashMap::new(),
            today: Today { day: i32::MIN, uses: Vec::new() },
            due: BTreeMap::new(),
            point: i32::MIN,
            auto: Outcome { name: "auto".into(), ..Outcome::default() },
            fixed,
            optimum: 0.0,
            events: 0,
        }
    }

    /// Takes the next event. One that comes too late counts as of today.
    pub fn push(&mut self, event: &Event<'_>) {
        if event.day > self.today.day {
            self.go_to(event.day);
        }
        self.events += 1;
        let item = self.number(event);
        let at = if let Some(at) = self.items[item].use_ {
            at
        } else {
            self.today.uses.push(Use { item, ..Use::default() });
            self.today.uses.len() - 1
        };
        self.items[item].use_ = Some(at);
        let alive = self.items[item].alive;
        let known = self.items[item].size;
        let today = &mut self.today.uses[at];
        match event.what {
            What::Put(size) => (today.put, today.deleted) = (Some(size), false),
            What::Read { count, bytes, size } => {
                let size = today.put.or(size).unwrap_or(if known > 0 { known } else { bytes.unwrap_or(1) }).max(1);
                if !alive && today.put.is_none() {
                    today.put = Some(size);
                }
                today.count = today.count.saturating_add(count);
                today.bytes = today.bytes.saturating_add(bytes.unwrap_or(size.saturating_mul(u64::from(count))));
            }
            What::Delete => today.deleted = true,
        }
    }

    fn number(&mut self, event: &Event<'_>) -> usize {
        let id = Groups::key(event.bucket, event.key);
        let (items, day) = (&mut self.items, event.day);
        *self.numbers.entry(id).or_insert_with(|| {
            items.push(Item {
                id,
                groups: Groups::of(event.bucket, event.key),
                size: 0,
                heat: None,
                class: Class::default(),
                written: day,
                last: day,
                alive: false,
                due: i32::MAX,
                use_: None,
                stays: Vec::new(),
                optimum: Optimum::held(&[], day),
            });
            items.len() - 1
        })
    }

    /// Ends days until `day` begins.
    fn go_to(&mut self, day: i32) {
        if self.today.day == i32::MIN {
            (self.today.day, self.point) = (day, day.max(self.from) + POINT_DAYS);
            self.from = self.from.max(day);
            return;
        }
        while self.today.day < day {
            self.end_day();
            let next = self.due.keys().next().copied().unwrap_or(i32::MAX);
            let census = self.learner.next_census().saturating_add(1);
            let marks = [census, self.point, if self.today.day < self.from { self.from } else { i32::MAX }];
            let next = if self.daily { self.today.day + 1 } else { next };
            let next = marks.into_iter().fold(next, i32::min).min(day);
            self.today.day = next.max(self.today.day + 1);
            self.begin_day();
        }
    }

    /// Prices change, from `day` on; the places are the same.
    pub fn reprice(&mut self, day: i32, places: Vec<Place>) {
        self.go_to(day);
        self.settle(day - 1);
        for item in self.items.iter_mut().filter(|item| item.alive) {
            item.optimum.idle(&self.plain, item.size, day - 1);
        }
        self.tariffs = places.iter().map(Tariff::of).collect();
        self.plain = self.tariffs.iter().filter(|tariff| !tariff.is_auto()).cloned().collect();
        self.learner.renew(Some(places), None);
    }

    /// Places that take objects from now on.
    pub fn open(&mut self, open: Vec<bool>) {
        self.learner.renew(None, Some(open));
    }

    /// How many objects are at a place, by what was learnt.
    pub fn held(&self, place: usize) -> usize {
        self.items.iter().filter(|item| item.alive && item.stays[0].place == place).count()
    }

    fn begin_day(&mut self) {
        let day = self.today.day;
        if day == self.from {
            self.settle(day - 1);
            for outcome in self.fixed.iter_mut().chain([&mut self.auto]) {
                (outcome.cost, outcome.moves) = (Cost::default(), 0);
                outcome.over_time.clear();
            }
            self.optimum = 0.0;
            for item in &mut self.items {
                item.optimum = Optimum::held(&self.plain, day);
            }
        }
        if day >= self.point {
            self.point = day + POINT_DAYS;
            self.settle(day - 1);
            self.mark();
        }
        self.count(day - 1);
    }

    /// All objects are counted, as of the end of a day, where that is due.
    fn count(&mut self, day: i32) {
        if day < self.learner.next_census() {
            return;
        }
        self.learner.begin_census();
        for item in self.items.iter().filter(|item| item.alive) {
            self.learner.count(&item.thing(day));
        }
        self.learner.end_census(day);
    }

    /// Points of the charts.
    fn mark(&mut self) {
        for outcome in self.fixed.iter_mut().chain([&mut self.auto]) {
            let before: f64 = outcome.over_time.iter().sum();
            outcome.over_time.push(outcome.cost.total() - before);
        }
    }

    /// Everything is paid for until the end of `day`.
    fn settle(&mut self, day: i32) {
        for item in self.items.iter_mut().filter(|item| item.alive) {
            let used = item.last;
            self.auto.cost += item.stays[0].hold(&self.tariffs, item.size, used, day);
            for (at, rule) in self.rules.iter().enumerate() {
                let (cost, moves) = rule.idle(&self.tariffs, &mut item.stays[at + 1], item.size, used, day);
                self.fixed[at].cost += cost;
                self.fixed[at].moves += moves;
            }
        }
    }

    fn end_day(&mut self) {
        let day = self.today.day;
        let uses = std::mem::take(&mut self.today.uses);
        let mut looks: Vec<(usize, Option<u64>)> = Vec::new();
        for use_ in &uses {
            self.use_(day, use_);
            let item = &mut self.items[use_.item];
            (item.use_, item.due) = (None, i32::MAX);
            let unread = (use_.count > 0).then(|| item.size.saturating_sub(use_.bytes));
            if item.alive {
                looks.push((use_.item, unread));
            }
        }
        while let Some(due) = self.due.first_entry().filter(|due| *due.key() <= day) {
            let (day, items) = due.remove_entry();
            for item in items {
                // What was used meanwhile is due on another day.
                if self.items[item].due == day {
                    self.items[item].due = i32::MAX;
                    looks.push((item, None));
                }
            }
        }
        for (item, unread) in looks {
            self.look(day, item, unread);
        }
        self.learner.end_day(day);
        if self.daily {
            self.count(day);
            self.decide_all(day);
        }
    }

    /// Decides on all objects, once all was learnt.
    fn decide_all(&mut self, day: i32) {
        for item in self.items.iter_mut().filter(|item| item.alive) {
            let mut stay = item.stays[0];
            let thing = item.thing(day);
            let unread =
                (thing.idle() == 0 && item.heat.is_some_and(|heat| heat.day() == i64::from(day))).then_some(item.size);
            let to = self.learner.explain(&thing, &stay, unread).place;
            if to != stay.place {
                self.auto.cost += stay.hold(&self.tariffs, item.size, item.last, day);
                self.auto.cost += stay.go(&self.tariffs, item.size, to, day, item.size);
                self.auto.moves += 1;
                item.stays[0] = stay;
            }
        }
    }

    fn look(&mut self, day: i32, at: usize, unread: Option<u64>) {
        let item = &mut self.items[at];
        if !item.alive {
            return;
        }
        let used = item.thing(day).used();
        let last = item.last;
        let mut stay = item.stays[0];
        self.auto.cost += stay.hold(&self.tariffs, item.size, last, day);
        let to = if self.daily {
            self.learner.look(&item.thing(day), unread);
            stay.place
        } else {
            self.learner.decide(&item.thing(day), &stay, unread)
        };
        if to != stay.place {
            self.auto.cost += stay.go(&self.tariffs, item.size, to, day, unread.unwrap_or(item.size));
            self.auto.moves += 1;
        }
        item.stays[0] = stay;
        item.due = used + next_look(day - used);
        self.due.entry(item.due).or_default().push(at);
    }

    fn use_(&mut self, day: i32, use_: &Use) {
        let new = !self.items[use_.item].alive;
        if new && use_.put.is_none() {
            return;
        }
        if new {
            self.write(day, use_.item, use_.put.unwrap_or(1));
        }
        self.read(day, use_, new);
        self.read_optimum(day, use_, new);
        if let (false, Some(size)) = (new, use_.put) {
            self.learner.ended(&self.items[use_.item].thing(day));
            self.end(day, use_.item);
            self.write(day, use_.item, size);
            if day >= self.from {
                self.items[use_.item].optimum.rewrite(&self.plain, size.max(1));
            }
        }
        self.end_optimum(day, use_);
        if use_.deleted {
            let item = &self.items[use_.item];
            if item.written < day {
                self.learner.died(&item.thing(day));
            } else {
                self.learner.ended(&item.thing(day));
            }
            self.end(day, use_.item);
            self.items[use_.item].alive = false;
        }
    }

    /// New bytes, wherever each rule wants them.
    fn write(&mut self, day: i32, at: usize, size: u64) {
        let item = &mut self.items[at];
        (item.size, item.written, item.last, item.alive) = (size.max(1), day, day, true);
        let first = self.learner.born(&item.thing(day));
        let places = [first].into_iter().chain(self.rules.iter().map(|rule| rule.first));
        let stays: Vec<(Stay, Cost)> = places.map(|place| Stay::begin(&self.tariffs, place, day)).collect();
        self.auto.cost += stays[0].1;
        self.fixed.iter_mut().zip(&stays[1..]).for_each(|(outcome, (_, cost))| outcome.cost += *cost);
        item.stays = stays.into_iter().map(|(stay, _)| stay).collect();
    }

    /// The bytes go.
    fn end(&mut self, day: i32, at: usize) {
        let item = &self.items[at];
        self.auto.cost += item.stays[0].end(&self.tariffs, item.size, day);
        for (outcome, stay) in self.fixed.iter_mut().zip(&item.stays[1..]) {
            outcome.cost += stay.end(&self.tariffs, item.size, day);
        }
    }

    fn read(&mut self, day: i32, use_: &Use, new: bool) {
        let item = &mut self.items[use_.item];
        let (count, bytes) = (f64::from(use_.count), use_.bytes as f64);
        let (size, used) = (item.size, item.last);
        let written = !new && use_.put.is_some();
        let seen = Used { count, volume: bytes / size as f64, written };
        self.learner.read(&item.thing(day), seen);
        self.auto.cost += item.stays[0].hold(&self.tariffs, size, used, day - 1);
        self.auto.cost += item.stays[0].read(&self.tariffs, count, bytes);
        let unread = size.saturating_sub(use_.bytes);
        for ((rule, outcome), stay) in self.rules.iter().zip(&mut self.fixed).zip(&mut item.stays[1..]) {
            let (cost, moves) = rule.idle(&self.tariffs, stay, size, used, day - 1);
            outcome.cost += cost;
            outcome.moves += moves;
            outcome.cost += stay.read(&self.tariffs, count, bytes);
            if use_.count > 0 && use_.put.is_none() && !use_.deleted {
                outcome.cost += stay.hold(&self.tariffs, size, used, day);
                let (cost, moves) = rule.read(&self.tariffs, stay, size, day, unread);
                outcome.cost += cost;
                outcome.moves += moves;
            }
        }
        if use_.count > 0 {
            item.last = day;
        }
        let before = (item.heat, item.class);
        if use_.count > 0 {
            let shares = (u128::from(use_.bytes) * 255).div_ceil(u128::from(size)) as u64;
            let reads = Reads { count: use_.count, shares, last: i64::from(day) * DAY };
            item.heat = Some(before.0.map_or_else(|| Heat::of(reads), |heat| heat.after(reads)));
        }
        if use_.count > 0 {
            self.learner.warm(item.id, day, seen);
        }
        item.class = self.learner.class(item.id, item.heat.as_ref());
        if new {
            self.learner.first_day(seen);
        } else {
            let after = item.thing(day);
            let before = Thing { heat: before.0.as_ref(), class: before.1, ..after };
            self.learner.used(&before, &after, seen);
        }
    }

    fn read_optimum(&mut self, day: i32, use_: &Use, new: bool) {
        let (item, tariffs) = (&mut self.items[use_.item], &self.plain);
        if day < self.from {
            return;
        }
        if new {
            item.optimum = Optimum::begin(tariffs, item.size, day);
        } else {
            item.optimum.idle(tariffs, item.size, day - 1);
        }
        item.optimum.read(tariffs, f64::from(use_.count), use_.bytes as f64);
    }

    fn end_optimum(&mut self, day: i32, use_: &Use) {
        let (item, tariffs) = (&mut self.items[use_.item], &self.plain);
        if day < self.from {
            return;
        }
        if use_.deleted {
            self.optimum += item.optimum.ended();
        } else {
            item.optimum.end_day(tariffs, item.size, item.size.saturating_sub(use_.bytes));
        }
    }

    /// The answer, as of the end of the last day.
    pub fn finish(mut self) -> Report {
        self.end_day();
        let day = self.today.day;
        self.settle(day);
        self.mark();
        for item in self.items.iter_mut().filter(|item| item.alive) {
            item.optimum.idle(&self.plain, item.size, day);
            self.optimum += item.optimum.kept(&self.plain, item.size);
        }
        let optimum = self.optimum;
        for outcome in self.fixed.iter_mut().chain([&mut self.auto]) {
            outcome.total = outcome.cost.total();
            outcome.ratio = outcome.total / optimum;
        }
        let days = day - self.from + 1;
        let (events, objects) = (self.events, self.items.len() as u64);
        let ledger = self.learner.ledger();
        Report { events, objects, days, optimum, auto: self.auto, fixed: self.fixed, ledger }
    }
}

#[cfg(test)]
mod tests;
