//! Objectives that leave the choice to what was learnt, and what holds them.

use holdall_namespace::objective::{Auto, Days, Share};

use super::heat::Calendar;
use super::*;

/// Bytes are so dear here that requests are nothing beside them.
const HOT: &str = r#"{"storage": 1000}"#;
const COLD: &str = r#"{"storage": 10, "retrieval": 100, "writes": 0.5}"#;

fn auto(on: &str) -> Objective {
    let daily = Some(Share(100));
    Objective { auto: Some(Auto::On), daily, ..wish(on, None, &["hot", "cold"], &[]) }
}

struct Learning {
    house: House,
    calendar: Arc<Calendar>,
}

impl Learning {
    async fn new(test: &str, budget: Option<Money>) -> Self {
        Self::over(Arc::new(Memory::new()), test, budget).await
    }

    async fn over(engine: Arc<dyn Engine>, test: &str, budget: Option<Money>) -> Self {
        let calendar = Arc::new(Calendar::new());
        let align = AlignOptions { every: Duration::from_secs(1), pace: Pace::default(), budget };
        let house = House::over(engine, &format!("auto-{test}"), calendar.clone(), Some(align)).await;
        for (silo, price) in [("hot", HOT), ("cold", COLD)] {
            let price: Price = serde_json::from_str(price).unwrap();
            let set = SetSilo { price: Some(price), ..SetSilo::default() };
            house.namespace.set_silo(silo, &set, false).await.unwrap();
        }
        Self { house, calendar }
    }

    /// A day goes by; until what became of it was learnt, and all was compared with that.
    async fn day(&self) {
        let house = &self.house;
        house.namespace.write_heat_for_tests().await;
        self.calendar.pass(1);
        for _ in 0..3 {
            let now = self.calendar.now();
            house.told(|told| told.compared.is_some_and(|compared| compared > now)).await;
        }
    }

    async fn days(&self, days: usize) {
        for _ in 0..days {
            self.day().await;
        }
    }

    async fn on(&self, silo: &str, keys: &[&str]) -> usize {
        let mut there = 0;
        for key in keys {
            there += usize::from(self.house.silos(&self.house.logs, key).await == [silo]);
        }
        there
    }

    async fn paid(&self) -> f64 {
        let savings = self.house.namespace.savings().await.unwrap();
        savings[0].months.iter().map(|month| month.paid).sum()
    }
}

const KEYS: [&str; 6] = ["used/a", "used/b", "old/c", "old/d", "old/e", "old/f"];

/// What nobody reads goes where holding costs little; what is read stays where reading is free, and so comes what is read there again. Why, the numbers
/// say, and what it cost by month.
#[tokio::test]
async fn what_is_learnt_decides_and_is_explained() {
    let learning = Learning::new("decides", None).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    house.declare(&[("auto", auto("s3://logs/"))]).await.unwrap();
    for _ in 0..8 {
        for key in &KEYS[..2] {
            house.read(&house.logs, key).await;
        }
        learning.day().await;
    }
    assert_eq!(learning.on("hot", &KEYS[..2]).await, 2, "what is read each day stays");
    assert_eq!(learning.on("cold", &KEYS[2..]).await, 4, "what nobody reads goes");
    let why = async |key: &str| house.namespace.why(&house.logs.name, &key.parse().unwrap()).await.unwrap();
    let (used, old) = (why("used/a").await.auto.unwrap(), why("old/c").await.auto.unwrap());
    assert_eq!((used.best.as_str(), old.best.as_str()), ("hot", "cold"));
    assert!(used.chance > 0.5 && old.chance < 0.2, "{used:?} {old:?}");
    assert_eq!(used.costs.len(), 2);
    assert!(used.turns.iter().any(|(times, silo)| *times < 1.0 && silo == "cold"), "{used:?}");
    let savings = house.namespace.savings().await.unwrap();
    assert_eq!(savings[0].objective, "auto");
    let rules: Vec<&str> = savings[0].months[0].rules.iter().map(|(name, _)| name.as_str()).collect();
    assert!(rules.contains(&"always hot") && rules.contains(&"30/90 days"), "{rules:?}");
    assert!(learning.paid().await > 0.0);
    // New ones are written where their like are best.
    house.put(&house.logs, "old/g", 5000).await;
    assert_eq!(learning.on("cold", &["old/g"]).await, 1, "{:?}", why("old/g").await.auto);
}

/// Off by one switch: everything stays where it is, and learning goes on.
#[tokio::test]
async fn what_is_off_moves_nothing() {
    let learning = Learning::new("off", None).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    house.declare(&[("auto", Objective { auto: Some(Auto::Off), ..auto("s3://logs/") })]).await.unwrap();
    learning.days(8).await;
    assert_eq!(learning.on("hot", &KEYS).await, 6);
    let why = house.namespace.why(&house.logs.name, &"old/c".parse().unwrap()).await.unwrap();
    assert_eq!(why.auto.unwrap().stays.unwrap(), "`auto` is off");
    house.declare(&[("auto", auto("s3://logs/"))]).await.unwrap();
    house.comes_to(&house.logs, "old/c", "cold").await;
}

/// Of six objects a third of the bytes, two, moves in a day.
#[tokio::test]
async fn only_a_part_moves_in_a_day() {
    let learning = Learning::new("daily", None).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    house.declare(&[("auto", Objective { daily: Some(Share(34)), ..auto("s3://logs/") })]).await.unwrap();
    let mut last = 0;
    for _ in 0..12 {
        learning.day().await;
        let there = learning.on("cold", &KEYS).await;
        assert!(there <= last + 2, "{there} after {last}");
        last = there;
        if last == 6 {
            break;
        }
    }
    assert_eq!(last, 6);
}

/// What an objective holds stays; copies are as many as before, and nothing goes where it is forbidden.
#[tokio::test]
async fn limits_that_objectives_set_hold() {
    let learning = Learning::new("limits", None).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    let never = Objective { never: vec!["cold".parse().unwrap()], ..wish("s3://logs/old/c", None, &[], &[]) };
    let copies = Objective { copies: Some(2), ..wish("s3://logs/old/d", None, &[], &[]) };
    let keep = Objective { keep: vec!["hot".parse().unwrap()], ..wish("s3://logs/old/e", None, &[], &[]) };
    let all = [("auto", auto("s3://logs/")), ("never", never), ("copies", copies), ("keep", keep)];
    house.declare(&all).await.unwrap();
    learning.days(8).await;
    let silos = async |key: &str| house.silos(&house.logs, key).await;
    assert_eq!(silos("old/c").await, ["hot"], "forbidden elsewhere");
    assert_eq!(silos("old/d").await.len(), 2, "two copies");
    assert!(silos("old/e").await.contains(&"hot".to_owned()), "kept");
    assert_eq!(silos("old/f").await, ["cold"]);
}

/// The month's budget holds, whatever would be saved.
#[tokio::test]
async fn the_budget_holds() {
    let learning = Learning::new("budget", Some("0.0025".parse().unwrap())).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    house.declare(&[("auto", auto("s3://logs/"))]).await.unwrap();
    learning.days(6).await;
    let there = learning.on("cold", &KEYS).await;
    assert!((1..=5).contains(&there), "{there}");
    let told = house.told(|told| !told.outlook.waits.is_empty()).await;
    assert!(told.outlook.waits[0].reason.contains("budget"), "{told:?}");
}

/// What was learnt is in the index: whoever opens it next goes on with that.
#[tokio::test]
async fn what_was_learnt_outlives_a_gateway() {
    let engine: Arc<dyn Engine> = Arc::new(Memory::new());
    let learning = Learning::over(Arc::clone(&engine), "outlives", None).await;
    let house = &learning.house;
    for key in KEYS {
        house.put(&house.logs, key, 5000).await;
    }
    house.declare(&[("auto", Objective { auto: Some(Auto::Off), ..auto("s3://logs/") })]).await.unwrap();
    learning.days(5).await;
    let why =
        async |namespace: &Namespace| namespace.why(&house.logs.name, &"old/c".parse().unwrap()).await.unwrap().auto;
    let before = why(&house.namespace).await.unwrap();
    house.namespace.close().await;
    let again = open(&engine, learning.calendar.clone(), None).await;
    assert_eq!(why(&again).await.unwrap(), before);
}

#[tokio::test]
async fn what_it_is_about_and_what_it_says_is_looked_at() {
    let house = House::new("auto-says").await;
    let wrong = [
        (Objective { stay: Some(Days(7)), ..wish("s3://", None, &["hot"], &[]) }, "about `auto`"),
        (Objective { fill: Some("1..2".parse().unwrap()), ..auto("s3://") }, "two wishes"),
    ];
    for (wish, words) in wrong {
        let refused = house.declare(&[("x", wish)]).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
    // No silo says what it asks: nothing is chosen, and nothing moves.
    house.put(&house.logs, "a", 5000).await;
    house.declare(&[("auto", auto("s3://"))]).await.unwrap();
    assert_eq!(house.outlook().await.moves, []);
}
