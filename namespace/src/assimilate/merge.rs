//! What a pass found against what is known. Pure.

use holdall_silos::holdings::{Found, Held};

use crate::table::names::{NameRow, NameState};

/// What is to be done about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// It was no object before: not known, or refused then.
    New(Held, Option<NameRow>),
    /// It is not what it was.
    Changed(Held, NameRow),
    /// It is no object, and was not known to be none.
    Refused(Vec<u8>, String, Option<NameRow>),
    /// It is gone.
    Gone(Vec<u8>, NameRow),
}

/// Both in the order of names, and of the same stretch of them.
pub(super) fn merge(found: Vec<Found>, known: Vec<(Vec<u8>, NameRow)>) -> Vec<Step> {
    let (mut steps, mut known) = (Vec::new(), known.into_iter().peekable());
    for found in found {
        while let Some((name, row)) = known.next_if(|(name, _)| name.as_slice() < found.name()) {
            steps.push(Step::Gone(name, row));
        }
        let row = known.next_if(|(name, _)| name.as_slice() == found.name()).map(|(_, row)| row);
        steps.extend(step(found, row));
    }
    steps.extend(known.map(|(name, row)| Step::Gone(name, row)));
    steps
}

fn step(found: Found, row: Option<NameRow>) -> Option<Step> {
    match (found, row) {
        (Found::Unread { .. }, _) => None,
        (Found::Held(held), row @ (None | Some(NameRow { state: NameState::Refused(_), .. }))) => {
            // A name that is refused for its own sake keeps being so.
            let same = row.as_ref().is_some_and(|row| row.validator == held.validator.0);
            (!same).then_some(Step::New(held, row))
        }
        (Found::Held(held), Some(row)) => (row.validator != held.validator.0).then_some(Step::Changed(held, row)),
        // What it was made of is gone; that it is no object now is noted by the next pass.
        (Found::Refused { name, .. }, Some(row)) if matches!(row.state, NameState::Made(_)) => {
            Some(Step::Gone(name, row))
        }
        (Found::Refused { name, reason } | Found::Archived { name, reason }, row) => {
            match row.as_ref().map(|row| &row.state) {
                Some(NameState::Refused(known)) if *known == reason => None,
                // What was archived is there all the same.
                Some(NameState::Made(_) | NameState::Shown { .. } | NameState::Moved(_) | NameState::Hidden) => None,
                Some(NameState::Refused(_)) | None => Some(Step::Refused(name, reason, row)),
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::extent::Number;
    use holdall_silos::Validator;
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    /// A name of one byte.
    pub(in crate::assimilate) fn held(name: &[u8], validator: &str) -> Held {
        Held {
            name: name.to_vec(),
            size: 1,
            validator: Validator(validator.to_owned()),
            modified: 0,
            unsettled: false,
            etag: None,
            complete: true,
            system: Vec::new(),
            user: Vec::new(),
            tags: Vec::new(),
        }
    }

    fn row(validator: &str, state: NameState) -> NameRow {
        NameRow { validator: validator.to_owned(), state }
    }

    fn made(validator: &str) -> NameRow {
        row(validator, NameState::Made(Number { session: 1, number: 1 }))
    }

    #[test]
    fn each_difference_is_a_step() {
        let refused = |name: &[u8], reason: &str| Found::Refused { name: name.to_vec(), reason: reason.to_owned() };
        let known_refused = |reason: &str| row("", NameState::Refused(reason.to_owned()));
        let found = vec![
            Found::Held(held(b"changed", "2")),
            Found::Held(held(b"new", "1")),
            Found::Held(held(b"now a file", "1")),
            refused(b"pipe", "a pipe"),
            refused(b"pipe still", "a pipe"),
            refused(b"was a file", "a pipe"),
            Found::Archived { name: b"was read".to_vec(), reason: "archived".to_owned() },
            Found::Held(held(b"same", "1")),
            Found::Unread { name: b"shut/".to_vec(), reason: String::new() },
        ];
        let mut known = vec![
            (b"changed".to_vec(), made("1")),
            (b"gone".to_vec(), made("1")),
            (b"now a file".to_vec(), known_refused("a pipe")),
            (b"pipe still".to_vec(), known_refused("a pipe")),
            (b"was a file".to_vec(), made("1")),
            (b"was read".to_vec(), made("1")),
            (b"same".to_vec(), row("1", NameState::Hidden)),
            (b"zz".to_vec(), made("1")),
        ];
        let mut found = found;
        found.sort_by(|one, other| one.name().cmp(other.name()));
        known.sort_by(|one, other| one.0.cmp(&other.0));
        let steps = merge(found, known);
        assert_eq!(
            steps,
            [
                Step::Changed(held(b"changed", "2"), made("1")),
                Step::Gone(b"gone".to_vec(), made("1")),
                Step::New(held(b"new", "1"), None),
                Step::New(held(b"now a file", "1"), Some(known_refused("a pipe"))),
                Step::Refused(b"pipe".to_vec(), "a pipe".to_owned(), None),
                Step::Gone(b"was a file".to_vec(), made("1")),
                Step::Gone(b"zz".to_vec(), made("1")),
            ]
        );
    }

    proptest! {
        /// After the steps, what is known is what was found.
        #[test]
        fn steps_make_the_known_the_found(
            found in proptest::collection::btree_map(0_u8..12, 0_u8..3, 0..12),
            known in proptest::collection::btree_map(0_u8..12, 0_u8..3, 0..12),
        ) {
            let text = |map: &BTreeMap<u8, u8>| -> BTreeMap<Vec<u8>, String> {
                map.iter().map(|(name, validator)| (vec![*name], validator.to_string())).collect()
            };
            let (found, mut model) = (text(&found), text(&known));
            let names = found.iter().map(|(name, validator)| Found::Held(held(name, validator))).collect();
            let rows = model.iter().map(|(name, validator)| (name.clone(), made(validator))).collect();
            for step in merge(names, rows) {
                match step {
                    Step::New(held, before) => {
                        prop_assert_eq!(before, None);
                        prop_assert_eq!(model.insert(held.name, held.validator.0), None);
                    }
                    Step::Changed(held, before) => {
                        prop_assert_eq!(model.insert(held.name, held.validator.0), Some(before.validator));
                    }
                    Step::Gone(name, before) => prop_assert_eq!(model.remove(&name), Some(before.validator)),
                    Step::Refused(..) => prop_assert!(false),
                }
            }
            prop_assert_eq!(model, found);
        }
    }
}
