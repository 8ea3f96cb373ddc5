//! Names of our own for bytes: short ASCII, good on every silo, never used twice.

use std::fmt;
use std::str::FromStr;

/// How many numbers share a folder: its files stay few enough to list and many enough to fsync together.
const FOLDER_BITS: u32 = 12;
/// The session of backups.
const BACKUPS: u64 = 0;
/// In the number of a snapshot's piece.
const SNAPSHOTS: u64 = 1 << 63;

/// `<session>/<number's high bits>/<number>.<extent's session>-<extent's number>`, fixed-width hexadecimal.
///
/// The writer's session leads, so that the tail of one session lists without the rest. A pack holds parts of many extents
/// and names none: its extent is `(0, 0)`, which none has, since sessions begin at 1. For the same reason session 0 is
/// nobody's: its names are those of the index's backups, whose writer stands where others have the extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct BlobName {
    /// The session that wrote the blob.
    pub session: u64,
    /// The number this write took in that session; never used twice.
    pub number: u64,
    /// Session and number of the extent's first write.
    pub extent: (u64, u64),
}

/// The text is no name of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a blob")]
pub struct NotABlobName(pub String);

impl BlobName {
    /// The name of a pack.
    pub fn pack(session: u64, number: u64) -> Self {
        Self { session, number, extent: (0, 0) }
    }

    /// Whether the blob is a pack, of which the index knows the least length, not the length.
    pub fn is_pack(&self) -> bool {
        self.extent == (0, 0)
    }

    /// A piece of the index's log that begins with an entry.
    pub fn of_log(first: u64, writer: (u64, u64)) -> Self {
        Self { session: BACKUPS, number: first & !SNAPSHOTS, extent: writer }
    }

    /// A piece of a snapshot of the index as an entry of its log left it; behind all pieces of the log.
    pub fn of_snapshot(sequence: u64, writer: (u64, u64)) -> Self {
        Self { session: BACKUPS, number: sequence | SNAPSHOTS, extent: writer }
    }

    /// Whether it is a piece of a backup of the index, which no row names.
    pub fn is_backup(&self) -> bool {
        self.session == BACKUPS
    }

    /// What a piece of a backup is of: a snapshot (true) or the log, and at which entry.
    pub fn backed_up(&self) -> (bool, u64) {
        (self.number & SNAPSHOTS != 0, self.number & !SNAPSHOTS)
    }

    /// The prefix all pieces of backups share.
    pub fn backups_prefix() -> String {
        Self::session_prefix(BACKUPS)
    }

    /// The folder part, `<session>/<high bits>`.
    pub fn folder(&self) -> String {
        format!("{:010x}/{:013x}", self.session, self.number >> FOLDER_BITS)
    }

    /// The last segment.
    pub fn file(&self) -> String {
        format!("{:016x}.{:010x}-{:016x}", self.number, self.extent.0, self.extent.1)
    }

    /// The prefix all blobs of a session share, with its slash.
    pub fn session_prefix(session: u64) -> String {
        format!("{session:010x}/")
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.folder(), self.file())
    }
}

impl FromStr for BlobName {
    type Err = NotABlobName;

    fn from_str(text: &str) -> Result<Self, NotABlobName> {
        parse(text).filter(|name| name.to_string() == text).ok_or_else(|| NotABlobName(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<BlobName> {
    let mut segments = text.split('/');
    let (session, _high, file) = (segments.next()?, segments.next()?, segments.next()?);
    let (number, extent) = file.split_once('.')?;
    let (extent_session, extent_number) = extent.split_once('-')?;
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some(BlobName { session: hex(session)?, number: hex(number)?, extent: (hex(extent_session)?, hex(extent_number)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_name_reads_back(session in 0u64..1 << 40, number: u64, es in 0u64..1 << 40, en: u64) {
            let name = BlobName { session, number, extent: (es, en) };
            prop_assert_eq!(name.to_string().parse(), Ok(name));
        }

        #[test]
        fn text_order_is_number_order(a: u64, b: u64) {
            let name = |number| BlobName { session: 1, number, extent: (1, number) };
            prop_assert_eq!(name(a).to_string().cmp(&name(b).to_string()), a.cmp(&b));
        }
    }

    #[test]
    fn a_pack_names_no_extent() {
        let pack = BlobName::pack(1, 2);
        assert_eq!(pack.to_string().parse(), Ok(pack));
        assert!(pack.is_pack());
        for extent in [(1, 0), (0, 1), (1, 2)] {
            assert!(!BlobName { session: 1, number: 2, extent }.is_pack());
        }
    }

    #[test]
    fn backups_are_nobodys_blobs_and_snapshots_stand_behind_the_log() {
        let (log, snapshot) = (BlobName::of_log(7, (1, 2)), BlobName::of_snapshot(7, (1, 3)));
        assert!(log.is_backup() && snapshot.is_backup() && !log.is_pack() && !BlobName::pack(1, 2).is_backup());
        assert_eq!((log.backed_up(), snapshot.backed_up()), ((false, 7), (true, 7)));
        assert!(BlobName::of_log(u64::MAX, (1, 2)).to_string() < snapshot.to_string());
        assert!(log.to_string().starts_with(&BlobName::backups_prefix()));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        for text in [
            "",
            "a/b/c",
            "0000000001/0000000000000/1.1-1",
            "0000000001/0000000000000/0000000000000001.0000000001-0000000000000001/x",
        ] {
            assert!(text.parse::<BlobName>().is_err(), "{text}");
        }
    }
}
