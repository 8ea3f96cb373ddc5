//! Objectives: what they would move, what moves, and what stays as it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdall_namespace::bucket::Bucket;
use holdall_namespace::clock::{Clock, SystemClock};
use holdall_namespace::engine::{Engine, memory::Memory};
use holdall_namespace::inventory::{ApplyError, Declared, DeclaredSilo, WritePolicy, WriteTarget};
use holdall_namespace::job::{JobState, Order, OrderError, Pace};
use holdall_namespace::object::{Condition, Headers};
use holdall_namespace::objective::{
    AlignOptions, Amount, Cost, Moving, Objective, ObjectiveError, Outlook, Scope, What,
};
use holdall_namespace::price::{Money, Price};
use holdall_namespace::remove_silo::RemoveSiloError;
use holdall_namespace::set_silo::SetSilo;
use holdall_namespace::{Namespace, Options};

#[path = "../support/held.rs"]
mod held;
#[path = "../support/mod.rs"]
mod support;

mod auto;
mod census;
mod copies;
mod find;
mod heat;
mod keep;
mod labels;
mod lost;
mod many;
mod orders;
mod plan;
mod room;
mod switch;

/// Silos `hot` and `cold` in Frankfurt, `far` abroad; what is written goes to `hot`.
struct House {
    namespace: Arc<Namespace>,
    engine: Arc<dyn Engine>,
    logs: Bucket,
    photos: Bucket,
}

async fn open(engine: &Arc<dyn Engine>, clock: Arc<dyn Clock>, align: Option<AlignOptions>) -> Arc<Namespace> {
    let (base, seal_key) = ("/".into(), [7; 32]);
    let options = Options { base, seal_key, pack_up_to: 64, align, ..support::options() };
    Namespace::open(Arc::clone(engine), clock, options, true).await.unwrap()
}

impl House {
    /// What moves, moves by order.
    async fn new(test: &str) -> Self {
        Self::with(test, Arc::new(SystemClock::new()), None).await
    }

    async fn with(test: &str, clock: Arc<dyn Clock>, align: Option<AlignOptions>) -> Self {
        Self::over(Arc::new(Memory::new()), test, clock, align).await
    }

    async fn over(engine: Arc<dyn Engine>, test: &str, clock: Arc<dyn Clock>, align: Option<AlignOptions>) -> Self {
        let namespace = open(&engine, clock, align).await;
        let silo = |name: &str, site: &str| {
            let labels = [("site".to_owned(), site.to_owned())].into();
            (name.to_owned(), DeclaredSilo { labels, ..DeclaredSilo::own(format!("memory:objectives-{test}-{name}")) })
        };
        let silos = [silo("hot", "frankfurt"), silo("cold", "frankfurt"), silo("far", "abroad")].into();
        let write = WritePolicy { to: vec![WriteTarget { silo: "hot".to_owned(), min_size: 0, max_size: None }] };
        namespace.apply(&Declared { silos, write: Some(write), ..Declared::default() }, false).await.unwrap();
        namespace.ensure_first_key(None).await.unwrap();
        let logs = namespace.create_bucket(&"logs".parse().unwrap(), 1).await.unwrap();
        let photos = namespace.create_bucket(&"photos".parse().unwrap(), 1).await.unwrap();
        namespace.start_background();
        Self { namespace, engine, logs, photos }
    }

    async fn put(&self, bucket: &Bucket, key: &str, bytes: usize) {
        let text = "x".repeat(bytes);
        support::put(&self.namespace, bucket, key, &text, Headers::default(), Condition::default()).await.unwrap();
    }

    async fn delete(&self, bucket: &Bucket, key: &str) {
        self.namespace.delete(bucket, &key.parse().unwrap(), Condition::default()).await.unwrap();
    }

    async fn declare(&self, objectives: &[(&str, Objective)]) -> Result<(), ApplyError> {
        let objectives = objectives.iter().map(|(name, wish)| ((*name).to_owned(), wish.clone())).collect();
        self.namespace.apply(&Declared { objectives, ..Declared::default() }, false).await.map(drop)
    }

    async fn outlook(&self) -> Outlook {
        self.namespace.outlook(&Scope::default(), None).await.unwrap()
    }

    async fn align(&self, on: &str) {
        let order = Order::Align { on: on.parse().unwrap() };
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        while self.namespace.job(job.id).await.unwrap().state == JobState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let ended = self.namespace.job(job.id).await.unwrap();
        assert_eq!((ended.state, ended.failed), (JobState::Done, 0), "{ended:?}");
    }

    /// Silos with verified replicas of an object.
    async fn silos(&self, bucket: &Bucket, key: &str) -> Vec<String> {
        let replicas = self.namespace.where_is(&bucket.name, &key.parse().unwrap()).await.unwrap();
        let mut silos: Vec<String> =
            replicas.into_iter().filter(|replica| replica.state == "verified").map(|replica| replica.silo).collect();
        silos.dedup();
        silos
    }
}

fn wish(on: &str, when: Option<&str>, place: &[&str], never: &[&str]) -> Objective {
    let silos = |all: &[&str]| all.iter().map(|text| text.parse().unwrap()).collect();
    Objective {
        on: on.parse().unwrap(),
        when: when.map(str::to_owned),
        place: silos(place),
        never: silos(never),
        ..Objective::default()
    }
}

fn amount(extents: u64, bytes: u64) -> Amount {
    Amount { extents, bytes }
}

#[tokio::test]
async fn a_plan_says_what_aligning_then_moves() {
    let house = House::new("plan").await;
    for number in 0..20 {
        house.put(&house.logs, &format!("2024/{number:02}"), 10 * (number + 1)).await;
    }
    house.put(&house.photos, "a", 500).await;
    let (logs, small) =
        (wish("s3://logs/", Some("size > 100"), &["cold"], &[]), wish("s3://logs/", None, &["hot"], &[]));
    house.declare(&[("archive", logs), ("stay", small)]).await.unwrap();
    let bytes: u64 = (11..=20).map(|number| number * 10).sum();
    let planned = house.outlook().await;
    let moving = |objective: &str, from: &str, to: &str, amount| Moving {
        objective: objective.to_owned(),
        from: from.to_owned(),
        to: Some(to.to_owned()),
        what: What::Move,
        paused: false,
        amount,
        cost: Cost::default(),
    };
    assert_eq!(planned.costs.unpriced, ["cold", "hot"], "nobody said what they ask");
    assert_eq!(planned.moves, [moving("archive", "hot", "cold", amount(10, bytes))]);
    assert_eq!((planned.objects, planned.aligned.extents), (21, 11));
    assert_eq!(house.silos(&house.logs, "2024/19").await, ["hot"], "a plan changes nothing");
    house.align("s3://logs/2024/").await;
    for number in 0..20 {
        let on = if number >= 10 { "cold" } else { "hot" };
        assert_eq!(house.silos(&house.logs, &format!("2024/{number:02}")).await, [on], "{number}");
    }
    assert_eq!(house.silos(&house.photos, "a").await, ["hot"]);
    let after = house.outlook().await;
    assert_eq!((after.moves, after.waits, after.aligned.extents), (vec![], vec![], 21));
    // With the objective its reason goes, and nothing moves back for that.
    house.namespace.delete_objective("archive").await.unwrap();
    assert_eq!(house.outlook().await.moves, [moving("stay", "cold", "hot", amount(10, bytes))]);
    let gone = house.namespace.delete_objective("archive").await;
    assert_eq!(gone, Err(ObjectiveError::NoSuchObjective("archive".to_owned())));
}

/// What had been planned onto a silo went on into it after it was cordoned and drained, so that the drain waited for ever.
#[tokio::test]
async fn nothing_more_moves_into_a_silo_that_is_drained() {
    let house = House::new("drained").await;
    for number in 0..40 {
        house.put(&house.logs, &format!("{number:02}"), 1000).await;
    }
    house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    let slowly = Pace { bytes_per_second: Some(10_000), concurrency: Some(1) };
    let align = house.namespace.start_job(Order::Align { on: Scope::default() }, slowly).await.unwrap();
    while house.namespace.job(align.id).await.unwrap().moved_objects < 3 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let drain = Order::Drain { from: "cold".to_owned(), to: "hot".to_owned() };
    let drain = house.namespace.start_job(drain, Pace::default()).await.unwrap();
    for _ in 0..1000 {
        if house.namespace.job(drain.id).await.unwrap().state == JobState::Empty {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(house.namespace.job(drain.id).await.unwrap().state, JobState::Empty);
    house.namespace.cancel_job(align.id).await.unwrap();
}

/// Objectives are part of the index: the next life has them.
#[tokio::test]
async fn what_was_declared_outlives_a_gateway() {
    let house = House::new("life").await;
    house.put(&house.photos, "a", 10).await;
    house.declare(&[("home", wish("s3://", None, &["site=frankfurt"], &["site=abroad"]))]).await.unwrap();
    house.namespace.close().await;
    let namespace = open(&house.engine, Arc::new(SystemClock::new()), None).await;
    let effective = namespace.effective(&"s3://photos/a".parse().unwrap()).unwrap();
    let shown: Vec<_> = effective.into_iter().map(|one| (one.name, one.place_now, one.never_now)).collect();
    let (place, never) = (vec!["cold".to_owned(), "hot".to_owned()], vec!["far".to_owned()]);
    assert_eq!(shown, [("home".to_owned(), place, never)]);
}

/// What must not be somewhere leaves it, also where nobody says where it is wanted; and what has no place to go says so.
#[tokio::test]
async fn what_is_forbidden_leaves() {
    let house = House::new("never").await;
    house.put(&house.photos, "a", 100).await;
    let place = Order::Place { bucket: house.photos.name.clone(), prefix: String::new(), on: "far".into() };
    let job = house.namespace.start_job(place, Pace::default()).await.unwrap();
    while house.namespace.job(job.id).await.unwrap().state == JobState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(house.silos(&house.photos, "a").await, ["far"]);
    house.declare(&[("home", wish("s3://photos/", None, &[], &["site=abroad"]))]).await.unwrap();
    house.namespace.set_cordon("hot", true).await.unwrap();
    let waits = house.outlook().await.waits;
    assert_eq!(waits.len(), 1);
    assert_eq!((waits[0].objective.as_str(), waits[0].amount), ("home", amount(1, 100)));
    assert_eq!(waits[0].reason, "silo `hot` takes no new bytes");
    house.namespace.set_cordon("hot", false).await.unwrap();
    house.align("s3://").await;
    assert_eq!(house.silos(&house.photos, "a").await, ["hot"]);
    let why = house.namespace.why(&house.photos.name, &"a".parse().unwrap()).await.unwrap();
    assert_eq!((why.wanted_by, why.objectives.len(), why.objectives[0].holds), (None, 1, Some(true)));
    assert_eq!((why.extents[0].on.as_slice(), &why.extents[0].moves_to), (&["hot".to_owned()][..], &None));
}

/// `place` acts once; what it did would be undone by the next `align`.
#[tokio::test]
async fn an_order_against_an_objective_is_refused_by_name() {
    let house = House::new("against").await;
    house.put(&house.logs, "2024/k", 100).await;
    house
        .declare(&[
            ("home", wish("s3://", None, &[], &["far"])),
            ("archive", wish("s3://logs/2024/", None, &["cold"], &[])),
            ("big", wish("s3://logs/", Some("size > MiB(1)"), &["cold"], &[])),
        ])
        .await
        .unwrap();
    let place = async |prefix: &str, on: &str| {
        let order = Order::Place { bucket: house.logs.name.clone(), prefix: prefix.to_owned(), on: on.to_owned() };
        house.namespace.plan(&order).await.map(|plan| plan.objects)
    };
    let against = |objective: &str| Err(OrderError::Against(objective.to_owned()));
    assert_eq!(place("2024/", "far").await, against("home"));
    assert_eq!(place("2024/k", "hot").await, against("archive"));
    assert_eq!(place("2024/", "cold").await, Ok(1));
    assert_eq!(place("", "hot").await, Ok(0), "only some of it is wanted elsewhere, and that is there already");
    house.align("s3://logs/2024/").await;
    let undone = OrderError::Undone { objective: "archive".to_owned(), extents: 1 };
    assert_eq!(place("", "hot").await, Err(undone), "it would be brought there, and back again");
    let drain = Order::Drain { from: "hot".to_owned(), to: "far".to_owned() };
    assert_eq!(house.namespace.plan(&drain).await.map(drop), Err(OrderError::Against("home".to_owned())));
}

/// Two objects of the same bytes are wanted in two places: the bytes stay with the one they were written for, and do not go back and
/// forth.
#[tokio::test]
async fn what_two_objects_share_comes_to_rest() {
    let house = House::new("shared").await;
    house.put(&house.logs, "a/k", 100).await;
    support::copy(&house.namespace, &house.logs, "a/k", "b/k").await;
    house
        .declare(&[("a", wish("s3://logs/a/", None, &["cold"], &[])), ("b", wish("s3://logs/b/", None, &["far"], &[]))])
        .await
        .unwrap();
    house.align("s3://").await;
    house.align("s3://").await;
    assert_eq!(house.silos(&house.logs, "b/k").await, ["cold"]);
    let waits = house.outlook().await.waits;
    assert_eq!(waits.iter().map(|waiting| waiting.objective.as_str()).collect::<Vec<_>>(), ["b"]);
    assert!(waits[0].reason.contains("another object"), "{waits:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_place() {
    let house = House::new("refused").await;
    let refused = async |objective: Objective| house.declare(&[("x", objective)]).await.unwrap_err().to_string();
    assert_eq!(refused(wish("s3://", None, &["hto"], &[])).await, "objective.x: there is no silo `hto`");
    let told = refused(wish("s3://", Some("size > 1 && sise < 2"), &["hot"], &[])).await;
    assert!(told.starts_with("objective.x: there is no `sise`: ") && told.ends_with("(line 1, column 13)"), "{told}");
    assert!(refused(wish("s3://", None, &[], &[])).await.contains("it wishes nothing"));
    assert_eq!(house.namespace.effective(&Scope::default()).unwrap(), []);
    let nowhere = house.namespace.outlook(&"s3://nowhere/".parse().unwrap(), None).await;
    assert_eq!(nowhere, Err(OrderError::NoSuchBucket("nowhere".to_owned())));
    house.declare(&[("x", wish("s3://", None, &["far"], &[]))]).await.unwrap();
    house.namespace.set_cordon("far", true).await.unwrap();
    let removed = house.namespace.remove_silo("far").await;
    assert!(matches!(removed, Err(RemoveSiloError::InObjective { .. })), "{removed:?}");
}

/// Tags and metadata may stand in a row of their own.
#[tokio::test]
async fn conditions_see_what_stands_apart() {
    let house = House::new("apart").await;
    let long = Headers {
        user: vec![("team".to_owned(), "lab".to_owned()), ("note".to_owned(), "n".repeat(1900))],
        ..Headers::default()
    };
    support::put(&house.namespace, &house.photos, "lab", "text", long, Condition::default()).await.unwrap();
    house.put(&house.photos, "other", 4).await;
    house.declare(&[("lab", wish("s3://photos/", Some("metadata.team == 'lab'"), &["cold"], &[]))]).await.unwrap();
    house.align("s3://photos/").await;
    let mut on = BTreeMap::new();
    for key in ["lab", "other"] {
        on.insert(key, house.silos(&house.photos, key).await);
    }
    assert_eq!(on, [("lab", vec!["cold".to_owned()]), ("other", vec!["hot".to_owned()])].into());
}

/// What silos ask is part of the index, may be said at any time, and costs are those of what lies there then.
#[tokio::test]
async fn a_plan_says_what_it_costs() {
    let house = House::new("costs").await;
    for key in ["a", "b"] {
        house.put(&house.photos, key, 1 << 20).await;
    }
    support::copy(&house.namespace, &house.photos, "a", "c").await;
    house.declare(&[("archive", wish("s3://photos/a", None, &["cold"], &[]))]).await.unwrap();
    let set = async |silo: &str, price: Price| {
        let set = SetSilo { price: Some(price), ..SetSilo::default() };
        house.namespace.set_silo(silo, &set, false).await.map(|changes| changes.len())
    };
    assert_eq!(set("hot", Price::of("aws-s3-standard")).await, Ok(1));
    assert_eq!(set("cold", Price::of("aws-s3-glacier-ir")).await, Ok(1));
    let unknown = set("far", Price::of("tape")).await.unwrap_err().to_string();
    assert_eq!(unknown, "silo.far.price: there is no preset `tape`; `holdall price list` shows them");
    let euros = serde_json::from_str(r#"{"currency": "EUR", "storage": 0.01}"#).unwrap();
    let euros = set("far", euros).await.unwrap_err().to_string();
    assert!(euros.starts_with("silo.far.price: in EUR, where the price of silo `"), "{euros}");

    let planned = house.outlook().await;
    let cost = planned.moves[0].cost;
    let mib = |rate: &str| rate.parse::<Money>().unwrap().part(1, 1024);
    assert_eq!((cost.month_before, cost.month_after), (mib("0.023"), mib("0.004")));
    assert_eq!((cost.once.requests.to_string(), cost.once.egress), ("0.0000208".to_owned(), mib("0.09")));
    assert_eq!(cost.once.verification, mib("0.12") + "0.00001".parse().unwrap(), "memory enforces no checksum");
    let all = planned.costs;
    assert_eq!((all.currency.as_str(), all.cost.once), ("USD", cost.once));
    assert_eq!(all.cost.month_before, mib("0.023") + mib("0.023"), "a copy of the same bytes costs nothing more");
    let why = async |key: &str| house.namespace.why(&house.photos.name, &key.parse().unwrap()).await.unwrap();
    let elsewhere = why("a").await.alternatives.silos;
    let told: Vec<_> = elsewhere.iter().map(|one| (one.silo.as_str(), one.holds, one.month)).collect();
    assert_eq!(told, [("cold", false, Some(mib("0.004"))), ("far", false, None), ("hot", true, Some(mib("0.023")))]);
    assert_eq!(elsewhere[0].once, cost.once);

    house.align("s3://").await;
    let after = house.outlook().await;
    assert_eq!(after.costs.cost.month_before, mib("0.023") + mib("0.004"));
    assert_eq!(after.costs.cost.month_before, all.cost.month_after, "as it was planned");
    let back = &why("a").await.alternatives.silos[2].once;
    let most = mib("0.004").part(90, 30);
    assert!(back.early_deletion > most.part(89, 90) && back.early_deletion <= most, "{back:?}");
    assert_eq!(set("cold", Price::default()).await, Ok(1));
    assert_eq!(house.outlook().await.costs.unpriced, ["cold"]);
}
