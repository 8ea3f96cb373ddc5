//! What a look at a silo finds, and what it leaves behind.

use holdall_namespace::engine::{Write, commit};
use holdall_namespace::limits::{PROBE_AT_MOST, PROBE_SIZE, PROBE_SMALL};
use holdall_namespace::probe::{Measured, ProbeError, Probed};
use holdall_namespace::table::silos::{SiloRow, revision, silo as silo_key};
use holdall_silos::BlobName;
use holdall_silos::memory::Memory as Blobs;

use super::support::clock::TestClock;
use super::*;

async fn probe(house: &House) -> Result<Probed, ProbeError> {
    house.namespace.probe_silo("hot", PROBE_SIZE).await
}

#[tokio::test]
async fn a_silo_of_ours_is_measured_and_left_as_it_was() {
    let house = house("file:hot").await;
    let found = probe(&house).await.unwrap();
    let Measured::Speed(speed) = found.speed else { panic!("{found:?}") };
    assert_eq!((speed.small, speed.size), (PROBE_SMALL, PROBE_SIZE));
    assert!(speed.put > Duration::ZERO && speed.read > Duration::ZERO && found.look > Duration::ZERO);
    assert_eq!((&*found.silo.facts.family, found.facts_changed), ("posix", false));
    assert_eq!(found.space.map(|space| space.free), found.silo.free);
    let left: Vec<_> = walk(&house.folder.path().join("hot"));
    assert_eq!(left, ["holdall-silo.json"], "nothing but the marker is left");
}

/// The files below a folder.
fn walk(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.file_name().into_string().unwrap());
        }
    }
    found
}

/// What somebody changed at the server since it was registered was never noticed.
#[tokio::test]
async fn facts_that_changed_are_written_down() {
    let house = house("memory:probe-facts").await;
    let id = silo(&house.namespace, "hot").await.id;
    let known = house.engine.get(&[silo_key(id)]).await.unwrap().remove(0).unwrap();
    let mut row = SiloRow::decode(&known).unwrap();
    row.facts.enforces_upload_checksum = true;
    let writes = vec![Write::Put(silo_key(id), row.encode()), Write::Add(revision(), 1)];
    commit(&*house.engine, Vec::new(), move |_| Ok::<_, ()>((writes.clone(), ()))).await.unwrap();
    house.namespace.publish_beat_for_tests().await;
    assert!(silo(&house.namespace, "hot").await.facts.enforces_upload_checksum);
    let found = probe(&house).await.unwrap();
    assert!(found.facts_changed && !found.silo.facts.enforces_upload_checksum);
    let beside = house.beside().await;
    assert!(!silo(&beside, "hot").await.facts.enforces_upload_checksum);
    assert!(!probe(&house).await.unwrap().facts_changed);
}

#[tokio::test]
async fn nothing_is_written_to_a_silo_of_others() {
    let house = house("memory:probe-others").await;
    let nas = house.folder.path().join("nas");
    std::fs::create_dir(&nas).unwrap();
    std::fs::write(nas.join("photo"), "x").unwrap();
    house.declare("nas", of_others("file:nas")).await.unwrap();
    let before = nas.metadata().unwrap().modified().unwrap();
    let found = house.namespace.probe_silo("nas", PROBE_SIZE).await.unwrap();
    assert_eq!(found.speed, Measured::Not("what it holds is others', and nothing is written there".to_owned()));
    assert!(found.identity.contains("inode"), "{}", found.identity);
    assert_eq!((walk(&nas), nas.metadata().unwrap().modified().unwrap()), (vec!["photo".to_owned()], before));
    std::fs::rename(&nas, house.folder.path().join("was")).unwrap();
    std::fs::create_dir(&nas).unwrap();
    let told = house.namespace.probe_silo("nas", PROBE_SIZE).await.unwrap_err().to_string();
    assert!(told.starts_with("silo `nas`, recognizing it: not done: another silo stands in its place"), "{told}");
}

#[tokio::test]
async fn what_cannot_be_measured_is_said() {
    let house = house("memory:probe-full").await;
    Blobs::named("probe-full").limit(1 << 20);
    let found = probe(&house).await.unwrap();
    assert_eq!(found.speed, Measured::Not("it has no room for 8388608 bytes above its reserve".to_owned()));
    for size in [0, PROBE_AT_MOST + 1] {
        assert!(matches!(house.namespace.probe_silo("hot", size).await, Err(ProbeError::Size { .. })));
    }
    let told = house.namespace.probe_silo("attic", 1).await.unwrap_err().to_string();
    assert_eq!(told, "no silo `attic`");
}

async fn with_clock(silo: &str) -> (House, Arc<TestClock>, Arc<Blobs>) {
    let clock = Arc::<TestClock>::default();
    let house = house_with(Arc::<TestClock>::clone(&clock), DeclaredSilo::own(format!("memory:{silo}"))).await;
    (house, clock, Blobs::named(silo))
}

#[tokio::test]
async fn a_silo_that_hangs_is_told_in_time() {
    let (house, clock, blobs) = with_clock("probe-hangs").await;
    blobs.hang(true);
    let told = clock.run(probe(&house)).await.unwrap_err().to_string();
    assert_eq!(told, "silo `hot`, writing a small blob: no answer in 60 seconds");
    blobs.hang(false);
    probe(&house).await.unwrap();
    assert_eq!(blobs.count(), 0);
}

#[tokio::test]
async fn a_probe_that_fails_takes_away_what_it_wrote() {
    let (house, clock, blobs) = with_clock("probe-loses").await;
    blobs.lose(true);
    let told = clock.run(probe(&house)).await.unwrap_err().to_string();
    assert_eq!(told, "silo `hot`, writing a small blob: outcome unknown: the answer is lost");
    assert_eq!(blobs.count(), 0);
}

#[tokio::test]
async fn what_a_probe_leaves_behind_goes_with_the_sweep() {
    let (house, clock, blobs) = with_clock("probe-left").await;
    house.namespace.start_background();
    clock.pass(Duration::from_secs(5)).await;
    blobs.keep(Some(0));
    let told = clock.run(probe(&house)).await.unwrap_err().to_string();
    assert_eq!(told, "silo `hot`, deleting a small blob: not done: it is told to keep what it has");
    assert_eq!(blobs.count(), 1);
    blobs.keep(None);
    clock.pass(Duration::from_mins(3)).await;
    assert_eq!(blobs.count(), 0);
}

/// Whoever asks goes away while something is being written, and it lands later.
#[tokio::test]
async fn what_lands_after_a_probe_broke_off_goes_with_the_sweep() {
    let (house, clock, blobs) = with_clock("probe-gone").await;
    house.namespace.start_background();
    clock.pass(Duration::from_secs(5)).await;
    blobs.hang(true);
    assert!(tokio::time::timeout(Duration::from_millis(50), probe(&house)).await.is_err());
    blobs.hang(false);
    // It is one of these.
    let names = (1..=200).map(|number| BlobName { session: 1, number, extent: (1, number) });
    names.for_each(|name| blobs.plant(&name.to_string(), "landed", b""));
    clock.pass(Duration::from_mins(3)).await;
    assert_eq!(house.namespace.stats().orphans, 200 - blobs.count() as u64);
    assert_ne!(blobs.count(), 200);
}
