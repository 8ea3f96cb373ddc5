//! Where new bytes go: pure, from a write policy and what is known of the silos.

use crate::extent::SiloId;
use crate::inventory::WritePolicy;

/// What placement looks at of a silo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its number.
    pub id: SiloId,
    /// Its name.
    pub name: String,
    /// It takes no new bytes by order.
    pub cordoned: bool,
    /// It answers.
    pub up: bool,
    /// Bytes it takes before its reserve begins; none is unknown, and then enough.
    pub room: Option<u64>,
}

impl Candidate {
    /// Whether it takes a body of this size.
    pub fn takes(&self, size: u64) -> bool {
        !self.cordoned && self.up && self.room.is_none_or(|room| room >= size)
    }

    /// Why it does not; one sentence fragment.
    pub fn refusal(&self, size: u64) -> Option<String> {
        let name = &self.name;
        match () {
            () if self.takes(size) => None,
            () if self.cordoned => Some(format!("silo `{name}` takes no new bytes")),
            () if !self.up => Some(format!("silo `{name}` is down")),
            () => Some(format!("silo `{name}` has no room above its reserve")),
        }
    }
}

/// The silos a body of `size` bytes may go to, best first. Without a policy: all, in the order they were registered.
pub fn choose(policy: Option<&WritePolicy>, silos: &[Candidate], size: u64) -> Vec<SiloId> {
    let takes = |silo: &&Candidate| silo.takes(size);
    match policy {
        None => silos.iter().filter(takes).map(|silo| silo.id).collect(),
        Some(policy) => {
            let wanted = policy.to.iter().filter(|to| size >= to.min_size && to.max_size.is_none_or(|max| size <= max));
            wanted.filter_map(|to| silos.iter().find(|silo| silo.name == to.silo)).filter(takes).map(|s| s.id).collect()
        }
    }
}

/// Why [`choose`] answers nothing, where that may pass: a silo that would have been chosen, but is down.
pub fn down(policy: Option<&WritePolicy>, silos: &[Candidate], size: u64) -> Option<SiloId> {
    let as_if_up: Vec<_> = silos.iter().map(|silo| Candidate { up: true, ..silo.clone() }).collect();
    choose(policy, &as_if_up, size).into_iter().find(|id| silos.iter().any(|silo| silo.id == *id && !silo.up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::WriteTarget;

    fn silo(id: SiloId, room: u64) -> Candidate {
        Candidate { id, name: format!("s{id}"), cordoned: false, up: true, room: Some(room) }
    }

    #[test]
    fn cordoned_full_and_down_silos_are_passed_over() {
        let silos = [
            Candidate { cordoned: true, ..silo(1, 99) },
            Candidate { up: false, ..silo(2, 99) },
            silo(3, 9),
            silo(4, 99),
        ];
        assert_eq!(choose(None, &silos, 10), [4]);
        assert_eq!(choose(None, &silos, 9), [3, 4]);
        assert_eq!(choose(None, &silos, 100), [0; 0]);
    }

    /// A policy's only silo was down, and clients were told that there is no room, which they do not try again.
    #[test]
    fn a_silo_that_is_down_is_told_from_one_that_is_full() {
        let silos = [Candidate { up: false, ..silo(1, 99) }, Candidate { cordoned: true, up: false, ..silo(2, 999) }];
        assert_eq!((choose(None, &silos, 10), down(None, &silos, 10)), (Vec::new(), Some(1)));
        assert_eq!(down(None, &silos, 100), None);
        assert_eq!(down(None, &[silo(3, 9)], 10), None);
    }

    #[test]
    fn a_policy_orders_and_bounds() {
        let silos = [silo(1, 99), silo(2, 99)];
        let target = |silo: &str, min_size, max_size| WriteTarget { silo: silo.into(), min_size, max_size };
        let policy = WritePolicy { to: vec![target("s2", 5, None), target("s1", 0, Some(7)), target("gone", 0, None)] };
        assert_eq!(choose(Some(&policy), &silos, 4), [1]);
        assert_eq!(choose(Some(&policy), &silos, 6), [2, 1]);
        assert_eq!(choose(Some(&policy), &silos, 8), [2]);
    }
}
