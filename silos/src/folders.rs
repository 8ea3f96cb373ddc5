//! Walking folders that somebody lists for us, each whole, as one sorted run of names.
//!
//! A folder `a` stands where its names do: as `a/`, behind `a-b` and before `a0`.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::SiloError;
use crate::holdings::{self, Found, Held};
use crate::limits::{FOLDERS_A_STEP, FOREIGN_DEPTH};
use crate::span;
use crate::web::{is_ours, nearest};

/// Whoever lists folders.
#[async_trait]
pub(crate) trait Folders: Send + Sync + 'static {
    /// What is said of a file.
    type File: Send;

    /// Everything in a folder, in any order; its path is empty or ends in a slash. `Missing` where there is none.
    async fn entries(&self, folder: &str) -> Result<Vec<Entry<Self::File>>, SiloError>;
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<F> {
    /// One segment of a path, without a slash.
    pub(crate) name: String,
    pub(crate) what: What<F>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What<F> {
    Folder,
    File(F),
    /// Something that never can be read: why, in one sentence fragment.
    Refused(String),
}

/// One step of a walk: a path, below where the walk began.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<F> {
    File(String, F),
    Refused(String, String),
    /// A folder, its path with `/` at its end, that could not be listed this time.
    Unread(String, SiloError),
}

/// A walk under way.
pub(crate) struct Walk<L: Folders> {
    folders: Arc<L>,
    prefix: String,
    after: Option<String>,
    /// The folder that every path with the prefix lies in, until it was listed.
    first: Option<String>,
    /// Of each folder that is walked, what is left of it, by its path.
    levels: Vec<VecDeque<(String, What<L::File>)>>,
}

impl<L: Folders> Walk<L> {
    /// A walk of the names that begin with `prefix` and come after `after`.
    pub(crate) fn new(folders: Arc<L>, prefix: &str, after: Option<&str>) -> Self {
        let first = prefix[..prefix.rfind('/').map_or(0, |slash| slash + 1)].to_owned();
        // No path has such a segment, and some servers would take it for another folder.
        let first = first.split('/').rev().skip(1).all(is_segment).then_some(first);
        Self { folders, prefix: prefix.to_owned(), after: after.map(str::to_owned), first, levels: Vec::new() }
    }

    /// At most `limit` steps more, as many as come of a few listings; none at the end.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Vec<Step<L::File>>, SiloError> {
        if let Some(first) = self.first.take() {
            match self.list(&first).await {
                // The root itself has to be there.
                Err(SiloError::Missing) if !first.is_empty() => self.folders.entries("").await.map(drop)?,
                listed => listed?,
            }
        }
        let (mut steps, mut listings) = (Vec::new(), 0);
        while steps.len() < limit && (steps.is_empty() || listings < FOLDERS_A_STEP) {
            let Some(level) = self.levels.last_mut() else { break };
            match level.pop_front() {
                None => drop(self.levels.pop()),
                Some((path, What::File(file))) => steps.push(Step::File(path, file)),
                Some((path, What::Refused(reason))) => steps.push(Step::Refused(path, reason)),
                Some((path, What::Folder)) if path.bytes().filter(|byte| *byte == b'/').count() > FOREIGN_DEPTH => {
                    steps.push(Step::Refused(path, format!("more than {FOREIGN_DEPTH} folders deep")));
                }
                Some((path, What::Folder)) => {
                    listings += 1;
                    match self.list(&path).await {
                        // Gone meanwhile.
                        Ok(()) | Err(SiloError::Missing) => {}
                        Err(error) => steps.push(Step::Unread(path, error)),
                    }
                }
            }
        }
        Ok(steps)
    }

    /// Lists a folder, to go on with what is wanted of it.
    async fn list(&mut self, folder: &str) -> Result<(), SiloError> {
        let mut level = Vec::new();
        for Entry { name, what } in self.folders.entries(folder).await? {
            let slash = if matches!(what, What::Folder) { "/" } else { "" };
            let path = format!("{folder}{name}{slash}");
            if is_segment(&name) && self.wants(&path) {
                level.push((path, what));
            }
        }
        level.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        level.dedup_by(|(one, _), (other, _)| one == other);
        self.levels.push(level.into());
        Ok(())
    }

    /// Whether a path, or one below it where it is a folder's, belongs to the walk.
    fn wants(&self, path: &str) -> bool {
        let folder = path.ends_with('/');
        let fits = path.starts_with(&self.prefix) || folder && self.prefix.starts_with(path);
        let after = self.after.as_deref();
        fits && after.is_none_or(|after| path > after || folder && after.starts_with(path))
    }
}

/// A walk of what others keep in folders, where a listing says of each file what it is.
pub(crate) struct HeldWalk<L: Folders<File = Held>> {
    walk: Walk<L>,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
}

impl<L: Folders<File = Held>> HeldWalk<L> {
    /// A walk of the names that begin with `prefix` and come after `after`, byte for byte.
    pub(crate) fn new(folders: Arc<L>, prefix: &[u8], after: Option<&[u8]>) -> Self {
        let walk = Walk::new(folders, nearest(prefix), after.map(nearest));
        Self { walk, prefix: prefix.to_owned(), after: after.map(<[u8]>::to_owned) }
    }

    fn wants(&self, name: &[u8]) -> bool {
        let after = self.after.as_deref();
        name.starts_with(&self.prefix) && after.is_none_or(|after| name > after) && !is_ours(name)
    }
}

#[async_trait]
impl<L: Folders<File = Held>> holdings::Walk for HeldWalk<L> {
    async fn next(&mut self, limit: usize) -> Result<Vec<Found>, SiloError> {
        loop {
            let steps = self.walk.next(span::page(limit).max(1)).await?;
            if steps.is_empty() {
                return Ok(Vec::new());
            }
            let found = steps.into_iter().map(|step| match step {
                Step::File(_, held) => Found::Held(held),
                Step::Refused(name, reason) => Found::Refused { name: name.into(), reason },
                Step::Unread(name, error) => Found::Unread { name: name.into(), reason: error.to_string() },
            });
            let whole = |found: &Found| matches!(found, Found::Unread { .. });
            let found: Vec<_> = found.filter(|found| whole(found) || self.wants(found.name())).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// Whether segments make a path that leads down, and nowhere else.
pub(crate) fn is_path(name: &str) -> bool {
    name.split('/').all(is_segment)
}

/// Whether a folder can have an entry of this name.
pub(crate) fn is_segment(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains(['/', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Folders as their paths say.
    struct Tree(Vec<&'static str>);

    #[async_trait]
    impl Folders for Tree {
        type File = ();

        async fn entries(&self, folder: &str) -> Result<Vec<Entry<()>>, SiloError> {
            let below: Vec<_> = self.0.iter().filter_map(|path| path.strip_prefix(folder)).collect();
            if below.is_empty() && !folder.is_empty() {
                return Err(SiloError::Missing);
            }
            if below.contains(&"closed") {
                return Err(SiloError::not_done("closed"));
            }
            let entry = |rest: &str| match rest.split_once('/') {
                Some((name, _)) => Entry { name: name.to_owned(), what: What::Folder },
                None => Entry { name: rest.to_owned(), what: What::File(()) },
            };
            Ok(below.into_iter().rev().map(entry).collect())
        }
    }

    async fn walked(paths: &[&'static str], prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        let mut walk = Walk::new(Arc::new(Tree(paths.to_vec())), prefix, after);
        let mut all = Vec::new();
        loop {
            let steps = walk.next(limit).await.unwrap();
            if steps.is_empty() {
                return all;
            }
            assert!(steps.len() <= limit);
            all.extend(steps.into_iter().map(|step| match step {
                Step::File(path, ()) => path,
                Step::Refused(path, _) | Step::Unread(path, _) => format!("{path}!"),
            }));
        }
    }

    const PATHS: [&str; 9] = ["a-b", "a/1", "a/2-", "a/2/x", "a0", "b/c-", "b/c/d/e", "b/c0", "é/ü"];

    proptest! {
        #[test]
        fn names_come_once_in_the_order_of_bytes(
            prefix in "(a|b|é)?(/c?)?",
            after in prop::option::of("(a|b|é)(-|/|0)?[a-e0-3]?"),
            limit in 1usize..12,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let seen = runtime.block_on(walked(&PATHS, &prefix, after.as_deref(), limit));
            let fits = |path: &&&str| path.starts_with(&prefix) && after.as_deref().is_none_or(|after| **path > after);
            let wanted: Vec<_> = PATHS.iter().filter(fits).map(|path| (*path).to_owned()).collect();
            prop_assert_eq!(seen, wanted);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_listed_is_told_and_the_rest_is_walked() {
        assert_eq!(walked(&["a/closed", "b"], "", None, 9).await, ["a/!", "b"]);
        assert_eq!(walked(&["b"], "none/", None, 9).await, Vec::<String>::new());
        for prefix in ["../", "a//", "a/./b"] {
            assert_eq!(walked(&["a/1"], prefix, None, 9).await, Vec::<String>::new(), "{prefix}");
        }
        let mut closed = Walk::new(Arc::new(Tree(vec!["closed"])), "none/x", None);
        assert!(closed.next(9).await.is_err(), "a root that cannot be listed is not empty");
    }

    #[tokio::test]
    async fn folders_are_walked_to_a_depth() {
        let deep: &'static str = format!("{}x", "d/".repeat(FOREIGN_DEPTH + 1)).leak();
        let seen = walked(&[deep, "e"], "", None, 9).await;
        assert_eq!(seen, [format!("{}!", "d/".repeat(FOREIGN_DEPTH + 1)), "e".to_owned()]);
    }
}
