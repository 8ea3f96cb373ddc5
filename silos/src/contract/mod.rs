//! What every kind of silo owes its callers, as one suite that runs on all of them.
//!
//! Panics with a sentence that names the promise that was broken. The silo must be new: empty and never claimed.

pub mod holdings;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};

use crate::error::{BodyError, SiloError};
use crate::facts::Facts;
use crate::kinds::Known;
use crate::limits::{BLOCK, MAX_DESCRIPTION_BEFORE_BODY, MAX_EXTENT};
use crate::marker::{Claim, Marker};
use crate::name::BlobName;
use crate::silo::{Body, Describe, Pieces, Silo, Stat, Stored, collect};

/// How much the suite does.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Size of the largest blob, bytes; at least two blocks.
    pub large: u64,
    /// Puts at once, and blobs in listings.
    pub many: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { large: 5 * BLOCK as u64 + 7, many: 32 }
    }
}

/// Runs everything, and leaves the silo claimed and without blobs.
///
/// # Panics
/// Where the silo breaks a promise.
pub async fn contract(silo: Arc<dyn Silo>, options: Options) {
    let silo = &*silo;
    a_silo_is_claimed_once_and_known_by_its_id(silo).await;
    let facts = a_probe_leaves_nothing_behind(silo).await;
    what_was_put_is_read_back_at_every_size(silo, options.large).await;
    pieces_end_on_block_borders(silo).await;
    a_description_is_read_back_and_never_part_of_the_payload(silo).await;
    a_lying_body_is_never_readable_as_a_whole(silo).await;
    a_taken_name_stays_as_it_was(silo, &facts).await;
    what_is_not_there_is_missing(silo).await;
    another_size_than_stored_is_a_mismatch(silo).await;
    a_listing_has_every_name_once_in_order(silo, options.many).await;
    puts_at_once_do_not_meet(silo, options.many).await;
    a_pack_that_was_put_is_read_where_it_is_long_enough(silo, &facts, options.large).await;
    if silo.appends() {
        a_pack_grows_and_what_it_has_stays(silo, options.large).await;
        an_append_that_does_not_fit_changes_nothing(silo, &facts).await;
        packs_that_grow_at_once_do_not_meet(silo, options.many).await;
    } else {
        let refused = silo.append(&BlobName::pack(13, 0), 0, vec![sample(1)]).await;
        refuses_not_done("an append where packs do not grow", &refused);
    }
    let left = list_all(silo, "", 100).await;
    assert!(left.is_empty(), "the suite deletes what it puts, but {left:?} is left");
}

async fn a_silo_is_claimed_once_and_known_by_its_id(silo: &dyn Silo) {
    let claim = |silo: &str, namespace: &str, id: &str, fresh| Claim {
        marker: Marker { silo: silo.to_owned(), namespace: namespace.to_owned(), id: id.to_owned() },
        fresh,
    };
    let refused = silo.claim(&claim("hot", "n", "1", false)).await;
    refuses_not_done("a registered silo without its marker", &refused);
    good("a claim of an empty silo", silo.claim(&claim("hot", "n", "1", true)).await);
    good("the same claim again", silo.claim(&claim("hot", "n", "1", true)).await);
    good("a claim by the id", silo.claim(&claim("hot", "n", "1", false)).await);
    good("registering again after a crash", silo.claim(&claim("hot", "n", "2", true)).await);
    let marker = good("reading the marker", silo.marker().await);
    assert_eq!(marker, Some(claim("hot", "n", "1", true).marker), "a second claim never replaces the marker");
    for (other, what) in [
        (claim("hot", "n", "2", false), "another id"),
        (claim("cold", "n", "1", true), "another silo of the namespace"),
        (claim("hot", "m", "1", true), "another namespace"),
    ] {
        refuses_not_done(what, &silo.claim(&other).await);
    }
    good("the claim that holds", silo.claim(&claim("hot", "n", "1", false)).await);
}

async fn a_probe_leaves_nothing_behind(silo: &dyn Silo) -> Facts {
    let facts = good("a probe", silo.probe().await);
    let again = good("a second probe", silo.probe().await);
    assert_eq!(facts.exclusive_create, again.exclusive_create, "facts do not change from probe to probe");
    assert_eq!(facts.enforces_upload_checksum, again.enforces_upload_checksum, "nor does this one");
    let differs = Known::of(&facts).map(|known| (known.name, known.differs(&facts)));
    assert!(differs.iter().all(|(_, what)| what.is_empty()), "{differs:?} in {facts:?}");
    let left = list_all(silo, "", 100).await;
    assert!(left.is_empty(), "a probe left {left:?}");
    facts
}

async fn what_was_put_is_read_back_at_every_size(silo: &dyn Silo, large: u64) {
    let block = BLOCK as u64;
    let sizes = [0, 1, 4096, block - 1, block, block + 1, 2 * block, large];
    for (number, size) in sizes.into_iter().enumerate() {
        let name = blob(2, number as u64);
        let bytes = sample(size);
        let stored = good("a put", put(silo, name, &bytes, 100_003).await);
        assert_eq!(stored.size, size, "a put answers the payload's size");
        let stat = good("a stat", silo.stat(&name).await);
        assert_eq!((stat.size, &stat.validator), (size, &stored.validator), "stat sees what put answered");
        for range in ranges(size) {
            let want = bytes.slice(range.start as usize..range.end as usize);
            let got = good("a read", read(silo, name, size, range.clone()).await);
            assert!(got == want, "range {range:?} of {size} bytes reads {} other bytes", got.len());
        }
        let back = good("a read past caches", silo.read_back(&name, size, 0..size).await);
        assert!(good("a read past caches", collect(back).await) == bytes, "{size} bytes read back past caches differ");
        good("a delete", silo.delete(&name).await);
    }
}

/// Ranges whose ends lie on, before and behind block borders.
fn ranges(size: u64) -> Vec<Range<u64>> {
    let block = BLOCK as u64;
    let points: BTreeSet<u64> = [0, 1, block - 1, block, block + 1, size.saturating_sub(1), size].into();
    let within: Vec<_> = points.into_iter().filter(|point| *point <= size).collect();
    within
        .iter()
        .flat_map(|end| within.iter().take_while(move |start| *start <= end).map(|start| *start..*end))
        .collect()
}

async fn pieces_end_on_block_borders(silo: &dyn Silo) {
    let (block, size) = (BLOCK as u64, 3 * BLOCK as u64 + 100);
    for name in [blob(3, 0), BlobName::pack(3, 1)] {
        good("a put", put(silo, name, &sample(size), 1 << 20).await);
        for range in [1000..size - 1, block - 10..2 * block - 10] {
            let mut pieces = good("a read", silo.read(&name, size, range.clone()).await);
            let mut at = range.start;
            while let Some(piece) = good("a piece", pieces.try_next().await) {
                assert!(!piece.is_empty(), "no piece is empty");
                at += piece.len() as u64;
                assert!(at == range.end || at.is_multiple_of(block), "a piece ends at {at}, on no block's border");
            }
            assert_eq!(at, range.end, "the pieces are the range");
        }
        good("a delete", silo.delete(&name).await);
    }
}

async fn a_description_is_read_back_and_never_part_of_the_payload(silo: &dyn Silo) {
    let longest = (0..MAX_DESCRIPTION_BEFORE_BODY).map(|at| at as u8).collect();
    for (number, said) in [Vec::new(), b"said".to_vec(), vec![0, 255, 13, 10], longest].into_iter().enumerate() {
        let name = blob(4, number as u64);
        let asked = Arc::new(AtomicUsize::new(0));
        let (count, saying) = (Arc::clone(&asked), said.clone());
        let describe: Describe = Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            saying.clone()
        });
        good("a put", silo.put(&name, 3, body(&Bytes::from_static(b"abc"), 1), describe).await);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "a description is asked for once");
        assert_eq!(good("a description", silo.describe(&name).await), said, "a blob says what was said of it");
        assert_eq!(good("a read", read(silo, name, 3, 0..3).await), "abc", "a description is no payload");
        assert_eq!(good("a stat", silo.stat(&name).await).size, 3, "a description has no part in the size");
        good("a delete", silo.delete(&name).await);
    }
}

async fn a_lying_body_is_never_readable_as_a_whole(silo: &dyn Silo) {
    let broken = || BodyError { reason: "broken on purpose".to_owned() };
    for (number, size) in [10, 2 * BLOCK as u64].into_iter().enumerate() {
        let whole = sample(size);
        let lies: [(&str, Body); 4] = [
            ("ends early", body(&whole.slice(1..), 1 << 16)),
            ("goes on", body(&sample(size + 1), 1 << 16)),
            ("fails in the middle", Box::pin(stream::iter([Ok(whole.slice(..5)), Err(broken())]))),
            ("fails behind its last byte", Box::pin(stream::iter([Ok(whole.clone()), Err(broken())]))),
        ];
        for (lie, (what, body)) in lies.into_iter().enumerate() {
            let name = blob(5, 10 * number as u64 + lie as u64);
            let refused = silo.put(&name, size, body, describe()).await;
            assert!(matches!(refused, Err(SiloError::Body(_))), "a body that {what} was answered {refused:?}");
            let got = read(silo, name, size, 0..size).await;
            let gone = matches!(got, Err(SiloError::Missing | SiloError::Mismatch { .. }));
            assert!(gone, "a body that {what} reads {:?}", got.map(|bytes| bytes.len()));
            good("deleting what may be left", silo.delete(&name).await);
        }
    }
}

async fn a_taken_name_stays_as_it_was(silo: &dyn Silo, facts: &Facts) {
    if !facts.exclusive_create {
        return;
    }
    let name = blob(6, 0);
    good("a put", put(silo, name, &sample(10), 10).await);
    for size in [10, 11, 2 * BLOCK as u64] {
        let second = put(silo, name, &sample(size), 1 << 16).await;
        assert_eq!(second, Err(SiloError::Exists), "a name is written once");
    }
    assert_eq!(good("a read", read(silo, name, 10, 0..10).await), sample(10), "the first bytes stay");
    good("a delete", silo.delete(&name).await);
}

async fn what_is_not_there_is_missing(silo: &dyn Silo) {
    let name = blob(7, 0);
    assert_eq!(read(silo, name, 10, 0..10).await, Err(SiloError::Missing), "a read of nothing");
    assert_eq!(read(silo, name, 0, 0..0).await, Err(SiloError::Missing), "a read of nothing's no bytes");
    assert_eq!(silo.stat(&name).await, Err(SiloError::Missing), "a stat of nothing");
    assert_eq!(silo.describe(&name).await, Err(SiloError::Missing), "a description of nothing");
    let back = silo.read_back(&name, 10, 0..10).await.map(drop);
    assert_eq!(back, Err(SiloError::Missing), "a read of nothing past caches");
    good("a delete of nothing", silo.delete(&name).await);
    good("a put", put(silo, name, &sample(10), 10).await);
    good("a delete", silo.delete(&name).await);
    good("a second delete", silo.delete(&name).await);
    assert_eq!(read(silo, name, 10, 0..10).await, Err(SiloError::Missing), "a read of what was deleted");
}

async fn another_size_than_stored_is_a_mismatch(silo: &dyn Silo) {
    for (number, size) in [0, 10, 3 * BLOCK as u64].into_iter().enumerate() {
        let name = blob(8, number as u64);
        good("a put", put(silo, name, &sample(size), 1 << 20).await);
        for wrong in [size + 1, size.saturating_sub(1), 2 * size + 1].into_iter().filter(|wrong| *wrong != size) {
            for range in [0..wrong, 0..1, wrong - wrong.min(1)..wrong].into_iter().filter(|range| range.end <= wrong) {
                let got = read(silo, name, wrong, range.clone()).await.map(|bytes| bytes.len());
                let mismatch = matches!(got, Err(SiloError::Mismatch { .. }));
                assert!(mismatch, "{range:?} of {size} bytes taken for {wrong} reads {got:?}");
            }
        }
        refuses_not_done("a range behind the end", &read(silo, name, size, 0..size + 1).await);
        good("a delete", silo.delete(&name).await);
    }
}

async fn a_listing_has_every_name_once_in_order(silo: &dyn Silo, many: u64) {
    // Far enough apart to lie in several folders.
    let mut names: Vec<_> = (0..many).map(|number| blob(9 + number % 2, number * 3000)).collect();
    future::join_all(names.iter().map(|name| async { good("a put", put(silo, *name, &sample(5), 5).await) })).await;
    names.sort_unstable();
    let texts: Vec<_> = names.iter().map(ToString::to_string).collect();
    // A busy WebDAV server came to the end of a body that had broken off after what was left of it had been deleted: an orphan.
    let late = BlobName::session_prefix(5);
    for limit in [1000, 7, many as usize] {
        let mut listed = list_all(silo, "", limit).await;
        listed.retain(|name| !name.starts_with(&late));
        assert_eq!(listed, texts, "a listing in pages of {limit}");
    }
    for session in [9, 10, 11] {
        let prefix = BlobName::session_prefix(session);
        let want: Vec<_> = texts.iter().filter(|text| text.starts_with(&prefix)).cloned().collect();
        assert_eq!(list_all(silo, &prefix, 7).await, want, "a listing of one session");
    }
    let tail = good("the tail of a listing", silo.list("", Some(&texts[1]), 1000).await);
    assert!(tail.iter().all(|listed| listed.stored >= 5), "a listing says what is stored");
    assert_eq!(tail.len(), texts.len() - 2, "a listing begins behind the name it is given");
    let past = good("the end of a listing", silo.list("", texts.last().map(String::as_str), 1000).await);
    assert!(past.is_empty(), "nothing comes after the last name");
    future::join_all(names.iter().map(|name| async { good("a delete", silo.delete(name).await) })).await;
}

async fn puts_at_once_do_not_meet(silo: &dyn Silo, many: u64) {
    let size = |number| if number % 4 == 0 { 2 * BLOCK as u64 + number } else { number };
    let round_trip = |number| async move {
        let (name, bytes) = (blob(12, number), sample(size(number)));
        good("one put of many", put(silo, name, &bytes, 1 << 16).await);
        let got = good("one read of many", read(silo, name, size(number), 0..size(number)).await);
        assert!(got == bytes, "put {number} of many reads other bytes");
        good("one delete of many", silo.delete(&name).await);
    };
    stream::iter(0..many).for_each_concurrent(16, round_trip).await;
}

async fn a_pack_that_was_put_is_read_where_it_is_long_enough(silo: &dyn Silo, facts: &Facts, large: u64) {
    let block = BLOCK as u64;
    for (number, size) in [0, 1, 4096, block, block + 1, large].into_iter().enumerate() {
        let (pack, bytes) = (BlobName::pack(13, number as u64), sample(size));
        let stored = good("a put of a pack", put(silo, pack, &bytes, 100_003).await);
        let stat = good("a stat of a pack", silo.stat(&pack).await);
        assert_eq!(
            (stored.size, &stat),
            (size, &Stat { size, validator: stored.validator }),
            "a pack's length is told"
        );
        let said = good("a description of a pack", silo.describe(&pack).await);
        assert!(said.is_empty() || said == b"said of it", "a pack says nothing, or what was said of it");
        pack_reads(silo, pack, &bytes).await;
        let listed = list_all(silo, &BlobName::session_prefix(13), 100).await;
        assert_eq!(listed, [pack.to_string()], "a pack is listed");
        if facts.exclusive_create {
            assert_eq!(put(silo, pack, &bytes, 100_003).await, Err(SiloError::Exists), "a pack's name is written once");
        }
        gone_once_deleted(silo, pack).await;
    }
    let pack = BlobName::pack(13, 100);
    let cut = silo.put(&pack, 10, body(&sample(9), 4), describe()).await;
    assert!(matches!(cut, Err(SiloError::Body(_))), "a pack whose body ends early was answered {cut:?}");
    let got = read(silo, pack, 10, 0..10).await;
    assert!(matches!(got, Err(SiloError::Missing | SiloError::Mismatch { .. })), "a cut pack reads {got:?}");
    good("deleting what may be left", silo.delete(&pack).await);
}

/// A pack of `bytes`, taken for any length up to its own, reads what it has; taken for a longer one it reads nothing.
async fn pack_reads(silo: &dyn Silo, pack: BlobName, bytes: &Bytes) {
    let length = bytes.len() as u64;
    for range in ranges(length) {
        let want = bytes.slice(range.start as usize..range.end as usize);
        for least in BTreeSet::from([range.end, length]) {
            let got = good("a read of a pack", read(silo, pack, least, range.clone()).await);
            assert!(got == want, "{range:?} of a pack of {length} bytes, taken for {least}, reads others");
        }
    }
    let back = good("a read past caches", silo.read_back(&pack, length, 0..length).await);
    assert!(good("a read past caches", collect(back).await) == bytes, "a pack reads others past caches");
    let short = length.min(2)..length.min(9);
    let back = good("a short read past caches", silo.read_back(&pack, short.end, short.clone()).await);
    let want = bytes.slice(short.start as usize..short.end as usize);
    assert_eq!(good("a short read past caches", collect(back).await), want, "a part of a pack past caches");
    for least in [length + 1, 2 * length + BLOCK as u64] {
        for range in [0..0, 0..1, 0..least, length..least, least - 1..least] {
            let got = read(silo, pack, least, range.clone()).await.map(|bytes| bytes.len());
            let mismatch = matches!(got, Err(SiloError::Mismatch { .. }));
            assert!(mismatch, "{range:?} of a pack of {length} bytes, taken for {least}, reads {got:?}");
        }
    }
    refuses_not_done("a range behind a pack's least length", &read(silo, pack, length, 0..length + 1).await);
}

async fn gone_once_deleted(silo: &dyn Silo, pack: BlobName) {
    good("a delete of a pack", silo.delete(&pack).await);
    assert_eq!(read(silo, pack, 0, 0..0).await, Err(SiloError::Missing), "a read of a pack that was deleted");
    assert_eq!(silo.stat(&pack).await, Err(SiloError::Missing), "a stat of a pack that was deleted");
    assert_eq!(silo.describe(&pack).await, Err(SiloError::Missing), "a description of a pack that was deleted");
}

async fn a_pack_grows_and_what_it_has_stays(silo: &dyn Silo, large: u64) {
    let block = BLOCK as u64;
    for (number, first) in [1, 3 * block + 7].into_iter().enumerate() {
        let pack = BlobName::pack(14, number as u64);
        let steps =
            [vec![first], vec![100], vec![], vec![block - 102, 1, 1], vec![0, 3 * block, 0], vec![5; 200], vec![large]];
        let whole = sample(steps.iter().flatten().sum());
        let mut seen = BTreeSet::new();
        let mut at = 0;
        for step in &steps {
            good("an append", silo.append(&pack, at, cut(&whole, at, step)).await);
            at += step.iter().sum::<u64>();
            let stat = good("a stat of a pack that grows", silo.stat(&pack).await);
            assert_eq!(stat.size, at, "a pack is as long as was appended");
            assert!(seen.insert(stat.validator.0) || step.is_empty(), "a pack that grew has another validator");
            assert!(good("a description", silo.describe(&pack).await).is_empty(), "nothing was said of it");
            pack_reads(silo, pack, &whole.slice(..at as usize)).await;
        }
        a_reader_keeps_what_it_opened(silo, pack, &whole).await;
        let listed = good("a listing", silo.list(&BlobName::session_prefix(14), None, 10).await);
        let listed: Vec<_> = listed.into_iter().map(|listed| (listed.name, listed.stored)).collect();
        assert_eq!(listed, [(pack.to_string(), at + 5)], "a pack is listed with its length");
        gone_once_deleted(silo, pack).await;
    }
}

/// A read that began before an append ends as it would have.
async fn a_reader_keeps_what_it_opened(silo: &dyn Silo, pack: BlobName, whole: &Bytes) {
    let size = whole.len() as u64;
    let mut pieces = good("a read of a pack", silo.read(&pack, size, 0..size).await);
    let first = good("a piece", pieces.try_next().await).unwrap_or_default();
    good("an append under a reader", silo.append(&pack, size, vec![sample(5)]).await);
    let rest = good("the rest of a read", collect(pieces).await);
    assert!([first, rest].concat() == *whole, "a pack that grows under a reader reads others");
}

async fn an_append_that_does_not_fit_changes_nothing(silo: &dyn Silo, facts: &Facts) {
    let (pack, bytes) = (BlobName::pack(15, 0), sample(10));
    let nothing = silo.append(&pack, 10, vec![bytes.clone()]).await;
    assert_eq!(nothing, Err(SiloError::Missing), "an append to nothing");
    assert_eq!(silo.stat(&pack).await, Err(SiloError::Missing), "an append to nothing begins no pack");
    good("the beginning of a pack", silo.append(&pack, 0, vec![bytes.clone()]).await);
    for at in [1, 9, 11, BLOCK as u64] {
        for more in [vec![], vec![sample(3)]] {
            let wrong = silo.append(&pack, at, more).await;
            assert!(matches!(wrong, Err(SiloError::Mismatch { .. })), "an append at {at} of 10 was answered {wrong:?}");
        }
    }
    if facts.exclusive_create {
        assert_eq!(silo.append(&pack, 0, vec![sample(3)]).await, Err(SiloError::Exists), "a pack begins once");
        assert_eq!(put(silo, pack, &sample(3), 3).await, Err(SiloError::Exists), "nor is it put");
    }
    refuses_not_done("an append to what is no pack", &silo.append(&blob(15, 1), 0, vec![sample(3)]).await);
    refuses_not_done("a pack too long", &silo.append(&pack, MAX_EXTENT - 1, vec![sample(2)]).await);
    pack_reads(silo, pack, &bytes).await;
    good("an append that fits", silo.append(&pack, 10, vec![bytes.clone()]).await);
    pack_reads(silo, pack, &[&bytes[..], &bytes].concat().into()).await;
    gone_once_deleted(silo, pack).await;
    good("an empty pack", silo.append(&pack, 0, Vec::new()).await);
    pack_reads(silo, pack, &Bytes::new()).await;
    gone_once_deleted(silo, pack).await;
}

async fn packs_that_grow_at_once_do_not_meet(silo: &dyn Silo, many: u64) {
    let grow = |number| async move {
        let pack = BlobName::pack(16, number);
        let step = if number % 4 == 0 { BLOCK as u64 + number } else { 100 + number };
        let whole = sample(4 * step);
        for at in (0..4).map(|count| count * step) {
            good("one append of many", silo.append(&pack, at, cut(&whole, at, &[step / 2, step - step / 2])).await);
        }
        let got = good("one read of many", read(silo, pack, 4 * step, 0..4 * step).await);
        assert!(got == whole, "pack {number} of many reads other bytes");
        good("one delete of many", silo.delete(&pack).await);
    };
    stream::iter(0..many).for_each_concurrent(16, grow).await;
}

/// Pieces of these lengths, from `at` on.
fn cut(whole: &Bytes, mut at: u64, lengths: &[u64]) -> Vec<Bytes> {
    let mut piece = |length: u64| {
        at += length;
        whole.slice((at - length) as usize..at as usize)
    };
    lengths.iter().map(|length| piece(*length)).collect()
}

fn good<T>(what: &str, result: Result<T, SiloError>) -> T {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn refuses_not_done<T: Debug>(what: &str, result: &Result<T, SiloError>) {
    assert!(matches!(result, Err(SiloError::NotDone { .. })), "{what} was answered {result:?}, not refused");
}

fn blob(session: u64, number: u64) -> BlobName {
    BlobName { session, number, extent: (session, number) }
}

/// Bytes that differ from place to place, so that shifted or repeated ones show.
fn sample(size: u64) -> Bytes {
    (0..size).map(|at| ((at ^ (at >> 8) ^ (at >> 16)).wrapping_mul(167) >> 3) as u8).collect()
}

fn body(bytes: &Bytes, piece: usize) -> Body {
    let bytes = bytes.clone();
    let cuts = (0..bytes.len()).step_by(piece.max(1));
    Box::pin(stream::iter(cuts.map(move |at| Ok(bytes.slice(at..(at + piece).min(bytes.len()))))))
}

fn describe() -> Describe {
    Arc::new(|_| b"said of it".to_vec())
}

async fn put(silo: &dyn Silo, name: BlobName, bytes: &Bytes, piece: usize) -> Result<Stored, SiloError> {
    silo.put(&name, bytes.len() as u64, body(bytes, piece), describe()).await
}

async fn read(silo: &dyn Silo, name: BlobName, size: u64, range: Range<u64>) -> Result<Bytes, SiloError> {
    let pieces: Pieces = silo.read(&name, size, range).await?;
    collect(pieces).await
}

async fn list_all(silo: &dyn Silo, prefix: &str, limit: usize) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    loop {
        let page = good("a listing", silo.list(prefix, names.last().map(String::as_str), limit).await);
        assert!(page.len() <= limit, "a page is at most as long as asked");
        if page.is_empty() {
            return names;
        }
        names.extend(page.into_iter().map(|listed| listed.name));
    }
}
