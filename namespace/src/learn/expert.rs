//! Rules that say where an object should be. All run side by side on the shadow ledger; which is followed, costs decide.

use serde::{Deserialize, Serialize};

use super::Thing;
use super::policy::Policy;
use super::stay::Stay;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expert {
    /// The least expected cost, by what became of others in the same state.
    Chain {
        /// Moves count twice: they are paid for certainly, and what they save is a guess.
        careful: bool,
        /// Groups and objects differ from others in the same state.
        own: bool,
    },
    /// Always at this place.
    Stay(usize),
    /// As if the next read came after as many days as the last one lies back; after a read, where the object was or at the best place to read.
    BreakEven {
        /// A read brings it back.
        promote: bool,
    },
    /// Idle for 30 days, one colder; for 90, two; a read brings it back.
    Lifecycle,
}

impl Expert {
    /// All for so many places; the first is followed until another is seen to be better.
    pub fn all(places: usize) -> Vec<Self> {
        let stay = (0..places).map(Self::Stay);
        let fixed = [Self::BreakEven { promote: false }, Self::BreakEven { promote: true }, Self::Lifecycle];
        let chains = [(false, true), (true, true), (false, false), (true, false)];
        let chains = chains.map(|(careful, own)| Self::Chain { careful, own });
        chains.into_iter().chain(stay).chain(fixed).collect()
    }

    /// As people read it.
    pub fn name(self, policy: &Policy) -> String {
        match self {
            Self::Chain { careful, own } => {
                let own = if own { "chances of its own" } else { "chances of all" };
                format!("{own}{}", if careful { ", careful" } else { "" })
            }
            Self::Stay(place) => format!("always {}", policy.places[place].name),
            Self::BreakEven { promote: true } => "break-even, promoting".into(),
            Self::BreakEven { promote: false } => "break-even".into(),
            Self::Lifecycle => "30/90 days".into(),
        }
    }

    /// Where an object is written to.
    pub fn first(self, policy: &Policy, thing: &Thing<'_>) -> usize {
        match self {
            Self::Chain { own, .. } => policy.first(thing, own),
            Self::Stay(place) if policy.open[place] => place,
            _ => policy.by_storage().next_back().unwrap_or(0),
        }
    }

    /// Where it should be after today; `unread` of its bytes were not read today.
    pub fn wants(self, policy: &Policy, thing: &Thing<'_>, stay: &Stay, unread: Option<u64>) -> usize {
        let read = unread.is_some();
        match self {
            Self::Chain { careful, own } => {
                let moves = if careful { 2.0 } else { 1.0 };
                policy.cheapest(thing, stay, unread.unwrap_or(thing.size), moves, own)
            }
            Self::Stay(place) => {
                if policy.open[place] {
                    place
                } else {
                    stay.place
                }
            }
            Self::BreakEven { promote: true } => policy.break_even(thing, thing.idle()),
            Self::BreakEven { promote: false } => policy.colder(stay.place, policy.break_even(thing, thing.idle())),
            Self::Lifecycle if read => policy.by_storage().next_back().unwrap_or(stay.place),
            Self::Lifecycle => {
                let steps = usize::from(thing.idle() >= 30) + usize::from(thing.idle() >= 90);
                policy.by_storage().rev().nth(steps).or_else(|| policy.by_storage().next()).unwrap_or(stay.place)
            }
        }
    }
}
