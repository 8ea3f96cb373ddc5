//! What every engine promises, as tests that any engine can be put to.
//!
//! The engine is handed over empty; every row made here begins with `contract/`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Decide, Engine, EngineError, Fold, Folded, Key, NotCommitted, Priority, Read, Rows, Write, commit};

/// Commits that race at once.
const RACERS: usize = 64;

/// Panics with a clear message at the first promise that the engine breaks.
pub async fn contract(engine: Arc<dyn Engine>) {
    let engine = &*engine;
    gets_answer_in_the_order_asked(engine).await;
    ranges_page_by_rows_and_by_bytes(engine).await;
    folds_find_common_prefixes(engine).await;
    folds_look_for_whole_delimiters_after_the_prefix(engine).await;
    folds_stop_at_the_limit_and_go_on(engine).await;
    a_refusal_leaves_nothing(engine).await;
    a_panic_is_one_commits_own(engine).await;
    writes_of_one_commit_follow_each_other(engine).await;
    adds_sum_and_need_no_read(engine).await;
    an_absent_row_conflicts_with_its_insert(engine).await;
    empty_ranges_are_seen(engine).await;
    of_racing_swaps_one_wins(engine).await;
    a_hot_counter_counts_every_commit(engine).await;
    a_guard_row_prevents_write_skew(engine).await;
    the_log_makes_the_rows_again(engine).await;
    what_is_forgotten_of_the_log_is_its_beginning(engine).await;
    a_snapshot_stays_as_it_was(engine).await;
}

fn key(name: &str) -> Key {
    format!("contract/{name}").into_bytes()
}

fn under(name: &str) -> Range<Key> {
    key(&format!("{name}/"))..key(&format!("{name}0"))
}

fn put(name: &str, value: &str) -> Write {
    Write::Put(key(name), value.as_bytes().to_vec())
}

fn always(writes: Vec<Write>) -> Decide {
    Box::new(move |_| Some(writes.clone()))
}

async fn write(engine: &dyn Engine, writes: Vec<Write>) {
    assert_eq!(
        engine.commit(Priority::Foreground, Vec::new(), always(writes)).await,
        Ok(true),
        "a plain commit answers done"
    );
}

async fn read(engine: &dyn Engine, name: &str) -> Option<String> {
    let rows = engine.get(&[key(name)]).await.expect("a get answers");
    assert_eq!(rows.len(), 1, "a get answers one row for each key");
    rows[0].as_ref().map(|row| String::from_utf8(row.to_vec()).expect("our rows are text"))
}

async fn count(engine: &dyn Engine, name: &str) -> i64 {
    let rows = engine.get(&[key(name)]).await.expect("a get answers");
    rows[0].as_ref().map_or(0, |row| i64::from_le_bytes(row[..].try_into().expect("a counter has eight bytes")))
}

fn number(row: Option<&Bytes>) -> u64 {
    row.map_or(0, |row| u64::from_le_bytes(row[..].try_into().expect("eight bytes")))
}

async fn gets_answer_in_the_order_asked(engine: &dyn Engine) {
    write(engine, vec![put("get/b", "2"), put("get/a", "1"), put("get/empty", "")]).await;
    let asked = ["get/b", "get/none", "get/a", "get/empty", "get/b"].map(key);
    let got = engine.get(&asked).await.expect("a get answers");
    let wanted = ["2", "-", "1", "", "2"].map(|text| (text != "-").then(|| Bytes::from(text)));
    assert_eq!(got, wanted, "rows come in the order asked, absent ones as none, empty ones as empty");
    assert_eq!(engine.get(&[]).await, Ok(Vec::new()), "no keys, no rows");
}

async fn ranges_page_by_rows_and_by_bytes(engine: &dyn Engine) {
    let names: Vec<String> = (0..10).map(|n| format!("range/{n}")).collect();
    write(engine, names.iter().map(|name| put(name, "0123456789")).collect()).await;
    let row_bytes = key(&names[0]).len() + 10;
    let page = async |range: Range<Key>, rows, bytes| {
        let page = engine.range(range, rows, bytes).await.expect("a range answers");
        page.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    let wanted = |range: Range<usize>| names[range].iter().map(|name| Bytes::from(key(name))).collect::<Vec<_>>();
    assert_eq!(page(under("range"), 100, usize::MAX).await, wanted(0..10), "a range is in key order");
    assert_eq!(page(under("range"), 3, usize::MAX).await, wanted(0..3), "a page has at most as many rows as asked");
    assert_eq!(page(under("range"), 0, usize::MAX).await, wanted(0..0), "no rows asked, none answered");
    assert_eq!(page(under("range"), 100, 0).await, wanted(0..1), "a page has a row however few bytes are asked");
    let some = page(under("range"), 100, 3 * row_bytes).await.len();
    assert!((2..=4).contains(&some), "a page of three rows' bytes has about three rows, not {some}");
    assert_eq!(page(key("range/2")..key("range/5"), 100, usize::MAX).await, wanted(2..5), "the end is exclusive");
    assert_eq!(page(key("range/5")..key("range/5"), 100, usize::MAX).await, wanted(0..0), "an empty range is empty");
    assert_eq!(page(key("range/5")..key("range/2"), 100, usize::MAX).await, wanted(0..0), "so is a backward one");
    let mut from = under("range").start;
    let mut seen = Vec::new();
    while let Some(last) = page(from.clone()..under("range").end, 3, usize::MAX).await.pop() {
        seen.push(last.clone());
        from = [&last[..], &[0]].concat();
    }
    assert_eq!(seen.len(), 4, "going on after the last key ends");
}

async fn folded(engine: &dyn Engine, fold: Fold) -> Vec<String> {
    let lines = engine.fold(fold).await.expect("a fold answers");
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).trim_start_matches("contract/").to_owned();
    lines
        .iter()
        .map(|line| match line {
            Folded::Row(key, value) => format!("{}={}", text(key), String::from_utf8_lossy(value)),
            Folded::Prefix(prefix) => format!("{}*", text(prefix)),
        })
        .collect()
}

fn fold_of(name: &str, delimiter: &str) -> Fold {
    let range = under(name);
    Fold { skip: range.start.len(), range, delimiter: delimiter.as_bytes().to_vec(), limit: 1000 }
}

async fn folds_find_common_prefixes(engine: &dyn Engine) {
    let names = ["f/a", "f/b/1", "f/b/2", "f/b/2/3", "f/b0", "f/c/", "f/c/d", "f//x", "f/z"];
    write(engine, names.iter().map(|name| put(name, "v")).collect()).await;
    let lines = folded(engine, fold_of("f", "/")).await;
    assert_eq!(lines, ["f//*", "f/a=v", "f/b/*", "f/b0=v", "f/c/*", "f/z=v"], "common prefixes are skipped in one");
    let plain = folded(engine, fold_of("f", "")).await;
    assert_eq!(plain.len(), names.len(), "an empty delimiter folds nothing");
    let within = Fold { skip: key("f/b/").len(), range: key("f/b/")..key("f/b0"), ..fold_of("f", "/") };
    assert_eq!(folded(engine, within).await, ["f/b/1=v", "f/b/2=v", "f/b/2/*"], "a row beside its own prefix");
    let at_prefix = Fold { skip: key("f/c/").len(), range: key("f/c/")..key("f/c0"), ..fold_of("f", "/") };
    assert_eq!(folded(engine, at_prefix).await, ["f/c/=v", "f/c/d=v"], "a key equal to the prefix is a row");
}

async fn folds_look_for_whole_delimiters_after_the_prefix(engine: &dyn Engine) {
    let names = ["g/a-b", "g/a--b", "g/a--c", "g/a---", "g/b--"];
    write(engine, names.iter().map(|name| put(name, "v")).collect()).await;
    let lines = folded(engine, fold_of("g", "--")).await;
    assert_eq!(lines, ["g/a--*", "g/a-b=v", "g/b--*"], "a delimiter of two bytes is found whole, and first");
    let skipping = Fold { skip: key("g/a-").len(), ..fold_of("g", "--") };
    let lines = folded(engine, skipping).await;
    assert_eq!(
        lines,
        ["g/a---*", "g/a--b=v", "g/a--c=v", "g/a-b=v", "g/b--=v"],
        "nothing is looked for before the skip"
    );
    let far = Fold { skip: 1000, ..fold_of("g", "-") };
    assert_eq!(folded(engine, far).await.len(), names.len(), "a skip beyond the key finds no delimiter");
    let last = vec![0xff, 0xff, b'/', 1];
    write(engine, vec![Write::Put(last.clone(), Vec::new())]).await;
    let highest = Fold { range: vec![0xff]..vec![0xff; 9], skip: 0, delimiter: vec![0xff], limit: 9 };
    let lines = engine.fold(highest).await;
    assert_eq!(lines, Ok(vec![Folded::Prefix(Bytes::from_static(&[0xff]))]), "a prefix of 0xff ends the fold");
    write(engine, vec![Write::Delete(last)]).await;
}

async fn folds_stop_at_the_limit_and_go_on(engine: &dyn Engine) {
    let names = ["h/a", "h/b/1", "h/b/2", "h/c", "h/d/1", "h/e"];
    write(engine, names.iter().map(|name| put(name, "v")).collect()).await;
    let first = Fold { limit: 2, ..fold_of("h", "/") };
    assert_eq!(folded(engine, first).await, ["h/a=v", "h/b/*"], "a prefix is a line of the limit");
    let next = Fold { range: key("h/b0")..under("h").end, limit: 2, ..fold_of("h", "/") };
    assert_eq!(folded(engine, next).await, ["h/c=v", "h/d/*"], "a fold goes on after a prefix");
    let bounded = Fold { range: key("h/b0")..key("h/d/1"), ..fold_of("h", "/") };
    assert_eq!(folded(engine, bounded).await, ["h/c=v"], "the end is exclusive inside a prefix, too");
    let amid = Fold { range: key("h/b/2")..under("h").end, limit: 1, ..fold_of("h", "/") };
    assert_eq!(folded(engine, amid).await, ["h/b/*"], "a fold that starts inside a prefix answers the prefix");
    let none = Fold { limit: 0, ..fold_of("h", "/") };
    assert!(folded(engine, none).await.is_empty(), "no lines asked, none answered");
}

async fn a_refusal_leaves_nothing(engine: &dyn Engine) {
    let refused: Decide = Box::new(|_| None);
    assert_eq!(
        engine.commit(Priority::Foreground, vec![Read::Row(key("refused"))], refused).await,
        Ok(false),
        "a refusal answers false"
    );
    let typed = commit(engine, Vec::new(), |_| Err::<(Vec<Write>, ()), _>("no")).await;
    assert!(matches!(typed, Err(NotCommitted::Refused("no"))), "the typed door gives the reason");
    let bad = vec![put("refused", "1"), put("word", "no counter"), Write::Add(key("word"), 1)];
    let answer = engine.commit(Priority::Foreground, Vec::new(), always(bad)).await;
    assert!(matches!(answer, Err(EngineError::Failed(_))), "an add to a row that is no counter fails, not {answer:?}");
    assert_eq!(read(engine, "refused").await, None, "a commit that did not happen wrote nothing");
    assert_eq!(read(engine, "word").await, None, "not in part either");
}

async fn a_panic_is_one_commits_own(engine: &dyn Engine) {
    let panics: Decide = Box::new(|_| panic!("a decision that panics, on purpose"));
    let (panicked, beside) = futures_util::join!(
        engine.commit(Priority::Foreground, Vec::new(), panics),
        engine.commit(Priority::Foreground, Vec::new(), always(vec![put("beside", "1")])),
    );
    assert!(matches!(panicked, Err(EngineError::Failed(_))), "a panic is a failure of that commit, not {panicked:?}");
    assert_eq!(beside, Ok(true), "and of no other");
    write(engine, vec![put("after", "1")]).await;
    assert_eq!(read(engine, "after").await.as_deref(), Some("1"), "commits go on after a panic");
}

async fn writes_of_one_commit_follow_each_other(engine: &dyn Engine) {
    let writes = vec![put("order", "1"), Write::Delete(key("order")), put("order", "2"), Write::Delete(key("never"))];
    write(engine, writes).await;
    assert_eq!(read(engine, "order").await.as_deref(), Some("2"), "the last write of a row counts");
    write(engine, vec![Write::Delete(key("order"))]).await;
    assert_eq!(read(engine, "order").await, None, "a deleted row is absent");
}

async fn adds_sum_and_need_no_read(engine: &dyn Engine) {
    let name = "adds";
    write(engine, vec![Write::Add(key(name), 5), Write::Add(key(name), -7)]).await;
    assert_eq!(count(engine, name).await, -2, "adds sum, below zero too, from an absent row");
    let seen = commit(engine, vec![Read::Row(key(name))], move |rows: &Rows| {
        let seen = i64::from_le_bytes(rows.get(&key(name)).expect("it is there")[..].try_into().expect("eight bytes"));
        Ok::<_, ()>((vec![Write::Add(key(name), 2)], seen))
    });
    assert!(matches!(seen.await, Ok(-2)), "a decision reads a counter as its sum");
    assert_eq!(count(engine, name).await, 0);
    let writes = vec![Write::Put(key(name), 40_i64.to_le_bytes().to_vec()), Write::Add(key(name), 2)];
    write(engine, writes).await;
    assert_eq!(count(engine, name).await, 42, "an add goes on from a put of the same commit");
    let full = vec![Write::Add(key(name), i64::MAX)];
    let answer = engine.commit(Priority::Foreground, Vec::new(), always(full)).await;
    assert!(matches!(answer, Err(EngineError::Failed(_))), "a counter does not run over, {answer:?}");
    assert_eq!(count(engine, name).await, 42);
}

async fn an_absent_row_conflicts_with_its_insert(engine: &dyn Engine) {
    let creates = (0..RACERS).map(|racer| {
        commit(engine, vec![Read::Row(key("create"))], move |rows: &Rows| match rows.get(&key("create")) {
            None => Ok((vec![put("create", &racer.to_string())], racer)),
            Some(_) => Err("exists"),
        })
    });
    let winners: Vec<usize> = join_all(creates).await.into_iter().filter_map(Result::ok).collect();
    assert_eq!(winners.len(), 1, "of many creates one wins, not {winners:?}");
    assert_eq!(read(engine, "create").await, Some(winners[0].to_string()), "and it is the one that was told so");
}

async fn empty_ranges_are_seen(engine: &dyn Engine) {
    write(engine, vec![put("empty/b", "1"), put("guard", "0")]).await;
    let ranges = [under("empty"), under("nothing"), key("empty/b0")..under("empty").end, key("b")..key("a")];
    let reads = ranges.iter().cloned().map(Read::Empty).chain([Read::Row(key("guard"))]).collect();
    let seen = commit(engine, reads, |rows: &Rows| Ok::<_, ()>((vec![put("guard", "1")], rows.empty.clone())));
    assert_eq!(seen.await.expect("it decides"), [false, true, true, true], "emptiness is answered in the order asked");
    let reads = || vec![Read::Empty(under("empty")), Read::Row(key("guard"))];
    let see = |rows: &Rows| Ok::<_, ()>((vec![put("guard", "2")], rows.empty.clone()));
    write(engine, vec![Write::Delete(key("empty/b"))]).await;
    assert_eq!(commit(engine, reads(), see).await.expect("it decides"), [true], "a deleted row leaves a range empty");
    write(engine, vec![Write::Add(key("empty/n"), 0)]).await;
    assert_eq!(commit(engine, reads(), see).await.expect("it decides"), [false], "a counter of zero is a row");
}

async fn of_racing_swaps_one_wins(engine: &dyn Engine) {
    for round in 0..4_u64 {
        let swaps = (0..RACERS as u64).map(|racer| {
            commit(engine, vec![Read::Row(key("swap"))], move |rows: &Rows| {
                if number(rows.get(&key("swap"))) != round * 1000 {
                    return Err("lost");
                }
                let value = (round + 1) * 1000 + racer;
                Ok((vec![Write::Put(key("swap"), value.to_le_bytes().to_vec())], value))
            })
        });
        let winners: Vec<u64> = join_all(swaps).await.into_iter().filter_map(Result::ok).collect();
        assert_eq!(winners.len(), 1, "of many swaps of one value one wins, not {winners:?}");
        let rows = engine.get(&[key("swap")]).await.expect("a get answers");
        assert_eq!(number(rows[0].as_ref()), winners[0], "the winner's value is what is stored");
        let next = ((round + 1) * 1000).to_le_bytes().to_vec();
        write(engine, vec![Write::Put(key("swap"), next)]).await;
    }
}

async fn a_hot_counter_counts_every_commit(engine: &dyn Engine) {
    let adds = (0..RACERS).map(|racer| {
        let row = format!("hot/{racer}");
        engine.commit(
            Priority::Foreground,
            Vec::new(),
            always(vec![put(&row, "1"), Write::Add(key("hot"), racer as i64)]),
        )
    });
    let answers = join_all(adds).await;
    assert!(answers.iter().all(|answer| *answer == Ok(true)), "adds never conflict: {answers:?}");
    assert_eq!(count(engine, "hot").await, (0..RACERS as i64).sum::<i64>(), "every add is counted once");
    let rows = engine.range(under("hot"), 1000, usize::MAX).await.expect("a range answers");
    assert_eq!(rows.len(), RACERS, "and every row beside it is there");
}

/// A bucket is deleted when its range is empty while others put into it, each only if the bucket is there: whatever
/// the order, no object is left in a bucket that is gone.
async fn a_guard_row_prevents_write_skew(engine: &dyn Engine) {
    for round in 0..16 {
        let bucket = format!("skew{round}");
        write(engine, vec![put(&bucket, "bucket")]).await;
        let inserts = (0..4).map(|n| {
            let (guard, object) = (key(&bucket), format!("{bucket}/{n}"));
            commit(engine, vec![Read::Row(guard.clone())], move |rows: &Rows| {
                rows.get(&guard).map_or(Err("no bucket"), |_| Ok((vec![put(&object, "1")], ())))
            })
        });
        let (guard, range) = (key(&bucket), under(&bucket));
        let delete = commit(engine, vec![Read::Row(guard.clone()), Read::Empty(range.clone())], move |rows: &Rows| {
            if rows.empty[0] { Ok((vec![Write::Delete(guard.clone())], ())) } else { Err("not empty") }
        });
        let (inserted, deleted) = if round % 2 == 0 {
            futures_util::join!(join_all(inserts), delete)
        } else {
            let (deleted, inserted) = futures_util::join!(delete, join_all(inserts));
            (inserted, deleted)
        };
        let inserted = inserted.iter().filter(|answer| answer.is_ok()).count();
        let objects = engine.range(range, 100, usize::MAX).await.expect("a range answers").len();
        assert_eq!(objects, inserted, "what was acknowledged is there");
        assert_eq!(deleted.is_ok(), inserted == 0, "a bucket goes only when nothing came into it");
        assert_eq!(read(engine, &bucket).await.is_some(), inserted > 0, "and its row says the same");
    }
}

fn everything() -> Range<Key> {
    vec![0]..vec![0xff; 4]
}

async fn the_log_makes_the_rows_again(engine: &dyn Engine) {
    write(engine, vec![put("log/gone", "1"), Write::Add(key("log/count"), 2)]).await;
    write(engine, vec![Write::Delete(key("log/gone")), Write::Add(key("log/count"), 3)]).await;
    assert_eq!(engine.commit(Priority::Foreground, Vec::new(), Box::new(|_| None)).await, Ok(false));
    let rows = engine.range(everything(), usize::MAX, usize::MAX).await.expect("a range answers");
    let (mut made, mut after, mut at) = (BTreeMap::new(), 0, i64::MIN);
    loop {
        let page = engine.log(after, 1000).await.expect("a log answers");
        let Some(last) = page.last() else { break };
        for entry in &page {
            assert_eq!(entry.sequence, after + 1, "entries count up by one");
            assert!(entry.at >= at && !entry.rows.is_empty(), "time does not go back, and nothing is no entry");
            (after, at) = (entry.sequence, entry.at);
            made.extend(entry.rows.iter().cloned());
        }
        assert_eq!(after, last.sequence);
    }
    let made: Vec<(Bytes, Bytes)> = made.into_iter().filter_map(|(key, row)| Some((key, row?))).collect();
    assert_eq!(made, rows, "every commit is in the log, resolved");
}

async fn what_is_forgotten_of_the_log_is_its_beginning(engine: &dyn Engine) {
    let last = engine.log(0, usize::MAX).await.expect("a log answers").last().map_or(0, |entry| entry.sequence);
    engine.forget_log(last - 1);
    write(engine, vec![put("log/after", "1")]).await;
    engine.forget_log(u64::MAX);
    let mut more = last + 1;
    let kept = loop {
        more += 1;
        write(engine, vec![put("log/after", "2")]).await;
        let kept = engine.log(0, usize::MAX).await.expect("a log answers");
        // Some go with each commit.
        if kept[0].sequence >= last + 2 {
            break kept;
        }
        assert!(more < 2 * last + 10, "what nobody needs goes");
    };
    assert_eq!(kept.last().map(|entry| entry.sequence), Some(more), "numbers are never taken again");
    let of_last = (Bytes::from(key("log/after")), Some(Bytes::from_static(b"2")));
    assert_eq!(kept.last().map(|entry| &entry.rows[..]), Some(&[of_last][..]));
}

async fn a_snapshot_stays_as_it_was(engine: &dyn Engine) {
    let rows = engine.range(everything(), usize::MAX, usize::MAX).await.expect("a range answers");
    let snapshot = engine.snapshot().await.expect("a snapshot answers");
    write(engine, vec![put("log/after", "4"), put("log/new", "5")]).await;
    let page = |rows, bytes| snapshot.range(everything(), rows, bytes).expect("a snapshot answers");
    assert_eq!(page(usize::MAX, usize::MAX), rows);
    assert_eq!(page(2, usize::MAX), rows[..2], "by rows");
    assert_eq!(page(usize::MAX, 1), rows[..1], "by bytes");
    let (last, at) = snapshot.last();
    let next = engine.log(last, usize::MAX).await.expect("a log answers");
    assert_eq!(next.len(), 1, "the log goes on where the snapshot ends");
    assert!(next[0].sequence == last + 1 && next[0].at >= at);
}
