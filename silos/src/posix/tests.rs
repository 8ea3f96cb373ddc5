use super::*;

use std::os::unix::fs::{PermissionsExt, symlink};

use bytes::Bytes;
use futures_util::stream;
use rustix::fs::CWD;

use crate::contract::{Options, contract};
use crate::error::BodyError;
use crate::silo::collect;

fn claim(id: &str, fresh: bool) -> Claim {
    let marker = Marker { silo: "hot".to_owned(), namespace: "n".to_owned(), id: id.to_owned() };
    Claim { marker, fresh }
}

async fn claimed() -> (tempfile::TempDir, Posix) {
    let at = tempfile::tempdir().unwrap();
    let silo = Posix::new(&at.path().join("root"));
    silo.claim(&claim("1", true)).await.unwrap();
    (at, silo)
}

fn name(number: u64) -> BlobName {
    BlobName { session: 1, number, extent: (1, number) }
}

fn body(bytes: &[u8]) -> Body {
    Box::pin(stream::iter([Ok::<_, BodyError>(Bytes::copy_from_slice(bytes))]))
}

async fn put(silo: &Posix, number: u64, bytes: &[u8]) -> Result<Stored, SiloError> {
    silo.put(&name(number), bytes.len() as u64, body(bytes), Arc::new(|_| b"said".to_vec())).await
}

async fn read(silo: &Posix, number: u64, size: u64) -> Result<Bytes, SiloError> {
    collect(silo.read(&name(number), size, 0..size).await?).await
}

fn path_of(at: &tempfile::TempDir, number: u64) -> PathBuf {
    at.path().join("root/blobs").join(name(number).to_string())
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let at = tempfile::tempdir().unwrap();
    let silo = Arc::new(Posix::new(at.path()));
    contract(silo, Options { large: 9 << 20, ..Options::default() }).await;
}

#[tokio::test]
async fn files_and_folders_are_ours_alone() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let file = path_of(&at, 1);
    assert_eq!(mode(&file), 0o600);
    for folder in file.ancestors().skip(1).take_while(|path| *path != at.path()) {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    assert_eq!(mode(&at.path().join("root/holdall-silo.json")), 0o600);
}

#[tokio::test]
async fn a_root_that_holds_what_is_not_ours_is_refused_and_not_touched() {
    let at = tempfile::tempdir().unwrap();
    std::fs::write(at.path().join("thesis.tex"), "mine").unwrap();
    let refused = Posix::new(at.path()).claim(&claim("1", true)).await;
    assert_eq!(refused, Err(Claim::refuse_strangers()));
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_a_file_system_makes_by_itself_is_nobodys() {
    let at = tempfile::tempdir().unwrap();
    std::fs::create_dir(at.path().join("lost+found")).unwrap();
    Posix::new(at.path()).claim(&claim("1", true)).await.unwrap();
}

/// Whoever has lost its index knows no silo's name, and has to ask.
#[tokio::test]
async fn a_silo_that_was_not_claimed_says_whose_it_is() {
    let (at, silo) = claimed().await;
    let marker = silo.marker().await.unwrap();
    assert!(marker.is_some());
    assert_eq!(Posix::new(&at.path().join("root")).marker().await.unwrap(), marker);
    assert_eq!(Posix::new(at.path()).marker().await.unwrap(), None);
}

/// The NAS was not mounted: its mount point is an empty folder of the root disk. It must be no empty silo, and
/// nothing may be written into it.
#[tokio::test]
async fn an_unmounted_root_is_not_an_empty_silo() {
    let at = tempfile::tempdir().unwrap();
    let silo = Posix::new(at.path());
    assert_eq!(silo.claim(&claim("1", false)).await, Err(Claim::refuse_unmarked()));
    assert!(matches!(put(&silo, 1, b"x").await, Err(SiloError::NotDone { .. })));
    assert_eq!(std::fs::read_dir(at.path()).unwrap().count(), 0);
}

/// Everything under the root goes while the silo is in use: its blobs are not `Missing`, which would be taken for
/// lost, and a listing is not empty, which would be taken for orphans gone.
#[tokio::test]
async fn a_root_that_goes_away_is_told_from_blobs_that_do() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    assert_eq!(silo.stat(&name(2)).await, Err(SiloError::Missing));
    std::fs::remove_dir_all(at.path().join("root")).unwrap();
    let gone = |error: SiloError| error.to_string().contains("the silo's root is gone");
    assert!(gone(read(&silo, 1, 1).await.unwrap_err()));
    assert!(gone(silo.stat(&name(1)).await.unwrap_err()));
    assert!(gone(silo.delete(&name(1)).await.unwrap_err()));
    assert!(gone(silo.list("", None, 10).await.unwrap_err()));
    assert!(gone(put(&silo, 2, b"x").await.unwrap_err()));
    assert!(gone(put(&silo, 1 << 30, b"x").await.unwrap_err()));
}

#[tokio::test]
async fn a_folder_removed_behind_our_back_is_made_again() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    std::fs::remove_dir_all(path_of(&at, 1).parent().unwrap()).unwrap();
    put(&silo, 2, b"y").await.unwrap();
    assert_eq!(read(&silo, 2, 1).await.unwrap(), "y");
}

/// Somebody replaces a folder of ours by a link out of the root (S48): nothing is read, written, listed or deleted
/// through it.
#[tokio::test]
async fn a_planted_link_leads_nowhere() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    let outside = at.path().join("outside");
    let folder = path_of(&at, 1).parent().unwrap().to_owned();
    std::fs::rename(&folder, &outside).unwrap();
    symlink(&outside, &folder).unwrap();
    let fresh = Posix::new(&at.path().join("root"));
    fresh.claim(&claim("1", false)).await.unwrap();
    assert!(matches!(read(&fresh, 1, 1).await, Err(SiloError::Mismatch { .. })));
    assert!(matches!(put(&fresh, 2, b"x").await, Err(SiloError::NotDone { .. })));
    assert!(matches!(fresh.delete(&name(1)).await, Err(SiloError::NotDone { .. })));
    let listed = fresh.list("", None, 10).await.unwrap();
    assert_eq!(listed.len(), 1, "the link itself, not what is behind it: {listed:?}");
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 1);
}

/// A link at the last segment, a pipe nobody writes to, a folder, a device: none is read, none blocks.
#[tokio::test]
async fn what_is_no_plain_file_is_a_mismatch_and_never_waited_for() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    let folder = std::fs::File::open(path_of(&at, 1).parent().unwrap()).unwrap();
    rustix::fs::mknodat(&folder, name(2).file(), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    symlink(path_of(&at, 1), path_of(&at, 3)).unwrap();
    std::fs::create_dir(path_of(&at, 4)).unwrap();
    for number in 2..5 {
        assert!(matches!(read(&silo, number, 1).await, Err(SiloError::Mismatch { .. })), "{number}");
        assert!(matches!(silo.stat(&name(number)).await, Err(SiloError::Mismatch { .. })), "{number}");
        assert_eq!(put(&silo, number, b"x").await, Err(SiloError::Exists), "{number}");
    }
}

#[tokio::test]
async fn a_file_that_was_cut_or_grew_or_changed_is_a_mismatch() {
    let (at, silo) = claimed().await;
    for (number, size) in [(1, 10), (2, 700_000)] {
        let bytes = vec![7; size as usize];
        put(&silo, number, &bytes).await.unwrap();
        let whole = std::fs::read(path_of(&at, number)).unwrap();
        let longer = [&whole[..], b"more"].concat();
        let mut said_otherwise = whole.clone();
        said_otherwise[size as usize] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..size as usize], &whole[..5], b"", &longer] {
            std::fs::write(path_of(&at, number), damaged).unwrap();
            let got = read(&silo, number, size).await;
            assert!(matches!(got, Err(SiloError::Mismatch { .. })), "{} bytes: {got:?}", damaged.len());
            assert!(matches!(silo.stat(&name(number)).await, Err(SiloError::Mismatch { .. })));
        }
        std::fs::write(path_of(&at, number), said_otherwise).unwrap();
        assert!(matches!(silo.describe(&name(number)).await, Err(SiloError::Mismatch { .. })));
    }
}

/// rclone answers EIO to whoever opens a file that is being removed, which blames the silo: a body that ended early was
/// answered, and its file was still there.
#[tokio::test]
async fn an_upload_that_failed_is_removed_before_it_is_answered() {
    let (at, silo) = claimed().await;
    for _ in 0..50 {
        let cut = silo.put(&name(1), 9 << 20, body(&vec![1; 3 << 20]), Arc::new(|_| Vec::new())).await;
        assert!(matches!(cut, Err(SiloError::Body(_))), "{cut:?}");
        assert!(!path_of(&at, 1).exists());
    }
}

/// A client hangs up in the middle of a long upload: its future is dropped, and the file goes.
#[tokio::test]
async fn an_upload_that_is_dropped_leaves_nothing() {
    let (at, silo) = claimed().await;
    let piece = Bytes::from(vec![1; 3 << 20]);
    let stalled: Body = Box::pin(stream::StreamExt::chain(stream::iter([Ok(piece)]), stream::pending()));
    let (target, describe): (_, Describe) = (name(1), Arc::new(|_| Vec::new()));
    let put = silo.put(&target, 9 << 20, stalled, describe);
    let seen = async {
        while !path_of(&at, 1).exists() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = put => panic!("the body never ended"),
        () = seen => {}
    }
    while path_of(&at, 1).exists() {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn facts_and_room_are_told() {
    let (at, silo) = claimed().await;
    let facts = silo.probe().await.unwrap();
    assert!(facts.exclusive_create);
    assert_eq!(facts.family, "posix");
    assert!(!at.path().join("root/probe").exists());
    let space = silo.space().await.unwrap().unwrap();
    assert!(space.free > 0 && space.total >= space.free);
}

/// Two gateways start at once and both probe.
#[tokio::test]
async fn probes_at_once_do_not_meet() {
    let (at, silo) = claimed().await;
    let probes = futures_util::future::join_all((0..16).map(|_| silo.probe())).await;
    assert!(probes.iter().all(Result::is_ok), "{probes:?}");
    assert!(!at.path().join("root/probe").exists());
}

/// Two registrations of the same empty folder race; one of them wins and the other learns whose it is.
#[tokio::test]
async fn claims_at_once_have_one_winner() {
    let at = tempfile::tempdir().unwrap();
    let claims: Vec<_> = (0..16)
        .map(|number| {
            let marker = Marker { silo: "hot".to_owned(), namespace: format!("n{number}"), id: number.to_string() };
            (Posix::new(at.path()), Claim { marker, fresh: true })
        })
        .collect();
    let tried = futures_util::future::join_all(claims.iter().map(|(silo, claim)| silo.claim(claim))).await;
    assert_eq!(tried.iter().filter(|claimed| claimed.is_ok()).count(), 1, "{tried:?}");
}

/// The disk was unmounted and mounted again while the gateway ran: the folder at the silo's path is another one, and
/// claiming it again goes on there.
#[tokio::test]
async fn claiming_again_finds_a_root_that_was_mounted_again() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"x").await.unwrap();
    let root = at.path().join("root");
    std::fs::rename(&root, at.path().join("away")).unwrap();
    std::fs::create_dir(&root).unwrap();
    assert_eq!(silo.claim(&claim("1", false)).await, Err(Claim::refuse_unmarked()));
    std::fs::remove_dir(&root).unwrap();
    let copied = std::process::Command::new("cp").arg("-r").arg(at.path().join("away")).arg(&root).status().unwrap();
    assert!(copied.success());
    std::fs::remove_dir_all(at.path().join("away")).unwrap();
    assert!(read(&silo, 1, 1).await.is_err());
    silo.claim(&claim("1", false)).await.unwrap();
    assert_eq!(read(&silo, 1, 1).await.unwrap(), "x");
}

/// Somebody swaps a folder of ours for a link to a folder outside, over and over, while blobs are read, written and
/// deleted (S48): not a byte comes from outside and nothing is made or removed there.
#[tokio::test]
async fn a_folder_swapped_for_a_link_under_us_lets_nothing_out() {
    let (at, silo) = claimed().await;
    put(&silo, 1, b"ours").await.unwrap();
    let folder = path_of(&at, 1).parent().unwrap().to_owned();
    let outside = at.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let theirs = std::fs::read(path_of(&at, 1)).unwrap();
    std::fs::write(outside.join(name(1).file()), [b"evil", &theirs[4..]].concat()).unwrap();
    std::fs::write(outside.join(name(2).file()), "keep").unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (stopped, link) = (Arc::clone(&stop), at.path().join("link"));
    symlink(&outside, &link).unwrap();
    let swapper = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            rustix::fs::renameat_with(CWD, &folder, CWD, &link, exchange).unwrap();
        }
    });
    let mut read_ours = 0;
    for number in 0..3000 {
        match read(&silo, 1, 4).await {
            Ok(bytes) => {
                assert_eq!(bytes, "ours");
                read_ours += 1;
            }
            Err(SiloError::Mismatch { .. } | SiloError::Missing) => {}
            Err(error) => panic!("{error}"),
        }
        // Refused or not, it may not go through the link.
        let _ = silo.delete(&name(2)).await;
        if number % 10 == 0 {
            silo.root().unwrap().folders.forget(&name(1));
            let _ = put(&silo, 1000 + number, b"x").await;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(read_ours > 0, "the swapper was always ahead: nothing was tested");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 2);
}

async fn append(silo: &Posix, pack: &BlobName, at: u64, bytes: &[u8]) -> Result<(), SiloError> {
    silo.append(pack, at, vec![Bytes::copy_from_slice(bytes)]).await
}

fn pack_path(at: &tempfile::TempDir, pack: &BlobName) -> PathBuf {
    at.path().join("root/blobs").join(pack.to_string())
}

/// Whether it grew or was put, a pack's file has one layout.
#[tokio::test]
async fn a_packs_file_is_its_bytes_alone() {
    let (at, silo) = claimed().await;
    let [grown, whole] = [BlobName::pack(1, 1), BlobName::pack(1, 2)];
    append(&silo, &grown, 0, b"01234").await.unwrap();
    append(&silo, &grown, 5, b"56789").await.unwrap();
    silo.put(&whole, 10, body(b"0123456789"), Arc::new(|_| b"said".to_vec())).await.unwrap();
    for pack in [grown, whole] {
        assert_eq!(std::fs::read(pack_path(&at, &pack)).unwrap(), b"0123456789");
        assert_eq!(std::fs::metadata(pack_path(&at, &pack)).unwrap().permissions().mode() & 0o7777, 0o600);
        append(&silo, &pack, 10, b"more").await.unwrap();
    }
}

#[tokio::test]
async fn a_pack_that_was_cut_is_a_mismatch() {
    let (at, silo) = claimed().await;
    let pack = BlobName::pack(1, 1);
    let size = 700_000;
    append(&silo, &pack, 0, &vec![7; size as usize]).await.unwrap();
    let file = std::fs::File::options().write(true).open(pack_path(&at, &pack)).unwrap();
    for cut in [size - 1, 5, 0] {
        file.set_len(cut).unwrap();
        for range in [0..size, 0..1, size - 1..size, 0..0] {
            let got = silo.read(&pack, size, range.clone()).await.map(drop);
            assert!(matches!(got, Err(SiloError::Mismatch { .. })), "{range:?} of {cut} bytes: {got:?}");
        }
        assert_eq!(silo.stat(&pack).await.unwrap().size, cut);
        assert!(matches!(append(&silo, &pack, size, b"x").await, Err(SiloError::Mismatch { .. })));
        assert_eq!(file.metadata().unwrap().len(), cut, "nothing is appended to a pack of another length");
    }
}

/// The file is cut between the look at its length and the read of its bytes.
#[tokio::test]
async fn a_pack_cut_under_a_reader_is_a_mismatch() {
    let (at, silo) = claimed().await;
    let (pack, size) = (BlobName::pack(1, 1), 3 << 20);
    append(&silo, &pack, 0, &vec![7; 3 << 20]).await.unwrap();
    let pieces = silo.read(&pack, size, 0..size).await.unwrap();
    std::fs::File::options().write(true).open(pack_path(&at, &pack)).unwrap().set_len(1 << 20).unwrap();
    assert!(matches!(collect(pieces).await, Err(SiloError::Mismatch { .. })));
}

/// A new pack is answered for when its name is durable as well: a folder that cannot be flushed fails the beginning, of
/// which nothing is left, and not what goes on with a name that was flushed before.
#[tokio::test]
async fn a_pack_is_begun_when_its_folder_was_flushed() {
    let (at, silo) = claimed().await;
    let [old, new] = [BlobName::pack(1, 1), BlobName::pack(1, 2)];
    append(&silo, &old, 0, b"01234").await.unwrap();
    let root = silo.root().unwrap();
    let folder = root.folders.of(&root, &new).unwrap();
    folder.flush(folder.ticket(), |_| Err(Errno::IO)).unwrap_err();
    assert!(matches!(append(&silo, &new, 0, b"x").await, Err(SiloError::Unknown { .. })));
    assert!(!pack_path(&at, &new).exists());
    append(&silo, &old, 5, b"56789").await.unwrap();
    append(&silo, &new, 0, b"x").await.unwrap();
}

#[tokio::test]
async fn nothing_is_appended_to_what_is_no_plain_file() {
    let (at, silo) = claimed().await;
    let pack = |number| BlobName::pack(1, number);
    append(&silo, &pack(1), 0, b"x").await.unwrap();
    let folder = std::fs::File::open(pack_path(&at, &pack(1)).parent().unwrap()).unwrap();
    rustix::fs::mknodat(&folder, pack(2).file(), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let reader = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    symlink(pack_path(&at, &pack(1)), pack_path(&at, &pack(3))).unwrap();
    std::fs::create_dir(pack_path(&at, &pack(4))).unwrap();
    for listening in [false, true] {
        let _reader =
            listening.then(|| rustix::fs::openat(&folder, pack(2).file(), reader, rustix::fs::Mode::empty()).unwrap());
        for number in 2..5 {
            let refused = append(&silo, &pack(number), 1, b"y").await;
            assert!(matches!(refused, Err(SiloError::Mismatch { .. })), "{number}: {refused:?}");
            assert_eq!(append(&silo, &pack(number), 0, b"y").await, Err(SiloError::Exists), "{number}");
        }
    }
    assert_eq!(std::fs::read(pack_path(&at, &pack(1))).unwrap(), b"x");
}

#[tokio::test]
async fn a_pack_whose_folder_or_root_is_gone() {
    let (at, silo) = claimed().await;
    let pack = |number| BlobName::pack(1, number);
    append(&silo, &pack(1), 0, b"x").await.unwrap();
    std::fs::remove_dir_all(pack_path(&at, &pack(1)).parent().unwrap()).unwrap();
    assert_eq!(append(&silo, &pack(1), 1, b"y").await, Err(SiloError::Missing));
    append(&silo, &pack(2), 0, b"z").await.unwrap();
    append(&silo, &pack(2), 1, b"z").await.unwrap();
    std::fs::remove_dir_all(at.path().join("root")).unwrap();
    let gone = |error: SiloError| error.to_string().contains("the silo's root is gone");
    assert!(gone(append(&silo, &pack(2), 2, b"z").await.unwrap_err()));
    assert!(gone(append(&silo, &pack(3), 0, b"z").await.unwrap_err()));
    assert!(gone(silo.read(&pack(2), 2, 0..2).await.map(drop).unwrap_err()));
}
