//! Finding out what a root promises, with files of our own that are gone afterwards.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, RenameFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::limits::MAX_EXTENT;
use crate::posix::errno;
use crate::posix::kind::{FUSE, Kind, RCLONE};
use crate::posix::read::read_exact;
use crate::posix::root::{Root, create_file, make_folder, open_file, open_folder, random, reopen_file};

/// The folder for trying things out, beneath the root.
const PROBE: &str = "probe";
/// A time with a digit in every place, to see which the file system keeps.
const ODD_NANOSECONDS: i64 = 987_654_321;
/// Writes that look for the clock's tick: at 4 ms a tick and 10 µs a write it is seen in most runs.
const TICK_WRITES: u32 = 2000;

const NAMES_NOT_FLUSHED: &str =
    "folders cannot be flushed: whether a new name survives a power loss is the server's word";
const BEFORE_ITS_SERVER: &str =
    "rclone answers before its server has the bytes, and reads them back from its own cache";
const NOT_KNOWN_TO_FLUSH: &str = "it is mounted by a program that is not known to pass flushes on";
const REPLACES_NAMES: &str =
    "a name can neither be moved nor linked without replacing: register it with one gateway at a time";

/// Probes. May block.
pub(crate) fn probe(root: &Root) -> Result<Facts, SiloError> {
    let (folder, name) = begin(root)?;
    let found = try_out(root, &folder, &name);
    for name in [&free_name(&name), &name] {
        let _ = fs::unlinkat(&folder, name, AtFlags::empty());
    }
    // Another gateway may be probing here as well.
    let _ = fs::unlinkat(root.dir(), PROBE, AtFlags::REMOVEDIR);
    found
}

/// Makes the folder, which a neighbor may remove under us as often as it probes.
fn begin(root: &Root) -> Result<(OwnedFd, String), SiloError> {
    let name = format!("{:016x}", random()?);
    for _ in 0..100 {
        make_folder(root.dir(), PROBE).map_err(|e| errno::creating("making the probe's folder", e))?;
        match open_folder(root.dir(), PROBE) {
            Err(Errno::NOENT) => {}
            Err(e) => return Err(errno::reading("opening the probe's folder", e)),
            Ok(folder) => match create_file(&folder, &name) {
                Err(Errno::NOENT) => {}
                Err(e) => return Err(errno::creating("making the probe's file", e)),
                Ok(_) => return Ok((folder, name)),
            },
        }
    }
    Err(SiloError::not_done("the probe's folder vanishes as often as it is made"))
}

fn try_out(root: &Root, folder: &OwnedFd, name: &str) -> Result<Facts, SiloError> {
    let exclusive = create_file(folder, name).is_err_and(|e| e == Errno::EXIST);
    grows(root, folder, name)?;
    let flags = fs::OFlags::RDWR | fs::OFlags::CLOEXEC | fs::OFlags::NOFOLLOW;
    let file = fs::openat(folder, name, flags, fs::Mode::empty()).map_err(|e| errno::writing("probing", e))?;
    root.sync_folder(folder).map_err(|e| errno::writing("flushing a folder", e))?;
    let time_grain_ns = time_grain(&file, root.kind).map_err(|e| errno::writing("probing times", e))?;
    drop(file);
    let mut notes = notes(root);
    if !exclusive {
        notes.push("O_EXCL made a file that was there".to_owned());
    }
    if !places(folder, name)? {
        notes.push(REPLACES_NAMES.to_owned());
    }
    Ok(Facts {
        family: "posix".to_owned(),
        exclusive_create: exclusive && root.kind.creates_exclusively(),
        enforces_upload_checksum: false,
        conditional_read: true,
        durable_put: root.kind.durable,
        max_blob: MAX_EXTENT,
        time_grain_ns,
        kind: root.kind.name.to_owned(),
        notes,
    })
}

/// What is known by the kind of file system, beside what is tried out.
fn notes(root: &Root) -> Vec<String> {
    let Kind { name, local, durable } = root.kind;
    let flushes_names = root.syncs_folders() && !root.kind.is_fuse();
    let told = [
        (durable && !flushes_names, NAMES_NOT_FLUSHED),
        (name == RCLONE, BEFORE_ITS_SERVER),
        (name == FUSE.name, NOT_KNOWN_TO_FLUSH),
        (local && !durable, "what it holds is lost with the machine"),
        (!local, "read on threads of its own: not known to be a local file system"),
    ];
    told.into_iter().filter(|(holds, _)| *holds).map(|(_, note)| note.to_owned()).collect()
}

/// A file that is opened again takes more bytes at its end, as packs do, and reads as it was written. Mounts that only
/// pass bytes through refuse the one or the other, and are no silos.
fn grows(root: &Root, folder: &OwnedFd, name: &str) -> Result<(), SiloError> {
    let refused = |what: &str, e: Errno| root.kind.unfit(what, e);
    for (at, half) in [(0, b"pro"), (3, b"be.")] {
        let file =
            reopen_file(folder, name).map_err(|e| refused("a file cannot be opened again to be written to", e))?;
        rustix::io::pwrite(&file, half, at).map_err(|e| refused("a file does not grow", e))?;
        fs::fsync(&file).map_err(|e| errno::writing("flushing a file", e))?;
    }
    let mut found = [0; 6];
    let file = open_file(folder, name, ResolveFlags::empty()).map_err(|e| refused("a file cannot be read", e))?;
    read_exact(&file, &mut found, 0, "reading what was written")?;
    if found == *b"probe." { Ok(()) } else { Err(SiloError::mismatch("the probe's bytes read back differently")) }
}

/// Whether a free name can be given to a file without ever replacing one, as the marker's is. Only a free one shows it:
/// a name that is taken is refused by the kernel, which does not ask the file system.
fn places(folder: &OwnedFd, name: &str) -> Result<bool, SiloError> {
    let free = free_name(name);
    if fs::renameat_with(folder, name, folder, &free, RenameFlags::NOREPLACE).is_ok() {
        let back = fs::renameat(folder, &free, folder, name);
        return back.map(|()| true).map_err(|e| errno::writing("probing names", e));
    }
    Ok(fs::linkat(folder, name, folder, &free, AtFlags::empty()).is_ok())
}

/// A second name for the probe's file.
fn free_name(name: &str) -> String {
    format!("{name}.free")
}

/// The coarser of what the file system can store and how often its clock ticks; 0 where no tick was seen. A server's
/// tick is not looked for: the writes of that would take a server that is 20 ms away longer than a silo has to answer.
fn time_grain(file: &OwnedFd, kind: Kind) -> Result<u64, Errno> {
    let time = Timespec { tv_sec: 1_000_000_001, tv_nsec: ODD_NANOSECONDS };
    fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?;
    let stored = fs::fstat(file)?;
    let kept = (stored.st_mtime - 1_000_000_001) * 1_000_000_000 + stored.st_mtime_nsec as i64;
    let storage = match ODD_NANOSECONDS.abs_diff(kept) {
        0 => 1,
        lost => power_of_ten(lost + 1),
    };
    let tick = if kind.local { tick(file)? } else { Some(kind.least_grain_ns()) };
    Ok(tick.map_or(0, |tick| tick.max(storage)))
}

/// The least step between the times of successive writes.
fn tick(file: &OwnedFd) -> Result<Option<u64>, Errno> {
    let mut least: Option<u64> = None;
    let mut before: Option<i128> = None;
    for _ in 0..TICK_WRITES {
        rustix::io::pwrite(file, b"probe", 0)?;
        let stat = fs::fstat(file)?;
        let now = i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec);
        let step = before.map_or(0, |before| (now - before).max(0)) as u64;
        if step > 0 {
            least = Some(least.map_or(step, |least| least.min(step)));
        }
        before = Some(now);
    }
    Ok(least)
}

/// The least power of ten that is not below `least`.
fn power_of_ten(least: u64) -> u64 {
    std::iter::successors(Some(1_u64), |power| power.checked_mul(10)).find(|power| *power >= least).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posix::kind;

    fn file() -> OwnedFd {
        tempfile::tempfile().unwrap().into()
    }

    /// A NAS in another building: looking for the tick of its clock took 4,000 round trips, and registering it ended
    /// with "the silo did not answer in time".
    #[test]
    fn a_servers_clock_is_not_watched() {
        let (nfs, file) = (kind::by_magic(0x6969), file());
        assert!(time_grain(&file, nfs).unwrap() >= 1_000_000_000, "servers may keep whole seconds");
        let stat = fs::fstat(&file).unwrap();
        assert_eq!((stat.st_size, stat.st_mtime), (0, 1_000_000_001), "nothing was written to see it");
    }

    #[test]
    fn a_name_is_given_without_replacing() {
        let at = tempfile::tempdir().unwrap();
        let folder: OwnedFd = std::fs::File::open(at.path()).unwrap().into();
        create_file(&folder, "name").unwrap();
        assert_eq!(places(&folder, "name"), Ok(true));
        assert!(at.path().join("name").exists());
    }
}
