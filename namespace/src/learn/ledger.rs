//! The shadow ledger: what each rule would have cost, on a sample of objects, by group. The cheapest so far is followed.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::Thing;
use super::expert::Expert;
use super::group::{DEPTH, Groups};
use super::policy::Policy;
use super::stay::{Cost, Stay};

/// Objects on the ledger; others are like them.
const SAMPLE: usize = 1 << 16;
/// Groups with a ledger of their own.
const MAX_GROUPS: usize = 1024;
/// A group is like the one that it lies in until about so many uses were seen.
const TRUST: f64 = 100.0;
/// What is followed is given up only for what costs a thirtieth less.
const MARGIN: f64 = 0.97;

/// What rules cost in a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Account {
    costs: Vec<f64>,
    uses: f64,
}

/// All of it. Beside what each rule would have done it has what was done: last among costs and stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ledger {
    experts: Vec<Expert>,
    accounts: BTreeMap<u64, Account>,
    /// Costs by month, of all,
    months: BTreeMap<i32, Vec<f64>>,
    /// of which one on the ledger stands for so many.
    pub(super) weight: f64,
    #[serde(with = "in_order")]
    shadows: HashMap<u64, Vec<Stay>>,
}

/// Months that are kept.
const MONTHS: usize = 36;

/// The group of all objects.
const ALL: u64 = 0;

impl Ledger {
    pub(super) fn new(places: usize) -> Self {
        let (accounts, months, shadows) = (BTreeMap::new(), BTreeMap::new(), HashMap::new());
        Self { experts: Expert::all(places), accounts, months, weight: 1.0, shadows }
    }

    fn groups(groups: Groups) -> [u64; DEPTH + 1] {
        [ALL, groups.0[0], groups.0[1], groups.0[2]]
    }

    fn charge(&mut self, groups: Groups, day: i32, costs: &[f64], uses: f64) {
        let count = self.experts.len() + 1;
        let month = self.months.entry(month_of(day)).or_insert_with(|| vec![0.0; count]);
        month.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost * self.weight);
        for group in Self::groups(groups) {
            if self.accounts.len() >= MAX_GROUPS && !self.accounts.contains_key(&group) {
                return;
            }
            let new = || Account { costs: vec![0.0; count], uses: 0.0 };
            let account = self.accounts.entry(group).or_insert_with(new);
            account.uses += uses;
            account.costs.iter_mut().zip(costs).for_each(|(sum, cost)| *sum += cost);
        }
    }

    fn is_full(&self, id: u64) -> bool {
        self.shadows.len() >= SAMPLE && !self.shadows.contains_key(&id)
    }

    /// An object came, and was written to a place. One in place of another has the shadows of that.
    pub(super) fn born(&mut self, policy: &Policy, thing: &Thing<'_>, done: usize) {
        if self.is_full(thing.id) {
            return;
        }
        let places = self.experts.iter().map(|expert| expert.first(policy, thing)).chain([done]);
        let begin = |place| Stay::begin(&policy.tariffs, place, thing.day);
        let (stays, costs): (Vec<_>, Vec<_>) = places.map(begin).unzip();
        let costs: Vec<f64> = costs.iter().map(Cost::total).collect();
        self.shadows.insert(thing.id, stays);
        self.charge(thing.groups, thing.day, &costs, 0.0);
    }

    /// An object was there before all of this: every rule begins where it is.
    pub(super) fn found(&mut self, thing: &Thing<'_>, place: usize) {
        if !self.is_full(thing.id) {
            self.shadows.insert(thing.id, vec![Stay::held(place, thing.day); self.experts.len() + 1]);
        }
    }

    /// Where an object was seen to be.
    pub(super) fn done(&self, id: u64) -> Option<Stay> {
        self.shadows.get(&id).and_then(|stays| stays.last()).copied()
    }

    /// Nothing is known of where objects were.
    pub(super) fn begin_anew(&mut self) {
        self.shadows.clear();
    }

    /// It is no more among those that are looked at.
    pub(super) fn drop(&mut self, id: u64) {
        self.shadows.remove(&id);
    }

    /// It was moved at the end of a day.
    pub(super) fn moved(&mut self, policy: &Policy, thing: &Thing<'_>, to: usize, unread: Option<u64>) {
        let tariffs = &policy.tariffs;
        self.each(thing, 0.0, |expert, stay| {
            if expert.is_some() {
                return Cost::default();
            }
            let mut cost = stay.hold(tariffs, thing.size, thing.used(), thing.day);
            cost += stay.go(tariffs, thing.size, to, thing.day, unread.unwrap_or(thing.size));
            cost
        });
    }

    /// Changes an object's shadows, at a cost; no expert did what was done.
    fn each(&mut self, thing: &Thing<'_>, uses: f64, change: impl Fn(Option<Expert>, &mut Stay) -> Cost) {
        let Some(stays) = self.shadows.get_mut(&thing.id) else { return };
        let experts = self.experts.iter().copied().map(Some).chain([None]);
        let costs: Vec<f64> = experts.zip(stays).map(|(expert, stay)| change(expert, stay).total()).collect();
        self.charge(thing.groups, thing.day, &costs, uses);
    }

    /// It was read today, or is looked at.
    pub(super) fn read(&mut self, policy: &Policy, thing: &Thing<'_>, used: i32, count: f64, bytes: f64) {
        let tariffs = &policy.tariffs;
        self.each(thing, f64::from(u8::from(count > 0.0)), |_, stay| {
            let mut cost = stay.hold(tariffs, thing.size, used, thing.day - 1);
            cost += stay.read(tariffs, count, bytes);
            cost
        });
    }

    /// It goes where each rule wants it.
    pub(super) fn look(&mut self, policy: &Policy, thing: &Thing<'_>, unread: Option<u64>) {
        self.each(thing, 0.0, |expert, stay| {
            let mut cost = stay.hold(&policy.tariffs, thing.size, thing.used(), thing.day);
            let to = expert.map_or(stay.place, |expert| expert.wants(policy, thing, stay, unread));
            if to != stay.place {
                cost += stay.go(&policy.tariffs, thing.size, to, thing.day, unread.unwrap_or(thing.size));
            }
            cost
        });
    }

    /// It ended today.
    pub(super) fn died(&mut self, policy: &Policy, thing: &Thing<'_>, used: i32) {
        let tariffs = &policy.tariffs;
        self.each(thing, 0.0, |_, stay| {
            let mut cost = stay.hold(tariffs, thing.size, used, thing.day - 1);
            cost += stay.end(tariffs, thing.size, thing.day);
            cost
        });
        self.shadows.remove(&thing.id);
    }

    /// Keeps a part of what was seen.
    pub(super) fn forget(&mut self, kept: f64) {
        for account in self.accounts.values_mut() {
            account.costs.iter_mut().for_each(|cost| *cost *= kept);
            account.uses *= kept;
        }
        self.accounts.retain(|group, account| *group == ALL || account.uses > 0.01);
        while self.months.len() > MONTHS {
            self.months.pop_first();
        }
    }

    /// Costs by rule and of what was done, by month.
    pub(super) fn months(&self) -> impl Iterator<Item = (i32, impl Iterator<Item = (Option<Expert>, f64)>)> {
        self.months.iter().map(|(month, costs)| {
            let experts = self.experts.iter().copied().map(Some).chain([None]);
            (*month, experts.zip(costs.iter().copied()))
        })
    }

    /// The rule that is followed for a group: what costs least in it, where little is known in the one that it lies in.
    pub(super) fn followed(&self, groups: Groups) -> Expert {
        let mut ratios = vec![1.0; self.experts.len()];
        for account in Self::groups(groups).iter().filter_map(|group| self.accounts.get(group)) {
            let first = account.costs[0].max(f64::MIN_POSITIVE);
            for (ratio, cost) in ratios.iter_mut().zip(&account.costs) {
                *ratio = (account.uses * (cost / first).min(100.0) + TRUST * *ratio) / (account.uses + TRUST);
            }
        }
        let best = |best: usize, at: usize| if ratios[at] < ratios[best] { at } else { best };
        let best = (0..self.experts.len()).fold(0, best);
        self.experts[if ratios[best] < MARGIN { best } else { 0 }]
    }

    /// Costs by rule, of all.
    pub(super) fn costs(&self) -> Vec<(Expert, f64)> {
        let all = self.accounts.get(&ALL);
        self.experts.iter().copied().zip(all.into_iter().flat_map(|all| all.costs.iter().copied())).collect()
    }
}

/// Months since the beginning of our era, of a day since 1970.
fn month_of(day: i32) -> i32 {
    let date = jiff::civil::date(1970, 1, 1).saturating_add(jiff::Span::new().days(day.clamp(0, 1_000_000)));
    i32::from(date.year()) * 12 + i32::from(date.month()) - 1
}

/// The same ledger is written down as the same bytes.
mod in_order {
    use std::collections::{BTreeMap, HashMap};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Stay;

    pub(super) fn serialize<S: Serializer>(all: &HashMap<u64, Vec<Stay>>, out: S) -> Result<S::Ok, S::Error> {
        all.iter().collect::<BTreeMap<_, _>>().serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<HashMap<u64, Vec<Stay>>, D::Error> {
        HashMap::deserialize(input)
    }
}
