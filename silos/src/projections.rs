//! What may be written to a tree that others write to as well: files are exchanged, and what came out is looked at before
//! anything goes.
//!
//! Each attempt has a folder of its own beside the tree, named by a number that is never used twice and by whoever may act
//! on it: renaming the folder is what keeps an earlier owner's late calls out. Nobody holds its handle.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::SiloError;
use crate::silo::{Body, Pieces, Validator};

/// An attempt's folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// Session and number, never used twice.
    pub number: (u64, u64),
    /// Whoever takes it over counts on.
    pub owner: u32,
}

impl Attempt {
    /// What it is called, whoever owns it.
    pub fn name(&self) -> String {
        format!("{:x}-{:x}", self.number.0, self.number.1)
    }

    /// The number of what is called so.
    pub fn number_of(name: &str) -> Option<(u64, u64)> {
        let (session, number) = name.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        Some((hex(session)?, hex(number)?))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name(), self.owner)
    }
}

impl FromStr for Attempt {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, owner) = text.split_once('.').ok_or(())?;
        let attempt = Self { number: Self::number_of(number).ok_or(())?, owner: owner.parse().map_err(drop)? };
        // Whatever is spelled otherwise is none of ours.
        if attempt.to_string() == text { Ok(attempt) } else { Err(()) }
    }
}

/// A file to be staged.
pub struct Staging {
    /// Its bytes, exactly `size` of them.
    pub body: Body,
    /// How many.
    pub size: u64,
    /// When it was modified, milliseconds since the epoch.
    pub modified: i64,
    /// Its mode and its owner are those of the file of this name, where there is one.
    pub name: Vec<u8>,
}

/// What became of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What came out of the tree.
    pub came: Option<Validator>,
    /// What was staged went in. It may be gone from there since.
    pub is_in: bool,
    /// What was staged has the name, and is now this.
    pub now: Option<Validator>,
}

/// A tree that others write to as well.
#[async_trait]
pub trait Projections: Send + Sync + 'static {
    /// Whether it can be written to by these rules; what it cannot promise, in sentence fragments.
    async fn fit(&self) -> Result<Vec<String>, SiloError>;

    /// Makes the attempt's folder, and stages a file in it. Durable when it is answered.
    async fn stage(&self, at: Attempt, file: Option<Staging>) -> Result<Option<Validator>, SiloError>;

    /// Puts what was staged in the name's place, so that what had it comes out; not again once it is in, or where
    /// something came out before. `Missing` where there is nothing of the attempt any more, `Mismatch` where the name cannot be a file. Durable.
    async fn bring(&self, at: Attempt, staged: &Validator, name: &[u8]) -> Result<(), SiloError>;

    /// Takes out what has the name. Otherwise the same.
    async fn take(&self, at: Attempt, name: &[u8]) -> Result<(), SiloError>;

    /// What became of it. `Missing` where the attempt is not there.
    async fn look(&self, at: Attempt, name: &[u8], staged: Option<&Validator>) -> Result<Outcome, SiloError>;

    /// The bytes of what came out, which is `came`.
    async fn read(&self, at: Attempt, came: &Validator, staged: Option<&Validator>) -> Result<Pieces, SiloError>;

    /// Gives what came out a name, if that is free; otherwise false. `Missing` where nothing came out, or not any more.
    async fn give(&self, at: Attempt, staged: Option<&Validator>, name: &[u8]) -> Result<bool, SiloError>;

    /// Makes an attempt this owner's, whichever earlier one's it was; false where it is not there.
    async fn take_over(&self, to: Attempt) -> Result<bool, SiloError>;

    /// Whether a name could be a file's as the tree is: `Mismatch` where not.
    async fn may_be(&self, name: &[u8]) -> Result<(), SiloError>;

    /// Removes an attempt with what is in it, if it is there.
    async fn discard(&self, at: Attempt) -> Result<(), SiloError>;

    /// The same unless what came out is not `known` any more; whether it was.
    async fn discard_known(
        &self,
        at: Attempt,
        name: &[u8],
        known: &Validator,
        staged: Option<&Validator>,
    ) -> Result<bool, SiloError>;

    /// All attempts that are there.
    async fn attempts(&self) -> Result<Vec<Attempt>, SiloError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempts_folder_is_named_in_one_way() {
        let attempt = Attempt { number: (0x1f, 0xa0), owner: 3 };
        assert_eq!(attempt.to_string(), "1f-a0.3");
        assert_eq!("1f-a0.3".parse(), Ok(attempt));
        for text in ["1f-a0", "1f-a0.", "1F-a0.3", "1f-a0.03", "01f-a0.3", "1f-0a0.3", "+1f-a0.3", "x-1.1", "probe"] {
            assert_eq!(text.parse::<Attempt>(), Err(()), "{text}");
        }
    }
}
