//! A new index: whole at its name, or not there at all, whenever the power goes.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::OpenIndexError;
use super::store::{Store, exclusive};

/// Makes an empty index unless there is one. Where another process is first, its index is taken.
pub(super) fn make(path: &Path) -> Result<(), OpenIndexError> {
    if path.exists() {
        return Ok(());
    }
    let failed = |source| OpenIndexError::Io { path: path.to_owned(), source };
    let number = getrandom::u64().map_err(|error| failed(io::Error::other(error)))?;
    let staged = path.with_extension(format!("{number:016x}"));
    let made = Store::open(path, exclusive(&staged), false).and_then(|store| {
        store.close();
        File::open(&staged).and_then(|file| file.sync_all()).and_then(|()| place(&staged, path)).map_err(failed)
    });
    // What a crash leaves here holds nothing.
    let _ = fs::remove_file(&staged);
    made
}

/// Gives a whole file its name unless the name is taken.
fn place(staged: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(staged, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // File systems without links.
        Err(_) if !path.exists() => fs::rename(staged, path),
        placed => placed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Redb;
    use super::{make, place};

    /// The power went while the first start made the index: what was there was no index, and no start after it came
    /// up. An index has its name only once it is whole.
    #[test]
    fn what_was_not_finished_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, staged) = (folder.path().join("index"), folder.path().join("index.0123"));
        std::fs::write(&staged, "half").unwrap();
        make(&path).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(before.starts_with(b"redb"), "an index at once");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "its own staged file is gone");
        place(&staged, &path).unwrap();
        make(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before, "who comes second takes what is there");
        Redb::open(&path).unwrap();
    }
}
