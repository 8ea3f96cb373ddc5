//! Finding out what a root promises, with files of our own that are gone afterwards.

use std::os::fd::OwnedFd;

use rustix::fs::{self, AtFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::facts::Facts;
use crate::limits::MAX_EXTENT;
use crate::posix::errno;
use crate::posix::root::{Root, create_file, make_folder, open_folder, random};

/// The folder for trying things out, beneath the root.
const PROBE: &str = "probe";
/// A time with a digit in every place, to see which the file system keeps.
const ODD_NANOSECONDS: i64 = 987_654_321;
/// Writes that look for the clock's tick: at 4 ms a tick and 10 µs a write it is seen in most runs.
const TICK_WRITES: u32 = 2000;

/// Probes. May block.
pub(crate) fn probe(root: &Root) -> Result<Facts, SiloError> {
    let (folder, name) = begin(root)?;
    let found = try_out(root, &folder, &name);
    let _ = fs::unlinkat(&folder, &name, AtFlags::empty());
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
    let mut notes = Vec::new();
    let exclusive = create_file(folder, name).is_err_and(|e| e == Errno::EXIST);
    if !exclusive {
        notes.push("O_EXCL made a file that was there".to_owned());
    }
    let flags = fs::OFlags::RDWR | fs::OFlags::CLOEXEC | fs::OFlags::NOFOLLOW;
    let file = fs::openat(folder, name, flags, fs::Mode::empty()).map_err(|e| errno::writing("probing", e))?;
    rustix::io::pwrite(&file, b"probe", 0).map_err(|e| errno::writing("probing", e))?;
    fs::fsync(&file).map_err(|e| errno::writing("flushing a file", e))?;
    root.sync_folder(folder).map_err(|e| errno::writing("flushing a folder", e))?;
    if !root.syncs_folders() {
        notes.push(
            "folders cannot be flushed: whether a new name survives a power loss is the server's word".to_owned(),
        );
    }
    if !root.kind.durable {
        notes.push(format!("{} is lost with the machine", root.kind.name));
    }
    if !root.kind.local {
        notes.push("read on threads of its own: not known to be a local file system".to_owned());
    }
    Ok(Facts {
        family: "posix".to_owned(),
        exclusive_create: exclusive,
        enforces_upload_checksum: false,
        conditional_read: true,
        durable_put: root.kind.durable,
        max_blob: MAX_EXTENT,
        time_grain_ns: time_grain(&file).map_err(|e| errno::writing("probing times", e))?,
        kind: root.kind.name.to_owned(),
        notes,
    })
}

/// The coarser of what the file system can store and how often its clock ticks; 0 where no tick was seen.
fn time_grain(file: &OwnedFd) -> Result<u64, Errno> {
    let time = Timespec { tv_sec: 1_000_000_001, tv_nsec: ODD_NANOSECONDS };
    fs::futimens(file, &Timestamps { last_access: time, last_modification: time })?;
    let stored = fs::fstat(file)?;
    let kept = (stored.st_mtime - 1_000_000_001) * 1_000_000_000 + stored.st_mtime_nsec as i64;
    let storage = match ODD_NANOSECONDS.abs_diff(kept) {
        0 => 1,
        lost => power_of_ten(lost + 1),
    };
    Ok(tick(file)?.map_or(0, |tick| tick.max(storage)))
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
