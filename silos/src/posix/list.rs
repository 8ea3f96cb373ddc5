//! A page of a tree's names. An empty page costs no more than a full one, and means the end.

use std::os::fd::OwnedFd;

use rustix::fs::FileType;

use crate::error::SiloError;
use crate::limits::MAX_DEPTH;
use crate::posix::errno;
use crate::posix::walk::{Item, Walk, Way};
use crate::silo::Listed;

/// What a page is asked for.
pub(crate) struct Page<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) after: Option<&'a str>,
    pub(crate) limit: usize,
}

/// Lists one page. May block.
pub(crate) fn list(blobs: &OwnedFd, page: &Page<'_>) -> Result<Vec<Listed>, SiloError> {
    let way =
        Way { prefix: page.prefix.into(), after: page.after.map(Into::into), deepest: MAX_DEPTH, at_once: page.limit };
    let mut walk = Walk::new(blobs, way).map_err(|e| errno::reading("listing a folder", e))?;
    let mut found = Vec::new();
    while found.len() < page.limit {
        match walk.next() {
            None => break,
            Some(Item::Name(name, stat)) => {
                let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                let stored = if plain { stat.st_size as u64 } else { 0 };
                found.push(Listed { name: String::from_utf8_lossy(&name).into_owned(), stored });
            }
            Some(Item::TooDeep(_)) => {}
            Some(Item::Unread(_, e)) => return Err(errno::reading("looking at a listed name", e)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;
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
