//! Folding a sorted map by a delimiter: one definition for every engine that can seek.

use bytes::Bytes;

use super::{Fold, Folded, Key};

/// Folds; `seek(from, to)` answers the rows from `from` (inclusive) to `to` (exclusive) in key order.
pub(super) fn fold<I, E>(fold: &Fold, mut seek: impl FnMut(&[u8], &[u8]) -> Result<I, E>) -> Result<Vec<Folded>, E>
where
    I: Iterator<Item = Result<(Bytes, Bytes), E>>,
{
    let mut lines = Vec::new();
    let mut from = fold.range.start.clone();
    while lines.len() < fold.limit && from < fold.range.end {
        let Some(prefix) = rows_until_prefix(fold, seek(&from, &fold.range.end)?, &mut lines)? else { break };
        let Some(next) = successor(&prefix) else { break };
        from = next;
    }
    Ok(lines)
}

/// Takes rows until one folds, and answers the prefix it folded into; `None` ends the fold.
fn rows_until_prefix<I, E>(fold: &Fold, rows: I, lines: &mut Vec<Folded>) -> Result<Option<Bytes>, E>
where
    I: Iterator<Item = Result<(Bytes, Bytes), E>>,
{
    for row in rows {
        if lines.len() == fold.limit {
            break;
        }
        let (key, value) = row?;
        if let Some(length) = folded_length(&key, fold) {
            let prefix = key.slice(..length);
            lines.push(Folded::Prefix(prefix.clone()));
            return Ok(Some(prefix));
        }
        lines.push(Folded::Row(key, value));
    }
    Ok(None)
}

/// How long the common prefix of a key is, if it has one.
fn folded_length(key: &[u8], fold: &Fold) -> Option<usize> {
    if fold.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(fold.skip..)?;
    let at = rest.windows(fold.delimiter.len()).position(|window| window == fold.delimiter)?;
    Some(fold.skip + at + fold.delimiter.len())
}

/// The first key after every key that starts with `prefix`; `None` when there is none.
pub(crate) fn successor(prefix: &[u8]) -> Option<Key> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=kept].to_vec();
    next[kept] += 1;
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_successor_ends_exactly_the_prefix(prefix in proptest::collection::vec(any::<u8>(), 0..4),
                                                 key in proptest::collection::vec(any::<u8>(), 0..6)) {
            let inside = key.starts_with(&prefix);
            let between = key >= prefix && successor(&prefix).is_none_or(|end| key < end);
            prop_assert_eq!(inside, between);
        }
    }
}
