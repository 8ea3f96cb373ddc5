//! The reference model: a register for every key and for every part of an upload. What clients saw must have an order
//! in which each request takes effect once, between its call and its answer, and every read sees the last write.
//!
//! A request without a known outcome may have happened or not; once it was answered, it does not happen later.

use std::collections::{BTreeMap, HashSet};

/// A value, by its ETag.
pub(super) type Tag = u32;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Register {
    Key(usize),
    Part(usize, u32),
}

/// What must hold for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Absent,
    Is(Tag),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// `modified` is known where the write was acknowledged.
    Write {
        tag: Tag,
        modified: Option<i64>,
        needs: Needs,
    },
    Delete {
        needs: Needs,
    },
    Read {
        tag: Option<Tag>,
        modified: Option<i64>,
    },
    /// The condition was found not to hold.
    Refused {
        needs: Needs,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It happened before its answer.
    Must,
    /// It happened before its answer, or never does.
    Maybe,
    /// It did not happen.
    Not,
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) register: Register,
    pub(super) what: What,
    pub(super) call: u64,
    /// `u64::MAX`: never answered.
    pub(super) answer: u64,
    pub(super) outcome: Outcome,
    /// Of the events of a group one happens.
    pub(super) group: Option<usize>,
}

/// Whether the events of one register have an order. More than 128 are refused.
pub(super) fn linearizable(events: &[Event]) -> bool {
    let events: Vec<&Event> = events.iter().filter(|event| event.outcome != Outcome::Not).collect();
    assert!(events.len() <= 128, "a case has few events");
    let mut seen = HashSet::new();
    search(&events, 0, None, 0, &mut seen)
}

type Done = u128;

fn search(
    events: &[&Event],
    done: Done,
    state: Option<usize>,
    groups: u64,
    seen: &mut HashSet<(Done, Option<usize>, u64)>,
) -> bool {
    let left = || (0..events.len()).filter(|at| done >> at & 1 == 0);
    if left().all(|at| events[at].outcome == Outcome::Maybe) {
        return true;
    }
    if !seen.insert((done, state, groups)) {
        return false;
    }
    let first_answer = left().map(|at| events[at].answer).min().unwrap_or(u64::MAX);
    for at in left() {
        let event = events[at];
        if event.call > first_answer {
            continue;
        }
        let then = done | 1 << at;
        let group = event.group.map_or(0, |group| 1u64 << (group % 64));
        if groups & group == 0
            && let Some(next) = apply(events, at, state)
            && search(events, then, next, groups | group, seen)
        {
            return true;
        }
        if event.outcome == Outcome::Maybe && search(events, then, state, groups, seen) {
            return true;
        }
    }
    false
}

/// The register after an event: which write it holds. `None` when the event cannot happen now.
#[expect(clippy::option_option, reason = "holding nothing is a state, impossible is none")]
fn apply(events: &[&Event], at: usize, state: Option<usize>) -> Option<Option<usize>> {
    let held = state.map(|at| match events[at].what {
        What::Write { tag, modified, .. } => (tag, modified),
        _ => unreachable!("only a write is held"),
    });
    let holds = |needs: Needs| match needs {
        Needs::Nothing => true,
        Needs::Absent => held.is_none(),
        Needs::Is(tag) => held.is_some_and(|(held, _)| held == tag),
    };
    match events[at].what {
        What::Write { modified, needs, .. } => {
            let forward = match (held.and_then(|(_, modified)| modified), modified) {
                (Some(before), Some(after)) => before <= after,
                _ => true,
            };
            (holds(needs) && forward).then_some(Some(at))
        }
        What::Delete { needs } => holds(needs).then_some(None),
        What::Read { tag, modified } => {
            let same = match (held, modified) {
                (Some((_, Some(known))), Some(modified)) => known == modified,
                _ => true,
            };
            (held.map(|(tag, _)| tag) == tag && same).then_some(state)
        }
        What::Refused { needs } => (!holds(needs)).then_some(state),
    }
}

/// The registers whose events have no order.
pub(super) fn violations(events: &[Event]) -> Vec<Register> {
    let mut by_register: BTreeMap<Register, Vec<Event>> = BTreeMap::new();
    for event in events {
        by_register.entry(event.register).or_default().push(event.clone());
    }
    let wrong = by_register.into_iter().filter(|(_, events)| !linearizable(events));
    wrong.map(|(register, _)| register).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What, call: u64, answer: u64, outcome: Outcome) -> Event {
        Event { register: Register::Key(0), what, call, answer, outcome, group: None }
    }

    fn write(tag: Tag) -> What {
        What::Write { tag, modified: None, needs: Needs::Nothing }
    }

    fn read(tag: Option<Tag>) -> What {
        What::Read { tag, modified: None }
    }

    #[test]
    fn a_read_sees_the_last_write() {
        let events = |seen| {
            [
                event(write(1), 1, 2, Outcome::Must),
                event(write(2), 3, 4, Outcome::Must),
                event(read(seen), 5, 6, Outcome::Must),
            ]
        };
        assert!(linearizable(&events(Some(2))));
        assert!(!linearizable(&events(Some(1))));
        assert!(!linearizable(&events(None)));
    }

    #[test]
    fn an_unknown_write_happens_before_its_answer_or_never() {
        let events = |answer, first, second| {
            [
                event(write(1), 1, 2, Outcome::Must),
                event(write(2), 3, answer, Outcome::Maybe),
                event(read(first), 5, 6, Outcome::Must),
                event(read(second), 7, 8, Outcome::Must),
            ]
        };
        assert!(linearizable(&events(4, Some(1), Some(1))));
        assert!(linearizable(&events(4, Some(2), Some(2))));
        assert!(!linearizable(&events(4, Some(1), Some(2))), "an answered 503 never lands");
        assert!(linearizable(&events(u64::MAX, Some(1), Some(2))));
        assert!(!linearizable(&events(u64::MAX, Some(2), Some(1))));
    }

    #[test]
    fn of_two_creates_one_wins() {
        let create = |tag| What::Write { tag, modified: None, needs: Needs::Absent };
        let refused = What::Refused { needs: Needs::Absent };
        let other = |what| [event(create(1), 1, 9, Outcome::Must), event(what, 2, 8, Outcome::Must)];
        assert!(linearizable(&other(refused)));
        assert!(!linearizable(&other(create(2))));
    }

    #[test]
    fn of_a_group_one_happens() {
        let grouped = |mut event: Event| {
            event.group = Some(3);
            event
        };
        let events = |seen: [Tag; 2]| {
            vec![
                grouped(event(write(1), 1, u64::MAX, Outcome::Maybe)),
                grouped(event(write(2), 1, u64::MAX, Outcome::Maybe)),
                event(read(Some(seen[0])), 2, 3, Outcome::Must),
                event(read(Some(seen[1])), 4, 5, Outcome::Must),
            ]
        };
        assert!(linearizable(&events([2, 2])));
        assert!(!linearizable(&events([1, 2])));
    }
}
