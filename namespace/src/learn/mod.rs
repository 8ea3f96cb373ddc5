//! Placement that learns: where an object costs least, from what it was read and from what became of others like it. Pure: what is
//! seen comes in, a place goes out with the numbers that decided. The same past gives the same answer.
//!
//! Nothing here moves or deletes. What is kept is bounded whatever the number of objects: chances by state, groups, a sample.

use serde::{Deserialize, Serialize};

use crate::heat::{DAY, Heat};

mod book;
mod chain;
mod diary;
mod expert;
mod forecast;
mod group;
mod ledger;
mod policy;
mod rhythm;
mod state;
mod stay;
mod tariff;
mod value;

pub use chain::Used;
pub use diary::{Lesson, Seen};
pub use expert::Expert;
pub use group::Groups;
pub use policy::Policy;
pub use state::next_look;
pub use stay::{Cost, Stay};
pub use tariff::{Asked, Auto, Idle, Place, Tariff};

use book::Book;
use chain::Chain;
use diary::Diary;
use forecast::Forecast;
use group::Pace;
use ledger::Ledger;
use rhythm::{Counted, Rhythm};

/// Of what is stored; another is not read.
const VERSION: u32 = 1;

/// An object, as of the end of a day.
#[derive(Debug, Clone, Copy)]
pub struct Thing<'a> {
    /// Another for each key: a hash of it does.
    pub id: u64,
    /// Its groups.
    pub groups: Groups,
    /// Bytes.
    pub size: u64,
    /// What is known of its reads.
    pub heat: Option<&'a Heat>,
    /// What it was like when it was last read.
    pub class: Class,
    /// The day that its bytes were written on.
    pub written: i32,
    /// Today.
    pub day: i32,
}

/// What an object was like when it was last read: one of few kinds. See [`Learner::class`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Class(usize);

/// A place, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Where it should be.
    pub place: usize,
    /// By which rule.
    pub expert: Expert,
    /// What is to be paid from now on, by place, moves and fees included.
    pub costs: Vec<f64>,
    /// The chance that it is used tomorrow.
    pub chance: f64,
    /// How many times as often as others in its state it is used,
    pub often: f64,
    /// and how many times as much a use reads.
    pub much: f64,
    /// Uses of objects like it that were seen: how much is known of it.
    pub uses: f64,
}

/// What was learnt.
#[derive(Debug)]
pub struct Learner {
    chain: Chain,
    book: Book,
    pace: Pace,
    ledger: Ledger,
    diary: Diary,
    forecast: Forecast,
    policy: Policy,
    rhythm: Rhythm,
}

/// [`Learner`], as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    chain: Chain,
    book: Book,
    pace: Pace,
    diary: Diary,
    forecast: Forecast,
    rhythm: Rhythm,
    /// What is decided by, until it is known to be otherwise.
    gone_by: (chain::Chances, Pace),
    /// The places that the ledger is about.
    places: Vec<String>,
    ledger: Ledger,
}

/// What a rule cost, or would have, by month.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Month {
    /// `2026-11`.
    pub month: String,
    /// What was paid, for what there is at places that are learnt about.
    pub paid: f64,
    /// What each rule would have cost.
    pub rules: Vec<(String, f64)>,
}

impl Thing<'_> {
    /// The day that it was used last: read or written.
    pub fn used(&self) -> i32 {
        let read = self.heat.map_or(i64::MIN, |heat| heat.last_read().div_euclid(DAY));
        (read.max(i64::from(self.written)) as i32).min(self.day)
    }

    /// Whole days since then.
    pub fn idle(&self) -> i32 {
        self.day - self.used()
    }
}

impl Learner {
    /// Knows nothing yet.
    pub fn new(places: Vec<Place>) -> Self {
        let (book, diary, forecast) = (Book::default(), Diary::default(), Forecast::default());
        let (chain, pace) = (Chain::default(), Pace::default());
        let ledger = Ledger::new(places.len());
        let open = vec![true; places.len()];
        let policy = Policy::new(places, open, chain.chances(), pace.clone(), None);
        Self { chain, book, pace, ledger, diary, forecast, policy, rhythm: Rhythm::default() }
    }

    /// What deciding goes by until the next census.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// So much was read of an object today, which is heat; before its class is asked for.
    pub fn warm(&mut self, id: u64, day: i32, used: Used) {
        self.book.read(id, day, used.bounded().volume);
    }

    /// What an object of this heat is like.
    pub fn class(&self, id: u64, heat: Option<&Heat>) -> Class {
        Class(state::class(heat, self.book.volume(id)))
    }

    /// Where a new object is to be written; it is noted.
    pub fn born(&mut self, thing: &Thing<'_>) -> usize {
        let place = self.ledger.followed(thing.groups).first(&self.policy, thing);
        self.ledger.born(&self.policy, thing, place);
        place
    }

    /// A new object was read so on its first day.
    pub fn first_day(&mut self, used: Used) {
        self.chain.born(used.bounded());
    }

    /// An object was read so today, as it is known before that; the ledger pays.
    pub fn read(&mut self, before: &Thing<'_>, used: Used) {
        let last = Thing { day: before.day - 1, ..*before }.used();
        self.ledger.read(&self.policy, before, last, used.count, used.volume * before.size as f64);
    }

    /// What was read or written today is told as a use; `after` is the object with today's heat.
    pub fn used(&mut self, before: &Thing<'_>, after: &Thing<'_>, used: Used) {
        let used = used.bounded();
        let idle = before.idle();
        if idle <= 0 {
            return;
        }
        self.rhythm.used();
        let class = before.class.0;
        let next = after.class.0;
        let volume = self.policy.chances.used[chain::kind(idle, class)].volume;
        self.pace.ended(before, Some((used, volume)), self.policy.expected(before));
        self.chain.used(class, idle, used, next);
    }

    /// Its bytes are given up today: it is deleted, or written anew.
    pub fn ended(&mut self, thing: &Thing<'_>) {
        let last = Thing { day: thing.day - 1, ..*thing }.used();
        self.ledger.died(&self.policy, thing, last);
    }

    /// It is deleted today.
    pub fn died(&mut self, thing: &Thing<'_>) {
        let idle = thing.idle();
        let class = thing.class.0;
        self.pace.ended(thing, None, self.policy.expected(thing));
        self.chain.died(class, idle);
        self.book.forget(thing.id);
        self.ended(thing);
    }

    /// The ledger's rules decide for themselves where an object should be after today.
    pub fn look(&mut self, thing: &Thing<'_>, unread: Option<u64>) {
        self.ledger.look(&self.policy, thing, unread);
    }

    /// Decides where an object should be after today, and lets the ledger's rules decide for themselves. `unread` is how many of its
    /// bytes were not read today; none if it was not read.
    pub fn decide(&mut self, thing: &Thing<'_>, stay: &Stay, unread: Option<u64>) -> usize {
        self.look(thing, unread);
        let place = self.ledger.followed(thing.groups).wants(&self.policy, thing, stay, unread);
        if place != stay.place {
            self.ledger.moved(&self.policy, thing, place, unread);
        }
        place
    }

    /// Where an object should be that is at a place, or at none that is learnt about, and may be at some of them: the best first; and
    /// why.
    pub fn choose(
        &self,
        thing: &Thing<'_>,
        stay: Option<&Stay>,
        may: impl Fn(usize) -> bool,
    ) -> (Vec<usize>, Decision) {
        let read = thing.heat.is_some_and(|heat| heat.day() == i64::from(thing.day));
        let unread = read.then_some(thing.size);
        let decision = match stay {
            Some(stay) => self.explain(thing, stay, unread),
            None => self.explain_new(thing),
        };
        (self.in_order(&decision, may), decision)
    }

    /// The same of one that is about to be written; none where what that goes by is not solved yet, which takes a while.
    pub fn first(&self, thing: &Thing<'_>, may: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
        let solved = self.policy.is_solved(thing, true) && self.policy.is_solved(thing, false);
        solved.then(|| self.in_order(&self.explain_new(thing), may))
    }

    /// Places that it may be at: the one that was chosen, and then the cheapest first.
    fn in_order(&self, decision: &Decision, may: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.policy.places.len()).filter(|place| may(*place)).collect();
        let costs = &decision.costs;
        order.sort_by(|one, other| {
            let chosen = |place: &usize| *place != decision.place;
            chosen(one).cmp(&chosen(other)).then(costs[*one].total_cmp(&costs[*other]))
        });
        order
    }

    fn explain_new(&self, thing: &Thing<'_>) -> Decision {
        let expert = self.ledger.followed(thing.groups);
        let own = !matches!(expert, Expert::Chain { own: false, .. });
        let costs = self.policy.costs_of_new(thing, own);
        self.decision(thing, expert, expert.first(&self.policy, thing), costs)
    }

    fn decision(&self, thing: &Thing<'_>, expert: Expert, place: usize, costs: Vec<f64>) -> Decision {
        let times = self.policy.times(thing);
        let state = chain::at(state::bin(thing.idle()), thing.class.0);
        let chance = (self.policy.chances.use_[state] * times.often).min(1.0);
        let (often, much, uses) = (times.often, times.much, self.policy.uses_known(thing));
        Decision { place, expert, costs, chance, often, much, uses }
    }

    /// The name of a rule.
    pub fn rule(&self, expert: Expert) -> String {
        expert.name(&self.policy)
    }

    /// Where an object that is at a place should be if it were used more or less often: what differs from where it should be now.
    pub fn turns(&self, thing: &Thing<'_>, stay: &Stay) -> Vec<(f64, usize)> {
        let now = self.policy.cheapest_if(thing, stay, 1.0);
        let turn =
            |times: &f64| Some((*times, self.policy.cheapest_if(thing, stay, *times))).filter(|(_, to)| *to != now);
        let (more, less) = ([2.0, 4.0, 8.0, 16.0], [0.5, 0.25, 0.125, 0.0625]);
        more.iter().find_map(turn).into_iter().chain(less.iter().find_map(turn)).collect()
    }

    /// Why.
    pub fn explain(&self, thing: &Thing<'_>, stay: &Stay, unread: Option<u64>) -> Decision {
        let expert = self.ledger.followed(thing.groups);
        let place = expert.wants(&self.policy, thing, stay, unread);
        let costs = self.policy.costs(thing, stay, unread.unwrap_or(thing.size), 1.0, true);
        self.decision(thing, expert, place, costs)
    }

    /// All objects are counted, so that those that are not read are evidence: begins, then [`Learner::count`] for each, then ends.
    pub fn begin_census(&mut self) {
        self.chain.begin_census();
        self.pace.begin_census();
    }

    /// One of them.
    pub fn count(&mut self, thing: &Thing<'_>) {
        let (class, idle) = (thing.class.0, thing.idle());
        self.chain.count(class, idle);
        self.pace.count(thing, self.policy.expected(thing));
    }

    /// From now on decisions go by what was seen until now.
    pub fn end_census(&mut self, day: i32) {
        let Counted { kept, solve } = self.rhythm.counted(day);
        self.chain.forget(kept);
        self.pace.forget(kept);
        self.ledger.forget(kept);
        if solve {
            self.go_by(None, None, (self.chain.chances(), self.pace.clone()));
        } else {
            self.policy.keep_pace(self.pace.clone());
        }
    }

    /// The day after whose end all objects are to be counted again.
    pub fn next_census(&self) -> i32 {
        self.rhythm.next()
    }

    /// A day is over.
    pub fn end_day(&mut self, day: i32) {
        self.rhythm.end_day(day);
    }

    /// Prices changed, or a place takes nothing any more.
    pub fn renew(&mut self, places: Option<Vec<Place>>, open: Option<Vec<bool>>) {
        self.go_by(places, open, self.policy.gone_by());
    }

    fn go_by(&mut self, places: Option<Vec<Place>>, open: Option<Vec<bool>>, (chances, pace): (chain::Chances, Pace)) {
        let places = places.unwrap_or_else(|| self.policy.places.clone());
        let open = open.unwrap_or_else(|| self.policy.open.clone());
        let placeholder = Policy::new(Vec::new(), Vec::new(), chances.clone(), Pace::default(), None);
        let before = std::mem::replace(&mut self.policy, placeholder);
        self.policy = Policy::new(places, open, chances, pace, Some(before));
    }

    /// What each rule cost, of late, on the ledger.
    pub fn ledger(&self) -> Vec<(String, f64)> {
        let named = |(expert, cost): (Expert, f64)| (expert.name(&self.policy), cost);
        self.ledger.costs().into_iter().map(named).collect()
    }

    /// Solves what deciding on objects of the sample goes by, so that nobody waits for that.
    pub fn solve(&self) {
        let day = self.diary.day.unwrap_or_default();
        let of_size = |size| Thing {
            id: 0,
            groups: Groups::default(),
            size,
            heat: None,
            class: Class::default(),
            written: day,
            day,
        };
        // New ones like it have no past of their own.
        let like = |thing: Thing<'_>| Thing { id: !thing.id, written: day, ..of_size(thing.size) };
        let groups = self.sample().map(|thing| Thing { groups: thing.groups, ..like(thing) });
        let sizes = (10..40).step_by(2).map(|bits| of_size(1 << bits));
        for thing in groups.chain(sizes).chain(self.sample()) {
            self.policy.costs_of_new(&thing, true);
            self.policy.costs_of_new(&thing, false);
        }
    }

    /// What was paid by month, as far as it is on the ledger, and what each rule would have cost.
    pub fn months(&self) -> Vec<Month> {
        let months = self.ledger.months().map(|(month, costs)| {
            let (mut paid, mut rules) = (0.0, Vec::new());
            for (expert, cost) in costs {
                match expert {
                    Some(expert) => rules.push((expert.name(&self.policy), cost)),
                    None => paid = cost,
                }
            }
            Month { month: format!("{:04}-{:02}", month.div_euclid(12), month.rem_euclid(12) + 1), paid, rules }
        });
        months.collect()
    }

    /// By how many times reading costs more than was expected, where that is too much to go by what was learnt.
    pub fn is_wrong(&self) -> Option<f64> {
        self.forecast.too_much()
    }

    /// All that is to be kept.
    pub fn to_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        let (chain, book) = (self.chain.clone(), self.book.clone());
        let (pace, ledger) = (self.pace.clone(), self.ledger.clone());
        let (diary, forecast) = (self.diary.clone(), self.forecast);
        let places = names(&self.policy.places);
        let (rhythm, gone_by) = (self.rhythm, self.policy.gone_by());
        postcard::to_stdvec(&(VERSION, Stored { chain, book, pace, diary, forecast, rhythm, gone_by, places, ledger }))
    }

    /// Reads what [`Learner::to_bytes`] wrote; what is of another version is left alone. What was about other places is learnt
    /// anew: what rules cost, but not how objects are used.
    pub fn from_bytes(bytes: &[u8], places: Vec<Place>) -> Result<Option<Self>, postcard::Error> {
        let (version, rest): (u32, _) = postcard::take_from_bytes(bytes)?;
        if version != VERSION {
            return Ok(None);
        }
        let Stored { chain, book, pace, diary, forecast, rhythm, gone_by, places: before, ledger } =
            postcard::from_bytes(rest)?;
        let ledger = if before == names(&places) { ledger } else { Ledger::new(places.len()) };
        let open = vec![true; places.len()];
        let policy = Policy::new(places, open, gone_by.0, gone_by.1, None);
        Ok(Some(Self { chain, book, pace, ledger, diary, forecast, policy, rhythm }))
    }
}

fn names(places: &[Place]) -> Vec<String> {
    places.iter().map(|place| place.name.clone()).collect()
}

#[cfg(test)]
mod tests;
