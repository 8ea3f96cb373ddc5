//! Where a listing is about so many names further on, guessed from names that it showed.
//!
//! Names are taken for numbers: each place of them is a digit, and the letters seen there are its values. Nothing depends on
//! how good a guess is but how long a stretch of the listing becomes.

use std::collections::VecDeque;

use crate::web::Entry;

/// So many places behind the first one that differs are looked at: enough to tell where a page ends from where it begins.
const DIGITS: usize = 4;
/// Places further on say nothing.
const PLACES: usize = 256;

/// Names that follow each other: from where to where, how many, and which letters they have where.
#[derive(Debug, Clone, Default)]
pub(super) struct Stride {
    /// The name before them, or the first of them where that is not known.
    first: Option<Vec<u8>>,
    last: Vec<u8>,
    names: usize,
    letters: Vec<Letters>,
}

impl Stride {
    /// Of the names behind this one, none of which came yet.
    pub(super) fn behind(name: Option<Vec<u8>>) -> Self {
        Self { first: name, ..Self::default() }
    }

    /// Goes on with a page of names.
    pub(super) fn add(&mut self, page: &[Entry]) {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return };
        self.first.get_or_insert_with(|| first.name.clone());
        self.last.clone_from(&last.name);
        self.names += page.len();
        for entry in page {
            let places = entry.name.len().min(PLACES);
            if self.letters.len() < places {
                self.letters.resize_with(places, Letters::default);
            }
            for (letters, letter) in self.letters.iter_mut().zip(&entry.name) {
                letters.add(*letter);
            }
        }
    }

    /// How many names these are.
    pub(super) fn names(&self) -> usize {
        self.names
    }

    /// Where about so many names are passed behind `from`: a name that nothing has, most often. None where nothing says.
    pub(super) fn leap(&self, from: &[u8], names: usize) -> Option<String> {
        let first = self.first.as_deref()?;
        let shared = first.iter().zip(&self.last).take_while(|(one, other)| one == other).count();
        let (scale, all) = self.scale(shared);
        if scale.is_empty() {
            return None;
        }
        let value = |name: &[u8], at: usize| scale[at].rank(name.get(shared + at).copied());
        let number = |name| (0..scale.len()).fold(0, |number, at| number * scale[at].len() + value(name, at));
        let length = number(&self.last).saturating_sub(number(first)).max(1);
        let mut number = number(from) + length * names as u64 / self.names.max(1) as u64;
        let mut digits = VecDeque::new();
        for letters in scale.iter().rev() {
            digits.push_front(letters.at(number % letters.len())?);
            number /= letters.len();
        }
        let leap = add(from.get(..shared)?.to_vec(), number, all, digits)?;
        String::from_utf8(leap).ok().filter(|leap| leap.as_bytes() > from)
    }

    /// What is counted with from a place on: in each place the only letter that it has, or all that are seen nearby, since it
    /// may have shown but a few yet.
    fn scale(&self, shared: usize) -> (Vec<Letters>, Letters) {
        let nearby = self.letters.iter().skip(shared).take(DIGITS);
        let seen = nearby.clone().filter(|letters| letters.len() > 1).copied().fold(Letters::default(), Letters::or);
        let all = if seen.or(Letters::decimals()) == Letters::decimals() { Letters::decimals() } else { seen };
        (nearby.map(|letters| if letters.len() > 1 { all } else { *letters }).collect(), all)
    }
}

/// Adds a number to a name, from its last letter or digit on, in all `letters` or in decimals; other letters stay, and `digits`
/// follow. Where it cannot, gives what is behind all names that begin like this one; none where nothing is.
fn add(mut name: Vec<u8>, mut number: u64, letters: Letters, digits: VecDeque<u8>) -> Option<Vec<u8>> {
    for at in (0..name.len()).rev().filter(|at| name[*at].is_ascii_alphanumeric()).collect::<Vec<_>>() {
        if number == 0 {
            break;
        }
        let Some(letters) = [letters, Letters::decimals()].into_iter().find(|letters| letters.has(name[at])) else {
            name.truncate(at + 1);
            // Few letters come after it.
            name.push(b'~');
            return Some(name);
        };
        number += letters.rank(Some(name[at]));
        name[at] = letters.at(number % letters.len())?;
        number /= letters.len();
    }
    name.extend(digits);
    (number == 0).then_some(name)
}

/// A set of letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Letters([u64; 4]);

impl Letters {
    fn decimals() -> Self {
        let mut decimals = Self::default();
        (b'0'..=b'9').for_each(|digit| decimals.add(digit));
        decimals
    }

    fn add(&mut self, letter: u8) {
        self.0[usize::from(letter / 64)] |= 1 << (letter % 64);
    }

    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    fn has(&self, letter: u8) -> bool {
        self.0[usize::from(letter / 64)] & 1 << (letter % 64) != 0
    }

    /// How many; at least 1.
    fn len(&self) -> u64 {
        self.0.iter().map(|bits| u64::from(bits.count_ones())).sum::<u64>().max(1)
    }

    /// How many of them come before a letter; none before the end of a name.
    fn rank(&self, letter: Option<u8>) -> u64 {
        let before = letter.map_or(0, |letter| (0..letter).filter(|before| self.has(*before)).count() as u64);
        before.min(self.len() - 1)
    }

    fn at(&self, rank: u64) -> Option<u8> {
        (0..=u8::MAX).filter(|letter| self.has(*letter)).nth(rank as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stride(names: impl IntoIterator<Item = impl Into<Vec<u8>>>) -> Stride {
        let page: Vec<_> = names.into_iter().map(|name| Entry { name: name.into(), ..Entry::default() }).collect();
        let mut stride = Stride::default();
        stride.add(&page);
        stride
    }

    /// The leap over so many names behind the last of these.
    fn leap(names: impl IntoIterator<Item = String>, over: usize) -> Option<String> {
        let stride = stride(names);
        stride.leap(&stride.last, over)
    }

    #[test]
    fn a_leap_passes_about_so_many_names() {
        let numbers = |from: usize| (from..from + 1000).map(|number| format!("img_{number:06}.jpg"));
        assert_eq!(leap(numbers(0), 6000).unwrap(), "img_006993.");
        assert_eq!(leap(numbers(98_765), 6000).unwrap(), "img_105758");
        let hex = (0..1000).map(|number| format!("o/{:04x}", 0x2f00 + number * 4));
        assert_eq!(leap(hex, 6000).unwrap(), "o/9c44");
        let folders = (0..1000).map(|number| format!("{:05}/{:02}", number / 20, number % 20));
        assert_eq!(leap(folders, 6000).unwrap(), "00343/7");
    }

    #[test]
    fn a_leap_leaves_a_folder_that_is_done() {
        let days = (0..1000).map(|number| format!("2026/{:02}/{:05}", 8 + number / 700, number % 700));
        assert_eq!(leap(days, 3000).unwrap(), "2026/12/00");
        let words = (0..1000).map(|number| format!("day {}/{:03}", if number < 500 { 'x' } else { 'y' }, number % 500));
        assert_eq!(leap(words, 3000).unwrap(), "da~", "no letter like `a` was seen");
    }

    #[test]
    fn nothing_says_where_to_leap_to() {
        assert_eq!(Stride::default().leap(b"a", 1), None);
        assert_eq!(leap(["a".to_owned()], 1), None);
        assert_eq!(stride(["\u{e8}1", "\u{e9}1"]).leap("\u{e9}1".as_bytes(), 9), None, "no text");
        let long = |end| [vec![b'a'; PLACES], vec![end]].concat();
        assert_eq!(stride([long(b'a'), long(b'b')]).leap(&long(b'b'), 1), None);
        assert_eq!(stride(["99998", "99999"]).leap(b"99999", 9), None, "what is behind all");
    }

    proptest! {
        #[test]
        fn a_leap_leads_on_whatever_the_names_are(
            names in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..9), 0..40),
            from in prop::collection::vec(any::<u8>(), 0..9),
            over in 0..100_000usize,
        ) {
            let leap = stride(names).leap(&from, over);
            prop_assert!(leap.is_none_or(|leap| leap.as_bytes() > from.as_slice()));
        }
    }
}
