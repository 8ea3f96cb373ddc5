//! What befalls folders that silos are in.

use std::path::Path;

use crate::{Outcome, settle};

/// Deletes a folder that others write to.
pub fn wipe(folder: &Path) -> Outcome<()> {
    for _ in 0..100 {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // Something came into it meanwhile.
            _ => {}
        }
    }
    Err(format!("{} is still there", folder.display()).into())
}

/// Turns the first bytes of every blob around. What goes away meanwhile needs none of it.
pub fn garble(folder: &Path) -> Outcome<()> {
    use std::os::unix::fs::FileExt as _;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == settle::BACKUPS || settle::is_marker(&name) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            garble(&path)?;
        } else if let Ok(file) = std::fs::File::options().read(true).write(true).open(&path) {
            let mut bytes = [0; 4096];
            let length = file.read_at(&mut bytes, 0)?;
            bytes[..length].iter_mut().for_each(|byte| *byte = !*byte);
            file.write_all_at(&bytes[..length], 0)?;
        }
    }
    Ok(())
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) -> Outcome<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn blobs_are_garbled_and_markers_and_backups_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join("silo").join(name);
        let names = ["blobs/1/a", "blobs/0000000000/b", "holdall-silo.json"];
        for name in names {
            std::fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            std::fs::write(at(name), "abc").unwrap();
        }
        let copied = folder.path().join("copied");
        super::copy(&folder.path().join("silo"), &copied).unwrap();
        super::garble(&folder.path().join("silo")).unwrap();
        let turned = names.map(|name| std::fs::read(at(name)).unwrap() != b"abc");
        assert_eq!(turned, [true, false, false]);
        assert!(names.iter().all(|name| std::fs::read(copied.join(name)).unwrap() == b"abc"));
        super::wipe(&copied).unwrap();
        assert!(!copied.exists());
    }
}
