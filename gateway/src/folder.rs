//! The data folder: who may read it, and the key that seals secrets.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

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

/// Makes the data folder, readable by its owner alone; one that exists is left as it is.
pub fn prepare(path: &Path) -> Result<(), FolderError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| FolderError::Folder { path: path.to_owned(), source })
}

/// Reads the sealing key, or makes one if the index does not exist yet.
pub fn seal_key(path: &Path, index: &Path) -> Result<Zeroizing<[u8; 32]>, FolderError> {
    let failed = |source| FolderError::SealKey { path: path.to_owned(), source };
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => {
            let key: Result<[u8; 32], _> = bytes.as_slice().try_into();
            key.map(Zeroizing::new).map_err(|_| FolderError::NotASealKey { path: path.to_owned(), found: bytes.len() })
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
        Err(_) if index.exists() => Err(FolderError::SealKeyLost { path: path.to_owned(), index: index.to_owned() }),
        Err(_) => make_seal_key(path).map_err(failed),
    }
}

fn make_seal_key(path: &Path) -> io::Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(key.as_slice())?;
    file.sync_all()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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

        fs::write(&index, "").unwrap();
        fs::write(&path, "short").unwrap();
        assert!(matches!(seal_key(&path, &index), Err(FolderError::NotASealKey { found: 5, .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(seal_key(&path, &index), Err(FolderError::SealKeyLost { .. })));
    }
}
