//! A silo is replaced while it is in use, and a switch that goes wrong costs nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use holdall_namespace::engine::{Read, Rows, Write, commit};
use holdall_namespace::name::ObjectKey;
use holdall_namespace::switch::SwitchInfo;
use holdall_namespace::table::jobs::{JobRow, job};

use super::copies::blobs;
use super::*;

/// What clients do meanwhile: each key is written, written over, read and deleted, in turn; nothing may fail.
struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Vec<(String, String)>>>,
}

impl Traffic {
    fn begin(house: &House) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|client| {
            let (namespace, bucket, stop) = (Arc::clone(&house.namespace), house.logs.clone(), Arc::clone(&stop));
            tokio::spawn(async move { write_until(&namespace, &bucket, client, &stop).await })
        });
        let clients = clients.collect();
        Self { stop, clients }
    }

    /// What there is to be, by key.
    async fn end(self) -> BTreeMap<String, String> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for client in self.clients {
            all.extend(client.await.unwrap());
        }
        all
    }
}

async fn write_until(
    namespace: &Namespace,
    bucket: &Bucket,
    client: usize,
    stop: &AtomicBool,
) -> Vec<(String, String)> {
    let mut there = BTreeMap::new();
    for round in 0_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("live/{client}/{}", round % 7);
        let text = format!("{client} {round} ").repeat(if round % 3 == 0 { 2 } else { 400 });
        support::put(namespace, bucket, &key, &text, Headers::default(), Condition::default()).await.unwrap();
        let name: ObjectKey = key.parse().unwrap();
        let opened = namespace.open_object(bucket, &name).await.unwrap();
        assert_eq!(support::text(&opened).await.unwrap(), text);
        there.insert(key.clone(), text);
        if round % 5 == 4 {
            namespace.delete(bucket, &name, Condition::default()).await.unwrap();
            there.remove(&key);
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    there.into_iter().collect()
}

impl House {
    async fn switch(&self) -> SwitchInfo {
        self.namespace.switches().await.unwrap().remove(0)
    }

    async fn switched(&self, what: impl Fn(&SwitchInfo) -> bool) -> SwitchInfo {
        let mut switch = self.switch().await;
        for _ in 0..1000 {
            if what(&switch) {
                return switch;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            switch = self.switch().await;
        }
        panic!("it did not come to that: {switch:?}");
    }

    async fn job_is(&self, id: u64, state: JobState) {
        for _ in 0..1000 {
            if self.namespace.job(id).await.unwrap().state == state {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{:?}", self.namespace.job(id).await);
    }

    /// What becomes of a job that nothing can be moved for.
    async fn job_fails(&self, id: u64) {
        let decide = move |rows: &Rows| {
            let mut row = JobRow::decode(rows.get(&job(id)).unwrap()).unwrap();
            row.info.state = JobState::Failed;
            Ok::<_, ()>((vec![Write::Put(job(id), row.encode())], ()))
        };
        commit(&*self.engine, vec![Read::Row(job(id))], decide).await.unwrap();
    }

    async fn all_is(&self, texts: &BTreeMap<String, String>, silos: &[&str]) {
        for (key, text) in texts {
            let opened = self.namespace.open_object(&self.logs, &key.parse().unwrap()).await.unwrap();
            assert_eq!(support::text(&opened).await.unwrap(), *text, "{key}");
            assert_eq!(self.silos(&self.logs, key).await, silos, "{key}");
        }
    }
}

fn kept(count: usize) -> BTreeMap<String, String> {
    (0..count).map(|at| (format!("old/{at:02}"), format!("{at} ").repeat(1 + 30 * (at % 9)))).collect()
}

async fn begun(test: &str) -> (House, BTreeMap<String, String>) {
    let house = House::kept(test).await;
    let old = kept(30);
    for (key, text) in &old {
        let put = support::put(&house.namespace, &house.logs, key, text, Headers::default(), Condition::default());
        put.await.unwrap();
    }
    house.put(&house.photos, "elsewhere", 700).await;
    house.declare(&[("photos", wish("s3://photos/", None, &["cold", "hot"], &[]))]).await.unwrap();
    (house, old)
}

#[tokio::test]
async fn a_silo_is_replaced_while_it_is_in_use() {
    let (house, mut texts) = begun("switch-commit").await;
    let traffic = Traffic::begin(&house);
    let planned = house.namespace.start_switch("hot", "far", true).await.unwrap();
    assert!(planned.rest.extents >= 30 && planned.done.extents == 0, "{planned:?}");
    assert_eq!(house.namespace.switches().await.unwrap(), [], "nothing is begun by a dry run");
    house.namespace.start_switch("hot", "far", false).await.unwrap();
    house.switched(|switch| switch.done.extents >= 31).await;
    assert_eq!(house.silos(&house.logs, "old/03").await, ["hot", "far"], "the old one has all as before");
    let job = house.namespace.commit_switch("hot").await.unwrap();
    assert_eq!(house.namespace.switches().await.unwrap(), []);
    tokio::time::sleep(Duration::from_millis(300)).await;
    texts.extend(traffic.end().await);
    house.job_is(job.id, JobState::Empty).await;
    house.all_is(&texts, &["far"]).await;
    let wishes = house.namespace.effective(&Scope::default()).unwrap();
    assert_eq!(wishes[0].objective.place, ["cold".parse().unwrap(), "far".parse().unwrap()], "what named it");
    house.put(&house.logs, "new", 900).await;
    assert_eq!(house.silos(&house.logs, "new").await, ["far"]);
    house.namespace.remove_silo("hot").await.unwrap();
}

/// The new one fails halfway, and all goes back: no client noticed anything, and nothing of it is left.
#[tokio::test]
async fn a_switch_that_goes_wrong_is_rolled_back() {
    let (house, mut texts) = begun("switch-back").await;
    let own = house.namespace.start_job(
        Order::Place { bucket: "photos".parse().unwrap(), prefix: String::new(), on: "cold".to_owned() },
        Pace::default(),
    );
    house.job_is(own.await.unwrap().id, JobState::Done).await;
    let traffic = Traffic::begin(&house);
    house.namespace.start_switch("hot", "far", false).await.unwrap();
    house.switched(|switch| switch.done.extents >= 10).await;
    let new = blobs("switch-back", "far");
    new.fail(true);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let refused = house.namespace.commit_switch("hot").await.unwrap_err();
    assert!(refused.to_string().contains("are still on their way"), "{refused}");
    assert!(matches!(
        house
            .namespace
            .start_job(Order::Drain { from: "hot".to_owned(), to: "cold".to_owned() }, Pace::default())
            .await,
        Err(OrderError::Switching(_))
    ));
    house.namespace.set_cordon("far", true).await.unwrap();
    assert!(matches!(house.namespace.remove_silo("far").await, Err(RemoveSiloError::InSwitch { .. })));
    house.namespace.set_cordon("far", false).await.unwrap();
    new.fail(false);
    house.switched(|switch| switch.done.extents >= 31).await;
    let job = house.namespace.roll_back_switch("hot").await.unwrap();
    texts.extend(traffic.end().await);
    house.job_is(job.id, JobState::Done).await;
    house.all_is(&texts, &["hot"]).await;
    assert_eq!(house.silos(&house.photos, "elsewhere").await, ["cold"]);
    assert!(house.namespace.commit_switch("hot").await.is_err(), "there is none any more");
}

/// The job that took copies back failed: they stayed on the new silo for good, since a later rollback took back only what came since
/// its own switch began, and no order made that job go on.
#[tokio::test]
async fn what_a_failed_rollback_left_is_taken_back() {
    let (house, texts) = begun("switch-left").await;
    let wanted = async |there: bool| {
        let place: &[&str] = if there { &["far", "hot"] } else { &[] };
        let logs = Objective { copies: there.then_some(2), ..wish("s3://logs/", None, place, &["cold"]) };
        house.declare(&[("logs", logs)]).await.unwrap();
    };
    let failed = async || {
        house.namespace.start_switch("hot", "far", false).await.unwrap();
        house.switched(|switch| switch.rest.extents == 0).await;
        wanted(true).await;
        let job = house.namespace.roll_back_switch("hot").await.unwrap();
        house.job_is(job.id, JobState::Done).await;
        wanted(false).await;
        house.job_fails(job.id).await;
        job.id
    };
    let first = failed().await;
    house.all_is(&texts, &["hot", "far"]).await;
    house.namespace.resume_job(first).await.unwrap();
    house.job_is(first, JobState::Done).await;
    house.all_is(&texts, &["hot"]).await;

    let second = failed().await;
    house.all_is(&texts, &["hot", "far"]).await;
    house.namespace.start_switch("hot", "far", false).await.unwrap();
    let third = house.namespace.roll_back_switch("hot").await.unwrap();
    house.job_is(third.id, JobState::Done).await;
    house.all_is(&texts, &["hot"]).await;
    let refused = house.namespace.resume_job(second).await.unwrap_err().to_string();
    assert!(refused.starts_with(&format!("job {} came after job {second}", third.id)), "{refused}");
    let refused = house.namespace.resume_job(third.id).await.unwrap_err().to_string();
    assert!(refused.ends_with("is neither paused nor failed"), "{refused}");
}

/// The new silo's folder was moved away while it was held open: it took all that followed, the switch was committed, and after a restart
/// nobody would have found any of it.
#[tokio::test]
async fn nothing_is_committed_to_a_silo_that_is_not_there() {
    let (house, texts) = begun("switch-away").await;
    house.namespace.start_switch("hot", "far", false).await.unwrap();
    house.switched(|switch| switch.rest.extents == 0 && switch.done.extents >= 31).await;
    let new = blobs("switch-away", "far");
    new.fail(true);
    let refused = house.namespace.commit_switch("hot").await.unwrap_err();
    assert!(refused.to_string().contains("silo `far` is not there"), "{refused}");
    assert_eq!(house.namespace.switches().await.unwrap().len(), 1, "it goes on");
    new.fail(false);
    let job = house.namespace.commit_switch("hot").await.unwrap();
    house.job_is(job.id, JobState::Empty).await;
    house.all_is(&texts, &["far"]).await;
}

/// Two copies are wanted, and one of them is on the new silo anyway: neither a switch, nor its end, nor its way back takes one of
/// them away; and writes that wait for both do not wait for the new silo beyond that.
#[tokio::test]
async fn copies_stay_copies_in_a_switch() {
    for back in [true, false] {
        let house = House::kept(if back { "switch-copies-back" } else { "switch-copies" }).await;
        let names = ["hot", "cold"].map(|name| name.parse().unwrap());
        let safe = Objective {
            copies: Some(2),
            ack: holdall_namespace::objective::Ack::All,
            ..wish("s3://logs/", None, &[], &[])
        };
        let other = Objective { copies: Some(2), place: names.into(), ..wish("s3://photos/", None, &[], &[]) };
        house.declare(&[("safe", safe), ("two", other)]).await.unwrap();
        house.put(&house.logs, "before", 900).await;
        house.put(&house.photos, "two", 900).await;
        house.namespace.start_switch("hot", "far", false).await.unwrap();
        let new = blobs(if back { "switch-copies-back" } else { "switch-copies" }, "far");
        new.fail(true);
        house.put(&house.logs, "while the new one fails", 900).await;
        new.fail(false);
        house.put(&house.logs, "after", 900).await;
        house.switched(|switch| switch.rest.extents == 0 && switch.done.extents == 4).await;
        let job = if back {
            house.namespace.roll_back_switch("hot").await.unwrap()
        } else {
            house.namespace.commit_switch("hot").await.unwrap()
        };
        house.job_is(job.id, if back { JobState::Done } else { JobState::Empty }).await;
        let moved = house.namespace.job(job.id).await.unwrap();
        assert_eq!(moved.moved_bytes, 0, "nothing is copied twice: {moved:?}");
        for key in ["before", "while the new one fails", "after"] {
            let silos = house.silos(&house.logs, key).await;
            let gone = if back { "far" } else { "hot" };
            assert!(silos.len() == 2 && !silos.contains(&gone.to_owned()), "{key} is on {silos:?}");
        }
        let mut two = house.silos(&house.photos, "two").await;
        two.sort();
        assert_eq!(two, if back { ["cold", "hot"] } else { ["cold", "far"] });
    }
}

/// The new silo is the next best one for a copy: as the one that follows it is none, and all comes back to two without it.
#[tokio::test]
async fn what_comes_along_is_no_copy_of_its_own() {
    let house = House::kept("switch-once").await;
    house
        .declare(&[("safe", Objective { copies: Some(2), ..wish("s3://logs/", None, &["hot", "cold", "far"], &[]) })])
        .await
        .unwrap();
    blobs("switch-once", "cold").fail(true);
    house.put(&house.logs, "a", 900).await;
    house.namespace.start_switch("hot", "cold", false).await.unwrap();
    blobs("switch-once", "cold").fail(false);
    house.switched(|switch| switch.rest.extents == 0 && switch.done.extents == 1).await;
    for _ in 0..500 {
        if house.silos(&house.logs, "a").await.len() == 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut silos = house.silos(&house.logs, "a").await;
    silos.sort();
    assert_eq!(silos, ["cold", "far", "hot"], "two copies, and the one that follows");
    let job = house.namespace.commit_switch("hot").await.unwrap();
    house.job_is(job.id, JobState::Empty).await;
    let mut silos = house.silos(&house.logs, "a").await;
    silos.sort();
    assert_eq!(silos, ["cold", "far"]);
}

/// What stands against the drain stands against the commit, which changes nothing then; a switch that was taken back meanwhile does not
/// come again.
#[tokio::test]
async fn a_commit_that_is_refused_changes_nothing() {
    let (house, _) = begun("switch-against").await;
    house.declare(&[("site", wish("s3://logs/", None, &["site=frankfurt"], &[]))]).await.unwrap();
    house.namespace.start_switch("hot", "far", false).await.unwrap();
    house.switched(|switch| switch.rest.extents == 0).await;
    house.declare(&[("home", wish("s3://", None, &["site=frankfurt"], &[]))]).await.unwrap();
    assert_eq!(house.namespace.commit_switch("hot").await, Err(OrderError::Against("home".to_owned())));
    assert_eq!(house.namespace.switches().await.unwrap().len(), 1);
    house.namespace.pause_objective("home", true).await.unwrap();
    house.declare(&[("private", wish("s3://photos/", None, &["cold"], &["hot"]))]).await.unwrap();
    let job = house.namespace.commit_switch("hot").await.unwrap();
    house.job_is(job.id, JobState::Empty).await;
    assert_eq!(house.silos(&house.logs, "old/01").await, ["cold"], "where it was wanted meanwhile");
}

#[tokio::test]
async fn only_one_switch_of_a_silo_at_a_time_and_only_between_silos_that_can() {
    let (house, _) = begun("switch-refused").await;
    let start = |from: &'static str, to: &'static str| house.namespace.start_switch(from, to, false);
    assert!(matches!(start("hot", "hot").await, Err(OrderError::Invalid(_))));
    assert!(matches!(start("hot", "nowhere").await, Err(OrderError::NoSuchSilo(_))));
    house.namespace.set_cordon("far", true).await.unwrap();
    assert!(matches!(start("hot", "far").await, Err(OrderError::Cordoned(_))));
    house.namespace.set_cordon("far", false).await.unwrap();
    house.declare(&[("site", wish("s3://logs/", None, &["site=frankfurt"], &[]))]).await.unwrap();
    let begun = start("hot", "far").await.unwrap();
    assert!(begun.notes[0].contains("`site` means `hot` by `site=frankfurt`"), "{begun:?}");
    assert!(matches!(start("hot", "cold").await, Err(OrderError::Switching(_))));
    assert!(matches!(start("far", "cold").await, Err(OrderError::Switching(_))));
    let why = house.namespace.why(&house.logs.name, &"old/01".parse().unwrap()).await.unwrap();
    assert!(why.objectives.iter().any(|one| one.wish == "what is on hot is on far, too"), "{why:?}");
    assert_eq!(house.namespace.effective(&Scope::default()).unwrap().len(), 2, "no objective is made up");
}
