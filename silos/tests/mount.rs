//! The contract on a folder of a real mount, and what becomes of it while its server hangs.
//!
//! `HOLDALL_TEST_MOUNT` names a folder on the mount, where each test makes one of its own. `HOLDALL_TEST_MOUNT_STOP`
//! has the ids of the processes that serve it, separated by commas, which are stopped and continued.
//! `HOLDALL_TEST_MOUNT_UNFIT` names a folder on a mount that cannot be a silo. Without them the tests say that they
//! were skipped.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use holdall_silos::contract::{Options, contract};
use holdall_silos::{Address, BlobName, Claim, Credentials, Facts, Marker, Silo, SiloError, collect, connect};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::Mutex;

/// Every answer comes within this, from a mount that hangs as well: nothing waits longer than three of its calls may
/// take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Servers that were stopped for longer go on by themselves, so that a test that hangs ends.
const LONGEST_STOP: Duration = Duration::from_mins(5);
const LARGE: u64 = (3 << 20) + 5;
/// One test at a time: one of them stops the server.
static ONE: Mutex<()> = Mutex::const_new(());

fn setting(name: &str, test: &str) -> Option<String> {
    let found = std::env::var(name).ok();
    if found.is_none() {
        eprintln!("skipped {test}: {name} is not set");
    }
    found
}

/// A folder on the mount that nobody else has.
fn folder(test: &str) -> Option<PathBuf> {
    let mount = setting("HOLDALL_TEST_MOUNT", test)?;
    Some(Path::new(&mount).join(format!("silo-{:016x}", getrandom::u64().unwrap())))
}

fn silo(folder: &Path) -> Arc<dyn Silo> {
    let url = format!("file://{}", folder.display());
    connect(&Address::parse(&url, Path::new("/")).unwrap(), &Credentials::Ambient).unwrap()
}

fn claim(fresh: bool) -> Claim {
    let marker = Marker { silo: "nas".to_owned(), namespace: "n".to_owned(), id: "1".to_owned() };
    Claim { marker, fresh }
}

async fn claimed(folder: &Path) -> Arc<dyn Silo> {
    let silo = silo(folder);
    silo.claim(&claim(true)).await.unwrap();
    silo
}

fn blob(number: u64) -> BlobName {
    BlobName { session: 1, number, extent: (1, number) }
}

fn sample(size: u64) -> Bytes {
    (0..size).map(|at| (at.wrapping_mul(167) >> 3) as u8).collect()
}

async fn put(silo: &dyn Silo, number: u64, size: u64) -> Result<(), SiloError> {
    let body = Box::pin(stream::iter([Ok(sample(size))]));
    silo.put(&blob(number), size, body, Arc::new(|_| Vec::new())).await.map(drop)
}

/// Reads all of it; other bytes than were put are never an answer.
async fn read(silo: &dyn Silo, number: u64, size: u64) -> Result<(), SiloError> {
    let found = collect(silo.read(&blob(number), size, 0..size).await?).await?;
    assert!(found == sample(size), "{size} bytes read differently");
    Ok(())
}

#[tokio::test]
async fn a_mount_keeps_the_contract() {
    let Some(folder) = folder("a_mount_keeps_the_contract") else { return };
    let _one = ONE.lock().await;
    contract(silo(&folder), Options { large: LARGE, many: 16 }).await;
}

/// The file system a folder is on, as the kernel lists it: on the longest path of a mount that leads there.
fn listed(folder: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|fields| folder.starts_with(fields[1]));
    above.max_by_key(|fields| fields[1].len()).unwrap()[2].to_owned()
}

/// What a mount cannot promise is said, and several gateways that find it out at once do not meet.
#[tokio::test]
async fn a_mount_says_what_it_cannot_promise() {
    let Some(folder) = folder("a_mount_says_what_it_cannot_promise") else { return };
    let _one = ONE.lock().await;
    let silos: Vec<_> = (0..4).map(|_| silo(&folder)).collect();
    let (fresh, known) = (claim(true), claim(false));
    silos[0].claim(&fresh).await.unwrap();
    let claimed = future::join_all(silos.iter().map(|silo| silo.claim(&known))).await;
    assert!(claimed.iter().all(Result::is_ok), "{claimed:?}");
    let found = future::join_all(silos.iter().map(|silo| silo.probe())).await;
    let found: Vec<Facts> = found.into_iter().map(Result::unwrap).collect();
    eprintln!("found: {:?}", found[0]);
    assert!(found.iter().all(|facts| *facts == found[0]), "{found:?}");
    let mut left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort_unstable();
    assert_eq!(left, ["blobs", "holdall-silo.json"]);
    let (facts, kind) = (&found[0], listed(&folder));
    assert_eq!(facts.kind, kind);
    assert!(facts.time_grain_ns >= 1_000_000_000, "{facts:?}");
    let says = |what: &str| facts.notes.iter().any(|note| note.contains(what));
    assert_eq!(says("before its server has the bytes"), kind == "fuse.rclone", "{facts:?}");
    assert_eq!(
        (facts.durable_put, facts.exclusive_create),
        (kind != "fuse.rclone", kind != "fuse.rclone"),
        "{facts:?}"
    );
    assert_eq!(says("the server's word"), facts.durable_put, "{facts:?}");
}

/// A mount that only passes bytes through: silos were registered there, and failed with the first small object.
#[tokio::test]
async fn a_mount_that_cannot_be_a_silo_is_refused_by_name() {
    let Some(folder) = setting("HOLDALL_TEST_MOUNT_UNFIT", "a_mount_that_cannot_be_a_silo_is_refused_by_name") else {
        return;
    };
    let silo = silo(Path::new(&folder));
    let found = match silo.claim(&claim(true)).await {
        Ok(()) => silo.probe().await.map(drop),
        Err(error) => Err(error),
    };
    let refused = found.unwrap_err();
    eprintln!("refused: {refused}");
    assert!(matches!(refused, SiloError::NotDone { .. }), "{refused:?}");
    assert!(refused.to_string().contains("cannot be a silo as it is mounted"), "{refused}");
}

/// Processes that stand still until this is dropped.
struct Stopped {
    processes: Vec<Pid>,
    /// Dropped, it ends the thread that continues them in the end.
    watched: Option<Sender<()>>,
}

impl Stopped {
    fn stop(ids: &str) -> Self {
        let processes: Vec<_> = ids.split(',').map(|id| Pid::from_raw(id.parse().unwrap()).unwrap()).collect();
        send(&processes, Signal::STOP);
        let (watched, end) = channel();
        let theirs = processes.clone();
        std::thread::spawn(move || continue_after(&theirs, &end));
        Self { processes, watched: Some(watched) }
    }

    /// Lets them go on, and says whether they stood still all the time.
    fn go_on(mut self) -> bool {
        self.watched.take().unwrap().send(()).is_ok()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        send(&self.processes, Signal::CONT);
    }
}

fn continue_after(processes: &[Pid], end: &Receiver<()>) {
    if end.recv_timeout(LONGEST_STOP).is_err() {
        send(processes, Signal::CONT);
    }
}

fn send(processes: &[Pid], signal: Signal) {
    for process in processes {
        // One that ended meanwhile serves nothing.
        let _ = kill_process(*process, signal);
    }
}

/// Whatever a gateway asks of a silo, with its answer.
async fn ask_everything(silo: Arc<dyn Silo>) -> Vec<(&'static str, Result<(), SiloError>)> {
    let silo = &*silo;
    let (pack, gone) = (BlobName::pack(1, 9), blob(2));
    let answers = future::join_all([
        future::FutureExt::boxed(async { ("put", put(silo, 5, 10).await) }),
        future::FutureExt::boxed(async { ("long put", put(silo, 6, LARGE).await) }),
        future::FutureExt::boxed(async { ("append", silo.append(&pack, 10, vec![sample(5)]).await) }),
        future::FutureExt::boxed(async { ("read", read(silo, 1, LARGE).await) }),
        future::FutureExt::boxed(async { ("stat", silo.stat(&blob(1)).await.map(drop)) }),
        future::FutureExt::boxed(async { ("list", silo.list("", None, 100).await.map(drop)) }),
        future::FutureExt::boxed(async { ("delete", silo.delete(&gone).await) }),
        future::FutureExt::boxed(async { ("claim", silo.claim(&claim(false)).await) }),
        future::FutureExt::boxed(async { ("room", silo.space().await.map(drop)) }),
    ]);
    answers.await
}

/// A NAS that stands still must not stop the gateway: its own calls end in errors that blame it, never in lost bytes,
/// and another silo works on in the same thread. When it goes on, it serves.
#[tokio::test]
async fn a_mount_that_hangs_stops_nobody_else() {
    let test = "a_mount_that_hangs_stops_nobody_else";
    let Some(processes) = setting("HOLDALL_TEST_MOUNT_STOP", test) else { return };
    let Some(folder) = folder(test) else { return };
    let _one = ONE.lock().await;
    let (disk, at) = (tempfile::tempdir().unwrap(), claimed(&folder).await);
    let durable = at.probe().await.unwrap().durable_put;
    put(&*at, 1, LARGE).await.unwrap();
    put(&*at, 2, 10).await.unwrap();
    at.append(&BlobName::pack(1, 9), 0, vec![sample(10)]).await.unwrap();
    let mut reader = at.read(&blob(1), LARGE, 0..LARGE).await.unwrap();
    reader.try_next().await.unwrap().unwrap();

    let stopped = Stopped::stop(&processes);
    let asked = tokio::spawn(ask_everything(Arc::clone(&at)));
    tokio::task::yield_now().await;
    // Its client goes away: the file is closed.
    drop(reader);
    contract(silo(disk.path()), Options::default()).await;
    let answers = tokio::time::timeout(PATIENCE, asked).await.expect("a mount that hangs is answered for").unwrap();
    assert!(stopped.go_on(), "the disk waited for the mount");

    eprintln!("answered: {answers:?}");
    for (what, answer) in answers {
        match answer {
            Err(error) => assert!(error.blames_silo(), "{what}: {error}"),
            // From caches of the mount.
            Ok(()) => assert!(!durable || matches!(what, "read" | "stat" | "list" | "claim" | "room"), "{what}"),
        }
    }
    tokio::time::timeout(PATIENCE, recovers(&*at)).await.expect("what goes on serves again");
}

/// It serves again, holds what it held, and everything in it can be deleted, what was late included.
async fn recovers(silo: &dyn Silo) {
    for number in 100.. {
        match put(silo, number, 10).await {
            Ok(()) => break,
            Err(error) => assert!(error.blames_silo(), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    read(silo, 1, LARGE).await.unwrap();
    silo.claim(&claim(false)).await.unwrap();
    loop {
        let listed = silo.list("", None, 100).await.unwrap();
        if listed.is_empty() {
            return;
        }
        let names = listed.iter().filter_map(|listed| listed.name.parse::<BlobName>().ok());
        stream::iter(names).for_each(|name| async move { silo.delete(&name).await.unwrap() }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
