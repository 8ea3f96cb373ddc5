//! Assimilation: what others put into a silo becomes objects, by metadata alone. The bytes stay where and as they are.
//!
//! A *root* is a part of a silo that is taken over into a bucket. Its first pass makes an object of each name; later passes
//! compare what is there with what is known. Until the first pass is over, a key that is asked for is looked for in the silo,
//! and a list of what was not passed yet waits, or is refused: half a list is how copies get deleted.
//!
//! **Who wins.** A key that was written or deleted through S3 follows its name no more. Otherwise a name that changed makes a
//! new version, and a name that is gone takes its object with it, unless the object's bytes were moved away before.
//! Objects are taken away by a pass that saw everything but what it could not look at, or after two looks at a name that was told to be gone; not many at
//! once, by both together, unless somebody confirms.

use holdall_silos::holdings::Held;
use serde::{Deserialize, Serialize};

use crate::bucket::Bucket;
use crate::clock::UnixMs;
use crate::fault::Fault;
use crate::limits::{MAX_OBJECT, RESCAN_AT_MOST, WITHOUT_AT_MOST};
use crate::name::{BucketName, ObjectKey};
use crate::table::roots::RootId;

mod dirty;
mod fill;
mod find;
mod follow;
mod gauge;
mod hash;
mod known;
mod merge;
mod pass;
mod queue;
mod root;
mod same;
mod take;
mod tell;
mod touch;
mod turns;
mod watch;

pub(crate) use find::{Looking, Sought, held};
pub(crate) use follow::OddBlock;
pub use gauge::RootGauge;
pub use hash::Hashed;
pub(crate) use hash::hash_reads;
pub use queue::Notifications;
pub(crate) use take::settled;
pub use tell::Told;

/// What is to be taken over, and into what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assimilate {
    /// The silo's name.
    pub silo: String,
    /// Names start with this.
    #[serde(default)]
    pub prefix: String,
    /// The bucket.
    pub bucket: BucketName,
    /// Keys start with this, in place of `prefix`.
    #[serde(default)]
    pub into: String,
    /// Lists show what was found so far, instead of waiting.
    #[serde(default)]
    pub partial_lists: bool,
    /// How long after a pass the next one begins, seconds.
    #[serde(default = "usual_interval")]
    pub every_seconds: u64,
    /// What others change is looked at when it happens, where the silo shows it.
    #[serde(default = "yes")]
    pub watch: bool,
    /// What S3 writes and deletes reaches the silo.
    #[serde(default)]
    pub write: bool,
    /// Names that start with one of these are left out: nothing is made of them, and what was made stays as it is.
    #[serde(default)]
    pub without: Vec<String>,
    /// A pass goes on by so many names a second at most; none is as fast as it goes.
    #[serde(default)]
    pub rate: Option<u64>,
}

/// What of an order may be changed later; what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reorder {
    /// See [`Assimilate::every_seconds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u64>,
    /// See [`Assimilate::partial_lists`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial_lists: Option<bool>,
    /// See [`Assimilate::watch`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<bool>,
    /// See [`Assimilate::without`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without: Option<Vec<String>>,
    /// See [`Assimilate::rate`]; 0 is as fast as it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u64>,
}

fn yes() -> bool {
    true
}

fn usual_interval() -> u64 {
    crate::limits::RESCAN.as_secs()
}

/// A root as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootInfo {
    /// Its number.
    pub id: RootId,
    /// What it was asked to be.
    pub order: Assimilate,
    /// When.
    pub created: UnixMs,
    /// Every name was seen at least once.
    pub complete: bool,
    /// Headers and metadata of all its objects are there; before that nothing of it moves.
    pub filled: bool,
    /// How far the first pass came: names up to here were seen.
    pub at: String,
    /// What starts with one of these was seen before the first pass came there.
    pub seen: Vec<String>,
    /// What was never looked at, so that lists wait for it: names, or with `/` at the end all names below.
    pub unread: Vec<Noted>,
    /// What the last pass could not look at.
    #[serde(default)]
    pub unlooked: Vec<Noted>,
    /// Passes that came to their end.
    pub passes: u64,
    /// When the last pass ended.
    pub passed: Option<UnixMs>,
    /// Of the pass under way, or the last one.
    pub counts: Counts,
    /// Why the last pass broke off, or what waits for somebody.
    pub problem: Option<String>,
    /// Names that are gone, and wait for somebody to confirm it.
    pub gone: u64,
    /// So many somebody confirmed: the next pass that finds no more takes them away.
    pub confirmed: u64,
    /// What the last time that headers were asked for left; none where they were not asked for yet.
    #[serde(default)]
    pub unfilled: Option<Unfilled>,
    /// How often objects began to be made whose headers are asked for later.
    #[serde(default = "often")]
    pub in_part: u64,
    /// Some of the names that the last pass saw: a silo that has none of them is another one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<String>,
}

/// Objects whose headers and metadata are still to be asked for: nothing of their root moves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfilled {
    /// How many.
    pub keys: u64,
    /// The first of them, and why.
    pub first: Option<Noted>,
}

/// Of a root that an earlier version made nobody counted.
fn often() -> u64 {
    1
}

/// How soon a change of a root is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// When it happens, but for what is told here.
    AtOnce(Option<String>),
    /// By the next pass, for this reason.
    ByPass(String),
}

impl std::fmt::Display for Changes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtOnce(None) => f.write_str("at once"),
            Self::AtOnce(Some(unseen)) => write!(f, "at once, elsewhere by the next pass: {unseen}"),
            Self::ByPass(reason) => write!(f, "by the next pass: {reason}"),
        }
    }
}

/// A name with a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// As UTF-8, where it is that.
    pub name: String,
    /// One sentence fragment.
    pub reason: String,
}

/// A name that is no object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// As UTF-8, where it is that.
    pub name: String,
    /// One sentence fragment.
    pub reason: String,
    /// The name's bytes, in hex: what the next page comes after.
    pub at: String,
}

/// What a pass found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Names that can be read.
    pub names: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects made of names that were new.
    pub made: u64,
    /// New versions of names that changed.
    pub changed: u64,
    /// Objects taken away with their names.
    pub removed: u64,
    /// Names that are no object.
    pub refused: u64,
    /// Names, or folders, that could not be looked at.
    pub unread: u64,
}

/// What a dry run says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey {
    /// Names that can be read.
    pub names: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first that are no objects, and why.
    pub refused: Vec<Noted>,
    /// That was all of it; otherwise there is more.
    pub complete: bool,
}

/// Why an order was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssimilateError {
    /// No silo of that name.
    #[error("no silo `{0}`")]
    NoSuchSilo(String),
    /// No bucket of that name.
    #[error("no bucket `{0}`")]
    NoSuchBucket(String),
    /// No such root.
    #[error("no root {0}")]
    NoSuchRoot(RootId),
    /// The silo is ours: what lies in it are objects already.
    #[error(
        "silo `{0}` is Holdall's own: only a silo with `--access read-only` or `read-write` is taken over in place"
    )]
    Own(String),
    /// The silo is not to be written to.
    #[error("silo `{0}` is read-only: only one with `--access read-write` is taken over read-write")]
    ReadOnly(String),
    /// Something is on its way into the tree, or out of it.
    #[error("{count} files are on their way into the tree of root {id} or out of it: try again in a moment")]
    UnderWay {
        /// The root.
        id: RootId,
        /// How many.
        count: usize,
    },
    /// The same names, or the same keys, are another root's already.
    #[error("{what} overlaps root {other}: {order}")]
    Overlaps {
        /// `nas:photos/` or `s3://bucket/prefix`
        what: String,
        /// The root.
        other: RootId,
        /// What it is.
        order: Box<Assimilate>,
    },
    /// The order makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl std::fmt::Display for Assimilate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { silo, prefix, bucket, into, write, without, .. } = self;
        let how = if *write { ", read-write" } else { "" };
        write!(f, "{silo}:{prefix} into s3://{bucket}/{into}{how}")?;
        without.iter().try_for_each(|left_out| write!(f, ", without {left_out}"))
    }
}

impl Assimilate {
    /// The key of a name, or why it is none.
    pub(crate) fn key_of(&self, name: &[u8]) -> Result<ObjectKey, String> {
        let name = std::str::from_utf8(name).map_err(|_| "the name is not UTF-8".to_owned())?;
        let rest = name.strip_prefix(&self.prefix).ok_or_else(|| "the name lies elsewhere".to_owned())?;
        format!("{}{rest}", self.into).parse().map_err(|error| format!("the name is no key: {error}"))
    }

    /// The key of what is held, or why it is no object.
    fn key_for(&self, held: &Held) -> Result<ObjectKey, String> {
        if held.size > MAX_OBJECT { Err("larger than S3's 5 TiB".to_owned()) } else { self.key_of(&held.name) }
    }

    /// The name that a key would come from, or the prefix of names that a prefix of keys would.
    pub(crate) fn name_of(&self, key: &str) -> Option<String> {
        key.strip_prefix(&self.into).map(|rest| format!("{}{rest}", self.prefix))
    }
}

impl Assimilate {
    /// Whether a name is left out.
    fn leaves_out(&self, name: &[u8]) -> bool {
        let is = |left_out: &String| {
            if left_out.ends_with('/') { name.starts_with(left_out.as_bytes()) } else { name == left_out.as_bytes() }
        };
        self.without.iter().any(is)
    }

    /// Whether it can be followed so; otherwise why not.
    fn check(&self) -> Result<(), AssimilateError> {
        let invalid = |reason: &str| Err(AssimilateError::Invalid(reason.to_owned()));
        if !(1..=RESCAN_AT_MOST).contains(&self.every_seconds) {
            return invalid("between two passes is a second at least, and at most a year");
        }
        if self.rate == Some(0) {
            return invalid("a pass goes on by a name a second at least");
        }
        if self.without.len() > WITHOUT_AT_MOST {
            return Err(AssimilateError::Invalid(format!("a root leaves out {WITHOUT_AT_MOST} folders at most")));
        }
        if self.write && !self.without.is_empty() {
            return invalid("of a root that is read-write nothing is left out: its keys and files follow each other");
        }
        let within = |left_out: &String| left_out.len() > self.prefix.len() && left_out.starts_with(&self.prefix);
        match self.without.iter().find(|left_out| !within(left_out)) {
            Some(left_out) => {
                Err(AssimilateError::Invalid(format!("`{left_out}` is no part of `{}:{}`", self.silo, self.prefix)))
            }
            None => Ok(()),
        }
    }
}

impl RootInfo {
    /// A pass by this order came to its end, but for these names.
    fn passed_but_for(&mut self, unread: &[Noted], order: &Assimilate) {
        if self.order != *order {
            // It did not look where one is to look now.
            let new = unread.iter().filter(|now| !self.unread.iter().any(|old| old.name == now.name));
            let new: Vec<Noted> = new.cloned().collect();
            self.unread.extend(new);
        } else if self.complete {
            // Within a folder that was shut another one may be that nobody ever saw.
            let meet = |old: &Noted, now: &Noted| now.name.starts_with(&old.name) || old.name.starts_with(&now.name);
            let before = std::mem::take(&mut self.unread);
            self.unread = unread.iter().filter(|now| before.iter().any(|old| meet(old, now))).cloned().collect();
        } else {
            self.unread = unread.to_vec();
        }
        self.complete = true;
    }

    /// Whether a name was seen, if it was there.
    fn has_seen(&self, name: &str) -> bool {
        let unread = self.unread.iter().any(|unread| name.starts_with(&unread.name));
        let passed = self.complete || (!self.at.is_empty() && name <= self.at.as_str());
        let left_out = self.order.leaves_out(name.as_bytes());
        left_out || (passed && !unread) || self.seen.iter().any(|prefix| name.starts_with(prefix))
    }

    /// What of the names that start with `prefix` was never looked at.
    fn unseen(&self, prefix: &str) -> Option<&Noted> {
        let overlaps = |unread: &&Noted| unread.name.starts_with(prefix) || prefix.starts_with(&unread.name);
        let wanted = |unread: &&Noted| !self.order.leaves_out(unread.name.as_bytes());
        self.unread.iter().filter(overlaps).find(wanted)
    }

    /// Whether all names that start with `prefix` were.
    fn has_seen_all(&self, prefix: &str) -> bool {
        let passed = self.complete || (self.at.as_str() >= prefix && !self.at.starts_with(prefix));
        let seen = |seen: &String| prefix.starts_with(seen);
        let left_out = self.order.leaves_out(prefix.as_bytes());
        left_out || (passed && self.unseen(prefix).is_none()) || self.seen.iter().any(seen)
    }

    /// Why a list of names that start with `prefix` is refused.
    fn why_unseen(&self, prefix: &str) -> String {
        let Self { id, order, counts, .. } = self;
        match self.unseen(prefix) {
            Some(Noted { name, reason }) => {
                let why = format!("{order} is not listed completely: `{name}` cannot be looked at ({reason})");
                if order.write || name.is_empty() {
                    return why;
                }
                let without = order.without.iter().chain([name]).map(|name| format!(" --without '{name}'"));
                let without: String = without.collect();
                format!("{why}; `holdall assimilate set {id}{without}` leaves it out")
            }
            None => format!("{order} is not listed completely yet: {} names were seen", counts.names),
        }
    }

    /// What a list of a bucket's keys under `prefix` needs of this root; none where it has nothing to do with it.
    fn concerned(&self, bucket: &Bucket, prefix: &str) -> Option<String> {
        let Assimilate { into, prefix: names, .. } = &self.order;
        if bucket.name != self.order.bucket || self.order.partial_lists {
            return None;
        }
        if into.starts_with(prefix) { Some(names.clone()) } else { self.order.name_of(prefix) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(at: &str, seen: &[&str], unread: &[&str]) -> RootInfo {
        let order = Assimilate {
            silo: "nas".to_owned(),
            prefix: "in/".to_owned(),
            bucket: "photos".parse().unwrap(),
            into: "out/".to_owned(),
            partial_lists: false,
            every_seconds: 1,
            watch: true,
            write: false,
            without: Vec::new(),
            rate: None,
        };
        let noted = |name: &&str| Noted { name: (*name).to_owned(), reason: String::new() };
        RootInfo {
            at: at.to_owned(),
            seen: seen.iter().map(|prefix| (*prefix).to_owned()).collect(),
            unread: unread.iter().map(noted).collect(),
            ..RootInfo::new(1, order, 0)
        }
    }

    /// A folder was opened, and one within it was still shut: lists came without that for ever.
    #[test]
    fn what_was_never_seen_stays_unread() {
        let noted = |names: &[&str]| -> Vec<Noted> {
            let noted = |name: &&str| Noted { name: (*name).to_owned(), reason: "shut".to_owned() };
            names.iter().map(noted).collect()
        };
        let names = |info: &RootInfo| info.unread.iter().map(|unread| unread.name.clone()).collect::<Vec<_>>();
        let mut root = info("", &[], &[]);
        let order = root.order.clone();
        root.passed_but_for(&noted(&["in/a/"]), &order);
        assert_eq!((names(&root), root.complete), (vec!["in/a/".to_owned()], true));
        root.passed_but_for(&noted(&["in/a/b/", "in/z/"]), &order);
        assert_eq!(names(&root), ["in/a/b/"], "what was seen once stays seen");
        root.passed_but_for(&noted(&["in/"]), &order);
        assert_eq!(names(&root), ["in/"]);
        let before = Assimilate { every_seconds: 2, ..order.clone() };
        root.passed_but_for(&noted(&[]), &before);
        assert_eq!(names(&root), ["in/"], "a pass by an order of before says nothing of it");
        root.passed_but_for(&noted(&[]), &order);
        assert_eq!(names(&root), [""; 0]);
    }

    #[test]
    fn names_and_keys_are_each_others() {
        let order = info("", &[], &[]).order;
        assert_eq!(order.key_of(b"in/a/b").unwrap().as_str(), "out/a/b");
        assert_eq!(order.name_of("out/a/b").as_deref(), Some("in/a/b"));
        assert_eq!(order.name_of("a/b"), None);
        assert_eq!(order.key_of(b"in/caf\xe9").unwrap_err(), "the name is not UTF-8");
        assert!(order.key_of(&[b"in/".as_slice(), &[b'x'; 1100]].concat()).is_err());
    }

    #[test]
    fn what_was_passed_was_seen() {
        let info = info("in/m/5", &["in/z/"], &[]);
        for (name, seen) in [("in/a", true), ("in/m/5", true), ("in/m/6", false), ("in/z/1", true), ("in/z", false)] {
            assert_eq!(info.has_seen(name), seen, "{name}");
        }
        for (prefix, seen) in
            [("in/a/", true), ("in/m/", false), ("in/m/4", true), ("in/", false), ("in/z/", true), ("in/z/y", true)]
        {
            assert_eq!(info.has_seen_all(prefix), seen, "{prefix}");
        }
    }

    /// Before anything was passed, nothing was seen: an empty position is no position.
    #[test]
    fn nothing_was_seen_before_the_first_page() {
        let info = info("", &[], &[]);
        assert!(!info.has_seen("") && !info.has_seen_all("") && !info.has_seen_all("in/"));
    }

    #[test]
    fn what_could_not_be_looked_at_was_not_seen() {
        let info = RootInfo { complete: true, ..info("", &[], &["in/locked/"]) };
        assert!(info.has_seen("in/a") && !info.has_seen("in/locked/a"));
        assert!(info.has_seen_all("in/a") && !info.has_seen_all("in/") && !info.has_seen_all("in/locked/deep/"));
    }

    /// One folder that nobody may open kept every list above it waiting, for ever.
    #[test]
    fn what_is_left_out_is_not_waited_for() {
        let mut info = RootInfo { complete: true, ..info("", &[], &["in/locked/", "in/shut/"]) };
        info.order.without = vec!["in/locked/".to_owned()];
        assert!(
            info.has_seen("in/locked/a") && info.has_seen_all("in/locked/") && info.has_seen_all("in/locked/deep/")
        );
        assert!(!info.has_seen("in/shut/a") && !info.has_seen_all("in/"));
        assert_eq!(info.unseen("in/").map(|noted| &*noted.name), Some("in/shut/"));
        info.order.without.push("in/shut/".to_owned());
        assert!(info.has_seen_all("in/") && info.order.check().is_ok());
        for wrong in ["", "in/", "other/"] {
            let order = Assimilate { without: vec![wrong.to_owned()], ..info.order.clone() };
            assert!(order.check().is_err(), "{wrong}");
        }
        assert!(Assimilate { write: true, ..info.order }.check().is_err());
    }

    #[test]
    fn a_list_is_concerned_with_what_it_shows() {
        let bucket =
            |name: &str| Bucket { name: name.parse().unwrap(), incarnation: 1, owner: 1, created: 0, tags: Vec::new() };
        let info = info("", &[], &[]);
        let concerned = |name: &str, prefix: &str| info.concerned(&bucket(name), prefix);
        assert_eq!(concerned("photos", "").as_deref(), Some("in/"));
        assert_eq!(concerned("photos", "out/a").as_deref(), Some("in/a"));
        assert_eq!(concerned("photos", "ou").as_deref(), Some("in/"));
        assert_eq!(concerned("photos", "other/"), None);
        assert_eq!(concerned("others", ""), None);
    }
}
