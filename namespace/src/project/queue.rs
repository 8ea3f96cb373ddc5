//! Names that may not be in step with their keys, by root: those that are due, and those that rest after they could not be
//! brought in step. Pure and bounded; of a root of which more waits, the rows are compared again, from some key on.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::Name;
use crate::engine::Key;
use crate::limits::PROJECTIONS_KEPT;
use crate::table::roots::RootId;

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    roots: BTreeMap<RootId, Waiting>,
    /// Names that somebody is at work on.
    busy: HashSet<Name>,
    /// Roots whose rows are to be compared, and from which key on.
    audits: BTreeMap<RootId, Key>,
    /// The root whose rows are compared now.
    auditing: Option<RootId>,
    /// The root that was served last.
    last: RootId,
}

#[derive(Default)]
struct Waiting {
    due: BTreeSet<Vec<u8>>,
    later: BTreeSet<(Duration, Vec<u8>)>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.due.len() + self.later.len()
    }
}

impl Queue {
    /// A name may not be in step with its key; it is looked at from some moment on, zero for at once. False where no more is
    /// kept: the root is to be compared again.
    pub(super) fn want(&mut self, (root, name): Name, from: Duration) -> bool {
        let waiting = self.roots.entry(root).or_default();
        if waiting.len() >= PROJECTIONS_KEPT && !waiting.due.contains(&name) {
            return false;
        }
        if from.is_zero() {
            waiting.due.insert(name);
        } else if !waiting.due.contains(&name) {
            waiting.later.insert((from, name));
        }
        true
    }

    /// Names that are due of roots that are ready, of each root in turn, none that somebody is at work on. Somebody is, from
    /// now on.
    pub(super) fn take(&mut self, now: Duration, ready: impl Fn(RootId) -> bool, room: usize) -> Vec<Name> {
        let mut taken = Vec::new();
        let mut roots: Vec<RootId> = self.roots.keys().copied().filter(|root| ready(*root)).collect();
        let begin = roots.partition_point(|root| *root <= self.last);
        roots.rotate_left(begin);
        while taken.len() < room {
            let before = taken.len();
            for root in &roots {
                if taken.len() < room
                    && let Some(name) = self.take_one(*root, now)
                {
                    self.last = *root;
                    taken.push((*root, name));
                }
            }
            if taken.len() == before {
                break;
            }
        }
        taken
    }

    fn take_one(&mut self, root: RootId, now: Duration) -> Option<Vec<u8>> {
        let waiting = self.roots.get_mut(&root)?;
        while waiting.later.first().is_some_and(|(from, _)| *from <= now) {
            waiting.due.extend(waiting.later.pop_first().map(|(_, name)| name));
        }
        // No more are busy than a gateway does at once.
        let free = |name: &&Vec<u8>| !self.busy.contains(&(root, (*name).clone()));
        let name = waiting.due.iter().find(free).cloned()?;
        waiting.due.remove(&name);
        self.busy.insert((root, name.clone()));
        Some(name)
    }

    /// Nobody is at work on a name any more; it waits again from some moment on, or is done.
    pub(super) fn ended(&mut self, name: Name, again: Option<Duration>) {
        self.busy.remove(&name);
        if let Some(from) = again {
            let root = name.0;
            if !self.want(name, from) {
                self.audit(root, Key::new());
            }
        }
    }

    /// Whoever was at work died, and which names that were is not known: all that somebody was at work on wait again.
    pub(super) fn died(&mut self, from: Duration) {
        for name in std::mem::take(&mut self.busy) {
            self.ended(name, Some(from));
        }
    }

    /// Names of a root that wait or are at work on.
    pub(super) fn len(&self, root: RootId) -> usize {
        let busy = self.busy.iter().filter(|(of, _)| *of == root).count();
        busy + self.roots.get(&root).map_or(0, Waiting::len)
    }

    /// A root's rows are to be compared, from a key on.
    pub(super) fn audit(&mut self, root: RootId, from: Key) {
        let known = self.audits.entry(root).or_insert_with(|| from.clone());
        if from < *known {
            *known = from;
        }
    }

    /// Whether a root's rows are to be compared, or are now.
    pub(super) fn is_audited(&self, root: RootId) -> bool {
        !self.audits.contains_key(&root) && self.auditing != Some(root)
    }

    /// A root whose rows are to be compared now, if there is room for what is found: one at a time.
    pub(super) fn begin_audit(&mut self) -> Option<(RootId, Key)> {
        if self.auditing.is_some() {
            return None;
        }
        let room = |root: &RootId| self.roots.get(root).is_none_or(|waiting| waiting.len() < PROJECTIONS_KEPT / 2);
        let root = self.audits.keys().copied().find(room)?;
        self.auditing = Some(root);
        Some((root, self.audits.remove(&root)?))
    }

    /// The comparison is over.
    pub(super) fn end_audit(&mut self) {
        self.auditing = None;
    }

    /// A root that is forgotten.
    pub(super) fn forget(&mut self, root: RootId) {
        self.roots.remove(&root);
        self.audits.remove(&root);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(root: RootId, text: &str) -> Name {
        (root, text.into())
    }

    const ALL: fn(RootId) -> bool = |_| true;
    const NOW: Duration = Duration::from_secs(10);

    #[test]
    fn roots_take_turns_and_none_waits_for_a_silo_that_is_down() {
        let mut queue = Queue::default();
        for text in ["a", "b", "c"] {
            assert!(queue.want(name(1, text), Duration::ZERO) && queue.want(name(2, text), Duration::ZERO));
        }
        assert_eq!(queue.take(NOW, ALL, 3), [name(1, "a"), name(2, "a"), name(1, "b")]);
        assert_eq!(queue.take(NOW, ALL, 1), [name(2, "b")]);
        assert_eq!(queue.take(NOW, |root| root == 2, 9), [name(2, "c")]);
        assert_eq!((queue.len(1), queue.len(2)), (3, 3), "what somebody is at work on is not done");
    }

    #[test]
    fn a_name_is_nobodys_or_one_ones() {
        let mut queue = Queue::default();
        queue.want(name(1, "a"), Duration::ZERO);
        assert_eq!(queue.take(NOW, ALL, 9), [name(1, "a")]);
        queue.want(name(1, "a"), Duration::ZERO);
        assert_eq!(queue.take(NOW, ALL, 9), [], "somebody is at work on it");
        queue.ended(name(1, "a"), Some(NOW * 2));
        assert_eq!(queue.take(NOW, ALL, 9), [name(1, "a")], "it was told again meanwhile");
        queue.died(NOW * 2);
        assert_eq!((queue.take(NOW, ALL, 9), queue.len(1)), (vec![], 1));
        assert_eq!(queue.take(NOW * 2, ALL, 9), [name(1, "a")]);
        queue.ended(name(1, "a"), None);
        assert_eq!(queue.len(1), 0);
    }

    #[test]
    fn what_is_too_much_is_compared_again_once_there_is_room() {
        let mut queue = Queue::default();
        for number in 0..PROJECTIONS_KEPT {
            assert!(queue.want(name(1, &format!("{number:06}")), Duration::ZERO));
        }
        assert!(!queue.want(name(1, "more"), Duration::ZERO) && queue.want(name(1, "000001"), Duration::ZERO));
        assert!(queue.want(name(2, "another root's"), Duration::ZERO));
        queue.audit(1, b"k".to_vec());
        queue.audit(1, b"c".to_vec());
        queue.audit(1, b"x".to_vec());
        assert_eq!(queue.begin_audit(), None);
        for taken in queue.take(NOW, |root| root == 1, PROJECTIONS_KEPT / 2 + 1) {
            queue.ended(taken, None);
        }
        assert_eq!(queue.begin_audit(), Some((1, b"c".to_vec())));
        queue.audit(2, Key::new());
        assert_eq!((queue.begin_audit(), queue.is_audited(1)), (None, false));
        queue.end_audit();
        assert_eq!((queue.is_audited(1), queue.is_audited(2)), (true, false));
    }
}
