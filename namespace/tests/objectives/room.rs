//! Silos that fill: the coldest leave them, and copies of what is read make room.

use super::copies::blobs;
use super::heat::Calendar;
use super::*;

const EACH: usize = 1000;
/// Beside these what a silo keeps of each object is little.
const LARGE: usize = 10_000;

impl House {
    async fn filling(test: &str) -> (Self, Arc<Calendar>) {
        Self::within(test, None).await
    }

    async fn within(test: &str, budget: Option<Money>) -> (Self, Arc<Calendar>) {
        let calendar = Arc::new(Calendar::new());
        let align = AlignOptions { every: Duration::from_secs(1), pace: Pace::default(), budget };
        (Self::with(test, calendar.clone(), Some(align)).await, calendar)
    }

    /// Keys with a verified replica on a silo.
    async fn held_by(&self, silo: &str) -> Vec<String> {
        let mut keys = Vec::new();
        for at in 0..40 {
            let key = format!("{at:02}");
            let Ok(replicas) = self.namespace.where_is(&self.logs.name, &key.parse().unwrap()).await else { continue };
            if replicas.iter().any(|replica| replica.silo == silo && replica.state == "verified") {
                keys.push(key);
            }
        }
        keys
    }

    async fn held_by_is(&self, silo: &str, what: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        for _ in 0..1000 {
            found = self.held_by(silo).await;
            if what(&found) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{silo} has {found:?}: {:?}", self.namespace.alignment());
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|at| format!("{at:02}")).collect()
}

#[tokio::test]
async fn the_coldest_leave_a_silo_that_fills() {
    let (house, calendar) = House::filling("fill").await;
    let fill =
        Objective { fill: Some("10KiB..16KiB".parse().unwrap()), ..wish("s3://logs/", None, &["hot", "cold"], &[]) };
    house.declare(&[("fill", fill)]).await.unwrap();
    for at in 0..16 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
        calendar.pass(1);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("cold").await.len(), 0, "16,000 bytes are no more than 16 KiB");
    for at in [2, 3] {
        house.read(&house.logs, &format!("{at:02}")).await;
    }
    house.namespace.write_heat_for_tests().await;
    house.put(&house.logs, "16", EACH).await;
    let left = house.held_by_is("cold", |keys| keys.len() >= 7).await;
    assert_eq!(left, ["00", "01", "04", "05", "06", "07", "08"], "17,000 less 10 KiB are 7; two were read");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("cold").await, left, "and no more, and none comes back");
    assert_eq!(house.namespace.alignment().unwrap().moved, 7);
}

/// Two objectives that fill one silo make room together, and not each; what cannot leave does not make all be compared again and
/// again.
#[tokio::test]
async fn objectives_that_fill_one_silo_make_room_together() {
    let (house, calendar) = House::filling("fill-together").await;
    let fill = |on: &str, when: Option<&str>| Objective {
        fill: Some("10KiB..16KiB".parse().unwrap()),
        ..wish(on, when, &["hot", "cold"], &[])
    };
    house
        .declare(&[("even", fill("s3://logs/", Some("key < '10'"))), ("odd", fill("s3://logs/", None))])
        .await
        .unwrap();
    for at in 0..20 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
        calendar.pass(1);
    }
    house.held_by_is("cold", |keys| keys.len() >= 10).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("cold").await, names(0..10), "20,000 less 10 KiB, the coldest of both");
    blobs("fill-together", "cold").fail(true);
    for at in 20..30 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let compared = || house.namespace.alignment().unwrap().compared.unwrap();
    let (mut seen, mut last, end) = (0, compared(), calendar.monotonic() + Duration::from_secs(4));
    while calendar.monotonic() < end {
        tokio::time::sleep(Duration::from_millis(10)).await;
        seen += usize::from(last != compared());
        last = compared();
    }
    assert!(seen <= 5, "{seen} comparisons in four seconds, which are due each second");
    blobs("fill-together", "cold").fail(false);
    house.held_by_is("cold", |keys| keys.len() >= 19).await;
}

/// All of one age: some go, and not all.
#[tokio::test]
async fn of_what_is_as_cold_as_the_rest_a_share_leaves() {
    let (house, _) = House::filling("fill-alike").await;
    for at in 0..40 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
    }
    blobs("fill-alike", "hot").limit(50_000);
    house.namespace.probe_silo("hot", 1024).await.unwrap();
    let fill = Objective { fill: Some("50%..70%".parse().unwrap()), ..wish("s3://logs/", None, &["hot", "cold"], &[]) };
    house.declare(&[("fill", fill)]).await.unwrap();
    // What it keeps beside their bytes is no bytes of ours.
    house.held_by_is("cold", |keys| (10..32).contains(&keys.len())).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let left = house.held_by("cold").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!((10..32).contains(&left.len()), "{left:?}");
    assert_eq!(house.held_by("cold").await, left);
}

#[tokio::test]
async fn what_is_read_has_a_copy_near_until_others_need_the_room() {
    let (house, calendar) = House::filling("copy-on-read").await;
    for at in 0..12 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
    }
    let copy = Objective {
        copy_on_read: vec!["cold".parse().unwrap()],
        max: Some(5_500),
        ..wish("s3://logs/", None, &[], &[])
    };
    house.declare(&[("near", copy)]).await.unwrap();
    for at in 0..5 {
        house.read(&house.logs, &format!("{at:02}")).await;
    }
    house.namespace.write_heat_for_tests().await;
    house.held_by_is("cold", |keys| keys == names(0..5)).await;
    calendar.pass(1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(house.held_by("cold").await, names(0..5), "they stay though nobody reads them");
    house.read(&house.logs, "00").await;
    house.read(&house.logs, "05").await;
    house.read(&house.logs, "06").await;
    house.namespace.write_heat_for_tests().await;
    let kept = house.held_by_is("cold", |keys| keys.contains(&"06".to_owned()) && keys.len() <= 5).await;
    assert!(["00", "05", "06"].iter().all(|key| kept.contains(&(*key).to_owned())), "the coldest went: {kept:?}");
    assert_eq!(house.held_by("hot").await, names(0..12), "and each is where it was");
    house.put(&house.logs, "39", 6_000).await;
    house.read(&house.logs, "39").await;
    house.namespace.write_heat_for_tests().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!house.held_by("cold").await.contains(&"39".to_owned()), "it is longer than all of them may be");
    house.namespace.delete_objective("near").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(house.held_by("cold").await.len(), kept.len(), "nothing moves for an objective that is gone");
}

#[tokio::test]
async fn an_objective_moves_in_its_hours_and_counts_in_its_time() {
    let (house, calendar) = House::filling("hours").await;
    house.put(&house.logs, "00", EACH).await;
    house.put(&house.photos, "a", EACH).await;
    let now = jiff::Timestamp::now();
    let hour = |hours: i64| {
        let at = now + jiff::SignedDuration::from_hours(hours);
        at.strftime("%H:00").to_string()
    };
    let closed = Objective {
        hours: Some(format!("{}-{}", hour(3), hour(5)).parse().unwrap()),
        ..wish("s3://logs/", None, &["cold"], &[])
    };
    let later = Objective {
        not_before: Some(now + jiff::SignedDuration::from_hours(24)),
        not_after: Some(now + jiff::SignedDuration::from_hours(24 * 9)),
        ..wish("s3://photos/", None, &["far"], &[])
    };
    house.declare(&[("night", closed.clone()), ("later", later)]).await.unwrap();
    let told = house.told(|told| told.outlook.waits.len() == 1).await;
    assert!(told.outlook.waits[0].reason.contains("it moves at"), "{told:?}");
    assert_eq!(house.silos(&house.photos, "a").await, ["hot"]);
    assert_eq!(house.outlook().await.moves.len(), 1, "a plan shows it at any hour");
    calendar.pass(2);
    house.comes_to(&house.photos, "a", "far").await;
    assert_eq!(house.silos(&house.logs, "00").await, ["hot"], "it is two days later, at the same hour");
    house.align("s3://logs/").await;
    assert_eq!(house.silos(&house.logs, "00").await, ["cold"], "an order has no hours");
    calendar.pass(20);
    house.put(&house.photos, "a", EACH).await;
    assert_eq!(house.silos(&house.photos, "a").await, ["hot"], "it counts no more");
    let open = Objective { hours: Some("00:00-00:00".parse().unwrap()), ..wish("s3://logs/", None, &["hot"], &[]) };
    house.declare(&[("night", open)]).await.unwrap();
    house.comes_to(&house.logs, "00", "hot").await;
}

/// What comes before all others holds an object somewhere for a while.
#[tokio::test]
async fn what_is_held_stays_until_its_time_is_over() {
    let (house, calendar) = House::filling("hold").await;
    house.put(&house.logs, "2024/a", EACH).await;
    house.declare(&[("archive", wish("s3://logs/2024/", None, &["cold"], &[]))]).await.unwrap();
    house.comes_to(&house.logs, "2024/a", "cold").await;
    let place = Order::Place { bucket: "logs".parse().unwrap(), prefix: String::new(), on: "far".to_owned() };
    let hold = Objective {
        first: true,
        not_after: Some(jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 7)),
        ..wish("s3://logs/", None, &["far"], &[])
    };
    house.declare(&[("hold", hold)]).await.unwrap();
    house.namespace.plan(&place).await.unwrap();
    house.comes_to(&house.logs, "2024/a", "far").await;
    calendar.pass(8);
    house.comes_to(&house.logs, "2024/a", "cold").await;
}

#[tokio::test]
async fn jobs_and_silos_are_paused_and_resumed() {
    let (house, _) = House::filling("paused").await;
    for at in 0..20 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
    }
    let place = Order::Place { bucket: "logs".parse().unwrap(), prefix: String::new(), on: "far".to_owned() };
    let slow = Pace { bytes_per_second: Some(4000), concurrency: Some(1) };
    let job = house.namespace.start_job(place, slow).await.unwrap();
    house.held_by_is("far", |keys| keys.len() >= 2).await;
    let paused = house.namespace.pause_job(job.id).await.unwrap();
    assert_eq!((paused.state, paused.finished), (JobState::Paused, None));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let some = house.held_by("far").await.len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (house.held_by("far").await.len(), house.namespace.job(job.id).await.unwrap().state),
        (some, JobState::Paused)
    );
    assert!(some < 20, "{some}");
    house.namespace.pause_silo("far", true).await.unwrap();
    house.namespace.resume_job(job.id).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.held_by("far").await.len(), some, "nothing moves to a silo that is paused");
    assert_eq!(house.namespace.job(job.id).await.unwrap().failed, 0, "and nothing fails for that");
    house.namespace.pause_silo("far", false).await.unwrap();
    house.held_by_is("far", |keys| keys.len() == 20).await;
    house.declare(&[("back", wish("s3://logs/", None, &["hot"], &[]))]).await.unwrap();
    house.held_by_is("hot", |keys| keys.len() == 20).await;
    house.namespace.pause_silo("hot", true).await.unwrap();
    house.declare(&[("back", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    let told = house.told(|told| told.outlook.waits.iter().any(|waits| waits.reason == "silo `hot` is paused")).await;
    assert!(told.outlook.moves.is_empty(), "{told:?}");
}

impl House {
    /// 40 objects, each of which costs 10 cents to be moved to `cold`.
    async fn to_pay_for(test: &str, budget: &str) -> (Self, Arc<Calendar>) {
        let (house, calendar) = Self::within(test, Some(budget.parse().unwrap())).await;
        for at in 0..40 {
            house.put(&house.logs, &format!("{at:02}"), EACH).await;
        }
        let price: Price = serde_json::from_str(r#"{"writes": 100}"#).unwrap();
        let set = SetSilo { price: Some(price), ..SetSilo::default() };
        house.namespace.set_silo("cold", &set, false).await.unwrap();
        (house, calendar)
    }
}

/// 40 moves of 10 cents each within a budget of one: 10 move this month, and 10 the next.
#[tokio::test]
async fn what_moves_by_itself_stays_within_a_budget() {
    let (house, calendar) = House::to_pay_for("budget", "1").await;
    house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    house.held_by_is("cold", |keys| keys.len() >= 10).await;
    let told = house.told(|told| told.outlook.waits.iter().any(|waits| waits.reason.contains("is spent"))).await;
    assert_eq!(told.outlook.waits[0].amount.extents, 30, "{told:?}");
    assert_eq!((told.spent.map(|spent| spent.money), told.budget), (Some("1".parse().unwrap()), told.budget));
    house.declare(&[("photos", wish("s3://photos/", None, &["far"], &[]))]).await.unwrap();
    house.put(&house.photos, "a", EACH).await;
    house.comes_to(&house.photos, "a", "far").await;
    calendar.pass(31);
    house.held_by_is("cold", |keys| keys.len() >= 20).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("cold").await.len(), 20);
}

/// A silo that got full had a page of moves paid for that were never begun, and the month's money was gone.
#[tokio::test]
async fn what_was_never_begun_is_given_back() {
    let (house, _) = House::to_pay_for("give-back", "6").await;
    blobs("give-back", "cold").limit(5 * EACH as u64);
    house.declare(&[("archive", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    house.told(|told| told.failed > 0).await;
    blobs("give-back", "cold").limit(u64::MAX);
    house.held_by_is("cold", |keys| keys.len() == 40).await;
}

impl House {
    /// Objects are compared when something changes, and otherwise only after the test.
    async fn rarely_compared(test: &str) -> Self {
        let align = AlignOptions { every: Duration::from_hours(1), pace: Pace::default(), budget: None };
        Self::with(test, Arc::new(SystemClock::new()), Some(align)).await
    }

    async fn why_of(&self, key: &str) -> Vec<(Option<bool>, Option<String>)> {
        let why = self.namespace.why(&self.logs.name, &key.parse().unwrap()).await.unwrap();
        why.objectives.into_iter().map(|objective| (objective.holds, objective.reason)).collect()
    }
}

/// Nobody had to wait for the hour in which all objects are compared anyway.
#[tokio::test]
async fn a_silo_that_gets_full_is_noticed_by_conditions_that_ask_for_it() {
    let (test, when) = ("full", "silo('hot').full > 0.7 && key < '15'");
    let house = House::rarely_compared(test).await;
    for at in 0..10 {
        house.put(&house.logs, &format!("{at:02}"), LARGE).await;
    }
    house.declare(&[("overflow", wish("s3://logs/", Some(when), &["cold"], &[]))]).await.unwrap();
    assert_eq!(house.why_of("00").await, [(None, Some("silo `hot` cannot tell how large it is".to_owned()))]);
    blobs(test, "hot").limit(200_000);
    house.namespace.probe_silo("hot", 1).await.unwrap();
    assert_eq!(house.why_of("00").await, [(Some(false), None)]);
    house.told(|told| told.outlook.objects > 0).await;
    for at in 10..16 {
        house.put(&house.logs, &format!("{at:02}"), LARGE).await;
    }
    house.held_by_is("cold", |keys| keys.len() == 15).await;
    assert_eq!(house.held_by("hot").await, ["15"], "its key is not meant");
    // What it lost is room by now, or as good as that.
    house.namespace.probe_silo("hot", 1).await.unwrap();
    assert_eq!(house.why_of("00").await, [(Some(false), None)]);
    house.put(&house.logs, "09", LARGE).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("hot").await, ["09", "15"], "what is written now stays");
    let roomy = "silo('hot').full < 0.5 && 'cold' in silos && silo('cold').labels.site == 'frankfurt'";
    assert_eq!(house.keys_where("s3://logs/", roomy).await.len(), 14);
}

#[tokio::test]
async fn new_objects_go_where_conditions_that_ask_for_silos_say() {
    let house = House::rarely_compared("full-writes").await;
    let when = "silo('hot').full > 0.9 || silo('far').cordoned";
    house.declare(&[("overflow", wish("s3://logs/", Some(when), &["cold"], &[]))]).await.unwrap();
    blobs("full-writes", "hot").limit(1_000_000);
    house.namespace.probe_silo("hot", 1).await.unwrap();
    house.put(&house.logs, "00", LARGE).await;
    assert_eq!(house.silos(&house.logs, "00").await, ["hot"]);
    house.namespace.set_cordon("far", true).await.unwrap();
    house.put(&house.logs, "01", LARGE).await;
    assert_eq!(house.silos(&house.logs, "01").await, ["cold"]);
}

#[tokio::test]
async fn a_silo_that_there_is_not_is_refused_and_one_that_went_is_told() {
    let house = House::rarely_compared("full-unknown").await;
    let asks = |silo: &str| wish("s3://logs/", Some(&format!("size > 1 &&\n silo('{silo}').up")), &["cold"], &[]);
    let refused = house.declare(&[("x", asks("hto"))]).await.unwrap_err().to_string();
    assert_eq!(refused, "objective.x: there is no silo `hto` (line 2, column 7)");
    let planned = house.namespace.outlook(&Scope::default(), Some(("x", &asks("hto")))).await.unwrap_err();
    assert!(planned.to_string().contains("there is no silo `hto` (line 2, column 7)"), "{planned}");
    let searched = house.keys_refused("silo('hto').up").await;
    assert!(searched.contains("there is no silo `hto` (line 1, column 6)"), "{searched}");
    house.put(&house.logs, "00", LARGE).await;
    house.declare(&[("x", asks("far"))]).await.unwrap();
    house.held_by_is("cold", |keys| keys.len() == 1).await;
    house.namespace.set_cordon("far", true).await.unwrap();
    house.namespace.remove_silo("far").await.unwrap();
    assert_eq!(house.why_of("00").await, [(None, Some("there is no silo `far`".to_owned()))]);
    house.put(&house.logs, "01", LARGE).await;
    assert_eq!(house.silos(&house.logs, "01").await, ["hot"], "it says nothing any more");
}

/// Bytes that are wanted in several silos counted as if they could leave each, and what could leave did not: the silo stayed too full.
#[tokio::test]
async fn what_cannot_leave_a_silo_that_fills_leaves_the_room_to_others() {
    let (house, calendar) = House::filling("fill-kept").await;
    for at in 0..10 {
        house.put(&house.logs, &format!("{at:02}"), EACH).await;
        calendar.pass(1);
    }
    let keep = vec!["hot".parse().unwrap()];
    let kept = Objective { keep, ..wish("s3://logs/0", Some("key < '05'"), &[], &[]) };
    let fill =
        Objective { fill: Some("6KiB..8KiB".parse().unwrap()), ..wish("s3://logs/", None, &["hot", "cold"], &[]) };
    house.declare(&[("fill", fill), ("kept", kept)]).await.unwrap();
    let left = house.held_by_is("cold", |keys| keys.len() >= 4).await;
    assert_eq!(left, names(5..9), "10,000 less 6 KiB, of those that may leave");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(house.held_by("cold").await, left);
}
