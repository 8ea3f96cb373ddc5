use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use redb::{Database, StorageBackend, TableDefinition};

use super::store::{Opening, file, open_with};
use super::*;
use crate::clock::SystemClock;
use crate::engine::{Write, contract::contract};

fn open(path: &Path) -> Result<Redb, OpenIndexError> {
    Redb::open(path, Arc::new(SystemClock::new()))
}

fn open_shared(path: &Path) -> Result<Redb, OpenIndexError> {
    Redb::open_shared(path, Arc::new(SystemClock::new()))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn put(key: &str, value: &str) -> Decide {
    let write = Write::Put(key.into(), value.into());
    Box::new(move |_| Some(vec![write.clone()]))
}

async fn read(engine: &Redb, key: &str) -> Result<Option<Bytes>, EngineError> {
    engine.get(&[key.into()]).await.map(|rows| rows[0].clone())
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let folder = folder();
    contract(Arc::new(open(&folder.path().join("index")).unwrap())).await;
}

#[tokio::test]
async fn shared_it_keeps_the_contract() {
    let folder = folder();
    contract(Arc::new(open_shared(&folder.path().join("index")).unwrap())).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_opening_again() {
    let folder = folder();
    let path = folder.path().join("index");
    let engine = open(&path).unwrap();
    assert_eq!(engine.commit(Priority::Foreground, Vec::new(), put("a", "1")).await, Ok(true));
    drop(engine);
    let engine = open(&path).unwrap();
    assert_eq!(read(&engine, "a").await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(engine.room().unwrap() > 0);
}

#[tokio::test]
async fn a_commit_is_carried_out_though_its_caller_went_away() {
    let folder = folder();
    let path = folder.path().join("index");
    let engine = open(&path).unwrap();
    for n in 0..100 {
        let mut commit = Box::pin(engine.commit(Priority::Foreground, Vec::new(), put(&format!("k{n:02}"), "v")));
        assert!(futures_util::poll!(&mut commit).is_pending() || n > 0);
    }
    drop(engine);
    let engine = open(&path).unwrap();
    let page = engine.range(b"k".to_vec()..b"l".to_vec(), 1000, usize::MAX).await.unwrap();
    assert_eq!(page.len(), 100, "dropping the index waits for what was queued");
}

/// A sweep whose 16 commits of 100 rows shared each transaction made clients wait twenty times as long.
#[test]
fn clients_share_a_transaction_with_one_commit_that_nobody_waits_for() {
    let job = |priority| Job {
        priority,
        work: Work { reads: Vec::new(), decide: put("k", "v") },
        answer: oneshot::channel().0,
    };
    let priorities = |jobs: &VecDeque<Job>| jobs.iter().map(|job| job.priority).collect::<Vec<_>>();
    let mut waiting = Waiting::default();
    for priority in
        [Priority::Background, Priority::Background, Priority::Foreground, Priority::Background, Priority::Foreground]
    {
        waiting.push(job(priority));
    }
    for _ in 0..INDEX_ALONE {
        let taken = waiting.take();
        assert_eq!(priorities(&taken), [Priority::Foreground; 2], "their own");
        waiting.put_back(taken);
    }
    let taken = waiting.take();
    assert_eq!(
        priorities(&taken),
        [Priority::Background, Priority::Foreground, Priority::Foreground],
        "one, and first, so that it has its turn"
    );
    assert_eq!(waiting.background.len(), 2);
    waiting.put_back(taken);
    assert_eq!((waiting.foreground.len(), waiting.background.len()), (2, 3), "nothing gets lost");
    waiting.foreground.clear();
    assert_eq!(priorities(&waiting.take()), [Priority::Background; INDEX_BATCH_BEHIND], "alone they share");
}

#[test]
fn one_file_is_one_process() {
    let folder = folder();
    let path = folder.path().join("index");
    let engine = open(&path).unwrap();
    assert!(matches!(open(&path), Err(OpenIndexError::InUse(_))));
    assert!(matches!(open_shared(&path), Err(OpenIndexError::InUse(_))));
    drop(engine);
    open(&path).unwrap();
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    let folder = folder();
    let text = folder.path().join("text");
    std::fs::write(&text, "no index at all ".repeat(1000)).unwrap();
    let other = folder.path().join("other");
    let table: TableDefinition<u64, u64> = TableDefinition::new("something");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    for path in [text, other] {
        let before = std::fs::read(&path).unwrap();
        let error = open(&path).unwrap_err();
        assert!(matches!(error, OpenIndexError::Foreign(_)), "{error:?}");
        assert!(std::fs::read(&path).unwrap().len() == before.len());
    }
    let missing = open(&folder.path().join("no/such/folder")).unwrap_err();
    assert!(matches!(missing, OpenIndexError::Io { .. }), "{missing:?}");
}

#[tokio::test]
async fn two_handles_share_one_file() {
    let folder = folder();
    let path = folder.path().join("index");
    let (one, other) = (open_shared(&path).unwrap(), open_shared(&path).unwrap());
    let add = || -> Decide { Box::new(|_| Some(vec![Write::Add(b"n".to_vec(), 1)])) };
    for _ in 0..20 {
        let (a, b) = tokio::join!(
            one.commit(Priority::Foreground, Vec::new(), add()),
            other.commit(Priority::Foreground, Vec::new(), add())
        );
        assert_eq!((a, b), (Ok(true), Ok(true)));
        assert_eq!(read(&one, "n").await, read(&other, "n").await);
    }
    assert_eq!(read(&one, "n").await, Ok(Some(Bytes::copy_from_slice(&40_i64.to_le_bytes()))));
}

/// A file whose disk fails after so many writes or syncs: once, or until it is healed.
#[derive(Debug)]
struct Failing<B> {
    inner: B,
    disk: Arc<Disk>,
}

#[derive(Debug)]
struct Disk {
    writes_left: AtomicU64,
    syncs_left: AtomicU64,
    kind: io::ErrorKind,
    once: bool,
}

const NEVER: u64 = u64::MAX;

impl Disk {
    fn spend(&self, left: &AtomicU64) -> io::Result<()> {
        let spent = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| match left {
            NEVER => Some(NEVER),
            left => left.checked_sub(1),
        });
        if spent.is_ok() {
            return Ok(());
        }
        if self.once {
            left.store(NEVER, Ordering::Relaxed);
        }
        Err(io::Error::from(self.kind))
    }

    fn heal(&self) {
        self.writes_left.store(NEVER, Ordering::Relaxed);
        self.syncs_left.store(NEVER, Ordering::Relaxed);
    }
}

impl<B: StorageBackend> StorageBackend for Failing<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.disk.spend(&self.disk.syncs_left)?;
        self.inner.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk.spend(&self.disk.writes_left)?;
        self.inner.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }
}

fn failing(path: &Path, kind: io::ErrorKind, once: bool) -> (Redb, Arc<Disk>) {
    let disk = Arc::new(Disk { writes_left: AtomicU64::new(NEVER), syncs_left: AtomicU64::new(NEVER), kind, once });
    let (path, disk_of_it) = (path.to_owned(), Arc::clone(&disk));
    let opener: Opener = Box::new({
        let path = path.clone();
        move |opening: Opening| {
            let failing = Failing { inner: file(&path, opening)?, disk: Arc::clone(&disk_of_it) };
            open_with(failing, redb::ConcurrencyMode::ExclusiveWriter)
        }
    });
    (Redb::start(&path, opener, Arc::new(SystemClock::new()), false).unwrap(), disk)
}

/// A disk that fails at every possible step of a commit, once or for good: whatever the engine answers is true once the
/// disk is well again, and stays true after opening the file anew.
#[tokio::test]
async fn answers_of_a_failing_disk_are_true() {
    let mut tally = [0; 4];
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::Other];
    for (kind, once) in kinds.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        for (writes, syncs) in (0..12).map(|n| (n, NEVER)).chain((0..5).map(|n| (NEVER, n))) {
            let folder = folder();
            let path = folder.path().join("index");
            let (engine, disk) = failing(&path, kind, once);
            assert_eq!(engine.commit(Priority::Foreground, Vec::new(), put("before", "1")).await, Ok(true));
            disk.writes_left.store(writes, Ordering::Relaxed);
            disk.syncs_left.store(syncs, Ordering::Relaxed);
            let answer = engine.commit(Priority::Foreground, Vec::new(), put("during", "1")).await;
            disk.heal();
            assert_eq!(
                engine.commit(Priority::Foreground, Vec::new(), put("after", "1")).await,
                Ok(true),
                "{writes} {syncs}"
            );
            drop(engine);
            let engine = open(&path).unwrap();
            let there = async |key| read(&engine, key).await.unwrap().is_some();
            assert!(there("before").await && there("after").await);
            tally[match &answer {
                Ok(_) => 0,
                Err(EngineError::Unknown(_)) => 1,
                Err(EngineError::Full) => 2,
                Err(EngineError::Failed(_)) => 3,
            }] += 1;
            match &answer {
                Ok(done) => assert!(*done && there("during").await, "{writes} {syncs}"),
                Err(EngineError::Unknown(_)) => {}
                Err(EngineError::Full) => {
                    assert_eq!((kind, there("during").await), (io::ErrorKind::StorageFull, false));
                }
                Err(EngineError::Failed(_)) => assert!(!there("during").await, "{writes} {syncs}"),
            }
        }
    }
    assert!(tally.iter().all(|count| *count > 0), "every answer must have come up: {tally:?}");
}

/// While the disk does not come back every call answers; once it does the next commit is served.
#[tokio::test]
async fn a_dead_disk_answers_and_comes_back() {
    let folder = folder();
    let (engine, disk) = failing(&folder.path().join("index"), io::ErrorKind::Other, false);
    assert_eq!(engine.commit(Priority::Foreground, Vec::new(), put("before", "1")).await, Ok(true));
    disk.syncs_left.store(0, Ordering::Relaxed);
    disk.writes_left.store(0, Ordering::Relaxed);
    assert!(matches!(
        engine.commit(Priority::Foreground, Vec::new(), put("a", "1")).await,
        Err(EngineError::Unknown(_))
    ));
    assert!(matches!(
        engine.commit(Priority::Foreground, Vec::new(), put("b", "1")).await,
        Err(EngineError::Failed(_))
    ));
    assert!(matches!(read(&engine, "before").await, Err(EngineError::Failed(_))));
    disk.heal();
    assert_eq!(engine.commit(Priority::Foreground, Vec::new(), put("c", "1")).await, Ok(true));
    assert_eq!(read(&engine, "before").await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(read(&engine, "b").await, Ok(None));
}

#[tokio::test]
async fn an_index_that_was_taken_away_is_not_made_anew() {
    let folder = folder();
    let path = folder.path().join("index");
    let (engine, disk) = failing(&path, io::ErrorKind::Other, false);
    disk.syncs_left.store(0, Ordering::Relaxed);
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(
        engine.commit(Priority::Foreground, Vec::new(), put("a", "1")).await,
        Err(EngineError::Unknown(_))
    ));
    disk.heal();
    assert!(matches!(
        engine.commit(Priority::Foreground, Vec::new(), put("b", "1")).await,
        Err(EngineError::Failed(_))
    ));
    assert!(!path.exists());
}

/// Steps of the model test.
#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<(u8, Change)>),
    Refuse(Vec<(u8, Change)>),
    Reopen,
}

#[derive(Debug, Clone)]
enum Change {
    Put(u8),
    Delete,
    Add(i8),
}

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let change =
        prop_oneof![any::<u8>().prop_map(Change::Put), Just(Change::Delete), any::<i8>().prop_map(Change::Add)];
    let changes = proptest::collection::vec((0_u8..12, change), 1..6);
    let step = prop_oneof![
        8 => changes.clone().prop_map(Step::Commit),
        2 => changes.prop_map(Step::Refuse),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(proptest::collection::vec(step, 1..6), 1..12)
}

/// Even rows are counters, odd ones are bytes, so that no add meets a row that is no counter.
fn write_of(row: u8, change: &Change) -> Write {
    let key = vec![b'm', row];
    match change {
        Change::Put(value) if row % 2 == 1 => Write::Put(key, vec![*value; usize::from(*value)]),
        Change::Put(value) => Write::Put(key, i64::from(*value).to_le_bytes().to_vec()),
        Change::Add(by) if row.is_multiple_of(2) => Write::Add(key, i64::from(*by)),
        Change::Add(_) | Change::Delete => Write::Delete(key),
    }
}

fn apply(model: &mut BTreeMap<Key, Vec<u8>>, write: Write) {
    match write {
        Write::Put(key, value) => drop(model.insert(key, value)),
        Write::Delete(key) => drop(model.remove(&key)),
        Write::Add(key, by) => {
            let row = model.entry(key).or_insert_with(|| vec![0; 8]);
            *row = (i64::from_le_bytes(row[..].try_into().unwrap()) + by).to_le_bytes().to_vec();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Groups of commits that wait together, refusals among them and reopening in between, against a plain map.
    #[test]
    fn random_commits_match_a_map(groups in steps()) {
        let folder = folder();
        let path = folder.path().join("index");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut engine = Some(open(&path).unwrap());
        let mut model = BTreeMap::new();
        for group in groups {
            let mut commits = Vec::new();
            for step in &group {
                let (changes, refuses) = match step {
                    Step::Commit(changes) => (changes, false),
                    Step::Refuse(changes) => (changes, true),
                    Step::Reopen => continue,
                };
                let writes: Vec<Write> = changes.iter().map(|(row, change)| write_of(*row, change)).collect();
                if !refuses {
                    writes.iter().cloned().for_each(|write| apply(&mut model, write));
                }
                let decide: Decide = Box::new(move |_| (!refuses).then(|| writes.clone()));
                commits.push((refuses, engine.as_ref().unwrap().commit(Priority::Foreground, Vec::new(), decide)));
            }
            let (refused, commits): (Vec<bool>, Vec<_>) = commits.into_iter().unzip();
            let answers = runtime.block_on(futures_util::future::join_all(commits));
            for (refused, answer) in refused.into_iter().zip(answers) {
                prop_assert_eq!(answer, Ok(!refused));
            }
            if group.iter().any(|step| matches!(step, Step::Reopen)) {
                drop(engine.take());
                engine = Some(open(&path).unwrap());
            }
            let page = engine.as_ref().unwrap().range(b"m".to_vec()..b"n".to_vec(), 1000, usize::MAX);
            let found: BTreeMap<Key, Vec<u8>> =
                runtime.block_on(page).unwrap().into_iter().map(|(key, row)| (key.to_vec(), row.to_vec())).collect();
            prop_assert_eq!(&found, &model);
        }
    }
}

/// redb panics at pages that make no sense: the gateway and `check` ended with a backtrace.
#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_panic() {
    let folder = folder();
    let path = folder.path().join("index");
    let engine = open(&path).unwrap();
    for n in 0..50 {
        let key = format!("key-{n:05}");
        assert_eq!(engine.commit(Priority::Foreground, Vec::new(), put(&key, &"value".repeat(20))).await, Ok(true));
    }
    drop(engine);
    let whole = std::fs::read(&path).unwrap();
    for at in (4096..whole.len()).step_by(4096) {
        let mut damaged = whole.clone();
        let end = damaged.len().min(at + 60_000);
        damaged[at..end].fill(0xA5);
        std::fs::write(&path, damaged).unwrap();
        match open(&path) {
            Err(error) => {
                assert!(error.to_string().contains("damaged") || error.to_string().contains("cannot"), "{error}");
            }
            Ok(engine) => {
                let found = read(&engine, "key-00007").await;
                assert!(!matches!(found, Ok(None)), "{found:?}");
            }
        }
    }
}
