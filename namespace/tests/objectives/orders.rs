//! Orders beside objectives: what they may not bring where, what they hold, and what they wait for.

use holdall_namespace::table::jobs::next_job;
use jiff::{SignedDuration, Timestamp};

use super::copies::blobs;
use super::heat::Calendar;
use super::held::Held;
use super::*;

impl House {
    async fn carried_out(&self, order: Order) -> holdall_namespace::job::JobInfo {
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        for _ in 0..1000 {
            let info = self.namespace.job(job.id).await.unwrap();
            if info.state != JobState::Running {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}", self.namespace.job(job.id).await);
    }
}

fn place(bucket: &str, prefix: &str, on: &str) -> Order {
    Order::Place { bucket: bucket.parse().unwrap(), prefix: prefix.to_owned(), on: on.to_owned() }
}

/// `never` with a condition was not asked: `place` and `drain` brought abroad what may not be there, where it stayed until all was
/// compared again, in packs for longer.
#[tokio::test]
async fn what_is_forbidden_somewhere_is_not_brought_there_by_an_order() {
    let house = House::new("forbidden").await;
    for (bucket, key, bytes) in [
        (&house.logs, "pii/a", 5000),
        (&house.logs, "pii/b", 30),
        (&house.logs, "plain", 5000),
        (&house.logs, "small", 30),
    ] {
        house.put(bucket, key, bytes).await;
    }
    support::copy(&house.namespace, &house.logs, "pii/a", "shared").await;
    house.declare(&[("home", wish("s3://logs/", Some("key.startsWith('pii/')"), &[], &["far"]))]).await.unwrap();
    let plan = house.namespace.plan(&place("logs", "", "far")).await.unwrap();
    assert_eq!((plan.objects, plan.refused), (2, 2), "{plan:?}");
    let placed = house.carried_out(place("logs", "", "far")).await;
    assert_eq!((placed.state, placed.moved_objects, placed.refused), (JobState::Done, 2, 2), "{placed:?}");
    let on = async |key: &str| house.silos(&house.logs, key).await;
    assert_eq!((on("pii/a").await, on("pii/b").await), (vec!["hot".to_owned()], vec!["hot".to_owned()]));
    assert_eq!((on("plain").await, on("small").await), (vec!["far".to_owned()], vec!["far".to_owned()]));
    assert_eq!(on("shared").await, ["hot"], "it is the bytes of what may not go there");
    let drain = Order::Drain { from: "hot".to_owned(), to: "far".to_owned() };
    let job = house.namespace.start_job(drain, Pace::default()).await.unwrap();
    let drained = async || house.namespace.job(job.id).await.unwrap();
    for _ in 0..1000 {
        if drained().await.error.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let told = drained().await;
    assert_eq!((told.state, told.refused), (JobState::Running, 2), "{told:?}");
    assert_eq!(told.error.as_deref(), Some("objectives forbid 2 extents to go there"));
    assert_eq!(on("pii/a").await, ["hot"]);
    // It waits a while: they may be wanted elsewhere.
    house.declare(&[("to", wish("s3://logs/pii/", None, &["cold"], &[]))]).await.unwrap();
    house.align("s3://logs/").await;
    for _ in 0..3000 {
        if drained().await.state == JobState::Empty {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", drained().await);
}

/// As long as an order was about a part of the namespace, be it for days, what came there stayed in one copy.
#[tokio::test]
async fn an_order_keeps_nothing_from_being_protected() {
    let house = House::kept("orders-protect").await;
    house.put(&house.logs, "old", 5000).await;
    let order = place("logs", "", "far");
    let slow = Pace { bytes_per_second: Some(1), concurrency: None };
    let job = house.namespace.start_job(order, slow).await.unwrap();
    house
        .declare(&[("safe", Objective { copies: Some(2), ..wish("s3://logs/", None, &["hot", "cold"], &[]) })])
        .await
        .unwrap();
    house.put(&house.logs, "new", 5000).await;
    house.on(&house.logs, "new", &["cold", "hot"]).await;
    assert_eq!(house.namespace.job(job.id).await.unwrap().state, JobState::Running);
    house.namespace.cancel_job(job.id).await.unwrap();
}

/// An objective with a condition, or about a part of what was placed, did not stand against it: all of it was moved and paid for, and
/// then moved back and paid for again.
#[tokio::test]
async fn what_objectives_would_bring_back_is_not_placed() {
    let house = House::new("undone").await;
    for (key, bytes) in [("big/a", 5000), ("big/b", 5000), ("part/c", 900), ("small", 30)] {
        house.put(&house.logs, key, bytes).await;
    }
    support::copy(&house.namespace, &house.logs, "big/a", "copy").await;
    let archive = wish("s3://logs/", Some("size > 1000"), &["cold"], &[]);
    house.declare(&[("archive", archive), ("part", wish("s3://logs/part/", None, &["far"], &[]))]).await.unwrap();
    house.align("s3://").await;
    let undone = |objective: &str, extents| Err(OrderError::Undone { objective: objective.to_owned(), extents });
    let start = async |prefix: &str, on: &str| {
        house.namespace.start_job(place("logs", prefix, on), Pace::default()).await.map(drop)
    };
    assert_eq!(start("", "hot").await, undone("archive", 2), "what is shared moves with what it was written for");
    assert_eq!(house.namespace.plan(&place("logs", "", "hot")).await.map(drop), undone("archive", 2));
    assert_eq!(start("big/a", "far").await, undone("archive", 1));
    assert_eq!(start("p", "hot").await, undone("part", 1));
    let job = house.carried_out(place("logs", "small", "far")).await;
    assert_eq!((job.state, job.moved_objects), (JobState::Done, 1), "nobody wants that elsewhere");
    assert_eq!(start("", "cold").await, undone("part", 1), "it may be the closer one");
    let until = Timestamp::now() + SignedDuration::from_hours(24);
    let held = place("logs", "", "hot");
    house.namespace.hold(&held, until).await.unwrap();
    let job = house.carried_out(held).await;
    assert_eq!((job.state, job.refused), (JobState::Done, 0), "it is held");
    // A closer hold stands against another one, which declares nothing.
    house.namespace.hold(&place("logs", "big/", "far"), until).await.unwrap();
    house.align("s3://logs/").await;
    let before = house.namespace.effective(&Scope::default()).unwrap().len();
    let again = house.namespace.hold(&place("logs", "b", "cold"), until).await;
    assert!(matches!(&again, Err(OrderError::Undone { extents: 2, .. })), "{again:?}");
    assert_eq!(house.namespace.effective(&Scope::default()).unwrap().len(), before);
    assert_eq!(house.silos(&house.logs, "big/a").await, ["far"]);
}

/// A hold was declared before its order was refused, and moved things by itself; when it was over it stayed, and kept silos from
/// being deleted.
#[tokio::test]
async fn a_hold_is_refused_with_its_order_and_goes_when_it_is_over() {
    let calendar = Arc::new(Calendar::new());
    let align = AlignOptions { every: Duration::from_secs(1), pace: Pace::default(), budget: None };
    let house = House::with("orders-hold", calendar.clone(), Some(align)).await;
    house.put(&house.logs, "a", 1000).await;
    let safe = Objective { copies: Some(2), ..wish("s3://photos/", None, &[], &[]) };
    let archive = wish("s3://logs/", None, &["cold"], &["far"]);
    house.declare(&[("archive", archive), ("safe", safe)]).await.unwrap();
    house.comes_to(&house.logs, "a", "cold").await;
    let until = Timestamp::now() + SignedDuration::from_hours(24 * 7);
    let hold = async |order: &Order| house.namespace.hold(order, until).await;
    assert_eq!(hold(&place("logs", "", "far")).await, Err(OrderError::Against("archive".to_owned())));
    let copies = hold(&place("photos", "", "cold")).await.unwrap_err().to_string();
    assert_eq!(copies, "objective `safe` wants 2 copies, and what is held is on one silo");
    assert_eq!(hold(&place("logs", "", "gone")).await, Err(OrderError::NoSuchSilo("gone".to_owned())));
    let declared = || house.namespace.effective(&Scope::default()).unwrap().len();
    assert_eq!(declared(), 2, "what is refused declares nothing");
    assert_eq!(house.namespace.plan_held(&place("logs", "", "hot"), until).await.unwrap().objects, 1);
    assert_eq!(declared(), 2, "and a plan does neither");
    let name = hold(&place("logs", "", "hot")).await.unwrap();
    assert!(name.starts_with("hold-"), "{name}");
    house.comes_to(&house.logs, "a", "hot").await;
    calendar.pass(8);
    house.comes_to(&house.logs, "a", "cold").await;
    for _ in 0..500 {
        if declared() == 2 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what holds nothing any more is still declared");
}

/// Orders were checked and then written, and what another gateway ordered between the two was not looked at: `drain` of one silo to
/// another and back ran both at once, and pushed the same bytes to and fro.
#[tokio::test]
async fn of_orders_that_contradict_each_other_one_is_refused_whichever_gateway_takes_them() {
    let engine = Arc::new(Held::default());
    let over: Arc<dyn Engine> = Arc::<Held>::clone(&engine);
    let align = AlignOptions { every: Duration::from_hours(1), pace: Pace::default(), budget: None };
    let house = House::over(over, "orders-two", Arc::new(SystemClock::new()), Some(align)).await;
    let (options, clock) = (Options { base: "/".into(), ..support::options() }, Arc::new(SystemClock::new()));
    let other = Namespace::open(Arc::clone(&house.engine), clock, options, false).await.unwrap();
    let one = &house.namespace;
    let drain = |from: &str, to: &str| Order::Drain { from: from.to_owned(), to: to.to_owned() };
    let start = async |by: &Namespace, order: Order| by.start_job(order, Pace::default()).await;
    let between = async |order: Order| {
        engine.came().await;
        let job = start(&other, order).await.unwrap();
        engine.let_go();
        job.id
    };

    engine.hold_next_that_reads(next_job());
    let (refused, back) = tokio::join!(start(one, drain("hot", "cold")), between(drain("cold", "hot")));
    let conflict = |id, order| Err(OrderError::Conflict { id, order });
    assert_eq!(refused.map(drop), conflict(back, drain("cold", "hot")));
    let cordoned = one.silos().await.unwrap().into_iter().filter(|silo| silo.cordoned);
    assert_eq!(cordoned.map(|silo| silo.name).collect::<Vec<_>>(), ["cold"], "what is refused cordons nothing");

    other.pause_job(back).await.unwrap();
    engine.hold_next_that_reads(next_job());
    let resumed = async {
        engine.came().await;
        other.resume_job(back).await.unwrap();
        engine.let_go();
    };
    let (refused, ()) = tokio::join!(start(one, drain("hot", "cold")), resumed);
    assert_eq!(refused.map(drop), conflict(back, drain("cold", "hot")), "it goes on");

    other.cancel_job(back).await.unwrap();
    engine.hold_next_that_reads(next_job());
    let placed = place("logs", "", "hot");
    let (refused, job) = tokio::join!(one.start_switch("hot", "far", false), between(placed.clone()));
    assert_eq!(refused.map(drop), conflict(job, placed));
    assert_eq!(one.switches().await.unwrap(), []);
}

/// A silo that was away for two minutes ended the drain that a switch had begun, and nobody took it up again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_waits_for_silos_that_are_away() {
    let house = House::new("away").await;
    for number in 0..5 {
        house.put(&house.logs, &format!("{number}"), 1000).await;
    }
    blobs("away", "cold").fail(true);
    let job = house.namespace.start_job(place("logs", "", "cold"), Pace::default()).await.unwrap();
    let mut told = None;
    for _ in 0..1000 {
        let info = house.namespace.job(job.id).await.unwrap();
        assert_eq!(info.state, JobState::Running, "{info:?}");
        told = info.error.filter(|error| error == "silo `cold` is down");
        if told.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(told.is_some(), "it says what it waits for");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let failed = house.namespace.job(job.id).await.unwrap().failed;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(house.namespace.job(job.id).await.unwrap().failed, failed, "and nothing is tried meanwhile");
    blobs("away", "cold").fail(false);
    for _ in 0..1000 {
        if house.namespace.job(job.id).await.unwrap().state == JobState::Done {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let info = house.namespace.job(job.id).await.unwrap();
    assert_eq!((info.state, info.moved_objects), (JobState::Done, 5), "{info:?}");
}

/// Of a copy at hand and one that costs egress, some reads took the dear one: it had not been read yet, or to see whether it had
/// become faster.
#[tokio::test]
async fn of_copies_the_one_that_costs_least_is_read() {
    let house = House::new("cheap").await;
    let silo = DeclaredSilo {
        price: Some(Price::of("aws-s3-standard")),
        labels: [("site".to_owned(), "frankfurt".to_owned())].into(),
        ..DeclaredSilo::own("memory:objectives-cheap-hot")
    };
    let declared = Declared { silos: [("hot".to_owned(), silo)].into(), ..Declared::default() };
    house.namespace.apply(&declared, false).await.unwrap();
    house.put(&house.logs, "a", 5000).await;
    house
        .declare(&[("safe", Objective { copies: Some(2), ..wish("s3://logs/", None, &["hot", "cold"], &[]) })])
        .await
        .unwrap();
    house.align("s3://").await;
    assert_eq!(house.silos(&house.logs, "a").await, ["hot", "cold"]);
    let read = |silo: &str| house.namespace.stats().silos.get(silo).map_or(0, |stats| stats.bytes_read);
    let (dear, free) = (read("hot"), read("cold"));
    for _ in 0..200 {
        assert_eq!(house.read_text(&house.logs, "a").await, Ok("x".repeat(5000)));
    }
    assert_eq!((read("hot") - dear, read("cold") - free), (0, 200 * 5000));
    blobs("cheap", "cold").fail(true);
    assert_eq!(
        house.read_text(&house.logs, "a").await,
        Ok("x".repeat(5000)),
        "where it is not there, the other one is"
    );
}
