//! What others put somewhere, was moved after the moment restored: the index names the original, and a copy is ours.

use std::path::PathBuf;

use holdall_namespace::assimilate::Assimilate;
use holdall_namespace::describe::Description;
use holdall_namespace::inventory::Access;

use super::*;

/// An index as it was before what others had put into a folder was moved from there.
struct Moved {
    house: House,
    folder: tempfile::TempDir,
}

/// Of one file for a pack, and one with more block checksums than stand in an extent's row.
fn files() -> [(&'static str, Vec<u8>); 2] {
    let large = (0..5 << 20).map(|at| (at % 251) as u8).collect();
    [("small", b"tiny".to_vec()), ("large", large)]
}

impl Moved {
    async fn new(test: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files() {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let house = house(test).await;
        let nas = DeclaredSilo::own(format!("file://{}", folder.path().display()));
        let silos = [("nas".to_owned(), DeclaredSilo { access: Access::ReadOnly, ..nas })].into();
        house.namespace.apply(&Declared { silos, ..Declared::default() }, false).await.unwrap();
        let (bucket, every_seconds) = (house.bucket.name.clone(), 3600);
        let (silo, prefix, into) = ("nas".to_owned(), String::new(), String::new());
        let order = Assimilate {
            silo,
            prefix,
            bucket,
            into,
            partial_lists: false,
            every_seconds,
            watch: false,
            write: false,
            without: Vec::new(),
            rate: None,
        };
        let root = house.namespace.assimilate(order).await.unwrap().id;
        house.namespace.start_background();
        while !house.namespace.root(root).await.unwrap().complete {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let house = house.again().await;
        let at = now().await;
        house.namespace.start_background();
        house.run(Order::Drain { from: "nas".into(), to: "hot".into() }).await;
        house.namespace.close().await;
        let (engine, _) = house.restored(Some(at)).await;
        let house = House { namespace: open(&engine, None).await, engine, ..house };
        Self { house, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lose_originals(&self) {
        for (name, _) in files() {
            std::fs::remove_file(self.path(name)).unwrap();
        }
    }

    /// Takes stock; how many copies were named, and why others were not.
    async fn take_stock(&self) -> (u64, Vec<String>) {
        let mut reasons = Vec::new();
        let mut tell = |line| {
            if let StockLine::Unproven { reason, .. } = line {
                reasons.push(reason);
            }
        };
        let stock = self.house.namespace.take_stock(&mut tell).await.unwrap();
        assert_eq!((stock.unproven, stock.unknown), (reasons.len() as u64, 0), "{stock:?}");
        (stock.adopted, reasons)
    }

    /// Changes the large file's copy: its bytes, and what it says of itself.
    async fn change(&self, change: impl Fn(&mut Vec<u8>, &mut Description)) {
        let hot = silo_of(self.house.test, "hot");
        let page = hot.list("", None, 1000).await.unwrap();
        let mut blobs = page.iter().filter_map(|listed| listed.name.parse::<BlobName>().ok());
        let blob = blobs.find(|blob| !blob.is_pack() && !blob.is_backup()).unwrap();
        let mut says = Description::decode(&hot.describe(&blob).await.unwrap()).unwrap();
        let mut bytes = hot.peek(&blob.to_string()).unwrap().to_vec();
        change(&mut bytes, &mut says);
        hot.plant(&blob.to_string(), bytes, &says.encode());
    }
}

/// Every copy of what lay in place was named instead of the original, which was taken for gone without a look at it.
#[tokio::test]
async fn an_original_that_is_still_there_stays_named() {
    let moved = Moved::new("original").await;
    assert_eq!(moved.take_stock().await, (0, Vec::new()));
    // Where there is another file under its name now, the copy is what is left of it.
    std::fs::write(moved.path("small"), "another").unwrap();
    assert_eq!(moved.take_stock().await, (1, Vec::new()));
    for (name, bytes) in files() {
        assert!(moved.house.get(name).await.as_ref() == Some(&bytes), "{name}");
    }
    std::fs::remove_file(moved.path("large")).unwrap();
    assert_eq!(moved.take_stock().await, (1, Vec::new()));
    assert!(moved.house.get("large").await.as_ref() == Some(&files()[1].1));
    moved.house.namespace.close().await;
}

/// What was taken over has no checksums before it is moved: its copy was named as it was found, whatever its bytes were,
/// and had no checksums afterwards either.
#[tokio::test]
async fn a_copy_of_what_has_no_checksums_gets_them_as_it_is_named() {
    let moved = Moved::new("unhashed").await;
    moved.lose_originals();
    assert_eq!(moved.take_stock().await, (2, Vec::new()));
    for (name, bytes) in files() {
        assert!(moved.house.get(name).await.as_ref() == Some(&bytes), "{name}");
    }
    assert_eq!(moved.house.findings().await, []);
    assert_eq!(moved.take_stock().await, (0, Vec::new()), "it is put right once");
    moved.house.namespace.close().await;
}

/// The same: a damaged copy was served as the object.
#[tokio::test]
async fn a_copy_that_cannot_be_shown_to_be_right_is_told_and_not_named() {
    let moved = Moved::new("unproven").await;
    moved.lose_originals();
    moved.change(|bytes, _| bytes[3 << 20] ^= 1).await;
    let (adopted, reasons) = moved.take_stock().await;
    assert_eq!((adopted, reasons), (1, vec!["its bytes are not those written".to_owned()]));
    assert!(moved.house.get("small").await.is_some());
    moved.change(|_, says| says.digest = None).await;
    let (adopted, reasons) = moved.take_stock().await;
    assert!(adopted == 0 && reasons.len() == 1 && reasons[0].contains("digest"), "{reasons:?}");
    moved.house.namespace.close().await;
}
