//! What a failed system call says about the bytes.

use rustix::io::Errno;

use crate::error::SiloError;

/// A call that changes nothing.
pub(crate) fn reading(what: &str, errno: Errno) -> SiloError {
    match errno {
        Errno::NOENT => SiloError::Missing,
        _ if is_planted(errno) => SiloError::mismatch(format!("{what}: not a plain file beneath plain folders")),
        _ => SiloError::not_done(format!("{what}: {errno}")),
    }
}

/// A call that makes a name. What the kernel refused by looking alone did not happen; of the rest nothing is known.
pub(crate) fn creating(what: &str, errno: Errno) -> SiloError {
    match errno {
        Errno::EXIST => SiloError::Exists,
        Errno::NOSPC | Errno::DQUOT => SiloError::Full,
        Errno::NOENT | Errno::ACCESS | Errno::PERM | Errno::ROFS | Errno::MFILE | Errno::NFILE | Errno::NAMETOOLONG => {
            SiloError::not_done(format!("{what}: {errno}"))
        }
        _ if is_planted(errno) => SiloError::not_done(format!("{what}: {errno}")),
        _ => SiloError::unknown(format!("{what}: {errno}")),
    }
}

/// A call on what was made already.
pub(crate) fn writing(what: &str, errno: Errno) -> SiloError {
    match errno {
        Errno::NOSPC | Errno::DQUOT => SiloError::Full,
        _ => SiloError::unknown(format!("{what}: {errno}")),
    }
}

/// Something stands in the way that we did not make: a link, a device without a driver, a file where a folder belongs.
fn is_planted(errno: Errno) -> bool {
    matches!(errno, Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::ISDIR | Errno::NXIO | Errno::NODEV)
}
