//! Plans against what then moves: all steps of it, one after the other.

use holdall_namespace::objective::Selector;

use super::*;

fn selectors(names: &[&str]) -> Vec<Selector> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

impl House {
    /// 20 objects that share packs, and 4 that do not; all silos have prices.
    async fn to_plan(test: &str, objective: Objective) -> Self {
        let house = Self::new(test).await;
        for number in 0..24 {
            house.put(&house.logs, &format!("{number:02}"), if number < 20 { 40 } else { 5000 }).await;
        }
        for (silo, preset) in [("hot", "aws-s3-standard"), ("cold", "aws-s3-glacier-ir"), ("far", "gcs-nearline")] {
            let set = SetSilo { price: Some(Price::of(preset)), ..SetSilo::default() };
            house.namespace.set_silo(silo, &set, false).await.unwrap();
        }
        house.declare(&[("it", Objective { on: "s3://logs/".parse().unwrap(), ..objective })]).await.unwrap();
        house
    }

    /// Aligns, round by round, and holds what is done against the plan.
    async fn moves_as_planned(&self) {
        let planned = self.outlook().await;
        let order = Order::Align { on: Scope::default() };
        let job = self.namespace.start_job(order, Pace::default()).await.unwrap();
        while self.namespace.job(job.id).await.unwrap().state == JobState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let done = self.namespace.job(job.id).await.unwrap();
        assert_eq!((done.state, done.failed), (JobState::Done, 0), "{done:?}");
        let steps = planned.moves.iter().map(|moving| moving.amount.extents).sum::<u64>();
        let copied = planned.moves.iter().filter(|moving| moving.to.is_some());
        let bytes = copied.map(|moving| moving.amount.bytes).sum::<u64>();
        assert_eq!((done.moved_objects, done.moved_bytes), (steps, bytes), "{planned:?}");
        let after = self.outlook().await;
        assert_eq!((after.moves, after.waits), (vec![], vec![]));
        assert_eq!(after.aligned, amount(24, ALL));
        assert_eq!(after.costs.cost.month_before, planned.costs.cost.month_after);
    }
}

/// Bytes of all objects.
const ALL: u64 = 20 * 40 + 4 * 5000;

fn told(planned: &Outlook) -> Vec<(What, &str, Option<&str>, Amount)> {
    let told = |moving: &'_ Moving| (moving.what, moving.amount);
    let moves = planned.moves.iter();
    moves.map(|moving| (told(moving).0, moving.from.as_str(), moving.to.as_deref(), told(moving).1)).collect()
}

/// A plan of three copies of what is on one silo showed one of the two that were then made.
#[tokio::test]
async fn a_plan_of_three_copies_shows_both_that_are_made() {
    let house = House::to_plan("plan-three", Objective { copies: Some(3), ..Objective::default() }).await;
    let planned = house.outlook().await;
    let all = amount(24, ALL);
    assert_eq!(
        told(&planned),
        [(What::Copy, "hot", Some("cold"), all), (What::Copy, "hot", Some("far"), all)],
        "{planned:?}"
    );
    assert_eq!((planned.waits.len(), planned.aligned), (0, Amount::default()));
    let once = planned.moves.iter().map(|moving| moving.cost.once.total()).sum::<Money>();
    assert_eq!(planned.costs.cost.once.total(), once);
    assert_eq!(planned.moves[0].cost.month_after, planned.moves[1].cost.month_before, "one after the other");
    house.moves_as_planned().await;
}

/// An order's dry run told objects and bytes, and not what they cost.
#[tokio::test]
async fn what_an_order_costs_is_what_an_objective_that_wants_it_costs() {
    let place = Objective { place: selectors(&["cold"]), ..Objective::default() };
    let house = House::to_plan("plan-order", place).await;
    let planned = house.outlook().await.costs;
    assert_ne!(planned.cost.once.total(), Money::ZERO);
    let (on, bucket) = ("cold".to_owned(), house.logs.name.clone());
    let order = Order::Place { bucket, prefix: String::new(), on };
    assert_eq!(house.namespace.plan(&order).await.unwrap().costs, Some(planned.clone()));
    let order = Order::Drain { from: "hot".to_owned(), to: "cold".to_owned() };
    assert_eq!(house.namespace.plan(&order).await.unwrap().costs, Some(planned));
}

/// One that is placed elsewhere and kept somewhere is copied there, and moves then.
#[tokio::test]
async fn a_plan_shows_what_moves_once_it_is_kept() {
    let keep = Objective { place: selectors(&["cold"]), keep: selectors(&["far"]), ..Objective::default() };
    let house = House::to_plan("plan-keep", keep).await;
    let planned = house.outlook().await;
    let all = amount(24, ALL);
    let ways: Vec<_> = told(&planned).into_iter().map(|(what, from, to, _)| (what, from, to)).collect();
    assert!(planned.moves.iter().all(|moving| moving.amount == all), "{planned:?}");
    assert_eq!(ways, [(What::Move, "hot", Some("far")), (What::Copy, "far", Some("cold"))], "{planned:?}");
    house.moves_as_planned().await;
}

/// What is too much goes once the others are there; a paused objective shows all of it as well.
#[tokio::test]
async fn a_plan_shows_what_goes_and_what_waits_then() {
    let house = House::to_plan("plan-goes", Objective { copies: Some(3), ..Objective::default() }).await;
    house.align("s3://logs/").await;
    house.declare(&[("it", wish("s3://logs/", None, &["cold"], &[]))]).await.unwrap();
    let planned = house.outlook().await;
    let ways: Vec<_> = told(&planned).into_iter().map(|(what, from, to, _)| (what, from, to)).collect();
    assert_eq!(ways, [(What::Drop, "far", None), (What::Drop, "hot", None)], "{planned:?}");
    let early = |at: usize| planned.moves[at].cost.once.early_deletion;
    assert!(early(0) > Money::ZERO && early(1) == Money::ZERO, "{planned:?}");
    house.moves_as_planned().await;
    let four = Objective { copies: Some(4), paused: Some(true), ..wish("s3://logs/", None, &[], &[]) };
    house.declare(&[("it", four.clone())]).await.unwrap();
    let planned = house.outlook().await;
    assert_eq!((planned.moves.len(), planned.moves[1].amount), (2, amount(24, ALL)), "{planned:?}");
    house.declare(&[("it", Objective { paused: Some(false), ..four })]).await.unwrap();
    let planned = house.outlook().await;
    assert_eq!(planned.moves.len(), 2, "{planned:?}");
    assert_eq!(planned.waits.iter().map(|waits| waits.amount).collect::<Vec<_>>(), [amount(24, ALL)]);
}
