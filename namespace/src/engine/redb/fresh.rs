//! A new index: whole at its name, or not there at all, whenever the power goes.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::OpenIndexError;
use super::store::{Store, exclusive};
use crate::clock::Clock;
use crate::staged::Staged;

/// Makes an empty index unless there is one. Where another process is first, its index is taken.
pub(super) fn make(path: &Path, clock: &Arc<dyn Clock>) -> Result<(), OpenIndexError> {
    if path.exists() {
        return Ok(());
    }
    let failed = |source| OpenIndexError::Io { path: path.to_owned(), source };
    let staged = Staged::beside(path).map_err(failed)?;
    Store::open(path, exclusive(staged.path()), Arc::clone(clock), false)?.close();
    let flushed = File::open(staged.path()).and_then(|file| file.sync_all());
    flushed.and_then(|()| staged.place()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::Redb;
    use super::*;
    use crate::clock::SystemClock;
    use crate::staged::place;

    fn clock() -> Arc<dyn Clock> {
        Arc::new(SystemClock::new())
    }

    /// The power went while the first start made the index: what was there was no index, and no start after it came
    /// up. An index has its name only once it is whole.
    #[test]
    fn what_was_not_finished_has_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let (path, staged) = (folder.path().join("index"), folder.path().join("index.0123"));
        std::fs::write(&staged, "half").unwrap();
        make(&path, &clock()).unwrap();
        let before = std::fs::read(&path).unwrap();
        assert!(before.starts_with(b"redb"), "an index at once");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "its own staged file is gone");
        place(&staged, &path).unwrap();
        make(&path, &clock()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), before, "who comes second takes what is there");
        Redb::open(&path, clock()).unwrap();
    }
}
