//! Which file system a folder is on.

use std::fs::read_to_string;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs::{self, Stat};
use rustix::io::Errno;

use crate::error::SiloError;

/// What is known of a file system by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As `mount` calls it.
    pub(crate) name: &'static str,
    /// Its calls never wait for a network or another process, so what is cached may be read on an async thread.
    pub(crate) local: bool,
    /// What was flushed survives power loss, here or at its server.
    pub(crate) durable: bool,
}

/// Programs that mount by FUSE, as the kernel lists their mounts. The kernel answers a flush with yes where a program
/// knows none, so that only what a program is known for counts.
pub(crate) const BY_FUSE: [Kind; 2] = [remote("fuse.sshfs"), Kind { name: RCLONE, local: false, durable: false }];
pub(crate) const FUSE: Kind = Kind { name: "fuse", local: false, durable: false };
const UNKNOWN: Kind = remote("unknown");
pub(crate) const RCLONE: &str = "fuse.rclone";

impl Kind {
    /// What is said of a mount that cannot do what every silo must.
    pub(crate) fn unfit(self, what: &str, why: Errno) -> SiloError {
        let hint = if self.name == RCLONE { " (rclone: mount with `--vfs-cache-mode writes`)" } else { "" };
        SiloError::not_done(format!("`{}` cannot be a silo as it is mounted: {what}: {why}{hint}", self.name))
    }

    /// A create that finds a file is refused by whoever has the file, not by a cache on the way.
    pub(crate) fn creates_exclusively(self) -> bool {
        self.local || self.durable
    }

    /// It tells when a file itself was changed, which no writer sets: programs make that up of what they are told.
    pub(crate) fn tells_changes(self) -> bool {
        !self.is_fuse() && !matches!(self.name, "vfat" | "exfat")
    }

    /// A file's inode number, or 0 where programs make numbers up that last as long as the kernel remembers the name.
    pub(crate) fn inode(self, stat: &Stat) -> u64 {
        if self.is_fuse() { 0 } else { stat.st_ino }
    }

    /// Inode numbers last as long as their files.
    pub(crate) fn keeps_inodes(self) -> bool {
        !self.is_fuse() && !matches!(self.name, "vfat" | "exfat" | "cifs" | "smb2" | "9p" | "unknown")
    }

    /// A file's time is that of its last write, not of when a cache on the way sent it on.
    pub(crate) fn keeps_times(self) -> bool {
        self.local || self.durable
    }

    /// Mounted by a program.
    pub(crate) fn is_fuse(self) -> bool {
        self.name.starts_with(FUSE.name)
    }

    /// The finest difference in times that a file system of this kind can be found to show, nanoseconds.
    pub(crate) fn least_grain_ns(self) -> u64 {
        if self.local { 1 } else { self.tick().as_nanos() as u64 }
    }

    /// How much later a change may be without a later time. Kernels tick a hundred times a second or more; servers and
    /// the protocols between may keep whole seconds, and FAT keeps every second one.
    pub(crate) fn tick(self) -> Duration {
        match self.name {
            "vfat" => Duration::from_secs(2),
            _ if self.local => Duration::from_millis(10),
            _ => Duration::from_secs(1),
        }
    }
}

const fn local(name: &'static str) -> Kind {
    Kind { name, local: true, durable: true }
}

const fn remote(name: &'static str) -> Kind {
    Kind { name, local: false, durable: true }
}

/// Magic numbers of `statfs(2)`.
const KINDS: [(i64, Kind); 17] = [
    (0xEF53, local("ext4")),
    (0x5846_5342, local("xfs")),
    (0x9123_683E, local("btrfs")),
    (0xF2F5_2010, local("f2fs")),
    (0x2FC1_2FC1, local("zfs")),
    (0xCA45_1A4E, local("bcachefs")),
    (0x794C_7630, local("overlay")),
    (0x0102_1994, Kind { name: "tmpfs", local: true, durable: false }),
    (0x8584_58F6, Kind { name: "ramfs", local: true, durable: false }),
    (0x4D44, remote("vfat")),
    (0x2011_BAB0, remote("exfat")),
    (0x6969, remote("nfs")),
    (0xFF53_4D42, remote("cifs")),
    (0xFE53_4D42, remote("smb2")),
    (0x6573_5546, FUSE),
    (0x00C3_6400, remote("ceph")),
    (0x0102_1997, remote("9p")),
];

/// Every kind that a folder can be found to be of, but those of [`BY_FUSE`].
pub(crate) fn every() -> impl Iterator<Item = Kind> {
    KINDS.into_iter().map(|(_, kind)| kind).chain([UNKNOWN])
}

/// The kind of the file system that holds `folder`.
pub(crate) fn of(folder: impl AsFd) -> Result<Kind, SiloError> {
    let failed = |e| SiloError::not_done(format!("the silo's file system: {e}"));
    let kind = by_magic(fs::fstatfs(&folder).map_err(failed)?.f_type);
    if kind != FUSE {
        return Ok(kind);
    }
    let device = fs::fstat(&folder).map_err(failed)?.st_dev;
    // Where the kernel's list cannot be read, nothing is known but that it is FUSE.
    let mounts = read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let name = listed(&mounts, (fs::major(device), fs::minor(device)));
    Ok(BY_FUSE.into_iter().find(|known| Some(known.name) == name).unwrap_or(kind))
}

/// The type of the file system on a device in a list of mounts, see `proc_pid_mountinfo(5)`:
/// `36 35 0:52 / /mnt/nas rw,nosuid shared:1 - fuse.sshfs host:/srv rw`.
fn listed(mounts: &str, device: (u32, u32)) -> Option<&str> {
    let device = format!("{}:{}", device.0, device.1);
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&*device))?;
    line.split_once(" - ")?.1.split(' ').next()
}

pub(crate) fn by_magic(magic: i64) -> Kind {
    // Some platforms hand the 32-bit number over with its sign.
    let magic = magic & 0xFFFF_FFFF;
    KINDS.iter().find(|(known, _)| *known == magic).map_or(UNKNOWN, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_taken_for_a_network() {
        assert_eq!(by_magic(0xEF53), local("ext4"));
        assert_eq!(by_magic(i64::from(0xFF53_4D42_u32.cast_signed())), remote("cifs"));
        assert!(!by_magic(1).local);
    }

    /// All FUSE has one magic number, and what a flush is worth there depends on the program behind it.
    #[test]
    fn programs_behind_fuse_are_told_apart() {
        let mounts = "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n\
                      36 22 0:52 / /mnt/a\\040b rw,nosuid shared:1 master:2 - fuse.sshfs me@nas:/srv rw,user_id=0\n\
                      37 22 0:5 / /mnt/c rw - fuse.rclone :smb:share rw\n";
        assert_eq!(listed(mounts, (0, 52)), Some("fuse.sshfs"));
        assert_eq!(listed(mounts, (0, 5)), Some("fuse.rclone"));
        assert_eq!(listed(mounts, (0, 2)), None);
        assert!(!by_magic(0x6573_5546).durable, "of an unknown program's flush nothing is known");
    }
}
