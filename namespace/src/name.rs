//! Names are types, checked once at the edge.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::MAX_KEY;

/// A bucket's name: 3 to 63 of `a-z 0-9 . -`, as S3 wants it.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketName(String);

/// The text is no bucket name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a valid bucket name")]
pub struct InvalidBucketName(pub String);

/// An object's key: 1 to 1,024 bytes of UTF-8, taken as it is; nothing in it is special.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// The text is no object key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// No byte at all.
    #[error("the key is empty")]
    Empty,
    /// More than 1,024 bytes.
    #[error("the key has {0} bytes, more than {MAX_KEY}")]
    TooLong(usize),
}

impl BucketName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ObjectKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = InvalidBucketName;

    fn from_str(text: &str) -> Result<Self, InvalidBucketName> {
        let good = (3..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
            && text.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
            && text.parse::<std::net::Ipv4Addr>().is_err()
            && !text.starts_with("xn--")
            && !text.ends_with("-s3alias");
        if good { Ok(Self(text.to_owned())) } else { Err(InvalidBucketName(text.to_owned())) }
    }
}

impl FromStr for ObjectKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        match text.len() {
            0 => Err(InvalidKey::Empty),
            1..=MAX_KEY => Ok(Self(text.to_owned())),
            long => Err(InvalidKey::TooLong(long)),
        }
    }
}

macro_rules! text {
    ($name:ident, $error:ident) => {
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
text!(BucketName, InvalidBucketName);
text!(ObjectKey, InvalidKey);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules() {
        for good in ["abc", "a-b.c-d", "0ab", &"a".repeat(63)] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in
            ["ab", "Abc", "a_b", "-ab", "ab-", "a..b", ".ab", "a.-b", "192.168.0.1", "a/b", "..", &"a".repeat(64)]
        {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_taken_as_they_are() {
        for good in ["a", "/", "..", "a//b", "\u{0}", "ключ", &"x".repeat(1024)] {
            assert_eq!(good.parse::<ObjectKey>().map(|key| key.as_str().to_owned()), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<ObjectKey>(), Err(InvalidKey::Empty));
        assert_eq!("x".repeat(1025).parse::<ObjectKey>(), Err(InvalidKey::TooLong(1025)));
    }
}
