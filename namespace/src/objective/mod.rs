//! Objectives: declared wishes about where objects should be. *What*, never *how*.
//!
//! An objective is about a part of the namespace (`on`) and, of that, the objects its condition holds for (`when`). It
//! says on which silos they are wanted (`place`: any of them will do), on how many at once (`copies`, each `apart` by a label),
//! where one copy is to be in any case (`keep`), and where none (`never`). Of several that are about an object, the one
//! with the longest `on` says where it is wanted, and likewise one on how many; among equals the one whose name comes first.
//! What one of them keeps is kept, and what one of them forbids is forbidden.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub mod expression;

mod fill;
mod hours;

mod auto;
mod choose;
mod cut;
mod decide;
mod grammar;
mod judge;
mod keep;
mod money;
mod rate;
mod report;
mod seen;
mod upkeep;

pub use auto::{Auto, Days, Learnt, Share, WhyAuto};
pub(crate) use auto::{Choice, Chooser, Known, Sites, day_of};
pub(crate) use cut::LEFT_FREE;
pub use cut::{Cut, Cuts, Fullness, Layers};
pub use decide::{Held, Rule, Rules, SiloFact, Spare, Standing, Used, Wanted, Way, What};
use expression::{Condition, Wrong};
pub use fill::{Fill, Level};
pub use hours::Hours;

use crate::clock::UnixMs;
use crate::limits::MAX_COPIES;
pub(crate) use judge::{Judge, JudgedObject, SHARED, Undo};
pub use keep::{AlignOptions, Alignment, Savings, Spent};
pub(crate) use keep::{Filled, Keeping, Lessons};
pub use money::{Alternative, Alternatives, Cost, Costs};
pub(crate) use money::{Ledger, Prices};
pub(crate) use report::Told;
pub use report::{
    Amount, Broken, Effective, Moving, ObjectiveError, Outlook, Waiting, Why, WhyCame, WhyExtent, WhyHeat, WhyLater,
    WhyObjective,
};
pub use seen::{Seen, SiloSeen};
pub use upkeep::{Chore, Upkeep};

/// A wish, as it is declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// What it is about; all there is where nothing is said.
    #[serde(default)]
    pub on: Scope,
    /// A condition; it is about all objects without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Any of these silos will do; nothing said is nothing wished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub place: Vec<Selector>,
    /// So many silos at once; one where nobody says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copies: Option<u32>,
    /// Those silos differ in this label, as `site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apart: Option<String>,
    /// When a write is answered.
    #[serde(default, skip_serializing_if = "Ack::is_one")]
    pub ack: Ack,
    /// One copy on any of these, beside where else they are wanted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<Selector>,
    /// None of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<Selector>,
    /// What moves by itself for its sake does so in these hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// It counts from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// It counts until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
    /// Where of `place` it is, what was learnt decides: on any silo that has a price where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto: Option<Auto>,
    /// What came by itself stays so long at least; a day where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stay: Option<Days>,
    /// At most so much of its bytes moves in a day; [`Share::DAILY`] where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<Share>,
    /// The coldest leave a silo of `place` for the next ones as it fills.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
    /// One more copy of what is read, on any of these, until it has to make room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copy_on_read: Vec<Selector>,
    /// Bytes that such copies may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// It counts before all others, however long their `on`.
    #[serde(default, skip_serializing_if = "is_not")]
    pub first: bool,
    /// It counts for nothing but plans. Where nothing is said it stays as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
fn is_not(said: &bool) -> bool {
    !*said
}

/// When a write of what is wanted in several copies is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// Once one copy is durable; the others follow.
    #[default]
    One,
    /// Once all are.
    All,
}

impl Ack {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks it so")]
    fn is_one(&self) -> bool {
        *self == Self::One
    }
}

/// Objectives by name, with what each `when` says.
pub type Objectives = BTreeMap<String, (Objective, Option<Condition>)>;

/// A part of the namespace: `s3://bucket/prefix`, the prefix literal as in `ListObjectsV2`; `s3://` is all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    /// The bucket; none is all of them.
    pub bucket: Option<String>,
    /// What keys begin with.
    pub prefix: String,
}

/// Silos: one by its name, or all with a label, as `site=frankfurt`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Selector {
    /// That one.
    Name(String),
    /// All that have the label.
    Label(String, String),
}

impl Scope {
    /// Whether an object is part of it.
    pub fn covers(&self, bucket: &str, key: &str) -> bool {
        self.bucket.as_ref().is_none_or(|own| own == bucket) && key.starts_with(&self.prefix)
    }

    /// Whether all of the other is part of it.
    pub fn contains(&self, other: &Self) -> bool {
        match (&self.bucket, &other.bucket) {
            (None, _) => true,
            (Some(one), Some(bucket)) => one == bucket && other.prefix.starts_with(&self.prefix),
            (Some(_), None) => false,
        }
    }

    /// Whether some object may be part of both.
    pub fn meets(&self, other: &Self) -> bool {
        let buckets = match (&self.bucket, &other.bucket) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        buckets && (self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix))
    }

    /// The longer, the closer.
    fn closeness(&self) -> (bool, usize) {
        (self.bucket.is_some(), self.prefix.len())
    }
}

impl Selector {
    /// Whether a silo is meant.
    pub fn means(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Name(own) => own == name,
            Self::Label(label, value) => labels.get(label) == Some(value),
        }
    }
}

impl Objective {
    /// Whether it counts for nothing but plans.
    pub fn is_paused(&self) -> bool {
        self.paused == Some(true)
    }

    /// Whether it counts at this time.
    pub fn counts_at(&self, now: UnixMs) -> bool {
        self.not_before.is_none_or(|from| from.as_millisecond() <= now)
            && self.not_after.is_none_or(|until| now < until.as_millisecond())
    }

    /// Whether it counts at any time.
    pub fn counts_always(&self) -> bool {
        self.not_before.is_none() && self.not_after.is_none()
    }

    /// What it means silos by.
    pub(crate) fn selectors(&self) -> impl Iterator<Item = &Selector> {
        self.place.iter().chain(&self.keep).chain(&self.never).chain(&self.copy_on_read)
    }

    /// The silos that it names.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.selectors().filter_map(|selector| match selector {
            Selector::Name(name) => Some(name.as_str()),
            Selector::Label(..) => None,
        })
    }

    /// Whether it says anything that can be carried out; silos of its labels may come later. Answers what `when` says.
    pub fn check(&self) -> Result<Option<Condition>, Wrong> {
        let wrong = |reason: &str| Err(Wrong { at: None, reason: reason.to_owned() });
        if self.selectors().next().is_none() && self.copies.is_none() && self.auto.is_none() {
            return wrong("it wishes nothing: neither `place`, `copies`, `keep`, `never`, `copy_on_read` nor `auto`");
        }
        if self.auto.is_none() && (self.stay.is_some() || self.daily.is_some()) {
            return wrong("`stay` and `daily` are about `auto`, of which it says nothing");
        }
        if self.auto.is_some() && self.fill.is_some() {
            return wrong("`fill` and `auto` both say what leaves a silo: they are two wishes, of two objectives");
        }
        if self.copies.is_some_and(|copies| !(1..=MAX_COPIES).contains(&copies)) {
            return wrong("`copies` is a number from 1 to 8");
        }
        if self.copies.is_none() && (self.apart.is_some() || self.ack != Ack::One) {
            return wrong("`apart` and `ack` are about `copies`, of which it says nothing");
        }
        if self.fill.is_some() && self.place.is_empty() {
            return wrong("`fill` is about the silos of `place`, of which it says nothing");
        }
        if self.fill.is_some() && !self.copy_on_read.is_empty() {
            return wrong("`fill` and `copy_on_read` are two wishes, of two objectives");
        }
        if self.max.is_some() && self.copy_on_read.is_empty() {
            return wrong("`max` is about `copy_on_read`, of which it says nothing");
        }
        if self.not_before.zip(self.not_after).is_some_and(|(from, until)| from >= until) {
            return wrong("`not_after` is not later than `not_before`: it would never count");
        }
        self.when.as_deref().map(Condition::parse).transpose()
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not `s3://bucket/prefix`, nor `s3://` for all there is");
        let rest = text.strip_prefix("s3://").ok_or_else(wrong)?;
        if rest.is_empty() {
            return Ok(Self::default());
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let bucket: crate::name::BucketName = bucket.parse().map_err(|_| wrong())?;
        Ok(Self { bucket: Some(bucket.to_string()), prefix: prefix.to_owned() })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = |word: &str| !word.is_empty() && word.len() <= 64 && !word.contains(['=', ' ', ',']);
        match text.split_once('=') {
            None if good(text) => Ok(Self::Name(text.to_owned())),
            Some((label, value)) if good(label) && good(value) => Ok(Self::Label(label.to_owned(), value.to_owned())),
            _ => Err(format!("`{text}` is neither a silo's name nor a label such as `site=frankfurt`")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.bucket {
            None => f.write_str("s3://"),
            Some(bucket) => write!(f, "s3://{bucket}/{}", self.prefix),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Label(label, value) => write!(f, "{label}={value}"),
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |silos: &[Selector]| silos.iter().map(Selector::to_string).collect::<Vec<_>>().join(" or ");
        write!(f, "{}", self.on)?;
        if let Some(when) = &self.when {
            write!(f, " when {when}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": on {}", list(&self.place))?;
        }
        if let Some(copies) = self.copies {
            write!(f, ": {copies} copies")?;
        }
        if let Some(label) = &self.apart {
            write!(f, ", each of another {label}")?;
        }
        if self.ack == Ack::All {
            f.write_str(", all before the answer")?;
        }
        if !self.keep.is_empty() {
            write!(f, ": one kept on {}", list(&self.keep))?;
        }
        if !self.never.is_empty() {
            write!(f, ": never on {}", list(&self.never))?;
        }
        if let Some(auto) = self.auto {
            let off = if auto == Auto::Off { " (off)" } else { "" };
            write!(f, ": where it is expected to cost least{off}")?;
        }
        if let Some(stay) = self.stay {
            write!(f, ", {stay} there at least")?;
        }
        if let Some(daily) = self.daily {
            write!(f, ", at most {daily} moving in a day")?;
        }
        if let Some(fill) = self.fill {
            write!(f, ", filled to {fill}")?;
        }
        if !self.copy_on_read.is_empty() {
            write!(f, ": what is read copied to {}", list(&self.copy_on_read))?;
        }
        if let Some(max) = self.max {
            write!(f, ", at most {max} bytes of such copies")?;
        }
        if let Some(hours) = self.hours {
            write!(f, ", moving at {hours}")?;
        }
        if let Some(from) = self.not_before {
            write!(f, ", from {from}")?;
        }
        if let Some(until) = self.not_after {
            write!(f, ", until {until}")?;
        }
        if self.first {
            f.write_str(", before all others")?;
        }
        if self.is_paused() {
            f.write_str(" (paused)")?;
        }
        Ok(())
    }
}

/// Read from and written as text.
macro_rules! as_text {
    ($($kind:ty),+) => {$(
        impl TryFrom<String> for $kind {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$kind> for String {
            fn from(value: $kind) -> Self {
                value.to_string()
            }
        }
    )+};
}

as_text!(Scope, Selector, Hours, Fill, Days, Share);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_and_selectors_are_text() {
        for text in ["s3://", "s3://logs/", "s3://logs/2024/a b"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!("s3://logs".parse::<Scope>().unwrap().to_string(), "s3://logs/");
        for text in ["", "logs", "s3:/logs", "s3://NO/x"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        for text in ["cold", "site=frankfurt"] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
        }
        for text in ["", "=", "a=", "=b", "a=b=c", "a b"] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }

    #[test]
    fn scopes_cover_and_meet() {
        let scope = |text: &str| text.parse::<Scope>().unwrap();
        assert!(scope("s3://").covers("b", "k") && scope("s3://logs/k").covers("logs", "kk"));
        assert!(!scope("s3://logs/k").covers("logs", "j") && !scope("s3://logs").covers("photos", "k"));
        assert!(scope("s3://logs/a").meets(&scope("s3://logs/ab")) && scope("s3://logs/ab").meets(&scope("s3://")));
        assert!(!scope("s3://logs/a").meets(&scope("s3://logs/b")) && !scope("s3://logs").meets(&scope("s3://photos")));
    }

    #[test]
    fn an_objective_wishes_something() {
        assert!(Objective::default().check().unwrap_err().reason.contains("wishes nothing"));
        let archive: Objective = serde_json::from_str(
            r#"{"on": "s3://logs/", "when": "age > days(30)", "place": ["cold"], "never": ["site=us"]}"#,
        )
        .unwrap();
        assert!(archive.check().unwrap().is_some());
        assert_eq!(archive.to_string(), "s3://logs/ when age > days(30): on cold: never on site=us");
        assert_eq!(serde_json::from_str::<Objective>(&serde_json::to_string(&archive).unwrap()).unwrap(), archive);
        assert!(serde_json::from_str::<Objective>(r#"{"plaec": ["cold"]}"#).is_err());
    }
}
