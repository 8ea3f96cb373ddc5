//! The data folder: who may read it, and the key that seals secrets.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use holdall_namespace::staged::{Staged, flush_name};
use zeroize::Zeroizing;

/// Why the data folder or what must be in it is not usable.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It could not be made or used.
    #[error("data folder `{}`: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// The sealing key could not be read or made.
    #[error("sealing key `{}`: {source}", path.display())]
    SealKey {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: io::Error,
    },
    /// Something else is in its place.
    #[error("sealing key `{}`: it has {found} bytes instead of 32", path.display())]
    NotASealKey {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
    /// A new key would make every secret in the index unreadable.
    #[error("sealing key `{}` is missing, and `{}` has secrets sealed with it", path.display(), index.display())]
    SealKeyLost {
        /// The file.
        path: PathBuf,
        /// The index.
        index: PathBuf,
    },
}

/// Makes the data folder, readable by its owner alone; one that exists is left as it is. Its name is durable when this
/// answers, and so are those above it: an index that is safe in a folder that is gone after a power loss is lost.
pub fn prepare(path: &Path) -> Result<(), FolderError> {
    let failed = |source| FolderError::Folder { path: path.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    // Whoever made one of them may have been stopped before it was flushed.
    let whole = fs::canonicalize(path).map_err(failed)?;
    whole.ancestors().skip(1).try_for_each(flush_above).map_err(failed)
}

/// Flushes a folder's names. One that we may not read or that cannot be flushed holds no name that we made a moment ago.
fn flush_above(folder: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | InvalidInput | Unsupported) => {
            Ok(())
        }
        flushed => flushed,
    }
}

/// The mode of what others than its owner may read or write: whoever can has the index, or every secret in it.
pub fn exposed(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    (mode & 0o077 != 0).then_some(mode)
}

/// Says so in the log. How a machine shares its files is its owner's business.
pub fn warn_if_exposed(path: &Path) {
    if let Some(mode) = exposed(path) {
        let (path, mode) = (path.display(), format!("{mode:04o}"));
        tracing::warn!(%path, mode, "others than the owner may read or write this");
    }
}

/// Says in the log when the sealing key would be lost with the data folder, and with it every backup of the index.
pub fn warn_if_lost_together(data: &Path, seal_key: &Path) {
    if lies_below(seal_key, data) {
        let path = seal_key.display();
        tracing::warn!(%path, "backups of the index are sealed with this file: keep a copy of it elsewhere");
    }
}

fn lies_below(path: &Path, folder: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).ok();
    whole(path).zip(whole(folder)).is_some_and(|(path, folder)| path.starts_with(folder))
}

/// Reads the sealing key, or makes one if the index does not exist yet.
pub fn seal_key(path: &Path, index: &Path) -> Result<Zeroizing<[u8; 32]>, FolderError> {
    match known_seal_key(path) {
        Err(FolderError::SealKey { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            if index.exists() {
                return Err(FolderError::SealKeyLost { path: path.to_owned(), index: index.to_owned() });
            }
            make_seal_key(path).map_err(|source| FolderError::SealKey { path: path.to_owned(), source })
        }
        known => known,
    }
}

/// Reads the sealing key, which must be there.
pub fn known_seal_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, FolderError> {
    let failed = |source| FolderError::SealKey { path: path.to_owned(), source };
    let bytes = fs::read(path).map(Zeroizing::new).map_err(failed)?;
    let key: Result<[u8; 32], _> = bytes.as_slice().try_into();
    key.map(Zeroizing::new).map_err(|_| FolderError::NotASealKey { path: path.to_owned(), found: bytes.len() })
}

/// Whole at its name or not there at all, whenever the power goes; where another process was first, its key is taken.
fn make_seal_key(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
    let staged = Staged::beside(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged.path())?;
    file.write_all(key.as_slice())?;
    file.sync_all()?;
    staged.place()?;
    flush_name(path)?;
    let kept = Zeroizing::new(fs::read(path)?);
    kept.as_slice().try_into().map(Zeroizing::new).map_err(|_| io::Error::other("another process is making it"))
}

#[cfg(test)]
mod tests {
    use holdall_namespace::staged::place;

    use super::*;

    /// The power went while the first start wrote the key: the file was there, empty, and no start after it came up. A
    /// key has its name only once it is whole.
    #[test]
    fn a_key_that_was_not_finished_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, staged) = (folder.path().join("seal.key"), folder.path().join("seal.0123"));
        fs::write(&staged, "").unwrap();
        let key = seal_key(&path, &folder.path().join("index.redb")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), *key);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "its own staged file is gone");
        fs::write(&staged, [1; 32]).unwrap();
        place(&staged, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), *key, "who came second takes what is there");
    }

    /// A link in the data folder is no copy in it, and a folder whose name goes on differently is another one.
    #[test]
    fn a_key_is_lost_with_the_folder_that_its_bytes_are_in() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["data/deep/seal.key", "data-kept/seal.key"] {
            prepare(at(name).parent().unwrap()).unwrap();
            seal_key(&at(name), &at("index.redb")).unwrap();
        }
        std::os::unix::fs::symlink(at("data-kept/seal.key"), at("data/seal.key")).unwrap();
        assert!(lies_below(&at("data/../data/deep/seal.key"), &at("data")));
        assert!(!lies_below(&at("data-kept/seal.key"), &at("data")) && !lies_below(&at("data/seal.key"), &at("data")));
    }

    #[test]
    fn a_sealing_key_is_made_once_and_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("deep/data");
        prepare(&data).unwrap();
        prepare(&data).unwrap();
        let (path, index) = (data.join("seal.key"), data.join("index.redb"));
        let key = seal_key(&path, &index).unwrap();
        assert_eq!(*seal_key(&path, &index).unwrap(), *key);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&data), mode(&path)), (0o700, 0o600));

        // A folder that others may look into was used without a word.
        assert_eq!((exposed(&data), exposed(&path), exposed(&index)), (None, None, None));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(exposed(&path), Some(0o640));

        fs::write(&index, "").unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(seal_key(&path, &index), Err(FolderError::NotASealKey { found: 5, .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(seal_key(&path, &index), Err(FolderError::SealKeyLost { .. })));
    }
}
