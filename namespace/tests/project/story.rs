//! What S3 and others did to the names of one tree, and the order rule that the tree must keep at rest.
//!
//! Every content is unique, and S3 writes and deletes only what it has just read (`If-Match`), so that whatever a content
//! was replaced by is known. Others note what they replaced themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Deterministic, and printed with whatever it finds.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// Who wrote a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    S3,
    Others,
}

/// What is known of contents, and when they were written.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) clock: u64,
    /// By content: when, by whom, under which name.
    pub(crate) written: BTreeMap<String, (u64, By, String)>,
    /// Contents that somebody replaced or deleted who had seen them.
    pub(crate) over: BTreeSet<String>,
    /// The last thing that S3 did to a name, where that is known: when, and what it wrote.
    pub(crate) last: BTreeMap<String, (u64, Option<String>)>,
    /// When others deleted a name last.
    pub(crate) deleted: BTreeMap<String, u64>,
    /// What S3 was told that its contents are known by.
    pub(crate) tags: BTreeMap<String, String>,
}

impl Story {
    /// A content that nobody wrote before.
    pub(crate) fn content(&mut self, by: By, name: &str) -> String {
        self.clock += 1;
        let content = format!("{}{:05}", if by == By::S3 { "s" } else { "o" }, self.clock);
        self.written.insert(content.clone(), (self.clock, by, name.to_owned()));
        content
    }

    /// S3 was told that this content has the name, or that none has, in place of what it had read.
    pub(crate) fn s3_did(&mut self, name: &str, content: Option<(String, String)>, before: Option<String>) {
        self.clock += 1;
        self.over.extend(before);
        self.last.insert(name.to_owned(), (self.clock, content.as_ref().map(|(content, _)| content.clone())));
        self.tags.extend(content);
    }

    /// The answer was lost.
    #[allow(dead_code, reason = "only a gateway that is killed loses answers")]
    pub(crate) fn s3_may_have(&mut self, name: &str, before: Option<String>) {
        self.over.extend(before);
        self.last.remove(name);
    }

    /// Others do something to a name of the tree.
    pub(crate) fn others_act(&mut self, tree: &Path, dice: &mut Dice, name: &str) -> std::io::Result<()> {
        let path = tree.join(name);
        let before = fs::read_to_string(&path).ok();
        match dice.roll(6) {
            choice @ 0..3 => {
                let content = self.content(By::Others, name);
                fs::create_dir_all(path.parent().unwrap_or(tree))?;
                if choice == 0 {
                    fs::write(&path, content)?;
                } else {
                    let staged = tree.with_extension("staged");
                    fs::write(&staged, content)?;
                    fs::rename(staged, &path)?;
                }
            }
            3 => {
                // The same length, and the time set back: `touch -r`.
                let Ok(modified) = fs::metadata(&path).and_then(|meta| meta.modified()) else { return Ok(()) };
                let Ok(mut file) = fs::OpenOptions::new().write(true).open(&path) else { return Ok(()) };
                let content = self.content(By::Others, name);
                file.write_all(content.as_bytes())?;
                file.set_modified(modified)?;
            }
            4 => {
                let mode = 0o600 + (self.clock % 64) as u32;
                // Whose file is gone needs no mode.
                let _ = fs::set_permissions(&path, fs::Permissions::from_mode(mode));
                return Ok(());
            }
            _ => {
                if fs::remove_file(&path).is_err() {
                    return Ok(());
                }
                self.clock += 1;
                self.deleted.insert(name.to_owned(), self.clock);
            }
        }
        // What came there between the look and the act is not known, and counts as lost if it is.
        self.over.extend(before);
        Ok(())
    }

    /// What of the order rule a tree at rest breaks.
    pub(crate) fn breaks(&self, files: &BTreeMap<String, String>) -> Option<String> {
        let there: BTreeSet<&String> = files.values().collect();
        for (content, (at, by, name)) in &self.written {
            if *by == By::Others && !there.contains(content) && !self.over.contains(content) {
                return Some(format!("{content}, which others wrote to `{name}` at {at}, is lost: {files:?}"));
            }
        }
        for (name, (at, wrote)) in &self.last {
            let now = files.get(name);
            let later = |content: &String| self.written.get(content).is_some_and(|(when, ..)| when > at);
            let fits = match (wrote, now) {
                (Some(wrote), Some(now)) => now == wrote || later(now),
                (Some(_), None) => self.deleted.get(name).is_some_and(|when| when > at),
                (None, Some(now)) => later(now) || !self.over.contains(now),
                (None, None) => true,
            };
            if !fits {
                return Some(format!("S3 wrote {wrote:?} to `{name}` at {at}, and it is {now:?}: {:?}", self.deleted));
            }
        }
        let ours = |(name, content): &(&String, &String)| name.contains(".conflict-") && content.starts_with('s');
        files.iter().find(ours).map(|(name, content)| format!("our own {content} is kept as a conflict: `{name}`"))
    }
}

/// All files of a tree, its attempts left out.
pub(crate) fn files(tree: &Path) -> BTreeMap<String, String> {
    fn walk(folder: &Path, below: &str, all: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != ".holdall" => walk(&entry.path(), &format!("{name}/"), all),
                Ok(kind) if kind.is_file() => {
                    all.extend(fs::read_to_string(entry.path()).ok().map(|text| (name, text)));
                }
                _ => {}
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(tree, "", &mut all);
    all
}
