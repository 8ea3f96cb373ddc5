//! What is read is warm, and what nobody reads grows cold.

use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use holdall_namespace::clock::UnixMs;

use super::*;

const DAY: i64 = 86_400_000;

/// The system's clock, and a calendar that a test turns.
pub(crate) struct Calendar {
    clock: SystemClock,
    ahead: AtomicI64,
}

#[async_trait]
impl Clock for Calendar {
    fn now(&self) -> UnixMs {
        self.clock.now() + self.ahead.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }
}

impl Calendar {
    pub(crate) fn new() -> Self {
        Self { clock: SystemClock::new(), ahead: AtomicI64::new(0) }
    }

    pub(crate) fn pass(&self, days: i64) {
        self.ahead.fetch_add(days * DAY, Ordering::Relaxed);
    }
}

pub(crate) async fn house(test: &str) -> (House, Arc<Calendar>) {
    let calendar = Arc::new(Calendar::new());
    (House::with(test, calendar.clone(), None).await, calendar)
}

impl House {
    pub(super) async fn read(&self, bucket: &Bucket, key: &str) {
        let opened = self.namespace.open_object(bucket, &key.parse().unwrap()).await.unwrap();
        support::text(&opened).await.unwrap();
    }

    /// Objects that would move, by where to.
    async fn moving(&self) -> BTreeMap<String, u64> {
        self.namespace.write_heat_for_tests().await;
        self.outlook()
            .await
            .moves
            .into_iter()
            .map(|moving| (moving.to.unwrap_or_default(), moving.amount.extents))
            .collect()
    }
}

#[tokio::test]
async fn what_nobody_reads_for_30_days_is_wanted_elsewhere_until_it_is_read_again() {
    let (house, calendar) = house("unread").await;
    for key in ["a", "b", "c"] {
        house.put(&house.logs, key, 100).await;
    }
    house.declare(&[("nearline", wish("s3://logs/", Some("unread > days(30)"), &["cold"], &[]))]).await.unwrap();
    calendar.pass(20);
    house.read(&house.logs, "a").await;
    calendar.pass(11);
    assert_eq!(house.moving().await, [("cold".to_owned(), 2)].into(), "one was read eleven days ago");
    house.align("s3://logs/").await;
    assert_eq!(house.silos(&house.logs, "a").await, ["hot"]);
    assert_eq!(house.silos(&house.logs, "b").await, ["cold"]);
    calendar.pass(30);
    house.put(&house.logs, "c", 100).await;
    assert_eq!(house.moving().await, [("cold".to_owned(), 1)].into(), "what was written counts as read");
}

#[tokio::test]
async fn what_is_read_often_is_wanted_near() {
    let (house, calendar) = house("often").await;
    for key in ["a", "b"] {
        house.put(&house.logs, key, 1000).await;
    }
    house.declare(&[("near", wish("s3://logs/", Some("reads(days(7)) >= 3"), &["far"], &[]))]).await.unwrap();
    for _ in 0..2 {
        house.read(&house.logs, "a").await;
    }
    assert_eq!(house.moving().await, BTreeMap::new());
    calendar.pass(1);
    house.read(&house.logs, "a").await;
    assert_eq!(house.moving().await, [("far".to_owned(), 1)].into());
    let why = house.namespace.why(&house.logs.name, &"a".parse().unwrap()).await.unwrap();
    let heat = why.heat.unwrap();
    assert_eq!((heat.reads_7_days, heat.reads_30_days, heat.share), (3, 3, 1.0));
    calendar.pass(10);
    assert_eq!(house.moving().await, BTreeMap::new(), "and not for ever");
    assert_eq!(house.namespace.why(&house.logs.name, &"b".parse().unwrap()).await.unwrap().heat, None);
}

/// HEAD, copies, moves and plans read nothing for a client; a deleted object leaves no heat behind, and neither does one that is
/// deleted while its reads wait to be written down.
#[tokio::test]
async fn only_reads_of_clients_count_and_heat_goes_with_its_object() {
    let (house, _) = house("whose").await;
    house.put(&house.logs, "a", 1000).await;
    house.declare(&[("cold", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    house.namespace.head(&house.logs, &"a".parse().unwrap()).await.unwrap();
    support::copy(&house.namespace, &house.logs, "a", "b").await;
    house.align("s3://logs/").await;
    let heat = async |key: &str| {
        house.namespace.write_heat_for_tests().await;
        house.namespace.why(&house.logs.name, &key.parse().unwrap()).await.unwrap().heat
    };
    assert_eq!((heat("a").await, heat("b").await), (None, None));
    house.read(&house.logs, "a").await;
    assert_eq!(heat("a").await.map(|heat| heat.reads_7_days), Some(1));
    house.read(&house.logs, "b").await;
    for key in ["a", "b"] {
        house.namespace.delete(&house.logs, &key.parse().unwrap(), Condition::default()).await.unwrap();
    }
    house.namespace.write_heat_for_tests().await;
    for key in ["a", "b"] {
        house.put(&house.logs, key, 1000).await;
        assert_eq!(heat(key).await, None, "{key}");
    }
}
