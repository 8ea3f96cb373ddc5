//! Checksums of what lies in place, made beside everything else.

use holdall_namespace::assimilate::Hashed;

use super::*;

/// Fast enough that nothing waits for it.
const RATE: u64 = 1 << 30;

impl House {
    async fn hashed(test: &str, files: &[(&str, &str)]) -> Self {
        let house = Self::new(test, files).await;
        house.namespace.hash_in_place(RATE);
        let root = house.start(order(1)).await;
        house.until(root.id, |root| root.complete).await;
        house
    }

    async fn until_hashed(&self, hashed: Hashed) {
        for _ in 0..600 {
            if self.namespace.hashed(1) == Some(hashed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it did not come to that: {:?}", self.namespace.hashed(1));
    }
}

/// A bit that flipped on a disk of others was served as it was, since nothing but the file's times was looked at.
#[tokio::test]
async fn what_lies_in_place_has_checksums_after_a_while() {
    let large = "0123456789".repeat(500_000);
    let house = House::hashed("hash", &[("small", "tiny"), ("large", &large), ("empty", "")]).await;
    let (before, bytes) = (house.tree(), large.len() as u64 + 4);
    let tag = house.open("in/large").await.unwrap().object.etag;
    house.until_hashed(Hashed { bytes, left: 0 }).await;
    assert_eq!(house.namespace.stats().hashed_bytes, bytes);
    let object = house.open("in/large").await.unwrap().object;
    assert_eq!(object.etag, tag);
    // From now on each block that is read is compared with its checksum.
    assert_eq!(house.get("in/large").await.unwrap(), large);
    assert_eq!(house.get("in/small").await.unwrap(), "tiny");
    let checked = house.namespace.check(true, &mut |finding| panic!("{finding:?}")).await.unwrap();
    assert_eq!(checked.findings, 0);
    // What changes is read again, and nothing else.
    house.write("small", "other");
    house.passed().await;
    house.until_hashed(Hashed { bytes: bytes + 1, left: 0 }).await;
    assert_eq!(house.namespace.stats().hashed_bytes, bytes + 5);
    assert_eq!(house.get("in/small").await.unwrap(), "other");
    assert_eq!(house.tree().len(), before.len());
    house.drain("hot").await;
    assert_eq!(house.get("in/large").await.unwrap(), large);
}

#[tokio::test]
async fn nothing_is_read_where_it_is_switched_off() {
    let house = House::taken_over("unhashed", &[("a", "one")]).await;
    house.passed().await;
    assert_eq!((house.namespace.hashed(1), house.namespace.stats().hashed_bytes), (None, 0));
}

/// What lies in a silo that asks something for being read was left without checksums for good, whatever anybody would have paid.
#[tokio::test]
async fn what_costs_something_is_read_within_a_budget() {
    let dear = "x".repeat(1 << 20);
    let begun = async |test: &str, budget: Option<&str>| {
        let price: Price = serde_json::from_str(r#"{"reads": 1, "retrieval": 100}"#).unwrap();
        let budget = budget.map(|budget| budget.parse().unwrap());
        let scrub = ScrubOptions { every: Duration::from_hours(720), pace: Pace::default(), budget };
        let files = [("a", "0123456789"), ("b", &*dear), ("c", "0123456789")];
        let house = House::with(Arc::new(Memory::new()), test, &files, Some(price), Some(scrub)).await;
        house.namespace.hash_in_place(RATE);
        let root = house.start(order(1)).await;
        house.until(root.id, |root| root.complete).await;
        house.passed().await;
        house
    };
    let house = begun("hash-unpaid", None).await;
    assert_eq!((house.namespace.hashed(1), house.namespace.stats().hashed_bytes), (None, 0));
    // Three requests for each file, at 1 a thousand; what alone costs more than there is keeps no other from it.
    let house = begun("hash-paid", Some("0.007")).await;
    house.until_hashed(Hashed { bytes: 20, left: 1 << 20 }).await;
    house.passed().await;
    assert_eq!(house.namespace.hashed(1), Some(Hashed { bytes: 20, left: 1 << 20 }));
    let spent = house.namespace.scrub_budget().await.unwrap().unwrap().spent.money;
    assert_eq!(spent.rounded(5), "0.00600");
}
