//! Listing a tree of folders as one sorted run of names.
//!
//! A page costs the folders it touches, never the whole tree. Nothing is followed and nothing is opened but folders:
//! links, pipes and devices that somebody left here are names like others.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::SiloError;
use crate::limits::MAX_DEPTH;
use crate::posix::errno;
use crate::silo::Listed;

/// What a page is asked for.
pub(crate) struct Page<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: usize,
}

/// An entry of a folder, by its path below the blobs' folder. A folder's path ends in `/`, which is where it sorts.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    path: String,
    raw: std::ffi::CString,
}

/// Lists one page. May block.
pub(crate) fn list(blobs: &OwnedFd, page: &Page<'_>) -> Result<Vec<Listed>, SiloError> {
    let mut found = Vec::new();
    walk(blobs, "", page, 0, &mut found)?;
    Ok(found)
}

fn walk(dir: &OwnedFd, base: &str, page: &Page<'_>, depth: usize, found: &mut Vec<Listed>) -> Result<(), SiloError> {
    let mut beyond: Option<Entry> = None;
    loop {
        let (entries, more) = least(dir, base, page, beyond.as_ref())?;
        for entry in &entries {
            if found.len() == page.limit {
                return Ok(());
            }
            visit(dir, entry, page, depth, found)?;
        }
        match entries.into_iter().next_back() {
            Some(last) if more => beyond = Some(last),
            _ => return Ok(()),
        }
    }
}

fn visit(
    dir: &OwnedFd,
    entry: &Entry,
    page: &Page<'_>,
    depth: usize,
    found: &mut Vec<Listed>,
) -> Result<(), SiloError> {
    if entry.path.ends_with('/') {
        return match open_entry(dir, &entry.raw) {
            Ok(_) if depth == MAX_DEPTH => Ok(()),
            Ok(folder) => walk(&folder, &entry.path, page, depth + 1, found),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(e) => Err(errno::reading("listing a folder", e)),
        };
    }
    match fs::statat(dir, &*entry.raw, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => {
            let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let stored = if plain { stat.st_size as u64 } else { 0 };
            found.push(Listed { name: entry.path.clone(), stored });
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(errno::reading("looking at a listed name", e)),
    }
}

/// The least entries of a folder that can matter to a page and come beyond one, in order, and whether there are more.
fn least(dir: &OwnedFd, base: &str, page: &Page<'_>, beyond: Option<&Entry>) -> Result<(Vec<Entry>, bool), SiloError> {
    let failed = |e| errno::reading("listing a folder", e);
    let mut entries: Vec<Entry> = Vec::new();
    let mut more = false;
    for item in Dir::read_from(dir).map_err(failed)? {
        let item = item.map_err(failed)?;
        let name = item.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let folder = is_folder(dir, name, item.file_type());
        let slash = if folder { "/" } else { "" };
        let path = format!("{base}{}{slash}", name.to_string_lossy());
        if !matters(&path, folder, page) {
            continue;
        }
        let entry = Entry { path, raw: name.to_owned() };
        if beyond.is_some_and(|beyond| entry <= *beyond) {
            continue;
        }
        entries.push(entry);
        if entries.len() > 2 * page.limit + 2 {
            entries.select_nth_unstable(page.limit);
            entries.truncate(page.limit);
            more = true;
        }
    }
    entries.sort_unstable();
    if entries.len() > page.limit {
        entries.truncate(page.limit);
        more = true;
    }
    Ok((entries, more))
}

/// Some file systems do not tell in the listing itself.
fn is_folder(dir: &OwnedFd, name: &CStr, told: FileType) -> bool {
    match told {
        FileType::Unknown => fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
        told => told == FileType::Directory,
    }
}

/// Whether a file, or anything below a folder, has the prefix and comes after what the page is after.
fn matters(path: &str, folder: bool, page: &Page<'_>) -> bool {
    let has_prefix = path.starts_with(page.prefix) || (folder && page.prefix.starts_with(path));
    has_prefix && page.after.is_none_or(|after| path > after || (folder && after.starts_with(path)))
}

fn open_entry(dir: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(dir, name, flags, Mode::empty(), beneath)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tree(files: &[&str]) -> (tempfile::TempDir, OwnedFd) {
        let at = tempfile::tempdir().unwrap();
        for file in files {
            let path = at.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, file).unwrap();
        }
        let dir = open_dir(at.path());
        (at, dir)
    }

    fn open_dir(path: &Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    fn names(dir: &OwnedFd, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        list(dir, &Page { prefix, after, limit }).unwrap().into_iter().map(|listed| listed.name).collect()
    }

    /// Page after page, whatever its length, must give what one sort of all names gives: a folder `a` sorts as `a/`,
    /// which is behind `a-b` and before `a0`.
    #[test]
    fn pages_of_any_length_give_every_name_once_in_byte_order() {
        let mut all = ["a-b", "a/1", "a/2/x", "a/2-", "a0", "b/c/d/e", "b/c/d0", "b/c-", "é/ü", "z", "empty/not/x"];
        let (at, dir) = tree(&all);
        std::fs::create_dir_all(at.path().join("hollow/inside")).unwrap();
        all.sort_unstable();
        for limit in 1..=all.len() + 1 {
            let mut got = Vec::new();
            loop {
                let page = names(&dir, "", got.last().map(String::as_str), limit);
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= limit);
                got.extend(page);
            }
            assert_eq!(got, all, "pages of {limit}");
        }
    }

    /// Many empty folders before the only file: a page that stopped after so many entries would come out empty, and
    /// an empty page means the end.
    #[test]
    fn empty_folders_do_not_end_a_listing() {
        let (at, dir) = tree(&["z/file"]);
        for number in 0..50 {
            std::fs::create_dir(at.path().join(format!("a{number:02}"))).unwrap();
        }
        assert_eq!(names(&dir, "", None, 2), ["z/file"]);
    }

    #[test]
    fn a_prefix_may_end_anywhere() {
        let (_at, dir) = tree(&["ab/cd/1", "ab/cd/2", "ab/ce/3", "ac/4"]);
        assert_eq!(names(&dir, "ab/c", None, 9), ["ab/cd/1", "ab/cd/2", "ab/ce/3"]);
        assert_eq!(names(&dir, "ab/cd/", Some("ab/cd/1"), 9), ["ab/cd/2"]);
        assert_eq!(names(&dir, "a", Some("ab/cd/2"), 9), ["ab/ce/3", "ac/4"]);
        assert_eq!(names(&dir, "x", None, 9), Vec::<String>::new());
        assert_eq!(names(&dir, "ab", Some("ac"), 9), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_file_is_listed_and_never_followed() {
        let (at, dir) = tree(&["f/1"]);
        std::os::unix::fs::symlink("/", at.path().join("link")).unwrap();
        std::os::unix::fs::symlink("..", at.path().join("f/up")).unwrap();
        rustix::fs::mknodat(&dir, "pipe", FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(names(&dir, "", None, 9), ["f/1", "f/up", "link", "pipe"]);
    }
}
