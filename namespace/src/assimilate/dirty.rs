//! Names that may have changed: joined, spaced, and handed out when they are due. Pure; who tells of them is elsewhere.
//!
//! What is kept is bounded. Where more is told, the whole root is to be passed instead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::limits::{
    DIRTY_FOLDERS, DIRTY_IN_ALL, DIRTY_JOINED, DIRTY_NAMES, GONE_AGAIN, LOOK_AGAIN_AFTER, LOOK_AGAIN_AT_MOST,
};
use crate::table::roots::RootId;

/// A name of a root, raw.
pub(super) type Touch = (RootId, Vec<u8>);

/// What is to be looked at.
#[derive(Default)]
pub(super) struct Dirty {
    names: BTreeMap<RootId, BTreeMap<Vec<u8>, Due>>,
    /// How many names that are.
    count: usize,
    below: BTreeSet<Touch>,
    whole: BTreeSet<RootId>,
    /// When names were looked at last, and how long they are left alone then.
    lately: BTreeMap<Touch, Lately>,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    at: Duration,
    missed: bool,
}

#[derive(Debug, Clone, Copy)]
struct Lately {
    at: Duration,
    rest: Duration,
}

/// A name that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DueName {
    pub name: Vec<u8>,
    /// It was not there when it was looked at before.
    pub missed: bool,
}

impl Dirty {
    /// This name may have changed.
    pub(super) fn name(&mut self, root: RootId, name: Vec<u8>, now: Duration) {
        let covered = |(of, prefix): &Touch| *of == root && name.starts_with(prefix);
        if self.whole.contains(&root) || self.below.iter().any(covered) {
            return;
        }
        let which = (root, name);
        let rested = self.lately.get(&which).map(|lately| lately.at + lately.rest);
        let at = rested.unwrap_or_default().max(now + DIRTY_JOINED);
        self.note(which, Due { at, missed: false });
    }

    /// It was not there: it is looked at once more before that counts.
    pub(super) fn missed(&mut self, root: RootId, name: Vec<u8>, now: Duration) {
        self.remove(root, &name);
        self.note((root, name), Due { at: now + GONE_AGAIN, missed: true });
    }

    /// A root that is told much of is passed; the others' names are looked at as ever.
    fn note(&mut self, (root, name): Touch, due: Due) {
        let names = self.names.entry(root).or_default();
        if names.contains_key(&name) {
            return;
        }
        if names.len() >= DIRTY_NAMES {
            return self.all(root);
        }
        names.insert(name, due);
        self.count += 1;
        if self.count > DIRTY_IN_ALL
            && let Some((busiest, _)) = self.names.iter().max_by_key(|(_, names)| names.len())
        {
            self.all(*busiest);
        }
    }

    fn remove(&mut self, root: RootId, name: &[u8]) {
        let Some(names) = self.names.get_mut(&root) else { return };
        self.count -= usize::from(names.remove(name).is_some());
        if names.is_empty() {
            self.names.remove(&root);
        }
    }

    /// So may all names that start with this.
    pub(super) fn below(&mut self, root: RootId, prefix: Vec<u8>) {
        if self.whole.contains(&root) {
            return;
        }
        let covered: Vec<Vec<u8>> = self.names.get(&root).map_or_else(Vec::new, |names| {
            names
                .range(prefix.clone()..)
                .map(|(name, _)| name)
                .take_while(|name| name.starts_with(&prefix))
                .cloned()
                .collect()
        });
        for name in covered {
            self.remove(root, &name);
        }
        self.below.retain(|(of, other)| *of != root || !other.starts_with(&prefix));
        if self.below.iter().any(|(of, other)| *of == root && prefix.starts_with(other)) {
            return;
        }
        self.below.insert((root, prefix));
        if self.below.iter().filter(|(of, _)| *of == root).count() > DIRTY_FOLDERS {
            self.all(root);
        }
    }

    /// So may all of them: the root is to be passed.
    pub(super) fn all(&mut self, root: RootId) {
        self.forget(root);
        self.whole.insert(root);
    }

    /// Whether a root is to be passed.
    pub(super) fn wants_pass(&self, root: RootId) -> bool {
        self.whole.contains(&root)
    }

    /// Its pass began.
    pub(super) fn begun(&mut self, root: RootId) {
        self.whole.remove(&root);
    }

    /// Nothing of this root is to be looked at.
    pub(super) fn forget(&mut self, root: RootId) {
        self.count -= self.names.remove(&root).map_or(0, |names| names.len());
        self.below.retain(|(of, _)| *of != root);
        self.lately.retain(|(of, _), _| *of != root);
        self.whole.remove(&root);
    }

    /// Names wait, or folders do.
    pub(super) fn is_idle(&self) -> bool {
        self.names.is_empty() && self.below.is_empty()
    }

    /// Names that wait.
    pub(super) fn waiting(&self) -> usize {
        self.count
    }

    /// Hands out the names of a root that are due, at most so many, in order.
    pub(super) fn take(&mut self, root: RootId, now: Duration, most: usize) -> Vec<DueName> {
        let due = self.names.get(&root).into_iter().flatten().filter(|(_, due)| due.at <= now).take(most);
        let due: Vec<(Touch, bool)> = due.map(|(name, due)| ((root, name.clone()), due.missed)).collect();
        self.make_room(now);
        for (which, _) in &due {
            self.remove(root, &which.1);
            self.looked(which, now);
        }
        due.into_iter().map(|((_, name), missed)| DueName { name, missed }).collect()
    }

    /// Hands out what a root's names start with that are to be passed.
    pub(super) fn take_below(&mut self, root: RootId) -> Option<Vec<u8>> {
        let which = self.below.iter().find(|(of, _)| *of == root)?.clone();
        self.below.remove(&which);
        Some(which.1)
    }

    /// Roots of which something waits.
    pub(super) fn roots(&self) -> BTreeSet<RootId> {
        self.names.keys().chain(self.below.iter().map(|(root, _)| root)).copied().collect()
    }

    /// A name that goes on changing is looked at less and less often.
    fn looked(&mut self, which: &Touch, now: Duration) {
        let busy = self.lately.get(which).filter(|lately| now < lately.at + lately.rest * 2);
        let rest = busy.map_or(LOOK_AGAIN_AFTER, |lately| (lately.rest * 2).min(LOOK_AGAIN_AT_MOST));
        if self.lately.len() < DIRTY_NAMES {
            self.lately.insert(which.clone(), Lately { at: now, rest });
        }
    }

    fn make_room(&mut self, now: Duration) {
        if self.lately.len() >= DIRTY_NAMES / 2 {
            self.lately.retain(|_, lately| now < lately.at + lately.rest * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn names(due: &[DueName]) -> Vec<&str> {
        due.iter().map(|due| std::str::from_utf8(&due.name).unwrap()).collect()
    }

    fn take(dirty: &mut Dirty, root: RootId, now: Duration) -> Vec<String> {
        let due = dirty.take(root, now, usize::MAX);
        names(&due).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_name_is_handed_out_once_however_often_it_is_told() {
        let mut dirty = Dirty::default();
        for _ in 0..5 {
            dirty.name(1, b"b".to_vec(), SECOND);
            dirty.name(1, b"a".to_vec(), SECOND);
            dirty.name(2, b"c".to_vec(), SECOND);
        }
        assert!(take(&mut dirty, 1, SECOND).is_empty(), "it is waited whether more is told");
        let now = SECOND + DIRTY_JOINED;
        assert_eq!(names(&dirty.take(1, now, 1)), ["a"]);
        assert_eq!(take(&mut dirty, 1, now), ["b"]);
        assert_eq!(dirty.roots(), [2].into());
        assert_eq!(take(&mut dirty, 2, now), ["c"]);
        assert!(dirty.is_idle());
    }

    /// A log that is written to all the time made a version with each line.
    #[test]
    fn a_name_that_goes_on_changing_is_looked_at_less_and_less_often() {
        let (mut dirty, mut looks, mut now) = (Dirty::default(), Vec::new(), Duration::ZERO);
        while now < SECOND * 300 {
            dirty.name(1, b"log".to_vec(), now);
            if !take(&mut dirty, 1, now).is_empty() {
                looks.push(now.as_secs());
            }
            now += SECOND / 10;
        }
        assert!((10..20).contains(&looks.len()), "{looks:?}");
        assert!(looks.windows(2).all(|two| two[1] - two[0] <= LOOK_AGAIN_AT_MOST.as_secs() + 1), "{looks:?}");
        // Left alone for long enough, it is looked at soon again.
        now += LOOK_AGAIN_AT_MOST * 3;
        dirty.name(1, b"log".to_vec(), now);
        assert_eq!(take(&mut dirty, 1, now + DIRTY_JOINED), ["log"]);
    }

    #[test]
    fn what_is_missed_is_looked_at_once_more() {
        let mut dirty = Dirty::default();
        dirty.name(1, b"a".to_vec(), SECOND);
        dirty.missed(1, b"a".to_vec(), SECOND);
        dirty.name(1, b"a".to_vec(), SECOND);
        let due = dirty.take(1, SECOND + GONE_AGAIN, 9);
        assert_eq!(due, [DueName { name: b"a".to_vec(), missed: true }]);
    }

    /// A root of which 20,000 names waited made a pass of each other root that was told of one more.
    #[test]
    fn a_busy_root_makes_no_other_one_pass() {
        let mut dirty = Dirty::default();
        for number in 0..DIRTY_NAMES {
            dirty.name(1, number.to_string().into_bytes(), SECOND);
        }
        dirty.name(2, b"a".to_vec(), SECOND);
        assert!(!dirty.wants_pass(1) && !dirty.wants_pass(2));
        assert_eq!(take(&mut dirty, 2, SECOND * 2), ["a"]);
        // All together are not without bound either: the one with most of them is passed.
        for root in 2..=10 {
            for number in 0..DIRTY_NAMES - 1 {
                dirty.name(root, number.to_string().into_bytes(), SECOND);
            }
        }
        for number in 0..100 {
            dirty.name(11, number.to_string().into_bytes(), SECOND);
        }
        let passed: Vec<RootId> = (1..=11).filter(|root| dirty.wants_pass(*root)).collect();
        assert_eq!((passed, dirty.waiting()), (vec![1], 9 * (DIRTY_NAMES - 1) + 100));
    }

    #[test]
    fn what_lies_below_goes_with_it() {
        let mut dirty = Dirty::default();
        for name in ["a", "a/1", "a/b/2"] {
            dirty.name(1, name.as_bytes().to_vec(), SECOND);
        }
        dirty.name(2, b"a/1".to_vec(), SECOND);
        dirty.below(1, b"a/b/".to_vec());
        dirty.below(1, b"a/".to_vec());
        dirty.below(1, b"a/c/".to_vec());
        dirty.name(1, b"a/late".to_vec(), SECOND);
        assert_eq!(take(&mut dirty, 1, SECOND * 9), ["a"]);
        assert_eq!(dirty.take_below(1).as_deref(), Some(&b"a/"[..]));
        assert_eq!(dirty.take_below(1), None);
        assert_eq!(take(&mut dirty, 2, SECOND * 9), ["a/1"]);
    }

    /// A million changes at once would have been a million names in memory.
    #[test]
    fn more_than_is_kept_is_a_pass() {
        let mut dirty = Dirty::default();
        dirty.name(2, b"other".to_vec(), SECOND);
        for number in 0..=DIRTY_NAMES {
            dirty.name(1, number.to_string().into_bytes(), SECOND);
        }
        assert!(dirty.wants_pass(1) && !dirty.wants_pass(2));
        assert_eq!((dirty.waiting(), take(&mut dirty, 2, SECOND * 2)), (1, vec!["other".to_owned()]));
        dirty.name(1, b"covered".to_vec(), SECOND);
        assert!(dirty.is_idle());
        dirty.begun(1);
        dirty.name(1, b"while it is passed".to_vec(), SECOND);
        assert!(!dirty.is_idle() && !dirty.wants_pass(1));
        for number in 0..=DIRTY_FOLDERS {
            dirty.below(2, format!("{number}/").into_bytes());
        }
        assert!(dirty.wants_pass(2));
    }
}
