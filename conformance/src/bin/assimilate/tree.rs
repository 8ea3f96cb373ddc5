//! The folder of others: files whose bytes say which they are, and in which version.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdall_conformance::Outcome;
use holdall_conformance::random::{Random, mix};

/// Files of one folder.
const TOGETHER: u64 = 20;
/// A file in so many is longer than a block, so that it takes several reads.
const LONG: u64 = 50;

/// The tree.
#[derive(Clone)]
pub(super) struct Tree {
    pub(super) root: PathBuf,
}

/// A version of a file, as its bytes say.
pub(super) type Version = u64;

impl Tree {
    /// The name of a file by number.
    pub(super) fn name(number: u64) -> String {
        format!("folder-{:05}/file-{number:07}.txt", number / TOGETHER)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes files number 0 to `files`.
    pub(super) fn make(&self, files: u64) -> Outcome<()> {
        for number in 0..files {
            let name = Self::name(number);
            if number % TOGETHER == 0
                && let Some(folder) = self.path(&name).parent()
            {
                std::fs::create_dir_all(folder)?;
            }
            self.write(&name, 0)?;
        }
        Ok(())
    }

    /// Writes a version of a file in its place.
    pub(super) fn write(&self, name: &str, version: Version) -> Outcome<()> {
        Ok(std::fs::write(self.path(name), content(name, version))?)
    }

    /// The same by a file that takes its place, as most programs save.
    pub(super) fn replace(&self, name: &str, version: Version) -> Outcome<()> {
        let beside = self.path(name).with_extension("new");
        std::fs::write(&beside, content(name, version))?;
        Ok(std::fs::rename(&beside, self.path(name))?)
    }

    /// Writes a version of the same length and sets the time back, as `touch -r` does.
    pub(super) fn write_hidden(&self, name: &str, version: Version) -> Outcome<()> {
        let before = std::fs::metadata(self.path(name))?.modified()?;
        self.write(name, version)?;
        Ok(std::fs::File::options().write(true).open(self.path(name))?.set_modified(before)?)
    }

    pub(super) fn remove(&self, name: &str) -> Outcome<()> {
        Ok(std::fs::remove_file(self.path(name))?)
    }

    /// Copies all of it.
    pub(super) fn copy_to(&self, copy: &Path) -> Outcome<()> {
        self.visit(|name, path| {
            let to = copy.join(name);
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::copy(path, to)?;
            Ok(())
        })
    }

    /// Every name, and a hash of its bytes, times, mode and inode.
    pub(super) fn seen(&self) -> Outcome<BTreeMap<String, u64>> {
        let mut all = BTreeMap::new();
        self.visit(|name, path| {
            let found = std::fs::metadata(path)?;
            let mut hasher = DefaultHasher::new();
            std::fs::read(path)?.hash(&mut hasher);
            (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()).hash(&mut hasher);
            (found.ino(), found.mode(), found.nlink()).hash(&mut hasher);
            all.insert(name.to_owned(), hasher.finish());
            Ok(())
        })?;
        Ok(all)
    }

    /// Every name in it.
    pub(super) fn names(&self) -> Outcome<Vec<String>> {
        let mut all = Vec::new();
        self.visit(|name, _| {
            all.push(name.to_owned());
            Ok(())
        })?;
        all.sort_unstable();
        Ok(all)
    }

    fn visit(&self, mut each: impl FnMut(&str, &Path) -> Outcome<()>) -> Outcome<()> {
        let mut left = vec![self.root.clone()];
        while let Some(folder) = left.pop() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    left.push(entry.path());
                } else {
                    let path = entry.path();
                    let name = path.strip_prefix(&self.root)?.to_str().ok_or("names of the rig are UTF-8")?;
                    each(name, &path)?;
                }
            }
        }
        Ok(())
    }
}

/// How long a file is; the same in every version.
fn length(name: &str) -> usize {
    let hash = name.bytes().fold(7, |hash, byte| mix(hash ^ u64::from(byte)));
    if hash.is_multiple_of(LONG) { 600_000 + (hash % 1000) as usize } else { 1 + (hash >> 8) as usize % 8000 }
}

/// The bytes of a version: it stands in every line.
pub(super) fn content(name: &str, version: Version) -> Vec<u8> {
    let line = format!("{name} {version:010}\n");
    let mut bytes = line.repeat(length(name) / line.len() + 1).into_bytes();
    bytes.truncate(length(name).max(line.len()));
    bytes
}

/// Which version of a file these bytes are; none where they are a mixture or something else.
pub(super) fn version_of(name: &str, bytes: &[u8]) -> Option<Version> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let version = std::str::from_utf8(line).ok()?.strip_prefix(name)?.trim().parse().ok()?;
    (content(name, version) == bytes).then_some(version)
}

/// A file's number, by chance.
pub(super) fn some(random: &mut Random, files: u64) -> String {
    Tree::name(random.below(files))
}
