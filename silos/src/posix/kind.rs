//! Which file system a folder is on.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::fs;

use crate::error::SiloError;

/// What is known of a file system by its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As `mount` calls it.
    pub(crate) name: &'static str,
    /// Its calls never wait for a network or another process, so what is cached may be read on an async thread.
    pub(crate) local: bool,
    /// It survives power loss.
    pub(crate) durable: bool,
}

impl Kind {
    /// How much later a change may be without a later time. Kernels tick a hundred times a second or more; servers and the
    /// protocols between may keep whole seconds, and FAT keeps every second one.
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
    (0x6573_5546, remote("fuse")),
    (0x00C3_6400, remote("ceph")),
    (0x0102_1997, remote("9p")),
];

/// The kind of the file system that holds `folder`.
pub(crate) fn of(folder: impl AsFd) -> Result<Kind, SiloError> {
    let found = fs::fstatfs(folder).map_err(|e| SiloError::not_done(format!("the silo's file system: {e}")))?;
    Ok(by_magic(found.f_type))
}

fn by_magic(magic: i64) -> Kind {
    // Some platforms hand the 32-bit number over with its sign.
    let magic = magic & 0xFFFF_FFFF;
    KINDS.iter().find(|(known, _)| *known == magic).map_or(remote("unknown"), |(_, kind)| *kind)
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
}
