//! Labels: what people say of an object, beside the tags that whoever wrote it gave it. In the index alone: no silo is asked, and
//! what lies where others put it has them as well. Of a key, not of a version: they stay when it is written anew, go when it
//! is deleted, and no copy has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::assimilate::Sought;
use crate::bucket::Bucket;
use crate::engine::{self, Key, Priority, Read, Rows, Write};
use crate::fault::Fault;
use crate::job::next_page;
use crate::limits::{MAX_LABEL_NAME, MAX_LABEL_VALUE, MAX_LABELS};
use crate::list::read_name;
use crate::name::ObjectKey;
use crate::namespace::{Core, Namespace};
use crate::object::Pairs;
use crate::table::after_prefix;
use crate::table::labels::{labels_of, read, store};
use crate::table::objects::{NAME_AT, object, prefix};

/// What is to become of an object's labels: some go, then some are set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relabel {
    /// Those that go; what there is not is gone.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Those that are set, by name.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
}

/// Why an object was not labelled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// There is none.
    #[error("no object `{0}`")]
    NoSuchKey(String),
    /// It would have too many.
    #[error("`{0}` would have more than {MAX_LABELS} labels")]
    TooMany(String),
    /// A label that is none.
    #[error("{0}")]
    Invalid(String),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How far the labelling of many objects is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labelled {
    /// Objects that have the labels now.
    pub objects: u64,
    /// Of those, what had others before.
    pub changed: u64,
    /// Objects that would have had too many labels, and were left alone.
    pub refused: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub example: Option<String>,
}

/// The labelling of all objects under a prefix, under way.
pub struct Labelling {
    core: Arc<Core>,
    bucket: Bucket,
    relabel: Arc<Relabel>,
    dry_run: bool,
    prefix: Option<String>,
    at: Key,
    end: Key,
    done: Labelled,
}

/// What became of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Gone,
    TooMany,
    Same(Pairs),
    Changed(Pairs),
}

impl Relabel {
    /// Whether names and values are such that they can be asked for and shown.
    fn check(&self) -> Result<(), LabelError> {
        let bad = |text: &str, most: usize| text.chars().count() > most || text.chars().any(char::is_control);
        for name in self.set.keys().chain(&self.remove) {
            if name.is_empty() || bad(name, MAX_LABEL_NAME) || name.contains('=') {
                let name = name.escape_debug();
                let why =
                    format!("a label's name has 1 to {MAX_LABEL_NAME} characters, no `=` and none that is not shown");
                return Err(LabelError::Invalid(format!("`{name}`: {why}")));
            }
        }
        if let Some((name, _)) = self.set.iter().find(|(_, value)| bad(value, MAX_LABEL_VALUE)) {
            let why = format!("a label's value has at most {MAX_LABEL_VALUE} characters, and none that is not shown");
            return Err(LabelError::Invalid(format!("`{name}`: {why}")));
        }
        Ok(())
    }

    /// The labels after it; none where they are too many.
    fn after(&self, before: &Pairs) -> Option<Pairs> {
        let mut after: BTreeMap<&String, &String> = before.iter().map(|(name, value)| (name, value)).collect();
        after.retain(|name, _| !self.remove.contains(*name));
        after.extend(&self.set);
        let few = after.len() <= MAX_LABELS || after.len() <= before.len();
        few.then(|| after.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// What becomes of objects, and the writes that make it so.
    fn outcomes<'a>(
        &self,
        objects: &[Key],
        row: impl Fn(&Key) -> Option<&'a Bytes>,
    ) -> Result<(Vec<Write>, Vec<Outcome>), Fault> {
        let (mut writes, mut outcomes) = (Vec::new(), Vec::with_capacity(objects.len()));
        for object in objects {
            let at = labels_of(object);
            let before = read(row(&at))?;
            outcomes.push(match self.after(&before) {
                _ if row(object).is_none() => Outcome::Gone,
                None => Outcome::TooMany,
                Some(after) if after == before => Outcome::Same(after),
                Some(after) => {
                    writes.push(store(at, &after));
                    Outcome::Changed(after)
                }
            });
        }
        Ok((writes, outcomes))
    }
}

impl Namespace {
    /// An object's labels, in the order of their names.
    pub async fn labels(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Pairs, LabelError> {
        let name = || LabelError::NoSuchKey(format!("s3://{}/{key}", bucket.name));
        if !self.core.is_there(bucket, key).await? {
            return Err(name());
        }
        Ok(self.core.labels_at(bucket, key).await?)
    }

    /// Labels an object. Nothing else of it changes. Answers all its labels.
    pub async fn label(&self, bucket: &Bucket, key: &ObjectKey, relabel: Relabel) -> Result<Pairs, LabelError> {
        relabel.check()?;
        let name = || format!("s3://{}/{key}", bucket.name);
        if !self.core.is_there(bucket, key).await? {
            return Err(LabelError::NoSuchKey(name()));
        }
        let objects = vec![object(bucket.incarnation, key)];
        match self.core.relabel(&Arc::new(relabel), objects, false).await?.remove(0) {
            Outcome::Gone => Err(LabelError::NoSuchKey(name())),
            Outcome::TooMany => Err(LabelError::TooMany(name())),
            Outcome::Same(labels) => Ok(labels),
            Outcome::Changed(labels) => {
                self.core.align_soon(bucket, key);
                Ok(labels)
            }
        }
    }

    /// Labels all objects of a bucket whose keys begin so; or says what that would change.
    pub fn label_all(
        &self,
        bucket: &Bucket,
        keys: &str,
        relabel: Relabel,
        dry_run: bool,
    ) -> Result<Labelling, LabelError> {
        relabel.check()?;
        let (at, done) = (prefix(bucket.incarnation, keys), Labelled::default());
        let (core, end, prefix) = (Arc::clone(&self.core), after_prefix(&at), Some(keys.to_owned()));
        Ok(Labelling { core, bucket: bucket.clone(), relabel: Arc::new(relabel), dry_run, prefix, at, end, done })
    }
}

impl Labelling {
    /// Labels the objects of the next page, in one commit, and says how far it is; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Labelled>, Fault> {
        if let Some(prefix) = self.prefix.take() {
            self.core.all_seen(&self.bucket, &prefix).await?;
        }
        let Some(page) = next_page(&self.core, &mut self.at, &self.end).await? else { return Ok(None) };
        let objects: Vec<Key> = page.into_iter().map(|(key, _)| key.to_vec()).collect();
        let outcomes = self.core.relabel(&self.relabel, objects.clone(), self.dry_run).await?;
        for (object, outcome) in objects.iter().zip(outcomes) {
            self.note(object, &outcome)?;
        }
        Ok(Some(self.done.clone()))
    }

    fn note(&mut self, object: &[u8], outcome: &Outcome) -> Result<(), Fault> {
        let key = read_name(&object[NAME_AT..])?;
        match outcome {
            Outcome::Gone => {}
            Outcome::TooMany => {
                self.done.refused += 1;
                self.done.example.get_or_insert_with(|| format!("s3://{}/{key}", self.bucket.name));
            }
            Outcome::Same(_) => self.done.objects += 1,
            Outcome::Changed(_) => {
                self.done.objects += 1;
                self.done.changed += 1;
                if let (Ok(key), false) = (key.parse(), self.dry_run) {
                    self.core.align_soon(&self.bucket, &key);
                }
            }
        }
        Ok(())
    }
}

impl Core {
    /// Whether there is such an object; what others put somewhere may not have been seen yet.
    async fn is_there(&self, bucket: &Bucket, key: &ObjectKey) -> Result<bool, Fault> {
        let rows = self.engine.get(&[object(bucket.incarnation, key)]).await?;
        Ok(rows[0].is_some() || self.seek(bucket, key, Sought::Lately).await?)
    }

    /// The labels of objects, in their order.
    pub(crate) async fn all_labels(&self, objects: impl Iterator<Item = &[u8]>) -> Result<Vec<Pairs>, Fault> {
        let keys: Vec<Key> = objects.map(labels_of).collect();
        self.engine.get(&keys).await?.iter().map(|row| read(row.as_ref())).collect()
    }

    /// The labels of the key of what is about to be written, where an objective asks for them; none of one that is new.
    pub(crate) async fn labels_asked(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Pairs, Fault> {
        if !self.inventory().asks_labels_of(bucket.name.as_str(), key.as_str()) {
            return Ok(Pairs::new());
        }
        self.labels_at(bucket, key).await
    }

    /// The labels of a key.
    async fn labels_at(&self, bucket: &Bucket, key: &ObjectKey) -> Result<Pairs, Fault> {
        let labels = self.all_labels([&object(bucket.incarnation, key)[..]].into_iter()).await?;
        Ok(labels.into_iter().next().unwrap_or_default())
    }

    /// Labels objects, in one commit. May be done twice: nothing depends on how often.
    async fn relabel(&self, relabel: &Arc<Relabel>, objects: Vec<Key>, dry_run: bool) -> Result<Vec<Outcome>, Fault> {
        let keys: Vec<Key> = objects.iter().cloned().chain(objects.iter().map(|object| labels_of(object))).collect();
        if dry_run {
            let rows = self.engine.get(&keys).await?;
            let rows: BTreeMap<&Key, &Bytes> =
                keys.iter().zip(&rows).filter_map(|(key, row)| Some((key, row.as_ref()?))).collect();
            return Ok(relabel.outcomes(&objects, |key| rows.get(key).copied())?.1);
        }
        self.room_in_index()?;
        let (reads, priority) = (keys.into_iter().map(Read::Row).collect(), Priority::of(objects.len()));
        let relabel = Arc::clone(relabel);
        let decide = move |rows: &Rows| relabel.outcomes(&objects, |key| rows.get(key));
        Ok(engine::commit_as(&*self.engine, priority, reads, decide).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relabel(set: &[(&str, &str)], remove: &[&str]) -> Relabel {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Relabel { set, remove: remove.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn pairs(all: &[(&str, &str)]) -> Pairs {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn labels_are_set_by_name_and_what_is_not_named_stays() {
        let before = pairs(&[("stage", "raw"), ("team", "x")]);
        for (change, after) in [
            (relabel(&[("team", "y")], &[]), pairs(&[("stage", "raw"), ("team", "y")])),
            (relabel(&[("a", "")], &["stage", "nothing"]), pairs(&[("a", ""), ("team", "x")])),
            (relabel(&[("team", "z")], &["team"]), pairs(&[("stage", "raw"), ("team", "z")])),
            (relabel(&[], &["team", "stage"]), vec![]),
        ] {
            assert_eq!(change.after(&before), Some(after), "{change:?}");
        }
    }

    #[test]
    fn there_are_ten_labels_of_limited_length() {
        let names: Vec<String> = (0..11).map(|number| number.to_string()).collect();
        let all: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert!(relabel(&all[..10], &[]).after(&vec![]).is_some());
        assert_eq!(relabel(&all, &[]).after(&vec![]), None);
        assert!(relabel(&all[10..], &["3"]).after(&pairs(&all[..10])).is_some());
        let long = |length: usize| "é".repeat(length);
        for (name, value, fine) in [
            (long(128), long(256), true),
            (long(129), String::new(), false),
            ("a".to_owned(), long(257), false),
            (String::new(), String::new(), false),
            ("a=b".to_owned(), String::new(), false),
            ("a".to_owned(), "b=c".to_owned(), true),
            ("a\n".to_owned(), String::new(), false),
            ("a".to_owned(), "\u{1b}[2J".to_owned(), false),
        ] {
            assert_eq!(relabel(&[(&name, &value)], &[]).check().is_ok(), fine, "{name} {value}");
        }
    }
}
