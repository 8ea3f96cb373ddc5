//! What is wanted of an object, and whether what is held of it is that. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::expression::{Condition, Needs, Subject};
use super::{Objective, Objectives, Scope};
use crate::extent::SiloId;
use crate::placement::Candidate;

/// What objectives look at of a silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiloFact {
    /// Whether and how much it takes.
    pub takes: Candidate,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An objective, ready to be asked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// As it is declared.
    pub objective: Objective,
    /// What `when` says.
    condition: Option<Condition>,
    /// Silos that `place` means, in its order and then in theirs.
    place: Vec<SiloId>,
    /// Silos that `never` means.
    never: BTreeSet<SiloId>,
}

/// All objectives, the closest first.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    all: Vec<Rule>,
    silos: BTreeMap<SiloId, SiloFact>,
}

/// What is wanted of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The objective that says where, by its place among the rules; none says anything.
    pub by: Option<usize>,
    /// Silos that will do, the best first.
    pub on: Vec<SiloId>,
    /// Silos that will not, and the objective that says so.
    pub never: BTreeMap<SiloId, usize>,
}

/// Where verified replicas of an extent are, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Silos.
    pub on: Vec<SiloId>,
    /// Stored bytes.
    pub bytes: u64,
}

/// How what is held stands to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nobody wishes anything, or it is as wished.
    Aligned,
    /// It is to go from one silo to another.
    Moves {
        /// Off this one.
        from: SiloId,
        /// Onto that one.
        to: SiloId,
        /// For the objective's sake.
        by: usize,
    },
    /// It is not as wished, and cannot be now.
    Waits {
        /// For the objective's sake.
        by: usize,
        /// One sentence fragment.
        reason: String,
    },
}

impl Rules {
    /// Of what is declared, with what each `when` says.
    pub fn new(objectives: &Objectives, silos: BTreeMap<SiloId, SiloFact>) -> Self {
        let means = |selectors: &[super::Selector]| {
            let mut found: Vec<SiloId> = Vec::new();
            for selector in selectors {
                let meant = silos.iter().filter(|(_, fact)| selector.means(&fact.takes.name, &fact.labels));
                found.extend(meant.map(|(id, _)| *id));
            }
            let mut seen = BTreeSet::new();
            found.retain(|id| seen.insert(*id));
            found
        };
        let rule = |(name, (objective, condition)): (&String, &(Objective, Option<Condition>))| Rule {
            name: name.clone(),
            objective: objective.clone(),
            condition: condition.clone(),
            place: means(&objective.place),
            never: means(&objective.never).into_iter().collect(),
        };
        let mut all: Vec<Rule> = objectives.iter().map(rule).collect();
        all.sort_by(|one, other| {
            let closeness = |rule: &Rule| rule.objective.on.closeness();
            closeness(other).cmp(&closeness(one)).then_with(|| one.name.cmp(&other.name))
        });
        Self { all, silos }
    }

    /// All of them, the closest first.
    pub fn all(&self) -> &[Rule] {
        &self.all
    }

    /// Those that may be about objects in a part of the namespace, the closest first.
    pub fn about<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Rule> {
        self.all.iter().filter(|rule| rule.objective.on.meets(scope))
    }

    /// What objectives about this scope look at, beside what a list shows.
    pub fn need(&self, scope: &Scope) -> Needs {
        let conditions = self.about(scope).filter_map(|rule| rule.condition.as_ref());
        conditions.map(Condition::needs).fold(Needs::default(), Needs::and)
    }

    /// The names of the silos that a rule's `place` and `never` mean.
    pub fn meant_by(&self, rule: &Rule) -> (Vec<String>, Vec<String>) {
        let names = |ids: &mut dyn Iterator<Item = &SiloId>| ids.map(|id| self.name_of(*id)).collect();
        (names(&mut rule.place.iter()), names(&mut rule.never.iter()))
    }

    /// A silo's name.
    pub fn name_of(&self, id: SiloId) -> String {
        self.silos.get(&id).map_or_else(|| format!("#{id}"), |fact| fact.takes.name.clone())
    }

    /// The rule, without a condition, that forbids a silo to some of a part of the namespace, or wants all of it elsewhere.
    pub fn against<'a>(&'a self, on: &'a Scope, silo: SiloId) -> Option<&'a Rule> {
        let mut plain = self.about(on).filter(|rule| rule.condition.is_none());
        let mut wanted =
            self.about(on).filter(|rule| !rule.objective.place.is_empty() && rule.objective.on.contains(on));
        // One with a condition may be about all of it, and want what is ordered.
        let elsewhere = wanted.next().filter(|rule| rule.condition.is_none() && !rule.place.contains(&silo));
        plain.find(|rule| rule.never.contains(&silo)).or(elsewhere)
    }

    /// What each rule's condition says of an object; none where the rule is not about it.
    pub fn conditions(&self, subject: &Subject<'_>) -> Vec<Option<Result<bool, String>>> {
        let holds = |rule: &Rule| rule.condition.as_ref().map_or(Ok(true), |condition| condition.holds(subject));
        let about = |rule: &&Rule| rule.objective.on.covers(subject.bucket, subject.key);
        self.all.iter().map(|rule| Some(rule).filter(about).map(holds)).collect()
    }

    /// What is wanted of an object that the conditions say this of.
    pub fn wanted(&self, conditions: &[Option<Result<bool, String>>]) -> Wanted {
        let mut wanted = Wanted::default();
        for (at, (rule, holds)) in self.all.iter().zip(conditions).enumerate() {
            if !matches!(holds, Some(Ok(true))) {
                continue;
            }
            for id in &rule.never {
                wanted.never.entry(*id).or_insert(at);
            }
            if wanted.by.is_none() && !rule.objective.place.is_empty() {
                wanted.by = Some(at);
                wanted.on.clone_from(&rule.place);
            }
        }
        wanted.on.retain(|id| !wanted.never.contains_key(id));
        wanted
    }

    /// How what is held stands to what is wanted. `otherwise` are silos that take it where an objective says only where it may
    /// not be, the best first.
    pub fn standing(&self, wanted: &Wanted, held: &Held, otherwise: impl FnOnce() -> Vec<SiloId>) -> Standing {
        let banned = held.on.iter().find_map(|id| wanted.never.get(id).map(|by| (*id, *by)));
        let as_wished = held.on.iter().any(|id| wanted.by.is_none() || wanted.on.contains(id));
        let up = |id: SiloId| self.silos.get(&id).is_some_and(|fact| fact.takes.up);
        let (from, by) = match (banned, wanted.by) {
            (Some(banned), _) => banned,
            (None, Some(by)) if !as_wished => match held.on.iter().find(|id| up(**id)).or(held.on.first()) {
                Some(from) => (*from, by),
                None => return Standing::Waits { by, reason: "no silo has it now".to_owned() },
            },
            _ => return Standing::Aligned,
        };
        if !up(from) {
            return Standing::Waits { by, reason: format!("silo `{}`, which has it, is down", self.name_of(from)) };
        }
        let allowed = if wanted.by.is_some() { wanted.on.clone() } else { otherwise() };
        let mut reasons = Vec::new();
        for to in allowed.iter().filter(|to| !held.on.contains(to) && !wanted.never.contains_key(to)) {
            match self.silos.get(to).map(|fact| refusal(&fact.takes, held.bytes)) {
                Some(None) => return Standing::Moves { from, to: *to, by },
                Some(Some(reason)) => reasons.push(reason),
                None => {}
            }
        }
        let reason = if reasons.is_empty() { "no silo is allowed".to_owned() } else { reasons.join("; ") };
        Standing::Waits { by, reason }
    }
}

/// Why a silo takes no bytes now.
fn refusal(silo: &Candidate, bytes: u64) -> Option<String> {
    let name = &silo.name;
    if silo.cordoned {
        return Some(format!("silo `{name}` takes no new bytes"));
    }
    if !silo.up {
        return Some(format!("silo `{name}` is down"));
    }
    silo.room.is_some_and(|room| room < bytes).then(|| format!("silo `{name}` has no room above its reserve"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fact(id: SiloId, name: &str, site: &str) -> (SiloId, SiloFact) {
        let takes = Candidate { id, name: name.to_owned(), cordoned: false, up: true, room: None };
        (id, SiloFact { takes, labels: [("site".to_owned(), site.to_owned())].into() })
    }

    fn silos() -> BTreeMap<SiloId, SiloFact> {
        [fact(1, "hot", "eu"), fact(2, "cold", "eu"), fact(3, "far", "us")].into()
    }

    /// Name, `on`, `when`, `place`, `never`.
    type Said<'a> = (&'a str, &'a str, Option<&'a str>, &'a [&'a str], &'a [&'a str]);

    fn rules(objectives: &[Said<'_>]) -> Rules {
        let all = objectives.iter().map(|(name, on, when, place, never)| {
            let silos = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
            let when = when.map(str::to_owned);
            let objective =
                Objective { on: on.parse().unwrap(), when, place: silos(place), never: silos(never), paused: false };
            let condition = objective.check().unwrap();
            ((*name).to_owned(), (objective, condition))
        });
        Rules::new(&all.collect(), silos())
    }

    fn subject(bucket: &'static str, key: &'static str) -> Subject<'static> {
        Subject { bucket, key, size: 10, storage_class: "STANDARD", ..Subject::default() }
    }

    fn held(on: &[SiloId]) -> Held {
        Held { on: on.to_vec(), bytes: 10 }
    }

    #[test]
    fn the_closest_objective_says_where_and_all_say_where_not() {
        let rules = rules(&[
            ("all", "s3://", None, &["hot"], &["site=us"]),
            ("big", "s3://logs/", Some("size > 5"), &["far", "cold"], &[]),
            ("huge", "s3://logs/", Some("size > 50"), &["hot"], &[]),
            ("old", "s3://logs/2020/", None, &["cold"], &[]),
        ]);
        let wanted = |bucket, key| {
            let wanted = rules.wanted(&rules.conditions(&subject(bucket, key)));
            (wanted.by.map(|by| rules.all()[by].name.clone()), wanted.on)
        };
        assert_eq!(wanted("photos", "k"), (Some("all".to_owned()), vec![1]));
        assert_eq!(wanted("logs", "k"), (Some("big".to_owned()), vec![2]), "far is in the US");
        assert_eq!(wanted("logs", "2020/k"), (Some("old".to_owned()), vec![2]));
    }

    #[test]
    fn what_is_held_is_moved_only_where_it_is_not_as_wished() {
        let rules = rules(&[("cold", "s3://logs/", None, &["cold", "far"], &[]), ("eu", "s3://", None, &[], &["far"])]);
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        let by = 0;
        assert_eq!(rules.standing(&wanted, &held(&[2]), Vec::new), Standing::Aligned);
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), Standing::Moves { from: 1, to: 2, by });
        assert_eq!(rules.standing(&wanted, &held(&[3]), Vec::new), Standing::Moves { from: 3, to: 2, by: 1 });
        let only_never = rules.wanted(&rules.conditions(&subject("photos", "k")));
        assert_eq!(rules.standing(&only_never, &held(&[1]), || vec![3, 1]), Standing::Aligned);
        assert_eq!(rules.standing(&only_never, &held(&[3]), || vec![3, 1]), Standing::Moves { from: 3, to: 1, by: 1 });
        assert_eq!(rules.standing(&Wanted::default(), &held(&[3]), || vec![1]), Standing::Aligned);
    }

    #[test]
    fn what_cannot_be_now_waits_and_says_for_what() {
        let mut rules = rules(&[("cold", "s3://", None, &["cold", "far"], &[])]);
        let wanted = rules.wanted(&rules.conditions(&subject("logs", "k")));
        rules.silos.get_mut(&2).unwrap().takes.up = false;
        rules.silos.get_mut(&3).unwrap().takes.room = Some(9);
        let waits = |reason: &str| Standing::Waits { by: 0, reason: reason.to_owned() };
        let expected = waits("silo `cold` is down; silo `far` has no room above its reserve");
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), expected);
        rules.silos.get_mut(&1).unwrap().takes.up = false;
        let source = waits("silo `hot`, which has it, is down");
        assert_eq!(rules.standing(&wanted, &held(&[1]), Vec::new), source);
        rules.silos.get_mut(&1).unwrap().takes.up = true;
        let nowhere = Wanted { on: Vec::new(), ..wanted };
        assert_eq!(rules.standing(&nowhere, &held(&[1]), Vec::new), waits("no silo is allowed"));
    }

    proptest! {
        /// Carried out, a move is never followed by another, and never onto a silo that is forbidden.
        #[test]
        fn a_wish_comes_to_rest(
            place in prop::collection::vec(1_u32..4, 0..3),
            never in prop::collection::vec(1_u32..4, 0..3),
            on in 1_u32..4,
        ) {
            let name = |id: &SiloId| ["hot", "cold", "far"][*id as usize - 1];
            let (place, never): (Vec<_>, Vec<_>) = (place.iter().map(name).collect(), never.iter().map(name).collect());
            prop_assume!(!place.is_empty() || !never.is_empty());
            let all: [Said<'_>; 2] =
                [("one", "s3://", None, &place, &[]), ("other", "s3://", None, &[], &never)];
            let said: Vec<_> = all.into_iter().filter(|rule| !rule.3.is_empty() || !rule.4.is_empty()).collect();
            let rules = rules(&said);
            let wanted = rules.wanted(&rules.conditions(&subject("b", "k")));
            if let Standing::Moves { from, to, .. } = rules.standing(&wanted, &held(&[on]), || vec![1, 2, 3]) {
                prop_assert_eq!(from, on);
                prop_assert!(!wanted.never.contains_key(&to));
                prop_assert_eq!(rules.standing(&wanted, &held(&[to]), || vec![1, 2, 3]), Standing::Aligned);
            }
        }
    }
}
