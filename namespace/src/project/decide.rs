//! What is to be done about a name, and what came of it. Pure.

use holdall_silos::projections::Attempt;

use crate::extent::Number;
use crate::table::names::{NameRow, NameState};
use crate::table::projections::{Base, IntentRow, Task};

/// What a tree lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// This version's file.
    Bring(Number),
    /// That a file goes whose version is gone, or has its bytes elsewhere.
    Take,
}

/// A key's current version against what is known of its name.
pub(super) fn wanted(current: Option<Number>, name: Option<&NameRow>) -> Option<Wanted> {
    match (current, name.and_then(NameRow::version)) {
        (Some(current), Some(shown)) if current == shown => {
            let leaves = name.is_some_and(|row| matches!(row.state, NameState::Moved(_)) && !row.is_moved_away());
            leaves.then_some(Wanted::Take)
        }
        (Some(current), _) => Some(Wanted::Bring(current)),
        (None, Some(_)) => Some(Wanted::Take),
        // What was seen there was never an object.
        (None, None) => None,
    }
}

/// A file that came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// What was to be replaced, or the same bytes as what replaced it.
    Known,
    /// What others wrote since.
    Foreign,
}

/// What came out is judged by its bytes, since others may have written to it between the look and the exchange; by what can
/// be seen of it only where it is too long to be read.
pub(super) fn judge(intent: &IntentRow, same_file: impl Fn(&Base) -> bool, digest: Option<[u8; 32]>) -> Came {
    let is_base = intent.base.as_ref().is_some_and(|base| match (base.digest, digest) {
        (Some(known), Some(digest)) => digest == known,
        // Too long to be read, before or after.
        _ => same_file(base),
    });
    let is_brought = matches!(&intent.task, Task::Bring { digest: brought, .. } if Some(*brought) == digest);
    if is_base || is_brought || crate::seeded_bug!("projection-blind") { Came::Known } else { Came::Foreign }
}

/// The `count`-th name for what others wrote, beside the one it had: as long as that, if there is no room for more.
pub(super) fn name_beside(name: &[u8], at: Attempt, count: usize) -> Vec<u8> {
    let count = if count == 0 { String::new() } else { format!("-{count}") };
    let mark = format!(".conflict-{}{count}", at.name());
    let leaf = name.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let mut end = name.len().min(leaf + crate::limits::MAX_SEGMENT - mark.len());
    while end > leaf && end < name.len() && name[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    [&name[..end], mark.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Number = Number { session: 1, number: 1 };
    const NEW: Number = Number { session: 1, number: 2 };

    fn shown(version: Number) -> NameState {
        NameState::Shown { version, digest: [0; 32] }
    }

    fn row(state: NameState) -> NameRow {
        NameRow { validator: "v".to_owned(), state }
    }

    /// Others may take it away first, and S3 may write the key anew.
    #[test]
    fn an_original_goes_after_its_bytes() {
        let moved = |version| Some(row(NameState::Moved(version)));
        let gone = NameRow { validator: String::new(), state: NameState::Moved(NEW) };
        assert_eq!(wanted(Some(NEW), moved(NEW).as_ref()), Some(Wanted::Take));
        assert_eq!(wanted(Some(NEW), Some(&gone)), None);
        assert_eq!(wanted(Some(NEW), moved(OLD).as_ref()), Some(Wanted::Bring(NEW)));
        assert_eq!(wanted(None, Some(&gone)), Some(Wanted::Take));
    }

    #[test]
    fn a_tree_shows_the_current_version_of_each_key() {
        let cases = [
            (Some(NEW), Some(NameState::Made(NEW)), None),
            (Some(NEW), Some(shown(NEW)), None),
            (Some(NEW), Some(NameState::Made(OLD)), Some(Wanted::Bring(NEW))),
            (Some(NEW), Some(NameState::Hidden), Some(Wanted::Bring(NEW))),
            (Some(NEW), Some(NameState::Refused("a pipe".to_owned())), Some(Wanted::Bring(NEW))),
            (Some(NEW), None, Some(Wanted::Bring(NEW))),
            (None, Some(shown(OLD)), Some(Wanted::Take)),
            (None, Some(NameState::Made(OLD)), Some(Wanted::Take)),
            (None, Some(NameState::Hidden), None),
            (None, Some(NameState::Refused(String::new())), None),
            (None, None, None),
        ];
        for (current, name, expected) in cases {
            assert_eq!(wanted(current, name.clone().map(row).as_ref()), expected, "{current:?} {name:?}");
        }
    }

    #[test]
    fn what_came_out_is_known_only_by_its_file_and_its_bytes() {
        let at = Attempt { number: (1, 3), owner: 1 };
        let take = IntentRow { at, session: 1, task: Task::Take, base: None };
        let base = |digest| Some(Base { validator: "v".to_owned(), digest });
        let bring = IntentRow {
            task: Task::Bring { version: NEW, staged: String::new(), digest: [2; 32] },
            base: base(Some([1; 32])),
            ..take.clone()
        };
        assert_eq!(judge(&take, |_| true, Some([1; 32])), Came::Foreign, "nothing was known");
        assert_eq!(judge(&bring, |_| true, Some([1; 32])), Came::Known);
        assert_eq!(judge(&bring, |_| true, Some([3; 32])), Came::Foreign, "written to, its time set back");
        assert_eq!(judge(&bring, |_| false, Some([1; 32])), Came::Known, "touched, or written once more as it was");
        assert_eq!(judge(&bring, |_| false, Some([2; 32])), Came::Known, "as it is written now");
        assert_eq!(judge(&IntentRow { base: base(None), ..bring.clone() }, |_| true, None), Came::Known, "too long");
        assert_eq!(judge(&bring, |_| true, None), Came::Known, "what S3 wrote, and is too long");
        assert_eq!(judge(&IntentRow { base: base(None), ..bring }, |_| false, None), Came::Foreign);
    }

    #[test]
    fn names_beside_fit_into_a_folder() {
        let at = |number| Attempt { number: (1, number), owner: 7 };
        assert_eq!(name_beside(b"a/k.txt", at(0x2f), 0), b"a/k.txt.conflict-1-2f");
        assert_eq!(name_beside(b"k", at(2), 3), b"k.conflict-1-2-3");
        let long = format!("a/{}", "\u{fc}".repeat(127));
        let beside = name_beside(long.as_bytes(), at(2), 0);
        let text = String::from_utf8(beside).unwrap();
        assert!(text.len() <= 2 + 255 && text.len() > 250 && text.ends_with("\u{fc}.conflict-1-2"), "{text}");
    }
}
