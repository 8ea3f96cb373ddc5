//! What everything that holds names of others owes its readers, as one suite that runs on all of them.
//!
//! Panics with a sentence that names the promise that was broken. Nothing may be held when it begins.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;

use crate::contract::{good, sample};
use crate::error::SiloError;
use crate::holdings::{Found, Held, Holdings};
use crate::limits::BLOCK;
use crate::silo::collect;

/// A header that goes with what is put.
pub const SYSTEM: (&str, &str) = ("content-type", "text/x-odd");
/// User metadata that goes with it.
pub const USER: (&str, &str) = ("colour", "blue");

/// Names that every kind takes.
const NAMES: [&str; 15] = [
    "B",
    "a b",
    "a%2Fb",
    "a&b=c;d?e#f",
    "a+b",
    "a-b",
    "a/1",
    "a/2/x",
    "a0",
    "a'\"<>",
    " lead",
    "trail ",
    "é/ü",
    "日本",
    "🦀",
];

/// Names that only buckets take.
pub const KEYS: [&str; 6] = ["a", "a/", "b", "b//c", "b//c/", "/d"];

/// Whoever else writes there.
#[async_trait]
pub trait Others: Send + Sync {
    /// Puts bytes under a name, in place of what was there; [`SYSTEM`] and [`USER`] go with them where anything does.
    async fn put(&self, name: &str, bytes: &[u8]);

    /// Takes a name away.
    async fn delete(&self, name: &str);

    /// Whether anything goes with bytes.
    fn says_more(&self) -> bool {
        true
    }
}

/// Runs everything, with names that only this kind takes besides, and leaves nothing behind.
///
/// # Panics
/// Where a promise is broken.
pub async fn holdings(held: &dyn Holdings, others: &dyn Others, more: &[&str]) {
    let identity = good("an identity", held.identity().await);
    assert!(walk(held, "", None, 10).await.is_empty(), "where nothing is, nothing is seen");
    let mut names: Vec<_> = NAMES.into_iter().chain(more.iter().copied()).collect();
    names.sort_unstable();
    for name in &names {
        others.put(name, name.as_bytes()).await;
    }
    a_walk_sees_every_name_once_in_order(held, &names).await;
    a_walk_begins_where_it_is_told(held, &names).await;
    a_look_agrees_with_a_walk(held, others).await;
    what_is_not_there_is_missing(held).await;
    bytes_are_read_at_every_size(held, others).await;
    a_change_is_told(held, others).await;
    for name in &names {
        others.delete(name).await;
        assert_eq!(held.look(name.as_bytes()).await, Err(SiloError::Missing), "`{name}` was deleted");
    }
    assert!(walk(held, "", None, 10).await.is_empty(), "what was deleted is not seen");
    assert_eq!(good("an identity", held.identity().await), identity, "whatever is held, the identity stays");
}

async fn a_walk_sees_every_name_once_in_order(held: &dyn Holdings, names: &[&str]) {
    for limit in [1000, 4, 1] {
        assert_eq!(seen(&walk(held, "", None, limit).await), names, "a walk in steps of {limit}");
    }
}

async fn a_walk_begins_where_it_is_told(held: &dyn Holdings, names: &[&str]) {
    for prefix in ["", "a", "a/", "é/", "none"] {
        for after in [None, Some(" "), Some("a+"), Some("a/1"), Some("a/2/x"), Some("a0"), Some("é/ü"), Some("🦀")]
        {
            let fits = |name: &&str| name.starts_with(prefix) && after.is_none_or(|after| *name > after);
            let wanted: Vec<_> = names.iter().copied().filter(fits).collect();
            assert_eq!(seen(&walk(held, prefix, after, 3).await), wanted, "those with `{prefix}` after {after:?}");
        }
    }
}

async fn a_look_agrees_with_a_walk(held: &dyn Holdings, others: &dyn Others) {
    for seen in walk(held, "", None, 1000).await {
        let name = String::from_utf8_lossy(&seen.name).into_owned();
        let looked = good("a look", held.look(&seen.name).await);
        assert!(looked.complete, "a look tells everything of `{name}`");
        let known =
            |held: &Held| (held.name.clone(), held.size, held.validator.clone(), held.modified, held.etag.clone());
        assert_eq!(known(&seen), known(&looked), "a look and a walk see the same");
        assert_eq!(seen.size, name.len() as u64, "the size of `{name}`");
        if others.says_more() {
            let has = |pairs: &[(String, String)], (name, value): (&str, &str)| {
                pairs.iter().any(|pair| pair.0 == name && pair.1 == value)
            };
            assert!(has(&looked.system, SYSTEM) && has(&looked.user, USER), "what goes with `{name}`: {looked:?}");
        }
        assert_eq!(good("a read", read(held, &looked, 0..looked.size).await), name, "the bytes of `{name}`");
    }
}

async fn what_is_not_there_is_missing(held: &dyn Holdings) {
    let seen = good("a look", held.look(b"a/1").await);
    for name in ["none", "a/1/below", "A0", "a%2fb", "a/2/x "] {
        assert_eq!(held.look(name.as_bytes()).await, Err(SiloError::Missing), "a look at `{name}`");
        let read = held.read(name.as_bytes(), seen.size, &seen.validator, 0..seen.size).await.map(drop);
        let gone = matches!(read, Err(SiloError::Missing | SiloError::Mismatch { .. }));
        assert!(gone, "a read of `{name}` was answered {read:?}");
    }
}

async fn bytes_are_read_at_every_size(held: &dyn Holdings, others: &dyn Others) {
    let block = BLOCK as u64;
    for size in [0, 1, block, 2 * block + 7] {
        let bytes = sample(size);
        others.put("a/1", &bytes).await;
        let seen = settled(held, "a/1").await;
        assert_eq!(seen.size, size, "a look tells the size");
        let middle = block.min(size);
        for range in [0..size, 0..size.min(1), size..size, middle - middle.min(3)..size.min(middle + 3)] {
            let got = good("a read", read(held, &seen, range.clone()).await);
            assert!(got == bytes[range.start as usize..range.end as usize], "{range:?} of {size} bytes are others");
        }
        let outside = read(held, &seen, 0..size + 1).await;
        assert!(matches!(outside, Err(SiloError::NotDone { .. })), "a range behind the end: {outside:?}");
        pieces_end_on_block_borders(held, &seen).await;
        let longer = Held { size: size + 1, ..seen };
        for range in [0..size + 1, 0..1] {
            is_mismatch("another size than it is", &read(held, &longer, range).await);
        }
    }
}

async fn pieces_end_on_block_borders(held: &dyn Holdings, seen: &Held) {
    let mut at = 0;
    let mut pieces = good("a read", held.read(&seen.name, seen.size, &seen.validator, 0..seen.size).await);
    while let Some(piece) = good("a piece", pieces.try_next().await) {
        at += piece.len() as u64;
        assert!(at == seen.size || at.is_multiple_of(BLOCK as u64), "a piece ends at {at}, on no block's border");
    }
    assert_eq!(at, seen.size, "the pieces are the whole");
}

/// Other bytes, as many and more.
async fn a_change_is_told(held: &dyn Holdings, others: &dyn Others) {
    others.put("a/1", b"0123456789").await;
    let before = settled(held, "a/1").await;
    for bytes in ["9876543210", "01234567890"] {
        others.put("a/1", bytes.as_bytes()).await;
        let after = settled(held, "a/1").await;
        assert_ne!(before.validator, after.validator, "other bytes have another validator");
        for range in [0..10, 2..5, 10..10] {
            is_mismatch("what was changed", &read(held, &before, range).await);
        }
        assert_eq!(good("a read", read(held, &after, 0..after.size).await), bytes, "what is there now is read");
    }
}

fn is_mismatch(what: &str, outcome: &Result<Bytes, SiloError>) {
    assert!(matches!(outcome, Err(SiloError::Mismatch { .. })), "{what} reads {outcome:?}");
}

/// A look from which on every change shows.
async fn settled(held: &dyn Holdings, name: &str) -> Held {
    loop {
        let seen = good("a look", held.look(name.as_bytes()).await);
        if !seen.unsettled {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn read(held: &dyn Holdings, seen: &Held, range: Range<u64>) -> Result<Bytes, SiloError> {
    collect(held.read(&seen.name, seen.size, &seen.validator, range).await?).await
}

fn seen(held: &[Held]) -> Vec<&str> {
    held.iter().map(|held| std::str::from_utf8(&held.name).unwrap_or("no UTF-8")).collect()
}

async fn walk(held: &dyn Holdings, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Held> {
    let mut walk = held.walk(prefix.as_bytes(), after.map(str::as_bytes));
    let mut all = Vec::new();
    loop {
        let some = good("a walk", walk.next(limit).await);
        if some.is_empty() {
            return all;
        }
        all.extend(some.into_iter().map(|found| match found {
            Found::Held(held) => held,
            Found::Refused { reason, .. } | Found::Archived { reason, .. } | Found::Unread { reason, .. } => {
                panic!("a plain name is refused: {reason}")
            }
        }));
    }
}
