//! What a walk asks of a service that takes its time, and that it sees what a walk of one page after another sees.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderMap;
use object_store::client::HttpRequest;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::*;
use crate::limits::{LISTS_AT_ONCE, PAGES_HELD};
use crate::s3;
use crate::web::{Learned, Place, Service, Words};

/// What a request takes.
const LATENCY: Duration = Duration::from_millis(50);

type Names = BTreeSet<String>;

/// A bucket in memory, and what was asked of it.
#[derive(Default)]
struct Drawer {
    names: Mutex<Names>,
    asked: Mutex<Asked>,
    /// A listing begins nowhere but where one ended.
    is_plain: bool,
    /// It lists by this, not by bytes.
    order: Option<fn(&str) -> String>,
    /// Which requests fail: by their number, and the name that they begin behind.
    fails: Option<fn(usize, &str) -> bool>,
    /// Requests take longer or shorter by turns.
    uneven: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    requests: usize,
    failed: usize,
    now: usize,
    most: usize,
}

/// A request under way.
struct UnderWay<'a>(&'a Drawer);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.asked.lock().unwrap().now -= 1;
    }
}

impl Drawer {
    fn of(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: Mutex::new(names.into_iter().collect()), ..Self::default() }
    }

    fn asked(&self) -> Asked {
        *self.asked.lock().unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().iter().cloned().collect()
    }

    async fn list(&self, wanted: &Wanted<'_>) -> Result<Vec<String>, SiloError> {
        let number = {
            let mut asked = self.asked.lock().unwrap();
            asked.requests += 1;
            asked.now += 1;
            asked.most = asked.most.max(asked.now);
            asked.requests
        };
        let _under_way = UnderWay(self);
        sleep(if self.uneven { LATENCY * (number as u32 * 7 % 11) } else { LATENCY }).await;
        if self.fails.is_some_and(|fails| fails(number, wanted.after.unwrap_or_default())) {
            self.asked.lock().unwrap().failed += 1;
            return Err(SiloError::Throttled);
        }
        let names = self.names.lock().unwrap();
        let begins = |name: &&String| name.starts_with(wanted.prefix);
        let Some(order) = self.order else {
            let after = wanted.after.filter(|after| *after >= wanted.prefix);
            let from = after.map_or(Bound::Included(wanted.prefix), Bound::Excluded);
            let names = names.range::<str, _>((from, Bound::Unbounded)).take_while(begins);
            return Ok(names.take(wanted.limit).cloned().collect());
        };
        let is_behind = |name: &&String| wanted.after.is_none_or(|after| order(name) > order(after));
        let mut names: Vec<_> = names.iter().filter(begins).filter(is_behind).cloned().collect();
        names.sort_by_key(|name| order(name));
        names.truncate(wanted.limit);
        Ok(names)
    }
}

struct Shown(Arc<Drawer>, Place);

#[async_trait]
impl Service for Shown {
    fn words(&self) -> &'static Words {
        &s3::WORDS
    }

    fn place(&self) -> &Place {
        &self.1
    }

    async fn authorize(&self, _request: &mut HttpRequest) -> Result<(), String> {
        Ok(())
    }

    async fn list(&self, _client: &Client, wanted: Wanted<'_>) -> Result<Vec<Entry>, SiloError> {
        let (etag, modified) = ("e".to_owned(), "2026-01-02T03:04:05Z".to_owned());
        let entry = |name: String| Entry {
            name: name.into_bytes(),
            etag: etag.clone(),
            modified: modified.clone(),
            ..Entry::default()
        };
        Ok(self.0.list(&wanted).await?.into_iter().map(entry).collect())
    }

    fn begins_anywhere(&self) -> bool {
        !self.0.is_plain
    }

    async fn learn(&self, _client: &Client, _key: &str, _answer: &HeaderMap) -> Result<Learned, SiloError> {
        Ok(Learned::default())
    }
}

fn walk_of(drawer: &Arc<Drawer>, prefix: &str, after: Option<&str>) -> ShelfWalk {
    let place = Place::new("http://127.0.0.1:1/b".to_owned(), false, "");
    let client = Client::new(Box::new(Shown(Arc::clone(drawer), place))).unwrap();
    ShelfWalk::new(&Arc::new(client), prefix.as_bytes(), after.map(str::as_bytes))
}

async fn step(walk: &mut ShelfWalk, limit: usize) -> Result<Vec<String>, SiloError> {
    let found = walk.next(limit).await?;
    Ok(found.iter().map(|found| String::from_utf8(found.name().to_owned()).unwrap()).collect())
}

/// All names that are seen, and why no more are.
async fn walked(walk: &mut ShelfWalk, limit: usize) -> (Vec<String>, Option<SiloError>) {
    let mut all = Vec::new();
    loop {
        match step(walk, limit).await {
            Ok(some) if some.is_empty() => return (all, None),
            Ok(some) => all.extend(some),
            Err(error) => return (all, Some(error)),
        }
    }
}

/// So many names in each of so many folders.
fn folders(folders: usize, names: usize) -> Vec<String> {
    (0..folders * names).map(|number| format!("folder-{:05}/{:05}", number / names, number % names)).collect()
}

/// Names without any order of their own.
fn digests(names: u64) -> Vec<String> {
    (1..=names).map(|number| format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}

/// Days of a thousand names, by year and month.
fn days(days: usize, names: usize) -> Vec<String> {
    let day = |day: usize| format!("logs/{}/{:02}/{:02}", 2020 + day / 336, day / 28 % 12 + 1, day % 28 + 1);
    (0..days * names).map(|number| format!("{}/{:05}.gz", day(number / names), number % names)).collect()
}

/// How many times the requests of a walk of one page after another are asked, and how many times as fast.
async fn cost(names: Vec<String>) -> (f64, f64) {
    let drawer = Arc::new(Drawer::of(names));
    let began = Instant::now();
    let (seen, error) = walked(&mut walk_of(&drawer, "", None), MAX_LIST_PAGE).await;
    let took = began.elapsed();
    assert!(error.is_none() && seen == drawer.names());
    let Asked { requests, most, .. } = drawer.asked();
    assert!(most <= LISTS_AT_ONCE);
    let serial = seen.len().div_ceil(MAX_LIST_PAGE) + 1;
    let speed = (LATENCY * serial as u32).as_secs_f64() / took.as_secs_f64();
    eprintln!("{requests} requests for {serial}, {speed:.2} times as fast");
    (requests as f64 / serial as f64, speed)
}

/// A bucket of a million names took a second for each ten thousand, whatever else was fast.
#[tokio::test(start_paused = true)]
async fn a_long_walk_takes_a_part_of_the_time_and_few_more_requests() {
    let three = |number| ["a", "b", "c"][usize::from(number >= 70_000) + usize::from(number >= 90_000)];
    let uneven = (0..100_000).map(|number| format!("{}/{number:06}", three(number)));
    for (what, names, requests, speed) in [
        ("many folders", folders(5000, 20), 1.1, 4.0),
        ("no folders", (0..100_000).map(|number| format!("{number:06}")).collect(), 1.1, 4.0),
        ("a million", (0..1_000_000).map(|number| format!("{number:06}")).collect(), 1.1, 6.0),
        ("three folders", uneven.collect(), 1.1, 4.0),
        ("digests", digests(100_000), 1.1, 4.0),
        (
            "folders of digests",
            digests(100_000).iter().map(|n| format!("o/{}/{}", &n[..2], &n[2..])).collect(),
            1.2,
            4.0,
        ),
        ("folders of a page", folders(100, 1000), 1.3, 2.0),
        ("days", days(1000, 300), 1.2, 2.0),
        ("ten pages", folders(500, 20), 1.2, 1.1),
        ("three pages", folders(100, 20), 1.0, 0.99),
    ] {
        let seen = cost(names).await;
        assert!(seen.0 <= requests && seen.1 >= speed, "{what}: {seen:?}");
    }
}

/// Azure's begin nowhere but where one ended. A page is asked for while the one before is worked on.
#[tokio::test(start_paused = true)]
async fn a_listing_that_begins_nowhere_else_is_asked_for_one_page_after_another() {
    let drawer = Arc::new(Drawer { is_plain: true, ..Drawer::of(folders(100, 100)) });
    let (mut walk, mut seen, began) = (walk_of(&drawer, "", None), 0, Instant::now());
    while let Some(some) = Some(step(&mut walk, 1000).await.unwrap()).filter(|some| !some.is_empty()) {
        seen += some.len();
        sleep(LATENCY).await;
    }
    assert_eq!((seen, drawer.asked().requests, drawer.asked().most), (10_000, 11, 1));
    assert_eq!(began.elapsed(), 11 * LATENCY);
}

/// What is asked for ahead has to be kept, however slow the caller is.
#[tokio::test(start_paused = true)]
async fn a_walk_runs_ahead_of_its_caller_so_far_and_no_further() {
    let drawer = Arc::new(Drawer::of(digests(200_000)));
    let (mut walk, mut taken) = (walk_of(&drawer, "", None), 0);
    loop {
        let some = step(&mut walk, 1000).await.unwrap().len();
        if some == 0 {
            break;
        }
        taken += some;
        // Each step takes in what came.
        let asked = drawer.asked();
        let wasted = asked.requests.saturating_sub(taken / 1000 + PAGES_HELD);
        assert!(wasted <= asked.requests / 5, "{asked:?} for {taken}");
        sleep(Duration::from_mins(1)).await;
    }
    assert_eq!(taken, 200_000);
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_walk_that_is_given_up_stays_under_way() {
    let drawer = Arc::new(Drawer::of(digests(100_000)));
    let mut walk = walk_of(&drawer, "", None);
    for _ in 0..12 {
        step(&mut walk, 1000).await.unwrap();
    }
    assert!(drawer.asked().now > 1);
    drop(walk);
    assert_eq!(drawer.asked().now, 0);
}

/// What was asked for ahead may have waited too long to be read, or be one request too many for the service.
#[tokio::test(start_paused = true)]
async fn what_fails_ahead_is_asked_for_again_in_its_turn() {
    let fails = |number, after: &str| number < 20 && after > "8";
    let drawer = Arc::new(Drawer { fails: Some(fails), ..Drawer::of(digests(50_000)) });
    let (seen, error) = walked(&mut walk_of(&drawer, "", None), 1000).await;
    assert!(error.is_none() && seen == drawer.names() && drawer.asked().failed > 0, "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_its_turn_ends_the_walk_behind_what_came() {
    let drawer = Arc::new(Drawer { fails: Some(|number, _| number > 30), ..Drawer::of(digests(50_000)) });
    let mut walk = walk_of(&drawer, "", None);
    let (seen, error) = walked(&mut walk, 1000).await;
    assert_eq!(error, Some(SiloError::Throttled));
    assert!(drawer.names().starts_with(&seen) && seen.len() > 9000);
    assert_eq!(step(&mut walk, 1000).await, Err(SiloError::Throttled), "it stays over");
}

/// A service that takes no name but one that it has.
#[tokio::test(start_paused = true)]
async fn a_service_that_refuses_a_cut_is_listed_as_if_there_were_none() {
    let is_odd = |_, after: &str| !after.is_empty() && after.len() < "folder-00000/00000".len();
    let drawer = Arc::new(Drawer { fails: Some(is_odd), ..Drawer::of(folders(1000, 50)) });
    let (seen, error) = walked(&mut walk_of(&drawer, "", None), 1000).await;
    assert!(error.is_none() && seen == drawer.names(), "{error:?}");
}

/// What is missing from a wrong order would count as deleted.
#[tokio::test(start_paused = true)]
async fn an_order_that_is_not_of_bytes_is_an_error() {
    let trees: Vec<_> = (0..30_000).map(|n| format!("{}{n:05}", ["a-b/", "a/", "a0/"][n % 3])).collect();
    let cases: Vec<_> =
        digests(30_000).into_iter().map(|n| if n.ends_with('1') { n.to_uppercase() } else { n }).collect();
    let orders: [fn(&str) -> String; 3] =
        [|name| name.replace('/', "\0"), str::to_lowercase, |name| name.chars().rev().collect()];
    for (order, names) in orders.into_iter().flat_map(|order| [&trees, &cases].map(|names| (order, names))) {
        let mut sorted = names.clone();
        sorted.sort_by_key(|name| order(name));
        for is_plain in [true, false] {
            let drawer = Arc::new(Drawer { order: Some(order), is_plain, ..Drawer::of(names.iter().cloned()) });
            let (_, error) = walked(&mut walk_of(&drawer, "", None), 1000).await;
            assert_eq!(error.is_none(), sorted.is_sorted(), "{error:?}");
        }
    }
}

/// Each stretch was in order, and a block of names that is listed too early, behind the end of one, was in none.
#[tokio::test(start_paused = true)]
async fn names_that_lie_where_no_stretch_looks_are_an_error() {
    for order in [
        |name: &str| if name.starts_with('f') { format!("7~{name}") } else { name.to_owned() },
        |name: &str| if name.starts_with('5') { format!("2~{name}") } else { name.to_owned() },
        |name: &str| if name.starts_with("9e") { format!("3{name}") } else { name.to_owned() },
    ] {
        let drawer = Arc::new(Drawer { order: Some(order), ..Drawer::of(digests(60_000)) });
        let (seen, error) = walked(&mut walk_of(&drawer, "", None), 1000).await;
        let shown = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(shown.contains("in no order of bytes"), "{} {shown}", seen.len());
    }
}

/// Others go on writing. Whatever is there from the beginning to the end is seen.
#[tokio::test(start_paused = true)]
async fn names_that_come_and_go_meanwhile_are_seen_once_or_not_at_all() {
    for coming in [0, 1] {
        let (staying, changing): (Vec<_>, Vec<_>) =
            digests(60_000).into_iter().partition(|name| name.as_bytes()[9] % 4 > 0);
        let begin = if coming == 0 { [staying.clone(), changing.clone()].concat() } else { staying.clone() };
        let drawer = Arc::new(Drawer { uneven: true, ..Drawer::of(begin) });
        let (mut walk, mut changes, mut seen) = (walk_of(&drawer, "", None), changing.into_iter(), Vec::new());
        loop {
            let some = step(&mut walk, 1000).await.unwrap();
            if some.is_empty() {
                break;
            }
            seen.extend(some);
            let mut names = drawer.names.lock().unwrap();
            for name in changes.by_ref().take(250) {
                if coming == 1 {
                    names.insert(name)
                } else {
                    names.remove(&name)
                };
            }
        }
        assert!(seen.is_sorted_by(|one, other| one < other));
        let seen: Names = seen.into_iter().collect();
        assert!(staying.iter().all(|name| seen.contains(name)));
    }
}

fn a_name() -> impl Strategy<Value = String> {
    // Few letters, so that names are beginnings of others and lie beside folders of the same name.
    let part = prop::sample::select(vec!["a", "b", "0", "1", "2", "/", "/", "-", "~", "é", "\u{10ffff}"]);
    prop::collection::vec(part, 1..9).prop_map(|parts| parts.concat())
}

fn names() -> impl Strategy<Value = Names> {
    let random = prop::collection::btree_set(a_name(), 0..300);
    let numbers = (0..400usize, 1..30usize, a_name()).prop_map(|(count, step, prefix)| -> Names {
        (0..count).map(|number| format!("{prefix}{:05}", number * step)).collect()
    });
    let folders = (0..40usize, 1..20usize).prop_map(|(count, names)| folders(count, names).into_iter().collect());
    prop::collection::vec(prop_oneof![random, numbers, folders], 1..4)
        .prop_map(|parts: Vec<Names>| parts.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_sees_what_is_there_once_and_in_order(
        names in names(),
        limit in 1..20usize,
        prefix in prop_oneof![Just(String::new()), a_name().prop_map(|name| name.chars().take(2).collect())],
        after in prop::option::of(a_name()),
        uneven: bool,
        fails in prop::sample::select(vec![None, Some(15), Some(40)]),
    ) {
        let fits = |name: &&String| name.starts_with(&prefix) && after.as_ref().is_none_or(|after| *name > after);
        let expected: Vec<_> = names.iter().filter(fits).cloned().collect();
        let fails = fails.map(|_| -> fn(usize, &str) -> bool { |number, _| number % 40 == 15 });
        let drawer = Arc::new(Drawer { fails, uneven, ..Drawer::of(names) });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (seen, error) = runtime.block_on(async { walked(&mut walk_of(&drawer, &prefix, after.as_deref()), limit).await });
        prop_assert!(fails.is_some() || error.is_none());
        prop_assert_eq!(&seen[..], &expected[..if error.is_some() { seen.len() } else { expected.len() }]);
        prop_assert!(drawer.asked().most <= LISTS_AT_ONCE);
    }
}
